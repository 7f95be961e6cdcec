#include "node/dispatcher.h"

#include "base/assert.h"
#include "base/log.h"
#include "base/memory.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#define LONG_US 5000u
#define SAME_IN_A_ROW 16 /* turns of one caller that streams, before others are looked for */

typedef enum worker_state { WATCHING, WORKING, SLEEPING, LONG, PARKED } worker_state;

typedef struct worker {
    gn_sleep_watch watch;
    gn_dispatcher *dispatcher;
    struct worker *next, **link; /* of all */
    worker_state state;
    uint64_t since_ns;    /* WORKING and WATCHING: when that began */
    bool slept;           /* in this turn */
    unsigned in_a_row;    /* turns of one caller that followed each other without a look at others */
    struct worker *below; /* in the stack of parked ones */
    pthread_cond_t unparked;
} worker;

struct gn_dispatcher {
    gn_world *world;
    gn_busy_poll busy_poll;
    int epoll;
    unsigned at_once;
    uint64_t long_ns;
    pthread_mutex_t lock; /* of what follows, and of workers' states */
    gn_dispatcher_counts counts;
    worker *workers;
    worker *parked; /* a stack; with those unparked that have not run yet, as many at least as are held */
    gn_caller *held_first, *held_last;
};

static _Thread_local worker *self;

/* ---- states; all under the lock ---- */

static bool may_begin(const gn_dispatcher *d, const gn_caller *caller)
{
    return d->counts.working < d->at_once || caller->slept || caller->was_long;
}

static void unpark(gn_dispatcher *d)
{
    worker *w = d->parked;
    d->parked = w->below;
    w->state = WATCHING;
    w->since_ns = gn_now_ns(d->world);
    d->counts.watching++;
    pthread_cond_signal(&w->unparked);
}

/* After any change: while fewer turns run than may, nobody is held back and somebody watches. */
static void settle(gn_dispatcher *d)
{
    if (d->parked && d->counts.working < d->at_once && (d->held_first || d->counts.watching == 0))
        unpark(d);
}

static void begin_turn(gn_dispatcher *d, worker *w, gn_caller *caller)
{
    GN_ASSERT(w->state == WATCHING);
    d->counts.watching--;
    d->counts.working += !caller->was_long;
    w->state = caller->was_long ? LONG : WORKING;
    w->slept = false;
    w->since_ns = gn_now_ns(d->world);
    caller->last_rest_ns = w->since_ns - caller->rests_since_ns;
    settle(d);
}

static void hold(gn_dispatcher *d, gn_caller *caller)
{
    caller->next = NULL;
    if (d->held_first)
        d->held_last->next = caller;
    else
        d->held_first = caller;
    d->held_last = caller;
    d->counts.held++;
}

static gn_caller *take_held(gn_dispatcher *d)
{
    gn_caller *caller = d->held_first;
    d->held_first = caller->next;
    d->counts.held--;
    return caller;
}

/* Turns that take long free their places. When the rush is over (a thread has waited for a caller that long), the
 * parked ones go back to watching, one at a time. */
static void look_after(gn_dispatcher *d)
{
    uint64_t now = gn_now_ns(d->world);
    bool calm = false;
    for (worker *w = d->workers; w; w = w->next) {
        bool is_long = now - w->since_ns >= d->long_ns;
        calm |= w->state == WATCHING && is_long;
        if (w->state == WORKING && is_long) {
            w->state = LONG;
            d->counts.working--;
        }
    }
    if (calm)
        unpark(d);
    else
        settle(d);
}

/* When the next turn, of those that work, will have taken long. */
static struct timespec next_look(const gn_dispatcher *d)
{
    uint64_t now = gn_now_ns(d->world), wait = d->long_ns;
    for (const worker *w = d->workers; w; w = w->next) {
        uint64_t worked = now - w->since_ns;
        uint64_t left = worked < d->long_ns ? d->long_ns - worked : 0;
        if (w->state == WORKING && left < wait)
            wait = left;
    }
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    wait += (uint64_t)until.tv_nsec;
    until.tv_sec += (time_t)(wait / 1000000000u);
    until.tv_nsec = (long)(wait % 1000000000u);
    return until;
}

