#include "query/batch_pack.h"

#include "base/assert.h"
#include "base/limits.h"
#include "base/versions.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "items are copied as they lie in memory");

enum { PACK_VERSION = GN_FORMAT_BATCH, HAS_KEYS = 1 };
/* Of a column: is its type an array's, has it a bitmap, have its items one length; then the width of a length. */
enum { COLUMN_ARRAY = 1, COLUMN_NULLS = 2, COLUMN_ONE_LENGTH = 4, WIDTH_SHIFT = 3, COLUMN_FLAGS = 31 };
enum { WIDTHS = 3, NULL_BYTES = GN_BATCH_ROWS / 8 };

/* ---- writing ---- */

static void put_le(gn_buf *out, uint64_t v, size_t bytes)
{
    gn_buf_append(out, &v, bytes);
}

/* The bitmap of rows from ... from + n - 1, moved to bit 0. False: none is NULL. */
static bool nulls_of(const gn_column *c, uint32_t from, uint32_t n, uint8_t bits[NULL_BYTES])
{
    bool any = false;
    if (!c->has_nulls)
        return false;
    memset(bits, 0, NULL_BYTES);
    for (uint32_t i = 0; i < n; i++)
        if (gn_column_is_null(c, from + i)) {
            bits[i / 8] |= (uint8_t)(1 << i % 8);
            any = true;
        }
    return any;
}

static bool bit(const uint8_t *bits, uint32_t i)
{
    return bits && (bits[i / 8] >> i % 8 & 1);
}

/* What lies where a NULL is has no meaning, and may be anything. */
static void pack_fixed(const gn_column *c, uint32_t from, uint32_t n, const uint8_t *nulls, gn_buf *out)
{
    size_t size = gn_physical_size(gn_type_physical(c->type)), at = out->len;
    if (!gn_buf_append(out, (const uint8_t *)c->data + from * size, n * size) || !nulls)
        return;
    for (uint32_t i = 0; i < n; i++)
        if (bit(nulls, i))
            memset(out->data + at + i * size, 0, size);
}

/* flags: the byte in `out`, to be completed. */
static void pack_bytes(const gn_bytes *items, uint32_t n, const uint8_t *nulls, size_t flags, gn_buf *out)
{
    size_t longest = 0, total = 0, first = SIZE_MAX;
    bool one_length = true;
    for (uint32_t i = 0; i < n; i++) {
        if (bit(nulls, i))
            continue;
        size_t len = items[i].len;
        total += len;
        longest = len > longest ? len : longest;
        one_length &= first == SIZE_MAX || len == first;
        first = len;
    }
    unsigned width = longest <= UINT8_MAX ? 0 : longest <= UINT16_MAX ? 1 : 2;
    GN_ASSERT(longest <= UINT32_MAX);
    if (!gn_buf_reserve(out, (size_t)4 * n + 4 + total)) {
        out->failed = true;
        return;
    }
    out->data[flags] |= (uint8_t)(width << WIDTH_SHIFT | (one_length ? COLUMN_ONE_LENGTH : 0));
    if (one_length)
        put_le(out, longest, (size_t)1 << width);
    for (uint32_t i = 0; i < n && !one_length; i++)
        put_le(out, bit(nulls, i) ? 0 : items[i].len, (size_t)1 << width);
    for (uint32_t i = 0; i < n; i++)
        if (!bit(nulls, i))
            gn_buf_append_bytes(out, items[i]);
}

static void pack_column(const gn_column *c, uint32_t from, uint32_t n, gn_buf *out)
{
    uint8_t bits[NULL_BYTES];
    const uint8_t *nulls = nulls_of(c, from, n, bits) ? bits : NULL;
    gn_buf_append_u8(out, c->type.id);
    size_t flags = out->len;
    gn_buf_append_u8(out, (uint8_t)((c->type.is_array ? COLUMN_ARRAY : 0) | (nulls ? COLUMN_NULLS : 0)));
    if (nulls)
        gn_buf_append(out, nulls, (n + 7) / 8);
    if (gn_type_physical(c->type) == GN_P_BYTES)
        pack_bytes(c->bytes + from, n, nulls, flags, out);
    else
        pack_fixed(c, from, n, nulls, out);
}

