/* A group that takes in its neighbour: what each shows and takes, from which moment on, over crashes. */
#include "halves.h"
#include "shard/slots_private.h"

#include <stdlib.h>
#include <string.h>

enum { PARENT = 1, MOST = ROWS + 40, PATIENCE = 1000000000 };

/* The child goes into the parent that it was split off, or the other way round. */
typedef struct sides {
    gn_shard *survivor, *victim;
    gn_merge to_survivor, to_victim;
} sides;

static sides sides_of(const halves *h, bool into_child)
{
    const gn_merge parent = {.generation = 1,
                             .lo = 0,
                             .hi = MID,
                             .other = CHILD,
                             .other_generation = 1,
                             .other_lo = MID,
                             .other_hi = GN_SLOTS},
                   child = {.generation = 1,
                            .lo = MID,
                            .hi = GN_SLOTS,
                            .other = PARENT,
                            .other_generation = 1,
                            .other_lo = 0,
                            .other_hi = MID};
    return into_child ? (sides){h->child, h->fx->shard, child, parent} : (sides){h->fx->shard, h->child, parent, child};
}

static void reserve_and_seal(const sides *s)
{
    gn_error err = {0};
    ASSERT_OK(gn_shard_merge_reserve(s->survivor, &s->to_survivor, &err), &err);
    ASSERT_OK(gn_shard_merge_seal(s->victim, &s->to_victim, PATIENCE, &err), &err);
}

/* Copies the next piece; false: all was copied before. */
static bool copy(const sides *s)
{
    gn_error err = {0};
    gn_buf at;
    gn_slots own;
    gn_merge_rows rows;
    gn_shard_slots(s->survivor, &own);
    if (own.victim_copied)
        return false;
    gn_buf_init(&at, NULL, GN_MERGE_CURSOR_MAX);
    gn_merge_rows_init(&rows);
    gn_shard_merge_cursor(s->survivor, &at);
    s->victim->merge_piece = 2000;
    ASSERT_OK(gn_shard_merge_read(s->victim, s->to_victim.other, gn_buf_bytes(&at), &rows, &err), &err);
    ASSERT_OK(gn_shard_merge_add(s->survivor, &s->to_survivor, gn_buf_bytes(&at), &rows, &err), &err);
    ASSERT_CODE(gn_shard_merge_add(s->survivor, &s->to_survivor, gn_buf_bytes(&at), &rows, &err), GN_NOT_IN_STATE,
                &err);
    gn_merge_rows_close(&rows);
    gn_buf_close(&at);
    return true;
}

static void take(const sides *s)
{
    gn_error err = {0};
    gn_buf at;
    gn_merge_rows rows;
    gn_buf_init(&at, NULL, GN_MERGE_CURSOR_MAX);
    gn_merge_rows_init(&rows);
    gn_shard_merge_cursor(s->survivor, &at);
    ASSERT_OK(gn_shard_merge_read(s->victim, s->to_victim.other, gn_buf_bytes(&at), &rows, &err), &err);
    ASSERT_OK(gn_shard_merge_take(s->survivor, &s->to_survivor, &rows, PATIENCE, &err), &err);
    ASSERT_OK(gn_shard_merge_take(s->survivor, &s->to_survivor, &rows, PATIENCE, &err), &err); /* once */
    gn_merge_rows_close(&rows);
    gn_buf_close(&at);
}

static void merge(const sides *s)
{
    reserve_and_seal(s);
    while (copy(s))
        ;
    take(s);
}

static void split_in_two(halves *h)
{
    split_now(h);
    adopt_child(h);
}

static void put_rows(halves *h, int64_t from, int64_t to)
{
    gn_error err = {0};
    gn_txn *a = begin_in(h->fx->shard, 0, MID), *b = begin_in(h->child, MID, GN_SLOTS);
    for (int64_t id = from; id < to; id++)
        put_row(slot_of(h->t, id) < MID ? a : b, h->t, id, id % 10);
    ASSERT_OK(gn_txn_commit(a, NULL, &err), &err);
    ASSERT_OK(gn_txn_commit(b, NULL, &err), &err);
}

