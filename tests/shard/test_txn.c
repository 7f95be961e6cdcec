#include "fixture.h"

#include <stdlib.h>

#define ASSERT_DUMP(text, expected)           \
    do {                                      \
        char *text_ = (text);                 \
        assert_string_equal(text_, expected); \
        free(text_);                          \
    } while (0)

static gn_table_desc *table(fixture *fx)
{
    gn_table_desc *t = make_table(GN_FIRST_USER_ID);
    gn_error err = {0};
    ASSERT_OK(put_table(fx, t, &err), &err);
    return t;
}

static void insert_now(fixture *fx, const gn_table_desc *t, int64_t id, const char *name, int64_t n)
{
    gn_error err = {0};
    gn_txn *txn = begin(fx);
    ASSERT_OK(insert(txn, t, &(row){.id = id, .name = name, .n = n}, &err), &err);
    ASSERT_OK(gn_txn_commit(txn, NULL, &err), &err);
}

static void committed_rows_are_read_back_in_key_order(void **state)
{
    fixture *fx = *state;
    gn_table_desc *t = table(fx);
    insert_now(fx, t, 3, "c", 30);
    insert_now(fx, t, -1, "a", 10);
    insert_now(fx, t, 2, NULL, 20);
    ASSERT_DUMP(dump_now(fx, t, NULL), "-1:a:10 2:-:20 3:c:30 ");
    gn_txn *txn = begin(fx);
    ASSERT_DUMP(dump(txn, t, NULL, NULL, true), "3:c:30 2:-:20 -1:a:10 ");
    gn_txn_abort(txn);
    gn_table_stats stats;
    gn_shard_table_stats(fx->shard, t->id, &stats);
    assert_int_equal(stats.rows_estimate, 3);
    free_table(t);
}

static void a_snapshot_does_not_change(void **state)
{
    fixture *fx = *state;
    gn_table_desc *t = table(fx);
    gn_error err = {0};
    insert_now(fx, t, 1, "a", 1);
    gn_txn *before = begin(fx);
    gn_txn *txn = begin(fx);
    ASSERT_OK(update(txn, t, 1, &(row){.id = 1, .name = "b", .n = 2}, &err), &err);
    ASSERT_OK(insert(txn, t, &(row){.id = 2, .name = "x"}, &err), &err);
    gn_scn scn;
    ASSERT_OK(gn_txn_commit(txn, &scn, &err), &err);
    ASSERT_DUMP(dump(before, t, NULL, NULL, false), "1:a:1 ");
    ASSERT_DUMP(dump(before, t, NULL, NULL, true), "1:a:1 ");
    ASSERT_DUMP(dump_now(fx, t, NULL), "1:b:2 2:x:0 ");
    gn_txn *then = begin_with(fx, &(gn_txn_options){.read_scn = gn_txn_read_scn(before)});
    ASSERT_DUMP(dump(then, t, NULL, NULL, false), "1:a:1 ");
    gn_txn_abort(then);
    then = begin_with(fx, &(gn_txn_options){.read_scn = scn});
    ASSERT_DUMP(dump(then, t, NULL, NULL, false), "1:b:2 2:x:0 ");
    gn_txn_abort(then);
    gn_txn_abort(before);
    free_table(t);
}

static void own_writes_are_seen_and_merged(void **state)
{
    fixture *fx = *state;
    gn_table_desc *t = table(fx);
    gn_error err = {0};
    for (int i = 0; i < 10; i += 2)
        insert_now(fx, t, i, "c", i);
    gn_txn *txn = begin(fx);
    ASSERT_OK(insert(txn, t, &(row){.id = 3, .name = "own"}, &err), &err);
    ASSERT_OK(erase(txn, t, 4, &err), &err);
    ASSERT_OK(update(txn, t, 6, &(row){.id = 6, .name = "new"}, &err), &err);
    ASSERT_OK(update(txn, t, 8, &(row){.id = 1, .name = "moved"}, &err), &err);
    ASSERT_DUMP(dump(txn, t, NULL, NULL, false), "0:c:0 1:moved:0 2:c:2 3:own:0 6:new:0 ");
    ASSERT_DUMP(dump(txn, t, NULL, NULL, true), "6:new:0 3:own:0 2:c:2 1:moved:0 0:c:0 ");
    ASSERT_CODE(insert(txn, t, &(row){.id = 3}, &err), GN_UNIQUE, &err);
    ASSERT_CODE(insert(txn, t, &(row){.id = 2}, &err), GN_UNIQUE, &err);
    assert_string_equal(err.message, "duplicate key value violates unique constraint \"t16384_pkey\"");
    assert_string_equal(err.detail, "Key (id)=(2) already exists.");
    ASSERT_OK(insert(txn, t, &(row){.id = 4, .name = "again"}, &err), &err);
    ASSERT_OK(gn_txn_commit(txn, NULL, &err), &err);
    ASSERT_DUMP(dump_now(fx, t, NULL), "0:c:0 1:moved:0 2:c:2 3:own:0 4:again:0 6:new:0 ");
    free_table(t);
}

