/* The strand that keeps a replica's house: flushes, snapshots, garbage. */
#include "shard/shard_private.h"
#include "shard/slots_private.h"
#include "shard/vector_feed_private.h"

enum {
    TICK_MS = 1000,
    IDLE_FLUSH_TICKS = 300, /* so long may little data stay in memory: what a crash would apply again */
    GC_TICKS = 10,
    SWEEP_AT_LEAST = 10000,
    SWEEP_PAUSE_MS = 60000,
    FEED_LAG_MS = 60000,
    CLEAN_PAUSE_MS = 5,
};

/* What was applied before the flush began is durable when it has returned. */
static gn_code flush(gn_shard *shard, gn_error *err)
{
    gn_store *store = gn_shard_store(shard);
    pthread_mutex_lock(&shard->view_lock);
    uint64_t index = shard->applied_index;
    pthread_mutex_unlock(&shard->view_lock);
    uint64_t bytes = shard->unflushed_bytes;
    uint64_t start = gn_now_ns(shard->world);
    gn_code code = gn_store_flush(store, err);
    gn_store_release(store);
    if (code != GN_OK)
        return code;
    shard->unflushed_bytes -= bytes;
    shard->durable_index = index;
    gn_counter_add(shard->metrics.flushes, 1);
    gn_histogram_observe(shard->metrics.flush_seconds, (double)(gn_now_ns(shard->world) - start) / 1e9);
    return GN_OK;
}

static uint64_t live_rows(gn_shard *shard)
{
    int64_t rows = 0;
    pthread_mutex_lock(&shard->view_lock);
    for (size_t i = 0; i < shard->tables.n; i++)
        rows += shard->tables.items[i]->public_rows;
    pthread_mutex_unlock(&shard->view_lock);
    return rows > 0 ? (uint64_t)rows : 0;
}

static gn_code collect(gn_shard *shard, uint64_t *swept_at, gn_error *err)
{
    gn_code code = gn_gc_change_log(shard, FEED_LAG_MS + shard->retention_ms / 4, err);
    if (code == GN_OK && shard->garbage_waits) {
        bool more;
        shard->garbage_waits = false;
        code = gn_gc_garbage(shard, &more, err);
        if (more)
            shard->garbage_waits = true;
    }
    /* Most tombstones are younger than the retention; a fraction of it later some are not. */
    uint64_t now = gn_now_ns(shard->world), pause = (shard->retention_ms / 4 + SWEEP_PAUSE_MS) * 1000000;
    if (code != GN_OK || now - *swept_at < pause)
        return code;
    *swept_at = now;
    if (shard->dead_versions > SWEEP_AT_LEAST + live_rows(shard) / 5)
        return gn_gc_sweep(shard, err);
    gn_scn horizon = gn_gc_horizon(shard); /* what the store's compactions go by until the next time */
    if (gn_feeds_durable(shard->feeds) < UINT64_MAX)
        gn_feeds_horizon(shard->feeds, horizon);
    return GN_OK;
}

static void measure(gn_shard *shard)
{
    uint64_t open = 0, bytes = 0;
    pthread_mutex_lock(&shard->view_lock);
    for (const gn_reader_mark *m = shard->readers.next; m != &shard->readers; m = m->next)
        open++;
    pthread_mutex_unlock(&shard->view_lock);
    gn_gauge_set(shard->metrics.open_transactions, (double)open);
    gn_gauge_set(shard->metrics.prepared, (double)shard->prepared.n);
    gn_gauge_set(shard->metrics.unflushed_bytes, (double)shard->unflushed_bytes);
    gn_store *store = gn_shard_store(shard);
    if (rocksdb_property_int(store->db, "rocksdb.total-sst-files-size", &bytes) == 0)
        gn_gauge_set(shard->metrics.store_bytes, (double)bytes);
    if (rocksdb_property_int(store->db, "rocksdb.size-all-mem-tables", &bytes) == 0)
        gn_gauge_set(shard->metrics.memtable_bytes, (double)bytes);
    gn_store_release(store);
}

static void keep(void *arg)
{
    gn_shard *shard = arg;
    uint64_t ticks = 0, flushed_at = 0, swept_at = gn_now_ns(shard->world);
    uint64_t next = gn_now_ns(shard->world);
    bool cleaning = true;
    while (!shard->stopping) {
        gn_error err = {0};
        gn_code code = GN_OK;
        if (shard->unflushed_bytes > shard->memtable_bytes / 4 * 3 ||
            (shard->unflushed_bytes > 0 && ticks - flushed_at > IDLE_FLUSH_TICKS)) {
            code = flush(shard, &err);
            flushed_at = ticks;
        }
        if (code == GN_OK && shard->snapshot_wanted)
            gn_snapshot_answer(shard);
        if (code == GN_OK && shard->files_wanted)
            gn_snapshot_keep(shard);
        uint64_t now = gn_now_ns(shard->world);
        if (code == GN_OK && cleaning)
            code = gn_slots_clean(shard, &cleaning, &err);
        if (code == GN_OK && now >= next) {
            next = now + TICK_MS * 1000000ull;
            measure(shard);
            gn_prepared_tell_overdue(&shard->prepared);
            cleaning = true;
            if (++ticks % GC_TICKS == 0) {
                code = collect(shard, &swept_at, &err);
                gn_snapshot_keep(shard);
            }
        }
        if (code != GN_OK)
            gn_shard_fail(shard, code, &err);
        if (gn_shard_failed(shard) != GN_OK)
            next = now + TICK_MS * 1000000ull;
        gn_wakeup_wait(&shard->keeper_wakeup, cleaning ? now + CLEAN_PAUSE_MS * 1000000ull : next);
    }
    pthread_mutex_lock(&shard->view_lock); /* whoever asks from here on is told that nobody answers */
    shard->keeper_gone = true;
    pthread_mutex_unlock(&shard->view_lock);
    if (shard->snapshot_wanted)
        gn_snapshot_answer(shard);
}

gn_code gn_keeper_start(gn_shard *shard, gn_error *err)
{
    shard->keeper = gn_strand_start(shard->world, "shard-keeper", keep, shard);
    return shard->keeper ? GN_OK : gn_error_set(err, GN_RESOURCES, "could not start a thread");
}

void gn_keeper_stop(gn_shard *shard)
{
    shard->stopping = true;
    gn_wakeup_post(&shard->keeper_wakeup);
    if (shard->keeper)
        gn_strand_join(shard->keeper);
    shard->keeper = NULL;
}
