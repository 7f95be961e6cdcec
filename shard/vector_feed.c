/* See vector_feed_private.h. An index goes through these states:
 *
 *     STALE --(feeder: open, scan or replay, catch up)--> LIVE --(cannot take a write, or distrusted)--> STALE
 *        \--------------------- dropped, or its table emptied ---------------------> GONE (closed, wiped)
 *
 * The last step to LIVE is a task on the shard's queue, so that no commit falls between. What a feeder has to know
 * after a restart is in the store: the SCN from which on the index has all versions (its floor). */
#include "base/assert.h"
#include "query/vector.h"
#include "shard/apply_private.h"
#include "shard/asked_private.h"
#include "shard/files_private.h"
#include "shard/index_entry_private.h"
#include "shard/vector_feed_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    RETRY_MS = 5000,
    NEAR_ENOUGH = 256,
    CHECK_MEMORY_ROWS = 4096,
    FEED_MEMORY_BYTES = 64 << 20,
};

typedef enum feed_state { FEED_STALE, FEED_LIVE, FEED_GONE } feed_state;

struct gn_feed {
    struct gn_feed *next;
    gn_feeds *feeds;
    _Atomic uint32_t refs;
    uint64_t table_id, index_id, epoch;
    gn_index_desc index;
    uint32_t column_id, dimensions;
    bool halves; /* a column of halfvec */
    char *dir;
    gn_vindex *vindex;      /* NULL until the feeder has opened it; then for the feed's life */
    _Atomic int state;      /* feed_state */
    _Atomic gn_scn floor;   /* complete for reads from here on */
    _Atomic bool wipe;      /* start again from nothing */
    gn_scn position;        /* given so far: the queue's while live, the feeder's while stale */
    float *vector;          /* aligned room for one */
    uint64_t n_fed;         /* the feeder's */
    gn_scn horizon;         /* the keeper's */
    bool checkpoint_failed; /* the keeper's */
    bool verified;          /* the feeder's: the files that were found have been read through */
    gn_asked asked;
    bool replaced; /* with the store that it belonged to */
    uint64_t retry_ns;
};

struct gn_feeds {
    gn_shard *shard;
    char *dir;
    pthread_mutex_t lock; /* the list */
    gn_feed *first;
    gn_strand *strand;
    gn_wakeup wakeup;
    _Atomic bool stopping;
};

/* ---- the list ---- */

static const char *metric_name(uint8_t metric)
{
    static const char *const names[GN_METRIC_KNOWN] = {
        [GN_METRIC_L2] = "l2", [GN_METRIC_IP] = "ip",           [GN_METRIC_COSINE] = "cosine",
        [GN_METRIC_L1] = "l1", [GN_METRIC_HAMMING] = "hamming", [GN_METRIC_JACCARD] = "jaccard"};
    return metric < GN_METRIC_KNOWN && names[metric] ? names[metric] : "?";
}

static gn_feed *feed_create(gn_feeds *feeds, const gn_table_desc *desc, const gn_index_desc *index)
{
    int ordinal = gn_table_column_by_id(desc, index->columns[0]);
    GN_ASSERT(ordinal >= 0);
    gn_feed *f = gn_xcalloc(1, sizeof *f);
    f->feeds = feeds;
    f->refs = 1;
    f->table_id = desc->id;
    f->index_id = index->id;
    f->epoch = desc->data_epoch;
    f->index = *index;
    f->column_id = index->columns[0];
    f->dimensions = (uint32_t)desc->columns[ordinal].type.typmod;
    f->halves = gn_type_is(desc->columns[ordinal].type, GN_T_HALFVEC);
    f->vector = gn_xmalloc(gn_index_words(desc->columns[ordinal].type) * sizeof(float));
    gn_asked_init(&f->asked, gn_index_words(desc->columns[ordinal].type));
    f->state = FEED_STALE;
    if (asprintf(&f->dir, "%s/%llu-%llu", feeds->dir, (unsigned long long)index->id,
                 (unsigned long long)desc->data_epoch) < 0)
        f->dir = NULL;
    GN_ASSERT(f->dir);
    return f;
}

static void feed_free(gn_feed *f)
{
    gn_asked_close(&f->asked);
    free(f->vector);
    free(f->dir);
    free(f);
}

static gn_feed *find(gn_feeds *feeds, uint64_t index_id, uint64_t epoch)
{
    for (gn_feed *f = feeds->first; f; f = f->next)
        if (f->index_id == index_id && f->epoch == epoch && f->state != FEED_GONE)
            return f;
    return NULL;
}

static bool is_wanted(const gn_feed *f, const gn_schema *schema)
{
    const gn_schema_table *t = gn_schema_find(schema, f->table_id);
    return t && t->desc->data_epoch == f->epoch && gn_table_index(t->desc, f->index_id);
}