static uint32_t rows_that_fit(const gn_batch *batch, const gn_bytes *keys, uint32_t from, size_t most)
{
    size_t fixed = 0, bytes = 0;
    for (uint32_t i = 0; i < batch->n_columns; i++)
        fixed += gn_physical_size(gn_type_physical(batch->columns[i].type));
    for (uint32_t r = from; r < batch->n_rows; r++) {
        bytes += fixed + (keys ? keys[r].len : 0);
        for (uint32_t i = 0; i < batch->n_columns; i++) {
            const gn_column *c = &batch->columns[i];
            if (gn_type_physical(c->type) == GN_P_BYTES && !gn_column_is_null(c, r))
                bytes += c->bytes[r].len;
        }
        if (bytes > most && r > from)
            return r - from;
    }
    return batch->n_rows - from;
}

uint32_t gn_batch_pack(const gn_batch *batch, const gn_bytes *keys, uint32_t from, size_t most, gn_buf *out)
{
    GN_ASSERT(batch->n_rows <= GN_BATCH_ROWS && from <= batch->n_rows && batch->n_columns <= UINT16_MAX);
    uint32_t n = rows_that_fit(batch, keys, from, most);
    gn_buf_append_u8(out, PACK_VERSION);
    gn_buf_append_u8(out, keys ? HAS_KEYS : 0);
    put_le(out, n, 2);
    put_le(out, batch->n_columns, 2);
    for (uint32_t i = 0; i < batch->n_columns && !out->failed; i++)
        pack_column(&batch->columns[i], from, n, out);
    if (keys && !out->failed) {
        size_t flags = out->len;
        gn_buf_append_u8(out, 0);
        pack_bytes(keys + from, n, NULL, flags, out);
    }
    return out->failed ? 0 : n;
}

/* ---- reading ---- */

typedef struct unpacking {
    gn_reader in;
    uint32_t n;
    gn_arena *arena;
    gn_error *err;
} unpacking;

static gn_code corrupt(const unpacking *u)
{
    return gn_error_set(u->err, GN_CORRUPT, "a batch of rows from another node cannot be read");
}

static gn_code no_memory(const unpacking *u)
{
    return gn_error_oom(u->err, gn_arena_account(u->arena));
}

static uint64_t get_le(gn_reader *in, size_t bytes)
{
    uint64_t v = 0;
    gn_bytes b = gn_read_bytes(in, bytes);
    if (!in->failed)
        memcpy(&v, b.data, bytes);
    return v;
}

static gn_code unpack_nulls(unpacking *u, gn_column *c)
{
    c->nulls = gn_arena_calloc(u->arena, GN_BATCH_ROWS / 64, sizeof *c->nulls);
    if (!c->nulls)
        return no_memory(u);
    if (!c->has_nulls)
        return GN_OK;
    gn_bytes bits = gn_read_bytes(&u->in, (u->n + 7) / 8);
    if (u->in.failed || (u->n % 8 && bits.data[bits.len - 1] >> u->n % 8))
        return corrupt(u);
    if (bits.len)
        memcpy(c->nulls, bits.data, bits.len);
    return GN_OK;
}

static gn_code unpack_fixed(unpacking *u, gn_column *c)
{
    size_t size = gn_physical_size(gn_type_physical(c->type));
    gn_bytes items = gn_read_bytes(&u->in, u->n * size);
    if (u->in.failed)
        return corrupt(u);
    if (!(c->data = gn_arena_alloc(u->arena, GN_BATCH_ROWS * size)))
        return no_memory(u);
    if (items.len)
        memcpy(c->data, items.data, items.len);
    if (gn_type_physical(c->type) == GN_P_BOOL)
        for (uint32_t i = 0; i < u->n; i++)
            if (c->boolean[i] > 1)
                return corrupt(u);
    return GN_OK;
}

