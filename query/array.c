#include "query/array.h"

#include "base/assert.h"
#include "base/limits.h"
#include "query/array_private.h"
#include "query/numeric.h"
#include "query/value_private.h"

enum { HEAD_DIMENSIONS = 7, HEAD_NULLS = 8, HEAD_BOUNDS = 16, VARINT_MAX = 10 };

/* Bytes of an item; 0: as many as it says. */
static size_t fixed_size(gn_type element)
{
    static const uint8_t sizes[] = {[GN_P_BOOL] = 1, [GN_P_I16] = 2, [GN_P_I32] = 4,  [GN_P_I64] = 8,
                                    [GN_P_F32] = 4,  [GN_P_F64] = 8, [GN_P_BYTES] = 0};
    if (element.id == GN_T_UUID || element.id == GN_T_INTERVAL)
        return 16;
    return sizes[gn_type_physical(element)];
}

static size_t put_varint(uint8_t *to, uint64_t v)
{
    size_t n = 0;
    for (; v >= 0x80; v >>= 7)
        to[n++] = (uint8_t)v | 0x80;
    to[n++] = (uint8_t)v;
    return n;
}

static bool get_varint(const uint8_t **p, const uint8_t *end, uint64_t *v)
{
    *v = 0;
    for (unsigned shift = 0; shift < 64 && *p < end; shift += 7) {
        uint8_t byte = *(*p)++;
        *v |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return true;
    }
    return false;
}

/* ---- reading ---- */

static bool read_shape(gn_array_iter *it, uint8_t head)
{
    it->n_dimensions = head & HEAD_DIMENSIONS;
    it->n_items = it->n_dimensions > 0;
    if (it->n_dimensions > GN_ARRAY_DIMENSIONS)
        return false;
    for (uint32_t d = 0; d < it->n_dimensions; d++) {
        uint64_t length;
        if (!get_varint(&it->p, it->end, &length) || length == 0 || length > GN_MAX_ARRAY_ITEMS)
            return false;
        it->lengths[d] = (int32_t)length;
        it->n_items *= length;
        it->lower_bounds[d] = 1;
        if (it->n_items > GN_MAX_ARRAY_ITEMS)
            return false;
    }
    if (!(head & HEAD_BOUNDS))
        return true;
    size_t size = it->n_dimensions * sizeof *it->lower_bounds;
    if ((size_t)(it->end - it->p) < size)
        return false;
    memcpy(it->lower_bounds, it->p, size);
    it->p += size;
    return true;
}

static bool open_bytes(gn_array_iter *it, gn_bytes bytes, gn_type element)
{
    *it = (gn_array_iter){.element = element, .p = bytes.data, .end = bytes.data + bytes.len};
    if (bytes.len == 0)
        return false;
    uint8_t head = *it->p++;
    bool ok = read_shape(it, head);
    if (ok && (head & HEAD_NULLS)) {
        size_t size = (size_t)(it->n_items + 7) / 8;
        ok = (size_t)(it->end - it->p) >= size;
        it->nulls = it->p;
        it->p += ok ? size : 0;
    }
    if (!ok)
        it->n_dimensions = 0, it->n_items = 0;
    return ok;
}

gn_array_iter gn_array_open(const gn_value *array)
{
    gn_array_iter it;
    GN_ASSERT(!array->is_null && array->type.is_array);
    bool ok = open_bytes(&it, array->as.bytes, gn_type_of((gn_type_id)array->type.id));
    GN_ASSERT(ok);
    return it;
}

static bool item_is_null(const gn_array_iter *it)
{
    return it->nulls && (it->nulls[it->at >> 3] >> (it->at & 7) & 1);
}

/* The bytes of the item at it->p, which is not NULL; it->p goes behind them. */
static bool take_bytes(gn_array_iter *it, gn_bytes *out)
{
    uint64_t len = fixed_size(it->element);
    if (len == 0 && !get_varint(&it->p, it->end, &len))
        return false;
    if (len > (uint64_t)(it->end - it->p))
        return false;
    *out = gn_bytes_of(it->p, (size_t)len);
    it->p += len;
    return true;
}

