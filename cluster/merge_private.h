/* Several streams of rows as one: one after the other, or merged by key, by distance or by columns. */
#ifndef GN_CLUSTER_MERGE_PRIVATE_H
#define GN_CLUSTER_MERGE_PRIVATE_H

#include "cluster/dtxn.h"

/* Rows of one group in batches. next: fills the batch (n_columns set, its arena reset) and, if not NULL, keys of
 * GN_BATCH_ROWS; n_rows 0 = end. */
typedef struct gn_stream {
    gn_code (*next)(void *stream, gn_batch *batch, gn_bytes *keys, gn_error *err);
    void (*close)(void *stream);
    void *stream;
} gn_stream;

typedef enum gn_merge_order {
    GN_MERGE_NONE, /* whole streams after one another */
    GN_MERGE_KEY,
    GN_MERGE_KEY_DESCENDING,
    GN_MERGE_DISTANCE, /* the last column, ascending */
    GN_MERGE_COLUMNS,  /* by gn_merge_open_sorted */
} gn_merge_order;

typedef struct gn_merge gn_merge;
/* Takes the streams. */
gn_merge *gn_merge_open(const gn_stream *streams, uint32_t n, uint32_t n_columns, gn_merge_order order,
                        gn_account *account);
/* Each stream gives its rows in the order of these columns. `by` must outlive the merge. */
gn_merge *gn_merge_open_sorted(const gn_stream *streams, uint32_t n, uint32_t n_columns, const gn_row_order *by,
                               uint32_t n_by, gn_account *account);
/* The batch's columns are the merge's or in its own arena: good until the next call. keys: NULL, or room for
 * GN_BATCH_ROWS; NULL for GN_MERGE_COLUMNS. */
gn_code gn_merge_next(gn_merge *merge, gn_batch *batch, gn_bytes *keys, gn_error *err);
void gn_merge_close(gn_merge *merge); /* NULL is fine */

#endif
