/* real and double precision: reading, shortest printing, order.
 *
 * Reading. Up to 19 digits are gathered into an integer m, x = m * 10^e. If m and 10^|e| are exact in a wider format,
 * one correctly rounded operation gives x rounded to that format; rounding it again to the narrow format is right
 * unless it landed exactly on a midpoint (Clinger 1990, "How to read floating point numbers accurately", and the double
 * rounding argument). Everything else goes to strtod, which is exact.
 *
 * Printing. Schubfach (Raffaello Giulietti, "The Schubfach way to render doubles", 2020): of the decimals that lie
 * strictly inside the rounding interval, the shortest, of those the closest. PostgreSQL's Ryu does not count the ends
 * of the interval as inside either, whatever the parity. The table of powers is computed once with GMP. */
#include "query/value_private.h"

#include <errno.h>
#include <float.h>
#include <gmp.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- reading ---- */

typedef struct decimal {
    bool negative;
    bool truncated;        /* digits that are not in mantissa were not all zero */
    uint64_t mantissa;     /* the first 19 significant digits */
    int64_t exponent;      /* of ten, for mantissa */
    const uint8_t *digits; /* where they began: for the slow way */
    const uint8_t *digits_end;
    int64_t written_exponent;
} decimal;

static const double pow10_f64[23] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                     1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

/* Eight ASCII digits at once (SWAR), little endian. */
static bool eight_digits(const uint8_t *p, uint32_t *out)
{
    uint64_t v;
    memcpy(&v, p, 8);
    if (((v & 0xf0f0f0f0f0f0f0f0u) | (((v + 0x0606060606060606u) & 0xf0f0f0f0f0f0f0f0u) >> 4)) != 0x3333333333333333u)
        return false;
    v -= 0x3030303030303030u;
    v = v * 10 + (v >> 8);
    *out = (uint32_t)((((v & 0x000000ff000000ffu) * 0x000f424000000064u) +
                       (((v >> 16) & 0x000000ff000000ffu) * 0x0000271000000001u)) >>
                      32);
    return true;
}

typedef struct digit_run {
    uint64_t mantissa;
    int kept; /* significant digits in mantissa */
    int64_t dropped;
    bool truncated;
} digit_run;

static const uint8_t *scan_digits(const uint8_t *p, const uint8_t *end, digit_run *run)
{
    uint32_t eight;
    while (end - p >= 8 && run->kept <= 11 && eight_digits(p, &eight)) {
        run->mantissa = run->mantissa * 100000000 + eight;
        run->kept = run->mantissa ? run->kept + 8 : 0; /* leading zeros counted as digits only waste room */
        p += 8;
    }
    for (; p < end && gn_is_digit(*p); p++) {
        if (run->kept < 19) {
            run->mantissa = run->mantissa * 10 + (uint64_t)(*p - '0');
            run->kept += run->mantissa != 0;
        } else {
            run->dropped++;
            run->truncated |= *p != '0';
        }
    }
    return p;
}

/* Returns where the number ends, NULL if there is none. */
static const uint8_t *scan_decimal(const uint8_t *p, const uint8_t *end, decimal *d)
{
    *d = (decimal){0};
    if (p < end && (*p == '-' || *p == '+'))
        d->negative = *p++ == '-';
    digit_run run = {0};
    d->digits = p;
    const uint8_t *q = scan_digits(p, end, &run);
    int64_t n_digits = q - p, fraction = 0;
    if (q < end && *q == '.') {
        int64_t dropped = run.dropped;
        const uint8_t *from = ++q;
        q = scan_digits(from, end, &run);
        n_digits += q - from;
        fraction = (q - from) - (run.dropped - dropped); /* digits behind the point that are in mantissa */
        d->exponent = dropped;
    } else {
        d->exponent = run.dropped;
    }
    if (n_digits == 0)
        return NULL;
    d->digits_end = q;
    d->exponent -= fraction;
    if (q < end && (*q | 0x20) == 'e') {
        const uint8_t *e = q + 1;
        bool minus = false;
        if (e < end && (*e == '-' || *e == '+'))
            minus = *e++ == '-';
        if (e < end && gn_is_digit(*e)) {
            int64_t v = 0;
            for (; e < end && gn_is_digit(*e); e++)
                v = v < 1000000000 ? v * 10 + (*e - '0') : v;
            d->written_exponent = minus ? -v : v;
            d->exponent += d->written_exponent;
            q = e;
        }
    }
    d->mantissa = run.mantissa;
    d->truncated = run.truncated;
    return q;
}

/* Writes an equal number that strtod can read: at most 800 significant digits decide a double, and a last 1 stands for
 * whatever not-zero digits follow. */
