/* What of a query is done where the rows are, when its table is spread over groups: the filter; then the beginning of
 * its aggregation, or its order when only the first rows of it are wanted, or a limit; and columns that only these need
 * do not travel. It is decided for each run, since parameters are values by then. What cannot travel (volatile
 * functions, those about the session, what is too large) stays here, with everything that comes after it. */
#include "coord/exec_private.h"
#include "query/expr_pack.h"

#include <math.h>

enum { MOST_KEPT = 65536 /* rows of an order that each group is asked for */ };

typedef struct pusher {
    gn_exec *x;
    const gn_query *q;
    uint64_t keep;
    gn_fragment *f;
    gn_eval eval;
} pusher;

static void *take(const pusher *p, uint32_t n, size_t size, gn_code *code)
{
    void *m = gn_arena_calloc(p->x->arena, (size_t)n + 1, size);
    if (!m && !*code)
        *code = gn_error_oom(p->eval.err, p->x->account);
    return m;
}

/* *all becomes false when one of them has to stay. */
static gn_expr *settle(const pusher *p, const gn_expr *e, bool *all, gn_code *code)
{
    gn_expr *settled = NULL;
    if (!*code && *all)
        *code = gn_expr_settle(e, &p->eval, &settled);
    *all &= settled != NULL;
    return settled;
}

/* ---- the parts ---- */

static bool push_filter(pusher *p, gn_code *code)
{
    bool all = true;
    if (!p->q->filter)
        return true;
    gn_expr *filter = settle(p, p->q->filter, &all, code);
    p->f->filter = filter;
    return filter != NULL;
}

static bool combines(const gn_aggregate_call *call)
{
    return gn_aggregate_combines(call->aggregate) && !call->distinct && !call->n_order;
}

static void push_call(const pusher *p, const gn_aggregate_call *call, gn_aggregate_call *to, bool *all, gn_code *code)
{
    *to = *call;
    gn_expr **args = take(p, call->n_args, sizeof *args, code);
    for (uint32_t i = 0; i < call->n_args && !*code; i++)
        args[i] = settle(p, call->args[i], all, code);
    if (call->filter)
        to->filter = settle(p, call->filter, all, code);
    to->args = args;
}

static bool push_groups(pusher *p, gn_code *code)
{
    const gn_query *q = p->q;
    bool all = true;
    for (uint32_t i = 0; i < q->n_calls; i++)
        if (!combines(&q->calls[i]))
            return false;
    gn_expr **keys = take(p, q->n_keys, sizeof *keys, code);
    gn_aggregate_call *calls = take(p, q->n_calls, sizeof *calls, code);
    for (uint32_t i = 0; i < q->n_keys && !*code; i++)
        keys[i] = settle(p, q->keys[i], &all, code);
    for (uint32_t i = 0; i < q->n_calls && !*code; i++)
        push_call(p, &q->calls[i], &calls[i], &all, code);
    if (*code || !all)
        return false;
    p->f->grouped = true;
    p->f->keys = keys;
    p->f->n_keys = q->n_keys;
    p->f->calls = calls;
    p->f->n_calls = q->n_calls;
    return true;
}

static bool push_sort(pusher *p, gn_code *code)
{
    const gn_query *q = p->q;
    bool all = true;
    if (p->keep > MOST_KEPT || !q->n_sort || q->presorted || q->distinct || q->sort_projected)
        return false;
    gn_sort_key *sort = take(p, q->n_sort, sizeof *sort, code);
    for (uint32_t i = 0; i < q->n_sort && !*code; i++) {
        sort[i] = q->sort[i];
        sort[i].expr = settle(p, q->sort[i].expr, &all, code);
    }
    if (*code || !all)
        return false;
    p->f->sort = sort;
    p->f->n_sort = q->n_sort;
    p->f->keep = p->keep;
    return true;
}

/* Without a filter the scan itself is told how many rows are wanted. */
static bool push_limit(pusher *p)
{
    const gn_query *q = p->q;
    bool streams = !q->distinct && (q->presorted || !q->n_sort);
    if (!streams || p->keep == UINT64_MAX || !p->f->filter)
        return false;
    p->f->keep = p->keep;
    return true;
}

/* ---- columns ---- */

static void mark(const gn_expr *e, bool *used)
{
    if (!e)
        return;
    if (e->kind == GN_E_COLUMN && !(e->column & GN_AGGREGATE_REF))
        used[e->column] = true;
    for (uint32_t i = 0; i < e->n_args; i++)
        mark(e->args[i], used);
}

