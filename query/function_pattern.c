/* LIKE and regular expressions. */
#include "query/pattern_private.h"

/* ---- LIKE ---- */

/* Does the pattern from p on, up to its next '%', match at s? Advances both. *bad: it came upon an escape character
 * that escapes nothing; a pattern that fails before is not looked at so far, as in PostgreSQL. */
static bool match_piece(const uint8_t **p, const uint8_t *p_end, const uint8_t **s, const uint8_t *s_end, bool *bad)
{
    const uint8_t *a = *p, *b = *s;
    while (a < p_end && *a != '%') {
        if (b == s_end)
            return false;
        if (*a == '_') {
            b += gn_utf8_len(*b);
            a++;
            continue;
        }
        a += *a == '\\';
        *bad |= a == p_end;
        if (*bad || *a++ != *b++)
            return false;
    }
    *p = a;
    *s = b;
    return true;
}

/* Linear but for the retry behind the last '%', as usual: a '%' never needs an earlier '%' to be tried again. */
static bool like_match(gn_bytes text, gn_bytes pattern, bool *bad)
{
    const uint8_t *s = text.data, *s_end = s + text.len, *p = pattern.data, *p_end = p + pattern.len;
    if (!match_piece(&p, p_end, &s, s_end, bad))
        return false;
    if (p == p_end)
        return s == s_end;
    while (p < p_end) {
        while (p < p_end && *p == '%')
            p++;
        if (p == p_end)
            return true;
        bool plain = *p != '_' && *p != '\\', matched = false;
        for (; s <= s_end; s += s < s_end ? gn_utf8_len(*s) : 1) {
            const uint8_t *after_p = p, *after_s = s;
            if (plain && s < s_end) { /* on to the next place where the first byte fits */
                s = memchr(s, *p, (size_t)(s_end - s));
                if (!s)
                    return false;
                after_s = s;
            }
            if (match_piece(&after_p, p_end, &after_s, s_end, bad) && (after_p < p_end || after_s == s_end)) {
                p = after_p;
                s = after_s;
                matched = true;
                break;
            }
        }
        if (!matched)
            return false;
    }
    return true;
}

enum { LIKE = 0, NOT = 1, ICASE = 2 };

static gn_code fold(const gn_call *call, gn_bytes text, gn_bytes *out)
{
    uint8_t *to, *p;
    gn_code code = gn_eval_bytes(call->eval, 2 * text.len, &to);
    if (code)
        return code;
    p = to;
    for (size_t i = 0, len; i < text.len; i += len)
        p += gn_utf8_encode(gn_lower_character(gn_utf8_decode(text.data + i, &len)), p);
    *out = gn_bytes_of(to, (size_t)(p - to));
    return GN_OK;
}

static gn_code like(const gn_call *call, gn_column *out)
{
    const gn_bytes *texts = call->args[0].bytes, *patterns = call->args[1].bytes;
    uint8_t op = call->function->op;
    gn_bytes last = {NULL, 0}, pattern = last;
    for (uint32_t k = 0; k < call->n; k++) {
        uint32_t i = call->rows ? call->rows[k] : k;
        gn_code code = GN_OK;
        if (k == 0 || patterns[i].data != last.data || patterns[i].len != last.len) { /* the same one, mostly */
            last = patterns[i];
            pattern = gn_bytes_placed(last);
            if (op & ICASE)
                code = fold(call, pattern, &pattern);
        }
        gn_bytes text = gn_bytes_placed(texts[i]);
        gn_arena_mark mark = gn_arena_save(call->eval->arena);
        if (!code && op & ICASE)
            code = fold(call, text, &text);
        bool bad = false;
        if (!code)
            out->boolean[i] = like_match(text, pattern, &bad) != ((op & NOT) != 0);
        gn_arena_restore(call->eval->arena, mark);
        if (bad)
            code = gn_error_set(call->eval->err, GN_INVALID_ESCAPE, "LIKE pattern must not end with escape character");
        if (code)
            return code;
    }
    return GN_OK;
}

