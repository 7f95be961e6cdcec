/* Functions over text and bytea: lengths, cutting, padding, searching, cases. Positions count characters. */
#include "base/limits.h"
#include "query/text_private.h"

#include <utf8proc.h>

#define UNUSED(x) (void)(x)

/* ---- results ---- */

void gn_text_begin(const gn_eval *eval, gn_buf *buf)
{
    gn_buf_init(buf, gn_arena_account(eval->arena), GN_MAX_FIELD);
}

gn_code gn_text_take(const gn_eval *eval, gn_buf *buf, gn_value *out)
{
    gn_code code;
    if (!buf->failed)
        code = gn_eval_copy(eval, gn_buf_bytes(buf), out);
    else if (buf->cap > GN_MAX_FIELD / 4)
        code = gn_error_set(eval->err, GN_LIMIT, "requested length too large: a value has at most %u bytes",
                            (unsigned)GN_MAX_FIELD);
    else
        code = gn_eval_oom(eval);
    gn_buf_close(buf);
    return code;
}

void gn_text_output(const gn_eval *eval, const gn_value *value, gn_buf *buf)
{
    (void)gn_value_print(value, eval->format, buf); /* a failure stays in the buffer */
}

size_t gn_text_find(gn_bytes text, gn_bytes needle, size_t from)
{
    if (needle.len == 0)
        return from;
    if (from >= text.len || text.len - from < needle.len)
        return SIZE_MAX;
    const uint8_t *p = memmem(text.data + from, text.len - from, needle.data, needle.len);
    return p ? (size_t)(p - text.data) : SIZE_MAX;
}

static gn_code slice(gn_value *out, gn_bytes text, size_t from, size_t to)
{
    out->as.bytes = gn_bytes_of(text.data + from, to - from);
    return GN_OK;
}

/* ---- lengths ---- */

static gn_code length_characters(const gn_call *call, const gn_value *args, gn_value *out)
{
    UNUSED(call);
    out->as.i32 = (int32_t)gn_utf8_count(args[0].as.bytes);
    return GN_OK;
}

static gn_code length_bytes(const gn_call *call, const gn_value *args, gn_value *out)
{
    out->as.i32 = (int32_t)args[0].as.bytes.len * (call->function->op ? 8 : 1);
    return GN_OK;
}

/* ---- cases ---- */

uint32_t gn_lower_character(uint32_t c)
{
    return c < 0x80 ? (c - 'A' < 26u ? c + 32 : c) : (uint32_t)utf8proc_tolower((utf8proc_int32_t)c);
}

uint32_t gn_upper_character(uint32_t c)
{
    if (c == 0xdf) /* sharp s: its capital is two letters, so it stays, as in C's towupper */
        return c;
    return c < 0x80 ? (c - 'a' < 26u ? c - 32 : c) : (uint32_t)utf8proc_toupper((utf8proc_int32_t)c);
}

static bool is_alphanumeric(uint32_t c)
{
    switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
        return true;
    default:
        return false;
    }
}

enum { LOWER, UPPER, INITCAP };

static gn_code change_case(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_bytes text = args[0].as.bytes;
    uint8_t *to, *p;
    gn_code code = gn_eval_bytes(call->eval, text.len * 2, &to); /* no mapping more than doubles a character */
    if (code)
        return code;
    p = to;
    bool inside_word = false;
    for (size_t i = 0, len; i < text.len; i += len) {
        uint32_t c = gn_utf8_decode(text.data + i, &len);
        bool upper = call->function->op == UPPER || (call->function->op == INITCAP && !inside_word);
        inside_word = call->function->op == INITCAP && is_alphanumeric(c);
        p += gn_utf8_encode(upper ? gn_upper_character(c) : gn_lower_character(c), p);
    }
    out->as.bytes = gn_bytes_of(to, (size_t)(p - to));
    return GN_OK;
}

/* ---- cutting ---- */

/* Characters (or bytes) start .. start + length - 1 as far as they exist; start is 1-based and may be below 1. */
static gn_code substr(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_bytes text = args[0].as.bytes;
    bool bytes = args[0].type.id == GN_T_BYTEA;
    int64_t from = args[1].as.i32, to = INT64_MAX;
    if (call->n_args == 3) {
        if (args[2].as.i32 < 0)
            return gn_error_set(call->eval->err, GN_SUBSTRING, "negative substring length not allowed");
        to = from + args[2].as.i32;
    }
    from = from < 1 ? 1 : from;
    to = to < from ? from : to;
    if (bytes) {
        size_t a = (uint64_t)(from - 1) < text.len ? (size_t)(from - 1) : text.len;
        size_t b = (uint64_t)(to - 1) < text.len ? (size_t)(to - 1) : text.len;
        return slice(out, text, a, b);
    }
    size_t a = gn_utf8_skip(text, (size_t)(from - 1));
    size_t b =
        to == INT64_MAX ? text.len : a + gn_utf8_skip(gn_bytes_of(text.data + a, text.len - a), (size_t)(to - from));
    return slice(out, text, a, b);
}

