/* json and jsonb. A json is checked (RFC 8259) and kept as it came; a jsonb is written anew in PostgreSQL's canonical
 * form: keys by length, then bytes; of equal keys the last; numbers as numeric prints them. Depth is bounded by
 * GN_MAX_NESTING. */
#include "query/json_walk.h"
#include "query/numeric.h"
#include "query/value_private.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct reader {
    const uint8_t *start, *p, *end;
    gn_arena *arena;
    gn_buf *out; /* NULL: only check */
    gn_error *err;
    uint32_t depth;
} reader;

static gn_code read_value(reader *r);

/* ---- what is wrong ---- Message, detail and context are those of PostgreSQL 15. */

/* The line up to `upto`, shortened at its beginning. */
static void add_context(const reader *r, const uint8_t *upto)
{
    enum { SHOWN = 50 };
    const uint8_t *line = r->start, *from;
    unsigned number = 1;
    for (const uint8_t *p = r->start; p < upto; p++)
        if (*p == '\n') {
            number++;
            line = p + 1;
        }
    for (from = line; upto - from >= SHOWN || (from > line && (*from & 0xc0) == 0x80);)
        from++;
    if (from - line <= 3)
        from = line;
    bool more = upto < r->end && *upto != '\n' && *upto != '\r';
    gn_error_context(r->err, "JSON data, line %u: %s%.*s%s", number, from > line ? "..." : "", (int)(upto - from),
                     (const char *)from, more ? "..." : "");
}

static gn_code bad_json(const reader *r, const uint8_t *upto, const char *detail)
{
    gn_error_set(r->err, GN_BAD_JSON, "invalid input syntax for type json");
    gn_error_detail(r->err, "%s", detail);
    add_context(r, upto);
    return GN_BAD_JSON;
}

/* `before` and `after` the text from `from` to `upto`, in quotes. */
static gn_code bad_token(const reader *r, const uint8_t *from, const uint8_t *upto, const char *before,
                         const char *after)
{
    char detail[400];
    snprintf(detail, sizeof detail, "%s\"%.*s\"%s", before, gn_quotable(gn_bytes_of(from, (size_t)(upto - from))),
             (const char *)from, after);
    return bad_json(r, upto, detail);
}

static gn_code invalid_token(const reader *r, const uint8_t *upto)
{
    return bad_token(r, r->p, upto, "Token ", " is invalid.");
}

static bool is_word_byte(uint8_t c)
{
    return gn_is_digit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '_' || c > 0x7f;
}

static const uint8_t *word_end(const uint8_t *p, const uint8_t *end)
{
    while (p < end && is_word_byte(*p))
        p++;
    return p;
}

/* Behind the number at p, and all that clings to it. */
static const uint8_t *number_end(const uint8_t *p, const uint8_t *end, bool *sound)
{
    p += *p == '-';
    const uint8_t *digits = p;
    while (p < end && gn_is_digit(*p) && !(p > digits && *digits == '0'))
        p++;
    *sound = p > digits;
    if (*sound && p < end && *p == '.') {
        digits = ++p;
        while (p < end && gn_is_digit(*p))
            p++;
        *sound = p > digits;
    }
    if (*sound && p < end && (*p | 0x20) == 'e') {
        p++;
        p += p < end && (*p == '+' || *p == '-');
        digits = p;
        while (p < end && gn_is_digit(*p))
            p++;
        *sound = p > digits;
    }
    const uint8_t *last = word_end(p, end);
    *sound &= last == p;
    return last;
}

static bool is_word(const uint8_t *p, const uint8_t *end)
{
    gn_bytes word = gn_bytes_of(p, (size_t)(end - p));
    return gn_bytes_eq(word, gn_bytes_str("true")) || gn_bytes_eq(word, gn_bytes_str("false")) ||
           gn_bytes_eq(word, gn_bytes_str("null"));
}

