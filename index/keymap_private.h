/* Key -> newest row with that key: open addressing with linear probing over 64-bit slots, the upper half a fingerprint
 * of the key, the lower half row + 1; 0 is free. The same form serves the tail, where readers probe while the writer
 * adds, and the segment file. Older rows of a key hang off the newest by an `older` array of row + 1. */
#ifndef GN_INDEX_KEYMAP_PRIVATE_H
#define GN_INDEX_KEYMAP_PRIVATE_H

#include "base/bytes.h"

#include <stdatomic.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

static inline uint64_t gn_keymap_hash(gn_bytes key)
{
    return XXH3_64bits(key.data, key.len);
}

/* A power of two that leaves at least a third of the slots free. */
static inline uint64_t gn_keymap_slots_for(uint64_t rows)
{
    uint64_t slots = 16;
    while (slots * 2 < rows * 3)
        slots *= 2;
    return slots;
}

typedef bool (*gn_keymap_match)(const void *owner, uint32_t row, gn_bytes key);

/* The slot that holds the key, or the free slot where it belongs; UINT64_MAX when a damaged table has neither. */
static inline uint64_t gn_keymap_probe(const _Atomic uint64_t *slots, uint64_t n_slots, gn_bytes key, uint64_t hash,
                                       gn_keymap_match match, const void *owner)
{
    uint64_t mask = n_slots - 1, fingerprint = hash & 0xffffffff00000000u;
    for (uint64_t step = 0, i = hash & mask; step < n_slots; step++, i = (i + 1) & mask) {
        uint64_t slot = atomic_load_explicit(&slots[i], memory_order_acquire);
        if (slot == 0)
            return i;
        if ((slot & 0xffffffff00000000u) == fingerprint && match(owner, (uint32_t)slot - 1, key))
            return i;
    }
    return UINT64_MAX;
}

#endif
