/* CREATE TABLE, DROP TABLE, TRUNCATE, and what a column or constraint becomes. */
#include "base/limits.h"
#include "coord/ddl_private.h"

#include <stdio.h>

enum { DEFAULT_SHARDS = 8 };

/* ---- columns ---- */

static bool integer_type(gn_type t)
{
    return !t.is_array && (t.id == GN_T_INT2 || t.id == GN_T_INT4 || t.id == GN_T_INT8);
}

static gn_code fail_at(gn_draft *d, int position, gn_code code)
{
    gn_error_at(d->err, position);
    return code;
}

static gn_code copy_text(gn_draft *d, gn_bytes text, char **out)
{
    *out = gn_arena_strndup(d->arena, (const char *)text.data, text.len);
    return *out ? GN_OK : gn_error_oom(d->err, gn_arena_account(d->arena));
}

static gn_code define_identity(gn_draft *d, const gn_ast_column_def *def, gn_column_desc *c)
{
    if (def->default_expr) {
        gn_error_set(d->err, GN_SYNTAX, "both default and identity specified for column \"%s\" of table \"%s\"",
                     c->name, d->desc.name);
        return fail_at(d, def->position, GN_SYNTAX);
    }
    if (!integer_type(c->type)) {
        return gn_error_set(d->err, GN_INVALID_PARAMETER, "identity column type must be smallint, integer, or bigint");
    }
    c->identity = true;
    c->identity_always = def->identity == GN_IDENTITY_ALWAYS;
    gn_code code = gn_ddl_new_id(d->s, &c->sequence_id, d->err);
    if (code == GN_OK && def->identity_start != 1)
        code = gn_cluster_sequence_raise(d->s->db->cluster, c->sequence_id, def->identity_start - 1, d->err);
    return code;
}

gn_code gn_ddl_define_column(gn_draft *d, const gn_ast_column_def *def, gn_column_desc *c)
{
    if (gn_table_column_by_name(&d->desc, gn_bytes_str(def->name)) >= 0 && c->name[0] == 0) {
        return gn_error_set(d->err, GN_DUPLICATE_COLUMN, "column \"%s\" specified more than once", def->name);
    }
    if (!def->type) {
        gn_error_set(d->err, GN_SYNTAX, "column \"%s\" has no type", def->name);
        return fail_at(d, def->position, GN_SYNTAX);
    }
    gn_ddl_copy_name(c->name, def->name);
    c->not_null = def->not_null;
    gn_code code = gn_bind_type(d->arena, def->type, &c->type, d->err);
    if (code == GN_OK && c->type.id == GN_T_UNKNOWN) {
        gn_error_set(d->err, GN_TABLE_DEFINITION, "column \"%s\" has pseudo-type unknown", c->name);
        return fail_at(d, def->position, GN_TABLE_DEFINITION);
    }
    if (code == GN_OK && def->identity != GN_IDENTITY_NONE)
        code = define_identity(d, def, c);
    if (code == GN_OK && def->default_expr) {
        gn_expr *unused;
        code = gn_bind_stored_default(d->arena, &d->s->format, def->default_expr, def->default_sql, c->name, c->type,
                                      &unused, d->err);
        if (code == GN_OK)
            code = copy_text(d, def->default_sql, &c->default_sql);
    }
    return code;
}

/* ---- constraints ---- */

gn_code gn_ddl_check_key_type(gn_type type, gn_error *err)
{
    if (type.id != GN_T_JSON && type.id != GN_T_VECTOR && type.id != GN_T_HALFVEC && type.id != GN_T_SPARSEVEC)
        return GN_OK;
    gn_error_set(err, GN_NO_OBJECT, "data type %s has no default operator class for access method \"btree\"",
                 gn_type_text(type));
    gn_error_hint(err, "You must specify an operator class for the index or define a default operator class for the "
                       "data type.");
    return GN_NO_OBJECT;
}

