/* The cluster's nodes: how one becomes one, where each is found. */
#include "base/limits.h"
#include "base/log.h"
#include "cluster/cluster_private.h"
#include "cluster/methods_private.h"
#include "cluster/system_tables_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { JOIN_VERSION = 1, MAX_REQUEST = 1024, NUDGE_MS = 500 };
#define GN_PROTOCOL_VERSION 1u /* of everything that nodes say to each other: what a node must speak to be one */

/* ---- joining: the stranger's side ---- */

static void put_text(gn_buf *out, const char *text)
{
    size_t n = strlen(text);
    gn_buf_append_be16(out, (uint16_t)n);
    gn_buf_append(out, text, n);
}

static bool get_text(gn_reader *r, char *out, size_t size)
{
    gn_bytes text = gn_read_bytes(r, gn_read_be16(r));
    if (r->failed || text.len >= size || (text.len && memchr(text.data, 0, text.len)))
        return false;
    if (text.len)
        memcpy(out, text.data, text.len);
    out[text.len] = '\0';
    return true;
}

gn_code gn_cluster_join(gn_rpc *rpc, gn_node_id contact, const char *address, const char *zone, uint64_t deadline_ns,
                        gn_identity *out, gn_error *err)
{
    gn_buf request, answer;
    gn_buf_init(&request, NULL, MAX_REQUEST);
    gn_buf_init(&answer, NULL, MAX_REQUEST);
    gn_buf_append_u8(&request, JOIN_VERSION);
    gn_buf_append_be32(&request, GN_PROTOCOL_VERSION);
    put_text(&request, address);
    put_text(&request, zone ? zone : "");
    gn_code code = request.failed ? gn_error_set(err, GN_CONFIGURATION, "the node's address or zone is too long")
                                  : gn_rpc_ask(rpc, contact, GN_METHOD_JOIN, gn_buf_bytes(&request), deadline_ns, NULL,
                                               &answer, err);
    gn_reader r = gn_reader_of(gn_buf_bytes(&answer));
    *out = (gn_identity){.node = gn_read_be64(&r)};
    if (code == GN_OK && (!get_text(&r, out->cluster, sizeof out->cluster) || out->node == 0))
        code = gn_error_set(err, GN_PROTOCOL, "the answer to a request to join is malformed");
    gn_buf_close(&request);
    gn_buf_close(&answer);
    return code;
}

/* ---- joining: the cluster's side ---- */

/* Whoever had this address before is gone: one address is one node. What it should hold, the new one should. */
static gn_code replace_node(gn_txn *meta, const gn_placement *p, const gn_node_place *old, gn_node_id new_id,
                            gn_error *err)
{
    gn_node_place gone = *old;
    snprintf(gone.state, sizeof gone.state, "gone");
    gone.address[0] = '\0';
    gn_code code = gn_meta_put_node(meta, &gone, err);
    for (uint32_t i = 0; i < p->n_groups && code == GN_OK; i++) {
        gn_group_place g = p->groups[i];
        if (g.id == GN_META_GROUP || !gn_group_has_member(&g, old->id))
            continue;
        for (uint32_t k = 0; k < g.n_members; k++)
            if (g.members[k] == old->id)
                g.members[k] = new_id;
        g.changes++;
        code = gn_meta_put_group(meta, &g, err);
    }
    return code;
}

/* Who does not hear an answer asks again, another node perhaps, and both requests may run, in any order: they are one,
 * and lead to one node. A stranger has the same number in all of them (node/member.c). */
static gn_code was_admitted(gn_txn *meta, gn_node_id stranger, gn_node_place *node, bool *was, gn_error *err)
{
    char name[sizeof node->address + 8], value[64], *end;
    snprintf(name, sizeof name, "joined %s", node->address);
    gn_code code = gn_meta_get_setting(meta, name, value, sizeof value, was, err);
    *was = code == GN_OK && *was && strtoull(value, &end, 10) == stranger && *end == ' ';
    if (*was)
        node->id = strtoull(end, NULL, 10);
    return code;
}

static gn_code note_admitted(gn_txn *meta, gn_node_id stranger, const gn_node_place *node, gn_error *err)
{
    char name[sizeof node->address + 8], value[64];
    snprintf(name, sizeof name, "joined %s", node->address);
    snprintf(value, sizeof value, "%" PRIu64 " %" PRIu64, stranger, node->id);
    return gn_meta_put_setting(meta, name, value, err);
}

static gn_code admit_in(gn_txn *meta, gn_node_id stranger, gn_node_place *node, gn_error *err)
{
    gn_placement *p;
    bool was;
    gn_code code = was_admitted(meta, stranger, node, &was, err);
    if (code != GN_OK || was)
        return code;
    code = gn_placement_load(meta, &p, err);
    if (code != GN_OK)
        return code;
    node->id = p->n_nodes ? p->nodes[p->n_nodes - 1].id + 1 : 1; /* rows stay, so no number comes twice */
    for (uint32_t i = 0; i < p->n_nodes && code == GN_OK; i++)
        if (strcmp(p->nodes[i].address, node->address) == 0)
            code = replace_node(meta, p, &p->nodes[i], node->id, err);
    gn_placement_release(p);
    if (code == GN_OK)
        code = note_admitted(meta, stranger, node, err);
    return code == GN_OK ? gn_meta_put_node(meta, node, err) : code;
}

static gn_code admit_once(gn_cluster *c, gn_node_id stranger, gn_node_place *node, gn_error *err)
{
    gn_txn *meta;
    gn_scn scn;
    gn_code code = gn_meta_begin(c, false, false, &meta, err);
    if (code != GN_OK)
        return code;
    code = admit_in(meta, stranger, node, err);
    if (code == GN_OK)
        return gn_txn_commit(meta, &scn, err);
    gn_txn_abort(meta);
    return code;
}

