/* Arrays as text and on the wire, as array_in, array_out, array_recv and array_send of PostgreSQL 15. */
#include "query/array_private.h"
#include "query/value_private.h"

/* ---- text: the structure ---- */

typedef enum token { T_START, T_OPEN, T_ITEM, T_CLOSE, T_COMMA_AFTER_ITEM, T_COMMA_AFTER_CLOSE } token;

/* The literal is gone through twice: first for its structure, so that its faults are told before those of an item and
 * the number of items is known; then for the items. */
typedef struct literal {
    gn_bytes text;
    const uint8_t *p, *end;
    gn_error *err;
    uint32_t depth;                       /* of open braces */
    uint32_t n_dimensions;                /* depth of the items; 0: none yet */
    int32_t lengths[GN_ARRAY_DIMENSIONS]; /* 0: not known yet */
    int32_t lower_bounds[GN_ARRAY_DIMENSIONS];
    int32_t counts[GN_ARRAY_DIMENSIONS]; /* of the lists that are open */
    uint64_t n_items;
} literal;

static gn_code malformed(const literal *l, const char *detail, char character)
{
    gn_error_set(l->err, GN_BAD_TEXT, "malformed array literal: \"%.*s\"", gn_quotable(l->text),
                 (const char *)l->text.data);
    if (character)
        gn_error_detail(l->err, "Unexpected \"%c\" character.", character);
    else
        gn_error_detail(l->err, "%s", detail);
    return GN_BAD_TEXT;
}

static void skip_space(literal *l)
{
    while (l->p < l->end && gn_is_space(*l->p))
        l->p++;
}

static gn_code too_deep(const literal *l, uint32_t n)
{
    return gn_error_set(l->err, GN_LIMIT, "number of array dimensions (%u) exceeds the maximum allowed (%d)", n,
                        (int)GN_ARRAY_DIMENSIONS);
}

static gn_code uneven(const literal *l)
{
    return malformed(l, "Multidimensional arrays must have sub-arrays with matching dimensions.", 0);
}

/* Behind an item at l->p: quoted from the first to the last byte, or bare. */
static gn_code pass_item(literal *l)
{
    bool quoted = *l->p == '"';
    for (l->p += quoted; l->p < l->end; l->p++) {
        uint8_t c = *l->p;
        if (c == '\\') {
            if (++l->p == l->end)
                break;
        } else if (quoted ? c == '"' : c == '"' || c == '{') {
            if (!quoted)
                return c == '{' ? malformed(l, NULL, '{') : malformed(l, "Unexpected array element.", 0);
            l->p++;
            return GN_OK;
        } else if (!quoted && (c == ',' || c == '}')) {
            return GN_OK;
        }
    }
    return malformed(l, "Unexpected end of input.", 0);
}

static gn_code open_list(literal *l, token last)
{
    if (last != T_START && last != T_OPEN && last != T_COMMA_AFTER_CLOSE)
        return malformed(l, NULL, '{');
    if (l->depth == GN_ARRAY_DIMENSIONS)
        return too_deep(l, l->depth + 1);
    l->counts[l->depth++] = 0;
    l->p++;
    return GN_OK;
}

static gn_code close_list(literal *l, token last)
{
    bool empty = last == T_OPEN && l->depth == 1;
    if (last != T_ITEM && last != T_CLOSE && !empty)
        return malformed(l, NULL, '}');
    int32_t n = l->counts[--l->depth];
    if (l->lengths[l->depth] && l->lengths[l->depth] != n)
        return uneven(l);
    l->lengths[l->depth] = n;
    if (l->depth > 0)
        l->counts[l->depth - 1]++;
    l->p++;
    return GN_OK;
}