static gn_code key_columns(gn_draft *d, const gn_ast_constraint *c, uint32_t ids[32], const char *what)
{
    if (c->columns.n > GN_MAX_INDEX_COLUMNS)
        return gn_error_set(d->err, GN_TOO_MANY_COLUMNS, "cannot use more than %d columns in an index",
                            GN_MAX_INDEX_COLUMNS);
    for (uint32_t i = 0; i < c->columns.n; i++) {
        const gn_ast_name *name = &c->columns.items[i];
        int at = gn_table_column_by_name(&d->desc, gn_bytes_str(name->name));
        if (at < 0) {
            gn_error_set(d->err, GN_NO_COLUMN, "column \"%s\" named in key does not exist", name->name);
            return fail_at(d, c->position, GN_NO_COLUMN);
        }
        ids[i] = d->desc.columns[at].id;
        for (uint32_t k = 0; k < i; k++) {
            if (ids[k] != ids[i])
                continue;
            gn_error_set(d->err, GN_DUPLICATE_COLUMN, "column \"%s\" appears twice in %s constraint", name->name, what);
            return fail_at(d, name->position, GN_DUPLICATE_COLUMN);
        }
        gn_code code = gn_ddl_check_key_type(d->desc.columns[at].type, d->err);
        if (code != GN_OK)
            return code;
    }
    return GN_OK;
}

static gn_code take_name(gn_draft *d, const gn_ast_constraint *c, char out[64])
{
    if (gn_ddl_name_taken(d->s, d, c->name)) {
        gn_error_set(d->err, GN_DUPLICATE_TABLE, "relation \"%s\" already exists", c->name);
        return fail_at(d, c->position, GN_DUPLICATE_TABLE);
    }
    gn_ddl_copy_name(out, c->name);
    return GN_OK;
}

static gn_code add_primary_key(gn_draft *d, const gn_ast_constraint *c)
{
    gn_table_desc *t = &d->desc;
    if (t->n_key) {
        gn_error_set(d->err, GN_TABLE_DEFINITION, "multiple primary keys for table \"%s\" are not allowed", t->name);
        return fail_at(d, c->position, GN_TABLE_DEFINITION);
    }
    gn_code code = key_columns(d, c, t->key, "primary key");
    if (code == GN_OK && c->name)
        code = take_name(d, c, t->key_name);
    else if (code == GN_OK)
        gn_ddl_choose_name(d->s, d, t->name, NULL, "pkey", true, t->key_name);
    if (code != GN_OK)
        return code;
    t->n_key = c->columns.n;
    t->hidden_key = false;
    for (uint32_t i = 0; i < t->n_key; i++)
        t->columns[gn_table_column_by_id(t, t->key[i])].not_null = true;
    return GN_OK;
}

static gn_code add_unique(gn_draft *d, const gn_ast_constraint *c)
{
    uint32_t ids[32];
    gn_index_desc *index;
    gn_code code = key_columns(d, c, ids, "unique");
    if (code == GN_OK)
        code = gn_draft_add_index(d, &index);
    if (code != GN_OK)
        return code;
    index->kind = GN_INDEX_BTREE;
    index->unique = index->constraint = true;
    index->n_columns = c->columns.n;
    memcpy(index->columns, ids, sizeof ids[0] * c->columns.n);
    if (c->name)
        return take_name(d, c, index->name);
    char columns[64];
    gn_ddl_columns_name(d, index, columns);
    gn_ddl_choose_name(d->s, d, d->desc.name, columns, "key", true, index->name);
    return GN_OK;
}

/* The column that a condition is about, if it is about one only: the made-up name has it. */
static const char *only_column(const gn_table_desc *t, const gn_expr *e, const char *known, bool *several)
{
    if (e->kind == GN_E_PARAM && e->column < t->n_columns) {
        const char *name = t->columns[e->column].name;
        if (known && strcmp(known, name) != 0)
            *several = true;
        return name;
    }
    for (uint32_t i = 0; i < e->n_args; i++)
        known = only_column(t, e->args[i], known, several);
    return known;
}

static gn_code add_check(gn_draft *d, const gn_ast_constraint *c)
{
    gn_table_desc *t = &d->desc;
    gn_expr *e;
    gn_check_desc *check;
    for (uint32_t i = 0; c->name && i < t->n_checks; i++)
        if (strcmp(t->checks[i].name, c->name) == 0)
            return gn_error_set(d->err, GN_DUPLICATE_OBJECT, "constraint \"%s\" for relation \"%s\" already exists",
                                c->name, t->name);
    gn_code code = gn_bind_stored_check(d->arena, &d->s->format, c->check, c->check_sql, t, &e, d->err);
    if (code != GN_OK)
        return code;
    char name[64];
    bool several = false;
    const char *column = only_column(t, e, NULL, &several);
    if (c->name)
        gn_ddl_copy_name(name, c->name);
    else
        gn_ddl_choose_name(d->s, d, t->name,
                           c->at_column ? c->at_column
                           : several    ? NULL
                                        : column,
                           "check", false, name);
    code = gn_draft_add_check(d, &check);
    if (code != GN_OK)
        return code;
    memcpy(check->name, name, sizeof check->name);
    return copy_text(d, c->check_sql, &check->sql);
}