/* left(n), right(n): negative n means all but so many. */
static gn_code left_right(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_bytes text = args[0].as.bytes;
    int64_t n = args[1].as.i32, total = (int64_t)gn_utf8_count(text);
    bool right = call->function->op;
    int64_t take = n < 0 ? total + n : n;
    take = take < 0 ? 0 : take > total ? total : take;
    size_t at = gn_utf8_skip(text, (size_t)(right ? total - take : take));
    return right ? slice(out, text, at, text.len) : slice(out, text, 0, at);
}

static bool among(gn_bytes set, const uint8_t *character, size_t len)
{
    for (size_t i = 0; i < set.len; i += gn_utf8_len(set.data[i]))
        if (gn_utf8_len(set.data[i]) == len && memcmp(set.data + i, character, len) == 0)
            return true;
    return false;
}

enum { TRIM_LEFT = 1, TRIM_RIGHT = 2, TRIM_BOTH = 3 };

static gn_code trim(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_bytes text = args[0].as.bytes, set = call->n_args == 2 ? args[1].as.bytes : gn_bytes_of(" ", 1);
    size_t from = 0, to = text.len;
    while (call->function->op & TRIM_LEFT && from < to) {
        size_t len = gn_utf8_len(text.data[from]);
        if (!among(set, text.data + from, len))
            break;
        from += len;
    }
    while (call->function->op & TRIM_RIGHT && from < to) {
        size_t at = to - 1;
        while (!gn_utf8_starts(text.data[at]))
            at--;
        if (!among(set, text.data + at, to - at))
            break;
        to = at;
    }
    return slice(out, text, from, to);
}

static gn_code trim_bytes(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_bytes text = args[0].as.bytes, set = args[1].as.bytes;
    size_t from = 0, to = text.len;
    while (call->function->op & TRIM_LEFT && from < to && set.len && memchr(set.data, text.data[from], set.len))
        from++;
    while (call->function->op & TRIM_RIGHT && from < to && set.len && memchr(set.data, text.data[to - 1], set.len))
        to--;
    return slice(out, text, from, to);
}

static gn_code split_part(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_bytes text = args[0].as.bytes, separator = args[1].as.bytes;
    int64_t field = args[2].as.i32, fields = 1;
    if (field == 0)
        return gn_error_set(call->eval->err, GN_INVALID_PARAMETER, "field position must not be zero");
    if (separator.len == 0)
        return slice(out, text, 0, field == 1 || field == -1 ? text.len : 0);
    for (size_t at = 0; field < 0 && (at = gn_text_find(text, separator, at)) != SIZE_MAX; at += separator.len)
        fields++;
    if (field < 0)
        field = fields + field + 1;
    if (field < 1)
        return slice(out, text, 0, 0);
    size_t from = 0, to;
    while ((to = gn_text_find(text, separator, from)) != SIZE_MAX && --field > 0)
        from = to + separator.len;
    if (to == SIZE_MAX)
        return field == 1 ? slice(out, text, from, text.len) : slice(out, text, 0, 0);
    return slice(out, text, from, to);
}

/* ---- putting together ---- */

static gn_code join_two(const gn_call *call, gn_bytes a, gn_bytes b, gn_value *out)
{
    uint8_t *to;
    gn_code code = gn_eval_bytes(call->eval, a.len + b.len, &to);
    if (code)
        return code;
    if (a.len)
        memcpy(to, a.data, a.len);
    if (b.len)
        memcpy(to + a.len, b.data, b.len);
    out->as.bytes = gn_bytes_of(to, a.len + b.len);
    return GN_OK;
}

static gn_code concat_texts(const gn_call *call, const gn_value *args, gn_value *out)
{
    return join_two(call, args[0].as.bytes, args[1].as.bytes, out);
}

