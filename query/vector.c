#include "query/vector.h"

#include "query/value_private.h"

#include <math.h>

static gn_code check_finite(float v, gn_error *err)
{
    if (isnan(v))
        return gn_error_set(err, GN_BAD_VECTOR, "NaN not allowed in vector");
    if (isinf(v))
        return gn_error_set(err, GN_BAD_VECTOR, "infinite value not allowed in vector");
    return GN_OK;
}

static gn_code check_dimensions(size_t n, gn_type type, gn_error *err)
{
    if (n < 1)
        return gn_error_set(err, GN_BAD_VECTOR, "vector must have at least 1 dimension");
    if (n > GN_MAX_DIMENSIONS)
        return gn_error_set(err, GN_LIMIT, "vector cannot have more than %d dimensions", GN_MAX_DIMENSIONS);
    if (type.typmod >= 0 && n != (size_t)type.typmod)
        return gn_error_set(err, GN_BAD_VECTOR, "expected %d dimensions, not %zu", type.typmod, n);
    return GN_OK;
}

gn_code gn_vector_make(gn_bytes floats, gn_type type, gn_value *out, gn_error *err)
{
    GN_ASSERT(floats.len % sizeof(float) == 0);
    gn_code code = check_dimensions(floats.len / sizeof(float), type, err);
    for (uint32_t i = 0; code == GN_OK && i < gn_vector_dimensions(floats); i++)
        code = check_finite(gn_vector_get(floats, i), err);
    if (code == GN_OK)
        *out = (gn_value){.type = type, .as.bytes = floats};
    return code;
}

gn_code gn_vector_check_same(gn_bytes a, gn_bytes b, gn_error *err)
{
    if (a.len == b.len)
        return GN_OK;
    return gn_error_set(err, GN_BAD_VECTOR, "different vector dimensions %u and %u", gn_vector_dimensions(a),
                        gn_vector_dimensions(b));
}

static const uint8_t *skip_space(const uint8_t *p, const uint8_t *end)
{
    while (p < end && gn_is_space(*p))
        p++;
    return p;
}

static gn_code bad_vector(gn_bytes text, gn_type type, const char *detail, gn_error *err)
{
    gn_code code = gn_bad_text(text, type, err);
    if (detail && code == GN_BAD_TEXT)
        gn_error_detail(err, "%s", detail);
    return code;
}

/* One number at *p, advanced behind it. */
static gn_code scan_element(gn_bytes text, const uint8_t **p, const uint8_t *end, gn_type type, float *out,
                            gn_error *err)
{
    const uint8_t *from = *p;
    switch (gn_scan_f32(p, end, out)) {
    case GN_SCAN_SYNTAX:
        return bad_vector(text, type, NULL, err);
    case GN_SCAN_RANGE:
        if (*out == 0)
            return GN_OK; /* too small for a float is 0 */
        return gn_error_set(err, GN_NUMERIC_RANGE, "\"%.*s\" is out of range for type vector",
                            gn_quotable(gn_bytes_of(from, (size_t)(*p - from))), (const char *)from);
    case GN_SCAN_OK:
        break;
    }
    return check_finite(*out, err);
}

static gn_code vector_parse(gn_bytes text, gn_type type, const gn_format *format, gn_arena *arena, gn_value *out,
                            gn_error *err)
{
    (void)format;
    const uint8_t *end = text.data + text.len, *p = skip_space(text.data, end);
    if (p == end || *p != '[')
        return bad_vector(text, type, "Vector contents must start with \"[\".", err);
    p = skip_space(p + 1, end);
    if (p < end && *p == ']')
        return gn_error_set(err, GN_BAD_VECTOR, "vector must have at least 1 dimension");
    /* as many as there can be: a number and its comma are two bytes at least */
    size_t room = type.typmod > 0 ? (size_t)type.typmod : (size_t)(end - p) / 2 + 1, n = 0;
    if (room > GN_MAX_DIMENSIONS)
        room = GN_MAX_DIMENSIONS;
    float *floats = gn_arena_alloc(arena, room * sizeof(float));
    if (!floats)
        return gn_error_oom(err, gn_arena_account(arena));
    for (;;) {
        if (n == GN_MAX_DIMENSIONS)
            return check_dimensions(n + 1, type, err);
        float v = 0;
        p = skip_space(p, end);
        gn_code code = scan_element(text, &p, end, type, &v, err);
        if (code != GN_OK)
            return code;
        if (n < room)
            floats[n] = v;
        n++;
        p = skip_space(p, end);
        if (p < end && *p == ',')
            p++;
        else if (p < end && *p == ']')
            break;
        else
            return bad_vector(text, type, NULL, err);
    }
    if (skip_space(p + 1, end) != end)
        return bad_vector(text, type, "Junk after closing right brace.", err);
    gn_code code = check_dimensions(n, type, err);
    if (code == GN_OK)
        *out = (gn_value){.type = type, .as.bytes = gn_bytes_of(floats, n * sizeof(float))};
    return code;
}

