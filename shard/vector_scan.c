/* Rows in order of distance. Candidates (vector_search.c) are merged with the transaction's own writes, their rows are
 * read, and those for which the filter is not true are left out. */
#include "base/assert.h"
#include "base/limits.h"
#include "index/distance.h"
#include "query/vector.h"
#include "shard/vector_scan_private.h"

#include <math.h>
#include <stdlib.h>

static void settle(gn_scan_link *link)
{
    gn_vector_scan *s = GN_CONTAINER(link, gn_vector_scan, link);
    gn_vector_drop_index(s);
    link->prev->next = link->next;
    link->next->prev = link->prev;
    s->txn = NULL;
}

/* A sum of squares that is finite has finite parts; one that is not may have overflowed. */
static bool is_finite(const float *query, uint32_t n)
{
    bool finite = isfinite(gn_kernels_best()->norm2(query, NULL, n));
    for (uint32_t i = 0; i < n && !finite; i++)
        if (!isfinite(query[i]))
            return false;
    return true;
}

static gn_code check_spec(gn_txn *txn, const gn_vector_scan_spec *spec, gn_error *err)
{
    const gn_table_desc *now = gn_txn_table(txn, spec->table->id);
    if (!now || now->data_epoch != spec->table->data_epoch || now->version != spec->table->version)
        return gn_error_set(err, GN_SERIALIZATION, "the definition of table \"%s\" has changed", spec->table->name);
    GN_ASSERT(spec->index->kind == GN_INDEX_HNSW);
    int ordinal = gn_table_column_by_id(spec->table, spec->index->columns[0]);
    uint32_t words = ordinal < 0 ? 0 : gn_index_words(spec->table->columns[ordinal].type);
    bool bits = ordinal >= 0 && gn_type_is(spec->table->columns[ordinal].type, GN_T_BIT);
    if (words != spec->dimensions)
        return gn_error_set(err, GN_BAD_VECTOR, "different vector dimensions %u and %u", words, spec->dimensions);
    if (!bits && !is_finite(spec->query, spec->dimensions))
        return gn_error_set(err, GN_BAD_VECTOR, "NaN and infinity are not allowed in a vector");
    return GN_OK;
}

/* ---- rows that their keys tell ---- */

/* Does a key tell the very value that the row has? */
static bool key_is_value(gn_type type)
{
    switch (type.is_array ? GN_T_NONE : (gn_type_id)type.id) {
    case GN_T_BOOL:
    case GN_T_INT2:
    case GN_T_INT4:
    case GN_T_INT8:
    case GN_T_TEXT:
    case GN_T_VARCHAR:
    case GN_T_UUID:
        return true;
    default:
        return false;
    }
}

/* Where all that is asked for is in the primary key, no row has to be read. */
static void find_places(gn_vector_scan *s)
{
    const gn_table_desc *t = s->spec->table;
    uint32_t found = 0;
    s->places = gn_xcalloc(t->n_key + 1, sizeof *s->places);
    s->key_values = gn_xcalloc(s->spec->n_ordinals + 1, sizeof *s->key_values);
    for (uint32_t i = 0; i < t->n_key; i++) {
        int ordinal = gn_table_column_by_id(t, t->key[i]);
        s->places[i] = -1;
        for (uint32_t k = 0; k < s->spec->n_ordinals; k++) {
            if ((int)s->spec->ordinals[k] != ordinal || !key_is_value(t->columns[ordinal].type))
                continue;
            s->places[i] = (int32_t)k;
            found++;
        }
    }
    if (found == s->spec->n_ordinals)
        return;
    free(s->places);
    s->places = NULL;
}

