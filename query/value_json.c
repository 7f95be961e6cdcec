/* json and jsonb. A json is checked (RFC 8259) and kept as it came; a jsonb is written anew in PostgreSQL's canonical
 * form: keys by length, then bytes; of equal keys the last; numbers as numeric prints them. Depth is bounded by
 * GN_MAX_NESTING. */
#include "query/json_walk.h"
#include "query/numeric.h"
#include "query/value_private.h"

#include <stdlib.h>

typedef struct reader {
    const uint8_t *p, *end;
    gn_arena *arena;
    gn_buf *out; /* NULL: only check */
    gn_error *err;
    uint32_t depth;
} reader;

static gn_code read_value(reader *r);

static gn_code bad_json(reader *r, const char *why)
{
    gn_error_set(r->err, GN_BAD_JSON, "invalid input syntax for type json");
    if (r->p >= r->end) {
        gn_error_detail(r->err, "The input string ended unexpectedly.");
    } else {
        size_t n = 1;
        while (n < 40 && r->p + n < r->end &&
               (r->p[n] > 0x7f || gn_is_digit(r->p[n]) || ((r->p[n] | 0x20) >= 'a' && (r->p[n] | 0x20) <= 'z')))
            n++;
        gn_error_detail(r->err, "Token \"%.*s\" is invalid: %s.", gn_quotable(gn_bytes_of(r->p, n)), (const char *)r->p,
                        why);
    }
    return GN_BAD_JSON;
}

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

/* Four hexadecimal digits at r->p. */
static bool take_hex4(reader *r, uint32_t *out)
{
    if (r->end - r->p < 4)
        return false;
    for (int i = 0; i < 4; i++) {
        int v = hex_value(*r->p++);
        if (v < 0)
            return false;
        *out = *out << 4 | (uint32_t)v;
    }
    return true;
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

/* Behind "\u". */
static gn_code read_unicode(reader *r, gn_buf *text)
{
    uint32_t c = 0, low = 0;
    if (!take_hex4(r, &c))
        return bad_json(r, "\"\\u\" must be followed by four hexadecimal digits");
    if (c >= 0xdc00 && c < 0xe000)
        return bad_json(r, "a low surrogate must follow a high surrogate");
    if (c >= 0xd800 && c < 0xdc00) {
        if (r->end - r->p < 6 || r->p[0] != '\\' || r->p[1] != 'u')
            return bad_json(r, "a high surrogate must be followed by a low surrogate");
        r->p += 2;
        if (!take_hex4(r, &low) || low < 0xdc00 || low >= 0xe000)
            return bad_json(r, "a high surrogate must be followed by a low surrogate");
        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
    }
    if (c == 0 && r->out) {
        gn_error_set(r->err, GN_INVALID_PARAMETER, "unsupported Unicode escape sequence");
        gn_error_detail(r->err, "\\u0000 cannot be converted to text.");
        return GN_INVALID_PARAMETER;
    }
    put_utf8(c, text);
    return GN_OK;
}

/* A string at r->p; its text without escapes into `text`. */
static gn_code read_string(reader *r, gn_buf *text)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    for (r->p++; r->p < r->end && *r->p != '"';) {
        const uint8_t *start = r->p;
        while (r->p < r->end && *r->p != '"' && *r->p != '\\' && *r->p >= 0x20)
            r->p++;
        gn_buf_append(text, start, (size_t)(r->p - start));
        if (r->p >= r->end || *r->p == '"')
            break;
        if (*r->p < 0x20)
            return bad_json(r, "control characters must be escaped");
        if (++r->p >= r->end)
            break;
        const char *at = strchr(from, *r->p);
        uint8_t escape = *r->p++;
        gn_code code = GN_OK;
        if (escape == 'u')
            code = read_unicode(r, text);
        else if (!at || !escape)
            code = (r->p--, bad_json(r, "no such escape"));
        else
            gn_buf_append_u8(text, (uint8_t)to[at - from]);
        if (code != GN_OK)
            return code;
    }
    if (r->p >= r->end)
        return bad_json(r, "");
    r->p++;
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

static bool take_digits(reader *r)
{
    const uint8_t *start = r->p;
    while (r->p < r->end && gn_is_digit(*r->p))
        r->p++;
    return r->p > start;
}

static gn_code read_number(reader *r)
{
    const uint8_t *start = r->p;
    if (*r->p == '-')
        r->p++;
    bool zero = r->p < r->end && *r->p == '0';
    const uint8_t *digits = r->p;
    bool sound = take_digits(r) && !(zero && r->p - digits > 1);
    if (sound && r->p < r->end && *r->p == '.') {
        r->p++;
        sound = take_digits(r);
    }
    if (sound && r->p < r->end && (*r->p | 0x20) == 'e') {
        r->p++;
        if (r->p < r->end && (*r->p == '+' || *r->p == '-'))
            r->p++;
        sound = take_digits(r);
    }
    if (!sound) {
        r->p = start;
        return bad_json(r, "this is no number");
    }
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
        return bad_json(r, close == ']' ? "expected \",\" or \"]\"" : "expected \",\" or \"}\"");
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
} members;

static gn_code read_member(reader *r, members *list)
{
    member m = {.number = list->n};
    skip_space(r);
    if (r->p >= r->end || *r->p != '"')
        return bad_json(r, "expected a string as key");
    gn_code code = take_string(r, &m.key);
    skip_space(r);
    if (code == GN_OK && (r->p >= r->end || *r->p != ':'))
        code = bad_json(r, "expected \":\"");
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
    static const char *const words[] = {"true", "false", "null"};
    for (int i = 0; i < 3; i++) {
        size_t len = strlen(words[i]);
        if ((size_t)(r->end - r->p) >= len && memcmp(r->p, words[i], len) == 0) {
            r->p += len;
            return put(r, words[i], len);
        }
    }
    return bad_json(r, "expected a JSON value");
}

static gn_code read_value(reader *r)
{
    gn_code code;
    skip_space(r);
    if (r->p >= r->end)
        return bad_json(r, "");
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
    reader r = {.p = text.data, .end = text.data + text.len, .arena = arena, .out = out, .err = err};
    size_t bad;
    if (!gn_utf8_valid(text, &bad))
        return gn_bad_utf8(text, bad, err);
    gn_code code = read_value(&r);
    skip_space(&r);
    if (code == GN_OK && r.p < r.end)
        code = bad_json(&r, "expected the end of the input");
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

static int compare_json(gn_bytes a, gn_bytes b)
{
    gn_json_kind x = gn_json_kind_of(a), y = gn_json_kind_of(b);
    if (x != y)
        return rank(x) < rank(y) ? -1 : 1;
    if (x == GN_JSON_NUMBER)
        return compare_numbers(a, b);
    if (x != GN_JSON_ARRAY && x != GN_JSON_OBJECT)
        return x == GN_JSON_BOOLEAN ? (a.data[0] == 't') - (b.data[0] == 't') : gn_bytes_cmp(a, b);
    uint32_t n = gn_json_count(a), m = gn_json_count(b);
    if (n != m)
        return n < m ? -1 : 1;
    gn_json_iter i = gn_json_open(a), j = gn_json_open(b);
    while (gn_json_next(&i) && gn_json_next(&j)) {
        int c = x == GN_JSON_OBJECT ? gn_bytes_cmp(i.key, j.key) : 0;
        if (c == 0)
            c = compare_json(i.value, j.value);
        if (c)
            return c;
    }
    return 0;
}

static int jsonb_compare(const gn_value *a, const gn_value *b)
{
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
