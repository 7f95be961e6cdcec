/* What the files of cluster/ share. */
#ifndef GN_CLUSTER_CLUSTER_PRIVATE_H
#define GN_CLUSTER_CLUSTER_PRIVATE_H

#include "base/gate.h"
#include "cluster/clock_private.h"
#include "cluster/cluster.h"
#include "cluster/placement_private.h"
#include "cluster/resolver_private.h"
#include "raft/host.h"

#include <pthread.h>
#include <stdatomic.h>

/* The group with the catalog, the placement and the tables that were never spread. */
enum { GN_META_GROUP = 1 };

/* A replica on this node. Whoever uses it holds it; a transaction that is open on it holds it too. One that is leaving
 * is given to nobody any more, and closed when nobody holds it. */
typedef struct gn_local_group {
    uint64_t id;
    gn_shard *shard;
    uint32_t held;
    bool leaving;
    uint64_t end_at_ns;                 /* merges.c: it has ended, and goes then; 0 = no */
    uint64_t sampled_index, sampled_ns; /* loads.c */
    double rate;
} gn_local_group;

typedef struct gn_warden gn_warden;
typedef struct gn_peers gn_peers;

struct gn_cluster {
    gn_world *world;
    gn_account *account;
    char *data_dir;
    gn_shard_options replica; /* what all replicas are opened with */
    gn_identity identity;
    char *address, *zone; /* "" = none */
    gn_peers *peers;      /* the warden's, once it runs */
    void (*peer)(void *ctx, gn_node_id id, const char *address);
    void *peer_ctx;
    gn_admin_host admin;
    uint64_t opened_ns;
    gn_version_range can;           /* cluster versions */
    _Atomic uint32_t at;            /* the cluster's, as far as this node has made it its own */
    uint64_t split_bytes;           /* a group that is larger is split; 0 = none is */
    uint64_t split_rate;            /* and one that is busier */
    unsigned hedge_percent;         /* of reads elsewhere that may be asked of a second replica, too */
    uint64_t merge_bytes;           /* neighbours that have less together are merged; 0 = none are */
    _Atomic uint64_t merge_calm_ns; /* when it has been so for so long */
    struct {
        uint64_t survivor, victim, since_ns, look_ns;
    } small;                 /* the warden's (merges_small.c) */
    _Atomic bool merging;    /* a merge is being gone on with; who does: */
    uint64_t merge_most;     /* bytes that a group may have that is merged into another: so long its rows wait */
    uint64_t no_hold_before; /* prepares are not held for a merge again */

    gn_rpc *rpc;
    gn_clock *clock;
    gn_gate clock_gate;
    _Atomic bool clocked; /* there are data groups or other nodes, so the meta group goes by the clock too */
    gn_raft_host *host;
    gn_shard *meta;                /* this node's replica of the meta group */
    gn_resolver *_Atomic resolver; /* NULL while starting */
    struct gn_pool *scatter;       /* strands on which a transaction's parts begin at once */
    struct gn_parts *parts;        /* of transactions, on other nodes and of them */
    gn_warden *warden;
    _Atomic bool starting, failed, stopping; /* starting: its strands do not run yet */
    void (*on_failure)(void *ctx, gn_code code, const char *message);
    void *failure_ctx;

    gn_gate ddl_gate;       /* one distribution is made at a time */
    gn_gate open_gate;      /* one replica is opened at a time */
    pthread_mutex_t lock;   /* of what follows; held for a few instructions */
    gn_local_group *groups; /* by id, the meta group among them */
    size_t n_groups;
    gn_placement *placement;
};

gn_code gn_make_directory(const char *path, gn_error *err); /* one that is there is fine */

/* ---- identity.c ---- */
/* Replaces a small file of the data directory as a whole, durably. */
gn_code gn_put_file(const char *data_dir, const char *name, const char *text, gn_error *err);
bool gn_clock_is_used(const gn_cluster *cluster);
/* From now on, over restarts, the meta group goes by the clock. This node must lead it, or be about to. */
gn_code gn_clock_use(gn_cluster *cluster, gn_error *err);

/* ---- groups.c ---- */
/* Opens this node's replica of the meta group; makes that when there is none. */
gn_code gn_groups_open_meta(gn_cluster *cluster, gn_error *err);
/* Opens the replicas that the placement gives this node, and makes those that are not there. *postponed: not yet those
 * whose files a split is about to make. */
gn_code gn_groups_open_placed(gn_cluster *cluster, bool *postponed, gn_error *err);
/* At the start, before those: what is here and to be elsewhere, as long as its group may count on it; and what a crash
 * has left of removals. */
gn_code gn_groups_open_left(gn_cluster *cluster, gn_error *err);
void gn_groups_close(gn_cluster *cluster, bool clean);
/* A replica of the group on this node; nothing if it is there. n = 0: it waits for a leader to add it. It is in the
 * registry when this returns. */
gn_code gn_group_open(gn_cluster *cluster, uint64_t id, const gn_raft_member *members, size_t n, gn_error *err);
/* All that are not leaving, held. */
size_t gn_group_list(gn_cluster *cluster, gn_local_group **out);
void gn_group_list_free(gn_cluster *cluster, gn_local_group *list, size_t n);
gn_shard *gn_group_hold(gn_cluster *cluster, uint64_t id); /* NULL: this node has none, or it is leaving */
/* The same for transactions: nor if the placement has it elsewhere, since a replica that was removed knows no leader.
 */
gn_shard *gn_group_hold_member(gn_cluster *cluster, uint64_t id);
void gn_group_release(gn_cluster *cluster, gn_shard *replica); /* NULL is fine */
/* The replica was removed from its group: closes it, and removes it with its log. GN_OBJECT_IN_USE: it is leaving, but
 * is held yet: call again. From a strand. */
