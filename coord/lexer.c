/* The lexer. By hand, because it must be fast, must bound what it takes, and has one rule of its own: a `?` is a
 * parameter where an operand is due and (part of) an operator elsewhere; so SQLite's `a=?` works beside PostgreSQL's
 * `doc ? 'key'`. */
#include "coord/lexer.h"

#include "base/buf.h"
#include "base/limits.h"
#include "coord/keywords.h"
#include "query/value.h"
#include "sql.h"

#include <pthread.h>
#include <string.h>

/* ---- keywords ---- */

typedef struct gn_keyword {
    const char *word;
    uint8_t len;
    uint8_t class;
    uint16_t token;
} gn_keyword;

static const gn_keyword gn_keywords[] = {
#define GN_KEYWORD_ROW(word, token, class) {word, sizeof word - 1, GN_KW_##class, GN_TK_##token},
    GN_KEYWORD_TABLE(GN_KEYWORD_ROW)
#undef GN_KEYWORD_ROW
};

enum { GN_KEYWORD_SLOTS = 1024, GN_KEYWORD_LONGEST = 17 };
static uint16_t gn_keyword_slots[GN_KEYWORD_SLOTS]; /* index + 1 into gn_keywords; 0 = free */
static pthread_once_t gn_keyword_once = PTHREAD_ONCE_INIT;

static uint32_t keyword_hash(const char *word, size_t len)
{
    uint32_t h = (uint32_t)len;
    for (size_t i = 0; i < len; i++)
        h = h * 31 + (uint8_t)word[i];
    return (h ^ h >> 10) & (GN_KEYWORD_SLOTS - 1);
}

static void keyword_init(void)
{
    for (size_t i = 0; i < sizeof gn_keywords / sizeof *gn_keywords; i++) {
        uint32_t slot = keyword_hash(gn_keywords[i].word, gn_keywords[i].len);
        while (gn_keyword_slots[slot])
            slot = (slot + 1) & (GN_KEYWORD_SLOTS - 1);
        gn_keyword_slots[slot] = (uint16_t)(i + 1);
    }
}

static const gn_keyword *keyword_find(const char *word, size_t len)
{
    if (len > GN_KEYWORD_LONGEST)
        return NULL;
    for (uint32_t slot = keyword_hash(word, len); gn_keyword_slots[slot]; slot = (slot + 1) & (GN_KEYWORD_SLOTS - 1)) {
        const gn_keyword *k = &gn_keywords[gn_keyword_slots[slot] - 1];
        if (k->len == len && memcmp(k->word, word, len) == 0)
            return k;
    }
    return NULL;
}

gn_keyword_class gn_keyword_classify(const char *word, size_t len)
{
    pthread_once(&gn_keyword_once, keyword_init);
    const gn_keyword *k = keyword_find(word, len);
    return k ? k->class : GN_KW_NONE;
}

/* ---- characters ---- */

enum { C_SPACE = 1, C_IDENT_START = 2, C_DIGIT = 4, C_OPERATOR = 8, C_SELF = 16, C_DOLLAR = 32 };

static const uint8_t gn_char_class[256] = {
    [' '] = C_SPACE,
    ['\t'] = C_SPACE,
    ['\n'] = C_SPACE,
    ['\r'] = C_SPACE,
    ['\f'] = C_SPACE,
    ['A' ... 'Z'] = C_IDENT_START,
    ['a' ... 'z'] = C_IDENT_START,
    [128 ... 255] = C_IDENT_START,
    ['_'] = C_IDENT_START,
    ['0' ... '9'] = C_DIGIT,
    ['$'] = C_DOLLAR,
    ['~'] = C_OPERATOR,
    ['!'] = C_OPERATOR,
    ['@'] = C_OPERATOR,
    ['#'] = C_OPERATOR,
    ['&'] = C_OPERATOR,
    ['|'] = C_OPERATOR,
    ['`'] = C_OPERATOR,
    ['?'] = C_OPERATOR,
    ['+'] = C_OPERATOR | C_SELF,
    ['-'] = C_OPERATOR | C_SELF,
    ['*'] = C_OPERATOR | C_SELF,
    ['/'] = C_OPERATOR | C_SELF,
    ['<'] = C_OPERATOR | C_SELF,
    ['>'] = C_OPERATOR | C_SELF,
    ['='] = C_OPERATOR | C_SELF,
    ['%'] = C_OPERATOR | C_SELF,
    ['^'] = C_OPERATOR | C_SELF,
    [','] = C_SELF,
    ['('] = C_SELF,
    [')'] = C_SELF,
    ['['] = C_SELF,
    [']'] = C_SELF,
    ['.'] = C_SELF,
    [';'] = C_SELF,
    [':'] = C_SELF,
};

