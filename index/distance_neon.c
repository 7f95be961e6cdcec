/* Kernels for aarch64, where NEON with fused multiply-add is always there. Elsewhere this file is empty. */
#include "index/distance_private.h"

#if defined(__aarch64__)

#include <arm_neon.h>

static float neon_l2sq(const float *a, const float *b, size_t n)
{
    float32x4_t s0 = vdupq_n_f32(0), s1 = s0, s2 = s0, s3 = s0;
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        float32x4_t d0 = vsubq_f32(vld1q_f32(a + i), vld1q_f32(b + i));
        float32x4_t d1 = vsubq_f32(vld1q_f32(a + i + 4), vld1q_f32(b + i + 4));
        float32x4_t d2 = vsubq_f32(vld1q_f32(a + i + 8), vld1q_f32(b + i + 8));
        float32x4_t d3 = vsubq_f32(vld1q_f32(a + i + 12), vld1q_f32(b + i + 12));
        s0 = vfmaq_f32(s0, d0, d0);
        s1 = vfmaq_f32(s1, d1, d1);
        s2 = vfmaq_f32(s2, d2, d2);
        s3 = vfmaq_f32(s3, d3, d3);
    }
    float s = vaddvq_f32(vaddq_f32(vaddq_f32(s0, s1), vaddq_f32(s2, s3)));
    for (; i < n; i++)
        s += (a[i] - b[i]) * (a[i] - b[i]);
    return s;
}

static float neon_dot(const float *a, const float *b, size_t n)
{
    float32x4_t s0 = vdupq_n_f32(0), s1 = s0, s2 = s0, s3 = s0;
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        s0 = vfmaq_f32(s0, vld1q_f32(a + i), vld1q_f32(b + i));
        s1 = vfmaq_f32(s1, vld1q_f32(a + i + 4), vld1q_f32(b + i + 4));
        s2 = vfmaq_f32(s2, vld1q_f32(a + i + 8), vld1q_f32(b + i + 8));
        s3 = vfmaq_f32(s3, vld1q_f32(a + i + 12), vld1q_f32(b + i + 12));
    }
    float s = vaddvq_f32(vaddq_f32(vaddq_f32(s0, s1), vaddq_f32(s2, s3)));
    for (; i < n; i++)
        s += a[i] * b[i];
    return s;
}

static float neon_norm2(const float *a, const float *b, size_t n)
{
    (void)b;
    return neon_dot(a, a, n);
}

static void neon_l2sq_x4(const float *a, const float *const b[4], size_t n, float out[4])
{
    float32x4_t s[4] = {vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0)};
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        float32x4_t q = vld1q_f32(a + i);
        for (int j = 0; j < 4; j++) {
            float32x4_t d = vsubq_f32(q, vld1q_f32(b[j] + i));
            s[j] = vfmaq_f32(s[j], d, d);
        }
    }
    for (int j = 0; j < 4; j++) {
        out[j] = vaddvq_f32(s[j]);
        for (size_t r = i; r < n; r++)
            out[j] += (a[r] - b[j][r]) * (a[r] - b[j][r]);
    }
}

static void neon_dot_x4(const float *a, const float *const b[4], size_t n, float out[4])
{
    float32x4_t s[4] = {vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0)};
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        float32x4_t q = vld1q_f32(a + i);
        for (int j = 0; j < 4; j++)
            s[j] = vfmaq_f32(s[j], q, vld1q_f32(b[j] + i));
    }
    for (int j = 0; j < 4; j++) {
        out[j] = vaddvq_f32(s[j]);
        for (size_t r = i; r < n; r++)
            out[j] += a[r] * b[j][r];
    }
}

/* ---- halves: converted four at a time ---- */

static inline float32x4_t load_half(const uint16_t *p)
{
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
}

static void neon_l2sq_half_x4(const float *a, const uint16_t *const b[4], size_t n, float out[4])
{
    float32x4_t s[4] = {vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0)};
    for (size_t i = 0; i < n; i += 4) {
        float32x4_t q = vld1q_f32(a + i);
        for (int j = 0; j < 4; j++) {
            float32x4_t d = vsubq_f32(q, load_half(b[j] + i));
            s[j] = vfmaq_f32(s[j], d, d);
        }
    }
    for (int j = 0; j < 4; j++)
        out[j] = vaddvq_f32(s[j]);
}

static void neon_dot_half_x4(const float *a, const uint16_t *const b[4], size_t n, float out[4])
{
    float32x4_t s[4] = {vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0)};
    for (size_t i = 0; i < n; i += 4) {
        float32x4_t q = vld1q_f32(a + i);
        for (int j = 0; j < 4; j++)
            s[j] = vfmaq_f32(s[j], q, load_half(b[j] + i));
    }
    for (int j = 0; j < 4; j++)
        out[j] = vaddvq_f32(s[j]);
}

static void neon_l1_half_x4(const float *a, const uint16_t *const b[4], size_t n, float out[4])
{
    float32x4_t s[4] = {vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0)};
    for (size_t i = 0; i < n; i += 4) {
        float32x4_t q = vld1q_f32(a + i);
        for (int j = 0; j < 4; j++)
            s[j] = vaddq_f32(s[j], vabdq_f32(q, load_half(b[j] + i)));
    }
    for (int j = 0; j < 4; j++)
        out[j] = vaddvq_f32(s[j]);
}

const gn_kernels gn_kernels_neon = {
    "neon",      neon_l2sq,         neon_dot,         neon_norm2,      neon_l2sq_x4,
    neon_dot_x4, neon_l2sq_half_x4, neon_dot_half_x4, neon_l1_half_x4,
};

#endif
