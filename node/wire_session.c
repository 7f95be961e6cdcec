/* The protocol's state machine: start-up, then messages until the end. An error in the extended protocol skips to Sync;
 * an error in the framing ends the connection, because the stream cannot be followed any more. */
#include "base/log.h"
#include "base/metrics.h"
#include "node/server.h"
#include "node/wire.h"
#include "node/wire_rows.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    PROTOCOL_3_0 = 196608,
    CODE_CANCEL = 80877102,
    CODE_SSL = 80877103,
    CODE_GSS = 80877104,
    MAX_STARTUP_PARAMETERS = 64,
};

/* Result formats of a portal, kept beside the session's portal of the same name. */
typedef struct portal {
    struct portal *next;
    char name[GN_MAX_NAME + 1];
    gn_formats formats;
} portal;

struct gn_client {
    gn_caller caller;
    gn_connection *connection;
    gn_server *server;
    gn_session *session;
    gn_wire wire;
    portal unnamed;
    portal *named;
    gn_wire_param *params; /* grows to the most that was bound */
    uint32_t params_capacity;
    gn_code received; /* by a look, for the turn that follows: GN_NO_DATA when nothing was */
    gn_error err;     /* of the message under way: one for all, as clearing two kilobytes for each is felt */
    bool in_pipeline; /* something came since the last Sync */
    bool skip_to_sync;
    bool done;
};
typedef struct gn_client client;

static gn_code send_error(client *c, const gn_error *err)
{
    return gn_wire_report(&c->wire, 'E', "ERROR", err);
}

static void send_fatal(client *c, const gn_error *err)
{
    gn_wire_report(&c->wire, 'E', "FATAL", err);
    gn_wire_flush(&c->wire);
    c->done = true;
}

static void send_ready(client *c)
{
    gn_wire_begin(&c->wire, 'Z');
    gn_buf_append_u8(&c->wire.out, (uint8_t)gn_session_status(c->session));
    gn_wire_end(&c->wire, NULL);
}

static void send_plain(client *c, char type)
{
    gn_wire_begin(&c->wire, type);
    gn_wire_end(&c->wire, NULL);
}

/* ---- start-up ---- */

typedef struct startup {
    uint32_t minor;
    uint32_t n_options; /* of the protocol itself (_pq_.): none is known */
    gn_session_options session;
    const char *settings[MAX_STARTUP_PARAMETERS * 2];
} startup;

static gn_code read_parameters(gn_reader *r, startup *s, gn_error *err)
{
    for (;;) {
        const char *name = gn_read_cstr(r), *value = name && name[0] ? gn_read_cstr(r) : NULL;
        if (name && !name[0])
            return GN_OK;
        if (!name || !value)
            return gn_error_set(err, GN_PROTOCOL, "invalid startup packet layout: expected terminator as last byte");
        if (strcmp(name, "user") == 0) {
            s->session.user = value;
        } else if (strcmp(name, "database") == 0) {
            s->session.database = value;
        } else if (strncmp(name, "_pq_.", 5) == 0) {
            s->n_options++;
        } else if (strcmp(name, "replication") == 0) {
            return gn_error_set(err, GN_FEATURE, "replication connections are not supported");
        } else if (strcmp(name, "options") != 0) {
            if (strcmp(name, "application_name") == 0)
                s->session.application_name = value;
            if (s->session.n_settings == MAX_STARTUP_PARAMETERS)
                return gn_error_set(err, GN_PROTOCOL, "more than %d startup parameters", (int)MAX_STARTUP_PARAMETERS);
            s->settings[2 * s->session.n_settings] = name;
            s->settings[2 * s->session.n_settings + 1] = value;
            s->session.n_settings++;
        }
    }
}

