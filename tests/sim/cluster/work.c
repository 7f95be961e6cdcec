/* What clients do: transfers, snapshots, registers, lists, inserts of one and of many rows, rows that move,
 * definitions. Every version that is written carries the number of the event that wrote it. */
#include "base/limits.h"
#include "tests/sim/cluster/trial.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const table_names[N_TABLES] = {"spread", "plain"};

static int draw(trial *t, int n)
{
    return (int)gn_sim_random(t->sim, (uint64_t)n);
}

/* ---- calls into the node ---- */

typedef struct work {
    trial *t;
    session *s;
    event *e;
    bool alone; /* what is known here may be old: to be refused, not a problem */
    gn_dtxn *txn;
    gn_code code;
    gn_error err;
} work;

static void call_begin(work *w, const char *what)
{
    w->s->call = what;
    w->s->since_ns = gn_sim_now_ns(w->t->sim);
}

static bool call_end(work *w)
{
    w->s->call = NULL;
    return w->code == GN_OK;
}

static bool is_expected(gn_code code)
{
    switch (code) {
    case GN_OK:
    case GN_SERIALIZATION:
    case GN_UNIQUE:
    case GN_UNAVAILABLE:
    case GN_OUTCOME_UNKNOWN:
    case GN_CANCELED:
    case GN_SHUTDOWN:
    case GN_CRASH_SHUTDOWN:
        return true;
    default:
        return false;
    }
}

static bool begin(work *w, const char *what, gn_dtxn_options options)
{
    w->e = record(w->t, what);
    w->e->read_only = options.read_only;
    w->e->newest = !options.several;
    w->alone = options.alone;
    w->txn = NULL;
    w->s->cancel = w->s->node->dying;
    options.cancel = &w->s->cancel;
    call_begin(w, "begin");
    w->code = gn_dtxn_begin(w->s->node->cluster, &options, &w->txn, &w->err);
    return call_end(w);
}

/* One of several statements, or one alone, which may begin without asking anybody. */
static gn_dtxn_options a_write(trial *t)
{
    bool several = draw(t, 2), alone = !several && draw(t, 3);
    return (gn_dtxn_options){.several = several, .alone = alone, .writes = alone};
}

static void end_refused(work *w)
{
    node *n = w->s->node;
    gn_dtxn_abort(w->txn);
    w->txn = NULL;
    if (!is_expected(w->code) && !n->dying && !n->failed)
        problem(w->t, "%s %lld: %s: %s", w->e->what, (long long)w->e->tag, gn_code_name(w->code), w->err.message);
    conclude(w->t, w->e, REFUSED, 0);
}

static outcome outcome_of(gn_code code)
{
    return code == GN_OK                                                                    ? COMMITTED
           : code == GN_OUTCOME_UNKNOWN || code == GN_SHUTDOWN || code == GN_CRASH_SHUTDOWN ? UNKNOWN
                                                                                            : REFUSED;
}

/* ok: all went well so far. */
static bool end(work *w, bool ok)
{
    gn_scn scn = 0;
    node *n = w->s->node;
    if (!ok) {
        end_refused(w);
        return false;
    }
    if (n->dying) { /* the client of a dead node does not ask for the commit any more */
        end_refused(w);
        return false;
    }
    call_begin(w, "commit");
    w->code = gn_dtxn_commit(w->txn, &scn, &w->err);
    w->txn = NULL;
    call_end(w);
    if (!is_expected(w->code) && !n->dying && !n->failed)
        problem(w->t, "%s %lld: commit: %s: %s", w->e->what, (long long)w->e->tag, gn_code_name(w->code),
                w->err.message);
    conclude(w->t, w->e, n->dying ? UNKNOWN : outcome_of(w->code), scn);
    return w->e->outcome == COMMITTED;
}

static const gn_table_desc *table_of(work *w, table k)
{
    const gn_table_desc *desc = gn_dtxn_table_named(w->txn, gn_bytes_str(table_names[k]));
    if (!desc) {
        w->code = gn_error_set(&w->err, GN_NO_OBJECT, "table %s is gone", table_names[k]);
        if (w->alone)
            w->code = GN_SERIALIZATION;
        else if (!w->s->node->dying && !w->s->node->failed)
            problem(w->t, "node %d does not know table %s", (int)w->s->node->id, table_names[k]);
    }
    return desc;
}

/* ---- reading ---- */

