/* A group that begins with what a state machine has already: the log of a group that was split off. It is what any
 * log is after a snapshot was taken, or installed, and all before it was cut. Its index is 2: of a leader whose log
 * lacks entry 1 and who knows its term all the same the core believes that it has the entry. */
#include "raft/raft_private.h"

#include <inttypes.h>

enum { FIRST_TERM = 1 };

static bool any_record(void *ctx, gn_bytes key, gn_bytes value)
{
    (void)key, (void)value;
    *(bool *)ctx = true;
    return false;
}

gn_code gn_raft_knows(gn_raft_host *host, uint64_t id, bool *knows, gn_error *err)
{
    uint8_t from[GN_RAFT_KEY_SIZE], to[GN_RAFT_KEY_SIZE];
    gn_raft_key(from, id, GN_RAFT_KIND_STORE, 0);
    gn_raft_key(to, id + 1, GN_RAFT_KIND_STORE, 0);
    *knows = false;
    return gn_log_disk_scan(host->disk, gn_bytes_of(from, sizeof from), gn_bytes_of(to, sizeof to), any_record, knows,
                            err);
}

static gn_code write_records(gn_raft_host *host, uint64_t id, gn_bytes configuration, gn_bytes manifest, gn_error *err)
{
    uint8_t state_key[GN_RAFT_KEY_SIZE], snapshot_key[GN_RAFT_KEY_SIZE], state[GN_RAFT_STATE_SIZE];
    gn_raft_snapshot_record record = {.index = GN_RAFT_SEED_INDEX,
                                      .term = FIRST_TERM,
                                      .configuration_index = GN_RAFT_SEED_INDEX,
                                      .configuration = configuration,
                                      .manifest = manifest};
    gn_buf snapshot;
    gn_buf_init(&snapshot, NULL, GN_MAX_RAFT_MANIFEST + 65536);
    gn_raft_snapshot_write(&snapshot, id, &record);
    gn_raft_state_write(state, id, FIRST_TERM, 0);
    gn_raft_key(state_key, id, GN_RAFT_KIND_STATE, 0);
    gn_raft_key(snapshot_key, id, GN_RAFT_KIND_SNAPSHOT, 0);
    const gn_disk_op ops[] = {
        {.kind = GN_DISK_PUT,
         .key = gn_bytes_of(state_key, sizeof state_key),
         .value = gn_bytes_of(state, sizeof state)},
        {.kind = GN_DISK_PUT, .key = gn_bytes_of(snapshot_key, sizeof snapshot_key), .value = gn_buf_bytes(&snapshot)}};
    gn_code code = snapshot.failed
                       ? gn_error_set(err, GN_LIMIT, "the first snapshot of group %" PRIu64 " is too large", id)
                       : gn_raft_write_now(host, ops, sizeof ops / sizeof ops[0], err);
    gn_buf_close(&snapshot);
    return code;
}

gn_code gn_raft_seed(gn_raft_host *host, uint64_t id, const gn_raft_member *members, size_t n, gn_bytes manifest,
                     bool *made, gn_error *err)
{
    bool knows;
    *made = false;
    if (id == 0 || n == 0 || n > GN_MAX_PEERS || manifest.len > GN_MAX_RAFT_MANIFEST)
        return gn_error_set(err, GN_INVALID_PARAMETER, "a group cannot begin so");
    gn_code code = gn_raft_knows(host, id, &knows, err);
    if (code != GN_OK || knows)
        return code;
    gn_bytes configuration = gn_raft_configuration_encode(members, n);
    code = write_records(host, id, configuration, manifest, err);
    *made = code == GN_OK;
    raft_free((void *)(uintptr_t)configuration.data);
    return code;
}
