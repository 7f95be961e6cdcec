/* Where the candidates of a vector scan come from. Own writes are few and are measured when it is opened. Committed
 * rows come by one of four ways:
 *
 * By the index: the nearest, then more. When all that one search gave has been taken, the next asks for at least twice
 * as many and skips what was given. Each candidate's row is read once, and the filter decides. How many of those
 * nearest to the query match tells how many will have to be read, which no statistics of the whole table could: what
 * matches may be near the query or far from it.
 *
 * By keys: where the filter holds the rows to ranges of a btree index (or of the primary key), their keys are read from
 * the most selective of such indexes (vector_keys.c), and exactly these vectors are measured in the vector index. Taken
 * when reading the keys is expected to cost less than reading the rows one by one.
 *
 * By a walk: the index asks the filter of each row that it comes by, and goes among those that match (vector_judge.c).
 * Taken where the filter was asked before, so that most answers are known, and where hardly a row near the query
 * matches.
 *
 * By rows: a pass over all of them, which keeps the best that match. Where there is no live index, and where so many
 * rows would have to be read one by one that a pass costs less.
 *
 * A way is left for another only when it is expected to cost more, by what was seen so far, so all of it costs a small
 * multiple of the best way, and rows come as long as there are any. A pass keeps the best of what lies behind the last
 * row given, so any number of rows takes bounded memory. */
#include "base/limits.h"
#include "index/distance.h"
#include "query/expr.h"
#include "query/vector.h"
#include "shard/vector_scan_private.h"

#include <math.h>
#include <stdlib.h>

typedef gn_vector_candidate candidate;

enum {
    PASS_ROWS_MIN = 256,
    KEYS_MOST = 50000, /* of a list: some megabytes */
    KEYS_FIRST = 1024, /* that may be read in vain */
    PASS_COST = 10,    /* rows of a pass for one that is looked up */
    LIST_COST = GN_VECTOR_LIST_COST,
    KEYS_GLANCE = 64,   /* of a list that is looked at first of all, */
    GLANCE_RANGES = 16, /* if it is of so few ranges */
    JUDGED_MIN = 256,   /* rows that a walk may read in vain */
    EF_SPARE = 32,      /* candidates of a walk beyond its results, and half of those */
};

/* ---- distances ---- */

/* NAN: the row has no distance (no vector, or none that has a cosine). */
static double measure(gn_vector_scan *s, gn_bytes row, gn_code *code, gn_error *err)
{
    gn_value value;
    gn_arena_reset(s->scratch);
    *code = gn_row_decode(s->spec->table, row, &s->vector_ordinal, 1, &value, s->scratch, err);
    size_t n = s->spec->dimensions;
    gn_type type = s->spec->table->columns[s->vector_ordinal].type;
    if (*code != GN_OK || value.is_null || !gn_index_vector(type, value.as.bytes, s->vector))
        return NAN;
    const gn_kernels *kernels = gn_kernels_best();
    s->stats.distances++;
    switch (s->spec->index->metric) {
    case GN_METRIC_L2:
        return sqrt((double)kernels->l2sq(s->spec->query, s->vector, n));
    case GN_METRIC_IP:
        return -(double)kernels->dot(s->spec->query, s->vector, n);
    case GN_METRIC_COSINE: {
        double norm = sqrt((double)kernels->norm2(s->vector, NULL, n)) * (double)s->query_norm;
        if (norm == 0)
            return NAN;
        double cosine = (double)kernels->dot(s->spec->query, s->vector, n) / norm;
        return 1 - (cosine > 1 ? 1 : cosine < -1 ? -1 : cosine);
    }
    default:
        return gn_distance_rare((gn_metric_kind)s->spec->index->metric)(s->spec->query, s->vector, n);
    }
}

static int order(double d, gn_bytes key, double other_d, gn_bytes other_key)
{
    if (d != other_d)
        return d < other_d ? -1 : 1;
    return gn_bytes_cmp(key, other_key);
}

int gn_vector_order(const candidate *a, const candidate *b)
{
    return order(a->distance, a->key, b->distance, b->key);
}

static int by_distance(const void *a, const void *b)
{
    return gn_vector_order(a, b);
}

/* ---- own writes ---- */

gn_code gn_vector_measure_own(gn_vector_scan *s, gn_error *err)
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
        s->own_unmeasured |= isnan(d) && !row.deleted;
        if (!isnan(d))
            s->own_found[s->n_own++] = (candidate){.distance = d, .key = row.key, .row = row.row};
    }
    qsort(s->own_found, s->n_own, sizeof *s->own_found, by_distance);
    return GN_OK;
}

bool gn_vector_is_own(const gn_vector_scan *s, gn_bytes key)
{
    gn_own_row row;
    return s->own && gn_own_find(s->own, s->mark, key, &row);
}

