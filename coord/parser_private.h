/* What the grammar's actions build with. Every builder returns a node even when memory is gone (a spare one inside the
 * parser), so that actions need no checks; the parse ends after the token at which `code` was set. */
#ifndef GN_COORD_PARSER_PRIVATE_H
#define GN_COORD_PARSER_PRIVATE_H

#include "coord/lexer.h"
#include "coord/parser.h"

enum { GN_SPARE_NODE = 512 }; /* bytes; larger than any node */

typedef struct gn_parser {
    gn_arena *arena;
    gn_lexer lexer;
    gn_error *err;
    gn_code code;
    size_t statement_start;     /* byte where the current statement begins */
    size_t prev_end;            /* byte after the last token that was handed to the grammar */
    gn_ast_create_table *table; /* CREATE TABLE: being filled */
    gn_ast_statements statements;
    gn_ast_expr *expr_out;
    gn_ast_type *type_out;
    _Alignas(16) uint8_t spare[GN_SPARE_NODE];
} gn_parser;

/* lemon's parser, in memory of ours: GN_SQL_MACHINE bytes. */
enum { GN_SQL_MACHINE = 128 << 10 };
void gn_sqlInit(void *machine, gn_parser *p);
void gn_sql(void *machine, int token, gn_token value);
void gn_sqlFinalize(void *machine);

