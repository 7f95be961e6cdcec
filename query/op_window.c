/* Window functions: all rows are kept, each gets a number among those of its partition, and all come out again in the
 * order in which they came in.
 *
 * mmr_rank is maximal marginal relevance (Carbonell and Goldstein, "The use of MMR, diversity-based reranking for
 * reordering documents and producing summaries", 1998): the next row is the one with the largest
 *
 *   lambda * sim(row, query) - (1 - lambda) * max sim(row, row chosen before)
 *
 * where the similarity is the negative distance; for the cosine that differs from theirs by a constant, which changes
 * no choice. The first is the nearest to the query. Each row keeps its similarity to the nearest one chosen, so that k
 * choices among n rows take k * n distances. */
#include "index/distance.h"
#include "query/function_private.h"
#include "query/operator_private.h"
#include "query/vector.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

enum { MMR_MOST = 10000 };

typedef struct window_op {
    gn_operator op;
    gn_account *account;
    const gn_window_call *calls;
    uint32_t n_calls;
    uint64_t wanted;
    gn_type *types; /* of the store: the input's columns, then each call's partition, order and arguments */
    gn_type *out_types;
    uint32_t n_stored;
    gn_arena *kept; /* the store, and what is computed of it */
    gn_row_store store;
    int64_t **numbers; /* of each call, of each row */
    gn_arena *work;
    gn_batch out;
    bool filled;
    uint64_t emitted;
} window_op;

/* ---- collecting ---- */

static uint32_t width(const gn_window_call *c)
{
    return c->n_partition + c->n_order + c->n_args;
}

/* The i-th of a call's expressions, in the order in which they are stored. */
static const gn_expr *expr_at(const gn_window_call *c, uint32_t i)
{
    if (i < c->n_partition)
        return c->partition[i];
    i -= c->n_partition;
    return i < c->n_order ? c->order[i].expr : c->args[i - c->n_order];
}

static gn_code add_batch(window_op *w, const gn_batch *in, gn_error *err)
{
    gn_arena_reset(w->work);
    gn_eval eval = gn_operator_eval(&w->op, w->work, err);
    gn_column *columns = gn_eval_alloc(&eval, (w->n_stored + 1u) * sizeof *columns);
    if (!columns)
        return GN_OUT_OF_MEMORY;
    memcpy(columns, in->columns, in->n_columns * sizeof *columns);
    uint32_t at = in->n_columns;
    gn_code code = GN_OK;
    for (uint32_t c = 0; c < w->n_calls; c++)
        for (uint32_t i = 0; i < width(&w->calls[c]) && !code; i++)
            code = gn_expr_eval(expr_at(&w->calls[c], i), in, &eval, &columns[at++]);
    for (uint32_t i = 0; i < in->n_rows && !code; i++)
        code = gn_row_store_append(&w->store, columns, i, err);
    return code;
}

/* ---- partitions ---- */

typedef struct order_context {
    const window_op *w;
    const gn_window_call *call;
    const uint32_t *partition; /* of each row */
    uint32_t first;            /* column of the first key */
} order_context;

static int keys_order(const order_context *o, uint64_t a, uint64_t b)
{
    for (uint32_t k = 0; k < o->call->n_order; k++) {
        const gn_sort_key *key = &o->call->order[k];
        const gn_column *x = gn_row_store_column(&o->w->store, a, o->first + k);
        const gn_column *y = gn_row_store_column(&o->w->store, b, o->first + k);
        uint32_t at_x = gn_row_store_place(a), at_y = gn_row_store_place(b);
        bool null_x = gn_column_is_null(x, at_x), null_y = gn_column_is_null(y, at_y);
        if (null_x != null_y)
            return null_x == key->nulls_first ? -1 : 1;
        if (null_x)
            continue;
        gn_value vx = gn_column_get(x, at_x), vy = gn_column_get(y, at_y);
        int order = gn_value_compare(&vx, &vy);
        if (order)
            return key->descending ? -order : order;
    }
    return 0;
}

