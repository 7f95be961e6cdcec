/* The vector index as a library, beside hnswlib at the same M, ef_construction and ef, in one run and in turn.
 *
 *   bench_hnsw [--quick] [--ours]              JSON lines (bench_report.h); --ours leaves the peer out
 *   bench_hnsw --search-file BASE QUERIES DIM  builds an index by cosine over a file of floats and prints the median
 *                                              latency of a search (k 10, default settings) and the mean of its
 *                                              processor time, in microseconds
 *
 * Fashion-MNIST is taken from $GNOMON_BENCH_DATA (else ../shared/data beside the source tree) when it is there. */
#include "bench/bench_peer.h"
#include "bench/bench_report.h"
#include "bench/bench_vectors.h"
#include "index/vector_index.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { M = 16, EF_CONSTRUCTION = 100, ROUNDS = 3, MAX_POINTS = 8 };

typedef struct ours {
    gn_world *world;
    char dir[128];
    gn_vindex *index;
    gn_vview *view;
    gn_arena *arena;
} ours;

typedef struct curve {
    double qps[MAX_POINTS], recall[MAX_POINTS];
    size_t n;
} curve;

static void fail(const char *what, const gn_error *err)
{
    fprintf(stderr, "%s: %s\n", what, err->message);
    exit(1);
}

/* ---- our index ---- */

