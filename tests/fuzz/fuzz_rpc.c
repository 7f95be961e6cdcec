/* Frames that a peer might send to a node's requests (net/rpc.h): any bytes, and any bytes with a head that the node
 * takes for current, so that what is behind it is reached. The input is frames with a length before each. */
#include "base/assert.h"
#include "base/sim.h"
#include "net/rpc_private.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PEER_NAME = 5, MAX_CALLS = 8 };

typedef struct node {
    gn_sim *sim;
    gn_rpc *rpc;
    gn_rpc_call calls[MAX_CALLS];
} node;

static void echo(void *ctx, gn_rpc_request *request)
{
    (void)ctx;
    gn_rpc_answer(request, GN_OK, request->bytes, NULL);
}

static gn_code nothing(void *ctx, gn_node_id from, gn_bytes request, gn_buf *response, gn_error *err)
{
    (void)ctx;
    (void)from;
    (void)response;
    return gn_error_set(err, GN_NO_DATA, "%zu bytes", request.len);
}

static void call_done(gn_rpc_call *call, gn_code code)
{
    GN_ASSERT(code == GN_OK || call->error.message[0]);
    gn_buf_close(&call->response);
}

/* The peer of that name is known and calls are pending, so that answers and statuses may fit. */
static void open_node(node *n)
{
    gn_buf hello;
    n->sim = gn_sim_create(1, 2);
    n->rpc = gn_rpc_create(gn_sim_world(n->sim, 1), 4);
    gn_rpc_serve(n->rpc, 0, echo, NULL);
    gn_rpc_serve_strand(n->rpc, 1, nothing, NULL);
    gn_rpc_frame_begin(&hello, RPC_HELLO, PEER_NAME, n->rpc->incarnation);
    gn_rpc_frame_hello(&hello, false);
    gn_rpc_receive(n->rpc, 2, gn_buf_bytes(&hello));
    gn_buf_close(&hello);
    for (unsigned i = 0; i < MAX_CALLS; i++) {
        n->calls[i] = (gn_rpc_call){.to = 2, .method = 0, .done = call_done};
        gn_rpc_start(n->rpc, &n->calls[i]);
    }
}

/* From a task of the simulation's second node, as the network would. */
static void give(node *n, gn_bytes bytes)
{
    gn_buf frame;
    gn_net_send(gn_sim_world(n->sim, 2), 1, GN_RPC_CHANNEL, bytes);
    if (bytes.len > 0) {
        gn_rpc_frame_begin(&frame, (rpc_kind)bytes.data[0], PEER_NAME, n->rpc->incarnation);
        gn_buf_append(&frame, bytes.data + 1, bytes.len - 1);
        gn_net_send(gn_sim_world(n->sim, 2), 1, GN_RPC_CHANNEL, gn_buf_bytes(&frame));
        gn_buf_close(&frame);
    }
    gn_sim_run_for(n->sim, 2000000);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    node n;
    gn_reader r = gn_reader_of(gn_bytes_of(data, size));
    open_node(&n);
    for (unsigned i = 0; i < 64 && gn_reader_left(&r) > 0; i++) {
        size_t len = gn_read_u8(&r), left = gn_reader_left(&r);
        give(&n, gn_read_bytes(&r, len < left ? len : left));
    }
    gn_rpc_destroy(n.rpc);
    gn_sim_destroy(n.sim);
    return 0;
}
