/* The vector index as its owner uses it: insert, end, build, search. */
#include "tests/index/vindex_fixture.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t NOW = 1u << 30;

static void fill(fixture *f, model *m, const float *vectors, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        insert_row(f, m, i, 0, 10 + i, vectors + (size_t)i * m->dimensions);
}

static void build(fixture *f)
{
    gn_error err = {0};
    if (gn_vindex_build(f->index, NULL, NULL, NULL, &err) != GN_OK)
        fail_msg("build: %s", err.message);
}

static void recall_is_high_for_each_metric(void **state)
{
    fixture *f = *state;
    static const gn_metric_kind metrics[] = {GN_METRIC_L2, GN_METRIC_IP, GN_METRIC_COSINE};
    enum { N = 4000, DIM = 32, QUERIES = 50 };
    float *v = clustered_vectors(7, N + QUERIES, DIM, 40);
    for (size_t i = 0; i < 3; i++) {
        model m = {.metric = metrics[i], .dimensions = DIM};
        f->options = (gn_vindex_options){.metric = metrics[i], .dimensions = DIM, .seed = 1, .tail_rows = 1u << 20};
        fixture_open(f);
        fill(f, &m, v, N);
        assert_true(recall(f, &m, v + N * DIM, QUERIES, 10, 100, NOW, 0) == 1); /* the tail is exact */
        build(f);
        gn_vindex_stats stats;
        gn_vindex_stats_get(f->index, &stats);
        assert_int_equal(stats.segments, 1);
        assert_int_equal(stats.tail_vectors, 0);
        assert_int_equal(stats.vectors, N);
        double r = recall(f, &m, v + N * DIM, QUERIES, 10, 100, NOW, 0);
        if (r < 0.95)
            fail_msg("recall@10 by metric %d at ef 100 is %g", (int)metrics[i], r);
        fixture_close(f, false);
        assert_int_equal(gn_vindex_wipe(f->dir, NULL), GN_OK);
        model_close(&m);
    }
    free(v);
}

static void a_vector_is_found_right_after_its_insert(void **state)
{
    fixture *f = *state;
    enum { N = 600, DIM = 8 };
    float *v = uniform_vectors(3, N, DIM);
    f->options = (gn_vindex_options){.metric = GN_METRIC_L2, .dimensions = DIM, .tail_rows = 100};
    fixture_open(f);
    for (uint32_t i = 0; i < N; i++) {
        insert_row(f, NULL, i, 0, i + 1, v + i * DIM);
        result r;
        gn_branch_at at = {.branch = 0, .scn = i + 1}, before = {.branch = 0, .scn = i};
        assert_int_equal(search(f, v + i * DIM, 1, 0, false, &at, 1, 0, &r), 1);
        assert_int_equal(r.id, i);
        assert_true(r.distance == 0);
        size_t n = search(f, v + i * DIM, 1, 0, false, &before, 1, 0, &r);
        assert_true(n == 0 || r.id != i); /* not before its time */
    }
    free(v);
}

static void ended_versions_are_seen_only_before_their_end(void **state)
{
    fixture *f = *state;
    enum { N = 500, DIM = 16 };
    float *v = clustered_vectors(11, 2 * N, DIM, 10);
    model m = {.metric = GN_METRIC_L2, .dimensions = DIM};
    f->options = (gn_vindex_options){.metric = GN_METRIC_L2, .dimensions = DIM, .tail_rows = 1u << 20};
    fixture_open(f);
    for (uint32_t i = 0; i < N; i++)
        insert_row(f, &m, i, 0, 10, v + i * DIM);
    build(f);
    for (uint32_t i = 0; i < N; i += 2) { /* updated at 20, in the order end, insert or insert, end */
        if (i % 4)
            insert_row(f, &m, i, 0, 20, v + (N + i) * DIM);
        end_row(f, &m, i, 0, 20);
        if (i % 4 == 0)
            insert_row(f, &m, i, 0, 20, v + (N + i) * DIM);
    }
    for (uint32_t i = 0; i < N; i += 5)
        end_row(f, &m, i, 0, 30);
    for (int round = 0; round < 2; round++) {
        for (uint64_t scn = 5; scn <= 35; scn += 5) {
            gn_branch_at at = {.branch = 0, .scn = scn};
            for (uint32_t q = 0; q < 10; q++)
                assert_same_as_model(f, &m, v + q * 50 * DIM, 20, &at, 1);
            assert_true(recall(f, &m, v, 20, 10, 200, scn, 0) > 0.95);
        }
        build(f);
    }
    model_close(&m);
    free(v);
}

