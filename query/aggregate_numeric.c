/* Aggregates whose results are numeric: sums of bigint, averages and spreads of integers, everything over numeric.
 * Integers up to 32 bits add up in 128-bit machine words; the others in gn_numeric_sum, which never rounds. */
#include "query/aggregate_private.h"
#include "query/numeric.h"

enum { SUM, AVG, VAR_POP, VAR_SAMP, STDDEV_POP, STDDEV_SAMP };

static gn_code divide_count(const gn_aggregation *run, gn_bytes sum, int64_t count, gn_value *out)
{
    gn_bytes n;
    gn_code code = gn_numeric_from_i64(count, run->eval->arena, &n, run->eval->err);
    return code ? code : gn_numeric_div(sum, n, run->eval->arena, &out->as.bytes, run->eval->err);
}

/* From N, the sum and the sum of squares, as PostgreSQL computes it: (N * sumsq - sum^2) / (N * (N or N - 1)). */
static gn_code spread(const gn_aggregation *run, int64_t count, gn_bytes sum, gn_bytes squares, gn_value *out)
{
    gn_arena *arena = run->eval->arena;
    gn_error *err = run->eval->err;
    uint8_t op = run->aggregate->op;
    bool sample = op == VAR_SAMP || op == STDDEV_SAMP, root = op == STDDEV_POP || op == STDDEV_SAMP;
    gn_bytes n, m, above, square, below, result;
    gn_code code = gn_numeric_from_i64(count, arena, &n, err);
    if (!code)
        code = gn_numeric_from_i64(count - sample, arena, &m, err);
    if (!code)
        code = gn_numeric_mul(n, squares, arena, &above, err);
    if (!code)
        code = gn_numeric_mul(sum, sum, arena, &square, err);
    if (!code)
        code = gn_numeric_sub(above, square, arena, &above, err);
    if (!code && gn_numeric_sign(above) <= 0)
        return gn_numeric_from_i64(0, arena, &out->as.bytes, err);
    if (!code)
        code = gn_numeric_mul(n, m, arena, &below, err);
    if (!code)
        code = gn_numeric_div(above, below, arena, &result, err);
    if (!code && root)
        code = gn_numeric_sqrt_to(result, gn_numeric_scale(result), arena, &result, err);
    if (!code)
        out->as.bytes = result;
    return code;
}

static bool too_few(uint8_t op, int64_t count)
{
    return count == 0 || ((op == VAR_SAMP || op == STDDEV_SAMP) && count < 2);
}

/* ---- machine integers ---- */

typedef struct wide_sum {
    __int128 sum, squares;
    int64_t count;
} wide_sum;

static gn_code wide_update(const gn_aggregation *run)
{
    const gn_column *c = &run->args[0];
    for (uint32_t k = 0; k < run->n; k++) {
        wide_sum *s = run->states[k];
        uint32_t row = run->rows[k];
        int64_t v = c->type.id == GN_T_INT2 ? c->i16[row] : c->type.id == GN_T_INT4 ? c->i32[row] : c->i64[row];
        s->sum += v;
        if (run->aggregate->op >= VAR_POP) /* never of bigint */
            s->squares += v * v;
        s->count++;
    }
    return GN_OK;
}

/* |v| stays far below 2^120: less than 2^40 rows of less than 2^63. */
static gn_code from_wide(const gn_aggregation *run, __int128 v, gn_bytes *out)
{
    const int64_t billion2 = 1000000000000000000;
    gn_arena *arena = run->eval->arena;
    gn_error *err = run->eval->err;
    gn_bytes high, unit, low;
    gn_code code = gn_numeric_from_i64((int64_t)(v % billion2), arena, &low, err);
    if (code || v / billion2 == 0) {
        *out = low;
        return code;
    }
    code = gn_numeric_from_i64((int64_t)(v / billion2), arena, &high, err);
    if (!code)
        code = gn_numeric_from_i64(billion2, arena, &unit, err);
    if (!code)
        code = gn_numeric_mul(high, unit, arena, &high, err);
    return code ? code : gn_numeric_add(high, low, arena, out, err);
}

