#include "base/memory.h"

#include "base/assert.h"
#include "base/sanitizer_private.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- accounts ---- */

void gn_account_init(gn_account *account, gn_account *parent, const char *name, size_t limit)
{
    *account = (gn_account){.parent = parent, .name = name, .limit = limit};
}

void gn_account_close(gn_account *account)
{
    GN_ASSERT(gn_account_used(account) == 0);
}

static void raise_peak(gn_account *account, size_t used)
{
    size_t peak = atomic_load_explicit(&account->peak, memory_order_relaxed);
    while (used > peak && !atomic_compare_exchange_weak_explicit(&account->peak, &peak, used, memory_order_relaxed,
                                                                 memory_order_relaxed))
        continue;
}

static bool charge_one(gn_account *account, size_t bytes)
{
    size_t used = atomic_load_explicit(&account->used, memory_order_relaxed), sum;
    do {
        if (__builtin_add_overflow(used, bytes, &sum) || (account->limit && sum > account->limit))
            return false;
    } while (
        !atomic_compare_exchange_weak_explicit(&account->used, &used, sum, memory_order_relaxed, memory_order_relaxed));
    raise_peak(account, sum);
    return true;
}

static void release_one(gn_account *account, size_t bytes)
{
    size_t before = atomic_fetch_sub_explicit(&account->used, bytes, memory_order_relaxed);
    GN_ASSERT(before >= bytes);
}

bool gn_account_charge(gn_account *account, size_t bytes)
{
    for (gn_account *a = account; a; a = a->parent) {
        if (charge_one(a, bytes))
            continue;
        for (gn_account *b = account; b != a; b = b->parent)
            release_one(b, bytes);
        return false;
    }
    return true;
}

void gn_account_release(gn_account *account, size_t bytes)
{
    for (; account; account = account->parent)
        release_one(account, bytes);
}

size_t gn_account_used(const gn_account *account)
{
    return atomic_load_explicit(&account->used, memory_order_relaxed);
}

/* The account that refused is gone from the call chain by now; the fullest limited one of the chain is it. */
static const gn_account *tightest(const gn_account *account)
{
    const gn_account *best = NULL;
    size_t least = SIZE_MAX;
    for (; account; account = account->parent) {
        if (!account->limit)
            continue;
        size_t used = gn_account_used(account);
        size_t room = used < account->limit ? account->limit - used : 0;
        if (!best || room < least) {
            best = account;
            least = room;
        }
    }
    return best;
}

#undef gn_error_oom /* base/memory.h: for the analyzer */
gn_code gn_error_oom(gn_error *err, const gn_account *account)
{
    const gn_account *full = tightest(account);
    if (!full)
        return gn_error_set(err, GN_OUT_OF_MEMORY, "out of memory");
    gn_error_set(err, GN_OUT_OF_MEMORY, "out of memory: %s would pass its limit of %zu bytes", full->name, full->limit);
    gn_error_detail(err, "%zu bytes are in use.", gn_account_used(full));
    return gn_error_hint(err, "Ask for less at a time, or raise memory_limit_mb.");
}

/* ---- small control structures ---- */

/* What glibc keeps for a thread when it is freed, and finds again without a lock. Its calloc does not look there
 * before 2.41, and then costs several times as much as malloc. */
#define KEPT_BY_THREAD 1024u

static void *or_abort(void *p, size_t size)
{
    if (!p) {
        fprintf(stderr, "out of memory: the machine has no %zu bytes left\n", size);
        abort();
    }
    return p;
}

void *gn_xmalloc(size_t size)
{
    return or_abort(malloc(size ? size : 1), size);
}

void *gn_xcalloc(size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > KEPT_BY_THREAD)
        return or_abort(calloc(count, size), size);
    void *p = or_abort(malloc(bytes ? bytes : 1), bytes);
    return memset(p, 0, bytes);
}

void *gn_xrealloc(void *p, size_t size)
{
    return or_abort(realloc(p, size ? size : 1), size);
}

char *gn_xstrdup(const char *s)
{
    return or_abort(strdup(s), strlen(s) + 1);
}

/* ---- arenas ---- */

#define ALIGNMENT 16u
#define FIRST_BLOCK KEPT_BY_THREAD /* with its head */
#define LARGEST_STEP (256u << 10)
#ifdef GN_UNDER_ASAN
#define RED_ZONE ALIGNMENT /* stays poisoned behind each allocation, so that an overrun is seen */
#else
#define RED_ZONE 0u
#endif

typedef struct arena_block {
    struct arena_block *below;
    size_t size; /* of data */
    size_t used;
    alignas(ALIGNMENT) uint8_t data[];
} arena_block;

