/* The binder: names, types and casts, as PostgreSQL resolves them (documentation, chapter 10). It turns syntax trees
 * into query/expr.h trees; positions in errors are those of the syntax tree. */
#ifndef GN_COORD_BIND_PRIVATE_H
#define GN_COORD_BIND_PRIVATE_H

#include "base/memory.h"
#include "coord/ast.h"
#include "query/operator.h"
#include "query/schema.h"

/* Where an expression stands: names the clause in errors, and says what may occur in it. */
typedef enum gn_clause {
    GN_IN_SELECT,
    GN_IN_WHERE,
    GN_IN_GROUP_BY,
    GN_IN_DISTINCT_ON,
    GN_IN_JOIN,
    GN_IN_HAVING,
    GN_IN_ORDER_BY,
    GN_IN_LIMIT,
    GN_IN_OFFSET,
    GN_IN_VALUES,
    GN_IN_UPDATE,
    GN_IN_RETURNING,
    GN_IN_DEFAULT,
    GN_IN_CHECK,
    GN_IN_FROM,
    GN_IN_EXECUTE,
    GN_IN_COPY_WHERE,
    GN_IN_INDEX_EXPRESSION,
    GN_IN_INDEX_PREDICATE,
} gn_clause;

/* What columns may be named: a table, or a row with names and types of its own (a function in FROM). */
typedef struct gn_relation {
    const char *name;           /* the alias, or the table's name */
    const gn_table_desc *table; /* NULL: names and types below */
    uint32_t n_columns;
    const char *const *names; /* overrides the table's names where not NULL */
    const gn_type *types;
    /* Columns of a scan become GN_E_COLUMN; those of a row at hand (RETURNING, CHECK, ON CONFLICT) become parameters
     * beyond the statement's own, so that they can be evaluated for one row without a batch. */
    bool as_params;
    uint32_t base;       /* of as_params: added to the ordinal and the binder's n_params */
    bool qualified_only; /* `excluded`: never found by an unqualified name */
    bool appended;       /* not of the path, but of a later item of FROM: its columns begin at `base` of those */
} gn_relation;

enum { GN_MAX_FROM_ITEMS = 16, GN_MAX_FROM_NESTING = 16 };

typedef struct gn_bound_aggregate {
    const char *name;
    gn_aggregate_call call;
    gn_expr **args;
} gn_bound_aggregate;

struct gn_lateral;

typedef struct gn_binder {
    gn_arena *arena;
    gn_error *err;
    const gn_format *format;
    gn_clause clause;
    bool stored; /* text from the catalog: its positions mean nothing to the user */

    gn_relation relations[GN_MAX_FROM_ITEMS];
    uint32_t n_relations;

    /* A query in FROM: the one that it stands in, and what carries that one's columns into it. NULL: the outermost. */
    struct gn_binder *outer;
    struct gn_lateral *lateral; /* NULL: the columns beside it are not seen, those further out are */
    bool by_nearness;           /* see gn_query */
    uint32_t nesting;
    /* Parameters beyond the statement's own, which hold columns of a row further out (gn_lateral); they begin behind
     * slot_base others. */
    uint32_t n_slots, slot_base;
    const gn_table_desc **tables; /* that are read */
    uint32_t n_tables, cap_tables;

    gn_type *params; /* GN_T_UNKNOWN until settled */
    uint32_t n_params;
    gn_expr **param_nodes; /* all of them, to settle those bound before their type was known */
    uint32_t n_param_nodes, cap_param_nodes;

    gn_expr **columns; /* every GN_E_COLUMN of a scan: their ordinals are rewritten when the scan's output is settled */
    uint32_t n_columns, cap_columns;

    gn_bound_aggregate *aggregates;
    uint32_t n_aggregates, cap_aggregates;
    gn_expr **aggregate_refs; /* every reference to one: numbered when the group keys are settled */
    uint32_t n_aggregate_refs, cap_aggregate_refs;
    bool in_aggregate;

    gn_window_call *windows;
    uint32_t n_windows, cap_windows;
    gn_expr **window_refs; /* numbered when it is known how many columns come before them */
    uint32_t n_window_refs, cap_window_refs;
    bool in_window, in_window_definition;
    bool keep_unknown; /* targets stay unknown: INSERT ... SELECT casts them to its columns */
} gn_binder;

/* Marks in a GN_E_COLUMN while a query is being bound. AGGREGATE_REF: not a column of the scan, but an aggregate before
 * the tree is rewritten over its output. KEEP_ORDINAL: not to be renumbered. APPENDED: of those behind the path's.
 * WINDOW_REF: the number of a window function. */
enum { GN_NO_PATH_COLUMN = 0x58000000u /* AGGREGATE_REF | APPENDED | WINDOW_REF */ };
enum { GN_AGGREGATE_REF = 1u << 30, GN_KEEP_ORDINAL = 1u << 29, GN_APPENDED = 1u << 28, GN_WINDOW_REF = 1u << 27 };