static inline bool is_class(uint8_t c, int mask)
{
    return gn_char_class[c] & mask;
}

/* The byte `ahead` of the next one; 0 at the end (a NUL in the text itself is refused at the start). */
static inline uint8_t peek(const gn_lexer *l, size_t ahead)
{
    return l->at + ahead < l->len ? (uint8_t)l->sql[l->at + ahead] : 0;
}

static inline bool is_ident_char(uint8_t c)
{
    return is_class(c, C_IDENT_START | C_DIGIT | C_DOLLAR);
}

/* ---- errors ---- */

static int fail(gn_lexer *l, gn_code code)
{
    l->code = code;
    return GN_LEX_ERROR;
}

/* Error texts must not be longer than an error's message, nor end inside a character. */
enum { GN_QUOTED_SOURCE = 200 };

gn_code gn_lexer_error(gn_lexer *l, const char *what, int position, size_t source_len)
{
    const char *text = l->sql + (position - 1);
    size_t n = source_len < GN_QUOTED_SOURCE ? source_len : GN_QUOTED_SOURCE;
    while (n < source_len && n > 0 && ((uint8_t)text[n] & 0xC0) == 0x80)
        n--;
    gn_error_set(l->err, GN_SYNTAX, "%s at or near \"%.*s\"", what, (int)n, text);
    gn_error_at(l->err, position);
    return GN_SYNTAX;
}

static int syntax(gn_lexer *l, const char *what, size_t start, size_t end)
{
    return fail(l, gn_lexer_error(l, what, (int)start + 1, end - start));
}

static int out_of_memory(gn_lexer *l)
{
    return fail(l, gn_error_oom(l->err, gn_arena_account(l->arena)));
}

/* ---- white space and comments ---- */

/* Skips them. False: a comment does not end. *newline: a line ended on the way. */
static bool skip_blank(gn_lexer *l, bool *newline)
{
    for (;;) {
        uint8_t c = peek(l, 0);
        if (is_class(c, C_SPACE)) {
            *newline |= c == '\n' || c == '\r';
            l->at++;
        } else if (c == '-' && peek(l, 1) == '-') {
            while (l->at < l->len && l->sql[l->at] != '\n' && l->sql[l->at] != '\r')
                l->at++;
        } else if (c == '/' && peek(l, 1) == '*') {
            size_t start = l->at;
            uint32_t depth = 1;
            l->at += 2;
            while (depth > 0) {
                if (l->at >= l->len)
                    return syntax(l, "unterminated /* comment", start, l->len), false;
                if (peek(l, 0) == '/' && peek(l, 1) == '*')
                    depth++, l->at += 2;
                else if (peek(l, 0) == '*' && peek(l, 1) == '/')
                    depth--, l->at += 2;
                else
                    l->at++;
            }
        } else {
            return true;
        }
    }
}

/* ---- strings ---- */

/* A string goes on after its quote when only white space with a line end (and -- comments) lies before the next one. */
static bool string_continues(gn_lexer *l)
{
    size_t at = l->at;
    bool newline = false;
    for (;;) {
        uint8_t c = at < l->len ? (uint8_t)l->sql[at] : 0;
        if (is_class(c, C_SPACE)) {
            newline |= c == '\n' || c == '\r';
            at++;
        } else if (newline && c == '-' && at + 1 < l->len && l->sql[at + 1] == '-') {
            while (at < l->len && l->sql[at] != '\n' && l->sql[at] != '\r')
                at++;
        } else {
            break;
        }
    }
    if (!newline || at >= l->len || l->sql[at] != '\'')
        return false;
    l->at = at + 1;
    return true;
}

/* How far the string whose contents begin at l->at reaches, with its doubled quotes, continuations and (E'', U&'')
 * backslashes: never less than what it means. 0: it does not end. So that copies take memory by the string's size. */
