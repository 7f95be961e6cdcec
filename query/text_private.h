/* Characters of UTF-8 text, and building results: shared by the text functions. Texts are valid UTF-8 always. */
#ifndef GN_QUERY_TEXT_PRIVATE_H
#define GN_QUERY_TEXT_PRIVATE_H

#include "query/function_private.h"

static inline bool gn_utf8_starts(uint8_t byte) /* not a continuation byte */
{
    return (byte & 0xc0) != 0x80;
}

static inline size_t gn_utf8_len(uint8_t first) /* bytes of the character that begins so */
{
    return first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

static inline size_t gn_utf8_count(gn_bytes text)
{
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++)
        n += gn_utf8_starts(text.data[i]);
    return n;
}

/* The code point at p and its length. */
static inline uint32_t gn_utf8_decode(const uint8_t *p, size_t *len)
{
    *len = gn_utf8_len(p[0]);
    switch (*len) {
    case 1:
        return p[0];
    case 2:
        return (uint32_t)(p[0] & 0x1f) << 6 | (p[1] & 0x3f);
    case 3:
        return (uint32_t)(p[0] & 0x0f) << 12 | (uint32_t)(p[1] & 0x3f) << 6 | (p[2] & 0x3f);
    default:
        return (uint32_t)(p[0] & 0x07) << 18 | (uint32_t)(p[1] & 0x3f) << 12 | (uint32_t)(p[2] & 0x3f) << 6 |
               (p[3] & 0x3f);
    }
}

/* Writes the code point; at most 4 bytes. */
static inline size_t gn_utf8_encode(uint32_t c, uint8_t *out)
{
    if (c < 0x80) {
        out[0] = (uint8_t)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (uint8_t)(0xc0 | c >> 6);
        out[1] = (uint8_t)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (uint8_t)(0xe0 | c >> 12);
        out[1] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
        out[2] = (uint8_t)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (uint8_t)(0xf0 | c >> 18);
    out[1] = (uint8_t)(0x80 | (c >> 12 & 0x3f));
    out[2] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
    out[3] = (uint8_t)(0x80 | (c & 0x3f));
    return 4;
}

/* Where character number `characters` (0-based) begins, or the end. */
static inline size_t gn_utf8_skip(gn_bytes text, size_t characters)
{
    size_t at = 0;
    while (at < text.len && characters-- > 0)
        at += gn_utf8_len(text.data[at]);
    return at;
}

uint32_t gn_lower_character(uint32_t c);
uint32_t gn_upper_character(uint32_t c);

/* A buffer for a result, charged to the same account as the arena; _take moves it into the arena and closes it. */
void gn_text_begin(const gn_eval *eval, gn_buf *buf);
gn_code gn_text_take(const gn_eval *eval, gn_buf *buf, gn_value *out);

/* Any value as its type's output function gives it. */
void gn_text_output(const gn_eval *eval, const gn_value *value, gn_buf *buf);

/* First place of `needle` at or after `from`; SIZE_MAX: none. An empty needle is found at once. */
size_t gn_text_find(gn_bytes text, gn_bytes needle, size_t from);

void gn_md5_hex(gn_bytes data, char out[33]);

#endif
