/* The extended protocol. Everything up to Sync is one implicit transaction, unless the client has begun one.
 *
 * A lone write in such a pipeline is run again by Sync when its commit loses a conflict, as the simple protocol does. A
 * listener that can wait with the write's completion until then always gives the client a true one; else it has been
 * told already, and the write may be run again only if its tag comes out the same. */
#include "base/limits.h"
#include "coord/session_private.h"

/* ---- what all calls share ---- */

static void enter(gn_session *s, const gn_sink *sink)
{
    s->sink = sink;
    gn_session_statement_begins(s);
}

static gn_code leave(gn_session *s, gn_bytes sql, gn_code code, gn_error *mine, gn_error *err)
{
    if (code != GN_OK) {
        gn_session_fail(s);
        code = gn_session_finish_error(s, sql, code, mine);
        if (err)
            *err = *mine;
    }
    gn_session_statement_ends(s);
    s->sink = NULL;
    return code;
}

/* ast: of the statement that is about to be planned or run. */
static gn_code need_pipeline(gn_session *s, const gn_ast_statement *ast, gn_error *err)
{
    if (s->block == GN_BLOCK_NONE) {
        s->block = GN_BLOCK_IMPLICIT;
        s->pipeline = true;
        s->read_only = s->settings.default_read_only;
    }
    return gn_session_need_txn(s, ast, err);
}

/* In a transaction that asks first. */
static void start_over(gn_session *s, gn_error *err)
{
    if (err)
        gn_error_clear(err);
    gn_session_start_over(s);
}

/* A plan needs a transaction to see the catalog by; in a failed block nothing is planned. */
static gn_code plan_now(gn_session *s, gn_stmt *stmt, gn_error *err)
{
    gn_code code = gn_session_refuse_failed(s, stmt->ast, err);
    if (code != GN_OK || !gn_planned_ast(stmt->ast))
        return code;
    s->confirm |= !stmt->plan && s->block == GN_BLOCK_NONE; /* the first plan is a promise about types and columns */
    code = need_pipeline(s, stmt->ast, err);
    if (code == GN_OK)
        code = gn_stmt_plan(s, stmt, err);
    if (code == GN_OK || s->block == GN_BLOCK_EXPLICIT || !s->alone || s->cancel || !s->txn ||
        !gn_dtxn_unconfirmed(s->txn))
        return code;
    start_over(s, err); /* the table may be too new for what this node knew */
    code = need_pipeline(s, stmt->ast, err);
    return code == GN_OK ? gn_stmt_plan(s, stmt, err) : code;
}

static gn_code find_statement(gn_session *s, const char *name, gn_stmt **out, gn_error *err)
{
    gn_named *named = gn_named_find(s, name);
    if (named) {
        *out = named->stmt;
        return GN_OK;
    }
    if (!*name)
        return gn_error_set(err, GN_NO_STATEMENT, "unnamed prepared statement does not exist");
    return gn_error_set(err, GN_NO_STATEMENT, "prepared statement \"%s\" does not exist", name);
}

static gn_code find_portal(gn_session *s, const char *name, gn_portal **out, gn_error *err)
{
    *out = gn_portal_find(s, name);
    return *out ? GN_OK : gn_error_set(err, GN_NO_CURSOR, "portal \"%s\" does not exist", name);
}

/* ---- Parse ---- */

static gn_code prepare(gn_session *s, const char *name, gn_bytes sql, const uint32_t *types, uint32_t n, gn_error *err)
{
    gn_stmt *stmt;
    if (*name && gn_named_find(s, name))
        return gn_error_set(err, GN_DUPLICATE_STATEMENT, "prepared statement \"%s\" already exists", name);
    gn_code code = gn_stmt_parse(s, sql, types, n, &stmt, err);
    if (code != GN_OK)
        return code;
    code = plan_now(s, stmt, err);
    if (code == GN_OK)
        code = gn_named_put(s, name, stmt, err);
    gn_stmt_release(stmt);
    return code;
}

gn_code gn_session_prepare(gn_session *session, const char *name, gn_bytes sql, const uint32_t *types, uint32_t n_types,
                           gn_error *err)
{
    gn_error mine = {0};
    enter(session, NULL);
    return leave(session, sql, prepare(session, name, sql, types, n_types, &mine), &mine, err);
}

