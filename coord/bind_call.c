/* Function and operator calls, and aggregates. */
#include "coord/bind_private.h"

#include <stdio.h>

enum { MAX_ARGUMENTS = 100 };

static void at(gn_binder *b, int position)
{
    if (!b->stored && b->err && !b->err->position)
        gn_error_at(b->err, position);
}

static gn_code types_of(gn_binder *b, gn_expr **args, uint32_t n, gn_type **types)
{
    *types = gn_arena_alloc(b->arena, (2 * n + 2) * sizeof **types); /* the second half: what to cast to */
    if (!*types)
        return gn_error_oom(b->err, gn_arena_account(b->arena));
    for (uint32_t i = 0; i < n; i++)
        (*types)[i] = args[i]->type;
    return GN_OK;
}

/* A function's arguments have no modifier of their own, so a value keeps the one it has. */
static gn_code cast_args(gn_binder *b, gn_expr **args, const gn_type *to, uint32_t n, gn_expr **out)
{
    for (uint32_t i = 0; i < n; i++) {
        gn_type bare = to[i];
        bare.typmod = -1;
        gn_code code = gn_coerce(b, args[i], bare, GN_CAST_IMPLICIT, &out[i]);
        if (code != GN_OK)
            return code;
    }
    return GN_OK;
}

gn_code gn_bind_function(gn_binder *b, const char *name, bool is_operator, gn_expr **args, uint32_t n, int position,
                         gn_expr **out)
{
    gn_type *types, result;
    const gn_function *f;
    if (n > MAX_ARGUMENTS)
        return gn_bind_fail(b, position, GN_TOO_MANY_ARGUMENTS, "cannot pass more than %d arguments to a function",
                            MAX_ARGUMENTS);
    gn_code code = types_of(b, args, n, &types);
    if (code != GN_OK)
        return code;
    gn_type *to = types + n + 1;
    code = gn_function_resolve(gn_bytes_str(name), is_operator, types, n, &f, to, &result, b->err);
    if (code != GN_OK) {
        if (code != GN_TYPE_MISMATCH) /* a polymorphic type that nothing settles has no place, as in PostgreSQL */
            at(b, position);
        return code;
    }
    code = gn_bind_node(b, GN_E_CALL, result, position, n, out);
    if (code != GN_OK)
        return code;
    (*out)->function = f;
    return cast_args(b, args, to, n, (*out)->args);
}

/* ---- aggregates ---- */

static gn_code remember_aggregate(gn_binder *b, const gn_bound_aggregate *a, uint32_t *index)
{
    if (b->n_aggregates == b->cap_aggregates) {
        uint32_t more = b->cap_aggregates ? 2 * b->cap_aggregates : 8;
        gn_bound_aggregate *items = gn_arena_alloc(b->arena, more * sizeof *items);
        if (!items)
            return gn_error_oom(b->err, gn_arena_account(b->arena));
        if (b->n_aggregates)
            memcpy(items, b->aggregates, b->n_aggregates * sizeof *items);
        b->aggregates = items;
        b->cap_aggregates = more;
    }
    *index = b->n_aggregates;
    b->aggregates[b->n_aggregates++] = *a;
    return GN_OK;
}

static bool same_aggregate(const gn_aggregate_call *x, const gn_aggregate_call *y)
{
    if (x->aggregate != y->aggregate || x->n_args != y->n_args || x->distinct != y->distinct ||
        !x->filter != !y->filter || (x->filter && !gn_expr_equal(x->filter, y->filter)) ||
        !gn_type_same(x->result, y->result) || x->n_order != y->n_order)
        return false;
    for (uint32_t i = 0; i < x->n_order; i++)
        if (x->order[i].descending != y->order[i].descending || x->order[i].nulls_first != y->order[i].nulls_first ||
            !gn_expr_equal(x->order[i].expr, y->order[i].expr))
            return false;
    for (uint32_t i = 0; i < x->n_args; i++)
        if (!gn_expr_equal(x->args[i], y->args[i]))
            return false;
    return true;
}

/* The reference is to one aggregate however often it is written: sum(x) in the list and in ORDER BY is computed once.
 */
static gn_code aggregate_ref(gn_binder *b, gn_bound_aggregate *a, int position, gn_expr **out)
{
    uint32_t i = 0;
    while (i < b->n_aggregates && !same_aggregate(&b->aggregates[i].call, &a->call))
        i++;
    gn_code code = i < b->n_aggregates ? GN_OK : remember_aggregate(b, a, &i);
    if (code == GN_OK)
        code = gn_bind_node(b, GN_E_COLUMN, a->call.result, position, 0, out);
    if (code != GN_OK)
        return code;
    (*out)->column = GN_AGGREGATE_REF | i;
    return gn_bind_remember(b, &b->aggregate_refs, &b->n_aggregate_refs, &b->cap_aggregate_refs, *out);
}

