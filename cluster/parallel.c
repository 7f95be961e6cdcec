#include "base/memory.h"
#include "cluster/parallel_private.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

struct helper {
    gn_pool_job job;
    struct crew *crew;
};

/* Stays until the last helper has looked at it, which may be long after the work is done. */
typedef struct crew {
    void (*work)(void *ctx, uint32_t i);
    void *ctx; /* the caller's, and gone when it has returned: only who holds an item looks at it */
    uint32_t n;
    _Atomic uint32_t next, left, refs;
    gn_event done;
    struct helper helpers[GN_PARALLEL_HELPERS];
} crew;

static void release(crew *c)
{
    if (atomic_fetch_sub(&c->refs, 1) == 1)
        free(c);
}

static void take_part(crew *c)
{
    for (uint32_t i; (i = atomic_fetch_add(&c->next, 1)) < c->n;) {
        c->work(c->ctx, i);
        if (atomic_fetch_sub(&c->left, 1) == 1)
            gn_event_signal(&c->done);
    }
}

static void help(gn_pool_job *job)
{
    crew *c = GN_CONTAINER(job, struct helper, job)->crew;
    take_part(c);
    release(c);
}

void gn_parallel(gn_world *world, gn_pool *pool, uint32_t n, void (*work)(void *ctx, uint32_t i), void *ctx)
{
    if (n < 2) {
        if (n)
            work(ctx, 0);
        return;
    }
    crew *c = gn_xcalloc(1, sizeof *c);
    uint32_t helpers = n - 1 < GN_PARALLEL_HELPERS ? n - 1 : GN_PARALLEL_HELPERS;
    c->work = work;
    c->ctx = ctx;
    c->n = n;
    c->left = n;
    c->refs = 1;
    gn_event_init(&c->done, world);
    for (uint32_t i = 0; i < helpers && atomic_load(&c->next) < n; i++) {
        c->helpers[i] = (struct helper){.job.run = help, .crew = c};
        atomic_fetch_add(&c->refs, 1);
        if (!gn_pool_post(pool, &c->helpers[i].job, false)) {
            atomic_fetch_sub(&c->refs, 1); /* the caller's own is left */
            break;
        }
    }
    take_part(c);
    gn_event_wait(&c->done, UINT64_MAX);
    release(c);
}
