#include "base/log.h"
#include "base/versions.h"
#include "cluster/balance_private.h"
#include "cluster/methods_private.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- who the members are ---- */

enum { MEMBERS_VERSION = GN_FORMAT_MEMBERS };
#define ASK_NS 1000000000u

static gn_code members_here(gn_cluster *c, uint64_t group, gn_group_members *out)
{
    gn_shard *shard = gn_group_hold(c, group);
    if (!shard)
        return GN_UNAVAILABLE;
    gn_raft_status *s = gn_xcalloc(1, sizeof *s);
    gn_raft_status_get(gn_shard_raft_group(shard), s);
    gn_group_release(c, shard);
    *out = (gn_group_members){.leader = gn_net_self(c->world), .term = s->term, .last_index = s->last_index};
    out->n = (uint32_t)(s->n_members < GN_MAX_REPLICAS * 2 ? s->n_members : GN_MAX_REPLICAS * 2);
    memcpy(out->members, s->members, out->n * sizeof *out->members);
    bool leads = s->leads && s->can_read && !s->stopped;
    free(s);
    return leads ? GN_OK : GN_NOT_LEADER;
}

static gn_code serve_members(void *ctx, gn_node_id from, gn_bytes request, gn_buf *answer, gn_error *err)
{
    gn_reader r = gn_reader_of(request);
    bool known = gn_read_u8(&r) == MEMBERS_VERSION;
    uint64_t group = gn_read_be64(&r);
    gn_group_members m;
    (void)from;
    if (r.failed || !known)
        return gn_error_set(err, GN_PROTOCOL, "a request for a group's members is malformed");
    gn_code code = members_here(ctx, group, &m);
    if (code != GN_OK)
        return gn_error_set(err, code, "this node does not lead group %" PRIu64, group);
    gn_buf_append_be64(answer, m.term);
    gn_buf_append_be64(answer, m.last_index);
    gn_buf_append_u8(answer, (uint8_t)m.n);
    for (uint32_t i = 0; i < m.n; i++) {
        gn_buf_append_be64(answer, m.members[i].id);
        gn_buf_append_u8(answer, m.members[i].role == GN_RAFT_VOTER);
    }
    return GN_OK;
}

static gn_code members_there(gn_cluster *c, gn_node_id node, uint64_t group, gn_group_members *out, gn_error *err)
{
    gn_buf request, answer;
    gn_buf_init(&request, NULL, 16);
    gn_buf_init(&answer, NULL, 1024);
    gn_buf_append_u8(&request, MEMBERS_VERSION);
    gn_buf_append_be64(&request, group);
    gn_code code = gn_rpc_ask(c->rpc, node, GN_METHOD_MEMBERS, gn_buf_bytes(&request), gn_now_ns(c->world) + ASK_NS,
                              NULL, &answer, err);
    gn_reader r = gn_reader_of(gn_buf_bytes(&answer));
    *out = (gn_group_members){.leader = node};
    out->term = gn_read_be64(&r);
    out->last_index = gn_read_be64(&r);
    out->n = gn_read_u8(&r);
    if (out->n > GN_MAX_REPLICAS * 2)
        r.failed = true;
    for (uint32_t i = 0; i < out->n && !r.failed; i++) {
        out->members[i].id = gn_read_be64(&r);
        out->members[i].role = gn_read_u8(&r) ? GN_RAFT_VOTER : GN_RAFT_NON_VOTER;
    }
    if (code == GN_OK && r.failed)
        code = gn_error_set(err, GN_PROTOCOL, "an answer with a group's members is malformed");
    gn_buf_close(&request);
    gn_buf_close(&answer);
    return code;
}

