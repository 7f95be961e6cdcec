#include "base/log.h"
#include "base/versions.h"
#include "cluster/balance_private.h"
#include "cluster/methods_private.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- planning, on a copy of the rows ---- */

typedef struct draft {
    const gn_placement *p;
    gn_group_place *groups; /* as they would be */
    uint32_t *counts;       /* replicas, by the node's place in p->nodes */
} draft;

static bool is_active(const gn_node_place *node)
{
    return strcmp(node->state, "active") == 0;
}

static draft draft_of(const gn_placement *p)
{
    draft d = {.p = p,
               .groups = gn_xcalloc(p->n_groups + 1, sizeof *d.groups),
               .counts = gn_xcalloc(p->n_nodes + 1, sizeof *d.counts)};
    if (p->n_groups)
        memcpy(d.groups, p->groups, p->n_groups * sizeof *d.groups);
    for (uint32_t n = 0; n < p->n_nodes; n++)
        for (uint32_t g = 0; g < p->n_groups; g++)
            d.counts[n] += p->groups[g].distribution_id != 0 && gn_group_has_member(&p->groups[g], p->nodes[n].id);
    return d;
}

static void draft_free(draft *d)
{
    free(d->groups);
    free(d->counts);
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

static bool apply(draft *d, gn_group_place *g, uint32_t from, uint32_t to, const char *why, gn_balance_move *out)
{
    *out = (gn_balance_move){.group = g->id, .from = d->p->nodes[from].id, .to = d->p->nodes[to].id, .why = why};
    for (uint32_t i = 0; i < g->n_members; i++)
        if (g->members[i] == out->from)
            g->members[i] = out->to;
    d->counts[from]--;
    d->counts[to]++;
    return true;
}

/* The active node that should have the replica instead: of a zone of its own, then with the fewest. */
static bool find_heir(const draft *d, const gn_group_place *g, gn_node_id leaving, uint32_t *heir)
{
    uint64_t best = UINT64_MAX;
    for (uint32_t i = 0; i < d->p->n_nodes; i++) {
        const gn_node_place *node = &d->p->nodes[i];
        if (!is_active(node) || gn_group_has_member(g, node->id))
            continue;
        uint64_t cost = (uint64_t)zone_mates(d, g, leaving, node->zone) << 32 | d->counts[i];
        if (cost < best) {
            best = cost;
            *heir = i;
        }
    }
    return best != UINT64_MAX;
}

/* Nobody is left who could give a newcomer anything. */
static bool is_lost(const gn_placement *p, const gn_group_place *g)
{
    bool lost = true;
    for (uint32_t i = 0; i < g->n_members && lost; i++)
        lost = gn_node_is_gone(p, g->members[i]);
    return lost;
}

static bool plan_leaving(draft *d, gn_balance_move *out)
{
    for (uint32_t n = 0; n < d->p->n_nodes; n++) {
        if (is_active(&d->p->nodes[n]) || d->counts[n] == 0)
            continue;
        for (uint32_t i = 0; i < d->p->n_groups; i++) {
            gn_group_place *g = &d->groups[i];
            uint32_t heir;
            if (g->distribution_id && gn_group_has_member(g, d->p->nodes[n].id) && !is_lost(d->p, g) &&
                find_heir(d, g, d->p->nodes[n].id, &heir))
                return apply(d, g, n, heir, strcmp(d->p->nodes[n].state, "gone") ? "draining" : "gone", out);
        }
    }
    return false;
}

static bool may_go(const draft *d, const gn_group_place *g, uint32_t from, uint32_t to)
{
    const gn_node_place *a = &d->p->nodes[from], *b = &d->p->nodes[to];
    return g->distribution_id && gn_group_has_member(g, a->id) && !gn_group_has_member(g, b->id) &&
           zone_mates(d, g, a->id, b->zone) <= zone_mates(d, g, a->id, a->zone);
}

/* From the fullest node from which something may go to the emptiest, while they differ by two or more. */
static bool plan_spread(draft *d, gn_balance_move *out)
{
    uint32_t most = 0, from = 0, to = 0;
    gn_group_place *which = NULL;
    for (uint32_t a = 0; a < d->p->n_nodes; a++)
        for (uint32_t b = 0; b < d->p->n_nodes; b++) {
            if (!is_active(&d->p->nodes[a]) || !is_active(&d->p->nodes[b]) || d->counts[a] < d->counts[b] + 2 ||
                d->counts[a] - d->counts[b] <= most)
                continue;
            for (uint32_t i = 0; i < d->p->n_groups; i++)
                if (may_go(d, &d->groups[i], a, b)) {
                    most = d->counts[a] - d->counts[b];
                    which = &d->groups[i];
                    from = a;
                    to = b;
                    break;
                }
        }
    return which && apply(d, which, from, to, "spreading", out);
}

size_t gn_balance_plan(const gn_placement *p, gn_balance_move *out, size_t max)
{
    draft d = draft_of(p);
    size_t n = 0;
    while (n < max && (plan_leaving(&d, &out[n]) || plan_spread(&d, &out[n])))
        n++;
    draft_free(&d);
    return n;
}

/* ---- who the members are ---- */

enum { MEMBERS_VERSION = GN_FORMAT_MEMBERS };
#define ASK_NS 1000000000u

static gn_code members_here(gn_cluster *c, uint64_t group, gn_group_members *out)
{
    gn_shard *shard = gn_group_hold(c, group);
    if (!shard)
        return GN_UNAVAILABLE;
    gn_raft_status *s = gn_xcalloc(1, sizeof *s);
    gn_raft_status_get(gn_shard_raft_group(shard), s);
    gn_group_release(c, shard);
    *out = (gn_group_members){.leader = gn_net_self(c->world), .term = s->term, .last_index = s->last_index};
    out->n = (uint32_t)(s->n_members < GN_MAX_REPLICAS * 2 ? s->n_members : GN_MAX_REPLICAS * 2);
    memcpy(out->members, s->members, out->n * sizeof *out->members);
    bool leads = s->leads && s->can_read && !s->stopped;
    free(s);
    return leads ? GN_OK : GN_NOT_LEADER;
}

static gn_code serve_members(void *ctx, gn_node_id from, gn_bytes request, gn_buf *answer, gn_error *err)
{
    gn_reader r = gn_reader_of(request);
    bool known = gn_read_u8(&r) == MEMBERS_VERSION;
    uint64_t group = gn_read_be64(&r);
    gn_group_members m;
    (void)from;
    if (r.failed || !known)
        return gn_error_set(err, GN_PROTOCOL, "a request for a group's members is malformed");
    gn_code code = members_here(ctx, group, &m);
    if (code != GN_OK)
        return gn_error_set(err, code, "this node does not lead group %" PRIu64, group);
    gn_buf_append_be64(answer, m.term);
    gn_buf_append_be64(answer, m.last_index);
    gn_buf_append_u8(answer, (uint8_t)m.n);
    for (uint32_t i = 0; i < m.n; i++) {
        gn_buf_append_be64(answer, m.members[i].id);
        gn_buf_append_u8(answer, m.members[i].role == GN_RAFT_VOTER);
    }
    return GN_OK;
}

static gn_code members_there(gn_cluster *c, gn_node_id node, uint64_t group, gn_group_members *out, gn_error *err)
{
    gn_buf request, answer;
    gn_buf_init(&request, NULL, 16);
    gn_buf_init(&answer, NULL, 1024);
    gn_buf_append_u8(&request, MEMBERS_VERSION);
    gn_buf_append_be64(&request, group);
    gn_code code = gn_rpc_ask(c->rpc, node, GN_METHOD_MEMBERS, gn_buf_bytes(&request), gn_now_ns(c->world) + ASK_NS,
                              NULL, &answer, err);
    gn_reader r = gn_reader_of(gn_buf_bytes(&answer));
    *out = (gn_group_members){.leader = node};
    out->term = gn_read_be64(&r);
    out->last_index = gn_read_be64(&r);
    out->n = gn_read_u8(&r);
    if (out->n > GN_MAX_REPLICAS * 2)
        r.failed = true;
    for (uint32_t i = 0; i < out->n && !r.failed; i++) {
        out->members[i].id = gn_read_be64(&r);
        out->members[i].role = gn_read_u8(&r) ? GN_RAFT_VOTER : GN_RAFT_NON_VOTER;
    }
    if (code == GN_OK && r.failed)
        code = gn_error_set(err, GN_PROTOCOL, "an answer with a group's members is malformed");
    gn_buf_close(&request);
    gn_buf_close(&answer);
    return code;
}

gn_code gn_group_members_get(gn_cluster *c, uint64_t group, gn_group_members *out, gn_error *err)
{
    uint64_t term;
    gn_shard *shard = gn_group_hold(c, group);
    gn_code code = members_here(c, group, out);
    gn_node_id leader = code != GN_OK && shard ? gn_raft_leader(gn_shard_raft_group(shard), &term) : 0;
    gn_group_release(c, shard);
    if (code != GN_OK && leader && leader != gn_net_self(c->world))
        code = members_there(c, leader, group, out, err);
    gn_placement *p = gn_meta_placement(c);
    const gn_group_place *row = gn_placement_group(p, group);
    for (uint32_t i = 0; code != GN_OK && row && i < row->n_members; i++)
        if (row->members[i] != gn_net_self(c->world) && row->members[i] != leader)
            code = members_there(c, row->members[i], group, out, err);
    gn_placement_release(p);
    return code == GN_OK ? GN_OK : gn_error_set(err, GN_UNAVAILABLE, "no leader of group %" PRIu64 " answers", group);
}

bool gn_node_is_gone(const gn_placement *p, gn_node_id id)
{
    const gn_node_place *node = gn_placement_node(p, id);
    return node && strcmp(node->state, "gone") == 0;
}

bool gn_group_is_settled(const gn_placement *p, const gn_group_place *row, const gn_group_members *actual)
{
    uint32_t wanted = 0, found = 0;
    bool settled = true;
    for (uint32_t i = 0; i < row->n_members; i++)
        wanted += !gn_node_is_gone(p, row->members[i]);
    for (uint32_t i = 0; i < actual->n && settled; i++) {
        if (gn_node_is_gone(p, actual->members[i].id))
            continue;
        settled = actual->members[i].role == GN_RAFT_VOTER && gn_group_has_member(row, actual->members[i].id);
        found++;
    }
    return settled && found == wanted;
}

bool gn_group_is_removed(gn_cluster *c, uint64_t group)
{
    gn_group_members actual;
    gn_error err = {0};
    gn_node_id self = gn_net_self(c->world);
    gn_placement *p = gn_meta_placement(c);
    const gn_group_place *row = gn_placement_group(p, group);
    bool removed = row && !gn_group_has_member(row, self) && gn_group_members_get(c, group, &actual, &err) == GN_OK;
    for (uint32_t i = 0; removed && i < actual.n; i++)
        removed = actual.members[i].id != self;
    gn_placement_release(p);
    return removed;
}

void gn_balance_serve(gn_cluster *c)
{
    gn_rpc_serve_strand(c->rpc, GN_METHOD_MEMBERS, serve_members, c);
}

/* ---- moving ---- */

/* Of how many other groups it is the first choice as leader. */
static uint32_t first_choices(const gn_placement *p, uint64_t but, gn_node_id id)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < p->n_groups; i++) {
        const gn_group_place *g = &p->groups[i];
        n += g->distribution_id && g->id != but && g->members[gn_group_first_choice(g)] == id;
    }
    return n;
}

