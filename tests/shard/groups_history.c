#include "groups_cluster.h"

#include <stdio.h>
#include <stdlib.h>

event *record(cluster *c, int kind)
{
    assert_true(c->n_history < HISTORY_MAX);
    event *e = &c->history[c->n_history++];
    *e = (event){.kind = kind, .invoked = c->clock, .tag = (int64_t)c->n_history, .outcome = UNKNOWN};
    e->answered = UINT64_MAX;
    return e;
}

void conclude(cluster *c, event *e, outcome how, gn_scn at)
{
    e->outcome = how;
    e->at = at;
    if (how != UNKNOWN)
        e->answered = c->clock;
}

/* ---- afterwards ---- */

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

void check_replicas(cluster *c)
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
        if (n == 0)
            continue;
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
        if (!v)
            continue;
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

void check_history(cluster *c)
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
