/* Scans of a table by primary key or by a btree index: committed rows at the transaction's SCN and its own writes,
 * merged in key order. */
#include "base/assert.h"
#include "shard/batch_fill_private.h"
#include "shard/txn_private.h"

#include <stdlib.h>

struct gn_scan {
    gn_scan_link link;
    gn_txn *txn; /* NULL after the transaction's end */
    const gn_scan_spec *spec;
    gn_arena *arena; /* of the bounds */
    gn_space space;  /* of the rows, or of the index */
    gn_key_span span;
    gn_batch_fill fill;
    uint64_t given;
    gn_buf last; /* the last key taken: how far the range was read */
    bool ended;

    gn_mvcc_cursor committed;
    bool has_committed; /* the next committed row or entry is in these: */
    bool committed_ended;
    gn_bytes key;
    gn_version version;

    const gn_write_set *own; /* NULL: none */
    gn_own_index *own_index; /* of an index scan */
    gn_own_mark mark;
    gn_own_cursor own_cursor;
    bool has_own, own_ended;
    gn_own_row own_entry;
};

typedef struct found_row {
    gn_bytes primary_key, row;
} found_row;

/* ---- open ---- */

static void settle(gn_scan_link *link);

static gn_code check_spec(gn_txn *txn, const gn_scan_spec *spec, gn_error *err)
{
    const gn_table_desc *now = gn_txn_table(txn, spec->table->id);
    if (!now || now->data_epoch != spec->table->data_epoch || now->version != spec->table->version)
        return gn_error_set(err, GN_SERIALIZATION, "the definition of table \"%s\" has changed", spec->table->name);
    GN_ASSERT(!spec->index || spec->index->kind == GN_INDEX_BTREE);
    return GN_OK;
}

bool gn_txn_index_is_committed(const gn_txn *txn, const gn_table_desc *table, uint64_t index_id)
{
    const gn_schema_table *t = gn_schema_find(txn->schema, table->id);
    return t && t->desc->data_epoch == table->data_epoch && gn_table_index(t->desc, index_id);
}

/* The rows that were committed before, for an index that is not. */
static gn_code cover_committed(gn_txn *txn, gn_own_index *own, const gn_table_desc *desc, gn_error *err)
{
    if (own->covers)
        return GN_OK;
    gn_space space = gn_row_space(desc, txn->branch);
    const gn_key_span all = {.end_open = true};
    gn_code code = gn_txn_await(txn, &space, &all, err);
    if (code != GN_OK)
        return code;
    gn_mvcc_cursor cursor;
    gn_mvcc_open(&cursor, txn->store, &space, &txn->chain, &all, false);
    do {
        gn_bytes key;
        gn_version version;
        code = gn_mvcc_next(&cursor, &key, &version, err);
        bool ours = false;
        if (code == GN_OK)
            code = gn_slot_view_pass(&txn->slots, txn->slots.rows, desc, key, &ours, err);
        if (code == GN_OK && ours)
            code = gn_own_index_add(own, version.row, key, err);
    } while (code == GN_OK);
    gn_mvcc_close(&cursor);
    own->covers = code == GN_NO_DATA;
    return own->covers ? GN_OK : code;
}

static gn_code open_own(gn_scan *s, gn_error *err)
{
    gn_txn *txn = s->txn;
    const gn_scan_spec *spec = s->spec;
    gn_write_set *ws = gn_txn_find_set(txn, spec->table->id);
    bool uncommitted = spec->index && !gn_txn_index_is_committed(txn, spec->table, spec->index->id);
    if (uncommitted && !ws)
        ws = gn_txn_set(txn, gn_txn_table(txn, spec->table->id));
    if (!uncommitted && (!ws || gn_write_set_empty(ws)))
        return GN_OK;
    s->own = ws;
    s->mark = gn_own_now(ws);
    const gn_write_set *ordered = ws;
    gn_own_mark mark = s->mark;
    gn_code code = GN_OK;
    if (spec->index) {
        code = gn_own_index_get(ws, spec->index, txn->account, &s->own_index, err);
        if (code == GN_OK && uncommitted)
            code = cover_committed(txn, s->own_index, spec->table, err);
        if (code != GN_OK)
            return code;
        s->committed_ended = uncommitted;
        ordered = s->own_index->entries;
        mark = gn_own_now(ordered);
    }
    gn_own_cursor_open(&s->own_cursor, ordered, mark, &s->span, spec->reverse);
    return GN_OK;
}