/* Behind the token at r->p; *sound: it is one of JSON. */
static const uint8_t *token_end(const reader *r, bool *sound)
{
    const uint8_t *p = r->p;
    *sound = true;
    if (strchr("{}[],:", *p))
        return p + 1;
    if (*p == '-' || gn_is_digit(*p))
        return number_end(p, r->end, sound);
    if (*p == '"') {
        for (p++; p < r->end && *p != '"'; p++)
            p += *p == '\\' && p + 1 < r->end;
        *sound = p < r->end;
        return p + *sound;
    }
    const uint8_t *end = word_end(p, r->end);
    *sound = is_word(p, end);
    return end > p ? end : p + 1;
}

/* Something else stands at r->p than what `expected` names. */
static gn_code unexpected(const reader *r, const char *expected)
{
    char before[60];
    bool sound;
    if (r->p >= r->end)
        return bad_json(r, r->end, "The input string ended unexpectedly.");
    const uint8_t *end = token_end(r, &sound);
    snprintf(before, sizeof before, "Expected %s, but found ", expected);
    return sound ? bad_token(r, r->p, end, before, ".") : invalid_token(r, end);
}

/* ---- reading ---- */

static gn_code put(reader *r, const void *data, size_t len)
{
    if (r->out && !gn_buf_append(r->out, data, len))
        return gn_error_oom(r->err, gn_arena_account(r->arena));
    return GN_OK;
}

static void skip_space(reader *r)
{
    while (r->p < r->end && (*r->p == ' ' || *r->p == '\t' || *r->p == '\n' || *r->p == '\r'))
        r->p++;
}

static int hex_value(uint8_t c)
{
    if (gn_is_digit(c))
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Four hexadecimal digits at *p, which goes behind them. */
static gn_code take_hex4(reader *r, const uint8_t **p, uint32_t *out)
{
    *out = 0;
    for (int i = 0; i < 4; i++) {
        if (*p >= r->end)
            return invalid_token(r, r->end);
        int v = hex_value(**p);
        if (v < 0)
            return bad_json(r, *p + gn_utf8_len(**p), "\"\\u\" must be followed by four hexadecimal digits.");
        *out = *out << 4 | (uint32_t)v;
        ++*p;
    }
    return GN_OK;
}

static void put_utf8(uint32_t c, gn_buf *out)
{
    if (c < 0x80) {
        gn_buf_append_u8(out, (uint8_t)c);
        return;
    }
    int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    static const uint8_t lead[] = {0, 0xc0, 0xe0, 0xf0};
    gn_buf_append_u8(out, (uint8_t)(lead[more] | c >> 6 * more));
    while (more-- > 0)
        gn_buf_append_u8(out, (uint8_t)(0x80 | (c >> 6 * more & 0x3f)));
}

/* Behind "\u" at *p. What the escape means is asked only where the text is wanted: a json keeps it as it came. */
static gn_code read_unicode(reader *r, const uint8_t **p, gn_buf *text)
{
    uint32_t c, low;
    gn_code code = take_hex4(r, p, &c);
    if (code != GN_OK || !r->out)
        return code;
    if (c >= 0xdc00 && c < 0xe000)
        return bad_json(r, *p, "Unicode low surrogate must follow a high surrogate.");
    if (c >= 0xd800 && c < 0xdc00) {
        if (r->end - *p < 2 || (*p)[0] != '\\' || (*p)[1] != 'u')
            return bad_json(r, *p < r->end ? *p + gn_utf8_len(**p) : *p,
                            "Unicode low surrogate must follow a high surrogate.");
        *p += 2;
        code = take_hex4(r, p, &low);
        if (code != GN_OK)
            return code;
        if (low >= 0xd800 && low < 0xdc00)
            return bad_json(r, *p, "Unicode high surrogate must not follow a high surrogate.");
        if (low < 0xdc00 || low >= 0xe000)
            return bad_json(r, *p, "Unicode low surrogate must follow a high surrogate.");
        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
    }
    if (c == 0) {
        gn_error_set(r->err, GN_UNTRANSLATABLE, "unsupported Unicode escape sequence");
        gn_error_detail(r->err, "\\u0000 cannot be converted to text.");
        add_context(r, *p);
        return GN_UNTRANSLATABLE;
    }
    put_utf8(c, text);
    return GN_OK;
}

/* Behind the backslash at *p. */
static gn_code read_escape(reader *r, const uint8_t **p, gn_buf *text)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const uint8_t *letter = *p;
    const char *at = *letter ? strchr(from, *letter) : NULL;
    if (*letter == 'u') {
        ++*p;
        return read_unicode(r, p, text);
    }
    if (!at)
        return bad_token(r, letter - 1, letter + gn_utf8_len(*letter), "Escape sequence ", " is invalid.");
    ++*p;
    gn_buf_append_u8(text, (uint8_t)to[at - from]);
    return GN_OK;
}