/* text || anything and anything || text: the other side is cast to text. */
static gn_code concat_other(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_value texts[2] = {args[0], args[1]};
    for (int i = 0; i < 2; i++) {
        if (gn_type_is(args[i].type, GN_T_TEXT))
            continue;
        gn_code code = gn_value_cast(&args[i], gn_type_of(GN_T_TEXT), GN_CAST_EXPLICIT, call->eval->format,
                                     call->eval->arena, &texts[i], call->eval->err);
        if (code)
            return code;
    }
    return join_two(call, texts[0].as.bytes, texts[1].as.bytes, out);
}

static gn_code repeat(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_bytes text = args[0].as.bytes;
    size_t n = args[1].as.i32 < 0 ? 0 : (size_t)args[1].as.i32, total;
    uint8_t *to;
    if (__builtin_mul_overflow(n, text.len, &total))
        total = SIZE_MAX;
    gn_code code = gn_eval_bytes(call->eval, total, &to);
    if (code)
        return code;
    for (size_t i = 0; text.len && i < n; i++)
        memcpy(to + i * text.len, text.data, text.len);
    out->as.bytes = gn_bytes_of(to, total);
    return GN_OK;
}

static gn_code reverse(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_bytes text = args[0].as.bytes;
    uint8_t *to;
    gn_code code = gn_eval_bytes(call->eval, text.len, &to);
    if (code)
        return code;
    for (size_t i = 0, len; i < text.len; i += len) {
        len = gn_utf8_len(text.data[i]);
        memcpy(to + text.len - i - len, text.data + i, len);
    }
    out->as.bytes = gn_bytes_of(to, text.len);
    return GN_OK;
}

/* lpad, rpad: to `n` characters with `fill`, cut at the right if longer. */
static gn_code pad(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_bytes text = args[0].as.bytes, fill = call->n_args == 3 ? args[2].as.bytes : gn_bytes_of(" ", 1);
    size_t n = args[1].as.i32 < 0 ? 0 : (size_t)args[1].as.i32, have = gn_utf8_count(text);
    if (n <= have || fill.len == 0)
        return slice(out, text, 0, gn_utf8_skip(text, n));
    size_t missing = n - have, fill_count = gn_utf8_count(fill);
    size_t tail = gn_utf8_skip(fill, missing % fill_count), padding = missing / fill_count * fill.len + tail;
    uint8_t *to;
    gn_code code = gn_eval_bytes(call->eval, text.len + padding, &to);
    if (code)
        return code;
    uint8_t *p = to;
    bool left = call->function->op;
    if (!left) {
        memcpy(p, text.data, text.len);
        p += text.len;
    }
    for (size_t i = 0; i < missing / fill_count; i++, p += fill.len)
        memcpy(p, fill.data, fill.len);
    memcpy(p, fill.data, tail);
    p += tail;
    if (left)
        memcpy(p, text.data, text.len);
    out->as.bytes = gn_bytes_of(to, text.len + padding);
    return GN_OK;
}

static gn_code replace(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_bytes text = args[0].as.bytes, from = args[1].as.bytes, to = args[2].as.bytes;
    size_t at = from.len ? gn_text_find(text, from, 0) : SIZE_MAX, done = 0;
    if (at == SIZE_MAX)
        return slice(out, text, 0, text.len);
    gn_buf buf;
    gn_text_begin(call->eval, &buf);
    for (; at != SIZE_MAX && !buf.failed; at = gn_text_find(text, from, done)) {
        gn_buf_append(&buf, text.data + done, at - done);
        gn_buf_append_bytes(&buf, to);
        done = at + from.len;
    }
    gn_buf_append(&buf, text.data + done, text.len - done);
    return gn_text_take(call->eval, &buf, out);
}

/* Each character of `from` becomes the one at its place in `to`, or goes away where `to` is too short. */
static gn_code translate(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_bytes text = args[0].as.bytes, from = args[1].as.bytes, to = args[2].as.bytes;
    gn_buf buf;
    gn_text_begin(call->eval, &buf);
    for (size_t i = 0, len; i < text.len && !buf.failed; i += len) {
        len = gn_utf8_len(text.data[i]);
        size_t at = 0, place = 0;
        for (; at < from.len; at += gn_utf8_len(from.data[at]), place++)
            if (gn_utf8_len(from.data[at]) == len && memcmp(from.data + at, text.data + i, len) == 0)
                break;
        if (at >= from.len) {
            gn_buf_append(&buf, text.data + i, len);
            continue;
        }
        size_t target = gn_utf8_skip(to, place);
        if (target < to.len)
            gn_buf_append(&buf, to.data + target, gn_utf8_len(to.data[target]));
    }
    return gn_text_take(call->eval, &buf, out);
}

