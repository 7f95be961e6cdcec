/* Committed entries on their way to the state machine: one batch at a time, in order, nothing before it is on this
 * node's own disk (so the state machine is never ahead of the log, except after an install), nothing during an install.
 */
#include "raft/raft_private.h"

#include <stdlib.h>

static void release_slots(gn_raft_group *group)
{
    for (size_t i = 0; i < group->n_apply_slots; i++)
        gn_raft_segment_unref(group->apply_slots[i].segment);
    group->n_apply_slots = 0;
}

static uint64_t applicable(const gn_raft_group *group)
{
    uint64_t commit = group->raft.commit_index, stored = group->raft.last_stored;
    return commit < stored ? commit : stored;
}

/* The waiting request of this entry, if it is the next one. */
static gn_raft_request *request_of(gn_raft_group *group, uint64_t index, uint64_t term)
{
    gn_raft_request *request = group->waiting.head;
    if (!request || request->index != index)
        return NULL;
    GN_ASSERT(request->term == term);
    return gn_raft_fifo_pop(&group->waiting);
}

static void apply_done(gn_task *task)
{
    gn_raft_group *group = GN_CONTAINER(task, gn_raft_group, apply_task);
    gn_raft_host *host = group->host;
    GN_ASSERT(group->applying);
    group->applying = false;
    release_slots(group);
    if (group->apply_code != GN_OK) {
        gn_raft_group_stop(group, group->apply_code, "the state machine failed");
    } else {
        group->applied = group->apply.last_index;
        gn_raft_log_evict(group);
    }
    gn_raft_group_touch(group);
    gn_raft_host_turn(host);
}

void gn_raft_apply_done(gn_raft_apply *apply, gn_code code)
{
    gn_raft_group *group = apply->group;
    group->apply_code = code;
    group->apply_task.run = apply_done;
    gn_queue_post(group->host->queue, &group->apply_task);
}

static void reserve(gn_raft_group *group, size_t n)
{
    if (n <= group->cap_apply)
        return;
    group->cap_apply = n < 64 ? 64 : GN_RAFT_STEP_ENTRIES;
    group->apply_slots = gn_xrealloc(group->apply_slots, group->cap_apply * sizeof *group->apply_slots);
    group->apply_entries = gn_xrealloc(group->apply_entries, group->cap_apply * sizeof *group->apply_entries);
}

void gn_raft_apply_start(gn_raft_group *group)
{
    if (group->applying || group->stopped || group->closing || group->install != GN_RAFT_INSTALL_NONE ||
        applicable(group) <= group->applied || !gn_raft_state_durable(group))
        return;
    uint64_t from = group->applied + 1, left = applicable(group) - group->applied;
    size_t n = left < GN_RAFT_STEP_ENTRIES ? (size_t)left : GN_RAFT_STEP_ENTRIES, commands = 0;
    reserve(group, n);
    n = gn_raft_log_load(group, from, n, GN_RAFT_STEP_BYTES, group->apply_slots);
    if (n == 0)
        return; /* the host has failed over it */
    group->n_apply_slots = n;
    for (size_t i = 0; i < n; i++) {
        const gn_raft_slot *slot = &group->apply_slots[i];
        if (gn_raft_record_type(slot->record) != RAFT_COMMAND)
            continue;
        uint64_t term = gn_raft_record_term(slot->record);
        group->apply_entries[commands++] = (gn_raft_entry){
            .index = from + i,
            .term = term,
            .command = gn_bytes_of(slot->record + GN_RAFT_RECORD_HEADER, slot->len - GN_RAFT_RECORD_HEADER),
            .request = request_of(group, from + i, term),
        };
    }
    group->applying = true;
    group->apply =
        (gn_raft_apply){.group = group, .n = commands, .entries = group->apply_entries, .last_index = from + n - 1};
    gn_counter_add(group->host->metrics.applied, commands);
    group->fsm.apply(group->fsm.ctx, &group->apply);
}
