/* A group's log: appended and truncated in memory and in the gathering batch at once, read from the tail or the disk,
 * cut behind a snapshot. */
#include "raft/raft_private.h"

#include <inttypes.h>
#include <stdlib.h>

/* ---- what is noted of every entry ---- */

void gn_raft_log_add_change(gn_raft_group *group, uint64_t index, gn_bytes encoded)
{
    GN_ASSERT(group->n_changes == 0 || group->changes[group->n_changes - 1].index < index);
    if (group->n_changes == group->cap_changes) {
        group->cap_changes = group->cap_changes ? group->cap_changes * 2 : 4;
        group->changes = gn_xrealloc(group->changes, group->cap_changes * sizeof *group->changes);
    }
    gn_raft_change *change = &group->changes[group->n_changes++];
    *change = (gn_raft_change){.index = index, .data = gn_xmalloc(encoded.len), .len = encoded.len};
    memcpy(change->data, encoded.data, encoded.len);
}

static uint64_t mark_distance(const gn_raft_group *group)
{
    uint64_t distance = group->host->options.log_keep_bytes / 64;
    return distance < 65536 ? distance : 65536;
}

static void add_mark(gn_raft_group *group, uint64_t index)
{
    uint64_t last = group->n_marks ? group->marks[group->n_marks - 1].bytes : 0;
    if (group->n_marks && group->log_bytes - last < mark_distance(group))
        return;
    if (group->n_marks == group->cap_marks) {
        group->cap_marks = group->cap_marks ? group->cap_marks * 2 : 16;
        group->marks = gn_xrealloc(group->marks, group->cap_marks * sizeof *group->marks);
    }
    group->marks[group->n_marks++] = (gn_raft_mark){.index = index, .bytes = group->log_bytes};
}

void gn_raft_log_note(gn_raft_group *group, uint64_t index, uint8_t type, gn_bytes payload, size_t record_len)
{
    GN_ASSERT(index == group->last_index + 1);
    group->last_index = index;
    group->log_bytes += record_len;
    group->average_entry = group->average_entry ? (group->average_entry * 15 + record_len) / 16 : record_len;
    if (type == RAFT_CHANGE)
        gn_raft_log_add_change(group, index, payload);
    add_mark(group, index);
}

static void drop_changes_from(gn_raft_group *group, uint64_t from)
{
    while (group->n_changes && group->changes[group->n_changes - 1].index >= from)
        free(group->changes[--group->n_changes].data);
}

const gn_raft_change *gn_raft_log_configuration_at(const gn_raft_group *group, uint64_t index)
{
    for (size_t i = group->n_changes; i > 0; i--)
        if (group->changes[i - 1].index <= index)
            return &group->changes[i - 1];
    return NULL;
}

/* ---- append ---- */

/* A new leader's entries replace ours from `index` on. A write in flight that holds some of the replaced entries must
 * not be reported beyond what is left of them: the report names an index and no term. */
static void truncate_from(gn_raft_group *group, uint64_t index, size_t n)
{
    for (int i = 0; i < 2; i++)
        if (group->part[i].entries_end >= index)
            group->part[i].entries_end = index - 1;
    if (group->last_index >= index + n)
        gn_raft_batch_delete(group, GN_RAFT_KIND_ENTRY, index + n, group->last_index + 1);
    gn_raft_tail_truncate(&group->tail, index);
    drop_changes_from(group, index);
    while (group->n_marks && group->marks[group->n_marks - 1].index >= index)
        group->n_marks--;
    group->log_bytes = group->n_marks ? group->marks[group->n_marks - 1].bytes : 0;
    if (group->log_bytes < group->log_bytes_snapshot)
        group->log_bytes = group->log_bytes_snapshot;
    group->last_index = index - 1;
}

void gn_raft_log_append(gn_raft_group *group, uint64_t index, const gn_raft_slot *slots, size_t n)
{
    GN_ASSERT(n > 0 && index >= group->first_index && index <= group->last_index + 1);
    if (index <= group->commit) { /* the core knows less after a restart than the state machine */
        gn_raft_group_stop(group, GN_CORRUPT, "a peer's log conflicts with a committed entry");
        return;
    }
    if (index <= group->last_index)
        truncate_from(group, index, n);
    for (size_t i = 0; i < n; i++) {
        const gn_raft_slot *slot = &slots[i];
        gn_raft_tail_append(&group->tail, index + i, *slot);
        gn_raft_log_note(group, index + i, gn_raft_record_type(slot->record),
                         gn_bytes_of(slot->record + GN_RAFT_RECORD_HEADER, slot->len - GN_RAFT_RECORD_HEADER),
                         slot->len);
        gn_raft_batch_put(group, GN_RAFT_KIND_ENTRY, index + i, slot->segment, gn_bytes_of(slot->record, slot->len));
    }
    group->last_term = gn_raft_record_term(slots[n - 1].record);
    gn_raft_batch_part(group)->entries_end = group->last_index;
}

void gn_raft_log_reset(gn_raft_group *group, uint64_t index, uint64_t term)
{
    for (int i = 0; i < 2; i++)
        group->part[i].entries_end = 0;
    gn_raft_tail_truncate(&group->tail, 0);
    drop_changes_from(group, 0);
    group->n_marks = 0;
    group->log_bytes = group->log_bytes_snapshot = group->asked_log_bytes = 0;
    group->first_index = index + 1;
    group->last_index = index;
    group->last_term = term;
}

