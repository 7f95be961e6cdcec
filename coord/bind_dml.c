/* INSERT, UPDATE, DELETE. */
#include "base/limits.h"
#include "coord/table_info_private.h"
#include "query/computed.h"

/* ---- target columns ---- */

static gn_code target_column(gn_binder *b, const gn_table_desc *t, const gn_ast_name *name, uint32_t *ordinal)
{
    int found = gn_table_column_by_name(t, gn_bytes_str(name->name));
    if (found < 0)
        return gn_bind_fail(b, name->position, GN_NO_COLUMN, "column \"%s\" of relation \"%s\" does not exist",
                            name->name, t->name);
    *ordinal = (uint32_t)found;
    return GN_OK;
}

static gn_code assign(gn_binder *b, const gn_column_desc *c, gn_expr *e, int position, gn_expr **out)
{
    if (!gn_can_coerce(e, c->type, GN_CAST_ASSIGNMENT)) {
        gn_bind_fail(b, position, GN_TYPE_MISMATCH, "column \"%s\" is of type %s but expression is of type %s", c->name,
                     gn_type_text(c->type), gn_type_text(e->type));
        gn_error_hint(b->err, "You will need to rewrite or cast the expression.");
        return GN_TYPE_MISMATCH;
    }
    return gn_coerce(b, e, c->type, GN_CAST_ASSIGNMENT, out);
}

static gn_code generated_always(gn_binder *b, const gn_column_desc *c, int position, bool insert)
{
    if (insert)
        gn_bind_fail(b, position, GN_GENERATED_ALWAYS, "cannot insert a non-DEFAULT value into column \"%s\"", c->name);
    else
        gn_bind_fail(b, position, GN_GENERATED_ALWAYS, "column \"%s\" can only be updated to DEFAULT", c->name);
    gn_error_detail(b->err, "Column \"%s\" is an identity column defined as GENERATED ALWAYS.", c->name);
    if (insert)
        gn_error_hint(b->err, "Use OVERRIDING SYSTEM VALUE to override.");
    return GN_GENERATED_ALWAYS;
}

static gn_code bind_returning(gn_binder *b, const gn_ast_targets *ast, gn_plan *plan)
{
    if (ast->n == 0)
        return GN_OK;
    b->relations[0].as_params = true;
    b->n_relations = 1;
    b->clause = GN_IN_RETURNING;
    gn_code code = gn_bind_targets(b, ast, &plan->returning, &plan->columns, &plan->n_returning);
    plan->n_columns = plan->n_returning;
    for (uint32_t i = 0; i < plan->n_returning && code == GN_OK; i++)
        plan->returning[i] = gn_expr_fold(plan->returning[i], b->format, b->arena);
    return code;
}

/* ---- INSERT ---- */

typedef struct insert_columns {
    uint32_t n;
    uint32_t *ordinals;
    const gn_ast_names *names; /* as written; n 0: all */
} insert_columns;

static gn_code list_columns(gn_binder *b, const gn_ast_insert *ast, const gn_table_desc *t, insert_columns *list)
{
    list->names = &ast->columns;
    list->ordinals = gn_arena_calloc(b->arena, t->n_columns + ast->columns.n + 1, sizeof *list->ordinals);
    uint8_t *seen = gn_arena_calloc(b->arena, t->n_columns + 1, 1);
    if (!list->ordinals || !seen)
        return gn_error_oom(b->err, gn_arena_account(b->arena));
    for (uint32_t i = 0; i < t->n_columns && ast->columns.n == 0; i++)
        if (gn_column_is_shown(&t->columns[i]))
            list->ordinals[list->n++] = i;
    for (uint32_t i = 0; i < ast->columns.n; i++) {
        uint32_t ordinal = 0;
        gn_code code = target_column(b, t, &ast->columns.items[i], &ordinal);
        if (code != GN_OK)
            return code;
        if (seen[ordinal]++)
            return gn_bind_fail(b, ast->columns.items[i].position, GN_DUPLICATE_COLUMN,
                                "column \"%s\" specified more than once", ast->columns.items[i].name);
        list->ordinals[list->n++] = ordinal;
    }
    return GN_OK;
}

