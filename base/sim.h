/* The simulated world: a whole cluster in one thread, drawn from one seed.
 *
 * Each node is a gn_world (base/world.h). One scheduler runs all tasks of all queues and all strands of all nodes, one
 * at a time, in an order drawn from the seed (each queue keeps its own order); when none is left it moves the virtual
 * clock to the next timer, frame or disk completion. The same seed and the same calls give the same run, bit for bit,
 * which gn_sim_trace_hash shows. So a failing seed is a complete bug report.
 *
 * Who calls: the functions below, and the blocking calls of base/world.h made outside a strand, belong to the thread
 * that created the simulation; a blocking call there runs the scheduler until it is satisfied. Network and disk
 * faults, pauses and crashes may also be ordered from a strand or task of any node.
 *
 * A crash and its ghost. gn_sim_crash ends a node as a power cut does: the network forgets it and its disks keep what
 * was synced (and perhaps some of what was not). The world of that incarnation goes on as a ghost: its code still
 * runs, but nothing that it does reaches another node or the surviving disk. So whoever started the node's components
 * closes them in the ghost in the usual way, memory is freed, and every crash is also a test of closing. */
#ifndef GN_BASE_SIM_H
#define GN_BASE_SIM_H

#include "base/world.h"

#include <stdio.h>

typedef struct gn_sim gn_sim;

/* Nodes have the ids 1 ... n_nodes and are up. */
gn_sim *gn_sim_create(uint64_t seed, unsigned n_nodes);
/* All queues, strands, timers and disks of all worlds, ghosts too, must be gone. */
void gn_sim_destroy(gn_sim *sim);
/* The node's present incarnation; NULL while it is down. */
gn_world *gn_sim_world(gn_sim *sim, gn_node_id node);

/* ---- running ---- */

/* Runs one task, one strand until it waits, or what is due next. False when nothing is left to do, ever. */
bool gn_sim_step(gn_sim *sim);
/* Steps until done(ctx), for at most this much virtual time; gives the last done(ctx). */
bool gn_sim_run_until(gn_sim *sim, bool (*done)(void *ctx), void *ctx, uint64_t at_most_ns);
void gn_sim_run_for(gn_sim *sim, uint64_t ns);
/* Called after every step, wherever the stepping is done: the place for checks. */
void gn_sim_on_step(gn_sim *sim, void (*fn)(void *ctx), void *ctx);

/* Called for each write of a node, in order, when it has become proof against a crash; in a tearing crash for what
 * survives it. What is unsynced, and what a ghost writes, is not shown. */
void gn_sim_on_durable(gn_sim *sim, void (*fn)(void *ctx, gn_node_id node, const gn_disk_op *ops, size_t n), void *ctx);
/* Called for each frame that a node (no ghost) hands to the network; false: the frame is lost. */
void gn_sim_on_frame(gn_sim *sim,
                     bool (*fn)(void *ctx, gn_node_id from, gn_node_id to, uint8_t channel, gn_bytes frame), void *ctx);

uint64_t gn_sim_now_ns(const gn_sim *sim); /* the scheduler's clock; each node's begins at an offset of its own */
uint64_t gn_sim_steps(const gn_sim *sim);
uint64_t gn_sim_trace_hash(const gn_sim *sim);
/* Writes a line for every step and fault; NULL ends it. */
void gn_sim_trace_to(gn_sim *sim, FILE *out);
/* Adds a line of the test's own to that trace. */
void gn_sim_trace(gn_sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Randomness for the test itself: below `n`, from a stream of its own. n = 0: all 64 bits. */
uint64_t gn_sim_random(gn_sim *sim, uint64_t n);
bool gn_sim_chance(gn_sim *sim, double probability);

/* ---- nodes ---- */

typedef enum gn_sim_tear {
    GN_SIM_FORGET, /* everything that was not synced is gone */
    GN_SIM_TEAR,   /* a random prefix of the unsynced and the waiting writes survives, each of them whole */
} gn_sim_tear;

void gn_sim_crash(gn_sim *sim, gn_node_id node, gn_sim_tear tear);
/* After a crash of the process, not the machine: whoever it reaches hears that it is gone (an empty frame). */
void gn_sim_tell_gone(gn_sim *sim, gn_node_id node, uint8_t channel);
gn_world *gn_sim_restart(gn_sim *sim, gn_node_id node);
/* A paused node runs nothing (a stopped process, a frozen machine); its disk and the network go on. */
void gn_sim_pause(gn_sim *sim, gn_node_id node, bool paused);
/* Moves the node's wall clock. */
void gn_sim_wall_jump(gn_sim *sim, gn_node_id node, int64_t us);

/* ---- the network ---- */

/* One direction between two nodes. Delays are drawn with most near min_ns and a tail up to max_ns; so frames overtake
 * each other unless the two are equal. */
typedef struct gn_sim_link {
    double loss, duplicate; /* probabilities */
    uint64_t min_ns, max_ns;
    bool cut;
} gn_sim_link;

extern const gn_sim_link gn_sim_link_good; /* the default: no loss, 100 us to 1 ms */

/* 0 for `from` or `to` means every node. */
void gn_sim_link_set(gn_sim *sim, gn_node_id from, gn_node_id to, const gn_sim_link *link);
/* Cuts or mends one direction and leaves the rest of the link as it is. Frames under way on a cut link are lost. */
void gn_sim_cut(gn_sim *sim, gn_node_id from, gn_node_id to, bool cut);

/* ---- the log's disk ---- */

typedef struct gn_sim_disk_faults {
    uint64_t min_ns, max_ns; /* time of a synced write, drawn as above */
    unsigned fail_write;     /* counts down; the write that makes it 0 fails with fail_code. 0 = none */
    gn_code fail_code;       /* GN_IO or GN_DISK_FULL */
    unsigned fail_read;      /* the same for reads, with GN_IO */
    bool lies;               /* reports writes as synced that a crash forgets: for tests of the tests */
} gn_sim_disk_faults;

extern const gn_sim_disk_faults gn_sim_disk_good; /* the default: 50 us to 500 us, no faults */

/* Of all disks of the node, from now on and over its crashes. */
void gn_sim_disk_set(gn_sim *sim, gn_node_id node, const gn_sim_disk_faults *faults);
gn_sim_disk_faults gn_sim_disk_get(gn_sim *sim, gn_node_id node);
/* Flips a random bit of a random stored value, below every checksum of the disk's own. False: nothing is stored. */
bool gn_sim_disk_flip(gn_sim *sim, gn_node_id node);

#endif
