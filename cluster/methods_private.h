/* The methods of requests between nodes (net/rpc.h). A number keeps its meaning for ever; what is in a request begins
 * with a version of its own. */
#ifndef GN_CLUSTER_METHODS_PRIVATE_H
#define GN_CLUSTER_METHODS_PRIVATE_H

typedef enum gn_method {
    /* 1 ... 15: clock, groups, placement */

    /* 16 ... 39: parts of transactions (part_wire_private.h) */
    GN_METHOD_PART_RUN = 16,   /* one step of a part: buffered writes, then a read or its end */
    GN_METHOD_PART_ABORT = 17, /* parts that their coordinator has given up */
    GN_METHOD_PART_KEEP = 18,  /* parts that are idle, and shall stay */
    GN_METHOD_GROUP_DECIDE = 20,
    GN_METHOD_GROUP_DECISION = 21,
    GN_METHOD_GROUP_FORGET = 22,
} gn_method;

#endif