static void remove_row(gn_shard *shard, const gn_table_desc *t, int64_t id, uint32_t lo, uint32_t hi)
{
    gn_error err = {0};
    gn_txn *txn = begin_in(shard, lo, hi);
    gn_buf key;
    key_of(id, &key);
    ASSERT_OK(gn_txn_delete(txn, t, gn_buf_bytes(&key), &err), &err);
    gn_buf_close(&key);
    ASSERT_OK(gn_txn_commit(txn, NULL, &err), &err);
}

static void await_vectors(gn_shard *shard)
{
    gn_error err = {0};
    ASSERT_OK(gn_shard_vindex_build(shard, I_V, NULL, NULL, NULL, &err), &err);
}

static void check_whole(gn_shard *shard, const gn_table_desc *t, size_t rows)
{
    for (int round = 0; round < 2; round++) {
        gn_txn *all = begin_in(shard, 0, GN_SLOTS), *lower = begin_in(shard, 0, MID);
        assert_int_equal(count_rows(all, t, 0, GN_SLOTS), rows);
        assert_int_equal(count_nearest(all, t, 0, GN_SLOTS), rows);
        count_rows(lower, t, 0, MID);
        gn_txn_abort(all);
        gn_txn_abort(lower);
        check_indexes(shard, t, rows);
        await_vectors(shard);
    }
}

static size_t rows_at(gn_shard *shard, const gn_table_desc *t, gn_scn at)
{
    gn_txn *past;
    assert_int_equal(begin_at(shard, 0, GN_SLOTS, at, &past), GN_OK);
    size_t n = count_rows(past, t, 0, GN_SLOTS);
    assert_int_equal(count_nearest(past, t, 0, GN_SLOTS), n);
    gn_txn_abort(past);
    return n;
}

/* Rows, their history, their indexes; also what was left of the split is no trouble. */
static void the_survivor_has_all(halves *h, bool into_child, bool cleaned)
{
    split_in_two(h);
    if (cleaned) {
        await_clean(h->fx->world, h->fx->shard);
        await_clean(h->fx->world, h->child);
    }
    gn_scn first = test_clock_scn(&h->clock);
    put_rows(h, ROWS, MOST);
    gn_scn second = test_clock_scn(&h->clock);
    int64_t gone[2] = {-1, -1}; /* a row of each half: the other half may have it yet, from before the split */
    for (int64_t id = 0; id < ROWS; id++)
        gone[slot_of(h->t, id) >= MID] = id;
    remove_row(h->fx->shard, h->t, gone[0], 0, MID);
    remove_row(h->child, h->t, gone[1], MID, GN_SLOTS);
    sides s = sides_of(h, into_child);
    merge(&s);
    check_whole(s.survivor, h->t, MOST - 2);
    assert_int_equal(rows_at(s.survivor, h->t, first), ROWS);
    assert_int_equal(rows_at(s.survivor, h->t, second), MOST);
    gn_txn *txn;
    assert_int_equal(begin_at(s.victim, s.to_victim.lo, s.to_victim.hi, 0, &txn), GN_MOVED);
    await_clean(h->fx->world, s.survivor);
    check_whole(s.survivor, h->t, MOST - 2);
    gn_table_stats stats;
    gn_shard_table_stats(s.survivor, TABLE, &stats);
    assert_in_range(stats.rows_estimate, MOST - 10, MOST + 10);
}

static void a_child_goes_back(void **state)
{
    the_survivor_has_all(*state, false, true);
}

static void a_parent_goes_into_its_child(void **state)
{
    the_survivor_has_all(*state, true, true);
}

static void what_a_split_left_is_removed_first(void **state)
{
    the_survivor_has_all(*state, false, false);
}

