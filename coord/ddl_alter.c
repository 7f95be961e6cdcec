/* ALTER TABLE. What the rows already there must fulfil is checked, or brought about, by reading them all in the same
 * transaction. */
#include "base/limits.h"
#include "coord/ddl_private.h"
#include "coord/parser.h"
#include "query/computed.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- columns by name ---- */

static gn_code column_at(gn_draft *d, const gn_ast_alter_action *a, uint32_t *ordinal)
{
    int at = gn_table_column_by_name(&d->desc, gn_bytes_str(a->name));
    if (at < 0)
        return gn_error_set(d->err, GN_NO_COLUMN, "column \"%s\" of relation \"%s\" does not exist", a->name,
                            d->desc.name);
    *ordinal = (uint32_t)at;
    return GN_OK;
}

static bool in_key(const gn_table_desc *t, uint32_t column_id)
{
    for (uint32_t i = 0; i < t->n_key; i++)
        if (t->key[i] == column_id)
            return true;
    return false;
}

static gn_code refuse(gn_draft *d, int position, const char *what, const char *hint)
{
    gn_error_set(d->err, GN_FEATURE, "%s is not supported", what);
    gn_error_hint(d->err, "%s", hint);
    return gn_error_at(d->err, position), GN_FEATURE;
}

/* ---- NOT NULL ---- */

static gn_code refuse_null(void *ctx, gn_row_reader *r, gn_bytes key)
{
    uint32_t ordinal = *(uint32_t *)ctx;
    (void)key;
    if (!r->row[ordinal].is_null)
        return GN_OK;
    gn_error_set(r->d->err, GN_NOT_NULL, "column \"%s\" of relation \"%s\" contains null values",
                 r->table->columns[ordinal].name, r->table->name);
    gn_error_object(r->d->err, r->table->name, r->table->columns[ordinal].name, NULL);
    return GN_NOT_NULL;
}

static gn_code set_not_null(gn_draft *d, const gn_ast_alter_action *a, const gn_table_desc *now)
{
    uint32_t ordinal = 0;
    gn_code code = column_at(d, a, &ordinal);
    if (code != GN_OK || d->desc.columns[ordinal].not_null)
        return code;
    code = gn_ddl_each_row(d, d->s->txn, now, refuse_null, &ordinal);
    d->desc.columns[ordinal].not_null = true;
    return code;
}

static gn_code drop_not_null(gn_draft *d, const gn_ast_alter_action *a)
{
    uint32_t ordinal = 0;
    gn_code code = column_at(d, a, &ordinal);
    if (code != GN_OK)
        return code;
    gn_column_desc *c = &d->desc.columns[ordinal];
    if (in_key(&d->desc, c->id))
        return gn_error_set(d->err, GN_TABLE_DEFINITION, "column \"%s\" is in a primary key", c->name);
    if (c->identity)
        return gn_error_set(d->err, GN_SYNTAX, "column \"%s\" of relation \"%s\" is an identity column", c->name,
                            d->desc.name);
    c->not_null = false;
    return GN_OK;
}

/* ---- ADD COLUMN ---- */

typedef struct filling {
    gn_table_info *info;
    uint32_t ordinal;
    gn_arena *scratch;
} filling;

static gn_code fill_row(void *ctx, gn_row_reader *r, gn_bytes key)
{
    filling *f = ctx;
    gn_draft *d = r->d;
    gn_eval eval = {
        .format = &d->s->format, .arena = f->scratch, .err = d->err, .session = d->s, .hooks = &gn_coord_hooks};
    gn_arena_reset(f->scratch);
    gn_code code = gn_row_default(d->s->db->cluster, f->info, f->ordinal, &eval, &r->row[f->ordinal], d->err);
    if (code == GN_OK)
        code = gn_row_finish(f->info, r->row, &eval, d->err);
    return code == GN_OK ? gn_dtxn_update(d->s->txn, r->table, key, r->row, d->err) : code;
}

