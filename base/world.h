/* The seam between GnomonDB and everything outside it: clocks, timers, randomness, queues and their threads, the
 * network between nodes, the Raft log's disk. `gn_world_real_create` is the machine; `gn_sim_create` (base/sim.h) is a
 * whole cluster of worlds under one seeded scheduler and a virtual clock.
 *
 * Rules. Every stateful component belongs to one queue and is touched only by tasks on it. Code that runs in a
 * simulation must take time, randomness, threads, peers and the log's disk from here alone.
 *
 * Two kinds of execution:
 *  - a QUEUE (gn_queue) runs short tasks, one at a time, in the order posted; a task never blocks;
 *  - a STRAND is straight-line code that may block in gn_event_wait: a session, a background build. It is a thread in
 *    the real world and a coroutine in the simulation, where it runs alone until it waits. */
#ifndef GN_BASE_WORLD_H
#define GN_BASE_WORLD_H

#include "base/bytes.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct gn_world gn_world;
typedef struct gn_queue gn_queue;

/* ---- tasks ---- */

/* Embedded in what it is about; `run` gets back to it by GN_CONTAINER. A task may be posted again once it has begun to
 * run (so it may free or re-post itself), never while it is waiting. */
typedef struct gn_task {
    void (*run)(struct gn_task *task);
    struct gn_task *next; /* the queue's */
} gn_task;

#define GN_CONTAINER(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

gn_queue *gn_queue_create(gn_world *world, const char *name);
/* Runs what is waiting, then frees the queue. Blocks: from a strand or the main thread. Nobody may post any more. */
void gn_queue_destroy(gn_queue *queue);
void gn_queue_post(gn_queue *queue, gn_task *task); /* any thread or strand; FIFO per queue */
bool gn_queue_is_current(const gn_queue *queue);    /* inside one of its tasks? for assertions */

/* ---- strands and events ---- */

/* Starts fn(arg) as a strand. NULL when no thread can be had. */
typedef struct gn_strand gn_strand;
gn_strand *gn_strand_start(gn_world *world, const char *name, void (*fn)(void *arg), void *arg);
void gn_strand_join(gn_strand *strand); /* from another strand or the main thread; frees it */

/* A one-shot completion. Zero-initialise with gn_event_init; signal once from anywhere; wait from one strand (or the
 * main thread). After a wait that returned GN_TIMEOUT the event may still be signalled: keep its memory. Reusable
 * after a completed wait by gn_event_init. */
typedef struct gn_event {
    gn_world *world;
    _Atomic uint32_t state; /* the world's */
    void *waiter;           /* the world's */
} gn_event;

void gn_event_init(gn_event *event, gn_world *world);
void gn_event_signal(gn_event *event);
/* deadline_ns: of gn_now_ns; UINT64_MAX = none. GN_OK or GN_TIMEOUT. */
gn_code gn_event_wait(gn_event *event, uint64_t deadline_ns);
/* Called by a strand right before it starts something that it will wait for with its next gn_event_wait: until the
 * event comes, this strand may run queues' tasks and write to the log's disk itself, which spares waking the threads
 * that would. Only a hint: the deadline of that wait is then looked at when there is nothing left to help with. */
void gn_strand_lend(gn_world *world);

/* Called in a task that is about to take long, milliseconds or more: what its thread alone would do next (another
 * queue, a write to the log's disk) goes to others now rather than after it. */
void gn_task_long(gn_world *world);

/* ---- clocks, randomness ---- */

uint64_t gn_now_ns(gn_world *world);     /* monotonic, from an arbitrary start */
uint64_t gn_wall_us(gn_world *world);    /* microseconds since the Unix epoch; may jump */
uint64_t gn_random_u64(gn_world *world); /* real: from the kernel-seeded generator, good for ids, not for keys */

/* ---- timers ---- */

/* One-shot. Caller-owned memory; belongs to a queue, to be started and stopped only from that queue's tasks. After
 * gn_timer_stop the callback does not run any more, even if it was already due. */
typedef struct gn_timer {
    gn_world *world;
    gn_queue *queue;
    void (*fire)(struct gn_timer *timer); /* on the queue */
    void *impl;                           /* the world's; NULL before the first start and after close */
} gn_timer;

void gn_timer_init(gn_timer *timer, gn_queue *queue, void (*fire)(gn_timer *));
void gn_timer_start(gn_timer *timer, uint64_t due_ns); /* restarts if running; never fires before due_ns */
void gn_timer_stop(gn_timer *timer);
/* Must be called before the memory goes away. On the queue. */
void gn_timer_close(gn_timer *timer);

/* ---- network between nodes ---- */

/* Frames are datagrams as far as promises go: they may be lost, doubled, delayed and reordered, never changed. The
 * receiver task gets a frame whose bytes are freed when the handler returns. Nobody sends an empty frame: the network
 * itself makes one to say that nobody listens where the node did, so that its process is gone. A hint: it may come late
 * or not at all (a machine that lost its power says nothing), and the node may be back. */
