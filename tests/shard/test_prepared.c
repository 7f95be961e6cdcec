/* Parts of transactions over several groups, seen from one of the groups. */
#include "fixture.h"
#include "shard/apply_private.h"
#include "shard/txn_private.h"
#include "shard/vector_feed_private.h"
#include "test_clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { TABLE = GN_FIRST_USER_ID, I_NAME, I_V, HIDDEN, OTHER, I_OTHER };
static const uint64_t FIRST[] = {1, 2}, SECOND[] = {2, 1};

static test_clock the_clock;
static gn_table_desc *t;

static int setup(void **state)
{
    fixture_setup(state);
    fixture *fx = *state;
    test_clock_init(&the_clock, gn_shard_clock(fx->shard));
    fx->options.clock = &the_clock.source;
    fixture_reopen(fx, true);
    t = make_table(TABLE);
    add_index(t, I_NAME, COL_NAME, true);
    gn_error err = {0};
    ASSERT_OK(put_table(fx, t, &err), &err);
    gn_txn *txn = begin(fx);
    for (int i = 1; i <= 9; i++) {
        char name[8];
        snprintf(name, sizeof name, "n%d", i);
        ASSERT_OK(insert(txn, t, &(row){.id = i, .name = name, .n = i}, &err), &err);
    }
    ASSERT_OK(commit(txn), NULL);
    return 0;
}

static int teardown(void **state)
{
    free_table(t);
    return fixture_teardown(state);
}

static gn_txn *part(fixture *fx)
{
    return begin_with(fx, &(gn_txn_options){.global = true});
}

static void set_n(gn_txn *txn, int64_t id, int64_t n)
{
    char name[8];
    gn_error err = {0};
    snprintf(name, sizeof name, "n%lld", (long long)id);
    ASSERT_OK(update(txn, t, id, &(row){.id = id, .name = name, .n = n}, &err), &err);
}

/* Prepares "row id becomes n". */
static void prepare_update(fixture *fx, uint64_t txn_id, const uint64_t *groups, int64_t id, int64_t n)
{
    gn_error err = {0};
    gn_txn *txn = part(fx);
    set_n(txn, id, n);
    ASSERT_OK(gn_txn_prepare(txn, txn_id, groups, 2, NULL, &err), &err);
}

static gn_scn commit_txn(fixture *fx, uint64_t txn_id)
{
    gn_error err = {0};
    gn_scn scn = test_clock_scn(&the_clock);
    ASSERT_OK(gn_shard_decide(fx->shard, txn_id, true, scn, NULL, &err), &err);
    return scn;
}

static void abort_txn(fixture *fx, uint64_t txn_id)
{
    gn_error err = {0};
    gn_decision d;
    ASSERT_OK(gn_shard_decide(fx->shard, txn_id, false, 0, &d, &err), &err);
    assert_int_equal(d.state, GN_ABORTED);
}

static int64_t n_of(fixture *fx, int64_t id)
{
    int64_t n = -1;
    gn_txn *txn = begin_with(fx, &(gn_txn_options){.read_only = true});
    has_row(txn, t, id, &n);
    gn_txn_abort(txn);
    return n;
}

static gn_decision_state state_of(fixture *fx, uint64_t txn_id)
{
    gn_decision d;
    gn_error err = {0};
    ASSERT_OK(gn_shard_decision(fx->shard, txn_id, &d, &err), &err);
    gn_decision_state state = d.state;
    gn_decision_close(&d);
    return state;
}

static gn_decision_state known(fixture *fx, uint64_t txn_id, uint32_t *n_groups)
{
    gn_decision d;
    gn_error err = {0};
    ASSERT_OK(gn_shard_decision(fx->shard, txn_id, &d, &err), &err);
    gn_decision_state state = d.state;
    *n_groups = d.n_groups;
    gn_decision_close(&d);
    return state;
}

static void a_part_commits_at_its_scn_and_survives_restarts(void **state)
{
    fixture *fx = *state;
    uint32_t n;
    for (int crash = 0; crash < 2; crash++) {
        uint64_t id = 100 + (uint64_t)crash;
        prepare_update(fx, id, FIRST, 3, 30 + crash);
        gn_scn closed = gn_shard_closed_scn(fx->shard);
        fixture_reopen(fx, !crash);
        assert_int_equal(known(fx, id, &n), GN_PREPARED);
        assert_int_equal(n, 2);
        assert_int_equal(gn_shard_closed_scn(fx->shard), closed);
        gn_txn *txn = begin(fx); /* elsewhere life goes on */
        set_n(txn, 4, 40 + crash);
        assert_int_equal(commit(txn), GN_OK);
        assert_int_equal(gn_shard_closed_scn(fx->shard), closed);
        gn_scn scn = commit_txn(fx, id);
        assert_int_equal(n_of(fx, 3), 30 + crash);
        assert_int_equal(known(fx, id, &n), GN_COMMITTED);
        assert_int_equal(n, 2);
        fixture_reopen(fx, !crash);
        assert_int_equal(known(fx, id, &n), GN_COMMITTED);
        assert_int_equal(n_of(fx, 3), 30 + crash);
        /* repeating it, also with the opposite, gives what was decided */
        gn_decision d;
        gn_error err = {0};
        ASSERT_OK(gn_shard_decide(fx->shard, id, false, 0, &d, &err), &err);
        assert_int_equal(d.state, GN_COMMITTED);
        assert_int_equal(d.scn, scn);
        ASSERT_OK(gn_shard_forget(fx->shard, id, &err), &err);
        ASSERT_OK(gn_shard_forget(fx->shard, id, &err), &err);
        assert_int_equal(known(fx, id, &n), GN_UNKNOWN_TXN);
        fixture_reopen(fx, crash);
        ASSERT_OK(gn_shard_decide(fx->shard, id, false, 0, &d, &err), &err);
        assert_int_equal(d.state, GN_COMMITTED); /* the recent commits know it */
    }
    assert_int_equal(gn_shard_closed_scn(fx->shard), gn_shard_last_scn(fx->shard));
}

