#include "base/assert.h"
#include "shard/recent_private.h"

#include <stdlib.h>

struct gn_recent_txn {
    uint64_t id; /* 0 = free */
    gn_scn scn;
};

enum { FIRST_CAP = 1024 };
#define N_SPANS UINT32_MAX

void gn_recent_init(gn_recent *r)
{
    *r = (gn_recent){.cap = FIRST_CAP, .txn_cap = 2 * FIRST_CAP};
    r->ring = gn_xcalloc(r->cap, sizeof(gn_recent_commit *));
    r->txns = gn_xcalloc(r->txn_cap, sizeof *r->txns);
}

void gn_recent_close(gn_recent *r)
{
    for (size_t i = 0; i < r->n; i++)
        free(r->ring[(r->head + i) & (r->cap - 1)]);
    for (size_t i = 0; i < r->cap_sections; i++) {
        gn_buf_close(&r->sections[i].keys);
        gn_buf_close(&r->sections[i].least);
        gn_buf_close(&r->sections[i].greatest);
    }
    free(r->sections);
    free(r->ring);
    free(r->txns);
    *r = (gn_recent){0};
}

/* ---- transaction ids ---- linear probing; deletion moves later entries up (Knuth 6.4, algorithm R) */

static size_t txn_slot(const gn_recent *r, uint64_t id)
{
    return (size_t)((id * 0x9e3779b97f4a7c15ull) >> 20) & (r->txn_cap - 1);
}

static void txn_put(gn_recent *r, uint64_t id, gn_scn scn)
{
    size_t i = txn_slot(r, id);
    while (r->txns[i].id && r->txns[i].id != id)
        i = (i + 1) & (r->txn_cap - 1);
    r->txns[i] = (struct gn_recent_txn){.id = id, .scn = scn};
}

static void txn_remove(gn_recent *r, uint64_t id, gn_scn scn)
{
    size_t mask = r->txn_cap - 1, i = txn_slot(r, id);
    while (r->txns[i].id && r->txns[i].id != id)
        i = (i + 1) & mask;
    if (!r->txns[i].id || r->txns[i].scn != scn)
        return;
    for (size_t j = i;;) {
        r->txns[i].id = 0;
        size_t home;
        do {
            j = (j + 1) & mask;
            if (!r->txns[j].id)
                return;
            home = txn_slot(r, r->txns[j].id);
        } while (((j - home) & mask) < ((j - i) & mask));
        r->txns[i] = r->txns[j];
        i = j;
    }
}

bool gn_recent_find_txn(const gn_recent *r, uint64_t id, gn_scn *scn)
{
    for (size_t i = txn_slot(r, id); r->txns[i].id; i = (i + 1) & (r->txn_cap - 1))
        if (r->txns[i].id == id) {
            *scn = r->txns[i].scn;
            return true;
        }
    return false;
}

/* ---- the commit that is being put together ---- */

void gn_recent_begin(gn_recent *r)
{
    r->n_sections = r->last = 0;
}

static gn_recent_section *section_of(gn_recent *r, const gn_space *space)
{
    if (r->last < r->n_sections && gn_space_eq(&r->sections[r->last].space, space))
        return &r->sections[r->last];
    for (size_t i = 0; i < r->n_sections; i++)
        if (gn_space_eq(&r->sections[i].space, space)) {
            r->last = i;
            return &r->sections[i];
        }
    if (r->n_sections == r->cap_sections) {
        r->cap_sections++;
        r->sections = gn_xrealloc(r->sections, r->cap_sections * sizeof *r->sections);
        gn_recent_section *fresh = &r->sections[r->n_sections];
        gn_buf_init(&fresh->keys, NULL, (size_t)GN_RECENT_KEYS_MAX * (2 * GN_MAX_KEY + 10));
        gn_buf_init(&fresh->least, NULL, GN_STORE_KEY_MAX);
        gn_buf_init(&fresh->greatest, NULL, GN_STORE_KEY_MAX);
    }
    r->last = r->n_sections;
    gn_recent_section *s = &r->sections[r->n_sections++];
    s->space = *space;
    s->n = 0;
    s->spans = false;
    gn_buf_clear(&s->keys);
    return s;
}

static void set_key(gn_buf *buf, gn_bytes key)
{
    gn_buf_clear(buf);
    gn_buf_append_bytes(buf, key);
    GN_ASSERT(!buf->failed);
}