static gn_code check_width(gn_binder *b, const insert_columns *list, uint32_t n, int position)
{
    if (n > list->n)
        return gn_bind_fail(b, position, GN_SYNTAX, "INSERT has more expressions than target columns");
    if (n < list->n && list->names->n)
        return gn_bind_fail(b, list->names->items[n].position, GN_SYNTAX,
                            "INSERT has more target columns than expressions");
    return GN_OK;
}

static gn_code bind_insert_value(gn_binder *b, const gn_ast_insert *ast, const gn_column_desc *c,
                                 const gn_ast_expr *value, gn_expr **out)
{
    *out = NULL;
    if (value->kind == GN_A_DEFAULT)
        return GN_OK;
    if (c->identity && c->identity_always && !ast->overriding_system && !ast->overriding_user)
        return generated_always(b, c, value->position, true);
    gn_expr *e;
    gn_code code = gn_bind_expr(b, value, &e);
    if (code == GN_OK)
        code = assign(b, c, e, gn_expr_start(e), &e);
    if (code == GN_OK && !(c->identity && ast->overriding_user))
        *out = gn_expr_fold(e, b->format, b->arena);
    return code;
}

static gn_code bind_insert_rows(gn_binder *b, const gn_ast_insert *ast, const insert_columns *list, gn_plan *plan)
{
    const gn_ast_rows *rows = &ast->query->rows;
    uint32_t width = rows->items[0].n;
    plan->rows = gn_arena_calloc(b->arena, rows->n + 1, sizeof *plan->rows);
    if (!plan->rows)
        return gn_error_oom(b->err, gn_arena_account(b->arena));
    b->clause = GN_IN_VALUES;
    for (uint32_t r = 0; r < rows->n; r++) {
        const gn_ast_exprs *row = &rows->items[r];
        if (row->n != width)
            return gn_bind_fail(b, row->n ? row->items[0]->position : 0, GN_SYNTAX,
                                "VALUES lists must all be the same length");
        gn_code code = check_width(b, list, row->n, row->n > list->n ? row->items[list->n]->position : 0);
        plan->rows[r] = gn_arena_calloc(b->arena, row->n + 1, sizeof *plan->rows[r]);
        if (!plan->rows[r])
            return gn_error_oom(b->err, gn_arena_account(b->arena));
        for (uint32_t i = 0; i < row->n && code == GN_OK; i++)
            code =
                bind_insert_value(b, ast, &plan->table->columns[list->ordinals[i]], row->items[i], &plan->rows[r][i]);
        if (code != GN_OK)
            return code;
    }
    plan->n_rows = rows->n;
    for (uint32_t i = 0; i < width; i++)
        plan->source[list->ordinals[i]] = (int32_t)i;
    return GN_OK;
}

static gn_code bind_insert_query(gn_binder *b, const gn_plan_context *context, const gn_ast_insert *ast,
                                 const insert_columns *list, gn_plan *plan)
{
    gn_relation target = b->relations[0];
    b->n_relations = 0;
    b->slot_base = 2 * plan->table->n_columns; /* parameters behind the statement's: rows of RETURNING and excluded */
    b->keep_unknown = true;
    gn_code code = gn_bind_query(b, context, ast->query, &plan->query);
    b->keep_unknown = false;
    if (code != GN_OK)
        return code;
    gn_query *q = plan->query;
    code = check_width(b, list, q->n_visible, q->n_visible > list->n ? q->targets[list->n]->position : 0);
    for (uint32_t i = 0; i < q->n_visible && code == GN_OK; i++) {
        const gn_column_desc *c = &plan->table->columns[list->ordinals[i]];
        if (c->identity && c->identity_always && !ast->overriding_system && !ast->overriding_user)
            return generated_always(b, c, 0, true);
        code = assign(b, c, q->targets[i], gn_expr_start(q->targets[i]), &q->targets[i]);
        if (!(c->identity && ast->overriding_user))
            plan->source[list->ordinals[i]] = (int32_t)i;
    }
    b->relations[0] = target;
    b->n_columns = 0;
    return code;
}

/* ---- ON CONFLICT ---- */

