/* Queries in FROM: as a source of rows, and run again for each row of what stands before them. A query inside has a run
 * of its own, with an arena that is emptied before each time; parameters are shared, and a loop sets those that are
 * columns of its row. */
#include "coord/exec_private.h"

static void open_child(const gn_exec *x, uint64_t wanted, gn_exec *child)
{
    *child = (gn_exec){.cluster = x->cluster,
                       .txn = x->txn,
                       .plan = x->plan,
                       .arena = gn_arena_create(x->account),
                       .account = x->account,
                       .eval = x->eval,
                       .params = x->params,
                       .ef_search = x->ef_search,
                       .ef_search_given = x->ef_search_given,
                       .target_recall = x->target_recall,
                       .vector_exact = x->vector_exact,
                       .timed = x->timed,
                       .wanted = wanted};
    child->eval.arena = child->arena;
}

/* So that it can be run again. */
static void rewind_child(gn_exec *child)
{
    gn_exec_close(child);
    gn_arena_reset(child->arena);
    child->operators = (gn_exec_operators){0};
    child->push = (gn_push){0};
}

static void close_child(gn_exec *child)
{
    gn_exec_close(child);
    gn_arena_destroy(child->arena);
}

/* ---- a query as a source ---- */

typedef struct query_source {
    gn_operator op;
    gn_exec child;
    const gn_query *query;
} query_source;

static gn_code query_next(gn_operator *op, gn_batch **out, gn_error *err)
{
    query_source *s = (query_source *)op;
    gn_code code = s->child.root ? GN_OK : gn_exec_open_query(&s->child, s->query, err);
    *out = NULL;
    return code == GN_OK ? gn_operator_next(s->child.root, out, err) : code;
}

static void query_close(gn_operator *op)
{
    close_child(&((query_source *)op)->child);
}

gn_code gn_query_source(gn_exec *x, const gn_path *path, uint64_t limit_hint, gn_operator **out, gn_error *err)
{
    static const gn_operator_ops ops = {"Subquery Scan", query_next, query_close};
    query_source *s = gn_arena_calloc(x->arena, 1, sizeof *s);
    if (!s)
        return gn_error_oom(err, x->account);
    s->op = (gn_operator){
        .ops = &ops, .n_columns = path->n_types, .types = path->types, .eval = &x->eval, .timed = x->timed};
    s->query = path->sub;
    open_child(x, limit_hint, &s->child);
    *out = &s->op;
    return GN_OK;
}

const gn_exec *gn_query_source_exec(const gn_operator *op)
{
    return &((const query_source *)op)->child;
}

/* ---- a loop ---- */

typedef struct loop_op {
    gn_operator op;
    gn_exec *x;
    const gn_lateral *item;
    gn_exec child;
    gn_batch *left; /* NULL: the next one is to be had */
    uint32_t row;   /* of it */
    bool running;   /* the child, for this row */
    bool matched;   /* the row has had a partner */
    gn_arena *arena;
    gn_batch out;
} loop_op;

static gn_code next_left(loop_op *l, bool *end, gn_error *err)
{
    *end = false;
    if (l->left && ++l->row < l->left->n_rows)
        return GN_OK;
    l->left = NULL;
    l->row = 0;
    gn_code code = gn_operator_next(l->op.inputs[0], &l->left, err);
    *end = code == GN_OK && (!l->left || l->left->n_rows == 0);
    return code;
}

static gn_code run_for_row(loop_op *l, gn_error *err)
{
    const gn_lateral *item = l->item;
    rewind_child(&l->child);
    for (uint32_t i = 0; i < item->n_args; i++)
        l->x->params[item->slots[i]] = gn_column_get(&l->left->columns[item->args[i]->column], l->row);
    l->running = true;
    l->matched = false;
    return gn_exec_open_query(&l->child, item->sub, err);
}

