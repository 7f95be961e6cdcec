/* A whole cluster in the simulated world: real nodes (cluster/, shard/, raft/, net/), clients on each of them, and the
 * record of what the clients did and were told, which is compared with what the stores hold in the end. */
#ifndef GN_TESTS_SIM_CLUSTER_TRIAL_H
#define GN_TESTS_SIM_CLUSTER_TRIAL_H

#include "base/metrics.h"
#include "base/sim.h"
#include "cluster/cluster_private.h"
#include "cluster/dtxn.h"
#include "cluster/recover.h"

enum {
    MOST_ID = 100, /* that a node may be given: numbers are handed out in blocks, so that crashes leave gaps */
    OBSERVER,      /* a world where nothing fails: it closes what has crashed */
    STRANGERS,     /* from where nodes ask to join, each from one of its own */
    WORLDS = STRANGERS + 30,
    MOST_NODES = 8,     /* at one time */
    SESSIONS = 2,       /* of a node */
    ACCOUNTS = 8,       /* ids 0 ... */
    PLAIN_ACCOUNTS = 3, /* of the table that is not spread */
    FIRST_SEAT = 100,   /* rows that move: over SEATS places */
    SEATS = 6,
    SEATED = 3,
    FIRST_CONTENDED = 200, /* ids that many want to insert */
    CONTENDED = 12,
    FIRST_FRESH = 300, /* ids that one event alone inserts */
    MOST_IDS = 4000,
    START_BALANCE = 100,
    MOST_READS = 128,
    MOST_WRITES = 6,
};
#define MS UINT64_C(1000000)
#define SECOND UINT64_C(1000000000)

/* Planted bugs, which the checks must find (hooks.c). */
typedef enum canary {
    NO_CANARY,
    CANARY_UNCONFIRMED_CLOCK, /* the clock does not confirm that it still leads */
    CANARY_OLD_BLOCK,         /* the clock goes on with a block of an older term */
    CANARY_IMPATIENT,         /* a follower does not wait for its leader's index */
    CANARY_EARLY_WORD,        /* groups are told "commit" before the first has decided */
    CANARY_LOST_PART,         /* a part says that it is prepared, and is not */
    CANARY_TWICE,             /* a command is tried again under a new transaction id */
    CANARY_OLD_SLOTS,         /* a group that was split serves those who have not heard of it */
    CANARY_LOST_PIECE,        /* of what is copied for a merge a piece is left out */
    CANARY_SHORT_LOG,         /* the replica with the shortest log goes on after a disaster */
    CANARY_BELIEVED,          /* who was lost and comes back is heard */
    N_CANARIES,
} canary;
extern const char *const canary_names[N_CANARIES];

/* ---- history ---- */

typedef enum table { SPREAD, PLAIN, N_TABLES } table;

typedef struct item {
    table table;
    int id;
    bool absent; /* read: no such row; written: it is removed */
    int64_t tag, n;
} item;

typedef enum outcome { REFUSED, COMMITTED, UNKNOWN } outcome;

typedef struct event {
    const char *what;
    bool read_only, newest;       /* newest: reads are not at one SCN of the clock */
    gn_scn invoked, answered, at; /* by the clock; at: commit or read SCN */
    outcome outcome;
    int64_t tag;          /* of what it writes */
    bool scans[N_TABLES]; /* it read all of it */
    int taken;            /* the id that it was refused for, -1 = none */
    bool defines;         /* another version of the table "changing" */
    item reads[MOST_READS], writes[MOST_WRITES];
    int n_reads, n_writes;
} event;

typedef struct version {
    gn_scn scn;
    bool dead;
    int64_t tag, n;
} version;

typedef struct versions {
    version *items;
    size_t n;
} versions;

/* ---- nodes ---- */

struct trial;

/* RETURNED: it was lost, and runs again with what it had; to the trial it is lost. */
typedef enum node_state { ABSENT, OPENING, UP, CLOSING, DOWN, LOST, RETURNED } node_state;

typedef struct node {
    struct trial *t;
    gn_node_id id;
    node_state state;
    bool busy; /* gn_cluster_open runs */
    gn_world *world;
    gn_cluster *cluster;
    gn_identity identity;
    char address[32], dir[300];
    int sessions;
    _Atomic bool dying, failed; /* failed: its log's disk */
    bool clean, faulty, returns;
    bool condemned;    /* is not to be restarted now */
    uint64_t since_ns; /* of the state */
} node;

typedef struct session {
    struct trial *t;
    node *node;
    _Atomic bool cancel; /* of the transaction */
    const char *call;    /* under way; NULL: none */
    uint64_t since_ns;
    bool ended;
} session;

