/* ln, log, exp and power of numerics. The number of digits of a result is chosen as PostgreSQL does (16 significant
 * ones at least); the values are computed in binary fixed point with bits to spare and rounded once.
 *
 * ln: the argument is brought near 1 by powers of two and square roots, then 2 atanh((m-1)/(m+1)). exp: by multiples of
 * ln 2 and halving, then Taylor's series and squaring (Brent and Zimmermann, Modern Computer Arithmetic, 4.3, 4.4). */
#include "query/numeric_private.h"
#include "query/value_private.h"

#include <math.h>
#include <stdlib.h>

enum { GUARD = 64, HALVINGS = 8, MAX_RESULT_SCALE = 2000 };

typedef mp_bitcnt_t bits_t;

static bits_t bits_for_digits(int digits)
{
    return (bits_t)((double)(digits < 0 ? 0 : digits) * 3.3219280949) + GUARD;
}

/* ---- fixed point: integers that stand for themselves / 2^p ---- */

/* sum over odd k of y^k / k, as fixed point; y is used up */
static void atanh_series(mpz_t out, mpz_t y, bits_t p)
{
    mpz_t square, term;
    mpz_init(square);
    mpz_init(term);
    mpz_mul(square, y, y);
    mpz_fdiv_q_2exp(square, square, p);
    mpz_set(out, y);
    for (unsigned long k = 3; mpz_sgn(y) != 0; k += 2) {
        mpz_mul(y, y, square);
        mpz_tdiv_q_2exp(y, y, p);
        mpz_tdiv_q_ui(term, y, k);
        mpz_add(out, out, term);
    }
    mpz_clear(square);
    mpz_clear(term);
}

static void add_atanh_of_inverse(mpz_t sum, long times, unsigned long n, bits_t p)
{
    mpz_t y, part;
    mpz_init_set_ui(y, 1);
    mpz_init(part);
    mpz_mul_2exp(y, y, p);
    mpz_tdiv_q_ui(y, y, n);
    atanh_series(part, y, p);
    mpz_mul_si(part, part, times);
    mpz_add(sum, sum, part);
    mpz_clear(y);
    mpz_clear(part);
}

static void fixed_ln2(mpz_t out, bits_t p)
{
    mpz_set_ui(out, 0);
    add_atanh_of_inverse(out, 18, 26, p);
    add_atanh_of_inverse(out, -2, 4801, p);
    add_atanh_of_inverse(out, 8, 8749, p);
}

static void shift(mpz_t v, long by)
{
    if (by >= 0)
        mpz_mul_2exp(v, v, (bits_t)by);
    else
        mpz_fdiv_q_2exp(v, v, (bits_t)-by);
}

/* magnitude / 10^scale with p bits behind the point, divided by 2^exponent */
static void fixed_of(mpz_t out, const gn_num *n, bits_t p, long exponent)
{
    gn_num copy = {.kind = GN_NUM_POSITIVE, .big = n->big, .small = n->small};
    if (n->big)
        mpz_init_set(copy.magnitude, n->magnitude);
    else
        gn_num_make_big(&copy);
    mpz_t power;
    mpz_init(power);
    gn_num_mpz_pow10(power, n->scale);
    mpz_set(out, copy.magnitude);
    if (exponent <= (long)p) {
        mpz_mul_2exp(out, out, (bits_t)((long)p - exponent));
    } else {
        mpz_mul_2exp(power, power, (bits_t)(exponent - (long)p));
    }
    mpz_fdiv_q(out, out, power);
    mpz_clear(power);
    gn_num_close(&copy);
}

static long bit_length(const gn_num *n)
{
    gn_num copy = {.kind = GN_NUM_POSITIVE, .small = n->small};
    if (n->big)
        return (long)mpz_sizeinbase(n->magnitude, 2);
    gn_num_make_big(&copy);
    long bits = (long)mpz_sizeinbase(copy.magnitude, 2);
    gn_num_close(&copy);
    return bits;
}

