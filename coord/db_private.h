/* The database of a process: its part of the cluster, and what its sessions share. */
#ifndef GN_COORD_DB_PRIVATE_H
#define GN_COORD_DB_PRIVATE_H

#include "cluster/cluster.h"
#include "coord/session.h"

struct gn_db {
    gn_world *world;
    gn_account account; /* everything of this database */
    gn_cluster *cluster;
    gn_queue *timers; /* of the sessions' watchdogs */
    uint64_t statement_memory;
    uint64_t started_us; /* by the wall clock */
    _Atomic uint32_t next_session;
    _Atomic uint32_t open_sessions;

    void (*on_failure)(void *ctx, gn_code code, const char *message);
    void *failure_ctx;
};

#endif
