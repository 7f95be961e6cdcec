/* The table scan as an operator: a path's values are computed, encoded as key prefixes and walked in key order, so that
 * an IN list gives its rows in the order of the key, as one range does. */
#include "base/assert.h"
#include "base/limits.h"
#include "coord/exec_private.h"
#include "query/array.h"

#include <stdlib.h>

typedef struct part_keys {
    gn_bytes *keys; /* ascending, distinct */
    uint32_t n, at;
} part_keys;

typedef struct bound {
    bool given;
    bool inclusive;
    gn_value value;
} bound;

typedef struct scan_source {
    gn_operator op;
    gn_exec *x;
    const gn_path *path;
    gn_batch batch; /* what the scan fills */
    gn_batch out;   /* its columns, and the keys */
    gn_column *columns;
    gn_arena *bytes;
    gn_scan_spec spec;
    const gn_push *push; /* NULL: the rows come as they are, range by range */
    gn_dscan_spec run;
    gn_arena *ranges; /* of a run */
    gn_dscan *scan;
    part_keys parts[GN_MAX_INDEX_COLUMNS];
    bound lo, hi;
    gn_buf lo_key, hi_key;
    bool started, finished, with_keys;
} scan_source;

static const gn_index_desc *index_of(const scan_source *s)
{
    return s->path->index;
}

static bool descending_at(const scan_source *s, uint32_t part)
{
    return index_of(s) && index_of(s)->descending[part];
}

static bool nulls_first_at(const scan_source *s, uint32_t part)
{
    return index_of(s) && index_of(s)->nulls_first[part];
}

static gn_type type_at(const scan_source *s, uint32_t part)
{
    const gn_table_desc *t = s->path->table;
    uint32_t id = index_of(s) ? index_of(s)->columns[part] : t->key[part];
    return t->columns[gn_table_column_by_id(t, id)].type;
}

/* ---- values as key parts ---- */

typedef enum fit { FITS, IS_NULL, BELOW, ABOVE } fit;

static int64_t as_integer(const gn_value *v)
{
    return v->type.id == GN_T_INT2 ? v->as.i16 : v->type.id == GN_T_INT4 ? v->as.i32 : v->as.i64;
}

static fit fit_integer(gn_value *v, gn_type type)
{
    int64_t i = as_integer(v);
    int64_t min = type.id == GN_T_INT2 ? INT16_MIN : type.id == GN_T_INT4 ? INT32_MIN : INT64_MIN;
    int64_t max = type.id == GN_T_INT2 ? INT16_MAX : type.id == GN_T_INT4 ? INT32_MAX : INT64_MAX;
    if (i < min || i > max)
        return i < min ? BELOW : ABOVE;
    if (type.id == GN_T_INT2)
        v->as.i16 = (int16_t)i;
    else if (type.id == GN_T_INT4)
        v->as.i32 = (int32_t)i;
    else
        v->as.i64 = i;
    v->type = type;
    return FITS;
}

/* A value of a type that orders like the column's (the planner made sure) becomes one of the column's. */
static fit to_column_type(gn_value *v, gn_type type)
{
    if (v->is_null)
        return IS_NULL;
    if (!gn_type_same(v->type, type) && gn_type_physical(type) != GN_P_BYTES) {
        if (gn_type_is(type, GN_T_FLOAT8))
            v->as.f64 = v->as.f32;
        else
            return fit_integer(v, type);
    }
    v->type = type;
    return FITS;
}

static gn_code append_key(const scan_source *s, gn_buf *buf, uint32_t part, const gn_value *v, gn_error *err)
{
    return gn_key_append(buf, v, descending_at(s, part), nulls_first_at(s, part), err);
}

static int by_bytes(const void *a, const void *b)
{
    return gn_bytes_cmp(*(const gn_bytes *)a, *(const gn_bytes *)b);
}

/* Makes room for more keys of a part. */
static gn_code reserve_keys(scan_source *s, uint32_t part, uint64_t more, gn_error *err)
{
    part_keys *keys = &s->parts[part];
    gn_bytes *items = gn_arena_alloc(s->x->arena, ((size_t)keys->n + more) * sizeof *items);
    if (!items)
        return gn_error_oom(err, s->x->account);
    if (keys->n)
        memcpy(items, keys->keys, keys->n * sizeof *items);
    keys->keys = items;
    return GN_OK;
}