static size_t string_extent(gn_lexer *l, bool backslashes)
{
    size_t begin = l->at, extent = 0;
    while (l->at < l->len && extent == 0) {
        char c = l->sql[l->at++];
        if (c == '\\' && backslashes)
            l->at++;
        else if (c == '\'' && peek(l, 0) == '\'')
            l->at++;
        else if (c == '\'' && !string_continues(l))
            extent = l->at - begin;
    }
    l->at = begin;
    return extent;
}

/* at is behind the opening quote. Without doubled quotes the contents stay where they are. */
static int lex_string(gn_lexer *l, size_t start, gn_token *t)
{
    size_t begin = l->at;
    const char *quote = memchr(l->sql + l->at, '\'', l->len - l->at);
    if (!quote)
        return syntax(l, "unterminated quoted string", start, l->len);
    l->at = (size_t)(quote - l->sql) + 1;
    size_t end = l->at - 1;
    if (peek(l, 0) != '\'' && !string_continues(l)) {
        t->text = l->sql + begin;
        t->len = (uint32_t)(end - begin);
        return GN_TK_STRING;
    }
    l->at = begin;
    size_t extent = string_extent(l, false);
    if (extent == 0)
        return syntax(l, "unterminated quoted string", start, l->len);
    char *out = gn_arena_alloc(l->arena, extent);
    if (!out)
        return out_of_memory(l);
    size_t n = 0;
    for (;;) {
        quote = memchr(l->sql + l->at, '\'', l->len - l->at);
        size_t piece = (size_t)(quote - l->sql) - l->at;
        memcpy(out + n, l->sql + l->at, piece);
        n += piece;
        l->at += piece + 1;
        if (peek(l, 0) == '\'') {
            out[n++] = '\'';
            l->at++;
        } else if (!string_continues(l)) {
            break;
        }
    }
    t->text = out;
    t->len = (uint32_t)n;
    return GN_TK_STRING;
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static size_t put_utf8(char *out, uint32_t c)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xC0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3F));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xE0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3F));
        out[2] = (char)(0x80 | (c & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3F));
    out[2] = (char)(0x80 | (c >> 6 & 0x3F));
    out[3] = (char)(0x80 | (c & 0x3F));
    return 4;
}

static int bad_unicode(gn_lexer *l, const char *what, size_t at)
{
    gn_error_set(l->err, GN_INVALID_ESCAPE, "%s", what);
    gn_error_at(l->err, (int)at + 1);
    return fail(l, GN_INVALID_ESCAPE);
}

/* `digits` hexadecimal digits at l->at; a high surrogate must be followed by `introducer` and a low one.
 * Returns bytes put, or GN_LEX_ERROR. */
static int unicode_escape(gn_lexer *l, size_t escape_at, int digits, const char *introducer, char *out)
{
    uint32_t value[2] = {0, 0};
    for (int part = 0; part < 2; part++) {
        for (int i = 0; i < digits; i++) {
            int d = hex_digit(peek(l, 0));
            if (d < 0)
                return bad_unicode(l, "invalid Unicode escape", escape_at);
            value[part] = value[part] << 4 | (uint32_t)d;
            l->at++;
        }
        if (part == 0 && (value[0] < 0xD800 || value[0] > 0xDBFF))
            break;
        if (part == 1 && (value[1] < 0xDC00 || value[1] > 0xDFFF))
            return bad_unicode(l, "invalid Unicode surrogate pair", escape_at);
        if (part == 0) {
            for (const char *q = introducer; *q; q++, l->at++)
                if (peek(l, 0) != (uint8_t)*q)
                    return bad_unicode(l, "invalid Unicode surrogate pair", escape_at);
        } else {
            value[0] = 0x10000 + ((value[0] & 0x3FF) << 10) + (value[1] & 0x3FF);
        }
    }
    if (value[0] == 0 || value[0] > 0x10FFFF)
        return bad_unicode(l, "invalid Unicode escape value", escape_at);
    if (value[0] >= 0xDC00 && value[0] <= 0xDFFF)
        return bad_unicode(l, "invalid Unicode surrogate pair", escape_at);
    return (int)put_utf8(out, value[0]);
}

