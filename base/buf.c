#include "base/buf.h"

#include "base/assert.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SMALLEST 64u

void gn_buf_init(gn_buf *buf, gn_account *account, size_t max)
{
    *buf = (gn_buf){.account = account, .max = max};
}

void gn_buf_close(gn_buf *buf)
{
    gn_account_release(buf->account, buf->cap);
    free(buf->data);
    *buf = (gn_buf){.account = buf->account, .max = buf->max};
}

void gn_buf_clear(gn_buf *buf)
{
    buf->len = 0;
    buf->failed = false;
}

static bool resize(gn_buf *buf, size_t cap)
{
    GN_ASSERT(cap > buf->cap && cap <= buf->max);
    if (!gn_account_charge(buf->account, cap - buf->cap))
        return false;
    uint8_t *data = realloc(buf->data, cap);
    if (!data) {
        gn_account_release(buf->account, cap - buf->cap);
        return false;
    }
    buf->data = data;
    buf->cap = cap;
    return true;
}

bool gn_buf_reserve(gn_buf *buf, size_t more)
{
    if (buf->failed)
        return false;
    if (more <= buf->cap - buf->len)
        return true;
    size_t need;
    if (__builtin_add_overflow(buf->len, more, &need) || need > buf->max) {
        buf->failed = true;
        return false;
    }
    size_t cap = buf->cap > buf->max / 2 ? buf->max : buf->cap * 2;
    if (cap < SMALLEST)
        cap = SMALLEST < buf->max ? SMALLEST : buf->max;
    if (cap < need)
        cap = need;
    /* near the budget's end: no more than needed */
    if (!resize(buf, cap) && (cap == need || !resize(buf, need)))
        buf->failed = true;
    return !buf->failed;
}

bool gn_buf_append(gn_buf *buf, const void *data, size_t len)
{
    if (!gn_buf_reserve(buf, len))
        return false;
    if (len)
        memcpy(buf->data + buf->len, data, len);
    buf->len += len;
    return true;
}

bool gn_buf_append_bytes(gn_buf *buf, gn_bytes bytes)
{
    return gn_buf_append(buf, bytes.data, bytes.len);
}

bool gn_buf_append_str(gn_buf *buf, const char *s)
{
    return gn_buf_append(buf, s, strlen(s));
}

bool gn_buf_append_u8(gn_buf *buf, uint8_t v)
{
    return gn_buf_append(buf, &v, 1);
}

bool gn_buf_append_be16(gn_buf *buf, uint16_t v)
{
    v = __builtin_bswap16(v);
    return gn_buf_append(buf, &v, sizeof v);
}

bool gn_buf_append_be32(gn_buf *buf, uint32_t v)
{
    v = __builtin_bswap32(v);
    return gn_buf_append(buf, &v, sizeof v);
}

bool gn_buf_append_be64(gn_buf *buf, uint64_t v)
{
    v = __builtin_bswap64(v);
    return gn_buf_append(buf, &v, sizeof v);
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the byte swaps here assume a little-endian machine");

bool gn_buf_printf(gn_buf *buf, const char *format, ...)
{
    if (buf->failed)
        return false;
    char small[256], *large = NULL;
    va_list args;
    va_start(args, format);
    int n = vsnprintf(small, sizeof small, format, args);
    va_end(args);
    if (n >= (int)sizeof small && gn_buf_reserve(buf, (size_t)n)) {
        va_start(args, format);
        n = vasprintf(&large, format, args);
        va_end(args);
    }
    bool ok = n >= 0 && gn_buf_append(buf, large ? large : small, (size_t)n);
    if (!ok)
        buf->failed = true;
    if (n >= (int)sizeof small)
        free(large);
    return ok;
}

void gn_buf_consume(gn_buf *buf, size_t n)
{
    GN_ASSERT(n <= buf->len);
    buf->len -= n;
    if (n && buf->len)
        memmove(buf->data, buf->data + n, buf->len);
}

/* ---- reader ---- */

static bool take(gn_reader *r, void *out, size_t len)
{
    if (r->failed || gn_reader_left(r) < len) {
        r->failed = true;
        return false;
    }
    memcpy(out, r->p, len);
    r->p += len;
    return true;
}

uint8_t gn_read_u8(gn_reader *r)
{
    uint8_t v;
    return take(r, &v, sizeof v) ? v : 0;
}

uint16_t gn_read_be16(gn_reader *r)
{
    uint16_t v;
    return take(r, &v, sizeof v) ? __builtin_bswap16(v) : 0;
}

uint32_t gn_read_be32(gn_reader *r)
{
    uint32_t v;
    return take(r, &v, sizeof v) ? __builtin_bswap32(v) : 0;
}

uint64_t gn_read_be64(gn_reader *r)
{
    uint64_t v;
    return take(r, &v, sizeof v) ? __builtin_bswap64(v) : 0;
}

gn_bytes gn_read_bytes(gn_reader *r, size_t len)
{
    if (r->failed || gn_reader_left(r) < len) {
        r->failed = true;
        return (gn_bytes){0};
    }
    gn_bytes bytes = gn_bytes_of(r->p, len);
    r->p += len;
    return bytes;
}

const char *gn_read_cstr(gn_reader *r)
{
    size_t left = gn_reader_left(r);
    const uint8_t *end = r->failed || left == 0 ? NULL : memchr(r->p, 0, left);
    if (!end) {
        r->failed = true;
        return NULL;
    }
    const char *s = (const char *)r->p;
    r->p = end + 1;
    return s;
}