/* Who began before sees what was there, and nothing twice; commits of such are refused. */
static void who_began_before_reads_on_and_cannot_commit(void **state)
{
    halves *h = *state;
    gn_error err = {0};
    split_in_two(h);
    await_clean(h->fx->world, h->fx->shard);
    sides s = sides_of(h, false);
    size_t lower = expected(h->t, 0, ROWS, 0, MID);
    gn_txn *before = begin_in(s.survivor, 0, MID), *theirs = begin_in(s.victim, MID, GN_SLOTS);
    reserve_and_seal(&s);
    gn_txn *between = begin_in(s.survivor, 0, MID);
    assert_int_equal(count_rows(before, h->t, 0, MID), lower);
    for (bool more = true; more;) {
        more = copy(&s);
        assert_int_equal(count_rows(before, h->t, 0, MID), lower);
        assert_int_equal(count_nearest(before, h->t, 0, MID), lower);
        assert_int_equal(count_rows(between, h->t, 0, MID), lower);
        check_indexes(s.survivor, h->t, lower);
    }
    gn_txn *writes = begin_in(s.survivor, 0, MID); /* goes on while rows come */
    int64_t id = ROWS;
    while (slot_of(h->t, id) >= MID)
        id++;
    put_row(writes, h->t, id, 1);
    ASSERT_OK(gn_txn_commit(writes, NULL, &err), &err);
    take(&s);
    assert_int_equal(count_rows(before, h->t, 0, MID), lower);
    assert_int_equal(count_nearest(before, h->t, 0, MID), lower);
    assert_int_equal(count_rows(between, h->t, 0, MID), lower);
    assert_int_equal(count_rows(theirs, h->t, MID, GN_SLOTS), ROWS - lower);
    put_row(theirs, h->t, ROWS + 1000, 0);
    ASSERT_CODE(gn_txn_commit(theirs, NULL, &err), GN_SERIALIZATION, &err);
    put_row(before, h->t, ROWS + 1001, 0);
    ASSERT_CODE(gn_txn_commit(before, NULL, &err), GN_SERIALIZATION, &err);
    gn_txn_abort(between);
    check_whole(s.survivor, h->t, ROWS + 1);
}

/* A transaction over groups that reads as of before the merge must not miss, when it commits, what the victim wrote
 * after that. */
static void who_reads_as_of_before_cannot_write(void **state)
{
    halves *h = *state;
    gn_error err = {0};
    gn_txn *txn;
    split_in_two(h);
    gn_scn early = test_clock_scn(&h->clock);
    put_rows(h, ROWS, MOST);
    sides s = sides_of(h, false);
    merge(&s);
    gn_txn_options options = {.read_scn = early, .global = true, .slot_hi = GN_SLOTS};
    ASSERT_OK(gn_txn_begin(s.survivor, &options, &txn, &err), &err);
    assert_int_equal(count_rows(txn, h->t, 0, GN_SLOTS), ROWS);
    put_row(txn, h->t, MOST + 1, 0);
    ASSERT_CODE(gn_txn_commit(txn, NULL, &err), GN_SERIALIZATION, &err);
    options.read_scn = test_clock_scn(&h->clock);
    ASSERT_OK(gn_txn_begin(s.survivor, &options, &txn, &err), &err);
    put_row(txn, h->t, MOST + 1, 0);
    ASSERT_OK(gn_txn_commit(txn, NULL, &err), &err);
    for (int64_t id = 0; id < MOST; id++) { /* what came is known: nothing is inserted twice */
        float v[DIMENSIONS] = {0};
        txn = begin_in(s.survivor, 0, GN_SLOTS);
        assert_int_equal(insert(txn, h->t, &(row){.id = id, .name = "row", .n = 1, .v = v}, &err), GN_UNIQUE);
        gn_txn_abort(txn);
    }
}

static void reopen(halves *h, sides *s, bool into_child, bool clean)
{
    gn_shard_close(h->child, clean);
    h->child = NULL;
    fixture_reopen(h->fx, clean);
    open_child(h);
    *s = sides_of(h, into_child);
}