/* What the target names, as ids of columns, computed ones among them. */
typedef struct conflict_target {
    uint32_t *ids, n;
    gn_expr *predicate; /* NULL: none */
} conflict_target;

static bool is_among(uint32_t id, const uint32_t *ids, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (ids[i] == id)
            return true;
    return false;
}

static bool same_columns(const conflict_target *target, const uint32_t *ids, uint32_t n)
{
    if (target->n != n)
        return false;
    for (uint32_t i = 0; i < n; i++)
        if (!is_among(ids[i], target->ids, n) || !is_among(target->ids[i], ids, n))
            return false;
    return true;
}

/* Partial ones only where the target says of which rows it speaks. */
static bool is_arbiter(gn_binder *b, const gn_table_desc *t, const gn_index_desc *index, const conflict_target *target)
{
    if (!index->unique || !same_columns(target, index->columns, index->n_columns))
        return false;
    if (!index->predicate)
        return true;
    const gn_computed *predicate = t->columns[gn_table_column_by_id(t, index->predicate)].computed;
    bool both = target->predicate && target->predicate->kind == GN_E_AND;
    return target->predicate &&
           gn_conditions_imply(both ? target->predicate->args : &target->predicate,
                               both ? target->predicate->n_args : 1, predicate->expr, b->format, b->arena);
}

/* An expression that no index is over is a column that is in none. */
static gn_code target_column_id(gn_binder *b, const gn_table_desc *t, const gn_ast_expr *e, uint32_t *id)
{
    gn_expr *expr;
    int at = e->kind == GN_A_COLUMN ? gn_table_column_by_name(t, gn_bytes_str(e->column.name)) : -1;
    if (e->kind == GN_A_COLUMN && at < 0)
        return gn_bind_fail(b, e->position, GN_NO_COLUMN, "column \"%s\" does not exist", e->column.name);
    if (at < 0) {
        gn_code code = gn_bind_computed(t, e, false, b->format, b->arena, &expr, b->err);
        if (code != GN_OK)
            return code;
        at = gn_computed_like(t, expr);
    }
    *id = at < 0 ? 0 : t->columns[at].id;
    return GN_OK;
}

static gn_code conflict_columns(gn_binder *b, const gn_ast_insert *ast, const gn_table_desc *t, gn_conflict *c)
{
    conflict_target target = {0};
    gn_code code = GN_OK;
    target.ids = gn_arena_calloc(b->arena, ast->conflict_columns.n, sizeof *target.ids);
    if (!target.ids)
        return gn_error_oom(b->err, gn_arena_account(b->arena));
    for (; target.n < ast->conflict_columns.n && code == GN_OK; target.n++)
        code = target_column_id(b, t, ast->conflict_columns.items[target.n], &target.ids[target.n]);
    if (code == GN_OK && ast->conflict_predicate)
        code = gn_bind_computed(t, ast->conflict_predicate, true, b->format, b->arena, &target.predicate, b->err);
    if (code != GN_OK || (t->n_key && same_columns(&target, t->key, t->n_key)))
        return code;
    for (uint32_t i = 0; i < t->n_indexes; i++) {
        c->index = &t->indexes[i];
        if (is_arbiter(b, t, c->index, &target))
            return GN_OK;
    }
    return gn_bind_fail(b, 0, GN_COLUMN_REFERENCE,
                        "there is no unique or exclusion constraint matching the ON CONFLICT specification");
}

static gn_code conflict_constraint(gn_binder *b, const gn_ast_insert *ast, const gn_table_desc *t, gn_conflict *c)
{
    if (t->n_key && strcmp(t->key_name, ast->conflict_constraint) == 0)
        return GN_OK;
    for (uint32_t i = 0; i < t->n_indexes; i++) {
        c->index = &t->indexes[i];
        if (c->index->unique && c->index->constraint && strcmp(c->index->name, ast->conflict_constraint) == 0)
            return GN_OK;
    }
    return gn_bind_fail(b, ast->conflict_position, GN_NO_OBJECT, "constraint \"%s\" for table \"%s\" does not exist",
                        ast->conflict_constraint, t->name);
}

