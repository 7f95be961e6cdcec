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
static inline gn_code gn_slot_view_pass(const gn_slot_view *view, bool looks, const gn_table_desc *table, gn_bytes key,
                                        bool *pass, gn_error *err)
{
    *pass = true;
    return looks && table->distribution_id ? gn_slots_pass(view->lo, view->hi, table, key, pass, err) : GN_OK;
}

/* ---- split.c ---- */
/* A command of this kind waits while a split waits for those who are prepared. From a strand. */
void gn_split_hold_back(gn_shard *shard, gn_bytes command);
/* If the replica's directory came from a split and its group has no log here yet: makes that. */
gn_code gn_split_seed(gn_shard *shard, gn_error *err);

/* ---- slots_clean.c ---- the keeper's: removes some of what others own; *more: there is more, or it must wait */
gn_code gn_slots_clean(gn_shard *shard, bool *more, gn_error *err);
void gn_slots_clean_close(gn_shard *shard);

#endif
