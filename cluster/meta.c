/* The meta group's tables, written and read: what a new database begins with, and this node's copy of the placement. */
#include "cluster/balance_private.h"
#include "cluster/system_tables_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_REPLICAS = 3 };
static const uint64_t PATIENCE_NS = 10000000000; /* with other transactions */

gn_code gn_meta_begin(gn_cluster *c, bool read_only, bool stale, gn_txn **out, gn_error *err)
{
    gn_txn_options options = {.read_only = read_only,
                              .stale = stale,
                              .cancel = &c->stopping,
                              .deadline_ns = gn_now_ns(c->world) + PATIENCE_NS};
    return gn_txn_begin(c->meta, &options, out, err);
}

/* ---- the rows ---- */

gn_code gn_meta_put_setting(gn_txn *meta, const char *name, const char *value, gn_error *err)
{
    gn_value row[GN_CLUSTER_COLUMNS] = {gn_text_value(gn_bytes_str(name)), gn_text_value(gn_bytes_str(value))};
    return gn_system_put(meta, GN_SYS_CLUSTER, row, err);
}

typedef struct wanted {
    const char *name;
    char *value;
    size_t size;
    bool found;
} wanted;

static gn_code compare_setting(void *ctx, const gn_value *values, gn_error *err)
{
    wanted *w = ctx;
    gn_bytes name = values[GN_CLUSTER_NAME].as.bytes, value = values[GN_CLUSTER_VALUE].as.bytes;
    (void)err;
    if (name.len == strlen(w->name) && memcmp(name.data, w->name, name.len) == 0 && value.len < w->size) {
        memcpy(w->value, value.data, value.len);
        w->value[value.len] = '\0';
        w->found = true;
    }
    return GN_OK;
}

gn_code gn_meta_get_setting(gn_txn *meta, const char *name, char *value, size_t size, bool *found, gn_error *err)
{
    wanted w = {.name = name, .value = value, .size = size};
    gn_code code = gn_system_scan(meta, GN_SYS_CLUSTER, compare_setting, &w, err);
    *found = w.found;
    return code;
}

gn_code gn_meta_put_node(gn_txn *meta, const gn_node_place *node, gn_error *err)
{
    gn_value row[GN_NODE_COLUMNS] = {gn_int_value((int64_t)node->id), gn_text_value(gn_bytes_str(node->address)),
                                     gn_text_value(gn_bytes_str(node->zone)), gn_text_value(gn_bytes_str(node->state)),
                                     gn_text_value(gn_bytes_str(node->program))};
    return gn_system_put(meta, GN_SYS_NODES, row, err);
}

gn_code gn_meta_put_distribution(gn_txn *meta, const gn_distribution *d, gn_error *err)
{
    gn_value row[GN_DIST_COLUMNS] = {gn_int_value((int64_t)d->id), gn_int_value(d->shards), gn_int_value(d->replicas)};
    return gn_system_put(meta, GN_SYS_DISTRIBUTIONS, row, err);
}

gn_code gn_meta_put_group(gn_txn *meta, const gn_group_place *g, gn_error *err)
{
    char members[GN_MAX_REPLICAS * 24];
    int n = 0;
    for (uint32_t i = 0; i < g->n_members; i++)
        n += snprintf(members + n, sizeof members - (size_t)n, "%s%" PRIu64, i ? "," : "", g->members[i]);
    gn_value row[GN_GROUP_COLUMNS] = {gn_int_value((int64_t)g->id),
                                      gn_int_value((int64_t)g->distribution_id),
                                      gn_int_value(g->slot_lo),
                                      gn_int_value(g->slot_hi),
                                      gn_text_value(gn_bytes_of(members, (size_t)n)),
                                      gn_int_value((int64_t)((uint64_t)g->generation << 32 | g->changes))};
    return gn_system_put(meta, GN_SYS_GROUPS, row, err);
}

/* ---- a new database ---- */

