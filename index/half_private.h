/* float16 and bfloat16 in software, for building and for CPUs that have no instructions for them. Rounded to nearest,
 * ties to even. */
#ifndef GN_INDEX_HALF_PRIVATE_H
#define GN_INDEX_HALF_PRIVATE_H

#include "base/half.h"

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

#endif
