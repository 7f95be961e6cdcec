/* Chunks, their directory and the key table are published by release stores, and what they replace is kept until the
 * tail goes: a reader may hold an old directory as long as it likes. Directory and table double, so what is kept never
 * exceeds what is used. Vectors lie in slabs that grow with the tail and ask for huge pages, because the builder walks
 * them at random. */
#include "base/assert.h"
#include "index/keymap_private.h"
#include "index/tail_private.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

/* Memory that lives as long as the tail. */
typedef struct gn_tail_block {
    struct gn_tail_block *next;
    void *map; /* of a slab: the mapping; else NULL and the block itself is the memory */
    size_t bytes;
} gn_tail_block;

typedef struct gn_tail_keys {
    gn_tail_block block;
    uint64_t n_slots, n_used;
    _Atomic uint64_t slots[];
} gn_tail_keys;

typedef struct gn_tail_directory {
    gn_tail_block block;
    gn_tail_chunk *chunks[];
} gn_tail_directory;

enum { CHUNK_BYTES = 256 << 10, SLAB_CHUNKS_MAX = 256, HUGE_PAGE = 2 << 20 };

unsigned gn_chunk_shift(size_t row_bytes)
{
    unsigned shift = 4;
    while (shift < 10 && (row_bytes << (shift + 1)) <= CHUNK_BYTES)
        shift++;
    return shift;
}

/* ---- memory ---- */

static void *block_create(gn_tail *tail, size_t bytes)
{
    if (!gn_account_charge(tail->account, bytes))
        return NULL;
    gn_tail_block *b = calloc(1, bytes);
    if (!b) {
        gn_account_release(tail->account, bytes);
        return NULL;
    }
    b->bytes = bytes;
    atomic_fetch_add(&tail->memory, bytes);
    return b;
}

static void blocks_free(gn_tail *tail, gn_tail_block *b)
{
    while (b) {
        gn_tail_block *next = b->next;
        gn_account_release(tail->account, b->bytes);
        if (b->map) {
            munmap(b->map, b->bytes);
            free(b);
        } else {
            free(b);
        }
        b = next;
    }
}

static bool slab_grow(gn_tail *tail)
{
    size_t chunk_bytes = tail->measure.row_bytes << tail->shift;
    uint32_t chunks = tail->n_chunks / 2;
    chunks = chunks < 1 ? 1 : chunks > SLAB_CHUNKS_MAX ? SLAB_CHUNKS_MAX : chunks;
    size_t bytes = chunk_bytes * chunks;
    if (!gn_account_charge(tail->account, bytes))
        return false;
    void *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED) {
        gn_account_release(tail->account, bytes);
        return false;
    }
    if (bytes >= 2 * HUGE_PAGE)
        madvise(map, bytes, MADV_HUGEPAGE); /* only a wish */
    gn_tail_block *b = gn_xcalloc(1, sizeof *b);
    *b = (gn_tail_block){.next = tail->slabs, .map = map, .bytes = bytes};
    tail->slabs = b;
    tail->slab_next = map;
    tail->slab_left = chunks;
    atomic_fetch_add(&tail->memory, bytes);
    return true;
}

static bool directory_grow(gn_tail *tail)
{
    uint32_t cap = tail->cap_chunks ? tail->cap_chunks * 2 : 8;
    gn_tail_directory *d = block_create(tail, sizeof *d + cap * sizeof d->chunks[0]);
    if (!d)
        return false;
    gn_tail_chunk *const *old = atomic_load_explicit(&tail->chunks, memory_order_relaxed);
    for (uint32_t i = 0; i < tail->n_chunks; i++)
        d->chunks[i] = old[i];
    d->block.next = tail->retired;
    tail->retired = &d->block;
    tail->cap_chunks = cap;
    atomic_store_explicit(&tail->chunks, d->chunks, memory_order_release);
    return true;
}

static bool chunk_add(gn_tail *tail)
{
    if (tail->n_chunks == tail->cap_chunks && !directory_grow(tail))
        return false;
    if (tail->slab_left == 0 && !slab_grow(tail))
        return false;
    size_t rows = (size_t)1 << tail->shift, before = gn_arena_used(tail->arena);
    gn_tail_chunk *c = gn_arena_alloc(tail->arena, sizeof *c);
    if (!c)
        return false;
    c->vectors = tail->slab_next;
    c->key = gn_arena_calloc(tail->arena, rows, sizeof *c->key);
    c->branch = gn_arena_calloc(tail->arena, rows, sizeof *c->branch);
    c->begin = gn_arena_calloc(tail->arena, rows, sizeof *c->begin);
    c->end = gn_arena_calloc(tail->arena, rows, sizeof *c->end);
    c->older = gn_arena_calloc(tail->arena, rows, sizeof *c->older);
    c->vectorless = gn_arena_calloc(tail->arena, rows, sizeof *c->vectorless);
    if (!c->key || !c->branch || !c->begin || !c->end || !c->older || !c->vectorless)
        return false;
    atomic_fetch_add(&tail->memory, gn_arena_used(tail->arena) - before);
    tail->slab_next += tail->measure.row_bytes << tail->shift;
    tail->slab_left--;
    /* The directory in use was made by directory_grow and has room; readers look only below n_rows. */
    ((gn_tail_chunk **)atomic_load_explicit(&tail->chunks, memory_order_relaxed))[tail->n_chunks++] = c;
    return true;
}

