/* Does an index have exactly what the rows say? Both are read in one pass each at the transaction's SCN, and the
 * entries that should be there are compared with those that are by a sum of hashes, which needs no order and no memory.
 * Only where the sums differ each row's entry is looked up, to say how many and which. */
#include "base/assert.h"
#include "query/vector.h"
#include "shard/index_entry_private.h"
#include "shard/mvcc_private.h"
#include "shard/txn_private.h"
#include "shard/vector_feed_private.h"

#include <string.h>
#define XXH_STATIC_LINKING_ONLY /* a state on the stack */
#include <xxhash.h>

/* Of a set of things: how many, and the sum of their hashes. */
typedef struct digest {
    uint64_t n, sum;
} digest;

static void add(digest *d, gn_bytes entry, gn_bytes primary_key)
{
    XXH3_state_t state;
    uint64_t length = entry.len;
    XXH3_64bits_reset(&state);
    XXH3_64bits_update(&state, &length, sizeof length);
    if (entry.len)
        XXH3_64bits_update(&state, entry.data, entry.len);
    if (primary_key.len)
        XXH3_64bits_update(&state, primary_key.data, primary_key.len);
    d->sum += XXH3_64bits_digest(&state);
    d->n++;
}

static bool equal(const digest *a, const digest *b)
{
    return a->n == b->n && a->sum == b->sum;
}

static void note_example(gn_index_findings *out, gn_bytes key)
{
    if (out->example.len == 0)
        gn_buf_append_bytes(&out->example, key);
}

/* Calls fn with each version that the transaction sees in the space, in order. */
static gn_code each(gn_txn *txn, const gn_space *space,
                    gn_code (*fn)(void *ctx, gn_bytes key, const gn_version *version, gn_error *err), void *ctx,
                    gn_error *err)
{
    const gn_key_span all = {.end_open = true};
    gn_mvcc_cursor cursor;
    gn_code code = gn_txn_await(txn, space, &all, err);
    if (code != GN_OK)
        return code;
    gn_mvcc_open(&cursor, txn->store, space, &txn->chain, &all, false);
    for (uint64_t n = 0; code == GN_OK; n++) {
        gn_bytes key;
        gn_version version;
        code = gn_mvcc_next(&cursor, &key, &version, err);
        if (code == GN_OK && (n & 1023) == 0 && gn_txn_canceled(txn))
            code = gn_error_set(err, GN_CANCELED, "%s", gn_code_text(GN_CANCELED));
        if (code == GN_OK)
            code = fn(ctx, key, &version, err);
    }
    gn_mvcc_close(&cursor);
    return code == GN_NO_DATA ? GN_OK : code;
}

/* ---- btree ---- */

typedef struct btree_check {
    const gn_slot_view *slots;
    const gn_table_desc *table;
    const gn_index_desc *index;
    gn_index_columns columns;
    gn_buf key;
    digest wanted, found;
    gn_point_reader reader; /* of the second pass */
    gn_space space;
    const gn_chain *chain;
    gn_index_findings *out;
} btree_check;

static gn_code entry_of(btree_check *c, gn_bytes key, const gn_version *row, gn_index_entry *entry, gn_error *err)
{
    gn_code code = gn_index_columns_read(&c->columns, row->row, err);
    return code == GN_OK ? gn_index_entry_of(&c->columns, c->index, key, &c->key, entry, err) : code;
}

static gn_code want_entry(void *ctx, gn_bytes key, const gn_version *row, gn_error *err)
{
    btree_check *c = ctx;
    gn_index_entry entry;
    bool ours;
    gn_code code = gn_slot_view_pass(c->slots, c->slots->rows, c->table, key, &ours, err);
    if (code == GN_OK && !ours)
        return GN_OK;
    if (code == GN_OK)
        code = entry_of(c, key, row, &entry, err);
    if (code == GN_OK && !entry.left_out)
        add(&c->wanted, entry.key, key);
    return code;
}