/* A string at r->p; its text without escapes into `text`. */
static gn_code read_string(reader *r, gn_buf *text)
{
    const uint8_t *p = r->p + 1;
    for (;;) {
        const uint8_t *start = p;
        while (p < r->end && *p != '"' && *p != '\\' && *p >= 0x20)
            p++;
        gn_buf_append(text, start, (size_t)(p - start));
        if (p < r->end && *p == '"')
            break;
        if (p < r->end && *p < 0x20) {
            char detail[60];
            snprintf(detail, sizeof detail, "Character with value 0x%02x must be escaped.", *p);
            return bad_json(r, p, detail);
        }
        if (r->end - p < 2)
            return invalid_token(r, r->end);
        p++;
        gn_code code = read_escape(r, &p, text);
        if (code != GN_OK)
            return code;
    }
    r->p = p + 1;
    return text->failed ? gn_error_oom(r->err, gn_arena_account(r->arena)) : GN_OK;
}

/* The string as a slice in the arena. */
static gn_code take_string(reader *r, gn_bytes *out)
{
    gn_buf text;
    gn_buf_init(&text, gn_arena_account(r->arena), GN_MAX_FIELD);
    gn_code code = read_string(r, &text);
    if (code == GN_OK) {
        void *copy = gn_arena_memdup(r->arena, text.data, text.len);
        *out = gn_bytes_of(copy, text.len);
        if (!copy)
            code = gn_error_oom(r->err, gn_arena_account(r->arena));
    }
    gn_buf_close(&text);
    return code;
}

static gn_code read_number(reader *r)
{
    bool sound;
    const uint8_t *start = r->p, *end = number_end(start, r->end, &sound);
    if (!sound)
        return invalid_token(r, end);
    r->p = end;
    if (!r->out)
        return GN_OK;
    gn_bytes number;
    gn_code code = gn_numeric_parse(gn_bytes_of(start, (size_t)(r->p - start)), r->arena, &number, r->err);
    if (code == GN_OK && !gn_numeric_print(number, r->out))
        code = gn_error_oom(r->err, gn_arena_account(r->arena));
    return code;
}

/* After an item: true to go on behind a comma, false at the closing bracket. */
static gn_code next_item(reader *r, uint8_t close, bool *more)
{
    skip_space(r);
    if (r->p >= r->end || (*r->p != ',' && *r->p != close))
        return unexpected(r, close == ']' ? "\",\" or \"]\"" : "\",\" or \"}\"");
    *more = *r->p++ == ',';
    return GN_OK;
}

static gn_code read_array(reader *r)
{
    bool more = true, first = true;
    gn_code code = put(r, "[", 1);
    r->p++;
    skip_space(r);
    if (r->p < r->end && *r->p == ']') {
        r->p++;
        return code == GN_OK ? put(r, "]", 1) : code;
    }
    for (; code == GN_OK && more; first = false) {
        if (!first)
            code = put(r, ", ", 2);
        if (code == GN_OK)
            code = read_value(r);
        if (code == GN_OK)
            code = next_item(r, ']', &more);
    }
    return code == GN_OK ? put(r, "]", 1) : code;
}

typedef struct member {
    gn_bytes key, value; /* value: canonical text */
    uint32_t number;
} member;

static int compare_members(const void *a, const void *b)
{
    const member *x = a, *y = b;
    if (x->key.len != y->key.len)
        return x->key.len < y->key.len ? -1 : 1;
    int c = x->key.len ? memcmp(x->key.data, y->key.data, x->key.len) : 0;
    return c ? c : (x->number > y->number) - (x->number < y->number);
}