/* Answers what may come before the start-up packet. *started false: the connection is over. */
static gn_code read_startup(client *c, startup *s, bool *started, gn_error *err)
{
    gn_bytes body;
    *started = false;
    for (int requests = 0; requests < 3; requests++) {
        gn_code code = gn_wire_read_startup(&c->wire, &body, err);
        if (code != GN_OK)
            return code;
        gn_reader r = gn_reader_of(body);
        uint32_t version = gn_read_be32(&r);
        if (version == CODE_SSL || version == CODE_GSS) {
            gn_buf_append_u8(&c->wire.out, 'N');
            continue;
        }
        if (version == CODE_CANCEL) {
            uint32_t id = gn_read_be32(&r), secret = gn_read_be32(&r);
            if (!r.failed)
                gn_server_cancel(c->server, id, secret);
            return GN_OK;
        }
        if (version >> 16 != 3)
            return gn_error_set(err, GN_FEATURE, "unsupported frontend protocol %u.%u: server supports 3.0 to 3.0",
                                version >> 16, version & 0xFFFF);
        s->minor = version & 0xFFFF;
        *started = true;
        return read_parameters(&r, s, err);
    }
    return gn_error_set(err, GN_PROTOCOL, "too many encryption requests");
}

static void setting(void *ctx, const char *name, const char *value)
{
    client *c = ctx;
    gn_wire_begin(&c->wire, 'S');
    gn_wire_cstr(&c->wire, name);
    gn_wire_cstr(&c->wire, value);
    gn_wire_end(&c->wire, NULL);
}

static void greet(client *c, const startup *s)
{
    uint32_t secret = (uint32_t)gn_server_secret(c->server);
    gn_connection_register(c->connection, c->session, secret);
    if (s->minor > 0 || s->n_options > 0) {
        gn_wire_begin(&c->wire, 'v');
        gn_buf_append_be32(&c->wire.out, PROTOCOL_3_0);
        gn_buf_append_be32(&c->wire.out, 0);
        gn_wire_end(&c->wire, NULL);
    }
    gn_wire_begin(&c->wire, 'R'); /* AuthenticationOk: the port is loopback's, and there are no accounts yet */
    gn_buf_append_be32(&c->wire.out, 0);
    gn_wire_end(&c->wire, NULL);
    const gn_sink sink = {.ctx = c, .setting = setting};
    gn_session_report_settings(c->session, &sink);
    gn_wire_begin(&c->wire, 'K');
    gn_buf_append_be32(&c->wire.out, gn_session_id(c->session));
    gn_buf_append_be32(&c->wire.out, secret);
    gn_wire_end(&c->wire, NULL);
    send_ready(c);
}

static bool start(client *c)
{
    startup s = {0};
    gn_error err = {0};
    bool started = false;
    s.session.settings = s.settings;
    gn_code code = read_startup(c, &s, &started, &err);
    if (code == GN_OK && started && (!s.session.user || !s.session.user[0]))
        code = gn_error_set(&err, GN_INVALID_AUTHORIZATION, "no PostgreSQL user name specified in startup packet");
    if (code == GN_OK && started && !s.session.database)
        s.session.database = s.session.user;
    if (code == GN_OK && started && gn_connection_is_surplus(c->connection))
        code = gn_error_set(&err, GN_TOO_MANY_CONNECTIONS, "sorry, too many clients already");
    if (code == GN_OK && started && gn_server_stopping(c->server))
        code = gn_error_set(&err, GN_SHUTDOWN, "the database system is shutting down");
    if (code == GN_OK && started)
        code = gn_session_open(gn_server_db(c->server), &s.session, &c->session, &err);
    if (code == GN_OK && started)
        greet(c, &s);
    else if (code != GN_OK && code != GN_CONNECTION_FAILURE)
        send_fatal(c, &err);
    return code == GN_OK && started;
}

/* ---- portals' formats ---- */

static portal *find_portal(client *c, const char *name)
{
    if (!name[0])
        return &c->unnamed;
    for (portal *p = c->named; p; p = p->next)
        if (strcmp(p->name, name) == 0)
            return p;
    return NULL;
}

static portal *make_portal(client *c, const char *name)
{
    portal *p = find_portal(c, name);
    if (p)
        return p;
    p = gn_xcalloc(1, sizeof *p);
    snprintf(p->name, sizeof p->name, "%s", name);
    p->next = c->named;
    c->named = p;
    return p;
}