static void load(gn_bytes bytes, gn_value *item)
{
    switch (gn_type_physical(item->type)) {
    case GN_P_BOOL:
        item->as.boolean = bytes.data[0] != 0;
        break;
    case GN_P_I16:
        memcpy(&item->as.i16, bytes.data, 2);
        break;
    case GN_P_I32:
        memcpy(&item->as.i32, bytes.data, 4);
        break;
    case GN_P_I64:
        memcpy(&item->as.i64, bytes.data, 8);
        break;
    case GN_P_F32:
        memcpy(&item->as.f32, bytes.data, 4);
        break;
    case GN_P_F64:
        memcpy(&item->as.f64, bytes.data, 8);
        break;
    case GN_P_BYTES:
        item->as.bytes = bytes;
        break;
    }
}

bool gn_array_next(gn_array_iter *it, gn_value *item)
{
    gn_bytes bytes;
    if (it->at >= it->n_items)
        return false;
    *item = (gn_value){.type = it->element, .is_null = item_is_null(it)};
    it->at++;
    if (item->is_null)
        return true;
    bool ok = take_bytes(it, &bytes);
    GN_ASSERT(ok);
    load(bytes, item);
    return true;
}

/* Goes to item number `to`, ahead of the next one. */
static void skip_to(gn_array_iter *it, uint64_t to)
{
    size_t size = fixed_size(it->element);
    gn_value ignored;
    if (size && !it->nulls) {
        it->p += (to - it->at) * size;
        it->at = to;
    }
    while (it->at < to && gn_array_next(it, &ignored))
        ;
}

bool gn_array_at(const gn_value *array, const int32_t *subscripts, uint32_t n, gn_value *item)
{
    gn_array_iter it = gn_array_open(array);
    uint64_t at = 0;
    if (n == 0 || n != it.n_dimensions)
        return false;
    for (uint32_t d = 0; d < n; d++) {
        int64_t i = (int64_t)subscripts[d] - it.lower_bounds[d];
        if (i < 0 || i >= it.lengths[d])
            return false;
        at = at * (uint64_t)it.lengths[d] + (uint64_t)i;
    }
    skip_to(&it, at);
    return gn_array_next(&it, item);
}

static bool item_is_valid(gn_bytes bytes, gn_type element)
{
    return gn_value_bytes_sound(element, bytes);
}

bool gn_array_is_valid(gn_bytes bytes, gn_type element)
{
    gn_array_iter it;
    size_t size = fixed_size(element);
    if (!open_bytes(&it, bytes, element))
        return false;
    if (size && !it.nulls)
        return (uint64_t)(it.end - it.p) == it.n_items * size;
    for (; it.at < it.n_items; it.at++) {
        gn_bytes item;
        if (!item_is_null(&it) && (!take_bytes(&it, &item) || !item_is_valid(item, element)))
            return false;
    }
    return it.p == it.end;
}

/* ---- building ---- */

void gn_array_begin(gn_array_builder *b, gn_type element, gn_arena *arena)
{
    *b = (gn_array_builder){.element = element, .arena = arena, .lower_bounds = {1, 1, 1, 1, 1, 1}};
    b->element.typmod = -1;
}

static gn_code too_many(gn_error *err)
{
    return gn_error_set(err, GN_LIMIT, "array size exceeds the maximum allowed (%d)", (int)GN_MAX_ARRAY_ITEMS);
}

/* Doubles memory that the arena gave; the old stays behind in the arena. */
static gn_code grow(gn_arena *arena, uint8_t **at, size_t len, size_t *room, size_t more, gn_error *err)
{
    if (more <= *room - len)
        return GN_OK;
    size_t size = *room ? 2 * *room : 64;
    while (size - len < more)
        size *= 2;
    uint8_t *p = gn_arena_alloc(arena, size);
    if (!p)
        return gn_error_oom(err, gn_arena_account(arena));
    if (len)
        memcpy(p, *at, len);
    *at = p;
    *room = size;
    return GN_OK;
}

static gn_code mark_null(gn_array_builder *b, bool null, gn_error *err)
{
    size_t bytes = (size_t)(b->n_items / 8) + 1, room = b->nulls_room;
    if (!b->has_nulls && !null)
        return GN_OK;
    gn_code code = grow(b->arena, &b->nulls, room, &b->nulls_room, bytes > room ? bytes - room : 0, err);
    if (code != GN_OK)
        return code;
    memset(b->nulls + room, 0, b->nulls_room - room);
    b->has_nulls = true;
    b->nulls[b->n_items >> 3] |= (uint8_t)(null << (b->n_items & 7));
    return GN_OK;
}