gn_code gn_group_members_get(gn_cluster *c, uint64_t group, gn_group_members *out, gn_error *err)
{
    uint64_t term;
    gn_shard *shard = gn_group_hold(c, group);
    gn_code code = members_here(c, group, out);
    gn_node_id leader = code != GN_OK && shard ? gn_raft_leader(gn_shard_raft_group(shard), &term) : 0;
    gn_group_release(c, shard);
    if (code != GN_OK && leader && leader != gn_net_self(c->world))
        code = members_there(c, leader, group, out, err);
    gn_placement *p = gn_meta_placement(c);
    const gn_group_place *row = gn_placement_group(p, group);
    for (uint32_t i = 0; code != GN_OK && row && i < row->n_members; i++)
        if (row->members[i] != gn_net_self(c->world) && row->members[i] != leader)
            code = members_there(c, row->members[i], group, out, err);
    gn_placement_release(p);
    return code == GN_OK ? GN_OK : gn_error_set(err, GN_UNAVAILABLE, "no leader of group %" PRIu64 " answers", group);
}

bool gn_node_is_gone(const gn_placement *p, gn_node_id id)
{
    const gn_node_place *node = gn_placement_node(p, id);
    return node && strcmp(node->state, "gone") == 0;
}

bool gn_group_is_lost(const gn_placement *p, const gn_group_place *row)
{
    bool lost = true;
    for (uint32_t i = 0; i < row->n_members && lost; i++)
        lost = gn_node_is_gone(p, row->members[i]);
    return lost;
}

bool gn_group_is_settled(const gn_placement *p, const gn_group_place *row, const gn_group_members *actual)
{
    uint32_t wanted = 0, found = 0;
    bool settled = true;
    for (uint32_t i = 0; i < row->n_members; i++)
        wanted += !gn_node_is_gone(p, row->members[i]);
    for (uint32_t i = 0; i < actual->n && settled; i++) {
        if (gn_node_is_gone(p, actual->members[i].id))
            continue;
        settled = actual->members[i].role == GN_RAFT_VOTER && gn_group_has_member(row, actual->members[i].id);
        found++;
    }
    return settled && found == wanted;
}

bool gn_group_is_removed(gn_cluster *c, uint64_t group)
{
    gn_group_members actual;
    gn_error err = {0};
    gn_node_id self = gn_net_self(c->world);
    gn_placement *p = gn_meta_placement(c);
    const gn_group_place *row = gn_placement_group(p, group);
    bool removed = row && !gn_group_has_member(row, self) && gn_group_members_get(c, group, &actual, &err) == GN_OK;
    for (uint32_t i = 0; removed && i < actual.n; i++)
        removed = actual.members[i].id != self;
    gn_placement_release(p);
    return removed;
}

void gn_balance_serve(gn_cluster *c)
{
    gn_rpc_serve_strand(c->rpc, GN_METHOD_MEMBERS, serve_members, c);
}

/* ---- moving ---- */

/* Who should lead is not a change of members, and not counted as one. */
static gn_code change_row(gn_cluster *c, const gn_balance_move *move, const gn_group_place *seen, gn_error *err)
{
    gn_txn *meta;
    gn_scn scn;
    gn_placement *p = NULL;
    gn_code code = gn_meta_begin(c, false, false, &meta, err);
    if (code != GN_OK)
        return code;
    code = gn_placement_load(meta, &p, err);
    const gn_group_place *row = code == GN_OK ? gn_placement_group(p, move->group) : NULL;
    if (code == GN_OK && (!row || row->changes != seen->changes))
        code = gn_error_set(err, GN_NOT_IN_STATE, "group %" PRIu64 " is being changed by somebody else", move->group);
    if (code == GN_OK) {
        gn_group_place now = gn_balance_moved(row, move);
        now.changes += !move->leads;
        code = gn_meta_put_group(meta, &now, err);
    }
    if (p)
        gn_placement_release(p);
    if (code == GN_OK)
        return gn_txn_commit(meta, &scn, err);
    gn_txn_abort(meta);
    return code;
}

static gn_code check_replica(gn_cluster *c, const gn_placement *p, const gn_group_place *row, gn_error *err)
{
    gn_group_members actual;
    gn_code code = gn_group_members_get(c, row->id, &actual, err);
    if (code == GN_OK && !gn_group_is_settled(p, row, &actual))
        code = gn_error_set(err, GN_NOT_IN_STATE, "group %" PRIu64 " has an earlier change to finish", row->id);
    return code;
}

