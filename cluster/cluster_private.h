/* What the files of cluster/ share. */
#ifndef GN_CLUSTER_CLUSTER_PRIVATE_H
#define GN_CLUSTER_CLUSTER_PRIVATE_H

#include "cluster/cluster.h"
#include "raft/host.h"

#include <stdatomic.h>

/* The group with the catalog, the placement and the tables that were never spread. */
enum { GN_META_GROUP = 1 };

struct gn_cluster {
    gn_world *world;
    gn_account *account;
    gn_raft_host *host;
    gn_shard *meta; /* this node's replica of the meta group */
    _Atomic bool failed;
    void (*on_failure)(void *ctx, gn_code code, const char *message);
    void *failure_ctx;
};

#endif
