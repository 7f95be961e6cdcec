/* FROM: tables, functions, queries, and queries beside others (LATERAL).
 *
 * The first item is the query's path. Each further one is a query that is run again for each row of what stands before
 * it (a nested loop, from left to right as written); what it names of that row becomes parameters beyond the
 * statement's own, so that inside it they are constants, and a search by a vector index may be for one of them. That is
 * a good plan for a few rows on the left and an index on the right, and no other is known: tables are joined only so.
 */
#include "base/limits.h"
#include "coord/plan_private.h"

/* ---- tables and functions ---- */

gn_code gn_bind_table(gn_binder *b, const gn_plan_context *context, const gn_ast_name *name, const gn_table_desc **out)
{
    if (name->schema && strcmp(name->schema, "public") != 0)
        return gn_bind_fail(b, name->position, GN_NO_TABLE, "relation \"%s.%s\" does not exist", name->schema,
                            name->name);
    *out = gn_dtxn_table_named(context->txn, gn_bytes_str(name->name));
    if (!*out)
        return gn_bind_fail(b, name->position, GN_NO_TABLE, "relation \"%s\" does not exist", name->name);
    return GN_OK;
}

/* A plan is good only while each table that it reads is as it was. */
static gn_code remember_table(gn_binder *b, const gn_table_desc *table)
{
    if (b->n_tables == b->cap_tables) {
        uint32_t more = b->cap_tables ? 2 * b->cap_tables : 4;
        const gn_table_desc **items = gn_arena_alloc(b->arena, more * sizeof *items);
        if (!items)
            return gn_error_oom(b->err, gn_arena_account(b->arena));
        if (b->n_tables)
            memcpy(items, b->tables, b->n_tables * sizeof *items);
        b->tables = items;
        b->cap_tables = more;
    }
    b->tables[b->n_tables++] = table;
    return GN_OK;
}

void gn_bind_relation(gn_relation *r, const gn_table_desc *table, const char *alias)
{
    *r = (gn_relation){.name = alias ? alias : table->name, .table = table, .n_columns = table->n_columns};
}

/* t(a, b): other names for the first columns. */
static gn_code rename_columns(gn_binder *b, const gn_ast_from *from, gn_relation *r)
{
    if (from->columns.n == 0)
        return GN_OK;
    const char **names = gn_arena_calloc(b->arena, r->n_columns + 1, sizeof *names);
    if (!names)
        return gn_error_oom(b->err, gn_arena_account(b->arena));
    uint32_t given = 0;
    for (uint32_t i = 0; i < r->n_columns; i++) {
        if (r->table && !gn_column_is_shown(&r->table->columns[i]))
            continue;
        names[i] = given < from->columns.n ? from->columns.items[given].name : r->names ? r->names[i] : NULL;
        given++;
    }
    if (given < from->columns.n)
        return gn_bind_fail(b, 0, GN_COLUMN_REFERENCE, "table \"%s\" has %u columns available but %u columns specified",
                            r->name, given, from->columns.n);
    r->names = names;
    return GN_OK;
}

static gn_code bind_series(gn_binder *b, const gn_ast_from *from, gn_query *q, gn_relation *r)
{
    const gn_ast_expr *call = from->call;
    if (strcmp(call->call.name, "generate_series") != 0 || call->args.n < 2 || call->args.n > 3)
        return gn_bind_unsupported(b, call->position, "this function is not supported in FROM",
                                   "generate_series(start, stop [, step]) over integers is.");
    gn_expr **args = q->path.series;
    gn_code code = GN_OK;
    gn_type type = gn_type_of(GN_T_INT4);
    b->clause = GN_IN_FROM;
    for (uint32_t i = 0; i < call->args.n && code == GN_OK; i++) {
        code = gn_bind_expr(b, call->args.items[i], &args[i]);
        if (code == GN_OK && gn_type_is(args[i]->type, GN_T_INT8))
            type = gn_type_of(GN_T_INT8);
    }
    for (uint32_t i = 0; i < call->args.n && code == GN_OK; i++) {
        if (!gn_can_coerce(args[i], type, GN_CAST_IMPLICIT))
            return gn_bind_fail(b, call->position, GN_NO_FUNCTION,
                                "function generate_series over type %s does not exist", gn_type_text(args[i]->type));
        code = gn_coerce(b, args[i], type, GN_CAST_IMPLICIT, &args[i]);
    }
    gn_type *types = gn_arena_alloc(b->arena, 2 * sizeof *types);
    const char **names = gn_arena_alloc(b->arena, 2 * sizeof *names);
    if (!types || !names)
        return gn_error_oom(b->err, gn_arena_account(b->arena));
    types[0] = type;
    types[1] = gn_type_of(GN_T_INT8);
    names[0] = from->alias ? from->alias : call->call.name;
    names[1] = "ordinality";
    *r = (gn_relation){.name = names[0], .n_columns = 1u + from->ordinality, .names = names, .types = types};
    q->path.kind = GN_PATH_SERIES;
    q->path.ordinality = from->ordinality;
    return code;
}

