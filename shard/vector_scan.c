/* Rows in order of distance. Committed rows come from the vector index when it is live at the read SCN, else from a
 * pass over the rows; own writes are few and are measured here; the two are merged.
 *
 * Widening: when all that one search gave has been taken, the next asks for twice as many and skips what was given. A
 * pass over the rows keeps the best of what lies behind the last row given, so any number of rows takes bounded memory.
 */
#include "base/assert.h"
#include "index/distance.h"
#include "shard/batch_fill_private.h"
#include "shard/overlay_private.h"
#include "shard/txn_private.h"
#include "shard/vector_feed_private.h"

#include <math.h>
#include <stdlib.h>

enum { DEFAULT_K = 100, PASS_ROWS_MIN = 256 };

typedef struct candidate {
    double distance;
    gn_bytes key;
    gn_scn begin_scn; /* 0: of an own row */
    gn_bytes row;     /* of an own row */
} candidate;

struct gn_vector_scan {
    gn_scan_link link;
    gn_txn *txn;
    const gn_vector_scan_spec *spec;
    gn_batch_fill fill;
    gn_vector_scan_stats stats;
    uint32_t vector_ordinal;
    float *vector; /* aligned room */
    float query_norm;

    gn_feed *feed; /* NULL: there is no live index */
    gn_vview *view;
    bool by_rows;
    gn_overlay seen; /* keys that were given or looked at */
    uint64_t k;

    gn_arena *arena; /* of the candidates at hand */
    candidate *found;
    size_t n_found, at;
    bool exhausted;
    bool has_last; /* rows: everything up to here was given */
    double last_distance;
    gn_buf last_key;

    const gn_write_set *own;
    gn_own_mark mark;
    gn_arena *own_arena;
    candidate *own_found;
    size_t n_own, own_at;
    uint64_t given;
};

/* ---- distances ---- */

/* NAN: the row has no distance (no vector, or none that has a cosine). */
static double measure(gn_vector_scan *s, gn_bytes row, gn_code *code, gn_error *err)
{
    gn_value value;
    gn_arena *arena = gn_arena_create(NULL);
    *code = gn_row_decode(s->spec->table, row, &s->vector_ordinal, 1, &value, arena, err);
    gn_arena_destroy(arena);
    size_t n = s->spec->dimensions;
    if (*code != GN_OK || value.is_null || value.as.bytes.len != n * sizeof(float))
        return NAN;
    memcpy(s->vector, value.as.bytes.data, n * sizeof(float));
    const gn_kernels *kernels = gn_kernels_best();
    s->stats.distances++;
    switch (s->spec->index->metric) {
    case GN_METRIC_L2:
        return sqrt((double)kernels->l2sq(s->spec->query, s->vector, n));
    case GN_METRIC_IP:
        return -(double)kernels->dot(s->spec->query, s->vector, n);
    default: {
        double norm = sqrt((double)kernels->norm2(s->vector, NULL, n)) * (double)s->query_norm;
        if (norm == 0)
            return NAN;
        double cosine = (double)kernels->dot(s->spec->query, s->vector, n) / norm;
        return 1 - (cosine > 1 ? 1 : cosine < -1 ? -1 : cosine);
    }
    }
}

static int order(double d, gn_bytes key, double other_d, gn_bytes other_key)
{
    if (d != other_d)
        return d < other_d ? -1 : 1;
    return gn_bytes_cmp(key, other_key);
}

static int by_distance(const void *a, const void *b)
{
    const candidate *x = a, *y = b;
    return order(x->distance, x->key, y->distance, y->key);
}

/* ---- own writes ---- */