/* Lengths first; the bytes are taken when the input is known to have them. nulls: NULL = none. */
static gn_code unpack_bytes(unpacking *u, unsigned flags, const gn_column *nulls, gn_bytes *items)
{
    unsigned width = flags >> WIDTH_SHIFT;
    bool one_length = flags & COLUMN_ONE_LENGTH;
    if (width >= WIDTHS)
        return corrupt(u);
    uint64_t total = 0, length = one_length ? get_le(&u->in, (size_t)1 << width) : 0;
    for (uint32_t i = 0; i < u->n; i++) {
        bool is_null = nulls && gn_column_is_null(nulls, i);
        uint64_t own = one_length ? length : get_le(&u->in, (size_t)1 << width);
        if (is_null && !one_length && own)
            return corrupt(u);
        items[i].len = is_null ? 0 : own;
        total += items[i].len;
    }
    if (u->in.failed || total > gn_reader_left(&u->in))
        return corrupt(u);
    gn_bytes from = gn_read_bytes(&u->in, (size_t)total);
    const uint8_t *copy = gn_arena_memdup(u->arena, from.data, from.len);
    if (!copy)
        return no_memory(u);
    for (uint32_t i = 0; i < u->n; i++) {
        items[i].data = copy;
        copy += items[i].len;
    }
    return GN_OK;
}

static gn_code unpack_column(unpacking *u, gn_type type, gn_column *c)
{
    uint8_t id = gn_read_u8(&u->in), flags = gn_read_u8(&u->in);
    bool fixed = gn_type_physical(type) != GN_P_BYTES;
    if (u->in.failed || id != type.id || type.is_array != (flags & COLUMN_ARRAY) || flags > COLUMN_FLAGS ||
        (fixed && flags > (COLUMN_ARRAY | COLUMN_NULLS)))
        return corrupt(u);
    *c = (gn_column){.type = type, .has_nulls = flags & COLUMN_NULLS};
    gn_code code = unpack_nulls(u, c);
    if (code != GN_OK || fixed)
        return code == GN_OK ? unpack_fixed(u, c) : code;
    if (!(c->bytes = gn_arena_alloc(u->arena, GN_BATCH_ROWS * sizeof *c->bytes)))
        return no_memory(u);
    code = unpack_bytes(u, flags, c, c->bytes);
    for (uint32_t i = 0; i < u->n && code == GN_OK; i++)
        if (!gn_column_is_null(c, i) && !gn_value_bytes_sound(type, c->bytes[i]))
            code = corrupt(u);
    return code;
}

static gn_code unpack_keys(unpacking *u, gn_bytes *keys)
{
    unsigned flags = gn_read_u8(&u->in);
    gn_bytes *items = keys ? keys : gn_arena_alloc(u->arena, GN_BATCH_ROWS * sizeof *items);
    if (flags > COLUMN_FLAGS || flags & (COLUMN_ARRAY | COLUMN_NULLS))
        return corrupt(u);
    return items ? unpack_bytes(u, flags, NULL, items) : no_memory(u);
}

gn_code gn_batch_unpack(gn_bytes packed, const gn_type *types, uint32_t n_types, gn_batch *batch, gn_bytes *keys,
                        gn_error *err)
{
    unpacking u = {.in = gn_reader_of(packed), .arena = batch->arena, .err = err};
    gn_arena_reset(batch->arena);
    *batch = (gn_batch){.arena = batch->arena, .n_columns = n_types};
    uint8_t version = gn_read_u8(&u.in), flags = gn_read_u8(&u.in);
    u.n = (uint32_t)get_le(&u.in, 2);
    uint64_t n_columns = get_le(&u.in, 2);
    if (u.in.failed || version != PACK_VERSION || flags > HAS_KEYS || u.n > GN_BATCH_ROWS || n_columns != n_types ||
        (keys && !(flags & HAS_KEYS)))
        return corrupt(&u);
    if (!(batch->columns = gn_arena_calloc(batch->arena, n_types, sizeof *batch->columns)))
        return no_memory(&u);
    gn_code code = GN_OK;
    for (uint32_t i = 0; i < n_types && code == GN_OK; i++)
        code = unpack_column(&u, types[i], &batch->columns[i]);
    if (code == GN_OK && flags & HAS_KEYS)
        code = unpack_keys(&u, keys);
    if (code == GN_OK && gn_reader_left(&u.in) > 0)
        code = corrupt(&u);
    if (code == GN_OK)
        batch->n_rows = u.n;
    return code;
}