static void park(gn_dispatcher *d, worker *w)
{
    d->counts.watching--;
    w->state = PARKED;
    w->below = d->parked;
    d->parked = w;
    while (w->state == PARKED) {
        if (w->below) {
            pthread_cond_wait(&w->unparked, &d->lock);
            continue;
        }
        struct timespec until = next_look(d);
        if (pthread_cond_timedwait(&w->unparked, &d->lock, &until) == ETIMEDOUT && w->state == PARKED)
            look_after(d);
    }
}

static void worker_sleeps(gn_sleep_watch *watch)
{
    worker *w = GN_CONTAINER(watch, worker, watch);
    gn_dispatcher *d = w->dispatcher;
    pthread_mutex_lock(&d->lock);
    w->slept = true;
    if (w->state == WORKING) {
        w->state = SLEEPING;
        d->counts.working--;
        settle(d);
    }
    pthread_mutex_unlock(&d->lock);
}

static void worker_wakes(gn_sleep_watch *watch)
{
    worker *w = GN_CONTAINER(watch, worker, watch);
    gn_dispatcher *d = w->dispatcher;
    pthread_mutex_lock(&d->lock);
    if (w->state == SLEEPING) {
        w->state = WORKING;
        w->since_ns = gn_now_ns(d->world);
        d->counts.working++;
    }
    pthread_mutex_unlock(&d->lock);
}

void gn_dispatcher_sleeps(void)
{
    if (self)
        worker_sleeps(&self->watch);
}

void gn_dispatcher_wakes(void)
{
    if (self)
        worker_wakes(&self->watch);
}

/* ---- between turns ---- */

/* From here on any thread may be given the caller. False: the kernel has no room for it. */
static bool let_rest(gn_dispatcher *d, gn_caller *caller)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLONESHOT, .data.ptr = caller};
    int fd = caller->fd, op = caller->registered ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    caller->registered = true;
    atomic_store_explicit(&caller->rests, 1, memory_order_release);
    if (epoll_ctl(d->epoll, op, fd, &event) == 0)
        return true;
    GN_ASSERT(op == EPOLL_CTL_ADD && (errno == ENOSPC || errno == ENOMEM));
    gn_log_warn("node", "a connection was closed, because the kernel has no room to watch it",
                GN_KV_STR("error", strerror(errno)), GN_KV_STR("hint", "Raise fs.epoll.max_user_watches."));
    return false;
}

/* NULL: nobody came within the time. */
static gn_caller *wait_for_caller(gn_dispatcher *d, int timeout_ms)
{
    struct epoll_event event;
    int n;
    while ((n = epoll_wait(d->epoll, &event, 1, timeout_ms)) < 0)
        GN_ASSERT(errno == EINTR);
    if (n == 0)
        return NULL;
    gn_caller *caller = event.data.ptr;
    unsigned rested = atomic_exchange_explicit(&caller->rests, 0, memory_order_acquire); /* what was done is seen */
    GN_ASSERT(rested);
    return caller;
}

/* Looks for a while for what `mine`, which was just served, asks next, and for others. */
static gn_caller *look(gn_dispatcher *d, gn_caller *mine)
{
    gn_caller *caller = NULL;
    if (!gn_busy_poll_take(&d->busy_poll, mine->last_rest_ns))
        return NULL;
    uint64_t until = mine->rests_since_ns + d->busy_poll.limit_ns;
    do {
        if (mine->look(mine))
            caller = mine;
        else if (!(caller = wait_for_caller(d, 0)))
            sched_yield();
    } while (!caller && gn_now_ns(d->world) < until);
    gn_busy_poll_give_back(&d->busy_poll);
    return caller;
}

static void end_turn(gn_dispatcher *d, worker *w, gn_caller *mine)
{
    uint64_t now = gn_now_ns(d->world);
    if (w->state == WORKING)
        d->counts.working--;
    mine->was_long = w->state == LONG && now - w->since_ns >= d->long_ns;
    mine->slept = w->slept;
    mine->rests_since_ns = now;
    w->state = WATCHING;
    w->since_ns = now;
    d->counts.watching++;
}

