/* float16: IEEE 754's binary16, for CPUs with and without instructions for it. Rounded to nearest, ties to even. */
#ifndef GN_BASE_HALF_H
#define GN_BASE_HALF_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint32_t gn_bits_of_float(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}
static inline float gn_float_of_bits(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static inline float gn_float_of_f16(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, magnitude = h & 0x7fffu;
    if (magnitude < 0x400) { /* zero and subnormal: a multiple of 2^-24 */
        float f = (float)magnitude * 0x1p-24f;
        return sign ? -f : f;
    }
    if (magnitude >= 0x7c00) /* never written by us */
        return gn_float_of_bits(sign | 0x7f800000u | magnitude << 13);
    return gn_float_of_bits(sign | ((magnitude << 13) + (112u << 23)));
}
/* What is larger than any float16 becomes the largest, 65504. */
static inline uint16_t gn_f16_of_float(float f)
{
    uint32_t u = gn_bits_of_float(f), sign = u >> 16 & 0x8000u;
    u &= 0x7fffffffu;
    if (u >= 0x477fe000u)
        return (uint16_t)(sign | 0x7bffu);
    if (u < 0x38800000u) { /* below 2^-14: adding 0.5 leaves a multiple of 2^-24 in the low bits */
        float shifted = gn_float_of_bits(u) + 0.5f;
        return (uint16_t)(sign | (gn_bits_of_float(shifted) - 0x3f000000u));
    }
    u += 0xfff + (u >> 13 & 1);
    return (uint16_t)(sign | ((u - (112u << 23)) >> 13));
}

/* The smallest magnitude that would round beyond 65504. */
#define GN_F16_OVERFLOW 65520.0f

/* Many at once; halves lie at any address. */
void gn_floats_of_f16(const uint8_t *halves, float *out, size_t n);

#endif