typedef struct members {
    member *items;
    uint32_t n, capacity;
    bool seen; /* a member, kept or not */
} members;

static gn_code read_member(reader *r, members *list)
{
    member m = {.number = list->n};
    skip_space(r);
    if (r->p >= r->end || *r->p != '"')
        return unexpected(r, list->seen ? "string" : "string or \"}\"");
    list->seen = true;
    gn_code code = take_string(r, &m.key);
    skip_space(r);
    if (code == GN_OK && (r->p >= r->end || *r->p != ':'))
        code = unexpected(r, "\":\"");
    if (code != GN_OK)
        return code;
    r->p++;
    size_t start = r->out ? r->out->len : 0;
    code = read_value(r);
    if (code != GN_OK || !r->out)
        return code;
    m.value = gn_bytes_of(gn_arena_memdup(r->arena, r->out->data + start, r->out->len - start), r->out->len - start);
    r->out->len = start;
    if (list->n == list->capacity) {
        list->capacity = list->capacity ? 2 * list->capacity : 8;
        list->items = gn_xrealloc(list->items, list->capacity * sizeof *list->items);
    }
    list->items[list->n++] = m;
    return m.value.data ? GN_OK : gn_error_oom(r->err, gn_arena_account(r->arena));
}

static gn_code write_members(reader *r, members *list)
{
    bool any = false;
    if (list->n)
        qsort(list->items, list->n, sizeof *list->items, compare_members);
    for (uint32_t i = 0; i < list->n; i++) {
        const member *m = &list->items[i];
        if (i + 1 < list->n && gn_bytes_eq(m->key, list->items[i + 1].key))
            continue;
        if (any)
            gn_buf_append_str(r->out, ", ");
        gn_json_quote(m->key, r->out);
        gn_buf_append_str(r->out, ": ");
        gn_buf_append_bytes(r->out, m->value);
        any = true;
    }
    return put(r, "}", 1);
}

static gn_code read_object(reader *r)
{
    members list = {0};
    bool more;
    gn_code code = put(r, "{", 1);
    r->p++;
    skip_space(r);
    more = r->p >= r->end || *r->p != '}';
    if (!more)
        r->p++;
    while (code == GN_OK && more) {
        code = read_member(r, &list);
        if (code == GN_OK)
            code = next_item(r, '}', &more);
    }
    if (code == GN_OK && r->out)
        code = write_members(r, &list);
    free(list.items);
    return code;
}

static gn_code read_word(reader *r)
{
    const uint8_t *start = r->p, *end = word_end(start, r->end);
    if (!is_word(start, end))
        return unexpected(r, "JSON value");
    r->p = end;
    return put(r, start, (size_t)(end - start));
}

static gn_code read_value(reader *r)
{
    gn_code code;
    skip_space(r);
    if (r->p >= r->end)
        return unexpected(r, "JSON value");
    if (*r->p == '"') {
        gn_bytes text;
        code = take_string(r, &text);
        if (code == GN_OK && r->out)
            gn_json_quote(text, r->out);
        return code;
    }
    if (*r->p == '-' || gn_is_digit(*r->p))
        return read_number(r);
    if (*r->p != '{' && *r->p != '[')
        return read_word(r);
    if (++r->depth > GN_MAX_NESTING)
        return gn_error_set(r->err, GN_STATEMENT_TOO_COMPLEX, "a JSON document may be nested %d levels deep",
                            (int)GN_MAX_NESTING);
    code = *r->p == '{' ? read_object(r) : read_array(r);
    r->depth--;
    return code;
}

static gn_code read_document(gn_bytes text, gn_buf *out, gn_arena *arena, gn_error *err)
{
    reader r = {
        .start = text.data, .p = text.data, .end = text.data + text.len, .arena = arena, .out = out, .err = err};
    size_t bad;
    if (!gn_utf8_valid(text, &bad))
        return gn_bad_utf8(text, bad, err);
    gn_code code = read_value(&r);
    skip_space(&r);
    if (code == GN_OK && r.p < r.end)
        code = unexpected(&r, "end of input");
    if (code == GN_OK && out && out->failed)
        code = gn_error_oom(err, gn_arena_account(arena));
    return code;
}

