/* The groups of a database seen as one store. Above it SQL knows tables, transactions and scans, not where rows are;
 * below it a shard knows its own rows, not who else has some.
 *
 * A node's part of a cluster is one gn_cluster. A database that was never spread has one group, led by this node, and
 * every call goes straight to it. */
#ifndef GN_CLUSTER_CLUSTER_H
#define GN_CLUSTER_CLUSTER_H

#include "shard/shard.h"

typedef struct gn_cluster gn_cluster;

typedef struct gn_cluster_options {
    const char *data_dir;       /* created */
    uint64_t retention_ms;      /* 0 = 1 hour */
    uint64_t block_cache_bytes; /* of each group */
    uint64_t memtable_bytes;
    gn_account *account; /* caches, indexes and what is in flight charge here */
    /* The process must end: the log's disk failed. Called once, from any thread. */
    void (*failed)(void *ctx, gn_code code, const char *message);
    void *failed_ctx;
} gn_cluster_options;

/* Opens the Raft host and the groups that this node has replicas of. GN_LOCKED when another process has the directory.
 * From a strand or the main thread. */
gn_code gn_cluster_open(gn_world *world, const gn_cluster_options *options, gn_cluster **out, gn_error *err);
/* No transaction is open. clean: flushes, so that the next open replays nothing. */
void gn_cluster_close(gn_cluster *cluster, bool clean); /* NULL is fine */
/* Reads and writes can be served. Any thread. */
bool gn_cluster_ready(gn_cluster *cluster);

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
/* Waits until the vector index has all it was given in segments, in every group. */
gn_code gn_cluster_vindex_build(gn_cluster *cluster, uint64_t index_id, void (*progress)(void *, uint64_t, uint64_t),
                                void *ctx, const _Atomic bool *cancel, gn_error *err);
/* Collects garbage and compacts what this node has. */
gn_code gn_cluster_compact(gn_cluster *cluster, gn_error *err);

#endif
