/* Applying the log. An applier gathers the effects of several commands in one RocksDB write batch; what they have
 * changed before it is written is in the overlay. */
#ifndef GN_SHARD_APPLY_PRIVATE_H
#define GN_SHARD_APPLY_PRIVATE_H

#include "shard/index_entry_private.h"
#include "shard/overlay_private.h"
#include "shard/shard_private.h"

enum {
    /* A transaction with more writes has a batch of its own and no overlay of its rows. */
    GN_APPLY_LARGE = 2048,
    GN_APPLY_BATCH_BYTES = 4 << 20,
};

struct gn_applier {
    gn_shard *shard;
    gn_store *store; /* the shard's */
    rocksdb_writebatch_t *batch;
    size_t batch_bytes; /* about */
    uint64_t n_pending;
    gn_point_reader point;
    gn_overlay overlay;
    gn_arena *arena; /* of a batch: what the overlay borrows */
    gn_buf key, value, entry, old_entry, rowid;
    gn_schema *schema; /* as after the last applied command */
    bool schema_changed;
    gn_scn last_scn;
    gn_recent recent;
    gn_change_writer changes;
    uint64_t n_commits, n_rows, n_tombstones;
    const gn_slots *slots; /* to be the shard's with the next flush, and how far a copy is; NULL: as they are */
    gn_bytes merge_at;
};

/* One transaction command while it is applied. */
typedef struct gn_apply_txn {
    gn_applier *ap;
    const gn_command *command;
    gn_scn scn;
    bool large;
    gn_chain newest;         /* the branch as it is now */
    const gn_schema *before; /* the schema before the command */
    gn_error *err;
    const gn_prepared *prepared; /* what is committed; NULL: not in two steps */
    bool tries;                  /* a prepare: everything is taken back */
    gn_recent_commit *footprint; /* of a prepare: what it would write */
} gn_apply_txn;

/* A pass over the writes of one section; hidden keys are assigned in order from first_rowid. */
typedef struct gn_section_pass {
    gn_reader r;
    uint64_t left;
    bool hidden;
    uint64_t next_rowid;
    gn_buf *key;
} gn_section_pass;
gn_section_pass gn_section_begin(const gn_section *section, bool hidden, uint64_t first_rowid, gn_buf *key);
/* GN_NO_DATA at the end, GN_CORRUPT. */
gn_code gn_section_write(gn_section_pass *pass, gn_write *out, gn_error *err);

/* ---- apply.c ---- */
bool gn_apply_is_refusal(gn_code code);
/* The window of recent commits, if start_scn reaches below what is there of it. */
gn_code gn_apply_complete_window(gn_applier *ap, uint64_t index, gn_scn start_scn, gn_error *err);
/* Definitions and reads. */
gn_code gn_apply_check_txn(gn_apply_txn *txn);
/* *alone: the transaction is to be flushed by itself; what came before has been. */
gn_code gn_apply_make_room(gn_apply_txn *txn, uint64_t index, bool *alone);
gn_scn gn_apply_next_scn(gn_applier *ap, const gn_command *command);
gn_code gn_apply_txn_writes(gn_apply_txn *txn, uint64_t index);
void gn_counters_put(rocksdb_writebatch_t *batch, const gn_table_state *state);
void gn_state_put(rocksdb_writebatch_t *batch, uint64_t last_index, gn_scn last_scn);

/* ---- apply_prepared.c ---- */
gn_code gn_apply_prepare(gn_applier *ap, uint64_t index, const gn_command *command, gn_bytes bytes, gn_commit_op *op);
/* GN_COMMAND_DECIDE: whether it comes too late, and what is kept of it when it has committed. */
gn_code gn_apply_may_decide(gn_applier *ap, const gn_command *command, gn_error *err);
void gn_apply_note_commit(gn_applier *ap, const gn_command *command, gn_scn scn);
gn_code gn_apply_decision(gn_applier *ap, uint64_t index, const gn_command *command, gn_commit_op *op);

/* ---- split.c ---- */
gn_code gn_apply_split(gn_applier *ap, uint64_t index, const gn_command *command, gn_commit_op *op);

/* ---- merge.c ---- */
gn_code gn_apply_merge(gn_applier *ap, uint64_t index, const gn_command *command, gn_commit_op *op);

void gn_apply_put(gn_applier *ap, const gn_space *space, gn_bytes key, gn_scn scn, gn_bytes head, gn_bytes tail);

/* ---- apply_rows.c ---- */
gn_code gn_apply_rows(gn_apply_txn *txn, const gn_table_desc *desc, const gn_section *section);
/* Where the hidden keys of a section begin, before it is applied. */
uint64_t gn_apply_first_rowid(const gn_apply_txn *txn, const gn_table_state *state);
gn_table_state *gn_apply_table_state(gn_applier *ap, const gn_table_desc *desc);

/* ---- apply_schema.c ---- */
/* The catalog's section: checks, fills new indexes, makes the new schema, notes garbage. `sections`: all of the
 * command, since rows that it writes itself need no filling. */
gn_code gn_apply_schema(gn_apply_txn *txn, const gn_section *catalog, gn_bytes sections);

#endif