/* Replicas may be moving at the same time. */
static gn_code admit(gn_cluster *c, gn_node_id stranger, gn_node_place *node, gn_error *err)
{
    enum { MOST_TRIES = 10 };
    gn_code code = GN_SERIALIZATION;
    for (int i = 0; i < MOST_TRIES && code == GN_SERIALIZATION; i++) {
        gn_error_clear(err);
        code = admit_once(c, stranger, node, err);
    }
    return code;
}

static gn_code serve_join(void *ctx, gn_node_id from, gn_bytes request, gn_buf *answer, gn_error *err)
{
    gn_cluster *c = ctx;
    gn_node_place node = {.state = "active"};
    gn_reader r = gn_reader_of(request);
    bool known = gn_read_u8(&r) == JOIN_VERSION;
    uint32_t version = gn_read_be32(&r);
    if (r.failed || !known || version != GN_PROTOCOL_VERSION)
        return gn_error_set(err, GN_CONFIGURATION,
                            "this cluster speaks version %u of the protocol between nodes, the new node version %u",
                            GN_PROTOCOL_VERSION, version);
    if (!get_text(&r, node.address, sizeof node.address) || !get_text(&r, node.zone, sizeof node.zone) ||
        !node.address[0])
        return gn_error_set(err, GN_CONFIGURATION, "a new node needs an address; at most 255 bytes, its zone 63");
    if (!c->address[0])
        return gn_error_set(err, GN_CONFIGURATION, "this node has no address for other nodes (cluster_listen)");
    gn_code code = admit(c, from, &node, err);
    if (code != GN_OK)
        return code;
    gn_log_info("cluster", "node admitted", GN_KV_U64("node", node.id), GN_KV_STR("address", node.address),
                GN_KV_STR("zone", node.zone));
    gn_buf_append_be64(answer, node.id);
    put_text(answer, c->identity.cluster);
    gn_warden_nudge(c->warden);
    gn_nodes_nudge_all(c);
    return GN_OK;
}

/* ---- where nodes are ---- */

static gn_code put_own_row(gn_cluster *c, const gn_node_place *node, gn_error *err)
{
    gn_txn *meta;
    gn_scn scn;
    gn_code code = gn_meta_begin(c, false, false, &meta, err);
    if (code != GN_OK)
        return code;
    code = gn_meta_put_node(meta, node, err);
    if (code == GN_OK)
        return gn_txn_commit(meta, &scn, err);
    gn_txn_abort(meta);
    return code;
}

gn_code gn_nodes_announce(gn_cluster *c, gn_error *err)
{
    gn_placement *p = gn_meta_placement(c);
    const gn_node_place *row = gn_placement_node(p, gn_net_self(c->world));
    gn_code code = GN_OK;
    if (row && (strcmp(row->address, c->address) != 0 || strcmp(row->zone, c->zone) != 0)) {
        gn_node_place now = *row;
        snprintf(now.address, sizeof now.address, "%s", c->address);
        snprintf(now.zone, sizeof now.zone, "%s", c->zone);
        code = put_own_row(c, &now, err);
        if (code == GN_OK)
            gn_nodes_nudge_all(c);
    }
    gn_placement_release(p);
    return code;
}

void gn_nodes_tell_peers(gn_cluster *c)
{
    gn_placement *p = gn_meta_placement(c);
    for (uint32_t i = 0; c->peer && i < p->n_nodes; i++) {
        if (p->nodes[i].id == gn_net_self(c->world))
            continue;
        c->peer(c->peer_ctx, p->nodes[i].id, p->nodes[i].address);
        gn_peers_put(c->peers, p->nodes[i].id, p->nodes[i].address);
    }
    gn_placement_release(p);
    gn_error err = {0};
    if (gn_peers_write(c->peers, c->data_dir, &err) != GN_OK)
        gn_log_warn("cluster", "where other nodes are could not be remembered", GN_KV_STR("error", err.message));
}

void gn_nodes_recall_peers(gn_cluster *c)
{
    c->peers = gn_peers_read(c->data_dir);
    if (c->peer)
        gn_peers_each(c->peers, c->peer, c->peer_ctx);
}

/* ---- nudges ---- */

static void serve_nudge(void *ctx, gn_rpc_request *request)
{
    gn_warden_nudge(((gn_cluster *)ctx)->warden);
    gn_rpc_answer(request, GN_OK, gn_bytes_of(NULL, 0), NULL);
}

static void nudged(gn_rpc_call *call, gn_code code)
{
    (void)code; /* who did not hear it looks by itself */
    gn_buf_close(&call->response);
    free(call);
}

void gn_nodes_nudge_all(gn_cluster *c)
{
    gn_placement *p = gn_meta_placement(c);
    for (uint32_t i = 0; i < p->n_nodes; i++) {
        if (p->nodes[i].id == gn_net_self(c->world) || strcmp(p->nodes[i].state, "gone") == 0)
            continue;
        gn_rpc_call *call = gn_xcalloc(1, sizeof *call);
        *call = (gn_rpc_call){.to = p->nodes[i].id,
                              .method = GN_METHOD_NUDGE,
                              .deadline_ns = gn_now_ns(c->world) + NUDGE_MS * 1000000ull,
                              .done = nudged};
        gn_rpc_start(c->rpc, call);
    }
    gn_placement_release(p);
}

void gn_nodes_serve(gn_cluster *c)
{
    gn_rpc_serve_strand(c->rpc, GN_METHOD_JOIN, serve_join, c);
    gn_rpc_serve(c->rpc, GN_METHOD_NUDGE, serve_nudge, c);
}