static void every_step_survives_a_crash(void **state)
{
    halves *h = *state;
    gn_error err = {0};
    gn_slots own;
    split_in_two(h);
    put_rows(h, ROWS, MOST);
    sides s = sides_of(h, true);
    ASSERT_OK(gn_shard_merge_reserve(s.survivor, &s.to_survivor, &err), &err);
    reopen(h, &s, true, false);
    reserve_and_seal(&s); /* both may be repeated */
    reopen(h, &s, true, false);
    gn_shard_slots(s.victim, &own);
    assert_int_equal(own.into, CHILD);
    while (copy(&s)) {
        reopen(h, &s, true, false);
        gn_txn *txn = begin_in(s.survivor, MID, GN_SLOTS);
        assert_int_equal(count_rows(txn, h->t, MID, GN_SLOTS), expected(h->t, 0, MOST, MID, GN_SLOTS));
        gn_txn_abort(txn);
    }
    reopen(h, &s, true, true);
    take(&s);
    for (int round = 0; round < 3; round++) {
        check_whole(s.survivor, h->t, MOST);
        reopen(h, &s, true, round == 1);
    }
    gn_shard_slots(s.survivor, &own);
    assert_int_equal(own.taken, PARENT);
    assert_int_equal(own.generation, 3);
}

static void what_is_not_its_turn_is_refused(void **state)
{
    halves *h = *state;
    gn_error err = {0};
    split_in_two(h);
    sides s = sides_of(h, false);
    gn_merge wrong = s.to_survivor;
    gn_merge_rows rows;
    gn_merge_rows_init(&rows);
    wrong.generation = 2;
    ASSERT_CODE(gn_shard_merge_reserve(s.survivor, &wrong, &err), GN_NOT_IN_STATE, &err);
    wrong = s.to_survivor;
    wrong.other_lo++;
    ASSERT_CODE(gn_shard_merge_reserve(s.survivor, &wrong, &err), GN_INVALID_PARAMETER, &err);
    ASSERT_CODE(gn_shard_merge_take(s.survivor, &s.to_survivor, &rows, 1, &err), GN_NOT_IN_STATE, &err);
    ASSERT_CODE(gn_shard_merge_read(s.victim, PARENT, gn_bytes_of(NULL, 0), &rows, &err), GN_NOT_IN_STATE, &err);
    ASSERT_CODE(gn_shard_merge_add(s.survivor, &s.to_survivor, gn_bytes_of(NULL, 0), &rows, &err), GN_NOT_IN_STATE,
                &err);
    ASSERT_OK(gn_shard_merge_reserve(s.survivor, &s.to_survivor, &err), &err);
    wrong = s.to_victim; /* called off: a seal that comes late is refused */
    ASSERT_OK(gn_shard_merge_refuse(s.victim, &wrong, &err), &err);
    ASSERT_OK(gn_shard_merge_refuse(s.victim, &wrong, &err), &err);
    ASSERT_CODE(gn_shard_merge_seal(s.victim, &wrong, PATIENCE, &err), GN_NOT_IN_STATE, &err);
    gn_split split = split_of(1, 0, MID / 2, MID, CHILD + 1);
    ASSERT_CODE(gn_shard_split(s.survivor, &split, 1000000, &err), GN_OBJECT_IN_USE, &err);
    ASSERT_CODE(gn_shard_merge_take(s.survivor, &s.to_survivor, &rows, 1, &err), GN_NOT_IN_STATE, &err);
    ASSERT_OK(gn_shard_merge_cancel(s.survivor, &s.to_survivor, &err), &err);
    ASSERT_OK(gn_shard_split(s.survivor, &split, PATIENCE, &err), &err);
    ASSERT_CODE(gn_shard_merge_reserve(s.survivor, &s.to_survivor, &err), GN_NOT_IN_STATE, &err);
    wrong.seals = 1;
    ASSERT_OK(gn_shard_merge_seal(s.victim, &wrong, PATIENCE, &err), &err);
    ASSERT_CODE(gn_shard_merge_refuse(s.victim, &wrong, &err), GN_OBJECT_IN_USE, &err);
    gn_merge_rows_close(&rows);
}

