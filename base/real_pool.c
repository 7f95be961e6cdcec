/* Queues and the threads that drain them.
 *
 * A queue's inbox is a stack that posters push on with one compare-and-swap (Treiber's), and that the draining thread
 * takes whole and turns round. Its head tells all: IDLE when nobody has to run the queue, BUSY when a thread has it or
 * it waits for one. So exactly the post that finds IDLE makes the queue runnable, and no lock is needed.
 *
 * On few cores most of a commit's cost beyond the disk is waking threads: it passes several queues, and each futex wake
 * costs microseconds. Hence the rule of Go's scheduler ("runnext"): a queue made runnable by a draining thread is what
 * that same thread drains next, and nobody is woken. Another thread is woken only when there is more than that to do:
 * a second queue becomes runnable, or the present one has still much waiting. A chain of such hand-overs ends after
 * NEXT_STREAK queues when others wait, so that two queues that post to each other do not starve the rest.
 *
 * By the same reasoning a strand that is about to wait for a commit lends its thread (gn_strand_lend): it becomes a
 * worker until its event comes, drains the queues that its own post made runnable, writes the log's batch itself if
 * nobody is writing, and drains what that completes. A single client's commit then wakes no thread at all.
 * The thread kept for the disk does the same under load, when there is always a next write (gn_real_disk_thread). */
#include "base/assert.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/real_private.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define SHARE_AFTER 8  /* tasks of one queue, when another waits behind it on this thread */
#define YIELD_AFTER 64 /* tasks of one queue, when others wait for any thread */
#define NEXT_STREAK 32
#define DISK_STREAK 3 /* queues that a disk's thread drains before the next write: host, applier, host */
#define HELP_AFTER 4  /* tasks that a strand runs on when its event has come: less than waking a thread for them */

typedef struct real_queue {
    gn_queue base;
    real_pool *pool;
    gn_task *_Atomic inbox;   /* newest first, or IDLE or BUSY */
    gn_task *first, *last;    /* taken from it, oldest first; the draining thread's */
    struct real_queue *after; /* in the pool's list */
} real_queue;

static gn_task busy_mark;
#define IDLE NULL
#define BUSY (&busy_mark)

typedef struct worker {
    real_pool *pool;
    pthread_t thread;
    pthread_cond_t wake;
    bool woken;
    struct worker *below; /* in the stack of sleeping ones */
    real_queue *next;     /* this thread's own: what to drain next */
    real_queue *current;
    bool current_is_gone; /* the task just run was the last of its queue, which must not be touched any more */
    /* of a strand that has lent its thread */
    const gn_event *awaited; /* NULL: a thread of the pool */
    gn_log_disk *disk;       /* taken: to be worked on by this thread */
    gn_log_disk *kept_for;   /* the disk whose own thread this is */
    unsigned after;          /* tasks run since the event came */
} worker;

struct real_pool {
    pthread_mutex_t lock; /* of the list, the stack and `stop` */
    real_queue *first, *last;
    _Atomic unsigned n_runnable; /* length of the list; read without the lock as a hint */
    worker *asleep;
    bool stop;
    unsigned n_workers;
    worker workers[];
};

static _Thread_local worker *self;
static _Thread_local worker guest; /* what `self` is while this strand lends its thread */

static real_queue *real_queue_of(const gn_queue *queue)
{
    return (real_queue *)(void *)queue;
}

bool gn_real_pool_is_worker(void)
{
    return self != NULL;
}

bool gn_real_queue_is_current(const gn_queue *queue)
{
    return self && self->current == real_queue_of(queue);
}

/* ---- making a queue runnable ---- */

static void list_append(real_pool *pool, real_queue *queue)
{
    queue->after = NULL;
    if (pool->last)
        pool->last->after = queue;
    else
        pool->first = queue;
    pool->last = queue;
    atomic_fetch_add_explicit(&pool->n_runnable, 1, memory_order_relaxed);
}

static real_queue *list_take(real_pool *pool)
{
    real_queue *queue = pool->first;
    if (!queue)
        return NULL;
    pool->first = queue->after;
    if (!pool->first)
        pool->last = NULL;
    atomic_fetch_sub_explicit(&pool->n_runnable, 1, memory_order_relaxed);
    return queue;
}

