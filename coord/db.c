/* Opening and closing a database. The memory limit is divided here:
 * caches get their part, the rest is for indexes, transactions and statements, all charged to one account. */
#include "base/assert.h"
#include "coord/db_private.h"

#include <stdlib.h>

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
    if (db->on_failure)
        db->on_failure(db->failure_ctx, code, message);
}

static gn_code open_cluster(gn_db *db, const gn_db_options *options, gn_error *err)
{
    uint64_t memory = db->account.limit;
    gn_cluster_options cluster = {.data_dir = options->data_dir,
                                  .retention_ms = options->retention_ms,
                                  .copy_bytes_per_second = options->copy_bytes_per_second,
                                  .split_bytes = options->split_bytes,
                                  .split_rate = options->split_rate,
                                  .merge_bytes = options->merge_bytes,
                                  .hedge_percent = options->hedge_percent,
                                  .block_cache_bytes = clamp(memory / 8, 4 * MB, 1024 * MB),
                                  .memtable_bytes = clamp(memory / 16, 4 * MB, 128 * MB),
                                  .account = &db->account,
                                  .identity = options->identity,
                                  .address = options->address,
                                  .zone = options->zone,
                                  .peer = options->peer,
                                  .peer_ctx = options->peer_ctx,
                                  .failed = log_failed,
                                  .failed_ctx = db,
                                  .host = options->host};
    return gn_cluster_open(db->world, &cluster, &db->cluster, err);
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
    gn_code code = open_cluster(db, options, err);
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
    gn_cluster_close(db->cluster, clean);
    gn_queue_destroy(db->timers);
    gn_account_close(&db->account);
    free(db);
}

bool gn_db_ready(gn_db *db)
{
    return gn_cluster_ready(db->cluster);
}

gn_account *gn_db_account(gn_db *db)
{
    return &db->account;
}
