/* Evaluation of bound expressions over column batches.
 *
 * Every node is computed for a set of rows: a dense prefix (rows == NULL) or an ascending list. AND, OR, CASE and
 * COALESCE narrow the set for their later arguments, so that a row which does not need an argument does not compute it
 * and raises no error. Results lie at their own row's place, whatever the set; other places are unspecified. */
#include "query/expr_private.h"
#include "query/function_private.h"

/* ---- sets of rows ---- */

static uint16_t *row_list(const gn_rows *set, const gn_eval *eval)
{
    return gn_eval_alloc(eval, ((size_t)set->n + 1) * sizeof(uint16_t));
}

static bool column_true(const gn_column *c, uint32_t row)
{
    return !gn_column_is_null(c, row) && c->boolean[row];
}

static bool column_false(const gn_column *c, uint32_t row)
{
    return !gn_column_is_null(c, row) && !c->boolean[row];
}

/* The rows of `set` for which keep holds. NULL list in *out only on failure. */
static gn_code narrow(const gn_rows *set, const gn_column *c, bool (*keep)(const gn_column *, uint32_t),
                      const gn_eval *eval, gn_rows *out)
{
    uint16_t *list = row_list(set, eval);
    if (!list)
        return GN_OUT_OF_MEMORY;
    uint32_t n = 0;
    for (uint32_t k = 0; k < set->n; k++) {
        uint32_t row = gn_rows_at(set, k);
        if (keep(c, row))
            list[n++] = (uint16_t)row;
    }
    *out = (gn_rows){.rows = list, .n = n, .n_rows = set->n_rows};
    return GN_OK;
}

static bool not_false(const gn_column *c, uint32_t row)
{
    return !column_false(c, row);
}

static bool not_true(const gn_column *c, uint32_t row)
{
    return !column_true(c, row);
}

static void copy_cell(gn_column *to, const gn_column *from, uint32_t row)
{
    if (gn_column_is_null(from, row)) {
        gn_column_set_null(to, row);
        return;
    }
    size_t size = gn_physical_size(gn_type_physical(from->type));
    memcpy((char *)to->data + size * row, (const char *)from->data + size * row, size);
}

static void clear_null(gn_column *c, uint32_t row)
{
    c->nulls[row >> 6] &= ~((uint64_t)1 << (row & 63));
}

/* ---- leaves ---- */

#define REPEAT(T)                         \
    for (uint32_t k = 1; k < set->n; k++) \
        memcpy((T *)c->data + gn_rows_at(set, k), (T *)c->data + gn_rows_at(set, 0), sizeof(T));

/* Copies the cell of the set's first row to all others. */
static void repeat_first(gn_column *c, const gn_rows *set)
{
    switch (gn_physical_size(gn_type_physical(c->type))) {
    case 1:
        REPEAT(uint8_t)
        break;
    case 2:
        REPEAT(uint16_t)
        break;
    case 4:
        REPEAT(uint32_t)
        break;
    case 8:
        REPEAT(uint64_t)
        break;
    default:
        REPEAT(gn_bytes)
    }
}

gn_code gn_expr_broadcast(const gn_value *value, gn_type type, const gn_rows *set, const gn_eval *eval, gn_column *out)
{
    gn_code code = gn_column_create(type, set->n_rows, eval, out);
    if (code || set->n == 0)
        return code;
    if (value->is_null) {
        for (uint32_t k = 0; k < set->n; k++)
            gn_column_set_null(out, gn_rows_at(set, k));
        return GN_OK;
    }
    gn_column_set(out, gn_rows_at(set, 0), value);
    repeat_first(out, set);
    return GN_OK;
}

static gn_code eval_param(const gn_expr *e, const gn_rows *set, const gn_eval *eval, gn_column *out)
{
    if (e->column >= eval->n_params)
        return gn_error_set(eval->err, GN_NO_PARAMETER, "there is no parameter $%u", e->column + 1);
    return gn_expr_broadcast(&eval->params[e->column], e->type, set, eval, out);
}

