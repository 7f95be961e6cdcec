/* How one table is read: by its primary key, a btree index, or a vector index. The candidates are priced by a simple
 * model, in units of one row read in key order; the model need not be right, only order the candidates sensibly. What
 * the chosen path fulfils exactly leaves the filter. */
#include "base/limits.h"
#include "coord/plan_private.h"
#include "index/vector_index.h"
#include "query/array.h"
#include "query/computed.h"

#include <math.h>

enum conjunct_kind { C_OTHER, C_EQ, C_IN, C_ANY, C_IS_NULL, C_LT, C_LE, C_GT, C_GE };

typedef struct conjunct {
    gn_expr *expr;
    enum conjunct_kind kind;
    uint32_t ordinal; /* of the column that it bounds */
    gn_expr **values;
    uint32_t n_values;
    double selectivity;
    bool used; /* by the path chosen */
} conjunct;

typedef struct planner {
    gn_binder *b;
    const gn_plan_context *context;
    gn_query *q;
    conjunct *conjuncts;
    uint32_t n_conjuncts, cap_conjuncts;
    gn_expr **late; /* conjuncts about appended columns */
    uint32_t n_late, cap_late;
    double table_rows, real_rows;
    double limit; /* rows wanted, INFINITY = all */
} planner;

/* Plans outlive the size that a table had when they were made: a table is never taken for so small that reading all of
 * it would be preferred to an index. */
static const double LEAST_ROWS = 1000;
static const double ROW_BY_INDEX = 4; /* one row through a secondary index: a lookup by key */
static const double DISTANCE_COST = 0.5;
static const double VECTOR_ROW = 4;

static gn_code oom(const planner *p)
{
    return gn_error_oom(p->b->err, gn_arena_account(p->b->arena));
}

/* ---- conjuncts ---- */

/* The table's column that an expression is: one that SQL sees, or one that is computed just so. -1: it is none. */
static int column_of(const planner *p, const gn_expr *e)
{
    if (e->kind == GN_E_COLUMN)
        return e->column & GN_NO_PATH_COLUMN ? -1 : (int)e->column;
    return gn_computed_like(p->q->path.table, e);
}

/* The same, seen through casts that do not change the order. */
static int plain_column(const planner *p, const gn_expr *e)
{
    int at = column_of(p, e);
    if (at >= 0)
        return at;
    if (e->kind == GN_E_CAST && e->cast_context == GN_CAST_IMPLICIT) {
        const gn_expr *in = e->args[0];
        bool text = in->type.id == GN_T_VARCHAR && gn_type_is(e->type, GN_T_TEXT) && !in->type.is_array;
        bool widened = (gn_type_is(in->type, GN_T_INT2) || gn_type_is(in->type, GN_T_INT4)) &&
                       (gn_type_is(e->type, GN_T_INT4) || gn_type_is(e->type, GN_T_INT8));
        if (text || widened)
            e = in;
    }
    return column_of(p, e);
}

static bool is_integer(gn_type t)
{
    return !t.is_array && (t.id == GN_T_INT2 || t.id == GN_T_INT4 || t.id == GN_T_INT8);
}

static bool is_text(gn_type t)
{
    return !t.is_array && (t.id == GN_T_TEXT || t.id == GN_T_VARCHAR);
}

/* May a value of this type be turned into a key part of the column without changing what compares equal or less? */
static bool same_order(gn_type column, gn_type value)
{
    return gn_type_same(column, value) || (is_integer(column) && is_integer(value)) ||
           (is_text(column) && is_text(value)) || (gn_type_is(column, GN_T_FLOAT8) && gn_type_is(value, GN_T_FLOAT4));
}

