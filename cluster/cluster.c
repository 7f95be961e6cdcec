/* Opening and closing a node's part of the database: the Raft host with its log, then the groups on top. */
#include "base/log.h"
#include "cluster/cluster_private.h"
#include "shard/txn.h"

#include <stdio.h>
#include <stdlib.h>

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

static gn_code open_parts(gn_cluster *c, gn_error *err)
{
    char log_dir[4096];
    if ((size_t)snprintf(log_dir, sizeof log_dir, "%s/raft", c->data_dir) >= sizeof log_dir)
        return gn_error_set(err, GN_CONFIGURATION, "the data directory's name is too long");
    gn_raft_options raft = {.log_dir = log_dir, .failed = log_failed, .failed_ctx = c};
    gn_code code = gn_make_directory(c->data_dir, err);
    if (code == GN_OK)
        code = gn_raft_host_open(c->world, &raft, &c->host, err);
    if (code == GN_OK)
        code = gn_groups_open(c, err);
    if (code == GN_OK)
        code = gn_meta_bootstrap(c, err);
    if (code == GN_OK && !(c->resolver = gn_resolver_start(c)))
        code = gn_error_set(err, GN_RESOURCES, "could not start the resolver's thread");
    for (size_t i = 0; code == GN_OK && i < c->n_groups; i++)
        gn_shard_tell_unresolved(c->groups[i].shard);
    return code;
}

gn_code gn_cluster_open(gn_world *world, const gn_cluster_options *options, gn_cluster **out, gn_error *err)
{
    gn_cluster *c = gn_xcalloc(1, sizeof *c);
    c->world = world;
    gn_clock_init(&c->clock, world);
    c->account = options->account;
    c->data_dir = gn_xstrdup(options->data_dir);
    c->replica = (gn_shard_options){.retention_ms = options->retention_ms,
                                    .block_cache_bytes = options->block_cache_bytes,
                                    .memtable_bytes = options->memtable_bytes,
                                    .account = options->account};
    c->on_failure = options->failed;
    c->failure_ctx = options->failed_ctx;
    pthread_mutex_init(&c->ddl_lock, NULL);
    pthread_mutex_init(&c->lock, NULL);
    gn_code code = open_parts(c, err);
    if (code != GN_OK) {
        gn_cluster_close(c, false);
        return code;
    }
    *out = c;
    return GN_OK;
}

void gn_cluster_close(gn_cluster *c, bool clean)
{
    if (!c)
        return;
    gn_resolver_stop(c->resolver);
    c->resolver = NULL;
    gn_groups_close(c, clean);
    if (c->host)
        gn_raft_host_close(c->host);
    gn_placement_release(c->placement);
    pthread_mutex_destroy(&c->ddl_lock);
    pthread_mutex_destroy(&c->lock);
    free(c->data_dir);
    free(c);
}

bool gn_cluster_ready(gn_cluster *c)
{
    bool ready = !c->failed;
    pthread_mutex_lock(&c->lock);
    for (size_t i = 0; i < c->n_groups && ready; i++) {
        gn_raft_status status;
        gn_raft_status_get(gn_shard_raft_group(c->groups[i].shard), &status);
        ready = status.can_read && !status.stopped;
    }
    pthread_mutex_unlock(&c->lock);
    return ready;
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
        gn_shard *shard = gn_group_replica(c, p->groups[d->first + i].id);
        gn_table_stats one = {0};
        if (shard)
            gn_shard_table_stats(shard, table->id, &one);
        out->rows_estimate += one.rows_estimate;
        out->bytes_estimate += one.bytes_estimate;
    }
    gn_placement_release(p);
}

/* A copy of the registry: replicas are closed only with the cluster. */
static size_t replicas(gn_cluster *c, gn_local_group **out)
{
    pthread_mutex_lock(&c->lock);
    size_t n = c->n_groups;
    *out = gn_xcalloc(n, sizeof **out);
    memcpy(*out, c->groups, n * sizeof **out);
    pthread_mutex_unlock(&c->lock);
    return n;
}

gn_code gn_cluster_vindex_build(gn_cluster *c, uint64_t index_id, void (*progress)(void *, uint64_t, uint64_t),
                                void *ctx, const _Atomic bool *cancel, gn_error *err)
{
    gn_local_group *groups;
    size_t n = replicas(c, &groups);
    gn_code code = GN_OK;
    for (size_t i = 0; i < n && code == GN_OK; i++) {
        code = gn_shard_vindex_build(groups[i].shard, index_id, progress, ctx, cancel, err);
        if (code == GN_NO_OBJECT) /* another table's group */
            code = GN_OK;
    }
    free(groups);
    return code;
}

gn_code gn_cluster_compact(gn_cluster *c, gn_error *err)
{
    gn_local_group *groups;
    size_t n = replicas(c, &groups);
    gn_code code = GN_OK;
    for (size_t i = 0; i < n && code == GN_OK; i++)
        code = gn_shard_compact(groups[i].shard, err);
    free(groups);
    return code;
}