/* For any thread; wakes one if one sleeps. */
static void offer_to_all(real_pool *pool, real_queue *queue)
{
    pthread_mutex_lock(&pool->lock);
    list_append(pool, queue);
    worker *w = pool->asleep;
    if (w) {
        pool->asleep = w->below;
        w->woken = true;
    }
    pthread_mutex_unlock(&pool->lock);
    if (w)
        pthread_cond_signal(&w->wake);
}

static void make_runnable(real_queue *queue)
{
    if (!self || self->pool != queue->pool) {
        offer_to_all(queue->pool, queue);
        return;
    }
    real_queue *older = self->next;
    self->next = queue;
    if (older)
        offer_to_all(queue->pool, older);
}

void gn_real_queue_post(gn_queue *base, gn_task *task)
{
    real_queue *queue = real_queue_of(base);
    gn_task *head = atomic_load_explicit(&queue->inbox, memory_order_relaxed);
    do {
        task->next = head == IDLE || head == BUSY ? NULL : head;
    } while (
        !atomic_compare_exchange_weak_explicit(&queue->inbox, &head, task, memory_order_acq_rel, memory_order_relaxed));
    if (head == IDLE)
        make_runnable(queue);
}

/* ---- draining ---- */

static void take_inbox(real_queue *queue)
{
    gn_task *newest = atomic_exchange_explicit(&queue->inbox, BUSY, memory_order_acq_rel), *oldest = NULL;
    GN_ASSERT(newest != IDLE && !queue->first);
    if (newest == BUSY)
        return;
    queue->last = newest;
    for (gn_task *task = newest, *older; task; task = older) {
        older = task->next;
        task->next = oldest;
        oldest = task;
    }
    queue->first = oldest;
}

static gn_task *next_task(real_queue *queue)
{
    if (!queue->first)
        take_inbox(queue);
    gn_task *task = queue->first;
    if (task)
        queue->first = task->next;
    return task;
}

static bool becomes_idle(real_queue *queue)
{
    gn_task *expected = BUSY;
    return atomic_compare_exchange_strong_explicit(&queue->inbox, &expected, IDLE, memory_order_acq_rel,
                                                   memory_order_relaxed);
}

static bool is_empty(real_queue *queue)
{
    return !queue->first && atomic_load_explicit(&queue->inbox, memory_order_relaxed) == BUSY;
}

static bool should_hand_on(worker *w, unsigned done)
{
    if (w->awaited)
        return gn_real_event_is_signaled(w->awaited) && ++w->after >= HELP_AFTER;
    if (w->next)
        return done >= SHARE_AFTER;
    return done >= YIELD_AFTER && atomic_load_explicit(&w->pool->n_runnable, memory_order_relaxed) > 0;
}

static void drain(worker *w, real_queue *queue)
{
    w->current = queue;
    for (unsigned done = 0;;) {
        gn_task *task = next_task(queue);
        if (!task) {
            if (becomes_idle(queue))
                break;
            continue;
        }
        task->run(task);
        if (w->current_is_gone)
            break;
        if (should_hand_on(w, ++done) && !is_empty(queue)) {
            offer_to_all(w->pool, queue);
            break;
        }
    }
    w->current = NULL;
    w->current_is_gone = false;
}

/* ---- strands that help ---- */

void gn_real_strand_lend(gn_world *world)
{
    if (self)
        return;
    guest = (worker){.pool = real_world_of(world)->pool};
    self = &guest;
}

bool gn_real_help_disk(gn_log_disk *disk)
{
    if (self != &guest || guest.disk)
        return false;
    guest.disk = disk;
    return true;
}

void gn_real_help_until(const gn_event *event)
{
    if (self != &guest)
        return;
    GN_ASSERT(!guest.current); /* a task never blocks */
    uint64_t request = gn_log_request();
    gn_log_set_request(0); /* what others' tasks log is not this request's */
    guest.awaited = event;
    while (guest.after < HELP_AFTER) {
        real_queue *queue = guest.next;
        if (queue) {
            guest.next = NULL;
            drain(&guest, queue);
        } else if (!guest.disk || gn_real_event_is_signaled(event)) {
            break;
        } else if (!gn_real_disk_work(guest.disk)) {
            guest.disk = NULL;
        }
    }
    if (guest.next)
        offer_to_all(guest.pool, guest.next);
    if (guest.disk)
        gn_real_disk_give_back(guest.disk);
    self = NULL;
    gn_log_set_request(request);
}

/* The thread of a log's disk goes on with what its write completes, which commonly ends in the next write: under load
 * one thread so goes round without a wake. Queues in between may not keep a write waiting for long. */
