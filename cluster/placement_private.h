/* Where rows are: slots, the groups that own them, the nodes that have replicas. A placement is an immutable, counted
 * copy of the system tables (system_tables_private.h) as this node's replica of the meta group has them; it may be old,
 * and whoever it leads astray says so. */
#ifndef GN_CLUSTER_PLACEMENT_PRIVATE_H
#define GN_CLUSTER_PLACEMENT_PRIVATE_H

#include "cluster/cluster.h"
#include "shard/slots.h"
#include "shard/txn.h"

typedef struct gn_group_place {
    uint64_t id;
    uint64_t distribution_id;  /* 0: the meta group, which has no slots */
    uint32_t slot_lo, slot_hi; /* owns slot_lo <= slot < slot_hi */
    uint32_t n_members;        /* who should have a replica; the group's leader makes it so. All vote */
    gn_node_id members[GN_MAX_REPLICAS];
    uint32_t changes; /* of members since the group was made; 0: they are who makes it */
    /* Of its slots as it has them at least (gn_slots); 0: it was never split or merged, or a program that knew of no
     * merges has said so. In the store it is the upper half of `changes`. */
    uint32_t generation;
} gn_group_place;

/* A group that was merged into another. */
typedef struct gn_ended_group {
    uint64_t id;
    uint32_t generation; /* that it was sealed under */
} gn_ended_group;

/* In `changes` of a group that has taken another in. */
enum { GN_MERGED_CHANGES = 1 << 25 };

typedef struct gn_distribution {
    uint64_t id;
    uint32_t shards, replicas; /* as declared; splits add groups */
    uint32_t first, n;         /* its groups in placement->groups, by slot */
    bool merged;               /* one of them has taken another in */
} gn_distribution;

typedef struct gn_node_place {
    gn_node_id id;
    char address[256]; /* host:port of the cluster's listener; "" = none */
    char zone[64];
    char state[16];   /* joining, active, draining, gone */
    char program[16]; /* the version of its gnomond, when it last said so; "" before GN_SINCE_NODE_PROGRAMS */
} gn_node_place;

typedef struct gn_placement {
    _Atomic uint32_t refs;
    gn_scn scn;             /* of the read */
    uint32_t version;       /* of the cluster; 0: this node has no tables yet */
    gn_group_place *groups; /* by distribution, then slot */
    uint32_t n_groups;
    gn_ended_group *ended; /* by id */
    uint32_t n_ended;
    gn_distribution *distributions; /* by id */
    uint32_t n_distributions;
    gn_node_place *nodes; /* by id */
    uint32_t n_nodes;
} gn_placement;

/* The cluster's version as `meta`, a transaction of the meta group, sees it (versions.c). */
gn_code gn_meta_get_version(gn_txn *meta, uint32_t *version, gn_error *err);
/* As `meta`, a transaction of the meta group, sees it. GN_CORRUPT when slots are owned twice or not at all. */
gn_code gn_placement_load(gn_txn *meta, gn_placement **out, gn_error *err);
gn_placement *gn_placement_retain(gn_placement *placement); /* any thread */
void gn_placement_release(gn_placement *placement);         /* any thread; NULL is fine */

const gn_distribution *gn_placement_distribution(const gn_placement *placement, uint64_t id); /* NULL: none */
const gn_group_place *gn_placement_group(const gn_placement *placement, uint64_t id);         /* NULL: none */
const gn_group_place *gn_placement_owner(const gn_placement *p, const gn_distribution *d, uint32_t slot);
const gn_ended_group *gn_placement_ended(const gn_placement *placement, uint64_t group); /* NULL: it has not ended */
static inline bool gn_placement_has_ended(const gn_placement *placement, uint64_t group)
{
    return gn_placement_ended(placement, group) != NULL;
}
bool gn_group_has_member(const gn_group_place *group, gn_node_id id);
/* The place in members of who should lead while it can; else those after it in turn. So leaders are spread as replicas
 * are. */
static inline uint32_t gn_group_first_choice(const gn_group_place *group)
{
    return (uint32_t)(group->id % group->n_members);
}
static inline bool gn_group_has_merged(const gn_placement *p, uint64_t id)
{
    const gn_group_place *row = gn_placement_group(p, id);
    return row && row->changes & GN_MERGED_CHANGES;
}
const gn_node_place *gn_placement_node(const gn_placement *placement, gn_node_id id); /* NULL: none */

/* Who should have the replicas of a new group: `n` nodes that are active, in different zones where that can be, those
 * with the fewest replicas first; `taken` counts, by the node's place in placement->nodes, those that are given out but
 * not in the placement yet. GN_INVALID_PARAMETER when there are too few. */
gn_code gn_placement_choose(const gn_placement *placement, uint32_t n, uint32_t *taken, gn_node_id *members,
                            gn_error *err);

#endif