/* A value that is NULL, out of the column's range, or longer than any key equals nothing and is left out. */
static gn_code add_part_key(scan_source *s, uint32_t part, gn_value *v, bool null_matches, gn_error *err)
{
    part_keys *keys = &s->parts[part];
    fit f = to_column_type(v, type_at(s, part));
    if (f != FITS && !(f == IS_NULL && null_matches))
        return GN_OK;
    gn_buf *buf = &s->lo_key;
    gn_buf_clear(buf);
    gn_error ignored = {0};
    gn_code code = append_key(s, buf, part, v, &ignored);
    if (code == GN_LIMIT)
        return GN_OK;
    if (code != GN_OK) {
        *err = ignored;
        return code;
    }
    void *copy = gn_arena_memdup(s->x->arena, buf->data, buf->len);
    if (!copy)
        return gn_error_oom(err, s->x->account);
    keys->keys[keys->n++] = gn_bytes_of(copy, buf->len);
    return GN_OK;
}

/* = ANY (array): each item is a value of its own; a NULL array has none. */
static gn_code add_array_keys(scan_source *s, uint32_t part, const gn_value *array, gn_error *err)
{
    if (array->is_null)
        return GN_OK;
    gn_array_iter it = gn_array_open(array);
    gn_code code = reserve_keys(s, part, it.n_items, err);
    for (gn_value item; code == GN_OK && gn_array_next(&it, &item);)
        code = add_part_key(s, part, &item, false, err);
    return code;
}

static gn_code compute_part(scan_source *s, uint32_t part, gn_error *err)
{
    const gn_path_part *p = &s->path->parts[part];
    part_keys *keys = &s->parts[part];
    gn_value v = gn_value_null(type_at(s, part));
    gn_code code = reserve_keys(s, part, p->n + 1, err);
    if (code == GN_OK && p->is_null)
        code = add_part_key(s, part, &v, true, err);
    for (uint32_t i = 0; i < p->n && code == GN_OK; i++) {
        code = gn_exec_value(s->x, p->values[i], &v, err);
        if (code == GN_OK)
            code = p->is_array ? add_array_keys(s, part, &v, err) : add_part_key(s, part, &v, false, err);
    }
    if (code != GN_OK || keys->n < 2)
        return code;
    qsort(keys->keys, keys->n, sizeof *keys->keys, by_bytes);
    uint32_t n = 1;
    for (uint32_t i = 1; i < keys->n; i++)
        if (!gn_bytes_eq(keys->keys[i], keys->keys[n - 1]))
            keys->keys[n++] = keys->keys[i];
    keys->n = n;
    return GN_OK;
}

/* Beyond the column's range a bound is either no bound or excludes everything. */
static gn_code compute_bound(scan_source *s, const gn_expr *e, bool inclusive, bool lower, bound *b, gn_error *err)
{
    if (!e)
        return GN_OK;
    gn_code code = gn_exec_value(s->x, e, &b->value, err);
    if (code != GN_OK)
        return code;
    fit f = to_column_type(&b->value, type_at(s, s->path->n_parts));
    b->given = f == FITS;
    b->inclusive = inclusive;
    if (f == IS_NULL || f == (lower ? ABOVE : BELOW))
        s->finished = true;
    return GN_OK;
}

static gn_code compute_ends(scan_source *s, gn_error *err)
{
    gn_code code = GN_OK;
    s->started = true;
    for (uint32_t i = 0; i < s->path->n_parts && code == GN_OK; i++) {
        code = compute_part(s, i, err);
        s->finished |= s->parts[i].n == 0;
        s->parts[i].at = s->path->reverse && s->parts[i].n ? s->parts[i].n - 1 : 0;
    }
    if (code == GN_OK)
        code = compute_bound(s, s->path->lo, s->path->lo_inclusive, true, &s->lo, err);
    if (code == GN_OK)
        code = compute_bound(s, s->path->hi, s->path->hi_inclusive, false, &s->hi, err);
    return code;
}

static gn_code compute(scan_source *s, gn_error *err)
{
    gn_code code = compute_ends(s, err);
    bool several = false; /* ranges, each of which may be another group's */
    for (uint32_t i = 0; i < s->path->n_parts; i++)
        several |= s->parts[i].n > 1;
    return code == GN_OK && several ? gn_dtxn_read_together(s->x->txn, s->path->table, err) : code;
}

/* ---- ranges ---- */

/* One end of the range on the column after the parts. Where it is open, NULLs are still kept out: no comparison is true
 * for them. */
static gn_code end_key(const scan_source *s, gn_buf *key, const bound *b, bool low_end, bool *inclusive, gn_error *err)
{
    uint32_t part = s->path->n_parts;
    if (b->given) {
        *inclusive = b->inclusive;
        return append_key(s, key, part, &b->value, err);
    }
    bool nulls_here = nulls_first_at(s, part) == low_end;
    *inclusive = !nulls_here;
    if (!nulls_here)
        return GN_OK;
    gn_value null = gn_value_null(type_at(s, part));
    return append_key(s, key, part, &null, err);
}

