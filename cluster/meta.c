/* The meta group's tables, written and read: what a new database begins with, and this node's copy of the placement. */
#include "cluster/cluster_private.h"
#include "cluster/system_tables_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { DEFAULT_REPLICAS = 3 };

/* ---- the rows ---- */

static gn_code put_setting(gn_txn *meta, const char *name, const char *value, gn_error *err)
{
    gn_value row[GN_CLUSTER_COLUMNS] = {gn_text_value(gn_bytes_str(name)), gn_text_value(gn_bytes_str(value))};
    return gn_system_put(meta, GN_SYS_CLUSTER, row, err);
}

gn_code gn_meta_put_node(gn_txn *meta, const gn_node_place *node, gn_error *err)
{
    gn_value row[GN_NODE_COLUMNS] = {gn_int_value((int64_t)node->id), gn_text_value(gn_bytes_str(node->address)),
                                     gn_text_value(gn_bytes_str(node->zone)), gn_text_value(gn_bytes_str(node->state))};
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
        n += snprintf(members + n, sizeof members - (size_t)n, "%s%" PRIu64 "%s", i ? "," : "", g->members[i].id,
                      g->members[i].role == GN_RAFT_NON_VOTER ? "~" : "");
    gn_value row[GN_GROUP_COLUMNS] = {gn_int_value((int64_t)g->id), gn_int_value((int64_t)g->distribution_id),
                                      gn_int_value(g->slot_lo), gn_int_value(g->slot_hi),
                                      gn_text_value(gn_bytes_of(members, (size_t)n))};
    return gn_system_put(meta, GN_SYS_GROUPS, row, err);
}

/* ---- a new database ---- */

static gn_code found(gn_cluster *c, gn_txn *meta, gn_error *err)
{
    char id[40];
    gn_node_id self = gn_net_self(c->world);
    snprintf(id, sizeof id, "%016" PRIx64 "%016" PRIx64, gn_random_u64(c->world), gn_random_u64(c->world));
    gn_node_place node = {.id = self, .state = "active"};
    gn_group_place group = {
        .id = GN_META_GROUP, .slot_hi = 0, .n_members = 1, .members = {{.id = self, .role = GN_RAFT_VOTER}}};
    gn_code code = gn_system_tables_create(meta, err);
    if (code == GN_OK)
        code = put_setting(meta, "cluster_id", id, err);
    if (code == GN_OK)
        code = gn_meta_put_node(meta, &node, err);
    return code == GN_OK ? gn_meta_put_group(meta, &group, err) : code;
}

gn_code gn_meta_bootstrap(gn_cluster *c, gn_error *err)
{
    gn_txn *meta;
    gn_code code = gn_txn_begin(c->meta, NULL, &meta, err);
    if (code != GN_OK)
        return code;
    if (gn_txn_table(meta, GN_SYS_GROUPS)) {
        gn_txn_abort(meta);
    } else {
        gn_scn scn;
        code = found(c, meta, err);
        if (code == GN_OK)
            code = gn_txn_commit(meta, &scn, err);
        else
            gn_txn_abort(meta);
    }
    return code == GN_OK ? gn_meta_refresh(c, err) : code;
}

/* ---- this node's copy ---- */

gn_code gn_meta_refresh(gn_cluster *c, gn_error *err)
{
    gn_txn *meta;
    gn_placement *fresh = NULL;
    gn_txn_options options = {.read_only = true};
    gn_code code = gn_txn_begin(c->meta, &options, &meta, err);
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

/* ---- distributions ---- */

static gn_code make_groups(gn_cluster *c, gn_distribution *d, gn_group_place *groups, gn_error *err)
{
    int64_t first;
    uint64_t id;
    gn_raft_member self = {.id = gn_net_self(c->world), .role = GN_RAFT_VOTER};
    gn_code code = gn_shard_new_ids(c->meta, 1, &id, err);
    if (code == GN_OK)
        code = gn_shard_sequence_next(c->meta, GN_GROUP_SEQUENCE, GN_META_GROUP + 1, d->shards, &first, err);
    d->id = id;
    for (uint32_t i = 0; i < d->shards && code == GN_OK; i++) {
        groups[i] = (gn_group_place){.id = (uint64_t)first + i,
                                     .distribution_id = d->id,
                                     .slot_lo = i * GN_SLOTS / d->shards,
                                     .slot_hi = (i + 1) * GN_SLOTS / d->shards,
                                     .n_members = 1,
                                     .members = {self}};
        code = gn_group_create(c, groups[i].id, &self, 1, err);
    }
    return code;
}

static gn_code record(gn_cluster *c, const gn_distribution *d, const gn_group_place *groups, gn_error *err)
{
    gn_txn *meta;
    gn_scn scn;
    gn_code code = gn_txn_begin(c->meta, NULL, &meta, err);
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

/* A database of one group needs no clock, and pays for none until it is spread. */
static void use_clock(gn_cluster *c)
{
    if (c->spread)
        return;
    gn_shard_use_clock(c->meta);
    gn_clock_raise(&c->clock, gn_shard_last_scn(c->meta));
    c->spread = true;
}

static uint64_t find_distribution(gn_cluster *c, uint32_t shards, uint32_t *replicas, uint32_t *n_nodes)
{
    uint64_t id = 0;
    gn_placement *p = gn_meta_placement(c);
    *n_nodes = p->n_nodes;
    if (*replicas == 0)
        *replicas = p->n_nodes < DEFAULT_REPLICAS ? p->n_nodes : DEFAULT_REPLICAS;
    for (uint32_t i = 0; i < p->n_distributions && !id; i++)
        if (p->distributions[i].shards == shards && p->distributions[i].replicas == *replicas)
            id = p->distributions[i].id;
    gn_placement_release(p);
    return id;
}

static gn_code make_distribution(gn_cluster *c, uint32_t shards, uint32_t replicas, uint64_t *id, gn_error *err)
{
    gn_distribution d = {.shards = shards, .replicas = replicas};
    gn_group_place *groups = gn_xcalloc(shards, sizeof *groups);
    use_clock(c);
    gn_code code = make_groups(c, &d, groups, err);
    if (code == GN_OK)
        code = record(c, &d, groups, err);
    if (code == GN_OK)
        code = gn_meta_refresh(c, err);
    free(groups);
    *id = d.id;
    return code;
}

gn_code gn_cluster_distribution(gn_cluster *c, uint32_t shards, uint32_t replicas, uint64_t *id, gn_error *err)
{
    uint32_t n_nodes;
    gn_code code = GN_OK;
    if (shards == 0 || shards > GN_MAX_SHARDS)
        return gn_error_set(err, GN_INVALID_PARAMETER, "shards must be between 1 and %d", GN_MAX_SHARDS);
    pthread_mutex_lock(&c->ddl_lock);
    *id = find_distribution(c, shards, &replicas, &n_nodes);
    if (!*id && (replicas > GN_MAX_REPLICAS || replicas > n_nodes))
        code =
            gn_error_set(err, GN_INVALID_PARAMETER, "replicas must be between 1 and %u, the number of nodes", n_nodes);
    else if (!*id)
        code = make_distribution(c, shards, replicas, id, err);
    pthread_mutex_unlock(&c->ddl_lock);
    return code;
}
