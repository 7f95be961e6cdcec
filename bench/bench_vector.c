/* The vector index as a library, driven by commands on standard input, so that bench_vector.py can measure it in turn
 * with its peers over the same vectors. FOLDER is one that vector_data.py made.
 *
 *   bench_vector FOLDER DIMENSIONS l2|cosine|ip
 *
 *   build CODES M EF_CONSTRUCTION THREADS MB  begins anew with all vectors but those skipped; MB: a memory budget, or 0
 *   skip PERCENT                              that share is left out by the builds that follow
 *   halves 0|1                                they keep the vectors as 16-bit floats, rounded to that
 *   search EF THREADS                         all queries once or more, for the 10 nearest
 *   target PERMILLE                           the same, with the ef of the calibration
 *   filter EF KIND PERMILLE                   where only the rows match that the filter's marks say
 *   memo EF KIND PERMILLE                     the same, what matches being known beforehand
 *   keys KIND PERMILLE                        over a list of those rows' keys
 *   delete PERCENT | merge | reopen | stats
 *
 * Each answers with one line of JSON. Rates are by the CPU time of the searching threads, so that others on the machine
 * disturb less: threads * searches / seconds of all. "wall_qps" is beside them. */
#include "base/memory.h"
#include "bench/bench_report.h"
#include "index/vector_index.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Few queries are asked again until the caches are warm, but not those that take long. */
static const double ENOUGH_SECONDS = 0.2;
enum { TRUTH_K = 100, K = 10, AT_LEAST = 1000, MAX_THREADS = 64 };

typedef struct bench {
    gn_world *world;
    const char *folder;
    char dir[128];
    gn_vindex *index;
    gn_account account; /* of the budget, where there is one */
    bool has_budget;
    size_t budget_peak;
    gn_vindex_options options;
    const float *base, *queries;
    const uint32_t *truth;
    const uint16_t *marks, *centers; /* two of each row and of each query */
    size_t n, n_queries;
    uint32_t dimensions, skip;
    gn_vmemo **memos; /* of the filter that was asked for last */
    size_t n_memos;
    char memos_of[64];
    bool *deleted;
    uint64_t scn;
} bench;