static void an_abort_is_remembered_against_what_comes_late(void **state)
{
    fixture *fx = *state;
    gn_error err = {0};
    prepare_update(fx, 7, SECOND, 3, 30);
    abort_txn(fx, 7);
    assert_int_equal(n_of(fx, 3), 3);
    abort_txn(fx, 8); /* never heard of */
    for (int i = 0; i < 2; i++) {
        gn_txn *late = part(fx);
        set_n(late, 5, 50);
        ASSERT_CODE(gn_txn_prepare(late, 8, FIRST, 2, NULL, &err), GN_SERIALIZATION, &err);
        gn_decision d;
        ASSERT_OK(gn_shard_decide(fx->shard, 8, true, test_clock_scn(&the_clock), &d, &err), &err);
        assert_int_equal(d.state, GN_ABORTED);
        ASSERT_OK(gn_shard_forget(fx->shard, 8, &err), &err);
        assert_int_equal(state_of(fx, 8), GN_ABORTED);
        fixture_reopen(fx, i);
    }
    assert_int_equal(n_of(fx, 5), 5);
    ASSERT_CODE(gn_shard_decide(fx->shard, 9, true, test_clock_scn(&the_clock), NULL, &err), GN_NO_OBJECT, &err);
    ASSERT_CODE(gn_shard_decide(fx->shard, 9, true, 0, NULL, &err), GN_INVALID_PARAMETER, &err);
    /* Old ones are dropped after an hour; then nothing that began before them is prepared. */
    gn_txn *old = part(fx);
    set_n(old, 6, 60);
    abort_txn(fx, 10);
    the_clock.last += UINT64_C(3700000) << GN_SCN_COUNTER_BITS;
    abort_txn(fx, 11);
    assert_int_equal(state_of(fx, 10), GN_UNKNOWN_TXN);
    assert_int_equal(state_of(fx, 11), GN_ABORTED);
    ASSERT_CODE(gn_txn_prepare(old, 10, FIRST, 2, NULL, &err), GN_SERIALIZATION, &err);
    fixture_reopen(fx, false);
    assert_true(fx->shard->prepared.abort_floor > 0);
    assert_int_equal(state_of(fx, 11), GN_ABORTED);
}

/* ---- conflicts ---- */

/* The order of events: `waits` says who gave way. */
static gn_code commit_soon(fixture *fx, gn_txn *txn, gn_error *err)
{
    txn->patience.deadline_ns = gn_now_ns(fx->world) + 1; /* nothing in this test decides while we wait */
    return gn_txn_commit(txn, NULL, err);
}

static void conflicts_with_a_prepared_part_are_found_both_ways(void **state)
{
    fixture *fx = *state;
    gn_error err = {0};
    gn_txn *reads_3 = begin(fx), *writes_3 = begin(fx), *writes_4 = begin(fx), *takes_name = begin(fx),
           *reads_4 = begin(fx), *define = begin(fx), *exists = begin(fx);
    gn_txn *p = part(fx);
    assert_true(has_row(p, t, 4, NULL));
    set_n(p, 3, 30);
    ASSERT_OK(insert(p, t, &(row){.id = 20, .name = "new"}, &err), &err);
    ASSERT_OK(erase(p, t, 9, &err), &err);
    ASSERT_OK(gn_txn_prepare(p, 5, SECOND, 2, NULL, &err), &err);

    assert_true(has_row(reads_3, t, 3, NULL)); /* its view is older: no wait */
    ASSERT_OK(insert(reads_3, t, &(row){.id = 31}, &err), &err);
    ASSERT_CODE(commit_soon(fx, reads_3, &err), GN_TIMEOUT, &err);
    assert_non_null(strstr(err.message, "0000000000000005"));
    set_n(writes_3, 3, 31);
    ASSERT_CODE(commit_soon(fx, writes_3, &err), GN_TIMEOUT, &err);
    set_n(writes_4, 4, 41);
    ASSERT_CODE(commit_soon(fx, writes_4, &err), GN_TIMEOUT, &err);
    assert_true(has_row(reads_4, t, 4, NULL)); /* reads of both are fine */
    set_n(reads_4, 5, 51);
    ASSERT_OK(commit_soon(fx, reads_4, &err), &err);
    /* index entries are not looked at before, but when the commit is applied */
    ASSERT_OK(insert(takes_name, t, &(row){.id = 32, .name = "new"}, &err), &err);
    ASSERT_CODE(commit_soon(fx, takes_name, &err), GN_SERIALIZATION, &err);
    ASSERT_OK(insert(exists, t, &(row){.id = 33, .name = "n8"}, &err) == GN_UNIQUE ? GN_OK : GN_INTERNAL, &err);
    gn_txn_abort(exists);
    gn_table_desc *changed = make_table(TABLE);
    changed->version = t->version + 1;
    ASSERT_OK(gn_txn_put_table(define, changed, &err), &err);
    ASSERT_CODE(commit_soon(fx, define, &err), GN_TIMEOUT, &err);
    free_table(changed);
    /* once it is decided, what only wrote what it had read goes through */
    commit_txn(fx, 5);
    char *text = dump_now(fx, t, NULL);
    assert_string_equal(text, "1:n1:1 2:n2:2 3:n3:30 4:n4:4 5:n5:51 6:n6:6 7:n7:7 8:n8:8 20:new:0 ");
    free(text);
}

