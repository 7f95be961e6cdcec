/* DECLARE, FETCH, MOVE, CLOSE: a cursor is a portal with a name, and FETCH a portal that takes its rows from one. It
 * goes forward alone, streams where its plan does, and ends with the transaction, with an error in it, and with
 * ROLLBACK TO SAVEPOINT. It sees nothing of what its own transaction writes later: before the first such statement the
 * rows that are still to come are kept in memory. */
#include "base/limits.h"
#include "coord/session_private.h"

#include <stdio.h>

static gn_code no_cursor(const char *name, gn_error *err)
{
    return gn_error_set(err, GN_NO_CURSOR, "cursor \"%s\" does not exist", name);
}

static gn_code find_cursor(gn_session *s, const char *name, gn_portal **out, gn_error *err)
{
    *out = gn_portal_find(s, name);
    return *out && (*out)->is_cursor ? GN_OK : no_cursor(name, err);
}

/* ---- DECLARE ---- */

static gn_code refuse(const gn_ast_statement *ast, const char *what, gn_error *err)
{
    gn_error_set(err, GN_FEATURE, "%s cursors are not supported", what);
    gn_error_at(err, ast->position);
    return GN_FEATURE;
}

static gn_code check_declare(gn_session *s, const gn_ast_statement *ast, gn_error *err)
{
    const gn_ast_cursor *c = ast->cursor;
    if (c->hold)
        return refuse(ast, "WITH HOLD", err);
    if (c->scroll)
        return refuse(ast, "SCROLL", err);
    if (c->binary)
        return refuse(ast, "BINARY", err);
    if (s->block == GN_BLOCK_NONE || (s->block == GN_BLOCK_IMPLICIT && s->pipeline))
        return gn_error_set(err, GN_NO_TRANSACTION, "DECLARE CURSOR can only be used in transaction blocks");
    if (gn_portal_find(s, c->name))
        return gn_error_set(err, GN_DUPLICATE_CURSOR, "cursor \"%s\" already exists", c->name);
    if (s->n_portals >= GN_MAX_PORTALS)
        return gn_error_set(err, GN_LIMIT, "a session may have at most %d portals", GN_MAX_PORTALS);
    return GN_OK;
}

/* The query as a statement of its own, which outlives the text that it stood in. */
static gn_code parse_query(gn_session *s, const gn_portal *p, const gn_ast_statement *query, gn_stmt **out,
                           gn_error *err)
{
    const gn_plan *plan = p->stmt->plan;
    uint32_t n = plan ? plan->n_params : 0;
    uint32_t *oids = gn_arena_calloc(p->arena, n + 1, sizeof *oids);
    if (!oids)
        return gn_error_oom(err, gn_arena_account(p->arena));
    for (uint32_t i = 0; i < n; i++)
        oids[i] = gn_type_oid(plan->params[i]);
    return gn_stmt_parse(s, query->text, oids, n, out, err);
}

static gn_code copy_params(const gn_portal *from, gn_portal *to, gn_error *err)
{
    to->params = gn_arena_calloc(to->arena, from->n_params + 1, sizeof *to->params);
    if (!to->params)
        return gn_error_oom(err, &to->account);
    to->n_params = from->n_params;
    gn_code code = GN_OK;
    for (uint32_t i = 0; i < from->n_params && code == GN_OK; i++)
        code = gn_value_copy(&from->params[i], to->arena, &to->params[i], err);
    return code;
}

gn_code gn_run_declare(gn_session *s, gn_portal *p, const gn_ast_statement *ast, gn_error *err)
{
    const gn_ast_statement *query = ast->cursor->statement;
    gn_stmt *stmt = NULL;
    gn_code code = check_declare(s, ast, err);
    if (code == GN_OK)
        code = parse_query(s, p, query, &stmt, err);
    if (code != GN_OK)
        return code;
    gn_portal *c = gn_portal_create(s, ast->cursor->name, stmt);
    gn_stmt_release(stmt);
    c->is_cursor = true;
    gn_portal_add(s, c);
    code = copy_params(p, c, err);
    if (code == GN_OK)
        code = gn_portal_start(s, c, err);
    if (code == GN_OK)
        return GN_OK;
    gn_portal_remove(s, ast->cursor->name);
    if (err && err->position)
        err->position += query->position - 1;
    return code;
}

/* ---- before a write ---- */

static gn_code new_chunk(gn_portal *c, const gn_batch *like, struct gn_result_chunk **out, gn_error *err)
{
    struct gn_result_chunk *chunk = *out = gn_arena_calloc(c->arena, 1, sizeof *chunk);
    gn_type *types = gn_arena_alloc(c->arena, (like->n_columns + 1) * sizeof *types);
    if (!chunk || !types)
        return gn_error_oom(err, &c->account);
    for (uint32_t i = 0; i < like->n_columns; i++)
        types[i] = like->columns[i].type;
    return gn_batch_init(&chunk->batch, types, like->n_columns, c->arena, err);
}

