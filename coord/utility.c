/* Statements without a plan: which there are, their tags, and the small ones. */
#include "coord/parser.h"
#include "coord/session_private.h"

#include <stdio.h>

static const struct {
    const char *name;
    bool writes;
} statements[] = {
    [GN_S_QUERY] = {"SELECT", false},
    [GN_S_INSERT] = {"INSERT", true},
    [GN_S_UPDATE] = {"UPDATE", true},
    [GN_S_DELETE] = {"DELETE", true},
    [GN_S_CREATE_TABLE] = {"CREATE TABLE", true},
    [GN_S_DROP_TABLE] = {"DROP TABLE", true},
    [GN_S_ALTER_TABLE] = {"ALTER TABLE", true},
    [GN_S_CREATE_INDEX] = {"CREATE INDEX", true},
    [GN_S_DROP_INDEX] = {"DROP INDEX", true},
    [GN_S_TRUNCATE] = {"TRUNCATE TABLE", true},
    [GN_S_SET_CHARACTERISTICS] = {"SET", false},
    [GN_S_SET] = {"SET", false},
    [GN_S_SHOW] = {"SHOW", false},
    [GN_S_EXPLAIN] = {"EXPLAIN", false},
    [GN_S_COPY] = {"COPY", false},
    [GN_S_PREPARE] = {"PREPARE", false},
    [GN_S_EXECUTE] = {"EXECUTE", false},
    [GN_S_DEALLOCATE] = {"DEALLOCATE", false},
    [GN_S_DISCARD] = {"DISCARD", false},
    [GN_S_VACUUM] = {"VACUUM", false},
    [GN_S_ANALYZE] = {"ANALYZE", false},
    [GN_S_CHECKPOINT] = {"CHECKPOINT", false},
    [GN_S_DECLARE] = {"DECLARE CURSOR", false},
    [GN_S_FETCH] = {"FETCH", false},
    [GN_S_CLOSE] = {"CLOSE CURSOR", false},
    [GN_S_CREATE_EXTENSION] = {"CREATE EXTENSION", false},
};

const char *gn_statement_name(const gn_ast_statement *ast)
{
    bool known = (size_t)ast->kind < sizeof statements / sizeof statements[0] && statements[ast->kind].name;
    if (ast->kind == GN_S_COPY && ast->copy->from)
        return "COPY FROM";
    return known ? statements[ast->kind].name : "this statement";
}

bool gn_statement_writes(const gn_ast_statement *ast)
{
    bool known = (size_t)ast->kind < sizeof statements / sizeof statements[0];
    return (known && statements[ast->kind].writes) || (ast->kind == GN_S_COPY && ast->copy->from);
}

/* ---- rows of text ---- */

static gn_code text_columns(gn_arena *arena, const char *const *names, uint32_t n, const gn_result_column **out,
                            gn_error *err)
{
    gn_result_column *columns = gn_arena_calloc(arena, n, sizeof *columns);
    if (!columns)
        return gn_error_oom(err, gn_arena_account(arena));
    for (uint32_t i = 0; i < n; i++)
        columns[i] = (gn_result_column){.name = names[i], .type = gn_type_of(GN_T_TEXT)};
    *out = columns;
    return GN_OK;
}

gn_code gn_portal_text_columns(gn_portal *p, const char *const *names, uint32_t n, gn_error *err)
{
    p->n_columns = n;
    return text_columns(p->arena, names, n, &p->columns, err);
}

static gn_code text_chunk(gn_portal *p, gn_error *err)
{
    gn_result_rows *rows = &p->exec.results;
    struct gn_result_chunk *chunk = gn_arena_calloc(p->arena, 1, sizeof *chunk);
    gn_type *types = gn_arena_alloc(p->arena, p->n_columns * sizeof *types);
    if (!chunk || !types)
        return gn_error_oom(err, &p->account);
    for (uint32_t i = 0; i < p->n_columns; i++)
        types[i] = p->columns[i].type;
    gn_code code = gn_batch_init(&chunk->batch, types, p->n_columns, p->arena, err);
    if (code != GN_OK)
        return code;
    if (rows->last)
        rows->last->next = chunk;
    else
        rows->first = chunk;
    rows->last = chunk;
    return GN_OK;
}

