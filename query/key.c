/* Keys. A part is a marker byte and, unless NULL, a payload whose byte order is the type's order:
 *
 *   integers, dates, times   big endian, sign bit flipped
 *   floats                   IEEE bits, sign bit flipped or all flipped when negative; -0 as 0, one NaN
 *   text, bytea              the bytes, 00 as 00 FF, ended by 00 01
 *   uuid                     the 16 bytes
 *   numeric                  see numeric.c
 *   bit strings              their bytes as those of text, then how many bits of the last byte are used
 *   arrays                   each item as a part of its own (NULLs last), 01, then what orders arrays of equal items:
 *                            the number of dimensions, their lengths, their lower bounds; the lengths not of one
 *                            dimension, which the items tell
 *
 * Descending inverts the payload, not the marker: where NULLs go is a matter of its own. No marker is FF, so that a
 * prefix followed by FF is above every key that begins with it. */
#include "base/assert.h"
#include "base/limits.h"
#include "query/array.h"
#include "query/key_private.h"
#include "query/row.h"
#include "query/value_private.h"
#include "query/vector.h"

#include <math.h>

enum { MARK_ITEMS_END = 0x01, MARK_NULL_FIRST = 0x05, MARK_VALUE = 0x10, MARK_NULL_LAST = 0xf0 };

/* ---- writing payloads ---- */

static bool put_u64(gn_buf *out, uint64_t v, size_t bytes)
{
    uint8_t be[8];
    for (size_t i = 0; i < bytes; i++)
        be[i] = (uint8_t)(v >> 8 * (bytes - 1 - i));
    return gn_buf_append(out, be, bytes);
}

static bool put_i64(gn_buf *out, int64_t v, size_t bytes)
{
    return put_u64(out, (uint64_t)v ^ (uint64_t)1 << (8 * bytes - 1), bytes);
}

static bool put_f64(gn_buf *out, double v)
{
    uint64_t bits;
    v = isnan(v) ? NAN : v == 0 ? 0 : v;
    memcpy(&bits, &v, 8);
    return put_u64(out, bits >> 63 ? ~bits : bits | (uint64_t)1 << 63, 8);
}

static bool put_f32(gn_buf *out, float v)
{
    uint32_t bits;
    v = isnan(v) ? NAN : v == 0 ? 0 : v;
    memcpy(&bits, &v, 4);
    return put_u64(out, bits >> 31 ? ~bits : bits | 1u << 31, 4);
}

static bool put_escaped(gn_buf *out, gn_bytes b)
{
    const uint8_t *p = b.data, *end = b.data + b.len;
    while (p < end) {
        const uint8_t *zero = memchr(p, 0, (size_t)(end - p));
        gn_buf_append(out, p, (size_t)((zero ? zero : end) - p));
        if (!zero)
            break;
        gn_buf_append(out, "\x00\xff", 2);
        p = zero + 1;
    }
    return gn_buf_append(out, "\x00\x01", 2);
}

static gn_code no_order(gn_type type, gn_error *err)
{
    char name[64];
    return gn_error_set(err, GN_WRONG_OBJECT_TYPE, "type %s cannot be part of a key",
                        gn_type_format(type, name, sizeof(name)));
}

static gn_code put_bytes(gn_buf *out, const gn_value *v, gn_error *err)
{
    switch (v->type.id) {
    case GN_T_TEXT:
    case GN_T_VARCHAR:
    case GN_T_BYTEA:
    case GN_T_UNKNOWN:
        put_escaped(out, v->as.bytes);
        return GN_OK;
    case GN_T_UUID:
        gn_buf_append_bytes(out, v->as.bytes);
        return GN_OK;
    case GN_T_NUMERIC:
        gn_numeric_key_put(out, v->as.bytes);
        return GN_OK;
    case GN_T_BIT:
    case GN_T_VARBIT:
        put_escaped(out, gn_bits_of(v->as.bytes).bytes);
        gn_buf_append_u8(out, (uint8_t)(8 - v->as.bytes.data[0]));
        return GN_OK;
    default:
        return no_order(v->type, err);
    }
}

static gn_code put_array(gn_buf *out, const gn_value *v, gn_error *err);

