/* Distributed transactions of a database with one group: the transaction is its only part. */
#include "cluster/dtxn.h"

#include "cluster/cluster_private.h"

#include <stdlib.h>

struct gn_dtxn {
    gn_cluster *cluster;
    gn_txn *meta; /* the part in the meta group */
};

gn_code gn_dtxn_begin(gn_cluster *cluster, const gn_dtxn_options *o, gn_dtxn **out, gn_error *err)
{
    gn_txn_options options = {.read_only = o->read_only, .account = o->account, .cancel = o->cancel};
    gn_txn *part;
    gn_code code = gn_txn_begin(cluster->meta, &options, &part, err);
    if (code != GN_OK)
        return code;
    gn_dtxn *txn = gn_xcalloc(1, sizeof *txn);
    txn->cluster = cluster;
    txn->meta = part;
    *out = txn;
    return GN_OK;
}

gn_scn gn_dtxn_read_scn(const gn_dtxn *txn)
{
    return gn_txn_read_scn(txn->meta);
}

gn_code gn_dtxn_commit(gn_dtxn *txn, gn_scn *scn, gn_error *err)
{
    gn_code code = gn_txn_commit(txn->meta, scn, err);
    free(txn);
    return code;
}

void gn_dtxn_abort(gn_dtxn *txn)
{
    if (!txn)
        return;
    gn_txn_abort(txn->meta);
    free(txn);
}

/* ---- catalog ---- */

const gn_table_desc *gn_dtxn_table(gn_dtxn *txn, uint64_t table_id)
{
    return gn_txn_table(txn->meta, table_id);
}

const gn_table_desc *gn_dtxn_table_named(gn_dtxn *txn, gn_bytes name)
{
    return gn_txn_table_named(txn->meta, name);
}

const gn_table_desc *gn_dtxn_index_named(gn_dtxn *txn, gn_bytes name, const gn_index_desc **index)
{
    return gn_txn_index_named(txn->meta, name, index);
}

gn_code gn_dtxn_tables(gn_dtxn *txn, gn_arena *arena, const gn_table_desc ***out, size_t *n, gn_error *err)
{
    return gn_txn_tables(txn->meta, arena, out, n, err);
}

gn_code gn_dtxn_put_table(gn_dtxn *txn, const gn_table_desc *desc, gn_error *err)
{
    return gn_txn_put_table(txn->meta, desc, err);
}

gn_code gn_dtxn_drop_table(gn_dtxn *txn, uint64_t table_id, gn_error *err)
{
    return gn_txn_drop_table(txn->meta, table_id, err);
}

/* ---- rows ---- */

gn_code gn_dtxn_insert(gn_dtxn *txn, const gn_table_desc *desc, const gn_value *values, gn_error *err)
{
    return gn_txn_insert(txn->meta, desc, values, err);
}

gn_code gn_dtxn_update(gn_dtxn *txn, const gn_table_desc *desc, gn_bytes key, const gn_value *values, gn_error *err)
{
    return gn_txn_update(txn->meta, desc, key, values, err);
}

gn_code gn_dtxn_delete(gn_dtxn *txn, const gn_table_desc *desc, gn_bytes key, gn_error *err)
{
    return gn_txn_delete(txn->meta, desc, key, err);
}

/* ---- scans ---- */

struct gn_dscan {
    gn_scan *scan;
};

gn_code gn_dscan_open(gn_dtxn *txn, const gn_scan_spec *spec, gn_dscan **out, gn_error *err)
{
    gn_scan *scan;
    gn_code code = gn_scan_open(txn->meta, spec, &scan, err);
    if (code != GN_OK)
        return code;
    *out = gn_xcalloc(1, sizeof **out);
    (*out)->scan = scan;
    return GN_OK;
}

gn_code gn_dscan_next(gn_dscan *scan, gn_batch *batch, gn_bytes *keys, gn_error *err)
{
    return gn_scan_next(scan->scan, batch, keys, err);
}

void gn_dscan_close(gn_dscan *scan)
{
    if (!scan)
        return;
    gn_scan_close(scan->scan);
    free(scan);
}

struct gn_dvector_scan {
    gn_vector_scan *scan;
};

gn_code gn_dvector_scan_open(gn_dtxn *txn, const gn_vector_scan_spec *spec, gn_dvector_scan **out, gn_error *err)
{
    gn_vector_scan *scan;
    gn_code code = gn_vector_scan_open(txn->meta, spec, &scan, err);
    if (code != GN_OK)
        return code;
    *out = gn_xcalloc(1, sizeof **out);
    (*out)->scan = scan;
    return GN_OK;
}

gn_code gn_dvector_scan_next(gn_dvector_scan *scan, gn_batch *batch, gn_bytes *keys, gn_error *err)
{
    return gn_vector_scan_next(scan->scan, batch, keys, err);
}

void gn_dvector_scan_stats_get(const gn_dvector_scan *scan, gn_vector_scan_stats *out)
{
    gn_vector_scan_stats_get(scan->scan, out);
}

void gn_dvector_scan_close(gn_dvector_scan *scan)
{
    if (!scan)
        return;
    gn_vector_scan_close(scan->scan);
    free(scan);
}
