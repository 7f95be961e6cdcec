/* Walking a segment's graph where only some nodes may be results: ended versions, filters.
 *
 * A walk begins as through any graph, with a pool that has room for rejected nodes too: a node is asked for when it is
 * expanded, which few nodes ever are. Where the pool turns out to be too small, candidates and results are heaps.
 *
 * Where few are accepted, the cells tell where they are (segment_cells.c). So they do where nothing is accepted around
 * the query; from what was found the walk then goes on among accepted nodes alone, and a node with few accepted
 * neighbours is connected to those that its rejected neighbours lead to (ACORN; Patel, Kraft, Guestrin and Zaharia,
 * 2024). Departures: the graph is an ordinary one, not a denser one made for it; rejected nodes are crossed, each once
 * a walk, only until as many accepted neighbours are known as a node has links in upper layers; and it begins at many
 * places, since what is accepted may lie apart.
 *
 * A walk that is expected to cost more than a scan gives up, and the caller scans. */
#include "base/assert.h"
#include "index/walk_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Is a share accepted for which cells are better than a walk? */
static bool is_small(const gn_segment_query *q)
{
    return q->share > 0 && q->share <= 0.25F;
}

/* Does a memo know most rows? */
static bool is_known(const gn_segment_query *q)
{
    const gn_memo_part *memo = q->accept.memo;
    return memo && atomic_load_explicit(&memo->n_known, memory_order_relaxed) >= memo->n_nodes / 4 * 3;
}

/* ---- through all nodes, with a pool ---- */

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

static const double SURE = 9.2; /* -ln(1 / 10,000) */

enum { LEAST = 32, SAMPLE = 128 };

/* Of so many nodes one at least is accepted, if they are by chance and the share is known: all but one time in 10,000.
 */
static size_t telling_sample(const gn_segment_query *q)
{
    double n = q->share > 0 && q->share < 1 ? SURE / -log1p(-q->share) : SAMPLE;
    return n < LEAST ? LEAST : n < SAMPLE ? (size_t)ceil(n) : SAMPLE;
}

/* Is less than half as much accepted around here, by a memo? Of the rows that lie beside the entry's cell in the file,
 * whose cells are near it. */
static bool is_known_to_be_thin(const gn_segment *s, const gn_segment_query *q, uint32_t entry)
{
    enum { AROUND = 128, LESS = 2 };
    gn_rows rows;
    if (!gn_segment_cells(s, 1, (gn_rows){entry, entry + 1}, &rows))
        return false;
    uint32_t first = rows.from > AROUND / 2 ? rows.from - AROUND / 2 : 0, n = 0;
    uint32_t end = first + AROUND < s->header->n_nodes ? first + AROUND : s->header->n_nodes;
    for (uint32_t row = first; row < end; row++)
        n += gn_memo_get(q->accept.memo, row) == GN_MEMO_YES;
    return (float)n * LESS < q->share * (float)(end - first);
}

/* Is much less accepted around here than in the whole? Where nothing was among what was expanded, a sample of what lies
 * around is asked for. */
static bool is_thin(const gn_segment *s, const gn_segment_query *q, const gn_pool *pool, uint32_t expanded,
                    size_t sample)
{
    enum { ENOUGH = 32 };
    size_t n = pool->n < sample ? pool->n : sample, accepted = q->n_best;
    static const float THIN_SHARE = 1.0F / 32;
    if (accepted > 0)
        return expanded >= ENOUGH && (float)accepted < THIN_SHARE * (float)expanded;
    for (size_t i = 0; i < n && accepted == 0; i++)
        accepted += gn_accepts(&q->accept, s, pool->items[i].id & ~GN_POOL_EXPANDED);
    return accepted == 0;
}

/* Would the walk, accepting at the rate seen so far, cost more than a scan? */
static bool is_dear(const gn_segment_query *q, uint64_t measured)
{
    return q->n_best < q->ef && (float)measured * (float)q->ef > 2 * q->scan_cost * ((float)q->n_best + 1);
}

