/* One writer, builds in the background, searches at once. What is asserted holds in any schedule; the sanitizer for
 * threads sees the rest. */
#include "tests/index/vindex_fixture.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { DIM = 16, ROWS = 4000, READERS = 2 };

typedef struct shared {
    fixture *f;
    const float *vectors;
    _Atomic uint64_t written; /* SCN up to which all is given: row i begins at i + 1 */
    _Atomic bool stop;
    _Atomic uint64_t searches;
} shared;

/* Row i is ended at SCN 2 * ROWS + i when i is a multiple of 3; else it is there from i + 1 on. */
static void *reader(void *arg)
{
    shared *s = arg;
    uint64_t n = 0;
    gn_arena *arena = gn_arena_create(NULL);
    while (n == 0 || !atomic_load(&s->stop)) { /* once at least, whenever it comes to it */
        uint64_t scn = atomic_load(&s->written);
        if (scn == 0)
            continue;
        uint32_t newest = (uint32_t)(scn < ROWS ? scn : ROWS) - 1,
                 id = n % 4 ? newest : (uint32_t)(n * 37 % (newest + 1));
        bool ended = id % 3 == 0 && scn >= 2 * ROWS + id;
        gn_vview *view = gn_vview_acquire(s->f->index);
        gn_branch_at at = {.branch = 0, .scn = scn};
        gn_neighbor *found;
        size_t n_found;
        gn_vsearch q = {.query = s->vectors + (size_t)id * DIM,
                        .k = 5,
                        .exact = n % 8 == 0,
                        .ef = 64,
                        .chain = &at,
                        .n_chain = 1,
                        .arena = arena};
        gn_error err = {0};
        if (gn_vview_search(view, &q, &found, &n_found, NULL, &err) != GN_OK || n_found == 0)
            abort(); /* cmocka's assertions belong to its own thread */
        for (size_t i = 0; i < n_found; i++) {
            if (found[i].begin_scn > scn || (i && found[i].distance < found[i - 1].distance))
                abort();
        }
        if (q.exact && (found[0].distance == 0) == ended)
            abort();
        gn_vview_release(view);
        gn_arena_reset(arena);
        n++;
    }
    gn_arena_destroy(arena);
    atomic_fetch_add(&s->searches, n);
    return NULL;
}

static void writing_building_and_searching_at_once(void **state)
{
    fixture *f = *state;
    float *v = clustered_vectors(31, ROWS, DIM, 30);
    f->options = (gn_vindex_options){
        .metric = GN_METRIC_L2, .dimensions = DIM, .tail_rows = 300, .build_threads = 2, .ef_construction = 32};
    fixture_open(f);
    shared s = {.f = f, .vectors = v};
    pthread_t threads[READERS];
    for (int i = 0; i < READERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, reader, &s), 0);
    for (uint32_t i = 0; i < ROWS; i++) {
        insert_row(f, NULL, i, 0, i + 1, v + (size_t)i * DIM);
        atomic_store(&s.written, i + 1);
    }
    for (uint32_t i = 0; i < ROWS; i += 3) {
        char key[16];
        gn_vindex_end(f->index, key_of(i, key), 0, 2 * ROWS + i);
        atomic_store(&s.written, 2 * ROWS + i);
        if (i % 1000 == 0)
            gn_vindex_set_horizon(f->index, ROWS);
    }
    gn_error err = {0};
    assert_int_equal(gn_vindex_build(f->index, NULL, NULL, NULL, &err), GN_OK);
    atomic_store(&s.stop, true);
    for (int i = 0; i < READERS; i++)
        pthread_join(threads[i], NULL);
    assert_true(atomic_load(&s.searches) > 0);
    model m = {.metric = GN_METRIC_L2, .dimensions = DIM};
    for (uint32_t i = 0; i < ROWS; i++) {
        m.rows = realloc(m.rows, (m.n + 1) * sizeof *m.rows);
        m.rows[m.n++] =
            (model_row){.id = i, .begin = i + 1, .end = i % 3 ? OPEN_END : 2 * ROWS + i, .vector = v + (size_t)i * DIM};
    }
    gn_branch_at now = {.branch = 0, .scn = 4 * ROWS};
    for (uint32_t q = 0; q < 20; q++)
        assert_same_as_model(f, &m, v + q * 100 * DIM, 20, &now, 1);
    double r = recall(f, &m, v, 50, 10, 100, 4 * ROWS, 0);
    if (r < 0.95)
        fail_msg("recall@10 is %g", r);
    model_close(&m);
    free(v);
}

