#include "query/pack.h"

#include "base/limits.h"

static uint64_t fail(gn_unpack *u)
{
    u->failed = true;
    u->in.p = u->in.end;
    return 0;
}

static uint8_t next(gn_unpack *u)
{
    if (u->failed || gn_reader_left(&u->in) == 0) {
        fail(u);
        return 0xc1; /* never used by msgpack */
    }
    return gn_read_u8(&u->in);
}

static uint64_t be(gn_unpack *u, size_t bytes)
{
    if (gn_reader_left(&u->in) < bytes)
        return fail(u);
    uint64_t v = 0;
    while (bytes--)
        v = v << 8 | gn_read_u8(&u->in);
    return v;
}

uint64_t gn_unpack_uint(gn_unpack *u)
{
    uint8_t tag = next(u);
    if (tag < 0x80)
        return tag;
    if (tag >= 0xcc && tag <= 0xcf)
        return be(u, (size_t)1 << (tag - 0xcc));
    return fail(u);
}

int64_t gn_unpack_int(gn_unpack *u)
{
    uint8_t tag = next(u);
    if (tag < 0x80 || tag >= 0xe0)
        return (int8_t)tag;
    if (tag >= 0xcc && tag <= 0xcf) {
        uint64_t v = be(u, (size_t)1 << (tag - 0xcc));
        return v > INT64_MAX ? (int64_t)fail(u) : (int64_t)v;
    }
    switch (tag) {
    case 0xd0:
        return (int8_t)be(u, 1);
    case 0xd1:
        return (int16_t)be(u, 2);
    case 0xd2:
        return (int32_t)be(u, 4);
    case 0xd3:
        return (int64_t)be(u, 8);
    default:
        return (int64_t)fail(u);
    }
}

bool gn_unpack_bool(gn_unpack *u)
{
    uint8_t tag = next(u);
    if (tag != 0xc2 && tag != 0xc3)
        return fail(u);
    return tag == 0xc3;
}

bool gn_unpack_nil(gn_unpack *u)
{
    if (u->failed || gn_reader_left(&u->in) == 0 || *u->in.p != 0xc0)
        return false;
    u->in.p++;
    return true;
}

static gn_bytes take(gn_unpack *u, uint64_t len)
{
    if (len > gn_reader_left(&u->in)) {
        fail(u);
        return gn_bytes_of("", 0);
    }
    return gn_read_bytes(&u->in, (size_t)len);
}

gn_bytes gn_unpack_str(gn_unpack *u)
{
    uint8_t tag = next(u);
    if (tag >= 0xa0 && tag <= 0xbf)
        return take(u, tag & 0x1f);
    if (tag >= 0xd9 && tag <= 0xdb)
        return take(u, be(u, (size_t)1 << (tag - 0xd9)));
    if (tag >= 0xc4 && tag <= 0xc6)
        return take(u, be(u, (size_t)1 << (tag - 0xc4)));
    fail(u);
    return gn_bytes_of("", 0);
}

/* Every item takes a byte at least. */
static uint32_t items(gn_unpack *u, uint64_t n, uint32_t most)
{
    return n > most || n > gn_reader_left(&u->in) ? (uint32_t)fail(u) : (uint32_t)n;
}

uint32_t gn_unpack_array(gn_unpack *u, uint32_t most)
{
    uint8_t tag = next(u);
    if (tag >= 0x90 && tag <= 0x9f)
        return items(u, tag & 0x0f, most);
    if (tag == 0xdc || tag == 0xdd)
        return items(u, be(u, tag == 0xdc ? 2 : 4), most);
    return (uint32_t)fail(u);
}

uint32_t gn_unpack_map(gn_unpack *u, uint32_t most)
{
    uint8_t tag = next(u);
    if (tag >= 0x80 && tag <= 0x8f)
        return items(u, tag & 0x0f, most);
    if (tag == 0xde || tag == 0xdf)
        return items(u, be(u, tag == 0xde ? 2 : 4), most);
    return (uint32_t)fail(u);
}

/* Size of what follows the tag of a scalar; -1 for containers and the unused tag. */
static int64_t payload(gn_unpack *u, uint8_t tag)
{
    if (tag < 0x80 || tag >= 0xe0 || tag == 0xc0 || tag == 0xc2 || tag == 0xc3)
        return 0;
    if (tag >= 0xa0 && tag <= 0xbf)
        return tag & 0x1f;
    if (tag >= 0xc4 && tag <= 0xc6)
        return (int64_t)be(u, (size_t)1 << (tag - 0xc4));
    if (tag >= 0xc7 && tag <= 0xc9)
        return (int64_t)be(u, (size_t)1 << (tag - 0xc7)) + 1;
    if (tag == 0xca || tag == 0xcb)
        return tag == 0xca ? 4 : 8;
    if (tag >= 0xcc && tag <= 0xcf)
        return (int64_t)1 << (tag - 0xcc);
    if (tag >= 0xd0 && tag <= 0xd3)
        return (int64_t)1 << (tag - 0xd0);
    if (tag >= 0xd4 && tag <= 0xd8)
        return ((int64_t)1 << (tag - 0xd4)) + 1;
    if (tag >= 0xd9 && tag <= 0xdb)
        return (int64_t)be(u, (size_t)1 << (tag - 0xd9));
    return -1;
}

void gn_unpack_skip(gn_unpack *u)
{
    uint64_t open[GN_MAX_NESTING]; /* objects still to come at each level */
    size_t depth = 0;
    open[0] = 1;
    while (!u->failed) {
        while (open[depth] == 0) {
            if (depth == 0)
                return;
            depth--;
        }
        open[depth]--;
        uint8_t tag = next(u);
        bool array = (tag >= 0x90 && tag <= 0x9f) || tag == 0xdc || tag == 0xdd;
        bool map = (tag >= 0x80 && tag <= 0x8f) || tag == 0xde || tag == 0xdf;
        if (!array && !map) {
            int64_t len = payload(u, tag);
            if (len < 0)
                fail(u);
            else
                take(u, (uint64_t)len);
            continue;
        }
        if (++depth == GN_MAX_NESTING) {
            fail(u);
            return;
        }
        u->in.p--;
        open[depth] = array ? gn_unpack_array(u, UINT32_MAX) : 2 * (uint64_t)gn_unpack_map(u, UINT32_MAX);
    }
}

bool gn_unpack_done(const gn_unpack *u)
{
    return !u->failed && gn_reader_left(&u->in) == 0;
}

int gn_pack_write(void *buf, const char *data, size_t len)
{
    return gn_buf_append(buf, data, len) ? 0 : -1;
}
