/* Hash slots, and which of them a group owns. Rows of a table that is spread are in the group that owns the slot of
 * their shard key. A group that was never split owns what its coordinators believe; one that was knows its own slots,
 * and refuses whoever believes in others (GN_MOVED). */
#ifndef GN_SHARD_SLOTS_H
#define GN_SHARD_SLOTS_H

#include "shard/txn.h"

enum { GN_SLOTS = 16384, GN_SPLIT_MEMBERS = 9 };

/* The hash of the shard key's parts in the order of the primary key. */
gn_code gn_slot_of_key(const gn_table_desc *table, gn_bytes key, uint32_t *slot, gn_error *err);
/* lo and hi begin with the same whole shard key: *one, and the slot. */
gn_code gn_slot_of_range(const gn_table_desc *table, const gn_key_range *range, bool *one, uint32_t *slot,
                         gn_error *err);

/* What a group owns, as its log has it. */
typedef struct gn_slots {
    /* Splits and merges so far, its ancestors' too; 0: never, and nothing else here means anything, but for `victim`
     * and with that lo and hi. */
    uint64_t generation;
    uint32_t lo, hi;  /* owns lo <= slot < hi */
    gn_scn since;     /* of the split */
    uint64_t cleaned; /* generation up to which rows of others have been removed here: this replica's own affair */
    /* the group that was split off last; 0: this one was split off itself, and has not been split since */
    uint64_t child;
    uint32_t child_hi; /* it got hi <= slot < child_hi */
    uint32_t n_members;
    gn_node_id members[GN_SPLIT_MEMBERS]; /* who made it */
    /* merges; 0: none */
    uint64_t seals;  /* how often a merge into another group was called off */
    uint64_t into;   /* this group has ended: that one takes its rows */
    uint64_t victim; /* the group that is being taken in: some of its rows may be here, and are shown to nobody */
    uint32_t victim_lo, victim_hi;
    uint64_t victim_generation, victim_seals;
    bool victim_copied; /* all its rows are here */
    gn_scn victim_history;
    uint64_t taken; /* the group that was taken in last, and its slots, which are within lo ... hi */
    uint32_t taken_lo, taken_hi;
    uint64_t taken_generation; /* that it was sealed under */
    gn_scn merged;             /* when: who began before may not write any more */
    gn_scn history;            /* reads below it are refused: of what was taken in no older versions came along */
} gn_slots;
void gn_shard_slots(gn_shard *shard, gn_slots *out); /* as applied; any thread */
uint64_t gn_shard_slots_removed(gn_shard *shard);    /* rows and entries of others removed since the open */

/* ---- splitting ---- docs/decisions/cluster.md */

typedef struct gn_split {
    uint64_t generation;  /* of what is split */
    uint32_t lo, mid, hi; /* it owns lo ... hi; slots from mid on go to the child */
    uint64_t child;       /* a fresh group id */
    uint32_t n_members;
    gn_node_id members[GN_SPLIT_MEMBERS]; /* of the child: who votes here */
} gn_split;

/* Has the group split, if this node leads it. From a strand. GN_OBJECT_IN_USE: transactions are prepared, and more were
 * let in after patience_ns, during which none were; nothing has changed. GN_NOT_IN_STATE: it does not own these slots
 * any more. Other codes as for a commit. May be repeated with the same child. */
gn_code gn_shard_split(gn_shard *shard, const gn_split *split, uint64_t patience_ns, gn_error *err);

/* ---- merging ---- docs/decisions/cluster.md
 *
 * The survivor reserves itself, the victim is sealed, its rows are copied through the survivor's log, which then takes
 * them in. Each step may be repeated, by anybody, and is refused if it is not its turn. */

typedef struct gn_merge {
    uint64_t generation; /* of the group whose log it goes to */
    uint32_t lo, hi;     /* what that owns */
    uint64_t other;      /* to the survivor: the victim; to the victim: the survivor */
    uint64_t other_generation;
    uint32_t other_lo, other_hi;
    uint64_t seals; /* the victim's */
} gn_merge;

/* All: if this node leads the group; from a strand. GN_NOT_IN_STATE: not (any more); GN_OBJECT_IN_USE: not now; other
 * codes as for a commit. */
/* At the survivor: from now on it neither splits nor merges otherwise, and rows of the victim may come. */
gn_code gn_shard_merge_reserve(gn_shard *survivor, const gn_merge *merge, gn_error *err);
/* At the survivor, while it has no rows of the victim: the victim has gone another way. */
gn_code gn_shard_merge_cancel(gn_shard *survivor, const gn_merge *merge, gn_error *err);
/* The same although it has some: they are removed. Only after the victim has refused the merge for good: it was sealed,
 * and is not any more, since it was recovered from replicas that did not know. */
gn_code gn_shard_merge_abandon(gn_shard *survivor, const gn_merge *merge, gn_error *err);
/* At the victim: nobody begins or commits here any more. Refused while transactions are prepared, or the others of one
 * that committed here do not all know; for patience_ns no more are let in. */
gn_code gn_shard_merge_seal(gn_shard *victim, const gn_merge *merge, uint64_t patience_ns, gn_error *err);

/* At the victim: it is not sealed by this merge, and never will be, so that the survivor may cancel. GN_OBJECT_IN_USE:
 * it is sealed. */
gn_code gn_shard_merge_refuse(gn_shard *victim, const gn_merge *merge, gn_error *err);

/* Rows of the victim, with all their versions, from where the survivor's copy ends. */
typedef struct gn_merge_rows {
    gn_buf to;      /* where the copy ends with these */
    gn_buf entries; /* store keys and values; after the end: what the victim has counted */
    gn_scn history, last_scn;
} gn_merge_rows;
void gn_merge_rows_init(gn_merge_rows *rows);
void gn_merge_rows_close(gn_merge_rows *rows);
/* What of it would be copied at most, as it is now: all versions of its tables' rows and index entries. Stops beyond
 * `most`. */
gn_code gn_shard_merge_size(gn_shard *victim, uint64_t most, uint64_t *bytes, gn_error *err);
/* At any replica of the victim that knows that it is sealed for `into`; else GN_NOT_IN_STATE. */
gn_code gn_shard_merge_read(gn_shard *victim, uint64_t into, gn_bytes from, gn_merge_rows *out, gn_error *err);
/* How far the survivor's copy is. */
void gn_shard_merge_cursor(gn_shard *survivor, gn_buf *out);
/* At the survivor: rows that came from there. As it was reserved, here and in gn_shard_merge_take. */
gn_code gn_shard_merge_add(gn_shard *survivor, const gn_merge *merge, gn_bytes from, const gn_merge_rows *rows,
                           gn_error *err);
/* At the survivor, when all are there; `rows` as read from the end: it owns the slots and shows the rows. */
gn_code gn_shard_merge_take(gn_shard *survivor, const gn_merge *merge, const gn_merge_rows *rows, uint64_t patience_ns,
                            gn_error *err);

/* What a split left in the parent's directory for the child's replica here: a whole replica's directory. *there false:
 * nothing (yet). */
gn_code gn_split_path(const char *parent_dir, uint64_t child, char *out, size_t size, bool *there, gn_error *err);
/* Makes it the replica's directory `dir`, where nothing that counts may be: the group's log is unknown here. */
gn_code gn_split_adopt(const char *parent_dir, uint64_t child, const char *dir, gn_error *err);

#endif