static gn_code put_payload(gn_buf *out, const gn_value *v, gn_error *err)
{
    switch (gn_type_physical(v->type)) {
    case GN_P_BOOL:
        gn_buf_append_u8(out, v->as.boolean);
        return GN_OK;
    case GN_P_I16:
        put_i64(out, v->as.i16, 2);
        return GN_OK;
    case GN_P_I32:
        put_i64(out, v->as.i32, 4);
        return GN_OK;
    case GN_P_I64:
        put_i64(out, v->as.i64, 8);
        return GN_OK;
    case GN_P_F32:
        put_f32(out, v->as.f32);
        return GN_OK;
    case GN_P_F64:
        put_f64(out, v->as.f64);
        return GN_OK;
    case GN_P_BYTES:
        return v->type.is_array ? put_array(out, v, err) : put_bytes(out, v, err);
    }
    return no_order(v->type, err);
}

/* What is longer than a key is not written to its end: gn_key_append refuses it. */
static gn_code put_array(gn_buf *out, const gn_value *v, gn_error *err)
{
    gn_array_iter it = gn_array_open(v);
    size_t start = out->len;
    gn_code code = GN_OK;
    for (gn_value item; code == GN_OK && out->len - start <= GN_MAX_KEY && gn_array_next(&it, &item);) {
        gn_buf_append_u8(out, item.is_null ? MARK_NULL_LAST : MARK_VALUE);
        if (!item.is_null)
            code = put_payload(out, &item, err);
    }
    gn_buf_append_u8(out, MARK_ITEMS_END);
    gn_buf_append_u8(out, (uint8_t)it.n_dimensions);
    for (uint32_t d = 0; d < it.n_dimensions && it.n_dimensions > 1; d++)
        put_i64(out, it.lengths[d], 4);
    for (uint32_t d = 0; d < it.n_dimensions; d++)
        put_i64(out, it.lower_bounds[d], 4);
    return code;
}

gn_code gn_key_append(gn_buf *out, const gn_value *value, bool descending, bool nulls_first, gn_error *err)
{
    size_t start = out->len;
    gn_code code = GN_OK;
    if (value->is_null) {
        gn_buf_append_u8(out, nulls_first ? MARK_NULL_FIRST : MARK_NULL_LAST);
    } else {
        if (gn_type_physical(value->type) == GN_P_BYTES && value->as.bytes.len > GN_MAX_KEY)
            return gn_error_set(err, GN_LIMIT, "a key part of %zu bytes exceeds the maximum of %d bytes",
                                value->as.bytes.len, GN_MAX_KEY);
        gn_buf_append_u8(out, MARK_VALUE);
        code = put_payload(out, value, err);
    }
    if (code == GN_OK && out->failed)
        code = gn_error_oom(err, out->account);
    if (code == GN_OK && out->len - start > GN_MAX_KEY)
        code = gn_error_set(err, GN_LIMIT, "a key part of %zu bytes exceeds the maximum of %d bytes", out->len - start,
                            GN_MAX_KEY);
    if (code != GN_OK) {
        out->len = out->len < start ? out->len : start;
        return code;
    }
    if (descending && !value->is_null)
        for (size_t i = start + 1; i < out->len; i++)
            out->data[i] = (uint8_t)~out->data[i];
    return GN_OK;
}

/* ---- reading payloads ---- */

uint64_t gn_key_get_u64(gn_key_reader *r, size_t bytes)
{
    if ((size_t)(r->end - r->p) < bytes) {
        r->failed = true;
        return 0;
    }
    uint64_t v = 0;
    while (bytes--)
        v = v << 8 | (uint8_t)(*r->p++ ^ r->flip);
    return v;
}

static int64_t get_i64(gn_key_reader *r, size_t bytes)
{
    uint64_t v = gn_key_get_u64(r, bytes) ^ (uint64_t)1 << (8 * bytes - 1);
    unsigned unused = 64 - 8 * (unsigned)bytes;
    return (int64_t)(v << unused) >> unused;
}

