/* sparsevec: text '{place:value,...}/dimensions' with places from 1, binary form, order. */
#include "query/value_private.h"
#include "query/vector.h"

#include <math.h>
#include <stdlib.h>

uint8_t *gn_sparse_create(gn_arena *arena, uint32_t dimensions, uint32_t n, uint8_t **places, uint8_t **values,
                          gn_bytes *out)
{
    size_t size = GN_SPARSE_HEAD + (size_t)n * 8;
    uint8_t *p = gn_arena_alloc(arena, size);
    if (!p)
        return NULL;
    memcpy(p, &dimensions, 4);
    memcpy(p + 4, &n, 4);
    *places = p + GN_SPARSE_HEAD;
    *values = *places + (size_t)n * 4;
    *out = gn_bytes_of(p, size);
    return p;
}

bool gn_sparse_is_valid(gn_bytes v)
{
    if (v.len < GN_SPARSE_HEAD)
        return false;
    gn_sparse s = gn_sparse_of(v);
    if (s.dimensions < 1 || s.dimensions > GN_MAX_SPARSE_DIMENSIONS || s.n > GN_MAX_SPARSE_ELEMENTS ||
        v.len != GN_SPARSE_HEAD + (size_t)s.n * 8)
        return false;
    for (uint32_t i = 0; i < s.n; i++)
        if (gn_sparse_place(&s, i) >= s.dimensions || (i > 0 && gn_sparse_place(&s, i) <= gn_sparse_place(&s, i - 1)))
            return false;
    return true;
}

gn_code gn_sparse_check_same(const gn_sparse *a, const gn_sparse *b, gn_error *err)
{
    if (a->dimensions == b->dimensions)
        return GN_OK;
    return gn_error_set(err, GN_BAD_VECTOR, "different sparsevec dimensions %u and %u", a->dimensions, b->dimensions);
}

/* ---- text ---- */

typedef struct element {
    int64_t place; /* from 1, as written */
    float value;
} element;

typedef struct scan {
    gn_bytes text;
    gn_type type;
    const uint8_t *p, *end;
    element *elements;
    size_t n, room;
    int64_t dimensions;
    gn_error *err;
} scan;

static void skip_space(scan *s)
{
    while (s->p < s->end && gn_is_space(*s->p))
        s->p++;
}

static gn_code bad(const scan *s, const char *detail)
{
    gn_code code = gn_bad_text(s->text, s->type, s->err);
    if (detail && code == GN_BAD_TEXT)
        gn_error_detail(s->err, "%s", detail);
    return code;
}

static bool take(scan *s, uint8_t c)
{
    skip_space(s);
    if (s->p >= s->end || *s->p != c)
        return false;
    s->p++;
    return true;
}

/* A number that may have a sign; beyond an int32 it is one that is too large. */
static bool scan_integer(scan *s, int64_t *out)
{
    skip_space(s);
    bool negative = s->p < s->end && *s->p == '-';
    s->p += negative || (s->p < s->end && *s->p == '+');
    if (s->p >= s->end || !gn_is_digit(*s->p))
        return false;
    int64_t v = 0;
    for (; s->p < s->end && gn_is_digit(*s->p); s->p++)
        v = v > INT32_MAX ? v : v * 10 + (*s->p - '0');
    *out = negative ? -v : v;
    return true;
}

static gn_code scan_element(scan *s)
{
    element e = {0};
    if (!scan_integer(s, &e.place) || !take(s, ':'))
        return bad(s, NULL);
    skip_space(s);
    const uint8_t *from = s->p;
    gn_scan_result result = gn_scan_f32(&s->p, s->end, &e.value);
    if (result == GN_SCAN_SYNTAX)
        return bad(s, NULL);
    if (result == GN_SCAN_RANGE && e.value != 0)
        return gn_error_set(s->err, GN_NUMERIC_RANGE, "\"%.*s\" is out of range for type sparsevec",
                            gn_quotable(gn_bytes_of(from, (size_t)(s->p - from))), (const char *)from);
    gn_code code = gn_vector_check_finite(e.value, s->type, s->err);
    if (code != GN_OK || e.value == 0)
        return code;
    if (s->n == GN_MAX_SPARSE_ELEMENTS)
        return gn_error_set(s->err, GN_LIMIT, "sparsevec cannot have more than %d non-zero elements",
                            GN_MAX_SPARSE_ELEMENTS);
    s->elements[s->n++] = e;
    return GN_OK;
}

