/* Builders of statements other than queries. */
#include "base/limits.h"
#include "coord/parser_private.h"

#include <string.h>

gn_ast_statement *gn_mk_statement(gn_parser *p, gn_ast_statement_kind kind, int position, size_t body_size)
{
    gn_ast_statement *s = gn_mk(p, sizeof *s);
    s->kind = kind;
    s->position = position;
    /* The spare node cannot be a statement and its body at once. */
    void *body = body_size && s != (void *)p->spare ? gn_mk(p, body_size) : p->spare + sizeof *s;
    s->query = body; /* any member: they are all pointers */
    return s;
}

gn_ast_statement *gn_mk_named(gn_parser *p, gn_ast_statement_kind kind, int position, const char *name)
{
    gn_ast_statement *s = gn_mk_statement(p, kind, position, 0);
    s->name = name;
    return s;
}

void gn_check_extension_option(gn_parser *p, const gn_token *name)
{
    if (strcmp(name->text, "schema") != 0 && strcmp(name->text, "version") != 0)
        gn_parser_fail(p, GN_SYNTAX, name->position, "syntax error at or near \"%.60s\"", name->text);
}

gn_ast_statement *gn_mk_query_statement(gn_parser *p, gn_ast_query *query)
{
    gn_ast_statement *s = gn_mk_statement(p, GN_S_QUERY, query->position, 0);
    s->query = query;
    return s;
}

/* ---- INSERT, UPDATE, DELETE ---- */

gn_ast_statement *gn_mk_insert(gn_parser *p, const gn_token *at, const gn_ast_name *table, const char *alias)
{
    gn_ast_statement *s = gn_mk_statement(p, GN_S_INSERT, at->position, sizeof *s->insert);
    s->insert->table = *table;
    s->insert->alias = alias;
    return s;
}

void gn_mk_conflict(gn_ast_statement *insert, gn_ast_conflict conflict, const gn_token *at)
{
    insert->insert->conflict = conflict;
    insert->insert->conflict_position = at->position;
}

void gn_mk_overriding(gn_ast_statement *insert, bool system)
{
    insert->insert->overriding_system = system;
    insert->insert->overriding_user = !system;
}

gn_ast_statement *gn_mk_update(gn_parser *p, const gn_token *at, const gn_ast_name *table, const char *alias)
{
    gn_ast_statement *s = gn_mk_statement(p, GN_S_UPDATE, at->position, sizeof *s->update);
    s->update->table = *table;
    s->update->alias = alias;
    return s;
}

gn_ast_statement *gn_mk_delete(gn_parser *p, const gn_token *at, const gn_ast_name *table, const char *alias,
                               gn_ast_froms using_from, gn_ast_expr *where, gn_ast_targets returning)
{
    gn_ast_statement *s = gn_mk_statement(p, GN_S_DELETE, at->position, sizeof *s->delete_);
    *s->delete_ = (gn_ast_delete){
        .table = *table, .alias = alias, .using_from = using_from, .where = where, .returning = returning};
    return s;
}

gn_ast_assignments gn_mk_assign(gn_parser *p, const gn_token *column, gn_ast_expr *value)
{
    gn_ast_assignment a = {.value = value};
    gn_ast_assignments list;
    GN_LIST_START(p, a.columns, gn_mk_name(p, NULL, column));
    GN_LIST_START(p, list, a);
    return list;
}

gn_ast_assignments gn_mk_assign_row(gn_parser *p, gn_ast_names columns, gn_ast_expr *value, int position)
{
    gn_ast_assignments list = {0};
    if (value->kind == GN_A_SUBQUERY || (value->kind != GN_A_ROW && columns.n == 1)) {
        GN_LIST_PUSH(p, list, ((gn_ast_assignment){.columns = columns, .value = value}));
        return list;
    }
    if (value->kind != GN_A_ROW) {
        gn_parser_fail(p, GN_FEATURE, value->position,
                       "source for a multiple-column UPDATE item must be a sub-SELECT or ROW() expression");
        return list;
    }
    if (value->args.n != columns.n) {
        gn_parser_fail(p, GN_SYNTAX, position, "number of columns does not match number of values");
        return list;
    }
    for (uint32_t i = 0; i < columns.n; i++) {
        gn_ast_assignment a = {.value = value->args.items[i]};
        GN_LIST_START(p, a.columns, columns.items[i]);
        GN_LIST_PUSH(p, list, a);
    }
    return list;
}

gn_ast_assignments gn_mk_assignments_join(gn_parser *p, gn_ast_assignments list, gn_ast_assignments more)
{
    for (uint32_t i = 0; i < more.n; i++)
        GN_LIST_PUSH(p, list, more.items[i]);
    return list;
}