/* What is looked at after the fragment. */
static void mark_used(const pusher *p, bool *used)
{
    const gn_query *q = p->q;
    if (!p->x->push.filters)
        mark(q->filter, used);
    for (uint32_t i = 0; i < q->n_targets && !q->grouped; i++)
        mark(q->targets[i], used);
    for (uint32_t i = 0; i < q->n_sort && !q->grouped && !q->sort_projected; i++)
        mark(q->sort[i].expr, used);
    for (uint32_t i = 0; i < q->n_keys && q->grouped; i++)
        mark(q->keys[i], used);
    for (uint32_t i = 0; i < q->n_calls && q->grouped; i++) {
        const gn_aggregate_call *call = &q->calls[i];
        mark(call->filter, used);
        for (uint32_t a = 0; a < call->n_args; a++)
            mark(call->args[a], used);
        for (uint32_t k = 0; k < call->n_order; k++)
            mark(call->order[k].expr, used);
    }
}

static void choose_columns(pusher *p, bool writes, gn_code *code)
{
    const gn_path *path = &p->q->path;
    bool *used = take(p, path->n_ordinals, sizeof *used, code);
    p->f->columns = take(p, path->n_ordinals, sizeof *p->f->columns, code);
    if (*code || p->f->grouped)
        return;
    mark_used(p, used);
    for (uint32_t i = 0; i < path->n_ordinals; i++)
        if (used[i] || writes)
            p->f->columns[p->f->n_columns++] = i;
}

/* ---- the decision ---- */

/* One row of one group: nothing to be saved. */
static bool is_point(const gn_path *path)
{
    for (uint32_t i = 0; i < path->n_parts; i++)
        if (path->parts[i].n > 1 || path->parts[i].is_array)
            return false;
    return path->unique;
}

static bool is_worth_it(const gn_push *push, const gn_fragment *f, const gn_path *path)
{
    return push->filters || push->groups || push->sorts || push->limits || f->n_columns < path->n_ordinals;
}

static gn_code fits(const pusher *p, bool *out)
{
    gn_buf buf;
    gn_buf_init(&buf, p->x->account, 2 * (size_t)GN_FRAGMENT_BYTES);
    *out = gn_fragment_pack(p->f, &buf);
    gn_buf_close(&buf);
    return GN_OK;
}

static bool may_push(const gn_exec *x, const gn_query *q)
{
    const gn_path *path = &q->path;
    if (path->kind == GN_PATH_VECTOR) /* what the filter needs it for; all else is in the search's specification */
        return q->filter && gn_dvector_scan_takes_fragments(x->cluster);
    return path->kind == GN_PATH_SCAN && !is_point(path) && gn_dscan_takes_fragments(x->cluster, path->table);
}

gn_code gn_exec_push(gn_exec *x, const gn_query *q, uint64_t keep, bool writes, gn_error *err)
{
    const gn_path *path = &q->path;
    pusher p = {.x = x, .q = q, .keep = keep, .eval = x->eval};
    gn_code code = GN_OK;
    bool fit = false;
    p.eval.err = err;
    x->push = (gn_push){0};
    if (q->n_laterals || q->n_windows || !may_push(x, q))
        return GN_OK;
    p.f = take(&p, 0, sizeof *p.f, &code);
    if (code)
        return code;
    *p.f =
        (gn_fragment){.types = path->types, .n_types = path->n_ordinals, .format = *x->eval.format, .keep = UINT64_MAX};
    gn_push *push = &x->push;
    push->path = path;
    bool filtered = push_filter(&p, &code);
    push->filters = p.f->filter != NULL;
    if (!code && path->kind == GN_PATH_VECTOR && !push->filters) {
        *push = (gn_push){0};
        return GN_OK;
    }
    push->groups = filtered && !code && q->grouped && !writes && push_groups(&p, &code);
    push->sorts = filtered && !code && !q->grouped && !writes && push_sort(&p, &code);
    push->limits = filtered && !code && !q->grouped && !writes && !push->sorts && push_limit(&p);
    choose_columns(&p, writes, &code);
    if (!code && is_worth_it(push, p.f, path) && !(code = gn_fragment_finish(p.f, x->arena, err)))
        code = fits(&p, &fit);
    if (fit)
        push->fragment = p.f;
    else
        *push = (gn_push){.path = path->kind == GN_PATH_VECTOR ? NULL : path};
    return code;
}
