/* The commands of a shard's Raft log: versioned msgpack arrays. Version 2: the clock is an SCN that the database's
 * clock handed out for this command, so it is above all before it. A transaction in one group is one command:
 *
 *   [version, GN_COMMAND_TXN, txn id, proposer's clock, start SCN, branch, tables, reads, [generation,] writes]
 *   tables  bin: varint ids of the tables whose definition the transaction relied on
 *   reads   bin: a packed read set (read_set_private.h)
 *   writes  bin: per table: varint id, varint epoch, varint number of writes, u32 length, packed writes in key order
 *   [version, GN_COMMAND_SEQUENCE, txn id, clock, sequence id, op, start, value]
 *
 * A part of a transaction over several groups, and what became of it (SCN: of the commit; else 0):
 *   [version, GN_COMMAND_PREPARE, txn id, clock, start SCN, branch, tables, reads, groups, [generation,] writes]
 *   [version, GN_COMMAND_DECIDE, txn id, clock, start SCN, branch, tables, reads, above, groups, [generation,] writes]
 *   groups  bin: varint ids of the groups that take part, the one that decides first
 *   above   the greatest SCN under which another group has prepared: this part commits above it
 *   [version, GN_COMMAND_COMMIT | _ABORT | _FORGET, txn id, clock, SCN]
 *
 * The generation of the group's slots on which the transaction relied is there once the group was split. A split:
 *   [version, GN_COMMAND_SPLIT, txn id, clock, generation, lo, mid, hi, child, members]
 *   members bin: varint ids of the nodes that make the child
 * A step of a merge (merge.c), whose fields depend on the step and are all fixed width, then byte strings:
 *   [version, GN_COMMAND_MERGE, txn id, clock, step, fields, from, to, entries]
 */
#ifndef GN_SHARD_COMMAND_PRIVATE_H
#define GN_SHARD_COMMAND_PRIVATE_H

#include "base/versions.h"
#include "shard/read_set_private.h"
#include "shard/slots.h"
#include "shard/write_set_private.h"

enum { GN_COMMAND_VERSION = GN_FORMAT_COMMAND, GN_COMMAND_VERSION_CLOCK = GN_FORMAT_COMMAND_CLOCK };

typedef enum gn_command_kind {
    GN_COMMAND_TXN = 1,
    GN_COMMAND_SEQUENCE = 2,
    GN_COMMAND_PREPARE = 3,
    GN_COMMAND_COMMIT = 4, /* of what was prepared */
    GN_COMMAND_ABORT = 5,  /* of what was prepared, or may yet come */
    GN_COMMAND_FORGET = 6, /* the decision */
    GN_COMMAND_SPLIT = 7,
    GN_COMMAND_MERGE = 8,
    GN_COMMAND_DECIDE = 9, /* the first group's part, when all others are prepared: it commits, and with it all do */
} gn_command_kind;

typedef enum gn_sequence_op {
    GN_SEQUENCE_NEXT = 1,   /* hands out `value` numbers, the first being `start` if there is no such sequence yet */
    GN_SEQUENCE_RAISE = 2,  /* the next number is above `value` */
    GN_SEQUENCE_RETURN = 3, /* numbers from `start` on were not used, if `value` is still the next */
} gn_sequence_op;

typedef enum gn_merge_step {
    GN_MERGE_RESERVE = 1,
    GN_MERGE_CANCEL = 2,
    GN_MERGE_SEAL = 3,
    GN_MERGE_ADD = 4,
    GN_MERGE_TAKE = 5,
    GN_MERGE_REFUSE = 6,
    GN_MERGE_ABANDON = 7,
} gn_merge_step;

typedef struct gn_command {
    gn_command_kind kind;
    uint64_t txn_id;
    gn_scn clock;
    bool from_clock; /* version 2 */
    /* GN_COMMAND_TXN, GN_COMMAND_PREPARE, GN_COMMAND_DECIDE */
    gn_scn start_scn;
    uint64_t branch, generation;
    gn_bytes tables, reads, groups, writes;
    gn_scn scn; /* GN_COMMAND_COMMIT: of the commit; GN_COMMAND_DECIDE: `above` */
    /* GN_COMMAND_SEQUENCE */
    uint64_t sequence_id;
    gn_sequence_op op;
    int64_t start, value;
    /* GN_COMMAND_SPLIT */
    gn_split split;
    /* GN_COMMAND_MERGE */
    gn_merge_step step;
    gn_merge merge;
    gn_scn history, last_scn;
    gn_bytes from, to, entries;
} gn_command;

/* Bytes are borrowed from the command. GN_CORRUPT. */
gn_code gn_command_decode(gn_bytes bytes, gn_command *out, gn_error *err);

bool gn_command_encode_sequence(const gn_command *command, gn_buf *out);
bool gn_command_encode_split(const gn_command *command, gn_buf *out);
bool gn_command_encode_merge(const gn_command *command, gn_buf *out);
bool gn_command_encode_decision(const gn_command *command, gn_buf *out);
/* Makes an encoded command one of version 2 with this clock, in place. */
void gn_command_set_clock(uint8_t *command, size_t len, gn_scn scn);
gn_command_kind gn_command_kind_of(gn_bytes command);
/* A transaction that holds something, or will, in another group. */
static inline bool gn_command_is_part(gn_command_kind kind)
{
    return kind == GN_COMMAND_PREPARE || kind == GN_COMMAND_DECIDE;
}
/* Everything up to the writes; sections then follow, then the end, which patches the length. Of the three kinds that
 * have writes. */
bool gn_command_begin_txn(const gn_command *command, gn_buf *out, size_t *patch);
bool gn_command_add_section(gn_buf *out, const gn_write_set *ws, uint64_t *n_writes);
bool gn_command_end_txn(gn_buf *out, size_t patch);

typedef struct gn_section {
    uint64_t table_id, epoch, n;
    gn_bytes body;
} gn_section;
bool gn_section_next(gn_reader *r, gn_section *out); /* false: the end, or r->failed */

#endif