/* ---- calls and casts ---- */

static gn_code eval_args(const gn_expr *e, const gn_batch *batch, const gn_rows *set, const gn_eval *eval,
                         gn_column *args)
{
    for (uint32_t i = 0; i < e->n_args; i++) {
        gn_code code = gn_expr_compute(e->args[i], batch, set, eval, &args[i]);
        if (code)
            return code;
    }
    return GN_OK;
}

static gn_code eval_call(const gn_expr *e, const gn_batch *batch, const gn_rows *set, const gn_eval *eval,
                         gn_column *out)
{
    gn_column args[GN_CALL_ARGS];
    GN_ASSERT(e->n_args <= GN_CALL_ARGS);
    gn_code code = eval_args(e, batch, set, eval, args);
    if (!code)
        code = gn_function_call(e->function, e->type, eval, args, e->n_args, set->n_rows, set->rows, set->n, out);
    return code;
}

#define WIDEN(from_member, to_member, T)               \
    for (uint32_t k = 0; k < set->n; k++) {            \
        uint32_t row = gn_rows_at(set, k);             \
        out->to_member[row] = (T)in->from_member[row]; \
    }

/* The casts that cannot fail and that mixed arithmetic is full of. False: not one of them. */
static bool cast_widening(const gn_column *in, const gn_rows *set, gn_column *out)
{
    if (in->type.is_array || out->type.is_array)
        return false;
    switch (in->type.id << 8 | out->type.id) {
    case GN_T_INT2 << 8 | GN_T_INT4:
        WIDEN(i16, i32, int32_t)
        break;
    case GN_T_INT2 << 8 | GN_T_INT8:
        WIDEN(i16, i64, int64_t)
        break;
    case GN_T_INT4 << 8 | GN_T_INT8:
        WIDEN(i32, i64, int64_t)
        break;
    case GN_T_INT2 << 8 | GN_T_FLOAT8:
        WIDEN(i16, f64, double)
        break;
    case GN_T_INT4 << 8 | GN_T_FLOAT8:
        WIDEN(i32, f64, double)
        break;
    case GN_T_INT8 << 8 | GN_T_FLOAT8:
        WIDEN(i64, f64, double)
        break;
    case GN_T_FLOAT4 << 8 | GN_T_FLOAT8:
        WIDEN(f32, f64, double)
        break;
    default:
        return false;
    }
    return true;
}

static gn_code cast_values(const gn_expr *e, const gn_column *in, const gn_rows *set, const gn_eval *eval,
                           gn_column *out)
{
    for (uint32_t k = 0; k < set->n; k++) {
        uint32_t row = gn_rows_at(set, k);
        if (gn_column_is_null(in, row))
            continue;
        gn_value v = gn_column_get(in, row), r;
        gn_code code = gn_value_cast(&v, e->type, e->cast_context, eval->format, eval->arena, &r, eval->err);
        if (code)
            return code;
        if (r.is_null)
            gn_column_set_null(out, row);
        else
            gn_column_set(out, row, &r);
    }
    return GN_OK;
}

static bool same_representation(gn_type from, gn_type to)
{
    if (from.is_array != to.is_array || to.typmod != -1)
        return false; /* arrays of the two text types lie alike too */
    return from.id == to.id || (from.id == GN_T_VARCHAR && to.id == GN_T_TEXT) ||
           (from.id == GN_T_TEXT && to.id == GN_T_VARCHAR);
}

static gn_code eval_cast(const gn_expr *e, const gn_batch *batch, const gn_rows *set, const gn_eval *eval,
                         gn_column *out)
{
    gn_column in;
    gn_code code = gn_expr_compute(e->args[0], batch, set, eval, &in);
    if (code)
        return code;
    if (same_representation(in.type, e->type)) {
        *out = in;
        out->type = e->type;
        return GN_OK;
    }
    code = gn_column_create(e->type, set->n_rows, eval, out);
    if (code)
        return code;
    if (in.has_nulls)
        for (uint32_t k = 0; k < set->n; k++)
            if (gn_column_is_null(&in, gn_rows_at(set, k)))
                gn_column_set_null(out, gn_rows_at(set, k));
    return cast_widening(&in, set, out) ? GN_OK : cast_values(e, &in, set, eval, out);
}