static void normalise(const decimal *d, char out[850])
{
    enum { MOST = 800 };
    int64_t exponent = d->written_exponent;
    size_t n = 0;
    bool fraction = false, more = false;
    if (d->negative)
        out[n++] = '-';
    size_t start = n;
    for (const uint8_t *p = d->digits; p < d->digits_end; p++) {
        if (*p == '.') {
            fraction = true;
            continue;
        }
        exponent -= fraction;
        if (n == start && *p == '0')
            continue;
        if (n - start < MOST) {
            out[n++] = (char)*p;
        } else {
            exponent++;
            more |= *p != '0';
        }
    }
    if (more) {
        out[n++] = '1';
        exponent--;
    }
    if (n == start)
        out[n++] = '0';
    if (exponent > 100000)
        exponent = 100000;
    if (exponent < -100000)
        exponent = -100000;
    snprintf(out + n, 20, "e%d", (int)exponent);
}

static gn_scan_result slow_f64(const decimal *d, double *out)
{
    char text[850];
    normalise(d, text);
    *out = strtod(text, NULL);
    return isinf(*out) || *out == 0 ? GN_SCAN_RANGE : GN_SCAN_OK;
}

static gn_scan_result slow_f32(const decimal *d, float *out)
{
    char text[850];
    normalise(d, text);
    *out = strtof(text, NULL);
    return isinf(*out) || *out == 0 ? GN_SCAN_RANGE : GN_SCAN_OK;
}

static gn_scan_result decimal_to_f32(const decimal *d, float *out)
{
    if (d->mantissa == 0) {
        *out = d->negative ? -0.0f : 0.0f;
        return GN_SCAN_OK;
    }
    if (!d->truncated && d->mantissa <= (uint64_t)1 << 53 && d->exponent >= -22 && d->exponent <= 22) {
        double v = (double)d->mantissa;
        v = d->exponent < 0 ? v / pow10_f64[-d->exponent] : v * pow10_f64[d->exponent];
        uint64_t bits;
        memcpy(&bits, &v, 8);
        if (v >= (double)FLT_MIN && v <= (double)FLT_MAX && (bits & 0x1fffffff) != 0x10000000) {
            *out = (float)(d->negative ? -v : v);
            return GN_SCAN_OK;
        }
    }
    return slow_f32(d, out);
}

static gn_scan_result decimal_to_f64(const decimal *d, double *out)
{
    if (d->mantissa == 0) {
        *out = d->negative ? -0.0 : 0.0;
        return GN_SCAN_OK;
    }
    if (!d->truncated && d->mantissa <= (uint64_t)1 << 53 && d->exponent >= -22 && d->exponent <= 22) {
        double v = (double)d->mantissa;
        v = d->exponent < 0 ? v / pow10_f64[-d->exponent] : v * pow10_f64[d->exponent];
        *out = d->negative ? -v : v;
        return GN_SCAN_OK;
    }
#if LDBL_MANT_DIG == 64 /* the x87 format: 10^27 is exact, 11 bits more than a double */
    static const long double pow10_f80[28] = {1e0L,  1e1L,  1e2L,  1e3L,  1e4L,  1e5L,  1e6L,  1e7L,  1e8L,  1e9L,
                                              1e10L, 1e11L, 1e12L, 1e13L, 1e14L, 1e15L, 1e16L, 1e17L, 1e18L, 1e19L,
                                              1e20L, 1e21L, 1e22L, 1e23L, 1e24L, 1e25L, 1e26L, 1e27L};
    if (!d->truncated && d->exponent >= -27 && d->exponent <= 27) {
        long double v = (long double)d->mantissa;
        v = d->exponent < 0 ? v / pow10_f80[-d->exponent] : v * pow10_f80[d->exponent];
        uint64_t bits;
        memcpy(&bits, &v, 8);
        if ((bits & 0x7ff) != 0x400) { /* m * 10^e is far inside double's normal range */
            *out = (double)(d->negative ? -v : v);
            return GN_SCAN_OK;
        }
    }
#endif
    return slow_f64(d, out);
}

/* NaN and the infinities. */
static const uint8_t *scan_special(const uint8_t *p, const uint8_t *end, double *out)
{
    static const struct {
        const char *word;
        double value;
    } words[] = {{"NaN", NAN},      {"Infinity", INFINITY}, {"+Infinity", INFINITY}, {"-Infinity", -INFINITY},
                 {"inf", INFINITY}, {"+inf", INFINITY},     {"-inf", -INFINITY}};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        size_t len = strlen(words[i].word);
        if ((size_t)(end - p) >= len && gn_same_word(gn_bytes_of(p, len), words[i].word)) {
            *out = words[i].value;
            return p + len;
        }
    }
    return NULL;
}

