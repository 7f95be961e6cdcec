/* Sources of rows other than tables, and vector search as a source. */
#include "coord/exec_private.h"
#include "query/vector.h"

#include <math.h>

/* ---- one row without columns; generate_series ---- */

typedef struct series_source {
    gn_operator op;
    gn_exec *x;
    const gn_path *path;
    gn_batch batch;
    bool started, finished;
    int64_t next, stop, step;
    int64_t number; /* of the last row */
} series_source;

static void nothing_to_close(gn_operator *op)
{
    (void)op;
}

static gn_code row_next(gn_operator *op, gn_batch **out, gn_error *err)
{
    (void)err;
    series_source *s = (series_source *)op;
    s->batch.n_rows = s->finished ? 0 : 1;
    s->finished = true;
    *out = &s->batch;
    return GN_OK;
}

static gn_code series_argument(series_source *s, int i, int64_t *out, gn_error *err)
{
    gn_value v;
    if (!s->path->series[i])
        return GN_OK;
    gn_code code = gn_exec_value(s->x, s->path->series[i], &v, err);
    if (code != GN_OK)
        return code;
    if (v.is_null)
        s->finished = true;
    else
        *out = v.type.id == GN_T_INT4 ? v.as.i32 : v.as.i64;
    return GN_OK;
}

static gn_code series_start(series_source *s, gn_error *err)
{
    s->started = true;
    s->step = 1;
    gn_code code = series_argument(s, 0, &s->next, err);
    if (code == GN_OK)
        code = series_argument(s, 1, &s->stop, err);
    if (code == GN_OK)
        code = series_argument(s, 2, &s->step, err);
    if (code == GN_OK && s->step == 0)
        code = gn_error_set(err, GN_INVALID_PARAMETER, "step size cannot equal zero");
    return code;
}

static gn_code series_next(gn_operator *op, gn_batch **out, gn_error *err)
{
    series_source *s = (series_source *)op;
    gn_code code = s->started ? GN_OK : series_start(s, err);
    gn_column *c = s->batch.columns;
    uint32_t n = 0;
    while (code == GN_OK && !s->finished && n < GN_BATCH_ROWS) {
        if (s->step > 0 ? s->next > s->stop : s->next < s->stop)
            break;
        if (s->path->ordinality)
            s->batch.columns[1].i64[n] = ++s->number;
        if (c->type.id == GN_T_INT4)
            c->i32[n++] = (int32_t)s->next;
        else
            c->i64[n++] = s->next;
        s->finished = __builtin_add_overflow(s->next, s->step, &s->next);
    }
    s->batch.n_rows = n;
    *out = &s->batch;
    return code;
}

static gn_code empty_next(gn_operator *op, gn_batch **out, gn_error *err)
{
    (void)op;
    (void)err;
    *out = NULL;
    return GN_OK;
}

static gn_code simple_source(gn_exec *x, const gn_path *path, gn_operator **out, gn_error *err)
{
    static const gn_operator_ops row = {"Result", row_next, nothing_to_close},
                                 series = {"Function Scan", series_next, nothing_to_close},
                                 empty = {"Result", empty_next, nothing_to_close};
    series_source *s = gn_arena_calloc(x->arena, 1, sizeof *s);
    if (!s)
        return gn_error_oom(err, x->account);
    const gn_operator_ops *ops = path->kind == GN_PATH_ROW ? &row : path->kind == GN_PATH_SERIES ? &series : &empty;
    s->op = (gn_operator){
        .ops = ops, .n_columns = path->n_types, .types = path->types, .eval = &x->eval, .timed = x->timed};
    s->x = x;
    s->path = path;
    *out = &s->op;
    return gn_batch_init(&s->batch, path->types, path->n_types, x->arena, err);
}

/* ---- vector search ---- */

/* Rows by distance from the index; then those that the index does not know: vectors of length zero have no cosine
 * distance (NaN), and NULL has none at all. So a query gets its k rows while k rows match. */
