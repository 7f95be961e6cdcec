/* Applying catalog rows: the schema changes with the commit, new btree indexes are filled before it.
 *
 * An index is filled outside of the commit's write batch, in pieces: its entries cannot be seen before the schema has
 * the index, and a fill that a crash cut short is begun anew when the log is applied again. */
#include "base/assert.h"
#include "shard/apply_private.h"
#include "shard/slots_private.h"

#include <stdlib.h>

enum { FILL_BATCH_BYTES = 1 << 20 };

/* ---- the rows that the command itself writes to the table ---- */

static int by_key(const void *a, const void *b)
{
    return gn_bytes_cmp(*(const gn_bytes *)a, *(const gn_bytes *)b);
}

typedef struct own_keys {
    gn_bytes *keys;
    size_t n;
} own_keys;

static gn_code own_keys_of(gn_bytes sections, uint64_t table_id, own_keys *out, gn_error *err)
{
    *out = (own_keys){0};
    gn_reader r = gn_reader_of(sections);
    gn_section s;
    while (gn_section_next(&r, &s)) {
        if (s.table_id != table_id || s.n > s.body.len)
            continue;
        gn_reader body = gn_reader_of(s.body);
        gn_write w;
        out->keys = gn_xcalloc(s.n + 1, sizeof *out->keys);
        while (out->n < s.n && gn_write_unpack(&body, &w))
            out->keys[out->n++] = w.key;
        return out->n == s.n ? GN_OK : gn_error_set(err, GN_CORRUPT, "the writes of a command are malformed");
    }
    return GN_OK;
}

static bool owns(const own_keys *own, gn_bytes key)
{
    return own->n > 0 && bsearch(&key, own->keys, own->n, sizeof key, by_key);
}

/* ---- filling ---- */

typedef struct fill {
    gn_apply_txn *txn;
    gn_applier *ap;
    const gn_table_desc *desc;
    const gn_index_desc *index;
    gn_space space;
    gn_index_columns columns;
    own_keys own;
    rocksdb_writebatch_t *batch;
    size_t batch_bytes;
} fill;

static gn_code fill_write(fill *f)
{
    gn_code code = gn_store_write(f->ap->store, f->batch, f->txn->err);
    rocksdb_writebatch_clear(f->batch);
    f->ap->shard->unflushed_bytes += f->batch_bytes;
    f->batch_bytes = 0;
    return code;
}

static void erase_index(fill *f)
{
    uint8_t from[GN_SPACE_PREFIX_MAX], to[GN_SPACE_PREFIX_MAX];
    size_t n = gn_space_prefix(&f->space, from), m = gn_space_prefix(&f->space, to);
    m = gn_prefix_successor(to, m);
    rocksdb_writebatch_delete_range(f->batch, (const char *)from, n, (const char *)to, m);
}

static gn_code fill_entry(fill *f, gn_bytes key, const gn_version *version)
{
    gn_index_entry entry;
    gn_code code = gn_index_columns_read(&f->columns, version->row, f->txn->err);
    if (code == GN_OK)
        code = gn_index_entry_of(&f->columns, f->index, key, &f->ap->entry, &entry, f->txn->err);
    if (code != GN_OK || entry.left_out)
        return code;
    gn_buf *value = &f->ap->value;
    gn_buf_clear(value);
    gn_buf_append_u8(value, GN_VALUE_ENTRY_LIVE);
    if (entry.unique) {
        gn_buf_append_bytes(value, key);
        const gn_overlay_item *twin = gn_overlay_find(&f->ap->overlay, &f->space, entry.key);
        gn_version other;
        bool exists = false;
        if (!twin) /* entries of pieces already written */
            code = gn_point_get(&f->ap->point, &f->space, &f->txn->newest, entry.key, &other, &exists, f->txn->err);
        if (code == GN_OK && (twin || exists))
            code = gn_unique_error(f->desc, f->index, gn_bytes_of(entry.key.data, entry.parts), true, f->txn->err);
        uint8_t *copy = code == GN_OK ? gn_arena_memdup(f->ap->arena, entry.key.data, entry.key.len) : NULL;
        if (!copy)
            return code != GN_OK ? code : gn_error_oom(f->txn->err, NULL);
        gn_overlay_set(&f->ap->overlay, &f->space, gn_bytes_of(copy, entry.key.len), true, gn_bytes_of(NULL, 0));
    }
    gn_version_key(&f->ap->key, &f->space, entry.key, version->scn);
    rocksdb_writebatch_put(f->batch, (const char *)f->ap->key.data, f->ap->key.len, (const char *)value->data,
                           value->len);
    f->batch_bytes += f->ap->key.len + value->len;
    return GN_OK;
}

/* The next piece: the entries so far can now be read from the store. */
static gn_code fill_piece(fill *f)
{
    gn_code code = fill_write(f);
    gn_point_close(&f->ap->point);
    gn_point_open(&f->ap->point, f->ap->store);
    gn_overlay_clear(&f->ap->overlay);
    gn_arena_reset(f->ap->arena);
    return code;
}

