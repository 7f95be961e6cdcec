/* Portals: one statement being run, its rows sent in portions. The simple protocol uses a portal of its own for each
 * statement, so there is one way to run anything. */
#include "coord/session_private.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- life ---- */

static uint64_t memory_limit(const gn_session *s)
{
    uint64_t most = s->db->statement_memory, wanted = s->settings.statement_memory;
    return wanted && wanted < most ? wanted : most;
}

gn_portal *gn_portal_create(gn_session *s, const char *name, gn_stmt *stmt)
{
    gn_portal *p = s->spare;
    if (p) {
        s->spare = NULL;
    } else {
        p = gn_xcalloc(1, sizeof *p);
        gn_account_init(&p->account, &s->account, "statement memory", 0);
        p->arena = gn_arena_create(&p->account);
    }
    p->account.limit = memory_limit(s);
    p->name = *name ? gn_xstrdup(name) : NULL;
    p->stmt = gn_stmt_retain(stmt);
    p->format = s->format;
    return p;
}

void gn_portal_reset_run(gn_portal *p)
{
    if (p->executed)
        gn_exec_close(&p->exec);
    gn_plan_release(p->plan);
    p->plan = NULL;
    gn_plan_release(p->explained);
    p->explained = NULL;
    gn_stmt_release(p->target);
    p->target = NULL;
    p->exec = (gn_exec){0};
    if (p->started)
        gn_arena_restore(p->arena, p->mark);
    gn_arena_destroy(p->fetched);
    p->fetched = NULL;
    p->cursor = NULL;
    p->left = 0;
    p->executed = p->started = p->finished = p->talked = p->completed = p->cut_short = p->kept = false;
    p->late_error = NULL;
    p->batch = NULL;
    p->chunk = NULL;
    p->n_sent = 0;
}

static void free_portal(gn_portal *p)
{
    gn_arena_destroy(p->arena);
    gn_account_close(&p->account);
    free(p);
}

void gn_portal_free_spare(gn_session *s)
{
    if (s->spare)
        free_portal(s->spare);
    s->spare = NULL;
}

/* What fetches from it has all that it will get. */
static void part_from(gn_session *s, const gn_portal *cursor)
{
    for (size_t i = 0; i < sizeof s->portals / sizeof s->portals[0] && s->n_portals; i++)
        for (gn_portal *p = s->portals[i]; p; p = p->next)
            if (p->cursor == cursor) {
                p->cursor = NULL;
                p->columns = NULL;
                p->n_columns = 0;
            }
}

void gn_portal_destroy(gn_session *s, gn_portal *p)
{
    if (p->is_cursor)
        part_from(s, p);
    if (s->replay == p)
        s->replay = NULL;
    gn_portal_reset_run(p);
    gn_stmt_release(p->stmt);
    free(p->name);
    if (s->spare) {
        free_portal(p);
        return;
    }
    /* what remains is its memory: the account goes on with what the arena's first block has charged */
    gn_arena_reset(p->arena);
    p->next = NULL;
    p->is_cursor = false;
    p->name = NULL;
    p->stmt = NULL;
    p->params = NULL;
    p->n_params = 0;
    p->tag[0] = 0;
    p->columns = NULL;
    p->n_columns = 0;
    s->spare = p;
}

/* ---- names ---- */

static gn_portal **bucket_of(gn_session *s, const char *name)
{
    uint32_t h = 2166136261u;
    for (const char *p = name; *p; p++)
        h = (h ^ (uint8_t)*p) * 16777619u;
    return &s->portals[h % (sizeof s->portals / sizeof s->portals[0])];
}

static const char *name_of(const gn_portal *p)
{
    return p->name ? p->name : "";
}

gn_portal *gn_portal_find(gn_session *s, const char *name)
{
    for (gn_portal *p = *bucket_of(s, name); p; p = p->next)
        if (strcmp(name_of(p), name) == 0)
            return p;
    return NULL;
}

void gn_portal_add(gn_session *s, gn_portal *portal)
{
    gn_portal **bucket = bucket_of(s, name_of(portal));
    portal->next = *bucket;
    *bucket = portal;
    s->n_portals++;
}

void gn_portal_remove(gn_session *s, const char *name)
{
    for (gn_portal **at = bucket_of(s, name); *at; at = &(*at)->next) {
        gn_portal *p = *at;
        if (strcmp(name_of(p), name) != 0)
            continue;
        *at = p->next;
        s->n_portals--;
        gn_portal_destroy(s, p);
        return;
    }
}

