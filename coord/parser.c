/* Drives the lexer and lemon's parser. The parser's stack is a fixed array: the nesting of brackets is bounded by the
 * lexer, that of trees by the builders, and whatever else piles up tokens (NOT NOT NOT ...) ends at the stack's bound,
 * each with GN_STATEMENT_TOO_COMPLEX. */
#include "base/assert.h"
#include "base/buf.h"
#include "base/limits.h"
#include "coord/parser_private.h"
#include "query/value.h"
#include "sql.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { GN_MAX_STATEMENTS = 100000 };

/* ---- failures ---- */

void gn_parser_fail(gn_parser *p, gn_code code, int position, const char *format, ...)
{
    if (p->code != GN_OK)
        return;
    p->code = code;
    if (code == GN_OUT_OF_MEMORY) {
        gn_error_oom(p->err, gn_arena_account(p->arena));
        return;
    }
    char message[300];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    gn_error_set(p->err, code, "%s", message);
    gn_error_at(p->err, position);
    if (code == GN_STATEMENT_TOO_COMPLEX)
        gn_error_hint(p->err, "Expressions, parentheses and subqueries may be nested %d levels deep.",
                      (int)GN_MAX_NESTING);
}

void gn_parser_syntax_error(gn_parser *p, const gn_token *token)
{
    if (p->code != GN_OK)
        return;
    if (token->source_len == 0) {
        p->code = gn_error_set(p->err, GN_SYNTAX, "syntax error at end of input");
        gn_error_at(p->err, token->position);
        return;
    }
    p->code = gn_lexer_error(&p->lexer, "syntax error", token->position, token->source_len);
}

void gn_parser_too_deep(gn_parser *p)
{
    gn_parser_fail(p, GN_STATEMENT_TOO_COMPLEX, (int)p->prev_end + 1, "statement is nested too deeply");
}

void gn_parser_feature(gn_parser *p, int position, const char *message)
{
    gn_parser_fail(p, GN_FEATURE, position, "%s", message);
}

void gn_parser_add_statement(gn_parser *p, gn_ast_statement *statement)
{
    if (p->code != GN_OK)
        return;
    if (p->statements.n >= GN_MAX_STATEMENTS) {
        gn_parser_fail(p, GN_LIMIT, statement->position, "a text has at most %d statements", (int)GN_MAX_STATEMENTS);
        return;
    }
    GN_ASSERT(p->prev_end >= p->statement_start);
    statement->position = (int)p->statement_start + 1;
    statement->text = gn_bytes_of(p->lexer.sql + p->statement_start, p->prev_end - p->statement_start);
    statement->n_params = p->lexer.max_param;
    GN_LIST_PUSH(p, p->statements, statement);
}

/* ---- tokens that depend on the next one ---- */

typedef struct gn_lookahead {
    int token; /* what gn_lex said, or GN_LEX_NONE */
    gn_token value;
    size_t at;
} gn_lookahead;

enum { GN_LEX_NONE = -2 };

/* PostgreSQL's base_yylex: NOT before BETWEEN, IN, LIKE; NULLS before FIRST, LAST; WITH before TIME. */
static int marked(int token, int next)
{
    switch (token) {
    case GN_TK_NOT:
        return next == GN_TK_BETWEEN || next == GN_TK_IN || next == GN_TK_LIKE || next == GN_TK_ILIKE ||
                       next == GN_TK_SIMILAR
                   ? GN_TK_NOT_LA
                   : token;
    case GN_TK_NULLS:
        return next == GN_TK_FIRST || next == GN_TK_LAST ? GN_TK_NULLS_LA : token;
    case GN_TK_WITH:
        return next == GN_TK_TIME ? GN_TK_WITH_LA : token;
    default:
        return token;
    }
}

static int next_token(gn_parser *p, gn_lookahead *ahead, gn_token *value)
{
    int token;
    if (ahead->token != GN_LEX_NONE) {
        token = ahead->token;
        *value = ahead->value;
        ahead->token = GN_LEX_NONE;
    } else {
        token = gn_lex(&p->lexer, value);
    }
    if (token != GN_TK_NOT && token != GN_TK_NULLS && token != GN_TK_WITH)
        return token;
    ahead->token = gn_lex(&p->lexer, &ahead->value);
    /* An error of the lexer waits until the token before it was seen: that may be the earlier error. */
    return marked(token, ahead->token);
}

/* ---- the drive ---- */