static gn_code overlay(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_bytes text = args[0].as.bytes, with = args[1].as.bytes;
    int64_t from = args[2].as.i32, n = call->n_args == 4 ? args[3].as.i32 : (int64_t)gn_utf8_count(with);
    if (from <= 0)
        return gn_error_set(call->eval->err, GN_SUBSTRING, "negative substring length not allowed");
    int64_t after = from - 1 + n;
    size_t a = gn_utf8_skip(text, (size_t)(from - 1)), b = gn_utf8_skip(text, (size_t)(after < 0 ? 0 : after));
    gn_buf buf;
    gn_text_begin(call->eval, &buf);
    gn_buf_append(&buf, text.data, a);
    gn_buf_append_bytes(&buf, with);
    gn_buf_append(&buf, text.data + b, text.len - b);
    return gn_text_take(call->eval, &buf, out);
}

/* ---- searching ---- */

static gn_code strpos(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_bytes text = args[0].as.bytes;
    size_t at = gn_text_find(text, args[1].as.bytes, 0);
    UNUSED(call);
    bool bytes = args[0].type.id == GN_T_BYTEA;
    if (at == SIZE_MAX)
        out->as.i32 = 0;
    else
        out->as.i32 = (int32_t)(bytes ? at : gn_utf8_count(gn_bytes_of(text.data, at))) + 1;
    return GN_OK;
}

static gn_code starts_with(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_bytes text = args[0].as.bytes, prefix = args[1].as.bytes;
    UNUSED(call);
    out->as.boolean = prefix.len <= text.len && (prefix.len == 0 || memcmp(text.data, prefix.data, prefix.len) == 0);
    return GN_OK;
}

/* ---- characters ---- */

static gn_code ascii(const gn_call *call, const gn_value *args, gn_value *out)
{
    size_t len;
    UNUSED(call);
    out->as.i32 = args[0].as.bytes.len ? (int32_t)gn_utf8_decode(args[0].as.bytes.data, &len) : 0;
    return GN_OK;
}

static gn_code chr(const gn_call *call, const gn_value *args, gn_value *out)
{
    int32_t c = args[0].as.i32;
    uint8_t bytes[4];
    if (c < 0)
        return gn_error_set(call->eval->err, GN_INVALID_PARAMETER, "character number must be positive");
    if (c == 0)
        return gn_error_set(call->eval->err, GN_LIMIT, "null character not permitted");
    if (c > 0x10ffff)
        return gn_error_set(call->eval->err, GN_LIMIT, "requested character too large for encoding: %d", c);
    if (c >= 0xd800 && c <= 0xdfff)
        return gn_error_set(call->eval->err, GN_LIMIT, "requested character not valid for encoding: %d", c);
    return gn_eval_copy(call->eval, gn_bytes_of(bytes, gn_utf8_encode((uint32_t)c, bytes)), out);
}

static gn_code get_byte(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_bytes bytes = args[0].as.bytes;
    int32_t at = args[1].as.i32;
    if (at < 0 || (size_t)at >= bytes.len)
        return gn_error_set(call->eval->err, GN_ARRAY_SUBSCRIPT, "index %d out of valid range, 0..%d", at,
                            (int)bytes.len - 1);
    out->as.i32 = bytes.data[at];
    return GN_OK;
}

/* clang-format off */
#define F(name, result, n, op_, kernel, ...) {name, GN_TY(result), n, GN_IMMUTABLE, 0, op_, {__VA_ARGS__}, .row = kernel},
#define T1 GN_TY(TEXT)
#define T2 GN_TY(TEXT), GN_TY(TEXT)
#define T3 GN_TY(TEXT), GN_TY(TEXT), GN_TY(TEXT)

