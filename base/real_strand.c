/* Strands are threads; an event is one word that its waiter sleeps on by futex(2), so that a completion needs neither
 * lock nor memory. The signaller changes the word once and after that gives only its address to the kernel: a waiter
 * may return and its memory be gone in between, and the worst that follows is a spurious wake of somebody else, which
 * every futex user must bear. */
#include "base/assert.h"
#include "base/memory.h"
#include "base/real_private.h"
#include "base/sanitizer_private.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#if defined(GN_UNDER_ASAN) || defined(GN_UNDER_TSAN)
#define STRAND_STACK (8u << 20)
#else
#define STRAND_STACK (2u << 20) /* enough for GN_MAX_NESTING levels of the parser and the executor */
#endif

typedef struct real_strand {
    gn_strand base;
    pthread_t thread;
    void (*fn)(void *arg);
    void *arg;
    char name[16];
} real_strand;

void gn_real_thread_name(const char *name)
{
    char cut[16];
    snprintf(cut, sizeof cut, "%s", name);
    pthread_setname_np(pthread_self(), cut);
}

static void *strand_main(void *arg)
{
    real_strand *strand = arg;
    gn_real_thread_name(strand->name);
    strand->fn(strand->arg);
    return NULL;
}

gn_strand *gn_real_strand_start(gn_world *world, const char *name, void (*fn)(void *), void *arg)
{
    real_strand *strand = gn_xcalloc(1, sizeof *strand);
    strand->base.world = world;
    strand->fn = fn;
    strand->arg = arg;
    snprintf(strand->name, sizeof strand->name, "%s", name);
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STRAND_STACK);
    int failed = pthread_create(&strand->thread, &attr, strand_main, strand);
    pthread_attr_destroy(&attr);
    if (failed) {
        free(strand);
        return NULL;
    }
    return &strand->base;
}

void gn_real_strand_join(gn_strand *base)
{
    real_strand *strand = (real_strand *)(void *)base;
    int failed = pthread_join(strand->thread, NULL);
    GN_ASSERT(!failed);
    free(strand);
}

/* ---- events ---- */

enum { PENDING, WAITED_FOR, SIGNALED };

void gn_real_event_signal(gn_event *event)
{
    uint32_t before = atomic_exchange_explicit(&event->state, SIGNALED, memory_order_acq_rel);
    GN_ASSERT(before != SIGNALED);
    if (before == WAITED_FOR)
        syscall(SYS_futex, &event->state, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

/* False when the deadline has passed. Wakes without cause are fine. */
static bool sleep_on(gn_event *event, uint64_t deadline_ns)
{
    struct timespec deadline = {.tv_sec = (time_t)(deadline_ns / 1000000000u),
                                .tv_nsec = (long)(deadline_ns % 1000000000u)};
    const struct timespec *until = deadline_ns == UINT64_MAX ? NULL : &deadline;
    long rc =
        syscall(SYS_futex, &event->state, FUTEX_WAIT_BITSET_PRIVATE, WAITED_FOR, until, NULL, FUTEX_BITSET_MATCH_ANY);
    GN_ASSERT(rc == 0 || errno == EAGAIN || errno == EINTR || errno == ETIMEDOUT);
    return rc == 0 || errno != ETIMEDOUT;
}

bool gn_real_event_is_signaled(const gn_event *event)
{
    return atomic_load_explicit(&event->state, memory_order_acquire) == SIGNALED;
}

static gn_code wait_for(gn_event *event, uint64_t deadline_ns)
{
    uint32_t state = PENDING;
    if (!atomic_compare_exchange_strong_explicit(&event->state, &state, WAITED_FOR, memory_order_acq_rel,
                                                 memory_order_acquire)) {
        GN_ASSERT(state == SIGNALED); /* one waiter */
        return GN_OK;
    }
    while (atomic_load_explicit(&event->state, memory_order_acquire) != SIGNALED) {
        if (sleep_on(event, deadline_ns))
            continue;
        state = WAITED_FOR;
        if (atomic_compare_exchange_strong_explicit(&event->state, &state, PENDING, memory_order_acq_rel,
                                                    memory_order_acquire))
            return GN_TIMEOUT;
    }
    return GN_OK;
}

static _Thread_local gn_sleep_watch *sleep_watch;

void gn_world_real_watch_sleep(gn_sleep_watch *watch)
{
    sleep_watch = watch;
}

gn_code gn_real_event_wait(gn_event *event, uint64_t deadline_ns)
{
    bool told = sleep_watch && !gn_real_event_is_signaled(event);
    if (told)
        sleep_watch->sleeps(sleep_watch);
    gn_real_help_until(event);
    GN_ASSERT(!gn_real_pool_is_worker()); /* a task never blocks */
    gn_code code = wait_for(event, deadline_ns);
    if (told)
        sleep_watch->wakes(sleep_watch);
    return code;
}
