/* Expressions: from syntax trees to typed trees. Depth is bounded by the parser (GN_MAX_NESTING), so recursion is. */
#include "base/limits.h"
#include "coord/bind_private.h"
#include "query/array.h"

#include <stdio.h>

static const struct {
    const char *name;
    const char *no_aggregates_in; /* how the refusal of an aggregate names it; NULL: allowed */
    bool columns;
} clauses[] = {
    [GN_IN_SELECT] = {"SELECT", NULL, true},
    [GN_IN_WHERE] = {"WHERE", "WHERE", true},
    [GN_IN_GROUP_BY] = {"GROUP BY", "GROUP BY", true},
    [GN_IN_DISTINCT_ON] = {"DISTINCT ON", NULL, true},
    [GN_IN_JOIN] = {"JOIN/ON", "JOIN conditions", true},
    [GN_IN_HAVING] = {"HAVING", NULL, true},
    [GN_IN_ORDER_BY] = {"ORDER BY", NULL, true},
    [GN_IN_LIMIT] = {"LIMIT", "LIMIT", false},
    [GN_IN_OFFSET] = {"OFFSET", "OFFSET", false},
    [GN_IN_VALUES] = {"VALUES", "VALUES", true},
    [GN_IN_UPDATE] = {"UPDATE", "UPDATE", true},
    [GN_IN_RETURNING] = {"RETURNING", "RETURNING", true},
    [GN_IN_DEFAULT] = {"DEFAULT", "DEFAULT expressions", false},
    [GN_IN_CHECK] = {"CHECK", "check constraints", true},
    [GN_IN_FROM] = {"FROM", "functions in FROM", true},
    [GN_IN_EXECUTE] = {"EXECUTE", "EXECUTE parameters", true},
    [GN_IN_COPY_WHERE] = {"WHERE", "COPY FROM WHERE conditions", true},
    [GN_IN_INDEX_EXPRESSION] = {"INDEX", "index expressions", true},
    [GN_IN_INDEX_PREDICATE] = {"WHERE", "index predicates", true},
};

const char *gn_clause_name(gn_clause clause)
{
    return clauses[clause].name;
}

const char *gn_clause_without_aggregates(gn_clause clause)
{
    return clauses[clause].no_aggregates_in;
}

/* ---- nodes and errors ---- */

gn_code gn_bind_fail(gn_binder *b, int position, gn_code code, const char *format, ...)
{
    char message[sizeof((gn_error *)0)->message];
    va_list ap;
    va_start(ap, format);
    vsnprintf(message, sizeof message, format, ap);
    va_end(ap);
    gn_error_set(b->err, code, "%s", message);
    if (!b->stored)
        gn_error_at(b->err, position);
    return code;
}

gn_code gn_bind_unsupported(gn_binder *b, int position, const char *what, const char *hint)
{
    gn_bind_fail(b, position, GN_FEATURE, "%s", what);
    if (hint)
        gn_error_hint(b->err, "%s", hint);
    return GN_FEATURE;
}

gn_code gn_bind_node(gn_binder *b, gn_expr_kind kind, gn_type type, int position, uint32_t n_args, gn_expr **out)
{
    gn_expr *e = gn_arena_calloc(b->arena, 1, sizeof *e);
    gn_expr **args = n_args ? gn_arena_calloc(b->arena, n_args, sizeof *args) : NULL;
    if (!e || (n_args && !args))
        return gn_error_oom(b->err, gn_arena_account(b->arena));
    *e = (gn_expr){.kind = kind, .type = type, .position = b->stored ? 0 : position, .n_args = n_args, .args = args};
    *out = e;
    return GN_OK;
}

int gn_expr_start(const gn_expr *e)
{
    int start = e->position;
    for (uint32_t i = 0; i < e->n_args; i++) {
        int at = gn_expr_start(e->args[i]);
        if (at && (!start || at < start))
            start = at;
    }
    return start;
}

gn_code gn_bind_const(gn_binder *b, const gn_value *value, int position, gn_expr **out)
{
    gn_code code = gn_bind_node(b, GN_E_CONST, value->type, position, 0, out);
    if (code == GN_OK)
        (*out)->value = *value;
    return code;
}

gn_code gn_bind_remember(gn_binder *b, gn_expr ***list, uint32_t *n, uint32_t *capacity, gn_expr *node)
{
    if (*n == *capacity) {
        uint32_t more = *capacity ? *capacity * 2 : 16;
        gn_expr **items = gn_arena_alloc(b->arena, more * sizeof *items);
        if (!items)
            return gn_error_oom(b->err, gn_arena_account(b->arena));
        if (*n)
            memcpy(items, *list, *n * sizeof *items);
        *list = items;
        *capacity = more;
    }
    (*list)[(*n)++] = node;
    return GN_OK;
}

gn_code gn_binder_init(gn_binder *b, gn_arena *arena, const gn_format *format, uint32_t n_params, const gn_type *given,
                       uint32_t n_given, gn_error *err)
{
    *b = (gn_binder){.arena = arena, .err = err, .format = format};
    b->n_params = n_params > n_given ? n_params : n_given;
    if (b->n_params > GN_MAX_PARAMETERS)
        return gn_error_set(err, GN_LIMIT, "a statement may have at most %d parameters", GN_MAX_PARAMETERS);
    b->params = gn_arena_alloc(arena, (b->n_params + 1) * sizeof *b->params);
    if (!b->params)
        return gn_error_oom(err, gn_arena_account(arena));
    for (uint32_t i = 0; i < b->n_params; i++)
        b->params[i] = i < n_given && given[i].id != GN_T_NONE ? given[i] : gn_type_of(GN_T_UNKNOWN);
    return GN_OK;
}

