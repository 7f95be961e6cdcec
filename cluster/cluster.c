/* Opening and closing a node's part of the database: the Raft host with its log, then the groups on top. */
#include "base/log.h"
#include "cluster/balance_private.h"
#include "cluster/catch_up_private.h"
#include "cluster/merges_private.h"
#include "cluster/parts_private.h"
#include "cluster/pool_private.h"
#include "cluster/recover.h"
#include "index/vector_index.h"
#include "shard/txn.h"

#include <stdio.h>
#include <stdlib.h>

enum { SCATTER_STRANDS = 256 };

/* Once, from whichever thread met it first. */
static void log_failed(void *ctx, gn_code code, const char *message)
{
    gn_cluster *c = ctx;
    c->failed = true;
    gn_log_error("cluster", "the log's disk has failed", GN_KV_STR("code", gn_code_name(code)),
                 GN_KV_STR("error", message));
    if (c->on_failure)
        c->on_failure(c->failure_ctx, code, message);
}

/* Its heartbeats have not come for so long that its group looks for another: whoever waits for an answer of it should
 * not wait much longer. */
static void leader_silent(void *ctx, gn_node_id node)
{
    gn_cluster *c = ctx;
    pthread_mutex_lock(&c->lock);
    if (!c->stopping)
        gn_rpc_suspect(c->rpc, node);
    pthread_mutex_unlock(&c->lock);
}

static gn_code start_strands(gn_cluster *c, gn_error *err)
{
    c->scatter = gn_pool_create(c->world, "scatter", SCATTER_STRANDS, 0);
    c->parts = gn_parts_start(c);
    c->resolver = c->parts ? gn_resolver_start(c) : NULL;
    c->starting = false;
    return c->resolver && gn_warden_start(c->warden)
               ? GN_OK
               : gn_error_set(err, GN_RESOURCES, "could not start the cluster's threads");
}

static gn_code open_parts(gn_cluster *c, gn_error *err)
{
    char log_dir[4096];
    if ((size_t)snprintf(log_dir, sizeof log_dir, "%s/raft", c->data_dir) >= sizeof log_dir)
        return gn_error_set(err, GN_CONFIGURATION, "the data directory's name is too long");
    gn_raft_options raft = {.log_dir = log_dir,
                            .failed = log_failed,
                            .failed_ctx = c,
                            .silent = leader_silent,
                            .silent_ctx = c,
                            .versions = c->can};
    gn_code code = gn_make_directory(c->data_dir, err);
    gn_nodes_recall_peers(c);
    bool postponed;
    gn_scn floor = 0;
    c->clocked = !c->identity.founder || gn_clock_is_used(c);
    if (code == GN_OK)
        code = gn_raft_host_open(c->world, &raft, &c->host, err);
    if (code == GN_OK)
        code = gn_groups_open_meta(c, err);
    if (code == GN_OK && !(c->clock = gn_clock_create(c->world, c->meta, c->rpc)))
        code = gn_error_set(err, GN_RESOURCES, "could not start the clock's thread");
    if (code == GN_OK)
        code = gn_recovery_floor(c->data_dir, &floor, err);
    if (code == GN_OK)
        gn_clock_raise(c->clock, floor);
    if (code == GN_OK)
        code = gn_meta_bootstrap(c, err);
    if (code == GN_OK)
        code = gn_meta_refresh(c, true, err);
    if (code == GN_OK)
        code = gn_versions_follow(c, err);
    if (code == GN_OK)
        code = gn_versions_raise_alone(c, err);
    if (code == GN_OK)
        code = gn_groups_open_left(c, err);
    if (code == GN_OK)
        code = gn_groups_open_placed(c, &postponed, err); /* the warden looks again */
    if (code == GN_OK)
        code = start_strands(c, err);
    if (code != GN_OK)
        return code;
    gn_groups_serve(c);
    gn_catch_up_serve(c);
    gn_nodes_serve(c);
    gn_balance_serve(c);
    gn_loads_serve(c);
    gn_merges_serve(c);
    gn_versions_serve(c);
    gn_admin_serve(c);
    gn_resolver_serve(c);
    for (size_t i = 0; i < c->n_groups; i++)
        gn_shard_tell_unresolved(c->groups[i].shard);
    return GN_OK;
}

