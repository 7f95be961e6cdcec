/* The settings of a session: one table gives name, type, default, bounds and what it does. SET follows transactions as
 * in PostgreSQL: a rollback undoes it, and what SET LOCAL did ends with the transaction. */
#ifndef GN_COORD_SETTINGS_PRIVATE_H
#define GN_COORD_SETTINGS_PRIVATE_H

#include "base/bytes.h"
#include "base/error.h"
#include "query/value.h"

typedef enum gn_setting_id {
    GN_SET_ALLOW_PARTIAL_RESULTS,
    GN_SET_APPLICATION_NAME,
    GN_SET_BYTEA_OUTPUT,
    GN_SET_CHECK_FUNCTION_BODIES,
    GN_SET_CLIENT_ENCODING,
    GN_SET_CLIENT_MIN_MESSAGES,
    GN_SET_DATESTYLE,
    GN_SET_DEFAULT_TABLE_ACCESS_METHOD,
    GN_SET_DEFAULT_TABLESPACE,
    GN_SET_DEFAULT_TRANSACTION_DEFERRABLE,
    GN_SET_DEFAULT_TRANSACTION_ISOLATION,
    GN_SET_DEFAULT_TRANSACTION_READ_ONLY,
    GN_SET_ENABLE_INDEXSCAN,
    GN_SET_ENABLE_SEQSCAN,
    GN_SET_ESCAPE_STRING_WARNING,
    GN_SET_EXTRA_FLOAT_DIGITS,
    GN_SET_HNSW_EF_SEARCH,
    GN_SET_HNSW_ITERATIVE_SCAN,
    GN_SET_HNSW_MAX_SCAN_TUPLES,
    GN_SET_HNSW_SCAN_MEM_MULTIPLIER,
    GN_SET_IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
    GN_SET_IN_HOT_STANDBY,
    GN_SET_INTEGER_DATETIMES,
    GN_SET_INTERVALSTYLE,
    GN_SET_IVFFLAT_ITERATIVE_SCAN,
    GN_SET_IVFFLAT_MAX_PROBES,
    GN_SET_IVFFLAT_PROBES,
    GN_SET_IS_SUPERUSER,
    GN_SET_JIT,
    GN_SET_LC_COLLATE,
    GN_SET_LC_CTYPE,
    GN_SET_LC_MESSAGES,
    GN_SET_LOCK_TIMEOUT,
    GN_SET_MAINTENANCE_WORK_MEM,
    GN_SET_MAX_IDENTIFIER_LENGTH,
    GN_SET_MAX_PARALLEL_MAINTENANCE_WORKERS,
    GN_SET_READ_STALENESS,
    GN_SET_ROW_SECURITY,
    GN_SET_SEARCH_PATH,
    GN_SET_SERVER_ENCODING,
    GN_SET_SERVER_VERSION,
    GN_SET_SERVER_VERSION_NUM,
    GN_SET_SESSION_AUTHORIZATION,
    GN_SET_STANDARD_CONFORMING_STRINGS,
    GN_SET_STATEMENT_MEMORY,
    GN_SET_STATEMENT_TIMEOUT,
    GN_SET_SYNCHRONOUS_COMMIT,
    GN_SET_TIMEZONE,
    GN_SET_TRANSACTION_DEFERRABLE,
    GN_SET_TRANSACTION_ISOLATION,
    GN_SET_TRANSACTION_READ_ONLY,
    GN_SET_VECTOR_EXACT,
    GN_SET_VECTOR_TARGET_RECALL,
    GN_SET_WORK_MEM,
    GN_SET_XMLOPTION,
    GN_SET_COUNT
} gn_setting_id;

typedef enum gn_set_scope {
    GN_SCOPE_STARTUP, /* becomes the default that RESET goes back to; may set what users may not */
    GN_SCOPE_SESSION,
    GN_SCOPE_LOCAL,
} gn_set_scope;

typedef struct gn_setting_state {
    char *value;         /* NULL = the default */
    char *startup;       /* of RESET; NULL = the table's default */
    char *on_rollback;   /* what `value` was when the transaction first touched it */
    char *on_commit;     /* with `local`: what the session goes back to */
    bool touched, local; /* in the open transaction */
    bool unreported;     /* changed since clients were told */
} gn_setting_state;

typedef struct gn_zone_name {
    struct gn_zone_name *next;
    char name[];
} gn_zone_name;

typedef struct gn_settings {
    gn_setting_state state[GN_SET_COUNT];
    bool any_touched, any_unreported;
    gn_zone_name *zones;
    uint32_t plan_epoch; /* rises when a setting changes that plans or literals depend on */
    /* the values that code asks for often, in their own types */
    gn_format format;
    uint64_t statement_timeout_ms; /* 0 = none */
    uint64_t statement_memory;     /* bytes; 0 = the database's default */
    uint32_t ef_search;
    bool ef_search_given;       /* by SET or at start: else an index may have one of its own */
    float target_recall;        /* 0 = by ef_search */
    bool partial;               /* of those, and of single queries: groups that cannot be reached are left out */
    uint64_t read_staleness_ms; /* of read-only transactions; 0 = none */
    bool vector_exact;
    bool enable_indexscan, enable_seqscan;
    bool default_read_only;
    int min_severity; /* client_min_messages: 0 info and lower, 1 notice, 2 warning, 3 error */
} gn_settings;

void gn_settings_init(gn_settings *settings);
void gn_settings_close(gn_settings *settings);

/* text.data NULL = RESET. Names are matched without case. GN_NO_OBJECT, GN_CANNOT_CHANGE_PARAMETER,
 * GN_INVALID_PARAMETER. */
gn_code gn_settings_set(gn_settings *settings, gn_bytes name, gn_bytes text, gn_set_scope scope, gn_error *err);
void gn_settings_reset_all(gn_settings *settings);
/* What is set now is what RESET goes back to: after the start-up packet. */
void gn_settings_make_defaults(gn_settings *settings);
/* -1 when there is none of this name. */
int gn_setting_find(gn_bytes name);
const char *gn_setting_name(gn_setting_id id);
const char *gn_setting_description(gn_setting_id id);
/* As SHOW prints it, into buf where it must be formatted. */
const char *gn_settings_show(const gn_settings *settings, gn_setting_id id, char *buf, size_t size);

void gn_settings_commit(gn_settings *settings);
void gn_settings_rollback(gn_settings *settings);

/* Calls fn for every setting that clients are told of (all, or only those that changed since the last call). */
void gn_settings_report(gn_settings *settings, bool all, void (*fn)(void *ctx, const char *name, const char *value),
                        void *ctx);

#endif
