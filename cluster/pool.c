#include "base/memory.h"
#include "cluster/pool_private.h"

#include <pthread.h>
#include <stdlib.h>

typedef struct worker {
    gn_pool *pool;
    struct worker *next; /* idle */
    gn_event wake;
    gn_strand *strand;
    gn_pool_job *job; /* NULL after a wake-up: the end */
} worker;

typedef struct lane {
    gn_pool_job *first, *last;
} lane;

struct gn_pool {
    gn_world *world;
    const char *name;
    uint32_t max, reserved;
    pthread_mutex_t lock; /* of what follows */
    lane lanes[2];        /* ordinary, urgent */
    uint32_t n_ordinary;  /* at work */
    uint32_t n;
    worker **workers;
    worker *idle;
    bool stop;
};

static void push(lane *l, gn_pool_job *job)
{
    job->next = NULL;
    if (l->first)
        l->last->next = job;
    else
        l->first = job;
    l->last = job;
}

static gn_pool_job *pop(lane *l)
{
    gn_pool_job *job = l->first;
    if (job)
        l->first = job->next;
    return job;
}

/* What may begin now; counts it. */
static gn_pool_job *next_job(gn_pool *p)
{
    gn_pool_job *job = pop(&p->lanes[1]);
    if (!job && p->n_ordinary < p->max - p->reserved && (job = pop(&p->lanes[0])))
        p->n_ordinary++;
    return job;
}

/* NULL: the end. */
static gn_pool_job *await_job(worker *w, bool was_ordinary)
{
    gn_pool *p = w->pool;
    pthread_mutex_lock(&p->lock);
    p->n_ordinary -= was_ordinary;
    gn_pool_job *job = next_job(p);
    bool wait = !job && !p->stop;
    if (wait) {
        gn_event_init(&w->wake, p->world);
        w->job = NULL;
        w->next = p->idle;
        p->idle = w;
    }
    pthread_mutex_unlock(&p->lock);
    if (!wait)
        return job;
    gn_event_wait(&w->wake, UINT64_MAX);
    return w->job;
}

static void work(void *arg)
{
    worker *w = arg;
    gn_pool_job *job = w->job;
    while (job) {
        bool ordinary = !job->urgent;
        job->run(job);
        job = await_job(w, ordinary);
    }
}

gn_pool *gn_pool_create(gn_world *world, const char *name, uint32_t max, uint32_t reserved)
{
    gn_pool *p = gn_xcalloc(1, sizeof *p);
    p->world = world;
    p->name = name;
    p->max = max;
    p->reserved = reserved;
    p->workers = gn_xcalloc(max, sizeof *p->workers);
    pthread_mutex_init(&p->lock, NULL);
    return p;
}

/* Under the lock: a strand's start is short. False: there is none to be had. */
static bool add_worker(gn_pool *p, gn_pool_job *job)
{
    worker *w = gn_xcalloc(1, sizeof *w);
    w->pool = p;
    w->job = job;
    w->strand = gn_strand_start(p->world, p->name, work, w);
    if (!w->strand) {
        free(w);
        return false;
    }
    p->workers[p->n++] = w;
    return true;
}

bool gn_pool_post(gn_pool *p, gn_pool_job *job, bool urgent)
{
    bool taken = true;
    job->urgent = urgent;
    pthread_mutex_lock(&p->lock);
    push(&p->lanes[urgent], job);
    worker *w = p->idle;
    gn_pool_job *now = w || p->n < p->max ? next_job(p) : NULL; /* perhaps not this one */
    if (now && w) {
        p->idle = w->next;
        w->job = now;
        gn_event_signal(&w->wake);
    } else if (now && !add_worker(p, now)) {
        p->n_ordinary -= !now->urgent;
        taken = p->n > 0;
        if (taken)
            push(&p->lanes[now->urgent], now);
    }
    pthread_mutex_unlock(&p->lock);
    return taken;
}

void gn_pool_destroy(gn_pool *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->stop = true;
    for (worker *next, *w = p->idle; w; w = next) {
        next = w->next;
        gn_event_signal(&w->wake);
    }
    p->idle = NULL;
    uint32_t n = p->n;
    pthread_mutex_unlock(&p->lock);
    for (uint32_t i = 0; i < n; i++) {
        gn_strand_join(p->workers[i]->strand);
        free(p->workers[i]);
    }
    pthread_mutex_destroy(&p->lock);
    free(p->workers);
    free(p);
}
