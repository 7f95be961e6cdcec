/* The real world: puts its parts together, and holds those that are too small for a file: clocks, randomness, and the
 * network seam. */
#include "base/assert.h"
#include "base/memory.h"
#include "base/real_private.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

static uint64_t wall_us(gn_world *world)
{
    (void)world;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

static void seed_from_kernel(void *out, size_t len)
{
    uint8_t *p = out;
    while (len > 0) {
        ssize_t n = getrandom(p, len, 0);
        GN_ASSERT(n > 0 || errno == EINTR);
        if (n > 0) {
            p += n;
            len -= (size_t)n;
        }
    }
}

/* xoshiro256** of Blackman and Vigna ("Scrambled linear pseudorandom number generators", 2021), one state a thread. */
static uint64_t random_u64(gn_world *world)
{
    (void)world;
    static _Thread_local uint64_t s[4];
    while ((s[0] | s[1] | s[2] | s[3]) == 0)
        seed_from_kernel(s, sizeof s);
    uint64_t scrambled = s[1] * 5, t = s[1] << 17;
    scrambled = (scrambled << 7 | scrambled >> 57) * 9;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = s[3] << 45 | s[3] >> 19;
    return scrambled;
}

/* ---- the network seam ---- */

static gn_node_id net_self(gn_world *world)
{
    return real_world_of(world)->node_id;
}

static void net_listen(gn_world *base, uint8_t channel, gn_queue *queue, gn_net_handler handler, void *ctx)
{
    real_world *world = real_world_of(base);
    pthread_rwlock_wrlock(&world->net_lock);
    world->listeners[channel] = (real_listener){.queue = queue, .handler = handler, .ctx = ctx};
    pthread_rwlock_unlock(&world->net_lock);
}

static void net_send(gn_world *base, gn_node_id to, uint8_t channel, gn_bytes frame)
{
    real_world *world = real_world_of(base);
    pthread_rwlock_rdlock(&world->network_lock);
    bool sent = world->network.send && world->network.send(world->network.ctx, to, channel, frame);
    pthread_rwlock_unlock(&world->network_lock);
    if (!sent)
        gn_counter_add(world->dropped, 1);
}

void gn_world_real_network(gn_world *base, const gn_network *network)
{
    real_world *world = real_world_of(base);
    pthread_rwlock_wrlock(&world->network_lock);
    world->network = network ? *network : (gn_network){0};
    pthread_rwlock_unlock(&world->network_lock);
}

static real_listener listener_of(real_world *world, uint8_t channel)
{
    pthread_rwlock_rdlock(&world->net_lock);
    real_listener listener = world->listeners[channel];
    pthread_rwlock_unlock(&world->net_lock);
    return listener;
}

/* On the listener's queue, where alone it is changed: who has stopped listening gets nothing. */
static void deliver(gn_task *task)
{
    gn_net_frame *frame = GN_CONTAINER(task, gn_net_frame, task);
    real_listener listener = listener_of(real_world_of(frame->world), frame->channel);
    if (listener.handler)
        listener.handler(listener.ctx, frame->from, frame->bytes);
    frame->done(frame);
}

/* The task is posted under the lock: a queue is destroyed only after its listener was taken away. */
void gn_world_real_receive(gn_world *base, gn_net_frame *frame)
{
    real_world *world = real_world_of(base);
    frame->world = base;
    frame->task = (gn_task){.run = deliver};
    pthread_rwlock_rdlock(&world->net_lock);
    const real_listener *listener = &world->listeners[frame->channel];
    bool heard = listener->handler != NULL;
    if (heard)
        gn_queue_post(listener->queue, &frame->task);
    pthread_rwlock_unlock(&world->net_lock);
    if (!heard)
        frame->done(frame);
}

static const gn_world_ops real_ops = {
    .queue_create = gn_real_queue_create,
    .queue_destroy = gn_real_queue_destroy,
    .queue_post = gn_real_queue_post,
    .queue_is_current = gn_real_queue_is_current,
    .strand_start = gn_real_strand_start,
    .strand_join = gn_real_strand_join,
    .event_signal = gn_real_event_signal,
    .event_wait = gn_real_event_wait,
    .strand_lend = gn_real_strand_lend,
    .task_long = gn_real_task_long,
    .now_ns = gn_real_now_ns,
    .wall_us = wall_us,
    .random_u64 = random_u64,
    .timer_start = gn_real_timer_start,
    .timer_stop = gn_real_timer_stop,
    .timer_close = gn_real_timer_close,
    .net_self = net_self,
    .net_listen = net_listen,
    .net_send = net_send,
    .log_disk_open = gn_real_log_disk_open,
    .log_disk_close = gn_real_log_disk_close,
    .log_disk_write = gn_real_log_disk_write,
    .log_disk_get = gn_real_log_disk_get,
    .log_disk_scan = gn_real_log_disk_scan,
};

gn_world *gn_world_real_create(const gn_world_options *options)
{
    GN_ASSERT(options->node_id != 0);
    unsigned threads = options->threads;
    if (threads == 0) {
        long cores = sysconf(_SC_NPROCESSORS_ONLN);
        threads = cores > 2 ? (unsigned)cores : 2;
    }
    real_world *world = gn_xcalloc(1, sizeof *world);
    world->base.ops = &real_ops;
    world->node_id = options->node_id;
    pthread_rwlock_init(&world->net_lock, NULL);
    pthread_rwlock_init(&world->network_lock, NULL);
    world->dropped = gn_counter("gnomon_net_dropped_frames_total", NULL, "Frames to peers that could not be sent.");
    world->pool = gn_real_pool_create(threads);
    world->timers = gn_real_timers_create(&world->base);
    return &world->base;
}

void gn_world_real_destroy(gn_world *base)
{
    if (!base)
        return;
    real_world *world = real_world_of(base);
    gn_real_timers_destroy(world->timers);
    gn_real_pool_destroy(world->pool);
    pthread_rwlock_destroy(&world->network_lock);
    pthread_rwlock_destroy(&world->net_lock);
    free(world);
}