/* ---- logic ---- */

/* AND and OR are one thing: `decided` is the value that ends the search (false for AND, true for OR). */
static gn_code eval_connective(const gn_expr *e, const gn_batch *batch, const gn_rows *set, const gn_eval *eval,
                               gn_column *out)
{
    bool is_and = e->kind == GN_E_AND;
    gn_code code = gn_column_create(e->type, set->n_rows, eval, out);
    if (code)
        return code;
    for (uint32_t k = 0; k < set->n; k++)
        out->boolean[gn_rows_at(set, k)] = is_and;
    gn_rows open = *set;
    for (uint32_t i = 0; i < e->n_args && open.n > 0; i++) {
        gn_column c;
        code = gn_expr_compute(e->args[i], batch, &open, eval, &c);
        if (code)
            return code;
        for (uint32_t k = 0; k < open.n; k++) {
            uint32_t row = gn_rows_at(&open, k);
            if (gn_column_is_null(&c, row)) {
                gn_column_set_null(out, row);
            } else if ((c.boolean[row] != 0) != is_and) { /* decided, whatever was NULL before */
                out->boolean[row] = !is_and;
                clear_null(out, row);
            }
        }
        gn_rows next;
        code = i + 1 < e->n_args ? narrow(&open, &c, is_and ? not_false : not_true, eval, &next) : GN_OK;
        if (code)
            return code;
        if (i + 1 < e->n_args)
            open = next;
    }
    return GN_OK;
}

static gn_code eval_not(const gn_expr *e, const gn_batch *batch, const gn_rows *set, const gn_eval *eval,
                        gn_column *out)
{
    gn_column in;
    gn_code code = gn_expr_compute(e->args[0], batch, set, eval, &in);
    if (!code)
        code = gn_column_create(e->type, set->n_rows, eval, out);
    if (code)
        return code;
    for (uint32_t k = 0; k < set->n; k++) {
        uint32_t row = gn_rows_at(set, k);
        if (gn_column_is_null(&in, row))
            gn_column_set_null(out, row);
        else
            out->boolean[row] = !in.boolean[row];
    }
    return GN_OK;
}

/* IS NULL, IS NOT NULL, IS TRUE, IS FALSE: never NULL. */
static gn_code eval_test(const gn_expr *e, const gn_batch *batch, const gn_rows *set, const gn_eval *eval,
                         gn_column *out)
{
    gn_column in;
    gn_code code = gn_expr_compute(e->args[0], batch, set, eval, &in);
    if (!code)
        code = gn_column_create(e->type, set->n_rows, eval, out);
    if (code)
        return code;
    for (uint32_t k = 0; k < set->n; k++) {
        uint32_t row = gn_rows_at(set, k);
        bool null = gn_column_is_null(&in, row);
        if (e->kind == GN_E_IS_NULL || e->kind == GN_E_IS_NOT_NULL)
            out->boolean[row] = null == (e->kind == GN_E_IS_NULL);
        else
            out->boolean[row] = !null && (in.boolean[row] != 0) == (e->kind == GN_E_IS_TRUE);
    }
    return GN_OK;
}

static int compare_cells(const gn_column *a, const gn_column *b, uint32_t row)
{
    gn_value x = gn_column_get(a, row), y = gn_column_get(b, row);
    x.type.typmod = y.type.typmod = -1;
    return gn_value_compare(&x, &y);
}

