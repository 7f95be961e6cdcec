/* Writing a transaction's rows and the index entries that follow from them.
 *
 * First pass: rows, and the entries that end; second: the entries that begin, with their uniqueness. So rows may
 * exchange unique values within one transaction. */
#include "base/assert.h"
#include "shard/apply_private.h"

typedef struct pending_entry {
    struct pending_entry *next;
    const gn_index_desc *index;
    gn_bytes key, primary_key;
    size_t parts;
    bool unique;
} pending_entry;

typedef struct rows_pass {
    gn_apply_txn *txn;
    gn_applier *ap;
    const gn_table_desc *desc;
    gn_table_state *state;
    gn_space space;
    gn_index_columns columns; /* of btree indexes; zeroed if there is none */
    const gn_table_desc *old; /* the definition before the command; NULL: none */
    gn_arena *pending_arena;
    pending_entry *first, **last;
} rows_pass;

/* ---- the greatest key ---- */

/* Once per table and open: where it ends. */
static gn_code load_greatest(gn_applier *ap, gn_table_state *state, const gn_space *space, gn_error *err)
{
    uint8_t lower[GN_SPACE_PREFIX_MAX], upper[GN_SPACE_PREFIX_MAX];
    size_t n = gn_space_prefix(space, lower), m = gn_space_prefix(space, upper);
    m = gn_prefix_successor(upper, m);
    gn_store_iter iter;
    gn_store_iter_open(&iter, ap->store, gn_bytes_of(lower, n), gn_bytes_of(upper, m), true);
    rocksdb_iter_seek_to_last(iter.it);
    gn_buf_clear(&state->greatest);
    if (gn_store_iter_valid(&iter)) {
        gn_bytes stem = gn_version_stem(gn_store_iter_key(&iter));
        gn_buf_append(&state->greatest, stem.data + n, stem.len - n);
    }
    gn_code code = gn_store_iter_status(&iter, err);
    gn_store_iter_close(&iter);
    state->knows_greatest = code == GN_OK;
    return code;
}

gn_table_state *gn_apply_table_state(gn_applier *ap, const gn_table_desc *desc)
{
    gn_table_states *states = &ap->shard->tables;
    gn_table_state *state = gn_table_states_find(states, desc->id);
    if (!state) {
        pthread_mutex_lock(&ap->shard->view_lock);
        state = gn_table_states_get(states, desc->id);
        state->epoch = desc->data_epoch;
        pthread_mutex_unlock(&ap->shard->view_lock);
    }
    if (state->epoch != desc->data_epoch) { /* truncated */
        pthread_mutex_lock(&ap->shard->view_lock);
        state->epoch = desc->data_epoch;
        state->rows = state->bytes = 0;
        state->knows_greatest = state->public_knows = false;
        pthread_mutex_unlock(&ap->shard->view_lock);
    }
    state->dirty = true;
    return state;
}

uint64_t gn_apply_first_rowid(const gn_apply_txn *txn, const gn_table_state *state)
{
    const gn_prepared *p = txn->prepared;
    for (uint32_t i = 0; p && i < p->n_rowids; i++)
        if (p->rowids[i].table_id == state->table_id)
            return p->rowids[i].rowid;
    return state->next_rowid;
}

static bool beyond_greatest(const rows_pass *p, gn_bytes key)
{
    return p->space.branch == GN_BRANCH_MAIN && gn_bytes_cmp(key, gn_buf_bytes(&p->state->greatest)) > 0;
}

static void raise_greatest(rows_pass *p, gn_bytes key)
{
    if (!beyond_greatest(p, key))
        return;
    gn_buf_clear(&p->state->greatest);
    gn_buf_append_bytes(&p->state->greatest, key);
}

/* ---- the row that is there ---- */

/* *row is borrowed until the next look-up. */
static gn_code current_row(rows_pass *p, gn_bytes key, bool *exists, gn_bytes *row)
{
    const gn_overlay_item *item = gn_overlay_find(&p->ap->overlay, &p->space, key);
    if (item) {
        *exists = item->exists;
        *row = item->data;
        return GN_OK;
    }
    gn_version version = {0};
    gn_code code = gn_point_get(&p->ap->point, &p->space, &p->txn->newest, key, &version, exists, p->txn->err);
    *row = version.row;
    return code;
}