static void write_skew_is_refused(void **state)
{
    fixture *fx = *state;
    gn_table_desc *t = table(fx);
    gn_error err = {0};
    insert_now(fx, t, 1, "on call", 1);
    insert_now(fx, t, 2, "on call", 1);
    gn_txn *a = begin(fx), *b = begin(fx);
    ASSERT_DUMP(dump(a, t, NULL, NULL, false), "1:on call:1 2:on call:1 ");
    ASSERT_DUMP(dump(b, t, NULL, NULL, false), "1:on call:1 2:on call:1 ");
    ASSERT_OK(update(a, t, 1, &(row){.id = 1, .name = "off"}, &err), &err);
    ASSERT_OK(update(b, t, 2, &(row){.id = 2, .name = "off"}, &err), &err);
    ASSERT_OK(gn_txn_commit(a, NULL, &err), &err);
    ASSERT_CODE(gn_txn_commit(b, NULL, &err), GN_SERIALIZATION, &err);
    ASSERT_DUMP(dump_now(fx, t, NULL), "1:off:0 2:on call:1 ");
    free_table(t);
}

static void phantoms_are_refused_and_unread_ranges_are_not(void **state)
{
    fixture *fx = *state;
    gn_table_desc *t = table(fx);
    gn_error err = {0};
    insert_now(fx, t, 5, "x", 1);
    for (int inside = 0; inside < 2; inside++) {
        gn_txn *txn = begin(fx);
        gn_buf lo, hi;
        key_of(1, &lo);
        key_of(10, &hi);
        gn_key_range range = {.lo = gn_buf_bytes(&lo), .hi = gn_buf_bytes(&hi)};
        free(dump(txn, t, NULL, &range, false));
        insert_now(fx, t, inside ? 7 : 10, "phantom", 0);
        ASSERT_OK(insert(txn, t, &(row){.id = 100 + inside}, &err), &err);
        ASSERT_CODE(gn_txn_commit(txn, NULL, &err), inside ? GN_SERIALIZATION : GN_OK, &err);
        gn_buf_close(&lo);
        gn_buf_close(&hi);
    }
    free_table(t);
}

static void lost_updates_are_refused_even_without_a_read_set(void **state)
{
    fixture *fx = *state;
    gn_table_desc *t = table(fx);
    gn_error err = {0};
    insert_now(fx, t, 1, "x", 1);
    const gn_txn_options o = {.no_read_set = true};
    gn_txn *a = begin_with(fx, &o), *b = begin_with(fx, &o);
    ASSERT_OK(update(a, t, 1, &(row){.id = 1, .n = 2}, &err), &err);
    ASSERT_OK(update(b, t, 1, &(row){.id = 1, .n = 3}, &err), &err);
    ASSERT_OK(commit(a), NULL);
    ASSERT_CODE(commit(b), GN_SERIALIZATION, NULL);
    free_table(t);
}

static void only_one_of_two_equal_inserts_commits(void **state)
{
    fixture *fx = *state;
    gn_table_desc *t = table(fx);
    gn_error err = {0};
    gn_txn *a = begin(fx), *b = begin(fx);
    ASSERT_OK(insert(a, t, &(row){.id = 1, .name = "a"}, &err), &err);
    ASSERT_OK(insert(b, t, &(row){.id = 1, .name = "b"}, &err), &err);
    ASSERT_OK(gn_txn_commit(a, NULL, &err), &err);
    ASSERT_CODE(gn_txn_commit(b, NULL, &err), GN_UNIQUE, &err);
    assert_string_equal(err.detail, "Key (id)=(1) already exists.");
    ASSERT_DUMP(dump_now(fx, t, NULL), "1:a:0 ");
    free_table(t);
}

