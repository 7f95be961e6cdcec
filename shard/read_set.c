#include "base/assert.h"
#include "shard/read_set_private.h"

#include <stdlib.h>

void gn_read_set_close(gn_read_set *set)
{
    for (uint32_t i = 0; i < set->n; i++)
        free(set->spaces[i].items);
    free(set->spaces);
    gn_arena_destroy(set->arena);
    *set = (gn_read_set){0};
}

static gn_read_space *space_of(gn_read_set *set, const gn_space *space)
{
    if (set->last < set->n && gn_space_eq(&set->spaces[set->last].space, space))
        return &set->spaces[set->last];
    for (uint32_t i = 0; i < set->n; i++)
        if (gn_space_eq(&set->spaces[i].space, space)) {
            set->last = i;
            return &set->spaces[i];
        }
    if (set->n == set->cap) {
        set->cap = set->cap ? 2 * set->cap : 4;
        set->spaces = gn_xrealloc(set->spaces, set->cap * sizeof *set->spaces);
    }
    set->last = set->n;
    set->spaces[set->n] = (gn_read_space){.space = *space, .sorted = true};
    return &set->spaces[set->n++];
}

static void item_push(gn_read_space *rs, gn_read_item item)
{
    if (rs->n == rs->cap) {
        rs->cap = rs->cap ? 2 * rs->cap : 4;
        rs->items = gn_xrealloc(rs->items, rs->cap * sizeof *rs->items);
    }
    rs->sorted = rs->n == 0;
    rs->items[rs->n++] = item;
}

static bool is_whole(const gn_read_space *rs)
{
    return rs->n == 1 && rs->items[0].kind == GN_READ_OPEN && rs->items[0].lo.len == 0;
}

static void make_whole(gn_read_space *rs)
{
    rs->n = 0;
    item_push(rs, (gn_read_item){.kind = GN_READ_OPEN});
}

/* Copies the bounds; a set that has grown too large, or whose memory is refused, takes the whole space instead. */
static void add(gn_read_set *set, const gn_space *space, gn_read_item item)
{
    gn_read_space *rs = space_of(set, space);
    if (is_whole(rs))
        return;
    if (!set->arena)
        set->arena = gn_arena_create(set->account);
    uint8_t *lo = NULL, *hi = NULL;
    bool fits = rs->n < GN_READ_ITEMS_MAX && gn_arena_used(set->arena) < GN_READ_BYTES_MAX;
    if (fits)
        lo = gn_arena_memdup(set->arena, item.lo.data, item.lo.len);
    if (lo)
        hi = gn_arena_memdup(set->arena, item.hi.data, item.hi.len);
    if (!hi) {
        make_whole(rs);
        return;
    }
    item.lo.data = lo;
    item.hi.data = hi;
    item_push(rs, item);
}

void gn_read_set_point(gn_read_set *set, const gn_space *space, gn_bytes key)
{
    add(set, space, (gn_read_item){.kind = GN_READ_POINT, .lo = key});
}

void gn_read_set_range(gn_read_set *set, const gn_space *space, const gn_key_span *span)
{
    if (!span->end_open && gn_bytes_cmp(span->start, span->end) >= 0)
        return;
    gn_read_item item = {.kind = span->end_open ? GN_READ_OPEN : GN_READ_RANGE, .lo = span->start};
    if (!span->end_open)
        item.hi = span->end;
    if (span->end_open && span->start.len == 0)
        make_whole(space_of(set, space));
    else
        add(set, space, item);
}

void gn_read_set_drop(gn_read_set *set, uint64_t id)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < set->n; i++) {
        if (set->spaces[i].space.id == id)
            free(set->spaces[i].items);
        else
            set->spaces[kept++] = set->spaces[i];
    }
    set->n = kept;
}

/* ---- merging ---- */

static int by_lo(const void *a, const void *b)
{
    const gn_read_item *x = a, *y = b;
    int c = gn_bytes_cmp(x->lo, y->lo);
    return c ? c : (int)y->kind - (int)x->kind; /* the widest first */
}

/* Does `a`, which starts first, contain the start of b? */
static bool covers_start(const gn_read_item *a, const gn_read_item *b)
{
    switch (a->kind) {
    case GN_READ_POINT:
        return gn_bytes_eq(a->lo, b->lo);
    case GN_READ_RANGE:
        return gn_bytes_cmp(b->lo, a->hi) < 0;
    default:
        return true;
    }
}

static void merge_into(gn_read_item *a, const gn_read_item *b)
{
    if (a->kind == GN_READ_OPEN || b->kind == GN_READ_POINT)
        return;
    if (b->kind == GN_READ_OPEN || a->kind == GN_READ_POINT || gn_bytes_cmp(a->hi, b->hi) < 0) {
        a->kind = b->kind;
        a->hi = b->hi;
    }
}

static void sort_space(gn_read_space *rs)
{
    if (rs->sorted)
        return;
    qsort(rs->items, rs->n, sizeof *rs->items, by_lo);
    uint32_t kept = 0;
    for (uint32_t i = 1; i < rs->n; i++) {
        if (covers_start(&rs->items[kept], &rs->items[i]))
            merge_into(&rs->items[kept], &rs->items[i]);
        else
            rs->items[++kept] = rs->items[i];
    }
    rs->n = kept + 1;
    rs->sorted = true;
}

