#include "base/assert.h"
#include "base/limits.h"
#include "base/versions.h"
#include "cluster/part_wire_private.h"

#include <stdlib.h>

enum { WIRE_VERSION = GN_FORMAT_PART, PART_AT = 11 /* of the part's number in a request */, RANGE_MIN_BYTES = 9 };
enum {
    REQUEST_BEGIN = 1,
    REQUEST_GLOBAL = 2,
    REQUEST_READ_ONLY = 4,
    REQUEST_UNCONFIRMED = 8,
    REQUEST_SLOTS = 16,
    REQUEST_PAST = 32
};
enum { ANSWER_ERROR = 1, ANSWER_WRITES = 2, ANSWER_ENDED = 4, ANSWER_GONE = 8 };
enum {
    SCAN_KEYS = 1,
    SCAN_REVERSE = 2,
    SCAN_LO_EXCLUSIVE = 4,
    SCAN_HI_INCLUSIVE = 8,
    SCAN_EXACT = 16,
    SCAN_LO = 32,
    SCAN_HI = 64
};

/* ---- common ---- */

static gn_reader rest_of(gn_reader *in)
{
    gn_reader rest = *in;
    in->p = in->end;
    return rest;
}

void gn_wire_bytes_write(gn_buf *out, gn_bytes bytes)
{
    GN_ASSERT(bytes.len <= UINT32_MAX);
    gn_buf_append_be32(out, (uint32_t)bytes.len);
    gn_buf_append_bytes(out, bytes);
}

gn_bytes gn_wire_bytes_read(gn_reader *in)
{
    uint32_t len = gn_read_be32(in);
    return gn_read_bytes(in, len);
}

static void put_be64(uint8_t *at, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        at[i] = (uint8_t)(v >> (56 - 8 * i));
}

static void put_text(gn_buf *out, const char *text, size_t room)
{
    size_t n = strnlen(text, room);
    gn_buf_append_be16(out, (uint16_t)n);
    gn_buf_append(out, text, n);
}

static void get_text(gn_reader *in, char *text, size_t room)
{
    gn_bytes b = gn_read_bytes(in, gn_read_be16(in));
    size_t n = b.len < room ? b.len : room - 1;
    if (n)
        memcpy(text, b.data, n);
    text[n] = '\0';
}

/* ---- errors ---- */

void gn_wire_error_write(gn_buf *out, gn_code code, const gn_error *err)
{
    static const gn_error none;
    const gn_error *e = err ? err : &none;
    const char *name = gn_code_name(code);
    put_text(out, name, strlen(name));
    gn_buf_append_be32(out, (uint32_t)e->position);
    put_text(out, e->message[0] ? e->message : gn_code_text(code), sizeof e->message);
    put_text(out, e->detail, sizeof e->detail);
    put_text(out, e->hint, sizeof e->hint);
    put_text(out, e->context, sizeof e->context);
    for (int i = 0; i < 4; i++)
        put_text(out, e->object[i], sizeof e->object[i]);
}

