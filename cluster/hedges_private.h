/* When a read that a node does not answer is asked of another replica as well (Dean and Barroso, The Tail at Scale,
 * 2013): after what nearly all reads of its kind took lately, and never more than a share of all reads. Any thread. */
#ifndef GN_CLUSTER_HEDGES_PRIVATE_H
#define GN_CLUSTER_HEDGES_PRIVATE_H

#include "base/world.h"

typedef struct gn_hedges gn_hedges;

/* What takes about as long. */
typedef enum gn_hedge_kind {
    GN_HEDGE_ROWS,    /* rows as they are */
    GN_HEDGE_WORK,    /* what a fragment makes of them */
    GN_HEDGE_VECTORS, /* the nearest */
    GN_HEDGE_KINDS
} gn_hedge_kind;

gn_hedges *gn_hedges_create(unsigned percent); /* of reads that are asked twice; 0 = none */
void gn_hedges_free(gn_hedges *hedges);        /* NULL is fine */

/* A read goes to the node: so long is it waited for before another is asked. UINT64_MAX: for ever. */
uint64_t gn_hedges_patience(gn_hedges *hedges, gn_hedge_kind kind, gn_node_id node);
void gn_hedges_took(gn_hedges *hedges, gn_hedge_kind kind, gn_node_id node, uint64_t ns);
bool gn_hedges_afford(gn_hedges *hedges); /* one more is asked twice; false: not now */
void gn_hedges_won(gn_hedges *hedges);    /* the second answered first */

#endif
