/* SELECT and VALUES: the target list, GROUP BY, HAVING, ORDER BY, DISTINCT, LIMIT. FROM is in bind_from.c. */
#include "base/limits.h"
#include "coord/plan_private.h"

#include <stdio.h>

/* ---- the target list ---- */

static const char *type_column_name(gn_type_id id)
{
    static const char *const names[GN_T_COUNT] = {
        [GN_T_BOOL] = "bool",           [GN_T_BYTEA] = "bytea",
        [GN_T_INT8] = "int8",           [GN_T_INT2] = "int2",
        [GN_T_INT4] = "int4",           [GN_T_TEXT] = "text",
        [GN_T_JSON] = "json",           [GN_T_FLOAT4] = "float4",
        [GN_T_FLOAT8] = "float8",       [GN_T_UNKNOWN] = "unknown",
        [GN_T_VARCHAR] = "varchar",     [GN_T_DATE] = "date",
        [GN_T_TIMESTAMP] = "timestamp", [GN_T_TIMESTAMPTZ] = "timestamptz",
        [GN_T_INTERVAL] = "interval",   [GN_T_NUMERIC] = "numeric",
        [GN_T_UUID] = "uuid",           [GN_T_JSONB] = "jsonb",
        [GN_T_VECTOR] = "vector",       [GN_T_HALFVEC] = "halfvec",
        [GN_T_SPARSEVEC] = "sparsevec", [GN_T_BIT] = "bit",
        [GN_T_VARBIT] = "varbit",
    };
    return names[id] ? names[id] : "?column?";
}

/* The strength tells a cast whether its argument's name is better than the type's. */
int gn_figure_name(const gn_ast_expr *e, const char **name)
{
    gn_type type;
    int strength;
    switch ((gn_ast_expr_kind)e->kind) {
    case GN_A_COLUMN:
        *name = e->column.name;
        return 2;
    case GN_A_CALL:
        *name = e->call.name;
        return 2;
    case GN_A_COALESCE:
        *name = "coalesce";
        return 2;
    case GN_A_NULLIF:
        *name = "nullif";
        return 2;
    case GN_A_GREATEST:
        *name = "greatest";
        return 2;
    case GN_A_LEAST:
        *name = "least";
        return 2;
    case GN_A_ARRAY:
        *name = "array";
        return 2;
    case GN_A_ROW:
        *name = "row";
        return 2;
    case GN_A_SUBSCRIPT:
    case GN_A_COLLATE:
        return gn_figure_name(e->args.items[0], name);
    case GN_A_CASE:
        strength = e->cases.otherwise ? gn_figure_name(e->cases.otherwise, name) : 0;
        if (strength <= 1)
            *name = "case";
        return strength <= 1 ? 1 : strength;
    case GN_A_CAST:
        strength = gn_figure_name(e->args.items[0], name);
        if (strength <= 1 && gn_type_from_name(gn_bytes_str(e->type->name.name), &type))
            *name = type_column_name((gn_type_id)type.id);
        return strength <= 1 ? 1 : strength;
    default:
        return 0;
    }
}

typedef struct target_list {
    gn_expr **exprs;
    gn_result_column *columns;
    uint32_t n, capacity;
} target_list;

