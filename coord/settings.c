/* Settings: the table, and SET with its undo. Values are kept as text, since that is what SHOW and clients want; the
 * few that code asks for in every statement are parsed once after each change (derive). */
#include "base/assert.h"
#include "base/limits.h"
#include "base/memory.h"
#include "coord/settings_private.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

enum { MAX_SETTING_TEXT = 4096 };

typedef enum setting_type { T_BOOL, T_INT, T_REAL, T_MS, T_KB, T_ENUM, T_STRING } setting_type;

enum {
    F_REPORT = 1,   /* clients are told at start and when it changes */
    F_READONLY = 2, /* shown, never set */
    F_PLAN = 4,     /* plans depend on it */
};

typedef struct setting_def {
    const char *name;
    setting_type type;
    const char *initial;
    int64_t min, max;
    const char *options; /* T_ENUM: comma-separated */
    unsigned flags;
    const char *description;
} setting_def;

/* Those whose description says "accepted" have no effect here: clients and dumps set them, and what they ask for either
 * cannot happen (there are no locks to wait for) or is given anyway. */
static const setting_def defs[GN_SET_COUNT] = {
    [GN_SET_ALLOW_PARTIAL_RESULTS] = {"allow_partial_results", T_BOOL, "off",
                                      .description = "Queries leave out groups that cannot be reached, and warn of it, "
                                                     "rather than fail."},
    [GN_SET_APPLICATION_NAME] = {"application_name", T_STRING, "", .flags = F_REPORT,
                                 .description = "The name that the client gives itself."},
    [GN_SET_BYTEA_OUTPUT] = {"bytea_output", T_ENUM, "hex", .options = "escape,hex",
                             .description = "How bytea is printed."},
    [GN_SET_CHECK_FUNCTION_BODIES] = {"check_function_bodies", T_BOOL, "on", .description = "Accepted."},
    [GN_SET_CLIENT_ENCODING] = {"client_encoding", T_STRING, "UTF8", .flags = F_REPORT,
                                .description = "The encoding of text; UTF8 alone."},
    [GN_SET_CLIENT_MIN_MESSAGES] = {"client_min_messages", T_ENUM, "notice",
                                    .options = "debug5,debug4,debug3,debug2,debug1,debug,log,info,notice,warning,error",
                                    .description = "The least severe notices that are sent."},
    [GN_SET_DATESTYLE] = {"DateStyle", T_STRING, "ISO, MDY", .flags = F_REPORT,
                          .description = "How dates are printed; ISO alone."},
    [GN_SET_DEFAULT_TABLE_ACCESS_METHOD] = {"default_table_access_method", T_STRING, "heap",
                                            .description = "Accepted."},
    [GN_SET_DEFAULT_TABLESPACE] = {"default_tablespace", T_STRING, "", .description = "Accepted."},
    [GN_SET_DEFAULT_TRANSACTION_DEFERRABLE] = {"default_transaction_deferrable", T_BOOL, "off",
                                               .description = "Accepted; no transaction waits here."},
    [GN_SET_DEFAULT_TRANSACTION_ISOLATION] = {"default_transaction_isolation", T_ENUM, "serializable",
                                              .options = "serializable,repeatable read,read committed,read uncommitted",
                                              .flags = F_REPORT,
                                              .description = "Accepted; every transaction is serializable."},
    [GN_SET_DEFAULT_TRANSACTION_READ_ONLY] = {"default_transaction_read_only", T_BOOL, "off", .flags = F_REPORT,
                                              .description = "New transactions may not write."},
    [GN_SET_ENABLE_INDEXSCAN] = {"enable_indexscan", T_BOOL, "on", .flags = F_PLAN,
                                 .description = "Use indexes; off makes nearest-neighbour queries exact."},
    [GN_SET_ENABLE_SEQSCAN] = {"enable_seqscan", T_BOOL, "on", .flags = F_PLAN,
                               .description = "Off prefers any index over reading the whole table."},
    [GN_SET_ESCAPE_STRING_WARNING] = {"escape_string_warning", T_BOOL, "on", .description = "Accepted."},
    [GN_SET_EXTRA_FLOAT_DIGITS] = {"extra_float_digits", T_INT, "1", -15, 3,
                                   .description = "Digits of printed floats; above 0 is shortest exact."},
    [GN_SET_HNSW_EF_SEARCH] = {"hnsw.ef_search", T_INT, "40", 1, GN_MAX_EF,
                               .description = "Candidates that a search through an HNSW index keeps."},
    [GN_SET_HNSW_ITERATIVE_SCAN] = {"hnsw.iterative_scan", T_ENUM, "off", .options = "off,relaxed_order,strict_order",
                                    .description = "Accepted; a search with a filter always goes on until enough rows "
                                                   "match."},
    [GN_SET_HNSW_MAX_SCAN_TUPLES] = {"hnsw.max_scan_tuples", T_INT, "20000", 1, INT_MAX,
                                     .description = "Accepted; searches end when enough rows match."},
    [GN_SET_HNSW_SCAN_MEM_MULTIPLIER] = {"hnsw.scan_mem_multiplier", T_REAL, "1", 1, 1000,
                                         .description = "Accepted; statement_memory bounds searches."},
    [GN_SET_IDLE_IN_TRANSACTION_SESSION_TIMEOUT] = {"idle_in_transaction_session_timeout", T_MS, "0", 0, 0,
                                                    .description = "0 alone: idle transactions are not ended."},
    [GN_SET_IN_HOT_STANDBY] = {"in_hot_standby", T_BOOL, "off", .flags = F_REPORT | F_READONLY,
                               .description = "Always off."},
    [GN_SET_INTEGER_DATETIMES] = {"integer_datetimes", T_BOOL, "on", .flags = F_REPORT | F_READONLY,
                                  .description = "Always on."},
    [GN_SET_INTERVALSTYLE] = {"IntervalStyle", T_ENUM, "postgres", .options = "postgres", .flags = F_REPORT,
                              .description = "How intervals are printed."},
    [GN_SET_IVFFLAT_ITERATIVE_SCAN] = {"ivfflat.iterative_scan", T_ENUM, "off", .options = "off,relaxed_order",
                                       .description = "Accepted, as hnsw.iterative_scan."},
    [GN_SET_IVFFLAT_MAX_PROBES] = {"ivfflat.max_probes", T_INT, "32768", 1, 32768,
                                   .description = "Accepted; an ivfflat index is an hnsw index."},
    [GN_SET_IVFFLAT_PROBES] = {"ivfflat.probes", T_INT, "1", 1, 32768,
                               .description =
                                   "Accepted; an ivfflat index is an hnsw index, and hnsw.ef_search says how "
                                   "far it is searched."},
    [GN_SET_IS_SUPERUSER] = {"is_superuser", T_BOOL, "on", .flags = F_REPORT | F_READONLY,
                             .description = "Whether the user may do everything."},
    [GN_SET_JIT] = {"jit", T_BOOL, "off", .description = "Accepted."},
    [GN_SET_LC_COLLATE] = {"lc_collate", T_STRING, "C", .flags = F_READONLY,
                           .description = "Text is ordered by its bytes."},
    [GN_SET_LC_CTYPE] = {"lc_ctype", T_STRING, "C.UTF-8", .flags = F_READONLY,
                         .description = "Character classes are Unicode's."},
    [GN_SET_LC_MESSAGES] = {"lc_messages", T_STRING, "C", .description = "Accepted; messages are English."},
    [GN_SET_LOCK_TIMEOUT] = {"lock_timeout", T_MS, "0", 0, INT_MAX,
                             .description = "Accepted; statements do not wait for locks."},
    [GN_SET_MAINTENANCE_WORK_MEM] = {"maintenance_work_mem", T_KB, "65536", 64, INT_MAX,
                                     .description = "Accepted; statement_memory bounds statements."},
    [GN_SET_MAX_IDENTIFIER_LENGTH] = {"max_identifier_length", T_INT, "63", 63, 63, .flags = F_READONLY,
                                      .description = "Bytes of a name."},
    [GN_SET_MAX_PARALLEL_MAINTENANCE_WORKERS] = {"max_parallel_maintenance_workers", T_INT, "1", 0, 1024,
                                                 .description = "Accepted."},
    [GN_SET_READ_STALENESS] = {"read_staleness", T_MS, "0", 0, 3600000,
                               .description = "Read-only transactions see what was there so long ago, from the "
                                              "nearest replica that has it; 0 = what is there now."},
    [GN_SET_ROW_SECURITY] = {"row_security", T_BOOL, "on", .description = "Accepted."},
    [GN_SET_SEARCH_PATH] = {"search_path", T_STRING, "\"$user\", public",
                            .description = "Accepted; all tables are in the schema public."},
    [GN_SET_SERVER_ENCODING] = {"server_encoding", T_STRING, "UTF8", .flags = F_REPORT | F_READONLY,
                                .description = "The encoding of stored text."},
    [GN_SET_SERVER_VERSION] = {"server_version", T_STRING, "15.0 (GnomonDB " GN_VERSION ")",
                               .flags = F_REPORT | F_READONLY,
                               .description = "The PostgreSQL version whose dialect is spoken, and the server's own."},
    [GN_SET_SERVER_VERSION_NUM] = {"server_version_num", T_INT, "150000", 150000, 150000, .flags = F_READONLY,
                                   .description = "The same as a number."},
    [GN_SET_SESSION_AUTHORIZATION] = {"session_authorization", T_STRING, "", .flags = F_REPORT | F_READONLY,
                                      .description = "The session's user."},
    [GN_SET_STANDARD_CONFORMING_STRINGS] = {"standard_conforming_strings", T_BOOL, "on", .flags = F_REPORT,
                                            .description = "On alone: a backslash in '...' is a backslash."},
    [GN_SET_STATEMENT_MEMORY] = {"statement_memory", T_KB, "0", 0, INT_MAX,
                                 .description = "Memory that one statement may take; 0 is the server's default."},
    [GN_SET_STATEMENT_TIMEOUT] = {"statement_timeout", T_MS, "0", 0, INT_MAX,
                                  .description = "Time after which a statement is cancelled; 0 is never."},
    [GN_SET_SYNCHRONOUS_COMMIT] = {"synchronous_commit", T_ENUM, "on",
                                   .options = "local,remote_write,remote_apply,on,off,true,false,yes,no,1,0",
                                   .description = "Accepted; every commit is durable before it is answered."},
    [GN_SET_TIMEZONE] = {"TimeZone", T_STRING, "UTC", .flags = F_REPORT | F_PLAN,
                         .description = "The time zone of timestamptz as printed and read."},
    [GN_SET_TRANSACTION_DEFERRABLE] = {"transaction_deferrable", T_BOOL, "off", .description = "Accepted."},
    [GN_SET_TRANSACTION_ISOLATION] = {"transaction_isolation", T_ENUM, "serializable",
                                      .options = "serializable,repeatable read,read committed,read uncommitted",
                                      .description = "Of this transaction: always serializable."},
    [GN_SET_TRANSACTION_READ_ONLY] = {"transaction_read_only", T_BOOL, "off",
                                      .description = "Whether this transaction may not write."},
    [GN_SET_VECTOR_EXACT] = {"vector.exact", T_BOOL, "off",
                             .description = "Vector searches measure every row instead of walking graphs."},
    [GN_SET_VECTOR_TARGET_RECALL] = {"vector.target_recall", T_REAL, "0", 0, 1,
                                     .description = "The recall that a vector search is to have, instead of "
                                                    "hnsw.ef_search; 0 = none, 1 = exact."},
    [GN_SET_WORK_MEM] = {"work_mem", T_KB, "4096", 64, INT_MAX,
                         .description = "Accepted; statement_memory bounds statements."},
    [GN_SET_XMLOPTION] = {"xmloption", T_ENUM, "content", .options = "content,document", .description = "Accepted."},
};

