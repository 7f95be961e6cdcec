/* The run of one plan: operators over a transaction, with parameters. All memory is of the run's arena and account. */
#ifndef GN_COORD_EXEC_PRIVATE_H
#define GN_COORD_EXEC_PRIVATE_H

#include "coord/table_info_private.h"

/* What EXPLAIN asks after a run; NULL where there is no such operator. */
typedef struct gn_exec_operators {
    gn_operator *source, *filter, *late_filter, *aggregate, *having, *window, *sort, *distinct, *limit, *project;
    gn_operator *loops[GN_MAX_FROM_ITEMS];
} gn_exec_operators;

/* Rows kept until they may be sent: RETURNING. */
typedef struct gn_result_rows {
    struct gn_result_chunk *first, *last;
    uint64_t n;
} gn_result_rows;

struct gn_result_chunk {
    struct gn_result_chunk *next;
    gn_batch batch;
};

/* The beginning of a query over a table that is spread: what is done where its rows are (push.c). */
typedef struct gn_push {
    const gn_path *path;         /* of whose scan; NULL: nothing is done there */
    const gn_fragment *fragment; /* NULL: only that the scan is one for all ranges */
    bool filters, groups, sorts, limits;
} gn_push;

typedef struct gn_exec {
    gn_cluster *cluster;
    gn_dtxn *txn;
    const gn_plan *plan;
    gn_arena *arena;
    gn_account *account;
    gn_eval eval;     /* eval.arena is `arena` */
    gn_value *params; /* the statement's, then room for two rows of the table */
    uint32_t ef_search;
    bool ef_search_given;
    float target_recall;
    bool vector_exact;
    bool timed;
    uint64_t wanted; /* of a query in FROM: so many rows will probably be asked for; 0: unknown */
    gn_operator *root;
    gn_push push;
    gn_exec_operators operators;
    gn_arena *scratch; /* of one row at a time */
    uint64_t n_rows;   /* written */
    gn_result_rows results;
} gn_exec;

typedef struct gn_exec_context {
    gn_cluster *cluster;
    gn_dtxn *txn;
    gn_account *account;
    const gn_format *format;
    const _Atomic bool *cancel;
    void *session;
    const struct gn_session_hooks *hooks;
    uint32_t ef_search;
    bool ef_search_given; /* else the index's own, if it has one */
    float target_recall;
    bool vector_exact;
    bool timed;
} gn_exec_context;

/* params: n_params of the plan's types; they must live as long as the run. The arena is the caller's. */
gn_code gn_exec_init(gn_exec *x, const gn_exec_context *context, const gn_plan *plan, const gn_value *params,
                     gn_arena *arena, gn_error *err);
void gn_exec_close(gn_exec *x);
/* A query: builds x->root, to be pulled. */
gn_code gn_exec_open_query(gn_exec *x, const gn_query *q, gn_error *err);
/* INSERT, UPDATE, DELETE, to the end; rows of RETURNING are kept in x->results. */
gn_code gn_exec_write(gn_exec *x, gn_error *err);

/* ---- between the executor's files ---- */

gn_code gn_exec_value(gn_exec *x, const gn_expr *e, gn_value *out, gn_error *err);
/* A bigint that may be absent, NULL or (an error) negative. */
gn_code gn_exec_count(gn_exec *x, const gn_expr *e, gn_code negative, const char *what, uint64_t absent, uint64_t *out,
                      gn_error *err);
/* Decides what is done where the rows are, before the source is made. keep: so many rows are wanted of the order, or of
 * all if there is none; UINT64_MAX: all. writes: the rows are to be changed, so they come whole, with their keys. */
gn_code gn_exec_push(gn_exec *x, const gn_query *q, uint64_t keep, bool writes, gn_error *err);
gn_code gn_exec_bounds(gn_exec *x, const gn_query *q, uint64_t *limit, uint64_t *offset, gn_error *err);
/* How many rows the order must keep: past the limit nothing is asked for. */
uint64_t gn_exec_kept(const gn_query *q, uint64_t limit, uint64_t offset);
gn_code gn_exec_source(gn_exec *x, const gn_path *path, bool with_keys, uint64_t limit_hint, gn_operator **out,
                       gn_error *err);
/* with_keys: the batches have one column more, a bytea: the encoded primary key. */
gn_code gn_scan_source(gn_exec *x, const gn_path *path, bool with_keys, uint64_t limit_hint, gn_operator **out,
                       gn_error *err);
/* The ranges of a scan's path, in the arena; *fits false: they are more than `most`, or too long for keys. */
gn_code gn_scan_ranges(gn_exec *x, const gn_path *path, uint32_t most, gn_arena *arena, const gn_key_range **out,
                       uint32_t *n, bool *fits, gn_error *err);
/* Columns of NULLs, for those that stay where the rows are. */
gn_code gn_exec_null_batch(gn_exec *x, const gn_type *types, uint32_t n, gn_batch *out, gn_error *err);
/* Queries in FROM: exec_from.c. On failure `left` is still the caller's. */
gn_code gn_query_source(gn_exec *x, const gn_path *path, uint64_t limit_hint, gn_operator **out, gn_error *err);
const gn_exec *gn_query_source_exec(const gn_operator *op);
gn_code gn_op_loop(gn_exec *x, gn_operator *left, const gn_lateral *item, gn_operator **out, gn_error *err);
gn_code gn_unnest_source(gn_exec *x, const gn_path *path, gn_operator **out, gn_error *err);
gn_code gn_vector_source(gn_exec *x, const gn_path *path, uint64_t limit_hint, gn_operator **out, gn_error *err);
/* Statistics of a vector source, for EXPLAIN ANALYZE. */
void gn_vector_source_stats(const gn_operator *op, gn_vector_scan_stats *out);

/* ---- rows to be written: row.c ---- */

/* A row whose columns are there: checks NOT NULL and CHECK, and adds what is computed. */
gn_code gn_row_finish(const gn_table_info *info, gn_value *values, const gn_eval *eval, gn_error *err);
/* The default of a column: its identity's next value, its expression, or NULL. */
gn_code gn_row_default(gn_cluster *cluster, const gn_table_info *info, uint32_t ordinal, const gn_eval *eval,
                       gn_value *out, gn_error *err);
void gn_row_detail(const gn_table_desc *table, const gn_value *values, const gn_format *format, gn_error *err);
/* Names table, column, constraint (each may be NULL) in the error's fields. */
void gn_error_object(gn_error *err, const char *table, const char *column, const char *constraint);

#endif
