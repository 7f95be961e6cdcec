/* Searches where only some rows may be results, wherever these lie, and what is kept of a judge's answers. */
#include "base/limits.h"
#include "tests/index/vindex_fixture.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N = 6000, DIM = 32, QUERIES = 40, K = 10 };

static const gn_branch_at NOW = {.branch = 0, .scn = 1000};

static uint32_t id_of(gn_bytes key)
{
    char text[16] = {0};
    memcpy(text, key.data, key.len);
    return (uint32_t)strtoul(text + 1, NULL, 10);
}

/* A window of rows by their place along one coordinate; what lies in it may be asked for as a filter or by a judge. */
typedef struct window {
    const float *vectors;
    float from, to;
    size_t asked;
    bool silent;
    uint8_t *times; /* of each id, how often it was asked about; may be NULL */
} window;

static bool is_in(const window *w, uint32_t id)
{
    float x = w->vectors[(size_t)id * DIM];
    return x >= w->from && x < w->to;
}

static bool filter(void *ctx, gn_bytes key, uint64_t begin_scn)
{
    window *w = ctx;
    (void)begin_scn;
    w->asked++;
    if (w->times)
        w->times[id_of(key)]++;
    return is_in(w, id_of(key));
}

static gn_verdict judge(void *ctx, gn_bytes key, uint64_t begin_scn)
{
    window *w = ctx;
    if (w->silent)
        return GN_VERDICT_NONE;
    return filter(ctx, key, begin_scn) ? GN_VERDICT_YES : GN_VERDICT_NO;
}

static int ascending(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return x < y ? -1 : x > y;
}

/* The rows of a share that lie farthest from the query along the first coordinate, or nearest. */
static window window_of(const float *v, const float *query, double share, bool far)
{
    float *x = malloc(N * sizeof *x);
    for (size_t i = 0; i < N; i++)
        x[i] = v[i * DIM];
    qsort(x, N, sizeof *x, ascending);
    size_t take = (size_t)(share * N), below = 0;
    while (below < N && x[below] < query[0])
        below++;
    bool high = (below < N / 2) == far;
    window w = {.vectors = v, .from = high ? x[N - take] : -1e9f, .to = high ? 1e9f : x[take]};
    free(x);
    return w;
}

static void fill(fixture *f, const float *v, uint32_t n)
{
    f->options = (gn_vindex_options){.metric = GN_METRIC_L2, .dimensions = DIM, .seed = 1, .tail_rows = 1u << 20};
    fixture_open(f);
    for (uint32_t i = 0; i < n; i++)
        insert_row(f, NULL, i, 0, 10, v + (size_t)i * DIM);
    fixture_build(f);
}

static double square_distance(const float *a, const float *b)
{
    double sum = 0;
    for (size_t i = 0; i < DIM; i++)
        sum += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
    return sum;
}

/* The distance of the K-th nearest in the window, as the search gives it. */
static float kth_distance(const window *w, const float *query)
{
    float *all = malloc(N * sizeof *all);
    size_t n = 0;
    for (uint32_t id = 0; id < N; id++) {
        if (is_in(w, id))
            all[n++] = (float)sqrt(square_distance(w->vectors + (size_t)id * DIM, query));
    }
    qsort(all, n, sizeof *all, ascending);
    float kth = all[K - 1];
    free(all);
    return kth;
}

typedef struct outcome {
    double recall, distances;
} outcome;

/* Over all queries; fails the test where fewer than K come, or one that does not match. */
static outcome search_all(fixture *f, const float *v, double share, bool far, bool tell_share)
{
    outcome o = {0};
    gn_vview *view = gn_vview_acquire(f->index);
    gn_arena *arena = gn_arena_create(NULL);
    for (size_t q = 0; q < QUERIES; q++) {
        const float *query = v + (N + q) * DIM;
        window w = window_of(v, query, share, far);
        gn_neighbor *found;
        gn_vsearch_stats stats = {0};
        size_t n;
        gn_vsearch s = {.query = query,
                        .k = K,
                        .ef = 40,
                        .chain = &NOW,
                        .n_chain = 1,
                        .filter = filter,
                        .filter_ctx = &w,
                        .filter_share = tell_share ? (float)share : 0,
                        .arena = arena};
        assert_int_equal(gn_vview_search(view, &s, &found, &n, &stats, NULL), GN_OK);
        assert_int_equal(n, K);
        float last = kth_distance(&w, query) * 1.0001f;
        for (size_t i = 0; i < n; i++) {
            assert_true(is_in(&w, id_of(found[i].key)));
            o.recall += found[i].distance <= last;
        }
        o.distances += (double)stats.distances;
        gn_arena_reset(arena);
    }
    o.recall /= QUERIES * K;
    o.distances /= QUERIES;
    gn_arena_destroy(arena);
    gn_vview_release(view);
    return o;
}

