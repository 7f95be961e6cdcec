/* Sort, and top-k when only the first `keep` rows are wanted.
 *
 * Rows are kept in a row store; what is sorted is an array of 16-byte entries: an order-preserving prefix of the first
 * key, and the row's number, which also makes the order stable. Most comparisons end at the prefix. Merge sort, with a
 * scratch array that is charged like everything else.
 *
 * Top-k does not move rows through a heap, for replaced rows would leave holes in the arena. It collects up to twice
 * `keep` rows, sorts, copies the best into a fresh arena and drops the old one; from then on a row that is not better
 * than the worst kept is not even copied. */
#include "query/function_private.h"
#include "query/operator_private.h"

#include <math.h>
#include <stdlib.h>

typedef struct entry {
    uint64_t prefix;
    uint64_t place; /* row number; the two upper bits are the rank of NULL: 0 first, 1 a value, 2 last */
} entry;

enum { RANK_SHIFT = 62, RUN = 12, CANCEL_EVERY = 1 << 14, SLACK = 256 };
static const uint64_t ROW_MASK = ((uint64_t)1 << RANK_SHIFT) - 1;

typedef struct sort_op {
    gn_operator op;
    gn_account *account;
    const gn_sort_key *keys;
    uint32_t n_keys;
    uint64_t keep;
    gn_type *types;       /* of the store: the input's columns, then the computed keys */
    uint32_t *key_column; /* where each key lies in the store */
    uint32_t n_stored;
    gn_arena *arena; /* of the store */
    gn_row_store store;
    entry *entries;
    uint64_t n_entries, cap_entries;
    bool cut; /* entries[n_entries - 1] is the worst of `keep` rows: later rows must beat it */
    bool filled;
    uint64_t emitted;
    gn_arena *work; /* of the input's keys, then of the batch that is out */
    gn_batch out;
} sort_op;

/* ---- order ---- */

static uint64_t prefix_f64(double v)
{
    uint64_t bits;
    if (isnan(v))
        return UINT64_MAX;
    v = v == 0 ? 0 : v; /* -0 */
    memcpy(&bits, &v, sizeof bits);
    return bits >> 63 ? ~bits : bits | (uint64_t)1 << 63;
}

static uint64_t prefix_bytes(gn_bytes b)
{
    uint64_t p = 0;
    for (size_t i = 0; i < 8; i++)
        p = p << 8 | (i < b.len ? b.data[i] : 0);
    return p;
}

static bool prefix_is_whole(gn_type t)
{
    return gn_type_physical(t) != GN_P_BYTES;
}

/* Never orders two values otherwise than gn_value_compare; may leave them equal. */
static uint64_t prefix_of(const gn_column *c, uint32_t row)
{
    switch (gn_type_physical(c->type)) {
    case GN_P_BOOL:
        return c->boolean[row];
    case GN_P_I16:
        return (uint64_t)c->i16[row] ^ (uint64_t)1 << 63;
    case GN_P_I32:
        return (uint64_t)c->i32[row] ^ (uint64_t)1 << 63;
    case GN_P_I64:
        return (uint64_t)c->i64[row] ^ (uint64_t)1 << 63;
    case GN_P_F32:
        return prefix_f64(c->f32[row]);
    case GN_P_F64:
        return prefix_f64(c->f64[row]);
    case GN_P_BYTES:
        break;
    }
    bool plain = !c->type.is_array && (c->type.id == GN_T_TEXT || c->type.id == GN_T_VARCHAR ||
                                       c->type.id == GN_T_BYTEA || c->type.id == GN_T_UUID);
    return plain ? prefix_bytes(c->bytes[row]) : 0;
}

static entry entry_of(const sort_op *s, const gn_column *first_key, uint32_t row, uint64_t number)
{
    const gn_sort_key *key = &s->keys[0];
    if (gn_column_is_null(first_key, row))
        return (entry){.place = number | (uint64_t)(key->nulls_first ? 0 : 2) << RANK_SHIFT};
    uint64_t prefix = prefix_of(first_key, row);
    return (entry){.prefix = key->descending ? ~prefix : prefix, .place = number | (uint64_t)1 << RANK_SHIFT};
}

