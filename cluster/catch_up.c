#include "base/limits.h"
#include "base/versions.h"
#include "cluster/catch_up_private.h"
#include "cluster/methods_private.h"
#include "net/rpc.h"

#include <stdlib.h>

enum { WIRE_VERSION = GN_FORMAT_CATCH_UP, ASKED_BYTES = 24, ITEM_BYTES = 9 };
static const uint64_t ASK_NS = 5000000000, CANCEL_LOOK_NS = 100000000;

/* ---- the wire ---- */

void gn_catch_up_request_write(gn_buf *out, const gn_catch_up_item *items, uint32_t n)
{
    gn_buf_append_u8(out, WIRE_VERSION);
    gn_buf_append_be32(out, n);
    for (uint32_t i = 0; i < n; i++) {
        gn_buf_append_be64(out, items[i].group);
        gn_buf_append_be64(out, items[i].term);
        gn_buf_append_be64(out, items[i].applied);
    }
}

gn_catch_up_item gn_catch_up_item_read(gn_reader *items)
{
    gn_catch_up_item item = {.group = gn_read_be64(items)};
    item.term = gn_read_be64(items);
    item.applied = gn_read_be64(items);
    return item;
}

bool gn_catch_up_request_read(gn_bytes bytes, gn_reader *items, uint32_t *n)
{
    gn_reader in = gn_reader_of(bytes);
    uint8_t version = gn_read_u8(&in);
    *n = gn_read_be32(&in);
    *items = in;
    return !in.failed && version == WIRE_VERSION && *n <= GN_CATCH_UP_GROUPS &&
           gn_reader_left(&in) == (size_t)*n * ASKED_BYTES;
}

bool gn_catch_up_answer_read(gn_bytes bytes, uint32_t n, gn_reader *items)
{
    gn_reader in = gn_reader_of(bytes);
    uint8_t version = gn_read_u8(&in);
    uint32_t given = gn_read_be32(&in);
    *items = in;
    return !in.failed && version == WIRE_VERSION && given == n && gn_reader_left(&in) == (size_t)n * ITEM_BYTES;
}

/* ---- asking ---- */

/* One node that leads some of the groups; this one among them. */
typedef struct asked {
    gn_rpc_call call;
    gn_event event;
    gn_code code;
    gn_node_id node;
    gn_buf request;
    uint32_t *at; /* places in the list */
    uint32_t n;
} asked;

static void answered(gn_rpc_call *call, gn_code code)
{
    asked *a = GN_CONTAINER(call, asked, call);
    a->code = code;
    gn_event_signal(&a->event);
}

static gn_node_id leader_of(gn_shard *shard, uint64_t *term)
{
    return gn_raft_leader(gn_shard_raft_group(shard), term);
}

/* Sorts the groups by who leads them; those without a leader are left out. */
static uint32_t by_leader(const gn_catching_up *all, uint32_t n, asked *nodes)
{
    uint32_t n_nodes = 0;
    uint64_t term;
    for (uint32_t i = 0; i < n; i++) {
        gn_node_id leader = all[i].shard ? leader_of(all[i].shard, &term) : 0;
        uint32_t k = 0;
        if (leader == 0)
            continue;
        while (k < n_nodes && (nodes[k].node != leader || nodes[k].n == GN_CATCH_UP_GROUPS))
            k++;
        if (k == n_nodes) {
            nodes[n_nodes++].node = leader;
            nodes[k].at = gn_xcalloc(n, sizeof *nodes[k].at);
        }
        nodes[k].at[nodes[k].n++] = i;
    }
    return n_nodes;
}

static void ask(gn_cluster *c, const gn_catching_up *all, asked *a)
{
    gn_catch_up_item *items = gn_xcalloc(a->n, sizeof *items);
    for (uint32_t i = 0; i < a->n; i++) {
        const gn_catching_up *one = &all[a->at[i]];
        items[i].group = one->group;
        items[i].applied = gn_shard_has_applied(one->shard);
        leader_of(one->shard, &items[i].term);
    }
    gn_buf_init(&a->request, NULL, GN_MAX_RPC);
    gn_catch_up_request_write(&a->request, items, a->n);
    free(items);
    gn_event_init(&a->event, c->world);
    a->call = (gn_rpc_call){.to = a->node,
                            .method = GN_METHOD_CATCH_UP,
                            .request = gn_buf_bytes(&a->request),
                            .deadline_ns = gn_now_ns(c->world) + ASK_NS,
                            .done = answered};
    gn_rpc_start(c->rpc, &a->call);
}

static void await_answer(gn_cluster *c, asked *a, const _Atomic bool *cancel)
{
    while (cancel && gn_event_wait(&a->event, gn_now_ns(c->world) + CANCEL_LOOK_NS) != GN_OK)
        if (*cancel) {
            gn_rpc_cancel(c->rpc, &a->call);
            cancel = NULL;
        }
    if (!cancel)
        gn_event_wait(&a->event, UINT64_MAX);
}