static gn_code count_item(literal *l, token last)
{
    if (last != T_OPEN && last != T_COMMA_AFTER_ITEM)
        return *l->p == '\\' ? malformed(l, NULL, '\\') : malformed(l, "Unexpected array element.", 0);
    gn_code code = pass_item(l);
    if (code != GN_OK)
        return code;
    if (l->n_dimensions && l->n_dimensions != l->depth)
        return uneven(l);
    l->n_dimensions = l->depth;
    l->counts[l->depth - 1]++;
    if (++l->n_items > GN_MAX_ARRAY_ITEMS)
        return gn_error_set(l->err, GN_LIMIT, "array size exceeds the maximum allowed (%d)", (int)GN_MAX_ARRAY_ITEMS);
    return GN_OK;
}

/* From the first brace to the end of the text. */
static gn_code read_structure(literal *l)
{
    token last = T_START;
    gn_code code = GN_OK;
    do {
        skip_space(l);
        if (l->p == l->end)
            return malformed(l, "Unexpected end of input.", 0);
        switch (*l->p) {
        case '{':
            code = open_list(l, last);
            last = T_OPEN;
            break;
        case '}':
            code = close_list(l, last);
            last = T_CLOSE;
            break;
        case ',':
            if (last != T_ITEM && last != T_CLOSE)
                return malformed(l, NULL, ',');
            last = last == T_ITEM ? T_COMMA_AFTER_ITEM : T_COMMA_AFTER_CLOSE;
            l->p++;
            break;
        default:
            code = count_item(l, last);
            last = T_ITEM;
        }
    } while (code == GN_OK && l->depth > 0);
    skip_space(l);
    if (code == GN_OK && l->p < l->end)
        return malformed(l, "Junk after closing right brace.", 0);
    return code;
}

/* ---- text: [lower:upper] before the braces ---- */

static bool read_bound(literal *l, int32_t *out)
{
    const uint8_t *from = l->p;
    bool negative = l->p < l->end && *l->p == '-';
    int64_t v = 0;
    if (l->p < l->end && (*l->p == '-' || *l->p == '+'))
        l->p++;
    for (; l->p < l->end && gn_is_digit(*l->p); l->p++)
        v = v > INT32_MAX ? v : v * 10 + (*l->p - '0');
    v = negative ? -v : v;
    *out = v < INT32_MIN ? INT32_MIN : v > INT32_MAX ? INT32_MAX : (int32_t)v;
    return l->p > from;
}

static gn_code read_dimension(literal *l, int64_t *length, int32_t *lower)
{
    int32_t first, upper;
    l->p++;
    if (!read_bound(l, &first))
        return malformed(l, "\"[\" must introduce explicitly-specified array dimensions.", 0);
    *lower = 1;
    upper = first;
    if (l->p < l->end && *l->p == ':') {
        l->p++;
        *lower = first;
        if (!read_bound(l, &upper))
            return malformed(l, "Missing array dimension value.", 0);
    }
    if (l->p == l->end || *l->p != ']')
        return malformed(l, "Missing \"]\" after array dimensions.", 0);
    l->p++;
    if (upper < *lower)
        return gn_error_set(l->err, GN_ARRAY_SUBSCRIPT, "upper bound cannot be less than lower bound");
    *length = (int64_t)upper - *lower + 1;
    return GN_OK;
}

/* Everything up to the items: l->p is then at the first brace, the shape is known. */
static gn_code read_shape(literal *l)
{
    int64_t given[GN_ARRAY_DIMENSIONS];
    uint32_t n = 0;
    for (skip_space(l); l->p < l->end && *l->p == '['; skip_space(l)) {
        if (n == GN_ARRAY_DIMENSIONS)
            return too_deep(l, n + 1);
        gn_code code = read_dimension(l, &given[n], &l->lower_bounds[n]);
        if (code != GN_OK)
            return code;
        n++;
    }
    if (n > 0) {
        if (l->p == l->end || *l->p != '=')
            return malformed(l, "Missing \"=\" after array dimensions.", 0);
        l->p++;
        skip_space(l);
    }
    if (l->p == l->end || *l->p != '{')
        return malformed(l,
                         n ? "Array contents must start with \"{\"."
                           : "Array value must start with \"{\" or dimension information.",
                         0);
    const uint8_t *start = l->p;
    gn_bytes whole = l->text;
    l->text = gn_bytes_of(start, (size_t)(l->end - start)); /* faults of the structure quote it alone */
    gn_code code = read_structure(l);
    l->text = whole;
    bool same = n == 0 || n == l->n_dimensions;
    for (uint32_t d = 0; d < n && same; d++)
        same = given[d] == l->lengths[d];
    if (code == GN_OK && !same)
        code = malformed(l, "Specified array dimensions do not match array contents.", 0);
    l->p = start;
    return code;
}