/* It is there now; but somebody may be about to take it away. */
static gn_code taken(rows_pass *p, const gn_index_desc *index, const gn_space *space, gn_bytes key, size_t parts)
{
    if (!p->txn->prepared && gn_prepared_writes(&p->ap->shard->prepared, space, key))
        return gn_error_set(p->txn->err, GN_SERIALIZATION,
                            "could not serialize access: another transaction is about to commit");
    return gn_unique_error(p->desc, index, gn_bytes_of(key.data, parts), false, p->txn->err);
}

static gn_code check_absent(rows_pass *p, gn_bytes key)
{
    if (beyond_greatest(p, key))
        return GN_OK;
    bool exists;
    gn_bytes row;
    gn_code code = current_row(p, key, &exists, &row);
    if (code == GN_OK && exists)
        code = taken(p, NULL, &p->space, key, key.len);
    return code;
}

/* ---- index entries ---- */

static void put_entry(rows_pass *p, const gn_index_desc *index, gn_bytes key, bool live, gn_bytes primary_key)
{
    gn_space space = gn_index_space(p->desc, index, p->space.branch);
    const uint8_t tag = live ? GN_VALUE_ENTRY_LIVE : GN_VALUE_ENTRY_DEAD;
    gn_apply_put(p->ap, &space, key, p->txn->scn, gn_bytes_of(&tag, 1), primary_key);
    gn_recent_key(&p->ap->recent, &space, key);
}

static gn_code add_pending(rows_pass *p, const gn_index_desc *index, const gn_index_entry *entry, gn_bytes primary_key)
{
    pending_entry *e = gn_arena_calloc(p->pending_arena, 1, sizeof *e);
    uint8_t *key = e ? gn_arena_memdup(p->pending_arena, entry->key.data, entry->key.len) : NULL;
    uint8_t *pk = key ? gn_arena_memdup(p->pending_arena, primary_key.data, primary_key.len) : NULL;
    if (!pk)
        return gn_error_oom(p->txn->err, NULL);
    *e = (pending_entry){.index = index,
                         .key = {key, entry->key.len},
                         .primary_key = {pk, primary_key.len},
                         .parts = entry->parts,
                         .unique = entry->unique};
    *p->last = e;
    p->last = &e->next;
    return GN_OK;
}

/* An entry of the row before: it ends, unless the row after has the same one. */
static gn_code end_entry(rows_pass *p, const gn_index_desc *index, const gn_index_entry *old)
{
    put_entry(p, index, old->key, false, gn_bytes_of(NULL, 0));
    p->ap->n_tombstones++;
    if (!old->unique)
        return GN_OK;
    uint8_t *key = gn_arena_memdup(p->pending_arena, old->key.data, old->key.len);
    if (!key)
        return gn_error_oom(p->txn->err, NULL);
    gn_space space = gn_index_space(p->desc, index, p->space.branch);
    gn_overlay_set(&p->ap->overlay, &space, gn_bytes_of(key, old->key.len), false, gn_bytes_of(NULL, 0));
    return GN_OK;
}

/* The row's entry in each index that has one, copied: the row itself does not stay. */
static gn_code entries_of(rows_pass *p, gn_bytes row, gn_bytes key, gn_index_entry *out, gn_arena *arena)
{
    gn_code code = gn_index_columns_read(&p->columns, row, p->txn->err);
    for (uint32_t i = 0; code == GN_OK && i < p->desc->n_indexes; i++) {
        const gn_index_desc *index = &p->desc->indexes[i];
        if (index->kind != GN_INDEX_BTREE)
            continue;
        code = gn_index_entry_of(&p->columns, index, key, &p->ap->entry, &out[i], p->txn->err);
        if (code == GN_OK && out[i].left_out)
            continue;
        uint8_t *copy = code == GN_OK ? gn_arena_memdup(arena, out[i].key.data, out[i].key.len) : NULL;
        if (code == GN_OK && !copy)
            code = gn_error_oom(p->txn->err, NULL);
        out[i].key.data = copy;
    }
    return code;
}

