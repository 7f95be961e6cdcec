/* Queries: from a plan to operators. */
#include "coord/exec_private.h"

gn_code gn_exec_init(gn_exec *x, const gn_exec_context *context, const gn_plan *plan, const gn_value *params,
                     gn_arena *arena, gn_error *err)
{
    uint32_t row = plan->table && plan->info ? plan->table->n_columns : 0;
    uint32_t n = plan->n_params + 2 * row + plan->n_slots;
    *x = (gn_exec){.cluster = context->cluster,
                   .txn = context->txn,
                   .plan = plan,
                   .arena = arena,
                   .account = context->account,
                   .ef_search = context->ef_search,
                   .ef_search_given = context->ef_search_given,
                   .target_recall = context->target_recall,
                   .vector_exact = context->vector_exact,
                   .timed = context->timed};
    x->params = (gn_value *)params;
    if (row || plan->n_slots) {
        x->params = gn_arena_calloc(arena, n + 1, sizeof *x->params);
        if (!x->params)
            return gn_error_oom(err, context->account);
        if (plan->n_params)
            memcpy(x->params, params, plan->n_params * sizeof *params);
    }
    x->eval = (gn_eval){.format = context->format,
                        .arena = arena,
                        .params = x->params,
                        .n_params = n,
                        .err = err,
                        .cancel = context->cancel,
                        .session = context->session,
                        .hooks = context->hooks};
    return GN_OK;
}

void gn_exec_close(gn_exec *x)
{
    gn_operator_close(x->root);
    x->root = NULL;
    gn_arena_destroy(x->scratch);
    x->scratch = NULL;
}

gn_code gn_exec_value(gn_exec *x, const gn_expr *e, gn_value *out, gn_error *err)
{
    if (e->kind == GN_E_CONST) {
        *out = e->value;
        return GN_OK;
    }
    if (e->kind == GN_E_PARAM) {
        *out = x->params[e->column];
        return GN_OK;
    }
    gn_eval eval = x->eval;
    eval.err = err;
    return gn_expr_eval_one(e, &eval, out);
}

gn_code gn_exec_count(gn_exec *x, const gn_expr *e, gn_code negative, const char *what, uint64_t absent, uint64_t *out,
                      gn_error *err)
{
    *out = absent;
    if (!e)
        return GN_OK;
    gn_value v;
    gn_code code = gn_exec_value(x, e, &v, err);
    if (code != GN_OK || v.is_null)
        return code;
    if (v.as.i64 < 0)
        return gn_error_set(err, negative, "%s must not be negative", what);
    *out = (uint64_t)v.as.i64;
    return GN_OK;
}

static gn_operator *timed(gn_exec *x, gn_operator *op)
{
    op->timed = x->timed;
    return op;
}

uint64_t gn_exec_kept(const gn_query *q, uint64_t limit, uint64_t offset)
{
    uint64_t sum;
    if (limit == UINT64_MAX || __builtin_add_overflow(limit, offset, &sum) || (q->distinct && !q->sort_projected) ||
        q->on)
        return UINT64_MAX;
    return sum;
}

/* What the source will probably be asked for: the limit, if nothing between drops rows or needs them all. */
static uint64_t hint(const gn_exec *x, const gn_query *q, uint64_t keep)
{
    if (q->by_nearness && q->presorted)
        return x->wanted;
    bool streams = !q->n_windows && !q->grouped && !q->distinct && (q->presorted || !q->n_sort);
    if (!streams || keep == UINT64_MAX)
        return 0;
    return q->path.kind == GN_PATH_VECTOR || !q->filter ? keep : 0;
}

/* *op is the top of what there is, also after a failure. */
static gn_code from_loops(gn_exec *x, const gn_query *q, gn_operator **op, gn_error *err)
{
    gn_exec_operators *o = &x->operators;
    gn_code code = GN_OK;
    if (q->filter && !x->push.filters)
        *op = o->filter = timed(x, gn_op_filter(&x->eval, x->account, *op, q->filter));
    for (uint32_t i = 0; i < q->n_laterals && code == GN_OK; i++)
        if ((code = gn_op_loop(x, *op, q->laterals[i], &o->loops[i], err)) == GN_OK)
            *op = o->loops[i];
    if (q->late_filter)
        *op = o->late_filter = timed(x, gn_op_filter(&x->eval, x->account, *op, q->late_filter));
    return code;
}

static gn_operator *grouping(gn_exec *x, const gn_query *q, gn_operator *op)
{
    gn_exec_operators *o = &x->operators;
    if (q->grouped && x->push.groups)
        op = o->aggregate =
            timed(x, gn_op_aggregate_combine(&x->eval, x->account, op, q->keys, q->n_keys, q->calls, q->n_calls));
    else if (q->grouped)
        op = o->aggregate =
            timed(x, gn_op_aggregate(&x->eval, x->account, op, q->keys, q->n_keys, q->calls, q->n_calls));
    if (q->having)
        op = o->having = timed(x, gn_op_filter(&x->eval, x->account, op, q->having));
    return op;
}