/* ---- text: the items ---- */

/* Without backslashes; of a bare item also without the white space behind it, unless a backslash keeps it. */
static gn_bytes unescape(gn_bytes raw, bool quoted, uint8_t *to)
{
    size_t n = 0, kept = 0;
    for (size_t i = 0; i < raw.len; i++) {
        bool escaped = raw.data[i] == '\\';
        i += escaped;
        to[n++] = raw.data[i];
        if (quoted || escaped || !gn_is_space(raw.data[i]))
            kept = n;
    }
    return gn_bytes_of(to, kept);
}

/* The text of the item at l->p, which is sound; *bare: neither quotes nor backslashes were in it. */
static gn_code read_item(literal *l, gn_arena *arena, gn_bytes *out, bool *bare)
{
    const uint8_t *from = l->p;
    bool quoted = *from == '"';
    gn_code code = pass_item(l);
    if (code != GN_OK)
        return code;
    from += quoted;
    gn_bytes raw = gn_bytes_of(from, (size_t)(l->p - from) - quoted);
    bool escaped = raw.len && memchr(raw.data, '\\', raw.len);
    *bare = !quoted && !escaped;
    if (!escaped) {
        while (!quoted && raw.len && gn_is_space(raw.data[raw.len - 1]))
            raw.len--;
        *out = raw;
        return GN_OK;
    }
    uint8_t *to = gn_arena_alloc(arena, raw.len);
    if (!to)
        return gn_error_oom(l->err, gn_arena_account(arena));
    *out = unescape(raw, quoted, to);
    return GN_OK;
}

static gn_code read_items(literal *l, gn_type element, const gn_format *format, gn_array_builder *b)
{
    /* what an item needs beside its place in the array is given back after each */
    bool is_bytes = gn_type_physical(element) == GN_P_BYTES;
    gn_arena *scratch = is_bytes ? gn_arena_create(gn_arena_account(b->arena)) : b->arena;
    gn_code code = GN_OK;
    while (code == GN_OK && b->n_items < l->n_items) {
        while (gn_is_space(*l->p) || *l->p == '{' || *l->p == '}' || *l->p == ',')
            l->p++;
        gn_bytes text;
        bool bare = false;
        gn_value item = gn_value_null(element);
        code = read_item(l, scratch, &text, &bare);
        if (code == GN_OK && !(bare && gn_same_word(text, "null")))
            code = gn_value_parse(text, element, format, scratch, &item, l->err);
        if (code == GN_OK)
            code = gn_array_add(b, &item, l->err);
        if (is_bytes)
            gn_arena_reset(scratch);
    }
    if (is_bytes)
        gn_arena_destroy(scratch);
    return code;
}

static gn_type element_of(gn_type array)
{
    return (gn_type){.id = array.id, .is_array = false, .typmod = array.typmod};
}

static gn_code finish(gn_array_builder *b, gn_type type, gn_value *out, gn_error *err)
{
    gn_code code = gn_array_end(b, out, err);
    if (code == GN_OK)
        out->type = type;
    return code;
}

static gn_code array_parse(gn_bytes text, gn_type type, const gn_format *format, gn_arena *arena, gn_value *out,
                           gn_error *err)
{
    literal l = {.text = text, .p = text.data, .err = err, .lower_bounds = {1, 1, 1, 1, 1, 1}};
    gn_array_builder b;
    uint64_t n_items;
    size_t bad;
    if (!gn_utf8_valid(text, &bad))
        return gn_bad_utf8(text, bad, err);
    l.end = text.len ? text.data + text.len : text.data;
    gn_code code = read_shape(&l);
    if (code == GN_OK)
        code = gn_array_count(l.lengths, l.lower_bounds, l.n_dimensions, &n_items, err);
    if (code != GN_OK)
        return code;
    gn_array_begin(&b, element_of(type), arena);
    b.n_dimensions = l.n_dimensions;
    memcpy(b.lengths, l.lengths, sizeof b.lengths);
    memcpy(b.lower_bounds, l.lower_bounds, sizeof b.lower_bounds);
    code = read_items(&l, element_of(type), format, &b);
    return code != GN_OK ? code : finish(&b, type, out, err);
}

