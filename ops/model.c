#include "ops/model.h"

#include "base/memory.h"
#include "ops/client.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GN_META = 1, CLOCK_LIMIT_US = 2000000, LOW_DISK_PERCENT = 10 };

const gn_model_node *gn_model_node_of(const gn_model *m, gn_node_id id)
{
    for (uint32_t i = 0; i < m->n_nodes; i++)
        if (m->nodes[i].id == id)
            return &m->nodes[i];
    return NULL;
}

const gn_model_group *gn_model_group_of(const gn_model *m, uint64_t id)
{
    for (uint32_t i = 0; i < m->n_groups; i++)
        if (m->groups[i].id == id)
            return &m->groups[i];
    return NULL;
}

const char *gn_model_state_text(gn_model_state state)
{
    static const char *const TEXTS[] = {"ok", "changing", "degraded", "no leader"};
    return TEXTS[state];
}

/* ---- putting it together ---- */

static void take_node(gn_model *m, const json_t *row)
{
    gn_model_node *n = &m->nodes[m->n_nodes++];
    *n = (gn_model_node){.id = gn_json_u64(row, "node"),
                         .address = gn_json_str(row, "address"),
                         .zone = gn_json_str(row, "zone"),
                         .state = gn_json_str(row, "state"),
                         .error = gn_json_str(row, "error"),
                         .asked = json_object_get(row, "answers") != NULL,
                         .answers = gn_json_true(row, "answers")};
    n->report = n->answers ? json_object_get(row, "report") : NULL;
}

static const json_t *replica_of(const gn_model_node *node, uint64_t group)
{
    const json_t *groups = node->report ? json_object_get(node->report, "groups") : NULL;
    for (size_t i = 0; i < json_array_size(groups); i++)
        if (gn_json_u64(json_array_get(groups, i), "group") == group)
            return json_array_get(groups, i);
    return NULL;
}

/* Of two that say that they lead, the one of the later term does. */
static const json_t *find_leader(const gn_model *m, gn_model_group *g)
{
    const json_t *found = NULL;
    for (uint32_t i = 0; i < m->n_nodes; i++) {
        const json_t *r = replica_of(&m->nodes[i], g->id);
        if (!r || strcmp(gn_json_str(r, "role"), "leader") != 0 || !gn_json_true(r, "serves") ||
            (found && gn_json_u64(r, "term") <= g->term))
            continue;
        found = r;
        g->leader = m->nodes[i].id;
        g->term = gn_json_u64(r, "term");
    }
    return found;
}

static void take_members(gn_model_group *g, const json_t *leader)
{
    const json_t *members = json_object_get(leader, "members");
    for (size_t i = 0; leader && i < json_array_size(members) && g->n < GN_MODEL_MEMBERS; i++) {
        const json_t *member = json_array_get(members, i);
        g->members[g->n++] =
            (gn_model_replica){.node = gn_json_u64(member, "node"), .votes = gn_json_true(member, "votes")};
    }
    for (uint32_t i = 0; !leader && i < g->n_wanted; i++)
        g->members[g->n++] = (gn_model_replica){.node = g->wanted[i], .votes = true};
}

static void take_replicas(const gn_model *m, gn_model_group *g)
{
    for (uint32_t i = 0; i < g->n; i++) {
        gn_model_replica *r = &g->members[i];
        const gn_model_node *node = gn_model_node_of(m, r->node);
        const json_t *report = node ? replica_of(node, g->id) : NULL;
        const json_t *install = json_object_get(report, "install");
        if (!report)
            continue;
        r->answers = strcmp(gn_json_str(report, "role"), "stopped") != 0;
        r->applied = gn_json_u64(report, "applied_index");
        r->prepared = gn_json_u64(report, "prepared");
        r->install_bytes = gn_json_u64(install, "bytes");
        r->install_total = gn_json_u64(install, "bytes_total");
        const json_t *slots = json_object_get(report, "slots");
        r->cleaned = !slots || json_is_true(json_object_get(slots, "cleaned"));
        if (!g->leader) {
            g->rows = gn_json_u64(report, "rows");
            g->bytes = gn_json_u64(report, "bytes");
        }
    }
}

static bool settled(const gn_model_group *g)
{
    uint32_t found = 0;
    for (uint32_t i = 0; i < g->n; i++)
        for (uint32_t k = 0; k < g->n_wanted; k++)
            found += g->members[i].node == g->wanted[k] && g->members[i].votes;
    return found == g->n && g->n == g->n_wanted;
}

