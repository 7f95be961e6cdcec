/* vector and halfvec: text and binary forms, order. */
#include "query/vector.h"

#include "query/value_private.h"

#include <math.h>

bool gn_is_vector_type(gn_type t)
{
    return !t.is_array && (t.id == GN_T_VECTOR || t.id == GN_T_HALFVEC || t.id == GN_T_SPARSEVEC);
}

static const char *name_of(gn_type type)
{
    return type.id == GN_T_HALFVEC ? "halfvec" : type.id == GN_T_SPARSEVEC ? "sparsevec" : "vector";
}

gn_code gn_vector_check_finite(float v, gn_type type, gn_error *err)
{
    if (isnan(v))
        return gn_error_set(err, GN_BAD_VECTOR, "NaN not allowed in %s", name_of(type));
    if (isinf(v))
        return gn_error_set(err, GN_BAD_VECTOR, "infinite value not allowed in %s", name_of(type));
    return GN_OK;
}

gn_code gn_vector_check_dimensions(uint64_t n, gn_type type, gn_error *err)
{
    uint64_t most = type.id == GN_T_SPARSEVEC ? GN_MAX_SPARSE_DIMENSIONS : GN_MAX_DIMENSIONS;
    if (n < 1)
        return gn_error_set(err, GN_BAD_VECTOR, "%s must have at least 1 dimension", name_of(type));
    if (n > most)
        return gn_error_set(err, GN_LIMIT, "%s cannot have more than %llu dimensions", name_of(type),
                            (unsigned long long)most);
    if (type.typmod >= 0 && n != (uint64_t)type.typmod)
        return gn_error_set(err, GN_BAD_VECTOR, "expected %d dimensions, not %llu", type.typmod, (unsigned long long)n);
    return GN_OK;
}

