/* Slots inside the shard: the record, what a transaction sees, the splitting's pieces. */
#ifndef GN_SHARD_SLOTS_PRIVATE_H
#define GN_SHARD_SLOTS_PRIVATE_H

#include "shard/shard_private.h"
#include "shard/txn.h"

struct gn_command;

/* ---- slots.c ---- */
void gn_slots_put(rocksdb_writebatch_t *batch, const gn_slots *slots);
gn_code gn_slots_load(gn_store *store, gn_slots *out, gn_error *err);

/* Whether the options' slots are the group's, and what has to be looked at. Under view_lock. GN_MOVED. */
gn_code gn_slot_view_take(const gn_slots *own, const gn_txn_options *options, gn_slot_view *out, gn_error *err);
gn_code gn_slots_pass(uint32_t lo, uint32_t hi, const gn_table_desc *table, gn_bytes key, bool *pass, gn_error *err);
/* Is the row one that the transaction may see? `looks`: view->rows or view->vectors. */
static inline bool gn_slot_view_looks(const gn_slot_view *view, bool looks)
{
    return looks || view->shard->slots_epoch != view->epoch;
}
/* To be asked after the row was read. */
static inline gn_code gn_slot_view_pass(const gn_slot_view *view, bool looks, const gn_table_desc *table, gn_bytes key,
                                        bool *pass, gn_error *err)
{
    *pass = true;
    if (!table->distribution_id || !gn_slot_view_looks(view, looks))
        return GN_OK;
    if (view->hi)
        return gn_slots_pass(view->lo, view->hi, table, key, pass, err);
    uint32_t lo = view->shard->slots_were_lo, hi = view->shard->slots_were_hi;
    /* not known: what is read is a store that a snapshot has replaced, from before */
    return hi ? gn_slots_pass(lo, hi, table, key, pass, err) : GN_OK;
}
/* After rows were read: whether some may have been missing. GN_SERIALIZATION. */
gn_code gn_slot_view_whole(const gn_slot_view *view, gn_error *err);

/* ---- split.c ---- */
/* A command of this kind waits while a split waits for those who are prepared. From a strand. */
void gn_split_hold_back(gn_shard *shard, gn_bytes command);
/* Runs the command, if this node leads, when nobody is prepared: tries while it is refused with GN_OBJECT_IN_USE. */
gn_code gn_split_run_held(gn_shard *shard, gn_bytes command, uint64_t patience_ns, gn_error *err);
/* If the replica's directory came from a split and its group has no log here yet: makes that. */
gn_code gn_split_seed(gn_shard *shard, gn_error *err);

/* ---- slots_clean.c ---- the keeper's: removes some of what others own; *more: there is more, or it must wait */
gn_code gn_slots_clean(gn_shard *shard, bool *more, gn_error *err);
void gn_slots_clean_close(gn_shard *shard);
/* All of it now; the queue's. */
gn_code gn_slots_clean_all(gn_shard *shard, gn_schema *schema, gn_error *err);
/* Whether an entry of a table (index NULL: a row) is one of these slots. A dead entry that does not tell is. prefix:
 * length of the space's. */
gn_code gn_slots_have_entry(uint32_t lo, uint32_t hi, const gn_table_desc *table, const gn_index_desc *index,
                            size_t prefix, gn_bytes key, gn_bytes value, bool *ours, gn_error *err);
/* The next table that is spread, from this id on; NULL: there is none. */
const gn_table_desc *gn_slots_table_from(const gn_schema *schema, uint64_t id);

#endif
