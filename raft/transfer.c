/* Leadership transfer (thesis 3.10). Under load a bare transfer mostly fails, since the target never has everything; so
 * submits wait until it has, and only then is it told to campaign. */
#include "raft/raft_private.h"

void gn_raft_transfer_add(gn_raft_group *group, gn_raft_request *request)
{
    const struct raft_configuration *c = &group->raft.configuration;
    gn_code code = GN_NO_OBJECT;
    for (unsigned i = 0; i < c->n; i++)
        if (c->servers[i].id == request->target)
            code = c->servers[i].role == RAFT_VOTER && request->target != group->host->self ? GN_OK : GN_NOT_IN_STATE;
    raft_index match = 0; /* the group waits until the target has everything: not for one that is far behind */
    if (code == GN_OK && (raft_match_index(&group->raft, request->target, &match) != 0 ||
                          match + GN_RAFT_STEP_ENTRIES < group->last_index))
        code = GN_UNAVAILABLE;
    if (group->transfer || (group->change && group->change_catching_up))
        code = GN_OBJECT_IN_USE;
    if (code == GN_OK && !gn_raft_transport_hears(group->host, request->target))
        code = GN_UNAVAILABLE; /* submits need not wait to find that out */
    if (code != GN_OK) {
        gn_raft_finish(request, code);
        return;
    }
    group->transfer = request;
    group->transfer_sent = false;
    group->transfer_deadline_ms = gn_raft_now_ms(group->host) + 2 * group->host->options.election_timeout_ms;
}

static void finish(gn_raft_group *group, gn_code code)
{
    gn_raft_request *request = group->transfer;
    group->transfer = NULL;
    request->leader = group->leader;
    gn_log_info("raft", "leadership transfer ends", GN_KV_U64("group", group->id), GN_KV_U64("target", request->target),
                GN_KV_STR("code", gn_code_name(code)));
    gn_raft_group_publish(group);
    gn_raft_finish(request, code);
}

static bool target_has_everything(gn_raft_group *group)
{
    raft_index match = 0;
    return raft_match_index(&group->raft, group->transfer->target, &match) == 0 && match == group->last_index &&
           group->raft.commit_index == group->last_index;
}

static void hand_over(gn_raft_group *group)
{
    struct raft_event event = {.type = RAFT_TRANSFER};
    event.transfer.server_id = group->transfer->target;
    group->transfer_sent = true;
    if (gn_raft_step(group, &event) != 0 && group->transfer)
        finish(group, GN_UNAVAILABLE);
}

void gn_raft_transfer_advance(gn_raft_group *group)
{
    if (!group->transfer)
        return;
    bool late = gn_raft_now_ms(group->host) >= group->transfer_deadline_ms;
    if (!group->leads) { /* the new leader's first message tells who it is */
        if (group->leader != 0 || late)
            finish(group, group->leader == group->transfer->target ? GN_OK : GN_UNAVAILABLE);
    } else if (group->transfer_sent) {
        if (raft_transferee(&group->raft) == 0) /* the core gave up */
            finish(group, GN_UNAVAILABLE);
    } else if (target_has_everything(group)) {
        hand_over(group);
    } else if (late) {
        finish(group, GN_UNAVAILABLE);
    }
}

void gn_raft_transfer_fail(gn_raft_group *group, gn_code code)
{
    if (group->transfer)
        finish(group, code);
}