gn_scan_result gn_scan_f32(const uint8_t **p, const uint8_t *end, float *out)
{
    decimal d;
    const uint8_t *after = scan_decimal(*p, end, &d);
    if (after) {
        *p = after;
        return decimal_to_f32(&d, out);
    }
    double special;
    after = scan_special(*p, end, &special);
    if (!after)
        return GN_SCAN_SYNTAX;
    *p = after;
    *out = (float)special;
    return GN_SCAN_OK;
}

gn_scan_result gn_scan_f64(const uint8_t **p, const uint8_t *end, double *out)
{
    decimal d;
    const uint8_t *after = scan_decimal(*p, end, &d);
    if (after) {
        *p = after;
        return decimal_to_f64(&d, out);
    }
    after = scan_special(*p, end, out);
    if (!after)
        return GN_SCAN_SYNTAX;
    *p = after;
    return GN_SCAN_OK;
}

/* ---- printing ---- */

enum { POW10_MIN = -292, POW10_MAX = 324 };

typedef struct u128 {
    uint64_t hi, lo;
} u128;

static u128 pow10_table[POW10_MAX - POW10_MIN + 1];
static pthread_once_t pow10_once = PTHREAD_ONCE_INIT;

/* ceil(10^k * 2^r) with r such that the result has 128 bits. */
static void fill_pow10_table(void)
{
    mpz_t power, g;
    mpz_init(power);
    mpz_init(g);
    for (int k = POW10_MIN; k <= POW10_MAX; k++) {
        mpz_ui_pow_ui(power, 10, (unsigned long)abs(k));
        size_t bits = mpz_sizeinbase(power, 2);
        if (k < 0) {
            mpz_set_ui(g, 1);
            mpz_mul_2exp(g, g, 127 + bits);
            mpz_cdiv_q(g, g, power);
        } else if (bits <= 128) {
            mpz_mul_2exp(g, power, 128 - bits);
        } else {
            mpz_cdiv_q_2exp(g, power, bits - 128);
        }
        u128 *entry = &pow10_table[k - POW10_MIN];
        entry->lo = mpz_get_ui(g);
        mpz_fdiv_q_2exp(g, g, 64);
        entry->hi = mpz_get_ui(g);
    }
    mpz_clear(power);
    mpz_clear(g);
}

static uint64_t round_to_odd(u128 g, uint64_t cp)
{
    unsigned __int128 x = (unsigned __int128)g.lo * cp;
    unsigned __int128 y = (unsigned __int128)g.hi * cp + (uint64_t)(x >> 64);
    return (uint64_t)(y >> 64) | ((uint64_t)y > 1);
}

/* The shortest decimal s * 10^k of c * 2^q. closer: c is a power of two, so the gap below is half of that above. */
static uint64_t shortest(uint64_t c, int q, bool closer, int *exponent)
{
    pthread_once(&pow10_once, fill_pow10_table);
    int k = (q * 1262611 - (closer ? 524031 : 0)) >> 22; /* floor(log10(2^q)), or of 3/4 * 2^q */
    int h = q + ((-k * 1741647) >> 19) + 1;
    u128 g = pow10_table[-k - POW10_MIN];
    uint64_t lower = round_to_odd(g, (4 * c - 2 + closer) << h) + 1;
    uint64_t middle = round_to_odd(g, (4 * c) << h);
    uint64_t upper = round_to_odd(g, (4 * c + 2) << h) - 1;
    uint64_t s = middle / 4;
    if (s >= 10) {
        uint64_t tens = s / 10;
        bool below = lower <= 40 * tens, above = 40 * tens + 40 <= upper;
        if (below != above) {
            *exponent = k + 1;
            return tens + above;
        }
    }
    *exponent = k;
    bool below = lower <= 4 * s, above = 4 * s + 4 <= upper;
    if (below != above)
        return s + above;
    return s + (middle > 4 * s + 2 || (middle == 4 * s + 2 && (s & 1)));
}

