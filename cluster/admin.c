/* An operator's request comes in: it is answered here, or handed on to the node that it is for. */
#include "cluster/admin_private.h"
#include "cluster/methods_private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

enum { HAND_ON_S = 900, ARENA_BYTES = 4 << 20 };

_Static_assert((int)GN_METHOD_ADMIN == (int)GN_ADMIN_METHOD, "one number for both sides");

/* ---- arguments ---- */

gn_code gn_admin_number(const gn_admin_job *job, unsigned arg, const char *what, uint64_t *out, gn_error *err)
{
    const char *text = job->request->args[arg];
    char *end = NULL;
    errno = 0;
    unsigned long long v = text[0] >= '0' && text[0] <= '9' ? strtoull(text, &end, 10) : 0;
    if (!end || *end || errno || v > INT64_MAX)
        return gn_error_set(err, GN_INVALID_PARAMETER, "%s must be a whole number, not \"%.40s\"", what, text);
    *out = v;
    return GN_OK;
}

/* ---- other nodes ---- */

static void answered(gn_rpc_call *call, gn_code code)
{
    gn_admin_ask *ask = GN_CONTAINER(call, gn_admin_ask, call);
    ask->code = code;
    gn_event_signal(&ask->event);
}

void gn_admin_send(gn_cluster *c, gn_admin_ask *ask, const gn_admin_request *request, uint64_t deadline_ns)
{
    *ask = (gn_admin_ask){0};
    gn_buf_init(&ask->request, NULL, GN_ADMIN_MAX_REQUEST);
    gn_event_init(&ask->event, c->world);
    gn_admin_request_write(&ask->request, request);
    ask->call = (gn_rpc_call){.to = request->node,
                              .method = GN_METHOD_ADMIN,
                              .request = gn_buf_bytes(&ask->request),
                              .deadline_ns = deadline_ns,
                              .done = answered};
    if (ask->request.failed)
        answered(&ask->call, gn_error_set(&ask->call.error, GN_LIMIT, "the request is too long"));
    else
        gn_rpc_start(c->rpc, &ask->call);
}

gn_code gn_admin_await(gn_admin_ask *ask)
{
    gn_event_wait(&ask->event, UINT64_MAX);
    if (ask->code != GN_OK && !ask->call.error.message[0])
        gn_error_set(&ask->call.error, ask->code, "node %" PRIu64 ": %s", ask->call.to,
                     ask->code == GN_TIMEOUT || ask->code == GN_UNAVAILABLE ? "does not answer"
                                                                            : gn_code_text(ask->code));
    return ask->code;
}

void gn_admin_ask_close(gn_admin_ask *ask)
{
    gn_buf_close(&ask->request);
    gn_buf_close(&ask->call.response);
}

/* ---- serving ---- */

static gn_code (*const COMMANDS[GN_ADMIN_N_COMMANDS])(gn_admin_job *job, gn_error *err) = {
    [GN_ADMIN_NODE] = gn_admin_node,
    [GN_ADMIN_CLUSTER] = gn_admin_cluster,
    [GN_ADMIN_METRICS] = gn_admin_metrics,
    [GN_ADMIN_CONFIG] = gn_admin_config,
    [GN_ADMIN_TRANSFER] = gn_admin_transfer,
    [GN_ADMIN_STATE] = gn_admin_state,
    [GN_ADMIN_MOVE] = gn_admin_move,
    [GN_ADMIN_SPLIT] = gn_admin_split,
    [GN_ADMIN_MERGE] = gn_admin_merge,
    [GN_ADMIN_REBALANCE] = gn_admin_rebalance,
    [GN_ADMIN_CHECK_PLAN] = gn_admin_check_plan,
    [GN_ADMIN_CHECKSUM] = gn_admin_checksum,
    [GN_ADMIN_CHECK_INDEX] = gn_admin_check_index,
    [GN_ADMIN_UPGRADE] = gn_admin_upgrade,
    [GN_ADMIN_RECOVER] = gn_admin_recover,
};

static gn_code hand_on(gn_cluster *c, const gn_admin_request *request, gn_bytes bytes, gn_buf *answer, gn_error *err)
{
    gn_placement *p = gn_meta_placement(c);
    bool known = gn_placement_node(p, request->node) ||
                 gn_raft_is_member(gn_shard_raft_group(c->meta), request->node); /* the placement may be old */
    gn_placement_release(p);
    if (!known)
        return gn_error_set(err, GN_NO_OBJECT, "there is no node %" PRIu64, request->node);
    return gn_rpc_ask(c->rpc, request->node, GN_METHOD_ADMIN, bytes, gn_now_ns(c->world) + HAND_ON_S * 1000000000ull,
                      NULL, answer, err);
}

static gn_code answer_here(gn_cluster *c, const gn_admin_request *request, gn_arena *arena, gn_buf *answer,
                           gn_error *err)
{
    gn_buf document;
    gn_buf_init(&document, c->account, GN_ADMIN_MAX_ANSWER);
    gn_json_writer json = {.out = &document};
    gn_admin_job job = {.cluster = c, .request = request, .arena = arena, .json = &json};
    gn_code code = COMMANDS[request->command](&job, err);
    if (code == GN_OK && (document.failed || !gn_buf_append_bytes(answer, gn_buf_bytes(&document))))
        code = gn_error_set(err, GN_LIMIT, "the answer is too large, or there is no memory for it");
    gn_buf_close(&document);
    return code;
}

static gn_code serve_admin(void *ctx, gn_node_id from, gn_bytes bytes, gn_buf *answer, gn_error *err)
{
    gn_cluster *c = ctx;
    gn_admin_request request;
    gn_account account;
    (void)from;
    gn_account_init(&account, c->account, "an operator's request", ARENA_BYTES);
    gn_arena *arena = gn_arena_create(&account);
    gn_code code = gn_admin_request_read(bytes, arena, &request, err);
    if (code == GN_OK)
        code = request.node && request.node != gn_net_self(c->world) ? hand_on(c, &request, bytes, answer, err)
                                                                     : answer_here(c, &request, arena, answer, err);
    gn_arena_destroy(arena);
    gn_account_close(&account);
    return code;
}

void gn_admin_serve(gn_cluster *c)
{
    gn_rpc_serve_strand(c->rpc, GN_METHOD_ADMIN, serve_admin, c);
}
