/* Stating recall: targets are met, survive a restart, follow the owner's queries; and sizes are as estimated. */
#include "index/vector_index_private.h"
#include "tests/index/vindex_fixture.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N = 4000, DIM = 48, QUERIES = 200 };

static void build(fixture *f)
{
    gn_error err = {0};
    if (gn_vindex_build(f->index, NULL, NULL, NULL, &err) != GN_OK)
        fail_msg("build: %s", err.message);
}

static float *fill_with(fixture *f, model *m, gn_code_kind codes, bool halves)
{
    float *v = clustered_vectors(41, N + QUERIES, DIM, 25);
    if (halves)
        round_to_halves(v, (size_t)(N + QUERIES) * DIM);
    *m = (model){.metric = GN_METRIC_L2, .dimensions = DIM};
    f->options =
        (gn_vindex_options){.metric = GN_METRIC_L2, .dimensions = DIM, .m = 6, .ef_construction = 30, .codes = codes};
    f->options.tail_rows = 1u << 20;
    f->options.halves = halves;
    fixture_open(f);
    for (uint32_t i = 0; i < N; i++)
        insert_row(f, m, i, 0, 10, v + (size_t)i * DIM);
    build(f);
    return v;
}

static float *fill(fixture *f, model *m, gn_code_kind codes)
{
    return fill_with(f, m, codes, false);
}

typedef struct outcome {
    double recall, promised;
    uint32_t ef;
} outcome;

static outcome search_for(fixture *f, const model *m, const float *queries, float target)
{
    const gn_branch_at at = {.branch = 0, .scn = 1000};
    gn_vview *view = gn_vview_acquire(f->index);
    gn_arena *arena = gn_arena_create(NULL);
    outcome out = {.promised = 1};
    size_t hits = 0;
    for (uint32_t q = 0; q < QUERIES; q++) {
        result want[10];
        gn_neighbor *found;
        gn_vsearch_stats stats;
        size_t n;
        gn_vsearch s = {.query = queries + (size_t)q * DIM,
                        .k = 10,
                        .target_recall = target,
                        .chain = &at,
                        .n_chain = 1,
                        .arena = arena};
        assert_int_equal(model_search(m, s.query, 10, &at, 1, 0, want), 10);
        assert_int_equal(gn_vview_search(view, &s, &found, &n, &stats, NULL), GN_OK);
        assert_int_equal(n, 10);
        for (size_t i = 0; i < n; i++)
            hits += found[i].distance <= want[9].distance * 1.00001f;
        out.ef = stats.ef;
        out.promised = stats.recall;
        gn_arena_reset(arena);
    }
    out.recall = (double)hits / (10.0 * QUERIES);
    gn_vview_release(view);
    gn_arena_destroy(arena);
    return out;
}

static void a_target_is_met_with_the_effort_it_takes(void **state)
{
    fixture *f = *state;
    static const float targets[] = {0.70f, 0.80f, 0.90f, 0.95f, 0.98f, 0.99f};
    static const gn_code_kind kinds[] = {GN_CODES_AUTO, GN_CODES_FLOAT32, GN_CODES_SQ4, GN_CODES_BINARY};
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        model m;
        float *v = fill(f, &m, kinds[k]);
        uint32_t least = UINT32_MAX, most = 0;
        for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
            outcome o = search_for(f, &m, v + (size_t)N * DIM, targets[i]);
            if (o.recall < (double)targets[i] - 0.02) /* the promise is of the expectation */
                fail_msg("%s: target %g, ef %u, recall %g", gn_code_kind_name(kinds[k]), (double)targets[i], o.ef,
                         o.recall);
            assert_true(o.promised >= (double)targets[i] - 1e-6);
            if (o.ef) {
                least = o.ef < least ? o.ef : least;
                most = o.ef > most ? o.ef : most;
            }
            if (getenv("SHOW"))
                print_message("%-8s target %.2f ef %3u recall %.4f promised %.4f\n", gn_code_kind_name(kinds[k]),
                              (double)targets[i], o.ef, o.recall, o.promised);
        }
        assert_true(least < most);
        fixture_close(f, false);
        assert_int_equal(gn_vindex_wipe(f->dir, NULL), GN_OK);
        model_close(&m);
        free(v);
    }
}