/* Does the index have an entry for the row as it was? An index that this command makes was filled without the rows that
 * the command writes. */
static bool had_entry(const rows_pass *p, const gn_index_desc *index)
{
    return p->old && p->old->data_epoch == p->desc->data_epoch && gn_table_index(p->old, index->id);
}

/* Ends and notes the entries of one write. */
static gn_code index_write(rows_pass *p, const gn_write *w, gn_arena *scratch)
{
    uint32_t n = p->desc->n_indexes;
    gn_index_entry *before = gn_arena_calloc(scratch, n, sizeof *before);
    gn_index_entry *after = gn_arena_calloc(scratch, n, sizeof *after);
    if (!before || !after)
        return gn_error_oom(p->txn->err, NULL);
    gn_code code = GN_OK;
    bool had = false;
    gn_bytes old_row;
    if (w->op != GN_WRITE_INSERT)
        code = current_row(p, w->key, &had, &old_row);
    if (code == GN_OK && had)
        code = entries_of(p, old_row, w->key, before, scratch);
    if (code == GN_OK && w->op != GN_WRITE_DELETE)
        code = entries_of(p, w->row, w->key, after, scratch);
    for (uint32_t i = 0; code == GN_OK && i < n; i++) {
        const gn_index_desc *index = &p->desc->indexes[i];
        if (index->kind != GN_INDEX_BTREE)
            continue;
        bool ends = had && had_entry(p, index) && !before[i].left_out;
        bool begins = w->op != GN_WRITE_DELETE && !after[i].left_out;
        GN_ASSERT(!ends || before[i].key.data);
        if (ends && begins && gn_bytes_eq(before[i].key, after[i].key))
            continue;
        if (ends)
            code = end_entry(p, index, &before[i]);
        if (code == GN_OK && begins)
            code = add_pending(p, index, &after[i], w->key);
    }
    return code;
}

static gn_code begin_entry(rows_pass *p, const pending_entry *e)
{
    gn_space space = gn_index_space(p->desc, e->index, p->space.branch);
    if (e->unique) {
        const gn_overlay_item *item = gn_overlay_find(&p->ap->overlay, &space, e->key);
        bool exists = item && item->exists;
        gn_version version;
        gn_code code = GN_OK;
        if (!item)
            code = gn_point_get(&p->ap->point, &space, &p->txn->newest, e->key, &version, &exists, p->txn->err);
        if (code == GN_OK && exists)
            code = taken(p, e->index, &space, e->key, e->parts);
        if (code != GN_OK)
            return code;
        gn_overlay_set(&p->ap->overlay, &space, e->key, true, e->primary_key);
    }
    put_entry(p, e->index, e->key, true, e->unique ? e->primary_key : gn_bytes_of(NULL, 0));
    return GN_OK;
}

/* ---- rows ---- */

static void put_row(rows_pass *p, const gn_write *w)
{
    uint8_t header[GN_ROW_HEADER];
    gn_bytes head = gn_bytes_of(header, GN_ROW_HEADER);
    if (w->op == GN_WRITE_DELETE) {
        header[0] = GN_VALUE_TOMBSTONE;
        head.len = 1;
        p->ap->n_tombstones++;
    } else {
        gn_row_header(w->row, header);
    }
    gn_apply_put(p->ap, &p->space, w->key, p->txn->scn, head, w->row);
    gn_change_row(&p->ap->changes, &p->space, w->key, w->op == GN_WRITE_DELETE);
    gn_recent_key(&p->ap->recent, &p->space, w->key);
    p->ap->n_rows++;
}

static void count_row(gn_table_state *state, const gn_write *w)
{
    if (w->op == GN_WRITE_INSERT) {
        state->rows++;
        state->bytes += (int64_t)(w->key.len + w->row.len);
    } else if (w->op == GN_WRITE_DELETE && state->rows > 0) {
        state->bytes -= state->bytes / state->rows; /* an average row: the old one was not looked at */
        state->rows--;
    }
}