static outcome walk_through(const gn_segment *s, gn_segment_query *q, gn_walk *walk, const gn_entry *entry, size_t cap)
{
    enum { STEP = 16 };
    gn_pool pool = {.items = walk->pool, .cap = cap};
    size_t sample = telling_sample(q), early = sample < SAMPLE ? sample : SIZE_MAX;
    gn_walk_enter(s, q, walk, entry, &pool);
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
        if (!gn_walk_unseen(s, walk, 0, c.id, ids, &n))
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

/* ---- among accepted nodes ---- */

/* Goes on from what the cells have found, through accepted nodes alone. Twice as many candidates as ef are kept: what
 * lies at the edge of an accepted region is harder to find, and this gives about the recall that ef gives elsewhere.
 * Where so few are accepted that there are too few ways between them, it gives up. */
static bool walk_among_accepted(const gn_segment *s, gn_segment_query *q, gn_walk *walk)
{
    gn_pool pool = {.items = walk->pool, .cap = 2 * q->ef < GN_MAX_POOL_EF ? 2 * q->ef : GN_MAX_POOL_EF};
    gathering g = {.asked = 0};
    enum { THIN_PART = 40 };
    gn_walk_begin(s, walk, q->hidden);
    for (size_t i = 0; i < q->n_best; i++) {
        walk->visited[q->best[i].id] = walk->epoch;
        gn_pool_insert(&pool, q->best[i]);
    }
    for (size_t at = 0; at < pool.n;) {
        pool.items[at].id |= GN_POOL_EXPANDED;
        if (!gather_widely(s, q, walk, pool.items[at].id & ~GN_POOL_EXPANDED, &g))
            return false;
        gn_walk_absorb(s, q, walk, &pool, g.ids, g.n, INFINITY, &at);
    }
    q->gave_up = pool.n < q->ef || g.passed * THIN_PART < g.asked;
    q->n_best = pool.n < q->ef ? pool.n : q->ef;
    for (size_t i = 0; i < q->n_best; i++)
        q->best[i] = (gn_candidate){.id = pool.items[i].id & ~GN_POOL_EXPANDED, .distance = pool.items[i].distance};
    return true;
}

/* Nothing near the query is accepted: the cells lead to some of the nearest that are, and these to the others, unless
 * few are. Where it would have to be asked about every row of a cell, those of upper levels have to do to begin with.
 */
static gn_code walk_afar(gn_segment *s, gn_segment_query *q, gn_walk *walk, const gn_entry *entry, gn_error *err)
{
    static const float WITH_WAYS = 1.0F / 20; /* from one to the next */
    enum { ENOUGH = 64 };                     /* of a cell in which many are accepted: the walk finds the others */
    bool go_on = (q->share == 0 || q->share >= WITH_WAYS) && q->ef <= GN_MAX_POOL_EF;
    gn_cells_plan plan = {.layer = 1, .patience = go_on ? 16 : 4, .grace = 4, .most = UINT32_MAX};
    if (is_known(q) && is_small(q))
        plan = (gn_cells_plan){
            .layer = gn_cells_layer(s, true), .patience = 4, .grace = 16, .most = go_on ? ENOUGH : UINT32_MAX};
    else if (!is_known(q) && go_on)
        plan =
            (gn_cells_plan){.layer = gn_cells_layer(s, true), .patience = 4, .grace = 4, .most = ENOUGH, .bottom = 1};
    gn_code code = gn_walk_cells(s, q, walk, entry, &plan, NULL, err);
    if (code == GN_OK && !q->gave_up && !q->saw_all && go_on)
        code = walk_among_accepted(s, q, walk) ? GN_OK : GN_INDEX_CORRUPT;
    return code;
}

/* ---- through all nodes, without bounds ---- */

bool gn_heap_room(gn_segment *s, gn_walk *walk, size_t more)
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

static gn_code walk_heaps(gn_segment *s, gn_segment_query *q, gn_walk *walk, const gn_entry *entry, gn_error *err)
{
    uint32_t ids[GN_MAX_LINKS + 1], n = 0;
    float distance[GN_MAX_LINKS];
    uint64_t seen = 1;
    gn_walk_begin(s, walk, q->hidden);
    q->n_best = 0;
    if (!gn_heap_room(s, walk, GN_WAYS))
        return gn_error_oom(err, s->account);
    for (size_t i = 0; i < entry->n; i++) {
        gn_candidate way = entry->ways[i];
        walk->visited[way.id] = walk->epoch;
        gn_heap_push(walk->heap, &walk->n_heap, (gn_candidate){.id = way.id, .distance = -way.distance});
        if (gn_accepts(&q->accept, s, way.id))
            gn_heap_offer(q->best, &q->n_best, q->ef, way);
    }
    while (walk->n_heap) {
        gn_candidate c = gn_heap_pop(walk->heap, &walk->n_heap);
        if (q->n_best == q->ef && -c.distance > q->best[0].distance)
            break;
        if (seen >= 1024 && is_dear(q, seen)) {
            q->gave_up = true;
            return GN_OK;
        }
        if (!gn_walk_unseen(s, walk, 0, c.id, ids, &n))
            return GN_INDEX_CORRUPT;
        if (!gn_heap_room(s, walk, n))
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

/* A share is accepted that is small. */
static gn_code walk_few(gn_segment *s, gn_segment_query *q, gn_walk *walk, const gn_entry *entry, gn_error *err)
{
    static const float FOR_COARSE = 1.0F / 32;
    enum { FAR = 4 }; /* near filters match hardly anything next to the query, too */
    bool coarse = is_known(q) && q->share < FOR_COARSE;
    gn_cells_plan plan = {.layer = gn_cells_layer(s, coarse),
                          .patience = 4,
                          .grace = coarse ? 8 : 4,
                          .most = UINT32_MAX,
                          .expected = (uint64_t)fmin(FAR * SURE / q->share, 1e18),
                          .ends_lost = !coarse};
    bool lost;
    gn_code code = gn_walk_cells(s, q, walk, entry, &plan, &lost, err);
    if (code == GN_OK && !q->gave_up && lost && plan.ends_lost)
        code = walk_afar(s, q, walk, entry, err);
    return code;
}

/* Through rejected nodes as well. */
static gn_code walk_nodes(gn_segment *s, gn_segment_query *q, gn_walk *walk, const gn_entry *entry, gn_error *err)
{
    static const float SEEN_FOR_EACH = 2; /* nodes a candidate, accepted or not, at least */
    bool has_cells = s->cells[1] && q->accept.fn;
    size_t room = q->ef <= GN_MAX_POOL_EF ? pool_for(q) : 0;
    /* Only where the share is to be trusted: of a filter that is new, a memo may know but what does not match. */
    bool is_sure = q->share > 0 && (!q->accept.dear || is_known(q));
    if (is_sure && q->scan_cost * q->share < SEEN_FOR_EACH * (float)q->ef) {
        q->gave_up = true;
        return GN_OK;
    }
    if (has_cells && is_known(q) && is_known_to_be_thin(s, q, entry->ways[0].id))
        return walk_afar(s, q, walk, entry, err);
    switch (room ? walk_through(s, q, walk, entry, room) : TOO_SMALL) {
    case FOUND:
        return GN_OK;
    case DEAR:
        q->gave_up = true;
        return GN_OK;
    case THIN:
        return has_cells ? walk_afar(s, q, walk, entry, err) : walk_heaps(s, q, walk, entry, err);
    case TOO_SMALL:
        return walk_heaps(s, q, walk, entry, err);
    default:
        return GN_INDEX_CORRUPT;
    }
}

/* ---- by cells, or through all nodes ---- */

/* Where vectors form clusters, the cells near a query hold nearly all that is near it, and a tour of them is some times
 * as fast as a walk. Where they do not, what is near lies scattered among many cells, and a tour that is to find as
 * much as a walk takes longer. So the first searches in a segment are made both ways. */
enum { TRIALS = 16, TRIAL_EF = 32 /* at least */, TRIAL_K = 10 };

static bool cells_suffice(const gn_segment *s)
{
    uint32_t of = atomic_load_explicit(&s->trial.of, memory_order_relaxed);
    return atomic_load_explicit(&s->trial.found, memory_order_relaxed) >= of - of / 20;
}

/* Of the nearest that the walk found, how many are as near among the tour's? A few more than are wanted tell more. */
static void note_trial(gn_segment *s, const gn_segment_query *tour, const gn_segment_query *nodes)
{
    uint32_t k = nodes->k < TRIAL_K ? TRIAL_K : nodes->k, found = 0;
    k = nodes->n_best < k ? (uint32_t)nodes->n_best : k;
    if (nodes->gave_up || k == 0)
        return;
    for (uint32_t i = 0; i < tour->n_best && !tour->gave_up && found < k; i++)
        found += tour->best[i].distance <= nodes->best[k - 1].distance;
    atomic_fetch_add_explicit(&s->trial.found, found, memory_order_relaxed);
    atomic_fetch_add_explicit(&s->trial.of, k, memory_order_relaxed);
}

static gn_code walk_both_ways(gn_segment *s, gn_segment_query *q, gn_walk *walk, const gn_entry *entry, gn_error *err)
{
    gn_segment_query tour = *q, nodes = *q;
    tour.ef = nodes.ef = q->ef < TRIAL_EF ? TRIAL_EF : q->ef;
    tour.scan_cost = nodes.scan_cost = INFINITY; /* neither is to give up */
    gn_candidate *best = gn_xcalloc(4 * (size_t)tour.ef, sizeof *best);
    tour.best = best;
    nodes.best = best + 2 * (size_t)tour.ef;
    gn_code code = walk_few(s, &tour, walk, entry, err);
    if (code == GN_OK)
        code = walk_nodes(s, &nodes, walk, entry, err);
    if (code == GN_OK) {
        qsort(nodes.best, nodes.n_best, sizeof *best, gn_candidate_order);
        note_trial(s, &tour, &nodes);
        q->distances = tour.distances + (nodes.distances - q->distances);
        q->gave_up = nodes.gave_up;
        q->saw_all = nodes.saw_all;
        q->n_best = nodes.n_best < q->ef ? nodes.n_best : q->ef;
        memcpy(q->best, nodes.best, q->n_best * sizeof *best);
    }
    free(best);
    return code;
}

gn_code gn_walk_accepted(gn_segment *s, gn_segment_query *q, gn_walk *walk, const gn_entry *entry, gn_error *err)
{
    static const float MANY = 1.0F / 20; /* a walk comes by some of them */
    bool has_cells = s->cells[1] && q->accept.fn;
    if (!has_cells || !is_small(q) || (!is_known(q) && q->accept.dear))
        return walk_nodes(s, q, walk, entry, err);
    if (q->share < MANY || q->ef > GN_MAX_POOL_EF)
        return walk_few(s, q, walk, entry, err);
    if (atomic_load_explicit(&s->trial.searches, memory_order_relaxed) < TRIALS) {
        atomic_fetch_add_explicit(&s->trial.searches, 1, memory_order_relaxed);
        return walk_both_ways(s, q, walk, entry, err);
    }
    return cells_suffice(s) ? walk_few(s, q, walk, entry, err) : walk_nodes(s, q, walk, entry, err);
}