/* ln of a positive value */
static void fixed_ln(mpz_t out, const gn_num *n, bits_t p)
{
    bits_t work = p + GUARD;
    long exponent = bit_length(n) - (long)((double)n->scale * 3.3219280949);
    mpz_t m, one, ln2;
    mpz_init(m);
    mpz_init_set_ui(one, 1);
    mpz_init(ln2);
    mpz_mul_2exp(one, one, work);
    fixed_of(m, n, work, exponent);
    /* into about [1/2, 1], then to the side of 1 that is nearer */
    long off = (long)mpz_sizeinbase(m, 2) - (long)work;
    exponent += off;
    fixed_of(m, n, work, exponent);
    if (mpz_tstbit(m, work - 2) == 0 && mpz_cmp(m, one) < 0) { /* below 3/4 */
        exponent--;
        fixed_of(m, n, work, exponent);
    }
    for (int i = 0; i < HALVINGS; i++) { /* sqrt(m * 2^work * 2^work) = sqrt(m) * 2^work */
        mpz_mul_2exp(m, m, work);
        mpz_sqrt(m, m);
    }
    mpz_t numerator;
    mpz_init(numerator);
    mpz_sub(numerator, m, one);
    mpz_add(m, m, one);
    mpz_mul_2exp(numerator, numerator, work);
    mpz_tdiv_q(numerator, numerator, m);
    atanh_series(out, numerator, work);
    mpz_mul_2exp(out, out, HALVINGS + 1);
    fixed_ln2(ln2, work);
    mpz_mul_si(ln2, ln2, exponent);
    mpz_add(out, out, ln2);
    mpz_fdiv_q_2exp(out, out, GUARD);
    mpz_clear(numerator);
    mpz_clear(m);
    mpz_clear(one);
    mpz_clear(ln2);
}

/* e^x as out * 2^(*exponent - p); x has p bits behind the point and is used up */
static void fixed_exp(mpz_t out, long *exponent, mpz_t x, bits_t p)
{
    bits_t work = p + GUARD;
    mpz_t ln2, quotient, term;
    mpz_init(ln2);
    mpz_init(quotient);
    mpz_init(term);
    mpz_mul_2exp(x, x, GUARD);
    fixed_ln2(ln2, work);
    mpz_fdiv_qr(quotient, x, x, ln2);
    *exponent = mpz_get_si(quotient);
    mpz_fdiv_q_2exp(x, x, HALVINGS);
    mpz_set_ui(out, 1);
    mpz_mul_2exp(out, out, work);
    mpz_set(term, out);
    for (unsigned long k = 1; mpz_sgn(term) != 0; k++) {
        mpz_mul(term, term, x);
        mpz_fdiv_q_2exp(term, term, work);
        mpz_fdiv_q_ui(term, term, k);
        mpz_add(out, out, term);
    }
    for (int i = 0; i < HALVINGS; i++) {
        mpz_mul(out, out, out);
        mpz_fdiv_q_2exp(out, out, work);
    }
    mpz_fdiv_q_2exp(out, out, GUARD);
    mpz_clear(ln2);
    mpz_clear(quotient);
    mpz_clear(term);
}

/* v * 2^exponent rounded to `scale` decimal digits */
static gn_num from_fixed(const mpz_t v, long exponent, uint32_t scale)
{
    gn_num n = {.kind = mpz_sgn(v) < 0 ? GN_NUM_NEGATIVE : GN_NUM_POSITIVE, .big = true, .scale = scale};
    mpz_t power;
    mpz_init(power);
    gn_num_mpz_pow10(power, scale);
    mpz_init(n.magnitude);
    mpz_abs(n.magnitude, v);
    mpz_mul(n.magnitude, n.magnitude, power);
    shift(n.magnitude, exponent + 1); /* one bit to round by */
    mpz_add_ui(n.magnitude, n.magnitude, 1);
    mpz_fdiv_q_2exp(n.magnitude, n.magnitude, 1);
    mpz_clear(power);
    gn_num_make_small(&n);
    return n;
}

static gn_code store_and_close(gn_num *n, gn_arena *arena, gn_bytes *out, gn_error *err)
{
    gn_code code = gn_num_store(n, arena, out, err);
    gn_num_close(n);
    return code;
}

static gn_code store_small(unsigned v, uint32_t scale, gn_arena *arena, gn_bytes *out, gn_error *err)
{
    gn_num n = {.small = v};
    gn_num_rescale(&n, scale, false);
    return store_and_close(&n, arena, out, err);
}

/* ---- PostgreSQL's choice of scales ---- */

static uint32_t result_scale(int scale, uint32_t a, uint32_t b)
{
    if (scale < (int)a)
        scale = (int)a;
    if (scale < (int)b)
        scale = (int)b;
    return (uint32_t)(scale < 0 ? 0 : scale > GN_NUM_MAX_DISPLAY_SCALE ? GN_NUM_MAX_DISPLAY_SCALE : scale);
}

