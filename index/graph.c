/* Building the graph: algorithms 1, 2 and 4 of Malkov and Yashunin (2016), without extendCandidates and
 * keepPrunedConnections.
 *
 * Several workers insert at once. Links are single 32-bit atomics that always hold either nothing or the number of a
 * node whose vector and level never change, so walks read them without a lock, and at worst see a list half old and
 * half new; who changes a list holds the node's lock. A node becomes visible to others by the first link to it, and its
 * own list in a lower layer may then get links before it writes its own: it adds to them. */
#include "base/assert.h"
#include "index/codes_private.h"
#include "index/graph_private.h"
#include "index/table_private.h"

#include <math.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { MAX_LINKS = 256, MAX_LEVEL = GN_SEGMENT_MAX_LEVELS - 1 };

struct gn_graph_worker {
    gn_graph *graph;
    gn_code_query *query;  /* of the node at hand */
    gn_code_query *linked; /* of a node whose links are chosen anew */
    gn_code_query *other;  /* of a candidate, while neighbours are selected */
    float *wide;           /* a row of halves */
    uint16_t *visited;
    uint16_t epoch;
    gn_pool pool;
    gn_candidate *list; /* for selection; room for list_cap */
    size_t list_cap;
    size_t charged;
};

uint32_t gn_graph_m0(uint32_t m)
{
    return 2 * m;
}

uint8_t gn_graph_level(uint64_t seed, uint64_t i, uint32_t m)
{
    uint64_t state = seed + i * 0x9e3779b97f4a7c15u; /* the level depends on nothing but seed and position */
    double u = ((double)(gn_random_next(&state) >> 11) + 1) / 9007199254740992.0; /* (0, 1] */
    double level = floor(-log(u) / log((double)m));
    return level > MAX_LEVEL ? MAX_LEVEL : (uint8_t)level;
}

/* ---- life ---- */

gn_code gn_graph_create(const gn_graph_options *o, gn_graph **out, gn_error *err)
{
    GN_ASSERT(o->n <= GN_SEGMENT_MAX_ROWS && o->m >= 2 && gn_graph_m0(o->m) <= MAX_LINKS);
    uint64_t n_upper = 0, n = o->n;
    for (uint64_t i = 0; i < n; i++)
        n_upper += o->levels[i];
    size_t m0 = gn_graph_m0(o->m), links0 = n * m0 * 4, upper = n_upper * o->m * 4;
    size_t codes = gn_codec_exact(o->codec) ? 0 : n * gn_codec_stride(o->codec);
    size_t bytes = links0 + upper + codes + n * (1 + 1 + 4 + 1 + 8);
    if (n_upper > UINT32_MAX || !gn_account_charge(o->account, bytes))
        return gn_error_oom(err, o->account);
    gn_graph *g = gn_xcalloc(1, sizeof *g);
    *g = (gn_graph){.codec = o->codec,
                    .measure = *o->measure,
                    .code_stride = gn_codec_stride(o->codec),
                    .m = o->m,
                    .m0 = (uint32_t)m0,
                    .ef_construction = o->ef_construction,
                    .n = o->n,
                    .shift = o->shift,
                    .blocks = o->blocks,
                    .n_upper = n_upper,
                    .account = o->account,
                    .charged = bytes};
    g->codes = codes ? gn_table_alloc(codes, 0) : NULL;
    g->level = gn_xcalloc(n + 1, 1);
    memcpy(g->level, o->levels, n);
    g->absent = gn_xcalloc(n + 1, sizeof *g->absent);
    g->locks = gn_xcalloc(n + 1, 1);
    g->upper_at = gn_xcalloc(n + 1, sizeof *g->upper_at);
    g->cell = gn_table_alloc(n * sizeof *g->cell, 0xff); /* NO_CELL */
    g->links0 = gn_table_alloc(links0, 0xff);            /* GN_NO_LINK */
    g->upper = gn_table_alloc(upper, 0xff);
    for (uint32_t i = 0, at = 0; i < n; at += g->level[i++])
        g->upper_at[i] = at;
    atomic_init(&g->entry, UINT64_MAX);
    pthread_mutex_init(&g->entry_lock, NULL);
    *out = g;
    return GN_OK;
}