/* The caller of the next turn, which has begun. NULL: `mine` is over, as it cannot be let rest. */
static gn_caller *next_caller(gn_dispatcher *d, worker *w, gn_caller *mine)
{
    pthread_mutex_lock(&d->lock);
    end_turn(d, w, mine);
    bool may_look = mine->registered && !d->held_first && w->in_a_row < SAME_IN_A_ROW;
    pthread_mutex_unlock(&d->lock);
    gn_caller *caller = may_look ? look(d, mine) : NULL;
    w->in_a_row = caller == mine ? w->in_a_row + 1 : 0;
    if (caller != mine && !let_rest(d, mine))
        return NULL;
    pthread_mutex_lock(&d->lock);
    for (;;) {
        if (!caller && d->held_first && may_begin(d, d->held_first))
            caller = take_held(d);
        if (caller && may_begin(d, caller))
            break;
        if (caller)
            hold(d, caller);
        caller = NULL;
        if (d->held_first) {
            park(d, w);
            continue;
        }
        pthread_mutex_unlock(&d->lock);
        caller = wait_for_caller(d, -1);
        pthread_mutex_lock(&d->lock);
    }
    begin_turn(d, w, caller);
    pthread_mutex_unlock(&d->lock);
    return caller;
}

/* ---- a worker's life ---- */

static void enter(gn_dispatcher *d, worker *w)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&w->unparked, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_lock(&d->lock);
    w->next = d->workers;
    w->link = &d->workers;
    if (w->next)
        w->next->link = &w->next;
    d->workers = w;
    w->state = WORKING;
    w->since_ns = gn_now_ns(d->world);
    d->counts.working++;
    pthread_mutex_unlock(&d->lock);
    self = w;
    gn_world_real_watch_sleep(&w->watch);
}

static void leave(gn_dispatcher *d, worker *w)
{
    gn_world_real_watch_sleep(NULL);
    self = NULL;
    pthread_mutex_lock(&d->lock);
    d->counts.working -= w->state == WORKING;
    d->counts.watching -= w->state == WATCHING;
    *w->link = w->next;
    if (w->next)
        w->next->link = w->link;
    settle(d);
    pthread_mutex_unlock(&d->lock);
    pthread_cond_destroy(&w->unparked);
}

gn_caller *gn_dispatcher_work(gn_dispatcher *d, gn_caller *first)
{
    worker w = {.dispatcher = d, .watch = {.sleeps = worker_sleeps, .wakes = worker_wakes}};
    gn_caller *caller = first, *next;
    enter(d, &w);
    while (caller->serve(caller) && (next = next_caller(d, &w, caller)))
        caller = next;
    leave(d, &w);
    return caller;
}

gn_code gn_dispatcher_open(gn_world *world, const gn_dispatcher_options *options, gn_dispatcher **out, gn_error *err)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0)
        return gn_error_errno(err, GN_RESOURCES, errno, "could not make an epoll set");
    gn_dispatcher *d = gn_xcalloc(1, sizeof *d);
    *d = (gn_dispatcher){.world = world, .epoll = epoll, .at_once = options->turns_at_once};
    d->long_ns = (options->long_us ? options->long_us : LONG_US) * 1000;
    if (!d->at_once)
        d->at_once = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
    gn_busy_poll_init(&d->busy_poll, world, options->busy_poll_us);
    pthread_mutex_init(&d->lock, NULL);
    *out = d;
    return GN_OK;
}

gn_dispatcher_counts gn_dispatcher_count(gn_dispatcher *d)
{
    pthread_mutex_lock(&d->lock);
    gn_dispatcher_counts counts = d->counts;
    pthread_mutex_unlock(&d->lock);
    return counts;
}

void gn_dispatcher_close(gn_dispatcher *d)
{
    GN_ASSERT(!d->workers && !d->held_first);
    close(d->epoll);
    pthread_mutex_destroy(&d->lock);
    free(d);
}