/* GN_INTERNAL: one that this version does not know. */
static gn_code code_named(const char *name)
{
    static const gn_code all[] = {
#define CODE(id, sqlstate, text) GN_##id,
        GN_ERROR_TABLE(CODE)
#undef CODE
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (strcmp(gn_code_name(all[i]), name) == 0)
            return all[i];
    return GN_INTERNAL;
}

bool gn_wire_error_read(gn_reader *in, gn_code *code, gn_error *err)
{
    char name[64];
    gn_error e = {0};
    get_text(in, name, sizeof name);
    *code = e.code = code_named(name);
    e.position = (int)(gn_read_be32(in) & INT32_MAX);
    get_text(in, e.message, sizeof e.message);
    get_text(in, e.detail, sizeof e.detail);
    get_text(in, e.hint, sizeof e.hint);
    get_text(in, e.context, sizeof e.context);
    for (int i = 0; i < 4; i++)
        get_text(in, e.object[i], sizeof e.object[i]);
    if (in->failed || *code == GN_OK)
        return false;
    if (err)
        *err = e;
    return true;
}

/* ---- requests ---- */

void gn_part_request_write(gn_buf *out, const gn_part_request *r, gn_bytes closed, gn_bytes writes)
{
    gn_buf_append_u8(out, WIRE_VERSION);
    gn_buf_append_u8(out, (uint8_t)r->action);
    gn_buf_append_u8(out,
                     (uint8_t)((r->begin ? REQUEST_BEGIN : 0) | (r->global ? REQUEST_GLOBAL : 0) |
                               (r->read_only ? REQUEST_READ_ONLY : 0) | (r->unconfirmed ? REQUEST_UNCONFIRMED : 0) |
                               (r->slot_hi ? REQUEST_SLOTS : 0) | (r->past ? REQUEST_PAST : 0)));
    gn_buf_append_be64(out, r->incarnation);
    gn_buf_append_be64(out, r->part);
    gn_buf_append_be64(out, r->group);
    gn_buf_append_be64(out, r->read_scn);
    if (r->slot_hi) {
        gn_buf_append_be32(out, r->slot_lo);
        gn_buf_append_be32(out, r->slot_hi);
    }
    gn_buf_append_be32(out, (uint32_t)(closed.len / 4));
    gn_buf_append_bytes(out, closed);
    gn_wire_bytes_write(out, writes);
}

void gn_part_request_renumber(gn_buf *request, uint64_t part)
{
    put_be64(request->data + PART_AT, part);
}

bool gn_part_request_read(gn_bytes bytes, gn_part_request *out)
{
    gn_reader in = gn_reader_of(bytes);
    uint8_t version = gn_read_u8(&in), action = gn_read_u8(&in), flags = gn_read_u8(&in);
    *out = (gn_part_request){.action = (gn_part_action)action,
                             .begin = flags & REQUEST_BEGIN,
                             .global = flags & REQUEST_GLOBAL,
                             .read_only = flags & REQUEST_READ_ONLY,
                             .unconfirmed = flags & REQUEST_UNCONFIRMED,
                             .past = flags & REQUEST_PAST};
    out->incarnation = gn_read_be64(&in);
    out->part = gn_read_be64(&in);
    out->group = gn_read_be64(&in);
    out->read_scn = gn_read_be64(&in);
    if (flags & REQUEST_SLOTS) {
        out->slot_lo = gn_read_be32(&in);
        out->slot_hi = gn_read_be32(&in);
        if (out->slot_lo >= out->slot_hi || out->slot_hi > GN_SLOTS)
            return false;
    }
    uint64_t n_closed = gn_read_be32(&in);
    if (n_closed * 4 > gn_reader_left(&in))
        return false;
    out->closed = gn_reader_of(gn_read_bytes(&in, n_closed * 4));
    out->writes = gn_reader_of(gn_wire_bytes_read(&in));
    if (in.failed || version != WIRE_VERSION || action < GN_PART_FLUSH || action > GN_PART_DECIDE || out->part == 0)
        return false;
    out->body = rest_of(&in);
    return true;
}

/* ---- answers ---- */

void gn_part_answer_begin(gn_buf *out)
{
    gn_buf_append_u8(out, WIRE_VERSION);
    gn_buf_append_u8(out, 0);
    gn_buf_append_be64(out, 0);
}

void gn_part_answer_end(gn_buf *out, const gn_part_answer *a, const gn_error *err)
{
    gn_error oom = {0};
    gn_code code = a->code;
    if (code == GN_OK && out->failed) {
        code = gn_error_oom(&oom, out->account);
        err = &oom;
    }
    if (code != GN_OK) {
        gn_buf_clear(out);
        gn_part_answer_begin(out);
        gn_wire_error_write(out, code, err);
    }
    if (out->failed)
        return;
    put_be64(out->data + 2, a->leader);
    out->data[1] = (uint8_t)((code != GN_OK ? ANSWER_ERROR : 0) | (a->has_writes ? ANSWER_WRITES : 0) |
                             (a->ended ? ANSWER_ENDED : 0) | (a->gone ? ANSWER_GONE : 0));
}

bool gn_part_answer_read(gn_bytes bytes, gn_part_answer *out, gn_error *err)
{
    gn_reader in = gn_reader_of(bytes);
    uint8_t version = gn_read_u8(&in), flags = gn_read_u8(&in);
    uint64_t leader = gn_read_be64(&in);
    if (in.failed || version != WIRE_VERSION)
        return false;
    *out = (gn_part_answer){.leader = leader,
                            .has_writes = flags & ANSWER_WRITES,
                            .ended = flags & ANSWER_ENDED,
                            .gone = flags & ANSWER_GONE};
    if (flags & ANSWER_ERROR)
        return gn_wire_error_read(&in, &out->code, err);
    out->body = rest_of(&in);
    return true;
}

/* ---- writes ---- */

void gn_part_write_append(gn_buf *out, const gn_part_write *w)
{
    gn_buf_append_u8(out, (uint8_t)w->kind);
    switch (w->kind) {
    case GN_WRITE_TABLE:
        gn_buf_append_be64(out, w->id);
        gn_buf_append_be64(out, w->version);
        gn_buf_append_be64(out, w->epoch);
        break;
    case GN_WRITE_UPDATE:
        gn_wire_bytes_write(out, w->key);
        gn_wire_bytes_write(out, w->row);
        break;
    case GN_WRITE_DELETE:
        gn_wire_bytes_write(out, w->key);
        break;
    case GN_WRITE_INSERT:
    case GN_WRITE_PUT_TABLE:
        gn_wire_bytes_write(out, w->row);
        break;
    case GN_WRITE_DROP_TABLE:
    case GN_WRITE_MARK:
    case GN_WRITE_UNMARK:
        gn_buf_append_be64(out, w->id);
        break;
    }
}

bool gn_part_write_read(gn_reader *in, gn_part_write *out)
{
    *out = (gn_part_write){.kind = (gn_part_write_kind)gn_read_u8(in)};
    switch (out->kind) {
    case GN_WRITE_TABLE:
        out->id = gn_read_be64(in);
        out->version = gn_read_be64(in);
        out->epoch = gn_read_be64(in);
        break;
    case GN_WRITE_UPDATE:
        out->key = gn_wire_bytes_read(in);
        out->row = gn_wire_bytes_read(in);
        break;
    case GN_WRITE_DELETE:
        out->key = gn_wire_bytes_read(in);
        break;
    case GN_WRITE_INSERT:
    case GN_WRITE_PUT_TABLE:
        out->row = gn_wire_bytes_read(in);
        break;
    case GN_WRITE_DROP_TABLE:
    case GN_WRITE_MARK:
    case GN_WRITE_UNMARK:
        out->id = gn_read_be64(in);
        break;
    default:
        return false;
    }
    return !in->failed;
}

/* ---- scans ---- */

static void put_table(gn_buf *out, uint32_t id, const gn_table_desc *t, const gn_index_desc *index, unsigned flags,
                      const uint32_t *ordinals, uint32_t n)
{
    gn_buf_append_be32(out, id);
    gn_buf_append_be64(out, t->id);
    gn_buf_append_be64(out, t->version);
    gn_buf_append_be64(out, t->data_epoch);
    gn_buf_append_be64(out, index ? index->id : 0);
    gn_buf_append_u8(out, (uint8_t)flags);
    gn_buf_append_be32(out, n);
    for (uint32_t i = 0; i < n; i++)
        gn_buf_append_be32(out, ordinals[i]);
}

void gn_wire_scan_write(gn_buf *out, uint32_t id, const gn_scan_spec *s)
{
    unsigned flags = (s->without_keys ? 0 : SCAN_KEYS) | (s->reverse ? SCAN_REVERSE : 0) |
                     (s->range.lo_exclusive ? SCAN_LO_EXCLUSIVE : 0) | (s->range.hi_inclusive ? SCAN_HI_INCLUSIVE : 0) |
                     (s->range.lo.data ? SCAN_LO : 0) | (s->range.hi.data ? SCAN_HI : 0);
    put_table(out, id, s->table, s->index, flags, s->ordinals, s->n_ordinals);
    gn_wire_bytes_write(out, s->range.lo);
    gn_wire_bytes_write(out, s->range.hi);
    gn_buf_append_be64(out, s->limit_hint);
}

void gn_wire_vector_scan_write(gn_buf *out, uint32_t id, const gn_vector_scan_spec *s)
{
    uint32_t recall;
    memcpy(&recall, &s->target_recall, sizeof recall);
    put_table(out, id, s->table, s->index, SCAN_KEYS | (s->exact ? SCAN_EXACT : 0), s->ordinals, s->n_ordinals);
    gn_wire_bytes_write(out, gn_bytes_of(s->query, s->dimensions * sizeof(float)));
    gn_buf_append_be64(out, s->k_hint);
    gn_buf_append_be32(out, s->ef);
    gn_buf_append_be32(out, recall);
}

bool gn_wire_scan_read(gn_reader *in, bool vector, gn_wire_scan *out)
{
    *out = (gn_wire_scan){.id = gn_read_be32(in)};
    out->table_id = gn_read_be64(in);
    out->version = gn_read_be64(in);
    out->epoch = gn_read_be64(in);
    out->index_id = gn_read_be64(in);
    uint8_t flags = gn_read_u8(in);
    out->n_ordinals = gn_read_be32(in);
    if (in->failed || out->n_ordinals > GN_MAX_COLUMNS)
        return false;
    out->ordinals = gn_reader_of(gn_read_bytes(in, (size_t)4 * out->n_ordinals));
    out->with_keys = flags & SCAN_KEYS;
    out->reverse = flags & SCAN_REVERSE;
    out->exact = flags & SCAN_EXACT;
    if (!vector) {
        gn_bytes lo = gn_wire_bytes_read(in), hi = gn_wire_bytes_read(in);
        if (in->failed)
            return false;
        if (flags & SCAN_LO)
            out->range.lo = lo;
        if (flags & SCAN_HI)
            out->range.hi = hi;
        out->range.lo_exclusive = flags & SCAN_LO_EXCLUSIVE;
        out->range.hi_inclusive = flags & SCAN_HI_INCLUSIVE;
        out->limit_hint = gn_read_be64(in);
        return !in->failed && out->range.lo.len <= GN_WIRE_MAX_RANGE && out->range.hi.len <= GN_WIRE_MAX_RANGE;
    }
    out->query = gn_wire_bytes_read(in);
    out->k_hint = gn_read_be64(in);
    out->ef = gn_read_be32(in);
    uint32_t recall = gn_read_be32(in);
    memcpy(&out->target_recall, &recall, sizeof recall);
    return !in->failed && out->query.len % sizeof(float) == 0 && out->query.len > 0 &&
           out->query.len <= GN_MAX_DIMENSIONS * sizeof(float);
}

static void range_write(gn_buf *out, const gn_key_range *r)
{
    gn_buf_append_u8(out,
                     (uint8_t)((r->lo_exclusive ? SCAN_LO_EXCLUSIVE : 0) | (r->hi_inclusive ? SCAN_HI_INCLUSIVE : 0) |
                               (r->lo.data ? SCAN_LO : 0) | (r->hi.data ? SCAN_HI : 0)));
    gn_wire_bytes_write(out, r->lo);
    gn_wire_bytes_write(out, r->hi);
}

bool gn_wire_range_read(gn_reader *in, gn_key_range *out)
{
    uint8_t flags = gn_read_u8(in);
    gn_bytes lo = gn_wire_bytes_read(in), hi = gn_wire_bytes_read(in);
    *out = (gn_key_range){.lo_exclusive = flags & SCAN_LO_EXCLUSIVE, .hi_inclusive = flags & SCAN_HI_INCLUSIVE};
    if (flags & SCAN_LO)
        out->lo = lo;
    if (flags & SCAN_HI)
        out->hi = hi;
    return !in->failed && lo.len <= GN_WIRE_MAX_RANGE && hi.len <= GN_WIRE_MAX_RANGE;
}

static bool ranges_read(gn_reader *in, uint32_t n, gn_reader *out)
{
    gn_key_range range;
    if (in->failed || n >= GN_WIRE_MAX_RANGES || (size_t)n * RANGE_MIN_BYTES > gn_reader_left(in))
        return false;
    *out = *in;
    for (uint32_t i = 0; i < n; i++)
        if (!gn_wire_range_read(in, &range))
            return false;
    return true;
}

void gn_wire_run_write(gn_buf *out, const gn_key_range *more, uint32_t n_more, gn_bytes fragment)
{
    gn_buf_append_be32(out, n_more);
    for (uint32_t i = 0; i < n_more; i++)
        range_write(out, &more[i]);
    gn_wire_bytes_write(out, fragment);
}

bool gn_wire_run_read(gn_reader *in, gn_wire_run *out)
{
    *out = (gn_wire_run){.n_more = gn_read_be32(in)};
    if (!ranges_read(in, out->n_more, &out->more))
        return false;
    out->fragment = gn_wire_bytes_read(in);
    return !in->failed && gn_reader_left(in) == 0;
}

void gn_wire_vector_run_write(gn_buf *out, const gn_vector_scan_spec *s, gn_bytes fragment)
{
    uint64_t radius;
    memcpy(&radius, &s->radius, sizeof radius);
    gn_buf_append_u8(out, s->has_radius);
    gn_buf_append_be64(out, radius);
    gn_buf_append_u8(out, s->whole);
    gn_buf_append_u8(out, (uint8_t)s->n_bounds);
    for (uint32_t b = 0; b < s->n_bounds; b++) {
        const gn_vector_bound *bound = &s->bounds[b];
        gn_buf_append_be64(out, bound->index ? bound->index->id : 0);
        gn_buf_append_be32(out, bound->n_ranges);
        for (uint32_t i = 0; i < bound->n_ranges; i++)
            range_write(out, &bound->ranges[i]);
    }
    gn_wire_bytes_write(out, fragment);
}

bool gn_wire_vector_run_read(gn_reader *in, gn_wire_vector_run *out)
{
    *out = (gn_wire_vector_run){.has_radius = gn_read_u8(in) != 0};
    uint64_t radius = gn_read_be64(in);
    memcpy(&out->radius, &radius, sizeof radius);
    out->whole = gn_read_u8(in) == 1;
    out->n_bounds = gn_read_u8(in);
    if (in->failed || out->n_bounds > GN_VECTOR_MOST_BOUNDS)
        return false;
    for (uint32_t i = 0; i < out->n_bounds; i++) {
        out->bounds[i].index = gn_read_be64(in);
        out->bounds[i].n_ranges = gn_read_be32(in);
        if (out->bounds[i].n_ranges == 0 || !ranges_read(in, out->bounds[i].n_ranges, &out->bounds[i].ranges))
            return false;
    }
    out->fragment = gn_wire_bytes_read(in);
    return !in->failed && gn_reader_left(in) == 0;
}

void gn_wire_stats_write(gn_buf *out, bool whole, const gn_vector_scan_stats *s)
{
    uint32_t recall;
    memcpy(&recall, &s->recall, sizeof recall);
    gn_buf_append_be64(out, s->distances);
    gn_buf_append_be64(out, s->searches);
    gn_buf_append_be64(out, s->tail_rows);
    gn_buf_append_be32(out, s->segments);
    gn_buf_append_be32(out, s->ef);
    gn_buf_append_be32(out, recall);
    if (!whole)
        return;
    gn_buf_append_u8(out, (uint8_t)s->way);
    gn_buf_append_u8(out, s->all_measured);
    gn_buf_append_be64(out, s->fetched);
    gn_buf_append_be64(out, s->asked);
    gn_buf_append_be64(out, s->passed);
    gn_buf_append_be64(out, s->keys);
    gn_buf_append_u8(out, (uint8_t)s->bitmaps);
    gn_buf_append_be64(out, s->told);
}

bool gn_wire_stats_read(gn_reader *in, bool whole, gn_vector_scan_stats *out)
{
    *out = (gn_vector_scan_stats){.distances = gn_read_be64(in)};
    out->searches = gn_read_be64(in);
    out->tail_rows = gn_read_be64(in);
    out->segments = gn_read_be32(in);
    out->ef = gn_read_be32(in);
    uint32_t recall = gn_read_be32(in);
    memcpy(&out->recall, &recall, sizeof recall);
    if (whole) {
        uint8_t way = gn_read_u8(in);
        out->way = way <= GN_VECTOR_BY_WALK ? (gn_vector_way)way : GN_VECTOR_BY_INDEX;
        out->all_measured = gn_read_u8(in) == 1;
        out->fetched = gn_read_be64(in);
        out->asked = gn_read_be64(in);
        out->passed = gn_read_be64(in);
        out->keys = gn_read_be64(in);
        out->bitmaps = gn_read_u8(in);
        out->told = gn_read_be64(in);
    }
    return !in->failed;
}

/* ---- groups ---- */

void gn_wire_groups_write(gn_buf *out, const uint64_t *groups, uint32_t n)
{
    gn_buf_append_be32(out, n);
    for (uint32_t i = 0; i < n; i++)
        gn_buf_append_be64(out, groups[i]);
}

bool gn_wire_groups_read(gn_reader *in, uint64_t **groups, uint32_t *n)
{
    *groups = NULL;
    *n = gn_read_be32(in);
    if (in->failed || *n > GN_WIRE_MAX_GROUPS || (size_t)*n * 8 > gn_reader_left(in))
        return false;
    *groups = gn_xcalloc(*n + 1, sizeof **groups);
    for (uint32_t i = 0; i < *n; i++)
        (*groups)[i] = gn_read_be64(in);
    return true;
}