void gn_feeds_schema_changed(gn_feeds *feeds, gn_schema *schema)
{
    pthread_mutex_lock(&feeds->lock);
    for (gn_feed *f = feeds->first; f; f = f->next)
        if (!is_wanted(f, schema))
            f->state = FEED_GONE;
    for (uint32_t i = 0; i < schema->n; i++) {
        const gn_table_desc *desc = schema->by_id[i].desc;
        for (uint32_t j = 0; j < desc->n_indexes; j++) {
            if (desc->indexes[j].kind != GN_INDEX_HNSW || find(feeds, desc->indexes[j].id, desc->data_epoch))
                continue;
            gn_feed *f = feed_create(feeds, desc, &desc->indexes[j]);
            f->next = feeds->first;
            feeds->first = f;
        }
    }
    pthread_mutex_unlock(&feeds->lock);
    gn_wakeup_post(&feeds->wakeup);
}

static void make_stale(gn_feed *f, bool wipe)
{
    int live = FEED_LIVE;
    if (wipe)
        f->wipe = true;
    atomic_compare_exchange_strong(&f->state, &live, FEED_STALE);
    gn_wakeup_post(&f->feeds->wakeup);
}

void gn_feeds_replace(gn_feeds *feeds, const char *dir, gn_schema *schema)
{
    pthread_mutex_lock(&feeds->lock);
    for (gn_feed *f = feeds->first; f; f = f->next) {
        f->replaced = f->replaced || f->state != FEED_GONE;
        f->state = FEED_GONE;
    }
    free(feeds->dir);
    feeds->dir = gn_xstrdup(dir);
    pthread_mutex_unlock(&feeds->lock);
    gn_feeds_schema_changed(feeds, schema);
}

/* An index that is being filled, or is not trusted, is left out, and so is one that has written nothing yet: who gets
 * the snapshot makes it from the rows. */
gn_code gn_feeds_link(gn_feeds *feeds, const char *dir, gn_error *err)
{
    char **from = NULL;
    size_t n = 0;
    pthread_mutex_lock(&feeds->lock);
    for (gn_feed *f = feeds->first; f; f = f->next) {
        if (f->state != FEED_LIVE)
            continue;
        from = gn_xrealloc(from, (n + 1) * sizeof *from);
        from[n++] = gn_xstrdup(f->dir);
    }
    pthread_mutex_unlock(&feeds->lock);
    gn_code code = n > 0 ? gn_dir_create(dir, err) : GN_OK;
    for (size_t i = 0; i < n; i++) {
        char to[GN_PATH_BYTES];
        if (code == GN_OK)
            code = gn_path_join(to, dir, strrchr(from[i], '/') + 1, err);
        if (code == GN_OK && (code = gn_vindex_link(from[i], to, err)) == GN_NO_DATA)
            code = GN_OK;
        free(from[i]);
    }
    free(from);
    return code;
}

gn_scn gn_feeds_durable(gn_feeds *feeds)
{
    gn_scn least = UINT64_MAX;
    pthread_mutex_lock(&feeds->lock);
    for (gn_feed *f = feeds->first; f; f = f->next) {
        if (f->state == FEED_GONE)
            continue;
        gn_scn durable = f->state == FEED_LIVE ? gn_vindex_durable_position(f->vindex) : 0;
        least = durable < least ? durable : least;
    }
    pthread_mutex_unlock(&feeds->lock);
    return least;
}

/* A live feed that `pick` wants, counted. */
static gn_feed *hold_live(gn_feeds *feeds, bool (*pick)(const gn_feed *f, gn_scn scn), gn_scn scn)
{
    pthread_mutex_lock(&feeds->lock);
    gn_feed *f = feeds->first;
    while (f && !(f->state == FEED_LIVE && pick(f, scn)))
        f = f->next;
    if (f)
        f->refs++;
    pthread_mutex_unlock(&feeds->lock);
    return f;
}

static bool lags(const gn_feed *f, gn_scn scn)
{
    return gn_vindex_durable_position(f->vindex) < scn && !f->checkpoint_failed;
}

void gn_feeds_checkpoint(gn_feeds *feeds, gn_scn scn)
{
    for (gn_feed *f; (f = hold_live(feeds, lags, scn)); gn_feed_release(f)) {
        gn_error err = {0};
        if (gn_vindex_checkpoint(f->vindex, &err) == GN_OK && !lags(f, scn))
            continue;
        f->checkpoint_failed = true; /* not again in this process: the log is kept instead */
        gn_log_warn("shard", "a vector index could not be written", GN_KV_STR("index", f->index.name),
                    GN_KV_STR("error", err.message));
    }
}

static bool has_older_horizon(const gn_feed *f, gn_scn scn)
{
    return f->horizon < scn;
}

void gn_feeds_horizon(gn_feeds *feeds, gn_scn horizon)
{
    for (gn_feed *f; (f = hold_live(feeds, has_older_horizon, horizon)); gn_feed_release(f)) {
        f->horizon = horizon;
        gn_vindex_set_horizon(f->vindex, horizon);
    }
}

gn_feed *gn_feed_acquire(gn_feeds *feeds, uint64_t index_id, uint64_t epoch, gn_scn read_scn)
{
    pthread_mutex_lock(&feeds->lock);
    gn_feed *f = find(feeds, index_id, epoch);
    if (f && (f->state != FEED_LIVE || f->floor > read_scn))
        f = NULL;
    if (f)
        f->refs++;
    pthread_mutex_unlock(&feeds->lock);
    return f;
}

