/* The record of what clients did, and whether it has an order.
 *
 * The claim is that every transaction takes place at its SCN, and that this SCN was handed out by the clock between the
 * transaction's begin and its end. So the versions in the stores, in order of SCN, are the history, and each
 * transaction's reads, and what its client was told, are compared with it: strict serializability in linear time. A
 * read at the newest SCN of a group has a range of possible places instead: after all that had been handed out when it
 * began and all that it saw, before the first version that it did not see. */
#include "cluster/placement_private.h"
#include "shard/keyspace_private.h"
#include "shard/shard_private.h"
#include "tests/sim/cluster/trial.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

event *record(trial *t, const char *what)
{
    event *e = gn_xcalloc(1, sizeof *e);
    if ((t->n_history & (t->n_history - 1)) == 0)
        t->history = gn_xrealloc(t->history, (t->n_history ? 2 * t->n_history : 1) * sizeof *t->history);
    t->history[t->n_history++] = e;
    *e = (event){.what = what, .invoked = t->handed, .tag = (int64_t)t->n_history, .outcome = UNKNOWN, .taken = -1};
    e->answered = UINT64_MAX;
    return e;
}

void conclude(trial *t, event *e, outcome how, gn_scn at)
{
    e->outcome = how;
    e->at = at;
    if (how != UNKNOWN)
        e->answered = t->handed;
    gn_sim_trace(t->sim, "%s %lld: %s", e->what, (long long)e->tag,
                 how == COMMITTED ? "committed"
                 : how == REFUSED ? "refused"
                                  : "unknown");
}

/* ---- replicas ---- */

/* What is left of an index that was dropped is kept for a while. What a split has left of others' is removed from
 * indexes that there are, on each node at its own time, so these leftovers differ. */
static bool is_dropped(const gn_schema *schema, gn_bytes key)
{
    if (key.data[0] != GN_KIND_INDEX)
        return false;
    for (size_t i = 0; i < schema->n; i++)
        for (uint32_t k = 0; k < schema->by_id[i].desc->n_indexes; k++) {
            uint8_t prefix[GN_SPACE_PREFIX_MAX];
            const gn_table_desc *desc = schema->by_id[i].desc;
            gn_space space = gn_index_space(desc, &desc->indexes[k], GN_BRANCH_MAIN);
            size_t n = gn_space_prefix(&space, prefix);
            if (key.len >= n && memcmp(key.data, prefix, n) == 0)
                return false;
        }
    return true;
}

static void dump_store(gn_shard *shard, gn_buf *out)
{
    pthread_mutex_lock(&shard->view_lock);
    gn_schema *schema = gn_schema_retain(shard->schema);
    pthread_mutex_unlock(&shard->view_lock);
    gn_store *store = gn_shard_store(shard);
    rocksdb_iterator_t *it = rocksdb_create_iterator(store->db, store->sweep);
    gn_buf_clear(out);
    for (rocksdb_iter_seek_to_first(it); rocksdb_iter_valid(it); rocksdb_iter_next(it)) {
        size_t key_len, value_len;
        const char *key = rocksdb_iter_key(it, &key_len), *value = rocksdb_iter_value(it, &value_len);
        if (key[0] == GN_KIND_META || is_dropped(schema, gn_bytes_of(key, key_len)))
            continue;
        gn_buf_append_varbytes(out, gn_bytes_of(key, key_len));
        gn_buf_append_varbytes(out, gn_bytes_of(value, value_len));
    }
    rocksdb_iter_destroy(it);
    gn_store_release(store);
    gn_schema_release(schema);
}

/* The first entry that only one has, or has otherwise: its kind and key. */
static void describe_difference(gn_bytes a, gn_bytes b, char *out, size_t size)
{
    gn_reader x = gn_reader_of(a), y = gn_reader_of(b);
    gn_bytes key = {0}, other = {0};
    bool same = true;
    while (same && gn_reader_left(&x) > 0 && gn_reader_left(&y) > 0) {
        key = gn_read_varbytes(&x);
        other = gn_read_varbytes(&y);
        same = gn_bytes_eq(key, other);
        gn_bytes value = gn_read_varbytes(&x), other_value = gn_read_varbytes(&y);
        same = same && gn_bytes_eq(value, other_value);
    }
    if (same)
        key = gn_read_varbytes(gn_reader_left(&x) ? &x : &y);
    int n = snprintf(out, size, "'%c'", key.len ? key.data[0] : '?');
    for (size_t i = 0; i < key.len && i < 40; i++)
        n += snprintf(out + n, size - (size_t)n, " %02x", key.data[i]);
    n += snprintf(out + n, size - (size_t)n, " and");
    for (size_t i = 0; i < other.len && i < 40; i++)
        n += snprintf(out + n, size - (size_t)n, " %02x", other.data[i]);
}

