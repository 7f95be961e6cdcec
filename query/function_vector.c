/* vector and halfvec: pgvector's functions and operators, with its names, messages and results. Distances run on the
 * kernels of index/distance.h, so that SQL and the vector index compute the same numbers; halves are widened first. */
#include "base/limits.h"
#include "index/distance.h"
#include "query/function_private.h"
#include "query/vector.h"

#include <math.h>

/* Vectors lie at any address (rows are packed), so that elements are read through memcpy where a kernel does not. */
static float element(gn_bytes v, size_t i)
{
    return gn_vector_get(v, (uint32_t)i);
}

static gn_type_id type_of(const gn_call *call)
{
    return (gn_type_id)call->args[0].type.id;
}

static gn_code different_dimensions(const gn_call *call, size_t a, size_t b)
{
    return gn_error_set(call->eval->err, GN_BAD_VECTOR, "different %s dimensions %zu and %zu",
                        type_of(call) == GN_T_HALFVEC ? "halfvec" : "vector", a, b);
}

/* ---- distances ---- */

enum { L2, L2_SQUARED, INNER_PRODUCT, NEGATIVE_INNER_PRODUCT, COSINE, L1 };

/* One of the two operands. What is computed of it is remembered while it stays the same: a constant operand is widened
 * and measured once a batch. */
typedef struct operand {
    const uint8_t *of, *norm_of;
    float *wide; /* of halves */
    size_t room;
    double norm2;
} operand;

static const float *floats_of(const gn_call *call, operand *o, gn_bytes v)
{
    if (type_of(call) == GN_T_VECTOR)
        return (const float *)(const void *)v.data;
    size_t n = v.len / sizeof(uint16_t);
    if (o->of == v.data)
        return o->wide;
    if (n > o->room) {
        o->wide = gn_eval_alloc(call->eval, n * sizeof *o->wide);
        o->room = n;
    }
    if (o->wide)
        gn_dense_floats(GN_T_HALFVEC, v, o->wide);
    o->of = v.data;
    return o->wide;
}

static double norm2(const gn_kernels *kernels, operand *o, gn_bytes v, const float *floats, size_t n)
{
    if (o->norm_of != v.data) {
        o->norm_of = v.data;
        o->norm2 = kernels->norm2(floats, NULL, n);
    }
    return o->norm2;
}

static double cosine(double dot, double norms)
{
    double similarity = dot / sqrt(norms);
    if (similarity > 1)
        similarity = 1;
    else if (similarity < -1)
        similarity = -1;
    return 1 - similarity; /* NaN where a vector is zero, as pgvector's */
}

static gn_code distance(const gn_call *call, gn_column *out)
{
    const gn_kernels *kernels = gn_kernels_best();
    const gn_distance_fn l1 = gn_distance_rare(GN_METRIC_L1);
    const gn_bytes *a = call->args[0].bytes, *b = call->args[1].bytes;
    operand left = {0}, right = {0};
    for (uint32_t k = 0; k < call->n; k++) {
        uint32_t i = call->rows ? call->rows[k] : k;
        size_t n = gn_dense_dimensions(type_of(call), a[i]);
        if (a[i].len != b[i].len)
            return different_dimensions(call, n, gn_dense_dimensions(type_of(call), b[i]));
        const float *x = floats_of(call, &left, a[i]), *y = floats_of(call, &right, b[i]);
        if (!x || !y)
            return GN_OUT_OF_MEMORY;
        switch (call->function->op) {
        case L2:
            out->f64[i] = sqrt((double)kernels->l2sq(x, y, n));
            break;
        case L2_SQUARED:
            out->f64[i] = kernels->l2sq(x, y, n);
            break;
        case INNER_PRODUCT:
            out->f64[i] = kernels->dot(x, y, n);
            break;
        case NEGATIVE_INNER_PRODUCT:
            out->f64[i] = -(double)kernels->dot(x, y, n);
            break;
        case COSINE:
            out->f64[i] =
                cosine(kernels->dot(x, y, n), norm2(kernels, &left, a[i], x, n) * norm2(kernels, &right, b[i], y, n));
            break;
        default:
            out->f64[i] = l1(x, y, n);
        }
    }
    return GN_OK;
}

