/* Snapshots: asked of the state machine by bytes of log, written beside the log before the core hears of them, and
 * installed in three durable steps.
 *
 * A snapshot's record is metadata and the state machine's manifest. Taken:
 *     ask -> answer -> record durable -> core told -> log cut (below what the state machine has made durable)
 * Installed, after the core has accepted a leader's snapshot and forgotten its log:
 *     WAITS (for the batch or snapshot that the state machine has in hand) -> BEGINS (a record that says so is written)
 *     -> RUNS (the state machine replaces its state) -> ENDS (the snapshot's record replaces the log) -> core told
 * After a crash between RUNS and ENDS the state machine may be ahead of the log, or the log contradict it: entries of
 * an old leader can reach beyond the snapshot. So the record of BEGINS is the whole record of the snapshot, and the
 * opening of the group ends the install with it, or takes it back where the state machine had not done its part
 * (recovery.c).
 *
 * A state machine that cannot get what the manifest names says so, unchanged (UNDONE). The core has forgotten its log
 * by then, listens to no further snapshot and grants no vote while an install runs; so the group begins anew from the
 * disk, exactly as after a crash at this point: with the old log, a vote, and an ear for a newer snapshot. */
#include "raft/raft_private.h"

#include <stdlib.h>

static gn_raft_segment *encode(gn_raft_group *group, const gn_raft_snapshot_record *record,
                               gn_raft_snapshot_record *borrowed)
{
    gn_buf buf;
    gn_buf_init(&buf, NULL, SIZE_MAX);
    gn_raft_snapshot_write(&buf, group->id, record);
    GN_ASSERT(!buf.failed);
    gn_raft_segment *segment = gn_raft_segment_create(buf.len);
    memcpy(segment->data, buf.data, buf.len);
    gn_buf_close(&buf);
    bool valid = gn_raft_snapshot_read(gn_bytes_of(segment->data, segment->len), group->id, borrowed);
    GN_ASSERT(valid);
    return segment;
}

static void adopt(gn_raft_group *group, gn_raft_segment **bytes, const gn_raft_snapshot_record *record)
{
    gn_raft_segment_unref(group->snapshot_bytes);
    group->snapshot_bytes = *bytes;
    group->snapshot = *record;
    *bytes = NULL;
}

static void finish_request(gn_raft_group *group, gn_code code)
{
    gn_raft_request *request = group->snapshot_request;
    if (!request)
        return;
    group->snapshot_request = NULL;
    request->index = group->snapshot.index;
    gn_raft_group_publish(group);
    gn_raft_finish(request, code);
}

/* ---- taking ---- */

void gn_raft_snapshot_now(gn_raft_group *group, gn_raft_request *request)
{
    if (group->snapshot_request)
        gn_raft_finish(request, GN_OBJECT_IN_USE);
    else
        group->snapshot_request = request;
}

/* A seed has no files for a member that lacks the state machine, and without that member the group may not be able to
 * commit anything: so its snapshot may be taken once more, at the same index. */
static bool is_seed(const gn_raft_group *group, uint64_t index)
{
    return index == GN_RAFT_SEED_INDEX && index == group->snapshot.index;
}

static bool wanted(gn_raft_group *group)
{
    if (group->snapshot_request && is_seed(group, group->applied))
        return true;
    if (group->applied <= group->snapshot.index || group->applied > group->raft.last_stored)
        return false;
    uint64_t since =
        group->log_bytes_snapshot > group->asked_log_bytes ? group->log_bytes_snapshot : group->asked_log_bytes;
    return group->snapshot_request || group->log_bytes - (since < group->log_bytes ? since : group->log_bytes) >=
                                          group->host->options.snapshot_threshold_bytes;
}

static void drop_answer(gn_raft_group *group)
{
    free(group->snapshot_answer.data);
    group->snapshot_answer = (gn_raft_snapshot){0};
    group->answered = false;
}