static gn_code aggregate_args(gn_binder *b, const gn_ast_expr *ast, gn_expr ***args)
{
    *args = gn_arena_calloc(b->arena, ast->args.n + 1, sizeof **args);
    if (!*args)
        return gn_error_oom(b->err, gn_arena_account(b->arena));
    for (uint32_t i = 0; i < ast->args.n; i++) {
        gn_code code = gn_bind_expr(b, ast->args.items[i], &(*args)[i]);
        if (code != GN_OK)
            return code;
    }
    return GN_OK;
}

/* ---- ORDER BY within an aggregate ---- */

static gn_code bind_sort_keys(gn_binder *b, const gn_ast_orders *orders, gn_sort_key *keys)
{
    for (uint32_t i = 0; i < orders->n; i++) {
        const gn_ast_order *o = &orders->items[i];
        gn_expr *e;
        gn_code code = gn_bind_known(b, o->expr, &e);
        if (code != GN_OK)
            return code;
        if (e->type.id == GN_T_JSON) {
            gn_bind_fail(b, gn_expr_start(e), GN_NO_FUNCTION, "could not identify an ordering operator for type %s",
                         gn_type_text(e->type));
            gn_error_hint(b->err, "Use an explicit ordering operator or modify the query.");
            return GN_NO_FUNCTION;
        }
        keys[i] = (gn_sort_key){.expr = e, .descending = o->descending, .nulls_first = o->nulls_first};
    }
    return GN_OK;
}

static bool is_among(const gn_expr *e, gn_expr *const *list, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (gn_expr_equal(e, list[i]))
            return true;
    return false;
}

/* With DISTINCT the arguments are keys too, after those that are written: so the result has an order, as PostgreSQL's.
 */
static gn_code aggregate_order(gn_binder *b, const gn_ast_expr *ast, gn_expr *const *written, gn_bound_aggregate *a)
{
    const gn_ast_call_extra *extra = ast->call.extra;
    uint32_t n = extra ? extra->order_by.n : 0, n_args = a->call.n_args;
    if (!n && !a->call.distinct)
        return GN_OK;
    gn_sort_key *keys = gn_arena_calloc(b->arena, n + n_args + 1, sizeof *keys);
    if (!keys)
        return gn_error_oom(b->err, gn_arena_account(b->arena));
    b->in_aggregate = true;
    gn_code code = bind_sort_keys(b, &extra->order_by, keys);
    b->in_aggregate = false;
    for (uint32_t i = 0; i < n && code == GN_OK && a->call.distinct; i++)
        if (!is_among(keys[i].expr, a->args, n_args) && !is_among(keys[i].expr, written, n_args))
            return gn_bind_fail(b, extra->order_by.items[i].expr->position, GN_COLUMN_REFERENCE,
                                "in an aggregate with DISTINCT, ORDER BY expressions must appear in argument list");
    for (uint32_t i = 0; i < n_args && a->call.distinct; i++)
        keys[n++] = (gn_sort_key){.expr = a->args[i]};
    if (!gn_aggregate_keeps_order(a->call.aggregate)) /* whatever the order, the result is the same */
        return code;
    a->call.order = keys;
    a->call.n_order = n;
    return code;
}