static gn_code bind_assignments(gn_binder *b, const gn_table_desc *t, const gn_ast_assignments *ast,
                                gn_assignment **out, uint32_t *n)
{
    gn_assignment *set = gn_arena_calloc(b->arena, ast->n + 1, sizeof *set);
    uint8_t *seen = gn_arena_calloc(b->arena, t->n_columns + 1, 1);
    if (!set || !seen)
        return gn_error_oom(b->err, gn_arena_account(b->arena));
    b->clause = GN_IN_UPDATE;
    for (uint32_t i = 0; i < ast->n; i++) {
        const gn_ast_assignment *a = &ast->items[i];
        if (a->columns.n > 1)
            return gn_bind_unsupported(b, a->columns.items[0].position, "subqueries are not supported",
                                       "Assign the columns one by one.");
        gn_code code = target_column(b, t, &a->columns.items[0], &set[i].ordinal);
        if (code != GN_OK)
            return code;
        const gn_column_desc *c = &t->columns[set[i].ordinal];
        if (seen[set[i].ordinal]++)
            return gn_bind_fail(b, a->columns.items[0].position, GN_SYNTAX,
                                "multiple assignments to same column \"%s\"", c->name);
        if (a->value->kind == GN_A_DEFAULT)
            continue;
        if (c->identity && c->identity_always)
            return generated_always(b, c, a->columns.items[0].position, false);
        gn_expr *e;
        code = gn_bind_expr(b, a->value, &e);
        if (code == GN_OK)
            code = assign(b, c, e, gn_expr_start(e), &set[i].value);
        if (code != GN_OK)
            return code;
    }
    *out = set;
    *n = ast->n;
    return GN_OK;
}

static void fold_assignments(gn_binder *b, gn_assignment *set, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (set[i].value)
            set[i].value = gn_expr_fold(set[i].value, b->format, b->arena);
}

static gn_code bind_conflict(gn_binder *b, const gn_ast_insert *ast, gn_plan *plan)
{
    gn_conflict *c = &plan->conflict;
    const gn_table_desc *t = plan->table;
    c->action = ast->conflict;
    if (c->action == GN_CONFLICT_ERROR)
        return GN_OK;
    gn_code code = GN_OK;
    if (ast->conflict_constraint) {
        code = conflict_constraint(b, ast, t, c);
    } else if (ast->conflict_columns.n) {
        code = conflict_columns(b, ast, t, c);
    } else if (c->action == GN_CONFLICT_UPDATE) {
        gn_bind_fail(b, ast->conflict_position, GN_SYNTAX,
                     "ON CONFLICT DO UPDATE requires inference specification or constraint name");
        gn_error_hint(b->err, "For example, ON CONFLICT (column_name).");
        return GN_SYNTAX;
    } else {
        c->any_index = true;
    }
    if (code != GN_OK || c->action != GN_CONFLICT_UPDATE)
        return code;
    gn_bind_relation(&b->relations[0], t, ast->alias);
    gn_bind_relation(&b->relations[1], t, "excluded");
    b->relations[0].as_params = b->relations[1].as_params = b->relations[1].qualified_only = true;
    b->relations[1].base = t->n_columns;
    b->n_relations = 2;
    code = bind_assignments(b, t, &ast->conflict_set, &c->set, &c->n_set);
    fold_assignments(b, c->set, c->n_set);
    if (code == GN_OK && ast->conflict_where) {
        b->clause = GN_IN_WHERE;
        code = gn_bind_boolean(b, ast->conflict_where, "WHERE", &c->where);
    }
    return code;
}

static bool plain_values(const gn_ast_query *q)
{
    return q->kind == GN_Q_VALUES && !q->with.n && !q->order_by.n && !q->limit && !q->offset;
}

/* DEFAULT VALUES: one row in which every column has its default. */
static gn_code bind_default_row(gn_binder *b, gn_plan *plan)
{
    plan->rows = gn_arena_calloc(b->arena, 1, sizeof *plan->rows);
    plan->n_rows = 1;
    return plan->rows ? GN_OK : gn_error_oom(b->err, gn_arena_account(b->arena));
}

