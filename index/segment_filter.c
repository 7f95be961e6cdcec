/* Walking a segment's graph where only some nodes may be results: ended versions, filters.
 *
 * A walk begins as through any graph, with a pool that has room for rejected nodes too: a node is asked for when it is
 * expanded, which few nodes ever are. Where the pool turns out to be too small, candidates and results are heaps.
 *
 * Where little is accepted around the query, it begins anew: only accepted nodes are measured and expanded, and a node
 * with few accepted neighbours is connected to those that its rejected neighbours lead to (ACORN; Patel, Kraft,
 * Guestrin and Zaharia, 2024). So it costs about what it would in a graph of the accepted nodes alone, wherever they
 * lie: what is near the query need not be seen when nothing of it is accepted. Departures: the graph is an ordinary
 * one, not a denser one made for it; rejected nodes are crossed, each once a walk, only until as many accepted
 * neighbours are known as a node has links in upper layers; and it begins at several accepted nodes of the upper
 * layers, from each of which a way of its own leads down.
 *
 * A walk that finds too few, or is expected to cost more than a scan, gives up, and the caller scans. */
#include "base/assert.h"
#include "index/walk_private.h"

#include <math.h>

/* ---- through all nodes ---- */

/* Room for so many candidates that ef of them are accepted, where each is by chance: three standard deviations more
 * than in the mean. 0: more than a pool is good for. */
static size_t pool_for(const gn_segment_query *q)
{
    double share = q->share > 0 && q->share < 1 ? q->share : 0.5;
    double wanted = share < 0.5 ? 1.5 * q->ef : q->ef;
    double room = (wanted + 3 * sqrt(q->ef * (1 - share))) / share + 16;
    return room <= GN_MAX_POOL_EF ? (size_t)room : 0;
}

typedef enum outcome {
    FOUND,
    TOO_SMALL, /* the pool was */
    THIN,      /* little is accepted around here */
    DEAR,      /* a scan costs less */
    DAMAGED,
} outcome;

enum { LEAST = 32, SAMPLE = 128 };

/* Of so many nodes one at least is accepted, if they are by chance and the share is known: all but one time in 10,000.
 */
static size_t telling_sample(const gn_segment_query *q)
{
    static const double SURE = 9.2; /* -ln(1 / 10,000) */
    double n = q->share > 0 && q->share < 1 ? SURE / -log1p(-q->share) : SAMPLE;
    return n < LEAST ? LEAST : n < SAMPLE ? (size_t)ceil(n) : SAMPLE;
}

/* Is much less accepted around here than in the whole? Where nothing was among what was expanded, a sample of what lies
 * around is asked for. */
static bool is_thin(const gn_segment *s, const gn_segment_query *q, const gn_pool *pool, uint32_t expanded,
                    size_t sample)
{
    enum { SURE = 32 };
    size_t n = pool->n < sample ? pool->n : sample, accepted = q->n_best;
    static const float THIN_SHARE = 1.0F / 32;
    if (accepted > 0)
        return expanded >= SURE && (float)accepted < THIN_SHARE * (float)expanded;
    for (size_t i = 0; i < n && accepted == 0; i++)
        accepted += gn_accepts(&q->accept, s, pool->items[i].id & ~GN_POOL_EXPANDED);
    return accepted == 0;
}

/* Would the walk, accepting at the rate seen so far, cost more than a scan? */
static bool is_dear(const gn_segment_query *q, uint64_t measured)
{
    return q->n_best < q->ef && (float)measured * (float)q->ef > 2 * q->scan_cost * ((float)q->n_best + 1);
}