static double get_f64(gn_key_reader *r)
{
    uint64_t bits = gn_key_get_u64(r, 8);
    bits = bits >> 63 ? bits & ~((uint64_t)1 << 63) : ~bits;
    double v;
    memcpy(&v, &bits, 8);
    return v;
}

static float get_f32(gn_key_reader *r)
{
    uint32_t bits = (uint32_t)gn_key_get_u64(r, 4);
    bits = bits >> 31 ? bits & ~(1u << 31) : ~bits;
    float v;
    memcpy(&v, &bits, 4);
    return v;
}

/* Walks over an escaped run; to: NULL, or room for it. Returns its length without escapes. */
static size_t get_escaped(gn_key_reader *r, uint8_t *to)
{
    size_t n = 0;
    while (r->end - r->p >= 2) {
        uint8_t c = *r->p++ ^ r->flip;
        if (c == 0) {
            uint8_t next = *r->p++ ^ r->flip;
            if (next == 0x01)
                return n;
            if (next != 0xff)
                break;
        }
        if (to)
            to[n] = c;
        n++;
    }
    r->failed = true;
    return 0;
}

static gn_code get_text(gn_key_reader *r, gn_arena *arena, gn_value *out, gn_error *err)
{
    gn_key_reader ahead = *r;
    size_t len = get_escaped(&ahead, NULL);
    if (ahead.failed) {
        r->failed = true;
        return GN_OK;
    }
    uint8_t *to = gn_arena_alloc(arena, len);
    if (!to)
        return gn_error_oom(err, gn_arena_account(arena));
    out->as.bytes = gn_bytes_of(to, get_escaped(r, to));
    return GN_OK;
}

static gn_code get_bits(gn_key_reader *r, gn_arena *arena, gn_value *out, gn_error *err)
{
    gn_key_reader ahead = *r;
    size_t len = get_escaped(&ahead, NULL);
    uint64_t used = gn_key_get_u64(&ahead, 1);
    if (ahead.failed || used < 1 || used > 8) {
        r->failed = true;
        return GN_OK;
    }
    uint8_t *to = gn_arena_alloc(arena, len + 1);
    if (!to)
        return gn_error_oom(err, gn_arena_account(arena));
    get_escaped(r, to + 1);
    to[0] = (uint8_t)(8 - gn_key_get_u64(r, 1));
    out->as.bytes = gn_bytes_of(to, len + 1);
    r->failed = !gn_bits_is_valid(out->as.bytes);
    return GN_OK;
}

static gn_code get_uuid(gn_key_reader *r, gn_arena *arena, gn_value *out, gn_error *err)
{
    uint8_t *to = gn_arena_alloc(arena, 16);
    if (!to)
        return gn_error_oom(err, gn_arena_account(arena));
    for (int i = 0; i < 16; i++)
        to[i] = (uint8_t)gn_key_get_u64(r, 1);
    out->as.bytes = gn_bytes_of(to, 16);
    return GN_OK;
}

static gn_code get_array(gn_key_reader *r, gn_type type, gn_arena *arena, gn_value *out, gn_error *err);

static gn_code get_payload(gn_key_reader *r, gn_type type, gn_arena *arena, gn_value *out, gn_error *err)
{
    *out = (gn_value){.type = type};
    switch (gn_type_physical(type)) {
    case GN_P_BOOL:
        out->as.boolean = gn_key_get_u64(r, 1) != 0;
        return GN_OK;
    case GN_P_I16:
        out->as.i16 = (int16_t)get_i64(r, 2);
        return GN_OK;
    case GN_P_I32:
        out->as.i32 = (int32_t)get_i64(r, 4);
        return GN_OK;
    case GN_P_I64:
        out->as.i64 = get_i64(r, 8);
        return GN_OK;
    case GN_P_F32:
        out->as.f32 = get_f32(r);
        return GN_OK;
    case GN_P_F64:
        out->as.f64 = get_f64(r);
        return GN_OK;
    case GN_P_BYTES:
        break;
    }
    if (type.is_array)
        return get_array(r, type, arena, out, err);
    switch (type.id) {
    case GN_T_TEXT:
    case GN_T_VARCHAR:
    case GN_T_BYTEA:
    case GN_T_UNKNOWN:
        return get_text(r, arena, out, err);
    case GN_T_UUID:
        return get_uuid(r, arena, out, err);
    case GN_T_NUMERIC:
        return gn_numeric_key_get(r, arena, &out->as.bytes, err);
    case GN_T_BIT:
    case GN_T_VARBIT:
        return get_bits(r, arena, out, err);
    default:
        return no_order(type, err);
    }
}

