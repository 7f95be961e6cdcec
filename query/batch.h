/* Column batches: the unit of execution. Up to GN_BATCH_ROWS rows as typed columns with null bitmaps. */
#ifndef GN_QUERY_BATCH_H
#define GN_QUERY_BATCH_H

#include "query/value.h"

enum { GN_BATCH_ROWS = 1024 };

typedef struct gn_column {
    gn_type type;
    bool has_nulls;  /* false: `nulls` need not be looked at */
    uint64_t *nulls; /* GN_BATCH_ROWS bits; a set bit is NULL */
    union {
        void *data; /* by physical type, n_rows items at least; GN_BATCH_ROWS of gn_batch_init */
        uint8_t *boolean;
        int16_t *i16;
        int32_t *i32;
        int64_t *i64;
        float *f32;
        double *f64;
        gn_bytes *bytes; /* point into memory that lives as long as the batch's contents */
    };
} gn_column;

typedef struct gn_batch {
    uint32_t n_rows;
    uint32_t n_columns;
    gn_column *columns;
    gn_arena *arena; /* owns column memory and the bytes; reset by whoever refills the batch */
} gn_batch;

size_t gn_physical_size(gn_physical physical); /* of a column's items */
/* Columns of these types, in the arena. */
gn_code gn_batch_init(gn_batch *batch, const gn_type *types, uint32_t n_columns, gn_arena *arena, gn_error *err);

static inline bool gn_column_is_null(const gn_column *c, uint32_t row)
{
    return c->has_nulls && (c->nulls[row >> 6] >> (row & 63) & 1);
}
static inline void gn_column_set_null(gn_column *c, uint32_t row)
{
    c->has_nulls = true;
    c->nulls[row >> 6] |= (uint64_t)1 << (row & 63);
}
gn_value gn_column_get(const gn_column *c, uint32_t row);
void gn_column_set(gn_column *c, uint32_t row, const gn_value *value); /* same physical type; bytes are borrowed */
/* One row more, copied into the batch's arena from columns of the same types; there is room. */
gn_code gn_batch_append(gn_batch *batch, const gn_column *columns, uint32_t row, gn_error *err);
void gn_batch_clear(gn_batch *batch); /* n_rows = 0 and no nulls; memory of bytes is not touched */

#endif
