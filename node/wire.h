/* One connection of the PostgreSQL wire protocol, version 3 (documentation chapter 55): buffered, used by the strand
 * that has the connection's turn alone. Output gathers until the peer is to answer; then it leaves in one send. */
#ifndef GN_NODE_WIRE_H
#define GN_NODE_WIRE_H

#include "base/buf.h"
#include "base/limits.h"

typedef struct gn_wire {
    int fd; /* the owner closes it */
    gn_buf in, out;
    size_t in_at;   /* bytes of `in` that were consumed */
    size_t message; /* where the message being written begins (its type byte) */
    bool peer_gone; /* a send or receive failed */
} gn_wire;

void gn_wire_init(gn_wire *wire, int fd, gn_account *account);
void gn_wire_close(gn_wire *wire); /* frees the buffers */

/* ---- in ---- */

/* Receives what is there, without waiting. GN_NO_DATA: nothing. GN_CONNECTION_FAILURE: the peer is gone.
 * GN_OUT_OF_MEMORY: the stream cannot be followed any more. */
gn_code gn_wire_receive(gn_wire *wire, gn_error *err);
/* The next message of those received: its type and body, valid until anything else is received. GN_NO_DATA: not all of
 * it is here. GN_PROTOCOL: the stream cannot be followed any more. */
gn_code gn_wire_next(gn_wire *wire, char *type, gn_bytes *body, gn_error *err);
/* The next message, waited for in the middle of a turn (node/dispatcher.h): sends what is waiting first when it must
 * block. Errors of both. */
gn_code gn_wire_read(gn_wire *wire, char *type, gn_bytes *body, gn_error *err);
/* The type of the message that begins `*at` bytes behind the last one read, if all of it is here; *at goes behind it.
 * 0: it is not. */
char gn_wire_peek(const gn_wire *wire, size_t *at);
/* A start-up packet: no type byte, at most GN_MAX_STARTUP_FRAME. */
gn_code gn_wire_read_startup(gn_wire *wire, gn_bytes *body, gn_error *err);

/* ---- out ---- */

void gn_wire_begin(gn_wire *wire, char type);
/* Sets the message's length; sends when much has gathered. A message that grew past GN_MAX_FRAME or the budget is taken
 * back: GN_LIMIT, GN_OUT_OF_MEMORY. GN_CONNECTION_FAILURE: the peer is gone. */
gn_code gn_wire_end(gn_wire *wire, gn_error *err);
gn_code gn_wire_flush(gn_wire *wire);

gn_code gn_wire_cstr(gn_wire *wire, const char *s); /* appends with its NUL */
/* severity "ERROR", "FATAL", or for type 'N' "NOTICE", "WARNING", ... */
gn_code gn_wire_report(gn_wire *wire, char type, const char *severity, const gn_error *report);

#endif