/* ---- tables ---- */

gn_ast_statement *gn_mk_create_table(gn_parser *p, const gn_token *at, bool temporary, bool if_not_exists,
                                     const gn_ast_name *name)
{
    gn_ast_statement *s = gn_mk_statement(p, GN_S_CREATE_TABLE, at->position, sizeof *s->create_table);
    s->create_table->name = *name;
    s->create_table->temporary = temporary;
    s->create_table->if_not_exists = if_not_exists;
    p->table = s->create_table;
    return s;
}

void gn_mk_table_column(gn_parser *p, gn_ast_column_def *column)
{
    gn_ast_constraints own = column->constraints;
    GN_LIST_EMPTY(column->constraints);
    GN_LIST_PUSH(p, p->table->columns, *column);
    for (uint32_t i = 0; i < own.n; i++)
        GN_LIST_PUSH(p, p->table->constraints, own.items[i]);
}

/* serial is an integer with an identity BY DEFAULT. */
static const char *serial_base(const char *type)
{
    static const char *const serial[][2] = {{"serial", "integer"},       {"serial4", "integer"},
                                            {"bigserial", "bigint"},     {"serial8", "bigint"},
                                            {"smallserial", "smallint"}, {"serial2", "smallint"}};
    for (size_t i = 0; i < sizeof serial / sizeof *serial; i++)
        if (strcmp(type, serial[i][0]) == 0)
            return serial[i][1];
    return NULL;
}

gn_ast_column_def *gn_mk_column_def(gn_parser *p, const gn_token *name, gn_ast_type *type)
{
    gn_ast_column_def *c = gn_mk(p, sizeof *c);
    c->name = name->text;
    c->position = name->position;
    c->type = type;
    c->identity_start = 1;
    const char *base = type->name.schema || !type->name.name ? NULL : serial_base(type->name.name);
    if (base && type->array_dimensions) {
        gn_parser_fail(p, GN_FEATURE, type->position, "array of serial is not implemented");
    } else if (base) {
        type->name.name = base;
        c->identity = GN_IDENTITY_BY_DEFAULT;
        c->not_null = true;
    }
    return c;
}

gn_column_item gn_mk_item(gn_column_item_kind kind, const gn_token *at)
{
    return (gn_column_item){.kind = kind, .position = at->position};
}

static void add_constraint(gn_parser *p, gn_ast_column_def *column, gn_ast_constraint_kind kind, const char *name,
                           const gn_column_item *item)
{
    gn_ast_constraint c = {.kind = kind, .name = name, .position = item->position};
    if (kind == GN_C_CHECK) {
        c.check = item->expr;
        c.check_sql = item->sql;
        c.at_column = column->name;
    } else {
        GN_LIST_PUSH(p, c.columns, ((gn_ast_name){.name = column->name, .position = column->position}));
    }
    GN_LIST_PUSH(p, column->constraints, c);
}

static void set_identity(gn_parser *p, gn_ast_column_def *column, gn_ast_identity identity, const gn_column_item *item)
{
    if (column->identity != GN_IDENTITY_NONE)
        gn_parser_fail(p, GN_SYNTAX, item->position, "multiple identity specifications for column \"%s\"",
                       column->name);
    column->identity = identity;
    column->not_null = true;
    for (uint32_t i = 0; i < item->options.n; i++) {
        const gn_ast_option *o = &item->options.items[i];
        const gn_ast_expr *v = o->value;
        bool is_integer = v && v->kind == GN_A_INTEGER;
        if (strcmp(o->name, "start") == 0 && is_integer)
            column->identity_start = v->integer;
        else if (strcmp(o->name, "increment") == 0 && is_integer && v->integer == 1)
            continue;
        else if (strcmp(o->name, "cache") != 0 && strcmp(o->name, "cycle") != 0 && v)
            gn_parser_fail(p, GN_FEATURE, o->position, "sequence option \"%s\" is not supported", o->name);
    }
}

static void set_default(gn_parser *p, gn_ast_column_def *column, const gn_column_item *item)
{
    if (column->default_expr)
        gn_parser_fail(p, GN_SYNTAX, item->position, "multiple default values specified for column \"%s\"",
                       column->name);
    column->default_expr = item->expr;
    column->default_sql = item->sql;
}