static gn_code wide_finish(const gn_aggregation *run, void *state, gn_value *out)
{
    const wide_sum *s = state;
    gn_bytes sum, squares;
    out->is_null = too_few(run->aggregate->op, s->count);
    if (out->is_null)
        return GN_OK;
    gn_code code = from_wide(run, s->sum, &sum);
    if (code)
        return code;
    switch (run->aggregate->op) {
    case SUM:
        out->as.bytes = sum;
        return GN_OK;
    case AVG:
        return divide_count(run, sum, s->count, out);
    default:
        code = from_wide(run, s->squares, &squares);
        return code ? code : spread(run, s->count, sum, squares, out);
    }
}

static void append_wide(gn_buf *out, __int128 v)
{
    gn_buf_append_be64(out, (uint64_t)((unsigned __int128)v >> 64));
    gn_buf_append_be64(out, (uint64_t)v);
}

static __int128 read_wide(gn_reader *in)
{
    uint64_t high = gn_read_be64(in), low = gn_read_be64(in);
    return (__int128)((unsigned __int128)high << 64 | low);
}

static bool is_near(__int128 v)
{
    const __int128 most = (__int128)1 << 110;
    return -most < v && v < most;
}

static gn_code wide_save(const gn_aggregation *run, const void *state, gn_buf *out)
{
    const wide_sum *s = state;
    (void)run;
    gn_buf_append_be64(out, (uint64_t)s->count);
    append_wide(out, s->sum);
    append_wide(out, s->squares);
    return GN_OK;
}

static gn_code wide_merge(const gn_aggregation *run, void *state, gn_bytes saved)
{
    wide_sum *s = state;
    gn_reader in = gn_reader_of(saved);
    int64_t count = (int64_t)gn_read_be64(&in);
    __int128 sum = read_wide(&in), squares = read_wide(&in);
    if (!gn_state_read(&in) || count < 0 || !is_near(sum) || !is_near(squares) || !is_near(s->sum + sum) ||
        !is_near(s->squares + squares) || __builtin_add_overflow(s->count, count, &s->count))
        return gn_state_corrupt(run);
    s->sum += sum;
    s->squares += squares;
    return GN_OK;
}

/* ---- numeric ---- */

typedef struct numeric_state {
    gn_numeric_sum *sum, *squares;
    int64_t count;
} numeric_state;

/* The two sums lie outside the arena; a state is made larger by about as much, so that they are accounted. */
enum { SUMS_OUTSIDE = 160 };

static gn_code add_square(const gn_aggregation *run, numeric_state *s, gn_bytes v)
{
    gn_arena_mark mark = gn_arena_save(run->eval->arena);
    gn_bytes square;
    gn_code code = gn_numeric_mul(v, v, run->eval->arena, &square, run->eval->err);
    if (!code)
        gn_numeric_sum_add(s->squares, square);
    gn_arena_restore(run->eval->arena, mark);
    return code;
}

static gn_code numeric_update(const gn_aggregation *run)
{
    const gn_column *c = &run->args[0];
    bool squares = run->aggregate->op >= VAR_POP;
    for (uint32_t k = 0; k < run->n; k++) {
        numeric_state *s = run->states[k];
        if (!s->sum)
            s->sum = gn_numeric_sum_create();
        if (squares && !s->squares)
            s->squares = gn_numeric_sum_create();
        gn_bytes v;
        gn_arena_mark mark = gn_arena_save(run->eval->arena);
        gn_code code = GN_OK;
        if (c->type.id == GN_T_INT8)
            code = gn_numeric_from_i64(c->i64[run->rows[k]], run->eval->arena, &v, run->eval->err);
        else
            v = c->bytes[run->rows[k]];
        if (!code)
            gn_numeric_sum_add(s->sum, v);
        if (!code && squares)
            code = add_square(run, s, v);
        gn_arena_restore(run->eval->arena, mark);
        if (code)
            return code;
        s->count++;
    }
    return GN_OK;
}