gn_code gn_cluster_open(gn_world *world, const gn_cluster_options *options, gn_cluster **out, gn_error *err)
{
    gn_cluster *c = gn_xcalloc(1, sizeof *c);
    c->world = world;
    c->account = options->account;
    c->data_dir = gn_xstrdup(options->data_dir);
    c->address = gn_xstrdup(options->address ? options->address : "");
    c->zone = gn_xstrdup(options->zone ? options->zone : "");
    c->identity = options->identity ? *options->identity : gn_identity_found(world);
    c->peer = options->peer;
    c->peer_ctx = options->peer_ctx;
    c->replica = (gn_shard_options){.retention_ms = options->retention_ms,
                                    .snapshot_bytes_per_second = options->copy_bytes_per_second,
                                    .block_cache_bytes = options->block_cache_bytes,
                                    .memtable_bytes = options->memtable_bytes,
                                    .account = options->account};
    c->on_failure = options->failed;
    c->failure_ctx = options->failed_ctx;
    c->admin = options->host;
    c->split_bytes = options->split_bytes;
    c->split_rate = options->split_rate;
    c->hedge_percent = options->hedge_percent;
    c->merge_bytes = options->merge_bytes;
    c->merge_calm_ns = UINT64_C(60000000000);
    c->merge_most = (uint64_t)256 << 20;
    c->can = gn_version_range_or_own(options->versions);
    c->opened_ns = gn_now_ns(world);
    c->starting = true;
    c->warden = gn_warden_create(c);
    c->rpc = gn_rpc_create(world, 0);
    gn_gate_init(&c->ddl_gate, world);
    gn_gate_init(&c->open_gate, world);
    gn_gate_init(&c->clock_gate, world);
    pthread_mutex_init(&c->lock, NULL);
    gn_code code = open_parts(c, err);
    if (code != GN_OK) {
        gn_cluster_close(c, false);
        return code;
    }
    *out = c;
    return GN_OK;
}

/* First nobody begins anything more, then what is under way ends, then there is nobody left to serve. */
void gn_cluster_close(gn_cluster *c, bool clean)
{
    if (!c)
        return;
    pthread_mutex_lock(&c->lock);
    c->stopping = true;
    pthread_mutex_unlock(&c->lock);
    gn_rpc_stop(c->rpc);
    gn_warden_stop(c->warden);
    gn_parts_stop(c->parts);
    gn_resolver_stop(c->resolver);
    gn_clock_stop(c->clock);
    for (size_t i = 0; i < c->n_groups; i++) /* they fetch through it */
        gn_shard_stop_installs(c->groups[i].shard);
    gn_rpc_destroy(c->rpc);
    gn_pool_destroy(c->scatter);
    c->rpc = NULL;
    gn_parts_free(c->parts);
    gn_groups_close(c, clean);
    gn_resolver_free(c->resolver);
    gn_warden_free(c->warden);
    gn_clock_destroy(c->clock);
    if (c->host)
        gn_raft_host_close(c->host);
    gn_placement_release(c->placement);
    gn_gate_close(&c->ddl_gate);
    gn_gate_close(&c->open_gate);
    gn_gate_close(&c->clock_gate);
    pthread_mutex_destroy(&c->lock);
    free(c->peers);
    free(c->data_dir);
    free(c->address);
    free(c->zone);
    free(c);
}

/* Every replica that this node should have knows a leader. */
bool gn_cluster_ready(gn_cluster *c)
{
    gn_local_group *groups;
    gn_placement *p = gn_meta_placement(c);
    size_t n = gn_group_list(c, &groups);
    bool ready = !c->failed;
    gn_raft_status *s = gn_xcalloc(1, sizeof *s);
    for (size_t i = 0; i < n && ready; i++) {
        const gn_group_place *row = gn_placement_group(p, groups[i].id);
        if (groups[i].id != GN_META_GROUP && (!row || !gn_group_has_member(row, gn_net_self(c->world))))
            continue;
        gn_raft_status_get(gn_shard_raft_group(groups[i].shard), s);
        ready = (s->can_read || (s->leader && !s->leads)) && !s->stopped;
    }
    free(s);
    gn_group_list_free(c, groups, n);
    gn_placement_release(p);
    return ready;
}

bool gn_cluster_is_at(const gn_cluster *c, uint32_t version)
{
    return c->at >= version;
}

/* ---- what is not transactional ---- */

gn_code gn_cluster_new_ids(gn_cluster *c, uint64_t n, uint64_t *first, gn_error *err)
{
    return gn_shard_new_ids(c->meta, n, first, err);
}

gn_code gn_cluster_sequence_next(gn_cluster *c, uint64_t sequence_id, int64_t start, uint32_t n, int64_t *first,
                                 gn_error *err)
{
    return gn_shard_sequence_next(c->meta, sequence_id, start, n, first, err);
}

gn_code gn_cluster_sequence_raise(gn_cluster *c, uint64_t sequence_id, int64_t value, gn_error *err)
{
    return gn_shard_sequence_raise(c->meta, sequence_id, value, err);
}

void gn_cluster_table_stats(gn_cluster *c, const gn_table_desc *table, gn_table_stats *out)
{
    *out = (gn_table_stats){0};
    gn_placement *p = gn_meta_placement(c);
    const gn_distribution *d = gn_placement_distribution(p, table->distribution_id);
    if (!d)
        gn_shard_table_stats(c->meta, table->id, out);
    for (uint32_t i = 0; d && i < d->n; i++) {
        gn_shard *shard = gn_group_hold(c, p->groups[d->first + i].id);
        gn_table_stats one = {0};
        if (shard)
            gn_shard_table_stats(shard, table->id, &one);
        gn_group_release(c, shard);
        out->rows_estimate += one.rows_estimate;
        out->bytes_estimate += one.bytes_estimate;
    }
    gn_placement_release(p);
}