struct gn_arena {
    gn_account *account;
    arena_block *top; /* the stack of blocks; the top one is being filled */
    size_t step;      /* size of the next block */
    size_t held;      /* bytes of all blocks, as charged */
};

gn_arena *gn_arena_create(gn_account *account)
{
    gn_arena *arena = gn_xmalloc(sizeof *arena);
    *arena = (gn_arena){.account = account, .step = FIRST_BLOCK};
    return arena;
}

static void pop_block(gn_arena *arena)
{
    arena_block *block = arena->top;
    arena->top = block->below;
    if (arena->step > FIRST_BLOCK) /* or else one that is reset and filled again would take a larger one each time */
        arena->step /= 2;
    size_t bytes = sizeof *block + block->size;
    arena->held -= bytes;
    gn_account_release(arena->account, bytes);
    GN_UNPOISON(block->data, block->size);
    free(block);
}

void gn_arena_destroy(gn_arena *arena)
{
    if (!arena)
        return;
    while (arena->top)
        pop_block(arena);
    free(arena);
}

static void truncate_block(arena_block *block, size_t used)
{
    GN_ASSERT(used <= block->used);
    block->used = used;
    GN_POISON(block->data + used, block->size - used);
}

void gn_arena_reset(gn_arena *arena)
{
    while (arena->top && arena->top->below)
        pop_block(arena);
    if (arena->top)
        truncate_block(arena->top, 0);
}

static bool push_block(gn_arena *arena, size_t size)
{
    size_t bytes;
    if (__builtin_add_overflow(size, sizeof(arena_block), &bytes) || !gn_account_charge(arena->account, bytes))
        return false;
    arena_block *block = malloc(bytes);
    if (!block) {
        gn_account_release(arena->account, bytes);
        return false;
    }
    *block = (arena_block){.below = arena->top, .size = size};
    GN_POISON(block->data, size);
    arena->top = block;
    arena->held += bytes;
    return true;
}

/* A block for at least `need` bytes, with room behind a large one so that small ones after it need no block again. */
static bool grow(gn_arena *arena, size_t need)
{
    size_t generous = arena->step - sizeof(arena_block), with_room;
    if (need > generous / 2 && !__builtin_add_overflow(need, generous / 2, &with_room))
        generous = with_room;
    if (generous > need && push_block(arena, generous)) {
        if (arena->step < LARGEST_STEP)
            arena->step *= 2;
        return true;
    }
    return push_block(arena, need); /* near the budget's end: no more than needed */
}

void *gn_arena_alloc(gn_arena *arena, size_t size)
{
    size_t need;
    if (__builtin_add_overflow(size, ALIGNMENT - 1 + RED_ZONE, &need))
        return NULL;
    need &= ~(size_t)(ALIGNMENT - 1);
    arena_block *block = arena->top;
    if (!block || block->size - block->used < need) {
        if (!grow(arena, need ? need : ALIGNMENT))
            return NULL;
        block = arena->top;
    }
    void *p = block->data + block->used;
    block->used += need;
    GN_UNPOISON(p, size);
    return p;
}

void *gn_arena_calloc(gn_arena *arena, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes))
        return NULL;
    void *p = gn_arena_alloc(arena, bytes);
    return p ? memset(p, 0, bytes) : NULL;
}

void *gn_arena_memdup(gn_arena *arena, const void *data, size_t len)
{
    void *p = gn_arena_alloc(arena, len);
    if (p && len)
        memcpy(p, data, len);
    return p;
}

char *gn_arena_strndup(gn_arena *arena, const char *s, size_t len)
{
    if (len == SIZE_MAX)
        return NULL;
    char *p = gn_arena_alloc(arena, len + 1);
    if (!p)
        return NULL;
    if (len)
        memcpy(p, s, len);
    p[len] = '\0';
    return p;
}

char *gn_arena_printf(gn_arena *arena, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n < 0)
        return NULL;
    char *p = gn_arena_alloc(arena, (size_t)n + 1);
    if (!p)
        return NULL;
    va_start(args, format);
    vsnprintf(p, (size_t)n + 1, format, args);
    va_end(args);
    return p;
}

gn_account *gn_arena_account(const gn_arena *arena)
{
    return arena->account;
}

size_t gn_arena_used(const gn_arena *arena)
{
    return arena->held;
}

gn_arena_mark gn_arena_save(gn_arena *arena)
{
    return (gn_arena_mark){.block = arena->top, .offset = arena->top ? arena->top->used : 0};
}

void gn_arena_restore(gn_arena *arena, gn_arena_mark mark)
{
    while (arena->top && arena->top != mark.block)
        pop_block(arena);
    GN_ASSERT(arena->top == mark.block);
    if (arena->top)
        truncate_block(arena->top, mark.offset);
}
