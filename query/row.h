/* The stored form of a row: versioned, columns by id, absent = NULL or (if written before the column was added) the
 * column's missing value. And keys: an encoding whose byte order is SQL order, for primary keys and indexes. */
#ifndef GN_QUERY_ROW_H
#define GN_QUERY_ROW_H

#include "query/batch.h"
#include "query/schema.h"

/* values: one for each of desc->columns, in that order (dropped and computed ones ignored). Appends to out. GN_LIMIT
 * past GN_MAX_ROW. */
gn_code gn_row_encode(const gn_table_desc *desc, const gn_value *values, gn_buf *out, gn_error *err);
/* Decodes the wanted ordinals of desc->columns (strictly ascending) into values[0..n). Bytes point into `row`; missing
 * values are parsed, and computed columns computed, into the arena. A computed one that fails is NULL: whoever writes
 * rows refuses such, but rows may be older than the column. GN_CORRUPT. */
gn_code gn_row_decode(const gn_table_desc *desc, gn_bytes row, const uint32_t *ordinals, uint32_t n, gn_value *values,
                      gn_arena *arena, gn_error *err);

/* Order-preserving key parts: NULL sorts last ascending (or first with nulls_first), descending inverts the bytes.
 * Self-delimiting, so parts may follow one another; no part is a prefix of another. All types but json and
 * vector: GN_WRONG_OBJECT_TYPE for types without an order. Appends to out; GN_LIMIT past GN_MAX_KEY. */
gn_code gn_key_append(gn_buf *out, const gn_value *value, bool descending, bool nulls_first, gn_error *err);
/* Reads one part back; *key is advanced. GN_CORRUPT. numeric loses its trailing zeros (rows keep them). */
gn_code gn_key_read(gn_bytes *key, gn_type type, bool descending, bool nulls_first, gn_arena *arena, gn_value *out,
                    gn_error *err);
/* Skips one part. */
gn_code gn_key_skip(gn_bytes *key, gn_type type, bool descending, gn_error *err);

/* The primary key of a row, from its values. */
gn_code gn_key_of_row(const gn_table_desc *desc, const gn_value *values, gn_buf *out, gn_error *err);
/* Has the index an entry for the row? A partial one has not for all. */
bool gn_index_takes(const gn_table_desc *desc, const gn_index_desc *index, const gn_value *values);
/* The columns of an index entry (without the primary key that a non-unique entry ends with). *has_null: any part NULL.
 */
gn_code gn_key_of_index(const gn_table_desc *desc, const gn_index_desc *index, const gn_value *values, gn_buf *out,
                        bool *has_null, gn_error *err);

#endif
