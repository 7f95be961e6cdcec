/* The inside of a codec. Params are a head of 128 bytes and arrays, each at a multiple of 64; what is there follows
 * from the head. */
#ifndef GN_INDEX_CODES_PRIVATE_H
#define GN_INDEX_CODES_PRIVATE_H

#include "base/memory.h"
#include "index/code_kernels_private.h"
#include "index/codes.h"
#include "index/measure_private.h"

#define GN_CODEC_MAGIC 0x31444f43u /* "COD1" */

typedef struct gn_codec_head {
    uint32_t magic;
    uint32_t kind;
    uint32_t metric;
    uint32_t dimensions;
    uint32_t coords; /* coordinates that are coded: after reduction, or with padding */
    uint32_t bits;   /* a coordinate */
    uint32_t subquantizers, centroids;
    uint32_t rotated; /* product: a learned rotation comes first */
    uint32_t halves;  /* float32, never in a file: the vectors themselves, which are of float16 */
    uint64_t seed;    /* of the random rotation */
    float left_out;   /* share of the variance outside of the principal subspace */
    float mean2;      /* |mean| squared */
    uint8_t padding[128 - 56];
} gn_codec_head;

_Static_assert(sizeof(gn_codec_head) == 128, "arrays follow at a multiple of 64");

typedef struct gn_codec_ops {
    void (*encode)(const gn_codec *, gn_code_query *, const float *vector, uint8_t *code);
    void (*prepare)(const gn_codec *, gn_code_query *, const float *vector);
    void (*prepare_code)(const gn_codec *, gn_code_query *, const uint8_t *code); /* NULL: codes do not compare */
    void (*measure)(const gn_codec *, const gn_code_query *, const uint8_t *const *codes, size_t n, float *out);
    float (*error)(const gn_codec *, const gn_code_query *, const uint8_t *code, float sigmas);
} gn_codec_ops;

struct gn_codec {
    const gn_codec_head *head;
    gn_bytes params;
    uint8_t *owned; /* params, when they are not in a file */
    const gn_codec_ops *ops;
    const gn_code_kernels *kernels;
    const gn_kernels *floats;
    gn_measure measure; /* over the full vectors; of rows of halves only where these are the codes */
    size_t stride;      /* bytes a code */
    size_t padded;      /* dimensions, up to a multiple of 64 */
    size_t code_bytes;  /* the part that kernels read; the terms lie in the last bytes of the stride */
    float mid;          /* what an unsigned coordinate is centred by */
    /* into params */
    const float *mean;       /* [stride of the vectors] */
    const float *axis_scale; /* reduced: [coords] */
    const uint8_t *axes;     /* reduced: [coords][padded], each an axis times 127 / its largest, plus 128 */
    const uint8_t *signs;    /* random rotation: bits, a round after the other */
    const float *rotation;   /* product, learned: [dimensions][stride of the vectors] */
    const float *centroids;  /* product: [subquantizers][centroids][dimensions / subquantizers] */
};

struct gn_code_query {
    float a, b, c;       /* an estimate is a + t + f * (b * sum + c), with t and f of the code */
    float spread;        /* for gn_codec_error: the length of the centred query */
    float rounding;      /* and how far off a rounded coordinate of it is */
    const float *vector; /* of the float kinds: stride floats */
    int8_t *bytes;       /* the query as the integer kernels want it */
    float *floats;       /* the query, centred, or tables */
    float *scratch;      /* coordinates */
    int8_t *scratch_bytes;
    void *memory;
};

/* The sizes of the arrays, in the order in which they lie. 0 for those that a codec does not have. */
typedef struct gn_codec_layout {
    size_t mean, axis_scale, axes, signs, rotation, centroids, total;
} gn_codec_layout;
gn_codec_layout gn_codec_layout_of(const gn_codec_head *head);
/* Room for params of this head, zeroed, and a codec over them. The caller fills the arrays through gn_codec_array. */
gn_codec *gn_codec_create(const gn_codec_head *head);
static inline void *gn_codec_array(gn_codec *codec, const void *array)
{
    return codec->owned + ((const uint8_t *)array - codec->params.data);
}
static inline size_t gn_round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

extern const gn_codec_ops gn_codec_float_ops, gn_codec_half_ops, gn_codec_linear_ops, gn_codec_binary_ops,
    gn_codec_product_ops;

/* ---- codes_linear.c ---- */

/* Centred and turned: y, `coords` numbers, from vector. Returns the squared length of the centred vector. */
float gn_codec_turn(const gn_codec *codec, gn_code_query *scratch, const float *vector, float *y);

/* ---- rotate.c: a random rotation by fast Hadamard transforms ---- */

enum { GN_ROTATE_ROUNDS = 4 };
void gn_rotate_signs(uint64_t seed, uint32_t coords, uint8_t *signs); /* GN_ROTATE_ROUNDS * coords / 8 bytes */
void gn_rotate(const uint8_t *signs, uint32_t coords, float *v);      /* coords: a multiple of 8 */

/* ---- principal.c ---- */

typedef struct gn_sample {
    const float *const *vectors;
    size_t n;
    uint32_t dimensions;
    size_t stride;
    const gn_kernels *kernels;
    uint64_t seed;
} gn_sample;

bool gn_sample_mean(const gn_sample *sample, float *mean); /* false when it has no variance, or squares overflow */
/* Orthonormal axes, [n_axes][stride], of the subspace that holds most of the variance; energy[n_axes] descending, as
 * shares of the variance. */
void gn_principal_axes(const gn_sample *sample, const float *mean, uint32_t n_axes, float *axes, float *energy);
uint64_t gn_random_next(uint64_t *state);
float gn_random_normal(uint64_t *state);

/* ---- codes_product.c ---- */

void gn_product_train(gn_codec *codec, const gn_sample *sample);

#endif