int gn_column_order(const gn_column *a, uint32_t row_a, const gn_column *b, uint32_t row_b, bool descending,
                    bool nulls_first)
{
    bool null_a = gn_column_is_null(a, row_a), null_b = gn_column_is_null(b, row_b);
    if (null_a || null_b)
        return null_a == null_b ? 0 : null_a == nulls_first ? -1 : 1;
    gn_value x = gn_column_get(a, row_a), y = gn_column_get(b, row_b);
    int order = gn_value_compare(&x, &y);
    return descending ? -order : order;
}

/* Both entries' rows lie in stores of the same layout; equal keys give 0. */
static int rows_order(const sort_op *s, const gn_row_store *store_a, const entry *a, const gn_row_store *store_b,
                      const entry *b)
{
    uint64_t rank_a = a->place >> RANK_SHIFT, rank_b = b->place >> RANK_SHIFT;
    if (rank_a != rank_b)
        return rank_a < rank_b ? -1 : 1;
    if (a->prefix != b->prefix)
        return a->prefix < b->prefix ? -1 : 1;
    bool first_settled = rank_a != 1 || prefix_is_whole(s->types[s->key_column[0]]);
    uint64_t row_a = a->place & ROW_MASK, row_b = b->place & ROW_MASK;
    for (uint32_t k = first_settled; k < s->n_keys; k++) {
        uint32_t column = s->key_column[k];
        int order = gn_column_order(gn_row_store_column(store_a, row_a, column), gn_row_store_place(row_a),
                                    gn_row_store_column(store_b, row_b, column), gn_row_store_place(row_b),
                                    s->keys[k].descending, s->keys[k].nulls_first);
        if (order)
            return order;
    }
    return 0;
}

static bool after(const sort_op *s, const gn_row_store *store, const entry *a, const entry *b)
{
    int order = rows_order(s, store, a, store, b);
    return order ? order > 0 : (a->place & ROW_MASK) > (b->place & ROW_MASK);
}

/* ---- merge sort ---- */

static void sort_run(const sort_op *s, const gn_row_store *store, entry *e, uint64_t n)
{
    for (uint64_t i = 1; i < n; i++) {
        entry moving = e[i];
        uint64_t at = i;
        for (; at > 0 && after(s, store, &e[at - 1], &moving); at--)
            e[at] = e[at - 1];
        e[at] = moving;
    }
}

static bool merge_pass(const sort_op *s, const gn_row_store *store, const entry *from, entry *to, uint64_t n,
                       uint64_t width)
{
    for (uint64_t lo = 0; lo < n; lo += 2 * width) {
        uint64_t mid = lo + width < n ? lo + width : n, hi = lo + 2 * width < n ? lo + 2 * width : n;
        uint64_t a = lo, b = mid;
        for (uint64_t k = lo; k < hi; k++) {
            bool take_b = a == mid || (b < hi && after(s, store, &from[a], &from[b]));
            to[k] = take_b ? from[b++] : from[a++];
            if (k % CANCEL_EVERY == 0 && gn_operator_canceled(&s->op))
                return false;
        }
    }
    return true;
}

/* scratch has room for n entries. */
static gn_code sort_with(const sort_op *s, const gn_row_store *store, entry *entries, uint64_t n, entry *scratch,
                         gn_error *err)
{
    for (uint64_t lo = 0; lo < n; lo += RUN)
        sort_run(s, store, entries + lo, n - lo < RUN ? n - lo : RUN);
    entry *from = entries, *to = scratch;
    for (uint64_t width = RUN; width < n; width *= 2) {
        if (!merge_pass(s, store, from, to, n, width))
            return gn_operator_cancel_error(err);
        entry *other = from;
        from = to;
        to = other;
    }
    if (from != entries)
        memcpy(entries, from, n * sizeof *entries);
    return GN_OK;
}

