/* The real world's parts: base/real*.c share this. */
#ifndef GN_BASE_REAL_PRIVATE_H
#define GN_BASE_REAL_PRIVATE_H

#include "base/metrics.h"
#include "base/world_vtable.h"

#include <pthread.h>

typedef struct real_pool real_pool;
typedef struct real_timers real_timers;

typedef struct real_listener {
    gn_queue *queue;
    gn_net_handler handler;
    void *ctx;
} real_listener;

typedef struct real_world {
    gn_world base;
    gn_node_id node_id;
    real_pool *pool;
    real_timers *timers;
    pthread_rwlock_t net_lock;    /* of what follows; a handler runs without it */
    real_listener listeners[256]; /* by channel; changed on the listener's queue once there is one */
    /* Apart from net_lock: a network of one process receives for another world inside its send, and that one for this.
     */
    pthread_rwlock_t network_lock; /* of what follows; held by whoever is inside its send */
    gn_network network;
    gn_metric *dropped;
} real_world;

static inline real_world *real_world_of(gn_world *world)
{
    return (real_world *)(void *)world;
}

/* real_pool.c: queues and the threads that drain them */
real_pool *gn_real_pool_create(unsigned threads);
void gn_real_pool_destroy(real_pool *pool);
bool gn_real_pool_is_worker(void); /* is this thread one that drains queues? */
gn_queue *gn_real_queue_create(gn_world *world, const char *name);
void gn_real_queue_destroy(gn_queue *queue);
void gn_real_queue_post(gn_queue *queue, gn_task *task);
bool gn_real_queue_is_current(const gn_queue *queue);
void gn_real_strand_lend(gn_world *world);
void gn_real_task_long(gn_world *world);
/* If this thread has lent itself: works until the event has come or nothing is left that only it can do. Whatever
 * remains goes to the threads whose work it is. */
void gn_real_help_until(const gn_event *event);
/* For the thread kept for a disk, once it has taken it: writes what waits, and runs what that completes. False: it is
 * no longer that thread, and the disk may be gone. */
bool gn_real_disk_thread(gn_log_disk *disk);
/* If this thread has lent itself and has no disk yet: it will write what waits on this one (gn_real_disk_work). */
bool gn_real_help_disk(gn_log_disk *disk);

/* real_strand.c */
bool gn_real_event_is_signaled(const gn_event *event);
gn_strand *gn_real_strand_start(gn_world *world, const char *name, void (*fn)(void *), void *arg);
void gn_real_strand_join(gn_strand *strand);
void gn_real_event_signal(gn_event *event);
gn_code gn_real_event_wait(gn_event *event, uint64_t deadline_ns);
void gn_real_thread_name(const char *name); /* of the calling thread, cut to what the kernel takes */

/* real_timer.c */
uint64_t gn_real_now_ns(gn_world *world);
real_timers *gn_real_timers_create(gn_world *world);
void gn_real_timers_destroy(real_timers *timers);
void gn_real_timer_start(gn_timer *timer, uint64_t due_ns);
void gn_real_timer_stop(gn_timer *timer);
void gn_real_timer_close(gn_timer *timer);

/* real_disk.c */
gn_code gn_real_log_disk_open(gn_world *world, const char *dir, gn_log_disk **out, gn_error *err);
void gn_real_log_disk_close(gn_log_disk *disk);
void gn_real_log_disk_write(gn_log_disk *disk, gn_disk_write *write);
/* For the thread that took the disk by gn_real_help_disk: writes once what waits. False: nothing is left, the disk is
 * given back. So nobody has it without a write that waits or is under way. */
bool gn_real_disk_work(gn_log_disk *disk);
void gn_real_disk_give_back(gn_log_disk *disk); /* to its own thread */
/* For the disk's own thread: another takes its place. False: none can be had. */
bool gn_real_disk_replace_thread(gn_log_disk *disk);
gn_code gn_real_log_disk_get(gn_log_disk *disk, gn_bytes key, gn_buf *value, gn_error *err);
gn_code gn_real_log_disk_scan(gn_log_disk *disk, gn_bytes from, gn_bytes to,
                              bool (*fn)(void *ctx, gn_bytes key, gn_bytes value), void *ctx, gn_error *err);

#endif
