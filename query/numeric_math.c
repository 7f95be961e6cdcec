/* Arithmetic of numerics: sums and products in 127 bits where they fit, else with GMP. Scales are PostgreSQL's. */
#include "query/numeric_private.h"
#include "query/value_private.h"

#include <stdlib.h>

static const gn_u128 SMALL_LIMIT = (gn_u128)1 << 127;

/* Stores and frees the result and the operands. */
static gn_code finish(gn_num *result, gn_num *a, gn_num *b, gn_arena *arena, gn_bytes *out, gn_error *err)
{
    gn_code code = gn_num_store(result, arena, out, err);
    gn_num_close(result);
    if (a)
        gn_num_close(a);
    if (b)
        gn_num_close(b);
    return code;
}

static gn_num_kind flipped(gn_num_kind kind)
{
    static const gn_num_kind flip[] = {GN_NUM_NEGATIVE, GN_NUM_POSITIVE, GN_NUM_NAN, GN_NUM_MINUS_INF, GN_NUM_INF};
    return flip[kind];
}

/* ---- + and - ---- */

static gn_num_kind add_special(const gn_num *a, const gn_num *b)
{
    if (a->kind == GN_NUM_NAN || b->kind == GN_NUM_NAN)
        return GN_NUM_NAN;
    if (gn_num_is_special(a) && gn_num_is_special(b))
        return a->kind == b->kind ? a->kind : GN_NUM_NAN;
    return gn_num_is_special(a) ? a->kind : b->kind;
}

/* Both finite; a and b are used up (rescaled). */
static gn_num add_finite(gn_num *a, gn_num *b)
{
    gn_num r = {.kind = a->kind, .scale = a->scale > b->scale ? a->scale : b->scale};
    gn_num_rescale(a, r.scale, false);
    gn_num_rescale(b, r.scale, false);
    bool same_sign = a->kind == b->kind;
    if (!a->big && !b->big) {
        if (same_sign && a->small + b->small < SMALL_LIMIT) {
            r.small = a->small + b->small;
            return r;
        }
        if (!same_sign) {
            r.kind = a->small >= b->small ? a->kind : b->kind;
            r.small = a->small >= b->small ? a->small - b->small : b->small - a->small;
            return r;
        }
    }
    gn_num_make_big(a);
    gn_num_make_big(b);
    r.big = true;
    mpz_init(r.magnitude);
    if (same_sign) {
        mpz_add(r.magnitude, a->magnitude, b->magnitude);
    } else {
        mpz_sub(r.magnitude, a->magnitude, b->magnitude);
        r.kind = mpz_sgn(r.magnitude) >= 0 ? a->kind : b->kind;
        mpz_abs(r.magnitude, r.magnitude);
    }
    gn_num_make_small(&r);
    return r;
}

gn_code gn_numeric_add(gn_bytes va, gn_bytes vb, gn_arena *arena, gn_bytes *out, gn_error *err)
{
    gn_num a = gn_num_load(va), b = gn_num_load(vb), r = {0};
    if (gn_num_is_special(&a) || gn_num_is_special(&b))
        r.kind = add_special(&a, &b);
    else
        r = add_finite(&a, &b);
    return finish(&r, &a, &b, arena, out, err);
}

gn_code gn_numeric_sub(gn_bytes va, gn_bytes vb, gn_arena *arena, gn_bytes *out, gn_error *err)
{
    gn_num a = gn_num_load(va), b = gn_num_load(vb), r = {0};
    b.kind = flipped(b.kind);
    if (gn_num_is_special(&a) || gn_num_is_special(&b))
        r.kind = add_special(&a, &b);
    else
        r = add_finite(&a, &b);
    return finish(&r, &a, &b, arena, out, err);
}

gn_code gn_numeric_neg(gn_bytes v, gn_arena *arena, gn_bytes *out, gn_error *err)
{
    gn_num n = gn_num_load(v);
    n.kind = flipped(n.kind);
    return finish(&n, NULL, NULL, arena, out, err);
}

gn_code gn_numeric_abs(gn_bytes v, gn_arena *arena, gn_bytes *out, gn_error *err)
{
    gn_num n = gn_num_load(v);
    if (gn_num_is_negative(&n))
        n.kind = flipped(n.kind);
    return finish(&n, NULL, NULL, arena, out, err);
}

/* ---- * ---- */

static int sign_of(const gn_num *n)
{
    return gn_num_is_zero(n) ? 0 : gn_num_is_negative(n) ? -1 : 1;
}

