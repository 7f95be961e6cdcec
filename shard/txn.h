/* Transactions on a shard, and the cursors through which everything is read.
 *
 * Serializable: reads at a start SCN from a snapshot; writes are buffered here, seen by this transaction's own reads;
 * at commit one Raft entry carries the writes and the read set, and applying it validates that nothing read has changed
 * since the start SCN (backward validation against the change log). A transaction is used by one strand at a time. */
#ifndef GN_SHARD_TXN_H
#define GN_SHARD_TXN_H

#include "query/row.h"
#include "shard/shard.h"

typedef struct gn_txn gn_txn;

typedef struct gn_txn_options {
    uint64_t branch; /* 0 = GN_BRANCH_MAIN */
    gn_scn read_scn; /* 0 = newest; another makes the transaction read-only, unless: */
    /* A part of a transaction over groups: read_scn came from the clock after the transaction began (0: is asked for
     * here), reads are at exactly this SCN, and the part may write. */
    bool global;
    bool caught_up; /* with `global` and read_scn: the replica has caught up since that SCN was handed out */
    bool stale;     /* what this replica has applied, or had at read_scn, which must be closed here; asks nobody */
    /* Begins at what this replica has applied, asking nobody whether that is all. Its commit is as good as any other's,
     * since what was read is validated; without that, what was read may be old. gn_txn_unconfirmed says whether it
     * is so: where nobody has to be asked, the transaction is as any other. */
    bool unconfirmed;
    bool read_only;             /* no read set is kept */
    bool no_read_set;           /* reads are not validated (read committed) */
    gn_account *account;        /* buffered writes and scans charge here; may be NULL */
    const _Atomic bool *cancel; /* may be NULL: long waits and scans end with GN_CANCELED */
    /* The slots that the caller believes the group to own, and wants to see rows of; 0, 0: all that the group had when
     * it was made. own_slots, with that: whatever it owns. */
    uint32_t slot_lo, slot_hi;
    bool own_slots;
    bool merged; /* the caller knows that the group took another in: a replica that never heard of it is behind */
    uint64_t deadline_ns; /* of gn_now_ns: waits for other transactions end with GN_TIMEOUT; 0 = none */
} gn_txn_options;

/* Linearizable: sees everything that was acknowledged before the call. From a strand. GN_UNAVAILABLE,
 * GN_SNAPSHOT_TOO_OLD, GN_NOT_LEADER; GN_MOVED when the group does not own the slots; GN_NO_OBJECT when this replica
 * was removed from its group. Reads that meet a prepared write which may have to be seen wait for its decision:
 * GN_CANCELED, GN_TIMEOUT. */
gn_code gn_txn_begin(gn_shard *shard, const gn_txn_options *options, gn_txn **out, gn_error *err);
gn_scn gn_txn_read_scn(const gn_txn *txn);
bool gn_txn_has_writes(const gn_txn *txn);
bool gn_txn_unconfirmed(const gn_txn *txn);

/* Ends the transaction and frees it, whatever comes back.
 * GN_OK: durable and visible; *scn = commit SCN (the read SCN if there were no writes).
 * GN_SERIALIZATION: something read has changed, nothing was written; may be retried from the start.
 * GN_UNIQUE (err names constraint and key, as PostgreSQL words it), GN_OUTCOME_UNKNOWN, GN_DISK_FULL, ... */
gn_code gn_txn_commit(gn_txn *txn, gn_scn *scn, gn_error *err);
void gn_txn_abort(gn_txn *txn); /* NULL is fine */

/* ---- savepoints ---- */

/* What the transaction has written so far; free it before the transaction ends. */
typedef struct gn_txn_mark gn_txn_mark;
gn_txn_mark *gn_txn_mark_take(const gn_txn *txn);
void gn_txn_mark_free(gn_txn_mark *mark); /* NULL is fine */
/* Undoes what was written since the mark; NULL: everything. What was read stays read. Ends open scans. GN_FEATURE when
 * a table's definition was changed since: the transaction can only be aborted then. */