/* ---- functions of one row ---- */

static gn_code vector_dims(const gn_call *call, const gn_value *args, gn_value *out)
{
    out->as.i32 = (int32_t)gn_dense_dimensions(type_of(call), args[0].as.bytes);
    return GN_OK;
}

/* The operand's numbers, in a run of their own where they are halves. */
static gn_code widen(const gn_call *call, gn_bytes v, gn_bytes *out)
{
    size_t n = gn_dense_dimensions(type_of(call), v);
    *out = v;
    if (type_of(call) == GN_T_VECTOR)
        return GN_OK;
    float *wide = gn_eval_alloc(call->eval, n * sizeof *wide);
    if (!wide)
        return GN_OUT_OF_MEMORY;
    gn_dense_floats(GN_T_HALFVEC, v, wide);
    *out = gn_bytes_of(wide, n * sizeof *wide);
    return GN_OK;
}

/* The i-th element of a result; false: it overflows. */
static bool put(const gn_call *call, uint8_t *to, size_t i, float f)
{
    size_t bad;
    return !isinf(f) && gn_dense_put(type_of(call), &f, 1, to + i * gn_dense_size(type_of(call)), &bad);
}

static double norm(gn_bytes v)
{
    double sum = 0;
    for (uint32_t i = 0; i < gn_vector_dimensions(v); i++)
        sum += (double)element(v, i) * (double)element(v, i);
    return sqrt(sum);
}

static gn_code vector_norm(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_bytes v;
    gn_code code = widen(call, args[0].as.bytes, &v);
    if (!code)
        out->as.f64 = norm(v);
    return code;
}

static gn_code vector_overflow(const gn_call *call)
{
    return gn_error_set(call->eval->err, GN_NUMERIC_RANGE, "value out of range: overflow");
}

static gn_code l2_normalize(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_bytes v;
    uint8_t *to;
    gn_code code = widen(call, args[0].as.bytes, &v);
    if (!code)
        code = gn_eval_bytes(call->eval, args[0].as.bytes.len, &to);
    if (code)
        return code;
    double length = norm(v);
    for (uint32_t i = 0; i < gn_vector_dimensions(v); i++) /* a zero vector stays one */
        if (!put(call, to, i, length > 0 ? (float)((double)element(v, i) / length) : 0))
            return vector_overflow(call);
    out->as.bytes = gn_bytes_of(to, args[0].as.bytes.len);
    return GN_OK;
}

static gn_code elementwise(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_bytes a, b;
    size_t len = args[0].as.bytes.len;
    uint8_t *to;
    if (len != args[1].as.bytes.len)
        return different_dimensions(call, gn_dense_dimensions(type_of(call), args[0].as.bytes),
                                    gn_dense_dimensions(type_of(call), args[1].as.bytes));
    gn_code code = widen(call, args[0].as.bytes, &a);
    if (!code)
        code = widen(call, args[1].as.bytes, &b);
    if (!code)
        code = gn_eval_bytes(call->eval, len, &to);
    if (code)
        return code;
    for (uint32_t i = 0; i < gn_vector_dimensions(a); i++) {
        float x = element(a, i), y = element(b, i);
        float f = call->function->op == '+' ? x + y : call->function->op == '-' ? x - y : x * y;
        if (!put(call, to, i, f))
            return vector_overflow(call);
        bool vanished = type_of(call) == GN_T_HALFVEC ? gn_f16_of_float(fabsf(f)) == 0 : f == 0;
        if (call->function->op == '*' && vanished && x != 0 && y != 0)
            return gn_error_set(call->eval->err, GN_NUMERIC_RANGE, "value out of range: underflow");
    }
    out->as.bytes = gn_bytes_of(to, len);
    return GN_OK;
}

static gn_code vector_concat(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_bytes a = args[0].as.bytes, b = args[1].as.bytes;
    size_t n = (a.len + b.len) / gn_dense_size(type_of(call));
    uint8_t *to;
    gn_code code = gn_vector_check_dimensions(n, gn_type_of(type_of(call)), call->eval->err);
    if (!code)
        code = gn_eval_bytes(call->eval, a.len + b.len, &to);
    if (code)
        return code;
    memcpy(to, a.data, a.len);
    memcpy(to + a.len, b.data, b.len);
    out->as.bytes = gn_bytes_of(to, a.len + b.len);
    return GN_OK;
}