void check_replicas(trial *t)
{
    char what[300];
    gn_buf first, other;
    uint64_t ids[64];
    size_t n = group_ids(t, ids, 64);
    gn_buf_init(&first, NULL, 64 << 20);
    gn_buf_init(&other, NULL, 64 << 20);
    for (size_t g = 0; g < n; g++) {
        node *leader = group_leader(t, ids[g]);
        if (!leader)
            continue;
        gn_shard *led = replica_of(leader, ids[g]);
        dump_store(led, &first);
        for (unsigned i = 1; i <= MOST_ID; i++) {
            node *x = &t->nodes[i];
            gn_shard *shard = is_alive(x) && x->cluster ? replica_of(x, ids[g]) : NULL;
            if (!shard || x == leader || !gn_raft_is_member(gn_shard_raft_group(led), i)) /* one that moved away */
                continue;
            dump_store(shard, &other);
            if (gn_bytes_eq(gn_buf_bytes(&first), gn_buf_bytes(&other)))
                continue;
            describe_difference(gn_buf_bytes(&first), gn_buf_bytes(&other), what, sizeof what);
            problem(t, "the replicas of group %d on nodes %d and %u differ: %s", (int)ids[g], (int)leader->id, i, what);
        }
    }
    gn_buf_close(&first);
    gn_buf_close(&other);
}

/* ---- versions ---- */

gn_code encoded_key(int64_t id, gn_buf *out)
{
    gn_value v = {.type = gn_type_of(GN_T_INT8), .as.i64 = id};
    gn_buf_init(out, NULL, 64);
    return gn_key_append(out, &v, false, false, NULL);
}

static version read_version(const gn_table_desc *desc, gn_bytes key, gn_bytes value, gn_arena *arena)
{
    static const uint32_t ordinals[] = {1, 2};
    version v = {.scn = gn_version_scn(key)};
    gn_bytes row;
    gn_value values[2];
    if (gn_value_open(value, &v.dead, &row, NULL) == GN_OK && !v.dead &&
        gn_row_decode(desc, row, ordinals, 2, values, arena, NULL) == GN_OK) {
        v.tag = values[0].as.i64;
        v.n = values[1].as.i64;
    }
    return v;
}

/* Of one row, oldest first. */
static void load_row(versions *out, gn_store *store, const gn_table_desc *desc, gn_bytes row_key, gn_arena *arena)
{
    gn_buf from;
    gn_space space = gn_row_space(desc, GN_BRANCH_MAIN);
    gn_buf_init(&from, NULL, GN_STORE_KEY_MAX);
    gn_version_key(&from, &space, row_key, UINT64_MAX);
    rocksdb_iterator_t *it = rocksdb_create_iterator(store->db, store->sweep);
    rocksdb_iter_seek(it, (const char *)from.data, from.len);
    for (; rocksdb_iter_valid(it); rocksdb_iter_next(it)) {
        size_t key_len, len;
        const char *key = rocksdb_iter_key(it, &key_len), *value = rocksdb_iter_value(it, &len);
        gn_bytes stored = gn_bytes_of(key, key_len);
        if (!gn_bytes_eq(gn_version_stem(stored), gn_version_stem(gn_buf_bytes(&from))))
            break;
        out->items = gn_xrealloc(out->items, (out->n + 1) * sizeof *out->items);
        out->items[out->n++] = read_version(desc, stored, gn_bytes_of(value, len), arena);
    }
    for (size_t i = 0; i < out->n / 2; i++) {
        version v = out->items[i];
        out->items[i] = out->items[out->n - 1 - i];
        out->items[out->n - 1 - i] = v;
    }
    rocksdb_iter_destroy(it);
    gn_buf_close(&from);
}

