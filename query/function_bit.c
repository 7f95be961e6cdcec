/* Bit strings: pgvector's distances and PostgreSQL's operators. */
#include "query/function_private.h"
#include "query/vector.h"

enum { HAMMING, JACCARD };

static uint64_t word_at(gn_bytes b, size_t i)
{
    uint64_t w = 0;
    memcpy(&w, b.data + i, b.len - i < 8 ? b.len - i : 8);
    return w;
}

static gn_code distance(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_bits a = gn_bits_of(args[0].as.bytes), b = gn_bits_of(args[1].as.bytes);
    uint64_t differ = 0, both = 0, either = 0;
    if (a.n != b.n)
        return gn_error_set(call->eval->err, GN_BAD_VECTOR, "different bit lengths %llu and %llu",
                            (unsigned long long)a.n, (unsigned long long)b.n);
    for (size_t i = 0; i < a.bytes.len; i += 8) {
        uint64_t x = word_at(a.bytes, i), y = word_at(b.bytes, i);
        differ += (uint64_t)__builtin_popcountll(x ^ y);
        both += (uint64_t)__builtin_popcountll(x & y);
        either += (uint64_t)__builtin_popcountll(x | y);
    }
    if (call->function->op == HAMMING)
        out->as.f64 = (double)differ;
    else
        out->as.f64 = both ? 1 - (double)both / (double)either : 1;
    return GN_OK;
}

static gn_code combine(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_bits a = gn_bits_of(args[0].as.bytes), b = gn_bits_of(args[1].as.bytes);
    uint8_t op = call->function->op;
    if (a.n != b.n)
        return gn_error_set(call->eval->err, GN_LENGTH_MISMATCH, "cannot %s bit strings of different sizes",
                            op == '&'   ? "AND"
                            : op == '|' ? "OR"
                                        : "XOR");
    uint8_t *to = gn_bits_create(call->eval->arena, a.n, &out->as.bytes);
    if (!to)
        return gn_eval_oom(call->eval);
    for (size_t i = 0; i < a.bytes.len; i++) {
        uint8_t x = a.bytes.data[i], y = b.bytes.data[i];
        to[i] = op == '&' ? x & y : op == '|' ? x | y : x ^ y;
    }
    return GN_OK;
}

static bool bit_at(const gn_bits *b, uint64_t i)
{
    return b->bytes.data[i / 8] >> (7 - i % 8) & 1;
}

static void set_bit(uint8_t *to, uint64_t i, bool bit)
{
    to[i / 8] |= (uint8_t)(bit << (7 - i % 8));
}

static gn_code invert(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_bits a = gn_bits_of(args[0].as.bytes);
    uint8_t *to = gn_bits_create(call->eval->arena, a.n, &out->as.bytes);
    if (!to)
        return gn_eval_oom(call->eval);
    for (size_t i = 0; i < a.bytes.len; i++)
        to[i] = (uint8_t)~a.bytes.data[i];
    if (a.bytes.len)
        to[a.bytes.len - 1] &= (uint8_t)(0xff << out->as.bytes.data[0]);
    return GN_OK;
}

/* The length stays; what is shifted in is 0. To the left, or by less than nothing to the right. */
static gn_code shift(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_bits a = gn_bits_of(args[0].as.bytes);
    int64_t by = args[1].as.i32, n = (int64_t)a.n;
    by = call->function->op == '<' ? by : -by;
    uint8_t *to = gn_bits_create(call->eval->arena, a.n, &out->as.bytes);
    if (!to)
        return gn_eval_oom(call->eval);
    for (int64_t i = by < 0 ? -by : 0; i < n && i + by < n; i++)
        set_bit(to, (uint64_t)i, bit_at(&a, (uint64_t)(i + by)));
    return GN_OK;
}

static gn_code concat(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_bits a = gn_bits_of(args[0].as.bytes), b = gn_bits_of(args[1].as.bytes);
    if (a.n + b.n > GN_MAX_BITS)
        return gn_error_set(call->eval->err, GN_LIMIT, "bit string length exceeds the maximum allowed (%d)",
                            GN_MAX_BITS);
    uint8_t *to = gn_bits_create(call->eval->arena, a.n + b.n, &out->as.bytes);
    if (!to)
        return gn_eval_oom(call->eval);
    if (a.bytes.len)
        memcpy(to, a.bytes.data, a.bytes.len);
    for (uint64_t i = 0; i < b.n; i++)
        set_bit(to, a.n + i, bit_at(&b, i));
    return GN_OK;
}

enum { BITS, BYTES };

static gn_code length(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_bits a = gn_bits_of(args[0].as.bytes);
    out->as.i32 = (int32_t)(call->function->op == BITS ? a.n : a.bytes.len);
    return GN_OK;
}

static gn_code count(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_bits a = gn_bits_of(args[0].as.bytes);
    (void)call;
    out->as.i64 = 0;
    for (size_t i = 0; i < a.bytes.len; i += 8)
        out->as.i64 += __builtin_popcountll(word_at(a.bytes, i));
    return GN_OK;
}

static gn_code get_bit(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_bits a = gn_bits_of(args[0].as.bytes);
    int32_t i = args[1].as.i32;
    if (i < 0 || (uint64_t)i >= a.n)
        return gn_error_set(call->eval->err, GN_ARRAY_SUBSCRIPT, "bit index %d out of valid range (0..%lld)", i,
                            (long long)a.n - 1);
    out->as.i32 = bit_at(&a, (uint64_t)i);
    return GN_OK;
}

/* clang-format off */
#define F(name, result, n, op_, kernel, ...) {name, GN_TY(result), n, GN_IMMUTABLE, 0, op_, {__VA_ARGS__}, .row = kernel},
#define B GN_TY(BIT)

static const gn_function functions[] = {
    F("<~>", FLOAT8, 2, HAMMING, distance, B, B) F("hamming_distance", FLOAT8, 2, HAMMING, distance, B, B)
    F("<%>", FLOAT8, 2, JACCARD, distance, B, B) F("jaccard_distance", FLOAT8, 2, JACCARD, distance, B, B)
    F("&", BIT, 2, '&', combine, B, B) F("|", BIT, 2, '|', combine, B, B) F("#", BIT, 2, '#', combine, B, B)
    F("~", BIT, 1, 0, invert, B)
    F("<<", BIT, 2, '<', shift, B, GN_TY(INT4)) F(">>", BIT, 2, '>', shift, B, GN_TY(INT4))
    F("||", VARBIT, 2, 0, concat, GN_TY(VARBIT), GN_TY(VARBIT))
    F("length", INT4, 1, BITS, length, B) F("bit_length", INT4, 1, BITS, length, B)
    F("octet_length", INT4, 1, BYTES, length, B)
    F("bit_count", INT8, 1, 0, count, B) F("get_bit", INT4, 2, 0, get_bit, B, GN_TY(INT4))
};
/* clang-format on */

const gn_function_list gn_functions_bit = {functions, sizeof functions / sizeof *functions};
