/* What an operator's tool says to a node: requests by one method of net/rpc.h, answered with one JSON document each.
 *
 *   request   version (1)  node (8)  name  arguments: count (2), text*         a text: length (2), bytes
 *   answer    UTF-8 JSON
 *
 * Whoever may connect to the cluster's listener may ask. A request names the node that shall answer; 0 is the one that
 * got it, which hands on what is for another. Numbers are big endian. */
#ifndef GN_NET_ADMIN_H
#define GN_NET_ADMIN_H

#include "base/buf.h"
#include "base/versions.h"
#include "base/world.h"

enum {
    GN_ADMIN_METHOD = 7, /* of gn_rpc_call */
    GN_ADMIN_VERSION = GN_FORMAT_ADMIN,
    GN_ADMIN_MAX_ARGS = 8,
    GN_ADMIN_MAX_TEXT = 16384, /* of one argument: a key as hex digits */
    GN_ADMIN_MAX_REQUEST = 65536,
    GN_ADMIN_MAX_ANSWER = 64 << 20,
};

/* X(name, name on the wire, least arguments, most, what it does). Arguments are texts; numbers in decimal. */
#define GN_ADMIN_COMMANDS(X)                                                                                       \
    X(NODE, "node", 0, 0, "what this node knows of itself, its replicas and its connections")                      \
    X(CLUSTER, "cluster", 0, 1, "the placement, and \"node\" of every node; [milliseconds to wait for them]")      \
    X(METRICS, "metrics", 0, 0, "{\"text\": metrics in Prometheus' format}")                                       \
    X(CONFIG, "config", 0, 0, "{\"text\": the configuration}")                                                     \
    X(TRANSFER, "transfer-leader", 2, 2, "group, node: has the group's leader hand over to the node")              \
    X(STATE, "node-state", 2, 3, "node, active|draining|gone, [force]: a row of gnomon_nodes")                     \
    X(MOVE, "move", 3, 3, "group, from, to: a member of a group is to be another node")                            \
    X(SPLIT, "split", 1, 2, "group, [slot]: rows of slots from this one on become a group of their own")           \
    X(MERGE, "merge", 1, 2, "group, [neighbour]: its rows go to the neighbour, and the group ends")                \
    X(REBALANCE, "rebalance-plan", 0, 0, "what the balancer is going to do")                                       \
    X(CHECK_PLAN, "check-plan", 0, 1, "[table]: which groups have which tables")                                   \
    X(CHECKSUM, "checksum", 4, 6, "group, table id, SCN, rows, [from, [to]]: of this node's replica")              \
    X(CHECK_INDEX, "check-index", 4, 4, "group, table id, index id, SCN: this node's replica, rows against index") \
    X(UPGRADE, "upgrade", 0, 1, "[finish]: which cluster versions the nodes can do; raises the cluster's")         \
    X(RECOVER, "recover", 2, 8,                                                                                    \
      "note CLUSTER NODES SCN [GROUP:TERM:INDEX,...]..., start|finish CLUSTER: see cluster/recover.h")

typedef enum gn_admin_command {
#define GN_ADMIN_ENUM(name, wire, least, most, what) GN_ADMIN_##name,
    GN_ADMIN_COMMANDS(GN_ADMIN_ENUM)
#undef GN_ADMIN_ENUM
        GN_ADMIN_N_COMMANDS
} gn_admin_command;

typedef struct gn_admin_request {
    gn_node_id node; /* who shall answer; 0: whoever gets it */
    gn_admin_command command;
    unsigned n_args;
    const char *args[GN_ADMIN_MAX_ARGS];
} gn_admin_request;

/* False: too many or too long arguments. */
bool gn_admin_request_write(gn_buf *out, const gn_admin_request *request);
/* The arguments lie in `arena`. GN_PROTOCOL for bytes that are no request of this version, GN_FEATURE for a command
 * that this node does not know, GN_INVALID_PARAMETER for a wrong number of arguments. */
gn_code gn_admin_request_read(gn_bytes bytes, gn_arena *arena, gn_admin_request *out, gn_error *err);

#endif