static gn_num_kind mul_special(const gn_num *a, const gn_num *b)
{
    int sign = sign_of(a) * sign_of(b);
    if (a->kind == GN_NUM_NAN || b->kind == GN_NUM_NAN || sign == 0)
        return GN_NUM_NAN;
    return sign > 0 ? GN_NUM_INF : GN_NUM_MINUS_INF;
}

gn_code gn_numeric_mul(gn_bytes va, gn_bytes vb, gn_arena *arena, gn_bytes *out, gn_error *err)
{
    gn_num a = gn_num_load(va), b = gn_num_load(vb), r = {0};
    if (gn_num_is_special(&a) || gn_num_is_special(&b)) {
        r.kind = mul_special(&a, &b);
        return finish(&r, &a, &b, arena, out, err);
    }
    r.kind = a.kind == b.kind ? GN_NUM_POSITIVE : GN_NUM_NEGATIVE;
    r.scale = a.scale + b.scale;
    if (!a.big && !b.big && a.small <= UINT64_MAX && b.small <= UINT64_MAX && a.small * b.small < SMALL_LIMIT) {
        r.small = a.small * b.small;
    } else {
        gn_num_make_big(&a);
        gn_num_make_big(&b);
        r.big = true;
        mpz_init(r.magnitude);
        mpz_mul(r.magnitude, a.magnitude, b.magnitude);
        gn_num_make_small(&r);
    }
    if (r.scale > GN_NUM_MAX_SCALE)
        gn_num_rescale(&r, GN_NUM_MAX_SCALE, false);
    return finish(&r, &a, &b, arena, out, err);
}

/* ---- / and % ---- */

static gn_code division_by_zero(gn_error *err)
{
    return gn_error_set(err, GN_DIVISION_BY_ZERO, "division by zero");
}

/* One operand at least is NaN or infinite. */
static gn_code div_special(const gn_num *a, const gn_num *b, gn_num *r, gn_error *err)
{
    if (a->kind == GN_NUM_NAN || b->kind == GN_NUM_NAN) {
        r->kind = GN_NUM_NAN;
    } else if (gn_num_is_special(a)) {
        int sign = sign_of(a) * sign_of(b);
        if (sign == 0)
            return division_by_zero(err);
        r->kind = gn_num_is_special(b) ? GN_NUM_NAN : sign > 0 ? GN_NUM_INF : GN_NUM_MINUS_INF;
    }
    return GN_OK; /* finite / infinite: zero */
}

/* |a| / |b| with `scale` digits; b is not zero; uses a and b up. */
static void div_finite(gn_num *a, gn_num *b, uint32_t scale, bool truncate, gn_num *r)
{
    r->kind = a->kind == b->kind ? GN_NUM_POSITIVE : GN_NUM_NEGATIVE;
    r->scale = scale;
    int shift = (int)scale + (int)b->scale - (int)a->scale;
    if (!a->big && !b->big && shift >= 0 && shift <= GN_NUM_MAX_POW10 &&
        a->small < SMALL_LIMIT / gn_num_pow10((uint32_t)shift)) {
        gn_u128 dividend = a->small * gn_num_pow10((uint32_t)shift);
        gn_u128 rest = dividend % b->small;
        r->small = dividend / b->small + (!truncate && rest >= b->small - rest);
        return;
    }
    gn_num_make_big(a);
    gn_num_make_big(b);
    r->big = true;
    mpz_init(r->magnitude);
    gn_num_mpz_pow10(r->magnitude, (uint32_t)abs(shift));
    if (shift >= 0)
        mpz_mul(a->magnitude, a->magnitude, r->magnitude);
    else
        mpz_mul(b->magnitude, b->magnitude, r->magnitude);
    if (!truncate) { /* floor((2a + b) / 2b) */
        mpz_mul_2exp(a->magnitude, a->magnitude, 1);
        mpz_add(a->magnitude, a->magnitude, b->magnitude);
        mpz_mul_2exp(b->magnitude, b->magnitude, 1);
    }
    mpz_tdiv_q(r->magnitude, a->magnitude, b->magnitude);
    gn_num_make_small(r);
}

static uint32_t clamp_scale(int scale, uint32_t at_least_a, uint32_t at_least_b)
{
    if (scale < (int)at_least_a)
        scale = (int)at_least_a;
    if (scale < (int)at_least_b)
        scale = (int)at_least_b;
    return (uint32_t)(scale < 0 ? 0 : scale > GN_NUM_MAX_DISPLAY_SCALE ? GN_NUM_MAX_DISPLAY_SCALE : scale);
}

