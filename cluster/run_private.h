/* A scan of one group with a fragment of a query on top (query/fragment.h), run where the group's replica is: by the
 * coordinator itself, or for one on another node. Several ranges are walked over one after the other, in the order of
 * the scan, so that a list of keys is one scan. */
#ifndef GN_CLUSTER_RUN_PRIVATE_H
#define GN_CLUSTER_RUN_PRIVATE_H

#include "query/fragment.h"
#include "shard/txn.h"

typedef struct gn_run_spec {
    gn_scan_spec rows;          /* its range is not looked at, but: */
    const gn_key_range *ranges; /* ascending; at least one */
    uint32_t n_ranges;
    const gn_fragment *fragment; /* NULL: the rows as they are */
    bool keyed;                  /* the rows' keys will be asked for; not of an aggregation */
    /* Instead of rows and ranges: in order of distance, which is one column more than what the fragment gives, the
     * last. The fragment's filter becomes the scan's. Without keys, and the fragment neither groups nor sorts. */
    const gn_vector_scan_spec *vectors;
} gn_run_spec;

typedef struct gn_run gn_run;
/* What the spec points to must outlive the run. */
gn_code gn_run_open(gn_txn *txn, const gn_run_spec *spec, gn_account *account, const _Atomic bool *cancel, gn_run **out,
                    gn_error *err);
/* As gn_scan_next; the batch's columns lie in the run's memory. */
gn_code gn_run_next(gn_run *run, gn_batch *batch, gn_bytes *keys, gn_error *err);
bool gn_run_ended(const gn_run *run); /* surely nothing comes after what it gave last */
void gn_run_vector_stats(const gn_run *run, gn_vector_scan_stats *out);
void gn_run_close(gn_run *run); /* NULL is fine */

#endif