static double ours_build(ours *o, const vector_set *set, uint32_t m, uint32_t ef_construction, uint32_t threads)
{
    gn_error err = {0};
    *o = (ours){.world = gn_world_real_create(&(gn_world_options){.node_id = 1, .threads = 2}),
                .arena = gn_arena_create(NULL)};
    snprintf(o->dir, sizeof o->dir, "%s/gnomon-bench-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    if (!mkdtemp(o->dir))
        exit(1);
    gn_vindex_options options = {.metric = set->inner_product ? GN_METRIC_COSINE : GN_METRIC_L2,
                                 .dimensions = set->dimensions,
                                 .m = m,
                                 .ef_construction = ef_construction,
                                 .seed = 1,
                                 .tail_rows = UINT32_MAX,
                                 .build_threads = threads};
    if (gn_vindex_open(o->world, o->dir, &options, &o->index, &err) != GN_OK)
        fail("open", &err);
    double began = now_seconds();
    for (uint32_t i = 0; i < set->n; i++) {
        if (gn_vindex_insert(o->index, gn_bytes_of(&i, sizeof i), 0, 1, set->base + (size_t)i * set->dimensions,
                             &err) != GN_OK)
            fail("insert", &err);
    }
    gn_vindex_set_position(o->index, 1);
    if (gn_vindex_build(o->index, NULL, NULL, NULL, &err) != GN_OK)
        fail("build", &err);
    double seconds = now_seconds() - began;
    o->view = gn_vview_acquire(o->index);
    return seconds;
}

static void ours_search(void *opaque, const float *query, uint32_t k, uint32_t ef, uint32_t *ids)
{
    static const gn_branch_at now = {.branch = 0, .scn = 2};
    ours *o = opaque;
    gn_error err = {0};
    gn_neighbor *found;
    size_t n;
    gn_vsearch s = {.query = query, .k = k, .ef = ef, .chain = &now, .n_chain = 1, .arena = o->arena};
    if (gn_vview_search(o->view, &s, &found, &n, NULL, &err) != GN_OK)
        fail("search", &err);
    for (size_t i = 0; i < n; i++)
        memcpy(&ids[i], found[i].key.data, sizeof ids[i]);
    gn_arena_reset(o->arena);
}

static double ours_reopen(ours *o, const vector_set *set)
{
    gn_error err = {0};
    gn_vindex_options options = {.metric = set->inner_product ? GN_METRIC_COSINE : GN_METRIC_L2,
                                 .dimensions = set->dimensions};
    gn_vview_release(o->view);
    if (gn_vindex_close(o->index, true, &err) != GN_OK)
        fail("close", &err);
    double began = now_seconds();
    if (gn_vindex_open(o->world, o->dir, &options, &o->index, &err) != GN_OK)
        fail("open", &err);
    double seconds = now_seconds() - began;
    o->view = gn_vview_acquire(o->index);
    return seconds;
}

static void ours_free(ours *o)
{
    gn_vview_release(o->view);
    gn_vindex_close(o->index, false, NULL);
    gn_vindex_wipe(o->dir, NULL);
    gn_arena_destroy(o->arena);
    gn_world_real_destroy(o->world);
    rmdir(o->dir);
}

/* ---- measuring ---- */

typedef void (*search_fn)(void *, const float *, uint32_t k, uint32_t ef, uint32_t *ids);

/* Searches a second over all queries; the recall comes out the same each time. */
static double measure(search_fn fn, void *engine, const vector_set *set, uint32_t ef, double *recall)
{
    size_t hits = 0;
    uint32_t ids[64];
    double began = now_seconds();
    for (size_t q = 0; q < set->n_queries; q++) {
        fn(engine, set->queries + q * set->dimensions, set->k, ef, ids);
        for (uint32_t i = 0; i < set->k; i++) {
            for (uint32_t j = 0; j < set->k; j++)
                hits += ids[i] == set->truth[q * set->k + j];
        }
    }
    double seconds = now_seconds() - began;
    *recall = (double)hits / (double)(set->n_queries * set->k);
    return (double)set->n_queries / seconds;
}

static int ascending(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

static double median(double *v, size_t n)
{
    qsort(v, n, sizeof *v, ascending);
    return v[n / 2];
}

/* The rate at a recall, between two measured points; NAN where the curve does not reach it. */
static double rate_at(const curve *c, double recall)
{
    for (size_t i = 0; i + 1 < c->n; i++) {
        if (c->recall[i] > recall || c->recall[i + 1] < recall || c->recall[i] == c->recall[i + 1])
            continue;
        double share = (recall - c->recall[i]) / (c->recall[i + 1] - c->recall[i]);
        return exp(log(c->qps[i]) * (1 - share) + log(c->qps[i + 1]) * share);
    }
    return NAN;
}

static void compare_searches(const vector_set *set, ours *o, void *peer)
{
    static const uint32_t efs[MAX_POINTS] = {10, 16, 24, 40, 64, 100, 160, 300};
    static const double recalls[] = {0.90, 0.95, 0.99};
    const char *names[2] = {"gnomon", "hnswlib"};
    search_fn fns[2] = {ours_search, peer_search};
    void *engines[2] = {o, peer};
    curve curves[2] = {0};
    char metric[64];
    for (size_t p = 0; p < MAX_POINTS; p++) {
        double qps[2][ROUNDS], recall[2] = {0};
        for (size_t r = 0; r < ROUNDS; r++) {
            for (size_t e = 0; e < (peer ? 2u : 1u); e++)
                qps[e][r] = measure(fns[e], engines[e], set, efs[p], &recall[e]);
        }
        for (size_t e = 0; e < (peer ? 2u : 1u); e++) {
            curve *c = &curves[e];
            c->qps[c->n] = median(qps[e], ROUNDS);
            c->recall[c->n++] = recall[e];
            snprintf(metric, sizeof metric, "recall@10 at ef %u", efs[p]);
            report("hnsw-search", names[e], set->name, metric, recall[e], "share");
            snprintf(metric, sizeof metric, "searches at ef %u", efs[p]);
            report("hnsw-search", names[e], set->name, metric, c->qps[c->n - 1], "1/s");
        }
    }
    for (size_t i = 0; i < sizeof recalls / sizeof recalls[0]; i++) {
        for (size_t e = 0; e < (peer ? 2u : 1u); e++) {
            double rate = rate_at(&curves[e], recalls[i]);
            snprintf(metric, sizeof metric, "searches at recall %.2f", recalls[i]);
            if (!isnan(rate))
                report("hnsw-search", names[e], set->name, metric, rate, "1/s");
        }
    }
}

static void compare(const vector_set *set, bool with_peer)
{
    ours o = {0};
    void *peer = NULL;
    char metric[64];
    for (uint32_t threads = 2; threads >= 1; threads--) {
        if (o.index)
            ours_free(&o);
        double seconds = ours_build(&o, set, M, EF_CONSTRUCTION, threads);
        snprintf(metric, sizeof metric, "vectors built by %u threads", threads);
        report("hnsw-build", "gnomon", set->name, metric, (double)set->n / seconds, "1/s");
        if (!with_peer)
            continue;
        if (peer)
            peer_free(peer);
        double began = now_seconds();
        peer = peer_build(set->base, set->n, set->dimensions, set->inner_product, M, EF_CONSTRUCTION, threads);
        report("hnsw-build", "hnswlib", set->name, metric, (double)set->n / (now_seconds() - began), "1/s");
    }
    report("hnsw-open", "gnomon", set->name, "open after a clean stop", ours_reopen(&o, set) * 1e3, "ms");
    compare_searches(set, &o, peer);
    if (peer)
        peer_free(peer);
    ours_free(&o);
}

static double thread_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int search_file(const char *base, const char *queries, uint32_t dimensions)
{
    vector_set set;
    ours o;
    uint32_t ids[64];
    if (!dimensions || !load_raw(base, queries, dimensions, &set)) {
        fprintf(stderr, "cannot read the vectors\n");
        return 1;
    }
    ours_build(&o, &set, 0, 0, 2);
    enum { PASSES = 5 };
    double *times = calloc(set.n_queries * PASSES, sizeof *times), cpu = thread_seconds();
    for (size_t i = 0; i < set.n_queries * PASSES; i++) {
        double began = now_seconds();
        ours_search(&o, set.queries + i % set.n_queries * dimensions, 10, 0, ids);
        times[i] = (now_seconds() - began) * 1e6;
    }
    cpu = (thread_seconds() - cpu) * 1e6;
    printf("%.1f %.2f\n", median(times, set.n_queries * PASSES), cpu / (double)(set.n_queries * PASSES));
    free(times);
    ours_free(&o);
    vector_set_free(&set);
    return 0;
}

#ifndef GN_BENCH_HNSWLIB
void *peer_build(const float *vectors, size_t n, uint32_t dimensions, int inner_product, uint32_t m,
                 uint32_t ef_construction, uint32_t threads)
{
    (void)vectors, (void)n, (void)dimensions, (void)inner_product, (void)m, (void)ef_construction, (void)threads;
    return NULL;
}
void peer_search(void *peer, const float *query, uint32_t k, uint32_t ef, uint32_t *ids)
{
    (void)peer, (void)query, (void)k, (void)ef, (void)ids;
}
void peer_free(void *peer)
{
    (void)peer;
}
#endif

int main(int argc, char **argv)
{
    bool quick = false, with_peer = true;
    if (argc == 5 && strcmp(argv[1], "--search-file") == 0)
        return search_file(argv[2], argv[3], (uint32_t)strtoul(argv[4], NULL, 10));
    for (int i = 1; i < argc; i++) {
        quick |= strcmp(argv[i], "--quick") == 0;
        with_peer &= strcmp(argv[i], "--ours") != 0;
    }
#ifndef GN_BENCH_HNSWLIB
    with_peer = false;
#endif
    vector_set set;
    const char *data = getenv("GNOMON_BENCH_DATA");
    if (load_fashion_mnist(data ? data : GN_BENCH_DATA, quick ? 10000 : 60000, &set))
        compare(&set, with_peer);
    vector_set_free(&set);
    generate_clustered(quick ? 10000 : 100000, 1000, quick ? 128 : 384, &set);
    find_truth(&set);
    compare(&set, with_peer);
    vector_set_free(&set);
    return 0;
}