/* Where nothing near the query matches, the walk goes among what does, and does not see what lies between. */
static void matches_may_lie_anywhere(void **state)
{
    fixture *f = *state;
    static const double shares[] = {0.9, 0.5, 0.1, 0.01};
    float *v = skewed_vectors(41, N + QUERIES, DIM);
    fill(f, v, N);
    for (size_t i = 0; i < sizeof shares / sizeof shares[0]; i++) {
        for (int how = 0; how < 4; how++) {
            outcome o = search_all(f, v, shares[i], how & 1, how & 2);
            if (o.recall < 0.95)
                fail_msg("share %g, %s: recall %.3f", shares[i], how & 1 ? "far" : "near", o.recall);
            if (o.distances > N / 2.5)
                fail_msg("share %g, %s: %.0f distances", shares[i], how & 1 ? "far" : "near", o.distances);
        }
    }
    free(v);
}

/* ---- few that match, of which nothing is known ---- */

static bool is_rare(void *ctx, gn_bytes key, uint64_t begin_scn)
{
    (void)begin_scn;
    return id_of(key) % *(const uint32_t *)ctx == 0;
}

/* Between few there are no ways, so what they are to the query cannot be found by walking. */
static void few_by_chance_are_found_though_nobody_said_that_they_are_few(void **state)
{
    enum { MANY = 20000 };
    fixture *f = *state;
    float *v = skewed_vectors(61, MANY + QUERIES, DIM);
    fill(f, v, MANY);
    for (uint32_t one_in = 100; one_in <= 2000; one_in *= 4) {
        double found_nearest = 0;
        gn_vview *view = gn_vview_acquire(f->index);
        gn_arena *arena = gn_arena_create(NULL);
        for (size_t q = 0; q < QUERIES; q++) {
            const float *query = v + (MANY + q) * DIM;
            float nearest = INFINITY;
            gn_neighbor *found;
            size_t n;
            for (uint32_t id = 0; id < MANY; id += one_in)
                nearest = fminf(nearest, (float)sqrt(square_distance(v + (size_t)id * DIM, query)));
            gn_vsearch s = {.query = query,
                            .k = K,
                            .ef = 40,
                            .chain = &NOW,
                            .n_chain = 1,
                            .filter = is_rare,
                            .filter_ctx = &one_in,
                            .arena = arena};
            assert_int_equal(gn_vview_search(view, &s, &found, &n, NULL, NULL), GN_OK);
            assert_int_equal(n, K);
            found_nearest += found[0].distance <= nearest * 1.0001F;
        }
        if (found_nearest < 0.95 * QUERIES)
            fail_msg("one in %u: the nearest was found by %.0f of %d", one_in, found_nearest, QUERIES);
        gn_arena_destroy(arena);
        gn_vview_release(view);
    }
    free(v);
}

/* A reader of long ago sees few of a segment's rows. */
static void few_are_seen_at_a_past_moment(void **state)
{
    enum { MANY = 20000, FIRST = 40 };
    fixture *f = *state;
    float *v = skewed_vectors(67, MANY + QUERIES, DIM);
    const gn_branch_at past = {.branch = 0, .scn = 10};
    f->options = (gn_vindex_options){.metric = GN_METRIC_L2, .dimensions = DIM, .seed = 1, .tail_rows = 1u << 20};
    fixture_open(f);
    for (uint32_t i = 0; i < MANY; i++)
        insert_row(f, NULL, i, 0, i % (MANY / FIRST) == 0 ? 5 : 20, v + (size_t)i * DIM);
    fixture_build(f);
    size_t found_nearest = 0;
    for (size_t q = 0; q < QUERIES; q++) {
        const float *query = v + (MANY + q) * DIM;
        result r[K];
        float nearest = INFINITY;
        for (uint32_t id = 0; id < MANY; id += MANY / FIRST)
            nearest = fminf(nearest, (float)sqrt(square_distance(v + (size_t)id * DIM, query)));
        assert_int_equal(search(f, query, K, 40, false, &past, 1, 0, r), K);
        found_nearest += r[0].distance <= nearest * 1.0001F;
    }
    assert_int_equal(found_nearest, QUERIES);
    free(v);
}

