/* Reading a group that was sealed, to be added to another (merge.c). It does not change any more, so any replica will
 * do, and another one for the next piece: what garbage collection has taken of its history differs between them, and
 * each piece says up to where that was.
 *
 * All versions of a row, or of an index entry, are in one piece, since the collection of the one who takes them may
 * remove a tombstone that came with nothing behind it, and then what it hides would show. */
#include "shard/shard_private.h"
#include "shard/slots_private.h"

#include <stdlib.h>

enum {
    PIECE_BYTES = 1 << 20,
    PIECE_VERSIONS = 20000, /* looked at */
    STEM_BYTES = 8 << 20,   /* of versions of one row; older ones stay behind */
};

typedef struct piece {
    gn_shard *shard;
    gn_store *store;
    gn_schema *schema;
    gn_slots slots;
    uint64_t table;
    uint32_t space;
    gn_buf at; /* the last stem that was looked at; empty: none of this space */
    uint64_t looked;
    bool full;
    bool counts; /* whatever is there, and does nothing else */
    uint64_t counted;
    size_t most;
    gn_merge_rows *out;
    size_t stem_bytes;
    gn_scn stem_scn;
} piece;

void gn_merge_rows_init(gn_merge_rows *rows)
{
    *rows = (gn_merge_rows){0};
    gn_buf_init(&rows->to, NULL, GN_MERGE_CURSOR_MAX);
    gn_buf_init(&rows->entries, NULL, GN_MAX_ENTRY);
}

void gn_merge_rows_close(gn_merge_rows *rows)
{
    gn_buf_close(&rows->to);
    gn_buf_close(&rows->entries);
}

/* ---- the place ---- */

static bool read_place(piece *p, gn_bytes from)
{
    gn_reader r = gn_reader_of(from);
    if (from.len == 0)
        return true;
    p->table = gn_read_be64(&r);
    p->space = gn_read_be32(&r);
    gn_buf_append_bytes(&p->at, gn_read_bytes(&r, gn_reader_left(&r)));
    return !r.failed && !p->at.failed;
}

static void write_place(const piece *p)
{
    gn_buf_append_be64(&p->out->to, p->table);
    gn_buf_append_be32(&p->out->to, p->table == UINT64_MAX ? 0 : p->space);
    if (p->table != UINT64_MAX)
        gn_buf_append_bytes(&p->out->to, gn_buf_bytes(&p->at));
}

/* ---- entries ---- */

static void append(piece *p, gn_bytes key, gn_bytes value)
{
    if (p->stem_bytes > STEM_BYTES) { /* the older ones: reads that would see them are refused */
        if (p->out->history < p->stem_scn)
            p->out->history = p->stem_scn;
        return;
    }
    gn_buf_append_varbytes(&p->out->entries, key);
    gn_buf_append_varbytes(&p->out->entries, value);
    p->stem_bytes += key.len + value.len;
    p->stem_scn = gn_version_scn(key);
}

/* False: the piece is full, and ends with what came before. */
static bool enter(piece *p, gn_bytes key)
{
    gn_bytes stem = gn_version_stem(key);
    if (gn_bytes_eq(stem, gn_buf_bytes(&p->at)))
        return true;
    if (p->out->entries.len >= p->most || p->looked >= PIECE_VERSIONS)
        return false;
    gn_buf_clear(&p->at);
    gn_buf_append_bytes(&p->at, stem);
    p->stem_bytes = 0;
    return true;
}

/* Behind all versions of what was looked at last. */
static void seek(const piece *p, rocksdb_iterator_t *it)
{
    if (p->at.len == 0) {
        rocksdb_iter_seek_to_first(it);
        return;
    }
    gn_buf key;
    gn_buf_init(&key, NULL, GN_STORE_KEY_MAX + 16);
    gn_buf_append_bytes(&key, gn_buf_bytes(&p->at));
    gn_buf_append_be64(&key, UINT64_MAX);
    gn_buf_append_u8(&key, 0);
    rocksdb_iter_seek(it, (const char *)key.data, key.len);
    gn_buf_close(&key);
}

static gn_code copy_space(piece *p, const gn_table_desc *desc, const gn_index_desc *index, gn_error *err)
{
    gn_space space = index ? gn_index_space(desc, index, GN_BRANCH_MAIN) : gn_row_space(desc, GN_BRANCH_MAIN);
    uint8_t lower[GN_SPACE_PREFIX_MAX], upper[GN_SPACE_PREFIX_MAX];
    size_t prefix = gn_space_prefix(&space, lower), n = gn_space_prefix(&space, upper);
    n = gn_prefix_successor(upper, n);
    gn_store_iter iter;
    gn_store_iter_open(&iter, p->store, gn_bytes_of(lower, prefix), gn_bytes_of(upper, n), false);
    gn_code code = GN_OK;
    for (seek(p, iter.it); code == GN_OK && gn_store_iter_valid(&iter); rocksdb_iter_next(iter.it), p->looked++) {
        gn_bytes key = gn_store_iter_key(&iter), value = gn_store_iter_value(&iter);
        bool ours;
        p->full = p->counts ? p->counted > p->most : !enter(p, key);
        if (p->full)
            break;
        if (p->counts) {
            p->counted += key.len + value.len;
            continue;
        }
        code = gn_slots_have_entry(p->slots.lo, p->slots.hi, desc, index, prefix, key, value, &ours, err);
        if (code == GN_OK && ours)
            append(p, key, value);
    }
    if (code == GN_OK)
        code = gn_store_iter_status(&iter, err);
    gn_store_iter_close(&iter);
    return code;
}