/* Before it is sealed, a group must have nobody to answer to about what it decided. */
static void a_seal_waits_for_who_is_prepared_and_for_who_may_ask(void **state)
{
    halves *h = *state;
    gn_error err = {0};
    const uint64_t groups[] = {CHILD, 77};
    split_in_two(h);
    sides s = sides_of(h, false);
    int64_t id = ROWS;
    while (slot_of(h->t, id) < MID)
        id++;
    gn_txn *txn = begin_in(s.victim, MID, GN_SLOTS);
    put_row(txn, h->t, id, 0);
    ASSERT_OK(gn_txn_prepare(txn, 77, groups, 2, NULL, &err), &err);
    ASSERT_OK(gn_shard_merge_reserve(s.survivor, &s.to_survivor, &err), &err);
    ASSERT_CODE(gn_shard_merge_seal(s.victim, &s.to_victim, 20000000, &err), GN_OBJECT_IN_USE, &err);
    ASSERT_OK(gn_shard_decide(s.victim, 77, true, test_clock_scn(&h->clock), NULL, &err), &err);
    ASSERT_CODE(gn_shard_merge_seal(s.victim, &s.to_victim, 20000000, &err), GN_OBJECT_IN_USE, &err);
    ASSERT_OK(gn_shard_forget(s.victim, 77, &err), &err);
    ASSERT_OK(gn_shard_merge_seal(s.victim, &s.to_victim, 20000000, &err), &err);
    while (copy(&s))
        ;
    take(&s);
    check_whole(s.survivor, h->t, ROWS + 1);
}

/* Before it was ever split a group does not know its slots, and after a merge that was called off neither. */
static void a_group_that_was_never_split_forgets_what_was_called_off(void **state)
{
    halves *h = *state;
    gn_error err = {0};
    gn_merge m = {.lo = 0, .hi = MID, .other = CHILD, .other_lo = MID, .other_hi = GN_SLOTS};
    gn_txn *before = begin(h->fx);
    ASSERT_OK(gn_shard_merge_reserve(h->fx->shard, &m, &err), &err);
    gn_txn *txn = begin(h->fx); /* of its slots, as told: the others would be those of whom it takes in */
    assert_int_equal(count_rows(txn, h->t, 0, MID), expected(h->t, 0, ROWS, 0, MID));
    assert_int_equal(count_rows(before, h->t, 0, MID), expected(h->t, 0, ROWS, 0, MID));
    gn_txn_abort(txn);
    gn_txn_abort(before);
    fixture_reopen(h->fx, false);
    txn = begin_in(h->fx->shard, 0, MID);
    gn_txn_abort(txn);
    assert_int_equal(begin_at(h->fx->shard, 0, GN_SLOTS, 0, &txn), GN_MOVED);
    ASSERT_OK(gn_shard_merge_cancel(h->fx->shard, &m, &err), &err);
    m = (gn_merge){.lo = 0, .hi = MID, .other = CHILD, .other_lo = MID, .other_hi = GN_SLOTS};
    ASSERT_OK(gn_shard_merge_refuse(h->fx->shard, &m, &err), &err);
    for (int round = 0; round < 2; round++) {
        txn = begin_in(h->fx->shard, 0, 0);
        assert_int_equal(count_rows(txn, h->t, 0, GN_SLOTS), ROWS);
        gn_txn_abort(txn);
        fixture_reopen(h->fx, round == 0);
    }
}

/* Versions that the victim has collected are missed by nobody without a word. */
static void history_that_did_not_come_is_refused(void **state)
{
    halves *h = *state;
    gn_error err = {0};
    gn_txn *past;
    split_in_two(h);
    sides s = sides_of(h, false);
    gn_scn at = gn_shard_last_scn(s.victim);
    put_rows(h, ROWS, MOST);
    pthread_mutex_lock(&s.victim->view_lock);
    s.victim->horizon = at + 1;
    pthread_mutex_unlock(&s.victim->view_lock);
    merge(&s);
    const gn_scn old = at - ((gn_scn)60001 << GN_SCN_COUNTER_BITS);
    assert_int_equal(begin_at(s.survivor, 0, GN_SLOTS, old, &past), GN_SNAPSHOT_TOO_OLD);
    assert_int_equal(begin_at(s.survivor, 0, GN_SLOTS, at, &past), GN_SERIALIZATION); /* may well try again */
    reopen(h, &s, false, true);
    assert_int_equal(begin_at(s.survivor, 0, GN_SLOTS, old, &past), GN_SNAPSHOT_TOO_OLD);
    ASSERT_OK(begin_at(s.survivor, 0, GN_SLOTS, 0, &past), &err);
    gn_txn_abort(past);
}

