/* What FROM gives about vector indexes: pg_vector_index_stats(), also without parentheses as a view has none, and
 * vector_index_estimate(rows, dimensions, ...). Both are functions whose columns are computed here, at once, and taken
 * apart by exec_unnest.c. */
#include "coord/exec_private.h"
#include "index/vector_index.h"
#include "query/array.h"

#include <math.h>

typedef struct view_column {
    const char *name;
    gn_type_id type;
} view_column;

/* ---- building rows ---- */

typedef struct row_writer {
    gn_array_builder *columns;
    uint32_t at;
    gn_code code;
    gn_error *err;
} row_writer;

static void put(row_writer *w, gn_value value)
{
    gn_array_builder *b = &w->columns[w->at++];
    value.type = b->element;
    if (w->code == GN_OK)
        w->code = gn_array_add(b, &value, w->err);
}

static void put_text(row_writer *w, const char *text)
{
    put(w, (gn_value){.as.bytes = gn_bytes_str(text)});
}

static void put_i64(row_writer *w, uint64_t n)
{
    put(w, (gn_value){.as.i64 = (int64_t)n});
}

static void put_i32(row_writer *w, uint32_t n)
{
    put(w, (gn_value){.as.i32 = (int32_t)n});
}

/* NAN: not known. */
static void put_f64(row_writer *w, double v)
{
    put(w, (gn_value){.as.f64 = v, .is_null = v != v});
}

/* ---- pg_vector_index_stats ---- */

static const view_column stats_columns[] = {
    {"table_name", GN_T_TEXT},
    {"index_name", GN_T_TEXT},
    {"column_name", GN_T_TEXT},
    {"metric", GN_T_TEXT},
    {"dimensions", GN_T_INT4},
    {"state", GN_T_TEXT},
    {"quantization", GN_T_TEXT},
    {"vectors", GN_T_INT8},
    {"segments", GN_T_INT8},
    {"tail_vectors", GN_T_INT8},
    {"dead_vectors", GN_T_INT8},
    {"dead_share", GN_T_FLOAT8},
    {"code_bytes", GN_T_INT8},
    {"link_bytes", GN_T_INT8},
    {"vector_bytes", GN_T_INT8},
    {"other_bytes", GN_T_INT8},
    {"tail_bytes", GN_T_INT8},
    {"disk_bytes", GN_T_INT8},
    {"compression_ratio", GN_T_FLOAT8},
    {"estimated_recall", GN_T_FLOAT8},
    {"build_done", GN_T_INT8},
    {"build_total", GN_T_INT8},
    {"groups", GN_T_INT4},
    {"groups_here", GN_T_INT4},
};

static const char *const metrics[GN_METRIC_KNOWN] = {
    [GN_METRIC_L2] = "l2", [GN_METRIC_IP] = "ip",           [GN_METRIC_COSINE] = "cosine",
    [GN_METRIC_L1] = "l1", [GN_METRIC_HAMMING] = "hamming", [GN_METRIC_JACCARD] = "jaccard"};

const char *gn_metric_text(uint8_t metric)
{
    return metric < GN_METRIC_KNOWN && metrics[metric] ? metrics[metric] : "?";
}

static const char *state_of(const gn_vindex_stats *s, const gn_vindex_presence *where)
{
    if (where->groups_here == 0)
        return "elsewhere";
    if (where->groups_live < where->groups_here)
        return "filling";
    return s->building ? "building" : "ready";
}

/* The full vectors' bytes over those of the codes that are walked over. Plain vectors are their own codes. */
static double compression(const gn_vindex_stats *s, size_t bytes)
{
    uint64_t coded = s->vectors - s->tail_vectors;
    if (coded == 0)
        return NAN;
    return s->code_bytes ? (double)coded * (double)bytes / (double)s->code_bytes : 1;
}

