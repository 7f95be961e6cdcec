/* An HNSW graph in memory while it is built or extended. Vectors stay where they are (tail chunks, a mapped segment);
 * the graph addresses them by blocks of 1 << shift rows. Distances are those of a codec: of the vectors themselves, or
 * of codes made for the build, which are several times shorter and so measured several times faster. */
#ifndef GN_INDEX_GRAPH_PRIVATE_H
#define GN_INDEX_GRAPH_PRIVATE_H

#include "base/memory.h"
#include "base/world.h"
#include "index/candidate_private.h"
#include "index/codes.h"
#include "index/measure_private.h"
#include "index/segment_format_private.h"

#include <pthread.h>

#define GN_GRAPH_NO_NODE UINT32_MAX

typedef struct gn_graph {
    const gn_codec *codec;
    uint8_t *codes;     /* [n] codes; NULL: the vectors are the codes */
    gn_measure measure; /* of the rows */
    size_t code_stride;
    uint32_t m, m0, ef_construction;
    uint32_t n; /* node numbers are below this; some may be absent */
    unsigned shift;
    const uint8_t *const *blocks; /* of rows; the caller's */
    uint8_t *level;               /* of each node */
    bool *absent;                 /* neither inserted nor linked to */
    _Atomic uint32_t *links0;     /* [n][m0] */
    uint32_t *upper_at;           /* [n]: where the blocks of layers 1.. begin, in blocks of m */
    _Atomic uint32_t *upper;
    uint64_t n_upper;
    _Atomic uint8_t *locks; /* [n]: held while a node's links are changed */
    _Atomic uint64_t *cell; /* [n]: the nearest known node of a higher level and how near it is; graph.c */
    _Atomic uint64_t entry; /* level << 32 | node; UINT64_MAX = none yet */
    pthread_mutex_t entry_lock;
    gn_account *account;
    size_t charged;
} gn_graph;

typedef struct gn_graph_options {
    const gn_codec *codec; /* whose codes compare; the caller's */
    const gn_measure *measure;
    uint32_t m, ef_construction;
    uint32_t n;
    unsigned shift;
    const uint8_t *const *blocks;
    const uint8_t *levels; /* of each node; copied */
    gn_account *account;
} gn_graph_options;

uint32_t gn_graph_m0(uint32_t m);
/* The level of the i-th node ever given to a generator with this seed (section 4 of the paper, mL = 1 / ln m). */
uint8_t gn_graph_level(uint64_t seed, uint64_t i, uint32_t m);

gn_code gn_graph_create(const gn_graph_options *options, gn_graph **out, gn_error *err);
void gn_graph_destroy(gn_graph *graph);

/* The link block of a node in a layer <= its level, of m0 or m entries, filled up with GN_NO_LINK. */
static inline _Atomic uint32_t *gn_graph_links(const gn_graph *g, uint32_t level, uint32_t node)
{
    if (level == 0)
        return g->links0 + (size_t)node * g->m0;
    return g->upper + ((size_t)g->upper_at[node] + level - 1) * g->m;
}
static inline uint32_t gn_graph_max_links(const gn_graph *g, uint32_t level)
{
    return level ? g->m : g->m0;
}
static inline const uint8_t *gn_graph_vector(const gn_graph *g, uint32_t node)
{
    return g->blocks[node >> g->shift] + (size_t)(node & ((1u << g->shift) - 1)) * g->measure.row_bytes;
}
static inline const uint8_t *gn_graph_code(const gn_graph *g, uint32_t node)
{
    return g->codes ? g->codes + (size_t)node * g->code_stride : gn_graph_vector(g, node);
}

/* Scratch of one inserting thread. NULL when the budget refuses. */
typedef struct gn_graph_worker gn_graph_worker;
gn_graph_worker *gn_graph_worker_create(gn_graph *graph);
void gn_graph_worker_destroy(gn_graph_worker *worker);

/* Makes the node's code. Of all nodes, before anything is linked. Any number of workers at once. */
void gn_graph_encode(gn_graph_worker *worker, uint32_t node);
/* Algorithm 1. Any number of workers at once. */
void gn_graph_insert(gn_graph_worker *worker, uint32_t node);
/* Takes the absent nodes out of the links of a node: what they led to is offered to it instead, as FreshDiskANN's
 * delete consolidation does (Singh et al., 2021, algorithm 4). Every worker at once, before any insert. */
void gn_graph_bridge(gn_graph_worker *worker, uint32_t node);
/* The node belongs to the cell of that node of a higher level, as in the file that was taken over. */
void gn_graph_take_cell(gn_graph *graph, uint32_t node, uint32_t center);
/* How near the center is that was taken over, or that it is gone. Any number of workers at once, before any insert. */
void gn_graph_measure_cell(gn_graph_worker *worker, uint32_t node);
/* Finds the center of its cell for a node that has none. Any number of workers at once, at the end. */
void gn_graph_find_cell(gn_graph_worker *worker, uint32_t node);
/* The entry becomes the highest node below this number that is there: of those whose links were taken over. */
void gn_graph_find_entry(gn_graph *graph, uint32_t below);
/* Links the nodes that no walk from the entry reaches in layer 0 to near nodes that have room. One worker, at the end.
 * Returns how many stay unreachable. */
uint32_t gn_graph_connect(gn_graph_worker *worker);

/* The order in which nodes are written: by level, within one by their cells, then breadth-first from the entry
 * through layer 0, so that neighbours lie near each other. order: room for n; returns the number of nodes that are
 * there. level_count as in the segment's header. *cells: where the cell of each node above level 0 begins in that
 * order, and where the last one ends; the caller's to free; NULL when all are of level 0. */
uint32_t gn_graph_order(const gn_graph *graph, uint32_t *order, uint32_t level_count[GN_SEGMENT_MAX_LEVELS],
                        uint32_t **cells);

#endif
