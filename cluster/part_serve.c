/* What a request does to a part: the writes that came along, then a read, a savepoint or the end. */
#include "base/assert.h"
#include "base/limits.h"
#include "cluster/part_server_private.h"
#include "query/batch_pack.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

static gn_code unreadable(gn_error *err)
{
    return gn_error_set(err, GN_CORRUPT, "a request for a part of a transaction cannot be read");
}

/* ---- tables ---- */

/* As the part sees it; the coordinator's must be the same. */
static gn_code same_table(gn_txn *txn, uint64_t id, uint64_t version, uint64_t epoch, const gn_table_desc **out,
                          gn_error *err)
{
    const gn_table_desc *t = gn_txn_table(txn, id);
    if (!t || t->version != version || t->data_epoch != epoch)
        return gn_error_set(err, GN_SERIALIZATION, "the definition of table %" PRIu64 " has changed", id);
    *out = t;
    return GN_OK;
}

/* What is logged with such a key is read by every replica. */
static bool is_key_of(const gn_table_desc *t, gn_bytes key)
{
    if (key.len > GN_MAX_KEY)
        return false;
    if (t->hidden_key)
        return gn_key_skip(&key, gn_type_of(GN_T_INT8), false, NULL) == GN_OK && key.len == 0;
    for (uint32_t i = 0; i < t->n_key; i++) {
        int ordinal = gn_table_column_by_id(t, t->key[i]);
        if (ordinal < 0 || gn_key_skip(&key, t->columns[ordinal].type, false, NULL) != GN_OK)
            return false;
    }
    return key.len == 0;
}

/* ---- writes ---- */

typedef struct writing {
    gn_served_part *part;
    const gn_table_desc *table;
    gn_arena *arena;
    uint32_t *ordinals; /* of the table's columns that are not dropped */
    uint32_t n;
    gn_value *values, *live;
} writing;

static gn_code use_table(writing *w, const gn_part_write *write, gn_error *err)
{
    gn_code code = same_table(w->part->txn, write->id, write->version, write->epoch, &w->table, err);
    if (code != GN_OK)
        return code;
    const gn_table_desc *t = w->table;
    gn_arena_reset(w->arena);
    w->ordinals = gn_arena_calloc(w->arena, t->n_columns + 1, sizeof *w->ordinals);
    w->values = gn_arena_calloc(w->arena, t->n_columns + 1, sizeof *w->values);
    w->live = gn_arena_calloc(w->arena, t->n_columns + 1, sizeof *w->live);
    if (!w->ordinals || !w->values || !w->live)
        return gn_error_oom(err, gn_arena_account(w->arena));
    w->n = 0;
    for (uint32_t i = 0; i < t->n_columns; i++) {
        w->values[i] = gn_value_null(t->columns[i].type);
        if (!t->columns[i].dropped)
            w->ordinals[w->n++] = i;
    }
    return GN_OK;
}

static gn_code decode_row(writing *w, gn_bytes row, gn_error *err)
{
    gn_code code = gn_row_decode(w->table, row, w->ordinals, w->n, w->live, w->arena, err);
    for (uint32_t i = 0; code == GN_OK && i < w->n; i++)
        w->values[w->ordinals[i]] = w->live[i];
    return code;
}

static gn_code write_row(writing *w, const gn_part_write *write, gn_error *err)
{
    gn_txn *txn = w->part->txn;
    if (!w->table || (write->kind != GN_WRITE_INSERT && !is_key_of(w->table, write->key)))
        return unreadable(err);
    gn_arena_mark mark = gn_arena_save(w->arena);
    gn_code code = write->kind == GN_WRITE_DELETE ? GN_OK : decode_row(w, write->row, err);
    if (code == GN_OK && write->kind == GN_WRITE_INSERT)
        code = gn_txn_insert(txn, w->table, w->values, err);
    else if (code == GN_OK && write->kind == GN_WRITE_UPDATE)
        code = gn_txn_update(txn, w->table, write->key, w->values, err);
    else if (code == GN_OK)
        code = gn_txn_delete(txn, w->table, write->key, err);
    gn_arena_restore(w->arena, mark);
    return code;
}