gn_code gn_ddl_add_constraint(gn_draft *d, const gn_ast_constraint *constraint)
{
    switch (constraint->kind) {
    case GN_C_PRIMARY_KEY:
        return add_primary_key(d, constraint);
    case GN_C_UNIQUE:
        return add_unique(d, constraint);
    case GN_C_CHECK:
        return add_check(d, constraint);
    case GN_C_FOREIGN_KEY:
        break;
    }
    gn_error_set(d->err, GN_FEATURE, "foreign keys are not supported");
    gn_error_hint(d->err, "Leave REFERENCES out; the application keeps such references.");
    return fail_at(d, constraint->position, GN_FEATURE);
}

/* ---- CREATE TABLE ---- */

typedef struct table_options {
    uint32_t shards, replicas; /* 0: not given */
} table_options;

static gn_code read_options(const gn_ast_options *options, table_options *out, gn_error *err)
{
    gn_code code = GN_OK;
    *out = (table_options){0};
    for (uint32_t i = 0; i < options->n && code == GN_OK; i++) {
        const gn_ast_option *o = &options->items[i];
        if (strcmp(o->name, "shards") == 0) {
            code = gn_ddl_integer_option(o, 1, GN_MAX_SHARDS, &out->shards, err);
        } else if (strcmp(o->name, "replicas") == 0) {
            code = gn_ddl_integer_option(o, 1, GN_MAX_REPLICAS, &out->replicas, err);
        } else if (strcmp(o->name, "fillfactor") != 0) {
            gn_error_set(err, GN_INVALID_PARAMETER, "unrecognized parameter \"%s\"", o->name);
            gn_error_at(err, o->position);
            code = GN_INVALID_PARAMETER;
        }
    }
    return code;
}

/* Over groups: PARTITION BY HASH names the shard key, else it is the primary key. */
static gn_code spread(gn_draft *d, const gn_ast_create_table *ast, const table_options *o)
{
    gn_table_desc *t = &d->desc;
    if (!o->shards && !o->replicas && !ast->shard_key.n)
        return GN_OK;
    if (ast->shard_key.n > GN_MAX_INDEX_COLUMNS)
        return gn_error_set(d->err, GN_TABLE_DEFINITION, "a partition key has at most %d columns",
                            GN_MAX_INDEX_COLUMNS);
    for (uint32_t i = 0; i < ast->shard_key.n; i++) {
        const gn_ast_name *name = &ast->shard_key.items[i];
        int ordinal = gn_table_column_by_name(t, gn_bytes_str(name->name));
        if (ordinal < 0) {
            gn_error_set(d->err, GN_NO_COLUMN, "column \"%s\" named in partition key does not exist", name->name);
            return fail_at(d, name->position, GN_NO_COLUMN);
        }
        t->shard_key[t->n_shard_key++] = t->columns[ordinal].id;
    }
    if (!ast->shard_key.n) {
        t->n_shard_key = t->n_key;
        memcpy(t->shard_key, t->key, sizeof t->key);
    }
    return gn_cluster_distribution(d->s->db->cluster, o->shards ? o->shards : DEFAULT_SHARDS, o->replicas,
                                   &t->distribution_id, d->err);
}

/* The primary key first: it decides which columns are NOT NULL, and PostgreSQL names it first, too. */
static gn_code add_constraints(gn_draft *d, const gn_ast_constraints *list)
{
    gn_code code = GN_OK;
    for (int keys = 1; keys >= 0; keys--)
        for (uint32_t i = 0; i < list->n && code == GN_OK; i++)
            if ((list->items[i].kind == GN_C_PRIMARY_KEY) == keys)
                code = gn_ddl_add_constraint(d, &list->items[i]);
    return code;
}