/* All rows that are still to come. What goes wrong is told to whoever fetches that far. */
static gn_code keep_rows(gn_session *s, gn_portal *c, gn_error *err)
{
    struct gn_result_chunk *first = NULL, **at = &first;
    gn_error mine = {0};
    gn_batch *batch = NULL;
    gn_code code = gn_portal_next(c, &batch, &mine);
    while (code == GN_OK && batch) {
        struct gn_result_chunk *chunk;
        code = new_chunk(c, batch, &chunk, &mine);
        while (code == GN_OK && c->at < batch->n_rows)
            code = gn_batch_append(&chunk->batch, batch->columns, c->at++, &mine);
        if (code != GN_OK)
            break;
        *at = chunk;
        at = &chunk->next;
        code = gn_portal_next(c, &batch, &mine);
    }
    gn_exec_close(&c->exec);
    c->kept = true;
    c->chunk = first;
    c->batch = NULL;
    c->finished = false;
    if (code == GN_OK)
        return GN_OK;
    if (s->cancel || code == GN_OUT_OF_MEMORY) {
        if (err)
            *err = mine;
        return code;
    }
    c->late_error = gn_arena_memdup(c->arena, &mine, sizeof mine);
    return c->late_error ? GN_OK : gn_error_oom(err, &c->account);
}

static bool may_write(const gn_ast_statement *ast)
{
    switch (ast->kind) {
    case GN_S_QUERY:
    case GN_S_DECLARE:
    case GN_S_FETCH:
    case GN_S_CLOSE:
    case GN_S_SHOW:
    case GN_S_SET:
    case GN_S_DEALLOCATE:
        return false;
    default:
        return true;
    }
}

gn_code gn_cursors_before(gn_session *s, const gn_ast_statement *ast, gn_error *err)
{
    gn_code code = GN_OK;
    if (s->n_portals == 0 || !may_write(ast))
        return GN_OK;
    for (size_t i = 0; i < sizeof s->portals / sizeof s->portals[0]; i++)
        for (gn_portal *c = s->portals[i]; c && code == GN_OK; c = c->next)
            if (c->is_cursor && c->started && !c->finished && !c->kept && !c->cut_short)
                code = keep_rows(s, c, err);
    return code;
}

/* ---- FETCH and MOVE ---- */

/* Up to p->left rows of the cursor's batch at hand; *n 0: there are no more. */
static gn_code next_rows(gn_portal *p, gn_batch **from, uint32_t *n, gn_error *err)
{
    gn_portal *c = p->cursor;
    *n = 0;
    if (!c || p->left == 0)
        return GN_OK;
    gn_code code = gn_portal_next(c, from, err);
    if (code != GN_OK || !*from)
        return code;
    *n = (*from)->n_rows - c->at;
    if (*n > p->left)
        *n = (uint32_t)p->left;
    p->left -= *n;
    return GN_OK;
}

/* Copies, since the cursor may go on before they are sent. */
gn_code gn_cursor_next(gn_portal *p, gn_batch **out, gn_error *err)
{
    gn_batch *from;
    uint32_t n;
    *out = NULL;
    gn_code code = next_rows(p, &from, &n, err);
    if (code != GN_OK || n == 0)
        return code;
    gn_portal *c = p->cursor;
    gn_arena_reset(p->fetched);
    gn_type *types = gn_arena_alloc(p->fetched, (p->n_columns + 1) * sizeof *types);
    if (!types)
        return gn_error_oom(err, &p->account);
    for (uint32_t i = 0; i < p->n_columns; i++)
        types[i] = from->columns[i].type;
    c->n_sent += n;
    code = gn_batch_init(&p->view, types, p->n_columns, p->fetched, err);
    for (uint32_t i = 0; i < n && code == GN_OK; i++)
        code = gn_batch_append(&p->view, from->columns, c->at++, err);
    *out = &p->view;
    return code;
}

static gn_code move(gn_portal *p, gn_error *err)
{
    uint64_t moved = 0;
    uint32_t n;
    gn_batch *from;
    gn_code code;
    while ((code = next_rows(p, &from, &n, err)) == GN_OK && n) {
        p->cursor->at += n;
        moved += n;
    }
    p->cursor->n_sent += moved;
    p->cursor = NULL;
    snprintf(p->tag, sizeof p->tag, "MOVE %llu", (unsigned long long)moved);
    return code;
}

gn_code gn_run_fetch(gn_session *s, gn_portal *p, const gn_ast_cursor *ast, gn_error *err)
{
    gn_portal *c;
    gn_code code = find_cursor(s, ast->name, &c, err);
    if (code != GN_OK)
        return code;
    if (ast->count != 0 ? ast->backward : c->n_sent > 0) {
        gn_error_set(err, GN_NOT_IN_STATE, "cursor can only scan forward");
        gn_error_hint(err, "Rows that were fetched cannot be fetched again.");
        return GN_NOT_IN_STATE;
    }
    p->cursor = c;
    p->left = ast->count == INT64_MAX ? UINT64_MAX : (uint64_t)ast->count;
    if (ast->move)
        return move(p, err);
    p->columns = c->columns;
    p->n_columns = c->n_columns;
    p->fetched = gn_arena_create(&p->account);
    return GN_OK;
}

gn_code gn_fetch_columns(gn_session *s, const gn_ast_cursor *ast, const gn_result_column **columns, uint32_t *n,
                         gn_error *err)
{
    gn_portal *c;
    if (ast->move)
        return GN_OK;
    gn_code code = find_cursor(s, ast->name, &c, err);
    if (code != GN_OK)
        return code;
    *columns = c->columns;
    *n = c->n_columns;
    return GN_OK;
}

/* ---- CLOSE ---- */

gn_code gn_run_close_cursor(gn_session *s, const char *name, gn_error *err)
{
    gn_portal *c;
    if (!name) {
        gn_cursors_close(s);
        return GN_OK;
    }
    gn_code code = find_cursor(s, name, &c, err);
    if (code == GN_OK)
        gn_portal_remove(s, name);
    return code;
}
