/* What the parser makes of SQL text. Plain data in the caller's arena; names are folded, NUL-terminated and at most
 * GN_MAX_NAME bytes; nothing is resolved yet.
 *
 * Positions are 1-based byte offsets in the text given to gn_parse; gn_sql_position (parser.h) turns one into the
 * character position that clients are told, once, when an error leaves. No tree is deeper than GN_MAX_NESTING. */
#ifndef GN_COORD_AST_H
#define GN_COORD_AST_H

#include "base/bytes.h"

/* A list in the arena. */
#define GN_AST_LIST(type)  \
    struct {               \
        type *items;       \
        uint32_t n;        \
        uint32_t capacity; \
    }

typedef struct gn_ast_expr gn_ast_expr;
typedef struct gn_ast_query gn_ast_query;
typedef struct gn_ast_statement gn_ast_statement;

/* schema NULL unless written. */
typedef struct gn_ast_name {
    const char *schema;
    const char *name;
    int position;
} gn_ast_name;

typedef GN_AST_LIST(gn_ast_expr *) gn_ast_exprs;
typedef GN_AST_LIST(gn_ast_name) gn_ast_names;

/* ---- types ---- */

/* As written: "int", "double precision", "timestamp with time zone", "character varying", "vector", ... Multi-word
 * spellings are joined by single blanks. serial and its kin are gone (see gn_ast_column_def.identity). */
typedef struct gn_ast_type {
    gn_ast_name name;
    uint32_t n_modifiers; /* numeric(10,2): 2 */
    int32_t modifiers[2];
    uint32_t array_dimensions; /* 0 = not an array; integer[3][] counts 2, the bounds mean nothing, as in PostgreSQL */
    int position;
} gn_ast_type;

typedef GN_AST_LIST(gn_ast_type *) gn_ast_types;

/* ---- expressions ---- */

typedef enum gn_ast_expr_kind {
    GN_A_NULL,
    GN_A_BOOLEAN,    /* boolean */
    GN_A_INTEGER,    /* integer; a minus sign before a literal is part of it */
    GN_A_NUMERIC,    /* text: "1.5", "-1e10", or an integer beyond bigint */
    GN_A_STRING,     /* text: an untyped literal. DATE '...' is a CAST of it */
    GN_A_PARAM,      /* parameter: n of $n; the n-th ? is $n */
    GN_A_COLUMN,     /* column.table (NULL = none), column.name */
    GN_A_STAR,       /* * or t.* in a target list: column.table */
    GN_A_DEFAULT,    /* only in VALUES of INSERT and in SET */
    GN_A_OPERATOR,   /* op, args: 1 = prefix, 2 = infix. LIKE is "~~", ILIKE "~~*", with "!" when negated; <> is "<>" */
    GN_A_AND,        /* args, n >= 2, flattened */
    GN_A_OR,         /* args, n >= 2, flattened */
    GN_A_NOT,        /* args[0] */
    GN_A_IS_NULL,    /* args[0]; negated: IS NOT NULL */
    GN_A_IS_TRUE,    /* args[0]; negated */
    GN_A_IS_FALSE,   /* args[0]; negated */
    GN_A_IS_UNKNOWN, /* args[0]; negated */
    GN_A_IS_DISTINCT, /* args[0] IS [NOT: negated] DISTINCT FROM args[1] */
    GN_A_BETWEEN,     /* args[0] BETWEEN args[1] AND args[2]; negated, symmetric */
    GN_A_IN,          /* args[0] IN (args[1..]); negated */
    GN_A_IN_QUERY,    /* args[0] IN (query); negated */
    GN_A_ANY,         /* args[0] op ANY (args[1], an array) */
    GN_A_ALL,         /* args[0] op ALL (args[1], an array) */
    GN_A_ANY_QUERY,   /* args[0] op ANY (query) */
    GN_A_ALL_QUERY,
    GN_A_CASE, /* args: when, then, when, then, ...; operand (NULL = searched); otherwise (NULL = none) */
    GN_A_COALESCE,
    GN_A_NULLIF,
    GN_A_GREATEST,
    GN_A_LEAST,
    GN_A_CAST,      /* args[0] to type */
    GN_A_CALL,      /* call, args. Also current_date, current_timestamp(p), current_user, ... by these names; EXTRACT(f
                       FROM x) is extract('f', x), TRIM is btrim/ltrim/rtrim, SUBSTRING is substring(s, from, for),
                       POSITION(a IN b) is strpos(b, a), OVERLAY is overlay(s, new, from, for), x AT TIME ZONE z is
                       timezone(z, x), LIKE y ESCAPE e is x ~~ like_escape(y, e) */
    GN_A_ARRAY,     /* ARRAY[args]; a nested [..] inside is an ARRAY too */
    GN_A_SUBSCRIPT, /* args[0][args[1]][args[2]]...; the subscripts may be SLICEs */
    GN_A_SLICE,     /* slice.lower : slice.upper, either may be NULL; only as a subscript */
    GN_A_ROW,       /* ROW(args) or (a, b, ...) */
    GN_A_COLLATE,   /* args[0] COLLATE collation */
    GN_A_SUBQUERY,  /* (query) as a value */
    GN_A_EXISTS,    /* EXISTS (query) */
    GN_A_ARRAY_QUERY, /* ARRAY(query) */
} gn_ast_expr_kind;