/* ---- Describe ---- */

static void params_of(const gn_stmt *stmt, const gn_type **params, uint32_t *n)
{
    *params = stmt->plan ? stmt->plan->params : stmt->given;
    *n = stmt->plan ? stmt->plan->n_params : stmt->n_given;
}

gn_code gn_session_describe_statement(gn_session *session, const char *name, const gn_type **params, uint32_t *n_params,
                                      const gn_result_column **columns, uint32_t *n_columns, gn_error *err)
{
    gn_error mine = {0};
    gn_stmt *stmt = NULL;
    enter(session, NULL);
    gn_code code = find_statement(session, name, &stmt, &mine);
    if (code == GN_OK)
        code = plan_now(session, stmt, &mine);
    gn_arena_reset(session->describe_arena);
    if (code == GN_OK)
        code = gn_stmt_columns(session, stmt, session->describe_arena, columns, n_columns, &mine);
    if (code == GN_OK)
        params_of(stmt, params, n_params);
    return leave(session, stmt ? stmt->sql : gn_bytes_of(NULL, 0), code, &mine, err);
}

gn_code gn_session_describe_portal(gn_session *session, const char *portal, const gn_result_column **columns,
                                   uint32_t *n_columns, gn_error *err)
{
    gn_error mine = {0};
    gn_portal *p = NULL;
    enter(session, NULL);
    gn_code code = find_portal(session, portal, &p, &mine);
    if (code == GN_OK)
        code = plan_now(session, p->stmt, &mine);
    gn_arena_reset(session->describe_arena);
    if (code == GN_OK)
        code = gn_stmt_columns(session, p->stmt, session->describe_arena, columns, n_columns, &mine);
    return leave(session, p ? p->stmt->sql : gn_bytes_of(NULL, 0), code, &mine, err);
}

/* ---- Bind ---- */

static gn_code read_param(gn_session *s, gn_portal *p, const gn_wire_param *in, gn_type type, uint32_t i, gn_value *out,
                          gn_error *err)
{
    *out = gn_value_null(type);
    if (in->is_null)
        return GN_OK;
    if (in->data.len > GN_MAX_FIELD)
        return gn_error_set(err, GN_LIMIT, "parameter $%u has %zu bytes; the maximum is %d", i + 1, in->data.len,
                            GN_MAX_FIELD);
    void *copy = gn_arena_memdup(p->arena, in->data.len ? (const void *)in->data.data : "", in->data.len);
    if (!copy)
        return gn_error_oom(err, &p->account);
    gn_bytes data = gn_bytes_of(copy, in->data.len);
    gn_code code;
    if (in->binary) {
        code = gn_value_recv(data, type, p->arena, out, err);
    } else {
        size_t bad;
        if (!gn_utf8_valid(data, &bad))
            return gn_error_set(err, GN_INVALID_ENCODING,
                                "invalid byte sequence for encoding \"UTF8\" in parameter $%u", i + 1);
        code = gn_value_parse(data, type, &s->format, p->arena, out, err);
    }
    return code;
}

static gn_code read_params(gn_session *s, gn_portal *p, const char *statement, const gn_wire_param *params, uint32_t n,
                           gn_error *err)
{
    const gn_type *types;
    uint32_t expected;
    params_of(p->stmt, &types, &expected);
    if (n != expected)
        return gn_error_set(err, GN_PROTOCOL,
                            "bind message supplies %u parameters, but prepared statement \"%s\" requires %u", n,
                            statement, expected);
    p->params = gn_arena_calloc(p->arena, n + 1, sizeof *p->params);
    if (!p->params)
        return gn_error_oom(err, &p->account);
    p->n_params = n;
    gn_code code = GN_OK;
    for (uint32_t i = 0; i < n && code == GN_OK; i++)
        code = read_param(s, p, &params[i], types[i], i, &p->params[i], err);
    return code;
}

