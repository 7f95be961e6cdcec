/* Distances inside the index: squared L2 or the negated inner product. Vectors are padded with zeros to a multiple of
 * 16 floats ("stride"), which changes neither, so that the kernels have no remainder. */
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

static inline size_t gn_vector_stride(uint32_t dimensions)
{
    return ((size_t)dimensions + 15) / 16 * 16;
}

static inline gn_measure gn_measure_of(const gn_kernels *k, gn_metric_kind metric, uint32_t dimensions)
{
    bool l2 = metric == GN_METRIC_L2;
    return (gn_measure){.one = l2 ? k->l2sq : k->dot,
                        .four = l2 ? k->l2sq_x4 : k->dot_x4,
                        .stride = gn_vector_stride(dimensions),
                        .negate = !l2};
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
