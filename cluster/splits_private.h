/* Splits of groups, seen from the nodes (docs/decisions/cluster.md). */
#ifndef GN_CLUSTER_SPLITS_PRIVATE_H
#define GN_CLUSTER_SPLITS_PRIVATE_H

#include "cluster/cluster_private.h"

/* `changes` of a child's row at first: it is not made by who opens it, and its members are its makers. No group that
 * was made otherwise comes to so many. */
enum { GN_SPLIT_CHANGES = 1 << 24 };

/* Splits a group that this node leads at the slot, 0: in the middle; returns when the placement says so. *out: what was
 * done. GN_NOT_LEADER; GN_OBJECT_IN_USE: not now; GN_NOT_IN_STATE, GN_INVALID_PARAMETER: not ever; GN_TIMEOUT: it is
 * done, or will be. From a strand. */
gn_code gn_split_group(gn_cluster *cluster, uint64_t group, uint32_t slot, gn_split *out, gn_error *err);

/* Opens what splits have left here, and tells the meta group of splits of groups that this node leads. True: it was
 * told. unfinished: there is, or was, something to do, so it is to be called again. The warden's. */
bool gn_splits_look(gn_cluster *cluster, bool *unfinished);
/* Splits one group that is led here and larger than the setting allows. The warden's. */
void gn_splits_large(gn_cluster *cluster);

/* Before the child's replica is opened in `dir`: takes what a split has left for it, if the group's log is unknown
 * here; otherwise that is removed. Holding the gate. */
gn_code gn_split_adopt_child(gn_cluster *cluster, uint64_t child, const char *dir, gn_error *err);
/* The parent's replica here has not applied the split yet: the child's is about to come from its own files. */
bool gn_split_is_to_come(gn_cluster *cluster, const gn_placement *placement, const gn_group_place *row);

/* It is a member of its group: an empty one that waits for a leader is none. */
bool gn_replica_has_begun(gn_shard *shard);

/* There are files in the directory of the group's replica that another group's replica here is to be made of. */
bool gn_split_has_left(gn_cluster *cluster, uint64_t group);

/* ---- coordinators ---- */
/* The slots that a group has by this placement; 0, 0: those that it was made with. */
void gn_group_believed(const gn_placement *placement, uint64_t group, uint32_t *lo, uint32_t *hi);
/* The group has refused these slots: waits until the placement here says something else of it, and gives
 * GN_SERIALIZATION. GN_UNAVAILABLE: that does not come; GN_CANCELED. From a strand. */
gn_code gn_slots_moved(gn_cluster *cluster, uint64_t group, uint32_t lo, uint32_t hi, const _Atomic bool *cancel,
                       gn_error *err);

#endif