void gn_graph_destroy(gn_graph *g)
{
    if (!g)
        return;
    gn_account_release(g->account, g->charged);
    pthread_mutex_destroy(&g->entry_lock);
    free(g->codes);
    free(g->level);
    free(g->absent);
    free((void *)g->locks);
    free((void *)g->cell);
    free(g->upper_at);
    free((void *)g->links0);
    free((void *)g->upper);
    free(g);
}

gn_graph_worker *gn_graph_worker_create(gn_graph *g)
{
    size_t list = MAX_LINKS * (MAX_LINKS + 1);
    size_t pool = g->ef_construction;
    size_t bytes = (size_t)g->n * 2 + (list + pool) * sizeof(gn_candidate) + 3 * gn_code_query_bytes(g->codec) +
                   g->measure.stride * sizeof(float);
    if (!gn_account_charge(g->account, bytes))
        return NULL;
    gn_graph_worker *w = gn_xcalloc(1, sizeof *w);
    w->graph = g;
    w->charged = bytes;
    w->query = gn_code_query_create(g->codec);
    w->linked = gn_code_query_create(g->codec);
    w->other = gn_code_query_create(g->codec);
    w->wide = gn_xcalloc(g->measure.stride, sizeof *w->wide);
    w->visited = gn_table_alloc((size_t)g->n * sizeof *w->visited, 0);
    w->pool = (gn_pool){.items = gn_xmalloc(pool * sizeof(gn_candidate)), .cap = pool};
    w->list = gn_xmalloc(list * sizeof(gn_candidate));
    w->list_cap = list;
    return w;
}

void gn_graph_worker_destroy(gn_graph_worker *w)
{
    if (!w)
        return;
    gn_account_release(w->graph->account, w->charged);
    gn_code_query_destroy(w->query);
    gn_code_query_destroy(w->linked);
    gn_code_query_destroy(w->other);
    free(w->wide);
    free(w->visited);
    free(w->pool.items);
    free(w->list);
    free(w);
}

/* ---- reading ---- */

static void new_walk(gn_graph_worker *w)
{
    if (++w->epoch == 0) {
        memset(w->visited, 0, (size_t)w->graph->n * sizeof *w->visited);
        w->epoch = 1;
    }
}

static uint32_t read_links(const gn_graph *g, uint32_t level, uint32_t node, uint32_t *ids)
{
    const _Atomic uint32_t *links = gn_graph_links(g, level, node);
    uint32_t max = gn_graph_max_links(g, level), n = 0;
    while (n < max && (ids[n] = atomic_load_explicit(&links[n], memory_order_relaxed)) != GN_NO_LINK)
        n++;
    return n;
}

static void measure_nodes(const gn_graph *g, const gn_code_query *query, const uint32_t *ids, uint32_t n, float *out)
{
    const uint8_t *codes[MAX_LINKS];
    GN_ASSERT(n <= MAX_LINKS);
    for (uint32_t i = 0; i < n; i++)
        codes[i] = gn_graph_code(g, ids[i]);
    gn_codec_measure(g->codec, query, codes, n, out);
}

static gn_candidate measured(const gn_graph *g, const gn_code_query *query, uint32_t id)
{
    gn_candidate c = {.id = id};
    measure_nodes(g, query, &id, 1, &c.distance);
    return c;
}

static gn_candidate greedy(const gn_graph *g, uint32_t level, const gn_code_query *query, gn_candidate at)
{
    uint32_t ids[MAX_LINKS];
    float distance[MAX_LINKS];
    for (bool moved = true; moved;) {
        uint32_t n = read_links(g, level, at.id, ids);
        measure_nodes(g, query, ids, n, distance);
        moved = false;
        for (uint32_t i = 0; i < n; i++) {
            if (distance[i] < at.distance) {
                at = (gn_candidate){.id = ids[i], .distance = distance[i]};
                moved = true;
            }
        }
    }
    return at;
}

static void prefetch_links(const gn_graph *g, uint32_t level, uint32_t node)
{
    const char *links = (const char *)gn_graph_links(g, level, node);
    for (size_t i = 0; i < gn_graph_max_links(g, level) * sizeof(uint32_t) && i < 256; i += 64)
        __builtin_prefetch(links + i, 0, 3);
}

