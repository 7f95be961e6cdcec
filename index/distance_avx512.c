/* Kernels for AVX-512F; compiled with -mavx512f and called only where the CPU has it. The remainder below 16 floats is
 * one masked load, so that every length has the same shape. */
#include "index/distance_private.h"

#include <immintrin.h>

static inline __mmask16 rest_mask(size_t n)
{
    return (__mmask16)((1u << (n & 15)) - 1u);
}

static float avx512_l2sq(const float *a, const float *b, size_t n)
{
    __m512 s0 = _mm512_setzero_ps(), s1 = s0, s2 = s0, s3 = s0;
    size_t i = 0;
    for (; i + 64 <= n; i += 64) {
        __m512 d0 = _mm512_sub_ps(_mm512_loadu_ps(a + i), _mm512_loadu_ps(b + i));
        __m512 d1 = _mm512_sub_ps(_mm512_loadu_ps(a + i + 16), _mm512_loadu_ps(b + i + 16));
        __m512 d2 = _mm512_sub_ps(_mm512_loadu_ps(a + i + 32), _mm512_loadu_ps(b + i + 32));
        __m512 d3 = _mm512_sub_ps(_mm512_loadu_ps(a + i + 48), _mm512_loadu_ps(b + i + 48));
        s0 = _mm512_fmadd_ps(d0, d0, s0);
        s1 = _mm512_fmadd_ps(d1, d1, s1);
        s2 = _mm512_fmadd_ps(d2, d2, s2);
        s3 = _mm512_fmadd_ps(d3, d3, s3);
    }
    for (; i + 16 <= n; i += 16) {
        __m512 d = _mm512_sub_ps(_mm512_loadu_ps(a + i), _mm512_loadu_ps(b + i));
        s0 = _mm512_fmadd_ps(d, d, s0);
    }
    if (i < n) {
        __mmask16 m = rest_mask(n);
        __m512 d = _mm512_sub_ps(_mm512_maskz_loadu_ps(m, a + i), _mm512_maskz_loadu_ps(m, b + i));
        s1 = _mm512_fmadd_ps(d, d, s1);
    }
    return _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(s0, s1), _mm512_add_ps(s2, s3)));
}

static float avx512_dot(const float *a, const float *b, size_t n)
{
    __m512 s0 = _mm512_setzero_ps(), s1 = s0, s2 = s0, s3 = s0;
    size_t i = 0;
    for (; i + 64 <= n; i += 64) {
        s0 = _mm512_fmadd_ps(_mm512_loadu_ps(a + i), _mm512_loadu_ps(b + i), s0);
        s1 = _mm512_fmadd_ps(_mm512_loadu_ps(a + i + 16), _mm512_loadu_ps(b + i + 16), s1);
        s2 = _mm512_fmadd_ps(_mm512_loadu_ps(a + i + 32), _mm512_loadu_ps(b + i + 32), s2);
        s3 = _mm512_fmadd_ps(_mm512_loadu_ps(a + i + 48), _mm512_loadu_ps(b + i + 48), s3);
    }
    for (; i + 16 <= n; i += 16)
        s0 = _mm512_fmadd_ps(_mm512_loadu_ps(a + i), _mm512_loadu_ps(b + i), s0);
    if (i < n) {
        __mmask16 m = rest_mask(n);
        s1 = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(m, a + i), _mm512_maskz_loadu_ps(m, b + i), s1);
    }
    return _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(s0, s1), _mm512_add_ps(s2, s3)));
}

static float avx512_norm2(const float *a, const float *b, size_t n)
{
    (void)b;
    return avx512_dot(a, a, n);
}

/* The four sums of 16 lanes each, added up together: one transpose instead of four reductions. */
static inline void sum_x4(__m512 s0, __m512 s1, __m512 s2, __m512 s3, float out[4])
{
    __m512 t0 = _mm512_add_ps(_mm512_unpacklo_ps(s0, s1), _mm512_unpackhi_ps(s0, s1));
    __m512 t1 = _mm512_add_ps(_mm512_unpacklo_ps(s2, s3), _mm512_unpackhi_ps(s2, s3));
    __m512 t = _mm512_add_ps(_mm512_shuffle_ps(t0, t1, 0x44), _mm512_shuffle_ps(t0, t1, 0xee));
    __m128 a = _mm_add_ps(_mm512_castps512_ps128(t), _mm512_extractf32x4_ps(t, 1));
    __m128 b = _mm_add_ps(_mm512_extractf32x4_ps(t, 2), _mm512_extractf32x4_ps(t, 3));
    _mm_storeu_ps(out, _mm_add_ps(a, b));
}