static outcome walk_through(const gn_segment *s, gn_segment_query *q, gn_walk *walk, gn_candidate entry, size_t cap)
{
    enum { STEP = 16 };
    gn_pool pool = {.items = walk->pool, .cap = cap};
    size_t sample = telling_sample(q), early = sample < SAMPLE ? sample : SIZE_MAX;
    gn_walk_begin(s, walk, q->hidden);
    walk->visited[entry.id] = walk->epoch;
    gn_pool_insert(&pool, entry);
    q->n_best = 0;
    uint32_t expanded = 0;
    for (size_t at = 0; at < pool.n;) {
        uint32_t ids[GN_MAX_LINKS + 1], n;
        gn_candidate c = pool.items[at];
        if (q->n_best == q->ef && c.distance > q->best[0].distance)
            return FOUND;
        if (gn_accepts(&q->accept, s, c.id))
            gn_heap_offer(q->best, &q->n_best, q->ef, c);
        pool.items[at].id |= GN_POOL_EXPANDED;
        if (!gn_walk_unseen(s, walk, c.id, ids, &n))
            return DAMAGED;
        gn_walk_absorb(s, q, walk, &pool, ids, n, q->n_best == q->ef ? q->best[0].distance : INFINITY, &at);
        bool is_early = q->n_best == 0 && pool.n >= early; /* so few tell: once */
        if ((++expanded % STEP != 0 && !is_early) || q->n_best == q->ef)
            continue;
        early = is_early ? SIZE_MAX : early;
        if (is_thin(s, q, &pool, expanded, is_early ? sample : SAMPLE))
            return THIN;
        if (is_dear(q, q->distances))
            return DEAR;
    }
    if (q->n_best == q->ef || pool.n < cap)
        return FOUND;
    return q->n_best * 8 < expanded ? THIN : TOO_SMALL;
}

/* ---- what a node leads to ---- */

typedef struct gathering {
    uint32_t ids[GN_MAX_LINKS + 1];       /* accepted, and not seen before */
    uint32_t crossings[GN_MAX_LINKS + 1]; /* rejected */
    uint32_t n, n_crossings, n_accepted;
    uint64_t asked, passed; /* in all */
} gathering;

/* Without branches that depend on what the filter says, which would be guessed wrong half of the time. False when the
 * file holds an impossible link. */
static bool gather(const gn_segment *s, const gn_segment_query *q, gn_walk *walk, uint32_t node, gathering *g,
                   bool cross)
{
    const uint32_t *links = s->links0 + (size_t)node * s->header->m0;
    const gn_memo_part *memo = q->accept.memo_suffices ? q->accept.memo : NULL;
    uint32_t n = g->n, n_crossings = g->n_crossings, n_accepted = g->n_accepted, asked = 0;
    for (uint32_t i = 0; i < s->header->m0 && links[i] != GN_NO_LINK; i++) {
        uint32_t id = links[i];
        if (id >= s->header->n_nodes) {
            gn_segment_damage(s);
            return false;
        }
        uint16_t seen = (uint16_t)(walk->visited[id] - walk->epoch);
        bool is_new = seen > GN_CROSSED, accepted = seen == GN_SEEN, known = false;
        if (memo)
            known = gn_memo_look(memo, id, &accepted);
        if (is_new && !known)
            accepted = gn_accepts(&q->accept, s, id);
        seen = is_new ? (accepted ? GN_SEEN : GN_REJECTED) : seen;
        walk->visited[id] = (uint16_t)(walk->epoch + seen);
        g->ids[n] = id;
        n += is_new & (seen == GN_SEEN);
        n_accepted += seen == GN_SEEN;
        g->crossings[n_crossings] = id;
        n_crossings += cross & (seen == GN_REJECTED);
        asked += is_new;
    }
    g->asked += asked;
    g->passed += n - g->n;
    g->n = n;
    g->n_crossings = n_crossings;
    g->n_accepted = n_accepted;
    return true;
}

/* Gathers what the node leads to, through rejected ones where it is too little. */
static bool gather_widely(const gn_segment *s, const gn_segment_query *q, gn_walk *walk, uint32_t node, gathering *g)
{
    enum { AHEAD = 3 };
    uint32_t enough = s->header->m + s->header->m / 2, room = GN_MAX_LINKS - s->header->m0;
    g->n = g->n_crossings = g->n_accepted = 0;
    if (!gather(s, q, walk, node, g, true))
        return false;
    for (uint32_t i = 0; i < g->n_crossings && i < AHEAD && g->n_accepted < enough; i++)
        gn_walk_prefetch_links(s, g->crossings[i]);
    for (uint32_t i = 0; i < g->n_crossings && g->n_accepted < enough && g->n <= room; i++) {
        if (i + AHEAD < g->n_crossings)
            gn_walk_prefetch_links(s, g->crossings[i + AHEAD]);
        walk->visited[g->crossings[i]] = (uint16_t)(walk->epoch + GN_CROSSED);
        if (!gather(s, q, walk, g->crossings[i], g, false))
            return false;
    }
    return true;
}

/* ---- where to begin ---- */

