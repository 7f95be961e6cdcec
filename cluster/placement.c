#include "base/assert.h"
#include "cluster/placement_private.h"
#include "cluster/system_tables_private.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- loading ---- */

static void copy_text(char *out, size_t size, gn_bytes text)
{
    size_t n = text.len < size - 1 ? text.len : size - 1;
    memcpy(out, text.data, n);
    out[n] = '\0';
}

static gn_code load_node(void *ctx, const gn_value *v, gn_error *err)
{
    gn_placement *p = ctx;
    (void)err;
    p->nodes = gn_xrealloc(p->nodes, (p->n_nodes + 1) * sizeof *p->nodes);
    gn_node_place *node = &p->nodes[p->n_nodes++];
    *node = (gn_node_place){.id = (gn_node_id)v[GN_NODE_ID].as.i64};
    copy_text(node->address, sizeof node->address, v[GN_NODE_ADDRESS].as.bytes);
    copy_text(node->zone, sizeof node->zone, v[GN_NODE_ZONE].as.bytes);
    copy_text(node->state, sizeof node->state, v[GN_NODE_STATE].as.bytes);
    if (!v[GN_NODE_PROGRAM].is_null)
        copy_text(node->program, sizeof node->program, v[GN_NODE_PROGRAM].as.bytes);
    return GN_OK;
}

static gn_code load_distribution(void *ctx, const gn_value *v, gn_error *err)
{
    gn_placement *p = ctx;
    (void)err;
    p->distributions = gn_xrealloc(p->distributions, (p->n_distributions + 1) * sizeof *p->distributions);
    p->distributions[p->n_distributions++] = (gn_distribution){.id = (uint64_t)v[GN_DIST_ID].as.i64,
                                                               .shards = (uint32_t)v[GN_DIST_SHARDS].as.i64,
                                                               .replicas = (uint32_t)v[GN_DIST_REPLICAS].as.i64};
    return GN_OK;
}

/* "1,2,3" */
static bool parse_members(gn_bytes text, gn_group_place *g)
{
    char buffer[GN_MAX_REPLICAS * 24];
    if (text.len >= sizeof buffer)
        return false;
    copy_text(buffer, sizeof buffer, text);
    for (char *p = buffer; *p; p += *p == ',') {
        char *end;
        uint64_t id = strtoull(p, &end, 10);
        if (end == p || id == 0 || g->n_members == GN_MAX_REPLICAS || (*end && *end != ','))
            return false;
        g->members[g->n_members++] = id;
        p = end;
    }
    return true;
}

static gn_code load_group(void *ctx, const gn_value *v, gn_error *err)
{
    gn_placement *p = ctx;
    p->groups = gn_xrealloc(p->groups, (p->n_groups + 1) * sizeof *p->groups);
    gn_group_place *g = &p->groups[p->n_groups++];
    *g = (gn_group_place){.id = (uint64_t)v[GN_GROUP_ID].as.i64,
                          .distribution_id = (uint64_t)v[GN_GROUP_DIST].as.i64,
                          .slot_lo = (uint32_t)v[GN_GROUP_SLOT_LO].as.i64,
                          .slot_hi = (uint32_t)v[GN_GROUP_SLOT_HI].as.i64,
                          .changes = (uint32_t)v[GN_GROUP_CHANGES].as.i64,
                          .generation = (uint32_t)(v[GN_GROUP_CHANGES].as.i64 >> 32)};
    if (!parse_members(v[GN_GROUP_MEMBERS].as.bytes, g))
        return gn_error_set(err, GN_CORRUPT, "the members of group %" PRIu64 " are malformed", g->id);
    if (g->n_members == 0) { /* what is left of a group that was merged into another */
        p->ended = gn_xrealloc(p->ended, (p->n_ended + 1) * sizeof *p->ended);
        p->ended[p->n_ended++] = (gn_ended_group){.id = g->id, .generation = g->generation};
        p->n_groups--;
    }
    return GN_OK;
}

static int by_slot(const void *a, const void *b)
{
    const gn_group_place *x = a, *y = b;
    if (x->distribution_id != y->distribution_id)
        return x->distribution_id < y->distribution_id ? -1 : 1;
    return x->slot_lo < y->slot_lo ? -1 : x->slot_lo > y->slot_lo;
}

/* Each slot of a distribution has exactly one owner. */
static gn_code join_groups(gn_placement *p, gn_error *err)
{
    if (p->n_groups)
        qsort(p->groups, p->n_groups, sizeof *p->groups, by_slot);
    uint32_t at = 0;
    while (at < p->n_groups && p->groups[at].distribution_id == 0)
        at++;
    for (uint32_t i = 0; i < p->n_distributions; i++) {
        gn_distribution *d = &p->distributions[i];
        uint32_t next = 0;
        d->first = at;
        for (; at < p->n_groups && p->groups[at].distribution_id == d->id; at++, d->n++) {
            if (p->groups[at].slot_lo != next || p->groups[at].slot_hi <= next)
                break;
            next = p->groups[at].slot_hi;
            d->merged |= (p->groups[at].changes & GN_MERGED_CHANGES) != 0;
        }
        if (next != GN_SLOTS)
            return gn_error_set(err, GN_CORRUPT, "the groups of distribution %" PRIu64 " do not own each slot once",
                                d->id);
    }
    if (at != p->n_groups)
        return gn_error_set(err, GN_CORRUPT, "group %" PRIu64 " belongs to no distribution", p->groups[at].id);
    return GN_OK;
}