static gn_code put_table(gn_served_part *part, gn_bytes bytes, gn_error *err)
{
    const gn_table_desc *desc;
    gn_code code = gn_table_desc_decode(bytes, &desc, err);
    if (code != GN_OK)
        return code;
    code = gn_txn_put_table(part->txn, desc, err);
    gn_table_desc_release(desc);
    return code;
}

static gn_code take_mark(gn_served_part *part, uint64_t id, gn_error *err)
{
    if (part->n_marks >= GN_MARKS_PER_PART)
        return gn_error_set(err, GN_LIMIT, "a transaction has more than %d savepoints", GN_MARKS_PER_PART);
    if ((part->n_marks & (part->n_marks - 1)) == 0)
        part->marks = gn_xrealloc(part->marks, (part->n_marks ? 2 * (size_t)part->n_marks : 1) * sizeof *part->marks);
    part->marks[part->n_marks++] = (gn_served_mark){id, gn_txn_mark_take(part->txn)};
    return GN_OK;
}

/* The newest are asked for most. NULL: none has the id. */
static gn_served_mark *find_mark(gn_served_part *part, uint64_t id)
{
    for (uint32_t i = part->n_marks; i-- > 0;)
        if (part->marks[i].id == id)
            return &part->marks[i];
    return NULL;
}

static void free_mark(gn_served_part *part, uint64_t id)
{
    gn_served_mark *m = find_mark(part, id);
    if (!m)
        return;
    gn_txn_mark_free(m->mark);
    memmove(m, m + 1, (size_t)(part->marks + --part->n_marks - m) * sizeof *m);
}

static gn_code apply_write(writing *w, const gn_part_write *write, gn_error *err)
{
    switch (write->kind) {
    case GN_WRITE_TABLE:
        return use_table(w, write, err);
    case GN_WRITE_PUT_TABLE:
        w->table = NULL;
        return put_table(w->part, write->row, err);
    case GN_WRITE_DROP_TABLE:
        w->table = NULL;
        return gn_txn_drop_table(w->part->txn, write->id, err);
    case GN_WRITE_MARK:
        return take_mark(w->part, write->id, err);
    case GN_WRITE_UNMARK:
        free_mark(w->part, write->id);
        return GN_OK;
    default:
        return write_row(w, write, err);
    }
}

/* Up to the first that is refused; those behind it are not done. */
static gn_code apply_writes(gn_served_part *part, gn_reader in, gn_account *account, gn_error *err)
{
    if (gn_reader_left(&in) == 0)
        return GN_OK;
    writing w = {.part = part, .arena = gn_arena_create(account)};
    gn_code code = GN_OK;
    while (code == GN_OK && gn_reader_left(&in) > 0) {
        gn_part_write write;
        code = gn_part_write_read(&in, &write) ? apply_write(&w, &write, err) : unreadable(err);
    }
    gn_arena_destroy(w.arena);
    return code;
}

/* ---- scans ---- */

static void scan_free(gn_served_scan *s)
{
    gn_scan_close(s->scan);
    gn_run_close(s->run);
    if (s->vector_scan)
        gn_vector_scan_close(s->vector_scan);
    gn_arena_destroy(s->batch.arena);
    gn_arena_destroy(s->arena);
    free(s->keys);
    free(s);
}

static gn_served_scan **find_scan(gn_served_part *part, uint32_t id)
{
    gn_served_scan **at = &part->scans;
    while (*at && (*at)->id != id)
        at = &(*at)->next;
    return at;
}

static void close_scan(gn_served_part *part, uint32_t id)
{
    gn_served_scan **at = find_scan(part, id), *s = *at;
    if (!s)
        return;
    *at = s->next;
    part->n_scans--;
    scan_free(s);
}

static void close_scans(gn_served_part *part)
{
    while (part->scans)
        close_scan(part, part->scans->id);
}

/* Strictly ascending columns that are there. */
static gn_code read_ordinals(gn_served_scan *s, const gn_table_desc *t, gn_wire_scan *w, const uint32_t **out,
                             gn_error *err)
{
    uint32_t *ordinals = gn_arena_calloc(s->arena, w->n_ordinals + 1, sizeof *ordinals);
    if (!ordinals)
        return gn_error_oom(err, gn_arena_account(s->arena));
    for (uint32_t i = 0; i < w->n_ordinals; i++) {
        ordinals[i] = gn_read_be32(&w->ordinals);
        if (ordinals[i] >= t->n_columns || (i > 0 && ordinals[i] <= ordinals[i - 1]))
            return unreadable(err);
    }
    *out = ordinals;
    return GN_OK;
}

