/* Expressions over arrays: x op ANY (array), x op ALL (array), ARRAY[...], array[i], array[i:j]. */
#include "query/array.h"
#include "query/expr_private.h"
#include "query/function_private.h"

/* ---- ANY and ALL ---- */

/* What is known of one row: ANY is decided by a true, ALL by a false; a NULL on the way leaves it unknown. */
typedef struct verdict {
    bool decided, unknown;
} verdict;

static void judge(verdict *v, const gn_column *results, uint32_t row, bool any)
{
    if (gn_column_is_null(results, row))
        v->unknown = true;
    else if ((results->boolean[row] != 0) == any)
        v->decided = true;
}

static void announce(const verdict *v, uint32_t row, bool any, gn_column *out)
{
    if (!v->decided && v->unknown)
        gn_column_set_null(out, row);
    else
        out->boolean[row] = v->decided ? any : !any;
}

/* One row: its value beside up to GN_BATCH_ROWS elements at a time. */
static gn_code judge_row(const gn_expr *e, const gn_value *x, const gn_value *array, const gn_eval *eval, verdict *v)
{
    gn_array_iter it = gn_array_open(array);
    gn_value item;
    bool more = gn_array_next(&it, &item), any = e->kind == GN_E_ANY;
    gn_arena_mark mark = gn_arena_save(eval->arena);
    for (; more && !v->decided; gn_arena_restore(eval->arena, mark)) {
        gn_column pair[2], results;
        uint32_t room = it.n_items < GN_BATCH_ROWS ? (uint32_t)it.n_items : GN_BATCH_ROWS, n = 0;
        gn_code code = gn_column_create(x->type, room, eval, &pair[0]);
        if (!code)
            code = gn_column_create(item.type, room, eval, &pair[1]);
        if (code)
            return code;
        for (; more && n < room; n++, more = gn_array_next(&it, &item)) {
            if (x->is_null)
                gn_column_set_null(&pair[0], n);
            else
                gn_column_set(&pair[0], n, x);
            if (item.is_null)
                gn_column_set_null(&pair[1], n);
            else
                gn_column_set(&pair[1], n, &item);
        }
        code = gn_function_call(e->function, gn_type_of(GN_T_BOOL), eval, pair, 2, room, NULL, n, &results);
        if (!code)
            code = gn_eval_cancelled(eval);
        if (code)
            return code;
        for (uint32_t i = 0; i < n; i++)
            judge(v, &results, i, any);
    }
    return GN_OK;
}

/* One array for all rows: element by element over the rows that are not decided yet. */
static gn_code judge_all_rows(const gn_expr *e, const gn_column *x, const gn_value *array, const gn_rows *set,
                              const gn_eval *eval, gn_column *out)
{
    bool any = e->kind == GN_E_ANY;
    verdict *verdicts = gn_eval_alloc(eval, (set->n_rows + 1u) * sizeof *verdicts);
    uint16_t *open = gn_eval_alloc(eval, (set->n + 1u) * sizeof *open);
    if (!verdicts || !open)
        return GN_OUT_OF_MEMORY;
    memset(verdicts, 0, (set->n_rows + 1u) * sizeof *verdicts);
    uint32_t n_open = set->n;
    for (uint32_t k = 0; k < set->n; k++)
        open[k] = (uint16_t)gn_rows_at(set, k);
    gn_array_iter it = gn_array_open(array);
    for (gn_value item; n_open > 0 && gn_array_next(&it, &item);) {
        gn_rows rest = {.rows = open, .n = n_open, .n_rows = set->n_rows};
        gn_column pair[2] = {*x}, results;
        gn_arena_mark mark = gn_arena_save(eval->arena);
        gn_code code = gn_expr_broadcast(&item, item.type, &rest, eval, &pair[1]);
        if (!code)
            code = gn_function_call(e->function, gn_type_of(GN_T_BOOL), eval, pair, 2, set->n_rows, open, n_open,
                                    &results);
        if (code)
            return code;
        code = gn_eval_cancelled(eval);
        if (code)
            return code;
        uint32_t kept = 0;
        for (uint32_t k = 0; k < n_open; k++) {
            uint16_t row = open[k];
            judge(&verdicts[row], &results, row, any);
            open[kept] = row;
            kept += !verdicts[row].decided;
        }
        n_open = kept;
        gn_arena_restore(eval->arena, mark);
    }
    for (uint32_t k = 0; k < set->n; k++)
        announce(&verdicts[gn_rows_at(set, k)], gn_rows_at(set, k), any, out);
    return GN_OK;
}

static bool is_equality(const gn_expr *e)
{
    return e->kind == GN_E_ANY && strcmp(gn_function_name(e->function), "=") == 0;
}

