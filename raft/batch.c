/* One write with one fsync for all groups. While a write is under way the updates of every group that moves gather in
 * the other batch; when it completes, what each group had in it is reported in the order in which it was written, and
 * the gathered one is written next. */
#include "raft/raft_private.h"

#include <stdlib.h>

void gn_raft_batch_init(gn_raft_batch *batch, gn_raft_host *host)
{
    *batch = (gn_raft_batch){.host = host, .arena = gn_arena_create(NULL)};
}

static void release_pins(gn_raft_batch *batch)
{
    for (size_t i = 0; i < batch->n_pins; i++)
        gn_raft_segment_unref(batch->pins[i]);
    batch->n_pins = 0;
}

void gn_raft_batch_close(gn_raft_batch *batch)
{
    release_pins(batch);
    free(batch->pins);
    free(batch->ops);
    gn_arena_destroy(batch->arena);
}

gn_raft_part *gn_raft_batch_part(gn_raft_group *group)
{
    gn_raft_host *host = group->host;
    gn_raft_batch *batch = &host->batch[host->filling];
    gn_raft_part *part = &group->part[host->filling];
    if (!part->in) {
        *part = (gn_raft_part){.in = true, .next = batch->parts};
        batch->parts = group;
    }
    return part;
}

static gn_disk_op *add_op(gn_raft_batch *batch)
{
    if (batch->n == batch->cap) {
        batch->cap = batch->cap ? batch->cap * 2 : 64;
        batch->ops = gn_xrealloc(batch->ops, batch->cap * sizeof *batch->ops);
    }
    return &batch->ops[batch->n++];
}

static void pin(gn_raft_batch *batch, gn_raft_segment *segment)
{
    if (batch->n_pins > 0 && batch->pins[batch->n_pins - 1] == segment)
        return; /* entries of one segment come in a row */
    if (batch->n_pins == batch->cap_pins) {
        batch->cap_pins = batch->cap_pins ? batch->cap_pins * 2 : 64;
        batch->pins = gn_xrealloc(batch->pins, batch->cap_pins * sizeof(gn_raft_segment *));
    }
    batch->pins[batch->n_pins++] = gn_raft_segment_ref(segment);
}

static gn_bytes key_of(gn_raft_batch *batch, const gn_raft_group *group, gn_raft_kind kind, uint64_t index)
{
    uint8_t *key = gn_arena_alloc(batch->arena, GN_RAFT_KEY_SIZE);
    gn_raft_key(key, group->id, kind, index);
    return gn_bytes_of(key, GN_RAFT_KEY_SIZE);
}

static gn_raft_batch *filling(gn_raft_group *group)
{
    gn_raft_batch_part(group);
    return &group->host->batch[group->host->filling];
}

void gn_raft_batch_put(gn_raft_group *group, gn_raft_kind kind, uint64_t index, gn_raft_segment *segment,
                       gn_bytes value)
{
    gn_raft_batch *batch = filling(group);
    gn_bytes key = key_of(batch, group, kind, index);
    if (segment) {
        pin(batch, segment);
    } else {
        value = gn_bytes_of(gn_arena_memdup(batch->arena, value.data, value.len), value.len);
    }
    *add_op(batch) = (gn_disk_op){.kind = GN_DISK_PUT, .key = key, .value = value};
    batch->entries += kind == GN_RAFT_KIND_ENTRY;
    batch->bytes += value.len;
    batch->sync = true;
}

void gn_raft_batch_put_state(gn_raft_group *group)
{
    uint8_t value[GN_RAFT_STATE_SIZE];
    gn_raft_state_write(value, group->id, group->raft.current_term, group->raft.voted_for);
    gn_raft_batch_put(group, GN_RAFT_KIND_STATE, 0, NULL, gn_bytes_of(value, sizeof value));
    group->state_seq = group->host->batch[group->host->filling].seq;
}

void gn_raft_batch_delete(gn_raft_group *group, gn_raft_kind kind, uint64_t from, uint64_t to)
{
    gn_raft_batch *batch = filling(group);
    GN_ASSERT(from < to);
    gn_bytes first = key_of(batch, group, kind, from);
    gn_bytes end = key_of(batch, group, kind, to);
    *add_op(batch) = (gn_disk_op){.kind = GN_DISK_DELETE_RANGE, .key = first, .value = end};
}

/* What the group had in the completed batch. */
static void part_done(gn_raft_group *group, gn_raft_part part)
{
    if (part.create && !group->stopped && !group->closing)
        gn_raft_group_created(group);
    if (part.entries_end && !group->stopped && !group->closing) /* and so on: each may stop the group */
        gn_raft_step_persisted(group, part.entries_end);
    if (part.snapshot && !group->stopped && !group->closing)
        gn_raft_snapshot_durable(group);
    if (part.install_begins && !group->stopped && !group->closing)
        gn_raft_install_recorded(group);
    if (part.install_ends && !group->stopped && !group->closing)
        gn_raft_install_durable(group);
}

static void observe(gn_raft_host *host, const gn_raft_batch *batch)
{
    gn_counter_add(host->metrics.batches, 1);
    gn_counter_add(host->metrics.entries, batch->entries);
    gn_counter_add(host->metrics.bytes, batch->bytes);
    gn_histogram_observe(host->metrics.batch_entries, (double)batch->entries);
    uint64_t took_ns = gn_now_ns(host->world) - batch->started_ns;
    gn_histogram_observe(host->metrics.sync_seconds, (double)took_ns / 1e9);
    gn_raft_submit_written(host, batch->entries, took_ns);
}

static void write_done(gn_disk_write *write, gn_code code, const char *message)
{
    gn_raft_batch *batch = GN_CONTAINER(write, gn_raft_batch, write);
    gn_raft_host *host = batch->host;
    unsigned which = (unsigned)(batch - host->batch);
    GN_ASSERT(host->writing && which != host->filling);
    host->writing = false;
    release_pins(batch);
    gn_raft_group *group = batch->parts;
    batch->parts = NULL;
    if (code == GN_OK) {
        host->durable_seq = batch->seq;
        observe(host, batch);
    } else {
        gn_raft_host_fail(host, code, message);
    }
    while (group) {
        gn_raft_part part = group->part[which];
        group->part[which] = (gn_raft_part){0};
        if (code == GN_OK)
            part_done(group, part);
        gn_raft_group_touch(group);
        group = part.next;
    }
    batch->n = batch->entries = batch->bytes = 0;
    batch->sync = false;
    gn_arena_reset(batch->arena);
    gn_raft_host_turn(host);
}

void gn_raft_batch_kick(gn_raft_host *host)
{
    gn_raft_batch *batch = &host->batch[host->filling];
    if (host->writing || host->failed || batch->n == 0)
        return;
    host->writing = true;
    host->filling ^= 1;
    host->batch[host->filling].seq = batch->seq + 1;
    batch->started_ns = gn_now_ns(host->world);
    batch->write = (gn_disk_write){
        .ops = batch->ops, .n = batch->n, .sync = batch->sync, .queue = host->queue, .done = write_done};
    gn_log_disk_write(host->disk, &batch->write);
}
