/* How large and how busy groups are, as their leaders tell: what replicas and leaders are spread by. */
#ifndef GN_CLUSTER_LOADS_PRIVATE_H
#define GN_CLUSTER_LOADS_PRIVATE_H

#include "cluster/cluster_private.h"

typedef struct gn_group_load {
    uint64_t group;
    uint64_t bytes; /* of rows, estimated */
    uint64_t rate;  /* log entries a second, over the last half minute or so */
} gn_group_load;

typedef struct gn_loads {
    gn_group_load *items; /* by group; free() */
    size_t n;
} gn_loads;

gn_group_load gn_loads_of(const gn_loads *loads, uint64_t group); /* zeroes where nothing is known */

/* How busy the groups here are; to be called about once a second. The warden's. */
void gn_loads_sample(gn_cluster *cluster);
double gn_loads_rate(gn_cluster *cluster, uint64_t group); /* of a replica here, log entries a second */
/* The group was split: what it had to do until now tells half of what it will have to. The warden's. */
void gn_loads_halve(gn_cluster *cluster, uint64_t group);
/* Asks all active nodes at the same time, for a second at most. False: there are groups of which no leader has told
 * anything, and *out is as it was. In a cluster in which nodes may not know the question it is empty. From a strand. */
bool gn_loads_gather(gn_cluster *cluster, gn_loads *out);
void gn_loads_serve(gn_cluster *cluster); /* answers other nodes */

#endif
