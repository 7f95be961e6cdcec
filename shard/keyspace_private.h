/* The keys and values of a replica's RocksDB. Everything lives in one column family, so that the applied index is in
 * the same atomic batch as the data that it speaks of.
 *
 *   'R' table  epoch branch  primary key            ~SCN  -> row or tombstone    the versions of a row
 *   'I' index  epoch branch  index parts + primary key ~SCN -> live or dead      the versions of an index entry
 *   'L' SCN chunk                                         -> what a commit touched (change_log)
 *   'M' ...                                               -> the replica's own state
 *   'P' transaction id                                    -> a part that is prepared and not decided (prepared)
 *   'D' transaction id                                    -> what was decided (prepared); id 0: what was dropped
 *
 * table, index, epoch and branch are order-preserving varints: a byte that tells how many follow, then big endian.
 * Key parts are self-delimiting (query/row.h), so no primary key of a table is a prefix of another, and the versions
 * of one key lie together, newest first, because ~SCN is the SCN inverted. */
#ifndef GN_SHARD_KEYSPACE_PRIVATE_H
#define GN_SHARD_KEYSPACE_PRIVATE_H

#include "base/buf.h"
#include "base/limits.h"
#include "shard/txn.h"

enum {
    GN_KIND_DECISION = 'D',
    GN_KIND_INDEX = 'I',
    GN_KIND_LOG = 'L',
    GN_KIND_META = 'M',
    GN_KIND_PREPARED = 'P',
    GN_KIND_ROW = 'R',
    GN_VERSION_SUFFIX = 8,
    GN_SPACE_PREFIX_MAX = 1 + 3 * 9,
    /* an index entry: index parts and primary key, each at most GN_MAX_KEY; and room to append a seek suffix */
    GN_STORE_KEY_MAX = GN_SPACE_PREFIX_MAX + 2 * GN_MAX_KEY + 2 * GN_VERSION_SUFFIX,
};

/* All versions of one table's rows or of one index's entries, in one branch. */
typedef struct gn_space {
    uint8_t kind;
    uint64_t id; /* of the table or the index */
    uint64_t epoch;
    uint64_t branch;
} gn_space;

static inline gn_space gn_row_space(const gn_table_desc *desc, uint64_t branch)
{
    return (gn_space){.kind = GN_KIND_ROW, .id = desc->id, .epoch = desc->data_epoch, .branch = branch};
}
static inline gn_space gn_index_space(const gn_table_desc *desc, const gn_index_desc *index, uint64_t branch)
{
    return (gn_space){.kind = GN_KIND_INDEX, .id = index->id, .epoch = desc->data_epoch, .branch = branch};
}
int gn_space_cmp(const gn_space *a, const gn_space *b);
static inline bool gn_space_eq(const gn_space *a, const gn_space *b)
{
    return a->kind == b->kind && a->id == b->id && a->epoch == b->epoch && a->branch == b->branch;
}

/* out: GN_SPACE_PREFIX_MAX bytes. Returns the length. */
size_t gn_space_prefix(const gn_space *space, uint8_t *out);
/* Without the branch: all branches of an epoch, for removing it. */
size_t gn_space_prefix_all_branches(const gn_space *space, uint8_t *out);

/* Replaces `out` by the key of a version. */
void gn_version_key(gn_buf *out, const gn_space *space, gn_bytes key, gn_scn scn);
static inline gn_scn gn_version_scn(gn_bytes store_key)
{
    uint64_t v = 0;
    for (int i = 0; i < GN_VERSION_SUFFIX; i++)
        v = v << 8 | store_key.data[store_key.len - GN_VERSION_SUFFIX + (size_t)i];
    return ~v;
}
/* The part of a versioned store key that all versions of one row or entry share. */
static inline gn_bytes gn_version_stem(gn_bytes store_key)
{
    return gn_bytes_of(store_key.data, store_key.len - GN_VERSION_SUFFIX);
}
static inline bool gn_is_versioned(gn_bytes store_key)
{
    return store_key.len > GN_VERSION_SUFFIX + 1 &&
           (store_key.data[0] == GN_KIND_ROW || store_key.data[0] == GN_KIND_INDEX);
}

