/* Nodes of a simulation that ask each other, and the book of who asked what: the checks of test_rpc.c. */
#ifndef GN_TESTS_NET_RPC_FLEET_H
#define GN_TESTS_NET_RPC_FLEET_H

#include "base/sim.h"
#include "net/rpc_private.h"

#define MAX_NODES 3
#define MAX_ASKED 4000

enum { ECHO, LATER, BLOCK, FAIL, LARGE, NEVER, UNKNOWN_METHOD };

/* One call, from the asker's and the answerers' side. */
typedef struct asked {
    gn_rpc_call call;
    struct fleet *fleet;
    unsigned id;
    gn_buf request;
    bool started, done;
    gn_code code;
    unsigned ran; /* how often a handler began with it */
    uint64_t started_ns, done_ns;
} asked;

typedef struct fleet_node {
    struct fleet *fleet;
    gn_node_id id;
    gn_world *world; /* NULL: down */
    gn_rpc *rpc;
    gn_queue *queue;
} fleet_node;

typedef struct fleet {
    gn_sim *sim;
    unsigned n;
    fleet_node *nodes[MAX_NODES + 1];
    asked *asked[MAX_ASKED];
    unsigned n_asked;
    uint64_t longest_ns; /* LATER and BLOCK take up to so long */
    /* what was seen to be wrong */
    unsigned ran_twice, done_twice, wrong_answers, ran_though_unavailable;
} fleet;

fleet *fleet_create(uint64_t seed, unsigned n, unsigned max_strands);
void fleet_close(fleet *f); /* all nodes: every call has ended then */
void fleet_destroy(fleet *f);
void fleet_crash(fleet *f, gn_node_id node); /* and closes the ghost */
void fleet_restart(fleet *f, gn_node_id node);
void fleet_links(fleet *f, double loss, double duplicate, uint64_t max_ns);
/* size: of the request, at least 8. */
asked *fleet_ask(fleet *f, gn_node_id from, gn_node_id to, uint16_t method, size_t size, uint64_t timeout_ns);
bool fleet_all_done(void *fleet);
void fleet_check(fleet *f); /* counts what is wrong over all that is done */
uint64_t fleet_now(const fleet *f, gn_node_id node);

#endif
