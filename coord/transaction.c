/* Transactions of a session: the shard's transaction below, PostgreSQL's transaction blocks above.
 *
 *   NONE --statement--> (autocommit) --> NONE
 *   NONE --several in one text, or a pipeline--> IMPLICIT --its end--> NONE
 *   NONE, IMPLICIT --BEGIN--> EXPLICIT --COMMIT, ROLLBACK--> NONE
 *
 * An error in EXPLICIT sets `failed`. With a savepoint to go back to the shard's transaction is kept; else it is given
 * up at once, and what remains is to hear its end. */
#include "coord/session_private.h"

#include <stdio.h>
#include <stdlib.h>

enum { DOUBTS = 16 }; /* statements that ask first after one that should have */
static const int64_t UNIX_TO_PG_US = 946684800000000;

static void abort_txn(gn_session *s);

/* ---- beginning ---- */

static void set_time(gn_session *s)
{
    s->format = s->settings.format;
    s->format.now_us = (int64_t)gn_wall_us(s->db->world) - UNIX_TO_PG_US;
}

/* In a pipeline rows are sent before the commit, so nothing that was read may be told before somebody has vouched for
 * it. */
static bool may_be_alone(const gn_session *s, const gn_ast_statement *ast, bool *writes)
{
    bool pipeline = s->block == GN_BLOCK_IMPLICIT && s->pipeline && s->one && s->pipeline_runs == 0;
    if (s->confirm || s->settings.read_staleness_ms || s->settings.partial ||
        !(s->block == GN_BLOCK_NONE || pipeline) || !ast)
        return false;
    *writes = ast->kind != GN_S_QUERY;
    switch (ast->kind) {
    case GN_S_QUERY:
        return true;
    case GN_S_INSERT:
        return !pipeline || ast->insert->returning.n == 0;
    case GN_S_UPDATE:
        return !pipeline || ast->update->returning.n == 0;
    case GN_S_DELETE:
        return !pipeline || ast->delete_->returning.n == 0;
    default:
        return false;
    }
}

static bool only_reads(const gn_ast_statement *ast)
{
    if (ast && ast->kind == GN_S_EXPLAIN)
        ast = gn_planned_ast(ast);
    return ast && (ast->kind == GN_S_QUERY || ast->kind == GN_S_SHOW);
}

gn_code gn_session_need_txn(gn_session *s, const gn_ast_statement *ast, gn_error *err)
{
    bool pipeline = s->block == GN_BLOCK_IMPLICIT && s->one && s->pipeline_runs == 0;
    bool one = ast && (s->block == GN_BLOCK_NONE || pipeline);
    if (s->txn && s->begun_for_one && s->pipeline_runs == 0 && (!one || only_reads(ast) != s->begun_to_read))
        gn_session_restart(s); /* it was begun to prepare another statement */
    if (s->txn)
        return GN_OK;
    bool writes = false, alone = may_be_alone(s, ast, &writes) && s->doubts == 0;
    s->doubts -= s->doubts > 0;
    gn_dtxn_options options = {.read_only = (one && only_reads(ast)) || s->read_only,
                               .several = !one,
                               .alone = alone,
                               .writes = alone && writes,
                               .staleness_ms = s->settings.read_staleness_ms,
                               .partial = s->settings.partial,
                               .account = &s->account,
                               .cancel = &s->cancel};
    if (s->block != GN_BLOCK_EXPLICIT)
        set_time(s);
    gn_code code = gn_dtxn_begin(s->db->cluster, &options, &s->txn, err);
    s->alone = alone && code == GN_OK;
    s->begun_for_one = one;
    s->begun_to_read = only_reads(ast);
    return code;
}

/* Once it was tried to commit, the code says what is true: GN_SERIALIZATION that it must be run again. */
bool gn_session_doubts(const gn_session *s, const gn_portal *p, gn_code code)
{
    return s->alone && s->block != GN_BLOCK_EXPLICIT && code != GN_OK && !p->talked && p->n_sent == 0 && !s->cancel &&
           s->txn && gn_dtxn_unconfirmed(s->txn);
}

