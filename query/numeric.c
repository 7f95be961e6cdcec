/* numeric: its encoding, text, wire and key forms, comparison. Arithmetic is in numeric_math.c. */
#include "query/numeric.h"

#include "query/numeric_private.h"
#include "query/value_private.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { SCALE_FOLLOWS = 31 };
static const gn_u128 SMALL_LIMIT = (gn_u128)1 << 127;

/* ---- encoding ---- */

gn_u128 gn_num_pow10(uint32_t n)
{
    static const uint64_t powers[20] = {1u,
                                        10u,
                                        100u,
                                        1000u,
                                        10000u,
                                        100000u,
                                        1000000u,
                                        10000000u,
                                        100000000u,
                                        1000000000u,
                                        10000000000u,
                                        100000000000u,
                                        1000000000000u,
                                        10000000000000u,
                                        100000000000000u,
                                        1000000000000000u,
                                        10000000000000000u,
                                        100000000000000000u,
                                        1000000000000000000u,
                                        10000000000000000000u};
    GN_ASSERT(n <= GN_NUM_MAX_POW10);
    return n < 20 ? powers[n] : (gn_u128)powers[19] * powers[n - 19];
}

void gn_num_mpz_pow10(mpz_t out, uint32_t n)
{
    mpz_ui_pow_ui(out, 10, n);
}

static gn_num_kind kind_of(gn_bytes v)
{
    GN_ASSERT(v.len > 0);
    return (gn_num_kind)(v.data[0] & 7);
}

/* Where the magnitude begins. */
static size_t head_len(gn_bytes v)
{
    return v.data[0] >> 3 == SCALE_FOLLOWS ? 3 : 1;
}

uint32_t gn_numeric_scale(gn_bytes v)
{
    GN_ASSERT(v.len > 0);
    uint32_t scale = v.data[0] >> 3;
    return scale == SCALE_FOLLOWS ? (uint32_t)v.data[1] | (uint32_t)v.data[2] << 8 : scale;
}

bool gn_numeric_is_valid(gn_bytes v)
{
    enum { MOST_BYTES = 61300 }; /* 131072 + 16383 digits */
    if (v.len == 0 || (v.data[0] & 7) > GN_NUM_MINUS_INF || v.len < head_len(v))
        return false;
    if ((v.data[0] & 7) > GN_NUM_NEGATIVE)
        return v.len == 1 && v.data[0] < 8;
    size_t len = v.len - head_len(v);
    if (len == 0)
        return kind_of(v) == GN_NUM_POSITIVE && gn_numeric_scale(v) <= GN_NUM_MAX_SCALE;
    return v.data[v.len - 1] != 0 && len <= MOST_BYTES && gn_numeric_scale(v) <= GN_NUM_MAX_SCALE;
}

gn_num gn_num_load(gn_bytes v)
{
    gn_num n = {.kind = kind_of(v)};
    if (gn_num_is_special(&n))
        return n;
    n.scale = gn_numeric_scale(v);
    const uint8_t *magnitude = v.data + head_len(v);
    size_t len = v.len - head_len(v);
    n.big = len > 16 || (len == 16 && magnitude[15] >= 0x80);
    if (n.big) {
        mpz_init(n.magnitude);
        mpz_import(n.magnitude, len, -1, 1, 0, 0, magnitude);
    } else {
        memcpy(&n.small, magnitude, len);
    }
    return n;
}

void gn_num_close(gn_num *n)
{
    if (n->big)
        mpz_clear(n->magnitude);
    n->big = false;
}

bool gn_num_is_zero(const gn_num *n)
{
    return !gn_num_is_special(n) && (n->big ? mpz_sgn(n->magnitude) == 0 : n->small == 0);
}

void gn_num_make_big(gn_num *n)
{
    if (n->big || gn_num_is_special(n))
        return;
    mpz_init(n->magnitude);
    mpz_import(n->magnitude, sizeof(n->small), -1, 1, 0, 0, &n->small);
    n->big = true;
}

void gn_num_make_small(gn_num *n)
{
    if (!n->big || mpz_sizeinbase(n->magnitude, 2) > 127)
        return;
    n->small = 0;
    mpz_export(&n->small, NULL, -1, 1, 0, 0, n->magnitude);
    gn_num_close(n);
}

gn_code gn_num_overflow(gn_error *err)
{
    return gn_error_set(err, GN_NUMERIC_RANGE, "value overflows numeric format");
}

