/* Transactions over all groups of a database, and the scans through which SQL reads.
 *
 * A distributed transaction has a part in each group that it touched: the group's own transaction (shard/txn.h), held
 * by the group's leader. One part commits with one log entry; several by two-phase commit (docs/decisions/cluster.md).
 * The contracts of reads, writes and errors are those of shard/txn.h. Used by one strand at a time. */
#ifndef GN_CLUSTER_DTXN_H
#define GN_CLUSTER_DTXN_H

#include "cluster/cluster.h"
#include "query/fragment.h"
#include "shard/txn.h"

typedef struct gn_dtxn gn_dtxn;

typedef struct gn_dtxn_options {
    bool read_only;
    bool several; /* more than one statement may come: all read at one SCN */
    /* One statement comes, and whoever runs it can run it again in a transaction without this. Then nobody is asked
     * before it runs whether this node knows the newest definitions: groups judge by their own. So an error before the
     * commit may be due to old ones, and GN_SERIALIZATION comes of it too. */
    bool alone;
    /* Besides: it is one that writes. Its commit validates what it read, which may be old until then. */
    bool writes;
    /* If it is read-only: it reads what was there so long ago, without asking anybody where a replica is at hand that
     * will see nothing more of that time. 0 = what is there now. */
    uint64_t staleness_ms;
    bool partial; /* of one that is read_only: a group that cannot be reached gives scans no rows rather than an error,
                     and is told by gn_dtxn_missing */
    gn_account *account;        /* buffered writes and scans charge here; may be NULL */
    const _Atomic bool *cancel; /* may be NULL */
} gn_dtxn_options;

gn_code gn_dtxn_begin(gn_cluster *cluster, const gn_dtxn_options *options, gn_dtxn **out, gn_error *err);
/* The SCN that reads are at; 0 while none was needed. */
gn_scn gn_dtxn_read_scn(const gn_dtxn *txn);
/* Something in it is so: with `alone`, where another node could know better. */
bool gn_dtxn_unconfirmed(const gn_dtxn *txn);
/* Before the answer of a query in a transaction with `alone` is given to anybody: GN_SERIALIZATION if nobody has
 * vouched for what it is based on. */
gn_code gn_dtxn_vouch(const gn_dtxn *txn, gn_error *err);
/* How many groups were left out since the transaction began or this was forgotten; the first `max` of them, by number.
 * *of: of how many that were asked. */
uint32_t gn_dtxn_missing(const gn_dtxn *txn, uint64_t *groups, uint32_t max, uint32_t *of);
void gn_dtxn_missing_forget(gn_dtxn *txn);
/* Ends the transaction and frees it, whatever comes back: as gn_txn_commit. */
gn_code gn_dtxn_commit(gn_dtxn *txn, gn_scn *scn, gn_error *err);
void gn_dtxn_abort(gn_dtxn *txn); /* NULL is fine */

/* ---- savepoints: as gn_txn_mark_take and its kin, over all parts ---- */
typedef struct gn_dtxn_mark gn_dtxn_mark;
gn_dtxn_mark *gn_dtxn_mark_take(const gn_dtxn *txn);
void gn_dtxn_mark_free(gn_dtxn_mark *mark); /* before the transaction ends; NULL is fine */
gn_code gn_dtxn_rollback_to(gn_dtxn *txn, const gn_dtxn_mark *mark, gn_error *err);

/* ---- catalog: as gn_txn_table and its kin ---- */
const gn_table_desc *gn_dtxn_table(gn_dtxn *txn, uint64_t table_id);
const gn_table_desc *gn_dtxn_table_named(gn_dtxn *txn, gn_bytes name);
const gn_table_desc *gn_dtxn_index_named(gn_dtxn *txn, gn_bytes name, const gn_index_desc **index);
gn_code gn_dtxn_tables(gn_dtxn *txn, gn_arena *arena, const gn_table_desc ***out, size_t *n, gn_error *err);
gn_code gn_dtxn_put_table(gn_dtxn *txn, const gn_table_desc *desc, gn_error *err);
bool gn_dtxn_defines(const gn_dtxn *txn); /* as gn_txn_defines */
gn_code gn_dtxn_drop_table(gn_dtxn *txn, uint64_t table_id, gn_error *err);