static void drop_portal(client *c, const char *name)
{
    for (portal **link = &c->named; *link; link = &(*link)->next) {
        portal *p = *link;
        if (strcmp(p->name, name) == 0) {
            *link = p->next;
            free(p->formats.items);
            free(p);
            return;
        }
    }
}

static void drop_portals(client *c)
{
    while (c->named)
        drop_portal(c, c->named->name);
}

/* ---- messages ---- */

static gn_code bad_message(gn_error *err, const char *what)
{
    return gn_error_set(err, GN_PROTOCOL, "invalid message format: %s", what);
}

static gn_code check_name(const char *name, const char *what, gn_error *err)
{
    if (!name)
        return bad_message(err, what);
    if (strlen(name) > GN_MAX_NAME)
        return gn_error_set(err, GN_NAME_TOO_LONG, "the name of a %s has more than %d bytes", what, (int)GN_MAX_NAME);
    return GN_OK;
}

static gn_code on_query(client *c, gn_bytes body, gn_error *err)
{
    gn_wire_output output = {.wire = &c->wire, .session = c->session, .err = err};
    gn_reader r = gn_reader_of(body);
    const char *sql = gn_read_cstr(&r);
    if (!sql || gn_reader_left(&r))
        return bad_message(err, "Query");
    gn_sink sink = gn_wire_sink(&output);
    gn_code code = gn_session_simple(c->session, gn_bytes_str(sql), &sink, err);
    c->done = c->done || output.broken;
    return code;
}

static gn_code on_parse(client *c, gn_bytes body, gn_error *err)
{
    gn_reader r = gn_reader_of(body);
    const char *name = gn_read_cstr(&r), *sql = name ? gn_read_cstr(&r) : NULL;
    uint16_t n = gn_read_be16(&r);
    gn_code code = check_name(name, "prepared statement", err);
    if (code != GN_OK)
        return code;
    if (!sql || r.failed || gn_reader_left(&r) != (size_t)n * 4)
        return bad_message(err, "Parse");
    uint32_t few[16], *types = n <= 16 ? few : gn_xmalloc(n * sizeof *types);
    for (uint16_t i = 0; i < n; i++)
        types[i] = gn_read_be32(&r);
    code = gn_session_prepare(c->session, name, gn_bytes_str(sql), types, n, err);
    if (types != few)
        free(types);
    if (code == GN_OK)
        send_plain(c, '1');
    return code;
}

static gn_code read_params(client *c, gn_reader *r, gn_reader formats, uint16_t n_formats, uint16_t n, gn_error *err)
{
    if (n > c->params_capacity) {
        c->params = gn_xrealloc(c->params, n * sizeof *c->params);
        c->params_capacity = n;
    }
    uint16_t format = 0; /* none given: text; one given: it stands for all */
    for (uint16_t i = 0; i < n; i++) {
        if (i < n_formats)
            format = gn_read_be16(&formats);
        if (format > 1)
            return gn_error_set(err, GN_INVALID_PARAMETER, "unsupported format code: %u", format);
        uint32_t len = gn_read_be32(r);
        c->params[i] = (gn_wire_param){.is_null = len == UINT32_MAX, .binary = format == 1};
        if (len == UINT32_MAX)
            continue;
        if (len > INT32_MAX || len > gn_reader_left(r))
            return bad_message(err, "Bind: a parameter is longer than its message");
        c->params[i].data = gn_read_bytes(r, len);
    }
    return r->failed ? bad_message(err, "Bind") : GN_OK;
}

static gn_code read_result_formats(gn_reader *r, gn_formats *out, gn_error *err)
{
    uint16_t n = gn_read_be16(r);
    if (r->failed || gn_reader_left(r) != (size_t)n * 2)
        return bad_message(err, "Bind");
    if (n > out->n)
        out->items = gn_xrealloc(out->items, n * sizeof *out->items);
    out->n = n;
    for (uint16_t i = 0; i < n; i++) {
        out->items[i] = gn_read_be16(r);
        if (out->items[i] > 1)
            return gn_error_set(err, GN_INVALID_PARAMETER, "unsupported format code: %u", out->items[i]);
    }
    return GN_OK;
}

