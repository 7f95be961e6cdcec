#include "query/json_walk.h"

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static const uint8_t *skip_space(const uint8_t *p, const uint8_t *end)
{
    while (p < end && is_space(*p))
        p++;
    return p;
}

static const uint8_t *skip_string(const uint8_t *p, const uint8_t *end)
{
    for (p++; p < end && *p != '"'; p++)
        p += *p == '\\';
    return p < end ? p + 1 : end;
}

/* Behind the value at p. Brackets are counted, so that depth costs nothing. */
static const uint8_t *skip_value(const uint8_t *p, const uint8_t *end)
{
    uint32_t depth = 0;
    while (p < end) {
        if (*p == '"') {
            p = skip_string(p, end);
        } else if (*p == '{' || *p == '[') {
            depth++;
            p++;
        } else if (*p == '}' || *p == ']') {
            depth--;
            p++;
        } else if (depth > 0) {
            p++;
            continue;
        } else {
            while (p < end && !is_space(*p) && !strchr(",:]}", *p))
                p++;
        }
        if (depth == 0)
            break;
    }
    return p;
}

gn_bytes gn_json_trim(gn_bytes json)
{
    const uint8_t *p = skip_space(json.data, json.data + json.len), *end = json.data + json.len;
    while (end > p && is_space(end[-1]))
        end--;
    return gn_bytes_of(p, (size_t)(end - p));
}

gn_json_kind gn_json_kind_of(gn_bytes json)
{
    const uint8_t *p = skip_space(json.data, json.data + json.len);
    GN_ASSERT(p < json.data + json.len);
    switch (*p) {
    case '{':
        return GN_JSON_OBJECT;
    case '[':
        return GN_JSON_ARRAY;
    case '"':
        return GN_JSON_STRING;
    case 't':
    case 'f':
        return GN_JSON_BOOLEAN;
    case 'n':
        return GN_JSON_NULL;
    default:
        return GN_JSON_NUMBER;
    }
}

gn_json_iter gn_json_open(gn_bytes container)
{
    gn_json_iter it = {.end = container.data + container.len};
    it.p = skip_space(container.data, it.end);
    GN_ASSERT(it.p < it.end && (*it.p == '{' || *it.p == '['));
    it.object = *it.p++ == '{';
    return it;
}

bool gn_json_next(gn_json_iter *it)
{
    it->p = skip_space(it->p, it->end);
    if (it->p < it->end && *it->p == ',')
        it->p = skip_space(it->p + 1, it->end);
    if (it->p >= it->end || *it->p == '}' || *it->p == ']')
        return false;
    if (it->object) {
        const uint8_t *key_end = skip_string(it->p, it->end);
        it->key = gn_bytes_of(it->p, (size_t)(key_end - it->p));
        it->p = skip_space(key_end, it->end);
        it->p = skip_space(it->p + 1, it->end); /* the colon */
    }
    const uint8_t *value_end = skip_value(it->p, it->end);
    it->value = gn_bytes_of(it->p, (size_t)(value_end - it->p));
    it->p = value_end;
    return true;
}

uint32_t gn_json_count(gn_bytes container)
{
    uint32_t n = 0;
    for (gn_json_iter it = gn_json_open(container); gn_json_next(&it);)
        n++;
    return n;
}

bool gn_json_element(gn_bytes array, int64_t index, gn_bytes *value)
{
    if (index < 0)
        index += gn_json_count(array);
    if (index < 0)
        return false;
    gn_json_iter it = gn_json_open(array);
    for (int64_t i = 0; gn_json_next(&it); i++)
        if (i == index) {
            *value = it.value;
            return true;
        }
    return false;
}

