/* Batches as bytes, to be sent to another node. (A single row travels in its stored form, query/row.h.)
 *
 *   version (1)  flags (1)  rows (2)  columns (2)   column*  [keys]
 *   column:  type (1)  flags (1)  [null bitmap]  items
 *
 * Little endian. Items of a fixed size lie as they do in memory. The others are their lengths, all in the fewest of 1,
 * 2, 4 bytes that hold the longest (or one length that all have: vectors, uuids), then their bytes on end; a NULL has
 * length 0. So both ways are a few memcpy for each column. Bytes that were not written here give GN_CORRUPT, or some
 * batch that is sound. */
#ifndef GN_QUERY_BATCH_PACK_H
#define GN_QUERY_BATCH_PACK_H

#include "query/batch.h"

/* Appends rows from `from` on, as many as take about `most` bytes but at least one, and gives their number; 0: the
 * buffer failed. keys: NULL, or one for each row. */
uint32_t gn_batch_pack(const gn_batch *batch, const gn_bytes *keys, uint32_t from, size_t most, gn_buf *out);

/* Fills the batch, whose arena is reset; what is read is copied there. types: those that the columns must have (their
 * modifiers are taken over). keys: NULL (they are skipped), or room for GN_BATCH_ROWS; GN_CORRUPT if there are none. */
gn_code gn_batch_unpack(gn_bytes packed, const gn_type *types, uint32_t n_types, gn_batch *batch, gn_bytes *keys,
                        gn_error *err);

#endif
