/* A part on another node, from inside. One request at a time: whoever wants to send the next waits for the one that is
 * under way, and hands its answer to whom it is for. */
#ifndef GN_CLUSTER_PART_REMOTE_PRIVATE_H
#define GN_CLUSTER_PART_REMOTE_PRIVATE_H

#include "cluster/part_wire_private.h"
#include "cluster/parts_private.h"

typedef struct gn_remote_mark {
    struct gn_remote_mark *next;
    uint64_t id;
    uint64_t batch; /* the gathering of writes that it lies in, */
    size_t at;      /* behind so many bytes */
    uint32_t n_writes;
} gn_remote_mark;

/* The same request to another replica: the first good answer counts. */
typedef struct gn_remote_hedge gn_remote_hedge;
typedef enum gn_remote_stage { GN_REMOTE_ALONE, GN_REMOTE_HEDGED, GN_REMOTE_ENDED } gn_remote_stage;

struct gn_remote_part {
    gn_cluster *cluster;
    uint64_t group_id;
    gn_txn_options options;
    bool established; /* something has come back from it */
    bool ended;
    bool has_writes; /* there */
    gn_code lost;    /* it is; */
    gn_error why;
    gn_code late; /* of writes that were sent ahead: the next call gives it */
    gn_error late_error;

    gn_buf writes; /* that have gathered */
    uint64_t batch;
    uint32_t n_writes;
    uint64_t table_id, table_version, table_epoch; /* that the next row in `writes` would be taken for */
    gn_buf row;                                    /* scratch */
    gn_buf closed;                                 /* scans that need not be kept there */
    gn_remote_mark *marks;
    uint64_t last_mark;
    uint32_t last_scan;
    gn_remote_scan *scans;

    bool under_way;
    bool hedgeable; /* it only reads, and nothing is there yet */
    gn_part_action action;
    gn_remote_scan *for_scan; /* whose rows the answer brings; NULL: nobody's */
    gn_code start_code;       /* of a prepare that could not be sent */
    gn_error start_error;
    gn_buf request;
    gn_rpc_call call;
    gn_event done;
    gn_code transport;
    _Atomic int stage;                        /* a gn_remote_stage, of `call` */
    gn_remote_hedge *hedge;                   /* while one is under way */
    uint64_t asked_ns, answered_ns, hedge_ns; /* when `call` went, came, and should have come */
    uint32_t hedges;
    unsigned tries;
    uint64_t begun_ns; /* the first of them */
    uint64_t bytes;    /* that came */
    bool canceled;

    /* for gn_parts; the first three change under its lock */
    uint64_t number;
    gn_node_id node;
    bool sent; /* `node` may have it */
    _Atomic uint64_t used_ns;
    gn_remote_part *next, *prev;
};

struct gn_remote_scan {
    gn_remote_part *part; /* NULL: it has ended */
    gn_remote_scan *next, *prev;
    uint32_t id;
    bool vector, there; /* there: its node has it */
    bool fragment;      /* of a vector scan */
    gn_type *types;
    uint32_t n_types;
    bool waiting, ready, ended; /* its rows are asked for; are here; no more come after them */
    gn_buf packed;
    gn_reader body;
    gn_code code;
    gn_error error;
    uint64_t limit_hint, given;
    gn_vector_scan_stats stats;
};

/* Begins the request in part->request, whose body the caller appends; the one under way is waited for. with_writes:
 * what has gathered goes along. */
gn_code gn_remote_request(gn_remote_part *part, gn_part_action action, bool with_writes, gn_error *err);
gn_code gn_remote_send(gn_remote_part *part, gn_remote_scan *for_scan, gn_error *err);
/* Waits for the answer to what is under way and puts it where it belongs. */
void gn_remote_finish(gn_remote_part *part);
/* ---- part_hedge.c ---- */
void gn_remote_hedge_plan(gn_remote_part *part); /* before its request goes */
void gn_remote_hedge_start(gn_remote_part *part);
/* What is to be waited for next. After it: false if something else is, now. */
gn_event *gn_remote_next_event(gn_remote_part *part);
bool gn_remote_is_over(gn_remote_part *part);
void gn_remote_hedge_cancel(gn_remote_part *part);
/* Of `call`, which has ended: whoever waits hears of it. The last to touch the part. */
void gn_remote_call_ended(gn_remote_part *part);

/* Scans cannot go on. */
void gn_remote_scans_end(gn_remote_part *part);

#endif
