/* Reads of a group that has no replica here, while the node that is asked is slow: another answers, and right; few are
 * asked twice; nothing is left of the loser. */
#include "base/metrics.h"
#include "base/sim.h"
#include "cluster/dtxn_private.h"
#include "cluster/parts_private.h"
#include "tests/base/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NODES = 4, GROUPS = 8, ROWS = 64 };
#define MS UINT64_C(1000000)
#define SECOND (1000 * MS)

typedef struct fixture {
    gn_sim *sim;
    gn_cluster *clusters[NODES + 1];
    char dir[256];
    uint64_t distribution;
    /* a group, a row of it, a node without a replica of it, and who is asked for it there */
    uint64_t group;
    int64_t id;
    gn_node_id from, asked;
} fixture;

/* ---- nodes ---- */

static void open_node(fixture *f, gn_node_id id, const gn_identity *identity, unsigned hedge_percent)
{
    char dir[300], address[8];
    gn_error err = {0};
    snprintf(dir, sizeof dir, "%s/%d", f->dir, (int)id);
    snprintf(address, sizeof address, "n:%d", (int)id);
    gn_cluster_options options = {.data_dir = dir,
                                  .identity = identity,
                                  .address = address,
                                  .hedge_percent = hedge_percent,
                                  .block_cache_bytes = 1 << 20,
                                  .memtable_bytes = 1 << 20};
    assert_int_equal(gn_cluster_open(gn_sim_world(f->sim, id), &options, &f->clusters[id], &err), GN_OK);
}

static void join(fixture *f, gn_node_id stranger, unsigned hedge_percent)
{
    gn_error err = {0};
    gn_identity identity;
    gn_world *world = gn_sim_world(f->sim, stranger);
    gn_rpc *rpc = gn_rpc_create(world, 0);
    char address[8];
    snprintf(address, sizeof address, "n:%d", (int)(stranger - NODES + 1));
    assert_int_equal(
        gn_cluster_join(rpc, 1, &(gn_newcomer){.address = address}, gn_now_ns(world) + 10 * SECOND, &identity, &err),
        GN_OK);
    gn_rpc_stop(rpc);
    gn_rpc_destroy(rpc);
    open_node(f, identity.node, &identity, hedge_percent);
}

static void links(fixture *f, gn_node_id from, gn_node_id to, uint64_t ns)
{
    gn_sim_link link = {.min_ns = ns, .max_ns = ns};
    gn_sim_link_set(f->sim, from, to, &link);
    gn_sim_link_set(f->sim, to, from, &link);
}

/* ---- a table ---- */

static const gn_table_desc *table(gn_dtxn *txn)
{
    const gn_table_desc *t = gn_dtxn_table_named(txn, gn_bytes_str("t"));
    assert_non_null(t);
    return t;
}

static void make_table(fixture *f)
{
    gn_error err = {0};
    gn_dtxn *txn;
    gn_cluster *c = f->clusters[1];
    gn_column_desc columns[2] = {{.id = 1, .name = "id", .type = {GN_T_INT8, false, -1}, .not_null = true},
                                 {.id = 2, .name = "n", .type = {GN_T_INT8, false, -1}}};
    gn_table_desc t = {.name = "t",
                       .key_name = "t_pkey",
                       .version = 1,
                       .next_column_id = 3,
                       .n_columns = 2,
                       .columns = columns,
                       .n_key = 1,
                       .key = {1},
                       .distribution_id = f->distribution,
                       .n_shard_key = 1,
                       .shard_key = {1}};
    assert_int_equal(gn_cluster_new_ids(c, 1, &t.id, &err), GN_OK);
    assert_int_equal(gn_dtxn_begin(c, &(gn_dtxn_options){.several = true}, &txn, &err), GN_OK);
    assert_int_equal(gn_dtxn_put_table(txn, &t, &err), GN_OK);
    assert_int_equal(gn_dtxn_commit(txn, NULL, &err), GN_OK);
    assert_int_equal(gn_dtxn_begin(c, &(gn_dtxn_options){.several = true}, &txn, &err), GN_OK);
    for (int64_t id = 1; id <= ROWS; id++) {
        gn_value row[2] = {{.type = gn_type_of(GN_T_INT8), .as.i64 = id},
                           {.type = gn_type_of(GN_T_INT8), .as.i64 = id * id}};
        assert_int_equal(gn_dtxn_insert(txn, table(txn), row, &err), GN_OK);
    }
    assert_int_equal(gn_dtxn_commit(txn, NULL, &err), GN_OK);
}

