/* The catalog as a transaction sees it: the schema at its read SCN, with its own changes over it. */
#include "base/assert.h"
#include "index/distance.h"
#include "query/vector.h"
#include "shard/txn_private.h"

#include <stdlib.h>

void gn_txn_use_table(gn_txn *txn, uint64_t table_id)
{
    if (txn->read_only)
        return;
    for (size_t i = txn->n_used; i > 0; i--)
        if (txn->used[i - 1] == table_id)
            return;
    if (txn->n_used == txn->cap_used) {
        txn->cap_used = txn->cap_used ? 2 * txn->cap_used : 4;
        txn->used = gn_xrealloc(txn->used, txn->cap_used * sizeof *txn->used);
    }
    txn->used[txn->n_used++] = table_id;
}

void gn_txn_catalog_close(gn_txn *txn)
{
    for (size_t i = 0; i < txn->n_own_tables; i++)
        gn_table_desc_release(txn->own_tables[i].desc);
    for (size_t i = 0; i < txn->n_kept; i++)
        gn_table_desc_release(txn->kept[i]);
    free(txn->own_tables);
    free(txn->kept);
    free(txn->used);
}

/* ---- reading ---- */

static gn_own_table *own_table(const gn_txn *txn, uint64_t id)
{
    for (size_t i = 0; i < txn->n_own_tables; i++)
        if (txn->own_tables[i].id == id)
            return &txn->own_tables[i];
    return NULL;
}

/* A table that is in the schema is one to depend on; one of this transaction's making is not there at commit. */
static const gn_table_desc *used(gn_txn *txn, const gn_schema_table *t)
{
    gn_txn_use_table(txn, t->desc->id);
    return t->desc;
}

bool gn_txn_defines(const gn_txn *txn)
{
    return txn->n_own_tables > 0;
}

const gn_table_desc *gn_txn_table(gn_txn *txn, uint64_t table_id)
{
    const gn_own_table *own = own_table(txn, table_id);
    if (own)
        return own->desc;
    const gn_schema_table *t = gn_schema_find(txn->schema, table_id);
    return t ? used(txn, t) : NULL;
}

const gn_table_desc *gn_txn_table_named(gn_txn *txn, gn_bytes name)
{
    for (size_t i = 0; i < txn->n_own_tables; i++) {
        const gn_table_desc *desc = txn->own_tables[i].desc;
        if (desc && gn_bytes_eq(gn_bytes_str(desc->name), name))
            return desc;
    }
    const gn_schema_table *t = gn_schema_find_name(txn->schema, name);
    return t && !own_table(txn, t->desc->id) ? used(txn, t) : NULL;
}

const gn_table_desc *gn_txn_index_named(gn_txn *txn, gn_bytes name, const gn_index_desc **index)
{
    for (size_t i = 0; i < txn->n_own_tables; i++) {
        const gn_table_desc *desc = txn->own_tables[i].desc;
        if (desc && (*index = gn_table_index_named(desc, name)))
            return desc;
    }
    const gn_schema_table *t = gn_schema_find_index(txn->schema, name, index);
    return t && !own_table(txn, t->desc->id) ? used(txn, t) : NULL;
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const gn_table_desc *const *)a)->name, (*(const gn_table_desc *const *)b)->name);
}

gn_code gn_txn_tables(gn_txn *txn, gn_arena *arena, const gn_table_desc ***out, size_t *n, gn_error *err)
{
    const gn_table_desc **all = gn_arena_calloc(arena, txn->schema->n + txn->n_own_tables, sizeof(gn_table_desc *));
    if (!all)
        return gn_error_oom(err, gn_arena_account(arena));
    *n = 0;
    for (uint32_t i = 0; i < txn->schema->n; i++)
        if (!own_table(txn, txn->schema->by_id[i].desc->id))
            all[(*n)++] = txn->schema->by_id[i].desc;
    for (size_t i = 0; i < txn->n_own_tables; i++)
        if (txn->own_tables[i].desc)
            all[(*n)++] = txn->own_tables[i].desc;
    qsort(all, *n, sizeof(gn_table_desc *), by_name);
    *out = all;
    return GN_OK;
}

/* ---- changing ---- */

/* Takes desc. */
static void set_own(gn_txn *txn, uint64_t id, const gn_table_desc *desc)
{
    gn_own_table *own = own_table(txn, id);
    if (!own) {
        txn->own_tables = gn_xrealloc(txn->own_tables, (txn->n_own_tables + 1) * sizeof *txn->own_tables);
        own = &txn->own_tables[txn->n_own_tables++];
        *own = (gn_own_table){.id = id};
    }
    if (own->desc) {
        txn->kept = gn_xrealloc(txn->kept, (txn->n_kept + 1) * sizeof(gn_table_desc *));
        txn->kept[txn->n_kept++] = own->desc;
    }
    own->desc = desc;
}

static gn_code check_index(const gn_table_desc *desc, const gn_index_desc *index, gn_error *err)
{
    if (index->n_columns == 0 || index->n_columns > GN_MAX_INDEX_COLUMNS)
        return gn_error_set(err, GN_TABLE_DEFINITION, "index \"%s\" has %u columns", index->name, index->n_columns);
    for (uint32_t i = 0; i < index->n_columns; i++)
        if (gn_table_column_by_id(desc, index->columns[i]) < 0)
            return gn_error_set(err, GN_NO_COLUMN, "index \"%s\" names a column that does not exist", index->name);
    if (index->kind != GN_INDEX_HNSW)
        return GN_OK;
    gn_type type = desc->columns[gn_table_column_by_id(desc, index->columns[0])].type;
    if (!gn_type_can_be_indexed(type) || index->n_columns != 1)
        return gn_error_set(err, GN_WRONG_OBJECT_TYPE, "an hnsw index is over one column of vectors with dimensions");
    bool bits = index->metric == GN_METRIC_HAMMING || index->metric == GN_METRIC_JACCARD;
    if ((uint32_t)type.typmod > gn_metric_max_dimensions((gn_metric_kind)index->metric))
        return gn_error_set(err, GN_LIMIT, "column has too many dimensions for an hnsw index");
    if (index->metric < GN_METRIC_L2 || index->metric >= GN_METRIC_KNOWN || bits != gn_type_is(type, GN_T_BIT) ||
        index->m > GN_MAX_HNSW_M || index->ef_construction > GN_MAX_EF_CONSTRUCTION)
        return gn_error_set(err, GN_INVALID_PARAMETER, "index \"%s\" has a parameter out of its range", index->name);
    return GN_OK;
}

