/* Snapshots of a replica that travel between machines.
 *
 * A snapshot is a checkpoint of the store and the files of the vector indexes, named by a manifest that goes through
 * Raft and means the same on every node. A replica that is to install one fetches the files in chunks, from its
 * group's leader, which has the files of every manifest that it sends, or makes anew what it lacks; else from the node
 * that made it. How chunks get from node to node is not known here. */
#ifndef GN_SHARD_SNAPSHOT_H
#define GN_SHARD_SNAPSHOT_H

#include "base/buf.h"
#include "base/limits.h"
#include "base/world.h"

typedef struct gn_shard gn_shard;

enum {
    GN_CHUNK_ENCODED = GN_MAX_SNAPSHOT_CHUNK + 100, /* a chunk as it travels is never longer */
    GN_CHUNK_REQUEST_BYTES = 37,
};

/* Which piece of which file. Files have no names here: the number is the file's place in the manifest. */
typedef struct gn_chunk_request {
    uint64_t group_id, index, snapshot_id;
    uint32_t file;
    uint64_t offset;
} gn_chunk_request;

/* The way to other nodes. */
typedef struct gn_chunk_link {
    void *ctx;
    /* Has gn_shard_read_chunk of the group's replica on that node answer; what it returned comes back. GN_NO_OBJECT:
     * the snapshot is not there, or not any more; any other code: not now. Blocks for a second or two at most, since
     * the replica has no vote while it waits, and ends early when *cancel becomes true; from a strand. NULL: this
     * replica installs no snapshots. */
    gn_code (*fetch)(void *ctx, gn_node_id node, const gn_chunk_request *request, const _Atomic bool *cancel,
                     gn_buf *chunk, gn_error *err);
} gn_chunk_link;

/* Appends a chunk of a snapshot that this replica holds. GN_NO_OBJECT: it does not hold it; if it leads the group, it
 * makes a new one soon, which Raft tells the follower of. GN_INVALID_PARAMETER: there is no such piece. What is being
 * read stays for some minutes. From a strand. */
/* What is being installed is put off, and so is what comes: before that goes away through which chunks are fetched, at
 * the latest with gn_shard_close. From a strand. */
void gn_shard_stop_installs(gn_shard *shard);
gn_code gn_shard_read_chunk(gn_shard *shard, const gn_chunk_request *request, gn_buf *chunk, gn_error *err);

/* A request as bytes. */
void gn_chunk_request_write(gn_buf *out, const gn_chunk_request *request);
gn_code gn_chunk_request_read(gn_bytes bytes, gn_chunk_request *out, gn_error *err);

/* How far an install has come. */
typedef struct gn_install_progress {
    bool running;
    uint64_t index, bytes, bytes_total; /* of the files */
    uint64_t fetched, linked;           /* of these, what came over the network, and what was here already */
} gn_install_progress;
void gn_shard_install_progress(gn_shard *shard, gn_install_progress *out);

#endif