static void load_table(trial *t, table which, const gn_table_desc *desc, const gn_placement *p)
{
    gn_arena *arena = gn_arena_create(NULL);
    const gn_distribution *d = gn_placement_distribution(p, desc->distribution_id);
    for (int id = 0; id < t->next_fresh; id++) {
        gn_buf key;
        uint32_t slot;
        uint64_t group = GN_META_GROUP;
        if (encoded_key(id, &key) == GN_OK && d && gn_slot_of_key(desc, gn_buf_bytes(&key), &slot, NULL) == GN_OK)
            group = gn_placement_owner(p, d, slot)->id;
        node *leader = group_leader(t, group);
        gn_store *store = gn_shard_store(replica_of(leader, group));
        t->owners[which][id] = group;
        load_row(&t->versions[which][id], store, desc, gn_buf_bytes(&key), arena);
        gn_store_release(store);
        gn_buf_close(&key);
        gn_arena_reset(arena);
    }
    gn_arena_destroy(arena);
}

/* ---- what a recovery may lose ---- of each group that went on from one replica, what was committed after all of
 * which it had the whole; and of a transaction of which one part may be lost, any other: the decision may be with it */

static bool was_before(const trial *t, const event *e)
{
    return t->recovered && (size_t)e->tag <= t->n_before;
}

static const struct torn *torn_group(const trial *t, uint64_t group)
{
    for (size_t i = 0; i < t->n_torn; i++)
        if (t->torn[i].group == group)
            return &t->torn[i];
    return NULL;
}

static gn_scn complete_everywhere(const trial *t)
{
    gn_scn least = UINT64_MAX;
    for (size_t i = 0; i < t->n_torn; i++)
        if (t->torn[i].complete < least)
            least = t->torn[i].complete;
    return least;
}

/* What it has read or heard by then may be of what was lost. */
static bool may_be_of_lost(const trial *t, const event *e, gn_scn at)
{
    return was_before(t, e) && at > complete_everywhere(t);
}

/* An entry that a leader gave up, after its client had been refused, may be one of the log that goes on. */
static bool has_tails(const trial *t)
{
    bool any = false;
    for (size_t i = 0; i < t->n_torn; i++)
        any |= t->torn[i].tail;
    return any;
}

static uint64_t lost_definitions(const trial *t)
{
    uint64_t n = 0;
    for (size_t i = 0; i < t->n_history; i++) {
        const event *e = t->history[i];
        n += e->defines && e->outcome == COMMITTED && may_be_of_lost(t, e, e->at);
    }
    return n;
}

static bool load_versions(trial *t)
{
    static const char *const names[N_TABLES] = {"spread", "plain"};
    node *n = group_leader(t, GN_META_GROUP);
    gn_txn *meta;
    gn_error err = {0};
    if (!n || gn_txn_begin(n->cluster->meta, &(gn_txn_options){.read_only = true, .stale = true}, &meta, &err) != GN_OK)
        return false;
    gn_placement *p = gn_meta_placement(n->cluster);
    for (int k = 0; k < N_TABLES; k++)
        load_table(t, (table)k, gn_txn_table_named(meta, gn_bytes_str(names[k])), p);
    const gn_table_desc *changing = gn_txn_table_named(meta, gn_bytes_str("changing"));
    uint64_t changes = changing->version - 1;
    if (changes < t->definition_changes - lost_definitions(t) ||
        (changes > t->definition_changes + t->definitions_unknown + t->recovered && !has_tails(t)))
        problem(t, "a definition was changed %d times, clients were told of %d", (int)changes,
                (int)t->definition_changes);
    gn_placement_release(p);
    gn_txn_abort(meta);
    return true;
}

/* ---- checks ---- */

static const versions *versions_of(trial *t, const item *i)
{
    return &t->versions[i->table][i->id];
}