static void calibration_survives_a_restart(void **state)
{
    fixture *f = *state;
    model m;
    float *v = fill(f, &m, GN_CODES_AUTO);
    gn_vindex_stats before, after;
    gn_vindex_set_position(f->index, 20);
    gn_vindex_stats_get(f->index, &before);
    assert_true(before.recall > 0.5f && before.recall < 1);
    fixture_reopen(f, true);
    gn_vindex_stats_get(f->index, &after);
    assert_true(before.recall == after.recall);
    assert_int_equal(gn_vindex_verify(f->index, NULL, NULL), GN_OK);
    assert_int_equal(before.code_bytes + before.link_bytes + before.vector_bytes + before.other_bytes > 0, true);
    assert_true(after.disk_bytes - after.code_bytes - after.link_bytes - after.vector_bytes - after.other_bytes <
                (uint64_t)GN_SEGMENT_PAGE * 20);
    for (uint32_t i = 0; i < 300; i++) /* a segment too small to be calibrated */
        insert_row(f, NULL, N + i, 0, 20, v + (size_t)i * DIM);
    build(f);
    gn_vindex_stats_get(f->index, &after);
    assert_int_equal(after.tail_vectors, 0);
    assert_true(after.recall > 0.5f && after.recall < 1);
    model_close(&m);
    free(v);
}

/* Queries from elsewhere are harder: the calibration by them says so. */
static void the_owners_queries_change_what_is_promised(void **state)
{
    fixture *f = *state;
    model m;
    float *v = fill(f, &m, GN_CODES_AUTO), *far = uniform_vectors(9, QUERIES, DIM);
    gn_vindex_stats own, others;
    gn_vindex_stats_get(f->index, &own);
    assert_int_equal(gn_vindex_calibrate(f->index, far, QUERIES, NULL, NULL), GN_OK);
    gn_vindex_stats_get(f->index, &others);
    assert_true(own.recall != others.recall);
    outcome o = search_for(f, &m, far, 0.90f);
    assert_true(o.recall > 0.88);
    far[3] = NAN;
    assert_int_equal(gn_vindex_calibrate(f->index, far, QUERIES, NULL, NULL), GN_BAD_VECTOR);
    assert_int_equal(gn_vindex_calibrate(f->index, far, 0, NULL, NULL), GN_INVALID_PARAMETER);
    assert_int_equal(gn_vindex_calibrate(f->index, NULL, 1u << 30, NULL, NULL), GN_INVALID_PARAMETER);
    const _Atomic bool stop = true;
    assert_int_equal(gn_vindex_calibrate(f->index, NULL, 0, &stop, NULL), GN_CANCELED);
    assert_int_equal(gn_vindex_calibrate(f->index, NULL, 0, NULL, NULL), GN_OK);
    gn_vindex_stats_get(f->index, &others);
    assert_true(own.recall == others.recall);
    model_close(&m);
    free(v);
    free(far);
}

/* Against a fresh build of what is left, by the same effort. */
static void deletes_leave_the_recall_of_a_fresh_build(void **state)
{
    fixture *f = *state;
    static const uint32_t kept_of_ten[] = {8, 5, 1}; /* bridged, and made anew */
    for (size_t i = 0; i < sizeof kept_of_ten / sizeof kept_of_ten[0]; i++) {
        model m, fresh = {.metric = GN_METRIC_L2, .dimensions = DIM};
        float *v = fill(f, &m, GN_CODES_AUTO);
        for (uint32_t id = 0; id < N; id++) {
            if (id * 2654435761u >> 16 & 1 ? id % 10 >= kept_of_ten[i] : (id + 5) % 10 >= kept_of_ten[i])
                end_row(f, &m, id, 0, 20);
        }
        gn_vindex_set_horizon(f->index, 20);
        build(f);
        double merged = recall(f, &m, v + (size_t)N * DIM, QUERIES / 2, 10, 30, 1000, 0);
        fixture_close(f, false);
        assert_int_equal(gn_vindex_wipe(f->dir, NULL), GN_OK);
        fixture_open(f);
        for (size_t r = 0; r < m.n; r++) {
            if (m.rows[r].end == OPEN_END)
                insert_row(f, &fresh, m.rows[r].id, 0, 10, m.rows[r].vector);
        }
        build(f);
        double anew = recall(f, &fresh, v + (size_t)N * DIM, QUERIES / 2, 10, 30, 1000, 0);
        if (merged < 0.95 * anew)
            fail_msg("%u of 10 kept: recall %g, of a fresh build %g", kept_of_ten[i], merged, anew);
        fixture_close(f, false);
        assert_int_equal(gn_vindex_wipe(f->dir, NULL), GN_OK);
        model_close(&m);
        model_close(&fresh);
        free(v);
    }
}

