/* What is done with rows where they lie, before they travel: a filter, then either the beginning of an aggregation, or
 * an order of which the first rows are kept, or a limit, and a choice of columns. What comes out is less than what went
 * in, and the rest of the query goes on from there:
 *
 *   filter -> states of aggregates for each group of rows             then gn_op_aggregate_combine
 *   filter -> the first `keep` rows in an order                       then the same sort over what all have given
 *   filter -> at most `keep` rows
 *
 * Expressions are settled (query/expr_pack.h). As bytes:
 *
 *   version (1)  flags (1)  format  [filter]  keys  calls  sort  keep (8)  columns        counts: 2 bytes; big endian
 *
 * Results are those of doing all of it in one place, with one exception: float sums (and averages, variances) add up in
 * another order, so their last digits may differ. */
#ifndef GN_QUERY_FRAGMENT_H
#define GN_QUERY_FRAGMENT_H

#include "query/operator.h"

enum { GN_FRAGMENT_BYTES = 1 << 20 /* at most, packed: what is larger stays where it is */ };

typedef struct gn_fragment {
    const gn_type *types; /* of the rows that come in */
    uint32_t n_types;
    gn_format format; /* the session's */
    const gn_expr *filter;
    bool grouped;
    gn_expr **keys;
    uint32_t n_keys;
    gn_aggregate_call *calls;
    uint32_t n_calls;
    gn_sort_key *sort; /* not with `grouped`, nor what follows */
    uint32_t n_sort;
    uint64_t keep;     /* UINT64_MAX: all */
    uint32_t *columns; /* of those that come in, ascending: what comes out */
    uint32_t n_columns;
    gn_type *out_types; /* of what comes out, by gn_fragment_finish */
    uint32_t n_out;
} gn_fragment;

/* Sets what follows from the rest. GN_OUT_OF_MEMORY. */
gn_code gn_fragment_finish(gn_fragment *fragment, gn_arena *arena, gn_error *err);
/* False: it is too large. */
bool gn_fragment_pack(const gn_fragment *fragment, gn_buf *out);
/* From anybody: GN_CORRUPT, GN_LIMIT. types: of the rows that come in. Nothing points into the bytes. */
gn_code gn_fragment_unpack(gn_bytes bytes, const gn_type *types, uint32_t n_types, gn_arena *arena, gn_fragment *out,
                           gn_error *err);

/* The operators on top of one that gives the rows; it is theirs from here on. keyed: it has one column more, the last,
 * which comes out last as well; not of an aggregation. What they are given must outlive them. arena: for what they
 * need all the time. NULL: no memory. */
gn_operator *gn_fragment_operators(const gn_fragment *fragment, const gn_eval *eval, gn_account *account,
                                   gn_operator *source, bool keyed, gn_arena *arena);

#endif