typedef struct vector_source {
    gn_operator op;
    gn_exec *x;
    const gn_path *path;
    uint64_t limit_hint;
    gn_value query;
    const gn_fragment *fragment; /* what is done where the rows are; NULL: nothing */
    gn_batch batch;              /* what the scan fills, */
    gn_batch out;                /* and with a fragment: its columns where the path has them */
    gn_arena *bytes;
    gn_vector_bound bounds[GN_VECTOR_MOST_BOUNDS];
    gn_arena *ranges; /* of the bounds */
    gn_vector_scan_spec spec;
    gn_dvector_scan *scan;
    gn_vector_scan_stats stats;
    enum { V_START, V_SEARCH, V_UNDEFINED, V_NULL, V_END } phase;
    gn_operator *rest;
} vector_source;

static gn_code expr_node(gn_exec *x, gn_expr_kind kind, gn_type type, uint32_t n_args, gn_expr **out, gn_error *err)
{
    gn_expr *e = gn_arena_calloc(x->arena, 1, sizeof *e);
    gn_expr **args = gn_arena_calloc(x->arena, n_args + 1, sizeof *args);
    if (!e || !args)
        return gn_error_oom(err, x->account);
    *e = (gn_expr){.kind = kind, .type = type, .n_args = n_args, .args = args};
    *out = e;
    return GN_OK;
}

static gn_code const_f64(gn_exec *x, double v, bool is_null, gn_expr **out, gn_error *err)
{
    gn_code code = expr_node(x, GN_E_CONST, gn_type_of(GN_T_FLOAT8), 0, out, err);
    if (code == GN_OK)
        (*out)->value = (gn_value){.type = gn_type_of(GN_T_FLOAT8), .is_null = is_null, .as.f64 = v};
    return code;
}

/* vector IS NULL, or distance = NaN; `at` is the vector's place in the scan's output. */
static gn_code rest_condition(vector_source *v, uint32_t at, gn_expr **out, gn_error *err)
{
    gn_exec *x = v->x;
    gn_expr *column, *query, *distance, *nan;
    gn_type boolean = gn_type_of(GN_T_BOOL), vector = v->query.type;
    gn_code code = expr_node(x, GN_E_COLUMN, vector, 0, &column, err);
    if (code != GN_OK)
        return code;
    column->column = at;
    if (v->phase == V_NULL && !v->query.is_null) {
        code = expr_node(x, GN_E_IS_NULL, boolean, 1, out, err);
        if (code == GN_OK)
            (*out)->args[0] = column;
        return code;
    }
    gn_type types[2] = {gn_type_of(GN_T_FLOAT8), gn_type_of(GN_T_FLOAT8)}, to[2], result;
    code = expr_node(x, GN_E_CONST, vector, 0, &query, err);
    if (code == GN_OK)
        code = expr_node(x, GN_E_CALL, types[0], 2, &distance, err);
    if (code == GN_OK)
        code = const_f64(x, NAN, false, &nan, err);
    if (code == GN_OK)
        code = expr_node(x, GN_E_CALL, boolean, 2, out, err);
    if (code == GN_OK)
        code = gn_function_resolve(gn_bytes_str("="), true, types, 2, &(*out)->function, to, &result, err);
    if (code != GN_OK)
        return code;
    query->value = v->query;
    distance->function = v->path->order->function;
    distance->args[0] = column;
    distance->args[1] = query;
    (*out)->args[0] = distance;
    (*out)->args[1] = nan;
    return GN_OK;
}

