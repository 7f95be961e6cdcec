/* sparsevec: pgvector's functions and operators. Sums run in double precision over the elements that are not zero. */
#include "query/function_private.h"
#include "query/vector.h"

#include <math.h>

enum { L2, L2_SQUARED, INNER_PRODUCT, NEGATIVE_INNER_PRODUCT, COSINE, L1 };

/* What all distances are made of. */
typedef struct sums {
    double dot, squares, magnitudes; /* of a * b, (a - b)^2, |a - b| */
} sums;

static sums sum_up(const gn_sparse *a, const gn_sparse *b)
{
    sums s = {0};
    for (uint32_t i = 0, k = 0; i < a->n || k < b->n;) {
        uint32_t at_a = i < a->n ? gn_sparse_place(a, i) : UINT32_MAX;
        uint32_t at_b = k < b->n ? gn_sparse_place(b, k) : UINT32_MAX;
        double x = at_a <= at_b ? (double)gn_sparse_value(a, i++) : 0;
        double y = at_b <= at_a ? (double)gn_sparse_value(b, k++) : 0;
        s.dot += x * y;
        s.squares += (x - y) * (x - y);
        s.magnitudes += fabs(x - y);
    }
    return s;
}

static double norm2(const gn_sparse *v)
{
    double sum = 0;
    for (uint32_t i = 0; i < v->n; i++)
        sum += (double)gn_sparse_value(v, i) * (double)gn_sparse_value(v, i);
    return sum;
}

static gn_code distance(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_sparse a = gn_sparse_of(args[0].as.bytes), b = gn_sparse_of(args[1].as.bytes);
    gn_code code = gn_sparse_check_same(&a, &b, call->eval->err);
    if (code)
        return code;
    sums s = sum_up(&a, &b);
    double cosine;
    switch (call->function->op) {
    case L2:
        out->as.f64 = sqrt(s.squares);
        break;
    case L2_SQUARED:
        out->as.f64 = s.squares;
        break;
    case INNER_PRODUCT:
        out->as.f64 = s.dot;
        break;
    case NEGATIVE_INNER_PRODUCT:
        out->as.f64 = -s.dot;
        break;
    case COSINE: /* NaN where a vector is zero */
        cosine = s.dot / sqrt(norm2(&a) * norm2(&b));
        out->as.f64 = 1 - (cosine > 1 ? 1 : cosine < -1 ? -1 : cosine);
        break;
    default:
        out->as.f64 = s.magnitudes;
    }
    return GN_OK;
}

static gn_code l2_norm(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_sparse v = gn_sparse_of(args[0].as.bytes);
    (void)call;
    out->as.f64 = sqrt(norm2(&v));
    return GN_OK;
}

/* Elements that are too small after it are left out, for zeros are not kept. */
static gn_code l2_normalize(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_sparse v = gn_sparse_of(args[0].as.bytes);
    double length = sqrt(norm2(&v));
    uint8_t *places, *values;
    uint32_t n = 0;
    for (uint32_t i = 0; i < v.n; i++)
        n += (float)((double)gn_sparse_value(&v, i) / length) != 0;
    if (!gn_sparse_create(call->eval->arena, v.dimensions, n, &places, &values, &out->as.bytes))
        return gn_eval_oom(call->eval);
    for (uint32_t i = 0; i < v.n; i++) {
        float f = (float)((double)gn_sparse_value(&v, i) / length);
        uint32_t place = gn_sparse_place(&v, i);
        if (f == 0)
            continue;
        if (isinf(f))
            return gn_error_set(call->eval->err, GN_NUMERIC_RANGE, "value out of range: overflow");
        memcpy(places, &place, 4);
        memcpy(values, &f, 4);
        places += 4;
        values += 4;
    }
    return GN_OK;
}

/* clang-format off */
#define DISTANCE(name, op_) {name, GN_TY(FLOAT8), 2, GN_IMMUTABLE, 0, op_, {GN_TY(SPARSEVEC), GN_TY(SPARSEVEC)}, .row = distance},

static const gn_function functions[] = {
    DISTANCE("<->", L2) DISTANCE("l2_distance", L2) DISTANCE("sparsevec_l2_squared_distance", L2_SQUARED)
    DISTANCE("<#>", NEGATIVE_INNER_PRODUCT) DISTANCE("inner_product", INNER_PRODUCT)
    DISTANCE("<=>", COSINE) DISTANCE("cosine_distance", COSINE)
    DISTANCE("<+>", L1) DISTANCE("l1_distance", L1)
    {"l2_norm", GN_TY(FLOAT8), 1, GN_IMMUTABLE, 0, 0, {GN_TY(SPARSEVEC)}, .row = l2_norm},
    {"l2_normalize", GN_TY(SPARSEVEC), 1, GN_IMMUTABLE, 0, 0, {GN_TY(SPARSEVEC)}, .row = l2_normalize},
};
/* clang-format on */

const gn_function_list gn_functions_sparse = {functions, sizeof functions / sizeof *functions};