bool gn_json_member(gn_bytes object, gn_bytes key, const gn_eval *eval, gn_bytes *value, gn_code *code)
{
    bool found = false;
    *code = GN_OK;
    for (gn_json_iter it = gn_json_open(object); !*code && gn_json_next(&it);) {
        gn_bytes name = gn_bytes_of(it.key.data + 1, it.key.len - 2);
        if (memchr(name.data, '\\', name.len))
            *code = gn_json_unescape(it.key, eval, &name);
        if (!*code && gn_bytes_eq(name, key)) {
            *value = it.value;
            found = true;
        }
    }
    return found;
}

/* ---- strings ---- */

static uint32_t hex4(const uint8_t *p)
{
    uint32_t v = 0;
    for (int i = 0; i < 4; i++)
        v = v << 4 | (uint32_t)(p[i] <= '9' ? p[i] - '0' : (p[i] | 32) - 'a' + 10);
    return v;
}

/* The escape at p (its backslash), which goes behind it. U+0000 and halves of pairs are in no text. */
static const char *unescape_one(const uint8_t **p, const uint8_t *end, uint8_t **to)
{
    static const char letters[] = "bfnrt", meanings[] = "\b\f\n\r\t";
    uint8_t kind = (*p)[1];
    const char *letter = strchr(letters, kind);
    if (kind != 'u') {
        *(*to)++ = letter ? (uint8_t)meanings[letter - letters] : kind;
        *p += 2;
        return NULL;
    }
    uint32_t c = hex4(*p + 2), low = 0;
    *p += 6;
    if (c >= 0xd800 && c < 0xdc00) {
        bool pair = end - *p >= 6 && (*p)[0] == '\\' && (*p)[1] == 'u';
        low = pair ? hex4(*p + 2) : 0;
        if (low >= 0xd800 && low < 0xdc00)
            return "Unicode high surrogate must not follow a high surrogate.";
        if (low < 0xdc00 || low > 0xdfff)
            return "Unicode low surrogate must follow a high surrogate.";
        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
        *p += 6;
    } else if (c >= 0xdc00 && c <= 0xdfff) {
        return "Unicode low surrogate must follow a high surrogate.";
    }
    if (c == 0)
        return "\\u0000 cannot be converted to text.";
    *to += gn_utf8_encode(c, *to);
    return NULL;
}

gn_code gn_json_unescape(gn_bytes raw, const gn_eval *eval, gn_bytes *out)
{
    GN_ASSERT(raw.len >= 2);
    const uint8_t *p = raw.data + 1, *end = raw.data + raw.len - 1;
    if (!memchr(p, '\\', (size_t)(end - p))) {
        *out = gn_bytes_of(p, (size_t)(end - p));
        return GN_OK;
    }
    uint8_t *start, *to;
    gn_code code = gn_eval_bytes(eval, raw.len, &start);
    if (code)
        return code;
    to = start;
    while (p < end) {
        if (*p != '\\') {
            *to++ = *p++;
            continue;
        }
        const char *fault = unescape_one(&p, end, &to);
        if (fault) {
            code = fault[0] == '\\' ? gn_error_set(eval->err, GN_UNTRANSLATABLE, "unsupported Unicode escape sequence")
                                    : gn_error_set(eval->err, GN_BAD_JSON, "invalid input syntax for type json");
            gn_error_detail(eval->err, "%s", fault);
            return code;
        }
    }
    *out = gn_bytes_of(start, (size_t)(to - start));
    return GN_OK;
}

void gn_json_quote(gn_bytes text, gn_buf *out)
{
    static const char meanings[] = "\b\f\n\r\t\"\\", letters[] = "bfnrt\"\\";
    gn_buf_append_u8(out, '"');
    size_t done = 0;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        const char *special = c ? strchr(meanings, c) : NULL;
        if (c >= 0x20 && !special)
            continue;
        gn_buf_append(out, text.data + done, i - done);
        done = i + 1;
        if (special)
            gn_buf_printf(out, "\\%c", letters[special - meanings]);
        else
            gn_buf_printf(out, "\\u%04x", c);
    }
    gn_buf_append(out, text.data + done, text.len - done);
    gn_buf_append_u8(out, '"');
}