static gn_code found(gn_cluster *c, gn_txn *meta, gn_error *err)
{
    gn_node_place node = {.id = gn_net_self(c->world), .state = "active"};
    gn_group_place group = {.id = GN_META_GROUP, .n_members = 1, .members = {node.id}};
    snprintf(node.address, sizeof node.address, "%s", c->address);
    snprintf(node.zone, sizeof node.zone, "%s", c->zone);
    snprintf(node.program, sizeof node.program, "%s", c->admin.version ? c->admin.version : "");
    gn_code code = gn_versions_found(c, meta, err);
    if (code == GN_OK)
        code = gn_meta_put_setting(meta, "cluster_id", c->identity.cluster, err);
    if (code == GN_OK)
        code = gn_meta_put_node(meta, &node, err);
    return code == GN_OK ? gn_meta_put_group(meta, &group, err) : code;
}

/* The clock is used only after that; and what this node's replica has already is enough to know that it was done: no
 * majority is needed to start a node. */
static gn_code is_founded(gn_cluster *c, bool *founded, gn_error *err)
{
    gn_txn *meta;
    gn_code code = gn_meta_begin(c, false, true, &meta, err);
    if (code == GN_OK) {
        *founded = gn_txn_table(meta, GN_SYS_GROUPS) != NULL;
        gn_txn_abort(meta);
    }
    return code;
}

gn_code gn_meta_bootstrap(gn_cluster *c, gn_error *err)
{
    gn_txn *meta;
    gn_scn scn;
    bool founded;
    /* With other nodes, or groups, it was done long ago, whatever this replica has of it so far; a node that is
     * starting and leads must not wait for what those wait for that it is to serve. */
    if (!c->identity.founder || c->clocked)
        return GN_OK;
    gn_code code = is_founded(c, &founded, err);
    if (code != GN_OK || founded)
        return code;
    code = gn_meta_begin(c, false, false, &meta, err);
    if (code != GN_OK)
        return code;
    code = found(c, meta, err);
    if (code == GN_OK)
        return gn_txn_commit(meta, &scn, err);
    gn_txn_abort(meta);
    return code;
}

/* ---- this node's copy ---- */

gn_code gn_meta_refresh(gn_cluster *c, bool stale, gn_error *err)
{
    gn_txn *meta;
    gn_placement *fresh = NULL;
    gn_code code = gn_meta_begin(c, true, stale, &meta, err);
    if (code != GN_OK)
        return code;
    code = gn_placement_load(meta, &fresh, err);
    gn_txn_abort(meta);
    if (code != GN_OK)
        return code;
    pthread_mutex_lock(&c->lock);
    gn_placement *old = c->placement;
    bool newer = !old || old->scn <= fresh->scn;
    if (newer)
        c->placement = fresh;
    pthread_mutex_unlock(&c->lock);
    gn_placement_release(newer ? old : fresh);
    return GN_OK;
}

gn_placement *gn_meta_placement(gn_cluster *c)
{
    pthread_mutex_lock(&c->lock);
    gn_placement *p = gn_placement_retain(c->placement);
    pthread_mutex_unlock(&c->lock);
    return p;
}

bool gn_group_has_ended(gn_cluster *c, uint64_t group)
{
    gn_placement *p = gn_meta_placement(c);
    bool ended = gn_placement_has_ended(p, group);
    gn_placement_release(p);
    return ended;
}

/* ---- distributions ---- */

static gn_code plan_groups(gn_cluster *c, gn_distribution *d, gn_group_place *groups, gn_error *err)
{
    int64_t first;
    gn_placement *p = gn_meta_placement(c);
    uint32_t *taken = gn_xcalloc(p->n_nodes + 1, sizeof *taken);
    gn_code code = gn_shard_new_ids(c->meta, 1, &d->id, err);
    if (code == GN_OK)
        code = gn_shard_sequence_next(c->meta, GN_GROUP_SEQUENCE, GN_META_GROUP + 1, d->shards, &first, err);
    for (uint32_t i = 0; i < d->shards && code == GN_OK; i++) {
        groups[i] = (gn_group_place){.id = (uint64_t)first + i,
                                     .distribution_id = d->id,
                                     .slot_lo = i * GN_SLOTS / d->shards,
                                     .slot_hi = (i + 1) * GN_SLOTS / d->shards,
                                     .n_members = d->replicas};
        code = gn_placement_choose(p, d->replicas, taken, groups[i].members, err);
    }
    free(taken);
    gn_placement_release(p);
    return code;
}