/* ---- text: output ---- */

static bool needs_quotes(gn_bytes text)
{
    if (text.len == 0 || gn_same_word(text, "null"))
        return true;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (c == '"' || c == '\\' || c == '{' || c == '}' || c == ',' || gn_is_space(c))
            return true;
    }
    return false;
}

/* Puts what stands from `start` on into quotes, where it stands. */
static void quote(gn_buf *out, size_t start)
{
    size_t len = out->len - start, escapes = 0;
    for (size_t i = start; i < out->len; i++)
        escapes += out->data[i] == '"' || out->data[i] == '\\';
    if (!gn_buf_reserve(out, escapes + 2)) {
        out->failed = true;
        return;
    }
    out->len += escapes + 2;
    uint8_t *from = out->data + start + len, *to = out->data + out->len;
    *--to = '"';
    while (from > out->data + start) {
        *--to = *--from;
        if (*to == '"' || *to == '\\')
            *--to = '\\';
    }
    *--to = '"';
}

static void print_item(const gn_value *item, const gn_format *format, gn_buf *out)
{
    size_t start = out->len;
    if (item->is_null) {
        gn_buf_append_str(out, "NULL");
        return;
    }
    if (gn_value_print(item, format, out) && needs_quotes(gn_bytes_of(out->data + start, out->len - start)))
        quote(out, start);
}

static bool array_print(const gn_value *v, const gn_format *format, gn_buf *out)
{
    gn_array_iter it = gn_array_open(v);
    int32_t left[GN_ARRAY_DIMENSIONS]; /* items of each list still to come */
    bool bounds = false;
    for (uint32_t d = 0; d < it.n_dimensions; d++)
        bounds |= it.lower_bounds[d] != 1;
    for (uint32_t d = 0; d < it.n_dimensions && bounds; d++)
        gn_buf_printf(out, "[%d:%d]%s", it.lower_bounds[d], it.lower_bounds[d] + it.lengths[d] - 1,
                      d + 1 == it.n_dimensions ? "=" : "");
    if (it.n_dimensions == 0)
        return gn_buf_append_str(out, "{}");
    uint32_t depth = 0;
    for (gn_value item; !out->failed && gn_array_next(&it, &item);) {
        while (depth < it.n_dimensions) {
            left[depth] = it.lengths[depth];
            depth++;
            gn_buf_append_u8(out, '{');
        }
        print_item(&item, format, out);
        while (depth > 0 && --left[depth - 1] == 0) {
            depth--;
            gn_buf_append_u8(out, '}');
        }
        if (depth > 0)
            gn_buf_append_u8(out, ',');
    }
    return !out->failed;
}

/* ---- wire ---- */