static void take_rows(work *w, table k, const gn_batch *b)
{
    for (uint32_t i = 0; i < b->n_rows; i++) {
        if (w->e->n_reads == MOST_READS) {
            problem(w->t, "too many rows");
            return;
        }
        w->e->reads[w->e->n_reads++] =
            (item){k, (int)b->columns[0].i64[i], false, b->columns[1].i64[i], b->columns[2].i64[i]};
    }
}

static bool scan(work *w, table k, const gn_key_range *range)
{
    static const uint32_t ordinals[] = {0, 1, 2};
    const gn_table_desc *desc = table_of(w, k);
    if (!desc)
        return false;
    gn_scan_spec spec = {.table = desc, .ordinals = ordinals, .n_ordinals = 3};
    if (range)
        spec.range = *range;
    gn_dscan *scan = NULL;
    gn_batch batch = {.n_columns = 3, .arena = gn_arena_create(NULL)};
    call_begin(w, "scan");
    w->code = gn_dscan_open(w->txn, &spec, draw(w->t, 2), &scan, &w->err);
    while (w->code == GN_OK && (w->code = gn_dscan_next(scan, &batch, NULL, &w->err)) == GN_OK && batch.n_rows)
        take_rows(w, k, &batch);
    gn_dscan_close(scan);
    gn_arena_destroy(batch.arena);
    return call_end(w);
}

/* NULL: it failed. */
static const item *get(work *w, table k, int id)
{
    gn_buf key;
    int before = w->e->n_reads;
    encoded_key(id, &key);
    gn_key_range range = {.lo = gn_buf_bytes(&key), .hi = gn_buf_bytes(&key), .hi_inclusive = true};
    bool ok = scan(w, k, &range);
    gn_buf_close(&key);
    if (!ok || w->e->n_reads == MOST_READS)
        return NULL;
    if (w->e->n_reads == before)
        w->e->reads[w->e->n_reads++] = (item){.table = k, .id = id, .absent = true};
    return &w->e->reads[before];
}

static bool scan_all(work *w, table k)
{
    w->e->scans[k] = true;
    return scan(w, k, NULL);
}

/* ---- writing ---- */

typedef enum how { INSERT, REPLACE, REMOVE, MOVE } how;

/* from: the id of the row that is replaced or moved. */
static bool put(work *w, how what, table k, int from, int id, int64_t n)
{
    char name[32];
    gn_value values[4] = {{.type = gn_type_of(GN_T_INT8), .as.i64 = id},
                          {.type = gn_type_of(GN_T_INT8), .as.i64 = w->e->tag},
                          {.type = gn_type_of(GN_T_INT8), .as.i64 = n},
                          {.type = gn_type_of(GN_T_TEXT)}};
    const gn_table_desc *desc = table_of(w, k);
    if (!desc)
        return false;
    snprintf(name, sizeof name, "row %d", id);
    values[3].as.bytes = gn_bytes_str(name);
    gn_buf key;
    encoded_key(from, &key);
    call_begin(w, "write");
    w->code = what == INSERT   ? gn_dtxn_insert(w->txn, desc, values, &w->err)
              : what == REMOVE ? gn_dtxn_delete(w->txn, desc, gn_buf_bytes(&key), &w->err)
                               : gn_dtxn_update(w->txn, desc, gn_buf_bytes(&key), values, &w->err);
    gn_buf_close(&key);
    if (what == MOVE || what == REMOVE)
        w->e->writes[w->e->n_writes++] = (item){.table = k, .id = from, .absent = true};
    if (what != REMOVE)
        w->e->writes[w->e->n_writes++] = (item){k, id, false, w->e->tag, n};
    return call_end(w);
}

/* ---- transactions ---- */

static int any_account(trial *t, table k)
{
    return draw(t, k == PLAIN ? PLAIN_ACCOUNTS : ACCOUNTS);
}

static table any_table(trial *t)
{
    return draw(t, 4) ? SPREAD : PLAIN;
}

static void think(work *w)
{
    if (draw(w->t, 3) == 0)
        pause_for(w->s->node->world, gn_sim_random(w->t->sim, 20 * MS));
}

static void transfer(work *w)
{
    trial *t = w->t;
    table k1 = any_table(t), k2 = any_table(t);
    int a = any_account(t, k1), b = any_account(t, k2);
    int64_t amount = draw(t, 10);
    if (k1 == k2 && a == b)
        b = (b + 1) % PLAIN_ACCOUNTS;
    if (!begin(w, "transfer", (gn_dtxn_options){.several = true})) {
        end_refused(w);
        return;
    }
    const item *from = get(w, k1, a);
    int64_t n1 = from ? from->n : 0;
    const item *to = from ? get(w, k2, b) : NULL;
    bool ok = to != NULL;
    int64_t n2 = ok ? to->n : 0;
    if (ok && (from->absent || to->absent))
        problem(t, "an account is missing");
    think(w);
    ok = ok && put(w, REPLACE, k1, a, a, n1 - amount) && put(w, REPLACE, k2, b, b, n2 + amount);
    t->counts.over_groups += end(w, ok) && k1 != k2;
}

