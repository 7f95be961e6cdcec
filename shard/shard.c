/* Opening, closing, and what ties the parts together. */
#include "base/assert.h"
#include "shard/apply_private.h"
#include "shard/asked_private.h"
#include "shard/files_private.h"
#include "shard/slots_private.h"
#include "shard/snapshot_private.h"
#include "shard/vector_feed_private.h"

#include <stdio.h>
#include <stdlib.h>

enum { DEFAULT_RETENTION_MS = 3600 * 1000, DEFAULT_CACHE_BYTES = 32 << 20, DEFAULT_MEMTABLE_BYTES = 32 << 20 };
enum { DEFAULT_UNRESOLVED_MS = 500 };

/* ---- what Raft calls, on the host's queue ---- */

/* Only one batch of a group is out at a time, so the shard has room for it. */
static void run_apply(gn_task *task)
{
    gn_shard *shard = GN_CONTAINER(task, gn_shard, apply_task);
    gn_apply_batch(shard, shard->apply);
}

static void fsm_apply(void *ctx, gn_raft_apply *apply)
{
    gn_shard *shard = ctx;
    shard->apply = apply;
    shard->apply_task = (gn_task){.run = run_apply};
    gn_queue_post(shard->queue, &shard->apply_task);
}

static uint64_t fsm_durable_index(void *ctx)
{
    return ((gn_shard *)ctx)->durable_index;
}

static void fsm_snapshot_take(void *ctx, gn_raft_group *group)
{
    gn_shard *shard = ctx;
    pthread_mutex_lock(&shard->view_lock);
    bool answers = !shard->keeper_gone;
    shard->snapshot_wanted |= answers;
    pthread_mutex_unlock(&shard->view_lock);
    if (answers)
        gn_wakeup_post(&shard->keeper_wakeup);
    else
        gn_raft_snapshot_taken(group, GN_SHUTDOWN, &(gn_raft_snapshot){0});
}

/* ---- failure ---- */

void gn_shard_fail(gn_shard *shard, gn_code code, const gn_error *err)
{
    int none = GN_OK;
    if (atomic_compare_exchange_strong(&shard->failed, &none, (int)code))
        gn_log_error("shard", "the replica has stopped", GN_KV_U64("group", shard->group_id),
                     GN_KV_STR("code", gn_code_name(code)),
                     GN_KV_STR("error", err && err->message[0] ? err->message : gn_code_text(code)));
}

gn_code gn_shard_failed(gn_shard *shard)
{
    return (gn_code)shard->failed;
}

gn_scn gn_shard_clock(gn_shard *shard)
{
    return gn_wall_us(shard->world) / 1000 << GN_SCN_COUNTER_BITS;
}

/* ---- state ---- */

gn_store *gn_shard_store(gn_shard *shard)
{
    pthread_mutex_lock(&shard->view_lock);
    gn_store *store = gn_store_retain(shard->store);
    pthread_mutex_unlock(&shard->view_lock);
    return store;
}

gn_store_options gn_shard_store_options(gn_shard *shard)
{
    return (gn_store_options){.block_cache_bytes = shard->block_cache_bytes,
                              .memtable_bytes = shard->memtable_bytes,
                              .horizon = gn_gc_published_horizon,
                              .horizon_ctx = shard};
}

typedef struct state {
    uint64_t applied_index;
    gn_scn last_scn, log_floor;
    gn_slots slots;
    gn_schema *schema;
    gn_table_states tables;
    gn_buf merge_at;
} state;

static gn_code read_meta(gn_store *store, uint8_t what, gn_buf *value, bool *found, gn_error *err)
{
    uint8_t key[GN_META_KEY_MAX];
    size_t len = gn_meta_key(key, what, NULL, 0);
    gn_buf_clear(value);
    return gn_store_get(store, gn_bytes_of(key, len), value, found, err);
}

