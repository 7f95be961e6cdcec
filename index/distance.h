/* Distance kernels over float32 and float16, chosen once at run time: scalar, AVX2+FMA+F16C, AVX-512, NEON. */
#ifndef GN_INDEX_DISTANCE_H
#define GN_INDEX_DISTANCE_H

#include <stddef.h>
#include <stdint.h>

typedef enum gn_metric_kind {
    GN_METRIC_L2 = 1,     /* squared Euclidean inside the index; sqrt at the surface */
    GN_METRIC_IP = 2,     /* negative inner product */
    GN_METRIC_COSINE = 3, /* 1 - cosine */
    GN_METRIC_L1 = 4,     /* sum of |a - b| */
    /* Of bit vectors. Those are passed where floats are, as whole 32-bit words, the first bit lowest and zeros after
     * the last; dimensions counts bits. */
    GN_METRIC_HAMMING = 5, /* bits that differ */
    GN_METRIC_JACCARD = 6, /* 1 - bits in both / bits in either; of two empty ones 0 */
    GN_METRIC_KNOWN = 7,
} gn_metric_kind;

/* Smaller is nearer. n: dimensions, 1..GN_MAX_DIMENSIONS. No alignment needed. */
typedef float (*gn_distance_fn)(const float *a, const float *b, size_t n);
/* The same of one vector with four others at once: `a` is read once, and four sums hide each other's latency. */
typedef void (*gn_distance_x4_fn)(const float *a, const float *const b[4], size_t n, float out[4]);

/* Of a vector with four others of float16. n: a multiple of 16. */
typedef void (*gn_half_x4_fn)(const float *a, const uint16_t *const b[4], size_t n, float out[4]);

typedef struct gn_kernels {
    const char *name;     /* "scalar", "avx2", "avx512", "neon" */
    gn_distance_fn l2sq;  /* sum (a-b)^2 */
    gn_distance_fn dot;   /* sum a*b */
    gn_distance_fn norm2; /* a alone is read: sum a*a (b may be NULL) */
    gn_distance_x4_fn l2sq_x4;
    gn_distance_x4_fn dot_x4;
    gn_half_x4_fn l2sq_half_x4, dot_half_x4;
    gn_half_x4_fn l1_half_x4; /* sum |a-b| */
} gn_kernels;

const gn_kernels *gn_kernels_best(void); /* for this CPU */
/* The most dimensions of an index by this distance; of bits more than of numbers. */
uint32_t gn_metric_max_dimensions(gn_metric_kind metric);
/* L1, Hamming and Jaccard distance, which are no kernels' part. n: floats; of bit vectors words, an even number. */
gn_distance_fn gn_distance_rare(gn_metric_kind metric);
const gn_kernels *gn_kernels_named(const char *); /* NULL when not compiled in or not supported by this CPU */

#endif
