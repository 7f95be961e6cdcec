/* The tables at one moment: an immutable, counted set of descriptors. Applying a catalog row makes a new one. */
#ifndef GN_SHARD_SCHEMA_PRIVATE_H
#define GN_SHARD_SCHEMA_PRIVATE_H

#include "query/row.h"
#include "shard/mvcc_private.h"

typedef struct gn_schema_table {
    const gn_table_desc *desc;
    gn_scn since; /* commit of this version of the descriptor */
} gn_schema_table;

typedef struct gn_schema {
    _Atomic uint32_t refs;
    gn_scn changed; /* newest change, drops included; 0 = none */
    uint32_t n;
    gn_schema_table *by_id;
    uint32_t *by_name; /* positions in by_id */
} gn_schema;

gn_schema *gn_schema_empty(void);
gn_schema *gn_schema_retain(gn_schema *schema);
void gn_schema_release(gn_schema *schema); /* NULL is fine */
/* A copy in which `id` is desc (retained), or is not there (desc NULL). */
gn_schema *gn_schema_with(const gn_schema *schema, uint64_t id, const gn_table_desc *desc, gn_scn scn);

const gn_schema_table *gn_schema_find(const gn_schema *schema, uint64_t id);
const gn_schema_table *gn_schema_find_name(const gn_schema *schema, gn_bytes name);
const gn_schema_table *gn_schema_find_index(const gn_schema *schema, gn_bytes name, const gn_index_desc **index);
const gn_index_desc *gn_table_index(const gn_table_desc *desc, uint64_t index_id);
const gn_index_desc *gn_table_index_named(const gn_table_desc *desc, gn_bytes name);

/* Tables and indexes share one name space. GN_DUPLICATE_TABLE if desc's name, or that of one of its indexes, is taken
 * by another table or index. */
gn_code gn_schema_check_names(const gn_schema *schema, const gn_table_desc *desc, gn_error *err);

/* ---- the system table that holds the descriptors ---- */
enum { GN_CATALOG_TABLE = 1 };
const gn_table_desc *gn_catalog_desc(void);
gn_space gn_catalog_space(uint64_t branch);
/* The key and the row of a descriptor. */
gn_code gn_catalog_key(uint64_t table_id, gn_buf *out, gn_error *err);
gn_code gn_catalog_row(const gn_table_desc *desc, gn_buf *out, gn_error *err);
gn_code gn_catalog_read_key(gn_bytes key, uint64_t *table_id, gn_error *err);
gn_code gn_catalog_read_row(gn_bytes row, const gn_table_desc **out, gn_error *err);
/* All tables as the chain sees them. */
gn_code gn_schema_load(gn_store *store, const gn_chain *chain, gn_schema **out, gn_error *err);

#endif