static gn_code record(gn_cluster *c, const gn_distribution *d, const gn_group_place *groups, gn_error *err)
{
    gn_txn *meta;
    gn_scn scn;
    gn_code code = gn_meta_begin(c, false, false, &meta, err);
    if (code != GN_OK)
        return code;
    code = gn_meta_put_distribution(meta, d, err);
    for (uint32_t i = 0; i < d->shards && code == GN_OK; i++)
        code = gn_meta_put_group(meta, &groups[i], err);
    if (code == GN_OK)
        return gn_txn_commit(meta, &scn, err);
    gn_txn_abort(meta);
    return code;
}

/* Until each new group that has a replica here has a leader; the others' come up at the same time. */
static void await_leaders(gn_cluster *c, const gn_group_place *groups, uint32_t n)
{
    enum { PAUSE_NS = 2000000 };
    uint64_t deadline = gn_now_ns(c->world) + 5000000000u, term;
    for (uint32_t i = 0; i < n; i++) {
        gn_shard *shard = gn_group_hold(c, groups[i].id);
        while (shard && !gn_raft_leader(gn_shard_raft_group(shard), &term) && gn_now_ns(c->world) < deadline) {
            gn_event never;
            gn_event_init(&never, c->world);
            gn_event_wait(&never, gn_now_ns(c->world) + PAUSE_NS);
        }
        gn_group_release(c, shard);
    }
}

static bool has_lost_groups(const gn_placement *p, const gn_distribution *d)
{
    for (uint32_t i = 0; i < d->n; i++)
        if (gn_group_is_lost(p, &p->groups[d->first + i]))
            return true;
    return false;
}

static uint64_t find_distribution(gn_cluster *c, uint32_t shards, uint32_t *replicas, uint32_t *n_nodes)
{
    uint64_t id = 0;
    gn_placement *p = gn_meta_placement(c);
    *n_nodes = 0;
    for (uint32_t i = 0; i < p->n_nodes; i++)
        *n_nodes += strcmp(p->nodes[i].state, "active") == 0;
    if (*replicas == 0)
        *replicas = *n_nodes < DEFAULT_REPLICAS ? *n_nodes : DEFAULT_REPLICAS;
    for (uint32_t i = 0; i < p->n_distributions && !id; i++)
        if (p->distributions[i].shards == shards && p->distributions[i].replicas == *replicas &&
            !has_lost_groups(p, &p->distributions[i]))
            id = p->distributions[i].id;
    gn_placement_release(p);
    return id;
}

/* A database of one group needs no clock, and pays for none until it is spread. */
static gn_code make_distribution(gn_cluster *c, uint32_t shards, uint32_t replicas, uint64_t *id, gn_error *err)
{
    gn_distribution d = {.shards = shards, .replicas = replicas};
    bool postponed;
    gn_group_place *groups = gn_xcalloc(shards, sizeof *groups);
    gn_code code = gn_clock_use(c, err);
    if (code == GN_OK)
        code = plan_groups(c, &d, groups, err);
    if (code == GN_OK)
        code = record(c, &d, groups, err);
    if (code == GN_OK)
        code = gn_meta_refresh(c, false, err);
    if (code == GN_OK)
        gn_nodes_nudge_all(c);
    if (code == GN_OK)
        code = gn_groups_open_placed(c, &postponed, err);
    if (code == GN_OK)
        await_leaders(c, groups, shards);
    free(groups);
    *id = d.id;
    return code;
}

gn_code gn_cluster_distribution(gn_cluster *c, uint32_t shards, uint32_t replicas, uint64_t *id, gn_error *err)
{
    uint32_t n_nodes;
    if (shards == 0 || shards > GN_MAX_SHARDS)
        return gn_error_set(err, GN_INVALID_PARAMETER, "shards must be between 1 and %d", GN_MAX_SHARDS);
    gn_gate_enter(&c->ddl_gate);
    gn_code code = gn_meta_refresh(c, false, err);
    *id = code == GN_OK ? find_distribution(c, shards, &replicas, &n_nodes) : 0;
    if (code == GN_OK && !*id && (replicas > GN_MAX_REPLICAS || replicas > n_nodes))
        code =
            gn_error_set(err, GN_INVALID_PARAMETER, "replicas must be between 1 and %u, the number of nodes", n_nodes);
    else if (code == GN_OK && !*id)
        code = make_distribution(c, shards, replicas, id, err);
    gn_gate_leave(&c->ddl_gate);
    return code;
}
