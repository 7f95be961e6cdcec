/* What an operator may change: who leads a group, what state a node is in, where a replica is. */
#include "base/log.h"
#include "cluster/admin_private.h"
#include "cluster/balance_private.h"
#include "cluster/merges_private.h"
#include "cluster/splits_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_PLAN = 256 };
#define TRANSFER_NS 20000000000u
#define SPLIT_NS 30000000000u
#define MERGE_NS 80000000000u

/* ---- transfer-leader ---- */

typedef struct transfer {
    gn_raft_request request;
    gn_event event;
    gn_code code;
} transfer;

static void transferred(gn_raft_request *request, gn_code code)
{
    transfer *t = GN_CONTAINER(request, transfer, request);
    t->code = code;
    gn_event_signal(&t->event);
}

static gn_code transfer_here(gn_cluster *c, gn_shard *shard, uint64_t group, gn_node_id node, gn_error *err)
{
    transfer t = {.request = {.done = transferred}};
    gn_event_init(&t.event, c->world);
    gn_raft_transfer(gn_shard_raft_group(shard), node, &t.request);
    gn_event_wait(&t.event, UINT64_MAX);
    switch (t.code) {
    case GN_OK:
        return GN_OK;
    case GN_NOT_LEADER:
        return gn_error_set(err, t.code, "this node does not lead group %" PRIu64, group);
    case GN_NO_OBJECT:
        return gn_error_set(err, t.code, "node %" PRIu64 " has no replica of group %" PRIu64, node, group);
    case GN_NOT_IN_STATE:
        return gn_error_set(err, t.code, "node %" PRIu64 "'s replica of group %" PRIu64 " does not vote", node, group);
    case GN_OBJECT_IN_USE:
        return gn_error_set(err, t.code, "group %" PRIu64 " is changing its leader or its members already", group);
    case GN_UNAVAILABLE:
        return gn_error_set(err, t.code, "node %" PRIu64 " could not take over group %" PRIu64 " in time", node, group);
    default:
        return gn_error_set(err, t.code, "%s", gn_code_text(t.code));
    }
}

static gn_code transfer_there(gn_cluster *c, gn_node_id leader, const gn_admin_request *request, gn_error *err)
{
    gn_admin_ask ask;
    gn_admin_request handed = *request;
    handed.node = leader;
    gn_admin_send(c, &ask, &handed, gn_now_ns(c->world) + TRANSFER_NS);
    gn_code code = gn_admin_await(&ask);
    if (code != GN_OK && err)
        *err = ask.call.error;
    gn_admin_ask_close(&ask);
    return code;
}

static gn_code know_group(gn_cluster *c, uint64_t group, gn_error *err)
{
    gn_placement *p = gn_meta_placement(c);
    bool there_is = gn_placement_group(p, group);
    gn_placement_release(p);
    return there_is ? GN_OK : gn_error_set(err, GN_NO_OBJECT, "there is no group %" PRIu64, group);
}

static gn_code know_both(gn_cluster *c, uint64_t group, gn_node_id node, gn_error *err)
{
    gn_code code = know_group(c, group, err);
    if (code != GN_OK)
        return code;
    gn_placement *p = gn_meta_placement(c);
    bool named = gn_placement_node(p, node);
    gn_placement_release(p);
    return named ? GN_OK : gn_error_set(err, GN_NO_OBJECT, "there is no node %" PRIu64, node);
}

static gn_code transfer_from(gn_admin_job *job, gn_node_id leader, uint64_t group, gn_node_id node, gn_error *err)
{
    gn_cluster *c = job->cluster;
    if (leader == node)
        return GN_OK;
    if (leader != gn_net_self(c->world))
        return job->request->node
                   ? gn_error_set(err, GN_NOT_LEADER, "the leader of group %" PRIu64 " has just changed", group)
                   : transfer_there(c, leader, job->request, err);
    gn_shard *shard = gn_group_hold(c, group);
    gn_code code = shard ? transfer_here(c, shard, group, node, err)
                         : gn_error_set(err, GN_NOT_LEADER, "group %" PRIu64 " has just moved away", group);
    gn_group_release(c, shard);
    return code;
}

/* In the group's row the node becomes the one that should lead, else the group would be handed back soon. */
static gn_code prefer_in(gn_txn *meta, uint64_t group, gn_node_id node, gn_error *err)
{
    gn_placement *p;
    gn_code code = gn_placement_load(meta, &p, err);
    if (code != GN_OK)
        return code;
    const gn_group_place *row = gn_placement_group(p, group);
    if (row && row->distribution_id != 0 && gn_group_has_member(row, node)) {
        gn_group_place now = *row;
        uint32_t first = gn_group_first_choice(row);
        for (uint32_t i = 0; i < now.n_members; i++)
            if (now.members[i] == node)
                now.members[i] = now.members[first];
        now.members[first] = node;
        code = gn_meta_put_group(meta, &now, err);
    }
    gn_placement_release(p);
    return code;
}

