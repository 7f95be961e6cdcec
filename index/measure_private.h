/* Distances inside the index: squared L2, the negated inner product, L1, Hamming, Jaccard. Vectors are padded with
 * zeros to a multiple of 16 numbers ("stride"), which changes neither, so that the kernels have no remainder.
 *
 * A query is floats. What is kept of a vector, its row, is floats, too, or halves (float16), where the owner has no
 * more than these: half of the memory, and nothing is lost. By cosine, rows of floats have length one. Halves would be
 * rounded again by that, so they stay as they were given, and behind them stands the inverse of their length. */
#ifndef GN_INDEX_MEASURE_PRIVATE_H
#define GN_INDEX_MEASURE_PRIVATE_H

#include "index/distance.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#define GN_VECTOR_ALIGN 64u

typedef struct gn_measure {
    const gn_kernels *kernels;
    gn_distance_fn one;
    gn_distance_x4_fn four;
    gn_half_x4_fn halves; /* NULL: rows are floats */
    uint32_t words;       /* numbers of a vector, */
    size_t stride;        /* with padding */
    size_t row_bytes;
    bool negate; /* inner product and cosine: smaller is nearer */
    bool unit;   /* cosine */
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

/* What a row takes; of halves a multiple of 32. */
static inline size_t gn_vector_row_bytes(gn_metric_kind metric, uint32_t dimensions, bool halves)
{
    size_t stride = gn_vector_stride(metric, dimensions);
    return halves ? stride * sizeof(uint16_t) + (metric == GN_METRIC_COSINE ? 32 : 0) : stride * sizeof(float);
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

/* halves: never of bits. */
gn_measure gn_measure_of(const gn_kernels *kernels, gn_metric_kind metric, uint32_t dimensions, bool halves);

/* The row of a vector of `words` numbers. False, and nothing of use: by cosine a zero vector has none. */
bool gn_measure_row(const gn_measure *m, const float *vector, void *row);
/* A row as stride floats: itself, or put into `wide`. What codes are made of. */
const float *gn_measure_wide(const gn_measure *m, const void *row, float *wide);
/* The vector of a row as a query. out: room for stride. */
static inline void gn_measure_widen(const gn_measure *m, const void *row, float *out)
{
    const float *wide = gn_measure_wide(m, row, out);
    if (wide != out)
        memcpy(out, wide, m->stride * sizeof *out);
}

/* Finite vectors may still overflow a float sum; such a pair is infinitely far apart, never NaN. */
static inline float gn_measure_clean(const gn_measure *m, float raw)
{
    float d = m->negate ? -raw : raw;
    return d == d ? d : INFINITY;
}

/* With the distances by halves, of which the rows' lengths are still to be made one. */
static inline void gn_measure_scale(const gn_measure *m, const void *const rows[4], float out[4])
{
    for (int j = 0; j < 4 && m->unit; j++) {
        float scale;
        memcpy(&scale, (const uint8_t *)rows[j] + m->stride * sizeof(uint16_t), sizeof scale);
        out[j] *= scale;
    }
}

static inline void gn_measure_four(const gn_measure *m, const float *query, const void *const rows[4], float out[4])
{
    if (m->halves) {
        const uint16_t *const halves[4] = {rows[0], rows[1], rows[2], rows[3]};
        m->halves(query, halves, m->stride, out);
        gn_measure_scale(m, rows, out);
    } else {
        const float *const floats[4] = {rows[0], rows[1], rows[2], rows[3]};
        m->four(query, floats, m->stride, out);
    }
    for (int j = 0; j < 4; j++)
        out[j] = gn_measure_clean(m, out[j]);
}

static inline float gn_measure_one(const gn_measure *m, const float *query, const void *row)
{
    if (!m->halves)
        return gn_measure_clean(m, m->one(query, row, m->stride));
    const void *const rows[4] = {row, row, row, row};
    float out[4];
    gn_measure_four(m, query, rows, out);
    return out[0];
}

/* Scales to length one. False, and unchanged, for a zero vector. */
bool gn_normalize(const gn_kernels *kernels, float *v, uint32_t dimensions);

/* Asks for the beginning of a row; the hardware follows a stream once it has begun. */
static inline void gn_prefetch_row(const gn_measure *m, const void *row)
{
    const char *p = row;
    for (size_t at = 0; at < m->row_bytes && at < 512; at += 64)
        __builtin_prefetch(p + at, 0, 3);
}

#endif
