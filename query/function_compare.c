/* = <> < <= > >= for every ordered type. Fixed-width types have typed loops; the others go through gn_value_compare,
 * text and bytea by their bytes. */
#include "query/function_private.h"

#include <math.h>

enum { EQ, NE, LT, LE, GT, GE };

static inline int order_f64(double a, double b) /* NaN is the greatest and equals itself */
{
    if (isnan(a) || isnan(b))
        return (isnan(a) != 0) - (isnan(b) != 0);
    return (a > b) - (a < b);
}

#define COMPARE_ORDERED(name, A, B, a_member, b_member, order)   \
    static gn_code name(const gn_call *call, gn_column *out)     \
    {                                                            \
        const A *a = call->args[0].a_member;                     \
        const B *b = call->args[1].b_member;                     \
        uint8_t *o = out->boolean;                               \
        switch (call->function->op) {                            \
        case EQ:                                                 \
            GN_EACH_ROW(call, i, o[i] = order(a[i], b[i]) == 0); \
            break;                                               \
        case NE:                                                 \
            GN_EACH_ROW(call, i, o[i] = order(a[i], b[i]) != 0); \
            break;                                               \
        case LT:                                                 \
            GN_EACH_ROW(call, i, o[i] = order(a[i], b[i]) < 0);  \
            break;                                               \
        case LE:                                                 \
            GN_EACH_ROW(call, i, o[i] = order(a[i], b[i]) <= 0); \
            break;                                               \
        case GT:                                                 \
            GN_EACH_ROW(call, i, o[i] = order(a[i], b[i]) > 0);  \
            break;                                               \
        default:                                                 \
            GN_EACH_ROW(call, i, o[i] = order(a[i], b[i]) >= 0); \
        }                                                        \
        return GN_OK;                                            \
    }

#define ORDER_PLAIN(a, b) (((a) > (b)) - ((a) < (b)))

COMPARE_ORDERED(compare_bool, uint8_t, uint8_t, boolean, boolean, ORDER_PLAIN)
COMPARE_ORDERED(compare_i16, int16_t, int16_t, i16, i16, ORDER_PLAIN)
COMPARE_ORDERED(compare_i32, int32_t, int32_t, i32, i32, ORDER_PLAIN)
COMPARE_ORDERED(compare_i64, int64_t, int64_t, i64, i64, ORDER_PLAIN)
COMPARE_ORDERED(compare_f32, float, float, f32, f32, order_f64)
COMPARE_ORDERED(compare_f64, double, double, f64, f64, order_f64)
COMPARE_ORDERED(compare_f32_f64, float, double, f32, f64, order_f64)
COMPARE_ORDERED(compare_f64_f32, double, float, f64, f32, order_f64)

static bool holds(uint8_t op, int order)
{
    switch (op) {
    case EQ:
        return order == 0;
    case NE:
        return order != 0;
    case LT:
        return order < 0;
    case LE:
        return order <= 0;
    case GT:
        return order > 0;
    default:
        return order >= 0;
    }
}

static gn_code compare_bytes(const gn_call *call, gn_column *out)
{
    const gn_bytes *a = call->args[0].bytes, *b = call->args[1].bytes;
    uint8_t op = call->function->op;
    if (op == EQ || op == NE)
        GN_EACH_ROW(call, i, out->boolean[i] = gn_bytes_eq(a[i], b[i]) == (op == EQ));
    else
        GN_EACH_ROW(call, i, out->boolean[i] = holds(op, gn_bytes_cmp(a[i], b[i])));
    return GN_OK;
}

gn_code gn_check_comparable(const gn_eval *eval, gn_type array, bool equality)
{
    if (array.id != GN_T_JSON)
        return GN_OK;
    return gn_error_set(eval->err, GN_NO_FUNCTION, "could not identify %s for type json",
                        equality ? "an equality operator" : "a comparison function");
}

static gn_code compare_values(const gn_call *call, gn_column *out)
{
    gn_code code = gn_check_comparable(call->eval, call->args[0].type, call->function->op <= NE);
    if (code)
        return code;
    for (uint32_t k = 0; k < call->n; k++) {
        uint32_t i = call->rows ? call->rows[k] : k;
        gn_value a = gn_column_get(&call->args[0], i), b = gn_column_get(&call->args[1], i);
        out->boolean[i] = holds(call->function->op, gn_value_compare(&a, &b));
    }
    return GN_OK;
}

#define COMPARE(symbol, code, a, b, kernel) \
    {symbol, GN_TY(BOOL), 2, GN_IMMUTABLE, 0, code, {GN_TY(a), GN_TY(b)}, .batch = kernel},
#define COMPARE_ALL(a, b, kernel)   \
    COMPARE("=", EQ, a, b, kernel)  \
    COMPARE("<>", NE, a, b, kernel) \
    COMPARE("<", LT, a, b, kernel)  \
    COMPARE("<=", LE, a, b, kernel) \
    COMPARE(">", GT, a, b, kernel) COMPARE(">=", GE, a, b, kernel)
#define COMPARE_TYPE(type, kernel) COMPARE_ALL(type, type, kernel)

/* Integers of two widths need no rows of their own: the narrower is cast. real and double precision do, for an integer
 * beside a real shall become double precision. */
/* clang-format off */
static const gn_function functions[] = {
    COMPARE_TYPE(BOOL, compare_bool)
    COMPARE_TYPE(INT2, compare_i16)
    COMPARE_TYPE(INT4, compare_i32)
    COMPARE_TYPE(INT8, compare_i64)
    COMPARE_TYPE(FLOAT4, compare_f32)
    COMPARE_TYPE(FLOAT8, compare_f64)
    COMPARE_ALL(FLOAT4, FLOAT8, compare_f32_f64)
    COMPARE_ALL(FLOAT8, FLOAT4, compare_f64_f32)
    COMPARE_TYPE(NUMERIC, compare_values)
    COMPARE_TYPE(TEXT, compare_bytes)
    COMPARE_TYPE(BYTEA, compare_bytes)
    COMPARE_TYPE(UUID, compare_bytes)
    COMPARE_TYPE(DATE, compare_i32)
    COMPARE_TYPE(TIMESTAMP, compare_i64)
    COMPARE_TYPE(TIMESTAMPTZ, compare_i64)
    COMPARE_TYPE(INTERVAL, compare_values)
    COMPARE_TYPE(JSONB, compare_values)
    COMPARE_TYPE(VECTOR, compare_values)
    COMPARE_TYPE(HALFVEC, compare_values)
    COMPARE_TYPE(SPARSEVEC, compare_values)
    COMPARE_TYPE(BIT, compare_values)
    COMPARE_TYPE(VARBIT, compare_values)
    COMPARE_TYPE(ANYARRAY, compare_values)
};
/* clang-format on */

const gn_function_list gn_functions_compare = {functions, sizeof functions / sizeof *functions};