static bool load_one(gn_num *n) /* 1 */
{
    *n = (gn_num){.small = 1};
    return true;
}

/* Decimal weight of the first digit of ln(v): for v near 1 that of v - 1. */
static int ln_weight(gn_bytes v, gn_arena *arena)
{
    gn_num n = gn_num_load(v);
    if (gn_num_is_negative(&n) || gn_num_is_zero(&n)) {
        gn_num_close(&n);
        return 0;
    }
    gn_num_head head = gn_num_head_of(&n);
    gn_num_close(&n);
    static const uint8_t nine_tenths[] = {1 << 3, 9}, eleven_tenths[] = {1 << 3, 11}, one[] = {0, 1};
    if (gn_numeric_compare(v, gn_bytes_of(nine_tenths, 2)) >= 0 &&
        gn_numeric_compare(v, gn_bytes_of(eleven_tenths, 2)) <= 0) {
        gn_bytes difference;
        if (gn_numeric_sub(v, gn_bytes_of(one, 2), arena, &difference, NULL) != GN_OK)
            return 0;
        gn_num d = gn_num_load(difference);
        gn_num_head h = gn_num_head_of(&d);
        gn_num_close(&d);
        return h.count ? h.weight * 4 + (int)log10(h.first) : 0;
    }
    double digits = head.first;
    int exponent = head.weight * 4;
    if (head.count == 2) {
        digits = digits * 10000 + head.second;
        exponent -= 4;
    }
    return (int)log10(fabs(log(digits) + exponent * 2.302585092994046));
}

static gn_code check_log_argument(gn_bytes v, gn_error *err)
{
    int sign = gn_numeric_sign(v);
    if (sign > 0)
        return GN_OK;
    return gn_error_set(err, GN_INVALID_ARGUMENT_LOG,
                        sign ? "cannot take logarithm of a negative number" : "cannot take logarithm of zero");
}

/* ---- ln, log, exp ---- */

gn_code gn_numeric_ln(gn_bytes v, gn_arena *arena, gn_bytes *out, gn_error *err)
{
    gn_code code = check_log_argument(v, err);
    if (code != GN_OK)
        return code;
    gn_num n = gn_num_load(v);
    if (gn_num_is_special(&n))
        return gn_num_store(&n, arena, out, err);
    uint32_t scale = result_scale(GN_NUM_MIN_DIGITS - ln_weight(v, arena), n.scale, 0);
    bits_t p = bits_for_digits((int)scale);
    mpz_t result;
    mpz_init(result);
    fixed_ln(result, &n, p);
    gn_num_close(&n);
    gn_num r = from_fixed(result, -(long)p, scale);
    mpz_clear(result);
    return store_and_close(&r, arena, out, err);
}

gn_code gn_numeric_log(gn_bytes base, gn_bytes v, gn_arena *arena, gn_bytes *out, gn_error *err)
{
    if (gn_numeric_is_nan(base) || gn_numeric_is_nan(v))
        return gn_num_store_special(GN_NUM_NAN, arena, out, err);
    gn_code code = GN_OK;
    if (gn_numeric_sign(base) < 0 || gn_numeric_sign(v) < 0)
        code = gn_error_set(err, GN_INVALID_ARGUMENT_LOG, "cannot take logarithm of a negative number");
    else if ((code = check_log_argument(base, err)) == GN_OK)
        code = check_log_argument(v, err);
    if (code != GN_OK)
        return code;
    if (gn_numeric_is_infinite(base))
        return gn_numeric_is_infinite(v) ? gn_num_store_special(GN_NUM_NAN, arena, out, err)
                                         : store_small(0, 0, arena, out, err);
    if (gn_numeric_is_infinite(v))
        return gn_num_store_special(GN_NUM_INF, arena, out, err);
    gn_num b = gn_num_load(base), n = gn_num_load(v);
    int base_weight = ln_weight(base, arena), weight = ln_weight(v, arena) - base_weight;
    uint32_t scale = result_scale(GN_NUM_MIN_DIGITS - weight, b.scale, n.scale);
    bits_t p = bits_for_digits((int)scale + abs(weight) + 2 * abs(base_weight));
    mpz_t ln_base, ln_v;
    mpz_init(ln_base);
    mpz_init(ln_v);
    fixed_ln(ln_base, &b, p);
    fixed_ln(ln_v, &n, p);
    gn_num_close(&b);
    gn_num_close(&n);
    static const uint8_t one[] = {0, 1};
    if (gn_numeric_compare(base, gn_bytes_of(one, 2)) == 0) {
        code = gn_error_set(err, GN_DIVISION_BY_ZERO, "division by zero");
    } else {
        mpz_mul_2exp(ln_v, ln_v, p);
        mpz_tdiv_q(ln_v, ln_v, ln_base);
        gn_num r = from_fixed(ln_v, -(long)p, scale);
        code = store_and_close(&r, arena, out, err);
    }
    mpz_clear(ln_base);
    mpz_clear(ln_v);
    return code;
}