static gn_code add_target(gn_binder *b, target_list *list, gn_expr *expr, const char *name)
{
    if (list->n >= GN_MAX_COLUMNS)
        return gn_bind_fail(b, expr->position, GN_TOO_MANY_COLUMNS, "target lists can have at most %d entries",
                            GN_MAX_COLUMNS);
    if (list->n == list->capacity) {
        uint32_t more = list->capacity ? list->capacity * 2 : 8;
        gn_expr **exprs = gn_arena_calloc(b->arena, more, sizeof *exprs);
        gn_result_column *columns = gn_arena_calloc(b->arena, more, sizeof *columns);
        if (!exprs || !columns)
            return gn_error_oom(b->err, gn_arena_account(b->arena));
        if (list->n) {
            memcpy(exprs, list->exprs, list->n * sizeof *exprs);
            memcpy(columns, list->columns, list->n * sizeof *columns);
        }
        list->exprs = exprs;
        list->columns = columns;
        list->capacity = more;
    }
    gn_result_column *c = &list->columns[list->n];
    *c = (gn_result_column){.name = name, .type = expr->type};
    uint32_t base = b->relations[0].as_params ? b->n_params + b->relations[0].base : 0;
    bool plain = (expr->kind == GN_E_COLUMN && !(expr->column & GN_NO_PATH_COLUMN)) ||
                 (expr->kind == GN_E_PARAM && b->relations[0].as_params && expr->column >= base);
    if (plain && b->n_relations && b->relations[0].table && expr->column - base < b->relations[0].n_columns) {
        c->table_id = b->relations[0].table->id;
        c->column_number = (uint16_t)(expr->column - base + 1);
    }
    list->exprs[list->n++] = expr;
    return GN_OK;
}

static gn_code expand_star(gn_binder *b, const gn_ast_expr *star, target_list *list)
{
    const char *table = star->column.table;
    if (b->n_relations == 0 && !table)
        return gn_bind_fail(b, star->position, GN_SYNTAX, "SELECT * with no tables specified is not valid");
    bool found = false;
    for (uint32_t i = 0; i < b->n_relations; i++) {
        const gn_relation *r = &b->relations[i];
        if (r->qualified_only || (table && strcmp(table, r->name) != 0))
            continue;
        found = true;
        for (uint32_t c = 0; c < r->n_columns; c++) {
            gn_expr *column;
            const char *name = gn_relation_column(r, c);
            if (!name)
                continue;
            gn_code code = gn_bind_column_of(b, r, c, star->position, &column);
            if (code == GN_OK)
                code = add_target(b, list, column, name);
            if (code != GN_OK)
                return code;
        }
    }
    if (!found)
        return gn_bind_no_table(b, table, star->position);
    return GN_OK;
}

static gn_code bind_target_list(gn_binder *b, const gn_ast_targets *ast, target_list *list)
{
    for (uint32_t i = 0; i < ast->n; i++) {
        const gn_ast_target *t = &ast->items[i];
        gn_code code;
        if (t->expr->kind == GN_A_STAR) {
            code = expand_star(b, t->expr, list);
        } else {
            gn_expr *e;
            const char *name = "?column?";
            if (t->alias)
                name = t->alias;
            else
                gn_figure_name(t->expr, &name);
            code = b->keep_unknown ? gn_bind_expr(b, t->expr, &e) : gn_bind_known(b, t->expr, &e);
            if (code == GN_OK)
                code = add_target(b, list, e, name);
        }
        if (code != GN_OK)
            return code;
    }
    return GN_OK;
}

gn_code gn_bind_targets(gn_binder *b, const gn_ast_targets *ast, gn_expr ***targets, gn_result_column **columns,
                        uint32_t *n)
{
    target_list list = {0};
    gn_code code = bind_target_list(b, ast, &list);
    *targets = list.exprs;
    *columns = list.columns;
    *n = list.n;
    return code;
}

/* ---- ORDER BY and GROUP BY: ordinals, output names, expressions ---- */

/* The target that an integer literal or an output name means; -1: none, the expression is to be bound. */
static gn_code by_ordinal(gn_binder *b, const gn_ast_expr *ast, uint32_t n_visible, int *target)
{
    *target = -1;
    switch ((gn_ast_expr_kind)ast->kind) {
    case GN_A_INTEGER:
        if (ast->integer < 1 || ast->integer > n_visible)
            return gn_bind_fail(b, ast->position, GN_COLUMN_REFERENCE, "%s position %lld is not in select list",
                                gn_clause_name(b->clause), (long long)ast->integer);
        *target = (int)ast->integer - 1;
        return GN_OK;
    case GN_A_NULL:
    case GN_A_BOOLEAN:
    case GN_A_NUMERIC:
    case GN_A_STRING:
        return gn_bind_fail(b, ast->position, GN_SYNTAX, "non-integer constant in %s", gn_clause_name(b->clause));
    default:
        return GN_OK;
    }
}