static gn_code read_counters(gn_store *store, gn_table_states *tables, gn_error *err)
{
    const uint8_t lower[] = {GN_KIND_META, GN_META_COUNTERS}, upper[] = {GN_KIND_META, GN_META_COUNTERS + 1};
    gn_store_iter iter;
    gn_store_iter_open(&iter, store, gn_bytes_of(lower, 2), gn_bytes_of(upper, 2), false);
    gn_code code = GN_OK;
    rocksdb_iter_seek_to_first(iter.it);
    for (; code == GN_OK && gn_store_iter_valid(&iter); rocksdb_iter_next(iter.it)) {
        gn_bytes key = gn_store_iter_key(&iter), value = gn_store_iter_value(&iter);
        if (key.len != 10 || value.len != 33 || value.data[0] != 1) {
            code = gn_error_set(err, GN_CORRUPT, "the counters of a table are malformed");
            break;
        }
        gn_table_state *t = gn_table_states_get(tables, gn_get_be64(key.data + 2));
        t->epoch = gn_get_be64(value.data + 1);
        t->rows = t->public_rows = (int64_t)gn_get_be64(value.data + 9);
        t->bytes = t->public_bytes = (int64_t)gn_get_be64(value.data + 17);
        t->next_rowid = gn_get_be64(value.data + 25);
    }
    if (code == GN_OK)
        code = gn_store_iter_status(&iter, err);
    gn_store_iter_close(&iter);
    return code;
}

gn_code gn_shard_read_applied(gn_store *store, uint64_t *index, gn_scn *last_scn, gn_error *err)
{
    gn_buf value;
    gn_buf_init(&value, NULL, 64);
    bool found;
    gn_code code = read_meta(store, GN_META_STATE, &value, &found, err);
    if (code == GN_OK && found && (value.len != 17 || value.data[0] != 1))
        code = gn_error_set(err, GN_CORRUPT, "the shard's state record is malformed");
    if (code == GN_OK && found) {
        *index = gn_get_be64(value.data + 1);
        *last_scn = gn_get_be64(value.data + 9);
    }
    gn_buf_close(&value);
    return code;
}

static gn_code read_state(gn_store *store, state *out, gn_error *err)
{
    gn_buf value;
    gn_buf_init(&value, NULL, 64);
    bool found;
    gn_code code = gn_shard_read_applied(store, &out->applied_index, &out->last_scn, err);
    if (code == GN_OK)
        code = read_meta(store, GN_META_LOG_FLOOR, &value, &found, err);
    if (code == GN_OK && found && value.len == 8)
        out->log_floor = gn_get_be64(value.data);
    gn_buf_close(&value);
    gn_buf_init(&out->merge_at, NULL, GN_MERGE_CURSOR_MAX);
    if (code == GN_OK)
        code = read_meta(store, GN_META_MERGE, &out->merge_at, &found, err);
    const gn_chain newest = {.n = 1, .links = {{.branch = GN_BRANCH_MAIN, .scn = UINT64_MAX}}};
    if (code == GN_OK)
        code = read_counters(store, &out->tables, err);
    if (code == GN_OK)
        code = gn_slots_load(store, &out->slots, err);
    if (code == GN_OK)
        code = gn_schema_load(store, &newest, &out->schema, err);
    if (code == GN_OK) /* when the last table was dropped is not known: reads of the past look for themselves */
        out->schema->changed = out->last_scn;
    return code;
}

gn_code gn_shard_load_state(gn_shard *shard, gn_store *store, gn_error *err)
{
    state s = {0};
    gn_code code = read_state(store, &s, err);
    if (code == GN_OK)
        code = gn_prepared_load(&shard->prepared, store, err);
    if (code != GN_OK) {
        gn_schema_release(s.schema);
        gn_table_states_close(&s.tables);
        gn_buf_close(&s.merge_at);
        return code;
    }
    pthread_mutex_lock(&shard->view_lock);
    gn_schema *old = shard->schema;
    gn_table_states old_tables = shard->tables;
    shard->store = store;
    shard->schema = s.schema;
    shard->tables = s.tables;
    shard->applied_index = s.applied_index;
    shard->last_scn = s.last_scn;
    shard->closed_scn = gn_prepared_closed(&shard->prepared, s.last_scn);
    shard->log_floor = s.log_floor;
    shard->slots = s.slots;
    gn_buf_clear(&shard->merge_at);
    gn_buf_append_bytes(&shard->merge_at, gn_buf_bytes(&s.merge_at));
    gn_shard_applied(shard, s.applied_index);
    pthread_mutex_unlock(&shard->view_lock);
    gn_schema_release(old);
    gn_table_states_close(&old_tables);
    gn_buf_close(&s.merge_at);
    shard->garbage_waits = true; /* there may be notes from before */
    return GN_OK;
}