static gn_code fill_rows(fill *f)
{
    const gn_slots *slots = &f->ap->shard->slots;
    gn_mvcc_cursor cursor;
    gn_space rows = gn_row_space(f->desc, f->space.branch);
    const gn_key_span all = {.end_open = true};
    gn_mvcc_open(&cursor, f->ap->store, &rows, &f->txn->newest, &all, false);
    gn_code code;
    for (;;) {
        gn_bytes key;
        gn_version version;
        code = gn_mvcc_next(&cursor, &key, &version, f->txn->err);
        bool ours = true; /* by the log alone, whatever has been removed here yet */
        if (code == GN_OK && slots->generation && f->desc->distribution_id)
            code = gn_slots_pass(slots->lo, slots->hi, f->desc, key, &ours, f->txn->err);
        if (code == GN_OK && ours && !owns(&f->own, key))
            code = fill_entry(f, key, &version);
        if (code == GN_OK && f->batch_bytes > FILL_BATCH_BYTES)
            code = fill_piece(f);
        if (code != GN_OK)
            break;
    }
    gn_mvcc_close(&cursor);
    return code == GN_NO_DATA ? fill_piece(f) : code;
}

static gn_code fill_index(gn_apply_txn *txn, const gn_table_desc *desc, const gn_index_desc *index, gn_bytes sections)
{
    fill f = {.txn = txn, .ap = txn->ap, .desc = desc, .index = index};
    f.space = gn_index_space(desc, index, txn->command->branch);
    f.batch = rocksdb_writebatch_create();
    erase_index(&f); /* of a fill that was cut short */
    gn_code code = own_keys_of(sections, desc->id, &f.own, txn->err);
    if (code == GN_OK)
        code = gn_index_columns_init(&f.columns, desc, index, txn->err);
    if (code == GN_OK)
        code = fill_rows(&f);
    if (code != GN_OK || txn->tries) { /* a prepare only wants to know whether it can be done */
        rocksdb_writebatch_clear(f.batch);
        erase_index(&f);
        gn_store_write(f.ap->store, f.batch, NULL);
    }
    rocksdb_writebatch_destroy(f.batch);
    if (f.columns.desc)
        gn_index_columns_close(&f.columns);
    free(f.own.keys);
    return code;
}

/* ---- catalog rows ---- */

static void garbage(gn_apply_txn *txn, uint8_t kind, uint64_t id, uint64_t epoch)
{
    gn_space space = {.kind = kind, .id = id, .epoch = epoch};
    gn_gc_note_garbage(txn->ap->batch, txn->scn, &space);
    txn->ap->shard->garbage_waits = true;
}

/* What the old definition stores and the new one (NULL: dropped) does not. */
static void note_garbage(gn_apply_txn *txn, const gn_table_desc *old, const gn_table_desc *desc)
{
    bool emptied = !desc || desc->data_epoch != old->data_epoch;
    if (emptied)
        garbage(txn, GN_KIND_ROW, old->id, old->data_epoch);
    for (uint32_t i = 0; i < old->n_indexes; i++)
        if (old->indexes[i].kind == GN_INDEX_BTREE && (emptied || !gn_table_index(desc, old->indexes[i].id)))
            garbage(txn, GN_KIND_INDEX, old->indexes[i].id, old->data_epoch);
}

static gn_code fill_new_indexes(gn_apply_txn *txn, const gn_table_desc *old, const gn_table_desc *desc,
                                gn_bytes sections)
{
    if (!old || old->data_epoch != desc->data_epoch)
        return GN_OK;
    gn_code code = GN_OK;
    for (uint32_t i = 0; code == GN_OK && i < desc->n_indexes; i++)
        if (desc->indexes[i].kind == GN_INDEX_BTREE && !gn_table_index(old, desc->indexes[i].id))
            code = fill_index(txn, desc, &desc->indexes[i], sections);
    return code;
}

static void set_table(gn_applier *ap, uint64_t id, const gn_table_desc *desc, gn_scn scn)
{
    gn_schema *next = gn_schema_with(ap->schema, id, desc, scn);
    gn_schema_release(ap->schema);
    ap->schema = next;
    ap->schema_changed = true;
}

static gn_code apply_definition(gn_apply_txn *txn, const gn_write *w, gn_bytes sections)
{
    gn_applier *ap = txn->ap;
    uint64_t id;
    gn_code code = gn_catalog_read_key(w->key, &id, txn->err);
    if (code != GN_OK)
        return code;
    const gn_schema_table *now = gn_schema_find(ap->schema, id);
    if (now && now->since > txn->command->start_scn)
        return gn_error_set(txn->err, GN_SERIALIZATION, "could not serialize access: table \"%s\" has changed",
                            now->desc->name);
    const gn_table_desc *old = now ? now->desc : NULL;
    if (w->op == GN_WRITE_DELETE) {
        if (old)
            note_garbage(txn, old, NULL);
        set_table(ap, id, NULL, txn->scn);
        return GN_OK;
    }
    const gn_table_desc *desc = NULL;
    code = gn_catalog_read_row(w->row, &desc, txn->err);
    if (code == GN_OK)
        code = gn_schema_check_names(ap->schema, desc, txn->err);
    if (code == GN_OK)
        code = fill_new_indexes(txn, old, desc, sections);
    if (code == GN_OK && old)
        note_garbage(txn, old, desc);
    if (code == GN_OK)
        set_table(ap, id, desc, txn->scn);
    gn_table_desc_release(desc);
    return code;
}

/* Drops go first, so that a name is free for a table that the same transaction makes. */
gn_code gn_apply_schema(gn_apply_txn *txn, const gn_section *catalog, gn_bytes sections)
{
    for (int drops = 1; drops >= 0; drops--) {
        gn_section_pass pass = gn_section_begin(catalog, false, 0, &txn->ap->rowid);
        gn_write w;
        gn_code code;
        while ((code = gn_section_write(&pass, &w, txn->err)) == GN_OK)
            if ((w.op == GN_WRITE_DELETE) == drops && (code = apply_definition(txn, &w, sections)) != GN_OK)
                return code;
        if (code != GN_NO_DATA)
            return code;
    }
    return GN_OK;
}
