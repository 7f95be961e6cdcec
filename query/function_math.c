/* Arithmetic and mathematical functions over integers and floats. Integer arithmetic is checked: one flag is gathered
 * over the batch and looked at once, so that the loops stay free of branches. */
#include "query/function_private.h"

#include <math.h>

/* ---- integers ---- */

static gn_code out_of_range(const gn_call *call)
{
    char name[40];
    return gn_error_set(call->eval->err, GN_NUMERIC_RANGE, "%s out of range",
                        gn_type_format(call->result, name, sizeof name));
}

static gn_code division_by_zero(const gn_call *call)
{
    return gn_error_set(call->eval->err, GN_DIVISION_BY_ZERO, "division by zero");
}

#define INT_CHECKED(name, T, member, builtin)                         \
    static gn_code name(const gn_call *call, gn_column *out)          \
    {                                                                 \
        const T *a = call->args[0].member, *b = call->args[1].member; \
        T *o = out->member;                                           \
        bool bad = false;                                             \
        GN_EACH_ROW(call, i, bad |= builtin(a[i], b[i], &o[i]));      \
        return bad ? out_of_range(call) : GN_OK;                      \
    }

/* Division truncates; MIN / -1 overflows, MIN % -1 is 0. */
#define INT_DIVISION(name, T, member, MIN)                                                                        \
    static gn_code div_##name(const gn_call *call, gn_column *out)                                                \
    {                                                                                                             \
        const T *a = call->args[0].member, *b = call->args[1].member;                                             \
        bool zero = false, bad = false;                                                                           \
        GN_EACH_ROW(call, i, T d = b[i]; bool overflow = d == -1 && a[i] == MIN; zero |= d == 0; bad |= overflow; \
                    out->member[i] = (T)(d == 0 || overflow ? 0 : a[i] / d));                                     \
        return zero ? division_by_zero(call) : bad ? out_of_range(call) : GN_OK;                                  \
    }                                                                                                             \
    static gn_code mod_##name(const gn_call *call, gn_column *out)                                                \
    {                                                                                                             \
        const T *a = call->args[0].member, *b = call->args[1].member;                                             \
        bool zero = false;                                                                                        \
        GN_EACH_ROW(call, i, T d = b[i]; zero |= d == 0; out->member[i] = (T)(d == 0 || d == -1 ? 0 : a[i] % d)); \
        return zero ? division_by_zero(call) : GN_OK;                                                             \
    }

/* The shift count is taken modulo the width, as the machine and PostgreSQL do. */
#define INT_BITS(name, T, U, member, MASK)                                    \
    static gn_code and_##name(const gn_call *call, gn_column *out)            \
    {                                                                         \
        const T *a = call->args[0].member, *b = call->args[1].member;         \
        GN_EACH_ROW(call, i, out->member[i] = a[i] & b[i]);                   \
        return GN_OK;                                                         \
    }                                                                         \
    static gn_code or_##name(const gn_call *call, gn_column *out)             \
    {                                                                         \
        const T *a = call->args[0].member, *b = call->args[1].member;         \
        GN_EACH_ROW(call, i, out->member[i] = a[i] | b[i]);                   \
        return GN_OK;                                                         \
    }                                                                         \
    static gn_code xor_##name(const gn_call *call, gn_column *out)            \
    {                                                                         \
        const T *a = call->args[0].member, *b = call->args[1].member;         \
        GN_EACH_ROW(call, i, out->member[i] = a[i] ^ b[i]);                   \
        return GN_OK;                                                         \
    }                                                                         \
    static gn_code not_##name(const gn_call *call, gn_column *out)            \
    {                                                                         \
        const T *a = call->args[0].member;                                    \
        GN_EACH_ROW(call, i, out->member[i] = (T)~a[i]);                      \
        return GN_OK;                                                         \
    }                                                                         \
    static gn_code shl_##name(const gn_call *call, gn_column *out)            \
    {                                                                         \
        const T *a = call->args[0].member;                                    \
        const int32_t *b = call->args[1].i32;                                 \
        GN_EACH_ROW(call, i, out->member[i] = (T)((U)a[i] << (b[i] & MASK))); \
        return GN_OK;                                                         \
    }                                                                         \
    static gn_code shr_##name(const gn_call *call, gn_column *out)            \
    {                                                                         \
        const T *a = call->args[0].member;                                    \
        const int32_t *b = call->args[1].i32;                                 \
        GN_EACH_ROW(call, i, out->member[i] = (T)(a[i] >> (b[i] & MASK)));    \
        return GN_OK;                                                         \
    }

