/* A group that is split: which half shows and takes what, from which moment on, over crashes. */
#include "fixture.h"
#include "index/vector_index.h"
#include "shard/shard_private.h"
#include "test_clock.h"

#include <stdio.h>
#include <stdlib.h>

enum { TABLE = GN_FIRST_USER_ID, I_N, I_V, ROWS = 200, CHILD = 9, MID = GN_SLOTS / 2 };

/* Of both halves: the parent is the fixture's shard. */
typedef struct halves {
    fixture *fx;
    gn_table_desc *t;
    gn_shard *child;
    test_clock clock;
} halves;

static uint32_t slot_of(const gn_table_desc *t, int64_t id)
{
    gn_buf key;
    uint32_t slot;
    gn_error err = {0};
    key_of(id, &key);
    ASSERT_OK(gn_slot_of_key(t, gn_buf_bytes(&key), &slot, &err), &err);
    gn_buf_close(&key);
    return slot;
}

static void vector_of(int64_t id, float *v)
{
    for (int i = 0; i < DIMENSIONS; i++)
        v[i] = (float)((id * 7 + i * 13) % 101) / 100.0f;
}

static void put_row(gn_txn *txn, const gn_table_desc *t, int64_t id, int64_t n)
{
    float v[DIMENSIONS];
    gn_error err = {0};
    vector_of(id, v);
    ASSERT_OK(insert(txn, t, &(row){.id = id, .name = "row", .n = n, .v = v}, &err), &err);
}

static gn_code begin_at(gn_shard *shard, uint32_t lo, uint32_t hi, gn_scn at, gn_txn **out)
{
    gn_error err = {0};
    gn_txn_options options = {.slot_lo = lo, .slot_hi = hi, .read_scn = at};
    return gn_txn_begin(shard, &options, out, &err);
}

static gn_txn *begin_in(gn_shard *shard, uint32_t lo, uint32_t hi)
{
    gn_txn *txn;
    assert_int_equal(begin_at(shard, lo, hi, 0, &txn), GN_OK);
    return txn;
}

/* Rows seen by key, and by an index, which must be the same. */
static size_t count_rows(gn_txn *txn, const gn_table_desc *t, uint32_t lo, uint32_t hi)
{
    size_t n[2] = {0, 0};
    for (int by_index = 0; by_index < 2; by_index++) {
        char *text = dump(txn, t, by_index ? &t->indexes[0] : NULL, NULL, false);
        for (char *at = text; *at; at = strchr(at, ' ') + 1, n[by_index]++) {
            uint32_t slot = slot_of(t, strtoll(at, NULL, 10));
            assert_true(slot >= lo && slot < hi);
        }
        free(text);
    }
    assert_int_equal(n[0], n[1]);
    return n[0];
}

/* All rows in order of distance: as many as there are, none twice, none of others. */
static size_t count_nearest(gn_txn *txn, const gn_table_desc *t, uint32_t lo, uint32_t hi)
{
    static const uint32_t ordinals[] = {0};
    static const gn_type types[] = {{GN_T_INT8, false, -1}, {GN_T_FLOAT8, false, -1}};
    float q[DIMENSIONS];
    vector_of(3, q);
    gn_vector_scan_spec spec = {.table = t,
                                .index = &t->indexes[1],
                                .query = q,
                                .dimensions = DIMENSIONS,
                                .k_hint = 10,
                                .ordinals = ordinals,
                                .n_ordinals = 1};
    bool seen[ROWS * 2] = {false};
    size_t n = 0;
    gn_error err = {0};
    gn_batch batch;
    gn_vector_scan *s;
    gn_arena *arena = gn_arena_create(NULL);
    ASSERT_OK(gn_batch_init(&batch, types, 2, arena, &err), &err);
    ASSERT_OK(gn_vector_scan_open(txn, &spec, &s, &err), &err);
    do {
        ASSERT_OK(gn_vector_scan_next(s, &batch, NULL, &err), &err);
        for (uint32_t i = 0; i < batch.n_rows; i++, n++) {
            int64_t id = batch.columns[0].i64[i];
            uint32_t slot = slot_of(t, id);
            assert_true(slot >= lo && slot < hi && !seen[id]);
            seen[id] = true;
        }
    } while (batch.n_rows > 0);
    gn_vector_scan_close(s);
    gn_arena_destroy(arena);
    return n;
}