void gn_portals_close_all(gn_session *s)
{
    if (s->n_portals == 0)
        return;
    for (size_t i = 0; i < sizeof s->portals / sizeof s->portals[0]; i++) {
        while (s->portals[i]) {
            gn_portal *p = s->portals[i];
            s->portals[i] = p->next;
            s->n_portals--;
            gn_portal_destroy(s, p);
        }
    }
}

void gn_cursors_close(gn_session *s)
{
    for (size_t i = 0; i < sizeof s->portals / sizeof s->portals[0] && s->n_portals; i++) {
        gn_portal *p = s->portals[i], *next;
        for (; p; p = next) {
            next = p->next;
            if (p->is_cursor)
                gn_portal_remove(s, p->name);
        }
    }
}

void gn_portals_end_runs(gn_session *s)
{
    if (s->n_portals == 0)
        return;
    for (size_t i = 0; i < sizeof s->portals / sizeof s->portals[0]; i++)
        for (gn_portal *p = s->portals[i]; p; p = p->next)
            if (p->executed) {
                p->cut_short |= p->is_cursor || (p->exec.root && !p->finished);
                if (p->cut_short)
                    p->batch = NULL;
                gn_exec_close(&p->exec);
            }
}

/* ---- running ---- */

bool gn_portal_lost(const gn_portal *p, gn_code code)
{
    bool upsert = p->plan && p->plan->kind == GN_PLAN_INSERT && p->plan->conflict.action != GN_CONFLICT_ERROR;
    return code == GN_SERIALIZATION || (code == GN_UNIQUE && upsert);
}

static void exec_context(gn_session *s, const gn_portal *p, bool timed, gn_exec_context *c)
{
    *c = (gn_exec_context){.cluster = s->db->cluster,
                           .txn = s->txn,
                           .account = (gn_account *)&p->account,
                           .format = &p->format,
                           .cancel = &s->cancel,
                           .session = s,
                           .hooks = &gn_coord_hooks,
                           .ef_search = s->settings.ef_search,
                           .ef_search_given = s->settings.ef_search_given,
                           .target_recall = s->settings.target_recall,
                           .vector_exact = s->settings.vector_exact,
                           .timed = timed};
}

gn_code gn_portal_exec_init(gn_session *s, gn_portal *p, const gn_plan *plan, bool timed, gn_error *err)
{
    gn_exec_context context;
    exec_context(s, p, timed, &context);
    gn_code code = gn_exec_init(&p->exec, &context, plan, p->params, p->arena, err);
    p->executed = code == GN_OK;
    return code;
}

static gn_code refuse_read_only(const gn_session *s, const gn_ast_statement *ast, gn_error *err)
{
    bool writes = gn_statement_writes(ast);
    if (!writes || !s->read_only)
        return GN_OK;
    return gn_error_set(err, GN_READ_ONLY_TRANSACTION, "cannot execute %s in a read-only transaction",
                        gn_statement_name(ast));
}

static void set_write_tag(gn_portal *p)
{
    const char *what = p->plan->kind == GN_PLAN_INSERT   ? "INSERT 0"
                       : p->plan->kind == GN_PLAN_UPDATE ? "UPDATE"
                                                         : "DELETE";
    snprintf(p->tag, sizeof p->tag, "%s %llu", what, (unsigned long long)p->exec.n_rows);
}

gn_code gn_portal_start_planned(gn_session *s, gn_portal *p, gn_stmt *stmt, gn_error *err)
{
    gn_code code = gn_stmt_plan_for(s, stmt, p->params, &p->plan, err);
    if (code != GN_OK)
        return code;
    p->columns = p->plan->columns;
    p->n_columns = p->plan->n_columns;
    code = gn_portal_exec_init(s, p, p->plan, false, err);
    if (code != GN_OK)
        return code;
    if (p->plan->kind == GN_PLAN_QUERY)
        return gn_exec_open_query(&p->exec, p->plan->query, err);
    code = gn_exec_write(&p->exec, err);
    p->chunk = p->exec.results.first;
    set_write_tag(p);
    gn_operator_close(p->exec.root);
    p->exec.root = NULL;
    return code;
}

/* What other nodes have to say of the writes is this statement's error, not a later one's. But the first of a pipeline
 * is most often the only one: its commit takes the writes along and saves a round trip. */
