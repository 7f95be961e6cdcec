/* A distributed transaction's part in one group: that group's own transaction, on this node when it has a replica, else
 * on a node that has one. The functions are those of shard/txn.h over either kind; a part that is here costs no more
 * than a call. What differs for one that is elsewhere:
 *
 *  - Writes gather and travel with the next read, savepoint or end. So an error of theirs, like GN_UNIQUE, may come
 * from a later call; gn_part_flush makes it come.
 *  - GN_SERIALIZATION when its node, or the way there, is lost: what was read and written there is gone. A part of
 *    which nothing has come back yet moves to another replica without a word. */
#ifndef GN_CLUSTER_PART_PRIVATE_H
#define GN_CLUSTER_PART_PRIVATE_H

#include "cluster/cluster_private.h"
#include "cluster/dtxn.h"

typedef struct gn_remote_part gn_remote_part;
typedef struct gn_remote_scan gn_remote_scan;

typedef struct gn_part {
    uint64_t group_id;
    gn_group_figures figures; /* of scans */
    gn_txn *txn;              /* here; NULL after its end */
    gn_remote_part *remote;   /* else */
    bool reads;               /* something was read that its commit has to validate */
} gn_part;

/* ---- part_remote.c ---- does not block until something is read, flushed or ended; an end leaves the memory */
gn_remote_part *gn_remote_part_open(gn_cluster *cluster, uint64_t group_id, const gn_txn_options *options);
void gn_remote_part_close(gn_remote_part *part); /* aborts what has not ended */
bool gn_remote_has_writes(const gn_remote_part *part);
bool gn_remote_unconfirmed(const gn_remote_part *part);
gn_code gn_remote_insert(gn_remote_part *part, const gn_table_desc *desc, const gn_value *values, gn_error *err);
gn_code gn_remote_update(gn_remote_part *part, const gn_table_desc *desc, gn_bytes key, const gn_value *values,
                         gn_error *err);
gn_code gn_remote_delete(gn_remote_part *part, const gn_table_desc *desc, gn_bytes key, gn_error *err);
gn_code gn_remote_put_table(gn_remote_part *part, const gn_table_desc *desc, gn_error *err);
gn_code gn_remote_drop_table(gn_remote_part *part, uint64_t table_id, gn_error *err);
/* Sends what has gathered; the answer is waited for by gn_remote_settle, and gives the errors of the writes. */
gn_code gn_remote_flush(gn_remote_part *part, gn_error *err);
gn_code gn_remote_settle(gn_remote_part *part, gn_error *err);
gn_code gn_remote_settle_writes(gn_remote_part *part, gn_error *err); /* not for rows that are asked for ahead */
gn_code gn_remote_commit(gn_remote_part *part, gn_scn *scn, gn_error *err);
/* In two steps, so that several parts prepare at once. await: also after a start that failed, whose code it gives. */
void gn_remote_prepare_start(gn_remote_part *part, uint64_t txn_id, const uint64_t *groups, uint32_t n_groups);
gn_code gn_remote_prepare_await(gn_remote_part *part, gn_scn *prepared, gn_error *err);
gn_code gn_remote_decide(gn_remote_part *part, uint64_t txn_id, const uint64_t *groups, uint32_t n_groups, gn_scn above,
                         gn_scn *scn, gn_error *err);
uint64_t gn_remote_mark_take(gn_remote_part *part);
void gn_remote_mark_free(gn_remote_part *part, uint64_t mark);
gn_code gn_remote_rollback_to(gn_remote_part *part, uint64_t mark, gn_error *err); /* 0: everything */

/* Where it is, and what has come from there. */
void gn_remote_part_traffic(const gn_remote_part *part, gn_group_figures *out);

/* ---- part_scan.c ---- start sends, await gives the outcome of the opening; close both ways */
gn_code gn_remote_scan_start(gn_remote_part *part, const gn_scan_spec *spec, gn_remote_scan **out, gn_error *err);
struct gn_run_spec;
gn_code gn_remote_run_start(gn_remote_part *part, const struct gn_run_spec *spec, gn_bytes fragment,
                            gn_remote_scan **out, gn_error *err);
/* packed: the fragment as bytes; empty without one */
gn_code gn_remote_vector_scan_start(gn_remote_part *part, const gn_vector_scan_spec *spec, const gn_fragment *fragment,
                                    gn_bytes packed, gn_remote_scan **out, gn_error *err);
gn_code gn_remote_scan_await(gn_remote_scan *scan, gn_error *err);
gn_code gn_remote_scan_next(gn_remote_scan *scan, gn_batch *batch, gn_bytes *keys, gn_error *err);
void gn_remote_scan_stats(const gn_remote_scan *scan, gn_vector_scan_stats *out);
void gn_remote_scan_close(gn_remote_scan *scan); /* NULL is fine */

/* ---- either ---- */

static inline bool gn_part_has_writes(const gn_part *p)
{
    return p->remote ? gn_remote_has_writes(p->remote) : gn_txn_has_writes(p->txn);
}
static inline gn_code gn_part_insert(gn_part *p, const gn_table_desc *desc, const gn_value *values, gn_error *err)
{
    return p->remote ? gn_remote_insert(p->remote, desc, values, err) : gn_txn_insert(p->txn, desc, values, err);
}
static inline gn_code gn_part_update(gn_part *p, const gn_table_desc *desc, gn_bytes key, const gn_value *values,
                                     gn_error *err)
{
    return p->remote ? gn_remote_update(p->remote, desc, key, values, err)
                     : gn_txn_update(p->txn, desc, key, values, err);
}
static inline gn_code gn_part_delete(gn_part *p, const gn_table_desc *desc, gn_bytes key, gn_error *err)
{
    return p->remote ? gn_remote_delete(p->remote, desc, key, err) : gn_txn_delete(p->txn, desc, key, err);
}
static inline gn_code gn_part_put_table(gn_part *p, const gn_table_desc *desc, gn_error *err)
{
    return p->remote ? gn_remote_put_table(p->remote, desc, err) : gn_txn_put_table(p->txn, desc, err);
}
static inline gn_code gn_part_drop_table(gn_part *p, uint64_t table_id, gn_error *err)
{
    return p->remote ? gn_remote_drop_table(p->remote, table_id, err) : gn_txn_drop_table(p->txn, table_id, err);
}
static inline gn_code gn_part_commit(gn_part *p, gn_scn *scn, gn_error *err)
{
    if (p->remote)
        return gn_remote_commit(p->remote, scn, err);
    gn_code code = gn_txn_commit(p->txn, scn, err);
    p->txn = NULL;
    return code;
}

/* ---- group_decide.c ---- gn_shard_decide and its kin, wherever the group is */
gn_code gn_group_decide(gn_cluster *cluster, uint64_t group_id, uint64_t txn_id, bool commit, gn_scn scn,
                        gn_decision *out, gn_error *err);
gn_code gn_group_decision(gn_cluster *cluster, uint64_t group_id, uint64_t txn_id, gn_decision *out, gn_error *err);
gn_code gn_group_forget(gn_cluster *cluster, uint64_t group_id, uint64_t txn_id, gn_error *err);

#endif