static double clock_seconds(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void check(gn_code code, const char *what, const gn_error *err)
{
    if (code == GN_OK)
        return;
    fprintf(stderr, "%s: %s\n", what, err->message);
    exit(1);
}

static void *must(void *p)
{
    if (!p) {
        fprintf(stderr, "out of memory\n");
        exit(1);
    }
    return p;
}

/* Mapped, so that what the index itself takes can be told from it. */
static const void *map_file(const bench *b, const char *name, size_t *bytes)
{
    char path[512];
    struct stat st;
    void *data = MAP_FAILED;
    snprintf(path, sizeof path, "%s/%s", b->folder, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size > 0)
        data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (fd >= 0)
        close(fd);
    if (data == MAP_FAILED) {
        fprintf(stderr, "cannot read %s\n", path);
        exit(1);
    }
    *bytes = (size_t)st.st_size;
    return data;
}

static void load(bench *b, char **argv)
{
    size_t bytes;
    b->folder = argv[1];
    b->dimensions = (uint32_t)strtoul(argv[2], NULL, 10);
    b->options.metric = strcmp(argv[3], "l2") == 0   ? GN_METRIC_L2
                        : strcmp(argv[3], "ip") == 0 ? GN_METRIC_IP
                                                     : GN_METRIC_COSINE;
    b->base = map_file(b, "base", &bytes);
    b->n = bytes / sizeof(float) / b->dimensions;
    b->queries = map_file(b, "queries", &bytes);
    b->n_queries = bytes / sizeof(float) / b->dimensions;
    b->truth = map_file(b, "truth", &bytes);
    b->marks = map_file(b, "marks", &bytes);
    b->centers = map_file(b, "centers", &bytes);
    b->deleted = must(calloc(b->n + 1, sizeof *b->deleted));
}

/* ---- building ---- */

/* A share of the ids, spread by a hash; vector_peers.py has the same. */
static bool is_among(uint32_t id, uint32_t percent)
{
    return ((id ^ 0x5bd1e995u) * 2654435761u >> 16) % 100 < percent;
}

static void forget_memos(bench *b)
{
    for (size_t q = 0; q < b->n_memos; q++)
        gn_vmemo_release(b->memos[q]);
    free(b->memos);
    b->memos = NULL;
    b->n_memos = 0;
    b->memos_of[0] = 0;
}

static void close_index(bench *b)
{
    if (!b->index)
        return;
    forget_memos(b);
    gn_vindex_close(b->index, false, NULL);
    gn_vindex_wipe(b->dir, NULL);
    rmdir(b->dir);
    if (b->has_budget)
        gn_account_close(&b->account);
    b->index = NULL;
}

static void set_options(bench *b, const char *codes, uint32_t m, uint32_t ef_construction, uint32_t threads)
{
    b->options.codes = gn_code_kind_named(codes);
    b->options.code_bits = b->options.pq_subquantizers = 0;
    if (strncmp(codes, "rabitq", 6) == 0) {
        b->options.codes = GN_CODES_RABITQ;
        b->options.code_bits = codes[6] ? (uint32_t)(codes[6] - '0') : 4;
    } else if (strncmp(codes, "product", 7) == 0) {
        b->options.codes = GN_CODES_PRODUCT;
        b->options.pq_subquantizers = (uint32_t)strtoul(codes + 7, NULL, 10);
    }
    b->options.dimensions = b->dimensions;
    b->options.m = m;
    b->options.ef_construction = ef_construction;
    b->options.build_threads = threads;
    b->options.seed = 1;
    b->options.tail_rows = UINT32_MAX;
    b->options.account = b->has_budget ? &b->account : NULL;
}

static void note_budget(bench *b)
{
    size_t used = b->has_budget ? gn_account_used(&b->account) : 0;
    b->budget_peak = used > b->budget_peak ? used : b->budget_peak;
}

static void note_progress(void *ctx, uint64_t done, uint64_t total)
{
    (void)done, (void)total;
    note_budget(ctx);
}

/* As the owner does it: where the budget has no room for a row more, the tail goes to disk. */
static void insert(bench *b, uint32_t id)
{
    gn_error err = {0};
    gn_bytes key = gn_bytes_of(&id, sizeof id);
    const float *v = b->base + (size_t)id * b->dimensions;
    gn_code code = gn_vindex_insert(b->index, key, 0, 1, v, &err);
    if (code == GN_OUT_OF_MEMORY) {
        note_budget(b);
        check(gn_vindex_checkpoint(b->index, &err), "checkpoint", &err);
        code = gn_vindex_insert(b->index, key, 0, 1, v, &err);
    }
    check(code, "insert", &err);
}

static void build(bench *b, const char *codes, uint32_t m, uint32_t ef_construction, uint32_t threads, uint32_t mb)
{
    gn_error err = {0};
    close_index(b);
    b->has_budget = mb > 0;
    b->budget_peak = 0;
    if (mb)
        gn_account_init(&b->account, NULL, "bench", (size_t)mb << 20);
    set_options(b, codes, m, ef_construction, threads);
    snprintf(b->dir, sizeof b->dir, "%s/gnomon-bench-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    if (!mkdtemp(b->dir))
        exit(1);
    check(gn_vindex_open(b->world, b->dir, &b->options, &b->index, &err), "open", &err);
    double wall = now_seconds(), cpu = clock_seconds(CLOCK_PROCESS_CPUTIME_ID);
    for (uint32_t id = 0; id < b->n; id++) {
        b->deleted[id] = is_among(id, b->skip);
        if (!b->deleted[id])
            insert(b, id);
    }
    gn_vindex_set_position(b->index, b->scn = 1);
    check(gn_vindex_build(b->index, note_progress, b, NULL, &err), "build", &err);
    printf("{\"seconds\": %.3f, \"cpu_seconds\": %.3f, \"budget_peak_mb\": %.0f}\n", now_seconds() - wall,
           clock_seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu, (double)b->budget_peak / 1048576);
}

/* ---- what is asked ---- */

typedef struct filter {
    const uint16_t *marks;
    uint16_t center, half;
    uint32_t width;
    size_t column;
} filter;

static bool filter_init(filter *f, const bench *b, const char *kind, uint32_t permille)
{
    bool random = strcmp(kind, "random") == 0;
    if (!random && strcmp(kind, "near") != 0 && strcmp(kind, "far") != 0)
        return false;
    f->column = random ? 0 : 1;
    f->marks = b->marks + f->column;
    f->width = permille * 65536 / 1000;
    f->half = (uint16_t)(f->width / 2);
    f->center = strcmp(kind, "far") == 0 ? 32768 : 0;
    return permille > 0 && permille < 1000;
}

static bool matches(const filter *f, uint32_t id)
{
    return (uint16_t)(f->marks[(size_t)2 * id] - f->center + f->half) < f->width;
}

static bool match(void *ctx, gn_bytes key, uint64_t begin)
{
    (void)begin;
    uint32_t id;
    memcpy(&id, key.data, sizeof id);
    return matches(ctx, id);
}

static gn_verdict judge(void *ctx, gn_bytes key, uint64_t begin)
{
    return match(ctx, key, begin) ? GN_VERDICT_YES : GN_VERDICT_NO;
}

typedef struct question {
    uint32_t ef, threads;
    float target;
    const filter *filter;
    bool by_keys;
    gn_vmemo **memos; /* of each query */
    const uint32_t *truth;
    size_t truth_k, n_queries;
} question;

/* The keys of all rows that match, as a secondary index would give them. */
static size_t matching_keys(const bench *b, const filter *f, uint32_t *ids, gn_bytes *keys)
{
    size_t n = 0;
    for (uint32_t id = 0; id < b->n; id++) {
        ids[n] = id;
        keys[n] = gn_bytes_of(&ids[n], sizeof *ids);
        n += matches(f, id);
    }
    return n;
}

/* ---- asking ---- */

typedef struct asker {
    bench *b;
    const question *ask;
    gn_vview *view;
    uint32_t number, passes;
    pthread_t thread;
    double *times; /* of every query, shared by all; the last pass */
    double cpu;
    size_t hits, want, n_short, searches;
    uint64_t distances;
    gn_vsearch_stats last;
} asker;

/* How many of the first K that exist are among the results; *want: how many there are to find. */
static size_t count_hits(const asker *a, size_t q, const uint32_t *ids, size_t n, size_t *want)
{
    size_t hits = 0, seen = 0;
    for (size_t i = 0; i < a->ask->truth_k && seen < K; i++) {
        uint32_t t = a->ask->truth[q * a->ask->truth_k + i];
        if (t == UINT32_MAX || a->b->deleted[t])
            continue;
        seen++;
        for (size_t j = 0; j < n; j++)
            hits += ids[j] == t;
    }
    *want += seen;
    return hits;
}

static void ask_one(asker *a, gn_arena *arena, size_t q, uint32_t *id_room, gn_bytes *key_room)
{
    const bench *b = a->b;
    const question *ask = a->ask;
    gn_error err = {0};
    gn_neighbor *found;
    size_t n;
    uint32_t ids[K];
    filter mine = ask->filter ? *ask->filter : (filter){0};
    gn_branch_at now = {.branch = 0, .scn = b->scn + 1};
    gn_vsearch s = {.query = b->queries + q * b->dimensions,
                    .k = K,
                    .ef = ask->ef,
                    .target_recall = ask->target,
                    .chain = &now,
                    .n_chain = 1,
                    .arena = arena};
    mine.center = (uint16_t)(mine.center + b->centers[2 * q + mine.column]);
    if (ask->by_keys) {
        s.keys = key_room;
        s.n_keys = matching_keys(b, &mine, id_room, key_room);
    } else if (ask->memos) {
        s.judge = judge;
        s.judge_ctx = &mine;
        s.memo = ask->memos[q];
    } else if (ask->filter) {
        s.filter = match;
        s.filter_ctx = &mine;
        s.filter_share = (float)mine.width / 65536;
    }
    double began = clock_seconds(CLOCK_THREAD_CPUTIME_ID);
    check(gn_vview_search(a->view, &s, &found, &n, &a->last, &err), "search", &err);
    a->times[q] = clock_seconds(CLOCK_THREAD_CPUTIME_ID) - began;
    a->cpu += a->times[q];
    for (size_t i = 0; i < n; i++)
        memcpy(&ids[i], found[i].key.data, sizeof ids[i]);
    a->hits += count_hits(a, q, ids, n, &a->want);
    a->distances += a->last.distances;
    a->n_short += n < K;
    a->searches++;
    gn_arena_reset(arena);
}

static void *ask_all(void *arg)
{
    asker *a = arg;
    gn_arena *arena = gn_arena_create(NULL);
    size_t room = a->ask->by_keys ? a->b->n + 1 : 1;
    uint32_t *ids = must(malloc(room * sizeof *ids));
    gn_bytes *keys = must(malloc(room * sizeof *keys));
    for (uint32_t pass = 0; pass < a->passes && a->cpu < ENOUGH_SECONDS; pass++) {
        for (size_t q = a->number; q < a->ask->n_queries; q += a->ask->threads)
            ask_one(a, arena, q, ids, keys);
    }
    free(ids);
    free(keys);
    gn_arena_destroy(arena);
    return NULL;
}

static int ascending(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

static void search(bench *b, question ask)
{
    asker askers[MAX_THREADS] = {0}, all = {0};
    double *times = must(calloc(b->n_queries, sizeof *times));
    gn_vview *view = gn_vview_acquire(b->index);
    if (!ask.truth) {
        ask.truth = b->truth;
        ask.truth_k = TRUTH_K;
        ask.n_queries = b->n_queries;
    }
    /* Those with a filter as often as those without: asked again, a query finds its nodes in the cache. */
    uint32_t passes = (uint32_t)((AT_LEAST + b->n_queries - 1) / b->n_queries);
    double wall = now_seconds();
    for (uint32_t t = 0; t < ask.threads; t++) {
        askers[t] = (asker){.b = b, .ask = &ask, .view = view, .number = t, .passes = passes, .times = times};
        if (pthread_create(&askers[t].thread, NULL, ask_all, &askers[t]) != 0)
            exit(1);
    }
    for (uint32_t t = 0; t < ask.threads; t++) {
        pthread_join(askers[t].thread, NULL);
        all.cpu += askers[t].cpu;
        all.hits += askers[t].hits;
        all.want += askers[t].want;
        all.n_short += askers[t].n_short;
        all.searches += askers[t].searches;
        all.distances += askers[t].distances;
    }
    wall = now_seconds() - wall;
    qsort(times, ask.n_queries, sizeof *times, ascending);
    printf("{\"ef\": %u, \"recall\": %.4f, \"qps\": %.0f, \"wall_qps\": %.0f, \"p50_us\": %.1f, \"p99_us\": %.1f, "
           "\"distances\": %.0f, \"short\": %zu}\n",
           ask.ef ? ask.ef : askers[0].last.ef, all.want ? (double)all.hits / (double)all.want : 1,
           (double)all.searches * ask.threads / all.cpu, (double)all.searches / wall, times[ask.n_queries / 2] * 1e6,
           times[ask.n_queries * 99 / 100] * 1e6, (double)all.distances / (double)all.searches, all.n_short / passes);
    gn_vview_release(view);
    free(times);
}

/* ---- what all rows are to a filter, known beforehand ---- */

typedef struct filling {
    bench *b;
    const filter *filter;
    gn_vview *view;
    size_t first;
    pthread_t thread;
} filling;

enum { FILLERS = 2 };

static void *fill_memos(void *arg)
{
    filling *f = arg;
    bench *b = f->b;
    for (size_t q = f->first; q < b->n_memos; q += FILLERS) {
        filter mine = *f->filter;
        mine.center = (uint16_t)(mine.center + b->centers[2 * q + mine.column]);
        for (uint32_t id = 0; id < b->n; id++)
            gn_vmemo_note(b->memos[q], f->view, gn_bytes_of(&id, sizeof id), 0, 1, matches(&mine, id));
    }
    return NULL;
}

static void know_filter(bench *b, const filter *f, const char *name, size_t n)
{
    filling hands[FILLERS];
    if (strcmp(b->memos_of, name) == 0)
        return;
    forget_memos(b);
    snprintf(b->memos_of, sizeof b->memos_of, "%s", name);
    b->memos = must(calloc(n, sizeof(gn_vmemo *)));
    b->n_memos = n;
    gn_vview *view = gn_vview_acquire(b->index);
    for (size_t q = 0; q < n; q++) {
        char of_query[96];
        int len = snprintf(of_query, sizeof of_query, "%s %zu", name, q);
        b->memos[q] = must(gn_vindex_memo(b->index, gn_bytes_of(of_query, (size_t)len)));
    }
    for (size_t i = 0; i < FILLERS; i++) {
        hands[i] = (filling){.b = b, .filter = f, .view = view, .first = i};
        if (pthread_create(&hands[i].thread, NULL, fill_memos, &hands[i]) != 0)
            exit(1);
    }
    for (size_t i = 0; i < FILLERS; i++)
        pthread_join(hands[i].thread, NULL);
    gn_vview_release(view);
}

typedef enum way { BY_FILTER, BY_KEYS, BY_MEMO } way;

static bool search_filtered(bench *b, uint32_t ef, const char *kind, uint32_t permille, way way)
{
    filter f = {0};
    char name[64];
    size_t bytes;
    if (!filter_init(&f, b, kind, permille))
        return false;
    snprintf(name, sizeof name, "filter-%s-%u", kind, permille);
    const void *truth = map_file(b, name, &bytes);
    question ask = {.ef = ef,
                    .threads = 1,
                    .filter = &f,
                    .by_keys = way == BY_KEYS,
                    .truth = truth,
                    .truth_k = K,
                    .n_queries = bytes / sizeof(uint32_t) / K};
    if (way == BY_MEMO) {
        know_filter(b, &f, name, ask.n_queries);
        ask.memos = b->memos;
    }
    search(b, ask);
    munmap((void *)(uintptr_t)truth, bytes);
    return true;
}

/* ---- the rest ---- */

static void delete_share(bench *b, uint32_t percent)
{
    b->scn++;
    for (uint32_t id = 0; id < b->n; id++) {
        if (b->deleted[id] || !is_among(id, percent))
            continue;
        b->deleted[id] = true;
        gn_vindex_end(b->index, gn_bytes_of(&id, sizeof id), 0, b->scn);
    }
    gn_vindex_set_position(b->index, b->scn);
    printf("{\"deleted\": %u}\n", percent);
}

static void merge(bench *b)
{
    gn_error err = {0};
    forget_memos(b);
    double wall = now_seconds(), cpu = clock_seconds(CLOCK_PROCESS_CPUTIME_ID);
    gn_vindex_set_horizon(b->index, b->scn);
    check(gn_vindex_build(b->index, NULL, NULL, NULL, &err), "merge", &err);
    printf("{\"seconds\": %.3f, \"cpu_seconds\": %.3f}\n", now_seconds() - wall,
           clock_seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu);
}

static void reopen(bench *b)
{
    gn_error err = {0};
    forget_memos(b);
    check(gn_vindex_close(b->index, true, &err), "close", &err);
    double began = now_seconds();
    check(gn_vindex_open(b->world, b->dir, &b->options, &b->index, &err), "open", &err);
    printf("{\"open_ms\": %.3f}\n", (now_seconds() - began) * 1e3);
}

static void stats(bench *b)
{
    gn_vindex_stats s;
    gn_vindex_stats_get(b->index, &s);
    printf(
        "{\"vectors\": %lu, \"dead\": %lu, \"segments\": %lu, \"codes\": \"%s\", \"code_bytes\": %lu, "
        "\"link_bytes\": %lu, \"vector_bytes\": %lu, \"other_bytes\": %lu, \"memory_bytes\": %lu, \"dir\": \"%s\"}\n",
        s.vectors, s.dead_vectors, s.segments, gn_code_kind_name(s.codes), s.code_bytes, s.link_bytes, s.vector_bytes,
        s.other_bytes, s.memory_bytes, b->dir);
}

static bool command(bench *b, const char *line)
{
    char word[32] = "", codes[32], kind[16];
    uint32_t x = 0, y = 0, z = 0, mb = 0;
    bool good = true;
    sscanf(line, "%31s", word);
    if (sscanf(line, "build %31s %u %u %u %u", codes, &x, &y, &z, &mb) == 5)
        build(b, codes, x, y, z, mb);
    else if (sscanf(line, "skip %u", &x) == 1)
        printf("{\"skip\": %u}\n", b->skip = x);
    else if (sscanf(line, "halves %u", &x) == 1)
        printf("{\"halves\": %s}\n", (b->options.halves = x) ? "true" : "false");
    else if (sscanf(line, "search %u %u", &x, &y) == 2 && y >= 1 && y <= MAX_THREADS)
        search(b, (question){.ef = x, .threads = y});
    else if (sscanf(line, "target %u", &x) == 1 && x < 1000)
        search(b, (question){.target = (float)x / 1000, .threads = 1});
    else if (sscanf(line, "filter %u %15s %u", &x, kind, &y) == 3)
        good = search_filtered(b, x, kind, y, BY_FILTER);
    else if (sscanf(line, "memo %u %15s %u", &x, kind, &y) == 3)
        good = search_filtered(b, x, kind, y, BY_MEMO);
    else if (sscanf(line, "keys %15s %u", kind, &y) == 2)
        good = search_filtered(b, 0, kind, y, BY_KEYS);
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
    return good;
}

int main(int argc, char **argv)
{
    bench b = {0};
    char line[256];
    if (argc != 4 || strtoul(argv[2], NULL, 10) == 0) {
        fprintf(stderr, "usage: bench_vector FOLDER DIMENSIONS l2|cosine|ip\n");
        return 2;
    }
    load(&b, argv);
    b.world = gn_world_real_create(&(gn_world_options){.node_id = 1, .threads = 2});
    bool good = true;
    while (good && fgets(line, sizeof line, stdin))
        good = command(&b, line);
    if (!good)
        fprintf(stderr, "unknown command: %s", line);
    close_index(&b);
    gn_world_real_destroy(b.world);
    free(b.deleted);
    return good ? 0 : 2;
}
