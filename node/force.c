#include "node/force.h"

#include "cluster/cluster.h"
#include "raft/force.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void describe(gn_buf *out, const gn_raft_force_group *g, bool apply)
{
    static const char *const STATES[] = {"one of several", "alone already", "no member", "half of a snapshot"};
    char members[600] = "";
    size_t at = 0;
    for (size_t i = 0; i < g->n_members && at < sizeof members - 24; i++)
        at += (size_t)snprintf(members + at, sizeof members - at, "%s%" PRIu64 "%s", i ? "," : "", g->members[i].id,
                               g->members[i].role == GN_RAFT_VOTER ? "" : "+");
    gn_buf_printf(out, "%8" PRIu64 "  %9" PRIu64 "  %10" PRIu64 "  %-18s  %s\n", g->id, g->last_term, g->last_index,
                  apply && g->state == GN_RAFT_FORCE_CAN ? "FORCED" : STATES[g->state], members);
}

/* First the groups, then the name: whoever is cut off between them does it again. */
static gn_code force(const gn_config *config, gn_identity *identity, bool apply, gn_buf *report, gn_error *err)
{
    char log_dir[GN_OPTION_TEXT + 8];
    gn_raft_force_group *groups = NULL;
    size_t n = 0;
    gn_world *world = gn_world_real_create(&(gn_world_options){.threads = 2, .node_id = identity->node});
    snprintf(log_dir, sizeof log_dir, "%s/raft", config->data_dir);
    gn_code code = gn_raft_force_alone(world, log_dir, apply, &groups, &n, err);
    gn_buf_printf(report,
                  "node %" PRIu64 " of cluster %s\n\n   group  last term  last index  state               members\n",
                  identity->node, identity->cluster);
    for (size_t i = 0; i < n; i++)
        describe(report, &groups[i], apply);
    if (code == GN_OK && apply) {
        gn_identity fresh = gn_identity_found(world);
        memcpy(identity->cluster, fresh.cluster, sizeof identity->cluster);
        code = gn_identity_write(config->data_dir, identity, err);
    }
    free(groups);
    gn_world_real_destroy(world);
    return code;
}

gn_code gn_force_alone(const gn_config *config, bool apply, gn_buf *report, gn_error *err)
{
    gn_identity identity;
    gn_code code = gn_identity_read(config->data_dir, &identity, err);
    if (code == GN_OK)
        code = force(config, &identity, apply, report, err);
    if (code != GN_OK)
        return code;
    if (apply)
        gn_buf_printf(report,
                      "\nThis node is a cluster of its own now, with the id %s.\n"
                      "What only other nodes had is LOST, though it may have been acknowledged.\n"
                      "No other node of the old cluster may run again with the data that it has.\n",
                      identity.cluster);
    else
        gn_buf_append_str(report,
                          "\nNothing was changed. Of two nodes that are left, the one whose last term, and among "
                          "equals last index, is\nhigher has more of a group. Go on with one node only.\n");
    return report->failed ? gn_error_set(err, GN_LIMIT, "the report is too long") : GN_OK;
}
