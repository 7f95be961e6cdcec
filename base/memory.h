/* Memory accounting with a hard budget, and arenas.
 *
 * Two kinds of memory. (1) Anything whose size a user influences is taken from an arena or buffer that charges an
 * account; passing the budget gives NULL, which the caller turns into GN_OUT_OF_MEMORY (gn_error_oom). (2) Small
 * control structures of fixed size use gn_xmalloc/gn_xcalloc, which abort when the machine has none left: a crash is
 * safe here (the log is synced), and a process that cannot get 100 bytes serves nobody.
 *
 * Accounts form a tree: a charge counts in every ancestor and fails if any would pass its limit. Thread-safe. */
#ifndef GN_BASE_MEMORY_H
#define GN_BASE_MEMORY_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct gn_account {
    struct gn_account *parent; /* NULL at the root */
    const char *name;
    size_t limit; /* bytes; 0 = no limit of its own */
    _Atomic size_t used;
    _Atomic size_t peak;
} gn_account;

void gn_account_init(gn_account *account, gn_account *parent, const char *name, size_t limit);
/* Asserts that everything charged was released. */
void gn_account_close(gn_account *account);
/* False, and nothing charged, if any limit would be passed. account may be NULL (not accounted). */
bool gn_account_charge(gn_account *account, size_t bytes);
void gn_account_release(gn_account *account, size_t bytes);
size_t gn_account_used(const gn_account *account);

/* Sets GN_OUT_OF_MEMORY with the name and limit of the account that refused, and the hint how to raise it. */
gn_code gn_error_oom(gn_error *err, const gn_account *account);
#ifdef __clang_analyzer__
#define gn_error_oom(err, account) ((void)gn_error_oom(err, account), GN_OUT_OF_MEMORY)
#endif

void *gn_xmalloc(size_t size);
void *gn_xcalloc(size_t count, size_t size);
void *gn_xrealloc(void *p, size_t size);
char *gn_xstrdup(const char *s);

/* An arena: bump allocation for one lifetime (query, request, scan), freed as a whole. Not thread-safe. */
typedef struct gn_arena gn_arena;

gn_arena *gn_arena_create(gn_account *account); /* account may be NULL; never fails (its head is gn_xmalloc'ed) */
void gn_arena_destroy(gn_arena *arena);         /* NULL is fine */
void gn_arena_reset(gn_arena *arena);           /* frees all but one block, for reuse */
/* 16-byte aligned, not zeroed. NULL when the budget refuses. size 0 gives a valid pointer. */
void *gn_arena_alloc(gn_arena *arena, size_t size);
void *gn_arena_calloc(gn_arena *arena, size_t count, size_t size); /* zeroed; overflow-checked */
void *gn_arena_memdup(gn_arena *arena, const void *data, size_t len);
char *gn_arena_strndup(gn_arena *arena, const char *s, size_t len); /* adds the NUL */
char *gn_arena_printf(gn_arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));
gn_account *gn_arena_account(const gn_arena *arena);
size_t gn_arena_used(const gn_arena *arena);
/* A mark and a release back to it, for scratch work inside a longer lifetime. */
typedef struct gn_arena_mark {
    void *block;
    size_t offset;
} gn_arena_mark;
gn_arena_mark gn_arena_save(gn_arena *arena);
void gn_arena_restore(gn_arena *arena, gn_arena_mark mark);

#endif