typedef struct reading {
    int64_t n; /* of the row */
    uint32_t rows;
    uint64_t took_ns;
    gn_group_figures figures;
} reading;

/* One row from node `from`, in a transaction of its own, as it was so long ago. */
static gn_code read_past(fixture *f, gn_node_id from, int64_t id, uint64_t ago_ms, reading *out, gn_error *err)
{
    static const uint32_t ordinals[] = {0, 1};
    gn_dtxn *txn;
    gn_dscan *scan = NULL;
    gn_buf key;
    gn_value v = {.type = gn_type_of(GN_T_INT8), .as.i64 = id};
    gn_batch batch = {.n_columns = 2, .arena = gn_arena_create(NULL)};
    uint64_t started = gn_sim_now_ns(f->sim);
    *out = (reading){0};
    gn_dtxn_options options = {.read_only = true, .staleness_ms = ago_ms};
    assert_int_equal(gn_dtxn_begin(f->clusters[from], &options, &txn, err), GN_OK);
    gn_buf_init(&key, NULL, 100);
    assert_int_equal(gn_key_append(&key, &v, false, false, NULL), GN_OK);
    gn_scan_spec spec = {.table = table(txn),
                         .range = {.lo = gn_buf_bytes(&key), .hi = gn_buf_bytes(&key), .hi_inclusive = true},
                         .ordinals = ordinals,
                         .n_ordinals = 2};
    gn_code code = gn_dscan_open(txn, &spec, false, &scan, err);
    do {
        if (code == GN_OK)
            code = gn_dscan_next(scan, &batch, NULL, err);
        if (code == GN_OK && batch.n_rows)
            out->n = batch.columns[1].i64[0];
        out->rows += batch.n_rows;
    } while (code == GN_OK && batch.n_rows);
    out->took_ns = gn_sim_now_ns(f->sim) - started;
    gn_dtxn_figures(txn, &out->figures, 1);
    gn_dscan_close(scan);
    gn_dtxn_abort(txn);
    gn_arena_destroy(batch.arena);
    gn_buf_close(&key);
    return code;
}

static gn_code read_row(fixture *f, gn_node_id from, int64_t id, reading *out, gn_error *err)
{
    return read_past(f, from, id, 0, out, err);
}

static void assert_read(fixture *f, reading *out)
{
    gn_error err = {0};
    gn_code code = read_row(f, f->from, f->id, out, &err);
    if (code != GN_OK)
        print_error("%s\n", err.message);
    assert_int_equal(code, GN_OK);
    assert_int_equal(out->rows, 1);
    assert_int_equal(out->n, f->id * f->id);
    assert_int_equal(out->figures.group, f->group);
}

/* What the rest is about. Not a node that others ask for more than the group. */
static bool find_group(fixture *f)
{
    gn_error err = {0};
    uint64_t term;
    gn_node_id meta = gn_raft_leader(gn_shard_raft_group(f->clusters[1]->meta), &term);
    for (gn_node_id from = 1; from <= NODES; from++) {
        for (f->id = 1; f->id <= ROWS; f->id++) {
            reading r;
            assert_int_equal(gn_meta_refresh(f->clusters[from], false, &err), GN_OK);
            if (read_row(f, from, f->id, &r, &err) != GN_OK || r.figures.here || r.figures.node == meta)
                continue;
            f->from = from;
            f->group = r.figures.group;
            return true;
        }
    }
    return false;
}

static void read_many(fixture *f, unsigned n, unsigned *hedged)
{
    reading r;
    *hedged = 0;
    for (unsigned i = 0; i < n; i++) {
        assert_read(f, &r);
        *hedged += r.figures.hedges;
    }
    f->asked = r.figures.node;
}

