/* Buffered writes of rows. */
#include "base/assert.h"
#include "shard/txn_private.h"

#include <stdlib.h>

/* Provisional hidden keys start above all that apply will ever assign, so own new rows come last in a scan. */
static const int64_t PROVISIONAL = (int64_t)1 << 62;

enum { LOOKUPS_BEFORE_GREATEST = 8 };

gn_write_set *gn_txn_find_set(const gn_txn *txn, uint64_t table_id)
{
    for (size_t i = 0; i < txn->n_sets; i++)
        if (txn->sets[i]->desc->id == table_id)
            return txn->sets[i];
    return NULL;
}

gn_write_set *gn_txn_set(gn_txn *txn, const gn_table_desc *desc)
{
    gn_write_set *ws = gn_txn_find_set(txn, desc->id);
    if (ws)
        return ws;
    txn->sets = gn_xrealloc(txn->sets, (txn->n_sets + 1) * sizeof(gn_write_set *));
    ws = gn_write_set_create(desc, txn->account);
    txn->sets[txn->n_sets++] = ws;
    return ws;
}

/* The set to write to; NULL, with *code, when nothing may be written. A definition that is not this transaction's own
 * view of the table is a stale plan's. */
static gn_write_set *begin_write(gn_txn *txn, const gn_table_desc *desc, gn_code *code, gn_error *err)
{
    if (txn->read_only) {
        *code = gn_error_set(err, GN_READ_ONLY_TRANSACTION, "cannot write in a read-only transaction");
        return NULL;
    }
    gn_write_set *ws = gn_txn_find_set(txn, desc->id);
    if (ws && ws->desc == desc)
        return ws;
    const gn_table_desc *now = gn_txn_table(txn, desc->id);
    if (!now || now->version != desc->version || now->data_epoch != desc->data_epoch) {
        *code = gn_error_set(err, GN_SERIALIZATION, "the definition of table \"%s\" has changed", desc->name);
        return NULL;
    }
    return gn_txn_set(txn, now);
}

static gn_code check_size(gn_txn *txn, size_t more, gn_error *err)
{
    size_t bytes = more;
    for (size_t i = 0; i < txn->n_sets; i++)
        bytes += txn->sets[i]->bytes;
    if (bytes <= GN_MAX_TXN)
        return GN_OK;
    gn_error_set(err, GN_LIMIT, "the transaction writes more than %u MiB", GN_MAX_TXN >> 20);
    gn_error_hint(err, "Split the work over several transactions.");
    return GN_LIMIT;
}

/* ---- uniqueness, as far as this transaction can see it ---- */

static void copy_public_greatest(gn_txn *txn, gn_write_set *ws)
{
    gn_shard *shard = txn->shard;
    pthread_mutex_lock(&shard->view_lock);
    const gn_table_state *t = gn_table_states_find(&shard->tables, ws->desc->id);
    if (t && t->public_knows && t->epoch == ws->desc->data_epoch) {
        gn_buf_clear(&ws->greatest);
        gn_buf_append_bytes(&ws->greatest, gn_buf_bytes(&t->public_greatest));
        ws->knows_greatest = true;
    }
    pthread_mutex_unlock(&shard->view_lock);
}

/* One seek to the table's end spares a bulk insert a look-up per row. */
static gn_code find_greatest(gn_txn *txn, gn_write_set *ws, gn_error *err)
{
    gn_space space = gn_row_space(ws->desc, txn->branch);
    uint8_t lower[GN_SPACE_PREFIX_MAX], upper[GN_SPACE_PREFIX_MAX];
    size_t n = gn_space_prefix(&space, lower), m = gn_space_prefix(&space, upper);
    m = gn_prefix_successor(upper, m);
    gn_store_iter iter;
    gn_store_iter_open(&iter, txn->store, gn_bytes_of(lower, n), gn_bytes_of(upper, m), true);
    rocksdb_iter_seek_to_last(iter.it);
    gn_buf_clear(&ws->greatest);
    if (gn_store_iter_valid(&iter)) {
        gn_bytes stem = gn_version_stem(gn_store_iter_key(&iter));
        gn_buf_append(&ws->greatest, stem.data + n, stem.len - n);
    }
    gn_code code = gn_store_iter_status(&iter, err);
    gn_store_iter_close(&iter);
    ws->knows_greatest = code == GN_OK;
    return code;
}