/* The least byte string above all that begin with key[0..len): in place; returns the new length, 0 = there is none. */
size_t gn_prefix_successor(uint8_t *key, size_t len);

/* A range of keys of one space, bounds normalised to start <= key < end; end_open: to the end of the space. */
typedef struct gn_key_span {
    gn_bytes start, end;
    bool end_open;
} gn_key_span;
static inline bool gn_key_span_has(const gn_key_span *span, gn_bytes key)
{
    return gn_bytes_cmp(span->start, key) <= 0 && (span->end_open || gn_bytes_cmp(key, span->end) < 0);
}
/* Copies into the arena what it has to change. False: out of memory. */
bool gn_key_span_of(const gn_key_range *range, gn_arena *arena, gn_key_span *out);

/* ---- values ---- one tag byte (layout version and kind); then a row with its checksum, or the primary key that a
 * unique index entry leads to */
enum { GN_VALUE_TOMBSTONE = 0x10, GN_VALUE_ROW = 0x11, GN_VALUE_ENTRY_DEAD = 0x20, GN_VALUE_ENTRY_LIVE = 0x21 };
enum { GN_ROW_HEADER = 5 };
void gn_row_header(gn_bytes row, uint8_t out[GN_ROW_HEADER]);
/* *dead: a tombstone or dead entry. *row: what follows the tag and the checksum. GN_CORRUPT. */
gn_code gn_value_open(gn_bytes value, bool *dead, gn_bytes *row, gn_error *err);

/* ---- the replica's own state ---- */
enum {
    GN_META_STATE = 'S',     /* applied index and last SCN */
    GN_META_COUNTERS = 'C',  /* + table id: rows, bytes, next hidden key */
    GN_META_SEQUENCE = 'Q',  /* + sequence id: next value */
    GN_META_GARBAGE = 'G',   /* + SCN, kind, id, epoch: a space to be removed once nobody can read at that SCN */
    GN_META_LOG_FLOOR = 'F', /* the change log is complete above this SCN */
    GN_META_SLOTS = 'O',     /* the slots that the group owns, once it was split */
    GN_META_CLEANED = 'K',   /* up to which of its generations rows of others have been removed here */
    GN_META_MERGE = 'T',     /* how far the copy of a group that is being taken in is */
    GN_META_FEED = 'V',      /* + index id, epoch: since when a vector index has all rows */
};
enum { GN_META_KEY_MAX = 2 + 4 * 8 };
/* key: 'M', what, then each argument big endian. Returns the length. */
size_t gn_meta_key(uint8_t *out, uint8_t what, const uint64_t *args, size_t n);
/* Of a copy of another group's rows: be64 table, be32 space (0: rows; n: its index n - 1), the last store key without
 * its SCN; table UINT64_MAX: all is copied. Empty: nothing is. */
enum { GN_MERGE_CURSOR_HEAD = 12, GN_MERGE_CURSOR_MAX = GN_MERGE_CURSOR_HEAD + GN_STORE_KEY_MAX };
/* 'L' scn chunk */
enum { GN_LOG_KEY = 1 + 8 + 4 };
void gn_log_key(uint8_t out[GN_LOG_KEY], gn_scn scn, uint32_t chunk);

/* ---- unsigned LEB128, for what is packed inside commands and change records ---- */
size_t gn_varint_put(uint8_t *out, uint64_t v); /* out: 10 bytes */
bool gn_buf_append_varint(gn_buf *buf, uint64_t v);
uint64_t gn_read_varint(gn_reader *r);   /* sets failed */
gn_bytes gn_read_varbytes(gn_reader *r); /* varint length, then so many bytes */
bool gn_buf_append_varbytes(gn_buf *buf, gn_bytes bytes);

static inline void gn_put_be64(uint8_t *p, uint64_t v)
{
    for (int i = 7; i >= 0; i--, v >>= 8)
        p[i] = (uint8_t)v;
}
static inline uint64_t gn_get_be64(const uint8_t *p)
{
    uint64_t v = 0;
    for (int i = 0; i < 8; i++)
        v = v << 8 | p[i];
    return v;
}

#endif
