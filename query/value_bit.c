/* bit(n) and bit varying(n): PostgreSQL's, as far as vectors of bits need them. */
#include "query/value_private.h"
#include "query/vector.h"

uint8_t *gn_bits_create(gn_arena *arena, uint64_t n, gn_bytes *out)
{
    size_t size = gn_bits_bytes(n) + 1;
    uint8_t *p = gn_arena_calloc(arena, size, 1);
    if (!p)
        return NULL;
    p[0] = (uint8_t)(gn_bits_bytes(n) * 8 - n);
    *out = gn_bytes_of(p, size);
    return p + 1;
}

bool gn_bits_is_valid(gn_bytes v)
{
    if (v.len == 0 || v.data[0] > 7 || (v.len == 1 && v.data[0] != 0))
        return false;
    return v.len == 1 || (v.data[v.len - 1] & ((1u << v.data[0]) - 1)) == 0;
}

gn_code gn_bits_resize(gn_bytes v, uint64_t n, gn_arena *arena, gn_bytes *out, gn_error *err)
{
    gn_bits from = gn_bits_of(v);
    uint8_t *to = gn_bits_create(arena, n, out);
    if (!to)
        return gn_error_oom(err, gn_arena_account(arena));
    size_t size = gn_bits_bytes(n), copy = size < from.bytes.len ? size : from.bytes.len;
    if (copy)
        memcpy(to, from.bytes.data, copy);
    if (size)
        to[size - 1] &= (uint8_t)(0xff << out->data[0]);
    return GN_OK;
}

gn_code gn_bits_apply_typmod(gn_bytes v, gn_type to, gn_cast_context context, gn_arena *arena, gn_bytes *out,
                             gn_error *err)
{
    uint64_t n = gn_bits_of(v).n, wanted = (uint64_t)to.typmod;
    *out = v;
    if (to.typmod < 0 || n == wanted || (to.id == GN_T_VARBIT && n < wanted))
        return GN_OK;
    if (context == GN_CAST_EXPLICIT)
        return gn_bits_resize(v, wanted, arena, out, err);
    if (to.id == GN_T_VARBIT)
        return gn_error_set(err, GN_STRING_TOO_LONG, "bit string too long for type bit varying(%d)", to.typmod);
    return gn_error_set(err, GN_LENGTH_MISMATCH, "bit string length %llu does not match type bit(%d)",
                        (unsigned long long)n, to.typmod);
}

/* ---- text ---- */

static int digit_of(uint8_t c, bool hex)
{
    uint8_t letter = c | 0x20;
    if (!hex)
        return c == '0' || c == '1' ? c - '0' : -1;
    return gn_is_digit(c) ? c - '0' : letter >= 'a' && letter <= 'f' ? letter - 'a' + 10 : -1;
}

static gn_code bit_parse(gn_bytes text, gn_type type, const gn_format *format, gn_arena *arena, gn_value *out,
                         gn_error *err)
{
    (void)format;
    uint8_t first = text.len ? text.data[0] | 0x20 : 0;
    bool hex = first == 'x';
    gn_bytes digits = hex || first == 'b' ? gn_bytes_of(text.data + 1, text.len - 1) : text;
    uint64_t per = hex ? 4 : 1, n = digits.len * per;
    gn_value v = {.type = type};
    if (n > GN_MAX_BITS)
        return gn_error_set(err, GN_LIMIT, "bit string length exceeds the maximum allowed (%d)", GN_MAX_BITS);
    uint8_t *to = gn_bits_create(arena, n, &v.as.bytes);
    if (!to)
        return gn_error_oom(err, gn_arena_account(arena));
    for (size_t i = 0; i < digits.len; i++) {
        int digit = digit_of(digits.data[i], hex);
        size_t bad;
        if (digit < 0 && !gn_utf8_valid(text, &bad))
            return gn_bad_utf8(text, bad, err);
        if (digit < 0) {
            size_t len = 1;
            while (i + len < digits.len && (digits.data[i + len] & 0xc0) == 0x80)
                len++;
            return gn_error_set(err, GN_BAD_TEXT, "\"%.*s\" is not a valid %s digit", (int)len,
                                (const char *)digits.data + i, hex ? "hexadecimal" : "binary");
        }
        uint64_t at = i * per;
        to[at / 8] |= (uint8_t)((unsigned)digit << (8 - per - at % 8));
    }
    gn_code code = gn_bits_apply_typmod(v.as.bytes, type, GN_CAST_ASSIGNMENT, arena, &v.as.bytes, err);
    if (code == GN_OK)
        *out = v;
    return code;
}

static bool bit_print(const gn_value *v, const gn_format *format, gn_buf *out)
{
    (void)format;
    gn_bits b = gn_bits_of(v->as.bytes);
    gn_buf_reserve(out, b.n);
    for (uint64_t i = 0; i < b.n && !out->failed; i++)
        gn_buf_append_u8(out, '0' + (b.bytes.data[i / 8] >> (7 - i % 8) & 1));
    return !out->failed;
}

