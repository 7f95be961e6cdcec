/* A sorted array of pointers to immutable, reference-counted entries. A log is written at its end and cut at its
 * beginning, a crash copies the whole map: for both an array is hard to beat, and it is simple. */
#include "base/assert.h"
#include "base/memory.h"
#include "base/sim_private.h"

#include <stdlib.h>
#include <string.h>

typedef struct sim_entry {
    size_t refs, key_len, value_len;
    uint8_t data[]; /* key, then value */
} sim_entry;

static sim_entry *entry_create(gn_bytes key, gn_bytes value)
{
    sim_entry *e = gn_xmalloc(sizeof *e + key.len + value.len);
    *e = (sim_entry){.refs = 1, .key_len = key.len, .value_len = value.len};
    if (key.len)
        memcpy(e->data, key.data, key.len);
    if (value.len)
        memcpy(e->data + key.len, value.data, value.len);
    return e;
}

static void entry_unref(sim_entry *e)
{
    if (--e->refs == 0)
        free(e);
}

gn_bytes gn_sim_map_key(const sim_map *map, size_t i)
{
    return gn_bytes_of(map->entries[i]->data, map->entries[i]->key_len);
}

gn_bytes gn_sim_map_value(const sim_map *map, size_t i)
{
    return gn_bytes_of(map->entries[i]->data + map->entries[i]->key_len, map->entries[i]->value_len);
}

size_t gn_sim_map_lower_bound(const sim_map *map, gn_bytes key)
{
    size_t low = 0, high = map->n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (gn_bytes_cmp(gn_sim_map_key(map, mid), key) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static bool is_at(const sim_map *map, size_t i, gn_bytes key)
{
    return i < map->n && gn_bytes_eq(gn_sim_map_key(map, i), key);
}

bool gn_sim_map_get(const sim_map *map, gn_bytes key, gn_bytes *value)
{
    size_t i = gn_sim_map_lower_bound(map, key);
    if (!is_at(map, i, key))
        return false;
    *value = gn_sim_map_value(map, i);
    return true;
}

static void put(sim_map *map, gn_bytes key, gn_bytes value)
{
    size_t i = gn_sim_map_lower_bound(map, key);
    sim_entry *e = entry_create(key, value);
    if (is_at(map, i, key)) {
        entry_unref(map->entries[i]);
    } else {
        if (map->n == map->cap) {
            map->cap = map->cap ? map->cap * 2 : 64;
            map->entries = gn_xrealloc(map->entries, map->cap * sizeof map->entries[0]);
        }
        memmove(map->entries + i + 1, map->entries + i, (map->n - i) * sizeof map->entries[0]);
        map->n++;
    }
    map->entries[i] = e;
}

static void remove_range(sim_map *map, size_t from, size_t to)
{
    if (from >= to)
        return;
    for (size_t i = from; i < to; i++)
        entry_unref(map->entries[i]);
    memmove(map->entries + from, map->entries + to, (map->n - to) * sizeof map->entries[0]);
    map->n -= to - from;
}

void gn_sim_map_apply(sim_map *map, const gn_disk_op *op)
{
    size_t i;
    switch (op->kind) {
    case GN_DISK_PUT:
        put(map, op->key, op->value);
        break;
    case GN_DISK_DELETE:
        i = gn_sim_map_lower_bound(map, op->key);
        remove_range(map, i, i + is_at(map, i, op->key));
        break;
    case GN_DISK_DELETE_RANGE:
        remove_range(map, gn_sim_map_lower_bound(map, op->key), gn_sim_map_lower_bound(map, op->value));
        break;
    }
}

void gn_sim_map_copy(sim_map *to, const sim_map *from)
{
    *to = (sim_map){.n = from->n, .cap = from->n};
    if (!from->n)
        return;
    to->entries = gn_xmalloc(from->n * sizeof to->entries[0]);
    for (size_t i = 0; i < from->n; i++) {
        to->entries[i] = from->entries[i];
        to->entries[i]->refs++;
    }
}

void gn_sim_map_free(sim_map *map)
{
    for (size_t i = 0; i < map->n; i++)
        entry_unref(map->entries[i]);
    free(map->entries);
    *map = (sim_map){0};
}