static gn_code json_parse(gn_bytes text, gn_type type, const gn_format *format, gn_arena *arena, gn_value *out,
                          gn_error *err)
{
    (void)format;
    gn_arena *scratch = gn_arena_create(gn_arena_account(arena));
    gn_code code = read_document(text, NULL, scratch, err);
    gn_arena_destroy(scratch);
    if (code == GN_OK)
        *out = (gn_value){.type = type, .as.bytes = text};
    return code;
}

static gn_code jsonb_parse(gn_bytes text, gn_type type, const gn_format *format, gn_arena *arena, gn_value *out,
                           gn_error *err)
{
    gn_buf canonical;
    (void)format;
    gn_arena *scratch = gn_arena_create(gn_arena_account(arena));
    gn_buf_init(&canonical, gn_arena_account(arena), GN_MAX_FIELD);
    gn_code code = read_document(text, &canonical, scratch, err);
    if (code == GN_OK) {
        void *copy = gn_arena_memdup(arena, canonical.data, canonical.len);
        if (copy)
            *out = (gn_value){.type = type, .as.bytes = gn_bytes_of(copy, canonical.len)};
        else
            code = gn_error_oom(err, gn_arena_account(arena));
    }
    gn_buf_close(&canonical);
    gn_arena_destroy(scratch);
    return code;
}

static bool print_bytes(const gn_value *v, const gn_format *format, gn_buf *out)
{
    (void)format;
    return gn_buf_append_bytes(out, v->as.bytes);
}

static gn_code json_recv(gn_bytes wire, gn_type type, gn_arena *arena, gn_value *out, gn_error *err)
{
    return json_parse(wire, type, NULL, arena, out, err);
}

static bool json_send(const gn_value *v, gn_buf *out)
{
    return gn_buf_append_bytes(out, v->as.bytes);
}

enum { JSONB_WIRE_VERSION = 1 };

static gn_code jsonb_recv(gn_bytes wire, gn_type type, gn_arena *arena, gn_value *out, gn_error *err)
{
    if (wire.len == 0 || wire.data[0] != JSONB_WIRE_VERSION)
        return gn_error_set(err, GN_BAD_BINARY, "unsupported jsonb version number %d", wire.len ? wire.data[0] : 0);
    return jsonb_parse(gn_bytes_of(wire.data + 1, wire.len - 1), type, NULL, arena, out, err);
}

static bool jsonb_send(const gn_value *v, gn_buf *out)
{
    gn_buf_append_u8(out, JSONB_WIRE_VERSION);
    return gn_buf_append_bytes(out, v->as.bytes);
}

/* ---- order: Object > Array > Boolean > Number > String > Null; longer containers above shorter ones ---- */

static int rank(gn_json_kind kind)
{
    static const int ranks[] = {[GN_JSON_NULL] = 0,    [GN_JSON_STRING] = 1, [GN_JSON_NUMBER] = 2,
                                [GN_JSON_BOOLEAN] = 3, [GN_JSON_ARRAY] = 4,  [GN_JSON_OBJECT] = 5};
    return ranks[kind];
}

static gn_bytes number_of(gn_bytes text, gn_arena *arena)
{
    gn_bytes number = {0};
    gn_code code = gn_numeric_parse(text, arena, &number, NULL);
    GN_ASSERT(code == GN_OK); /* it was printed by numeric */
    return number;
}

static int compare_numbers(gn_bytes a, gn_bytes b)
{
    gn_arena *arena = gn_arena_create(NULL);
    int c = gn_numeric_compare(number_of(a, arena), number_of(b, arena));
    gn_arena_destroy(arena);
    return c;
}

/* The next byte of the text of a canonical string, which escapes ASCII alone; -1: its end. */
static int next_byte(const uint8_t **p, const uint8_t *end)
{
    static const char letters[] = "bfnrt", meanings[] = "\b\f\n\r\t";
    if (*p >= end)
        return -1;
    uint8_t c = *(*p)++;
    if (c != '\\')
        return c;
    c = *(*p)++;
    if (c == 'u') { /* 00xx */
        *p += 4;
        return hex_value((*p)[-2]) << 4 | hex_value((*p)[-1]);
    }
    const char *letter = strchr(letters, c);
    return letter ? meanings[letter - letters] : c;
}