static gn_code copy_piece(piece *p, gn_error *err)
{
    gn_code code = GN_OK;
    while (code == GN_OK) {
        const gn_table_desc *t = gn_slots_table_from(p->schema, p->table);
        if (!t) {
            p->table = UINT64_MAX;
            break;
        }
        if (t->id != p->table) {
            p->table = t->id;
            p->space = 0;
            gn_buf_clear(&p->at);
        }
        if (p->space > t->n_indexes)
            return gn_error_set(err, GN_PROTOCOL, "that is no place in a copy of rows");
        const gn_index_desc *index = p->space ? &t->indexes[p->space - 1] : NULL;
        if (!index || index->kind == GN_INDEX_BTREE)
            code = copy_space(p, t, index, err);
        if (p->full)
            break;
        gn_buf_clear(&p->at);
        if (p->space++ >= t->n_indexes) {
            p->table++;
            p->space = 0;
        }
    }
    if (code == GN_OK && !p->counts && (p->out->entries.failed || p->at.failed))
        code = gn_error_oom(err, NULL);
    return code;
}

/* ---- the end ---- */

/* Tables and indexes that were dropped or emptied, and are kept for reads of the past, do not come along. */
static gn_code note_garbage(piece *p, gn_error *err)
{
    const uint8_t lower[] = {GN_KIND_META, GN_META_GARBAGE}, upper[] = {GN_KIND_META, GN_META_GARBAGE + 1};
    gn_store_iter iter;
    gn_store_iter_open(&iter, p->store, gn_bytes_of(lower, 2), gn_bytes_of(upper, 2), false);
    for (rocksdb_iter_seek_to_first(iter.it); gn_store_iter_valid(&iter); rocksdb_iter_next(iter.it)) {
        gn_bytes note = gn_store_iter_key(&iter);
        gn_scn scn = note.len == GN_META_KEY_MAX ? gn_get_be64(note.data + 2) : 0;
        if (p->out->history < scn)
            p->out->history = scn;
    }
    gn_code code = gn_store_iter_status(&iter, err);
    gn_store_iter_close(&iter);
    return code;
}

static void count_tables(const piece *p)
{
    pthread_mutex_lock(&p->shard->view_lock);
    for (size_t i = 0; i < p->shard->tables.n; i++) {
        const gn_table_state *s = p->shard->tables.items[i];
        const gn_schema_table *t = gn_schema_find(p->schema, s->table_id);
        if (!t || !t->desc->distribution_id || t->desc->data_epoch != s->epoch)
            continue;
        gn_buf_append_varint(&p->out->entries, s->table_id);
        gn_buf_append_varint(&p->out->entries, s->public_rows > 0 ? (uint64_t)s->public_rows : 0);
        gn_buf_append_varint(&p->out->entries, s->public_bytes > 0 ? (uint64_t)s->public_bytes : 0);
    }
    pthread_mutex_unlock(&p->shard->view_lock);
}

gn_code gn_shard_merge_read(gn_shard *shard, uint64_t into, gn_bytes from, gn_merge_rows *out, gn_error *err)
{
    piece p = {.shard = shard, .out = out};
    gn_code code = gn_shard_failed(shard);
    if (code != GN_OK)
        return gn_error_set(err, code, "%s", gn_code_text(code));
    gn_buf_clear(&out->to);
    gn_buf_clear(&out->entries);
    pthread_mutex_lock(&shard->view_lock);
    p.slots = shard->slots;
    p.store = gn_store_retain(shard->store);
    p.schema = gn_schema_retain(shard->schema);
    out->last_scn = shard->last_scn;
    pthread_mutex_unlock(&shard->view_lock);
    gn_buf_init(&p.at, NULL, GN_STORE_KEY_MAX);
    p.most = shard->merge_piece ? shard->merge_piece : PIECE_BYTES;
    out->history = p.slots.history;
    if (p.slots.into == 0 || p.slots.into != into)
        code = gn_error_set(err, GN_NOT_IN_STATE, "the group is not sealed here");
    else if (!read_place(&p, from))
        code = gn_error_set(err, GN_PROTOCOL, "that is no place in a copy of rows");
    bool ended = p.table == UINT64_MAX;
    if (code == GN_OK)
        code = ended ? note_garbage(&p, err) : copy_piece(&p, err);
    if (code == GN_OK && ended)
        count_tables(&p);
    if (code == GN_OK)
        write_place(&p);
    pthread_mutex_lock(&shard->view_lock); /* collected meanwhile */
    if (out->history < shard->horizon)
        out->history = shard->horizon;
    pthread_mutex_unlock(&shard->view_lock);
    gn_buf_close(&p.at);
    gn_schema_release(p.schema);
    gn_store_release(p.store);
    return code;
}

gn_code gn_shard_merge_size(gn_shard *shard, uint64_t most, uint64_t *bytes, gn_error *err)
{
    piece p = {.shard = shard, .counts = true, .most = most};
    gn_code code = gn_shard_failed(shard);
    if (code != GN_OK)
        return gn_error_set(err, code, "%s", gn_code_text(code));
    pthread_mutex_lock(&shard->view_lock);
    p.store = gn_store_retain(shard->store);
    p.schema = gn_schema_retain(shard->schema);
    pthread_mutex_unlock(&shard->view_lock);
    gn_buf_init(&p.at, NULL, GN_STORE_KEY_MAX);
    code = copy_piece(&p, err);
    *bytes = p.counted;
    gn_buf_close(&p.at);
    gn_schema_release(p.schema);
    gn_store_release(p.store);
    return code;
}