/* At least 16 significant digits, and no fewer behind the point than either operand has. */
static uint32_t div_scale(const gn_num *a, const gn_num *b)
{
    gn_num_head ha = gn_num_head_of(a), hb = gn_num_head_of(b);
    int weight = ha.weight - hb.weight - (ha.first <= hb.first);
    return clamp_scale(GN_NUM_MIN_DIGITS - weight * 4, a->scale, b->scale);
}

static gn_code divide(gn_bytes va, gn_bytes vb, bool whole, gn_arena *arena, gn_bytes *out, gn_error *err)
{
    gn_num a = gn_num_load(va), b = gn_num_load(vb), r = {0};
    gn_code code = GN_OK;
    if (gn_num_is_special(&a) || gn_num_is_special(&b))
        code = div_special(&a, &b, &r, err);
    else if (gn_num_is_zero(&b))
        code = division_by_zero(err);
    else
        div_finite(&a, &b, whole ? 0 : div_scale(&a, &b), whole, &r);
    if (code == GN_OK)
        return finish(&r, &a, &b, arena, out, err);
    gn_num_close(&a);
    gn_num_close(&b);
    return code;
}

gn_code gn_numeric_div(gn_bytes a, gn_bytes b, gn_arena *arena, gn_bytes *out, gn_error *err)
{
    return divide(a, b, false, arena, out, err);
}

gn_code gn_numeric_div_trunc(gn_bytes a, gn_bytes b, gn_arena *arena, gn_bytes *out, gn_error *err)
{
    return divide(a, b, true, arena, out, err);
}

gn_code gn_numeric_mod(gn_bytes va, gn_bytes vb, gn_arena *arena, gn_bytes *out, gn_error *err)
{
    gn_num a = gn_num_load(va), b = gn_num_load(vb), r = {0};
    if (a.kind == GN_NUM_NAN || b.kind == GN_NUM_NAN) {
        r.kind = GN_NUM_NAN;
    } else if (gn_num_is_zero(&b)) {
        gn_num_close(&a);
        return division_by_zero(err);
    } else if (gn_num_is_special(&a)) {
        r.kind = GN_NUM_NAN;
    } else if (gn_num_is_special(&b)) {
        return finish(&a, &b, NULL, arena, out, err);
    } else {
        r = (gn_num){.kind = a.kind, .scale = a.scale > b.scale ? a.scale : b.scale};
        gn_num_rescale(&a, r.scale, false);
        gn_num_rescale(&b, r.scale, false);
        if (!a.big && !b.big) {
            r.small = a.small % b.small;
        } else {
            gn_num_make_big(&a);
            gn_num_make_big(&b);
            r.big = true;
            mpz_init(r.magnitude);
            mpz_tdiv_r(r.magnitude, a.magnitude, b.magnitude);
            gn_num_make_small(&r);
        }
    }
    return finish(&r, &a, &b, arena, out, err);
}

/* ---- rounding ---- */

static gn_code to_scale(gn_bytes v, int32_t scale, bool truncate, gn_arena *arena, gn_bytes *out, gn_error *err)
{
    gn_num n = gn_num_load(v);
    if (gn_num_is_special(&n))
        return gn_num_store(&n, arena, out, err);
    if (scale > GN_NUM_MAX_SCALE)
        scale = GN_NUM_MAX_SCALE;
    if (scale >= 0) {
        gn_num_rescale(&n, (uint32_t)scale, truncate);
        return finish(&n, NULL, NULL, arena, out, err);
    }
    if (scale < -(GN_MAX_NUMERIC_DIGITS + 1)) {
        gn_num zero = {0};
        gn_num_close(&n);
        return gn_num_store(&zero, arena, out, err);
    }
    /* Left of the point: as if the point stood there, then the zeros put back. */
    uint32_t places = (uint32_t)-scale;
    n.scale += places;
    gn_num_rescale(&n, 0, truncate);
    gn_num_rescale(&n, places, false);
    n.scale = 0;
    return finish(&n, NULL, NULL, arena, out, err);
}

gn_code gn_numeric_round(gn_bytes v, int32_t scale, gn_arena *arena, gn_bytes *out, gn_error *err)
{
    return to_scale(v, scale, false, arena, out, err);
}