static gn_code fill_from_key(gn_vector_scan *s, gn_batch *batch, const gn_vector_candidate *c, gn_bytes *key_out,
                             gn_error *err)
{
    const gn_table_desc *t = s->spec->table;
    gn_bytes key = c->key;
    gn_value unused;
    gn_code code = GN_OK;
    for (uint32_t i = 0; i < t->n_key && s->spec->n_ordinals && code == GN_OK; i++) {
        gn_type type = t->columns[gn_table_column_by_id(t, t->key[i])].type;
        gn_value *to = s->places[i] >= 0 ? &s->key_values[s->places[i]] : &unused;
        code = gn_key_read(&key, type, false, false, batch->arena, to, err);
    }
    return code == GN_OK ? gn_batch_fill_values(&s->fill, batch, s->key_values, c->key, key_out, c->distance, err)
                         : code;
}

/* ---- open, close ---- */

/* With a filter: enough rows to learn from how many of them match. */
static uint64_t first_k(const gn_vector_scan_spec *spec)
{
    enum { LEARN_FROM = 64 };
    uint64_t k = spec->k_hint ? spec->k_hint : GN_VECTOR_DEFAULT_K;
    if (spec->filter)
        k = k < LEARN_FROM / 2 ? LEARN_FROM : k < GN_MAX_K / 2 ? 2 * k : GN_MAX_K;
    return k > GN_MAX_K ? GN_MAX_K : k;
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
    if (spec->index->metric == GN_METRIC_COSINE)
        s->query_norm = sqrtf(gn_kernels_best()->norm2(spec->query, NULL, spec->dimensions));
    s->k = first_k(spec);
    s->beyond = INFINITY;
    if (spec->has_radius)
        s->beyond = spec->radius + 1e-4 * fabs(spec->radius) + 1e-6; /* the index measures in single precision */
    s->stats.ef = spec->ef;
    s->arena = gn_arena_create(txn->account);
    s->scratch = gn_arena_create(txn->account);
    find_places(s);
    gn_overlay_init(&s->seen, 32);
    gn_buf_init(&s->last_key, NULL, GN_MAX_KEY);
    gn_batch_fill_init(&s->fill, spec->table, spec->ordinals, spec->n_ordinals, true);
    s->link = (gn_scan_link){.settle = settle, .next = &txn->scans, .prev = txn->scans.prev};
    s->link.prev->next = s->link.next->prev = &s->link;
    s->feed = gn_feed_acquire(txn->shard->feeds, spec->index->id, spec->table->data_epoch, txn->read_scn);
    if (s->feed)
        s->view = gn_vview_acquire(gn_feed_vindex(s->feed));
    if (s->feed && spec->target_recall > 0 && !spec->exact &&
        (spec->index->metric != GN_METRIC_COSINE || s->query_norm > 0))
        gn_feed_asked(s->feed, spec->query);
    gn_vector_open_memo(s);
    s->stats.way = s->view ? GN_VECTOR_BY_INDEX : GN_VECTOR_BY_ROWS;
    if (gn_txn_records(txn)) { /* any other vector might have been nearer */
        gn_read_set_range(&txn->reads, &rows, &(gn_key_span){.end_open = true});
    }
    code = gn_vector_measure_own(s, err);
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
    gn_arena_destroy(s->scratch);
    gn_arena_destroy(s->key_arena);
    free(s->keys);
    if (s->pass_keys) {
        gn_batch_fill_close(&s->pass_fill);
        gn_arena_destroy(s->pass.arena);
        free(s->pass_keys);
        free(s->pass_distances);
        free(s->pass_scns);
    }
    free(s->places);
    free(s->key_values);
    free(s->vector);
    free(s);
}

void gn_vector_scan_stats_get(const gn_vector_scan *scan, gn_vector_scan_stats *out)
{
    *out = scan->stats;
}

/* ---- next ---- */

/* The nearest of both; NULL at the end. */
static gn_code take_nearest(gn_vector_scan *s, const gn_vector_candidate **out, gn_error *err)
{
    gn_code code = gn_vector_refill(s, err);
    *out = NULL;
    if (code != GN_OK)
        return code;
    const gn_vector_candidate *committed = s->at < s->n_found ? &s->found[s->at] : NULL;
    const gn_vector_candidate *own = s->own_at < s->n_own ? &s->own_found[s->own_at] : NULL;
    if (committed && (!own || gn_vector_order(committed, own) <= 0)) {
        s->at++;
        *out = committed;
    } else if (own) {
        s->own_at++;
        *out = own;
    }
    return GN_OK;
}