static gn_code prefer(gn_cluster *c, uint64_t group, gn_node_id node, gn_error *err)
{
    gn_txn *meta;
    gn_scn scn;
    gn_code code = gn_txn_begin(c->meta, NULL, &meta, err);
    if (code != GN_OK)
        return code;
    code = prefer_in(meta, group, node, err);
    if (code == GN_OK)
        return gn_txn_commit(meta, &scn, err);
    gn_txn_abort(meta);
    return code;
}

gn_code gn_admin_transfer(gn_admin_job *job, gn_error *err)
{
    uint64_t group, node;
    gn_group_members members;
    gn_code code = gn_admin_number(job, 0, "a group", &group, err);
    if (code == GN_OK)
        code = gn_admin_number(job, 1, "a node", &node, err);
    if (code == GN_OK)
        code = know_both(job->cluster, group, node, err);
    if (code == GN_OK)
        code = gn_group_members_get(job->cluster, group, &members, err);
    if (code == GN_OK)
        code = transfer_from(job, members.leader, group, node, err);
    if (code == GN_OK && !job->request->node)
        code = prefer(job->cluster, group, node, err);
    if (code != GN_OK)
        return code;
    gn_jw_open(job->json, NULL, '{');
    gn_jw_u64(job->json, "group", group);
    gn_jw_u64(job->json, "leader", node);
    gn_jw_close(job->json, '}');
    return GN_OK;
}

/* ---- rows of the meta group ---- */

typedef struct state_change {
    gn_node_id node;
    const char *state;
    bool force;
    char before[16];
} state_change;

static uint32_t active_without(const gn_placement *p, gn_node_id id)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < p->n_nodes; i++)
        n += p->nodes[i].id != id && strcmp(p->nodes[i].state, "active") == 0;
    return n;
}

/* What the node has must find another place. */
static gn_code can_leave(const gn_placement *p, const state_change *ch, gn_error *err)
{
    uint32_t left = active_without(p, ch->node);
    if (left == 0)
        return gn_error_set(err, GN_NOT_IN_STATE, "node %" PRIu64 " is the last active one", ch->node);
    for (uint32_t i = 0; i < p->n_groups; i++) {
        const gn_group_place *g = &p->groups[i];
        if (g->id == GN_META_GROUP || !gn_group_has_member(g, ch->node) || g->n_members <= left)
            continue;
        gn_error_set(err, GN_NOT_IN_STATE,
                     "group %" PRIu64 " has %u replicas, and without node %" PRIu64 " there are only %u active nodes",
                     g->id, g->n_members, ch->node, left);
        gn_error_hint(err, "Add a node first.");
        return GN_NOT_IN_STATE;
    }
    return GN_OK;
}

static gn_code holds_nothing(const gn_placement *p, const state_change *ch, gn_error *err)
{
    for (uint32_t i = 0; i < p->n_groups; i++)
        if (p->groups[i].id != GN_META_GROUP && gn_group_has_member(&p->groups[i], ch->node)) {
            gn_error_set(err, GN_NOT_IN_STATE, "node %" PRIu64 " still has a replica of group %" PRIu64, ch->node,
                         p->groups[i].id);
            gn_error_hint(err, "Drain it first; what it holds then goes to other nodes.");
            return GN_NOT_IN_STATE;
        }
    return active_without(p, ch->node)
               ? GN_OK
               : gn_error_set(err, GN_NOT_IN_STATE, "node %" PRIu64 " is the last active one", ch->node);
}

static gn_code check_state(const gn_placement *p, const gn_node_place *node, const state_change *ch, gn_error *err)
{
    bool active = strcmp(ch->state, "active") == 0, draining = strcmp(ch->state, "draining") == 0;
    if (!node)
        return gn_error_set(err, GN_NO_OBJECT, "there is no node %" PRIu64, ch->node);
    if (!active && !draining && strcmp(ch->state, "gone") != 0)
        return gn_error_set(err, GN_INVALID_PARAMETER, "a node can be active, draining or gone, not \"%.20s\"",
                            ch->state);
    if (strcmp(node->state, "gone") == 0 && strcmp(ch->state, "gone") != 0) {
        gn_error_set(err, GN_NOT_IN_STATE, "node %" PRIu64 " is gone for ever", ch->node);
        gn_error_hint(err, "It may join again, with an empty data directory, as a new node.");
        return GN_NOT_IN_STATE;
    }
    if (active || ch->force)
        return GN_OK;
    return draining ? can_leave(p, ch, err) : holds_nothing(p, ch, err);
}