int gn_setting_find(gn_bytes name)
{
    for (int i = 0; i < GN_SET_COUNT; i++)
        if (strlen(defs[i].name) == name.len && strncasecmp(defs[i].name, (const char *)name.data, name.len) == 0)
            return i;
    return -1;
}

const char *gn_setting_name(gn_setting_id id)
{
    return defs[id].name;
}

const char *gn_setting_description(gn_setting_id id)
{
    return defs[id].description;
}

static const char *current(const gn_settings *s, gn_setting_id id)
{
    const gn_setting_state *st = &s->state[id];
    return st->value ? st->value : st->startup ? st->startup : defs[id].initial;
}

/* ---- reading values ---- */

static bool parse_bool(const char *text, bool *out)
{
    static const struct {
        const char *word;
        size_t least; /* shortest prefix that is unique */
        bool value;
    } words[] = {{"true", 1, true}, {"false", 1, false}, {"yes", 1, true}, {"no", 1, false},
                 {"on", 2, true},   {"off", 2, false},   {"1", 1, true},   {"0", 1, false}};
    size_t len = strlen(text);
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (len >= words[i].least && len <= strlen(words[i].word) && strncasecmp(text, words[i].word, len) == 0) {
            *out = words[i].value;
            return true;
        }
    }
    return false;
}