/* The shape behind the items; false: it does not fit them. */
static bool get_shape(gn_key_reader *r, gn_array_builder *b)
{
    uint64_t n_dimensions = gn_key_get_u64(r, 1), product = 1;
    if (r->failed || n_dimensions > GN_ARRAY_DIMENSIONS || (n_dimensions == 0) != (b->n_items == 0))
        return false;
    b->n_dimensions = (uint32_t)n_dimensions;
    for (uint32_t d = 0; d < n_dimensions; d++) {
        int64_t length = n_dimensions > 1 ? get_i64(r, 4) : (int64_t)b->n_items;
        if (r->failed || length < 1 || (uint64_t)length > b->n_items)
            return false;
        b->lengths[d] = (int32_t)length;
        product *= (uint64_t)length;
        if (product > b->n_items)
            return false;
    }
    for (uint32_t d = 0; d < n_dimensions; d++)
        b->lower_bounds[d] = (int32_t)get_i64(r, 4);
    return !r->failed && (n_dimensions == 0 || product == b->n_items);
}

static gn_code get_array(gn_key_reader *r, gn_type type, gn_arena *arena, gn_value *out, gn_error *err)
{
    gn_array_builder b;
    gn_code code = GN_OK;
    gn_array_begin(&b, gn_type_of((gn_type_id)type.id), arena);
    while (code == GN_OK && !r->failed) {
        gn_value item = gn_value_null(b.element);
        uint64_t mark = gn_key_get_u64(r, 1);
        if (mark == MARK_ITEMS_END)
            break;
        if (mark == MARK_VALUE)
            code = get_payload(r, b.element, arena, &item, err);
        else if (mark != MARK_NULL_LAST)
            r->failed = true;
        if (code == GN_OK && !r->failed)
            code = gn_array_add(&b, &item, err);
    }
    if (code != GN_OK || r->failed)
        return code;
    if (!get_shape(r, &b)) {
        r->failed = true;
        return GN_OK;
    }
    code = gn_array_end(&b, out, err);
    out->type = type;
    return code;
}

static gn_code corrupt_key(gn_error *err)
{
    return gn_error_set(err, GN_CORRUPT, "a key cannot be read");
}

gn_code gn_key_read(gn_bytes *key, gn_type type, bool descending, bool nulls_first, gn_arena *arena, gn_value *out,
                    gn_error *err)
{
    if (key->len == 0)
        return corrupt_key(err);
    gn_key_reader r = {.p = key->data + 1, .end = key->data + key->len, .flip = descending ? 0xff : 0};
    gn_value v = gn_value_null(type);
    uint8_t mark = key->data[0];
    if (mark == MARK_VALUE) {
        gn_code code = get_payload(&r, type, arena, &v, err);
        if (code != GN_OK)
            return code;
    } else if (mark != (nulls_first ? MARK_NULL_FIRST : MARK_NULL_LAST)) {
        return corrupt_key(err);
    }
    if (r.failed)
        return corrupt_key(err);
    *key = gn_bytes_of(r.p, (size_t)(r.end - r.p));
    *out = v;
    return GN_OK;
}

static gn_code skip_array(gn_key_reader *r, gn_type type, gn_error *err);

