/* What the files of the evaluator share. */
#ifndef GN_QUERY_EXPR_PRIVATE_H
#define GN_QUERY_EXPR_PRIVATE_H

#include "query/expr.h"

/* The rows of a batch that an expression is wanted for. */
typedef struct gn_rows {
    const uint16_t *rows; /* ascending; NULL: 0 .. n-1 */
    uint32_t n;
    uint32_t n_rows; /* of the batch: results have room for so many */
} gn_rows;

static inline uint32_t gn_rows_at(const gn_rows *set, uint32_t k)
{
    return set->rows ? set->rows[k] : k;
}

gn_code gn_expr_compute(const gn_expr *e, const gn_batch *batch, const gn_rows *set, const gn_eval *eval,
                        gn_column *out);

/* The value in all rows of the set. */
gn_code gn_expr_broadcast(const gn_value *value, gn_type type, const gn_rows *set, const gn_eval *eval, gn_column *out);

/* expr_set.c: x IN (list); and the search of a list of values without NULLs, which is sorted here: as IN, `has_null`
 * says whether the list had one */
void gn_expr_search(const gn_column *x, const gn_rows *set, gn_value *list, uint32_t n, bool has_null, gn_column *out);
gn_code gn_expr_compute_in(const gn_expr *e, const gn_batch *batch, const gn_rows *set, const gn_eval *eval,
                           gn_column *out);
/* expr_array.c */
gn_code gn_expr_compute_any_all(const gn_expr *e, const gn_batch *batch, const gn_rows *set, const gn_eval *eval,
                                gn_column *out);
gn_code gn_expr_compute_array(const gn_expr *e, const gn_batch *batch, const gn_rows *set, const gn_eval *eval,
                              gn_column *out);
gn_code gn_expr_compute_subscript(const gn_expr *e, const gn_batch *batch, const gn_rows *set, const gn_eval *eval,
                                  gn_column *out);
gn_code gn_expr_compute_slice(const gn_expr *e, const gn_batch *batch, const gn_rows *set, const gn_eval *eval,
                              gn_column *out);

#endif
