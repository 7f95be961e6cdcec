#include "base/assert.h"
#include "node/dispatcher.h"
#include "node/wire.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>

enum { READ_CHUNK = 16 << 10, SEND_AT = 64 << 10, KEEP_AT_MOST = 256 << 10, HEAD = 5 };

void gn_wire_init(gn_wire *wire, int fd, gn_account *account)
{
    *wire = (gn_wire){.fd = fd};
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

static uint32_t be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* How many bytes more the message that begins at in_at is known to need. */
static size_t missing(const gn_wire *wire)
{
    size_t here = wire->in.len - wire->in_at;
    if (here < HEAD)
        return HEAD - here;
    uint32_t len = be32(wire->in.data + wire->in_at + 1);
    return len <= GN_MAX_FRAME && (size_t)len + 1 > here ? (size_t)len + 1 - here : 0;
}

/* Receives what fits: n bytes at least are wanted. */
static gn_code receive(gn_wire *wire, size_t n, int flags, gn_error *err)
{
    size_t room = n > READ_CHUNK ? n : READ_CHUNK;
    ssize_t got;
    if (!gn_buf_reserve(&wire->in, room))
        return gn_error_oom(err, wire->in.account);
    do
        got = recv(wire->fd, wire->in.data + wire->in.len, room, flags);
    while (got < 0 && errno == EINTR);
    if (got < 0 && errno == EAGAIN)
        return GN_NO_DATA;
    if (got <= 0) {
        wire->peer_gone = true;
        return gn_error_set(err, GN_CONNECTION_FAILURE, "the client closed the connection");
    }
    wire->in.len += (size_t)got;
    return GN_OK;
}

gn_code gn_wire_receive(gn_wire *wire, gn_error *err)
{
    compact(wire);
    return receive(wire, missing(wire), MSG_DONTWAIT, err);
}

/* Until `in` holds n bytes that were not consumed. */
static gn_code fill(gn_wire *wire, size_t n, gn_error *err)
{
    gn_code code = GN_OK;
    while (code == GN_OK && wire->in.len - wire->in_at < n) {
        size_t more = n - (wire->in.len - wire->in_at);
        if (gn_wire_flush(wire) != GN_OK)
            return gn_error_set(err, GN_CONNECTION_FAILURE, "the client closed the connection");
        code = receive(wire, more, MSG_DONTWAIT, err);
        if (code != GN_NO_DATA)
            continue;
        gn_dispatcher_sleeps();
        code = receive(wire, more, 0, err);
        gn_dispatcher_wakes();
    }
    return code;
}

gn_code gn_wire_next(gn_wire *wire, char *type, gn_bytes *body, gn_error *err)
{
    size_t here = wire->in.len - wire->in_at;
    const uint8_t *p = wire->in.data + wire->in_at;
    if (here < HEAD)
        return GN_NO_DATA;
    uint32_t len = be32(p + 1);
    if (len < 4 || len > GN_MAX_FRAME)
        return gn_error_set(err, GN_PROTOCOL, "a message of %u bytes; 4 to %u are allowed", len,
                            (unsigned)GN_MAX_FRAME);
    if (here < (size_t)len + 1)
        return GN_NO_DATA;
    *type = (char)p[0];
    *body = gn_bytes_of(p + HEAD, len - 4);
    wire->in_at += (size_t)len + 1;
    return GN_OK;
}

gn_code gn_wire_read(gn_wire *wire, char *type, gn_bytes *body, gn_error *err)
{
    gn_code code;
    compact(wire);
    while ((code = gn_wire_next(wire, type, body, err)) == GN_NO_DATA) {
        code = fill(wire, wire->in.len - wire->in_at + missing(wire), err);
        if (code != GN_OK)
            return code;
    }
    return code;
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

/* Waits when the peer has not taken what was sent before. */
static ssize_t send_some(int fd, const uint8_t *data, size_t n)
{
    ssize_t sent = send(fd, data, n, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0 || errno != EAGAIN)
        return sent;
    gn_dispatcher_sleeps();
    sent = send(fd, data, n, MSG_NOSIGNAL);
    int why = errno;
    gn_dispatcher_wakes();
    errno = why;
    return sent;
}

gn_code gn_wire_flush(gn_wire *wire)
{
    size_t sent = 0;
    while (sent < wire->out.len && !wire->peer_gone) {
        ssize_t n = send_some(wire->fd, wire->out.data + sent, wire->out.len - sent);
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
