/* Three replicas under the simulation: they stay equal through crashes and partitions, and one that was away for longer
 * than the log reaches back is given a snapshot. */
#include "base/sim.h"
#include "fixture.h"
#include "shard/shard_private.h"

#include <stdio.h>
#include <stdlib.h>

enum { NODES = 3, TABLE = GN_FIRST_USER_ID, I_NAME, I_V };
#define SECOND UINT64_C(1000000000)

struct cluster;

typedef struct node {
    struct cluster *c;
    char *dir;
    gn_world *world;
    gn_raft_host *host;
    gn_shard *shard;
} node;

typedef struct cluster {
    char dir[48];
    gn_sim *sim;
    node nodes[NODES + 1];

} cluster;

static gn_code fetch(void *ctx, gn_node_id from, const gn_chunk_request *request, const _Atomic bool *cancel,
                     gn_buf *chunk, gn_error *err)
{
    (void)cancel;
    gn_shard *shard = ((node *)ctx)->c->nodes[from].shard;
    return shard ? gn_shard_read_chunk(shard, request, chunk, err) : GN_UNAVAILABLE;
}

static void open_node(cluster *c, unsigned id)
{
    static const gn_raft_member members[NODES] = {{1, GN_RAFT_VOTER}, {2, GN_RAFT_VOTER}, {3, GN_RAFT_VOTER}};
    node *n = &c->nodes[id];
    gn_error err = {0};
    free(n->dir);
    assert_true(asprintf(&n->dir, "%s/%u", c->dir, id) > 0);
    gn_raft_options raft = {.log_dir = "log", .snapshot_threshold_bytes = 20000, .log_keep_bytes = 2000};
    n->c = c;
    gn_shard_options options = {
        .dir = n->dir, .group_id = 1, .members = members, .n_members = NODES, .chunks = {.ctx = n, .fetch = fetch}};
    ASSERT_OK(gn_raft_host_open(n->world, &raft, &n->host, &err), &err);
    ASSERT_OK(gn_shard_open(n->world, n->host, &options, &n->shard, &err), &err);
}

static void close_node(cluster *c, unsigned id, bool clean)
{
    gn_shard *shard = c->nodes[id].shard;
    c->nodes[id].shard = NULL;
    gn_shard_close(shard, clean);
    gn_raft_host_close(c->nodes[id].host);
    c->nodes[id].host = NULL;
}

static void crash(cluster *c, unsigned id)
{
    gn_sim_crash(c->sim, id, GN_SIM_TEAR);
    close_node(c, id, false);
    c->nodes[id].world = gn_sim_restart(c->sim, id);
    open_node(c, id);
}

static void start(cluster *c, uint64_t seed)
{
    *c = (cluster){.dir = "/tmp/gnomon-cluster-XXXXXX"};
    assert_non_null(mkdtemp(c->dir));
    c->sim = gn_sim_create(seed, NODES);
    for (unsigned id = 1; id <= NODES; id++) {
        c->nodes[id].world = gn_sim_world(c->sim, id);
        open_node(c, id);
    }
}

static void stop(cluster *c)
{
    char command[300];
    for (unsigned id = 1; id <= NODES; id++) {
        close_node(c, id, true);
        free(c->nodes[id].dir);
    }
    gn_sim_destroy(c->sim);
    snprintf(command, sizeof command, "rm -rf '%s'", c->dir);
    assert_int_equal(system(command), 0);
}

static unsigned find_leader(cluster *c)
{
    for (unsigned id = 1; id <= NODES; id++) {
        gn_raft_status status;
        gn_raft_status_get(gn_shard_raft_group(c->nodes[id].shard), &status);
        if (status.can_read)
            return id;
    }
    return 0;
}

static bool has_leader(void *ctx)
{
    return find_leader(ctx) != 0;
}

static unsigned leader(cluster *c)
{
    assert_true(gn_sim_run_until(c->sim, has_leader, c, 60 * SECOND));
    return find_leader(c);
}

/* Runs one transaction until it is acknowledged by whoever leads. An unknown outcome may be a success; what is written
 * here may be written twice. */
static void write_until_done(cluster *c, gn_code (*work)(gn_txn *txn, void *ctx, gn_error *err), void *ctx)
{
    for (int attempt = 0; attempt < 200; attempt++) {
        gn_error err = {0};
        gn_txn *txn;
        if (gn_txn_begin(c->nodes[leader(c)].shard, NULL, &txn, &err) != GN_OK) {
            gn_sim_run_for(c->sim, SECOND / 10);
            continue;
        }
        gn_code code = work(txn, ctx, &err);
        if (code != GN_OK) {
            gn_txn_abort(txn);
            ASSERT_OK(code, &err);
        }
        code = gn_txn_commit(txn, NULL, &err);
        if (code == GN_OK)
            return;
    }
    fail_msg("no transaction went through");
}

static gn_code create(gn_txn *txn, void *desc, gn_error *err)
{
    return gn_txn_put_table(txn, desc, err);
}

typedef struct job {
    const gn_table_desc *table;
    int64_t n;
} job;

