/* Walking a segment's graph: algorithms 2 and 5 of Malkov and Yashunin, "Efficient and robust approximate nearest
 * neighbor search using Hierarchical Navigable Small World graphs" (2016, arXiv 1603.09320).
 *
 * Departures. Neighbours of a node are gathered first and measured four at a time while the next four are on their way
 * from memory. Candidates and results are one sorted pool. Where not every node may be a result (ended versions,
 * filters) see segment_filter.c. Marks of visited nodes are epochs, so that nothing is cleared between walks.
 *
 * A walk goes over codes. What it has found is measured again by the full vectors, nearest estimate first, until no
 * candidate left is likely to belong to the k nearest: how far estimates are off is learned from those measured. */
#include "base/assert.h"
#include "index/table_private.h"
#include "index/walk_private.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { MAX_POOLED_WALKS = 16 };

/* ---- scratch ---- */

static void walk_destroy(gn_segment *s, gn_walk *walk)
{
    gn_account_release(s->account, walk->charged);
    gn_code_query_destroy(walk->query);
    free(walk->visited);
    free(walk->pool);
    free(walk->heap);
    free(walk);
}

static gn_walk *walk_take(gn_segment *s)
{
    pthread_mutex_lock(&s->walks_lock);
    gn_walk *walk = s->walks;
    if (walk) {
        s->walks = walk->next;
        s->n_walks--;
    }
    pthread_mutex_unlock(&s->walks_lock);
    if (!walk) {
        size_t bytes = (size_t)s->header->n_nodes * sizeof(uint16_t) + gn_code_query_bytes(s->codec) +
                       GN_MAX_POOL_EF * sizeof(gn_candidate);
        if (!gn_account_charge(s->account, bytes))
            return NULL;
        walk = gn_xcalloc(1, sizeof *walk);
        walk->visited = gn_table_alloc((size_t)s->header->n_nodes * sizeof(uint16_t), 0);
        walk->query = gn_code_query_create(s->codec);
        walk->pool = gn_xmalloc(GN_MAX_POOL_EF * sizeof *walk->pool);
        walk->charged = bytes;
    }
    return walk;
}

void gn_walk_begin(const gn_segment *s, gn_walk *walk, uint32_t hidden)
{
    walk->epoch = (uint16_t)(walk->epoch + GN_EPOCH_STEP);
    if (walk->epoch == 0) {
        memset(walk->visited, 0, (size_t)s->header->n_nodes * sizeof(uint16_t));
        walk->epoch = GN_EPOCH_STEP;
    }
    walk->n_heap = 0;
    if (hidden < s->header->n_nodes)
        walk->visited[hidden] = walk->epoch;
}

static void walk_give(gn_segment *s, gn_walk *walk)
{
    pthread_mutex_lock(&s->walks_lock);
    bool keep = s->n_walks < MAX_POOLED_WALKS;
    if (keep) {
        walk->next = s->walks;
        s->walks = walk;
        s->n_walks++;
    }
    pthread_mutex_unlock(&s->walks_lock);
    if (!keep)
        walk_destroy(s, walk);
}

void gn_walks_free(gn_segment *s)
{
    while (s->walks) {
        gn_walk *next = s->walks->next;
        walk_destroy(s, s->walks);
        s->walks = next;
    }
}

/* ---- distances to a list of nodes ---- */

void gn_walk_estimate(const gn_segment *s, const gn_walk *walk, const uint32_t *ids, uint32_t n, float *out)
{
    const uint8_t *codes[GN_MAX_LINKS];
    if (n == 0)
        return;
    GN_ASSERT(n <= GN_MAX_LINKS);
    for (uint32_t i = 0; i < n; i++)
        codes[i] = gn_segment_code(s, ids[i]);
    gn_codec_measure(s->codec, walk->query, codes, n, out);
}

static void measure_nodes(const gn_segment *s, const float *query, const uint32_t *ids, uint32_t n, float *out)
{
    const gn_measure *m = &s->measure;
    const void *v[4];
    uint32_t i = 0;
    for (uint32_t j = 0; j < n && j < 4; j++)
        gn_prefetch_row(m, gn_segment_vector(s, ids[j]));
    for (; i + 4 <= n; i += 4) {
        for (uint32_t j = 0; j < 4; j++) {
            v[j] = gn_segment_vector(s, ids[i + j]);
            if (i + 4 + j < n)
                gn_prefetch_row(m, gn_segment_vector(s, ids[i + 4 + j]));
        }
        gn_measure_four(m, query, v, out + i);
    }
    for (; i < n; i++)
        out[i] = gn_measure_one(m, query, gn_segment_vector(s, ids[i]));
}

