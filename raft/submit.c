/* Commands, barriers and changes on their way into the core. Commands gather while a write is under way, so that the
 * next write takes all of them; each is copied once, into the segment that the disk, the followers and the state
 * machine then read.
 *
 * A write that ends answers its clients, who come back one after the other. Were the first of them written at once, all
 * others would wait for that write and then for their own. So after a write of several commands the next one waits
 * until about as many have come, or for a moment that is short beside a write (the idea of PostgreSQL's commit_delay,
 * with delay and siblings measured). A single client is never delayed. */
#include "raft/raft_private.h"

#include <stdlib.h>

/* How many of the pending commands go into this step. */
static size_t choose(const gn_raft_group *group, size_t *bytes)
{
    uint64_t uncommitted = group->last_index - group->raft.commit_index;
    size_t n = 0;
    *bytes = 0;
    for (gn_raft_request *request = group->pending.head; request && n < GN_RAFT_STEP_ENTRIES; request = request->next) {
        size_t len = GN_RAFT_RECORD_HEADER + request->command.len;
        bool first = uncommitted == 0 && n == 0;
        if (!first && (uncommitted + n >= GN_RAFT_TAIL_ENTRIES ||
                       (uncommitted + 1) * group->average_entry + *bytes + len > GN_RAFT_TAIL_BYTES))
            break;
        if (n > 0 && *bytes + len > GN_RAFT_STEP_BYTES)
            break;
        *bytes += len;
        n++;
    }
    return n;
}

/* The i-th scratch entry: its record at `at` of the segment. */
static size_t place(gn_raft_group *group, size_t i, gn_raft_segment *segment, size_t at, uint8_t type, gn_bytes payload)
{
    gn_raft_host *host = group->host;
    gn_raft_record record = {.term = group->term, .type = type, .payload = payload};
    uint8_t *bytes = segment->data + at;
    gn_raft_record_write(bytes, group->id, group->last_index + 1 + i, &record);
    host->slots[i] =
        (gn_raft_slot){.segment = segment, .record = bytes, .len = (uint32_t)(GN_RAFT_RECORD_HEADER + payload.len)};
    host->entries[i] = (struct raft_entry){.term = group->term, .type = type, .batch = segment};
    host->entries[i].buf.base = bytes + GN_RAFT_RECORD_HEADER;
    host->entries[i].buf.len = payload.len;
    return at + GN_RAFT_RECORD_HEADER + payload.len;
}

static void limit_inflight(gn_raft_group *group)
{
    uint64_t n = GN_RAFT_INFLIGHT_BYTES / (group->average_entry ? group->average_entry : 1);
    n = n < 4 ? 4 : n > GN_RAFT_STEP_ENTRIES ? GN_RAFT_STEP_ENTRIES : n;
    raft_set_max_inflight_entries(&group->raft, (unsigned)n);
}

static void hold(gn_raft_group *group)
{
    if (group->held)
        return;
    group->held = true;
    group->held_next = group->host->held;
    group->host->held = group;
}

void gn_raft_submit_forget(gn_raft_group *group)
{
    for (gn_raft_group **at = &group->host->held; *at; at = &(*at)->held_next)
        if (*at == group) {
            *at = group->held_next;
            break;
        }
    group->held = false;
}

static size_t held_commands(const gn_raft_host *host)
{
    size_t n = 0;
    for (const gn_raft_group *group = host->held; group; group = group->held_next)
        n += group->pending.n;
    return n;
}

void gn_raft_submit_written(gn_raft_host *host, size_t entries, uint64_t took_ns)
{
    host->sync_ns = host->sync_ns ? (host->sync_ns * 7 + took_ns) / 8 : took_ns;
    uint64_t moment = host->sync_ns / 2 < GN_RAFT_GATHER_NS ? host->sync_ns / 2 : GN_RAFT_GATHER_NS;
    host->gather_until_ns = gn_now_ns(host->world) + moment;
    host->gather_target = held_commands(host) + entries;
    host->gathering = entries > 1 && host->gather_skip == 0;
    if (host->gather_skip)
        host->gather_skip--;
}

/* Whether it is worth waiting for more commands. What else there is to write takes them along at once. */
static bool gathers(gn_raft_host *host)
{
    if (!host->gathering || host->batch[host->filling].n > 0)
        return false;
    if (held_commands(host) * 8 >= host->gather_target * 7) {
        host->gather_backoff = 1;
        return false;
    }
    if (gn_now_ns(host->world) < host->gather_until_ns)
        return true;
    host->gather_skip = host->gather_backoff; /* in vain: the clients take their time */
    host->gather_backoff = host->gather_backoff < 64 ? host->gather_backoff * 2 + 1 : 64;
    return false;
}

void gn_raft_submit_release(gn_raft_host *host)
{
    if (!host->held || host->writing || host->failed)
        return;
    if (gathers(host)) {
        if (!host->gather_armed)
            gn_timer_start(&host->gather_timer, host->gather_until_ns);
        host->gather_armed = true;
        return;
    }
    host->gathering = false;
    while (host->held) {
        gn_raft_group *group = host->held;
        host->held = group->held_next;
        group->held = false;
        gn_raft_group_touch(group);
    }
}

void gn_raft_submit_gathered(gn_timer *timer)
{
    gn_raft_host *host = GN_CONTAINER(timer, gn_raft_host, gather_timer);
    host->gather_armed = false;
    gn_raft_host_turn(host);
}

void gn_raft_submit_pending(gn_raft_group *group)
{
    size_t bytes, at = 0, n;
    if (!group->leads || group->transfer || group->pending.n == 0)
        return;
    if (group->host->writing || group->host->gathering) {
        hold(group);
        return;
    }
    if ((n = choose(group, &bytes)) == 0)
        return;
    gn_raft_host_scratch(group->host, n);
    gn_raft_segment *segment = gn_raft_segment_create(bytes);
    uint64_t index = group->last_index + 1, term = group->term;
    gn_raft_request *request = group->pending.head;
    for (size_t i = 0; i < n; i++, request = request->next)
        at = place(group, i, segment, at, RAFT_COMMAND, request->command);
    GN_ASSERT(at == bytes);
    limit_inflight(group);
    if (gn_raft_step_submit(group, n)) {
        for (size_t i = 0; i < n; i++) {
            request = gn_raft_fifo_pop(&group->pending);
            request->index = index + i;
            request->term = term;
            gn_raft_fifo_push(&group->waiting, request);
        }
    }
    gn_raft_segment_unref(segment);
}

void gn_raft_submit_barrier(gn_raft_group *group)
{
    gn_raft_host_scratch(group->host, 1);
    gn_raft_segment *segment = gn_raft_segment_create(GN_RAFT_RECORD_HEADER);
    place(group, 0, segment, 0, RAFT_BARRIER, (gn_bytes){0});
    gn_raft_step_submit(group, 1);
    gn_raft_segment_unref(segment);
}

bool gn_raft_submit_change(gn_raft_group *group, const gn_raft_member *members, size_t n)
{
    gn_bytes encoded = gn_raft_configuration_encode(members, n);
    gn_raft_host_scratch(group->host, 1);
    gn_raft_segment *segment = gn_raft_segment_create(GN_RAFT_RECORD_HEADER + encoded.len);
    place(group, 0, segment, 0, RAFT_CHANGE, encoded);
    bool accepted = gn_raft_step_submit(group, 1);
    gn_raft_segment_unref(segment);
    raft_free((void *)(uintptr_t)encoded.data);
    return accepted;
}