typedef uint64_t gn_node_id; /* never 0 */
typedef void (*gn_net_handler)(void *ctx, gn_node_id from, gn_bytes frame);

gn_node_id gn_net_self(gn_world *world);
/* Frames for `channel` arrive as tasks on `queue`. One handler a channel; NULL handler = stop listening (after that
 * call, made on the queue, no handler runs). */
void gn_net_listen(gn_world *world, uint8_t channel, gn_queue *queue, gn_net_handler handler, void *ctx);
/* Copies the frame, which is not empty. Never blocks; a frame to an unknown or full peer is dropped (and counted in a
 * metric). */
void gn_net_send(gn_world *world, gn_node_id to, uint8_t channel, gn_bytes frame);

/* ---- the Raft log's disk: an ordered map of bytes with atomic, durable batches ---- */

typedef struct gn_log_disk gn_log_disk;

typedef struct gn_disk_op {
    enum { GN_DISK_PUT, GN_DISK_DELETE, GN_DISK_DELETE_RANGE } kind;
    gn_bytes key;   /* DELETE_RANGE: first key */
    gn_bytes value; /* PUT: the value; DELETE_RANGE: the end, exclusive */
} gn_disk_op;

typedef struct gn_disk_write {
    const gn_disk_op *ops; /* applied in order; memory is the caller's until done */
    size_t n;
    bool sync;                                                                    /* durable before it completes */
    gn_queue *queue;                                                              /* where `done` runs */
    void (*done)(struct gn_disk_write *write, gn_code code, const char *message); /* message: "" when GN_OK */
    gn_task task;                                                                 /* the world's from here on */
    gn_code code;
    char message[200];
    struct gn_disk_write *next;
} gn_disk_write;

/* One process, one open of a directory: a second is refused with GN_LOCKED. In the simulation `dir` names a disk of
 * this node that survives its crashes. */
gn_code gn_log_disk_open(gn_world *world, const char *dir, gn_log_disk **out, gn_error *err);
void gn_log_disk_close(gn_log_disk *disk);
/* All-or-nothing. Completes in the order of submission. After a failed write every later one fails too. */
void gn_log_disk_write(gn_log_disk *disk, gn_disk_write *write);
/* Reads see completed writes. The value is appended to `value`. GN_NO_DATA when absent. */
struct gn_buf;
gn_code gn_log_disk_get(gn_log_disk *disk, gn_bytes key, struct gn_buf *value, gn_error *err);
/* Calls fn for each pair with from <= key < to, in order; fn returns false to end early. */
gn_code gn_log_disk_scan(gn_log_disk *disk, gn_bytes from, gn_bytes to,
                         bool (*fn)(void *ctx, gn_bytes key, gn_bytes value), void *ctx, gn_error *err);

/* ---- the real world ---- */

typedef struct gn_world_options {
    unsigned threads;   /* that drain the queues; 0 = number of cores, at least 2 */
    gn_node_id node_id; /* never 0 */
} gn_world_options;

gn_world *gn_world_real_create(const gn_world_options *options);

/* What carries frames between real nodes. Without one every frame is one to an unknown peer, and dropped. */
typedef struct gn_network {
    void *ctx;
    /* Copies the frame, never blocks. False: dropped. Any thread. */
    bool (*send)(void *ctx, gn_node_id to, uint8_t channel, gn_bytes frame);
} gn_network;
/* Copied. NULL takes it away: returns when nobody is inside its `send` any more. Any thread. */
void gn_world_real_network(gn_world *world, const gn_network *network);

/* A frame that the network received; its memory is the network's again when `done` runs, on any thread. */
typedef struct gn_net_frame {
    gn_node_id from;
    uint8_t channel;
    gn_bytes bytes;
    void (*done)(struct gn_net_frame *frame);
    gn_task task; /* the world's from here on */
    gn_world *world;
} gn_net_frame;
/* Hands it to whoever listens on its channel; to nobody if nobody does. Any thread. What is not done yet is what the
 * receiver has not come to: a network that stops reading then passes the pressure back. */
void gn_world_real_receive(gn_world *world, gn_net_frame *frame);

/* For whoever wants to know of the calling thread's waits: `sleeps` runs on it when gn_event_wait has to wait (and may
 * first help with what it waits for, gn_strand_lend), `wakes` when that is over. NULL: nobody any more. */
typedef struct gn_sleep_watch {
    void (*sleeps)(struct gn_sleep_watch *watch);
    void (*wakes)(struct gn_sleep_watch *watch);
} gn_sleep_watch;
void gn_world_real_watch_sleep(gn_sleep_watch *watch);

/* All queues, strands, timers and disks must be gone. */
void gn_world_real_destroy(gn_world *world);

#endif