/* More digits before the point than there may be? The exact count is needed only near the limit. */
static bool is_too_large(const gn_num *n)
{
    if (!n->big)
        return false;
    size_t digits = mpz_sizeinbase(n->magnitude, 10); /* exact or one too many */
    if (digits <= (size_t)GN_MAX_NUMERIC_DIGITS + n->scale)
        return false;
    mpz_t limit;
    mpz_init(limit);
    gn_num_mpz_pow10(limit, GN_MAX_NUMERIC_DIGITS + n->scale);
    bool too_large = mpz_cmp(n->magnitude, limit) >= 0;
    mpz_clear(limit);
    return too_large;
}

gn_code gn_num_store_special(gn_num_kind kind, gn_arena *arena, gn_bytes *out, gn_error *err)
{
    uint8_t *to = gn_arena_alloc(arena, 1);
    if (!to)
        return gn_error_oom(err, gn_arena_account(arena));
    to[0] = (uint8_t)kind;
    *out = gn_bytes_of(to, 1);
    return GN_OK;
}

gn_code gn_num_store(const gn_num *n, gn_arena *arena, gn_bytes *out, gn_error *err)
{
    if (gn_num_is_special(n))
        return gn_num_store_special(n->kind, arena, out, err);
    if (n->scale > GN_NUM_MAX_SCALE || is_too_large(n))
        return gn_num_overflow(err);
    size_t most = n->big ? (mpz_sizeinbase(n->magnitude, 2) + 7) / 8 : sizeof(n->small), len = 0;
    uint8_t *to = gn_arena_alloc(arena, 3 + most);
    if (!to)
        return gn_error_oom(err, gn_arena_account(arena));
    gn_num_kind kind = gn_num_is_zero(n) ? GN_NUM_POSITIVE : n->kind;
    size_t head = 1;
    if (n->scale < SCALE_FOLLOWS) {
        to[0] = (uint8_t)(n->scale << 3 | kind);
    } else {
        to[0] = (uint8_t)(SCALE_FOLLOWS << 3 | kind);
        to[1] = (uint8_t)n->scale;
        to[2] = (uint8_t)(n->scale >> 8);
        head = 3;
    }
    if (n->big) {
        mpz_export(to + head, &len, -1, 1, 0, 0, n->magnitude);
    } else {
        memcpy(to + head, &n->small, sizeof(n->small));
        for (len = sizeof(n->small); len && to[head + len - 1] == 0;)
            len--;
    }
    *out = gn_bytes_of(to, head + len);
    return GN_OK;
}

bool gn_numeric_is_nan(gn_bytes v)
{
    return kind_of(v) == GN_NUM_NAN;
}

bool gn_numeric_is_infinite(gn_bytes v)
{
    return kind_of(v) > GN_NUM_NAN;
}

int gn_numeric_sign(gn_bytes v)
{
    switch (kind_of(v)) {
    case GN_NUM_NEGATIVE:
    case GN_NUM_MINUS_INF:
        return -1;
    case GN_NUM_POSITIVE:
        return v.len > head_len(v);
    default:
        return 1;
    }
}

void gn_num_rescale(gn_num *n, uint32_t scale, bool truncate)
{
    if (gn_num_is_special(n) || scale == n->scale)
        return;
    uint32_t by = scale > n->scale ? scale - n->scale : n->scale - scale;
    bool up = scale > n->scale;
    n->scale = scale;
    if (gn_num_is_zero(n))
        return;
    if (!n->big && by <= GN_NUM_MAX_POW10) {
        gn_u128 power = gn_num_pow10(by);
        if (!up) {
            gn_u128 rest = n->small % power;
            n->small = n->small / power + (!truncate && rest >= power - rest);
            return;
        }
        if (n->small < SMALL_LIMIT / power) {
            n->small *= power;
            return;
        }
    }
    gn_num_make_big(n);
    mpz_t power;
    mpz_init(power);
    gn_num_mpz_pow10(power, by);
    if (up) {
        mpz_mul(n->magnitude, n->magnitude, power);
    } else {
        if (!truncate) { /* floor((m + p/2) / p): p is even */
            mpz_t half;
            mpz_init(half);
            mpz_fdiv_q_2exp(half, power, 1);
            mpz_add(n->magnitude, n->magnitude, half);
            mpz_clear(half);
        }
        mpz_tdiv_q(n->magnitude, n->magnitude, power);
        gn_num_make_small(n);
    }
    mpz_clear(power);
}

/* ---- digits ---- */

