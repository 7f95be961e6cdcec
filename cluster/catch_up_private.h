/* Before groups are read at one SCN of the clock, this node's replicas of them catch up with their leaders: one request
 * for each node that leads some of them, all at the same time, and none for those that are led here. The request says
 * how far this node is: its term spares the leader a round of its own, and who has applied everything need not be told.
 */
#ifndef GN_CLUSTER_CATCH_UP_PRIVATE_H
#define GN_CLUSTER_CATCH_UP_PRIVATE_H

#include "cluster/cluster_private.h"

typedef struct gn_catching_up {
    uint64_t group;
    gn_shard *shard; /* held; NULL: not of interest */
    bool done;       /* false: this way it did not work, which says nothing: gn_txn_begin shall try for itself */
} gn_catching_up;

/* The SCN was handed out before. From a strand. */
void gn_groups_catch_up(gn_cluster *cluster, gn_catching_up *all, uint32_t n, const _Atomic bool *cancel);
void gn_catch_up_serve(gn_cluster *cluster); /* answers other nodes */

/* ---- the wire ---- big endian
 *   request   version (1)  count (4)  (group (8)  its term here (8)  applied index here (8))*
 *   answer    version (1)  count (4)  (ok (1)  applied index (8))*      in the order of the request */
enum { GN_CATCH_UP_GROUPS = 4096 /* in one request */ };
typedef struct gn_catch_up_item {
    uint64_t group, term, applied;
} gn_catch_up_item;
void gn_catch_up_request_write(gn_buf *out, const gn_catch_up_item *items, uint32_t n);
bool gn_catch_up_request_read(gn_bytes bytes, gn_reader *items, uint32_t *n);
gn_catch_up_item gn_catch_up_item_read(gn_reader *items);
bool gn_catch_up_answer_read(gn_bytes bytes, uint32_t n, gn_reader *items);

#endif