static gn_code measure_own(gn_vector_scan *s, gn_error *err)
{
    gn_write_set *ws = gn_txn_find_set(s->txn, s->spec->table->id);
    if (!ws || gn_write_set_empty(ws))
        return GN_OK;
    s->own = ws;
    s->mark = gn_own_now(ws);
    s->own_arena = gn_arena_create(s->txn->account);
    s->own_found = gn_arena_calloc(s->own_arena, ws->run_n + ws->list_n, sizeof *s->own_found);
    if (!s->own_found)
        return gn_error_oom(err, s->txn->account);
    const gn_key_span all = {.end_open = true};
    gn_own_cursor cursor;
    gn_own_cursor_open(&cursor, ws, s->mark, &all, false);
    gn_own_row row;
    while (gn_own_cursor_next(&cursor, &row)) {
        gn_code code = GN_OK;
        double d = row.deleted ? NAN : measure(s, row.row, &code, err);
        if (code != GN_OK)
            return code;
        if (!isnan(d))
            s->own_found[s->n_own++] = (candidate){.distance = d, .key = row.key, .row = row.row};
    }
    qsort(s->own_found, s->n_own, sizeof *s->own_found, by_distance);
    return GN_OK;
}

static bool is_own(const gn_vector_scan *s, gn_bytes key)
{
    gn_own_row row;
    return s->own && gn_own_find(s->own, s->mark, key, &row);
}

/* ---- committed rows, by the index ---- */

/* An index keeps vectors of rows that have gone to another group until its segments are merged. */
static bool is_ours(const gn_vector_scan *s, bool looks, gn_bytes key)
{
    bool ours;
    return gn_slot_view_pass(&s->txn->slots, looks, s->spec->table, key, &ours, NULL) == GN_OK && ours;
}

static bool index_filter(void *ctx, gn_bytes key, uint64_t begin_scn)
{
    const gn_vector_scan *s = ctx;
    (void)begin_scn;
    return !is_own(s, key) && is_ours(s, s->txn->slots.vectors, key);
}

static void drop_index(gn_vector_scan *s)
{
    gn_vview_release(s->view);
    gn_feed_release(s->feed);
    s->view = NULL;
    s->feed = NULL;
}

/* The keys of `found` that are new, in place; they live as long as the view. */
static void keep_unseen(gn_vector_scan *s, const gn_neighbor *found, size_t n)
{
    static const gn_space any = {.kind = GN_KIND_ROW};
    for (size_t i = 0; i < n; i++) {
        if (gn_overlay_find(&s->seen, &any, found[i].key))
            continue;
        gn_overlay_set(&s->seen, &any, found[i].key, true, gn_bytes_of(NULL, 0));
        s->found[s->n_found++] =
            (candidate){.distance = (double)found[i].distance, .key = found[i].key, .begin_scn = found[i].begin_scn};
    }
}

static gn_code search_index(gn_vector_scan *s, gn_error *err)
{
    const gn_vector_scan_spec *spec = s->spec;
    gn_vsearch search = {.query = spec->query,
                         .k = (uint32_t)s->k,
                         .ef = spec->ef,
                         .target_recall = spec->target_recall,
                         .exact = spec->exact,
                         .chain = s->txn->chain.links,
                         .n_chain = s->txn->chain.n,
                         .filter = s->own || s->txn->slots.vectors ? index_filter : NULL,
                         .filter_ctx = s,
                         .arena = s->arena};
    gn_neighbor *found;
    size_t n;
    gn_vsearch_stats stats = {0};
    gn_code code = gn_vview_search(s->view, &search, &found, &n, &stats, err);
    if (code != GN_OK)
        return code;
    s->stats.searches++;
    s->stats.distances += stats.distances;
    s->stats.tail_rows = stats.tail_rows;
    s->stats.segments = stats.segments;
    s->stats.ef = stats.ef ? stats.ef : s->stats.ef;
    s->stats.recall = stats.recall;
    s->found = gn_arena_calloc(s->arena, n, sizeof *s->found);
    if (!s->found)
        return gn_error_oom(err, s->txn->account);
    keep_unseen(s, found, n);
    s->exhausted = n < s->k;
    return GN_OK;
}