/* One escape of E'...', at the byte behind the backslash. Bytes put, or GN_LEX_ERROR. */
static int backslash_escape(gn_lexer *l, char *out)
{
    size_t escape_at = l->at - 1;
    uint8_t c = peek(l, 0);
    l->at++;
    switch (c) {
    case 'b':
        *out = '\b';
        return 1;
    case 'f':
        *out = '\f';
        return 1;
    case 'n':
        *out = '\n';
        return 1;
    case 'r':
        *out = '\r';
        return 1;
    case 't':
        *out = '\t';
        return 1;
    case 'v':
        *out = '\v';
        return 1;
    case 'u':
        return unicode_escape(l, escape_at, 4, "\\u", out);
    case 'U':
        return unicode_escape(l, escape_at, 8, "\\U", out);
    case 'x': {
        int d = hex_digit(peek(l, 0)), value = 0;
        if (d < 0)
            break;
        for (int i = 0; i < 2 && (d = hex_digit(peek(l, 0))) >= 0; i++, l->at++)
            value = value * 16 + d;
        *out = (char)value;
        return 1;
    }
    case '0' ... '7': {
        int value = c - '0';
        for (int i = 0; i < 2 && peek(l, 0) >= '0' && peek(l, 0) <= '7'; i++, l->at++)
            value = value * 8 + (peek(l, 0) - '0');
        *out = (char)value;
        return 1;
    }
    default:
        break;
    }
    *out = (char)c;
    return 1;
}

/* Octal and hexadecimal escapes can make what is no text. */
static int check_text(gn_lexer *l, size_t start, const char *text, size_t n)
{
    size_t bad = 0;
    if (gn_utf8_valid(gn_bytes_of(text, n), &bad))
        return GN_TK_STRING;
    gn_error_set(l->err, GN_INVALID_ENCODING, "invalid byte sequence for encoding \"UTF8\": 0x%02x",
                 (unsigned)(uint8_t)text[bad]);
    gn_error_at(l->err, (int)start + 1);
    return fail(l, GN_INVALID_ENCODING);
}

/* One escape of U&'...', at the byte behind the backslash. Bytes put, or GN_LEX_ERROR. */
static int ampersand_escape(gn_lexer *l, char *out)
{
    size_t escape_at = l->at - 1;
    if (peek(l, 0) == '\\') {
        *out = '\\';
        l->at++;
        return 1;
    }
    if (peek(l, 0) != '+')
        return unicode_escape(l, escape_at, 4, "\\", out);
    l->at++;
    return unicode_escape(l, escape_at, 6, "\\+", out);
}

/* E'...' and U&'...'; at is behind the opening quote. An escape is never shorter than what it means. */
static int lex_escape_string(gn_lexer *l, size_t start, bool unicode, gn_token *t)
{
    size_t extent = string_extent(l, true), n = 0;
    if (extent == 0)
        return syntax(l, "unterminated quoted string", start, l->len);
    char *out = gn_arena_alloc(l->arena, extent);
    if (!out)
        return out_of_memory(l);
    for (;;) {
        char c = l->sql[l->at++];
        if (c == '\\') {
            int put = unicode ? ampersand_escape(l, out + n) : backslash_escape(l, out + n);
            if (put < 0)
                return GN_LEX_ERROR;
            n += (size_t)put;
        } else if (c != '\'') {
            out[n++] = c;
        } else if (peek(l, 0) == '\'') {
            out[n++] = '\'';
            l->at++;
        } else if (!string_continues(l)) {
            break;
        }
    }
    t->text = out;
    t->len = (uint32_t)n;
    return check_text(l, start, out, n);
}

/* $tag$...$tag$, or nothing of the kind. */
static int lex_dollar(gn_lexer *l, gn_token *t)
{
    size_t start = l->at, at = l->at + 1;
    if (at < l->len && is_class((uint8_t)l->sql[at], C_IDENT_START))
        while (at < l->len && is_class((uint8_t)l->sql[at], C_IDENT_START | C_DIGIT))
            at++;
    if (at >= l->len || l->sql[at] != '$') {
        l->at++;
        return GN_TK_ILLEGAL;
    }
    size_t tag = at + 1 - start;
    const char *body = l->sql + at + 1;
    const char *end = memmem(body, l->len - (at + 1), l->sql + start, tag);
    if (!end)
        return syntax(l, "unterminated dollar-quoted string", start, l->len);
    t->text = body;
    t->len = (uint32_t)(end - body);
    l->at = (size_t)(end - l->sql) + tag;
    return GN_TK_STRING;
}

/* ---- names ---- */

/* Cut to GN_MAX_NAME bytes as PostgreSQL does, at a character's end. */
static size_t cut_name(const char *text, size_t n)
{
    if (n <= GN_MAX_NAME)
        return n;
    n = GN_MAX_NAME;
    while (n > 0 && ((uint8_t)text[n] & 0xC0) == 0x80)
        n--;
    return n;
}

