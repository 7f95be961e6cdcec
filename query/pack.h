/* A pull reader of msgpack over borrowed bytes, for what may be damaged or hostile: it takes no memory, believes no
 * length that the bytes left cannot hold, and bounds nesting. (libmsgpack's own unpacker builds a tree and reserves
 * room for an array as long as its header claims.) A wrong type or a short input sets `failed` and gives zeros; check
 * once at the end. Writing is libmsgpack's packer, over gn_pack_write. */
#ifndef GN_QUERY_PACK_H
#define GN_QUERY_PACK_H

#include "base/buf.h"

typedef struct gn_unpack {
    gn_reader in;
    bool failed;
} gn_unpack;

static inline gn_unpack gn_unpack_of(gn_bytes bytes)
{
    return (gn_unpack){.in = gn_reader_of(bytes)};
}
uint64_t gn_unpack_uint(gn_unpack *u);
int64_t gn_unpack_int(gn_unpack *u);
bool gn_unpack_bool(gn_unpack *u);
bool gn_unpack_nil(gn_unpack *u);     /* true, and consumed, if nil comes next */
gn_bytes gn_unpack_str(gn_unpack *u); /* str or bin; points into the input */
/* Number of items (pairs for a map). At most `most`, else failed. */
uint32_t gn_unpack_array(gn_unpack *u, uint32_t most);
uint32_t gn_unpack_map(gn_unpack *u, uint32_t most);
void gn_unpack_skip(gn_unpack *u);       /* one object of any kind */
bool gn_unpack_done(const gn_unpack *u); /* all read, nothing failed */

/* For msgpack_packer_init(&packer, buf, gn_pack_write). */
int gn_pack_write(void *buf, const char *data, size_t len);

#endif
