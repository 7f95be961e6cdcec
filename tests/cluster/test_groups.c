/* A node's part of the database with several groups: placement, rows that find their group, commits over groups, what a
 * crash leaves. */
#include "base/limits.h"
#include "cluster/cluster_private.h"
#include "cluster/dtxn.h"
#include "cluster/merges_private.h"
#include "cluster/part_private.h"
#include "cluster/recover.h"
#include "cluster/resolver_private.h"
#include "cluster/splits_private.h"
#include "cluster/system_tables_private.h"
#include "shard/shard_private.h"
#include "tests/base/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SHARDS = 4, ACCOUNTS = 16, START = 100, WORKERS = 4, TRANSFERS = 60 };
#define PATIENCE_NS 120000000000u /* only what hangs needs it */

static char dir[256];
static gn_world *world;
static gn_cluster *cluster;
static uint64_t split_bytes, split_rate, merge_bytes; /* of the next open */

/* Nothing moves away in these tests. */
static gn_shard *replica_of(uint64_t group)
{
    gn_shard *shard = gn_group_hold(cluster, group);
    gn_group_release(cluster, shard);
    return shard;
}

static void open_cluster(void)
{
    gn_error err = {0};
    gn_cluster_options options = {
        .data_dir = dir, .split_bytes = split_bytes, .split_rate = split_rate, .merge_bytes = merge_bytes};
    world = gn_world_real_create(&(gn_world_options){.threads = 2, .node_id = 7});
    gn_code code = gn_cluster_open(world, &options, &cluster, &err);
    assert_string_equal(err.message, "");
    assert_int_equal(code, GN_OK);
}

static void close_cluster(bool clean)
{
    gn_cluster_close(cluster, clean);
    gn_world_real_destroy(world);
}

