/* One open RocksDB directory, counted: readers keep the store that they began on while a snapshot install puts another
 * in its place. */
#ifndef GN_SHARD_STORE_PRIVATE_H
#define GN_SHARD_STORE_PRIVATE_H

#include "shard/keyspace_private.h"

#include <rocksdb/c.h>

typedef struct gn_store_options {
    uint64_t block_cache_bytes, memtable_bytes;
    /* Versions that only a read below this SCN could see may go. Asked when a compaction begins. */
    gn_scn (*horizon)(void *ctx);
    void *horizon_ctx;
} gn_store_options;

typedef struct gn_store {
    rocksdb_t *db;
    rocksdb_options_t *options;
    rocksdb_writeoptions_t *write; /* no WAL: the Raft log is the only synced log */
    rocksdb_readoptions_t *point;  /* for the versions of one key: by prefix bloom */
    rocksdb_readoptions_t *sweep;  /* for passes over everything: leaves the cache alone */
    char *path;
    _Atomic uint32_t refs;
    _Atomic bool doomed; /* its directory goes with the last reference */
} gn_store;

gn_code gn_store_open(const char *path, const gn_store_options *options, gn_store **out, gn_error *err);
/* What is in the directory of a checkpoint, without a change to it. */
gn_code gn_store_open_to_read(const char *path, const gn_store_options *options, gn_store **out, gn_error *err);
gn_store *gn_store_retain(gn_store *store);
void gn_store_release(gn_store *store); /* the last one closes; NULL is fine */

/* Turns RocksDB's message into an error and frees it; NULL is success. */
gn_code gn_store_check(char *message, const char *what, gn_error *err);

gn_code gn_store_write(gn_store *store, rocksdb_writebatch_t *batch, gn_error *err);
/* Everything written before the call is on disk when it returns. */
gn_code gn_store_flush(gn_store *store, gn_error *err);
/* Appends the value. *found false: there is none. */
gn_code gn_store_get(gn_store *store, gn_bytes key, gn_buf *value, bool *found, gn_error *err);
/* An iterator over keys that begin with prefix (and from <= key < to within, where given); owns its bounds. */
typedef struct gn_store_iter {
    rocksdb_iterator_t *it;
    rocksdb_readoptions_t *read;
    uint8_t *lower, *upper;
} gn_store_iter;
void gn_store_iter_open(gn_store_iter *iter, gn_store *store, gn_bytes lower, gn_bytes upper, bool cached);
void gn_store_iter_close(gn_store_iter *iter); /* zeroed is fine */
static inline bool gn_store_iter_valid(const gn_store_iter *iter)
{
    return rocksdb_iter_valid(iter->it);
}
gn_bytes gn_store_iter_key(const gn_store_iter *iter);
gn_bytes gn_store_iter_value(const gn_store_iter *iter);
gn_code gn_store_iter_status(const gn_store_iter *iter, gn_error *err);

#endif