/* ---- open and close ---- */

static void init_metrics(gn_shard_metrics *m)
{
    m->commits = gn_counter("gnomon_shard_commits_total", NULL, "Transactions applied.");
    m->conflicts = gn_counter("gnomon_shard_conflicts_total", NULL, "Transactions refused because of a conflict.");
    m->unique_errors = gn_counter("gnomon_shard_unique_violations_total", NULL, "Transactions refused as not unique.");
    m->rows_written = gn_counter("gnomon_shard_rows_written_total", NULL, "Row versions written.");
    m->apply_seconds = gn_histogram("gnomon_shard_apply_seconds", NULL, "Time to apply one batch of the log.");
    m->calibrations = gn_counter("gnomon_shard_vector_calibrations_total", NULL,
                                 "Calibrations of vector indexes by what they were asked.");
    m->flushes = gn_counter("gnomon_shard_flushes_total", NULL, "Flushes of the store.");
    m->flush_seconds = gn_histogram("gnomon_shard_flush_seconds", NULL, "Time of a flush of the store.");
    m->versions_swept = gn_counter("gnomon_shard_versions_swept_total", NULL, "Versions removed behind tombstones.");
    m->scns_raised = gn_counter("gnomon_shard_scns_raised_total", NULL,
                                "SCNs from the clock that were not above what was applied; never, if all is well.");
    m->prepared = gn_gauge("gnomon_shard_prepared_transactions", NULL, "Parts of transactions that are not decided.");
    m->decision_waits = gn_counter("gnomon_shard_decision_waits_total", NULL,
                                   "Waits of reads and commits for the decision of a prepared transaction.");
    m->open_transactions = gn_gauge("gnomon_shard_open_transactions", NULL, "Transactions that hold garbage back.");
    m->unflushed_bytes = gn_gauge("gnomon_shard_unflushed_bytes", NULL, "Written and only in memory and the log.");
    m->store_bytes = gn_gauge("gnomon_shard_store_bytes", NULL, "Files of the store.");
    m->memtable_bytes = gn_gauge("gnomon_shard_memtable_bytes", NULL, "Memory of the store's write buffers.");
    m->chunks_fetched = gn_counter("gnomon_shard_snapshot_chunks_total", NULL, "Chunks of snapshots fetched.");
    m->chunks_bad = gn_counter("gnomon_shard_snapshot_chunks_bad_total", NULL,
                               "Chunks and files of snapshots whose checksum was wrong.");
    m->chunk_bytes = gn_counter("gnomon_shard_snapshot_bytes_total", NULL, "Bytes of snapshots fetched, as they came.");
    m->snapshot_files_kept = gn_counter("gnomon_shard_snapshot_files_kept_total", NULL,
                                        "Files of snapshots that did not need to be fetched.");
    m->snapshots = gn_counter("gnomon_shard_snapshots_total", NULL, "Snapshots taken.");
}