/* ---- wire ---- */

static gn_code bit_recv(gn_bytes wire, gn_type type, gn_arena *arena, gn_value *out, gn_error *err)
{
    gn_reader r = gn_reader_of(wire);
    int32_t n = (int32_t)gn_read_be32(&r);
    gn_value v = {.type = type};
    if (r.failed)
        return gn_bad_wire(type, err);
    if (n < 0 || n > GN_MAX_BITS)
        return gn_error_set(err, GN_BAD_BINARY, "invalid length in external bit string");
    if (gn_reader_left(&r) != gn_bits_bytes((uint64_t)n))
        return gn_bad_wire(type, err);
    uint8_t *to = gn_bits_create(arena, (uint64_t)n, &v.as.bytes);
    if (!to)
        return gn_error_oom(err, gn_arena_account(arena));
    if (n > 0) {
        memcpy(to, r.p, gn_bits_bytes((uint64_t)n));
        to[gn_bits_bytes((uint64_t)n) - 1] &= (uint8_t)(0xff << v.as.bytes.data[0]);
    }
    gn_code code = gn_bits_apply_typmod(v.as.bytes, type, GN_CAST_ASSIGNMENT, arena, &v.as.bytes, err);
    if (code == GN_OK)
        *out = v;
    return code;
}

static bool bit_send(const gn_value *v, gn_buf *out)
{
    gn_bits b = gn_bits_of(v->as.bytes);
    gn_buf_append_be32(out, (uint32_t)b.n);
    return gn_buf_append_bytes(out, b.bytes);
}

/* ---- order ---- */

static int bit_compare(const gn_value *x, const gn_value *y)
{
    gn_bits a = gn_bits_of(x->as.bytes), b = gn_bits_of(y->as.bytes);
    int order = gn_bytes_cmp(a.bytes, b.bytes);
    return order ? order : (a.n > b.n) - (a.n < b.n);
}

static uint64_t bit_hash(const gn_value *v)
{
    return gn_hash_bytes(v->as.bytes);
}

const gn_type_ops gn_bit_ops = {bit_parse, bit_print, bit_recv, bit_send, bit_compare, bit_hash};

/* ---- integers ---- */

static bool is_bits(gn_type t)
{
    return !t.is_array && (t.id == GN_T_BIT || t.id == GN_T_VARBIT);
}

/* The low bits of the number, the sign repeated in front. bit without a length is one bit. */
static gn_code of_integer(int64_t v, gn_type to, gn_arena *arena, gn_value *out, gn_error *err)
{
    uint64_t n = to.typmod > 0 ? (uint64_t)to.typmod : 1;
    uint8_t *bits = gn_bits_create(arena, n, &out->as.bytes);
    if (!bits)
        return gn_error_oom(err, gn_arena_account(arena));
    for (uint64_t i = 0; i < n; i++) {
        uint64_t weight = n - 1 - i;
        uint64_t bit = weight > 63 ? v < 0 : (uint64_t)v >> weight & 1;
        bits[i / 8] |= (uint8_t)(bit << (7 - i % 8));
    }
    return GN_OK;
}

static gn_code to_integer(gn_bytes v, gn_type to, gn_value *out, gn_error *err)
{
    gn_bits b = gn_bits_of(v);
    unsigned most = to.id == GN_T_INT4 ? 32 : 64;
    uint64_t word = 0;
    if (b.n > most)
        return gn_error_set(err, GN_NUMERIC_RANGE, "%s out of range", most == 32 ? "integer" : "bigint");
    for (uint64_t i = 0; i < b.n; i++)
        word = word << 1 | (b.bytes.data[i / 8] >> (7 - i % 8) & 1);
    if (most == 32)
        out->as.i32 = (int32_t)(uint32_t)word;
    else
        out->as.i64 = (int64_t)word;
    return GN_OK;
}

bool gn_cast_bits(const gn_value *v, gn_type to, gn_arena *arena, gn_value *out, gn_code *code, gn_error *err)
{
    bool integer = !to.is_array && (to.id == GN_T_INT4 || to.id == GN_T_INT8);
    if (is_bits(v->type) && integer) {
        *code = to_integer(v->as.bytes, to, out, err);
        return true;
    }
    if (gn_type_is(to, GN_T_BIT) && !v->type.is_array && (v->type.id == GN_T_INT4 || v->type.id == GN_T_INT8)) {
        *code = of_integer(v->type.id == GN_T_INT4 ? v->as.i32 : v->as.i64, to, arena, out, err);
        return true;
    }
    if (is_bits(v->type) && is_bits(to)) {
        out->as = v->as;
        *code = GN_OK;
        return true;
    }
    return false;
}