static gn_code find_entry(void *ctx, gn_bytes key, const gn_version *version, gn_error *err)
{
    btree_check *c = ctx;
    gn_bytes primary;
    bool ours = false;
    gn_code code = gn_index_entry_primary(c->table, c->index, key, version->row, &primary, err);
    if (code == GN_OK)
        code = gn_slot_view_pass(c->slots, c->slots->rows, c->table, primary, &ours, err);
    if (code == GN_OK && ours)
        add(&c->found, key, primary);
    return code;
}

static gn_code look_up_entry(void *ctx, gn_bytes key, const gn_version *row, gn_error *err)
{
    btree_check *c = ctx;
    gn_index_entry entry;
    gn_version version;
    gn_bytes primary = {0};
    bool found = false, ours;
    gn_code code = gn_slot_view_pass(c->slots, c->slots->rows, c->table, key, &ours, err);
    if (code == GN_OK && !ours)
        return GN_OK;
    if (code == GN_OK)
        code = entry_of(c, key, row, &entry, err);
    if (code == GN_OK && entry.left_out)
        return GN_OK;
    if (code == GN_OK)
        code = gn_point_get(&c->reader, &c->space, c->chain, entry.key, &version, &found, err);
    if (code == GN_OK && found)
        code = gn_index_entry_primary(c->table, c->index, entry.key, version.row, &primary, err);
    if (code == GN_OK && (!found || !gn_bytes_eq(primary, key))) {
        c->out->missing++;
        note_example(c->out, key);
    }
    return code;
}

static gn_code check_btree(gn_txn *txn, btree_check *c, gn_error *err)
{
    gn_space rows = gn_row_space(c->table, txn->branch);
    gn_code code = each(txn, &rows, want_entry, c, err);
    if (code == GN_OK)
        code = each(txn, &c->space, find_entry, c, err);
    c->out->rows = c->wanted.n;
    c->out->entries = c->found.n;
    c->out->same = equal(&c->wanted, &c->found);
    if (code != GN_OK || c->out->same)
        return code;
    gn_point_open(&c->reader, txn->store);
    code = each(txn, &rows, look_up_entry, c, err);
    gn_point_close(&c->reader);
    uint64_t right = c->wanted.n - c->out->missing;
    c->out->extra = c->found.n > right ? c->found.n - right : 0;
    return code;
}

static gn_code start_btree(gn_txn *txn, const gn_table_desc *table, const gn_index_desc *index, gn_index_findings *out,
                           gn_error *err)
{
    btree_check c = {.slots = &txn->slots,
                     .table = table,
                     .index = index,
                     .space = gn_index_space(table, index, txn->branch),
                     .chain = &txn->chain,
                     .out = out};
    gn_buf_init(&c.key, NULL, GN_STORE_KEY_MAX);
    gn_code code = gn_index_columns_init(&c.columns, table, index, err);
    if (code == GN_OK)
        code = check_btree(txn, &c, err);
    gn_index_columns_close(&c.columns);
    gn_buf_close(&c.key);
    return code;
}

/* ---- vectors ---- */

typedef struct vector_check {
    const gn_slot_view *slots;
    const gn_table_desc *table;
    const gn_index_desc *index;
    uint32_t ordinal, words;
    float *vector; /* room for one */
    bool cosine;
    digest wanted, found;
    gn_arena *arena, *scratch;
} vector_check;

/* Such a one has no cosine, and is not in the index. */
static bool has_no_length(const float *vector, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (vector[i] != 0)
            return false;
    return true;
}

static gn_code want_vector(void *ctx, gn_bytes key, const gn_version *row, gn_error *err)
{
    vector_check *c = ctx;
    gn_value value;
    bool ours;
    gn_code code = gn_slot_view_pass(c->slots, c->slots->rows, c->table, key, &ours, err);
    if (code != GN_OK || !ours)
        return code;
    gn_arena_reset(c->scratch);
    code = gn_index_row_vector(c->table, c->index, row->row, c->scratch, &value, err);
    if (code != GN_OK || value.is_null ||
        !gn_index_vector(c->table->columns[c->ordinal].type, value.as.bytes, c->vector))
        return code;
    if (!c->cosine || !has_no_length(c->vector, c->words))
        add(&c->wanted, gn_bytes_of(NULL, 0), key);
    return GN_OK;
}

