/* Hashing of rows, and the set of distinct rows that DISTINCT, GROUP BY and aggregates over DISTINCT stand on. Open
 * addressing with linear probing; a slot keeps 32 bits of the hash, so that most misses never touch the rows. */
#include "query/function_private.h"
#include "query/operator_private.h"

#include <stdlib.h>
#include <xxhash.h>

typedef struct gn_row_slot {
    uint32_t tag;
    uint32_t row_high; /* number + 1; 0 = free */
    uint32_t row_low;
} gn_row_slot;

enum { FIRST_SLOTS = 256 };

/* ---- hashes ---- */

static uint64_t mix(uint64_t x)
{
    x ^= x >> 32;
    x *= 0x9e3779b97f4a7c15u;
    x ^= x >> 29;
    x *= 0xbf58476d1ce4e5b9u;
    return x ^ x >> 32;
}

static uint64_t hash_f64(double v)
{
    uint64_t bits;
    if (v != v)
        return 0x7ff8u;
    v = v == 0 ? 0 : v; /* -0 equals 0 */
    memcpy(&bits, &v, sizeof bits);
    return bits;
}

static uint64_t hash_cell(const gn_column *c, uint32_t row)
{
    switch (gn_type_physical(c->type)) {
    case GN_P_BOOL:
        return c->boolean[row];
    case GN_P_I16:
        return (uint64_t)c->i16[row];
    case GN_P_I32:
        return (uint64_t)c->i32[row];
    case GN_P_I64:
        return (uint64_t)c->i64[row];
    case GN_P_F32:
        return hash_f64(c->f32[row]);
    case GN_P_F64:
        return hash_f64(c->f64[row]);
    case GN_P_BYTES:
        break;
    }
    if (!c->type.is_array && (c->type.id == GN_T_TEXT || c->type.id == GN_T_VARCHAR || c->type.id == GN_T_UUID))
        return XXH3_64bits(c->bytes[row].data, c->bytes[row].len);
    gn_value v = gn_column_get(c, row);
    return gn_value_hash(&v);
}

void gn_hash_rows(const gn_column *columns, uint32_t n_columns, uint32_t n_rows, uint64_t *hashes)
{
    for (uint32_t i = 0; i < n_rows; i++)
        hashes[i] = 0;
    for (uint32_t c = 0; c < n_columns; c++)
        for (uint32_t i = 0; i < n_rows; i++) {
            uint64_t h = gn_column_is_null(&columns[c], i) ? 0x6e756c6cu : hash_cell(&columns[c], i);
            hashes[i] = mix(hashes[i] * 31 + h);
        }
}

/* ---- equality ---- */

bool gn_cells_equal(const gn_column *a, uint32_t row_a, const gn_column *b, uint32_t row_b)
{
    bool null_a = gn_column_is_null(a, row_a), null_b = gn_column_is_null(b, row_b);
    if (null_a || null_b)
        return null_a == null_b;
    switch (gn_type_physical(a->type)) {
    case GN_P_BOOL:
        return !a->boolean[row_a] == !b->boolean[row_b];
    case GN_P_I16:
        return a->i16[row_a] == b->i16[row_b];
    case GN_P_I32:
        return a->i32[row_a] == b->i32[row_b];
    case GN_P_I64:
        return a->i64[row_a] == b->i64[row_b];
    default:
        break;
    }
    gn_value x = gn_column_get(a, row_a), y = gn_column_get(b, row_b);
    return gn_value_compare(&x, &y) == 0;
}

static bool row_equals(const gn_row_set *set, uint64_t number, const gn_column *columns, uint32_t row)
{
    for (uint32_t c = 0; c < set->store.n_columns; c++)
        if (!gn_cells_equal(gn_row_store_column(&set->store, number, c), gn_row_store_place(number), &columns[c], row))
            return false;
    return true;
}

/* ---- the set ---- */

void gn_row_set_init(gn_row_set *set, gn_account *account, gn_arena *arena, const gn_type *types, uint32_t n_columns)
{
    *set = (gn_row_set){.account = account};
    gn_row_store_init(&set->store, arena, types, n_columns);
}

void gn_row_set_close(gn_row_set *set)
{
    gn_account_release(set->account, set->n_slots * sizeof(gn_row_slot));
    free(set->slots);
    gn_row_store_close(&set->store);
    *set = (gn_row_set){.account = NULL};
}

static uint64_t slot_row(const gn_row_slot *slot) /* number + 1, or 0 */
{
    return (uint64_t)slot->row_high << 32 | slot->row_low;
}

static void slot_set(gn_row_slot *slot, uint64_t number, uint32_t tag)
{
    slot->tag = tag;
    slot->row_high = (uint32_t)((number + 1) >> 32);
    slot->row_low = (uint32_t)(number + 1);
}

/* The tag's bits choose the slot, so that growing needs no look at the rows while there are fewer than 2^32 slots. */
static uint64_t home(uint32_t tag, uint64_t n_slots)
{
    return (tag * (uint64_t)0x9e3779b97f4a7c15u >> 20) & (n_slots - 1);
}

static gn_code set_grow(gn_row_set *set, gn_error *err)
{
    uint64_t n = set->n_slots ? 2 * set->n_slots : FIRST_SLOTS;
    if (n > (uint64_t)1 << 40 || !gn_account_charge(set->account, n * sizeof(gn_row_slot)))
        return gn_error_oom(err, set->account);
    gn_row_slot *slots = gn_xcalloc(n, sizeof *slots);
    for (uint64_t i = 0; i < set->n_slots; i++) {
        if (!slot_row(&set->slots[i]))
            continue;
        uint64_t at = home(set->slots[i].tag, n);
        while (slot_row(&slots[at]))
            at = (at + 1) & (n - 1);
        slots[at] = set->slots[i];
    }
    gn_account_release(set->account, set->n_slots * sizeof(gn_row_slot));
    free(set->slots);
    set->slots = slots;
    set->n_slots = n;
    return GN_OK;
}

gn_code gn_row_set_put(gn_row_set *set, const gn_column *columns, uint32_t row, uint64_t hash, uint64_t *number,
                       bool *added, gn_error *err)
{
    if (set->store.n_rows * 4 >= set->n_slots * 3) {
        gn_code code = set_grow(set, err);
        if (code)
            return code;
    }
    uint32_t tag = (uint32_t)hash;
    uint64_t at = home(tag, set->n_slots);
    for (; slot_row(&set->slots[at]); at = (at + 1) & (set->n_slots - 1)) {
        uint64_t found = slot_row(&set->slots[at]) - 1;
        if (set->slots[at].tag == tag && row_equals(set, found, columns, row)) {
            *number = found;
            *added = false;
            return GN_OK;
        }
    }
    uint64_t fresh = set->store.n_rows;
    gn_code code = gn_row_store_append(&set->store, columns, row, err);
    if (code)
        return code;
    slot_set(&set->slots[at], fresh, tag);
    *number = fresh;
    *added = true;
    return GN_OK;
}
