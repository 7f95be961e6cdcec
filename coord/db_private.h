/* The database of a process: one shard group whose sole voter is this node, and what its sessions share. */
#ifndef GN_COORD_DB_PRIVATE_H
#define GN_COORD_DB_PRIVATE_H

#include "coord/session.h"
#include "raft/host.h"
#include "shard/shard.h"

struct gn_db {
    gn_world *world;
    gn_account account; /* everything of this database */
    gn_raft_host *host;
    gn_shard *shard;
    gn_queue *timers; /* of the sessions' watchdogs */
    uint64_t statement_memory;
    uint64_t started_us; /* by the wall clock */
    _Atomic uint32_t next_session;
    _Atomic uint32_t open_sessions;
    _Atomic bool failed;
    void (*on_failure)(void *ctx, gn_code code, const char *message);
    void *failure_ctx;
};

#endif
