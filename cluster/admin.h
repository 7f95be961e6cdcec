/* What the process around a cluster's node tells operators beside what the node knows itself (net/admin.h). */
#ifndef GN_CLUSTER_ADMIN_H
#define GN_CLUSTER_ADMIN_H

#include "base/buf.h"
#include "net/mesh.h"

typedef struct gn_admin_host {
    const char *version; /* of the program; NULL = "" */
    gn_mesh *mesh;       /* its connections; NULL: none */
    /* Appends the configuration, without secrets. From any thread. May be NULL. */
    void (*configuration)(void *ctx, gn_buf *out);
    /* Ends the process and starts it again as it was started; begins with that and returns. From any thread. May be
     * NULL. */
    void (*restart)(void *ctx);
    void *ctx;
} gn_admin_host;

#endif
