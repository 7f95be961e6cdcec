#include "base/assert.h"
#include "shard/keyspace_private.h"

#include <xxhash.h>

int gn_space_cmp(const gn_space *a, const gn_space *b)
{
    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    if (a->id != b->id)
        return a->id < b->id ? -1 : 1;
    if (a->epoch != b->epoch)
        return a->epoch < b->epoch ? -1 : 1;
    return a->branch < b->branch ? -1 : a->branch > b->branch;
}

static size_t ordered_varint(uint8_t *out, uint64_t v)
{
    size_t n = v ? (size_t)(64 - __builtin_clzll(v) + 7) / 8 : 0;
    out[0] = (uint8_t)n;
    for (size_t i = n; i > 0; i--, v >>= 8)
        out[i] = (uint8_t)v;
    return n + 1;
}

size_t gn_space_prefix_all_branches(const gn_space *space, uint8_t *out)
{
    size_t n = 0;
    out[n++] = space->kind;
    n += ordered_varint(out + n, space->id);
    n += ordered_varint(out + n, space->epoch);
    return n;
}

size_t gn_space_prefix(const gn_space *space, uint8_t *out)
{
    size_t n = gn_space_prefix_all_branches(space, out);
    return n + ordered_varint(out + n, space->branch);
}

void gn_version_key(gn_buf *out, const gn_space *space, gn_bytes key, gn_scn scn)
{
    uint8_t prefix[GN_SPACE_PREFIX_MAX];
    gn_buf_clear(out);
    gn_buf_append(out, prefix, gn_space_prefix(space, prefix));
    gn_buf_append_bytes(out, key);
    gn_buf_append_be64(out, ~scn);
    GN_ASSERT(!out->failed);
}

size_t gn_prefix_successor(uint8_t *key, size_t len)
{
    while (len > 0 && key[len - 1] == 0xff)
        len--;
    if (len > 0)
        key[len - 1]++;
    return len;
}

static bool successor_copy(gn_bytes key, gn_arena *arena, gn_bytes *out, bool *none)
{
    uint8_t *copy = gn_arena_memdup(arena, key.data, key.len);
    if (!copy)
        return false;
    size_t len = gn_prefix_successor(copy, key.len);
    *none = len == 0;
    *out = gn_bytes_of(copy, len);
    return true;
}

bool gn_key_span_of(const gn_key_range *range, gn_arena *arena, gn_key_span *out)
{
    bool none = false;
    *out = (gn_key_span){.end_open = true};
    if (range->lo.data && range->lo_exclusive) {
        if (!successor_copy(range->lo, arena, &out->start, &none))
            return false;
        if (none) { /* nothing lies above: an empty range */
            out->end_open = false;
            out->start = out->end = gn_bytes_of("", 0);
            return true;
        }
    } else if (range->lo.data) {
        out->start = range->lo;
    }
    if (!range->hi.data)
        return true;
    if (range->hi_inclusive) {
        if (!successor_copy(range->hi, arena, &out->end, &none))
            return false;
        out->end_open = none;
    } else {
        out->end = range->hi;
        out->end_open = false;
    }
    return true;
}

void gn_row_header(gn_bytes row, uint8_t out[GN_ROW_HEADER])
{
    uint32_t sum = (uint32_t)XXH3_64bits(row.data, row.len);
    out[0] = GN_VALUE_ROW;
    memcpy(out + 1, &(uint32_t){__builtin_bswap32(sum)}, 4);
}

gn_code gn_value_open(gn_bytes value, bool *dead, gn_bytes *row, gn_error *err)
{
    *row = gn_bytes_of(NULL, 0);
    uint8_t tag = value.len ? value.data[0] : 0;
    switch (tag) {
    case GN_VALUE_TOMBSTONE:
    case GN_VALUE_ENTRY_DEAD:
        *dead = true;
        return GN_OK;
    case GN_VALUE_ENTRY_LIVE:
        *dead = false;
        *row = gn_bytes_of(value.data + 1, value.len - 1);
        return GN_OK;
    case GN_VALUE_ROW: {
        if (value.len < GN_ROW_HEADER)
            break;
        *dead = false;
        *row = gn_bytes_of(value.data + GN_ROW_HEADER, value.len - GN_ROW_HEADER);
        uint8_t header[GN_ROW_HEADER];
        gn_row_header(*row, header);
        if (memcmp(header, value.data, GN_ROW_HEADER) != 0)
            return gn_error_set(err, GN_CORRUPT, "a stored row does not match its checksum");
        return GN_OK;
    }
    default:
        break;
    }
    return gn_error_set(err, GN_CORRUPT, "a stored value has the unknown tag %u", tag);
}

size_t gn_meta_key(uint8_t *out, uint8_t what, const uint64_t *args, size_t n)
{
    GN_ASSERT(n <= 4);
    out[0] = GN_KIND_META;
    out[1] = what;
    for (size_t i = 0; i < n; i++)
        gn_put_be64(out + 2 + 8 * i, args[i]);
    return 2 + 8 * n;
}

void gn_log_key(uint8_t out[GN_LOG_KEY], gn_scn scn, uint32_t chunk)
{
    out[0] = GN_KIND_LOG;
    gn_put_be64(out + 1, scn);
    for (int i = 0; i < 4; i++)
        out[9 + i] = (uint8_t)(chunk >> (24 - 8 * i));
}

size_t gn_varint_put(uint8_t *out, uint64_t v)
{
    size_t n = 0;
    for (; v >= 0x80; v >>= 7)
        out[n++] = (uint8_t)(v | 0x80);
    out[n++] = (uint8_t)v;
    return n;
}

bool gn_buf_append_varint(gn_buf *buf, uint64_t v)
{
    uint8_t bytes[10];
    return gn_buf_append(buf, bytes, gn_varint_put(bytes, v));
}

bool gn_buf_append_varbytes(gn_buf *buf, gn_bytes bytes)
{
    gn_buf_append_varint(buf, bytes.len);
    return gn_buf_append_bytes(buf, bytes);
}

uint64_t gn_read_varint(gn_reader *r)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (r->p == r->end)
            break;
        uint8_t b = *r->p++;
        if (shift == 63 && b > 1)
            break;
        v |= (uint64_t)(b & 0x7f) << shift;
        if (!(b & 0x80))
            return v;
    }
    r->failed = true;
    return 0;
}

gn_bytes gn_read_varbytes(gn_reader *r)
{
    uint64_t n = gn_read_varint(r);
    if (r->failed || n > gn_reader_left(r)) {
        r->failed = true;
        return gn_bytes_of(NULL, 0);
    }
    gn_bytes b = gn_bytes_of(r->p, (size_t)n);
    r->p += n;
    return b;
}
