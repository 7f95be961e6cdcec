#include "base/assert.h"
#include "node/wire.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>

enum { READ_CHUNK = 16 << 10, SEND_AT = 64 << 10, KEEP_AT_MOST = 256 << 10, HEAD = 5 };

void gn_wire_init(gn_wire *wire, int fd, gn_account *account, gn_busy_poll *poll)
{
    *wire = (gn_wire){.fd = fd, .poll = poll, .last_wait_ns = UINT64_MAX};
    gn_buf_init(&wire->in, account, (size_t)GN_MAX_FRAME + READ_CHUNK + HEAD);
    gn_buf_init(&wire->out, account, (size_t)GN_MAX_FRAME + SEND_AT + HEAD);
}

void gn_wire_close(gn_wire *wire)
{
    gn_buf_close(&wire->in);
    gn_buf_close(&wire->out);
}

/* ---- in ---- */

/* Drops what was consumed, and memory that one large message left behind. */
static void compact(gn_wire *wire)
{
    gn_buf_consume(&wire->in, wire->in_at);
    wire->in_at = 0;
    if (wire->in.len == 0 && wire->in.cap > KEEP_AT_MOST) {
        gn_account *account = wire->in.account;
        size_t max = wire->in.max;
        gn_buf_close(&wire->in);
        gn_buf_init(&wire->in, account, max);
    }
}

/* Until `in` holds n bytes that were not consumed. */
static gn_code fill(gn_wire *wire, size_t n, gn_error *err)
{
    while (wire->in.len - wire->in_at < n) {
        if (gn_wire_flush(wire) != GN_OK)
            return gn_error_set(err, GN_CONNECTION_FAILURE, "the client closed the connection");
        size_t missing = n - (wire->in.len - wire->in_at), want = missing > READ_CHUNK ? missing : READ_CHUNK;
        if (!gn_buf_reserve(&wire->in, want))
            return gn_error_oom(err, wire->in.account);
        ssize_t got = gn_busy_poll_recv(wire->poll, &wire->last_wait_ns, wire->fd, wire->in.data + wire->in.len, want);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            wire->peer_gone = true;
            return gn_error_set(err, GN_CONNECTION_FAILURE, "the client closed the connection");
        }
        wire->in.len += (size_t)got;
    }
    return GN_OK;
}

static uint32_t be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

gn_code gn_wire_read(gn_wire *wire, char *type, gn_bytes *body, gn_error *err)
{
    compact(wire);
    gn_code code = fill(wire, HEAD, err);
    if (code != GN_OK)
        return code;
    *type = (char)wire->in.data[wire->in_at];
    uint32_t len = be32(wire->in.data + wire->in_at + 1);
    if (len < 4 || len > GN_MAX_FRAME)
        return gn_error_set(err, GN_PROTOCOL, "a message of %u bytes; 4 to %u are allowed", len,
                            (unsigned)GN_MAX_FRAME);
    code = fill(wire, (size_t)len + 1, err);
    if (code != GN_OK)
        return code;
    *body = gn_bytes_of(wire->in.data + wire->in_at + HEAD, len - 4);
    wire->in_at += (size_t)len + 1;
    return GN_OK;
}

char gn_wire_peek(const gn_wire *wire, size_t *at)
{
    size_t here = wire->in.len - wire->in_at;
    const uint8_t *p = wire->in.data + wire->in_at;
    if (*at > here || here - *at < HEAD)
        return 0;
    p += *at;
    size_t len = (size_t)be32(p + 1) + 1;
    if (len < HEAD || len > here - *at)
        return 0;
    *at += len;
    return (char)p[0];
}

gn_code gn_wire_read_startup(gn_wire *wire, gn_bytes *body, gn_error *err)
{
    compact(wire);
    gn_code code = fill(wire, 4, err);
    if (code != GN_OK)
        return code;
    uint32_t len = be32(wire->in.data + wire->in_at);
    if (len < 8 || len > GN_MAX_STARTUP_FRAME)
        return gn_error_set(err, GN_PROTOCOL, "invalid length of startup packet");
    code = fill(wire, len, err);
    if (code != GN_OK)
        return code;
    *body = gn_bytes_of(wire->in.data + wire->in_at + 4, len - 4);
    wire->in_at += len;
    return GN_OK;
}

/* ---- out ---- */

gn_code gn_wire_flush(gn_wire *wire)
{
    size_t sent = 0;
    while (sent < wire->out.len && !wire->peer_gone) {
        ssize_t n = send(wire->fd, wire->out.data + sent, wire->out.len - sent, MSG_NOSIGNAL);
        if (n > 0)
            sent += (size_t)n;
        else if (errno != EINTR)
            wire->peer_gone = true;
    }
    if (wire->out.cap > KEEP_AT_MOST) {
        gn_account *account = wire->out.account;
        size_t max = wire->out.max;
        gn_buf_close(&wire->out);
        gn_buf_init(&wire->out, account, max);
    }
    gn_buf_clear(&wire->out);
    return wire->peer_gone ? GN_CONNECTION_FAILURE : GN_OK;
}

void gn_wire_begin(gn_wire *wire, char type)
{
    wire->message = wire->out.len;
    gn_buf_append_u8(&wire->out, (uint8_t)type);
    gn_buf_append_be32(&wire->out, 0);
}

gn_code gn_wire_end(gn_wire *wire, gn_error *err)
{
    size_t len = wire->out.len - wire->message - 1;
    if (wire->out.failed || len > GN_MAX_FRAME) {
        wire->out.failed = false;
        wire->out.len = wire->message;
        if (len > GN_MAX_FRAME)
            return gn_error_set(err, GN_LIMIT, "a row of more than %u bytes cannot be sent", (unsigned)GN_MAX_FRAME);
        return gn_error_oom(err, wire->out.account);
    }
    GN_ASSERT(len >= 4);
    uint8_t *p = wire->out.data + wire->message + 1;
    p[0] = (uint8_t)(len >> 24);
    p[1] = (uint8_t)(len >> 16);
    p[2] = (uint8_t)(len >> 8);
    p[3] = (uint8_t)len;
    if (wire->out.len >= SEND_AT && gn_wire_flush(wire) != GN_OK)
        return gn_error_set(err, GN_CONNECTION_FAILURE, "the client closed the connection");
    return GN_OK;
}

gn_code gn_wire_cstr(gn_wire *wire, const char *s)
{
    return gn_buf_append(&wire->out, s, strlen(s) + 1) ? GN_OK : GN_OUT_OF_MEMORY;
}

static void field(gn_wire *wire, char tag, const char *text)
{
    if (!text[0])
        return;
    gn_buf_append_u8(&wire->out, (uint8_t)tag);
    gn_wire_cstr(wire, text);
}

gn_code gn_wire_report(gn_wire *wire, char type, const char *severity, const gn_error *report)
{
    static const char object_tags[4] = {'s', 't', 'c', 'n'};
    gn_wire_begin(wire, type);
    field(wire, 'S', severity);
    field(wire, 'V', severity);
    field(wire, 'C', gn_code_sqlstate(report->code));
    field(wire, 'M', report->message[0] ? report->message : gn_code_text(report->code));
    field(wire, 'D', report->detail);
    field(wire, 'H', report->hint);
    field(wire, 'W', report->context);
    if (report->position > 0) {
        char text[16];
        snprintf(text, sizeof text, "%d", report->position);
        field(wire, 'P', text);
    }
    for (int i = 0; i < 4; i++)
        field(wire, object_tags[i], report->object[i]);
    gn_buf_append_u8(&wire->out, 0);
    return gn_wire_end(wire, NULL);
}