/* A filter that lets nothing pass is shown everything that can be seen. */
static bool find_vector(void *ctx, gn_bytes key, uint64_t begin_scn)
{
    vector_check *c = ctx;
    bool ours; /* it has vectors of the other half of a group that was split, for a while */
    (void)begin_scn;
    if (gn_slot_view_pass(c->slots, c->slots->vectors, c->table, key, &ours, NULL) != GN_OK || ours)
        add(&c->found, gn_bytes_of(NULL, 0), key);
    return false;
}

static gn_code list_vectors(gn_txn *txn, gn_feed *feed, vector_check *c, gn_error *err)
{
    gn_vview *view = gn_vview_acquire(gn_feed_vindex(feed));
    float *query = gn_arena_calloc(c->arena, c->words, sizeof *query);
    gn_neighbor *found;
    size_t n;
    gn_code code = query ? GN_OK : gn_error_oom(err, gn_arena_account(c->arena));
    if (query)
        query[0] = 1;
    gn_vsearch search = {.query = query,
                         .k = 1,
                         .exact = true,
                         .chain = txn->chain.links,
                         .n_chain = txn->chain.n,
                         .filter = find_vector,
                         .filter_ctx = c,
                         .arena = c->arena};
    if (code == GN_OK)
        code = gn_vview_search(view, &search, &found, &n, NULL, err);
    gn_vview_release(view);
    return code == GN_OK ? gn_vindex_verify(gn_feed_vindex(feed), txn->cancel, err) : code;
}

static gn_code check_vectors(gn_txn *txn, gn_feed *feed, vector_check *c, gn_index_findings *out, gn_error *err)
{
    gn_space rows = gn_row_space(c->table, txn->branch);
    c->vector = gn_arena_calloc(c->arena, c->words, sizeof *c->vector);
    if (!c->vector)
        return gn_error_oom(err, gn_arena_account(c->arena));
    gn_code code = each(txn, &rows, want_vector, c, err);
    if (code == GN_OK)
        code = list_vectors(txn, feed, c, err);
    out->rows = c->wanted.n;
    out->entries = c->found.n;
    out->same = equal(&c->wanted, &c->found);
    if (!out->same && c->wanted.n > c->found.n)
        out->missing = c->wanted.n - c->found.n;
    else if (!out->same)
        out->extra = c->found.n - c->wanted.n;
    return code;
}

static gn_code start_vectors(gn_txn *txn, const gn_table_desc *table, const gn_index_desc *index,
                             gn_index_findings *out, gn_error *err)
{
    vector_check c = {
        .slots = &txn->slots, .table = table, .index = index, .cosine = index->metric == GN_METRIC_COSINE};
    gn_feed *feed = gn_feed_acquire(txn->shard->feeds, index->id, table->data_epoch, txn->read_scn);
    if (!feed) { /* searches read the rows meanwhile */
        out->behind = true;
        return GN_OK;
    }
    int ordinal = gn_table_column_by_id(table, index->columns[0]);
    GN_ASSERT(ordinal >= 0);
    c.ordinal = (uint32_t)ordinal;
    c.words = gn_index_words(table->columns[ordinal].type);
    c.arena = gn_arena_create(txn->account);
    c.scratch = gn_arena_create(NULL);
    gn_code code = check_vectors(txn, feed, &c, out, err);
    gn_arena_destroy(c.scratch);
    gn_arena_destroy(c.arena);
    gn_feed_release(feed);
    return code;
}

gn_code gn_txn_check_index(gn_txn *txn, const gn_table_desc *table, const gn_index_desc *index, gn_index_findings *out,
                           gn_error *err)
{
    GN_ASSERT(txn->read_only);
    *out = (gn_index_findings){0};
    gn_buf_init(&out->example, NULL, GN_MAX_KEY);
    gn_code code = index->kind == GN_INDEX_HNSW ? start_vectors(txn, table, index, out, err)
                                                : start_btree(txn, table, index, out, err);
    return code == GN_OK ? gn_slot_view_whole(&txn->slots, err) : code;
}
