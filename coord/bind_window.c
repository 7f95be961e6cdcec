/* Window functions: row_number, rank, dense_rank, and mmr_rank. A call is computed over all rows that the query has
 * before its ORDER BY (after GROUP BY); a reference to one is a column behind all others. */
#include "coord/bind_private.h"

static const struct {
    const char *name;
    gn_window_kind kind;
    uint32_t least, most; /* arguments */
} known[] = {{"row_number", GN_WINDOW_ROW_NUMBER, 0, 0},
             {"rank", GN_WINDOW_RANK, 0, 0},
             {"dense_rank", GN_WINDOW_DENSE_RANK, 0, 0},
             {"mmr_rank", GN_WINDOW_MMR_RANK, 3, 4}};

static int known_at(const char *name)
{
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(known[i].name, name) == 0)
            return (int)i;
    return -1;
}

bool gn_is_window_name(const char *name)
{
    return known_at(name) >= 0;
}

static gn_code no_such_function(gn_binder *b, const gn_ast_expr *ast, gn_expr *const *args)
{
    gn_buf list;
    gn_buf_init(&list, NULL, 4096);
    for (uint32_t i = 0; i < ast->args.n && args; i++) {
        gn_buf_append_str(&list, i ? ", " : "");
        gn_buf_append_str(&list, gn_type_text(args[i]->type));
    }
    gn_bind_fail(b, ast->position, GN_NO_FUNCTION, "function %s(%.*s) does not exist", ast->call.name, (int)list.len,
                 list.data ? (const char *)list.data : "");
    gn_buf_close(&list);
    gn_error_hint(b->err, "No function matches the given name and argument types. You might need to add explicit type "
                          "casts.");
    return GN_NO_FUNCTION;
}

static gn_code bind_exprs(gn_binder *b, const gn_ast_exprs *list, bool settled, gn_expr ***out)
{
    gn_expr **items = gn_arena_calloc(b->arena, list->n + 1, sizeof *items);
    if (!items)
        return gn_error_oom(b->err, gn_arena_account(b->arena));
    gn_code code = GN_OK;
    for (uint32_t i = 0; i < list->n && code == GN_OK; i++)
        code = settled ? gn_bind_known(b, list->items[i], &items[i]) : gn_bind_expr(b, list->items[i], &items[i]);
    *out = items;
    return code;
}

static bool is_vector(gn_type t)
{
    return !t.is_array && (t.id == GN_T_VECTOR || t.id == GN_T_HALFVEC || t.id == GN_T_SPARSEVEC);
}

/* mmr_rank(T, T, float8 [, text]), where T is vector, halfvec or sparsevec. */
static gn_code coerce_args(gn_binder *b, const gn_ast_expr *ast, gn_expr **args, uint32_t n)
{
    if (n == 0)
        return GN_OK;
    gn_type vector = is_vector(args[0]->type) ? args[0]->type : args[1]->type;
    vector.typmod = -1;
    const gn_type to[4] = {vector, vector, gn_type_of(GN_T_FLOAT8), gn_type_of(GN_T_TEXT)};
    gn_code code = GN_OK;
    for (uint32_t i = 0; i < n; i++)
        if (!is_vector(vector) || !gn_can_coerce(args[i], to[i], GN_CAST_IMPLICIT))
            return no_such_function(b, ast, args);
    for (uint32_t i = 0; i < n && code == GN_OK; i++)
        code = gn_coerce(b, args[i], to[i], GN_CAST_IMPLICIT, &args[i]);
    return code;
}

static gn_code bind_order(gn_binder *b, const gn_ast_orders *orders, gn_sort_key **out)
{
    gn_sort_key *keys = gn_arena_calloc(b->arena, orders->n + 1, sizeof *keys);
    if (!keys)
        return gn_error_oom(b->err, gn_arena_account(b->arena));
    for (uint32_t i = 0; i < orders->n; i++) {
        const gn_ast_order *o = &orders->items[i];
        gn_expr *e;
        gn_code code = gn_bind_known(b, o->expr, &e);
        if (code != GN_OK)
            return code;
        if (e->type.id == GN_T_JSON)
            return gn_bind_fail(b, o->expr->position, GN_NO_FUNCTION,
                                "could not identify an ordering operator for type json");
        keys[i] = (gn_sort_key){.expr = e, .descending = o->descending, .nulls_first = o->nulls_first};
    }
    *out = keys;
    return GN_OK;
}

static bool same_exprs(gn_expr *const *a, gn_expr *const *b, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (!gn_expr_equal(a[i], b[i]))
            return false;
    return true;
}

static bool same_call(const gn_window_call *x, const gn_window_call *y)
{
    if (x->kind != y->kind || x->n_args != y->n_args || x->n_partition != y->n_partition || x->n_order != y->n_order)
        return false;
    for (uint32_t i = 0; i < x->n_order; i++)
        if (x->order[i].descending != y->order[i].descending || x->order[i].nulls_first != y->order[i].nulls_first ||
            !gn_expr_equal(x->order[i].expr, y->order[i].expr))
            return false;
    return same_exprs(x->args, y->args, x->n_args) && same_exprs(x->partition, y->partition, x->n_partition);
}