gn_code gn_binder_finish(gn_binder *b)
{
    for (uint32_t i = 0; i < b->n_param_nodes; i++) {
        gn_expr *node = b->param_nodes[i];
        if (gn_type_is(b->params[node->column], GN_T_UNKNOWN))
            return gn_bind_fail(b, node->position, GN_INDETERMINATE_TYPE,
                                "could not determine data type of parameter $%u", node->column + 1);
        node->type = b->params[node->column];
    }
    for (uint32_t i = 0; i < b->n_params; i++)
        if (gn_type_is(b->params[i], GN_T_UNKNOWN))
            return gn_bind_fail(b, 0, GN_INDETERMINATE_TYPE, "could not determine data type of parameter $%u", i + 1);
    return GN_OK;
}

/* ---- columns ---- */

const char *gn_relation_column(const gn_relation *r, uint32_t ordinal)
{
    if (r->table && !gn_column_is_shown(&r->table->columns[ordinal]))
        return NULL;
    if (r->names && r->names[ordinal])
        return r->names[ordinal];
    return r->table->columns[ordinal].name;
}

gn_type gn_relation_type(const gn_relation *r, uint32_t ordinal)
{
    return r->table ? r->table->columns[ordinal].type : r->types[ordinal];
}

enum { NO_COLUMN = -1, AMBIGUOUS = -2 };

static int find_in(const gn_relation *r, const char *name)
{
    int found = NO_COLUMN;
    if (!r->names)
        return gn_table_column_by_name(r->table, gn_bytes_str(name));
    for (uint32_t i = 0; i < r->n_columns; i++) {
        const char *column = gn_relation_column(r, i);
        if (column && strcmp(column, name) == 0)
            found = found == NO_COLUMN ? (int)i : AMBIGUOUS;
    }
    return found;
}

/* The column that the name means among the relations of one query. *r NULL: a table is named that is not there. */
static int find_column(const gn_binder *b, const gn_ast_expr *ast, const gn_relation **r)
{
    const char *table = ast->column.table, *name = ast->column.name;
    int found = NO_COLUMN;
    *r = NULL;
    if (table && ast->column.schema && strcmp(ast->column.schema, "public") != 0)
        return NO_COLUMN;
    for (uint32_t i = 0; i < b->n_relations && found != AMBIGUOUS; i++) {
        const gn_relation *at = &b->relations[i];
        if (table ? strcmp(at->name, table) != 0 : at->qualified_only)
            continue;
        int in = find_in(at, name);
        if (in != NO_COLUMN)
            found = found == NO_COLUMN ? in : AMBIGUOUS;
        if (in != NO_COLUMN || (table && !*r))
            *r = at;
    }
    return found;
}

bool gn_bind_has_column(const gn_binder *b, const char *name)
{
    for (uint32_t i = 0; i < b->n_relations; i++)
        if (!b->relations[i].qualified_only && find_in(&b->relations[i], name) != NO_COLUMN)
            return true;
    return false;
}

gn_code gn_bind_column_of(gn_binder *b, const gn_relation *r, uint32_t ordinal, int position, gn_expr **out)
{
    gn_type type = gn_relation_type(r, ordinal);
    gn_code code = gn_bind_node(b, r->as_params ? GN_E_PARAM : GN_E_COLUMN, type, position, 0, out);
    if (code != GN_OK)
        return code;
    (*out)->column = r->as_params  ? b->n_params + r->base + ordinal
                     : r->appended ? GN_APPENDED | (r->base + ordinal)
                                   : ordinal;
    return r->as_params ? GN_OK : gn_bind_remember(b, &b->columns, &b->n_columns, &b->cap_columns, *out);
}

static const gn_relation *relation_named(const gn_binder *b, const char *name)
{
    for (uint32_t i = 0; i < b->n_relations; i++)
        if (strcmp(b->relations[i].name, name) == 0)
            return &b->relations[i];
    return NULL;
}

gn_code gn_bind_no_table(gn_binder *b, const char *table, int position)
{
    for (uint32_t i = 0; i < b->n_relations; i++) {
        const gn_relation *r = &b->relations[i];
        if (!r->table || strcmp(r->table->name, table) != 0 || strcmp(r->name, table) == 0)
            continue;
        gn_bind_fail(b, position, GN_NO_TABLE, "invalid reference to FROM-clause entry for table \"%s\"", table);
        gn_error_hint(b->err, "Perhaps you meant to reference the table alias \"%s\".", r->name);
        return GN_NO_TABLE;
    }
    return gn_bind_fail(b, position, GN_NO_TABLE, "missing FROM-clause entry for table \"%s\"", table);
}

static gn_code no_such_column(gn_binder *b, const gn_ast_expr *ast)
{
    const char *table = ast->column.table, *name = ast->column.name;
    if (!clauses[b->clause].columns && !b->n_relations)
        return gn_bind_fail(b, ast->position, GN_FEATURE, "cannot use column reference in %s expression",
                            gn_clause_name(b->clause));
    if (table)
        return gn_bind_fail(b, ast->position, GN_NO_COLUMN, "column %s.%s does not exist", table, name);
    if (relation_named(b, name))
        return gn_bind_unsupported(b, ast->position, "a whole row as a value is not supported", "Name its columns.");
    return gn_bind_fail(b, ast->position, GN_NO_COLUMN, "column \"%s\" does not exist", name);
}

