/* The last resort while nodes run: a majority of some groups' replicas was lost for ever, and those that are left shall
 * go on. An operator's tool (ops/recover.c) looks at all that are left and chooses, for each such group, the replica
 * with the longest log. Each node that is left then
 *
 *   1. notes durably what it is to do, in the file RECOVER of its data directory, if it agrees;
 *   2. starts again, and does it before anything else: its chosen replicas become their groups' only members
 *      (raft/force.h), and the node belongs to a new cluster from then on, the same for all that are left.
 *
 * The new cluster's id keeps the lost nodes out if they come back after all: two halves of a group would each go on. */
#ifndef GN_CLUSTER_RECOVER_H
#define GN_CLUSTER_RECOVER_H

#include "cluster/cluster.h"

typedef struct gn_recovery {
    char from[33], to[33]; /* ids of the clusters */
    gn_scn above;          /* the clock goes on above this, which groups that are left may have: it lost its own mark */
    size_t n;
    uint64_t *groups; /* that go on with this node's replica; to be freed */
} gn_recovery;

bool gn_cluster_id_is_valid(const char *text);
/* Replaces what was noted before, which was not done yet. */
gn_code gn_recovery_note(const char *data_dir, const gn_recovery *recovery, gn_error *err);
/* Does what is noted, if anything is, and changes the identity, on disk too. May be cut off anywhere and done again.
 * The node must not run. From the main thread. */
gn_code gn_recovery_do(const char *data_dir, gn_identity *identity, gn_error *err);
/* What the clock goes on above, from the last recovery on; 0: there was none. GN_CORRUPT. */
gn_code gn_recovery_floor(const char *data_dir, gn_scn *out, gn_error *err);

/* When the groups go on: definitions that are there in part are made the same again. Numbers of tables. */
typedef struct gn_redefined {
    uint64_t redefined; /* as the meta group has them, in groups that had them otherwise */
    uint64_t dropped;   /* by groups: the meta group does not know them */
    uint64_t lost;      /* not looked at: nothing is left of a group of theirs */
} gn_redefined;
gn_code gn_recovery_redefine(gn_cluster *cluster, gn_redefined *out, gn_error *err); /* from a strand */

#endif