/* Every row gets a value of its own: an identity, or a default that differs from row to row. */
static gn_code fill_column(gn_draft *d, uint32_t ordinal)
{
    gn_plan_context context;
    filling f = {.ordinal = ordinal};
    gn_code code = gn_draft_put(d);
    const gn_table_desc *now = code == GN_OK ? gn_dtxn_table(d->s->txn, d->desc.id) : NULL;
    if (code != GN_OK)
        return code;
    gn_plan_context_of(d->s, &context);
    code = gn_table_info_get(&d->s->infos, &context, now, &f.info, d->err);
    if (code != GN_OK)
        return code;
    f.scratch = gn_arena_create(&d->s->account);
    code = gn_ddl_each_row(d, d->s->txn, now, fill_row, &f);
    gn_arena_destroy(f.scratch);
    gn_table_info_release(f.info);
    return code;
}

static bool differs_by_row(const gn_expr *e)
{
    if (e->kind == GN_E_CALL && gn_function_volatility(e->function) == GN_VOLATILE)
        return true;
    for (uint32_t i = 0; i < e->n_args; i++)
        if (differs_by_row(e->args[i]))
            return true;
    return false;
}

static gn_code store_missing(gn_draft *d, const gn_expr *e, gn_column_desc *c)
{
    gn_value v;
    gn_eval eval = {
        .format = &d->s->format, .arena = d->arena, .err = d->err, .session = d->s, .hooks = &gn_coord_hooks};
    gn_format plain = {.extra_float_digits = 1, .now_us = d->s->format.now_us};
    gn_code code = gn_expr_eval_one(e, &eval, &v);
    if (code != GN_OK || v.is_null)
        return code;
    gn_buf text;
    gn_buf_init(&text, NULL, GN_MAX_FIELD);
    gn_value_print(&v, &plain, &text);
    c->missing_text = text.failed ? NULL : gn_arena_strndup(d->arena, (char *)text.data, text.len);
    gn_buf_close(&text);
    return c->missing_text ? GN_OK : gn_error_oom(d->err, gn_arena_account(d->arena));
}

static gn_code any_row(void *ctx, gn_row_reader *r, gn_bytes key)
{
    (void)r;
    (void)key;
    *(bool *)ctx = true;
    return GN_NO_DATA; /* enough seen */
}

static gn_code check_added_not_null(gn_draft *d, const gn_column_desc *c, const gn_table_desc *now)
{
    bool any = false;
    if (!c->not_null || c->missing_text || c->identity)
        return GN_OK;
    gn_code code = gn_ddl_each_row(d, d->s->txn, now, any_row, &any);
    if (code != GN_OK && code != GN_NO_DATA)
        return code;
    if (!any)
        return GN_OK;
    gn_error_set(d->err, GN_NOT_NULL, "column \"%s\" of relation \"%s\" contains null values", c->name, d->desc.name);
    gn_error_object(d->err, d->desc.name, c->name, NULL);
    return GN_NOT_NULL;
}

static gn_code add_column(gn_draft *d, const gn_ast_alter_action *a, const gn_table_desc *now)
{
    const gn_ast_column_def *def = a->column;
    gn_column_desc *c;
    gn_expr *value = NULL;
    if (gn_table_column_by_name(&d->desc, gn_bytes_str(def->name)) >= 0) {
        if (!a->if_not_exists)
            return gn_error_set(d->err, GN_DUPLICATE_COLUMN, "column \"%s\" of relation \"%s\" already exists",
                                def->name, d->desc.name);
        gn_session_notice(d->s, GN_SEVERITY_NOTICE, GN_DUPLICATE_COLUMN,
                          "column \"%s\" of relation \"%s\" already exists, skipping", def->name, d->desc.name);
        return GN_OK;
    }
    gn_code code = gn_draft_add_column(d, &c);
    if (code == GN_OK)
        code = gn_ddl_define_column(d, def, c);
    if (code == GN_OK && def->default_expr)
        code = gn_bind_stored_default(d->arena, &d->s->format, def->default_expr, def->default_sql, c->name, c->type,
                                      &value, d->err);
    bool by_row = c->identity || (value && differs_by_row(value));
    if (code == GN_OK && value && !by_row)
        code = store_missing(d, value, c);
    if (code == GN_OK && !by_row)
        code = check_added_not_null(d, c, now);
    for (uint32_t i = 0; i < def->constraints.n && code == GN_OK; i++) {
        if (def->constraints.items[i].kind == GN_C_PRIMARY_KEY)
            return refuse(d, def->constraints.items[i].position, "adding a primary key to a table",
                          "Create the table with its primary key.");
        code = gn_ddl_add_constraint(d, &def->constraints.items[i]);
    }
    return code == GN_OK && by_row ? fill_column(d, (uint32_t)(c - d->desc.columns)) : code;
}