static gn_code no_such_table(gn_binder *b, const gn_ast_expr *ast)
{
    const char *table = ast->column.table;
    const gn_binder *scope = b;
    while (scope && !relation_named(scope, table))
        scope = scope->outer;
    if (!scope)
        return gn_bind_no_table(b, table, ast->position);
    gn_bind_fail(b, ast->position, GN_NO_TABLE, "invalid reference to FROM-clause entry for table \"%s\"", table);
    gn_error_hint(
        b->err, "There is an entry for table \"%s\", but it cannot be referenced from this part of the query.", table);
    return GN_NO_TABLE;
}

static gn_code ambiguous(gn_binder *b, const gn_ast_expr *ast)
{
    return gn_bind_fail(b, ast->position, GN_AMBIGUOUS_COLUMN, "column reference \"%s\" is ambiguous",
                        ast->column.name);
}

/* A column of a query further out. *found false: there is none, too. */
static gn_code bind_outer_column(gn_binder *b, const gn_ast_expr *ast, bool *found, gn_expr **out)
{
    for (gn_binder *scope = b; scope->outer; scope = scope->outer) {
        const gn_relation *r;
        int ordinal = scope->lateral ? find_column(scope->outer, ast, &r) : NO_COLUMN;
        if (ordinal == AMBIGUOUS)
            return ambiguous(b, ast);
        if (ordinal == NO_COLUMN)
            continue;
        *found = true;
        return gn_bind_slot(b, scope, r, (uint32_t)ordinal, ast->position, out);
    }
    return GN_OK;
}

static gn_code bind_column(gn_binder *b, const gn_ast_expr *ast, gn_expr **out)
{
    const gn_relation *r;
    int ordinal = find_column(b, ast, &r);
    bool outer = false;
    if (ordinal == NO_COLUMN && !r) {
        gn_code code = bind_outer_column(b, ast, &outer, out);
        if (code != GN_OK || outer)
            return code;
        if (ast->column.table)
            return no_such_table(b, ast);
    }
    if (ordinal == AMBIGUOUS)
        return ambiguous(b, ast);
    if (ordinal == NO_COLUMN)
        return no_such_column(b, ast);
    if (b->clause == GN_IN_LIMIT || b->clause == GN_IN_OFFSET)
        return gn_bind_fail(b, ast->position, GN_COLUMN_REFERENCE, "argument of %s must not contain variables",
                            gn_clause_name(b->clause));
    return gn_bind_column_of(b, r, (uint32_t)ordinal, ast->position, out);
}

/* ---- literals and parameters ---- */

static gn_code bind_integer(gn_binder *b, const gn_ast_expr *ast, gn_expr **out)
{
    gn_value v = {.type = gn_type_of(GN_T_INT8)};
    v.as.i64 = ast->integer;
    if (ast->integer >= INT32_MIN && ast->integer <= INT32_MAX) {
        v.type = gn_type_of(GN_T_INT4);
        v.as.i32 = (int32_t)ast->integer;
    }
    return gn_bind_const(b, &v, ast->position, out);
}

static gn_code bind_literal(gn_binder *b, const gn_ast_expr *ast, gn_expr **out)
{
    gn_value v = gn_value_null(gn_type_of(GN_T_UNKNOWN));
    switch (ast->kind) {
    case GN_A_NULL:
        break;
    case GN_A_BOOLEAN:
        v = (gn_value){.type = gn_type_of(GN_T_BOOL), .as.boolean = ast->boolean};
        break;
    case GN_A_NUMERIC: {
        gn_code code = gn_value_parse(ast->text, gn_type_of(GN_T_NUMERIC), b->format, b->arena, &v, b->err);
        if (code != GN_OK) {
            if (!b->stored)
                gn_error_at(b->err, ast->position);
            return code;
        }
        break;
    }
    default:
        v = (gn_value){.type = gn_type_of(GN_T_UNKNOWN), .as.bytes = ast->text};
    }
    return gn_bind_const(b, &v, ast->position, out);
}

static gn_code bind_param(gn_binder *b, const gn_ast_expr *ast, gn_expr **out)
{
    uint32_t n = ast->parameter;
    if (n == 0 || n > b->n_params || b->stored)
        return gn_bind_fail(b, ast->position, GN_NO_PARAMETER, "there is no parameter $%u", n);
    gn_code code = gn_bind_node(b, GN_E_PARAM, b->params[n - 1], ast->position, 0, out);
    if (code != GN_OK)
        return code;
    (*out)->column = n - 1;
    return gn_bind_remember(b, &b->param_nodes, &b->n_param_nodes, &b->cap_param_nodes, *out);
}

/* ---- what several kinds need ---- */

static gn_code bind_list(gn_binder *b, const gn_ast_exprs *list, gn_expr ***out)
{
    gn_expr **items = gn_arena_calloc(b->arena, list->n + 1, sizeof *items);
    if (!items)
        return gn_error_oom(b->err, gn_arena_account(b->arena));
    for (uint32_t i = 0; i < list->n; i++) {
        gn_code code = gn_bind_expr(b, list->items[i], &items[i]);
        if (code != GN_OK)
            return code;
    }
    *out = items;
    return GN_OK;
}