static void answer_task(gn_task *task)
{
    gn_raft_group *group = GN_CONTAINER(task, gn_raft_group, snapshot_task);
    gn_raft_host *host = group->host;
    GN_ASSERT(group->taking);
    group->taking = false;
    group->answered = true;
    if (group->snapshot_code != GN_OK) {
        gn_log_warn("raft", "the state machine took no snapshot", GN_KV_U64("group", group->id),
                    GN_KV_STR("code", gn_code_name(group->snapshot_code)));
        drop_answer(group);
        finish_request(group, group->snapshot_code);
    }
    gn_raft_group_touch(group);
    gn_raft_host_turn(host);
}

void gn_raft_snapshot_taken(gn_raft_group *group, gn_code code, const gn_raft_snapshot *snapshot)
{
    group->snapshot_code = code;
    group->snapshot_answer = code == GN_OK ? *snapshot : (gn_raft_snapshot){0};
    group->snapshot_task.run = answer_task;
    gn_queue_post(group->host->queue, &group->snapshot_task);
}

/* The term of an applied entry that is still in the log. False when the host failed over reading it. */
static bool term_at(gn_raft_group *group, uint64_t index, uint64_t *term)
{
    gn_raft_slot slot;
    if (gn_raft_log_load(group, index, 1, 0, &slot) == 0)
        return false;
    *term = gn_raft_record_term(slot.record);
    gn_raft_segment_unref(slot.segment);
    return true;
}

static void write_answer(gn_raft_group *group)
{
    gn_raft_snapshot *answer = &group->snapshot_answer;
    const gn_raft_change *change = gn_raft_log_configuration_at(group, answer->index);
    gn_raft_snapshot_record record = {.index = answer->index, .manifest = gn_bytes_of(answer->data, answer->len)};
    GN_ASSERT(answer->len <= GN_MAX_RAFT_MANIFEST && change);
    if (is_seed(group, answer->index))
        record.term = group->snapshot.term;
    else if (!term_at(group, answer->index, &record.term))
        return;
    record.configuration_index = change->index;
    record.configuration = gn_bytes_of(change->data, change->len);
    group->taken_bytes = encode(group, &record, &group->taken);
    gn_raft_batch_put(group, GN_RAFT_KIND_SNAPSHOT, 0, group->taken_bytes,
                      gn_bytes_of(group->taken_bytes->data, group->taken_bytes->len));
    gn_raft_batch_part(group)->snapshot = true;
    drop_answer(group);
}

/* The changes before the snapshot's configuration are needed no more. */
static void drop_old_changes(gn_raft_group *group)
{
    size_t old = 0;
    while (old + 1 < group->n_changes && group->changes[old + 1].index <= group->snapshot.index)
        free(group->changes[old++].data);
    memmove(group->changes, group->changes + old, (group->n_changes - old) * sizeof *group->changes);
    group->n_changes -= old;
}

void gn_raft_snapshot_durable(gn_raft_group *group)
{
    if (group->install != GN_RAFT_INSTALL_NONE) { /* overtaken: the install's record will replace it */
        gn_raft_segment_unref(group->taken_bytes);
        group->taken_bytes = NULL;
        finish_request(group, GN_UNAVAILABLE);
        return;
    }
    if (is_seed(group, group->taken.index)) { /* the core knows it */
        adopt(group, &group->taken_bytes, &group->taken);
        finish_request(group, GN_OK);
        return;
    }
    struct raft_event event = {.type = RAFT_SNAPSHOT};
    uint64_t cut = gn_raft_log_cut_index(group, group->taken.index);
    if (cut < group->first_index)
        cut = group->first_index - 1;
    if (cut > group->taken.index)
        cut = group->taken.index;
    event.snapshot.metadata.index = group->taken.index;
    event.snapshot.metadata.term = group->taken.term;
    event.snapshot.metadata.configuration_index = group->taken.configuration_index;
    gn_raft_configuration_decode(group->taken.configuration, &event.snapshot.metadata.configuration);
    event.snapshot.trailing = (unsigned)(group->taken.index - cut);
    adopt(group, &group->taken_bytes, &group->taken);
    if (gn_raft_step(group, &event) != 0)
        return;
    for (size_t i = 0; i < group->n_marks && group->marks[i].index <= group->snapshot.index; i++)
        group->log_bytes_snapshot = group->marks[i].bytes;
    gn_raft_log_cut(group, cut);
    drop_old_changes(group);
    gn_counter_add(group->host->metrics.snapshots_taken, 1);
    gn_log_info("raft", "snapshot", GN_KV_U64("group", group->id), GN_KV_U64("index", group->snapshot.index),
                GN_KV_U64("first", group->first_index));
    finish_request(group, GN_OK);
}

