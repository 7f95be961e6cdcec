/* The tables in which the meta group keeps the cluster's own state. They are tables like any other: versioned,
 * replicated, readable by SQL; only this folder writes them. */
#ifndef GN_CLUSTER_SYSTEM_TABLES_PRIVATE_H
#define GN_CLUSTER_SYSTEM_TABLES_PRIVATE_H

#include "shard/txn.h"

typedef enum gn_system_table {
    GN_SYS_CLUSTER = GN_FIRST_SYSTEM_ID, /* name, value */
    GN_SYS_NODES,
    GN_SYS_DISTRIBUTIONS,
    GN_SYS_GROUPS,
    GN_SYS_END
} gn_system_table;

/* The meta group's sequences. */
enum { GN_GROUP_SEQUENCE = GN_FIRST_SYSTEM_ID, GN_CLOCK_SEQUENCE };

/* Columns by ordinal. */
enum { GN_CLUSTER_NAME, GN_CLUSTER_VALUE, GN_CLUSTER_COLUMNS };
enum { GN_NODE_ID, GN_NODE_ADDRESS, GN_NODE_ZONE, GN_NODE_STATE, GN_NODE_PROGRAM, GN_NODE_COLUMNS };
enum { GN_DIST_ID, GN_DIST_SHARDS, GN_DIST_REPLICAS, GN_DIST_COLUMNS };
enum {
    GN_GROUP_ID,
    GN_GROUP_DIST,
    GN_GROUP_SLOT_LO,
    GN_GROUP_SLOT_HI,
    GN_GROUP_MEMBERS,
    GN_GROUP_CHANGES,
    GN_GROUP_COLUMNS
};
enum { GN_SYS_MAX_COLUMNS = 8 };

/* Creates those that are missing, in this transaction, as a cluster at this version has them. */
gn_code gn_system_tables_create(gn_txn *meta, uint32_t version, gn_error *err);
/* Adds the columns that come with this version, in this transaction: NULL in the rows that are there. */
gn_code gn_system_tables_upgrade(gn_txn *meta, uint32_t version, gn_error *err);

/* Inserts the row, or replaces the one with its key. values: one for each column, of its type; those of columns that
 * the cluster's version has not brought yet are left out. */
gn_code gn_system_put(gn_txn *meta, gn_system_table table, const gn_value *values, gn_error *err);
/* Calls fn with each row in key order, every column; one that is not there yet is NULL. An error of fn ends it. A table
 * that is not there has no rows. */
gn_code gn_system_scan(gn_txn *meta, gn_system_table table,
                       gn_code (*fn)(void *ctx, const gn_value *values, gn_error *err), void *ctx, gn_error *err);

static inline gn_value gn_text_value(gn_bytes text)
{
    return (gn_value){.type = gn_type_of(GN_T_TEXT), .as.bytes = text};
}
static inline gn_value gn_int_value(int64_t v)
{
    return (gn_value){.type = gn_type_of(GN_T_INT8), .as.i64 = v};
}

#endif