typedef struct gn_ast_order {
    gn_ast_expr *expr; /* an integer literal is an ordinal */
    bool descending;
    bool nulls_given; /* false: last when ascending, first when descending */
    bool nulls_first; /* settled either way */
} gn_ast_order;
typedef GN_AST_LIST(gn_ast_order) gn_ast_orders;

struct gn_ast_expr {
    uint8_t kind; /* gn_ast_expr_kind */
    bool negated;
    bool symmetric;     /* BETWEEN */
    bool parenthesized; /* was in parentheses of its own */
    uint16_t depth;     /* of the tree below and including this */
    int position;       /* of the operator for operators, as PostgreSQL reports it */
    gn_ast_exprs args;
    union {
        bool boolean;
        int64_t integer;
        uint32_t parameter;
        gn_bytes text;
        const char *op;
        struct {
            const char *schema; /* NULL unless schema.table.column was written */
            const char *table;
            const char *name;
        } column;
        struct {
            const char *schema;
            const char *name;
            struct gn_ast_call_extra *extra; /* NULL when there is none of it: the plain call */
        } call;
        struct {
            gn_ast_expr *operand;
            gn_ast_expr *otherwise;
        } cases;
        struct {
            gn_ast_expr *lower;
            gn_ast_expr *upper;
        } slice;
        gn_ast_type *type;
        gn_ast_name *collation;
        struct {
            gn_ast_query *query;
            const char *op;
        } sub; /* *_QUERY, SUBQUERY, EXISTS; op for ANY_QUERY and ALL_QUERY */
    };
};

/* What only some calls have. */
typedef struct gn_ast_call_extra {
    bool star;     /* count(*) */
    bool distinct; /* count(DISTINCT x) */
    gn_ast_orders order_by;
    gn_ast_expr *filter; /* FILTER (WHERE ...), NULL = none */
    bool over;           /* OVER (...): a window function */
    gn_ast_exprs partition;
    gn_ast_orders window_order;
} gn_ast_call_extra;

/* ---- queries ---- */

typedef struct gn_ast_target {
    gn_ast_expr *expr;
    const char *alias; /* NULL = none */
} gn_ast_target;
typedef GN_AST_LIST(gn_ast_target) gn_ast_targets;

typedef enum gn_ast_from_kind {
    GN_FROM_TABLE,    /* name */
    GN_FROM_QUERY,    /* query */
    GN_FROM_FUNCTION, /* call: a GN_A_CALL */
    GN_FROM_JOIN,
} gn_ast_from_kind;

typedef enum gn_ast_join { GN_JOIN_CROSS, GN_JOIN_INNER, GN_JOIN_LEFT, GN_JOIN_RIGHT, GN_JOIN_FULL } gn_ast_join;

typedef struct gn_ast_from gn_ast_from;
struct gn_ast_from {
    gn_ast_from_kind kind;
    int position;
    uint16_t depth;
    gn_ast_name name;
    gn_ast_query *query;
    gn_ast_expr *call;
    const char *alias;    /* NULL = none */
    gn_ast_names columns; /* t(a, b): names given to the columns */
    bool lateral;         /* QUERY: sees the columns of what stands before it; a FUNCTION does in any case */
    bool ordinality;      /* FUNCTION: WITH ORDINALITY */
    gn_ast_join join;
    bool natural;
    gn_ast_from *left, *right;
    gn_ast_expr *on;
    gn_ast_names using_columns;
};
typedef GN_AST_LIST(gn_ast_from *) gn_ast_froms;

typedef GN_AST_LIST(gn_ast_exprs) gn_ast_rows;

typedef struct gn_ast_cte {
    const char *name;
    gn_ast_names columns;
    gn_ast_statement *statement;
    int position;
} gn_ast_cte;
typedef GN_AST_LIST(gn_ast_cte) gn_ast_ctes;

