/* The mesh's parts: mesh.c has peers, dials and the listener, mesh_connection.c what happens on one connection.
 *
 * One mutex guards all of it but what is marked otherwise. NNG calls back on its own threads, with no lock of its own
 * held; its streams and operations are called with ours held, so that none is used once it was closed: NNG's TLS
 * streams never end what is begun on them after that. What must wait for a callback to return (to free a stream, an
 * operation or a dialer) is a task on the mesh's queue, never done in a callback: NNG has few threads for them. */
#ifndef GN_NET_MESH_PRIVATE_H
#define GN_NET_MESH_PRIVATE_H

#include "base/metrics.h"
#include "net/frame_private.h"
#include "net/mesh.h"
#include "net/tls_private.h"

#include <pthread.h>
#include <stdatomic.h>

enum {
    MESH_MAX_PEERS = 4096,
    MESH_MAX_HALF_OPEN = 64, /* connections that others began and have not said hello on */
    MESH_DIAL_MS = 5000,
    MESH_TICK_MS = 500,    /* or less, if what is timed is shorter */
    MESH_LINGER_MS = 1000, /* how long who was refused is given to read why */
    MESH_DRAIN_MS = 5000,
    MESH_USED_MS = 60000, /* a peer that was sent to within this is connected to again */
    MESH_RETRY_MIN_MS = 20,
    MESH_RETRY_MAX_MS = 1000,
    MESH_CHANNEL_RAFT = 1, /* as raft/ and net/rpc.h have them */
    MESH_CHANNEL_REQUESTS = 2,
    MESH_CHANNEL_BULK = 3,
    MESH_ADDRESS = 256,
    MESH_WORDS = 200, /* as gn_mesh_peer_status.last_error */
};

typedef struct mesh_peer mesh_peer;
typedef struct mesh_connection mesh_connection;

/* A frame to be sent, head first. */
typedef struct mesh_outbound {
    struct mesh_outbound *next;
    size_t size;
    bool control; /* else it counts in its link's `queued` */
    uint8_t bytes[];
} mesh_outbound;

typedef struct mesh_outbounds {
    mesh_outbound *first, *last;
} mesh_outbounds;

/* What goes to one peer in one class of channels. */
typedef struct mesh_link {
    mesh_peer *peer;
    mesh_class class;
    mesh_outbounds waiting;
    size_t queued;        /* bytes waiting or with a connection, not sent yet */
    mesh_connection *up;  /* takes from `waiting`; NULL: there is none */
    bool dialling;        /* from the dial until the connection is up or given up */
    nng_aio *retry;       /* sleeps */
    bool retrying;        /* it does */
    unsigned failures;    /* since the last connection */
    uint64_t next_try_ns; /* no dial before */
    uint64_t used_ns;     /* of the last frame to send */
    uint64_t waiting_ns;  /* since when frames have waited for a connection */
} mesh_link;

struct mesh_peer {
    gn_mesh *mesh;
    gn_node_id id;
    char address[MESH_ADDRESS]; /* "" = not known */
    nng_tls_config *tls;        /* for that address; NULL: not made yet, or no TLS */
    mesh_link links[MESH_CLASSES];
    char last_error[MESH_WORDS];
    _Atomic uint64_t heard_ns, bytes_in, bytes_out, frames_in, frames_out, frames_dropped;
};

/* Somebody waits in gn_mesh_contact; on its stack. */
typedef struct mesh_contact {
    gn_event event;
    bool resolved;
    gn_code code;
    gn_node_id id;
    char address[MESH_ADDRESS];
    char words[MESH_WORDS + MESH_MAX_REASON];
    struct mesh_contact *next;
} mesh_contact;

/* One attempt to connect. */
typedef struct mesh_dial {
    gn_task cleanup;
    gn_mesh *mesh;
    mesh_link *link;       /* for which; NULL: */
    mesh_contact *contact; /* for whom; NULL too: who wanted it has gone */
    nng_stream_dialer *dialer;
    nng_aio *aio;
    char address[MESH_ADDRESS];
    struct mesh_dial *next;
} mesh_dial;

/*  dialled, accepted -> GREETING -> UP -> DRAINING -> CLOSED
 *                           \-> REFUSING ------------^           and from everywhere to CLOSED by an error
 *
 * DRAINING: another connection is better; what was begun is sent, then a bye, which the other side confirms. Who has
 * heard both ends it, and nothing is lost; to have sent its bye is not enough, since TLS may still have it. REFUSING:
 * the refusal is on its way; what comes is thrown away. */
typedef enum mesh_state { MESH_GREETING, MESH_REFUSING, MESH_UP, MESH_DRAINING, MESH_CLOSED } mesh_state;

/* A frame that came, until its receiver is done with it. */
typedef struct mesh_inbound {
    gn_net_frame frame;
    mesh_connection *connection;
    mesh_head head;
    size_t have, cap; /* of `bytes`, while it is being received */
    uint8_t bytes[];
} mesh_inbound;