static void avx512_l2sq_x4(const float *a, const float *const b[4], size_t n, float out[4])
{
    const float *b0 = b[0], *b1 = b[1], *b2 = b[2], *b3 = b[3];
    __m512 s0 = _mm512_setzero_ps(), s1 = s0, s2 = s0, s3 = s0;
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 m = n - i >= 16 ? (__mmask16)0xffff : rest_mask(n);
        __m512 q = _mm512_maskz_loadu_ps(m, a + i);
        __m512 d0 = _mm512_sub_ps(q, _mm512_maskz_loadu_ps(m, b0 + i));
        __m512 d1 = _mm512_sub_ps(q, _mm512_maskz_loadu_ps(m, b1 + i));
        __m512 d2 = _mm512_sub_ps(q, _mm512_maskz_loadu_ps(m, b2 + i));
        __m512 d3 = _mm512_sub_ps(q, _mm512_maskz_loadu_ps(m, b3 + i));
        s0 = _mm512_fmadd_ps(d0, d0, s0);
        s1 = _mm512_fmadd_ps(d1, d1, s1);
        s2 = _mm512_fmadd_ps(d2, d2, s2);
        s3 = _mm512_fmadd_ps(d3, d3, s3);
    }
    sum_x4(s0, s1, s2, s3, out);
}

static void avx512_dot_x4(const float *a, const float *const b[4], size_t n, float out[4])
{
    const float *b0 = b[0], *b1 = b[1], *b2 = b[2], *b3 = b[3];
    __m512 s0 = _mm512_setzero_ps(), s1 = s0, s2 = s0, s3 = s0;
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 m = n - i >= 16 ? (__mmask16)0xffff : rest_mask(n);
        __m512 q = _mm512_maskz_loadu_ps(m, a + i);
        s0 = _mm512_fmadd_ps(q, _mm512_maskz_loadu_ps(m, b0 + i), s0);
        s1 = _mm512_fmadd_ps(q, _mm512_maskz_loadu_ps(m, b1 + i), s1);
        s2 = _mm512_fmadd_ps(q, _mm512_maskz_loadu_ps(m, b2 + i), s2);
        s3 = _mm512_fmadd_ps(q, _mm512_maskz_loadu_ps(m, b3 + i), s3);
    }
    sum_x4(s0, s1, s2, s3, out);
}

/* ---- halves ---- */

static inline __m512 load_half(const uint16_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}

static void avx512_l2sq_half_x4(const float *a, const uint16_t *const b[4], size_t n, float out[4])
{
    __m512 s[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps()};
    for (size_t i = 0; i < n; i += 16) {
        __m512 q = _mm512_loadu_ps(a + i);
        for (int j = 0; j < 4; j++) {
            __m512 d = _mm512_sub_ps(q, load_half(b[j] + i));
            s[j] = _mm512_fmadd_ps(d, d, s[j]);
        }
    }
    sum_x4(s[0], s[1], s[2], s[3], out);
}

static void avx512_dot_half_x4(const float *a, const uint16_t *const b[4], size_t n, float out[4])
{
    __m512 s[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps()};
    for (size_t i = 0; i < n; i += 16) {
        __m512 q = _mm512_loadu_ps(a + i);
        for (int j = 0; j < 4; j++)
            s[j] = _mm512_fmadd_ps(q, load_half(b[j] + i), s[j]);
    }
    sum_x4(s[0], s[1], s[2], s[3], out);
}

static void avx512_l1_half_x4(const float *a, const uint16_t *const b[4], size_t n, float out[4])
{
    __m512 s[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps()};
    for (size_t i = 0; i < n; i += 16) {
        __m512 q = _mm512_loadu_ps(a + i);
        for (int j = 0; j < 4; j++)
            s[j] = _mm512_add_ps(s[j], _mm512_abs_ps(_mm512_sub_ps(q, load_half(b[j] + i))));
    }
    sum_x4(s[0], s[1], s[2], s[3], out);
}

const gn_kernels gn_kernels_avx512 = {
    "avx512",      avx512_l2sq,         avx512_dot,         avx512_norm2,      avx512_l2sq_x4,
    avx512_dot_x4, avx512_l2sq_half_x4, avx512_dot_half_x4, avx512_l1_half_x4,
};
