/* Arithmetic and mathematical functions over numeric. */
#include "query/function_private.h"
#include "query/numeric.h"

typedef gn_code (*binary_fn)(gn_bytes, gn_bytes, gn_arena *, gn_bytes *, gn_error *);
typedef gn_code (*unary_fn)(gn_bytes, gn_arena *, gn_bytes *, gn_error *);

enum { ADD, SUB, MUL, DIV, DIV_TRUNC, MOD, POWER, LOG_BASE };

static gn_code binary(const gn_call *call, const gn_value *args, gn_value *out)
{
    static const binary_fn functions[] = {
        [ADD] = gn_numeric_add,
        [SUB] = gn_numeric_sub,
        [MUL] = gn_numeric_mul,
        [DIV] = gn_numeric_div,
        [DIV_TRUNC] = gn_numeric_div_trunc,
        [MOD] = gn_numeric_mod,
        [POWER] = gn_numeric_power,
        [LOG_BASE] = gn_numeric_log,
    };
    return functions[call->function->op](args[0].as.bytes, args[1].as.bytes, call->eval->arena, &out->as.bytes,
                                         call->eval->err);
}

enum { NEG, ABS, CEIL, FLOOR, SQRT, EXP, LN, TRIM_SCALE };

static gn_code unary(const gn_call *call, const gn_value *args, gn_value *out)
{
    static const unary_fn functions[] = {
        [NEG] = gn_numeric_neg,   [ABS] = gn_numeric_abs,
        [CEIL] = gn_numeric_ceil, [FLOOR] = gn_numeric_floor,
        [SQRT] = gn_numeric_sqrt, [EXP] = gn_numeric_exp,
        [LN] = gn_numeric_ln,     [TRIM_SCALE] = gn_numeric_trim_scale,
    };
    return functions[call->function->op](args[0].as.bytes, call->eval->arena, &out->as.bytes, call->eval->err);
}

static gn_code identity(const gn_call *call, gn_column *out)
{
    out->data = call->args[0].data;
    return GN_OK;
}

static gn_code log10_numeric(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_bytes ten;
    gn_code code = gn_numeric_from_i64(10, call->eval->arena, &ten, call->eval->err);
    return code ? code : gn_numeric_log(ten, args[0].as.bytes, call->eval->arena, &out->as.bytes, call->eval->err);
}

static gn_code round_numeric(const gn_call *call, const gn_value *args, gn_value *out)
{
    int32_t scale = call->n_args == 2 ? args[1].as.i32 : 0;
    return gn_numeric_round(args[0].as.bytes, scale, call->eval->arena, &out->as.bytes, call->eval->err);
}

static gn_code trunc_numeric(const gn_call *call, const gn_value *args, gn_value *out)
{
    int32_t scale = call->n_args == 2 ? args[1].as.i32 : 0;
    return gn_numeric_trunc(args[0].as.bytes, scale, call->eval->arena, &out->as.bytes, call->eval->err);
}

static gn_code sign_numeric(const gn_call *call, const gn_value *args, gn_value *out)
{
    if (gn_numeric_is_nan(args[0].as.bytes)) {
        out->as.bytes = args[0].as.bytes;
        return GN_OK;
    }
    return gn_numeric_from_i64(gn_numeric_sign(args[0].as.bytes), call->eval->arena, &out->as.bytes, call->eval->err);
}

static bool special(gn_bytes v)
{
    return gn_numeric_is_nan(v) || gn_numeric_is_infinite(v);
}

static gn_code scale_numeric(const gn_call *call, const gn_value *args, gn_value *out)
{
    (void)call;
    out->is_null = special(args[0].as.bytes);
    out->as.i32 = (int32_t)gn_numeric_scale(args[0].as.bytes);
    return GN_OK;
}

static gn_code min_scale_numeric(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_bytes trimmed;
    gn_code code = gn_numeric_trim_scale(args[0].as.bytes, call->eval->arena, &trimmed, call->eval->err);
    if (code)
        return code;
    out->is_null = special(trimmed);
    out->as.i32 = (int32_t)gn_numeric_scale(trimmed);
    return GN_OK;
}

/* clang-format off */
#define BINARY(name, op_) {name, GN_TY(NUMERIC), 2, GN_IMMUTABLE, 0, op_, {GN_TY(NUMERIC), GN_TY(NUMERIC)}, .row = binary},
#define UNARY(name, op_) {name, GN_TY(NUMERIC), 1, GN_IMMUTABLE, 0, op_, {GN_TY(NUMERIC)}, .row = unary},
#define ROUNDING(name, kernel) \
    {name, GN_TY(NUMERIC), 1, GN_IMMUTABLE, 0, 0, {GN_TY(NUMERIC)}, .row = kernel}, \
    {name, GN_TY(NUMERIC), 2, GN_IMMUTABLE, 0, 0, {GN_TY(NUMERIC), GN_TY(INT4)}, .row = kernel},

static const gn_function functions[] = {
    BINARY("+", ADD) BINARY("-", SUB) BINARY("*", MUL) BINARY("/", DIV) BINARY("%", MOD) BINARY("^", POWER)
    BINARY("mod", MOD) BINARY("div", DIV_TRUNC) BINARY("power", POWER) BINARY("pow", POWER) BINARY("log", LOG_BASE)
    UNARY("-", NEG) UNARY("abs", ABS) UNARY("@", ABS) UNARY("ceil", CEIL) UNARY("ceiling", CEIL)
    UNARY("floor", FLOOR) UNARY("sqrt", SQRT) UNARY("exp", EXP) UNARY("ln", LN) UNARY("trim_scale", TRIM_SCALE)
    ROUNDING("round", round_numeric) ROUNDING("trunc", trunc_numeric)
    {"+", GN_TY(NUMERIC), 1, GN_IMMUTABLE, 0, 0, {GN_TY(NUMERIC)}, .batch = identity},
    {"log", GN_TY(NUMERIC), 1, GN_IMMUTABLE, 0, 0, {GN_TY(NUMERIC)}, .row = log10_numeric},
    {"log10", GN_TY(NUMERIC), 1, GN_IMMUTABLE, 0, 0, {GN_TY(NUMERIC)}, .row = log10_numeric},
    {"sign", GN_TY(NUMERIC), 1, GN_IMMUTABLE, 0, 0, {GN_TY(NUMERIC)}, .row = sign_numeric},
    {"scale", GN_TY(INT4), 1, GN_IMMUTABLE, 0, 0, {GN_TY(NUMERIC)}, .row = scale_numeric},
    {"min_scale", GN_TY(INT4), 1, GN_IMMUTABLE, 0, 0, {GN_TY(NUMERIC)}, .row = min_scale_numeric},
};
/* clang-format on */

const gn_function_list gn_functions_numeric = {functions, sizeof functions / sizeof *functions};