gn_code gn_portal_text_row(gn_portal *p, const char *const *values, gn_error *err)
{
    gn_result_rows *rows = &p->exec.results;
    if (!rows->last || rows->last->batch.n_rows == GN_BATCH_ROWS) {
        gn_code code = text_chunk(p, err);
        if (code != GN_OK)
            return code;
    }
    gn_batch *batch = &rows->last->batch;
    for (uint32_t i = 0; i < p->n_columns; i++) {
        if (!values[i]) {
            gn_column_set_null(&batch->columns[i], batch->n_rows);
            continue;
        }
        size_t len = strlen(values[i]);
        char *copy = gn_arena_strndup(p->arena, values[i], len);
        if (!copy)
            return gn_error_oom(err, &p->account);
        batch->columns[i].bytes[batch->n_rows] = gn_bytes_of(copy, len);
    }
    batch->n_rows++;
    rows->n++;
    return GN_OK;
}

static gn_code show_columns(const char *name, gn_arena *arena, const gn_result_column **columns, uint32_t *n,
                            gn_error *err)
{
    static const char *const all[] = {"name", "setting", "description"};
    if (strcmp(name, "all") == 0) {
        *n = 3;
        return text_columns(arena, all, 3, columns, err);
    }
    int id = gn_setting_find(gn_bytes_str(name));
    const char *column = id >= 0 ? gn_setting_name((gn_setting_id)id) : name;
    *n = 1;
    return text_columns(arena, &column, 1, columns, err);
}

gn_code gn_utility_columns(gn_session *s, const gn_ast_statement *ast, gn_arena *arena,
                           const gn_result_column **columns, uint32_t *n, gn_error *err)
{
    static const char *const plan[] = {"QUERY PLAN"};
    gn_named *named;
    switch (ast->kind) {
    case GN_S_SHOW:
        return show_columns(ast->name, arena, columns, n, err);
    case GN_S_EXPLAIN:
        *n = 1;
        return text_columns(arena, plan, 1, columns, err);
    case GN_S_EXECUTE:
        named = gn_named_find(s, ast->execute->name);
        if (!named)
            return gn_error_set(err, GN_NO_STATEMENT, "prepared statement \"%s\" does not exist", ast->execute->name);
        return gn_stmt_columns(s, named->stmt, arena, columns, n, err);
    case GN_S_FETCH:
        return gn_fetch_columns(s, ast->cursor, columns, n, err);
    default:
        return GN_OK;
    }
}

/* ---- PREPARE, EXECUTE, DEALLOCATE ---- */

static gn_code run_prepare(gn_session *s, const gn_ast_prepare *ast, gn_error *err)
{
    gn_stmt *stmt;
    uint32_t oids[100];
    if (gn_named_find(s, ast->name))
        return gn_error_set(err, GN_DUPLICATE_STATEMENT, "prepared statement \"%s\" already exists", ast->name);
    if (ast->types.n > sizeof oids / sizeof oids[0])
        return gn_error_set(err, GN_LIMIT, "PREPARE may name at most %zu parameter types",
                            sizeof oids / sizeof oids[0]);
    for (uint32_t i = 0; i < ast->types.n; i++) {
        gn_type type;
        gn_code code = gn_bind_type(s->describe_arena, ast->types.items[i], &type, err);
        if (code != GN_OK)
            return code;
        oids[i] = gn_type_oid(type);
    }
    gn_code code = gn_stmt_parse(s, ast->statement->text, oids, ast->types.n, &stmt, err);
    if (code != GN_OK)
        return code;
    code = gn_stmt_plan(s, stmt, err);
    if (code == GN_OK)
        code = gn_named_put(s, ast->name, stmt, err);
    else if (err && err->position)
        err->position += (int)(ast->statement->position - 1);
    gn_stmt_release(stmt);
    return code;
}

