/* Transactions and scans over groups that have no replica on the coordinator's node. */
#include "remote.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void fill(remote *r, const char *name, int n)
{
    gn_error err = {0};
    gn_dtxn *txn = begin(r);
    for (int i = 1; i <= n; i++) {
        char text[16];
        snprintf(text, sizeof text, "%d", i);
        ASSERT_OK(insert(txn, name, &(row){i, text, i * 10, NULL}, &err), &err);
    }
    ASSERT_OK(commit(txn, &err), &err);
}

static void rows_are_written_and_read(void **state)
{
    remote *r = *state;
    gn_error err = {0};
    make_table(r, "t", r->there);
    fill(r, "t", 5);
    assert_rows(r, NULL, "t", NULL, "1:1:10 2:2:20 3:3:30 4:4:40 5:5:50 ");
    gn_dtxn *txn = begin(r);
    ASSERT_OK(update(txn, "t", 2, &(row){2, "two", 0, NULL}, &err), &err);
    ASSERT_OK(update(txn, "t", 3, &(row){30, "3", 0, NULL}, &err), &err);
    ASSERT_OK(erase(txn, "t", 4, &err), &err);
    assert_rows(r, txn, "t", NULL, "1:1:10 2:two:0 5:5:50 30:3:0 "); /* its own writes */
    assert_rows(r, NULL, "t", NULL, "1:1:10 2:2:20 3:3:30 4:4:40 5:5:50 ");
    ASSERT_OK(commit(txn, &err), &err);
    assert_rows(r, NULL, "t", &(look){.reverse = true}, "30:3:0 5:5:50 2:two:0 1:1:10 ");
    assert_rows(r, NULL, "t", &(look){.by_name = true}, "1:1:10 30:3:0 5:5:50 2:two:0 ");
    assert_rows(r, NULL, "t", &(look){.ranged = true, .lo = 2, .hi = 5}, "2:two:0 5:5:50 ");
    assert_rows(r, NULL, "t", &(look){.ranged = true, .lo = 5, .hi = 5, .limit = 1}, "5:5:50 ");
    assert_rows(r, NULL, "t", &(look){.by_name = true, .ranged = true, .lo = 3, .hi = 3}, "30:3:0 ");
    assert_rows(r, NULL, "t", &(look){.limit = 2}, "1:1:10 2:two:0 ");
}

static void many_rows_come_in_batches(void **state)
{
    remote *r = *state;
    enum { N = 5000 };
    make_table(r, "t", r->there);
    fill(r, "t", N);
    gn_buf expected;
    gn_buf_init(&expected, NULL, 1 << 20);
    for (int i = 1; i <= N; i++)
        gn_buf_printf(&expected, "%d:%d:%d ", i, i, i * 10);
    gn_buf_append_u8(&expected, 0);
    assert_rows(r, NULL, "t", NULL, (const char *)expected.data);
    assert_rows(r, NULL, "t", &(look){.limit = 1}, "1:1:10 ");
    gn_buf_close(&expected);
    gn_sim_run_for(r->sim, SECOND);
    assert_int_equal(parts_at(r, B), 0); /* what ended, or was left, is gone there too */
}

/* Whoever gives a part up is not waited for. */
static bool nothing_held(void *ctx)
{
    return parts_at(ctx, B) == 0;
}

static void duplicates_are_refused_at_the_statement(void **state)
{
    remote *r = *state;
    gn_error err = {0};
    make_table(r, "t", r->there);
    fill(r, "t", 3);
    gn_dtxn *txn = begin(r);
    ASSERT_OK(insert(txn, "t", &(row){4, "4", 0, NULL}, &err), &err);
    ASSERT_OK(gn_dtxn_statement_end(txn, &err), &err);
    gn_dtxn_mark *mark = gn_dtxn_mark_take(txn);
    ASSERT_OK(insert(txn, "t", &(row){5, "5", 0, NULL}, &err), &err);
    ASSERT_OK(insert(txn, "t", &(row){2, "again", 0, NULL}, &err), &err);
    ASSERT_CODE(gn_dtxn_statement_end(txn, &err), GN_UNIQUE, &err);
    assert_string_equal(err.object[3], "t_pkey");
    assert_string_equal(gn_code_sqlstate(err.code), "23505");
    ASSERT_OK(gn_dtxn_rollback_to(txn, mark, &err), &err);
    gn_error_clear(&err);
    ASSERT_OK(insert(txn, "t", &(row){6, "2", 0, NULL}, &err), &err);
    ASSERT_CODE(gn_dtxn_flush(txn, &err), GN_UNIQUE, &err);
    assert_string_equal(err.object[3], "t_name");
    gn_dtxn_mark_free(mark);
    ASSERT_OK(commit(txn, &err), &err);
    assert_rows(r, NULL, "t", NULL, "1:1:10 2:2:20 3:3:30 4:4:0 ");
    /* alone in its transaction a statement hears of it from the commit */
    txn = begin_with(r, &(gn_dtxn_options){0});
    ASSERT_OK(insert(txn, "t", &(row){1, "x", 0, NULL}, &err), &err);
    ASSERT_OK(gn_dtxn_statement_end(txn, &err), &err);
    ASSERT_CODE(commit(txn, &err), GN_UNIQUE, &err);
    assert_true(gn_sim_run_until(r->sim, nothing_held, r, SECOND));
}