/* ---- committed rows, by a pass over all of them ---- */

static void sift_down(candidate *heap, size_t n, size_t i)
{
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && by_distance(&heap[child + 1], &heap[child]) > 0)
            child++;
        if (by_distance(&heap[i], &heap[child]) >= 0)
            break;
        candidate swap = heap[i];
        heap[i] = heap[child];
        heap[child] = swap;
    }
}

/* A heap with the farthest on top, of at most `most`. */
static gn_code keep_nearest(gn_vector_scan *s, size_t most, double d, gn_bytes key, gn_error *err)
{
    bool full = s->n_found == most;
    if (full && order(d, key, s->found[0].distance, s->found[0].key) >= 0)
        return GN_OK;
    uint8_t *copy = gn_arena_memdup(s->arena, key.data, key.len);
    if (!copy)
        return gn_error_oom(err, s->txn->account);
    candidate c = {.distance = d, .key = {copy, key.len}};
    if (full) {
        s->found[0] = c;
        sift_down(s->found, most, 0);
        return GN_OK;
    }
    size_t i = s->n_found++;
    for (; i > 0 && by_distance(&c, &s->found[(i - 1) / 2]) > 0; i = (i - 1) / 2)
        s->found[i] = s->found[(i - 1) / 2];
    s->found[i] = c;
    return GN_OK;
}

/* Given already: nearer than the last row of the pass before, or found by the index before it was given up. */
static bool was_given(const gn_vector_scan *s, double d, gn_bytes key)
{
    static const gn_space any = {.kind = GN_KIND_ROW};
    if (s->has_last && order(d, key, s->last_distance, gn_buf_bytes(&s->last_key)) <= 0)
        return true;
    return gn_overlay_find(&s->seen, &any, key) != NULL;
}

static gn_code search_rows(gn_vector_scan *s, gn_error *err)
{
    gn_txn *txn = s->txn;
    size_t most = s->k < PASS_ROWS_MIN ? PASS_ROWS_MIN : s->k;
    s->found = gn_arena_calloc(s->arena, most, sizeof *s->found);
    if (!s->found)
        return gn_error_oom(err, txn->account);
    gn_space space = gn_row_space(s->spec->table, txn->branch);
    const gn_key_span all = {.end_open = true};
    gn_mvcc_cursor cursor;
    gn_mvcc_open(&cursor, txn->store, &space, &txn->chain, &all, false);
    gn_code code;
    for (uint64_t n = 0;; n++) {
        gn_bytes key;
        gn_version version;
        code = gn_mvcc_next(&cursor, &key, &version, err);
        if (code == GN_OK && (n & 1023) == 0 && gn_txn_canceled(txn))
            code = gn_error_set(err, GN_CANCELED, "%s", gn_code_text(GN_CANCELED));
        double d = code == GN_OK && !is_own(s, key) && is_ours(s, s->txn->slots.rows, key)
                       ? measure(s, version.row, &code, err)
                       : NAN;
        if (code == GN_OK && !isnan(d) && !was_given(s, d, key))
            code = keep_nearest(s, most, d, key, err);
        if (code != GN_OK)
            break;
    }
    gn_mvcc_close(&cursor);
    if (code != GN_NO_DATA)
        return code;
    s->stats.searches++;
    qsort(s->found, s->n_found, sizeof *s->found, by_distance);
    s->exhausted = s->n_found < most;
    if (s->n_found > 0) {
        const candidate *last = &s->found[s->n_found - 1];
        s->has_last = true;
        s->last_distance = last->distance;
        gn_buf_clear(&s->last_key);
        gn_buf_append_bytes(&s->last_key, last->key);
    }
    return GN_OK;
}

/* ---- open, close ---- */

static void settle(gn_scan_link *link)
{
    gn_vector_scan *s = GN_CONTAINER(link, gn_vector_scan, link);
    drop_index(s);
    link->prev->next = link->next;
    link->next->prev = link->prev;
    s->txn = NULL;
}