gn_code gn_vector_make(gn_bytes floats, gn_type type, gn_value *out, gn_error *err)
{
    GN_ASSERT(floats.len % sizeof(float) == 0);
    gn_code code = gn_vector_check_dimensions(floats.len / sizeof(float), type, err);
    for (uint32_t i = 0; code == GN_OK && i < gn_vector_dimensions(floats); i++)
        code = gn_vector_check_finite(gn_vector_get(floats, i), type, err);
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

/* ---- elements ---- */

void gn_dense_floats(gn_type_id id, gn_bytes v, float *out)
{
    if (id == GN_T_HALFVEC)
        gn_floats_of_f16(v.data, out, v.len / sizeof(uint16_t));
    else
        memcpy(out, v.data, v.len);
}

static float dense_get(gn_type_id id, gn_bytes v, uint32_t i)
{
    uint16_t half;
    if (id != GN_T_HALFVEC)
        return gn_vector_get(v, i);
    memcpy(&half, v.data + (size_t)i * sizeof half, sizeof half);
    return gn_float_of_f16(half);
}

bool gn_dense_put(gn_type_id id, const float *floats, size_t n, uint8_t *out, size_t *bad)
{
    if (id != GN_T_HALFVEC) {
        memmove(out, floats, n * sizeof *floats);
        return true;
    }
    for (size_t i = 0; i < n; i++) {
        uint16_t half = gn_f16_of_float(floats[i]);
        if (fabsf(floats[i]) >= GN_F16_OVERFLOW) {
            *bad = i;
            return false;
        }
        memcpy(out + i * sizeof half, &half, sizeof half);
    }
    return true;
}

static gn_code dense_make(const float *floats, size_t n, gn_type type, gn_arena *arena, gn_value *out, gn_error *err)
{
    gn_type_id id = (gn_type_id)type.id;
    size_t bad;
    gn_code code = gn_vector_check_dimensions(n, type, err);
    for (size_t i = 0; code == GN_OK && i < n; i++)
        code = gn_vector_check_finite(floats[i], type, err);
    if (code != GN_OK)
        return code;
    uint8_t *to = gn_arena_alloc(arena, n * gn_dense_size(id));
    if (!to)
        return gn_error_oom(err, gn_arena_account(arena));
    if (!gn_dense_put(id, floats, n, to, &bad)) {
        char text[GN_FLOAT_TEXT];
        size_t len = gn_print_f32(floats[bad], 1, text);
        return gn_error_set(err, GN_NUMERIC_RANGE, "\"%.*s\" is out of range for type halfvec", (int)len, text);
    }
    *out = (gn_value){.type = type, .as.bytes = gn_bytes_of(to, n * gn_dense_size(id))};
    return GN_OK;
}

static gn_code sparse_make(const float *floats, size_t n, gn_type type, gn_arena *arena, gn_value *out, gn_error *err)
{
    uint32_t used = 0;
    uint8_t *places, *values;
    gn_bytes bytes;
    gn_code code = gn_vector_check_dimensions(n, type, err);
    for (size_t i = 0; code == GN_OK && i < n; i++) {
        code = gn_vector_check_finite(floats[i], type, err);
        used += floats[i] != 0;
    }
    if (code == GN_OK && used > GN_MAX_SPARSE_ELEMENTS)
        code =
            gn_error_set(err, GN_LIMIT, "sparsevec cannot have more than %d non-zero elements", GN_MAX_SPARSE_ELEMENTS);
    if (code != GN_OK)
        return code;
    if (!gn_sparse_create(arena, (uint32_t)n, used, &places, &values, &bytes))
        return gn_error_oom(err, gn_arena_account(arena));
    for (uint32_t i = 0; i < n; i++) {
        if (floats[i] == 0)
            continue;
        memcpy(places, &i, 4);
        memcpy(values, &floats[i], 4);
        places += 4;
        values += 4;
    }
    *out = (gn_value){.type = type, .as.bytes = bytes};
    return GN_OK;
}

gn_code gn_vector_of_floats(const float *floats, size_t n, gn_type type, gn_arena *arena, gn_value *out, gn_error *err)
{
    return type.id == GN_T_SPARSEVEC ? sparse_make(floats, n, type, arena, out, err)
                                     : dense_make(floats, n, type, arena, out, err);
}

gn_code gn_vector_to_floats(const gn_value *v, gn_arena *arena, const float **out, size_t *n, gn_error *err)
{
    bool is_sparse = v->type.id == GN_T_SPARSEVEC;
    gn_sparse s = {0};
    if (is_sparse)
        s = gn_sparse_of(v->as.bytes);
    *n = is_sparse ? s.dimensions : gn_dense_dimensions((gn_type_id)v->type.id, v->as.bytes);
    if (*n > GN_MAX_DIMENSIONS)
        return gn_error_set(err, GN_LIMIT, "vector cannot have more than %d dimensions", GN_MAX_DIMENSIONS);
    float *to = gn_arena_calloc(arena, *n, sizeof *to);
    if (!to)
        return gn_error_oom(err, gn_arena_account(arena));
    if (!is_sparse)
        gn_dense_floats((gn_type_id)v->type.id, v->as.bytes, to);
    for (uint32_t i = 0; i < s.n; i++)
        to[gn_sparse_place(&s, i)] = gn_sparse_value(&s, i);
    *out = to;
    return GN_OK;
}

/* ---- as an index takes them ---- */

bool gn_type_can_be_indexed(gn_type column)
{
    return (gn_is_vector_type(column) || gn_type_is(column, GN_T_BIT)) && column.typmod > 0;
}

uint32_t gn_index_words(gn_type column)
{
    uint32_t n = (uint32_t)column.typmod;
    return column.id == GN_T_BIT ? (n + 63) / 64 * 2 : n;
}

bool gn_index_vector(gn_type column, gn_bytes v, float *out)
{
    uint32_t n = (uint32_t)column.typmod;
    gn_sparse s;
    gn_bits bits;
    switch (column.id) {
    case GN_T_SPARSEVEC:
        s = gn_sparse_of(v);
        if (s.dimensions != n)
            return false;
        memset(out, 0, n * sizeof *out);
        for (uint32_t i = 0; i < s.n; i++)
            out[gn_sparse_place(&s, i)] = gn_sparse_value(&s, i);
        return true;
    case GN_T_BIT:
        bits = gn_bits_of(v);
        if (bits.n != n)
            return false;
        memset(out, 0, gn_index_words(column) * sizeof *out);
        memcpy(out, bits.bytes.data, bits.bytes.len);
        return true;
    default:
        if (gn_dense_dimensions((gn_type_id)column.id, v) != n)
            return false;
        gn_dense_floats((gn_type_id)column.id, v, out);
        return true;
    }
}

/* ---- text ---- */

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
    gn_scan_result result = gn_scan_f32(p, end, out);
    if (result == GN_SCAN_SYNTAX)
        return bad_vector(text, type, NULL, err);
    if (result == GN_SCAN_RANGE && *out == 0)
        return GN_OK; /* too small for a float is 0 */
    if (result == GN_SCAN_RANGE || (type.id == GN_T_HALFVEC && isfinite(*out) && fabsf(*out) >= GN_F16_OVERFLOW))
        return gn_error_set(err, GN_NUMERIC_RANGE, "\"%.*s\" is out of range for type %s",
                            gn_quotable(gn_bytes_of(from, (size_t)(*p - from))), (const char *)from, name_of(type));
    return gn_vector_check_finite(*out, type, err);
}