typedef struct unit {
    const char *name;
    double factor;
} unit;

/* Largest first, as SHOW looks for the largest that divides. */
static const unit ms_units[] = {{"d", 86400000.0}, {"h", 3600000.0}, {"min", 60000.0},
                                {"s", 1000.0},     {"ms", 1.0},      {"us", 0.001}};
static const unit kb_units[] = {
    {"TB", 1073741824.0}, {"GB", 1048576.0}, {"MB", 1024.0}, {"kB", 1.0}, {"B", 1.0 / 1024}};
enum { N_MS_UNITS = 6, N_KB_UNITS = 5 };

static const unit *units_of(setting_type type, size_t *n)
{
    *n = type == T_MS ? N_MS_UNITS : type == T_KB ? N_KB_UNITS : 0;
    return type == T_MS ? ms_units : kb_units;
}

static bool parse_number(const setting_def *def, const char *text, double *out, const char **hint)
{
    char *end;
    errno = 0;
    double v = strtod(text, &end);
    if (end == text || !isfinite(v))
        return false;
    while (isspace((unsigned char)*end))
        end++;
    size_t n;
    const unit *units = units_of(def->type, &n);
    if (*end) {
        size_t i = 0;
        size_t len = strcspn(end, " \t\n");
        while (i < n && (strlen(units[i].name) != len || strncmp(units[i].name, end, len) != 0))
            i++;
        if (i == n) {
            *hint = def->type == T_MS
                        ? "Valid units for this parameter are \"us\", \"ms\", \"s\", \"min\", \"h\", and \"d\"."
                    : def->type == T_KB
                        ? "Valid units for this parameter are \"B\", \"kB\", \"MB\", \"GB\", and \"TB\"."
                        : NULL;
            return false;
        }
        v *= units[i].factor;
    }
    *out = def->type == T_REAL ? v : rint(v);
    return true;
}