/* ---- queries ---- */

/* Binds a query with a scope of its own. lateral NULL: it does not see the columns beside it. */
static gn_code bind_query_within(gn_binder *b, const gn_plan_context *context, const gn_ast_query *ast,
                                 gn_lateral *lateral, bool by_nearness, gn_query **out)
{
    if (b->nesting == GN_MAX_FROM_NESTING)
        return gn_bind_fail(b, ast->position, GN_STATEMENT_TOO_COMPLEX, "queries in FROM are nested too deeply");
    gn_binder *outer = gn_arena_memdup(b->arena, b, sizeof *b);
    if (!outer)
        return gn_error_oom(b->err, gn_arena_account(b->arena));
    *b = (gn_binder){.arena = b->arena,
                     .err = b->err,
                     .format = b->format,
                     .stored = b->stored,
                     .params = b->params,
                     .n_params = b->n_params,
                     .param_nodes = b->param_nodes,
                     .n_param_nodes = b->n_param_nodes,
                     .cap_param_nodes = b->cap_param_nodes,
                     .outer = outer,
                     .lateral = lateral,
                     .nesting = b->nesting + 1,
                     .n_slots = b->n_slots,
                     .slot_base = b->slot_base,
                     .tables = b->tables,
                     .n_tables = b->n_tables,
                     .cap_tables = b->cap_tables,
                     .by_nearness = by_nearness};
    gn_code code = gn_bind_query(b, context, ast, out);
    outer->param_nodes = b->param_nodes;
    outer->n_param_nodes = b->n_param_nodes;
    outer->cap_param_nodes = b->cap_param_nodes;
    outer->n_slots = b->n_slots;
    outer->tables = b->tables;
    outer->n_tables = b->n_tables;
    outer->cap_tables = b->cap_tables;
    *b = *outer;
    return code;
}

static gn_code grow_args(gn_binder *b, gn_lateral *l)
{
    uint32_t more = l->cap_args ? 2 * l->cap_args : 4;
    gn_expr **args = gn_arena_calloc(b->arena, more, sizeof *args);
    uint32_t *slots = gn_arena_calloc(b->arena, more, sizeof *slots);
    if (!args || !slots)
        return gn_error_oom(b->err, gn_arena_account(b->arena));
    if (l->n_args) {
        memcpy(args, l->args, l->n_args * sizeof *args);
        memcpy(slots, l->slots, l->n_args * sizeof *slots);
    }
    l->args = args;
    l->slots = slots;
    l->cap_args = more;
    return GN_OK;
}

gn_code gn_bind_slot(gn_binder *b, gn_binder *scope, const gn_relation *r, uint32_t ordinal, int position,
                     gn_expr **out)
{
    gn_lateral *l = scope->lateral;
    gn_expr *column;
    uint32_t i = 0;
    gn_code code = gn_bind_column_of(scope->outer, r, ordinal, position, &column);
    if (code != GN_OK)
        return code;
    while (i < l->n_args && !gn_expr_equal(l->args[i], column))
        i++;
    if (i == l->cap_args && (code = grow_args(b, l)) != GN_OK)
        return code;
    if (i == l->n_args) {
        l->args[i] = column;
        l->slots[i] = b->n_params + b->slot_base + b->n_slots++;
        l->n_args++;
    }
    code = gn_bind_node(b, GN_E_PARAM, column->type, position, 0, out);
    if (code == GN_OK)
        (*out)->column = l->slots[i];
    return code;
}

/* The columns of a query as a relation. */
static gn_code relation_of(gn_binder *b, const gn_query *sub, const char *name, gn_relation *r)
{
    const char **names = gn_arena_calloc(b->arena, sub->n_visible + 1, sizeof *names);
    gn_type *types = gn_arena_calloc(b->arena, sub->n_visible + 1, sizeof *types);
    if (!names || !types)
        return gn_error_oom(b->err, gn_arena_account(b->arena));
    for (uint32_t i = 0; i < sub->n_visible; i++) {
        names[i] = sub->columns[i].name;
        types[i] = sub->targets[i]->type;
    }
    *r = (gn_relation){.name = name, .n_columns = sub->n_visible, .names = names, .types = types};
    return GN_OK;
}

/* ---- items ---- */

