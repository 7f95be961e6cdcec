/* A random rotation in O(n log n): rounds of random signs and a fast Walsh-Hadamard transform. A length that is no
 * power of two is covered by transforming its first and its last power of two in turn, with a butterfly of its halves
 * after each, so that everything gets mixed with everything (as RaBitQ's authors do; Gao and Long, 2024). */
#include "base/assert.h"
#include "index/codes_private.h"
#include "index/half_private.h"

#include <math.h>

void gn_rotate_signs(uint64_t seed, uint32_t coords, uint8_t *signs)
{
    for (size_t i = 0; i < (size_t)GN_ROTATE_ROUNDS * coords / 8; i++)
        signs[i] = (uint8_t)(gn_random_next(&seed) >> 32);
}

/* Turns the signs over where a bit is set, without a branch that is guessed wrong half of the time. */
static void flip(float *v, const uint8_t *signs, uint32_t coords)
{
    for (uint32_t i = 0; i < coords; i += 8) {
        for (uint32_t j = 0; j < 8; j++)
            v[i + j] = gn_float_of_bits(gn_bits_of_float(v[i + j]) ^ ((uint32_t)signs[i / 8] >> j & 1) << 31);
    }
}

static void hadamard(float *v, uint32_t n)
{
    for (uint32_t half = 1; half < n; half *= 2) {
        for (uint32_t i = 0; i < n; i += 2 * half) {
            for (uint32_t j = i; j < i + half; j++) {
                float x = v[j], y = v[j + half];
                v[j] = x + y;
                v[j + half] = x - y;
            }
        }
    }
    float scale = 1 / sqrtf((float)n);
    for (uint32_t i = 0; i < n; i++)
        v[i] *= scale;
}

static void butterfly(float *v, uint32_t n)
{
    for (uint32_t i = 0; i < n / 2; i++) {
        float x = v[i], y = v[i + n / 2];
        v[i] = (x + y) * 0.70710678f;
        v[i + n / 2] = (x - y) * 0.70710678f;
    }
}

void gn_rotate(const uint8_t *signs, uint32_t coords, float *v)
{
    GN_ASSERT(coords % 8 == 0 && coords > 0);
    uint32_t power = 8;
    while (power * 2 <= coords)
        power *= 2;
    for (uint32_t round = 0; round < GN_ROTATE_ROUNDS; round++, signs += coords / 8) {
        flip(v, signs, coords);
        hadamard(v + (round % 2 ? coords - power : 0), power);
        if (power != coords)
            butterfly(v, coords);
    }
}
