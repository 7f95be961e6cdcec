/* What the operators share: their common head, and the store for rows that outlive their batch. */
#ifndef GN_QUERY_OPERATOR_PRIVATE_H
#define GN_QUERY_OPERATOR_PRIVATE_H

#include "base/assert.h"
#include "query/operator.h"

/* The evaluation context of one operator's call: the statement's, with the operator's arena and error. */
static inline gn_eval gn_operator_eval(const gn_operator *op, gn_arena *arena, gn_error *err)
{
    gn_eval eval = *op->eval;
    eval.arena = arena;
    eval.err = err;
    return eval;
}

static inline bool gn_operator_canceled(const gn_operator *op)
{
    return op->eval->cancel && *op->eval->cancel;
}
gn_code gn_operator_cancel_error(gn_error *err);

/* A batch of `columns` at the chosen rows, in the arena; bytes are borrowed from the source. */
gn_code gn_batch_gather(const gn_column *columns, uint32_t n_columns, const uint16_t *rows, uint32_t n,
                        const gn_eval *eval, gn_batch *out);

/* ---- rows kept in memory ---- Chunks of columns, deep copies, charged to the arena's account. A row's number is its
 * place in order of arrival; rows are never removed. */
typedef struct gn_row_store {
    gn_arena *arena;
    uint32_t n_columns;
    gn_type *types;
    gn_column **chunks; /* each n_columns columns of GN_BATCH_ROWS rows */
    uint32_t n_chunks, cap_chunks;
    uint64_t n_rows;
} gn_row_store;

/* types are copied. Never fails. The arena is the caller's. */
void gn_row_store_init(gn_row_store *store, gn_arena *arena, const gn_type *types, uint32_t n_columns);
/* The memory of chunks goes with the arena; this frees the rest. */
void gn_row_store_close(gn_row_store *store);
/* Appends one row; its number is store->n_rows before. */
gn_code gn_row_store_append(gn_row_store *store, const gn_column *columns, uint32_t row, gn_error *err);

static inline const gn_column *gn_row_store_column(const gn_row_store *store, uint64_t row, uint32_t column)
{
    return &store->chunks[row / GN_BATCH_ROWS][column];
}
static inline uint32_t gn_row_store_place(uint64_t row)
{
    return (uint32_t)(row % GN_BATCH_ROWS);
}
/* Rows numbers[0..n) as a batch: columns [first, first + n_columns) */
gn_code gn_row_store_gather(const gn_row_store *store, uint32_t first, uint32_t n_columns, const uint64_t *numbers,
                            uint32_t n, const gn_eval *eval, gn_batch *out);

/* ---- hashing of rows ---- */

/* hashes[i] for i < n_rows over all columns; NULL equals NULL. */
void gn_hash_rows(const gn_column *columns, uint32_t n_columns, uint32_t n_rows, uint64_t *hashes);

/* A set of rows of a store, by value of its columns. */
typedef struct gn_row_set {
    gn_row_store store;
    gn_account *account;
    struct gn_row_slot *slots;
    uint64_t n_slots; /* a power of two, or 0 */
} gn_row_set;

void gn_row_set_init(gn_row_set *set, gn_account *account, gn_arena *arena, const gn_type *types, uint32_t n_columns);
void gn_row_set_close(gn_row_set *set);
/* Finds the row or adds it: *number is its number in the store, *added whether it is new. */
gn_code gn_row_set_put(gn_row_set *set, const gn_column *columns, uint32_t row, uint64_t hash, uint64_t *number,
                       bool *added, gn_error *err);

bool gn_cells_equal(const gn_column *a, uint32_t row_a, const gn_column *b, uint32_t row_b); /* NULL equals NULL */

#endif