static gn_code make_range(scan_source *s, gn_error *err)
{
    gn_key_range *range = &s->spec.range;
    gn_buf_clear(&s->lo_key);
    gn_buf_clear(&s->hi_key);
    for (uint32_t i = 0; i < s->path->n_parts; i++) {
        gn_buf_append_bytes(&s->lo_key, s->parts[i].keys[s->parts[i].at]);
        gn_buf_append_bytes(&s->hi_key, s->parts[i].keys[s->parts[i].at]);
    }
    bool lo_inclusive = true, hi_inclusive = true;
    gn_code code = GN_OK;
    if (s->path->lo || s->path->hi) {
        bool turned = descending_at(s, s->path->n_parts);
        code = end_key(s, &s->lo_key, turned ? &s->hi : &s->lo, true, &lo_inclusive, err);
        if (code == GN_OK)
            code = end_key(s, &s->hi_key, turned ? &s->lo : &s->hi, false, &hi_inclusive, err);
    }
    if (code == GN_OK && (s->lo_key.failed || s->hi_key.failed))
        code = gn_error_oom(err, s->x->account);
    *range = (gn_key_range){.lo_exclusive = !lo_inclusive, .hi_inclusive = hi_inclusive};
    if (s->lo_key.len)
        range->lo = gn_buf_bytes(&s->lo_key);
    if (s->hi_key.len)
        range->hi = gn_buf_bytes(&s->hi_key);
    return code;
}

/* The next choice of values, in key order (last part fastest). False: none is left. */
static bool advance(scan_source *s)
{
    for (uint32_t i = s->path->n_parts; i-- > 0;) {
        part_keys *p = &s->parts[i];
        if (s->path->reverse ? p->at > 0 : p->at + 1 < p->n) {
            p->at = s->path->reverse ? p->at - 1 : p->at + 1;
            return true;
        }
        p->at = s->path->reverse ? p->n - 1 : 0;
    }
    return false;
}

/* ---- as one scan of all ranges, with what is done where the rows are ---- */

static gn_code copy_range(scan_source *s, gn_key_range *to, gn_error *err)
{
    *to = s->spec.range;
    gn_bytes *ends[2] = {&to->lo, &to->hi};
    for (int i = 0; i < 2; i++)
        if (ends[i]->data && !(ends[i]->data = gn_arena_memdup(s->ranges, ends[i]->data, ends[i]->len)))
            return gn_error_oom(err, s->x->account);
    return GN_OK;
}

static uint32_t count_ranges(const scan_source *s)
{
    uint64_t n = 1;
    for (uint32_t i = 0; i < s->path->n_parts && n <= GN_DSCAN_RANGES; i++)
        n *= s->parts[i].n;
    return n < GN_DSCAN_RANGES ? (uint32_t)n : GN_DSCAN_RANGES;
}

static void turn(gn_key_range *ranges, uint32_t n)
{
    for (uint32_t i = 0; i < n / 2; i++) {
        gn_key_range t = ranges[i];
        ranges[i] = ranges[n - 1 - i];
        ranges[n - 1 - i] = t;
    }
}

/* All ranges that are left, or as many as one scan takes; the last one of them is the current choice. */
static gn_code make_ranges(scan_source *s, gn_error *err)
{
    uint32_t most = count_ranges(s), n = 0;
    gn_key_range *ranges = gn_arena_calloc(s->ranges, (size_t)most + 1, sizeof *ranges);
    if (!ranges)
        return gn_error_oom(err, s->x->account);
    gn_code code = GN_OK;
    do {
        code = make_range(s, err);
        if (code == GN_OK)
            code = copy_range(s, &ranges[n++], err);
    } while (code == GN_OK && n < most && advance(s));
    if (s->path->reverse)
        turn(ranges, n);
    s->run.rows = s->spec;
    s->run.rows.range = ranges[0];
    s->run.ranges = ranges;
    s->run.n_ranges = n > 1 ? n : 0;
    return code;
}

static void init_keys(scan_source *s, gn_exec *x, const gn_path *path)
{
    s->x = x;
    s->path = path;
    gn_buf_init(&s->lo_key, x->account, 2 * (size_t)GN_MAX_KEY * GN_MAX_INDEX_COLUMNS);
    gn_buf_init(&s->hi_key, x->account, 2 * (size_t)GN_MAX_KEY * GN_MAX_INDEX_COLUMNS);
}