static gn_code wire_shape(gn_reader *r, gn_type type, gn_array_builder *b, uint64_t *n_items, gn_error *err)
{
    int32_t n = (int32_t)gn_read_be32(r), flags = (int32_t)gn_read_be32(r);
    uint32_t oid = gn_read_be32(r), expected = gn_type_oid(gn_type_of((gn_type_id)type.id));
    char name[64];
    if (r->failed)
        return gn_bad_wire(type, err);
    if (n < 0)
        return gn_error_set(err, GN_BAD_BINARY, "invalid number of dimensions: %d", n);
    if (n > GN_ARRAY_DIMENSIONS)
        return gn_error_set(err, GN_LIMIT, "number of array dimensions (%d) exceeds the maximum allowed (%d)", n,
                            (int)GN_ARRAY_DIMENSIONS);
    if (flags != 0 && flags != 1)
        return gn_error_set(err, GN_BAD_BINARY, "invalid array flags");
    if (oid != expected) {
        gn_type other;
        bool known = gn_type_from_oid(oid, &other);
        return gn_error_set(err, GN_TYPE_MISMATCH,
                            "binary data has array element type %u (%s) instead of expected %u (%s)", oid,
                            known ? gn_type_format(other, name, sizeof name) : "???", expected,
                            gn_type_format(gn_type_of((gn_type_id)type.id), (char[64]){0}, 64));
    }
    b->n_dimensions = (uint32_t)n;
    for (int32_t d = 0; d < n; d++) {
        b->lengths[d] = (int32_t)gn_read_be32(r);
        b->lower_bounds[d] = (int32_t)gn_read_be32(r);
    }
    gn_code code = gn_array_count(b->lengths, b->lower_bounds, b->n_dimensions, n_items, err);
    if (code == GN_OK && (r->failed || *n_items > gn_reader_left(r) / 4)) /* an item is its length at least */
        code = gn_error_set(err, GN_PROTOCOL, "insufficient data left in message");
    return code;
}

static gn_code wire_item(gn_reader *r, gn_type element, gn_arena *scratch, gn_array_builder *b, gn_error *err)
{
    int32_t len = (int32_t)gn_read_be32(r);
    gn_value item = gn_value_null(element);
    if (r->failed || len < -1 || (len > 0 && (size_t)len > gn_reader_left(r)))
        return gn_error_set(err, GN_PROTOCOL, "insufficient data left in message");
    gn_code code = len < 0 ? GN_OK : gn_value_recv(gn_bytes_of(r->p, (size_t)len), element, scratch, &item, err);
    if (len > 0)
        r->p += len;
    return code != GN_OK ? code : gn_array_add(b, &item, err);
}

static gn_code array_recv(gn_bytes wire, gn_type type, gn_arena *arena, gn_value *out, gn_error *err)
{
    gn_reader r = gn_reader_of(wire);
    gn_array_builder b;
    uint64_t n_items = 0;
    gn_array_begin(&b, element_of(type), arena);
    gn_code code = wire_shape(&r, type, &b, &n_items, err);
    if (code != GN_OK)
        return code;
    bool is_bytes = gn_type_physical(b.element) == GN_P_BYTES;
    gn_arena *scratch = is_bytes ? gn_arena_create(gn_arena_account(arena)) : arena;
    while (code == GN_OK && b.n_items < n_items) {
        code = wire_item(&r, element_of(type), scratch, &b, err);
        if (is_bytes)
            gn_arena_reset(scratch);
    }
    if (is_bytes)
        gn_arena_destroy(scratch);
    if (code == GN_OK && gn_reader_left(&r) > 0)
        code = gn_bad_wire(type, err);
    return code != GN_OK ? code : finish(&b, type, out, err);
}

static bool array_send(const gn_value *v, gn_buf *out)
{
    gn_array_iter it = gn_array_open(v);
    gn_buf_append_be32(out, it.n_dimensions);
    gn_buf_append_be32(out, it.nulls != NULL);
    gn_buf_append_be32(out, gn_type_oid(it.element));
    for (uint32_t d = 0; d < it.n_dimensions; d++) {
        gn_buf_append_be32(out, (uint32_t)it.lengths[d]);
        gn_buf_append_be32(out, (uint32_t)it.lower_bounds[d]);
    }
    for (gn_value item; !out->failed && gn_array_next(&it, &item);) {
        size_t at = out->len;
        gn_buf_append_be32(out, UINT32_MAX);
        if (item.is_null || !gn_value_send(&item, out))
            continue;
        uint32_t len = (uint32_t)(out->len - at - 4);
        for (int i = 0; i < 4; i++)
            out->data[at + (size_t)i] = (uint8_t)(len >> (24 - 8 * i));
    }
    return !out->failed;
}

const gn_type_ops gn_array_ops = {array_parse, array_print, array_recv, array_send, gn_array_compare, gn_array_hash};