static void widen(gn_recent_section *s, gn_bytes key)
{
    if (gn_bytes_cmp(key, gn_buf_bytes(&s->greatest)) > 0)
        set_key(&s->greatest, key);
    else if (gn_bytes_cmp(key, gn_buf_bytes(&s->least)) < 0)
        set_key(&s->least, key);
}

/* From single keys to least and greatest. */
static void begin_span(gn_recent_section *s)
{
    gn_reader keys = gn_reader_of(gn_buf_bytes(&s->keys));
    gn_bytes first = gn_read_varbytes(&keys);
    set_key(&s->least, first);
    set_key(&s->greatest, first);
    while (gn_reader_left(&keys) > 0)
        widen(s, gn_read_varbytes(&keys));
    GN_ASSERT(!keys.failed);
    s->spans = true;
}

void gn_recent_key(gn_recent *r, const gn_space *space, gn_bytes key)
{
    gn_recent_section *s = section_of(r, space);
    if (!s->spans && s->n == GN_RECENT_KEYS_MAX)
        begin_span(s);
    if (s->spans) {
        widen(s, key);
        return;
    }
    s->n++;
    gn_buf_append_varbytes(&s->keys, key);
    GN_ASSERT(!s->keys.failed);
}

static bool pack_section(const gn_recent_section *s, gn_buf *out)
{
    gn_buf_append_u8(out, s->space.kind);
    gn_buf_append_varint(out, s->space.id);
    gn_buf_append_varint(out, s->space.epoch);
    gn_buf_append_varint(out, s->space.branch);
    gn_buf_append_be32(out, s->spans ? N_SPANS : s->n);
    if (!s->spans)
        return gn_buf_append_bytes(out, gn_buf_bytes(&s->keys));
    gn_buf_append_varbytes(out, gn_buf_bytes(&s->least));
    return gn_buf_append_varbytes(out, gn_buf_bytes(&s->greatest));
}

bool gn_recent_pack_indexes(const gn_recent *r, gn_buf *out)
{
    for (size_t i = 0; i < r->n_sections; i++)
        if (r->sections[i].space.kind == GN_KIND_INDEX)
            pack_section(&r->sections[i], out);
    return !out->failed;
}

gn_recent_commit *gn_recent_finish(const gn_recent *r, gn_scn scn, uint64_t txn_id, gn_bytes packed)
{
    gn_buf all;
    gn_buf_init(&all, NULL, SIZE_MAX / 2);
    for (size_t i = 0; i < r->n_sections; i++)
        pack_section(&r->sections[i], &all);
    gn_buf_append_bytes(&all, packed);
    GN_ASSERT(!all.failed);
    gn_recent_commit *c = gn_xmalloc(sizeof *c + all.len);
    c->scn = scn;
    c->txn_id = txn_id;
    c->len = all.len;
    if (all.len)
        memcpy(c->sections, all.data, all.len);
    gn_buf_close(&all);
    return c;
}

/* ---- the window ---- */

static void grow(gn_recent *r)
{
    gn_recent_commit **ring = gn_xcalloc(2 * r->cap, sizeof(gn_recent_commit *));
    for (size_t i = 0; i < r->n; i++)
        ring[i] = r->ring[(r->head + i) & (r->cap - 1)];
    free(r->ring);
    free(r->txns);
    r->ring = ring;
    r->head = 0;
    r->cap *= 2;
    r->txn_cap = 2 * r->cap;
    r->txns = gn_xcalloc(r->txn_cap, sizeof *r->txns);
    for (size_t i = 0; i < r->n; i++)
        txn_put(r, ring[i]->txn_id, ring[i]->scn);
}

/* A commit over several groups may come after younger ones. The window is in order of SCN, so that it is the same
 * whether commits came one by one or out of the change log; and what lies below its end is not taken up. */