/* A candidate that comes to stand this near to the front is likely to be expanded soon. */
enum { SOON = 3 };

/* Algorithm 2: fills the worker's pool with the ef_construction nearest to its query that a walk from `entry` finds. */
static void search_layer(gn_graph_worker *w, uint32_t level, gn_candidate entry)
{
    const gn_graph *g = w->graph;
    gn_pool *pool = &w->pool;
    uint32_t ids[MAX_LINKS];
    float distance[MAX_LINKS];
    new_walk(w);
    pool->n = 0;
    w->visited[entry.id] = w->epoch;
    gn_pool_insert(pool, entry);
    for (size_t at = 0; at < pool->n;) {
        uint32_t node = pool->items[at].id, n_links = 0, n = 0;
        pool->items[at].id |= GN_POOL_EXPANDED;
        n_links = read_links(g, level, node, ids);
        for (uint32_t i = 0; i < n_links; i++) {
            uint32_t id = ids[i];
            ids[n] = id;
            n += w->visited[id] != w->epoch;
            w->visited[id] = w->epoch;
        }
        measure_nodes(g, w->query, ids, n, distance);
        size_t lowest = SIZE_MAX;
        for (uint32_t i = 0; i < n; i++) {
            size_t p = gn_pool_insert(pool, (gn_candidate){.id = ids[i], .distance = distance[i]});
            if (p < at + SOON)
                prefetch_links(g, level, ids[i]);
            lowest = p < lowest ? p : lowest;
        }
        at = lowest <= at ? lowest : at + 1;
        while (at < pool->n && (pool->items[at].id & GN_POOL_EXPANDED))
            at++;
    }
    for (size_t i = 0; i < pool->n; i++)
        pool->items[i].id &= ~GN_POOL_EXPANDED;
}

/* ---- selecting and linking ---- */

typedef enum standing { APART, TIED, DOMINATED } standing;

/* Is some selected node nearer to the candidate than the candidate is to the new node, or as near? */
static standing compare_to_selected(gn_graph_worker *w, gn_candidate c, const uint32_t *selected, uint32_t n)
{
    const gn_graph *g = w->graph;
    float distance[4];
    standing found = APART;
    if (n == 0)
        return found;
    gn_codec_prepare_code(g->codec, w->other, gn_graph_code(g, c.id));
    for (uint32_t i = 0; i < n; i += 4) {
        uint32_t some = n - i < 4 ? n - i : 4;
        measure_nodes(g, w->other, selected + i, some, distance);
        for (uint32_t j = 0; j < some; j++) {
            if (distance[j] < c.distance)
                return DOMINATED;
            if (distance[j] == c.distance)
                found = TIED;
        }
    }
    return found;
}

/* Algorithm 4 over candidates sorted nearest first. Equal vectors do not dominate one another, and would take all
 * places between them: a quarter is enough, the rest leads elsewhere. */
static uint32_t select_neighbors(gn_graph_worker *w, const gn_candidate *sorted, size_t n, uint32_t max, uint32_t *out)
{
    uint32_t chosen = 0, tied = 0;
    for (size_t i = 0; i < n && chosen < max; i++) {
        standing s = compare_to_selected(w, sorted[i], out, chosen);
        if (s == DOMINATED || (s == TIED && tied >= (max + 3) / 4))
            continue;
        tied += s == TIED;
        out[chosen++] = sorted[i].id;
    }
    return chosen;
}

static void lock_node(gn_graph *g, uint32_t node)
{
    for (unsigned spins = 0; atomic_exchange_explicit(&g->locks[node], 1, memory_order_acquire); spins++) {
        if (spins >= 64)
            sched_yield();
    }
}

static void unlock_node(gn_graph *g, uint32_t node)
{
    atomic_store_explicit(&g->locks[node], 0, memory_order_release);
}

