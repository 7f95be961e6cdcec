/* Plans: what the binder and planner make of a statement, immutable and reusable until a table of theirs changes. All
 * memory is the plan's arena.
 *
 *   path -> filter -> [loops -> late filter] -> [aggregate -> having] -> [window] -> sort -> project -> distinct ->
 * limit
 *
 * where sort comes after project (over the projected columns) when DISTINCT or a volatile sort key asks for it. The
 * distinct of DISTINCT ON comes after the sort. */
#ifndef GN_COORD_PLAN_PRIVATE_H
#define GN_COORD_PLAN_PRIVATE_H

#include "base/limits.h"
#include "cluster/dtxn.h"
#include "coord/bind_private.h"
#include "coord/session.h"
#include "index/distance.h"

typedef enum gn_path_kind {
    GN_PATH_ROW,    /* no FROM: one row without columns */
    GN_PATH_VALUES, /* VALUES (...), (...) */
    GN_PATH_SERIES, /* generate_series in FROM */
    GN_PATH_UNNEST, /* other functions in FROM: arrays side by side */
    GN_PATH_SCAN,   /* a table, by its primary key or a btree index */
    GN_PATH_VECTOR, /* a table, in order of distance by a vector index */
    GN_PATH_QUERY,  /* a query in FROM */
    GN_PATH_EMPTY,  /* the condition is never true */
} gn_path_kind;

struct gn_exec;
struct gn_array_builder;

/* What one key column is equal to. */
typedef struct gn_path_part {
    gn_expr **values; /* several: IN */
    uint32_t n;
    bool is_array; /* values[0] is an array: = ANY */
    bool is_null;  /* IS NULL */
} gn_path_part;

typedef struct gn_path {
    gn_path_kind kind;
    const gn_table_desc *table;
    const gn_index_desc *index; /* NULL: the primary key */
    gn_path_part parts[GN_MAX_INDEX_COLUMNS];
    uint32_t n_parts;
    gn_expr *lo, *hi; /* bounds on the column after the parts */
    bool lo_inclusive, hi_inclusive;
    bool reverse;
    bool ordered; /* the rows' order matters */
    bool unique;  /* at most one row for each choice of values */
    const gn_sort_key
        *by; /* of an index over several groups, if `ordered`: by what these are merged; constants do not count */
    uint32_t n_by;

    const uint32_t *ordinals; /* of the table's columns: what the scan gives */
    uint32_t n_ordinals;
    const gn_type *types; /* of its output columns; with the distance last for vectors */
    uint32_t n_types;

    gn_expr *query;  /* vector: what to search for */
    gn_expr *radius; /* vector: nothing farther away is wanted; NULL: no bound */
    /* vector: paths each of which leads to all rows that match, that to the fewest first */
    const struct gn_path *within[GN_VECTOR_MOST_BOUNDS];
    uint32_t n_within;
    bool within_whole;       /* and rows that are on all of them match */
    gn_expr *order;          /* vector: the whole distance expression */
    uint32_t vector_ordinal; /* the table's column that it is about */

    struct gn_query *sub; /* QUERY */
    bool ordinality;      /* SERIES, UNNEST: one column more, the row's number */
    gn_expr *series[3];
    gn_expr **arrays; /* UNNEST: one a column; with `fill` its arguments */
    uint32_t n_arrays;
    const char *function; /* UNNEST: as it was called */
    /* UNNEST: adds what all columns hold, when the function is one that computes them together. */
    gn_code (*fill)(struct gn_exec *x, const struct gn_path *path, struct gn_array_builder *columns, gn_error *err);
    gn_expr ***rows; /* VALUES */
    uint32_t n_rows;

    gn_expr **conditions; /* that the path fulfils: for EXPLAIN */
    uint32_t n_conditions;
    double rows_estimate; /* of what comes out of the path, before the filter */
    double cost;
} gn_path;

/* An item of FROM after the first: a query that is run for each row of what stands before it. What it names of that row
 * are parameters, its slots. */
typedef struct gn_lateral {
    struct gn_query *sub;
    const char *name;
    bool left;      /* LEFT JOIN ... ON true: a row without a partner comes with NULLs */
    gn_expr **args; /* over the row */
    uint32_t *slots;
    uint32_t n_args, cap_args;
} gn_lateral;