static void impossible_targets_are_refused(void **state)
{
    fixture *f = *state;
    f->options = (gn_vindex_options){.metric = GN_METRIC_L2, .dimensions = DIM};
    fixture_open(f);
    const gn_branch_at at = {.scn = 1};
    const float zero[DIM] = {0}, bad[] = {1, 2, -0.5f, NAN, INFINITY};
    gn_vview *view = gn_vview_acquire(f->index);
    gn_arena *arena = gn_arena_create(NULL);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        gn_neighbor *found;
        size_t n;
        gn_vsearch s = {.query = zero, .k = 1, .target_recall = bad[i], .chain = &at, .n_chain = 1, .arena = arena};
        assert_int_equal(gn_vview_search(view, &s, &found, &n, NULL, NULL), GN_INVALID_PARAMETER);
    }
    gn_vview_release(view);
    gn_arena_destroy(arena);
}

static float distance_of_first(fixture *f, const float *query, float target, bool exact)
{
    const gn_branch_at at = {.branch = 0, .scn = 1000};
    gn_vview *view = gn_vview_acquire(f->index);
    gn_arena *arena = gn_arena_create(NULL);
    gn_neighbor *found;
    size_t n;
    gn_vsearch s = {
        .query = query, .k = 1, .target_recall = target, .exact = exact, .chain = &at, .n_chain = 1, .arena = arena};
    assert_int_equal(gn_vview_search(view, &s, &found, &n, NULL, NULL), GN_OK);
    assert_int_equal(n, 1);
    float distance = found[0].distance;
    gn_vview_release(view);
    gn_arena_destroy(arena);
    return distance;
}

static void halves_are_calibrated_and_nothing_of_them_is_lost(void **state)
{
    fixture *f = *state;
    model m;
    float *v = fill_with(f, &m, GN_CODES_AUTO, true);
    outcome got = search_for(f, &m, v + (size_t)N * DIM, 0.95F);
    if (got.promised < 0.95 || got.recall < 0.95 - 0.02) /* the promise is of the expectation */
        fail_msg("recall %.4f, promised %.4f", got.recall, got.promised);
    for (uint32_t i = 0; i < N; i += 400) {
        assert_true(distance_of_first(f, v + (size_t)i * DIM, 0, false) == 0);
        assert_true(distance_of_first(f, v + (size_t)i * DIM, 0, true) == 0);
    }
    model_close(&m);
    free(v);
}

static void sizes_are_as_estimated(void **state)
{
    fixture *f = *state;
    static const gn_code_kind kinds[] = {GN_CODES_FLOAT32, GN_CODES_SQ8,     GN_CODES_SQ4,     GN_CODES_RABITQ,
                                         GN_CODES_BINARY,  GN_CODES_PRODUCT, GN_CODES_FLOAT32, GN_CODES_SQ4};
    enum { KINDS = sizeof kinds / sizeof kinds[0], OF_FLOATS = 6 };
    for (size_t i = 0; i < KINDS; i++) {
        model m;
        float *v = fill_with(f, &m, kinds[i], i >= OF_FLOATS);
        gn_vindex_estimate e;
        gn_vindex_stats s;
        assert_int_equal(gn_vindex_estimate_of(&f->options, N, 9, &e, NULL), GN_OK);
        gn_vindex_stats_get(f->index, &s);
        assert_int_equal(s.codes, kinds[i]);
        assert_int_equal(s.vector_bytes, (uint64_t)N * DIM * (i < OF_FLOATS ? sizeof(float) : sizeof(uint16_t)));
        double ratio = (double)e.file_bytes / (double)s.disk_bytes;
        if (ratio < 0.9 || ratio > 1.1)
            fail_msg("%s: estimated %lu, is %lu", gn_code_kind_name(kinds[i]), (unsigned long)e.file_bytes,
                     (unsigned long)s.disk_bytes);
        fixture_close(f, false);
        assert_int_equal(gn_vindex_wipe(f->dir, NULL), GN_OK);
        model_close(&m);
        free(v);
    }
    gn_vindex_estimate e;
    assert_int_equal(gn_vindex_estimate_of(&(gn_vindex_options){.metric = GN_METRIC_L2}, N, 9, &e, NULL),
                     GN_INVALID_PARAMETER);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_target_is_met_with_the_effort_it_takes),
        TEST(calibration_survives_a_restart),
        TEST(the_owners_queries_change_what_is_promised),
        TEST(impossible_targets_are_refused),
        TEST(sizes_are_as_estimated),
        TEST(halves_are_calibrated_and_nothing_of_them_is_lost),
        TEST(deletes_leave_the_recall_of_a_fresh_build),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