/* The cancelling of a first attempt, late, is none of the second. */
static void a_late_cancel_is_of_its_own_attempt(void **state)
{
    halves *h = *state;
    gn_error err = {0};
    gn_slots own;
    split_in_two(h);
    sides s = sides_of(h, false);
    const gn_merge first = s.to_survivor;
    ASSERT_OK(gn_shard_merge_reserve(s.survivor, &first, &err), &err);
    ASSERT_OK(gn_shard_merge_refuse(s.victim, &s.to_victim, &err), &err);
    ASSERT_OK(gn_shard_merge_cancel(s.survivor, &first, &err), &err);
    s.to_survivor.seals = s.to_victim.seals = 1;
    reserve_and_seal(&s);
    ASSERT_OK(gn_shard_merge_cancel(s.survivor, &first, &err), &err);
    gn_shard_slots(s.survivor, &own);
    assert_int_equal(own.victim, CHILD);
    while (copy(&s))
        ;
    take(&s);
}

/* It would make the index anew from the survivor's own rows, after those of the victim had come. */
static void no_row_comes_while_a_definition_is_prepared(void **state)
{
    halves *h = *state;
    gn_error err = {0};
    const uint64_t groups[] = {55, PARENT, CHILD};
    gn_buf at;
    gn_merge_rows rows;
    split_in_two(h);
    sides s = sides_of(h, false);
    add_index(h->t, I_V + 1, COL_N, false);
    gn_txn *a = begin_in(s.survivor, 0, MID), *b = begin_in(s.victim, MID, GN_SLOTS);
    ASSERT_OK(gn_txn_put_table(a, h->t, &err), &err);
    ASSERT_OK(gn_txn_put_table(b, h->t, &err), &err);
    ASSERT_OK(gn_txn_prepare(a, 91, groups, 3, NULL, &err), &err);
    ASSERT_OK(gn_txn_prepare(b, 91, groups, 3, NULL, &err), &err);
    gn_scn scn = test_clock_scn(&h->clock);
    ASSERT_OK(gn_shard_decide(s.victim, 91, true, scn, NULL, &err), &err);
    reserve_and_seal(&s);
    gn_buf_init(&at, NULL, GN_MERGE_CURSOR_MAX);
    gn_merge_rows_init(&rows);
    gn_shard_merge_cursor(s.survivor, &at);
    ASSERT_OK(gn_shard_merge_read(s.victim, PARENT, gn_buf_bytes(&at), &rows, &err), &err);
    ASSERT_CODE(gn_shard_merge_add(s.survivor, &s.to_survivor, gn_buf_bytes(&at), &rows, &err), GN_OBJECT_IN_USE, &err);
    gn_merge_rows_close(&rows);
    gn_buf_close(&at);
    ASSERT_OK(gn_shard_decide(s.survivor, 91, true, scn, NULL, &err), &err);
    while (copy(&s))
        ;
    take(&s);
    gn_txn *txn = begin_in(s.survivor, 0, GN_SLOTS);
    char *by_key = dump(txn, h->t, NULL, NULL, false),
         *by_index = dump(txn, h->t, &h->t->indexes[h->t->n_indexes - 1], NULL, false);
    assert_int_equal(strlen(by_key), strlen(by_index));
    free(by_key);
    free(by_index);
    gn_txn_abort(txn);
}

/* ---- giving up ---- */

