/* What answers an operator's requests (net/admin.h). Each command writes one JSON document, on a strand. */
#ifndef GN_CLUSTER_ADMIN_PRIVATE_H
#define GN_CLUSTER_ADMIN_PRIVATE_H

#include "cluster/cluster_private.h"
#include "cluster/json_private.h"
#include "net/admin.h"

typedef struct gn_admin_job {
    gn_cluster *cluster;
    const gn_admin_request *request;
    gn_arena *arena;
    gn_json_writer *json;
} gn_admin_job;

/* ---- arguments ---- GN_INVALID_PARAMETER, in words for the operator */
gn_code gn_admin_number(const gn_admin_job *job, unsigned arg, const char *what, uint64_t *out, gn_error *err);

/* ---- other nodes ---- */
typedef struct gn_admin_ask {
    gn_rpc_call call;
    gn_event event;
    gn_buf request;
    gn_code code;
} gn_admin_ask;
/* Asks; wait with gn_admin_await before the memory goes. Any number at a time. */
void gn_admin_send(gn_cluster *cluster, gn_admin_ask *ask, const gn_admin_request *request, uint64_t deadline_ns);
/* Then ask->call.response has the document, or ask->call.error the reason. */
gn_code gn_admin_await(gn_admin_ask *ask);
void gn_admin_ask_close(gn_admin_ask *ask);

/* ---- admin_node.c ---- */
gn_code gn_admin_node(gn_admin_job *job, gn_error *err);
gn_code gn_admin_cluster(gn_admin_job *job, gn_error *err);
gn_code gn_admin_metrics(gn_admin_job *job, gn_error *err);
gn_code gn_admin_config(gn_admin_job *job, gn_error *err);

/* ---- admin_change.c ---- */
gn_code gn_admin_transfer(gn_admin_job *job, gn_error *err);
gn_code gn_admin_state(gn_admin_job *job, gn_error *err);
gn_code gn_admin_move(gn_admin_job *job, gn_error *err);
gn_code gn_admin_split(gn_admin_job *job, gn_error *err);
gn_code gn_admin_merge(gn_admin_job *job, gn_error *err);
gn_code gn_admin_rebalance(gn_admin_job *job, gn_error *err);

/* ---- admin_upgrade.c ---- */
void gn_admin_write_versions(gn_json_writer *json, gn_cluster *cluster); /* of this node */
gn_code gn_admin_upgrade(gn_admin_job *job, gn_error *err);

/* ---- admin_recover.c ---- */
gn_code gn_admin_recover(gn_admin_job *job, gn_error *err);

/* ---- admin_check.c ---- */
gn_code gn_admin_check_plan(gn_admin_job *job, gn_error *err);
gn_code gn_admin_checksum(gn_admin_job *job, gn_error *err);
gn_code gn_admin_check_index(gn_admin_job *job, gn_error *err);

#endif
