/* The rows in the ranges of btree indexes (or of the primary key) that a filter holds a vector scan to.
 *
 * A few are listed, and exactly these vectors are measured. Many are made a bitmap of the vector index's rows, one for
 * each index, kept as the memo of these ranges, which other filters with the same ranges go by, too: what is not in all
 * bitmaps does not match, and where the ranges say all, what is does. A bitmap is right at every SCN: of the versions
 * that are seen at this transaction's SCN each is in the ranges or not, and none of them will ever change; all others
 * stay unknown. Making it costs as many keys as match, so it is made when as much has been spent on reading rows for
 * filters with these ranges, and a list that grew too long waits until twice as much has been. So of several bounds the
 * smallest comes first, and one that is no help beside it hardly ever. */
#include "shard/index_entry_private.h"
#include "shard/vector_scan_private.h"

#include <stdlib.h>

enum { BITMAP_FIRST = 1024 /* keys: what is spent before a bitmap is thought of */ };

/* ---- reading the ranges ---- */

typedef struct visitor {
    gn_vector_scan *s;
    const gn_vector_bound *bound;
    uint64_t n, most;
    gn_code (*take)(struct visitor *v, gn_bytes key, gn_error *err);
    gn_vpick *pick;
    size_t cap; /* of s->keys */
} visitor;

/* The primary keys in one range, until there are more than v->most in all. */
static gn_code visit_range(visitor *v, const gn_key_range *range, gn_arena *arena, gn_error *err)
{
    const gn_table_desc *table = v->s->spec->table;
    const gn_index_desc *index = v->bound->index;
    gn_txn *txn = v->s->txn;
    gn_space space = index ? gn_index_space(table, index, txn->branch) : gn_row_space(table, txn->branch);
    gn_key_span span;
    gn_mvcc_cursor cursor;
    if (!gn_key_span_of(range, arena, &span))
        return gn_error_oom(err, txn->account);
    gn_mvcc_open(&cursor, txn->store, &space, &txn->chain, &span, false);
    gn_code code = GN_OK;
    for (uint64_t read = 1; code == GN_OK && v->n <= v->most; read++) {
        gn_bytes key, pk;
        gn_version version;
        code = gn_mvcc_next(&cursor, &key, &version, err);
        pk = key;
        if (code == GN_OK && index)
            code = gn_index_entry_primary(table, index, key, version.row, &pk, err);
        if (code == GN_OK && (read & 1023) == 0 && gn_txn_canceled(txn))
            code = gn_error_set(err, GN_CANCELED, "%s", gn_code_text(GN_CANCELED));
        if (code == GN_OK)
            code = v->take(v, pk, err);
    }
    gn_mvcc_close(&cursor);
    return code == GN_NO_DATA ? GN_OK : code;
}

static gn_code visit_ranges(visitor *v, gn_error *err)
{
    gn_arena *arena = gn_arena_create(v->s->txn->account);
    gn_code code = GN_OK;
    for (uint32_t i = 0; i < v->bound->n_ranges && code == GN_OK && v->n <= v->most; i++)
        code = visit_range(v, &v->bound->ranges[i], arena, err);
    gn_arena_destroy(arena);
    return code;
}

/* ---- a list ---- */

static gn_code list_key(visitor *v, gn_bytes key, gn_error *err)
{
    gn_vector_scan *s = v->s;
    const gn_slot_view *slots = &s->txn->slots;
    if (gn_vector_is_own(s, key) || !gn_vector_is_ours(s, slots->rows || slots->vectors, key))
        return GN_OK;
    if (s->n_keys == v->cap) {
        v->cap *= 2;
        s->keys = gn_xrealloc(s->keys, v->cap * sizeof *s->keys);
    }
    void *copy = gn_arena_memdup(s->key_arena, key.data, key.len);
    if (!copy)
        return gn_error_oom(err, s->txn->account);
    s->keys[s->n_keys++] = gn_bytes_of(copy, key.len);
    v->n = s->n_keys;
    return GN_OK;
}

gn_code gn_vector_list_keys(gn_vector_scan *s, uint64_t most, bool *all, gn_error *err)
{
    visitor v = {.s = s, .bound = &s->spec->bounds[0], .most = most, .take = list_key, .cap = 256};
    s->keys = gn_xcalloc(v.cap, sizeof *s->keys); /* also a list of none is a list */
    s->key_arena = gn_arena_create(s->txn->account);
    gn_code code = visit_ranges(&v, err);
    *all = code == GN_OK && s->n_keys <= most;
    s->stats.keys = *all ? s->n_keys : 0;
    if (!*all) {
        gn_arena_destroy(s->key_arena);
        free(s->keys);
        s->key_arena = NULL;
        s->keys = NULL;
        s->n_keys = 0;
        s->keys_tried = most;
    }
    return code;
}