static void dead_versions_are_dropped_below_the_horizon_alone(void **state)
{
    fixture *f = *state;
    enum { N = 400, DIM = 16 };
    float *v = clustered_vectors(5, N, DIM, 8);
    model m = {.metric = GN_METRIC_L2, .dimensions = DIM};
    f->options = (gn_vindex_options){.metric = GN_METRIC_L2, .dimensions = DIM, .tail_rows = 1u << 20};
    fixture_open(f);
    fill(f, &m, v, N);
    build(f);
    for (uint32_t i = 0; i < N; i++) {
        if (i % 4)
            end_row(f, &m, i, 0, i % 2 ? 1000 : 2000);
    }
    gn_vindex_set_horizon(f->index, 1500);
    build(f); /* half of the segment is dead: it is rewritten */
    gn_vindex_stats stats;
    gn_vindex_stats_get(f->index, &stats);
    assert_int_equal(stats.vectors, N / 2);
    assert_int_equal(stats.dead_vectors, N / 4); /* still seen between 1500 and 2000 */
    assert_true(recall(f, &m, v, 20, 10, 200, 1700, 0) > 0.95);
    assert_true(recall(f, &m, v, 20, 10, 200, NOW, 0) > 0.95);
    model_close(&m);
    free(v);
}

static void every_live_version_is_reachable_after_few_deaths_too(void **state)
{
    fixture *f = *state;
    enum { N = 2000, DIM = 16 };
    float *v = clustered_vectors(6, N + 600, DIM, 20);
    model m = {.metric = GN_METRIC_L2, .dimensions = DIM};
    f->options = (gn_vindex_options){.metric = GN_METRIC_L2, .dimensions = DIM, .tail_rows = 1u << 20};
    fixture_open(f);
    fill(f, &m, v, N);
    build(f);
    for (uint32_t i = 0; i < N; i += 5) /* a fifth: the graph is kept and bridged */
        end_row(f, &m, i, 0, 5000);
    gn_vindex_set_horizon(f->index, 6000);
    for (uint32_t i = 0; i < 600; i++)
        insert_row(f, &m, N + i, 0, 6000 + i, v + (N + i) * DIM);
    build(f);
    gn_vindex_stats stats;
    gn_vindex_stats_get(f->index, &stats);
    assert_int_equal(stats.segments, 1);
    assert_int_equal(stats.dead_vectors, 0);
    assert_int_equal(stats.vectors, N - N / 5 + 600);
    double r = recall(f, &m, v, 100, 10, 100, NOW, 0);
    if (r < 0.95)
        fail_msg("recall@10 after bridging is %g", r);
    model_close(&m);
    free(v);
}

static void extending_a_small_graph_by_a_large_tail_keeps_both_reachable(void **state)
{
    fixture *f = *state;
    enum { N = 3000, DIM = 16 };
    float *v = clustered_vectors(31, N, DIM, 30);
    model m = {.metric = GN_METRIC_L2, .dimensions = DIM};
    f->options = (gn_vindex_options){.metric = GN_METRIC_L2, .dimensions = DIM, .tail_rows = 1u << 20};
    fixture_open(f);
    for (uint32_t i = 0; i < N; i++) {
        insert_row(f, &m, i, 0, 10 + i, v + i * DIM);
        if (i == 299)
            build(f);
    }
    build(f);
    double r = recall(f, &m, v, 100, 10, 64, NOW, 0);
    if (r < 0.97)
        fail_msg("recall@10 is %g", r);
    model_close(&m);
    free(v);
}