static gn_code by_output_name(gn_binder *b, const gn_ast_expr *ast, const target_list *list, uint32_t n_visible,
                              int *target)
{
    if (ast->kind != GN_A_COLUMN || ast->column.table)
        return GN_OK;
    for (uint32_t i = 0; i < n_visible; i++) {
        if (strcmp(list->columns[i].name, ast->column.name) != 0)
            continue;
        if (*target >= 0 && !gn_expr_equal(list->exprs[*target], list->exprs[i]))
            return gn_bind_fail(b, ast->position, GN_AMBIGUOUS_COLUMN, "%s \"%s\" is ambiguous",
                                gn_clause_name(b->clause), ast->column.name);
        if (*target < 0)
            *target = (int)i;
    }
    return GN_OK;
}

static bool has_no_order(gn_type t)
{
    return t.id == GN_T_JSON;
}

static gn_code bind_order_key(gn_binder *b, const gn_ast_order *o, gn_query *q, target_list *list, uint32_t *target)
{
    int found;
    gn_code code = by_ordinal(b, o->expr, q->n_visible, &found);
    if (code == GN_OK && found < 0)
        code = by_output_name(b, o->expr, list, q->n_visible, &found);
    if (code == GN_OK && found < 0) {
        gn_expr *e;
        code = gn_bind_known(b, o->expr, &e);
        for (uint32_t i = 0; i < list->n && code == GN_OK && found < 0; i++)
            if (gn_expr_equal(list->exprs[i], e))
                found = (int)i;
        if (code == GN_OK && found < 0 && q->distinct && !q->on)
            return gn_bind_fail(b, o->expr->position, GN_COLUMN_REFERENCE,
                                "for SELECT DISTINCT, ORDER BY expressions must appear in select list");
        if (code == GN_OK && found < 0) {
            code = add_target(b, list, e, "");
            found = (int)list->n - 1;
        }
    }
    if (code != GN_OK)
        return code;
    gn_type type = list->exprs[found]->type;
    if (has_no_order(type)) {
        gn_bind_fail(b, o->expr->position, GN_NO_FUNCTION, "could not identify an ordering operator for type %s",
                     gn_type_text(type));
        return gn_error_hint(b->err, "Use an explicit ordering operator or modify the query."), GN_NO_FUNCTION;
    }
    *target = (uint32_t)found;
    return GN_OK;
}

/* Volatile anywhere below? Then it must be computed once, not once for the order and again for the output. */
static bool is_volatile(const gn_expr *e)
{
    if (e->kind == GN_E_CALL && gn_function_volatility(e->function) == GN_VOLATILE)
        return true;
    for (uint32_t i = 0; i < e->n_args; i++)
        if (is_volatile(e->args[i]))
            return true;
    return false;
}

static gn_code bind_order_by(gn_binder *b, const gn_ast_query *ast, gn_query *q, target_list *list)
{
    uint32_t n = ast->order_by.n;
    if (n == 0)
        return GN_OK;
    b->clause = GN_IN_ORDER_BY;
    uint32_t *targets = gn_arena_calloc(b->arena, n + ast->distinct_on.n, sizeof *targets);
    q->sort = gn_arena_calloc(b->arena, n + ast->distinct_on.n, sizeof *q->sort);
    if (!targets || !q->sort)
        return gn_error_oom(b->err, gn_arena_account(b->arena));
    q->sort_targets = targets;
    q->sort_projected = q->distinct && !q->on;
    for (uint32_t i = 0; i < n; i++) {
        const gn_ast_order *o = &ast->order_by.items[i];
        gn_code code = bind_order_key(b, o, q, list, &targets[i]);
        if (code != GN_OK)
            return code;
        q->sort[i] = (gn_sort_key){.descending = o->descending, .nulls_first = o->nulls_first};
        q->sort_projected |= is_volatile(list->exprs[targets[i]]);
    }
    q->n_sort = n;
    return GN_OK;
}

