/* What an implementation of the world provides. Only base/world.c, the real world and the simulation include this. */
#ifndef GN_BASE_WORLD_VTABLE_H
#define GN_BASE_WORLD_VTABLE_H

#include "base/buf.h"
#include "base/world.h"

typedef struct gn_world_ops {
    gn_queue *(*queue_create)(gn_world *, const char *name);
    void (*queue_destroy)(gn_queue *);
    void (*queue_post)(gn_queue *, gn_task *);
    bool (*queue_is_current)(const gn_queue *);
    gn_strand *(*strand_start)(gn_world *, const char *name, void (*fn)(void *), void *arg);
    void (*strand_join)(gn_strand *);
    void (*event_signal)(gn_event *);
    gn_code (*event_wait)(gn_event *, uint64_t deadline_ns);
    void (*strand_lend)(gn_world *); /* NULL: nothing to gain */
    void (*task_long)(gn_world *);   /* NULL: as well */
    uint64_t (*now_ns)(gn_world *);
    uint64_t (*wall_us)(gn_world *);
    uint64_t (*random_u64)(gn_world *);
    void (*timer_start)(gn_timer *, uint64_t due_ns);
    void (*timer_stop)(gn_timer *);
    void (*timer_close)(gn_timer *);
    gn_node_id (*net_self)(gn_world *);
    void (*net_listen)(gn_world *, uint8_t channel, gn_queue *, gn_net_handler, void *ctx);
    void (*net_send)(gn_world *, gn_node_id to, uint8_t channel, gn_bytes frame);
    gn_code (*log_disk_open)(gn_world *, const char *dir, gn_log_disk **out, gn_error *);
    void (*log_disk_close)(gn_log_disk *);
    void (*log_disk_write)(gn_log_disk *, gn_disk_write *);
    gn_code (*log_disk_get)(gn_log_disk *, gn_bytes key, gn_buf *value, gn_error *);
    gn_code (*log_disk_scan)(gn_log_disk *, gn_bytes from, gn_bytes to,
                             bool (*fn)(void *ctx, gn_bytes key, gn_bytes value), void *ctx, gn_error *);
} gn_world_ops;

/* Each implementation's world, queue, strand and disk begin with these. */
struct gn_world {
    const gn_world_ops *ops;
};
struct gn_queue {
    gn_world *world;
};
struct gn_strand {
    gn_world *world;
};
struct gn_log_disk {
    gn_world *world;
};

#endif