void gn_feed_release(gn_feed *f)
{
    if (!f)
        return;
    gn_feeds *feeds = f->feeds;
    if (--f->refs == 1 && f->state != FEED_LIVE)
        gn_wakeup_post(&feeds->wakeup); /* the feeder waits for the last reader */
}

gn_vindex *gn_feed_vindex(gn_feed *f)
{
    return f->vindex;
}

void gn_feed_distrust(gn_feed *f, const char *why)
{
    gn_log_error("shard", "a vector index is wrong and will be rebuilt", GN_KV_STR("index", f->index.name),
                 GN_KV_STR("why", why));
    make_stale(f, true);
}

/* ---- writing to an index: the queue while it is live, the feeder before ---- */

/* *vector NULL: the row has none. */
static gn_code read_vector(gn_feed *f, const gn_table_desc *desc, gn_bytes row, const float **vector, gn_error *err)
{
    int ordinal = gn_table_column_by_id(desc, f->column_id);
    *vector = NULL;
    if (ordinal < 0)
        return GN_OK;
    gn_value value;
    gn_arena *arena = gn_arena_create(NULL);
    gn_code code = gn_index_row_vector(desc, &f->index, row, arena, &value, err);
    if (code == GN_OK && !value.is_null) {
        if (gn_index_vector(desc->columns[ordinal].type, value.as.bytes, f->vector))
            *vector = f->vector;
        else
            code = gn_error_set(err, GN_CORRUPT, "a stored vector has a wrong length");
    }
    gn_arena_destroy(arena);
    return code;
}

static gn_code feed_row(gn_feed *f, const gn_table_desc *desc, gn_bytes key, gn_scn scn, bool was, bool deleted,
                        gn_bytes row, gn_error *err)
{
    const float *vector;
    if (was)
        gn_vindex_end(f->vindex, key, GN_BRANCH_MAIN, scn);
    if (deleted)
        return GN_OK;
    gn_code code = read_vector(f, desc, row, &vector, err);
    if (code == GN_OK && vector)
        code = gn_vindex_insert(f->vindex, key, GN_BRANCH_MAIN, scn, vector, err);
    return code;
}

/* The feeder's: it may wait for a tail to be written when memory is short, and keeps what it fills from growing large.
 */
static gn_code feed_row_patiently(gn_feed *f, const gn_table_desc *desc, gn_bytes key, gn_scn scn, bool was,
                                  bool deleted, gn_bytes row, gn_error *err)
{
    gn_code code = feed_row(f, desc, key, scn, was, deleted, row, err);
    bool full = code == GN_OUT_OF_MEMORY;
    if (code == GN_OK && ++f->n_fed % CHECK_MEMORY_ROWS == 0) {
        gn_vindex_stats stats;
        gn_vindex_stats_get(f->vindex, &stats);
        full = stats.memory_bytes > FEED_MEMORY_BYTES;
    }
    if (!full)
        return code;
    gn_code written = gn_vindex_checkpoint(f->vindex, err);
    if (written == GN_OK && code == GN_OUT_OF_MEMORY) {
        gn_error_clear(err);
        return feed_row(f, desc, key, scn, was, deleted, row, err);
    }
    return written;
}

static gn_code feed_section(gn_feed *f, gn_apply_txn *txn, const gn_table_desc *desc, const gn_section *section,
                            uint64_t first_rowid, gn_error *err)
{
    gn_section_pass pass = gn_section_begin(section, desc->hidden_key, first_rowid, &txn->ap->rowid);
    gn_write w;
    gn_code code;
    while ((code = gn_section_write(&pass, &w, err)) == GN_OK) {
        code = feed_row(f, desc, w.key, txn->scn, w.op != GN_WRITE_INSERT, w.op == GN_WRITE_DELETE, w.row, err);
        if (code != GN_OK)
            return code;
    }
    return code == GN_NO_DATA ? GN_OK : code;
}

/* Where the hidden keys of a section that was just applied began. */
static uint64_t first_rowid_of(gn_apply_txn *txn, const gn_table_desc *desc, const gn_section *section)
{
    if (!desc->hidden_key)
        return 0;
    const gn_table_state *state = gn_apply_table_state(txn->ap, desc);
    uint64_t next = state->next_rowid;
    if (txn->prepared)
        return gn_apply_first_rowid(txn, state);
    gn_section_pass pass = gn_section_begin(section, true, 0, &txn->ap->rowid);
    gn_write w;
    while (gn_section_write(&pass, &w, NULL) == GN_OK)
        ;
    return next - pass.next_rowid;
}