static gn_code numeric_finish(const gn_aggregation *run, void *state, gn_value *out)
{
    const numeric_state *s = state;
    gn_bytes sum, squares;
    out->is_null = too_few(run->aggregate->op, s->count);
    if (out->is_null)
        return GN_OK;
    gn_code code = gn_numeric_sum_result(s->sum, run->eval->arena, &sum, run->eval->err);
    if (code)
        return code;
    switch (run->aggregate->op) {
    case SUM:
        out->as.bytes = sum;
        return GN_OK;
    case AVG:
        return divide_count(run, sum, s->count, out);
    default:
        code = gn_numeric_sum_result(s->squares, run->eval->arena, &squares, run->eval->err);
        return code ? code : spread(run, s->count, sum, squares, out);
    }
}

static gn_code save_sum(const gn_aggregation *run, const gn_numeric_sum *sum, gn_buf *out)
{
    gn_bytes v = {0};
    gn_arena_mark mark = gn_arena_save(run->eval->arena);
    gn_code code = sum ? gn_numeric_sum_result(sum, run->eval->arena, &v, run->eval->err) : GN_OK;
    gn_buf_append_be32(out, (uint32_t)v.len);
    gn_buf_append_bytes(out, v);
    gn_arena_restore(run->eval->arena, mark);
    return code;
}

static gn_code numeric_save(const gn_aggregation *run, const void *state, gn_buf *out)
{
    const numeric_state *s = state;
    gn_buf_append_be64(out, (uint64_t)s->count);
    gn_code code = save_sum(run, s->sum, out);
    return code ? code : save_sum(run, s->squares, out);
}

static bool merge_sum(gn_reader *in, gn_numeric_sum **sum)
{
    uint32_t len = gn_read_be32(in);
    gn_bytes v = gn_read_bytes(in, len);
    if (in->failed || (v.len && !gn_numeric_is_valid(v)))
        return false;
    if (v.len && !*sum)
        *sum = gn_numeric_sum_create();
    if (v.len)
        gn_numeric_sum_add(*sum, v);
    return true;
}

static gn_code numeric_merge(const gn_aggregation *run, void *state, gn_bytes saved)
{
    numeric_state *s = state;
    gn_reader in = gn_reader_of(saved);
    int64_t count = (int64_t)gn_read_be64(&in);
    bool squares = run->aggregate->op >= VAR_POP;
    if (count < 0 || __builtin_add_overflow(s->count, count, &s->count) || !merge_sum(&in, &s->sum) ||
        !merge_sum(&in, &s->squares) || !gn_state_read(&in))
        return gn_state_corrupt(run);
    if (s->count > 0 && (!s->sum || (squares && !s->squares)))
        return gn_state_corrupt(run);
    return GN_OK;
}

static void numeric_destroy(void *state)
{
    numeric_state *s = state;
    gn_numeric_sum_destroy(s->sum);
    gn_numeric_sum_destroy(s->squares);
}

/* clang-format off */
#define WIDE(name, type, op_) {name, GN_TY(NUMERIC), 1, 0, op_, {GN_TY(type)}, sizeof(wide_sum), wide_update, wide_finish, NULL, wide_save, wide_merge},
#define NUMERIC(name, type, op_) {name, GN_TY(NUMERIC), 1, 0, op_, {GN_TY(type)}, sizeof(numeric_state) + SUMS_OUTSIDE, numeric_update, numeric_finish, numeric_destroy, numeric_save, numeric_merge},
#define SPREAD(name, op_) WIDE(name, INT2, op_) WIDE(name, INT4, op_) NUMERIC(name, INT8, op_) NUMERIC(name, NUMERIC, op_)

static const gn_aggregate aggregates[] = {
    WIDE("sum", INT8, SUM) NUMERIC("sum", NUMERIC, SUM)
    WIDE("avg", INT2, AVG) WIDE("avg", INT4, AVG) WIDE("avg", INT8, AVG) NUMERIC("avg", NUMERIC, AVG)
    SPREAD("var_pop", VAR_POP) SPREAD("var_samp", VAR_SAMP) SPREAD("variance", VAR_SAMP)
    SPREAD("stddev_pop", STDDEV_POP) SPREAD("stddev_samp", STDDEV_SAMP) SPREAD("stddev", STDDEV_SAMP)
};
/* clang-format on */

const gn_aggregate_list gn_aggregates_numeric = {aggregates, sizeof aggregates / sizeof *aggregates};