static gn_shard *shard_alloc(gn_world *world, gn_raft_host *host, const gn_shard_options *o)
{
    gn_shard *s = gn_xcalloc(1, sizeof *s);
    s->world = world;
    s->host = host;
    s->account = o->account;
    s->dir = gn_xstrdup(o->dir);
    s->group_id = o->group_id;
    s->retention_ms = o->retention_ms ? o->retention_ms : DEFAULT_RETENTION_MS;
    s->memtable_bytes = o->memtable_bytes ? o->memtable_bytes : DEFAULT_MEMTABLE_BYTES;
    s->block_cache_bytes = o->block_cache_bytes ? o->block_cache_bytes : DEFAULT_CACHE_BYTES;
    s->readers.next = s->readers.prev = &s->readers;
    pthread_mutex_init(&s->view_lock, NULL);
    pthread_mutex_init(&s->horizon_lock, NULL);
    pthread_mutex_init(&s->clean_lock, NULL);
    gn_buf_init(&s->merge_at, NULL, GN_MERGE_CURSOR_MAX);
    gn_wakeup_init(&s->keeper_wakeup, world);
    if (o->clock)
        s->clock = *o->clock;
    s->clocked = o->clock && !o->clock_later;
    s->leader = o->leader;
    gn_wait_room_init(&s->applied, world);
    s->unresolved = o->unresolved;
    s->unresolved_ctx = o->unresolved_ctx;
    s->has_split = o->has_split;
    s->has_split_ctx = o->has_split_ctx;
    s->calibrate_after = o->calibrate_after ? o->calibrate_after : GN_ASKED_ENOUGH;
    s->calibrate_pause_ns = (o->calibrate_pause_ms ? o->calibrate_pause_ms : GN_ASKED_PAUSE_S * 1000u) * 1000000u;
    s->unresolved_after_ns = (o->unresolved_after_ms ? o->unresolved_after_ms : DEFAULT_UNRESOLVED_MS) * 1000000;
    pthread_mutex_init(&s->held_lock, NULL);
    pthread_mutex_init(&s->held_change, NULL);
    gn_installer_init(s, &o->chunks, o->snapshot_bytes_per_second);
    gn_proposer_init(&s->proposer, s);
    gn_prepared_init(&s->prepared, s);
    init_metrics(&s->metrics);
    return s;
}

static gn_code open_store(gn_shard *shard, gn_error *err)
{
    char path[GN_PATH_BYTES], name[GN_STORE_NAME];
    gn_store *store = NULL;
    shard->store_number = 1;
    gn_code code = gn_dir_create(shard->dir, err);
    if (code == GN_OK)
        code = gn_number_read(shard->dir, "CURRENT", &shard->store_number, err);
    if (code == GN_OK)
        code = gn_number_read(shard->dir, "HORIZON", &shard->durable_horizon, err);
    shard->horizon = shard->durable_horizon;
    gn_store_dir_name(name, shard->store_number);
    if (code == GN_OK)
        code = gn_path_join(path, shard->dir, name, err);
    gn_store_options options = gn_shard_store_options(shard);
    if (code == GN_OK)
        code = gn_store_open(path, &options, &store, err);
    if (code == GN_OK) /* after the lock of the store is ours */
        code = gn_store_dir_tidy(shard->dir, shard->store_number, err);
    if (code == GN_OK)
        code = gn_held_open(shard, err);
    if (code == GN_OK)
        code = gn_shard_load_state(shard, store, err);
    if (code == GN_OK)
        shard->durable_index = shard->applied_index;
    else
        gn_store_release(store);
    return code;
}

static gn_code open_group(gn_shard *shard, const gn_shard_options *o, gn_error *err)
{
    const gn_raft_fsm fsm = {.ctx = shard,
                             .apply = fsm_apply,
                             .durable_index = fsm_durable_index,
                             .snapshot_take = fsm_snapshot_take,
                             .snapshot_install = gn_snapshot_install};
    return gn_raft_group_open(shard->host, shard->group_id, &fsm, shard->applied_index, o->members, o->n_members,
                              &shard->group, err);
}

gn_code gn_shard_open(gn_world *world, gn_raft_host *host, const gn_shard_options *options, gn_shard **out,
                      gn_error *err)
{
    GN_ASSERT(options->group_id != 0);
    gn_shard *shard = shard_alloc(world, host, options);
    gn_code code = open_store(shard, err);
    if (code == GN_OK) {
        shard->queue = gn_queue_create(world, "shard");
        shard->applier = gn_applier_create(shard);
        shard->sequences = gn_sequences_create(shard);
        shard->feeds = gn_feeds_create(shard);
        code = gn_feeds_open(shard->feeds, err);
    }
    if (code == GN_OK)
        code = gn_split_seed(shard, err);
    if (code == GN_OK)
        code = open_group(shard, options, err);
    if (code == GN_OK)
        code = gn_keeper_start(shard, err);
    if (code != GN_OK) {
        gn_shard_close(shard, false);
        return code;
    }
    pthread_mutex_lock(&shard->view_lock); /* the group applies already */
    uint64_t applied = shard->applied_index, tables = shard->schema->n;
    pthread_mutex_unlock(&shard->view_lock);
    gn_log_info("shard", "opened", GN_KV_U64("group", shard->group_id), GN_KV_U64("applied_index", applied),
                GN_KV_U64("tables", tables));
    *out = shard;
    return GN_OK;
}

