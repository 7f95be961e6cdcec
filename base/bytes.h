/* A borrowed run of bytes. Never owns; valid as long as the memory that it points into. */
#ifndef GN_BASE_BYTES_H
#define GN_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct gn_bytes {
    const uint8_t *data; /* may be NULL when len is 0 */
    size_t len;
} gn_bytes;

static inline gn_bytes gn_bytes_of(const void *data, size_t len)
{
    return (gn_bytes){.data = data, .len = len};
}

/* The bytes of a NUL-terminated string, without the NUL. */
static inline gn_bytes gn_bytes_str(const char *s)
{
    return gn_bytes_of(s, strlen(s));
}

/* memcmp order; a prefix sorts first. */
static inline int gn_bytes_cmp(gn_bytes a, gn_bytes b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int c = n ? memcmp(a.data, b.data, n) : 0;
    if (c)
        return c;
    return a.len < b.len ? -1 : a.len > b.len;
}

static inline bool gn_bytes_eq(gn_bytes a, gn_bytes b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

#endif