/* IS DISTINCT FROM and NULLIF: two arguments of one type, compared with NULL as a value. */
static gn_code eval_distinct(const gn_expr *e, const gn_batch *batch, const gn_rows *set, const gn_eval *eval,
                             gn_column *out)
{
    gn_column args[2];
    gn_code code = eval_args(e, batch, set, eval, args);
    if (!code)
        code = gn_column_create(e->type, set->n_rows, eval, out);
    if (code)
        return code;
    for (uint32_t k = 0; k < set->n; k++) {
        uint32_t row = gn_rows_at(set, k);
        bool x = gn_column_is_null(&args[0], row), y = gn_column_is_null(&args[1], row);
        bool differ = x || y ? x != y : compare_cells(&args[0], &args[1], row) != 0;
        if (e->kind == GN_E_IS_DISTINCT)
            out->boolean[row] = differ;
        else if (x || !differ)
            gn_column_set_null(out, row);
        else
            copy_cell(out, &args[0], row);
    }
    return GN_OK;
}

/* ---- choices ---- */

static gn_code eval_case(const gn_expr *e, const gn_batch *batch, const gn_rows *set, const gn_eval *eval,
                         gn_column *out)
{
    GN_ASSERT(e->n_args % 2 == 1);
    gn_code code = gn_column_create(e->type, set->n_rows, eval, out);
    gn_rows open = *set;
    for (uint32_t i = 0; !code && i < e->n_args && open.n > 0; i += 2) {
        bool is_else = i + 1 == e->n_args;
        gn_rows taken = open, rest = {.n = 0};
        gn_column when, then;
        if (!is_else) {
            code = gn_expr_compute(e->args[i], batch, &open, eval, &when);
            if (!code)
                code = narrow(&open, &when, column_true, eval, &taken);
            if (!code)
                code = narrow(&open, &when, not_true, eval, &rest);
        }
        if (!code && taken.n)
            code = gn_expr_compute(e->args[is_else ? i : i + 1], batch, &taken, eval, &then);
        for (uint32_t k = 0; !code && k < taken.n; k++)
            copy_cell(out, &then, gn_rows_at(&taken, k));
        open = rest;
    }
    return code;
}

static bool cell_null(const gn_column *c, uint32_t row)
{
    return gn_column_is_null(c, row);
}

static gn_code eval_coalesce(const gn_expr *e, const gn_batch *batch, const gn_rows *set, const gn_eval *eval,
                             gn_column *out)
{
    gn_code code = gn_column_create(e->type, set->n_rows, eval, out);
    gn_rows open = *set;
    for (uint32_t i = 0; !code && i < e->n_args && open.n > 0; i++) {
        gn_column c;
        code = gn_expr_compute(e->args[i], batch, &open, eval, &c);
        for (uint32_t k = 0; !code && k < open.n; k++)
            if (!gn_column_is_null(&c, gn_rows_at(&open, k)))
                copy_cell(out, &c, gn_rows_at(&open, k));
        gn_rows rest;
        if (!code)
            code = narrow(&open, &c, cell_null, eval, &rest);
        if (!code)
            open = rest;
    }
    for (uint32_t k = 0; !code && k < open.n; k++)
        gn_column_set_null(out, gn_rows_at(&open, k));
    return code;
}

/* GREATEST and LEAST ignore NULLs; all NULL gives NULL. */
static gn_code eval_extreme(const gn_expr *e, const gn_batch *batch, const gn_rows *set, const gn_eval *eval,
                            gn_column *out)
{
    gn_code code = gn_column_create(e->type, set->n_rows, eval, out);
    for (uint32_t k = 0; !code && k < set->n; k++)
        gn_column_set_null(out, gn_rows_at(set, k));
    for (uint32_t i = 0; !code && i < e->n_args; i++) {
        gn_column c;
        code = gn_expr_compute(e->args[i], batch, set, eval, &c);
        for (uint32_t k = 0; !code && k < set->n; k++) {
            uint32_t row = gn_rows_at(set, k);
            if (gn_column_is_null(&c, row))
                continue;
            int order = gn_column_is_null(out, row) ? 0 : compare_cells(&c, out, row);
            bool better = e->kind == GN_E_GREATEST ? order > 0 : order < 0;
            if (!gn_column_is_null(out, row) && !better)
                continue;
            clear_null(out, row);
            copy_cell(out, &c, row);
        }
    }
    return code;
}

