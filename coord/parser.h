/* SQL text to syntax trees: a hand-written lexer with PostgreSQL's lexical rules, and a grammar made by lemon. No state
 * outlives a call; any thread. */
#ifndef GN_COORD_PARSER_H
#define GN_COORD_PARSER_H

#include "base/memory.h"
#include "coord/ast.h"

/* All statements of the text; empty ones (";;", comments) leave no trace, so *out may have n 0. Everything lies in the
 * arena or in static memory; string literals may point into `sql`, which must live as long.
 *
 * GN_SYNTAX (worded as PostgreSQL does), GN_INVALID_ENCODING, GN_STATEMENT_TOO_COMPLEX (nesting), GN_LIMIT (a text
 * above GN_MAX_STATEMENT, too many statements), GN_FEATURE (understood but refused here), GN_OUT_OF_MEMORY; err has
 * the position, in bytes like those of the tree. */
gn_code gn_parse(gn_arena *arena, gn_bytes sql, gn_ast_statements *out, gn_error *err);

/* One expression and nothing else: a stored DEFAULT or CHECK. */
gn_code gn_parse_expr(gn_arena *arena, gn_bytes sql, gn_ast_expr **out, gn_error *err);

/* A type name with modifiers and brackets, and nothing else: 'numeric(10,2)'::regtype, format_type. */
gn_code gn_parse_type(gn_arena *arena, gn_bytes sql, gn_ast_type **out, gn_error *err);

/* The 1-based character that the 1-based byte `position` of `sql` belongs to; 0 stays 0. */
int gn_sql_position(gn_bytes sql, int position);

/* The type's name as quote_ident would give it: in quotes where the grammar needs them. False: the buffer failed. */
struct gn_buf;
bool gn_sql_quote_identifier(const char *name, struct gn_buf *out);

#endif
