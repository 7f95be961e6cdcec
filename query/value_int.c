/* boolean, smallint, integer, bigint. */
#include "query/value_private.h"

/* ---- boolean ---- */

static gn_code bool_parse(gn_bytes text, gn_type type, const gn_format *format, gn_arena *arena, gn_value *out,
                          gn_error *err)
{
    (void)format, (void)arena;
    /* Unique prefixes of the words are accepted: "o" alone could be on or off. */
    static const struct {
        const char *word;
        size_t shortest;
        bool value;
    } words[] = {{"true", 1, true}, {"false", 1, false}, {"yes", 1, true}, {"no", 1, false},
                 {"on", 2, true},   {"off", 2, false},   {"1", 1, true},   {"0", 1, false}};
    gn_bytes word = gn_trim_space(text);
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        size_t len = strlen(words[i].word);
        if (word.len < words[i].shortest || word.len > len)
            continue;
        size_t same = 0;
        while (same < word.len && (word.data[same] | 0x20) == (words[i].word[same] | 0x20))
            same++;
        if (same == word.len) {
            *out = (gn_value){.type = type, .as.boolean = words[i].value};
            return GN_OK;
        }
    }
    return gn_bad_text(text, type, err);
}

static bool bool_print(const gn_value *v, const gn_format *format, gn_buf *out)
{
    (void)format;
    return gn_buf_append_u8(out, v->as.boolean ? 't' : 'f');
}

static gn_code bool_recv(gn_bytes wire, gn_type type, gn_arena *arena, gn_value *out, gn_error *err)
{
    (void)arena;
    if (wire.len != 1)
        return gn_bad_wire(type, err);
    *out = (gn_value){.type = type, .as.boolean = wire.data[0] != 0};
    return GN_OK;
}

static bool bool_send(const gn_value *v, gn_buf *out)
{
    return gn_buf_append_u8(out, v->as.boolean);
}

static int bool_compare(const gn_value *a, const gn_value *b)
{
    return (int)a->as.boolean - (int)b->as.boolean;
}

static uint64_t bool_hash(const gn_value *v)
{
    return gn_hash_u64(v->as.boolean);
}

const gn_type_ops gn_bool_ops = {bool_parse, bool_print, bool_recv, bool_send, bool_compare, bool_hash};

/* ---- integers ---- */

/* Accumulates negatively, as the negative range is the larger. */
static gn_code scan_int(gn_bytes text, int64_t min, int64_t max, gn_type type, int64_t *out, gn_error *err)
{
    gn_bytes word = gn_trim_space(text);
    const uint8_t *p = word.data, *end = word.data + word.len;
    bool negative = false;
    if (p < end && (*p == '-' || *p == '+'))
        negative = *p++ == '-';
    if (p == end)
        return gn_bad_text(text, type, err);
    int64_t v = 0;
    bool overflow = false;
    for (; p < end; p++) {
        if (!gn_is_digit(*p))
            return gn_bad_text(text, type, err);
        overflow |= __builtin_mul_overflow(v, 10, &v) || __builtin_sub_overflow(v, *p - '0', &v);
    }
    if (!negative)
        overflow |= __builtin_sub_overflow((int64_t)0, v, &v);
    if (overflow || v < min || v > max)
        return gn_out_of_range(text, type, err);
    *out = v;
    return GN_OK;
}

size_t gn_print_i64(int64_t v, char *out)
{
    static const char pairs[] = "0001020304050607080910111213141516171819202122232425262728293031323334353637383940"
                                "4142434445464748495051525354555657585960616263646566676869707172737475767778798081"
                                "828384858687888990919293949596979899";
    char digits[20];
    size_t at = sizeof(digits);
    uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    while (u >= 100) {
        at -= 2;
        memcpy(digits + at, pairs + 2 * (u % 100), 2);
        u /= 100;
    }
    if (u >= 10) {
        at -= 2;
        memcpy(digits + at, pairs + 2 * u, 2);
    } else {
        digits[--at] = (char)('0' + u);
    }
    size_t n = 0;
    if (v < 0)
        out[n++] = '-';
    memcpy(out + n, digits + at, sizeof(digits) - at);
    return n + sizeof(digits) - at;
}

static bool print_int(int64_t v, gn_buf *out)
{
    char text[24];
    return gn_buf_append(out, text, gn_print_i64(v, text));
}