void gn_raft_log_evict(gn_raft_group *group)
{
    gn_raft_tail *tail = &group->tail;
    while (tail->bytes > GN_RAFT_CACHE_BYTES && tail->n > 0 && tail->first <= group->raft.last_stored &&
           (tail->first <= group->applied || tail->bytes > 8u * GN_RAFT_CACHE_BYTES))
        gn_raft_tail_evict(tail);
}

/* ---- read ---- */

typedef struct range_reader {
    gn_raft_group *group;
    gn_raft_slot *slots;
    uint64_t from;
    size_t n, limit, bytes, max_bytes;
    bool corrupt;
} range_reader;

static bool range_record(void *ctx, gn_bytes key, gn_bytes value)
{
    range_reader *r = ctx;
    gn_raft_record record;
    uint64_t id, index;
    gn_raft_kind kind;
    if (!gn_raft_key_read(key, &id, &kind, &index) || index != r->from + r->n ||
        !gn_raft_record_read(value, r->group->id, index, &record)) {
        r->corrupt = true;
        return false;
    }
    if (r->n == r->limit || (r->n > 0 && r->bytes + value.len > r->max_bytes))
        return false;
    gn_raft_segment *segment = gn_raft_segment_create(value.len);
    memcpy(segment->data, value.data, value.len);
    r->slots[r->n++] = (gn_raft_slot){.segment = segment, .record = segment->data, .len = (uint32_t)value.len};
    r->bytes += value.len;
    return true;
}

/* Entries [from, from + n) that are not in the tail. */
static size_t load_from_disk(gn_raft_group *group, uint64_t from, size_t n, size_t max_bytes, gn_raft_slot *slots)
{
    uint8_t first[GN_RAFT_KEY_SIZE], end[GN_RAFT_KEY_SIZE];
    gn_error err = {0};
    range_reader r = {.group = group, .slots = slots, .from = from, .limit = n, .max_bytes = max_bytes};
    gn_raft_key(first, group->id, GN_RAFT_KIND_ENTRY, from);
    gn_raft_key(end, group->id, GN_RAFT_KIND_ENTRY, from + n);
    gn_code code = gn_log_disk_scan(group->host->disk, gn_bytes_of(first, sizeof first), gn_bytes_of(end, sizeof end),
                                    range_record, &r, &err);
    if (code == GN_OK && !r.corrupt && r.n > 0)
        return r.n;
    for (size_t i = 0; i < r.n; i++)
        gn_raft_segment_unref(slots[i].segment);
    if (code == GN_OK)
        gn_error_set(&err, code = GN_CORRUPT, "group %" PRIu64 ": the log's entry %" PRIu64 " is missing or damaged",
                     group->id, from + r.n);
    gn_raft_host_fail(group->host, code, err.message);
    return 0;
}

size_t gn_raft_log_load(gn_raft_group *group, uint64_t from, size_t n, size_t max_bytes, gn_raft_slot *slots)
{
    size_t done = 0, bytes = 0;
    if (from < group->first_index || from > group->last_index)
        return 0;
    if (n > group->last_index - from + 1)
        n = (size_t)(group->last_index - from + 1);
    uint64_t memory = group->tail.n ? group->tail.first : group->last_index + 1;
    if (from < memory) {
        size_t missing = memory - from < n ? (size_t)(memory - from) : n;
        done = load_from_disk(group, from, missing, max_bytes, slots);
        if (done < missing)
            return done;
        for (size_t i = 0; i < done; i++)
            bytes += slots[i].len;
    }
    for (; done < n; done++) {
        const gn_raft_slot *slot = gn_raft_tail_get(&group->tail, from + done);
        if (done > 0 && bytes + slot->len > max_bytes)
            break;
        slots[done] = *slot;
        gn_raft_segment_ref(slot->segment);
        bytes += slot->len;
    }
    return done;
}

/* ---- cut ---- */

uint64_t gn_raft_log_cut_index(const gn_raft_group *group, uint64_t snapshot_index)
{
    uint64_t keep = group->host->options.log_keep_bytes, upto = 0, at = 0;
    for (size_t i = 0; i < group->n_marks && group->marks[i].index <= snapshot_index; i++)
        at = group->marks[i].bytes;
    for (size_t i = 0; i < group->n_marks && group->marks[i].bytes + keep <= at; i++)
        upto = group->marks[i].index;
    uint64_t durable = group->fsm.durable_index(group->fsm.ctx);
    return upto < durable ? upto : durable;
}

void gn_raft_log_cut(gn_raft_group *group, uint64_t upto)
{
    if (upto < group->first_index)
        return;
    GN_ASSERT(upto <= group->applied && upto <= group->snapshot.index);
    gn_raft_batch_delete(group, GN_RAFT_KIND_ENTRY, group->first_index, upto + 1);
    group->first_index = upto + 1;
    while (group->tail.n > 0 && group->tail.first <= upto)
        gn_raft_tail_evict(&group->tail);
    size_t keep = 0;
    while (keep < group->n_marks && group->marks[keep].index <= upto)
        keep++;
    memmove(group->marks, group->marks + keep, (group->n_marks - keep) * sizeof *group->marks);
    group->n_marks -= keep;
}
