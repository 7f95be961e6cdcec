/* Transactions over several groups under the simulation: transfers between accounts, by coordinators that die at every
 * step, on servers that crash and are cut off, with a clock that is slow and fails; and planted bugs, which the checks
 * must find.
 *
 * The claim is that every transaction takes place at its SCN, and that this SCN was handed out by the clock between the
 * transaction's begin and its end. So the versions in the stores, in order of SCN, are the history, and each
 * transaction's reads, and what it was told, are compared with it. That is strict serializability, checked in linear
 * time. A read at the newest SCN of one group has a range of possible places instead. */
#include "base/sim.h"
#include "fixture.h"
#include "shard/shard_private.h"
#include "shard/txn_private.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    TABLE = GN_FIRST_USER_ID,
    I_NAME,
    SERVERS_MAX = 5,
    GROUPS_MAX = 3,
    KEYS = 3,
    CLIENTS = 4,
    ROUNDS = 7,
    START_BALANCE = 100,
    READS_MAX = GROUPS_MAX * KEYS,
    HISTORY_MAX = 1000,
    PARTS_MAX = 64,
};
#define MS UINT64_C(1000000)
#define SECOND UINT64_C(1000000000)

typedef enum plant {
    NO_PLANT,
    READERS_DO_NOT_WAIT,
    NO_BARRIER,
    SCN_BEFORE_PREPARE,
    NOTHING_IS_HELD,
    NEWEST_WITHOUT_BARRIER,
    NEWEST_WITHOUT_CLOCK,
    N_PLANTS,
} plant;

struct cluster;

typedef struct part {
    struct part *next;
    gn_txn *txn;
    bool in_call;
} part;

typedef struct server {
    struct cluster *c;
    unsigned id;
    char *dir;
    gn_world *world;
    gn_raft_host *host;
    gn_shard *shards[GROUPS_MAX + 1];
    gn_scn_source clock;
    unsigned incarnation;
    int calls; /* strands that are inside of its shards */
    _Atomic bool dying;
    part *parts;
} server;

typedef struct read_item {
    int group, key;
    int64_t tag, n;
} read_item;

typedef enum outcome { REFUSED, COMMITTED, UNKNOWN } outcome;

typedef struct event {
    enum { TRANSFER, SNAPSHOT, NEWEST } kind;
    gn_scn invoked, answered, at; /* by the clock; at: commit or read SCN */
    outcome outcome;
    int64_t tag; /* of what it writes */
    read_item reads[READS_MAX], writes[2];
    int n_reads, n_writes;
} event;

typedef struct version {
    gn_scn scn;
    int64_t tag, n;
} version;

typedef struct cluster {
    char dir[48];
    gn_sim *sim;
    plant plant;
    unsigned n_servers, n_groups, n_replicas;
    server servers[SERVERS_MAX + 1];
    gn_world *clients; /* where nothing crashes */
    gn_scn clock;
    gn_table_desc *table;
    bool clock_down, nobody_resolves;
    unsigned held_up;        /* a server that waits for the clock's answers */
    uint64_t snapshot_bytes; /* of log, after which one is taken */
    int working, resolving;
    gn_strand *strands[2000];
    size_t n_strands;
    event history[HISTORY_MAX];
    size_t n_history;
    uint64_t problems;
    char problem[300];
    version *versions[GROUPS_MAX + 1][KEYS];
    size_t n_versions[GROUPS_MAX + 1][KEYS];
} cluster;

