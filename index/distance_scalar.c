/* The kernels that need no particular CPU. They are written over the compiler's portable vectors of four floats,
 * which become whatever the target has (SSE2, NEON, VSX) or plain arithmetic. */
#include "base/half.h"
#include "index/distance_private.h"

#include <math.h>
#include <string.h>

typedef float v4 __attribute__((vector_size(16)));

static inline v4 load4(const float *p)
{
    v4 v;
    memcpy(&v, p, sizeof v); /* no alignment promised */
    return v;
}

static inline float sum4(v4 v)
{
    return (v[0] + v[2]) + (v[1] + v[3]);
}

static float scalar_l2sq(const float *a, const float *b, size_t n)
{
    v4 s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        v4 d0 = load4(a + i) - load4(b + i);
        v4 d1 = load4(a + i + 4) - load4(b + i + 4);
        v4 d2 = load4(a + i + 8) - load4(b + i + 8);
        v4 d3 = load4(a + i + 12) - load4(b + i + 12);
        s0 += d0 * d0;
        s1 += d1 * d1;
        s2 += d2 * d2;
        s3 += d3 * d3;
    }
    float s = sum4((s0 + s1) + (s2 + s3));
    for (; i < n; i++)
        s += (a[i] - b[i]) * (a[i] - b[i]);
    return s;
}

static float scalar_dot(const float *a, const float *b, size_t n)
{
    v4 s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        s0 += load4(a + i) * load4(b + i);
        s1 += load4(a + i + 4) * load4(b + i + 4);
        s2 += load4(a + i + 8) * load4(b + i + 8);
        s3 += load4(a + i + 12) * load4(b + i + 12);
    }
    float s = sum4((s0 + s1) + (s2 + s3));
    for (; i < n; i++)
        s += a[i] * b[i];
    return s;
}

static float scalar_norm2(const float *a, const float *b, size_t n)
{
    (void)b;
    return scalar_dot(a, a, n);
}

static void scalar_l2sq_x4(const float *a, const float *const b[4], size_t n, float out[4])
{
    for (int j = 0; j < 4; j++)
        out[j] = scalar_l2sq(a, b[j], n);
}

static void scalar_dot_x4(const float *a, const float *const b[4], size_t n, float out[4])
{
    for (int j = 0; j < 4; j++)
        out[j] = scalar_dot(a, b[j], n);
}

/* ---- halves ---- */

static void scalar_l2sq_half_x4(const float *a, const uint16_t *const b[4], size_t n, float out[4])
{
    for (int j = 0; j < 4; j++) {
        double sum = 0;
        for (size_t i = 0; i < n; i++) {
            double d = (double)a[i] - (double)gn_float_of_f16(b[j][i]);
            sum += d * d;
        }
        out[j] = (float)sum;
    }
}

static void scalar_dot_half_x4(const float *a, const uint16_t *const b[4], size_t n, float out[4])
{
    for (int j = 0; j < 4; j++) {
        double sum = 0;
        for (size_t i = 0; i < n; i++)
            sum += (double)a[i] * (double)gn_float_of_f16(b[j][i]);
        out[j] = (float)sum;
    }
}

static void scalar_l1_half_x4(const float *a, const uint16_t *const b[4], size_t n, float out[4])
{
    for (int j = 0; j < 4; j++) {
        double sum = 0;
        for (size_t i = 0; i < n; i++)
            sum += fabs((double)a[i] - (double)gn_float_of_f16(b[j][i]));
        out[j] = (float)sum;
    }
}

const gn_kernels gn_kernels_scalar = {
    "scalar",      scalar_l2sq,         scalar_dot,         scalar_norm2,      scalar_l2sq_x4,
    scalar_dot_x4, scalar_l2sq_half_x4, scalar_dot_half_x4, scalar_l1_half_x4,
};