static void drive(gn_parser *p, int mode)
{
    _Alignas(16) uint8_t machine[GN_SQL_MACHINE];
    gn_lookahead ahead = {.token = GN_LEX_NONE};
    gn_sqlInit(machine, p);
    gn_token value = {.text = "", .position = 1};
    if (mode)
        gn_sql(machine, mode, value);
    bool begins = true;
    int token = 0;
    do {
        token = next_token(p, &ahead, &value);
        if (token == GN_LEX_ERROR) {
            p->code = p->lexer.code;
            break;
        }
        if (p->lexer.brackets > GN_MAX_NESTING) {
            gn_parser_fail(p, GN_STATEMENT_TOO_COMPLEX, value.position, "statement is nested too deeply");
            break;
        }
        if (begins && token != GN_TK_SEMI) {
            p->statement_start = (size_t)value.position - 1;
            begins = false;
        }
        gn_sql(machine, token, value);
        p->prev_end = (size_t)value.position - 1 + value.source_len;
        if (token == GN_TK_SEMI) {
            gn_lexer_begin_statement(&p->lexer);
            begins = true;
        }
    } while (token != GN_LEX_END && p->code == GN_OK);
    gn_sqlFinalize(machine);
}

static gn_code check_text(gn_bytes sql, gn_error *err)
{
    size_t bad = 0;
    if (sql.len > GN_MAX_STATEMENT)
        return gn_error_set(err, GN_LIMIT, "the SQL text is %zu bytes long; at most %d are allowed", sql.len,
                            (int)GN_MAX_STATEMENT);
    if (gn_utf8_valid(sql, &bad))
        return GN_OK;
    gn_error_set(err, GN_INVALID_ENCODING, "invalid byte sequence for encoding \"UTF8\": 0x%02x",
                 (unsigned)sql.data[bad]);
    gn_error_at(err, (int)bad + 1);
    return GN_INVALID_ENCODING;
}

static gn_code parse(gn_parser *p, gn_arena *arena, gn_bytes sql, int mode, gn_error *err)
{
    gn_code code = check_text(sql, err);
    if (code != GN_OK)
        return code;
    if (!sql.data)
        sql = gn_bytes_str("");
    memset(p, 0, offsetof(gn_parser, spare));
    p->arena = arena;
    p->err = err;
    gn_lexer_init(&p->lexer, arena, sql, err);
    drive(p, mode);
    return p->code;
}

gn_code gn_parse(gn_arena *arena, gn_bytes sql, gn_ast_statements *out, gn_error *err)
{
    gn_parser p;
    gn_code code = parse(&p, arena, sql, 0, err);
    if (code == GN_OK)
        *out = p.statements;
    return code;
}

gn_code gn_parse_expr(gn_arena *arena, gn_bytes sql, gn_ast_expr **out, gn_error *err)
{
    gn_parser p;
    gn_code code = parse(&p, arena, sql, GN_TK_PARSE_EXPR, err);
    if (code == GN_OK)
        *out = p.expr_out;
    return code;
}

gn_code gn_parse_type(gn_arena *arena, gn_bytes sql, gn_ast_type **out, gn_error *err)
{
    gn_parser p;
    gn_code code = parse(&p, arena, sql, GN_TK_PARSE_TYPE, err);
    if (code == GN_OK)
        *out = p.type_out;
    return code;
}

/* ---- small helpers of the public header ---- */

int gn_sql_position(gn_bytes sql, int position)
{
    int characters = 0;
    for (int i = 0; i < position; i++)
        characters += (size_t)i >= sql.len || (sql.data[i] & 0xC0) != 0x80;
    return characters;
}

bool gn_sql_quote_identifier(const char *name, gn_buf *out)
{
    size_t len = strlen(name);
    bool plain = len > 0 && !(name[0] >= '0' && name[0] <= '9');
    for (size_t i = 0; i < len && plain; i++)
        plain = (name[i] >= 'a' && name[i] <= 'z') || (name[i] >= '0' && name[i] <= '9') || name[i] == '_';
    gn_keyword_class class = gn_keyword_classify(name, len);
    if (plain && (class == GN_KW_NONE || class == GN_KW_U))
        return gn_buf_append(out, name, len);
    gn_buf_append_u8(out, '"');
    for (size_t i = 0; i < len; i++) {
        if (name[i] == '"')
            gn_buf_append_u8(out, '"');
        gn_buf_append_u8(out, (uint8_t)name[i]);
    }
    return gn_buf_append_u8(out, '"');
}
