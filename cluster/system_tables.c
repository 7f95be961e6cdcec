#include "base/assert.h"
#include "base/limits.h"
#include "cluster/system_tables_private.h"

#include <stdio.h>

typedef struct column_def {
    const char *name;
    gn_type_id type;
} column_def;

/* In every table the first column is the primary key. */
static const struct table_def {
    const char *name;
    uint32_t n_columns;
    column_def columns[GN_SYS_MAX_COLUMNS];
} TABLES[GN_SYS_END - GN_FIRST_SYSTEM_ID] = {
    [GN_SYS_CLUSTER -
     GN_FIRST_SYSTEM_ID] = {"gnomon_cluster",
                            GN_CLUSTER_COLUMNS,
                            {[GN_CLUSTER_NAME] = {"name", GN_T_TEXT}, [GN_CLUSTER_VALUE] = {"value", GN_T_TEXT}}},
    [GN_SYS_NODES - GN_FIRST_SYSTEM_ID] = {"gnomon_nodes",
                                           GN_NODE_COLUMNS,
                                           {[GN_NODE_ID] = {"id", GN_T_INT8},
                                            [GN_NODE_ADDRESS] = {"address", GN_T_TEXT},
                                            [GN_NODE_ZONE] = {"zone", GN_T_TEXT},
                                            [GN_NODE_STATE] = {"state", GN_T_TEXT}}},
    [GN_SYS_DISTRIBUTIONS - GN_FIRST_SYSTEM_ID] = {"gnomon_distributions",
                                                   GN_DIST_COLUMNS,
                                                   {[GN_DIST_ID] = {"id", GN_T_INT8},
                                                    [GN_DIST_SHARDS] = {"shards", GN_T_INT8},
                                                    [GN_DIST_REPLICAS] = {"replicas", GN_T_INT8}}},
    [GN_SYS_GROUPS - GN_FIRST_SYSTEM_ID] = {"gnomon_groups",
                                            GN_GROUP_COLUMNS,
                                            {[GN_GROUP_ID] = {"id", GN_T_INT8},
                                             [GN_GROUP_DIST] = {"distribution", GN_T_INT8},
                                             [GN_GROUP_SLOT_LO] = {"slot_lo", GN_T_INT8},
                                             [GN_GROUP_SLOT_HI] = {"slot_hi", GN_T_INT8},
                                             [GN_GROUP_MEMBERS] = {"members", GN_T_TEXT},
                                             [GN_GROUP_CHANGES] = {"changes", GN_T_INT8}}},
};

static gn_code create_table(gn_txn *meta, gn_system_table id, gn_error *err)
{
    const struct table_def *def = &TABLES[id - GN_FIRST_SYSTEM_ID];
    gn_column_desc columns[GN_SYS_MAX_COLUMNS] = {0};
    gn_table_desc desc = {.id = id,
                          .version = 1,
                          .next_column_id = def->n_columns + 1,
                          .n_columns = def->n_columns,
                          .columns = columns,
                          .n_key = 1,
                          .key = {1}};
    snprintf(desc.name, sizeof desc.name, "%s", def->name);
    snprintf(desc.key_name, sizeof desc.key_name, "%s_pkey", def->name);
    for (uint32_t i = 0; i < def->n_columns; i++) {
        columns[i] = (gn_column_desc){.id = i + 1, .type = gn_type_of(def->columns[i].type), .not_null = true};
        snprintf(columns[i].name, sizeof columns[i].name, "%s", def->columns[i].name);
    }
    return gn_txn_put_table(meta, &desc, err);
}

gn_code gn_system_tables_create(gn_txn *meta, gn_error *err)
{
    gn_code code = GN_OK;
    for (gn_system_table id = GN_SYS_CLUSTER; id < GN_SYS_END && code == GN_OK; id++)
        if (!gn_txn_table(meta, id))
            code = create_table(meta, id, err);
    return code;
}

static gn_code row_exists(gn_txn *meta, const gn_table_desc *desc, gn_bytes key, bool *exists, gn_error *err)
{
    static const uint32_t FIRST = 0;
    gn_scan_spec spec = {.table = desc,
                         .range = {.lo = key, .hi = key, .hi_inclusive = true},
                         .ordinals = &FIRST,
                         .n_ordinals = 1,
                         .limit_hint = 1};
    gn_batch batch = {.n_columns = 1, .arena = gn_arena_create(NULL)};
    gn_scan *scan = NULL;
    gn_code code = gn_scan_open(meta, &spec, &scan, err);
    if (code == GN_OK)
        code = gn_scan_next(scan, &batch, NULL, err);
    *exists = code == GN_OK && batch.n_rows > 0;
    gn_scan_close(scan);
    gn_arena_destroy(batch.arena);
    return code;
}

gn_code gn_system_put(gn_txn *meta, gn_system_table table, const gn_value *values, gn_error *err)
{
    const gn_table_desc *desc = gn_txn_table(meta, table);
    GN_ASSERT(desc);
    bool exists = false;
    gn_buf key;
    gn_buf_init(&key, NULL, GN_MAX_KEY);
    gn_code code = gn_key_of_row(desc, values, &key, err);
    if (code == GN_OK)
        code = row_exists(meta, desc, gn_buf_bytes(&key), &exists, err);
    if (code == GN_OK)
        code = exists ? gn_txn_update(meta, desc, gn_buf_bytes(&key), values, err)
                      : gn_txn_insert(meta, desc, values, err);
    gn_buf_close(&key);
    return code;
}

static gn_code scan_rows(gn_scan *scan, uint32_t n_columns, gn_batch *batch,
                         gn_code (*fn)(void *ctx, const gn_value *values, gn_error *err), void *ctx, gn_error *err)
{
    gn_value values[GN_SYS_MAX_COLUMNS];
    for (;;) {
        gn_code code = gn_scan_next(scan, batch, NULL, err);
        if (code != GN_OK || batch->n_rows == 0)
            return code;
        for (uint32_t r = 0; r < batch->n_rows; r++) {
            for (uint32_t i = 0; i < n_columns; i++)
                values[i] = gn_column_get(&batch->columns[i], r);
            if ((code = fn(ctx, values, err)) != GN_OK)
                return code;
        }
    }
}

gn_code gn_system_scan(gn_txn *meta, gn_system_table table,
                       gn_code (*fn)(void *ctx, const gn_value *values, gn_error *err), void *ctx, gn_error *err)
{
    static const uint32_t ALL[GN_SYS_MAX_COLUMNS] = {0, 1, 2, 3, 4, 5, 6, 7};
    const gn_table_desc *desc = gn_txn_table(meta, table);
    if (!desc)
        return GN_OK;
    uint32_t n = TABLES[table - GN_FIRST_SYSTEM_ID].n_columns;
    if (desc->n_columns != n)
        return gn_error_set(err, GN_CORRUPT, "system table \"%s\" was made by another version of GnomonDB", desc->name);
    gn_scan_spec spec = {.table = desc, .ordinals = ALL, .n_ordinals = n};
    gn_batch batch = {.n_columns = n, .arena = gn_arena_create(NULL)};
    gn_scan *scan = NULL;
    gn_code code = gn_scan_open(meta, &spec, &scan, err);
    if (code == GN_OK)
        code = scan_rows(scan, n, &batch, fn, ctx, err);
    gn_scan_close(scan);
    gn_arena_destroy(batch.arena);
    return code;
}