static int64_t total(const event *e)
{
    int64_t sum = 0;
    for (int i = 0; i < e->n_reads; i++)
        if (e->reads[i].id < ACCOUNTS)
            sum += e->reads[i].n;
    return sum;
}

static void snapshot(work *w)
{
    if (!begin(w, "snapshot", (gn_dtxn_options){.several = true, .read_only = true})) {
        end_refused(w);
        return;
    }
    bool ok = scan_all(w, SPREAD);
    if (ok && draw(w->t, 2))
        think(w);
    ok = ok && scan_all(w, PLAIN);
    gn_scn at = gn_dtxn_read_scn(w->txn);
    if (!ok || w->s->node->dying) {
        end_refused(w);
        return;
    }
    gn_dtxn_abort(w->txn);
    conclude(w->t, w->e, COMMITTED, at);
    if (total(w->e) != (ACCOUNTS + PLAIN_ACCOUNTS) * START_BALANCE && !w->t->recovered)
        problem(w->t, "the total is %lld", (long long)total(w->e));
}

/* One statement: reads what is newest. */
static void look(work *w)
{
    table k = any_table(w->t);
    if (!begin(w, "look", (gn_dtxn_options){.read_only = true, .alone = k == SPREAD && draw(w->t, 2)})) {
        end_refused(w);
        return;
    }
    bool ok = draw(w->t, 2) ? get(w, k, any_account(w->t, k)) != NULL : scan_all(w, k);
    if (ok)
        ok = (w->code = gn_dtxn_vouch(w->txn, &w->err)) == GN_OK;
    if (!ok || w->s->node->dying) {
        end_refused(w);
        return;
    }
    gn_dtxn_abort(w->txn);
    conclude(w->t, w->e, COMMITTED, 0);
}

/* Without reading, so that only the transaction's id keeps it from being done twice. */
static void put_register(work *w)
{
    trial *t = w->t;
    int id = FIRST_SEAT - 1 - draw(t, 3);
    table k = any_table(t);
    bool ok = begin(w, "register", a_write(t));
    end(w, ok && put(w, REPLACE, k, id, id, draw(t, 1000)));
}

/* n stands for the whole list. */
static void append(work *w)
{
    trial *t = w->t;
    table k = any_table(t);
    int id = FIRST_SEAT - 4 - draw(t, 2);
    if (!begin(w, "append", a_write(t))) {
        end_refused(w);
        return;
    }
    const item *list = get(w, k, id);
    if (list && list->absent && !w->alone)
        problem(t, "a list is missing");
    end(w, list && put(w, REPLACE, k, id, id, (list->n * 31 + w->e->tag) % 1000000007));
}

static void insert_contended(work *w)
{
    trial *t = w->t;
    int id = FIRST_CONTENDED + draw(t, CONTENDED);
    table k = any_table(t);
    bool ok = begin(w, "insert", a_write(t));
    ok = ok && put(w, INSERT, k, id, id, id);
    end(w, ok);
    if (w->code == GN_UNIQUE && w->e->n_writes && w->e->outcome == REFUSED)
        w->e->taken = id;
}

static void insert_many(work *w)
{
    trial *t = w->t;
    int n = 2 + draw(t, MOST_WRITES - 1);
    if (t->next_fresh + n >= MOST_IDS || t->next_fresh > FIRST_FRESH + 24)
        return; /* scans grow with them */
    int first = t->next_fresh;
    t->next_fresh += n;
    bool ok = begin(w, "rows", a_write(t));
    for (int i = 0; ok && i < n; i++)
        ok = put(w, INSERT, SPREAD, first + i, first + i, i);
    end(w, ok);
}