/* ---- the one switch ---- */

static gn_code compute(const gn_expr *e, const gn_batch *batch, const gn_rows *set, const gn_eval *eval, gn_column *out)
{
    switch (e->kind) {
    case GN_E_CONST:
        return gn_expr_broadcast(&e->value, e->type, set, eval, out);
    case GN_E_COLUMN:
        GN_ASSERT(batch && e->column < batch->n_columns);
        *out = batch->columns[e->column];
        return GN_OK;
    case GN_E_PARAM:
        return eval_param(e, set, eval, out);
    case GN_E_CALL:
        return eval_call(e, batch, set, eval, out);
    case GN_E_CAST:
        return eval_cast(e, batch, set, eval, out);
    case GN_E_AND:
    case GN_E_OR:
        return eval_connective(e, batch, set, eval, out);
    case GN_E_NOT:
        return eval_not(e, batch, set, eval, out);
    case GN_E_IS_NULL:
    case GN_E_IS_NOT_NULL:
    case GN_E_IS_TRUE:
    case GN_E_IS_FALSE:
        return eval_test(e, batch, set, eval, out);
    case GN_E_IS_DISTINCT:
    case GN_E_NULLIF:
        return eval_distinct(e, batch, set, eval, out);
    case GN_E_CASE:
        return eval_case(e, batch, set, eval, out);
    case GN_E_COALESCE:
        return eval_coalesce(e, batch, set, eval, out);
    case GN_E_GREATEST:
    case GN_E_LEAST:
        return eval_extreme(e, batch, set, eval, out);
    case GN_E_IN:
        return gn_expr_compute_in(e, batch, set, eval, out);
    case GN_E_ANY:
    case GN_E_ALL:
        return gn_expr_compute_any_all(e, batch, set, eval, out);
    case GN_E_ARRAY:
        return gn_expr_compute_array(e, batch, set, eval, out);
    case GN_E_SUBSCRIPT:
        return gn_expr_compute_subscript(e, batch, set, eval, out);
    case GN_E_SLICE:
        return gn_expr_compute_slice(e, batch, set, eval, out);
    }
    GN_ASSERT(!"a known kind of expression");
    return GN_INTERNAL;
}

gn_code gn_expr_compute(const gn_expr *e, const gn_batch *batch, const gn_rows *set, const gn_eval *eval,
                        gn_column *out)
{
    gn_code code = compute(e, batch, set, eval, out);
    if (code && eval->err && eval->err->position == 0 && e->position > 0 && code != GN_OUT_OF_MEMORY &&
        e->kind != GN_E_ARRAY)
        gn_error_at(eval->err, e->position);
    return code;
}

gn_code gn_expr_eval(const gn_expr *expr, const gn_batch *batch, const gn_eval *eval, gn_column *out)
{
    gn_rows all = {.rows = NULL, .n = batch->n_rows, .n_rows = batch->n_rows};
    return gn_expr_compute(expr, batch, &all, eval, out);
}

gn_code gn_expr_eval_one(const gn_expr *expr, const gn_eval *eval, gn_value *out)
{
    gn_rows one = {.rows = NULL, .n = 1, .n_rows = 1};
    gn_column c;
    gn_code code = gn_expr_compute(expr, NULL, &one, eval, &c);
    if (!code)
        *out = gn_column_get(&c, 0);
    return code;
}

gn_code gn_expr_select(const gn_expr *expr, const gn_batch *batch, const gn_eval *eval, uint16_t *selected,
                       uint32_t *n_selected)
{
    gn_column c;
    gn_code code = gn_expr_eval(expr, batch, eval, &c);
    if (code)
        return code;
    uint32_t n = 0;
    for (uint32_t row = 0; row < batch->n_rows; row++) {
        selected[n] = (uint16_t)row;
        n += column_true(&c, row);
    }
    *n_selected = n;
    return GN_OK;
}