/* The scan's columns with the vector among them, as a path of its own. */
static gn_code rest_path(vector_source *v, gn_path *path, uint32_t *vector_at, gn_error *err)
{
    const gn_table_desc *t = v->path->table;
    uint32_t n = v->path->n_ordinals;
    uint32_t *ordinals = gn_arena_alloc(v->x->arena, (n + 1) * sizeof *ordinals);
    gn_type *types = gn_arena_alloc(v->x->arena, (n + 1) * sizeof *types);
    if (!ordinals || !types)
        return gn_error_oom(err, v->x->account);
    *path = v->path->n_within ? *v->path->within[0] : (gn_path){.kind = GN_PATH_SCAN, .table = t};
    path->ordered = false;
    path->ordinals = ordinals;
    path->types = types;
    path->n_ordinals = 0;
    bool placed = false;
    for (uint32_t i = 0; i <= n; i++) {
        if (!placed && (i == n || v->path->ordinals[i] >= v->path->vector_ordinal)) {
            placed = true;
            *vector_at = path->n_ordinals;
            ordinals[path->n_ordinals++] = v->path->vector_ordinal;
        }
        if (i < n && v->path->ordinals[i] != v->path->vector_ordinal)
            ordinals[path->n_ordinals++] = v->path->ordinals[i];
    }
    for (uint32_t i = 0; i < path->n_ordinals; i++)
        types[i] = t->columns[ordinals[i]].type;
    path->n_types = path->n_ordinals;
    return GN_OK;
}

static gn_code rest_projection(vector_source *v, const gn_path *path, gn_expr ***out, gn_error *err)
{
    uint32_t n = v->path->n_ordinals;
    gn_expr **exprs = gn_arena_calloc(v->x->arena, n + 1, sizeof *exprs);
    if (!exprs)
        return gn_error_oom(err, v->x->account);
    gn_code code = GN_OK;
    for (uint32_t i = 0; i < n && code == GN_OK; i++) {
        code = expr_node(v->x, GN_E_COLUMN, v->path->types[i], 0, &exprs[i], err);
        for (uint32_t k = 0; k < path->n_ordinals && code == GN_OK; k++)
            if (path->ordinals[k] == v->path->ordinals[i])
                exprs[i]->column = k;
    }
    *out = exprs;
    return code == GN_OK ? const_f64(v->x, NAN, v->phase == V_NULL, &exprs[n], err) : code;
}

static gn_code open_rest(vector_source *v, gn_error *err)
{
    gn_path *path = gn_arena_calloc(v->x->arena, 1, sizeof *path);
    gn_expr *condition = NULL, **exprs = NULL;
    uint32_t vector_at = 0;
    if (!path)
        return gn_error_oom(err, v->x->account);
    gn_code code = rest_path(v, path, &vector_at, err);
    if (code == GN_OK && !v->query.is_null) /* nothing has a distance to NULL: all rows come */
        code = rest_condition(v, vector_at, &condition, err);
    if (code == GN_OK)
        code = rest_projection(v, path, &exprs, err);
    if (code == GN_OK)
        code = gn_scan_source(v->x, path, false, v->limit_hint, &v->rest, err);
    if (code != GN_OK)
        return code;
    if (condition)
        v->rest = gn_op_filter(&v->x->eval, v->x->account, v->rest, condition);
    v->rest = gn_op_project(&v->x->eval, v->x->account, v->rest, exprs, v->path->n_ordinals + 1);
    if (v->fragment)
        v->rest = gn_op_filter(&v->x->eval, v->x->account, v->rest, v->fragment->filter);
    return GN_OK;
}

/* Where all that match are. */
static gn_code make_bounds(vector_source *v, gn_error *err)
{
    enum { MOST_RANGES = 1024 };
    gn_code code = GN_OK;
    v->ranges = gn_arena_create(v->x->account);
    for (uint32_t i = 0; i < v->path->n_within && code == GN_OK; i++) {
        gn_vector_bound *bound = &v->bounds[v->spec.n_bounds];
        bool fits;
        bound->index = v->path->within[i]->index;
        code = gn_scan_ranges(v->x, v->path->within[i], MOST_RANGES, v->ranges, &bound->ranges, &bound->n_ranges, &fits,
                              err);
        v->spec.n_bounds += fits;
    }
    v->spec.bounds = v->bounds;
    v->spec.whole = v->path->within_whole && v->spec.n_bounds == v->path->n_within;
    return code;
}

