/* A group: opening and closing, the advance at the end of a turn, fail-stop, the status. */
#include "raft/raft_private.h"

#include <inttypes.h>
#include <stdlib.h>

bool gn_raft_can_read(const gn_raft_group *group)
{
    return group->leads && group->lead_first != 0 && group->raft.commit_index >= group->lead_first;
}

bool gn_raft_state_durable(const gn_raft_group *group)
{
    return group->state_seq <= group->host->durable_seq;
}

void gn_raft_group_touch(gn_raft_group *group)
{
    if (group->touched)
        return;
    group->touched = true;
    group->touched_next = group->host->touched;
    group->host->touched = group;
}

/* ---- status ---- */

void gn_raft_group_publish(gn_raft_group *group)
{
    const struct raft *raft = &group->raft;
    gn_raft_status *status = &group->status;
    pthread_mutex_lock(&group->status_lock);
    status->id = group->id;
    status->term = group->term;
    status->last_index = group->last_index;
    status->last_term = group->last_term;
    status->applied_index = group->applied;
    status->snapshot_index = group->snapshot.index;
    status->first_index = group->first_index;
    status->leader = group->leader;
    status->leads = group->leads;
    status->can_read = group->started && gn_raft_can_read(group);
    status->stopped = group->stopped;
    if (group->started) {
        status->commit_index = raft->commit_index;
        status->n_members = raft->configuration.n;
        for (unsigned i = 0; i < raft->configuration.n && i < GN_MAX_PEERS; i++) {
            status->members[i].id = raft->configuration.servers[i].id;
            status->members[i].role =
                raft->configuration.servers[i].role == RAFT_VOTER ? GN_RAFT_VOTER : GN_RAFT_NON_VOTER;
        }
    }
    group->reads_alone = status->can_read && !group->stopped && !group->closing &&
                         group->applied >= group->lead_first && gn_raft_is_sole_voter(group);
    pthread_mutex_unlock(&group->status_lock);
}

void gn_raft_status_get(gn_raft_group *group, gn_raft_status *out)
{
    pthread_mutex_lock(&group->status_lock);
    *out = group->status;
    pthread_mutex_unlock(&group->status_lock);
}

gn_node_id gn_raft_leader(gn_raft_group *group, uint64_t *term)
{
    pthread_mutex_lock(&group->status_lock);
    gn_node_id leader = group->status.leader;
    *term = group->status.term;
    pthread_mutex_unlock(&group->status_lock);
    return leader;
}

uint64_t gn_raft_applied(gn_raft_group *group)
{
    pthread_mutex_lock(&group->status_lock);
    uint64_t index = group->status.applied_index;
    pthread_mutex_unlock(&group->status_lock);
    return index;
}

bool gn_raft_is_member(gn_raft_group *group, gn_node_id id)
{
    bool found = false;
    pthread_mutex_lock(&group->status_lock);
    for (size_t i = 0; i < group->status.n_members && i < GN_MAX_PEERS; i++)
        found |= group->status.members[i].id == id;
    pthread_mutex_unlock(&group->status_lock);
    return found;
}

/* ---- requests ---- */

static void refuse(gn_raft_request *request, gn_code code)
{
    gn_raft_finish(request, code);
}

void gn_raft_group_route(gn_raft_group *group, gn_raft_request *request)
{
    if (group->stopped || group->closing) {
        refuse(request, group->stopped ? GN_CRASH_SHUTDOWN : GN_SHUTDOWN);
        return;
    }
    request->leader = group->leader;
    if (request->kind == GN_RAFT_SNAPSHOT_NOW) {
        gn_raft_snapshot_now(group, request);
    } else if (!group->leads ||
               (request->kind == GN_RAFT_SUBMIT && request->only_term != 0 && request->only_term != group->term)) {
        refuse(request, GN_NOT_LEADER);
    } else if (request->kind == GN_RAFT_SUBMIT) {
        if (request->command.len > GN_MAX_ENTRY - GN_RAFT_RECORD_HEADER)
            refuse(request, GN_LIMIT);
        else if (group->pending.n >= GN_RAFT_PENDING_REQUESTS)
            refuse(request, GN_UNAVAILABLE);
        else
            gn_raft_fifo_push(&group->pending, request);
    } else if (request->kind == GN_RAFT_READ) {
        gn_raft_read_add(group, request);
    } else if (request->kind == GN_RAFT_TELL) {
        gn_raft_wish_add(group, request->target);
        gn_raft_finish(request, GN_OK);
    } else if (request->kind == GN_RAFT_TRANSFER) {
        gn_raft_transfer_add(group, request);
    } else {
        gn_raft_membership_add(group, request);
    }
    gn_raft_group_touch(group);
}