static void write_links(gn_graph *g, uint32_t level, uint32_t node, const uint32_t *ids, uint32_t n)
{
    _Atomic uint32_t *links = gn_graph_links(g, level, node);
    uint32_t max = gn_graph_max_links(g, level);
    GN_ASSERT(n <= max);
    for (uint32_t i = 0; i < max; i++)
        atomic_store_explicit(&links[i], i < n ? ids[i] : GN_NO_LINK, memory_order_relaxed);
}

/* Replaces a node's links by a selection among the n different nodes in the worker's list. */
static void relink(gn_graph_worker *w, uint32_t level, uint32_t node, uint32_t n)
{
    gn_graph *g = w->graph;
    uint32_t ids[MAX_LINKS];
    float distance[MAX_LINKS];
    GN_ASSERT(n <= w->list_cap);
    gn_codec_prepare_code(g->codec, w->linked, gn_graph_code(g, node));
    for (uint32_t i = 0; i < n; i += MAX_LINKS) {
        uint32_t some = n - i < MAX_LINKS ? n - i : MAX_LINKS;
        for (uint32_t j = 0; j < some; j++)
            ids[j] = w->list[i + j].id;
        measure_nodes(g, w->linked, ids, some, distance);
        for (uint32_t j = 0; j < some; j++)
            w->list[i + j].distance = distance[j];
    }
    qsort(w->list, n, sizeof *w->list, gn_candidate_order);
    write_links(g, level, node, ids, select_neighbors(w, w->list, n, gn_graph_max_links(g, level), ids));
}

/* The link back from a chosen neighbour to the new node. */
static void link_back(gn_graph_worker *w, uint32_t level, uint32_t from, uint32_t to)
{
    gn_graph *g = w->graph;
    uint32_t ids[MAX_LINKS];
    lock_node(g, from);
    uint32_t n = read_links(g, level, from, ids), i = 0;
    while (i < n && ids[i] != to)
        i++;
    if (i == n) {
        if (n < gn_graph_max_links(g, level)) {
            atomic_store_explicit(&gn_graph_links(g, level, from)[n], to, memory_order_relaxed);
        } else {
            for (i = 0; i < n; i++)
                w->list[i].id = ids[i];
            w->list[n].id = to;
            relink(w, level, from, n + 1);
        }
    }
    unlock_node(g, from);
}

/* The node's own links, added to what others have put there meanwhile. */
static void link_out(gn_graph *g, uint32_t level, uint32_t node, const uint32_t *chosen, uint32_t n_chosen)
{
    uint32_t ids[MAX_LINKS], max = gn_graph_max_links(g, level);
    lock_node(g, node);
    uint32_t n = read_links(g, level, node, ids), n_before = n;
    for (uint32_t i = 0; i < n_chosen && n < max; i++) {
        uint32_t j = 0;
        while (j < n_before && ids[j] != chosen[i])
            j++;
        if (j == n_before)
            ids[n++] = chosen[i];
    }
    write_links(g, level, node, ids, n);
    unlock_node(g, node);
}

static uint64_t pack_entry(uint32_t level, uint32_t node)
{
    return (uint64_t)level << 32 | node;
}

static void raise_entry(gn_graph *g, uint32_t level, uint32_t node)
{
    pthread_mutex_lock(&g->entry_lock);
    uint64_t entry = atomic_load(&g->entry);
    if (entry == UINT64_MAX || (uint32_t)(entry >> 32) < level)
        atomic_store(&g->entry, pack_entry(level, node));
    pthread_mutex_unlock(&g->entry_lock);
}

static void drop_from_pool(gn_pool *pool, uint32_t node)
{
    for (size_t i = 0; i < pool->n; i++) {
        if (pool->items[i].id == node) {
            memmove(pool->items + i, pool->items + i + 1, (--pool->n - i) * sizeof(gn_candidate));
            return;
        }
    }
}

/* ---- cells: each node belongs to the nearest node of a higher level that inserts have come by ---- */

#define NO_CELL UINT64_MAX

/* Smaller is nearer. */
static uint64_t pack_cell(float distance, uint32_t center)
{
    uint32_t bits;
    memcpy(&bits, &distance, sizeof bits);
    bits = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
    return (uint64_t)bits << 32 | center;
}