/* ---- DROP COLUMN ---- */

static bool mentions(const gn_expr *e, uint32_t ordinal)
{
    if (e->kind == GN_E_PARAM && e->column == ordinal)
        return true;
    for (uint32_t i = 0; i < e->n_args; i++)
        if (mentions(e->args[i], ordinal))
            return true;
    return false;
}

static gn_code drop_checks_of(gn_draft *d, uint32_t ordinal)
{
    for (uint32_t i = d->desc.n_checks; i-- > 0;) {
        gn_expr *e;
        gn_code code = gn_bind_stored_check(d->arena, &d->s->format, NULL, gn_bytes_str(d->desc.checks[i].sql),
                                            &d->desc, &e, d->err);
        if (code != GN_OK)
            return code;
        if (mentions(e, ordinal))
            gn_draft_drop_check(d, i);
    }
    return GN_OK;
}

/* As a column of it, in an expression, or in its condition. */
static bool index_uses(const gn_table_desc *t, const gn_index_desc *x, uint32_t ordinal)
{
    for (uint32_t k = 0; k <= x->n_columns; k++) {
        uint32_t id = k < x->n_columns ? x->columns[k] : x->predicate;
        int at = id ? gn_table_column_by_id(t, id) : -1;
        if (at < 0)
            continue;
        const gn_computed *computed = t->columns[at].computed;
        if ((uint32_t)at == ordinal || (computed && gn_computed_uses(computed, ordinal)))
            return true;
    }
    return false;
}

static void drop_indexes_of(gn_draft *d, uint32_t ordinal)
{
    for (uint32_t i = d->desc.n_indexes; i-- > 0;)
        if (index_uses(&d->desc, &d->desc.indexes[i], ordinal))
            gn_draft_drop_index(d, i);
}

static gn_code drop_column(gn_draft *d, const gn_ast_alter_action *a)
{
    int at = gn_table_column_by_name(&d->desc, gn_bytes_str(a->name));
    if (at < 0 && a->if_exists) {
        gn_session_notice(d->s, GN_SEVERITY_NOTICE, GN_OK, "column \"%s\" of relation \"%s\" does not exist, skipping",
                          a->name, d->desc.name);
        return GN_OK;
    }
    uint32_t ordinal = 0;
    gn_code code = column_at(d, a, &ordinal);
    if (code != GN_OK)
        return code;
    gn_column_desc *c = &d->desc.columns[ordinal];
    if (in_key(&d->desc, c->id))
        return refuse(d, a->name_position, "dropping a column of the primary key",
                      "Make a new table and copy the rows.");
    code = drop_checks_of(d, ordinal);
    if (code != GN_OK)
        return code;
    drop_indexes_of(d, ordinal);
    c->dropped = true;
    c->not_null = c->identity = false;
    c->default_sql = NULL;
    return GN_OK;
}

/* ---- renaming ---- */

/* Where a condition's text names the column. */
typedef struct mention_list {
    const char *name;
    int at[200];
    uint32_t n;
    bool too_many;
} mention_list;

static void find_mentions(const gn_ast_expr *e, mention_list *list)
{
    if (!e)
        return;
    if (e->kind == GN_A_COLUMN && strcmp(e->column.name, list->name) == 0) {
        list->too_many |= list->n == sizeof list->at / sizeof list->at[0];
        if (!list->too_many)
            list->at[list->n++] = e->position;
    }
    for (uint32_t i = 0; i < e->args.n; i++)
        find_mentions(e->args.items[i], list);
    if (e->kind == GN_A_CASE) {
        find_mentions(e->cases.operand, list);
        find_mentions(e->cases.otherwise, list);
    }
}

