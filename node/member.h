/* A node as a member of its cluster: who it is, how it became that, and the connections to the others. */
#ifndef GN_NODE_MEMBER_H
#define GN_NODE_MEMBER_H

#include "cluster/cluster.h"
#include "net/mesh.h"
#include "node/config.h"

typedef struct gn_member {
    gn_identity identity;
    gn_world *world;   /* with the identity's node id */
    gn_mesh *mesh;     /* NULL: it has no cluster_listen, so no peers */
    char address[256]; /* where other nodes find it; "" without a mesh */
} gn_member;

/* Reads the identity in the data directory. An empty one founds a cluster, or, with `join`, becomes a node of that of
 * the nodes named there: asks them in turn for a minute. From the main thread. */
gn_code gn_member_open(const gn_config *config, gn_member *out, gn_error *err);
void gn_member_close(gn_member *member); /* after everything that lives in its world; zeroed is fine */
/* For gn_cluster_options: ctx is the member. */
void gn_member_peer(void *ctx, gn_node_id id, const char *address);

#endif