static void feed_table(gn_feeds *feeds, gn_apply_txn *txn, const gn_table_desc *desc, const gn_section *section)
{
    uint64_t first_rowid = first_rowid_of(txn, desc, section);
    for (uint32_t i = 0; i < desc->n_indexes; i++) {
        if (desc->indexes[i].kind != GN_INDEX_HNSW)
            continue;
        gn_feed *f = find(feeds, desc->indexes[i].id, desc->data_epoch);
        gn_error err = {0};
        if (!f || f->state != FEED_LIVE || feed_section(f, txn, desc, section, first_rowid, &err) == GN_OK)
            continue;
        gn_log_warn("shard", "a vector index could not take a commit", GN_KV_STR("index", f->index.name),
                    GN_KV_STR("error", err.message));
        make_stale(f, false);
    }
}

void gn_feed_commit(gn_feeds *feeds, gn_apply_txn *txn)
{
    if (!feeds->first || txn->command->branch != GN_BRANCH_MAIN)
        return;
    gn_reader r = gn_reader_of(txn->command->writes);
    gn_section s;
    while (gn_section_next(&r, &s)) {
        const gn_schema_table *t = gn_schema_find(txn->ap->schema, s.table_id);
        if (t && t->desc->n_indexes > 0)
            feed_table(feeds, txn, t->desc, &s);
    }
}

void gn_feeds_forget(gn_feeds *feeds, const gn_table_desc *table, const gn_bytes *keys, size_t n, gn_scn scn)
{
    for (uint32_t i = 0; i < table->n_indexes; i++) {
        gn_feed *f =
            table->indexes[i].kind == GN_INDEX_HNSW ? find(feeds, table->indexes[i].id, table->data_epoch) : NULL;
        for (size_t k = 0; f && f->state == FEED_LIVE && k < n; k++)
            gn_vindex_end(f->vindex, keys[k], GN_BRANCH_MAIN, scn);
    }
}

void gn_feeds_rows_came(gn_feeds *feeds)
{
    for (gn_feed *f = feeds->first; f; f = f->next)
        if (f->state != FEED_GONE)
            make_stale(f, true);
}

void gn_feeds_position(gn_feeds *feeds, gn_scn scn)
{
    for (gn_feed *f = feeds->first; f; f = f->next) {
        if (f->state != FEED_LIVE || f->position >= scn)
            continue;
        f->position = scn;
        gn_vindex_set_position(f->vindex, scn);
    }
}

/* ---- the floor record ---- */

static size_t floor_key(const gn_feed *f, uint8_t *key)
{
    const uint64_t args[] = {f->index_id, f->epoch};
    return gn_meta_key(key, GN_META_FEED, args, 2);
}

static gn_code read_floor(gn_feed *f, gn_store *store, gn_scn *floor, bool *found, gn_error *err)
{
    uint8_t key[GN_META_KEY_MAX];
    size_t len = floor_key(f, key);
    gn_buf value;
    gn_buf_init(&value, NULL, 64);
    gn_code code = gn_store_get(store, gn_bytes_of(key, len), &value, found, err);
    if (code == GN_OK && *found) {
        *found = value.len == 8;
        *floor = *found ? gn_get_be64(value.data) : 0;
    }
    gn_buf_close(&value);
    return code;
}

static gn_code write_floor(gn_feed *f, gn_store *store, bool remove, gn_error *err)
{
    uint8_t key[GN_META_KEY_MAX], value[8];
    size_t len = floor_key(f, key);
    gn_put_be64(value, f->floor);
    rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
    if (remove)
        rocksdb_writebatch_delete(batch, (const char *)key, len);
    else
        rocksdb_writebatch_put(batch, (const char *)key, len, (const char *)value, sizeof value);
    gn_code code = gn_store_write(store, batch, err);
    rocksdb_writebatch_destroy(batch);
    return code;
}

/* ---- the feeder: from the rows ---- */

/* What one feeding works on: a view of the rows that garbage collection respects. */
typedef struct feeding {
    gn_feed *f;
    gn_shard *shard;
    gn_store *store;
    gn_schema *schema;
    const gn_table_desc *desc;
    gn_reader_mark mark;
    gn_scn scn;      /* closed: what the index can be said to be complete up to */
    gn_scn last_scn; /* of what has been applied */
    gn_point_reader point;
    bool on_queue; /* where nothing may wait */
    uint64_t n;
    gn_error *err;
    gn_code code;
} feeding;

static bool stops(const feeding *fd)
{
    return fd->f->feeds->stopping || fd->f->state == FEED_GONE;
}

static bool feeding_begin(feeding *fd, gn_feed *f, gn_error *err)
{
    gn_shard *shard = f->feeds->shard;
    *fd = (feeding){.f = f, .shard = shard, .err = err};
    pthread_mutex_lock(&shard->view_lock);
    fd->store = gn_store_retain(shard->store);
    fd->schema = gn_schema_retain(shard->schema);
    fd->scn = shard->closed_scn;
    fd->last_scn = shard->last_scn;
    gn_reader_register(shard, &fd->mark, fd->scn);
    pthread_mutex_unlock(&shard->view_lock);
    const gn_schema_table *t = gn_schema_find(fd->schema, f->table_id);
    fd->desc = t && t->desc->data_epoch == f->epoch ? t->desc : NULL;
    return fd->desc != NULL;
}

