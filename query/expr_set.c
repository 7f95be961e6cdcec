/* x IN (a, b, c): SQL's three values. A list of many constants is sorted once a batch and searched. */
#include "query/expr_private.h"
#include "query/function_private.h"

#include <stdlib.h>

enum { SEARCH_FROM = 8 };

static int value_order(const void *a, const void *b)
{
    return gn_value_compare(a, b);
}

/* The constants of the list without NULLs; not usable when the list is short or not constant. */
static gn_code constant_list(const gn_expr *e, const gn_eval *eval, gn_value **out, uint32_t *n_out, bool *has_null,
                             bool *usable)
{
    *usable = e->n_args > SEARCH_FROM;
    for (uint32_t i = 1; i < e->n_args && *usable; i++)
        *usable = e->args[i]->kind == GN_E_CONST;
    if (!*usable)
        return GN_OK;
    gn_value *list = gn_eval_alloc(eval, e->n_args * sizeof *list);
    if (!list)
        return GN_OUT_OF_MEMORY;
    uint32_t n = 0;
    for (uint32_t i = 1; i < e->n_args; i++) {
        if (e->args[i]->value.is_null)
            *has_null = true;
        else
            list[n++] = e->args[i]->value;
    }
    *out = list;
    *n_out = n;
    return GN_OK;
}

void gn_expr_search(const gn_column *x, const gn_rows *set, gn_value *list, uint32_t n, bool has_null, gn_column *out)
{
    qsort(list, n, sizeof *list, value_order);
    for (uint32_t k = 0; k < set->n; k++) {
        uint32_t row = gn_rows_at(set, k);
        if (gn_column_is_null(x, row)) {
            gn_column_set_null(out, row);
            continue;
        }
        gn_value v = gn_column_get(x, row);
        bool found = n > 0 && bsearch(&v, list, n, sizeof *list, value_order);
        out->boolean[row] = found;
        if (!found && has_null)
            gn_column_set_null(out, row);
    }
}

/* One item after the other, over the rows that have not found theirs. */
static gn_code in_items(const gn_expr *e, const gn_batch *batch, const gn_column *x, const gn_rows *set,
                        const gn_eval *eval, gn_column *out)
{
    uint16_t *open = gn_eval_alloc(eval, (set->n + 1u) * sizeof *open);
    if (!open)
        return GN_OUT_OF_MEMORY;
    uint32_t n_open = 0;
    for (uint32_t k = 0; k < set->n; k++) {
        uint32_t row = gn_rows_at(set, k);
        if (gn_column_is_null(x, row))
            gn_column_set_null(out, row);
        else
            open[n_open++] = (uint16_t)row;
    }
    for (uint32_t i = 1; i < e->n_args && n_open > 0; i++) {
        gn_rows rest = {.rows = open, .n = n_open, .n_rows = set->n_rows};
        gn_column item;
        gn_code code = gn_expr_compute(e->args[i], batch, &rest, eval, &item);
        if (code)
            return code;
        uint32_t kept = 0;
        for (uint32_t k = 0; k < n_open; k++) {
            uint16_t row = open[k];
            bool null = gn_column_is_null(&item, row), equal = false;
            if (null) {
                gn_column_set_null(out, row); /* unless a later item is equal */
            } else {
                gn_value a = gn_column_get(x, row), b = gn_column_get(&item, row);
                equal = gn_value_compare(&a, &b) == 0;
            }
            if (equal) {
                out->boolean[row] = true;
                out->nulls[row >> 6] &= ~((uint64_t)1 << (row & 63));
            } else {
                open[kept++] = row;
            }
        }
        n_open = kept;
    }
    return GN_OK;
}

gn_code gn_expr_compute_in(const gn_expr *e, const gn_batch *batch, const gn_rows *set, const gn_eval *eval,
                           gn_column *out)
{
    gn_column x;
    gn_value *list = NULL;
    uint32_t n = 0;
    bool has_null = false, usable = false;
    gn_code code = gn_expr_compute(e->args[0], batch, set, eval, &x);
    if (!code)
        code = gn_column_create(e->type, set->n_rows, eval, out);
    if (!code)
        code = constant_list(e, eval, &list, &n, &has_null, &usable);
    if (code)
        return code;
    if (!usable)
        return in_items(e, batch, &x, set, eval, out);
    gn_expr_search(&x, set, list, n, has_null, out);
    return GN_OK;
}