/* Only now is it known which targets the order has, and whether it is over the projection. */
static gn_code settle_order(gn_binder *b, gn_query *q, const target_list *list)
{
    for (uint32_t i = 0; i < q->n_sort; i++) {
        gn_expr *key = list->exprs[q->sort_targets[i]];
        if (q->sort_projected) {
            gn_code code = gn_bind_node(b, GN_E_COLUMN, key->type, key->position, 0, &key);
            if (code != GN_OK)
                return code;
            key->column = q->sort_targets[i];
        }
        q->sort[i].expr = key;
    }
    return GN_OK;
}

/* ---- DISTINCT ON ---- */

/* The target that an item means, an ordinal, an output name or an expression; as ORDER BY's. */
static gn_code bind_on_item(gn_binder *b, const gn_ast_expr *ast, const gn_query *q, target_list *list, int *found)
{
    gn_code code = by_ordinal(b, ast, q->n_visible, found);
    if (code == GN_OK && *found < 0)
        code = by_output_name(b, ast, list, q->n_visible, found);
    gn_expr *e;
    if (code != GN_OK || *found >= 0 || (code = gn_bind_known(b, ast, &e)) != GN_OK)
        return code;
    for (uint32_t i = 0; i < list->n && *found < 0; i++)
        if (gn_expr_equal(list->exprs[i], e))
            *found = (int)i;
    if (*found >= 0)
        return GN_OK;
    *found = (int)list->n;
    return add_target(b, list, e, "");
}

static gn_code on_not_first(gn_binder *b, const gn_ast_expr *ast)
{
    return gn_bind_fail(b, ast->position, GN_COLUMN_REFERENCE,
                        "SELECT DISTINCT ON expressions must match initial ORDER BY expressions");
}

static bool is_on(const gn_query *q, uint32_t target, uint32_t *item)
{
    for (*item = 0; *item < q->n_on; (*item)++)
        if (q->on[*item] == target)
            return true;
    return false;
}

/* PostgreSQL's transformDistinctOnClause: ORDER BY begins with items of the list, in any order; those that it lacks
 * follow, if it has nothing else. */
static gn_code match_on_with_order(gn_binder *b, const gn_ast_exprs *asts, gn_query *q)
{
    gn_sort_key *sort = q->sort;
    uint32_t *targets = (uint32_t *)q->sort_targets, n = q->n_sort, item;
    bool skipped = false;
    for (uint32_t i = 0; i < n; i++) {
        bool on = is_on(q, targets[i], &item);
        if (on && skipped)
            return on_not_first(b, asts->items[item]);
        skipped |= !on;
    }
    for (uint32_t i = 0; i < q->n_on && n; i++) {
        bool sorted = false;
        for (uint32_t k = 0; k < q->n_sort && !sorted; k++)
            sorted = targets[k] == q->on[i];
        if (sorted)
            continue;
        if (skipped)
            return on_not_first(b, asts->items[i]);
        targets[q->n_sort] = q->on[i];
        sort[q->n_sort++] = (gn_sort_key){0};
    }
    return GN_OK;
}

