/* Casts between vector, halfvec and sparsevec, and between them and arrays of numbers: pgvector's. */
#include "query/array.h"
#include "query/value_private.h"
#include "query/vector.h"

/* A type that holds more takes one that holds less in an assignment, and the other way round by itself: that is how
 * pgvector has it, so that a halfvec column is compared with a vector by halves. */
bool gn_cast_vector_allowed(gn_type from, gn_type to, gn_cast_context context)
{
    if (gn_is_vector_type(from) && gn_is_vector_type(to)) {
        bool implicit = from.id == GN_T_VECTOR || (from.id == GN_T_HALFVEC && to.id == GN_T_SPARSEVEC);
        return implicit || context >= GN_CAST_ASSIGNMENT;
    }
    if (gn_is_vector_type(from) && from.id != GN_T_SPARSEVEC && to.is_array && to.id == GN_T_FLOAT4)
        return from.id == GN_T_VECTOR || context >= GN_CAST_ASSIGNMENT;
    if (!gn_is_vector_type(to) || !from.is_array || context < GN_CAST_ASSIGNMENT)
        return false;
    return from.id == GN_T_INT4 || from.id == GN_T_FLOAT4 || from.id == GN_T_FLOAT8 || from.id == GN_T_NUMERIC;
}

static gn_code of_array(const gn_value *v, gn_type to, const gn_format *format, gn_arena *arena, gn_value *out,
                        gn_error *err)
{
    gn_array_iter it = gn_array_open(v);
    if (it.n_dimensions > 1)
        return gn_error_set(err, GN_BAD_VECTOR, "array must be 1-D");
    if (it.nulls)
        return gn_error_set(err, GN_NULL_NOT_ALLOWED, "array must not contain nulls");
    gn_type plain = {.id = to.id, .typmod = -1};
    gn_code code = gn_vector_check_dimensions(it.n_items, plain, err);
    if (code != GN_OK)
        return code;
    float *floats = gn_arena_alloc(arena, it.n_items * sizeof *floats);
    if (!floats)
        return gn_error_oom(err, gn_arena_account(arena));
    for (gn_value item, cast; code == GN_OK && gn_array_next(&it, &item);) {
        uint64_t at = it.at - 1;
        code = gn_value_cast(&item, gn_type_of(GN_T_FLOAT4), GN_CAST_EXPLICIT, format, arena, &cast, err);
        if (code == GN_OK)
            floats[at] = cast.as.f32;
    }
    return code != GN_OK ? code : gn_vector_of_floats(floats, it.n_items, to, arena, out, err);
}

static gn_code to_array(const gn_value *v, gn_arena *arena, gn_value *out, gn_error *err)
{
    gn_array_builder b;
    const float *floats;
    size_t n;
    gn_code code = gn_vector_to_floats(v, arena, &floats, &n, err);
    gn_array_begin(&b, gn_type_of(GN_T_FLOAT4), arena);
    for (size_t i = 0; code == GN_OK && i < n; i++) {
        gn_value item = {.type = b.element, .as.f32 = floats[i]};
        code = gn_array_add(&b, &item, err);
    }
    return code != GN_OK ? code : gn_array_end(&b, out, err);
}

static gn_code to_other(const gn_value *v, gn_type to, gn_arena *arena, gn_value *out, gn_error *err)
{
    const float *floats;
    size_t n;
    gn_code code = gn_vector_to_floats(v, arena, &floats, &n, err);
    return code == GN_OK ? gn_vector_of_floats(floats, n, to, arena, out, err) : code;
}

bool gn_cast_vector(const gn_value *v, gn_type to, const gn_format *format, gn_arena *arena, gn_value *out,
                    gn_code *code, gn_error *err)
{
    gn_value made = {.type = to};
    if (v->type.is_array && gn_is_vector_type(to))
        *code = of_array(v, to, format, arena, &made, err);
    else if (gn_is_vector_type(v->type) && to.is_array && to.id == GN_T_FLOAT4)
        *code = to_array(v, arena, &made, err);
    else if (gn_is_vector_type(v->type) && gn_is_vector_type(to) && v->type.id != to.id)
        *code = to_other(v, to, arena, &made, err);
    else
        return false;
    if (*code == GN_OK) {
        *out = made;
        out->type = to;
    }
    return true;
}