static gn_code scan_all(scan *s)
{
    if (!take(s, '{'))
        return bad(s, "Vector contents must start with \"{\".");
    gn_code code = GN_OK;
    if (!take(s, '}')) {
        do
            code = scan_element(s);
        while (code == GN_OK && take(s, ','));
        if (code == GN_OK && !take(s, '}'))
            code = bad(s, NULL);
    }
    if (code == GN_OK && !take(s, '/'))
        code = bad(s, "Unexpected end of input.");
    if (code == GN_OK && !scan_integer(s, &s->dimensions))
        code = bad(s, NULL);
    skip_space(s);
    if (code == GN_OK && s->p != s->end)
        code = bad(s, "Junk after closing.");
    return code == GN_OK ? gn_vector_check_dimensions(s->dimensions < 0 ? 0 : (uint64_t)s->dimensions, s->type, s->err)
                         : code;
}

static int by_place(const void *a, const void *b)
{
    const element *x = a, *y = b;
    return (x->place > y->place) - (x->place < y->place);
}

static gn_code check_places(const scan *s)
{
    for (size_t i = 0; i < s->n; i++) {
        if (s->elements[i].place < 1 || s->elements[i].place > s->dimensions)
            return gn_error_set(s->err, GN_BAD_VECTOR, "sparsevec index out of bounds");
        if (i > 0 && s->elements[i].place == s->elements[i - 1].place)
            return gn_error_set(s->err, GN_BAD_VECTOR, "sparsevec indices must not contain duplicates");
    }
    return GN_OK;
}

static gn_code sparse_parse(gn_bytes text, gn_type type, const gn_format *format, gn_arena *arena, gn_value *out,
                            gn_error *err)
{
    (void)format;
    scan s = {.text = text, .type = type, .p = text.data, .end = text.data + text.len, .err = err};
    size_t room = text.len / 4 + 1; /* "1:2," */
    uint8_t *places, *values;
    gn_bytes bytes;
    room = room > GN_MAX_SPARSE_ELEMENTS ? GN_MAX_SPARSE_ELEMENTS : room;
    s.elements = gn_arena_alloc(arena, room * sizeof *s.elements);
    if (!s.elements)
        return gn_error_oom(err, gn_arena_account(arena));
    gn_code code = scan_all(&s);
    if (code == GN_OK && s.n > 1)
        qsort(s.elements, s.n, sizeof *s.elements, by_place);
    if (code == GN_OK)
        code = check_places(&s);
    if (code != GN_OK)
        return code;
    if (!gn_sparse_create(arena, (uint32_t)s.dimensions, (uint32_t)s.n, &places, &values, &bytes))
        return gn_error_oom(err, gn_arena_account(arena));
    for (size_t i = 0; i < s.n; i++) {
        uint32_t place = (uint32_t)(s.elements[i].place - 1);
        memcpy(places + i * 4, &place, 4);
        memcpy(values + i * 4, &s.elements[i].value, 4);
    }
    *out = (gn_value){.type = type, .as.bytes = bytes};
    return GN_OK;
}

static bool sparse_print(const gn_value *v, const gn_format *format, gn_buf *out)
{
    (void)format;
    gn_sparse s = gn_sparse_of(v->as.bytes);
    char text[GN_FLOAT_TEXT];
    gn_buf_append_u8(out, '{');
    for (uint32_t i = 0; i < s.n; i++) {
        size_t len = gn_print_f32(gn_sparse_value(&s, i), 1, text);
        gn_buf_printf(out, "%s%u:", i ? "," : "", gn_sparse_place(&s, i) + 1);
        gn_buf_append(out, text, len);
    }
    gn_buf_printf(out, "}/%u", s.dimensions);
    return !out->failed;
}

/* ---- wire ---- */