gn_code gn_bind_common_type(gn_binder *b, gn_expr **items, uint32_t n, const char *what, gn_type *common)
{
    gn_type *types = gn_arena_alloc(b->arena, (n + 1) * sizeof *types);
    if (!types)
        return gn_error_oom(b->err, gn_arena_account(b->arena));
    gn_code code = GN_OK;
    for (uint32_t i = 0; i < n; i++) {
        types[i] = items[i]->type;
        gn_type upto;
        if (i > 0 && code == GN_OK && gn_type_common(types, i + 1, &upto, NULL) != GN_OK) {
            gn_type before;
            gn_type_common(types, i, &before, NULL);
            code = gn_bind_fail(b, gn_expr_start(items[i]), GN_TYPE_MISMATCH, "%s types %s and %s cannot be matched",
                                what, gn_type_text(before), gn_type_text(types[i]));
        }
    }
    if (code == GN_OK)
        code = gn_type_common(types, n, common, b->err);
    for (uint32_t i = 0; i < n && code == GN_OK; i++)
        code = gn_coerce(b, items[i], *common, GN_CAST_IMPLICIT, &items[i]);
    return code;
}

static gn_code coerce_boolean(gn_binder *b, gn_expr *e, const char *what, gn_expr **out)
{
    gn_type boolean = gn_type_of(GN_T_BOOL);
    if (!gn_can_coerce(e, boolean, GN_CAST_IMPLICIT))
        return gn_bind_fail(b, gn_expr_start(e), GN_TYPE_MISMATCH, "argument of %s must be type boolean, not type %s",
                            what, gn_type_text(e->type));
    return gn_coerce(b, e, boolean, GN_CAST_IMPLICIT, out);
}

static gn_code negate(gn_binder *b, bool negated, int position, gn_expr **e)
{
    if (!negated)
        return GN_OK;
    gn_expr *not_;
    gn_code code = gn_bind_node(b, GN_E_NOT, gn_type_of(GN_T_BOOL), position, 1, &not_);
    if (code == GN_OK) {
        not_->args[0] = *e;
        *e = not_;
    }
    return code;
}

/* A node of `kind` over these arguments. */
static gn_code wrap(gn_binder *b, gn_expr_kind kind, gn_type type, int position, gn_expr **args, uint32_t n,
                    gn_expr **out)
{
    gn_code code = gn_bind_node(b, kind, type, position, 0, out);
    if (code == GN_OK) {
        (*out)->args = args;
        (*out)->n_args = n;
    }
    return code;
}

/* ---- boolean operators and tests ---- */

static gn_code bind_logic(gn_binder *b, const gn_ast_expr *ast, gn_expr_kind kind, const char *what, gn_expr **out)
{
    gn_expr **args;
    gn_code code = bind_list(b, &ast->args, &args);
    for (uint32_t i = 0; i < ast->args.n && code == GN_OK; i++)
        code = coerce_boolean(b, args[i], what, &args[i]);
    return code == GN_OK ? wrap(b, kind, gn_type_of(GN_T_BOOL), ast->position, args, ast->args.n, out) : code;
}

static gn_code bind_is_null(gn_binder *b, const gn_ast_expr *ast, gn_expr **out)
{
    gn_expr **args;
    gn_code code = bind_list(b, &ast->args, &args);
    if (code == GN_OK && args[0]->kind == GN_E_CONST)
        code = gn_coerce_unknown_to_text(b, &args[0]);
    gn_expr_kind kind = ast->negated ? GN_E_IS_NOT_NULL : GN_E_IS_NULL;
    return code == GN_OK ? wrap(b, kind, gn_type_of(GN_T_BOOL), ast->position, args, 1, out) : code;
}

/* x IS UNKNOWN is x IS NULL of a boolean. */
static gn_code bind_is_truth(gn_binder *b, const gn_ast_expr *ast, gn_expr **out)
{
    static const struct {
        gn_expr_kind kind;
        const char *what[2];
    } tests[] = {{GN_E_IS_TRUE, {"IS TRUE", "IS NOT TRUE"}},
                 {GN_E_IS_FALSE, {"IS FALSE", "IS NOT FALSE"}},
                 {GN_E_IS_NULL, {"IS UNKNOWN", "IS NOT UNKNOWN"}}};
    int test = ast->kind == GN_A_IS_TRUE ? 0 : ast->kind == GN_A_IS_FALSE ? 1 : 2;
    gn_expr **args;
    gn_code code = bind_list(b, &ast->args, &args);
    if (code == GN_OK)
        code = coerce_boolean(b, args[0], tests[test].what[ast->negated], &args[0]);
    if (code == GN_OK)
        code = wrap(b, tests[test].kind, gn_type_of(GN_T_BOOL), ast->position, args, 1, out);
    return code == GN_OK ? negate(b, ast->negated, ast->position, out) : code;
}

static gn_code bind_is_distinct(gn_binder *b, const gn_ast_expr *ast, gn_expr **out)
{
    gn_expr **args, *equal;
    gn_type common;
    gn_code code = bind_list(b, &ast->args, &args);
    if (code == GN_OK) /* whether the types compare at all is for "=" to say */
        code = gn_bind_function(b, "=", true, args, 2, ast->position, &equal);
    if (code == GN_OK)
        code = gn_bind_common_type(b, args, 2, "IS DISTINCT FROM", &common);
    if (code == GN_OK)
        code = wrap(b, GN_E_IS_DISTINCT, gn_type_of(GN_T_BOOL), ast->position, args, 2, out);
    return code == GN_OK ? negate(b, ast->negated, ast->position, out) : code;
}

