/* One version of one row, wherever it is stored. */
#ifndef GN_INDEX_ROW_PRIVATE_H
#define GN_INDEX_ROW_PRIVATE_H

#include "base/bytes.h"
#include "index/memo_private.h"

#define GN_SCN_OPEN UINT64_MAX /* the end of a version that is still current */

typedef struct gn_row {
    gn_bytes key;
    uint64_t branch;
    uint64_t begin;
    uint64_t end; /* exclusive */
} gn_row;

/* Decides whether row `row` of a segment or tail may be a result. fn NULL: it may. */
typedef struct gn_accept {
    bool (*fn)(void *ctx, const void *source, uint32_t row);
    void *ctx;
    gn_memo_part *memo; /* NULL: none. What is rejected there need not be asked for, */
    bool memo_suffices; /* nor what is accepted there */
    bool dear;          /* so asked for last, of what is near enough to be a result */
} gn_accept;

static inline bool gn_accepts(const gn_accept *a, const void *source, uint32_t row)
{
    if (a->memo) {
        gn_memory known = gn_memo_get(a->memo, row);
        if (known == GN_MEMO_NO || (known == GN_MEMO_YES && a->memo_suffices))
            return known == GN_MEMO_YES;
    }
    return !a->fn || a->fn(a->ctx, source, row);
}

/* Before its distance is known, */
static inline bool gn_accepts_first(const gn_accept *a, const void *source, uint32_t row)
{
    return a->dear ? !a->memo || gn_memo_get(a->memo, row) != GN_MEMO_NO : gn_accepts(a, source, row);
}
/* and when it is near enough. */
static inline bool gn_accepts_last(const gn_accept *a, const void *source, uint32_t row)
{
    return !a->dear || gn_accepts(a, source, row);
}

/* The first row from `row` on that may be accepted; n: there is none. */
static inline uint32_t gn_accept_next(const gn_accept *a, uint32_t row, uint32_t n)
{
    return a->memo ? gn_memo_next(a->memo, row, n) : row;
}

#endif