static int lex_quoted_identifier(gn_lexer *l, size_t start, gn_token *t)
{
    size_t begin = ++l->at, n = 0;
    size_t scan = begin;
    for (;; scan++) {
        if (scan >= l->len)
            return syntax(l, "unterminated quoted identifier", start, l->len);
        if (l->sql[scan] != '"')
            continue;
        if (scan + 1 < l->len && l->sql[scan + 1] == '"')
            scan++;
        else
            break;
    }
    if (scan == begin)
        return syntax(l, "zero-length delimited identifier", start, scan + 1);
    char *out = gn_arena_alloc(l->arena, scan - begin + 1);
    if (!out)
        return out_of_memory(l);
    for (size_t i = begin; i < scan; i++) {
        out[n++] = l->sql[i];
        i += l->sql[i] == '"';
    }
    n = cut_name(out, n);
    out[n] = 0;
    t->text = out;
    t->len = (uint32_t)n;
    l->at = scan + 1;
    return GN_TK_IDENT;
}

static int lex_word(gn_lexer *l, gn_token *t)
{
    size_t start = l->at;
    while (l->at < l->len && is_ident_char((uint8_t)l->sql[l->at]))
        l->at++;
    size_t n = cut_name(l->sql + start, l->at - start);
    char folded[GN_MAX_NAME + 1];
    for (size_t i = 0; i < n; i++) {
        char c = l->sql[start + i];
        folded[i] = c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
    }
    const gn_keyword *k = keyword_find(folded, n);
    t->len = (uint32_t)n;
    if (k) {
        t->text = k->word;
        return k->token;
    }
    t->text = gn_arena_strndup(l->arena, folded, n);
    return t->text ? GN_TK_IDENT : out_of_memory(l);
}

/* B'101' and X'1f': the letter stays in front of the digits, as the type's input takes them. */
static int bit_string(gn_lexer *l, char letter, gn_token *t)
{
    char *text = gn_arena_alloc(l->arena, t->len + 2u);
    if (!text)
        return out_of_memory(l);
    text[0] = letter;
    memcpy(text + 1, t->text, t->len);
    text[t->len + 1] = 0;
    t->text = text;
    t->len++;
    return GN_TK_BITS;
}

/* A word, or one of the letters that begin a special string. */
static int lex_letter(gn_lexer *l, gn_token *t)
{
    size_t start = l->at;
    char c = (char)(l->sql[start] | 0x20);
    uint8_t next = peek(l, 1);
    if (next == '\'' && c == 'e')
        return l->at += 2, lex_escape_string(l, start, false, t);
    if (next == '\'' && c == 'n')
        return l->at += 2, lex_string(l, start, t);
    if (next == '\'' && (c == 'b' || c == 'x')) {
        l->at += 2;
        int token = lex_string(l, start, t);
        return token == GN_TK_STRING ? bit_string(l, c, t) : token;
    }
    if (c == 'u' && next == '&' && peek(l, 2) == '\'')
        return l->at += 3, lex_escape_string(l, start, true, t);
    return lex_word(l, t);
}

/* ---- numbers, parameters, operators ---- */

static void skip_digits(gn_lexer *l)
{
    while (is_class(peek(l, 0), C_DIGIT))
        l->at++;
}

static int lex_number(gn_lexer *l, gn_token *t)
{
    size_t start = l->at;
    int token = GN_TK_INTEGER;
    skip_digits(l);
    if (peek(l, 0) == '.' && peek(l, 1) != '.') {
        token = GN_TK_FLOAT;
        l->at++;
        skip_digits(l);
    }
    if ((peek(l, 0) | 0x20) == 'e') {
        size_t sign = peek(l, 1) == '+' || peek(l, 1) == '-';
        if (is_class(peek(l, 1 + sign), C_DIGIT)) {
            token = GN_TK_FLOAT;
            l->at += 1 + sign;
            skip_digits(l);
        }
    }
    if (is_class(peek(l, 0), C_IDENT_START))
        return syntax(l, "trailing junk after numeric literal", start, l->at + 1);
    t->text = l->sql + start;
    t->len = (uint32_t)(l->at - start);
    return token;
}