void gn_mk_column_add(gn_parser *p, gn_ast_column_def *column, const char *constraint, const gn_column_item *item)
{
    switch (item->kind) {
    case GN_ITEM_NOT_NULL:
        column->not_null = true;
        break;
    case GN_ITEM_NULL:
        if (column->not_null)
            gn_parser_fail(p, GN_SYNTAX, item->position, "conflicting NULL/NOT NULL declarations for column \"%s\"",
                           column->name);
        break;
    case GN_ITEM_UNIQUE:
        add_constraint(p, column, GN_C_UNIQUE, constraint, item);
        break;
    case GN_ITEM_AUTOINCREMENT:
        set_identity(p, column, GN_IDENTITY_BY_DEFAULT, item);
        /* fall through */
    case GN_ITEM_PRIMARY_KEY:
        column->not_null = true;
        add_constraint(p, column, GN_C_PRIMARY_KEY, constraint, item);
        break;
    case GN_ITEM_CHECK:
        add_constraint(p, column, GN_C_CHECK, constraint, item);
        break;
    case GN_ITEM_DEFAULT:
        set_default(p, column, item);
        break;
    case GN_ITEM_IDENTITY_ALWAYS:
        set_identity(p, column, GN_IDENTITY_ALWAYS, item);
        break;
    case GN_ITEM_IDENTITY_BY_DEFAULT:
        set_identity(p, column, GN_IDENTITY_BY_DEFAULT, item);
        break;
    case GN_ITEM_REFERENCES:
        add_constraint(p, column, GN_C_FOREIGN_KEY, constraint, item);
        break;
    }
}

/* Text is ordered by bytes; other orders would have to be asked for and refused, not silently ignored. */
void gn_mk_column_collate(gn_parser *p, const gn_ast_name *collation)
{
    static const char *const by_bytes[] = {"C", "POSIX", "default", "ucs_basic"};
    for (size_t i = 0; i < sizeof by_bytes / sizeof *by_bytes; i++)
        if (strcmp(collation->name, by_bytes[i]) == 0)
            return;
    gn_parser_fail(p, GN_FEATURE, collation->position, "collation \"%s\" is not supported", collation->name);
}

static gn_bytes trimmed(gn_parser *p, size_t from, size_t to)
{
    const char *s = p->lexer.sql;
    while (from < to && strchr(" \t\r\n\f", s[from]))
        from++;
    while (to > from && strchr(" \t\r\n\f", s[to - 1]))
        to--;
    return gn_bytes_of(s + from, to - from);
}

gn_bytes gn_mk_between_tokens(gn_parser *p, const gn_token *left, const gn_token *right)
{
    return trimmed(p, (size_t)left->position - 1 + left->source_len, (size_t)right->position - 1);
}

gn_bytes gn_mk_text_after(gn_parser *p, const gn_token *token)
{
    return trimmed(p, (size_t)token->position - 1 + token->source_len, p->prev_end);
}

gn_ast_constraint *gn_mk_constraint(gn_parser *p, gn_ast_constraint_kind kind, const gn_token *at)
{
    gn_ast_constraint *c = gn_mk(p, sizeof *c);
    c->kind = kind;
    c->position = at->position;
    return c;
}

gn_ast_statement *gn_mk_drop(gn_parser *p, gn_ast_statement_kind kind, const gn_token *at, bool if_exists,
                             gn_ast_names names, bool cascade)
{
    gn_ast_statement *s = gn_mk_statement(p, kind, at->position, sizeof *s->drop);
    *s->drop = (gn_ast_drop){.names = names, .if_exists = if_exists, .cascade = cascade};
    return s;
}

gn_ast_statement *gn_mk_alter(gn_parser *p, const gn_token *at, bool if_exists, const gn_ast_name *name)
{
    gn_ast_statement *s = gn_mk_statement(p, GN_S_ALTER_TABLE, at->position, sizeof *s->alter_table);
    s->alter_table->name = *name;
    s->alter_table->if_exists = if_exists;
    return s;
}

static gn_ast_alter_action *mk_alter_action(gn_parser *p, gn_ast_alter_kind kind, const gn_token *at)
{
    gn_ast_alter_action *a = gn_mk(p, sizeof *a);
    a->kind = kind;
    a->position = at->position;
    return a;
}

gn_ast_alter_action *gn_mk_alter_add(gn_parser *p, const gn_token *at, gn_ast_column_def *column, bool if_not_exists)
{
    gn_ast_alter_action *a = mk_alter_action(p, GN_ALTER_ADD_COLUMN, at);
    a->column = column;
    a->if_not_exists = if_not_exists;
    return a;
}

gn_ast_alter_action *gn_mk_alter_constraint(gn_parser *p, const gn_token *at, gn_ast_constraint *constraint)
{
    gn_ast_alter_action *a = mk_alter_action(p, GN_ALTER_ADD_CONSTRAINT, at);
    a->constraint = constraint;
    return a;
}