static gn_code check_spec(gn_txn *txn, const gn_vector_scan_spec *spec, gn_error *err)
{
    const gn_table_desc *now = gn_txn_table(txn, spec->table->id);
    if (!now || now->data_epoch != spec->table->data_epoch || now->version != spec->table->version)
        return gn_error_set(err, GN_SERIALIZATION, "the definition of table \"%s\" has changed", spec->table->name);
    GN_ASSERT(spec->index->kind == GN_INDEX_HNSW);
    int ordinal = gn_table_column_by_id(spec->table, spec->index->columns[0]);
    if (ordinal < 0 || spec->table->columns[ordinal].type.typmod != (int32_t)spec->dimensions)
        return gn_error_set(err, GN_BAD_VECTOR, "different vector dimensions %d and %u",
                            ordinal < 0 ? 0 : spec->table->columns[ordinal].type.typmod, spec->dimensions);
    for (uint32_t i = 0; i < spec->dimensions; i++)
        if (!isfinite(spec->query[i]))
            return gn_error_set(err, GN_BAD_VECTOR, "NaN and infinity are not allowed in a vector");
    return GN_OK;
}

gn_code gn_vector_scan_open(gn_txn *txn, const gn_vector_scan_spec *spec, gn_vector_scan **out, gn_error *err)
{
    gn_code code = check_spec(txn, spec, err);
    gn_space rows = gn_row_space(spec->table, txn->branch);
    if (code == GN_OK) /* any row may turn out to be among the nearest */
        code = gn_txn_await(txn, &rows, &(gn_key_span){.end_open = true}, err);
    if (code != GN_OK)
        return code;
    gn_vector_scan *s = gn_xcalloc(1, sizeof *s);
    s->txn = txn;
    s->spec = spec;
    s->vector_ordinal = (uint32_t)gn_table_column_by_id(spec->table, spec->index->columns[0]);
    s->vector = gn_xmalloc(spec->dimensions * sizeof(float));
    s->query_norm = sqrtf(gn_kernels_best()->norm2(spec->query, NULL, spec->dimensions));
    s->k = spec->k_hint ? spec->k_hint : DEFAULT_K;
    s->k = s->k > GN_MAX_K ? GN_MAX_K : s->k;
    s->stats.ef = spec->ef;
    s->arena = gn_arena_create(txn->account);
    gn_overlay_init(&s->seen);
    gn_buf_init(&s->last_key, NULL, GN_MAX_KEY);
    gn_batch_fill_init(&s->fill, spec->table, spec->ordinals, spec->n_ordinals, true);
    s->link = (gn_scan_link){.settle = settle, .next = &txn->scans, .prev = txn->scans.prev};
    s->link.prev->next = s->link.next->prev = &s->link;
    s->feed = gn_feed_acquire(txn->shard->feeds, spec->index->id, spec->table->data_epoch, txn->read_scn);
    if (s->feed)
        s->view = gn_vview_acquire(gn_feed_vindex(s->feed));
    s->by_rows = !s->view;
    if (gn_txn_records(txn)) { /* any other vector might have been nearer */
        gn_read_set_range(&txn->reads, &rows, &(gn_key_span){.end_open = true});
    }
    code = measure_own(s, err);
    if (code != GN_OK) {
        gn_vector_scan_close(s);
        return code;
    }
    *out = s;
    return GN_OK;
}

void gn_vector_scan_close(gn_vector_scan *s)
{
    if (!s)
        return;
    if (s->txn)
        settle(&s->link);
    gn_batch_fill_close(&s->fill);
    gn_overlay_close(&s->seen);
    gn_buf_close(&s->last_key);
    gn_arena_destroy(s->arena);
    gn_arena_destroy(s->own_arena);
    free(s->vector);
    free(s);
}

void gn_vector_scan_stats_get(const gn_vector_scan *scan, gn_vector_scan_stats *out)
{
    *out = scan->stats;
}