static void feeding_end(feeding *fd)
{
    gn_point_close(&fd->point);
    gn_reader_unregister(fd->shard, &fd->mark);
    gn_schema_release(fd->schema);
    gn_store_release(fd->store);
}

/* Every row that is visible now. */
static gn_code feed_rows(feeding *fd)
{
    gn_feed *f = fd->f;
    gn_space space = gn_row_space(fd->desc, GN_BRANCH_MAIN);
    const gn_chain chain = {.n = 1, .links = {{.branch = GN_BRANCH_MAIN, .scn = fd->scn}}};
    const gn_key_span all = {.end_open = true};
    gn_mvcc_cursor cursor;
    gn_mvcc_open(&cursor, fd->store, &space, &chain, &all, false);
    gn_code code;
    do {
        gn_bytes key;
        gn_version version;
        code = stops(fd) ? GN_CANCELED : gn_mvcc_next(&cursor, &key, &version, fd->err);
        if (code == GN_OK)
            code = feed_row_patiently(f, fd->desc, key, version.scn, false, false, version.row, fd->err);
    } while (code == GN_OK);
    gn_mvcc_close(&cursor);
    if (code != GN_NO_DATA)
        return code;
    f->floor = f->position = fd->scn;
    gn_vindex_set_position(f->vindex, fd->scn);
    return write_floor(f, fd->store, false, fd->err);
}

/* ---- the feeder: from the change log ---- */

static bool feed_change(void *ctx, gn_scn scn, const gn_space *space, gn_bytes key, bool deleted)
{
    feeding *fd = ctx;
    gn_feed *f = fd->f;
    if (stops(fd)) {
        fd->code = GN_CANCELED;
        return false;
    }
    fd->n++;
    if (space->id != f->table_id || space->epoch != f->epoch || space->branch != GN_BRANCH_MAIN)
        return true;
    const gn_chain chain = {.n = 1, .links = {{.branch = GN_BRANCH_MAIN, .scn = scn}}};
    gn_version version = {0};
    bool found = false;
    if (!deleted)
        fd->code = gn_point_get(&fd->point, space, &chain, key, &version, &found, fd->err);
    /* A version that collection has taken was not to be seen by anybody any more. */
    if (fd->code == GN_OK && fd->on_queue)
        fd->code = feed_row(f, fd->desc, key, scn, true, !found || version.scn != scn, version.row, fd->err);
    else if (fd->code == GN_OK)
        fd->code = feed_row_patiently(f, fd->desc, key, scn, true, !found || version.scn != scn, version.row, fd->err);
    return fd->code == GN_OK;
}

/* Changes above the position, up to the view's SCN; in the end up to all that was applied, some of which will be given
 * again after a restart. */
static gn_code feed_changes(feeding *fd)
{
    gn_feed *f = fd->f;
    gn_point_close(&fd->point);
    gn_point_open(&fd->point, fd->store);
    fd->n = 0;
    fd->code = GN_OK;
    gn_scn from = f->position;
    gn_scn to = fd->on_queue ? fd->last_scn : fd->scn;
    gn_code code = gn_change_scan_spaces(fd->store, from, to, feed_change, fd, fd->err);
    if (code == GN_OK)
        code = fd->code;
    if (code == GN_OK && from < fd->shard->log_floor)
        code = gn_error_set(fd->err, GN_SNAPSHOT_TOO_OLD, "the change log does not reach back so far");
    if (code == GN_OK && f->position < fd->scn) {
        f->position = fd->scn;
        gn_vindex_set_position(f->vindex, fd->scn);
    }
    return code;
}

/* ---- the feeder: handing over ---- */

typedef struct handover {
    gn_task task;
    gn_feed *f;
    gn_event done;
    gn_code code;
    gn_error err;
} handover;

/* On the queue, where no commit can come in between: the last changes, then live. */
static void handover_task(gn_task *task)
{
    handover *h = GN_CONTAINER(task, handover, task);
    feeding fd;
    h->code = GN_CANCELED;
    if (feeding_begin(&fd, h->f, &h->err)) {
        fd.on_queue = true;
        h->code = feed_changes(&fd);
        int stale = FEED_STALE;
        if (h->f->floor < fd.shard->slots.merged) /* filled before rows of another group came */
            h->f->wipe = true;
        if (h->code == GN_OK && !h->f->wipe)
            atomic_compare_exchange_strong(&h->f->state, &stale, FEED_LIVE);
    }
    feeding_end(&fd);
    gn_event_signal(&h->done);
}

static gn_code hand_over(gn_feed *f, gn_error *err)
{
    handover h = {.task.run = handover_task, .f = f};
    gn_event_init(&h.done, f->feeds->shard->world);
    gn_queue_post(f->feeds->shard->queue, &h.task);
    gn_event_wait(&h.done, UINT64_MAX);
    if (h.code != GN_OK)
        *err = h.err;
    return h.code;
}