static gn_code check_wire(const gn_sparse *s, gn_type type, gn_error *err)
{
    for (uint32_t i = 0; i < s->n; i++) {
        uint32_t place = gn_sparse_place(s, i);
        float v = gn_sparse_value(s, i);
        if (place >= s->dimensions)
            return gn_error_set(err, GN_BAD_VECTOR, "sparsevec index out of bounds");
        if (i > 0 && place == gn_sparse_place(s, i - 1))
            return gn_error_set(err, GN_BAD_VECTOR, "sparsevec indices must not contain duplicates");
        if (i > 0 && place < gn_sparse_place(s, i - 1))
            return gn_error_set(err, GN_BAD_VECTOR, "sparsevec indices must be in ascending order");
        gn_code code = gn_vector_check_finite(v, type, err);
        if (code != GN_OK)
            return code;
        if (v == 0)
            return gn_error_set(err, GN_BAD_VECTOR, "binary representation of sparsevec cannot contain zero values");
    }
    return GN_OK;
}

static gn_code sparse_recv(gn_bytes wire, gn_type type, gn_arena *arena, gn_value *out, gn_error *err)
{
    gn_reader r = gn_reader_of(wire);
    int32_t dimensions = (int32_t)gn_read_be32(&r), n = (int32_t)gn_read_be32(&r), unused = (int32_t)gn_read_be32(&r);
    uint8_t *places, *values;
    gn_bytes bytes;
    if (r.failed)
        return gn_bad_wire(type, err);
    gn_code code = gn_vector_check_dimensions(dimensions < 0 ? 0 : (uint64_t)dimensions, type, err);
    if (code != GN_OK)
        return code;
    if (n < 0 || n > GN_MAX_SPARSE_ELEMENTS)
        return gn_error_set(err, GN_LIMIT, "sparsevec cannot have more than %d non-zero elements",
                            GN_MAX_SPARSE_ELEMENTS);
    if (unused != 0)
        return gn_error_set(err, GN_BAD_VECTOR, "expected unused to be 0, not %d", unused);
    if (gn_reader_left(&r) != (size_t)n * 8)
        return gn_bad_wire(type, err);
    if (!gn_sparse_create(arena, (uint32_t)dimensions, (uint32_t)n, &places, &values, &bytes))
        return gn_error_oom(err, gn_arena_account(arena));
    for (int32_t i = 0; i < 2 * n; i++) { /* places, then values, which lie behind them here, too */
        uint32_t word = gn_read_be32(&r);
        memcpy(places + (size_t)i * 4, &word, 4);
    }
    gn_sparse s = gn_sparse_of(bytes);
    code = check_wire(&s, type, err);
    if (code == GN_OK)
        *out = (gn_value){.type = type, .as.bytes = bytes};
    return code;
}

static bool sparse_send(const gn_value *v, gn_buf *out)
{
    gn_sparse s = gn_sparse_of(v->as.bytes);
    gn_buf_reserve(out, 12 + (size_t)s.n * 8);
    gn_buf_append_be32(out, s.dimensions);
    gn_buf_append_be32(out, s.n);
    gn_buf_append_be32(out, 0);
    for (uint32_t i = 0; i < s.n; i++)
        gn_buf_append_be32(out, gn_sparse_place(&s, i));
    for (uint32_t i = 0; i < s.n; i++)
        gn_buf_append_be32(out, gn_bits_of_float(gn_sparse_value(&s, i)));
    return !out->failed;
}

/* ---- order ---- */

/* As the vectors with their zeros would be ordered; a shorter one that the other begins with comes first. */
static int sparse_compare(const gn_value *x, const gn_value *y)
{
    gn_sparse a = gn_sparse_of(x->as.bytes), b = gn_sparse_of(y->as.bytes);
    uint32_t i = 0, k = 0, common = a.dimensions < b.dimensions ? a.dimensions : b.dimensions;
    for (;;) {
        uint32_t at_a = i < a.n ? gn_sparse_place(&a, i) : UINT32_MAX;
        uint32_t at_b = k < b.n ? gn_sparse_place(&b, k) : UINT32_MAX;
        uint32_t at = at_a < at_b ? at_a : at_b;
        if (at >= common)
            return (a.dimensions > b.dimensions) - (a.dimensions < b.dimensions);
        float va = at_a == at ? gn_sparse_value(&a, i++) : 0, vb = at_b == at ? gn_sparse_value(&b, k++) : 0;
        if (va != vb)
            return va < vb ? -1 : 1;
    }
}

/* Zeros are not kept, so equal values have equal bytes. */
static uint64_t sparse_hash(const gn_value *v)
{
    return gn_hash_bytes(v->as.bytes);
}

const gn_type_ops gn_sparsevec_ops = {sparse_parse, sparse_print,   sparse_recv,
                                      sparse_send,  sparse_compare, sparse_hash};