static int by_space(const void *a, const void *b)
{
    return gn_space_cmp(&((const gn_read_space *)a)->space, &((const gn_read_space *)b)->space);
}

void gn_read_set_sort(gn_read_set *set)
{
    if (set->n > 1)
        qsort(set->spaces, set->n, sizeof *set->spaces, by_space);
    set->last = 0;
    for (uint32_t i = 0; i < set->n; i++)
        sort_space(&set->spaces[i]);
}

void gn_read_set_add(gn_read_set *set, const gn_read_set *other)
{
    for (uint32_t i = 0; i < other->n; i++) {
        const gn_read_space *rs = &other->spaces[i];
        for (uint32_t j = 0; j < rs->n; j++) {
            const gn_read_item *item = &rs->items[j];
            if (item->kind == GN_READ_POINT)
                gn_read_set_point(set, &rs->space, item->lo);
            else
                gn_read_set_range(
                    set, &rs->space,
                    &(gn_key_span){.start = item->lo, .end = item->hi, .end_open = item->kind == GN_READ_OPEN});
        }
    }
}

/* ---- packing ---- */

bool gn_read_set_pack(gn_read_set *set, gn_buf *out)
{
    gn_read_set_sort(set);
    gn_buf_append_varint(out, set->n);
    for (uint32_t i = 0; i < set->n; i++) {
        gn_read_space *rs = &set->spaces[i];
        gn_buf_append_u8(out, rs->space.kind);
        gn_buf_append_varint(out, rs->space.id);
        gn_buf_append_varint(out, rs->space.epoch);
        gn_buf_append_varint(out, rs->space.branch);
        gn_buf_append_varint(out, rs->n);
        for (uint32_t j = 0; j < rs->n; j++) {
            gn_buf_append_u8(out, (uint8_t)rs->items[j].kind);
            gn_buf_append_varbytes(out, rs->items[j].lo);
            if (rs->items[j].kind == GN_READ_RANGE)
                gn_buf_append_varbytes(out, rs->items[j].hi);
        }
    }
    return !out->failed;
}

static bool unpack_space(gn_reader *r, gn_arena *arena, gn_read_space *rs)
{
    rs->space.kind = gn_read_u8(r);
    rs->space.id = gn_read_varint(r);
    rs->space.epoch = gn_read_varint(r);
    rs->space.branch = gn_read_varint(r);
    uint64_t n = gn_read_varint(r);
    if (r->failed || n > gn_reader_left(r))
        return false;
    rs->n = (uint32_t)n;
    rs->sorted = true;
    rs->items = gn_arena_calloc(arena, n, sizeof *rs->items);
    for (uint32_t i = 0; rs->items && i < rs->n; i++) {
        gn_read_item *item = &rs->items[i];
        uint8_t kind = gn_read_u8(r);
        if (kind > GN_READ_OPEN)
            return false;
        item->kind = (int)kind;
        item->lo = gn_read_varbytes(r);
        if (kind == GN_READ_RANGE)
            item->hi = gn_read_varbytes(r);
    }
    return rs->items && !r->failed;
}

gn_code gn_read_set_unpack(gn_bytes bytes, gn_arena *arena, gn_read_set *out, gn_error *err)
{
    gn_reader r = gn_reader_of(bytes);
    uint64_t n = gn_read_varint(&r);
    *out = (gn_read_set){0};
    if (r.failed || n > GN_READ_SPACES_MAX || n > gn_reader_left(&r))
        return gn_error_set(err, GN_CORRUPT, "a command's read set is malformed");
    out->spaces = gn_arena_calloc(arena, n, sizeof *out->spaces);
    if (!out->spaces)
        return gn_error_oom(err, gn_arena_account(arena));
    for (; out->n < n; out->n++)
        if (!unpack_space(&r, arena, &out->spaces[out->n]))
            return gn_error_set(err, GN_CORRUPT, "a command's read set is malformed");
    return GN_OK;
}

/* ---- asking ---- */

const gn_read_space *gn_read_set_space(const gn_read_set *set, const gn_space *space)
{
    uint32_t lo = 0, hi = set->n;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        int c = gn_space_cmp(&set->spaces[mid].space, space);
        if (c == 0)
            return &set->spaces[mid];
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

/* Items that start at or below key. */
static uint32_t items_to(const gn_read_space *rs, gn_bytes key)
{
    GN_ASSERT(rs->sorted);
    uint32_t lo = 0, hi = rs->n;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (gn_bytes_cmp(rs->items[mid].lo, key) <= 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

bool gn_read_space_has(const gn_read_space *rs, gn_bytes key)
{
    uint32_t n = items_to(rs, key);
    gn_read_item point = {.lo = key};
    return n > 0 && covers_start(&rs->items[n - 1], &point);
}

bool gn_read_space_meets(const gn_read_space *rs, gn_bytes least, gn_bytes greatest)
{
    if (gn_read_space_has(rs, least))
        return true;
    return items_to(rs, least) < items_to(rs, greatest);
}

bool gn_read_space_overlaps(const gn_read_space *rs, const gn_key_span *span)
{
    if (!span->end_open && gn_bytes_cmp(span->start, span->end) >= 0)
        return false;
    if (gn_read_space_has(rs, span->start))
        return true;
    uint32_t next = items_to(rs, span->start); /* the first that starts above it */
    return next < rs->n && (span->end_open || gn_bytes_cmp(rs->items[next].lo, span->end) < 0);
}