static void add_vindex(gn_vindex_stats *sum, const gn_vindex_stats *one, uint64_t *largest)
{
    /* A group of which nothing is known counts as the others. */
    float recall = sum->recall > 0 ? sum->recall : one->recall;
    double both = (double)sum->vectors + (double)one->vectors;
    if (sum->recall > 0 && one->recall > 0 && both > 0)
        recall =
            (float)(((double)sum->recall * (double)sum->vectors + (double)one->recall * (double)one->vectors) / both);
    sum->vectors += one->vectors;
    sum->tail_vectors += one->tail_vectors;
    sum->dead_vectors += one->dead_vectors;
    sum->segments += one->segments;
    sum->memory_bytes += one->memory_bytes;
    sum->disk_bytes += one->disk_bytes;
    sum->building = sum->building || one->building;
    sum->build_done += one->build_done;
    sum->build_total += one->build_total;
    sum->code_bytes += one->code_bytes;
    sum->link_bytes += one->link_bytes;
    sum->vector_bytes += one->vector_bytes;
    sum->other_bytes += one->other_bytes;
    sum->recall = recall;
    if (one->vectors - one->tail_vectors >= *largest) {
        *largest = one->vectors - one->tail_vectors;
        sum->codes = one->codes;
    }
}

void gn_cluster_vindex_stats(gn_cluster *c, const gn_table_desc *table, uint64_t index_id, gn_vindex_stats *out,
                             gn_vindex_presence *where)
{
    gn_placement *p = gn_meta_placement(c);
    const gn_distribution *d = gn_placement_distribution(p, table->distribution_id);
    uint64_t largest = 0;
    *out = (gn_vindex_stats){0};
    *where = (gn_vindex_presence){.groups = d ? d->n : 1};
    for (uint32_t i = 0; i < where->groups; i++) {
        gn_shard *shard = d ? gn_group_hold(c, p->groups[d->first + i].id) : c->meta;
        gn_vindex_stats one;
        bool live = false;
        where->groups_here += shard != NULL;
        if (shard && gn_shard_vindex_stats(shard, index_id, &one, &live) == GN_OK) { /* else it has not heard of it */
            where->groups_live += live;
            add_vindex(out, &one, &largest);
        }
        if (d)
            gn_group_release(c, shard);
    }
    gn_placement_release(p);
}

/* A replica may hear of the index after the client: it applies what its leader has. */
static gn_code build_there(gn_cluster *c, gn_shard *shard, uint64_t index_id,
                           void (*progress)(void *, uint64_t, uint64_t), void *ctx, const _Atomic bool *cancel,
                           gn_error *err)
{
    enum { PAUSE_NS = 5000000 };
    uint64_t until = gn_now_ns(c->world) + 10000000000u;
    gn_code code;
    while ((code = gn_shard_vindex_build(shard, index_id, progress, ctx, cancel, err)) == GN_NO_OBJECT) {
        if (cancel && *cancel)
            return gn_error_set(err, GN_CANCELED, "%s", gn_code_text(GN_CANCELED));
        if (c->stopping || gn_now_ns(c->world) >= until)
            return gn_error_set(err, GN_TIMEOUT, "a replica has not heard of it yet");
        gn_event never;
        gn_event_init(&never, c->world);
        gn_event_wait(&never, gn_now_ns(c->world) + PAUSE_NS);
    }
    return code;
}

gn_code gn_cluster_vindex_build(gn_cluster *c, uint64_t distribution_id, uint64_t index_id,
                                void (*progress)(void *, uint64_t, uint64_t), void *ctx, const _Atomic bool *cancel,
                                gn_error *err)
{
    gn_local_group *groups;
    gn_placement *p = gn_meta_placement(c);
    size_t n = gn_group_list(c, &groups);
    gn_code code = GN_OK;
    for (size_t i = 0; i < n && code == GN_OK; i++) {
        const gn_group_place *row = gn_placement_group(p, groups[i].id);
        uint64_t distribution = groups[i].id == GN_META_GROUP || !row ? 0 : row->distribution_id;
        bool asked = distribution_id ? distribution == distribution_id : groups[i].id == GN_META_GROUP;
        bool member = groups[i].id == GN_META_GROUP || (row && gn_group_has_member(row, gn_net_self(c->world)));
        if (asked && member)
            code = build_there(c, groups[i].shard, index_id, progress, ctx, cancel, err);
    }
    gn_group_list_free(c, groups, n);
    gn_placement_release(p);
    return code;
}

gn_code gn_cluster_compact(gn_cluster *c, gn_error *err)
{
    gn_local_group *groups;
    size_t n = gn_group_list(c, &groups);
    gn_code code = GN_OK;
    for (size_t i = 0; i < n && code == GN_OK; i++)
        code = gn_shard_compact(groups[i].shard, err);
    gn_group_list_free(c, groups, n);
    return code;
}
