/* Whom to ask for a group that has no replica here: those of the placement in turn. */
#include "cluster/parts_private.h"

gn_node_id gn_group_route(gn_cluster *cluster, uint64_t group_id, unsigned tries)
{
    gn_node_id self = gn_net_self(cluster->world), others[GN_MAX_REPLICAS];
    unsigned n = 0;
    gn_placement *p = gn_meta_placement(cluster);
    const gn_group_place *g = gn_placement_group(p, group_id);
    for (uint32_t i = 0; g && i < g->n_members; i++)
        if (g->members[i] != self)
            others[n++] = g->members[i];
    gn_placement_release(p);
    return n ? others[tries % n] : 0;
}
