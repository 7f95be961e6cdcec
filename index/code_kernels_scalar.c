/* The reference for kernels over codes, and which ones this CPU runs. */
#include "index/code_kernels_private.h"
#include "index/half_private.h"

#include <math.h>
#include <string.h>

/* ---- integer codes ---- */

static void scalar_dot8_x4(const int8_t *q, const uint8_t *const c[4], size_t bytes, int32_t out[4])
{
    for (int j = 0; j < 4; j++) {
        int32_t sum = 0;
        for (size_t i = 0; i < bytes; i++)
            sum += q[i] * c[j][i];
        out[j] = sum;
    }
}

static void scalar_dot4_x4(const int8_t *q, const uint8_t *const c[4], size_t bytes, int32_t out[4])
{
    for (int j = 0; j < 4; j++) {
        int32_t sum = 0;
        for (size_t i = 0; i < bytes; i++)
            sum += q[i] * (c[j][i] & 15) + q[bytes + i] * (c[j][i] >> 4);
        out[j] = sum;
    }
}

static void scalar_dot1_x4(const int8_t *q, const uint8_t *const c[4], size_t bytes, int32_t out[4])
{
    for (int j = 0; j < 4; j++) {
        int32_t sum = 0;
        for (size_t i = 0; i < bytes; i++) {
            for (int b = 0; b < 8; b++)
                sum += q[8 * i + (size_t)b] * (c[j][i] >> b & 1);
        }
        out[j] = sum;
    }
}

static uint64_t load8(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static uint32_t scalar_hamming(const uint8_t *a, const uint8_t *b, size_t bytes)
{
    uint32_t n = 0;
    for (size_t i = 0; i < bytes; i += 8)
        n += (uint32_t)__builtin_popcountll(load8(a + i) ^ load8(b + i));
    return n;
}

static void scalar_overlap(const uint8_t *a, const uint8_t *b, size_t bytes, uint32_t *both, uint32_t *either)
{
    *both = *either = 0;
    for (size_t i = 0; i < bytes; i += 8) {
        uint64_t x = load8(a + i), y = load8(b + i);
        *both += (uint32_t)__builtin_popcountll(x & y);
        *either += (uint32_t)__builtin_popcountll(x | y);
    }
}

/* ---- halves ---- */

static void scalar_l2sq_bf16_x4(const float *q, const uint16_t *const c[4], size_t n, float out[4])
{
    for (int j = 0; j < 4; j++) {
        double sum = 0;
        for (size_t i = 0; i < n; i++) {
            double d = (double)q[i] - (double)gn_float_of_bf16(c[j][i]);
            sum += d * d;
        }
        out[j] = (float)sum;
    }
}

static void scalar_dot_bf16_x4(const float *q, const uint16_t *const c[4], size_t n, float out[4])
{
    for (int j = 0; j < 4; j++) {
        double sum = 0;
        for (size_t i = 0; i < n; i++)
            sum += (double)q[i] * (double)gn_float_of_bf16(c[j][i]);
        out[j] = (float)sum;
    }
}

static float scalar_l1(const float *a, const float *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += fabs((double)a[i] - (double)b[i]);
    return (float)sum;
}

static void scalar_to_f16(const float *from, uint16_t *to, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] = gn_f16_of_float(from[i]);
}

/* ---- product codes ---- */

static void scalar_lookup8_x4(const float *table, const uint8_t *const c[4], size_t n, float out[4])
{
    for (int j = 0; j < 4; j++) {
        float sum = 0;
        for (size_t s = 0; s < n; s++)
            sum += table[256 * s + c[j][s]];
        out[j] = sum;
    }
}

static void scalar_lookup4_x4(const uint8_t *table, const uint8_t *const c[4], size_t bytes, uint32_t out[4])
{
    for (int j = 0; j < 4; j++) {
        uint32_t sum = 0;
        for (size_t i = 0; i < bytes; i++)
            sum += (uint32_t)table[32 * i + (c[j][i] & 15)] + table[32 * i + 16 + (c[j][i] >> 4)];
        out[j] = sum;
    }
}

const gn_code_kernels gn_code_kernels_scalar = {
    .name = "scalar",
    .dot8_x4 = scalar_dot8_x4,
    .dot4_x4 = scalar_dot4_x4,
    .dot1_x4 = scalar_dot1_x4,
    .hamming = scalar_hamming,
    .overlap = scalar_overlap,
    .l2sq_bf16_x4 = scalar_l2sq_bf16_x4,
    .dot_bf16_x4 = scalar_dot_bf16_x4,
    .l1 = scalar_l1,
    .to_f16 = scalar_to_f16,
    .lookup8_x4 = scalar_lookup8_x4,
    .lookup4_x4 = scalar_lookup4_x4,
};

/* ---- choosing ---- */

const gn_code_kernels *gn_code_kernels_named(const char *name)
{
    if (strcmp(name, "scalar") == 0)
        return &gn_code_kernels_scalar;
#ifdef GN_HAVE_X86_KERNELS
    if (strcmp(name, "avx2") == 0 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
        __builtin_cpu_supports("popcnt"))
        return &gn_code_kernels_avx2;
    if (strcmp(name, "avx512") == 0 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni") &&
        __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vpopcntdq"))
        return &gn_code_kernels_avx512;
#endif
    return NULL;
}

const gn_code_kernels *gn_code_kernels_best(void)
{
    static const char *const from_best[] = {"avx512", "avx2"};
    for (size_t i = 0; i < sizeof from_best / sizeof from_best[0]; i++) {
        const gn_code_kernels *k = gn_code_kernels_named(from_best[i]);
        if (k)
            return k;
    }
    return &gn_code_kernels_scalar;
}