/* The numbers between brackets into `floats`, which has room for `room`; *n counts them all. */
static gn_code scan_elements(gn_bytes text, const uint8_t **p, const uint8_t *end, gn_type type, float *floats,
                             size_t room, size_t *n, gn_error *err)
{
    for (*n = 0;;) {
        if (*n == GN_MAX_DIMENSIONS)
            return gn_vector_check_dimensions(*n + 1, type, err);
        float v = 0;
        *p = skip_space(*p, end);
        gn_code code = scan_element(text, p, end, type, &v, err);
        if (code != GN_OK)
            return code;
        if (*n < room)
            floats[*n] = v;
        ++*n;
        *p = skip_space(*p, end);
        if (*p < end && **p == ',')
            ++*p;
        else if (*p < end && **p == ']')
            return GN_OK;
        else
            return bad_vector(text, type, NULL, err);
    }
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
        return gn_vector_check_dimensions(0, type, err);
    /* as many as there can be: a number and its comma are two bytes at least */
    size_t room = type.typmod > 0 ? (size_t)type.typmod : (size_t)(end - p) / 2 + 1, n = 0;
    if (room > GN_MAX_DIMENSIONS)
        room = GN_MAX_DIMENSIONS;
    float *floats = gn_arena_alloc(arena, room * sizeof(float));
    if (!floats)
        return gn_error_oom(err, gn_arena_account(arena));
    gn_code code = scan_elements(text, &p, end, type, floats, room, &n, err);
    if (code == GN_OK && skip_space(p + 1, end) != end)
        code = bad_vector(text, type, "Junk after closing right brace.", err);
    if (code == GN_OK)
        code = gn_vector_check_dimensions(n, type, err);
    if (code != GN_OK)
        return code;
    if (type.id == GN_T_HALFVEC)
        return dense_make(floats, n, type, arena, out, err);
    *out = (gn_value){.type = type, .as.bytes = gn_bytes_of(floats, n * sizeof(float))};
    return GN_OK;
}

static bool vector_print(const gn_value *v, const gn_format *format, gn_buf *out)
{
    (void)format; /* always exact, whatever extra_float_digits says: as pgvector */
    gn_type_id id = (gn_type_id)v->type.id;
    uint32_t n = gn_dense_dimensions(id, v->as.bytes);
    char text[GN_FLOAT_TEXT + 1];
    gn_buf_append_u8(out, '[');
    for (uint32_t i = 0; i < n; i++) {
        size_t len = gn_print_f32(dense_get(id, v->as.bytes, i), 1, text);
        text[len] = i + 1 < n ? ',' : ']';
        gn_buf_append(out, text, len + 1);
    }
    return !out->failed;
}

/* ---- wire ---- */

/* Big endian elements as they lie in memory. False: one of them is not finite; which one, nobody has looked. */
static bool take_floats(const uint8_t *from, size_t n, uint8_t *to)
{
    uint64_t bad = 0;
    size_t i = 0;
    for (; i + 2 <= n; i += 2) { /* an exponent of all ones carries into the sign's place */
        uint64_t two;
        memcpy(&two, from + i * sizeof(float), sizeof two);
        two = __builtin_bswap64(two);
        two = two << 32 | two >> 32;
        memcpy(to + i * sizeof(float), &two, sizeof two);
        bad |= (two & 0x7f8000007f800000u) + 0x0080000000800000u;
    }
    if (i < n) {
        uint32_t one;
        memcpy(&one, from + i * sizeof one, sizeof one);
        one = __builtin_bswap32(one);
        memcpy(to + i * sizeof one, &one, sizeof one);
        bad |= (one & 0x7f800000u) + 0x00800000u;
    }
    return !(bad & 0x8000000080000000u);
}

