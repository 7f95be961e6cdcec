/* A row in storage:
 *
 *   version (1)   next_column_id (varint)   { tag  payload }*
 *
 * one tag for each column that is not NULL, in ascending order of column id. The tag's low three bits tell the
 * payload's length, the others how far the id is from the one before, less one (31: that number follows as a varint).
 * Integers are stored in the fewest of 0, 1, 2, 4, 8 bytes that give them back by sign extension.
 *
 * next_column_id is the table's when the row was written: an absent column below it is NULL, one at or above it was
 * added later and has its missing value. All numbers are little endian. */
#include "query/row.h"

#include "base/assert.h"
#include "base/limits.h"
#include "base/versions.h"
#include "query/computed.h"

enum { ROW_VERSION = GN_FORMAT_ROW, DELTA_FOLLOWS = 31 };
enum payload_kind { K_ZERO, K_1, K_2, K_4, K_8, K_VARIABLE };

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "rows and vectors are copied as they lie in memory");

/* ---- writing ---- */

static uint8_t *put_varint(uint8_t *p, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        *p++ = (uint8_t)v | 0x80;
    *p++ = (uint8_t)v;
    return p;
}

static uint8_t *put_tag(uint8_t *p, uint32_t delta, enum payload_kind kind)
{
    if (delta - 1 < DELTA_FOLLOWS) {
        *p++ = (uint8_t)((delta - 1) << 3 | kind);
        return p;
    }
    *p++ = (uint8_t)(DELTA_FOLLOWS << 3 | kind);
    return put_varint(p, delta - 1);
}

static uint8_t *put_int(uint8_t *p, uint32_t delta, int64_t v)
{
    enum payload_kind kind = v == 0                             ? K_ZERO
                             : v == (int8_t)v                   ? K_1
                             : v == (int16_t)v                  ? K_2
                             : v >= INT32_MIN && v <= INT32_MAX ? K_4
                                                                : K_8;
    p = put_tag(p, delta, kind);
    static const size_t sizes[] = {0, 1, 2, 4, 8};
    memcpy(p, &v, sizes[kind]);
    return p + sizes[kind];
}

static uint8_t *put_value(uint8_t *p, uint32_t delta, const gn_value *v)
{
    switch (gn_type_physical(v->type)) {
    case GN_P_BOOL:
        return put_int(p, delta, v->as.boolean);
    case GN_P_I16:
        return put_int(p, delta, v->as.i16);
    case GN_P_I32:
        return put_int(p, delta, v->as.i32);
    case GN_P_I64:
        return put_int(p, delta, v->as.i64);
    case GN_P_F32:
        p = put_tag(p, delta, K_4);
        memcpy(p, &v->as.f32, 4);
        return p + 4;
    case GN_P_F64:
        p = put_tag(p, delta, K_8);
        memcpy(p, &v->as.f64, 8);
        return p + 8;
    case GN_P_BYTES:
        p = put_tag(p, delta, K_VARIABLE);
        p = put_varint(p, v->as.bytes.len);
        if (v->as.bytes.len)
            memcpy(p, v->as.bytes.data, v->as.bytes.len);
        return p + v->as.bytes.len;
    }
    GN_ASSERT(!"physical kind");
    return p;
}

gn_code gn_row_encode(const gn_table_desc *desc, const gn_value *values, gn_buf *out, gn_error *err)
{
    enum { MOST_OVERHEAD = 1 + 5 + 10 }; /* tag, delta, length or number */
    size_t most = 1 + 5;
    for (uint32_t i = 0; i < desc->n_columns; i++) {
        most += MOST_OVERHEAD;
        if (!gn_column_is_shown(&desc->columns[i]) || values[i].is_null ||
            gn_type_physical(values[i].type) != GN_P_BYTES)
            continue;
        if (values[i].as.bytes.len > GN_MAX_FIELD)
            return gn_error_set(err, GN_LIMIT, "value of column \"%s\" has %zu bytes; the maximum is %d",
                                desc->columns[i].name, values[i].as.bytes.len, GN_MAX_FIELD);
        most += values[i].as.bytes.len;
    }
    if (most > (size_t)GN_MAX_ROW + MOST_OVERHEAD * GN_MAX_COLUMNS)
        return gn_error_set(err, GN_LIMIT, "row is too big: %zu bytes, the maximum is %d", most, GN_MAX_ROW);
    if (!gn_buf_reserve(out, most))
        return gn_error_oom(err, out->account);
    uint8_t *start = out->data + out->len, *p = start;
    *p++ = ROW_VERSION;
    p = put_varint(p, desc->next_column_id);
    int64_t last_id = -1;
    for (uint32_t i = 0; i < desc->n_columns; i++) {
        const gn_column_desc *c = &desc->columns[i];
        if (!gn_column_is_shown(c) || values[i].is_null)
            continue;
        GN_ASSERT(gn_type_physical(values[i].type) == gn_type_physical(c->type) && c->id > last_id);
        p = put_value(p, (uint32_t)(c->id - last_id), &values[i]);
        last_id = c->id;
    }
    if ((size_t)(p - start) > GN_MAX_ROW)
        return gn_error_set(err, GN_LIMIT, "row is too big: %zu bytes, the maximum is %d", (size_t)(p - start),
                            GN_MAX_ROW);
    out->len += (size_t)(p - start);
    return GN_OK;
}

/* ---- reading ---- */

typedef struct row_reader {
    const uint8_t *p, *end;
    bool failed;
    int64_t id; /* of the current column; past the end: INT64_MAX */
    enum payload_kind kind;
    gn_bytes payload;
} row_reader;

static uint64_t get_varint(row_reader *r)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64 && r->p < r->end; shift += 7) {
        uint8_t byte = *r->p++;
        v |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return v;
    }
    r->failed = true;
    return 0;
}