/* By what is known of all that match, and how far from the query they may be. */
static gn_code bound_search(vector_source *v, gn_error *err)
{
    gn_value radius;
    gn_code code = v->fragment && v->path->n_within ? make_bounds(v, err) : GN_OK;
    if (code != GN_OK || !v->fragment || !v->path->radius)
        return code;
    code = gn_exec_value(v->x, v->path->radius, &radius, err);
    v->spec.has_radius = code == GN_OK && !radius.is_null && isfinite(radius.as.f64);
    v->spec.radius = v->spec.has_radius ? radius.as.f64 : 0;
    return code;
}

/* In the words of the operator. */
static gn_code other_dimensions(gn_type column, gn_bytes query, gn_error *err)
{
    uint64_t n = column.id == GN_T_BIT         ? gn_bits_of(query).n
                 : column.id == GN_T_SPARSEVEC ? gn_sparse_of(query).dimensions
                                               : gn_dense_dimensions((gn_type_id)column.id, query);
    return gn_error_set(err, GN_BAD_VECTOR, "different %s %d and %llu",
                        column.id == GN_T_BIT         ? "bit lengths"
                        : column.id == GN_T_SPARSEVEC ? "sparsevec dimensions"
                        : column.id == GN_T_HALFVEC   ? "halfvec dimensions"
                                                      : "vector dimensions",
                        column.typmod, (unsigned long long)n);
}

static gn_code open_search(vector_source *v, gn_error *err)
{
    gn_code code = gn_exec_value(v->x, v->path->query, &v->query, err);
    if (code != GN_OK)
        return code;
    if (v->query.is_null) {
        v->phase = V_NULL;
        return open_rest(v, err);
    }
    gn_type column = v->path->table->columns[v->path->vector_ordinal].type;
    uint32_t dimensions = gn_index_words(column);
    float *copy = gn_arena_alloc(v->x->arena, dimensions * sizeof *copy); /* aligned */
    if (!copy)
        return gn_error_oom(err, v->x->account);
    if (!gn_index_vector(column, v->query.as.bytes, copy))
        return other_dimensions(column, v->query.as.bytes, err);
    v->spec = (gn_vector_scan_spec){.table = v->path->table,
                                    .index = v->path->index,
                                    .query = copy,
                                    .dimensions = dimensions,
                                    .k_hint = v->limit_hint,
                                    .ef = gn_index_ef(v->path->index, v->x->ef_search, v->x->ef_search_given),
                                    .target_recall = v->x->vector_exact ? 0 : v->x->target_recall,
                                    .exact = v->x->vector_exact,
                                    .ordinals = v->path->ordinals,
                                    .n_ordinals = v->path->n_ordinals};
    v->phase = V_SEARCH;
    code = bound_search(v, err);
    return code == GN_OK ? gn_dvector_scan_open(v->x->txn, &v->spec, v->fragment, &v->scan, err) : code;
}

static void end_search(vector_source *v)
{
    if (!v->scan)
        return;
    gn_dvector_scan_stats_get(v->scan, &v->stats);
    gn_dvector_scan_close(v->scan);
    v->scan = NULL;
}

/* The phase after this one; those that cannot have rows are skipped. */
static gn_code next_phase(vector_source *v, gn_error *err)
{
    const gn_column_desc *c = &v->path->table->columns[v->path->vector_ordinal];
    bool undefined = v->path->index->metric == GN_METRIC_COSINE;
    end_search(v);
    gn_operator_close(v->rest);
    v->rest = NULL;
    /* What has no distance is within no radius; or there is no such row. */
    if (v->phase == V_SEARCH && (v->spec.has_radius || v->stats.all_measured))
        v->phase = V_END;
    else if (v->phase == V_SEARCH)
        v->phase = undefined ? V_UNDEFINED : c->not_null ? V_END : V_NULL;
    else if (v->phase == V_UNDEFINED)
        v->phase = c->not_null ? V_END : V_NULL;
    else
        v->phase = V_END;
    return v->phase == V_END ? GN_OK : open_rest(v, err);
}