static const gn_function functions[] = {
    F("length", INT4, 1, 0, length_characters, T1)
    F("char_length", INT4, 1, 0, length_characters, T1)
    F("character_length", INT4, 1, 0, length_characters, T1)
    F("octet_length", INT4, 1, 0, length_bytes, T1)
    F("bit_length", INT4, 1, 1, length_bytes, T1)
    F("length", INT4, 1, 0, length_bytes, GN_TY(BYTEA))
    F("octet_length", INT4, 1, 0, length_bytes, GN_TY(BYTEA))
    F("bit_length", INT4, 1, 1, length_bytes, GN_TY(BYTEA))
    F("lower", TEXT, 1, LOWER, change_case, T1)
    F("upper", TEXT, 1, UPPER, change_case, T1)
    F("initcap", TEXT, 1, INITCAP, change_case, T1)
    F("substr", TEXT, 2, 0, substr, T1, GN_TY(INT4))
    F("substr", TEXT, 3, 0, substr, T1, GN_TY(INT4), GN_TY(INT4))
    F("substring", TEXT, 2, 0, substr, T1, GN_TY(INT4))
    F("substring", TEXT, 3, 0, substr, T1, GN_TY(INT4), GN_TY(INT4))
    F("substr", BYTEA, 2, 0, substr, GN_TY(BYTEA), GN_TY(INT4))
    F("substr", BYTEA, 3, 0, substr, GN_TY(BYTEA), GN_TY(INT4), GN_TY(INT4))
    F("substring", BYTEA, 2, 0, substr, GN_TY(BYTEA), GN_TY(INT4))
    F("substring", BYTEA, 3, 0, substr, GN_TY(BYTEA), GN_TY(INT4), GN_TY(INT4))
    F("left", TEXT, 2, 0, left_right, T1, GN_TY(INT4))
    F("right", TEXT, 2, 1, left_right, T1, GN_TY(INT4))
    F("btrim", TEXT, 1, TRIM_BOTH, trim, T1) F("btrim", TEXT, 2, TRIM_BOTH, trim, T2)
    F("trim", TEXT, 1, TRIM_BOTH, trim, T1) F("trim", TEXT, 2, TRIM_BOTH, trim, T2)
    F("ltrim", TEXT, 1, TRIM_LEFT, trim, T1) F("ltrim", TEXT, 2, TRIM_LEFT, trim, T2)
    F("rtrim", TEXT, 1, TRIM_RIGHT, trim, T1) F("rtrim", TEXT, 2, TRIM_RIGHT, trim, T2)
    F("btrim", BYTEA, 2, TRIM_BOTH, trim_bytes, GN_TY(BYTEA), GN_TY(BYTEA))
    F("ltrim", BYTEA, 2, TRIM_LEFT, trim_bytes, GN_TY(BYTEA), GN_TY(BYTEA))
    F("rtrim", BYTEA, 2, TRIM_RIGHT, trim_bytes, GN_TY(BYTEA), GN_TY(BYTEA))
    F("split_part", TEXT, 3, 0, split_part, T2, GN_TY(INT4))
    F("||", TEXT, 2, 0, concat_texts, T2)
    F("||", BYTEA, 2, 0, concat_texts, GN_TY(BYTEA), GN_TY(BYTEA))
    {"||", GN_TY(TEXT), 2, GN_STABLE, 0, 0, {T1, GN_TY(ANYNONARRAY)}, .row = concat_other},
    {"||", GN_TY(TEXT), 2, GN_STABLE, 0, 0, {GN_TY(ANYNONARRAY), T1}, .row = concat_other},
    F("repeat", TEXT, 2, 0, repeat, T1, GN_TY(INT4))
    F("reverse", TEXT, 1, 0, reverse, T1)
    F("lpad", TEXT, 2, 1, pad, T1, GN_TY(INT4)) F("lpad", TEXT, 3, 1, pad, T1, GN_TY(INT4), T1)
    F("rpad", TEXT, 2, 0, pad, T1, GN_TY(INT4)) F("rpad", TEXT, 3, 0, pad, T1, GN_TY(INT4), T1)
    F("replace", TEXT, 3, 0, replace, T3)
    F("translate", TEXT, 3, 0, translate, T3)
    F("overlay", TEXT, 3, 0, overlay, T2, GN_TY(INT4))
    F("overlay", TEXT, 4, 0, overlay, T2, GN_TY(INT4), GN_TY(INT4))
    F("strpos", INT4, 2, 0, strpos, T2)
    F("position", INT4, 2, 0, strpos, T2)
    F("position", INT4, 2, 0, strpos, GN_TY(BYTEA), GN_TY(BYTEA))
    F("starts_with", BOOL, 2, 0, starts_with, T2)
    F("^@", BOOL, 2, 0, starts_with, T2)
    F("ascii", INT4, 1, 0, ascii, T1)
    F("chr", TEXT, 1, 0, chr, GN_TY(INT4))
    F("get_byte", INT4, 2, 0, get_byte, GN_TY(BYTEA), GN_TY(INT4))
};
/* clang-format on */

const gn_function_list gn_functions_text = {functions, sizeof functions / sizeof *functions};
