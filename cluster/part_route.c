/* Whom to ask for a group that has no replica here. A replica that does not lead has to ask its leader, so the leader
 * is the best; answers tell who that is. */
#include "cluster/parts_private.h"

#include <stdatomic.h>
#include <stdlib.h>

enum { LEADERS = 1024, SILENT = GN_SILENT_NODES };
static const uint64_t SHUN_NS = 60000000000; /* unless it is heard before: it is probed */

struct gn_routes {
    gn_cluster *cluster;
    _Atomic bool any_silent;
    pthread_mutex_t lock; /* of what follows */
    struct {
        uint64_t group;
        gn_node_id node;
    } leaders[LEADERS];
    struct {
        gn_node_id node;
        uint64_t until_ns;
    } silent[SILENT];
};

gn_routes *gn_routes_create(gn_cluster *cluster)
{
    gn_routes *r = gn_xcalloc(1, sizeof *r);
    r->cluster = cluster;
    pthread_mutex_init(&r->lock, NULL);
    return r;
}

void gn_routes_free(gn_routes *r)
{
    if (!r)
        return;
    pthread_mutex_destroy(&r->lock);
    free(r);
}

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

/* ---- what was learnt ---- */

void gn_routes_leader(gn_routes *r, uint64_t group_id, gn_node_id leader)
{
    if (leader == 0 || leader == gn_net_self(r->cluster->world))
        return;
    pthread_mutex_lock(&r->lock);
    r->leaders[group_id % LEADERS].group = group_id;
    r->leaders[group_id % LEADERS].node = leader;
    pthread_mutex_unlock(&r->lock);
}

void gn_routes_silent(gn_routes *r, gn_node_id node)
{
    uint64_t now = gn_now_ns(r->cluster->world);
    int at = 0;
    pthread_mutex_lock(&r->lock);
    for (int i = 0; i < SILENT; i++)
        if (r->silent[i].node == node)
            at = i;
        else if (r->silent[at].node != node && r->silent[i].until_ns < r->silent[at].until_ns)
            at = i;
    r->silent[at].node = node;
    r->silent[at].until_ns = now + SHUN_NS;
    r->any_silent = true;
    pthread_mutex_unlock(&r->lock);
}

void gn_routes_heard(gn_routes *r, gn_node_id node)
{
    if (!atomic_load_explicit(&r->any_silent, memory_order_relaxed))
        return;
    bool any = false;
    pthread_mutex_lock(&r->lock);
    for (int i = 0; i < SILENT; i++) {
        if (r->silent[i].node == node)
            r->silent[i].node = 0;
        any |= r->silent[i].node != 0;
    }
    r->any_silent = any;
    pthread_mutex_unlock(&r->lock);
}

unsigned gn_routes_silent_nodes(gn_routes *r, gn_node_id nodes[GN_SILENT_NODES])
{
    unsigned n = 0;
    pthread_mutex_lock(&r->lock);
    for (int i = 0; i < SILENT; i++)
        if (r->silent[i].node)
            nodes[n++] = r->silent[i].node;
    pthread_mutex_unlock(&r->lock);
    return n;
}

static bool is_silent(const gn_routes *r, gn_node_id node, uint64_t now)
{
    for (int i = 0; i < SILENT; i++)
        if (r->silent[i].node == node)
            return now < r->silent[i].until_ns;
    return false;
}

/* ---- choosing ---- */

/* All that may have a replica, the likely leader first. */
static unsigned candidates(gn_routes *r, uint64_t group_id, gn_node_id nodes[GN_MAX_REPLICAS + 1])
{
    unsigned n = 0;
    pthread_mutex_lock(&r->lock);
    if (r->leaders[group_id % LEADERS].group == group_id)
        nodes[n++] = r->leaders[group_id % LEADERS].node;
    pthread_mutex_unlock(&r->lock);
    unsigned n_leaders = n;
    for (unsigned i = 0; i < GN_MAX_REPLICAS; i++) {
        gn_node_id node = gn_group_route(r->cluster, group_id, i);
        if (node == 0 || (n > n_leaders && node == nodes[n_leaders])) /* nobody; all once */
            break;
        if (n_leaders == 0 || node != nodes[0])
            nodes[n++] = node;
    }
    return n;
}

/* Those of which `behind` says so go behind the others; else the order stays. */
static void put_behind(gn_node_id *nodes, unsigned n, const bool *behind)
{
    gn_node_id last[GN_MAX_REPLICAS + 1];
    unsigned n_first = 0, n_last = 0;
    for (unsigned i = 0; i < n; i++)
        if (behind[i])
            last[n_last++] = nodes[i];
        else
            nodes[n_first++] = nodes[i];
    memcpy(nodes + n_first, last, n_last * sizeof *last);
}

static void put_silent_behind(gn_routes *r, gn_node_id *nodes, unsigned n)
{
    bool behind[GN_MAX_REPLICAS + 1] = {0};
    if (!atomic_load_explicit(&r->any_silent, memory_order_relaxed))
        return;
    uint64_t now = gn_now_ns(r->cluster->world);
    pthread_mutex_lock(&r->lock);
    for (unsigned i = 0; i < n; i++)
        behind[i] = is_silent(r, nodes[i], now);
    pthread_mutex_unlock(&r->lock);
    put_behind(nodes, n, behind);
}

static void put_far_behind(gn_routes *r, gn_node_id *nodes, unsigned n)
{
    bool behind[GN_MAX_REPLICAS + 1] = {0};
    gn_placement *p = gn_meta_placement(r->cluster);
    const gn_node_place *self = gn_placement_node(p, gn_net_self(r->cluster->world));
    for (unsigned i = 0; i < n; i++) {
        const gn_node_place *node = gn_placement_node(p, nodes[i]);
        behind[i] = !self || !node || strcmp(self->zone, node->zone) != 0;
    }
    gn_placement_release(p);
    put_behind(nodes, n, behind);
}

gn_node_id gn_routes_pick(gn_routes *r, uint64_t group_id, unsigned tries)
{
    gn_node_id nodes[GN_MAX_REPLICAS + 1];
    unsigned n = candidates(r, group_id, nodes);
    put_silent_behind(r, nodes, n);
    return n ? nodes[tries % n] : 0;
}

gn_node_id gn_routes_pick_near(gn_routes *r, uint64_t group_id, unsigned tries)
{
    gn_node_id found[GN_MAX_REPLICAS + 1], nodes[GN_MAX_REPLICAS + 1];
    unsigned n = candidates(r, group_id, found);
    for (unsigned i = 0; i < n; i++)
        nodes[i] = found[(i + group_id + gn_net_self(r->cluster->world)) % n];
    put_far_behind(r, nodes, n);
    put_silent_behind(r, nodes, n);
    return n ? nodes[tries % n] : 0;
}

gn_node_id gn_routes_other(gn_routes *r, uint64_t group_id, gn_node_id node)
{
    gn_node_id nodes[GN_MAX_REPLICAS + 1], other = 0;
    unsigned n = candidates(r, group_id, nodes);
    uint64_t now = gn_now_ns(r->cluster->world);
    pthread_mutex_lock(&r->lock);
    for (unsigned i = 0; i < n && !other; i++)
        if (nodes[i] != node && !is_silent(r, nodes[i], now))
            other = nodes[i];
    pthread_mutex_unlock(&r->lock);
    return other;
}