gn_code gn_numeric_exp(gn_bytes v, gn_arena *arena, gn_bytes *out, gn_error *err)
{
    gn_num n = gn_num_load(v);
    if (gn_num_is_special(&n))
        return n.kind == GN_NUM_MINUS_INF ? store_small(0, 0, arena, out, err) : gn_num_store(&n, arena, out, err);
    double estimate = gn_numeric_estimate(v), weight = estimate * 0.434294481903252;
    weight = weight < -MAX_RESULT_SCALE ? -MAX_RESULT_SCALE : weight > MAX_RESULT_SCALE ? MAX_RESULT_SCALE : weight;
    uint32_t scale = result_scale(GN_NUM_MIN_DIGITS - (int)weight, n.scale, 0);
    if (fabs(estimate) >= 3 * MAX_RESULT_SCALE) {
        gn_num_close(&n);
        return estimate > 0 ? gn_num_overflow(err) : store_small(0, scale, arena, out, err);
    }
    bits_t p = bits_for_digits((int)scale + (int)(estimate > 0 ? estimate * 0.4343 : 0) + 2);
    mpz_t x, result;
    mpz_init(x);
    mpz_init(result);
    fixed_of(x, &n, p, 0);
    if (n.kind == GN_NUM_NEGATIVE)
        mpz_neg(x, x);
    gn_num_close(&n);
    long exponent;
    fixed_exp(result, &exponent, x, p);
    gn_num r = from_fixed(result, exponent - (long)p, scale);
    mpz_clear(x);
    mpz_clear(result);
    return store_and_close(&r, arena, out, err);
}

/* ---- power ---- */

static bool is_whole(gn_bytes v, gn_arena *arena)
{
    gn_bytes cut;
    return gn_numeric_is_infinite(v) ||
           (gn_numeric_trunc(v, 0, arena, &cut, NULL) == GN_OK && gn_numeric_compare(v, cut) == 0);
}

static bool is_odd(gn_bytes whole)
{
    gn_num n = gn_num_load(whole);
    gn_num_rescale(&n, 0, true);
    bool odd = n.big ? mpz_odd_p(n.magnitude) : n.small & 1;
    gn_num_close(&n);
    return odd;
}

static bool is_one(gn_bytes v, bool minus)
{
    static const uint8_t one[] = {0, 1}, minus_one[] = {1, 1};
    return gn_numeric_compare(v, gn_bytes_of(minus ? minus_one : one, 2)) == 0;
}

/* NaN and infinities, by POSIX's rules for pow. */
static gn_code power_special(gn_bytes base, gn_bytes e, gn_arena *arena, gn_bytes *out, gn_error *err)
{
    int base_sign = gn_numeric_sign(base), e_sign = gn_numeric_sign(e);
    if (gn_numeric_is_nan(base) || gn_numeric_is_nan(e)) {
        bool one = gn_numeric_is_nan(base) ? e_sign == 0 : is_one(base, false);
        return one ? store_small(1, 0, arena, out, err) : gn_num_store_special(GN_NUM_NAN, arena, out, err);
    }
    if (is_one(base, false) || e_sign == 0 || (gn_numeric_is_infinite(e) && is_one(base, true)))
        return store_small(1, 0, arena, out, err);
    if (base_sign == 0)
        return store_small(0, 0, arena, out, err);
    bool grows = e_sign > 0;
    if (gn_numeric_is_infinite(e) && !gn_numeric_is_infinite(base)) {
        gn_bytes magnitude;
        gn_code code = gn_numeric_abs(base, arena, &magnitude, err);
        if (code != GN_OK)
            return code;
        static const uint8_t one[] = {0, 1};
        grows = (gn_numeric_compare(magnitude, gn_bytes_of(one, 2)) > 0) == grows;
    }
    if (!grows)
        return store_small(0, 0, arena, out, err);
    bool negative = base_sign < 0 && !gn_numeric_is_infinite(e) && is_odd(e);
    return gn_num_store_special(negative ? GN_NUM_MINUS_INF : GN_NUM_INF, arena, out, err);
}

