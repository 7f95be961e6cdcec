/* vector(n): dimensions x float32, host order, all finite. Text and binary forms and wordings are pgvector's. */
#ifndef GN_QUERY_VECTOR_H
#define GN_QUERY_VECTOR_H

#include "query/value.h"

static inline uint32_t gn_vector_dimensions(gn_bytes vector)
{
    return (uint32_t)(vector.len / sizeof(float));
}
/* Element i; the bytes may lie at any address. */
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

#endif