static gn_code add_index(gn_exec *x, const gn_table_desc *t, const gn_index_desc *index, row_writer *w)
{
    gn_vindex_stats s;
    gn_vindex_presence where;
    int at = gn_table_column_by_id(t, index->columns[0]);
    uint32_t dimensions = at < 0 ? 0 : (uint32_t)t->columns[at].type.typmod;
    bool halves = at >= 0 && gn_type_is(t->columns[at].type, GN_T_HALFVEC);
    size_t bytes = dimensions * (halves ? sizeof(uint16_t) : sizeof(float));
    gn_cluster_vindex_stats(x->cluster, t, index->id, &s, &where);
    bool coded = s.vectors > s.tail_vectors;
    gn_code_kind kind = coded ? s.codes : (gn_code_kind)index->codes;
    w->at = 0;
    put_text(w, t->name);
    put_text(w, index->name);
    put_text(w, at < 0 ? "?" : t->columns[at].name);
    put_text(w, gn_metric_text(index->metric));
    put_i32(w, dimensions);
    put_text(w, state_of(&s, &where));
    put_text(w, gn_code_kind_name(kind));
    put_i64(w, s.vectors);
    put_i64(w, s.segments);
    put_i64(w, s.tail_vectors);
    put_i64(w, s.dead_vectors);
    put_f64(w, s.vectors ? (double)s.dead_vectors / (double)s.vectors : 0);
    put_i64(w, s.code_bytes);
    put_i64(w, s.link_bytes);
    put_i64(w, s.vector_bytes);
    put_i64(w, s.other_bytes);
    put_i64(w, s.memory_bytes);
    put_i64(w, s.disk_bytes);
    put_f64(w, compression(&s, bytes));
    put_f64(w, s.recall > 0 ? (double)s.recall : NAN);
    put_i64(w, s.build_done);
    put_i64(w, s.build_total);
    put_i32(w, where.groups);
    put_i32(w, where.groups_here);
    return w->code;
}

static gn_code fill_stats(gn_exec *x, const gn_path *path, gn_array_builder *columns, gn_error *err)
{
    (void)path;
    const gn_table_desc **tables;
    size_t n;
    gn_code code = gn_dtxn_tables(x->txn, x->arena, &tables, &n, err);
    row_writer w = {.columns = columns, .err = err};
    for (size_t i = 0; i < n && code == GN_OK; i++)
        for (uint32_t k = 0; k < tables[i]->n_indexes && code == GN_OK; k++)
            if (tables[i]->indexes[k].kind == GN_INDEX_HNSW)
                code = add_index(x, tables[i], &tables[i]->indexes[k], &w);
    return code;
}

/* ---- vector_index_estimate ---- */

enum { E_ROWS, E_DIMENSIONS, E_QUANTIZATION, E_M, E_TYPE, E_ARGS };
static const gn_type_id estimate_args[E_ARGS] = {GN_T_INT8, GN_T_INT4, GN_T_TEXT, GN_T_INT4, GN_T_TEXT};
static const view_column estimate_columns[] = {
    {"disk_bytes", GN_T_INT8}, {"memory_bytes", GN_T_INT8}, {"build_bytes", GN_T_INT8}};

static gn_code codes_named(gn_bytes name, gn_code_kind *out, gn_error *err)
{
    char text[16] = "";
    if (name.len < sizeof text)
        memcpy(text, name.data, name.len);
    *out = gn_code_kind_named(text);
    return *out == GN_CODES_KNOWN ? gn_error_set(err, GN_INVALID_PARAMETER, "unknown quantization \"%.*s\"",
                                                 (int)(name.len > 60 ? 60 : name.len), (const char *)name.data)
                                  : GN_OK;
}

/* sparsevec is indexed as vector is. */
static gn_code is_halfvec(gn_bytes type, bool *out, gn_error *err)
{
    *out = gn_bytes_eq(type, gn_bytes_str("halfvec"));
    if (*out || gn_bytes_eq(type, gn_bytes_str("vector")) || gn_bytes_eq(type, gn_bytes_str("sparsevec")))
        return GN_OK;
    return gn_error_set(err, GN_INVALID_PARAMETER, "the type must be vector, halfvec or sparsevec, not \"%.*s\"",
                        (int)(type.len > 60 ? 60 : type.len), (const char *)type.data);
}

static gn_code check_range(const char *what, int64_t v, int64_t most, gn_error *err)
{
    if (v >= 1 && v <= most)
        return GN_OK;
    return gn_error_set(err, GN_INVALID_PARAMETER, "%s must be between 1 and %lld", what, (long long)most);
}