/* Ordered by mmr_rank, only the first ranks are looked at. */
static uint64_t ranks_wanted(const gn_query *q, uint64_t keep)
{
    const gn_sort_key *first = q->n_sort && !q->presorted && !q->sort_projected ? &q->sort[0] : NULL;
    bool by_rank = q->n_windows == 1 && first && first->expr->kind == GN_E_COLUMN &&
                   first->expr->column == gn_query_inputs(q) && !first->descending;
    return by_rank ? keep : UINT64_MAX;
}

static bool identity(const gn_query *q, const gn_operator *op, uint32_t n)
{
    if (op->n_columns != n)
        return false;
    for (uint32_t i = 0; i < n; i++)
        if (q->targets[i]->kind != GN_E_COLUMN || q->targets[i]->column != i)
            return false;
    return true;
}

static gn_operator *project(gn_exec *x, const gn_query *q, gn_operator *op, uint32_t n)
{
    if (identity(q, op, n))
        return op;
    return x->operators.project = timed(x, gn_op_project(&x->eval, x->account, op, q->targets, n));
}

/* The sort is over the projection; columns that only it needed are cut off afterwards. */
static gn_code trim(gn_exec *x, const gn_query *q, gn_operator **op, gn_error *err)
{
    if (q->n_targets == q->n_visible)
        return GN_OK;
    gn_expr **columns = gn_arena_calloc(x->arena, q->n_visible + 1, sizeof *columns);
    if (!columns)
        return gn_error_oom(err, x->account);
    for (uint32_t i = 0; i < q->n_visible; i++) {
        columns[i] = gn_arena_calloc(x->arena, 1, sizeof **columns);
        if (!columns[i])
            return gn_error_oom(err, x->account);
        *columns[i] = (gn_expr){.kind = GN_E_COLUMN, .type = q->targets[i]->type, .column = i};
    }
    *op = gn_op_project(&x->eval, x->account, *op, columns, q->n_visible);
    return GN_OK;
}

gn_code gn_exec_bounds(gn_exec *x, const gn_query *q, uint64_t *limit, uint64_t *offset, gn_error *err)
{
    gn_code code = gn_exec_count(x, q->limit, GN_INVALID_LIMIT, "LIMIT", UINT64_MAX, limit, err);
    return code == GN_OK ? gn_exec_count(x, q->offset, GN_INVALID_OFFSET, "OFFSET", 0, offset, err) : code;
}

gn_code gn_exec_open_query(gn_exec *x, const gn_query *q, gn_error *err)
{
    uint64_t limit, offset;
    gn_exec_operators *o = &x->operators;
    gn_code code = gn_exec_bounds(x, q, &limit, &offset, err);
    if (code != GN_OK)
        return code;
    uint64_t keep = gn_exec_kept(q, limit, offset);
    code = gn_exec_push(x, q, keep, false, err);
    if (code == GN_OK)
        code = gn_exec_source(x, &q->path, false, hint(x, q, keep), &o->source, err);
    if (code != GN_OK)
        return code;
    x->root = o->source;
    code = from_loops(x, q, &x->root, err);
    if (code != GN_OK)
        return code;
    gn_operator *op = grouping(x, q, x->root);
    if (q->n_windows)
        op = o->window =
            timed(x, gn_op_window(&x->eval, x->account, op, q->windows, q->n_windows, ranks_wanted(q, keep)));
    bool limited = limit != UINT64_MAX || offset;
    if (q->n_sort && !q->presorted && !q->sort_projected)
        op = o->sort = timed(x, gn_op_sort(&x->eval, x->account, op, q->sort, q->n_sort, keep));
    if (limited && !q->distinct && !q->sort_projected)
        op = o->limit = timed(x, gn_op_limit(&x->eval, x->account, op, offset, limit));
    bool whole = q->sort_projected || q->on;
    op = project(x, q, op, whole ? q->n_targets : q->n_visible);
    if (q->distinct && !q->on)
        op = o->distinct = timed(x, gn_op_distinct(&x->eval, x->account, op));
    if (q->sort_projected && q->n_sort)
        op = o->sort = timed(x, gn_op_sort(&x->eval, x->account, op, q->sort, q->n_sort, keep));
    if (q->on)
        op = o->distinct = timed(x, gn_op_distinct_on(&x->eval, x->account, op, q->on, q->n_on));
    if (whole)
        code = trim(x, q, &op, err);
    if (limited && !o->limit)
        op = o->limit = timed(x, gn_op_limit(&x->eval, x->account, op, offset, limit));
    x->root = op;
    return code;
}