static gn_code on_bind(client *c, gn_bytes body, gn_error *err)
{
    gn_reader r = gn_reader_of(body);
    const char *name = gn_read_cstr(&r), *statement = name ? gn_read_cstr(&r) : NULL;
    gn_code code = check_name(name, "portal", err);
    if (code != GN_OK || (code = check_name(statement, "prepared statement", err)) != GN_OK)
        return code;
    uint16_t n_formats = gn_read_be16(&r);
    gn_reader formats = gn_reader_of(gn_read_bytes(&r, (size_t)n_formats * 2));
    uint16_t n = gn_read_be16(&r);
    if (r.failed)
        return bad_message(err, "Bind");
    if (n_formats > 1 && n_formats != n)
        return gn_error_set(err, GN_PROTOCOL, "bind message has %u parameter formats but %u parameters", n_formats, n);
    code = read_params(c, &r, formats, n_formats, n, err);
    if (code != GN_OK)
        return code;
    portal *p = make_portal(c, name);
    code = read_result_formats(&r, &p->formats, err);
    if (code == GN_OK)
        code = gn_session_bind(c->session, name, statement, c->params, n, err);
    const gn_result_column *columns = NULL;
    uint32_t n_columns = 0;
    if (code == GN_OK && p->formats.n > 1) {
        code = gn_session_describe_portal(c->session, name, &columns, &n_columns, err);
        if (code == GN_OK && p->formats.n != n_columns)
            code = gn_error_set(err, GN_PROTOCOL, "bind message has %u result formats but query has %u columns",
                                p->formats.n, n_columns);
    }
    if (code == GN_OK)
        send_plain(c, '2');
    else
        drop_portal(c, name);
    return code;
}

static gn_code describe_statement(client *c, const char *name, gn_error *err)
{
    const gn_type *params = NULL;
    const gn_result_column *columns = NULL;
    const gn_formats text = {0};
    uint32_t n_params = 0, n_columns = 0;
    gn_code code = gn_session_describe_statement(c->session, name, &params, &n_params, &columns, &n_columns, err);
    if (code != GN_OK)
        return code;
    gn_wire_begin(&c->wire, 't');
    gn_buf_append_be16(&c->wire.out, (uint16_t)n_params);
    for (uint32_t i = 0; i < n_params; i++)
        gn_buf_append_be32(&c->wire.out, gn_type_oid(params[i]));
    code = gn_wire_end(&c->wire, err);
    return code != GN_OK ? code : gn_wire_row_description(&c->wire, columns, n_columns, &text, err);
}

static gn_code describe_portal(client *c, const char *name, gn_error *err)
{
    const gn_result_column *columns = NULL;
    uint32_t n = 0;
    gn_code code = gn_session_describe_portal(c->session, name, &columns, &n, err);
    if (code != GN_OK)
        return code;
    portal *p = find_portal(c, name);
    return gn_wire_row_description(&c->wire, columns, n, p ? &p->formats : &c->unnamed.formats, err);
}

/* Describe and Close: a kind ('S' statement, 'P' portal) and a name. */
static gn_code read_target(gn_bytes body, char *kind, const char **name, gn_error *err)
{
    gn_reader r = gn_reader_of(body);
    *kind = (char)gn_read_u8(&r);
    *name = gn_read_cstr(&r);
    if (!*name || gn_reader_left(&r) || (*kind != 'S' && *kind != 'P'))
        return bad_message(err, "Describe or Close");
    return GN_OK;
}

static gn_code on_describe(client *c, gn_bytes body, gn_error *err)
{
    char kind;
    const char *name;
    gn_code code = read_target(body, &kind, &name, err);
    if (code != GN_OK)
        return code;
    return kind == 'S' ? describe_statement(c, name, err) : describe_portal(c, name, err);
}