static void savepoints_go_back(void **state)
{
    remote *r = *state;
    gn_error err = {0};
    make_table(r, "t", r->there);
    gn_dtxn *txn = begin(r);
    gn_dtxn_mark *before = gn_dtxn_mark_take(txn), *marks[4];
    for (int i = 0; i < 4; i++) {
        char name[4] = {(char)('a' + i)};
        ASSERT_OK(insert(txn, "t", &(row){i, name, i, NULL}, &err), &err);
        if (i == 1)
            assert_rows(r, txn, "t", NULL, "0:a:0 1:b:1 "); /* some marks lie behind what was sent, some do not */
        marks[i] = gn_dtxn_mark_take(txn);
    }
    ASSERT_OK(gn_dtxn_rollback_to(txn, marks[2], &err), &err);
    assert_rows(r, txn, "t", NULL, "0:a:0 1:b:1 2:c:2 ");
    ASSERT_OK(gn_dtxn_rollback_to(txn, marks[0], &err), &err);
    assert_rows(r, txn, "t", NULL, "0:a:0 ");
    ASSERT_OK(insert(txn, "t", &(row){9, "z", 9, NULL}, &err), &err);
    ASSERT_OK(gn_dtxn_rollback_to(txn, marks[0], &err), &err); /* again */
    ASSERT_OK(insert(txn, "t", &(row){7, "y", 7, NULL}, &err), &err);
    assert_rows(r, txn, "t", NULL, "0:a:0 7:y:7 ");
    ASSERT_OK(gn_dtxn_rollback_to(txn, before, &err), &err); /* from before the part began */
    assert_rows(r, txn, "t", NULL, "");
    ASSERT_OK(insert(txn, "t", &(row){5, "e", 5, NULL}, &err), &err);
    for (int i = 0; i < 4; i++)
        gn_dtxn_mark_free(marks[i]);
    gn_dtxn_mark_free(before);
    ASSERT_OK(commit(txn, &err), &err);
    assert_rows(r, NULL, "t", NULL, "5:e:5 ");
}

static void a_scan_sees_what_was_there_when_it_began(void **state)
{
    remote *r = *state;
    gn_error err = {0};
    static const uint32_t ordinals[] = {0};
    make_table(r, "t", r->there);
    fill(r, "t", 3000);
    gn_dtxn *txn = begin(r);
    gn_scan_spec spec = {.table = table(txn, "t"), .ordinals = ordinals, .n_ordinals = 1, .without_keys = true};
    gn_dscan *scan, *other;
    gn_batch batch = {.n_columns = 1, .arena = gn_arena_create(NULL)};
    int64_t seen = 0;
    ASSERT_OK(gn_dscan_open(txn, &spec, false, &scan, &err), &err);
    for (;;) { /* as an UPDATE of all rows does; and a second scan through the same part */
        ASSERT_OK(gn_dscan_next(scan, &batch, NULL, &err), &err);
        if (batch.n_rows == 0)
            break;
        for (uint32_t i = 0; i < batch.n_rows; i++) {
            char name[24];
            assert_int_equal(batch.columns[0].i64[i], ++seen);
            snprintf(name, sizeof name, "%lld", (long long)seen);
            ASSERT_OK(update(txn, "t", seen, &(row){seen + 10000, name, 1, NULL}, &err), &err);
        }
        assert_rows(r, txn, "t", &(look){.ranged = true, .lo = seen + 10000, .hi = seen + 10000},
                    seen == 1024   ? "11024:1024:1 "
                    : seen == 2048 ? "12048:2048:1 "
                                   : "13000:3000:1 ");
    }
    assert_int_equal(seen, 3000);
    ASSERT_OK(gn_dscan_open(txn, &spec, false, &other, &err), &err);
    ASSERT_OK(gn_dscan_next(other, &batch, NULL, &err), &err);
    assert_int_equal(batch.columns[0].i64[0], 10001);
    gn_dscan_close(scan);
    ASSERT_OK(commit(txn, &err), &err);
    ASSERT_CODE(gn_dscan_next(other, &batch, NULL, &err), GN_NO_CURSOR, &err);
    gn_dscan_close(other);
    gn_arena_destroy(batch.arena);
    assert_rows(r, NULL, "t", &(look){.ranged = true, .lo = 1, .hi = 10002}, "10001:1:1 10002:2:1 ");
}

