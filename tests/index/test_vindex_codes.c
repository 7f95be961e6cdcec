/* Every kind of codes by every metric through the life of an index; and the searches beside the plain one. */
#include "base/limits.h"
#include "tests/index/vindex_fixture.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N = 1500, DIM = 64, QUERIES = 20, EF = 100 };

typedef struct coding {
    gn_code_kind kind;
    uint32_t bits, centroids;
    bool rotate;
    double good; /* recall@10 at EF, at least */
} coding;

static const coding codings[] = {
    {GN_CODES_AUTO, 0, 0, false, 0.97},      {GN_CODES_FLOAT32, 0, 0, false, 0.98},
    {GN_CODES_FLOAT16, 0, 0, false, 0.98},   {GN_CODES_BFLOAT16, 0, 0, false, 0.98},
    {GN_CODES_SQ8, 0, 0, false, 0.98},       {GN_CODES_SQ4, 0, 0, false, 0.97},
    {GN_CODES_REDUCED, 0, 0, false, 0.97},   {GN_CODES_RABITQ, 1, 0, false, 0.80},
    {GN_CODES_RABITQ, 2, 0, false, 0.95},    {GN_CODES_RABITQ, 3, 0, false, 0.97},
    {GN_CODES_RABITQ, 4, 0, false, 0.97},    {GN_CODES_BINARY, 0, 0, false, 0.40},
    {GN_CODES_PRODUCT, 0, 256, false, 0.95}, {GN_CODES_PRODUCT, 0, 16, true, 0.85},
};
static const gn_metric_kind metrics[] = {GN_METRIC_L2, GN_METRIC_IP, GN_METRIC_COSINE};

static void build(fixture *f)
{
    gn_error err = {0};
    if (gn_vindex_build(f->index, NULL, NULL, NULL, &err) != GN_OK)
        fail_msg("build: %s", err.message);
}

static void open_coded(fixture *f, const coding *c, gn_metric_kind metric)
{
    f->options = (gn_vindex_options){.metric = metric,
                                     .dimensions = DIM,
                                     .seed = 1,
                                     .tail_rows = 1u << 20,
                                     .codes = c->kind,
                                     .code_bits = c->bits,
                                     .pq_centroids = c->centroids,
                                     .pq_rotate = c->rotate};
    fixture_open(f);
}

static void must_find(fixture *f, const model *m, const float *queries, const coding *c, uint64_t scn, uint32_t modulo,
                      const char *when)
{
    double r = recall(f, m, queries, QUERIES, 10, EF, scn, modulo);
    if (r < c->good)
        fail_msg("%s of %u bits, %u centroids, by metric %d, %s: recall %g", gn_code_kind_name(c->kind), c->bits,
                 c->centroids, (int)m->metric, when, r);
    if (getenv("SHOW"))
        print_message("%-8s %u %3u metric %d %-28s %.3f\n", gn_code_kind_name(c->kind), c->bits, c->centroids,
                      (int)m->metric, when, r);
}

static void live(fixture *f, const coding *c, gn_metric_kind metric, const float *v)
{
    const float *queries = v + (size_t)2 * N * DIM;
    model m = {.metric = metric, .dimensions = DIM};
    open_coded(f, c, metric);
    for (uint32_t i = 0; i < N; i++)
        insert_row(f, &m, i, 0, 10, v + (size_t)i * DIM);
    build(f);
    must_find(f, &m, queries, c, 10, 0, "built");
    must_find(f, &m, queries, c, 10, 3, "a third matches");
    must_find(f, &m, queries, c, 10, 100, "a hundredth matches");
    for (uint32_t i = 0; i < N; i += 5) { /* updates, beside the segment */
        end_row(f, &m, i, 0, 20);
        insert_row(f, &m, i, 0, 20, v + (size_t)(N + i) * DIM);
    }
    must_find(f, &m, queries, c, 20, 0, "updated");
    build(f); /* extends the graph */
    must_find(f, &m, queries, c, 20, 0, "merged");
    must_find(f, &m, queries, c, 15, 0, "as of before the update");
    for (uint32_t i = 0; i < N; i++) {
        if (i % 5 && i % 2)
            end_row(f, &m, i, 0, 30);
    }
    must_find(f, &m, queries, c, 30, 0, "two fifths deleted");
    gn_vindex_set_position(f->index, 30);
    fixture_reopen(f, true);
    must_find(f, &m, queries, c, 30, 0, "reopened");
    gn_vindex_set_horizon(f->index, 30);
    build(f);
    must_find(f, &m, queries, c, 30, 0, "rewritten");
    for (uint32_t i = 0; i < 50; i++)
        insert_row(f, &m, i, 7, 40, v + (size_t)(N + i) * DIM); /* a branch hides what it has itself */
    build(f);
    gn_branch_at chain[2] = {{.branch = 7, .scn = 50}, {.branch = 0, .scn = 30}};
    for (uint32_t q = 0; q < 3; q++)
        assert_same_as_model(f, &m, queries + q * DIM, 20, chain, 2);
    fixture_close(f, false);
    assert_int_equal(gn_vindex_wipe(f->dir, NULL), GN_OK);
    model_close(&m);
}

