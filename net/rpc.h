/* Requests between nodes with an answer, over the frames of base/world.h, which may be lost, doubled and reordered.
 *
 * A request runs AT MOST ONCE. The asker sends it again until the other node says that it has it; the other node knows
 * by (asker, its incarnation, number) what it has had, and keeps an answer until the asker is known to have it (Birrell
 * and Nelson, Implementing Remote Procedure Calls, 1984). A node that says nothing for GN_RPC_SILENCE_MS is taken for
 * dead: its calls end then, whatever their deadlines. So a long request costs no patience with a dead node. One whose
 * process is gone, as the network tells (base/world.h), is not even waited for so long. */
#ifndef GN_NET_RPC_H
#define GN_NET_RPC_H

#include "base/buf.h"
#include "base/world.h"

enum {
    GN_RPC_CHANNEL = 2,      /* of gn_net_send */
    GN_RPC_BULK_CHANNEL = 3, /* for gn_rpc_call.bulk: another connection, so that snapshots hold up nobody */
    GN_RPC_METHODS = 64,     /* methods are numbered 0 ... 63; the host of the methods names them */
    GN_RPC_SILENCE_MS = 1000,
};

typedef struct gn_rpc gn_rpc;

/* One for a world: listens on both channels. Strands for handlers that block are started as they are needed, at most
 * max_strands (0 = 256); more requests wait. */
gn_rpc *gn_rpc_create(gn_world *world, unsigned max_strands);
/* Ends pending calls with GN_SHUTDOWN, waits until every handler has returned and every request was answered. From a
 * strand or the main thread. */
void gn_rpc_destroy(gn_rpc *rpc); /* NULL is fine */
/* From now on requests that come are refused and new calls end with GN_SHUTDOWN; those under way go on. */
void gn_rpc_stop(gn_rpc *rpc);

/* ---- asking ---- any thread */

/* Caller-owned; stays until `done`, which runs exactly once, on any thread (maybe before gn_rpc_start returns), and
 * must not block. Codes, beside those that the handler gave (then `error` has its words):
 *   GN_UNAVAILABLE  it did not run: refused there (no such method, overloaded, stopping), or never sent: to a node not
 *                   heard for a second a hello goes first, and it did not reply;
 *   GN_TIMEOUT      the deadline passed, or the node went silent: it may have run, or run yet;
 *   GN_CANCELED     gn_rpc_cancel: as GN_TIMEOUT;
 *   GN_LIMIT        the request is larger than GN_MAX_RPC;
 *   GN_SHUTDOWN     this gn_rpc is going away: as GN_TIMEOUT. */
typedef struct gn_rpc_call {
    gn_node_id to; /* may be this node: answered without the network */
    uint16_t method;
    bool bulk;
    gn_bytes request;     /* borrowed until done */
    uint64_t deadline_ns; /* of gn_now_ns; 0 = none but silence */
    void (*done)(struct gn_rpc_call *call, gn_code code);
    gn_buf response; /* zeroed before; the caller closes it after done */
    gn_error error;
    /* the module's from here on */
    struct gn_rpc_call *next, *prev;
    struct rpc_peer *peer;
    uint64_t number, started_ns, sent_ns, due_ns;
    size_t place;
    gn_code code;
    unsigned tries, resends, pins;
    bool pending, confirmed;
} gn_rpc_call;

void gn_rpc_start(gn_rpc *rpc, gn_rpc_call *call);
/* Others have not heard of the node for long: until it is heard here, it is taken for dead after a third of the silence
 * that another is allowed. Any thread. */
void gn_rpc_suspect(gn_rpc *rpc, gn_node_id node);
void gn_rpc_cancel(gn_rpc *rpc, gn_rpc_call *call); /* nothing if it is done; the memory must be there still */

/* Asks and waits; the answer is appended to `response`, which may be NULL. cancel: may be NULL; looked at ten times a
 * second. From a strand. */
gn_code gn_rpc_ask(gn_rpc *rpc, gn_node_id to, uint16_t method, gn_bytes request, uint64_t deadline_ns,
                   const _Atomic bool *cancel, gn_buf *response, gn_error *err);

/* ---- answering ---- */

/* A request that came in; valid until it is answered, which must happen exactly once, from any thread. */
typedef struct gn_rpc_request {
    gn_node_id from;
    uint16_t method;
    gn_bytes bytes;
} gn_rpc_request;

/* False: whoever asked waits no more, so that what has not begun need not. */
bool gn_rpc_is_awaited(const gn_rpc_request *request);
/* response: what is answered with GN_OK (copied; at most GN_MAX_RPC, else the asker gets GN_LIMIT). err: NULL or words
 * for another code. */
void gn_rpc_answer(gn_rpc_request *request, gn_code code, gn_bytes response, const gn_error *err);

/* Handlers are given before the first request can come, or after: until then requests are refused. */
/* Runs on the module's queue: must not block, answers now or later. */
void gn_rpc_serve(gn_rpc *rpc, uint16_t method, void (*handler)(void *ctx, gn_rpc_request *request), void *ctx);
/* Runs on a strand: may block. Handlers that wait for other nodes' handlers may use up the strands of all of them and
 * wait in a ring: such a method needs a deadline, or must not be called by another such. What it returns is the answer;
 * `response` is empty at first, bounded by GN_MAX_RPC. */
void gn_rpc_serve_strand(gn_rpc *rpc, uint16_t method,
                         gn_code (*handler)(void *ctx, gn_node_id from, gn_bytes request, gn_buf *response,
                                            gn_error *err),
                         void *ctx);

/* The same, but `first` has a look before, on the module's queue. True: it has taken the request, and answers it now or
 * later (gn_rpc_answer); so those that only wait for something need no strand to wait on. */
void gn_rpc_serve_either(gn_rpc *rpc, uint16_t method, bool (*first)(void *ctx, gn_rpc_request *request),
                         gn_code (*handler)(void *ctx, gn_node_id from, gn_bytes request, gn_buf *response,
                                            gn_error *err),
                         void *ctx);

#endif
