/* Filling column batches with stored rows. */
#ifndef GN_SHARD_BATCH_FILL_PRIVATE_H
#define GN_SHARD_BATCH_FILL_PRIVATE_H

#include "query/row.h"

typedef struct gn_batch_fill {
    const gn_table_desc *desc;
    const uint32_t *ordinals;
    uint32_t n;
    bool distance; /* one more column of double precision */
    gn_value *values;
} gn_batch_fill;

void gn_batch_fill_init(gn_batch_fill *fill, const gn_table_desc *desc, const uint32_t *ordinals, uint32_t n,
                        bool distance);
void gn_batch_fill_close(gn_batch_fill *fill);
/* Empties the batch: its arena is reset and its columns are made anew, with room for so many rows, GN_BATCH_ROWS at
 * most. */
gn_code gn_batch_fill_begin(gn_batch_fill *fill, gn_batch *batch, uint32_t room, gn_error *err);
/* Adds a row; what it refers to is copied. key_out may be NULL. */
gn_code gn_batch_fill_row(gn_batch_fill *fill, gn_batch *batch, gn_bytes row, gn_bytes key, gn_bytes *key_out,
                          double distance, gn_error *err);
/* The same with its values at hand: fill->n of them; they are changed. */
gn_code gn_batch_fill_values(gn_batch_fill *fill, gn_batch *batch, gn_value *values, gn_bytes key, gn_bytes *key_out,
                             double distance, gn_error *err);
/* The rows at these places alone stay, of a batch without keys if `keys` is NULL. */
void gn_batch_keep(gn_batch *batch, gn_bytes *keys, const uint16_t *rows, uint32_t n);

#endif