static gn_code bind_distinct_on(gn_binder *b, const gn_ast_query *ast, gn_query *q, target_list *list)
{
    uint32_t *on = (uint32_t *)q->on;
    b->clause = GN_IN_DISTINCT_ON;
    for (uint32_t i = 0; i < ast->distinct_on.n; i++) {
        int found = -1;
        gn_code code = bind_on_item(b, ast->distinct_on.items[i], q, list, &found);
        if (code != GN_OK)
            return code;
        if (list->exprs[found]->type.id == GN_T_JSON)
            return gn_bind_fail(b, ast->distinct_on.items[i]->position, GN_NO_FUNCTION,
                                "could not identify an equality operator for type json");
        on[q->n_on++] = (uint32_t)found;
        q->sort_projected |= is_volatile(list->exprs[found]);
    }
    return match_on_with_order(b, &ast->distinct_on, q);
}

/* The groups' order is left out; see by_nearness. */
static void order_by_nearness(gn_query *q)
{
    q->by_nearness = true;
    q->sort = &q->sort[q->n_sort - 1];
    q->sort_targets = &q->sort_targets[q->n_sort - 1];
    q->n_sort = 1;
}

static bool contains_mark(const gn_expr *e, uint32_t mark)
{
    if (e->kind == GN_E_COLUMN && (e->column & mark))
        return true;
    for (uint32_t i = 0; i < e->n_args; i++)
        if (contains_mark(e->args[i], mark))
            return true;
    return false;
}

static gn_code bind_group_key(gn_binder *b, const gn_ast_expr *ast, gn_query *q, const target_list *list, gn_expr **out)
{
    int found;
    gn_code code = by_ordinal(b, ast, q->n_visible, &found);
    bool column = ast->kind == GN_A_COLUMN && !ast->column.table && gn_bind_has_column(b, ast->column.name);
    if (code == GN_OK && found < 0 && !column) /* an input column of the name goes before an output name */
        code = by_output_name(b, ast, list, q->n_visible, &found);
    if (code == GN_OK && found >= 0)
        *out = list->exprs[found];
    else if (code == GN_OK)
        code = gn_bind_known(b, ast, out);
    if (code == GN_OK && contains_mark(*out, GN_AGGREGATE_REF))
        return gn_bind_fail(b, ast->position, GN_GROUPING, "aggregate functions are not allowed in GROUP BY");
    if (code == GN_OK && contains_mark(*out, GN_WINDOW_REF))
        return gn_bind_fail(b, ast->position, GN_WINDOWING, "window functions are not allowed in GROUP BY");
    if (code == GN_OK && (*out)->type.id == GN_T_JSON)
        return gn_bind_fail(b, ast->position, GN_NO_FUNCTION, "could not identify an equality operator for type json");
    return code;
}

static gn_code bind_group_by(gn_binder *b, const gn_ast_query *ast, gn_query *q, const target_list *list)
{
    b->clause = GN_IN_GROUP_BY;
    q->keys = gn_arena_calloc(b->arena, ast->group_by.n + 1, sizeof *q->keys);
    if (!q->keys)
        return gn_error_oom(b->err, gn_arena_account(b->arena));
    for (uint32_t i = 0; i < ast->group_by.n; i++) {
        gn_expr *key;
        gn_code code = bind_group_key(b, ast->group_by.items[i], q, list, &key);
        if (code != GN_OK)
            return code;
        bool known = false;
        for (uint32_t k = 0; k < q->n_keys; k++)
            known |= gn_expr_equal(q->keys[k], key);
        if (!known)
            q->keys[q->n_keys++] = key;
    }
    return GN_OK;
}

static gn_code bind_limits(gn_binder *b, const gn_ast_query *ast, gn_query *q)
{
    gn_code code = GN_OK;
    gn_type bigint = gn_type_of(GN_T_INT8);
    b->clause = GN_IN_LIMIT;
    if (ast->limit)
        code = gn_bind_as(b, ast->limit, bigint, "LIMIT", &q->limit);
    b->clause = GN_IN_OFFSET;
    if (code == GN_OK && ast->offset)
        code = gn_bind_as(b, ast->offset, bigint, "OFFSET", &q->offset);
    return code;
}