static int rows_order(const void *a, const void *b, void *context)
{
    const order_context *o = context;
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    if (o->partition[x] != o->partition[y])
        return o->partition[x] < o->partition[y] ? -1 : 1;
    int order = keys_order(o, x, y);
    return order ? order : x < y ? -1 : x > y;
}

/* The number of each row's partition, in the order of first occurrence. */
static gn_code find_partitions(window_op *w, const gn_window_call *call, uint32_t at, uint32_t *partition,
                               gn_error *err)
{
    gn_row_set set;
    uint64_t hashes[GN_BATCH_ROWS], number;
    gn_code code = GN_OK;
    memset(partition, 0, w->store.n_rows * sizeof *partition);
    if (call->n_partition == 0)
        return GN_OK;
    gn_row_set_init(&set, w->account, w->kept, w->types + at, call->n_partition);
    for (uint64_t row = 0; row < w->store.n_rows && !code; row++) {
        const gn_column *columns = gn_row_store_column(&w->store, row, at);
        uint64_t left = w->store.n_rows - row;
        bool added;
        if (gn_row_store_place(row) == 0)
            gn_hash_rows(columns, call->n_partition, left < GN_BATCH_ROWS ? (uint32_t)left : GN_BATCH_ROWS, hashes);
        code = gn_row_set_put(&set, columns, gn_row_store_place(row), hashes[gn_row_store_place(row)], &number, &added,
                              err);
        partition[row] = (uint32_t)number;
    }
    gn_row_set_close(&set);
    return code;
}

/* ---- ranks by order ---- */

static void number_partition(const order_context *o, const uint64_t *rows, uint64_t n, int64_t *numbers)
{
    int64_t rank = 0, dense = 0;
    for (uint64_t i = 0; i < n; i++) {
        if (i == 0 || keys_order(o, rows[i - 1], rows[i])) {
            rank = (int64_t)i + 1;
            dense++;
        }
        numbers[rows[i]] = o->call->kind == GN_WINDOW_ROW_NUMBER ? (int64_t)i + 1
                           : o->call->kind == GN_WINDOW_RANK     ? rank
                                                                 : dense;
    }
}

/* ---- maximal marginal relevance ---- */

typedef struct candidate {
    uint64_t row;
    const float *v;
    double norm;
    double to_query; /* distance */
    double to_chosen;
    bool chosen;
} candidate;

typedef struct mmr {
    gn_metric_kind metric;
    double lambda;
    const float *query;
    size_t n_dimensions;
    double query_norm;
    candidate *items;
    uint64_t n;
} mmr;

static gn_value cell(const window_op *w, uint64_t row, uint32_t column)
{
    const gn_column *c = gn_row_store_column(&w->store, row, column);
    uint32_t at = gn_row_store_place(row);
    return gn_column_is_null(c, at) ? gn_value_null(c->type) : gn_column_get(c, at);
}

static double norm_of(const mmr *m, const float *v)
{
    return m->metric == GN_METRIC_COSINE ? sqrt((double)gn_kernels_best()->norm2(v, NULL, m->n_dimensions)) : 1;
}

static double distance(const mmr *m, const float *a, double norm_a, const float *b, double norm_b)
{
    const gn_kernels *k = gn_kernels_best();
    switch (m->metric) {
    case GN_METRIC_L2:
        return sqrt((double)k->l2sq(a, b, m->n_dimensions));
    case GN_METRIC_IP:
        return -(double)k->dot(a, b, m->n_dimensions);
    case GN_METRIC_COSINE:
        return norm_a * norm_b == 0 ? NAN : 1 - (double)k->dot(a, b, m->n_dimensions) / (norm_a * norm_b);
    default:
        return (double)gn_distance_rare(m->metric)(a, b, m->n_dimensions);
    }
}