/* Hidden keys are made up in a buffer that the next write reuses. */
static gn_code overlay_row(rows_pass *p, const gn_write *w, bool key_is_own)
{
    gn_bytes key = w->key;
    if (key_is_own) {
        key.data = gn_arena_memdup(p->ap->arena, key.data, key.len);
        if (!key.data)
            return gn_error_oom(p->txn->err, NULL);
    }
    gn_overlay_set(&p->ap->overlay, &p->space, key, w->op != GN_WRITE_DELETE, w->row);
    return GN_OK;
}

static gn_code write_row(rows_pass *p, const gn_write *w, gn_arena *scratch)
{
    gn_code code = GN_OK;
    if (w->op == GN_WRITE_INSERT)
        code = check_absent(p, w->key);
    if (code == GN_OK && p->columns.n > 0)
        code = index_write(p, w, scratch);
    if (code != GN_OK)
        return code;
    put_row(p, w);
    count_row(p->state, w);
    raise_greatest(p, w->key);
    if (!p->txn->large)
        code = overlay_row(p, w, p->desc->hidden_key && w->op == GN_WRITE_INSERT);
    return code;
}

static gn_code first_pass(rows_pass *p, const gn_section *section)
{
    gn_buf previous;
    gn_buf_init(&previous, NULL, GN_MAX_KEY);
    gn_arena *scratch = gn_arena_create(NULL);
    gn_section_pass pass =
        gn_section_begin(section, p->desc->hidden_key, gn_apply_first_rowid(p->txn, p->state), &p->ap->rowid);
    gn_code code;
    for (;;) {
        gn_write w;
        code = gn_section_write(&pass, &w, p->txn->err);
        if (code != GN_OK)
            break;
        /* Ascending keys are what makes one look at the store per key enough. */
        if (!p->desc->hidden_key) {
            if (gn_bytes_cmp(w.key, gn_buf_bytes(&previous)) <= 0) {
                code = gn_error_set(p->txn->err, GN_CORRUPT, "the writes of a command are out of order");
                break;
            }
            gn_buf_clear(&previous);
            gn_buf_append_bytes(&previous, w.key);
        }
        code = write_row(p, &w, scratch);
        if (code != GN_OK)
            break;
        gn_arena_reset(scratch);
    }
    if (p->state->next_rowid < pass.next_rowid)
        p->state->next_rowid = pass.next_rowid;
    gn_arena_destroy(scratch);
    gn_buf_close(&previous);
    return code == GN_NO_DATA ? GN_OK : code;
}

static bool has_btree(const gn_table_desc *desc)
{
    for (uint32_t i = 0; i < desc->n_indexes; i++)
        if (desc->indexes[i].kind == GN_INDEX_BTREE)
            return true;
    return false;
}

gn_code gn_apply_rows(gn_apply_txn *txn, const gn_table_desc *desc, const gn_section *section)
{
    gn_applier *ap = txn->ap;
    rows_pass p = {.txn = txn, .ap = ap, .desc = desc, .state = gn_apply_table_state(ap, desc)};
    p.space = gn_row_space(desc, txn->command->branch);
    const gn_schema_table *old = gn_schema_find(txn->before, desc->id);
    p.old = old ? old->desc : NULL;
    p.last = &p.first;
    p.pending_arena = txn->large ? gn_arena_create(NULL) : ap->arena;
    gn_code code = GN_OK;
    if (!p.state->knows_greatest && p.space.branch == GN_BRANCH_MAIN)
        code = load_greatest(ap, p.state, &p.space, txn->err);
    if (code == GN_OK && has_btree(desc))
        code = gn_index_columns_init(&p.columns, desc, NULL, txn->err);
    if (code == GN_OK)
        code = first_pass(&p, section);
    for (pending_entry *e = p.first; code == GN_OK && e; e = e->next)
        code = begin_entry(&p, e);
    if (p.columns.desc)
        gn_index_columns_close(&p.columns);
    if (txn->large) {
        gn_overlay_clear(&ap->overlay);
        gn_arena_destroy(p.pending_arena);
    }
    return code;
}