gn_code gn_txn_rollback_to(gn_txn *txn, const gn_txn_mark *mark, gn_error *err);

/* ---- transactions over several groups: two-phase commit ----
 *
 * The coordinator begins a part in each group, prepares all but the first group's (in parallel), has the first group
 * commit and decide with one entry when they have answered GN_OK, then tells the others, and when all know has the
 * first one forget. (In a cluster from before GN_SINCE_DECIDE the first group prepares as well, and decides by
 * gn_shard_decide at an SCN that the clock gave after all had answered.) Only the first group decides: another may be
 * told "commit" only after the first has committed, "abort" only when the first cannot commit any more. Groups must
 * have a clock (GN_NOT_IN_STATE). */

typedef enum gn_decision_state { GN_UNKNOWN_TXN, GN_PREPARED, GN_COMMITTED, GN_ABORTED } gn_decision_state;

typedef struct gn_decision {
    gn_decision_state state;
    gn_scn scn;       /* GN_COMMITTED: the commit SCN; GN_PREPARED: the SCN of the prepare, which the commit is above */
    uint64_t *groups; /* of a part, or of a decision at the first group; else NULL */
    uint32_t n_groups;
} gn_decision;
void gn_decision_close(gn_decision *decision); /* zeroed is fine */

/* Ends the part and frees it, whatever comes back. A part that has only read is prepared too. txn_id: random, never 0,
 * the same in all groups. groups[0] decides. GN_OK: this part can be committed whatever happens, and is if the first
 * group says so. Other codes as for gn_txn_commit; after GN_OUTCOME_UNKNOWN it may be prepared. *prepared (may be
 * NULL): the SCN of the prepare. */
gn_code gn_txn_prepare(gn_txn *txn, uint64_t txn_id, const uint64_t *groups, uint32_t n_groups, gn_scn *prepared,
                       gn_error *err);

/* Ends the first group's part and frees it, whatever comes back. All others are prepared, under SCNs up to `above`.
 * GN_OK: the transaction is committed at *scn, which the others are to be told. Other codes as for gn_txn_commit; after
 * GN_OUTCOME_UNKNOWN it may be committed, after any other it is not, and an abort has to be decided. */
gn_code gn_txn_decide(gn_txn *txn, uint64_t txn_id, const uint64_t *groups, uint32_t n_groups, gn_scn above,
                      gn_scn *scn, gn_error *err);

/* Commits at scn, or aborts (scn 0). May be repeated. GN_OK: *out (may be NULL) is what this group has decided, now or
 * before, which may be the opposite. GN_NO_OBJECT: told to commit what is not known here; a group other
 * than the first, which keeps no decisions, may also have committed it long ago. An abort of what is not known
 * here is noted, and a late prepare is refused. */
gn_code gn_shard_decide(gn_shard *shard, uint64_t txn_id, bool commit, gn_scn scn, gn_decision *out, gn_error *err);
/* What is known here, linearizable. Close *out. */
gn_code gn_shard_decision(gn_shard *shard, uint64_t txn_id, gn_decision *out, gn_error *err);
/* Every group of the transaction knows. May be repeated. */
gn_code gn_shard_forget(gn_shard *shard, uint64_t txn_id, gn_error *err);

/* ---- catalog, versioned and transactional like all data ---- */

/* As this transaction sees it (its own changes included). The pointer lives as long as the transaction; retain it for
 * longer. NULL when there is none. */
const gn_table_desc *gn_txn_table(gn_txn *txn, uint64_t table_id);
const gn_table_desc *gn_txn_table_named(gn_txn *txn, gn_bytes name);
/* Any table whose index has this name. */
const gn_table_desc *gn_txn_index_named(gn_txn *txn, gn_bytes name, const gn_index_desc **index);
/* All user tables, in order of name. *out in the arena. */
gn_code gn_txn_tables(gn_txn *txn, gn_arena *arena, const gn_table_desc ***out, size_t *n, gn_error *err);
/* Creates or replaces (same id). Indexes that are new are filled when the commit is applied; those gone are dropped.
 * A unique index over rows that are not unique fails the commit with GN_UNIQUE. */