/* By the bytes of the texts, not of the escapes. */
static int compare_strings(gn_bytes a, gn_bytes b)
{
    const uint8_t *p = a.data + 1, *p_end = a.data + a.len - 1, *q = b.data + 1, *q_end = b.data + b.len - 1;
    int x, y;
    do {
        x = next_byte(&p, p_end);
        y = next_byte(&q, q_end);
    } while (x == y && x >= 0);
    return (x > y) - (x < y);
}

static int compare_json(gn_bytes a, gn_bytes b)
{
    gn_json_kind x = gn_json_kind_of(a), y = gn_json_kind_of(b);
    if (x != y)
        return rank(x) < rank(y) ? -1 : 1;
    if (x == GN_JSON_NUMBER)
        return compare_numbers(a, b);
    if (x == GN_JSON_STRING)
        return compare_strings(a, b);
    if (x != GN_JSON_ARRAY && x != GN_JSON_OBJECT)
        return x == GN_JSON_BOOLEAN ? (a.data[0] == 't') - (b.data[0] == 't') : gn_bytes_cmp(a, b);
    uint32_t n = gn_json_count(a), m = gn_json_count(b);
    if (n != m)
        return n < m ? -1 : 1;
    gn_json_iter i = gn_json_open(a), j = gn_json_open(b);
    while (gn_json_next(&i) && gn_json_next(&j)) {
        int c = x == GN_JSON_OBJECT ? compare_strings(i.key, j.key) : 0;
        if (c == 0)
            c = compare_json(i.value, j.value);
        if (c)
            return c;
    }
    return 0;
}

static bool is_empty_array(gn_bytes json)
{
    return json.len == 2 && json.data[0] == '[';
}

static bool is_scalar(gn_bytes json)
{
    return json.data[0] != '[' && json.data[0] != '{';
}

/* PostgreSQL takes a bare scalar for an array of one, so that the empty array is below it; but only on the top level.
 */
static int jsonb_compare(const gn_value *a, const gn_value *b)
{
    if (is_empty_array(a->as.bytes) && is_scalar(b->as.bytes))
        return -1;
    if (is_empty_array(b->as.bytes) && is_scalar(a->as.bytes))
        return 1;
    return compare_json(a->as.bytes, b->as.bytes);
}

static uint64_t hash_json(gn_bytes json)
{
    gn_json_kind kind = gn_json_kind_of(json);
    uint64_t h = gn_hash_u64((uint64_t)kind + 1);
    if (kind == GN_JSON_NUMBER) {
        gn_arena *arena = gn_arena_create(NULL);
        h ^= gn_numeric_hash(number_of(json, arena));
        gn_arena_destroy(arena);
        return h;
    }
    if (kind != GN_JSON_ARRAY && kind != GN_JSON_OBJECT)
        return h ^ gn_hash_bytes(json);
    for (gn_json_iter i = gn_json_open(json); gn_json_next(&i);)
        h = gn_hash_u64(h ^ hash_json(i.value) ^ (kind == GN_JSON_OBJECT ? gn_hash_bytes(i.key) : 0));
    return h;
}

static uint64_t jsonb_hash(const gn_value *v)
{
    return hash_json(v->as.bytes);
}

/* json has no order in SQL; these serve what only needs some. */
static int json_compare(const gn_value *a, const gn_value *b)
{
    return gn_bytes_cmp(a->as.bytes, b->as.bytes);
}

static uint64_t json_hash(const gn_value *v)
{
    return gn_hash_bytes(v->as.bytes);
}

const gn_type_ops gn_json_ops = {json_parse, print_bytes, json_recv, json_send, json_compare, json_hash};
const gn_type_ops gn_jsonb_ops = {jsonb_parse, print_bytes, jsonb_recv, jsonb_send, jsonb_compare, jsonb_hash};