gn_group_place gn_balance_moved(const gn_placement *p, const gn_group_place *row, gn_node_id from, gn_node_id to)
{
    gn_group_place now = *row;
    uint32_t first = gn_group_first_choice(row);
    for (uint32_t i = 0; i < now.n_members; i++) {
        if (now.members[i] != from)
            continue;
        now.members[i] = to;
        gn_node_id other = now.members[first];
        if (first_choices(p, row->id, to) < first_choices(p, row->id, other)) {
            now.members[first] = to;
            now.members[i] = other;
        }
    }
    return now;
}

static gn_code change_row(gn_cluster *c, uint64_t group, gn_node_id from, gn_node_id to, const gn_group_place *seen,
                          gn_error *err)
{
    gn_txn *meta;
    gn_scn scn;
    gn_placement *p = NULL;
    gn_code code = gn_meta_begin(c, false, false, &meta, err);
    if (code != GN_OK)
        return code;
    code = gn_placement_load(meta, &p, err);
    const gn_group_place *row = code == GN_OK ? gn_placement_group(p, group) : NULL;
    if (code == GN_OK && (!row || row->changes != seen->changes))
        code = gn_error_set(err, GN_NOT_IN_STATE, "group %" PRIu64 " is being changed by somebody else", group);
    if (code == GN_OK) {
        gn_group_place now = gn_balance_moved(p, row, from, to);
        now.changes++;
        code = gn_meta_put_group(meta, &now, err);
    }
    if (p)
        gn_placement_release(p);
    if (code == GN_OK)
        return gn_txn_commit(meta, &scn, err);
    gn_txn_abort(meta);
    return code;
}

