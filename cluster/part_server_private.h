/* The parts that this node has for coordinators elsewhere, from inside. */
#ifndef GN_CLUSTER_PART_SERVER_PRIVATE_H
#define GN_CLUSTER_PART_SERVER_PRIVATE_H

#include "cluster/part_wire_private.h"
#include "cluster/parts_private.h"
#include "cluster/pool_private.h"
#include "cluster/run_private.h"

/* A scan that a part has open. Its spec's arrays lie in the arena. */
typedef struct gn_served_scan {
    struct gn_served_scan *next;
    uint32_t id;
    gn_arena *arena;
    gn_scan_spec spec;
    gn_vector_scan_spec vector_spec;
    gn_scan *scan;
    gn_vector_scan *vector_scan; /* instead, */
    gn_run *run;                 /* or this one */
    gn_run_spec run_spec;
    gn_fragment fragment;
    bool with_keys, one_row;
    gn_batch batch; /* its rows from `at` on are still to be sent */
    gn_bytes *keys;
    uint32_t at;
    uint64_t given;
    bool ended; /* no more after the batch */
} gn_served_scan;

typedef struct gn_served_mark {
    uint64_t id;
    gn_txn_mark *mark;
} gn_served_mark;

typedef struct gn_served_part {
    struct gn_served_part *next; /* of the same slot of the table */
    gn_node_id from;
    uint64_t incarnation, number;
    bool busy;   /* a strand is at work on it */
    bool doomed; /* it is to be aborted when that is done */
    uint64_t used_ns;
    _Atomic bool cancel;

    gn_txn *txn; /* from here on the strand's that is at work; NULL: not begun, or ended */
    gn_served_scan *scans;
    uint32_t n_scans;
    gn_served_mark *marks;
    uint32_t n_marks;
} gn_served_part;

/* ---- part_serve.c ---- runs a request on a part that has begun; the answer's body and its code */
gn_code gn_part_serve(gn_served_part *part, gn_part_request *request, gn_account *account, gn_buf *body,
                      gn_part_answer *answer, gn_error *err);
void gn_served_part_free(gn_served_part *part); /* aborts */

#endif