static bool vector_print(const gn_value *v, const gn_format *format, gn_buf *out)
{
    (void)format; /* always exact, whatever extra_float_digits says: as pgvector */
    uint32_t n = gn_vector_dimensions(v->as.bytes);
    char text[GN_FLOAT_TEXT + 1];
    gn_buf_append_u8(out, '[');
    for (uint32_t i = 0; i < n; i++) {
        size_t len = gn_print_f32(gn_vector_get(v->as.bytes, i), 1, text);
        text[len] = i + 1 < n ? ',' : ']';
        gn_buf_append(out, text, len + 1);
    }
    return !out->failed;
}

static gn_code vector_recv(gn_bytes wire, gn_type type, gn_arena *arena, gn_value *out, gn_error *err)
{
    gn_reader r = gn_reader_of(wire);
    int16_t n = (int16_t)gn_read_be16(&r), unused = (int16_t)gn_read_be16(&r);
    if (r.failed)
        return gn_bad_wire(type, err);
    gn_code code = check_dimensions(n < 0 ? 0 : (size_t)n, type, err);
    if (code != GN_OK)
        return code;
    if (unused != 0)
        return gn_error_set(err, GN_BAD_VECTOR, "expected unused to be 0, not %d", unused);
    if (gn_reader_left(&r) != (size_t)n * 4)
        return gn_bad_wire(type, err);
    uint32_t *bits = gn_arena_alloc(arena, (size_t)n * 4);
    if (!bits)
        return gn_error_oom(err, gn_arena_account(arena));
    for (int i = 0; i < n; i++)
        bits[i] = gn_read_be32(&r);
    return gn_vector_make(gn_bytes_of(bits, (size_t)n * 4), type, out, err);
}

static bool vector_send(const gn_value *v, gn_buf *out)
{
    uint32_t n = gn_vector_dimensions(v->as.bytes);
    gn_buf_reserve(out, 4 + (size_t)n * 4);
    gn_buf_append_be16(out, (uint16_t)n);
    gn_buf_append_be16(out, 0);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, v->as.bytes.data + (size_t)i * 4, 4);
        gn_buf_append_be32(out, bits);
    }
    return !out->failed;
}

static int vector_compare(const gn_value *a, const gn_value *b)
{
    uint32_t na = gn_vector_dimensions(a->as.bytes), nb = gn_vector_dimensions(b->as.bytes);
    for (uint32_t i = 0; i < na && i < nb; i++) {
        float x = gn_vector_get(a->as.bytes, i), y = gn_vector_get(b->as.bytes, i);
        if (x != y)
            return x < y ? -1 : 1;
    }
    return (na > nb) - (na < nb);
}

/* -0 equals 0, so the bytes alone will not do. */
static uint64_t vector_hash(const gn_value *v)
{
    uint64_t h = v->as.bytes.len;
    for (uint32_t i = 0; i < gn_vector_dimensions(v->as.bytes); i++) {
        float x = gn_vector_get(v->as.bytes, i) + 0.0f; /* -0 + 0 = 0 */
        uint32_t bits;
        memcpy(&bits, &x, 4);
        h = (h ^ bits) * 0x9e3779b97f4a7c15u;
        h ^= h >> 32;
    }
    return h;
}

const gn_type_ops gn_vector_ops = {vector_parse, vector_print, vector_recv, vector_send, vector_compare, vector_hash};
