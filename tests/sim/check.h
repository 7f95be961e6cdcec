/* What must hold of one Raft group, checked at every event of a simulation: a write that became durable, a frame that
 * goes out, a leader, an applied entry, an answer to a client. The checker keeps its own picture of every node's disk
 * and believes nothing that a host says of itself.
 *
 *   election safety       no term has two leaders; no node votes twice in a term or goes back to an older one
 *   log matching          one (index, term) is one entry, after one predecessor, on every disk
 *   leader completeness   a new leader's disk has every entry committed in an earlier term; nobody removes one
 *   state machine safety  every node applies the same entry at an index, and what it has itself on disk
 *   durability            what is applied is on the disks of a majority; no message speaks of what its sender may
 * forget acknowledged          what a client was told is what was applied, and is there at the end linearizable reads
 * a read sees what was acknowledged, or read, before it began
 *
 * (Ongaro, "Consensus: Bridging Theory and Practice", figure 3.2 and section 6.4.) The first violation is kept. */
#ifndef GN_TESTS_SIM_CHECK_H
#define GN_TESTS_SIM_CHECK_H

#include "raft/raft_private.h"

typedef struct check check;

typedef struct check_counts {
    unsigned long elections, committed, overwritten;
    unsigned long majority_overwritten; /* replaced although a majority had it: figure 8 (d) of the Raft paper */
} check_counts;

/* The group begins with this many voters. */
check *check_create(uint64_t group, unsigned n_nodes, unsigned n_voters);
void check_destroy(check *c);
const char *check_violation(const check *c); /* NULL: none */
check_counts check_count(const check *c);

void check_durable(check *c, gn_node_id node, const gn_disk_op *ops, size_t n);
void check_message(check *c, gn_node_id from, gn_node_id to, const gn_raft_wire *message);
void check_leader(check *c, gn_node_id node, uint64_t term);
/* A node applied everything from first to last; `commands` are those of them that are not Raft's own. */
void check_applied(check *c, gn_node_id node, uint64_t first, uint64_t last, const gn_raft_entry *commands, size_t n);
/* A state machine that has everything up to index has this hash of it. */
void check_state(check *c, gn_node_id node, uint64_t index, uint64_t hash);
void check_acknowledged(check *c, uint64_t index, gn_bytes command);
/* What a read that begins now must see. */
uint64_t check_read_begins(const check *c);
/* It was answered: the state machine that served it had everything up to `index`. */
void check_read_ends(check *c, uint64_t floor, uint64_t index);
/* At the end: an up-to-date node has everything that was acknowledged or read. */
void check_complete(check *c, gn_node_id node, uint64_t index);
/* A voter may be removed from now on. A leader counts by its newest configuration before that is on any disk; any
 * majority of it meets any majority of the one before. */
void check_may_shrink(check *c);
void check_fail(check *c, const char *format, ...) __attribute__((format(printf, 2, 3)));

uint64_t check_hash(uint64_t seed, gn_bytes bytes);

#endif
