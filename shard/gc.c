/* What may be forgotten, and forgetting it. The compaction filter (gc_filter.c) removes versions that newer ones hide;
 * here go tombstones with what they hide, dropped tables and indexes, and the old end of the change log. All of it is
 * this replica's own affair: it changes no answer, and replicas need not agree on when. */
#include "base/assert.h"
#include "shard/files_private.h"
#include "shard/shard_private.h"
#include "shard/vector_feed_private.h"

enum { SWEEP_BATCH = 1000 };

/* ---- the horizon ---- */

void gn_reader_register(gn_shard *shard, gn_reader_mark *mark, gn_scn scn)
{
    mark->scn = scn;
    mark->registered = true;
    mark->next = &shard->readers;
    mark->prev = shard->readers.prev;
    mark->prev->next = mark;
    mark->next->prev = mark;
}

void gn_reader_unregister(gn_shard *shard, gn_reader_mark *mark)
{
    if (!mark->registered)
        return;
    pthread_mutex_lock(&shard->view_lock);
    mark->prev->next = mark->next;
    mark->next->prev = mark->prev;
    pthread_mutex_unlock(&shard->view_lock);
    mark->registered = false;
}

/* Under view_lock. */
static gn_scn candidate(gn_shard *shard, uint64_t now_ms)
{
    gn_scn c = now_ms > shard->retention_ms ? (now_ms - shard->retention_ms) << GN_SCN_COUNTER_BITS : 0;
    if (c > shard->closed_scn)
        c = shard->closed_scn;
    for (gn_reader_mark *m = shard->readers.next; m != &shard->readers; m = m->next)
        if (c > m->scn)
            c = m->scn;
    return c > shard->horizon ? c : shard->horizon;
}

gn_scn gn_gc_candidate(gn_shard *shard)
{
    uint64_t now_ms = gn_wall_us(shard->world) / 1000;
    pthread_mutex_lock(&shard->view_lock);
    gn_scn c = candidate(shard, now_ms);
    pthread_mutex_unlock(&shard->view_lock);
    return c;
}

gn_scn gn_gc_horizon(gn_shard *shard)
{
    uint64_t now_ms = gn_wall_us(shard->world) / 1000;
    pthread_mutex_lock(&shard->horizon_lock);
    pthread_mutex_lock(&shard->view_lock);
    gn_scn horizon = shard->horizon = candidate(shard, now_ms);
    pthread_mutex_unlock(&shard->view_lock);
    gn_error err = {0};
    if (horizon > shard->durable_horizon) {
        if (gn_number_write(shard->dir, "HORIZON", horizon, &err) == GN_OK)
            shard->durable_horizon = horizon;
        else
            gn_log_warn("shard", "no garbage is collected", GN_KV_STR("error", err.message));
    }
    horizon = shard->durable_horizon;
    pthread_mutex_unlock(&shard->horizon_lock);
    return horizon;
}

gn_scn gn_gc_published_horizon(void *ctx)
{
    gn_shard *shard = ctx;
    pthread_mutex_lock(&shard->horizon_lock);
    gn_scn horizon = shard->durable_horizon;
    pthread_mutex_unlock(&shard->horizon_lock);
    return horizon;
}

/* ---- tombstones ---- */

typedef struct sweep {
    gn_shard *shard;
    gn_store *store;
    gn_scn horizon;
    rocksdb_writebatch_t *batch;
    uint64_t n, total;
    uint64_t young; /* tombstones that somebody can still see behind */
    uint64_t epoch; /* of the group's rows when it began */
    bool ended;     /* rows of another group are coming since */
    gn_buf stem;
    bool settled, doomed;
} sweep;

/* What was read before a merge began may have been removed since, and come again with more behind it than was here:
 * the tombstone would go, and what it hides would show (merge.c). */
