/* Questions about expression trees, and constant folding. */
#include "query/expr.h"

static bool is_volatile(const gn_expr *e)
{
    return e->function && gn_function_volatility(e->function) == GN_VOLATILE;
}

bool gn_expr_is_constant(const gn_expr *expr)
{
    if (expr->kind == GN_E_COLUMN || is_volatile(expr))
        return false;
    for (uint32_t i = 0; i < expr->n_args; i++)
        if (!gn_expr_is_constant(expr->args[i]))
            return false;
    return true;
}

/* Casts whose result depends on the session's time zone or on the time: they wait for the run. */
static bool cast_depends_on_session(gn_type from, gn_type to)
{
    bool zone_from = from.id == GN_T_TIMESTAMPTZ, zone_to = to.id == GN_T_TIMESTAMPTZ;
    bool text_from = from.id == GN_T_TEXT || from.id == GN_T_VARCHAR || from.id == GN_T_UNKNOWN;
    bool time_to = to.id == GN_T_DATE || to.id == GN_T_TIMESTAMP || to.id == GN_T_TIMESTAMPTZ;
    if (zone_from != zone_to || (text_from && time_to))
        return true;
    bool text_to = to.id == GN_T_TEXT || to.id == GN_T_VARCHAR;
    bool formatted = from.id == GN_T_FLOAT4 || from.id == GN_T_FLOAT8 || from.id == GN_T_BYTEA || zone_from;
    return text_to && formatted;
}

gn_volatility gn_expr_volatility(const gn_expr *e)
{
    gn_volatility most = e->function ? gn_function_volatility(e->function) : GN_IMMUTABLE;
    if (e->kind == GN_E_CAST && most < GN_STABLE && cast_depends_on_session(e->args[0]->type, e->type))
        most = GN_STABLE;
    for (uint32_t i = 0; i < e->n_args; i++) {
        gn_volatility one = gn_expr_volatility(e->args[i]);
        most = one > most ? one : most;
    }
    return most;
}

static bool foldable(const gn_expr *e)
{
    if (e->kind == GN_E_CONST || e->kind == GN_E_COLUMN || e->kind == GN_E_PARAM)
        return false;
    if (e->function && gn_function_volatility(e->function) != GN_IMMUTABLE)
        return false;
    if (e->kind == GN_E_CAST && cast_depends_on_session(e->args[0]->type, e->type))
        return false;
    for (uint32_t i = 0; i < e->n_args; i++)
        if (e->args[i]->kind != GN_E_CONST)
            return false;
    return true;
}

gn_expr *gn_expr_fold(gn_expr *expr, const gn_format *format, gn_arena *arena)
{
    for (uint32_t i = 0; i < expr->n_args; i++)
        expr->args[i] = gn_expr_fold(expr->args[i], format, arena);
    if (!foldable(expr))
        return expr;
    gn_error ignored = {.code = GN_OK};
    gn_eval eval = {.format = format, .arena = arena, .err = &ignored};
    gn_value value;
    if (gn_expr_eval_one(expr, &eval, &value))
        return expr; /* the error is raised at run time, if the row is ever asked for */
    gn_expr *constant = gn_arena_calloc(arena, 1, sizeof *constant);
    if (!constant)
        return expr;
    constant->kind = GN_E_CONST;
    constant->type = expr->type;
    constant->position = expr->position;
    constant->value = value;
    constant->value.type = expr->type;
    return constant;
}

static bool constants_equal(const gn_expr *a, const gn_expr *b)
{
    if (a->value.is_null || b->value.is_null)
        return a->value.is_null && b->value.is_null;
    switch (gn_type_physical(a->type)) {
    case GN_P_BYTES: /* numeric 1.0 and 1.00 print differently */
        return gn_bytes_eq(a->value.as.bytes, b->value.as.bytes);
    case GN_P_F32: /* 0 and -0 as well */
        return memcmp(&a->value.as.f32, &b->value.as.f32, sizeof a->value.as.f32) == 0;
    case GN_P_F64:
        return memcmp(&a->value.as.f64, &b->value.as.f64, sizeof a->value.as.f64) == 0;
    default:
        return gn_value_compare(&a->value, &b->value) == 0;
    }
}

bool gn_expr_equal(const gn_expr *a, const gn_expr *b)
{
    if (a->kind != b->kind || !gn_type_same(a->type, b->type) || a->type.typmod != b->type.typmod ||
        a->n_args != b->n_args || a->function != b->function)
        return false;
    if (a->kind == GN_E_CONST && !constants_equal(a, b))
        return false;
    if ((a->kind == GN_E_COLUMN || a->kind == GN_E_PARAM || a->kind == GN_E_SLICE) && a->column != b->column)
        return false;
    if (a->kind == GN_E_CAST && a->cast_context != b->cast_context)
        return false;
    for (uint32_t i = 0; i < a->n_args; i++)
        if (!gn_expr_equal(a->args[i], b->args[i]))
            return false;
    return true;
}