gn_code gn_scan_ranges(gn_exec *x, const gn_path *path, uint32_t most, gn_arena *arena, const gn_key_range **out,
                       uint32_t *n, bool *fits, gn_error *err)
{
    scan_source s = {.ranges = arena};
    init_keys(&s, x, path);
    gn_code code = compute_ends(&s, err);
    *fits = code == GN_OK && !s.finished && count_ranges(&s) <= most;
    if (*fits)
        code = make_ranges(&s, err);
    if (code == GN_LIMIT) { /* a bound that is too long for a key */
        gn_error_clear(err);
        *fits = false;
        code = GN_OK;
    }
    *out = s.run.ranges;
    *n = !*fits ? 0 : s.run.n_ranges ? s.run.n_ranges : 1;
    gn_buf_close(&s.lo_key);
    gn_buf_close(&s.hi_key);
    return code;
}

/* ---- the operator ---- */

static gn_code open_scan(scan_source *s, gn_error *err)
{
    if (s->push)
        gn_arena_reset(s->ranges); /* of the scan before */
    gn_code code = s->push ? make_ranges(s, err) : make_range(s, err);
    if (code != GN_OK)
        return code;
    return s->push ? gn_dscan_run(s->x->txn, &s->run, &s->scan, err)
                   : gn_dscan_open(s->x->txn, &s->spec, s->path->ordered, &s->scan, err);
}

/* Columns that stay where the rows are, since nothing here looks at them, are NULL in `columns` from the beginning. */
static gn_batch *give(scan_source *s)
{
    const gn_fragment *f = s->push ? s->push->fragment : NULL;
    uint32_t n = f ? f->n_out : s->path->n_ordinals;
    for (uint32_t i = 0; i < n; i++)
        s->columns[f && !f->grouped ? f->columns[i] : i] = s->batch.columns[i];
    s->out.n_rows = s->batch.n_rows;
    return &s->out;
}

static gn_code scan_next(gn_operator *op, gn_batch **out, gn_error *err)
{
    scan_source *s = (scan_source *)op;
    gn_code code = s->started ? GN_OK : compute(s, err);
    *out = NULL;
    while (code == GN_OK && !s->finished) {
        if (!s->scan && (code = open_scan(s, err)) != GN_OK)
            return code;
        code = gn_dscan_next(s->scan, &s->batch, s->with_keys ? s->columns[s->path->n_ordinals].bytes : NULL, err);
        if (code != GN_OK)
            return code;
        if (s->batch.n_rows) {
            *out = give(s);
            return GN_OK;
        }
        gn_dscan_close(s->scan);
        s->scan = NULL;
        s->finished = !advance(s);
    }
    return code;
}

static void scan_close(gn_operator *op)
{
    scan_source *s = (scan_source *)op;
    gn_dscan_close(s->scan);
    gn_buf_close(&s->lo_key);
    gn_buf_close(&s->hi_key);
    gn_arena_destroy(s->bytes);
    gn_arena_destroy(s->ranges);
}

static const gn_operator_ops scan_ops = {.name = "Scan", .next = scan_next, .close = scan_close};

gn_code gn_exec_null_batch(gn_exec *x, const gn_type *types, uint32_t n, gn_batch *out, gn_error *err)
{
    gn_column *columns = gn_arena_calloc(x->arena, (size_t)n + 1, sizeof *columns);
    *out = (gn_batch){.n_columns = n, .columns = columns, .arena = x->arena};
    for (uint32_t i = 0; i < n && columns; i++) {
        columns[i] = (gn_column){.type = types[i], .has_nulls = true};
        columns[i].nulls = gn_arena_alloc(x->arena, GN_BATCH_ROWS / 64 * sizeof(uint64_t));
        columns[i].data = gn_arena_calloc(x->arena, GN_BATCH_ROWS, sizeof(gn_bytes));
        if (!columns[i].nulls || !columns[i].data)
            return gn_error_oom(err, x->account);
        memset(columns[i].nulls, 0xff, GN_BATCH_ROWS / 64 * sizeof(uint64_t));
    }
    return columns ? GN_OK : gn_error_oom(err, x->account);
}

/* Where a column of the path is in what the groups give. */
static uint32_t place_of(const gn_fragment *f, uint32_t column)
{
    for (uint32_t i = 0; f && i < f->n_columns; i++)
        if (f->columns[i] == column)
            return i;
    GN_ASSERT(!f);
    return column;
}

