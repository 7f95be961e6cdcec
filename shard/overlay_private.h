/* What the commands of a write batch have changed before it is written: the state of rows and of unique index entries,
 * by key. Open addressing; a generation number makes clearing free. Keys and data are borrowed until the clear. */
#ifndef GN_SHARD_OVERLAY_PRIVATE_H
#define GN_SHARD_OVERLAY_PRIVATE_H

#include "shard/keyspace_private.h"

typedef struct gn_overlay_item {
    uint64_t generation, hash;
    gn_space space;
    gn_bytes key;
    gn_bytes data; /* the row, or the entry's primary key */
    bool exists;
} gn_overlay_item;

typedef struct gn_overlay {
    gn_overlay_item *items;
    size_t n, cap, first_cap;
    uint64_t generation;
} gn_overlay;

/* cap: room to begin with, a power of two. */
void gn_overlay_init(gn_overlay *overlay, size_t cap);
void gn_overlay_close(gn_overlay *overlay);
void gn_overlay_clear(gn_overlay *overlay);
void gn_overlay_set(gn_overlay *overlay, const gn_space *space, gn_bytes key, bool exists, gn_bytes data);
const gn_overlay_item *gn_overlay_find(const gn_overlay *overlay, const gn_space *space, gn_bytes key);

#endif