static gn_code find_index(const gn_table_desc *t, uint64_t id, gn_index_kind kind, const gn_index_desc **out,
                          gn_error *err)
{
    *out = NULL;
    for (uint32_t i = 0; i < t->n_indexes; i++)
        if (t->indexes[i].id == id && t->indexes[i].kind == kind)
            *out = &t->indexes[i];
    return *out ? GN_OK : unreadable(err);
}

static gn_code copy_bytes(gn_arena *arena, gn_bytes *bytes, gn_error *err)
{
    if (bytes->data && !(bytes->data = gn_arena_memdup(arena, bytes->data, bytes->len)))
        return gn_error_oom(err, gn_arena_account(arena));
    return GN_OK;
}

static gn_code copy_range(gn_arena *arena, gn_key_range *range, gn_error *err)
{
    gn_code code = copy_bytes(arena, &range->lo, err);
    return code == GN_OK ? copy_bytes(arena, &range->hi, err) : code;
}

static gn_code read_spec(gn_served_scan *s, const gn_table_desc *t, gn_wire_scan *w, gn_error *err)
{
    s->spec = (gn_scan_spec){
        .table = t, .range = w->range, .reverse = w->reverse, .n_ordinals = w->n_ordinals, .limit_hint = w->limit_hint};
    gn_code code = read_ordinals(s, t, w, &s->spec.ordinals, err);
    if (code == GN_OK && w->index_id)
        code = find_index(t, w->index_id, GN_INDEX_BTREE, &s->spec.index, err);
    return code == GN_OK ? copy_range(s->arena, &s->spec.range, err) : code;
}

static gn_code open_rows(gn_served_part *part, gn_served_scan *s, const gn_table_desc *t, gn_wire_scan *w,
                         gn_error *err)
{
    gn_code code = read_spec(s, t, w, err);
    const gn_key_range *r = &s->spec.range;
    s->one_row =
        !w->index_id && r->hi_inclusive && !r->lo_exclusive && gn_bytes_eq(r->lo, r->hi) && is_key_of(t, r->lo);
    return code == GN_OK ? gn_scan_open(part->txn, &s->spec, &s->scan, err) : code;
}

static gn_code read_ranges(gn_served_scan *s, gn_wire_run *w, gn_error *err)
{
    gn_key_range *ranges = gn_arena_calloc(s->arena, (size_t)w->n_more + 1, sizeof *ranges);
    if (!ranges)
        return gn_error_oom(err, gn_arena_account(s->arena));
    ranges[0] = s->spec.range;
    gn_code code = GN_OK;
    for (uint32_t i = 1; i <= w->n_more && code == GN_OK; i++)
        code = gn_wire_range_read(&w->more, &ranges[i]) ? copy_range(s->arena, &ranges[i], err) : unreadable(err);
    s->run_spec.ranges = ranges;
    s->run_spec.n_ranges = w->n_more + 1;
    return code;
}

static gn_code read_fragment(gn_served_scan *s, gn_bytes bytes, gn_error *err)
{
    gn_type *types = gn_arena_calloc(s->arena, s->spec.n_ordinals + 1, sizeof *types);
    if (!types)
        return gn_error_oom(err, gn_arena_account(s->arena));
    for (uint32_t i = 0; i < s->spec.n_ordinals; i++)
        types[i] = s->spec.table->columns[s->spec.ordinals[i]].type;
    gn_code code = gn_fragment_unpack(bytes, types, s->spec.n_ordinals, s->arena, &s->fragment, err);
    if (code == GN_OK && s->fragment.grouped && s->with_keys)
        return unreadable(err);
    s->batch.n_columns = s->fragment.n_out;
    s->run_spec.fragment = &s->fragment;
    return code;
}