bool gn_real_disk_thread(gn_log_disk *disk)
{
    guest = (worker){.pool = real_world_of(disk->world)->pool, .disk = disk, .kept_for = disk};
    self = &guest;
    for (unsigned streak = 0;;) {
        real_queue *queue = guest.next;
        guest.next = NULL;
        if (queue && guest.disk && ++streak > DISK_STREAK) {
            offer_to_all(guest.pool, queue);
            queue = NULL;
        }
        if (queue) {
            drain(&guest, queue);
        } else if (guest.disk) {
            streak = 0;
            if (!gn_real_disk_work(guest.disk))
                guest.disk = NULL;
        } else {
            break;
        }
    }
    self = NULL;
    return guest.kept_for;
}

/* A disk whose own thread is in a long task gets a new one, as Go's scheduler does for a thread that blocks. */
void gn_real_task_long(gn_world *world)
{
    worker *w = self;
    (void)world;
    if (!w)
        return;
    if (w->next)
        offer_to_all(w->pool, w->next);
    w->next = NULL;
    if (w->disk)
        gn_real_disk_give_back(w->disk);
    w->disk = NULL;
    if (w->kept_for && gn_real_disk_replace_thread(w->kept_for))
        w->kept_for = NULL;
}

/* ---- the pool's threads ---- */

/* The next queue for this thread, from the common list; sleeps until there is one. NULL: the pool stops. */
static real_queue *wait_for_queue(worker *w)
{
    real_pool *pool = w->pool;
    pthread_mutex_lock(&pool->lock);
    real_queue *queue;
    while (!(queue = list_take(pool)) && !pool->stop) {
        w->woken = false;
        w->below = pool->asleep;
        pool->asleep = w;
        while (!w->woken)
            pthread_cond_wait(&w->wake, &pool->lock);
    }
    pthread_mutex_unlock(&pool->lock);
    return queue;
}

static void *work(void *arg)
{
    worker *w = self = arg;
    gn_real_thread_name("gn-pool");
    for (unsigned streak = 0;;) {
        real_queue *queue = w->next;
        w->next = NULL;
        if (queue && ++streak > NEXT_STREAK && atomic_load_explicit(&w->pool->n_runnable, memory_order_relaxed) > 0) {
            offer_to_all(w->pool, queue);
            queue = NULL;
        }
        if (!queue) {
            streak = 0;
            queue = wait_for_queue(w);
        }
        if (!queue)
            return NULL;
        drain(w, queue);
    }
}

/* ---- life ---- */

real_pool *gn_real_pool_create(unsigned threads)
{
    real_pool *pool = gn_xcalloc(1, sizeof *pool + threads * sizeof pool->workers[0]);
    pthread_mutex_init(&pool->lock, NULL);
    pool->n_workers = threads;
    for (unsigned i = 0; i < threads; i++) {
        worker *w = &pool->workers[i];
        w->pool = pool;
        pthread_cond_init(&w->wake, NULL);
        int failed = pthread_create(&w->thread, NULL, work, w);
        GN_ASSERT(!failed);
    }
    return pool;
}

void gn_real_pool_destroy(real_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    pool->stop = true;
    for (worker *w = pool->asleep; w; w = w->below) {
        w->woken = true;
        pthread_cond_signal(&w->wake);
    }
    pool->asleep = NULL;
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->n_workers; i++) {
        pthread_join(pool->workers[i].thread, NULL);
        pthread_cond_destroy(&pool->workers[i].wake);
    }
    GN_ASSERT(!pool->first);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

gn_queue *gn_real_queue_create(gn_world *world, const char *name)
{
    (void)name;
    real_queue *queue = gn_xcalloc(1, sizeof *queue);
    queue->base.world = world;
    queue->pool = real_world_of(world)->pool;
    return &queue->base;
}

typedef struct last_task {
    gn_task task;
    gn_event done;
} last_task;

static void run_last(gn_task *task)
{
    GN_ASSERT(is_empty(self->current)); /* nobody posts to a queue that is being destroyed */
    self->current_is_gone = true;
    gn_event_signal(&GN_CONTAINER(task, last_task, task)->done);
}

void gn_real_queue_destroy(gn_queue *queue)
{
    last_task last = {.task.run = run_last};
    gn_event_init(&last.done, queue->world);
    gn_real_queue_post(queue, &last.task);
    gn_event_wait(&last.done, UINT64_MAX);
    free(real_queue_of(queue));
}