gn_code gn_numeric_trunc(gn_bytes v, int32_t scale, gn_arena *arena, gn_bytes *out, gn_error *err)
{
    return to_scale(v, scale, true, arena, out, err);
}

/* Towards +infinity (up) or -infinity: the truncated value, one further if something was cut on that side. */
static gn_code to_whole(gn_bytes v, bool up, gn_arena *arena, gn_bytes *out, gn_error *err)
{
    gn_code code = gn_numeric_trunc(v, 0, arena, out, err);
    if (code != GN_OK || gn_numeric_compare(v, *out) == 0 || (gn_numeric_sign(v) > 0) != up)
        return code;
    gn_bytes one;
    code = gn_numeric_from_i64(up ? 1 : -1, arena, &one, err);
    return code == GN_OK ? gn_numeric_add(*out, one, arena, out, err) : code;
}

gn_code gn_numeric_ceil(gn_bytes v, gn_arena *arena, gn_bytes *out, gn_error *err)
{
    return to_whole(v, true, arena, out, err);
}

gn_code gn_numeric_floor(gn_bytes v, gn_arena *arena, gn_bytes *out, gn_error *err)
{
    return to_whole(v, false, arena, out, err);
}

/* ---- sqrt ---- */

gn_code gn_numeric_sqrt(gn_bytes v, gn_arena *arena, gn_bytes *out, gn_error *err)
{
    gn_num n = gn_num_load(v);
    int weight = gn_num_is_special(&n) ? 0 : gn_num_head_of(&n).weight * 2 + 1;
    uint32_t scale = clamp_scale(GN_NUM_MIN_DIGITS - weight, n.scale, 0);
    gn_num_close(&n);
    return gn_numeric_sqrt_to(v, scale, arena, out, err);
}

gn_code gn_numeric_sqrt_to(gn_bytes v, uint32_t scale, gn_arena *arena, gn_bytes *out, gn_error *err)
{
    gn_num n = gn_num_load(v);
    if (gn_num_is_negative(&n)) {
        gn_num_close(&n);
        return gn_error_set(err, GN_INVALID_ARGUMENT_POWER, "cannot take square root of a negative number");
    }
    if (gn_num_is_special(&n))
        return gn_num_store(&n, arena, out, err);
    gn_num_rescale(&n, 2 * scale, true);
    gn_num_make_big(&n);
    mpz_t rest;
    mpz_init(rest);
    mpz_sqrtrem(n.magnitude, rest, n.magnitude);
    if (mpz_cmp(rest, n.magnitude) > 0) /* above (root + 1/2)^2 = root^2 + root + 1/4 */
        mpz_add_ui(n.magnitude, n.magnitude, 1);
    mpz_clear(rest);
    n.scale = scale;
    return finish(&n, NULL, NULL, arena, out, err);
}

/* ---- sums ---- */

/* The running total is `total` plus what has spilled into `spilled`, both at `scale`. */
struct gn_numeric_sum {
    __int128 total;
    mpz_t spilled;
    uint32_t scale;
    bool has_spilled;
    bool has_nan, has_inf, has_minus_inf;
};

gn_numeric_sum *gn_numeric_sum_create(void)
{
    gn_numeric_sum *sum = gn_xcalloc(1, sizeof(*sum));
    mpz_init(sum->spilled);
    return sum;
}

void gn_numeric_sum_destroy(gn_numeric_sum *sum)
{
    if (!sum)
        return;
    mpz_clear(sum->spilled);
    free(sum);
}

static void spill(gn_numeric_sum *sum)
{
    mpz_t part;
    gn_u128 magnitude = sum->total < 0 ? 0 - (gn_u128)sum->total : (gn_u128)sum->total;
    mpz_init(part);
    mpz_import(part, sizeof(magnitude), -1, 1, 0, 0, &magnitude);
    if (sum->total < 0)
        mpz_sub(sum->spilled, sum->spilled, part);
    else
        mpz_add(sum->spilled, sum->spilled, part);
    mpz_clear(part);
    sum->total = 0;
    sum->has_spilled = true;
}

static void raise_scale(gn_numeric_sum *sum, uint32_t scale)
{
    if (scale <= sum->scale)
        return;
    uint32_t by = scale - sum->scale;
    sum->scale = scale;
    __int128 scaled;
    if (!sum->has_spilled && sum->total == 0)
        return;
    if (!sum->has_spilled && by <= 37 && !__builtin_mul_overflow(sum->total, (__int128)gn_num_pow10(by), &scaled)) {
        sum->total = scaled;
        return;
    }
    spill(sum);
    mpz_t power;
    mpz_init(power);
    gn_num_mpz_pow10(power, by);
    mpz_mul(sum->spilled, sum->spilled, power);
    mpz_clear(power);
}