/* ---- comparisons with several ---- */

static gn_code compare(gn_binder *b, const char *op, gn_expr *left, gn_expr *right, int position, gn_expr **out)
{
    gn_expr *args[2] = {left, right};
    return gn_bind_function(b, op, true, args, 2, position, out);
}

static gn_code both(gn_binder *b, gn_expr_kind kind, gn_expr *left, gn_expr *right, int position, gn_expr **out)
{
    gn_code code = gn_bind_node(b, kind, gn_type_of(GN_T_BOOL), position, 2, out);
    if (code == GN_OK) {
        (*out)->args[0] = left;
        (*out)->args[1] = right;
    }
    return code;
}

/* Everything is bound anew for each comparison: no two trees share a node, since the planner rewrites nodes. */
static gn_code compare_anew(gn_binder *b, const char *op, const gn_ast_expr *left, const gn_ast_expr *right,
                            int position, gn_expr **out)
{
    gn_expr *args[2];
    gn_code code = gn_bind_expr(b, left, &args[0]);
    if (code == GN_OK)
        code = gn_bind_expr(b, right, &args[1]);
    return code == GN_OK ? gn_bind_function(b, op, true, args, 2, position, out) : code;
}

static gn_code between(gn_binder *b, const gn_ast_expr *ast, uint32_t lo, uint32_t hi, gn_expr **out)
{
    gn_expr *above, *below;
    gn_code code = compare_anew(b, ">=", ast->args.items[0], ast->args.items[lo], ast->position, &above);
    if (code == GN_OK)
        code = compare_anew(b, "<=", ast->args.items[0], ast->args.items[hi], ast->position, &below);
    return code == GN_OK ? both(b, GN_E_AND, above, below, ast->position, out) : code;
}

static gn_code bind_between(gn_binder *b, const gn_ast_expr *ast, gn_expr **out)
{
    gn_code code = between(b, ast, 1, 2, out);
    if (code == GN_OK && ast->symmetric) {
        gn_expr *turned;
        code = between(b, ast, 2, 1, &turned);
        if (code == GN_OK)
            code = both(b, GN_E_OR, *out, turned, ast->position, out);
    }
    return code == GN_OK ? negate(b, ast->negated, ast->position, out) : code;
}

/* As PostgreSQL: one common type if there is one, so that the list can be hashed; else "=" for each, with its error. */
static gn_code bind_in(gn_binder *b, const gn_ast_expr *ast, gn_expr **out)
{
    gn_expr **args;
    gn_type common;
    gn_code code = bind_list(b, &ast->args, &args);
    for (uint32_t i = 1; i < ast->args.n && code == GN_OK; i++) {
        gn_expr *unused; /* for the error "operator does not exist" at its place, and to settle parameters */
        code = compare(b, "=", args[0], args[i], ast->position, &unused);
    }
    if (code == GN_OK)
        code = gn_bind_common_type(b, args, ast->args.n, "IN", &common);
    if (code == GN_OK)
        code = wrap(b, GN_E_IN, gn_type_of(GN_T_BOOL), ast->position, args, ast->args.n, out);
    return code == GN_OK ? negate(b, ast->negated, ast->position, out) : code;
}

/* x op ANY (array): the operator is resolved on the array's elements. */
static gn_code bind_any(gn_binder *b, const gn_ast_expr *ast, gn_expr **out)
{
    gn_expr *x, *array;
    gn_code code = gn_bind_expr(b, ast->args.items[0], &x);
    if (code == GN_OK)
        code = gn_bind_expr(b, ast->args.items[1], &array);
    if (code != GN_OK)
        return code;
    if (gn_type_is(array->type, GN_T_UNKNOWN)) {
        code = gn_coerce_unknown_to_text(b, &x);
        if (code == GN_OK)
            code = gn_coerce(b, array, gn_type_array_of(x->type.id), GN_CAST_IMPLICIT, &array);
        if (code != GN_OK)
            return code;
    }
    if (!array->type.is_array)
        return gn_bind_fail(b, ast->position, GN_WRONG_OBJECT_TYPE, "op ANY/ALL (array) requires array on right side");
    gn_type types[2] = {x->type, gn_type_of(array->type.id)}, to[2], result;
    const gn_function *f;
    code = gn_function_resolve(gn_bytes_str(ast->op), true, types, 2, &f, to, &result, b->err);
    if (code != GN_OK) {
        gn_error_at(b->err, b->stored ? 0 : ast->position);
        return code;
    }
    if (!gn_type_is(result, GN_T_BOOL))
        return gn_bind_fail(b, ast->position, GN_WRONG_OBJECT_TYPE,
                            "op ANY/ALL (array) requires operator to yield boolean");
    to[0].typmod = to[1].typmod = -1;
    to[1].is_array = true;
    code = gn_coerce(b, x, to[0], GN_CAST_IMPLICIT, &x);
    if (code == GN_OK)
        code = gn_coerce(b, array, to[1], GN_CAST_IMPLICIT, &array);
    if (code == GN_OK)
        code = both(b, ast->kind == GN_A_ANY ? GN_E_ANY : GN_E_ALL, x, array, ast->position, out);
    if (code == GN_OK)
        (*out)->function = f;
    return code;
}

