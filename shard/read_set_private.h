/* What a transaction has read: keys and ranges of keys, per space. Bounded: a space with too many items becomes "all of
 * it", which can only cause a needless retry, never a missed conflict. */
#ifndef GN_SHARD_READ_SET_PRIVATE_H
#define GN_SHARD_READ_SET_PRIVATE_H

#include "shard/keyspace_private.h"

enum { GN_READ_ITEMS_MAX = 8192, GN_READ_BYTES_MAX = 4 << 20, GN_READ_SPACES_MAX = 65536 };

typedef struct gn_read_item {
    enum { GN_READ_POINT, GN_READ_RANGE, GN_READ_OPEN } kind; /* = lo; lo <= key < hi; lo <= key */
    gn_bytes lo, hi;
} gn_read_item;

typedef struct gn_read_space {
    gn_space space;
    bool sorted; /* by lo, without overlap */
    uint32_t n, cap;
    gn_read_item *items;
} gn_read_space;

typedef struct gn_read_set {
    gn_arena *arena; /* of the keys; created with the first */
    gn_account *account;
    uint32_t n, cap, last;
    gn_read_space *spaces;
} gn_read_set;

void gn_read_set_close(gn_read_set *set); /* zeroed is fine */
static inline bool gn_read_set_empty(const gn_read_set *set)
{
    return set->n == 0;
}
void gn_read_set_point(gn_read_set *set, const gn_space *space, gn_bytes key);
void gn_read_set_range(gn_read_set *set, const gn_space *space, const gn_key_span *span);
void gn_read_set_drop(gn_read_set *set, uint64_t table_or_index_id);

void gn_read_set_add(gn_read_set *set, const gn_read_set *other);
void gn_read_set_sort(gn_read_set *set); /* and merges what overlaps: for asking */
/* Sorts, merges, appends. */
bool gn_read_set_pack(gn_read_set *set, gn_buf *out);
/* A packed set, its memory in the arena and in `bytes`. GN_CORRUPT, GN_OUT_OF_MEMORY. */
gn_code gn_read_set_unpack(gn_bytes bytes, gn_arena *arena, gn_read_set *out, gn_error *err);

/* On sorted spaces. */
const gn_read_space *gn_read_set_space(const gn_read_set *set, const gn_space *space);
bool gn_read_space_has(const gn_read_space *rs, gn_bytes key);
bool gn_read_space_meets(const gn_read_space *rs, gn_bytes least, gn_bytes greatest); /* inclusive */
bool gn_read_space_overlaps(const gn_read_space *rs, const gn_key_span *span);

#endif