typedef struct last_snapshot {
    gn_raft_request request;
    gn_event done;
} last_snapshot;

static void last_snapshot_done(gn_raft_request *request, gn_code code)
{
    (void)code; /* without one the log is only longer than it need be */
    gn_event_signal(&GN_CONTAINER(request, last_snapshot, request)->done);
}

/* Everything is about to be flushed: lets the log be cut, so that the next open has little of it to read. */
static void take_last_snapshot(gn_shard *shard)
{
    last_snapshot s = {.request.done = last_snapshot_done};
    gn_event_init(&s.done, shard->world);
    gn_raft_take_snapshot(shard->group, &s.request);
    gn_event_wait(&s.done, UINT64_MAX);
}

void gn_shard_close(gn_shard *shard, bool clean)
{
    if (!shard)
        return;
    clean = clean && gn_shard_failed(shard) == GN_OK;
    if (clean && shard->group && shard->keeper) {
        shard->closing = true;
        gn_sequences_give_back(shard->sequences);
        take_last_snapshot(shard);
    }
    gn_feeds_stop(shard->feeds);
    gn_keeper_stop(shard);
    gn_slots_clean_close(shard);
    gn_shard_stop_installs(shard);
    if (shard->group)
        gn_raft_group_close(shard->group);
    if (shard->queue)
        gn_queue_destroy(shard->queue);
    gn_feeds_destroy(shard->feeds, clean);
    if (clean && shard->store) {
        gn_error err = {0};
        if (gn_store_flush(shard->store, &err) != GN_OK)
            gn_log_error("shard", "no flush at close", GN_KV_STR("error", err.message));
    }
    GN_ASSERT(shard->readers.next == &shard->readers);
    gn_applier_destroy(shard->applier);
    gn_sequences_destroy(shard->sequences);
    gn_schema_release(shard->schema);
    gn_table_states_close(&shard->tables);
    gn_store_release(shard->store);
    gn_installer_close(shard);
    gn_held_close(shard);
    gn_wakeup_close(&shard->keeper_wakeup);
    gn_proposer_close(&shard->proposer);
    gn_prepared_close(&shard->prepared);
    gn_wait_room_close(&shard->applied);
    pthread_mutex_destroy(&shard->view_lock);
    pthread_mutex_destroy(&shard->horizon_lock);
    pthread_mutex_destroy(&shard->clean_lock);
    gn_buf_close(&shard->merge_at);
    pthread_mutex_destroy(&shard->held_lock);
    pthread_mutex_destroy(&shard->held_change);
    free(shard->dir);
    free(shard);
}

gn_code gn_shard_remove(const char *dir, gn_error *err)
{
    return gn_dir_remove(dir, err);
}

/* ---- asking ---- */

bool gn_shard_has_transactions(gn_shard *shard)
{
    pthread_mutex_lock(&shard->view_lock);
    bool any = shard->readers.next != &shard->readers;
    pthread_mutex_unlock(&shard->view_lock);
    return any;
}

