/* Planning, on a copy of the placement's rows. A replica weighs what it holds, what it is written, and something for
 * being there at all, so that small idle groups are spread by their number. A move is worth while when two nodes are
 * far enough apart for the estimates that sizes and loads are, and it brings them closer to each other without turning
 * them round; or turns them round and leaves them even, so that nothing goes back: of replicas of nearly one size, the
 * last that should go is a little more than half of what is between the nodes. */
#include "cluster/balance_private.h"

#include <stdlib.h>
#include <string.h>

#define REPLICA_WEIGHT ((uint64_t)64 << 20)    /* bytes */
#define WRITE_WEIGHT ((uint64_t)64 << 10)      /* bytes, for a log entry a second */
#define LEADER_WEIGHT 10u                      /* log entries a second */
enum { SPREAD_SHARE = 20, LEADERS_SHARE = 5 }; /* apart by less than this part of a node's mean weight is even */

typedef struct draft {
    const gn_placement *p;
    gn_group_place *groups;    /* as they would be */
    uint64_t *weights, *rates; /* of a replica, and of leading, by the group's place */
    uint64_t *carried, *led;   /* by the node's place in p->nodes */
    uint64_t all_carried, all_led;
    uint64_t even_carried, even_led; /* nodes that are no farther apart are even */
} draft;

static bool is_active(const gn_node_place *node)
{
    return strcmp(node->state, "active") == 0;
}

static uint32_t n_active(const gn_placement *p)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < p->n_nodes; i++)
        n += is_active(&p->nodes[i]);
    return n ? n : 1;
}

static gn_node_id leader_of(const gn_group_place *g)
{
    return g->members[gn_group_first_choice(g)];
}

static void weigh(draft *d, uint32_t at, const gn_loads *loads)
{
    const gn_group_place *g = &d->groups[at];
    gn_group_load load = gn_loads_of(loads, g->id);
    d->weights[at] = REPLICA_WEIGHT + load.bytes + load.rate * WRITE_WEIGHT;
    d->rates[at] = LEADER_WEIGHT + load.rate;
    for (uint32_t n = 0; n < d->p->n_nodes; n++) {
        uint64_t carried = gn_group_has_member(g, d->p->nodes[n].id) ? d->weights[at] : 0;
        uint64_t led = leader_of(g) == d->p->nodes[n].id ? d->rates[at] : 0;
        d->carried[n] += carried;
        d->led[n] += led;
        d->all_carried += carried;
        d->all_led += led;
    }
}

static draft draft_of(const gn_placement *p, const gn_loads *loads)
{
    draft d = {.p = p,
               .groups = gn_xcalloc(p->n_groups + 1, sizeof *d.groups),
               .weights = gn_xcalloc(p->n_groups + 1, sizeof *d.weights),
               .rates = gn_xcalloc(p->n_groups + 1, sizeof *d.rates),
               .carried = gn_xcalloc(p->n_nodes + 1, sizeof *d.carried),
               .led = gn_xcalloc(p->n_nodes + 1, sizeof *d.led)};
    static const gn_loads none = {0};
    for (uint32_t g = 0; g < p->n_groups; g++) {
        d.groups[g] = p->groups[g];
        if (d.groups[g].distribution_id)
            weigh(&d, g, loads ? loads : &none);
    }
    d.even_carried = d.all_carried / n_active(p) / SPREAD_SHARE;
    d.even_led = d.all_led / n_active(p) / LEADERS_SHARE;
    return d;
}

static void draft_free(draft *d)
{
    free(d->groups);
    free(d->weights);
    free(d->rates);
    free(d->carried);
    free(d->led);
}

static uint32_t place_of(const draft *d, gn_node_id id)
{
    uint32_t n = 0;
    while (n < d->p->n_nodes && d->p->nodes[n].id != id)
        n++;
    return n; /* the place after the last is there, too */
}

/* Members besides `leaving` that share the zone. */
static uint32_t zone_mates(const draft *d, const gn_group_place *g, gn_node_id leaving, const char *zone)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < g->n_members && zone[0]; i++) {
        const gn_node_place *node = g->members[i] == leaving ? NULL : gn_placement_node(d->p, g->members[i]);
        n += node && strcmp(node->zone, zone) == 0;
    }
    return n;
}

static void change(draft *d, uint32_t at, const gn_group_place *now, const gn_balance_move *move)
{
    gn_group_place *g = &d->groups[at];
    d->led[place_of(d, leader_of(g))] -= d->rates[at];
    d->led[place_of(d, leader_of(now))] += d->rates[at];
    if (!move->leads) {
        d->carried[place_of(d, move->from)] -= d->weights[at];
        d->carried[place_of(d, move->to)] += d->weights[at];
    }
    *g = *now;
}

/* Who leads less takes the lead with the replica. */
static bool apply(draft *d, uint32_t at, uint32_t from, uint32_t to, const char *why, gn_balance_move *out)
{
    const gn_group_place *g = &d->groups[at];
    gn_node_id leader = leader_of(g);
    bool first = leader == d->p->nodes[from].id || d->led[to] + d->rates[at] < d->led[place_of(d, leader)];
    *out = (gn_balance_move){
        .group = g->id, .from = d->p->nodes[from].id, .to = d->p->nodes[to].id, .first = first, .why = why};
    gn_group_place now = gn_balance_moved(g, out);
    change(d, at, &now, out);
    return true;
}

/* ---- leaving ---- */

