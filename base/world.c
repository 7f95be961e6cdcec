/* The calls of base/world.h, handed to the world that the object belongs to. */
#include "base/world.h"

#include "base/assert.h"
#include "base/world_vtable.h"

gn_queue *gn_queue_create(gn_world *world, const char *name)
{
    return world->ops->queue_create(world, name);
}

void gn_queue_destroy(gn_queue *queue)
{
    if (queue)
        queue->world->ops->queue_destroy(queue);
}

void gn_queue_post(gn_queue *queue, gn_task *task)
{
    queue->world->ops->queue_post(queue, task);
}

bool gn_queue_is_current(const gn_queue *queue)
{
    return queue->world->ops->queue_is_current(queue);
}

gn_strand *gn_strand_start(gn_world *world, const char *name, void (*fn)(void *arg), void *arg)
{
    return world->ops->strand_start(world, name, fn, arg);
}

void gn_strand_join(gn_strand *strand)
{
    strand->world->ops->strand_join(strand);
}

void gn_event_init(gn_event *event, gn_world *world)
{
    *event = (gn_event){.world = world};
}

void gn_event_signal(gn_event *event)
{
    event->world->ops->event_signal(event);
}

gn_code gn_event_wait(gn_event *event, uint64_t deadline_ns)
{
    return event->world->ops->event_wait(event, deadline_ns);
}

void gn_strand_lend(gn_world *world)
{
    if (world->ops->strand_lend)
        world->ops->strand_lend(world);
}

void gn_task_long(gn_world *world)
{
    if (world->ops->task_long)
        world->ops->task_long(world);
}

uint64_t gn_now_ns(gn_world *world)
{
    return world->ops->now_ns(world);
}

uint64_t gn_wall_us(gn_world *world)
{
    return world->ops->wall_us(world);
}

uint64_t gn_random_u64(gn_world *world)
{
    return world->ops->random_u64(world);
}

void gn_timer_init(gn_timer *timer, gn_queue *queue, void (*fire)(gn_timer *))
{
    *timer = (gn_timer){.world = queue->world, .queue = queue, .fire = fire};
}

void gn_timer_start(gn_timer *timer, uint64_t due_ns)
{
    GN_ASSERT(timer->fire);
    timer->world->ops->timer_start(timer, due_ns);
}

void gn_timer_stop(gn_timer *timer)
{
    if (timer->impl)
        timer->world->ops->timer_stop(timer);
}

void gn_timer_close(gn_timer *timer)
{
    if (timer->impl)
        timer->world->ops->timer_close(timer);
    GN_ASSERT(!timer->impl);
}

gn_node_id gn_net_self(gn_world *world)
{
    return world->ops->net_self(world);
}

void gn_net_listen(gn_world *world, uint8_t channel, gn_queue *queue, gn_net_handler handler, void *ctx)
{
    world->ops->net_listen(world, channel, queue, handler, ctx);
}

void gn_net_send(gn_world *world, gn_node_id to, uint8_t channel, gn_bytes frame)
{
    world->ops->net_send(world, to, channel, frame);
}

gn_code gn_log_disk_open(gn_world *world, const char *dir, gn_log_disk **out, gn_error *err)
{
    return world->ops->log_disk_open(world, dir, out, err);
}

void gn_log_disk_close(gn_log_disk *disk)
{
    if (disk)
        disk->world->ops->log_disk_close(disk);
}

void gn_log_disk_write(gn_log_disk *disk, gn_disk_write *write)
{
    disk->world->ops->log_disk_write(disk, write);
}

gn_code gn_log_disk_get(gn_log_disk *disk, gn_bytes key, gn_buf *value, gn_error *err)
{
    return disk->world->ops->log_disk_get(disk, key, value, err);
}

gn_code gn_log_disk_scan(gn_log_disk *disk, gn_bytes from, gn_bytes to,
                         bool (*fn)(void *ctx, gn_bytes key, gn_bytes value), void *ctx, gn_error *err)
{
    return disk->world->ops->log_disk_scan(disk, from, to, fn, ctx, err);
}