static gn_code add_relation(gn_binder *b, const gn_relation *r)
{
    for (uint32_t i = 0; i < b->n_relations; i++)
        if (strcmp(b->relations[i].name, r->name) == 0)
            return gn_bind_fail(b, 0, GN_DUPLICATE_ALIAS, "table name \"%s\" specified more than once", r->name);
    if (b->n_relations == GN_MAX_FROM_ITEMS)
        return gn_bind_fail(b, 0, GN_STATEMENT_TOO_COMPLEX, "FROM has more than %d items", (int)GN_MAX_FROM_ITEMS);
    b->relations[b->n_relations++] = *r;
    return GN_OK;
}

static gn_code bind_table_item(gn_binder *b, const gn_plan_context *context, const gn_ast_from *from, gn_query *q,
                               gn_relation *r)
{
    const gn_table_desc *table;
    gn_code code = gn_bind_table(b, context, &from->name, &table);
    if (code == GN_OK)
        code = remember_table(b, table);
    if (code != GN_OK)
        return code;
    gn_bind_relation(r, table, from->alias);
    q->path.kind = GN_PATH_SCAN;
    q->path.table = table;
    return GN_OK;
}

static gn_code bind_function_item(gn_binder *b, const gn_ast_from *from, gn_query *q, gn_relation *r)
{
    const char *name = from->call->call.name;
    if (strcmp(name, "generate_series") == 0)
        return bind_series(b, from, q, r);
    if (!gn_is_vector_view(name, true))
        return gn_bind_unnest(b, from, q, r);
    if (from->ordinality)
        return gn_bind_unsupported(b, from->position, "WITH ORDINALITY is not supported for this function", NULL);
    return gn_bind_vector_view(b, from, name, q, r);
}

static gn_code bind_query_item(gn_binder *b, const gn_plan_context *context, const gn_ast_from *from, gn_query *q,
                               gn_relation *r)
{
    gn_code code = bind_query_within(b, context, from->query, NULL, false, &q->path.sub);
    q->path.kind = GN_PATH_QUERY;
    return code == GN_OK ? relation_of(b, q->path.sub, from->alias, r) : code;
}

static gn_code bind_first(gn_binder *b, const gn_plan_context *context, const gn_ast_from *from, gn_query *q)
{
    gn_relation r;
    gn_code code;
    if (from->kind == GN_FROM_QUERY)
        code = bind_query_item(b, context, from, q, &r);
    else if (from->kind == GN_FROM_FUNCTION)
        code = bind_function_item(b, from, q, &r);
    else if (gn_is_vector_view(from->name.name, false))
        code = gn_bind_vector_view(b, from, from->name.name, q, &r);
    else
        code = bind_table_item(b, context, from, q, &r);
    if (code == GN_OK)
        code = rename_columns(b, from, &r);
    return code == GN_OK ? add_relation(b, &r) : code;
}

/* SELECT * FROM the function. */
static gn_code query_over(gn_binder *b, const gn_ast_from *from, gn_ast_query **out)
{
    gn_ast_query *query = gn_arena_calloc(b->arena, 1, sizeof *query);
    gn_ast_expr *star = gn_arena_calloc(b->arena, 1, sizeof *star);
    gn_ast_target *target = gn_arena_calloc(b->arena, 1, sizeof *target);
    gn_ast_from **item = gn_arena_alloc(b->arena, sizeof *item);
    if (!query || !star || !target || !item)
        return gn_error_oom(b->err, gn_arena_account(b->arena));
    star->kind = GN_A_STAR;
    star->position = from->position;
    target->expr = star;
    *item = (gn_ast_from *)from;
    query->kind = GN_Q_SELECT;
    query->position = from->position;
    query->targets.items = target;
    query->from.items = item;
    query->targets.n = query->from.n = 1;
    *out = query;
    return GN_OK;
}

static gn_code bind_later(gn_binder *b, const gn_plan_context *context, const gn_ast_from *from, bool left, gn_query *q)
{
    gn_ast_query *ast = from->query;
    gn_relation r;
    bool function = from->kind == GN_FROM_FUNCTION;
    if (from->kind == GN_FROM_TABLE)
        return gn_bind_unsupported(b, from->position, "joins of tables are not supported",
                                   "Write CROSS JOIN LATERAL (SELECT ... FROM table WHERE ...) AS alias, which is run "
                                   "for each row of what stands before it.");
    gn_lateral *l = gn_arena_calloc(b->arena, 1, sizeof *l);
    gn_code code = !l ? gn_error_oom(b->err, gn_arena_account(b->arena)) : function ? query_over(b, from, &ast) : GN_OK;
    if (code == GN_OK)
        code = bind_query_within(b, context, ast, function || from->lateral ? l : NULL, false, &l->sub);
    if (code != GN_OK)
        return code;
    l->left = left;
    l->name = from->alias ? from->alias : from->call->call.name;
    code = relation_of(b, l->sub, l->name, &r);
    if (code == GN_OK && !function)
        code = rename_columns(b, from, &r);
    r.appended = true;
    r.base = q->n_appended;
    if (code == GN_OK)
        code = add_relation(b, &r);
    if (code != GN_OK)
        return code;
    q->n_appended += r.n_columns;
    q->laterals[q->n_laterals++] = l;
    return q->n_appended > GN_MAX_COLUMNS
               ? gn_bind_fail(b, from->position, GN_TOO_MANY_COLUMNS, "FROM gives more than %d columns", GN_MAX_COLUMNS)
               : GN_OK;
}