static gn_code bad_value(gn_error *err, const setting_def *def, const char *text)
{
    return gn_error_set(err, GN_INVALID_PARAMETER, "invalid value for parameter \"%s\": \"%.200s\"", def->name, text);
}

static gn_code check_enum(const setting_def *def, const char *text, char *out, size_t size, gn_error *err)
{
    size_t len = strlen(text);
    for (const char *p = def->options; *p;) {
        size_t n = strcspn(p, ",");
        if (n == len && strncasecmp(p, text, n) == 0) {
            snprintf(out, size, "%.*s", (int)n, p);
            return GN_OK;
        }
        p += n + (p[n] == ',');
    }
    gn_code code = bad_value(err, def, text);
    char list[256];
    size_t used = 0;
    for (const char *p = def->options; *p && used + 2 < sizeof list; p++) {
        list[used++] = *p;
        if (*p == ',')
            list[used++] = ' ';
    }
    list[used] = 0;
    gn_error_hint(err, "Available values: %s.", list);
    return code;
}

/* UTC offsets as SET TIME ZONE takes them: hours, east positive. */
static bool parse_offset(const char *text, int32_t *seconds)
{
    char *end;
    double hours = strtod(text, &end);
    if (end == text || *end || !(fabs(hours) <= 15.999))
        return false;
    *seconds = (int32_t)rint(hours * 3600);
    return true;
}

/* An IANA name whose file is there. Names with "..", "/" in front or odd characters are nobody's. */
static bool known_zone(const char *name)
{
    if (!*name || *name == '/' || *name == '.' || strstr(name, "..") || strlen(name) > 100)
        return false;
    for (const char *p = name; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("/_+-.", *p))
            return false;
    if (strcasecmp(name, "UTC") == 0 || strcasecmp(name, "GMT") == 0 || strcasecmp(name, "Etc/UTC") == 0)
        return true;
    char path[160];
    snprintf(path, sizeof path, "/usr/share/zoneinfo/%s", name);
    return access(path, R_OK) == 0;
}

