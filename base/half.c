#include "base/half.h"

#if defined(__x86_64__)
#include <immintrin.h>

/* Every CPU with AVX2 has F16C, too. */
__attribute__((target("avx,f16c"))) static size_t floats_by_8(const uint8_t *halves, float *out, size_t n)
{
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m128i h = _mm_loadu_si128((const __m128i *)(const void *)(halves + 2 * i));
        _mm256_storeu_ps(out + i, _mm256_cvtph_ps(h));
    }
    return i;
}
#endif

void gn_floats_of_f16(const uint8_t *halves, float *out, size_t n)
{
    size_t i = 0;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2"))
        i = floats_by_8(halves, out, n);
#endif
    for (; i < n; i++) {
        uint16_t h;
        memcpy(&h, halves + 2 * i, sizeof h);
        out[i] = gn_float_of_f16(h);
    }
}
