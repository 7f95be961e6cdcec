/* Frames from peers, and records as they might lie on a damaged disk. */
#include "raft/raft_private.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_frame(gn_bytes frame)
{
    gn_reader r = gn_reader_of(frame);
    gn_raft_wire wire;
    bool bad = false;
    while (gn_raft_wire_next(&r, &wire, &bad))
        GN_ASSERT(wire.type != RAFT_APPEND_ENTRIES || wire.core.append_entries.n_entries <= GN_RAFT_STEP_ENTRIES);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    gn_bytes bytes = gn_bytes_of(data, size);
    gn_raft_record record;
    gn_raft_snapshot_record snapshot;
    uint64_t a, b;
    gn_raft_kind kind;
    read_frame(bytes);
    gn_raft_record_read(bytes, 1, 1, &record);
    gn_raft_snapshot_read(bytes, 1, &snapshot);
    gn_raft_state_read(bytes, 1, &a, &b);
    gn_raft_key_read(bytes, &a, &kind, &b);
    if (gn_raft_configuration_valid(bytes)) { /* then libraft must be able to decode it */
        struct raft_configuration c;
        gn_raft_configuration_decode(bytes, &c);
        raft_configuration_close(&c);
    }
    return 0;
}