static gn_bytes stored_bytes(const gn_value *item, uint8_t *boolean)
{
    switch (gn_type_physical(item->type)) {
    case GN_P_BYTES:
        return item->as.bytes;
    case GN_P_BOOL:
        *boolean = item->as.boolean;
        return gn_bytes_of(boolean, 1);
    default:
        return gn_bytes_of(&item->as, fixed_size(item->type)); /* members of the union begin at one place */
    }
}

gn_code gn_array_add(gn_array_builder *b, const gn_value *item, gn_error *err)
{
    uint8_t boolean = 0;
    if (b->n_items >= GN_MAX_ARRAY_ITEMS)
        return too_many(err);
    gn_code code = mark_null(b, item->is_null, err);
    if (code == GN_OK && !item->is_null) {
        size_t size = fixed_size(b->element);
        GN_ASSERT(gn_type_physical(item->type) == gn_type_physical(b->element));
        gn_bytes bytes = stored_bytes(item, &boolean);
        GN_ASSERT(!size || bytes.len == size);
        if (bytes.len > GN_MAX_FIELD - b->len)
            return gn_error_set(err, GN_LIMIT, "array size exceeds the maximum allowed (%d bytes)", (int)GN_MAX_FIELD);
        code = grow(b->arena, &b->items, b->len, &b->room, bytes.len + VARINT_MAX, err);
        if (code != GN_OK)
            return code;
        if (!size)
            b->len += put_varint(b->items + b->len, bytes.len);
        if (bytes.len)
            memcpy(b->items + b->len, bytes.data, bytes.len);
        b->len += bytes.len;
    }
    b->n_items += code == GN_OK;
    return code;
}

gn_code gn_array_count(const int32_t *lengths, const int32_t *lower_bounds, uint32_t n_dimensions, uint64_t *n_items,
                       gn_error *err)
{
    *n_items = n_dimensions > 0;
    for (uint32_t d = 0; d < n_dimensions; d++) {
        int32_t end;
        if (lengths[d] < 0 || (*n_items && (uint64_t)lengths[d] > GN_MAX_ARRAY_ITEMS / *n_items))
            return too_many(err);
        *n_items *= (uint64_t)lengths[d];
        if (__builtin_add_overflow(lower_bounds[d], lengths[d], &end))
            return gn_error_set(err, GN_LIMIT, "array lower bound is too large: %d", lower_bounds[d]);
    }
    return GN_OK;
}

gn_code gn_array_end(gn_array_builder *b, gn_value *out, gn_error *err)
{
    uint8_t head[1 + GN_ARRAY_DIMENSIONS * (VARINT_MAX + sizeof(int32_t))];
    uint64_t expected = 0;
    size_t n = 1, nulls = b->has_nulls ? (size_t)(b->n_items + 7) / 8 : 0;
    bool bounds = false;
    if (b->n_items == 0) {
        b->n_dimensions = 0;
    } else if (b->n_dimensions == 0) {
        b->n_dimensions = 1;
        b->lengths[0] = (int32_t)b->n_items;
    }
    gn_code code = gn_array_count(b->lengths, b->lower_bounds, b->n_dimensions, &expected, err);
    if (code != GN_OK)
        return code;
    GN_ASSERT(expected == b->n_items);
    for (uint32_t d = 0; d < b->n_dimensions; d++) {
        n += put_varint(head + n, (uint64_t)b->lengths[d]);
        bounds |= b->lower_bounds[d] != 1;
    }
    head[0] = (uint8_t)(b->n_dimensions | (b->has_nulls ? HEAD_NULLS : 0) | (bounds ? HEAD_BOUNDS : 0));
    if (bounds) {
        memcpy(head + n, b->lower_bounds, b->n_dimensions * sizeof *b->lower_bounds);
        n += b->n_dimensions * sizeof *b->lower_bounds;
    }
    if (n + nulls + b->len > GN_MAX_FIELD)
        return gn_error_set(err, GN_LIMIT, "array size exceeds the maximum allowed (%d bytes)", (int)GN_MAX_FIELD);
    uint8_t *to = gn_arena_alloc(b->arena, n + nulls + b->len);
    if (!to)
        return gn_error_oom(err, gn_arena_account(b->arena));
    memcpy(to, head, n);
    if (nulls)
        memcpy(to + n, b->nulls, nulls);
    if (b->len)
        memcpy(to + n + nulls, b->items, b->len);
    *out = (gn_value){.type = gn_type_array_of((gn_type_id)b->element.id),
                      .as.bytes = gn_bytes_of(to, n + nulls + b->len)};
    return GN_OK;
}