/* digits * 10^exponent as %g would lay it out: fixed from 1e-4 up to below 10^fixed_limit. */
static size_t lay_out(uint64_t digits, int exponent, int fixed_limit, char *out)
{
    while (digits % 10 == 0) {
        digits /= 10;
        exponent++;
    }
    char text[24];
    int n = (int)gn_print_i64((int64_t)digits, text);
    int first = exponent + n - 1; /* the exponent of the first digit */
    char *o = out;
    if (first < -4 || first >= fixed_limit) {
        *o++ = text[0];
        if (n > 1) {
            *o++ = '.';
            memcpy(o, text + 1, (size_t)n - 1);
            o += n - 1;
        }
        return (size_t)(o - out) +
               (size_t)snprintf(o, (size_t)(out + GN_FLOAT_TEXT - o), "e%c%02d", first < 0 ? '-' : '+', abs(first));
    }
    if (first < 0) {
        memcpy(o, "0.0000", 6);
        o += 1 - first;
        memcpy(o, text, (size_t)n);
        return (size_t)(o - out) + (size_t)n;
    }
    int whole = first + 1 < n ? first + 1 : n;
    memcpy(o, text, (size_t)whole);
    o += whole;
    if (n > whole) {
        *o++ = '.';
        memcpy(o, text + whole, (size_t)(n - whole));
        return (size_t)(o - out) + (size_t)(n - whole);
    }
    memset(o, '0', (size_t)(first + 1 - n));
    return (size_t)(o - out) + (size_t)(first + 1 - n);
}

static size_t print_special(double v, char *out)
{
    const char *word = isnan(v) ? "NaN" : v > 0 ? "Infinity" : "-Infinity";
    memcpy(out, word, strlen(word));
    return strlen(word);
}

size_t gn_print_f64(double v, int extra_float_digits, char *out)
{
    if (!isfinite(v))
        return print_special(v, out);
    if (extra_float_digits <= 0) {
        int digits = DBL_DIG + extra_float_digits;
        return (size_t)snprintf(out, GN_FLOAT_TEXT, "%.*g", digits < 1 ? 1 : digits, v);
    }
    size_t sign = signbit(v) != 0;
    out[0] = '-';
    if (v == 0) {
        out[sign] = '0';
        return sign + 1;
    }
    uint64_t bits;
    memcpy(&bits, &v, 8);
    uint64_t fraction = bits & (((uint64_t)1 << 52) - 1);
    int biased = (int)(bits >> 52 & 0x7ff), exponent;
    uint64_t c = biased ? fraction | (uint64_t)1 << 52 : fraction;
    uint64_t digits = shortest(c, (biased ? biased : 1) - 1075, fraction == 0 && biased > 1, &exponent);
    return sign + lay_out(digits, exponent, DBL_DIG, out + sign);
}

size_t gn_print_f32(float v, int extra_float_digits, char *out)
{
    if (!isfinite(v))
        return print_special(v, out);
    if (extra_float_digits <= 0) {
        int digits = FLT_DIG + extra_float_digits;
        return (size_t)snprintf(out, GN_FLOAT_TEXT, "%.*g", digits < 1 ? 1 : digits, (double)v);
    }
    size_t sign = signbit(v) != 0;
    out[0] = '-';
    if (v == 0) {
        out[sign] = '0';
        return sign + 1;
    }
    uint32_t bits;
    memcpy(&bits, &v, 4);
    uint32_t fraction = bits & ((1u << 23) - 1);
    int biased = (int)(bits >> 23 & 0xff), exponent;
    uint64_t c = biased ? fraction | 1u << 23 : fraction;
    uint64_t digits = shortest(c, (biased ? biased : 1) - 150, fraction == 0 && biased > 1, &exponent);
    return sign + lay_out(digits, exponent, FLT_DIG, out + sign);
}

/* ---- the types ---- */

int gn_compare_f64(double a, double b)
{
    if (isnan(a) || isnan(b))
        return (int)isnan(a) - (int)isnan(b);
    return (a > b) - (a < b);
}

static uint64_t hash_f64(double v)
{
    uint64_t bits;
    if (v == 0)
        v = 0; /* -0 equals 0 */
    if (isnan(v))
        v = NAN;
    memcpy(&bits, &v, 8);
    return gn_hash_u64(bits);
}

/* strtod's hexadecimal form is accepted too, as PostgreSQL does: `word` is copied to have an end. */
static bool is_hex_float(gn_bytes word)
{
    size_t sign = word.len && (word.data[0] == '-' || word.data[0] == '+');
    return word.len > sign + 2 && word.len < 60 && word.data[sign] == '0' && (word.data[sign + 1] | 0x20) == 'x';
}

static gn_scan_result scan_hex_float(gn_bytes word, bool single, double *out)
{
    char text[64], *end;
    memcpy(text, word.data, word.len);
    text[word.len] = '\0';
    errno = 0;
    *out = single ? (double)strtof(text, &end) : strtod(text, &end);
    if (end != text + word.len)
        return GN_SCAN_SYNTAX;
    return errno == ERANGE && (*out == 0 || isinf(*out)) ? GN_SCAN_RANGE : GN_SCAN_OK;
}