static void what_a_part_only_reads_is_held_too(void **state)
{
    fixture *fx = *state;
    gn_error err = {0};
    gn_txn *define = begin(fx), *writes = begin(fx);
    gn_txn *p = part(fx);
    assert_true(has_row(p, t, 4, NULL));
    ASSERT_OK(gn_txn_prepare(p, 5, SECOND, 2, NULL, &err), &err);
    gn_table_desc *changed = make_table(TABLE);
    changed->version = t->version + 1;
    ASSERT_OK(gn_txn_put_table(define, changed, &err), &err);
    ASSERT_CODE(commit_soon(fx, define, &err), GN_TIMEOUT, &err);
    free_table(changed);
    set_n(writes, 4, 40);
    ASSERT_CODE(commit_soon(fx, writes, &err), GN_TIMEOUT, &err);
    fixture_reopen(fx, false);
    writes = begin(fx); /* what is held comes from the store now */
    set_n(writes, 4, 40);
    ASSERT_CODE(commit_soon(fx, writes, &err), GN_TIMEOUT, &err);
    commit_txn(fx, 5);
    assert_int_equal(n_of(fx, 4), 4);
}

static void a_row_that_may_go_is_not_called_a_duplicate(void **state)
{
    fixture *fx = *state;
    gn_error err = {0};
    gn_txn *early = begin(fx);
    gn_txn *p = part(fx);
    ASSERT_OK(erase(p, t, 9, &err), &err);
    ASSERT_OK(gn_txn_prepare(p, 5, SECOND, 2, NULL, &err), &err);
    gn_write_set *ws = gn_txn_set(early, gn_txn_table(early, TABLE)); /* past the check of its own */
    gn_buf key, bytes;
    gn_value values[4];
    key_of(40, &key);
    gn_buf_init(&bytes, NULL, 4096);
    row_values(&(row){.id = 40, .name = "n9"}, values);
    ASSERT_OK(gn_row_encode(t, values, &bytes, &err), &err);
    ASSERT_OK(gn_own_put(ws, gn_buf_bytes(&key), gn_buf_bytes(&bytes), false, &err), &err);
    ASSERT_CODE(commit_soon(fx, early, &err), GN_SERIALIZATION, &err);
    gn_buf_close(&key);
    gn_buf_close(&bytes);
    abort_txn(fx, 5);
}

/* The least id that comes after, or before, another in the order of those who wait. */
static uint64_t id_beside(uint64_t txn_id, bool before)
{
    uint64_t id = 1000;
    while (gn_prepared_goes_before(id, txn_id) != before)
        id++;
    return id;
}

static void one_part_waits_and_another_is_refused(void **state)
{
    fixture *fx = *state;
    gn_error err = {0};
    gn_txn *p = part(fx), *before[2], *behind[2];
    set_n(p, 3, 32);
    for (int i = 0; i < 2; i++) {
        set_n(before[i] = part(fx), 3, 31);
        set_n(behind[i] = part(fx), 3, 33);
        before[i]->patience.deadline_ns = gn_now_ns(fx->world) + 1;
    }
    ASSERT_OK(gn_txn_prepare(p, 5, FIRST, 2, NULL, &err), &err);
    uint64_t applied = fx->shard->applied_index, first = id_beside(5, true), last = id_beside(5, false);
    ASSERT_CODE(gn_txn_prepare(behind[0], last, FIRST, 2, NULL, &err), GN_SERIALIZATION, &err);
    ASSERT_CODE(gn_txn_decide(behind[1], last, FIRST, 2, 0, NULL, &err), GN_SERIALIZATION, &err);
    ASSERT_CODE(gn_txn_prepare(before[0], first, FIRST, 2, NULL, &err), GN_TIMEOUT, &err);
    ASSERT_CODE(gn_txn_decide(before[1], first, FIRST, 2, 0, NULL, &err), GN_TIMEOUT, &err);
    assert_int_equal(fx->shard->applied_index, applied); /* none went through the log */
    abort_txn(fx, 5);
}

/* ---- the first group's part, when the others are prepared ---- */