static gn_code skip_payload(gn_key_reader *r, gn_type type, gn_error *err)
{
    static const size_t sizes[] = {
        [GN_P_BOOL] = 1, [GN_P_I16] = 2, [GN_P_I32] = 4, [GN_P_I64] = 8, [GN_P_F32] = 4, [GN_P_F64] = 8};
    gn_physical physical = gn_type_physical(type);
    if (type.is_array)
        return skip_array(r, type, err);
    size_t size = physical != GN_P_BYTES ? sizes[physical] : gn_type_is(type, GN_T_UUID) ? 16 : 0;
    if (size) {
        r->failed |= (size_t)(r->end - r->p) < size;
        r->p += r->failed ? 0 : size;
        return GN_OK;
    }
    switch (type.id) {
    case GN_T_TEXT:
    case GN_T_VARCHAR:
    case GN_T_BYTEA:
    case GN_T_UNKNOWN:
        get_escaped(r, NULL);
        return GN_OK;
    case GN_T_BIT:
    case GN_T_VARBIT:
        get_escaped(r, NULL);
        gn_key_get_u64(r, 1);
        return GN_OK;
    case GN_T_NUMERIC: {
        gn_bytes ignored;
        return gn_numeric_key_get(r, NULL, &ignored, err); /* without an arena: only walks */
    }
    default:
        return no_order(type, err);
    }
}

static gn_code skip_array(gn_key_reader *r, gn_type type, gn_error *err)
{
    gn_code code = GN_OK;
    while (code == GN_OK && !r->failed) {
        uint64_t mark = gn_key_get_u64(r, 1);
        if (mark == MARK_ITEMS_END)
            break;
        if (mark == MARK_VALUE)
            code = skip_payload(r, gn_type_of((gn_type_id)type.id), err);
        else if (mark != MARK_NULL_LAST)
            r->failed = true;
    }
    uint64_t n = gn_key_get_u64(r, 1), size = n > 1 ? 8 * n : 4 * n;
    if (r->failed || size > (uint64_t)(r->end - r->p))
        r->failed = true;
    else
        r->p += size;
    return code;
}

gn_code gn_key_skip(gn_bytes *key, gn_type type, bool descending, gn_error *err)
{
    if (key->len == 0)
        return corrupt_key(err);
    gn_key_reader r = {.p = key->data + 1, .end = key->data + key->len, .flip = descending ? 0xff : 0};
    uint8_t mark = key->data[0];
    if (mark == MARK_VALUE) {
        gn_code code = skip_payload(&r, type, err);
        if (code != GN_OK)
            return code;
    } else if (mark != MARK_NULL_FIRST && mark != MARK_NULL_LAST) {
        return corrupt_key(err);
    }
    if (r.failed)
        return corrupt_key(err);
    *key = gn_bytes_of(r.p, (size_t)(r.end - r.p));
    return GN_OK;
}

/* ---- of rows ---- */

static gn_code check_length(size_t len, gn_error *err)
{
    if (len <= GN_MAX_KEY)
        return GN_OK;
    return gn_error_set(err, GN_LIMIT, "a key of %zu bytes exceeds the maximum of %d bytes", len, GN_MAX_KEY);
}

gn_code gn_key_of_row(const gn_table_desc *desc, const gn_value *values, gn_buf *out, gn_error *err)
{
    size_t start = out->len;
    for (uint32_t i = 0; i < desc->n_key; i++) {
        int ordinal = gn_table_column_by_id(desc, desc->key[i]);
        GN_ASSERT(ordinal >= 0);
        gn_code code = gn_key_append(out, &values[ordinal], false, false, err);
        if (code != GN_OK)
            return code;
    }
    return check_length(out->len - start, err);
}

bool gn_index_takes(const gn_table_desc *desc, const gn_index_desc *index, const gn_value *values)
{
    if (!index->predicate)
        return true;
    int ordinal = gn_table_column_by_id(desc, index->predicate);
    GN_ASSERT(ordinal >= 0);
    return !values[ordinal].is_null && values[ordinal].as.boolean;
}

gn_code gn_key_of_index(const gn_table_desc *desc, const gn_index_desc *index, const gn_value *values, gn_buf *out,
                        bool *has_null, gn_error *err)
{
    size_t start = out->len;
    *has_null = false;
    for (uint32_t i = 0; i < index->n_columns; i++) {
        int ordinal = gn_table_column_by_id(desc, index->columns[i]);
        GN_ASSERT(ordinal >= 0);
        *has_null |= values[ordinal].is_null;
        gn_code code = gn_key_append(out, &values[ordinal], index->descending[i], index->nulls_first[i], err);
        if (code != GN_OK)
            return code;
    }
    return check_length(out->len - start, err);
}