static gn_code execute_param(gn_session *s, gn_binder *b, gn_portal *p, const gn_ast_expr *ast, uint32_t i,
                             gn_type type, gn_error *err)
{
    gn_expr *e;
    gn_code code = gn_bind_expr(b, ast, &e);
    if (code != GN_OK)
        return code;
    if (!gn_can_coerce(e, type, GN_CAST_ASSIGNMENT)) {
        gn_bind_fail(b, ast->position, GN_TYPE_MISMATCH,
                     "parameter $%u of type %s cannot be coerced to the expected type %s", i + 1, gn_type_text(e->type),
                     gn_type_text(type));
        gn_error_hint(err, "You will need to rewrite or cast the expression.");
        return GN_TYPE_MISMATCH;
    }
    code = gn_coerce(b, e, type, GN_CAST_ASSIGNMENT, &e);
    gn_eval eval = {.format = &p->format, .arena = p->arena, .err = err, .session = s, .hooks = &gn_coord_hooks};
    return code == GN_OK ? gn_expr_eval_one(e, &eval, &p->params[i]) : code;
}

static gn_code run_execute(gn_session *s, gn_portal *p, const gn_ast_execute *ast, gn_error *err)
{
    gn_named *named = gn_named_find(s, ast->name);
    if (!named)
        return gn_error_set(err, GN_NO_STATEMENT, "prepared statement \"%s\" does not exist", ast->name);
    p->target = gn_stmt_retain(named->stmt);
    gn_code code = gn_stmt_plan(s, p->target, err);
    if (code != GN_OK)
        return code;
    uint32_t n = p->target->plan ? p->target->plan->n_params : 0;
    if (ast->args.n != n) {
        gn_error_set(err, GN_SYNTAX, "wrong number of parameters for prepared statement \"%s\"", ast->name);
        gn_error_detail(err, "Expected %u parameters but got %u.", n, ast->args.n);
        return GN_SYNTAX;
    }
    gn_binder b;
    code = gn_binder_init(&b, p->arena, &p->format, 0, NULL, 0, err);
    b.clause = GN_IN_EXECUTE;
    p->params = gn_arena_calloc(p->arena, n + 1, sizeof *p->params);
    if (!p->params)
        return gn_error_oom(err, &p->account);
    p->n_params = n;
    for (uint32_t i = 0; i < n && code == GN_OK; i++)
        code = execute_param(s, &b, p, ast->args.items[i], i, p->target->plan->params[i], err);
    if (code != GN_OK || !p->target->ast)
        return code;
    if (s->read_only && gn_statement_writes(p->target->ast))
        return gn_error_set(err, GN_READ_ONLY_TRANSACTION, "cannot execute %s in a read-only transaction",
                            gn_statement_name(p->target->ast));
    if (!p->target->plan)
        return gn_error_set(err, GN_FEATURE, "EXECUTE of %s is not supported", gn_statement_name(p->target->ast));
    return gn_portal_start_planned(s, p, p->target, err);
}

static gn_code run_deallocate(gn_session *s, const char *name, gn_error *err)
{
    if (!name)
        gn_named_drop_all(s);
    else if (!gn_named_drop(s, name))
        return gn_error_set(err, GN_NO_STATEMENT, "prepared statement \"%s\" does not exist", name);
    return GN_OK;
}

/* ---- maintenance ---- */

gn_code gn_session_refuse_block(const gn_session *s, const char *what, gn_error *err)
{
    if (s->block == GN_BLOCK_NONE || (s->pipeline && s->block == GN_BLOCK_IMPLICIT && s->pipeline_runs == 0))
        return GN_OK;
    return gn_error_set(err, GN_ACTIVE_TRANSACTION, "%s cannot run inside a transaction block", what);
}

static gn_code run_discard(gn_session *s, gn_portal *p, const char *what, gn_error *err)
{
    snprintf(p->tag, sizeof p->tag, "DISCARD %s", strcmp(what, "all") == 0 ? "ALL" : what);
    if (strcmp(what, "all") != 0) {
        if (strcmp(what, "plans") == 0)
            gn_stmt_cache_clear(s);
        for (char *c = p->tag; *c; c++)
            *c = *c >= 'a' && *c <= 'z' ? (char)(*c - 32) : *c;
        return GN_OK;
    }
    gn_code code = gn_session_refuse_block(s, "DISCARD ALL", err);
    if (code != GN_OK)
        return code;
    gn_named_drop_all(s);
    gn_stmt_cache_clear(s);
    gn_settings_reset_all(&s->settings);
    return GN_OK;
}