static void the_first_part_commits_and_decides_in_one_entry(void **state)
{
    fixture *fx = *state;
    gn_error err = {0};
    gn_scn above = test_clock_scn(&the_clock) + 1000000, scn = 0; /* another group's were raised */
    uint32_t n;
    gn_txn *txn = part(fx);
    set_n(txn, 3, 33);
    uint64_t before = fx->shard->applied_index;
    ASSERT_OK(gn_txn_decide(txn, 5, FIRST, 2, above, &scn, &err), &err);
    assert_int_equal(fx->shard->applied_index, before + 1);
    assert_true(scn > above);
    assert_int_equal(n_of(fx, 3), 33);
    for (int i = 0; i < 2; i++) { /* what was decided survives a restart, and an abort that comes late does nothing */
        gn_decision d;
        assert_int_equal(known(fx, 5, &n), GN_COMMITTED);
        assert_int_equal(n, 2);
        ASSERT_OK(gn_shard_decide(fx->shard, 5, false, 0, &d, &err), &err);
        assert_true(d.state == GN_COMMITTED && d.scn == scn);
        fixture_reopen(fx, i == 0);
    }
    ASSERT_OK(gn_shard_forget(fx->shard, 5, &err), &err);
    assert_int_equal(known(fx, 5, &n), GN_UNKNOWN_TXN);
    assert_int_equal(n_of(fx, 3), 33);
}

static void the_first_part_that_comes_too_late_is_refused(void **state)
{
    fixture *fx = *state;
    gn_error err = {0};
    gn_txn *txn = part(fx), *read = part(fx), *other = part(fx);
    int64_t n;
    set_n(txn, 3, 33);
    has_row(read, t, 4, &n);
    set_n(read, 5, 55);
    abort_txn(fx, 5); /* somebody who waited for it has asked */
    ASSERT_CODE(gn_txn_decide(txn, 5, FIRST, 2, 1, NULL, &err), GN_SERIALIZATION, &err);
    assert_int_equal(state_of(fx, 5), GN_ABORTED);
    set_n(other, 4, 44);
    ASSERT_OK(commit(other), NULL);
    ASSERT_CODE(gn_txn_decide(read, 6, FIRST, 2, 1, NULL, &err), GN_SERIALIZATION, &err); /* it read row 4 */
    assert_int_equal(state_of(fx, 6), GN_UNKNOWN_TXN);
    assert_true(n_of(fx, 3) == 3 && n_of(fx, 4) == 44 && n_of(fx, 5) == 5);
}

typedef struct blocked {
    fixture *fx;
    gn_txn *txn;
    gn_event done;
    gn_code code;
    gn_error err;
    int64_t n;
    int64_t id;
} blocked;

static void blocked_read(void *arg)
{
    blocked *b = arg;
    const gn_table_desc *now = gn_txn_table(b->txn, TABLE);
    char *text = dump(b->txn, now, &now->indexes[0], NULL, false), at[8];
    snprintf(at, sizeof at, "%lld:n", (long long)b->id);
    b->n = strtoll(strchr(strstr(text, at) + strlen(at), ':') + 1, NULL, 10);
    free(text);
    gn_event_signal(&b->done);
}

static void blocked_commit(void *arg)
{
    blocked *b = arg;
    b->code = gn_txn_commit(b->txn, NULL, &b->err);
    gn_event_signal(&b->done);
}

static bool somebody_waits(fixture *fx)
{
    pthread_mutex_lock(&fx->shard->prepared.room.lock);
    bool waits = fx->shard->prepared.room.first != NULL;
    pthread_mutex_unlock(&fx->shard->prepared.room.lock);
    return waits;
}

static void until_somebody_waits(fixture *fx)
{
    while (!somebody_waits(fx)) {
        gn_event pause;
        gn_event_init(&pause, fx->world);
        gn_event_wait(&pause, gn_now_ns(fx->world) + 200000);
    }
}

static void a_commit_waits_for_the_decision(void **state)
{
    fixture *fx = *state;
    for (int commits = 0; commits < 2; commits++) {
        blocked b = {.fx = fx, .txn = begin(fx)};
        set_n(b.txn, 3, 33);
        prepare_update(fx, 50 + (uint64_t)commits, FIRST, 3, 30);
        gn_event_init(&b.done, fx->world);
        gn_strand *strand = gn_strand_start(fx->world, "blocked", blocked_commit, &b);
        until_somebody_waits(fx);
        if (commits)
            commit_txn(fx, 50 + (uint64_t)commits);
        else
            abort_txn(fx, 50 + (uint64_t)commits);
        gn_event_wait(&b.done, UINT64_MAX);
        gn_strand_join(strand);
        ASSERT_CODE(b.code, commits ? GN_SERIALIZATION : GN_OK, &b.err);
        assert_int_equal(n_of(fx, 3), commits ? 30 : 33);
    }
}

/* ---- readers ---- */

