/* One piece of work for each of several groups, on this strand and on some of a pool's: who is free takes the next. So
 * nobody waits for a strand that has not begun yet, and on a machine that is busy the caller does most itself. */
#ifndef GN_CLUSTER_PARALLEL_PRIVATE_H
#define GN_CLUSTER_PARALLEL_PRIVATE_H

#include "cluster/pool_private.h"

enum { GN_PARALLEL_HELPERS = 15 }; /* at most, for one piece of work */

/* Runs work(ctx, 0) ... work(ctx, n - 1), each once, and returns when all have. From a strand. */
void gn_parallel(gn_world *world, gn_pool *pool, uint32_t n, void (*work)(void *ctx, uint32_t i), void *ctx);

#endif