static void read_only_transactions_refuse_writes(void **state)
{
    fixture *fx = *state;
    gn_table_desc *t = table(fx);
    gn_error err = {0};
    gn_txn *txn = begin_with(fx, &(gn_txn_options){.read_only = true});
    ASSERT_CODE(insert(txn, t, &(row){.id = 1}, &err), GN_READ_ONLY_TRANSACTION, &err);
    ASSERT_CODE(gn_txn_put_table(txn, t, &err), GN_READ_ONLY_TRANSACTION, &err);
    gn_txn_abort(txn);
    free_table(t);
}

static void a_scan_does_not_see_what_is_written_after_it_began(void **state)
{
    fixture *fx = *state;
    gn_table_desc *t = table(fx);
    gn_error err = {0};
    gn_txn *txn = begin(fx);
    for (int i = 0; i < 3000; i++)
        ASSERT_OK(insert(txn, t, &(row){.id = i, .name = "old"}, &err), &err);
    static const uint32_t ordinals[] = {0};
    static const gn_type types[] = {{GN_T_INT8, false, -1}};
    gn_scan_spec spec = {.table = t, .ordinals = ordinals, .n_ordinals = 1};
    gn_arena *arena = gn_arena_create(NULL);
    gn_batch batch;
    gn_bytes keys[GN_BATCH_ROWS];
    gn_scan *scan;
    ASSERT_OK(gn_batch_init(&batch, types, 1, arena, &err), &err);
    ASSERT_OK(gn_scan_open(txn, &spec, &scan, &err), &err);
    int64_t seen = 0;
    do { /* every row is moved ahead of the scan, and is not met again */
        ASSERT_OK(gn_scan_next(scan, &batch, keys, &err), &err);
        for (uint32_t i = 0; i < batch.n_rows; i++, seen++) {
            gn_value values[4];
            assert_int_equal(batch.columns[0].i64[i], seen);
            row_values(&(row){.id = seen + 10000}, values);
            ASSERT_OK(gn_txn_update(txn, t, keys[i], values, &err), &err);
        }
    } while (batch.n_rows > 0);
    assert_int_equal(seen, 3000);
    gn_scan_close(scan);
    gn_arena_destroy(arena);
    ASSERT_OK(gn_txn_commit(txn, NULL, &err), &err);
    gn_table_stats stats;
    gn_shard_table_stats(fx->shard, t->id, &stats);
    assert_int_equal(stats.rows_estimate, 3000);
    free_table(t);
}

static void a_crash_loses_nothing_that_was_committed(void **state)
{
    fixture *fx = *state;
    gn_table_desc *t = table(fx);
    for (int i = 0; i < 50; i++)
        insert_now(fx, t, i, "x", i);
    char *before = dump_now(fx, t, NULL);
    gn_scn scn = gn_shard_last_scn(fx->shard);
    fixture_reopen(fx, false);
    assert_int_equal(gn_shard_last_scn(fx->shard), scn);
    ASSERT_DUMP(dump_now(fx, t, NULL), before);
    insert_now(fx, t, 50, "y", 0);
    fixture_reopen(fx, true);
    gn_txn *txn = begin(fx);
    assert_true(has_row(txn, t, 50, NULL));
    gn_txn_abort(txn);
    free(before);
    free_table(t);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(committed_rows_are_read_back_in_key_order),
        TEST(a_snapshot_does_not_change),
        TEST(own_writes_are_seen_and_merged),
        TEST(write_skew_is_refused),
        TEST(phantoms_are_refused_and_unread_ranges_are_not),
        TEST(lost_updates_are_refused_even_without_a_read_set),
        TEST(only_one_of_two_equal_inserts_commits),
        TEST(read_only_transactions_refuse_writes),
        TEST(a_scan_does_not_see_what_is_written_after_it_began),
        TEST(a_crash_loses_nothing_that_was_committed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