static gn_code sort_entries(const sort_op *s, gn_error *err)
{
    if (s->n_entries < 2)
        return GN_OK;
    size_t size = s->n_entries * sizeof(entry);
    if (!gn_account_charge(s->account, size))
        return gn_error_oom(err, s->account);
    entry *scratch = gn_xmalloc(size);
    gn_code code = sort_with(s, &s->store, s->entries, s->n_entries, scratch, err);
    free(scratch);
    gn_account_release(s->account, size);
    return code;
}

/* ---- collecting ---- */

static gn_code entries_reserve(sort_op *s, uint64_t more, gn_error *err)
{
    if (s->n_entries + more <= s->cap_entries)
        return GN_OK;
    uint64_t cap = s->cap_entries ? 2 * s->cap_entries : 64;
    while (cap < s->n_entries + more)
        cap *= 2;
    size_t grow = (cap - s->cap_entries) * sizeof(entry);
    if (!gn_account_charge(s->account, grow))
        return gn_error_oom(err, s->account);
    s->entries = gn_xrealloc(s->entries, cap * sizeof(entry));
    s->cap_entries = cap;
    return GN_OK;
}

/* Keeps the best `keep` rows alone, in a fresh arena. */
static gn_code cut(sort_op *s, gn_error *err)
{
    gn_code code = sort_entries(s, err);
    if (code)
        return code;
    gn_arena *arena = gn_arena_create(s->account);
    gn_row_store kept;
    gn_row_store_init(&kept, arena, s->types, s->n_stored);
    uint64_t n = s->n_entries < s->keep ? s->n_entries : s->keep;
    for (uint64_t i = 0; i < n && !code; i++) {
        uint64_t row = s->entries[i].place & ROW_MASK;
        code = gn_row_store_append(&kept, s->store.chunks[row / GN_BATCH_ROWS], gn_row_store_place(row), err);
        s->entries[i].place = (s->entries[i].place & ~ROW_MASK) | i;
    }
    gn_row_store_close(&s->store);
    gn_arena_destroy(s->arena);
    s->store = kept;
    s->arena = arena;
    s->n_entries = n;
    s->cut = true;
    return code;
}

/* The rows of a batch that may be among the first `keep`: those that beat the worst kept, and no more than `keep`. */
static gn_code choose_rows(sort_op *s, const gn_row_store *batch, uint32_t n_rows, entry *chosen, uint32_t *n_chosen,
                           gn_error *err)
{
    uint32_t n = 0;
    for (uint32_t row = 0; row < n_rows; row++) {
        entry e = entry_of(s, &batch->chunks[0][s->key_column[0]], row, row);
        if (!s->cut || rows_order(s, &s->store, &s->entries[s->n_entries - 1], batch, &e) > 0)
            chosen[n++] = e;
    }
    *n_chosen = n;
    if (n <= s->keep)
        return GN_OK;
    entry scratch[GN_BATCH_ROWS];
    *n_chosen = (uint32_t)s->keep;
    return sort_with(s, batch, chosen, n, scratch, err);
}

static gn_code add_batch(sort_op *s, const gn_batch *in, gn_error *err)
{
    gn_arena_reset(s->work);
    gn_eval eval = gn_operator_eval(&s->op, s->work, err);
    gn_column *columns = gn_eval_alloc(&eval, (s->n_stored + 1u) * sizeof *columns);
    if (!columns)
        return GN_OUT_OF_MEMORY;
    memcpy(columns, in->columns, in->n_columns * sizeof *columns);
    for (uint32_t k = 0; k < s->n_keys; k++)
        if (s->key_column[k] >= in->n_columns) {
            gn_code code = gn_expr_eval(s->keys[k].expr, in, &eval, &columns[s->key_column[k]]);
            if (code)
                return code;
        }
    gn_row_store batch = {.n_columns = s->n_stored, .types = s->types, .chunks = &columns, .n_chunks = 1};
    entry chosen[GN_BATCH_ROWS];
    uint32_t n_chosen;
    gn_code code = choose_rows(s, &batch, in->n_rows, chosen, &n_chosen, err);
    bool had_cut = s->cut;
    s->cut = false; /* the worst is no longer at the end */
    if (!code)
        code = entries_reserve(s, n_chosen, err);
    for (uint32_t i = 0; i < n_chosen && !code; i++) {
        uint64_t number = s->store.n_rows;
        code = gn_row_store_append(&s->store, columns, (uint32_t)(chosen[i].place & ROW_MASK), err);
        chosen[i].place = (chosen[i].place & ~ROW_MASK) | number;
        s->entries[s->n_entries++] = chosen[i];
    }
    if (n_chosen == 0)
        s->cut = had_cut;
    else if (!code && s->keep < UINT64_MAX / 4 && s->n_entries >= 2 * s->keep + SLACK)
        code = cut(s, err);
    return code;
}

