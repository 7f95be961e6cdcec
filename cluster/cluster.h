/* The groups of a database seen as one store. Above it SQL knows tables, transactions and scans, not where rows are;
 * below it a shard knows its own rows, not who else has some.
 *
 * A node's part of a cluster is one gn_cluster. A database that was never spread has one group, led by this node, and
 * every call goes straight to it. */
#ifndef GN_CLUSTER_CLUSTER_H
#define GN_CLUSTER_CLUSTER_H

#include "base/versions.h"
#include "cluster/admin.h"
#include "net/rpc.h"
#include "shard/shard.h"

typedef struct gn_cluster gn_cluster;

/* Who a node is; kept in the file NODE of its data directory. A directory has one identity for ever, and an identity
 * one directory: a node that lost its disk joins as a new one. */
typedef struct gn_identity {
    gn_node_id node;  /* never 0 */
    char cluster[33]; /* 32 hex digits */
    bool founder;     /* made the cluster; otherwise it joined */
} gn_identity;

/* GN_NO_FILE: the directory has none (or is not there). GN_CORRUPT. */
gn_code gn_identity_read(const char *data_dir, gn_identity *out, gn_error *err);
/* Creates the directory and the file, durably. */
gn_code gn_identity_write(const char *data_dir, const gn_identity *identity, gn_error *err);
/* Of node 1 of a new cluster. */
gn_identity gn_identity_found(gn_world *world);

typedef struct gn_cluster_options {
    const char *data_dir;        /* created */
    const gn_identity *identity; /* NULL: a cluster of this node alone, whose world's id it keeps */
    const char *address;         /* "host:port" at which other nodes reach this one; NULL or "" = it has no peers */
    const char *zone;            /* failure domain: replicas of a group are kept in different ones; NULL = none */
    /* Tells where a node is found, when that is new. From any thread; must not block. May be NULL. */
    void (*peer)(void *ctx, gn_node_id id, const char *address);
    void *peer_ctx;
    uint64_t retention_ms;      /* 0 = 1 hour */
    uint64_t block_cache_bytes; /* of each group */
    uint64_t memtable_bytes;
    uint64_t copy_bytes_per_second; /* of a replica that comes here; 0 = 100 MiB */
    uint64_t split_bytes;           /* a group whose rows take more is split in two; 0 = never */
    uint64_t split_rate;            /* and one with more log entries a second, for half a minute or so; 0 = never */
    unsigned hedge_percent;         /* of reads on other nodes: so many may be asked of a second replica; 0 = none */
    uint64_t merge_bytes;           /* and neighbours that splits have left with less together are; 0 = never */
    gn_account *account;            /* caches, indexes and what is in flight charge here */
    /* The process must end: the log's disk failed. Called once, from any thread. */
    void (*failed)(void *ctx, gn_code code, const char *message);
    void *failed_ctx;
    gn_admin_host host;        /* zeroed: none */
    gn_version_range versions; /* cluster versions that this build can do */
} gn_cluster_options;

/* Opens the Raft host and the groups that this node has replicas of. GN_LOCKED when another process has the directory.
 * From a strand or the main thread. */
gn_code gn_cluster_open(gn_world *world, const gn_cluster_options *options, gn_cluster **out, gn_error *err);
/* Who asks to become a node. */
typedef struct gn_newcomer {
    const char *address, *zone; /* as in gn_cluster_options */
    const char *program;        /* its version; NULL = "" */
    gn_version_range versions;
} gn_newcomer;
/* Asks to become a node of the cluster of which `contact` is one, reachable through the world of `rpc`, which is a
 * stranger's. From a strand or the main thread. GN_CONFIGURATION: refused, with the reason. */
gn_code gn_cluster_join(gn_rpc *rpc, gn_node_id contact, const gn_newcomer *who, uint64_t deadline_ns, gn_identity *out,
                        gn_error *err);
/* Notes in the directory of a node that has joined, and is not open yet, where another is: one that dies before it has
 * heard of all finds them again through that one. */
void gn_cluster_remember(const char *data_dir, gn_node_id id, const char *address);
/* No transaction is open. clean: flushes, so that the next open replays nothing. */
void gn_cluster_close(gn_cluster *cluster, bool clean); /* NULL is fine */
/* Reads and writes can be served. Any thread. */
bool gn_cluster_ready(gn_cluster *cluster);
/* The cluster is at this version (base/versions.h): every node understands what that brought, and always will. Cheap;
 * any thread. What this node heard last: others may know of a higher one already. */
bool gn_cluster_is_at(const gn_cluster *cluster, uint32_t version);

/* ---- what is not transactional ---- from a strand */

enum { GN_MAX_SHARDS = 1024, GN_MAX_REPLICAS = 9 };
/* The distribution with so many groups and replicas of each; made, with its groups, when there is none yet. Tables of
 * one distribution lie together. replicas 0: the default, 3 or as many as there are nodes. GN_INVALID_PARAMETER. */
gn_code gn_cluster_distribution(gn_cluster *cluster, uint32_t shards, uint32_t replicas, uint64_t *id, gn_error *err);

/* Fresh ids for tables, indexes, sequences; unique in the database for ever. */
gn_code gn_cluster_new_ids(gn_cluster *cluster, uint64_t n, uint64_t *first, gn_error *err);
/* Sequence values, handed out in cached blocks; gaps after a crash. start is used the first time. */
gn_code gn_cluster_sequence_next(gn_cluster *cluster, uint64_t sequence_id, int64_t start, uint32_t n, int64_t *first,
                                 gn_error *err);
/* Raises the sequence so that the next value is above `value`. */
gn_code gn_cluster_sequence_raise(gn_cluster *cluster, uint64_t sequence_id, int64_t value, gn_error *err);
/* Live rows and bytes over all groups, estimated. */
void gn_cluster_table_stats(gn_cluster *cluster, const gn_table_desc *table, gn_table_stats *out);
/* Sums over what this node's replicas have of a vector index; recall and codes are those of all, and of the largest.
 * Where a group has no replica here nobody is asked: `where` says of how many this is the sum. */
typedef struct gn_vindex_presence {
    uint32_t groups, groups_here, groups_live; /* live: not being filled */
} gn_vindex_presence;
struct gn_vindex_stats;
void gn_cluster_vindex_stats(gn_cluster *cluster, const gn_table_desc *table, uint64_t index_id,
                             struct gn_vindex_stats *out, gn_vindex_presence *where);
/* Waits until the vector index has all it was given in segments, in every group of the distribution that has a replica
 * here. GN_TIMEOUT: a replica has not heard of the index for 10 s. */
gn_code gn_cluster_vindex_build(gn_cluster *cluster, uint64_t distribution_id, uint64_t index_id,
                                void (*progress)(void *, uint64_t, uint64_t), void *ctx, const _Atomic bool *cancel,
                                gn_error *err);
/* Collects garbage and compacts what this node has. */
gn_code gn_cluster_compact(gn_cluster *cluster, gn_error *err);

#endif