gn_ast_alter_action *gn_mk_alter_named(gn_parser *p, gn_ast_alter_kind kind, const gn_token *at, const gn_token *name)
{
    gn_ast_alter_action *a = mk_alter_action(p, kind, at);
    a->name = name->text;
    a->name_position = name->position;
    return a;
}

void gn_mk_rename(gn_parser *p, gn_ast_statement *alter, gn_ast_alter_kind kind, const gn_token *at,
                  const gn_token *old_name, const gn_token *new_name)
{
    gn_ast_alter_action a = {.kind = kind, .position = at->position, .new_name = new_name->text};
    a.name_position = new_name->position;
    if (old_name) {
        a.name = old_name->text;
        a.name_position = old_name->position;
    }
    GN_LIST_PUSH(p, alter->alter_table->actions, a);
}

/* ---- indexes, options ---- */

gn_ast_statement *gn_mk_create_index(gn_parser *p, const gn_token *at, bool unique, bool concurrently)
{
    gn_ast_statement *s = gn_mk_statement(p, GN_S_CREATE_INDEX, at->position, sizeof *s->create_index);
    s->create_index->unique = unique;
    s->create_index->concurrently = concurrently;
    return s;
}

void gn_mk_index_on(gn_ast_statement *index, bool if_not_exists, const gn_token *name, const gn_ast_name *table,
                    const gn_token *method)
{
    gn_ast_create_index *i = index->create_index;
    i->if_not_exists = if_not_exists;
    i->name = name ? name->text : NULL;
    i->name_position = name ? name->position : 0;
    i->table = *table;
    i->method = method->text;
    i->method_position = method->position;
}

void gn_mk_index_order(gn_ast_index_column *column, bool descending, int nulls_first)
{
    column->descending = descending;
    column->nulls_given = nulls_first >= 0;
    column->nulls_first = nulls_first >= 0 ? nulls_first : descending;
}

gn_ast_index_column gn_mk_index_opclass(gn_ast_expr *expr, const gn_ast_name *opclass)
{
    return (gn_ast_index_column){.expr = expr, .opclass = opclass->name, .opclass_position = opclass->position};
}

gn_ast_option gn_mk_option(const gn_token *at, const char *name, gn_ast_expr *value)
{
    return (gn_ast_option){.name = name ? name : at->text, .value = value, .position = at->position};
}

/* ---- transactions, settings ---- */

gn_ast_statement *gn_mk_transaction(gn_parser *p, gn_ast_statement_kind kind, int position, gn_ast_transaction modes)
{
    gn_ast_statement *s = gn_mk_statement(p, kind, position, sizeof *s->transaction);
    *s->transaction = modes;
    return s;
}

gn_ast_statement *gn_mk_end(gn_parser *p, gn_ast_statement_kind kind, int position, bool chain)
{
    return gn_mk_transaction(p, kind, position,
                             (gn_ast_transaction){.read_only = -1, .deferrable = -1, .chain = chain});
}

void gn_mk_mode(gn_ast_transaction *modes, int mode)
{
    if (mode == GN_MODE_READ_ONLY || mode == GN_MODE_READ_WRITE)
        modes->read_only = mode == GN_MODE_READ_ONLY;
    else if (mode == GN_MODE_DEFERRABLE || mode == GN_MODE_NOT_DEFERRABLE)
        modes->deferrable = mode == GN_MODE_DEFERRABLE;
    else
        modes->isolation = (gn_ast_isolation)mode;
}

gn_ast_set *gn_mk_setting(gn_parser *p, const gn_token *name, gn_ast_exprs values)
{
    gn_ast_set *s = gn_mk(p, sizeof *s);
    s->name = name->text;
    s->name_position = name->position;
    s->values = values;
    return s;
}

gn_ast_set *gn_mk_setting_default(gn_parser *p, const gn_token *name)
{
    gn_ast_set *s = gn_mk_setting(p, name, (gn_ast_exprs){0});
    s->is_default = true;
    return s;
}

gn_ast_statement *gn_mk_set(gn_parser *p, gn_ast_set *set, bool local, int position)
{
    gn_ast_statement *s = gn_mk_statement(p, GN_S_SET, position, 0);
    set->local = local;
    s->set = set;
    return s;
}

gn_ast_statement *gn_mk_reset(gn_parser *p, const gn_token *name, int position)
{
    gn_token none = {0};
    gn_ast_set *set = gn_mk_setting_default(p, name ? name : &none);
    set->reset = true;
    return gn_mk_set(p, set, false, position);
}

