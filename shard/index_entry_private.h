/* Entries of btree indexes. The entry of a unique index without NULLs has the index parts alone as its key and the
 * primary key as its value, so that a look-up by bloom filter answers uniqueness; every other entry ends with the
 * primary key, since equal ones may stand side by side. */
#ifndef GN_SHARD_INDEX_ENTRY_PRIVATE_H
#define GN_SHARD_INDEX_ENTRY_PRIVATE_H

#include "shard/schema_private.h"

/* The columns that a table's btree indexes need, and one row of them. */
typedef struct gn_index_columns {
    const gn_table_desc *desc;
    uint32_t n;
    uint32_t *ordinals; /* ascending */
    gn_value *dense;    /* n */
    gn_value *values;   /* by ordinal, as gn_key_of_index wants them */
    gn_arena *arena;
    gn_arena *scratch; /* reset with each row */
} gn_index_columns;

/* only: one index, or NULL for all btree indexes. */
gn_code gn_index_columns_init(gn_index_columns *columns, const gn_table_desc *desc, const gn_index_desc *only,
                              gn_error *err);
void gn_index_columns_close(gn_index_columns *columns); /* zeroed is fine */
/* values then point into the row. */
gn_code gn_index_columns_read(gn_index_columns *columns, gn_bytes row, gn_error *err);

typedef struct gn_index_entry {
    gn_bytes key;  /* without prefix and SCN */
    size_t parts;  /* its length without the primary key */
    bool unique;   /* the primary key is the value */
    bool left_out; /* there is none: the index is partial, and the row not one of its */
} gn_index_entry;

/* Replaces out by the entry's key. Look at left_out first. */
gn_code gn_index_entry_of(const gn_index_columns *columns, const gn_index_desc *index, gn_bytes primary_key,
                          gn_buf *out, gn_index_entry *entry, gn_error *err);
/* The primary key that an entry found in the store leads to. value: what gn_value_open gave. */
gn_code gn_index_entry_primary(const gn_table_desc *desc, const gn_index_desc *index, gn_bytes key, gn_bytes value,
                               gn_bytes *primary_key, gn_error *err);

/* The value that a vector index has of a row: NULL also where the index is partial, and the row not one of its. */
gn_code gn_index_row_vector(const gn_table_desc *desc, const gn_index_desc *index, gn_bytes row, gn_arena *arena,
                            gn_value *out, gn_error *err);

/* PostgreSQL's words for a broken constraint. index NULL: the primary key. building: while the index is being made. */
gn_code gn_unique_error(const gn_table_desc *desc, const gn_index_desc *index, gn_bytes parts, bool building,
                        gn_error *err);

#endif
