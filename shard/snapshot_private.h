/* Manifests, chunks, and the snapshots that a replica holds.
 *
 *     snapshots/<index>-<id>/manifest       as it goes through Raft
 *                            store/...      a checkpoint of RocksDB: hard links to its SST files, copies of the rest
 *                            vector/<index>-<epoch>/...   the files of a vector index
 *     incoming/<index>-<id>/...             the same, as it arrives; a file under its own name is whole
 *
 * A directory in snapshots/ is complete: it is moved there as the last step. */
#ifndef GN_SHARD_SNAPSHOT_PRIVATE_H
#define GN_SHARD_SNAPSHOT_PRIVATE_H

#include "shard/files_private.h"
#include "shard/shard_private.h"
#include "shard/snapshot.h"

/* ---- manifests (snapshot_manifest.c) ---- */

enum { GN_SNAPSHOT_NAME = 128, GN_FILE_SUM = 16 };

typedef struct gn_snapshot_file {
    char name[GN_SNAPSHOT_NAME]; /* "store/000012.sst", "vector/5-1/MANIFEST" */
    uint64_t size;
    uint8_t sum[GN_FILE_SUM]; /* XXH3-128, canonical */
} gn_snapshot_file;

typedef struct gn_manifest_files {
    gn_snapshot_file *items; /* ascending by name */
    size_t n, cap;
} gn_manifest_files;

typedef struct gn_snapshot_manifest {
    uint64_t group_id, index, id;
    gn_node_id maker;
    gn_scn last_scn, horizon;
    gn_manifest_files files; /* none: a flush only, of use to nobody else */
} gn_snapshot_manifest;

void gn_snapshot_manifest_close(gn_snapshot_manifest *m);
void gn_snapshot_manifest_add(gn_snapshot_manifest *m, const gn_snapshot_file *file);
/* Sorts the files. GN_LIMIT: there are too many. */
gn_code gn_snapshot_manifest_write(gn_snapshot_manifest *m, gn_buf *out, gn_error *err);
/* Believes nothing: names cannot lead out of a directory, sizes add up. GN_CORRUPT. */
gn_code gn_snapshot_manifest_read(gn_bytes bytes, gn_snapshot_manifest *out, gn_error *err);
/* GN_FEATURE when the name is none that a snapshot may have. */
bool gn_snapshot_name_valid(const char *name);
uint64_t gn_snapshot_manifest_bytes(const gn_snapshot_manifest *m);

/* ---- chunks (snapshot_chunk.c) ---- */

/* Compressed if that pays; the checksum covers the place as well as the bytes. */
void gn_chunk_encode(const gn_chunk_request *request, gn_bytes raw, gn_buf *out);
/* Into `raw`, exactly `len` bytes. GN_CORRUPT. */
gn_code gn_chunk_decode(const gn_chunk_request *request, gn_bytes chunk, uint8_t *raw, size_t len, gn_error *err);

/* ---- what a replica holds (snapshot_hold.c) ---- */

typedef struct gn_held_snapshot gn_held_snapshot;
struct gn_held_snapshot {
    gn_held_snapshot *next; /* newest first */
    size_t refs;
    gn_snapshot_manifest manifest;
    char *dir;
    uint64_t lease_until_ns; /* somebody reads it */
};

/* Finds what is complete in snapshots/, removes the rest. */
gn_code gn_held_open(gn_shard *shard, gn_error *err);
void gn_held_close(gn_shard *shard);
/* Counted; NULL: there is none. */
gn_held_snapshot *gn_held_find(gn_shard *shard, uint64_t index, uint64_t id);
gn_held_snapshot *gn_held_newest(gn_shard *shard);
void gn_held_release(gn_shard *shard, gn_held_snapshot *held); /* NULL is fine */
/* Two at most are held: removes one, if that must be, that nobody reads. GN_OBJECT_IN_USE: both are read. */
gn_code gn_held_make_room(gn_shard *shard, gn_error *err);
/* Moves the complete directory `from` to its place in snapshots/ and takes the manifest over, also when it fails. */
gn_code gn_held_add(gn_shard *shard, const char *from, gn_snapshot_manifest *manifest, gn_error *err);
/* All but the newest go when nobody reads them. The keeper's, now and then. */
void gn_held_tidy(gn_shard *shard);
void gn_held_distrust(gn_shard *shard, uint64_t index, uint64_t id); /* removes it */
void gn_held_dir_name(char out[64], uint64_t index, uint64_t id);

/* ---- files (snapshot_files.c) ---- */

/* The checksum of a whole file; *size as found. GN_CANCELED when *cancel (may be NULL) becomes true. */
gn_code gn_file_sum(const char *path, const _Atomic bool *cancel, uint64_t *size, uint8_t sum[GN_FILE_SUM],
                    gn_error *err);
/* Creates the directories above the file `name` in `dir`. */
gn_code gn_snapshot_make_parents(const char *dir, const char *name, gn_error *err);
gn_code gn_snapshot_write_manifest(const char *dir, gn_bytes bytes, gn_error *err);
/* All directories of a snapshot are on disk. */
gn_code gn_snapshot_sync(const char *dir, const gn_snapshot_manifest *m, gn_error *err);

/* ---- taking (snapshot.c) ---- */
/* What the store has now, in the new directory `path`, by links where that can be. */
gn_code gn_snapshot_checkpoint(gn_store *store, const char *path, gn_error *err);
gn_scn gn_snapshot_horizon(gn_shard *shard); /* up to which something may have been collected */
/* Somebody asked for a snapshot that is not held here: if this node leads and what Raft would send has no files here,
 * a new one is made. Any thread. */
void gn_snapshot_wanted_elsewhere(gn_shard *shard);

/* ---- installing (snapshot_install.c) ---- */
void gn_installer_init(gn_shard *shard, const gn_chunk_link *link, uint64_t bytes_per_second);
void gn_installer_close(gn_shard *shard);
/* What came for installs that were given up and that the log has overtaken is removed. The keeper's. */
void gn_incoming_tidy(gn_shard *shard);

#endif