gn_code gn_scan_open(gn_txn *txn, const gn_scan_spec *spec, gn_scan **out, gn_error *err)
{
    gn_code code = check_spec(txn, spec, err);
    if (code != GN_OK)
        return code;
    gn_scan *s = gn_xcalloc(1, sizeof *s);
    s->txn = txn;
    s->spec = spec;
    s->arena = gn_arena_create(txn->account);
    s->space =
        spec->index ? gn_index_space(spec->table, spec->index, txn->branch) : gn_row_space(spec->table, txn->branch);
    gn_buf_init(&s->last, NULL, GN_STORE_KEY_MAX);
    gn_batch_fill_init(&s->fill, spec->table, spec->ordinals, spec->n_ordinals, false);
    if (!gn_key_span_of(&spec->range, s->arena, &s->span))
        code = gn_error_oom(err, txn->account);
    if (code == GN_OK)
        code = gn_txn_await(txn, &s->space, &s->span, err);
    if (code == GN_OK)
        code = open_own(s, err);
    if (code == GN_OK)
        gn_mvcc_open(&s->committed, txn->store, &s->space, &txn->chain, &s->span, spec->reverse);
    s->link = (gn_scan_link){.settle = settle, .next = &txn->scans, .prev = txn->scans.prev};
    s->link.prev->next = s->link.next->prev = &s->link;
    if (code != GN_OK) {
        gn_scan_close(s);
        return code;
    }
    *out = s;
    return GN_OK;
}

/* ---- close ---- */

/* The part of the range that was read goes into the read set. */
static void record_range(gn_scan *s)
{
    if (!gn_txn_records(s->txn) || (!s->ended && s->last.len == 0))
        return;
    gn_key_span read = s->span;
    if (!s->ended && s->spec->reverse) {
        read.start = gn_buf_bytes(&s->last);
    } else if (!s->ended) {
        gn_buf_append_u8(&s->last, 0); /* the least key above the last */
        read.end = gn_buf_bytes(&s->last);
        read.end_open = false;
    }
    gn_read_set_range(&s->txn->reads, &s->space, &read);
}

static void settle(gn_scan_link *link)
{
    gn_scan *s = GN_CONTAINER(link, gn_scan, link);
    record_range(s);
    gn_mvcc_close(&s->committed);
    link->prev->next = link->next;
    link->next->prev = link->prev;
    s->txn = NULL;
}

bool gn_scan_is_orphan(const gn_scan *s)
{
    return !s->txn;
}

void gn_scan_close(gn_scan *s)
{
    if (!s)
        return;
    if (s->txn)
        settle(&s->link);
    gn_batch_fill_close(&s->fill);
    gn_buf_close(&s->last);
    gn_arena_destroy(s->arena);
    free(s);
}

/* ---- next ---- */

static gn_code peek_committed(gn_scan *s, gn_error *err)
{
    while (!s->has_committed && !s->committed_ended) {
        gn_code code = gn_mvcc_next(&s->committed, &s->key, &s->version, err);
        if (code == GN_NO_DATA) {
            s->committed_ended = true;
            break;
        }
        if (code != GN_OK)
            return code;
        gn_bytes pk = s->key;
        gn_own_row own;
        const gn_slot_view *slots = &s->txn->slots;
        if (s->spec->index && (s->own || gn_slot_view_looks(slots, slots->rows)))
            code = gn_index_entry_primary(s->spec->table, s->spec->index, s->key, s->version.row, &pk, err);
        bool ours = true;
        if (code == GN_OK)
            code = gn_slot_view_pass(slots, slots->rows, s->spec->table, pk, &ours, err);
        if (code != GN_OK)
            return code;
        /* an own write to the row makes the committed entry nobody's business */
        if (!ours || (s->own && s->spec->index && gn_own_find(s->own, s->mark, pk, &own)))
            continue;
        s->has_committed = true;
    }
    return GN_OK;
}

/* The row that an own entry leads to, as the scan sees it: this transaction's, or for an index of its own making a
 * committed one. *found false: it has the entry no more. */
static gn_code own_entry_row(gn_scan *s, gn_bytes *row, bool *found, gn_error *err)
{
    gn_bytes pk = s->own_entry.row;
    gn_own_row own;
    *found = false;
    if (gn_own_find(s->own, s->mark, pk, &own)) {
        *row = own.row;
        return own.deleted ? GN_OK : gn_own_index_holds(s->own_index, own.row, pk, s->own_entry.key, found, err);
    }
    if (!s->own_index->covers)
        return GN_OK; /* written after the scan began */
    gn_space rows = gn_row_space(s->spec->table, s->txn->branch);
    gn_version version = {0};
    gn_code code = gn_txn_await_key(s->txn, &rows, pk, err);
    if (code == GN_OK)
        code = gn_point_get(&s->txn->point, &rows, &s->txn->chain, pk, &version, found, err);
    *row = version.row;
    if (code == GN_OK && *found) /* entries of own versions that the scan does not see lead here as well */
        code = gn_own_index_holds(s->own_index, version.row, pk, s->own_entry.key, found, err);
    return code;
}

