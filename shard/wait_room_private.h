/* Where strands wait until something that is guarded by a lock has changed. They wake up in between to see whether they
 * are still wanted, so cancelling needs no way to find them. */
#ifndef GN_SHARD_WAIT_ROOM_PRIVATE_H
#define GN_SHARD_WAIT_ROOM_PRIVATE_H

#include "shard/shard.h"

#include <pthread.h>

typedef struct gn_waiter {
    struct gn_waiter *next;
    gn_event event;
    uint64_t target;
    bool waits;
} gn_waiter;

typedef struct gn_wait_room {
    gn_world *world;
    pthread_mutex_t lock;
    gn_waiter *first;
} gn_wait_room;

/* How long a strand is ready to wait. */
typedef struct gn_patience {
    uint64_t deadline_ns; /* 0 = none */
    const _Atomic bool *cancel;
} gn_patience;

void gn_wait_room_init(gn_wait_room *room, gn_world *world);
void gn_wait_room_close(gn_wait_room *room);
/* Under the lock; leaves it, and takes it again. Returns after a wake-up or a while. GN_CANCELED, GN_TIMEOUT. */
gn_code gn_wait_room_wait(gn_wait_room *room, uint64_t target, const gn_patience *patience);
void gn_wait_room_wake(gn_wait_room *room, uint64_t up_to); /* under the lock: those with target <= up_to */

#endif