static gn_code open_run(gn_served_part *part, gn_served_scan *s, const gn_table_desc *t, gn_wire_scan *w,
                        gn_reader *body, gn_account *account, gn_error *err)
{
    gn_wire_run run;
    if (!gn_wire_run_read(body, &run))
        return unreadable(err);
    gn_code code = read_spec(s, t, w, err);
    s->run_spec = (gn_run_spec){.rows = s->spec, .keyed = s->with_keys};
    if (code == GN_OK)
        code = read_ranges(s, &run, err);
    if (code == GN_OK && run.fragment.len)
        code = read_fragment(s, run.fragment, err);
    return code == GN_OK ? gn_run_open(part->txn, &s->run_spec, account, &part->cancel, &s->run, err) : code;
}

static gn_code read_vectors(gn_served_scan *s, const gn_table_desc *t, gn_wire_scan *w, gn_error *err)
{
    if (w->ef > GN_MAX_EF || !(w->target_recall >= 0 && w->target_recall <= 1))
        return unreadable(err);
    gn_code code = copy_bytes(s->arena, &w->query, err);
    s->vector_spec = (gn_vector_scan_spec){.table = t,
                                           .query = (const float *)(const void *)w->query.data,
                                           .dimensions = (uint32_t)(w->query.len / sizeof(float)),
                                           .k_hint = w->k_hint,
                                           .ef = w->ef,
                                           .target_recall = w->target_recall,
                                           .exact = w->exact,
                                           .n_ordinals = w->n_ordinals};
    if (code == GN_OK)
        code = read_ordinals(s, t, w, &s->vector_spec.ordinals, err);
    if (code == GN_OK)
        code = find_index(t, w->index_id, GN_INDEX_HNSW, &s->vector_spec.index, err);
    return code;
}

static gn_code open_vectors(gn_served_part *part, gn_served_scan *s, const gn_table_desc *t, gn_wire_scan *w,
                            gn_error *err)
{
    gn_code code = read_vectors(s, t, w, err);
    return code == GN_OK ? gn_vector_scan_open(part->txn, &s->vector_spec, &s->vector_scan, err) : code;
}

/* What the index of the ranges leads to is judged by the filter, so any index of the table does no harm. */
static gn_code read_bound(gn_served_scan *s, const gn_table_desc *t, uint64_t index, uint32_t n, gn_reader *in,
                          gn_vector_bound *out, gn_error *err)
{
    gn_key_range *ranges = gn_arena_calloc(s->arena, n, sizeof *ranges);
    if (!ranges)
        return gn_error_oom(err, gn_arena_account(s->arena));
    gn_code code = index ? find_index(t, index, GN_INDEX_BTREE, &out->index, err) : GN_OK;
    for (uint32_t i = 0; i < n && code == GN_OK; i++)
        code = gn_wire_range_read(in, &ranges[i]) ? copy_range(s->arena, &ranges[i], err) : unreadable(err);
    out->ranges = ranges;
    out->n_ranges = n;
    return code;
}

static gn_code read_vector_run(gn_served_scan *s, const gn_table_desc *t, gn_wire_vector_run *w, gn_error *err)
{
    gn_vector_scan_spec *spec = &s->vector_spec;
    gn_vector_bound *bounds = gn_arena_calloc(s->arena, GN_VECTOR_MOST_BOUNDS, sizeof *bounds);
    if (!bounds)
        return gn_error_oom(err, gn_arena_account(s->arena));
    gn_code code = GN_OK;
    for (uint32_t i = 0; i < w->n_bounds && code == GN_OK; i++)
        code = read_bound(s, t, w->bounds[i].index, w->bounds[i].n_ranges, &w->bounds[i].ranges, &bounds[i], err);
    spec->bounds = bounds;
    spec->n_bounds = w->n_bounds;
    spec->whole = w->whole;
    spec->has_radius = w->has_radius && isfinite(w->radius);
    spec->radius = w->radius;
    return code;
}

