/* The version that the cluster is at (base/versions.h), a row of gnomon_cluster. It only ever rises, by one transaction
 * that also makes what the new version brings; so whoever sees the row sees that too, and at no moment is there a form
 * that the row does not allow. */
#include "base/versions.h"

#include "base/log.h"
#include "cluster/cluster_private.h"
#include "cluster/system_tables_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char SETTING[] = "version";

/* A cluster that was founded before there was such a row is at the first. A node that has just joined has no tables yet
 * and knows nothing. */
gn_code gn_meta_get_version(gn_txn *meta, uint32_t *version, gn_error *err)
{
    char text[16], *end;
    bool found;
    *version = 0;
    if (!gn_txn_table(meta, GN_SYS_CLUSTER))
        return GN_OK;
    gn_code code = gn_meta_get_setting(meta, SETTING, text, sizeof text, &found, err);
    unsigned long n = code == GN_OK && found ? strtoul(text, &end, 10) : 1;
    if (code == GN_OK && (n == 0 || n >= UINT8_MAX || (found && *end)))
        code = gn_error_set(err, GN_CORRUPT, "the cluster's version is malformed");
    *version = (uint32_t)n;
    return code;
}

static gn_code put_version(gn_txn *meta, uint32_t version, gn_error *err)
{
    char text[16];
    snprintf(text, sizeof text, "%" PRIu32, version);
    return gn_meta_put_setting(meta, SETTING, text, err);
}

gn_code gn_versions_found(gn_cluster *c, gn_txn *meta, gn_error *err)
{
    gn_code code = gn_system_tables_create(meta, c->can.most, err);
    return code == GN_OK ? put_version(meta, c->can.most, err) : code;
}

/* ---- this node ---- */

gn_code gn_versions_follow(gn_cluster *c, gn_error *err)
{
    gn_placement *p = gn_meta_placement(c);
    uint32_t version = p->version;
    gn_placement_release(p);
    if (version == 0 || version == c->at)
        return GN_OK;
    if (!gn_version_can(c->can, version)) {
        gn_error_set(err, GN_CONFIGURATION,
                     "the cluster is at version %" PRIu32 ", and this gnomond can do versions %u to %u only", version,
                     c->can.least, c->can.most);
        gn_error_hint(err, "Start a gnomond of the release that the other nodes run.");
        return GN_CONFIGURATION;
    }
    gn_code code = gn_raft_host_raise(c->host, version, err);
    if (code != GN_OK)
        return code;
    if (c->admin.mesh)
        gn_mesh_cluster_version(c->admin.mesh, version);
    if (c->at)
        gn_log_info("cluster", "the cluster's version was raised", GN_KV_U64("version", version));
    c->at = version;
    return GN_OK;
}

/* ---- raising it ---- */

static gn_code raise_in(gn_txn *meta, uint32_t version, uint32_t n_nodes, gn_error *err)
{
    gn_placement *p;
    gn_code code = gn_placement_load(meta, &p, err);
    if (code != GN_OK)
        return code;
    bool raised = p->version >= version, joined = p->n_nodes != n_nodes;
    gn_placement_release(p);
    if (raised)
        return GN_OK;
    if (joined)
        return gn_error_set(err, GN_NOT_IN_STATE, "a node has just joined: try again");
    code = gn_system_tables_upgrade(meta, version, err);
    return code == GN_OK ? put_version(meta, version, err) : code;
}

static gn_code raise_once(gn_cluster *c, uint32_t version, uint32_t n_nodes, gn_error *err)
{
    gn_txn *meta;
    gn_scn scn;
    gn_code code = gn_meta_begin(c, false, false, &meta, err);
    if (code != GN_OK)
        return code;
    code = raise_in(meta, version, n_nodes, err);
    if (code == GN_OK)
        return gn_txn_commit(meta, &scn, err);
    gn_txn_abort(meta);
    return code;
}

gn_code gn_versions_raise(gn_cluster *c, uint32_t version, uint32_t n_nodes, gn_error *err)
{
    enum { TRIES = 5 };
    gn_code code = GN_SERIALIZATION;
    for (int i = 0; i < TRIES && code == GN_SERIALIZATION; i++) {
        gn_error_clear(err);
        code = raise_once(c, version, n_nodes, err);
    }
    if (code == GN_OK)
        code = gn_meta_refresh(c, false, err);
    return code == GN_OK ? gn_versions_follow(c, err) : code;
}

gn_code gn_versions_raise_alone(gn_cluster *c, gn_error *err)
{
    gn_placement *p = gn_meta_placement(c);
    bool alone = !c->address[0];
    for (uint32_t i = 0; i < p->n_nodes; i++)
        alone = alone && (p->nodes[i].id == gn_net_self(c->world) || strcmp(p->nodes[i].state, "gone") == 0);
    alone = alone && p->n_nodes && p->version < c->can.most;
    uint32_t n_nodes = p->n_nodes;
    gn_placement_release(p);
    return alone ? gn_versions_raise(c, c->can.most, n_nodes, err) : GN_OK;
}