/* Everything that waits ends. Of commands the outcome is unknown: their entries may be in a log already. */
static void fail_requests(gn_raft_group *group, gn_code code)
{
    gn_raft_fifo_finish(&group->pending, code, group->leader);
    gn_raft_fifo_finish(&group->waiting, code, group->leader);
    gn_raft_read_fail(group, code);
    gn_raft_membership_fail(group, code);
    gn_raft_transfer_fail(group, code);
    if (group->snapshot_request) {
        gn_raft_request *request = group->snapshot_request;
        group->snapshot_request = NULL;
        gn_raft_finish(request, code);
    }
}

static void abdicate(gn_raft_group *group)
{
    if (!group->leads)
        return;
    group->leads = false;
    group->leader = 0;
    gn_gauge_add(group->host->metrics.leaders, -1);
    if (group->fsm.leadership)
        group->fsm.leadership(group->fsm.ctx, false, group->term);
}

void gn_raft_group_stop(gn_raft_group *group, gn_code code, const char *why)
{
    if (group->stopped)
        return;
    gn_log_error("raft", "group stops", GN_KV_U64("group", group->id), GN_KV_STR("code", gn_code_name(code)),
                 GN_KV_STR("why", why));
    group->stopped = true;
    group->stop_code = code;
    gn_raft_deadline_remove(group);
    abdicate(group);
    gn_raft_group_publish(group); /* before anybody hears of it */
    fail_requests(group, GN_CRASH_SHUTDOWN);
    if (group->opened && !group->closing) {
        group->open_code = code;
        gn_event *opened = group->opened;
        group->opened = NULL;
        gn_event_signal(opened);
    }
    gn_raft_group_touch(group);
}

/* ---- closing ---- */

/* After a failure what has been gathered is never written. */
static bool awaits_write(const gn_raft_group *group)
{
    unsigned filling = group->host->filling;
    return group->part[filling ^ 1].in || (group->part[filling].in && !group->host->failed);
}

bool gn_raft_group_quiescent(const gn_raft_group *group)
{
    return !group->applying && !awaits_write(group) && !gn_raft_snapshot_busy(group);
}

static void finish_close(gn_raft_group *group)
{
    gn_event *closed = group->closed;
    gn_raft_submit_forget(group);
    gn_raft_host_forget(group->host, group);
    gn_event_signal(closed); /* the last touch: the closing thread frees it */
}

/* ---- the advance ---- */

static void report_open(gn_raft_group *group)
{
    if (!group->opened || group->applied < group->open_index)
        return;
    gn_event *opened = group->opened;
    group->opened = NULL;
    gn_event_signal(opened);
}

/* Everything that may have become possible. Each step touches the group again, so this ends when nothing moves. */
void gn_raft_group_advance(gn_raft_group *group)
{
    if (group->closing) {
        if (gn_raft_group_quiescent(group))
            finish_close(group);
        return;
    }
    if (group->stopped || !group->started)
        return;
    /* A leader of an older log cannot commit before an entry of its own term is there (figure 8); the core brings one
     * only where uncommitted entries wait. */
    if (group->leads && group->lead_first == 0)
        gn_raft_submit_barrier(group);
    if (!group->stopped)
        gn_raft_membership_advance(group);
    if (!group->stopped)
        gn_raft_transfer_advance(group);
    if (!group->stopped)
        gn_raft_submit_pending(group);
    if (!group->stopped)
        gn_raft_apply_start(group);
    if (!group->stopped)
        gn_raft_read_advance(group);
    if (!group->stopped)
        gn_raft_snapshot_advance(group);
    if (!group->stopped && group->started) { /* it may have begun anew */
        gn_raft_wishes_advance(group);
        gn_raft_outbox_flush(group);
        gn_raft_deadline_update(group);
    }
    gn_raft_group_publish(group);
    if (!group->stopped && group->started)
        report_open(group); /* whoever waits for it may ask at once how it is */
}

/* ---- opening ---- */

/* The first records of a new group, or what an interrupted install needed, are durable. */
void gn_raft_group_created(gn_raft_group *group)
{
    GN_ASSERT(!group->started);
    group->creating = false;
    gn_raft_step_start(group);
    group->open_index = group->raft.commit_index;
    gn_raft_install_tell_undone(group);
}

