/* The cluster's nodes: how one becomes one, where each is found. */
#include "base/limits.h"
#include "base/log.h"
#include "base/versions.h"
#include "cluster/balance_private.h"
#include "cluster/methods_private.h"
#include "cluster/system_tables_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { JOIN_BY_NUMBER = 1, JOIN_BY_RANGE = GN_FORMAT_JOIN, MAX_REQUEST = 1024, NUDGE_MS = 500 };

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

/* Form 1 names one version: what a node had to speak before there were several. */
static gn_code ask_to_join(gn_rpc *rpc, gn_node_id contact, const gn_newcomer *who, uint8_t form, uint64_t deadline_ns,
                           gn_identity *out, gn_error *err)
{
    gn_buf request, answer;
    gn_version_range can = gn_version_range_or_own(who->versions);
    gn_buf_init(&request, NULL, MAX_REQUEST);
    gn_buf_init(&answer, NULL, MAX_REQUEST);
    gn_buf_append_u8(&request, form);
    gn_buf_append_be32(&request, form == JOIN_BY_NUMBER ? 1 : can.most);
    put_text(&request, who->address);
    put_text(&request, who->zone ? who->zone : "");
    if (form == JOIN_BY_RANGE) {
        gn_buf_append_be32(&request, can.least);
        put_text(&request, who->program ? who->program : "");
    }
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

/* A node of the first release refuses what it does not know, as whoever has another reason does; of two refusals the
 * first says more. */
gn_code gn_cluster_join(gn_rpc *rpc, gn_node_id contact, const gn_newcomer *who, uint64_t deadline_ns, gn_identity *out,
                        gn_error *err)
{
    gn_error again = {0};
    gn_code code = ask_to_join(rpc, contact, who, JOIN_BY_RANGE, deadline_ns, out, err);
    if (code != GN_CONFIGURATION || !gn_version_can(gn_version_range_or_own(who->versions), 1) ||
        ask_to_join(rpc, contact, who, JOIN_BY_NUMBER, deadline_ns, out, &again) != GN_OK)
        return code;
    gn_error_clear(err);
    return GN_OK;
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

/* Whoever is too new would not be wrong now, but could not be gone back with: the others go first. */
static gn_code judge_versions(uint32_t at, gn_version_range can, gn_error *err)
{
    if (at == 0 || gn_version_can(can, at))
        return GN_OK;
    gn_error_set(err, GN_CONFIGURATION,
                 "the cluster is at version %" PRIu32 ", and the gnomond of the new node can do versions %u to %u only",
                 at, can.least, can.most);
    gn_error_hint(err, at > can.most ? "Start a newer gnomond." : "Upgrade the cluster first.");
    return GN_CONFIGURATION;
}

static gn_code admit_in(gn_txn *meta, gn_node_id stranger, gn_version_range can, gn_node_place *node, gn_error *err)
{
    gn_placement *p;
    bool was;
    gn_code code = was_admitted(meta, stranger, node, &was, err);
    if (code != GN_OK || was)
        return code;
    code = gn_placement_load(meta, &p, err);
    if (code != GN_OK)
        return code;
    code = judge_versions(p->version, can, err);                 /* here, so that it cannot be raised in between */
    node->id = p->n_nodes ? p->nodes[p->n_nodes - 1].id + 1 : 1; /* rows stay, so no number comes twice */
    for (uint32_t i = 0; i < p->n_nodes && code == GN_OK; i++)
        if (strcmp(p->nodes[i].address, node->address) == 0)
            code = replace_node(meta, p, &p->nodes[i], node->id, err);
    gn_placement_release(p);
    if (code == GN_OK)
        code = note_admitted(meta, stranger, node, err);
    return code == GN_OK ? gn_meta_put_node(meta, node, err) : code;
}

static gn_code admit_once(gn_cluster *c, gn_node_id stranger, gn_version_range can, gn_node_place *node, gn_error *err)
{
    gn_txn *meta;
    gn_scn scn;
    gn_code code = gn_meta_begin(c, false, false, &meta, err);
    if (code != GN_OK)
        return code;
    code = admit_in(meta, stranger, can, node, err);
    if (code == GN_OK)
        return gn_txn_commit(meta, &scn, err);
    gn_txn_abort(meta);
    return code;
}

/* Replicas may be moving at the same time. */
static gn_code admit(gn_cluster *c, gn_node_id stranger, gn_version_range can, gn_node_place *node, gn_error *err)
{
    enum { MOST_TRIES = 10 };
    gn_code code = GN_SERIALIZATION;
    for (int i = 0; i < MOST_TRIES && code == GN_SERIALIZATION; i++) {
        gn_error_clear(err);
        code = admit_once(c, stranger, can, node, err);
    }
    return code;
}

/* What it can do, and the row that it is to have. */
static gn_code read_join(gn_bytes request, gn_version_range *can, gn_node_place *node, gn_error *err)
{
    gn_reader r = gn_reader_of(request);
    uint8_t form = gn_read_u8(&r);
    uint32_t most = gn_read_be32(&r), least = most;
    *node = (gn_node_place){.state = "active"};
    bool fine = get_text(&r, node->address, sizeof node->address) && get_text(&r, node->zone, sizeof node->zone);
    if (form == JOIN_BY_RANGE) {
        least = gn_read_be32(&r);
        fine = fine && get_text(&r, node->program, sizeof node->program);
    }
    if (r.failed || form < JOIN_BY_NUMBER || form > JOIN_BY_RANGE || most > UINT16_MAX || least > most)
        return gn_error_set(err, GN_CONFIGURATION,
                            "this node does not understand how the new one asks to join: their releases are too far "
                            "apart");
    *can = (gn_version_range){(uint16_t)least, (uint16_t)most};
    return fine && node->address[0]
               ? GN_OK
               : gn_error_set(err, GN_CONFIGURATION, "a new node needs an address; at most 255 bytes, its zone 63");
}

static gn_code serve_join(void *ctx, gn_node_id from, gn_bytes request, gn_buf *answer, gn_error *err)
{
    gn_cluster *c = ctx;
    gn_node_place node;
    gn_version_range can = {0};
    gn_code code = read_join(request, &can, &node, err);
    if (code != GN_OK)
        return code;
    if (!c->address[0])
        return gn_error_set(err, GN_CONFIGURATION, "this node has no address for other nodes (cluster_listen)");
    code = admit(c, from, can, &node, err);
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
    const char *program = c->admin.version ? c->admin.version : "";
    bool new_program = row && gn_cluster_is_at(c, GN_SINCE_NODE_PROGRAMS) && strcmp(row->program, program) != 0;
    if (row && (strcmp(row->address, c->address) != 0 || strcmp(row->zone, c->zone) != 0 || new_program)) {
        gn_node_place now = *row;
        snprintf(now.program, sizeof now.program, "%s", program);
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
    gn_cluster *c = ctx;
    gn_error err = {0};
    gn_placement *p = gn_meta_placement(c);
    bool gone = gn_node_is_gone(p, request->from);
    gn_placement_release(p);
    gn_warden_nudge(c->warden);
    gn_code code =
        gone ? gn_error_set(&err, GN_CONFIGURATION,
                            "node %" PRIu64 " is no part of the cluster any more: it was replaced or decommissioned",
                            request->from)
             : GN_OK;
    gn_rpc_answer(request, code, gn_bytes_of(NULL, 0), &err);
}

/* Who did not hear it looks by itself. But nobody else tells a node that it is gone: its groups no longer talk to it.
 */
static void nudged(gn_rpc_call *call, gn_code code)
{
    if (code == GN_CONFIGURATION)
        gn_log_error("cluster", "stop this node: with an empty data directory and join it becomes a new one",
                     GN_KV_U64("said_by", call->to), GN_KV_STR("why", call->error.message));
    gn_buf_close(&call->response);
    free(call);
}

static void nudge(gn_cluster *c, gn_node_id node)
{
    gn_rpc_call *call = gn_xcalloc(1, sizeof *call);
    *call = (gn_rpc_call){.to = node,
                          .method = GN_METHOD_NUDGE,
                          .deadline_ns = gn_now_ns(c->world) + NUDGE_MS * 1000000ull,
                          .done = nudged};
    gn_rpc_start(c->rpc, call);
}

void gn_nodes_nudge_one(gn_cluster *c, uint32_t turn)
{
    gn_placement *p = gn_meta_placement(c);
    gn_node_id node = p->n_nodes ? p->nodes[turn % p->n_nodes].id : 0;
    if (node && node != gn_net_self(c->world) && !gn_node_is_gone(p, node))
        nudge(c, node);
    gn_placement_release(p);
}

void gn_nodes_nudge_all(gn_cluster *c)
{
    gn_placement *p = gn_meta_placement(c);
    for (uint32_t i = 0; i < p->n_nodes; i++)
        if (p->nodes[i].id != gn_net_self(c->world) && strcmp(p->nodes[i].state, "gone") != 0)
            nudge(c, p->nodes[i].id);
    gn_placement_release(p);
}

void gn_nodes_serve(gn_cluster *c)
{
    gn_rpc_serve_strand(c->rpc, GN_METHOD_JOIN, serve_join, c);
    gn_rpc_serve(c->rpc, GN_METHOD_NUDGE, serve_nudge, c);
}
