/* Btree indexes against the rows: by hand, and against a model under random writes, crashes and collection. */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>

enum { TABLE = GN_FIRST_USER_ID, I_NAME, I_N };

static void put(fixture *fx, const gn_table_desc *t, const row *r)
{
    gn_error err = {0};
    gn_txn *txn = begin(fx);
    ASSERT_OK(insert(txn, t, r, &err), &err);
    ASSERT_OK(gn_txn_commit(txn, NULL, &err), &err);
}

#define ASSERT_DUMP(text, expected)           \
    do {                                      \
        char *text_ = (text);                 \
        assert_string_equal(text_, expected); \
        free(text_);                          \
    } while (0)

static void an_index_gives_its_order_with_own_writes(void **state)
{
    fixture *fx = *state;
    gn_error err = {0};
    gn_table_desc *t = make_table(TABLE);
    const gn_index_desc *by_name = add_index(t, I_NAME, COL_NAME, false);
    ASSERT_OK(put_table(fx, t, &err), &err);
    put(fx, t, &(row){.id = 1, .name = "c"});
    put(fx, t, &(row){.id = 2, .name = "a"});
    put(fx, t, &(row){.id = 3});
    put(fx, t, &(row){.id = 4, .name = "a"});
    ASSERT_DUMP(dump_now(fx, t, by_name), "2:a:0 4:a:0 1:c:0 3:-:0 ");
    gn_txn *txn = begin(fx);
    ASSERT_OK(update(txn, t, 2, &(row){.id = 2, .name = "z"}, &err), &err);
    ASSERT_OK(erase(txn, t, 4, &err), &err);
    ASSERT_OK(insert(txn, t, &(row){.id = 9, .name = "b"}, &err), &err);
    ASSERT_DUMP(dump(txn, t, by_name, NULL, false), "9:b:0 1:c:0 2:z:0 3:-:0 ");
    ASSERT_DUMP(dump(txn, t, by_name, NULL, true), "3:-:0 2:z:0 1:c:0 9:b:0 ");
    ASSERT_OK(update(txn, t, 9, &(row){.id = 9, .name = "zz"}, &err), &err);
    ASSERT_DUMP(dump(txn, t, by_name, NULL, false), "1:c:0 2:z:0 9:zz:0 3:-:0 ");
    ASSERT_OK(gn_txn_commit(txn, NULL, &err), &err);
    ASSERT_DUMP(dump_now(fx, t, by_name), "1:c:0 2:z:0 9:zz:0 3:-:0 ");
    free_table(t);
}

static void unique_values_are_unique_and_nulls_are_distinct(void **state)
{
    fixture *fx = *state;
    gn_error err = {0};
    gn_table_desc *t = make_table(TABLE);
    const gn_index_desc *by_name = add_index(t, I_NAME, COL_NAME, true);
    ASSERT_OK(put_table(fx, t, &err), &err);
    put(fx, t, &(row){.id = 1, .name = "a"});
    put(fx, t, &(row){.id = 2});
    put(fx, t, &(row){.id = 3});
    gn_txn *txn = begin(fx);
    ASSERT_CODE(insert(txn, t, &(row){.id = 4, .name = "a"}, &err), GN_UNIQUE, &err);
    assert_string_equal(err.detail, "Key (name)=(a) already exists.");
    assert_string_equal(err.object[3], "i16385");
    ASSERT_OK(insert(txn, t, &(row){.id = 4, .name = "b"}, &err), &err);
    ASSERT_CODE(insert(txn, t, &(row){.id = 5, .name = "b"}, &err), GN_UNIQUE, &err);
    /* A freed value may be taken in the same transaction, and values may change places. */
    ASSERT_OK(update(txn, t, 1, &(row){.id = 1, .name = "x"}, &err), &err);
    ASSERT_OK(update(txn, t, 4, &(row){.id = 4, .name = "a"}, &err), &err);
    ASSERT_OK(update(txn, t, 1, &(row){.id = 1, .name = "b"}, &err), &err);
    ASSERT_OK(gn_txn_commit(txn, NULL, &err), &err);
    ASSERT_DUMP(dump_now(fx, t, by_name), "4:a:0 1:b:0 2:-:0 3:-:0 ");
    /* Two that did not see each other: the log decides. */
    gn_txn *a = begin(fx), *b = begin(fx);
    ASSERT_OK(insert(a, t, &(row){.id = 10, .name = "q"}, &err), &err);
    ASSERT_OK(insert(b, t, &(row){.id = 11, .name = "q"}, &err), &err);
    ASSERT_OK(gn_txn_commit(a, NULL, &err), &err);
    ASSERT_CODE(gn_txn_commit(b, NULL, &err), GN_UNIQUE, &err);
    ASSERT_DUMP(dump_now(fx, t, by_name), "4:a:0 1:b:0 10:q:0 2:-:0 3:-:0 ");
    free_table(t);
}

static void a_row_may_move_and_keep_its_unique_value(void **state)
{
    fixture *fx = *state;
    gn_error err = {0};
    gn_table_desc *t = make_table(TABLE);
    const gn_index_desc *by_name = add_index(t, I_NAME, COL_NAME, true);
    ASSERT_OK(put_table(fx, t, &err), &err);
    put(fx, t, &(row){.id = 1, .name = "a"});
    gn_txn *txn = begin(fx);
    ASSERT_OK(update(txn, t, 1, &(row){.id = 2, .name = "a"}, &err), &err);
    ASSERT_OK(gn_txn_commit(txn, NULL, &err), &err);
    ASSERT_DUMP(dump_now(fx, t, by_name), "2:a:0 ");
    free_table(t);
}

/* ---- against a model ---- */

enum { IDS = 60, STEPS = 600, HISTORY = 8 };