static gn_code on_close(client *c, gn_bytes body, gn_error *err)
{
    char kind;
    const char *name;
    gn_code code = read_target(body, &kind, &name, err);
    if (code != GN_OK)
        return code;
    if (kind == 'P')
        drop_portal(c, name);
    code = kind == 'S' ? gn_session_close_statement(c->session, name) : gn_session_close_portal(c->session, name);
    if (code == GN_OK)
        send_plain(c, '3');
    return code;
}

static gn_code on_execute(client *c, gn_bytes body, gn_error *err)
{
    gn_reader r = gn_reader_of(body);
    const char *name = gn_read_cstr(&r);
    uint32_t most = gn_read_be32(&r);
    if (!name || r.failed || gn_reader_left(&r))
        return bad_message(err, "Execute");
    portal *p = find_portal(c, name);
    gn_wire_output output = {
        .wire = &c->wire, .session = c->session, .err = err, .formats = p ? &p->formats : &c->unnamed.formats};
    gn_sink sink = gn_wire_sink(&output);
    sink.may_wait = true;
    bool suspended = false;
    uint64_t max_rows = most > INT32_MAX ? 0 : most;
    gn_code code = gn_session_execute(c->session, name, max_rows, &sink, &suspended, err);
    if (code == GN_OK && suspended)
        send_plain(c, 's');
    c->done = c->done || output.broken;
    return code;
}

/* The completion of a write that Execute left for later. */
static void tell(client *c)
{
    if (!gn_session_untold(c->session))
        return;
    gn_error err = {0};
    gn_wire_output output = {.wire = &c->wire, .session = c->session, .err = &err};
    gn_sink sink = gn_wire_sink(&output);
    if (gn_session_tell(c->session, &sink, &err) != GN_OK)
        c->done = true;
}

static void on_sync(client *c)
{
    if (gn_session_sync(c->session, c->skip_to_sync, &c->err) != GN_OK)
        send_error(c, &c->err);
    tell(c);
    c->skip_to_sync = c->in_pipeline = false;
    if (gn_session_status(c->session) == 'I')
        drop_portals(c);
    send_ready(c);
}

/* Drivers send everything up to Sync at once, most often with one Execute: then the statement commits by itself. */
static bool one_execute(const client *c, char type)
{
    size_t at = 0;
    int n = type == 'E';
    while (type && strchr("PBDECH", type) && n < 2) {
        bool after = n > 0;
        type = gn_wire_peek(&c->wire, &at);
        n += type == 'E';
        if (after && (type == 'P' || type == 'B'))
            return false;
    }
    return type == 'S' && n == 1;
}

/* The extended protocol's messages; an error makes the connection skip to Sync. */
static void on_extended(client *c, char type, gn_bytes body)
{
    gn_code code = GN_OK;
    if (!c->in_pipeline && one_execute(c, type))
        gn_session_expect_one(c->session);
    c->in_pipeline = true;
    tell(c);
    switch (type) {
    case 'P':
        code = on_parse(c, body, &c->err);
        break;
    case 'B':
        code = on_bind(c, body, &c->err);
        break;
    case 'D':
        code = on_describe(c, body, &c->err);
        break;
    case 'E':
        code = on_execute(c, body, &c->err);
        break;
    default:
        code = on_close(c, body, &c->err);
        break;
    }
    if (code == GN_OK)
        return;
    c->skip_to_sync = true;
    if (!c->wire.peer_gone)
        send_error(c, &c->err);
}