/* $12 and ?12: the number; ?: the next one. */
static int lex_param(gn_lexer *l, gn_token *t)
{
    size_t start = l->at;
    bool question = l->sql[l->at++] == '?';
    bool numbered = is_class(peek(l, 0), C_DIGIT);
    uint32_t number = 0;
    while (is_class(peek(l, 0), C_DIGIT)) {
        number = number <= GN_MAX_PARAMETERS ? number * 10 + (uint32_t)(peek(l, 0) - '0') : number;
        l->at++;
    }
    if (is_class(peek(l, 0), C_IDENT_START))
        return syntax(l, "trailing junk after parameter", start, l->at + 1);
    if (!numbered)
        number = ++l->n_questions;
    l->has_question |= question && !numbered;
    l->has_dollar |= numbered;
    if (l->has_question && l->has_dollar)
        return syntax(l, "numbered and unnumbered parameters in one statement", start, l->at);
    if (number == 0 || number > GN_MAX_PARAMETERS) {
        gn_error_set(l->err, number ? GN_LIMIT : GN_NO_PARAMETER, "there is no parameter $%u", number);
        if (number)
            gn_error_set(l->err, GN_LIMIT, "a statement has at most %d parameters", (int)GN_MAX_PARAMETERS);
        gn_error_at(l->err, (int)start + 1);
        return fail(l, number ? GN_LIMIT : GN_NO_PARAMETER);
    }
    if (number > l->max_param)
        l->max_param = number;
    t->text = NULL;
    t->len = number; /* a parameter's number stands for its length: it has no text */
    return GN_TK_PARAM;
}

/* Where an operator that starts at `at` ends, by PostgreSQL's rules: no comment inside, and a trailing + or - only
 * when a character is there that no SQL operator has. And ours: a `?` at the end is a parameter (`a=?`), but `@?`. */
static size_t operator_end(const gn_lexer *l)
{
    size_t end = l->at;
    while (end < l->len && is_class((uint8_t)l->sql[end], C_OPERATOR)) {
        bool more = end + 1 < l->len;
        if (more && ((l->sql[end] == '-' && l->sql[end + 1] == '-') || (l->sql[end] == '/' && l->sql[end + 1] == '*')))
            break;
        end++;
    }
    size_t n = end - l->at;
    const char *op = l->sql + l->at;
    if (n > 1 && op[n - 1] == '?' && !(n == 2 && op[0] == '@'))
        n--;
    bool special = false;
    for (size_t i = 0; i < n; i++)
        special |= strchr("~!@#%^&|`?", op[i]) != NULL;
    while (!special && n > 1 && (op[n - 1] == '+' || op[n - 1] == '-'))
        n--;
    return l->at + n;
}

static int self_token(char c)
{
    switch (c) {
    case '+':
        return GN_TK_PLUS;
    case '-':
        return GN_TK_MINUS;
    case '*':
        return GN_TK_STAR;
    case '/':
        return GN_TK_SLASH;
    case '%':
        return GN_TK_PERCENT;
    case '^':
        return GN_TK_CARET;
    case '<':
        return GN_TK_LT;
    case '>':
        return GN_TK_GT;
    case '=':
        return GN_TK_EQ;
    case ',':
        return GN_TK_COMMA;
    case '(':
        return GN_TK_LP;
    case ')':
        return GN_TK_RP;
    case '[':
        return GN_TK_LB;
    case ']':
        return GN_TK_RB;
    case '.':
        return GN_TK_DOT;
    case ';':
        return GN_TK_SEMI;
    case ':':
        return GN_TK_COLON;
    default:
        return GN_TK_ILLEGAL;
    }
}

/* The common operators need no memory. */
static const char *static_operator(const char *op, size_t n)
{
    static const char *const known[] = {
        "+",   "-",   "*",  "/",  "%",  "^",   "<",  ">",   "=", "<=", ">=", "<>",  "||", "<->", "<#>",
        "<=>", "<+>", "@>", "<@", "->", "->>", "#>", "#>>", "~", "!~", "~*", "!~*", "&&", "~~",  "!~~"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strncmp(known[i], op, n) == 0 && known[i][n] == 0)
            return known[i];
    return NULL;
}