gn_tail *gn_tail_create(gn_account *account, const gn_measure *measure)
{
    gn_tail *tail = gn_xcalloc(1, sizeof *tail);
    atomic_init(&tail->refs, 1);
    tail->account = account;
    tail->measure = *measure;
    tail->shift = gn_chunk_shift(measure->row_bytes);
    tail->arena = gn_arena_create(account);
    atomic_init(&tail->min_begin, UINT64_MAX);
    return tail;
}

gn_tail *gn_tail_ref(gn_tail *tail)
{
    atomic_fetch_add_explicit(&tail->refs, 1, memory_order_relaxed);
    return tail;
}

void gn_tail_unref(gn_tail *tail)
{
    if (!tail || atomic_fetch_sub_explicit(&tail->refs, 1, memory_order_acq_rel) != 1)
        return;
    blocks_free(tail, tail->slabs);
    blocks_free(tail, tail->retired);
    gn_arena_destroy(tail->arena);
    free(tail);
}

/* ---- keys ---- */

static bool tail_key_is(const void *owner, uint32_t row, gn_bytes key)
{
    const gn_tail *tail = owner;
    return gn_bytes_eq(gn_tail_chunk_of(tail, row)->key[gn_tail_in_chunk(tail, row)], key);
}

static bool keys_grow(gn_tail *tail)
{
    gn_tail_keys *old = atomic_load_explicit(&tail->keys, memory_order_relaxed);
    if (old && (old->n_used + 1) * 3 <= old->n_slots * 2)
        return true;
    uint64_t n_slots = old ? old->n_slots * 2 : 64;
    gn_tail_keys *keys = block_create(tail, sizeof *keys + n_slots * sizeof keys->slots[0]);
    if (!keys)
        return false;
    keys->n_slots = n_slots;
    for (uint64_t i = 0; old && i < old->n_slots; i++) {
        uint64_t slot = atomic_load_explicit(&old->slots[i], memory_order_relaxed);
        if (slot == 0)
            continue;
        uint32_t row = (uint32_t)slot - 1;
        gn_bytes key = gn_tail_chunk_of(tail, row)->key[gn_tail_in_chunk(tail, row)];
        uint64_t at = gn_keymap_hash(key) & (n_slots - 1);
        while (atomic_load_explicit(&keys->slots[at], memory_order_relaxed) != 0)
            at = (at + 1) & (n_slots - 1);
        atomic_store_explicit(&keys->slots[at], slot, memory_order_relaxed);
        keys->n_used++;
    }
    keys->block.next = tail->retired;
    tail->retired = &keys->block;
    atomic_store_explicit(&tail->keys, keys, memory_order_release);
    return true;
}

uint32_t gn_tail_find(const gn_tail *tail, gn_bytes key)
{
    const gn_tail_keys *keys = atomic_load_explicit(&tail->keys, memory_order_acquire);
    if (!keys)
        return UINT32_MAX;
    uint64_t at = gn_keymap_probe(keys->slots, keys->n_slots, key, gn_keymap_hash(key), tail_key_is, tail);
    GN_ASSERT(at != UINT64_MAX);
    return (uint32_t)atomic_load_explicit(&keys->slots[at], memory_order_acquire) - 1;
}

uint32_t gn_tail_older(const gn_tail *tail, uint32_t row)
{
    return gn_tail_chunk_of(tail, row)->older[gn_tail_in_chunk(tail, row)] - 1;
}

/* ---- rows ---- */

/* Readers of a search use these to know whether they must look at each row. */
static void note_row(gn_tail *tail, const gn_row *row, bool has_vector, uint32_t n)
{
    if (n == 0)
        atomic_store(&tail->branch, row->branch);
    else if (atomic_load_explicit(&tail->branch, memory_order_relaxed) != row->branch)
        atomic_store(&tail->many_branches, true);
    if (!has_vector)
        atomic_store(&tail->many_branches, true);
    if (row->begin < atomic_load_explicit(&tail->min_begin, memory_order_relaxed))
        atomic_store(&tail->min_begin, row->begin);
    if (row->begin > atomic_load_explicit(&tail->max_begin, memory_order_relaxed))
        atomic_store(&tail->max_begin, row->begin);
    if (row->end != GN_SCN_OPEN)
        atomic_fetch_add(&tail->n_ended, 1);
}