gn_code gn_txn_put_table(gn_txn *txn, const gn_table_desc *desc, gn_error *err);
/* It has changed definitions. Their versions are its own: once it is rolled back, others get the same. */
bool gn_txn_defines(const gn_txn *txn);
gn_code gn_txn_drop_table(gn_txn *txn, uint64_t table_id, gn_error *err);
/* Fresh ids for tables, indexes, sequences; unique for ever, not transactional. */
gn_code gn_shard_new_ids(gn_shard *shard, uint64_t n, uint64_t *first, gn_error *err);
/* Sequence values, handed out in cached blocks; not transactional; gaps after a crash. start is used the first time. */
gn_code gn_shard_sequence_next(gn_shard *shard, uint64_t sequence_id, int64_t start, uint32_t n, int64_t *first,
                               gn_error *err);
/* Raises the sequence so that the next value is above `value` (COPY, setval). */
gn_code gn_shard_sequence_raise(gn_shard *shard, uint64_t sequence_id, int64_t value, gn_error *err);

/* Takes the numbers first ... first + n - 1 above `above`; nobody else ever gets them. This node must lead the group.
 */
gn_code gn_shard_reserve(gn_shard *shard, uint64_t sequence_id, int64_t above, int64_t n, int64_t *first,
                         gn_error *err);

/* ---- rows ---- values: one per desc->columns, already of the column's type and checked (NOT NULL, CHECK) */

/* GN_UNIQUE at once if a visible row has the key (checked again at commit). */
gn_code gn_txn_insert(gn_txn *txn, const gn_table_desc *desc, const gn_value *values, gn_error *err);
/* key: of the row as a scan gave it. The row is replaced; its key may change. */
gn_code gn_txn_update(gn_txn *txn, const gn_table_desc *desc, gn_bytes key, const gn_value *values, gn_error *err);
gn_code gn_txn_delete(gn_txn *txn, const gn_table_desc *desc, gn_bytes key, gn_error *err);

/* ---- cursors ---- */

/* A range of encoded key parts (gn_key_append). lo NULL-data: from the start. A bound that is a prefix stands for all
 * keys that begin with it. */
typedef struct gn_key_range {
    gn_bytes lo, hi;
    bool lo_exclusive; /* skip keys that begin with lo */
    bool hi_inclusive; /* take keys that begin with hi */
} gn_key_range;

typedef struct gn_scan_spec {
    const gn_table_desc *table;
    const gn_index_desc *index; /* NULL = by primary key; btree otherwise */
    gn_key_range range;
    bool reverse;
    const uint32_t *ordinals; /* of table->columns, strictly ascending: the columns of the batches */
    uint32_t n_ordinals;
    uint64_t limit_hint; /* rows the caller will probably take; 0 = all */
    bool without_keys;   /* gn_scan_next will not be asked for keys: none need be sent from another node */
} gn_scan_spec;

typedef struct gn_scan gn_scan;
/* The spec's arrays must outlive the scan. The range goes into the read set. */
gn_code gn_scan_open(gn_txn *txn, const gn_scan_spec *spec, gn_scan **out, gn_error *err);
/* Fills batch (initialised by the caller with the columns' types; its arena is reset here). keys: NULL, or
 * GN_BATCH_ROWS encoded primary keys in the batch's arena. n_rows 0 = end. Writes of this transaction made after the
 * open are not seen by it. */
gn_code gn_scan_next(gn_scan *scan, gn_batch *batch, gn_bytes *keys, gn_error *err);
bool gn_scan_is_orphan(const gn_scan *scan); /* its transaction has ended, or was rolled back to before it */
void gn_scan_close(gn_scan *scan);           /* NULL is fine */

/* Rows in order of distance to a vector, through a vector index: the first calls give about k_hint rows, further calls
 * widen the search until every row with a vector has come; none comes twice. The last column of the batch, after
 * `ordinals`, is the distance (double precision). Own uncommitted writes are seen.
 *
 * With a filter the rows that come are those for which it is true: k_hint of them whenever there are so many. Which way
 * is cheapest is found out on the way, by how many of the nearest rows match (vector_search.c). */