static gn_code check_move(const gn_placement *p, const gn_group_place *row, uint64_t group, gn_node_id from,
                          gn_node_id to, gn_error *err)
{
    const gn_node_place *heir = gn_placement_node(p, to);
    if (!row || row->distribution_id == 0)
        return gn_error_set(err, GN_NO_OBJECT, "there is no group %" PRIu64 " whose replicas can be moved", group);
    if (!gn_group_has_member(row, from))
        return gn_error_set(err, GN_NO_OBJECT, "node %" PRIu64 " has no replica of group %" PRIu64, from, group);
    if (gn_group_has_member(row, to))
        return gn_error_set(err, GN_DUPLICATE_OBJECT, "node %" PRIu64 " has a replica of group %" PRIu64, to, group);
    if (!heir || !is_active(heir))
        return gn_error_set(err, GN_INVALID_PARAMETER, "node %" PRIu64 " is not an active node", to);
    return GN_OK;
}

gn_code gn_balance_move_replica(gn_cluster *c, uint64_t group, gn_node_id from, gn_node_id to, gn_error *err)
{
    gn_group_members actual;
    gn_code code = gn_meta_refresh(c, false, err);
    if (code != GN_OK)
        return code;
    gn_placement *p = gn_meta_placement(c);
    const gn_group_place *row = gn_placement_group(p, group);
    code = check_move(p, row, group, from, to, err);
    if (code == GN_OK)
        code = gn_group_members_get(c, group, &actual, err);
    if (code == GN_OK && !gn_group_is_settled(p, row, &actual))
        code = gn_error_set(err, GN_NOT_IN_STATE, "group %" PRIu64 " has an earlier change to finish", group);
    if (code == GN_OK)
        code = change_row(c, group, from, to, row, err);
    gn_placement_release(p);
    if (code == GN_OK)
        code = gn_meta_refresh(c, true, err);
    if (code == GN_OK) {
        gn_warden_nudge(c->warden);
        gn_nodes_nudge_all(c);
    }
    return code;
}