static gn_code define_table(gn_draft *d, const gn_ast_create_table *ast, const table_options *options)
{
    gn_code code = GN_OK;
    gn_ddl_copy_name(d->desc.name, ast->name.name);
    for (uint32_t i = 0; i < ast->columns.n && code == GN_OK; i++) {
        gn_column_desc *c;
        code = gn_draft_add_column(d, &c);
        if (code == GN_OK)
            code = gn_ddl_define_column(d, &ast->columns.items[i], c);
    }
    if (code == GN_OK)
        code = add_constraints(d, &ast->constraints);
    return code == GN_OK ? spread(d, ast, options) : code;
}

gn_code gn_run_create_table(gn_session *s, const gn_ast_create_table *ast, gn_error *err)
{
    gn_draft d;
    table_options options;
    gn_code code = gn_ddl_check_schema(&ast->name, err);
    if (code == GN_OK && ast->temporary) {
        gn_error_set(err, GN_FEATURE, "temporary tables are not supported");
        return gn_error_at(err, ast->name.position), GN_FEATURE;
    }
    if (code == GN_OK)
        code = read_options(&ast->options, &options, err);
    if (code != GN_OK)
        return code;
    if (gn_ddl_name_taken(s, NULL, ast->name.name)) {
        if (!ast->if_not_exists)
            return gn_error_set(err, GN_DUPLICATE_TABLE, "relation \"%s\" already exists", ast->name.name);
        gn_session_notice(s, GN_SEVERITY_NOTICE, GN_DUPLICATE_TABLE, "relation \"%s\" already exists, skipping",
                          ast->name.name);
        return GN_OK;
    }
    code = gn_draft_init(&d, s, NULL, err);
    if (code != GN_OK)
        return code;
    code = define_table(&d, ast, &options);
    if (code == GN_OK)
        code = gn_draft_put(&d);
    gn_draft_close(&d);
    return code;
}

/* ---- DROP TABLE, TRUNCATE ---- */

static gn_code drop_one(gn_session *s, const gn_ast_name *name, bool if_exists, gn_error *err)
{
    const gn_table_desc *table;
    const gn_index_desc *index;
    gn_code code = gn_ddl_check_schema(name, err);
    if (code != GN_OK)
        return code;
    table = gn_dtxn_table_named(s->txn, gn_bytes_str(name->name));
    if (table)
        return gn_dtxn_drop_table(s->txn, table->id, err);
    if (gn_dtxn_index_named(s->txn, gn_bytes_str(name->name), &index)) {
        gn_error_set(err, GN_WRONG_OBJECT_TYPE, "\"%s\" is not a table", name->name);
        return gn_error_hint(err, "Use DROP INDEX to remove an index."), GN_WRONG_OBJECT_TYPE;
    }
    if (!if_exists)
        return gn_error_set(err, GN_NO_TABLE, "table \"%s\" does not exist", name->name);
    gn_session_notice(s, GN_SEVERITY_NOTICE, GN_OK, "table \"%s\" does not exist, skipping", name->name);
    return GN_OK;
}

gn_code gn_run_drop_table(gn_session *s, const gn_ast_drop *ast, gn_error *err)
{
    gn_code code = GN_OK;
    for (uint32_t i = 0; i < ast->names.n && code == GN_OK; i++)
        code = drop_one(s, &ast->names.items[i], ast->if_exists, err);
    return code;
}

/* Rows carry the data epoch in their keys: a new epoch, and the old rows are out of sight. */
static gn_code truncate_one(gn_session *s, const gn_table_desc *table, bool restart, gn_error *err)
{
    gn_draft d;
    gn_code code = gn_draft_init(&d, s, table, err);
    if (code != GN_OK)
        return code;
    d.desc.data_epoch++;
    for (uint32_t i = 0; restart && i < d.desc.n_columns && code == GN_OK; i++)
        if (d.desc.columns[i].identity && !d.desc.columns[i].dropped)
            code = gn_ddl_new_id(s, &d.desc.columns[i].sequence_id, err);
    if (code == GN_OK)
        code = gn_draft_put(&d);
    gn_draft_close(&d);
    return code;
}

gn_code gn_run_truncate(gn_session *s, const gn_ast_truncate *ast, gn_error *err)
{
    gn_code code = GN_OK;
    for (uint32_t i = 0; i < ast->names.n && code == GN_OK; i++) {
        const gn_table_desc *table;
        code = gn_ddl_table(s, &ast->names.items[i], false, &table, err);
        if (code == GN_OK)
            code = truncate_one(s, table, ast->restart_identity, err);
    }
    return code;
}
