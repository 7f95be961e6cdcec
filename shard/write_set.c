#include "base/assert.h"
#include "shard/own_index_private.h"
#include "shard/write_set_private.h"

#include <stdlib.h>

bool gn_write_pack(gn_buf *out, const gn_write *w)
{
    gn_buf_append_u8(out, (uint8_t)w->op);
    gn_buf_append_varbytes(out, w->key);
    if (w->op != GN_WRITE_DELETE)
        gn_buf_append_varbytes(out, w->row);
    return !out->failed;
}

bool gn_write_unpack(gn_reader *r, gn_write *out)
{
    uint8_t op = gn_read_u8(r);
    out->op = (gn_write_op)op;
    out->key = gn_read_varbytes(r);
    out->row = op == GN_WRITE_DELETE ? gn_bytes_of(NULL, 0) : gn_read_varbytes(r);
    return !r->failed && op >= GN_WRITE_INSERT && op <= GN_WRITE_DELETE && out->key.len > 0 &&
           out->key.len <= GN_MAX_KEY;
}

gn_write_set *gn_write_set_create(const gn_table_desc *desc, gn_account *account)
{
    gn_write_set *ws = gn_xcalloc(1, sizeof *ws);
    ws->desc = gn_table_desc_retain(desc);
    ws->arena = gn_arena_create(account);
    ws->random = 0x9e3779b97f4a7c15ull;
    gn_buf_init(&ws->greatest, NULL, GN_MAX_KEY);
    return ws;
}

void gn_write_set_destroy(gn_write_set *ws)
{
    if (!ws)
        return;
    gn_own_index_destroy(ws->indexes);
    gn_table_desc_release(ws->desc);
    gn_buf_close(&ws->greatest);
    gn_arena_destroy(ws->arena);
    free(ws->chunks);
    free(ws->run_marks);
    free(ws);
}

void gn_write_set_clear(gn_write_set *ws)
{
    ws->run_n = ws->n_marks = ws->list_n = 0;
    ws->n_chunks = 0;
    ws->run_end = 0;
    ws->bytes = 0;
    ws->head = ws->tail = NULL;
    ws->first_version = ws->last_version = NULL;
    gn_own_index_destroy(ws->indexes);
    ws->indexes = NULL;
    ws->knows_greatest = false;
    gn_arena_reset(ws->arena);
}

/* ---- the run ---- */

enum { CHUNK_FIRST = 4 << 10, CHUNK_MAX = 1 << 20, ENTRY_HEADER_MAX = 1 + 5 + 5 };

static gn_own_row run_entry(const gn_write_set *ws, gn_run_pos *pos)
{
    GN_ASSERT(ws->chunks && *pos >> 32 < ws->n_chunks);
    const gn_run_chunk *c = &ws->chunks[*pos >> 32];
    uint32_t at = (uint32_t)*pos;
    GN_ASSERT(at < c->len);
    gn_reader r = gn_reader_of(gn_bytes_of(c->data + at, c->len - at));
    gn_write w;
    bool ok = gn_write_unpack(&r, &w);
    GN_ASSERT(ok);
    uint64_t chunk = *pos >> 32, next = (uint64_t)(r.p - c->data);
    *pos = next == c->len && chunk + 1 < ws->n_chunks ? (chunk + 1) << 32 : chunk << 32 | next;
    return (gn_own_row){.key = w.key, .row = w.row};
}

bool gn_write_set_run_next(const gn_write_set *ws, gn_run_pos *pos, gn_write *out)
{
    /* A position taken at the run's end may have got a chunk behind it since. */
    GN_ASSERT(*pos >= ws->run_end || ws->chunks);
    if (*pos < ws->run_end && (uint32_t)*pos == ws->chunks[*pos >> 32].len)
        *pos = ((*pos >> 32) + 1) << 32;
    if (*pos >= ws->run_end)
        return false;
    gn_own_row row = run_entry(ws, pos);
    *out = (gn_write){.op = GN_WRITE_INSERT, .key = row.key, .row = row.row};
    return true;
}

static gn_bytes mark_key(const gn_write_set *ws, size_t mark)
{
    gn_run_pos pos = ws->run_marks[mark];
    return run_entry(ws, &pos).key;
}