/* x = ANY (array of constants): as IN. */
static gn_code search_array(const gn_column *x, const gn_value *array, const gn_rows *set, const gn_eval *eval,
                            gn_column *out)
{
    gn_array_iter it = gn_array_open(array);
    bool has_null = false;
    uint32_t n = 0;
    gn_value *list = gn_eval_alloc(eval, ((size_t)it.n_items + 1) * sizeof *list);
    if (!list)
        return GN_OUT_OF_MEMORY;
    while (gn_array_next(&it, &list[n])) {
        has_null |= list[n].is_null;
        n += !list[n].is_null;
    }
    gn_expr_search(x, set, list, n, has_null, out);
    return GN_OK;
}

gn_code gn_expr_compute_any_all(const gn_expr *e, const gn_batch *batch, const gn_rows *set, const gn_eval *eval,
                                gn_column *out)
{
    gn_column x, arrays;
    bool any = e->kind == GN_E_ANY;
    gn_code code = gn_expr_compute(e->args[0], batch, set, eval, &x);
    if (!code)
        code = gn_expr_compute(e->args[1], batch, set, eval, &arrays);
    if (!code)
        code = gn_column_create(e->type, set->n_rows, eval, out);
    if (code || set->n == 0)
        return code;
    uint32_t first = gn_rows_at(set, 0);
    if (set->n > 1 && gn_expr_is_constant(e->args[1]) && !gn_column_is_null(&arrays, first)) {
        gn_value array = gn_column_get(&arrays, first);
        uint64_t n_items = gn_array_open(&array).n_items;
        return is_equality(e) && n_items > 8 ? search_array(&x, &array, set, eval, out)
                                             : judge_all_rows(e, &x, &array, set, eval, out);
    }
    for (uint32_t k = 0; k < set->n && !code; k++) {
        uint32_t row = gn_rows_at(set, k);
        verdict v = {false, false};
        if (gn_column_is_null(&arrays, row)) {
            gn_column_set_null(out, row);
            continue;
        }
        gn_value value = gn_column_get(&x, row), array = gn_column_get(&arrays, row);
        code = judge_row(e, &value, &array, eval, &v);
        announce(&v, row, any, out);
    }
    return code;
}

/* ---- ARRAY[...] ---- */

static gn_code mismatch(const gn_eval *eval)
{
    return gn_error_set(eval->err, GN_ARRAY_SUBSCRIPT,
                        "multidimensional arrays must have array expressions with matching dimensions");
}

/* Arrays of one shape become the rows of one with a dimension more. Empty ones vanish. */
static gn_code stack_arrays(const gn_value *parts, uint32_t n, gn_array_builder *b, const gn_eval *eval)
{
    gn_code code = GN_OK;
    uint32_t stacked = 0;
    for (uint32_t i = 0; i < n && !code; i++) {
        gn_array_iter it = {.n_dimensions = 0};
        if (!parts[i].is_null)
            it = gn_array_open(&parts[i]);
        if (i == 0) {
            if (it.n_dimensions + 1 > GN_ARRAY_DIMENSIONS)
                return gn_error_set(eval->err, GN_LIMIT,
                                    "number of array dimensions (%u) exceeds the maximum allowed (%d)",
                                    it.n_dimensions + 1, (int)GN_ARRAY_DIMENSIONS);
            b->n_dimensions = it.n_dimensions ? it.n_dimensions + 1 : 0;
            memcpy(b->lengths + 1, it.lengths, it.n_dimensions * sizeof *it.lengths);
        }
        bool same = b->n_dimensions == (it.n_dimensions ? it.n_dimensions + 1 : 0) &&
                    memcmp(b->lengths + 1, it.lengths, it.n_dimensions * sizeof *it.lengths) == 0;
        if (!same)
            return mismatch(eval);
        stacked += it.n_dimensions > 0;
        for (gn_value item; it.n_dimensions && !code && gn_array_next(&it, &item);)
            code = gn_array_add(b, &item, eval->err);
    }
    b->lengths[0] = (int32_t)stacked;
    return code;
}

static gn_code build_row(const gn_expr *e, const gn_column *items, uint32_t row, const gn_eval *eval, gn_value *out)
{
    gn_value *values = gn_eval_alloc(eval, (e->n_args + 1u) * sizeof *values);
    if (!values)
        return GN_OUT_OF_MEMORY;
    for (uint32_t i = 0; i < e->n_args; i++)
        values[i] = gn_column_get(&items[i], row);
    gn_array_builder b;
    gn_array_begin(&b, gn_type_of((gn_type_id)e->type.id), eval->arena);
    gn_code code = GN_OK;
    if (e->n_args > 0 && e->args[0]->type.is_array) {
        code = stack_arrays(values, e->n_args, &b, eval);
    } else {
        for (uint32_t i = 0; i < e->n_args && !code; i++)
            code = gn_array_add(&b, &values[i], eval->err);
    }
    return code ? code : gn_array_end(&b, out, eval->err);
}

