/* A group that is split: which half shows and takes what, from which moment on, over crashes. */
#include "halves.h"

static void each_half_has_its_rows(void **state)
{
    halves *h = *state;
    size_t lower = expected(h->t, 0, ROWS, 0, MID);
    gn_scn before = gn_shard_last_scn(h->fx->shard);
    split_now(h);
    adopt_child(h);
    assert_true(gn_shard_last_scn(h->child) > before);
    for (int cleaned = 0; cleaned < 2; cleaned++) {
        gn_txn *a = begin_in(h->fx->shard, 0, MID), *b = begin_in(h->child, MID, GN_SLOTS), *past;
        assert_int_equal(count_rows(a, h->t, 0, MID), lower);
        assert_int_equal(count_rows(b, h->t, MID, GN_SLOTS), ROWS - lower);
        assert_int_equal(count_nearest(a, h->t, 0, MID), lower);
        assert_int_equal(count_nearest(b, h->t, MID, GN_SLOTS), ROWS - lower);
        assert_int_equal(begin_at(h->child, MID, GN_SLOTS, before, &past), GN_OK); /* history has come along */
        assert_int_equal(count_rows(past, h->t, MID, GN_SLOTS), ROWS - lower);
        check_indexes(h->fx->shard, h->t, lower);
        check_indexes(h->child, h->t, ROWS - lower);
        gn_txn_abort(past);
        gn_txn_abort(a);
        gn_txn_abort(b);
        await_clean(h->fx->world, h->fx->shard);
        await_clean(h->fx->world, h->child);
    }
    gn_vindex_stats stats; /* what the other half has is dead here */
    if (gn_shard_vindex_stats(h->fx->shard, I_V, &stats, NULL) == GN_OK)
        assert_int_equal(stats.dead_vectors, ROWS - lower);
    assert_true(gn_shard_slots_removed(h->fx->shard) > 0 && gn_shard_slots_removed(h->child) > 0);
}

static void who_believes_in_the_old_slots_is_refused(void **state)
{
    halves *h = *state;
    gn_txn *txn;
    split_now(h);
    adopt_child(h);
    assert_int_equal(begin_at(h->fx->shard, 0, 0, 0, &txn), GN_MOVED);
    assert_int_equal(begin_at(h->fx->shard, 0, GN_SLOTS, 0, &txn), GN_MOVED);
    assert_int_equal(begin_at(h->fx->shard, MID, GN_SLOTS, 0, &txn), GN_MOVED);
    assert_int_equal(begin_at(h->child, 0, MID, 0, &txn), GN_MOVED);
    assert_int_equal(begin_at(h->child, 0, 0, 0, &txn), GN_MOVED);
    txn = begin_in(h->fx->shard, 0, MID / 2); /* a part of what it has */
    assert_int_equal(count_rows(txn, h->t, 0, MID / 2), expected(h->t, 0, ROWS, 0, MID / 2));
    gn_txn_abort(txn);
}

static void a_transaction_over_the_split_reads_on_and_cannot_commit(void **state)
{
    halves *h = *state;
    gn_error err = {0};
    gn_txn *old = begin(h->fx);
    assert_true(has_row(old, h->t, 1, NULL));
    split_now(h);
    adopt_child(h);
    await_clean(h->fx->world, h->child);
    assert_int_equal(count_rows(old, h->t, 0, GN_SLOTS), ROWS); /* it holds the cleaning back */
    gn_slots own;
    gn_shard_slots(h->fx->shard, &own);
    assert_true(own.cleaned < own.generation);
    put_row(old, h->t, ROWS, 0);
    ASSERT_CODE(gn_txn_commit(old, NULL, &err), GN_SERIALIZATION, &err);
    await_clean(h->fx->world, h->fx->shard);
}

static void both_halves_take_writes_and_keep_them(void **state)
{
    halves *h = *state;
    gn_error err = {0};
    split_now(h);
    adopt_child(h);
    for (int round = 0; round < 3; round++) {
        gn_txn *a = begin_in(h->fx->shard, 0, MID), *b = begin_in(h->child, MID, GN_SLOTS);
        for (int64_t id = ROWS + round * 20; id < ROWS + round * 20 + 20; id++)
            put_row(slot_of(h->t, id) < MID ? a : b, h->t, id, id % 10);
        ASSERT_OK(gn_txn_commit(a, NULL, &err), &err);
        ASSERT_OK(gn_txn_commit(b, NULL, &err), &err);
        if (round == 0)
            continue;
        gn_shard_close(h->child, round == 2);
        h->child = NULL;
        fixture_reopen(h->fx, round == 2);
        open_child(h);
    }
    gn_txn *a = begin_in(h->fx->shard, 0, MID), *b = begin_in(h->child, MID, GN_SLOTS);
    assert_int_equal(count_rows(a, h->t, 0, MID), expected(h->t, 0, ROWS + 60, 0, MID));
    assert_int_equal(count_rows(b, h->t, MID, GN_SLOTS), expected(h->t, 0, ROWS + 60, MID, GN_SLOTS));
    assert_int_equal(count_nearest(b, h->t, MID, GN_SLOTS), expected(h->t, 0, ROWS + 60, MID, GN_SLOTS));
    gn_txn_abort(a);
    gn_txn_abort(b);
}

