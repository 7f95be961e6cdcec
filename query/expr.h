/* Bound expressions and their evaluation over column batches. Trees are immutable after binding, live in an arena, and
 * may be shared by threads. */
#ifndef GN_QUERY_EXPR_H
#define GN_QUERY_EXPR_H

#include "query/function.h"

/* Numbers are for ever: tables are stored with expressions (query/computed.h). */
typedef enum gn_expr_kind {
    GN_E_CONST,  /* value */
    GN_E_COLUMN, /* column: ordinal in the input batch */
    GN_E_PARAM,  /* column: ordinal of $n, 0-based; type is settled by the binder */
    GN_E_CALL,   /* function, args (already cast to its argument types) */
    GN_E_CAST,   /* args[0] to type, by cast_context */
    GN_E_AND,    /* args, n >= 2; three-valued; later arguments are evaluated only where still needed */
    GN_E_OR,
    GN_E_NOT,
    GN_E_IS_NULL, /* args[0] */
    GN_E_IS_NOT_NULL,
    GN_E_IS_TRUE, /* and its kin: IS [NOT] TRUE/FALSE/UNKNOWN are built from these and NOT */
    GN_E_IS_FALSE,
    GN_E_IS_DISTINCT, /* args[0] IS DISTINCT FROM args[1], same type */
    GN_E_CASE, /* args: when1, then1, when2, then2, ..., else (always there, maybe a NULL const); whens are boolean */
    GN_E_COALESCE, /* args */
    GN_E_NULLIF,   /* args[0], args[1] cast to a common type; result args[0]'s */
    GN_E_IN,       /* args[0] IN (args[1..]); same type */
    GN_E_ANY,      /* args[0] op ANY (args[1] array), function = the operator on elements */
    GN_E_ALL,
    GN_E_ARRAY,     /* ARRAY[args...]; type is the array type */
    GN_E_SUBSCRIPT, /* args[0][args[1]][args[2]]... of an array */
    GN_E_SLICE,     /* args[0][args[1]:args[2]][args[3]:args[4]]...; bit i of column: args[i + 1] is left out */
    GN_E_GREATEST,  /* args, same type */
    GN_E_LEAST,
} gn_expr_kind;

typedef struct gn_expr {
    gn_expr_kind kind;
    gn_type type;
    int position; /* 1-based in the statement, 0 = none: for errors at run time too */
    uint32_t column;
    uint32_t n_args;
    struct gn_expr **args;
    const gn_function *function;
    gn_cast_context cast_context;
    gn_value value;
} gn_expr;

/* Evaluates over all rows of the batch. out: type and memory are set here (in eval->arena), or it aliases a column of
 * the batch. Rows that the caller does not need (AND, CASE) are not evaluated, so they raise no errors. */
gn_code gn_expr_eval(const gn_expr *expr, const gn_batch *batch, const gn_eval *eval, gn_column *out);
/* One row's value, for constants, defaults, LIMIT. batch may be NULL if no column occurs. */
gn_code gn_expr_eval_one(const gn_expr *expr, const gn_eval *eval, gn_value *out);
/* Rows for which the boolean expr is true: ascending row numbers into selected[GN_BATCH_ROWS]. */
gn_code gn_expr_select(const gn_expr *expr, const gn_batch *batch, const gn_eval *eval, uint16_t *selected,
                       uint32_t *n_selected);

/* True if the value cannot change between rows (no columns, nothing volatile). */
bool gn_expr_is_constant(const gn_expr *expr);
/* The most changeable of all that occurs in it; a cast that goes by the session's settings is stable. */
gn_volatility gn_expr_volatility(const gn_expr *expr);
/* Replaces constant immutable subtrees by their values; errors are left for run time. */
gn_expr *gn_expr_fold(gn_expr *expr, const gn_format *format, gn_arena *arena);
/* SQL-like text for EXPLAIN and error details. names[i]: column i of the input. */
bool gn_expr_print(const gn_expr *expr, const char *const *names, uint32_t n_names, gn_buf *out);
bool gn_expr_equal(const gn_expr *a, const gn_expr *b);

#endif
