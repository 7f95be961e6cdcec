/* Sessions from inside: their transaction, statements, portals. */
#ifndef GN_COORD_SESSION_PRIVATE_H
#define GN_COORD_SESSION_PRIVATE_H

#include "coord/db_private.h"
#include "coord/exec_private.h"
#include "coord/settings_private.h"

/* ---- statements ---- */

/* A text with one statement, parsed, and its plan once it has one. Shared by names and portals through refs; entries of
 * the cache are found by text and given types, so that drivers that prepare the same text again and again parse and
 * plan it once. */
typedef struct gn_stmt {
    uint32_t refs;
    struct gn_stmt *newer, *older; /* in the cache, by last use */
    struct gn_stmt *chain;         /* of the cache's hash */
    uint64_t hash;
    bool cached;
    gn_arena *arena; /* NULL: borrowed from a batch of statements */
    gn_bytes sql;
    const gn_ast_statement *ast; /* NULL: empty */
    const gn_type *given;        /* by the client; unknown where it said nothing */
    uint32_t n_given;
    gn_plan *plan;
    gn_result_column *promised; /* what Describe said; a plan made later must agree */
    uint32_t n_promised;
} gn_stmt;

enum { GN_STMT_BUCKETS = 256, GN_STMT_CACHE_MAX = 256 };

typedef struct gn_named {
    struct gn_named *next;
    char *name;
    gn_stmt *stmt;
} gn_named;

typedef struct gn_portal {
    struct gn_portal *next;
    char *name;
    gn_stmt *stmt;
    gn_stmt *target;    /* of EXECUTE: what runs instead */
    gn_account account; /* the statement's memory */
    gn_arena *arena;
    gn_value *params;
    uint32_t n_params;
    gn_format format; /* as it was when the portal was made */
    gn_plan *plan;
    gn_plan *explained; /* EXPLAIN's, which has no rows of its own */
    gn_exec exec;
    gn_arena_mark mark;               /* of the arena before the run */
    bool started, finished, executed; /* executed: gn_exec_init was called */
    bool talked;                      /* to the client, during the run (COPY): it cannot be run again */
    bool completed;                   /* the tag has been sent */
    bool is_cursor;                   /* DECLAREd */
    bool cut_short;                   /* its run was ended from outside */
    bool kept;                        /* of a cursor: the rows that remain are in `chunk`, */
    gn_error *late_error;             /* and then comes this */
    gn_batch *batch;                  /* partly sent */
    uint32_t at;
    struct gn_result_chunk *chunk;
    uint64_t n_sent;
    struct gn_portal *cursor; /* FETCH: whose rows it gives, */
    uint64_t left;            /* up to so many, */
    gn_batch view;            /* as copies in an arena of their own */
    gn_arena *fetched;
    char tag[64];
    /* rows of statements without a plan: SHOW, EXPLAIN */
    const gn_result_column *columns;
    uint32_t n_columns;
} gn_portal;

/* ---- transactions ---- */

typedef enum gn_block {
    GN_BLOCK_NONE,
    GN_BLOCK_IMPLICIT, /* several statements of one text, or a pipeline up to Sync */
    GN_BLOCK_EXPLICIT, /* BEGIN */
} gn_block;

typedef struct gn_savepoint {
    struct gn_savepoint *outer;
    gn_dtxn_mark *mark;
    char name[64];
} gn_savepoint;

typedef struct gn_pending_build {
    struct gn_pending_build *next;
    uint64_t index_id, distribution_id;
    char name[64];
} gn_pending_build;

/* Ends a statement at its deadline. The timer belongs to the database's queue; see watchdog.c. */
typedef struct gn_watchdog {
    gn_world *world;
    gn_queue *queue;
    gn_timer timer;
    gn_task start, stop;
    gn_event stopped;
    _Atomic uint64_t deadline_ns; /* 0: no statement runs */
    _Atomic uint64_t due_ns;      /* when the timer fires next; 0: it is not running */
    _Atomic bool posted;          /* `start` waits in the queue */
    bool created;
    _Atomic bool *cancel, *timed_out;
} gn_watchdog;

struct gn_session {
    gn_db *db;
    uint32_t id;
    char *user, *database;
    gn_account account;
    gn_settings settings;

    gn_dtxn *txn;
    gn_block block;
    gn_savepoint *savepoints; /* of an explicit block, the innermost first */
    bool failed;              /* of an explicit block: only its end is accepted */
    bool read_only;
    bool started;     /* a statement of this transaction has run */
    bool pipeline;    /* the implicit block is one of the extended protocol */
    gn_format format; /* of the settings, with the transaction's time */
    gn_pending_build *builds;

    _Atomic bool cancel;
    _Atomic bool timed_out;
    gn_watchdog watchdog;

    gn_named *named[64];
    uint32_t n_named;
    gn_portal *portals[64];
    uint32_t n_portals;
    gn_portal *spare; /* the last one closed, for its memory */
    gn_stmt *cache[GN_STMT_BUCKETS];
    gn_stmt *newest, *oldest;
    uint32_t n_cached;
    gn_table_infos infos;
    gn_arena *describe_arena;