/* Not with a query's first rows alone: whoever reads them must know. */
void gn_session_tell_missing(gn_session *s)
{
    enum { SHOWN = 20 };
    uint64_t groups[SHOWN];
    char list[SHOWN * 22] = "";
    uint32_t of, n = s->txn ? gn_dtxn_missing(s->txn, groups, SHOWN, &of) : 0;
    if (n == 0)
        return;
    for (uint32_t i = 0, at = 0; i < n && i < SHOWN; i++)
        at += (uint32_t)snprintf(list + at, sizeof list - at, "%s%llu", i ? ", " : "", (unsigned long long)groups[i]);
    gn_session_notice(s, GN_SEVERITY_WARNING, GN_UNAVAILABLE,
                      "the answer is not complete: %u of %u groups could not be reached: %s%s", n, of, list,
                      n > SHOWN ? ", ..." : "");
    gn_dtxn_missing_forget(s->txn);
}

void gn_session_restart(gn_session *s)
{
    abort_txn(s);
    s->alone = false;
}

void gn_session_start_over(gn_session *s)
{
    gn_session_restart(s);
    s->confirm = true;
    s->doubts = DOUBTS;
}

void gn_session_backoff(gn_session *s, unsigned attempt)
{
    static const uint64_t FIRST_NS = 200000, MOST_NS = 50000000;
    uint64_t most = FIRST_NS << (attempt < 10 ? attempt : 10);
    if (most > MOST_NS)
        most = MOST_NS;
    gn_event never;
    gn_event_init(&never, s->db->world);
    gn_event_wait(&never, gn_now_ns(s->db->world) + 1 + gn_random_u64(s->db->world) % most);
}

/* ---- indexes that CREATE INDEX waits for ---- */

void gn_session_build_later(gn_session *s, const gn_table_desc *table, const gn_index_desc *index)
{
    gn_pending_build *b = gn_xcalloc(1, sizeof *b);
    b->index_id = index->id;
    b->distribution_id = table->distribution_id;
    memcpy(b->name, index->name, sizeof b->name);
    b->next = s->builds;
    s->builds = b;
}

typedef struct build_progress {
    gn_session *s;
    const char *name;
    uint64_t last_ns;
} build_progress;

static void tell_progress(void *ctx, uint64_t done, uint64_t total)
{
    build_progress *p = ctx;
    uint64_t now = gn_now_ns(p->s->db->world);
    if (now - p->last_ns < 1000000000u || total == 0)
        return;
    p->last_ns = now;
    gn_session_notice(p->s, GN_SEVERITY_INFO, GN_OK, "building index \"%s\": %llu of %llu vectors", p->name,
                      (unsigned long long)done, (unsigned long long)total);
}

/* The index is there since the commit; what is built here is only its speed, so an interruption is a warning. */
static void run_builds(gn_session *s, bool wait)
{
    while (s->builds) {
        gn_pending_build *b = s->builds;
        s->builds = b->next;
        gn_error err = {0};
        build_progress progress = {.s = s, .name = b->name, .last_ns = gn_now_ns(s->db->world)};
        if (wait && gn_cluster_vindex_build(s->db->cluster, b->distribution_id, b->index_id, tell_progress, &progress,
                                            &s->cancel, &err) != GN_OK)
            gn_session_notice(s, GN_SEVERITY_WARNING, err.code,
                              "index \"%s\" exists, but its build was interrupted: %s", b->name, err.message);
        free(b);
    }
}

/* ---- savepoints ---- */

static void drop_savepoints(gn_session *s, const gn_savepoint *up_to)
{
    while (s->savepoints != up_to) {
        gn_savepoint *inner = s->savepoints;
        s->savepoints = inner->outer;
        gn_dtxn_mark_free(inner->mark);
        free(inner);
    }
}

static gn_code need_block(gn_session *s, const char *what, gn_error *err)
{
    if (s->block == GN_BLOCK_EXPLICIT)
        return GN_OK;
    return gn_error_set(err, GN_NO_TRANSACTION, "%s can only be used in transaction blocks", what);
}

static gn_code find_savepoint(gn_session *s, const gn_ast_statement *ast, gn_savepoint **out, gn_error *err)
{
    for (*out = s->savepoints; *out && strcmp((*out)->name, ast->name) != 0;)
        *out = (*out)->outer;
    return *out ? GN_OK : gn_error_set(err, GN_NO_SAVEPOINT, "savepoint \"%s\" does not exist", ast->name);
}