char *gn_num_digits(const gn_num *n, char stack[GN_NUM_STACK], size_t *len)
{
    if (n->big) {
        char *digits = gn_xmalloc(mpz_sizeinbase(n->magnitude, 10) + 2);
        mpz_get_str(digits, 10, n->magnitude);
        *len = strlen(digits);
        return digits;
    }
    char *end = stack + GN_NUM_STACK - 1, *p = end;
    *end = '\0';
    gn_u128 v = n->small;
    while (v >> 64) { /* nineteen digits at a time, so that the rest is 64-bit arithmetic */
        uint64_t part = (uint64_t)(v % 10000000000000000000u);
        v /= 10000000000000000000u;
        for (int i = 0; i < 19; i++, part /= 10)
            *--p = (char)('0' + part % 10);
    }
    for (uint64_t rest = (uint64_t)v; rest; rest /= 10)
        *--p = (char)('0' + rest % 10);
    *len = (size_t)(end - p);
    memmove(stack, p, *len + 1);
    return stack;
}

void gn_num_digits_free(char *digits, const char *stack)
{
    if (digits != stack)
        free(digits);
}

static int floor_div4(int v)
{
    return v >= 0 ? v / 4 : -((3 - v) / 4);
}

static uint32_t digits_value(const char *digits, size_t len, size_t from, size_t n)
{
    uint32_t v = 0;
    for (size_t i = from; i < from + n; i++)
        v = v * 10 + (i < len ? (uint32_t)(digits[i] - '0') : 0);
    return v;
}

gn_num_head gn_num_head_of(const gn_num *n)
{
    gn_num_head head = {0};
    char stack[GN_NUM_STACK];
    size_t len;
    if (gn_num_is_zero(n))
        return head;
    char *digits = gn_num_digits(n, stack, &len);
    int exponent = (int)len - 1 - (int)n->scale; /* of the first digit */
    head.weight = floor_div4(exponent);
    size_t in_first = (size_t)(exponent - 4 * head.weight) + 1;
    head.first = digits_value(digits, len, 0, in_first);
    head.count = 1;
    for (size_t i = in_first; i < len && head.count == 1; i++) /* PostgreSQL strips trailing zero groups */
        head.count += digits[i] != '0';
    if (head.count == 2)
        head.second = digits_value(digits, len, in_first, 4);
    gn_num_digits_free(digits, stack);
    return head;
}

/* ---- comparison ---- */

static int special_rank(const gn_num *n)
{
    return n->kind == GN_NUM_NAN ? 2 : n->kind == GN_NUM_INF ? 1 : n->kind == GN_NUM_MINUS_INF ? -1 : 0;
}

static int compare_magnitudes(gn_num *a, gn_num *b)
{
    uint32_t scale = a->scale > b->scale ? a->scale : b->scale;
    gn_num_rescale(a, scale, false);
    gn_num_rescale(b, scale, false);
    if (!a->big && !b->big)
        return (a->small > b->small) - (a->small < b->small);
    gn_num_make_big(a);
    gn_num_make_big(b);
    return mpz_cmp(a->magnitude, b->magnitude);
}

int gn_numeric_compare(gn_bytes va, gn_bytes vb)
{
    gn_num a = gn_num_load(va), b = gn_num_load(vb);
    int result;
    if (gn_num_is_special(&a) || gn_num_is_special(&b)) {
        result = special_rank(&a) - special_rank(&b);
    } else {
        int sa = gn_numeric_sign(va), sb = gn_numeric_sign(vb);
        result = sa != sb ? sa - sb : sa < 0 ? -compare_magnitudes(&a, &b) : compare_magnitudes(&a, &b);
    }
    gn_num_close(&a);
    gn_num_close(&b);
    return (result > 0) - (result < 0);
}

/* Drops zeros at the end of the fraction. */
static void trim(gn_num *n)
{
    if (gn_num_is_special(n))
        return;
    if (gn_num_is_zero(n)) {
        n->scale = 0;
        return;
    }
    if (n->big) {
        while (n->scale && mpz_divisible_ui_p(n->magnitude, 10)) {
            mpz_divexact_ui(n->magnitude, n->magnitude, 10);
            n->scale--;
        }
        gn_num_make_small(n);
    }
    while (!n->big && n->scale && n->small % 10 == 0) {
        n->small /= 10;
        n->scale--;
    }
}

gn_code gn_numeric_trim_scale(gn_bytes v, gn_arena *arena, gn_bytes *out, gn_error *err)
{
    gn_num n = gn_num_load(v);
    trim(&n);
    gn_code code = gn_num_store(&n, arena, out, err);
    gn_num_close(&n);
    return code;
}

uint64_t gn_numeric_hash(gn_bytes v)
{
    gn_num n = gn_num_load(v);
    trim(&n);
    uint64_t h;
    if (n.big) {
        size_t count = mpz_size(n.magnitude);
        h = gn_hash_bytes(gn_bytes_of(mpz_limbs_read(n.magnitude), count * sizeof(mp_limb_t)));
    } else {
        h = gn_hash_bytes(gn_bytes_of(&n.small, sizeof(n.small)));
    }
    h ^= gn_hash_u64((uint64_t)n.kind << 32 | n.scale);
    gn_num_close(&n);
    return h;
}

