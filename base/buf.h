/* A growable byte buffer with a maximum. An append that would pass the maximum or the account's budget sets `failed`
 * and drops the bytes; later appends do nothing. So a writer may append freely and check once at its end. */
#ifndef GN_BASE_BUF_H
#define GN_BASE_BUF_H

#include "base/bytes.h"
#include "base/memory.h"

typedef struct gn_buf {
    uint8_t *data;
    size_t len;
    size_t cap;
    size_t max; /* never larger than this */
    gn_account *account;
    bool failed;
} gn_buf;

void gn_buf_init(gn_buf *buf, gn_account *account, size_t max);
void gn_buf_close(gn_buf *buf);
void gn_buf_clear(gn_buf *buf);                /* len = 0 and failed = false; keeps the memory */
bool gn_buf_reserve(gn_buf *buf, size_t more); /* room for `more` further bytes */
bool gn_buf_append(gn_buf *buf, const void *data, size_t len);
bool gn_buf_append_bytes(gn_buf *buf, gn_bytes bytes);
bool gn_buf_append_str(gn_buf *buf, const char *s);
bool gn_buf_append_u8(gn_buf *buf, uint8_t v);
bool gn_buf_append_be16(gn_buf *buf, uint16_t v); /* network order */
bool gn_buf_append_be32(gn_buf *buf, uint32_t v);
bool gn_buf_append_be64(gn_buf *buf, uint64_t v);
bool gn_buf_printf(gn_buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
void gn_buf_consume(gn_buf *buf, size_t n); /* drops the first n bytes */
static inline gn_bytes gn_buf_bytes(const gn_buf *buf)
{
    return gn_bytes_of(buf->data, buf->len);
}

/* A bounded reader over borrowed bytes. A read past the end sets `failed` and gives zeros; check once at the end. */
typedef struct gn_reader {
    const uint8_t *p, *end;
    bool failed;
} gn_reader;

static inline gn_reader gn_reader_of(gn_bytes b)
{
    return (gn_reader){.p = b.data, .end = b.len ? b.data + b.len : b.data};
}
static inline size_t gn_reader_left(const gn_reader *r)
{
    return (size_t)(r->end - r->p);
}
uint8_t gn_read_u8(gn_reader *r);
uint16_t gn_read_be16(gn_reader *r);
uint32_t gn_read_be32(gn_reader *r);
uint64_t gn_read_be64(gn_reader *r);
gn_bytes gn_read_bytes(gn_reader *r, size_t len);
/* Up to and including the next NUL; the result lacks the NUL but is NUL-terminated in place. NULL when there is none.
 */
const char *gn_read_cstr(gn_reader *r);

#endif
