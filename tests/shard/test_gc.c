/* Garbage collection: what goes, what stays, and what no order of flushes, compactions and readers may bring back. */
#include "fixture.h"
#include "shard/shard_private.h"

#include <stdlib.h>

enum { TABLE = GN_FIRST_USER_ID, I_N };

static int setup_short_retention(void **state)
{
    fixture_setup(state);
    fixture *fx = *state;
    fx->options.retention_ms = 1;
    fixture_reopen(fx, true);
    return 0;
}

/* Versions of rows (or entries) in the store, live and dead. */
static int count_versions(fixture *fx, uint8_t kind, uint64_t id)
{
    gn_store *store = gn_shard_store(fx->shard);
    rocksdb_iterator_t *it = rocksdb_create_iterator(store->db, store->sweep);
    uint8_t prefix[GN_SPACE_PREFIX_MAX];
    size_t n = gn_space_prefix(&(gn_space){.kind = kind, .id = id, .branch = GN_BRANCH_MAIN}, prefix);
    int count = 0;
    for (rocksdb_iter_seek(it, (const char *)prefix, n); rocksdb_iter_valid(it); rocksdb_iter_next(it)) {
        size_t len;
        const char *key = rocksdb_iter_key(it, &len);
        if (len < n || memcmp(key, prefix, n) != 0)
            break;
        count++;
    }
    rocksdb_iter_destroy(it);
    gn_store_release(store);
    return count;
}

static void flush(fixture *fx)
{
    gn_store *store = gn_shard_store(fx->shard);
    assert_int_equal(gn_store_flush(store, NULL), GN_OK);
    gn_store_release(store);
}

static gn_scn write(fixture *fx, const gn_table_desc *t, int op, int64_t id, int64_t n)
{
    gn_error err = {0};
    gn_txn *txn = begin(fx);
    gn_scn scn;
    row r = {.id = id, .n = n};
    ASSERT_OK(op == 'i'   ? insert(txn, t, &r, &err)
              : op == 'u' ? update(txn, t, id, &r, &err)
                          : erase(txn, t, id, &err),
              &err);
    ASSERT_OK(gn_txn_commit(txn, &scn, &err), &err);
    return scn;
}

static void compact(fixture *fx)
{
    gn_error err = {0};
    ASSERT_OK(gn_shard_compact(fx->shard, &err), &err);
}

static gn_table_desc *table(fixture *fx)
{
    gn_error err = {0};
    gn_table_desc *t = make_table(TABLE);
    add_index(t, I_N, COL_N, false);
    ASSERT_OK(put_table(fx, t, &err), &err);
    return t;
}

/* The horizon follows the wall clock, by milliseconds: a later commit moves the last SCN past it. */
static void let_horizon_pass(fixture *fx, const gn_table_desc *t)
{
    gn_scn last = gn_shard_last_scn(fx->shard);
    for (int64_t i = 0; gn_gc_horizon(fx->shard) <= last; i++)
        write(fx, t, i ? 'u' : 'i', 1000000 + (int64_t)(last & 0xffff), i);
}

static void old_versions_go_and_the_newest_stays(void **state)
{
    fixture *fx = *state;
    gn_table_desc *t = table(fx);
    write(fx, t, 'i', 1, 0);
    for (int i = 1; i <= 20; i++) {
        write(fx, t, 'u', 1, i);
        if (i % 5 == 0)
            flush(fx);
    }
    gn_txn *reader = begin(fx);
    write(fx, t, 'u', 1, 21);
    write(fx, t, 'd', 1, 0);
    write(fx, t, 'i', 1, 22);
    flush(fx);
    compact(fx); /* the reader holds the horizon: its version and all after it stay */
    assert_true(count_versions(fx, GN_KIND_ROW, TABLE) >= 4);
    int64_t n;
    assert_true(has_row(reader, t, 1, &n));
    assert_int_equal(n, 20);
    char *text = dump(reader, t, &t->indexes[0], NULL, false);
    assert_string_equal(text, "1:-:20 ");
    free(text);
    gn_txn_abort(reader);
    let_horizon_pass(fx, t);
    compact(fx);
    gn_txn *txn = begin(fx);
    assert_true(has_row(txn, t, 1, &n));
    assert_int_equal(n, 22);
    gn_txn_abort(txn);
    free_table(t);
}

static void a_deleted_row_leaves_nothing_and_does_not_return(void **state)
{
    fixture *fx = *state;
    gn_table_desc *t = table(fx);
    for (int i = 0; i < 50; i++)
        write(fx, t, 'i', i, i);
    flush(fx);
    compact(fx); /* the rows lie in the last level */
    for (int i = 0; i < 50; i++)
        write(fx, t, 'd', i, 0);
    flush(fx);
    let_horizon_pass(fx, t);
    for (int round = 0; round < 3; round++) {
        compact(fx);
        gn_txn *txn = begin(fx);
        for (int i = 0; i < 50; i++)
            assert_false(has_row(txn, t, i, NULL));
        gn_txn_abort(txn);
        if (round == 1)
            fixture_reopen(fx, false);
    }
    assert_true(count_versions(fx, GN_KIND_ROW, TABLE) < 50);
    assert_true(count_versions(fx, GN_KIND_INDEX, I_N) < 50);
    free_table(t);
}