static int start(void **state, unsigned hedge_percent)
{
    fixture *f = calloc(1, sizeof *f);
    gn_error err = {0};
    unsigned hedged;
    const char *tmp = getenv("TMPDIR");
    tmp = tmp ? tmp : access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(f->dir, sizeof f->dir, "%s/gn-hedges-XXXXXX", tmp);
    assert_non_null(mkdtemp(f->dir));
    f->sim = gn_sim_create(1, 2 * NODES - 1);
    open_node(f, 1, NULL, hedge_percent);
    for (gn_node_id stranger = NODES + 1; stranger < 2 * NODES; stranger++)
        join(f, stranger, hedge_percent);
    gn_sim_run_for(f->sim, 5 * SECOND);
    assert_int_equal(gn_cluster_distribution(f->clusters[1], GROUPS, 3, &f->distribution, &err), GN_OK);
    gn_sim_run_for(f->sim, 60 * SECOND); /* leaders spread */
    make_table(f);
    gn_sim_run_for(f->sim, 5 * SECOND);
    assert_true(find_group(f));
    read_many(f, 60, &hedged);
    assert_int_equal(hedged, 0);
    *state = f;
    return 0;
}

static int setup(void **state)
{
    return start(state, 5);
}

static int setup_without(void **state)
{
    return start(state, 0);
}

static int setup_often(void **state)
{
    return start(state, 50);
}

static int teardown(void **state)
{
    fixture *f = *state;
    char command[300];
    for (unsigned id = 1; id <= NODES; id++)
        gn_cluster_close(f->clusters[id], false);
    gn_sim_destroy(f->sim);
    snprintf(command, sizeof command, "rm -rf '%s'", f->dir);
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

static uint64_t won(void)
{
    return gn_counter_value(gn_counter("gnomon_hedges_won_total", NULL, ""));
}

static void assert_nothing_is_held(fixture *f)
{
    gn_sim_run_for(f->sim, 10 * SECOND);
    for (unsigned id = 1; id <= NODES; id++)
        assert_int_equal(gn_part_server_count(gn_parts_server(f->clusters[id]->parts)), 0);
}

/* ---- tests ---- */

static void another_replica_answers_when_the_first_is_slow(void **state)
{
    fixture *f = *state;
    reading r;
    uint64_t before = won();
    links(f, f->from, f->asked, 400 * MS);
    assert_read(f, &r);
    assert_int_equal(r.figures.hedges, 1);
    assert_int_not_equal(r.figures.node, f->asked);
    assert_true(r.took_ns < 100 * MS);
    assert_int_equal(won(), before + 1);
    assert_nothing_is_held(f);
}

/* Both answer; the first counts, and the other's part goes. */
static void a_hedge_that_comes_too_late_changes_nothing(void **state)
{
    fixture *f = *state;
    reading r;
    uint64_t before = won();
    links(f, f->from, f->asked, 15 * MS);
    for (gn_node_id id = 1; id <= NODES; id++)
        if (id != f->from && id != f->asked)
            links(f, f->from, id, 100 * MS);
    assert_read(f, &r);
    assert_int_equal(r.figures.hedges, 1);
    assert_int_equal(r.figures.node, f->asked);
    assert_int_equal(won(), before);
    links(f, 0, 0, 1 * MS);
    assert_nothing_is_held(f);
}

static gn_node_id leader_of(fixture *f)
{
    uint64_t term;
    gn_shard *shard = NULL;
    gn_cluster *c = NULL;
    for (unsigned id = 1; id <= NODES && !shard; id++)
        shard = gn_group_hold(c = f->clusters[id], f->group);
    assert_non_null(shard);
    gn_node_id leader = gn_raft_leader(gn_shard_raft_group(shard), &term);
    gn_group_release(c, shard);
    return leader;
}

/* Nobody can answer before there is another leader, so a hedge is of no use; but then all do, with a replica or without
 * one. */
static void a_leader_that_hangs_costs_a_read_no_more_than_an_election(void **state)
{
    fixture *f = *state;
    for (gn_node_id from = 1; from <= NODES; from++) {
        reading r;
        gn_error err = {0};
        gn_node_id leader = leader_of(f);
        if (from == leader)
            continue;
        gn_sim_pause(f->sim, leader, true);
        assert_int_equal(read_row(f, from, f->id, &r, &err), GN_OK);
        assert_true(r.rows == 1 && r.n == f->id * f->id);
        assert_true(r.took_ns < 3 * SECOND);
        gn_sim_pause(f->sim, leader, false);
        gn_sim_run_for(f->sim, 20 * SECOND);
    }
    assert_nothing_is_held(f);
}

/* Each replica that has heard of a later commit knows all of that time. */
static void the_past_is_read_without_the_leader(void **state)
{
    fixture *f = *state;
    gn_node_id leader = leader_of(f);
    gn_dtxn *txn;
    gn_error err = {0};
    reading r;
    assert_int_equal(gn_dtxn_begin(f->clusters[f->from], &(gn_dtxn_options){.several = true}, &txn, &err), GN_OK);
    gn_value row[2] = {{.type = gn_type_of(GN_T_INT8), .as.i64 = f->id}, {.type = gn_type_of(GN_T_INT8), .as.i64 = -1}};
    gn_buf key;
    gn_buf_init(&key, NULL, 100);
    assert_int_equal(gn_key_append(&key, &row[0], false, false, NULL), GN_OK);
    assert_int_equal(gn_dtxn_update(txn, table(txn), gn_buf_bytes(&key), row, &err), GN_OK);
    assert_int_equal(gn_dtxn_commit(txn, NULL, &err), GN_OK);
    gn_buf_close(&key);
    gn_sim_run_for(f->sim, 500 * MS); /* followers hear of it */
    gn_sim_pause(f->sim, leader, true);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(read_past(f, f->from, f->id, 2000, &r, &err), GN_OK);
        assert_true(r.rows == 1 && r.n == f->id * f->id);
        assert_true(r.figures.node != leader && r.took_ns < 300 * MS); /* nobody is elected so soon */
    }
    gn_sim_pause(f->sim, leader, false);
    gn_sim_run_for(f->sim, 70 * SECOND); /* what the leader was asked for it keeps for a minute */
    assert_nothing_is_held(f);
}

