/* One walk through a segment's graph: its scratch, and the steps that all kinds of walks take. segment_search.c walks
 * where every node may be a result, segment_filter.c where only some may. */
#ifndef GN_INDEX_WALK_PRIVATE_H
#define GN_INDEX_WALK_PRIVATE_H

#include "index/segment_private.h"

enum { GN_MAX_LINKS = 256, GN_MAX_POOL_EF = 1024 };

/* What a walk knows of a node is visited[node] - epoch; any other value says that it was not seen. */
typedef enum gn_seen {
    GN_SEEN = 0,     /* and measured, or overlooked */
    GN_REJECTED = 1, /* seen, but no result */
    GN_CROSSED = 2,  /* a rejected one whose neighbours have been gathered */
    GN_EPOCH_STEP = 4,
} gn_seen;

struct gn_walk {
    gn_walk *next;
    gn_code_query *query;
    uint16_t *visited;
    uint16_t epoch;
    gn_candidate *pool; /* candidates of a walk that goes through rejected nodes; GN_MAX_POOL_EF */
    gn_candidate *heap; /* candidates, distances negated */
    size_t n_heap, cap_heap;
    size_t charged;
};

/* Nothing is visited any more, but what is to be overlooked. */
void gn_walk_begin(const gn_segment *segment, gn_walk *walk, uint32_t hidden);
void gn_walk_estimate(const gn_segment *segment, const gn_walk *walk, const uint32_t *ids, uint32_t n, float *out);
/* The neighbours of a node in a layer that this walk has not seen, now marked. ids: room for one more than a node has.
 * False when the file holds an impossible one. */
bool gn_walk_unseen(const gn_segment *segment, gn_walk *walk, uint32_t level, uint32_t node, uint32_t *ids,
                    uint32_t *n);
static inline void gn_prefetch_code(const gn_segment *s, uint32_t row)
{
    const char *code = (const char *)gn_segment_code(s, row);
    for (size_t i = 0; i < s->code_stride && i < 256; i += 64)
        __builtin_prefetch(code + i);
}
void gn_walk_prefetch_links(const gn_segment *segment, uint32_t node);
/* Measures ids and puts them into the pool where they are not beyond `limit`. `at` becomes the next node to expand, or
 * pool->n. */
void gn_walk_absorb(const gn_segment *segment, gn_segment_query *query, const gn_walk *walk, gn_pool *pool,
                    const uint32_t *ids, uint32_t n, float limit, size_t *at);

/* Where layer 0 is entered: the nearest first. */
enum { GN_WAYS = 3 };

typedef struct gn_entry {
    gn_candidate ways[GN_WAYS];
    size_t n;
    gn_candidate above; /* where the way down left layer 2, if there is one */
} gn_entry;

/* Nothing is visited any more but these ways and what is to be overlooked. */
void gn_walk_enter(const gn_segment *segment, const gn_segment_query *query, gn_walk *walk, const gn_entry *entry,
                   gn_pool *pool);
/* Fills query->best with accepted nodes, or gives up. */
gn_code gn_walk_accepted(gn_segment *segment, gn_segment_query *query, gn_walk *walk, const gn_entry *entry,
                         gn_error *err);

/* ---- by cells (segment_cells.c); of segments that have them ---- */

/* How far to go. The numbers were chosen by trying, on the sets of bench_vector.py. */
typedef struct gn_cells_plan {
    uint32_t layer;    /* of the centers; 1 or 2 */
    uint32_t bottom;   /* rows of lower levels are passed over */
    uint32_t patience; /* cells for nothing until it ends: one in so many of those visited, */
    uint32_t grace;    /* and so many more */
    uint32_t most;     /* rows are measured of one cell */
    uint64_t expected; /* by so many rows one is accepted, if they are by chance; else it is lost; 0: not known */
    bool ends_lost;    /* it ends when it is lost; else as many cells for nothing as before are needed */
} gn_cells_plan;

/* The layer of fine or of coarse cells. */
uint32_t gn_cells_layer(const gn_segment *segment, bool coarse);
/* Fills query->best with the accepted of the nearest cells, or gives up. *lost (may be NULL): it ended so. */
gn_code gn_walk_cells(gn_segment *segment, gn_segment_query *query, gn_walk *walk, const gn_entry *entry,
                      const gn_cells_plan *plan, bool *lost, gn_error *err);

/* Room for so many more in the heap; false when the budget refuses. */
bool gn_heap_room(gn_segment *segment, gn_walk *walk, size_t more);

#endif
