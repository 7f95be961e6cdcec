/* What a judge said of a segment's rows, two bits a row, and how a search asks whether a row may be a result. */
#ifndef GN_INDEX_MEMO_PRIVATE_H
#define GN_INDEX_MEMO_PRIVATE_H

#include "index/vector_index.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* A bit is in `known` only after its answer is in `match`. */
typedef struct gn_memo_word {
    _Atomic uint64_t known, match;
} gn_memo_word;

typedef struct gn_memo_part {
    uint64_t segment; /* its number */
    uint32_t n_nodes;
    _Atomic uint32_t n_known, n_match;
    _Atomic uint64_t n_inferred; /* how many answers the memos had that it was last told from */
    size_t bytes;
    struct gn_memo_part *next;
    gn_memo_word words[];
} gn_memo_part;

typedef enum gn_memory { GN_MEMO_UNKNOWN, GN_MEMO_NO, GN_MEMO_YES } gn_memory;

static inline gn_memory gn_memo_get(const gn_memo_part *part, uint32_t row)
{
    const gn_memo_word *w = &part->words[row / 64];
    uint64_t bit = UINT64_C(1) << (row % 64);
    if (!(atomic_load_explicit(&w->known, memory_order_acquire) & bit))
        return GN_MEMO_UNKNOWN;
    return atomic_load_explicit(&w->match, memory_order_relaxed) & bit ? GN_MEMO_YES : GN_MEMO_NO;
}

/* The same without branches: is it known, and if so, *match. */
static inline bool gn_memo_look(const gn_memo_part *part, uint32_t row, bool *match)
{
    const gn_memo_word *w = &part->words[row / 64];
    bool known = atomic_load_explicit(&w->known, memory_order_acquire) >> (row % 64) & 1;
    bool yes = atomic_load_explicit(&w->match, memory_order_relaxed) >> (row % 64) & 1;
    *match = known ? yes : *match;
    return known;
}

void gn_memo_set(gn_memo_part *part, uint32_t row, bool match);
/* The same for those of 64 rows that are in `known`. */
void gn_memo_set_word(gn_memo_part *part, size_t word, uint64_t known, uint64_t match);

/* The first row from `row` on that is not known to be rejected; n: there is none. */
static inline uint32_t gn_memo_next(const gn_memo_part *part, uint32_t row, uint32_t n)
{
    while (row < n) {
        const gn_memo_word *w = &part->words[row / 64];
        uint64_t known = atomic_load_explicit(&w->known, memory_order_acquire);
        uint64_t open = ~(known & ~atomic_load_explicit(&w->match, memory_order_relaxed)) >> (row % 64);
        if (open)
            return row + (uint32_t)__builtin_ctzll(open) < n ? row + (uint32_t)__builtin_ctzll(open) : n;
        row = (row | 63) + 1;
    }
    return n;
}

struct gn_segment;
/* The part for a segment, made where there is none; NULL when there is no memory for it. Between begin and end no part
 * is taken away. */
void gn_vmemo_begin(gn_vmemo *memo);
gn_memo_part *gn_vmemo_part(gn_vmemo *memo, const struct gn_segment *segment);
void gn_vmemo_end(gn_vmemo *memo, const gn_vview *view); /* drops parts of segments that the view no longer has */

#endif