static gn_code open_vector_run(gn_served_part *part, gn_served_scan *s, const gn_table_desc *t, gn_wire_scan *w,
                               gn_reader *body, gn_account *account, gn_error *err)
{
    gn_wire_vector_run run;
    if (!gn_wire_vector_run_read(body, &run))
        return unreadable(err);
    gn_code code = read_vectors(s, t, w, err);
    s->spec = (gn_scan_spec){.table = t, .ordinals = s->vector_spec.ordinals, .n_ordinals = w->n_ordinals};
    if (code == GN_OK)
        code = read_vector_run(s, t, &run, err);
    if (code == GN_OK)
        code = read_fragment(s, run.fragment, err);
    if (code == GN_OK && (s->fragment.grouped || s->fragment.n_sort))
        return unreadable(err);
    s->batch.n_columns = s->fragment.n_out + 1;
    s->run_spec.vectors = &s->vector_spec;
    return code == GN_OK ? gn_run_open(part->txn, &s->run_spec, account, &part->cancel, &s->run, err) : code;
}

static gn_code open_scan(gn_served_part *part, gn_reader *body, gn_part_action action, gn_account *account,
                         gn_served_scan **out, gn_error *err)
{
    bool vector = action == GN_PART_VECTOR_SCAN || action == GN_PART_VECTOR_RUN;
    gn_wire_scan w;
    const gn_table_desc *t = NULL;
    if (!gn_wire_scan_read(body, vector, &w) || *find_scan(part, w.id))
        return unreadable(err);
    if (part->n_scans >= GN_SCANS_PER_PART)
        return gn_error_set(err, GN_LIMIT, "a transaction has more than %d open scans", GN_SCANS_PER_PART);
    gn_code code = same_table(part->txn, w.table_id, w.version, w.epoch, &t, err);
    if (code != GN_OK)
        return code;
    gn_served_scan *s = gn_xcalloc(1, sizeof *s);
    s->id = w.id;
    s->with_keys = w.with_keys && action != GN_PART_VECTOR_RUN;
    s->arena = gn_arena_create(account);
    s->batch = (gn_batch){.arena = gn_arena_create(account), .n_columns = w.n_ordinals + vector};
    s->keys = s->with_keys ? gn_xcalloc(GN_BATCH_ROWS, sizeof *s->keys) : NULL;
    if (action == GN_PART_VECTOR_RUN)
        code = open_vector_run(part, s, t, &w, body, account, err);
    else if (action == GN_PART_RUN)
        code = open_run(part, s, t, &w, body, account, err);
    else
        code = vector ? open_vectors(part, s, t, &w, err) : open_rows(part, s, t, &w, err);
    if (code != GN_OK) {
        scan_free(s);
        return code;
    }
    s->next = part->scans;
    part->scans = s;
    part->n_scans++;
    *out = s;
    return GN_OK;
}

static gn_code fetch(gn_served_scan *s, gn_error *err)
{
    s->at = 0;
    if (s->vector_scan) {
        gn_code code = gn_vector_scan_next(s->vector_scan, &s->batch, s->keys, err);
        s->ended = s->batch.n_rows == 0;
        return code;
    }
    if (s->run) {
        gn_code code = gn_run_next(s->run, &s->batch, s->keys, err);
        s->ended = gn_run_ended(s->run);
        return code;
    }
    gn_code code = gn_scan_next(s->scan, &s->batch, s->keys, err);
    uint64_t left = s->spec.limit_hint > s->given ? s->spec.limit_hint - s->given : GN_BATCH_ROWS;
    s->given += s->batch.n_rows;
    s->ended = s->batch.n_rows < GN_BATCH_ROWS && (s->batch.n_rows < left || s->one_row);
    return code;
}

/* The next rows, as many as an answer holds. A scan that has ended is closed. */
static gn_code give_rows(gn_served_part *part, gn_served_scan *s, gn_buf *body, gn_part_answer *a, gn_error *err)
{
    gn_code code = s->at < s->batch.n_rows || s->ended ? GN_OK : fetch(s, err);
    bool run = s->run_spec.vectors;
    if (code == GN_OK && (s->vector_scan || run)) {
        gn_vector_scan_stats stats;
        if (run)
            gn_run_vector_stats(s->run, &stats);
        else
            gn_vector_scan_stats_get(s->vector_scan, &stats);
        gn_wire_stats_write(body, run, &stats);
    }
    if (code == GN_OK)
        s->at += gn_batch_pack(&s->batch, s->keys, s->at, GN_WIRE_BATCH_BYTES, body);
    if (code == GN_OK && body->failed)
        code = gn_error_oom(err, body->account);
    a->ended = code != GN_OK || (s->ended && s->at == s->batch.n_rows);
    if (a->ended)
        close_scan(part, s->id);
    return code;
}

