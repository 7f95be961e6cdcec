/* What is left of a group when nodes were lost for ever, and which replica goes on: what `gnomonctl recover` goes by.
 * Doing it is cluster/recover.h. */
#ifndef GN_NET_REMAINS_H
#define GN_NET_REMAINS_H

#include "base/world.h"

typedef struct gn_remains_member {
    gn_node_id node;
    bool votes;
} gn_remains_member;

/* A replica on a node that answers. */
typedef struct gn_remains_replica {
    gn_node_id node;
    bool whole;  /* it has not stopped, and installs no snapshot */
    bool serves; /* it leads, and nobody else can */
    uint64_t last_term, last_index;
    gn_remains_member *members; /* of its group, as it knows them */
    size_t n_members;
} gn_remains_replica;

/* WAITS: replicas that would make up a majority are on nodes that answer, but are not open, or not whole; or one is not
 * open that may have the longest log: its node was cut short and does not know yet that it has it. */
typedef enum gn_fate { GN_FATE_WELL, GN_FATE_FORCED, GN_FATE_LOST, GN_FATE_WAITS } gn_fate;

typedef struct gn_remains {
    gn_fate fate;
    const gn_remains_replica *chosen; /* that goes on if the group is forced; NULL: there is none */
    unsigned voters, left;            /* of the group as that replica knows it; of them, those with a whole replica */
} gn_remains;

/* Whole, and a member by its own account. */
bool gn_remains_can_go_on(const gn_remains_replica *replica);
/* The longest log goes on: of all that are left it alone surely has every entry that was committed and that any of them
 * has. answering: all nodes that answer, with a replica or not. */
void gn_remains_judge(const gn_remains_replica *replicas, size_t n, const gn_node_id *answering, size_t n_answering,
                      gn_remains *out);

#endif