static gn_code bind_portal(gn_session *s, const char *portal, gn_stmt *stmt, const char *statement,
                           const gn_wire_param *params, uint32_t n_params, gn_error *err)
{
    if (*portal && gn_portal_find(s, portal))
        return gn_error_set(err, GN_DUPLICATE_CURSOR, "cursor \"%s\" already exists", portal);
    if (!*portal)
        gn_portal_remove(s, "");
    if (s->n_portals >= GN_MAX_PORTALS)
        return gn_error_set(err, GN_LIMIT, "a session may have at most %d portals", GN_MAX_PORTALS);
    gn_portal *p = gn_portal_create(s, portal, stmt);
    gn_code code = read_params(s, p, statement, params, n_params, err);
    if (code == GN_OK)
        gn_portal_add(s, p);
    else
        gn_portal_destroy(s, p);
    return code;
}

gn_code gn_session_bind(gn_session *session, const char *portal, const char *statement, const gn_wire_param *params,
                        uint32_t n_params, gn_error *err)
{
    gn_error mine = {0};
    gn_stmt *stmt = NULL;
    enter(session, NULL);
    gn_code code = find_statement(session, statement, &stmt, &mine);
    if (code == GN_OK)
        code = plan_now(session, stmt, &mine);
    if (code == GN_OK)
        code = bind_portal(session, portal, stmt, statement, params, n_params, &mine);
    return leave(session, stmt ? stmt->sql : gn_bytes_of(NULL, 0), code, &mine, err);
}

/* ---- Execute ---- */

static gn_code complete(gn_session *s, const char *tag, const gn_sink *sink, gn_error *err)
{
    gn_session_report_changes(s);
    gn_code code = sink->complete(sink->ctx, tag);
    return code == GN_OK ? GN_OK : gn_error_set(err, code, "the client is gone");
}

/* The portal goes with the transaction that it ends, so nothing of it is used afterwards. */
static gn_code execute_transaction(gn_session *s, gn_portal *p, const gn_sink *sink, gn_error *err)
{
    const char *tag = "";
    gn_stmt *stmt = gn_stmt_retain(p->stmt);
    gn_code code = gn_run_transaction(s, stmt->ast, &tag, err);
    gn_stmt_release(stmt);
    return code == GN_OK ? complete(s, tag, sink, err) : code;
}

/* Only a write that sent no rows can be run again unnoticed, and only if nothing else ran in its transaction. */
static void note_replay(gn_session *s, gn_portal *p)
{
    bool silent_write = p->plan && p->plan->kind != GN_PLAN_QUERY && !p->plan->n_returning;
    s->replay = s->pipeline_runs++ == 0 && silent_write && s->block == GN_BLOCK_IMPLICIT ? p : NULL;
}

static gn_code start(gn_session *s, gn_portal *p, gn_error *err)
{
    gn_code code = need_pipeline(s, p->stmt->ast, err);
    if (code == GN_OK)
        code = gn_portal_start(s, p, err);
    if (!gn_session_doubts(s, p, code))
        return code;
    gn_portal_reset_run(p);
    start_over(s, err);
    code = need_pipeline(s, p->stmt->ast, err);
    return code == GN_OK ? gn_portal_start(s, p, err) : code;
}

static gn_code execute(gn_session *s, gn_portal *p, uint64_t max_rows, const gn_sink *sink, bool *suspended,
                       gn_error *err)
{
    gn_code code = gn_session_refuse_failed(s, p->stmt->ast, err);
    if (code != GN_OK)
        return code;
    if (!p->stmt->ast)
        return sink->empty(sink->ctx);
    if (gn_is_transaction_statement(p->stmt->ast))
        return execute_transaction(s, p, sink, err);
    if (p->completed && p->stmt->ast->kind != GN_S_QUERY)
        return gn_error_set(err, GN_NOT_IN_STATE, "portal \"%s\" cannot be run", p->name ? p->name : "");
    bool first = !p->started;
    code = start(s, p, err);
    if (code == GN_OK && first)
        note_replay(s, p);
    if (code == GN_OK)
        code = gn_portal_send(s, p, max_rows, sink, suspended, err);
    if (code != GN_OK || *suspended)
        return code;
    p->completed = true;
    if (s->replay != p || !sink->may_wait)
        return complete(s, p->tag, sink, err);
    memcpy(s->tag, p->tag, sizeof s->tag);
    s->untold = true;
    return GN_OK;
}