static gn_code refuse_query_features(gn_binder *b, const gn_ast_query *ast)
{
    if (ast->with.n)
        return gn_bind_unsupported(b, ast->with.items[0].position, "WITH is not supported",
                                   "Run the queries one by one.");
    if (ast->kind >= GN_Q_UNION)
        return gn_bind_unsupported(b, ast->position, "UNION, INTERSECT and EXCEPT are not supported",
                                   "Run the queries one by one.");
    return GN_OK;
}

static gn_code check_distinct(gn_binder *b, const gn_query *q, const target_list *list)
{
    for (uint32_t i = 0; q->distinct && !q->on && i < list->n; i++)
        if (list->exprs[i]->type.id == GN_T_JSON)
            return gn_bind_fail(b, list->exprs[i]->position, GN_NO_FUNCTION,
                                "could not identify an equality operator for type json");
    return GN_OK;
}

/* WHERE, and what joins ask for. */
static gn_code bind_where(gn_binder *b, const gn_ast_query *ast, gn_expr *conditions, gn_expr **out)
{
    gn_expr *where = NULL, *both;
    b->clause = GN_IN_WHERE;
    gn_code code = ast->where ? gn_bind_boolean(b, ast->where, "WHERE", &where) : GN_OK;
    *out = where ? where : conditions;
    if (code != GN_OK || !where || !conditions)
        return code;
    code = gn_bind_node(b, GN_E_AND, gn_type_of(GN_T_BOOL), 0, 2, &both);
    if (code != GN_OK)
        return code;
    both->args[0] = conditions;
    both->args[1] = where;
    *out = both;
    return GN_OK;
}

static gn_code bind_select(gn_binder *b, const gn_plan_context *context, const gn_ast_query *ast, gn_query *q)
{
    target_list list = {0};
    gn_expr *where = NULL, *conditions = NULL;
    bool by_nearness = b->by_nearness;
    b->by_nearness = false;
    q->distinct = ast->distinct;
    if (ast->distinct_on.n && !(q->on = gn_arena_calloc(b->arena, ast->distinct_on.n, sizeof *q->on)))
        return gn_error_oom(b->err, gn_arena_account(b->arena));
    gn_code code = gn_bind_from(b, context, ast, q, &conditions);
    b->clause = GN_IN_SELECT;
    if (code == GN_OK)
        code = bind_target_list(b, &ast->targets, &list);
    q->n_visible = list.n;
    if (code == GN_OK)
        code = bind_where(b, ast, conditions, &where);
    b->clause = GN_IN_HAVING;
    if (code == GN_OK && ast->having)
        code = gn_bind_boolean(b, ast->having, "HAVING", &q->having);
    if (code == GN_OK)
        code = bind_order_by(b, ast, q, &list);
    if (code == GN_OK && q->on)
        code = bind_distinct_on(b, ast, q, &list);
    if (code == GN_OK && by_nearness)
        order_by_nearness(q);
    if (code == GN_OK)
        code = settle_order(b, q, &list);
    if (code == GN_OK)
        code = bind_group_by(b, ast, q, &list);
    if (code == GN_OK)
        code = check_distinct(b, q, &list);
    if (code == GN_OK)
        code = bind_limits(b, ast, q);
    if (code != GN_OK)
        return code;
    q->targets = list.exprs;
    q->columns = list.columns;
    q->n_targets = list.n;
    q->windows = b->windows;
    q->n_windows = b->n_windows;
    q->grouped = ast->group_by.n > 0 || ast->having || b->n_aggregates > 0;
    if (q->grouped)
        code = gn_bind_grouping(b, q);
    if (code == GN_OK)
        code = gn_bind_nearest_groups(b, context, ast, q);
    return code == GN_OK ? gn_plan_path(b, context, q, where, false) : code;
}

/* ---- VALUES ---- */

