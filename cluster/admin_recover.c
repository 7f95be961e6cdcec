/* What a node does of a recovery (recover.h): it agrees and notes it, then starts again. */
#include "base/log.h"
#include "cluster/admin_private.h"
#include "cluster/methods_private.h"
#include "cluster/recover.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_LIST = 4 };
#define PING_NS 1500000000u
#define MOST_SCN ((gn_scn)INT64_MAX / 2)
/* What is in the logs and not applied yet, and is committed now, may have so much more: ten seconds. */
#define UNAPPLIED_SCNS ((gn_scn)10000 << GN_SCN_COUNTER_BITS)

/* "2,3" or "5:7:120,6:7:11": the next item's numbers; false: the end, or *wrong. */
static bool next_item(const char **at, uint64_t *numbers, unsigned n, bool *wrong)
{
    if (!**at)
        return false;
    for (unsigned i = 0; i < n; i++) {
        char *end;
        bool digit = **at >= '0' && **at <= '9';
        numbers[i] = digit ? strtoull(*at, &end, 10) : 0;
        if (!digit || *end != (i + 1 < n ? ':' : *end == ',' ? ',' : '\0')) {
            *wrong = true;
            return false;
        }
        *at = end + (*end != '\0');
    }
    return true;
}

/* A node that somebody hears is not lost: to go on without it would make two clusters of one. */
static gn_code all_are_silent(gn_cluster *c, const char *list, gn_error *err)
{
    uint64_t node;
    bool wrong = false;
    while (next_item(&list, &node, 1, &wrong)) {
        gn_error silent = {0};
        if (node != gn_net_self(c->world) && gn_rpc_ask(c->rpc, node, GN_METHOD_NUDGE, gn_bytes_of(NULL, 0),
                                                        gn_now_ns(c->world) + PING_NS, NULL, NULL, &silent) != GN_OK)
            continue;
        gn_error_set(err, GN_NOT_IN_STATE, "node %" PRIu64 " is not lost: node %" PRIu64 " hears it", node,
                     gn_net_self(c->world));
        return GN_NOT_IN_STATE;
    }
    return wrong ? gn_error_set(err, GN_INVALID_PARAMETER, "the list of lost nodes is malformed") : GN_OK;
}

/* It is as the operator's tool has seen it, and nobody leads it. */
static gn_code check_group(gn_cluster *c, const uint64_t seen[3], gn_error *err)
{
    gn_shard *shard = gn_group_hold(c, seen[0]);
    if (!shard)
        return gn_error_set(err, GN_NO_OBJECT, "node %" PRIu64 " has no replica of group %" PRIu64,
                            gn_net_self(c->world), seen[0]);
    gn_install_progress install;
    gn_raft_status *s = gn_xcalloc(1, sizeof *s);
    gn_raft_status_get(gn_shard_raft_group(shard), s);
    gn_shard_install_progress(shard, &install);
    gn_code code = GN_OK;
    if (s->leads && s->can_read)
        code =
            gn_error_set(err, GN_NOT_IN_STATE, "group %" PRIu64 " has a leader: nothing is to be recovered", seen[0]);
    else if (s->stopped || install.running)
        code = gn_error_set(err, GN_NOT_IN_STATE, "node %" PRIu64 "'s replica of group %" PRIu64 " is not whole",
                            gn_net_self(c->world), seen[0]);
    else if (s->last_term != seen[1] || s->last_index != seen[2])
        code = gn_error_set(err, GN_NOT_IN_STATE, "group %" PRIu64 " has changed meanwhile: run it again", seen[0]);
    free(s);
    gn_group_release(c, shard);
    return code;
}

static gn_code take_groups(gn_cluster *c, const char *list, gn_recovery *r, gn_error *err)
{
    uint64_t seen[3];
    bool wrong = false;
    gn_code code = GN_OK;
    while (code == GN_OK && next_item(&list, seen, 3, &wrong)) {
        code = check_group(c, seen, err);
        r->groups = gn_xrealloc(r->groups, (r->n + 1) * sizeof *r->groups);
        r->groups[r->n++] = seen[0];
    }
    return wrong ? gn_error_set(err, GN_INVALID_PARAMETER, "the list of groups is malformed") : code;
}

static gn_code note(gn_admin_job *job, gn_error *err)
{
    gn_cluster *c = job->cluster;
    const gn_admin_request *q = job->request;
    gn_recovery r = {0};
    memcpy(r.from, c->identity.cluster, sizeof r.from);
    memcpy(r.to, q->args[1], sizeof r.to);
    gn_code code = gn_admin_number(job, 3, "an SCN", &r.above, err);
    if (code == GN_OK && r.above > MOST_SCN)
        code = gn_error_set(err, GN_INVALID_PARAMETER, "%" PRIu64 " is no SCN of our time", r.above);
    r.above += UNAPPLIED_SCNS;
    if (code == GN_OK)
        code = all_are_silent(c, q->args[2], err);
    for (unsigned i = FIRST_LIST; i < q->n_args && code == GN_OK; i++)
        code = take_groups(c, q->args[i], &r, err);
    if (code == GN_OK)
        code = gn_recovery_note(c->data_dir, &r, err);
    if (code == GN_OK)
        gn_log_warn("cluster", "an operator gives nodes up for lost", GN_KV_STR("nodes", q->args[2]),
                    GN_KV_U64("groups that go on from here", r.n));
    free(r.groups);
    return code;
}

static gn_code start_again(gn_admin_job *job, gn_error *err)
{
    const gn_admin_host *host = &job->cluster->admin;
    if (!host->restart)
        return gn_error_set(err, GN_FEATURE, "this program cannot start itself again: stop and start it");
    host->restart(host->ctx);
    return GN_OK;
}

gn_code gn_admin_recover(gn_admin_job *job, gn_error *err)
{
    const gn_admin_request *q = job->request;
    bool notes = strcmp(q->args[0], "note") == 0, starts = strcmp(q->args[0], "start") == 0;
    bool finishes = strcmp(q->args[0], "finish") == 0;
    gn_redefined tables = {0};
    if ((!notes && !starts && !finishes) || !gn_cluster_id_is_valid(q->args[1]) || (notes && q->n_args < FIRST_LIST))
        return gn_error_set(err, GN_INVALID_PARAMETER,
                            "it is note CLUSTER NODES SCN [GROUPS...], or start or finish CLUSTER");
    gn_code code = notes      ? note(job, err)
                   : finishes ? gn_recovery_redefine(job->cluster, &tables, err)
                              : start_again(job, err);
    if (code != GN_OK)
        return code;
    gn_jw_open(job->json, NULL, '{');
    gn_jw_u64(job->json, "node", gn_net_self(job->cluster->world));
    gn_jw_str(job->json, "done", q->args[0]);
    if (finishes) {
        gn_jw_u64(job->json, "tables_redefined", tables.redefined);
        gn_jw_u64(job->json, "tables_dropped", tables.dropped);
        gn_jw_u64(job->json, "tables_lost", tables.lost);
    }
    gn_jw_close(job->json, '}');
    return GN_OK;
}