/* ---- few that match, known beforehand ---- */

/* A mark by chance: a window of those has nothing to do with distance. */
static float mark_of(uint32_t id)
{
    return (float)(id * 2654435761u >> 8) / (float)(1 << 24);
}

typedef struct few {
    const char *name;
    double share;
    double least, most; /* recall; distances, of those that unfiltered searches compute */
    bool by_chance, far;
} few;

static void note_all(fixture *f, const bool *match, uint32_t n, gn_vmemo *memo)
{
    gn_vview *view = gn_vview_acquire(f->index);
    for (uint32_t id = 0; id < n; id++) {
        char key[16];
        gn_vmemo_note(memo, view, key_of(id, key), 0, 10, match[id]);
    }
    gn_vview_release(view);
}

static gn_verdict judge_by_list(void *ctx, gn_bytes key, uint64_t begin_scn)
{
    (void)begin_scn;
    return ((const bool *)ctx)[id_of(key)] ? GN_VERDICT_YES : GN_VERDICT_NO;
}

/* Of one query: how many of the K nearest that match are found, and by how many distances. match NULL: all do. */
static outcome search_known(fixture *f, const float *v, uint32_t n, const float *query, bool *match, gn_vmemo *memo)
{
    outcome o = {0};
    gn_vview *view = gn_vview_acquire(f->index);
    gn_arena *arena = gn_arena_create(NULL);
    gn_neighbor *found;
    gn_vsearch_stats stats = {0};
    size_t n_found, n_all = 0;
    gn_vsearch s = {.query = query, .k = K, .ef = 24, .chain = &NOW, .n_chain = 1, .arena = arena};
    if (match) {
        s.judge = judge_by_list;
        s.judge_ctx = match;
        s.memo = memo;
    }
    assert_int_equal(gn_vview_search(view, &s, &found, &n_found, &stats, NULL), GN_OK);
    assert_int_equal(n_found, K);
    float *all = malloc(n * sizeof *all);
    for (uint32_t id = 0; id < n; id++) {
        if (!match || match[id])
            all[n_all++] = (float)sqrt(square_distance(v + (size_t)id * DIM, query));
    }
    qsort(all, n_all, sizeof *all, ascending);
    for (size_t i = 0; i < K; i++)
        o.recall += found[i].distance <= all[K - 1] * 1.0001f;
    o.recall /= K;
    o.distances = (double)stats.distances;
    free(all);
    gn_arena_destroy(arena);
    gn_vview_release(view);
    return o;
}

/* Of query q, which is among v, by a mark of its own. */
static outcome search_by_chance(fixture *f, const float *v, uint32_t n, const float *query, double share, uint32_t q,
                                bool *match)
{
    char name[32];
    snprintf(name, sizeof name, "by chance, %u", q);
    for (uint32_t id = 0; id < n; id++)
        match[id] = (double)mark_of(id + q * 7919) < share;
    gn_vmemo *memo = gn_vindex_memo(f->index, gn_bytes_str(name));
    note_all(f, match, n, memo);
    outcome o = search_known(f, v, n, query, match, memo);
    gn_vmemo_release(memo);
    return o;
}

enum { TRIED = 16 /* searches by cells and by a walk, before it is known which is better */ };

/* Vectors without any order: what is near lies in many cells. */
static void cells_are_left_where_they_tell_nothing(void **state)
{
    enum { MANY = 40000, ASKED = 25 };
    fixture *f = *state;
    float *v = clustered_vectors(43, MANY + TRIED + ASKED, DIM, 1);
    bool *match = calloc(MANY, sizeof *match);
    double recall = 0, early = 0, late = 0;
    fill(f, v, MANY);
    for (uint32_t q = 0; q < TRIED + ASKED; q++) {
        outcome o = search_by_chance(f, v, MANY, v + (size_t)(MANY + q) * DIM, 0.1, q, match);
        recall += o.recall;
        *(q < TRIED ? &early : &late) += o.distances;
    }
    if (getenv("SHOW"))
        print_message("recall %.3f, %.0f distances, then %.0f\n", recall / (TRIED + ASKED), early / TRIED,
                      late / ASKED);
    assert_true(recall >= 0.95 * (TRIED + ASKED));
    assert_true(early / TRIED > 1.2 * late / ASKED);
    free(match);
    free(v);
}

