/* Casts between arrays, which are those of their elements. */
#include "query/array_private.h"
#include "query/value_private.h"

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
    } else {
        return false;
    }
    if (*code == GN_OK) {
        *out = made;
        out->type = to;
    }
    return true;
}