/* Variance that falls with the coordinate, and a mean that is not zero. */
static float *skewed_vectors(uint64_t seed, size_t n)
{
    float *v = clustered_vectors(seed, n, DIM, 30);
    for (size_t i = 0; i < n * DIM; i++)
        v[i] = v[i] / sqrtf(1 + (float)(i % DIM)) + 0.05f;
    return v;
}

static void every_kind_lives_with_every_metric(void **state)
{
    fixture *f = *state;
    float *v = skewed_vectors(17, 2 * N + QUERIES);
#ifdef __SANITIZE_THREAD__ /* one thread, so there is nothing to find, and it takes twenty times as long */
    size_t n_metrics = 1;
#else
    size_t n_metrics = 3;
#endif
    for (size_t m = 0; m < n_metrics; m++) {
        for (size_t i = 0; i < sizeof codings / sizeof codings[0]; i++)
            live(f, &codings[i], metrics[m], v);
    }
    free(v);
}

static void plain_vectors_live_with_l1(void **state)
{
    fixture *f = *state;
    float *v = skewed_vectors(19, 2 * N + QUERIES);
    live(f, &codings[0], GN_METRIC_L1, v);
    free(v);
}

/* ---- bit vectors ---- */

enum { BITS = 200, WORDS = 7, BIT_ROWS = 3000 };

static double bit_distance(gn_metric_kind metric, const uint32_t *a, const uint32_t *b)
{
    int differ = 0, both = 0, either = 0;
    for (int i = 0; i < WORDS; i++) {
        differ += __builtin_popcount(a[i] ^ b[i]);
        both += __builtin_popcount(a[i] & b[i]);
        either += __builtin_popcount(a[i] | b[i]);
    }
    return metric == GN_METRIC_HAMMING ? differ : either ? 1 - (double)both / either : 0;
}

/* Some bits of one of a few centers turned over. All ones is a NaN, taken as a float. */
static void fill_bits(uint32_t (*v)[WORDS], size_t n)
{
    uint64_t s = 5;
    for (size_t i = 0; i < n; i++) {
        for (int w = 0; w < WORDS; w++) {
            s = s * 6364136223846793005u + 1442695040888963407u;
            uint32_t center = (uint32_t)(i % 20 + 1) * 2654435761u * (uint32_t)(w + 1);
            uint32_t noise = (uint32_t)(s >> 32);
            s = s * 6364136223846793005u + 1442695040888963407u;
            v[i][w] = i % 50 == 7 ? UINT32_MAX : center ^ (noise & (uint32_t)(s >> 32));
        }
        v[i][WORDS - 1] &= (1u << (BITS % 32)) - 1;
    }
}