static gn_code fill_estimate(gn_exec *x, const gn_path *path, gn_array_builder *columns, gn_error *err)
{
    enum { KEY_BYTES = 10 }; /* of a bigint, encoded, with some room */
    gn_value args[E_ARGS] = {0};
    gn_code code = GN_OK;
    for (uint32_t i = 0; i < path->n_arrays && code == GN_OK; i++) {
        code = gn_exec_value(x, path->arrays[i], &args[i], err);
        if (code == GN_OK && args[i].is_null)
            return GN_OK;
    }
    gn_vindex_options o = {.metric = GN_METRIC_L2, .dimensions = (uint32_t)args[E_DIMENSIONS].as.i32};
    gn_vindex_estimate e;
    if (code == GN_OK)
        code = check_range("rows", args[E_ROWS].as.i64, INT64_C(1000000000000), err);
    if (code == GN_OK)
        code = check_range("dimensions", args[E_DIMENSIONS].as.i32, GN_MAX_DIMENSIONS, err);
    if (code == GN_OK && path->n_arrays > E_QUANTIZATION)
        code = codes_named(args[E_QUANTIZATION].as.bytes, &o.codes, err);
    if (code == GN_OK && path->n_arrays > E_M &&
        (code = check_range("m", args[E_M].as.i32, GN_MAX_HNSW_M, err)) == GN_OK)
        o.m = (uint32_t)args[E_M].as.i32;
    if (code == GN_OK && path->n_arrays > E_TYPE)
        code = is_halfvec(args[E_TYPE].as.bytes, &o.halves, err);
    if (code == GN_OK)
        code = gn_vindex_estimate_of(&o, (uint64_t)args[E_ROWS].as.i64, KEY_BYTES, &e, err);
    if (code != GN_OK)
        return code;
    row_writer w = {.columns = columns, .err = err};
    put_i64(&w, e.file_bytes);
    put_i64(&w, e.walked_bytes);
    put_i64(&w, e.build_bytes);
    return w.code;
}

/* ---- binding ---- */

static const struct {
    const char *name;
    const view_column *columns;
    uint32_t n_columns;
    uint32_t least, most; /* arguments */
    const gn_type_id *args;
    gn_code (*fill)(gn_exec *x, const gn_path *path, gn_array_builder *columns, gn_error *err);
} views[] = {
    {"pg_vector_index_stats", stats_columns, sizeof stats_columns / sizeof stats_columns[0], 0, 0, NULL, fill_stats},
    {"vector_index_estimate", estimate_columns, sizeof estimate_columns / sizeof estimate_columns[0], 2, E_ARGS,
     estimate_args, fill_estimate},
};

static int view_at(const char *name)
{
    for (size_t i = 0; i < sizeof views / sizeof views[0]; i++)
        if (strcmp(views[i].name, name) == 0)
            return (int)i;
    return -1;
}

bool gn_is_vector_view(const char *function, bool parentheses)
{
    int at = view_at(function);
    return at >= 0 && (parentheses || views[at].most == 0);
}

static gn_code bind_arguments(gn_binder *b, const gn_ast_expr *call, int at, gn_query *q)
{
    uint32_t n = call ? call->args.n : 0;
    if (n < views[at].least || n > views[at].most)
        return gn_bind_fail(b, call ? call->position : 0, GN_NO_FUNCTION,
                            "function %s with %u arguments does not exist", views[at].name, n);
    q->path.arrays = gn_arena_calloc(b->arena, n + 1, sizeof *q->path.arrays);
    if (!q->path.arrays)
        return gn_error_oom(b->err, gn_arena_account(b->arena));
    b->clause = GN_IN_FROM;
    gn_code code = GN_OK;
    for (uint32_t i = 0; i < n && code == GN_OK; i++)
        code = gn_bind_as(b, call->args.items[i], gn_type_of(views[at].args[i]), views[at].name, &q->path.arrays[i]);
    q->path.n_arrays = n;
    return code;
}

gn_code gn_bind_vector_view(gn_binder *b, const gn_ast_from *from, const char *function, gn_query *q, gn_relation *r)
{
    int at = view_at(function);
    uint32_t n = views[at].n_columns;
    gn_type *types = gn_arena_calloc(b->arena, n, sizeof *types);
    const char **names = gn_arena_calloc(b->arena, n, sizeof *names);
    if (!types || !names)
        return gn_error_oom(b->err, gn_arena_account(b->arena));
    for (uint32_t i = 0; i < n; i++) {
        types[i] = gn_type_of(views[at].columns[i].type);
        names[i] = views[at].columns[i].name;
    }
    *r = (gn_relation){.name = from->alias ? from->alias : function, .n_columns = n, .names = names, .types = types};
    q->path.kind = GN_PATH_UNNEST;
    q->path.fill = views[at].fill;
    q->path.function = views[at].name;
    return bind_arguments(b, from->call, at, q);
}
