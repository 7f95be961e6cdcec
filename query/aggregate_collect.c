/* Aggregates that keep what they saw: string_agg, array_agg, and sums of vectors. */
#include "base/limits.h"
#include "query/aggregate_private.h"
#include "query/vector.h"

#include <math.h>

/* ---- string_agg ---- */

typedef struct string_state {
    bool any;
    uint8_t *data;
    size_t len, room;
} string_state;

static gn_code string_append(const gn_aggregation *run, string_state *s, gn_bytes piece)
{
    if (piece.len > GN_MAX_FIELD - s->len)
        return gn_error_set(run->eval->err, GN_LIMIT, "requested length too large: a value has at most %u bytes",
                            (unsigned)GN_MAX_FIELD);
    if (s->len + piece.len > s->room) {
        size_t room = 2 * (s->len + piece.len) + 64;
        uint8_t *p = gn_eval_alloc(run->eval, room);
        if (!p)
            return GN_OUT_OF_MEMORY;
        if (s->len)
            memcpy(p, s->data, s->len);
        s->data = p;
        s->room = room;
    }
    if (piece.len)
        memcpy(s->data + s->len, piece.data, piece.len);
    s->len += piece.len;
    return GN_OK;
}

/* NULL values are left out; a NULL separator is empty. The first value's separator is not used. */
static gn_code string_update(const gn_aggregation *run)
{
    for (uint32_t k = 0; k < run->n; k++) {
        string_state *s = run->states[k];
        uint32_t row = run->rows[k];
        gn_code code = GN_OK;
        if (gn_column_is_null(&run->args[0], row))
            continue;
        if (s->any && !gn_column_is_null(&run->args[1], row))
            code = string_append(run, s, run->args[1].bytes[row]);
        if (!code)
            code = string_append(run, s, run->args[0].bytes[row]);
        if (code)
            return code;
        s->any = true;
    }
    return GN_OK;
}

static gn_code string_finish(const gn_aggregation *run, void *state, gn_value *out)
{
    const string_state *s = state;
    (void)run;
    out->is_null = !s->any;
    out->as.bytes = gn_bytes_of(s->data, s->len);
    return GN_OK;
}

/* ---- sum, avg of vectors ---- In double precision; all of one number of dimensions. */

typedef struct vector_state {
    int64_t count;
    size_t dimensions;
    double *sums;
} vector_state;

enum { SUM, AVG };

static gn_code vector_update(const gn_aggregation *run)
{
    for (uint32_t k = 0; k < run->n; k++) {
        vector_state *s = run->states[k];
        gn_bytes v = run->args[0].bytes[run->rows[k]];
        gn_type_id id = (gn_type_id)run->args[0].type.id;
        size_t n = gn_dense_dimensions(id, v);
        if (!s->sums) {
            s->dimensions = n;
            s->sums = gn_eval_alloc(run->eval, n * sizeof *s->sums);
            if (!s->sums)
                return GN_OUT_OF_MEMORY;
            memset(s->sums, 0, n * sizeof *s->sums);
        }
        if (n != s->dimensions)
            return gn_error_set(run->eval->err, GN_BAD_VECTOR, "expected %zu dimensions, not %zu", s->dimensions, n);
        float part[256];
        for (size_t i = 0; i < n; i++) {
            if (i % 256 == 0) {
                size_t size = gn_dense_size(id), left = n - i < 256 ? n - i : 256;
                gn_dense_floats(id, gn_bytes_of(v.data + i * size, left * size), part);
            }
            s->sums[i] += (double)part[i % 256];
        }
        s->count++;
    }
    return GN_OK;
}

static gn_code vector_finish(const gn_aggregation *run, void *state, gn_value *out)
{
    const vector_state *s = state;
    gn_type_id id = (gn_type_id)run->result.id;
    size_t size = gn_dense_size(id), bad;
    uint8_t *to;
    out->is_null = s->count == 0;
    if (out->is_null)
        return GN_OK;
    gn_code code = gn_eval_bytes(run->eval, s->dimensions * size, &to);
    if (code)
        return code;
    for (size_t i = 0; i < s->dimensions; i++) {
        float f = (float)(run->aggregate->op == AVG ? s->sums[i] / (double)s->count : s->sums[i]);
        if (isinf(f) || !gn_dense_put(id, &f, 1, to + i * size, &bad))
            return gn_error_set(run->eval->err, GN_NUMERIC_RANGE, "value out of range: overflow");
    }
    out->as.bytes = gn_bytes_of(to, s->dimensions * size);
    return GN_OK;
}

/* clang-format off */
#define STRINGS(type) {"string_agg", GN_TY(type), 2, GN_A_NULLS | GN_A_ORDER, 0, {GN_TY(type), GN_TY(type)}, sizeof(string_state), string_update, string_finish},
#define VECTORS(name, type, op_) {name, GN_TY(type), 1, 0, op_, {GN_TY(type)}, sizeof(vector_state), vector_update, vector_finish},

static const gn_aggregate aggregates[] = {
    STRINGS(TEXT) STRINGS(BYTEA)
    VECTORS("sum", VECTOR, SUM) VECTORS("avg", VECTOR, AVG) VECTORS("sum", HALFVEC, SUM) VECTORS("avg", HALFVEC, AVG)
};
/* clang-format on */

const gn_aggregate_list gn_aggregates_collect = {aggregates, sizeof aggregates / sizeof *aggregates};