static gn_code read_metric(const gn_value *v, gn_metric_kind *out, gn_error *err)
{
    static const struct {
        const char *name;
        gn_metric_kind metric;
    } known[] = {{"cosine", GN_METRIC_COSINE}, {"l2", GN_METRIC_L2}, {"ip", GN_METRIC_IP}, {"l1", GN_METRIC_L1}};
    for (size_t i = 0; i < sizeof known / sizeof known[0] && !v->is_null; i++)
        if (gn_bytes_eq(v->as.bytes, gn_bytes_str(known[i].name))) {
            *out = known[i].metric;
            return GN_OK;
        }
    gn_error_set(err, GN_INVALID_PARAMETER, "unrecognized metric of mmr_rank");
    gn_error_hint(err, "It is 'cosine', 'l2', 'ip' or 'l1'.");
    return GN_INVALID_PARAMETER;
}

/* Query, lambda and metric are those of the partition's first row. */
static gn_code read_arguments(window_op *w, const gn_window_call *call, uint32_t args, uint64_t row, mmr *m,
                              gn_error *err)
{
    gn_value query = cell(w, row, args + 1), lambda = cell(w, row, args + 2);
    gn_code code = GN_OK;
    m->metric = GN_METRIC_COSINE;
    m->lambda = lambda.is_null ? NAN : lambda.as.f64;
    if (!(m->lambda >= 0 && m->lambda <= 1))
        return gn_error_set(err, GN_INVALID_PARAMETER, "lambda of mmr_rank must be between 0 and 1");
    if (call->n_args > 3) {
        gn_value metric = cell(w, row, args + 3);
        code = read_metric(&metric, &m->metric, err);
    }
    if (!code && !query.is_null)
        code = gn_vector_to_floats(&query, w->kept, &m->query, &m->n_dimensions, err);
    if (!code && m->query)
        m->query_norm = norm_of(m, m->query);
    return code;
}

/* NAN in to_query: the row has no distance to the query. */
static gn_code read_candidate(window_op *w, uint32_t column, uint64_t row, mmr *m, candidate *c, gn_error *err)
{
    gn_value v = cell(w, row, column);
    size_t n;
    *c = (candidate){.row = row, .to_query = NAN, .to_chosen = DBL_MAX};
    if (v.is_null || !m->query)
        return GN_OK;
    gn_code code = gn_vector_to_floats(&v, w->kept, &c->v, &n, err);
    if (code)
        return code;
    if (n != m->n_dimensions)
        return gn_error_set(err, GN_BAD_VECTOR, "different vector dimensions %zu and %zu", n, m->n_dimensions);
    c->norm = norm_of(m, c->v);
    double d = distance(m, c->v, c->norm, m->query, m->query_norm);
    c->to_query = isnan(d) ? NAN : fmin(d, DBL_MAX);
    return GN_OK;
}

static double gain(const mmr *m, const candidate *c, bool first)
{
    return first ? -c->to_query : (1 - m->lambda) * c->to_chosen - m->lambda * c->to_query;
}

/* Of equals the one nearer to the query, then the earlier one. */
static candidate *choose(const mmr *m, bool first)
{
    candidate *best = NULL;
    for (uint64_t i = 0; i < m->n; i++) {
        candidate *c = &m->items[i];
        if (c->chosen)
            continue;
        double more = best ? gain(m, c, first) - gain(m, best, first) : 1;
        if (more > 0 || (more == 0 && c->to_query < best->to_query))
            best = c;
    }
    return best;
}