/* ---- what is to be expected ---- */

uint64_t gn_vector_wanted(const gn_vector_scan *s)
{
    uint64_t hint = s->spec->k_hint ? s->spec->k_hint : GN_VECTOR_DEFAULT_K;
    return hint > s->given ? hint - s->given : s->given + 1;
}

/* The share of the rows looked at next that will match, by those that were looked at; at first a half. */
static double match_rate(const gn_vector_scan *s)
{
    return ((double)s->stats.passed + 0.5) / ((double)s->stats.asked + 1);
}

double gn_vector_rows_to_ask(const gn_vector_scan *s)
{
    return s->spec->filter ? (double)gn_vector_wanted(s) / match_rate(s) : (double)gn_vector_wanted(s);
}

gn_code gn_vector_select(gn_vector_scan *s, const gn_batch *batch, uint16_t *rows, uint32_t *n, gn_error *err)
{
    gn_arena_reset(s->scratch);
    gn_eval eval = {.format = s->spec->format, .arena = s->scratch, .err = err, .cancel = s->txn->cancel};
    return gn_expr_select(s->spec->filter, batch, &eval, rows, n);
}

/* ---- by the index, and by keys ---- */

/* An index keeps vectors of rows that have gone to another group until its segments are merged. */
bool gn_vector_is_ours(const gn_vector_scan *s, bool looks, gn_bytes key)
{
    bool ours;
    return gn_slot_view_pass(&s->txn->slots, looks, s->spec->table, key, &ours, NULL) == GN_OK && ours;
}

static bool index_filter(void *ctx, gn_bytes key, uint64_t begin_scn)
{
    const gn_vector_scan *s = ctx;
    (void)begin_scn;
    return !gn_vector_is_own(s, key) && gn_vector_is_ours(s, s->txn->slots.vectors, key);
}

