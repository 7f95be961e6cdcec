/* The database of this process, and sessions on it: SQL in, results into a sink. What a listener (PostgreSQL wire,
 * HTTP) and the in-process library drive. A session is used by one strand; only gn_session_cancel may come from
 * elsewhere. */
#ifndef GN_COORD_SESSION_H
#define GN_COORD_SESSION_H

#include "base/memory.h"
#include "base/world.h"
#include "cluster/cluster.h"
#include "query/batch.h"

typedef struct gn_db gn_db;

typedef struct gn_db_options {
    const char *data_dir;
    uint64_t memory_limit_bytes; /* 0 = 512 MiB: hard budget of everything accounted */
    uint64_t retention_ms;
    uint64_t copy_bytes_per_second;  /* of a replica that comes here; 0 = 100 MiB */
    uint64_t split_bytes;            /* a group whose rows take more is split in two; 0 = never */
    uint64_t split_rate;             /* and one with more commits a second; 0 = never */
    uint64_t merge_bytes;            /* neighbours with less together are merged, if splits made them; 0 = never */
    unsigned hedge_percent;          /* of reads on other nodes: so many may be asked of a second replica; 0 = none */
    uint64_t statement_memory_bytes; /* 0 = a quarter of memory_limit */
    /* This node's place in its cluster, as gn_cluster_options has it. */
    const gn_identity *identity;
    const char *address, *zone;
    void (*peer)(void *ctx, gn_node_id id, const char *address);
    void *peer_ctx;
    /* The process must end: the log's disk failed. Called once, from any thread. */
    void (*failed)(void *ctx, gn_code code, const char *message);
    void *failed_ctx;
    gn_admin_host host; /* for operators; zeroed: none */
} gn_db_options;

gn_code gn_db_open(gn_world *world, const gn_db_options *options, gn_db **out, gn_error *err);
void gn_db_close(gn_db *db, bool clean); /* all sessions closed */
bool gn_db_ready(gn_db *db);             /* leads, can read and write */
gn_account *gn_db_account(gn_db *db);

typedef struct gn_result_column {
    const char *name;
    gn_type type;
    uint64_t table_id;      /* 0 = not a plain column */
    uint16_t column_number; /* 1-based attribute number, 0 = none */
} gn_result_column;

typedef enum gn_severity { GN_SEVERITY_NOTICE, GN_SEVERITY_WARNING, GN_SEVERITY_INFO } gn_severity;

/* Where results go. Each returns GN_OK, or a code that ends the statement (the peer is gone). Called on the session's
 * strand. A statement that returns rows: describe (simple query only), rows*, complete. */
typedef struct gn_sink {
    void *ctx;
    bool may_wait; /* gn_session_execute may leave the completion of a lone write to gn_session_tell */
    gn_code (*describe)(void *ctx, const gn_result_column *columns, uint32_t n);
    gn_code (*rows)(void *ctx, const gn_batch *batch, uint32_t first, uint32_t n);
    gn_code (*complete)(void *ctx, const char *tag); /* "INSERT 0 1" */
    gn_code (*empty)(void *ctx);                     /* an empty query string */
    void (*notice)(void *ctx, gn_severity severity, const gn_error *notice);
    void (*setting)(void *ctx, const char *name, const char *value); /* a reported parameter has changed */
    /* COPY. n_columns and format (true = binary) for the wire's header. */
    gn_code (*copy_out)(void *ctx, bool binary, uint32_t n_columns);
    gn_code (*copy_data)(void *ctx, gn_bytes data);
    gn_code (*copy_out_done)(void *ctx);
    gn_code (*copy_in)(void *ctx, bool binary, uint32_t n_columns);
    /* Blocks for the next piece of input. *more false: the end. An error: the client gave up (message in err). */
    gn_code (*copy_in_read)(void *ctx, gn_bytes *data, bool *more, gn_error *err);
} gn_sink;

typedef struct gn_session gn_session;
typedef struct gn_session_options {
    const char *user, *database, *application_name;
    /* start-up parameters as name, value pairs (settings); n pairs */
    const char *const *settings;
    size_t n_settings;
} gn_session_options;

gn_code gn_session_open(gn_db *db, const gn_session_options *options, gn_session **out, gn_error *err);
void gn_session_close(gn_session *session); /* rolls back */
/* Any thread: the running statement, if any, ends with GN_CANCELED. */
void gn_session_cancel(gn_session *session);
uint32_t gn_session_id(const gn_session *session); /* for BackendKeyData; unique among open sessions */
/* 'I' idle, 'T' in a transaction, 'E' in a failed one. */
char gn_session_status(const gn_session *session);
const char *gn_session_setting(const gn_session *session, const char *name); /* NULL = unknown */
/* How values are printed for this session now; for the listener that writes the rows of a sink. The pointer stays
 * valid, what it points at changes with SET. */
const gn_format *gn_session_format(const gn_session *session);
/* Calls sink->setting for every parameter that clients are told of at start. */
void gn_session_report_settings(gn_session *session, const gn_sink *sink);

/* A string of statements separated by ';', in one implicit transaction unless it has its own. Stops at the first error.
 */
gn_code gn_session_simple(gn_session *session, gn_bytes sql, const gn_sink *sink, gn_error *err);

/* ---- extended protocol ---- An error puts an open transaction into the failed state; the caller then skips to Sync.
 */

/* name "" = unnamed. types: OIDs, 0 = to be inferred. */
gn_code gn_session_prepare(gn_session *session, const char *name, gn_bytes sql, const uint32_t *types, uint32_t n_types,
                           gn_error *err);
/* *columns NULL and n 0: returns no rows. Memory is the session's, until the next call. */
gn_code gn_session_describe_statement(gn_session *session, const char *name, const gn_type **params, uint32_t *n_params,
                                      const gn_result_column **columns, uint32_t *n_columns, gn_error *err);
typedef struct gn_wire_param {
    gn_bytes data; /* data NULL and len 0 with is_null */
    bool is_null, binary;
} gn_wire_param;
gn_code gn_session_bind(gn_session *session, const char *portal, const char *statement, const gn_wire_param *params,
                        uint32_t n_params, gn_error *err);
gn_code gn_session_describe_portal(gn_session *session, const char *portal, const gn_result_column **columns,
                                   uint32_t *n_columns, gn_error *err);
/* max_rows 0 = all. *suspended: more rows remain; complete was not called. */
gn_code gn_session_execute(gn_session *session, const char *portal, uint64_t max_rows, const gn_sink *sink,
                           bool *suspended, gn_error *err);
gn_code gn_session_close_statement(gn_session *session, const char *name); /* unknown names are fine */
gn_code gn_session_close_portal(gn_session *session, const char *portal);
/* Ends the implicit transaction: commits it, or rolls it back when failed. An error here is to be sent before
 * ReadyForQuery. */
gn_code gn_session_sync(gn_session *session, bool failed, gn_error *err);
/* What comes until the next gn_session_sync runs one statement at most, so that it commits by itself, as one of
 * gn_session_simple does. Before the first call of them. */
void gn_session_expect_one(gn_session *session);
/* A write has run and sink->complete was not called: it is known what to say when gn_session_sync has committed. So
 * gn_session_tell is called after that, or before anything else is sent. */
bool gn_session_untold(const gn_session *session);
gn_code gn_session_tell(gn_session *session, const gn_sink *sink, gn_error *err);

#endif