static void a_filter_never_makes_the_result_short(void **state)
{
    fixture *f = *state;
    enum { N = 3000, DIM = 16 };
    float *v = clustered_vectors(9, N, DIM, 30);
    model m = {.metric = GN_METRIC_L2, .dimensions = DIM};
    f->options = (gn_vindex_options){.metric = GN_METRIC_L2, .dimensions = DIM, .tail_rows = 1u << 20};
    fixture_open(f);
    fill(f, &m, v, N);
    build(f);
    static const uint32_t modulos[] = {2, 10, 100, 1000, 5000};
    for (size_t i = 0; i < sizeof modulos / sizeof modulos[0]; i++) {
        double r = recall(f, &m, v, 20, 10, 100, NOW, modulos[i]); /* asserts the count */
        if (r < 0.95)
            fail_msg("recall@10 with 1 of %u matching is %g", modulos[i], r);
    }
    model_close(&m);
    free(v);
}

static void branches_hide_what_their_ancestors_have(void **state)
{
    fixture *f = *state;
    enum { N = 200, DIM = 8 };
    float *v = uniform_vectors(21, 3 * N, DIM);
    model m = {.metric = GN_METRIC_COSINE, .dimensions = DIM};
    f->options = (gn_vindex_options){.metric = GN_METRIC_COSINE, .dimensions = DIM, .tail_rows = 1u << 20};
    fixture_open(f);
    for (uint32_t i = 0; i < N; i++)
        insert_row(f, &m, i, 0, 10, v + i * DIM);
    build(f);
    /* Branch 7 forks from the root at 50: updates some rows, deletes some, adds some; the root goes on by itself. */
    for (uint32_t i = 0; i < N; i++) {
        if (i % 5 == 0)
            insert_row(f, &m, i, 7, 60, v + (N + i) * DIM);
        if (i % 10 == 0)
            end_row(f, &m, i, 7, 70); /* updated, then deleted in the branch */
        if (i % 3 == 0) {
            end_row(f, &m, i, 0, 65);
            insert_row(f, &m, i, 0, 65, v + (2 * N + i) * DIM);
        }
        if (i % 7 == 0) { /* deleted in the branch, where it never had a version */
            char key[16];
            assert_int_equal(gn_vindex_hide(f->index, key_of(i, key), 7, 80, NULL), GN_OK);
            end_row(f, &m, i, 7, 80);
            m.rows = realloc(m.rows, (m.cap += 1) * sizeof *m.rows);
            m.rows[m.n++] = (model_row){.id = i, .branch = 7, .begin = 80, .end = OPEN_END};
        }
    }
    for (int round = 0; round < 4; round++) {
        for (uint64_t scn = 40; scn <= 100; scn += 5) {
            gn_branch_at root = {.branch = 0, .scn = scn};
            gn_branch_at chain[] = {{.branch = 7, .scn = scn}, {.branch = 0, .scn = scn < 50 ? scn : 50}};
            if (round == 3 && scn < 50)
                continue; /* beyond the horizon */
            assert_same_as_model(f, &m, v, N, &root, 1);
            assert_same_as_model(f, &m, v, N, chain, 2);
        }
        if (round == 1)
            fixture_reopen(f, true);
        if (round == 2)
            gn_vindex_set_horizon(f->index, 50); /* the fork pins it */
        if (round != 1)
            build(f);
    }
    model_close(&m);
    free(v);
}

static void a_dead_version_of_a_branch_goes_on_hiding(void **state)
{
    fixture *f = *state;
    enum { N = 40, DIM = 8 };
    float *v = uniform_vectors(22, 2 * N, DIM);
    model m = {.metric = GN_METRIC_L2, .dimensions = DIM};
    f->options = (gn_vindex_options){.metric = GN_METRIC_L2, .dimensions = DIM, .tail_rows = 1u << 20};
    fixture_open(f);
    for (uint32_t i = 0; i < N; i++)
        insert_row(f, &m, i, 0, 10, v + i * DIM);
    for (uint32_t i = 0; i < N; i += 2) {
        insert_row(f, &m, i, 7, 60, v + (N + i) * DIM);
        end_row(f, &m, i, 7, 70);
        if (i % 4 == 0)
            insert_row(f, &m, i, 7, 75, v + (N + i) * DIM);
    }
    gn_vindex_set_horizon(f->index, 80); /* the root never changed, so nobody reads below this */
    for (int round = 0; round < 3; round++) {
        gn_branch_at chain[] = {{.branch = 7, .scn = 90}, {.branch = 0, .scn = 50}};
        assert_same_as_model(f, &m, v, N, chain, 2);
        assert_same_as_model(f, &m, v, N, chain + 1, 1);
        insert_row(f, &m, N + (uint32_t)round, 0, 85, v);
        build(f);
    }
    gn_vindex_stats stats;
    gn_vindex_stats_get(f->index, &stats);
    assert_int_equal(stats.dead_vectors, 0);
    model_close(&m);
    free(v);
}