/* ---- text ---- */

static bool parse_special(gn_bytes word, gn_num_kind *kind)
{
    static const struct {
        const char *word;
        gn_num_kind kind;
    } words[] = {{"NaN", GN_NUM_NAN},  {"Infinity", GN_NUM_INF},        {"+Infinity", GN_NUM_INF}, {"inf", GN_NUM_INF},
                 {"+inf", GN_NUM_INF}, {"-Infinity", GN_NUM_MINUS_INF}, {"-inf", GN_NUM_MINUS_INF}};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (gn_same_word(word, words[i].word)) {
            *kind = words[i].kind;
            return true;
        }
    return false;
}

/* A number's text, taken apart. Leading zeros of the whole part are not in it. */
typedef struct number_text {
    bool negative;
    const uint8_t *whole, *fraction;
    size_t n_whole, n_fraction;
    int64_t exponent;
} number_text;

static bool split_number(gn_bytes word, number_text *out)
{
    const uint8_t *p = word.data, *end = p + word.len;
    *out = (number_text){0};
    if (p < end && (*p == '-' || *p == '+'))
        out->negative = *p++ == '-';
    const uint8_t *from = p;
    while (p < end && gn_is_digit(*p))
        p++;
    out->whole = from;
    out->n_whole = (size_t)(p - from);
    size_t digits = out->n_whole;
    if (p < end && *p == '.') {
        from = ++p;
        while (p < end && gn_is_digit(*p))
            p++;
        out->fraction = from;
        out->n_fraction = (size_t)(p - from);
        digits += out->n_fraction;
    }
    if (digits == 0)
        return false;
    if (p < end && (*p | 0x20) == 'e') {
        bool minus = false;
        if (++p < end && (*p == '-' || *p == '+'))
            minus = *p++ == '-';
        if (p == end || !gn_is_digit(*p))
            return false;
        for (; p < end && gn_is_digit(*p); p++)
            out->exponent = out->exponent < 2000000000 ? out->exponent * 10 + (*p - '0') : out->exponent;
        if (minus)
            out->exponent = -out->exponent;
    }
    while (out->n_whole && *out->whole == '0')
        out->whole++, out->n_whole--;
    return p == end;
}

static void digits_to_magnitude(const number_text *t, gn_num *n)
{
    size_t total = t->n_whole + t->n_fraction;
    if (total <= 38) {
        gn_u128 v = 0;
        for (size_t i = 0; i < t->n_whole; i++)
            v = v * 10 + (unsigned)(t->whole[i] - '0');
        for (size_t i = 0; i < t->n_fraction; i++)
            v = v * 10 + (unsigned)(t->fraction[i] - '0');
        n->small = v; /* below 10^38 < 2^127 */
        return;
    }
    char *digits = gn_xmalloc(total + 1);
    memcpy(digits, t->whole, t->n_whole);
    if (t->n_fraction)
        memcpy(digits + t->n_whole, t->fraction, t->n_fraction);
    digits[total] = '\0';
    mpz_init_set_str(n->magnitude, digits, 10);
    n->big = true;
    gn_num_make_small(n);
    free(digits);
}

gn_code gn_numeric_parse(gn_bytes text, gn_arena *arena, gn_bytes *out, gn_error *err)
{
    gn_bytes word = gn_trim_space(text);
    number_text t;
    gn_num n = {0};
    if (!split_number(word, &t)) {
        if (!parse_special(word, &n.kind))
            return gn_bad_text(text, gn_type_of(GN_T_NUMERIC), err);
        return gn_num_store(&n, arena, out, err);
    }
    int64_t scale = (int64_t)t.n_fraction - t.exponent;
    if (t.n_whole > GN_MAX_NUMERIC_DIGITS + GN_NUM_MAX_SCALE ||
        t.n_fraction > GN_MAX_NUMERIC_DIGITS + GN_NUM_MAX_SCALE || scale > GN_NUM_MAX_SCALE ||
        t.exponent >= INT32_MAX / 2 || t.exponent <= -(INT32_MAX / 2))
        return gn_num_overflow(err);
    digits_to_magnitude(&t, &n);
    n.kind = t.negative ? GN_NUM_NEGATIVE : GN_NUM_POSITIVE;
    gn_code code = GN_OK;
    if (scale >= 0) {
        n.scale = (uint32_t)scale;
    } else if (!gn_num_is_zero(&n)) {
        if (-scale > GN_MAX_NUMERIC_DIGITS)
            code = gn_num_overflow(err);
        else { /* shift by pretending a scale */
            gn_num_rescale(&n, (uint32_t)-scale, false);
            n.scale = 0;
        }
    }
    if (code == GN_OK)
        code = gn_num_store(&n, arena, out, err);
    gn_num_close(&n);
    return code;
}

