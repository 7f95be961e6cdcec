/* The database's clock: SCNs in order, to whoever asks (docs/decisions/cluster.md).
 *
 * The leader of the meta group hands them out from blocks. A block is a reserved range of a sequence in the meta
 * group's log, so no two leaders ever have the same; it is used in the term in which it was reserved only, and each
 * batch of requests is answered after the group has confirmed (ReadIndex) that this node still leads that term; the
 * term that another node sends with its request may be all the confirmation that it needs (gn_raft_voucher). So what is
 * handed out is above everything that anybody was given before the request was made. Other nodes ask the leader;
 * what is asked for while an answer is on its way is asked for at once, in one batch. A database on one node is its own
 * leader, and answers from memory.
 *
 * SCNs are times: a block begins at the wall clock or above. If the wall clock falls, SCNs go on by counting. */
#ifndef GN_CLUSTER_CLOCK_PRIVATE_H
#define GN_CLUSTER_CLOCK_PRIVATE_H

#include "net/rpc.h"
#include "shard/txn.h"

typedef struct gn_clock gn_clock;

/* meta: this node's replica of the meta group. rpc: may be NULL on a node that has no peers. */
gn_clock *gn_clock_create(gn_world *world, gn_shard *meta, gn_rpc *rpc);
/* From now on every request is answered with GN_SHUTDOWN; returns when none is under way. */
void gn_clock_stop(gn_clock *clock);    /* NULL is fine */
void gn_clock_destroy(gn_clock *clock); /* NULL is fine */
gn_scn_source gn_clock_source(gn_clock *clock);
/* One SCN, now. From a strand. GN_UNAVAILABLE: no leader of the meta group can be reached; GN_CANCELED. */
gn_code gn_clock_ask(gn_clock *clock, const _Atomic bool *cancel, gn_scn *scn, gn_error *err);
/* What was handed out elsewhere, of which this clock cannot know: it goes on above. */
void gn_clock_raise(gn_clock *clock, gn_scn scn);
gn_scn gn_clock_newest(gn_clock *clock); /* handed out here, or raised to */
/* Another node's request; GN_NOT_LEADER if this one cannot answer by itself. */
void gn_clock_serve(gn_clock *clock, gn_rpc_request *request);

#endif