static gn_code check_string(gn_setting_id id, const char *text, char *out, size_t size, gn_error *err)
{
    const setting_def *def = &defs[id];
    int32_t offset;
    snprintf(out, size, "%s", text);
    switch (id) {
    case GN_SET_CLIENT_ENCODING:
        if (strcasecmp(text, "UTF8") != 0 && strcasecmp(text, "UTF-8") != 0 && strcasecmp(text, "unicode") != 0) {
            gn_error_set(err, GN_FEATURE, "client_encoding \"%.60s\" is not supported", text);
            return gn_error_hint(err, "Text is UTF8; set client_encoding to UTF8.");
        }
        snprintf(out, size, "UTF8");
        return GN_OK;
    case GN_SET_DATESTYLE:
        if (strncasecmp(text, "ISO", 3) != 0 || (text[3] && !strcasestr(text, "MDY"))) {
            gn_error_set(err, GN_FEATURE, "DateStyle \"%.60s\" is not supported", text);
            return gn_error_hint(err, "Dates are read and printed as \"ISO, MDY\".");
        }
        snprintf(out, size, "ISO, MDY");
        return GN_OK;
    case GN_SET_TIMEZONE:
        if (!parse_offset(text, &offset) && !known_zone(text))
            return bad_value(err, def, text);
        return GN_OK;
    default:
        return GN_OK;
    }
}

/* Checks `text` and writes the form in which it is kept. */
static gn_code canonical(gn_setting_id id, const char *text, char *out, size_t size, gn_error *err)
{
    const setting_def *def = &defs[id];
    bool b;
    double v;
    const char *hint = NULL;
    switch (def->type) {
    case T_BOOL:
        if (!parse_bool(text, &b))
            return gn_error_set(err, GN_INVALID_PARAMETER, "parameter \"%s\" requires a Boolean value", def->name);
        if (id == GN_SET_STANDARD_CONFORMING_STRINGS && !b)
            return gn_error_set(err, GN_FEATURE, "standard_conforming_strings cannot be turned off");
        snprintf(out, size, "%s", b ? "on" : "off");
        return GN_OK;
    case T_INT:
    case T_MS:
    case T_KB:
        if (!parse_number(def, text, &v, &hint)) {
            bad_value(err, def, text);
            if (hint)
                gn_error_hint(err, "%s", hint);
            return GN_INVALID_PARAMETER;
        }
        if (v < (double)def->min || v > (double)def->max) {
            const char *u = def->type == T_MS ? " ms" : def->type == T_KB ? " kB" : "";
            return gn_error_set(err, GN_INVALID_PARAMETER,
                                "%.0f%s is outside the valid range for parameter \"%s\" (%lld .. %lld)", v, u,
                                def->name, (long long)def->min, (long long)def->max);
        }
        snprintf(out, size, "%.0f", v + 0.0);
        return GN_OK;
    case T_REAL:
        if (!parse_number(def, text, &v, &hint))
            return bad_value(err, def, text), GN_INVALID_PARAMETER;
        if (!(v >= (double)def->min && v <= (double)def->max))
            return gn_error_set(err, GN_INVALID_PARAMETER,
                                "%g is outside the valid range for parameter \"%s\" (%lld .. %lld)", v, def->name,
                                (long long)def->min, (long long)def->max);
        snprintf(out, size, "%g", v);
        return GN_OK;
    case T_ENUM:
        return check_enum(def, text, out, size, err);
    case T_STRING:
        return check_string(id, text, out, size, err);
    }
    return GN_INTERNAL;
}

/* ---- state ---- */

static int severity_of(const char *level)
{
    if (strcmp(level, "error") == 0)
        return 3;
    if (strcmp(level, "warning") == 0)
        return 2;
    return strcmp(level, "notice") == 0 ? 1 : 0;
}

static bool is_on(const gn_settings *s, gn_setting_id id)
{
    return strcmp(current(s, id), "on") == 0;
}

/* Formats of open portals point at the zone's name, so names live as long as the session. They are few: each names a
 * file of the zone database. */