/* Of a filter that is new, ranges tell but what does not match: how many of the others do is not known by that. */
static void what_is_rejected_tells_no_share(void **state)
{
    enum { MANY = 40000 };
    fixture *f = *state;
    float *v = skewed_vectors(47, MANY + 1, DIM);
    bool *match = calloc(MANY, sizeof *match);
    fill(f, v, MANY);
    gn_vview *view = gn_vview_acquire(f->index);
    gn_vmemo *memo = gn_vindex_memo(f->index, gn_bytes_str("in part"));
    for (uint32_t id = 0; id < MANY; id++) {
        char key[16];
        match[id] = mark_of(id) < 0.4F;
        if (!match[id])
            gn_vmemo_note(memo, view, key_of(id, key), 0, 10, false);
    }
    gn_vview_release(view);
    outcome o = search_known(f, v, MANY, v + (size_t)MANY * DIM, match, memo);
    if (getenv("SHOW"))
        print_message("recall %.2f, %.0f distances\n", o.recall, o.distances);
    assert_true(o.recall >= 0.9);
    assert_true(o.distances < MANY / 10.0);
    gn_vmemo_release(memo);
    free(match);
    free(v);
}

/* The fewer match the farther the same work leads: by cells a search for few costs about what it does for all. */
static void few_cost_no_more_than_all(void **state)
{
    enum { MANY = 40000, ASKED = 25 };
    static const few cases[] = {
        {"a tenth by chance", 0.1, 0.95, 2, true, false}, {"a hundredth by chance", 0.01, 0.95, 2, true, false},
        {"a tenth near", 0.1, 0.95, 2.5, false, false},   {"a hundredth near", 0.01, 0.95, 2, false, false},
        {"a tenth far", 0.1, 0.85, 6, false, true},
    };
    fixture *f = *state;
    float *v = skewed_vectors(41, MANY + ASKED, DIM);
    bool *match = calloc(MANY, sizeof *match);
    double unfiltered = 0;
    fill(f, v, MANY);
    for (uint32_t q = 0; q < TRIED; q++)
        assert_true(search_by_chance(f, v, MANY, v + (size_t)(MANY + q) * DIM, 0.1, q, match).recall > 0);
    for (size_t q = 0; q < ASKED; q++)
        unfiltered += search_known(f, v, MANY, v + (MANY + q) * DIM, NULL, NULL).distances;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        outcome sum = {0};
        for (size_t q = 0; q < ASKED; q++) {
            char name[32];
            const float *query = v + (MANY + q) * DIM;
            window w = window_of(v, query, cases[i].share, cases[i].far);
            for (uint32_t id = 0; id < MANY; id++)
                match[id] = cases[i].by_chance ? (double)mark_of(id) < cases[i].share : is_in(&w, id);
            snprintf(name, sizeof name, "%zu, %zu", i, q);
            gn_vmemo *memo = gn_vindex_memo(f->index, gn_bytes_str(name));
            note_all(f, match, MANY, memo);
            outcome o = search_known(f, v, MANY, query, match, memo);
            sum.recall += o.recall;
            sum.distances += o.distances;
            gn_vmemo_release(memo);
        }
        if (sum.recall < cases[i].least * ASKED)
            fail_msg("%s: recall %.3f", cases[i].name, sum.recall / ASKED);
        if (sum.distances > cases[i].most * unfiltered)
            fail_msg("%s: %.0f distances, %.0f for all", cases[i].name, sum.distances / ASKED, unfiltered / ASKED);
        if (getenv("SHOW"))
            print_message("%s: recall %.3f, %.0f distances, %.0f for all\n", cases[i].name, sum.recall / ASKED,
                          sum.distances / ASKED, unfiltered / ASKED);
    }
    free(match);
    free(v);
}

/* ---- a judge ---- */

typedef struct answer {
    size_t n;
    uint32_t ids[K];
} answer;

