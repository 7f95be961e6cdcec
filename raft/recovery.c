/* What the disk has of a group, read and verified when the group is opened, on the opener's own strand. */
#include "raft/raft_private.h"

#include <inttypes.h>
#include <stdlib.h>

typedef struct reader {
    gn_raft_group *group;
    gn_raft_recovery *recovery;
    gn_error *err;
    gn_code code;
} reader;

static bool damaged(reader *r, const char *what, uint64_t index)
{
    r->code = gn_error_set(r->err, GN_CORRUPT, "group %" PRIu64 ": %s in the Raft log is damaged (index %" PRIu64 ")",
                           r->group->id, what, index);
    return false;
}

static gn_raft_segment *copy_segment(gn_bytes bytes)
{
    gn_raft_segment *segment = gn_raft_segment_create(bytes.len);
    memcpy(segment->data, bytes.data, bytes.len);
    return segment;
}

static bool read_snapshot(reader *r, gn_bytes value)
{
    gn_raft_recovery *recovery = r->recovery;
    recovery->snapshot_bytes = copy_segment(value);
    value = gn_bytes_of(recovery->snapshot_bytes->data, value.len);
    if (!gn_raft_snapshot_read(value, r->group->id, &recovery->snapshot))
        return damaged(r, "the snapshot's record", 0);
    return true;
}

/* An install that a crash cut off. Either the state machine had replaced its state, and the install is finished here;
 * or it had not, and nothing has happened. The log that lies there may contradict the snapshot, however long it is. */
static bool read_install(reader *r, uint64_t index, gn_bytes value)
{
    gn_raft_snapshot_record record;
    if (!gn_raft_snapshot_read(value, r->group->id, &record) || record.index != index)
        return damaged(r, "an install's record", index);
    r->recovery->interrupted = true;
    if (index != r->group->applied)
        return true;
    r->recovery->installed = true;
    gn_raft_segment_unref(r->recovery->snapshot_bytes);
    return read_snapshot(r, value);
}

static void note_term(gn_raft_recovery *recovery, uint64_t term, uint8_t type)
{
    if (recovery->n == recovery->cap) {
        recovery->cap = recovery->cap ? recovery->cap * 2 : 256;
        recovery->terms = gn_xrealloc(recovery->terms, recovery->cap * sizeof *recovery->terms);
        recovery->types = gn_xrealloc(recovery->types, recovery->cap * sizeof *recovery->types);
    }
    recovery->terms[recovery->n] = term;
    recovery->types[recovery->n++] = type;
}

static bool read_entry(reader *r, uint64_t index, gn_bytes value)
{
    gn_raft_group *group = r->group;
    gn_raft_recovery *recovery = r->recovery;
    gn_raft_record record;
    if (!gn_raft_record_read(value, group->id, index, &record))
        return damaged(r, "an entry", index);
    if (record.type == RAFT_CHANGE && !gn_raft_configuration_valid(record.payload))
        return damaged(r, "a configuration", index);
    if (recovery->n == 0) {
        recovery->first_index = group->first_index = index;
        group->last_index = index - 1;
        if (recovery->snapshot_bytes) /* the configuration at the snapshot comes first */
            gn_raft_log_add_change(group, recovery->snapshot.configuration_index, recovery->snapshot.configuration);
    }
    if (index != group->last_index + 1)
        return damaged(r, "the order of entries", index);
    if (recovery->n > 0 && record.term < recovery->terms[recovery->n - 1])
        return damaged(r, "the order of terms", index);
    uint8_t noted = record.type;
    if (noted == RAFT_CHANGE && recovery->snapshot_bytes && index <= recovery->snapshot.configuration_index)
        noted = RAFT_BARRIER; /* the snapshot has it or a newer one */
    gn_raft_log_note(group, index, noted, record.payload, value.len);
    note_term(recovery, record.term, record.type);
    return true;
}

static bool read_record(void *ctx, gn_bytes key, gn_bytes value)
{
    reader *r = ctx;
    uint64_t id, index;
    gn_raft_kind kind;
    if (!gn_raft_key_read(key, &id, &kind, &index) || id != r->group->id)
        return damaged(r, "a key", 0);
    r->recovery->found = true;
    switch (kind) {
    case GN_RAFT_KIND_STATE:
        return gn_raft_state_read(value, id, &r->recovery->term, &r->recovery->vote) || damaged(r, "term and vote", 0);
    case GN_RAFT_KIND_SNAPSHOT:
        return read_snapshot(r, value);
    case GN_RAFT_KIND_INSTALL:
        return read_install(r, index, value);
    case GN_RAFT_KIND_ENTRY:
        return r->recovery->installed || read_entry(r, index, value);
    default:
        return damaged(r, "a key", index);
    }
}