static const char *intern_zone(gn_settings *s, const char *name)
{
    for (gn_zone_name *z = s->zones; z; z = z->next)
        if (strcmp(z->name, name) == 0)
            return z->name;
    gn_zone_name *z = gn_xmalloc(sizeof *z + strlen(name) + 1);
    memcpy(z->name, name, strlen(name) + 1);
    z->next = s->zones;
    s->zones = z;
    return z->name;
}

static void derive(gn_settings *s)
{
    const char *tz = current(s, GN_SET_TIMEZONE);
    s->format.tz_offset_s = 0;
    s->format.tz_name = NULL;
    if (!parse_offset(tz, &s->format.tz_offset_s) && strcasecmp(tz, "UTC") != 0 && strcasecmp(tz, "GMT") != 0 &&
        strcasecmp(tz, "Etc/UTC") != 0)
        s->format.tz_name = intern_zone(s, tz);
    s->format.extra_float_digits = (int)strtol(current(s, GN_SET_EXTRA_FLOAT_DIGITS), NULL, 10);
    s->format.bytea_escape = strcmp(current(s, GN_SET_BYTEA_OUTPUT), "escape") == 0;
    s->statement_timeout_ms = strtoull(current(s, GN_SET_STATEMENT_TIMEOUT), NULL, 10);
    s->statement_memory = strtoull(current(s, GN_SET_STATEMENT_MEMORY), NULL, 10) * 1024;
    s->ef_search = (uint32_t)strtoul(current(s, GN_SET_HNSW_EF_SEARCH), NULL, 10);
    s->ef_search_given = s->state[GN_SET_HNSW_EF_SEARCH].value || s->state[GN_SET_HNSW_EF_SEARCH].startup;
    s->target_recall = strtof(current(s, GN_SET_VECTOR_TARGET_RECALL), NULL);
    s->read_staleness_ms = strtoull(current(s, GN_SET_READ_STALENESS), NULL, 10);
    s->partial = is_on(s, GN_SET_ALLOW_PARTIAL_RESULTS);
    s->vector_exact = is_on(s, GN_SET_VECTOR_EXACT) || s->target_recall >= 1;
    s->enable_indexscan = is_on(s, GN_SET_ENABLE_INDEXSCAN);
    s->enable_seqscan = is_on(s, GN_SET_ENABLE_SEQSCAN);
    s->default_read_only = is_on(s, GN_SET_DEFAULT_TRANSACTION_READ_ONLY);
    s->min_severity = severity_of(current(s, GN_SET_CLIENT_MIN_MESSAGES));
}

void gn_settings_init(gn_settings *settings)
{
    *settings = (gn_settings){0};
    derive(settings);
}

void gn_settings_close(gn_settings *settings)
{
    while (settings->zones) {
        gn_zone_name *z = settings->zones;
        settings->zones = z->next;
        free(z);
    }
    for (int i = 0; i < GN_SET_COUNT; i++) {
        gn_setting_state *st = &settings->state[i];
        free(st->value);
        free(st->startup);
        free(st->on_rollback);
        free(st->on_commit);
    }
}

static char *dup_or_null(const char *s)
{
    return s ? gn_xstrdup(s) : NULL;
}

static void changed(gn_settings *s, gn_setting_id id)
{
    if (defs[id].flags & F_REPORT)
        s->state[id].unreported = s->any_unreported = true;
    if (defs[id].flags & F_PLAN)
        s->plan_epoch++;
}

/* Takes `value`. */
static void store(gn_settings *s, gn_setting_id id, char *value, gn_set_scope scope)
{
    gn_setting_state *st = &s->state[id];
    if (scope == GN_SCOPE_STARTUP) {
        free(st->startup);
        st->startup = value;
    } else {
        if (!st->touched) {
            st->on_rollback = dup_or_null(st->value);
            st->touched = s->any_touched = true;
        }
        if (scope == GN_SCOPE_LOCAL && !st->local)
            st->on_commit = dup_or_null(st->value);
        if (scope == GN_SCOPE_SESSION && st->local) {
            free(st->on_commit);
            st->on_commit = NULL;
        }
        st->local = scope == GN_SCOPE_LOCAL;
        free(st->value);
        st->value = value;
    }
    changed(s, id);
    derive(s);
}