gn_code gn_placement_load(gn_txn *meta, gn_placement **out, gn_error *err)
{
    gn_placement *p = gn_xcalloc(1, sizeof *p);
    p->refs = 1;
    p->scn = gn_txn_read_scn(meta);
    gn_code code = gn_meta_get_version(meta, &p->version, err);
    if (code == GN_OK)
        code = gn_system_scan(meta, GN_SYS_NODES, load_node, p, err);
    if (code == GN_OK)
        code = gn_system_scan(meta, GN_SYS_DISTRIBUTIONS, load_distribution, p, err);
    if (code == GN_OK)
        code = gn_system_scan(meta, GN_SYS_GROUPS, load_group, p, err);
    if (code == GN_OK)
        code = join_groups(p, err);
    if (code != GN_OK) {
        gn_placement_release(p);
        return code;
    }
    *out = p;
    return GN_OK;
}

gn_placement *gn_placement_retain(gn_placement *p)
{
    atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
    return p;
}

void gn_placement_release(gn_placement *p)
{
    if (!p || atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) != 1)
        return;
    free(p->groups);
    free(p->ended);
    free(p->distributions);
    free(p->nodes);
    free(p);
}

/* ---- asking ---- */

const gn_distribution *gn_placement_distribution(const gn_placement *p, uint64_t id)
{
    for (uint32_t i = 0; i < p->n_distributions; i++)
        if (p->distributions[i].id == id)
            return &p->distributions[i];
    return NULL;
}

const gn_group_place *gn_placement_group(const gn_placement *p, uint64_t id)
{
    for (uint32_t i = 0; i < p->n_groups; i++)
        if (p->groups[i].id == id)
            return &p->groups[i];
    return NULL;
}

const gn_ended_group *gn_placement_ended(const gn_placement *p, uint64_t group)
{
    for (uint32_t i = 0; i < p->n_ended; i++)
        if (p->ended[i].id == group)
            return &p->ended[i];
    return NULL;
}

const gn_node_place *gn_placement_node(const gn_placement *p, gn_node_id id)
{
    for (uint32_t i = 0; i < p->n_nodes; i++)
        if (p->nodes[i].id == id)
            return &p->nodes[i];
    return NULL;
}

const gn_group_place *gn_placement_owner(const gn_placement *p, const gn_distribution *d, uint32_t slot)
{
    GN_ASSERT(slot < GN_SLOTS && d->n > 0);
    uint32_t lo = d->first, hi = d->first + d->n; /* the last group that begins at or below the slot */
    while (hi - lo > 1) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (p->groups[mid].slot_lo <= slot)
            lo = mid;
        else
            hi = mid;
    }
    return &p->groups[lo];
}

bool gn_group_has_member(const gn_group_place *group, gn_node_id id)
{
    for (uint32_t i = 0; i < group->n_members; i++)
        if (group->members[i] == id)
            return true;
    return false;
}

/* ---- choosing ---- */

static uint32_t replicas_on(const gn_placement *p, gn_node_id id)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < p->n_groups; i++)
        n += p->groups[i].distribution_id != 0 && gn_group_has_member(&p->groups[i], id);
    return n;
}

static bool zone_taken(const gn_placement *p, const char *zone, const gn_node_id *members, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (zone[0] && strcmp(gn_placement_node(p, members[i])->zone, zone) == 0)
            return true;
    return false;
}

static int by_id(const void *a, const void *b)
{
    gn_node_id x = *(const gn_node_id *)a, y = *(const gn_node_id *)b;
    return x < y ? -1 : x > y;
}

gn_code gn_placement_choose(const gn_placement *p, uint32_t n, uint32_t *taken, gn_node_id *members, gn_error *err)
{
    for (uint32_t m = 0; m < n; m++) {
        uint32_t best = p->n_nodes, best_cost = UINT32_MAX;
        for (uint32_t i = 0; i < p->n_nodes; i++) {
            const gn_node_place *node = &p->nodes[i];
            bool has = false;
            for (uint32_t k = 0; k < m; k++)
                has |= members[k] == node->id;
            if (has || strcmp(node->state, "active") != 0)
                continue;
            uint32_t cost = replicas_on(p, node->id) + taken[i];
            if (zone_taken(p, node->zone, members, m))
                cost += 1u << 24; /* any other zone comes first */
            if (cost < best_cost) {
                best_cost = cost;
                best = i;
            }
        }
        if (best == p->n_nodes)
            return gn_error_set(err, GN_INVALID_PARAMETER, "%" PRIu32 " replicas need as many active nodes", n);
        members[m] = p->nodes[best].id;
        taken[best]++;
    }
    qsort(members, n, sizeof *members, by_id); /* as Raft has them: both mean the same by the first */
    return GN_OK;
}
