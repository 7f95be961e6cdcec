/* One version of one row, wherever it is stored. */
#ifndef GN_INDEX_ROW_PRIVATE_H
#define GN_INDEX_ROW_PRIVATE_H

#include "base/bytes.h"

#define GN_SCN_OPEN UINT64_MAX /* the end of a version that is still current */

typedef struct gn_row {
    gn_bytes key;
    uint64_t branch;
    uint64_t begin;
    uint64_t end; /* exclusive */
} gn_row;

/* Decides whether row `row` of a segment or tail may be a result. */
typedef struct gn_accept {
    bool (*fn)(void *ctx, const void *source, uint32_t row);
    void *ctx;
} gn_accept;

#endif