/* One row's value, n times. */
static gn_code repeat(loop_op *l, const gn_column *from, uint32_t n, gn_column *to, gn_error *err)
{
    gn_batch one;
    gn_code code = gn_batch_init(&one, &from->type, 1, l->arena, err);
    if (code != GN_OK)
        return code;
    *to = one.columns[0];
    if (gn_column_is_null(from, l->row)) {
        for (uint32_t i = 0; i < n; i++)
            gn_column_set_null(to, i);
        return GN_OK;
    }
    gn_value v = gn_column_get(from, l->row);
    for (uint32_t i = 0; i < n; i++)
        gn_column_set(to, i, &v);
    return GN_OK;
}

/* The row at hand beside the rows of `right`; NULL: beside NULLs. */
static gn_code combine(loop_op *l, const gn_batch *right, gn_batch **out, gn_error *err)
{
    uint32_t n_left = l->op.inputs[0]->n_columns, n_right = l->op.n_columns - n_left, n = right ? right->n_rows : 1;
    gn_arena_reset(l->arena);
    gn_column *columns = gn_arena_calloc(l->arena, l->op.n_columns + 1, sizeof *columns);
    gn_code code = columns ? GN_OK : gn_error_oom(err, l->x->account);
    for (uint32_t i = 0; i < n_left && code == GN_OK; i++)
        code = repeat(l, &l->left->columns[i], n, &columns[i], err);
    if (code == GN_OK && right && n_right)
        memcpy(columns + n_left, right->columns, n_right * sizeof *columns);
    gn_batch nulls;
    if (code == GN_OK && !right)
        code = gn_batch_init(&nulls, l->op.types + n_left, n_right, l->arena, err);
    for (uint32_t i = 0; i < n_right && code == GN_OK && !right; i++) {
        columns[n_left + i] = nulls.columns[i];
        gn_column_set_null(&columns[n_left + i], 0);
    }
    l->out = (gn_batch){.n_rows = n, .n_columns = l->op.n_columns, .columns = columns, .arena = l->arena};
    *out = &l->out;
    return code;
}

static gn_code loop_next(gn_operator *op, gn_batch **out, gn_error *err)
{
    loop_op *l = (loop_op *)op;
    *out = NULL;
    for (;;) {
        gn_code code = GN_OK;
        if (!l->running) {
            bool end;
            code = next_left(l, &end, err);
            if (code != GN_OK || end)
                return code;
            code = run_for_row(l, err);
        }
        gn_batch *right = NULL;
        if (code == GN_OK)
            code = gn_operator_next(l->child.root, &right, err);
        if (code != GN_OK)
            return code;
        bool any = right && right->n_rows;
        l->running = any;
        if (any || (l->item->left && !l->matched)) {
            l->matched = true;
            return combine(l, any ? right : NULL, out, err);
        }
    }
}

static void loop_close(gn_operator *op)
{
    loop_op *l = (loop_op *)op;
    close_child(&l->child);
    gn_arena_destroy(l->arena);
}

gn_code gn_op_loop(gn_exec *x, gn_operator *left, const gn_lateral *item, gn_operator **out, gn_error *err)
{
    static const gn_operator_ops ops = {"Nested Loop", loop_next, loop_close};
    loop_op *l = gn_arena_calloc(x->arena, 1, sizeof *l);
    uint32_t n = left->n_columns + item->sub->n_visible;
    gn_type *types = gn_arena_alloc(x->arena, (n + 1) * sizeof *types);
    if (!l || !types)
        return gn_error_oom(err, x->account);
    for (uint32_t i = 0; i < n; i++)
        types[i] = i < left->n_columns ? left->types[i] : item->sub->targets[i - left->n_columns]->type;
    l->op = (gn_operator){
        .ops = &ops, .inputs = {left}, .n_columns = n, .types = types, .eval = &x->eval, .timed = x->timed};
    l->x = x;
    l->item = item;
    l->arena = gn_arena_create(x->account);
    open_child(x, 0, &l->child);
    *out = &l->op;
    return GN_OK;
}