static void take_answer(gn_cluster *c, gn_catching_up *all, asked *a, const _Atomic bool *cancel)
{
    gn_reader items;
    await_answer(c, a, cancel);
    bool sound = a->code == GN_OK && gn_catch_up_answer_read(gn_buf_bytes(&a->call.response), a->n, &items);
    for (uint32_t i = 0; sound && i < a->n; i++) {
        gn_catching_up *one = &all[a->at[i]];
        bool ok = gn_read_u8(&items) == 1;
        uint64_t index = gn_read_be64(&items);
        one->done = ok && gn_shard_await_applied(one->shard, index, cancel) == GN_OK;
    }
    gn_buf_close(&a->call.response);
    gn_buf_close(&a->request);
}

/* Those that this node leads. */
static void confirm_start(const gn_catching_up *all, const asked *a, gn_confirmation *confirmations)
{
    gn_shard **shards = gn_xcalloc(a->n, sizeof *shards);
    for (uint32_t i = 0; i < a->n; i++)
        shards[i] = all[a->at[i]].shard;
    gn_shards_confirm_start(shards, NULL, confirmations, a->n);
    free(shards);
}

static void confirm_await(gn_catching_up *all, const asked *a, gn_confirmation *confirmations,
                          const _Atomic bool *cancel)
{
    gn_error ignored = {0};
    for (uint32_t i = 0; i < a->n; i++) {
        gn_catching_up *one = &all[a->at[i]];
        one->done = gn_shard_confirm_await(one->shard, &confirmations[i], cancel, &ignored) == GN_OK;
    }
}

void gn_groups_catch_up(gn_cluster *c, gn_catching_up *all, uint32_t n, const _Atomic bool *cancel)
{
    gn_node_id self = gn_net_self(c->world);
    asked *nodes = gn_xcalloc(n + 1, sizeof *nodes);
    gn_confirmation *confirmations = gn_xcalloc(n + 1, sizeof *confirmations), *next = confirmations;
    uint32_t n_nodes = by_leader(all, n, nodes);
    for (uint32_t i = 0; i < n_nodes; i++)
        if (nodes[i].node != self)
            ask(c, all, &nodes[i]);
    for (uint32_t i = 0; i < n_nodes; i++)
        if (nodes[i].node == self) {
            confirm_start(all, &nodes[i], next);
            next += nodes[i].n;
        }
    next = confirmations;
    for (uint32_t i = 0; i < n_nodes; i++) {
        if (nodes[i].node == self) {
            confirm_await(all, &nodes[i], next, cancel);
            next += nodes[i].n;
        } else {
            take_answer(c, all, &nodes[i], cancel);
        }
        free(nodes[i].at);
    }
    free(confirmations);
    free(nodes);
}

/* ---- answering ---- */

static void answer_one(gn_shard *shard, gn_confirmation *confirmation, gn_node_id from, uint64_t known, gn_buf *answer)
{
    gn_error ignored = {0};
    uint64_t index = 0;
    bool ok = shard && gn_shard_confirm_await(shard, confirmation, NULL, &ignored) == GN_OK &&
              gn_shard_tell_applied(shard, from, known, &index, &ignored) == GN_OK;
    gn_buf_append_u8(answer, ok);
    gn_buf_append_be64(answer, index);
}

static gn_code serve(void *ctx, gn_node_id from, gn_bytes request, gn_buf *answer, gn_error *err)
{
    gn_cluster *c = ctx;
    gn_reader items;
    uint32_t n;
    if (!gn_catch_up_request_read(request, &items, &n))
        return gn_error_set(err, GN_PROTOCOL, "a message between replicas is malformed");
    gn_shard **shards = gn_xcalloc(n + 1, sizeof *shards);
    gn_raft_voucher *vouchers = gn_xcalloc(n + 1, sizeof *vouchers);
    uint64_t *known = gn_xcalloc(n + 1, sizeof *known);
    gn_confirmation *confirmations = gn_xcalloc(n + 1, sizeof *confirmations);
    for (uint32_t i = 0; i < n; i++) {
        gn_catch_up_item item = gn_catch_up_item_read(&items);
        shards[i] = gn_group_hold(c, item.group);
        vouchers[i] = (gn_raft_voucher){.node = from, .term = item.term};
        known[i] = item.applied;
    }
    gn_shards_confirm_start(shards, vouchers, confirmations, n);
    gn_buf_append_u8(answer, WIRE_VERSION);
    gn_buf_append_be32(answer, n);
    for (uint32_t i = 0; i < n; i++) {
        answer_one(shards[i], &confirmations[i], from, known[i], answer);
        gn_group_release(c, shards[i]);
    }
    free(confirmations);
    free(known);
    free(vouchers);
    free(shards);
    return answer->failed ? gn_error_oom(err, answer->account) : GN_OK;
}

void gn_catch_up_serve(gn_cluster *c)
{
    gn_rpc_serve_strand(c->rpc, GN_METHOD_CATCH_UP, serve, c);
}
