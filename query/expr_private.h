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

/* expr_set.c: kinds that deal with lists and arrays */
gn_code gn_expr_compute_in(const gn_expr *e, const gn_batch *batch, const gn_rows *set, const gn_eval *eval,
                           gn_column *out);
gn_code gn_expr_compute_any_all(const gn_expr *e, const gn_batch *batch, const gn_rows *set, const gn_eval *eval,
                                gn_column *out);
gn_code gn_expr_compute_array(const gn_expr *e, const gn_batch *batch, const gn_rows *set, const gn_eval *eval,
                              gn_column *out);
gn_code gn_expr_compute_subscript(const gn_expr *e, const gn_batch *batch, const gn_rows *set, const gn_eval *eval,
                                  gn_column *out);

#endif
