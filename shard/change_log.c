#include "base/assert.h"
#include "base/versions.h"
#include "shard/change_log_private.h"

#include <stdlib.h>

enum { RECORD_VERSION = GN_FORMAT_CHANGE, FLAG_LAST = 1, CHUNK_BYTES = 256 << 10, INDEX_PART = 'X' };

/* ---- writing ---- */

void gn_change_writer_init(gn_change_writer *w)
{
    *w = (gn_change_writer){0};
    gn_buf_init(&w->buf, NULL, SIZE_MAX / 2);
}

void gn_change_writer_close(gn_change_writer *w)
{
    gn_buf_close(&w->buf);
}

static void begin_chunk(gn_change_writer *w)
{
    gn_buf_clear(&w->buf);
    gn_buf_append_u8(&w->buf, RECORD_VERSION);
    gn_buf_append_u8(&w->buf, 0);
    gn_buf_append_be64(&w->buf, w->txn_id);
}

static void end_section(gn_change_writer *w)
{
    if (!w->in_section)
        return;
    for (int i = 0; i < 4; i++)
        w->buf.data[w->count_at + (size_t)i] = (uint8_t)(w->count >> (24 - 8 * i));
    w->in_section = false;
}

static void end_chunk(gn_change_writer *w)
{
    end_section(w);
    GN_ASSERT(!w->buf.failed);
    uint8_t key[GN_LOG_KEY];
    gn_log_key(key, w->scn, w->chunk++);
    rocksdb_writebatch_put(w->batch, (const char *)key, sizeof key, (const char *)w->buf.data, w->buf.len);
}

void gn_change_begin(gn_change_writer *w, rocksdb_writebatch_t *batch, gn_scn scn, uint64_t txn_id)
{
    w->batch = batch;
    w->scn = scn;
    w->txn_id = txn_id;
    w->chunk = 0;
    w->in_section = false;
    begin_chunk(w);
}

static void begin_section(gn_change_writer *w, const gn_space *space)
{
    gn_buf_append_u8(&w->buf, GN_KIND_ROW);
    gn_buf_append_varint(&w->buf, space->id);
    gn_buf_append_varint(&w->buf, space->epoch);
    gn_buf_append_varint(&w->buf, space->branch);
    w->count_at = w->buf.len;
    gn_buf_append_be32(&w->buf, 0);
    w->count = 0;
    w->space = *space;
    w->in_section = true;
}

void gn_change_row(gn_change_writer *w, const gn_space *space, gn_bytes key, bool deleted)
{
    if (w->buf.len >= CHUNK_BYTES) {
        end_chunk(w);
        begin_chunk(w);
    }
    if (!w->in_section || !gn_space_eq(&w->space, space)) {
        end_section(w);
        begin_section(w, space);
    }
    gn_buf_append_varint(&w->buf, (uint64_t)key.len << 1 | deleted);
    gn_buf_append_bytes(&w->buf, key);
    w->count++;
}

void gn_change_end(gn_change_writer *w, gn_bytes index_sections)
{
    end_section(w);
    w->buf.data[1] = FLAG_LAST;
    if (index_sections.len) {
        gn_buf_append_u8(&w->buf, INDEX_PART);
        gn_buf_append_bytes(&w->buf, index_sections);
    }
    end_chunk(w);
}

/* ---- reading ---- */

static bool read_section(gn_reader *r, gn_change_fn fn, void *ctx)
{
    gn_space space = {.kind = GN_KIND_ROW};
    space.id = gn_read_varint(r);
    space.epoch = gn_read_varint(r);
    space.branch = gn_read_varint(r);
    uint32_t n = gn_read_be32(r);
    for (uint32_t i = 0; i < n && !r->failed; i++) {
        uint64_t head = gn_read_varint(r);
        if (head >> 1 > gn_reader_left(r)) {
            r->failed = true;
            break;
        }
        gn_bytes key = gn_read_bytes(r, (size_t)(head >> 1));
        if (!fn(ctx, &space, key, head & 1))
            return false;
    }
    return true;
}

gn_code gn_change_read(gn_bytes chunk, uint64_t *txn_id, gn_change_fn fn, void *ctx, bool *stopped,
                       gn_bytes *index_sections, gn_error *err)
{
    gn_reader r = gn_reader_of(chunk);
    uint8_t version = gn_read_u8(&r);
    gn_read_u8(&r);
    *txn_id = gn_read_be64(&r);
    *stopped = false;
    while (!r.failed && version == RECORD_VERSION && gn_reader_left(&r) > 0) {
        uint8_t kind = gn_read_u8(&r);
        if (kind == INDEX_PART) {
            if (index_sections)
                *index_sections = gn_bytes_of(r.p, gn_reader_left(&r));
            return GN_OK;
        }
        if (kind != GN_KIND_ROW) {
            r.failed = true;
        } else if (!read_section(&r, fn, ctx)) {
            *stopped = true;
            return GN_OK;
        }
    }
    if (r.failed || version != RECORD_VERSION)
        return gn_error_set(err, GN_CORRUPT, "a record of the change log is malformed");
    return GN_OK;
}

typedef struct scan {
    gn_scn scn;
    bool (*fn)(void *ctx, gn_scn scn, const gn_space *space, gn_bytes key, bool deleted);
    void *ctx;
} scan;

static bool scan_row(void *ctx, const gn_space *space, gn_bytes key, bool deleted)
{
    scan *s = ctx;
    return s->fn(s->ctx, s->scn, space, key, deleted);
}

