/* Linear probing; removal moves later entries back, so there are no tombstones (Knuth, vol. 3, 6.4, algorithm R). */
#include "base/assert.h"
#include "base/memory.h"
#include "net/rpc_private.h"

#include <stdlib.h>

static size_t home(const rpc_map *map, uint64_t key)
{
    return (size_t)((key * UINT64_C(0x9E3779B97F4A7C15)) >> 32) & (map->cap - 1);
}

/* The slot of the key, or the free one where it would be. */
static size_t find(const rpc_map *map, uint64_t key)
{
    size_t i = home(map, key);
    while (map->slots[i].key != 0 && map->slots[i].key != key)
        i = (i + 1) & (map->cap - 1);
    return i;
}

void *gn_rpc_map_get(const rpc_map *map, uint64_t key)
{
    return map->n && key ? map->slots[find(map, key)].value : NULL;
}

static void resize(rpc_map *map, size_t cap)
{
    rpc_map bigger = {.slots = gn_xcalloc(cap, sizeof map->slots[0]), .n = map->n, .cap = cap};
    for (size_t i = 0; i < map->cap; i++) {
        if (map->slots[i].key != 0)
            bigger.slots[find(&bigger, map->slots[i].key)] = map->slots[i];
    }
    free(map->slots);
    *map = bigger;
}

void gn_rpc_map_put(rpc_map *map, uint64_t key, void *value)
{
    GN_ASSERT(key != 0 && value);
    if (map->n >= map->cap / 2)
        resize(map, map->cap ? map->cap * 2 : 16);
    size_t i = find(map, key);
    GN_ASSERT(map->slots[i].key == 0);
    map->slots[i] = (struct rpc_slot){.key = key, .value = value};
    map->n++;
}

void gn_rpc_map_remove(rpc_map *map, uint64_t key)
{
    GN_ASSERT(map->n > 0);
    size_t hole = find(map, key), mask = map->cap - 1;
    GN_ASSERT(map->slots[hole].key == key);
    for (size_t i = (hole + 1) & mask; map->slots[i].key != 0; i = (i + 1) & mask) {
        if (((i - home(map, map->slots[i].key)) & mask) >= ((i - hole) & mask)) {
            map->slots[hole] = map->slots[i];
            hole = i;
        }
    }
    map->slots[hole] = (struct rpc_slot){0};
    map->n--;
    if (map->cap > 1024 && map->n < map->cap / 8)
        resize(map, map->cap / 2);
}

void gn_rpc_map_close(rpc_map *map)
{
    free(map->slots);
    *map = (rpc_map){0};
}