static gn_model_state judge(const gn_model_group *g)
{
    if (!g->leader)
        return GN_GROUP_LEADERLESS;
    for (uint32_t i = 0; i < g->n; i++)
        if (!g->members[i].answers)
            return GN_GROUP_DEGRADED;
    return g->id == GN_META || settled(g) ? GN_GROUP_WELL : GN_GROUP_CHANGING;
}

static void take_group(gn_model *m, const json_t *row)
{
    gn_model_group *g = &m->groups[m->n_groups++];
    const json_t *members = json_object_get(row, "members");
    *g = (gn_model_group){.id = gn_json_u64(row, "group"),
                          .distribution = gn_json_u64(row, "distribution"),
                          .slot_lo = (uint32_t)gn_json_u64(row, "slot_lo"),
                          .slot_hi = (uint32_t)gn_json_u64(row, "slot_hi")};
    for (size_t i = 0; i < json_array_size(members) && g->n_wanted < GN_MODEL_MEMBERS && g->id != GN_META; i++) {
        gn_node_id id = (gn_node_id)json_integer_value(json_array_get(members, i));
        const gn_model_node *node = gn_model_node_of(m, id);
        g->declared++;
        if (!node || node->asked)
            g->wanted[g->n_wanted++] = id;
    }
    for (uint32_t i = 0; i < m->n_nodes && g->n_wanted < GN_MODEL_MEMBERS && g->id == GN_META; i++)
        if (m->nodes[i].asked) /* every node has one */
            g->wanted[g->n_wanted++] = m->nodes[i].id;
    const json_t *leader = find_leader(m, g);
    take_members(g, leader);
    if (leader) {
        g->last_index = gn_json_u64(leader, "last_index");
        g->rows = gn_json_u64(leader, "rows");
        g->bytes = gn_json_u64(leader, "bytes");
        g->prepared = gn_json_u64(leader, "prepared");
    }
    take_replicas(m, g);
    g->state = judge(g);
}

static void count_replicas(gn_model *m)
{
    for (uint32_t n = 0; n < m->n_nodes; n++)
        for (uint32_t i = 0; i < m->n_groups; i++) {
            const gn_model_group *g = &m->groups[i];
            m->nodes[n].leads += g->leader == m->nodes[n].id;
            for (uint32_t k = 0; k < g->n; k++)
                m->nodes[n].replicas += g->members[k].node == m->nodes[n].id;
            for (uint32_t k = 0; k < g->n_wanted && g->id != GN_META; k++)
                m->nodes[n].wanted += g->wanted[k] == m->nodes[n].id;
        }
}

