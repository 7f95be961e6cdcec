/* numeric: exact decimals, NaN and the infinities, with PostgreSQL 15's scales, rounding (half away from zero) and
 * limits (131072 digits before the point, 16383 behind it).
 *
 * Encoding (canonical: one for each pair of value and scale): a head byte, kind in its low three bits (0 positive or
 * zero, 1 negative, 2 NaN, 3 infinity, 4 -infinity), the scale in the others (31: it follows as two bytes, little
 * endian), then the value times 10^scale as an unsigned integer, little endian, without leading zero bytes. Binary, not
 * decimal, since sums and comparisons are what a database does most: up to 128 bits they are machine arithmetic, beyond
 * that GMP's.
 *
 * Results lie in the arena. Operands must be valid encodings (gn_numeric_is_valid for bytes from outside). */
#ifndef GN_QUERY_NUMERIC_H
#define GN_QUERY_NUMERIC_H

#include "query/value.h"

bool gn_numeric_is_valid(gn_bytes bytes);

bool gn_numeric_is_nan(gn_bytes v);
bool gn_numeric_is_infinite(gn_bytes v);
int gn_numeric_sign(gn_bytes v);       /* -1, 0, 1; NaN: 1, as it sorts */
uint32_t gn_numeric_scale(gn_bytes v); /* digits behind the point; 0 for NaN and infinities */
int gn_numeric_compare(gn_bytes a, gn_bytes b);
uint64_t gn_numeric_hash(gn_bytes v);

/* ---- to and from ---- */
gn_code gn_numeric_from_i64(int64_t v, gn_arena *arena, gn_bytes *out, gn_error *err);
gn_code gn_numeric_from_f64(double v, gn_arena *arena, gn_bytes *out, gn_error *err); /* 15 digits, as PostgreSQL */
gn_code gn_numeric_from_f32(float v, gn_arena *arena, gn_bytes *out, gn_error *err);  /* 6 digits */
/* Rounded. GN_NUMERIC_RANGE "<type> out of range", GN_FEATURE "cannot convert NaN to <type>". */
gn_code gn_numeric_to_i64(gn_bytes v, gn_type_id int_type, int64_t *out, gn_error *err);
gn_code gn_numeric_to_f64(gn_bytes v, double *out, gn_error *err); /* GN_NUMERIC_RANGE */
double gn_numeric_estimate(gn_bytes v);                            /* as a double; what is too large is infinite */
gn_code gn_numeric_parse(gn_bytes text, gn_arena *arena, gn_bytes *out, gn_error *err);
bool gn_numeric_print(gn_bytes v, gn_buf *out);
/* numeric(p,s): rounds, then checks. typmod as in query/type.h, -1 = any. */
gn_code gn_numeric_apply_typmod(gn_bytes v, int32_t typmod, gn_arena *arena, gn_bytes *out, gn_error *err);

/* ---- arithmetic ---- */
gn_code gn_numeric_add(gn_bytes a, gn_bytes b, gn_arena *arena, gn_bytes *out, gn_error *err);
gn_code gn_numeric_sub(gn_bytes a, gn_bytes b, gn_arena *arena, gn_bytes *out, gn_error *err);
gn_code gn_numeric_mul(gn_bytes a, gn_bytes b, gn_arena *arena, gn_bytes *out, gn_error *err);
gn_code gn_numeric_div(gn_bytes a, gn_bytes b, gn_arena *arena, gn_bytes *out, gn_error *err);
gn_code gn_numeric_div_trunc(gn_bytes a, gn_bytes b, gn_arena *arena, gn_bytes *out, gn_error *err); /* div(a, b) */
gn_code gn_numeric_mod(gn_bytes a, gn_bytes b, gn_arena *arena, gn_bytes *out, gn_error *err);       /* sign of a */
gn_code gn_numeric_neg(gn_bytes v, gn_arena *arena, gn_bytes *out, gn_error *err);
gn_code gn_numeric_abs(gn_bytes v, gn_arena *arena, gn_bytes *out, gn_error *err);
/* scale may be negative: round(1234, -2) = 1200 */
gn_code gn_numeric_round(gn_bytes v, int32_t scale, gn_arena *arena, gn_bytes *out, gn_error *err);
gn_code gn_numeric_trunc(gn_bytes v, int32_t scale, gn_arena *arena, gn_bytes *out, gn_error *err);
gn_code gn_numeric_ceil(gn_bytes v, gn_arena *arena, gn_bytes *out, gn_error *err);
gn_code gn_numeric_floor(gn_bytes v, gn_arena *arena, gn_bytes *out, gn_error *err);
gn_code gn_numeric_trim_scale(gn_bytes v, gn_arena *arena, gn_bytes *out, gn_error *err); /* no trailing zeros */
gn_code gn_numeric_sqrt(gn_bytes v, gn_arena *arena, gn_bytes *out, gn_error *err);
gn_code gn_numeric_sqrt_to(gn_bytes v, uint32_t scale, gn_arena *arena, gn_bytes *out,
                           gn_error *err); /* rounded once */
gn_code gn_numeric_exp(gn_bytes v, gn_arena *arena, gn_bytes *out, gn_error *err);
gn_code gn_numeric_ln(gn_bytes v, gn_arena *arena, gn_bytes *out, gn_error *err);
gn_code gn_numeric_log(gn_bytes base, gn_bytes v, gn_arena *arena, gn_bytes *out, gn_error *err);
gn_code gn_numeric_power(gn_bytes base, gn_bytes exponent, gn_arena *arena, gn_bytes *out, gn_error *err);

/* ---- sums ---- Exact, of any number of values; for sum, avg, variance. Owned by its caller. */
typedef struct gn_numeric_sum gn_numeric_sum;
gn_numeric_sum *gn_numeric_sum_create(void);
void gn_numeric_sum_destroy(gn_numeric_sum *sum); /* NULL is fine */
void gn_numeric_sum_add(gn_numeric_sum *sum, gn_bytes v);
void gn_numeric_sum_add_i64(gn_numeric_sum *sum, int64_t v);
void gn_numeric_sum_merge(gn_numeric_sum *sum, const gn_numeric_sum *other);
/* The scale is the largest of the values'. */
gn_code gn_numeric_sum_result(const gn_numeric_sum *sum, gn_arena *arena, gn_bytes *out, gn_error *err);

#endif
