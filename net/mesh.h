/* The connections between the nodes of a cluster: frames of base/world.h over NNG's byte streams, TCP or TLS 1.3.
 *
 * A node has one listener; to each peer that it has to say something to it keeps one connection for each class of
 * channel (Raft, requests, bulk), so that a snapshot holds up no heartbeat. Whoever has something to say connects; a
 * connection carries frames both ways; when two nodes connect at the same time, one connection is kept. It begins with
 * a hello that names protocol version, cluster and nodes on both sides; what does not fit is refused with the reason,
 * in the log of both. A frame's size is checked against GN_MAX_NET_FRAME before memory is taken, its checksum before it
 * is given on. */
#ifndef GN_NET_MESH_H
#define GN_NET_MESH_H

#include "base/versions.h"
#include "base/world.h"

typedef struct gn_mesh gn_mesh;

typedef struct gn_mesh_options {
    const char *listen;     /* "host:port"; port 0: any (gn_mesh_address tells). Addresses with a colon in [] */
    const char *cluster_id; /* 32 hex digits; "" = not in a cluster yet: may only talk to nodes that let strangers in */
    /* Files in PEM; all three or none. Both sides show a certificate signed by `ca`; TLS 1.3 only. */
    const char *tls_ca, *tls_cert, *tls_key;
    bool insecure; /* no TLS on an address that is not loopback is refused without this */
    /* A node without a cluster id may connect here (it wants to join); its node id is a random one above
     * GN_MESH_STRANGER. */
    bool admit_strangers;
    size_t queue_bytes; /* frames waiting for one peer and class beyond it are dropped (counted); 0 = 64 MiB */
    /* How long the other side may take for its hello (0 = 5000), and how long nothing may be heard on a connection
     * before it is given up (0 = 10000). Frames wait as long for a connection, then they are dropped. */
    unsigned hello_ms, silence_ms;
    gn_version_range versions; /* cluster versions that this node can do */
} gn_mesh_options;

#define GN_MESH_STRANGER ((gn_node_id)1 << 62)

/* Listens, and becomes the network of this real world (gn_world_real_network). GN_CONFIGURATION, GN_IO (address in
 * use), ... with words that say what to do. From the main thread. */
gn_code gn_mesh_open(gn_world *world, const gn_mesh_options *options, gn_mesh **out, gn_error *err);
void gn_mesh_close(gn_mesh *mesh); /* before the world goes; NULL is fine */

const char *gn_mesh_address(const gn_mesh *mesh); /* what it listens on, with the real port */
/* What the cluster is at. Nodes that cannot do that are refused from now on, with the reason, and so are those that are
 * at what this node cannot do; connections to them end. Any thread. */
void gn_mesh_cluster_version(gn_mesh *mesh, uint32_t version);
/* Where a peer is found from now on; "" forgets. Any thread. */
void gn_mesh_peer(gn_mesh *mesh, gn_node_id id, const char *address);
/* A stranger (and whoever has the wrong address) asks an address who is there: connects, and gives the other's id,
 * after which frames can be sent to it. Blocks; from a strand or the main thread. GN_TIMEOUT, GN_CONNECTION_FAILURE. */
gn_code gn_mesh_contact(gn_mesh *mesh, const char *address, uint64_t deadline_ns, gn_node_id *id, gn_error *err);

typedef struct gn_mesh_peer_status {
    gn_node_id id;
    char address[256];
    bool connected;    /* the connection for requests */
    uint64_t heard_ns; /* gn_now_ns of the last byte from it on any; 0 = never */
    uint64_t bytes_in, bytes_out, frames_in, frames_out, frames_dropped;
    unsigned connections; /* of all classes, also those that are being given up */
    char last_error[200]; /* why the last connection failed or ended; "" = it did not */
} gn_mesh_peer_status;
/* Copies up to `max`, by id; gives how many there are. Any thread. */
size_t gn_mesh_peers(gn_mesh *mesh, gn_mesh_peer_status *out, size_t max);

#endif
