/* What is left of a two-phase commit when its client has been answered, or its coordinator is gone: telling groups the
 * decision, and making one for transactions that nobody decides. */
#ifndef GN_CLUSTER_RESOLVER_PRIVATE_H
#define GN_CLUSTER_RESOLVER_PRIVATE_H

#include "shard/txn.h"

struct gn_cluster;
typedef struct gn_resolver gn_resolver;

gn_resolver *gn_resolver_start(struct gn_cluster *cluster); /* NULL: no thread can be had */
/* Does what it knows of while that succeeds, then ends. What is left undone is found again by the groups' next leaders.
 */
void gn_resolver_stop(gn_resolver *resolver); /* NULL is fine */
/* After the groups were closed, which tell it of transactions until then; NULL is fine. */
void gn_resolver_free(gn_resolver *resolver);

/* A transaction that this node commits over several groups, from before it prepares until it is decided: others ask
 * whether somebody is at it. Its id tells which node. */
typedef struct gn_coordinating {
    struct gn_coordinating *next, *prev;
    uint64_t txn_id;
} gn_coordinating;
void gn_resolver_coordinate(gn_resolver *resolver, gn_coordinating *txn); /* gives it its id */
void gn_resolver_coordinated(gn_resolver *resolver, gn_coordinating *txn);

/* groups[0] has decided; the others are told, then it may forget. Any thread, does not block. */
void gn_resolver_finish(gn_resolver *resolver, uint64_t txn_id, const uint64_t *groups, uint32_t n, bool commit,
                        gn_scn scn);
/* As gn_shard_options wants it: ctx is the resolver's cluster. */
void gn_resolver_unresolved(void *cluster, gn_shard *shard, uint64_t txn_id, uint64_t primary_group, uint64_t age_ns);
void gn_resolver_serve(struct gn_cluster *cluster); /* answers other nodes */

#endif