bool gn_numeric_print(gn_bytes v, gn_buf *out)
{
    static const char *const words[] = {
        [GN_NUM_NAN] = "NaN", [GN_NUM_INF] = "Infinity", [GN_NUM_MINUS_INF] = "-Infinity"};
    gn_num n = gn_num_load(v);
    if (gn_num_is_special(&n))
        return gn_buf_append_str(out, words[n.kind]);
    char stack[GN_NUM_STACK];
    size_t len;
    char *digits = gn_num_digits(&n, stack, &len);
    if (n.kind == GN_NUM_NEGATIVE)
        gn_buf_append_u8(out, '-');
    size_t whole = len > n.scale ? len - n.scale : 0;
    if (whole)
        gn_buf_append(out, digits, whole);
    else
        gn_buf_append_u8(out, '0');
    if (n.scale) {
        gn_buf_append_u8(out, '.');
        for (size_t zeros = n.scale - (len - whole); zeros; zeros--)
            gn_buf_append_u8(out, '0');
        gn_buf_append(out, digits + whole, len - whole);
    }
    gn_num_digits_free(digits, stack);
    gn_num_close(&n);
    return !out->failed;
}

/* ---- to and from machine numbers ---- */

gn_code gn_numeric_from_i64(int64_t v, gn_arena *arena, gn_bytes *out, gn_error *err)
{
    gn_num n = {.kind = v < 0 ? GN_NUM_NEGATIVE : GN_NUM_POSITIVE, .small = v < 0 ? 0 - (uint64_t)v : (uint64_t)v};
    return gn_num_store(&n, arena, out, err);
}

static gn_code from_float(double v, int digits, gn_arena *arena, gn_bytes *out, gn_error *err)
{
    char text[64];
    if (isnan(v))
        return gn_num_store_special(GN_NUM_NAN, arena, out, err);
    if (isinf(v))
        return gn_num_store_special(v > 0 ? GN_NUM_INF : GN_NUM_MINUS_INF, arena, out, err);
    snprintf(text, sizeof(text), "%.*g", digits, v);
    return gn_numeric_parse(gn_bytes_str(text), arena, out, err);
}

gn_code gn_numeric_from_f64(double v, gn_arena *arena, gn_bytes *out, gn_error *err)
{
    return from_float(v, 15, arena, out, err);
}

gn_code gn_numeric_from_f32(float v, gn_arena *arena, gn_bytes *out, gn_error *err)
{
    return from_float((double)v, 6, arena, out, err);
}

gn_code gn_numeric_to_i64(gn_bytes v, gn_type_id int_type, int64_t *out, gn_error *err)
{
    char name[64];
    gn_type_format(gn_type_of(int_type), name, sizeof(name));
    gn_num n = gn_num_load(v);
    if (gn_num_is_special(&n))
        return gn_error_set(err, GN_FEATURE, "cannot convert %s to %s", n.kind == GN_NUM_NAN ? "NaN" : "infinity",
                            name);
    gn_num_rescale(&n, 0, false);
    gn_num_make_small(&n);
    bool negative = n.kind == GN_NUM_NEGATIVE;
    uint64_t most = int_type == GN_T_INT2 ? INT16_MAX : int_type == GN_T_INT4 ? INT32_MAX : INT64_MAX;
    bool fits = !n.big && n.small <= (gn_u128)most + negative;
    uint64_t magnitude = (uint64_t)n.small;
    gn_num_close(&n);
    if (!fits)
        return gn_error_set(err, GN_NUMERIC_RANGE, "%s out of range", name);
    *out = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
    return GN_OK;
}

static gn_scan_result to_double(gn_bytes v, double *out)
{
    gn_num n = gn_num_load(v);
    if (gn_num_is_special(&n)) {
        *out = n.kind == GN_NUM_NAN ? NAN : n.kind == GN_NUM_INF ? INFINITY : -INFINITY;
        return GN_SCAN_OK;
    }
    char stack[GN_NUM_STACK], text[840];
    size_t len;
    char *digits = gn_num_digits(&n, stack, &len);
    size_t kept = len < 800 ? len : 800; /* more do not decide, but by not being zero */
    memcpy(text, digits, kept);
    if (kept < len)
        text[kept - 1] = '1';
    size_t used = kept ? kept : (size_t)snprintf(text, sizeof text, "0");
    used += (size_t)snprintf(text + used, sizeof text - used, "e%d", (int)(len - kept) - (int)n.scale);
    const uint8_t *p = (const uint8_t *)text;
    gn_scan_result result = gn_scan_f64(&p, p + used, out);
    if (n.kind == GN_NUM_NEGATIVE)
        *out = -*out;
    gn_num_digits_free(digits, stack);
    gn_num_close(&n);
    return result;
}