static void join_cell(gn_graph *g, uint32_t node, gn_candidate center)
{
    uint64_t cell = pack_cell(center.distance, center.id);
    uint64_t had = atomic_load_explicit(&g->cell[node], memory_order_relaxed);
    while (cell < had && !atomic_compare_exchange_weak_explicit(&g->cell[node], &had, cell, memory_order_relaxed,
                                                                memory_order_relaxed))
        ;
}

/* After a search of a layer for the node: it, or what was found, may have come by a nearer center of its cell. */
static void join_cells(gn_graph_worker *w, uint32_t level, uint32_t node, gn_candidate entry)
{
    gn_graph *g = w->graph;
    const gn_pool *pool = &w->pool;
    bool is_center = g->level[node] > level;
    if (!is_center && g->level[entry.id] > level)
        join_cell(g, node, entry);
    for (size_t i = 0; i < pool->n; i++) {
        gn_candidate c = pool->items[i];
        if (is_center == (g->level[c.id] > level))
            continue;
        if (!is_center) {
            join_cell(g, node, c);
            return; /* the others are farther */
        }
        join_cell(g, c.id, (gn_candidate){.id = node, .distance = c.distance});
    }
}

void gn_graph_take_cell(gn_graph *g, uint32_t node, uint32_t center)
{
    GN_ASSERT(node < g->n && center < g->n && g->level[node] < g->level[center]);
    atomic_store_explicit(&g->cell[node], pack_cell(0, center), memory_order_relaxed);
}

void gn_graph_measure_cell(gn_graph_worker *w, uint32_t node)
{
    gn_graph *g = w->graph;
    uint64_t cell = atomic_exchange_explicit(&g->cell[node], NO_CELL, memory_order_relaxed);
    if (cell == NO_CELL || g->absent[(uint32_t)cell])
        return;
    gn_codec_prepare_code(g->codec, w->query, gn_graph_code(g, node));
    join_cell(g, node, measured(g, w->query, (uint32_t)cell));
}

void gn_graph_find_cell(gn_graph_worker *w, uint32_t node)
{
    gn_graph *g = w->graph;
    uint64_t entry = atomic_load(&g->entry);
    if (atomic_load(&g->cell[node]) != NO_CELL || entry == UINT64_MAX || entry >> 32 <= g->level[node])
        return;
    gn_codec_prepare_code(g->codec, w->query, gn_graph_code(g, node));
    gn_candidate at = measured(g, w->query, (uint32_t)entry);
    for (uint32_t l = (uint32_t)(entry >> 32); l > g->level[node] + 1u; l--)
        at = greedy(g, l, w->query, at);
    search_layer(w, g->level[node] + 1u, at);
    join_cell(g, node, w->pool.items[0]);
}

void gn_graph_encode(gn_graph_worker *w, uint32_t node)
{
    gn_graph *g = w->graph;
    GN_ASSERT(g->codes && node < g->n);
    const float *vector = gn_measure_wide(&g->measure, gn_graph_vector(g, node), w->wide);
    gn_codec_encode(g->codec, w->query, vector, g->codes + (size_t)node * g->code_stride);
}

void gn_graph_insert(gn_graph_worker *w, uint32_t node)
{
    gn_graph *g = w->graph;
    GN_ASSERT(node < g->n && !g->absent[node]);
    uint32_t level = g->level[node], chosen[MAX_LINKS];
    uint64_t entry = UINT64_MAX;
    if (atomic_compare_exchange_strong(&g->entry, &entry, pack_entry(level, node)))
        return; /* the first */
    uint32_t top = (uint32_t)(entry >> 32), id = (uint32_t)entry;
    if (id == node)
        return;
    gn_codec_prepare_code(g->codec, w->query, gn_graph_code(g, node));
    gn_candidate at = measured(g, w->query, id);
    for (uint32_t l = top; l > level; l--)
        at = greedy(g, l, w->query, at);
    for (uint32_t l = (top < level ? top : level) + 1; l-- > 0;) {
        search_layer(w, l, at);
        drop_from_pool(&w->pool, node); /* others may have linked to it already */
        GN_ASSERT(w->pool.n > 0);
        join_cells(w, l, node, at);
        at = w->pool.items[0];
        uint32_t n_chosen = select_neighbors(w, w->pool.items, w->pool.n, g->m, chosen);
        link_out(g, l, node, chosen, n_chosen);
        for (uint32_t i = 0; i < n_chosen; i++)
            link_back(w, l, chosen[i], node);
    }
    if (level > top)
        raise_entry(g, level, node);
}

