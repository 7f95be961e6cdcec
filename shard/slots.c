/* Slots of keys, and the record of which ones this replica's group owns. */
#include "shard/slots_private.h"

#define XXH_STATIC_LINKING_ONLY /* a state on the stack */
#include <xxhash.h>

/* ---- of keys ---- */

static bool is_shard_column(const gn_table_desc *t, uint32_t column_id)
{
    for (uint32_t i = 0; i < t->n_shard_key; i++)
        if (t->shard_key[i] == column_id)
            return true;
    return false;
}

/* Hashes the shard key's parts of a key that may end early. *whole: it had them all. */
static gn_code hash_key(const gn_table_desc *t, gn_bytes key, bool *whole, uint32_t *slot, gn_error *err)
{
    XXH3_state_t state;
    uint32_t found = 0;
    XXH3_64bits_reset(&state);
    for (uint32_t i = 0; i < t->n_key && key.len > 0 && found < t->n_shard_key; i++) {
        const gn_column_desc *c = &t->columns[gn_table_column_by_id(t, t->key[i])];
        gn_bytes rest = key;
        gn_code code = gn_key_skip(&rest, c->type, false, err);
        if (code != GN_OK)
            return code;
        if (is_shard_column(t, t->key[i])) {
            XXH3_64bits_update(&state, key.data, key.len - rest.len);
            found++;
        }
        key = rest;
    }
    *whole = found == t->n_shard_key;
    *slot = (uint32_t)(XXH3_64bits_digest(&state) % GN_SLOTS);
    return GN_OK;
}

gn_code gn_slot_of_key(const gn_table_desc *table, gn_bytes key, uint32_t *slot, gn_error *err)
{
    bool whole;
    gn_code code = hash_key(table, key, &whole, slot, err);
    if (code == GN_OK && !whole)
        return gn_error_set(err, GN_CORRUPT, "a key of table \"%s\" is malformed", table->name);
    return code;
}

gn_code gn_slot_of_range(const gn_table_desc *table, const gn_key_range *range, bool *one, uint32_t *slot,
                         gn_error *err)
{
    *one = false;
    if (!range->lo.len || !range->hi_inclusive || range->lo_exclusive || !gn_bytes_eq(range->lo, range->hi))
        return GN_OK;
    return hash_key(table, range->lo, one, slot, err);
}

/* ---- the record ---- */

enum { RECORD_VERSION = 1, RECORD_VERSION_MERGES = 2 };

static bool has_merged(const gn_slots *s)
{
    return s->into || s->victim || s->merged || s->seals || s->generation == 0;
}

static void put_merges(gn_buf *value, const gn_slots *s)
{
    gn_buf_append_be64(value, s->seals);
    gn_buf_append_be64(value, s->into);
    gn_buf_append_be64(value, s->victim);
    gn_buf_append_be32(value, s->victim_lo);
    gn_buf_append_be32(value, s->victim_hi);
    gn_buf_append_be64(value, s->victim_generation);
    gn_buf_append_be64(value, s->victim_seals);
    gn_buf_append_u8(value, s->victim_copied);
    gn_buf_append_be64(value, s->victim_history);
    gn_buf_append_be64(value, s->taken);
    gn_buf_append_be32(value, s->taken_lo);
    gn_buf_append_be32(value, s->taken_hi);
    gn_buf_append_be64(value, s->taken_generation);
    gn_buf_append_be64(value, s->merged);
    gn_buf_append_be64(value, s->history);
}

static void read_merges(gn_reader *r, gn_slots *s)
{
    s->seals = gn_read_be64(r);
    s->into = gn_read_be64(r);
    s->victim = gn_read_be64(r);
    s->victim_lo = gn_read_be32(r);
    s->victim_hi = gn_read_be32(r);
    s->victim_generation = gn_read_be64(r);
    s->victim_seals = gn_read_be64(r);
    s->victim_copied = gn_read_u8(r);
    s->victim_history = gn_read_be64(r);
    s->taken = gn_read_be64(r);
    s->taken_lo = gn_read_be32(r);
    s->taken_hi = gn_read_be32(r);
    s->taken_generation = gn_read_be64(r);
    s->merged = gn_read_be64(r);
    s->history = gn_read_be64(r);
}

void gn_slots_put(rocksdb_writebatch_t *batch, const gn_slots *s)
{
    uint8_t key[GN_META_KEY_MAX];
    size_t len = gn_meta_key(key, GN_META_SLOTS, NULL, 0);
    gn_buf value;
    gn_buf_init(&value, NULL, 4096);
    gn_buf_append_u8(&value, has_merged(s) ? RECORD_VERSION_MERGES : RECORD_VERSION);
    gn_buf_append_be64(&value, s->generation);
    gn_buf_append_be32(&value, s->lo);
    gn_buf_append_be32(&value, s->hi);
    gn_buf_append_be64(&value, s->since);
    gn_buf_append_be64(&value, s->child);
    gn_buf_append_be32(&value, s->child_hi);
    gn_buf_append_be32(&value, s->n_members);
    for (uint32_t i = 0; i < s->n_members; i++)
        gn_buf_append_be64(&value, s->members[i]);
    if (has_merged(s))
        put_merges(&value, s);
    rocksdb_writebatch_put(batch, (const char *)key, len, (const char *)value.data, value.len);
    gn_buf_close(&value);
}

