/* Opening and closing a database: the Raft host with its log, then the shard on top. The memory limit is divided here:
 * caches get their part, the rest is for indexes, transactions and statements, all charged to one account. */
#include "base/assert.h"
#include "base/log.h"
#include "coord/db_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { GROUP_ID = 1 };
static const uint64_t DEFAULT_MEMORY = 512ull << 20;
static const uint64_t MB = 1ull << 20;

static uint64_t clamp(uint64_t v, uint64_t lo, uint64_t hi)
{
    return v < lo ? lo : v > hi ? hi : v;
}

/* Once, from whichever thread met it first. */
static void log_failed(void *ctx, gn_code code, const char *message)
{
    gn_db *db = ctx;
    db->failed = true;
    gn_log_error("coord", "the log's disk has failed", GN_KV_STR("code", gn_code_name(code)),
                 GN_KV_STR("error", message));
    if (db->on_failure)
        db->on_failure(db->failure_ctx, code, message);
}

static gn_code make_directory(const char *path, gn_error *err)
{
    if (mkdir(path, 0700) == 0 || errno == EEXIST)
        return GN_OK;
    return gn_error_errno(err, GN_IO, errno, "could not create directory \"%s\"", path);
}

static gn_code open_parts(gn_db *db, const gn_db_options *options, gn_error *err)
{
    char log_dir[4096], shard_dir[4096];
    uint64_t memory = db->account.limit;
    gn_raft_member self = {.id = gn_net_self(db->world), .role = GN_RAFT_VOTER};
    if ((size_t)snprintf(log_dir, sizeof log_dir, "%s/raft", options->data_dir) >= sizeof log_dir ||
        (size_t)snprintf(shard_dir, sizeof shard_dir, "%s/shard", options->data_dir) >= sizeof shard_dir)
        return gn_error_set(err, GN_CONFIGURATION, "the data directory's name is too long");
    gn_raft_options raft = {.log_dir = log_dir, .failed = log_failed, .failed_ctx = db};
    gn_shard_options shard = {.dir = shard_dir,
                              .group_id = GROUP_ID,
                              .members = &self,
                              .n_members = 1,
                              .retention_ms = options->retention_ms,
                              .block_cache_bytes = clamp(memory / 8, 4 * MB, 1024 * MB),
                              .memtable_bytes = clamp(memory / 16, 4 * MB, 128 * MB),
                              .account = &db->account};
    gn_code code = make_directory(options->data_dir, err);
    if (code == GN_OK)
        code = gn_raft_host_open(db->world, &raft, &db->host, err);
    if (code == GN_OK)
        code = gn_shard_open(db->world, db->host, &shard, &db->shard, err);
    return code;
}

gn_code gn_db_open(gn_world *world, const gn_db_options *options, gn_db **out, gn_error *err)
{
    gn_db *db = gn_xcalloc(1, sizeof *db);
    uint64_t memory = options->memory_limit_bytes ? options->memory_limit_bytes : DEFAULT_MEMORY;
    db->world = world;
    db->started_us = gn_wall_us(world);
    db->on_failure = options->failed;
    db->failure_ctx = options->failed_ctx;
    gn_account_init(&db->account, NULL, "memory_limit_mb", memory);
    db->statement_memory = options->statement_memory_bytes ? options->statement_memory_bytes : memory / 4;
    db->timers = gn_queue_create(world, "session timers");
    gn_code code = open_parts(db, options, err);
    if (code != GN_OK) {
        gn_db_close(db, false);
        return code;
    }
    *out = db;
    return GN_OK;
}

void gn_db_close(gn_db *db, bool clean)
{
    if (!db)
        return;
    GN_ASSERT(db->open_sessions == 0);
    if (db->shard)
        gn_shard_close(db->shard, clean);
    if (db->host)
        gn_raft_host_close(db->host);
    gn_queue_destroy(db->timers);
    gn_account_close(&db->account);
    free(db);
}

bool gn_db_ready(gn_db *db)
{
    gn_raft_status status;
    if (db->failed)
        return false;
    gn_raft_status_get(gn_shard_raft_group(db->shard), &status);
    return status.can_read && !status.stopped;
}

gn_account *gn_db_account(gn_db *db)
{
    return &db->account;
}