gn_code gn_expr_compute_array(const gn_expr *e, const gn_batch *batch, const gn_rows *set, const gn_eval *eval,
                              gn_column *out)
{
    gn_column *items = gn_eval_alloc(eval, (e->n_args + 1u) * sizeof *items);
    gn_code code = items ? gn_column_create(e->type, set->n_rows, eval, out) : GN_OUT_OF_MEMORY;
    for (uint32_t i = 0; i < e->n_args && !code; i++)
        code = gn_expr_compute(e->args[i], batch, set, eval, &items[i]);
    for (uint32_t k = 0; k < set->n && !code; k++) {
        gn_value array = {.type = e->type};
        code = build_row(e, items, gn_rows_at(set, k), eval, &array);
        if (!code)
            gn_column_set(out, gn_rows_at(set, k), &array);
    }
    return code;
}

/* ---- array[i][j] ---- */

/* NULL beyond the array's bounds, and when there are not as many subscripts as dimensions. */
gn_code gn_expr_compute_subscript(const gn_expr *e, const gn_batch *batch, const gn_rows *set, const gn_eval *eval,
                                  gn_column *out)
{
    gn_column args[1 + GN_ARRAY_DIMENSIONS];
    gn_code code = gn_column_create(e->type, set->n_rows, eval, out);
    if (e->n_args > 1 + GN_ARRAY_DIMENSIONS)
        return gn_error_set(eval->err, GN_LIMIT, "number of array dimensions (%u) exceeds the maximum allowed (%d)",
                            e->n_args - 1, (int)GN_ARRAY_DIMENSIONS);
    for (uint32_t i = 0; i < e->n_args && !code; i++)
        code = gn_expr_compute(e->args[i], batch, set, eval, &args[i]);
    for (uint32_t k = 0; k < set->n && !code; k++) {
        uint32_t row = gn_rows_at(set, k);
        int32_t subscripts[GN_ARRAY_DIMENSIONS];
        bool null = false;
        for (uint32_t i = 0; i < e->n_args; i++) {
            null |= gn_column_is_null(&args[i], row);
            if (i > 0 && !null)
                subscripts[i - 1] = args[i].i32[row];
        }
        gn_value array = gn_column_get(&args[0], row), item;
        if (null || !gn_array_at(&array, subscripts, e->n_args - 1, &item) || item.is_null)
            gn_column_set_null(out, row);
        else
            gn_column_set(out, row, &item);
    }
    return code;
}

/* ---- array[i:j] ---- */

/* A bound that is left out is the array's own; one that is NULL makes the slice NULL. */
static gn_code slice_row(const gn_expr *e, const gn_column *args, uint32_t row, const gn_eval *eval, gn_value *out)
{
    int32_t bounds[2][GN_ARRAY_DIMENSIONS];
    uint32_t n = (e->n_args - 1) / 2;
    out->is_null = gn_column_is_null(&args[0], row);
    for (uint32_t i = 0; i < 2 * n && !out->is_null; i++) {
        bool omitted = e->column >> i & 1;
        bounds[i % 2][i / 2] = omitted ? (i % 2 ? INT32_MAX : INT32_MIN) : args[i + 1].i32[row];
        out->is_null |= !omitted && gn_column_is_null(&args[i + 1], row);
    }
    if (out->is_null)
        return GN_OK;
    gn_value array = gn_column_get(&args[0], row);
    return gn_array_slice(&array, bounds[0], bounds[1], n, eval->arena, out, eval->err);
}

gn_code gn_expr_compute_slice(const gn_expr *e, const gn_batch *batch, const gn_rows *set, const gn_eval *eval,
                              gn_column *out)
{
    gn_column args[1 + 2 * GN_ARRAY_DIMENSIONS];
    gn_code code = gn_column_create(e->type, set->n_rows, eval, out);
    GN_ASSERT(e->n_args <= 1 + 2 * GN_ARRAY_DIMENSIONS);
    for (uint32_t i = 0; i < e->n_args && !code; i++)
        code = gn_expr_compute(e->args[i], batch, set, eval, &args[i]);
    for (uint32_t k = 0; k < set->n && !code; k++) {
        uint32_t row = gn_rows_at(set, k);
        gn_value slice = {.type = e->type};
        code = slice_row(e, args, row, eval, &slice);
        if (!code && slice.is_null)
            gn_column_set_null(out, row);
        else if (!code)
            gn_column_set(out, row, &slice);
    }
    return code;
}