static void on_message(client *c, char type, gn_bytes body)
{
    if (c->skip_to_sync && type != 'S' && type != 'X')
        return;
    switch (type) {
    case 'Q':
        tell(c);
        if (on_query(c, body, &c->err) != GN_OK && !c->wire.peer_gone)
            send_error(c, &c->err);
        if (!c->done)
            send_ready(c);
        break;
    case 'P':
    case 'B':
    case 'D':
    case 'E':
    case 'C':
        on_extended(c, type, body);
        break;
    case 'S':
        on_sync(c);
        break;
    case 'H':
        tell(c);
        gn_wire_flush(&c->wire);
        break;
    case 'X':
        c->done = true;
        break;
    case 'd': /* what a client still sent of a COPY that had failed */
    case 'c':
    case 'f':
        break;
    case 'F':
        gn_error_set(&c->err, GN_FEATURE, "function calls by message are not supported");
        gn_error_hint(&c->err, "Use SELECT function(...).");
        send_error(c, &c->err);
        send_ready(c);
        break;
    default:
        gn_error_set(&c->err, GN_PROTOCOL, "invalid frontend message type %d", (int)(uint8_t)type);
        send_fatal(c, &c->err);
        break;
    }
}

/* ---- turns ---- */

/* The stream has ended or cannot be followed any more. */
static void stop_reading(client *c, gn_code code, gn_error *err)
{
    if (code == GN_CONNECTION_FAILURE && gn_server_stopping(c->server)) {
        c->wire.peer_gone = false; /* only our side stopped reading */
        gn_error_clear(err);
        code = gn_error_set(err, GN_SHUTDOWN, "terminating connection due to administrator command");
    }
    if (code != GN_CONNECTION_FAILURE)
        send_fatal(c, err);
    c->done = true;
}

static void serve_received(client *c)
{
    while (!c->done && !c->wire.peer_gone) {
        gn_bytes body;
        char type;
        gn_error_clear(&c->err);
        gn_code code = gn_wire_next(&c->wire, &type, &body, &c->err);
        if (code == GN_NO_DATA)
            break;
        if (code == GN_OK)
            on_message(c, type, body);
        else
            stop_reading(c, code, &c->err);
    }
    gn_wire_flush(&c->wire);
}

static client *client_of(gn_caller *caller)
{
    return GN_CONTAINER(caller, client, caller);
}

static bool look(gn_caller *caller)
{
    client *c = client_of(caller);
    gn_error_clear(&c->err);
    c->received = gn_wire_receive(&c->wire, &c->err);
    return c->received != GN_NO_DATA;
}

static bool serve(gn_caller *caller)
{
    client *c = client_of(caller);
    if (c->received == GN_NO_DATA && !look(caller))
        return true;
    gn_code code = c->received;
    c->received = GN_NO_DATA;
    gn_log_set_request(gn_session_id(c->session));
    if (code == GN_OK)
        serve_received(c);
    else
        stop_reading(c, code, &c->err);
    bool over = c->done || c->wire.peer_gone;
    if (over)
        gn_log_debug("node", "session ends");
    gn_log_set_request(0);
    return !over;
}

/* The first turn. */
static bool begin(gn_caller *caller)
{
    client *c = client_of(caller);
    bool started = start(c);
    gn_wire_flush(&c->wire);
    if (!started)
        return false;
    gn_log_set_request(gn_session_id(c->session));
    gn_log_debug("node", "session begins");
    caller->serve = serve;
    c->received = GN_OK; /* a client need not wait to be greeted */
    return serve(caller);
}

gn_client *gn_client_create(gn_connection *connection, int fd)
{
    client *c = gn_xcalloc(1, sizeof *c);
    c->caller = (gn_caller){.fd = fd, .serve = begin, .look = look};
    c->connection = connection;
    c->server = gn_connection_server(connection);
    c->received = GN_NO_DATA;
    gn_wire_init(&c->wire, fd, gn_db_account(gn_server_db(c->server)));
    return c;
}

gn_caller *gn_client_caller(gn_client *c)
{
    return &c->caller;
}

gn_connection *gn_client_connection(gn_caller *caller)
{
    return client_of(caller)->connection;
}

void gn_client_end(gn_client *c)
{
    if (c->session) {
        gn_connection_unregister(c->connection);
        gn_session_close(c->session);
    }
    gn_wire_flush(&c->wire);
    drop_portals(c);
    free(c->unnamed.formats.items);
    free(c->params);
    gn_wire_close(&c->wire);
    free(c);
}