bool gn_walk_unseen(const gn_segment *s, gn_walk *walk, uint32_t level, uint32_t node, uint32_t *ids, uint32_t *n)
{
    const uint32_t *links = gn_segment_links(s, level, node);
    uint32_t n_nodes = s->header->level_count[level], most = level ? s->header->m : s->header->m0, count = 0;
    for (uint32_t i = 0; i < most; i++) {
        uint32_t id = links[i];
        if (id >= n_nodes) {
            if (id == GN_NO_LINK)
                break;
            gn_segment_damage(s);
            return false;
        }
        ids[count] = id;
        count += walk->visited[id] != walk->epoch;
        walk->visited[id] = walk->epoch;
    }
    *n = count;
    return true;
}

/* Algorithm 2 in an upper layer, from the nodes of the pool. */
static bool walk_upper(const gn_segment *s, gn_segment_query *q, gn_walk *walk, uint32_t level, gn_pool *pool)
{
    gn_walk_begin(s, walk, GN_NO_LINK);
    for (size_t i = 0; i < pool->n; i++)
        walk->visited[pool->items[i].id] = walk->epoch;
    for (size_t at = 0; at < pool->n;) {
        uint32_t ids[GN_MAX_LINKS + 1], n;
        float distance[GN_MAX_LINKS];
        pool->items[at].id |= GN_POOL_EXPANDED;
        if (!gn_walk_unseen(s, walk, level, pool->items[at].id & ~GN_POOL_EXPANDED, ids, &n))
            return false;
        gn_walk_estimate(s, walk, ids, n, distance);
        q->distances += n;
        for (uint32_t i = 0; i < n; i++)
            gn_pool_insert(pool, (gn_candidate){.id = ids[i], .distance = distance[i]});
        for (at = 0; at < pool->n && (pool->items[at].id & GN_POOL_EXPANDED);)
            at++;
    }
    for (size_t i = 0; i < pool->n; i++)
        pool->items[i].id &= ~GN_POOL_EXPANDED;
    return true;
}

/* One way down to layer 1, and several from there. The nearest lie in different places where vectors form clusters, and
 * hardly a link leads from one to the other: who enters the wrong one stays there. */
static bool descend(const gn_segment *s, gn_segment_query *q, gn_walk *walk, gn_entry *entry)
{
    gn_pool ways = {.items = entry->ways, .cap = 1};
    gn_candidate top = {.id = 0};
    gn_walk_estimate(s, walk, &top.id, 1, &top.distance);
    q->distances++;
    gn_pool_insert(&ways, top);
    for (uint32_t level = s->header->levels - 1; level > 0; level--) {
        ways.cap = level > 1 ? 1 : GN_WAYS;
        if (!walk_upper(s, q, walk, level, &ways))
            return false;
        if (level == 2)
            entry->above = entry->ways[0];
    }
    entry->n = ways.n;
    return true;
}

void gn_walk_enter(const gn_segment *s, const gn_segment_query *q, gn_walk *walk, const gn_entry *entry, gn_pool *pool)
{
    gn_walk_begin(s, walk, q->hidden);
    for (size_t i = 0; i < entry->n; i++) {
        walk->visited[entry->ways[i].id] = walk->epoch;
        gn_pool_insert(pool, entry->ways[i]);
    }
}

/* ---- layer 0, every node a possible result ---- */

void gn_walk_prefetch_links(const gn_segment *s, uint32_t node)
{
    const char *links = (const char *)(s->links0 + (size_t)node * s->header->m0);
    for (size_t i = 0; i < s->header->m0 * sizeof(uint32_t) && i < 256; i += 64)
        __builtin_prefetch(links + i, 0, 3);
}

/* What a filter will ask for. */
static void prefetch_row(const gn_segment *s, uint32_t node)
{
    __builtin_prefetch(s->begin + node);
    __builtin_prefetch((const void *)(s->end + node));
    __builtin_prefetch(s->key_offsets + node);
}

/* A candidate that comes to stand this near to the front is likely to be expanded soon. */
enum { SOON = 3 };

void gn_walk_absorb(const gn_segment *s, gn_segment_query *q, const gn_walk *walk, gn_pool *pool, const uint32_t *ids,
                    uint32_t n, float limit, size_t *at)
{
    float distance[GN_MAX_LINKS];
    size_t lowest = SIZE_MAX, next = *at;
    gn_walk_estimate(s, walk, ids, n, distance);
    q->distances += n;
    for (uint32_t i = 0; i < n; i++) {
        if (distance[i] > limit)
            continue;
        size_t p = gn_pool_insert(pool, (gn_candidate){.id = ids[i], .distance = distance[i]});
        if (p < *at + SOON) {
            gn_walk_prefetch_links(s, ids[i]);
            if (q->accept.fn)
                prefetch_row(s, ids[i]);
        }
        lowest = p < lowest ? p : lowest;
    }
    next = lowest < next ? lowest : next;
    while (next < pool->n && (pool->items[next].id & GN_POOL_EXPANDED))
        next++;
    *at = next;
    for (size_t i = next + 1; i < pool->n && i < next + SOON; i++) {
        if (!(pool->items[i].id & GN_POOL_EXPANDED))
            gn_walk_prefetch_links(s, pool->items[i].id);
    }
}

