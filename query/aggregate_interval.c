/* sum and avg of intervals: months, days and time add up apart. */
#include "query/aggregate_private.h"
#include "query/format_private.h"

typedef struct interval_state {
    int64_t count;
    gn_interval sum;
} interval_state;

enum { SUM, AVG };

static gn_code update(const gn_aggregation *run)
{
    bool bad = false;
    for (uint32_t k = 0; k < run->n; k++) {
        interval_state *s = run->states[k];
        gn_interval v = gn_interval_load(run->args[0].bytes[run->rows[k]]);
        bad |= __builtin_add_overflow(s->sum.months, v.months, &s->sum.months);
        bad |= __builtin_add_overflow(s->sum.days, v.days, &s->sum.days);
        bad |= __builtin_add_overflow(s->sum.us, v.us, &s->sum.us);
        s->count++;
    }
    return bad ? gn_error_set(run->eval->err, GN_DATETIME_RANGE, "interval out of range") : GN_OK;
}

static gn_code finish(const gn_aggregation *run, void *state, gn_value *out)
{
    const interval_state *s = state;
    gn_interval v = s->sum;
    gn_code code = GN_OK;
    out->is_null = s->count == 0;
    if (s->count && run->aggregate->op == AVG)
        code = gn_interval_scale(s->sum, (double)s->count, true, &v, run->eval->err);
    return code ? code : gn_interval_store(v, run->eval->arena, &out->as.bytes, run->eval->err);
}

static gn_code save(const gn_aggregation *run, const void *state, gn_buf *out)
{
    const interval_state *s = state;
    (void)run;
    gn_buf_append_be64(out, (uint64_t)s->count);
    gn_buf_append_be32(out, (uint32_t)s->sum.months);
    gn_buf_append_be32(out, (uint32_t)s->sum.days);
    gn_buf_append_be64(out, (uint64_t)s->sum.us);
    return GN_OK;
}

static gn_code merge(const gn_aggregation *run, void *state, gn_bytes saved)
{
    interval_state *s = state;
    gn_reader in = gn_reader_of(saved);
    int64_t count = (int64_t)gn_read_be64(&in);
    int32_t months = (int32_t)gn_read_be32(&in), days = (int32_t)gn_read_be32(&in);
    int64_t us = (int64_t)gn_read_be64(&in);
    if (!gn_state_read(&in) || count < 0 || __builtin_add_overflow(s->count, count, &s->count))
        return gn_state_corrupt(run);
    bool bad = __builtin_add_overflow(s->sum.months, months, &s->sum.months);
    bad |= __builtin_add_overflow(s->sum.days, days, &s->sum.days);
    bad |= __builtin_add_overflow(s->sum.us, us, &s->sum.us);
    return bad ? gn_error_set(run->eval->err, GN_DATETIME_RANGE, "interval out of range") : GN_OK;
}

static const gn_aggregate aggregates[] = {
    {"sum", GN_TY(INTERVAL), 1, 0, SUM, {GN_TY(INTERVAL)}, sizeof(interval_state), update, finish, NULL, save, merge},
    {"avg", GN_TY(INTERVAL), 1, 0, AVG, {GN_TY(INTERVAL)}, sizeof(interval_state), update, finish, NULL, save, merge},
};

const gn_aggregate_list gn_aggregates_interval = {aggregates, sizeof aggregates / sizeof *aggregates};
