/* Codes: shorter forms of vectors, from which distances are estimated. A graph is walked over codes, and the few
 * candidates that are left are measured again by the full vectors ("reranked").
 *
 * A codec is trained from a sample of the vectors, immutable from then on, and shared by threads. It is one run of
 * bytes
 * ("params") that a segment file carries and that is used where it lies. Codes have a fixed size, a multiple of 4 bytes
 * (of 64 for the kinds made to be walked), and begin at a multiple of 64 in a segment whose stride is one. */
#ifndef GN_INDEX_CODES_H
#define GN_INDEX_CODES_H

#include "base/bytes.h"
#include "base/error.h"
#include "index/distance.h"

typedef enum gn_code_kind {
    GN_CODES_AUTO = 0, /* an option, never in a file: see gn_codec_train */
    GN_CODES_FLOAT32 = 1,
    GN_CODES_FLOAT16 = 2,
    GN_CODES_BFLOAT16 = 3,
    GN_CODES_SQ8 = 4,     /* 8 bits a coordinate, with a scale of each vector */
    GN_CODES_SQ4 = 5,     /* 4 bits */
    GN_CODES_REDUCED = 6, /* 8 bits a coordinate of the principal subspace */
    GN_CODES_RABITQ = 7,  /* 1 to 4 bits a coordinate after a random rotation */
    GN_CODES_BINARY = 8,  /* the signs */
    GN_CODES_PRODUCT = 9, /* product quantization */
    GN_CODES_KNOWN = 10,
} gn_code_kind;

const char *gn_code_kind_name(gn_code_kind kind);  /* as in SQL; "?" for none of them */
gn_code_kind gn_code_kind_named(const char *name); /* GN_CODES_KNOWN when there is none of that name */

typedef struct gn_code_options {
    gn_code_kind kind;
    gn_metric_kind metric;
    uint32_t dimensions;
    uint32_t bits;          /* GN_CODES_RABITQ: 1..4; 0 = 4 */
    uint32_t subquantizers; /* GN_CODES_PRODUCT: divides the dimensions; 0 = chosen */
    uint32_t centroids;     /* GN_CODES_PRODUCT: 16..256; 0 = 256 */
    bool rotate;            /* GN_CODES_PRODUCT: learn a rotation first */
    bool halves; /* rows are of float16 (measure_private.h): FLOAT32 codes, which are the rows, are so, too */
    uint64_t seed;
} gn_code_options;

gn_code gn_code_options_check(const gn_code_options *options, gn_error *err); /* GN_INVALID_PARAMETER */

/* Bytes that a code will take; of AUTO and REDUCED at most. */
size_t gn_code_stride_of(const gn_code_options *options);

typedef struct gn_codec gn_codec;

/* Trains on n vectors (normalised already for cosine), at most some thousands of which are used. AUTO gives REDUCED
 * where few dimensions hold most of the variance, else SQ8; and FLOAT32 where the sample is too small, has no variance
 * or has numbers whose squares overflow, as every kind does then, and for L1 and bit vectors. GN_INVALID_PARAMETER for
 * options that cannot be. */
gn_code gn_codec_train(const gn_code_options *options, const float *const *sample, size_t n, gn_codec **out,
                       gn_error *err);
size_t gn_codec_training_bytes(uint32_t dimensions, size_t n); /* memory that a training takes, at most */
size_t gn_codec_most_sampled(uint32_t dimensions);             /* of more, an even choice is taken */
gn_codec *gn_codec_plain(gn_metric_kind metric, uint32_t dimensions, bool halves); /* FLOAT32 */
/* Over params that stay where they are, 64-byte aligned. Believes nothing: GN_INDEX_CORRUPT on impossible sizes; other
 * damage gives wrong distances, never an access outside. */
gn_code gn_codec_open(gn_bytes params, gn_codec **out, gn_error *err);
void gn_codec_destroy(gn_codec *codec); /* NULL is fine */
gn_bytes gn_codec_params(const gn_codec *codec);
gn_code_kind gn_codec_kind(const gn_codec *codec);
uint32_t gn_codec_dimensions(const gn_codec *codec);
uint32_t gn_codec_metric(const gn_codec *codec);
size_t gn_codec_stride(const gn_codec *codec); /* bytes a code */
/* Are distances exact, so that nothing needs to be reranked? */
bool gn_codec_exact(const gn_codec *codec);

/* What a thread needs to encode and to measure with a codec: a prepared query and scratch. */
typedef struct gn_code_query gn_code_query;
gn_code_query *gn_code_query_create(const gn_codec *codec);
void gn_code_query_destroy(gn_code_query *query); /* NULL is fine */
size_t gn_code_query_bytes(const gn_codec *codec);

/* vector: padded with zeros to gn_vector_stride. Uses the query's scratch; a query prepared before is lost. */
void gn_codec_encode(const gn_codec *codec, gn_code_query *scratch, const float *vector, uint8_t *code);
void gn_codec_prepare(const gn_codec *codec, gn_code_query *query, const float *vector);
/* The same for a vector that is known by its code alone: distances between codes, to build with. Not every kind. */
bool gn_codec_compares(const gn_codec *codec);
void gn_codec_prepare_code(const gn_codec *codec, gn_code_query *query, const uint8_t *code);

/* Estimated distances as inside the index (squared L2, or the negated inner product) to n codes; never NaN. The codes
 * are prefetched as they are reached. */
void gn_codec_measure(const gn_codec *codec, const gn_code_query *query, const uint8_t *const *codes, size_t n,
                      float *out);
/* How far off an estimate may be, at `sigmas` standard deviations of the estimator: RaBitQ's bound for that kind, the
 * rounding and the energy left out for the others; infinite where the kind has none. */
float gn_codec_error(const gn_codec *codec, const gn_code_query *query, const uint8_t *code, float sigmas);

#endif