/* Goes to the next column that is there. */
static void advance(row_reader *r)
{
    if (r->failed || r->p == r->end) {
        r->id = INT64_MAX;
        return;
    }
    static const uint8_t sizes[] = {[K_ZERO] = 0, [K_1] = 1, [K_2] = 2, [K_4] = 4, [K_8] = 8};
    uint8_t tag = *r->p++;
    uint64_t delta = tag >> 3;
    if (delta == DELTA_FOLLOWS)
        delta = get_varint(r);
    r->kind = (enum payload_kind)(tag & 7);
    uint64_t len = r->kind < K_VARIABLE ? sizes[r->kind] : r->kind == K_VARIABLE ? get_varint(r) : UINT64_MAX;
    if (r->failed || len > (uint64_t)(r->end - r->p) || delta > UINT32_MAX) {
        r->failed = true;
        r->id = INT64_MAX;
        return;
    }
    r->id += (int64_t)delta + 1;
    r->payload = gn_bytes_of(r->p, (size_t)len);
    r->p += len;
}

static int64_t payload_int(const row_reader *r)
{
    int64_t v = 0;
    memcpy(&v, r->payload.data, r->payload.len);
    unsigned unused = 64 - 8 * (unsigned)r->payload.len;
    return unused == 64 ? 0 : (int64_t)((uint64_t)v << unused) >> unused;
}

static bool take_payload(const row_reader *r, gn_type type, gn_value *out)
{
    *out = (gn_value){.type = type};
    gn_physical physical = gn_type_physical(type);
    if (physical == GN_P_BYTES) {
        out->as.bytes = r->payload;
        return r->kind == K_VARIABLE && gn_value_bytes_sound(type, r->payload);
    }
    if (r->kind == K_VARIABLE)
        return false;
    int64_t v = payload_int(r);
    switch (physical) {
    case GN_P_BOOL:
        out->as.boolean = v != 0;
        return v == 0 || v == 1;
    case GN_P_I16:
        out->as.i16 = (int16_t)v;
        return v == out->as.i16;
    case GN_P_I32:
        out->as.i32 = (int32_t)v;
        return v == out->as.i32;
    case GN_P_I64:
        out->as.i64 = v;
        return true;
    case GN_P_F32:
        memcpy(&out->as.f32, &v, 4);
        return r->kind == K_4;
    case GN_P_F64:
        memcpy(&out->as.f64, &v, 8);
        return r->kind == K_8;
    case GN_P_BYTES:
        break;
    }
    return false;
}

static gn_code missing_value(const gn_column_desc *c, gn_arena *arena, gn_value *out, gn_error *err)
{
    if (!c->missing_text) {
        *out = gn_value_null(c->type);
        return GN_OK;
    }
    const gn_format format = {.extra_float_digits = 1};
    return gn_value_parse(gn_bytes_str(c->missing_text), c->type, &format, arena, out, err);
}

static gn_code corrupt_row(const gn_table_desc *desc, gn_error *err)
{
    return gn_error_set(err, GN_CORRUPT, "a row of table \"%s\" cannot be read", desc->name);
}

static gn_code computed_value(const gn_table_desc *desc, gn_bytes row, uint32_t ordinal, gn_arena *arena, gn_value *out,
                              gn_error *err)
{
    const gn_computed *c = desc->columns[ordinal].computed;
    gn_value *dense = gn_arena_alloc(arena, (c->n_inputs + 1) * sizeof *dense);
    gn_value *values = gn_arena_alloc(arena, (c->n_values + 1) * sizeof *values);
    if (!dense || !values)
        return gn_error_oom(err, gn_arena_account(arena));
    gn_code code = gn_row_decode(desc, row, c->inputs, c->n_inputs, dense, arena, err);
    if (code != GN_OK)
        return code;
    for (uint32_t i = 0; i < c->n_inputs; i++)
        values[c->inputs[i]] = dense[i];
    gn_error failure = {0};
    code = gn_computed_value(c, values, arena, out, &failure);
    if (code == GN_OUT_OF_MEMORY) {
        if (err)
            *err = failure;
        return code;
    }
    if (code != GN_OK)
        *out = gn_value_null(desc->columns[ordinal].type);
    return GN_OK;
}

gn_code gn_row_decode(const gn_table_desc *desc, gn_bytes row, const uint32_t *ordinals, uint32_t n, gn_value *values,
                      gn_arena *arena, gn_error *err)
{
    row_reader r = {.p = row.data, .end = row.data + row.len, .id = -1};
    if (row.len == 0 || *r.p++ != ROW_VERSION)
        return corrupt_row(desc, err);
    uint64_t next_id = get_varint(&r);
    advance(&r);
    for (uint32_t i = 0; i < n; i++) {
        GN_ASSERT(ordinals[i] < desc->n_columns && (i == 0 || ordinals[i] > ordinals[i - 1]));
        const gn_column_desc *c = &desc->columns[ordinals[i]];
        if (c->computed) {
            gn_code code = computed_value(desc, row, ordinals[i], arena, &values[i], err);
            if (code != GN_OK)
                return code;
            continue;
        }
        while (r.id < (int64_t)c->id)
            advance(&r);
        if (r.failed)
            return corrupt_row(desc, err);
        if (r.id == (int64_t)c->id) {
            if (!take_payload(&r, c->type, &values[i]))
                return corrupt_row(desc, err);
        } else if (c->id >= next_id) {
            gn_code code = missing_value(c, arena, &values[i], err);
            if (code != GN_OK)
                return code;
        } else {
            values[i] = gn_value_null(c->type);
        }
    }
    return GN_OK;
}