static int by_id(const void *a, const void *b)
{
    const gn_model_group *x = a, *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

bool gn_model_make(const json_t *document, gn_model *m)
{
    const json_t *nodes = json_object_get(document, "nodes"), *groups = json_object_get(document, "placement");
    *m = (gn_model){.cluster = gn_json_str(document, "cluster"), .asked = gn_json_u64(document, "asked")};
    if (!json_is_array(nodes) || !json_is_array(groups))
        return false;
    m->nodes = gn_xcalloc(json_array_size(nodes) + 1, sizeof *m->nodes);
    m->groups = gn_xcalloc(json_array_size(groups) + 1, sizeof *m->groups);
    for (size_t i = 0; i < json_array_size(nodes); i++)
        take_node(m, json_array_get(nodes, i));
    for (size_t i = 0; i < json_array_size(groups); i++)
        take_group(m, json_array_get(groups, i));
    if (m->n_groups)
        qsort(m->groups, m->n_groups, sizeof *m->groups, by_id);
    count_replicas(m);
    return true;
}

void gn_model_close(gn_model *m)
{
    free(m->nodes);
    free(m->groups);
    *m = (gn_model){0};
}

/* ---- what is wrong ---- */

static void say(json_t *list, const char *severity, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void say(json_t *list, const char *severity, const char *format, ...)
{
    char text[500];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    json_array_append_new(list, json_pack("{s:s,s:s}", "severity", severity, "text", text));
}

static void look_at_node(json_t *list, const gn_model *m, const gn_model_node *n)
{
    const gn_model_node *asked = gn_model_node_of(m, m->asked);
    if (!n->asked)
        return;
    if (!n->answers) {
        say(list, "error", "node %" PRIu64 " (%s) does not answer: %s", n->id, n->address, n->error);
        return;
    }
    const json_t *disk = json_object_get(n->report, "disk");
    uint64_t total = gn_json_u64(disk, "total_bytes"), left = gn_json_u64(disk, "free_bytes");
    if (total && left < total / 100 * LOW_DISK_PERCENT)
        say(list, "warning", "node %" PRIu64 " has less than %d%% of its disk left", n->id, LOW_DISK_PERCENT);
    if (!gn_json_true(n->report, "ready"))
        say(list, "warning", "node %" PRIu64 " is not ready: one of its replicas knows no leader", n->id);
    if (strcmp(n->state, "draining") == 0)
        say(list, "note", "node %" PRIu64 " is draining: %u replicas are left", n->id, n->wanted);
    if (asked && asked->report) {
        int64_t apart = (int64_t)gn_json_u64(n->report, "wall_us") - (int64_t)gn_json_u64(asked->report, "wall_us");
        if (llabs(apart) > CLOCK_LIMIT_US)
            say(list, "warning", "the clocks of nodes %" PRIu64 " and %" PRIu64 " are %.1f s apart", n->id, asked->id,
                (double)llabs(apart) / 1e6);
        if (strcmp(gn_json_str(n->report, "version"), gn_json_str(asked->report, "version")) != 0)
            say(list, "note", "node %" PRIu64 " runs version %s, node %" PRIu64 " version %s", n->id,
                gn_json_str(n->report, "version"), asked->id, gn_json_str(asked->report, "version"));
    }
}

/* All nodes can do more than the cluster is at. A node of a release that does not say what it can do does not. */
static void look_at_versions(json_t *list, const gn_model *m)
{
    uint64_t can = UINT64_MAX, at = 0;
    for (uint32_t i = 0; i < m->n_nodes; i++) {
        const gn_model_node *n = &m->nodes[i];
        uint64_t most = gn_json_u64(n->report, "most");
        can = n->asked && most < can ? most : can;
        at = gn_json_u64(n->report, "cluster_version") > at ? gn_json_u64(n->report, "cluster_version") : at;
    }
    if (at && can > at && can != UINT64_MAX)
        say(list, "note",
            "an upgrade is not finished: the cluster is at version %" PRIu64 " and every node can do %" PRIu64
            " (`gnomonctl upgrade`)",
            at, can);
}

/* Replicas that are silent though their node answers. */
static uint32_t silent_by_itself(const gn_model *m, const gn_model_group *g)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < g->n; i++) {
        const gn_model_node *node = gn_model_node_of(m, g->members[i].node);
        n += !g->members[i].answers && node && node->answers;
    }
    return n;
}

/* A dead node is told of once: how many groups miss it is enough. */
static void look_at_degraded(json_t *list, const gn_model *m)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < m->n_groups; i++)
        n += m->groups[i].state == GN_GROUP_DEGRADED && silent_by_itself(m, &m->groups[i]) == 0;
    if (n)
        say(list, "warning",
            "%u of %u groups serve, and miss replicas on nodes that do not answer (`gnomonctl shards` lists them)", n,
            m->n_groups);
}

static void look_at_group(json_t *list, const gn_model *m, const gn_model_group *g)
{
    uint32_t silent = 0, own = silent_by_itself(m, g);
    for (uint32_t i = 0; i < g->n; i++)
        silent += !g->members[i].answers;
    if (g->state == GN_GROUP_LEADERLESS)
        say(list, "error", "group %" PRIu64 " has no leader that can serve: %u of %u replicas answer", g->id,
            g->n - silent, g->n);
    else if (own)
        say(list, "warning", "group %" PRIu64 ": %u of %u replicas are stopped or not open, on nodes that answer",
            g->id, own, g->n);
    else if (silent == 0 && g->declared > g->n_wanted)
        say(list, "warning",
            "group %" PRIu64 " has %u replicas instead of %u: the others' nodes are gone, and there is no node to put "
            "them on (add one)",
            g->id, g->n, g->declared);
    else if (g->state == GN_GROUP_CHANGING)
        say(list, "note", "group %" PRIu64 " is changing its members", g->id);
}

json_t *gn_model_problems(const gn_model *m, bool *healthy)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < m->n_nodes; i++)
        look_at_node(list, m, &m->nodes[i]);
    look_at_versions(list, m);
    for (uint32_t i = 0; i < m->n_groups; i++)
        look_at_group(list, m, &m->groups[i]);
    look_at_degraded(list, m);
    *healthy = true;
    for (size_t i = 0; i < json_array_size(list); i++)
        if (strcmp(gn_json_str(json_array_get(list, i), "severity"), "note") != 0)
            *healthy = false;
    return list;
}
