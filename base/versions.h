/* Every form in which bytes of one build of GnomonDB meet another build - on the wire, in the log, on disk - and the
 * cluster version, which says from when a newer form may be used. docs/decisions/versions.md says why it is so.
 *
 * A cluster runs AT one cluster version; it is kept in the meta group (gnomon_cluster, "version") and in each node's
 * Raft log store, so that a build that is too old for what is on a disk refuses to start on it. A build can run in
 * clusters at any version from GN_CLUSTER_VERSION_LEAST to GN_CLUSTER_VERSION_MOST. What a build of an older version
 * would not understand is written or sent only when the cluster is AT the version that brought it: ask
 * gn_cluster_is_at(cluster, GN_SINCE_...). `gnomonctl upgrade --finish` raises the version when every node can.
 *
 * How to change a form that another build may meet:
 *   1. Give the new form a new number below, beside its old one, and keep reading the old one.
 *   2. Unless the forms of the version at the end of GN_CLUSTER_VERSIONS are in no release yet, add a version there.
 *   3. Add a GN_SINCE_ for it, and write or send the new form only when the cluster is at that.
 *   4. What must be there once the version is reached (a column of a system table) is made in the transaction that
 *      raises it (cluster/versions.c).
 *   5. `make test-upgrade` runs the release before beside this one. */
#ifndef GN_BASE_VERSIONS_H
#define GN_BASE_VERSIONS_H

#include <stdbool.h>
#include <stdint.h>

/* X(number, the first release that has it, what it brought). Numbers follow each other. */
#define GN_CLUSTER_VERSIONS(X)                                                                                       \
    X(1, "0.1.0", "the first one")                                                                                   \
    X(2, "0.2.0",                                                                                                    \
      "gnomon_nodes has a column that says which program a node runs; groups can be split and merged; fragments of " \
      "queries run where the rows are; columns of halfvec, sparsevec and bit, and vector indexes over them; the "    \
      "first group of a transaction over several commits and decides in one entry; indexes on expressions, and "     \
      "partial ones")

enum {
#define GN_VERSION_LAST(number, release, what) GN_CLUSTER_VERSION_AFTER_##number = (number) + 1,
    GN_CLUSTER_VERSIONS(GN_VERSION_LAST)
#undef GN_VERSION_LAST
        GN_CLUSTER_VERSION_END,
    GN_CLUSTER_VERSION_MOST = GN_CLUSTER_VERSION_END - 2, /* the newest of the table */
    GN_CLUSTER_VERSION_LEAST = 1,                         /* the oldest in whose clusters this build can still run */
};

/* What a cluster must be at before it is used. */
enum {
    GN_SINCE_NODE_PROGRAMS = 2, /* gnomon_nodes.version */
    GN_SINCE_SPLITS = 2,        /* the command GN_COMMAND_SPLIT, and what only groups that were split say */
    GN_SINCE_LOADS = 2,         /* questions about the sizes and loads of groups */
    GN_SINCE_MERGES = 2,        /* GN_COMMAND_MERGE, and groups in gnomon_groups that have ended */
    GN_SINCE_FRAGMENTS = 2,     /* scans with work to be done on the rows where they lie */
    GN_SINCE_DECIDE = 2,        /* GN_COMMAND_DECIDE, and the step of a part that asks for it */
    GN_SINCE_VECTOR_TYPES = 2,  /* columns of halfvec, sparsevec, bit; vector indexes by other distances than the first
                                                        three, or with an ef_search of their own */
    GN_SINCE_COMPUTED = 2,      /* tables with computed columns: indexes on expressions, and partial ones */
};

/* Which cluster versions a build can do. */
typedef struct gn_version_range {
    uint16_t least, most; /* zeroed: those of this build */
} gn_version_range;

static inline gn_version_range gn_version_range_or_own(gn_version_range range)
{
    const gn_version_range own = {GN_CLUSTER_VERSION_LEAST, GN_CLUSTER_VERSION_MOST};
    return range.most ? range : own;
}
static inline bool gn_version_can(gn_version_range range, uint32_t version)
{
    return range.least <= version && version <= range.most;
}

/* X(name, number that is written, what has it, and what each number means). Where a form has had more than one number,
 * those that are still read are told. */
