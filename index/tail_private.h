/* The growing tail: versions in chunks that never move, appended by one writer and read by anybody without a lock. A
 * row is published by the store of n_rows after it was written; only its end SCN changes later. */
#ifndef GN_INDEX_TAIL_PRIVATE_H
#define GN_INDEX_TAIL_PRIVATE_H

#include "base/memory.h"
#include "index/measure_private.h"
#include "index/row_private.h"
#include "index/topk_private.h"

#include <stdatomic.h>

typedef struct gn_tail_chunk {
    uint8_t *vectors; /* rows, in a slab of the tail; aligned to GN_VECTOR_ALIGN */
    gn_bytes *key;
    uint64_t *branch;
    uint64_t *begin;
    _Atomic uint64_t *end;
    uint32_t *older;  /* row + 1 of the version of the same key before this one; 0 = none in this tail */
    bool *vectorless; /* hides the key from ancestors, is never a result */
} gn_tail_chunk;

typedef struct gn_tail gn_tail;

struct gn_tail {
    _Atomic uint32_t refs;
    gn_account *account;
    gn_measure measure;
    unsigned shift; /* rows a chunk = 1 << shift */
    _Atomic uint32_t n_rows;
    _Atomic uint32_t n_ended;
    _Atomic(gn_tail_chunk *const *) chunks; /* replaced by a larger copy when full */
    uint32_t n_chunks, cap_chunks;
    _Atomic(struct gn_tail_keys *) keys; /* replaced likewise */
    gn_arena *arena;                     /* keys and chunk heads */
    struct gn_tail_block *slabs, *retired;
    uint8_t *slab_next;
    uint32_t slab_left; /* chunks */
    _Atomic uint64_t memory;
    /* of the rows so far */
    _Atomic uint64_t min_begin, max_begin;
    _Atomic uint64_t branch;    /* of the first row */
    _Atomic bool many_branches; /* some row is of another branch, or hides */
};

unsigned gn_chunk_shift(size_t row_bytes);

gn_tail *gn_tail_create(gn_account *account, const gn_measure *measure); /* refs = 1 */
gn_tail *gn_tail_ref(gn_tail *tail);
void gn_tail_unref(gn_tail *tail);

/* One writer at a time. vector: a row of the measure, or NULL for a version without one. False when the budget refuses;
 * nothing is changed then. */
bool gn_tail_append(gn_tail *tail, const gn_row *row, const void *vector);
/* Newest row of the key, or UINT32_MAX; then its older ones one by one. Any thread. */
uint32_t gn_tail_find(const gn_tail *tail, gn_bytes key);
uint32_t gn_tail_older(const gn_tail *tail, uint32_t row);
void gn_tail_set_end(gn_tail *tail, uint32_t row, uint64_t end);

static inline uint32_t gn_tail_rows(const gn_tail *tail)
{
    return atomic_load_explicit(&tail->n_rows, memory_order_acquire);
}
static inline const gn_tail_chunk *gn_tail_chunk_of(const gn_tail *tail, uint32_t row)
{
    return atomic_load_explicit(&tail->chunks, memory_order_acquire)[row >> tail->shift];
}
static inline uint32_t gn_tail_in_chunk(const gn_tail *tail, uint32_t row)
{
    return row & ((1u << tail->shift) - 1);
}
bool gn_tail_row(const void *tail, uint32_t row, gn_row *out); /* always true; gn_hit's reader */
bool gn_tail_has_vector(const gn_tail *tail, uint32_t row);
const void *gn_tail_vector(const gn_tail *tail, uint32_t row);

/* Offers every accepted row (accept.fn NULL: all) to top. Returns the number of distances computed. */
uint64_t gn_tail_scan(const gn_tail *tail, const float *query, gn_accept accept, gn_topk *top);

#endif