/* A row to another place: out of one group, perhaps, and into another. */
static void move_row(work *w)
{
    trial *t = w->t;
    if (!begin(w, "move", (gn_dtxn_options){.several = true})) {
        end_refused(w);
        return;
    }
    int start = draw(t, SEATS), from = -1, to = -1;
    int64_t n = 0;
    for (int i = 0; i < SEATS && (from < 0 || to < 0); i++) {
        const item *seat = get(w, SPREAD, FIRST_SEAT + (start + i) % SEATS);
        if (!seat) {
            end_refused(w);
            return;
        }
        if (seat->absent)
            to = seat->id;
        else
            from = seat->id, n = seat->n;
    }
    if ((from < 0 || to < 0) && !t->recovered)
        problem(t, "rows that move are lost");
    end(w, from >= 0 && to >= 0 && put(w, MOVE, SPREAD, from, to, n));
}

/* An index more or less. */
static void change_definition(work *w)
{
    trial *t = w->t;
    if (!begin(w, "definition", (gn_dtxn_options){.several = true})) {
        end_refused(w);
        return;
    }
    bool empty = draw(t, 2);
    w->e->defines = empty;
    const char *name = empty ? "changing" : table_names[SPREAD];
    const gn_table_desc *old = gn_dtxn_table_named(w->txn, gn_bytes_str(name));
    if (!old) {
        problem(t, "a table is missing");
        w->code = GN_UNAVAILABLE;
        end_refused(w);
        return;
    }
    gn_table_desc changed = *old;
    gn_index_desc index = {.id = old->id + 1 + old->version, .kind = GN_INDEX_BTREE, .n_columns = 1, .columns = {3}};
    snprintf(index.name, sizeof index.name, "%s_%d", name, (int)old->version);
    changed.version++;
    changed.indexes = old->n_indexes ? NULL : &index;
    changed.n_indexes = !old->n_indexes;
    call_begin(w, "definition");
    w->code = gn_dtxn_put_table(w->txn, &changed, &w->err);
    call_end(w);
    bool ok = end(w, w->code == GN_OK);
    t->counts.definitions += ok;
    t->definition_changes += empty && ok;
    t->definitions_unknown += empty && w->e->outcome == UNKNOWN;
}

void session_run(void *arg)
{
    session *s = arg;
    trial *t = s->t;
    node *n = s->node;
    while (!t->stop && !n->dying && !n->failed) {
        work w = {.t = t, .s = s};
        int dice = draw(t, 40);
        if (dice < 12)
            transfer(&w);
        else if (dice < 16)
            snapshot(&w);
        else if (dice < 21)
            look(&w);
        else if (dice < 25)
            put_register(&w);
        else if (dice < 29)
            append(&w);
        else if (dice < 33)
            insert_contended(&w);
        else if (dice < 35)
            insert_many(&w);
        else if (dice < 39)
            move_row(&w);
        else
            change_definition(&w);
        pause_for(n->world, gn_sim_random(t->sim, 60 * MS));
    }
    s->ended = true;
    n->sessions--;
}

/* ---- the beginning and the end ---- */

static gn_code make_table(gn_cluster *c, const char *name, uint64_t distribution, bool unique_name, gn_error *err)
{
    gn_column_desc columns[4] = {{.id = 1, .name = "id", .type = {GN_T_INT8, false, -1}, .not_null = true},
                                 {.id = 2, .name = "tag", .type = {GN_T_INT8, false, -1}},
                                 {.id = 3, .name = "n", .type = {GN_T_INT8, false, -1}},
                                 {.id = 4, .name = "name", .type = {GN_T_TEXT, false, -1}}};
    gn_index_desc index = {.kind = GN_INDEX_BTREE, .unique = true, .n_columns = 1, .columns = {4}};
    gn_table_desc desc = {.version = 1,
                          .next_column_id = 5,
                          .n_columns = 4,
                          .columns = columns,
                          .n_key = 1,
                          .key = {1},
                          .n_indexes = unique_name,
                          .indexes = unique_name ? &index : NULL,
                          .distribution_id = distribution,
                          .n_shard_key = distribution ? 1 : 0,
                          .shard_key = {1}};
    gn_dtxn *txn;
    snprintf(desc.name, sizeof desc.name, "%s", name);
    snprintf(desc.key_name, sizeof desc.key_name, "%s_pkey", name);
    snprintf(index.name, sizeof index.name, "%s_name", name);
    gn_code code = gn_cluster_new_ids(c, 2000, &desc.id, err); /* for its indexes of all times */
    index.id = desc.id + 1;
    if (code == GN_OK)
        code = gn_dtxn_begin(c, &(gn_dtxn_options){.several = true}, &txn, err);
    if (code != GN_OK)
        return code;
    code = gn_dtxn_put_table(txn, &desc, err);
    if (code == GN_OK)
        return gn_dtxn_commit(txn, NULL, err);
    gn_dtxn_abort(txn);
    return code;
}