static void readers_wait_for_what_they_may_have_to_see(void **state)
{
    fixture *fx = *state;
    enum { AT_NEWEST, AT_SCN, AS_OF, ABOVE, N_KINDS };
    for (int kind = 0; kind < N_KINDS; kind++) {
        uint64_t id = 60 + (uint64_t)kind;
        prepare_update(fx, id, SECOND, 3, 300 + kind);
        gn_scn low = kind == ABOVE ? 0 : test_clock_scn(&the_clock); /* the commit's SCN, which no group knows yet */
        gn_txn *other = begin(fx);
        set_n(other, 7, 70 + kind);
        assert_int_equal(commit(other), GN_OK);
        gn_txn_options o = {.read_only = true};
        o.global = kind == AT_SCN || kind == ABOVE;
        o.read_scn = kind == AS_OF ? gn_shard_last_scn(fx->shard) : kind == AT_SCN ? test_clock_scn(&the_clock) : 0;
        blocked b = {.fx = fx, .txn = begin_with(fx, &o), .id = 3};
        assert_true(b.txn->pending);
        int64_t n;
        assert_true(has_row(b.txn, t, 7, &n)); /* not in the way */
        assert_int_equal(n, 70 + kind);
        gn_event_init(&b.done, fx->world); /* it looks up rows before it has to wait, and after */
        gn_strand *strand = gn_strand_start(fx->world, "blocked", blocked_read, &b);
        until_somebody_waits(fx);
        gn_scn scn = low ? low : test_clock_scn(&the_clock);
        gn_error err = {0};
        ASSERT_OK(gn_shard_decide(fx->shard, id, true, scn, NULL, &err), &err);
        gn_event_wait(&b.done, UINT64_MAX);
        gn_strand_join(strand);
        assert_int_equal(b.n, kind == ABOVE ? 300 + kind - 1 : 300 + kind);
        if (kind != ABOVE)
            assert_true(scn < gn_txn_read_scn(b.txn));
        assert_true(has_row(b.txn, t, 4, NULL));
        assert_false(b.txn->pending);
        gn_txn_abort(b.txn);
    }
    assert_int_equal(gn_shard_closed_scn(fx->shard), gn_shard_last_scn(fx->shard));
}

static void waiting_readers_can_be_canceled_and_have_deadlines(void **state)
{
    fixture *fx = *state;
    gn_error err = {0};
    prepare_update(fx, 5, FIRST, 3, 30);
    _Atomic bool cancel = false;
    gn_txn *txn = begin_with(fx, &(gn_txn_options){.cancel = &cancel});
    gn_key_range all = {0};
    static const uint32_t ordinals[] = {0};
    gn_scan_spec spec = {.table = t, .range = all, .ordinals = ordinals, .n_ordinals = 1};
    gn_scan *scan;
    cancel = true;
    ASSERT_CODE(gn_scan_open(txn, &spec, &scan, &err), GN_CANCELED, &err);
    assert_non_null(strstr(err.message, "0000000000000005"));
    cancel = false;
    txn->patience.deadline_ns = gn_now_ns(fx->world) + 1000000;
    ASSERT_CODE(gn_scan_open(txn, &spec, &scan, &err), GN_TIMEOUT, &err);
    spec.index = &gn_txn_table(txn, TABLE)->indexes[0]; /* the entry stays as it is, but not the row */
    spec.table = gn_txn_table(txn, TABLE);
    ASSERT_OK(gn_scan_open(txn, &spec, &scan, &err), &err);
    gn_batch batch;
    gn_arena *arena = gn_arena_create(NULL);
    static const gn_type types[] = {{GN_T_INT8, false, -1}};
    ASSERT_OK(gn_batch_init(&batch, types, 1, arena, &err), &err);
    ASSERT_CODE(gn_scan_next(scan, &batch, NULL, &err), GN_TIMEOUT, &err);
    gn_scan_close(scan);
    gn_arena_destroy(arena);
    gn_txn_abort(txn);
    abort_txn(fx, 5);
}

static void a_view_from_before_the_prepare_waits_for_nobody(void **state)
{
    fixture *fx = *state;
    gn_txn *txn = begin(fx);
    prepare_update(fx, 5, FIRST, 3, 30);
    int64_t n;
    assert_true(has_row(txn, t, 3, &n));
    assert_int_equal(n, 3);
    gn_txn_abort(txn);
    abort_txn(fx, 5);
}

/* ---- SCNs out of order ---- */

static bool count_change(void *ctx, const gn_change *change)
{
    (void)change;
    ++*(int *)ctx;
    return true;
}

static void a_commit_below_others_is_validated_logged_and_counted(void **state)
{
    fixture *fx = *state;
    gn_error err = {0};
    gn_scn start = gn_shard_last_scn(fx->shard);
    gn_txn *before = begin(fx);
    assert_true(has_row(before, t, 3, NULL));
    prepare_update(fx, 5, FIRST, 3, 30);
    gn_scn low = test_clock_scn(&the_clock);
    for (int i = 0; i < 5; i++) {
        gn_txn *txn = begin(fx);
        set_n(txn, 7, 70 + i);
        assert_int_equal(commit(txn), GN_OK);
    }
    int n = 0;
    ASSERT_OK(gn_shard_changes(fx->shard, start, UINT64_MAX, count_change, &n, &err), &err);
    assert_int_equal(n, 0); /* all of it may yet be preceded by something */
    ASSERT_OK(gn_shard_decide(fx->shard, 5, true, low, NULL, &err), &err);
    ASSERT_OK(gn_shard_changes(fx->shard, start, UINT64_MAX, count_change, &n, &err), &err);
    assert_int_equal(n, 6);
    ASSERT_OK(insert(before, t, &(row){.id = 50}, &err), &err);
    ASSERT_CODE(gn_txn_commit(before, NULL, &err), GN_SERIALIZATION, &err);
    /* as of a moment in between */
    gn_txn *as_of = begin_with(fx, &(gn_txn_options){.read_scn = low});
    char *text = dump(as_of, t, NULL, NULL, false);
    assert_non_null(strstr(text, "3:n3:30 "));
    assert_non_null(strstr(text, "7:n7:7 "));
    free(text);
    gn_txn_abort(as_of);
    gn_table_stats stats;
    gn_shard_table_stats(fx->shard, TABLE, &stats);
    assert_int_equal(stats.rows_estimate, 9);
}