/* Ranges of a btree index (NULL: of the primary key). */
typedef struct gn_vector_bound {
    const gn_index_desc *index;
    const gn_key_range *ranges;
    uint32_t n_ranges; /* at least one */
} gn_vector_bound;

enum { GN_VECTOR_MOST_BOUNDS = 4 /* of one scan */ };

typedef struct gn_vector_scan_spec {
    const gn_table_desc *table;
    const gn_index_desc *index;
    const float *query;
    uint32_t dimensions; /* floats of the query; of bits, 32-bit words of them (gn_index_words) */
    uint64_t k_hint;     /* 0 = 100 */
    uint32_t ef;         /* 0 = default */
    float target_recall; /* instead of ef; 0 = none. As gn_vsearch has it */
    bool exact;
    const uint32_t *ordinals;
    uint32_t n_ordinals;
    const struct gn_expr *filter; /* NULL: none. Settled (query/expr_pack.h), over the batch's columns */
    const gn_format *format;      /* the session's; with a filter */
    /* Optional: rows for which the filter is true are within each of these, the one thought to hold the fewest first.
     * Where these turn out to be few, they alone are looked at, and all of them. */
    const gn_vector_bound *bounds;
    uint32_t n_bounds;
    bool whole;      /* and it is true for all rows that are within all of them */
    bool has_radius; /* rows farther away than `radius` may be left out */
    double radius;
} gn_vector_scan_spec;

typedef enum gn_vector_way {
    GN_VECTOR_BY_INDEX, /* nearest first, more and more of them */
    GN_VECTOR_BY_KEYS,  /* all that are in the ranges */
    GN_VECTOR_BY_ROWS,  /* by a pass over the rows */
    GN_VECTOR_BY_WALK,  /* by the index, which asks the filter */
} gn_vector_way;

typedef struct gn_vector_scan gn_vector_scan;
typedef struct gn_vector_scan_stats {
    uint64_t distances, searches, tail_rows;
    uint32_t segments, ef;
    float recall;           /* what the index's calibration says of the search; 0 = unknown, 1 = exact */
    gn_vector_way way;      /* the last that was taken */
    uint64_t fetched;       /* rows that were read */
    uint64_t asked, passed; /* rows that the filter was computed for; for which it was true */
    uint64_t keys;          /* of the list of BY_KEYS */
    uint32_t bitmaps;       /* of bounds that the search could go by, */
    uint64_t told;          /* and rows in the smallest of them */
    bool all_measured;      /* no row for which the filter is true is without a distance */
} gn_vector_scan_stats;
gn_code gn_vector_scan_open(gn_txn *txn, const gn_vector_scan_spec *spec, gn_vector_scan **out, gn_error *err);
gn_code gn_vector_scan_next(gn_vector_scan *scan, gn_batch *batch, gn_bytes *keys, gn_error *err);
void gn_vector_scan_stats_get(const gn_vector_scan *scan, gn_vector_scan_stats *out);
void gn_vector_scan_close(gn_vector_scan *scan);

/* ---- checking ---- */

/* What an index has, beside what the rows say that it should have. */
typedef struct gn_index_findings {
    uint64_t rows, entries;  /* that should be there; that are */
    bool same;               /* and they are the same */
    bool behind;             /* a vector index that is being brought up to date: nothing was compared */
    uint64_t missing, extra; /* rows without their entry, entries without their row; of a vector index at least */
    gn_buf example;          /* the primary key of the first row without its entry; empty: none. To be closed */
} gn_index_findings;
/* Reads all rows and the whole index at the transaction's SCN, which must be read-only. A vector index's files are read
 * against their checksums too (GN_INDEX_CORRUPT). From a strand. */
gn_code gn_txn_check_index(gn_txn *txn, const gn_table_desc *table, const gn_index_desc *index, gn_index_findings *out,
                           gn_error *err);

#endif