gn_code gn_numeric_to_f64(gn_bytes v, double *out, gn_error *err)
{
    if (to_double(v, out) == GN_SCAN_OK)
        return GN_OK;
    gn_buf text;
    gn_buf_init(&text, NULL, 1 << 20);
    gn_numeric_print(v, &text);
    gn_code code = gn_error_set(err, GN_NUMERIC_RANGE, "\"%.*s\" is out of range for type double precision",
                                gn_quotable(gn_buf_bytes(&text)), (const char *)text.data);
    gn_buf_close(&text);
    return code;
}

double gn_numeric_estimate(gn_bytes v)
{
    double d;
    to_double(v, &d);
    return d;
}

/* ---- numeric(p,s) ---- */

gn_code gn_numeric_apply_typmod(gn_bytes v, int32_t typmod, gn_arena *arena, gn_bytes *out, gn_error *err)
{
    if (typmod < 0 || gn_numeric_is_nan(v)) {
        *out = v;
        return GN_OK;
    }
    int precision = typmod >> 16, scale = (int16_t)(typmod & 0xffff);
    if (gn_numeric_is_infinite(v)) {
        gn_code code = gn_error_set(err, GN_NUMERIC_RANGE, "numeric field overflow");
        gn_error_detail(err, "A field with precision %d, scale %d cannot hold an infinite value.", precision, scale);
        return code;
    }
    gn_bytes rounded = v;
    if (scale < 0 || gn_numeric_scale(v) != (uint32_t)scale) {
        gn_code code = gn_numeric_round(v, scale, arena, &rounded, err);
        if (code != GN_OK)
            return code;
    }
    gn_num n = gn_num_load(rounded);
    char stack[GN_NUM_STACK];
    size_t len;
    char *digits = gn_num_digits(&n, stack, &len);
    bool fits = gn_num_is_zero(&n) || (int)len - (int)n.scale <= precision - scale;
    gn_num_digits_free(digits, stack);
    gn_num_close(&n);
    if (!fits) {
        int most = precision - scale;
        gn_code code = gn_error_set(err, GN_NUMERIC_RANGE, "numeric field overflow");
        gn_error_detail(err, "A field with precision %d, scale %d must round to an absolute value less than %s%d.",
                        precision, scale, most ? "10^" : "", most ? most : 1);
        return code;
    }
    *out = rounded;
    return GN_OK;
}

/* ---- binary form: PostgreSQL's groups of four digits ---- */

enum { WIRE_NEGATIVE = 0x4000, WIRE_NAN = 0xc000, WIRE_INF = 0xd000, WIRE_MINUS_INF = 0xf000 };

static bool send_head(gn_buf *out, size_t groups, int weight, uint16_t sign, uint32_t scale)
{
    gn_buf_append_be16(out, (uint16_t)groups);
    gn_buf_append_be16(out, (uint16_t)weight);
    gn_buf_append_be16(out, sign);
    return gn_buf_append_be16(out, (uint16_t)scale);
}

static bool numeric_send(const gn_value *value, gn_buf *out)
{
    gn_num n = gn_num_load(value->as.bytes);
    if (gn_num_is_special(&n))
        return send_head(out, 0, 0,
                         n.kind == GN_NUM_NAN   ? WIRE_NAN
                         : n.kind == GN_NUM_INF ? WIRE_INF
                                                : WIRE_MINUS_INF,
                         0);
    if (gn_num_is_zero(&n))
        return send_head(out, 0, 0, 0, n.scale);
    char stack[GN_NUM_STACK];
    size_t len;
    char *digits = gn_num_digits(&n, stack, &len);
    size_t used = len;
    while (digits[used - 1] == '0')
        used--;
    int exponent = (int)len - 1 - (int)n.scale, weight = floor_div4(exponent);
    size_t in_first = (size_t)(exponent - 4 * weight) + 1;
    size_t groups = used <= in_first ? 1 : 1 + (used - in_first + 3) / 4;
    send_head(out, groups, weight, n.kind == GN_NUM_NEGATIVE ? WIRE_NEGATIVE : 0, n.scale);
    gn_buf_append_be16(out, (uint16_t)digits_value(digits, len, 0, in_first));
    for (size_t i = 1; i < groups; i++)
        gn_buf_append_be16(out, (uint16_t)digits_value(digits, len, in_first + 4 * (i - 1), 4));
    gn_num_digits_free(digits, stack);
    gn_num_close(&n);
    return !out->failed;
}