static void odd_requests_are_answered(void **state)
{
    fixture *f = *state;
    enum { DIM = 4 };
    const float v[DIM] = {1, 2, 3, 4}, zero[DIM] = {0}, nan[DIM] = {1, NAN, 0, 0}, inf[DIM] = {INFINITY, 0, 0, 0};
    const float huge[DIM] = {3e38f, -3e38f, 3e38f, 3e38f}, tiny[DIM] = {1e-40f, 0, 0, 0};
    gn_error err = {0};
    char key[16];
    result r[64];
    gn_branch_at at = {.branch = 0, .scn = NOW};

    f->options = (gn_vindex_options){.metric = GN_METRIC_COSINE, .dimensions = DIM};
    fixture_open(f);
    assert_int_equal(search(f, v, 10, 0, false, &at, 1, 0, r), 0); /* empty */
    assert_int_equal(gn_vindex_build(f->index, NULL, NULL, NULL, &err), GN_OK);
    assert_int_equal(gn_vindex_insert(f->index, key_of(1, key), 0, 1, nan, &err), GN_BAD_VECTOR);
    assert_int_equal(gn_vindex_insert(f->index, key_of(1, key), 0, 1, inf, &err), GN_BAD_VECTOR);
    assert_int_equal(gn_vindex_insert(f->index, key_of(1, key), 0, 1, zero, &err), GN_OK);
    assert_int_equal(search(f, v, 10, 0, false, &at, 1, 0, r), 0); /* a zero vector has no cosine */
    insert_row(f, NULL, 2, 0, 2, huge);
    insert_row(f, NULL, 3, 0, 2, tiny);
    insert_row(f, NULL, 4, 0, 2, v);
    insert_row(f, NULL, 4, 0, 2, v); /* a repetition */
    for (int round = 0; round < 2; round++) {
        assert_int_equal(search(f, v, 64, 0, false, &at, 1, 0, r), 3); /* k > n */
        assert_int_equal(r[0].id, 4);
        assert_true(fabsf(r[0].distance) < 1e-6f);
        assert_int_equal(search(f, zero, 64, 0, false, &at, 1, 0, r), 3);
        assert_true(isnan(r[0].distance));
        assert_int_equal(gn_vindex_build(f->index, NULL, NULL, NULL, &err), GN_OK);
    }
    gn_vview *view = gn_vview_acquire(f->index);
    gn_arena *arena = gn_arena_create(NULL);
    gn_neighbor *found;
    size_t n;
    gn_vsearch s = {.query = nan, .k = 1, .chain = &at, .n_chain = 1, .arena = arena};
    assert_int_equal(gn_vview_search(view, &s, &found, &n, NULL, &err), GN_BAD_VECTOR);
    s.query = v;
    s.k = 0;
    assert_int_equal(gn_vview_search(view, &s, &found, &n, NULL, &err), GN_INVALID_PARAMETER);
    s.k = UINT32_MAX;
    assert_int_equal(gn_vview_search(view, &s, &found, &n, NULL, &err), GN_INVALID_PARAMETER);
    s.k = 1;
    s.ef = UINT32_MAX;
    assert_int_equal(gn_vview_search(view, &s, &found, &n, NULL, &err), GN_INVALID_PARAMETER);
    s.ef = 100000;
    assert_int_equal(gn_vview_search(view, &s, &found, &n, NULL, &err), GN_OK);
    gn_arena_destroy(arena);
    gn_vview_release(view);

    gn_vindex *other = NULL;
    gn_vindex_options bad = f->options;
    bad.dimensions = 0;
    assert_int_equal(gn_vindex_open(f->world, f->dir, &bad, &other, &err), GN_INVALID_PARAMETER);
    bad.dimensions = 16001;
    assert_int_equal(gn_vindex_open(f->world, f->dir, &bad, &other, &err), GN_INVALID_PARAMETER);
    bad = f->options;
    bad.m = 1000;
    assert_int_equal(gn_vindex_open(f->world, f->dir, &bad, &other, &err), GN_INVALID_PARAMETER);
    fixture_close(f, true);
    bad = f->options;
    bad.dimensions = 5;
    assert_int_equal(gn_vindex_open(f->world, f->dir, &bad, &other, &err), GN_INVALID_PARAMETER);
}

