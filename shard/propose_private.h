/* Proposing commands, and what reads must wait for.
 *
 * With a clock, the commands that this leader is to propose gather in order while one request for SCNs is under way,
 * and the next request is for all of them. They go to Raft in the order of their SCNs, each only in the term in which
 * its SCN was asked for: so SCNs ascend in the log, over changes of leadership too.
 *
 * Barrier: a command whose SCN was asked for may have one below a read's, so a read lets all such be applied first.
 * That holds for reads at the newest SCN as well. Without it: e has its SCN and is not applied; w, in another group,
 * gets a later one and is acknowledged; a read begins and does not see e; and another transaction, between e and w,
 * sees e and not w. No order of the four is right. */
#ifndef GN_SHARD_PROPOSE_PRIVATE_H
#define GN_SHARD_PROPOSE_PRIVATE_H

#include "shard/wait_room_private.h"

#include <stdatomic.h>

struct gn_commit_op;
struct gn_shard;

typedef struct gn_proposer {
    struct gn_shard *shard;
    gn_wait_room room; /* its lock is that of everything here; who waits, waits for all up to its target */
    bool busy;         /* somebody drives */
    struct gn_commit_op *first, *last;               /* waiting to be asked for, by `next` */
    struct gn_commit_op *batch;                      /* asked for */
    struct gn_commit_op *flight_first, *flight_last; /* asked for or proposed, and not done */
    uint64_t tickets;
    _Atomic uint64_t lost; /* how many have ended with their outcome unknown */
    gn_scn_request request;
    uint64_t term; /* of the batch */
    gn_code code;
    gn_scn scn;
    _Atomic int phase;
} gn_proposer;

void gn_proposer_init(gn_proposer *p, struct gn_shard *shard);
void gn_proposer_close(gn_proposer *p); /* waits until nobody drives */
/* Submits op->request, with an SCN first. */
void gn_propose(gn_proposer *p, struct gn_commit_op *op);
/* Before the op's event is signalled. */
void gn_proposer_done(gn_proposer *p, struct gn_commit_op *op, gn_code code);
/* A barrier does not wait for what has ended so: if this changes over one, it has shown nothing. */
uint64_t gn_proposer_lost(gn_proposer *p);
/* Returns when everything is applied whose SCN was asked for before the call. From a strand. */
gn_code gn_proposer_barrier(gn_proposer *p, const gn_patience *patience, gn_error *err);
/* One SCN for a read. From a strand. */
gn_code gn_shard_ask_clock(struct gn_shard *shard, gn_scn *scn, gn_error *err);

#endif