static gn_code bad_external(const char *what, gn_error *err)
{
    return gn_error_set(err, GN_BAD_BINARY, "invalid %s in external \"numeric\" value", what);
}

/* groups * 10000^(weight - n + 1), cut to `scale` digits behind the point. */
static gn_code recv_digits(gn_reader *r, size_t groups, int weight, uint32_t scale, gn_num *n, gn_error *err)
{
    char *digits = gn_xmalloc(4 * groups + 2);
    for (size_t i = 0; i < groups; i++) {
        uint16_t group = gn_read_be16(r);
        if (group > 9999) {
            free(digits);
            return bad_external("digit", err);
        }
        for (int j = 3; j >= 0; j--, group /= 10)
            digits[4 * i + (size_t)j] = (char)('0' + group % 10);
    }
    snprintf(digits + 4 * groups, 2, "%s", groups ? "" : "0");
    mpz_init_set_str(n->magnitude, digits, 10);
    n->big = true;
    free(digits);
    int64_t behind = 4 * ((int64_t)groups - 1 - weight); /* digits behind the point as sent */
    if (mpz_sgn(n->magnitude) == 0) {
        n->scale = scale;
    } else if (behind < 0) { /* shift by pretending a scale: at most 4 * 32768 */
        gn_num_rescale(n, (uint32_t)-behind, false);
        n->scale = 0;
        gn_num_rescale(n, scale, true);
    } else {
        n->scale = (uint32_t)behind;
        gn_num_rescale(n, scale, true);
    }
    gn_num_make_small(n);
    return GN_OK;
}

static gn_code numeric_recv(gn_bytes wire, gn_type type, gn_arena *arena, gn_value *out, gn_error *err)
{
    gn_reader r = gn_reader_of(wire);
    uint16_t groups = gn_read_be16(&r);
    int16_t weight = (int16_t)gn_read_be16(&r);
    uint16_t sign = gn_read_be16(&r), scale = gn_read_be16(&r);
    if (r.failed || gn_reader_left(&r) != 2 * (size_t)groups)
        return gn_bad_wire(type, err);
    gn_num n = {0};
    gn_code code = GN_OK;
    switch (sign) {
    case 0:
    case WIRE_NEGATIVE:
        if (scale > GN_NUM_MAX_SCALE)
            return bad_external("scale", err);
        n.kind = sign ? GN_NUM_NEGATIVE : GN_NUM_POSITIVE;
        code = recv_digits(&r, groups, weight, scale, &n, err);
        break;
    case WIRE_NAN:
        n.kind = GN_NUM_NAN;
        break;
    case WIRE_INF:
        n.kind = GN_NUM_INF;
        break;
    case WIRE_MINUS_INF:
        n.kind = GN_NUM_MINUS_INF;
        break;
    default:
        return bad_external("sign", err);
    }
    gn_value v = {.type = type};
    if (code == GN_OK)
        code = gn_num_store(&n, arena, &v.as.bytes, err);
    gn_num_close(&n);
    if (code == GN_OK)
        code = gn_numeric_apply_typmod(v.as.bytes, type.typmod, arena, &v.as.bytes, err);
    if (code == GN_OK)
        *out = v;
    return code;
}

/* ---- keys ----
 * A class byte; then for finite values but zero the exponent of the first digit, big endian with its sign bit flipped,
 * and the digits without trailing zeros, two a byte, each byte one more than the pair, ended by 0. All but the class is
 * inverted for negative values. */

enum key_class { KEY_MINUS_INF = 1, KEY_NEGATIVE, KEY_ZERO, KEY_POSITIVE, KEY_INF, KEY_NAN };

static void put_key_digits(gn_buf *out, const char *digits, size_t len, int exponent, uint8_t flip)
{
    uint32_t biased = (uint32_t)exponent ^ 0x80000000u;
    while (len && digits[len - 1] == '0')
        len--;
    for (int shift = 24; shift >= 0; shift -= 8)
        gn_buf_append_u8(out, (uint8_t)(biased >> shift) ^ flip);
    for (size_t i = 0; i < len; i += 2)
        gn_buf_append_u8(out, (uint8_t)(digits_value(digits, len, i, 2) + 1) ^ flip);
    gn_buf_append_u8(out, flip);
}

