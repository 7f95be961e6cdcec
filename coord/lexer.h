/* SQL text to tokens, by PostgreSQL's lexical rules (documentation chapter 4.1). Used by the parser alone. */
#ifndef GN_COORD_LEXER_H
#define GN_COORD_LEXER_H

#include "base/bytes.h"
#include "base/memory.h"

typedef struct gn_token {
    /* What it means: a folded name, a string's contents, a number's digits, an operator. Names, operators and keywords
     * are NUL-terminated. */
    const char *text;
    uint32_t len;
    uint32_t source_len; /* how long it is in the source */
    int position;        /* 1-based byte where it begins there */
} gn_token;

typedef struct gn_lexer {
    const char *sql;
    size_t len;
    size_t at; /* next byte to be read */
    gn_arena *arena;
    gn_error *err;
    gn_code code;       /* of the failure, once gn_lex has returned GN_LEX_ERROR */
    bool after_operand; /* the last token ends an operand: a `?` now is an operator, not a parameter */
    bool has_dollar, has_question;
    uint32_t n_questions; /* in this statement */
    uint32_t max_param;
    uint32_t brackets; /* that are open: ( [ CASE */
} gn_lexer;

enum { GN_LEX_END = 0, GN_LEX_ERROR = -1 };

void gn_lexer_init(gn_lexer *lexer, gn_arena *arena, gn_bytes sql, gn_error *err);
/* The next token's code of the grammar (GN_TK_...), GN_LEX_END or GN_LEX_ERROR. */
int gn_lex(gn_lexer *lexer, gn_token *token);
/* Parameters are counted by statement. */
void gn_lexer_begin_statement(gn_lexer *lexer);
/* Sets err to `what at or near "..."`, with the source text of that place, and returns GN_SYNTAX. */
gn_code gn_lexer_error(gn_lexer *lexer, const char *what, int position, size_t source_len);

typedef enum gn_keyword_class { GN_KW_NONE, GN_KW_U, GN_KW_C, GN_KW_T, GN_KW_R } gn_keyword_class;
/* Of a folded word. GN_KW_NONE: not a keyword. */
gn_keyword_class gn_keyword_classify(const char *word, size_t len);

#endif