/* LIKE ... ESCAPE: the pattern with backslash as its escape instead. */
static gn_code like_escape(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_bytes pattern = args[0].as.bytes, escape = args[1].as.bytes;
    if (gn_utf8_count(escape) > 1) {
        gn_error_set(call->eval->err, GN_INVALID_ESCAPE, "invalid escape string");
        gn_error_hint(call->eval->err, "Escape string must be empty or one character.");
        return GN_INVALID_ESCAPE;
    }
    if (gn_bytes_eq(escape, gn_bytes_of("\\", 1))) {
        out->as.bytes = pattern;
        return GN_OK;
    }
    gn_buf buf;
    gn_text_begin(call->eval, &buf);
    for (size_t i = 0; i < pattern.len;) {
        size_t len = gn_utf8_len(pattern.data[i]);
        gn_bytes rest = gn_bytes_of(pattern.data + i, len);
        if (escape.len && gn_bytes_eq(rest, escape)) {
            gn_buf_append_u8(&buf, '\\');
            i += len;
            len = i < pattern.len ? gn_utf8_len(pattern.data[i]) : 0;
        } else if (pattern.data[i] == '\\') {
            gn_buf_append_u8(&buf, '\\');
        }
        gn_buf_append(&buf, pattern.data + i, len);
        i += len;
    }
    return gn_text_take(call->eval, &buf, out);
}

/* ---- regular expressions ---- */

gn_code gn_pattern_compile(const gn_call *call, gn_pattern *c, gn_bytes pattern, unsigned flags, uint32_t max_spans)
{
    const gn_eval *eval = call->eval;
    if (c->matcher && c->flags == flags && gn_bytes_eq(c->text, pattern))
        return GN_OK;
    *c = (gn_pattern){.text = pattern, .flags = flags};
    gn_code code = gn_regex_compile(pattern, flags, eval->arena, &c->regex, eval->err);
    if (code)
        return code;
    uint32_t n_spans = gn_regex_groups(c->regex) + 1;
    return gn_regex_matcher_create(c->regex, n_spans < max_spans ? n_spans : max_spans, eval->arena, &c->matcher,
                                   eval->err);
}

gn_code gn_pattern_search(const gn_call *call, const gn_pattern *c, gn_bytes text, size_t from, gn_regex_span *spans,
                          bool *found)
{
    return gn_regex_search(c->matcher, text, from, spans, call->eval->cancel, found, call->eval->err);
}

static gn_code matches(const gn_call *call, gn_column *out)
{
    uint8_t op = call->function->op;
    gn_pattern c = {.regex = NULL};
    for (uint32_t k = 0; k < call->n; k++) {
        uint32_t i = call->rows ? call->rows[k] : k;
        bool found = false;
        gn_code code =
            gn_pattern_compile(call, &c, gn_bytes_placed(call->args[1].bytes[i]), op & ICASE ? GN_REGEX_ICASE : 0, 0);
        if (!code)
            code = gn_pattern_search(call, &c, gn_bytes_placed(call->args[0].bytes[i]), 0, NULL, &found);
        if (code)
            return code;
        out->boolean[i] = found != ((op & NOT) != 0);
    }
    return GN_OK;
}

/* The letters of regexp_replace and its kin. */
gn_code gn_pattern_flags(const gn_call *call, gn_bytes letters, unsigned *flags, bool *global)
{
    *flags = 0;
    *global = false;
    for (size_t i = 0; i < letters.len; i++)
        switch (letters.data[i]) {
        case 'g':
            *global = true;
            break;
        case 'i':
            *flags |= GN_REGEX_ICASE;
            break;
        case 'c':
            *flags &= ~(unsigned)GN_REGEX_ICASE;
            break;
        case 'm':
        case 'n':
            *flags |= GN_REGEX_NEWLINE_CLASS | GN_REGEX_NEWLINE_ANCHOR;
            break;
        case 'p':
            *flags |= GN_REGEX_NEWLINE_CLASS;
            break;
        case 'w':
            *flags |= GN_REGEX_NEWLINE_ANCHOR;
            break;
        case 's':
            *flags &= ~(unsigned)(GN_REGEX_NEWLINE_CLASS | GN_REGEX_NEWLINE_ANCHOR);
            break;
        case 'q':
            *flags |= GN_REGEX_LITERAL;
            break;
        case 'x':
            *flags |= GN_REGEX_EXPANDED;
            break;
        case 'e':
        case 't':
            break;
        default:
            return gn_error_set(call->eval->err, GN_INVALID_PARAMETER, "invalid regular expression option: \"%.*s\"",
                                (int)gn_utf8_len(letters.data[i]), (const char *)letters.data + i);
        }
    return GN_OK;
}

