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
    uint64_t generation; /* splits so far, its ancestors' too; 0: never, and nothing else here means anything */
    uint32_t lo, hi;     /* owns lo <= slot < hi */
    gn_scn since;        /* of the split */
    uint64_t cleaned;    /* generation up to which rows of others have been removed here: this replica's own affair */
    /* the group that was split off last; 0: this one was split off itself, and has not been split since */
    uint64_t child;
    uint32_t child_hi; /* it got hi <= slot < child_hi */
    uint32_t n_members;
    gn_node_id members[GN_SPLIT_MEMBERS]; /* who made it */
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

/* What a split left in the parent's directory for the child's replica here: a whole replica's directory. *there false:
 * nothing (yet). */
gn_code gn_split_path(const char *parent_dir, uint64_t child, char *out, size_t size, bool *there, gn_error *err);
/* Makes it the replica's directory `dir`, where nothing that counts may be: the group's log is unknown here. */
gn_code gn_split_adopt(const char *parent_dir, uint64_t child, const char *dir, gn_error *err);

#endif