static gn_code bind_value_rows(gn_binder *b, const gn_ast_query *ast, gn_query *q)
{
    uint32_t n_columns = ast->rows.items[0].n;
    gn_expr ***rows = gn_arena_calloc(b->arena, ast->rows.n, sizeof *rows);
    if (!rows)
        return gn_error_oom(b->err, gn_arena_account(b->arena));
    for (uint32_t r = 0; r < ast->rows.n; r++) {
        const gn_ast_exprs *row = &ast->rows.items[r];
        if (row->n != n_columns)
            return gn_bind_fail(b, row->n ? row->items[0]->position : ast->position, GN_SYNTAX,
                                "VALUES lists must all be the same length");
        rows[r] = gn_arena_calloc(b->arena, n_columns + 1, sizeof *rows[r]);
        if (!rows[r])
            return gn_error_oom(b->err, gn_arena_account(b->arena));
        for (uint32_t c = 0; c < n_columns; c++) {
            gn_code code = gn_bind_expr(b, row->items[c], &rows[r][c]);
            if (code != GN_OK)
                return code;
        }
    }
    q->path = (gn_path){.kind = GN_PATH_VALUES, .rows = rows, .n_rows = ast->rows.n, .n_types = n_columns};
    return GN_OK;
}

static gn_code settle_value_column(gn_binder *b, gn_query *q, uint32_t c, gn_type *type)
{
    gn_expr **column = gn_arena_alloc(b->arena, q->path.n_rows * sizeof *column);
    if (!column)
        return gn_error_oom(b->err, gn_arena_account(b->arena));
    for (uint32_t r = 0; r < q->path.n_rows; r++)
        column[r] = q->path.rows[r][c];
    gn_code code = gn_bind_common_type(b, column, q->path.n_rows, "VALUES", type);
    for (uint32_t r = 0; r < q->path.n_rows; r++)
        q->path.rows[r][c] = column[r];
    return code;
}

static gn_code bind_values(gn_binder *b, const gn_ast_query *ast, gn_query *q)
{
    target_list list = {0};
    b->clause = GN_IN_VALUES;
    gn_code code = bind_value_rows(b, ast, q);
    if (code != GN_OK)
        return code;
    gn_type *types = gn_arena_alloc(b->arena, (q->path.n_types + 1) * sizeof *types);
    if (!types)
        return gn_error_oom(b->err, gn_arena_account(b->arena));
    q->path.types = types;
    for (uint32_t c = 0; c < q->path.n_types && code == GN_OK; c++) {
        gn_expr *column;
        char *name = gn_arena_printf(b->arena, "column%u", c + 1);
        code = settle_value_column(b, q, c, &types[c]);
        if (code == GN_OK)
            code = gn_bind_node(b, GN_E_COLUMN, types[c], 0, 0, &column);
        if (code != GN_OK)
            return code;
        if (!name)
            return gn_error_oom(b->err, gn_arena_account(b->arena));
        column->column = c;
        code = add_target(b, &list, column, name);
    }
    q->n_visible = list.n;
    if (code == GN_OK)
        code = bind_order_by(b, ast, q, &list);
    if (code == GN_OK)
        code = settle_order(b, q, &list);
    if (code == GN_OK)
        code = bind_limits(b, ast, q);
    q->targets = list.exprs;
    q->columns = list.columns;
    q->n_targets = list.n;
    q->path.rows_estimate = q->rows = ast->rows.n;
    return code;
}

gn_code gn_bind_query(gn_binder *b, const gn_plan_context *context, const gn_ast_query *ast, gn_query **out)
{
    gn_code code = refuse_query_features(b, ast);
    if (code != GN_OK)
        return code;
    gn_query *q = gn_arena_calloc(b->arena, 1, sizeof *q);
    if (!q)
        return gn_error_oom(b->err, gn_arena_account(b->arena));
    code = ast->kind == GN_Q_VALUES ? bind_values(b, ast, q) : bind_select(b, context, ast, q);
    *out = q;
    return code;
}