static gn_code fill(sort_op *s, gn_error *err)
{
    for (;;) {
        gn_batch *in;
        gn_code code = gn_operator_next(s->op.inputs[0], &in, err);
        if (code)
            return code;
        if (!in || in->n_rows == 0)
            break;
        code = add_batch(s, in, err);
        if (code)
            return code;
    }
    gn_code code = sort_entries(s, err);
    if (!code && s->n_entries > s->keep)
        s->n_entries = s->keep;
    return code;
}

/* ---- the operator ---- */

static gn_code sort_next(gn_operator *op, gn_batch **out, gn_error *err)
{
    sort_op *s = (sort_op *)op;
    gn_code code = GN_OK;
    *out = NULL;
    if (!s->filled && s->keep > 0)
        code = fill(s, err);
    if (code)
        return code;
    s->filled = true;
    uint64_t left = s->n_entries - s->emitted, numbers[GN_BATCH_ROWS];
    uint32_t n = left < GN_BATCH_ROWS ? (uint32_t)left : GN_BATCH_ROWS;
    if (n == 0)
        return GN_OK;
    for (uint32_t i = 0; i < n; i++)
        numbers[i] = s->entries[s->emitted + i].place & ROW_MASK;
    gn_arena_reset(s->work);
    gn_eval eval = gn_operator_eval(op, s->work, err);
    code = gn_row_store_gather(&s->store, 0, op->n_columns, numbers, n, &eval, &s->out);
    if (code)
        return code;
    s->emitted += n;
    *out = &s->out;
    return GN_OK;
}

static void sort_close(gn_operator *op)
{
    sort_op *s = (sort_op *)op;
    gn_row_store_close(&s->store);
    gn_arena_destroy(s->arena);
    gn_arena_destroy(s->work);
    gn_account_release(s->account, s->cap_entries * sizeof(entry));
    free(s->entries);
    free(s->types);
    free(s->key_column);
    free(s);
}

gn_operator *gn_op_sort(const gn_eval *eval, gn_account *account, gn_operator *input, const gn_sort_key *keys,
                        uint32_t n_keys, uint64_t keep)
{
    static const gn_operator_ops ops = {.name = "Sort", .next = sort_next, .close = sort_close};
    GN_ASSERT(n_keys > 0);
    sort_op *s = gn_xcalloc(1, sizeof *s);
    s->op = (gn_operator){
        .ops = &ops, .eval = eval, .inputs = {input}, .n_columns = input->n_columns, .types = input->types};
    s->account = account;
    s->keys = keys;
    s->n_keys = n_keys;
    s->keep = keep;
    s->types = gn_xcalloc(input->n_columns + n_keys, sizeof *s->types);
    s->key_column = gn_xcalloc(n_keys, sizeof *s->key_column);
    if (input->n_columns)
        memcpy(s->types, input->types, input->n_columns * sizeof *s->types);
    s->n_stored = input->n_columns;
    for (uint32_t k = 0; k < n_keys; k++) {
        bool plain = keys[k].expr->kind == GN_E_COLUMN;
        s->key_column[k] = plain ? keys[k].expr->column : s->n_stored;
        if (!plain)
            s->types[s->n_stored++] = keys[k].expr->type;
    }
    s->arena = gn_arena_create(account);
    s->work = gn_arena_create(account);
    gn_row_store_init(&s->store, s->arena, s->types, s->n_stored);
    return &s->op;
}
