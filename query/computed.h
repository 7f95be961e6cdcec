/* Computed columns: what indexes on expressions are over, and the conditions of partial indexes. Every replica computes
 * them from the row when it is read, so they must be the same everywhere and for ever: only immutable functions occur,
 * of which none is about the session (the binder sees to it).
 *
 * Stored as a version (1 byte) and an expression (query/expr_pack.h) over the ordinals of the table's columns, none of
 * them computed. Ordinals last: a dropped column keeps its place. */
#ifndef GN_QUERY_COMPUTED_H
#define GN_QUERY_COMPUTED_H

#include "query/expr.h"
#include "query/schema.h"

typedef struct gn_computed {
    const gn_expr *expr;    /* over columns, to be compared with those of queries, and shown */
    const gn_expr *program; /* over parameters: one row's values, by ordinal */
    uint32_t *inputs;       /* ordinals, ascending */
    uint32_t n_inputs;
    uint32_t n_values; /* enough of a row's values to compute it */
} gn_computed;

/* A settled expression without parameters. False: it is too large. */
bool gn_computed_pack(const gn_expr *expr, gn_buf *out);
/* What desc->columns[ordinal].packed says. All is the arena's. GN_CORRUPT. */
gn_code gn_computed_open(const gn_table_desc *desc, uint32_t ordinal, gn_arena *arena, const gn_computed **out,
                         gn_error *err);
/* Its value for a row: values[0..n_values) by ordinal, of which only the inputs are looked at. Errors are those of the
 * functions. It may point into values. */
gn_code gn_computed_value(const gn_computed *computed, const gn_value *values, gn_arena *arena, gn_value *out,
                          gn_error *err);
/* What the index needs of a row: computes into values. Where it is partial and has not the row, only its condition is
 * computed, and the rest may be anything. */
gn_code gn_index_compute(const gn_table_desc *desc, const gn_index_desc *index, gn_value *values, gn_arena *arena,
                         gn_error *err);
bool gn_computed_uses(const gn_computed *computed, uint32_t ordinal);

#endif
