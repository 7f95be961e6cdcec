/* What a graph walk keeps: candidates in a sorted pool, or in bounded heaps. */
#ifndef GN_INDEX_CANDIDATE_PRIVATE_H
#define GN_INDEX_CANDIDATE_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct gn_candidate {
    float distance; /* never NaN */
    uint32_t id;
} gn_candidate;

/* For qsort: nearest first. */
static inline int gn_candidate_order(const void *a, const void *b)
{
    const gn_candidate *x = a, *y = b;
    if (x->distance != y->distance)
        return x->distance < y->distance ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* ---- max-heap: the farthest on top. A min-heap is the same over negated distances. ---- */

static inline void gn_heap_sift_up(gn_candidate *heap, size_t i)
{
    gn_candidate c = heap[i];
    while (i > 0) {
        size_t parent = (i - 1) / 2;
        if (heap[parent].distance >= c.distance)
            break;
        heap[i] = heap[parent];
        i = parent;
    }
    heap[i] = c;
}

static inline void gn_heap_sift_down(gn_candidate *heap, size_t n, size_t i)
{
    gn_candidate c = heap[i];
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= n)
            break;
        if (child + 1 < n && heap[child + 1].distance > heap[child].distance)
            child++;
        if (heap[child].distance <= c.distance)
            break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = c;
}

static inline void gn_heap_push(gn_candidate *heap, size_t *n, gn_candidate c)
{
    heap[*n] = c;
    gn_heap_sift_up(heap, (*n)++);
}

static inline gn_candidate gn_heap_pop(gn_candidate *heap, size_t *n)
{
    gn_candidate top = heap[0];
    heap[0] = heap[--*n];
    if (*n)
        gn_heap_sift_down(heap, *n, 0);
    return top;
}

/* Keeps the `cap` nearest. */
static inline void gn_heap_offer(gn_candidate *heap, size_t *n, size_t cap, gn_candidate c)
{
    if (*n < cap) {
        gn_heap_push(heap, n, c);
    } else if (c.distance < heap[0].distance) {
        heap[0] = c;
        gn_heap_sift_down(heap, *n, 0);
    }
}

/* ---- sorted pool: nearest first; serves as candidates and results at once. The top bit of an id says that the node
 * was expanded. For the usual ef an insertion moves a few cache lines, which two heaps do not beat. ---- */

#define GN_POOL_EXPANDED 0x80000000u

typedef struct gn_pool {
    gn_candidate *items; /* room for cap */
    size_t n, cap;
} gn_pool;

/* The position taken, or SIZE_MAX when the pool is full of nearer ones. */
static inline size_t gn_pool_insert(gn_pool *pool, gn_candidate c)
{
    size_t last = pool->n, lo = 0;
    if (last == pool->cap && (last == 0 || c.distance >= pool->items[--last].distance))
        return SIZE_MAX;
    /* Without branches that depend on the distances: they would be guessed wrong half of the time. */
    for (size_t n = last; n > 0;) {
        size_t half = (n + 1) / 2;
        lo += pool->items[lo + half - 1].distance <= c.distance ? half : 0;
        n -= half;
    }
    for (size_t i = last; i > lo; i--)
        pool->items[i] = pool->items[i - 1];
    pool->items[lo] = c;
    pool->n = last + 1;
    return lo;
}

#endif
