/* Descriptors of tables and indexes, as the catalog stores them (versioned msgpack) and as shards and plans use them.
 * A descriptor is immutable once published; a change makes a new one with a higher version. */
#ifndef GN_QUERY_SCHEMA_H
#define GN_QUERY_SCHEMA_H

#include "query/value.h"

struct gn_computed; /* query/computed.h */

typedef struct gn_column_desc {
    uint32_t id; /* unique in the table for ever; rows name columns by it */
    char name[64];
    gn_type type;
    bool not_null;
    bool dropped;
    bool identity; /* GENERATED ... AS IDENTITY or AUTOINCREMENT */
    bool identity_always;
    uint64_t sequence_id; /* of an identity column */
    char *default_sql;    /* NULL = none; text of the expression */
    /* What rows written before this column was added have (ADD COLUMN ... DEFAULT constant): text form, NULL = NULL */
    char *missing_text;
    /* A column of what an index is over that is not a column: a value computed from the row whenever it is read, and
     * stored nowhere. SQL sees it by no name. Both NULL of other columns. Needs GN_SINCE_COMPUTED. */
    gn_bytes packed;
    const struct gn_computed *computed;
} gn_column_desc;

/* One that SQL sees. */
static inline bool gn_column_is_shown(const gn_column_desc *c)
{
    return !c->dropped && !c->computed;
}

typedef enum gn_index_kind { GN_INDEX_BTREE = 1, GN_INDEX_HNSW = 2 } gn_index_kind;

typedef struct gn_index_desc {
    uint64_t id; /* unique in the database for ever */
    char name[64];
    gn_index_kind kind;
    bool unique, primary;
    bool constraint; /* made by UNIQUE or PRIMARY KEY, not by CREATE INDEX */
    uint32_t n_columns;
    uint32_t columns[32]; /* column ids */
    bool descending[32];
    bool nulls_first[32];
    /* hnsw */
    uint8_t metric; /* gn_metric_kind */
    uint32_t m, ef_construction;
    uint8_t codes; /* gn_code_kind: what graphs are walked over; the rest is for some kinds, 0 = the kind's default */
    uint32_t code_bits, pq_subquantizers, pq_centroids, rerank;
    uint32_t ef_search; /* of searches that say none; 0 = the default. Needs GN_SINCE_VECTOR_TYPES */
    /* A partial index: the id of a computed boolean column. The index has the rows for which it is true. 0 = all rows
     */
    uint32_t predicate;
} gn_index_desc;

typedef struct gn_check_desc {
    char name[64];
    char *sql; /* text of the condition */
} gn_check_desc;

typedef struct gn_table_desc {
    uint64_t id; /* unique in the database for ever; below GN_FIRST_USER_ID: system tables */
    uint64_t version;
    char name[64];
    uint32_t next_column_id;
    uint32_t n_columns;
    gn_column_desc *columns; /* in order of definition, dropped ones included */
    /* The primary key; a table without one has a hidden bigint column `gn_rowid` that the shard fills at commit. */
    uint32_t n_key;
    uint32_t key[32];  /* column ids */
    char key_name[64]; /* of the constraint: "<table>_pkey" */
    bool hidden_key;
    uint32_t n_indexes;
    gn_index_desc *indexes; /* without the primary key */
    uint32_t n_checks;
    gn_check_desc *checks;
    uint64_t data_epoch; /* TRUNCATE raises it; part of the key, so the old rows are gone at once */
    /* Where rows lie in a cluster: 0 = all in the meta group; else the distribution that maps slots to groups. A row's
     * slot is the hash of its shard key: of these columns, a subset of the primary key. */
    uint64_t distribution_id;
    uint32_t n_shard_key;
    uint32_t shard_key[32]; /* column ids */
} gn_table_desc;

/* Below: system tables, those under GN_FIRST_SYSTEM_ID the shard's own. */
enum { GN_FIRST_SYSTEM_ID = 16, GN_FIRST_USER_ID = 16384 };

/* Versioned msgpack. decode allocates everything in one arena of its own; free with gn_table_desc_release. Descriptors
 * are reference-counted so that plans may hold them across changes. */
bool gn_table_desc_encode(const gn_table_desc *desc, gn_buf *out);
gn_code gn_table_desc_decode(gn_bytes bytes, const gn_table_desc **out, gn_error *err);
const gn_table_desc *gn_table_desc_retain(const gn_table_desc *desc); /* any thread */
void gn_table_desc_release(const gn_table_desc *desc);                /* any thread; NULL is fine */

/* Ordinal in desc->columns, or -1. By name: columns that SQL sees. */
int gn_table_column_by_id(const gn_table_desc *desc, uint32_t column_id);
int gn_table_column_by_name(const gn_table_desc *desc, gn_bytes name);

#endif