/* Decimal exponent of the result's first digit, nearly. */
static double power_weight(gn_bytes base, double exponent)
{
    gn_num n = gn_num_load(base);
    char stack[GN_NUM_STACK];
    size_t len;
    double weight = 0;
    char *digits = gn_num_digits(&n, stack, &len);
    if (len) {
        double lead = 0;
        size_t used = len < 17 ? len : 17;
        for (size_t i = 0; i < used; i++)
            lead = lead * 10 + (digits[i] - '0');
        weight = exponent * (log10(lead) + (double)(len - used) - (double)n.scale);
    }
    gn_num_digits_free(digits, stack);
    gn_num_close(&n);
    return weight;
}

/* Exact where that is cheap, else with enough bits in GMP's floats. */
static gn_num power_whole(const gn_num *base, int e, double weight, uint32_t scale)
{
    gn_num r = {.kind = base->kind == GN_NUM_NEGATIVE && (e & 1) ? GN_NUM_NEGATIVE : GN_NUM_POSITIVE, .big = true};
    unsigned long count = e < 0 ? 0 - (unsigned long)e : (unsigned long)e;
    gn_num b = {.kind = GN_NUM_POSITIVE, .big = base->big, .scale = base->scale, .small = base->small};
    if (base->big)
        mpz_init_set(b.magnitude, base->magnitude);
    else
        gn_num_make_big(&b);
    mpz_init(r.magnitude);
    if (e > 0 && (double)mpz_sizeinbase(b.magnitude, 2) * (double)count < 1e6 &&
        (double)b.scale * (double)count < 1e5) {
        mpz_pow_ui(r.magnitude, b.magnitude, count);
        r.scale = b.scale * (uint32_t)count;
        gn_num_rescale(&r, scale, false);
    } else {
        bits_t p = bits_for_digits((int)scale + (int)fabs(weight) + 40);
        mpf_t x, power;
        mpf_init2(x, p);
        mpf_init2(power, p);
        mpf_set_z(x, b.magnitude);
        mpz_t ten;
        mpz_init(ten);
        gn_num_mpz_pow10(ten, b.scale);
        mpf_set_z(power, ten);
        mpf_div(x, x, power);
        mpf_pow_ui(x, x, count);
        if (e < 0)
            mpf_ui_div(x, 1, x);
        gn_num_mpz_pow10(ten, scale);
        mpf_set_z(power, ten);
        mpf_mul(x, x, power);
        mpf_set_d(power, 0.5);
        mpf_add(x, x, power);
        mpz_set_f(r.magnitude, x);
        r.scale = scale;
        mpz_clear(ten);
        mpf_clear(x);
        mpf_clear(power);
    }
    gn_num_close(&b);
    gn_num_make_small(&r);
    return r;
}

static gn_code power_by_int(gn_bytes base, int e, uint32_t e_scale, gn_arena *arena, gn_bytes *out, gn_error *err)
{
    double weight = power_weight(base, e);
    if (weight > 131072.0)
        return gn_num_overflow(err);
    if (weight + 1 < -GN_NUM_MAX_DISPLAY_SCALE)
        return store_small(0, GN_NUM_MIN_DIGITS, arena, out, err);
    gn_num b = gn_num_load(base);
    uint32_t scale =
        result_scale(GN_NUM_MIN_DIGITS, b.scale, e_scale); /* of release 15; 16 counts significant digits */
    gn_num r;
    if (e == 0) {
        load_one(&r);
        gn_num_rescale(&r, scale, false);
    } else if (gn_num_is_zero(&b)) {
        r = (gn_num){.scale = scale};
    } else {
        r = power_whole(&b, e, weight, scale);
    }
    gn_num_close(&b);
    return store_and_close(&r, arena, out, err);
}

/* e * ln(base) as PostgreSQL estimates it, from a logarithm of about 8 digits: near a power of ten it is the rounding
 * that decides how many digits the result has. */