bool gn_tail_append(gn_tail *tail, const gn_row *row, const void *vector)
{
    uint32_t n = atomic_load_explicit(&tail->n_rows, memory_order_relaxed);
    if (!keys_grow(tail) || (n == tail->n_chunks << tail->shift && !chunk_add(tail)))
        return false;
    void *key = gn_arena_memdup(tail->arena, row->key.data, row->key.len);
    if (!key)
        return false;
    atomic_fetch_add(&tail->memory, row->key.len);

    const gn_tail_chunk *c = gn_tail_chunk_of(tail, n);
    uint32_t i = gn_tail_in_chunk(tail, n);
    c->key[i] = gn_bytes_of(key, row->key.len);
    c->branch[i] = row->branch;
    c->begin[i] = row->begin;
    c->vectorless[i] = !vector;
    atomic_store_explicit(&c->end[i], row->end, memory_order_relaxed);
    if (vector)
        memcpy(c->vectors + i * tail->measure.row_bytes, vector, tail->measure.row_bytes);

    gn_tail_keys *keys = atomic_load_explicit(&tail->keys, memory_order_relaxed);
    uint64_t hash = gn_keymap_hash(row->key);
    uint64_t at = gn_keymap_probe(keys->slots, keys->n_slots, row->key, hash, tail_key_is, tail);
    uint64_t slot = atomic_load_explicit(&keys->slots[at], memory_order_relaxed);
    c->older[i] = (uint32_t)slot;
    keys->n_used += slot == 0;
    note_row(tail, row, vector != NULL, n);
    atomic_store_explicit(&keys->slots[at], (hash & 0xffffffff00000000u) | (n + 1), memory_order_release);
    atomic_store_explicit(&tail->n_rows, n + 1, memory_order_release);
    return true;
}

void gn_tail_set_end(gn_tail *tail, uint32_t row, uint64_t end)
{
    _Atomic uint64_t *at = &gn_tail_chunk_of(tail, row)->end[gn_tail_in_chunk(tail, row)];
    GN_ASSERT(atomic_load_explicit(at, memory_order_relaxed) == GN_SCN_OPEN);
    /* Counted first: who sees no ended rows must not need to look at ends that it is entitled to see. */
    atomic_fetch_add_explicit(&tail->n_ended, 1, memory_order_release);
    atomic_store_explicit(at, end, memory_order_release);
}

bool gn_tail_row(const void *source, uint32_t row, gn_row *out)
{
    const gn_tail *tail = source;
    const gn_tail_chunk *c = gn_tail_chunk_of(tail, row);
    uint32_t i = gn_tail_in_chunk(tail, row);
    out->key = c->key[i];
    out->branch = c->branch[i];
    out->begin = c->begin[i];
    out->end = atomic_load_explicit(&c->end[i], memory_order_acquire);
    return true;
}

bool gn_tail_has_vector(const gn_tail *tail, uint32_t row)
{
    return !gn_tail_chunk_of(tail, row)->vectorless[gn_tail_in_chunk(tail, row)];
}

const void *gn_tail_vector(const gn_tail *tail, uint32_t row)
{
    return gn_tail_chunk_of(tail, row)->vectors + gn_tail_in_chunk(tail, row) * tail->measure.row_bytes;
}

static void offer(const gn_tail *tail, const gn_accept *accept, uint32_t row, float distance, gn_topk *top)
{
    if (distance <= gn_topk_bound(top) && gn_accepts_last(accept, tail, row))
        gn_topk_offer(top, (gn_hit){.distance = distance, .row = row, .source = tail, .row_of = gn_tail_row});
}

uint64_t gn_tail_scan(const gn_tail *tail, const float *query, gn_accept accept, gn_topk *top)
{
    const gn_measure *measure = &tail->measure;
    uint32_t n = gn_tail_rows(tail), rows[4], pending = 0;
    const void *vectors[4];
    float distance[4];
    uint64_t measured = 0;
    for (uint32_t row = 0; row < n; row++) {
        const gn_tail_chunk *c = gn_tail_chunk_of(tail, row);
        uint32_t i = gn_tail_in_chunk(tail, row);
        if (c->vectorless[i] || !gn_accepts_first(&accept, tail, row))
            continue;
        rows[pending] = row;
        vectors[pending++] = c->vectors + i * measure->row_bytes;
        if (pending < 4)
            continue;
        gn_measure_four(measure, query, vectors, distance);
        for (uint32_t j = 0; j < 4; j++)
            offer(tail, &accept, rows[j], distance[j], top);
        measured += 4;
        pending = 0;
    }
    for (uint32_t j = 0; j < pending; j++)
        offer(tail, &accept, rows[j], gn_measure_one(measure, query, vectors[j]), top);
    return measured + pending;
}