static bool walk_pool(const gn_segment *s, gn_segment_query *q, gn_walk *walk, const gn_entry *entry)
{
    gn_pool pool = {.items = q->best, .cap = q->ef};
    gn_walk_enter(s, q, walk, entry, &pool);
    for (size_t at = 0; at < pool.n;) {
        uint32_t ids[GN_MAX_LINKS + 1], n;
        pool.items[at].id |= GN_POOL_EXPANDED;
        if (!gn_walk_unseen(s, walk, 0, pool.items[at].id & ~GN_POOL_EXPANDED, ids, &n))
            return false;
        gn_walk_absorb(s, q, walk, &pool, ids, n, INFINITY, &at);
    }
    for (size_t i = 0; i < pool.n; i++)
        pool.items[i].id &= ~GN_POOL_EXPANDED;
    q->n_best = pool.n;
    return true;
}

/* ---- reranking ---- */

/* How far estimates have been off so far (Welford's running mean and variance). */
typedef struct drift {
    double mean, m2;
    uint32_t n;
} drift;

static void note_drift(drift *d, double error)
{
    double delta = error - d->mean;
    d->n++;
    d->mean += delta / d->n;
    d->m2 += delta * (error - d->mean);
}

/* What an estimate says that the distance is at least, as far as one can tell. The first to be measured are those whose
 * estimates are too small, so their mean error says nothing of the others' but its size. */
static double likely_least(const drift *d, double estimate)
{
    enum { SIGMAS = 4 };
    double n = d->n > 1 ? d->n : 1, sigma = sqrt(d->m2 / n + d->mean * d->mean);
    return estimate - SIGMAS * sigma;
}

/* q->best holds estimates, nearest first; afterwards the exact distances of those that were worth measuring. */
static void rerank(const gn_segment *s, gn_segment_query *q)
{
    enum { STEP = 4, SURE_AFTER = 8 };
    gn_candidate *best = q->best, *kth = q->best + q->ef;
    size_t n = q->n_best, n_kth = 0, most = q->rerank ? q->rerank : n, i = 0;
    drift off = {0};
    most = most < q->k ? q->k : most;
    while (i < n && i < most) {
        uint32_t ids[STEP] = {0}, some = n - i < STEP ? (uint32_t)(n - i) : STEP;
        float exact[STEP];
        if (i >= SURE_AFTER && n_kth > 0) {
            float beyond = n_kth == q->k && kth[0].distance < q->bound ? kth[0].distance : q->bound;
            if (likely_least(&off, best[i].distance) > beyond)
                break;
        }
        for (uint32_t j = 0; j < some; j++)
            ids[j] = best[i + j].id;
        for (size_t j = i + STEP; j < i + 2 * STEP && j < n; j++)
            gn_prefetch_row(&s->measure, gn_segment_vector(s, best[j].id));
        measure_nodes(s, q->vector, ids, some, exact);
        for (uint32_t j = 0; j < some; j++, i++) {
            if (isfinite(best[i].distance) && isfinite(exact[j]))
                note_drift(&off, (double)best[i].distance - exact[j]);
            best[i].distance = exact[j];
            gn_heap_offer(kth, &n_kth, q->k, best[i]);
        }
    }
    q->distances += i;
    q->n_best = i;
}

gn_code gn_segment_search(gn_segment *s, gn_segment_query *q, gn_error *err)
{
    GN_ASSERT(s->header->graph == GN_GRAPH_HNSW && q->k >= 1 && q->ef >= q->k);
    q->n_best = 0;
    q->gave_up = q->found_all = q->saw_all = false;
    if (s->header->n_nodes == 0)
        return GN_OK;
    gn_walk *walk = walk_take(s);
    if (!walk)
        return gn_error_oom(err, s->account);
    gn_entry entry = {.n = 0};
    gn_code code = GN_INDEX_CORRUPT;
    gn_codec_prepare(s->codec, walk->query, q->vector);
    if (descend(s, q, walk, &entry)) {
        if (q->accept.fn || q->ef > GN_MAX_POOL_EF)
            code = gn_walk_accepted(s, q, walk, &entry, err);
        else
            code = walk_pool(s, q, walk, &entry) ? GN_OK : GN_INDEX_CORRUPT;
    }
    if (code == GN_INDEX_CORRUPT)
        gn_error_set(err, code, "vector index segment \"%s\" is damaged: a link leads nowhere", s->path);
    walk_give(s, walk);
    q->found_all = q->n_best == q->ef || q->saw_all;
    if (code == GN_OK && !q->gave_up && !gn_codec_exact(s->codec)) {
        if (q->accept.fn || q->ef > GN_MAX_POOL_EF)
            qsort(q->best, q->n_best, sizeof *q->best, gn_candidate_order);
        rerank(s, q);
    }
    return code;
}