static gn_code peek_own(gn_scan *s, gn_error *err)
{
    while (s->own && !s->has_own && !s->own_ended) {
        if (!gn_own_cursor_next(&s->own_cursor, &s->own_entry)) {
            s->own_ended = true;
            break;
        }
        gn_bytes row;
        bool found = true;
        gn_code code = s->own_index ? own_entry_row(s, &row, &found, err) : GN_OK;
        if (code != GN_OK)
            return code;
        s->has_own = found;
    }
    return GN_OK;
}

static gn_code own_found(gn_scan *s, found_row *out, bool *found, gn_error *err)
{
    s->has_own = false;
    *out = (found_row){.primary_key = s->own_entry.key, .row = s->own_entry.row};
    *found = !s->own_entry.deleted;
    if (!s->own_index)
        return GN_OK;
    out->primary_key = s->own_entry.row;
    gn_code code = own_entry_row(s, &out->row, found, err);
    gn_own_row own;
    if (code == GN_OK && *found && gn_txn_records(s->txn) && !gn_own_find(s->own, s->mark, out->primary_key, &own)) {
        gn_space rows = gn_row_space(s->spec->table, s->txn->branch);
        gn_read_set_point(&s->txn->reads, &rows, out->primary_key);
    }
    return code;
}

/* From an entry to its row. */
static gn_code fetch(gn_scan *s, found_row *out, gn_error *err)
{
    gn_txn *txn = s->txn;
    gn_space rows = gn_row_space(s->spec->table, txn->branch);
    gn_bytes pk;
    gn_version version;
    bool found;
    gn_code code = gn_index_entry_primary(s->spec->table, s->spec->index, s->key, s->version.row, &pk, err);
    if (code == GN_OK)
        code = gn_txn_await_key(txn, &rows, pk, err);
    if (code == GN_OK)
        code = gn_point_get(&txn->point, &rows, &txn->chain, pk, &version, &found, err);
    if (code != GN_OK)
        return code;
    if (!found)
        return gn_error_set(err, GN_INDEX_CORRUPT, "index \"%s\" has an entry whose row does not exist",
                            s->spec->index->name);
    if (gn_txn_records(txn))
        gn_read_set_point(&txn->reads, &rows, pk);
    *out = (found_row){.primary_key = pk, .row = version.row};
    return GN_OK;
}

static void note_key(gn_scan *s, gn_bytes key)
{
    if (!gn_txn_records(s->txn))
        return;
    gn_buf_clear(&s->last);
    gn_buf_append_bytes(&s->last, key);
}

/* GN_NO_DATA at the end. */
static gn_code next_row(gn_scan *s, found_row *out, gn_error *err)
{
    for (;;) {
        gn_code code = peek_committed(s, err);
        if (code == GN_OK)
            code = peek_own(s, err);
        if (code != GN_OK)
            return code;
        if (!s->has_committed && !s->has_own) {
            s->ended = true;
            return GN_NO_DATA;
        }
        int order = !s->has_own ? -1 : !s->has_committed ? 1 : gn_bytes_cmp(s->key, s->own_entry.key);
        if (s->has_own && s->has_committed && s->spec->reverse)
            order = -order;
        if (order == 0 && !s->own_index) /* own writes hide the committed row */
            s->has_committed = false;
        if (order >= 0) {
            bool found;
            note_key(s, s->own_entry.key);
            code = own_found(s, out, &found, err);
            if (code != GN_OK || found)
                return code;
            continue;
        }
        s->has_committed = false;
        note_key(s, s->key);
        if (s->spec->index)
            return fetch(s, out, err);
        *out = (found_row){.primary_key = s->key, .row = s->version.row};
        return GN_OK;
    }
}

gn_code gn_scan_next(gn_scan *s, gn_batch *batch, gn_bytes *keys, gn_error *err)
{
    if (!s->txn)
        return gn_error_set(err, GN_NO_CURSOR, "the transaction of this scan has ended");
    if (gn_txn_canceled(s->txn))
        return gn_error_set(err, GN_CANCELED, "%s", gn_code_text(GN_CANCELED));
    gn_code code = gn_batch_fill_begin(&s->fill, batch, GN_BATCH_ROWS, err);
    uint32_t most = GN_BATCH_ROWS;
    if (s->spec->limit_hint > s->given && s->spec->limit_hint - s->given < most)
        most = (uint32_t)(s->spec->limit_hint - s->given);
    while (code == GN_OK && !s->ended && batch->n_rows < most) {
        found_row row = {0};
        code = next_row(s, &row, err);
        if (code == GN_OK)
            code = gn_batch_fill_row(&s->fill, batch, row.row, row.primary_key, keys ? &keys[batch->n_rows] : NULL, 0,
                                     err);
    }
    s->given += batch->n_rows;
    if (code == GN_OK || code == GN_NO_DATA)
        code = gn_slot_view_whole(&s->txn->slots, err);
    return code;
}
