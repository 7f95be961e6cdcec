/* Savepoints against a model: whatever is written between them and however often one goes back to which, the rows are
 * those that were there, by key and by index, and the commit writes just them. */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>

enum { TABLE = GN_FIRST_USER_ID, I_N, IDS = 120, DEEPEST = 6, ROUNDS = 60, STEPS = 80 };

typedef struct model {
    int64_t n[IDS]; /* 0: no row */
} model;

static uint64_t draw(uint64_t *state, uint64_t below)
{
    *state = *state * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (*state >> 33) % below;
}

static void assert_model(gn_txn *txn, const gn_table_desc *t, const model *m)
{
    int64_t n;
    char *text = dump(txn, t, NULL, NULL, false), *by_index = dump(txn, t, &t->indexes[0], NULL, true);
    const char *at = text;
    size_t rows = 0, entries = 0;
    for (int i = 0; i < IDS; i++) {
        char expected[64];
        if (m->n[i] == 0)
            continue;
        int len = snprintf(expected, sizeof expected, "%d:-:%lld ", i, (long long)m->n[i]);
        assert_int_equal(strncmp(at, expected, (size_t)len), 0);
        at += len;
        rows++;
    }
    assert_string_equal(at, "");
    for (const char *c = by_index; *c; c++)
        entries += *c == ' ';
    assert_int_equal(rows, entries);
    assert_int_equal(has_row(txn, t, 7, &n), m->n[7] != 0);
    free(text);
    free(by_index);
}

/* Some in ascending order, as a bulk insert's, some anywhere. */
static void write_some(gn_txn *txn, const gn_table_desc *t, model *m, uint64_t *state)
{
    gn_error err = {0};
    int id = (int)draw(state, IDS), n = (int)draw(state, 40) + 1;
    bool ascending = draw(state, 2);
    for (int i = 0; i < n; i++) {
        id = ascending ? id + 1 : (int)draw(state, IDS);
        if (id >= IDS)
            return;
        row r = {.id = id, .n = (int64_t)draw(state, 1000) + 1};
        if (m->n[id] == 0) {
            ASSERT_OK(insert(txn, t, &r, &err), &err);
            m->n[id] = r.n;
        } else if (draw(state, 2)) {
            ASSERT_OK(update(txn, t, id, &r, &err), &err);
            m->n[id] = r.n;
        } else {
            ASSERT_OK(erase(txn, t, id, &err), &err);
            m->n[id] = 0;
        }
    }
}

static void going_back_restores_what_was(void **state)
{
    fixture *fx = *state;
    gn_error err = {0};
    uint64_t random = 1;
    gn_table_desc *t = make_table(TABLE);
    add_index(t, I_N, COL_N, false);
    ASSERT_OK(put_table(fx, t, &err), &err);
    model now = {{0}}, then[DEEPEST];
    for (int round = 0; round < ROUNDS; round++) {
        gn_txn *txn = begin(fx);
        gn_txn_mark *marks[DEEPEST];
        int depth = 0;
        for (int i = 0; i < STEPS; i++) {
            uint64_t what = draw(&random, 8);
            if (what < 4) {
                write_some(txn, t, &now, &random);
            } else if (what == 4 && depth < DEEPEST) {
                then[depth] = now;
                marks[depth++] = gn_txn_mark_take(txn);
            } else if (what == 5 && depth > 0) {
                int to = (int)draw(&random, (uint64_t)depth);
                while (depth > to + 1)
                    gn_txn_mark_free(marks[--depth]);
                ASSERT_OK(gn_txn_rollback_to(txn, marks[to], &err), &err);
                now = then[to];
                assert_model(txn, t, &now);
            } else if (what == 6) {
                assert_model(txn, t, &now);
            }
        }
        while (depth > 0)
            gn_txn_mark_free(marks[--depth]);
        ASSERT_OK(commit(txn), &err);
        txn = begin(fx);
        assert_model(txn, t, &now);
        gn_txn_abort(txn);
    }
    free_table(t);
}

static void going_back_twice(void **state)
{
    fixture *fx = *state;
    gn_error err = {0};
    gn_table_desc *t = make_table(TABLE);
    ASSERT_OK(put_table(fx, t, &err), &err);
    gn_txn *txn = begin(fx);
    for (int i = 1; i < 4; i++)
        ASSERT_OK(insert(txn, t, &(row){.id = i, .n = i}, &err), &err);
    ASSERT_OK(update(txn, t, 2, &(row){.id = 2, .n = 20}, &err), &err);
    gn_txn_mark *outer = gn_txn_mark_take(txn);
    ASSERT_OK(erase(txn, t, 1, &err), &err);
    gn_txn_mark *inner = gn_txn_mark_take(txn);
    ASSERT_OK(erase(txn, t, 2, &err), &err);
    ASSERT_OK(gn_txn_rollback_to(txn, inner, &err), &err);
    ASSERT_OK(insert(txn, t, &(row){.id = 9, .n = 9}, &err), &err);
    ASSERT_OK(gn_txn_rollback_to(txn, inner, &err), &err);
    char *text = dump(txn, t, NULL, NULL, false);
    assert_string_equal(text, "2:-:20 3:-:3 ");
    free(text);
    ASSERT_OK(gn_txn_rollback_to(txn, outer, &err), &err);
    text = dump(txn, t, NULL, NULL, true);
    assert_string_equal(text, "3:-:3 2:-:20 1:-:1 ");
    free(text);
    gn_txn_mark_free(inner);
    gn_txn_mark_free(outer);
    ASSERT_OK(commit(txn), &err);
    free_table(t);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {TEST(going_back_restores_what_was), TEST(going_back_twice)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