void gn_vector_drop_index(gn_vector_scan *s)
{
    gn_vmemo_release(s->memo);
    s->memo = NULL;
    while (s->n_told > 0)
        gn_vmemo_release(s->told[--s->n_told]);
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

/* Nothing within the radius comes after the first that is surely beyond it. */
static void cut_at_radius(gn_vector_scan *s)
{
    size_t n = s->n_found;
    while (s->n_found > 0 && s->found[s->n_found - 1].distance > s->beyond)
        s->n_found--;
    s->exhausted |= s->n_found < n;
}

/* A walk needs candidates beyond its results to be as good for the last of them, since the last that match count as
 * much as the first. */
static uint32_t ef_of(const gn_vector_scan *s)
{
    uint64_t ef = s->k + s->k / 2 + EF_SPARE;
    if ((!s->spec->filter && !s->spec->has_radius) || s->spec->target_recall > 0 || ef <= s->spec->ef)
        return s->spec->ef;
    return ef > GN_MAX_EF ? GN_MAX_EF : (uint32_t)ef;
}

/* Versions in the index, which are about the table's rows. */
static double rows_of_index(const gn_vector_scan *s)
{
    gn_vindex_stats stats;
    gn_vindex_stats_get(gn_feed_vindex(s->feed), &stats);
    return (double)stats.vectors;
}

static gn_code search_index(gn_vector_scan *s, gn_error *err)
{
    const gn_vector_scan_spec *spec = s->spec;
    bool keyed = s->stats.way == GN_VECTOR_BY_KEYS;
    gn_vsearch search = {
        .query = spec->query,
        .k = (uint32_t)s->k,
        .ef = ef_of(s),
        .target_recall = spec->target_recall,
        .exact = spec->exact,
        .chain = s->txn->chain.links,
        .n_chain = s->txn->chain.n,
        .filter = !keyed && (s->own || gn_slot_view_looks(&s->txn->slots, s->txn->slots.vectors)) ? index_filter : NULL,
        .filter_ctx = s,
        .keys = keyed ? s->keys : NULL,
        .n_keys = keyed ? s->n_keys : 0,
        .arena = s->arena};
    gn_neighbor *found;
    size_t n;
    gn_vsearch_stats stats = {0};
    if (s->stats.way == GN_VECTOR_BY_WALK) {
        search.judge = gn_vector_judge;
        search.judge_ctx = s;
        search.memo = s->memo;
        s->judge_left = (uint64_t)fmax(JUDGED_MIN, rows_of_index(s) / PASS_COST);
        s->judge_short = false;
        s->judge_err = err;
    }
    gn_code code = gn_vview_search(s->view, &search, &found, &n, &stats, err);
    if (s->judge_code != GN_OK)
        code = s->judge_code;
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
    if (s->stats.way == GN_VECTOR_BY_WALK && s->judge_short) { /* what it found may not be the nearest */
        s->walk_tried = true;
        s->stats.way = GN_VECTOR_BY_ROWS;
        return GN_OK;
    }
    s->exhausted = n < s->k;
    if (keyed && s->exhausted)
        s->stats.all_measured = n == s->n_keys && !s->own_unmeasured;
    keep_unseen(s, found, n);
    cut_at_radius(s);
    return GN_OK;
}

/* ---- by a pass over all rows ---- */

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

/* ---- the filter of a pass ---- rows that are near enough wait for it in a batch */

static gn_code judge(gn_vector_scan *s, size_t most, gn_error *err)
{
    uint16_t rows[GN_BATCH_ROWS];
    uint32_t n;
    if (s->pass.n_rows == 0)
        return GN_OK;
    gn_code code = gn_vector_select(s, &s->pass, rows, &n, err);
    s->stats.asked += s->pass.n_rows;
    for (uint32_t i = 0, at = 0; s->walk_tried && code == GN_OK && i < s->pass.n_rows; i++) {
        bool match = at < n && rows[at] == i;
        at += match;
        gn_vector_note(s, s->pass_keys[i], s->pass_scns[i], match);
    }
    for (uint32_t i = 0; i < n && code == GN_OK; i++)
        code = keep_nearest(s, most, s->pass_distances[rows[i]], s->pass_keys[rows[i]], err);
    return code == GN_OK ? gn_batch_fill_begin(&s->pass_fill, &s->pass, GN_BATCH_ROWS, err) : code;
}

gn_code gn_vector_begin_judging(gn_vector_scan *s, gn_error *err)
{
    if (!s->pass_keys) {
        gn_batch_fill_init(&s->pass_fill, s->spec->table, s->spec->ordinals, s->spec->n_ordinals, false);
        s->pass = (gn_batch){.n_columns = s->spec->n_ordinals, .arena = gn_arena_create(s->txn->account)};
        s->pass_keys = gn_xcalloc(GN_BATCH_ROWS, sizeof *s->pass_keys);
        s->pass_distances = gn_xcalloc(GN_BATCH_ROWS, sizeof *s->pass_distances);
        s->pass_scns = gn_xcalloc(GN_BATCH_ROWS, sizeof *s->pass_scns);
    }
    return gn_batch_fill_begin(&s->pass_fill, &s->pass, GN_BATCH_ROWS, err);
}

static gn_code offer(gn_vector_scan *s, size_t most, double d, gn_bytes key, const gn_version *version, gn_error *err)
{
    if (!s->spec->filter)
        return keep_nearest(s, most, d, key, err);
    if (!s->walk_tried && s->n_found == most && order(d, key, s->found[0].distance, s->found[0].key) >= 0)
        return GN_OK;
    uint32_t at = s->pass.n_rows;
    s->pass_distances[at] = d;
    s->pass_scns[at] = version->scn;
    gn_code code = gn_batch_fill_row(&s->pass_fill, &s->pass, version->row, key, &s->pass_keys[at], 0, err);
    return code == GN_OK && s->pass.n_rows == GN_BATCH_ROWS ? judge(s, most, err) : code;
}

static gn_code pass_rows(gn_vector_scan *s, size_t most, gn_error *err)
{
    bool unmeasured = s->own_unmeasured;
    gn_txn *txn = s->txn;
    gn_space space = gn_row_space(s->spec->table, txn->branch);
    const gn_key_span all = {.end_open = true};
    gn_mvcc_cursor cursor;
    gn_code code = s->spec->filter ? gn_vector_begin_judging(s, err) : GN_OK;
    gn_mvcc_open(&cursor, txn->store, &space, &txn->chain, &all, false);
    for (uint64_t n = 0; code == GN_OK; n++) {
        gn_bytes key;
        gn_version version;
        code = gn_mvcc_next(&cursor, &key, &version, err);
        if (code == GN_OK && (n & 1023) == 0 && gn_txn_canceled(txn))
            code = gn_error_set(err, GN_CANCELED, "%s", gn_code_text(GN_CANCELED));
        bool counts = code == GN_OK && !gn_vector_is_own(s, key) && gn_vector_is_ours(s, s->txn->slots.rows, key);
        double d = counts ? measure(s, version.row, &code, err) : NAN;
        unmeasured |= counts && isnan(d);
        if (code == GN_OK && !isnan(d) && d <= s->beyond && !was_given(s, d, key))
            code = offer(s, most, d, key, &version, err);
    }
    gn_mvcc_close(&cursor);
    if (code != GN_NO_DATA)
        return code;
    s->stats.all_measured = !unmeasured;
    return s->spec->filter ? judge(s, most, err) : GN_OK;
}

static gn_code search_rows(gn_vector_scan *s, gn_error *err)
{
    size_t most = s->k < PASS_ROWS_MIN ? PASS_ROWS_MIN : s->k;
    s->found = gn_arena_calloc(s->arena, most, sizeof *s->found);
    if (!s->found)
        return gn_error_oom(err, s->txn->account);
    gn_code code = pass_rows(s, most, err);
    if (code != GN_OK)
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

/* ---- the choice ---- */

/* Is the list worth being read, as far as `most` keys? */
static bool keys_are_better(const gn_vector_scan *s, double rows, uint64_t *most)
{
    double ask = gn_vector_rows_to_ask(s);
    *most = (uint64_t)fmin(KEYS_MOST, LIST_COST * ask + KEYS_FIRST);
    if (s->spec->n_bounds == 0 || s->spec->exact || *most < 4 * s->keys_tried)
        return false;
    return rows * match_rate(s) <= LIST_COST * ask || (double)s->stats.asked > ask;
}

/* Before the index is asked again: is another way the better one by now? */
static gn_code choose_way(gn_vector_scan *s, gn_error *err)
{
    gn_code code = GN_OK;
    uint64_t most = KEYS_GLANCE, matching = 0;
    bool all = false;
    if (s->stats.way != GN_VECTOR_BY_INDEX || !s->spec->filter)
        return GN_OK;
    if (s->stats.searches == 0) { /* what a few keys end costs less to look at than to ask the nearest about */
        code = gn_vector_recall(s, &matching, err);
        if (code == GN_OK && matching <= most && s->spec->n_bounds > 0 &&
            s->spec->bounds[0].n_ranges <= GLANCE_RANGES && !s->spec->exact)
            code = gn_vector_list_keys(s, most, &all, err);
        s->stats.way = all ? GN_VECTOR_BY_KEYS : s->was_asked ? GN_VECTOR_BY_WALK : GN_VECTOR_BY_INDEX;
        return code;
    }
    double rows = rows_of_index(s), likely = fmax((double)s->stats.asked, gn_vector_rows_to_ask(s));
    if (keys_are_better(s, rows, &most))
        code = gn_vector_list_keys(s, most, &all, err);
    if (code == GN_OK && all)
        s->stats.way = GN_VECTOR_BY_KEYS;
    else if (code == GN_OK && likely > rows / PASS_COST && rows > 4 * PASS_ROWS_MIN)
        s->stats.way = s->memo ? GN_VECTOR_BY_WALK : GN_VECTOR_BY_ROWS;
    return code;
}

/* How many the next search is to give. */
static void choose_k(gn_vector_scan *s, gn_vector_way before)
{
    double wanted = (double)gn_vector_wanted(s);
    if (s->stats.searches > 0 && s->stats.way == before) {
        double more = s->stats.way == GN_VECTOR_BY_INDEX ? 1.25 * gn_vector_rows_to_ask(s) : wanted;
        s->k = (uint64_t)fmin(fmax(2 * (double)s->k, (double)s->k + more), 2.0 * GN_MAX_K);
    } else if (s->stats.way == GN_VECTOR_BY_KEYS) {
        s->k = (uint64_t)fmax(PASS_ROWS_MIN, 4 * wanted);
    } else if (s->stats.way == GN_VECTOR_BY_ROWS) {
        s->k = (uint64_t)fmax(PASS_ROWS_MIN, wanted);
    } else if (s->stats.way == GN_VECTOR_BY_WALK) {
        s->k = (uint64_t)wanted;
    }
    if (s->k > GN_MAX_K) { /* more than a search can give: the rest comes from the rows */
        s->k = GN_MAX_K;
        if (s->stats.searches > 0)
            s->stats.way = GN_VECTOR_BY_ROWS;
    }
}

gn_code gn_vector_refill(gn_vector_scan *s, gn_error *err)
{
    gn_code code = GN_OK;
    while (code == GN_OK && s->at == s->n_found && !s->exhausted) {
        if (gn_txn_canceled(s->txn))
            return gn_error_set(err, GN_CANCELED, "%s", gn_code_text(GN_CANCELED));
        gn_arena_reset(s->arena);
        s->n_found = s->at = 0;
        gn_vector_way before = s->stats.way;
        code = choose_way(s, err);
        if (code != GN_OK)
            return code;
        choose_k(s, before);
        if (s->stats.way == GN_VECTOR_BY_ROWS) {
            code = search_rows(s, err);
            continue;
        }
        code = search_index(s, err);
        if (code == GN_INDEX_CORRUPT || code == GN_CORRUPT) {
            gn_feed_distrust(s->feed, err ? err->message : "");
            gn_error_clear(err);
            s->stats.way = GN_VECTOR_BY_ROWS; /* the view stays: what was given is known by its keys */
            code = GN_OK;
        }
    }
    return code;
}