/* Term 1 and, as entry 1, the configuration: the same bytes on every member. */
static void create(gn_raft_group *group)
{
    gn_raft_recovery *recovery = group->recovery;
    gn_raft_segment *segment = recovery->snapshot_bytes; /* entry 1, lent by gn_raft_group_open */
    uint8_t state[GN_RAFT_STATE_SIZE];
    gn_raft_state_write(state, group->id, 1, 0);
    recovery->snapshot_bytes = NULL;
    gn_raft_batch_put(group, GN_RAFT_KIND_STATE, 0, NULL, gn_bytes_of(state, sizeof state));
    gn_raft_batch_put(group, GN_RAFT_KIND_ENTRY, 1, segment, gn_bytes_of(segment->data, segment->len));
    gn_raft_batch_part(group)->create = true;
    group->state_seq = group->host->batch[group->host->filling].seq;
    gn_raft_segment_unref(segment);
}

/* Before any entry is added to the log: those of the old log behind the snapshot would seem to follow it. */
static void end_install(gn_raft_group *group)
{
    gn_raft_batch_delete(group, GN_RAFT_KIND_INSTALL, 0, UINT64_MAX);
    if (group->recovery->installed) {
        gn_raft_segment *snapshot = group->recovery->snapshot_bytes;
        gn_raft_batch_delete(group, GN_RAFT_KIND_ENTRY, 0, UINT64_MAX);
        gn_raft_batch_put(group, GN_RAFT_KIND_SNAPSHOT, 0, snapshot, gn_bytes_of(snapshot->data, snapshot->len));
    }
    gn_raft_batch_part(group)->create = true;
}

/* What the core and the log had in memory, forgotten. */
static void forget(gn_raft_group *group)
{
    group->raft.update = NULL;
    raft_close(&group->raft, NULL);
    group->started = false;
    gn_raft_snapshot_close(group);
    group->snapshot_bytes = group->taken_bytes = group->install_bytes = NULL;
    group->snapshot = group->taken = group->install_record = (gn_raft_snapshot_record){0};
    group->install_metadata = (struct raft_snapshot_metadata){0};
    group->install = GN_RAFT_INSTALL_NONE;
    gn_raft_log_reset(group, 0, 0);
    group->changes_fired = group->average_entry = 0;
    group->n_sent = group->n_outbox = 0;
    group->lead_first = 0;
    group->leader = 0;
}

void gn_raft_group_reopen(gn_raft_group *group)
{
    gn_error err = {0};
    GN_ASSERT(gn_raft_group_quiescent(group) && group->started && !group->leads);
    gn_raft_deadline_remove(group);
    fail_requests(group, GN_UNAVAILABLE);
    forget(group);
    gn_code code = gn_raft_recover(group, group->applied, &err);
    if (code != GN_OK) { /* the log's disk: the node is to be started again, not to go on without this group */
        gn_raft_host_fail(group->host, code, err.message);
        return;
    }
    GN_ASSERT(group->recovery->interrupted && !group->recovery->installed);
    end_install(group);
    gn_raft_group_publish(group);
}

static void open_task(gn_task *task)
{
    gn_raft_group *group = GN_CONTAINER(task, gn_raft_group, task);
    gn_raft_host *host = group->host;
    if (host->failed || gn_raft_host_find(host, group->id)) {
        group->open_code = host->failed ? GN_CRASH_SHUTDOWN : GN_OBJECT_IN_USE;
        gn_event_signal(group->opened);
        return;
    }
    gn_raft_host_add(host, group);
    group->registered = true;
    if (group->creating) {
        create(group);
    } else if (group->recovery->interrupted) {
        end_install(group);
    } else {
        gn_raft_step_start(group);
        group->open_index = group->raft.commit_index;
    }
    gn_raft_group_touch(group);
    gn_raft_host_turn(host);
}

static void free_group(gn_raft_group *group)
{
    gn_raft_recovery_destroy(group->recovery);
    if (group->started) {
        group->raft.update = NULL;
        raft_close(&group->raft, NULL);
    }
    gn_raft_snapshot_close(group);
    gn_raft_tail_close(&group->tail);
    for (size_t i = 0; i < group->n_changes; i++)
        free(group->changes[i].data);
    free(group->changes);
    free(group->marks);
    free(group->outbox);
    for (size_t i = 0; i < group->n_apply_slots; i++)
        gn_raft_segment_unref(group->apply_slots[i].segment);
    free(group->apply_entries);
    free(group->apply_slots);
    pthread_mutex_destroy(&group->status_lock);
    free(group);
}