/* ---- conditional expressions ---- */

/* CASE x WHEN y ... is CASE WHEN x = y ... */
static gn_code bind_when(gn_binder *b, const gn_ast_expr *when, gn_expr *operand, gn_expr **out)
{
    gn_code code = gn_bind_expr(b, when, out);
    if (code != GN_OK)
        return code;
    if (operand)
        code = compare(b, "=", operand, *out, when->position, out);
    return code == GN_OK ? coerce_boolean(b, *out, "CASE/WHEN", out) : code;
}

static gn_code bind_case(gn_binder *b, const gn_ast_expr *ast, gn_expr **out)
{
    uint32_t n_when = ast->args.n / 2;
    gn_expr *operand = NULL, *e;
    gn_expr **results = gn_arena_calloc(b->arena, n_when + 1, sizeof *results);
    if (!results)
        return gn_error_oom(b->err, gn_arena_account(b->arena));
    gn_code code = gn_bind_node(b, GN_E_CASE, gn_type_of(GN_T_UNKNOWN), ast->position, 2 * n_when + 1, &e);
    if (code == GN_OK && ast->cases.operand)
        code = gn_bind_known(b, ast->cases.operand, &operand);
    for (uint32_t i = 0; i < n_when && code == GN_OK; i++) {
        code = bind_when(b, ast->args.items[2 * i], operand, &e->args[2 * i]);
        if (code == GN_OK)
            code = gn_bind_expr(b, ast->args.items[2 * i + 1], &results[i]);
    }
    gn_value null = gn_value_null(gn_type_of(GN_T_UNKNOWN));
    if (code == GN_OK)
        code = ast->cases.otherwise ? gn_bind_expr(b, ast->cases.otherwise, &results[n_when])
                                    : gn_bind_const(b, &null, ast->position, &results[n_when]);
    if (code == GN_OK)
        code = gn_bind_common_type(b, results, n_when + 1, "CASE", &e->type);
    if (code != GN_OK)
        return code;
    for (uint32_t i = 0; i < n_when; i++)
        e->args[2 * i + 1] = results[i];
    e->args[2 * n_when] = results[n_when];
    *out = e;
    return GN_OK;
}

static gn_code bind_same_type(gn_binder *b, const gn_ast_expr *ast, gn_expr_kind kind, const char *what, gn_expr **out)
{
    gn_expr **args;
    gn_type common;
    gn_code code = bind_list(b, &ast->args, &args);
    if (code == GN_OK)
        code = gn_bind_common_type(b, args, ast->args.n, what, &common);
    return code == GN_OK ? wrap(b, kind, common, ast->position, args, ast->args.n, out) : code;
}

static gn_code bind_nullif(gn_binder *b, const gn_ast_expr *ast, gn_expr **out)
{
    gn_expr **args, *equal;
    gn_type common;
    gn_code code = bind_list(b, &ast->args, &args);
    if (code == GN_OK)
        code = gn_bind_function(b, "=", true, args, 2, ast->position, &equal);
    if (code == GN_OK)
        code = gn_coerce_unknown_to_text(b, &args[0]);
    gn_type result = code == GN_OK ? args[0]->type : gn_type_of(GN_T_TEXT);
    if (code == GN_OK)
        code = gn_bind_common_type(b, args, 2, "NULLIF", &common);
    if (code == GN_OK)
        code = wrap(b, GN_E_NULLIF, common, ast->position, args, 2, out);
    return code == GN_OK && gn_can_coerce(*out, result, GN_CAST_ASSIGNMENT)
               ? gn_coerce(b, *out, result, GN_CAST_ASSIGNMENT, out)
               : code;
}

/* ---- arrays ---- */

static gn_code bind_array(gn_binder *b, const gn_ast_expr *ast, gn_expr **out)
{
    if (ast->args.n == 0) {
        gn_bind_fail(b, ast->position, GN_INDETERMINATE_TYPE, "cannot determine type of empty array");
        gn_error_hint(b->err, "Explicitly cast to the desired type, for example ARRAY[]::integer[].");
        return GN_INDETERMINATE_TYPE;
    }
    gn_expr **args;
    gn_type common;
    gn_code code = bind_list(b, &ast->args, &args);
    if (code == GN_OK)
        code = gn_bind_common_type(b, args, ast->args.n, "ARRAY", &common);
    if (code != GN_OK)
        return code;
    common.is_array = true;
    common.typmod = -1;
    return wrap(b, GN_E_ARRAY, common, ast->position, args, ast->args.n, out);
}