static bool read_slots(gn_bytes value, gn_slots *s)
{
    gn_reader r = gn_reader_of(value);
    uint8_t version = gn_read_u8(&r);
    s->generation = gn_read_be64(&r);
    s->lo = gn_read_be32(&r);
    s->hi = gn_read_be32(&r);
    s->since = gn_read_be64(&r);
    s->child = gn_read_be64(&r);
    s->child_hi = gn_read_be32(&r);
    s->n_members = gn_read_be32(&r);
    if (r.failed || (version != RECORD_VERSION && version != RECORD_VERSION_MERGES) || s->lo >= s->hi ||
        s->hi > GN_SLOTS || s->child_hi > GN_SLOTS || s->n_members > GN_SPLIT_MEMBERS)
        return false;
    for (uint32_t i = 0; i < s->n_members; i++)
        s->members[i] = gn_read_be64(&r);
    if (version == RECORD_VERSION_MERGES)
        read_merges(&r, s);
    return !r.failed && gn_reader_left(&r) == 0 && (s->generation > 0 || version == RECORD_VERSION_MERGES);
}

static gn_code read_number(gn_store *store, uint8_t what, uint64_t *out, gn_error *err)
{
    uint8_t key[GN_META_KEY_MAX];
    size_t len = gn_meta_key(key, what, NULL, 0);
    gn_buf value;
    gn_buf_init(&value, NULL, 64);
    bool found;
    gn_code code = gn_store_get(store, gn_bytes_of(key, len), &value, &found, err);
    if (code == GN_OK && found && value.len == 8)
        *out = gn_get_be64(value.data);
    gn_buf_close(&value);
    return code;
}

gn_code gn_slots_load(gn_store *store, gn_slots *out, gn_error *err)
{
    uint8_t key[GN_META_KEY_MAX];
    size_t len = gn_meta_key(key, GN_META_SLOTS, NULL, 0);
    gn_buf value;
    bool found;
    *out = (gn_slots){0};
    gn_buf_init(&value, NULL, 4096);
    gn_code code = gn_store_get(store, gn_bytes_of(key, len), &value, &found, err);
    if (code == GN_OK && found && !read_slots(gn_buf_bytes(&value), out))
        code = gn_error_set(err, GN_CORRUPT, "the record of a group's slots is malformed");
    gn_buf_close(&value);
    return code == GN_OK ? read_number(store, GN_META_CLEANED, &out->cleaned, err) : code;
}

void gn_shard_slots(gn_shard *shard, gn_slots *out)
{
    pthread_mutex_lock(&shard->view_lock);
    *out = shard->slots;
    pthread_mutex_unlock(&shard->view_lock);
}

uint64_t gn_shard_slots_removed(gn_shard *shard)
{
    return shard->slots_removed;
}

/* ---- what a transaction sees ---- */

gn_code gn_slot_view_take(const gn_slots *own, const gn_txn_options *o, gn_slot_view *out, gn_error *err)
{
    bool wants = o->slot_hi > 0;
    *out = (gn_slot_view){.generation = own->generation, .lo = o->slot_lo, .hi = o->slot_hi};
    bool never = own->generation == 0;
    if ((never && o->merged) || (own->into && !(o->own_slots && o->read_only)))
        return gn_error_set(err, GN_MOVED, "%s", gn_code_text(GN_MOVED));
    if (never && !own->victim) { /* only a replica that is behind can have more than its coordinator knows of */
        out->rows = out->vectors = wants && o->stale;
        return GN_OK;
    }
    if (!wants && (o->own_slots || never)) {
        out->lo = own->lo;
        out->hi = own->hi;
    } else if (!wants || o->slot_lo < own->lo || o->slot_hi > own->hi) {
        return gn_error_set(err, GN_MOVED, "%s", gn_code_text(GN_MOVED));
    }
    out->vectors = true;
    out->rows = own->victim || own->cleaned < own->generation || out->lo != own->lo || out->hi != own->hi;
    return GN_OK;
}

gn_code gn_slots_pass(uint32_t lo, uint32_t hi, const gn_table_desc *table, gn_bytes key, bool *pass, gn_error *err)
{
    uint32_t slot = 0;
    gn_code code = gn_slot_of_key(table, key, &slot, err);
    *pass = code == GN_OK && slot >= lo && slot < hi;
    return code;
}

gn_code gn_slot_view_whole(const gn_slot_view *view, gn_error *err)
{
    if (view->generation >= view->shard->slots_torn)
        return GN_OK;
    gn_error_set(err, GN_SERIALIZATION, "could not serialize access: rows have moved to another group");
    gn_error_hint(err, "The transaction might succeed if retried.");
    return GN_SERIALIZATION;
}