/* ---- installing ---- */

void gn_raft_install_begin(gn_raft_group *group, const struct raft_snapshot_metadata *metadata,
                           struct raft_buffer *chunk)
{
    struct raft_buffer configuration;
    GN_ASSERT(group->install == GN_RAFT_INSTALL_NONE && metadata->index > group->snapshot.index);
    int rv = raft_configuration_encode(&metadata->configuration, &configuration);
    GN_ASSERT(rv == 0);
    gn_raft_snapshot_record record = {
        .index = metadata->index,
        .term = metadata->term,
        .configuration_index = metadata->configuration_index,
        .configuration = gn_bytes_of(configuration.base, configuration.len),
        .manifest = gn_bytes_of(chunk->base, chunk->len),
    };
    group->install = GN_RAFT_INSTALL_WAITS;
    group->install_metadata = *metadata;
    group->install_bytes = encode(group, &record, &group->install_record);
    raft_free(configuration.base);
    raft_free(chunk->base);
    gn_raft_log_reset(group, metadata->index, metadata->term);
    gn_raft_fifo_finish(&group->waiting, GN_OUTCOME_UNKNOWN, group->leader); /* applied elsewhere, if at all */
    gn_log_info("raft", "snapshot from the leader", GN_KV_U64("group", group->id), GN_KV_U64("index", metadata->index));
}

/* The snapshot's record takes the place of the log. */
static void install_end(gn_raft_group *group)
{
    group->install = GN_RAFT_INSTALL_ENDS;
    gn_raft_batch_delete(group, GN_RAFT_KIND_ENTRY, 0, UINT64_MAX);
    gn_raft_batch_delete(group, GN_RAFT_KIND_INSTALL, 0, group->install_record.index + 1);
    gn_raft_batch_put(group, GN_RAFT_KIND_SNAPSHOT, 0, group->install_bytes,
                      gn_bytes_of(group->install_bytes->data, group->install_bytes->len));
    gn_raft_batch_part(group)->install_ends = true;
}

/* A state machine that is ahead already, by an install that a crash cut off, stays as it is. */
static void install_start(gn_raft_group *group)
{
    if (group->install_record.index <= group->applied) {
        install_end(group);
        return;
    }
    group->install = GN_RAFT_INSTALL_BEGINS;
    gn_raft_batch_put(group, GN_RAFT_KIND_INSTALL, group->install_record.index, group->install_bytes,
                      gn_bytes_of(group->install_bytes->data, group->install_bytes->len));
    gn_raft_batch_part(group)->install_begins = true;
}

void gn_raft_install_recorded(gn_raft_group *group)
{
    gn_bytes manifest = group->install_record.manifest;
    GN_ASSERT(group->install == GN_RAFT_INSTALL_BEGINS);
    group->install = GN_RAFT_INSTALL_RUNS;
    group->fsm.snapshot_install(group->fsm.ctx, group, manifest.data, manifest.len, group->install_record.index);
}

static void installed_task(gn_task *task)
{
    gn_raft_group *group = GN_CONTAINER(task, gn_raft_group, install_task);
    gn_raft_host *host = group->host;
    GN_ASSERT(group->install == GN_RAFT_INSTALL_RUNS);
    if (group->install_code == GN_UNAVAILABLE && !group->stopped && !group->closing) {
        group->install = GN_RAFT_INSTALL_UNDONE;
    } else if (group->install_code != GN_OK) {
        group->install = GN_RAFT_INSTALL_ENDS;
        gn_raft_group_stop(group, group->install_code, "the state machine could not install a snapshot");
    } else if (group->stopped || group->closing) {
        group->install = GN_RAFT_INSTALL_ENDS;
    } else {
        install_end(group);
    }
    gn_raft_group_touch(group);
    gn_raft_host_turn(host);
}

void gn_raft_snapshot_installed(gn_raft_group *group, gn_code code)
{
    group->install_code = code;
    group->install_task.run = installed_task;
    gn_queue_post(group->host->queue, &group->install_task);
}

