/* Vectors: pgvector's functions and operators, with its names, messages and results. Distances run on the kernels of
 * index/distance.h, so that SQL and the vector index compute the same numbers. */
#include "base/limits.h"
#include "index/distance.h"
#include "query/function_private.h"

#include <math.h>

/* A float sum of squares must not be the difference between an answer and an infinity; pgvector has the same range. */

static size_t dimensions(gn_bytes v)
{
    return v.len / sizeof(float);
}

/* Vectors lie at any address (rows are packed), so that elements are read through memcpy where a kernel does not. */
static float element(gn_bytes v, size_t i)
{
    float f;
    memcpy(&f, v.data + i * sizeof f, sizeof f);
    return f;
}

static const float *floats(gn_bytes v)
{
    return (const float *)(const void *)v.data;
}

static gn_code same_dimensions(const gn_call *call, gn_bytes a, gn_bytes b)
{
    if (a.len == b.len)
        return GN_OK;
    return gn_error_set(call->eval->err, GN_BAD_VECTOR, "different vector dimensions %zu and %zu", dimensions(a),
                        dimensions(b));
}

enum { L2, L2_SQUARED, INNER_PRODUCT, NEGATIVE_INNER_PRODUCT, COSINE, L1 };

static double l1(gn_bytes a, gn_bytes b)
{
    double sum = 0;
    for (size_t i = 0; i < dimensions(a); i++)
        sum += fabsf(element(a, i) - element(b, i));
    return sum;
}

/* norm2 of one operand, remembered while it stays the same: a constant operand is computed once a batch. */
typedef struct norm_memo {
    const uint8_t *of;
    double norm2;
} norm_memo;

static double norm2(const gn_kernels *kernels, gn_bytes v, norm_memo *memo)
{
    if (memo->of != v.data) {
        memo->of = v.data;
        memo->norm2 = kernels->norm2(floats(v), NULL, dimensions(v));
    }
    return memo->norm2;
}

static double cosine(const gn_kernels *kernels, gn_bytes a, gn_bytes b, norm_memo memo[2])
{
    double dot = kernels->dot(floats(a), floats(b), dimensions(a));
    double similarity = dot / sqrt(norm2(kernels, a, &memo[0]) * norm2(kernels, b, &memo[1]));
    if (similarity > 1)
        similarity = 1;
    else if (similarity < -1)
        similarity = -1;
    return 1 - similarity; /* NaN where a vector is zero, as pgvector's */
}

static gn_code distance(const gn_call *call, gn_column *out)
{
    const gn_kernels *kernels = gn_kernels_best();
    const gn_bytes *a = call->args[0].bytes, *b = call->args[1].bytes;
    norm_memo memo[2] = {{NULL, 0}, {NULL, 0}};
    for (uint32_t k = 0; k < call->n; k++) {
        uint32_t i = call->rows ? call->rows[k] : k;
        gn_code code = same_dimensions(call, a[i], b[i]);
        if (code)
            return code;
        size_t n = dimensions(a[i]);
        switch (call->function->op) {
        case L2:
            out->f64[i] = sqrt((double)kernels->l2sq(floats(a[i]), floats(b[i]), n));
            break;
        case L2_SQUARED:
            out->f64[i] = kernels->l2sq(floats(a[i]), floats(b[i]), n);
            break;
        case INNER_PRODUCT:
            out->f64[i] = kernels->dot(floats(a[i]), floats(b[i]), n);
            break;
        case NEGATIVE_INNER_PRODUCT:
            out->f64[i] = -(double)kernels->dot(floats(a[i]), floats(b[i]), n);
            break;
        case COSINE:
            out->f64[i] = cosine(kernels, a[i], b[i], memo);
            break;
        default:
            out->f64[i] = l1(a[i], b[i]);
        }
    }
    return GN_OK;
}

static gn_code vector_dims(const gn_call *call, const gn_value *args, gn_value *out)
{
    (void)call;
    out->as.i32 = (int32_t)dimensions(args[0].as.bytes);
    return GN_OK;
}

static double norm(gn_bytes v)
{
    double sum = 0;
    for (size_t i = 0; i < dimensions(v); i++)
        sum += (double)element(v, i) * element(v, i);
    return sqrt(sum);
}

static gn_code vector_norm(const gn_call *call, const gn_value *args, gn_value *out)
{
    (void)call;
    out->as.f64 = norm(args[0].as.bytes);
    return GN_OK;
}

static gn_code vector_overflow(const gn_call *call)
{
    return gn_error_set(call->eval->err, GN_NUMERIC_RANGE, "value out of range: overflow");
}

