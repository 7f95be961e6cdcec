/* Merges of groups, seen from the nodes (docs/decisions/cluster.md). */
#ifndef GN_CLUSTER_MERGES_PRIVATE_H
#define GN_CLUSTER_MERGES_PRIVATE_H

#include "cluster/cluster_private.h"

typedef struct gn_merged {
    uint64_t group, victim;
    uint32_t slot_lo, slot_hi; /* that the group has */
} gn_merged;

/* The neighbour into which a group would best be merged: the one with fewer slots. GN_NO_OBJECT, GN_NOT_IN_STATE. */
gn_code gn_merge_neighbour(gn_cluster *cluster, uint64_t victim, uint64_t *into, gn_error *err);
/* Merges `victim` into its neighbour, a group that this node leads; returns when the placement says so.
 * GN_NOT_LEADER; GN_OBJECT_IN_USE: not now, and nothing has changed; GN_NOT_IN_STATE, GN_INVALID_PARAMETER,
 * GN_NO_OBJECT: not ever; GN_TIMEOUT, GN_UNAVAILABLE and what else may come of a command: it may go on by itself. From
 * a strand. */
gn_code gn_merge_groups(gn_cluster *cluster, uint64_t victim, uint64_t into, gn_merged *out, gn_error *err);

/* Has whoever leads the survivor begin; it goes on by itself. From a strand. */
gn_code gn_merge_ask(gn_cluster *cluster, uint64_t victim, uint64_t into, gn_error *err);
/* What the leader of a group says of it. From a strand. */
typedef struct gn_group_weight {
    uint64_t bytes, rate; /* of rows; log entries a second */
    bool merging;
} gn_group_weight;
gn_code gn_merge_weigh(gn_cluster *cluster, uint64_t group, gn_group_weight *out, gn_error *err);

/* ---- merges_small.c ---- */
/* Begins to merge two neighbours that have been too small for a while, if the settings say so. The warden's. */
void gn_merges_small(gn_cluster *cluster);
/* By the settings two groups that have so much together should be one. */
bool gn_merge_is_worth(const gn_cluster *cluster, uint64_t bytes, uint64_t rate);

/* Goes on with merges into groups that this node leads, and tells the meta group of those that are done. True: it was
 * told. unfinished: it is to be called again. The warden's. */
bool gn_merges_look(gn_cluster *cluster, bool *unfinished);
/* Removes this node's replicas of groups that have ended, a while after the placement has said so: others go by an
 * older one yet. True: some are here yet. The warden's. */
bool gn_merges_remove_ended(gn_cluster *cluster);

/* The slots of a group that is led here, not before this was asked. From a strand. */
gn_code gn_slots_now(gn_cluster *cluster, gn_shard *shard, gn_slots *out, gn_error *err);

void gn_merges_serve(gn_cluster *cluster); /* answers other nodes */

#endif