/* The row of a candidate. *found false: the index is wrong about it. */
static gn_code row_of(gn_vector_scan *s, const gn_vector_candidate *c, gn_bytes *row, bool *found, gn_error *err)
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

/* How many rows to read at once. With a filter: as many as those wanted are likely to need. */
static uint32_t rows_to_take(const gn_vector_scan *s)
{
    double most = s->spec->filter ? 1.2 * gn_vector_rows_to_ask(s) + 8 : gn_vector_rows_to_ask(s);
    if (s->spec->filter && s->stats.asked == 0 && s->stats.way == GN_VECTOR_BY_INDEX)
        most = fmin(most, (double)s->k);
    return most < GN_BATCH_ROWS ? (uint32_t)most : GN_BATCH_ROWS;
}

/* Candidates that are at hand, as rows; and more only if none are. */
static gn_code take_rows(gn_vector_scan *s, gn_batch *batch, gn_bytes *keys, gn_error *err)
{
    uint32_t most = rows_to_take(s);
    gn_code code = gn_batch_fill_begin(&s->fill, batch, most, err);
    if (code == GN_OK && !(s->taken = gn_arena_alloc(batch->arena, most * sizeof *s->taken)))
        code = gn_error_oom(err, gn_arena_account(batch->arena));
    while (code == GN_OK && batch->n_rows < most) {
        const gn_vector_candidate *c;
        gn_bytes row, *key = keys ? &keys[batch->n_rows] : NULL;
        bool found;
        if (batch->n_rows > 0 && s->at == s->n_found && !s->exhausted)
            break;
        code = take_nearest(s, &c, err);
        if (code != GN_OK || !c)
            break;
        s->taken[batch->n_rows] = c;
        if (s->places) {
            code = fill_from_key(s, batch, c, key, err);
            continue;
        }
        s->stats.fetched++;
        code = row_of(s, c, &row, &found, err);
        if (code == GN_OK && found)
            code = gn_batch_fill_row(&s->fill, batch, row, c->key, key, c->distance, err);
    }
    return code;
}

/* What the filter said of the batch just taken, for later scans. */
static void note_answers(gn_vector_scan *s, uint32_t n_taken, const uint16_t *rows, uint32_t n)
{
    uint32_t at = 0;
    for (uint32_t i = 0; s->memo && s->stats.way == GN_VECTOR_BY_INDEX && i < n_taken; i++) {
        bool match = at < n && rows[at] == i;
        at += match;
        gn_vector_note(s, s->taken[i]->key, s->taken[i]->begin_scn, match);
    }
}

gn_code gn_vector_scan_next(gn_vector_scan *s, gn_batch *batch, gn_bytes *keys, gn_error *err)
{
    uint16_t rows[GN_BATCH_ROWS];
    uint32_t n;
    if (!s->txn)
        return gn_error_set(err, GN_NO_CURSOR, "the transaction of this scan has ended");
    for (;;) {
        if (gn_txn_canceled(s->txn))
            return gn_error_set(err, GN_CANCELED, "%s", gn_code_text(GN_CANCELED));
        gn_code code = take_rows(s, batch, keys, err);
        if (code == GN_OK)
            code = gn_slot_view_whole(&s->txn->slots, err);
        if (code != GN_OK || batch->n_rows == 0)
            return code;
        if (s->spec->filter) {
            s->stats.asked += batch->n_rows;
            code = gn_vector_select(s, batch, rows, &n, err);
            if (code != GN_OK)
                return code;
            note_answers(s, batch->n_rows, rows, n);
            gn_batch_keep(batch, keys, rows, n);
            s->stats.passed += n;
        }
        s->given += batch->n_rows;
        if (batch->n_rows > 0)
            return GN_OK;
    }
}
