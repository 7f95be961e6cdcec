/* The simple protocol: a text of statements. One statement alone commits by itself and is run again when it loses a
 * conflict, as long as nothing has been sent; several are one implicit transaction. */
#include "coord/parser.h"
#include "coord/session_private.h"

static gn_code tell_columns(const gn_portal *p, const gn_sink *sink, gn_error *err)
{
    if (!p->columns || !sink->describe)
        return GN_OK;
    gn_code code = sink->describe(sink->ctx, p->columns, p->n_columns);
    return code == GN_OK ? GN_OK : gn_error_set(err, code, "the client is gone");
}

/* The first rows are there before the columns are told: what has to be run again shows itself then, and a client takes
 * columns that are told twice for two results, the first of which is empty. */
static gn_code tell_rows(gn_session *s, gn_portal *p, const gn_sink *sink, gn_error *err)
{
    bool more;
    gn_batch *first;
    gn_code code = gn_portal_next(p, &first, err);
    if (gn_portal_lost(p, code))
        return code;
    gn_code told = tell_columns(p, sink, code == GN_OK ? err : NULL);
    if (code != GN_OK || told != GN_OK)
        return code != GN_OK ? code : told;
    return gn_portal_send(s, p, 0, sink, &more, err);
}

static gn_code tell_complete(gn_session *s, const char *tag, const gn_sink *sink, gn_error *err)
{
    gn_session_report_changes(s);
    gn_code code = sink->complete(sink->ctx, tag);
    return code == GN_OK ? GN_OK : gn_error_set(err, code, "the client is gone");
}

/* May the statement win if it is run again from the start? */
static bool worth_retrying(const gn_portal *p, gn_code code)
{
    return !p->talked && p->n_sent == 0 && gn_portal_lost(p, code);
}

/* A query's rows are sent while its transaction is open: it has nothing to commit. A write's rows wait for the commit,
 * so that it can be run again. */
static gn_code run_once(gn_session *s, gn_portal *p, const gn_sink *sink, gn_error *err)
{
    gn_code code = gn_session_need_txn(s, p->stmt->ast, err);
    if (code == GN_OK)
        code = gn_portal_start(s, p, err);
    bool query = p->plan && p->plan->kind == GN_PLAN_QUERY;
    if (code == GN_OK && query)
        code = tell_rows(s, p, sink, err);
    if (code != GN_OK)
        return code;
    if (p->executed)
        gn_exec_close(&p->exec);
    code = gn_session_commit(s, err);
    if (code == GN_OK && !query)
        code = tell_rows(s, p, sink, err);
    return code == GN_OK ? tell_complete(s, p->tag, sink, err) : code;
}

static gn_code run_alone(gn_session *s, gn_stmt *stmt, const gn_sink *sink, gn_error *err)
{
    gn_portal *p = gn_portal_create(s, "", stmt);
    gn_code code;
    for (unsigned attempt = 0;; attempt++) {
        gn_error mine = {0};
        s->read_only = s->settings.default_read_only;
        code = run_once(s, p, sink, &mine);
        bool doubted = gn_session_doubts(s, p, code);
        bool again = doubted || (code != GN_OK && attempt < GN_MAX_ATTEMPTS && !s->cancel && worth_retrying(p, code));
        if (code != GN_OK)
            gn_portal_reset_run(p);
        if (again) {
            gn_session_rollback(s);
            if (!doubted && s->confirm)
                gn_session_backoff(s, attempt);
            if (doubted)
                gn_session_start_over(s);
            s->confirm = true;
            continue;
        }
        if (code != GN_OK && err)
            *err = mine;
        break;
    }
    s->confirm = false;
    gn_portal_destroy(s, p);
    return code;
}

static gn_code run_in_block(gn_session *s, gn_stmt *stmt, bool last, const gn_sink *sink, gn_error *err)
{
    gn_portal *p = gn_portal_create(s, "", stmt);
    gn_code code = gn_session_need_txn(s, NULL, err);
    if (code == GN_OK)
        code = gn_portal_start(s, p, err);
    if (code == GN_OK)
        code = tell_rows(s, p, sink, err);
    char tag[sizeof p->tag];
    memcpy(tag, p->tag, sizeof tag);
    if (p->executed)
        gn_exec_close(&p->exec);
    gn_portal_destroy(s, p);
    if (code == GN_OK && last && s->block == GN_BLOCK_IMPLICIT)
        code = gn_session_commit(s, err);
    return code == GN_OK ? tell_complete(s, tag, sink, err) : code;
}

static gn_code run_transaction(gn_session *s, const gn_ast_statement *ast, const gn_sink *sink, gn_error *err)
{
    const char *tag = "";
    gn_code code = gn_run_transaction(s, ast, &tag, err);
    return code == GN_OK ? tell_complete(s, tag, sink, err) : code;
}

static gn_code run_statement(gn_session *s, const gn_ast_statements *all, uint32_t i, gn_bytes sql, const gn_sink *sink,
                             gn_error *err)
{
    const gn_ast_statement *ast = all->items[i];
    bool last = i + 1 == all->n;
    gn_code code = gn_session_refuse_failed(s, ast, err);
    if (code != GN_OK)
        return code;
    if (gn_is_transaction_statement(ast))
        return run_transaction(s, ast, sink, err);
    gn_stmt *stmt = gn_xcalloc(1, sizeof *stmt);
    *stmt = (gn_stmt){.refs = 1, .sql = sql, .ast = ast};
    if (s->block == GN_BLOCK_NONE && all->n > 1) {
        s->block = GN_BLOCK_IMPLICIT;
        s->read_only = s->settings.default_read_only;
    }
    code = s->block == GN_BLOCK_NONE ? run_alone(s, stmt, sink, err) : run_in_block(s, stmt, last, sink, err);
    gn_stmt_release(stmt);
    return code;
}

static gn_code run_text(gn_session *s, gn_bytes sql, const gn_sink *sink, gn_error *err)
{
    gn_ast_statements all;
    gn_arena_reset(s->text_arena);
    gn_code code = gn_parse(s->text_arena, sql, &all, err);
    if (code == GN_OK && all.n == 0)
        return sink->empty(sink->ctx);
    for (uint32_t i = 0; i < all.n && code == GN_OK; i++) {
        if (i > 0)
            gn_session_statement_begins(s);
        code = run_statement(s, &all, i, sql, sink, err);
    }
    if (code == GN_OK && s->block == GN_BLOCK_IMPLICIT)
        code = gn_session_commit(s, err);
    return code;
}

gn_code gn_session_simple(gn_session *session, gn_bytes sql, const gn_sink *sink, gn_error *err)
{
    gn_error mine = {0};
    session->sink = sink;
    gn_session_statement_begins(session);
    gn_code code = run_text(session, sql, sink, &mine);
    if (code != GN_OK) {
        gn_session_fail(session);
        code = gn_session_finish_error(session, sql, code, &mine);
        if (err)
            *err = mine;
    }
    gn_session_statement_ends(session);
    gn_session_report_changes(session);
    session->sink = NULL;
    return code;
}
