/* Vector scans with a filter: as many rows as match, the right ones, by the way that suits how many there are. */
#include "fixture.h"
#include "index/distance.h"
#include "query/expr.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TABLE = GN_FIRST_USER_ID, I_V, I_N, ROWS = 4000, KINDS = 400 };

static float vectors[ROWS][DIMENSIONS];
static int64_t kinds[ROWS]; /* n of each row; -1: there is no such row */

static uint64_t rnd_state = 5;
static uint32_t rnd(uint32_t n)
{
    rnd_state = rnd_state * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(rnd_state >> 33) % n;
}

static void random_vector(float *v)
{
    for (int i = 0; i < DIMENSIONS; i++)
        v[i] = (float)rnd(20000) / 10000.0f - 1.0f;
}

/* by_place: n is small on one side of the vectors; else by chance */
static gn_table_desc *fill_table(fixture *fx, bool by_place)
{
    gn_error err = {0};
    gn_table_desc *t = make_table(TABLE);
    add_vector_index(t, I_V, GN_METRIC_L2);
    add_index(t, I_N, 3, false);
    ASSERT_OK(put_table(fx, t, &err), &err);
    gn_txn *txn = begin(fx);
    for (int i = 0; i < ROWS; i++) {
        random_vector(vectors[i]);
        kinds[i] = by_place ? (int64_t)((vectors[i][0] + 1) * KINDS / 2) : i % KINDS;
        row r = {.id = i, .name = "x", .n = kinds[i], .v = vectors[i]};
        ASSERT_OK(insert(txn, t, &r, &err), &err);
    }
    assert_int_equal(commit(txn), GN_OK);
    ASSERT_OK(gn_shard_vindex_build(fx->shard, I_V, NULL, NULL, NULL, &err), &err);
    return t;
}

static gn_table_desc *filled_table(fixture *fx)
{
    return fill_table(fx, false);
}

/* n < bound, and where it is asked for id < another */
typedef struct condition {
    gn_expr n, bound, less, *args[2];
    gn_buf key;
    gn_key_range range;
    struct condition *id; /* NULL: any */
    gn_expr both, *of_both[2];
    bool whole; /* the ranges say all */
    gn_format format;
} condition;

static void condition_init(condition *c, int64_t bound)
{
    gn_type int8 = gn_type_of(GN_T_INT8), to[2], result;
    gn_error err = {0};
    *c =
        (condition){.n = {.kind = GN_E_COLUMN, .type = int8, .column = 1}, .bound = {.kind = GN_E_CONST, .type = int8}};
    c->bound.value = (gn_value){.type = int8, .as.i64 = bound};
    c->args[0] = &c->n;
    c->args[1] = &c->bound;
    c->less = (gn_expr){.kind = GN_E_CALL, .type = gn_type_of(GN_T_BOOL), .n_args = 2, .args = c->args};
    ASSERT_OK(
        gn_function_resolve(gn_bytes_str("<"), true, (gn_type[]){int8, int8}, 2, &c->less.function, to, &result, &err),
        &err);
    gn_buf_init(&c->key, NULL, 100);
    ASSERT_OK(gn_key_append(&c->key, &c->bound.value, false, false, &err), &err);
    c->range.hi = gn_buf_bytes(&c->key);
}

static void condition_and_id(condition *c, condition *id)
{
    id->n.column = 0;
    c->id = id;
    c->of_both[0] = &c->less;
    c->of_both[1] = &id->less;
    c->both = (gn_expr){.kind = GN_E_AND, .type = gn_type_of(GN_T_BOOL), .n_args = 2, .args = c->of_both};
}

typedef struct found {
    int64_t ids[ROWS];
    size_t n;
    gn_code code;
    gn_vector_scan_stats stats;
} found;

