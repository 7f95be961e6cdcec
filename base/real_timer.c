/* Timers: a binary heap by due time and one thread that sleeps until its top.
 *
 * A timer's record is ours, not the caller's: when a timer is closed while its record waits in the queue as a task, the
 * record stays behind, finds no timer when it runs, and frees itself. So the caller's memory may go at once, and a stop
 * or restart that comes after the due time but before the task has run takes effect. */
#include "base/assert.h"
#include "base/memory.h"
#include "base/real_private.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#define NOT_IN_HEAP SIZE_MAX

typedef struct record {
    gn_task task;
    real_timers *timers;
    gn_timer *timer; /* NULL when closed */
    uint64_t due_ns;
    size_t place; /* in the heap, or NOT_IN_HEAP */
    bool running; /* started, and neither stopped nor fired */
    bool posted;  /* the task waits in the queue */
} record;

struct real_timers {
    gn_world *world;
    pthread_mutex_t lock; /* of everything here and in the records */
    pthread_cond_t changed;
    pthread_t thread;
    bool stop;
    uint64_t sleeps_until; /* what the thread waits for; 0 when it is awake */
    record **heap;
    size_t n, cap;
};

uint64_t gn_real_now_ns(gn_world *world)
{
    (void)world;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* ---- the heap ---- */

static void place_at(real_timers *t, size_t i, record *r)
{
    t->heap[i] = r;
    r->place = i;
}

static void sift_up(real_timers *t, size_t i, record *r)
{
    while (i > 0 && r->due_ns < t->heap[(i - 1) / 2]->due_ns) {
        place_at(t, i, t->heap[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    place_at(t, i, r);
}

static void sift_down(real_timers *t, size_t i, record *r)
{
    for (size_t child; (child = 2 * i + 1) < t->n; i = child) {
        if (child + 1 < t->n && t->heap[child + 1]->due_ns < t->heap[child]->due_ns)
            child++;
        if (r->due_ns <= t->heap[child]->due_ns)
            break;
        place_at(t, i, t->heap[child]);
    }
    place_at(t, i, r);
}

static void heap_remove(real_timers *t, record *r)
{
    size_t i = r->place;
    if (i == NOT_IN_HEAP)
        return;
    record *last = t->heap[--t->n];
    r->place = NOT_IN_HEAP;
    if (last == r)
        return;
    if (i > 0 && last->due_ns < t->heap[(i - 1) / 2]->due_ns)
        sift_up(t, i, last);
    else
        sift_down(t, i, last);
}

static void heap_insert(real_timers *t, record *r)
{
    if (t->n == t->cap) {
        t->cap = t->cap ? t->cap * 2 : 64;
        t->heap = gn_xrealloc(t->heap, t->cap * sizeof t->heap[0]);
    }
    sift_up(t, t->n++, r);
    if (r->due_ns < t->sleeps_until)
        pthread_cond_signal(&t->changed);
}

/* ---- the thread ---- */

static void post_due(real_timers *t, uint64_t now)
{
    while (t->n > 0 && t->heap[0]->due_ns <= now) {
        record *r = t->heap[0];
        heap_remove(t, r);
        GN_ASSERT(r->running && !r->posted);
        r->posted = true;
        gn_queue_post(r->timer->queue, &r->task);
    }
}

static void *timer_main(void *arg)
{
    real_timers *t = arg;
    gn_real_thread_name("gn-timer");
    pthread_mutex_lock(&t->lock);
    while (!t->stop) {
        post_due(t, gn_real_now_ns(t->world));
        t->sleeps_until = t->n > 0 ? t->heap[0]->due_ns : UINT64_MAX;
        struct timespec until = {.tv_sec = (time_t)(t->sleeps_until / 1000000000u),
                                 .tv_nsec = (long)(t->sleeps_until % 1000000000u)};
        if (t->n > 0)
            pthread_cond_timedwait(&t->changed, &t->lock, &until);
        else
            pthread_cond_wait(&t->changed, &t->lock);
        t->sleeps_until = 0;
    }
    pthread_mutex_unlock(&t->lock);
    return NULL;
}

/* ---- on the timer's queue ---- */

static void run_record(gn_task *task)
{
    record *r = GN_CONTAINER(task, record, task);
    real_timers *t = r->timers;
    gn_timer *fires = NULL;
    pthread_mutex_lock(&t->lock);
    r->posted = false;
    bool closed = !r->timer;
    if (r->running && r->due_ns > gn_real_now_ns(t->world)) { /* restarted meanwhile */
        heap_insert(t, r);
    } else if (r->running) {
        r->running = false;
        fires = r->timer;
    }
    pthread_mutex_unlock(&t->lock);
    if (closed)
        free(r);
    else if (fires)
        fires->fire(fires);
}

void gn_real_timer_start(gn_timer *timer, uint64_t due_ns)
{
    real_timers *t = real_world_of(timer->world)->timers;
    record *r = timer->impl;
    if (!r) {
        r = timer->impl = gn_xmalloc(sizeof *r);
        *r = (record){.task.run = run_record, .timers = t, .timer = timer, .place = NOT_IN_HEAP};
    }
    pthread_mutex_lock(&t->lock);
    heap_remove(t, r);
    r->running = true;
    r->due_ns = due_ns;
    if (!r->posted) /* else the task looks at the new due time when it runs */
        heap_insert(t, r);
    pthread_mutex_unlock(&t->lock);
}

void gn_real_timer_stop(gn_timer *timer)
{
    record *r = timer->impl;
    pthread_mutex_lock(&r->timers->lock);
    heap_remove(r->timers, r);
    r->running = false;
    pthread_mutex_unlock(&r->timers->lock);
}

void gn_real_timer_close(gn_timer *timer)
{
    record *r = timer->impl;
    timer->impl = NULL;
    pthread_mutex_lock(&r->timers->lock);
    heap_remove(r->timers, r);
    r->running = false;
    r->timer = NULL;
    bool posted = r->posted;
    pthread_mutex_unlock(&r->timers->lock);
    if (!posted)
        free(r);
}

/* ---- life ---- */

real_timers *gn_real_timers_create(gn_world *world)
{
    real_timers *t = gn_xcalloc(1, sizeof *t);
    t->world = world;
    pthread_mutex_init(&t->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&t->changed, &attr);
    pthread_condattr_destroy(&attr);
    int failed = pthread_create(&t->thread, NULL, timer_main, t);
    GN_ASSERT(!failed);
    return t;
}

void gn_real_timers_destroy(real_timers *t)
{
    pthread_mutex_lock(&t->lock);
    GN_ASSERT(t->n == 0);
    t->stop = true;
    pthread_cond_signal(&t->changed);
    pthread_mutex_unlock(&t->lock);
    pthread_join(t->thread, NULL);
    pthread_cond_destroy(&t->changed);
    pthread_mutex_destroy(&t->lock);
    free(t->heap);
    free(t);
}