/* Columns that stay where the rows are, since nothing here looks at them, are NULL. */
static gn_batch *give_found(vector_source *v)
{
    const gn_fragment *f = v->fragment;
    if (!f)
        return &v->batch;
    for (uint32_t i = 0; i < f->n_out; i++)
        v->out.columns[f->columns[i]] = v->batch.columns[i];
    v->out.columns[v->path->n_ordinals] = v->batch.columns[f->n_out];
    v->out.n_rows = v->batch.n_rows;
    return &v->out;
}

static gn_code vector_next(gn_operator *op, gn_batch **out, gn_error *err)
{
    vector_source *v = (vector_source *)op;
    gn_code code = v->phase == V_START ? open_search(v, err) : GN_OK;
    *out = NULL;
    while (code == GN_OK && v->phase != V_END) {
        gn_batch *batch = &v->batch;
        code = v->phase == V_SEARCH ? gn_dvector_scan_next(v->scan, batch, NULL, err)
                                    : gn_operator_next(v->rest, &batch, err);
        if (code != GN_OK)
            return code;
        if (batch && batch->n_rows) {
            *out = v->phase == V_SEARCH ? give_found(v) : batch;
            return GN_OK;
        }
        code = next_phase(v, err);
    }
    return code;
}

static void vector_close(gn_operator *op)
{
    vector_source *v = (vector_source *)op;
    end_search(v);
    gn_operator_close(v->rest);
    gn_arena_destroy(v->bytes);
    gn_arena_destroy(v->ranges);
}

static const gn_operator_ops vector_ops = {.name = "Vector Scan", .next = vector_next, .close = vector_close};

gn_code gn_vector_source(gn_exec *x, const gn_path *path, uint64_t limit_hint, gn_operator **out, gn_error *err)
{
    vector_source *v = gn_arena_calloc(x->arena, 1, sizeof *v);
    if (!v)
        return gn_error_oom(err, x->account);
    v->op = (gn_operator){
        .ops = &vector_ops, .n_columns = path->n_types, .types = path->types, .eval = &x->eval, .timed = x->timed};
    v->x = x;
    v->path = path;
    v->limit_hint = limit_hint;
    v->bytes = gn_arena_create(x->account);
    v->batch = (gn_batch){.n_columns = path->n_types, .arena = v->bytes}; /* the scan makes its columns */
    *out = &v->op;
    if (x->push.path != path || !x->push.fragment)
        return GN_OK;
    v->fragment = x->push.fragment;
    v->batch.n_columns = v->fragment->n_out + 1;
    return gn_exec_null_batch(x, path->types, path->n_types, &v->out, err);
}

void gn_vector_source_stats(const gn_operator *op, gn_vector_scan_stats *out)
{
    const vector_source *v = (const vector_source *)op;
    *out = v->stats;
    if (v->scan)
        gn_dvector_scan_stats_get(v->scan, out);
}

/* ---- choice ---- */

gn_code gn_exec_source(gn_exec *x, const gn_path *path, bool with_keys, uint64_t limit_hint, gn_operator **out,
                       gn_error *err)
{
    switch (path->kind) {
    case GN_PATH_SCAN:
        return gn_scan_source(x, path, with_keys, limit_hint, out, err);
    case GN_PATH_VECTOR:
        return gn_vector_source(x, path, limit_hint, out, err);
    case GN_PATH_VALUES:
        *out = gn_op_values(&x->eval, x->account, path->rows, path->n_rows, path->types, path->n_types);
        return GN_OK;
    case GN_PATH_EMPTY:
        if (with_keys)
            return gn_scan_source(x, path, with_keys, limit_hint, out, err);
        return simple_source(x, path, out, err);
    case GN_PATH_UNNEST:
        return gn_unnest_source(x, path, out, err);
    case GN_PATH_QUERY:
        return gn_query_source(x, path, limit_hint, out, err);
    case GN_PATH_ROW:
    case GN_PATH_SERIES:
        return simple_source(x, path, out, err);
    }
    return gn_error_set(err, GN_INTERNAL, "unknown path kind %d", (int)path->kind);
}