/* A sweep whose removals a crash loses, between flushes and compactions in other orders. */
static void no_order_of_collection_brings_a_row_back(void **state)
{
    fixture *fx = *state;
    gn_table_desc *t = table(fx);
    uint64_t seed = 99;
    bool there[20] = {false};
    for (int step = 0; step < 400; step++) {
        seed = seed * 6364136223846793005ull + 1442695040888963407ull;
        int id = (int)(seed >> 33) % 20, what = (int)(seed >> 40) % 100;
        if (what < 80) {
            write(fx, t, !there[id] ? 'i' : what < 40 ? 'd' : 'u', id, step);
            there[id] = !there[id] || what >= 40;
        } else if (what < 88) {
            flush(fx);
        } else if (what < 92) {
            assert_int_equal(gn_gc_sweep(fx->shard, NULL), GN_OK);
        } else if (what < 96) {
            compact(fx);
        } else {
            fixture_reopen(fx, what < 97);
        }
        if (step % 10 != 0)
            continue;
        gn_txn *txn = begin(fx);
        for (int i = 0; i < 20; i++)
            assert_int_equal(has_row(txn, t, i, NULL), there[i]);
        gn_txn_abort(txn);
    }
    free_table(t);
}

static void history_that_was_collected_is_refused(void **state)
{
    fixture *fx = *state;
    gn_table_desc *t = table(fx);
    gn_error err = {0};
    gn_scn first = write(fx, t, 'i', 1, 1);
    write(fx, t, 'u', 1, 2);
    let_horizon_pass(fx, t);
    compact(fx);
    gn_txn *txn;
    ASSERT_CODE(gn_txn_begin(fx->shard, &(gn_txn_options){.read_scn = first}, &txn, &err), GN_SNAPSHOT_TOO_OLD, &err);
    free_table(t);
}

static void a_dropped_table_is_removed_when_nobody_can_see_it(void **state)
{
    fixture *fx = *state;
    gn_table_desc *t = table(fx), *u = make_table(TABLE + 10);
    gn_error err = {0};
    ASSERT_OK(put_table(fx, u, &err), &err);
    for (int i = 0; i < 30; i++)
        write(fx, t, 'i', i, i);
    gn_txn *reader = begin(fx);
    gn_txn *txn = begin(fx);
    ASSERT_OK(gn_txn_drop_table(txn, TABLE, &err), &err);
    ASSERT_OK(gn_txn_commit(txn, NULL, &err), &err);
    compact(fx);
    assert_true(has_row(reader, t, 3, NULL));
    gn_txn_abort(reader);
    fixture_reopen(fx, false);
    let_horizon_pass(fx, u);
    compact(fx);
    assert_int_equal(count_versions(fx, GN_KIND_ROW, TABLE), 0);
    assert_int_equal(count_versions(fx, GN_KIND_INDEX, I_N), 0);
    free_table(t);
    free_table(u);
}

/* Until retention has passed nothing goes, whatever is compacted. */
static void retention_keeps_history(void **state)
{
    fixture *fx = *state;
    gn_table_desc *t = table(fx);
    gn_scn scns[10];
    for (int i = 0; i < 10; i++)
        scns[i] = write(fx, t, i ? 'u' : 'i', 1, i);
    write(fx, t, 'd', 1, 0);
    flush(fx);
    compact(fx);
    for (int i = 0; i < 10; i++) {
        int64_t n;
        gn_txn *txn = begin_with(fx, &(gn_txn_options){.read_scn = scns[i]});
        assert_true(has_row(txn, t, 1, &n));
        assert_int_equal(n, i);
        gn_txn_abort(txn);
    }
    free_table(t);
}

/* Filters and index are cut into small blocks: no look-up may miss at a border. */
static void every_row_is_found_in_the_files(void **state)
{
    enum { ROWS = 20000 };
    fixture *fx = *state;
    gn_error err = {0};
    gn_table_desc *t = table(fx);
    for (int half = 0; half < 2; half++) {
        gn_txn *txn = begin(fx);
        for (int i = half; i < ROWS; i += 2)
            ASSERT_OK(insert(txn, t, &(row){.id = i * 3, .n = i}, &err), &err);
        ASSERT_OK(gn_txn_commit(txn, NULL, &err), &err);
        flush(fx);
    }
    compact(fx);
    gn_txn *txn = begin_with(fx, &(gn_txn_options){.read_only = true});
    for (int i = 0; i < ROWS; i++) {
        int64_t n;
        assert_true(has_row(txn, t, i * 3, &n));
        assert_int_equal(n, i);
        if (i % 10 == 0)
            assert_false(has_row(txn, t, i * 3 + 1, NULL));
    }
    gn_txn_abort(txn);
    txn = begin(fx); /* the look-ups of uniqueness go by the filters */
    for (int i = 0; i < ROWS; i++)
        ASSERT_CODE(insert(txn, t, &(row){.id = i * 3}, &err), GN_UNIQUE, &err);
    gn_txn_abort(txn);
    free_table(t);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup_short_retention, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(old_versions_go_and_the_newest_stays),
        TEST(a_deleted_row_leaves_nothing_and_does_not_return),
        TEST(no_order_of_collection_brings_a_row_back),
        TEST(history_that_was_collected_is_refused),
        TEST(every_row_is_found_in_the_files),
        TEST(a_dropped_table_is_removed_when_nobody_can_see_it),
        cmocka_unit_test_setup_teardown(retention_keeps_history, fixture_setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