static int compare_int(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

static gn_code int2_parse(gn_bytes text, gn_type type, const gn_format *format, gn_arena *arena, gn_value *out,
                          gn_error *err)
{
    (void)format, (void)arena;
    int64_t v;
    gn_code code = scan_int(text, INT16_MIN, INT16_MAX, type, &v, err);
    if (code == GN_OK)
        *out = (gn_value){.type = type, .as.i16 = (int16_t)v};
    return code;
}

static bool int2_print(const gn_value *v, const gn_format *format, gn_buf *out)
{
    (void)format;
    return print_int(v->as.i16, out);
}

static gn_code int2_recv(gn_bytes wire, gn_type type, gn_arena *arena, gn_value *out, gn_error *err)
{
    (void)arena;
    if (wire.len != 2)
        return gn_bad_wire(type, err);
    gn_reader r = gn_reader_of(wire);
    *out = (gn_value){.type = type, .as.i16 = (int16_t)gn_read_be16(&r)};
    return GN_OK;
}

static bool int2_send(const gn_value *v, gn_buf *out)
{
    return gn_buf_append_be16(out, (uint16_t)v->as.i16);
}

static int int2_compare(const gn_value *a, const gn_value *b)
{
    return compare_int(a->as.i16, b->as.i16);
}

static uint64_t int2_hash(const gn_value *v)
{
    return gn_hash_u64((uint64_t)v->as.i16);
}

const gn_type_ops gn_int2_ops = {int2_parse, int2_print, int2_recv, int2_send, int2_compare, int2_hash};

static gn_code int4_parse(gn_bytes text, gn_type type, const gn_format *format, gn_arena *arena, gn_value *out,
                          gn_error *err)
{
    (void)format, (void)arena;
    int64_t v;
    gn_code code = scan_int(text, INT32_MIN, INT32_MAX, type, &v, err);
    if (code == GN_OK)
        *out = (gn_value){.type = type, .as.i32 = (int32_t)v};
    return code;
}

static bool int4_print(const gn_value *v, const gn_format *format, gn_buf *out)
{
    (void)format;
    return print_int(v->as.i32, out);
}

static gn_code int4_recv(gn_bytes wire, gn_type type, gn_arena *arena, gn_value *out, gn_error *err)
{
    (void)arena;
    if (wire.len != 4)
        return gn_bad_wire(type, err);
    gn_reader r = gn_reader_of(wire);
    *out = (gn_value){.type = type, .as.i32 = (int32_t)gn_read_be32(&r)};
    return GN_OK;
}

static bool int4_send(const gn_value *v, gn_buf *out)
{
    return gn_buf_append_be32(out, (uint32_t)v->as.i32);
}

static int int4_compare(const gn_value *a, const gn_value *b)
{
    return compare_int(a->as.i32, b->as.i32);
}

static uint64_t int4_hash(const gn_value *v)
{
    return gn_hash_u64((uint64_t)v->as.i32);
}

const gn_type_ops gn_int4_ops = {int4_parse, int4_print, int4_recv, int4_send, int4_compare, int4_hash};

static gn_code int8_parse(gn_bytes text, gn_type type, const gn_format *format, gn_arena *arena, gn_value *out,
                          gn_error *err)
{
    (void)format, (void)arena;
    int64_t v;
    gn_code code = scan_int(text, INT64_MIN, INT64_MAX, type, &v, err);
    if (code == GN_OK)
        *out = (gn_value){.type = type, .as.i64 = v};
    return code;
}

static bool int8_print(const gn_value *v, const gn_format *format, gn_buf *out)
{
    (void)format;
    return print_int(v->as.i64, out);
}

static gn_code int8_recv(gn_bytes wire, gn_type type, gn_arena *arena, gn_value *out, gn_error *err)
{
    (void)arena;
    if (wire.len != 8)
        return gn_bad_wire(type, err);
    gn_reader r = gn_reader_of(wire);
    *out = (gn_value){.type = type, .as.i64 = (int64_t)gn_read_be64(&r)};
    return GN_OK;
}

static bool int8_send(const gn_value *v, gn_buf *out)
{
    return gn_buf_append_be64(out, (uint64_t)v->as.i64);
}

static int int8_compare(const gn_value *a, const gn_value *b)
{
    return compare_int(a->as.i64, b->as.i64);
}

static uint64_t int8_hash(const gn_value *v)
{
    return gn_hash_u64((uint64_t)v->as.i64);
}

const gn_type_ops gn_int8_ops = {int8_parse, int8_print, int8_recv, int8_send, int8_compare, int8_hash};