void gn_raft_install_durable(gn_raft_group *group)
{
    struct raft_event event = {.type = RAFT_PERSISTED_SNAPSHOT};
    GN_ASSERT(group->install == GN_RAFT_INSTALL_ENDS);
    group->install = GN_RAFT_INSTALL_NONE;
    adopt(group, &group->install_bytes, &group->install_record);
    gn_raft_log_add_change(group, group->snapshot.configuration_index, group->snapshot.configuration);
    group->changes_fired = group->snapshot.configuration_index;
    if (group->applied < group->snapshot.index)
        group->applied = group->snapshot.index;
    gn_counter_add(group->host->metrics.snapshots_installed, 1);
    event.persisted_snapshot.metadata = group->install_metadata;
    event.persisted_snapshot.last = true;
    group->install_metadata = (struct raft_snapshot_metadata){0}; /* the core takes the configuration */
    gn_raft_step(group, &event);
}

/* The leader would wait for the end of the install for long: it takes no heed of a rejected heartbeat if it has taken
 * another snapshot since. So it is told as the core tells of an install that failed: the snapshot's own index is
 * rejected. */
void gn_raft_install_tell_undone(gn_raft_group *group)
{
    enum { RESULT_VERSION = 2, HAS_CAPACITY = 1 }; /* as the core's own answers */
    if (group->undone_leader == 0)
        return;
    struct raft_message message = {.type = RAFT_APPEND_ENTRIES_RESULT, .server_id = group->undone_leader};
    message.append_entries_result = (struct raft_append_entries_result){
        .version = RESULT_VERSION,
        .features = HAS_CAPACITY,
        .term = group->term,
        .rejected = group->undone_index,
        .last_log_index = group->last_index < group->undone_index ? group->last_index : group->undone_index - 1,
    };
    group->undone_leader = 0;
    gn_raft_outbox_add(group, &message);
    gn_raft_group_touch(group);
}

static void undo(gn_raft_group *group)
{
    gn_log_info("raft", "snapshot put off", GN_KV_U64("group", group->id),
                GN_KV_U64("index", group->install_record.index));
    gn_counter_add(group->host->metrics.snapshots_put_off, 1);
    group->undone_leader = group->leader;
    group->undone_index = group->install_record.index;
    gn_raft_group_reopen(group);
}

/* ---- both ---- */

bool gn_raft_snapshot_busy(const gn_raft_group *group)
{
    return group->taking || group->install == GN_RAFT_INSTALL_RUNS;
}

void gn_raft_snapshot_advance(gn_raft_group *group)
{
    if (group->install != GN_RAFT_INSTALL_NONE && group->answered) {
        drop_answer(group);
        finish_request(group, GN_UNAVAILABLE);
    }
    if (group->install == GN_RAFT_INSTALL_UNDONE && gn_raft_group_quiescent(group)) {
        undo(group);
        return;
    }
    if (group->install == GN_RAFT_INSTALL_WAITS && !group->applying && !group->taking && !group->taken_bytes)
        install_start(group);
    if (group->install != GN_RAFT_INSTALL_NONE || group->taking || group->taken_bytes)
        return;
    if (group->answered && group->snapshot_answer.index <= group->applied) {
        uint64_t index = group->snapshot_answer.index;
        if (index > group->snapshot.index || is_seed(group, index)) {
            write_answer(group);
            return;
        }
        drop_answer(group);
        finish_request(group, GN_OK);
    }
    if (group->answered)
        return;
    if (wanted(group)) {
        group->taking = true;
        group->asked_log_bytes = group->log_bytes;
        group->fsm.snapshot_take(group->fsm.ctx, group);
    } else if (group->snapshot_request) { /* there is one; or the log lacks what the state machine has */
        finish_request(group, group->applied == group->snapshot.index ? GN_OK : GN_UNAVAILABLE);
    }
}

void gn_raft_snapshot_close(gn_raft_group *group)
{
    drop_answer(group);
    gn_raft_segment_unref(group->snapshot_bytes);
    gn_raft_segment_unref(group->taken_bytes);
    gn_raft_segment_unref(group->install_bytes);
    raft_configuration_close(&group->install_metadata.configuration);
}