typedef struct gn_query {
    gn_path path;
    gn_expr *filter; /* what the path does not fulfil, over its output */
    gn_lateral *laterals[GN_MAX_FROM_ITEMS];
    uint32_t n_laterals;
    uint32_t n_appended;  /* their columns, behind the path's */
    gn_expr *late_filter; /* what needs them */
    bool grouped;
    gn_expr **keys;
    uint32_t n_keys;
    gn_aggregate_call *calls;
    uint32_t n_calls;
    const char **call_names;
    gn_expr *having;
    gn_window_call *windows;
    uint32_t n_windows;
    gn_expr **targets; /* the visible ones first, then those that only the order needs */
    uint32_t n_targets, n_visible;
    gn_sort_key *sort;
    uint32_t n_sort;
    bool presorted;      /* the path gives the order */
    bool sort_projected; /* the keys are columns of the projection */
    bool distinct;
    const uint32_t *on; /* DISTINCT ON: these targets; NULL: all */
    uint32_t n_on;
    const uint32_t *sort_targets; /* which target each key is */
    /* Of DISTINCT ON (groups) ... ORDER BY groups, x, of which the query around it wants the first by x: the order is
     * by x alone, and the first of each group is the group's. So rows may come from an index until there are enough. */
    bool by_nearness;
    gn_expr *limit, *offset;
    gn_result_column *columns; /* n_visible */
    const char **path_names;   /* of the path's output columns and those appended: for EXPLAIN */
    double rows;               /* estimate of the result */
} gn_query;

typedef enum gn_plan_kind { GN_PLAN_QUERY, GN_PLAN_INSERT, GN_PLAN_UPDATE, GN_PLAN_DELETE } gn_plan_kind;

/* What is done with each column of a row to be written. */
typedef struct gn_assignment {
    uint32_t ordinal;
    gn_expr *value; /* NULL in an INSERT's list: DEFAULT */
} gn_assignment;

/* Expressions that belong to a table, bound once for each version of its descriptor: see table_info.c. */
typedef struct gn_table_info gn_table_info;

typedef struct gn_conflict {
    gn_ast_conflict action;
    const gn_index_desc *index; /* the arbiter; NULL: the primary key, if any_index is false */
    bool any_index;             /* no target written: every unique key */
    gn_assignment *set;
    uint32_t n_set;
    gn_expr *where;
} gn_conflict;

typedef struct gn_plan {
    uint32_t refs;
    gn_arena *arena;
    gn_plan_kind kind;
    const gn_table_desc *table;   /* retained; NULL: none */
    const gn_table_desc **tables; /* all that are read, retained */
    uint32_t n_tables, n_slots;
    gn_table_info *info; /* writes */
    uint32_t n_params;
    const gn_type *params;
    uint32_t plan_epoch; /* of the settings that it was made under */
    bool provisional;    /* made where definitions had been changed: their versions may come again */
    bool by_values;      /* one made for the parameters' values may be better: they decide about a partial index */
    gn_query *query;     /* SELECT; INSERT ... SELECT and VALUES; the rows that UPDATE and DELETE change */
    /* INSERT: position in the source row of each table column, -1 = its default */
    int32_t *source;
    gn_expr ***rows; /* INSERT ... VALUES: [row][table column], NULL = its default */
    uint32_t n_rows;
    gn_conflict conflict;
    /* UPDATE: values over the scan's output */
    gn_assignment *set;
    uint32_t n_set;
    /* RETURNING: over parameters beyond the statement's, one for each table column */
    gn_expr **returning;
    uint32_t n_returning;
    gn_result_column *columns; /* of the result: RETURNING's or the query's; NULL: none */
    uint32_t n_columns;
} gn_plan;

/* Where planning gets its facts from. */
typedef struct gn_plan_context {
    gn_dtxn *txn;
    gn_cluster *cluster;
    const gn_format *format;
    bool enable_indexscan, enable_seqscan;
    uint32_t plan_epoch;
    gn_account *account;
    struct gn_table_infos *infos;
    /* The parameters, where the plan is for these alone; NULL: for all. What is proved with them is not in the plan. */
    const gn_value *values;
    uint32_t n_values;
    bool *by_values; /* the plan's; gn_plan_create's */
} gn_plan_context;

