/* The simulated world's parts: base/sim*.c share this. */
#ifndef GN_BASE_SIM_PRIVATE_H
#define GN_BASE_SIM_PRIVATE_H

#include "base/sim.h"
#include "base/world_vtable.h"

typedef struct sim_world sim_world;
typedef struct sim_node sim_node;
typedef struct sim_queue sim_queue;
typedef struct sim_strand sim_strand;

#define SIM_NOWHERE SIZE_MAX

/* xoshiro256**, seeded by splitmix64 (Blackman and Vigna 2021). */
typedef struct sim_rng {
    uint64_t s[4];
} sim_rng;
void gn_sim_rng_seed(sim_rng *rng, uint64_t seed);
uint64_t gn_sim_rng_next(sim_rng *rng);
uint64_t gn_sim_rng_below(sim_rng *rng, uint64_t n); /* n > 0 */
bool gn_sim_rng_chance(sim_rng *rng, double probability);
/* Most near min, a tail up to max. */
uint64_t gn_sim_rng_delay(sim_rng *rng, uint64_t min, uint64_t max);

/* Something that happens at a moment of the virtual clock; embedded in what it is about. */
typedef struct sim_timed {
    uint64_t due_ns, seq; /* seq breaks ties, in the order of scheduling */
    size_t place;         /* in the heap, or SIM_NOWHERE */
    void (*happen)(struct sim_timed *timed);
} sim_timed;

/* A queue with tasks or a strand that need not wait. */
typedef struct sim_runnable {
    sim_world *world;
    uint64_t id; /* by order of creation: equal in equal runs, as addresses are not */
    size_t place;
    bool is_strand;
    char name[24];
} sim_runnable;

typedef struct sim_runnables {
    sim_runnable **items;
    size_t n, cap;
} sim_runnables;

struct sim_queue {
    gn_queue base;
    sim_runnable runnable;
    gn_task *first, *last;
    bool running;
};

typedef struct sim_listener {
    gn_queue *queue;
    gn_net_handler handler;
    void *ctx;
} sim_listener;

struct sim_world {
    gn_world base;
    gn_sim *sim;
    sim_node *node;
    unsigned incarnation;
    bool ghost;
    uint64_t clock_offset_ns;
    sim_rng rng;
    size_t n_queues, n_strands, n_timers, n_disks; /* still alive: must be 0 at the end */
    sim_listener *listeners;                       /* 256, by channel */
    struct sim_world *next;
};

typedef struct sim_store sim_store;

struct sim_node {
    gn_sim *sim;
    gn_node_id id;
    sim_world *world; /* NULL while down */
    unsigned incarnations;
    bool paused;
    sim_runnables parked; /* what could run if the node were not paused */
    int64_t wall_offset_us;
    gn_sim_disk_faults faults;
    sim_store *stores;
    gn_sim_link *links; /* to each node, by id - 1 */
    size_t *under_way;  /* frames to each node */
};

struct gn_sim {
    uint64_t seed;
    uint64_t now_ns, steps, hash, next_id, next_seq;
    sim_rng rng, test_rng;
    sim_node *nodes;
    unsigned n_nodes;
    sim_world *worlds; /* all incarnations */
    sim_runnables runnable;
    sim_timed **heap;
    size_t heap_n, heap_cap;
    sim_queue *current_queue;   /* whose task runs */
    sim_strand *current_strand; /* that runs */
    void (*on_step)(void *ctx);
    void *on_step_ctx;
    void (*on_durable)(void *ctx, gn_node_id node, const gn_disk_op *ops, size_t n);
    void *on_durable_ctx;
    bool (*on_frame)(void *ctx, gn_node_id from, gn_node_id to, uint8_t channel, gn_bytes frame);
    void *on_frame_ctx;
    FILE *trace;
    void *main_context; /* sim_strand.c's */
    struct sim_stack *free_stacks;
};

static inline sim_world *sim_world_of(const gn_world *world)
{
    return (sim_world *)(void *)world;
}

sim_node *gn_sim_node(gn_sim *sim, gn_node_id id);
/* Folds a fact of the run into the trace's hash. */
void gn_sim_note(gn_sim *sim, uint64_t fact);
void gn_sim_note_bytes(gn_sim *sim, gn_bytes bytes);
/* A line of the trace about a node. */
void gn_sim_tell(sim_node *node, const char *format, ...) __attribute__((format(printf, 2, 3)));

void gn_sim_schedule(gn_sim *sim, sim_timed *timed, uint64_t due_ns);
void gn_sim_unschedule(gn_sim *sim, sim_timed *timed);
void gn_sim_runnable_init(sim_runnable *r, sim_world *world, const char *name, bool is_strand);
void gn_sim_make_runnable(sim_runnable *r);
void gn_sim_forbid_in_task(gn_sim *sim); /* asserts: a task never blocks */

/* sim_strand.c */
gn_strand *gn_sim_strand_start(gn_world *world, const char *name, void (*fn)(void *), void *arg);
void gn_sim_strand_join(gn_strand *strand);
void gn_sim_strand_resume(gn_sim *sim, sim_runnable *r);
void gn_sim_strands_open(gn_sim *sim);
void gn_sim_strands_close(gn_sim *sim);
void gn_sim_event_signal(gn_event *event);
gn_code gn_sim_event_wait(gn_event *event, uint64_t deadline_ns);

/* sim_timer.c */
void gn_sim_timer_start(gn_timer *timer, uint64_t due_ns);
void gn_sim_timer_stop(gn_timer *timer);
void gn_sim_timer_close(gn_timer *timer);

/* sim_net.c */
void gn_sim_net_open(gn_sim *sim);
void gn_sim_net_close(gn_sim *sim);
gn_node_id gn_sim_net_self(gn_world *world);
void gn_sim_net_listen(gn_world *world, uint8_t channel, gn_queue *queue, gn_net_handler handler, void *ctx);
void gn_sim_net_send(gn_world *world, gn_node_id to, uint8_t channel, gn_bytes frame);

/* sim_disk.c */
void gn_sim_stores_crash(sim_node *node, gn_sim_tear tear);
void gn_sim_stores_free(sim_node *node);
gn_code gn_sim_log_disk_open(gn_world *world, const char *dir, gn_log_disk **out, gn_error *err);
void gn_sim_log_disk_close(gn_log_disk *disk);
void gn_sim_log_disk_write(gn_log_disk *disk, gn_disk_write *write);
gn_code gn_sim_log_disk_get(gn_log_disk *disk, gn_bytes key, gn_buf *value, gn_error *err);
gn_code gn_sim_log_disk_scan(gn_log_disk *disk, gn_bytes from, gn_bytes to,
                             bool (*fn)(void *ctx, gn_bytes key, gn_bytes value), void *ctx, gn_error *err);

/* sim_map.c: an ordered map of bytes whose copies share their entries */
typedef struct sim_map {
    struct sim_entry **entries;
    size_t n, cap;
} sim_map;
void gn_sim_map_apply(sim_map *map, const gn_disk_op *op);
void gn_sim_map_copy(sim_map *to, const sim_map *from);
void gn_sim_map_free(sim_map *map);
size_t gn_sim_map_lower_bound(const sim_map *map, gn_bytes key);
bool gn_sim_map_get(const sim_map *map, gn_bytes key, gn_bytes *value);
gn_bytes gn_sim_map_key(const sim_map *map, size_t i);
gn_bytes gn_sim_map_value(const sim_map *map, size_t i);

#endif