static void the_window_is_the_same_after_a_restart(void **state)
{
    fixture *fx = *state;
    gn_error err = {0};
    gn_txn *txn = begin(fx);
    assert_true(has_row(txn, t, 3, NULL));
    gn_scn start = gn_txn_read_scn(txn);
    gn_txn_abort(txn);
    prepare_update(fx, 5, FIRST, 3, 30);
    gn_scn low = test_clock_scn(&the_clock);
    txn = begin(fx);
    set_n(txn, 7, 70);
    assert_int_equal(commit(txn), GN_OK);
    ASSERT_OK(gn_shard_decide(fx->shard, 5, true, low, NULL, &err), &err);
    for (int i = 0; i < 2; i++) {
        const gn_recent *r = &fx->shard->applier->recent;
        gn_txn *late = begin(fx);
        late->read_scn = start; /* as if it had been open all the time */
        assert_true(has_row(late, t, 3, NULL));
        ASSERT_OK(insert(late, t, &(row){.id = 51}, &err), &err);
        ASSERT_CODE(gn_txn_commit(late, NULL, &err), GN_SERIALIZATION, &err);
        for (size_t j = 1; j < r->n; j++)
            assert_true(r->ring[(r->head + j - 1) & (r->cap - 1)]->scn < r->ring[(r->head + j) & (r->cap - 1)]->scn);
        fixture_reopen(fx, i);
    }
}

static void hidden_keys_are_those_of_the_prepare(void **state)
{
    fixture *fx = *state;
    gn_error err = {0};
    gn_table_desc *h = make_table(HIDDEN);
    h->hidden_key = true;
    h->n_key = 0;
    ASSERT_OK(put_table(fx, h, &err), &err);
    gn_txn *p = part(fx);
    for (int i = 0; i < 3; i++)
        ASSERT_OK(insert(p, h, &(row){.id = i, .name = "prepared"}, &err), &err);
    ASSERT_OK(gn_txn_prepare(p, 5, FIRST, 2, NULL, &err), &err);
    gn_txn *txn = begin(fx);
    ASSERT_OK(insert(txn, h, &(row){.id = 10, .name = "after"}, &err), &err);
    assert_int_equal(commit(txn), GN_OK);
    fixture_reopen(fx, false);
    commit_txn(fx, 5);
    txn = begin(fx);
    ASSERT_OK(insert(txn, h, &(row){.id = 11, .name = "after"}, &err), &err);
    assert_int_equal(commit(txn), GN_OK);
    char *text = dump_now(fx, h, NULL);
    assert_string_equal(text, "0:prepared:0 1:prepared:0 2:prepared:0 10:after:0 11:after:0 ");
    free(text);
    free_table(h);
}

static void definitions_can_be_prepared(void **state)
{
    fixture *fx = *state;
    gn_error err = {0};
    gn_table_desc *other = make_table(OTHER);
    gn_txn *early = begin(fx);
    gn_txn *p = part(fx);
    ASSERT_OK(gn_txn_put_table(p, other, &err), &err);
    gn_index_desc *by_n = add_index(t, I_OTHER, COL_N, true);
    by_n->kind = GN_INDEX_BTREE;
    ASSERT_OK(gn_txn_put_table(p, t, &err), &err);
    ASSERT_OK(insert(p, other, &(row){.id = 1, .name = "x"}, &err), &err);
    ASSERT_OK(gn_txn_prepare(p, 5, SECOND, 2, NULL, &err), &err);
    gn_table_desc *same = make_table(OTHER + 100);
    snprintf(same->name, sizeof same->name, "%s", other->name);
    gn_txn *rival = early;
    ASSERT_OK(gn_txn_put_table(rival, same, &err), &err);
    ASSERT_CODE(commit_soon(fx, rival, &err), GN_TIMEOUT, &err);
    free_table(same);
    fixture_reopen(fx, false);
    gn_txn *txn;
    gn_txn_options o = {.deadline_ns = gn_now_ns(fx->world) + 1000000};
    ASSERT_CODE(gn_txn_begin(fx->shard, &o, &txn, &err), GN_TIMEOUT, &err); /* which tables there are is not known */
    commit_txn(fx, 5);
    char *text = dump_now(fx, other, NULL);
    assert_string_equal(text, "1:x:0 ");
    free(text);
    txn = begin(fx);
    const gn_table_desc *now = gn_txn_table(txn, TABLE);
    text = dump(txn, now, gn_table_index(now, I_OTHER), NULL, true);
    assert_non_null(strstr(text, "9:n9:9 8:n8:8 "));
    free(text);
    gn_txn_abort(txn);
    free_table(other);
}