/* Versions of rows, and of entries of an index, that are in the store and not of these slots. */
static size_t entries_of_others(gn_shard *shard, const gn_table_desc *t, uint32_t lo, uint32_t hi)
{
    size_t n = 0;
    gn_error err = {0};
    gn_store *store = gn_shard_store(shard);
    for (int by_index = 0; by_index < 2; by_index++) {
        const gn_index_desc *index = by_index ? &t->indexes[0] : NULL;
        gn_space space = index ? gn_index_space(t, index, GN_BRANCH_MAIN) : gn_row_space(t, GN_BRANCH_MAIN);
        uint8_t lower[GN_SPACE_PREFIX_MAX], upper[GN_SPACE_PREFIX_MAX];
        size_t prefix = gn_space_prefix(&space, lower), end = gn_space_prefix(&space, upper);
        end = gn_prefix_successor(upper, end);
        gn_store_iter iter;
        gn_store_iter_open(&iter, store, gn_bytes_of(lower, prefix), gn_bytes_of(upper, end), false);
        for (rocksdb_iter_seek_to_first(iter.it); gn_store_iter_valid(&iter); rocksdb_iter_next(iter.it)) {
            bool ours;
            ASSERT_OK(gn_slots_have_entry(lo, hi, t, index, prefix, gn_store_iter_key(&iter),
                                          gn_store_iter_value(&iter), &ours, &err),
                      &err);
            n += !ours;
        }
        gn_store_iter_close(&iter);
    }
    gn_store_release(store);
    return n;
}

/* As if it had been recovered from a replica that had not heard of the seal. */
static void forget_seal(gn_shard *victim)
{
    pthread_mutex_lock(&victim->view_lock);
    victim->slots.into = 0;
    victim->slots.generation = 1;
    pthread_mutex_unlock(&victim->view_lock);
}

/* The victim goes on by itself: what has come of it is removed, and comes as it is then the next time. */
static void a_survivor_gives_up_what_it_has_copied(void **state)
{
    halves *h = *state;
    gn_error err = {0};
    gn_slots own;
    gn_buf none;
    gn_merge_rows first;
    split_in_two(h);
    await_clean(h->fx->world, h->fx->shard);
    sides s = sides_of(h, false);
    size_t lower = expected(h->t, 0, ROWS, 0, MID);
    gn_txn *before = begin_in(s.survivor, 0, MID);
    const gn_merge attempt = s.to_survivor;
    reserve_and_seal(&s);
    gn_buf_init(&none, NULL, GN_MERGE_CURSOR_MAX);
    gn_merge_rows_init(&first);
    s.victim->merge_piece = 2000;
    ASSERT_OK(gn_shard_merge_read(s.victim, PARENT, gn_buf_bytes(&none), &first, &err), &err);
    while (copy(&s))
        ;
    assert_true(entries_of_others(s.survivor, h->t, 0, MID) > 0);
    ASSERT_CODE(gn_shard_merge_cancel(s.survivor, &attempt, &err), GN_NOT_IN_STATE, &err);
    forget_seal(s.victim);
    ASSERT_OK(gn_shard_merge_refuse(s.victim, &s.to_victim, &err), &err);
    s.to_survivor.seals = s.to_victim.seals = 1;
    ASSERT_OK(gn_shard_merge_abandon(s.survivor, &s.to_survivor, &err), &err); /* of another attempt */
    gn_shard_slots(s.survivor, &own);
    assert_int_equal(own.victim, CHILD);
    for (int round = 0; round < 2; round++) {
        ASSERT_OK(gn_shard_merge_abandon(s.survivor, &attempt, &err), &err);
        gn_shard_slots(s.survivor, &own);
        assert_int_equal(own.victim, 0);
        assert_int_equal(entries_of_others(s.survivor, h->t, 0, MID), 0);
    }
    assert_int_equal(count_rows(before, h->t, 0, MID), lower);
    assert_int_equal(count_nearest(before, h->t, 0, MID), lower);
    gn_txn_abort(before);
    check_indexes(s.survivor, h->t, lower);
    put_rows(h, ROWS, MOST);
    reserve_and_seal(&s);
    gn_merge late = attempt; /* a piece of the first attempt, on its way all the time */
    ASSERT_CODE(gn_shard_merge_add(s.survivor, &late, gn_buf_bytes(&none), &first, &err), GN_NOT_IN_STATE, &err);
    while (copy(&s))
        ;
    ASSERT_CODE(gn_shard_merge_take(s.survivor, &late, &first, PATIENCE, &err), GN_NOT_IN_STATE, &err);
    take(&s);
    check_whole(s.survivor, h->t, MOST);
    gn_merge_rows_close(&first);
    gn_buf_close(&none);
}

/* ---- tombstones ---- */