gn_code gn_group_drop(gn_cluster *cluster, uint64_t id, gn_error *err);
/* It is a member again, before it could be closed: it is used as before. False: it is not leaving. From the strand that
 * has it leave. */
bool gn_group_stay(gn_cluster *cluster, uint64_t id);
/* The group has ended: the same, and no replica of it is ever made here again. */
gn_code gn_group_end(gn_cluster *cluster, uint64_t id, gn_error *err);
/* The groups that have ended and have a replica here, leaving or not, that is due: `after_ns` after they were first
 * seen here. *waits: there are others. */
size_t gn_groups_ended(gn_cluster *cluster, uint64_t after_ns, uint64_t *out, size_t max, bool *waits);
/* All groups that have a replica's directory here, open or not; to be freed. */
gn_code gn_group_directories(const gn_cluster *cluster, uint64_t **out, size_t *n, gn_error *err);
/* The directory of the group's replica. */
gn_code gn_group_path(const gn_cluster *cluster, uint64_t id, char *out, size_t size, gn_error *err);
void gn_groups_serve(gn_cluster *cluster);                          /* answers other nodes */
uint64_t gn_group_of(gn_cluster *cluster, const gn_shard *replica); /* 0: not in the registry yet */

/* ---- meta.c ---- */
/* What a new database begins with: the system tables, this node, the meta group. Nothing if they are there. */
gn_code gn_meta_bootstrap(gn_cluster *cluster, gn_error *err);
/* A transaction of this node's own, which waits for others neither long nor while the node stops. */
gn_code gn_meta_begin(gn_cluster *cluster, bool read_only, bool stale, gn_txn **out, gn_error *err);
/* Reads the placement again; stale: as this node's replica has it. */
gn_code gn_meta_refresh(gn_cluster *cluster, bool stale, gn_error *err);
gn_placement *gn_meta_placement(gn_cluster *cluster);         /* retained */
bool gn_group_has_ended(gn_cluster *cluster, uint64_t group); /* was merged into another, as far as this node knows */
/* Rows of gnomon_cluster. */
gn_code gn_meta_put_setting(gn_txn *meta, const char *name, const char *value, gn_error *err);
gn_code gn_meta_get_setting(gn_txn *meta, const char *name, char *value, size_t size, bool *found, gn_error *err);
gn_code gn_meta_put_node(gn_txn *meta, const gn_node_place *node, gn_error *err);
gn_code gn_meta_put_distribution(gn_txn *meta, const gn_distribution *distribution, gn_error *err);
gn_code gn_meta_put_group(gn_txn *meta, const gn_group_place *group, gn_error *err);

/* ---- warden.c: makes of the placement what it says ---- */
gn_warden *gn_warden_create(gn_cluster *cluster);
bool gn_warden_start(gn_warden *warden); /* false: no thread can be had */
void gn_warden_stop(gn_warden *warden);
void gn_warden_free(gn_warden *warden);  /* after the groups were closed */
void gn_warden_nudge(gn_warden *warden); /* there may be something to do; any thread; NULL is fine */

/* ---- balance.c ---- */
/* The group goes on without this node: the placement says so, and its leader too. */
bool gn_group_is_removed(gn_cluster *cluster, uint64_t group);

/* ---- versions.c: the cluster's version ---- */
/* Takes over what the placement says: durably here, then for the connections, then for gn_cluster_is_at.
 * GN_CONFIGURATION: this build cannot do it. From a strand or the main thread. */
gn_code gn_versions_follow(gn_cluster *cluster, gn_error *err);
/* Raises the cluster's version by a transaction of the meta group, which also makes what that version brings. Whoever
 * calls it knows that every one of n_nodes, with those that are gone, can. GN_NOT_IN_STATE: another one has come. */
gn_code gn_versions_raise(gn_cluster *cluster, uint32_t version, uint32_t n_nodes, gn_error *err);
/* A node without others has nobody to wait for, and often nobody who looks after it. */
gn_code gn_versions_raise_alone(gn_cluster *cluster, gn_error *err);
void gn_versions_serve(gn_cluster *cluster); /* admin_upgrade.c: answers other nodes */
/* In the transaction that founds a cluster. */
gn_code gn_versions_found(gn_cluster *cluster, gn_txn *meta, gn_error *err);

/* ---- admin.c ---- */
void gn_admin_serve(gn_cluster *cluster);

/* ---- nodes.c ---- */
void gn_nodes_serve(gn_cluster *cluster);
/* Tells every other node that the placement has changed; they would see it anyway, later. */
void gn_nodes_nudge_one(gn_cluster *cluster, uint32_t turn); /* one of them, in turn */
void gn_nodes_nudge_all(gn_cluster *cluster);
/* The row of this node says where it is. */
gn_code gn_nodes_announce(gn_cluster *cluster, gn_error *err);
void gn_nodes_tell_peers(gn_cluster *cluster);   /* their addresses, to whoever connects to them; and remembers them */
void gn_nodes_recall_peers(gn_cluster *cluster); /* tells those that were remembered before the last end */

/* ---- peers.c: where other nodes are, as a hint that survives restarts ---- */
gn_peers *gn_peers_read(const char *data_dir); /* empty if nothing can be read; freed with free() */
/* "" forgets it. True if that is new. */
bool gn_peers_put(gn_peers *peers, gn_node_id id, const char *address);
size_t gn_peers_each(const gn_peers *peers, void (*fn)(void *ctx, gn_node_id id, const char *address), void *ctx);
gn_code gn_peers_write(gn_peers *peers, const char *data_dir, gn_error *err); /* if something is new */

#endif
