/* Opening and closing a node's part of the database: the Raft host with its log, then the groups on top. */
#include "base/log.h"
#include "cluster/cluster_private.h"
#include "shard/txn.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

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

static gn_code make_directory(const char *path, gn_error *err)
{
    if (mkdir(path, 0700) == 0 || errno == EEXIST)
        return GN_OK;
    return gn_error_errno(err, GN_IO, errno, "could not create directory \"%s\"", path);
}

static gn_code open_parts(gn_cluster *c, const gn_cluster_options *o, gn_error *err)
{
    char log_dir[4096], shard_dir[4096];
    gn_raft_member self = {.id = gn_net_self(c->world), .role = GN_RAFT_VOTER};
    if ((size_t)snprintf(log_dir, sizeof log_dir, "%s/raft", o->data_dir) >= sizeof log_dir ||
        (size_t)snprintf(shard_dir, sizeof shard_dir, "%s/shard", o->data_dir) >= sizeof shard_dir)
        return gn_error_set(err, GN_CONFIGURATION, "the data directory's name is too long");
    gn_raft_options raft = {.log_dir = log_dir, .failed = log_failed, .failed_ctx = c};
    gn_shard_options shard = {.dir = shard_dir,
                              .group_id = GN_META_GROUP,
                              .members = &self,
                              .n_members = 1,
                              .retention_ms = o->retention_ms,
                              .block_cache_bytes = o->block_cache_bytes,
                              .memtable_bytes = o->memtable_bytes,
                              .account = o->account};
    gn_code code = make_directory(o->data_dir, err);
    if (code == GN_OK)
        code = gn_raft_host_open(c->world, &raft, &c->host, err);
    if (code == GN_OK)
        code = gn_shard_open(c->world, c->host, &shard, &c->meta, err);
    return code;
}

gn_code gn_cluster_open(gn_world *world, const gn_cluster_options *options, gn_cluster **out, gn_error *err)
{
    gn_cluster *c = gn_xcalloc(1, sizeof *c);
    c->world = world;
    c->account = options->account;
    c->on_failure = options->failed;
    c->failure_ctx = options->failed_ctx;
    gn_code code = open_parts(c, options, err);
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
    if (c->meta)
        gn_shard_close(c->meta, clean);
    if (c->host)
        gn_raft_host_close(c->host);
    free(c);
}

bool gn_cluster_ready(gn_cluster *c)
{
    gn_raft_status status;
    if (c->failed)
        return false;
    gn_raft_status_get(gn_shard_raft_group(c->meta), &status);
    return status.can_read && !status.stopped;
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
    gn_shard_table_stats(c->meta, table->id, out);
}

gn_code gn_cluster_vindex_build(gn_cluster *c, uint64_t index_id, void (*progress)(void *, uint64_t, uint64_t),
                                void *ctx, const _Atomic bool *cancel, gn_error *err)
{
    return gn_shard_vindex_build(c->meta, index_id, progress, ctx, cancel, err);
}

gn_code gn_cluster_compact(gn_cluster *c, gn_error *err)
{
    return gn_shard_compact(c->meta, err);
}