/* The first k rows; the scan is asked no more than that. */
static void search(gn_txn *txn, const gn_table_desc *t, const float *q, condition *c, bool ranges, bool exact, size_t k,
                   found *out)
{
    static const uint32_t ordinals[] = {0, 2};
    gn_vector_bound bounds[2] = {{.index = &t->indexes[1], .ranges = &c->range, .n_ranges = 1}};
    if (c->id)
        bounds[1] = (gn_vector_bound){.ranges = &c->id->range, .n_ranges = 1};
    gn_vector_scan_spec spec = {.table = t,
                                .index = &t->indexes[0],
                                .query = q,
                                .dimensions = DIMENSIONS,
                                .k_hint = k,
                                .exact = exact,
                                .ordinals = ordinals,
                                .n_ordinals = 2,
                                .filter = c->id ? &c->both : &c->less,
                                .format = &c->format,
                                .bounds = bounds,
                                .n_bounds = ranges ? 1 + (c->id != NULL) : 0,
                                .whole = c->whole};
    gn_error err = {0};
    gn_batch batch = {.n_columns = 3, .arena = gn_arena_create(NULL)};
    gn_vector_scan *s;
    ASSERT_OK(gn_vector_scan_open(txn, &spec, &s, &err), &err);
    out->n = 0;
    do {
        out->code = gn_vector_scan_next(s, &batch, NULL, &err);
        for (uint32_t i = 0; out->code == GN_OK && i < batch.n_rows && out->n < k; i++)
            out->ids[out->n++] = batch.columns[0].i64[i];
    } while (out->code == GN_OK && batch.n_rows > 0 && out->n < k);
    gn_vector_scan_stats_get(s, &out->stats);
    gn_vector_scan_close(s);
    gn_arena_destroy(batch.arena);
}

