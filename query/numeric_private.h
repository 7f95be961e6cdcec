/* A numeric taken apart, for the files numeric*.c. */
#ifndef GN_QUERY_NUMERIC_PRIVATE_H
#define GN_QUERY_NUMERIC_PRIVATE_H

#include "query/key_private.h"
#include "query/numeric.h"

#include <gmp.h>

typedef unsigned __int128 gn_u128;

typedef enum gn_num_kind { GN_NUM_POSITIVE, GN_NUM_NEGATIVE, GN_NUM_NAN, GN_NUM_INF, GN_NUM_MINUS_INF } gn_num_kind;

enum { GN_NUM_MAX_SCALE = 16383, GN_NUM_MAX_DISPLAY_SCALE = 1000, GN_NUM_MIN_DIGITS = 16, GN_NUM_MAX_POW10 = 38 };

/* Value = sign * magnitude / 10^scale. The magnitude is in `small` (below 2^127) unless big. gn_num_load and those that
 * compute set one up; gn_num_close frees it. */
typedef struct gn_num {
    gn_num_kind kind;
    bool big;
    uint32_t scale;
    gn_u128 small;
    mpz_t magnitude; /* initialised only if big */
} gn_num;

static inline bool gn_num_is_special(const gn_num *n)
{
    return n->kind > GN_NUM_NEGATIVE;
}
static inline bool gn_num_is_negative(const gn_num *n)
{
    return n->kind == GN_NUM_NEGATIVE || n->kind == GN_NUM_MINUS_INF;
}
bool gn_num_is_zero(const gn_num *n);

gn_num gn_num_load(gn_bytes bytes);
void gn_num_close(gn_num *n);
/* Encodes into the arena; "value overflows numeric format" past the limits. Does not close n. */
gn_code gn_num_store(const gn_num *n, gn_arena *arena, gn_bytes *out, gn_error *err);
gn_code gn_num_store_special(gn_num_kind kind, gn_arena *arena, gn_bytes *out, gn_error *err);
void gn_num_make_big(gn_num *n);   /* moves the magnitude to GMP */
void gn_num_make_small(gn_num *n); /* back, if it fits */
gn_code gn_num_overflow(gn_error *err);

gn_u128 gn_num_pow10(uint32_t n); /* n <= GN_NUM_MAX_POW10 */
void gn_num_mpz_pow10(mpz_t out, uint32_t n);

/* Multiplies (more > 0) or divides, rounding half away from zero or truncating, the magnitude to another scale. */
void gn_num_rescale(gn_num *n, uint32_t scale, bool truncate);

/* Decimal digits of the magnitude, without leading zeros ("" for 0): NUL-terminated, in `stack` or gn_xmalloc'ed. */
enum { GN_NUM_STACK = 64 };
char *gn_num_digits(const gn_num *n, char stack[GN_NUM_STACK], size_t *len);
void gn_num_digits_free(char *digits, const char *stack);

/* What PostgreSQL's scale rules look at: the weight in groups of four digits of the first group that is not zero, and
 * that group and the next as one number (count tells how many groups there are, 0..2). Zero: weight 0, no groups. */
typedef struct gn_num_head {
    int weight;
    int count;
    uint32_t first, second;
} gn_num_head;
gn_num_head gn_num_head_of(const gn_num *n);

/* Keys: see numeric.c. */

#endif
