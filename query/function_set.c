/* Functions that return sets. Each computes its rows as one array, which the caller takes apart: what a statement may
 * hold in memory bounds both alike. They may stand in FROM only (gn_function_returns_set). */
#include "query/array.h"
#include "query/json_walk.h"

static gn_code unnest(const gn_call *call, const gn_value *args, gn_value *out)
{
    (void)call;
    out->as = args[0].as;
    return GN_OK;
}

static gn_code generate_subscripts(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_array_iter it = gn_array_open(&args[0]);
    gn_array_builder b;
    gn_code code = GN_OK;
    int64_t d = (int64_t)args[1].as.i32 - 1;
    bool reverse = call->n_args > 2 && args[2].as.boolean;
    int32_t n = d >= 0 && d < it.n_dimensions ? it.lengths[d] : 0;
    gn_array_begin(&b, gn_type_of(GN_T_INT4), call->eval->arena);
    for (int32_t i = 0; i < n && !code; i++) {
        gn_value item = {.type = b.element, .as.i32 = it.lower_bounds[d] + (reverse ? n - 1 - i : i)};
        code = gn_array_add(&b, &item, call->eval->err);
    }
    return code ? code : gn_array_end(&b, out, call->eval->err);
}

/* ---- json ---- */

enum { ELEMENTS, KEYS, VALUES };

static gn_code wrong_kind(const gn_call *call, gn_json_kind kind, bool jsonb)
{
    const char *name = call->function->name;
    gn_error *err = call->eval->err;
    bool scalar = kind != GN_JSON_OBJECT && kind != GN_JSON_ARRAY;
    switch (call->function->op) {
    case ELEMENTS:
        if (jsonb)
            return gn_error_set(err, GN_INVALID_PARAMETER,
                                scalar ? "cannot extract elements from a scalar"
                                       : "cannot extract elements from an object");
        return gn_error_set(err, GN_INVALID_PARAMETER,
                            scalar ? "cannot call %s on a scalar" : "cannot call %s on a non-array", name);
    case KEYS:
        return gn_error_set(err, GN_INVALID_PARAMETER,
                            scalar ? "cannot call %s on a scalar" : "cannot call %s on an array", name);
    default:
        if (jsonb)
            return gn_error_set(err, GN_INVALID_PARAMETER, "cannot call %s on a non-object", name);
        return gn_error_set(err, GN_INVALID_PARAMETER,
                            scalar ? "cannot deconstruct a scalar" : "cannot deconstruct an array as an object");
    }
}

/* A part of the document as a row: itself; or as text, a string without its quotes and null as NULL. */
static gn_code add_part(const gn_call *call, gn_array_builder *b, gn_bytes part)
{
    gn_value item = {.type = b->element, .as.bytes = part};
    gn_code code = GN_OK;
    if (b->element.id == GN_T_TEXT) {
        gn_json_kind kind = gn_json_kind_of(part);
        item.is_null = kind == GN_JSON_NULL;
        if (kind == GN_JSON_STRING)
            code = gn_json_unescape(part, call->eval, &item.as.bytes);
    }
    return code ? code : gn_array_add(b, &item, call->eval->err);
}

static gn_code parts(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_bytes json = args[0].as.bytes;
    gn_json_kind kind = gn_json_kind_of(json);
    if (kind != (call->function->op == ELEMENTS ? GN_JSON_ARRAY : GN_JSON_OBJECT))
        return wrong_kind(call, kind, args[0].type.id == GN_T_JSONB);
    gn_array_builder b;
    gn_code code = GN_OK;
    gn_array_begin(&b, gn_type_of((gn_type_id)call->result.id), call->eval->arena);
    for (gn_json_iter it = gn_json_open(json); !code && gn_json_next(&it);)
        code = add_part(call, &b, call->function->op == KEYS ? it.key : it.value);
    return code ? code : gn_array_end(&b, out, call->eval->err);
}

/* clang-format off */
#define SET(name, result, n, op, ...) {name, result, n, GN_IMMUTABLE, GN_F_SET, op, __VA_ARGS__}
#define JSON(prefix, type) \
    SET(prefix "_array_elements", GN_AR(type), 1, ELEMENTS, {GN_TY(type)}, .row = parts), \
    SET(prefix "_array_elements_text", GN_AR(TEXT), 1, ELEMENTS, {GN_TY(type)}, .row = parts), \
    SET(prefix "_object_keys", GN_AR(TEXT), 1, KEYS, {GN_TY(type)}, .row = parts), \
    SET(prefix "_each", GN_AR(type), 1, VALUES, {GN_TY(type)}, .row = parts), \
    SET(prefix "_each_text", GN_AR(TEXT), 1, VALUES, {GN_TY(type)}, .row = parts),

static const gn_function functions[] = {
    SET("unnest", GN_TY(ANYARRAY), 1, 0, {GN_TY(ANYARRAY)}, .row = unnest),
    SET("generate_subscripts", GN_AR(INT4), 2, 0, {GN_TY(ANYARRAY), GN_TY(INT4)}, .row = generate_subscripts),
    SET("generate_subscripts", GN_AR(INT4), 3, 0, {GN_TY(ANYARRAY), GN_TY(INT4), GN_TY(BOOL)}, .row = generate_subscripts),
    JSON("json", JSON) JSON("jsonb", JSONB)
};
/* clang-format on */

const gn_function_list gn_functions_set = {functions, sizeof functions / sizeof *functions};