static gn_code l2_normalize(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_bytes v = args[0].as.bytes;
    uint8_t *to;
    gn_code code = gn_eval_bytes(call->eval, v.len, &to);
    if (code)
        return code;
    double length = norm(v);
    for (size_t i = 0; i < dimensions(v); i++) { /* a zero vector stays one */
        float f = length > 0 ? (float)(element(v, i) / length) : 0;
        if (isinf(f))
            return vector_overflow(call);
        memcpy(to + i * sizeof f, &f, sizeof f);
    }
    out->as.bytes = gn_bytes_of(to, v.len);
    return GN_OK;
}

static gn_code elementwise(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_bytes a = args[0].as.bytes, b = args[1].as.bytes;
    uint8_t *to;
    gn_code code = same_dimensions(call, a, b);
    if (!code)
        code = gn_eval_bytes(call->eval, a.len, &to);
    if (code)
        return code;
    for (size_t i = 0; i < dimensions(a); i++) {
        float x = element(a, i), y = element(b, i);
        float f = call->function->op == '+' ? x + y : call->function->op == '-' ? x - y : x * y;
        if (isinf(f))
            return vector_overflow(call);
        if (call->function->op == '*' && f == 0 && x != 0 && y != 0)
            return gn_error_set(call->eval->err, GN_NUMERIC_RANGE, "value out of range: underflow");
        memcpy(to + i * sizeof f, &f, sizeof f);
    }
    out->as.bytes = gn_bytes_of(to, a.len);
    return GN_OK;
}

static gn_code too_many_dimensions(const gn_call *call)
{
    return gn_error_set(call->eval->err, GN_LIMIT, "vector cannot have more than %u dimensions",
                        (unsigned)GN_MAX_DIMENSIONS);
}

static gn_code vector_concat(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_bytes a = args[0].as.bytes, b = args[1].as.bytes;
    uint8_t *to;
    if (dimensions(a) + dimensions(b) > GN_MAX_DIMENSIONS)
        return too_many_dimensions(call);
    gn_code code = gn_eval_bytes(call->eval, a.len + b.len, &to);
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
    int64_t from = args[1].as.i32, to = from + (int64_t)args[2].as.i32 - 1, n = (int64_t)dimensions(v);
    from = from < 1 ? 1 : from;
    to = to > n ? n : to;
    if (from > to)
        return gn_error_set(call->eval->err, GN_BAD_VECTOR, "vector must have at least 1 dimension");
    out->as.bytes = gn_bytes_of(v.data + (size_t)(from - 1) * sizeof(float), (size_t)(to - from + 1) * sizeof(float));
    return GN_OK;
}

/* clang-format off */
#define DISTANCE(name, op_) {name, GN_TY(FLOAT8), 2, GN_IMMUTABLE, 0, op_, {GN_TY(VECTOR), GN_TY(VECTOR)}, .batch = distance},
#define ELEMENTWISE(symbol, op_) {symbol, GN_TY(VECTOR), 2, GN_IMMUTABLE, 0, op_, {GN_TY(VECTOR), GN_TY(VECTOR)}, .row = elementwise},

static const gn_function functions[] = {
    DISTANCE("<->", L2) DISTANCE("l2_distance", L2) DISTANCE("vector_l2_squared_distance", L2_SQUARED)
    DISTANCE("<#>", NEGATIVE_INNER_PRODUCT) DISTANCE("vector_negative_inner_product", NEGATIVE_INNER_PRODUCT)
    DISTANCE("inner_product", INNER_PRODUCT)
    DISTANCE("<=>", COSINE) DISTANCE("cosine_distance", COSINE)
    DISTANCE("<+>", L1) DISTANCE("l1_distance", L1)
    ELEMENTWISE("+", '+') ELEMENTWISE("-", '-') ELEMENTWISE("*", '*')
    {"||", GN_TY(VECTOR), 2, GN_IMMUTABLE, 0, 0, {GN_TY(VECTOR), GN_TY(VECTOR)}, .row = vector_concat},
    {"vector_dims", GN_TY(INT4), 1, GN_IMMUTABLE, 0, 0, {GN_TY(VECTOR)}, .row = vector_dims},
    {"vector_norm", GN_TY(FLOAT8), 1, GN_IMMUTABLE, 0, 0, {GN_TY(VECTOR)}, .row = vector_norm},
    {"l2_normalize", GN_TY(VECTOR), 1, GN_IMMUTABLE, 0, 0, {GN_TY(VECTOR)}, .row = l2_normalize},
    {"subvector", GN_TY(VECTOR), 3, GN_IMMUTABLE, 0, 0, {GN_TY(VECTOR), GN_TY(INT4), GN_TY(INT4)}, .row = subvector},
};
/* clang-format on */

const gn_function_list gn_functions_vector = {functions, sizeof functions / sizeof *functions};