static gn_code change_state_in(gn_txn *meta, state_change *ch, gn_error *err)
{
    gn_placement *p;
    gn_code code = gn_placement_load(meta, &p, err);
    if (code != GN_OK)
        return code;
    const gn_node_place *row = gn_placement_node(p, ch->node);
    code = check_state(p, row, ch, err);
    if (code == GN_OK) {
        gn_node_place now = *row;
        snprintf(ch->before, sizeof ch->before, "%s", row->state);
        snprintf(now.state, sizeof now.state, "%s", ch->state);
        if (strcmp(now.state, "gone") == 0)
            now.address[0] = '\0'; /* free for another node */
        code = gn_meta_put_node(meta, &now, err);
    }
    gn_placement_release(p);
    return code;
}

static gn_code change_state(gn_cluster *c, state_change *ch, gn_error *err)
{
    gn_txn *meta;
    gn_scn scn;
    gn_code code = gn_txn_begin(c->meta, NULL, &meta, err);
    if (code != GN_OK)
        return code;
    code = change_state_in(meta, ch, err);
    if (code == GN_OK)
        return gn_txn_commit(meta, &scn, err);
    gn_txn_abort(meta);
    return code;
}

gn_code gn_admin_state(gn_admin_job *job, gn_error *err)
{
    enum { TRIES = 5 };
    gn_cluster *c = job->cluster;
    state_change ch = {.state = job->request->args[1]};
    gn_code code = gn_admin_number(job, 0, "a node", &ch.node, err);
    if (code != GN_OK)
        return code;
    ch.force = job->request->n_args > 2 && strcmp(job->request->args[2], "force") == 0;
    if (job->request->n_args > 2 && !ch.force)
        return gn_error_set(err, GN_INVALID_PARAMETER, "the third argument may be \"force\" only");
    code = GN_SERIALIZATION;
    for (int i = 0; i < TRIES && code == GN_SERIALIZATION; i++) {
        if (err)
            *err = (gn_error){0};
        code = change_state(c, &ch, err);
    }
    if (code != GN_OK)
        return code;
    gn_error why = {0};
    if (gn_meta_refresh(c, false, &why) != GN_OK) /* it is done all the same; the warden will see it */
        gn_log_info("cluster", "the placement could not be read at once", GN_KV_STR("why", why.message));
    gn_log_info("cluster", "an operator changed a node's state", GN_KV_U64("node", ch.node),
                GN_KV_STR("from", ch.before), GN_KV_STR("to", ch.state));
    gn_warden_nudge(c->warden);
    gn_nodes_nudge_all(c);
    gn_jw_open(job->json, NULL, '{');
    gn_jw_u64(job->json, "node", ch.node);
    gn_jw_str(job->json, "before", ch.before);
    gn_jw_str(job->json, "state", ch.state);
    gn_jw_close(job->json, '}');
    return GN_OK;
}

/* ---- where replicas are ---- */

static void write_move(gn_json_writer *j, const gn_balance_move *move)
{
    gn_jw_open(j, NULL, '{');
    gn_jw_u64(j, "group", move->group);
    gn_jw_u64(j, "from", move->from);
    gn_jw_u64(j, "to", move->to);
    if (move->leads)
        gn_jw_bool(j, "leads", true);
    if (move->why)
        gn_jw_str(j, "why", move->why);
    gn_jw_close(j, '}');
}

gn_code gn_admin_move(gn_admin_job *job, gn_error *err)
{
    uint64_t group, from, to;
    gn_code code = gn_admin_number(job, 0, "a group", &group, err);
    if (code == GN_OK)
        code = gn_admin_number(job, 1, "a node", &from, err);
    if (code == GN_OK)
        code = gn_admin_number(job, 2, "a node", &to, err);
    if (code == GN_OK)
        code = gn_balance_move_now(job->cluster, &(gn_balance_move){.group = group, .from = from, .to = to}, err);
    if (code != GN_OK)
        return code;
    gn_log_info("cluster", "an operator moves a replica", GN_KV_U64("group", group), GN_KV_U64("from", from),
                GN_KV_U64("to", to));
    write_move(job->json, &(gn_balance_move){.group = group, .from = from, .to = to});
    return GN_OK;
}

/* ---- split ---- */

static void write_split(gn_json_writer *j, uint64_t group, const gn_split *split)
{
    gn_jw_open(j, NULL, '{');
    gn_jw_u64(j, "group", group);
    gn_jw_u64(j, "slot_lo", split->lo);
    gn_jw_u64(j, "slot_hi", split->mid);
    gn_jw_u64(j, "child", split->child);
    gn_jw_u64(j, "child_slot_lo", split->mid);
    gn_jw_u64(j, "child_slot_hi", split->hi);
    gn_jw_close(j, '}');
}