/* ---- rows: as gn_txn_insert and its kin ---- */
gn_code gn_dtxn_insert(gn_dtxn *txn, const gn_table_desc *desc, const gn_value *values, gn_error *err);
gn_code gn_dtxn_update(gn_dtxn *txn, const gn_table_desc *desc, gn_bytes key, const gn_value *values, gn_error *err);
gn_code gn_dtxn_delete(gn_dtxn *txn, const gn_table_desc *desc, gn_bytes key, gn_error *err);

/* Of a row whose group is on another node: the writes gather and are sent with the next read, savepoint or the end, and
 * what refuses them, like GN_UNIQUE, is heard of then. flush: now. statement_end: now, unless the end of the
 * transaction is what comes next. Both are free when there is nothing to send. */
gn_code gn_dtxn_flush(gn_dtxn *txn, gn_error *err);
gn_code gn_dtxn_statement_end(gn_dtxn *txn, gn_error *err);

/* ---- scans ---- over every group that can hold matches; as gn_scan_open and its kin */
typedef struct gn_dscan gn_dscan;
/* ordered: rows come in the order of the primary key over all groups. The order of an index is kept within a group
 * only: gn_dscan_run can merge by it. */
gn_code gn_dscan_open(gn_dtxn *txn, const gn_scan_spec *spec, bool ordered, gn_dscan **out, gn_error *err);

typedef struct gn_row_order {
    uint32_t column;
    bool descending, nulls_first;
} gn_row_order;

/* A scan with work to be done where the rows are. */
typedef struct gn_dscan_spec {
    gn_scan_spec rows;
    const gn_key_range *ranges;  /* instead of its range: ascending, apart from each other; at most GN_DSCAN_RANGES */
    uint32_t n_ranges;           /* 0: its range */
    const gn_fragment *fragment; /* NULL: the rows as they are. What comes is what the fragments of all groups give */
    bool ordered;                /* as for gn_dscan_open; not with a fragment that groups or sorts */
    const gn_row_order *order;   /* instead, without keys: by columns of what comes, which is each group's order too */
    uint32_t n_order;
} gn_dscan_spec;
enum { GN_DSCAN_RANGES = 16384 };
/* Does this cluster do such things, and of a table like this? */
bool gn_dscan_takes_fragments(const gn_cluster *cluster, const gn_table_desc *table);
/* What the spec points to must outlive the scan. */
gn_code gn_dscan_run(gn_dtxn *txn, const gn_dscan_spec *spec, gn_dscan **out, gn_error *err);
gn_code gn_dscan_next(gn_dscan *scan, gn_batch *batch, gn_bytes *keys, gn_error *err);
void gn_dscan_close(gn_dscan *scan); /* NULL is fine */

/* Several scans of the table will come in one statement: all read at one moment, whichever groups they ask. Before the
 * first. */
gn_code gn_dtxn_read_together(gn_dtxn *txn, const gn_table_desc *table, gn_error *err);

/* What the transaction's scans have had from a group so far, for EXPLAIN ANALYZE. */
typedef struct gn_group_figures {
    uint64_t group;
    gn_node_id node; /* whose replica was read */
    bool here;       /* that is this node */
    uint64_t rows, batches, time_ns;
    uint64_t bytes;  /* that came over the network */
    uint32_t hedges; /* reads that were asked of a second replica, too */
} gn_group_figures;
/* In the order in which groups were first asked; gives how many there are, of which at most `max` are copied. */
uint32_t gn_dtxn_figures(const gn_dtxn *txn, gn_group_figures *out, uint32_t max);

typedef struct gn_dvector_scan gn_dvector_scan;
/* fragment: NULL, or a filter, a limit and a choice of columns for each group to do, of a cluster that does such things
 * (gn_dvector_scan_takes_fragments); the distance comes last in any case. */
gn_code gn_dvector_scan_open(gn_dtxn *txn, const gn_vector_scan_spec *spec, const gn_fragment *fragment,
                             gn_dvector_scan **out, gn_error *err);
bool gn_dvector_scan_takes_fragments(const gn_cluster *cluster);
gn_code gn_dvector_scan_next(gn_dvector_scan *scan, gn_batch *batch, gn_bytes *keys, gn_error *err);
void gn_dvector_scan_stats_get(const gn_dvector_scan *scan, gn_vector_scan_stats *out);
void gn_dvector_scan_close(gn_dvector_scan *scan); /* NULL is fine */

#endif
