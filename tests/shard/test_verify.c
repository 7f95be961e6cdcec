/* An index beside its rows: the same after whatever was written, and what is planted is found. */
#include "fixture.h"
#include "shard/vector_feed_private.h"

#include <stdio.h>
#include <stdlib.h>

enum { TABLE = GN_FIRST_USER_ID, I_NAME, I_N, I_V, IDS = 200 };

static uint64_t rnd_state;
static uint32_t rnd(uint32_t n)
{
    rnd_state = rnd_state * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(rnd_state >> 33) % n;
}

static gn_table_desc *indexed_table(fixture *fx, uint8_t metric)
{
    gn_error err = {0};
    gn_table_desc *t = make_table(TABLE);
    add_index(t, I_NAME, COL_NAME, false);
    add_index(t, I_N, COL_N, true);
    add_vector_index(t, I_V, metric);
    ASSERT_OK(put_table(fx, t, &err), &err);
    return t;
}

/* Inserts, updates and deletes; NULLs, and vectors of no length, among them. */
static void write_some(fixture *fx, const gn_table_desc *t, bool *used)
{
    gn_error err = {0};
    char name[16];
    float v[DIMENSIONS] = {0};
    gn_txn *txn = begin(fx);
    for (int i = 0; i < 20; i++) {
        int id = (int)rnd(IDS);
        snprintf(name, sizeof name, "n%u", rnd(9));
        v[0] = rnd(8) ? (float)rnd(50) : 0;
        row r = {.id = id,
                 .name = rnd(5) ? name : NULL,
                 .n = 1000 * id + (int)rnd(900),
                 .n_null = rnd(6) == 0,
                 .v = rnd(4) ? v : NULL};
        if (used[id] && rnd(3) == 0)
            ASSERT_OK(erase(txn, t, id, &err), &err);
        else
            ASSERT_OK(used[id] ? update(txn, t, id, &r, &err) : insert(txn, t, &r, &err), &err);
        used[id] = gn_txn_read_scn(txn) > 0 && has_row(txn, t, id, &(int64_t){0});
    }
    gn_scn scn;
    ASSERT_OK(gn_txn_commit(txn, &scn, &err), &err);
}

static gn_index_findings check(fixture *fx, const gn_table_desc *t, uint32_t index)
{
    gn_error err = {0};
    gn_index_findings found;
    gn_txn *txn = begin_with(fx, &(gn_txn_options){.read_only = true});
    ASSERT_OK(gn_txn_check_index(txn, t, &t->indexes[index], &found, &err), &err);
    gn_txn_abort(txn);
    gn_buf_close(&found.example);
    return found;
}

static void wait_live(fixture *fx)
{
    gn_error err = {0};
    ASSERT_OK(gn_shard_vindex_build(fx->shard, I_V, NULL, NULL, NULL, &err), &err);
}

static void indexes_are_as_their_rows(fixture *fx, uint8_t metric)
{
    gn_table_desc *t = indexed_table(fx, metric);
    bool used[IDS] = {false};
    rnd_state = metric;
    for (int step = 0; step < 30; step++) {
        write_some(fx, t, used);
        if (step % 10 == 9)
            fixture_reopen(fx, step % 2);
        if (step % 7 == 0 || step == 29)
            wait_live(fx);
        for (uint32_t i = 0; i < t->n_indexes; i++) {
            gn_index_findings found = check(fx, t, i);
            assert_true(found.same || found.behind);
            assert_true(found.behind || found.rows == found.entries);
        }
    }
    assert_true(check(fx, t, 0).rows > 20 && !check(fx, t, 2).behind);
    free_table(t);
}

static void of_each_metric_they_are_as_their_rows(void **state)
{
    indexes_are_as_their_rows(*state, GN_METRIC_L2);
}

static void with_vectors_that_have_no_cosine_too(void **state)
{
    indexes_are_as_their_rows(*state, GN_METRIC_COSINE);
}

static void a_vector_that_is_missing_or_too_many_is_found(void **state)
{
    fixture *fx = *state;
    gn_error err = {0};
    gn_table_desc *t = indexed_table(fx, GN_METRIC_L2);
    bool used[IDS] = {false};
    gn_buf key;
    write_some(fx, t, used);
    float v[DIMENSIONS] = {1, 2, 3};
    gn_txn *txn = begin(fx);
    ASSERT_OK(insert(txn, t, &(row){.id = 1000, .name = "x", .n = 7, .v = v}, &err), &err);
    assert_int_equal(commit(txn), GN_OK);
    write_some(fx, t, used);
    wait_live(fx);
    gn_scn now = gn_shard_last_scn(fx->shard);
    gn_feed *feed = gn_feed_acquire(fx->shard->feeds, I_V, t->data_epoch, now);
    assert_non_null(feed);
    key_of(1000, &key);
    gn_vindex_end(gn_feed_vindex(feed), gn_buf_bytes(&key), GN_BRANCH_MAIN, now);
    gn_index_findings found = check(fx, t, 2);
    assert_false(found.same);
    assert_int_equal(found.missing, 1);
    gn_buf_close(&key);
    key_of(5000, &key);
    for (int i = 0; i < 2; i++) {
        ASSERT_OK(gn_vindex_insert(gn_feed_vindex(feed), gn_buf_bytes(&key), GN_BRANCH_MAIN, now, v, &err), &err);
        gn_buf_close(&key);
        key_of(5001, &key);
    }
    found = check(fx, t, 2);
    assert_false(found.same);
    assert_int_equal(found.extra, 1);
    gn_feed_release(feed);
    gn_buf_close(&key);
    free_table(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(of_each_metric_they_are_as_their_rows, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(with_vectors_that_have_no_cosine_too, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_vector_that_is_missing_or_too_many_is_found, fixture_setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
