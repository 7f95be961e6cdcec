/* float16 (IEEE binary16) and bfloat16, in plain arithmetic; rounded to nearest, ties to even. */
#ifndef GN_INDEX_HALF_PRIVATE_H
#define GN_INDEX_HALF_PRIVATE_H

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

static inline float gn_float_of_bf16(uint16_t h)
{
    return gn_float_of_bits((uint32_t)h << 16);
}
/* What is larger than any bfloat16 becomes the largest. */
static inline uint16_t gn_bf16_of_float(float f)
{
    uint32_t u = gn_bits_of_float(f);
    u += 0x7fff + (u >> 16 & 1);
    if ((u & 0x7f800000u) == 0x7f800000u)
        u = (u & 0x80000000u) | 0x7f7f0000u;
    return (uint16_t)(u >> 16);
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

#endif