typedef enum gn_ast_query_kind {
    GN_Q_SELECT,
    GN_Q_VALUES, /* rows */
    GN_Q_UNION,  /* left, right, all */
    GN_Q_INTERSECT,
    GN_Q_EXCEPT,
} gn_ast_query_kind;

struct gn_ast_query {
    gn_ast_query_kind kind;
    int position;
    uint16_t depth;
    bool recursive; /* WITH RECURSIVE */
    gn_ast_ctes with;
    /* SELECT */
    bool distinct;
    gn_ast_exprs distinct_on;
    gn_ast_targets targets;
    gn_ast_froms from; /* a list: cross product */
    gn_ast_expr *where;
    gn_ast_exprs group_by; /* an integer literal is an ordinal */
    gn_ast_expr *having;
    /* VALUES */
    gn_ast_rows rows;
    /* set operations */
    bool all;
    gn_ast_query *left, *right;
    /* all kinds */
    gn_ast_orders order_by;
    gn_ast_expr *limit; /* NULL = none; LIMIT ALL is none, too */
    gn_ast_expr *offset;
    int locking; /* position of FOR UPDATE or its kin, 0 = none */
};

/* ---- statements ---- */

/* Column and table constraints alike: a constraint written at a column is here with that one column. */
typedef enum gn_ast_constraint_kind {
    GN_C_PRIMARY_KEY,
    GN_C_UNIQUE,
    GN_C_CHECK,
    GN_C_FOREIGN_KEY, /* parsed, so that it can be refused in its place */
} gn_ast_constraint_kind;

typedef struct gn_ast_constraint {
    gn_ast_constraint_kind kind;
    const char *name; /* NULL = to be made up */
    int position;
    gn_ast_names columns;
    const char *at_column; /* CHECK written at a column (for the made-up name), else NULL */
    gn_ast_expr *check;
    gn_bytes check_sql; /* its text */
} gn_ast_constraint;
typedef GN_AST_LIST(gn_ast_constraint) gn_ast_constraints;

typedef enum gn_ast_identity { GN_IDENTITY_NONE, GN_IDENTITY_ALWAYS, GN_IDENTITY_BY_DEFAULT } gn_ast_identity;

typedef struct gn_ast_column_def {
    const char *name;
    int position;
    gn_ast_type *type;
    bool not_null;            /* NOT NULL, PRIMARY KEY, identity and serial alike */
    gn_ast_identity identity; /* serial types and AUTOINCREMENT are BY DEFAULT */
    int64_t identity_start;   /* 1 unless START WITH was written */
    gn_ast_expr *default_expr;
    gn_bytes default_sql;           /* its text */
    gn_ast_constraints constraints; /* written at this column; moved to the table's list in CREATE TABLE */
} gn_ast_column_def;
typedef GN_AST_LIST(gn_ast_column_def) gn_ast_column_defs;

/* (k = v, ...) or k v, ...: of WITH, EXPLAIN, COPY. The value is a string, number or word; NULL when none is written.
 */
typedef struct gn_ast_option {
    const char *name;
    gn_ast_expr *value;   /* INTEGER, NUMERIC, STRING, BOOLEAN, STAR; words are STRING */
    gn_ast_names columns; /* FORCE_QUOTE (a, b) */
    int position;
} gn_ast_option;
typedef GN_AST_LIST(gn_ast_option) gn_ast_options;

typedef struct gn_ast_create_table {
    gn_ast_name name;
    bool if_not_exists;
    bool temporary;
    gn_ast_column_defs columns;
    gn_ast_constraints constraints;
    gn_ast_names shard_key; /* PARTITION BY HASH (...) */
    gn_ast_options options;
} gn_ast_create_table;

typedef struct gn_ast_drop {
    gn_ast_names names;
    bool if_exists;
    bool cascade;
} gn_ast_drop; /* tables or indexes */

typedef enum gn_ast_alter_kind {
    GN_ALTER_ADD_COLUMN,
    GN_ALTER_DROP_COLUMN,
    GN_ALTER_RENAME_COLUMN,
    GN_ALTER_RENAME_TABLE,
    GN_ALTER_SET_DEFAULT,
    GN_ALTER_DROP_DEFAULT,
    GN_ALTER_SET_NOT_NULL,
    GN_ALTER_DROP_NOT_NULL,
    GN_ALTER_COLUMN_TYPE,
    GN_ALTER_ADD_CONSTRAINT,
    GN_ALTER_DROP_CONSTRAINT,
    GN_ALTER_RENAME_CONSTRAINT,
} gn_ast_alter_kind;