/* Elements start .. start + count - 1, 1-based, as far as they exist. */
static gn_code subvector(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_bytes v = args[0].as.bytes;
    size_t size = gn_dense_size(type_of(call));
    int64_t from = args[1].as.i32, to = from + (int64_t)args[2].as.i32 - 1, n = (int64_t)(v.len / size);
    from = from < 1 ? 1 : from;
    to = to > n ? n : to;
    if (from > to)
        return gn_vector_check_dimensions(0, gn_type_of(type_of(call)), call->eval->err);
    out->as.bytes = gn_bytes_of(v.data + (size_t)(from - 1) * size, (size_t)(to - from + 1) * size);
    return GN_OK;
}

/* A bit for each element: whether it is above 0. */
static gn_code binary_quantize(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_bytes v;
    gn_code code = widen(call, args[0].as.bytes, &v);
    if (code)
        return code;
    uint8_t *bits = gn_bits_create(call->eval->arena, gn_vector_dimensions(v), &out->as.bytes);
    if (!bits)
        return gn_eval_oom(call->eval);
    for (uint32_t i = 0; i < gn_vector_dimensions(v); i++)
        bits[i / 8] |= (uint8_t)((element(v, i) > 0) << (7 - i % 8));
    return GN_OK;
}

/* clang-format off */
#define DISTANCE(name, type, op_) {name, GN_TY(FLOAT8), 2, GN_IMMUTABLE, 0, op_, {GN_TY(type), GN_TY(type)}, .batch = distance},
#define ELEMENTWISE(symbol, type, op_) {symbol, GN_TY(type), 2, GN_IMMUTABLE, 0, op_, {GN_TY(type), GN_TY(type)}, .row = elementwise},
#define DENSE(type) \
    DISTANCE("<->", type, L2) DISTANCE("l2_distance", type, L2) \
    DISTANCE("<#>", type, NEGATIVE_INNER_PRODUCT) DISTANCE("inner_product", type, INNER_PRODUCT) \
    DISTANCE("<=>", type, COSINE) DISTANCE("cosine_distance", type, COSINE) \
    DISTANCE("<+>", type, L1) DISTANCE("l1_distance", type, L1) \
    ELEMENTWISE("+", type, '+') ELEMENTWISE("-", type, '-') ELEMENTWISE("*", type, '*') \
    {"||", GN_TY(type), 2, GN_IMMUTABLE, 0, 0, {GN_TY(type), GN_TY(type)}, .row = vector_concat}, \
    {"vector_dims", GN_TY(INT4), 1, GN_IMMUTABLE, 0, 0, {GN_TY(type)}, .row = vector_dims}, \
    {"l2_norm", GN_TY(FLOAT8), 1, GN_IMMUTABLE, 0, 0, {GN_TY(type)}, .row = vector_norm}, \
    {"l2_normalize", GN_TY(type), 1, GN_IMMUTABLE, 0, 0, {GN_TY(type)}, .row = l2_normalize}, \
    {"binary_quantize", GN_TY(BIT), 1, GN_IMMUTABLE, 0, 0, {GN_TY(type)}, .row = binary_quantize}, \
    {"subvector", GN_TY(type), 3, GN_IMMUTABLE, 0, 0, {GN_TY(type), GN_TY(INT4), GN_TY(INT4)}, .row = subvector},

static const gn_function functions[] = {
    DENSE(VECTOR) DENSE(HALFVEC)
    DISTANCE("vector_l2_squared_distance", VECTOR, L2_SQUARED)
    DISTANCE("vector_negative_inner_product", VECTOR, NEGATIVE_INNER_PRODUCT)
    {"vector_norm", GN_TY(FLOAT8), 1, GN_IMMUTABLE, 0, 0, {GN_TY(VECTOR)}, .row = vector_norm},
};
/* clang-format on */

const gn_function_list gn_functions_vector = {functions, sizeof functions / sizeof *functions};