static gn_code sweep_write(sweep *s, gn_error *err)
{
    pthread_mutex_lock(&s->shard->clean_lock);
    s->ended = s->shard->slots_epoch != s->epoch;
    gn_code code = s->n && !s->ended ? gn_store_write(s->store, s->batch, err) : GN_OK;
    pthread_mutex_unlock(&s->shard->clean_lock);
    rocksdb_writebatch_clear(s->batch);
    s->total += s->ended ? 0 : s->n;
    s->n = 0;
    return code;
}

/* All versions from a tombstone that every reader sees downwards: deleted together, in one batch. */
static gn_code sweep_key(sweep *s, gn_bytes key, gn_bytes value, gn_error *err)
{
    gn_bytes stem = gn_version_stem(key);
    gn_code code = GN_OK;
    if (!gn_bytes_eq(stem, gn_buf_bytes(&s->stem))) {
        if (s->n >= SWEEP_BATCH)
            code = sweep_write(s, err);
        gn_buf_clear(&s->stem);
        gn_buf_append_bytes(&s->stem, stem);
        s->settled = s->doomed = false;
    }
    if (code != GN_OK)
        return code;
    bool dead = value.len > 0 && (value.data[0] == GN_VALUE_TOMBSTONE || value.data[0] == GN_VALUE_ENTRY_DEAD);
    if (gn_version_scn(key) > s->horizon) {
        s->young += dead;
        return GN_OK;
    }
    if (!s->settled) {
        s->settled = true;
        s->doomed = dead;
    }
    if (s->doomed) {
        rocksdb_writebatch_delete(s->batch, (const char *)key.data, key.len);
        s->n++;
    }
    return GN_OK;
}

static gn_code sweep_kind(sweep *s, uint8_t kind, gn_error *err)
{
    const uint8_t lower = kind, upper = kind + 1;
    gn_store_iter iter;
    gn_store_iter_open(&iter, s->store, gn_bytes_of(&lower, 1), gn_bytes_of(&upper, 1), false);
    gn_code code = GN_OK;
    rocksdb_iter_seek_to_first(iter.it);
    for (; code == GN_OK && !s->ended && !s->shard->stopping && gn_store_iter_valid(&iter); rocksdb_iter_next(iter.it))
        code = sweep_key(s, gn_store_iter_key(&iter), gn_store_iter_value(&iter), err);
    if (code == GN_OK)
        code = gn_store_iter_status(&iter, err);
    if (code == GN_OK)
        code = sweep_write(s, err);
    gn_store_iter_close(&iter);
    return code;
}

gn_code gn_gc_sweep(gn_shard *shard, gn_error *err)
{
    sweep s = {.shard = shard, .epoch = shard->slots_epoch, .horizon = gn_gc_horizon(shard)};
    s.store = gn_shard_store(shard);
    gn_feeds_horizon(shard->feeds, s.horizon);
    s.batch = rocksdb_writebatch_create();
    gn_buf_init(&s.stem, NULL, GN_STORE_KEY_MAX);
    uint64_t dead = shard->dead_versions;
    gn_code code = sweep_kind(&s, GN_KIND_INDEX, err);
    if (code == GN_OK && !s.ended)
        code = sweep_kind(&s, GN_KIND_ROW, err);
    if (code == GN_OK && !s.ended)
        shard->dead_versions -= dead > s.young ? dead - s.young : 0;
    gn_counter_add(shard->metrics.versions_swept, s.total);
    rocksdb_writebatch_destroy(s.batch);
    gn_buf_close(&s.stem);
    gn_store_release(s.store);
    return code;
}

/* ---- dropped tables, indexes, epochs ---- */

void gn_gc_note_garbage(rocksdb_writebatch_t *batch, gn_scn scn, const gn_space *space)
{
    const uint64_t args[] = {scn, space->kind, space->id, space->epoch};
    uint8_t key[GN_META_KEY_MAX];
    size_t len = gn_meta_key(key, GN_META_GARBAGE, args, 4);
    rocksdb_writebatch_put(batch, (const char *)key, len, "", 0);
}