/* The nearest of them into the pool. */
static void offer_accepted(const gn_segment *s, gn_segment_query *q, const gn_walk *walk, gn_pool *pool, uint32_t from,
                           uint32_t n)
{
    uint32_t good[GN_MAX_LINKS] = {0}, n_good = 0;
    float distance[GN_MAX_LINKS];
    for (uint32_t id = from; id < from + n; id++) {
        good[n_good] = id;
        n_good += gn_accepts(&q->accept, s, id);
    }
    gn_walk_estimate(s, walk, good, n_good, distance);
    q->distances += n_good;
    for (uint32_t i = 0; i < n_good; i++)
        gn_pool_insert(pool, (gn_candidate){.id = good[i], .distance = distance[i]});
}

/* Algorithm 2 with ef = 1 among the accepted nodes of an upper layer, but of those that other ways have not come by. */
static bool climb(const gn_segment *s, gn_segment_query *q, gn_walk *walk, uint32_t level, gn_candidate *at)
{
    const gn_segment_header *h = s->header;
    for (bool moved = true; moved;) {
        const uint32_t *links = gn_segment_links(s, level, at->id);
        uint32_t ids[GN_MAX_LINKS] = {0}, n = 0;
        float distance[GN_MAX_LINKS];
        moved = false;
        for (uint32_t i = 0; i < h->m && links[i] != GN_NO_LINK; i++) {
            if (links[i] >= h->level_count[level]) {
                gn_segment_damage(s);
                return false;
            }
            bool is_new = walk->visited[links[i]] != walk->epoch;
            walk->visited[links[i]] = walk->epoch;
            ids[n] = links[i];
            n += is_new && gn_accepts(&q->accept, s, links[i]);
        }
        gn_walk_estimate(s, walk, ids, n, distance);
        q->distances += n;
        for (uint32_t i = 0; i < n; i++) {
            if (distance[i] < at->distance) {
                *at = (gn_candidate){.id = ids[i], .distance = distance[i]};
                moved = true;
            }
        }
    }
    return true;
}

enum { SEEDS = 8, SMALL_LAYER = 256, AT_ONCE = 64 };

/* Accepted nodes near the query: what is accepted may lie in several places, between which no accepted node leads. All
 * of a small layer are looked at, and from each of the nearest a way leads down. */
static bool find_seeds(const gn_segment *s, gn_segment_query *q, gn_walk *walk, gn_pool *pool)
{
    const gn_segment_header *h = s->header;
    uint32_t level = h->levels - 1;
    while (level > 1 && h->level_count[level - 1] <= SMALL_LAYER)
        level--;
    uint32_t n = level == 0 ? 0 : h->level_count[level] < SMALL_LAYER ? h->level_count[level] : SMALL_LAYER;
    for (uint32_t from = 0; from < n; from += AT_ONCE)
        offer_accepted(s, q, walk, pool, from, n - from < AT_ONCE ? n - from : AT_ONCE);
    if (level > 0 && n == h->level_count[level])
        level--;
    for (; level > 0; level--) {
        gn_walk_begin(s, walk, GN_NO_LINK);
        for (size_t i = 0; i < pool->n; i++) {
            if (!climb(s, q, walk, level, &pool->items[i]))
                return false;
        }
    }
    return true;
}

/* ---- the walk ---- */

/* *thin: so few are accepted that there are too few ways between them for what was found to be the nearest. */
static bool expand_all(const gn_segment *s, gn_segment_query *q, gn_walk *walk, gn_pool *pool, bool *thin)
{
    enum { THIN_PART = 40 };
    gathering g = {.asked = 0};
    for (size_t at = 0; at < pool->n;) {
        pool->items[at].id |= GN_POOL_EXPANDED;
        if (!gather_widely(s, q, walk, pool->items[at].id & ~GN_POOL_EXPANDED, &g))
            return false;
        gn_walk_absorb(s, q, walk, pool, g.ids, g.n, INFINITY, &at);
    }
    *thin = g.passed * THIN_PART < g.asked;
    return true;
}

/* Twice as many candidates as ef are kept: what lies at the edge of an accepted region is harder to find, and this
 * gives about the recall that ef gives elsewhere. */