gn_code gn_run_vacuum(gn_session *s, const gn_ast_statement *ast, gn_error *err)
{
    gn_plan_context context;
    gn_binder b;
    gn_code code = gn_session_refuse_block(s, "VACUUM", err);
    gn_plan_context_of(s, &context);
    if (code == GN_OK)
        code = gn_binder_init(&b, s->describe_arena, &s->format, 0, NULL, 0, err);
    for (uint32_t i = 0; i < ast->vacuum->tables.n && code == GN_OK; i++) {
        const gn_table_desc *table;
        code = gn_bind_table(&b, &context, &ast->vacuum->tables.items[i], &table);
    }
    return code == GN_OK && ast->kind == GN_S_VACUUM ? gn_cluster_compact(s->db->cluster, err) : code;
}

static gn_code run_create_extension(const char *name, gn_error *err)
{
    if (strcmp(name, "vector") == 0 || strcmp(name, "plpgsql") == 0)
        return GN_OK;
    gn_error_set(err, GN_FEATURE, "extension \"%s\" is not available", name);
    gn_error_hint(err, "Types, operators and indexes of \"vector\" are built in.");
    return GN_FEATURE;
}

/* ---- dispatch ---- */

static gn_code unsupported(const gn_ast_statement *ast, const char *what, const char *hint, gn_error *err)
{
    gn_error_set(err, GN_FEATURE, "%s is not supported", what);
    gn_error_at(err, ast->position);
    gn_error_hint(err, "%s", hint);
    return GN_FEATURE;
}

static gn_code dispatch(gn_session *s, gn_portal *p, const gn_ast_statement *ast, gn_error *err)
{
    switch (ast->kind) {
    case GN_S_CREATE_TABLE:
        return gn_run_create_table(s, ast->create_table, err);
    case GN_S_DROP_TABLE:
        return gn_run_drop_table(s, ast->drop, err);
    case GN_S_ALTER_TABLE:
        return gn_run_alter_table(s, ast->alter_table, err);
    case GN_S_CREATE_INDEX:
        return gn_run_create_index(s, ast->create_index, err);
    case GN_S_DROP_INDEX:
        return gn_run_drop_index(s, ast->drop, err);
    case GN_S_TRUNCATE:
        return gn_run_truncate(s, ast->truncate, err);
    case GN_S_SET:
    case GN_S_SET_CHARACTERISTICS:
        return gn_run_set(s, ast, err);
    case GN_S_SHOW:
        return gn_run_show(s, p, ast->name, err);
    case GN_S_EXPLAIN:
        return gn_run_explain(s, p, ast->explain, err);
    case GN_S_COPY:
        return gn_run_copy(s, p, ast->copy, err);
    case GN_S_PREPARE:
        return run_prepare(s, ast->prepare, err);
    case GN_S_EXECUTE:
        return run_execute(s, p, ast->execute, err);
    case GN_S_DEALLOCATE:
        return run_deallocate(s, ast->name, err);
    case GN_S_DISCARD:
        return run_discard(s, p, ast->name, err);
    case GN_S_VACUUM:
    case GN_S_ANALYZE:
        return gn_run_vacuum(s, ast, err);
    case GN_S_CHECKPOINT:
        return GN_OK;
    case GN_S_CREATE_EXTENSION:
        return run_create_extension(ast->name, err);
    case GN_S_DECLARE:
        return gn_run_declare(s, p, ast, err);
    case GN_S_FETCH:
        return gn_run_fetch(s, p, ast->cursor, err);
    case GN_S_CLOSE:
        return gn_run_close_cursor(s, ast->cursor->name, err);
    default:
        return unsupported(ast, "this statement", "See the documentation for what is.", err);
    }
}

gn_code gn_run_utility(gn_session *s, gn_portal *p, gn_error *err)
{
    const gn_ast_statement *ast = p->stmt->ast;
    const char *tag = gn_statement_name(ast);
    if (ast->kind == GN_S_SET && ast->set->reset)
        tag = "RESET";
    if (ast->kind == GN_S_DEALLOCATE && !ast->name)
        tag = "DEALLOCATE ALL";
    if (ast->kind == GN_S_CLOSE && !ast->cursor->name)
        tag = "CLOSE CURSOR ALL";
    snprintf(p->tag, sizeof p->tag, "%s", tag);
    return dispatch(s, p, ast, err);
}