/* A committed row in the way decides what becomes of the transaction, so it was read: whoever goes on in spite of it
 * (ON CONFLICT DO NOTHING) must not commit when it has gone. */
static gn_code in_the_way(gn_txn *txn, gn_write_set *ws, const gn_index_desc *index, gn_bytes entry, gn_bytes row,
                          gn_error *err)
{
    gn_space space = gn_row_space(ws->desc, txn->branch);
    if (gn_txn_records(txn))
        gn_read_set_point(&txn->reads, &space, row);
    return gn_unique_error(ws->desc, index, entry, false, err);
}

static gn_code check_key_free(gn_txn *txn, gn_write_set *ws, gn_bytes key, gn_error *err)
{
    gn_own_row own;
    if (gn_own_find(ws, gn_own_now(ws), key, &own))
        return own.deleted ? GN_OK : gn_unique_error(ws->desc, NULL, key, false, err);
    gn_space space = gn_row_space(ws->desc, txn->branch);
    gn_code waited = gn_txn_await_key(txn, &space, key, err);
    if (waited != GN_OK)
        return waited;
    if (txn->branch == GN_BRANCH_MAIN && !ws->knows_greatest) {
        gn_code code = GN_OK;
        if (ws->n_looked_up == 0)
            copy_public_greatest(txn, ws);
        if (!ws->knows_greatest && ++ws->n_looked_up > LOOKUPS_BEFORE_GREATEST)
            code = find_greatest(txn, ws, err);
        if (code != GN_OK)
            return code;
    }
    if (ws->knows_greatest && gn_bytes_cmp(key, gn_buf_bytes(&ws->greatest)) > 0)
        return GN_OK;
    gn_version version;
    bool exists;
    gn_code code = gn_point_get(&txn->point, &space, &txn->chain, key, &version, &exists, err);
    return code == GN_OK && exists ? in_the_way(txn, ws, NULL, key, key, err) : code;
}

/* Another own row with the same index parts? */
static gn_code check_own_entries(gn_txn *txn, gn_write_set *ws, const gn_index_desc *index, gn_bytes parts,
                                 gn_bytes but_for, gn_error *err)
{
    gn_own_index *own;
    gn_code code = gn_own_index_get(ws, index, txn->account, &own, err);
    if (code != GN_OK)
        return code;
    gn_arena *arena = gn_arena_create(NULL);
    gn_key_range range = {.lo = parts, .hi = parts, .hi_inclusive = true};
    gn_key_span span;
    if (!gn_key_span_of(&range, arena, &span))
        code = gn_error_oom(err, NULL);
    gn_own_cursor cursor;
    gn_own_row entry, row;
    if (code == GN_OK)
        gn_own_cursor_open(&cursor, own->entries, gn_own_now(own->entries), &span, false);
    while (code == GN_OK && gn_own_cursor_next(&cursor, &entry)) {
        bool holds =
            gn_own_find(ws, gn_own_now(ws), entry.row, &row) && !row.deleted && !gn_bytes_eq(entry.row, but_for);
        if (holds)
            code = gn_own_index_holds(own, row.row, entry.row, entry.key, &holds, err);
        if (code == GN_OK && holds)
            code = gn_unique_error(ws->desc, index, parts, false, err);
    }
    gn_arena_destroy(arena);
    return code;
}

static gn_code check_index_free(gn_txn *txn, gn_write_set *ws, const gn_index_desc *index, const gn_value *values,
                                gn_bytes but_for, gn_error *err)
{
    bool has_null;
    if (!gn_index_takes(ws->desc, index, values))
        return GN_OK;
    gn_buf_clear(&txn->entry);
    gn_code code = gn_key_of_index(ws->desc, index, values, &txn->entry, &has_null, err);
    if (code != GN_OK || !index->unique || has_null)
        return code;
    gn_bytes parts = gn_buf_bytes(&txn->entry);
    gn_space space = gn_index_space(ws->desc, index, txn->branch);
    gn_version version;
    bool exists = false;
    /* An index of this transaction's own making has no entries yet. */
    code = gn_txn_await_key(txn, &space, parts, err);
    if (code == GN_OK)
        code = gn_point_get(&txn->point, &space, &txn->chain, parts, &version, &exists, err);
    gn_own_row own;
    if (code == GN_OK && exists && !gn_bytes_eq(version.row, but_for) &&
        !gn_own_find(ws, gn_own_now(ws), version.row, &own)) /* the row with the entry is as it was */
        code = in_the_way(txn, ws, index, parts, version.row, err);
    if (code == GN_OK && !gn_write_set_empty(ws))
        code = check_own_entries(txn, ws, index, parts, but_for, err);
    return code;
}