static double estimate_power(gn_bytes base, gn_bytes e, int weight_of_ln, gn_arena *arena)
{
    uint32_t scale = weight_of_ln < 8 ? (uint32_t)(8 - weight_of_ln) : 0;
    bits_t bits = bits_for_digits(40 + abs(weight_of_ln));
    gn_num b = gn_num_load(base);
    gn_bytes product;
    mpz_t fixed;
    mpz_init(fixed);
    fixed_ln(fixed, &b, bits);
    gn_num ln = from_fixed(fixed, -(long)bits, scale);
    mpz_clear(fixed);
    gn_num_close(&b);
    if (store_and_close(&ln, arena, &product, NULL) == GN_OK &&
        gn_numeric_mul(product, e, arena, &product, NULL) == GN_OK &&
        gn_numeric_round(product, (int32_t)scale, arena, &product, NULL) == GN_OK)
        return gn_numeric_estimate(product);
    return power_weight(base, 1) * 2.302585092994046 * gn_numeric_estimate(e); /* beyond all limits anyway */
}

/* |base|^e = exp(e * ln |base|) */
static gn_code power_by_logarithm(gn_bytes base, gn_bytes e, bool negative, gn_arena *arena, gn_bytes *out,
                                  gn_error *err)
{
    gn_bytes magnitude;
    gn_code code = gn_numeric_abs(base, arena, &magnitude, err);
    if (code != GN_OK)
        return code;
    int weight_of_ln = ln_weight(magnitude, arena);
    double estimate = estimate_power(magnitude, e, weight_of_ln, arena);
    gn_num b = gn_num_load(magnitude), x = gn_num_load(e);
    mpz_t ln, ten;
    mpz_init(ln);
    mpz_init(ten);
    gn_num r = {0};
    if (!(fabs(estimate) <= MAX_RESULT_SCALE * 3.01)) {
        code = estimate > 0 ? gn_num_overflow(err) : GN_OK;
        r.scale = GN_NUM_MAX_DISPLAY_SCALE;
    } else {
        int weight = (int)(estimate * 0.434294481903252);
        uint32_t scale = result_scale(GN_NUM_MIN_DIGITS - weight, b.scale, x.scale);
        bits_t p = bits_for_digits((int)scale + (weight > 0 ? weight : 0) + 4);
        bits_t fine = p + (bits_t)bit_length(&x);
        gn_num_make_big(&x);
        fixed_ln(ln, &b, fine);
        mpz_mul(ln, ln, x.magnitude);
        gn_num_mpz_pow10(ten, x.scale);
        mpz_tdiv_q(ln, ln, ten);
        mpz_fdiv_q_2exp(ln, ln, fine - p);
        if (x.kind == GN_NUM_NEGATIVE)
            mpz_neg(ln, ln);
        long exponent;
        fixed_exp(ten, &exponent, ln, p);
        r = from_fixed(ten, exponent - (long)p, scale);
        r.kind = negative ? GN_NUM_NEGATIVE : GN_NUM_POSITIVE;
    }
    mpz_clear(ln);
    mpz_clear(ten);
    gn_num_close(&b);
    gn_num_close(&x);
    if (code == GN_OK)
        code = gn_num_store(&r, arena, out, err);
    gn_num_close(&r);
    return code;
}

gn_code gn_numeric_power(gn_bytes base, gn_bytes e, gn_arena *arena, gn_bytes *out, gn_error *err)
{
    bool nan = gn_numeric_is_nan(base) || gn_numeric_is_nan(e);
    bool whole = !nan && is_whole(e, arena);
    if (!nan && gn_numeric_sign(base) == 0 && gn_numeric_sign(e) < 0)
        return gn_error_set(err, GN_INVALID_ARGUMENT_POWER, "zero raised to a negative power is undefined");
    if (!nan && gn_numeric_sign(base) < 0 && !whole)
        return gn_error_set(err, GN_INVALID_ARGUMENT_POWER,
                            "a negative number raised to a non-integer power yields a complex result");
    if (nan || gn_numeric_is_infinite(base) || gn_numeric_is_infinite(e))
        return power_special(base, e, arena, out, err);
    int64_t n;
    if (whole && gn_numeric_to_i64(e, GN_T_INT4, &n, NULL) == GN_OK)
        return power_by_int(base, (int)n, gn_numeric_scale(e), arena, out, err);
    if (gn_numeric_sign(base) == 0)
        return store_small(0, GN_NUM_MIN_DIGITS, arena, out, err);
    return power_by_logarithm(base, e, whole && gn_numeric_sign(base) < 0 && is_odd(e), arena, out, err);
}