static enum conjunct_kind comparison(const char *op, bool flipped)
{
    static const struct {
        const char *op;
        enum conjunct_kind kind, flipped;
    } table[] = {{"=", C_EQ, C_EQ}, {"<", C_LT, C_GT}, {"<=", C_LE, C_GE}, {">", C_GT, C_LT}, {">=", C_GE, C_LE}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (strcmp(op, table[i].op) == 0)
            return flipped ? table[i].flipped : table[i].kind;
    return C_OTHER;
}

static bool bounds_column(const planner *p, conjunct *c, enum conjunct_kind kind, int column, gn_expr **values,
                          uint32_t n)
{
    if (column < 0 || kind == C_OTHER)
        return false;
    gn_type type = p->q->path.table->columns[column].type;
    for (uint32_t i = 0; i < n; i++) {
        gn_type value = values[i]->type;
        if (kind == C_ANY)
            value.is_array = false;
        if (!gn_expr_is_constant(values[i]) || !same_order(type, value))
            return false;
    }
    c->kind = kind;
    c->ordinal = (uint32_t)column;
    c->values = values;
    c->n_values = n;
    return true;
}

static void classify(const planner *p, conjunct *c)
{
    gn_expr *e = c->expr;
    c->selectivity = 1.0 / 3;
    switch (e->kind) {
    case GN_E_CALL:
        if (e->n_args != 2)
            return;
        if (!bounds_column(p, c, comparison(gn_function_name(e->function), false), plain_column(p, e->args[0]),
                           &e->args[1], 1))
            bounds_column(p, c, comparison(gn_function_name(e->function), true), plain_column(p, e->args[1]),
                          &e->args[0], 1);
        if (c->kind == C_EQ || strcmp(gn_function_name(e->function), "=") == 0)
            c->selectivity = 0.005;
        return;
    case GN_E_IN:
        bounds_column(p, c, C_IN, plain_column(p, e->args[0]), e->args + 1, e->n_args - 1);
        c->selectivity = fmin(0.5, 0.005 * (e->n_args - 1));
        return;
    case GN_E_ANY:
        if (strcmp(gn_function_name(e->function), "=") == 0)
            bounds_column(p, c, C_ANY, plain_column(p, e->args[0]), e->args + 1, 1);
        c->selectivity = c->kind == C_ANY && e->args[1]->kind == GN_E_CONST && !e->args[1]->value.is_null
                             ? fmin(0.5, 0.005 * (double)gn_array_open(&e->args[1]->value).n_items)
                             : 0.05;
        return;
    case GN_E_IS_NULL:
        bounds_column(p, c, C_IS_NULL, plain_column(p, e->args[0]), NULL, 0);
        c->selectivity = 0.005;
        return;
    case GN_E_IS_NOT_NULL:
        c->selectivity = 0.995;
        return;
    default:
        return;
    }
}

static gn_code add_conjunct(planner *p, gn_expr *e)
{
    if (p->n_conjuncts == p->cap_conjuncts) {
        uint32_t more = p->cap_conjuncts ? 2 * p->cap_conjuncts : 8;
        conjunct *items = gn_arena_alloc(p->b->arena, more * sizeof *items);
        if (!items)
            return oom(p);
        if (p->n_conjuncts)
            memcpy(items, p->conjuncts, p->n_conjuncts * sizeof *items);
        p->conjuncts = items;
        p->cap_conjuncts = more;
    }
    conjunct *c = &p->conjuncts[p->n_conjuncts++];
    *c = (conjunct){.expr = e, .selectivity = 1.0 / 3};
    if (p->q->path.kind == GN_PATH_SCAN)
        classify(p, c);
    return GN_OK;
}

static bool needs_appended(const gn_expr *e)
{
    if (e->kind == GN_E_COLUMN && (e->column & GN_APPENDED))
        return true;
    for (uint32_t i = 0; i < e->n_args; i++)
        if (needs_appended(e->args[i]))
            return true;
    return false;
}

/* Takes ANDs apart; a constant that is true goes, one that is not empties the result. */
static gn_code flatten(planner *p, gn_expr *e)
{
    if (e->kind == GN_E_AND) {
        for (uint32_t i = 0; i < e->n_args; i++) {
            gn_code code = flatten(p, e->args[i]);
            if (code != GN_OK)
                return code;
        }
        return GN_OK;
    }
    e = gn_expr_fold(e, p->context->format, p->b->arena);
    if (e->kind == GN_E_CONST) {
        if (e->value.is_null || !e->value.as.boolean)
            p->q->path.kind = GN_PATH_EMPTY;
        return GN_OK;
    }
    return needs_appended(e) ? gn_bind_remember(p->b, &p->late, &p->n_late, &p->cap_late, e) : add_conjunct(p, e);
}

/* ---- candidates ---- */

/* The columns of the primary key or of an index, as ordinals. */
typedef struct key_columns {
    uint32_t n;
    uint32_t ordinals[GN_MAX_INDEX_COLUMNS];
    bool descending[GN_MAX_INDEX_COLUMNS], nulls_first[GN_MAX_INDEX_COLUMNS];
} key_columns;

static void columns_of(const gn_table_desc *t, const gn_index_desc *index, key_columns *k)
{
    k->n = index ? index->n_columns : t->n_key;
    for (uint32_t i = 0; i < k->n; i++) {
        k->ordinals[i] = (uint32_t)gn_table_column_by_id(t, index ? index->columns[i] : t->key[i]);
        k->descending[i] = index && index->descending[i];
        k->nulls_first[i] = index && index->nulls_first[i];
    }
}

static conjunct *find_conjunct(planner *p, uint32_t ordinal, const enum conjunct_kind *kinds, size_t n)
{
    for (size_t k = 0; k < n; k++)
        for (uint32_t i = 0; i < p->n_conjuncts; i++)
            if (p->conjuncts[i].kind == kinds[k] && p->conjuncts[i].ordinal == ordinal)
                return &p->conjuncts[i];
    return NULL;
}

typedef struct candidate {
    gn_path path;
    conjunct *used[3 * GN_MAX_INDEX_COLUMNS];
    uint32_t n_used;
    bool ordered; /* gives the query's order */
    double selectivity;
} candidate;

/* Once, also where the index has the column twice. */
static void use(candidate *c, conjunct *used)
{
    for (uint32_t i = 0; i < c->n_used; i++)
        if (c->used[i] == used)
            return;
    c->used[c->n_used++] = used;
    c->selectivity *= used->selectivity;
}

/* Equalities on a prefix of the key, then bounds on the next column. */
static void match_conditions(planner *p, const key_columns *k, candidate *c)
{
    static const enum conjunct_kind points[] = {C_EQ, C_IN, C_ANY, C_IS_NULL}, lows[] = {C_GT, C_GE},
                                    highs[] = {C_LT, C_LE};
    gn_path *path = &c->path;
    while (path->n_parts < k->n) {
        conjunct *at = find_conjunct(p, k->ordinals[path->n_parts], points, 4);
        if (!at)
            break;
        path->parts[path->n_parts++] = (gn_path_part){
            .values = at->values, .n = at->n_values, .is_array = at->kind == C_ANY, .is_null = at->kind == C_IS_NULL};
        use(c, at);
    }
    if (path->n_parts == k->n)
        return;
    conjunct *lo = find_conjunct(p, k->ordinals[path->n_parts], lows, 2);
    conjunct *hi = find_conjunct(p, k->ordinals[path->n_parts], highs, 2);
    if (lo) {
        path->lo = lo->values[0];
        path->lo_inclusive = lo->kind == C_GE;
        use(c, lo);
    }
    if (hi) {
        path->hi = hi->values[0];
        path->hi_inclusive = hi->kind == C_LE;
        use(c, hi);
    }
    if (lo && hi)
        c->selectivity *= 0.045; /* together 0.005, as PostgreSQL guesses */
}

static bool is_point(const gn_path_part *part)
{
    return (part->n == 1 && !part->is_array) || part->is_null;
}

/* Does a walk over the key in one direction give the query's order? Columns held to one value do not matter. */
static bool match_order(const planner *p, const key_columns *k, candidate *c)
{
    const gn_query *q = p->q;
    const gn_table_desc *t = q->path.table;
    int direction = 0; /* 1 forward, -1 reverse */
    uint32_t at = 0;
    for (uint32_t s = 0; s < q->n_sort; s++) {
        const gn_sort_key *key = &q->sort[s];
        if (key->expr->kind == GN_E_CONST)
            continue;
        int found = column_of(p, key->expr);
        if (found < 0)
            return false;
        uint32_t ordinal = (uint32_t)found;
        bool held = false;
        for (uint32_t i = 0; i < c->path.n_parts && !held; i++)
            held = k->ordinals[i] == ordinal && is_point(&c->path.parts[i]);
        if (held)
            continue;
        while (at < c->path.n_parts && is_point(&c->path.parts[at]))
            at++;
        if (at == k->n || k->ordinals[at] != ordinal)
            return c->path.unique && at >= k->n;
        int wanted = key->descending == k->descending[at] ? 1 : -1;
        bool nulls_first = wanted > 0 ? k->nulls_first[at] : !k->nulls_first[at];
        if ((direction && direction != wanted) || (!t->columns[ordinal].not_null && nulls_first != key->nulls_first))
            return false;
        direction = wanted;
        at++;
    }
    c->path.reverse = direction < 0;
    return true;
}

static double sort_cost(double rows, double wanted)
{
    return rows * (0.2 + 0.05 * log2(fmin(rows, wanted) + 2));
}

static double filter_selectivity(const planner *p, const candidate *c)
{
    double s = 1;
    for (uint32_t i = 0; i < p->n_conjuncts; i++)
        s *= p->conjuncts[i].selectivity;
    return c->selectivity > 0 ? fmin(1, s / c->selectivity) : 1;
}

/* How many values a part of the key is held to. */
static double n_points(const gn_path_part *part)
{
    if (!part->is_array)
        return part->n > 1 ? part->n : 1;
    const gn_expr *array = part->values[0];
    if (array->kind != GN_E_CONST)
        return 10;
    return array->value.is_null ? 0 : (double)gn_array_open(&array->value).n_items;
}

static bool has_computed(const gn_table_desc *t, const key_columns *k)
{
    for (uint32_t i = 0; i < k->n; i++)
        if (t->columns[k->ordinals[i]].computed)
            return true;
    return false;
}

static void price(planner *p, const key_columns *k, candidate *c)
{
    gn_path *path = &c->path;
    const gn_query *q = p->q;
    bool needs_order = q->n_sort && !q->grouped && !q->sort_projected;
    double points = 1;
    path->unique = path->n_parts == k->n && k->n && (!path->index || path->index->unique);
    for (uint32_t i = 0; i < path->n_parts; i++) {
        points *= n_points(&path->parts[i]);
        path->unique &= !path->parts[i].is_null; /* NULLs are not equal */
    }
    path->rows_estimate = path->unique ? fmin(points, p->table_rows) : p->table_rows * c->selectivity;
    path->rows_estimate = fmax(1, path->rows_estimate);
    bool keeps_order = !path->index || !path->table->distribution_id || /* groups are merged by primary key, or: */
                       (gn_dscan_takes_fragments(p->context->cluster, path->table) && !has_computed(path->table, k));
    c->ordered = needs_order && keeps_order && match_order(p, k, c);
    double read = path->rows_estimate, wanted = p->limit / fmax(1e-6, filter_selectivity(p, c));
    if (!q->grouped && !q->distinct && (c->ordered || !q->n_sort))
        read = fmin(read, wanted);
    path->cost = points + read * (path->index ? ROW_BY_INDEX : 1);
    if (needs_order && !c->ordered)
        path->cost += sort_cost(path->rows_estimate, p->limit);
    if (!p->context->enable_seqscan && !path->n_parts && !path->lo && !path->hi && !path->index)
        path->cost += 1e12;
}

/* The condition with the values that parameters have, as far as they are known. NULL: no memory. */
static gn_expr *with_values(const planner *p, const gn_expr *e)
{
    const gn_plan_context *context = p->context;
    gn_expr *copy = gn_arena_memdup(p->b->arena, e, sizeof *e);
    gn_expr **args = gn_arena_calloc(p->b->arena, e->n_args + 1, sizeof *args);
    if (!copy || !args)
        return NULL;
    copy->args = args;
    for (uint32_t i = 0; i < e->n_args; i++)
        if (!(args[i] = with_values(p, e->args[i])))
            return NULL;
    if (e->kind != GN_E_PARAM || e->column >= context->n_values ||
        !gn_type_same(context->values[e->column].type, e->type))
        return copy;
    *copy = (gn_expr){.kind = GN_E_CONST, .type = e->type, .value = context->values[e->column]};
    return copy;
}

/* Is the condition about a column that the predicate is about, and about a parameter? */
static void look_for(const planner *p, const gn_expr *e, const gn_computed *predicate, bool *column, bool *parameter)
{
    *parameter |= e->kind == GN_E_PARAM && e->column < p->b->n_params;
    *column |= e->kind == GN_E_COLUMN && gn_computed_uses(predicate, e->column);
    for (uint32_t i = 0; i < e->n_args; i++)
        look_for(p, e->args[i], predicate, column, parameter);
}

static bool depends_on_values(const planner *p, const gn_computed *predicate)
{
    for (uint32_t i = 0; i < p->n_conjuncts; i++) {
        bool column = false, parameter = false;
        look_for(p, p->conjuncts[i].expr, predicate, &column, &parameter);
        if (column && parameter)
            return true;
    }
    return false;
}

/* May the index be used, if it has not all rows? */
static bool has_all_wanted(const planner *p, const gn_index_desc *index)
{
    if (!index || !index->predicate)
        return true;
    const gn_table_desc *t = p->q->path.table;
    const gn_computed *predicate = t->columns[gn_table_column_by_id(t, index->predicate)].computed;
    gn_expr **conditions = gn_arena_calloc(p->b->arena, p->n_conjuncts + 1, sizeof *conditions);
    if (!conditions)
        return false;
    for (uint32_t i = 0; i < p->n_conjuncts; i++) {
        conditions[i] = p->context->n_values ? with_values(p, p->conjuncts[i].expr) : p->conjuncts[i].expr;
        if (!conditions[i])
            return false;
        if (p->context->n_values)
            conditions[i] = gn_expr_fold(conditions[i], p->context->format, p->b->arena);
    }
    if (gn_conditions_imply(conditions, p->n_conjuncts, predicate->expr, p->context->format, p->b->arena))
        return true;
    *p->context->by_values |= depends_on_values(p, predicate);
    return false;
}

/* What a partial index leaves of the rows, where nothing else says how few: the conditions that it fulfils stay in the
 * filter, which costs little. */
static const double PARTIAL_SHARE = 0.1;

/* Those that a condition limits, however many rows are thought to be left. */
typedef struct limited {
    candidate *items;
    uint32_t n;
} limited;

static void consider(planner *p, const gn_index_desc *index, candidate *best, limited *few, bool *any)
{
    key_columns k;
    candidate c = {.path = p->q->path, .selectivity = 1};
    if (!has_all_wanted(p, index))
        return;
    columns_of(p->q->path.table, index, &k);
    c.path.index = index;
    match_conditions(p, &k, &c);
    bool partial = index && index->predicate;
    if (partial && c.n_used == 0)
        c.selectivity = PARTIAL_SHARE;
    price(p, &k, &c);
    if (c.n_used > 0)
        few->items[few->n++] = c;
    if (index && c.n_used == 0 && !c.ordered && !partial)
        return;
    if (!*any || c.path.cost < best->path.cost)
        *best = c;
    *any = true;
}

/* ---- vector index ---- */

static bool metric_matches(const char *op, uint8_t metric)
{
    static const char *const operators[GN_METRIC_KNOWN] = {
        [GN_METRIC_L2] = "<->", [GN_METRIC_IP] = "<#>",      [GN_METRIC_COSINE] = "<=>",
        [GN_METRIC_L1] = "<+>", [GN_METRIC_HAMMING] = "<~>", [GN_METRIC_JACCARD] = "<%>"};
    return metric < GN_METRIC_KNOWN && operators[metric] && strcmp(op, operators[metric]) == 0;
}

/* What a vector index can be asked for. */
typedef struct nearness {
    const gn_index_desc *index;
    gn_expr *order, *query; /* the distance; what to */
    uint32_t column;        /* of what */
    gn_expr *radius;        /* NULL: none */
} nearness;

/* Of those that fit, one that has fewer rows. */
static const gn_index_desc *index_over(const planner *p, uint32_t ordinal, const char *op)
{
    const gn_table_desc *t = p->q->path.table;
    const gn_index_desc *best = NULL;
    for (uint32_t i = 0; i < t->n_indexes; i++) {
        const gn_index_desc *x = &t->indexes[i];
        if (x->kind == GN_INDEX_HNSW && x->columns[0] == t->columns[ordinal].id && metric_matches(op, x->metric) &&
            (!best || (x->predicate && !best->predicate)) && has_all_wanted(p, x))
            best = x;
    }
    return best;
}

/* column <op> constant, and an index on the column with the operator's metric. */
static const gn_index_desc *index_of_distance(const planner *p, const gn_expr *e, uint32_t *column, gn_expr **query)
{
    if (e->kind != GN_E_CALL || e->n_args != 2)
        return NULL;
    for (int at = 0; at < 2; at++) {
        int ordinal = gn_expr_is_constant(e->args[at]) ? -1 : column_of(p, e->args[at]);
        *query = e->args[1 - at];
        if (ordinal < 0 || !gn_expr_is_constant(*query) || !gn_type_same((*query)->type, e->args[at]->type))
            continue;
        *column = (uint32_t)ordinal;
        return index_over(p, *column, gn_function_name(e->function));
    }
    return NULL;
}

/* A condition that the distance is below something, of rows that need not come in another order. Distances by inner
 * product have no scale to say by how much the index's may be off. */
static void find_radius(const planner *p, nearness *to)
{
    for (uint32_t i = 0; i < p->n_conjuncts; i++) {
        const gn_expr *e = p->conjuncts[i].expr;
        if (e->kind != GN_E_CALL || e->n_args != 2)
            continue;
        enum conjunct_kind kind = comparison(gn_function_name(e->function), false);
        int at = kind == C_LT || kind == C_LE ? 0 : kind == C_GT || kind == C_GE ? 1 : -1;
        if (at < 0 || !gn_expr_is_constant(e->args[1 - at]) || !gn_type_is(e->args[1 - at]->type, GN_T_FLOAT8))
            continue;
        nearness found = {.order = e->args[at]};
        found.index = index_of_distance(p, e->args[at], &found.column, &found.query);
        if (!found.index || found.index->metric == GN_METRIC_IP ||
            (to->order && !gn_expr_equal(to->order, found.order)))
            continue;
        *to = found;
        to->radius = e->args[1 - at];
        return;
    }
}

/* ORDER BY distance LIMIT k, or WHERE distance < radius of a query that asks for no other order. */
static bool find_nearness(const planner *p, nearness *out)
{
    const gn_query *q = p->q;
    *out = (nearness){0};
    if (q->n_sort > 1 || q->n_windows || q->grouped || (q->distinct && !q->by_nearness) || q->sort_projected ||
        q->n_targets == 0)
        return false;
    if (q->n_sort == 1) {
        if (q->sort[0].descending || q->sort[0].nulls_first)
            return false;
        out->order = (gn_expr *)q->sort[0].expr;
        out->index = index_of_distance(p, out->order, &out->column, &out->query);
        if (!out->index)
            return false;
    }
    find_radius(p, out);
    return out->index && (out->radius || (q->n_sort && (q->limit || q->by_nearness)));
}

/* The way to few rows is found out when they are read: they are many only where the index is left to say so. Before
 * nodes knew of that, exact order over few rows was thought cheaper than a graph whose neighbours the filter mostly
 * refuses. */
static bool vector_is_better(const planner *p, const candidate *best)
{
    if (best->n_used == 0 || !p->context->enable_seqscan)
        return true;
    if (gn_dvector_scan_takes_fragments(p->context->cluster))
        return !best->path.unique;
    double exact = best->path.cost + best->path.rows_estimate * DISTANCE_COST;
    candidate all = {.selectivity = 1};
    double wanted = fmax(40, p->limit / fmax(1e-6, filter_selectivity(p, &all)));
    return !best->path.unique && wanted * VECTOR_ROW < exact;
}

static bool is_said(const conjunct *c, conjunct *const *said, uint32_t n_said)
{
    for (uint32_t i = 0; i < n_said; i++)
        if (said[i] == c)
            return true;
    return false;
}

static bool says_more(const candidate *c, conjunct *const *said, uint32_t n_said)
{
    for (uint32_t i = 0; i < c->n_used; i++)
        if (!is_said(c->used[i], said, n_said))
            return true;
    return false;
}

/* The cheapest of those that say more than the cheaper ones do. */
static gn_code bound_by(planner *p, gn_path *path, const limited *few)
{
    conjunct **said = gn_arena_calloc(p->b->arena, (size_t)p->n_conjuncts + 1, sizeof *said);
    uint32_t n_said = 0;
    if (!said)
        return oom(p);
    while (path->n_within < GN_VECTOR_MOST_BOUNDS) {
        const candidate *next = NULL;
        for (uint32_t i = 0; i < few->n; i++)
            if ((!next || few->items[i].path.cost < next->path.cost) && says_more(&few->items[i], said, n_said))
                next = &few->items[i];
        if (!next)
            break;
        gn_path *within = gn_arena_memdup(p->b->arena, &next->path, sizeof next->path);
        if (!within)
            return oom(p);
        within->reverse = false;
        path->within[path->n_within++] = within;
        for (uint32_t i = 0; i < next->n_used; i++)
            if (!is_said(next->used[i], said, n_said))
                said[n_said++] = next->used[i];
    }
    path->within_whole = n_said == p->n_conjuncts;
    return GN_OK;
}

static gn_code consider_vector(planner *p, candidate *best, const limited *few)
{
    nearness near;
    if (!find_nearness(p, &near) || !p->context->enable_indexscan || !vector_is_better(p, best))
        return GN_OK;
    candidate c = {.path = p->q->path, .selectivity = 1, .ordered = true};
    c.path.kind = GN_PATH_VECTOR;
    c.path.index = near.index;
    c.path.query = near.query;
    c.path.radius = near.radius;
    c.path.order = near.order;
    c.path.vector_ordinal = near.column;
    gn_code code = gn_dvector_scan_takes_fragments(p->context->cluster) ? bound_by(p, &c.path, few) : GN_OK;
    if (code != GN_OK)
        return code;
    c.path.rows_estimate = fmin(p->table_rows, p->limit / fmax(1e-6, filter_selectivity(p, &c)));
    c.path.cost = c.path.rows_estimate * VECTOR_ROW;
    *best = c;
    return GN_OK;
}

/* ---- what the scan gives ---- */

static void mark(const gn_expr *e, uint8_t *used)
{
    if (!e)
        return;
    if (e->kind == GN_E_COLUMN && !(e->column & GN_NO_PATH_COLUMN))
        used[e->column] = 1;
    for (uint32_t i = 0; i < e->n_args; i++)
        mark(e->args[i], used);
}

static gn_code mark_in_window(void *used, gn_expr *e, gn_expr **out)
{
    mark(e, used);
    *out = e;
    return GN_OK;
}

static void mark_used(const planner *p, uint8_t *used)
{
    const gn_query *q = p->q;
    for (uint32_t i = 0; i < p->n_conjuncts; i++)
        if (!p->conjuncts[i].used)
            mark(p->conjuncts[i].expr, used);
    for (uint32_t i = 0; i < q->n_keys && q->grouped; i++)
        mark(q->keys[i], used);
    for (uint32_t i = 0; i < q->n_calls; i++) {
        mark(q->calls[i].filter, used);
        for (uint32_t k = 0; k < q->calls[i].n_order; k++)
            mark(q->calls[i].order[k].expr, used);
        for (uint32_t a = 0; a < q->calls[i].n_args; a++)
            mark(q->calls[i].args[a], used);
    }
    for (uint32_t i = 0; i < q->n_targets && !q->grouped; i++)
        if (i < q->n_visible || !q->presorted || q->on)
            mark(q->targets[i], used);
    for (uint32_t i = 0; i < p->n_late; i++)
        mark(p->late[i], used);
    for (uint32_t i = 0; i < q->n_windows && !q->grouped; i++)
        gn_window_map(&q->windows[i], mark_in_window, used);
    for (uint32_t i = 0; i < q->n_laterals; i++)
        for (uint32_t k = 0; k < q->laterals[i]->n_args; k++)
            mark(q->laterals[i]->args[k], used);
    for (uint32_t i = 0; i < q->path.n_by; i++)
        mark(q->path.by[i].expr, used);
}

/* Numbers the columns that the scan gives, and rewrites every reference. References within conditions that the path
 * fulfils keep the table's ordinals: EXPLAIN prints them. */
static gn_code settle_columns(planner *p, bool all_columns)
{
    gn_path *path = &p->q->path;
    const gn_table_desc *t = path->table;
    uint8_t *used = gn_arena_calloc(p->b->arena, t->n_columns + 1, 1);
    uint32_t *ordinals = gn_arena_calloc(p->b->arena, t->n_columns + 1, sizeof *ordinals);
    uint32_t *places = gn_arena_calloc(p->b->arena, t->n_columns + 1, sizeof *places);
    gn_type *types = gn_arena_calloc(p->b->arena, t->n_columns + 2, sizeof *types);
    p->q->path_names = gn_arena_calloc(p->b->arena, t->n_columns + 2, sizeof *p->q->path_names);
    if (!used || !ordinals || !places || !types || !p->q->path_names)
        return oom(p);
    mark_used(p, used);
    for (uint32_t i = 0; i < t->n_columns; i++) {
        if (!gn_column_is_shown(&t->columns[i]) || (!used[i] && !all_columns))
            continue;
        p->q->path_names[path->n_ordinals] = gn_relation_column(&p->b->relations[0], i);
        types[path->n_ordinals] = t->columns[i].type;
        places[i] = path->n_ordinals;
        ordinals[path->n_ordinals++] = i;
    }
    path->ordinals = ordinals;
    path->types = types;
    path->n_types = path->n_ordinals;
    /* The index's distances are float32 and only order the rows: what is shown is computed by the operator, so that
     * it does not depend on the plan. */
    if (path->kind == GN_PATH_VECTOR) {
        p->q->path_names[path->n_types] = "distance";
        types[path->n_types++] = gn_type_of(GN_T_FLOAT8);
    }
    for (uint32_t i = 0; i < p->b->n_columns; i++) {
        gn_expr *e = p->b->columns[i];
        if (e->column & GN_KEEP_ORDINAL)
            e->column &= ~(uint32_t)GN_KEEP_ORDINAL;
        else if (!(e->column & GN_APPENDED))
            e->column = places[e->column];
    }
    return GN_OK;
}

/* Appended columns lie behind those of the path. */
static gn_code settle_appended(planner *p)
{
    gn_query *q = p->q;
    uint32_t n = q->path.n_types;
    for (uint32_t i = 0; i < p->b->n_window_refs; i++)
        p->b->window_refs[i]->column += gn_query_inputs(q) - GN_WINDOW_REF;
    if (q->n_appended == 0 && (q->n_windows == 0 || q->grouped))
        return GN_OK;
    for (uint32_t i = 0; i < p->b->n_columns; i++) {
        gn_expr *e = p->b->columns[i];
        if (e->column & GN_APPENDED)
            e->column = n + (e->column & ~(uint32_t)GN_APPENDED);
    }
    const char **names = gn_arena_calloc(p->b->arena, n + q->n_appended + q->n_windows + 1, sizeof *names);
    if (!names)
        return oom(p);
    for (uint32_t i = 0; i < n; i++)
        names[i] = q->path_names[i];
    for (uint32_t i = 0; i < q->n_laterals; i++)
        for (uint32_t k = 0; k < q->laterals[i]->sub->n_visible; k++)
            names[n++] = q->laterals[i]->sub->columns[k].name;
    for (uint32_t i = 0; i < q->n_windows; i++)
        names[n++] = gn_arena_printf(p->b->arena, "%s(...) OVER (...)", gn_window_name(q->windows[i].kind));
    q->path_names = names;
    return GN_OK;
}

static void keep_ordinals(gn_expr *e)
{
    if (e->kind == GN_E_COLUMN)
        e->column |= GN_KEEP_ORDINAL;
    for (uint32_t i = 0; i < e->n_args; i++)
        keep_ordinals(e->args[i]);
}

static gn_code take_conditions(planner *p, const candidate *best)
{
    gn_path *path = &p->q->path;
    path->conditions = gn_arena_calloc(p->b->arena, best->n_used + 1, sizeof *path->conditions);
    if (!path->conditions)
        return oom(p);
    for (uint32_t i = 0; i < best->n_used; i++) {
        best->used[i]->used = true;
        path->conditions[path->n_conditions++] = best->used[i]->expr;
    }
    return GN_OK;
}

/* By what the groups of an index are merged: the query's order, as far as the index gives it; what comes after is held
 * to one value, or is of a row that has no equal. */
static void merge_by_order(gn_query *q)
{
    gn_path *path = &q->path;
    if (path->kind != GN_PATH_SCAN || !path->ordered || !path->index || !path->table->distribution_id)
        return;
    path->by = q->sort;
    for (; path->n_by < q->n_sort; path->n_by++)
        if (q->sort[path->n_by].expr->kind != GN_E_COLUMN && q->sort[path->n_by].expr->kind != GN_E_CONST)
            break;
}

static gn_code choose(planner *p)
{
    const gn_table_desc *t = p->q->path.table;
    candidate best;
    limited few = {.items = gn_arena_calloc(p->b->arena, (size_t)t->n_indexes + 1, sizeof *few.items)};
    bool any = false;
    if (!few.items)
        return oom(p);
    consider(p, NULL, &best, &few, &any);
    for (uint32_t i = 0; i < t->n_indexes && p->context->enable_indexscan; i++)
        if (t->indexes[i].kind == GN_INDEX_BTREE)
            consider(p, &t->indexes[i], &best, &few, &any);
    gn_code code = consider_vector(p, &best, &few);
    if (code != GN_OK)
        return code;
    p->q->path = best.path;
    p->q->presorted = p->q->path.ordered = best.ordered;
    merge_by_order(p->q);
    p->q->rows = fmax(1, best.path.rows_estimate * filter_selectivity(p, &best));
    return take_conditions(p, &best);
}

/* ---- the rest of the query ---- */

static gn_code all_of(planner *p, gn_expr **args, uint32_t n, gn_expr **out)
{
    *out = n ? args[0] : NULL;
    if (n <= 1)
        return GN_OK;
    gn_code code = gn_bind_node(p->b, GN_E_AND, gn_type_of(GN_T_BOOL), 0, 0, out);
    if (code == GN_OK) {
        (*out)->args = args;
        (*out)->n_args = n;
    }
    return code;
}

static gn_code make_filter(planner *p)
{
    uint32_t n = 0;
    gn_expr **args = gn_arena_calloc(p->b->arena, p->n_conjuncts + 1, sizeof *args);
    if (!args)
        return oom(p);
    for (uint32_t i = 0; i < p->n_conjuncts; i++)
        if (!p->conjuncts[i].used)
            args[n++] = p->conjuncts[i].expr;
    gn_code code = all_of(p, args, n, &p->q->filter);
    return code == GN_OK ? all_of(p, p->late, p->n_late, &p->q->late_filter) : code;
}

static void fold_list(const planner *p, gn_expr **list, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        list[i] = gn_expr_fold(list[i], p->context->format, p->b->arena);
}

static void fold_order(const planner *p)
{
    for (uint32_t s = 0; s < p->q->n_sort; s++) {
        gn_expr *key = (gn_expr *)p->q->sort[s].expr;
        fold_list(p, &key, 1);
        p->q->sort[s].expr = key;
    }
}

static gn_code fold_in_window(void *ctx, gn_expr *e, gn_expr **out)
{
    const planner *p = ctx;
    *out = gn_expr_fold(e, p->context->format, p->b->arena);
    return GN_OK;
}

static void fold_all(planner *p)
{
    gn_query *q = p->q;
    for (uint32_t i = 0; i < q->n_windows; i++)
        gn_window_map(&q->windows[i], fold_in_window, p);
    fold_list(p, q->keys, q->n_keys);
    for (uint32_t i = 0; i < p->b->n_aggregates && q->grouped; i++)
        fold_list(p, p->b->aggregates[i].args, p->b->aggregates[i].call.n_args);
    if (q->having)
        fold_list(p, &q->having, 1);
    fold_order(p);
    fold_list(p, q->targets, q->n_targets);
    if (q->limit)
        fold_list(p, &q->limit, 1);
    if (q->offset)
        fold_list(p, &q->offset, 1);
    if (q->path.query)
        fold_list(p, &q->path.query, 1);
    if (q->path.radius)
        fold_list(p, &q->path.radius, 1);
}

static double wanted_rows(const gn_query *q)
{
    double n = 0;
    const gn_expr *both[2] = {q->limit, q->offset};
    if (!q->limit || (q->limit->kind == GN_E_CONST && q->limit->value.is_null))
        return INFINITY;
    for (int i = 0; i < 2; i++) {
        if (!both[i])
            continue;
        const gn_expr *e = both[i]->kind == GN_E_CAST ? both[i]->args[0] : both[i];
        if (e->kind != GN_E_CONST || e->value.is_null)
            n += 100;
        else
            n += gn_type_is(e->type, GN_T_INT4) ? e->value.as.i32 : (double)e->value.as.i64;
    }
    return fmax(1, n);
}

/* The rows that leave the query, for EXPLAIN. */
static void estimate(planner *p)
{
    gn_query *q = p->q;
    if (q->path.table && p->real_rows < p->table_rows) {
        double scale = p->real_rows / p->table_rows;
        q->path.rows_estimate = fmax(1, q->path.rows_estimate * (q->path.unique ? 1 : scale));
        q->rows = fmax(1, q->rows * (q->path.unique ? 1 : scale));
    }
    if (q->path.kind == GN_PATH_ROW)
        q->rows = 1;
    else if (q->path.kind == GN_PATH_SERIES)
        q->rows = q->path.rows_estimate = 1000;
    else if (q->path.kind == GN_PATH_UNNEST)
        q->rows = q->path.rows_estimate = 10; /* as PostgreSQL of an array that it does not know */
    else if (q->path.kind == GN_PATH_QUERY)
        q->rows = q->path.rows_estimate = q->path.sub->rows;
    else if (q->path.kind == GN_PATH_EMPTY)
        q->rows = q->path.rows_estimate = 0;
    for (uint32_t i = 0; i < q->n_laterals; i++)
        q->rows *= fmax(1, q->laterals[i]->sub->rows);
    if (q->grouped)
        q->rows = q->n_keys ? fmax(1, fmin(q->rows, 200)) : 1;
    q->rows = fmin(q->rows, wanted_rows(q));
}

static gn_code plan_table(planner *p, bool all_columns)
{
    gn_table_stats stats = {0};
    gn_cluster_table_stats(p->context->cluster, p->q->path.table, &stats);
    p->real_rows = (double)stats.rows_estimate;
    p->table_rows = fmax(LEAST_ROWS, p->real_rows);
    gn_code code = GN_OK;
    fold_order(p); /* expressions of indexes are folded */
    if (p->q->path.kind != GN_PATH_EMPTY)
        code = choose(p);
    for (uint32_t i = 0; i < p->n_conjuncts && code == GN_OK; i++)
        if (p->conjuncts[i].used)
            keep_ordinals(p->conjuncts[i].expr);
    return code == GN_OK ? settle_columns(p, all_columns) : code;
}

gn_code gn_plan_path(gn_binder *b, const gn_plan_context *context, gn_query *q, gn_expr *where, bool all_columns)
{
    planner p = {.b = b, .context = context, .q = q};
    bool table = q->path.kind == GN_PATH_SCAN;
    gn_code code = where ? flatten(&p, where) : GN_OK;
    p.limit = q->n_laterals || q->n_windows ? INFINITY : wanted_rows(q);
    if (code == GN_OK && table)
        code = plan_table(&p, all_columns);
    bool own_columns =
        q->path.kind == GN_PATH_SERIES || q->path.kind == GN_PATH_UNNEST || q->path.kind == GN_PATH_QUERY;
    if (code == GN_OK && own_columns) {
        q->path.types = b->relations[0].types;
        q->path.n_types = b->relations[0].n_columns;
        q->path_names = (const char **)b->relations[0].names;
    }
    if (code == GN_OK)
        code = settle_appended(&p);
    if (code == GN_OK)
        code = make_filter(&p);
    if (code != GN_OK)
        return code;
    fold_all(&p);
    estimate(&p);
    return GN_OK;
}