static gn_code set_savepoint(gn_session *s, const gn_ast_statement *ast, gn_error *err)
{
    gn_code code = need_block(s, "SAVEPOINT", err);
    if (code == GN_OK)
        code = gn_session_need_txn(s, NULL, err);
    if (code != GN_OK)
        return code;
    gn_savepoint *point = gn_xcalloc(1, sizeof *point);
    snprintf(point->name, sizeof point->name, "%s", ast->name);
    point->mark = gn_dtxn_mark_take(s->txn);
    point->outer = s->savepoints;
    s->savepoints = point;
    return GN_OK;
}

static gn_code release_savepoint(gn_session *s, const gn_ast_statement *ast, gn_error *err)
{
    gn_savepoint *point;
    gn_code code = need_block(s, "RELEASE SAVEPOINT", err);
    if (code == GN_OK)
        code = find_savepoint(s, ast, &point, err);
    if (code == GN_OK)
        drop_savepoints(s, point->outer);
    return code;
}

static gn_code rollback_to_savepoint(gn_session *s, const gn_ast_statement *ast, gn_error *err)
{
    gn_savepoint *point;
    gn_code code = need_block(s, "ROLLBACK TO SAVEPOINT", err);
    if (code == GN_OK)
        code = find_savepoint(s, ast, &point, err);
    if (code != GN_OK)
        return code;
    drop_savepoints(s, point);
    gn_portals_end_runs(s);
    code = gn_dtxn_rollback_to(s->txn, point->mark, err);
    s->failed = code != GN_OK;
    return code;
}

/* ---- ends ---- */

static void ended(gn_session *s)
{
    drop_savepoints(s, NULL);
    s->txn = NULL;
    s->begun_for_one = false;
    s->alone = false;
    s->block = GN_BLOCK_NONE;
    s->failed = s->read_only = s->started = s->pipeline = false;
    s->replay = NULL;
    s->pipeline_runs = 0;
}

gn_code gn_session_commit(gn_session *s, gn_error *err)
{
    gn_scn scn;
    gn_code code = GN_OK;
    bool wait_for_builds = s->block != GN_BLOCK_EXPLICIT;
    gn_portals_end_runs(s);
    drop_savepoints(s, NULL); /* while the transaction is there */
    bool alone = s->alone;
    s->alone = false;
    gn_session_tell_missing(s); /* whatever way the rows took */
    if (s->txn)
        code = gn_dtxn_commit(s->txn, &scn, err);
    if (alone && code == GN_SERIALIZATION)
        s->doubts = DOUBTS;
    if (s->block != GN_BLOCK_NONE || code != GN_OK)
        gn_portals_close_all(s);
    ended(s);
    if (code == GN_OK)
        gn_settings_commit(&s->settings);
    else
        gn_settings_rollback(&s->settings);
    run_builds(s, code == GN_OK && wait_for_builds);
    return code;
}

gn_code gn_session_commit_part(gn_session *s, gn_error *err)
{
    gn_scn scn;
    gn_dtxn *txn = s->txn;
    s->txn = NULL;
    s->alone = false;
    gn_code code = gn_dtxn_commit(txn, &scn, err);
    return code == GN_OK ? gn_session_need_txn(s, NULL, err) : code;
}

static void abort_txn(gn_session *s)
{
    gn_portals_end_runs(s);
    drop_savepoints(s, NULL);
    gn_dtxn_abort(s->txn);
    s->txn = NULL;
    s->begun_for_one = false;
}

void gn_session_rollback(gn_session *s)
{
    abort_txn(s);
    gn_portals_close_all(s);
    ended(s);
    gn_settings_rollback(&s->settings);
    run_builds(s, false);
}

void gn_session_fail(gn_session *s)
{
    if (s->block != GN_BLOCK_EXPLICIT) {
        gn_session_rollback(s);
        return;
    }
    if (s->savepoints)
        gn_portals_end_runs(s);
    else
        abort_txn(s);
    s->failed = true;
}

gn_code gn_session_refuse_failed(gn_session *s, const gn_ast_statement *ast, gn_error *err)
{
    bool ends = ast && (ast->kind == GN_S_COMMIT || ast->kind == GN_S_ROLLBACK || ast->kind == GN_S_ROLLBACK_TO);
    if (!s->failed || !ast || ends)
        return GN_OK;
    return gn_error_set(err, GN_FAILED_TRANSACTION,
                        "current transaction is aborted, commands ignored until end of transaction block");
}