gn_code gn_settings_set(gn_settings *settings, gn_bytes name, gn_bytes text, gn_set_scope scope, gn_error *err)
{
    int id = gn_setting_find(name);
    if (id < 0)
        return gn_error_set(err, GN_NO_OBJECT, "unrecognized configuration parameter \"%.*s\"",
                            (int)(name.len > 100 ? 100 : name.len), (const char *)name.data);
    if ((defs[id].flags & F_READONLY) && scope != GN_SCOPE_STARTUP)
        return gn_error_set(err, GN_CANNOT_CHANGE_PARAMETER, "parameter \"%s\" cannot be changed", defs[id].name);
    if (!text.data) {
        store(settings, (gn_setting_id)id, NULL, scope);
        return GN_OK;
    }
    if (text.len > MAX_SETTING_TEXT)
        return gn_error_set(err, GN_LIMIT, "value of parameter \"%s\" is longer than %d bytes", defs[id].name,
                            MAX_SETTING_TEXT);
    char in[MAX_SETTING_TEXT + 1], out[MAX_SETTING_TEXT + 1];
    memcpy(in, text.data, text.len);
    in[text.len] = 0;
    gn_code code = canonical((gn_setting_id)id, in, out, sizeof out, err);
    if (code != GN_OK)
        return code;
    store(settings, (gn_setting_id)id, gn_xstrdup(out), scope);
    return GN_OK;
}

void gn_settings_reset_all(gn_settings *settings)
{
    for (int i = 0; i < GN_SET_COUNT; i++)
        if (settings->state[i].value && !(defs[i].flags & F_READONLY))
            store(settings, (gn_setting_id)i, NULL, GN_SCOPE_SESSION);
}

void gn_settings_make_defaults(gn_settings *settings)
{
    gn_settings_commit(settings);
    for (int i = 0; i < GN_SET_COUNT; i++) {
        gn_setting_state *st = &settings->state[i];
        if (!st->value)
            continue;
        free(st->startup);
        st->startup = st->value;
        st->value = NULL;
        st->unreported = false;
    }
    settings->any_unreported = false;
}

const char *gn_settings_show(const gn_settings *settings, gn_setting_id id, char *buf, size_t size)
{
    const char *text = current(settings, id);
    size_t n;
    const unit *units = units_of(defs[id].type, &n);
    double v = n ? strtod(text, NULL) : 0;
    if (n == 0 || v == 0)
        return text;
    size_t i = 0;
    while (i + 1 < n && (units[i].factor < 1 || fmod(v, units[i].factor) != 0))
        i++;
    snprintf(buf, size, "%.0f%s", v / units[i].factor, units[i].name);
    return buf;
}

/* ---- the ends of transactions ---- */

static void forget(gn_setting_state *st)
{
    free(st->on_rollback);
    free(st->on_commit);
    st->on_rollback = st->on_commit = NULL;
    st->touched = st->local = false;
}

static void finish(gn_settings *s, bool commit)
{
    if (!s->any_touched)
        return;
    for (int i = 0; i < GN_SET_COUNT; i++) {
        gn_setting_state *st = &s->state[i];
        if (!st->touched)
            continue;
        if (!commit || st->local) {
            char **from = commit ? &st->on_commit : &st->on_rollback;
            free(st->value);
            st->value = *from;
            *from = NULL;
            changed(s, (gn_setting_id)i);
        }
        forget(st);
    }
    s->any_touched = false;
    derive(s);
}

void gn_settings_commit(gn_settings *settings)
{
    finish(settings, true);
}

void gn_settings_rollback(gn_settings *settings)
{
    finish(settings, false);
}

void gn_settings_report(gn_settings *settings, bool all, void (*fn)(void *ctx, const char *name, const char *value),
                        void *ctx)
{
    if (!all && !settings->any_unreported)
        return;
    for (int i = 0; i < GN_SET_COUNT; i++) {
        gn_setting_state *st = &settings->state[i];
        if (!(defs[i].flags & F_REPORT) || (!all && !st->unreported))
            continue;
        st->unreported = false;
        fn(ctx, defs[i].name, current(settings, (gn_setting_id)i));
    }
    settings->any_unreported = false;
}
