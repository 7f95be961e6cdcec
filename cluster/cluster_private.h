/* What the files of cluster/ share. */
#ifndef GN_CLUSTER_CLUSTER_PRIVATE_H
#define GN_CLUSTER_CLUSTER_PRIVATE_H

#include "cluster/clock_private.h"
#include "cluster/cluster.h"
#include "cluster/placement_private.h"
#include "cluster/resolver_private.h"
#include "raft/host.h"

#include <pthread.h>
#include <stdatomic.h>

/* The group with the catalog, the placement and the tables that were never spread. */
enum { GN_META_GROUP = 1 };
/* The meta group's sequence of group ids. */
enum { GN_GROUP_SEQUENCE = GN_FIRST_SYSTEM_ID };

/* A replica on this node. */
typedef struct gn_local_group {
    uint64_t id;
    gn_shard *shard;
} gn_local_group;

struct gn_cluster {
    gn_world *world;
    gn_account *account;
    char *data_dir;
    gn_shard_options replica; /* what all replicas are opened with */
    gn_clock clock;
    bool spread; /* there are data groups, so the meta group goes by the clock too */
    gn_raft_host *host;
    gn_shard *meta; /* this node's replica of the meta group */
    gn_resolver *resolver;
    struct gn_rpc *rpc;     /* NULL: this node is the cluster */
    struct gn_parts *parts; /* of transactions, on other nodes and of them; with rpc */
    _Atomic bool failed;
    void (*on_failure)(void *ctx, gn_code code, const char *message);
    void *failure_ctx;

    pthread_mutex_t ddl_lock; /* one distribution is made at a time */
    pthread_mutex_t lock;     /* of what follows; held for a few instructions */
    gn_local_group *groups;   /* by id, the meta group among them */
    size_t n_groups;
    gn_placement *placement;
};

gn_code gn_make_directory(const char *path, gn_error *err); /* one that is there is fine */

/* ---- groups.c ---- */
/* Opens every replica whose directory is there; the meta group's is created when there is none. */
gn_code gn_groups_open(gn_cluster *cluster, gn_error *err);
void gn_groups_close(gn_cluster *cluster, bool clean);
/* Creates a group, or this node's replica of it. It is in the registry when this returns. */
gn_code gn_group_create(gn_cluster *cluster, uint64_t id, const gn_raft_member *members, size_t n, gn_error *err);
uint64_t gn_group_of(gn_cluster *cluster, const gn_shard *replica); /* 0: not in the registry yet */
gn_shard *gn_group_replica(gn_cluster *cluster, uint64_t id);       /* NULL: this node has none */

/* ---- meta.c ---- */
/* What a new database begins with: the system tables, this node, the meta group. Nothing if they are there. */
gn_code gn_meta_bootstrap(gn_cluster *cluster, gn_error *err);
gn_code gn_meta_refresh(gn_cluster *cluster, gn_error *err); /* reads the placement again */
gn_placement *gn_meta_placement(gn_cluster *cluster);        /* retained */
gn_code gn_meta_put_node(gn_txn *meta, const gn_node_place *node, gn_error *err);
gn_code gn_meta_put_distribution(gn_txn *meta, const gn_distribution *distribution, gn_error *err);
gn_code gn_meta_put_group(gn_txn *meta, const gn_group_place *group, gn_error *err);

#endif