static gn_code float_problem(gn_scan_result result, gn_bytes text, gn_type type, gn_error *err)
{
    if (result == GN_SCAN_SYNTAX)
        return gn_bad_text(text, type, err);
    gn_bytes word = gn_trim_space(text);
    return gn_error_set(err, GN_NUMERIC_RANGE, "\"%.*s\" is out of range for type %s", gn_quotable(word),
                        (const char *)word.data, type.id == GN_T_FLOAT4 ? "real" : "double precision");
}

static gn_code float4_parse(gn_bytes text, gn_type type, const gn_format *format, gn_arena *arena, gn_value *out,
                            gn_error *err)
{
    (void)format, (void)arena;
    gn_bytes word = gn_trim_space(text);
    const uint8_t *p = word.data, *end = word.data + word.len;
    float v = 0;
    gn_scan_result result;
    if (is_hex_float(word)) {
        double wide;
        result = scan_hex_float(word, true, &wide);
        v = (float)wide;
    } else {
        result = gn_scan_f32(&p, end, &v);
        if (p != end)
            result = GN_SCAN_SYNTAX;
    }
    if (result != GN_SCAN_OK)
        return float_problem(result, text, type, err);
    *out = (gn_value){.type = type, .as.f32 = v};
    return GN_OK;
}

static gn_code float8_parse(gn_bytes text, gn_type type, const gn_format *format, gn_arena *arena, gn_value *out,
                            gn_error *err)
{
    (void)format, (void)arena;
    gn_bytes word = gn_trim_space(text);
    const uint8_t *p = word.data, *end = word.data + word.len;
    double v = 0;
    gn_scan_result result;
    if (is_hex_float(word)) {
        result = scan_hex_float(word, false, &v);
    } else {
        result = gn_scan_f64(&p, end, &v);
        if (p != end)
            result = GN_SCAN_SYNTAX;
    }
    if (result != GN_SCAN_OK)
        return float_problem(result, text, type, err);
    *out = (gn_value){.type = type, .as.f64 = v};
    return GN_OK;
}

static bool float4_print(const gn_value *v, const gn_format *format, gn_buf *out)
{
    char text[GN_FLOAT_TEXT];
    return gn_buf_append(out, text, gn_print_f32(v->as.f32, format ? format->extra_float_digits : 1, text));
}

static bool float8_print(const gn_value *v, const gn_format *format, gn_buf *out)
{
    char text[GN_FLOAT_TEXT];
    return gn_buf_append(out, text, gn_print_f64(v->as.f64, format ? format->extra_float_digits : 1, text));
}

static gn_code float4_recv(gn_bytes wire, gn_type type, gn_arena *arena, gn_value *out, gn_error *err)
{
    (void)arena;
    if (wire.len != 4)
        return gn_bad_wire(type, err);
    gn_reader r = gn_reader_of(wire);
    uint32_t bits = gn_read_be32(&r);
    *out = (gn_value){.type = type};
    memcpy(&out->as.f32, &bits, 4);
    return GN_OK;
}

static gn_code float8_recv(gn_bytes wire, gn_type type, gn_arena *arena, gn_value *out, gn_error *err)
{
    (void)arena;
    if (wire.len != 8)
        return gn_bad_wire(type, err);
    gn_reader r = gn_reader_of(wire);
    uint64_t bits = gn_read_be64(&r);
    *out = (gn_value){.type = type};
    memcpy(&out->as.f64, &bits, 8);
    return GN_OK;
}

static bool float4_send(const gn_value *v, gn_buf *out)
{
    uint32_t bits;
    memcpy(&bits, &v->as.f32, 4);
    return gn_buf_append_be32(out, bits);
}

static bool float8_send(const gn_value *v, gn_buf *out)
{
    uint64_t bits;
    memcpy(&bits, &v->as.f64, 8);
    return gn_buf_append_be64(out, bits);
}

static int float4_compare(const gn_value *a, const gn_value *b)
{
    return gn_compare_f64((double)a->as.f32, (double)b->as.f32);
}

static int float8_compare(const gn_value *a, const gn_value *b)
{
    return gn_compare_f64(a->as.f64, b->as.f64);
}

static uint64_t float4_hash(const gn_value *v)
{
    return hash_f64((double)v->as.f32);
}

static uint64_t float8_hash(const gn_value *v)
{
    return hash_f64(v->as.f64);
}

const gn_type_ops gn_float4_ops = {float4_parse, float4_print, float4_recv, float4_send, float4_compare, float4_hash};
const gn_type_ops gn_float8_ops = {float8_parse, float8_print, float8_recv, float8_send, float8_compare, float8_hash};