static void vectors_are_found(void **state)
{
    remote *r = *state;
    gn_error err = {0};
    gn_code code;
    const char *names[] = {"there", "both"};
    for (int which = 0; which < 2; which++) {
        const char *name = names[which];
        make_table(r, name, which ? r->both : r->there);
        gn_dtxn *txn = begin(r);
        for (int i = 1; i <= 300; i++) {
            float v[DIMENSIONS] = {(float)i};
            ASSERT_OK(insert(txn, name, &(row){i, NULL, i, v}, &err), &err);
        }
        ASSERT_OK(commit(txn, &err), &err);
        txn = begin(r);
        float q[DIMENSIONS] = {100.2F};
        char *ids = nearest(txn, name, q, 5, &code, &err);
        ASSERT_OK(code, &err);
        assert_string_equal(ids, "100 101 99 102 98 ");
        free(ids);
        ASSERT_OK(erase(txn, name, 101, &err), &err);
        float close[DIMENSIONS] = {100.3F};
        ASSERT_OK(insert(txn, name, &(row){1000, NULL, 0, close}, &err), &err);
        ids = nearest(txn, name, q, 3, &code, &err);
        ASSERT_OK(code, &err);
        assert_string_equal(ids, "1000 100 99 ");
        free(ids);
        q[0] = NAN;
        assert_null(nearest(txn, name, q, 3, &code, &err));
        ASSERT_CODE(code, GN_BAD_VECTOR, &err);
        gn_dtxn_abort(txn);
    }
}

static void groups_here_and_there_commit_together(void **state)
{
    remote *r = *state;
    gn_error err = {0};
    make_table(r, "t", r->both);
    fill(r, "t", 8);
    assert_rows(r, NULL, "t", &(look){.ordered = true}, "1:1:10 2:2:20 3:3:30 4:4:40 5:5:50 6:6:60 7:7:70 8:8:80 ");
    assert_rows(r, NULL, "t", &(look){.ordered = true, .reverse = true},
                "8:8:80 7:7:70 6:6:60 5:5:50 4:4:40 3:3:30 2:2:20 1:1:10 ");
    gn_dtxn *txn = begin(r), *other = begin(r);
    for (int i = 1; i <= 8; i++) {
        char name[16];
        snprintf(name, sizeof name, "%d", i);
        ASSERT_OK(update(txn, "t", i, &(row){i, name, 1, NULL}, &err), &err);
        ASSERT_OK(update(other, "t", i, &(row){i, name, 2, NULL}, &err), &err);
    }
    ASSERT_OK(commit(txn, &err), &err);
    ASSERT_CODE(commit(other, &err), GN_SERIALIZATION, &err); /* all of it */
    assert_rows(r, NULL, "t", &(look){.ordered = true}, "1:1:1 2:2:1 3:3:1 4:4:1 5:5:1 6:6:1 7:7:1 8:8:1 ");
    txn = begin(r);
    gn_code code = update(txn, "t", 1, &(row){1, "1", 5, NULL}, &err);
    for (int i = 2; i <= 8 && code == GN_OK; i++) /* those that are here are refused at once, the others later */
        code = insert(txn, "t", &(row){i, NULL, 5, NULL}, &err);
    ASSERT_CODE(code, GN_UNIQUE, &err);
    gn_dtxn_abort(txn);
    assert_rows(r, NULL, "t", &(look){.ordered = true, .limit = 2}, "1:1:1 2:2:1 ");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, remote_setup, remote_teardown)
    const struct CMUnitTest tests[] = {
        TEST(rows_are_written_and_read),
        TEST(many_rows_come_in_batches),
        TEST(duplicates_are_refused_at_the_statement),
        TEST(savepoints_go_back),
        TEST(a_scan_sees_what_was_there_when_it_began),
        TEST(vectors_are_found),
        TEST(groups_here_and_there_commit_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