static gn_code rank_all(const window_op *w, mmr *m, int64_t *numbers, int64_t *last, gn_error *err)
{
    uint64_t k = w->wanted < m->n ? w->wanted : m->n;
    for (uint64_t i = 0; i < k; i++) {
        if (gn_operator_canceled(&w->op))
            return gn_operator_cancel_error(err);
        candidate *next = choose(m, i == 0);
        next->chosen = true;
        numbers[next->row] = ++*last;
        for (uint64_t c = 0; c < m->n && i + 1 < k; c++) {
            candidate *other = &m->items[c];
            if (!other->chosen)
                other->to_chosen = fmin(other->to_chosen, distance(m, other->v, other->norm, next->v, next->norm));
        }
    }
    for (uint64_t i = 0; i < m->n; i++) /* nobody looks at their numbers */
        if (!m->items[i].chosen)
            numbers[m->items[i].row] = ++*last;
    return GN_OK;
}

/* Rows that have no distance come last, in the order in which they came. */
static gn_code mmr_partition(window_op *w, const gn_window_call *call, uint32_t args, const uint64_t *rows, uint64_t n,
                             int64_t *numbers, gn_error *err)
{
    mmr m = {.query = NULL};
    int64_t last = 0;
    gn_code code = read_arguments(w, call, args, rows[0], &m, err);
    if (code)
        return code;
    uint64_t room = n < MMR_MOST ? n : MMR_MOST;
    m.items = gn_arena_alloc(w->kept, room * sizeof *m.items);
    uint64_t *rest = gn_arena_alloc(w->kept, n * sizeof *rest), n_rest = 0;
    if (!m.items || !rest)
        return gn_error_oom(err, w->account);
    for (uint64_t i = 0; i < n && !code; i++) {
        candidate c;
        code = read_candidate(w, args, rows[i], &m, &c, err);
        if (!code && isnan(c.to_query)) {
            rest[n_rest++] = rows[i];
        } else if (!code && m.n == MMR_MOST) {
            code = gn_error_set(err, GN_LIMIT, "mmr_rank cannot rank more than %d rows", (int)MMR_MOST);
            gn_error_hint(err, "Rank the nearest of them: FROM (SELECT ... ORDER BY distance LIMIT n).");
        } else if (!code) {
            m.items[m.n++] = c;
        }
    }
    if (!code)
        code = rank_all(w, &m, numbers, &last, err);
    for (uint64_t i = 0; i < n_rest && !code; i++)
        numbers[rest[i]] = ++last;
    return code;
}

/* ---- the operator ---- */

static gn_code compute(window_op *w, uint32_t c, uint32_t at, gn_error *err)
{
    const gn_window_call *call = &w->calls[c];
    uint64_t n = w->store.n_rows;
    uint32_t *partition = gn_arena_alloc(w->kept, n * sizeof *partition);
    uint64_t *rows = gn_arena_alloc(w->kept, n * sizeof *rows);
    int64_t *numbers = w->numbers[c] = gn_arena_alloc(w->kept, n * sizeof *numbers);
    if (!partition || !rows || !numbers)
        return gn_error_oom(err, w->account);
    order_context o = {.w = w, .call = call, .partition = partition, .first = at + call->n_partition};
    gn_code code = find_partitions(w, call, at, partition, err);
    for (uint64_t i = 0; i < n; i++)
        rows[i] = i;
    if (!code && (call->n_partition || call->n_order))
        qsort_r(rows, n, sizeof *rows, rows_order, &o);
    for (uint64_t from = 0, to; from < n && !code; from = to) {
        to = from + 1;
        while (to < n && partition[rows[to]] == partition[rows[from]])
            to++;
        if (call->kind == GN_WINDOW_MMR_RANK)
            code = mmr_partition(w, call, o.first + call->n_order, rows + from, to - from, numbers, err);
        else
            number_partition(&o, rows + from, to - from, numbers);
    }
    return code;
}

static gn_code fill(window_op *w, gn_error *err)
{
    gn_code code = GN_OK;
    for (;;) {
        gn_batch *in;
        code = gn_operator_next(w->op.inputs[0], &in, err);
        if (code || !in || in->n_rows == 0)
            break;
        if ((code = add_batch(w, in, err)))
            break;
    }
    uint32_t at = w->op.inputs[0]->n_columns;
    for (uint32_t c = 0; c < w->n_calls && !code && w->store.n_rows; c++) {
        code = compute(w, c, at, err);
        at += width(&w->calls[c]);
    }
    return code;
}

