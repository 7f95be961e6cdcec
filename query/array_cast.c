/* Casts between arrays, which are those of their elements, and between arrays of numbers and vectors, as pgvector's. */
#include "query/array_private.h"
#include "query/value_private.h"
#include "query/vector.h"

static gn_code cast_items(const gn_value *v, gn_type to, gn_cast_context context, const gn_format *format,
                          gn_arena *arena, gn_value *out, gn_error *err)
{
    gn_array_iter it = gn_array_open(v);
    gn_array_builder b;
    gn_type element = {.id = to.id, .is_array = false, .typmod = to.typmod};
    bool is_bytes = gn_type_physical(element) == GN_P_BYTES;
    gn_arena *scratch = is_bytes ? gn_arena_create(gn_arena_account(arena)) : arena;
    gn_code code = GN_OK;
    gn_array_begin(&b, element, arena);
    b.n_dimensions = it.n_dimensions;
    memcpy(b.lengths, it.lengths, sizeof b.lengths);
    if (it.n_dimensions)
        memcpy(b.lower_bounds, it.lower_bounds, sizeof b.lower_bounds);
    for (gn_value item, cast; code == GN_OK && gn_array_next(&it, &item);) {
        code = gn_value_cast(&item, element, context, format, scratch, &cast, err);
        if (code == GN_OK)
            code = gn_array_add(&b, &cast, err);
        if (is_bytes)
            gn_arena_reset(scratch);
    }
    if (is_bytes)
        gn_arena_destroy(scratch);
    return code != GN_OK ? code : gn_array_end(&b, out, err);
}

static gn_code to_vector(const gn_value *v, gn_type to, const gn_format *format, gn_arena *arena, gn_value *out,
                         gn_error *err)
{
    gn_array_iter it = gn_array_open(v);
    if (it.n_dimensions > 1)
        return gn_error_set(err, GN_BAD_VECTOR, "array must be 1-D");
    if (it.nulls)
        return gn_error_set(err, GN_NULL_NOT_ALLOWED, "array must not contain nulls");
    if (it.n_items > GN_MAX_DIMENSIONS)
        return gn_error_set(err, GN_LIMIT, "vector cannot have more than %d dimensions", GN_MAX_DIMENSIONS);
    float *floats = gn_arena_alloc(arena, it.n_items * sizeof *floats);
    if (!floats)
        return gn_error_oom(err, gn_arena_account(arena));
    gn_code code = GN_OK;
    for (gn_value item, cast; code == GN_OK && gn_array_next(&it, &item);) {
        uint64_t at = it.at - 1;
        code = gn_value_cast(&item, gn_type_of(GN_T_FLOAT4), GN_CAST_EXPLICIT, format, arena, &cast, err);
        if (code == GN_OK)
            floats[at] = cast.as.f32;
    }
    return code != GN_OK ? code : gn_vector_make(gn_bytes_of(floats, it.n_items * sizeof *floats), to, out, err);
}

static gn_code from_vector(const gn_value *v, gn_arena *arena, gn_value *out, gn_error *err)
{
    gn_array_builder b;
    gn_code code = GN_OK;
    gn_array_begin(&b, gn_type_of(GN_T_FLOAT4), arena);
    for (uint32_t i = 0; i < gn_vector_dimensions(v->as.bytes) && code == GN_OK; i++) {
        gn_value item = {.type = b.element, .as.f32 = gn_vector_get(v->as.bytes, i)};
        code = gn_array_add(&b, &item, err);
    }
    return code != GN_OK ? code : gn_array_end(&b, out, err);
}

bool gn_cast_array(const gn_value *v, gn_type to, gn_cast_context context, const gn_format *format, gn_arena *arena,
                   gn_value *out, gn_code *code, gn_error *err)
{
    gn_value made = {.type = to};
    if (v->type.is_array && to.is_array) {
        if (v->type.id == to.id && to.typmod < 0) {
            made.as = v->as;
            *code = GN_OK;
        } else {
            *code = cast_items(v, to, context, format, arena, &made, err);
        }
    } else if (v->type.is_array && gn_type_is(to, GN_T_VECTOR)) {
        *code = to_vector(v, to, format, arena, &made, err);
    } else if (gn_type_is(v->type, GN_T_VECTOR) && to.is_array && to.id == GN_T_FLOAT4) {
        *code = from_vector(v, arena, &made, err);
    } else {
        return false;
    }
    if (*code == GN_OK) {
        *out = made;
        out->type = to;
    }
    return true;
}
