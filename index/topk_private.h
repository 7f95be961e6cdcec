/* The k nearest of everything offered, over segments and tails; equal distances are ordered by key. */
#ifndef GN_INDEX_TOPK_PRIVATE_H
#define GN_INDEX_TOPK_PRIVATE_H

#include "index/row_private.h"

#include <math.h>
#include <stddef.h>

typedef struct gn_hit {
    float distance;
    uint32_t row;
    const void *source;                                            /* a segment or a tail */
    bool (*row_of)(const void *source, uint32_t row, gn_row *out); /* how to read it */
} gn_hit;

typedef struct gn_topk {
    gn_hit *hits; /* a max-heap: the last of the results on top */
    size_t n, k;
} gn_topk;

/* Beyond this nothing is taken any more. */
static inline float gn_topk_bound(const gn_topk *t)
{
    return t->n < t->k ? INFINITY : t->hits[0].distance;
}

bool gn_topk_offer(gn_topk *t, gn_hit hit); /* true when it was taken */
void gn_topk_sort(gn_topk *t);              /* nearest first; ends the life as a heap */

#endif