static bool take_halves(const uint8_t *from, size_t n, uint8_t *to)
{
    uint32_t bad = 0;
    for (size_t i = 0; i < n; i++) {
        uint16_t bits;
        memcpy(&bits, from + i * sizeof bits, sizeof bits);
        bits = __builtin_bswap16(bits);
        memcpy(to + i * sizeof bits, &bits, sizeof bits);
        bad |= (bits & 0x7c00u) == 0x7c00u;
    }
    return !bad;
}

static gn_code vector_recv(gn_bytes wire, gn_type type, gn_arena *arena, gn_value *out, gn_error *err)
{
    gn_type_id id = (gn_type_id)type.id;
    gn_reader r = gn_reader_of(wire);
    int16_t n = (int16_t)gn_read_be16(&r), unused = (int16_t)gn_read_be16(&r);
    if (r.failed)
        return gn_bad_wire(type, err);
    gn_code code = gn_vector_check_dimensions(n < 0 ? 0 : (size_t)n, type, err);
    if (code != GN_OK)
        return code;
    if (unused != 0)
        return gn_error_set(err, GN_BAD_VECTOR, "expected unused to be 0, not %d", unused);
    size_t size = (size_t)n * gn_dense_size(id);
    if (gn_reader_left(&r) != size)
        return gn_bad_wire(type, err);
    uint8_t *to = gn_arena_alloc(arena, size);
    if (!to)
        return gn_error_oom(err, gn_arena_account(arena));
    gn_bytes bytes = gn_bytes_of(to, size);
    bool finite = id == GN_T_HALFVEC ? take_halves(r.p, (size_t)n, to) : take_floats(r.p, (size_t)n, to);
    for (int i = 0; i < n && !finite && code == GN_OK; i++)
        code = gn_vector_check_finite(dense_get(id, bytes, (uint32_t)i), type, err);
    if (code == GN_OK)
        *out = (gn_value){.type = type, .as.bytes = bytes};
    return code;
}

static bool vector_send(const gn_value *v, gn_buf *out)
{
    gn_type_id id = (gn_type_id)v->type.id;
    uint32_t n = gn_dense_dimensions(id, v->as.bytes), size = gn_dense_size(id);
    gn_buf_reserve(out, 4 + (size_t)n * size);
    gn_buf_append_be16(out, (uint16_t)n);
    gn_buf_append_be16(out, 0);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t bits = 0;
        memcpy(&bits, v->as.bytes.data + (size_t)i * size, size);
        if (id == GN_T_HALFVEC)
            gn_buf_append_be16(out, (uint16_t)bits);
        else
            gn_buf_append_be32(out, bits);
    }
    return !out->failed;
}

/* ---- order ---- */

static int vector_compare(const gn_value *a, const gn_value *b)
{
    gn_type_id id = (gn_type_id)a->type.id;
    uint32_t na = gn_dense_dimensions(id, a->as.bytes), nb = gn_dense_dimensions(id, b->as.bytes);
    for (uint32_t i = 0; i < na && i < nb; i++) {
        float x = dense_get(id, a->as.bytes, i), y = dense_get(id, b->as.bytes, i);
        if (x != y)
            return x < y ? -1 : 1;
    }
    return (na > nb) - (na < nb);
}

/* -0 equals 0, so the bytes alone will not do. */
static uint64_t vector_hash(const gn_value *v)
{
    gn_type_id id = (gn_type_id)v->type.id;
    uint64_t h = v->as.bytes.len;
    for (uint32_t i = 0; i < gn_dense_dimensions(id, v->as.bytes); i++) {
        float x = dense_get(id, v->as.bytes, i) + 0.0f; /* -0 + 0 = 0 */
        h = (h ^ gn_bits_of_float(x)) * 0x9e3779b97f4a7c15u;
        h ^= h >> 32;
    }
    return h;
}

const gn_type_ops gn_vector_ops = {vector_parse, vector_print, vector_recv, vector_send, vector_compare, vector_hash};
