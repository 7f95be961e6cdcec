/* Relational operators over column batches, pulled from the top. An operator owns its inputs. */
#ifndef GN_QUERY_OPERATOR_H
#define GN_QUERY_OPERATOR_H

#include "query/expr.h"

typedef struct gn_operator gn_operator;

typedef struct gn_operator_stats {
    uint64_t rows, batches, time_ns, bytes; /* out of this operator; time includes its inputs */
} gn_operator_stats;

typedef struct gn_operator_ops {
    const char *name; /* as EXPLAIN shows it */
    /* The next batch, owned by the operator and valid until the next call; n_rows == 0 (or *out NULL) is the end. */
    gn_code (*next)(gn_operator *op, gn_batch **out, gn_error *err);
    void (*close)(gn_operator *op); /* frees op's own state, not its inputs or its arena */
} gn_operator_ops;

struct gn_operator {
    const gn_operator_ops *ops;
    gn_operator *inputs[2];
    uint32_t n_columns;
    const gn_type *types;
    gn_operator_stats stats;
    const gn_eval *eval; /* params, format, cancel; its arena is not used by operators, which have their own */
    bool timed;          /* EXPLAIN ANALYZE */
};

/* The one way to pull: checks cancel, counts, times. */
gn_code gn_operator_next(gn_operator *op, gn_batch **out, gn_error *err);
void gn_operator_close(gn_operator *op); /* with its inputs; NULL is fine */

/* Constructors. `account` is charged for what an operator keeps (sort runs, hash tables). Arrays are borrowed and must
 * outlive the operator. They never fail but by memory, which then shows at the first next. */
gn_operator *gn_op_values(const gn_eval *eval, gn_account *account, gn_expr ***rows, uint32_t n_rows,
                          const gn_type *types, uint32_t n_columns);
gn_operator *gn_op_filter(const gn_eval *eval, gn_account *account, gn_operator *input, const gn_expr *condition);
gn_operator *gn_op_project(const gn_eval *eval, gn_account *account, gn_operator *input, gn_expr *const *exprs,
                           uint32_t n_exprs);
/* offset, limit: already evaluated; limit UINT64_MAX = none. */
gn_operator *gn_op_limit(const gn_eval *eval, gn_account *account, gn_operator *input, uint64_t offset, uint64_t limit);

typedef struct gn_sort_key {
    const gn_expr *expr; /* over the input */
    bool descending, nulls_first;
} gn_sort_key;
/* How a row of one batch stands to one of another by a column of each: < 0, 0, > 0. */
int gn_column_order(const gn_column *a, uint32_t row_a, const gn_column *b, uint32_t row_b, bool descending,
                    bool nulls_first);
/* Stable. With keep < UINT64_MAX only the first `keep` rows are kept (a heap: top-k). GN_OUT_OF_MEMORY past the budget.
 */
gn_operator *gn_op_sort(const gn_eval *eval, gn_account *account, gn_operator *input, const gn_sort_key *keys,
                        uint32_t n_keys, uint64_t keep);
/* Drops rows equal to an earlier one in all columns (hash; order of first occurrence is kept). */
gn_operator *gn_op_distinct(const gn_eval *eval, gn_account *account, gn_operator *input);
/* Drops rows equal to an earlier one in the columns on[0..n_on). Only these are kept. */
gn_operator *gn_op_distinct_on(const gn_eval *eval, gn_account *account, gn_operator *input, const uint32_t *on,
                               uint32_t n_on);

typedef enum gn_window_kind {
    GN_WINDOW_ROW_NUMBER,
    GN_WINDOW_RANK,
    GN_WINDOW_DENSE_RANK,
    /* args: the row's vector, the query, lambda, and perhaps the metric. The rank by maximal marginal relevance: each
     * next row is near to the query and far from those before it. Rows without a distance come last. */
    GN_WINDOW_MMR_RANK,
} gn_window_kind;

typedef struct gn_window_call {
    gn_window_kind kind;
    gn_expr *const *args;
    uint32_t n_args;
    gn_expr *const *partition;
    uint32_t n_partition;
    const gn_sort_key *order;
    uint32_t n_order;
} gn_window_call;
/* Output columns: the input's, then a bigint of each call; rows in the order of the input. wanted: of mmr_rank numbers
 * beyond it need only be different ones. */
gn_operator *gn_op_window(const gn_eval *eval, gn_account *account, gn_operator *input, const gn_window_call *calls,
                          uint32_t n_calls, uint64_t wanted);

typedef struct gn_aggregate_call {
    const gn_aggregate *aggregate;
    gn_expr *const *args;
    uint32_t n_args;
    bool distinct;
    const gn_expr *filter; /* FILTER (WHERE ...), NULL = none */
    const gn_sort_key *order;
    uint32_t n_order; /* 0: rows in the order of arrival */
    gn_type result;
} gn_aggregate_call;
/* Output columns: the group keys, then the aggregates. No keys: exactly one row. */
gn_operator *gn_op_aggregate(const gn_eval *eval, gn_account *account, gn_operator *input, gn_expr *const *keys,
                             uint32_t n_keys, const gn_aggregate_call *calls, uint32_t n_calls);

/* The same in two halves, of calls that combine (gn_aggregate_combines), without DISTINCT and ORDER BY. partial gives
 * the keys, then for each call a state as bytea; a key may come more than once, so that the memory that it takes has an
 * end; without keys there is one row. combine takes such rows, from several partials, in the order of these columns,
 * and gives what gn_op_aggregate would of all rows. */
gn_operator *gn_op_aggregate_partial(const gn_eval *eval, gn_account *account, gn_operator *input, gn_expr *const *keys,
                                     uint32_t n_keys, const gn_aggregate_call *calls, uint32_t n_calls);
gn_operator *gn_op_aggregate_combine(const gn_eval *eval, gn_account *account, gn_operator *input, gn_expr *const *keys,
                                     uint32_t n_keys, const gn_aggregate_call *calls, uint32_t n_calls);

#endif