static int ascending(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

static double bit_recall(fixture *f, uint32_t (*v)[WORDS], bool exact)
{
    const gn_branch_at at = {.scn = 10};
    gn_vview *view = gn_vview_acquire(f->index);
    gn_arena *arena = gn_arena_create(NULL);
    double *all = calloc(BIT_ROWS, sizeof *all);
    size_t hits = 0;
    for (uint32_t q = 0; q < QUERIES; q++) {
        float query[WORDS];
        gn_neighbor *found;
        size_t n;
        memcpy(query, v[BIT_ROWS + q], sizeof query);
        for (uint32_t i = 0; i < BIT_ROWS; i++)
            all[i] = bit_distance(f->options.metric, v[BIT_ROWS + q], v[i]);
        qsort(all, BIT_ROWS, sizeof *all, ascending);
        gn_vsearch s = {.query = query, .k = 10, .ef = EF, .exact = exact, .chain = &at, .n_chain = 1, .arena = arena};
        assert_int_equal(gn_vview_search(view, &s, &found, &n, NULL, NULL), GN_OK);
        assert_int_equal(n, 10);
        for (size_t i = 0; i < n; i++)
            hits += (double)found[i].distance <= all[9] + 1e-6;
    }
    free(all);
    gn_vview_release(view);
    gn_arena_destroy(arena);
    return (double)hits / (10.0 * QUERIES);
}

static void bit_vectors_are_found_by_hamming_and_jaccard(void **state)
{
    fixture *f = *state;
    uint32_t(*v)[WORDS] = calloc(BIT_ROWS + QUERIES, sizeof *v);
    fill_bits(v, BIT_ROWS + QUERIES);
    for (gn_metric_kind metric = GN_METRIC_HAMMING; metric <= GN_METRIC_JACCARD; metric++) {
        gn_vindex *index = NULL;
        f->options = (gn_vindex_options){.metric = metric, .dimensions = BITS, .seed = 1, .tail_rows = 1u << 20};
        fixture_open(f);
        for (uint32_t i = 0; i < BIT_ROWS; i++) {
            char key[16];
            float bits[WORDS];
            memcpy(bits, v[i], sizeof bits);
            assert_int_equal(gn_vindex_insert(f->index, key_of(i, key), 0, 10, bits, NULL), GN_OK);
        }
        assert_true(bit_recall(f, v, true) == 1);
        build(f);
        assert_true(bit_recall(f, v, true) == 1);
        double r = bit_recall(f, v, false);
        if (r < 0.97)
            fail_msg("metric %d: recall %g", (int)metric, r);
        gn_vindex_set_position(f->index, 10);
        fixture_reopen(f, true);
        assert_true(bit_recall(f, v, false) == r);
        fixture_close(f, false);
        assert_int_equal(gn_vindex_wipe(f->dir, NULL), GN_OK);
        f->options.codes = GN_CODES_SQ8;
        assert_int_equal(gn_vindex_open(f->world, f->dir, &f->options, &index, NULL), GN_INVALID_PARAMETER);
    }
    free(v);
}

static void vectors_that_are_all_equal_are_found(void **state)
{
    fixture *f = *state;
    float same[DIM];
    for (uint32_t d = 0; d < DIM; d++)
        same[d] = 2;
    for (size_t i = 0; i < sizeof codings / sizeof codings[0]; i++) {
        result found[10];
        gn_branch_at at = {.scn = 10};
        open_coded(f, &codings[i], GN_METRIC_L2);
        for (uint32_t id = 0; id < 1100; id++)
            insert_row(f, NULL, id, 0, 10, same);
        build(f);
        assert_int_equal(search(f, same, 10, 20, false, &at, 1, 0, found), 10);
        assert_true(found[9].distance == 0);
        fixture_close(f, false);
        assert_int_equal(gn_vindex_wipe(f->dir, NULL), GN_OK);
    }
}

static void impossible_codes_are_refused(void **state)
{
    fixture *f = *state;
    gn_error err = {0};
    gn_vindex *index = NULL;
    const gn_vindex_options bad[] = {
        {.codes = GN_CODES_KNOWN},
        {.codes = GN_CODES_RABITQ, .code_bits = 9},
        {.codes = GN_CODES_PRODUCT, .pq_subquantizers = 7},
        {.codes = GN_CODES_PRODUCT, .pq_centroids = 1000},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        gn_vindex_options o = bad[i];
        o.metric = GN_METRIC_L2;
        o.dimensions = DIM;
        assert_int_equal(gn_vindex_open(f->world, f->dir, &o, &index, &err), GN_INVALID_PARAMETER);
    }
}

/* ---- other searches ---- */

static const gn_branch_at NOW = {.branch = 0, .scn = 1000};

static model *filled(fixture *f, float *v)
{
    model *m = calloc(1, sizeof *m);
    *m = (model){.metric = GN_METRIC_L2, .dimensions = DIM};
    open_coded(f, &codings[0], GN_METRIC_L2);
    for (uint32_t i = 0; i < N; i++)
        insert_row(f, m, i, 0, 10, v + (size_t)i * DIM);
    build(f);
    for (uint32_t i = N; i < N + 100; i++) /* some in the tail */
        insert_row(f, m, i, 0, 20, v + (size_t)i * DIM);
    return m;
}

static uint32_t id_of(gn_bytes key)
{
    char text[16] = {0};
    memcpy(text, key.data, key.len);
    return (uint32_t)strtoul(text + 1, NULL, 10);
}

static void a_list_of_keys_is_searched_exactly(void **state)
{
    fixture *f = *state;
    float *v = skewed_vectors(23, N + 100 + QUERIES);
    model *m = filled(f, v);
    char text[200][16];
    gn_bytes keys[200];
    size_t n_keys = 0;
    for (uint32_t i = 0; i < N + 100; i += 10)
        keys[n_keys++] = key_of(i, text[i / 10]);
    keys[n_keys++] = gn_bytes_str("nobody");
    end_row(f, m, 40, 0, 30);
    gn_vview *view = gn_vview_acquire(f->index);
    gn_arena *arena = gn_arena_create(NULL);
    for (uint32_t q = 0; q < QUERIES; q++) {
        const float *query = v + (size_t)(N + 100 + q) * DIM;
        result want[20];
        gn_neighbor *found;
        size_t n, n_want = model_search(m, query, 20, &NOW, 1, 10, want);
        gn_vsearch s = {
            .query = query, .k = 20, .chain = &NOW, .n_chain = 1, .keys = keys, .n_keys = n_keys, .arena = arena};
        assert_int_equal(gn_vview_search(view, &s, &found, &n, NULL, NULL), GN_OK);
        assert_int_equal(n, n_want);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(id_of(found[i].key), want[i].id);
        s.n_keys = 0;
        assert_int_equal(gn_vview_search(view, &s, &found, &n, NULL, NULL), GN_OK);
        assert_int_equal(n, 0);
    }
    gn_vview_release(view);
    gn_arena_destroy(arena);
    model_close(m);
    free(m);
    free(v);
}

static void everything_within_a_radius_is_found(void **state)
{
    fixture *f = *state;
    float *v = skewed_vectors(29, N + 100 + QUERIES);
    model *m = filled(f, v);
    gn_vview *view = gn_vview_acquire(f->index);
    gn_arena *arena = gn_arena_create(NULL);
    static const uint32_t ranks[] = {0, 1, 10, 100, 700, N + 99};
    size_t all = 0, hits = 0;
    for (uint32_t q = 0; q < QUERIES; q++) {
        const float *query = v + (size_t)(N + 100 + q) * DIM;
        result *want = calloc(N + 100, sizeof *want);
        assert_int_equal(model_search(m, query, N + 100, &NOW, 1, 0, want), N + 100);
        for (size_t i = 0; i < sizeof ranks / sizeof ranks[0]; i++) {
            gn_neighbor *found;
            size_t n;
            float radius = want[ranks[i]].distance; /* what lies at it is not below it */
            gn_vsearch s = {.query = query, .k = GN_MAX_K, .chain = &NOW, .n_chain = 1, .arena = arena};
            assert_int_equal(gn_vview_within(view, &s, radius, &found, &n, NULL, NULL), GN_OK);
            assert_true(n <= ranks[i] + 1);
            for (size_t j = 0; j < n; j++)
                assert_true(found[j].distance < radius && (j == 0 || found[j - 1].distance <= found[j].distance));
            all += ranks[i];
            hits += n;
            s.k = 5;
            assert_int_equal(gn_vview_within(view, &s, radius, &found, &n, NULL, NULL), GN_OK);
            assert_true(n <= 5);
        }
        gn_arena_reset(arena);
        free(want);
    }
    assert_true((double)hits > 0.98 * (double)all);
    gn_vview_release(view);
    gn_arena_destroy(arena);
    model_close(m);
    free(m);
    free(v);
}

static void a_cursor_gives_every_row_once(void **state)
{
    fixture *f = *state;
    float *v = skewed_vectors(31, N + 100 + QUERIES);
    model *m = filled(f, v);
    gn_vview *view = gn_vview_acquire(f->index);
    gn_arena *arena = gn_arena_create(NULL);
    bool *seen = calloc(N + 100, sizeof *seen);
    gn_vsearch s = {.query = v + (size_t)(N + 100) * DIM, .k = 7, .chain = &NOW, .n_chain = 1, .arena = arena};
    gn_vcursor *cursor = gn_vcursor_open(view, &s);
    gn_neighbor *found;
    size_t n, total = 0, batches = 0;
    do {
        assert_int_equal(gn_vcursor_next(cursor, &found, &n, NULL), GN_OK);
        for (size_t i = 0; i < n; i++) {
            uint32_t id = id_of(found[i].key);
            assert_true(id < N + 100 && !seen[id]);
            seen[id] = true;
        }
        total += n;
        batches++;
    } while (n > 0);
    assert_int_equal(total, N + 100);
    assert_true(batches < 14);
    gn_vcursor_close(cursor);
    gn_vcursor_close(NULL);
    gn_vview_release(view);
    gn_arena_destroy(arena);
    model_close(m);
    free(seen);
    free(m);
    free(v);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(every_kind_lives_with_every_metric),  TEST(vectors_that_are_all_equal_are_found),
        TEST(plain_vectors_live_with_l1),          TEST(bit_vectors_are_found_by_hamming_and_jaccard),
        TEST(impossible_codes_are_refused),        TEST(a_list_of_keys_is_searched_exactly),
        TEST(everything_within_a_radius_is_found), TEST(a_cursor_gives_every_row_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
