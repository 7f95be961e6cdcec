/* The change log: what each commit touched, in order of SCN, in records of one or more chunks.
 *
 *   version u8, flags u8, txn id be64,
 *   { 'R' varints table epoch branch, be32 n, n x (varint key length << 1 | deleted, key) }*
 *   last chunk: 'X', then the index sections of gn_recent_pack_indexes
 */
#ifndef GN_SHARD_CHANGE_LOG_PRIVATE_H
#define GN_SHARD_CHANGE_LOG_PRIVATE_H

#include "shard/recent_private.h"
#include "shard/store_private.h"

/* Puts a record together and into a write batch. */
typedef struct gn_change_writer {
    rocksdb_writebatch_t *batch;
    gn_scn scn;
    uint64_t txn_id;
    uint32_t chunk;
    gn_buf buf;
    bool in_section;
    gn_space space;
    size_t count_at;
    uint32_t count;
} gn_change_writer;

void gn_change_writer_init(gn_change_writer *w);
void gn_change_writer_close(gn_change_writer *w);
void gn_change_begin(gn_change_writer *w, rocksdb_writebatch_t *batch, gn_scn scn, uint64_t txn_id);
void gn_change_row(gn_change_writer *w, const gn_space *space, gn_bytes key, bool deleted);
void gn_change_end(gn_change_writer *w, gn_bytes index_sections);

/* Reads one chunk: fn for each change; index_sections (may be NULL) gets the 'X' part. GN_CORRUPT; *stopped when fn
 * returned false. */
typedef bool (*gn_change_fn)(void *ctx, const gn_space *space, gn_bytes key, bool deleted);
gn_code gn_change_read(gn_bytes chunk, uint64_t *txn_id, gn_change_fn fn, void *ctx, bool *stopped,
                       gn_bytes *index_sections, gn_error *err);

/* Changes with from < scn <= to. The log's floor is the caller's business. */
gn_code gn_change_scan(gn_store *store, gn_scn from, gn_scn to, bool (*fn)(void *ctx, const gn_change *change),
                       void *ctx, gn_error *err);
/* As gn_change_scan, but with the space. */
gn_code gn_change_scan_spaces(gn_store *store, gn_scn from, gn_scn to,
                              bool (*fn)(void *ctx, gn_scn scn, const gn_space *space, gn_bytes key, bool deleted),
                              void *ctx, gn_error *err);
/* Fills the window of recent commits from the log. log_floor: the log is complete above it. */
gn_code gn_change_load_recent(gn_store *store, gn_scn log_floor, gn_recent *recent, gn_error *err);

#endif