static void problem(cluster *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void problem(cluster *c, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (c->problems++ == 0)
        vsnprintf(c->problem, sizeof c->problem, format, args);
    va_end(args);
}

static void pause_for(gn_world *world, uint64_t ns)
{
    gn_event e;
    gn_event_init(&e, world);
    gn_event_wait(&e, gn_now_ns(world) + ns);
}

static void start_strand(cluster *c, gn_world *world, void (*fn)(void *), void *arg)
{
    assert_true(c->n_strands < sizeof c->strands / sizeof *c->strands);
    c->strands[c->n_strands++] = gn_strand_start(world, "test", fn, arg);
}

/* ---- the clock: one counter, at the end of a slow line ---- */

typedef struct clock_call {
    server *server;
    unsigned incarnation;
    gn_scn_request *request;
} clock_call;

static bool draw_scns(cluster *c, gn_world *world, uint32_t n, gn_scn above, gn_scn *first)
{
    pause_for(world, gn_sim_random(c->sim, 2 * MS));
    bool lost = c->clock_down || gn_sim_chance(c->sim, 0.01);
    if (c->clock < above) {
        problem(c, "a group was ahead of the clock");
        c->clock = above;
    }
    *first = c->clock + 1;
    c->clock += n;
    pause_for(world, gn_sim_random(c->sim, gn_sim_chance(c->sim, 0.2) ? 20 * MS : 2 * MS));
    return !lost;
}

static void answer_request(void *arg)
{
    clock_call *call = arg;
    cluster *c = call->server->c;
    gn_scn first;
    bool ok = draw_scns(c, c->clients, call->request->n, call->request->above, &first);
    while (c->held_up == call->server->id)
        pause_for(c->clients, 5 * MS);
    ok = ok && call->server->incarnation == call->incarnation;
    call->request->done(call->request, ok ? GN_OK : GN_TIMEOUT, first);
    call->server->calls--;
    free(call);
}

static void next_scns(void *ctx, gn_scn_request *request)
{
    server *s = ctx;
    clock_call *call = calloc(1, sizeof *call);
    *call = (clock_call){.server = s, .incarnation = s->incarnation, .request = request};
    s->calls++;
    start_strand(s->c, s->c->clients, answer_request, call);
}

/* ---- servers ---- */

static void unresolved(void *ctx, gn_shard *shard, uint64_t txn_id, uint64_t primary_group);

static bool has_replica(const cluster *c, unsigned id, unsigned group)
{
    return (id + c->n_servers - group) % c->n_servers < c->n_replicas;
}

static void open_server(cluster *c, unsigned id)
{
    server *s = &c->servers[id];
    gn_error err = {0};
    s->c = c;
    s->id = id;
    s->clock = (gn_scn_source){.ctx = s, .next = next_scns};
    s->dying = false;
    gn_raft_options raft = {.log_dir = "log", .snapshot_threshold_bytes = c->snapshot_bytes, .log_keep_bytes = 1000};
    ASSERT_OK(gn_raft_host_open(s->world, &raft, &s->host, &err), &err);
    for (unsigned g = 1; g <= c->n_groups; g++) {
        if (!has_replica(c, id, g))
            continue;
        gn_raft_member members[SERVERS_MAX];
        size_t n = 0;
        for (unsigned i = 1; i <= c->n_servers; i++)
            if (has_replica(c, i, g))
                members[n++] = (gn_raft_member){.id = i, .role = GN_RAFT_VOTER};
        char dir[100];
        snprintf(dir, sizeof dir, "%s/%u-%u", c->dir, id, g);
        gn_shard_options o = {.dir = dir,
                              .group_id = g,
                              .members = members,
                              .n_members = n,
                              .block_cache_bytes = 1 << 20,
                              .memtable_bytes = 1 << 20,
                              .clock = &s->clock,
                              .unresolved = unresolved,
                              .unresolved_ctx = s,
                              .unresolved_after_ms = 200};
        ASSERT_OK(gn_shard_open(s->world, s->host, &o, &s->shards[g], &err), &err);
    }
}

static bool nobody_inside(void *ctx)
{
    return ((server *)ctx)->calls == 0;
}

static void close_server(server *s, bool clean)
{
    s->dying = true;
    assert_true(gn_sim_run_until(s->c->sim, nobody_inside, s, 300 * SECOND));
    for (part *p = s->parts; p; p = p->next) {
        gn_txn_abort(p->txn);
        p->txn = NULL;
    }
    s->parts = NULL;
    for (unsigned g = 1; g <= s->c->n_groups; g++) {
        gn_shard_close(s->shards[g], clean);
        s->shards[g] = NULL;
    }
    gn_raft_host_close(s->host);
}

static void crash(cluster *c, unsigned id)
{
    server *s = &c->servers[id];
    gn_sim_trace(c->sim, "crash %u", id);
    gn_sim_crash(c->sim, id, GN_SIM_TEAR);
    s->incarnation++;
    close_server(s, false);
    s->world = gn_sim_restart(c->sim, id);
    open_server(c, id);
}

static server *find_leader(cluster *c, unsigned group)
{
    server *best = NULL;
    uint64_t term = 0;
    for (unsigned id = 1; id <= c->n_servers; id++) {
        server *s = &c->servers[id];
        if (!s->shards[group] || s->dying)
            continue;
        gn_raft_status status;
        gn_raft_status_get(gn_shard_raft_group(s->shards[group]), &status);
        if (status.leads && status.term > term) {
            best = s;
            term = status.term;
        }
    }
    return best;
}

/* ---- calls: a strand of the clients' goes into a server, and may get no answer ---- */

typedef struct call {
    cluster *c;
    server *server;
    gn_shard *shard;
    unsigned incarnation;
} call;

static bool call_begin(cluster *c, unsigned group, call *out)
{
    pause_for(c->clients, gn_sim_random(c->sim, MS));
    server *s = NULL;
    for (int i = 0; i < 40 && !(s = find_leader(c, group)); i++)
        pause_for(c->clients, 50 * MS);
    if (!s)
        return false;
    *out = (call){c, s, s->shards[group], s->incarnation};
    s->calls++;
    return true;
}

/* False: the answer is lost. */
static bool call_end(call *k)
{
    k->server->calls--;
    bool lost = k->server->incarnation != k->incarnation || k->server->dying || gn_sim_chance(k->c->sim, 0.01);
    pause_for(k->c->clients, gn_sim_random(k->c->sim, MS));
    return !lost;
}

static bool decide(cluster *c, unsigned group, uint64_t txn_id, bool commit, gn_scn scn, gn_decision *out)
{
    call k;
    gn_error err = {0};
    *out = (gn_decision){0};
    if (!call_begin(c, group, &k))
        return false;
    gn_code code = gn_shard_decide(k.shard, txn_id, commit, scn, out, &err);
    if (code == GN_INVALID_PARAMETER)
        problem(c, "an impossible commit: %s", err.message);
    return call_end(&k) && code == GN_OK;
}

static void forget(cluster *c, unsigned group, uint64_t txn_id)
{
    call k;
    if (!call_begin(c, group, &k))
        return;
    gn_shard_forget(k.shard, txn_id, NULL);
    call_end(&k);
}

/* ---- who finds a transaction that nobody decides ---- */

typedef struct resolving {
    cluster *c;
    unsigned group, primary;
    uint64_t txn_id;
} resolving;

static void spread(cluster *c, unsigned primary, uint64_t txn_id)
{
    call k;
    gn_decision d = {0};
    if (!call_begin(c, primary, &k))
        return;
    gn_code code = gn_shard_decision(k.shard, txn_id, &d, NULL);
    bool known = call_end(&k) && code == GN_OK && d.state == GN_COMMITTED;
    for (uint32_t i = 1; known && i < d.n_groups; i++) {
        gn_decision other;
        known = decide(c, (unsigned)d.groups[i], txn_id, true, d.scn, &other);
    }
    if (known)
        forget(c, primary, txn_id);
    gn_decision_close(&d);
}

static void resolve(void *arg)
{
    resolving *r = arg;
    gn_decision d, mine;
    if (decide(r->c, r->primary, r->txn_id, false, 0, &d)) {
        if (r->group != r->primary)
            decide(r->c, r->group, r->txn_id, d.state == GN_COMMITTED, d.state == GN_COMMITTED ? d.scn : 0, &mine);
        else if (d.state == GN_COMMITTED)
            spread(r->c, r->primary, r->txn_id);
    }
    r->c->resolving--;
    free(r);
}

static void unresolved(void *ctx, gn_shard *shard, uint64_t txn_id, uint64_t primary_group)
{
    server *s = ctx;
    if (s->dying || s->c->nobody_resolves || s->c->resolving > 20 || s->c->n_strands > 1900)
        return;
    resolving *r = calloc(1, sizeof *r);
    *r = (resolving){s->c, (unsigned)shard->group_id, (unsigned)primary_group, txn_id};
    s->c->resolving++;
    start_strand(s->c, s->c->clients, resolve, r);
}

/* ---- parts ---- */

static bool read_key(cluster *c, gn_txn *txn, int group, int key, read_item *out)
{
    gn_buf k;
    key_of(key, &k);
    static const uint32_t ordinals[] = {1, 2};
    static const gn_type types[] = {{GN_T_TEXT, false, -1}, {GN_T_INT8, false, -1}};
    gn_scan_spec spec = {.table = c->table, .ordinals = ordinals, .n_ordinals = 2};
    spec.range = (gn_key_range){.lo = gn_buf_bytes(&k), .hi = gn_buf_bytes(&k), .hi_inclusive = true};
    gn_arena *arena = gn_arena_create(NULL);
    gn_batch batch;
    gn_scan *scan = NULL;
    gn_code code = gn_batch_init(&batch, types, 2, arena, NULL);
    if (code == GN_OK)
        code = gn_scan_open(txn, &spec, &scan, NULL);
    if (code == GN_OK)
        code = gn_scan_next(scan, &batch, NULL, NULL);
    bool found = code == GN_OK && batch.n_rows == 1;
    if (found) {
        char tag[32] = "";
        gn_value name = gn_column_get(&batch.columns[0], 0);
        snprintf(tag, sizeof tag, "%.*s", (int)name.as.bytes.len, (const char *)name.as.bytes.data);
        *out = (read_item){group, key, strtoll(tag, NULL, 10), gn_column_get(&batch.columns[1], 0).as.i64};
    } else if (code == GN_OK) {
        problem(c, "a row is missing");
    }
    gn_scan_close(scan);
    gn_arena_destroy(arena);
    gn_buf_close(&k);
    return found;
}

static bool write_key(cluster *c, gn_txn *txn, const read_item *w)
{
    char tag[32];
    snprintf(tag, sizeof tag, "%lld.%d", (long long)w->tag, w->key);
    return update(txn, c->table, w->key, &(row){.id = w->key, .name = tag, .n = w->n}, NULL) == GN_OK;
}

static part *part_begin(cluster *c, unsigned group, gn_txn_options o, call *k)
{
    if (!call_begin(c, group, k))
        return NULL;
    gn_txn *txn;
    gn_scn arrived = gn_shard_last_scn(k->shard);
    o.cancel = &k->server->dying;
    o.deadline_ns = gn_now_ns(k->server->world) + 20 * SECOND;
    if (gn_txn_begin(k->shard, &o, &txn, NULL) != GN_OK) {
        call_end(k);
        return NULL;
    }
    if (c->plant == READERS_DO_NOT_WAIT)
        txn->pending = false;
    if (c->plant == NO_BARRIER && o.global) /* a moment later than that which was waited for */
        txn->read_scn = txn->chain.links[0].scn = ++c->clock;
    if (c->plant == NEWEST_WITHOUT_BARRIER && !o.global)
        txn->read_scn = txn->chain.links[0].scn = arrived;
    if (c->plant == NEWEST_WITHOUT_CLOCK && !o.global && txn->exact)
        txn->read_scn = txn->chain.links[0].scn = gn_shard_last_scn(k->shard);
    part *p = calloc(1, sizeof *p);
    *p = (part){.next = k->server->parts, .txn = txn};
    k->server->parts = p;
    return p;
}

/* Out of the server's hands. NULL: it has died. */
static gn_txn *part_take(part *p, call *k)
{
    gn_txn *txn = p->txn;
    if (txn)
        for (part **at = &k->server->parts; *at; at = &(*at)->next)
            if (*at == p) {
                *at = p->next;
                break;
            }
    free(p);
    return txn;
}

/* ---- transactions ---- */

static event *record(cluster *c, int kind)
{
    assert_true(c->n_history < HISTORY_MAX);
    event *e = &c->history[c->n_history++];
    *e = (event){.kind = kind, .invoked = c->clock, .tag = (int64_t)c->n_history, .outcome = UNKNOWN};
    e->answered = UINT64_MAX;
    return e;
}

static void end(cluster *c, event *e, outcome how, gn_scn at)
{
    e->outcome = how;
    e->at = at;
    if (how != UNKNOWN)
        e->answered = c->clock;
}

static outcome outcome_of(gn_code code, bool answered)
{
    if (!answered || code == GN_OUTCOME_UNKNOWN || code == GN_SHUTDOWN || code == GN_CRASH_SHUTDOWN)
        return UNKNOWN;
    return code == GN_OK ? COMMITTED : REFUSED;
}

/* Reads two accounts and moves something from one to the other. */
static void plan_transfer(cluster *c, event *e, unsigned g1, unsigned g2)
{
    int k1 = (int)gn_sim_random(c->sim, KEYS), k2 = (int)gn_sim_random(c->sim, KEYS);
    if (g1 == g2 && k1 == k2)
        k2 = (k1 + 1) % KEYS;
    e->writes[0] = (read_item){(int)g1, k1, e->tag, -(int64_t)gn_sim_random(c->sim, 10)};
    e->writes[1] = (read_item){(int)g2, k2, e->tag, -e->writes[0].n};
    e->n_writes = 2;
}

static bool move(cluster *c, gn_txn *txn, event *e, int i)
{
    read_item *w = &e->writes[i], *r = &e->reads[e->n_reads];
    if (!read_key(c, txn, w->group, w->key, r))
        return false;
    e->n_reads++;
    w->n += r->n;
    return write_key(c, txn, w);
}

static void transfer_in_one(cluster *c, unsigned group)
{
    event *e = record(c, TRANSFER);
    call k;
    plan_transfer(c, e, group, group);
    part *p = part_begin(c, group, (gn_txn_options){0}, &k);
    if (!p) {
        end(c, e, REFUSED, 0);
        return;
    }
    gn_txn *txn = part_take(p, &k);
    if (!move(c, txn, e, 0) || !move(c, txn, e, 1)) {
        gn_txn_abort(txn);
        call_end(&k);
        end(c, e, REFUSED, 0);
        return;
    }
    gn_scn scn = 0;
    gn_code code = gn_txn_commit(txn, &scn, NULL);
    end(c, e, outcome_of(code, call_end(&k)), scn);
}

static bool dies(cluster *c)
{
    return gn_sim_chance(c->sim, 0.04);
}

static void plant_no_locks(cluster *c, gn_shard *shard, uint64_t txn_id)
{
    gn_prepared *p = c->plant == NOTHING_IS_HELD ? gn_prepared_find(&shard->prepared, txn_id) : NULL;
    if (!p)
        return;
    p->footprint->len = 0;
    gn_read_set_close(&p->held);
    gn_read_set_close(&p->writes);
}

typedef struct transfer {
    uint64_t txn_id, groups[GROUPS_MAX];
    uint32_t n_groups;
} transfer;

/* One part from its begin to its prepare. *sent: it may have been prepared. */
static bool prepare_part(cluster *c, event *e, uint32_t i, gn_scn scn, const transfer *t, bool *sent)
{
    call k;
    part *p = part_begin(c, (unsigned)t->groups[i], (gn_txn_options){.global = true, .read_scn = scn}, &k);
    if (!p)
        return false;
    bool ok;
    if (i < 2) {
        ok = move(c, p->txn, e, (int)i);
    } else { /* a part that only reads */
        ok = read_key(c, p->txn, (int)t->groups[i], (int)gn_sim_random(c->sim, KEYS), &e->reads[e->n_reads]);
        e->n_reads += ok;
    }
    ok = call_end(&k) && ok; /* the client thinks */
    bool same = k.server->incarnation == k.incarnation && !k.server->dying;
    if (same)
        k.server->calls++;
    gn_txn *txn = part_take(p, &k);
    if (!ok || !same || !txn || dies(c)) {
        gn_txn_abort(txn);
        k.server->calls -= same;
        return false;
    }
    *sent = true;
    gn_code code = gn_txn_prepare(txn, t->txn_id, t->groups, t->n_groups, NULL, NULL);
    if (code == GN_OK)
        plant_no_locks(c, k.shard, t->txn_id);
    return call_end(&k) && code == GN_OK;
}

static void decide_transfer(cluster *c, event *e, gn_scn scn, const transfer *t, bool commit)
{
    gn_decision d = {0};
    bool known = false;
    for (int i = 0; i < 5 && !known; i++)
        known = decide(c, (unsigned)t->groups[0], t->txn_id, commit, commit ? scn : 0, &d);
    if (!known)
        return;
    bool committed = d.state == GN_COMMITTED;
    end(c, e, committed ? COMMITTED : REFUSED, d.scn);
    for (uint32_t i = 1; i < t->n_groups; i++) {
        gn_decision other;
        if (dies(c) || !decide(c, (unsigned)t->groups[i], t->txn_id, committed, committed ? d.scn : 0, &other))
            return;
        if (other.state != d.state)
            problem(c, "two groups decided differently");
    }
    if (!dies(c))
        forget(c, (unsigned)t->groups[0], t->txn_id);
}

static void transfer_over_two(cluster *c, unsigned g1, unsigned g2)
{
    event *e = record(c, TRANSFER);
    gn_scn start, scn = 0;
    transfer t = {.txn_id = gn_sim_random(c->sim, 0) | 1, .groups = {g1, g2}, .n_groups = 2};
    plan_transfer(c, e, g1, g2);
    if (c->n_groups == 3 && gn_sim_chance(c->sim, 0.5))
        t.groups[t.n_groups++] = 6 - g1 - g2;
    if (!draw_scns(c, c->clients, 1, 0, &start)) {
        end(c, e, REFUSED, 0);
        return;
    }
    bool sent = false, ok = true, backwards = gn_sim_chance(c->sim, 0.5);
    for (uint32_t i = 0; ok && i < t.n_groups; i++) {
        if (c->plant == SCN_BEFORE_PREPARE && i + 1 == t.n_groups)
            ok = draw_scns(c, c->clients, 1, 0, &scn);
        ok = ok && prepare_part(c, e, backwards ? t.n_groups - 1 - i : i, start, &t, &sent);
        if (dies(c))
            return;
    }
    if (!sent) {
        end(c, e, REFUSED, 0);
        return;
    }
    if (c->plant != SCN_BEFORE_PREPARE)
        ok = ok && draw_scns(c, c->clients, 1, 0, &scn);
    if (!dies(c))
        decide_transfer(c, e, scn, &t, ok);
}

static bool read_group(cluster *c, event *e, unsigned group, gn_txn_options o, gn_scn *scn)
{
    call k;
    o.read_only = true;
    part *p = part_begin(c, group, o, &k);
    if (!p)
        return false;
    gn_txn *txn = part_take(p, &k);
    bool ok = true;
    for (int key = 0; ok && key < KEYS; key++) {
        ok = read_key(c, txn, (int)group, key, &e->reads[e->n_reads]);
        e->n_reads += ok;
    }
    *scn = gn_txn_read_scn(txn);
    gn_txn_abort(txn);
    return call_end(&k) && ok;
}

static void snapshot(cluster *c)
{
    event *e = record(c, SNAPSHOT);
    gn_scn start, at;
    bool ok = draw_scns(c, c->clients, 1, 0, &start);
    int64_t sum = 0;
    for (unsigned g = 1; ok && g <= c->n_groups; g++)
        ok = read_group(c, e, g, (gn_txn_options){.global = true, .read_scn = start}, &at);
    end(c, e, ok ? COMMITTED : REFUSED, start);
    for (int i = 0; ok && i < e->n_reads; i++)
        sum += e->reads[i].n;
    if (ok && sum != (int64_t)(c->n_groups * KEYS * START_BALANCE))
        problem(c, "the total is %lld", (long long)sum);
}

static void newest(cluster *c, unsigned group)
{
    event *e = record(c, NEWEST);
    gn_scn at = 0;
    bool ok = read_group(c, e, group, (gn_txn_options){0}, &at);
    end(c, e, ok ? COMMITTED : REFUSED, at);
}

static void client(void *arg)
{
    cluster *c = arg;
    for (int i = 0; i < ROUNDS; i++) {
        unsigned g1 = 1 + (unsigned)gn_sim_random(c->sim, c->n_groups);
        unsigned g2 = 1 + (g1 - 1 + 1 + (unsigned)gn_sim_random(c->sim, c->n_groups - 1)) % c->n_groups;
        switch (gn_sim_random(c->sim, 6)) {
        case 0:
            transfer_in_one(c, g1);
            break;
        case 1:
            snapshot(c);
            break;
        case 2:
            newest(c, g1);
            break;
        default:
            transfer_over_two(c, g1, g2);
            break;
        }
    }
    c->working--;
}

/* ---- a run ---- */

static bool all_lead(void *ctx)
{
    cluster *c = ctx;
    for (unsigned g = 1; g <= c->n_groups; g++) {
        server *s = find_leader(c, g);
        gn_raft_status status = {0};
        if (s)
            gn_raft_status_get(gn_shard_raft_group(s->shards[g]), &status);
        if (!status.can_read)
            return false;
    }
    return true;
}

static void fill(void *arg)
{
    cluster *c = arg;
    for (unsigned g = 1; g <= c->n_groups; g++) {
        for (bool done = false; !done;) {
            gn_txn *txn;
            server *s = find_leader(c, g);
            if (!s || gn_txn_begin(s->shards[g], NULL, &txn, NULL) != GN_OK)
                continue;
            if (gn_txn_table(txn, TABLE)) {
                gn_txn_abort(txn);
                break;
            }
            gn_error err = {0};
            ASSERT_OK(gn_txn_put_table(txn, c->table, &err), &err);
            for (int k = 0; k < KEYS; k++) {
                char tag[16];
                snprintf(tag, sizeof tag, "0.%d", k);
                ASSERT_OK(insert(txn, c->table, &(row){.id = k, .name = tag, .n = START_BALANCE}, &err), &err);
            }
            done = gn_txn_commit(txn, NULL, &err) == GN_OK;
        }
    }
    c->working--;
}

static bool idle(void *ctx)
{
    return ((cluster *)ctx)->working == 0;
}

static void start(cluster *c, uint64_t seed, plant bug)
{
    *c = (cluster){
        .dir = "/tmp/gnomon-groups-XXXXXX", .plant = bug, .clock = 1000, .snapshot_bytes = seed % 2 ? 20000 : 3000};
    assert_non_null(mkdtemp(c->dir));
    bool replicated = bug == NO_PLANT && seed % 5 == 0;
    c->n_servers = replicated && seed % 10 == 0 ? 5 : 3;
    c->n_groups = replicated ? 2 : 2 + (unsigned)(seed % 2);
    c->n_replicas = replicated ? 3 : 1;
    c->sim = gn_sim_create(seed, c->n_servers + 1);
    c->clients = gn_sim_world(c->sim, c->n_servers + 1);
    c->table = make_table(TABLE);
    add_index(c->table, I_NAME, COL_NAME, true);
    for (unsigned id = 1; id <= c->n_servers; id++) {
        c->servers[id].world = gn_sim_world(c->sim, id);
        open_server(c, id);
    }
    assert_true(gn_sim_run_until(c->sim, all_lead, c, 60 * SECOND));
    c->working = 1;
    start_strand(c, c->clients, fill, c);
    assert_true(gn_sim_run_until(c->sim, idle, c, 60 * SECOND));
}

static void stop(cluster *c)
{
    for (unsigned id = 1; id <= c->n_servers; id++)
        close_server(&c->servers[id], true);
    for (size_t i = 0; i < c->n_strands; i++)
        gn_strand_join(c->strands[i]);
    gn_sim_destroy(c->sim);
    for (unsigned g = 1; g <= c->n_groups; g++)
        for (int k = 0; k < KEYS; k++)
            free(c->versions[g][k]);
    free_table(c->table);
    char command[100];
    snprintf(command, sizeof command, "rm -rf '%s'", c->dir);
    assert_int_equal(system(command), 0);
}

static void cut(cluster *c, unsigned id, bool yes)
{
    gn_sim_cut(c->sim, id, 0, yes);
    gn_sim_cut(c->sim, 0, id, yes);
}

static void work(cluster *c)
{
    c->working = CLIENTS;
    for (int i = 0; i < CLIENTS; i++)
        start_strand(c, c->clients, client, c);
    while (!gn_sim_run_until(c->sim, idle, c, (10 + gn_sim_random(c->sim, 90)) * MS)) {
        unsigned id = 1 + (unsigned)gn_sim_random(c->sim, c->n_servers);
        bool may_crash = c->plant != NOTHING_IS_HELD; /* what was planted is lost with the server */
        switch (gn_sim_random(c->sim, 12)) {
        case 0:
            if (may_crash)
                crash(c, id);
            break;
        case 1:
        case 2:
            cut(c, id, c->n_replicas > 1);
            break;
        case 3:
            c->clock_down = !c->clock_down;
            break;
        default:
            cut(c, id, false);
            c->clock_down = false;
            break;
        }
    }
    for (unsigned id = 1; id <= c->n_servers; id++)
        cut(c, id, false);
    c->clock_down = false;
}

/* ---- afterwards ---- */

static bool all_settled(void *ctx)
{
    cluster *c = ctx;
    if (c->resolving > 0 || !all_lead(c))
        return false;
    for (unsigned g = 1; g <= c->n_groups; g++) {
        gn_scn scn = gn_shard_last_scn(find_leader(c, g)->shards[g]);
        for (unsigned id = 1; id <= c->n_servers; id++) {
            gn_shard *shard = c->servers[id].shards[g];
            if (!shard)
                continue;
            const gn_prepared_list *list = &shard->prepared;
            if (gn_prepared_any(list) || list->n_decided != list->n_aborts - list->aborts_at ||
                gn_shard_last_scn(shard) != scn || gn_shard_closed_scn(shard) != scn)
                return false;
        }
    }
    return true;
}

static void dump_store(gn_shard *shard, gn_buf *out)
{
    gn_store *store = gn_shard_store(shard);
    rocksdb_iterator_t *it = rocksdb_create_iterator(store->db, store->sweep);
    gn_buf_clear(out);
    for (rocksdb_iter_seek_to_first(it); rocksdb_iter_valid(it); rocksdb_iter_next(it)) {
        size_t key_len, value_len;
        const char *key = rocksdb_iter_key(it, &key_len), *value = rocksdb_iter_value(it, &value_len);
        if (key[0] == GN_KIND_META)
            continue;
        gn_buf_append_varbytes(out, gn_bytes_of(key, key_len));
        gn_buf_append_varbytes(out, gn_bytes_of(value, value_len));
    }
    assert_false(out->failed);
    rocksdb_iter_destroy(it);
    gn_store_release(store);
}

static void check_replicas(cluster *c)
{
    gn_buf first, other;
    gn_buf_init(&first, NULL, 64 << 20);
    gn_buf_init(&other, NULL, 64 << 20);
    for (unsigned g = 1; g <= c->n_groups; g++) {
        dump_store(find_leader(c, g)->shards[g], &first);
        for (unsigned id = 1; id <= c->n_servers; id++) {
            if (!c->servers[id].shards[g])
                continue;
            dump_store(c->servers[id].shards[g], &other);
            if (!gn_bytes_eq(gn_buf_bytes(&first), gn_buf_bytes(&other)))
                problem(c, "replicas of group %u differ", g);
        }
    }
    gn_buf_close(&first);
    gn_buf_close(&other);
}

/* The versions of one account, oldest first. */
static void load_versions(cluster *c, unsigned g, int key)
{
    static const uint32_t ordinals[] = {1, 2};
    gn_store *store = gn_shard_store(find_leader(c, g)->shards[g]);
    gn_space space = gn_row_space(c->table, GN_BRANCH_MAIN);
    gn_buf k, from;
    key_of(key, &k);
    gn_buf_init(&from, NULL, GN_STORE_KEY_MAX);
    gn_version_key(&from, &space, gn_buf_bytes(&k), UINT64_MAX);
    rocksdb_iterator_t *it = rocksdb_create_iterator(store->db, store->sweep);
    rocksdb_iter_seek(it, (const char *)from.data, from.len);
    gn_arena *arena = gn_arena_create(NULL);
    version *found = NULL;
    size_t n = 0;
    for (; rocksdb_iter_valid(it); rocksdb_iter_next(it)) {
        size_t len;
        const char *at = rocksdb_iter_key(it, &len);
        gn_bytes stored = gn_bytes_of(at, len);
        if (!gn_bytes_eq(gn_version_stem(stored), gn_version_stem(gn_buf_bytes(&from))))
            break;
        const char *value = rocksdb_iter_value(it, &len);
        gn_bytes bytes;
        bool dead;
        gn_value values[2];
        assert_int_equal(gn_value_open(gn_bytes_of(value, len), &dead, &bytes, NULL), GN_OK);
        assert_int_equal(gn_row_decode(c->table, bytes, ordinals, 2, values, arena, NULL), GN_OK);
        char tag[32];
        snprintf(tag, sizeof tag, "%.*s", (int)values[0].as.bytes.len, (const char *)values[0].as.bytes.data);
        found = realloc(found, (n + 1) * sizeof *found);
        found[n++] = (version){gn_version_scn(stored), strtoll(tag, NULL, 10), values[1].as.i64};
    }
    for (size_t i = 0; i < n / 2; i++) {
        version v = found[i];
        found[i] = found[n - 1 - i];
        found[n - 1 - i] = v;
    }
    c->versions[g][key] = found;
    c->n_versions[g][key] = n;
    gn_arena_destroy(arena);
    rocksdb_iter_destroy(it);
    gn_buf_close(&k);
    gn_buf_close(&from);
    gn_store_release(store);
}

/* Which version a read saw. */
static size_t seen_by(cluster *c, const read_item *r)
{
    size_t n = c->n_versions[r->group][r->key];
    for (size_t i = 0; i < n; i++)
        if (c->versions[r->group][r->key][i].tag == r->tag)
            return i;
    problem(c, "a read saw what was never committed");
    return 0;
}

/* Everything seen was the newest before `at`. */
static void check_reads_at(cluster *c, const event *e, gn_scn at)
{
    for (int i = 0; i < e->n_reads; i++) {
        const read_item *r = &e->reads[i];
        const version *v = c->versions[r->group][r->key];
        size_t seen = seen_by(c, r), n = c->n_versions[r->group][r->key];
        if (v[seen].scn >= at || (seen + 1 < n && v[seen + 1].scn < at) || v[seen].n != r->n)
            problem(c, "%s %lld at %llu read group %d key %d as of %llu, not %llu",
                    e->kind == TRANSFER ? "transfer" : "read", (long long)e->tag, (unsigned long long)at, r->group,
                    r->key, (unsigned long long)v[seen].scn, (unsigned long long)(seen + 1 < n ? v[seen + 1].scn : 0));
    }
}

static void check_newest(cluster *c, const event *e)
{
    gn_scn after = e->invoked, before = UINT64_MAX;
    for (int i = 0; i < e->n_reads; i++) {
        const read_item *r = &e->reads[i];
        const version *v = c->versions[r->group][r->key];
        size_t seen = seen_by(c, r);
        after = v[seen].scn > after ? v[seen].scn : after;
        if (seen + 1 < c->n_versions[r->group][r->key] && v[seen + 1].scn < before)
            before = v[seen + 1].scn;
    }
    if (after >= before)
        problem(c, "a read of one group, begun at %llu, did not see %llu", (unsigned long long)after,
                (unsigned long long)before);
}

static void check_transfer(cluster *c, event *e)
{
    gn_scn at = 0;
    int n = 0;
    for (int i = 0; i < e->n_writes; i++) {
        const read_item *w = &e->writes[i];
        for (size_t j = 0; j < c->n_versions[w->group][w->key]; j++) {
            const version *v = &c->versions[w->group][w->key][j];
            if (v->tag != e->tag)
                continue;
            n++;
            if ((at && at != v->scn) || v->n != w->n)
                problem(c, "transfer %lld is in pieces", (long long)e->tag);
            at = v->scn;
        }
    }
    if (n != 0 && n != e->n_writes)
        problem(c, "transfer %lld is there by half", (long long)e->tag);
    if ((e->outcome == COMMITTED && (n == 0 || at != e->at)) || (e->outcome == REFUSED && n > 0))
        problem(c, "transfer %lld: the client was told something else", (long long)e->tag);
    if (n > 0 && (at <= e->invoked || at > e->answered))
        problem(c, "transfer %lld took place before it began or after it ended", (long long)e->tag);
    if (n > 0)
        check_reads_at(c, e, at);
}

static void check_history(cluster *c)
{
    for (unsigned g = 1; g <= c->n_groups; g++)
        for (int k = 0; k < KEYS; k++)
            load_versions(c, g, k);
    for (size_t i = 0; i < c->n_history; i++) {
        event *e = &c->history[i];
        if (e->kind == TRANSFER)
            check_transfer(c, e);
        else if (e->kind == SNAPSHOT && e->outcome == COMMITTED)
            check_reads_at(c, e, c->plant == NO_BARRIER ? e->at : e->at + 1);
        else if (e->kind == NEWEST && e->outcome == COMMITTED)
            check_newest(c, e);
    }
}

typedef struct tally {
    uint64_t runs, commits, refusals, unknown, reads;
} tally;

/* The first problem's text, or NULL. */
static bool run(uint64_t seed, plant bug, tally *sum, char *what, size_t size)
{
    cluster *c = calloc(1, sizeof *c);
    gn_metric *raised = gn_counter("gnomon_shard_scns_raised_total", NULL, "");
    uint64_t before = gn_counter_value(raised);
    start(c, seed, bug);
    work(c);
    if (!gn_sim_run_until(c->sim, all_settled, c, 120 * SECOND))
        problem(c, "something is left prepared");
    else
        check_replicas(c);
    if (gn_counter_value(raised) != before)
        problem(c, "SCNs do not ascend in the log");
    if (c->problems == 0 || bug != SCN_BEFORE_PREPARE)
        check_history(c);
    for (size_t i = 0; i < c->n_history; i++) {
        const event *e = &c->history[i];
        sum->commits += e->kind == TRANSFER && e->outcome == COMMITTED;
        sum->refusals += e->kind == TRANSFER && e->outcome == REFUSED;
        sum->unknown += e->kind == TRANSFER && e->outcome == UNKNOWN;
        sum->reads += e->kind != TRANSFER && e->outcome == COMMITTED;
    }
    sum->runs++;
    snprintf(what, size, "%s", c->problem);
    bool ok = c->problems == 0;
    stop(c);
    free(c);
    return ok;
}

static void transfers_are_strictly_serializable(void **state)
{
    (void)state;
    tally sum = {0};
    char what[300];
    const char *from = getenv("GN_SEED"), *n = getenv("GN_SEEDS");
    uint64_t first = from ? strtoull(from, NULL, 10) : 1, seeds = n ? strtoull(n, NULL, 10) : from ? 1 : 200;
    for (uint64_t seed = first; seed < first + seeds; seed++)
        if (!run(seed, NO_PLANT, &sum, what, sizeof what))
            fail_msg("seed %llu: %s", (unsigned long long)seed, what);
    print_message("%llu runs: %llu transfers, %llu refused, %llu unknown, %llu reads\n", (unsigned long long)sum.runs,
                  (unsigned long long)sum.commits, (unsigned long long)sum.refusals, (unsigned long long)sum.unknown,
                  (unsigned long long)sum.reads);
    if (!from)
        assert_true(sum.commits > 2 * seeds && sum.reads > 2 * seeds && sum.refusals > seeds &&
                    sum.unknown > seeds / 4);
}

static void planted_bugs_are_found(void **state)
{
    (void)state;
    for (int p = NO_PLANT + 1; p < N_PLANTS; p++) {
        tally sum = {0};
        char what[300] = "";
        uint64_t seed = 1;
        while (seed < 100 && run(seed, (plant)p, &sum, what, sizeof what))
            seed++;
        if (seed == 100)
            fail_msg("planted bug %d was not found", p);
        print_message("planted bug %d: seed %llu: %s\n", p, (unsigned long long)seed, what);
    }
}

/* A leader has an SCN, loses the group, and leads it again when another has committed with a later one. */
typedef struct held_commit {
    cluster *c;
    gn_txn *txn;
    gn_code code;
    bool done;
} held_commit;

static void commit_held(void *arg)
{
    held_commit *h = arg;
    h->code = gn_txn_commit(h->txn, NULL, NULL);
    h->done = true;
    h->c->working--;
}

typedef struct transfer_request {
    gn_raft_request request;
    bool done;
} transfer_request;

static void transfer_done(gn_raft_request *request, gn_code code)
{
    (void)code;
    GN_CONTAINER(request, transfer_request, request)->done = true;
}

static bool has_moved(void *ctx)
{
    return ((transfer_request *)ctx)->done;
}

static void lead(cluster *c, unsigned id)
{
    for (server *s; !(s = find_leader(c, 1)) || s->id != id || !all_lead(c);) {
        if (s && s->id != id) {
            transfer_request r = {.request.done = transfer_done};
            gn_raft_transfer(gn_shard_raft_group(s->shards[1]), id, &r.request);
            assert_true(gn_sim_run_until(c->sim, has_moved, &r, 60 * SECOND));
        }
        gn_sim_run_for(c->sim, 100 * MS);
    }
}

static gn_txn *begin_at(cluster *c, unsigned id, int key)
{
    gn_txn *txn;
    gn_error err = {0};
    ASSERT_OK(gn_txn_begin(c->servers[id].shards[1], NULL, &txn, &err), &err);
    assert_true(write_key(c, txn, &(read_item){1, key, 5000 + (int64_t)id, 1}));
    return txn;
}

static void an_scn_is_used_only_in_the_term_in_which_it_was_asked_for(void **state)
{
    (void)state;
    cluster *c = calloc(1, sizeof *c);
    gn_metric *raised = gn_counter("gnomon_shard_scns_raised_total", NULL, "");
    uint64_t before = gn_counter_value(raised);
    start(c, 5, NO_PLANT);
    lead(c, 1);
    held_commit h = {.c = c, .txn = begin_at(c, 1, 0)};
    c->held_up = 1;
    c->working = 1;
    start_strand(c, c->clients, commit_held, &h);
    gn_sim_run_for(c->sim, 100 * MS);
    lead(c, 2);
    gn_error err = {0};
    ASSERT_OK(gn_txn_commit(begin_at(c, 2, 1), NULL, &err), &err);
    lead(c, 1);
    assert_false(h.done);
    c->held_up = 0;
    assert_true(gn_sim_run_until(c->sim, idle, c, 60 * SECOND));
    assert_int_equal(h.code, GN_NOT_LEADER);
    assert_int_equal(gn_counter_value(raised), before);
    gn_txn *txn = begin_at(c, 1, 2); /* and now it may */
    ASSERT_OK(gn_txn_commit(txn, NULL, &err), &err);
    stop(c);
    free(c);
}

/* Somebody is prepared, a replica is away until the log does not reach back any more, and then it is decided. */
static void snapshot_work(void *arg)
{
    cluster *c = arg;
    transfer t = {.txn_id = 77, .groups = {1, 2}, .n_groups = 2};
    event *e = record(c, TRANSFER);
    gn_scn scn;
    bool sent = false;
    e->writes[0] = (read_item){1, 0, e->tag, -5};
    e->writes[1] = (read_item){2, 0, e->tag, 5};
    e->n_writes = 2;
    while (!draw_scns(c, c->clients, 1, 0, &scn))
        ;
    for (uint32_t i = 0; i < 2; i++)
        if (!prepare_part(c, e, i, scn, &t, &sent))
            problem(c, "no prepare");
    unsigned away = find_leader(c, 1)->id % c->n_servers + 1;
    while (!has_replica(c, away, 1))
        away = away % c->n_servers + 1;
    cut(c, away, true);
    for (int i = 0; i < 120; i++) {
        event *other = record(c, TRANSFER);
        call k;
        part *p = part_begin(c, 1, (gn_txn_options){0}, &k);
        gn_txn *txn = p ? part_take(p, &k) : NULL;
        other->writes[0] = (read_item){1, 1, other->tag, 1};
        other->writes[1] = (read_item){1, 2, other->tag, -1};
        other->n_writes = 2;
        if (txn && move(c, txn, other, 0) && move(c, txn, other, 1)) {
            gn_code code = gn_txn_commit(txn, &scn, NULL);
            end(c, other, outcome_of(code, call_end(&k)), scn);
        } else if (txn) {
            gn_txn_abort(txn);
            call_end(&k);
        }
    }
    cut(c, away, false);
    pause_for(c->clients, 5 * SECOND);
    while (!draw_scns(c, c->clients, 1, 0, &scn))
        ;
    decide_transfer(c, e, scn, &t, true);
    c->nobody_resolves = false;
    c->working--;
}

static void a_snapshot_carries_what_is_prepared(void **state)
{
    (void)state;
    gn_metric *taken = gn_counter("gnomon_shard_snapshots_total", NULL, "");
    uint64_t before = gn_counter_value(taken);
    cluster *c = calloc(1, sizeof *c);
    start(c, 20, NO_PLANT); /* three replicas on five servers */
    c->nobody_resolves = true;
    c->working = 1;
    start_strand(c, c->clients, snapshot_work, c);
    assert_true(gn_sim_run_until(c->sim, idle, c, 300 * SECOND));
    if (!gn_sim_run_until(c->sim, all_settled, c, 120 * SECOND))
        problem(c, "something is left prepared");
    assert_true(gn_counter_value(taken) > before);
    bool installed = false;
    for (unsigned id = 1; id <= c->n_servers; id++)
        installed |= c->servers[id].shards[1] && !strstr(c->servers[id].shards[1]->store->path, "/store-1");
    assert_true(installed);
    check_replicas(c);
    check_history(c);
    if (c->problems)
        fail_msg("%s", c->problem);
    assert_int_equal(c->history[0].outcome, COMMITTED);
    stop(c);
    free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(transfers_are_strictly_serializable),
        cmocka_unit_test(planted_bugs_are_found),
        cmocka_unit_test(an_scn_is_used_only_in_the_term_in_which_it_was_asked_for),
        cmocka_unit_test(a_snapshot_carries_what_is_prepared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
