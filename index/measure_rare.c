/* Distances that are measured by kernels over codes: L1, and those of bit vectors. */
#include "base/limits.h"
#include "index/code_kernels_private.h"
#include "index/measure_private.h"

static const gn_code_kernels *kernels(void)
{
    static _Atomic(const gn_code_kernels *) chosen;
    const gn_code_kernels *k = chosen;
    if (!k)
        chosen = k = gn_code_kernels_best();
    return k;
}

static float l1(const float *a, const float *b, size_t n)
{
    return kernels()->l1(a, b, n);
}

static float hamming(const float *a, const float *b, size_t n)
{
    return (float)kernels()->hamming((const uint8_t *)a, (const uint8_t *)b, n * sizeof *a);
}

static float jaccard(const float *a, const float *b, size_t n)
{
    uint32_t both, either;
    kernels()->overlap((const uint8_t *)a, (const uint8_t *)b, n * sizeof *a, &both, &either);
    return either ? 1 - (float)both / (float)either : 0;
}

static void l1_x4(const float *a, const float *const b[4], size_t n, float out[4])
{
    for (int j = 0; j < 4; j++)
        out[j] = l1(a, b[j], n);
}

static void hamming_x4(const float *a, const float *const b[4], size_t n, float out[4])
{
    for (int j = 0; j < 4; j++)
        out[j] = hamming(a, b[j], n);
}

static void jaccard_x4(const float *a, const float *const b[4], size_t n, float out[4])
{
    for (int j = 0; j < 4; j++)
        out[j] = jaccard(a, b[j], n);
}

void gn_measure_rare(gn_metric_kind metric, gn_distance_fn *one, gn_distance_x4_fn *four)
{
    *one = gn_distance_rare(metric);
    *four = metric == GN_METRIC_L1 ? l1_x4 : metric == GN_METRIC_HAMMING ? hamming_x4 : jaccard_x4;
}

uint32_t gn_metric_max_dimensions(gn_metric_kind metric)
{
    enum { MAX_BITS = 64000 };
    return gn_metric_of_bits(metric) ? MAX_BITS : GN_MAX_DIMENSIONS;
}

gn_distance_fn gn_distance_rare(gn_metric_kind metric)
{
    return metric == GN_METRIC_L1 ? l1 : metric == GN_METRIC_HAMMING ? hamming : jaccard;
}