static gn_code catch_up(gn_feed *f, gn_error *err)
{
    gn_code code = GN_OK;
    uint64_t n = UINT64_MAX;
    while (code == GN_OK && n > NEAR_ENOUGH) {
        feeding fd;
        code = feeding_begin(&fd, f, err) ? feed_changes(&fd) : GN_CANCELED;
        n = fd.n;
        feeding_end(&fd);
    }
    return code == GN_OK ? hand_over(f, err) : code;
}

/* ---- the feeder: opening ---- */

static gn_code open_vindex(gn_feed *f, gn_error *err)
{
    gn_vindex_options o = {.metric = (gn_metric_kind)f->index.metric,
                           .dimensions = f->dimensions,
                           .m = f->index.m,
                           .ef_construction = f->index.ef_construction,
                           .seed = f->index_id,
                           .halves = f->halves,
                           .codes = (gn_code_kind)f->index.codes,
                           .code_bits = f->index.code_bits,
                           .pq_subquantizers = f->index.pq_subquantizers,
                           .pq_centroids = f->index.pq_centroids,
                           .rerank = f->index.rerank,
                           .account = f->feeds->shard->account};
    return gn_vindex_open(f->feeds->shard->world, f->dir, &o, &f->vindex, err);
}

static gn_code wipe_and_open(gn_feed *f, gn_error *err)
{
    gn_code code = GN_OK;
    if (f->vindex) {
        gn_vindex *old = f->vindex;
        f->vindex = NULL;
        code = gn_vindex_close(old, false, err);
    }
    if (code == GN_OK)
        code = gn_vindex_wipe(f->dir, err);
    f->position = 0;
    f->wipe = false;
    f->verified = true;
    return code == GN_OK ? open_vindex(f, err) : code;
}

/* Before that the rows of another group were not there. */
static gn_scn merged_at(const gn_feed *f)
{
    gn_shard *shard = f->feeds->shard;
    gn_slots slots;
    gn_shard_slots(shard, &slots);
    return slots.merged;
}

/* Opens the files if they can be brought up to date by the change log alone. *rebuild: they cannot. */
static gn_code open_existing(gn_feed *f, gn_store *store, bool *rebuild, gn_error *err)
{
    gn_scn floor = 0;
    bool found = false;
    gn_code code = read_floor(f, store, &floor, &found, err);
    if (code != GN_OK)
        return code;
    code = open_vindex(f, err);
    if (code == GN_INDEX_CORRUPT) {
        gn_log_error("shard", "a vector index is corrupt and will be rebuilt", GN_KV_STR("index", f->index.name),
                     GN_KV_STR("error", err->message));
        gn_error_clear(err);
        *rebuild = true;
        return GN_OK;
    }
    if (code != GN_OK)
        return code;
    f->position = gn_vindex_durable_position(f->vindex);
    f->floor = floor;
    *rebuild = !found || floor < merged_at(f) || f->position < floor || f->position < f->feeds->shard->log_floor ||
               f->position == 0;
    return GN_OK;
}

static gn_code feed(gn_feed *f, gn_error *err)
{
    feeding fd;
    bool rebuild = f->wipe;
    gn_code code = feeding_begin(&fd, f, err) ? GN_OK : GN_CANCELED;
    if (code == GN_OK && !f->vindex && !rebuild)
        code = open_existing(f, fd.store, &rebuild, err);
    if (code == GN_OK && f->position < fd.shard->log_floor)
        rebuild = true;
    if (code == GN_OK && rebuild) {
        code = wipe_and_open(f, err);
        if (code == GN_OK)
            code = feed_rows(&fd);
        if (code != GN_OK)
            f->wipe = true; /* half fed */
    }
    feeding_end(&fd);
    return code == GN_OK ? catch_up(f, err) : code;
}

/* ---- the strand ---- */

static gn_feed *next_to_do(gn_feeds *feeds, uint64_t now)
{
    pthread_mutex_lock(&feeds->lock);
    gn_feed *f = feeds->first;
    while (f && !(f->refs == 1 && (f->state == FEED_GONE || (f->state == FEED_STALE && f->retry_ns <= now))))
        f = f->next;
    pthread_mutex_unlock(&feeds->lock);
    return f;
}

/* The queue walks the list without the lock and writes to live indexes, so some steps have to wait for it: after a
 * visit it knows of the feed's new state, and is in the middle of nothing. */
typedef struct visit {
    gn_task task;
    gn_feed *unlink; /* to be taken out of the list; may be NULL */
    gn_event done;
} visit;

static void visit_task(gn_task *task)
{
    visit *v = GN_CONTAINER(task, visit, task);
    if (v->unlink) {
        gn_feeds *feeds = v->unlink->feeds;
        pthread_mutex_lock(&feeds->lock);
        gn_feed **p = &feeds->first;
        while (*p && *p != v->unlink)
            p = &(*p)->next;
        GN_ASSERT(*p);
        *p = v->unlink->next;
        pthread_mutex_unlock(&feeds->lock);
    }
    gn_event_signal(&v->done);
}

static void visit_queue(gn_shard *shard, gn_feed *unlink)
{
    visit v = {.task.run = visit_task, .unlink = unlink};
    gn_event_init(&v.done, shard->world);
    gn_queue_post(shard->queue, &v.task);
    gn_event_wait(&v.done, UINT64_MAX);
}