/* ---- statements ---- */

bool gn_is_transaction_statement(const gn_ast_statement *ast)
{
    switch (ast->kind) {
    case GN_S_BEGIN:
    case GN_S_COMMIT:
    case GN_S_ROLLBACK:
    case GN_S_SAVEPOINT:
    case GN_S_RELEASE:
    case GN_S_ROLLBACK_TO:
    case GN_S_SET_TRANSACTION:
        return true;
    default:
        return false;
    }
}

/* Every isolation level is given as the strongest, so only the access mode changes anything. */
static gn_code set_modes(gn_session *s, const gn_ast_transaction *modes, gn_error *err)
{
    if (modes->isolation != GN_ISOLATION_DEFAULT && s->started)
        return gn_error_set(err, GN_ACTIVE_TRANSACTION,
                            "SET TRANSACTION ISOLATION LEVEL must be called before any query");
    if (modes->read_only == 0 && s->started && s->read_only)
        return gn_error_set(err, GN_ACTIVE_TRANSACTION, "transaction read-write mode must be set before any query");
    if (modes->read_only >= 0)
        s->read_only = modes->read_only;
    return GN_OK;
}

static gn_code begin_block(gn_session *s, const gn_ast_transaction *modes, gn_error *err)
{
    if (s->block == GN_BLOCK_EXPLICIT) {
        gn_session_notice(s, GN_SEVERITY_WARNING, GN_ACTIVE_TRANSACTION, "there is already a transaction in progress");
        return set_modes(s, modes, err);
    }
    if (s->txn && s->begun_for_one) /* to prepare a statement; this is another transaction */
        gn_session_restart(s);
    if (!s->txn) {
        set_time(s);
        s->read_only = s->settings.default_read_only;
    }
    s->block = GN_BLOCK_EXPLICIT;
    return set_modes(s, modes, err);
}

static gn_code end_block(gn_session *s, bool commit, const gn_ast_transaction *modes, const char **tag, gn_error *err)
{
    bool failed = s->failed, read_only = s->read_only;
    gn_code code = GN_OK;
    *tag = commit && !failed ? "COMMIT" : "ROLLBACK";
    if (s->block != GN_BLOCK_EXPLICIT) {
        if (modes && modes->chain)
            return gn_error_set(err, GN_NO_TRANSACTION, "%s AND CHAIN can only be used in transaction blocks",
                                commit ? "COMMIT" : "ROLLBACK");
        gn_session_notice(s, GN_SEVERITY_WARNING, GN_NO_TRANSACTION, "there is no transaction in progress");
    }
    if (commit && !failed)
        code = gn_session_commit(s, err);
    else
        gn_session_rollback(s);
    if (code == GN_OK && modes && modes->chain) {
        set_time(s);
        s->block = GN_BLOCK_EXPLICIT;
        s->read_only = read_only;
    }
    return code;
}

gn_code gn_run_transaction(gn_session *s, const gn_ast_statement *ast, const char **tag, gn_error *err)
{
    switch (ast->kind) {
    case GN_S_BEGIN:
        *tag = ast->transaction->start ? "START TRANSACTION" : "BEGIN";
        return begin_block(s, ast->transaction, err);
    case GN_S_COMMIT:
        return end_block(s, true, ast->transaction, tag, err);
    case GN_S_ROLLBACK:
        return end_block(s, false, ast->transaction, tag, err);
    case GN_S_SET_TRANSACTION:
        *tag = "SET";
        if (s->block == GN_BLOCK_NONE)
            gn_session_notice(s, GN_SEVERITY_WARNING, GN_NO_TRANSACTION,
                              "SET TRANSACTION can only be used in transaction blocks");
        else
            return set_modes(s, ast->transaction, err);
        return GN_OK;
    case GN_S_SAVEPOINT:
        *tag = "SAVEPOINT";
        return set_savepoint(s, ast, err);
    case GN_S_RELEASE:
        *tag = "RELEASE";
        return release_savepoint(s, ast, err);
    case GN_S_ROLLBACK_TO:
        *tag = "ROLLBACK";
        return rollback_to_savepoint(s, ast, err);
    default:
        return gn_error_set(err, GN_INTERNAL, "statement %d does not control transactions", (int)ast->kind);
    }
}