/* ---- repairing ---- */

void gn_graph_bridge(gn_graph_worker *w, uint32_t node)
{
    gn_graph *g = w->graph;
    uint32_t ids[MAX_LINKS], beyond[MAX_LINKS];
    for (uint32_t level = 0; level <= g->level[node]; level++) {
        uint32_t n = read_links(g, level, node, ids), n_found = 0, n_absent = 0;
        new_walk(w);
        w->visited[node] = w->epoch;
        for (uint32_t i = 0; i < n; i++) {
            n_absent += g->absent[ids[i]];
            w->visited[ids[i]] = w->epoch;
            if (!g->absent[ids[i]])
                w->list[n_found++].id = ids[i];
        }
        if (n_absent == 0)
            continue;
        for (uint32_t i = 0; i < n; i++) {
            if (!g->absent[ids[i]])
                continue;
            uint32_t n_beyond = read_links(g, level, ids[i], beyond);
            for (uint32_t j = 0; j < n_beyond; j++) {
                if (g->absent[beyond[j]] || w->visited[beyond[j]] == w->epoch)
                    continue;
                w->visited[beyond[j]] = w->epoch;
                w->list[n_found++].id = beyond[j];
            }
        }
        relink(w, level, node, n_found);
    }
}

void gn_graph_find_entry(gn_graph *g, uint32_t below)
{
    uint64_t best = UINT64_MAX;
    GN_ASSERT(below <= g->n);
    for (uint32_t i = 0; i < below; i++) {
        if (!g->absent[i] && (best == UINT64_MAX || g->level[i] > (uint32_t)(best >> 32)))
            best = pack_entry(g->level[i], i);
    }
    atomic_store(&g->entry, best);
}

/* Appends to queue[*n] what is newly reached in layer 0 from queue[at..]. */
static void flood(const gn_graph *g, uint32_t *queue, uint32_t at, uint32_t *n, bool *reached)
{
    uint32_t ids[MAX_LINKS];
    for (; at < *n; at++) {
        uint32_t n_links = read_links(g, 0, queue[at], ids);
        for (uint32_t i = 0; i < n_links; i++) {
            if (!reached[ids[i]] && !g->absent[ids[i]]) {
                reached[ids[i]] = true;
                queue[(*n)++] = ids[i];
            }
        }
    }
}

/* Breadth-first from the entry through layer 0. queue: room for g->n; reached: zeroed. */
static uint32_t flood_from_entry(const gn_graph *g, uint32_t *queue, bool *reached)
{
    uint64_t entry = atomic_load(&g->entry);
    uint32_t n = 0;
    if (entry == UINT64_MAX)
        return 0;
    queue[n++] = (uint32_t)entry;
    reached[(uint32_t)entry] = true;
    flood(g, queue, 0, &n, reached);
    return n;
}

uint32_t gn_graph_connect(gn_graph_worker *w)
{
    gn_graph *g = w->graph;
    uint32_t *queue = gn_xmalloc(((size_t)g->n + 1) * sizeof *queue), n = 0, alone = 0;
    bool *reached = gn_xcalloc((size_t)g->n + 1, sizeof *reached);
    n = flood_from_entry(g, queue, reached);
    for (uint32_t node = 0; node < g->n && n > 0; node++) {
        if (reached[node] || g->absent[node])
            continue;
        uint64_t entry = atomic_load(&g->entry);
        uint32_t id = (uint32_t)entry, ids[MAX_LINKS];
        gn_codec_prepare_code(g->codec, w->query, gn_graph_code(g, node));
        gn_candidate at = measured(g, w->query, id);
        for (uint32_t l = (uint32_t)(entry >> 32); l > 0; l--)
            at = greedy(g, l, w->query, at);
        if (!reached[at.id]) /* upper layers may know it, layer 0 must lead to it */
            at = measured(g, w->query, id);
        search_layer(w, 0, at);
        bool linked = false;
        for (size_t i = 0; i < w->pool.n && !linked; i++) {
            uint32_t from = w->pool.items[i].id, n_links = read_links(g, 0, from, ids);
            linked = from != node && reached[from] && n_links < g->m0;
            if (linked)
                atomic_store_explicit(&gn_graph_links(g, 0, from)[n_links], node, memory_order_relaxed);
        }
        alone += !linked;
        if (linked) {
            uint32_t first = n;
            reached[node] = true;
            queue[n++] = node;
            flood(g, queue, first, &n, reached);
        }
    }
    free(queue);
    free(reached);
    return alone;
}