static gn_code check_members(const gn_raft_group *group, const gn_raft_member *members, size_t n, gn_error *err)
{
    bool self = false, voter = false;
    if (group->id == 0)
        return gn_error_set(err, GN_INVALID_PARAMETER, "a Raft group's id must not be 0");
    if (n > GN_MAX_PEERS)
        return gn_error_set(err, GN_LIMIT, "a Raft group has at most %d members", GN_MAX_PEERS);
    for (size_t i = 0; i < n; i++) {
        self |= members[i].id == group->host->self;
        voter |= members[i].role == GN_RAFT_VOTER;
        bool twice = false;
        for (size_t j = 0; j < i; j++)
            twice |= members[j].id == members[i].id;
        if (members[i].id == 0 || twice)
            return gn_error_set(err, GN_INVALID_PARAMETER, "the members' ids must be distinct and not 0");
    }
    if (n > 0 && (!self || !voter))
        return gn_error_set(err, GN_INVALID_PARAMETER, "the members must include this node and a voter");
    return GN_OK;
}

/* The group is new to this node: entry 1 in memory. */
static void prepare_create(gn_raft_group *group, const gn_raft_member *members, size_t n)
{
    gn_raft_recovery *recovery = group->recovery;
    gn_bytes encoded = gn_raft_configuration_encode(members, n);
    gn_raft_record record = {.term = 1, .type = RAFT_CHANGE, .payload = encoded};
    gn_raft_segment *segment = gn_raft_segment_create(GN_RAFT_RECORD_HEADER + encoded.len);
    gn_raft_record_write(segment->data, group->id, 1, &record);
    recovery->snapshot_bytes = segment;
    recovery->term = 1;
    recovery->first_index = 1;
    recovery->terms = gn_xcalloc(1, sizeof *recovery->terms);
    recovery->types = gn_xcalloc(1, sizeof *recovery->types);
    recovery->terms[0] = 1;
    recovery->types[0] = RAFT_CHANGE;
    recovery->n = recovery->cap = 1;
    gn_raft_log_note(group, 1, RAFT_CHANGE, encoded, segment->len);
    group->last_term = 1;
    group->creating = true;
    raft_free((void *)(uintptr_t)encoded.data);
}

gn_code gn_raft_group_open(gn_raft_host *host, uint64_t id, const gn_raft_fsm *fsm, uint64_t applied_index,
                           const gn_raft_member *members, size_t n, gn_raft_group **out, gn_error *err)
{
    gn_raft_group *group = gn_xcalloc(1, sizeof *group);
    gn_event opened;
    group->host = host;
    group->id = id;
    group->fsm = *fsm;
    group->applied = applied_index;
    pthread_mutex_init(&group->status_lock, NULL);
    gn_code code = check_members(group, members, n, err);
    if (code == GN_OK)
        code = gn_raft_recover(group, applied_index, err);
    if (code != GN_OK) {
        free_group(group);
        return code;
    }
    if (!group->recovery->found && n > 0)
        prepare_create(group, members, n);
    gn_event_init(&opened, host->world);
    group->opened = &opened;
    group->task.run = open_task;
    gn_queue_post(host->queue, &group->task);
    gn_event_wait(&opened, UINT64_MAX);
    *out = group;
    if (group->open_code == GN_OK)
        return GN_OK;
    code =
        gn_error_set(err, group->open_code, "group %" PRIu64 " could not be opened: %s", id,
                     group->open_code == GN_OBJECT_IN_USE ? "it is open already" : "its log or state machine failed");
    if (group->registered)
        gn_raft_group_close(group);
    else
        free_group(group);
    *out = NULL;
    return code;
}

static void close_task(gn_task *task)
{
    gn_raft_group *group = GN_CONTAINER(task, gn_raft_group, task);
    gn_raft_host *host = group->host;
    group->closing = true;
    gn_raft_deadline_remove(group);
    abdicate(group);
    fail_requests(group, group->stopped ? GN_CRASH_SHUTDOWN : GN_SHUTDOWN);
    gn_raft_group_publish(group);
    gn_raft_group_touch(group);
    gn_raft_host_turn(host);
}

void gn_raft_group_close(gn_raft_group *group)
{
    gn_event closed;
    gn_event_init(&closed, group->host->world);
    group->closed = &closed;
    group->task.run = close_task;
    gn_queue_post(group->host->queue, &group->task);
    gn_event_wait(&closed, UINT64_MAX);
    free_group(group);
}
