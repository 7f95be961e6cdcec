/* Membership: one server at a time (thesis 4.1), one change under way. A new server comes as a non-voter; it votes only
 * after it has caught up. A change waits until the leader has committed in its own term, is an entry of its own, goes
 * to others only once it is durable here (transport.c), and never concerns the leader itself: it hands over first. */
#include "raft/raft_private.h"

static const struct raft_server *server_of(const gn_raft_group *group, gn_node_id id)
{
    const struct raft_configuration *c = &group->raft.configuration;
    for (unsigned i = 0; i < c->n; i++)
        if (c->servers[i].id == id)
            return &c->servers[i];
    return NULL;
}

static gn_code check(const gn_raft_group *group, const gn_raft_request *request)
{
    const struct raft_server *server = request->target ? server_of(group, request->target) : NULL;
    if (request->target == 0)
        return GN_INVALID_PARAMETER;
    if (request->kind == GN_RAFT_ADD)
        return server ? GN_DUPLICATE_OBJECT : group->raft.configuration.n >= GN_MAX_PEERS ? GN_LIMIT : GN_OK;
    if (!server)
        return GN_NO_OBJECT;
    if (request->kind == GN_RAFT_PROMOTE)
        return server->role == RAFT_VOTER ? GN_NOT_IN_STATE : GN_OK;
    return request->target == group->host->self ? GN_NOT_IN_STATE : GN_OK;
}

void gn_raft_membership_add(gn_raft_group *group, gn_raft_request *request)
{
    gn_code code = group->change ? GN_OBJECT_IN_USE : check(group, request);
    if (code != GN_OK) {
        gn_raft_finish(request, code);
        return;
    }
    group->change = request;
    group->change_submitted = group->change_catching_up = false;
}

static void finish(gn_raft_group *group, gn_code code)
{
    gn_raft_request *request = group->change;
    group->change = NULL;
    request->leader = group->leader;
    gn_raft_group_publish(group);
    gn_raft_finish(request, code);
}

static void submit(gn_raft_group *group)
{
    const struct raft_configuration *c = &group->raft.configuration;
    gn_raft_request *request = group->change;
    gn_raft_member members[GN_MAX_PEERS + 1];
    size_t n = 0;
    for (unsigned i = 0; i < c->n; i++) {
        bool target = c->servers[i].id == request->target;
        if (target && request->kind == GN_RAFT_REMOVE)
            continue;
        bool voter = c->servers[i].role == RAFT_VOTER || (target && request->kind == GN_RAFT_PROMOTE);
        members[n++] = (gn_raft_member){c->servers[i].id, voter ? GN_RAFT_VOTER : GN_RAFT_NON_VOTER};
    }
    if (request->kind == GN_RAFT_ADD)
        members[n++] = (gn_raft_member){request->target, GN_RAFT_NON_VOTER};
    request->index = group->last_index + 1;
    request->term = group->term;
    group->change_submitted = true;
    gn_log_info("raft", "membership change", GN_KV_U64("group", group->id), GN_KV_U64("server", request->target),
                GN_KV_STR("change", request->kind == GN_RAFT_ADD       ? "add"
                                    : request->kind == GN_RAFT_PROMOTE ? "promote"
                                                                       : "remove"));
    if (!gn_raft_submit_change(group, members, n) && group->change == request) {
        group->change_submitted = false;
        finish(group, GN_UNAVAILABLE);
    }
}

/* The core looks at a server's progress only when it acknowledges something new: in an idle group a server that has
 * everything would never be seen to have caught up. A barrier gives it something, and shows that it is still there. */
static void begin_catch_up(gn_raft_group *group)
{
    struct raft_event event = {.type = RAFT_CATCH_UP};
    raft_index match = 0;
    event.catch_up.server_id = group->change->target;
    group->change_catching_up = true;
    group->change_began_ms = gn_raft_now_ms(group->host);
    raft_set_max_catch_up_round_duration(&group->raft, GN_RAFT_CATCH_UP_MS);
    if (raft_match_index(&group->raft, group->change->target, &match) == 0 && match == group->last_index)
        gn_raft_submit_barrier(group);
    if (!group->stopped)
        gn_raft_step(group, &event);
}

/* One that is gone would hold up every other change, the one that replaces it too. The core ends a catching up only
 * when a round takes too long, at its next tick. */
static void give_up_on_silence(gn_raft_group *group)
{
    uint64_t since = gn_raft_transport_heard_ms(group->host, group->change->target);
    if (since < group->change_began_ms)
        since = group->change_began_ms;
    if (gn_raft_now_ms(group->host) - since > GN_RAFT_CATCH_UP_SILENCE_MS)
        raft_set_max_catch_up_round_duration(&group->raft, 0);
}

/* True when the server to be promoted has caught up; ends the request when it did not. */
static bool caught_up(gn_raft_group *group)
{
    int status = RAFT_CATCH_UP_NONE;
    if (!group->change_catching_up) {
        begin_catch_up(group);
        return false;
    }
    if (raft_catch_up(&group->raft, group->change->target, &status) != 0 ||
        (status != RAFT_CATCH_UP_RUNNING && status != RAFT_CATCH_UP_FINISHED)) {
        finish(group, GN_UNAVAILABLE);
        return false;
    }
    if (status == RAFT_CATCH_UP_RUNNING)
        give_up_on_silence(group);
    return status == RAFT_CATCH_UP_FINISHED;
}

void gn_raft_membership_advance(gn_raft_group *group)
{
    if (!group->change || group->change_submitted || !gn_raft_can_read(group) || group->transfer ||
        group->raft.configuration_uncommitted_index != 0)
        return;
    gn_code code = check(group, group->change);
    if (code != GN_OK)
        finish(group, code); /* an earlier leader's change became known meanwhile */
    else if (group->change->kind != GN_RAFT_PROMOTE || caught_up(group))
        submit(group);
}

void gn_raft_membership_committed(gn_raft_group *group, uint64_t index)
{
    if (group->change && group->change_submitted && group->change->index == index)
        finish(group, GN_OK);
}

void gn_raft_membership_fail(gn_raft_group *group, gn_code code)
{
    if (group->change)
        finish(group, code == GN_NOT_LEADER && group->change_submitted ? GN_OUTCOME_UNKNOWN : code);
}