enum { REPLACE_SPANS = 10 }; /* the match and \1 .. \9 */

/* Appends the replacement: \1 .. \9 groups, \& the match, \\ a backslash. */
static void put_replacement(gn_buf *buf, gn_bytes with, gn_bytes text, const gn_regex_span *spans, uint32_t n_spans)
{
    for (size_t i = 0; i < with.len; i++) {
        uint8_t ch = with.data[i];
        if (ch != '\\' || i + 1 == with.len) {
            gn_buf_append_u8(buf, ch);
            continue;
        }
        uint8_t next = with.data[++i];
        uint32_t group = next == '&' ? 0 : next >= '1' && next <= '9' ? (uint32_t)(next - '0') : UINT32_MAX;
        if (group == UINT32_MAX) {
            if (next != '\\')
                gn_buf_append_u8(buf, '\\');
            gn_buf_append_u8(buf, next);
        } else if (group < n_spans && spans[group].from != SIZE_MAX) {
            gn_buf_append(buf, text.data + spans[group].from, spans[group].to - spans[group].from);
        }
    }
}

static gn_code replace_all(const gn_call *call, const gn_pattern *c, gn_bytes text, gn_bytes with, bool global,
                           gn_buf *buf)
{
    gn_regex_span spans[GN_REGEX_GROUPS];
    uint32_t n_spans = gn_regex_groups(c->regex) + 1;
    n_spans = n_spans > REPLACE_SPANS ? REPLACE_SPANS : n_spans;
    size_t done = 0, from = 0;
    while (from <= text.len && !buf->failed) {
        bool found;
        gn_code code = gn_pattern_search(call, c, text, from, spans, &found);
        if (code)
            return code;
        if (!found)
            break;
        gn_buf_append(buf, text.data + done, spans[0].from - done);
        put_replacement(buf, with, text, spans, n_spans);
        done = spans[0].to;
        from = gn_pattern_next(text, spans);
        if (!global)
            break;
    }
    gn_buf_append(buf, text.data + done, text.len - done);
    return GN_OK;
}

static gn_code regexp_replace(const gn_call *call, gn_column *out)
{
    gn_pattern c = {.regex = NULL};
    for (uint32_t k = 0; k < call->n; k++) {
        uint32_t i = call->rows ? call->rows[k] : k;
        unsigned flags = 0;
        bool global = false;
        gn_value result = {.type = call->result};
        gn_code code = call->n_args == 4 ? gn_pattern_flags(call, call->args[3].bytes[i], &flags, &global) : GN_OK;
        if (!code)
            code = gn_pattern_compile(call, &c, gn_bytes_placed(call->args[1].bytes[i]), flags, REPLACE_SPANS);
        if (code)
            return code;
        gn_buf buf;
        gn_text_begin(call->eval, &buf);
        code = replace_all(call, &c, gn_bytes_placed(call->args[0].bytes[i]), call->args[2].bytes[i], global, &buf);
        if (!code)
            code = gn_text_take(call->eval, &buf, &result);
        else
            gn_buf_close(&buf);
        if (code)
            return code;
        out->bytes[i] = result.as.bytes;
    }
    return GN_OK;
}

/* substring(text from pattern), regexp_substr: the first group if there is one, else the match. */
static gn_code regexp_substr(const gn_call *call, gn_column *out)
{
    gn_pattern c = {.regex = NULL};
    for (uint32_t k = 0; k < call->n; k++) {
        uint32_t i = call->rows ? call->rows[k] : k;
        gn_bytes text = gn_bytes_placed(call->args[0].bytes[i]);
        gn_regex_span spans[2];
        bool found = false;
        gn_code code =
            gn_pattern_compile(call, &c, gn_bytes_placed(call->args[1].bytes[i]), 0, call->function->op ? 2 : 1);
        uint32_t group = !code && call->function->op && gn_regex_groups(c.regex) > 0;
        if (!code)
            code = gn_pattern_search(call, &c, text, 0, spans, &found);
        if (code)
            return code;
        if (!found || spans[group].from == SIZE_MAX)
            gn_column_set_null(out, i);
        else
            out->bytes[i] = gn_bytes_of(text.data + spans[group].from, spans[group].to - spans[group].from);
    }
    return GN_OK;
}