/* ---- everything ---- */

static void offer(const gn_segment *s, const gn_accept *accept, uint32_t row, float distance, gn_topk *top)
{
    if (distance <= gn_topk_bound(top) && gn_accepts_last(accept, s, row))
        gn_topk_offer(top, (gn_hit){.distance = distance, .row = row, .source = s, .row_of = gn_segment_row});
}

uint64_t gn_segment_scan(const gn_segment *s, const float *query, gn_accept accept, gn_topk *top)
{
    uint32_t rows[4] = {0}, pending = 0;
    float distance[4];
    uint64_t measured = 0;
    for (uint32_t row = 0; (row = gn_accept_next(&accept, row, s->header->n_nodes)) < s->header->n_nodes; row++) {
        if (!gn_accepts_first(&accept, s, row))
            continue;
        rows[pending++] = row;
        if (pending < 4)
            continue;
        measure_nodes(s, query, rows, 4, distance);
        for (uint32_t j = 0; j < 4; j++)
            offer(s, &accept, rows[j], distance[j], top);
        measured += 4;
        pending = 0;
    }
    measure_nodes(s, query, rows, pending, distance);
    for (uint32_t j = 0; j < pending; j++)
        offer(s, &accept, rows[j], distance[j], top);
    return measured + pending;
}

enum { SCANNED = 32 };

typedef struct likely_scan {
    gn_segment *s;
    const float *query;
    gn_accept *accept;
    gn_topk *top;
    gn_walk *walk;
    uint32_t row; /* the next one */
    uint64_t measured;
} likely_scan;

/* The next rows that are accepted; their codes are fetched while others are measured. */
static uint32_t take_rows(likely_scan *scan, uint32_t *rows)
{
    const gn_segment *s = scan->s;
    uint32_t n = 0, end = s->header->n_nodes, row = scan->row;
    for (; n < SCANNED && (row = gn_accept_next(scan->accept, row, end)) < end; row++) {
        if (!gn_accepts_first(scan->accept, s, row))
            continue;
        gn_prefetch_code(s, row);
        rows[n++] = row;
    }
    scan->row = row;
    return n;
}

static void measure_likely(likely_scan *scan, const uint32_t *rows, uint32_t n)
{
    enum { SIGMAS = 4 };
    const gn_segment *s = scan->s;
    uint32_t likely[SCANNED], n_likely = 0;
    float distance[SCANNED];
    gn_walk_estimate(s, scan->walk, rows, n, distance);
    for (uint32_t i = 0; i < n; i++) {
        float off = gn_codec_error(s->codec, scan->walk->query, gn_segment_code(s, rows[i]), SIGMAS);
        if (!(distance[i] - off > gn_topk_bound(scan->top))) /* an estimate that is not a number says nothing */
            likely[n_likely++] = rows[i];
    }
    measure_nodes(s, scan->query, likely, n_likely, distance);
    for (uint32_t i = 0; i < n_likely; i++)
        offer(scan->s, scan->accept, likely[i], distance[i], scan->top);
    scan->measured += n + n_likely;
}

/* The same for who may miss one in many thousand: where a row's estimate lies beyond what was found by more than
 * estimates are likely to be off (gn_codec_error), the vector is not read. */
uint64_t gn_segment_scan_likely(gn_segment *s, const float *query, gn_accept accept, gn_topk *top)
{
    uint32_t rows[2][SCANNED], n, next;
    gn_walk *walk = gn_codec_exact(s->codec) ? NULL : walk_take(s);
    if (!walk)
        return gn_segment_scan(s, query, accept, top);
    likely_scan scan = {.s = s, .query = query, .accept = &accept, .top = top, .walk = walk};
    gn_codec_prepare(s->codec, walk->query, query);
    n = take_rows(&scan, rows[0]);
    for (int at = 0; n > 0; n = next, at = !at) {
        next = take_rows(&scan, rows[!at]);
        measure_likely(&scan, rows[at], n);
    }
    walk_give(s, walk);
    return scan.measured;
}