static double distance(const float *q, int64_t id)
{
    double sum = 0;
    for (int j = 0; j < DIMENSIONS; j++)
        sum += ((double)q[j] - (double)vectors[id][j]) * ((double)q[j] - (double)vectors[id][j]);
    return sqrt(sum);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* As many as match, all of which match, in order, none twice; with exact the nearest. */
static void check(const found *f, const float *q, int64_t bound, size_t k, bool exact)
{
    static double all[ROWS];
    size_t n = 0;
    for (int i = 0; i < ROWS; i++)
        if (kinds[i] >= 0 && kinds[i] < bound)
            all[n++] = exact ? distance(q, i) : 0;
    if (exact)
        qsort(all, n, sizeof *all, ascending);
    assert_int_equal(f->code, GN_OK);
    assert_int_equal(f->n, n < k ? n : k);
    bool *seen = calloc(ROWS, sizeof *seen);
    for (size_t i = 0; i < f->n; i++) {
        int64_t id = f->ids[i];
        assert_true(kinds[id] >= 0 && kinds[id] < bound && !seen[id]);
        seen[id] = true;
        if (exact)
            assert_true(fabs(distance(q, id) - all[i]) < 1e-4);
    }
    free(seen);
}

static void as_many_rows_come_as_match(void **state)
{
    fixture *fx = *state;
    gn_table_desc *t = filled_table(fx);
    static const int64_t bounds[] = {0, 1, 3, 20, 100, 250, 399, 400};
    static const size_t ks[] = {1, 10, 200, ROWS};
    static found f;
    gn_txn *txn = begin(fx);
    for (size_t b = 0; b < sizeof bounds / sizeof *bounds; b++) {
        condition c;
        condition_init(&c, bounds[b]);
        for (int i = 0; i < 4 * 2 * 2; i++) {
            float q[DIMENSIONS];
            random_vector(q);
            bool exact = i & 1, ranges = i & 2;
            search(txn, t, q, &c, ranges, exact, ks[i / 4], &f);
            check(&f, q, bounds[b], ks[i / 4], exact);
        }
        gn_buf_close(&c.key);
    }
    gn_txn_abort(txn);
    free_table(t);
}

static void the_way_follows_from_how_many_match(void **state)
{
    fixture *fx = *state;
    gn_table_desc *t = filled_table(fx);
    float q[DIMENSIONS] = {0};
    static found f;
    condition few, half, none;
    condition_init(&few, 2);
    condition_init(&half, KINDS / 2);
    condition_init(&none, 0);
    gn_txn *txn = begin(fx);
    search(txn, t, q, &half, true, false, 10, &f);
    assert_int_equal(f.stats.way, GN_VECTOR_BY_INDEX);
    assert_true(f.stats.asked <= 64 && f.stats.fetched == f.stats.asked);
    search(txn, t, q, &few, true, false, 10, &f); /* of 20 */
    check(&f, q, 2, 10, true);
    assert_int_equal(f.stats.way, GN_VECTOR_BY_KEYS);
    assert_int_equal(f.stats.keys, 20);
    assert_true(f.stats.fetched < 200);
    search(txn, t, q, &none, true, false, 10, &f);
    assert_int_equal(f.stats.way, GN_VECTOR_BY_KEYS);
    assert_true(f.stats.all_measured);
    search(txn, t, q, &none, false, false, 10, &f);
    assert_int_equal(f.stats.way, GN_VECTOR_BY_ROWS);
    assert_true(f.stats.all_measured && f.stats.fetched < ROWS / 2);
    gn_txn_abort(txn);
    gn_buf_close(&few.key);
    gn_buf_close(&half.key);
    gn_buf_close(&none.key);
    free_table(t);
}

/* Rows that this transaction has made match, or match no more, or taken away. */
static void own_writes_are_judged(void **state)
{
    fixture *fx = *state;
    gn_error err = {0};
    gn_table_desc *t = filled_table(fx);
    static found f;
    gn_txn *txn = begin(fx);
    for (int i = 0; i < 300; i++) {
        int id = (int)rnd(ROWS);
        if (kinds[id] < 0)
            continue;
        kinds[id] = rnd(4) == 0 ? -1 : (int64_t)rnd(KINDS);
        random_vector(vectors[id]);
        row r = {.id = id, .name = "own", .n = kinds[id], .v = vectors[id]};
        ASSERT_OK(kinds[id] < 0 ? erase(txn, t, id, &err) : update(txn, t, id, &r, &err), &err);
    }
    static const int64_t bounds[] = {0, 2, 30, 300};
    for (int i = 0; i < 32; i++) {
        condition c;
        float q[DIMENSIONS];
        condition_init(&c, bounds[i % 4]);
        random_vector(q);
        search(txn, t, q, &c, i & 4, i & 8, 15, &f);
        check(&f, q, bounds[i % 4], 15, i & 8);
        gn_buf_close(&c.key);
    }
    gn_txn_abort(txn);
    free_table(t);
}

/* What was asked of a version is not asked again, and a version that changes is another one. */
static void a_filter_that_comes_again_is_remembered(void **state)
{
    fixture *fx = *state;
    gn_error err = {0};
    gn_table_desc *t = filled_table(fx);
    static found f;
    condition c;
    float q[DIMENSIONS];
    condition_init(&c, KINDS / 2);
    random_vector(q);
    gn_txn *txn = begin(fx);
    search(txn, t, q, &c, false, false, 10, &f);
    assert_int_equal(f.stats.way, GN_VECTOR_BY_INDEX);
    search(txn, t, q, &c, false, false, 10, &f);
    assert_int_equal(f.stats.way, GN_VECTOR_BY_WALK);
    check(&f, q, KINDS / 2, 10, false);
    search(txn, t, q, &c, false, false, 10, &f);
    assert_int_equal(f.stats.fetched, 10);
    check(&f, q, KINDS / 2, 10, false);
    gn_txn_abort(txn);

    int64_t gone = f.ids[0], other = f.ids[1];
    kinds[gone] = KINDS - 1;
    txn = begin(fx);
    row r = {.id = gone, .name = "x", .n = kinds[gone], .v = vectors[gone]};
    ASSERT_OK(update(txn, t, gone, &r, &err), &err);
    kinds[other] = -1;
    ASSERT_OK(erase(txn, t, other, &err), &err);
    assert_int_equal(commit(txn), GN_OK);
    txn = begin(fx);
    search(txn, t, q, &c, false, false, 10, &f);
    check(&f, q, KINDS / 2, 10, false);
    gn_txn_abort(txn);

    kinds[gone] = 0;
    memcpy(vectors[gone], q, sizeof q);
    txn = begin(fx);
    r = (row){.id = gone, .name = "x", .n = 0, .v = vectors[gone]};
    ASSERT_OK(update(txn, t, gone, &r, &err), &err);
    assert_int_equal(commit(txn), GN_OK);
    txn = begin(fx);
    search(txn, t, q, &c, false, false, 10, &f);
    check(&f, q, KINDS / 2, 10, false);
    assert_int_equal(f.ids[0], gone);
    gn_txn_abort(txn);
    gn_buf_close(&c.key);
    free_table(t);
}

/* No row near the query matches: those that do are walked among, and ever fewer of them have to be read. */
static void rows_that_match_may_be_far(void **state)
{
    fixture *fx = *state;
    gn_table_desc *t = fill_table(fx, true);
    static found f;
    condition c;
    condition_init(&c, KINDS / 2);
    gn_txn *txn = begin(fx);
    uint64_t early = 0, late = 0;
    double recall = 0;
    for (int i = 0; i < 20; i++) {
        float q[DIMENSIONS];
        random_vector(q);
        q[0] = 3;
        search(txn, t, q, &c, false, false, 10, &f);
        check(&f, q, KINDS / 2, 10, false);
        double best[ROWS], last;
        size_t n = 0;
        for (int id = 0; id < ROWS; id++)
            if (kinds[id] < KINDS / 2)
                best[n++] = distance(q, id);
        qsort(best, n, sizeof *best, ascending);
        last = best[9] + 1e-4;
        for (size_t j = 0; j < f.n; j++)
            recall += distance(q, f.ids[j]) <= last ? 1.0 / 200 : 0;
        assert_true(f.stats.way == GN_VECTOR_BY_WALK || i == 0);
        if (i < 3)
            early += f.stats.fetched;
        else if (i >= 17)
            late += f.stats.fetched;
    }
    assert_true(recall >= 0.85);
    assert_true(early > 3 * late);
    gn_txn_abort(txn);
    gn_buf_close(&c.key);
    free_table(t);
}

/* Searches until the range has become a bitmap. */
static void search_until_told(gn_txn *txn, const gn_table_desc *t, condition *c, int64_t bound, found *f)
{
    f->stats.told = 0;
    for (int i = 0; i < 50 && f->stats.told == 0; i++) {
        float q[DIMENSIONS];
        random_vector(q);
        q[0] = 3;
        search(txn, t, q, c, true, false, 10, f);
        check(f, q, bound, 10, false);
    }
    assert_true(f->stats.told > 0);
}

static void set_kind(gn_txn *txn, const gn_table_desc *t, int64_t id, int64_t kind)
{
    gn_error err = {0};
    row r = {.id = id, .name = "x", .n = kind, .v = vectors[id]};
    ASSERT_OK(update(txn, t, id, &r, &err), &err);
    kinds[id] = kind;
}

static void ranges_become_a_bitmap(void **state)
{
    fixture *fx = *state;
    gn_table_desc *t = fill_table(fx, true);
    static found f;
    condition c;
    float q[DIMENSIONS] = {3};
    size_t n = 0;
    for (int i = 0; i < ROWS; i++)
        n += kinds[i] < KINDS / 2;
    condition_init(&c, KINDS / 2);
    c.whole = true;
    gn_txn *txn = begin(fx);
    search_until_told(txn, t, &c, KINDS / 2, &f);
    assert_int_equal(f.stats.told, n);
    search(txn, t, q, &c, true, false, 10, &f); /* nothing is read but the rows that are given */
    check(&f, q, KINDS / 2, 10, false);
    assert_int_equal(f.stats.way, GN_VECTOR_BY_WALK);
    assert_int_equal(f.stats.fetched, 10);
    gn_txn_abort(txn);
    gn_buf_close(&c.key);

    condition quarter, half; /* a filter of which the range is but a part: what is outside need not be read */
    condition_init(&quarter, KINDS / 4);
    condition_init(&half, KINDS / 2);
    quarter.range = half.range;
    txn = begin(fx);
    for (int i = 0; i < 20; i++) {
        random_vector(q);
        search(txn, t, q, &quarter, true, false, 10, &f);
        check(&f, q, KINDS / 4, 10, false);
        assert_int_equal(f.stats.told, n);
    }
    gn_txn_abort(txn);
    gn_buf_close(&quarter.key);
    gn_buf_close(&half.key);
    free_table(t);
}

static void bitmaps_go_together(void **state)
{
    enum { IDS = ROWS / 2, MOST = 200 };
    fixture *fx = *state;
    gn_table_desc *t = fill_table(fx, true);
    static found f;
    condition kind, id, other;
    condition_init(&kind, KINDS / 2);
    condition_init(&id, IDS);
    condition_and_id(&kind, &id);
    kind.whole = true;
    for (int i = IDS; i < ROWS; i++) /* for what looks at the results */
        kinds[i] = -1;
    gn_txn *txn = begin(fx);
    float q[DIMENSIONS];
    int searches = 0;
    do {
        random_vector(q);
        search(txn, t, q, &kind, true, false, 10, &f);
        check(&f, q, KINDS / 2, 10, false);
    } while (f.stats.bitmaps < 2 && ++searches < MOST);
    assert_in_range(searches, 2, MOST - 1);
    assert_int_equal(f.stats.way, GN_VECTOR_BY_WALK);
    assert_int_equal(f.stats.fetched, 10); /* nothing is read but the rows that are given */
    search(txn, t, q, &kind, true, true, 10, &f);
    check(&f, q, KINDS / 2, 10, true);

    condition_init(&other, KINDS / 2); /* another filter, in part with the same ranges: these are known */
    condition_and_id(&other, &id);
    other.less.args[1]->value.as.i64 = KINDS / 4;
    for (int i = 0; i < 20; i++) {
        random_vector(q);
        search(txn, t, q, &other, true, false, 10, &f);
        check(&f, q, KINDS / 4, 10, false);
        assert_int_equal(f.stats.bitmaps, 2);
    }
    gn_txn_abort(txn);
    gn_buf_close(&kind.key);
    gn_buf_close(&id.key);
    gn_buf_close(&other.key);
    free_table(t);
}

/* A bitmap made by a reader of the past is right for it, and for readers of what came since; also once the rows that
 * changed lie in segments, too. */
static void a_bitmap_is_right_at_every_moment(void **state)
{
    enum { CHANGED = 600 };
    fixture *fx = *state;
    gn_error err = {0};
    gn_table_desc *t = fill_table(fx, true);
    static found f;
    static int64_t before[ROWS], after[ROWS];
    condition c;
    float q[DIMENSIONS] = {3};
    condition_init(&c, KINDS / 2);
    c.whole = true;
    memcpy(before, kinds, sizeof kinds);
    gn_txn *past = begin(fx), *txn = begin(fx);
    for (int64_t id = 0; id < CHANGED; id++) {
        if (id % 3 == 2) {
            ASSERT_OK(erase(txn, t, id, &err), &err);
            kinds[id] = -1;
        } else {
            set_kind(txn, t, id, id % 3 ? 0 : KINDS - 1);
        }
    }
    assert_int_equal(commit(txn), GN_OK);
    memcpy(after, kinds, sizeof kinds);
    for (int built = 0; built < 2; built++) {
        memcpy(kinds, before, sizeof kinds);
        if (!built)
            search_until_told(past, t, &c, KINDS / 2, &f);
        for (int i = 0; i < 8; i++) {
            random_vector(q);
            memcpy(kinds, before, sizeof kinds);
            search(past, t, q, &c, true, false, 40, &f);
            check(&f, q, KINDS / 2, 40, false);
            memcpy(kinds, after, sizeof kinds);
            txn = begin(fx);
            search(txn, t, q, &c, true, false, 40, &f);
            check(&f, q, KINDS / 2, 40, false);
            gn_txn_abort(txn);
        }
        ASSERT_OK(gn_shard_vindex_build(fx->shard, I_V, NULL, NULL, NULL, &err), &err);
    }
    txn = begin(fx);
    search_until_told(txn, t, &c, KINDS / 2, &f);
    gn_txn_abort(txn);
    gn_txn_abort(past);
    gn_buf_close(&c.key);
    free_table(t);
}

static void a_search_ends_when_it_is_canceled(void **state)
{
    fixture *fx = *state;
    gn_table_desc *t = filled_table(fx);
    _Atomic bool cancel = false;
    static found f;
    float q[DIMENSIONS] = {0};
    condition none;
    condition_init(&none, 0);
    gn_txn *txn = begin_with(fx, &(gn_txn_options){.cancel = &cancel, .read_only = true});
    cancel = true;
    for (int ranges = 0; ranges < 2; ranges++) {
        search(txn, t, q, &none, ranges, false, 10, &f);
        assert_int_equal(f.code, GN_CANCELED);
    }
    gn_txn_abort(txn);
    gn_buf_close(&none.key);
    free_table(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(as_many_rows_come_as_match, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(the_way_follows_from_how_many_match, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(own_writes_are_judged, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_filter_that_comes_again_is_remembered, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(rows_that_match_may_be_far, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(ranges_become_a_bitmap, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(bitmaps_go_together, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_bitmap_is_right_at_every_moment, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_search_ends_when_it_is_canceled, fixture_setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
