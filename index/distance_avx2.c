/* Kernels for AVX2 with FMA; compiled with -mavx2 -mfma and called only where the CPU has both. Four sums in flight
 * cover the latency of a fused multiply-add. */
#include "index/distance_private.h"

#include <immintrin.h>

static inline float sum8(__m256 v)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    s = _mm_add_ss(s, _mm_movehdup_ps(s));
    return _mm_cvtss_f32(s);
}

static float avx2_l2sq(const float *a, const float *b, size_t n)
{
    __m256 s0 = _mm256_setzero_ps(), s1 = s0, s2 = s0, s3 = s0;
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        __m256 d0 = _mm256_sub_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i));
        __m256 d1 = _mm256_sub_ps(_mm256_loadu_ps(a + i + 8), _mm256_loadu_ps(b + i + 8));
        __m256 d2 = _mm256_sub_ps(_mm256_loadu_ps(a + i + 16), _mm256_loadu_ps(b + i + 16));
        __m256 d3 = _mm256_sub_ps(_mm256_loadu_ps(a + i + 24), _mm256_loadu_ps(b + i + 24));
        s0 = _mm256_fmadd_ps(d0, d0, s0);
        s1 = _mm256_fmadd_ps(d1, d1, s1);
        s2 = _mm256_fmadd_ps(d2, d2, s2);
        s3 = _mm256_fmadd_ps(d3, d3, s3);
    }
    for (; i + 8 <= n; i += 8) {
        __m256 d = _mm256_sub_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i));
        s0 = _mm256_fmadd_ps(d, d, s0);
    }
    float s = sum8(_mm256_add_ps(_mm256_add_ps(s0, s1), _mm256_add_ps(s2, s3)));
    for (; i < n; i++)
        s += (a[i] - b[i]) * (a[i] - b[i]);
    return s;
}

static float avx2_dot(const float *a, const float *b, size_t n)
{
    __m256 s0 = _mm256_setzero_ps(), s1 = s0, s2 = s0, s3 = s0;
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        s0 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i), s0);
        s1 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i + 8), _mm256_loadu_ps(b + i + 8), s1);
        s2 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i + 16), _mm256_loadu_ps(b + i + 16), s2);
        s3 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i + 24), _mm256_loadu_ps(b + i + 24), s3);
    }
    for (; i + 8 <= n; i += 8)
        s0 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i), s0);
    float s = sum8(_mm256_add_ps(_mm256_add_ps(s0, s1), _mm256_add_ps(s2, s3)));
    for (; i < n; i++)
        s += a[i] * b[i];
    return s;
}

static float avx2_norm2(const float *a, const float *b, size_t n)
{
    (void)b;
    return avx2_dot(a, a, n);
}

static void avx2_l2sq_x4(const float *a, const float *const b[4], size_t n, float out[4])
{
    const float *b0 = b[0], *b1 = b[1], *b2 = b[2], *b3 = b[3];
    __m256 s0 = _mm256_setzero_ps(), s1 = s0, s2 = s0, s3 = s0;
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 q = _mm256_loadu_ps(a + i);
        __m256 d0 = _mm256_sub_ps(q, _mm256_loadu_ps(b0 + i));
        __m256 d1 = _mm256_sub_ps(q, _mm256_loadu_ps(b1 + i));
        __m256 d2 = _mm256_sub_ps(q, _mm256_loadu_ps(b2 + i));
        __m256 d3 = _mm256_sub_ps(q, _mm256_loadu_ps(b3 + i));
        s0 = _mm256_fmadd_ps(d0, d0, s0);
        s1 = _mm256_fmadd_ps(d1, d1, s1);
        s2 = _mm256_fmadd_ps(d2, d2, s2);
        s3 = _mm256_fmadd_ps(d3, d3, s3);
    }
    out[0] = sum8(s0), out[1] = sum8(s1), out[2] = sum8(s2), out[3] = sum8(s3);
    for (; i < n; i++) {
        out[0] += (a[i] - b0[i]) * (a[i] - b0[i]);
        out[1] += (a[i] - b1[i]) * (a[i] - b1[i]);
        out[2] += (a[i] - b2[i]) * (a[i] - b2[i]);
        out[3] += (a[i] - b3[i]) * (a[i] - b3[i]);
    }
}

static void avx2_dot_x4(const float *a, const float *const b[4], size_t n, float out[4])
{
    const float *b0 = b[0], *b1 = b[1], *b2 = b[2], *b3 = b[3];
    __m256 s0 = _mm256_setzero_ps(), s1 = s0, s2 = s0, s3 = s0;
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 q = _mm256_loadu_ps(a + i);
        s0 = _mm256_fmadd_ps(q, _mm256_loadu_ps(b0 + i), s0);
        s1 = _mm256_fmadd_ps(q, _mm256_loadu_ps(b1 + i), s1);
        s2 = _mm256_fmadd_ps(q, _mm256_loadu_ps(b2 + i), s2);
        s3 = _mm256_fmadd_ps(q, _mm256_loadu_ps(b3 + i), s3);
    }
    out[0] = sum8(s0), out[1] = sum8(s1), out[2] = sum8(s2), out[3] = sum8(s3);
    for (; i < n; i++) {
        out[0] += a[i] * b0[i];
        out[1] += a[i] * b1[i];
        out[2] += a[i] * b2[i];
        out[3] += a[i] * b3[i];
    }
}

/* ---- halves ---- */

static inline __m256 load_half(const uint16_t *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p));
}

static void avx2_l2sq_half_x4(const float *a, const uint16_t *const b[4], size_t n, float out[4])
{
    __m256 s[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps()};
    for (size_t i = 0; i < n; i += 8) {
        __m256 q = _mm256_loadu_ps(a + i);
        for (int j = 0; j < 4; j++) {
            __m256 d = _mm256_sub_ps(q, load_half(b[j] + i));
            s[j] = _mm256_fmadd_ps(d, d, s[j]);
        }
    }
    for (int j = 0; j < 4; j++)
        out[j] = sum8(s[j]);
}

static void avx2_dot_half_x4(const float *a, const uint16_t *const b[4], size_t n, float out[4])
{
    __m256 s[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps()};
    for (size_t i = 0; i < n; i += 8) {
        __m256 q = _mm256_loadu_ps(a + i);
        for (int j = 0; j < 4; j++)
            s[j] = _mm256_fmadd_ps(q, load_half(b[j] + i), s[j]);
    }
    for (int j = 0; j < 4; j++)
        out[j] = sum8(s[j]);
}

static void avx2_l1_half_x4(const float *a, const uint16_t *const b[4], size_t n, float out[4])
{
    __m256 s[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps()};
    const __m256 sign = _mm256_set1_ps(-0.0f);
    for (size_t i = 0; i < n; i += 8) {
        __m256 q = _mm256_loadu_ps(a + i);
        for (int j = 0; j < 4; j++)
            s[j] = _mm256_add_ps(s[j], _mm256_andnot_ps(sign, _mm256_sub_ps(q, load_half(b[j] + i))));
    }
    for (int j = 0; j < 4; j++)
        out[j] = sum8(s[j]);
}

const gn_kernels gn_kernels_avx2 = {
    "avx2",      avx2_l2sq,         avx2_dot,         avx2_norm2,      avx2_l2sq_x4,
    avx2_dot_x4, avx2_l2sq_half_x4, avx2_dot_half_x4, avx2_l1_half_x4,
};
