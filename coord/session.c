/* Sessions: opening, closing, cancelling, notices, and the functions that ask about the session. */
#include "coord/parser.h"
#include "coord/session_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

/* ---- life ---- */

static gn_code apply_start_up(gn_session *s, const gn_session_options *o, gn_error *err)
{
    gn_settings *st = &s->settings;
    gn_code code =
        gn_settings_set(st, gn_bytes_str("session_authorization"), gn_bytes_str(s->user), GN_SCOPE_STARTUP, err);
    if (code == GN_OK && o->application_name)
        code = gn_settings_set(st, gn_bytes_str("application_name"), gn_bytes_str(o->application_name),
                               GN_SCOPE_STARTUP, err);
    for (size_t i = 0; i < o->n_settings && code == GN_OK; i++) {
        gn_bytes name = gn_bytes_str(o->settings[2 * i]);
        code = gn_settings_set(st, name, gn_bytes_str(o->settings[2 * i + 1]), GN_SCOPE_SESSION, err);
    }
    if (code == GN_OK)
        gn_settings_make_defaults(st);
    return code;
}

gn_code gn_session_open(gn_db *db, const gn_session_options *options, gn_session **out, gn_error *err)
{
    gn_session *s = gn_xcalloc(1, sizeof *s);
    s->db = db;
    do
        s->id = ++db->next_session;
    while (s->id == 0);
    db->open_sessions++;
    s->user = gn_xstrdup(options->user ? options->user : "");
    s->database = gn_xstrdup(options->database ? options->database : s->user);
    gn_account_init(&s->account, &db->account, "session memory", 0);
    gn_settings_init(&s->settings);
    gn_watchdog_init(&s->watchdog, db, &s->cancel, &s->timed_out);
    s->describe_arena = gn_arena_create(&s->account);
    s->text_arena = gn_arena_create(&s->account);
    gn_code code = apply_start_up(s, options, err);
    s->format = s->settings.format;
    if (code != GN_OK)
        gn_session_close(s);
    else
        *out = s;
    return code;
}

void gn_session_close(gn_session *session)
{
    if (!session)
        return;
    gn_session_rollback(session);
    gn_watchdog_close(&session->watchdog);
    gn_named_drop_all(session);
    gn_stmt_cache_clear(session);
    gn_table_infos_clear(&session->infos);
    gn_portal_free_spare(session);
    gn_arena_destroy(session->describe_arena);
    gn_arena_destroy(session->text_arena);
    gn_settings_close(&session->settings);
    gn_account_close(&session->account);
    free(session->user);
    free(session->database);
    session->db->open_sessions--;
    free(session);
}

void gn_session_cancel(gn_session *session)
{
    session->cancel = true;
}

uint32_t gn_session_id(const gn_session *session)
{
    return session->id;
}

char gn_session_status(const gn_session *session)
{
    if (session->block != GN_BLOCK_EXPLICIT)
        return 'I';
    return session->failed ? 'E' : 'T';
}

/* ---- settings, seen from outside ---- */

const char *gn_session_setting(const gn_session *session, const char *name)
{
    int id = gn_setting_find(gn_bytes_str(name));
    if (id < 0)
        return NULL;
    static _Thread_local char buf[64];
    return gn_settings_show(&session->settings, (gn_setting_id)id, buf, sizeof buf);
}

static void to_sink(void *ctx, const char *name, const char *value)
{
    const gn_sink *sink = ctx;
    if (sink->setting)
        sink->setting(sink->ctx, name, value);
}

const gn_format *gn_session_format(const gn_session *session)
{
    return &session->settings.format;
}

void gn_session_report_settings(gn_session *session, const gn_sink *sink)
{
    gn_settings_report(&session->settings, true, to_sink, (void *)sink);
}

void gn_session_report_changes(gn_session *s)
{
    if (s->sink)
        gn_settings_report(&s->settings, false, to_sink, (void *)s->sink);
}

/* ---- notices and errors ---- */

void gn_session_notice(gn_session *s, gn_severity severity, gn_code code, const char *format, ...)
{
    static const int rank[] = {[GN_SEVERITY_INFO] = 3, [GN_SEVERITY_NOTICE] = 1, [GN_SEVERITY_WARNING] = 2};
    if (!s->sink || !s->sink->notice || rank[severity] < s->settings.min_severity)
        return;
    gn_error notice = {.code = code};
    va_list ap;
    va_start(ap, format);
    vsnprintf(notice.message, sizeof notice.message, format, ap);
    va_end(ap);
    s->sink->notice(s->sink->ctx, severity, &notice);
}

gn_code gn_session_finish_error(gn_session *s, gn_bytes sql, gn_code code, gn_error *err)
{
    if (err->code == GN_OK)
        gn_error_set(err, code, "%s", gn_code_text(code));
    if (s->timed_out && (code == GN_CANCELED || code == GN_TIMEOUT)) {
        gn_error_clear(err);
        gn_error_set(err, GN_CANCELED, "canceling statement due to statement timeout");
        code = GN_CANCELED;
    }
    if (err->position > 0)
        err->position = sql.data ? gn_sql_position(sql, err->position) : 0;
    return code;
}

/* ---- functions about the session ---- */

