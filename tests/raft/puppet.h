/* A server whose messages the test writes and reads itself: a host is shown situations that honest servers bring about
 * once in a million runs. */
#ifndef GN_TESTS_RAFT_PUPPET_H
#define GN_TESTS_RAFT_PUPPET_H

#include "raft/raft_private.h"
#include "tests/raft/cluster.h"

typedef struct heard {
    gn_node_id from;
    gn_raft_wire wire; /* its bytes are gone; entries are below */
    uint64_t first_index, first_term;
    uint8_t types[32];
    unsigned frame; /* number of the frame it came in */
} heard;

typedef struct puppet {
    cluster *cluster;
    unsigned id;
    gn_queue *queue;
    heard *heard;
    size_t n, cap;
    unsigned frames;
    gn_task task;
    bool listening;
} puppet;

void puppet_start(puppet *p, cluster *c, unsigned id);
void puppet_stop(puppet *p);
void puppet_forget(puppet *p); /* what was heard so far */
/* The newest message of this type heard; NULL: none. */
const heard *puppet_last(const puppet *p, int type);
size_t puppet_count(const puppet *p, int type);
/* The newest AppendEntries with an entry of this type; NULL: none. */
const heard *puppet_entry(const puppet *p, uint8_t type);

typedef struct puppet_entry_of {
    uint64_t term;
    const char *command; /* NULL: a barrier */
} puppet_entry_of;

void puppet_send(puppet *p, unsigned to, const struct raft_message *message);
void puppet_append(puppet *p, unsigned to, uint64_t term, uint64_t prev, uint64_t prev_term, uint64_t commit,
                   const puppet_entry_of *entries, unsigned n);
void puppet_append_result(puppet *p, unsigned to, uint64_t term, uint64_t rejected, uint64_t last);
void puppet_ask_vote(puppet *p, unsigned to, uint64_t term, uint64_t last, uint64_t last_term);
void puppet_vote(puppet *p, unsigned to, uint64_t term, bool pre);
void puppet_snapshot(puppet *p, unsigned to, uint64_t term, uint64_t last, uint64_t last_term, const char *manifest,
                     size_t len);
void puppet_raw(puppet *p, unsigned to, gn_bytes frame);

/* The host of node 1 becomes leader by the votes of this puppet. */
void puppet_elect(puppet *p);

#endif