/* The nodes order[from .. to) are those of one level: they are sorted by their cells, the centers of which have numbers
 * below `from` already. cells: where each one begins, and where the last one ends. */
static void order_by_cell(const gn_graph *g, uint32_t *order, uint32_t from, uint32_t to, uint32_t *number,
                          uint32_t *cells)
{
    uint32_t *nodes = gn_xmalloc(((size_t)to - from + 1) * sizeof *nodes);
    memcpy(nodes, order + from, (to - from) * sizeof *nodes);
    for (uint32_t i = 0; i < to - from; i++) {
        uint64_t cell = atomic_load_explicit(&g->cell[nodes[i]], memory_order_relaxed);
        number[nodes[i]] = cell == NO_CELL ? 0 : number[(uint32_t)cell];
        GN_ASSERT(number[nodes[i]] < from);
        cells[number[nodes[i]] + 1]++;
    }
    cells[0] = from;
    for (uint32_t i = 0; i < from; i++)
        cells[i + 1] += cells[i];
    for (uint32_t i = 0; i < to - from; i++)
        order[cells[number[nodes[i]]]++] = nodes[i];
    memmove(cells + 1, cells, from * sizeof *cells); /* each has become the begin of the next */
    cells[0] = from;
    for (uint32_t i = from; i < to; i++)
        number[order[i]] = i;
    free(nodes);
}

/* Level by level, highest first. */
static uint32_t *order_by_cells(const gn_graph *g, uint32_t *order, const uint32_t level_count[GN_SEGMENT_MAX_LEVELS])
{
    uint32_t *number = gn_xcalloc((size_t)g->n + 1, sizeof *number), level = 0;
    size_t at = gn_segment_cells_at(level_count, GN_SEGMENT_MAX_LEVELS);
    uint32_t *cells = gn_xcalloc(at + 1, sizeof *cells);
    while (level + 1 < GN_SEGMENT_MAX_LEVELS && level_count[level + 1])
        level++;
    for (uint32_t i = 0; i < level_count[level]; i++)
        number[order[i]] = i;
    for (; level > 0; level--)
        order_by_cell(g, order, level_count[level], level_count[level - 1], number,
                      cells + gn_segment_cells_at(level_count, level));
    free(number);
    return cells;
}

uint32_t gn_graph_order(const gn_graph *g, uint32_t *order, uint32_t level_count[GN_SEGMENT_MAX_LEVELS],
                        uint32_t **cells)
{
    uint32_t *queue = gn_xmalloc(((size_t)g->n + 1) * sizeof *queue);
    bool *reached = gn_xcalloc((size_t)g->n + 1, sizeof *reached);
    uint32_t n = flood_from_entry(g, queue, reached), at[GN_SEGMENT_MAX_LEVELS] = {0};
    for (uint32_t node = 0; node < g->n; node++) {
        if (!reached[node] && !g->absent[node])
            queue[n++] = node;
    }
    memset(level_count, 0, GN_SEGMENT_MAX_LEVELS * sizeof *level_count);
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t l = 0; l <= g->level[queue[i]]; l++)
            level_count[l]++;
    }
    for (uint32_t l = 0; l + 1 < GN_SEGMENT_MAX_LEVELS; l++)
        at[l] = level_count[l + 1]; /* all higher ones come first */
    for (uint32_t i = 0; i < n; i++)
        order[at[g->level[queue[i]]]++] = queue[i];
    free(queue);
    free(reached);
    *cells = level_count[1] ? order_by_cells(g, order, level_count) : NULL;
    return n;
}