typedef struct gn_ast_alter_action {
    gn_ast_alter_kind kind;
    int position;
    bool if_exists, if_not_exists, cascade;
    gn_ast_column_def *column; /* ADD COLUMN */
    const char *name;          /* the column or constraint; name_position */
    int name_position;
    const char *new_name;
    gn_ast_expr *default_expr;
    gn_bytes default_sql;
    gn_ast_type *type;
    gn_ast_expr *using_expr;
    gn_ast_constraint *constraint;
} gn_ast_alter_action;
typedef GN_AST_LIST(gn_ast_alter_action) gn_ast_alter_actions;

typedef struct gn_ast_alter_table {
    gn_ast_name name;
    bool if_exists;
    gn_ast_alter_actions actions;
} gn_ast_alter_table;

typedef struct gn_ast_index_column {
    gn_ast_expr *expr;   /* a GN_A_COLUMN, or an expression */
    const char *opclass; /* NULL = default */
    int opclass_position;
    bool descending;
    bool nulls_given;
    bool nulls_first;
} gn_ast_index_column;
typedef GN_AST_LIST(gn_ast_index_column) gn_ast_index_columns;

typedef struct gn_ast_create_index {
    const char *name; /* NULL = to be made up */
    int name_position;
    bool unique, concurrently, if_not_exists;
    gn_ast_name table;
    const char *method; /* NULL = btree */
    int method_position;
    gn_ast_index_columns columns;
    gn_ast_names include;
    gn_ast_options options;
    gn_ast_expr *where; /* NULL: of all rows */
} gn_ast_create_index;

typedef struct gn_ast_truncate {
    gn_ast_names names;
    bool restart_identity, cascade;
} gn_ast_truncate;

/* a = x: one column. (a, b) = (x, y) is taken apart; (a, b) = (query) stays together. */
typedef struct gn_ast_assignment {
    gn_ast_names columns;
    gn_ast_expr *value; /* may be GN_A_DEFAULT */
} gn_ast_assignment;
typedef GN_AST_LIST(gn_ast_assignment) gn_ast_assignments;

typedef enum gn_ast_conflict { GN_CONFLICT_ERROR, GN_CONFLICT_NOTHING, GN_CONFLICT_UPDATE } gn_ast_conflict;

typedef struct gn_ast_insert {
    gn_ast_name table;
    const char *alias;
    gn_ast_names columns; /* n 0 = all, in order */
    gn_ast_query *query;  /* VALUES or SELECT; NULL = DEFAULT VALUES. VALUES may contain GN_A_DEFAULT */
    bool overriding_system, overriding_user;
    gn_ast_conflict conflict;
    int conflict_position;
    gn_ast_exprs conflict_columns;   /* the conflict target, n 0 = none written */
    gn_ast_expr *conflict_predicate; /* WHERE of the target: partial indexes may be meant; may be NULL */
    const char *conflict_constraint; /* ON CONSTRAINT name */
    gn_ast_assignments conflict_set; /* `excluded` is a table of the row refused */
    gn_ast_expr *conflict_where;
    gn_ast_targets returning;
} gn_ast_insert;

typedef struct gn_ast_update {
    gn_ast_name table;
    const char *alias;
    gn_ast_assignments set;
    gn_ast_froms from;
    gn_ast_expr *where;
    gn_ast_targets returning;
} gn_ast_update;

typedef struct gn_ast_delete {
    gn_ast_name table;
    const char *alias;
    gn_ast_froms using_from;
    gn_ast_expr *where;
    gn_ast_targets returning;
} gn_ast_delete;

typedef enum gn_ast_isolation {
    GN_ISOLATION_DEFAULT, /* not written */
    GN_ISOLATION_READ_UNCOMMITTED,
    GN_ISOLATION_READ_COMMITTED,
    GN_ISOLATION_REPEATABLE_READ,
    GN_ISOLATION_SERIALIZABLE,
} gn_ast_isolation;

/* BEGIN, SET TRANSACTION, SET SESSION CHARACTERISTICS. -1 = not written. */
typedef struct gn_ast_transaction {
    gn_ast_isolation isolation;
    int read_only;
    int deferrable;
    bool start; /* START TRANSACTION: the tag differs */
    bool chain; /* COMMIT/ROLLBACK AND CHAIN */
} gn_ast_transaction;

typedef struct gn_ast_set {
    const char *name; /* "timezone", "a.b"; SET NAMES is client_encoding, SET TIME ZONE is timezone; NULL = RESET ALL */
    int name_position;
    bool local;
    bool is_default; /* TO DEFAULT and RESET */
    bool reset;      /* RESET: the tag differs */
    /* STRING (also for words), INTEGER, NUMERIC, BOOLEAN (as written: on/off are words); several for lists. An interval
     * of SET TIME ZONE INTERVAL '...' is a CAST. */
    gn_ast_exprs values;
} gn_ast_set;