static gn_code text_value(const char *text, gn_arena *arena, gn_value *out, gn_error *err)
{
    size_t len = strlen(text);
    char *copy = gn_arena_strndup(arena, text, len);
    if (!copy)
        return gn_error_oom(err, gn_arena_account(arena));
    *out = (gn_value){.type = gn_type_of(GN_T_TEXT), .as.bytes = gn_bytes_of(copy, len)};
    return GN_OK;
}

static gn_code current_setting(gn_session *s, const gn_value *args, uint32_t n, gn_arena *arena, gn_value *out,
                               gn_error *err)
{
    char buf[64];
    int id = gn_setting_find(args[0].as.bytes);
    bool missing_ok = n > 1 && !args[1].is_null && args[1].as.boolean;
    if (id >= 0)
        return text_value(gn_settings_show(&s->settings, (gn_setting_id)id, buf, sizeof buf), arena, out, err);
    if (missing_ok)
        return *out = gn_value_null(gn_type_of(GN_T_TEXT)), GN_OK;
    return gn_error_set(err, GN_NO_OBJECT, "unrecognized configuration parameter \"%.*s\"",
                        (int)(args[0].as.bytes.len > 100 ? 100 : args[0].as.bytes.len),
                        (const char *)args[0].as.bytes.data);
}

static gn_code set_config(gn_session *s, const gn_value *args, uint32_t n, gn_arena *arena, gn_value *out,
                          gn_error *err)
{
    bool local = n > 2 && !args[2].is_null && args[2].as.boolean;
    if (args[0].is_null)
        return gn_error_set(err, GN_NULL_NOT_ALLOWED, "SET requires parameter name");
    gn_bytes value = n > 1 && !args[1].is_null ? args[1].as.bytes : gn_bytes_of("", 0);
    if (!value.data)
        value.data = (const uint8_t *)"";
    gn_code code =
        gn_settings_set(&s->settings, args[0].as.bytes, value, local ? GN_SCOPE_LOCAL : GN_SCOPE_SESSION, err);
    return code == GN_OK ? current_setting(s, args, 1, arena, out, err) : code;
}

static gn_code i64_value(gn_type_id type, int64_t v, gn_value *out)
{
    *out = (gn_value){.type = gn_type_of(type), .as.i64 = v};
    return GN_OK;
}

/* Time and chance come from the world, so that a simulation decides them. */
static gn_code from_the_world(gn_session *s, const char *function, gn_value *out)
{
    static const int64_t UNIX_TO_PG_US = 946684800000000;
    gn_world *world = s->db->world;
    if (strcmp(function, "random") == 0) {
        *out = (gn_value){.type = gn_type_of(GN_T_FLOAT8), .as.f64 = (double)(gn_random_u64(world) >> 11) * 0x1p-53};
        return GN_OK;
    }
    if (strcmp(function, "clock_timestamp") == 0)
        return i64_value(GN_T_TIMESTAMPTZ, (int64_t)gn_wall_us(world) - UNIX_TO_PG_US, out);
    if (strcmp(function, "pg_postmaster_start_time") == 0)
        return i64_value(GN_T_TIMESTAMPTZ, (int64_t)s->db->started_us - UNIX_TO_PG_US, out);
    return GN_NO_FUNCTION;
}

static const char *name_of_session(const gn_session *s, const char *function)
{
    static const char *const database[] = {"current_database", "current_catalog"};
    static const char *const user[] = {"current_user", "session_user", "user", "current_role"};
    for (size_t i = 0; i < sizeof database / sizeof database[0]; i++)
        if (strcmp(function, database[i]) == 0)
            return s->database;
    for (size_t i = 0; i < sizeof user / sizeof user[0]; i++)
        if (strcmp(function, user[i]) == 0)
            return s->user;
    if (strcmp(function, "current_schema") == 0)
        return "public";
    return strcmp(function, "version") == 0 ? "PostgreSQL 15.0 (GnomonDB " GN_VERSION ")" : NULL;
}

static gn_code call_hook(void *session, const char *function, const gn_value *args, uint32_t n, gn_arena *arena,
                         gn_value *out, gn_error *err)
{
    gn_session *s = session;
    gn_code code = from_the_world(s, function, out);
    if (code != GN_NO_FUNCTION)
        return code;
    const char *text = name_of_session(s, function);
    if (text)
        return text_value(text, arena, out, err);
    if (strcmp(function, "current_setting") == 0 && n >= 1)
        return current_setting(s, args, n, arena, out, err);
    if (strcmp(function, "set_config") == 0 && n >= 1)
        return set_config(s, args, n, arena, out, err);
    if (strcmp(function, "pg_backend_pid") == 0) {
        *out = (gn_value){.type = gn_type_of(GN_T_INT4), .as.i32 = (int32_t)s->id};
        return GN_OK;
    }
    if (strcmp(function, "pg_is_in_recovery") == 0) {
        *out = (gn_value){.type = gn_type_of(GN_T_BOOL)};
        return GN_OK;
    }
    if (strcmp(function, "txid_current") == 0) /* what this transaction sees is as good a name as any */
        return i64_value(GN_T_INT8, s->txn ? (int64_t)gn_dtxn_read_scn(s->txn) : 0, out);
    return GN_NO_FUNCTION;
}

const struct gn_session_hooks gn_coord_hooks = {.call = call_hook};