/* ARRAY[...]::type[]: each item is cast, so that they need no common type, and there may be none. */
static gn_code bind_array_as(gn_binder *b, const gn_ast_expr *ast, gn_type to, gn_expr **out)
{
    uint32_t n = ast->args.n;
    gn_type element = {.id = to.id, .is_array = false, .typmod = to.typmod};
    gn_code code = gn_bind_node(b, GN_E_ARRAY, gn_type_array_of((gn_type_id)to.id), ast->position, n, out);
    for (uint32_t i = 0; i < n && code == GN_OK; i++) {
        const gn_ast_expr *item = ast->args.items[i];
        gn_expr *e;
        if (item->kind == GN_A_ARRAY) {
            code = bind_array_as(b, item, to, &(*out)->args[i]);
            continue;
        }
        code = gn_bind_expr(b, item, &e);
        gn_type wanted = code == GN_OK && e->type.is_array ? to : element;
        if (code == GN_OK && !gn_can_coerce(e, wanted, GN_CAST_EXPLICIT))
            return gn_bind_fail(b, gn_expr_start(e), GN_CANNOT_COERCE, "cannot cast type %s to %s",
                                gn_type_text(e->type), gn_type_text(wanted));
        if (code == GN_OK)
            code = gn_coerce(b, e, wanted, GN_CAST_EXPLICIT, &(*out)->args[i]);
    }
    if (code == GN_OK && n > 0)
        for (uint32_t i = 1; i < n; i++)
            if ((*out)->args[i]->type.is_array != (*out)->args[0]->type.is_array)
                return gn_bind_fail(b, gn_expr_start((*out)->args[i]), GN_ARRAY_SUBSCRIPT,
                                    "multidimensional arrays must have array expressions with matching dimensions");
    return code;
}

static gn_code bind_bound(gn_binder *b, const gn_ast_expr *ast, gn_expr **out)
{
    gn_type integer = gn_type_of(GN_T_INT4);
    gn_value one = {.type = integer, .as.i32 = 1};
    if (!ast)
        return gn_bind_const(b, &one, 0, out);
    gn_code code = gn_bind_expr(b, ast, out);
    if (code == GN_OK && !gn_can_coerce(*out, integer, GN_CAST_ASSIGNMENT))
        return gn_bind_fail(b, gn_expr_start(*out), GN_TYPE_MISMATCH, "array subscript must have type integer");
    return code == GN_OK ? gn_coerce(b, *out, integer, GN_CAST_ASSIGNMENT, out) : code;
}

/* One SLICE among the subscripts makes slices of all: [n] is then [1:n]. */
static gn_code bind_subscript(gn_binder *b, const gn_ast_expr *ast, gn_expr **out)
{
    uint32_t n = ast->args.n - 1;
    bool slice = false;
    gn_expr *array;
    gn_code code = gn_bind_known(b, ast->args.items[0], &array);
    if (code != GN_OK)
        return code;
    if (!array->type.is_array)
        return gn_bind_fail(b, ast->args.items[0]->position, GN_TYPE_MISMATCH,
                            "cannot subscript type %s because it does not support subscripting",
                            gn_type_text(array->type));
    if (n > GN_ARRAY_DIMENSIONS)
        return gn_bind_fail(b, ast->position, GN_LIMIT,
                            "number of array dimensions (%u) exceeds the maximum allowed (%d)", n,
                            (int)GN_ARRAY_DIMENSIONS);
    for (uint32_t i = 1; i <= n; i++)
        slice |= ast->args.items[i]->kind == GN_A_SLICE;
    gn_type type = slice ? array->type : gn_type_of((gn_type_id)array->type.id);
    code = gn_bind_node(b, slice ? GN_E_SLICE : GN_E_SUBSCRIPT, type, ast->position, 1 + (slice ? 2 * n : n), out);
    if (code != GN_OK)
        return code;
    gn_expr *e = *out;
    e->args[0] = array;
    for (uint32_t i = 0; i < n && code == GN_OK; i++) {
        const gn_ast_expr *at = ast->args.items[i + 1];
        bool whole = at->kind == GN_A_SLICE;
        if (!slice) {
            code = bind_bound(b, at, &e->args[i + 1]);
            continue;
        }
        code = bind_bound(b, whole ? at->slice.lower : NULL, &e->args[2 * i + 1]);
        if (code == GN_OK)
            code = bind_bound(b, whole ? at->slice.upper : at, &e->args[2 * i + 2]);
        if (whole)
            e->column |= (at->slice.lower ? 0 : 1u) << 2 * i | (at->slice.upper ? 0 : 2u) << 2 * i;
    }
    return code;
}

/* ---- casts, collations ---- */

static gn_code bind_cast(gn_binder *b, const gn_ast_expr *ast, gn_expr **out)
{
    gn_type to;
    gn_code code = gn_bind_type(b->arena, ast->type, &to, b->err);
    if (code != GN_OK)
        return code;
    const gn_ast_expr *inner = ast->args.items[0];
    if (inner->kind == GN_A_ARRAY && to.is_array)
        return bind_array_as(b, inner, to, out);
    gn_expr *e;
    code = gn_bind_expr(b, inner, &e);
    if (code == GN_OK && !gn_can_coerce(e, to, GN_CAST_EXPLICIT))
        return gn_bind_fail(b, ast->position, GN_CANNOT_COERCE, "cannot cast type %s to %s", gn_type_text(e->type),
                            gn_type_text(to));
    return code == GN_OK ? gn_coerce(b, e, to, GN_CAST_EXPLICIT, out) : code;
}

static gn_code bind_collate(gn_binder *b, const gn_ast_expr *ast, gn_expr **out)
{
    const char *name = ast->collation->name;
    if (strcmp(name, "C") != 0 && strcmp(name, "POSIX") != 0 && strcmp(name, "default") != 0 &&
        strcmp(name, "ucs_basic") != 0) {
        gn_bind_fail(b, ast->position, GN_NO_OBJECT, "collation \"%s\" for encoding \"UTF8\" does not exist", name);
        gn_error_hint(b->err, "Text is ordered by its bytes, as by the collation \"C\".");
        return GN_NO_OBJECT;
    }
    return gn_bind_known(b, ast->args.items[0], out);
}