static void a_build_by_many_hands_is_as_good_as_by_one(void **state)
{
    fixture *f = *state;
    enum { N = 3000, QUERIES = 100 };
    float *v = clustered_vectors(32, N + QUERIES, DIM, 30);
    double by[2];
    for (uint32_t i = 0; i < 2; i++) {
        model m = {.metric = GN_METRIC_COSINE, .dimensions = DIM};
        f->options = (gn_vindex_options){
            .metric = GN_METRIC_COSINE, .dimensions = DIM, .tail_rows = 1u << 20, .build_threads = i ? 4 : 1};
        fixture_open(f);
        for (uint32_t r = 0; r < N; r++)
            insert_row(f, &m, r, 0, 10 + r, v + (size_t)r * DIM);
        assert_int_equal(gn_vindex_build(f->index, NULL, NULL, NULL, NULL), GN_OK);
        by[i] = recall(f, &m, v + (size_t)N * DIM, QUERIES, 10, 60, 1u << 30, 0);
        fixture_close(f, false);
        assert_int_equal(gn_vindex_wipe(f->dir, NULL), GN_OK);
        model_close(&m);
    }
    if (by[0] < 0.95 || by[1] < by[0] - 0.02)
        fail_msg("recall@10 is %g by one hand, %g by four", by[0], by[1]);
    free(v);
}

/* A large commit comes while the build that its first rows asked for runs, and nothing comes after it. */
static void what_came_during_a_build_is_built_though_nothing_follows(void **state)
{
    fixture *f = *state;
    enum { N = 3000, TAIL = 300 };
    float *v = clustered_vectors(34, N, DIM, 30);
    gn_vindex_stats stats;
    f->options = (gn_vindex_options){.metric = GN_METRIC_L2, .dimensions = DIM, .tail_rows = TAIL};
    fixture_open(f);
    for (uint32_t i = 0; i < N; i++)
        insert_row(f, NULL, i, 0, i + 1, v + (size_t)i * DIM);
    do {
        sched_yield();
        gn_vindex_stats_get(f->index, &stats);
    } while (stats.tail_vectors >= TAIL);
    assert_int_equal(stats.vectors, N);
    free(v);
}

/* Stopping must not wait for a build to its end, nor lose anything. */
static void closing_during_a_build_keeps_everything(void **state)
{
    fixture *f = *state;
    enum { N = 3000 };
    float *v = clustered_vectors(33, N, DIM, 30);
    model m = {.metric = GN_METRIC_L2, .dimensions = DIM};
    f->options =
        (gn_vindex_options){.metric = GN_METRIC_L2, .dimensions = DIM, .tail_rows = 500, .ef_construction = 200};
    fixture_open(f);
    for (uint32_t i = 0; i < N; i++) {
        insert_row(f, &m, i, 0, i + 1, v + (size_t)i * DIM);
        if (i % 700 == 699)
            fixture_reopen(f, true);
        if (i % 5 == 0)
            end_row(f, &m, i / 2, 0, i + 1);
    }
    gn_vindex_set_position(f->index, N);
    fixture_reopen(f, true);
    assert_int_equal(gn_vindex_durable_position(f->index), N);
    gn_branch_at now = {.branch = 0, .scn = N};
    for (uint32_t q = 0; q < 20; q++)
        assert_same_as_model(f, &m, v + q * 100 * DIM, 20, &now, 1);
    model_close(&m);
    free(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(writing_building_and_searching_at_once, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_build_by_many_hands_is_as_good_as_by_one, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(what_came_during_a_build_is_built_though_nothing_follows, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(closing_during_a_build_keeps_everything, fixture_setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