void gn_numeric_sum_add(gn_numeric_sum *sum, gn_bytes v)
{
    gn_num n = gn_num_load(v);
    if (gn_num_is_special(&n)) {
        sum->has_nan |= n.kind == GN_NUM_NAN;
        sum->has_inf |= n.kind == GN_NUM_INF;
        sum->has_minus_inf |= n.kind == GN_NUM_MINUS_INF;
        return;
    }
    raise_scale(sum, n.scale);
    gn_num_rescale(&n, sum->scale, false);
    if (!n.big) {
        __int128 part = n.kind == GN_NUM_NEGATIVE ? -(__int128)n.small : (__int128)n.small, total;
        if (__builtin_add_overflow(sum->total, part, &total)) {
            spill(sum);
            total = part;
        }
        sum->total = total;
        return;
    }
    sum->has_spilled = true;
    if (n.kind == GN_NUM_NEGATIVE)
        mpz_sub(sum->spilled, sum->spilled, n.magnitude);
    else
        mpz_add(sum->spilled, sum->spilled, n.magnitude);
    gn_num_close(&n);
}

void gn_numeric_sum_add_i64(gn_numeric_sum *sum, int64_t v)
{
    __int128 part = v, total;
    if (sum->scale == 0 && !__builtin_add_overflow(sum->total, part, &total)) {
        sum->total = total;
        return;
    }
    uint8_t bytes[9] = {v < 0 ? GN_NUM_NEGATIVE : GN_NUM_POSITIVE};
    uint64_t magnitude = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    size_t len = 8;
    memcpy(bytes + 1, &magnitude, 8);
    while (len && bytes[len] == 0)
        len--;
    gn_numeric_sum_add(sum, gn_bytes_of(bytes, 1 + len));
}

void gn_numeric_sum_merge(gn_numeric_sum *sum, const gn_numeric_sum *other)
{
    sum->has_nan |= other->has_nan;
    sum->has_inf |= other->has_inf;
    sum->has_minus_inf |= other->has_minus_inf;
    raise_scale(sum, other->scale);
    mpz_t power, part;
    mpz_init(power);
    mpz_init_set(part, other->spilled);
    gn_u128 magnitude = other->total < 0 ? 0 - (gn_u128)other->total : (gn_u128)other->total;
    mpz_import(power, sizeof(magnitude), -1, 1, 0, 0, &magnitude);
    if (other->total < 0)
        mpz_sub(part, part, power);
    else
        mpz_add(part, part, power);
    gn_num_mpz_pow10(power, sum->scale - other->scale);
    mpz_addmul(sum->spilled, part, power);
    sum->has_spilled = true;
    mpz_clear(power);
    mpz_clear(part);
}

gn_code gn_numeric_sum_result(const gn_numeric_sum *sum, gn_arena *arena, gn_bytes *out, gn_error *err)
{
    if (sum->has_nan || (sum->has_inf && sum->has_minus_inf))
        return gn_num_store_special(GN_NUM_NAN, arena, out, err);
    if (sum->has_inf || sum->has_minus_inf)
        return gn_num_store_special(sum->has_inf ? GN_NUM_INF : GN_NUM_MINUS_INF, arena, out, err);
    gn_u128 magnitude = sum->total < 0 ? 0 - (gn_u128)sum->total : (gn_u128)sum->total;
    gn_num n = {.kind = sum->total < 0 ? GN_NUM_NEGATIVE : GN_NUM_POSITIVE, .scale = sum->scale, .small = magnitude};
    if (sum->has_spilled || magnitude >= SMALL_LIMIT) {
        gn_num_make_big(&n);
        if (n.kind == GN_NUM_NEGATIVE)
            mpz_neg(n.magnitude, n.magnitude);
        mpz_add(n.magnitude, n.magnitude, sum->spilled);
        n.kind = mpz_sgn(n.magnitude) < 0 ? GN_NUM_NEGATIVE : GN_NUM_POSITIVE;
        mpz_abs(n.magnitude, n.magnitude);
        gn_num_make_small(&n);
    }
    return finish(&n, NULL, NULL, arena, out, err);
}