/* What nothing below could live with; the rest is the business of whoever makes definitions. */
static gn_code check_definition(gn_txn *txn, const gn_table_desc *desc, const gn_table_desc *before, gn_error *err)
{
    if (txn->read_only)
        return gn_error_set(err, GN_READ_ONLY_TRANSACTION, "cannot change a table in a read-only transaction");
    if (desc->id < GN_FIRST_SYSTEM_ID)
        return gn_error_set(err, GN_TABLE_DEFINITION, "%llu is not the id of a table", (unsigned long long)desc->id);
    if (before && desc->data_epoch < before->data_epoch)
        return gn_error_set(err, GN_TABLE_DEFINITION, "the data epoch of table \"%s\" went back", desc->name);
    if (!desc->hidden_key && desc->n_key == 0)
        return gn_error_set(err, GN_TABLE_DEFINITION, "table \"%s\" has no key", desc->name);
    for (uint32_t i = 0; i < desc->n_key; i++)
        if (gn_table_column_by_id(desc, desc->key[i]) < 0)
            return gn_error_set(err, GN_NO_COLUMN, "the key of table \"%s\" names a column that does not exist",
                                desc->name);
    gn_code code = GN_OK;
    for (uint32_t i = 0; code == GN_OK && i < desc->n_indexes; i++)
        code = check_index(desc, &desc->indexes[i], err);
    return code;
}

static gn_code check_name(gn_txn *txn, const gn_table_desc *desc, const char *name, gn_error *err)
{
    const gn_index_desc *index;
    const gn_table_desc *other = gn_txn_table_named(txn, gn_bytes_str(name));
    if (!other || other->id == desc->id)
        other = gn_txn_index_named(txn, gn_bytes_str(name), &index);
    if (other && other->id != desc->id)
        return gn_error_set(err, GN_DUPLICATE_TABLE, "relation \"%s\" already exists", name);
    return GN_OK;
}

/* Writes with the old definition are gone with a new epoch; otherwise they go on under the new one. */
static void follow_definition(gn_txn *txn, const gn_table_desc *desc)
{
    gn_write_set *ws = gn_txn_find_set(txn, desc->id);
    if (!ws)
        return;
    gn_txn_settle_scans(txn);
    if (ws->desc->data_epoch != desc->data_epoch)
        gn_write_set_clear(ws);
    gn_own_index_destroy(ws->indexes);
    ws->indexes = NULL;
    gn_table_desc_release(ws->desc);
    ws->desc = gn_table_desc_retain(desc);
}

gn_code gn_txn_put_table(gn_txn *txn, const gn_table_desc *desc, gn_error *err)
{
    const gn_table_desc *before = gn_txn_table(txn, desc->id);
    gn_code code = check_definition(txn, desc, before, err);
    if (code == GN_OK)
        code = check_name(txn, desc, desc->name, err);
    for (uint32_t i = 0; code == GN_OK && i < desc->n_indexes; i++)
        code = check_name(txn, desc, desc->indexes[i].name, err);
    gn_buf_clear(&txn->key);
    gn_buf_clear(&txn->row);
    if (code == GN_OK)
        code = gn_catalog_key(desc->id, &txn->key, err);
    if (code == GN_OK)
        code = gn_catalog_row(desc, &txn->row, err);
    if (code == GN_OK) {
        bool committed = gn_schema_find(txn->schema, desc->id) != NULL;
        code = gn_own_put(gn_txn_set(txn, gn_catalog_desc()), gn_buf_bytes(&txn->key), gn_buf_bytes(&txn->row),
                          committed, err);
    }
    /* A copy: the caller's may lie in memory of its own. */
    const gn_table_desc *copy;
    if (code == GN_OK)
        code = gn_catalog_read_row(gn_buf_bytes(&txn->row), &copy, err);
    if (code == GN_OK) {
        set_own(txn, desc->id, copy);
        follow_definition(txn, copy);
    }
    return code;
}

gn_code gn_txn_drop_table(gn_txn *txn, uint64_t table_id, gn_error *err)
{
    if (txn->read_only)
        return gn_error_set(err, GN_READ_ONLY_TRANSACTION, "cannot drop a table in a read-only transaction");
    if (!gn_txn_table(txn, table_id))
        return gn_error_set(err, GN_NO_TABLE, "table %llu does not exist", (unsigned long long)table_id);
    gn_buf_clear(&txn->key);
    gn_code code = gn_catalog_key(table_id, &txn->key, err);
    if (code == GN_OK)
        code = gn_own_delete(gn_txn_set(txn, gn_catalog_desc()), gn_buf_bytes(&txn->key), err);
    if (code != GN_OK)
        return code;
    gn_write_set *ws = gn_txn_find_set(txn, table_id);
    if (ws) {
        gn_txn_settle_scans(txn);
        gn_write_set_clear(ws);
    }
    set_own(txn, table_id, NULL);
    return GN_OK;
}