/* The space and the note go together, so that a crash forgets neither. */
static gn_code remove_garbage(gn_store *store, gn_bytes note, gn_error *err)
{
    gn_space space = {.kind = (uint8_t)gn_get_be64(note.data + 10),
                      .id = gn_get_be64(note.data + 18),
                      .epoch = gn_get_be64(note.data + 26)};
    uint8_t from[GN_SPACE_PREFIX_MAX], to[GN_SPACE_PREFIX_MAX];
    size_t n = gn_space_prefix_all_branches(&space, from), m = gn_space_prefix_all_branches(&space, to);
    m = gn_prefix_successor(to, m);
    rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
    rocksdb_writebatch_delete_range(batch, (const char *)from, n, (const char *)to, m);
    rocksdb_writebatch_delete(batch, (const char *)note.data, note.len);
    gn_code code = gn_store_write(store, batch, err);
    rocksdb_writebatch_destroy(batch);
    if (code == GN_OK)
        rocksdb_compact_range(store->db, (const char *)from, n, (const char *)to, m);
    return code;
}

gn_code gn_gc_garbage(gn_shard *shard, bool *more, gn_error *err)
{
    gn_store *store = gn_shard_store(shard);
    gn_scn due = gn_gc_candidate(shard), horizon = 0;
    const uint8_t lower[] = {GN_KIND_META, GN_META_GARBAGE}, upper[] = {GN_KIND_META, GN_META_GARBAGE + 1};
    gn_store_iter iter;
    gn_store_iter_open(&iter, store, gn_bytes_of(lower, 2), gn_bytes_of(upper, 2), false);
    gn_code code = GN_OK;
    *more = false;
    rocksdb_iter_seek_to_first(iter.it);
    for (; code == GN_OK && gn_store_iter_valid(&iter); rocksdb_iter_next(iter.it)) {
        gn_bytes note = gn_store_iter_key(&iter);
        gn_scn scn = note.len == GN_META_KEY_MAX ? gn_get_be64(note.data + 2) : 0;
        if (scn > horizon && scn <= due)
            horizon = gn_gc_horizon(shard);
        if (scn == 0)
            code = gn_error_set(err, GN_CORRUPT, "a note of removed data is malformed");
        else if (scn <= horizon)
            code = remove_garbage(store, note, err);
        else
            *more = true;
    }
    gn_store_iter_close(&iter);
    gn_store_release(store);
    return code;
}

/* ---- the change log ---- */

gn_code gn_gc_change_log(gn_shard *shard, uint64_t lag_ms, gn_error *err)
{
    gn_scn floor = gn_gc_candidate(shard), lag = lag_ms << GN_SCN_COUNTER_BITS;
    gn_feeds_checkpoint(shard->feeds, floor > lag ? floor - lag : 0);
    if (floor > shard->recent_floor) /* the window of recent commits is rebuilt from it */
        floor = shard->recent_floor;
    gn_scn fed = gn_feeds_durable(shard->feeds); /* vector indexes are repaired from it */
    if (floor > fed)
        floor = fed;
    if (floor <= shard->log_floor)
        return GN_OK;
    shard->log_floor = floor;
    uint8_t from[GN_LOG_KEY], to[GN_LOG_KEY], key[GN_META_KEY_MAX], value[8];
    gn_log_key(from, 0, 0);
    gn_log_key(to, floor + 1, 0);
    size_t len = gn_meta_key(key, GN_META_LOG_FLOOR, NULL, 0);
    gn_put_be64(value, floor);
    gn_store *store = gn_shard_store(shard);
    rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
    rocksdb_writebatch_delete_range(batch, (const char *)from, sizeof from, (const char *)to, sizeof to);
    rocksdb_writebatch_put(batch, (const char *)key, len, (const char *)value, sizeof value);
    gn_code code = gn_store_write(store, batch, err);
    rocksdb_writebatch_destroy(batch);
    gn_store_release(store);
    return code;
}