/* Groups that were changed once and are not what their row says yet. */
static size_t changing(gn_cluster *c, const gn_placement *p)
{
    size_t n = 0;
    for (uint32_t i = 0; i < p->n_groups && n < GN_BALANCE_AT_ONCE; i++) {
        gn_group_members actual;
        gn_error err = {0};
        if (p->groups[i].distribution_id && p->groups[i].changes > 0 && !is_lost(p, &p->groups[i]) &&
            (gn_group_members_get(c, p->groups[i].id, &actual, &err) != GN_OK ||
             !gn_group_is_settled(p, &p->groups[i], &actual)))
            n++;
    }
    return n;
}

size_t gn_balance_run(gn_cluster *c)
{
    uint64_t term;
    gn_balance_move moves[GN_BALANCE_AT_ONCE];
    if (gn_raft_leader(gn_shard_raft_group(c->meta), &term) != gn_net_self(c->world))
        return 0;
    gn_placement *p = gn_meta_placement(c);
    size_t n = gn_balance_plan(p, moves, GN_BALANCE_AT_ONCE);
    size_t busy = n ? changing(c, p) : 0;
    gn_placement_release(p);
    for (size_t i = 0; i < n && busy < GN_BALANCE_AT_ONCE; i++) {
        gn_error err = {0};
        gn_code code = gn_balance_move_replica(c, moves[i].group, moves[i].from, moves[i].to, &err);
        if (code == GN_OK)
            gn_log_info("cluster", "moving a replica", GN_KV_U64("group", moves[i].group),
                        GN_KV_U64("from", moves[i].from), GN_KV_U64("to", moves[i].to), GN_KV_STR("why", moves[i].why));
        else
            gn_log_info("cluster", "a replica cannot be moved yet", GN_KV_U64("group", moves[i].group),
                        GN_KV_STR("why", err.message));
        busy += code == GN_OK;
    }
    return busy;
}
