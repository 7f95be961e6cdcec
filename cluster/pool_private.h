/* Strands for work that may block, started as they are needed. Two lanes: ordinary work leaves some strands free, so
 * that what others wait for (a commit, the end of a transaction) is not behind those who wait for it. */
#ifndef GN_CLUSTER_POOL_PRIVATE_H
#define GN_CLUSTER_POOL_PRIVATE_H

#include "base/world.h"

typedef struct gn_pool gn_pool;

typedef struct gn_pool_job {
    void (*run)(struct gn_pool_job *job); /* may free it */
    struct gn_pool_job *next;             /* the pool's from here on */
    bool urgent;
} gn_pool_job;

/* At most max strands, of which ordinary work leaves `reserved`. */
gn_pool *gn_pool_create(gn_world *world, const char *name, uint32_t max, uint32_t reserved);
/* Any thread; does not block. False: no strand can be had, and the job is not taken. */
bool gn_pool_post(gn_pool *pool, gn_pool_job *job, bool urgent);
/* Does what is waiting, then ends. Nobody posts any more. From a strand or the main thread. */
void gn_pool_destroy(gn_pool *pool); /* NULL is fine */

#endif
