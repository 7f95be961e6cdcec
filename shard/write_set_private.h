/* The buffered writes of one transaction to one table.
 *
 * Rows inserted in ascending key order (COPY, INSERT into a table with a sequence or hidden key) go to the `run`:
 * chunks of packed bytes in the very form in which a command carries them, with a sparse index. What has been written
 * to a chunk stays where it is, so readers may keep pointers into it. Everything else goes to a skip list (Pugh, 1990)
 * whose nodes keep all versions of a key, so that a scan that began earlier does not see later writes. A key in the
 * list hides the same key in the run. */
#ifndef GN_SHARD_WRITE_SET_PRIVATE_H
#define GN_SHARD_WRITE_SET_PRIVATE_H

#include "shard/keyspace_private.h"

/* As a command carries a write: op, varint key length, key, and for a row: varint length, row. */
typedef enum gn_write_op {
    GN_WRITE_INSERT = 1, /* no such row is visible before */
    GN_WRITE_PUT = 2,    /* replaces the row */
    GN_WRITE_DELETE = 3,
} gn_write_op;

typedef struct gn_write {
    gn_write_op op;
    gn_bytes key, row;
} gn_write;
bool gn_write_pack(gn_buf *out, const gn_write *write);
bool gn_write_unpack(gn_reader *r, gn_write *out); /* false: malformed */

typedef struct gn_own_key gn_own_key;
typedef struct gn_own_version {
    struct gn_own_version *older; /* of the same key */
    struct gn_own_version *later; /* the next write to the list, of any key */
    gn_own_key *node;
    uint64_t seq;
    bool deleted;
    gn_bytes row;
} gn_own_version;

enum { GN_SKIP_HEIGHT = 16, GN_RUN_STRIDE = 32 };

struct gn_own_key {
    gn_bytes key;
    gn_own_version *newest;
    gn_own_key *prev;
    bool base_exists; /* a committed row with this key was visible before the first write */
    uint8_t height;
    gn_own_key *next[];
};

typedef struct gn_run_chunk {
    uint8_t *data;
    uint32_t len, cap;
} gn_run_chunk;

typedef uint64_t gn_run_pos; /* chunk << 32 | offset */

typedef struct gn_write_set {
    const gn_table_desc *desc; /* retained; the newest that this transaction wrote with */
    gn_arena *arena;
    size_t bytes; /* of keys and rows */
    gn_run_chunk *chunks;
    uint32_t n_chunks, cap_chunks;
    gn_run_pos run_end;
    uint64_t run_n;
    gn_run_pos *run_marks; /* of every GN_RUN_STRIDE-th entry */
    size_t n_marks, cap_marks;
    gn_bytes run_last; /* the run's greatest key */
    gn_own_key *head;  /* of full height, no key */
    gn_own_key *tail;
    gn_own_version *first_version, *last_version;
    uint64_t list_n;
    uint64_t seq;                 /* of the last list write */
    uint64_t random;              /* of the node heights */
    struct gn_own_index *indexes; /* own_index_private.h */
    /* of the committed rows, as far as this transaction knows: no key above `greatest` is among them */
    bool knows_greatest;
    uint64_t n_looked_up;
    gn_buf greatest;
    uint64_t n_hidden; /* provisional hidden keys given out */
} gn_write_set;

/* What a reader sees: the run before run_end and list versions up to seq. */
typedef struct gn_own_mark {
    gn_run_pos run_end;
    uint64_t seq;
} gn_own_mark;

gn_write_set *gn_write_set_create(const gn_table_desc *desc, gn_account *account);
void gn_write_set_destroy(gn_write_set *ws); /* NULL is fine */
void gn_write_set_clear(gn_write_set *ws);
static inline bool gn_write_set_empty(const gn_write_set *ws)
{
    return ws->run_n == 0 && ws->list_n == 0;
}
static inline gn_own_mark gn_own_now(const gn_write_set *ws)
{
    return (gn_own_mark){.run_end = ws->run_end, .seq = ws->seq};
}
/* The run's entry at *pos, which is advanced; false at the end. */
bool gn_write_set_run_next(const gn_write_set *ws, gn_run_pos *pos, gn_write *out);

typedef struct gn_own_row {
    gn_bytes key, row;
    bool deleted;
} gn_own_row;
/* Has this transaction written the key, as of the mark? */
bool gn_own_find(const gn_write_set *ws, gn_own_mark mark, gn_bytes key, gn_own_row *out);

/* base_exists: whether a committed row with the key is visible (looked at when the key is new here). GN_OUT_OF_MEMORY.
 */
gn_code gn_own_put(gn_write_set *ws, gn_bytes key, gn_bytes row, bool base_exists, gn_error *err);
gn_code gn_own_delete(gn_write_set *ws, gn_bytes key, gn_error *err);

/* Undoes what was written since the mark. Marks up to there stay good: what they point to has not moved. Nobody reads.
 */
void gn_write_set_cut(gn_write_set *ws, gn_own_mark mark);

/* Own writes in key order within a span, as of a mark; deletions included. */
typedef struct gn_own_cursor {
    const gn_write_set *ws;
    gn_own_mark mark;
    gn_key_span span;
    bool reverse;
    gn_own_key *node;  /* next candidate of the list */
    gn_run_pos run_at; /* forward: the next candidate */
    /* reverse: the entries of the current stride, of which the first block_n are still to come */
    gn_own_row block[GN_RUN_STRIDE];
    uint32_t block_n;
    size_t next_mark; /* strides before this one are still to come */
} gn_own_cursor;
void gn_own_cursor_open(gn_own_cursor *cursor, const gn_write_set *ws, gn_own_mark mark, const gn_key_span *span,
                        bool reverse);
bool gn_own_cursor_next(gn_own_cursor *cursor, gn_own_row *out);

/* The net writes in key order, packed. *n: how many. */
bool gn_write_set_pack(const gn_write_set *ws, gn_buf *out, uint64_t *n);

#endif