/* ---- bitmaps ---- */

static gn_vmemo *find_told(const gn_vector_scan *s, const gn_vector_bound *bound)
{
    gn_buf name;
    gn_buf_init(&name, NULL, GN_VECTOR_FILTER_MOST);
    gn_buf_append_be64(&name, s->spec->table->version);
    gn_buf_append_be32(&name, UINT32_MAX); /* no filter's memo has that for a column */
    gn_buf_append_be64(&name, bound->index ? bound->index->id : 0);
    for (uint32_t i = 0; i < bound->n_ranges; i++) {
        const gn_key_range *r = &bound->ranges[i];
        gn_buf_append_u8(&name, (uint8_t)(r->lo_exclusive | r->hi_inclusive << 1 | (r->lo.data != NULL) << 2 |
                                          (r->hi.data != NULL) << 3));
        gn_buf_append_be32(&name, (uint32_t)r->lo.len);
        gn_buf_append_bytes(&name, r->lo);
        gn_buf_append_be32(&name, (uint32_t)r->hi.len);
        gn_buf_append_bytes(&name, r->hi);
    }
    gn_vmemo *told = name.failed ? NULL : gn_vindex_memo(gn_feed_vindex(s->feed), gn_buf_bytes(&name));
    gn_buf_close(&name);
    return told;
}

void gn_vector_open_told(gn_vector_scan *s)
{
    for (uint32_t i = 0; i < s->spec->n_bounds; i++) {
        gn_vmemo *told = find_told(s, &s->spec->bounds[i]);
        if (!told)
            continue;
        s->bound_of[s->n_told] = &s->spec->bounds[i];
        s->told[s->n_told++] = told;
    }
}

void gn_vector_spend(gn_vector_scan *s, uint64_t keys)
{
    for (uint32_t i = 0; i < s->n_told; i++)
        gn_vmemo_spend(s->told[i], keys);
}

static gn_code pick_key(visitor *v, gn_bytes key, gn_error *err)
{
    (void)err;
    gn_vpick_add(v->pick, key);
    v->n++;
    return GN_OK;
}

/* Are all rows of the index this group's, and has none gone since the transaction began? */
static bool is_undivided(const gn_vector_scan *s)
{
    const gn_slot_view *slots = &s->txn->slots;
    return !s->spec->table->distribution_id ||
           (!gn_slot_view_looks(slots, slots->rows || slots->vectors) && gn_slot_view_whole(slots, NULL) == GN_OK);
}

static gn_code make_bitmap(gn_vector_scan *s, uint32_t at, uint64_t most, gn_error *err)
{
    visitor v = {.s = s, .bound = s->bound_of[at], .most = most, .take = pick_key};
    if (!is_undivided(s))
        return GN_OK;
    v.pick = gn_vpick_create(s->view, s->txn->chain.links[0]);
    if (!v.pick)
        return GN_OK;
    gn_code code = visit_ranges(&v, err);
    if (code == GN_OK && v.n <= most && is_undivided(s))
        gn_vmemo_tell(s->told[at], v.pick);
    gn_vmemo_note_list(s->told[at], v.n);
    gn_vpick_destroy(v.pick);
    return code;
}

static void note_bitmaps(gn_vector_scan *s)
{
    for (uint32_t i = 0; i < s->n_told; i++) {
        gn_vmemo_counts c = gn_vmemo_count(s->told[i], s->view);
        if (c.known == 0)
            continue;
        if (s->stats.bitmaps++ == 0 || c.match < s->stats.told)
            s->stats.told = c.match;
    }
}

gn_code gn_vector_recall(gn_vector_scan *s, uint64_t *matching, gn_error *err)
{
    gn_code code = GN_OK;
    *matching = 0;
    if (!s->memo)
        return GN_OK;
    uint64_t most = 0; /* one list at a time: the next may not be needed */
    for (uint32_t i = 0; i < s->n_told && most == 0 && code == GN_OK; i++) {
        most = gn_vmemo_claim(s->told[i], BITMAP_FIRST);
        if (most)
            code = make_bitmap(s, i, most, err);
    }
    if (code != GN_OK)
        return code;
    if (s->n_told > 0)
        gn_vmemo_infer(s->memo, s->told, s->n_told, s->view, s->spec->whole && s->n_told == s->spec->n_bounds);
    note_bitmaps(s);
    gn_vmemo_counts known = gn_vmemo_count(s->memo, s->view);
    s->was_asked = known.known > 0;
    *matching = known.match;
    return GN_OK;
}