gn_code gn_pattern_flags_of_row(const gn_call *call, uint32_t at, uint32_t row, unsigned *flags)
{
    bool global = false;
    *flags = 0;
    if (at >= call->n_args)
        return GN_OK;
    gn_code code = gn_pattern_flags(call, call->args[at].bytes[row], flags, &global);
    if (!code && global)
        code = gn_error_set(call->eval->err, GN_INVALID_PARAMETER, "%s() does not support the \"global\" option",
                            call->function->name);
    return code;
}

static gn_code regexp_like(const gn_call *call, gn_column *out)
{
    gn_pattern c = {.regex = NULL};
    for (uint32_t k = 0; k < call->n; k++) {
        uint32_t i = call->rows ? call->rows[k] : k;
        unsigned flags;
        bool found = false;
        gn_code code = gn_pattern_flags_of_row(call, 2, i, &flags);
        if (!code)
            code = gn_pattern_compile(call, &c, gn_bytes_placed(call->args[1].bytes[i]), flags, 0);
        if (!code)
            code = gn_pattern_search(call, &c, gn_bytes_placed(call->args[0].bytes[i]), 0, NULL, &found);
        if (code)
            return code;
        out->boolean[i] = found;
    }
    return GN_OK;
}

static gn_code regexp_count(const gn_call *call, gn_column *out)
{
    gn_pattern c = {.regex = NULL};
    for (uint32_t k = 0; k < call->n; k++) {
        uint32_t i = call->rows ? call->rows[k] : k;
        gn_bytes text = gn_bytes_placed(call->args[0].bytes[i]);
        gn_code code = gn_pattern_compile(call, &c, gn_bytes_placed(call->args[1].bytes[i]), 0, 1);
        gn_regex_span span;
        bool found = true;
        for (size_t from = 0; !code && from <= text.len; from = gn_pattern_next(text, &span)) {
            code = gn_pattern_search(call, &c, text, from, &span, &found);
            if (code || !found)
                break;
            out->i32[i]++;
        }
        if (code)
            return code;
    }
    return GN_OK;
}

/* clang-format off */
#define T1 GN_TY(TEXT)
#define T2 GN_TY(TEXT), GN_TY(TEXT)
#define T3 GN_TY(TEXT), GN_TY(TEXT), GN_TY(TEXT)
#define MATCH(name, op_, kernel) {name, GN_TY(BOOL), 2, GN_IMMUTABLE, 0, op_, {T2}, .batch = kernel},

static const gn_function functions[] = {
    MATCH("~~", LIKE, like) MATCH("!~~", NOT, like) MATCH("~~*", ICASE, like) MATCH("!~~*", NOT | ICASE, like)
    MATCH("like", LIKE, like) MATCH("notlike", NOT, like)
    {"like_escape", T1, 2, GN_IMMUTABLE, 0, 0, {T2}, .row = like_escape},
    MATCH("~", 0, matches) MATCH("!~", NOT, matches) MATCH("~*", ICASE, matches) MATCH("!~*", NOT | ICASE, matches)
    {"regexp_replace", T1, 3, GN_IMMUTABLE, 0, 0, {T3}, .batch = regexp_replace},
    {"regexp_replace", T1, 4, GN_IMMUTABLE, 0, 0, {T3, T1}, .batch = regexp_replace},
    {"substring", T1, 2, GN_IMMUTABLE, 0, 1, {T2}, .batch = regexp_substr},
    {"regexp_substr", T1, 2, GN_IMMUTABLE, 0, 0, {T2}, .batch = regexp_substr},
    {"regexp_like", GN_TY(BOOL), 2, GN_IMMUTABLE, 0, 0, {T2}, .batch = regexp_like},
    {"regexp_like", GN_TY(BOOL), 3, GN_IMMUTABLE, 0, 0, {T3}, .batch = regexp_like},
    {"regexp_count", GN_TY(INT4), 2, GN_IMMUTABLE, 0, 0, {T2}, .batch = regexp_count},
};
/* clang-format on */

const gn_function_list gn_functions_pattern = {functions, sizeof functions / sizeof *functions};