static int set_up(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR");
    snprintf(dir, sizeof dir, "%s/gnomon-test-XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(dir));
    open_cluster();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    split_bytes = split_rate = merge_bytes = 0;
    char command[300];
    close_cluster(true);
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    return system(command);
}

/* ---- a spread table: id bigint primary key, n bigint ---- */

static const gn_table_desc *make_table(void)
{
    static gn_column_desc columns[2];
    static gn_table_desc desc;
    gn_error err = {0};
    gn_dtxn *txn;
    columns[0] = (gn_column_desc){.id = 1, .name = "id", .type = gn_type_of(GN_T_INT8), .not_null = true};
    columns[1] = (gn_column_desc){.id = 2, .name = "n", .type = gn_type_of(GN_T_INT8)};
    desc = (gn_table_desc){.version = 1,
                           .name = "accounts",
                           .next_column_id = 3,
                           .n_columns = 2,
                           .columns = columns,
                           .n_key = 1,
                           .key = {1},
                           .key_name = "accounts_pkey",
                           .n_shard_key = 1,
                           .shard_key = {1}};
    assert_int_equal(gn_cluster_new_ids(cluster, 1, &desc.id, &err), GN_OK);
    assert_int_equal(gn_cluster_distribution(cluster, SHARDS, 1, &desc.distribution_id, &err), GN_OK);
    assert_int_equal(gn_dtxn_begin(cluster, &(gn_dtxn_options){0}, &txn, &err), GN_OK);
    assert_int_equal(gn_dtxn_put_table(txn, &desc, &err), GN_OK);
    gn_code code = gn_dtxn_commit(txn, NULL, &err);
    assert_string_equal(err.message, "");
    assert_int_equal(code, GN_OK);
    return &desc;
}

static gn_dtxn *begin(bool read_only)
{
    gn_dtxn *txn;
    gn_error err = {0};
    gn_code code = gn_dtxn_begin(cluster, &(gn_dtxn_options){.read_only = read_only, .several = true}, &txn, &err);
    assert_string_equal(err.message, "");
    assert_int_equal(code, GN_OK);
    return txn;
}

static const gn_table_desc *accounts(gn_dtxn *txn)
{
    const gn_table_desc *t = gn_dtxn_table_named(txn, gn_bytes_str("accounts"));
    assert_non_null(t);
    return t;
}

static void values_of(int64_t id, int64_t n, gn_value values[2])
{
    values[0] = (gn_value){.type = gn_type_of(GN_T_INT8), .as.i64 = id};
    values[1] = (gn_value){.type = gn_type_of(GN_T_INT8), .as.i64 = n};
}

typedef struct sum {
    int64_t rows, total, last_id;
    bool ordered;
} sum;

static gn_code add_up(gn_dtxn *txn, const gn_key_range *range, sum *out, gn_error *err)
{
    static const uint32_t BOTH[2] = {0, 1};
    gn_scan_spec spec = {.table = accounts(txn), .ordinals = BOTH, .n_ordinals = 2};
    if (range)
        spec.range = *range;
    gn_dscan *scan = NULL;
    gn_batch batch = {.n_columns = 2, .arena = gn_arena_create(NULL)};
    *out = (sum){.last_id = INT64_MIN, .ordered = true};
    gn_code code = gn_dscan_open(txn, &spec, true, &scan, err);
    while (code == GN_OK && (code = gn_dscan_next(scan, &batch, NULL, err)) == GN_OK && batch.n_rows)
        for (uint32_t r = 0; r < batch.n_rows; r++) {
            out->rows++;
            out->total += batch.columns[1].i64[r];
            out->ordered &= batch.columns[0].i64[r] > out->last_id;
            out->last_id = batch.columns[0].i64[r];
        }
    gn_dscan_close(scan);
    gn_arena_destroy(batch.arena);
    return code;
}

static gn_code set_account(gn_dtxn *txn, int64_t id, int64_t n, bool insert, gn_error *err)
{
    gn_value values[2];
    gn_buf key;
    values_of(id, n, values);
    if (insert)
        return gn_dtxn_insert(txn, accounts(txn), values, err);
    gn_buf_init(&key, NULL, GN_MAX_KEY);
    gn_code code = gn_key_append(&key, &values[0], false, false, err);
    if (code == GN_OK)
        code = gn_dtxn_update(txn, accounts(txn), gn_buf_bytes(&key), values, err);
    gn_buf_close(&key);
    return code;
}

static gn_code get_account(gn_dtxn *txn, int64_t id, int64_t *n, gn_error *err)
{
    gn_value value = {.type = gn_type_of(GN_T_INT8), .as.i64 = id};
    gn_buf key;
    sum one;
    gn_buf_init(&key, NULL, GN_MAX_KEY);
    gn_code code = gn_key_append(&key, &value, false, false, err);
    gn_key_range range = {.lo = gn_buf_bytes(&key), .hi = gn_buf_bytes(&key), .hi_inclusive = true};
    if (code == GN_OK)
        code = add_up(txn, &range, &one, err);
    *n = code == GN_OK ? one.total : 0;
    if (code == GN_OK)
        assert_int_equal(one.rows, 1);
    gn_buf_close(&key);
    return code;
}

static void fill(void)
{
    gn_error err = {0};
    gn_dtxn *txn = begin(false);
    for (int i = 0; i < ACCOUNTS; i++)
        assert_int_equal(set_account(txn, i, START, true, &err), GN_OK);
    gn_code code = gn_dtxn_commit(txn, NULL, &err);
    assert_string_equal(err.message, "");
    assert_int_equal(code, GN_OK);
}

static void assert_total(void)
{
    gn_error err = {0};
    sum all;
    gn_dtxn *txn = begin(true);
    gn_code code = add_up(txn, NULL, &all, &err);
    assert_string_equal(err.message, "");
    assert_int_equal(code, GN_OK);
    assert_int_equal(all.rows, ACCOUNTS);
    assert_int_equal(all.total, ACCOUNTS * START);
    assert_true(all.ordered);
    gn_dtxn_abort(txn);
}

/* ---- tests ---- */

static void rows_are_spread_and_found_again(void **state)
{
    (void)state;
    const gn_table_desc *desc = make_table();
    fill();
    assert_total();
    gn_placement *p = gn_meta_placement(cluster);
    const gn_distribution *d = gn_placement_distribution(p, desc->distribution_id);
    assert_non_null(d);
    assert_int_equal(d->n, SHARDS);
    uint64_t rows = 0;
    for (uint32_t i = 0; i < d->n; i++) {
        gn_table_stats stats;
        gn_shard_table_stats(replica_of(p->groups[d->first + i].id), desc->id, &stats);
        assert_in_range(stats.rows_estimate, 0, ACCOUNTS - 1); /* none has all of them */
        rows += stats.rows_estimate;
    }
    assert_int_equal(rows, ACCOUNTS);
    gn_placement_release(p);
    for (int round = 0; round < 2; round++) { /* after a crash, then after a clean stop */
        close_cluster(round == 1);
        open_cluster();
        assert_total();
    }
}

static void each_slot_has_one_owner(void **state)
{
    (void)state;
    gn_error err = {0};
    uint64_t id, again;
    assert_int_equal(gn_cluster_distribution(cluster, 7, 1, &id, &err), GN_OK);
    assert_int_equal(gn_cluster_distribution(cluster, 7, 0, &again, &err), GN_OK);
    assert_int_equal(id, again);
    assert_int_equal(gn_cluster_distribution(cluster, 0, 1, &again, &err), GN_INVALID_PARAMETER);
    assert_int_equal(gn_cluster_distribution(cluster, GN_MAX_SHARDS + 1, 1, &again, &err), GN_INVALID_PARAMETER);
    assert_int_equal(gn_cluster_distribution(cluster, 3, 2, &again, &err), GN_INVALID_PARAMETER); /* one node */
    gn_placement *p = gn_meta_placement(cluster);
    const gn_distribution *d = gn_placement_distribution(p, id);
    uint32_t owned[7] = {0};
    for (uint32_t slot = 0; slot < GN_SLOTS; slot++) {
        const gn_group_place *g = gn_placement_owner(p, d, slot);
        assert_true(g->slot_lo <= slot && slot < g->slot_hi);
        owned[g - &p->groups[d->first]]++;
    }
    for (int i = 0; i < 7; i++)
        assert_in_range(owned[i], GN_SLOTS / 7, GN_SLOTS / 7 + 1);
    gn_placement_release(p);
}

/* The placement has a group elsewhere now, and nobody has removed this node from it. */
static uint64_t move_away(void)
{
    gn_error err = {0};
    uint64_t id;
    gn_txn *meta;
    assert_int_equal(gn_cluster_distribution(cluster, 2, 1, &id, &err), GN_OK);
    gn_placement *p = gn_meta_placement(cluster);
    gn_group_place row = p->groups[gn_placement_distribution(p, id)->first];
    gn_placement_release(p);
    row.members[0] = 9;
    row.changes++;
    assert_int_equal(gn_meta_begin(cluster, false, false, &meta, &err), GN_OK);
    assert_int_equal(gn_meta_put_group(meta, &row, &err), GN_OK);
    assert_int_equal(gn_txn_commit(meta, NULL, &err), GN_OK);
    assert_int_equal(gn_meta_refresh(cluster, false, &err), GN_OK);
    return row.id;
}

/* Its group may need its vote to be rid of it. */
static void a_replica_that_is_to_move_away_is_there_after_a_restart(void **state)
{
    (void)state;
    char gone[300], file[320];
    uint64_t id = move_away();
    assert_non_null(replica_of(id));
    snprintf(gone, sizeof gone, "%s/groups/99.gone", dir); /* what a crash in the middle of a removal leaves */
    snprintf(file, sizeof file, "%s/CURRENT", gone);
    assert_int_equal(mkdir(gone, 0700), 0);
    FILE *f = fopen(file, "w");
    assert_non_null(f);
    fclose(f);
    close_cluster(true);
    open_cluster();
    assert_non_null(replica_of(id));
    assert_int_not_equal(access(gone, F_OK), 0);
}

/* Moves money between two accounts; false: refused, to be tried again. */
static bool transfer(int64_t from, int64_t to, int64_t amount)
{
    gn_error err = {0};
    int64_t a, b;
    gn_dtxn *txn;
    gn_code code = gn_dtxn_begin(cluster, &(gn_dtxn_options){.several = true}, &txn, &err);
    if (code != GN_OK)
        return false;
    code = get_account(txn, from, &a, &err);
    if (code == GN_OK)
        code = get_account(txn, to, &b, &err);
    if (code == GN_OK)
        code = set_account(txn, from, a - amount, false, &err);
    if (code == GN_OK)
        code = set_account(txn, to, b + amount, false, &err);
    if (code == GN_OK)
        code = gn_dtxn_commit(txn, NULL, &err);
    else
        gn_dtxn_abort(txn);
    if (code != GN_OK && code != GN_SERIALIZATION)
        fail_msg("%s: %s", gn_code_name(code), err.message);
    return code == GN_OK;
}

typedef struct worker {
    uint64_t seed;
    int done;
} worker;

static void work(void *arg)
{
    worker *w = arg;
    while (w->done < TRANSFERS) {
        w->seed = w->seed * 6364136223846793005u + 1442695040888963407u;
        int64_t from = (int64_t)(w->seed >> 33) % ACCOUNTS, to = (int64_t)(w->seed >> 45) % ACCOUNTS;
        if (from != to)
            w->done += transfer(from, to, (int64_t)(w->seed >> 60) + 1);
    }
}

static void read_totals(void *arg)
{
    _Atomic bool *stop = arg;
    while (!*stop)
        assert_total();
}

/* Every reader sees the same total at any moment, though each transfer is of two groups as a rule. */
static void transfers_over_groups_keep_the_total(void **state)
{
    (void)state;
    static _Atomic bool stop;
    worker workers[WORKERS];
    gn_strand *strands[WORKERS];
    stop = false;
    make_table();
    fill();
    gn_strand *reader = gn_strand_start(world, "reader", read_totals, (void *)&stop);
    for (int i = 0; i < WORKERS; i++) {
        workers[i] = (worker){.seed = (uint64_t)i + 1};
        strands[i] = gn_strand_start(world, "worker", work, &workers[i]);
    }
    for (int i = 0; i < WORKERS; i++)
        gn_strand_join(strands[i]);
    stop = true;
    gn_strand_join(reader);
    assert_total();
    close_cluster(false);
    open_cluster();
    assert_total();
}

/* ---- splits ---- */

static uint32_t count_groups(uint64_t distribution)
{
    gn_error err = {0};
    uint32_t next = 0;
    assert_int_equal(gn_meta_refresh(cluster, false, &err), GN_OK);
    gn_placement *p = gn_meta_placement(cluster);
    const gn_distribution *d = gn_placement_distribution(p, distribution);
    uint32_t n = d->n;
    for (uint32_t i = 0; i < n; i++) { /* each slot once */
        assert_int_equal(p->groups[d->first + i].slot_lo, next);
        next = p->groups[d->first + i].slot_hi;
    }
    assert_int_equal(next, GN_SLOTS);
    gn_placement_release(p);
    return n;
}

/* As `gnomonctl recover` leaves it. */
static void lose_a_group(uint64_t distribution)
{
    gn_error err = {0};
    gn_txn *meta;
    gn_node_place gone = {.id = 99, .state = "gone"};
    gn_placement *p = gn_meta_placement(cluster);
    gn_group_place row = p->groups[gn_placement_distribution(p, distribution)->first];
    gn_placement_release(p);
    row.members[0] = gone.id;
    assert_int_equal(gn_meta_begin(cluster, false, false, &meta, &err), GN_OK);
    assert_int_equal(gn_meta_put_node(meta, &gone, &err), GN_OK);
    assert_int_equal(gn_meta_put_group(meta, &row, &err), GN_OK);
    assert_int_equal(gn_txn_commit(meta, NULL, &err), GN_OK);
    assert_int_equal(gn_meta_refresh(cluster, false, &err), GN_OK);
}

/* What it holds is gone; its name need not be. */
static void a_table_that_has_lost_a_group_can_be_dropped(void **state)
{
    (void)state;
    gn_error err = {0};
    uint64_t table = make_table()->id, distribution, other;
    assert_int_equal(gn_cluster_distribution(cluster, SHARDS, 1, &distribution, &err), GN_OK);
    lose_a_group(distribution);
    gn_dtxn *txn = begin(false);
    assert_int_equal(gn_dtxn_drop_table(txn, table, &err), GN_OK);
    assert_int_equal(gn_dtxn_commit(txn, NULL, &err), GN_OK);
    txn = begin(true);
    assert_null(gn_dtxn_table(txn, table));
    gn_dtxn_abort(txn);
    assert_int_equal(gn_cluster_distribution(cluster, SHARDS, 1, &other, &err), GN_OK);
    assert_int_not_equal(other, distribution); /* a new table does not lie there again */
    assert_int_equal(count_groups(other), SHARDS);
}

static uint64_t widest_group(uint64_t distribution, gn_group_place *out)
{
    gn_placement *p = gn_meta_placement(cluster);
    const gn_distribution *d = gn_placement_distribution(p, distribution);
    *out = p->groups[d->first];
    for (uint32_t i = 1; i < d->n; i++) {
        const gn_group_place *g = &p->groups[d->first + i];
        if (g->slot_hi - g->slot_lo > out->slot_hi - out->slot_lo)
            *out = *g;
    }
    gn_placement_release(p);
    return out->id;
}

/* The same as assert_total, but for rows that have just moved, which is to be tried again. False: so it is. */
static bool try_total(void)
{
    gn_error err = {0};
    sum all;
    gn_dtxn *txn = begin(true);
    gn_code code = add_up(txn, NULL, &all, &err);
    gn_dtxn_abort(txn);
    if (code == GN_SERIALIZATION)
        return false;
    assert_string_equal(err.message, "");
    assert_int_equal(all.rows, ACCOUNTS);
    assert_int_equal(all.total, ACCOUNTS * START);
    return true;
}

static void read_on(void *arg)
{
    _Atomic bool *stop = arg;
    while (!*stop)
        try_total();
}

/* True: it was done. What is about to commit may be in the way. */
static bool try_split(uint64_t group, gn_split *made)
{
    gn_error err = {0};
    gn_code code = gn_split_group(cluster, group, 0, made, &err);
    if (code != GN_OK && code != GN_OBJECT_IN_USE && code != GN_UNAVAILABLE && code != GN_NOT_LEADER)
        fail_msg("%s: %s", gn_code_name(code), err.message);
    return code == GN_OK;
}

static void groups_are_split_while_transfers_go_on(void **state)
{
    (void)state;
    enum { SPLITS = 6 };
    static _Atomic bool stop;
    worker workers[WORKERS];
    gn_strand *strands[WORKERS];
    stop = false;
    uint64_t distribution = make_table()->distribution_id;
    fill();
    gn_strand *reader = gn_strand_start(world, "reader", read_on, (void *)&stop);
    for (int i = 0; i < WORKERS; i++) {
        workers[i] = (worker){.seed = (uint64_t)i + 1};
        strands[i] = gn_strand_start(world, "worker", work, &workers[i]);
    }
    for (int n = 0; n < SPLITS;) {
        gn_group_place g;
        gn_split made;
        n += try_split(widest_group(distribution, &g), &made);
    }
    for (int i = 0; i < WORKERS; i++)
        gn_strand_join(strands[i]);
    stop = true;
    gn_strand_join(reader);
    assert_int_equal(count_groups(distribution), SHARDS + SPLITS);
    assert_total();
    for (int round = 0; round < 2; round++) {
        close_cluster(round == 1);
        open_cluster();
        assert_total();
        assert_true(transfer(0, 1, 10));
        assert_true(transfer(1, 0, 10));
    }
}

static void await_groups(uint64_t distribution, uint32_t n)
{
    uint64_t deadline = gn_now_ns(world) + PATIENCE_NS;
    while (count_groups(distribution) < n && gn_now_ns(world) < deadline) {
        gn_event never;
        gn_event_init(&never, world);
        gn_event_wait(&never, gn_now_ns(world) + 5000000);
    }
    assert_in_range(count_groups(distribution), n, GN_MAX_SHARDS);
}

/* The group has split; whoever should have said so is gone. */
static void a_split_is_finished_after_a_crash(void **state)
{
    (void)state;
    gn_error err = {0};
    gn_group_place g;
    uint64_t distribution = make_table()->distribution_id;
    fill();
    gn_shard *parent = replica_of(widest_group(distribution, &g));
    gn_warden *warden = cluster->warden;
    cluster->warden = NULL; /* who is not told of it does nothing */
    gn_split split = {.lo = g.slot_lo,
                      .mid = (g.slot_lo + g.slot_hi) / 2,
                      .hi = g.slot_hi,
                      .child = 999,
                      .n_members = 1,
                      .members = {7}};
    assert_int_equal(gn_shard_split(parent, &split, PATIENCE_NS, &err), GN_OK);
    cluster->warden = warden;
    assert_int_equal(count_groups(distribution), SHARDS);
    close_cluster(false);
    open_cluster();
    while (!try_total()) /* waits for it */
        ;
    await_groups(distribution, SHARDS + 1);
    assert_non_null(replica_of(999));
}

static void what_makes_no_sense_is_refused(void **state)
{
    (void)state;
    gn_error err = {0};
    gn_split made;
    gn_group_place g;
    uint64_t distribution = make_table()->distribution_id, id = widest_group(distribution, &g);
    assert_int_equal(gn_split_group(cluster, 12345, 0, &made, &err), GN_NO_OBJECT);
    assert_int_equal(gn_split_group(cluster, GN_META_GROUP, 0, &made, &err), GN_NOT_IN_STATE);
    assert_int_equal(gn_split_group(cluster, id, g.slot_hi, &made, &err), GN_INVALID_PARAMETER);
    assert_int_equal(gn_split_group(cluster, id, g.slot_lo + 1, &made, &err), GN_OK);
    assert_int_equal(made.hi - made.lo, g.slot_hi - g.slot_lo);
    assert_int_equal(gn_split_group(cluster, id, 0, &made, &err), GN_NOT_IN_STATE); /* one slot */
}

static void a_group_that_is_too_large_splits_by_itself(void **state)
{
    (void)state;
    uint64_t distribution = make_table()->distribution_id;
    fill();
    assert_int_equal(count_groups(distribution), SHARDS);
    close_cluster(true);
    split_bytes = 40; /* two or three rows */
    open_cluster();
    await_groups(distribution, SHARDS + 1);
    while (!try_total())
        ;
}

static void a_group_that_is_too_busy_splits_by_itself(void **state)
{
    (void)state;
    uint64_t distribution = make_table()->distribution_id;
    fill();
    close_cluster(true);
    split_rate = 3;
    open_cluster();
    uint64_t deadline = gn_now_ns(world) + PATIENCE_NS;
    while (count_groups(distribution) == SHARDS && gn_now_ns(world) < deadline)
        transfer(0, 1, 1);
    assert_in_range(count_groups(distribution), SHARDS + 1, GN_MAX_SHARDS);
}

/* ---- merges ---- */

/* A group of the distribution, and the one that has the slots after it, or before. */
static void some_pair(uint64_t distribution, uint32_t turn, gn_group_place *victim, gn_group_place *into)
{
    gn_placement *p = gn_meta_placement(cluster);
    const gn_distribution *d = gn_placement_distribution(p, distribution);
    uint32_t at = turn % (d->n - 1);
    *victim = p->groups[d->first + at + turn / 2 % 2];
    *into = p->groups[d->first + at + 1 - turn / 2 % 2];
    gn_placement_release(p);
}

/* True: it was done. What is about to commit may be in the way, and so may what has just been split. */
static bool merge(uint64_t victim, uint64_t into)
{
    gn_merged made;
    gn_error err = {0};
    gn_code code = gn_merge_groups(cluster, victim, into, &made, &err);
    if (code != GN_OK && code != GN_OBJECT_IN_USE && code != GN_UNAVAILABLE && code != GN_NOT_LEADER)
        fail_msg("%s: %s", gn_code_name(code), err.message);
    return code == GN_OK;
}

static void groups_are_merged_and_split_while_transfers_go_on(void **state)
{
    (void)state;
    static _Atomic bool stop;
    worker workers[WORKERS];
    gn_strand *strands[WORKERS];
    stop = false;
    uint64_t distribution = make_table()->distribution_id;
    fill();
    gn_strand *reader = gn_strand_start(world, "reader", read_on, (void *)&stop);
    for (int i = 0; i < WORKERS; i++) {
        workers[i] = (worker){.seed = (uint64_t)i + 1};
        strands[i] = gn_strand_start(world, "worker", work, &workers[i]);
    }
    uint32_t turn = 0;
    for (uint32_t n = SHARDS, rounds = 0; rounds < 2; rounds++) {
        while (n > 1) { /* down to one */
            gn_group_place victim, into;
            some_pair(distribution, turn++, &victim, &into);
            n -= merge(victim.id, into.id);
        }
        while (n < SHARDS) { /* as many as there were: coordinators must not believe in the first ones */
            gn_group_place g;
            gn_split made;
            gn_error err = {0};
            n += gn_split_group(cluster, widest_group(distribution, &g), 0, &made, &err) == GN_OK;
        }
    }
    for (int i = 0; i < WORKERS; i++)
        gn_strand_join(strands[i]);
    stop = true;
    gn_strand_join(reader);
    assert_int_equal(count_groups(distribution), SHARDS);
    assert_total();
    for (int round = 0; round < 2; round++) {
        close_cluster(round == 1);
        open_cluster();
        assert_total();
        assert_true(transfer(0, 1, 10));
        assert_true(transfer(1, 0, 10));
    }
}

static void await_ended(uint64_t victim)
{
    uint64_t deadline = gn_now_ns(world) + PATIENCE_NS;
    gn_error err = {0};
    while (!gn_group_has_ended(cluster, victim) && gn_now_ns(world) < deadline) {
        gn_event never;
        gn_event_init(&never, world);
        gn_event_wait(&never, gn_now_ns(world) + 5000000);
        gn_meta_refresh(cluster, false, &err);
    }
    assert_true(gn_group_has_ended(cluster, victim));
}

/* A merge as its steps, without whoever goes on with them. */
typedef struct steps {
    gn_shard *survivor, *other;
    gn_merge to_survivor, to_victim;
} steps;

static steps steps_of(const gn_group_place *victim, const gn_group_place *into)
{
    steps s = {.survivor = replica_of(into->id), .other = replica_of(victim->id)};
    gn_slots own, theirs;
    gn_shard_slots(s.survivor, &own);
    gn_shard_slots(s.other, &theirs);
    s.to_survivor = (gn_merge){.generation = own.generation,
                               .lo = into->slot_lo,
                               .hi = into->slot_hi,
                               .other = victim->id,
                               .other_generation = theirs.generation,
                               .other_lo = victim->slot_lo,
                               .other_hi = victim->slot_hi,
                               .seals = theirs.seals};
    s.to_victim = (gn_merge){.generation = theirs.generation,
                             .lo = victim->slot_lo,
                             .hi = victim->slot_hi,
                             .other = into->id,
                             .other_lo = into->slot_lo,
                             .other_hi = into->slot_hi,
                             .seals = theirs.seals};
    return s;
}

/* The first `n` of them. */
static void take_steps(const steps *s, uint32_t n)
{
    gn_error err = {0};
    assert_int_equal(gn_shard_merge_reserve(s->survivor, &s->to_survivor, &err), GN_OK);
    if (n > 0)
        assert_int_equal(gn_shard_merge_seal(s->other, &s->to_victim, PATIENCE_NS, &err), GN_OK);
    if (n > 1) {
        gn_merge_rows rows;
        gn_buf at;
        gn_merge_rows_init(&rows);
        gn_buf_init(&at, NULL, 65536);
        gn_shard_merge_cursor(s->survivor, &at);
        assert_int_equal(gn_shard_merge_read(s->other, s->to_victim.other, gn_buf_bytes(&at), &rows, &err), GN_OK);
        assert_int_equal(gn_shard_merge_add(s->survivor, &s->to_survivor, gn_buf_bytes(&at), &rows, &err), GN_OK);
        gn_merge_rows_close(&rows);
        gn_buf_close(&at);
    }
}

/* Reserved, sealed, or taken: whoever should have gone on is gone. */
static void a_merge_is_finished_after_a_crash(void **state)
{
    (void)state;
    uint64_t distribution = make_table()->distribution_id;
    fill();
    for (uint32_t step = 0; step < 3; step++) {
        gn_group_place victim, into;
        some_pair(distribution, step, &victim, &into);
        cluster->merging = true; /* nobody else does anything */
        const steps s = steps_of(&victim, &into);
        take_steps(&s, step);
        close_cluster(false);
        open_cluster();
        await_ended(victim.id);
        while (!try_total())
            ;
        assert_int_equal(count_groups(distribution), SHARDS - step - 1);
    }
}

/* It was recovered from replicas that had not heard of the seal, after rows of it had come: it goes on by itself, and
 * so does who was to take it in. */
static void a_victim_that_was_recovered_goes_on(void **state)
{
    (void)state;
    gn_slots own;
    gn_group_place victim, into;
    uint64_t distribution = make_table()->distribution_id;
    fill();
    some_pair(distribution, 0, &victim, &into);
    cluster->merging = true;
    const steps s = steps_of(&victim, &into);
    take_steps(&s, 2);
    pthread_mutex_lock(&s.other->view_lock);
    s.other->slots.into = s.other->slots.generation = 0;
    pthread_mutex_unlock(&s.other->view_lock);
    cluster->merging = false;
    uint64_t deadline = gn_now_ns(world) + PATIENCE_NS;
    do {
        bool unfinished;
        gn_merges_look(cluster, &unfinished);
        gn_shard_slots(s.survivor, &own);
    } while (own.victim && gn_now_ns(world) < deadline);
    assert_int_equal(own.victim, 0);
    assert_total();
    assert_int_equal(count_groups(distribution), SHARDS);
    for (int64_t i = 0; i < 10; i++)
        transfer(i, i + 1, 3);
    while (!merge(victim.id, into.id))
        ;
    while (!try_total())
        ;
}

/* What is copied is every version, and what is there when the group is sealed counts, not before. */
static void what_is_too_large_is_not_merged(void **state)
{
    (void)state;
    gn_slots own;
    gn_error err = {0};
    gn_merged made;
    gn_shard_totals live;
    uint64_t bytes;
    gn_group_place victim, into;
    uint64_t distribution = make_table()->distribution_id;
    fill();
    some_pair(distribution, 0, &victim, &into);
    for (int64_t i = 0; i < 200; i++)
        transfer(i % 10, (i + 1) % 10, 1);
    gn_shard_totals_get(replica_of(victim.id), &live);
    assert_int_equal(gn_shard_merge_size(replica_of(victim.id), UINT64_MAX, &bytes, &err), GN_OK);
    assert_true(bytes > live.bytes_estimate);
    cluster->merge_most = bytes - 1;
    assert_int_equal(gn_merge_groups(cluster, victim.id, into.id, &made, &err), GN_NOT_IN_STATE);
    const steps s = steps_of(&victim, &into);
    take_steps(&s, 0); /* it has grown since it was looked at */
    uint64_t deadline = gn_now_ns(world) + PATIENCE_NS;
    do {
        bool unfinished;
        gn_merges_look(cluster, &unfinished);
        gn_shard_slots(s.survivor, &own);
    } while (own.victim && gn_now_ns(world) < deadline);
    assert_int_equal(own.victim, 0);
    gn_shard_slots(s.other, &own);
    assert_int_equal(own.into, 0);
    cluster->merge_most = 2 * bytes;
    while (!merge(victim.id, into.id))
        ;
    while (!try_total())
        ;
}

/* The time for those who do not know yet that it has ended is over. */
static void hasten_end(uint64_t group)
{
    bool waits;
    gn_groups_ended(cluster, 0, &group, 0, &waits);
    pthread_mutex_lock(&cluster->lock);
    for (size_t i = 0; i < cluster->n_groups; i++)
        if (cluster->groups[i].id == group)
            cluster->groups[i].end_at_ns = 1;
    pthread_mutex_unlock(&cluster->lock);
}

static void await_removed(uint64_t group, const char *path)
{
    uint64_t deadline = gn_now_ns(world) + PATIENCE_NS;
    for (; access(path, F_OK) == 0 && gn_now_ns(world) < deadline; hasten_end(group))
        gn_merges_remove_ended(cluster);
    assert_int_equal(access(path, F_OK), -1);
}

/* It is held while it should go, and then made a member again: it stays, and is used as before. */
static void a_replica_that_is_wanted_again_stays(void **state)
{
    (void)state;
    gn_error err = {0};
    gn_group_place widest;
    uint64_t group = widest_group(make_table()->distribution_id, &widest);
    fill();
    gn_shard *held = gn_group_hold(cluster, group);
    assert_non_null(held);
    assert_false(gn_group_stay(cluster, group));
    assert_int_equal(gn_group_drop(cluster, group, &err), GN_OBJECT_IN_USE);
    assert_null(gn_group_hold(cluster, group));
    assert_int_equal(gn_group_open(cluster, group, NULL, 0, &err), GN_OBJECT_IN_USE);
    assert_true(gn_group_stay(cluster, group));
    assert_int_equal(gn_group_open(cluster, group, NULL, 0, &err), GN_OK);
    gn_group_release(cluster, held);
    assert_total();
    assert_true(transfer(0, 1, 10));
}

/* The victim's files go, over a restart too, and it does not come back. */
static void a_group_that_has_ended_is_removed(void **state)
{
    (void)state;
    char path[512];
    gn_group_place victim, into;
    uint64_t distribution = make_table()->distribution_id;
    fill();
    some_pair(distribution, 0, &victim, &into);
    while (!merge(victim.id, into.id))
        ;
    snprintf(path, sizeof path, "%s/groups/%d", dir, (int)victim.id);
    for (int round = 0; round < 3; round++) {
        close_cluster(round != 1);
        open_cluster();
        await_removed(victim.id, path);
        assert_null(replica_of(victim.id));
        assert_total();
    }
}

/* Its directory may hold the only copy of another group's rows here; and a replica that has not applied all splits may
 * have to make such a copy yet. */
static void what_others_want_is_not_removed_with_a_group(void **state)
{
    (void)state;
    char path[512], left[600];
    gn_split made;
    gn_slots own;
    gn_group_place widest;
    uint64_t parent = widest_group(make_table()->distribution_id, &widest);
    fill();
    while (!try_split(parent, &made))
        ;
    while (!merge(made.child, parent))
        ;
    snprintf(path, sizeof path, "%s/groups/%d", dir, (int)made.child);
    snprintf(left, sizeof left, "%s/split-1000001", path);
    assert_int_equal(mkdir(left, 0700), 0);
    for (int round = 0; round < 2; round++) {
        hasten_end(made.child);
        assert_true(gn_merges_remove_ended(cluster));
        assert_int_equal(access(left, F_OK), 0);
        close_cluster(round);
        open_cluster();
    }
    gn_shard *shard = replica_of(made.child);
    pthread_mutex_lock(&shard->view_lock); /* as if it had not applied anything of late */
    own = shard->slots;
    shard->slots.generation = shard->slots.into = 0;
    pthread_mutex_unlock(&shard->view_lock);
    assert_int_equal(rmdir(left), 0);
    hasten_end(made.child);
    assert_true(gn_merges_remove_ended(cluster));
    assert_int_equal(access(path, F_OK), 0);
    pthread_mutex_lock(&shard->view_lock);
    shard->slots = own;
    pthread_mutex_unlock(&shard->view_lock);
    await_removed(made.child, path);
    assert_total();
}

/* Of a group that is split off a replica makes its own out of its files: it must not begin without them because it has
 * not heard yet how far the other one had got. */
static void what_is_to_be_split_off_yet_is_known(void **state)
{
    uint64_t distribution = 0;
    int64_t first;
    gn_error err = {0};
    (void)state;
    assert_int_equal(gn_shard_sequence_next(cluster->meta, GN_GROUP_SEQUENCE, GN_META_GROUP + 1, 100, &first, &err),
                     GN_OK);
    assert_int_equal(gn_cluster_distribution(cluster, SHARDS, 1, &distribution, &err), GN_OK);
    gn_placement *p = gn_meta_placement(cluster), said = *p;
    gn_distribution d = *gn_placement_distribution(p, distribution);
    said.distributions = &d;
    said.n_distributions = 1;
    said.groups = calloc(p->n_groups + 1, sizeof *said.groups);
    memcpy(said.groups, p->groups, p->n_groups * sizeof *said.groups);
    gn_group_place *parent = &said.groups[d.first], *missing = &said.groups[p->n_groups];
    gn_group_place child = {.id = (uint64_t)first, /* below its parent's: each node gives numbers of its own */
                            .distribution_id = distribution,
                            .slot_lo = parent->slot_hi,
                            .slot_hi = parent->slot_hi + 1,
                            .n_members = 1,
                            .members = {gn_net_self(world)},
                            .changes = GN_SPLIT_CHANGES};
    assert_false(gn_split_is_to_come(cluster, &said, &child));
    parent->generation = 2;
    assert_false(gn_split_is_to_come(cluster, &said, &child)); /* without merges nobody gets others' first slots */
    d.merged = true; /* it has taken a neighbour in, and split where that began: the slots are as before */
    assert_true(gn_split_is_to_come(cluster, &said, &child));
    child.changes = GN_MERGED_CHANGES; /* made otherwise */
    assert_false(gn_split_is_to_come(cluster, &said, &child));
    child.changes = GN_SPLIT_CHANGES | GN_MERGED_CHANGES;
    parent->generation = 0;
    assert_false(gn_split_is_to_come(cluster, &said, &child));
    *missing = *parent; /* is to be made itself, before */
    missing->id = 1000000;
    said.n_groups++;
    assert_true(gn_split_is_to_come(cluster, &said, &child));
    free(said.groups);
    gn_placement_release(p);
}

/* Down to as many groups as the table was made with, and not what would be split again. */
static void small_groups_are_merged_by_themselves(void **state)
{
    (void)state;
    gn_split made;
    gn_group_place widest;
    uint64_t distribution = make_table()->distribution_id;
    fill();
    for (int n = 0; n < 2;)
        n += try_split(widest_group(distribution, &widest), &made);
    assert_int_equal(count_groups(distribution), SHARDS + 2);
    close_cluster(true);
    merge_bytes = 1 << 20;
    open_cluster();
    assert_int_equal(count_groups(distribution), SHARDS + 2); /* not before it has been so for a while */
    cluster->merge_calm_ns = 0;
    uint64_t deadline = gn_now_ns(world) + PATIENCE_NS;
    while (count_groups(distribution) > SHARDS && gn_now_ns(world) < deadline) {
        gn_event never;
        gn_event_init(&never, world);
        gn_event_wait(&never, gn_now_ns(world) + 5000000);
    }
    while (!try_total())
        ;
    assert_int_equal(count_groups(distribution), SHARDS);
    gn_cluster *like = calloc(1, sizeof *like);
    like->merge_bytes = 1 << 20;
    like->merge_most = 1 << 28;
    assert_true(gn_merge_is_worth(like, 1 << 20, 1000));
    assert_false(gn_merge_is_worth(like, (1 << 20) + 1, 0));
    like->split_bytes = 1 << 20;
    like->split_rate = 100;
    assert_true(gn_merge_is_worth(like, 1 << 19, 50));
    assert_false(gn_merge_is_worth(like, (1 << 19) + 1, 50));
    assert_false(gn_merge_is_worth(like, 1 << 19, 51));
    like->merge_bytes = 0;
    assert_false(gn_merge_is_worth(like, 0, 0));
    free(like);
}

static void what_cannot_be_merged_is_refused(void **state)
{
    (void)state;
    gn_error err = {0};
    gn_merged made;
    gn_group_place first, last, next;
    uint64_t distribution = make_table()->distribution_id, into;
    gn_placement *p = gn_meta_placement(cluster);
    const gn_distribution *d = gn_placement_distribution(p, distribution);
    first = p->groups[d->first];
    next = p->groups[d->first + 1];
    last = p->groups[d->first + d->n - 1];
    gn_placement_release(p);
    assert_int_equal(gn_merge_groups(cluster, 12345, first.id, &made, &err), GN_NO_OBJECT);
    assert_int_equal(gn_merge_groups(cluster, first.id, 12345, &made, &err), GN_NO_OBJECT);
    assert_int_equal(gn_merge_groups(cluster, GN_META_GROUP, first.id, &made, &err), GN_NOT_IN_STATE);
    assert_int_equal(gn_merge_groups(cluster, first.id, last.id, &made, &err), GN_INVALID_PARAMETER);
    assert_int_equal(gn_merge_groups(cluster, first.id, first.id, &made, &err), GN_INVALID_PARAMETER);
    assert_int_equal(gn_merge_neighbour(cluster, first.id, &into, &err), GN_OK);
    assert_int_equal(into, next.id);
    assert_int_equal(gn_merge_neighbour(cluster, GN_META_GROUP, &into, &err), GN_NOT_IN_STATE);
    assert_int_equal(gn_merge_neighbour(cluster, 12345, &into, &err), GN_NO_OBJECT);
}

/* A coordinator that dies between prepare and decision: nobody waits for ever, nothing of it is seen. */
/* A row in each of two groups, prepared and not decided. */
static void prepare(uint64_t txn_id, int64_t row, uint64_t ids[2])
{
    gn_error err = {0};
    gn_placement *p = gn_meta_placement(cluster);
    const gn_group_place *groups = &p->groups[p->n_groups - SHARDS];
    ids[0] = groups[0].id;
    ids[1] = groups[1].id;
    for (int i = 0; i < 2; i++) {
        gn_txn *part;
        gn_scn scn;
        assert_int_equal(gn_clock_ask(cluster->clock, NULL, &scn, &err), GN_OK);
        gn_txn_options options = {.read_scn = scn, .global = true};
        assert_int_equal(gn_txn_begin(replica_of(ids[i]), &options, &part, &err), GN_OK);
        gn_value values[2];
        values_of(row + i, 1, values);
        const gn_table_desc *t = gn_txn_table_named(part, gn_bytes_str("accounts"));
        assert_int_equal(gn_txn_insert(part, t, values, &err), GN_OK);
        assert_int_equal(gn_txn_prepare(part, txn_id, ids, 2, NULL, &err), GN_OK);
    }
    gn_placement_release(p);
}

static void what_nobody_decides_is_aborted(void **state)
{
    (void)state;
    uint64_t ids[2];
    make_table();
    fill();
    prepare(99, 1000, ids);
    assert_total(); /* waits for the decision, and the resolver makes one */
}

static gn_decision_state decided(uint64_t group, uint64_t txn_id)
{
    gn_error err = {0};
    gn_decision d = {0};
    assert_int_equal(gn_group_decision(cluster, group, txn_id, &d, &err), GN_OK);
    gn_decision_state state = d.state;
    gn_decision_close(&d);
    return state;
}

/* Its coordinator is asked first: who is at it is let be, for a while, which may be over on a machine that is slow. */
static void an_orphan_is_not_waited_for(void **state)
{
    (void)state;
    static const uint64_t LET_BE_NS = 3000000000;
    gn_coordinating alive, dead;
    uint64_t ids[2];
    make_table();
    fill();
    gn_resolver_coordinate(cluster->resolver, &alive);
    gn_resolver_coordinate(cluster->resolver, &dead);
    assert_int_not_equal(alive.txn_id, dead.txn_id);
    assert_int_equal(dead.txn_id & 0xffff, 7);
    prepare(dead.txn_id, 2000, ids);
    uint64_t began = gn_now_ns(world);
    prepare(alive.txn_id, 1000, ids);
    gn_resolver_coordinated(cluster->resolver, &dead);
    gn_resolver_unresolved(cluster, replica_of(ids[0]), alive.txn_id, ids[0], 0);
    gn_resolver_unresolved(cluster, replica_of(ids[1]), dead.txn_id, ids[0], 0);
    while (decided(ids[1], dead.txn_id) == GN_PREPARED)
        continue;
    bool let_be = decided(ids[0], alive.txn_id) == GN_PREPARED;
    assert_true(let_be || gn_now_ns(world) - began >= LET_BE_NS);
    gn_resolver_coordinated(cluster->resolver, &alive);
    assert_total();
}

static gn_dtxn *begin_past(uint64_t staleness_ms)
{
    gn_dtxn *txn;
    gn_error err = {0};
    gn_dtxn_options options = {.read_only = true, .staleness_ms = staleness_ms};
    assert_int_equal(gn_dtxn_begin(cluster, &options, &txn, &err), GN_OK);
    return txn;
}

/* A read of the past sees what was there then, the catalog too, whoever has to be asked. */
static void the_past_can_be_read(void **state)
{
    (void)state;
    gn_error err = {0};
    make_table();
    fill();
    gn_dtxn *txn = begin_past(3600 * 1000);
    assert_null(gn_dtxn_table_named(txn, gn_bytes_str("accounts")));
    gn_dtxn_abort(txn);
    bool seen = false;
    uint64_t deadline = gn_now_ns(world) + PATIENCE_NS;
    while (!seen && gn_now_ns(world) < deadline) { /* a millisecond ago comes to be after the commit */
        sum found = {0};
        txn = begin_past(1);
        if (gn_dtxn_table_named(txn, gn_bytes_str("accounts"))) {
            assert_int_equal(add_up(txn, NULL, &found, &err), GN_OK);
            assert_true(found.rows == 0 || found.rows == ACCOUNTS); /* all of a transaction or nothing */
        }
        seen = found.rows == ACCOUNTS;
        gn_dtxn_abort(txn);
    }
    assert_true(seen);
}

/* ---- what a recovery leaves ---- */

static void put_in_group(uint64_t group, const gn_table_desc *desc)
{
    gn_txn *txn;
    gn_scn scn;
    gn_error err = {0};
    assert_int_equal(gn_txn_begin(replica_of(group), NULL, &txn, &err), GN_OK);
    assert_int_equal(gn_txn_put_table(txn, desc, &err), GN_OK);
    assert_int_equal(gn_txn_commit(txn, &scn, &err), GN_OK);
}

static bool is_in_group(uint64_t group, const char *name)
{
    gn_txn *txn;
    gn_error err = {0};
    assert_int_equal(gn_txn_begin(replica_of(group), &(gn_txn_options){.read_only = true}, &txn, &err), GN_OK);
    bool there = gn_txn_table_named(txn, gn_bytes_str(name)) != NULL;
    gn_txn_abort(txn);
    return there;
}

/* The meta group has lost a change that one group has, and a table that another has. */
static void definitions_that_are_there_in_part_are_made_whole(void **state)
{
    (void)state;
    sum all;
    gn_error err = {0};
    gn_redefined made;
    uint64_t id;
    gn_table_desc changed = *make_table(), stranger = changed;
    fill();
    gn_placement *p = gn_meta_placement(cluster);
    const gn_group_place *groups = &p->groups[gn_placement_distribution(p, changed.distribution_id)->first];
    uint64_t first = groups[0].id, second = groups[1].id;
    gn_placement_release(p);
    assert_int_equal(gn_recovery_redefine(cluster, &made, &err), GN_OK);
    assert_int_equal(made.redefined + made.dropped + made.lost, 0);
    changed.version = 5;
    put_in_group(first, &changed);
    stranger.id = changed.id + 1;
    snprintf(stranger.name, sizeof stranger.name, "stranger");
    snprintf(stranger.key_name, sizeof stranger.key_name, "stranger_pkey");
    put_in_group(second, &stranger);
    gn_dtxn *txn = begin(true);
    assert_int_not_equal(add_up(txn, NULL, &all, &err), GN_OK);
    gn_dtxn_abort(txn);
    assert_true(is_in_group(second, "stranger"));
    assert_int_equal(gn_recovery_redefine(cluster, &made, &err), GN_OK);
    assert_int_equal(made.redefined, 1);
    assert_int_equal(made.dropped, 1);
    assert_total();
    assert_false(is_in_group(second, "stranger"));
    assert_int_equal(gn_cluster_new_ids(cluster, 1, &id, &err), GN_OK);
    assert_true(id > stranger.id); /* its number is not given again */
}

static void what_a_recovery_notes_is_read_again(void **state)
{
    (void)state;
    char path[300];
    gn_scn floor;
    gn_error err = {0};
    gn_identity identity = {.node = 7};
    gn_recovery r = {.above = UINT64_C(470629049520357376)};
    snprintf(r.from, sizeof r.from, "%032x", 1u);
    snprintf(r.to, sizeof r.to, "%032x", 2u);
    memcpy(identity.cluster, r.from, sizeof r.from);
    assert_int_equal(gn_recovery_floor(dir, &floor, &err), GN_OK);
    assert_int_equal(floor, 0);
    assert_int_equal(gn_recovery_note(dir, &r, &err), GN_OK);
    close_cluster(true);
    assert_int_equal(gn_recovery_do(dir, &identity, &err), GN_OK);
    assert_string_equal(identity.cluster, r.to);
    assert_int_equal(gn_recovery_floor(dir, &floor, &err), GN_OK);
    assert_int_equal(floor, r.above);
    open_cluster();
    make_table(); /* so that there is a clock */
    gn_dtxn *txn = begin(true);
    assert_true(gn_clock_newest(cluster->clock) > r.above);
    gn_dtxn_abort(txn);
    snprintf(path, sizeof path, "%s/SCN", dir);
    FILE *f = fopen(path, "r+");
    assert_non_null(f);
    assert_int_equal(fseek(f, 8, SEEK_SET), 0);
    assert_int_equal(fputc('1', f), '1');
    assert_int_equal(fclose(f), 0);
    assert_int_equal(gn_recovery_floor(dir, &floor, &err), GN_CORRUPT);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(rows_are_spread_and_found_again),
        TEST(each_slot_has_one_owner),
        TEST(a_replica_that_is_to_move_away_is_there_after_a_restart),
        TEST(a_table_that_has_lost_a_group_can_be_dropped),
        TEST(transfers_over_groups_keep_the_total),
        TEST(groups_are_split_while_transfers_go_on),
        TEST(a_split_is_finished_after_a_crash),
        TEST(what_makes_no_sense_is_refused),
        TEST(a_group_that_is_too_large_splits_by_itself),
        TEST(a_group_that_is_too_busy_splits_by_itself),
        TEST(groups_are_merged_and_split_while_transfers_go_on),
        TEST(a_merge_is_finished_after_a_crash),
        TEST(a_victim_that_was_recovered_goes_on),
        TEST(what_is_too_large_is_not_merged),
        TEST(a_replica_that_is_wanted_again_stays),
        TEST(a_group_that_has_ended_is_removed),
        TEST(what_others_want_is_not_removed_with_a_group),
        TEST(what_is_to_be_split_off_yet_is_known),
        TEST(small_groups_are_merged_by_themselves),
        TEST(what_cannot_be_merged_is_refused),
        TEST(what_nobody_decides_is_aborted),
        TEST(an_orphan_is_not_waited_for),
        TEST(the_past_can_be_read),
        TEST(definitions_that_are_there_in_part_are_made_whole),
        TEST(what_a_recovery_notes_is_read_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