/* The stride that holds `key` if any does: the last one whose first key is at or below it. *before: none is. */
static size_t run_stride(const gn_write_set *ws, gn_run_pos end, gn_bytes key, bool *before)
{
    size_t lo = 0, hi = ws->n_marks;
    while (lo < hi) { /* the first mark above key, or outside of what the reader sees */
        size_t mid = lo + (hi - lo) / 2;
        if (ws->run_marks[mid] < end && gn_bytes_cmp(mark_key(ws, mid), key) <= 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    *before = lo == 0;
    return lo ? lo - 1 : 0;
}

/* The first entry at or above key; `end` or behind when there is none. */
static gn_run_pos run_seek(const gn_write_set *ws, gn_run_pos end, gn_bytes key)
{
    bool before;
    size_t stride = run_stride(ws, end, key, &before);
    gn_run_pos pos = before || ws->n_marks == 0 ? 0 : ws->run_marks[stride];
    while (pos < end) {
        gn_run_pos next = pos;
        if (gn_bytes_cmp(run_entry(ws, &next).key, key) >= 0)
            break;
        pos = next;
    }
    return pos;
}

static bool run_find(const gn_write_set *ws, gn_run_pos end, gn_bytes key, gn_own_row *out)
{
    if (ws->run_n == 0 || gn_bytes_cmp(key, ws->run_last) > 0)
        return false;
    gn_run_pos pos = run_seek(ws, end, key);
    if (pos >= end)
        return false;
    *out = run_entry(ws, &pos);
    return gn_bytes_eq(out->key, key);
}

/* Room for an entry at the end of the last chunk, or in a new one. */
static uint8_t *run_room(gn_write_set *ws, size_t need)
{
    gn_run_chunk *last = ws->n_chunks ? &ws->chunks[ws->n_chunks - 1] : NULL;
    if (last && last->cap - last->len >= need)
        return last->data + last->len;
    size_t cap = last ? 2 * (size_t)last->cap : CHUNK_FIRST;
    cap = cap > CHUNK_MAX ? CHUNK_MAX : cap;
    cap = cap < need ? need : cap;
    uint8_t *data = gn_arena_alloc(ws->arena, cap);
    if (!data)
        return NULL;
    if (!ws->chunks || ws->n_chunks == ws->cap_chunks) {
        ws->cap_chunks = ws->cap_chunks ? 2 * ws->cap_chunks : 4;
        ws->chunks = gn_xrealloc(ws->chunks, ws->cap_chunks * sizeof *ws->chunks);
    }
    ws->chunks[ws->n_chunks++] = (gn_run_chunk){.data = data, .cap = (uint32_t)cap};
    return data;
}

static void run_mark(gn_write_set *ws, gn_run_pos pos)
{
    if (ws->run_n % GN_RUN_STRIDE != 0)
        return;
    if (ws->n_marks == ws->cap_marks) {
        ws->cap_marks = ws->cap_marks ? 2 * ws->cap_marks : 16;
        ws->run_marks = gn_xrealloc(ws->run_marks, ws->cap_marks * sizeof *ws->run_marks);
    }
    ws->run_marks[ws->n_marks++] = pos;
}

static bool run_append(gn_write_set *ws, gn_bytes key, gn_bytes row)
{
    uint8_t *start = run_room(ws, ENTRY_HEADER_MAX + key.len + row.len);
    if (!start)
        return false;
    GN_ASSERT(ws->chunks);
    gn_run_chunk *c = &ws->chunks[ws->n_chunks - 1];
    run_mark(ws, (uint64_t)(ws->n_chunks - 1) << 32 | c->len);
    uint8_t *p = start;
    *p++ = GN_WRITE_INSERT;
    p += gn_varint_put(p, key.len);
    memcpy(p, key.data, key.len);
    ws->run_last = gn_bytes_of(p, key.len);
    p += key.len;
    p += gn_varint_put(p, row.len);
    memcpy(p, row.data, row.len);
    p += row.len;
    c->len += (uint32_t)(p - start);
    ws->run_end = (uint64_t)(ws->n_chunks - 1) << 32 | c->len;
    ws->run_n++;
    ws->bytes += key.len + row.len;
    return true;
}

/* ---- the list ---- */

static gn_own_key *node_create(gn_write_set *ws, gn_bytes key, uint8_t height)
{
    gn_own_key *node = gn_arena_calloc(ws->arena, 1, sizeof *node + height * sizeof(gn_own_key *));
    if (!node)
        return NULL;
    node->height = height;
    if (key.len) {
        uint8_t *copy = gn_arena_memdup(ws->arena, key.data, key.len);
        if (!copy)
            return NULL;
        node->key = gn_bytes_of(copy, key.len);
    }
    return node;
}

static uint8_t random_height(gn_write_set *ws)
{
    ws->random ^= ws->random << 13;
    ws->random ^= ws->random >> 7;
    ws->random ^= ws->random << 17;
    uint8_t height = 1;
    for (uint64_t bits = ws->random; height < GN_SKIP_HEIGHT && (bits & 3) == 0; bits >>= 2)
        height++;
    return height;
}

/* The first node at or above key; before[h]: the last one below it on each level. */
static gn_own_key *list_seek(const gn_write_set *ws, gn_bytes key, gn_own_key **before)
{
    gn_own_key *at = ws->head;
    if (!at)
        return NULL;
    for (int h = GN_SKIP_HEIGHT - 1; h >= 0; h--) {
        while (at->next[h] && gn_bytes_cmp(at->next[h]->key, key) < 0)
            at = at->next[h];
        if (before)
            before[h] = at;
    }
    return at->next[0];
}

static gn_own_key *list_find(const gn_write_set *ws, gn_bytes key)
{
    gn_own_key *node = list_seek(ws, key, NULL);
    return node && gn_bytes_eq(node->key, key) ? node : NULL;
}

static gn_own_key *list_insert(gn_write_set *ws, gn_bytes key)
{
    gn_own_key *before[GN_SKIP_HEIGHT];
    if (!ws->head && !(ws->head = node_create(ws, gn_bytes_of(NULL, 0), GN_SKIP_HEIGHT)))
        return NULL;
    list_seek(ws, key, before);
    gn_own_key *node = node_create(ws, key, random_height(ws));
    if (!node)
        return NULL;
    for (int h = 0; h < node->height; h++) {
        node->next[h] = before[h]->next[h];
        before[h]->next[h] = node;
    }
    node->prev = before[0] == ws->head ? NULL : before[0];
    if (node->next[0])
        node->next[0]->prev = node;
    else
        ws->tail = node;
    ws->list_n++;
    return node;
}

static const gn_own_version *version_at(const gn_own_key *node, uint64_t seq)
{
    const gn_own_version *v = node->newest;
    while (v && v->seq > seq)
        v = v->older;
    return v;
}

/* ---- both ---- */

bool gn_own_find(const gn_write_set *ws, gn_own_mark mark, gn_bytes key, gn_own_row *out)
{
    gn_own_key *node = list_find(ws, key);
    const gn_own_version *v = node ? version_at(node, mark.seq) : NULL;
    if (v) {
        *out = (gn_own_row){.key = node->key, .row = v->row, .deleted = v->deleted};
        return true;
    }
    return run_find(ws, mark.run_end, key, out);
}

static gn_code list_write(gn_write_set *ws, gn_bytes key, gn_bytes row, bool deleted, bool base_exists, gn_error *err)
{
    gn_own_key *node = list_find(ws, key);
    if (!node) {
        gn_own_row in_run;
        bool own = run_find(ws, ws->run_end, key, &in_run);
        node = list_insert(ws, key);
        if (node)
            node->base_exists = !own && base_exists;
    }
    gn_own_version *v = node ? gn_arena_calloc(ws->arena, 1, sizeof *v) : NULL;
    uint8_t *copy = v ? gn_arena_memdup(ws->arena, row.data, row.len) : NULL;
    if (!copy)
        return gn_error_oom(err, gn_arena_account(ws->arena));
    *v = (gn_own_version){
        .older = node->newest, .node = node, .seq = ++ws->seq, .deleted = deleted, .row = {copy, row.len}};
    node->newest = v;
    ws->bytes += key.len + row.len;
    if (ws->last_version)
        ws->last_version->later = v;
    else
        ws->first_version = v;
    ws->last_version = v;
    return GN_OK;
}

gn_code gn_own_put(gn_write_set *ws, gn_bytes key, gn_bytes row, bool base_exists, gn_error *err)
{
    GN_ASSERT(key.len > 0);
    bool ascending = ws->run_n == 0 || gn_bytes_cmp(key, ws->run_last) > 0;
    if (!base_exists && ascending && !list_find(ws, key)) {
        if (run_append(ws, key, row))
            return GN_OK;
        return gn_error_oom(err, gn_arena_account(ws->arena));
    }
    return list_write(ws, key, row, false, base_exists, err);
}

gn_code gn_own_delete(gn_write_set *ws, gn_bytes key, gn_error *err)
{
    return list_write(ws, key, gn_bytes_of(NULL, 0), true, true, err);
}

/* ---- in key order ---- */

/* The last node below key; of the whole list when `key` is NULL-data. */
static gn_own_key *list_before(const gn_write_set *ws, gn_bytes key, bool open)
{
    if (open)
        return ws->tail;
    gn_own_key *node = list_seek(ws, key, NULL);
    return node ? node->prev : ws->tail;
}

void gn_own_cursor_open(gn_own_cursor *c, const gn_write_set *ws, gn_own_mark mark, const gn_key_span *span,
                        bool reverse)
{
    *c = (gn_own_cursor){.ws = ws, .mark = mark, .span = *span, .reverse = reverse};
    if (!reverse) {
        c->node = list_seek(ws, span->start, NULL);
        c->run_at = run_seek(ws, mark.run_end, span->start);
        return;
    }
    c->node = list_before(ws, span->end, span->end_open);
    bool before = false;
    if (!span->end_open)
        c->next_mark = run_stride(ws, mark.run_end, span->end, &before) + 1;
    else
        for (c->next_mark = ws->n_marks; c->next_mark && ws->run_marks[c->next_mark - 1] >= mark.run_end;)
            c->next_mark--;
    if (before || c->next_mark > ws->n_marks)
        c->next_mark = 0;
}

/* The next candidates, skipping what the mark does not see. */
static const gn_own_version *list_candidate(gn_own_cursor *c)
{
    for (; c->node; c->node = c->reverse ? c->node->prev : c->node->next[0]) {
        const gn_own_version *v = version_at(c->node, c->mark.seq);
        if (v)
            break;
    }
    if (!c->node || !gn_key_span_has(&c->span, c->node->key))
        return NULL;
    return version_at(c->node, c->mark.seq);
}

static void fill_block(gn_own_cursor *c)
{
    while (c->block_n == 0 && c->next_mark > 0) {
        gn_run_pos at = c->ws->run_marks[--c->next_mark];
        for (uint32_t i = 0; i < GN_RUN_STRIDE && at < c->mark.run_end; i++) {
            gn_own_row row = run_entry(c->ws, &at);
            if (c->span.end_open || gn_bytes_cmp(row.key, c->span.end) < 0)
                c->block[c->block_n++] = row;
        }
    }
}

static bool run_candidate(gn_own_cursor *c, gn_own_row *out, gn_run_pos *next)
{
    if (c->reverse) {
        fill_block(c);
        if (c->block_n == 0)
            return false;
        *out = c->block[c->block_n - 1];
    } else {
        if (c->run_at >= c->mark.run_end)
            return false;
        *next = c->run_at;
        *out = run_entry(c->ws, next);
    }
    return gn_key_span_has(&c->span, out->key);
}

bool gn_own_cursor_next(gn_own_cursor *c, gn_own_row *out)
{
    const gn_own_version *v = list_candidate(c);
    gn_own_row run;
    gn_run_pos next = 0;
    bool has_run = run_candidate(c, &run, &next);
    if (!v && !has_run)
        return false;
    int order = !v ? -1 : !has_run ? 1 : gn_bytes_cmp(run.key, c->node->key);
    if (c->reverse && v && has_run)
        order = -order;
    if (order <= 0) { /* the run's entry is next, or hidden by the list's */
        if (c->reverse)
            c->block_n--;
        else
            c->run_at = next;
        *out = run;
    }
    if (order >= 0) {
        *out = (gn_own_row){.key = c->node->key, .row = v->row, .deleted = v->deleted};
        c->node = c->reverse ? c->node->prev : c->node->next[0];
    }
    return true;
}

/* ---- for the command ---- */

static bool pack_node(const gn_own_key *node, gn_buf *out, uint64_t *n)
{
    const gn_own_version *v = node->newest;
    if (v->deleted && !node->base_exists)
        return true;
    gn_write w = {.op = GN_WRITE_DELETE, .key = node->key, .row = v->row};
    if (!v->deleted)
        w.op = node->base_exists ? GN_WRITE_PUT : GN_WRITE_INSERT;
    ++*n;
    return gn_write_pack(out, &w);
}

static bool pack_run(const gn_write_set *ws, gn_buf *out, uint64_t *n)
{
    for (uint32_t i = 0; i < ws->n_chunks; i++)
        gn_buf_append(out, ws->chunks[i].data, ws->chunks[i].len);
    *n = ws->run_n;
    return !out->failed;
}

bool gn_write_set_pack(const gn_write_set *ws, gn_buf *out, uint64_t *n)
{
    if (ws->list_n == 0)
        return pack_run(ws, out, n);
    *n = 0;
    const gn_own_key *node = ws->head->next[0];
    gn_run_pos at = 0;
    gn_write w;
    bool has_run = gn_write_set_run_next(ws, &at, &w);
    while (node || has_run) {
        int order = !has_run ? 1 : !node ? -1 : gn_bytes_cmp(w.key, node->key);
        if (order < 0) {
            gn_write_pack(out, &w);
            ++*n;
        }
        if (order >= 0) {
            pack_node(node, out, n);
            node = node->next[0];
        }
        if (order <= 0)
            has_run = gn_write_set_run_next(ws, &at, &w);
    }
    return !out->failed;
}

/* ---- back to a mark ---- */

/* The greatest key of a run that has just been cut. */
static void find_run_last(gn_write_set *ws)
{
    ws->run_last = gn_bytes_of(NULL, 0);
    if (ws->n_marks == 0)
        return;
    for (gn_run_pos pos = ws->run_marks[ws->n_marks - 1]; pos < ws->run_end;)
        ws->run_last = run_entry(ws, &pos).key;
}

static void cut_run(gn_write_set *ws, gn_run_pos end)
{
    gn_write w;
    if (end >= ws->run_end)
        return;
    for (gn_run_pos pos = end; gn_write_set_run_next(ws, &pos, &w); ws->run_n--)
        ws->bytes -= w.key.len + w.row.len;
    ws->n_chunks = (uint32_t)(end >> 32) + 1;
    ws->chunks[end >> 32].len = (uint32_t)end;
    ws->run_end = end;
    while (ws->n_marks > 0 && ws->run_marks[ws->n_marks - 1] >= end)
        ws->n_marks--;
    find_run_last(ws);
}

static void list_remove(gn_write_set *ws, gn_own_key *node)
{
    gn_own_key *before[GN_SKIP_HEIGHT];
    list_seek(ws, node->key, before);
    for (int h = 0; h < node->height; h++)
        before[h]->next[h] = node->next[h];
    if (node->next[0])
        node->next[0]->prev = node->prev;
    else
        ws->tail = node->prev;
    ws->list_n--;
}

static void cut_list(gn_write_set *ws, uint64_t seq)
{
    gn_own_version *kept = NULL, *v = ws->first_version;
    for (; v && v->seq <= seq; v = v->later)
        kept = v;
    for (; v; v = v->later) {
        gn_own_key *node = v->node;
        ws->bytes -= node->key.len + v->row.len;
        if (node->newest != v)
            continue;
        while (node->newest && node->newest->seq > seq)
            node->newest = node->newest->older;
        if (!node->newest)
            list_remove(ws, node);
    }
    ws->last_version = kept;
    if (kept)
        kept->later = NULL;
    else
        ws->first_version = NULL;
    ws->seq = seq < ws->seq ? seq : ws->seq;
}

void gn_write_set_cut(gn_write_set *ws, gn_own_mark mark)
{
    cut_run(ws, mark.run_end);
    cut_list(ws, mark.seq);
    gn_own_index_destroy(ws->indexes); /* they are made again of what is left */
    ws->indexes = NULL;
}