/* SELECT, VALUES, INSERT, UPDATE, DELETE. types: of the parameters given by the client. */
gn_code gn_plan_create(const gn_plan_context *context, const gn_ast_statement *statement, const gn_type *types,
                       uint32_t n_types, gn_plan **out, gn_error *err);
gn_plan *gn_plan_retain(gn_plan *plan);
void gn_plan_release(gn_plan *plan); /* NULL is fine */
/* Are its table and settings still those that it was made for? */
bool gn_plan_valid(const gn_plan *plan, gn_dtxn *txn, uint32_t plan_epoch);

/* ---- between the binder's files ---- */

gn_code gn_bind_table(gn_binder *b, const gn_plan_context *context, const gn_ast_name *name, const gn_table_desc **out);
/* A function in FROM other than generate_series. bind_unnest.c */
/* What a search through the index keeps: the session's ef_search if it was given, else the index's own. */
static inline uint32_t gn_index_ef(const gn_index_desc *index, uint32_t ef_search, bool given)
{
    return given || !index->ef_search ? ef_search : index->ef_search;
}
const char *gn_metric_text(uint8_t metric); /* "l2", as EXPLAIN and statistics name it */
/* Functions in FROM about vector indexes: vector_view.c. Without parentheses: as a view. */
bool gn_is_vector_view(const char *function, bool parentheses);
gn_code gn_bind_vector_view(gn_binder *b, const gn_ast_from *from, const char *function, gn_query *q, gn_relation *r);
gn_code gn_bind_unnest(gn_binder *b, const gn_ast_from *from, gn_query *q, gn_relation *r);
void gn_bind_relation(gn_relation *r, const gn_table_desc *table, const char *alias);
gn_code gn_bind_query(gn_binder *b, const gn_plan_context *context, const gn_ast_query *ast, gn_query **out);
/* FROM: bind_from.c. *conditions: what INNER JOINs ask for beside WHERE; NULL: nothing. */
gn_code gn_bind_from(gn_binder *b, const gn_plan_context *context, const gn_ast_query *ast, gn_query *q,
                     gn_expr **conditions);
/* Binds the query of FROM's only item anew, so that it gives its groups by nearness, if the order and the limit of `q`
 * allow it. */
gn_code gn_bind_nearest_groups(gn_binder *b, const gn_plan_context *context, const gn_ast_query *ast, gn_query *q);
/* Columns before those of window functions. */
static inline uint32_t gn_query_inputs(const gn_query *q)
{
    return q->grouped ? q->n_keys + q->n_calls : q->path.n_types + q->n_appended;
}
/* Target lists, stars expanded: also RETURNING. */
gn_code gn_bind_targets(gn_binder *b, const gn_ast_targets *ast, gn_expr ***targets, gn_result_column **columns,
                        uint32_t *n);
/* Rewrites targets, having and sort keys over the output of the aggregate. */
gn_code gn_bind_grouping(gn_binder *b, gn_query *q);
gn_code gn_bind_insert(gn_binder *b, const gn_plan_context *context, const gn_ast_insert *ast, gn_plan *plan);
gn_code gn_bind_update(gn_binder *b, const gn_plan_context *context, const gn_ast_update *ast, gn_plan *plan);
gn_code gn_bind_delete(gn_binder *b, const gn_plan_context *context, const gn_ast_delete *ast, gn_plan *plan);

/* An expression of an index, or a partial one's condition (predicate): immutable, settled, over the table's ordinals.
 * ddl_computed.c */
gn_code gn_bind_computed(const gn_table_desc *table, const gn_ast_expr *ast, bool predicate, const gn_format *format,
                         gn_arena *arena, gn_expr **out, gn_error *err);
/* The ordinal of the computed column that is the expression; -1: there is none. */
int gn_computed_like(const gn_table_desc *table, const gn_expr *e);
/* Does a partial index's condition follow from these, all of which are true? plan_imply.c */
bool gn_conditions_imply(gn_expr *const *conditions, uint32_t n, const gn_expr *predicate, const gn_format *format,
                         gn_arena *arena);

/* Chooses the path for the table of a query; takes the conjuncts that it fulfils out of the filter. all_columns: the
 * scan gives every live column (UPDATE). */
gn_code gn_plan_path(gn_binder *b, const gn_plan_context *context, gn_query *q, gn_expr *where, bool all_columns);

#endif