/* Rows 0..39, written over and over. */
static gn_code upsert(gn_txn *txn, void *ctx, gn_error *err)
{
    const job *j = ctx;
    char name[200];
    float v[DIMENSIONS];
    for (int i = 0; i < 4; i++) {
        int64_t id = (j->n * 7 + i * 11) % 40;
        snprintf(name, sizeof name, "%lld-%0100lld", (long long)id, (long long)j->n);
        for (int d = 0; d < DIMENSIONS; d++)
            v[d] = (float)((j->n + d * i) % 17);
        row r = {.id = id, .name = name, .n = j->n, .v = v};
        gn_code code =
            has_row(txn, j->table, id, NULL) ? update(txn, j->table, id, &r, err) : insert(txn, j->table, &r, err);
        if (code != GN_OK)
            return code;
    }
    return GN_OK;
}

static void write_many(cluster *c, const gn_table_desc *t, int64_t from, int64_t to)
{
    for (job j = {.table = t, .n = from}; j.n < to; j.n++)
        write_until_done(c, upsert, &j);
}

/* ---- comparing ---- */

static bool all_caught_up(void *ctx)
{
    cluster *c = ctx;
    gn_scn newest = 0;
    for (unsigned id = 1; id <= NODES; id++) {
        gn_scn scn = gn_shard_last_scn(c->nodes[id].shard);
        newest = scn > newest ? scn : newest;
    }
    for (unsigned id = 1; id <= NODES; id++)
        if (gn_shard_last_scn(c->nodes[id].shard) < newest)
            return false;
    return true;
}

/* Rows and index entries; the log's reach and notes of garbage are each replica's own. */
static void dump_rows(node *n, gn_buf *out)
{
    gn_store *store = gn_shard_store(n->shard);
    rocksdb_iterator_t *it = rocksdb_create_iterator(store->db, store->sweep);
    gn_buf_clear(out);
    for (rocksdb_iter_seek_to_first(it); rocksdb_iter_valid(it); rocksdb_iter_next(it)) {
        size_t key_len, value_len;
        const char *key = rocksdb_iter_key(it, &key_len), *value = rocksdb_iter_value(it, &value_len);
        if (key[0] != GN_KIND_ROW && key[0] != GN_KIND_INDEX)
            continue;
        gn_buf_append_varbytes(out, gn_bytes_of(key, key_len));
        gn_buf_append_varbytes(out, gn_bytes_of(value, value_len));
    }
    assert_false(out->failed);
    rocksdb_iter_destroy(it);
    gn_store_release(store);
}

static void check_equal(cluster *c)
{
    gn_buf first, other;
    gn_buf_init(&first, NULL, 64 << 20);
    gn_buf_init(&other, NULL, 64 << 20);
    leader(c);
    gn_sim_run_for(c->sim, SECOND);
    assert_true(gn_sim_run_until(c->sim, all_caught_up, c, 60 * SECOND));
    dump_rows(&c->nodes[1], &first);
    assert_true(first.len > 0);
    for (unsigned id = 2; id <= NODES; id++) {
        dump_rows(&c->nodes[id], &other);
        assert_int_equal(first.len, other.len);
        assert_memory_equal(first.data, other.data, first.len);
    }
    gn_buf_close(&first);
    gn_buf_close(&other);
}

static gn_table_desc *make_tables(cluster *c)
{
    gn_table_desc *t = make_table(TABLE);
    add_index(t, I_NAME, COL_NAME, true);
    add_vector_index(t, I_V, 1);
    write_until_done(c, create, t);
    return t;
}

static void replicas_stay_equal_through_crashes(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 2; seed++) {
        cluster c;
        start(&c, seed);
        gn_table_desc *t = make_tables(&c);
        for (unsigned round = 0; round < 4; round++) {
            write_many(&c, t, round * 20, round * 20 + 20);
            crash(&c, round % NODES + 1);
        }
        check_equal(&c);
        free_table(t);
        stop(&c);
    }
}

static unsigned store_number(node *n)
{
    unsigned number = 0;
    const char *name = strrchr(n->shard->store->path, '-');
    assert_int_equal(sscanf(name, "-%u", &number), 1);
    return number;
}

static void a_replica_that_was_away_for_long_gets_a_snapshot(void **state)
{
    (void)state;
    cluster c;
    start(&c, 3);
    gn_table_desc *t = make_tables(&c);
    write_many(&c, t, 0, 10);
    unsigned away = leader(&c) % NODES + 1;
    gn_sim_cut(c.sim, away, 0, true);
    gn_sim_cut(c.sim, 0, away, true);
    write_many(&c, t, 10, 300); /* about 150 KB of log */
    gn_sim_cut(c.sim, away, 0, false);
    gn_sim_cut(c.sim, 0, away, false);
    check_equal(&c);
    assert_true(store_number(&c.nodes[away]) > 1);
    /* what was installed is what a restart finds */
    crash(&c, away);
    write_many(&c, t, 300, 320);
    check_equal(&c);
    assert_true(store_number(&c.nodes[away]) > 1);
    free_table(t);
    stop(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replicas_stay_equal_through_crashes),
        cmocka_unit_test(a_replica_that_was_away_for_long_gets_a_snapshot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