/* ---- the action ---- */

static gn_code roll_back(gn_served_part *part, uint64_t id, gn_error *err)
{
    gn_served_mark *m = id ? find_mark(part, id) : NULL;
    if (id && !m)
        return gn_error_set(err, GN_SERIALIZATION, "could not serialize access: a savepoint was lost");
    close_scans(part);
    gn_code code = gn_txn_rollback_to(part->txn, m ? m->mark : NULL, err);
    uint32_t keep = m ? (uint32_t)(m - part->marks) + 1 : 0; /* what was marked since is no more */
    while (part->n_marks > keep)
        gn_txn_mark_free(part->marks[--part->n_marks].mark);
    return code;
}

static void free_marks(gn_served_part *part)
{
    while (part->n_marks > 0)
        gn_txn_mark_free(part->marks[--part->n_marks].mark);
    free(part->marks);
    part->marks = NULL;
}

static void abort_part(gn_served_part *part)
{
    close_scans(part);
    free_marks(part);
    gn_txn_abort(part->txn);
    part->txn = NULL;
}

static gn_code end(gn_served_part *part, gn_part_request *r, gn_buf *body, gn_error *err)
{
    gn_scn scn = 0, above = 0;
    gn_code code = GN_OK;
    uint64_t txn_id = 0, *groups = NULL;
    uint32_t n = 0;
    close_scans(part);
    if (r->action != GN_PART_COMMIT) {
        txn_id = gn_read_be64(&r->body);
        bool sound = gn_wire_groups_read(&r->body, &groups, &n);
        if (r->action == GN_PART_DECIDE)
            above = gn_read_be64(&r->body);
        if (!sound || r->body.failed)
            code = unreadable(err);
    }
    free_marks(part); /* before the transaction goes */
    if (code == GN_OK && r->action == GN_PART_PREPARE)
        code = gn_txn_prepare(part->txn, txn_id, groups, n, &scn, err);
    else if (code == GN_OK && r->action == GN_PART_DECIDE)
        code = gn_txn_decide(part->txn, txn_id, groups, n, above, &scn, err);
    else if (code == GN_OK)
        code = gn_txn_commit(part->txn, &scn, err);
    else
        gn_txn_abort(part->txn);
    part->txn = NULL;
    free(groups);
    gn_buf_append_be64(body, scn);
    return code;
}

static gn_code act(gn_served_part *part, gn_part_request *r, gn_account *account, gn_buf *body, gn_part_answer *a,
                   gn_error *err)
{
    gn_served_scan *s = NULL;
    gn_code code = GN_OK;
    switch (r->action) {
    case GN_PART_FLUSH:
        return GN_OK;
    case GN_PART_COMMIT:
    case GN_PART_PREPARE:
    case GN_PART_DECIDE:
        return end(part, r, body, err);
    case GN_PART_ROLLBACK_TO:
        return roll_back(part, gn_read_be64(&r->body), err);
    case GN_PART_SCAN:
    case GN_PART_VECTOR_SCAN:
    case GN_PART_RUN:
    case GN_PART_VECTOR_RUN:
        code = open_scan(part, &r->body, r->action, account, &s, err);
        break;
    case GN_PART_NEXT:
        if (!(s = *find_scan(part, gn_read_be32(&r->body))))
            code = gn_error_set(err, GN_NO_CURSOR, "the scan is not open");
        break;
    }
    return code == GN_OK ? give_rows(part, s, body, a, err) : code;
}

gn_code gn_part_serve(gn_served_part *part, gn_part_request *r, gn_account *account, gn_buf *body, gn_part_answer *a,
                      gn_error *err)
{
    while (gn_reader_left(&r->closed) > 0)
        close_scan(part, gn_read_be32(&r->closed));
    gn_code code = apply_writes(part, r->writes, account, err);
    if (code == GN_OK)
        code = act(part, r, account, body, a, err);
    else if (gn_part_action_ends(r->action))
        abort_part(part);
    a->has_writes = part->txn && gn_txn_has_writes(part->txn);
    return code;
}

void gn_served_part_free(gn_served_part *part)
{
    abort_part(part);
    free(part);
}