/* The first failure wins. */
void gn_parser_fail(gn_parser *p, gn_code code, int position, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void gn_parser_syntax_error(gn_parser *p, const gn_token *token);
void gn_parser_too_deep(gn_parser *p);
void gn_parser_feature(gn_parser *p, int position, const char *message);
void gn_parser_add_statement(gn_parser *p, gn_ast_statement *statement);

/* ---- memory ---- */

void *gn_mk(gn_parser *p, size_t size); /* zeroed; never NULL */
/* Room for one more item; the new array, or NULL after a failure. */
void *gn_list_room(gn_parser *p, void *items, uint32_t n, uint32_t *capacity, size_t item_size);

#define GN_LIST_EMPTY(list) ((list).items = NULL, (list).n = (list).capacity = 0)
#define GN_LIST_PUSH(p, list, item)                                                                    \
    do {                                                                                               \
        void *room_ = gn_list_room(p, (list).items, (list).n, &(list).capacity, sizeof *(list).items); \
        if (room_) {                                                                                   \
            (list).items = room_;                                                                      \
            (list).items[(list).n++] = (item);                                                         \
        }                                                                                              \
    } while (0)
#define GN_LIST_START(p, list, item) \
    do {                             \
        GN_LIST_EMPTY(list);         \
        GN_LIST_PUSH(p, list, item); \
    } while (0)

/* ---- parts that are no nodes of their own ---- */

typedef struct gn_query_tail {
    gn_ast_orders order_by;
    gn_ast_expr *limit, *offset;
    int locking;
} gn_query_tail;

typedef struct gn_from_alias {
    const char *name;
    gn_ast_names columns;
} gn_from_alias;

typedef enum gn_column_item_kind {
    GN_ITEM_NOT_NULL,
    GN_ITEM_NULL,
    GN_ITEM_UNIQUE,
    GN_ITEM_PRIMARY_KEY,
    GN_ITEM_AUTOINCREMENT,
    GN_ITEM_CHECK,
    GN_ITEM_DEFAULT,
    GN_ITEM_IDENTITY_ALWAYS,
    GN_ITEM_IDENTITY_BY_DEFAULT,
    GN_ITEM_REFERENCES,
} gn_column_item_kind;

typedef struct gn_column_item {
    gn_column_item_kind kind;
    int position;
    gn_ast_expr *expr;
    gn_bytes sql;
    gn_ast_options options;
} gn_column_item;

/* Transaction modes beside the isolation levels, which are their own values. */
enum { GN_MODE_READ_ONLY = 100, GN_MODE_READ_WRITE, GN_MODE_DEFERRABLE, GN_MODE_NOT_DEFERRABLE };

/* ---- names, types, literals (build_expr.c) ---- */

gn_ast_name gn_mk_name(gn_parser *p, const gn_token *schema, const gn_token *name);
gn_token gn_mk_word(const char *word, const gn_token *at); /* the token with another text */
gn_token gn_mk_dotted(gn_parser *p, const gn_token *a, const gn_token *b);
gn_ast_type *gn_mk_type(gn_parser *p, const gn_token *schema, const gn_token *name, gn_ast_exprs modifiers);
/* modifier -1: none */
gn_ast_type *gn_mk_type_named(gn_parser *p, const char *name, const gn_token *at, int modifier);
int gn_mk_int(gn_parser *p, const gn_token *integer); /* a type modifier */
gn_ast_expr *gn_mk_expr(gn_parser *p, gn_ast_expr_kind kind, int position);
gn_ast_expr *gn_mk_string(gn_parser *p, const gn_token *text);
gn_ast_expr *gn_mk_word_expr(gn_parser *p, const char *word, const gn_token *at);
gn_ast_expr *gn_mk_interval_text(gn_parser *p, const gn_token *text, const char *unit);
gn_ast_expr *gn_mk_number(gn_parser *p, const gn_token *digits, bool negative);
gn_ast_expr *gn_mk_integer(gn_parser *p, int64_t value, int position);
gn_ast_expr *gn_mk_boolean(gn_parser *p, bool value, int position);
gn_ast_expr *gn_mk_param(gn_parser *p, const gn_token *param);
gn_ast_expr *gn_mk_column(gn_parser *p, const gn_token *schema, const gn_token *table, const gn_token *name);
gn_ast_expr *gn_mk_star(gn_parser *p, const gn_token *schema, const gn_token *table, int position);

/* ---- expressions ---- */

gn_ast_expr *gn_mk_op(gn_parser *p, const gn_token *op, gn_ast_expr *left, gn_ast_expr *right); /* left NULL: prefix */
gn_ast_expr *gn_mk_minus(gn_parser *p, gn_ast_expr *arg, int position);
gn_ast_expr *gn_mk_logic(gn_parser *p, gn_ast_expr_kind kind, gn_ast_expr *left, gn_ast_expr *right, int position);
gn_ast_expr *gn_mk_unary(gn_parser *p, int kind, bool negated, gn_ast_expr *arg, int position);
gn_token gn_mk_like_token(const gn_token *like, bool negated);
gn_ast_expr *gn_mk_like(gn_parser *p, const gn_token *like, bool negated, gn_ast_expr *left, gn_ast_expr *right,
                        gn_ast_expr *escape);
gn_ast_expr *gn_mk_distinct(gn_parser *p, bool negated, gn_ast_expr *left, gn_ast_expr *right, int position);
gn_ast_expr *gn_mk_between(gn_parser *p, bool negated, bool symmetric, gn_ast_expr *arg, gn_ast_expr *low,
                           gn_ast_expr *high, int position);
gn_ast_expr *gn_mk_in(gn_parser *p, bool negated, gn_ast_expr *arg, gn_ast_exprs list, int position);
gn_ast_expr *gn_mk_sub(gn_parser *p, gn_ast_expr_kind kind, bool negated, const gn_token *op, gn_ast_expr *arg,
                       gn_ast_query *query, int position);
gn_ast_expr *gn_mk_quantified(gn_parser *p, int kind, const gn_token *op, gn_ast_expr *left, gn_ast_expr *right);
gn_ast_expr *gn_mk_cast(gn_parser *p, gn_ast_expr *arg, gn_ast_type *type, int position);
gn_ast_expr *gn_mk_collate(gn_parser *p, gn_ast_expr *arg, const gn_ast_name *collation, int position);
gn_ast_expr *gn_mk_subscript(gn_parser *p, gn_ast_expr *base, gn_ast_expr *index);
gn_ast_expr *gn_mk_slice(gn_parser *p, gn_ast_expr *lower, gn_ast_expr *upper, int position); /* NULL: left out */
gn_ast_expr *gn_mk_list(gn_parser *p, gn_ast_expr_kind kind, gn_ast_exprs args, int position);
gn_ast_expr *gn_mk_case(gn_parser *p, gn_ast_expr *operand, gn_ast_exprs whens, gn_ast_expr *otherwise, int position);
gn_ast_expr *gn_mk_call(gn_parser *p, const gn_ast_name *name, gn_ast_exprs args);
gn_ast_expr *gn_mk_call_list(gn_parser *p, const char *name, int position, gn_ast_exprs args);
gn_ast_expr *gn_mk_call0(gn_parser *p, const gn_token *word);
gn_ast_expr *gn_mk_call1(gn_parser *p, const char *name, int position, gn_ast_expr *a);
gn_ast_expr *gn_mk_call2(gn_parser *p, const char *name, int position, gn_ast_expr *a, gn_ast_expr *b);
gn_ast_expr *gn_mk_call3(gn_parser *p, const char *name, int position, gn_ast_expr *a, gn_ast_expr *b, gn_ast_expr *c);
gn_ast_expr *gn_mk_call4(gn_parser *p, const char *name, int position, gn_ast_expr *a, gn_ast_expr *b, gn_ast_expr *c,
                         gn_ast_expr *d);
gn_ast_call_extra *gn_mk_call_extra(gn_parser *p, gn_ast_expr *call);
void gn_mk_call_order(gn_parser *p, gn_ast_expr *call, gn_ast_orders order);
void gn_mk_call_over(gn_parser *p, gn_ast_expr *call, gn_ast_exprs partition, gn_ast_orders order);
void gn_mk_filter(gn_parser *p, gn_ast_expr *call, gn_ast_expr *condition);
gn_ast_order gn_mk_order(gn_ast_expr *expr, bool descending, int nulls_first); /* nulls_first -1: not written */
/* depth of a tree over these; fails past GN_MAX_NESTING. NULL counts 0. */
uint16_t gn_mk_depth(gn_parser *p, uint16_t below, int position);

/* ---- queries (build_query.c) ---- */

gn_ast_query *gn_mk_select(gn_parser *p, int position, gn_ast_targets targets, gn_ast_froms from, gn_ast_expr *where,
                           gn_ast_exprs group_by, gn_ast_expr *having);
gn_ast_query *gn_mk_values(gn_parser *p, int position, gn_ast_rows rows);
gn_ast_query *gn_mk_table_query(gn_parser *p, const gn_ast_name *table, int position);
gn_ast_query *gn_mk_set_operation(gn_parser *p, gn_ast_query_kind kind, bool all, gn_ast_query *left,
                                  gn_ast_query *right, int position);
/* Settles the depth of a finished core. */
gn_ast_query *gn_mk_query_seal(gn_parser *p, gn_ast_query *query);
gn_ast_query *gn_mk_query_tail(gn_parser *p, gn_ast_query *query, const gn_query_tail *tail);
gn_ast_query *gn_mk_query_with(gn_parser *p, gn_ast_query *query, const gn_ast_query *with);
gn_ast_query *gn_mk_with(gn_parser *p, gn_ast_ctes ctes, bool recursive, int position);
gn_ast_cte gn_mk_cte(gn_parser *p, const gn_token *name, gn_ast_names columns, gn_ast_statement *statement);
gn_ast_from *gn_mk_from_table(gn_parser *p, const gn_ast_name *name, const gn_from_alias *alias);
gn_ast_from *gn_mk_from_function(gn_parser *p, gn_ast_expr *call, bool ordinality);
gn_ast_from *gn_mk_from_query(gn_parser *p, gn_ast_query *query);
void gn_mk_from_nameless(gn_parser *p, const gn_ast_from *from); /* refuses it */
gn_ast_from *gn_mk_from_alias(gn_ast_from *from, const gn_from_alias *alias);
gn_ast_from *gn_mk_join(gn_parser *p, gn_ast_join kind, gn_ast_from *left, gn_ast_from *right, int position);
void gn_mk_join_on(gn_parser *p, gn_ast_from *join, gn_ast_expr *on);

/* ---- statements (build_statement.c) ---- */

gn_ast_statement *gn_mk_statement(gn_parser *p, gn_ast_statement_kind kind, int position, size_t body_size);
void gn_check_extension_option(gn_parser *p, const gn_token *name); /* what dumps write: SCHEMA, VERSION */
gn_ast_statement *gn_mk_named(gn_parser *p, gn_ast_statement_kind kind, int position, const char *name);
gn_ast_statement *gn_mk_query_statement(gn_parser *p, gn_ast_query *query);
gn_ast_statement *gn_mk_insert(gn_parser *p, const gn_token *at, const gn_ast_name *table, const char *alias);
void gn_mk_conflict(gn_ast_statement *insert, gn_ast_conflict conflict, const gn_token *at);
void gn_mk_overriding(gn_ast_statement *insert, bool system);
gn_ast_statement *gn_mk_update(gn_parser *p, const gn_token *at, const gn_ast_name *table, const char *alias);
gn_ast_statement *gn_mk_delete(gn_parser *p, const gn_token *at, const gn_ast_name *table, const char *alias,
                               gn_ast_froms using_from, gn_ast_expr *where, gn_ast_targets returning);
gn_ast_assignments gn_mk_assign(gn_parser *p, const gn_token *column, gn_ast_expr *value);
gn_ast_assignments gn_mk_assign_row(gn_parser *p, gn_ast_names columns, gn_ast_expr *value, int position);
gn_ast_assignments gn_mk_assignments_join(gn_parser *p, gn_ast_assignments list, gn_ast_assignments more);

gn_ast_statement *gn_mk_create_table(gn_parser *p, const gn_token *at, bool temporary, bool if_not_exists,
                                     const gn_ast_name *name);
void gn_mk_table_column(gn_parser *p, gn_ast_column_def *column);
gn_ast_column_def *gn_mk_column_def(gn_parser *p, const gn_token *name, gn_ast_type *type);
gn_column_item gn_mk_item(gn_column_item_kind kind, const gn_token *at);
void gn_mk_column_add(gn_parser *p, gn_ast_column_def *column, const char *constraint, const gn_column_item *item);
void gn_mk_column_collate(gn_parser *p, const gn_ast_name *collation);
/* The source text between two tokens, and from behind a token to where the grammar now is. */
gn_bytes gn_mk_between_tokens(gn_parser *p, const gn_token *left, const gn_token *right);
gn_bytes gn_mk_text_after(gn_parser *p, const gn_token *token);
gn_ast_constraint *gn_mk_constraint(gn_parser *p, gn_ast_constraint_kind kind, const gn_token *at);
gn_ast_statement *gn_mk_drop(gn_parser *p, gn_ast_statement_kind kind, const gn_token *at, bool if_exists,
                             gn_ast_names names, bool cascade);
gn_ast_statement *gn_mk_alter(gn_parser *p, const gn_token *at, bool if_exists, const gn_ast_name *name);
gn_ast_alter_action *gn_mk_alter_add(gn_parser *p, const gn_token *at, gn_ast_column_def *column, bool if_not_exists);
gn_ast_alter_action *gn_mk_alter_constraint(gn_parser *p, const gn_token *at, gn_ast_constraint *constraint);
gn_ast_alter_action *gn_mk_alter_named(gn_parser *p, gn_ast_alter_kind kind, const gn_token *at, const gn_token *name);
void gn_mk_rename(gn_parser *p, gn_ast_statement *alter, gn_ast_alter_kind kind, const gn_token *at,
                  const gn_token *old_name, const gn_token *new_name);
gn_ast_statement *gn_mk_create_index(gn_parser *p, const gn_token *at, bool unique, bool concurrently);
void gn_mk_index_on(gn_ast_statement *index, bool if_not_exists, const gn_token *name, const gn_ast_name *table,
                    const gn_token *method);
void gn_mk_index_order(gn_ast_index_column *column, bool descending, int nulls_first);
gn_ast_index_column gn_mk_index_opclass(gn_ast_expr *expr, const gn_ast_name *opclass);
/* name NULL: the token's own word. */
gn_ast_option gn_mk_option(const gn_token *at, const char *name, gn_ast_expr *value);

gn_ast_statement *gn_mk_transaction(gn_parser *p, gn_ast_statement_kind kind, int position, gn_ast_transaction modes);
gn_ast_statement *gn_mk_end(gn_parser *p, gn_ast_statement_kind kind, int position, bool chain);
void gn_mk_mode(gn_ast_transaction *modes, int mode);
gn_ast_set *gn_mk_setting(gn_parser *p, const gn_token *name, gn_ast_exprs values);
gn_ast_set *gn_mk_setting_default(gn_parser *p, const gn_token *name);
gn_ast_statement *gn_mk_set(gn_parser *p, gn_ast_set *set, bool local, int position);
gn_ast_statement *gn_mk_reset(gn_parser *p, const gn_token *name, int position);
gn_ast_statement *gn_mk_explain(gn_parser *p, const gn_token *at, gn_ast_options options, gn_ast_statement *statement);
gn_ast_statement *gn_mk_copy(gn_parser *p, const gn_token *at, const gn_ast_name *table, gn_ast_names columns,
                             gn_ast_query *query);
/* file->text NULL: STDIN or STDOUT. */
void gn_mk_copy_target(gn_parser *p, gn_ast_statement *copy, bool from, bool program, const gn_token *file,
                       int position);
gn_ast_statement *gn_mk_prepare(gn_parser *p, const gn_token *at, const gn_token *name, gn_ast_types types,
                                const gn_token *as, gn_ast_statement *statement);
gn_ast_statement *gn_mk_execute(gn_parser *p, const gn_token *at, const gn_token *name, gn_ast_exprs args);
gn_ast_statement *gn_mk_vacuum(gn_parser *p, gn_ast_statement_kind kind, const gn_token *at, gn_ast_options options,
                               gn_ast_names tables);
gn_ast_statement *gn_mk_declare(gn_parser *p, const gn_token *at, const gn_token *name, gn_ast_cursor cursor,
                                const gn_token *following, gn_ast_query *query);
gn_ast_statement *gn_mk_fetch(gn_parser *p, const gn_token *at, gn_ast_cursor fetch);
gn_ast_cursor gn_mk_fetch_count(const char *name, int64_t count, bool backward);
int64_t gn_mk_count(gn_parser *p, const gn_ast_expr *number);
gn_ast_statement *gn_mk_named_cursor(gn_parser *p, gn_ast_statement_kind kind, const gn_token *at, const char *name);

#endif
