/* vector(n), halfvec(n), sparsevec(n) and bit strings. Text and binary forms and wordings are pgvector's and
 * PostgreSQL's. Values lie at any address.
 *
 *   vector      dimensions x float32, host order, all finite
 *   halfvec     dimensions x float16, host order, all finite
 *   sparsevec   dimensions u32, count u32, then `count` times the place (u32, from 0, ascending), then `count` times
 *               float32, finite and not 0
 *   bit         one byte: how many bits of the last byte are unused (0..7, and zero); then the bits, first bit highest
 */
#ifndef GN_QUERY_VECTOR_H
#define GN_QUERY_VECTOR_H

#include "base/half.h"
#include "query/value.h"

enum {
    GN_MAX_SPARSE_DIMENSIONS = 1000000000,
    GN_MAX_SPARSE_ELEMENTS = 16000,
    GN_SPARSE_HEAD = 8,
    GN_MAX_BITS = 83886080, /* as PostgreSQL's */
};

/* ---- vector ---- */

static inline uint32_t gn_vector_dimensions(gn_bytes vector)
{
    return (uint32_t)(vector.len / sizeof(float));
}
static inline float gn_vector_get(gn_bytes vector, uint32_t i)
{
    float v;
    memcpy(&v, vector.data + (size_t)i * sizeof(float), sizeof(v));
    return v;
}
/* Finite, 1..GN_MAX_DIMENSIONS long, and as long as the typmod says (-1 = any)? Takes the bytes as the value. */
gn_code gn_vector_make(gn_bytes floats, gn_type type, gn_value *out, gn_error *err);
/* "different vector dimensions 3 and 2" unless both have the same. */
gn_code gn_vector_check_same(gn_bytes a, gn_bytes b, gn_error *err);

/* ---- vector and halfvec alike ---- id: GN_T_VECTOR or GN_T_HALFVEC */

static inline uint32_t gn_dense_size(gn_type_id id)
{
    return id == GN_T_HALFVEC ? sizeof(uint16_t) : sizeof(float);
}
static inline uint32_t gn_dense_dimensions(gn_type_id id, gn_bytes v)
{
    return (uint32_t)(v.len / gn_dense_size(id));
}
void gn_dense_floats(gn_type_id id, gn_bytes v, float *out);
/* Writes n floats as elements of the type; false: one overflows (*bad tells which). */
bool gn_dense_put(gn_type_id id, const float *floats, size_t n, uint8_t *out, size_t *bad);

/* A vector, halfvec or sparsevec of these numbers, checked like one that is read. Memory is the arena's. */
gn_code gn_vector_of_floats(const float *floats, size_t n, gn_type type, gn_arena *arena, gn_value *out, gn_error *err);
/* The numbers of a vector, halfvec or sparsevec, zeros too; GN_LIMIT for a sparsevec of more than GN_MAX_DIMENSIONS. */
gn_code gn_vector_to_floats(const gn_value *v, gn_arena *arena, const float **out, size_t *n, gn_error *err);
/* Dimensions 1..most, as many as the modifier says? Worded for the type. */
gn_code gn_vector_check_dimensions(uint64_t n, gn_type type, gn_error *err);
gn_code gn_vector_check_finite(float v, gn_type type, gn_error *err);
bool gn_is_vector_type(gn_type t); /* one of the three */

/* Casts between the three, and between them and arrays of numbers. False: not such a cast. vector_cast.c */
bool gn_cast_vector(const gn_value *v, gn_type to, const gn_format *format, gn_arena *arena, gn_value *out,
                    gn_code *code, gn_error *err);
bool gn_cast_vector_allowed(gn_type from, gn_type to, gn_cast_context context);

/* ---- sparsevec ---- */

typedef struct gn_sparse {
    uint32_t dimensions, n;
    const uint8_t *places, *values;
} gn_sparse;

static inline gn_sparse gn_sparse_of(gn_bytes v)
{
    gn_sparse s;
    memcpy(&s.dimensions, v.data, 4);
    memcpy(&s.n, v.data + 4, 4);
    s.places = v.data + GN_SPARSE_HEAD;
    s.values = s.places + (size_t)s.n * 4;
    return s;
}
static inline uint32_t gn_sparse_place(const gn_sparse *s, uint32_t i)
{
    uint32_t place;
    memcpy(&place, s->places + (size_t)i * 4, 4);
    return place;
}
static inline float gn_sparse_value(const gn_sparse *s, uint32_t i)
{
    float v;
    memcpy(&v, s->values + (size_t)i * 4, 4);
    return v;
}
/* Memory for a sparsevec of n elements, its head written; *places and *values are to be filled. NULL: none. */
uint8_t *gn_sparse_create(gn_arena *arena, uint32_t dimensions, uint32_t n, uint8_t **places, uint8_t **values,
                          gn_bytes *out);
bool gn_sparse_is_valid(gn_bytes v);
gn_code gn_sparse_check_same(const gn_sparse *a, const gn_sparse *b, gn_error *err);

/* ---- as an index takes them ---- */

/* What a vector index is given of a value of this type and length: float32 of the three kinds of vectors, of bits whole
 * 32-bit words with zeros behind the last. */
bool gn_type_can_be_indexed(gn_type column);
uint32_t gn_index_words(gn_type column); /* 32-bit words; of bits an even number */
/* False: the value has another length than the column. */
bool gn_index_vector(gn_type column, gn_bytes v, float *out);

/* ---- bit ---- */

typedef struct gn_bits {
    uint64_t n; /* bits */
    gn_bytes bytes;
} gn_bits;

static inline gn_bits gn_bits_of(gn_bytes v)
{
    return (gn_bits){.n = (uint64_t)(v.len - 1) * 8 - v.data[0], .bytes = gn_bytes_of(v.data + 1, v.len - 1)};
}
static inline size_t gn_bits_bytes(uint64_t n)
{
    return (size_t)((n + 7) / 8);
}
/* Zeroed memory for n bits; *bytes are to be filled, without touching what lies behind the last bit. NULL: none. */
uint8_t *gn_bits_create(gn_arena *arena, uint64_t n, gn_bytes *out);
bool gn_bits_is_valid(gn_bytes v);
/* The first n bits, zeros after those that there are. */
gn_code gn_bits_resize(gn_bytes v, uint64_t n, gn_arena *arena, gn_bytes *out, gn_error *err);
/* bit(n) and bit varying(n) of a value of either. */
gn_code gn_bits_apply_typmod(gn_bytes v, gn_type to, gn_cast_context context, gn_arena *arena, gn_bytes *out,
                             gn_error *err);
/* Casts between bit strings and integers. False: not such a cast. */
bool gn_cast_bits(const gn_value *v, gn_type to, gn_arena *arena, gn_value *out, gn_code *code, gn_error *err);

#endif