static void a_split_waits_for_who_is_prepared(void **state)
{
    halves *h = *state;
    gn_error err = {0};
    const uint64_t groups[] = {1, 2};
    gn_split s = split_of(0, 0, MID, GN_SLOTS, CHILD);
    gn_scn prepared;
    gn_txn *txn = begin(h->fx);
    put_row(txn, h->t, ROWS, 0);
    ASSERT_OK(gn_txn_prepare(txn, 77, groups, 2, &prepared, &err), &err);
    ASSERT_CODE(gn_shard_split(h->fx->shard, &s, 20000000, &err), GN_OBJECT_IN_USE, &err);
    gn_slots own;
    gn_shard_slots(h->fx->shard, &own);
    assert_int_equal(own.generation, 0);
    ASSERT_OK(gn_shard_decide(h->fx->shard, 77, true, test_clock_scn(&h->clock), NULL, &err), &err);
    ASSERT_OK(gn_shard_split(h->fx->shard, &s, 20000000, &err), &err);
    adopt_child(h);
    gn_txn *b = begin_in(h->child, MID, GN_SLOTS), *a = begin_in(h->fx->shard, 0, MID);
    assert_int_equal(count_rows(a, h->t, 0, MID) + count_rows(b, h->t, MID, GN_SLOTS), ROWS + 1);
    gn_txn_abort(a);
    gn_txn_abort(b);
}

static void a_split_is_made_once_and_of_what_is_there(void **state)
{
    halves *h = *state;
    gn_error err = {0};
    gn_split again = split_of(0, 0, MID, GN_SLOTS, CHILD), other = split_of(0, 0, MID, GN_SLOTS, CHILD + 1),
             wrong = split_of(1, 0, MID, GN_SLOTS, CHILD + 1), nothing = split_of(1, 0, 0, MID, CHILD + 1),
             second = split_of(1, 0, MID / 2, MID, CHILD + 1);
    split_now(h);
    ASSERT_OK(gn_shard_split(h->fx->shard, &again, 1000000, &err), &err);
    ASSERT_CODE(gn_shard_split(h->fx->shard, &other, 1000000, &err), GN_NOT_IN_STATE, &err);
    ASSERT_CODE(gn_shard_split(h->fx->shard, &wrong, 1000000, &err), GN_NOT_IN_STATE, &err);
    ASSERT_CODE(gn_shard_split(h->fx->shard, &nothing, 1000000, &err), GN_INVALID_PARAMETER, &err);
    ASSERT_OK(gn_shard_split(h->fx->shard, &second, 1000000, &err), &err);
    adopt_child(h); /* the first one's is still there */
    gn_slots own;
    gn_shard_slots(h->fx->shard, &own);
    assert_int_equal(own.generation, 2);
    assert_int_equal(own.hi, MID / 2);
    assert_int_equal(own.child, CHILD + 1);
    gn_txn *a = begin_in(h->fx->shard, 0, MID / 2);
    assert_int_equal(count_rows(a, h->t, 0, MID / 2), expected(h->t, 0, ROWS, 0, MID / 2));
    gn_txn_abort(a);
}

/* The directory has been taken over and the log has not been made: the next open makes it. */
static void a_crash_after_the_adoption_is_gone_over(void **state)
{
    halves *h = *state;
    char dir[300];
    gn_error err = {0};
    split_now(h);
    child_dir(h, dir, sizeof dir);
    ASSERT_OK(gn_split_adopt(h->fx->shard_dir, CHILD, dir, &err), &err);
    fixture_reopen(h->fx, false);
    open_child(h);
    gn_txn *b = begin_in(h->child, MID, GN_SLOTS);
    assert_int_equal(count_rows(b, h->t, MID, GN_SLOTS), expected(h->t, 0, ROWS, MID, GN_SLOTS));
    gn_txn_abort(b);
}

static void an_index_made_later_has_own_rows_only(void **state)
{
    halves *h = *state;
    gn_error err = {0};
    gn_txn *old = begin(h->fx); /* so that nothing is cleaned */
    split_now(h);
    gn_table_desc *copy = h->t;
    add_index(copy, I_V + 1, COL_N, false);
    gn_index_desc fresh = copy->indexes[copy->n_indexes - 1];
    copy->indexes[2] = copy->indexes[0];
    copy->indexes[0] = fresh; /* that count_rows looks at */
    gn_txn *ddl = begin_in(h->fx->shard, 0, MID);
    ASSERT_OK(gn_txn_put_table(ddl, copy, &err), &err);
    ASSERT_OK(gn_txn_commit(ddl, NULL, &err), &err);
    gn_txn_abort(old);
    await_clean(h->fx->world, h->fx->shard);
    gn_txn *a = begin_in(h->fx->shard, 0, MID);
    assert_int_equal(count_rows(a, copy, 0, MID), expected(copy, 0, ROWS, 0, MID));
    gn_txn_abort(a);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, halves_setup, halves_teardown)
    const struct CMUnitTest tests[] = {
        CASE(each_half_has_its_rows),
        CASE(who_believes_in_the_old_slots_is_refused),
        CASE(a_transaction_over_the_split_reads_on_and_cannot_commit),
        CASE(both_halves_take_writes_and_keep_them),
        CASE(a_split_waits_for_who_is_prepared),
        CASE(a_split_is_made_once_and_of_what_is_there),
        CASE(a_crash_after_the_adoption_is_gone_over),
        CASE(an_index_made_later_has_own_rows_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
