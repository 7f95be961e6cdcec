/* A simulated cluster of Raft hosts, each with the same groups over a small state machine, watched by checkers
 * (check.h). Tests and the nemesis crash, restart, cut and slow its nodes; clients write to it and read from it.
 *
 * The state machine keeps a hash over all commands, so equal hashes mean equal histories. What it has flushed survives
 * a crash; the rest is applied again. Its snapshot is index, hash and count. */
#ifndef GN_TESTS_SIM_FLEET_H
#define GN_TESTS_SIM_FLEET_H

#include "base/sim.h"
#include "tests/sim/check.h"

#define MS UINT64_C(1000000)
#define SECOND UINT64_C(1000000000)

enum { FLEET_NODES = 7, FLEET_GROUPS = 3, FLEET_OPS = 256, FLEET_COMMANDS = 65536 };

/* Bugs planted to see that the checkers find them. */
typedef enum canary {
    CANARY_NONE,
    CANARY_DISK_LIES,   /* disks report writes as synced that a crash forgets */
    CANARY_WRONG_APPLY, /* a state machine now and then applies something else */
    CANARY_SKIPS,       /* a state machine now and then leaves a command out */
    CANARY_STALE_READ,  /* reads ask any node and no leader */
    CANARY_ANY_VOUCHER, /* whatever another node says of its term, the leader takes it for its own */
    CANARY_EARLY_ACK,   /* a command counts as acknowledged when it is handed over */
    N_CANARIES,
} canary;

extern const char *const canary_names[N_CANARIES];

typedef struct machine_state {
    uint64_t applied, hash, count;
} machine_state;

typedef struct fleet fleet;
typedef struct program program;

/* One incarnation of a node's process. */
struct program {
    fleet *fleet;
    program *next;
    gn_node_id node;
    gn_world *world;
    gn_strand *strand;
    bool dead; /* crashed: what it still does does not count */
    bool up;   /* all groups are open */
    bool told_to_stop, ended;
    bool failed; /* its host's disk failed; the process should end */
    gn_event stop;
    gn_code open_code;
    gn_error open_error;
    gn_raft_host *host;
    gn_raft_group *groups[FLEET_GROUPS];
    struct machine *machines[FLEET_GROUPS];
};

typedef struct fleet_node {
    program *program; /* NULL while down */
    machine_state durable[FLEET_GROUPS];
    bool faulty; /* a disk fault was ordered; a fail-stop is no surprise */
    bool flipped, lost;
} fleet_node;

typedef enum op_kind { OP_WRITE, OP_READ, OP_ADMIN } op_kind;

/* A client's operation. */
typedef struct op {
    gn_raft_request request;
    fleet *fleet;
    program *program;
    struct op *next_free;
    bool busy;
    op_kind kind;
    unsigned group;
    uint64_t floor; /* of a read */
    uint64_t id;    /* of a write */
    uint8_t *command;
    size_t len;
} op;

/* A read that another node asks for: what it says of itself (0: nothing), and how much it must see. */
typedef struct asked_read {
    gn_node_id to;
    unsigned group;
    uint64_t floor;
    gn_raft_voucher voucher;
} asked_read;

typedef struct fleet_options {
    uint64_t seed;
    unsigned n_nodes, n_voters, n_groups;
    canary canary;
    uint64_t snapshot_threshold_bytes, log_keep_bytes;
    FILE *trace;
} fleet_options;

typedef struct fleet_counts {
    unsigned long acknowledged, unknown, refused, reads, admin, transfers, installs, snapshots, crashes, fail_stops,
        lost_nodes;
} fleet_counts;

struct fleet {
    fleet_options options;
    gn_sim *sim;
    fleet_node nodes[FLEET_NODES]; /* by id - 1 */
    program *programs;             /* all that have not been reaped, dead ones too */
    check *checks[FLEET_GROUPS];
    op ops[FLEET_OPS];
    op *free_ops;
    size_t n_busy;
    asked_read underway; /* has been asked and not arrived; to == 0: none */
    uint64_t n_commands;
    bool acknowledged[FLEET_COMMANDS], applied[FLEET_COMMANDS]; /* by a write's id */
    fleet_counts counts;
    char problem[400]; /* beside the checkers' violations */
};

fleet *fleet_create(const fleet_options *options);
/* Stops every program in good order and frees all. */
void fleet_destroy(fleet *f);
const char *fleet_violation(fleet *f); /* NULL: all is well */
void fleet_fail(fleet *f, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Runs for so long, or until a violation. */
void fleet_run(fleet *f, uint64_t ns);
bool fleet_run_until(fleet *f, bool (*done)(fleet *f, void *arg), void *arg, uint64_t at_most_ns);

program *fleet_up(fleet *f, gn_node_id node); /* the node's program, if all its groups are open */
void fleet_crash(fleet *f, gn_node_id node, gn_sim_tear tear);
void fleet_restart(fleet *f, gn_node_id node);
/* Crashes nodes whose host has failed, notes nodes that cannot open their log; to be called now and then. */
void fleet_tend(fleet *f);

/* The leader of the highest term that an open node claims to be; 0 = none. */
gn_node_id fleet_leader(fleet *f, unsigned group);
gn_raft_status fleet_status(fleet *f, gn_node_id node, unsigned group);

/* False when no slot is free or the node is not open. */
bool fleet_write(fleet *f, gn_node_id node, unsigned group, size_t len);
bool fleet_read(fleet *f, gn_node_id node, unsigned group);
bool fleet_admin(fleet *f, gn_node_id node, unsigned group, void (*fn)(gn_raft_group *, gn_node_id, gn_raft_request *),
                 gn_node_id target);

/* Mends everything, restarts every node that can be, and waits until each group has a leader, takes a write and all its
 * members have it. */
void fleet_heal(fleet *f);

/* The nemesis: faults of every kind for a while. */
void nemesis_run(fleet *f, uint64_t ns);

#endif