/* The first version with scn >= at. */
static size_t first_from(const versions *v, gn_scn at)
{
    size_t lo = 0, hi = v->n;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (v->items[mid].scn < at)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static void check_item_at(trial *t, const event *e, const item *r, gn_scn at)
{
    if (may_be_of_lost(t, e, at - 1))
        return;
    const versions *v = versions_of(t, r);
    size_t next = first_from(v, at);
    const version *last = next ? &v->items[next - 1] : NULL;
    bool absent = !last || last->dead;
    if (absent != r->absent || (!absent && (last->tag != r->tag || last->n != r->n)))
        problem(t, "%s %lld at %llu read %lld of %s %d, which was %lld, of %llu, and %lld from %llu on", e->what,
                (long long)e->tag, (unsigned long long)at, r->absent ? -1 : (long long)r->tag,
                r->table == PLAIN ? "plain" : "spread", r->id, absent ? -1 : (long long)last->tag,
                (unsigned long long)(last ? last->scn : 0), next < v->n ? (long long)v->items[next].tag : -1,
                (unsigned long long)(next < v->n ? v->items[next].scn : 0));
}

static const item *item_read(const event *e, table k, int id)
{
    for (int i = 0; i < e->n_reads; i++)
        if (e->reads[i].table == k && e->reads[i].id == id)
            return &e->reads[i];
    return NULL;
}

/* What a scan did not bring was not there. */
static item missed(table k, int id)
{
    return (item){.table = k, .id = id, .absent = true};
}

static void check_reads_at(trial *t, const event *e, gn_scn at)
{
    for (int i = 0; i < e->n_reads; i++)
        check_item_at(t, e, &e->reads[i], at);
    for (int k = 0; k < N_TABLES; k++)
        for (int id = 0; e->scans[k] && id < t->next_fresh; id++) {
            item none = missed((table)k, id);
            if (!item_read(e, (table)k, id))
                check_item_at(t, e, &none, at);
        }
}

static void narrow(trial *t, const event *e, const item *r, gn_scn *after, gn_scn *before)
{
    const versions *v = versions_of(t, r);
    size_t next = 0;
    if (!r->absent) {
        while (next < v->n && (v->items[next].dead || v->items[next].tag != r->tag))
            next++;
        if (next == v->n) {
            problem(t, "%s %lld read what was never committed", e->what, (long long)e->tag);
            return;
        }
        *after = v->items[next].scn > *after ? v->items[next].scn : *after;
        next++;
    } else { /* rows come and go: the last time that it was gone by then */
        next = first_from(v, *after + 1);
        if (next > 0 && !v->items[next - 1].dead) /* it was there: not seen, so before it came */
            next--;
    }
    if (next < v->n && v->items[next].scn < *before)
        *before = v->items[next].scn;
}

static void check_newest(trial *t, const event *e)
{
    gn_scn after = e->invoked, before = UINT64_MAX;
    for (int i = 0; i < e->n_reads; i++)
        if (!e->reads[i].absent)
            narrow(t, e, &e->reads[i], &after, &before);
    for (int i = 0; i < e->n_reads; i++)
        if (e->reads[i].absent)
            narrow(t, e, &e->reads[i], &after, &before);
    for (int k = 0; k < N_TABLES; k++)
        for (int id = 0; e->scans[k] && id < t->next_fresh; id++) {
            item none = missed((table)k, id);
            if (!item_read(e, (table)k, id))
                narrow(t, e, &none, &after, &before);
        }
    if (after >= before)
        problem(t, "%s %lld, which must see %llu, did not see %llu", e->what, (long long)e->tag,
                (unsigned long long)after, (unsigned long long)before);
}

static const version *find_written(trial *t, const event *e, const item *w)
{
    const versions *v = versions_of(t, w);
    const version *found = NULL;
    for (size_t i = 0; i < v->n; i++) {
        if (v->items[i].dead || v->items[i].tag != e->tag)
            continue;
        if (found)
            problem(t, "%s %lld has written %d twice", e->what, (long long)e->tag, w->id);
        found = &v->items[i];
    }
    return found;
}

static void check_removed(trial *t, const event *e, const item *w, gn_scn at)
{
    const versions *v = versions_of(t, w);
    size_t i = first_from(v, at);
    if (i == v->n || v->items[i].scn != at || !v->items[i].dead)
        problem(t, "%s %lld is in pieces", e->what, (long long)e->tag);
}

static gn_scn written_at(trial *t, const event *e)
{
    gn_scn at = 0;
    for (int i = 0; i < e->n_writes; i++) {
        const version *v = e->writes[i].absent ? NULL : find_written(t, e, &e->writes[i]);
        if (v && v->scn > at)
            at = v->scn;
    }
    return at;
}

/* One of its groups may have lost it. */
static bool may_be_torn(trial *t, const event *e)
{
    gn_scn at = e->outcome == COMMITTED ? e->at : written_at(t, e);
    bool may = false;
    for (int i = 0; i < e->n_writes && was_before(t, e); i++) {
        const struct torn *group = torn_group(t, t->owners[e->writes[i].table][e->writes[i].id]);
        may |= group && at > group->complete;
    }
    return may;
}

/* What is there of it is what it wrote, and nothing that was refused comes back but from the end of a log. */
static void check_torn(trial *t, const event *e)
{
    int n = 0, lives = 0;
    bool tail = false;
    for (int i = 0; i < e->n_writes; i++) {
        const item *w = &e->writes[i];
        const struct torn *group = torn_group(t, t->owners[w->table][w->id]);
        const version *v = w->absent ? NULL : find_written(t, e, w);
        lives += !w->absent;
        tail |= group && group->tail;
        if (!v)
            continue;
        n++;
        if (v->n != w->n)
            problem(t, "%s %lld is not what it was", e->what, (long long)e->tag);
        if (e->outcome == COMMITTED && v->scn != e->at && !tail)
            problem(t, "%s %lld was committed at %llu, and is there at %llu", e->what, (long long)e->tag,
                    (unsigned long long)e->at, (unsigned long long)v->scn);
    }
    if (e->outcome == REFUSED && n > 0 && !tail)
        problem(t, "%s %lld was refused, and is there since others were lost", e->what, (long long)e->tag);
    t->counts.torn += n < lives;
}

static void check_writer(trial *t, const event *e)
{
    if (may_be_torn(t, e)) {
        check_torn(t, e);
        return;
    }
    gn_scn at = 0;
    int n = 0, lives = 0;
    for (int i = 0; i < e->n_writes; i++) {
        const item *w = &e->writes[i];
        const version *v = w->absent ? NULL : find_written(t, e, w);
        lives += !w->absent;
        if (!v)
            continue;
        n++;
        if ((at && at != v->scn) || v->n != w->n)
            problem(t, "%s %lld is in pieces", e->what, (long long)e->tag);
        at = v->scn;
    }
    if (n != 0 && n != lives)
        problem(t, "%s %lld is there by half", e->what, (long long)e->tag);
    if ((e->outcome == COMMITTED && (n == 0 || at != e->at)) || (e->outcome == REFUSED && n > 0))
        problem(t, "%s %lld: the client was told %s at %llu, it was written at %llu", e->what, (long long)e->tag,
                e->outcome == COMMITTED ? "committed" : "refused", (unsigned long long)e->at, (unsigned long long)at);
    if (n == 0)
        return;
    if (at <= e->invoked || at > e->answered)
        problem(t, "%s %lld took place at %llu, before it began or after it ended", e->what, (long long)e->tag,
                (unsigned long long)at);
    for (int i = 0; i < e->n_writes; i++)
        if (e->writes[i].absent)
            check_removed(t, e, &e->writes[i], at);
    check_reads_at(t, e, at);
}

/* It was refused because somebody has the key: somebody had, by then. */
static void check_taken(trial *t, const event *e)
{
    const versions *v = &t->versions[e->writes[0].table][e->taken];
    if (v->n == 0 || v->items[0].scn > e->answered)
        problem(t, "%s %lld was refused for a key that nobody had", e->what, (long long)e->tag);
}

void check_history(trial *t)
{
    if (!load_versions(t)) {
        problem(t, "the stores cannot be read");
        return;
    }
    for (size_t i = 0; i < t->n_history; i++) {
        event *e = t->history[i];
        if (e->n_writes)
            check_writer(t, e);
        else if (e->read_only && e->outcome == COMMITTED && e->newest && !may_be_of_lost(t, e, e->answered))
            check_newest(t, e);
        else if (e->read_only && e->outcome == COMMITTED && !e->newest)
            check_reads_at(t, e, e->at + 1);
        if (e->read_only && !e->newest && e->outcome == COMMITTED && (e->at <= e->invoked || e->at > e->answered))
            problem(t, "%s %lld reads at %llu, not of its time", e->what, (long long)e->tag, (unsigned long long)e->at);
        if (e->taken >= 0 && !may_be_of_lost(t, e, e->answered))
            check_taken(t, e);
    }
}

/* ---- the clock ---- */

static int by_first(const void *a, const void *b)
{
    gn_scn x = ((const struct span *)a)->first, y = ((const struct span *)b)->first;
    return x < y ? -1 : x > y;
}

static void check_spans(trial *t, struct span *spans, size_t n)
{
    if (n)
        qsort(spans, n, sizeof *spans, by_first);
    for (size_t i = 1; i < n; i++)
        if (spans[i - 1].first + spans[i - 1].n > spans[i].first)
            problem(t, "the clock gave %llu to two", (unsigned long long)spans[i].first);
}

void check_clock(trial *t)
{
    /* What only those got who were lost may be given again. */
    size_t n_before = t->recovered ? t->n_spans_before : 0;
    check_spans(t, t->spans, n_before);
    check_spans(t, t->spans + n_before, t->n_spans - n_before);
}
