#include "base/assert.h"
#include "base/limits.h"
#include "base/versions.h"
#include "cluster/system_tables_private.h"

#include <stdio.h>
#include <string.h>

typedef struct column_def {
    const char *name;
    gn_type_id type;
    uint32_t since; /* the cluster version that brings it; 0: always there. Later ones come last, and may be NULL */
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
                                            [GN_NODE_STATE] = {"state", GN_T_TEXT},
                                            [GN_NODE_PROGRAM] = {"version", GN_T_TEXT, GN_SINCE_NODE_PROGRAMS}}},
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

static void describe_column(const column_def *def, uint32_t id, gn_column_desc *out)
{
    *out = (gn_column_desc){.id = id, .type = gn_type_of(def->type), .not_null = def->since == 0};
    snprintf(out->name, sizeof out->name, "%s", def->name);
}

static gn_code create_table(gn_txn *meta, gn_system_table id, uint32_t version, gn_error *err)
{
    const struct table_def *def = &TABLES[id - GN_FIRST_SYSTEM_ID];
    gn_column_desc columns[GN_SYS_MAX_COLUMNS] = {0};
    uint32_t n = 0;
    for (; n < def->n_columns && def->columns[n].since <= version; n++)
        describe_column(&def->columns[n], n + 1, &columns[n]);
    gn_table_desc desc = {
        .id = id, .version = 1, .next_column_id = n + 1, .n_columns = n, .columns = columns, .n_key = 1, .key = {1}};
    snprintf(desc.name, sizeof desc.name, "%s", def->name);
    snprintf(desc.key_name, sizeof desc.key_name, "%s_pkey", def->name);
    return gn_txn_put_table(meta, &desc, err);
}

gn_code gn_system_tables_create(gn_txn *meta, uint32_t version, gn_error *err)
{
    gn_code code = GN_OK;
    for (gn_system_table id = GN_SYS_CLUSTER; id < GN_SYS_END && code == GN_OK; id++)
        if (!gn_txn_table(meta, id))
            code = create_table(meta, id, version, err);
    return code;
}

static gn_code extend_table(gn_txn *meta, const gn_table_desc *before, const struct table_def *def, uint32_t n,
                            gn_error *err)
{
    gn_column_desc columns[GN_SYS_MAX_COLUMNS] = {0};
    gn_table_desc desc = *before;
    memcpy(columns, before->columns, before->n_columns * sizeof *columns);
    for (uint32_t i = before->n_columns; i < n; i++)
        describe_column(&def->columns[i], desc.next_column_id++, &columns[i]);
    desc.columns = columns;
    desc.n_columns = n;
    desc.version++;
    return gn_txn_put_table(meta, &desc, err);
}

gn_code gn_system_tables_upgrade(gn_txn *meta, uint32_t version, gn_error *err)
{
    gn_code code = gn_system_tables_create(meta, version, err); /* tables that are new */
    for (gn_system_table id = GN_SYS_CLUSTER; id < GN_SYS_END && code == GN_OK; id++) {
        const struct table_def *def = &TABLES[id - GN_FIRST_SYSTEM_ID];
        const gn_table_desc *desc = gn_txn_table(meta, id);
        uint32_t n = desc->n_columns;
        while (n < def->n_columns && def->columns[n].since <= version)
            n++;
        if (n > desc->n_columns)
            code = extend_table(meta, desc, def, n, err);
    }
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
    for (uint32_t i = n_columns; i < GN_SYS_MAX_COLUMNS; i++)
        values[i] = (gn_value){.is_null = true, .type = gn_type_of(GN_T_TEXT)};
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
    uint32_t n = desc->n_columns;
    if (n > TABLES[table - GN_FIRST_SYSTEM_ID].n_columns)
        return gn_error_set(err, GN_CONFIGURATION, "system table \"%s\" was made by a newer version of GnomonDB",
                            desc->name);
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