static bool walk_among_accepted(const gn_segment *s, gn_segment_query *q, gn_walk *walk, gn_candidate entry)
{
    gn_pool pool = {.items = walk->pool, .cap = 2 * q->ef < GN_MAX_POOL_EF ? 2 * q->ef : GN_MAX_POOL_EF};
    gn_candidate found[SEEDS];
    gn_pool seeds = {.items = found, .cap = SEEDS};
    bool thin = true;
    if (!find_seeds(s, q, walk, &seeds))
        return false;
    gn_walk_begin(s, walk, q->hidden);
    if (gn_accepts(&q->accept, s, entry.id)) {
        walk->visited[entry.id] = walk->epoch;
        gn_pool_insert(&pool, entry);
    }
    for (size_t i = 0; i < seeds.n; i++) {
        if (walk->visited[found[i].id] != walk->epoch)
            gn_pool_insert(&pool, found[i]);
        walk->visited[found[i].id] = walk->epoch;
    }
    if (!expand_all(s, q, walk, &pool, &thin))
        return false;
    q->n_best = pool.n < q->ef ? pool.n : q->ef;
    for (size_t i = 0; i < q->n_best; i++)
        q->best[i] = (gn_candidate){.id = pool.items[i].id & ~GN_POOL_EXPANDED, .distance = pool.items[i].distance};
    q->gave_up = thin || pool.n < q->ef;
    return true;
}

static bool heap_room(gn_segment *s, gn_walk *walk, size_t more)
{
    if (walk->n_heap + more <= walk->cap_heap)
        return true;
    size_t cap = walk->cap_heap ? walk->cap_heap * 2 : 1024;
    while (cap < walk->n_heap + more)
        cap *= 2;
    size_t bytes = (cap - walk->cap_heap) * sizeof *walk->heap;
    if (!gn_account_charge(s->account, bytes))
        return false;
    walk->heap = gn_xrealloc(walk->heap, cap * sizeof *walk->heap);
    walk->cap_heap = cap;
    walk->charged += bytes;
    return true;
}

static gn_code walk_heaps(gn_segment *s, gn_segment_query *q, gn_walk *walk, gn_candidate entry, gn_error *err)
{
    uint32_t ids[GN_MAX_LINKS], n = 0;
    float distance[GN_MAX_LINKS];
    uint64_t seen = 1;
    gn_walk_begin(s, walk, q->hidden);
    q->n_best = 0;
    if (!heap_room(s, walk, 1))
        return gn_error_oom(err, s->account);
    walk->visited[entry.id] = walk->epoch;
    gn_heap_push(walk->heap, &walk->n_heap, (gn_candidate){.id = entry.id, .distance = -entry.distance});
    if (gn_accepts(&q->accept, s, entry.id))
        gn_heap_offer(q->best, &q->n_best, q->ef, entry);
    while (walk->n_heap) {
        gn_candidate c = gn_heap_pop(walk->heap, &walk->n_heap);
        if (q->n_best == q->ef && -c.distance > q->best[0].distance)
            break;
        if (seen >= 1024 && is_dear(q, seen)) {
            q->gave_up = true;
            return GN_OK;
        }
        if (!gn_walk_unseen(s, walk, c.id, ids, &n))
            return GN_INDEX_CORRUPT;
        if (!heap_room(s, walk, n))
            return gn_error_oom(err, s->account);
        gn_walk_estimate(s, walk, ids, n, distance);
        q->distances += n;
        seen += n;
        for (uint32_t i = 0; i < n; i++) {
            if (q->n_best == q->ef && distance[i] >= q->best[0].distance)
                continue;
            gn_heap_push(walk->heap, &walk->n_heap, (gn_candidate){.id = ids[i], .distance = -distance[i]});
            if (gn_accepts(&q->accept, s, ids[i]))
                gn_heap_offer(q->best, &q->n_best, q->ef, (gn_candidate){.id = ids[i], .distance = distance[i]});
        }
    }
    return GN_OK;
}

gn_code gn_walk_accepted(gn_segment *s, gn_segment_query *q, gn_walk *walk, gn_candidate entry, gn_error *err)
{
    size_t room = q->ef <= GN_MAX_POOL_EF ? pool_for(q) : 0;
    switch (room ? walk_through(s, q, walk, entry, room) : TOO_SMALL) {
    case FOUND:
        return GN_OK;
    case DEAR:
        q->gave_up = true;
        return GN_OK;
    case THIN:
        return walk_among_accepted(s, q, walk, entry) ? GN_OK : GN_INDEX_CORRUPT;
    case TOO_SMALL:
        return walk_heaps(s, q, walk, entry, err);
    default:
        return GN_INDEX_CORRUPT;
    }
}