/* ---- dispatch ---- */

gn_code gn_bind_expr(gn_binder *b, const gn_ast_expr *ast, gn_expr **out)
{
    gn_expr **args;
    gn_code code;
    switch ((gn_ast_expr_kind)ast->kind) {
    case GN_A_INTEGER:
        return bind_integer(b, ast, out);
    case GN_A_NULL:
    case GN_A_BOOLEAN:
    case GN_A_NUMERIC:
    case GN_A_STRING:
        return bind_literal(b, ast, out);
    case GN_A_PARAM:
        return bind_param(b, ast, out);
    case GN_A_COLUMN:
        return bind_column(b, ast, out);
    case GN_A_STAR:
        return gn_bind_fail(b, ast->position, GN_SYNTAX, "\"*\" is not allowed here");
    case GN_A_DEFAULT:
        return gn_bind_fail(b, ast->position, GN_SYNTAX, "DEFAULT is not allowed in this context");
    case GN_A_OPERATOR:
        code = bind_list(b, &ast->args, &args);
        return code == GN_OK ? gn_bind_function(b, ast->op, true, args, ast->args.n, ast->position, out) : code;
    case GN_A_AND:
        return bind_logic(b, ast, GN_E_AND, "AND", out);
    case GN_A_OR:
        return bind_logic(b, ast, GN_E_OR, "OR", out);
    case GN_A_NOT:
        return bind_logic(b, ast, GN_E_NOT, "NOT", out);
    case GN_A_IS_NULL:
        return bind_is_null(b, ast, out);
    case GN_A_IS_TRUE:
    case GN_A_IS_FALSE:
    case GN_A_IS_UNKNOWN:
        return bind_is_truth(b, ast, out);
    case GN_A_IS_DISTINCT:
        return bind_is_distinct(b, ast, out);
    case GN_A_BETWEEN:
        return bind_between(b, ast, out);
    case GN_A_IN:
        return bind_in(b, ast, out);
    case GN_A_ANY:
    case GN_A_ALL:
        return bind_any(b, ast, out);
    case GN_A_CASE:
        return bind_case(b, ast, out);
    case GN_A_COALESCE:
        return bind_same_type(b, ast, GN_E_COALESCE, "COALESCE", out);
    case GN_A_GREATEST:
        return bind_same_type(b, ast, GN_E_GREATEST, "GREATEST", out);
    case GN_A_LEAST:
        return bind_same_type(b, ast, GN_E_LEAST, "LEAST", out);
    case GN_A_NULLIF:
        return bind_nullif(b, ast, out);
    case GN_A_CAST:
        return bind_cast(b, ast, out);
    case GN_A_CALL:
        return gn_bind_call(b, ast, out);
    case GN_A_ARRAY:
        return bind_array(b, ast, out);
    case GN_A_SUBSCRIPT:
        return bind_subscript(b, ast, out);
    case GN_A_SLICE:
        break;
    case GN_A_COLLATE:
        return bind_collate(b, ast, out);
    case GN_A_ROW:
        return gn_bind_unsupported(b, ast->position, "row values are not supported", "Compare the columns one by one.");
    case GN_A_IN_QUERY:
    case GN_A_ANY_QUERY:
    case GN_A_ALL_QUERY:
    case GN_A_SUBQUERY:
    case GN_A_EXISTS:
    case GN_A_ARRAY_QUERY:
        if (b->clause == GN_IN_INDEX_EXPRESSION || b->clause == GN_IN_INDEX_PREDICATE)
            return gn_bind_fail(b, ast->position, GN_FEATURE, "cannot use subquery in index %s",
                                b->clause == GN_IN_INDEX_PREDICATE ? "predicate" : "expression");
        return gn_bind_unsupported(b, ast->position, "subqueries are not supported",
                                   "Run the inner query first and give its result as a parameter.");
    }
    return gn_bind_fail(b, ast->position, GN_INTERNAL, "unknown expression kind %d", ast->kind);
}

gn_code gn_bind_known(gn_binder *b, const gn_ast_expr *ast, gn_expr **out)
{
    gn_code code = gn_bind_expr(b, ast, out);
    return code == GN_OK ? gn_coerce_unknown_to_text(b, out) : code;
}

gn_code gn_bind_as(gn_binder *b, const gn_ast_expr *ast, gn_type to, const char *what, gn_expr **out)
{
    gn_expr *e;
    gn_code code = gn_bind_expr(b, ast, &e);
    if (code == GN_OK && !gn_can_coerce(e, to, GN_CAST_ASSIGNMENT))
        return gn_bind_fail(b, gn_expr_start(e), GN_TYPE_MISMATCH, "argument of %s must be type %s, not type %s", what,
                            gn_type_text(to), gn_type_text(e->type));
    return code == GN_OK ? gn_coerce(b, e, to, GN_CAST_ASSIGNMENT, out) : code;
}

gn_code gn_bind_boolean(gn_binder *b, const gn_ast_expr *ast, const char *what, gn_expr **out)
{
    gn_expr *e;
    gn_code code = gn_bind_expr(b, ast, &e);
    return code == GN_OK ? coerce_boolean(b, e, what, out) : code;
}