/* Also while rows of the other half are there yet. */
static void check_indexes(gn_shard *shard, const gn_table_desc *t, size_t rows)
{
    gn_error err = {0};
    gn_txn *txn;
    ASSERT_OK(gn_txn_begin(shard, &(gn_txn_options){.read_only = true, .own_slots = true}, &txn, &err), &err);
    for (uint32_t i = 0; i < t->n_indexes; i++) {
        gn_index_findings found;
        ASSERT_OK(gn_txn_check_index(txn, t, &t->indexes[i], &found, &err), &err);
        assert_true(found.behind || (found.same && found.rows == rows));
        gn_buf_close(&found.example);
    }
    gn_txn_abort(txn);
}

static size_t expected(const gn_table_desc *t, int64_t from, int64_t to, uint32_t lo, uint32_t hi)
{
    size_t n = 0;
    for (int64_t id = from; id < to; id++)
        n += slot_of(t, id) >= lo && slot_of(t, id) < hi;
    return n;
}

static gn_split split_of(uint64_t generation, uint32_t lo, uint32_t mid, uint32_t hi, uint64_t child)
{
    return (gn_split){
        .generation = generation, .lo = lo, .mid = mid, .hi = hi, .child = child, .n_members = 1, .members = {1}};
}

static void child_dir(const halves *h, char *out, size_t size)
{
    snprintf(out, size, "%s/child", h->fx->dir);
}

static void open_child(halves *h)
{
    char dir[300];
    gn_error err = {0};
    child_dir(h, dir, sizeof dir);
    gn_shard_options o = h->fx->options;
    o.dir = dir;
    o.group_id = CHILD;
    o.members = NULL;
    o.n_members = 0;
    ASSERT_OK(gn_shard_open(h->fx->world, h->fx->host, &o, &h->child, &err), &err);
    ASSERT_OK(gn_shard_wait_ready(h->child, gn_now_ns(h->fx->world) + 20000000000ull, &err), &err);
}

static void adopt_child(halves *h)
{
    char dir[300], path[4096];
    bool there, knows;
    gn_error err = {0};
    child_dir(h, dir, sizeof dir);
    ASSERT_OK(gn_split_path(h->fx->shard_dir, CHILD, path, sizeof path, &there, &err), &err);
    assert_true(there);
    ASSERT_OK(gn_raft_knows(h->fx->host, CHILD, &knows, &err), &err);
    assert_false(knows);
    ASSERT_OK(gn_split_adopt(h->fx->shard_dir, CHILD, dir, &err), &err);
    open_child(h);
    ASSERT_OK(gn_raft_knows(h->fx->host, CHILD, &knows, &err), &err);
    assert_true(knows);
}

static void split_now(halves *h)
{
    gn_error err = {0};
    gn_split s = split_of(0, 0, MID, GN_SLOTS, CHILD);
    ASSERT_OK(gn_shard_split(h->fx->shard, &s, 1000000000, &err), &err);
}

static void await_clean(gn_world *world, gn_shard *shard)
{
    gn_slots own;
    for (;;) {
        gn_event never;
        gn_shard_slots(shard, &own);
        if (own.cleaned == own.generation)
            return;
        gn_event_init(&never, world);
        gn_event_wait(&never, gn_now_ns(world) + 2000000);
    }
}

static int setup(void **state)
{
    int failed = fixture_setup(state);
    halves *h = calloc(1, sizeof *h);
    gn_error err = {0};
    h->fx = *state;
    test_clock_init(&h->clock, (gn_scn)1 << 40);
    fixture_close(h->fx, true);
    h->fx->options.clock = &h->clock.source;
    fixture_open(h->fx);
    h->t = make_table(TABLE);
    h->t->distribution_id = 7;
    h->t->n_shard_key = 1;
    h->t->shard_key[0] = COL_ID;
    add_index(h->t, I_N, COL_N, false);
    add_vector_index(h->t, I_V, GN_METRIC_L2);
    ASSERT_OK(put_table(h->fx, h->t, &err), &err);
    gn_txn *txn = begin(h->fx);
    for (int64_t id = 0; id < ROWS; id++)
        put_row(txn, h->t, id, id % 10);
    ASSERT_OK(gn_txn_commit(txn, NULL, &err), &err);
    ASSERT_OK(gn_shard_vindex_build(h->fx->shard, I_V, NULL, NULL, NULL, &err), &err);
    *state = h;
    return failed;
}

static int teardown(void **state)
{
    halves *h = *state;
    gn_shard_close(h->child, true);
    free_table(h->t);
    *state = h->fx;
    free(h);
    return fixture_teardown(state);
}

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
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
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
