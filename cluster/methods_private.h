/* The methods of requests between nodes (net/rpc.h). A number keeps its meaning for ever; what is in a request begins
 * with a version of its own. */
#ifndef GN_CLUSTER_METHODS_PRIVATE_H
#define GN_CLUSTER_METHODS_PRIVATE_H

typedef enum gn_method {
    GN_METHOD_CLOCK = 1,     /* clock.c: SCNs */
    GN_METHOD_GROUP = 2,     /* groups.c: what a replica asks of its leader (gn_shard_serve) */
    GN_METHOD_JOIN = 3,      /* nodes.c: a new node wants to be one of us */
    GN_METHOD_NUDGE = 5,     /* nodes.c: the placement has changed */
    GN_METHOD_CHUNK = 6,     /* groups.c: a piece of a snapshot's file */
    GN_METHOD_ADMIN = 7,     /* admin.c: an operator's tool (net/admin.h) */
    GN_METHOD_MEMBERS = 8,   /* balance.c: of a group, as its leader has them */
    GN_METHOD_VERSIONS = 9,  /* admin_upgrade.c: what cluster versions a node can do; not known to 0.1 */
    GN_METHOD_CATCH_UP = 10, /* catch_up.c: what replicas of several groups ask of their leader; not known to 0.1 */
    GN_METHOD_LOADS = 11,    /* loads.c: of the groups that a node leads; not known to 0.1 */
    GN_METHOD_MERGE = 12,    /* merges.c: a group is to be taken in by another; not known to 0.1 */

    /* 16 ... 39: parts of transactions (part_wire_private.h) */
    GN_METHOD_PART_RUN = 16,   /* one step of a part: buffered writes, then a read or its end */
    GN_METHOD_PART_ABORT = 17, /* parts that their coordinator has given up */
    GN_METHOD_PART_KEEP = 18,  /* parts that are idle, and shall stay */
    GN_METHOD_GROUP_DECIDE = 20,
    GN_METHOD_GROUP_DECISION = 21,
    GN_METHOD_GROUP_FORGET = 22,
    GN_METHOD_COORDINATES = 23, /* resolver.c: whether a transaction is being committed there; not known to 0.1 */
} gn_method;

#endif