/* ---- the list ---- */

static gn_code bind_item(gn_binder *b, const gn_plan_context *context, const gn_ast_from *from, bool left, gn_query *q,
                         gn_expr **conditions);

static gn_code add_condition(gn_binder *b, const gn_ast_expr *on, gn_expr **conditions)
{
    gn_expr *more, *both;
    b->clause = GN_IN_JOIN;
    gn_code code = gn_bind_boolean(b, on, "JOIN/ON", &more);
    if (code != GN_OK || !*conditions) {
        *conditions = code == GN_OK ? more : NULL;
        return code;
    }
    code = gn_bind_node(b, GN_E_AND, gn_type_of(GN_T_BOOL), 0, 2, &both);
    if (code != GN_OK)
        return code;
    both->args[0] = *conditions;
    both->args[1] = more;
    *conditions = both;
    return GN_OK;
}

static bool is_true(const gn_ast_expr *e)
{
    return e && e->kind == GN_A_BOOLEAN && e->boolean;
}

static gn_code bind_join(gn_binder *b, const gn_plan_context *context, const gn_ast_from *from, gn_query *q,
                         gn_expr **conditions)
{
    bool left = from->join == GN_JOIN_LEFT;
    if (from->natural || from->using_columns.n || from->join == GN_JOIN_RIGHT || from->join == GN_JOIN_FULL ||
        from->alias || from->right->kind == GN_FROM_JOIN)
        return gn_bind_unsupported(b, from->position, "this kind of join is not supported",
                                   "CROSS JOIN LATERAL (SELECT ...) is, and [LEFT] JOIN LATERAL (SELECT ...) ON true.");
    if (left && !is_true(from->on))
        return gn_bind_unsupported(b, from->position, "LEFT JOIN with a condition is not supported",
                                   "Write LEFT JOIN LATERAL (SELECT ... WHERE condition) AS alias ON true.");
    gn_code code = bind_item(b, context, from->left, false, q, conditions);
    if (code == GN_OK)
        code = bind_item(b, context, from->right, left, q, conditions);
    return code == GN_OK && from->on && !left ? add_condition(b, from->on, conditions) : code;
}

static gn_code bind_item(gn_binder *b, const gn_plan_context *context, const gn_ast_from *from, bool left, gn_query *q,
                         gn_expr **conditions)
{
    if (from->kind == GN_FROM_JOIN)
        return bind_join(b, context, from, q, conditions);
    return b->n_relations == 0 ? bind_first(b, context, from, q) : bind_later(b, context, from, left, q);
}

gn_code gn_bind_from(gn_binder *b, const gn_plan_context *context, const gn_ast_query *ast, gn_query *q,
                     gn_expr **conditions)
{
    gn_code code = GN_OK;
    for (uint32_t i = 0; i < ast->from.n && code == GN_OK; i++)
        code = bind_item(b, context, ast->from.items[i], false, q, conditions);
    return code;
}

/* ---- groups by nearness ---- */

/* Is the order that of x in SELECT DISTINCT ON (groups) ... x ... ORDER BY groups, x? */
static bool wants_first_groups(const gn_query *q)
{
    const gn_query *sub = q->path.sub;
    if (q->path.kind != GN_PATH_QUERY || q->n_sort != 1 || !q->limit || q->grouped || q->distinct ||
        q->sort_projected || q->n_windows || sub->n_windows || !sub->n_on || sub->n_sort != sub->n_on + 1 ||
        sub->limit || sub->offset || sub->grouped || sub->sort_projected)
        return false;
    const gn_sort_key *outer = &q->sort[0], *last = &sub->sort[sub->n_on];
    return outer->expr->kind == GN_E_COLUMN && !(outer->expr->column & GN_NO_PATH_COLUMN) &&
           outer->expr->column == sub->sort_targets[sub->n_on] && outer->descending == last->descending &&
           outer->nulls_first == last->nulls_first;
}

gn_code gn_bind_nearest_groups(gn_binder *b, const gn_plan_context *context, const gn_ast_query *ast, gn_query *q)
{
    if (!wants_first_groups(q))
        return GN_OK;
    const gn_ast_from *first = ast->from.items[0];
    while (first->kind == GN_FROM_JOIN)
        first = first->left;
    gn_code code = bind_query_within(b, context, first->query, NULL, true, &q->path.sub);
    q->presorted = true;
    return code;
}
