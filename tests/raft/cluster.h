/* A simulated cluster of hosts, each with one group over the recorder state machine. A node's state machine survives a
 * crash as it was at that moment, as shard/'s would after a flush. */
#ifndef GN_TESTS_RAFT_CLUSTER_H
#define GN_TESTS_RAFT_CLUSTER_H

#include "base/sim.h"
#include "tests/raft/recorder.h"

#define MS UINT64_C(1000000)
#define SECOND UINT64_C(1000000000)

enum { CLUSTER_NODES = 7, CLUSTER_GROUP = 7 };

typedef struct cluster_node {
    gn_world *world;
    gn_raft_host *host;
    gn_raft_group *group;
    recorder *recorder;
    recorder *saved; /* what the state machine had at the crash */
    int failures;
    unsigned id;
} cluster_node;

typedef struct cluster {
    gn_sim *sim;
    void (*watch)(void *node, const gn_raft_entry *entry, uint64_t term); /* of every state machine; may be NULL */
    unsigned n;
    gn_raft_options options;
    cluster_node node[CLUSTER_NODES + 1]; /* by id */
} cluster;

/* All of the first `members` nodes are voters; the others open the group empty and wait to be added. */
void cluster_start(cluster *c, uint64_t seed, unsigned n, unsigned members, const gn_raft_options *options);
/* The last `puppets` nodes run no host: the test speaks for them (puppet.h). */
void cluster_start_with(cluster *c, uint64_t seed, unsigned n, unsigned members, unsigned puppets,
                        const gn_raft_options *options);
void cluster_stop(cluster *c);
void cluster_crash(cluster *c, unsigned id, gn_sim_tear tear);
void cluster_restart(cluster *c, unsigned id);
gn_code cluster_try_restart(cluster *c, unsigned id);

/* For nodes yet to be opened by cluster_start. */
void cluster_watch(void (*watch)(void *node, const gn_raft_entry *entry, uint64_t term));

gn_raft_status cluster_status(cluster *c, unsigned id);
/* Waits for a leader that can read; fails the test after 20 virtual seconds. */
unsigned cluster_leader(cluster *c);
/* Waits until every up node has applied what the leader has. */
void cluster_settle(cluster *c);
/* All state machines have the same commands in the same order. */
void cluster_check_equal(cluster *c);

typedef struct cluster_call {
    gn_raft_request request;
    gn_event done;
    gn_code code;
    bool ended;
} cluster_call;

void cluster_prepare(cluster *c, unsigned id, cluster_call *call, const char *command);
gn_code cluster_wait(cluster *c, cluster_call *call); /* fails the test after 20 virtual seconds */
gn_code cluster_submit(cluster *c, unsigned id, const char *command);
/* Submits to whoever leads until it is acknowledged. */
void cluster_write(cluster *c, const char *command);
bool cluster_has(cluster *c, unsigned id, const char *command);

#endif