void gn_recent_add(gn_recent *r, gn_recent_commit *commit)
{
    GN_ASSERT(commit->txn_id != 0);
    if (commit->scn <= r->floor || commit->scn <= r->complete_from) {
        free(commit);
        return;
    }
    if (r->n == r->cap)
        grow(r);
    size_t i = r->n++;
    for (; i > 0 && r->ring[(r->head + i - 1) & (r->cap - 1)]->scn > commit->scn; i--)
        r->ring[(r->head + i) & (r->cap - 1)] = r->ring[(r->head + i - 1) & (r->cap - 1)];
    r->ring[(r->head + i) & (r->cap - 1)] = commit;
    r->weight += gn_recent_weight(commit);
    txn_put(r, commit->txn_id, commit->scn);
    while (r->weight > GN_RECENT_WEIGHT_MAX) {
        gn_recent_commit *oldest = r->ring[r->head];
        r->head = (r->head + 1) & (r->cap - 1);
        r->n--;
        r->weight -= gn_recent_weight(oldest);
        r->floor = oldest->scn;
        r->complete_from = 0;
        txn_remove(r, oldest->txn_id, oldest->scn);
        free(oldest);
    }
}

/* ---- validation ---- */

/* Reads one section's keys; true if any of them is in the read set (which may lack the space altogether). */
static bool section_conflicts(gn_reader *r, const gn_read_set *reads)
{
    gn_space space = {.kind = gn_read_u8(r)};
    space.id = gn_read_varint(r);
    space.epoch = gn_read_varint(r);
    space.branch = gn_read_varint(r);
    uint32_t n = gn_read_be32(r);
    const gn_read_space *rs = gn_read_set_space(reads, &space);
    if (n == N_SPANS) {
        gn_bytes least = gn_read_varbytes(r), greatest = gn_read_varbytes(r);
        return rs && gn_read_space_meets(rs, least, greatest);
    }
    bool conflict = false;
    for (uint32_t i = 0; i < n; i++) {
        gn_bytes key = gn_read_varbytes(r);
        conflict = conflict || (rs && gn_read_space_has(rs, key));
    }
    return conflict;
}

bool gn_recent_conflicts(const gn_recent_commit *c, const gn_read_set *reads)
{
    gn_reader r = gn_reader_of(gn_bytes_of(c->sections, c->len));
    while (gn_reader_left(&r) > 0) {
        bool conflict = section_conflicts(&r, reads);
        GN_ASSERT(!r.failed);
        if (conflict)
            return true;
    }
    return false;
}

/* ---- what a commit wrote, as a set of keys ---- */

static void section_footprint(gn_reader *r, gn_buf *end, gn_read_set *out)
{
    gn_space space = {.kind = gn_read_u8(r)};
    space.id = gn_read_varint(r);
    space.epoch = gn_read_varint(r);
    space.branch = gn_read_varint(r);
    uint32_t n = gn_read_be32(r);
    if (n == N_SPANS) {
        gn_key_span span = {.start = gn_read_varbytes(r)};
        gn_buf_clear(end);
        gn_buf_append_bytes(end, gn_read_varbytes(r));
        gn_buf_append_u8(end, 0); /* the least key above the greatest */
        span.end = gn_buf_bytes(end);
        gn_read_set_range(out, &space, &span);
        return;
    }
    for (uint32_t i = 0; i < n && !r->failed; i++)
        gn_read_set_point(out, &space, gn_read_varbytes(r));
}

bool gn_recent_footprint(const gn_recent_commit *c, gn_read_set *out)
{
    gn_reader r = gn_reader_of(gn_bytes_of(c->sections, c->len));
    gn_buf end;
    gn_buf_init(&end, NULL, GN_STORE_KEY_MAX + 1);
    while (gn_reader_left(&r) > 0 && !r.failed)
        section_footprint(&r, &end, out);
    gn_buf_close(&end);
    return !r.failed;
}

gn_code gn_recent_validate(const gn_recent *r, const gn_read_set *reads, gn_scn start_scn, gn_error *err)
{
    if (gn_read_set_empty(reads))
        return GN_OK;
    if (start_scn < r->floor) {
        gn_error_set(err, GN_SERIALIZATION, "could not serialize access: the transaction ran for too long");
        return gn_error_hint(err, "The transaction might succeed if retried."), GN_SERIALIZATION;
    }
    for (size_t i = r->n; i > 0; i--) {
        const gn_recent_commit *c = r->ring[(r->head + i - 1) & (r->cap - 1)];
        if (c->scn <= start_scn)
            break;
        if (!gn_recent_conflicts(c, reads))
            continue;
        gn_error_set(err, GN_SERIALIZATION,
                     "could not serialize access due to read/write dependencies among transactions");
        gn_error_hint(err, "The transaction might succeed if retried.");
        return GN_SERIALIZATION;
    }
    return GN_OK;
}
