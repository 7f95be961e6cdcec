/* Expressions as bytes, to be computed on another node: what the rows there are asked for travels to them.
 *
 *   expression  kind (1)  type (1)  flags (1)  modifier (4)  position (4)  what the kind needs  arguments (4) argument*
 *
 * Big endian. Functions go by name and are resolved anew from the types of their arguments, so that no number of theirs
 * has to be kept for ever. What was read is checked as if it came from an enemy: every kind's arguments have the types
 * that the evaluator relies on. */
#ifndef GN_QUERY_EXPR_PACK_H
#define GN_QUERY_EXPR_PACK_H

#include "query/expr.h"

enum { GN_PACKED_NODES = 131072 /* in all expressions that are read by one gn_unpack_expr's limits */ };

/* A copy for another place: parameters and whatever does not change between rows are values in it (an error in
 * computing one is left for the rows). *out NULL: it has to be computed here, being volatile, about the session, or of
 * a kind that does not travel. GN_OUT_OF_MEMORY, GN_CANCELED. */
gn_code gn_expr_settle(const gn_expr *expr, const gn_eval *eval, gn_expr **out);

/* A settled one. */
void gn_expr_pack(const gn_expr *expr, gn_buf *out);

typedef struct gn_expr_source {
    gn_reader in;
    const gn_type *columns; /* of the rows that it will be computed for */
    uint32_t n_columns;
    uint32_t n_nodes; /* read so far */
    gn_arena *arena;
    gn_error *err;
} gn_expr_source;
/* GN_CORRUPT; GN_LIMIT. */
gn_code gn_expr_unpack(gn_expr_source *source, gn_expr **out);

#endif
