/* text, varchar, bytea, and UTF-8. */
#include "query/value_private.h"

/* ---- UTF-8 ---- */

/* Length of the well-formed character at p (RFC 3629: no overlong form, no surrogate, at most U+10FFFF), or 0. */
static size_t character(const uint8_t *p, size_t left)
{
    uint8_t c = p[0];
    if (c < 0x80)
        return c ? 1 : 0;
    size_t len = c >= 0xc2 && c <= 0xdf ? 2 : (c & 0xf0) == 0xe0 ? 3 : c >= 0xf0 && c <= 0xf4 ? 4 : 0;
    if (len == 0 || left < len)
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((c == 0xe0 && p[1] < 0xa0) || (c == 0xed && p[1] > 0x9f) || (c == 0xf0 && p[1] < 0x90) ||
        (c == 0xf4 && p[1] > 0x8f))
        return 0;
    return len;
}

bool gn_utf8_valid(gn_bytes text, size_t *bad)
{
    size_t i = 0;
    while (i < text.len) {
        if (text.len - i >= 8) {
            uint64_t v;
            memcpy(&v, text.data + i, 8);
            /* eight characters of ASCII, none of them NUL */
            if (((v | (v - 0x0101010101010101u)) & 0x8080808080808080u) == 0) {
                i += 8;
                continue;
            }
        }
        size_t len = character(text.data + i, text.len - i);
        if (len == 0) {
            if (bad)
                *bad = i;
            return false;
        }
        i += len;
    }
    return true;
}

gn_code gn_bad_utf8(gn_bytes text, size_t bad, gn_error *err)
{
    uint8_t c = text.data[bad];
    size_t len = c < 0xc0 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf8 ? 4 : 1;
    char bytes[32];
    size_t n = 0;
    for (size_t i = bad; i < bad + len && i < text.len; i++) {
        static const char hex[] = "0123456789abcdef";
        const char item[5] = {' ', '0', 'x', hex[text.data[i] >> 4], hex[text.data[i] & 15]};
        memcpy(bytes + n, item, 5);
        n += 5;
    }
    return gn_error_set(err, GN_INVALID_ENCODING, "invalid byte sequence for encoding \"UTF8\":%.*s", (int)n, bytes);
}

/* ---- text ---- */

static gn_code text_take(gn_bytes text, gn_type type, gn_value *out, gn_error *err)
{
    size_t bad;
    if (text.len > GN_MAX_FIELD)
        return gn_error_set(err, GN_LIMIT, "a value of %zu bytes is too long", text.len);
    if (!gn_utf8_valid(text, &bad))
        return gn_bad_utf8(text, bad, err);
    *out = (gn_value){.type = type, .as.bytes = text};
    return GN_OK;
}

static gn_code text_parse(gn_bytes text, gn_type type, const gn_format *format, gn_arena *arena, gn_value *out,
                          gn_error *err)
{
    (void)format, (void)arena;
    return text_take(text, type, out, err);
}

static gn_code text_recv(gn_bytes wire, gn_type type, gn_arena *arena, gn_value *out, gn_error *err)
{
    (void)arena;
    return text_take(wire, type, out, err);
}

static bool text_print(const gn_value *v, const gn_format *format, gn_buf *out)
{
    (void)format;
    return gn_buf_append_bytes(out, v->as.bytes);
}

static bool text_send(const gn_value *v, gn_buf *out)
{
    return gn_buf_append_bytes(out, v->as.bytes);
}

static int bytes_compare(const gn_value *a, const gn_value *b)
{
    return gn_bytes_cmp(a->as.bytes, b->as.bytes);
}

static uint64_t bytes_hash(const gn_value *v)
{
    return gn_hash_bytes(v->as.bytes);
}

const gn_type_ops gn_text_ops = {text_parse, text_print, text_recv, text_send, bytes_compare, bytes_hash};

/* ---- varchar(n) ---- */

size_t gn_utf8_prefix(gn_bytes text, size_t characters)
{
    size_t i = 0;
    for (; i < text.len; i++) {
        if ((text.data[i] & 0xc0) == 0x80)
            continue;
        if (characters-- == 0)
            break;
    }
    return i;
}

/* Spaces past the limit are cut in silence, as the SQL standard wants; an explicit cast cuts anything. */
gn_code gn_varchar_limit(gn_bytes *text, gn_type type, bool explicit_cast, gn_error *err)
{
    if (type.typmod < 0 || text->len <= (size_t)type.typmod)
        return GN_OK;
    size_t len = gn_utf8_prefix(*text, (size_t)type.typmod);
    if (!explicit_cast)
        for (size_t i = len; i < text->len; i++)
            if (text->data[i] != ' ')
                return gn_error_set(err, GN_STRING_TOO_LONG, "value too long for type character varying(%d)",
                                    type.typmod);
    text->len = len;
    return GN_OK;
}

static gn_code varchar_parse(gn_bytes text, gn_type type, const gn_format *format, gn_arena *arena, gn_value *out,
                             gn_error *err)
{
    (void)format, (void)arena;
    gn_value v;
    gn_code code = text_take(text, type, &v, err);
    if (code == GN_OK)
        code = gn_varchar_limit(&v.as.bytes, type, false, err);
    if (code == GN_OK)
        *out = v;
    return code;
}