static gn_code check_move(const gn_placement *p, const gn_group_place *row, const gn_balance_move *move, gn_error *err)
{
    uint64_t group = move->group;
    gn_node_id from = move->from, to = move->to;
    const gn_node_place *heir = gn_placement_node(p, to);
    if (!row || row->distribution_id == 0)
        return gn_error_set(err, GN_NO_OBJECT, "there is no group %" PRIu64 " whose replicas can be moved", group);
    if (!gn_group_has_member(row, from))
        return gn_error_set(err, GN_NO_OBJECT, "node %" PRIu64 " has no replica of group %" PRIu64, from, group);
    if (gn_group_has_member(row, to) && !move->leads)
        return gn_error_set(err, GN_DUPLICATE_OBJECT, "node %" PRIu64 " has a replica of group %" PRIu64, to, group);
    if (!heir || strcmp(heir->state, "active") != 0)
        return gn_error_set(err, GN_INVALID_PARAMETER, "node %" PRIu64 " is not an active node", to);
    return GN_OK;
}

gn_code gn_balance_move_now(gn_cluster *c, const gn_balance_move *move, gn_error *err)
{
    gn_code code = gn_meta_refresh(c, false, err);
    if (code != GN_OK)
        return code;
    gn_placement *p = gn_meta_placement(c);
    const gn_group_place *row = gn_placement_group(p, move->group);
    code = check_move(p, row, move, err);
    if (code == GN_OK && !move->leads)
        code = check_replica(c, p, row, err);
    if (code == GN_OK)
        code = change_row(c, move, row, err);
    gn_placement_release(p);
    if (code == GN_OK)
        code = gn_meta_refresh(c, true, err);
    if (code == GN_OK) {
        gn_warden_nudge(c->warden);
        gn_nodes_nudge_all(c);
    }
    return code;
}

/* Groups that were changed once and are not what their row says yet. */
static size_t changing(gn_cluster *c, const gn_placement *p)
{
    size_t n = 0;
    for (uint32_t i = 0; i < p->n_groups && n < GN_BALANCE_AT_ONCE; i++) {
        gn_group_members actual;
        gn_error err = {0};
        if (p->groups[i].distribution_id && p->groups[i].changes > 0 && !gn_group_is_lost(p, &p->groups[i]) &&
            (gn_group_members_get(c, p->groups[i].id, &actual, &err) != GN_OK ||
             !gn_group_is_settled(p, &p->groups[i], &actual)))
            n++;
    }
    return n;
}

static gn_code make(gn_cluster *c, const gn_balance_move *move)
{
    gn_error err = {0};
    gn_code code = gn_balance_move_now(c, move, &err);
    if (code == GN_OK)
        gn_log_info("cluster", move->leads ? "another node should lead" : "moving a replica",
                    GN_KV_U64("group", move->group), GN_KV_U64("from", move->from), GN_KV_U64("to", move->to),
                    GN_KV_STR("why", move->why));
    else
        gn_log_info("cluster", "a replica cannot be moved yet", GN_KV_U64("group", move->group),
                    GN_KV_STR("why", err.message));
    return code;
}

size_t gn_balance_run(gn_cluster *c, const gn_loads *loads)
{
    uint64_t term;
    gn_balance_move moves[GN_BALANCE_AT_ONCE];
    if (gn_raft_leader(gn_shard_raft_group(c->meta), &term) != gn_net_self(c->world))
        return 0;
    gn_placement *p = gn_meta_placement(c);
    size_t n = gn_balance_plan(p, loads, moves, GN_BALANCE_AT_ONCE);
    size_t busy = n ? changing(c, p) : 0;
    gn_placement_release(p);
    for (size_t i = 0; i < n && busy < GN_BALANCE_AT_ONCE; i++)
        busy += make(c, &moves[i]) == GN_OK;
    return busy;
}