gn_code gn_shard_wait_ready(gn_shard *shard, uint64_t deadline_ns, gn_error *err)
{
    enum { POLL_NS = 2000000 };
    gn_raft_status *status = gn_xcalloc(1, sizeof *status);
    gn_code code = GN_OK;
    for (;;) {
        gn_raft_status_get(shard->group, status);
        if (status->can_read || status->stopped)
            break;
        uint64_t now = gn_now_ns(shard->world);
        if (now >= deadline_ns) {
            code = gn_error_set(err, GN_TIMEOUT, "the shard was not ready in time");
            break;
        }
        gn_event pause;
        gn_event_init(&pause, shard->world);
        gn_event_wait(&pause, now + POLL_NS < deadline_ns ? now + POLL_NS : deadline_ns);
    }
    if (status->stopped)
        code = gn_error_set(err, GN_CRASH_SHUTDOWN, "the shard has stopped after a failure of its storage");
    free(status);
    return code;
}

gn_scn gn_shard_last_scn(gn_shard *shard)
{
    pthread_mutex_lock(&shard->view_lock);
    gn_scn scn = shard->last_scn;
    pthread_mutex_unlock(&shard->view_lock);
    return scn;
}

gn_scn gn_shard_closed_scn(gn_shard *shard)
{
    pthread_mutex_lock(&shard->view_lock);
    gn_scn scn = shard->closed_scn;
    pthread_mutex_unlock(&shard->view_lock);
    return scn;
}

gn_raft_group *gn_shard_raft_group(gn_shard *shard)
{
    return shard->group;
}

gn_code gn_shard_compact(gn_shard *shard, gn_error *err)
{
    bool more;
    gn_code code = gn_gc_garbage(shard, &more, err);
    if (code == GN_OK)
        code = gn_gc_change_log(shard, 0, err);
    if (code == GN_OK)
        code = gn_gc_sweep(shard, err);
    if (code != GN_OK)
        return code;
    gn_store *store = gn_shard_store(shard);
    rocksdb_compactoptions_t *o = rocksdb_compactoptions_create();
    rocksdb_compactoptions_set_bottommost_level_compaction(o, 2); /* also what lies in the last level already */
    rocksdb_compact_range_opt(store->db, o, NULL, 0, NULL, 0);
    rocksdb_compactoptions_destroy(o);
    gn_store_release(store);
    return GN_OK;
}

gn_code gn_shard_changes(gn_shard *shard, gn_scn from, gn_scn to, bool (*fn)(void *ctx, const gn_change *change),
                         void *ctx, gn_error *err)
{
    gn_store *store = gn_shard_store(shard);
    gn_scn last = gn_shard_closed_scn(shard);
    gn_code code = GN_OK;
    pthread_mutex_lock(&shard->view_lock);
    gn_scn merged = shard->slots.merged;
    pthread_mutex_unlock(&shard->view_lock);
    if (from >= shard->log_floor && from >= merged)
        code = gn_change_scan(store, from, to < last ? to : last, fn, ctx, err);
    if (code == GN_OK && (from < shard->log_floor || from < merged))
        code = gn_error_set(err, GN_SNAPSHOT_TOO_OLD, "the change log does not reach back so far");
    gn_store_release(store);
    return code;
}

void gn_shard_table_stats(gn_shard *shard, uint64_t table_id, gn_table_stats *out)
{
    *out = (gn_table_stats){0};
    pthread_mutex_lock(&shard->view_lock);
    const gn_table_state *t = gn_table_states_find(&shard->tables, table_id);
    if (t) {
        out->rows_estimate = t->public_rows > 0 ? (uint64_t)t->public_rows : 0;
        out->bytes_estimate = t->public_bytes > 0 ? (uint64_t)t->public_bytes : 0;
    }
    pthread_mutex_unlock(&shard->view_lock);
}

void gn_shard_totals_get(gn_shard *shard, gn_shard_totals *out)
{
    *out = (gn_shard_totals){.prepared = shard->prepared.n};
    pthread_mutex_lock(&shard->view_lock);
    for (size_t i = 0; i < shard->tables.n; i++) {
        const gn_table_state *t = shard->tables.items[i];
        if (t->table_id < GN_FIRST_USER_ID)
            continue;
        out->tables++;
        out->rows_estimate += t->public_rows > 0 ? (uint64_t)t->public_rows : 0;
        out->bytes_estimate += t->public_bytes > 0 ? (uint64_t)t->public_bytes : 0;
    }
    pthread_mutex_unlock(&shard->view_lock);
}
