/* The vector index as a library, driven by commands on standard input, so that bench_vector.py can measure it in turn
 * with others over the same vectors.
 *
 *   bench_vector BASE QUERIES TRUTH DIMENSIONS l2|cosine|ip     files of float32; TRUTH: int32, TRUTH_K a query
 *
 *   build CODES M EF_CONSTRUCTION THREADS     begins anew with all vectors
 *   search EF K ROUNDS                        all queries, ROUNDS times; the fastest round counts
 *   filter EF K PERCENT                       the same, where only that share of the rows matches
 *   keys EF K PERCENT                         the same, over a list of those rows' keys
 *   target PERMILLE K ROUNDS                  by the calibration
 *   delete PERCENT | merge | reopen | stats
 *
 * Each answers with one line of JSON. Times of searches are of the thread's CPU, so that others on the machine disturb
 * less; "wall" is beside them. */
#include "bench/bench_report.h"
#include "index/vector_index.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { TRUTH_K = 100, MAX_K = 100 };

typedef struct bench {
    gn_world *world;
    char dir[128];
    gn_vindex *index;
    gn_vview *view;
    gn_arena *arena;
    gn_vindex_options options;
    float *base, *queries;
    uint32_t *truth;
    size_t n, n_queries;
    uint32_t dimensions;
    bool *deleted;
    uint64_t scn;
} bench;

static double thread_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double process_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void check(gn_code code, const char *what, const gn_error *err)
{
    if (code == GN_OK)
        return;
    fprintf(stderr, "%s: %s\n", what, err->message);
    exit(1);
}

static void *read_file(const char *path, size_t *bytes)
{
    FILE *f = fopen(path, "rb");
    if (!f || fseek(f, 0, SEEK_END) != 0)
        return NULL;
    long n = ftell(f);
    void *data = n > 0 ? malloc((size_t)n) : NULL;
    rewind(f);
    *bytes = data ? fread(data, 1, (size_t)n, f) : 0;
    fclose(f);
    return data;
}

static bool load(bench *b, char **argv)
{
    size_t base = 0, queries = 0, truth = 0;
    b->base = read_file(argv[1], &base);
    b->queries = read_file(argv[2], &queries);
    b->truth = read_file(argv[3], &truth);
    b->dimensions = (uint32_t)strtoul(argv[4], NULL, 10);
    b->options.metric = strcmp(argv[5], "l2") == 0   ? GN_METRIC_L2
                        : strcmp(argv[5], "ip") == 0 ? GN_METRIC_IP
                                                     : GN_METRIC_COSINE;
    if (!b->base || !b->queries || !b->truth || !b->dimensions)
        return false;
    b->n = base / sizeof(float) / b->dimensions;
    b->n_queries = queries / sizeof(float) / b->dimensions;
    b->deleted = calloc(b->n + 1, sizeof *b->deleted);
    return b->deleted && truth >= b->n_queries * TRUTH_K * sizeof(uint32_t);
}

/* ---- building ---- */

static void close_index(bench *b)
{
    if (!b->index)
        return;
    gn_vview_release(b->view);
    gn_vindex_close(b->index, false, NULL);
    gn_vindex_wipe(b->dir, NULL);
    rmdir(b->dir);
    b->index = NULL;
}