static void remove_feed(gn_feed *f)
{
    gn_shard *shard = f->feeds->shard;
    visit_queue(shard, f);
    gn_error err = {0};
    if (f->vindex)
        gn_vindex_close(f->vindex, false, &err);
    if (gn_vindex_wipe(f->dir, &err) != GN_OK)
        gn_log_warn("shard", "a dropped vector index was not removed", GN_KV_STR("error", err.message));
    rmdir(f->dir);
    if (f->replaced) { /* the record in the store is its successor's */
        *strrchr(f->dir, '/') = '\0';
        rmdir(f->dir); /* the last one does it */
    } else {
        gn_store *store = gn_shard_store(shard);
        write_floor(f, store, true, NULL);
        gn_store_release(store);
    }
    feed_free(f);
}

/* Files that were there when the process began are read through once, behind everything that is urgent. */
static bool is_unverified(const gn_feed *f, gn_scn scn)
{
    (void)scn;
    return !f->verified;
}

static bool verify_one(gn_feeds *feeds)
{
    gn_feed *f = hold_live(feeds, is_unverified, 0);
    if (!f)
        return false;
    gn_error err = {0};
    gn_code code = gn_vindex_verify(f->vindex, &feeds->stopping, &err);
    f->verified = code != GN_CANCELED;
    if (code != GN_OK && code != GN_CANCELED)
        gn_feed_distrust(f, err.message);
    gn_feed_release(f);
    return code != GN_CANCELED;
}

/* ---- the feeder: recall for what is asked ---- */

void gn_feed_asked(gn_feed *f, const float *query)
{
    gn_asked_note(&f->asked, query);
    if (f->asked.seen == f->feeds->shard->calibrate_after)
        gn_wakeup_post(&f->feeds->wakeup);
}

static bool is_asked_enough(const gn_feed *f, gn_scn unused)
{
    const gn_shard *shard = f->feeds->shard;
    (void)unused;
    return gn_asked_is_due(&f->asked, shard->calibrate_after, shard->calibrate_pause_ns, gn_now_ns(shard->world));
}

/* Each query is compared with every vector, so there may be too many of these for it to be worth while. */
static uint32_t affordable(const gn_feed *f)
{
    const double MULTIPLICATIONS = 4e10; /* some seconds of a core */
    gn_vindex_stats stats;
    gn_vindex_stats_get(f->vindex, &stats);
    double n = MULTIPLICATIONS / ((double)(stats.vectors + 1) * (double)(f->dimensions + 1));
    return n < GN_ASKED_MOST ? (uint32_t)n : GN_ASKED_MOST;
}

static bool calibrate_one(gn_feeds *feeds)
{
    gn_feed *f = hold_live(feeds, is_asked_enough, 0);
    if (!f)
        return false;
    gn_error err = {0};
    float *queries;
    uint64_t start = gn_now_ns(feeds->shard->world);
    uint32_t n = gn_asked_take(&f->asked, affordable(f), start, &queries);
    gn_code code = GN_CANCELED;
    if (n >= GN_ASKED_FEWEST)
        code = gn_vindex_calibrate(f->vindex, queries, n, &feeds->stopping, &err);
    free(queries);
    if (code == GN_OK) {
        gn_counter_add(feeds->shard->metrics.calibrations, 1);
        gn_log_info("shard", "vector index calibrated by what it is asked", GN_KV_STR("index", f->index.name),
                    GN_KV_U64("queries", n),
                    GN_KV_F64("seconds", (double)(gn_now_ns(feeds->shard->world) - start) / 1e9));
    } else if (code != GN_CANCELED) {
        gn_log_warn("shard", "vector index not calibrated", GN_KV_STR("index", f->index.name),
                    GN_KV_STR("error", err.message));
    }
    gn_feed_release(f);
    return true;
}

static void feeder(void *arg)
{
    gn_feeds *feeds = arg;
    gn_world *world = feeds->shard->world;
    while (!feeds->stopping) {
        gn_feed *f = next_to_do(feeds, gn_now_ns(world));
        if (!f && (verify_one(feeds) || calibrate_one(feeds)))
            continue;
        if (!f) {
            gn_wakeup_wait(&feeds->wakeup, gn_now_ns(world) + RETRY_MS * 1000000ull);
            continue;
        }
        if (f->state == FEED_GONE) {
            remove_feed(f);
            continue;
        }
        gn_error err = {0};
        uint64_t start = gn_now_ns(world);
        visit_queue(feeds->shard, NULL);
        gn_code code = feed(f, &err);
        if (code == GN_OK) {
            gn_log_info("shard", "vector index is up to date", GN_KV_STR("index", f->index.name),
                        GN_KV_STR("metric", metric_name(f->index.metric)),
                        GN_KV_F64("seconds", (double)(gn_now_ns(world) - start) / 1e9));
        } else if (code != GN_CANCELED) {
            f->retry_ns = gn_now_ns(world) + RETRY_MS * 1000000ull;
            gn_log_warn("shard", "vector index is not up to date", GN_KV_STR("index", f->index.name),
                        GN_KV_STR("error", err.message));
        }
    }
}

