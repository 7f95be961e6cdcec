/* aggregate(x ORDER BY y): the rows of a group wait for their order; then the aggregate sees them. A row is kept as the
 * values of its arguments and then of its sort keys. */
#include "base/limits.h"
#include "query/aggregate_private.h"
#include "query/operator.h"

#include <stdlib.h>

bool gn_aggregate_keeps_order(const gn_aggregate *aggregate)
{
    return aggregate->flags & GN_A_ORDER;
}

static gn_code make_room(gn_ordered *s, uint32_t width, const gn_eval *eval)
{
    if (s->n < s->room)
        return GN_OK;
    uint32_t room = s->room ? 2 * s->room : 8;
    if (s->n >= GN_MAX_ARRAY_ITEMS)
        return gn_error_set(eval->err, GN_LIMIT, "an aggregate with ORDER BY may have at most %u rows in a group",
                            (unsigned)GN_MAX_ARRAY_ITEMS);
    gn_value *cells = gn_eval_alloc(eval, (size_t)room * width * sizeof *cells); /* the old ones stay in the arena */
    if (!cells)
        return GN_OUT_OF_MEMORY;
    if (s->n)
        memcpy(cells, s->cells, (size_t)s->n * width * sizeof *cells);
    s->cells = cells;
    s->room = room;
    return GN_OK;
}

gn_code gn_ordered_add(const gn_aggregate_call *call, const gn_aggregation *run, const gn_column *keys)
{
    uint32_t width = call->n_args + call->n_order;
    for (uint32_t k = 0; k < run->n; k++) {
        gn_ordered *s = run->states[k];
        gn_code code = make_room(s, width, run->eval);
        for (uint32_t i = 0; i < width && !code; i++) {
            const gn_column *c = i < call->n_args ? &run->args[i] : &keys[i - call->n_args];
            gn_value v = gn_column_get(c, run->rows[k]);
            code = gn_value_copy(&v, run->eval->arena, &s->cells[(size_t)s->n * width + i], run->eval->err);
        }
        if (code)
            return code;
        s->n++;
    }
    return GN_OK;
}

/* ---- sorting ---- */

static int compare_keys(const gn_sort_key *key, const gn_value *a, const gn_value *b)
{
    if (a->is_null || b->is_null)
        return (a->is_null - b->is_null) * (key->nulls_first ? -1 : 1);
    int c = gn_value_compare(a, b);
    return key->descending ? -c : c;
}

typedef struct order {
    const gn_aggregate_call *call;
    const gn_value *cells;
} order;

/* Row numbers; equal rows stay as they came. */
static int compare_rows(const void *a, const void *b, void *context)
{
    const order *o = context;
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b, n_args = o->call->n_args;
    size_t width = n_args + o->call->n_order;
    int c = 0;
    for (uint32_t i = 0; i < o->call->n_order && !c; i++)
        c = compare_keys(&o->call->order[i], &o->cells[x * width + n_args + i], &o->cells[y * width + n_args + i]);
    return c ? c : (x > y) - (x < y);
}

/* ---- the aggregate itself ---- */

static gn_code feed(const gn_aggregation *finish, const gn_aggregate_call *call, const gn_ordered *s,
                    const uint32_t *rows, void *state)
{
    uint32_t width = call->n_args + call->n_order;
    uint16_t numbers[GN_BATCH_ROWS];
    void *states[GN_BATCH_ROWS];
    gn_column args[2];
    gn_code code = GN_OK;
    for (uint32_t k = 0; k < GN_BATCH_ROWS; k++) {
        numbers[k] = (uint16_t)k;
        states[k] = state;
    }
    gn_aggregation run = *finish;
    run.args = args;
    run.rows = numbers;
    run.states = states;
    for (uint32_t from = 0; from < s->n && !code; from += run.n) {
        run.n = s->n - from < GN_BATCH_ROWS ? s->n - from : GN_BATCH_ROWS;
        for (uint32_t i = 0; i < call->n_args && !code; i++)
            code = gn_column_create(run.arg_types[i], run.n, run.eval, &args[i]);
        for (uint32_t k = 0; k < run.n && !code; k++)
            for (uint32_t i = 0; i < call->n_args; i++) {
                const gn_value *v = &s->cells[(size_t)rows[from + k] * width + i];
                if (v->is_null)
                    gn_column_set_null(&args[i], k);
                else
                    gn_column_set(&args[i], k, v);
            }
        if (!code)
            code = gn_eval_cancelled(run.eval);
        if (!code)
            code = call->aggregate->update(&run);
    }
    return code;
}

gn_code gn_ordered_finish(const gn_aggregate_call *call, const gn_aggregation *run, const gn_ordered *s, gn_value *out)
{
    size_t size = gn_aggregate_state_size(call->aggregate);
    void *state = gn_eval_alloc(run->eval, size);
    uint32_t *rows = gn_eval_alloc(run->eval, (s->n + 1u) * sizeof *rows);
    order o = {.call = call, .cells = s->cells};
    if (!state || !rows)
        return GN_OUT_OF_MEMORY;
    memset(state, 0, size);
    for (uint32_t i = 0; i < s->n; i++)
        rows[i] = i;
    qsort_r(rows, s->n, sizeof *rows, compare_rows, &o);
    gn_code code = feed(run, call, s, rows, state);
    if (!code)
        code = call->aggregate->finish(run, state, out);
    if (call->aggregate->destroy)
        call->aggregate->destroy(state);
    return code;
}
