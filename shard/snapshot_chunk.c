/* A chunk as it travels: version (1), form (1), length of the bytes (4), XXH3-64 (8), body. Most of a store is
 * compressed already, so the body is only when that saves an eighth. */
#include "base/versions.h"
#include "shard/snapshot_private.h"

#include <xxhash.h>
#include <zstd.h>

enum { CHUNK_VERSION = GN_FORMAT_CHUNK, CHUNK_HEADER = 14, CHUNK_PLAIN = 0, CHUNK_ZSTD = 1, ZSTD_LEVEL = 1 };

/* The piece's place seeds it: what was meant for another place does not pass. */
static uint64_t checksum(const gn_chunk_request *request, const uint8_t *raw, size_t len)
{
    uint8_t place[GN_CHUNK_REQUEST_BYTES];
    gn_put_be64(place, request->group_id);
    gn_put_be64(place + 8, request->snapshot_id);
    gn_put_be64(place + 16, request->file);
    gn_put_be64(place + 24, request->offset);
    return XXH3_64bits_withSeed(raw, len, XXH3_64bits(place, 32));
}

void gn_chunk_encode(const gn_chunk_request *request, gn_bytes raw, gn_buf *out)
{
    uint64_t sum = checksum(request, raw.data, raw.len);
    size_t bound = raw.len - raw.len / 8, packed = 0;
    gn_buf_append_u8(out, CHUNK_VERSION);
    size_t form = out->len;
    gn_buf_append_u8(out, CHUNK_PLAIN);
    gn_buf_append_be32(out, (uint32_t)raw.len);
    gn_buf_append_be64(out, sum);
    if (!gn_buf_reserve(out, raw.len))
        return;
    if (bound > 0)
        packed = ZSTD_compress(out->data + out->len, bound, raw.data, raw.len, ZSTD_LEVEL);
    if (bound == 0 || ZSTD_isError(packed)) { /* it does not fit: it does not pay */
        gn_buf_append_bytes(out, raw);
        return;
    }
    out->data[form] = CHUNK_ZSTD;
    out->len += packed;
}

gn_code gn_chunk_decode(const gn_chunk_request *request, gn_bytes chunk, uint8_t *raw, size_t len, gn_error *err)
{
    gn_reader r = gn_reader_of(chunk);
    uint8_t version = gn_read_u8(&r), form = gn_read_u8(&r);
    uint32_t claimed = gn_read_be32(&r);
    uint64_t sum = gn_read_be64(&r);
    gn_bytes body = gn_read_bytes(&r, gn_reader_left(&r));
    bool ok = !r.failed && version == CHUNK_VERSION && form <= CHUNK_ZSTD && claimed == len;
    if (ok && form == CHUNK_ZSTD)
        ok = ZSTD_decompress(raw, len, body.data, body.len) == len;
    else if (ok && (ok = body.len == len) && len > 0)
        memcpy(raw, body.data, len);
    if (ok && checksum(request, raw, len) == sum)
        return GN_OK;
    return gn_error_set(err, GN_CORRUPT, "a chunk of a snapshot is damaged (file %u at %llu)", request->file,
                        (unsigned long long)request->offset);
}

/* ---- requests ---- */

void gn_chunk_request_write(gn_buf *out, const gn_chunk_request *request)
{
    gn_buf_append_u8(out, CHUNK_VERSION);
    gn_buf_append_be64(out, request->group_id);
    gn_buf_append_be64(out, request->index);
    gn_buf_append_be64(out, request->snapshot_id);
    gn_buf_append_be32(out, request->file);
    gn_buf_append_be64(out, request->offset);
}

gn_code gn_chunk_request_read(gn_bytes bytes, gn_chunk_request *out, gn_error *err)
{
    gn_reader r = gn_reader_of(bytes);
    bool ok = gn_read_u8(&r) == CHUNK_VERSION;
    out->group_id = gn_read_be64(&r);
    out->index = gn_read_be64(&r);
    out->snapshot_id = gn_read_be64(&r);
    out->file = gn_read_be32(&r);
    out->offset = gn_read_be64(&r);
    if (ok && !r.failed && gn_reader_left(&r) == 0)
        return GN_OK;
    return gn_error_set(err, GN_PROTOCOL, "a request for a chunk of a snapshot is malformed");
}
