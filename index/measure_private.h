/* Distances inside the index: squared L2, the negated inner product, L1, Hamming, Jaccard. Vectors are padded with
 * zeros to a multiple of 16 floats ("stride"), which changes neither, so that the kernels have no remainder. */
#ifndef GN_INDEX_MEASURE_PRIVATE_H
#define GN_INDEX_MEASURE_PRIVATE_H

#include "index/distance.h"

#include <math.h>
#include <stdbool.h>

#define GN_VECTOR_ALIGN 64u

typedef struct gn_measure {
    gn_distance_fn one;
    gn_distance_x4_fn four;
    size_t stride; /* floats a vector */
    bool negate;   /* inner product and cosine: smaller is nearer */
} gn_measure;

static inline bool gn_metric_of_bits(gn_metric_kind metric)
{
    return metric == GN_METRIC_HAMMING || metric == GN_METRIC_JACCARD;
}

/* Numbers of 32 bits that a caller's vector has. */
static inline uint32_t gn_vector_words(gn_metric_kind metric, uint32_t dimensions)
{
    return gn_metric_of_bits(metric) ? (dimensions + 31) / 32 : dimensions;
}

static inline size_t gn_vector_stride(gn_metric_kind metric, uint32_t dimensions)
{
    return ((size_t)gn_vector_words(metric, dimensions) + 15) / 16 * 16;
}

/* May a caller's vector be inserted, or asked with? Bits are always; numbers must be finite. */
static inline bool gn_vector_is_sound(gn_metric_kind metric, const float *v, uint32_t dimensions)
{
    for (uint32_t i = 0; i < dimensions && !gn_metric_of_bits(metric); i++) {
        if (!isfinite(v[i]))
            return false;
    }
    return true;
}

/* The kernels of L1, Hamming and Jaccard distance for this CPU (measure_rare.c). */
void gn_measure_rare(gn_metric_kind metric, gn_distance_fn *one, gn_distance_x4_fn *four);

static inline gn_measure gn_measure_of(const gn_kernels *k, gn_metric_kind metric, uint32_t dimensions)
{
    gn_measure m = {.one = k->dot, .four = k->dot_x4, .stride = gn_vector_stride(metric, dimensions), .negate = true};
    if (metric == GN_METRIC_L2 || metric >= GN_METRIC_L1)
        m.negate = false;
    if (metric == GN_METRIC_L2) {
        m.one = k->l2sq;
        m.four = k->l2sq_x4;
    } else if (metric >= GN_METRIC_L1) {
        gn_measure_rare(metric, &m.one, &m.four);
    }
    return m;
}

/* Finite vectors may still overflow a float sum; such a pair is infinitely far apart, never NaN. */
static inline float gn_measure_clean(const gn_measure *m, float raw)
{
    float d = m->negate ? -raw : raw;
    return d == d ? d : INFINITY;
}

static inline float gn_measure_one(const gn_measure *m, const float *a, const float *b)
{
    return gn_measure_clean(m, m->one(a, b, m->stride));
}

static inline void gn_measure_four(const gn_measure *m, const float *a, const float *const b[4], float out[4])
{
    m->four(a, b, m->stride, out);
    for (int j = 0; j < 4; j++)
        out[j] = gn_measure_clean(m, out[j]);
}

/* Scales to length one. False, and unchanged, for a zero vector. */
bool gn_normalize(const gn_kernels *kernels, float *v, uint32_t dimensions);

/* Asks for the beginning of a vector; the hardware follows a stream once it has begun. */
static inline void gn_prefetch_vector(const float *v, size_t stride)
{
    const char *p = (const char *)v;
    size_t lines = stride / 16;
    if (lines > 8)
        lines = 8;
    for (size_t i = 0; i < lines; i++)
        __builtin_prefetch(p + 64 * i, 0, 3);
}

#endif