#define INT_UNARY(name, T, member, MIN)                                                                            \
    static gn_code neg_##name(const gn_call *call, gn_column *out)                                                 \
    {                                                                                                              \
        const T *a = call->args[0].member;                                                                         \
        bool bad = false;                                                                                          \
        GN_EACH_ROW(call, i, bad |= a[i] == MIN; out->member[i] = (T)(a[i] == MIN ? 0 : -a[i]));                   \
        return bad ? out_of_range(call) : GN_OK;                                                                   \
    }                                                                                                              \
    static gn_code abs_##name(const gn_call *call, gn_column *out)                                                 \
    {                                                                                                              \
        const T *a = call->args[0].member;                                                                         \
        bool bad = false;                                                                                          \
        GN_EACH_ROW(call, i, bad |= a[i] == MIN; out->member[i] = (T)(a[i] == MIN ? 0 : a[i] < 0 ? -a[i] : a[i])); \
        return bad ? out_of_range(call) : GN_OK;                                                                   \
    }

#define INT_ALL(name, T, U, member, MIN, MASK)                 \
    INT_CHECKED(add_##name, T, member, __builtin_add_overflow) \
    INT_CHECKED(sub_##name, T, member, __builtin_sub_overflow) \
    INT_CHECKED(mul_##name, T, member, __builtin_mul_overflow) \
    INT_DIVISION(name, T, member, MIN)                         \
    INT_BITS(name, T, U, member, MASK)                         \
    INT_UNARY(name, T, member, MIN)

INT_ALL(i16, int16_t, uint32_t, i16, INT16_MIN, 31)
INT_ALL(i32, int32_t, uint32_t, i32, INT32_MIN, 31)
INT_ALL(i64, int64_t, uint64_t, i64, INT64_MIN, 63)

static int64_t gcd_magnitude(int64_t a, int64_t b, bool *overflow)
{
    uint64_t x = a < 0 ? 0 - (uint64_t)a : (uint64_t)a, y = b < 0 ? 0 - (uint64_t)b : (uint64_t)b;
    while (y) {
        uint64_t r = x % y;
        x = y;
        y = r;
    }
    *overflow = x > INT64_MAX;
    return *overflow ? 0 : (int64_t)x;
}

static gn_code gcd_int(const gn_call *call, const gn_value *args, gn_value *out)
{
    bool wide = call->result.id == GN_T_INT8, overflow;
    int64_t a = wide ? args[0].as.i64 : args[0].as.i32, b = wide ? args[1].as.i64 : args[1].as.i32;
    int64_t g = gcd_magnitude(a, b, &overflow);
    if (call->function->op && g) { /* lcm */
        overflow |= __builtin_mul_overflow(a / g, b, &g) || g == INT64_MIN;
        g = g < 0 && !overflow ? -g : g;
    }
    if (overflow || (!wide && g > INT32_MAX))
        return out_of_range(call);
    if (wide)
        out->as.i64 = g;
    else
        out->as.i32 = (int32_t)g;
    return GN_OK;
}

/* ---- floats ---- */

static gn_code float_overflow(const gn_call *call)
{
    return gn_error_set(call->eval->err, GN_NUMERIC_RANGE, "value out of range: overflow");
}

static gn_code float_underflow(const gn_call *call)
{
    return gn_error_set(call->eval->err, GN_NUMERIC_RANGE, "value out of range: underflow");
}

/* As PostgreSQL: a finite calculation that gives infinity, or zero where it should not, is an error. */
#define FLOAT_BINARY(name, A, a_member, B, b_member, T, member)                                                     \
    static gn_code add_##name(const gn_call *call, gn_column *out)                                                  \
    {                                                                                                               \
        const A *a = call->args[0].a_member;                                                                        \
        const B *b = call->args[1].b_member;                                                                        \
        bool over = false;                                                                                          \
        GN_EACH_ROW(call, i, T r = (T)(a[i] + b[i]); over |= isinf(r) && !isinf(a[i]) && !isinf(b[i]);              \
                    out->member[i] = r);                                                                            \
        return over ? float_overflow(call) : GN_OK;                                                                 \
    }                                                                                                               \
    static gn_code sub_##name(const gn_call *call, gn_column *out)                                                  \
    {                                                                                                               \
        const A *a = call->args[0].a_member;                                                                        \
        const B *b = call->args[1].b_member;                                                                        \
        bool over = false;                                                                                          \
        GN_EACH_ROW(call, i, T r = (T)(a[i] - b[i]); over |= isinf(r) && !isinf(a[i]) && !isinf(b[i]);              \
                    out->member[i] = r);                                                                            \
        return over ? float_overflow(call) : GN_OK;                                                                 \
    }                                                                                                               \
    static gn_code mul_##name(const gn_call *call, gn_column *out)                                                  \
    {                                                                                                               \
        const A *a = call->args[0].a_member;                                                                        \
        const B *b = call->args[1].b_member;                                                                        \
        bool over = false, under = false;                                                                           \
        GN_EACH_ROW(call, i, T r = (T)(a[i] * b[i]); over |= isinf(r) && !isinf(a[i]) && !isinf(b[i]);              \
                    under |= r == 0 && a[i] != 0 && b[i] != 0; out->member[i] = r);                                 \
        return over ? float_overflow(call) : under ? float_underflow(call) : GN_OK;                                 \
    }                                                                                                               \
    static gn_code div_##name(const gn_call *call, gn_column *out)                                                  \
    {                                                                                                               \
        const A *a = call->args[0].a_member;                                                                        \
        const B *b = call->args[1].b_member;                                                                        \
        bool zero = false, over = false, under = false;                                                             \
        GN_EACH_ROW(call, i, bool by_zero = b[i] == 0 && !isnan(a[i]); T r = by_zero ? 0 : (T)(a[i] / b[i]);        \
                    zero |= by_zero; over |= isinf(r) && !isinf(a[i]);                                              \
                    under |= r == 0 && a[i] != 0 && !isinf(b[i]) && !by_zero; out->member[i] = r);                  \
        return zero ? division_by_zero(call) : over ? float_overflow(call) : under ? float_underflow(call) : GN_OK; \
    }

FLOAT_BINARY(f32, float, f32, float, f32, float, f32)
FLOAT_BINARY(f64, double, f64, double, f64, double, f64)
FLOAT_BINARY(f32_f64, float, f32, double, f64, double, f64)
FLOAT_BINARY(f64_f32, double, f64, float, f32, double, f64)

#define FLOAT_UNARY(name, T, member, expression)                          \
    static gn_code name(const gn_call *call, gn_column *out)              \
    {                                                                     \
        const T *in = call->args[0].member;                               \
        GN_EACH_ROW(call, i, T x = in[i]; out->member[i] = (expression)); \
        return GN_OK;                                                     \
    }

FLOAT_UNARY(neg_f32, float, f32, -x)
FLOAT_UNARY(neg_f64, double, f64, -x)
FLOAT_UNARY(abs_f32, float, f32, fabsf(x))
FLOAT_UNARY(abs_f64, double, f64, fabs(x))
FLOAT_UNARY(ceil_f64, double, f64, ceil(x))
FLOAT_UNARY(floor_f64, double, f64, floor(x))
FLOAT_UNARY(round_f64, double, f64, rint(x)) /* half to even, as PostgreSQL rounds floats */
FLOAT_UNARY(trunc_f64, double, f64, trunc(x))
FLOAT_UNARY(sign_f64, double, f64, x > 0 ? 1.0 : x < 0 ? -1.0 : x == 0 ? 0.0 : x)
FLOAT_UNARY(degrees_f64, double, f64, x *(180.0 / M_PI))
FLOAT_UNARY(radians_f64, double, f64, x *(M_PI / 180.0))

static gn_code identity(const gn_call *call, gn_column *out)
{
    out->data = call->args[0].data;
    return GN_OK;
}

/* Functions of one double with a domain. */
enum { SQRT, CBRT, EXP, LN, LOG10, SIN, COS, TAN, COT, ASIN, ACOS, ATAN, SINH, COSH, TANH };

static gn_code input_out_of_range(const gn_call *call)
{
    return gn_error_set(call->eval->err, GN_NUMERIC_RANGE, "input is out of range");
}

static gn_code log_domain(const gn_call *call, double x)
{
    if (x == 0)
        return gn_error_set(call->eval->err, GN_INVALID_ARGUMENT_LOG, "cannot take logarithm of zero");
    return x < 0 ? gn_error_set(call->eval->err, GN_INVALID_ARGUMENT_LOG, "cannot take logarithm of a negative number")
                 : GN_OK;
}

static gn_code domain_f64(const gn_call *call, double x)
{
    switch (call->function->op) {
    case SQRT:
        return x < 0 ? gn_error_set(call->eval->err, GN_INVALID_ARGUMENT_POWER,
                                    "cannot take square root of a negative number")
                     : GN_OK;
    case LN:
    case LOG10:
        return log_domain(call, x);
    case ASIN:
    case ACOS:
        return x < -1 || x > 1 ? input_out_of_range(call) : GN_OK;
    case SIN:
    case COS:
    case TAN:
    case COT:
        return isinf(x) ? input_out_of_range(call) : GN_OK;
    default:
        return GN_OK;
    }
}

static double apply_f64(uint8_t op, double x)
{
    switch (op) {
    case SQRT:
        return sqrt(x);
    case CBRT:
        return cbrt(x);
    case EXP:
        return exp(x);
    case LN:
        return log(x);
    case LOG10:
        return log10(x);
    case SIN:
        return sin(x);
    case COS:
        return cos(x);
    case TAN:
        return tan(x);
    case COT:
        return 1.0 / tan(x);
    case ASIN:
        return asin(x);
    case ACOS:
        return acos(x);
    case ATAN:
        return atan(x);
    case SINH:
        return sinh(x);
    case COSH:
        return cosh(x);
    default:
        return tanh(x);
    }
}

static gn_code unary_f64(const gn_call *call, const gn_value *args, gn_value *out)
{
    double x = args[0].as.f64;
    gn_code code = domain_f64(call, x);
    if (code)
        return code;
    double r = apply_f64(call->function->op, x);
    if (isinf(r) && !isinf(x) && call->function->op != COT)
        return float_overflow(call);
    if (r == 0 && call->function->op == EXP && !isinf(x))
        return float_underflow(call);
    out->as.f64 = r;
    return GN_OK;
}

static gn_code atan2_f64(const gn_call *call, const gn_value *args, gn_value *out)
{
    (void)call;
    out->as.f64 = atan2(args[0].as.f64, args[1].as.f64);
    return GN_OK;
}

static gn_code power_f64(const gn_call *call, const gn_value *args, gn_value *out)
{
    double x = args[0].as.f64, y = args[1].as.f64;
    if (x == 0 && y < 0)
        return gn_error_set(call->eval->err, GN_INVALID_ARGUMENT_POWER, "zero raised to a negative power is undefined");
    if (x < 0 && !isinf(x) && !isinf(y) && !isnan(y) && floor(y) != y)
        return gn_error_set(call->eval->err, GN_INVALID_ARGUMENT_POWER,
                            "a negative number raised to a non-integer power yields a complex result");
    double r = pow(x, y);
    if (isinf(r) && !isinf(x) && !isinf(y))
        return float_overflow(call);
    if (r == 0 && x != 0 && !isinf(x) && !isinf(y))
        return float_underflow(call);
    out->as.f64 = r;
    return GN_OK;
}

static gn_code pi_f64(const gn_call *call, const gn_value *args, gn_value *out)
{
    (void)call;
    (void)args;
    out->as.f64 = M_PI;
    return GN_OK;
}

/* clang-format off */
#define BINARY(symbol, type, kernel) {symbol, GN_TY(type), 2, GN_IMMUTABLE, 0, 0, {GN_TY(type), GN_TY(type)}, .batch = kernel},
#define UNARY(name, type, kernel) {name, GN_TY(type), 1, GN_IMMUTABLE, 0, 0, {GN_TY(type)}, .batch = kernel},
#define SHIFT(symbol, type, kernel) {symbol, GN_TY(type), 2, GN_IMMUTABLE, 0, 0, {GN_TY(type), GN_TY(INT4)}, .batch = kernel},
#define ARITHMETIC(type, s) BINARY("+", type, add_##s) BINARY("-", type, sub_##s) BINARY("*", type, mul_##s) BINARY("/", type, div_##s)
#define MIXED(symbol, a, b, kernel) {symbol, GN_TY(FLOAT8), 2, GN_IMMUTABLE, 0, 0, {GN_TY(a), GN_TY(b)}, .batch = kernel},
#define INTEGER(type, s) \
    ARITHMETIC(type, s) BINARY("%", type, mod_##s) BINARY("mod", type, mod_##s) \
    BINARY("&", type, and_##s) BINARY("|", type, or_##s) BINARY("#", type, xor_##s) UNARY("~", type, not_##s) \
    SHIFT("<<", type, shl_##s) SHIFT(">>", type, shr_##s) \
    UNARY("-", type, neg_##s) UNARY("+", type, identity) UNARY("abs", type, abs_##s) UNARY("@", type, abs_##s)
#define FLOAT1(name, op_) {name, GN_TY(FLOAT8), 1, GN_IMMUTABLE, 0, op_, {GN_TY(FLOAT8)}, .row = unary_f64},

static const gn_function functions[] = {
    INTEGER(INT2, i16)
    INTEGER(INT4, i32)
    INTEGER(INT8, i64)
    {"gcd", GN_TY(INT4), 2, GN_IMMUTABLE, 0, 0, {GN_TY(INT4), GN_TY(INT4)}, .row = gcd_int},
    {"gcd", GN_TY(INT8), 2, GN_IMMUTABLE, 0, 0, {GN_TY(INT8), GN_TY(INT8)}, .row = gcd_int},
    {"lcm", GN_TY(INT4), 2, GN_IMMUTABLE, 0, 1, {GN_TY(INT4), GN_TY(INT4)}, .row = gcd_int},
    {"lcm", GN_TY(INT8), 2, GN_IMMUTABLE, 0, 1, {GN_TY(INT8), GN_TY(INT8)}, .row = gcd_int},
    ARITHMETIC(FLOAT4, f32)
    ARITHMETIC(FLOAT8, f64)
    MIXED("+", FLOAT4, FLOAT8, add_f32_f64) MIXED("+", FLOAT8, FLOAT4, add_f64_f32)
    MIXED("-", FLOAT4, FLOAT8, sub_f32_f64) MIXED("-", FLOAT8, FLOAT4, sub_f64_f32)
    MIXED("*", FLOAT4, FLOAT8, mul_f32_f64) MIXED("*", FLOAT8, FLOAT4, mul_f64_f32)
    MIXED("/", FLOAT4, FLOAT8, div_f32_f64) MIXED("/", FLOAT8, FLOAT4, div_f64_f32)
    UNARY("-", FLOAT4, neg_f32) UNARY("-", FLOAT8, neg_f64)
    UNARY("+", FLOAT4, identity) UNARY("+", FLOAT8, identity)
    UNARY("abs", FLOAT4, abs_f32) UNARY("abs", FLOAT8, abs_f64)
    UNARY("@", FLOAT4, abs_f32) UNARY("@", FLOAT8, abs_f64)
    UNARY("ceil", FLOAT8, ceil_f64) UNARY("ceiling", FLOAT8, ceil_f64)
    UNARY("floor", FLOAT8, floor_f64) UNARY("round", FLOAT8, round_f64) UNARY("trunc", FLOAT8, trunc_f64)
    UNARY("sign", FLOAT8, sign_f64)
    UNARY("degrees", FLOAT8, degrees_f64) UNARY("radians", FLOAT8, radians_f64)
    FLOAT1("sqrt", SQRT) FLOAT1("cbrt", CBRT) FLOAT1("|/", SQRT) FLOAT1("||/", CBRT)
    FLOAT1("exp", EXP) FLOAT1("ln", LN) FLOAT1("log", LOG10) FLOAT1("log10", LOG10)
    FLOAT1("sin", SIN) FLOAT1("cos", COS) FLOAT1("tan", TAN) FLOAT1("cot", COT)
    FLOAT1("asin", ASIN) FLOAT1("acos", ACOS) FLOAT1("atan", ATAN)
    FLOAT1("sinh", SINH) FLOAT1("cosh", COSH) FLOAT1("tanh", TANH)
    {"atan2", GN_TY(FLOAT8), 2, GN_IMMUTABLE, 0, 0, {GN_TY(FLOAT8), GN_TY(FLOAT8)}, .row = atan2_f64},
    {"power", GN_TY(FLOAT8), 2, GN_IMMUTABLE, 0, 0, {GN_TY(FLOAT8), GN_TY(FLOAT8)}, .row = power_f64},
    {"pow", GN_TY(FLOAT8), 2, GN_IMMUTABLE, 0, 0, {GN_TY(FLOAT8), GN_TY(FLOAT8)}, .row = power_f64},
    {"^", GN_TY(FLOAT8), 2, GN_IMMUTABLE, 0, 0, {GN_TY(FLOAT8), GN_TY(FLOAT8)}, .row = power_f64},
    {"pi", GN_TY(FLOAT8), 0, GN_IMMUTABLE, 0, 0, {}, .row = pi_f64},
};
/* clang-format on */

const gn_function_list gn_functions_math = {functions, sizeof functions / sizeof *functions};