static answer ask_judge(fixture *f, const float *query, window *w, gn_vmemo *memo)
{
    gn_vview *view = gn_vview_acquire(f->index);
    gn_arena *arena = gn_arena_create(NULL);
    gn_neighbor *found;
    answer a;
    gn_vsearch s = {.query = query,
                    .k = K,
                    .ef = 40,
                    .chain = &NOW,
                    .n_chain = 1,
                    .judge = judge,
                    .judge_ctx = w,
                    .memo = memo,
                    .arena = arena};
    assert_int_equal(gn_vview_search(view, &s, &found, &a.n, NULL, NULL), GN_OK);
    for (size_t i = 0; i < a.n; i++)
        a.ids[i] = id_of(found[i].key);
    gn_arena_destroy(arena);
    gn_vview_release(view);
    return a;
}

static gn_vmemo_counts counts_of(fixture *f, gn_vmemo *memo)
{
    gn_vview *view = gn_vview_acquire(f->index);
    gn_vmemo_counts c = gn_vmemo_count(memo, view);
    gn_vview_release(view);
    return c;
}

static void a_judge_is_asked_once_about_a_version(void **state)
{
    fixture *f = *state;
    float *v = skewed_vectors(43, N + QUERIES, DIM);
    fill(f, v, N);
    window w = {.vectors = v, .from = 0, .to = 1e9f, .silent = true};
    gn_vmemo *memo = gn_vindex_memo(f->index, gn_bytes_str("x >= 0"));
    assert_int_equal(ask_judge(f, v + (size_t)N * DIM, &w, memo).n, 0); /* no verdict is no result, and not kept */
    assert_int_equal(counts_of(f, memo).known, 0);
    w = (window){.vectors = v, .from = 0, .to = 1e9f, .times = calloc(N, 1)};
    for (size_t q = 0; q < QUERIES; q++) {
        const float *query = v + (N + q) * DIM;
        answer first = ask_judge(f, query, &w, memo);
        answer again = ask_judge(f, query, &w, memo);
        assert_int_equal(first.n, K);
        assert_memory_equal(&first, &again, sizeof first);
    }
    for (uint32_t id = 0; id < N; id++)
        assert_in_range(w.times[id], 0, 1);
    free(w.times);
    assert_int_equal(counts_of(f, memo).known, w.asked);
    assert_in_range(counts_of(f, memo).match, 1, w.asked);
    gn_vmemo *same = gn_vindex_memo(f->index, gn_bytes_str("x >= 0"));
    assert_ptr_equal(same, memo);
    gn_vmemo *other = gn_vindex_memo(f->index, gn_bytes_str("x < 0"));
    assert_ptr_not_equal(other, memo);
    gn_vmemo_release(same);
    gn_vmemo_release(other);
    gn_vmemo_release(memo);
    free(v);
}

/* Once all is known, a search asks nothing, and finds what few match exactly. */
static void what_is_noted_need_not_be_asked(void **state)
{
    fixture *f = *state;
    float *v = skewed_vectors(47, N + QUERIES, DIM);
    fill(f, v, N);
    gn_vmemo *memo = gn_vindex_memo(f->index, gn_bytes_str("few"));
    window w = window_of(v, v, 0.02, true);
    gn_vview *view = gn_vview_acquire(f->index);
    for (uint32_t id = 0; id < N; id++) {
        char key[16];
        gn_vmemo_note(memo, view, key_of(id, key), 0, 10, is_in(&w, id));
    }
    gn_vmemo_note(memo, view, gn_bytes_str("nobody"), 0, 10, true);
    gn_vview_release(view);
    assert_int_equal(counts_of(f, memo).known, N);
    assert_int_equal(counts_of(f, memo).match, (size_t)(0.02 * N));
    for (size_t q = 0; q < QUERIES; q++) {
        const float *query = v + (N + q) * DIM;
        answer a = ask_judge(f, query, &w, memo);
        float last = kth_distance(&w, query) * 1.0001f;
        assert_int_equal(a.n, K);
        for (size_t i = 0; i < K; i++)
            assert_true(is_in(&w, a.ids[i]) &&
                        sqrt(square_distance(v + (size_t)a.ids[i] * DIM, query)) <= (double)last);
    }
    assert_int_equal(w.asked, 0);
    gn_vmemo_release(memo);
    free(v);
}