static gn_code remember(gn_binder *b, const gn_window_call *call, uint32_t *at)
{
    for (*at = 0; *at < b->n_windows; (*at)++)
        if (same_call(&b->windows[*at], call))
            return GN_OK;
    if (b->n_windows == b->cap_windows) {
        uint32_t more = b->cap_windows ? 2 * b->cap_windows : 4;
        gn_window_call *items = gn_arena_alloc(b->arena, more * sizeof *items);
        if (!items)
            return gn_error_oom(b->err, gn_arena_account(b->arena));
        if (b->n_windows)
            memcpy(items, b->windows, b->n_windows * sizeof *items);
        b->windows = items;
        b->cap_windows = more;
    }
    b->windows[b->n_windows++] = *call;
    return GN_OK;
}

static gn_code check_place(gn_binder *b, const gn_ast_expr *ast)
{
    const gn_ast_call_extra *extra = ast->call.extra;
    const char *where = b->clause == GN_IN_HAVING ? "HAVING" : gn_clause_without_aggregates(b->clause);
    if (where)
        return gn_bind_fail(b, ast->position, GN_WINDOWING, "window functions are not allowed in %s", where);
    if (b->in_aggregate)
        return gn_bind_fail(b, ast->position, GN_GROUPING,
                            "aggregate function calls cannot contain window function calls");
    if (b->in_window_definition)
        return gn_bind_fail(b, ast->position, GN_WINDOWING, "window functions are not allowed in window definitions");
    if (b->in_window)
        return gn_bind_fail(b, ast->position, GN_WINDOWING, "window function calls cannot be nested");
    if (extra->distinct || extra->order_by.n || extra->star || extra->filter)
        return gn_bind_unsupported(b, ast->position, "this form of window function call is not supported", NULL);
    return GN_OK;
}

gn_code gn_bind_window(gn_binder *b, const gn_ast_expr *ast, gn_expr **out)
{
    const gn_ast_call_extra *extra = ast->call.extra;
    int at = known_at(ast->call.name);
    gn_expr **args = NULL, **partition = NULL;
    gn_sort_key *order = NULL;
    uint32_t place = 0;
    if (at < 0 && gn_is_aggregate_name(gn_bytes_str(ast->call.name)))
        return gn_bind_unsupported(b, ast->position, "aggregates over windows are not supported",
                                   "row_number, rank, dense_rank and mmr_rank are.");
    gn_code code = check_place(b, ast);
    b->in_window = true;
    if (code == GN_OK)
        code = bind_exprs(b, &ast->args, false, &args);
    if (code == GN_OK && (at < 0 || ast->args.n < known[at].least || ast->args.n > known[at].most))
        code = no_such_function(b, ast, args);
    if (code == GN_OK)
        code = coerce_args(b, ast, args, ast->args.n);
    b->in_window_definition = true;
    if (code == GN_OK)
        code = bind_exprs(b, &extra->partition, true, &partition);
    for (uint32_t i = 0; i < extra->partition.n && code == GN_OK; i++)
        if (partition[i]->type.id == GN_T_JSON)
            code = gn_bind_fail(b, extra->partition.items[i]->position, GN_NO_FUNCTION,
                                "could not identify an equality operator for type json");
    if (code == GN_OK)
        code = bind_order(b, &extra->window_order, &order);
    b->in_window = b->in_window_definition = false;
    if (code != GN_OK)
        return code;
    gn_window_call call = {.kind = known[at].kind,
                           .args = args,
                           .n_args = ast->args.n,
                           .partition = partition,
                           .n_partition = extra->partition.n,
                           .order = order,
                           .n_order = extra->window_order.n};
    code = remember(b, &call, &place);
    if (code == GN_OK)
        code = gn_bind_node(b, GN_E_COLUMN, gn_type_of(GN_T_INT8), ast->position, 0, out);
    if (code != GN_OK)
        return code;
    (*out)->column = GN_WINDOW_REF | place;
    return gn_bind_remember(b, &b->window_refs, &b->n_window_refs, &b->cap_window_refs, *out);
}

const char *gn_window_name(gn_window_kind kind)
{
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (known[i].kind == kind)
            return known[i].name;
    return "";
}

gn_code gn_window_map(gn_window_call *call, gn_code (*map)(void *ctx, gn_expr *e, gn_expr **out), void *ctx)
{
    gn_expr **lists[2] = {(gn_expr **)call->args, (gn_expr **)call->partition};
    const uint32_t n[2] = {call->n_args, call->n_partition};
    gn_sort_key *order = (gn_sort_key *)call->order;
    gn_code code = GN_OK;
    for (int l = 0; l < 2; l++)
        for (uint32_t i = 0; i < n[l] && code == GN_OK; i++)
            code = map(ctx, lists[l][i], &lists[l][i]);
    for (uint32_t i = 0; i < call->n_order && code == GN_OK; i++) {
        gn_expr *key;
        code = map(ctx, (gn_expr *)order[i].expr, &key);
        if (code == GN_OK)
            order[i].expr = key;
    }
    return code;
}