/* ---- next ---- */

static gn_code refill(gn_vector_scan *s, gn_error *err)
{
    gn_code code = GN_OK;
    while (code == GN_OK && s->at == s->n_found && !s->exhausted) {
        if (gn_txn_canceled(s->txn))
            return gn_error_set(err, GN_CANCELED, "%s", gn_code_text(GN_CANCELED));
        gn_arena_reset(s->arena);
        s->n_found = s->at = 0;
        if (s->stats.searches > 0)
            s->k *= 2;
        if (s->k > GN_MAX_K) { /* more than a search can give: the rest comes from the rows */
            s->k = GN_MAX_K;
            s->by_rows = s->by_rows || s->stats.searches > 0;
        }
        if (s->by_rows) {
            code = search_rows(s, err);
            continue;
        }
        code = search_index(s, err);
        if (code == GN_INDEX_CORRUPT || code == GN_CORRUPT) {
            gn_feed_distrust(s->feed, err ? err->message : "");
            gn_error_clear(err);
            s->by_rows = true; /* the view stays: what was given is known by its keys */
            code = GN_OK;
        }
    }
    return code;
}

/* The nearest of both; NULL at the end. */
static gn_code take_nearest(gn_vector_scan *s, const candidate **out, gn_error *err)
{
    gn_code code = refill(s, err);
    *out = NULL;
    if (code != GN_OK)
        return code;
    const candidate *committed = s->at < s->n_found ? &s->found[s->at] : NULL;
    const candidate *own = s->own_at < s->n_own ? &s->own_found[s->own_at] : NULL;
    if (committed && (!own || by_distance(committed, own) <= 0)) {
        s->at++;
        *out = committed;
    } else if (own) {
        s->own_at++;
        *out = own;
    }
    return GN_OK;
}

/* The row of a candidate. *found false: the index is wrong about it. */
static gn_code row_of(gn_vector_scan *s, const candidate *c, gn_bytes *row, bool *found, gn_error *err)
{
    gn_txn *txn = s->txn;
    *row = c->row;
    *found = true;
    if (c->row.data)
        return GN_OK;
    gn_space space = gn_row_space(s->spec->table, txn->branch);
    gn_version version = {0};
    gn_code code;
    /* The index has judged what is visible; the version that it names is read by its whole key, which costs half of a
     * look for the newest one. */
    if (c->begin_scn && txn->chain.n == 1)
        code = gn_point_get_version(&txn->point, &space, c->key, c->begin_scn, &version.row, found, err);
    else
        code = gn_point_get(&txn->point, &space, &txn->chain, c->key, &version, found, err);
    if (code == GN_OK && !*found && s->feed)
        gn_feed_distrust(s->feed, "it has a version that is not there");
    *row = version.row;
    return code;
}

gn_code gn_vector_scan_next(gn_vector_scan *s, gn_batch *batch, gn_bytes *keys, gn_error *err)
{
    if (!s->txn)
        return gn_error_set(err, GN_NO_CURSOR, "the transaction of this scan has ended");
    gn_code code = gn_batch_fill_begin(&s->fill, batch, err);
    uint64_t hint = s->spec->k_hint ? s->spec->k_hint : DEFAULT_K;
    uint32_t most = hint > s->given && hint - s->given < GN_BATCH_ROWS ? (uint32_t)(hint - s->given) : GN_BATCH_ROWS;
    while (code == GN_OK && batch->n_rows < most) {
        const candidate *c;
        gn_bytes row;
        bool found;
        code = take_nearest(s, &c, err);
        if (code != GN_OK || !c)
            break;
        code = row_of(s, c, &row, &found, err);
        if (code == GN_OK && found)
            code =
                gn_batch_fill_row(&s->fill, batch, row, c->key, keys ? &keys[batch->n_rows] : NULL, c->distance, err);
    }
    s->given += batch->n_rows;
    return code;
}