static gn_code init_order(scan_source *s, gn_error *err)
{
    const gn_path *path = s->path;
    gn_row_order *order = gn_arena_calloc(s->x->arena, path->n_by + 1, sizeof *order);
    if (!order)
        return gn_error_oom(err, s->x->account);
    for (uint32_t i = 0; i < path->n_by; i++) {
        const gn_sort_key *key = &path->by[i];
        if (key->expr->kind == GN_E_COLUMN)
            order[s->run.n_order++] = (gn_row_order){.column = place_of(s->push->fragment, key->expr->column),
                                                     .descending = key->descending,
                                                     .nulls_first = key->nulls_first};
    }
    s->run.order = order;
    s->run.ordered = false;
    return GN_OK;
}

/* What a fragment gives: groups, or rows some of whose columns do not come. */
static gn_code init_run(scan_source *s, gn_error *err)
{
    const gn_fragment *f = s->push->fragment;
    s->ranges = gn_arena_create(s->x->account);
    s->run = (gn_dscan_spec){.fragment = f, .ordered = s->path->ordered && !s->push->groups && !s->push->sorts};
    if (s->run.ordered && s->path->index && init_order(s, err) != GN_OK)
        return GN_OUT_OF_MEMORY;
    if (f && f->keep != UINT64_MAX)
        s->spec.limit_hint = 0;
    if (!f)
        return GN_OK;
    s->batch.n_columns = f->n_out;
    gn_batch nulls;
    gn_code code = f->grouped ? GN_OK : gn_exec_null_batch(s->x, s->path->types, s->path->n_ordinals, &nulls, err);
    if (code != GN_OK)
        return code;
    if (!f->grouped && s->path->n_ordinals)
        memcpy(s->columns, nulls.columns, s->path->n_ordinals * sizeof *s->columns);
    if (!f->grouped)
        return GN_OK;
    s->columns = gn_arena_calloc(s->x->arena, f->n_out + 1, sizeof *s->columns);
    s->op.types = f->out_types;
    s->op.n_columns = s->out.n_columns = f->n_out;
    s->out.columns = s->columns;
    return s->columns ? GN_OK : gn_error_oom(err, s->x->account);
}

static gn_code init_columns(scan_source *s, gn_error *err)
{
    uint32_t n = s->path->n_ordinals;
    gn_type *types = gn_arena_alloc(s->x->arena, (n + 1) * sizeof *types);
    s->columns = gn_arena_calloc(s->x->arena, n + 1, sizeof *s->columns);
    if (!types || !s->columns)
        return gn_error_oom(err, s->x->account);
    s->batch = (gn_batch){.n_columns = n, .arena = s->bytes}; /* the scan makes its columns */
    memcpy(types, s->path->types, n * sizeof *types);
    types[n] = gn_type_of(GN_T_BYTEA);
    s->columns[n].type = types[n];
    if (s->with_keys) {
        s->columns[n].bytes = gn_arena_alloc(s->x->arena, GN_BATCH_ROWS * sizeof(gn_bytes));
        s->columns[n].nulls = gn_arena_calloc(s->x->arena, GN_BATCH_ROWS / 64, sizeof(uint64_t));
        if (!s->columns[n].bytes || !s->columns[n].nulls)
            return gn_error_oom(err, s->x->account);
    }
    s->op.types = types;
    s->op.n_columns = n + s->with_keys;
    s->out = (gn_batch){.n_columns = s->op.n_columns, .columns = s->columns, .arena = s->bytes};
    return GN_OK;
}

gn_code gn_scan_source(gn_exec *x, const gn_path *path, bool with_keys, uint64_t limit_hint, gn_operator **out,
                       gn_error *err)
{
    scan_source *s = gn_arena_calloc(x->arena, 1, sizeof *s);
    if (!s)
        return gn_error_oom(err, x->account);
    s->op = (gn_operator){.ops = &scan_ops, .eval = &x->eval, .timed = x->timed};
    init_keys(s, x, path);
    s->with_keys = with_keys;
    s->finished = path->kind == GN_PATH_EMPTY;
    s->bytes = gn_arena_create(x->account);
    s->spec = (gn_scan_spec){.table = path->table,
                             .index = path->index,
                             .reverse = path->reverse,
                             .ordinals = path->ordinals,
                             .n_ordinals = path->n_ordinals,
                             .limit_hint = limit_hint,
                             .without_keys = !with_keys};
    s->push = x->push.path == path ? &x->push : NULL;
    gn_code code = init_columns(s, err);
    if (code == GN_OK && s->push)
        code = init_run(s, err);
    if (code != GN_OK)
        scan_close(&s->op);
    else
        *out = &s->op;
    return code;
}