static void a_vector_index_holds_no_position_above_the_closed_scn(void **state)
{
    fixture *fx = *state;
    gn_error err = {0};
    float v[DIMENSIONS] = {1};
    add_vector_index(t, I_V, 1);
    ASSERT_OK(put_table(fx, t, &err), &err);
    ASSERT_OK(gn_shard_vindex_build(fx->shard, I_V, NULL, NULL, NULL, &err), &err);
    gn_txn *p = part(fx);
    ASSERT_OK(insert(p, t, &(row){.id = 30, .name = "p", .v = v}, &err), &err);
    ASSERT_OK(gn_txn_prepare(p, 5, FIRST, 2, NULL, &err), &err);
    gn_scn low = test_clock_scn(&the_clock);
    for (int i = 0; i < 4; i++) {
        v[1] = (float)i + 1;
        gn_txn *txn = begin(fx);
        ASSERT_OK(insert(txn, t, &(row){.id = 31 + i, .v = v}, &err), &err);
        ASSERT_OK(commit(txn), NULL);
    }
    gn_scn closed = gn_shard_closed_scn(fx->shard);
    fixture_reopen(fx, true);
    ASSERT_OK(gn_shard_vindex_build(fx->shard, I_V, NULL, NULL, NULL, &err), &err);
    assert_true(gn_feeds_durable(fx->shard->feeds) <= closed);
    ASSERT_OK(gn_shard_decide(fx->shard, 5, true, low, NULL, &err), &err);
    fixture_reopen(fx, false);
    ASSERT_OK(gn_shard_vindex_build(fx->shard, I_V, NULL, NULL, NULL, &err), &err);
    struct gn_vindex_stats stats;
    ASSERT_OK(gn_shard_vindex_stats(fx->shard, I_V, &stats, NULL), NULL);
    assert_int_equal(stats.vectors + stats.tail_vectors - stats.dead_vectors, 5);
}

static void searches_by_vector_wait_for_any_row_of_the_table(void **state)
{
    fixture *fx = *state;
    gn_error err = {0};
    float v[DIMENSIONS] = {1};
    add_vector_index(t, I_V, 1);
    ASSERT_OK(put_table(fx, t, &err), &err);
    prepare_update(fx, 5, SECOND, 3, 30);
    gn_txn *txn = begin(fx);
    static const uint32_t ordinals[] = {0};
    gn_vector_scan_spec spec = {
        .table = gn_txn_table(txn, TABLE), .query = v, .dimensions = DIMENSIONS, .ordinals = ordinals, .n_ordinals = 1};
    spec.index = gn_table_index(spec.table, I_V);
    gn_vector_scan *scan;
    txn->patience.deadline_ns = gn_now_ns(fx->world) + 1000000;
    ASSERT_CODE(gn_vector_scan_open(txn, &spec, &scan, &err), GN_TIMEOUT, &err);
    txn->patience.deadline_ns = 0;
    abort_txn(fx, 5);
    ASSERT_OK(gn_vector_scan_open(txn, &spec, &scan, &err), &err);
    gn_vector_scan_close(scan);
    gn_txn_abort(txn);
}

/* ---- the clock, and those who are late ---- */

typedef struct submitted {
    gn_raft_request request;
    gn_event done;
    gn_code code;
} submitted;

static void submitted_done(gn_raft_request *request, gn_code code)
{
    submitted *s = GN_CONTAINER(request, submitted, request);
    s->code = code;
    gn_event_signal(&s->done);
}

static void an_scn_of_another_term_is_not_used(void **state)
{
    fixture *fx = *state;
    gn_raft_status *status = calloc(1, sizeof *status);
    gn_raft_status_get(fx->shard->group, status);
    submitted s = {.request = {.done = submitted_done, .command = gn_bytes_str("not a command")}};
    s.request.only_term = status->term + 1;
    gn_event_init(&s.done, fx->world);
    gn_raft_submit(fx->shard->group, &s.request);
    gn_event_wait(&s.done, UINT64_MAX);
    assert_int_equal(s.code, GN_NOT_LEADER);
    assert_int_equal(s.request.leader, 1);
    free(status);
}

static void without_a_clock_nothing_is_proposed(void **state)
{
    fixture *fx = *state;
    gn_error err = {0};
    uint64_t before = fx->shard->applied_index;
    gn_txn *txn = begin(fx);
    set_n(txn, 3, 30);
    the_clock.fails = true;
    ASSERT_CODE(gn_txn_commit(txn, NULL, &err), GN_UNAVAILABLE, &err);
    assert_string_equal(err.message, "the clock of the database cannot be reached");
    ASSERT_CODE(gn_txn_begin(fx->shard, &(gn_txn_options){.global = true}, &txn, &err), GN_UNAVAILABLE, &err);
    the_clock.fails = false;
    assert_int_equal(fx->shard->applied_index, before);
    assert_int_equal(n_of(fx, 3), 3);
    fx->options.clock = NULL;
    fixture_reopen(fx, true);
    txn = begin(fx);
    set_n(txn, 3, 30);
    ASSERT_CODE(gn_txn_prepare(txn, 5, FIRST, 2, NULL, &err), GN_NOT_IN_STATE, &err);
}

typedef struct told {
    _Atomic uint64_t txn_id, primary, n;
} told;

static void unresolved(void *ctx, gn_shard *shard, uint64_t txn_id, uint64_t primary, uint64_t age_ns)
{
    (void)shard;
    (void)age_ns;
    told *x = ctx;
    x->primary = primary;
    x->txn_id = txn_id;
    x->n++;
}

