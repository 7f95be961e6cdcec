#include "shard/overlay_private.h"

#include <stdlib.h>
#include <xxhash.h>

void gn_overlay_init(gn_overlay *o, size_t cap)
{
    *o = (gn_overlay){.cap = cap, .first_cap = cap, .generation = 1};
    o->items = gn_xcalloc(o->cap, sizeof *o->items);
}

void gn_overlay_close(gn_overlay *o)
{
    free(o->items);
    *o = (gn_overlay){0};
}

void gn_overlay_clear(gn_overlay *o)
{
    o->n = 0;
    o->generation++;
    if (o->cap > 64 * o->first_cap) { /* after an unusual transaction */
        size_t cap = o->first_cap;
        gn_overlay_close(o);
        gn_overlay_init(o, cap);
    }
}

static uint64_t hash_of(const gn_space *space, gn_bytes key)
{
    uint64_t seed = (space->id * 31 + space->epoch) * 31 + space->branch * 2 + (space->kind == GN_KIND_ROW);
    return XXH3_64bits_withSeed(key.data, key.len, seed);
}

static gn_overlay_item *slot_of(const gn_overlay *o, uint64_t hash, const gn_space *space, gn_bytes key)
{
    for (size_t i = hash & (o->cap - 1);; i = (i + 1) & (o->cap - 1)) {
        gn_overlay_item *item = &o->items[i];
        if (item->generation != o->generation ||
            (item->hash == hash && gn_space_eq(&item->space, space) && gn_bytes_eq(item->key, key)))
            return item;
    }
}

static void grow(gn_overlay *o)
{
    gn_overlay old = *o;
    o->cap *= 2;
    o->items = gn_xcalloc(o->cap, sizeof *o->items);
    for (size_t i = 0; i < old.cap; i++) {
        const gn_overlay_item *item = &old.items[i];
        if (item->generation == o->generation)
            *slot_of(o, item->hash, &item->space, item->key) = *item;
    }
    free(old.items);
}

void gn_overlay_set(gn_overlay *o, const gn_space *space, gn_bytes key, bool exists, gn_bytes data)
{
    if (2 * o->n >= o->cap)
        grow(o);
    uint64_t hash = hash_of(space, key);
    gn_overlay_item *item = slot_of(o, hash, space, key);
    if (item->generation != o->generation)
        o->n++;
    *item = (gn_overlay_item){
        .generation = o->generation, .hash = hash, .space = *space, .key = key, .data = data, .exists = exists};
}

const gn_overlay_item *gn_overlay_find(const gn_overlay *o, const gn_space *space, gn_bytes key)
{
    if (o->n == 0)
        return NULL;
    gn_overlay_item *item = slot_of(o, hash_of(space, key), space, key);
    return item->generation == o->generation ? item : NULL;
}
