/* Searches beside the plain one: over a list of keys, within a radius, batch by batch. */
#include "base/limits.h"
#include "tests/index/vindex_fixture.h"

#include <stdlib.h>
#include <string.h>

enum { N = 1500, DIM = 64, QUERIES = 20 };

static const gn_branch_at NOW = {.branch = 0, .scn = 1000};

static model *filled(fixture *f, float *v)
{
    model *m = calloc(1, sizeof *m);
    *m = (model){.metric = GN_METRIC_L2, .dimensions = DIM};
    f->options = (gn_vindex_options){.metric = GN_METRIC_L2, .dimensions = DIM, .seed = 1, .tail_rows = 1u << 20};
    fixture_open(f);
    for (uint32_t i = 0; i < N; i++)
        insert_row(f, m, i, 0, 10, v + (size_t)i * DIM);
    fixture_build(f);
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
    float *v = skewed_vectors(23, N + 100 + QUERIES, DIM);
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

static bool divisible_by_fifty(void *ctx, gn_bytes key, uint64_t begin_scn)
{
    (void)begin_scn;
    ++*(size_t *)ctx;
    return id_of(key) % 50 == 0;
}

/* Where so few match that a walk would see most of the segment, its codes are scanned, and none is missed for it. */
static void few_matches_are_found_by_any_codes(void **state)
{
    fixture *f = *state;
    static const gn_code_kind kinds[] = {GN_CODES_AUTO, GN_CODES_SQ4, GN_CODES_RABITQ, GN_CODES_BINARY,
                                         GN_CODES_PRODUCT};
    float *v = skewed_vectors(37, N + QUERIES, DIM);
    for (size_t kind = 0; kind < sizeof kinds / sizeof kinds[0]; kind++) {
        model m = {.metric = GN_METRIC_L2, .dimensions = DIM};
        f->options = (gn_vindex_options){
            .metric = GN_METRIC_L2, .dimensions = DIM, .tail_rows = 1u << 20, .codes = kinds[kind], .code_bits = 1};
        fixture_open(f);
        for (uint32_t i = 0; i < N; i++)
            insert_row(f, &m, i, 0, 10, v + (size_t)i * DIM);
        fixture_build(f);
        gn_vview *view = gn_vview_acquire(f->index);
        gn_arena *arena = gn_arena_create(NULL);
        for (uint32_t q = 0; q < QUERIES; q++) {
            const float *query = v + (size_t)(N + q) * DIM;
            result want[10];
            gn_neighbor *found;
            size_t n, asked = 0;
            gn_vsearch s = {.query = query,
                            .k = 10,
                            .chain = &NOW,
                            .n_chain = 1,
                            .filter = divisible_by_fifty,
                            .filter_ctx = &asked,
                            .filter_share = 0.02f,
                            .arena = arena};
            assert_int_equal(model_search(&m, query, 10, &NOW, 1, 50, want), 10);
            assert_int_equal(gn_vview_search(view, &s, &found, &n, NULL, NULL), GN_OK);
            assert_int_equal(n, 10);
            assert_int_equal(asked, N);
            for (size_t i = 0; i < n; i++)
                assert_int_equal(id_of(found[i].key), want[i].id);
        }
        gn_vview_release(view);
        gn_arena_destroy(arena);
        fixture_close(f, false);
        assert_int_equal(gn_vindex_wipe(f->dir, NULL), GN_OK);
        model_close(&m);
    }
    free(v);
}

static void everything_within_a_radius_is_found(void **state)
{
    fixture *f = *state;
    float *v = skewed_vectors(29, N + 100 + QUERIES, DIM);
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
    float *v = skewed_vectors(31, N + 100 + QUERIES, DIM);
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
        TEST(a_list_of_keys_is_searched_exactly),
        TEST(few_matches_are_found_by_any_codes),
        TEST(everything_within_a_radius_is_found),
        TEST(a_cursor_gives_every_row_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