static int ascending(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

/* Past a name: quoted, or of identifier characters. */
static const char *skip_name(const char *p)
{
    if (*p == '"') {
        for (p++; *p && !(*p == '"' && p[1] != '"'); p++)
            p += *p == '"';
        return *p ? p + 1 : p;
    }
    while (*p == '_' || *p == '$' || (*p >= '0' && *p <= '9') || ((*p | 32) >= 'a' && (*p | 32) <= 'z') ||
           (unsigned char)*p >= 0x80)
        p++;
    return p;
}

/* The text with each mention (with a table's name in front, or not) replaced. */
static gn_code rename_in_text(gn_draft *d, const char *sql, const char *from, const char *to, char **out)
{
    gn_ast_expr *ast;
    mention_list list = {.name = from};
    gn_code code = gn_parse_expr(d->arena, gn_bytes_str(sql), &ast, d->err);
    if (code != GN_OK)
        return code;
    find_mentions(ast, &list);
    if (list.too_many)
        return gn_error_set(d->err, GN_LIMIT, "a check constraint names column \"%s\" too often", from);
    qsort(list.at, list.n, sizeof list.at[0], ascending);
    gn_buf buf;
    gn_buf_init(&buf, NULL, GN_MAX_STATEMENT);
    const char *p = sql;
    for (uint32_t i = 0; i < list.n; i++) {
        const char *at = sql + list.at[i] - 1, *end = skip_name(at);
        while (*end == '.')
            end = skip_name(end + 1);
        gn_buf_append(&buf, p, (size_t)(at - p));
        gn_sql_quote_identifier(to, &buf);
        p = end;
    }
    gn_buf_append_str(&buf, p);
    *out = buf.failed ? NULL : gn_arena_strndup(d->arena, (char *)buf.data, buf.len);
    gn_buf_close(&buf);
    return *out ? GN_OK : gn_error_oom(d->err, gn_arena_account(d->arena));
}

static gn_code rename_column(gn_draft *d, const gn_ast_alter_action *a)
{
    uint32_t ordinal = 0;
    gn_code code = gn_table_column_by_name(&d->desc, gn_bytes_str(a->name)) >= 0
                       ? column_at(d, a, &ordinal)
                       : gn_error_set(d->err, GN_NO_COLUMN, "column \"%s\" does not exist", a->name);
    if (code == GN_OK && gn_table_column_by_name(&d->desc, gn_bytes_str(a->new_name)) >= 0)
        code = gn_error_set(d->err, GN_DUPLICATE_COLUMN, "column \"%s\" of relation \"%s\" already exists", a->new_name,
                            d->desc.name);
    for (uint32_t i = 0; i < d->desc.n_checks && code == GN_OK; i++)
        code = rename_in_text(d, d->desc.checks[i].sql, a->name, a->new_name, &d->desc.checks[i].sql);
    if (code == GN_OK)
        gn_ddl_copy_name(d->desc.columns[ordinal].name, a->new_name);
    return code;
}

static gn_code rename_table(gn_draft *d, const gn_ast_alter_action *a)
{
    if (gn_ddl_name_taken(d->s, d, a->new_name))
        return gn_error_set(d->err, GN_DUPLICATE_TABLE, "relation \"%s\" already exists", a->new_name);
    gn_ddl_copy_name(d->desc.name, a->new_name);
    return GN_OK;
}

/* ---- defaults, types ---- */

static gn_code set_default(gn_draft *d, const gn_ast_alter_action *a)
{
    uint32_t ordinal = 0;
    gn_expr *unused;
    gn_code code = column_at(d, a, &ordinal);
    if (code != GN_OK)
        return code;
    gn_column_desc *c = &d->desc.columns[ordinal];
    if (c->identity)
        return gn_error_set(d->err, GN_SYNTAX, "column \"%s\" of relation \"%s\" is an identity column", c->name,
                            d->desc.name);
    c->default_sql = NULL;
    if (a->kind == GN_ALTER_DROP_DEFAULT)
        return GN_OK;
    code = gn_bind_stored_default(d->arena, &d->s->format, a->default_expr, a->default_sql, c->name, c->type, &unused,
                                  d->err);
    if (code != GN_OK)
        return code;
    c->default_sql = gn_arena_strndup(d->arena, (const char *)a->default_sql.data, a->default_sql.len);
    return c->default_sql ? GN_OK : gn_error_oom(d->err, gn_arena_account(d->arena));
}

/* Only changes that leave every stored value as it is. */
static gn_code set_type(gn_draft *d, const gn_ast_alter_action *a)
{
    uint32_t ordinal = 0;
    gn_type type;
    gn_code code = column_at(d, a, &ordinal);
    if (code == GN_OK)
        code = gn_bind_type(d->arena, a->type, &type, d->err);
    if (code != GN_OK)
        return code;
    gn_type *old = &d->desc.columns[ordinal].type;
    bool text = !old->is_array && !type.is_array && (old->id == GN_T_VARCHAR || old->id == GN_T_TEXT) &&
                (type.id == GN_T_VARCHAR || type.id == GN_T_TEXT);
    bool wider = type.typmod < 0 || (old->typmod >= 0 && type.typmod >= old->typmod);
    bool same = gn_type_same(*old, type) && type.typmod == old->typmod;
    if (a->using_expr || !(same || (text && wider)))
        return refuse(d, a->name_position, "this change of a column's type",
                      "Add a column of the new type, fill it with UPDATE, and drop the old one.");
    for (uint32_t i = 0; i < d->desc.n_columns; i++) {
        const gn_computed *computed = d->desc.columns[i].computed;
        if (computed && gn_computed_uses(computed, ordinal) && !gn_type_same(*old, type))
            return refuse(d, a->name_position,
                          "changing the type of a column that an index's expression or condition names",
                          "Drop the index, change the type, and make the index again.");
    }
    *old = type;
    return GN_OK;
}

/* ---- constraints ---- */

typedef struct checking {
    const gn_expr *check;
    const char *name;
    gn_arena *scratch;
} checking;

static gn_code check_row(void *ctx, gn_row_reader *r, gn_bytes key)
{
    checking *c = ctx;
    gn_draft *d = r->d;
    gn_value ok;
    (void)key;
    gn_eval eval = {.format = &d->s->format,
                    .arena = c->scratch,
                    .params = r->row,
                    .n_params = r->table->n_columns,
                    .err = d->err,
                    .session = d->s,
                    .hooks = &gn_coord_hooks};
    gn_arena_reset(c->scratch);
    gn_code code = gn_expr_eval_one(c->check, &eval, &ok);
    if (code != GN_OK || ok.is_null || ok.as.boolean)
        return code;
    gn_error_set(d->err, GN_CHECK, "check constraint \"%s\" of relation \"%s\" is violated by some row", c->name,
                 r->table->name);
    gn_error_object(d->err, r->table->name, NULL, c->name);
    return GN_CHECK;
}

static gn_code add_constraint(gn_draft *d, const gn_ast_alter_action *a, const gn_table_desc *now)
{
    if (a->constraint->kind == GN_C_PRIMARY_KEY)
        return refuse(d, a->constraint->position, "adding a primary key to a table",
                      "Create the table with its primary key.");
    gn_code code = gn_ddl_add_constraint(d, a->constraint);
    if (code != GN_OK || a->constraint->kind != GN_C_CHECK)
        return code;
    const gn_check_desc *check = &d->desc.checks[d->desc.n_checks - 1];
    gn_expr *e;
    code = gn_bind_stored_check(d->arena, &d->s->format, NULL, gn_bytes_str(check->sql), &d->desc, &e, d->err);
    if (code != GN_OK)
        return code;
    checking c = {.check = e, .name = check->name, .scratch = gn_arena_create(&d->s->account)};
    code = gn_ddl_each_row(d, d->s->txn, now, check_row, &c);
    gn_arena_destroy(c.scratch);
    return code;
}

static gn_code drop_constraint(gn_draft *d, const gn_ast_alter_action *a)
{
    for (uint32_t i = 0; i < d->desc.n_checks; i++)
        if (strcmp(d->desc.checks[i].name, a->name) == 0)
            return gn_draft_drop_check(d, i), GN_OK;
    for (uint32_t i = 0; i < d->desc.n_indexes; i++)
        if (d->desc.indexes[i].constraint && strcmp(d->desc.indexes[i].name, a->name) == 0)
            return gn_draft_drop_index(d, i), GN_OK;
    if (d->desc.n_key && strcmp(d->desc.key_name, a->name) == 0)
        return refuse(d, a->name_position, "dropping a primary key", "Make a new table and copy the rows.");
    if (!a->if_exists)
        return gn_error_set(d->err, GN_NO_OBJECT, "constraint \"%s\" of relation \"%s\" does not exist", a->name,
                            d->desc.name);
    gn_session_notice(d->s, GN_SEVERITY_NOTICE, GN_OK, "constraint \"%s\" of relation \"%s\" does not exist, skipping",
                      a->name, d->desc.name);
    return GN_OK;
}

static gn_code rename_constraint(gn_draft *d, const gn_ast_alter_action *a)
{
    for (uint32_t i = 0; i < d->desc.n_checks; i++)
        if (strcmp(d->desc.checks[i].name, a->name) == 0)
            return gn_ddl_copy_name(d->desc.checks[i].name, a->new_name), GN_OK;
    if (gn_ddl_name_taken(d->s, d, a->new_name))
        return gn_error_set(d->err, GN_DUPLICATE_TABLE, "relation \"%s\" already exists", a->new_name);
    for (uint32_t i = 0; i < d->desc.n_indexes; i++)
        if (d->desc.indexes[i].constraint && strcmp(d->desc.indexes[i].name, a->name) == 0)
            return gn_ddl_copy_name(d->desc.indexes[i].name, a->new_name), GN_OK;
    if (d->desc.n_key && strcmp(d->desc.key_name, a->name) == 0)
        return gn_ddl_copy_name(d->desc.key_name, a->new_name), GN_OK;
    return gn_error_set(d->err, GN_NO_OBJECT, "constraint \"%s\" for table \"%s\" does not exist", a->name,
                        d->desc.name);
}

/* ---- the whole ---- */

static gn_code run_action(gn_draft *d, const gn_ast_alter_action *a, const gn_table_desc *now)
{
    switch (a->kind) {
    case GN_ALTER_ADD_COLUMN:
        return add_column(d, a, now);
    case GN_ALTER_DROP_COLUMN:
        return drop_column(d, a);
    case GN_ALTER_RENAME_COLUMN:
        return rename_column(d, a);
    case GN_ALTER_RENAME_TABLE:
        return rename_table(d, a);
    case GN_ALTER_SET_DEFAULT:
    case GN_ALTER_DROP_DEFAULT:
        return set_default(d, a);
    case GN_ALTER_SET_NOT_NULL:
        return set_not_null(d, a, now);
    case GN_ALTER_DROP_NOT_NULL:
        return drop_not_null(d, a);
    case GN_ALTER_COLUMN_TYPE:
        return set_type(d, a);
    case GN_ALTER_ADD_CONSTRAINT:
        return add_constraint(d, a, now);
    case GN_ALTER_DROP_CONSTRAINT:
        return drop_constraint(d, a);
    case GN_ALTER_RENAME_CONSTRAINT:
        return rename_constraint(d, a);
    }
    return gn_error_set(d->err, GN_INTERNAL, "unknown change of a table");
}

/* Each action is put before the next one looks at the rows. */
static gn_code run_one(gn_session *s, const gn_table_desc *table, const gn_ast_alter_action *action, gn_error *err)
{
    gn_draft d;
    gn_code code = gn_draft_init(&d, s, table, err);
    if (code != GN_OK)
        return code;
    code = run_action(&d, action, table);
    if (code == GN_OK)
        code = gn_draft_put(&d);
    gn_draft_close(&d);
    return code;
}

gn_code gn_run_alter_table(gn_session *s, const gn_ast_alter_table *ast, gn_error *err)
{
    const gn_table_desc *table;
    gn_code code = gn_ddl_table(s, &ast->name, ast->if_exists, &table, err);
    if (code != GN_OK || !table)
        return code;
    uint64_t id = table->id;
    for (uint32_t i = 0; i < ast->actions.n && code == GN_OK; i++)
        code = run_one(s, gn_dtxn_table(s->txn, id), &ast->actions.items[i], err);
    return code;
}