/* What happens on this strand between the reading of a sweep of rows and its writing. */
static _Thread_local void (*between)(halves *);
static _Thread_local halves *between_of;
static _Thread_local int kinds_before;

gn_code __real_gn_store_iter_status(const gn_store_iter *iter, gn_error *err);
gn_code __wrap_gn_store_iter_status(const gn_store_iter *iter, gn_error *err);

gn_code __wrap_gn_store_iter_status(const gn_store_iter *iter, gn_error *err)
{
    void (*now)(halves *) = between;
    if (now && kinds_before-- == 0) {
        between = NULL;
        now(between_of);
    }
    return __real_gn_store_iter_status(iter, err);
}

/* As a compaction does: of the rows that are deleted only that is left. */
static void forget_what_is_hidden(gn_shard *shard)
{
    const uint8_t lower = GN_KIND_ROW, upper = GN_KIND_ROW + 1;
    gn_store *store = gn_shard_store(shard);
    gn_store_iter iter;
    gn_buf stem;
    gn_error err = {0};
    bool dead = false;
    rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
    gn_buf_init(&stem, NULL, GN_STORE_KEY_MAX);
    gn_store_iter_open(&iter, store, gn_bytes_of(&lower, 1), gn_bytes_of(&upper, 1), false);
    for (rocksdb_iter_seek_to_first(iter.it); gn_store_iter_valid(&iter); rocksdb_iter_next(iter.it)) {
        gn_bytes key = gn_store_iter_key(&iter), value = gn_store_iter_value(&iter);
        if (gn_bytes_eq(gn_version_stem(key), gn_buf_bytes(&stem))) {
            if (dead)
                rocksdb_writebatch_delete(batch, (const char *)key.data, key.len);
            continue;
        }
        gn_buf_clear(&stem);
        gn_buf_append_bytes(&stem, gn_version_stem(key));
        dead = value.data[0] == GN_VALUE_TOMBSTONE;
    }
    assert_true(rocksdb_writebatch_count(batch) > 0);
    ASSERT_OK(gn_store_write(store, batch, &err), &err);
    rocksdb_writebatch_destroy(batch);
    gn_store_iter_close(&iter);
    gn_buf_close(&stem);
    gn_store_release(store);
}

static void merge_all(halves *h)
{
    sides s = sides_of(h, false);
    merge(&s);
}

/* It saw the tombstone of a row that has gone to the other half, alone; what comes back has more behind it. */
static void a_sweep_from_before_brings_no_row_back(void **state)
{
    halves *h = *state;
    gn_error err = {0};
    int64_t gone = 0;
    while (slot_of(h->t, gone) < MID)
        gone++;
    remove_row(h->fx->shard, h->t, gone, 0, 0);
    gn_txn *old = begin(h->fx); /* so that nothing of the other half is removed yet */
    split_in_two(h);
    forget_what_is_hidden(h->fx->shard);
    h->fx->shard->retention_ms = 1;
    between = merge_all;
    between_of = h;
    kinds_before = 1;
    ASSERT_OK(gn_gc_sweep(h->fx->shard, &err), &err);
    assert_null(between);
    gn_txn_abort(old);
    check_whole(h->fx->shard, h->t, ROWS - 1);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, halves_setup, halves_teardown)
    const struct CMUnitTest tests[] = {
        CASE(a_child_goes_back),
        CASE(a_parent_goes_into_its_child),
        CASE(what_a_split_left_is_removed_first),
        CASE(who_began_before_reads_on_and_cannot_commit),
        CASE(who_reads_as_of_before_cannot_write),
        CASE(every_step_survives_a_crash),
        CASE(what_is_not_its_turn_is_refused),
        CASE(a_seal_waits_for_who_is_prepared_and_for_who_may_ask),
        CASE(a_group_that_was_never_split_forgets_what_was_called_off),
        CASE(history_that_did_not_come_is_refused),
        CASE(a_late_cancel_is_of_its_own_attempt),
        CASE(no_row_comes_while_a_definition_is_prepared),
        CASE(a_survivor_gives_up_what_it_has_copied),
        CASE(a_sweep_from_before_brings_no_row_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