struct mesh_connection {
    gn_task cleanup;
    gn_mesh *mesh;
    mesh_connection *next, *prev; /* of the mesh */
    mesh_state state;
    bool dialled;
    mesh_class class;
    mesh_link *link;       /* once it is up */
    mesh_link *dial_link;  /* that it was dialled for, until it is up */
    mesh_contact *contact; /* that it was dialled for, until it is up */
    uint64_t number, incarnation;
    gn_version_range can; /* the other side; once it is up */
    uint64_t since_ns;    /* in this state */
    char where[MESH_ADDRESS];
    nng_stream *stream;
    /* sending */
    nng_aio *send, *quick;
    bool sending, bye_sent, bye_heard, bye_received;
    mesh_outbounds control;
    mesh_outbounds out; /* being sent */
    unsigned n_out;
    size_t out_done; /* bytes of its first that are gone */
    uint64_t sent_ns;
    uint8_t *staging;
    /* receiving: touched only by the operation's callback, or when there is none */
    nng_aio *recv;
    bool greeted;
    gn_node_id from;
    mesh_peer *peer;
    uint8_t *in;
    size_t in_len;
    mesh_inbound *large; /* one that does not fit `in` */
    /* atomic, without the mutex */
    _Atomic uint64_t heard_ns;
    _Atomic size_t undone; /* bytes of frames that receivers are not done with */
    _Atomic bool paused;   /* no receive is under way since they are too many */
    _Atomic unsigned refs; /* one for the stream and its operations, one a frame not done */
};

struct gn_mesh {
    gn_world *world;
    gn_node_id self;
    bool in_cluster;
    uint8_t cluster[16];
    bool tls, insecure, admit_strangers;
    gn_version_range can;
    uint32_t at; /* the cluster's version; 0: not known yet */
    size_t queue_bytes;
    uint64_t hello_ns, silence_ns;
    nng_duration tick_ms;
    uint64_t incarnation;
    char address[MESH_ADDRESS];
    gn_tls_identity identity;
    gn_queue *cleanup;

    nng_stream_listener *listener;
    nng_aio *accept, *accept_pause, *tick;

    pthread_mutex_t lock;
    pthread_cond_t gone; /* a connection or a dial */
    bool closing;
    uint64_t last_number;
    mesh_peer **peers; /* by id; none is ever taken away */
    size_t n_peers, peers_cap;
    mesh_connection *connections;
    unsigned n_connections, n_half_open, n_dials;
    mesh_dial *dials;
    mesh_contact *contacts;
    char last_words[MESH_MAX_REASON]; /* logged of connections with no known node */
    uint64_t last_words_ns;

    gn_metric *bytes_in, *bytes_out, *frames_in, *frames_out, *dropped, *open;
};

/* ---- mesh.c; all with the mutex held ---- */

mesh_peer *gn_mesh_peer_find(gn_mesh *mesh, gn_node_id id);
mesh_peer *gn_mesh_peer_make(gn_mesh *mesh, gn_node_id id); /* found or new; NULL: too many */
void gn_mesh_peer_set_address(mesh_peer *peer, const char *address);
/* Remembers why there is no connection, and logs it if it is news. peer may be NULL: nobody known. */
void gn_mesh_note(gn_mesh *mesh, mesh_peer *peer, const char *where, const char *words);
/* Sees to it that what waits goes out: on the connection, or by getting one. */
void gn_mesh_link_kick(mesh_link *link);
/* The link's dial or connection came to nothing, or ended; the next try waits a while. */
void gn_mesh_link_failed(mesh_link *link);
void gn_mesh_contact_resolve(mesh_contact *contact, gn_code code, gn_node_id id, const char *words);

/* ---- mesh_connection.c; all with the mutex held ---- */

/* Takes the stream. link, contact: for which it was dialled; both NULL: accepted. */
void gn_mesh_connection_open(gn_mesh *mesh, nng_stream *stream, const char *where, bool dialled, mesh_link *link,
                             mesh_contact *contact);
void gn_mesh_connection_send(mesh_connection *connection); /* if nothing is being sent: begins with what waits */
/* Whether two nodes of one cluster can talk: NULL, or why not, in `words` of MESH_MAX_REASON bytes. at: what the
 * cluster is at as far as either knows; 0: neither does. */
const char *gn_mesh_judge_versions(gn_node_id node, gn_version_range can, uint32_t at, char *words);
/* words: why, for who wants to know; NULL: it was to end. */
void gn_mesh_connection_close(mesh_connection *connection, const char *words);
void gn_mesh_connection_tick(mesh_connection *connection, uint64_t now);
/* Frees all; gives the number of data frames among them. */
size_t gn_mesh_outbounds_free(mesh_outbounds *list);
void gn_mesh_outbounds_append(mesh_outbounds *list, mesh_outbound *frame);

#endif