    const gn_sink *sink; /* of the call in progress; NULL: none */
    /* The one write of the pipeline in progress: what Sync may run again after a conflict. */
    gn_portal *replay;
    uint32_t pipeline_runs;
    bool one;     /* statement at most will run in this pipeline */
    bool untold;  /* a tag has yet to be sent: */
    char tag[64]; /* this one */
    /* A statement that can be run again begins without asking anybody whether this node knows the newest (`alone` in
     * cluster/dtxn.h); the next run asks, and some statements after one that had to be run again for it. */
    bool alone;                        /* the open transaction began so, and its commit has not begun */
    bool begun_for_one, begun_to_read; /* the open transaction: for one statement, which only reads */
    bool confirm;                      /* the next one shall not */
    uint32_t doubts;
    gn_arena *text_arena; /* trees of the simple protocol */
};

/* ---- session.c ---- */
extern const struct gn_session_hooks gn_coord_hooks;
void gn_session_notice(gn_session *s, gn_severity severity, gn_code code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void gn_session_report_changes(gn_session *s);
/* The error as the client shall see it: position in characters, the reason of a cancellation. Returns its code. */
gn_code gn_session_finish_error(gn_session *s, gn_bytes sql, gn_code code, gn_error *err);

/* ---- transaction.c ---- */
/* Opens a transaction if none is open. ast: of the statement that is about to be planned or run; NULL: more than one
 * may be. */
gn_code gn_session_need_txn(gn_session *s, const gn_ast_statement *ast, gn_error *err);
/* The error may be due to what this node knew, which may be old: to be run again after gn_session_restart. */
bool gn_session_doubts(const gn_session *s, const gn_portal *p, gn_code code);
void gn_session_tell_missing(gn_session *s); /* a warning for groups that were left out of an answer */
void gn_session_restart(gn_session *s);    /* drops the open transaction, in which nothing has run; the block goes on */
void gn_session_start_over(gn_session *s); /* the same after such an error: the next one asks first */
/* It may win if it is run again: its commit lost a conflict, or an upsert met a row that it had not seen. */
bool gn_portal_lost(const gn_portal *p, gn_code code);
/* Ends the transaction; the block is NONE afterwards. Portals go with it. */
gn_code gn_session_commit(gn_session *s, gn_error *err);
/* In the midst of a statement that is no part of a block: what it has written is committed, and it goes on in another
 * transaction. After an error there is none. */
gn_code gn_session_commit_part(gn_session *s, gn_error *err);
void gn_session_rollback(gn_session *s);
/* After an error: an explicit block fails, anything else is rolled back. */
void gn_session_fail(gn_session *s);
gn_code gn_session_refuse_failed(gn_session *s, const gn_ast_statement *ast, gn_error *err);
/* BEGIN, COMMIT, ROLLBACK and their kin; *tag is static. */
bool gn_is_transaction_statement(const gn_ast_statement *ast);
gn_code gn_run_transaction(gn_session *s, const gn_ast_statement *ast, const char **tag, gn_error *err);
/* Waits a random time that grows with `attempt`. */
void gn_session_backoff(gn_session *s, unsigned attempt);
enum { GN_MAX_ATTEMPTS = 12 };
/* An index to be waited for after commit. */
void gn_session_build_later(gn_session *s, const gn_table_desc *table, const gn_index_desc *index);

/* ---- watchdog.c ---- */
void gn_watchdog_init(gn_watchdog *w, gn_db *db, _Atomic bool *cancel, _Atomic bool *timed_out);
void gn_watchdog_close(gn_watchdog *w);
void gn_watchdog_begin(gn_watchdog *w, uint64_t timeout_ms); /* 0 = none */
void gn_watchdog_end(gn_watchdog *w);
/* Around every call that runs statements: clears the cancel flag, starts the timeout. */
void gn_session_statement_begins(gn_session *s);
void gn_session_statement_ends(gn_session *s);

/* ---- stmt.c ---- */
gn_code gn_stmt_parse(gn_session *s, gn_bytes sql, const uint32_t *oids, uint32_t n, gn_stmt **out, gn_error *err);
gn_stmt *gn_stmt_retain(gn_stmt *stmt);
void gn_stmt_release(gn_stmt *stmt);
/* A valid plan, in stmt->plan; needs a transaction. Statements that have none are left alone. */
gn_code gn_stmt_plan(gn_session *s, gn_stmt *stmt, gn_error *err);
/* A plan for the parameters as they are: that one, or one for this time alone where their values decide. A reference.
 */
gn_code gn_stmt_plan_for(gn_session *s, gn_stmt *stmt, const gn_value *values, gn_plan **out, gn_error *err);
/* The statement that is planned: of EXPLAIN, the one explained; NULL when there is none. */
const gn_ast_statement *gn_planned_ast(const gn_ast_statement *ast);
/* Result columns, *n 0 when it returns no rows. */
gn_code gn_stmt_columns(gn_session *s, gn_stmt *stmt, gn_arena *arena, const gn_result_column **columns, uint32_t *n,
                        gn_error *err);
void gn_stmt_cache_clear(gn_session *s);
void gn_plan_context_of(gn_session *s, gn_plan_context *context);
gn_named *gn_named_find(gn_session *s, const char *name);
gn_code gn_named_put(gn_session *s, const char *name, gn_stmt *stmt, gn_error *err); /* takes a reference of its own */
bool gn_named_drop(gn_session *s, const char *name);
void gn_named_drop_all(gn_session *s);

/* ---- portal.c ---- */
/* Takes over nothing: retains stmt. params are set by the caller, in portal->arena. */
gn_portal *gn_portal_create(gn_session *s, const char *name, gn_stmt *stmt);
void gn_portal_destroy(gn_session *s, gn_portal *portal);
void gn_portal_free_spare(gn_session *s);
gn_portal *gn_portal_find(gn_session *s, const char *name);
void gn_portal_add(gn_session *s, gn_portal *portal);
void gn_portal_remove(gn_session *s, const char *name);
void gn_portals_close_all(gn_session *s);
void gn_portals_end_runs(gn_session *s); /* before the transaction ends: nothing may hold its cursors */
/* Plans and runs what is not yet run: a write to its end, a query up to its first row. */
gn_code gn_portal_start(gn_session *s, gn_portal *p, gn_error *err);
/* Sends up to max_rows (0 = all). *more: there may be more. */
gn_code gn_portal_send(gn_session *s, gn_portal *p, uint64_t max_rows, const gn_sink *sink, bool *more, gn_error *err);
/* The batch at hand (from p->at), or the next one. *batch NULL: no more rows. */
gn_code gn_portal_next(gn_portal *p, gn_batch **batch, gn_error *err);
void gn_cursors_close(gn_session *s); /* those that were DECLAREd */
gn_code gn_portal_exec_init(gn_session *s, gn_portal *p, const gn_plan *plan, bool timed, gn_error *err);
/* Runs a statement that has a plan, with p->params. */
gn_code gn_portal_start_planned(gn_session *s, gn_portal *p, gn_stmt *stmt, gn_error *err);
/* Forgets a run, so that it can be started again in another transaction. */
void gn_portal_reset_run(gn_portal *p);

/* ---- utility statements: each sets the tag ---- */
/* Those that return rows keep them in portal->exec.results and set portal->columns. */
gn_code gn_run_utility(gn_session *s, gn_portal *p, gn_error *err);
gn_code gn_run_set(gn_session *s, const gn_ast_statement *ast, gn_error *err);
gn_code gn_run_show(gn_session *s, gn_portal *p, const char *name, gn_error *err);
gn_code gn_run_explain(gn_session *s, gn_portal *p, const gn_ast_explain *ast, gn_error *err);
gn_code gn_run_create_table(gn_session *s, const gn_ast_create_table *ast, gn_error *err);
gn_code gn_run_alter_table(gn_session *s, const gn_ast_alter_table *ast, gn_error *err);
gn_code gn_run_drop_table(gn_session *s, const gn_ast_drop *ast, gn_error *err);
gn_code gn_run_truncate(gn_session *s, const gn_ast_truncate *ast, gn_error *err);
gn_code gn_run_create_index(gn_session *s, const gn_ast_create_index *ast, gn_error *err);
gn_code gn_run_drop_index(gn_session *s, const gn_ast_drop *ast, gn_error *err);
gn_code gn_run_copy(gn_session *s, gn_portal *p, const gn_ast_copy *ast, gn_error *err);
gn_code gn_run_declare(gn_session *s, gn_portal *p, const gn_ast_statement *ast, gn_error *err);
gn_code gn_run_fetch(gn_session *s, gn_portal *p, const gn_ast_cursor *ast, gn_error *err);
gn_code gn_run_close_cursor(gn_session *s, const char *name, gn_error *err); /* NULL: all */
gn_code gn_fetch_columns(gn_session *s, const gn_ast_cursor *ast, const gn_result_column **columns, uint32_t *n,
                         gn_error *err);
/* Of open cursors, before a statement that may change what they read. */
gn_code gn_cursors_before(gn_session *s, const gn_ast_statement *ast, gn_error *err);
gn_code gn_cursor_next(gn_portal *p, gn_batch **out, gn_error *err);
gn_code gn_run_vacuum(gn_session *s, const gn_ast_statement *ast, gn_error *err);
/* Rows of text, as SHOW and EXPLAIN give them. values: n per row, NULL = NULL. */
gn_code gn_portal_text_columns(gn_portal *p, const char *const *names, uint32_t n, gn_error *err);
gn_code gn_portal_text_row(gn_portal *p, const char *const *values, gn_error *err);
/* What the columns of such a statement are, before it runs. */
gn_code gn_utility_columns(gn_session *s, const gn_ast_statement *ast, gn_arena *arena,
                           const gn_result_column **columns, uint32_t *n, gn_error *err);
/* GN_ACTIVE_TRANSACTION for what must be alone in its transaction. */
gn_code gn_session_refuse_block(const gn_session *s, const char *what, gn_error *err);
const char *gn_statement_name(const gn_ast_statement *ast); /* as in its tag: "CREATE TABLE" */
bool gn_statement_writes(const gn_ast_statement *ast);

#endif
