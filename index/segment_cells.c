/* Walking a segment's cells, where few nodes may be results.
 *
 * Each node belongs to the cell of a near node of the layer above, and the rows of a cell lie one after the other
 * (segment_format_private.h). So an upper layer is what the centers are to an inverted file (IVF; Jegou, Douze and
 * Schmid, 2011), found by its graph instead of by looking at all: centers are visited nearest first, and of their rows
 * only those that are accepted are measured. What is rejected costs a bit that is passed over, 64 at a time where a
 * memo has them, not a node to walk through: the fewer are accepted, the farther the same work leads.
 *
 * It ends where cells no longer contribute: when since the last one that did, a share of the cells so far and some more
 * were visited for nothing. That is a rule of ranks, which needs nothing of the metric, and finds what lies apart from
 * the query, since nothing counts as long as fewer than ef are accepted. It gives up where a scan would have cost less.
 */
#include "index/walk_private.h"

enum { BATCH = 16, FEWEST_CENTERS = 32 };

typedef struct tour {
    gn_segment *s;
    gn_segment_query *q;
    gn_walk *walk;
    const gn_cells_plan *plan;
    uint32_t pending[BATCH], n; /* rows to be measured */
    uint32_t taken;             /* of this cell */
    uint32_t visited, last;     /* cells, and how many when the last result was found */
    uint64_t passed;            /* rows */
    bool lost;                  /* more were passed before the first that is accepted than by chance */
    bool dear;                  /* a scan would have cost less */
} tour;

static void offer(tour *t, uint32_t row, float distance)
{
    gn_segment_query *q = t->q;
    if ((q->n_best == q->ef && distance >= q->best[0].distance) || !gn_accepts_last(&q->accept, t->s, row))
        return;
    gn_heap_offer(q->best, &q->n_best, q->ef, (gn_candidate){.id = row, .distance = distance});
    t->last = t->visited;
}

static void measure_pending(tour *t)
{
    float distance[BATCH];
    gn_walk_estimate(t->s, t->walk, t->pending, t->n, distance);
    t->q->distances += t->n;
    for (uint32_t i = 0; i < t->n; i++)
        offer(t, t->pending[i], distance[i]);
    t->n = 0;
}

/* As search.c reckons; by twice as much as the scan, unless there is nothing near. */
static void note_cost(tour *t)
{
    const gn_segment_query *q = t->q;
    float passed = (float)t->passed * (q->accept.memo ? GN_COST_PASSED_OVER : GN_COST_ASKED);
    t->dear = (float)q->distances + passed > (t->lost ? 1.0F : 2.0F) * q->scan_cost;
}

/* A cell may be large: all that are equal belong to one. */
static void visit_rows(tour *t, gn_rows rows)
{
    const gn_accept *accept = &t->q->accept;
    t->passed += rows.to - rows.from;
    for (uint32_t row = rows.from; (row = gn_accept_next(accept, row, rows.to)) < rows.to; row++) {
        if (t->taken == t->plan->most || t->dear)
            return;
        if (row == t->q->hidden || !gn_accepts_first(accept, t->s, row))
            continue;
        gn_prefetch_code(t->s, row);
        t->pending[t->n++] = row;
        t->taken++;
        if (t->n < BATCH)
            continue;
        measure_pending(t);
        note_cost(t);
    }
}

/* The center, and all that belongs to it by cells, and by cells of cells. */
static bool visit(tour *t, gn_candidate center)
{
    t->visited++;
    t->passed++;
    t->taken = 0;
    if (gn_accepts_first(&t->q->accept, t->s, center.id))
        offer(t, center.id, center.distance);
    for (uint32_t layer = t->plan->layer; layer > t->plan->bottom; layer--) {
        gn_rows rows = {center.id, center.id + 1};
        for (uint32_t l = layer; l > t->plan->bottom; l--) {
            if (!gn_segment_cells(t->s, l, rows, &rows))
                return false;
            visit_rows(t, rows);
        }
    }
    note_cost(t);
    t->lost |= t->plan->expected && t->passed > t->plan->expected && t->n == 0 && t->q->n_best == 0;
    return true;
}

static bool push_neighbors(tour *t, uint32_t center)
{
    gn_walk *walk = t->walk;
    uint32_t ids[GN_MAX_LINKS + 1], n;
    float distance[GN_MAX_LINKS];
    if (!gn_walk_unseen(t->s, walk, t->plan->layer, center, ids, &n))
        return false;
    gn_walk_estimate(t->s, walk, ids, n, distance);
    t->q->distances += n;
    for (uint32_t i = 0; i < n; i++)
        gn_heap_push(walk->heap, &walk->n_heap, (gn_candidate){.id = ids[i], .distance = -distance[i]});
    return true;
}

static bool is_over(const tour *t)
{
    uint32_t patience = t->lost ? 1 : t->plan->patience;
    if (t->lost && t->plan->ends_lost)
        return true;
    return t->q->n_best == t->q->ef && t->visited >= t->last + t->last / patience + t->plan->grace;
}

uint32_t gn_cells_layer(const gn_segment *s, bool coarse)
{
    const uint32_t *count = s->header->level_count;
    return coarse && count[2] >= FEWEST_CENTERS && s->cells[2] ? 2 : 1;
}

static void push(gn_walk *walk, gn_candidate center)
{
    walk->visited[center.id] = walk->epoch;
    gn_heap_push(walk->heap, &walk->n_heap, (gn_candidate){.id = center.id, .distance = -center.distance});
}

/* The ways that lead to layer 1, or the one that led through layer 2. */
static void begin_tour(tour *t, const gn_entry *entry)
{
    gn_walk_begin(t->s, t->walk, GN_NO_LINK);
    t->q->n_best = 0;
    if (t->plan->layer == 1) {
        for (size_t i = 0; i < entry->n; i++)
            push(t->walk, entry->ways[i]);
    } else {
        push(t->walk, entry->above);
    }
}

gn_code gn_walk_cells(gn_segment *s, gn_segment_query *q, gn_walk *walk, const gn_entry *entry,
                      const gn_cells_plan *plan, bool *lost, gn_error *err)
{
    tour t = {.s = s, .q = q, .walk = walk, .plan = plan};
    if (!gn_heap_room(s, walk, GN_WAYS))
        return gn_error_oom(err, s->account);
    begin_tour(&t, entry);
    while (walk->n_heap && !t.dear) {
        if (is_over(&t))
            measure_pending(&t);
        if (is_over(&t))
            break;
        gn_candidate center = gn_heap_pop(walk->heap, &walk->n_heap);
        center.distance = -center.distance;
        if (!gn_heap_room(s, walk, s->header->m))
            return gn_error_oom(err, s->account);
        if (!visit(&t, center) || !push_neighbors(&t, center.id))
            return GN_INDEX_CORRUPT;
    }
    measure_pending(&t);
    q->saw_all = t.passed == s->header->n_nodes && plan->bottom == 0 && plan->most == UINT32_MAX && !t.dear;
    q->gave_up = t.dear && !q->saw_all;
    if (lost)
        *lost = t.lost;
    return GN_OK;
}