gn_code gn_session_execute(gn_session *session, const char *portal, uint64_t max_rows, const gn_sink *sink,
                           bool *suspended, gn_error *err)
{
    gn_error mine = {0};
    gn_portal *p = NULL;
    *suspended = false;
    enter(session, sink);
    gn_code code = find_portal(session, portal, &p, &mine);
    gn_stmt *stmt = p ? gn_stmt_retain(p->stmt) : NULL;
    if (code == GN_OK)
        code = execute(session, p, max_rows, sink, suspended, &mine);
    code = leave(session, stmt ? stmt->sql : gn_bytes_of(NULL, 0), code, &mine, err);
    gn_stmt_release(stmt);
    return code;
}

/* ---- Close, Sync ---- */

gn_code gn_session_close_statement(gn_session *session, const char *name)
{
    gn_named_drop(session, name);
    return GN_OK;
}

/* The one that Sync may have to run again stays until then: nothing of its name comes before. */
gn_code gn_session_close_portal(gn_session *session, const char *portal)
{
    if (!session->one || !session->replay || gn_portal_find(session, portal) != session->replay)
        gn_portal_remove(session, portal);
    return GN_OK;
}

/* Takes the portal out of the session's table, so that it outlives the transaction. */
static gn_portal *detach_replay(gn_session *s)
{
    gn_portal *p = s->replay;
    if (!p)
        return NULL;
    for (size_t i = 0; i < sizeof s->portals / sizeof s->portals[0]; i++) {
        for (gn_portal **at = &s->portals[i]; *at; at = &(*at)->next) {
            if (*at == p) {
                *at = p->next;
                s->n_portals--;
                return p;
            }
        }
    }
    return NULL;
}

/* err: what the client is to hear if it is told no other tag. */
static gn_code run_again(gn_session *s, gn_portal *p, bool *same, gn_error *err)
{
    char tag[sizeof p->tag];
    memcpy(tag, p->tag, sizeof tag);
    gn_portal_reset_run(p);
    s->confirm = true;
    gn_code code = need_pipeline(s, p->stmt->ast, err);
    if (code == GN_OK)
        code = gn_portal_start(s, p, err);
    *same = code == GN_OK && (s->untold || strcmp(tag, p->tag) == 0);
    if (s->untold && code == GN_OK)
        memcpy(s->tag, p->tag, sizeof s->tag);
    memcpy(p->tag, tag, sizeof tag);
    return code;
}

static gn_code commit_pipeline(gn_session *s, gn_error *err)
{
    gn_portal *p = detach_replay(s);
    gn_code code = gn_session_commit(s, err);
    for (unsigned attempt = 0; p && gn_portal_lost(p, code) && attempt < GN_MAX_ATTEMPTS && !s->cancel; attempt++) {
        bool same;
        gn_error again = {0};
        if (s->confirm)
            gn_session_backoff(s, attempt);
        gn_code ran = run_again(s, p, &same, &again);
        if (!same) {
            gn_session_rollback(s);
            if (ran != GN_OK && gn_portal_lost(p, ran))
                continue;
            if (ran != GN_OK && s->untold) { /* nothing was told that this would contradict */
                *err = again;
                code = ran;
            }
            break;
        }
        code = gn_session_commit(s, &again);
        if (code == GN_OK)
            gn_error_clear(err);
        else if (!gn_portal_lost(p, code))
            *err = again;
    }
    if (p)
        gn_portal_destroy(s, p);
    return code;
}

gn_code gn_session_sync(gn_session *session, bool failed, gn_error *err)
{
    gn_error mine = {0};
    gn_code code = GN_OK;
    enter(session, NULL);
    if (session->block == GN_BLOCK_IMPLICIT) {
        if (failed || session->pipeline_runs == 0) /* nothing has run: nothing to commit */
            gn_session_rollback(session);
        else
            code = commit_pipeline(session, &mine);
    }
    session->pipeline_runs = 0;
    session->replay = NULL;
    session->one = session->confirm = false;
    session->untold &= code == GN_OK && !failed;
    return leave(session, gn_bytes_of(NULL, 0), code, &mine, err);
}

void gn_session_expect_one(gn_session *session)
{
    session->one = session->block == GN_BLOCK_NONE;
}

bool gn_session_untold(const gn_session *session)
{
    return session->untold;
}

gn_code gn_session_tell(gn_session *session, const gn_sink *sink, gn_error *err)
{
    session->untold = false;
    session->sink = sink;
    gn_code code = complete(session, session->tag, sink, err);
    session->sink = NULL;
    return code;
}