static gn_code bind_aggregate(gn_binder *b, const gn_ast_expr *ast, gn_expr **out)
{
    const gn_ast_call_extra *extra = ast->call.extra;
    const char *where = gn_clause_without_aggregates(b->clause);
    if (where)
        return gn_bind_fail(b, ast->position, GN_GROUPING, "aggregate functions are not allowed in %s", where);
    if (b->in_aggregate)
        return gn_bind_fail(b, ast->position, GN_GROUPING, "aggregate function calls cannot be nested");
    b->in_aggregate = true;
    gn_bound_aggregate a = {.name = ast->call.name,
                            .call = {.distinct = extra && extra->distinct, .n_args = ast->args.n}};
    gn_expr *filter = NULL;
    gn_type *types = NULL;
    gn_code code = aggregate_args(b, ast, &a.args);
    if (code == GN_OK && extra && extra->filter)
        code = gn_bind_boolean(b, extra->filter, "FILTER", &filter);
    b->in_aggregate = false;
    if (code == GN_OK)
        code = types_of(b, a.args, ast->args.n, &types);
    if (code != GN_OK)
        return code;
    gn_type *to = types + ast->args.n + 1;
    if (ast->args.n == 0 && !(extra && extra->star) && strcmp(ast->call.name, "count") == 0)
        return gn_bind_fail(b, ast->position, GN_WRONG_OBJECT_TYPE,
                            "count(*) must be used to call a parameterless aggregate function");
    code = gn_aggregate_resolve(gn_bytes_str(ast->call.name), types, ast->args.n, &a.call.aggregate, to, &a.call.result,
                                b->err);
    if (code != GN_OK) {
        at(b, ast->position);
        return code;
    }
    gn_expr **written = gn_arena_memdup(b->arena, a.args, ast->args.n * sizeof *a.args);
    if (!written)
        return gn_error_oom(b->err, gn_arena_account(b->arena));
    code = cast_args(b, a.args, to, ast->args.n, a.args);
    if (code == GN_OK)
        code = aggregate_order(b, ast, written, &a);
    if (code != GN_OK)
        return code;
    a.call.args = a.args;
    a.call.filter = filter;
    return aggregate_ref(b, &a, ast->position, out);
}

/* ---- plain calls ---- */

static gn_code refuse_extra(gn_binder *b, const gn_ast_expr *ast)
{
    const gn_ast_call_extra *extra = ast->call.extra;
    const char *name = ast->call.name;
    if (!extra)
        return GN_OK;
    if (extra->distinct)
        return gn_bind_fail(b, ast->position, GN_WRONG_OBJECT_TYPE,
                            "DISTINCT specified, but %s is not an aggregate function", name);
    if (extra->filter)
        return gn_bind_fail(b, ast->position, GN_WRONG_OBJECT_TYPE,
                            "FILTER specified, but %s is not an aggregate function", name);
    if (extra->order_by.n)
        return gn_bind_fail(b, ast->position, GN_WRONG_OBJECT_TYPE,
                            "ORDER BY specified, but %s is not an aggregate function", name);
    if (extra->star)
        return gn_bind_fail(b, ast->position, GN_WRONG_OBJECT_TYPE,
                            "%s(*) specified, but %s is not an aggregate function", name, name);
    return GN_OK;
}

/* float8('1.5') is a cast, where no function has the name. */
static bool as_type_cast(const gn_ast_expr *ast, gn_expr *arg, gn_type *to)
{
    return ast->args.n == 1 && gn_type_from_name(gn_bytes_str(ast->call.name), to) &&
           gn_can_coerce(arg, *to, GN_CAST_EXPLICIT);
}

gn_code gn_bind_call(gn_binder *b, const gn_ast_expr *ast, gn_expr **out)
{
    const char *schema = ast->call.schema, *name = ast->call.name;
    if (schema && strcmp(schema, "pg_catalog") != 0 && strcmp(schema, "public") != 0)
        return gn_bind_fail(b, ast->position, GN_NO_SCHEMA, "schema \"%s\" does not exist", schema);
    if (ast->call.extra && ast->call.extra->over)
        return gn_bind_window(b, ast, out);
    if (gn_is_window_name(name))
        return gn_bind_fail(b, ast->position, GN_WRONG_OBJECT_TYPE, "window function %s requires an OVER clause", name);
    if (gn_is_aggregate_name(gn_bytes_str(name)))
        return bind_aggregate(b, ast, out);
    gn_code code = refuse_extra(b, ast);
    if (code != GN_OK)
        return code;
    gn_expr **args = gn_arena_calloc(b->arena, ast->args.n + 1, sizeof *args);
    if (!args)
        return gn_error_oom(b->err, gn_arena_account(b->arena));
    for (uint32_t i = 0; i < ast->args.n; i++) {
        code = gn_bind_expr(b, ast->args.items[i], &args[i]);
        if (code != GN_OK)
            return code;
    }
    gn_error saved = b->err ? *b->err : (gn_error){0};
    code = gn_bind_function(b, name, false, args, ast->args.n, ast->position, out);
    if (code == GN_OK && gn_function_returns_set((*out)->function))
        return gn_bind_unsupported(b, ast->position, "set-returning functions are supported in FROM only",
                                   "SELECT ... FROM unnest(array) AS x");
    gn_type to;
    if (code == GN_NO_FUNCTION && ast->args.n == 1 && as_type_cast(ast, args[0], &to)) {
        if (b->err)
            *b->err = saved;
        return gn_coerce(b, args[0], to, GN_CAST_EXPLICIT, out);
    }
    return code;
}