/* ---- open and close ---- */

gn_feeds *gn_feeds_create(gn_shard *shard)
{
    gn_feeds *feeds = gn_xcalloc(1, sizeof *feeds);
    feeds->shard = shard;
    pthread_mutex_init(&feeds->lock, NULL);
    gn_wakeup_init(&feeds->wakeup, shard->world);
    return feeds;
}

/* After a clean stop an index is complete at once, and the first query finds it. */
static void open_if_complete(gn_feed *f, gn_store *store)
{
    gn_error err = {0};
    bool rebuild = false;
    if (open_existing(f, store, &rebuild, &err) != GN_OK || rebuild || !f->vindex)
        return;
    if (f->position >= f->feeds->shard->last_scn)
        f->state = FEED_LIVE;
}

gn_code gn_feeds_open(gn_feeds *feeds, gn_error *err)
{
    char path[GN_PATH_BYTES], name[GN_STORE_NAME];
    gn_vector_dir_name(name, feeds->shard->store_number);
    gn_code code = gn_path_join(path, feeds->shard->dir, name, err);
    if (code == GN_OK)
        code = gn_dir_create(path, err);
    if (code != GN_OK)
        return code;
    feeds->dir = gn_xstrdup(path);
    gn_feeds_schema_changed(feeds, feeds->shard->schema);
    for (gn_feed *f = feeds->first; f; f = f->next)
        open_if_complete(f, feeds->shard->store);
    feeds->strand = gn_strand_start(feeds->shard->world, "shard-feeder", feeder, feeds);
    return feeds->strand ? GN_OK : gn_error_set(err, GN_RESOURCES, "could not start a thread");
}

void gn_feeds_stop(gn_feeds *feeds)
{
    if (!feeds)
        return;
    feeds->stopping = true;
    gn_wakeup_post(&feeds->wakeup);
    if (feeds->strand)
        gn_strand_join(feeds->strand);
    feeds->strand = NULL;
}

void gn_feeds_destroy(gn_feeds *feeds, bool clean)
{
    if (!feeds)
        return;
    GN_ASSERT(!feeds->strand);
    for (gn_feed *f = feeds->first, *next; f; f = next) {
        next = f->next;
        GN_ASSERT(f->refs == 1);
        gn_error err = {0};
        if (f->vindex && gn_vindex_close(f->vindex, clean && f->state == FEED_LIVE, &err) != GN_OK)
            gn_log_warn("shard", "a vector index was not closed cleanly", GN_KV_STR("error", err.message));
        feed_free(f);
    }
    gn_wakeup_close(&feeds->wakeup);
    pthread_mutex_destroy(&feeds->lock);
    free(feeds->dir);
    free(feeds);
}

/* ---- statistics and waiting ---- */

/* *live: counted; NULL while the index is stale. */
static gn_code hold(gn_feeds *feeds, uint64_t index_id, gn_feed **live, gn_error *err)
{
    *live = NULL;
    pthread_mutex_lock(&feeds->lock);
    gn_feed *f = feeds->first;
    while (f && (f->index_id != index_id || f->state == FEED_GONE))
        f = f->next;
    if (f && f->state == FEED_LIVE) {
        f->refs++;
        *live = f;
    }
    pthread_mutex_unlock(&feeds->lock);
    if (f)
        return GN_OK;
    return gn_error_set(err, GN_NO_OBJECT, "vector index %llu does not exist", (unsigned long long)index_id);
}

gn_code gn_shard_vindex_stats(gn_shard *shard, uint64_t index_id, struct gn_vindex_stats *out, bool *live)
{
    *out = (gn_vindex_stats){.building = true};
    gn_feed *f;
    gn_code code = hold(shard->feeds, index_id, &f, NULL);
    if (live)
        *live = f != NULL;
    if (f)
        gn_vindex_stats_get(f->vindex, out);
    gn_feed_release(f);
    return code;
}

gn_code gn_shard_vindex_build(gn_shard *shard, uint64_t index_id, void (*progress)(void *, uint64_t, uint64_t),
                              void *ctx, const _Atomic bool *cancel, gn_error *err)
{
    enum { POLL_NS = 5000000 };
    for (;;) {
        gn_feed *f;
        gn_code code = hold(shard->feeds, index_id, &f, err);
        if (code != GN_OK)
            return code;
        if (f) {
            code = gn_vindex_build(f->vindex, progress, ctx, cancel, err);
            gn_feed_release(f);
            return code;
        }
        if (cancel && *cancel)
            return gn_error_set(err, GN_CANCELED, "%s", gn_code_text(GN_CANCELED));
        if (shard->stopping || gn_shard_failed(shard) != GN_OK)
            return gn_error_set(err, GN_SHUTDOWN, "%s", gn_code_text(GN_SHUTDOWN));
        gn_event pause;
        gn_event_init(&pause, shard->world);
        gn_event_wait(&pause, gn_now_ns(shard->world) + POLL_NS);
    }
}