static void build(bench *b, const char *codes, uint32_t m, uint32_t ef_construction, uint32_t threads)
{
    gn_error err = {0};
    close_index(b);
    memset(b->deleted, 0, b->n);
    snprintf(b->dir, sizeof b->dir, "%s/gnomon-bench-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    if (!mkdtemp(b->dir))
        exit(1);
    b->options.codes = gn_code_kind_named(codes);
    if (strncmp(codes, "rabitq", 6) == 0) {
        b->options.codes = GN_CODES_RABITQ;
        b->options.code_bits = codes[6] ? (uint32_t)(codes[6] - '0') : 4;
    }
    b->options.dimensions = b->dimensions;
    b->options.m = m;
    b->options.ef_construction = ef_construction;
    b->options.build_threads = threads;
    b->options.seed = 1;
    b->options.tail_rows = UINT32_MAX;
    check(gn_vindex_open(b->world, b->dir, &b->options, &b->index, &err), "open", &err);
    double wall = now_seconds(), cpu = process_seconds();
    for (size_t i = 0; i < b->n; i++) {
        uint32_t id = (uint32_t)i;
        check(gn_vindex_insert(b->index, gn_bytes_of(&id, sizeof id), 0, 1, b->base + i * b->dimensions, &err),
              "insert", &err);
    }
    gn_vindex_set_position(b->index, b->scn = 1);
    check(gn_vindex_build(b->index, NULL, NULL, NULL, &err), "build", &err);
    wall = now_seconds() - wall;
    cpu = process_seconds() - cpu;
    b->view = gn_vview_acquire(b->index);
    printf("{\"seconds\": %.3f, \"cpu_seconds\": %.3f, \"vectors_per_second\": %.0f}\n", wall, cpu, (double)b->n / cpu);
}

/* ---- searching ---- */

typedef struct matching {
    uint32_t percent;
} matching;

/* A share of the ids, spread by a hash. */
static bool id_matches(uint32_t id, uint32_t percent)
{
    return (id * 2654435761u >> 16) % 100 < percent;
}

static bool match(void *ctx, gn_bytes key, uint64_t begin)
{
    (void)begin;
    const matching *m = ctx;
    uint32_t id;
    memcpy(&id, key.data, sizeof id);
    return id_matches(id, m->percent);
}

static int ascending(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

/* How many of the first k that exist and match are among the results; *want: how many there are to find. */
static size_t count_hits(const bench *b, size_t q, uint32_t k, uint32_t percent, const uint32_t *ids, size_t n,
                         size_t *want)
{
    size_t hits = 0, seen = 0;
    for (size_t i = 0; i < TRUTH_K && seen < k; i++) {
        uint32_t t = b->truth[q * TRUTH_K + i];
        if (b->deleted[t] || !id_matches(t, percent))
            continue;
        seen++;
        for (size_t j = 0; j < n; j++)
            hits += ids[j] == t;
    }
    *want += seen;
    return hits;
}

/* The keys of all rows that match, as a secondary index would give them. */
static gn_bytes *matching_keys(const bench *b, uint32_t percent, size_t *n)
{
    uint32_t *ids = malloc((b->n + 1) * sizeof *ids);
    gn_bytes *keys = malloc((b->n + 1) * sizeof *keys);
    *n = 0;
    for (size_t i = 0; i < b->n && ids && keys; i++) {
        if (!id_matches((uint32_t)i, percent))
            continue;
        ids[*n] = (uint32_t)i;
        keys[*n] = gn_bytes_of(&ids[*n], sizeof *ids);
        ++*n;
    }
    return keys;
}

typedef enum way { PLAIN, FILTERED, BY_KEYS } way;

static void search(bench *b, uint32_t ef, float target, uint32_t k, uint32_t rounds, uint32_t percent, way how)
{
    size_t n_keys = 0;
    gn_bytes *keys = how == BY_KEYS ? matching_keys(b, percent, &n_keys) : NULL;
    matching filter = {.percent = percent};
    gn_branch_at now = {.branch = 0, .scn = b->scn + 1};
    double best = 1e9, best_wall = 1e9, *times = calloc(b->n_queries, sizeof *times);
    size_t hits = 0, want = 0, short_results = 0;
    uint64_t distances = 0;
    gn_vsearch_stats last = {0};
    uint32_t ids[MAX_K];
    for (uint32_t r = 0; r < rounds; r++) {
        double sum = 0, wall = now_seconds();
        hits = want = distances = short_results = 0;
        for (size_t q = 0; q < b->n_queries; q++) {
            gn_error err = {0};
            gn_neighbor *found;
            size_t n;
            gn_vsearch s = {.query = b->queries + q * b->dimensions,
                            .k = k,
                            .ef = ef,
                            .target_recall = target,
                            .chain = &now,
                            .n_chain = 1,
                            .filter = how == FILTERED ? match : NULL,
                            .filter_ctx = &filter,
                            .filter_share = (float)percent / 100,
                            .keys = keys,
                            .n_keys = n_keys,
                            .arena = b->arena};
            double began = thread_seconds();
            check(gn_vview_search(b->view, &s, &found, &n, &last, &err), "search", &err);
            times[q] = thread_seconds() - began;
            sum += times[q];
            for (size_t i = 0; i < n; i++)
                memcpy(&ids[i], found[i].key.data, sizeof ids[i]);
            gn_arena_reset(b->arena);
            hits += count_hits(b, q, k, percent, ids, n, &want);
            distances += last.distances;
            short_results += n < k;
        }
        best = sum < best ? sum : best;
        wall = now_seconds() - wall;
        best_wall = wall < best_wall ? wall : best_wall;
    }
    qsort(times, b->n_queries, sizeof *times, ascending);
    printf("{\"ef\": %u, \"recall\": %.4f, \"qps\": %.0f, \"wall_qps\": %.0f, \"p50_us\": %.1f, \"p99_us\": %.1f, "
           "\"distances\": %.0f, \"short\": %zu}\n",
           ef ? ef : last.ef, want ? (double)hits / (double)want : 1, (double)b->n_queries / best,
           (double)b->n_queries / best_wall, times[b->n_queries / 2] * 1e6, times[b->n_queries * 99 / 100] * 1e6,
           (double)distances / (double)b->n_queries, short_results);
    if (n_keys)
        free((void *)(uintptr_t)keys[0].data);
    free(keys);
    free(times);
}

/* ---- the rest ---- */

static void delete_share(bench *b, uint32_t percent)
{
    b->scn++;
    for (size_t i = 0; i < b->n; i++) {
        uint32_t id = (uint32_t)i;
        if (b->deleted[i] || !id_matches(id ^ 0x5bd1e995u, percent))
            continue;
        b->deleted[i] = true;
        gn_vindex_end(b->index, gn_bytes_of(&id, sizeof id), 0, b->scn);
    }
    gn_vindex_set_position(b->index, b->scn);
    printf("{\"deleted\": %u}\n", percent);
}

static void merge(bench *b)
{
    gn_error err = {0};
    double wall = now_seconds(), cpu = process_seconds();
    gn_vindex_set_horizon(b->index, b->scn);
    check(gn_vindex_build(b->index, NULL, NULL, NULL, &err), "merge", &err);
    gn_vview_release(b->view);
    b->view = gn_vview_acquire(b->index);
    printf("{\"seconds\": %.3f, \"cpu_seconds\": %.3f}\n", now_seconds() - wall, process_seconds() - cpu);
}

static void reopen(bench *b)
{
    gn_error err = {0};
    gn_vview_release(b->view);
    check(gn_vindex_close(b->index, true, &err), "close", &err);
    double began = now_seconds();
    check(gn_vindex_open(b->world, b->dir, &b->options, &b->index, &err), "open", &err);
    printf("{\"open_ms\": %.3f}\n", (now_seconds() - began) * 1e3);
    b->view = gn_vview_acquire(b->index);
}

static void stats(bench *b)
{
    gn_vindex_stats s;
    struct rusage usage;
    gn_vindex_stats_get(b->index, &s);
    getrusage(RUSAGE_SELF, &usage);
    printf("{\"vectors\": %lu, \"dead\": %lu, \"segments\": %lu, \"disk_bytes\": %lu, \"memory_bytes\": %lu, "
           "\"peak_rss_mb\": %ld}\n",
           s.vectors, s.dead_vectors, s.segments, s.disk_bytes, s.memory_bytes, usage.ru_maxrss / 1024);
}

static bool command(bench *b, const char *line)
{
    char word[32] = "", codes[32];
    uint32_t x = 0, y = 0, z = 0;
    sscanf(line, "%31s", word);
    if (sscanf(line, "build %31s %u %u %u", codes, &x, &y, &z) == 4)
        build(b, codes, x, y, z);
    else if (sscanf(line, "search %u %u %u", &x, &y, &z) == 3 && y <= MAX_K)
        search(b, x, 0, y, z, 100, PLAIN);
    else if (sscanf(line, "filter %u %u %u", &x, &y, &z) == 3 && y <= MAX_K)
        search(b, x, 0, y, 2, z, FILTERED);
    else if (sscanf(line, "keys %u %u %u", &x, &y, &z) == 3 && y <= MAX_K)
        search(b, x, 0, y, 2, z, BY_KEYS);
    else if (sscanf(line, "target %u %u %u", &x, &y, &z) == 3 && x < 1000 && y <= MAX_K)
        search(b, 0, (float)x / 1000, y, z, 100, PLAIN);
    else if (sscanf(line, "delete %u", &x) == 1)
        delete_share(b, x);
    else if (strcmp(word, "merge") == 0)
        merge(b);
    else if (strcmp(word, "reopen") == 0)
        reopen(b);
    else if (strcmp(word, "stats") == 0)
        stats(b);
    else
        return false;
    fflush(stdout);
    return true;
}

int main(int argc, char **argv)
{
    bench b = {0};
    char line[256];
    if (argc != 6 || !load(&b, argv)) {
        fprintf(stderr, "usage: bench_vector BASE QUERIES TRUTH DIMENSIONS l2|cosine|ip\n");
        return 2;
    }
    b.world = gn_world_real_create(&(gn_world_options){.node_id = 1, .threads = 2});
    b.arena = gn_arena_create(NULL);
    while (fgets(line, sizeof line, stdin)) {
        if (!command(&b, line)) {
            fprintf(stderr, "unknown command: %s", line);
            return 2;
        }
    }
    close_index(&b);
    gn_arena_destroy(b.arena);
    gn_world_real_destroy(b.world);
    free(b.base);
    free(b.queries);
    free(b.truth);
    free(b.deleted);
    return 0;
}
