/* A simulated cluster of several groups with a clock, strands that call into its servers and may get no answer, and the
 * record of what they did, which is compared with what the stores hold in the end. */
#ifndef GN_TESTS_SHARD_GROUPS_CLUSTER_H
#define GN_TESTS_SHARD_GROUPS_CLUSTER_H

#include "base/sim.h"
#include "fixture.h"
#include "shard/shard_private.h"
#include "shard/txn_private.h"

enum {
    TABLE = GN_FIRST_USER_ID,
    I_NAME,
    SERVERS_MAX = 5,
    GROUPS_MAX = 3,
    KEYS = 3,
    CLIENTS = 4,
    ROUNDS = 7,
    START_BALANCE = 100,
    READS_MAX = GROUPS_MAX * KEYS,
    HISTORY_MAX = 1000,
    PARTS_MAX = 64,
};
#define MS UINT64_C(1000000)
#define SECOND UINT64_C(1000000000)

typedef enum plant {
    NO_PLANT,
    READERS_DO_NOT_WAIT,
    NO_BARRIER,
    SCN_BEFORE_PREPARE,
    NOTHING_IS_HELD,
    NEWEST_WITHOUT_BARRIER,
    NEWEST_WITHOUT_CLOCK,
    FOLLOWER_DOES_NOT_WAIT,
    N_PLANTS,
} plant;

struct cluster;

typedef struct part {
    struct part *next;
    gn_txn *txn;
    bool in_call;
} part;

typedef struct server {
    struct cluster *c;
    unsigned id;
    gn_world *world;
    gn_raft_host *host;
    gn_shard *shards[GROUPS_MAX + 1];
    gn_scn_source clock;
    unsigned incarnation;
    int calls; /* strands that are inside of its shards */
    _Atomic bool dying;
    part *parts;
} server;

typedef struct read_item {
    int group, key;
    int64_t tag, n;
} read_item;

typedef enum outcome { REFUSED, COMMITTED, UNKNOWN } outcome;

typedef struct event {
    enum { TRANSFER, SNAPSHOT, NEWEST } kind;
    gn_scn invoked, answered, at; /* by the clock; at: commit or read SCN */
    outcome outcome;
    int64_t tag; /* of what it writes */
    read_item reads[READS_MAX], writes[2];
    int n_reads, n_writes;
} event;

typedef struct version {
    gn_scn scn;
    int64_t tag, n;
} version;

typedef struct cluster {
    char dir[256];
    gn_sim *sim;
    plant plant;
    unsigned n_servers, n_groups, n_replicas;
    server servers[SERVERS_MAX + 1];
    gn_world *clients; /* where nothing crashes */
    gn_scn clock;
    gn_table_desc *table;
    bool clock_down, nobody_resolves;
    bool any_serves; /* replicas reach their leaders, so clients ask whichever */
    bool cut[SERVERS_MAX + 1];
    unsigned held_up;        /* a server that waits for the clock's answers */
    uint64_t snapshot_bytes; /* of log, after which one is taken */
    int working, resolving;
    gn_strand *strands[8000];
    size_t n_strands;
    event history[HISTORY_MAX];
    size_t n_history;
    uint64_t problems;
    char problem[300];
    version *versions[GROUPS_MAX + 1][KEYS];
    size_t n_versions[GROUPS_MAX + 1][KEYS];
} cluster;

/* A call into a server. */
typedef struct call {
    cluster *c;
    server *server;
    gn_shard *shard;
    unsigned incarnation;
} call;

/* ---- groups_cluster.c ---- */
void problem(cluster *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
void pause_for(gn_world *world, uint64_t ns);
void start_strand(cluster *c, gn_world *world, void (*fn)(void *), void *arg);
/* False: no answer; SCNs may have been used up. */
bool draw_scns(cluster *c, gn_world *world, uint32_t n, gn_scn above, gn_scn *first);
bool has_replica(const cluster *c, unsigned id, unsigned group);
void crash(cluster *c, unsigned id);
/* NULL: there is none now. */
server *find_leader(cluster *c, unsigned group);
bool call_begin(cluster *c, unsigned group, call *out);
/* False: the answer is lost. */
bool call_end(call *k);
bool decide(cluster *c, unsigned group, uint64_t txn_id, bool commit, gn_scn scn, gn_decision *out);
void forget(cluster *c, unsigned group, uint64_t txn_id);
bool read_key(cluster *c, gn_txn *txn, int group, int key, read_item *out);
bool write_key(cluster *c, gn_txn *txn, const read_item *w);
/* NULL: it could not be begun, or the answer is lost. Otherwise the call goes on. */
part *part_begin(cluster *c, unsigned group, gn_txn_options o, call *k);
/* Out of the server's hands. NULL: it has died. */
gn_txn *part_take(part *p, call *k);
bool all_lead(void *ctx);
bool cluster_idle(void *ctx);
void cluster_start(cluster *c, uint64_t seed, plant bug);
/* The same, of several replicas of each group, any of which serves. */
void cluster_start_any_serves(cluster *c, uint64_t seed, plant bug);
void cluster_stop(cluster *c);
void cut_off(cluster *c, unsigned id, bool yes);
/* Nobody is prepared, nothing is left to be forgotten, and all replicas have everything. */
bool all_settled(void *ctx);

/* ---- groups_history.c ---- */
event *record(cluster *c, int kind);
void conclude(cluster *c, event *e, outcome how, gn_scn at);
void check_replicas(cluster *c);
/* Everybody was told what happened, and what happened has an order. */
void check_history(cluster *c);

#endif