typedef struct counts {
    unsigned long committed, refused, unknown, reads, crashes, stops, joins, losses, transfers, partitions, pauses,
        jumps, disk_failures, definitions, over_groups, splits, merges, disasters, torn;
} counts;

typedef struct trial {
    char dir[256];
    gn_sim *sim;
    uint64_t seed;
    canary canary;
    unsigned n_first; /* nodes of the beginning */
    uint64_t snapshot_bytes;
    gn_world *observer;
    node nodes[MOST_ID + 1];
    unsigned n_joining, n_strangers;
    bool filled, healing, stop, ends, splits;
    bool disaster;  /* a majority is to be lost */
    bool recovered; /* it was, and the others go on */
    uint64_t dice;  /* of the disaster */
    gn_scn floor;   /* applied somewhere that is left */
    /* What was before the others went on, and which groups did so from one replica. */
    size_t n_before, n_spans_before;
    struct torn {
        uint64_t group;
        gn_scn complete; /* nothing up to here may be missing */
        bool tail;       /* what nobody knows to have been committed is now */
    } torn[64];
    size_t n_torn;
    gn_node_id losing; /* its disk is to be lost, if one may be; 0: none */
    gn_strand **strands;
    size_t n_strands;
    session **all_sessions;
    size_t n_sessions;
    int next_fresh;

    gn_scn handed; /* the highest SCN that anybody got from the clock */
    struct span {
        gn_scn first;
        uint32_t n;
    } * spans;
    size_t n_spans, cap_spans;

    event **history;
    size_t n_history;
    versions versions[N_TABLES][MOST_IDS];
    uint64_t owners[N_TABLES][MOST_IDS];              /* groups */
    uint64_t definition_changes, definitions_unknown; /* of the table "changing" */
    uint64_t problems;
    char problem[400];
    counts counts;
} trial;

/* ---- nodes.c ---- */
void problem(trial *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
void pause_for(gn_world *world, uint64_t ns);
void start_strand(trial *t, gn_world *world, const char *name, void (*fn)(void *), void *arg);
bool is_alive(const node *n);
/* A node of which `replaced` (NULL: none) is gone for ever asks to join. */
void node_join(trial *t, node *replaced);
void node_crash(node *n, gn_sim_tear tear);
void node_stop(node *n);                  /* cleanly */
void node_lose(node *n);                  /* with its disk */
void node_restart(node *n);               /* if it is down */
void node_return(node *n);                /* one that was lost and is closed: with what it had */
void node_split(node *n, uint64_t group); /* has it split the group, if it leads it */
/* Has it merge the group into its neighbour, if it leads that. */
void node_merge(node *n, uint64_t victim, uint64_t into);
/* Restarts whose disks failed; ends transactions that take too long; a problem if one takes much too long. */
void nodes_tend(trial *t);
node *any_node(trial *t);                            /* that is up; NULL: none */
node *group_leader(trial *t, uint64_t group);        /* NULL: none */
gn_shard *replica_of(const node *n, uint64_t group); /* of a node that is up; NULL: it has none */
/* The groups of the newest placement at hand. */
size_t group_ids(trial *t, uint64_t *ids, size_t max);
uint64_t group_neighbour(trial *t, uint64_t group); /* one that it could be merged into; 0: none */
bool settled(void *trial); /* all nodes have all they should have, and nobody waits for a decision */
const char *why_unsettled(trial *t);
bool settles(trial *t, uint64_t within_ns); /* waits until it is */
trial *trial_start(uint64_t seed, canary canary, bool disaster, FILE *trace);
void heal_all(trial *t); /* nothing is cut, paused or slow any more */
void trial_heal(trial *t);
void trial_stop(trial *t);

/* ---- work.c ---- */
void session_run(void *session);
bool fill_tables(trial *t, node *n);
void last_look(trial *t); /* totals, from every node */

/* ---- faults.c ---- */
void faults_run(trial *t, uint64_t ns);

/* ---- disaster.c ---- */
/* A majority is lost for ever, and the others go on; if each group has a replica left. */
void disaster(trial *t);
void node_recover(node *n); /* does what it has agreed to, before it starts */

/* ---- history.c ---- */
event *record(trial *t, const char *what);
void conclude(trial *t, event *e, outcome how, gn_scn at);
void check_replicas(trial *t);
void check_history(trial *t);
void check_clock(trial *t);
gn_code encoded_key(int64_t id, gn_buf *out); /* opens it */

/* ---- hooks.c ---- the linker puts these before the functions of the same names (CMakeLists.txt) */
void hooks_begin(trial *t);
void hooks_end(void);
void hooks_recover(gn_world *world); /* in which a recovery is done; NULL: none is */
bool hooks_were_cut_off(void);       /* the one that has just failed was */

#endif