/* The records fit together, and the state machine fits them. */
static gn_code check(gn_raft_group *group, const gn_raft_recovery *recovery, uint64_t applied_index, gn_error *err)
{
    uint64_t snapshot = recovery->snapshot_bytes ? recovery->snapshot.index : 0;
    if (recovery->found && recovery->term == 0)
        return gn_error_set(err, GN_CORRUPT, "group %" PRIu64 ": the Raft log lacks term and vote", group->id);
    if (recovery->n > 0 && recovery->terms[recovery->n - 1] > recovery->term)
        return gn_error_set(err, GN_CORRUPT, "group %" PRIu64 ": the Raft log has entries of a future term", group->id);
    if (recovery->n > 0 && recovery->first_index > snapshot + 1)
        return gn_error_set(err, GN_CORRUPT,
                            "group %" PRIu64 ": the Raft log begins at %" PRIu64
                            ", after what the snapshot has (%" PRIu64 ")",
                            group->id, recovery->first_index, snapshot);
    if (applied_index + 1 < group->first_index)
        return gn_error_set(err, GN_CORRUPT,
                            "group %" PRIu64 ": the state machine has entries up to %" PRIu64
                            ", the Raft log begins at %" PRIu64,
                            group->id, applied_index, group->first_index);
    if (applied_index > group->last_index)
        return gn_error_set(err, GN_CORRUPT,
                            "group %" PRIu64 ": the state machine has entries up to %" PRIu64
                            ", the Raft log ends at %" PRIu64,
                            group->id, applied_index, group->last_index);
    return GN_OK;
}

/* A log that ends before the snapshot is of no use: what follows the snapshot would not join it. */
static void adopt_snapshot(gn_raft_group *group, gn_raft_recovery *recovery)
{
    if (!recovery->snapshot_bytes)
        return;
    group->snapshot_bytes = gn_raft_segment_ref(recovery->snapshot_bytes);
    group->snapshot = recovery->snapshot;
    group->changes_fired = recovery->snapshot.configuration_index;
    if (recovery->n > 0 && group->last_index >= recovery->snapshot.index) {
        for (size_t i = 0; i < group->n_marks && group->marks[i].index <= group->snapshot.index; i++)
            group->log_bytes_snapshot = group->marks[i].bytes;
        return;
    }
    gn_raft_log_reset(group, recovery->snapshot.index, recovery->snapshot.term);
    gn_raft_log_add_change(group, recovery->snapshot.configuration_index, recovery->snapshot.configuration);
    recovery->n = 0;
}

gn_code gn_raft_recover(gn_raft_group *group, uint64_t applied_index, gn_error *err)
{
    uint8_t from[GN_RAFT_KEY_SIZE], to[GN_RAFT_KEY_SIZE];
    gn_raft_recovery *recovery = group->recovery = gn_xcalloc(1, sizeof *recovery);
    reader r = {.group = group, .recovery = recovery, .err = err};
    group->first_index = 1;
    gn_raft_key(from, group->id, GN_RAFT_KIND_STORE, 0);
    gn_raft_key(to, group->id, GN_RAFT_KIND_ENTRY, UINT64_MAX);
    gn_code code = gn_log_disk_scan(group->host->disk, gn_bytes_of(from, sizeof from), gn_bytes_of(to, sizeof to),
                                    read_record, &r, err);
    if (code == GN_OK)
        code = r.code;
    if (code != GN_OK)
        return code;
    if (recovery->n > 0)
        group->last_term = recovery->terms[recovery->n - 1];
    adopt_snapshot(group, recovery);
    group->commit = applied_index <= group->last_index ? applied_index : group->snapshot.index;
    return check(group, recovery, applied_index, err);
}

void gn_raft_recovery_destroy(gn_raft_recovery *recovery)
{
    if (!recovery)
        return;
    gn_raft_segment_unref(recovery->snapshot_bytes);
    free(recovery->terms);
    free(recovery->types);
    free(recovery);
}