/* Also finds entries that are too long before the log does. but_for: the key of the row that is replaced. */
static gn_code check_indexes(gn_txn *txn, gn_write_set *ws, const gn_value *values, gn_bytes but_for, gn_error *err)
{
    gn_code code = GN_OK;
    for (uint32_t i = 0; code == GN_OK && i < ws->desc->n_indexes; i++)
        if (ws->desc->indexes[i].kind == GN_INDEX_BTREE)
            code = check_index_free(txn, ws, &ws->desc->indexes[i], values, but_for, err);
    return code;
}

/* ---- rows ---- */

static gn_code row_key(gn_txn *txn, gn_write_set *ws, const gn_value *values, gn_error *err)
{
    gn_buf_clear(&txn->key);
    if (!ws->desc->hidden_key)
        return gn_key_of_row(ws->desc, values, &txn->key, err);
    gn_value id = {.type = gn_type_of(GN_T_INT8), .as.i64 = PROVISIONAL + (int64_t)ws->n_hidden++};
    return gn_key_append(&txn->key, &id, false, false, err);
}

static gn_code put_row(gn_txn *txn, gn_write_set *ws, const gn_value *values, bool base_exists, gn_error *err)
{
    gn_buf_clear(&txn->row);
    gn_code code = gn_row_encode(ws->desc, values, &txn->row, err);
    if (code == GN_OK)
        code = check_size(txn, txn->key.len + txn->row.len, err);
    if (code == GN_OK)
        code = gn_own_put(ws, gn_buf_bytes(&txn->key), gn_buf_bytes(&txn->row), base_exists, err);
    return code;
}

gn_code gn_txn_insert(gn_txn *txn, const gn_table_desc *desc, const gn_value *values, gn_error *err)
{
    gn_code code = GN_OK;
    gn_write_set *ws = begin_write(txn, desc, &code, err);
    if (!ws)
        return code;
    code = row_key(txn, ws, values, err);
    if (code == GN_OK && !desc->hidden_key)
        code = check_key_free(txn, ws, gn_buf_bytes(&txn->key), err);
    if (code == GN_OK && desc->n_indexes > 0)
        code = check_indexes(txn, ws, values, gn_bytes_of(NULL, 0), err);
    if (code == GN_OK)
        code = put_row(txn, ws, values, false, err);
    return code;
}

/* A row that is changed is one that was read: also where reads are not validated, no update is lost. */
static void read_for_write(gn_txn *txn, const gn_table_desc *desc, gn_bytes key)
{
    gn_space space = gn_row_space(desc, txn->branch);
    gn_read_set_point(&txn->reads, &space, key);
}

gn_code gn_txn_update(gn_txn *txn, const gn_table_desc *desc, gn_bytes key, const gn_value *values, gn_error *err)
{
    gn_code code = GN_OK;
    gn_write_set *ws = begin_write(txn, desc, &code, err);
    if (!ws)
        return code;
    read_for_write(txn, desc, key);
    if (desc->hidden_key) {
        gn_buf_clear(&txn->key);
        gn_buf_append_bytes(&txn->key, key);
    } else {
        code = row_key(txn, ws, values, err);
    }
    bool moves = code == GN_OK && !gn_bytes_eq(gn_buf_bytes(&txn->key), key);
    if (moves)
        code = check_key_free(txn, ws, gn_buf_bytes(&txn->key), err);
    if (code == GN_OK && desc->n_indexes > 0)
        code = check_indexes(txn, ws, values, key, err);
    if (code == GN_OK && moves)
        code = gn_own_delete(ws, key, err);
    if (code == GN_OK)
        code = put_row(txn, ws, values, !moves, err);
    return code;
}

gn_code gn_txn_delete(gn_txn *txn, const gn_table_desc *desc, gn_bytes key, gn_error *err)
{
    gn_code code = GN_OK;
    gn_write_set *ws = begin_write(txn, desc, &code, err);
    if (!ws)
        return code;
    code = check_size(txn, key.len, err);
    if (code != GN_OK)
        return code;
    read_for_write(txn, desc, key);
    return gn_own_delete(ws, key, err);
}
