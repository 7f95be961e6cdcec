/* Many strands at once on real threads: money is neither made nor lost, readers see only whole transactions, and
 * indexes come and go meanwhile. */
#include "fixture.h"

#include <stdatomic.h>
#include <stdlib.h>

enum { TABLE = GN_FIRST_USER_ID, I_N, I_V, ACCOUNTS = 12, START = 100, WRITERS = 4, TRANSFERS = 150 };

typedef struct shared {
    fixture *fx;
    gn_table_desc *plain, *indexed;
    _Atomic int working, committed, conflicts;
} shared;

typedef struct worker {
    shared *s;
    uint64_t rnd;
} worker;

static uint32_t rnd(worker *w, uint32_t n)
{
    w->rnd = w->rnd * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(w->rnd >> 33) % n;
}

/* Whatever the table's definition is now. */
static gn_code transfer(worker *w, gn_error *err)
{
    gn_txn *txn;
    gn_code code = gn_txn_begin(w->s->fx->shard, NULL, &txn, err);
    if (code != GN_OK)
        return code;
    const gn_table_desc *t = gn_txn_table(txn, TABLE);
    int64_t from = rnd(w, ACCOUNTS), to = (from + 1 + rnd(w, ACCOUNTS - 1)) % ACCOUNTS, a, b;
    float v[DIMENSIONS] = {(float)rnd(w, 100)};
    assert_true(has_row(txn, t, from, &a) && has_row(txn, t, to, &b));
    code = update(txn, t, from, &(row){.id = from, .n = a - 1, .v = v}, err);
    if (code == GN_OK)
        code = update(txn, t, to, &(row){.id = to, .n = b + 1, .v = v}, err);
    if (code == GN_OK)
        return gn_txn_commit(txn, NULL, err);
    gn_txn_abort(txn);
    return code;
}

static void write_strand(void *arg)
{
    worker *w = arg;
    for (int done = 0; done < TRANSFERS;) {
        gn_error err = {0};
        gn_code code = transfer(w, &err);
        if (code == GN_OK)
            done++;
        else
            ASSERT_CODE(code, GN_SERIALIZATION, &err);
        atomic_fetch_add(code == GN_OK ? &w->s->committed : &w->s->conflicts, 1);
    }
    atomic_fetch_sub(&w->s->working, 1);
}

static int64_t sum_of(char *text)
{
    int64_t sum = 0;
    int rows = 0;
    for (char *p = text; *p; p = strchr(p, ' ') + 1, rows++) {
        char *n = strchr(strchr(p, ':') + 1, ':') + 1;
        sum += strtoll(n, NULL, 10);
    }
    assert_int_equal(rows, ACCOUNTS);
    free(text);
    return sum;
}

static void read_strand(void *arg)
{
    worker *w = arg;
    while (atomic_load(&w->s->working) > 0) {
        gn_txn *txn = begin_with(w->s->fx, &(gn_txn_options){.read_only = true});
        const gn_table_desc *t = gn_txn_table(txn, TABLE);
        assert_int_equal(sum_of(dump(txn, t, NULL, NULL, false)), ACCOUNTS * START);
        if (t->n_indexes > 0)
            assert_int_equal(sum_of(dump(txn, t, &t->indexes[0], NULL, true)), ACCOUNTS * START);
        gn_txn_abort(txn);
    }
}

static void change_strand(void *arg)
{
    worker *w = arg;
    uint64_t version = 10;
    while (atomic_load(&w->s->working) > 0) {
        gn_table_desc *t = version % 2 ? w->s->plain : w->s->indexed;
        gn_error err = {0};
        t->version = version;
        for (uint32_t i = 0; i < t->n_indexes; i++) /* an id is never used again */
            t->indexes[i].id = I_N + 2 * version + i;
        gn_code code = put_table(w->s->fx, t, &err);
        if (code == GN_OK)
            version++;
        else
            ASSERT_CODE(code, GN_SERIALIZATION, &err);
        if (version % 5 == 0)
            ASSERT_OK(gn_shard_compact(w->s->fx->shard, &err), &err);
        gn_event pause;
        gn_event_init(&pause, w->s->fx->world);
        gn_event_wait(&pause, gn_now_ns(w->s->fx->world) + 3000000);
    }
}

static void money_is_neither_made_nor_lost(void **state)
{
    fixture *fx = *state;
    gn_error err = {0};
    shared s = {.fx = fx, .plain = make_table(TABLE), .indexed = make_table(TABLE), .working = WRITERS};
    add_index(s.indexed, I_N, COL_N, false);
    add_vector_index(s.indexed, I_V, 1);
    ASSERT_OK(put_table(fx, s.plain, &err), &err);
    gn_txn *txn = begin(fx);
    for (int i = 0; i < ACCOUNTS; i++)
        ASSERT_OK(insert(txn, s.plain, &(row){.id = i, .n = START}, &err), &err);
    ASSERT_OK(gn_txn_commit(txn, NULL, &err), &err);
    worker workers[WRITERS + 3];
    gn_strand *strands[WRITERS + 3];
    for (int i = 0; i < WRITERS + 3; i++) {
        workers[i] = (worker){.s = &s, .rnd = (uint64_t)i + 1};
        void (*work)(void *) = i < WRITERS ? write_strand : i < WRITERS + 2 ? read_strand : change_strand;
        strands[i] = gn_strand_start(fx->world, "worker", work, &workers[i]);
        assert_non_null(strands[i]);
    }
    for (int i = 0; i < WRITERS + 3; i++)
        gn_strand_join(strands[i]);
    assert_int_equal(s.committed, WRITERS * TRANSFERS);
    fixture_reopen(fx, false);
    txn = begin(fx);
    assert_int_equal(sum_of(dump(txn, gn_txn_table(txn, TABLE), NULL, NULL, false)), ACCOUNTS * START);
    gn_txn_abort(txn);
    free_table(s.plain);
    free_table(s.indexed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(money_is_neither_made_nor_lost, fixture_setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
