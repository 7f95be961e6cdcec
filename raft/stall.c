/* A leader that is heard and yet commits nothing.
 *
 * A leader that hears no majority steps down, and what waits for it ends with that. But followers may answer and store
 * nothing: one installs a snapshot that does not come, another's disk takes for ever. Then nobody would end what waits,
 * not even the closing of the leader's node, whose snapshot may be the very thing that is waited for. So what has
 * waited long while commit stood still ends: of commands in the log the outcome is unknown, the others were not
 * proposed. The leader leads on. */
#include "raft/raft_private.h"

/* Of what this node itself has stored; its own disk is its own affair. */
static bool others_are_waited_for(const gn_raft_group *group)
{
    return group->leads && !group->stopped && group->raft.last_stored > group->commit;
}

void gn_raft_stall_check(gn_raft_group *group)
{
    uint64_t now = gn_raft_now_ms(group->host);
    if (!others_are_waited_for(group) || group->commit != group->stall_commit || group->stall_ms == 0) {
        group->stall_commit = group->commit;
        group->stall_ms = now;
        return;
    }
    if (now - group->stall_ms < GN_RAFT_STALL_MS)
        return;
    group->stall_ms = now;
    if (group->waiting.n || group->pending.n || group->reads.n)
        gn_log_warn("raft", "no majority stores what this leader sends", GN_KV_U64("group", group->id),
                    GN_KV_U64("committed", group->commit), GN_KV_U64("last", group->last_index),
                    GN_KV_U64("seconds", GN_RAFT_STALL_MS / 1000));
    if (group->lead_first)
        group->lead_first =
            group->last_index; /* reads wait until it is known what becomes of them, as after an election */
    gn_raft_waiting_fail(group);
    gn_raft_fifo_finish(&group->pending, GN_UNAVAILABLE, group->leader);
    if (!gn_raft_can_read(group))
        gn_raft_fifo_finish(&group->reads, GN_UNAVAILABLE, group->leader);
}