/* What its leader has answered is the answer. */
static gn_code done_there(gn_admin_job *job, const gn_admin_request *request, gn_node_id leader, uint64_t within_ns,
                          gn_error *err)
{
    gn_admin_ask ask;
    gn_admin_request handed = *request;
    handed.node = leader;
    gn_admin_send(job->cluster, &ask, &handed, gn_now_ns(job->cluster->world) + within_ns);
    gn_code code = gn_admin_await(&ask);
    if (code == GN_OK)
        gn_jw_raw(job->json, NULL, gn_buf_bytes(&ask.call.response));
    else if (err)
        *err = ask.call.error;
    gn_admin_ask_close(&ask);
    return code;
}

gn_code gn_admin_split(gn_admin_job *job, gn_error *err)
{
    uint64_t group, slot = 0;
    gn_split split;
    gn_group_members members;
    gn_code code = gn_admin_number(job, 0, "a group", &group, err);
    if (code == GN_OK && job->request->n_args > 1)
        code = gn_admin_number(job, 1, "a slot", &slot, err);
    if (code == GN_OK && slot >= GN_SLOTS)
        code = gn_error_set(err, GN_INVALID_PARAMETER, "slots are below %d", GN_SLOTS);
    if (code == GN_OK)
        code = know_group(job->cluster, group, err);
    if (code == GN_OK)
        code = gn_group_members_get(job->cluster, group, &members, err);
    if (code == GN_OK && members.leader != gn_net_self(job->cluster->world) && !job->request->node)
        return done_there(job, job->request, members.leader, SPLIT_NS, err);
    if (code == GN_OK)
        code = gn_split_group(job->cluster, group, (uint32_t)slot, &split, err);
    if (code == GN_OK)
        write_split(job->json, group, &split);
    return code;
}

/* ---- merge ---- */

static void write_merged(gn_json_writer *j, const gn_merged *made)
{
    gn_jw_open(j, NULL, '{');
    gn_jw_u64(j, "group", made->group);
    gn_jw_u64(j, "slot_lo", made->slot_lo);
    gn_jw_u64(j, "slot_hi", made->slot_hi);
    gn_jw_u64(j, "ended", made->victim);
    gn_jw_close(j, '}');
}

/* With the neighbour that was chosen, so that who leads it chooses the same. */
static gn_code merge_there(gn_admin_job *job, uint64_t into, gn_node_id leader, gn_error *err)
{
    char number[24];
    gn_admin_request request = *job->request;
    snprintf(number, sizeof number, "%" PRIu64, into);
    request.n_args = 2;
    request.args[1] = number;
    return done_there(job, &request, leader, MERGE_NS, err);
}

gn_code gn_admin_merge(gn_admin_job *job, gn_error *err)
{
    uint64_t victim, into = 0;
    gn_merged made;
    gn_group_members members;
    gn_code code = gn_admin_number(job, 0, "a group", &victim, err);
    if (code == GN_OK && job->request->n_args > 1)
        code = gn_admin_number(job, 1, "a group", &into, err);
    else if (code == GN_OK)
        code = gn_merge_neighbour(job->cluster, victim, &into, err);
    if (code == GN_OK)
        code = know_group(job->cluster, victim, err);
    if (code == GN_OK)
        code = know_group(job->cluster, into, err);
    if (code == GN_OK)
        code = gn_group_members_get(job->cluster, into, &members, err);
    if (code == GN_OK && members.leader != gn_net_self(job->cluster->world) && !job->request->node)
        return merge_there(job, into, members.leader, err);
    if (code == GN_OK)
        code = gn_merge_groups(job->cluster, victim, into, &made, err);
    if (code == GN_OK)
        write_merged(job->json, &made);
    return code;
}

/* ---- balance ---- */

/* What is to be done, the next first. The meta group's leader does it by itself, some at a time. */
gn_code gn_admin_rebalance(gn_admin_job *job, gn_error *err)
{
    gn_balance_move *moves = gn_xcalloc(MAX_PLAN, sizeof *moves);
    gn_error ignored = {0};
    gn_meta_refresh(job->cluster, true, &ignored);
    gn_placement *p = gn_meta_placement(job->cluster);
    gn_loads loads = {0};
    bool known = gn_loads_gather(job->cluster, &loads);
    size_t n = gn_balance_plan(p, known ? &loads : NULL, moves, MAX_PLAN);
    free(loads.items);
    (void)err;
    gn_jw_open(job->json, NULL, '{');
    gn_jw_open(job->json, "moves", '[');
    for (size_t i = 0; i < n; i++)
        write_move(job->json, &moves[i]);
    gn_jw_close(job->json, ']');
    gn_jw_bool(job->json, "more", n == MAX_PLAN);
    gn_jw_close(job->json, '}');
    gn_placement_release(p);
    free(moves);
    return GN_OK;
}