/* Sets n_params parameters, with the types given so far (0..n_given; GN_T_NONE or UNKNOWN = to be inferred). */
gn_code gn_binder_init(gn_binder *b, gn_arena *arena, const gn_format *format, uint32_t n_params, const gn_type *given,
                       uint32_t n_given, gn_error *err);
/* Settles late parameters; GN_INDETERMINATE_TYPE for one that nothing determines. */
gn_code gn_binder_finish(gn_binder *b);

/* The result may still be of type unknown (a literal or parameter). */
gn_code gn_bind_expr(gn_binder *b, const gn_ast_expr *ast, gn_expr **out);
/* Bound and no longer unknown: what nothing determines is text. */
gn_code gn_bind_known(gn_binder *b, const gn_ast_expr *ast, gn_expr **out);
/* Bound, and cast to `to` by an implicit cast; `what` names it in the error: "argument of %s must be type ...". */
gn_code gn_bind_as(gn_binder *b, const gn_ast_expr *ast, gn_type to, const char *what, gn_expr **out);
/* Casts all to their common type. `what` begins the message "CASE types integer and text cannot be matched". */
gn_code gn_bind_common_type(gn_binder *b, gn_expr **items, uint32_t n, const char *what, gn_type *common);
gn_code gn_bind_boolean(gn_binder *b, const gn_ast_expr *ast, const char *what, gn_expr **out);

bool gn_can_coerce(const gn_expr *e, gn_type to, gn_cast_context context);
/* GN_CANNOT_COERCE when there is no such cast. */
gn_code gn_coerce(gn_binder *b, gn_expr *e, gn_type to, gn_cast_context context, gn_expr **out);
gn_code gn_coerce_unknown_to_text(gn_binder *b, gn_expr **e);

gn_code gn_bind_type(gn_arena *arena, const gn_ast_type *ast, gn_type *out, gn_error *err);

gn_code gn_bind_call(gn_binder *b, const gn_ast_expr *ast, gn_expr **out);
/* name(args) or an operator, over bound arguments. */
gn_code gn_bind_function(gn_binder *b, const char *name, bool is_operator, gn_expr **args, uint32_t n, int position,
                         gn_expr **out);

/* name(args) OVER (...). bind_window.c */
gn_code gn_bind_window(gn_binder *b, const gn_ast_expr *ast, gn_expr **out);
bool gn_is_window_name(const char *name);
const char *gn_window_name(gn_window_kind kind);
/* Replaces each expression of the call by what `map` makes of it. */
gn_code gn_window_map(gn_window_call *call, gn_code (*map)(void *ctx, gn_expr *e, gn_expr **out), void *ctx);

/* Appends to one of the binder's lists of nodes. */
gn_code gn_bind_remember(gn_binder *b, gn_expr ***list, uint32_t *n, uint32_t *capacity, gn_expr *node);
/* Where the expression begins in the text: PostgreSQL's exprLocation, for errors about a whole expression. */
int gn_expr_start(const gn_expr *e);
gn_code gn_bind_node(gn_binder *b, gn_expr_kind kind, gn_type type, int position, uint32_t n_args, gn_expr **out);
gn_code gn_bind_const(gn_binder *b, const gn_value *value, int position, gn_expr **out);
gn_code gn_bind_fail(gn_binder *b, int position, gn_code code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
gn_code gn_bind_no_table(gn_binder *b, const char *table, int position);
gn_code gn_bind_unsupported(gn_binder *b, int position, const char *what, const char *hint);
const char *gn_clause_name(gn_clause clause);
const char *gn_clause_without_aggregates(gn_clause clause); /* how its refusal names it; NULL: may have them */

/* Column `ordinal` of relation `r` as an expression. */
gn_code gn_bind_column_of(gn_binder *b, const gn_relation *r, uint32_t ordinal, int position, gn_expr **out);
/* The same of a relation of scope->outer, as a parameter of scope's item. bind_from.c */
gn_code gn_bind_slot(gn_binder *b, gn_binder *scope, const gn_relation *r, uint32_t ordinal, int position,
                     gn_expr **out);
gn_type gn_relation_type(const gn_relation *r, uint32_t ordinal);
const char *gn_relation_column(const gn_relation *r, uint32_t ordinal); /* NULL: SQL does not see it */
/* Is there a column of the name, wherever? */
bool gn_bind_has_column(const gn_binder *b, const char *name);

/* PostgreSQL's FigureColname: leaves *name alone, and returns 0, where the expression suggests none. */
int gn_figure_name(const gn_ast_expr *e, const char **name);
/* "type integer" spelled for messages; static buffers rotate, so that one message may name four. */
const char *gn_type_text(gn_type t);

#endif
