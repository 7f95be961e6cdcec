/* Parts of transactions over several groups: prepared ones, and what was decided.
 *
 * A prepared part holds the keys that it will write (rows and index entries) against readers and writers, what it has
 * read against writers, and the definitions of its tables against changes. What is held follows from its record in the
 * store, so every replica judges alike, also after a restart or a snapshot.
 *
 * Decisions: the first group of a transaction keeps "committed" until all groups know. "Aborted" is kept by every group
 * that was told so, so that a late prepare is refused; the oldest are dropped after an hour (by SCN), or when there are
 * too many, and from then on a prepare that began before the newest of those dropped is refused.
 *
 *   'P' txn id -> u8 version, be64 SCN of the prepare, varint n, n x (varint table, varint first hidden key),
 *                 varbytes footprint (a commit's sections, recent_private.h), the command
 *   'D' txn id -> u8 version, u8 state, be64 SCN, varint n, n x varint group
 *   'D' 0      -> u8 version, be64 SCN below which aborts have been dropped
 *
 * The shard's queue alone changes the list; readers look under the lock. What is decided stays for readers until the
 * batch with its versions is written. */
#ifndef GN_SHARD_PREPARED_PRIVATE_H
#define GN_SHARD_PREPARED_PRIVATE_H

#include "shard/recent_private.h"
#include "shard/store_private.h"
#include "shard/wait_room_private.h"

#include <stdatomic.h>

struct gn_command;

typedef struct gn_first_rowid {
    uint64_t table_id, rowid;
} gn_first_rowid;

typedef struct gn_prepared {
    struct gn_prepared *next;
    uint64_t txn_id, branch, index; /* index: of its entry; 0: was there at the open */
    gn_scn start_scn, scn;          /* scn: of the prepare */
    uint64_t *groups;
    uint32_t n_groups;
    gn_first_rowid *rowids;
    uint32_t n_rowids;
    gn_recent_commit *footprint; /* what it writes */
    gn_read_set writes, held;    /* the same, for asking; and all that is held against writers */
    bool defines;                /* it changes definitions */
    bool decided;                /* and not yet published */
    uint64_t since_ns, told_ns;
} gn_prepared;

typedef struct gn_decided {
    struct gn_decided *next; /* of its hash chain */
    uint64_t txn_id;
    gn_decision_state state;
    gn_scn scn;
    uint64_t *groups;
    uint32_t n_groups;
    uint64_t since_ns, told_ns;
} gn_decided;

typedef struct gn_prepared_list {
    struct gn_shard *shard;
    gn_wait_room room; /* who waits for a decision */
    gn_prepared *first;
    _Atomic uint32_t n, n_defines; /* n_defines: of those that change definitions */
    uint64_t published;            /* counts decisions that can be read */
    gn_decided **table;
    size_t n_decided, table_cap;
    gn_decided **aborts; /* in order of SCN: aborts[aborts_at ... n_aborts - 1] */
    size_t aborts_at, n_aborts, cap_aborts;
    gn_scn abort_floor;
} gn_prepared_list;

void gn_prepared_init(gn_prepared_list *list, struct gn_shard *shard);
void gn_prepared_close(gn_prepared_list *list);
/* Replaces what is there by what the store holds. */
gn_code gn_prepared_load(gn_prepared_list *list, gn_store *store, gn_error *err);

/* ---- the queue's ---- */
static inline bool gn_prepared_any(const gn_prepared_list *list)
{
    return atomic_load_explicit(&list->n, memory_order_acquire) != 0;
}
static inline bool gn_prepared_any_defines(const gn_prepared_list *list)
{
    return atomic_load_explicit(&list->n_defines, memory_order_acquire) != 0;
}
gn_prepared *gn_prepared_find(gn_prepared_list *list, uint64_t txn_id); /* undecided */
gn_decided *gn_decided_find(gn_prepared_list *list, uint64_t txn_id);
/* A record: written by the first, read by the second, which adds it to the list. */
bool gn_prepared_pack(gn_scn scn, const gn_first_rowid *rowids, size_t n, const gn_recent_commit *footprint,
                      gn_bytes command, gn_buf *out);
gn_code gn_prepared_add(gn_prepared_list *list, uint64_t txn_id, gn_bytes record, uint64_t index, gn_error *err);
/* The command inside of a record. */
gn_code gn_prepared_command(gn_bytes record, gn_bytes *command, gn_error *err);
void gn_decided_add(gn_prepared_list *list, uint64_t txn_id, gn_decision_state state, gn_scn scn,
                    const uint64_t *groups, uint32_t n_groups);
void gn_decided_remove(gn_prepared_list *list, uint64_t txn_id);
void gn_prepared_mark_decided(gn_prepared_list *list, gn_prepared *p);
/* What was decided can be read now. */
void gn_prepared_publish(gn_prepared_list *list);
gn_scn gn_prepared_closed(gn_prepared_list *list, gn_scn last_scn);

/* GN_SERIALIZATION when the command's tables or reads meet what somebody is to write. */
gn_code gn_prepared_check_reads(gn_prepared_list *list, const struct gn_command *command, const gn_read_set *reads,
                                gn_error *err);
/* GN_SERIALIZATION when something written is held. */
gn_code gn_prepared_check_writes(gn_prepared_list *list, const gn_recent_commit *writes, gn_error *err);
/* Is somebody to write this key? */
bool gn_prepared_writes(gn_prepared_list *list, const gn_space *space, gn_bytes key);

/* ---- strands ---- */
/* Whether somebody prepared, and not known to have been decided, may commit at or below scn. */
bool gn_prepared_before(gn_prepared_list *list, gn_scn scn);
/* Waits for all that may commit at or below scn and write in the span. *published: how many decisions could be read at
 * the last look; *none: nobody is left who may commit at or below scn. */
gn_code gn_prepared_await_read(gn_prepared_list *list, gn_scn scn, const gn_space *space, const gn_key_span *span,
                               const gn_patience *patience, uint64_t *published, bool *none, gn_error *err);
/* As above, for those who change definitions. */
gn_code gn_prepared_await_definitions(gn_prepared_list *list, gn_scn scn, const gn_patience *patience, gn_error *err);
/* Before a command is proposed: wait-die (Rosenkrantz et al. 1978). A commit in one group holds nothing while it waits,
 * so it waits for anyone; a part waits only for those that it goes before (gn_prepared_goes_before) and is refused by
 * the others, so no cycle of waits comes about, over however many groups. What is missed here is refused when it is
 * applied. */
gn_code gn_prepared_await_write(gn_prepared_list *list, gn_bytes command, const gn_patience *patience, gn_error *err);
/* An order of transactions that is the same in all groups, as their start SCNs are not: a statement's parts begin at
 * what each group has. Scattered, so that no node's transactions come before those of another. */
bool gn_prepared_goes_before(uint64_t txn_id, uint64_t other);
gn_code gn_prepared_decision(gn_prepared_list *list, uint64_t txn_id, gn_decision *out);
/* Tells of those that have waited for too long. The keeper's. */
void gn_prepared_tell_overdue(gn_prepared_list *list);

#endif