#define GN_FORMATS(X)                                                                                             \
    /* between nodes */                                                                                           \
    X(MESH, 1,                                                                                                    \
      "frames of a connection (net/frame_private.h); its hello tells least and most, and may grow at the "        \
      "end: from 0.2.0 on it tells cluster versions")                                                             \
    X(RPC, 1, "frames of requests and answers (net/rpc_frame.c)")                                                 \
    X(RAFT_WIRE, 1, "frames of Raft's messages (raft/codec.c)")                                                   \
    X(ADMIN, 1, "an operator's request (net/admin.h); commands go by name, an unknown one is refused with 0A000") \
    X(JOIN, 2,                                                                                                    \
      "a stranger's request to become a node (cluster/nodes.c): 1 names one version of the protocol; 2 the "      \
      "cluster versions that it can do, and its program. 1 is understood, and tried with who refuses 2")          \
    X(CLOCK, 1, "a request for SCNs (cluster/clock.c)")                                                           \
    X(MEMBERS, 1, "a request for a group's members (cluster/balance.c)")                                          \
    X(LOADS, 1, "a request for the sizes and loads of groups (cluster/loads.c)")                                  \
    X(DECIDE, 1, "decisions about prepared transactions (cluster/group_decide.c)")                                \
    X(PART, 1, "a step of a part of a transaction (cluster/part_wire.c)")                                         \
    X(FRAGMENT, 1, "what is done with rows where they lie (query/fragment.c)")                                    \
    X(CATCH_UP, 1, "what replicas of several groups ask of their leader (cluster/catch_up.c)")                    \
    X(MERGE, 1, "what the leader of a group asks of another that it takes in (cluster/merges.c)")                 \
    X(PART_LIST, 1, "parts that are kept alive or given up (cluster/parts.c)")                                    \
    X(GROUP, 1, "what a replica asks of its leader (shard/leader.c)")                                             \
    X(CHUNK, 1, "a piece of a snapshot's file (shard/snapshot_chunk.c)")                                          \
    X(BATCH, 1, "rows in columns (query/batch_pack.c)")                                                           \
    /* in the log, hence in every replica */                                                                      \
    X(COMMAND, 1, "a command of a group's log (shard/command.c) in a database that does not use the clock")       \
    X(COMMAND_CLOCK, 2, "the same with an SCN from the clock")                                                    \
    X(MANIFEST, 2, "a snapshot's list of files (shard/snapshot_manifest.c)")                                      \
    X(TABLE_DESC, 1,                                                                                              \
      "a table's descriptor in the catalog (query/schema.c): a map; keys that are not known are skipped, "        \
      "and lost when it is written again, so a new key needs a cluster version")                                  \
    X(COMPUTED, 1, "the expression of a computed column, in a table's descriptor (query/computed.c)")             \
    X(ROW, 1, "a stored row (query/row.c)")                                                                       \
    /* on a node's own disk */                                                                                    \
    X(NODE_FILE, 1, "the file NODE (cluster/identity.c)")                                                         \
    X(LOG_ENTRY, 1, "an entry in the Raft log store (raft/log_store.c)")                                          \
    X(LOG_STATE, 1, "a group's term and vote there")                                                              \
    X(LOG_SNAPSHOT, 1, "a group's last snapshot there")                                                           \
    X(CHANGE, 1, "a record of the change log (shard/change_log.c)")                                               \
    X(PREPARED, 1, "a prepared transaction (shard/prepared.c)")                                                   \
    X(DECISION, 1, "a decision kept by the first group (shard/apply_prepared.c)")                                 \
    X(SEGMENT, 3,                                                                                                 \
      "a file of a vector index (index/segment_format_private.h): 1 has no codes, 3 vectors of float16. All are " \
      "read; 3 is written for columns of halfvec alone, which come with cluster version 2, and 2 for all others")

/* The first record of the Raft log store has the cluster version in place of a number of its own (raft/host.c). */

enum {
#define GN_FORMAT_ENUM(name, number, what) GN_FORMAT_##name = (number),
    GN_FORMATS(GN_FORMAT_ENUM)
#undef GN_FORMAT_ENUM
};

#endif