gn_code gn_change_scan_spaces(gn_store *store, gn_scn from, gn_scn to,
                              bool (*fn)(void *ctx, gn_scn scn, const gn_space *space, gn_bytes key, bool deleted),
                              void *ctx, gn_error *err)
{
    if (from >= to)
        return GN_OK;
    uint8_t lower[GN_LOG_KEY], upper[GN_LOG_KEY] = {GN_KIND_LOG + 1};
    gn_log_key(lower, from + 1, 0);
    gn_store_iter iter;
    gn_bytes end = gn_bytes_of(upper, 1);
    if (to < UINT64_MAX) {
        gn_log_key(upper, to + 1, 0);
        end.len = sizeof upper;
    }
    gn_store_iter_open(&iter, store, gn_bytes_of(lower, sizeof lower), end, false);
    scan s = {.fn = fn, .ctx = ctx};
    gn_code code = GN_OK;
    bool stopped = false;
    rocksdb_iter_seek_to_first(iter.it);
    for (; code == GN_OK && !stopped && gn_store_iter_valid(&iter); rocksdb_iter_next(iter.it)) {
        uint64_t txn;
        s.scn = gn_get_be64(gn_store_iter_key(&iter).data + 1);
        code = gn_change_read(gn_store_iter_value(&iter), &txn, scan_row, &s, &stopped, NULL, err);
    }
    if (code == GN_OK && !stopped)
        code = gn_store_iter_status(&iter, err);
    gn_store_iter_close(&iter);
    return code;
}

typedef struct public_scan {
    bool (*fn)(void *ctx, const gn_change *change);
    void *ctx;
} public_scan;

static bool public_row(void *ctx, gn_scn scn, const gn_space *space, gn_bytes key, bool deleted)
{
    public_scan *p = ctx;
    gn_change change = {.scn = scn, .table_id = space->id, .branch = space->branch, .key = key, .deleted = deleted};
    return p->fn(p->ctx, &change);
}

gn_code gn_change_scan(gn_store *store, gn_scn from, gn_scn to, bool (*fn)(void *ctx, const gn_change *change),
                       void *ctx, gn_error *err)
{
    public_scan p = {.fn = fn, .ctx = ctx};
    return gn_change_scan_spaces(store, from, to, public_row, &p, err);
}

/* ---- rebuilding the window of recent commits ---- */

static bool recent_row(void *ctx, const gn_space *space, gn_bytes key, bool deleted)
{
    (void)deleted;
    gn_recent_key(ctx, space, key);
    return true;
}

/* The commit whose last chunk the iterator is at; leaves the iterator before its first. */
static gn_code load_commit(gn_store_iter *iter, gn_recent *recent, gn_recent_commit **out, gn_error *err)
{
    gn_scn scn = gn_get_be64(gn_store_iter_key(iter).data + 1);
    uint8_t first[GN_LOG_KEY];
    gn_log_key(first, scn, 0);
    gn_code code = GN_OK;
    gn_buf packed;
    gn_buf_init(&packed, NULL, SIZE_MAX / 2);
    uint64_t txn_id = 0;
    gn_recent_begin(recent);
    rocksdb_iter_seek(iter->it, (const char *)first, sizeof first);
    for (; code == GN_OK && gn_store_iter_valid(iter); rocksdb_iter_next(iter->it)) {
        if (gn_get_be64(gn_store_iter_key(iter).data + 1) != scn)
            break;
        bool stopped;
        gn_bytes indexes = {0};
        code = gn_change_read(gn_store_iter_value(iter), &txn_id, recent_row, recent, &stopped, &indexes, err);
        gn_buf_append_bytes(&packed, indexes);
    }
    if (code == GN_OK)
        code = gn_store_iter_status(iter, err);
    if (code == GN_OK)
        *out = gn_recent_finish(recent, scn, txn_id, gn_buf_bytes(&packed));
    gn_buf_close(&packed);
    rocksdb_iter_seek_for_prev(iter->it, (const char *)first, sizeof first);
    if (gn_store_iter_valid(iter))
        rocksdb_iter_prev(iter->it);
    return code;
}

gn_code gn_change_load_recent(gn_store *store, gn_scn log_floor, gn_recent *recent, gn_error *err)
{
    uint8_t lower[GN_LOG_KEY];
    const uint8_t upper = GN_KIND_LOG + 1;
    gn_log_key(lower, log_floor + 1, 0);
    gn_store_iter iter;
    gn_store_iter_open(&iter, store, gn_bytes_of(lower, sizeof lower), gn_bytes_of(&upper, 1), false);
    rocksdb_iter_seek_to_last(iter.it);
    gn_recent_commit **found = NULL;
    size_t n = 0, cap = 0, weight = 0;
    gn_code code = GN_OK;
    recent->floor = log_floor;
    recent->complete_from = 0;
    while (code == GN_OK && gn_store_iter_valid(&iter)) {
        gn_recent_commit *commit;
        code = load_commit(&iter, recent, &commit, err);
        if (code != GN_OK)
            break;
        weight += gn_recent_weight(commit);
        if (weight > GN_RECENT_WEIGHT_MAX) {
            recent->floor = commit->scn;
            free(commit);
            break;
        }
        if (n == cap) {
            cap = cap ? 2 * cap : 256;
            found = gn_xrealloc(found, cap * sizeof(gn_recent_commit *));
        }
        found[n++] = commit;
    }
    if (code == GN_OK)
        code = gn_store_iter_status(&iter, err);
    while (n > 0)
        gn_recent_add(recent, found[--n]);
    free(found);
    gn_store_iter_close(&iter);
    return code;
}