/* Sums of such vectors overflow; the pairs are infinitely far apart, and still every row is a result. */
static void overflowing_distances_do_not_lose_rows(void **state)
{
    fixture *f = *state;
    enum { N = 300, DIM = 3 };
    f->options = (gn_vindex_options){.metric = GN_METRIC_IP, .dimensions = DIM, .tail_rows = 1u << 20};
    fixture_open(f);
    for (uint32_t i = 0; i < N; i++) {
        float v[DIM] = {i % 2 ? 3e38f : -3e38f, i % 3 ? 3e38f : 1, i % 5 ? -3e38f : 2};
        insert_row(f, NULL, i, 0, 1, v);
    }
    const float q[DIM] = {3e38f, 3e38f, 1e38f};
    gn_branch_at at = {.branch = 0, .scn = NOW};
    result r[N + 1];
    for (int round = 0; round < 2; round++) {
        assert_int_equal(search(f, q, N + 1, 0, false, &at, 1, 0, r), N);
        assert_int_equal(search(f, q, 10, 0, false, &at, 1, 0, r), 10);
        build(f);
    }
}

static void duplicates_are_all_found(void **state)
{
    fixture *f = *state;
    enum { N = 1000, DIM = 8 };
    const float same[DIM] = {1, 2, 3, 4, 5, 6, 7, 8};
    f->options = (gn_vindex_options){.metric = GN_METRIC_L2, .dimensions = DIM, .tail_rows = 1u << 20};
    fixture_open(f);
    for (uint32_t i = 0; i < N; i++)
        insert_row(f, NULL, i, 0, 1 + i, same);
    gn_branch_at at = {.branch = 0, .scn = NOW};
    static result r[N];
    for (int round = 0; round < 2; round++) {
        assert_int_equal(search(f, same, 700, 0, false, &at, 1, 0, r), 700);
        assert_int_equal(search(f, same, N, 0, true, &at, 1, 0, r), N);
        for (uint32_t i = 0; i < N; i++)
            assert_int_equal(r[i].id, i); /* ties by key */
        build(f);
    }
}

static void segments_stay_few_while_the_index_grows(void **state)
{
    fixture *f = *state;
    enum { N = 6000, DIM = 8 };
    float *v = clustered_vectors(13, N, DIM, 20);
    model m = {.metric = GN_METRIC_L2, .dimensions = DIM};
    f->options = (gn_vindex_options){.metric = GN_METRIC_L2, .dimensions = DIM, .tail_rows = 100};
    fixture_open(f);
    size_t most = 0;
    for (uint32_t i = 0; i < N; i++) {
        insert_row(f, &m, i, 0, 10 + i, v + i * DIM);
        if (i % 100 == 99) {
            gn_vindex_stats stats;
            build(f);
            gn_vindex_stats_get(f->index, &stats);
            most = stats.segments > most ? stats.segments : most;
        }
    }
    assert_in_range(most, 1, 4);
    assert_true(recall(f, &m, v, 50, 10, 64, NOW, 0) > 0.95);
    model_close(&m);
    free(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(recall_is_high_for_each_metric, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_vector_is_found_right_after_its_insert, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(ended_versions_are_seen_only_before_their_end, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(dead_versions_are_dropped_below_the_horizon_alone, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(every_live_version_is_reachable_after_few_deaths_too, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(extending_a_small_graph_by_a_large_tail_keeps_both_reachable, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(a_filter_never_makes_the_result_short, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(branches_hide_what_their_ancestors_have, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_dead_version_of_a_branch_goes_on_hiding, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(odd_requests_are_answered, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(overflowing_distances_do_not_lose_rows, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(duplicates_are_all_found, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(segments_stay_few_while_the_index_grows, fixture_setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