static gn_code open_table(gn_binder *b, const gn_plan_context *context, const gn_ast_name *name, const char *alias,
                          gn_plan *plan)
{
    gn_code code = gn_bind_table(b, context, name, &plan->table);
    if (code != GN_OK)
        return code;
    gn_table_desc_retain(plan->table);
    gn_bind_relation(&b->relations[0], plan->table, alias);
    return gn_table_info_get(context->infos, context, plan->table, &plan->info, b->err);
}

gn_code gn_bind_insert(gn_binder *b, const gn_plan_context *context, const gn_ast_insert *ast, gn_plan *plan)
{
    insert_columns list = {0};
    plan->kind = GN_PLAN_INSERT;
    gn_code code = open_table(b, context, &ast->table, ast->alias, plan);
    if (code == GN_OK)
        code = list_columns(b, ast, plan->table, &list);
    if (code != GN_OK)
        return code;
    plan->source = gn_arena_alloc(b->arena, (plan->table->n_columns + 1) * sizeof *plan->source);
    if (!plan->source)
        return gn_error_oom(b->err, gn_arena_account(b->arena));
    for (uint32_t i = 0; i < plan->table->n_columns; i++)
        plan->source[i] = -1;
    if (!ast->query)
        code = bind_default_row(b, plan);
    else if (plain_values(ast->query))
        code = bind_insert_rows(b, ast, &list, plan);
    else
        code = bind_insert_query(b, context, ast, &list, plan);
    if (code == GN_OK)
        code = bind_conflict(b, ast, plan);
    return code == GN_OK ? bind_returning(b, &ast->returning, plan) : code;
}

/* ---- UPDATE, DELETE ---- */

static gn_code refuse_join(gn_binder *b, const gn_ast_froms *from, const char *what)
{
    return from->n ? gn_bind_unsupported(b, from->items[0]->position, what, "Query one table at a time.") : GN_OK;
}

static gn_code bind_where(gn_binder *b, const gn_ast_expr *ast, gn_expr **where)
{
    *where = NULL;
    b->clause = GN_IN_WHERE;
    return ast ? gn_bind_boolean(b, ast, "WHERE", where) : GN_OK;
}

static gn_query *table_query(gn_binder *b, const gn_plan *plan)
{
    gn_query *q = gn_arena_calloc(b->arena, 1, sizeof *q);
    if (q) {
        q->path.kind = GN_PATH_SCAN;
        q->path.table = plan->table;
    }
    b->n_relations = 1;
    return q;
}

gn_code gn_bind_update(gn_binder *b, const gn_plan_context *context, const gn_ast_update *ast, gn_plan *plan)
{
    gn_expr *where;
    plan->kind = GN_PLAN_UPDATE;
    gn_code code = refuse_join(b, &ast->from, "UPDATE ... FROM is not supported");
    if (code == GN_OK)
        code = open_table(b, context, &ast->table, ast->alias, plan);
    if (code != GN_OK)
        return code;
    gn_query *q = plan->query = table_query(b, plan);
    if (!q)
        return gn_error_oom(b->err, gn_arena_account(b->arena));
    code = bind_assignments(b, plan->table, &ast->set, &plan->set, &plan->n_set);
    if (code == GN_OK)
        code = bind_where(b, ast->where, &where);
    if (code == GN_OK)
        code = gn_plan_path(b, context, q, where, true);
    fold_assignments(b, plan->set, plan->n_set);
    return code == GN_OK ? bind_returning(b, &ast->returning, plan) : code;
}

gn_code gn_bind_delete(gn_binder *b, const gn_plan_context *context, const gn_ast_delete *ast, gn_plan *plan)
{
    gn_expr *where;
    plan->kind = GN_PLAN_DELETE;
    gn_code code = refuse_join(b, &ast->using_from, "DELETE ... USING is not supported");
    if (code == GN_OK)
        code = open_table(b, context, &ast->table, ast->alias, plan);
    if (code != GN_OK)
        return code;
    gn_query *q = plan->query = table_query(b, plan);
    if (!q)
        return gn_error_oom(b->err, gn_arena_account(b->arena));
    code = bind_where(b, ast->where, &where);
    if (code == GN_OK)
        code = gn_plan_path(b, context, q, where, ast->returning.n > 0);
    return code == GN_OK ? bind_returning(b, &ast->returning, plan) : code;
}