/* ---- EXPLAIN, COPY, PREPARE, cursors ---- */

gn_ast_statement *gn_mk_explain(gn_parser *p, const gn_token *at, gn_ast_options options, gn_ast_statement *statement)
{
    gn_ast_statement *s = gn_mk_statement(p, GN_S_EXPLAIN, at->position, sizeof *s->explain);
    *s->explain = (gn_ast_explain){.options = options, .statement = statement};
    return s;
}

gn_ast_statement *gn_mk_copy(gn_parser *p, const gn_token *at, const gn_ast_name *table, gn_ast_names columns,
                             gn_ast_query *query)
{
    gn_ast_statement *s = gn_mk_statement(p, GN_S_COPY, at->position, sizeof *s->copy);
    if (table)
        s->copy->table = *table;
    s->copy->columns = columns;
    s->copy->query = query;
    return s;
}

void gn_mk_copy_target(gn_parser *p, gn_ast_statement *copy, bool from, bool program, const gn_token *file,
                       int position)
{
    gn_ast_copy *c = copy->copy;
    c->from = from;
    c->program = program;
    c->is_std = file->text == NULL;
    c->target_position = file->position;
    if (!c->is_std)
        c->file = gn_bytes_of(file->text, file->len);
    if (from && c->query)
        gn_parser_fail(p, GN_SYNTAX, position, "syntax error at or near \"FROM\"");
    if (program && c->is_std)
        gn_parser_fail(p, GN_SYNTAX, file->position, "STDIN/STDOUT not allowed with PROGRAM");
}

gn_ast_statement *gn_mk_prepare(gn_parser *p, const gn_token *at, const gn_token *name, gn_ast_types types,
                                const gn_token *as, gn_ast_statement *statement)
{
    gn_ast_statement *s = gn_mk_statement(p, GN_S_PREPARE, at->position, sizeof *s->prepare);
    statement->text = gn_mk_text_after(p, as);
    statement->n_params = p->lexer.max_param;
    *s->prepare = (gn_ast_prepare){.name = name->text, .types = types, .statement = statement};
    return s;
}

gn_ast_statement *gn_mk_execute(gn_parser *p, const gn_token *at, const gn_token *name, gn_ast_exprs args)
{
    gn_ast_statement *s = gn_mk_statement(p, GN_S_EXECUTE, at->position, sizeof *s->execute);
    *s->execute = (gn_ast_execute){.name = name->text, .args = args};
    return s;
}

gn_ast_statement *gn_mk_vacuum(gn_parser *p, gn_ast_statement_kind kind, const gn_token *at, gn_ast_options options,
                               gn_ast_names tables)
{
    gn_ast_statement *s = gn_mk_statement(p, kind, at->position, sizeof *s->vacuum);
    *s->vacuum = (gn_ast_vacuum){.tables = tables, .options = options};
    return s;
}

gn_ast_statement *gn_mk_declare(gn_parser *p, const gn_token *at, const gn_token *name, gn_ast_cursor cursor,
                                const gn_token *following, gn_ast_query *query)
{
    gn_ast_statement *s = gn_mk_fetch(p, at, cursor);
    gn_ast_statement *inner = gn_mk_query_statement(p, query);
    inner->text = gn_mk_text_after(p, following);
    inner->n_params = p->lexer.max_param;
    s->kind = GN_S_DECLARE;
    s->cursor->name = name->text;
    s->cursor->statement = inner;
    return s;
}

gn_ast_statement *gn_mk_fetch(gn_parser *p, const gn_token *at, gn_ast_cursor fetch)
{
    gn_ast_statement *s = gn_mk_statement(p, GN_S_FETCH, at->position, sizeof *s->cursor);
    *s->cursor = fetch;
    return s;
}

gn_ast_cursor gn_mk_fetch_count(const char *name, int64_t count, bool backward)
{
    bool turned = count < 0 && count != INT64_MIN;
    return (gn_ast_cursor){.name = name, .count = turned ? -count : count, .backward = backward != turned};
}

int64_t gn_mk_count(gn_parser *p, const gn_ast_expr *number)
{
    if (number->kind == GN_A_INTEGER && number->integer > INT32_MIN && number->integer <= INT32_MAX)
        return number->integer;
    gn_parser_fail(p, GN_SYNTAX, number->position, "a count must be an integer");
    return 0;
}

gn_ast_statement *gn_mk_named_cursor(gn_parser *p, gn_ast_statement_kind kind, const gn_token *at, const char *name)
{
    gn_ast_statement *s = gn_mk_fetch(p, at, (gn_ast_cursor){.name = name});
    s->kind = kind;
    return s;
}