static void who_waits_for_too_long_is_reported(void **state)
{
    fixture *fx = *state;
    told x = {0};
    fx->options.unresolved = unresolved;
    fx->options.unresolved_ctx = &x;
    fx->options.unresolved_after_ms = 1;
    fixture_reopen(fx, true);
    prepare_update(fx, 5, SECOND, 3, 30);
    while (x.n == 0) /* by the keeper */
        gn_wakeup_post(&fx->shard->keeper_wakeup);
    assert_int_equal(x.txn_id, 5);
    assert_int_equal(x.primary, 2);
    abort_txn(fx, 5);
    prepare_update(fx, 6, FIRST, 3, 30);
    commit_txn(fx, 6);
    while (x.txn_id != 6) /* until it is forgotten */
        gn_wakeup_post(&fx->shard->keeper_wakeup);
    assert_int_equal(x.primary, 1);
    gn_error err = {0};
    ASSERT_OK(gn_shard_forget(fx->shard, 6, &err), &err);
}

/* Many strands that prepare, commit, read and write: the total stays what it was. */
typedef struct worker {
    fixture *fx;
    gn_strand *strand;
    uint64_t seed;
    int done;
} worker;

static uint64_t draw(worker *w, uint64_t n)
{
    w->seed = w->seed * 6364136223846793005ull + 1442695040888963407ull;
    return (w->seed >> 33) % n;
}

static int64_t total(gn_txn *txn)
{
    int64_t sum = 0;
    char *text = dump(txn, t, NULL, NULL, false);
    for (char *at = text; (at = strchr(at, ' ')); at++) {
        char *colon = at;
        while (*colon != ':')
            colon--;
        sum += strtoll(colon + 1, NULL, 10);
    }
    free(text);
    return sum;
}

static void work(void *arg)
{
    worker *w = arg;
    for (int i = 0; i < 60; i++) {
        bool two = draw(w, 2);
        gn_txn *txn = begin_with(w->fx, &(gn_txn_options){.global = two});
        if (draw(w, 3) == 0) {
            assert_int_equal(total(txn), 45);
            gn_txn_abort(txn);
            continue;
        }
        int64_t a = (int64_t)draw(w, 9) + 1, b = (a + (int64_t)draw(w, 8)) % 9 + 1, na = 0, nb = 0;
        has_row(txn, t, a, &na);
        has_row(txn, t, b, &nb);
        set_n(txn, a, na - 1);
        set_n(txn, b, nb + 1);
        if (a == b)
            set_n(txn, a, na);
        uint64_t id = (w->seed << 8) | 1;
        if (!two) {
            w->done += gn_txn_commit(txn, NULL, NULL) == GN_OK;
        } else if (gn_txn_prepare(txn, id, draw(w, 2) ? FIRST : SECOND, 2, NULL, NULL) == GN_OK) {
            bool commits = draw(w, 4) != 0;
            gn_scn scn = commits ? test_clock_scn(&the_clock) : 0;
            assert_int_equal(gn_shard_decide(w->fx->shard, id, commits, scn, NULL, NULL), GN_OK);
            assert_int_equal(gn_shard_forget(w->fx->shard, id, NULL), GN_OK);
            w->done++;
        }
    }
}

static void many_at_once(void **state)
{
    enum { WORKERS = 4 };
    fixture *fx = *state;
    worker w[WORKERS];
    uint64_t raised = gn_counter_value(fx->shard->metrics.scns_raised);
    for (int i = 0; i < WORKERS; i++) {
        w[i] = (worker){.fx = fx, .seed = (uint64_t)i * 77 + 1};
        w[i].strand = gn_strand_start(fx->world, "worker", work, &w[i]);
    }
    for (int i = 0; i < WORKERS; i++) {
        gn_strand_join(w[i].strand);
        assert_true(w[i].done > 0);
    }
    gn_txn *txn = begin(fx);
    assert_int_equal(total(txn), 45);
    gn_txn_abort(txn);
    assert_false(gn_prepared_any(&fx->shard->prepared));
    assert_int_equal(gn_counter_value(fx->shard->metrics.scns_raised), raised);
    fixture_reopen(fx, false);
    txn = begin(fx);
    assert_int_equal(total(txn), 45);
    gn_txn_abort(txn);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_part_commits_at_its_scn_and_survives_restarts),
        TEST(an_abort_is_remembered_against_what_comes_late),
        TEST(conflicts_with_a_prepared_part_are_found_both_ways),
        TEST(what_a_part_only_reads_is_held_too),
        TEST(a_row_that_may_go_is_not_called_a_duplicate),
        TEST(one_part_waits_and_another_is_refused),
        TEST(the_first_part_commits_and_decides_in_one_entry),
        TEST(the_first_part_that_comes_too_late_is_refused),
        TEST(a_commit_waits_for_the_decision),
        TEST(readers_wait_for_what_they_may_have_to_see),
        TEST(waiting_readers_can_be_canceled_and_have_deadlines),
        TEST(a_view_from_before_the_prepare_waits_for_nobody),
        TEST(a_commit_below_others_is_validated_logged_and_counted),
        TEST(the_window_is_the_same_after_a_restart),
        TEST(hidden_keys_are_those_of_the_prepare),
        TEST(definitions_can_be_prepared),
        TEST(a_vector_index_holds_no_position_above_the_closed_scn),
        TEST(searches_by_vector_wait_for_any_row_of_the_table),
        TEST(an_scn_of_another_term_is_not_used),
        TEST(without_a_clock_nothing_is_proposed),
        TEST(who_waits_for_too_long_is_reported),
        TEST(many_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
