/* Reading versions: of one key, or of a range of keys, as a branch at an SCN sees them.
 *
 * A chain names the branch read and its ancestors, nearest first, each with the SCN up to which it is seen (the read
 * SCN, cut to the fork's SCN). The newest version of a key in the nearest branch that has one at or below its SCN is
 * the key's version; a tombstone there hides the ancestors. Versions never change once written, so a read at an SCN
 * needs no RocksDB snapshot: newer versions are skipped, and garbage collection leaves what an open transaction can
 * see. */
#ifndef GN_SHARD_MVCC_PRIVATE_H
#define GN_SHARD_MVCC_PRIVATE_H

#include "index/vector_index.h" /* gn_branch_at */
#include "shard/store_private.h"

enum { GN_MAX_CHAIN = 32 };

typedef struct gn_chain {
    gn_branch_at links[GN_MAX_CHAIN];
    size_t n;
} gn_chain;

/* ---- one key ---- */

/* Keeps one iterator for many look-ups. What was written after the first look-up is not seen. */
typedef struct gn_point_reader {
    gn_store *store;
    rocksdb_iterator_t *it;
    rocksdb_pinnableslice_t *pinned; /* what gn_point_get_version gave last */
    gn_buf seek;
} gn_point_reader;

typedef struct gn_version {
    gn_scn scn;
    gn_bytes row; /* borrowed until the next look-up */
} gn_version;

void gn_point_open(gn_point_reader *reader, gn_store *store);
void gn_point_close(gn_point_reader *reader); /* zeroed is fine */
/* space->branch is not looked at; the chain is. *found false: no version or a tombstone. */
gn_code gn_point_get(gn_point_reader *reader, const gn_space *space, const gn_chain *chain, gn_bytes key,
                     gn_version *out, bool *found, gn_error *err);

/* One version by its SCN: what it shows at that moment is the caller's knowledge. row: borrowed until the next look-up.
 */
gn_code gn_point_get_version(gn_point_reader *reader, const gn_space *space, gn_bytes key, gn_scn scn, gn_bytes *row,
                             bool *found, gn_error *err);

/* ---- a range ---- */

typedef struct gn_mvcc_link {
    gn_store_iter iter;
    gn_scn scn;
    size_t prefix;
    gn_buf stem; /* of the current key, with the space's prefix */
    gn_scn version;
    gn_bytes value; /* forward: the iterator's; reverse: `copy`'s */
    gn_buf copy;
    bool done;
    bool used; /* the current key has been given out */
} gn_mvcc_link;

typedef struct gn_mvcc_cursor {
    gn_mvcc_link *links;
    size_t n;
    bool reverse, started;
} gn_mvcc_cursor;

/* Keys of the space within the span, ascending or descending. */
void gn_mvcc_open(gn_mvcc_cursor *cursor, gn_store *store, const gn_space *space, const gn_chain *chain,
                  const gn_key_span *span, bool reverse);
void gn_mvcc_close(gn_mvcc_cursor *cursor); /* zeroed is fine */
/* The next live key. key (without prefix and SCN), out->row: borrowed until the next call. GN_NO_DATA at the end. */
gn_code gn_mvcc_next(gn_mvcc_cursor *cursor, gn_bytes *key, gn_version *out, gn_error *err);

#endif
