/* Functions, operators and aggregates: one table gives name, argument types, result type and the batch kernel.
 * Operators are functions whose names are their symbols ("+", "<->", "=", "~~" for LIKE). */
#ifndef GN_QUERY_FUNCTION_H
#define GN_QUERY_FUNCTION_H

#include "query/batch.h"

/* What a kernel may ask of its surroundings. */
typedef struct gn_eval {
    const gn_format *format;
    gn_arena *arena; /* for results; lives as long as the output batch */
    const gn_value *params;
    uint32_t n_params;
    gn_error *err;
    const _Atomic bool *cancel; /* may be NULL */
    void *session;              /* for functions about the session (current_user, current_setting): see hooks */
    const struct gn_session_hooks *hooks; /* may be NULL */
} gn_eval;

/* Answers of the layer above for functions that need it. Each may be NULL (the function then fails). */
typedef struct gn_session_hooks {
    gn_code (*call)(void *session, const char *function, const gn_value *args, uint32_t n_args, gn_arena *arena,
                    gn_value *out, gn_error *err);
} gn_session_hooks;

typedef enum gn_volatility { GN_IMMUTABLE, GN_STABLE, GN_VOLATILE } gn_volatility;

typedef struct gn_function gn_function;

const char *gn_function_name(const gn_function *f);
gn_type gn_function_result(const gn_function *f);
uint32_t gn_function_n_args(const gn_function *f);
gn_type gn_function_arg(const gn_function *f, uint32_t i);
bool gn_function_returns_set(const gn_function *f); /* its array stands for rows: only in FROM */
gn_volatility gn_function_volatility(const gn_function *f);

/* PostgreSQL's resolution (documentation chapter 10.2, 10.3): exact match, then most exact matches, preferred types,
 * UNKNOWN literals. args: types after binding, GN_T_UNKNOWN for untyped literals and parameters. On success
 * arg_types[i] tells what each argument must be cast to and *result the type of the call (polymorphic functions are
 * settled). GN_NO_FUNCTION (with PostgreSQL's message and hint), GN_AMBIGUOUS_FUNCTION. is_operator only words the
 * message. */
gn_code gn_function_resolve(gn_bytes name, bool is_operator, const gn_type *args, uint32_t n, const gn_function **out,
                            gn_type *arg_types, gn_type *result, gn_error *err);

/* The common type of UNION, CASE, COALESCE, IN, ARRAY (chapter 10.5). */
gn_code gn_type_common(const gn_type *types, uint32_t n, gn_type *out, gn_error *err);

/* ---- aggregates ---- */
typedef struct gn_aggregate gn_aggregate;
/* count(*) is n = 0. */
gn_code gn_aggregate_resolve(gn_bytes name, const gn_type *args, uint32_t n, const gn_aggregate **out,
                             gn_type *arg_types, gn_type *result, gn_error *err);
bool gn_is_aggregate_name(gn_bytes name);
const char *gn_aggregate_name(const gn_aggregate *aggregate);
/* Can it be computed of parts of the rows, and the parts be put together? (query/operator.h) */
bool gn_aggregate_combines(const gn_aggregate *aggregate);
bool gn_aggregate_keeps_order(const gn_aggregate *aggregate); /* its result depends on the order of the rows */

#endif