typedef struct model {
    bool used[IDS];
    int name[IDS]; /* -1: null */
    int64_t n[IDS];
} model;

static uint64_t rnd_state;
static uint32_t rnd(uint32_t n)
{
    rnd_state = rnd_state * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(rnd_state >> 33) % n;
}

static const char *name_of(int name, char *buf)
{
    if (name < 0)
        return NULL;
    snprintf(buf, 16, "n%03d", name);
    return buf;
}

static bool name_taken(const model *m, int name, int but_for)
{
    for (int i = 0; i < IDS && name >= 0; i++)
        if (i != but_for && m->used[i] && m->name[i] == name)
            return true;
    return false;
}

static const model *sorted_model;
static int sort_column;
static int by_column(const void *x, const void *y)
{
    int a = *(const int *)x, b = *(const int *)y;
    if (sort_column == COL_NAME && sorted_model->name[a] != sorted_model->name[b]) {
        if (sorted_model->name[a] < 0 || sorted_model->name[b] < 0)
            return sorted_model->name[a] < 0 ? 1 : -1;
        return sorted_model->name[a] < sorted_model->name[b] ? -1 : 1;
    }
    if (sort_column == COL_N && sorted_model->n[a] != sorted_model->n[b])
        return sorted_model->n[a] > sorted_model->n[b] ? -1 : 1; /* descending */
    return a < b ? -1 : a > b;
}

static char *model_dump(const model *m, int column, bool reverse)
{
    int ids[IDS], n = 0;
    char name[16], *text = calloc(IDS, 64), *p = text;
    for (int i = 0; i < IDS; i++)
        if (m->used[i])
            ids[n++] = i;
    sorted_model = m;
    sort_column = column;
    qsort(ids, (size_t)n, sizeof *ids, by_column);
    for (int i = 0; i < n; i++) {
        int id = ids[reverse ? n - 1 - i : i];
        const char *s = name_of(m->name[id], name);
        p += snprintf(p, 64, "%d:%s:%lld ", id, s ? s : "-", (long long)m->n[id]);
    }
    return text;
}

static void compare(gn_txn *txn, const gn_table_desc *t, const model *m)
{
    for (int c = 0; c < 6; c++) {
        const gn_index_desc *index = c < 2 ? NULL : &t->indexes[c / 2 - 1];
        char *expected = model_dump(m, c < 2 ? COL_ID : c < 4 ? COL_NAME : COL_N, c & 1);
        char *text = dump(txn, t, index, NULL, c & 1);
        assert_string_equal(text, expected);
        free(text);
        free(expected);
    }
}

static void random_write(gn_txn *txn, const gn_table_desc *t, model *m)
{
    gn_error err = {0};
    char buf[16];
    int id = (int)rnd(IDS), name = rnd(4) ? (int)rnd(IDS * 2) : -1;
    row r = {.id = id, .name = name_of(name, buf), .n = rnd(7)};
    if (!m->used[id]) {
        gn_code code = insert(txn, t, &r, &err);
        ASSERT_CODE(code, name_taken(m, name, id) ? GN_UNIQUE : GN_OK, &err);
        if (code != GN_OK)
            return;
    } else if (rnd(3) == 0) {
        ASSERT_OK(erase(txn, t, id, &err), &err);
        m->used[id] = false;
        return;
    } else {
        int to = rnd(5) ? id : (int)rnd(IDS);
        r.id = to;
        bool clash = (to != id && m->used[to]) || name_taken(m, name, id);
        gn_code code = update(txn, t, id, &r, &err);
        ASSERT_CODE(code, clash ? GN_UNIQUE : GN_OK, &err);
        if (code != GN_OK)
            return;
        m->used[id] = false;
        id = to;
    }
    m->used[id] = true;
    m->name[id] = name;
    m->n[id] = r.n;
}

static void indexes_equal_the_rows_after_random_writes(void **state)
{
    fixture *fx = *state;
    gn_error err = {0};
    gn_table_desc *t = make_table(TABLE);
    add_index(t, I_NAME, COL_NAME, true);
    add_index(t, I_N, COL_N, false)->descending[0] = true;
    ASSERT_OK(put_table(fx, t, &err), &err);
    static model now, past[HISTORY];
    gn_scn past_scn[HISTORY] = {0};
    memset(&now, 0, sizeof now);
    rnd_state = 42;
    for (int step = 0; step < STEPS; step++) {
        model then = now;
        gn_txn *txn = begin(fx);
        for (uint32_t i = rnd(5) + 1; i > 0; i--)
            random_write(txn, t, &then);
        if (step % 10 == 0)
            compare(txn, t, &then);
        gn_scn scn;
        if (rnd(6) == 0) {
            gn_txn_abort(txn);
            continue;
        }
        ASSERT_OK(gn_txn_commit(txn, &scn, &err), &err);
        now = then;
        past[step % HISTORY] = now;
        past_scn[step % HISTORY] = scn;
        if (step % 97 == 0)
            fixture_reopen(fx, step % 2);
        if (step % 150 == 0)
            ASSERT_OK(gn_shard_compact(fx->shard, &err), &err);
        if (step % 20 != 0)
            continue;
        int h = (int)rnd(HISTORY);
        if (past_scn[h]) {
            txn = begin_with(fx, &(gn_txn_options){.read_scn = past_scn[h]});
            compare(txn, t, &past[h]);
            gn_txn_abort(txn);
        }
    }
    gn_txn *txn = begin(fx);
    compare(txn, t, &now);
    gn_txn_abort(txn);
    free_table(t);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(an_index_gives_its_order_with_own_writes),
        TEST(unique_values_are_unique_and_nulls_are_distinct),
        TEST(a_row_may_move_and_keep_its_unique_value),
        TEST(indexes_equal_the_rows_after_random_writes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