static bool insert_rows(work *w, table k, int first, int n, int64_t value)
{
    bool ok = begin(w, "fill", (gn_dtxn_options){.several = true});
    for (int i = 0; ok && i < n; i++)
        ok = put(w, INSERT, k, first + i, first + i, value);
    return end(w, ok);
}

static bool fill_rows(trial *t, session *s)
{
    work w = {.t = t, .s = s};
    bool ok = true;
    for (int i = 0; ok && i < ACCOUNTS; i += 4)
        ok = insert_rows(&w, SPREAD, i, 4, START_BALANCE);
    ok = ok && insert_rows(&w, PLAIN, 0, PLAIN_ACCOUNTS, START_BALANCE);
    ok = ok && insert_rows(&w, SPREAD, FIRST_SEAT, SEATED, 7);
    for (int k = 0; ok && k < N_TABLES; k++)
        ok = insert_rows(&w, (table)k, FIRST_SEAT - 5, 5, 0);
    if (!ok)
        problem(t, "the tables cannot be filled: %s", w.err.message);
    return ok;
}

bool fill_tables(trial *t, node *n)
{
    gn_error err = {0};
    uint64_t distribution;
    uint32_t replicas = t->disaster && t->n_first == 5 && t->seed % 2 ? 5 : 3;
    gn_code code = gn_cluster_distribution(n->cluster, 2, replicas, &distribution, &err);
    if (code == GN_OK)
        code = make_table(n->cluster, "spread", distribution, false, &err);
    if (code == GN_OK)
        code = make_table(n->cluster, "plain", 0, true, &err);
    if (code == GN_OK)
        code = make_table(n->cluster, "changing", distribution, false, &err);
    if (code != GN_OK)
        problem(t, "the tables cannot be made: %s: %s", gn_code_name(code), err.message);
    session s = {.t = t, .node = n};
    return code == GN_OK && fill_rows(t, &s);
}

/* Each replica's index entries are its rows'. */
static void check_indexes(trial *t, const node *n)
{
    gn_local_group *groups;
    size_t n_groups = gn_group_list(n->cluster, &groups);
    for (size_t i = 0; i < n_groups; i++) {
        gn_txn *txn;
        gn_error err = {0};
        if (groups[i].id == GN_META_GROUP || !gn_group_hold_member(n->cluster, groups[i].id))
            continue;
        gn_code code =
            gn_txn_begin(groups[i].shard, &(gn_txn_options){.read_only = true, .own_slots = true}, &txn, &err);
        gn_group_release(n->cluster, groups[i].shard);
        if (code != GN_OK)
            continue; /* it has ended, or is to move away */
        const gn_table_desc *desc = gn_txn_table_named(txn, gn_bytes_str(table_names[SPREAD]));
        for (uint32_t k = 0; desc && k < desc->n_indexes; k++) {
            gn_index_findings found;
            if (gn_txn_check_index(txn, desc, &desc->indexes[k], &found, &err) != GN_OK)
                continue;
            if (!found.behind && !found.same)
                problem(t, "an index of group %d on node %d is not what its rows are", (int)groups[i].id, (int)n->id);
            gn_buf_close(&found.example);
        }
        gn_txn_abort(txn);
    }
    gn_group_list_free(n->cluster, groups, n_groups);
}

typedef struct last {
    trial *t;
    bool done;
} last;

static void look_everywhere(void *arg)
{
    last *l = arg;
    for (unsigned i = 1; i <= MOST_ID; i++) {
        if (!is_alive(&l->t->nodes[i]))
            continue;
        session s = {.t = l->t, .node = &l->t->nodes[i]};
        work w = {.t = l->t, .s = &s};
        int tries = 0;
        do /* what this node knows of the groups may be old */
            snapshot(&w);
        while (w.e->outcome != COMMITTED && w.code == GN_SERIALIZATION && ++tries < 3);
        if (w.e->outcome != COMMITTED)
            problem(l->t, "node %u cannot read: %s", i, w.err.message);
        check_indexes(l->t, &l->t->nodes[i]);
    }
    l->done = true;
}

static bool has_looked(void *ctx)
{
    return ((last *)ctx)->done;
}

void last_look(trial *t)
{
    last l = {.t = t};
    start_strand(t, t->observer, "last look", look_everywhere, &l);
    if (!gn_sim_run_until(t->sim, has_looked, &l, 60 * SECOND)) {
        problem(t, "reads do not end");
        gn_sim_run_until(t->sim, has_looked, &l, 600 * SECOND);
    }
}