void gn_numeric_key_put(gn_buf *out, gn_bytes v)
{
    static const uint8_t classes[] = {
        [GN_NUM_NAN] = KEY_NAN, [GN_NUM_INF] = KEY_INF, [GN_NUM_MINUS_INF] = KEY_MINUS_INF};
    gn_num n = gn_num_load(v);
    if (gn_num_is_special(&n)) {
        gn_buf_append_u8(out, classes[n.kind]);
        return;
    }
    if (gn_num_is_zero(&n)) {
        gn_buf_append_u8(out, KEY_ZERO);
        return;
    }
    bool negative = n.kind == GN_NUM_NEGATIVE;
    char stack[GN_NUM_STACK];
    size_t len;
    char *digits = gn_num_digits(&n, stack, &len);
    gn_buf_append_u8(out, negative ? KEY_NEGATIVE : KEY_POSITIVE);
    put_key_digits(out, digits, len, (int)len - 1 - (int)n.scale, negative ? 0xff : 0);
    gn_num_digits_free(digits, stack);
    gn_num_close(&n);
}

/* The digits of a key as text "ddd...e<exponent>". */
static gn_code get_key_digits(gn_key_reader *r, bool negative, gn_arena *arena, gn_bytes *out, gn_error *err)
{
    gn_key_reader in = *r;
    in.flip ^= negative ? 0xff : 0;
    int32_t exponent = (int32_t)((uint32_t)gn_key_get_u64(&in, 4) ^ 0x80000000u);
    char digits[2 * GN_MAX_KEY + 40];
    size_t n = 0;
    uint8_t pair;
    if (negative)
        digits[n++] = '-';
    while ((pair = (uint8_t)gn_key_get_u64(&in, 1)) != 0 && pair <= 100 && n < 2 * (size_t)GN_MAX_KEY) {
        digits[n++] = (char)('0' + (pair - 1) / 10);
        digits[n++] = (char)('0' + (pair - 1) % 10);
    }
    if (in.failed || pair != 0 || n <= negative) {
        r->failed = true;
        return GN_OK;
    }
    r->p = in.p;
    if (!arena)
        return GN_OK;
    if (exponent > GN_MAX_NUMERIC_DIGITS || exponent < -GN_NUM_MAX_SCALE - 1) {
        r->failed = true;
        return GN_OK;
    }
    int pairs_exponent = exponent - (int)(n - negative) + 1;
    if (digits[n - 1] == '0')
        n--, pairs_exponent++; /* the zero that filled the last pair */
    n += (size_t)snprintf(digits + n, sizeof digits - n, "e%d", pairs_exponent);
    return gn_numeric_parse(gn_bytes_of(digits, n), arena, out, err);
}

gn_code gn_numeric_key_get(gn_key_reader *r, gn_arena *arena, gn_bytes *out, gn_error *err)
{
    gn_num n = {0};
    switch (gn_key_get_u64(r, 1)) {
    case KEY_MINUS_INF:
        n.kind = GN_NUM_MINUS_INF;
        break;
    case KEY_INF:
        n.kind = GN_NUM_INF;
        break;
    case KEY_NAN:
        n.kind = GN_NUM_NAN;
        break;
    case KEY_ZERO:
        break;
    case KEY_NEGATIVE:
        return get_key_digits(r, true, arena, out, err);
    case KEY_POSITIVE:
        return get_key_digits(r, false, arena, out, err);
    default:
        r->failed = true;
        return GN_OK;
    }
    return arena ? gn_num_store(&n, arena, out, err) : GN_OK;
}

/* ---- the type ---- */

static gn_code numeric_parse(gn_bytes text, gn_type type, const gn_format *format, gn_arena *arena, gn_value *out,
                             gn_error *err)
{
    (void)format;
    gn_value v = {.type = type};
    gn_code code = gn_numeric_parse(text, arena, &v.as.bytes, err);
    if (code == GN_OK)
        code = gn_numeric_apply_typmod(v.as.bytes, type.typmod, arena, &v.as.bytes, err);
    if (code == GN_OK)
        *out = v;
    return code;
}

static bool numeric_print(const gn_value *v, const gn_format *format, gn_buf *out)
{
    (void)format;
    return gn_numeric_print(v->as.bytes, out);
}

static int numeric_compare(const gn_value *a, const gn_value *b)
{
    return gn_numeric_compare(a->as.bytes, b->as.bytes);
}

static uint64_t numeric_hash(const gn_value *v)
{
    return gn_numeric_hash(v->as.bytes);
}

const gn_type_ops gn_numeric_ops = {numeric_parse, numeric_print,   numeric_recv,
                                    numeric_send,  numeric_compare, numeric_hash};
