/* How functions are described to the resolver and called by the evaluator. Each function_*.c exports one table; the
 * tables are gathered in function_table.c. */
#ifndef GN_QUERY_FUNCTION_PRIVATE_H
#define GN_QUERY_FUNCTION_PRIVATE_H

#include "base/assert.h"
#include "query/function.h"

/* Pseudo-types of the tables, as PostgreSQL's. A resolved call never has them. */
enum {
    GN_T_ANY = GN_T_COUNT,   /* whatever it is; an unknown literal becomes text */
    GN_T_ANYELEMENT,         /* one type for all occurrences */
    GN_T_ANYNONARRAY,        /* as anyelement, no array */
    GN_T_ANYARRAY,           /* array of anyelement */
    GN_T_ANYCOMPATIBLE,      /* arguments are cast to their common type */
    GN_T_ANYCOMPATIBLEARRAY, /* array of anycompatible */
};

enum { GN_FUNCTION_ARGS = 7, GN_CALL_ARGS = 100 };

enum {
    GN_F_NULLS = 1,    /* called for NULL arguments too (not strict) */
    GN_F_SET = 4,      /* returns a set of the items of its array; only in FROM */
    GN_F_VARIADIC = 2, /* the last argument type may occur any number of times more */
};

/* One call over some rows of a batch. */
typedef struct gn_call {
    const gn_function *function;
    const gn_eval *eval;
    const gn_column *args;
    uint32_t n_args;
    gn_type result;
    const uint16_t
        *rows; /* the rows to compute, ascending; NULL: 0 .. n-1. Strict functions: none has a NULL argument */
    uint32_t n;
} gn_call;

/* Over all rows of the call; `out` has memory for them, and no nulls but those of a strict function. */
typedef gn_code (*gn_batch_kernel)(const gn_call *call, gn_column *out);
/* One row. out: type is set, not NULL; bytes go to eval->arena or alias an argument. */
typedef gn_code (*gn_row_kernel)(const gn_call *call, const gn_value *args, gn_value *out);

struct gn_function {
    const char *name;
    gn_type result;
    uint8_t n_args;
    uint8_t volatility;
    uint8_t flags;
    uint8_t op; /* the kernel's own: which comparison, which field */
    gn_type args[GN_FUNCTION_ARGS];
    gn_batch_kernel batch; /* one of the two */
    gn_row_kernel row;
};

/* Shorthand of the tables. */
#define GN_TY(name)                                        \
    {                                                      \
        .id = GN_T_##name, .is_array = false, .typmod = -1 \
    }
#define GN_AR(name)                                       \
    {                                                     \
        .id = GN_T_##name, .is_array = true, .typmod = -1 \
    }

typedef struct gn_function_list {
    const gn_function *functions;
    uint32_t n;
} gn_function_list;

extern const gn_function_list gn_functions_compare, gn_functions_math, gn_functions_numeric, gn_functions_vector,
    gn_functions_sparse, gn_functions_bit, gn_functions_text, gn_functions_format, gn_functions_format_number,
    gn_functions_pattern, gn_functions_datetime, gn_functions_fields, gn_functions_json, gn_functions_json_build,
    gn_functions_array, gn_functions_session, gn_functions_set;

/* All functions of this name, contiguous in the returned array. */
const gn_function *const *gn_functions_named(gn_bytes name, uint32_t *n);

/* Runs a kernel over n_rows rows (or the n of `rows`), with the rule for NULLs. `out` gets memory in eval->arena. */
gn_code gn_function_call(const gn_function *f, gn_type result, const gn_eval *eval, const gn_column *args,
                         uint32_t n_args, uint32_t n_rows, const uint16_t *rows, uint32_t n, gn_column *out);

/* Fresh memory for a column of n_rows rows. */
gn_code gn_column_create(gn_type type, uint32_t n_rows, const gn_eval *eval, gn_column *out);

/* For loops that a user can make long: GN_CANCELED once the statement is to end. */
gn_code gn_eval_cancelled(const gn_eval *eval);

/* arena memory or GN_OUT_OF_MEMORY in eval->err (NULL is returned) */
void *gn_eval_alloc(const gn_eval *eval, size_t size);
gn_code gn_eval_oom(const gn_eval *eval);
/* Empty bytes may have no address; kernels add offsets to it and copy from it, which C allows of an address alone. */
static inline gn_bytes gn_bytes_placed(gn_bytes bytes)
{
    return bytes.data ? bytes : gn_bytes_of("", 0);
}

/* A run of bytes for a result; GN_MAX_FIELD is checked. */
gn_code gn_eval_bytes(const gn_eval *eval, size_t len, uint8_t **out);
gn_code gn_eval_copy(const gn_eval *eval, gn_bytes bytes, gn_value *out);

/* Type rules that resolver, aggregates and common types share. */
bool gn_type_preferred(gn_type t);
bool gn_type_coercible(gn_type from, gn_type to); /* implicitly; UNKNOWN goes anywhere, pseudo-types accept */

/* Chooses among signatures of n arguments; used for functions and aggregates alike. */
typedef struct gn_signature {
    const gn_type *args;
    uint32_t n_args;
    bool variadic;
    const void *what;
} gn_signature;
typedef enum gn_choice { GN_CHOICE_ONE, GN_CHOICE_NONE, GN_CHOICE_MANY } gn_choice;
/* Reorders and shortens the candidates; the chosen is candidates[0]. */
gn_choice gn_signature_choose(gn_signature *candidates, uint32_t n_candidates, const gn_type *args, uint32_t n);
/* Settles pseudo-types: what each argument is cast to, and the result. */
gn_code gn_signature_settle(const gn_signature *chosen, gn_type declared_result, const gn_type *args, uint32_t n,
                            gn_type *arg_types, gn_type *result, gn_error *err);
gn_code gn_no_function(gn_bytes name, bool is_operator, const gn_type *args, uint32_t n, gn_choice why, gn_error *err);

/* GN_NO_FUNCTION for items that have no order: json. */
gn_code gn_check_comparable(const gn_eval *eval, gn_type array, bool equality);

/* The loop of a batch kernel: a dense form that the compiler can vectorise and one over chosen rows. `statement` sees
 * the row number as i. */
#define GN_EACH_ROW(call, i, statement)                      \
    do {                                                     \
        if (!(call)->rows)                                   \
            for (uint32_t i = 0; i < (call)->n; i++) {       \
                statement;                                   \
            }                                                \
        else                                                 \
            for (uint32_t at_ = 0; at_ < (call)->n; at_++) { \
                uint32_t i = (call)->rows[at_];              \
                statement;                                   \
            }                                                \
    } while (0)

#endif
