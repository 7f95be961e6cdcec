/* Reading of key payloads, for the types that bring their own encoding. */
#ifndef GN_QUERY_KEY_PRIVATE_H
#define GN_QUERY_KEY_PRIVATE_H

#include "query/value.h"

typedef struct gn_key_reader {
    const uint8_t *p, *end;
    uint8_t flip; /* 0xff: the payload is inverted */
    bool failed;
} gn_key_reader;

uint64_t gn_key_get_u64(gn_key_reader *r, size_t bytes); /* big endian; 0 and failed at the end */

/* numeric.c. arena NULL: walks over the payload only. */
void gn_numeric_key_put(gn_buf *out, gn_bytes v);
gn_code gn_numeric_key_get(gn_key_reader *r, gn_arena *arena, gn_bytes *out, gn_error *err);

#endif