static void few_are_asked_twice(void **state)
{
    fixture *f = *state;
    enum { READS = 200 };
    unsigned hedged;
    links(f, f->from, f->asked, 40 * MS);
    read_many(f, READS, &hedged);
    assert_in_range(hedged, 1, 3 + READS / 20); /* what 60 reads have saved, and 5 % */
    assert_nothing_is_held(f);
}

static void without_hedges_all_wait(void **state)
{
    fixture *f = *state;
    reading r;
    links(f, f->from, f->asked, 400 * MS);
    assert_read(f, &r);
    assert_int_equal(r.figures.hedges, 0);
    assert_int_equal(r.figures.node, f->asked);
    assert_true(r.took_ns >= 800 * MS);
}

/* Lost and doubled messages, nodes that are slow by turns, a reader that gives up: what is read is right. */
static void what_is_read_is_right_whoever_answers(void **state)
{
    fixture *f = *state;
    unsigned hedged = 0;
    for (unsigned round = 0; round < 20; round++) {
        gn_error err = {0};
        gn_sim_link_set(f->sim, 0, 0,
                        &(gn_sim_link){.loss = 0.05, .duplicate = 0.3, .min_ns = MS / 10, .max_ns = 20 * MS});
        links(f, f->from, 1 + gn_sim_random(f->sim, NODES), 1 + gn_sim_random(f->sim, 60 * MS));
        for (int64_t id = 1; id <= ROWS; id += 3) {
            reading r;
            gn_code code = read_row(f, f->from, id, &r, &err);
            assert_true(code == GN_OK || code == GN_SERIALIZATION || code == GN_UNAVAILABLE);
            assert_true(code != GN_OK || (r.rows == 1 && r.n == id * id));
            hedged += r.figures.hedges;
        }
    }
    assert_true(hedged > 5);
    links(f, 0, 0, 1 * MS);
    assert_nothing_is_held(f);
}

#define TEST(f, setup) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(another_replica_answers_when_the_first_is_slow, setup),
        TEST(a_hedge_that_comes_too_late_changes_nothing, setup),
        TEST(a_leader_that_hangs_costs_a_read_no_more_than_an_election, setup),
        TEST(the_past_is_read_without_the_leader, setup),
        TEST(few_are_asked_twice, setup),
        TEST(without_hedges_all_wait, setup_without),
        TEST(what_is_read_is_right_whoever_answers, setup_often),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
