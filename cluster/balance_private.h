/* Which replicas should be elsewhere, and who should lead. Replicas leave nodes that are draining or gone; then they
 * are spread by size and load, without giving up different zones, and so are leaders. A move is one change of a row of
 * the placement; the group's leader does the rest (warden.c). */
#ifndef GN_CLUSTER_BALANCE_PRIVATE_H
#define GN_CLUSTER_BALANCE_PRIVATE_H

#include "cluster/cluster_private.h"
#include "cluster/loads_private.h"

typedef struct gn_balance_move {
    uint64_t group;
    gn_node_id from, to;
    bool leads;      /* not the replica moves, but who should lead */
    bool first;      /* `to` should lead */
    const char *why; /* in a few words */
} gn_balance_move;

/* What should be done next; the first are the most urgent, and each assumes that those before it are made. loads: NULL
 * is not known, then nodes are emptied and nothing is spread. Gives how many, at most `max`; 0: all is well, or nothing
 * can be done. */
size_t gn_balance_plan(const gn_placement *placement, const gn_loads *loads, gn_balance_move *out, size_t max);

/* The row as it is after the move. */
gn_group_place gn_balance_moved(const gn_group_place *row, const gn_balance_move *move);

/* Makes the move. If it is a replica's, then if the group's members are those of its row now. GN_NOT_IN_STATE: they are
 * not yet; GN_NO_OBJECT: there is no such group, or `from` has no replica of it; GN_DUPLICATE_OBJECT: `to` has one;
 * GN_INVALID_PARAMETER: `to` is not an active node. From a strand. */
gn_code gn_balance_move_now(gn_cluster *cluster, const gn_balance_move *move, gn_error *err);

enum { GN_BALANCE_AT_ONCE = 2 }; /* groups that change members at the same time */
/* One step of what the plan says, if this node leads the meta group and fewer than GN_BALANCE_AT_ONCE groups are
 * changing. Gives how many moves are under way or were begun. loads as of gn_balance_plan. From a strand. */
size_t gn_balance_run(gn_cluster *cluster, const gn_loads *loads);

/* The members of a group as its leader has them. GN_UNAVAILABLE. */
typedef struct gn_group_members {
    gn_node_id leader;
    uint64_t term, last_index;
    uint32_t n;
    gn_raft_member members[GN_MAX_REPLICAS * 2];
} gn_group_members;
gn_code gn_group_members_get(gn_cluster *cluster, uint64_t group, gn_group_members *out, gn_error *err);
/* They are those of the row, and all vote; of nodes that are gone neither is asked. */
bool gn_group_is_settled(const gn_placement *placement, const gn_group_place *row, const gn_group_members *actual);
bool gn_group_is_lost(const gn_placement *placement, const gn_group_place *row); /* every member is gone */
bool gn_node_is_gone(const gn_placement *placement, gn_node_id id);
void gn_balance_serve(gn_cluster *cluster);

#endif