static gn_code end_writes(gn_session *s, const gn_portal *p, gn_error *err)
{
    bool first = s->pipeline && s->pipeline_runs == 0 && !(p->plan && p->plan->n_returning);
    return s->txn && !first ? gn_dtxn_statement_end(s->txn, err) : GN_OK;
}

static bool streams(const gn_portal *p)
{
    return p->plan && p->plan->kind == GN_PLAN_QUERY;
}

gn_code gn_portal_next(gn_portal *p, gn_batch **batch, gn_error *err)
{
    gn_code code = GN_OK;
    if (p->cut_short) {
        gn_error_set(err, GN_NO_CURSOR, p->is_cursor ? "cursor \"%s\" does not exist" : "portal \"%s\" does not exist",
                     name_of(p));
        gn_error_detail(err, "An error or ROLLBACK TO SAVEPOINT has ended it.");
        return GN_NO_CURSOR;
    }
    if (p->batch && p->at == p->batch->n_rows)
        p->batch = NULL;
    if (!p->batch && !p->finished) {
        p->at = 0;
        if (streams(p) && !p->kept) {
            code = gn_operator_next(p->exec.root, &p->batch, err);
        } else if (p->cursor) {
            code = gn_cursor_next(p, &p->batch, err);
        } else if (p->chunk) {
            p->batch = &p->chunk->batch;
            p->chunk = p->chunk->next;
        } else if (p->late_error) {
            code = p->late_error->code;
            if (err)
                *err = *p->late_error;
        }
        if (code == GN_OK && (!p->batch || p->batch->n_rows == 0)) {
            p->batch = NULL;
            p->finished = true;
        }
    }
    *batch = p->batch;
    return code;
}

/* Up to the first rows: what may be due to what this node knew shows itself before anything is told. */
static gn_code begin_rows(gn_session *s, gn_portal *p, gn_error *err)
{
    gn_batch *batch;
    gn_code code = gn_portal_next(p, &batch, err);
    return code == GN_OK ? gn_dtxn_vouch(s->txn, err) : code;
}

gn_code gn_portal_start(gn_session *s, gn_portal *p, gn_error *err)
{
    if (p->started)
        return GN_OK;
    p->started = true;
    p->mark = gn_arena_save(p->arena);
    s->started = true;
    p->format = s->format;
    gn_code code = refuse_read_only(s, p->stmt->ast, err);
    if (code == GN_OK)
        code = gn_cursors_before(s, p->stmt->ast, err);
    if (code != GN_OK)
        return code;
    if (gn_planned_ast(p->stmt->ast) == p->stmt->ast) {
        code = gn_portal_start_planned(s, p, p->stmt, err);
        if (code == GN_OK && streams(p) && gn_dtxn_unconfirmed(s->txn))
            code = begin_rows(s, p, err);
    } else {
        code = gn_run_utility(s, p, err);
        if (!p->chunk)
            p->chunk = p->exec.results.first;
    }
    return code == GN_OK ? end_writes(s, p, err) : code;
}

/* ---- sending ---- */

static void set_query_tag(gn_portal *p, uint64_t sent)
{
    snprintf(p->tag, sizeof p->tag, "SELECT %llu", (unsigned long long)sent);
}

gn_code gn_portal_send(gn_session *s, gn_portal *p, uint64_t max_rows, const gn_sink *sink, bool *more, gn_error *err)
{
    uint64_t sent = 0;
    *more = false;
    for (;;) {
        gn_batch *batch;
        gn_code code = gn_portal_next(p, &batch, err);
        if (code != GN_OK)
            return code;
        gn_session_tell_missing(s);
        if (!batch)
            break;
        if (max_rows && sent == max_rows) {
            *more = true;
            return GN_OK;
        }
        uint32_t n = batch->n_rows - p->at;
        if (max_rows && n > max_rows - sent)
            n = (uint32_t)(max_rows - sent);
        code = sink->rows(sink->ctx, batch, p->at, n);
        if (code != GN_OK)
            return gn_error_set(err, code, "the client is gone");
        p->at += n;
        sent += n;
        p->n_sent += n;
        if (s->cancel)
            return gn_error_set(err, GN_CANCELED, "canceling statement due to user request");
        /* as PostgreSQL: a full portion says that there may be more without looking */
        if (max_rows && sent == max_rows) {
            *more = true;
            return GN_OK;
        }
    }
    if (streams(p))
        set_query_tag(p, sent);
    else if (p->fetched)
        snprintf(p->tag, sizeof p->tag, "FETCH %llu", (unsigned long long)p->n_sent);
    return GN_OK;
}
