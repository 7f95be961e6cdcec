/* The commands of a shard's Raft log: versioned msgpack arrays. A transaction is one command:
 *
 *   [version, GN_COMMAND_TXN, txn id, proposer's clock, start SCN, branch, tables, reads, writes]
 *   tables  bin: varint ids of the tables whose definition the transaction relied on
 *   reads   bin: a packed read set (read_set_private.h)
 *   writes  bin: per table: varint id, varint epoch, varint number of writes, u32 length, packed writes in key order
 *   [version, GN_COMMAND_SEQUENCE, txn id, clock, sequence id, op, start, value]
 */
#ifndef GN_SHARD_COMMAND_PRIVATE_H
#define GN_SHARD_COMMAND_PRIVATE_H

#include "shard/read_set_private.h"
#include "shard/write_set_private.h"

enum { GN_COMMAND_VERSION = 1 };

typedef enum gn_command_kind { GN_COMMAND_TXN = 1, GN_COMMAND_SEQUENCE = 2 } gn_command_kind;

typedef enum gn_sequence_op {
    GN_SEQUENCE_NEXT = 1,   /* hands out `value` numbers, the first being `start` if there is no such sequence yet */
    GN_SEQUENCE_RAISE = 2,  /* the next number is above `value` */
    GN_SEQUENCE_RETURN = 3, /* numbers from `start` on were not used, if `value` is still the next */
} gn_sequence_op;

typedef struct gn_command {
    gn_command_kind kind;
    uint64_t txn_id;
    gn_scn clock;
    /* GN_COMMAND_TXN */
    gn_scn start_scn;
    uint64_t branch;
    gn_bytes tables, reads, writes;
    /* GN_COMMAND_SEQUENCE */
    uint64_t sequence_id;
    gn_sequence_op op;
    int64_t start, value;
} gn_command;

/* Bytes are borrowed from the command. GN_CORRUPT. */
gn_code gn_command_decode(gn_bytes bytes, gn_command *out, gn_error *err);

bool gn_command_encode_sequence(const gn_command *command, gn_buf *out);
/* Everything up to the writes; sections then follow, then the end, which patches the length. */
bool gn_command_begin_txn(const gn_command *command, gn_buf *out, size_t *patch);
bool gn_command_add_section(gn_buf *out, const gn_write_set *ws, uint64_t *n_writes);
bool gn_command_end_txn(gn_buf *out, size_t patch);

typedef struct gn_section {
    uint64_t table_id, epoch, n;
    gn_bytes body;
} gn_section;
bool gn_section_next(gn_reader *r, gn_section *out); /* false: the end, or r->failed */

#endif