static gn_code window_next(gn_operator *op, gn_batch **out, gn_error *err)
{
    window_op *w = (window_op *)op;
    uint32_t n_in = op->inputs[0]->n_columns;
    gn_code code = w->filled ? GN_OK : fill(w, err);
    *out = NULL;
    if (code)
        return code;
    w->filled = true;
    uint64_t left = w->store.n_rows - w->emitted, rows[GN_BATCH_ROWS];
    uint32_t n = left < GN_BATCH_ROWS ? (uint32_t)left : GN_BATCH_ROWS;
    if (n == 0)
        return GN_OK;
    for (uint32_t i = 0; i < n; i++)
        rows[i] = w->emitted + i;
    gn_arena_reset(w->work);
    gn_eval eval = gn_operator_eval(op, w->work, err);
    gn_batch found;
    gn_column *columns = gn_eval_alloc(&eval, (op->n_columns + 1u) * sizeof *columns);
    if (!columns)
        return GN_OUT_OF_MEMORY;
    code = gn_row_store_gather(&w->store, 0, n_in, rows, n, &eval, &found);
    for (uint32_t i = 0; i < n_in && !code; i++)
        columns[i] = found.columns[i];
    for (uint32_t c = 0; c < w->n_calls && !code; c++) {
        code = gn_column_create(gn_type_of(GN_T_INT8), n, &eval, &columns[n_in + c]);
        for (uint32_t i = 0; i < n && !code; i++)
            columns[n_in + c].i64[i] = w->numbers[c][rows[i]];
    }
    w->emitted += n;
    w->out = (gn_batch){.n_rows = n, .n_columns = op->n_columns, .columns = columns, .arena = w->work};
    *out = code ? NULL : &w->out;
    return code;
}

static void window_close(gn_operator *op)
{
    window_op *w = (window_op *)op;
    gn_row_store_close(&w->store);
    gn_arena_destroy(w->kept);
    gn_arena_destroy(w->work);
    free(w->numbers);
    free(w->types);
    free(w->out_types);
    free(w);
}

gn_operator *gn_op_window(const gn_eval *eval, gn_account *account, gn_operator *input, const gn_window_call *calls,
                          uint32_t n_calls, uint64_t wanted)
{
    static const gn_operator_ops ops = {.name = "WindowAgg", .next = window_next, .close = window_close};
    window_op *w = gn_xcalloc(1, sizeof *w);
    uint32_t n = input->n_columns, at = n;
    w->n_stored = n;
    for (uint32_t c = 0; c < n_calls; c++)
        w->n_stored += width(&calls[c]);
    w->types = gn_xcalloc(w->n_stored + 1u, sizeof *w->types);
    w->out_types = gn_xcalloc(n + n_calls, sizeof *w->out_types);
    w->numbers = gn_xcalloc(n_calls, sizeof *w->numbers);
    for (uint32_t i = 0; i < n; i++)
        w->types[i] = w->out_types[i] = input->types[i];
    for (uint32_t c = 0; c < n_calls; c++) {
        w->out_types[n + c] = gn_type_of(GN_T_INT8);
        for (uint32_t i = 0; i < width(&calls[c]); i++)
            w->types[at++] = expr_at(&calls[c], i)->type;
    }
    w->op =
        (gn_operator){.ops = &ops, .eval = eval, .inputs = {input}, .n_columns = n + n_calls, .types = w->out_types};
    w->account = account;
    w->calls = calls;
    w->n_calls = n_calls;
    w->wanted = wanted;
    w->kept = gn_arena_create(account);
    w->work = gn_arena_create(account);
    gn_row_store_init(&w->store, w->kept, w->types, w->n_stored);
    return &w->op;
}