/* A new version is another one, and what a merge writes begins unknown. */
static void changes_are_judged_anew(void **state)
{
    fixture *f = *state;
    float *v = skewed_vectors(53, N + QUERIES, DIM);
    const float *query = v + (size_t)N * DIM;
    fill(f, v, N);
    gn_vmemo *memo = gn_vindex_memo(f->index, gn_bytes_str("x >= 0"));
    window w = {.vectors = v, .from = 0, .to = 1e9f};
    answer before = ask_judge(f, query, &w, memo);
    assert_int_equal(before.n, K);
    end_row(f, NULL, before.ids[0], 0, 20);
    insert_row(f, NULL, before.ids[0], 0, 20, query); /* it still matches, and is the nearest now */
    answer after = ask_judge(f, query, &w, memo);
    assert_int_equal(after.ids[0], before.ids[0]);
    end_row(f, NULL, before.ids[0], 0, 30);
    after = ask_judge(f, query, &w, memo);
    for (size_t i = 0; i < K; i++)
        assert_int_not_equal(after.ids[i], before.ids[0]);
    gn_vindex_set_horizon(f->index, 40);
    for (uint32_t id = 0; id < N / 2; id++)
        end_row(f, NULL, id, 0, 35);
    gn_vindex_set_position(f->index, 40);
    fixture_build(f);
    w.asked = 0;
    after = ask_judge(f, query, &w, memo);
    assert_int_equal(after.n, K);
    assert_true(w.asked > 0);
    for (size_t i = 0; i < K; i++)
        assert_true(after.ids[i] >= N / 2 && is_in(&w, after.ids[i]));
    gn_vmemo_release(memo);
    free(v);
}

/* ---- by many at once ---- */

typedef struct asker {
    fixture *f;
    const float *vectors;
    gn_vmemo *memo;
    pthread_t thread;
    size_t short_ones;
} asker;

static void *ask_all(void *arg)
{
    asker *a = arg;
    window w = {.vectors = a->vectors, .from = 0, .to = 1e9f};
    for (size_t q = 0; q < QUERIES; q++) {
        answer found = ask_judge(a->f, a->vectors + (N + q) * DIM, &w, a->memo);
        a->short_ones += found.n < K;
        for (size_t i = 0; i < found.n; i++)
            a->short_ones += !is_in(&w, found.ids[i]);
    }
    return NULL;
}

/* All that is seen now, at once: what a secondary index would list. */
static void tell(fixture *f, const window *w, gn_vmemo *memo)
{
    gn_vview *view = gn_vview_acquire(f->index);
    gn_vmemo *listed = gn_vindex_memo(f->index, gn_bytes_str("listed"));
    gn_vpick *pick = gn_vpick_create(view, NOW);
    for (uint32_t id = 0; id < N; id++) {
        char key[16];
        if (is_in(w, id))
            gn_vpick_add(pick, key_of(id, key));
    }
    gn_vmemo_tell(listed, pick);
    gn_vmemo_infer(memo, &listed, 1, view, true);
    gn_vpick_destroy(pick);
    gn_vmemo_release(listed);
    gn_vview_release(view);
}

static void a_memo_is_shared(void **state)
{
    enum { ASKERS = 4 };
    fixture *f = *state;
    asker askers[ASKERS] = {0};
    float *v = skewed_vectors(59, N + QUERIES, DIM);
    fill(f, v, N);
    gn_vmemo *memo = gn_vindex_memo(f->index, gn_bytes_str("x >= 0"));
    for (size_t i = 0; i < ASKERS; i++) {
        askers[i] = (asker){.f = f, .vectors = v, .memo = memo};
        assert_int_equal(pthread_create(&askers[i].thread, NULL, ask_all, &askers[i]), 0);
    }
    window w = {.vectors = v, .from = 0, .to = 1e9f};
    size_t match = 0;
    tell(f, &w, memo);
    for (uint32_t id = 0; id < N; id++)
        match += is_in(&w, id);
    for (size_t i = 0; i < ASKERS; i++) {
        pthread_join(askers[i].thread, NULL);
        assert_int_equal(askers[i].short_ones, 0);
    }
    assert_int_equal(counts_of(f, memo).known, N);
    assert_int_equal(counts_of(f, memo).match, match);
    gn_vmemo_release(memo);
    free(v);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(matches_may_lie_anywhere),
        TEST(few_by_chance_are_found_though_nobody_said_that_they_are_few),
        TEST(few_are_seen_at_a_past_moment),
        TEST(what_is_rejected_tells_no_share),
        TEST(cells_are_left_where_they_tell_nothing),
        TEST(few_cost_no_more_than_all),
        TEST(a_judge_is_asked_once_about_a_version),
        TEST(what_is_noted_need_not_be_asked),
        TEST(changes_are_judged_anew),
        TEST(a_memo_is_shared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