static int lex_operator(gn_lexer *l, gn_token *t)
{
    const char *op = l->sql + l->at;
    size_t end = operator_end(l), n = end - l->at;
    if (n > GN_MAX_NAME)
        return syntax(l, "operator too long", l->at, end);
    l->at = end;
    t->len = (uint32_t)n;
    int token = GN_TK_OP;
    if (n == 1 && is_class((uint8_t)op[0], C_SELF))
        token = self_token(op[0]);
    else if (n == 2 && op[1] == '=' && op[0] == '<')
        token = GN_TK_LE;
    else if (n == 2 && op[1] == '=' && op[0] == '>')
        token = GN_TK_GE;
    else if (n == 2 && ((op[0] == '<' && op[1] == '>') || (op[0] == '!' && op[1] == '=')))
        token = GN_TK_NE, op = "<>";
    else if (n == 2 && op[0] == '=' && op[1] == '>')
        token = GN_TK_ILLEGAL; /* named arguments */
    t->text = static_operator(op, n);
    if (!t->text)
        t->text = gn_arena_strndup(l->arena, op, n);
    return t->text ? token : out_of_memory(l);
}

static int lex_punctuation(gn_lexer *l, gn_token *t)
{
    char c = l->sql[l->at];
    if (c == ':' && peek(l, 1) == ':') {
        l->at += 2;
        t->text = "::";
        t->len = 2;
        return GN_TK_TYPECAST;
    }
    l->at++;
    t->text = l->sql + l->at - 1;
    t->len = 1;
    return self_token(c);
}

/* ---- the lexer ---- */

static int lex_one(gn_lexer *l, gn_token *t)
{
    uint8_t c = (uint8_t)l->sql[l->at];
    if (is_class(c, C_IDENT_START))
        return lex_letter(l, t);
    if (c == '\'')
        return l->at++, lex_string(l, l->at - 1, t);
    if (is_class(c, C_DIGIT) || (c == '.' && is_class(peek(l, 1), C_DIGIT)))
        return lex_number(l, t);
    if (c == '?' && !l->after_operand)
        return lex_param(l, t);
    if (is_class(c, C_OPERATOR))
        return lex_operator(l, t);
    if (is_class(c, C_SELF))
        return lex_punctuation(l, t);
    if (c == '"')
        return lex_quoted_identifier(l, l->at, t);
    if (c == '$' && is_class(peek(l, 1), C_DIGIT))
        return lex_param(l, t);
    if (c == '$')
        return lex_dollar(l, t);
    l->at++;
    return GN_TK_ILLEGAL;
}

/* Does a token of this kind end an operand, so that an operator is due next? Unreserved keywords may be names; those
 * after which an operand comes in our grammar are not taken for names. */
static bool ends_operand(int token)
{
    switch (token) {
    case GN_TK_IDENT:
    case GN_TK_STRING:
    case GN_TK_BITS:
    case GN_TK_INTEGER:
    case GN_TK_FLOAT:
    case GN_TK_PARAM:
    case GN_TK_RP:
    case GN_TK_RB:
    case GN_TK_END:
    case GN_TK_NULL:
    case GN_TK_TRUE:
    case GN_TK_FALSE:
    case GN_TK_CURRENT_WORD:
    case GN_TK_CURRENT_TIME:
    case GN_TK_KEY:
    case GN_TK_VALUE:
    case GN_TK_TYPE:
    case GN_TK_NAMES:
        return true;
    default:
        return false;
    }
}

void gn_lexer_init(gn_lexer *lexer, gn_arena *arena, gn_bytes sql, gn_error *err)
{
    pthread_once(&gn_keyword_once, keyword_init);
    *lexer = (gn_lexer){.sql = (const char *)sql.data, .len = sql.len, .arena = arena, .err = err};
}

void gn_lexer_begin_statement(gn_lexer *lexer)
{
    lexer->has_dollar = lexer->has_question = false;
    lexer->n_questions = lexer->max_param = 0;
    lexer->brackets = 0;
}

int gn_lex(gn_lexer *l, gn_token *t)
{
    bool newline = false;
    if (!skip_blank(l, &newline))
        return GN_LEX_ERROR;
    *t = (gn_token){.text = "", .position = (int)l->at + 1};
    if (l->at >= l->len)
        return GN_LEX_END;
    size_t start = l->at;
    int token = lex_one(l, t);
    t->source_len = (uint32_t)(l->at - start);
    l->after_operand = ends_operand(token);
    if (token == GN_TK_LP || token == GN_TK_LB || token == GN_TK_CASE)
        l->brackets++;
    else if ((token == GN_TK_RP || token == GN_TK_RB || token == GN_TK_END) && l->brackets > 0)
        l->brackets--;
    return token;
}