/* The active node that should have the replica instead: of a zone of its own, then the one that carries least. */
static bool find_heir(const draft *d, const gn_group_place *g, gn_node_id leaving, uint32_t *heir)
{
    uint32_t fewest = UINT32_MAX;
    *heir = 0;
    for (uint32_t i = 0; i < d->p->n_nodes; i++) {
        const gn_node_place *node = &d->p->nodes[i];
        if (!is_active(node) || gn_group_has_member(g, node->id))
            continue;
        uint32_t mates = zone_mates(d, g, leaving, node->zone);
        if (mates < fewest || (mates == fewest && d->carried[i] < d->carried[*heir])) {
            fewest = mates;
            *heir = i;
        }
    }
    return fewest != UINT32_MAX;
}

static bool plan_leaving(draft *d, gn_balance_move *out)
{
    for (uint32_t n = 0; n < d->p->n_nodes; n++) {
        if (is_active(&d->p->nodes[n]) || d->carried[n] == 0)
            continue;
        for (uint32_t i = 0; i < d->p->n_groups; i++) {
            gn_group_place *g = &d->groups[i];
            uint32_t heir;
            if (g->distribution_id && gn_group_has_member(g, d->p->nodes[n].id) && !gn_group_is_lost(d->p, g) &&
                find_heir(d, g, d->p->nodes[n].id, &heir))
                return apply(d, i, n, heir, strcmp(d->p->nodes[n].state, "gone") ? "draining" : "gone", out);
        }
    }
    return false;
}

/* ---- spreading ---- */

static bool may_go(const draft *d, const gn_group_place *g, uint32_t from, uint32_t to)
{
    const gn_node_place *a = &d->p->nodes[from], *b = &d->p->nodes[to];
    return g->distribution_id && gn_group_has_member(g, a->id) && !gn_group_has_member(g, b->id) &&
           zone_mates(d, g, a->id, b->zone) <= zone_mates(d, g, a->id, a->zone);
}

/* How far two nodes are apart when so much of it has gone over; UINT64_MAX: it is not worth while. */
static uint64_t left_apart(uint64_t apart, uint64_t weight, uint64_t even)
{
    if (weight <= apart / 2)
        return apart - 2 * weight;
    return weight < apart && 2 * weight - apart <= even ? 2 * weight - apart : UINT64_MAX;
}

/* The one that leaves the two least apart. */
static bool best_to_go(const draft *d, uint32_t from, uint32_t to, uint64_t apart, uint32_t *which)
{
    uint64_t least = UINT64_MAX;
    for (uint32_t i = 0; i < d->p->n_groups; i++) {
        uint64_t left = left_apart(apart, d->weights[i], d->even_carried);
        if (left < least && d->weights[i] > 0 && may_go(d, &d->groups[i], from, to)) {
            least = left;
            *which = i;
        }
    }
    return least < UINT64_MAX;
}

/* Between the two nodes that are farthest apart and between which something may go. */
static bool plan_spread(draft *d, gn_balance_move *out)
{
    uint64_t most = d->even_carried;
    uint32_t from = 0, to = 0, which = UINT32_MAX;
    for (uint32_t a = 0; a < d->p->n_nodes; a++)
        for (uint32_t b = 0; b < d->p->n_nodes; b++) {
            uint64_t apart = d->carried[a] > d->carried[b] ? d->carried[a] - d->carried[b] : 0;
            uint32_t group;
            if (!is_active(&d->p->nodes[a]) || !is_active(&d->p->nodes[b]) || apart <= most ||
                !best_to_go(d, a, b, apart, &group))
                continue;
            most = apart;
            from = a;
            to = b;
            which = group;
        }
    return which != UINT32_MAX && apply(d, which, from, to, "spreading", out);
}

/* ---- leaders ---- */

/* The same with who should lead, among the members that a group has. */
static bool plan_leaders(draft *d, gn_balance_move *out)
{
    uint64_t most = d->even_led;
    uint32_t which = UINT32_MAX;
    gn_node_id heir = 0;
    for (uint32_t i = 0; i < d->p->n_groups; i++) {
        const gn_group_place *g = &d->groups[i];
        if (!g->distribution_id)
            continue;
        uint32_t a = place_of(d, leader_of(g));
        for (uint32_t m = 0; m < g->n_members; m++) {
            uint32_t b = place_of(d, g->members[m]);
            if (a == d->p->n_nodes || b == d->p->n_nodes || !is_active(&d->p->nodes[a]) ||
                !is_active(&d->p->nodes[b]) || d->led[a] <= d->led[b])
                continue;
            uint64_t apart = d->led[a] - d->led[b];
            if (apart <= most || left_apart(apart, d->rates[i], d->even_led) == UINT64_MAX)
                continue;
            most = apart;
            which = i;
            heir = g->members[m];
        }
    }
    if (which == UINT32_MAX)
        return false;
    const gn_group_place *g = &d->groups[which];
    *out = (gn_balance_move){
        .group = g->id, .from = leader_of(g), .to = heir, .leads = true, .first = true, .why = "leads too much"};
    gn_group_place now = gn_balance_moved(g, out);
    change(d, which, &now, out);
    return true;
}

/* ---- both ---- */

gn_group_place gn_balance_moved(const gn_group_place *row, const gn_balance_move *move)
{
    gn_group_place now = *row;
    uint32_t first = gn_group_first_choice(row);
    for (uint32_t i = 0; i < now.n_members; i++) {
        if (now.members[i] != (move->leads ? move->to : move->from))
            continue;
        now.members[i] = move->first ? now.members[first] : move->to;
        if (move->first)
            now.members[first] = move->to;
        break;
    }
    return now;
}

size_t gn_balance_plan(const gn_placement *p, const gn_loads *loads, gn_balance_move *out, size_t max)
{
    draft d = draft_of(p, loads);
    size_t n = 0;
    while (n < max && (plan_leaving(&d, &out[n]) || (loads && (plan_spread(&d, &out[n]) || plan_leaders(&d, &out[n])))))
        n++;
    draft_free(&d);
    return n;
}