/* ---- slices ---- */

typedef struct range {
    uint64_t from, n; /* items of one dimension, 0-based */
} range;

/* Adds the items of the ranges: whole runs of the last dimension, those before as an odometer. */
static gn_code add_ranges(gn_array_iter *it, const range *ranges, gn_array_builder *b, gn_error *err)
{
    uint64_t at[GN_ARRAY_DIMENSIONS] = {0};
    uint32_t last = it->n_dimensions - 1;
    gn_code code = GN_OK;
    for (;;) {
        uint64_t offset = 0;
        gn_value item;
        for (uint32_t d = 0; d <= last; d++)
            offset = offset * (uint64_t)it->lengths[d] + ranges[d].from + at[d];
        skip_to(it, offset);
        for (uint64_t i = 0; i < ranges[last].n && code == GN_OK && gn_array_next(it, &item); i++)
            code = gn_array_add(b, &item, err);
        uint32_t d = last;
        while (d > 0 && ++at[d - 1] == ranges[d - 1].n)
            at[--d] = 0;
        if (code != GN_OK || d == 0)
            return code;
    }
}

gn_code gn_array_slice(const gn_value *array, const int32_t *lower, const int32_t *upper, uint32_t n, gn_arena *arena,
                       gn_value *out, gn_error *err)
{
    gn_array_iter it = gn_array_open(array);
    gn_array_builder b;
    range ranges[GN_ARRAY_DIMENSIONS];
    bool empty = it.n_dimensions == 0 || n > it.n_dimensions;
    gn_array_begin(&b, it.element, arena);
    for (uint32_t d = 0; d < it.n_dimensions && !empty; d++) {
        int64_t first = it.lower_bounds[d], end = first + it.lengths[d], from = first, to = end;
        if (d < n) {
            from = lower[d] > first ? lower[d] : first;
            to = (int64_t)upper[d] + 1 < end ? (int64_t)upper[d] + 1 : end;
        }
        empty |= from >= to;
        ranges[d] = (range){.from = (uint64_t)(from - first), .n = (uint64_t)(to - from)};
        b.lengths[d] = empty ? 0 : (int32_t)(to - from);
    }
    b.n_dimensions = empty ? 0 : it.n_dimensions;
    gn_code code = empty ? GN_OK : add_ranges(&it, ranges, &b, err);
    return code != GN_OK ? code : gn_array_end(&b, out, err);
}

/* ---- order, hash ---- */

static int compare_i32(const int32_t *a, const int32_t *b, uint32_t n)
{
    for (uint32_t d = 0; d < n; d++)
        if (a[d] != b[d])
            return a[d] < b[d] ? -1 : 1;
    return 0;
}

/* Item by item, NULL above all; then the number of items, the dimensions, their lengths, their lower bounds. */
int gn_array_compare(const gn_value *a, const gn_value *b)
{
    gn_array_iter x = gn_array_open(a), y = gn_array_open(b);
    gn_value i, j;
    int c = 0;
    while (!c && x.at < x.n_items && y.at < y.n_items) {
        gn_array_next(&x, &i);
        gn_array_next(&y, &j);
        c = i.is_null || j.is_null ? i.is_null - j.is_null : gn_value_compare(&i, &j);
    }
    if (!c)
        c = (x.n_items > y.n_items) - (x.n_items < y.n_items);
    if (!c)
        c = (x.n_dimensions > y.n_dimensions) - (x.n_dimensions < y.n_dimensions);
    if (!c)
        c = compare_i32(x.lengths, y.lengths, x.n_dimensions);
    return c ? c : compare_i32(x.lower_bounds, y.lower_bounds, x.n_dimensions);
}

uint64_t gn_array_hash(const gn_value *array)
{
    gn_array_iter it = gn_array_open(array);
    uint64_t h = gn_hash_u64(it.n_items);
    for (gn_value item; gn_array_next(&it, &item);)
        h = gn_hash_u64(h ^ gn_value_hash(&item));
    return h;
}