static gn_code varchar_recv(gn_bytes wire, gn_type type, gn_arena *arena, gn_value *out, gn_error *err)
{
    return varchar_parse(wire, type, NULL, arena, out, err);
}

const gn_type_ops gn_varchar_ops = {varchar_parse, text_print, varchar_recv, text_send, bytes_compare, bytes_hash};

/* ---- bytea ---- */

static int hex_digit(uint8_t c)
{
    if (gn_is_digit(c))
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static gn_code bad_hex_digit(gn_bytes text, size_t at, gn_error *err)
{
    size_t len = character(text.data + at, text.len - at);
    if (len == 0)
        return gn_bad_utf8(text, at, err);
    return gn_error_set(err, GN_INVALID_PARAMETER, "invalid hexadecimal digit: \"%.*s\"", (int)len,
                        (const char *)text.data + at);
}

/* White space may stand between the pairs. */
static gn_code bytea_from_hex(gn_bytes text, uint8_t *to, size_t *len, gn_error *err)
{
    size_t n = 0;
    for (size_t i = 2; i < text.len;) {
        uint8_t c = text.data[i];
        if (c == ' ' || c == '\n' || c == '\t' || c == '\r') {
            i++;
            continue;
        }
        int high = hex_digit(c);
        if (high < 0)
            return bad_hex_digit(text, i, err);
        if (++i == text.len)
            return gn_error_set(err, GN_INVALID_PARAMETER, "invalid hexadecimal data: odd number of digits");
        int low = hex_digit(text.data[i]);
        if (low < 0)
            return bad_hex_digit(text, i, err);
        to[n++] = (uint8_t)(high << 4 | low);
        i++;
    }
    *len = n;
    return GN_OK;
}

static bool is_octal_escape(const uint8_t *p, size_t left)
{
    return left >= 4 && p[1] >= '0' && p[1] <= '3' && p[2] >= '0' && p[2] <= '7' && p[3] >= '0' && p[3] <= '7';
}

static gn_code bytea_from_escape(gn_bytes text, uint8_t *to, size_t *len, gn_error *err)
{
    size_t n = 0;
    for (size_t i = 0; i < text.len;) {
        const uint8_t *p = text.data + i;
        if (*p != '\\') {
            to[n++] = *p;
            i++;
        } else if (is_octal_escape(p, text.len - i)) {
            to[n++] = (uint8_t)((p[1] - '0') << 6 | (p[2] - '0') << 3 | (p[3] - '0'));
            i += 4;
        } else if (i + 1 < text.len && p[1] == '\\') {
            to[n++] = '\\';
            i += 2;
        } else {
            return gn_error_set(err, GN_BAD_TEXT, "invalid input syntax for type bytea");
        }
    }
    *len = n;
    return GN_OK;
}

static gn_code bytea_parse(gn_bytes text, gn_type type, const gn_format *format, gn_arena *arena, gn_value *out,
                           gn_error *err)
{
    (void)format;
    bool hex = text.len >= 2 && text.data[0] == '\\' && text.data[1] == 'x';
    size_t most = hex ? (text.len - 2) / 2 : text.len, len = 0;
    uint8_t *to = gn_arena_alloc(arena, most);
    if (!to)
        return gn_error_oom(err, gn_arena_account(arena));
    gn_code code = hex ? bytea_from_hex(text, to, &len, err) : bytea_from_escape(text, to, &len, err);
    if (code == GN_OK && len > GN_MAX_FIELD)
        code = gn_error_set(err, GN_LIMIT, "a value of %zu bytes is too long", len);
    if (code == GN_OK)
        *out = (gn_value){.type = type, .as.bytes = gn_bytes_of(to, len)};
    return code;
}

static bool bytea_print(const gn_value *v, const gn_format *format, gn_buf *out)
{
    static const char hex[] = "0123456789abcdef";
    gn_bytes b = v->as.bytes;
    if (format && format->bytea_escape) {
        for (size_t i = 0; i < b.len; i++) {
            uint8_t c = b.data[i];
            if (c == '\\')
                gn_buf_append(out, "\\\\", 2);
            else if (c < 0x20 || c > 0x7e)
                gn_buf_printf(out, "\\%03o", c);
            else
                gn_buf_append_u8(out, c);
        }
        return !out->failed;
    }
    if (!gn_buf_reserve(out, 2 + 2 * b.len))
        return false;
    gn_buf_append(out, "\\x", 2);
    char chunk[256];
    for (size_t i = 0; i < b.len;) {
        size_t n = 0;
        for (; i < b.len && n < sizeof(chunk); i++) {
            chunk[n++] = hex[b.data[i] >> 4];
            chunk[n++] = hex[b.data[i] & 15];
        }
        gn_buf_append(out, chunk, n);
    }
    return !out->failed;
}

static gn_code bytea_recv(gn_bytes wire, gn_type type, gn_arena *arena, gn_value *out, gn_error *err)
{
    (void)arena;
    if (wire.len > GN_MAX_FIELD)
        return gn_error_set(err, GN_LIMIT, "a value of %zu bytes is too long", wire.len);
    *out = (gn_value){.type = type, .as.bytes = wire};
    return GN_OK;
}

const gn_type_ops gn_bytea_ops = {bytea_parse, bytea_print, bytea_recv, text_send, bytes_compare, bytes_hash};
