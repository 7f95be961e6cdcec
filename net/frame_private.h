/* What goes over a connection between nodes: frames, each behind a head of 16 bytes, the first of them a hello.
 *
 *   u32 length of what follows the head | u8 kind | u8 channel | u16 0 | u64 checksum
 *
 * Numbers are in network order. The checksum is XXH3 of the payload, seeded with the first eight bytes of the head, so
 * that it vouches for both. Parsing is here, apart from all I/O, so that it can be fed anything. */
#ifndef GN_NET_FRAME_PRIVATE_H
#define GN_NET_FRAME_PRIVATE_H

#include "base/buf.h"
#include "base/limits.h"
#include "base/versions.h"
#include "base/world.h"

enum {
    MESH_VERSION_MIN = 1, /* versions of this protocol that this build speaks */
    MESH_VERSION_MAX = GN_FORMAT_MESH,
    MESH_HEAD_BYTES = 16,
    MESH_HELLO_BYTES = 64,   /* at least; from 0.2.0 on 72 */
    MESH_MAX_CONTROL = 1024, /* payload of anything but data; a newer hello may be longer than ours */
    MESH_MAX_REASON = 300,
};

typedef enum mesh_kind { MESH_HELLO = 1, MESH_REFUSAL, MESH_DATA, MESH_ALIVE, MESH_BYE, MESH_BYE_HEARD } mesh_kind;

/* Channels with a connection of their own; every other channel goes with the requests. */
typedef enum mesh_class { MESH_RAFT, MESH_REQUESTS, MESH_BULK, MESH_CLASSES } mesh_class;

typedef struct mesh_head {
    uint32_t length;
    mesh_kind kind;
    uint8_t channel;
    uint64_t checksum;
    uint64_t seed;
} mesh_head;

/* out: MESH_HEAD_BYTES */
void gn_mesh_head_write(uint8_t *out, mesh_kind kind, uint8_t channel, gn_bytes payload);
/* in: MESH_HEAD_BYTES. NULL, or why this can be no frame. */
const char *gn_mesh_head_read(const uint8_t *in, mesh_head *head);
bool gn_mesh_head_matches(const mesh_head *head, gn_bytes payload);

typedef struct mesh_hello {
    uint16_t version_min, version_max;
    uint8_t class;
    bool in_cluster; /* else the cluster's id is zero */
    uint8_t cluster[16];
    gn_node_id from;
    gn_node_id to;        /* 0: whoever is there */
    uint64_t incarnation; /* of the sender's mesh: drawn when it opened */
    uint64_t number;      /* of the connection, by the one that dialled; the answer repeats it */
    /* Cluster versions: what the sender can do, and what its cluster is at as far as it knows (0: it does not). A hello
     * without them is of version 1. */
    gn_version_range can;
    uint16_t at;
} mesh_hello;

void gn_mesh_hello_write(gn_buf *out, const mesh_hello *hello); /* the whole frame */
/* NULL, or why this is no hello. */
const char *gn_mesh_hello_read(gn_bytes payload, mesh_hello *hello);

/* Why a connection is refused. */
typedef enum mesh_refusal {
    MESH_REFUSE_VERSION = 1,
    MESH_REFUSE_CLUSTER,
    MESH_REFUSE_NODE,
    MESH_REFUSE_STRANGER,
    MESH_REFUSE_SELF,
    MESH_REFUSE_BUSY,
    MESH_REFUSALS
} mesh_refusal;

const char *gn_mesh_refusal_name(unsigned refusal); /* for a metric's label; "other" for what is not known */
void gn_mesh_refusal_write(gn_buf *out, mesh_refusal refusal, const char *words); /* the whole frame */
/* words: MESH_MAX_REASON bytes; what is not printable ASCII is replaced. False: this is no refusal. */
bool gn_mesh_refusal_read(gn_bytes payload, unsigned *refusal, char *words);

/* "host:port" or "[host]:port" into its parts; only characters that names and addresses have. */
bool gn_mesh_address_split(const char *address, char *host, size_t host_size, unsigned *port);
bool gn_mesh_is_loopback(const char *host);

#endif