typedef struct gn_ast_explain {
    gn_ast_options options; /* names folded: analyze, verbose, costs, timing, format, buffers, summary, ... */
    gn_ast_statement *statement;
} gn_ast_explain;

typedef struct gn_ast_copy {
    gn_ast_name table; /* name NULL: a query */
    gn_ast_names columns;
    gn_ast_query *query;
    bool from;     /* FROM STDIN; else TO STDOUT */
    bool is_std;   /* STDIN or STDOUT */
    gn_bytes file; /* when not is_std: a name (to be refused) */
    bool program;
    int target_position;
    /* Both syntaxes give the same names: format, delimiter, null, header, quote, escape, force_quote, force_null,
     * force_not_null, freeze, encoding, oids */
    gn_ast_options options;
    gn_ast_expr *where;
} gn_ast_copy;

typedef struct gn_ast_prepare {
    const char *name;
    gn_ast_types types;
    gn_ast_statement *statement;
} gn_ast_prepare;

typedef struct gn_ast_execute {
    const char *name;
    gn_ast_exprs args;
} gn_ast_execute;

typedef struct gn_ast_cursor {
    const char *name;            /* NULL: CLOSE ALL */
    gn_ast_statement *statement; /* DECLARE: the query, with its own text */
    bool hold, binary, scroll, backward;
    int64_t count; /* FETCH; INT64_MAX = ALL */
    bool move;
} gn_ast_cursor;

typedef struct gn_ast_vacuum {
    gn_ast_names tables; /* n 0 = all */
    gn_ast_options options;
} gn_ast_vacuum;

typedef enum gn_ast_statement_kind {
    GN_S_QUERY, /* SELECT, VALUES, TABLE t */
    GN_S_INSERT,
    GN_S_UPDATE,
    GN_S_DELETE,
    GN_S_CREATE_TABLE,
    GN_S_DROP_TABLE,
    GN_S_ALTER_TABLE,
    GN_S_CREATE_INDEX,
    GN_S_DROP_INDEX,
    GN_S_TRUNCATE,
    GN_S_BEGIN,
    GN_S_COMMIT,
    GN_S_ROLLBACK,
    GN_S_SAVEPOINT,           /* name */
    GN_S_RELEASE,             /* name */
    GN_S_ROLLBACK_TO,         /* name */
    GN_S_SET_TRANSACTION,     /* transaction */
    GN_S_SET_CHARACTERISTICS, /* transaction: SET SESSION CHARACTERISTICS AS TRANSACTION */
    GN_S_SET,                 /* set; also RESET */
    GN_S_SHOW,                /* name, "all" for SHOW ALL */
    GN_S_EXPLAIN,
    GN_S_COPY,
    GN_S_PREPARE,
    GN_S_EXECUTE,
    GN_S_DEALLOCATE, /* name, NULL = ALL */
    GN_S_DISCARD,    /* name: "all", "plans", "sequences", "temp" */
    GN_S_VACUUM,
    GN_S_ANALYZE, /* vacuum */
    GN_S_CHECKPOINT,
    GN_S_DECLARE, /* cursor */
    GN_S_FETCH,
    GN_S_CLOSE,
    GN_S_CREATE_EXTENSION, /* name: `CREATE EXTENSION [IF NOT EXISTS] vector` is what pgvector's users send */
} gn_ast_statement_kind;

struct gn_ast_statement {
    gn_ast_statement_kind kind;
    int position;      /* of its first word */
    gn_bytes text;     /* without the ';' */
    uint32_t n_params; /* the highest $n */
    union {
        gn_ast_query *query;
        gn_ast_insert *insert;
        gn_ast_update *update;
        gn_ast_delete *delete_;
        gn_ast_create_table *create_table;
        gn_ast_drop *drop;
        gn_ast_alter_table *alter_table;
        gn_ast_create_index *create_index;
        gn_ast_truncate *truncate;
        gn_ast_transaction *transaction;
        gn_ast_set *set;
        gn_ast_explain *explain;
        gn_ast_copy *copy;
        gn_ast_prepare *prepare;
        gn_ast_execute *execute;
        gn_ast_cursor *cursor;
        gn_ast_vacuum *vacuum;
        const char *name;
    };
};

typedef GN_AST_LIST(gn_ast_statement *) gn_ast_statements;

#endif
