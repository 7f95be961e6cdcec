/* Waiting for a client's next message without going to sleep at once. Waking a sleeping processor takes longer than a
 * short statement does, so the statements of a client that asks again at once are waited for by looking (as Linux does
 * below the socket for network cards, SO_BUSY_POLL, which loopback does not have).
 *
 * A wait looks only if the connection's last one was short, so clients that think cost nothing, and a connection that
 * has gone quiet costs the limit once. At most one thread for two processors looks at a time. It gives its processor
 * to any thread that can run there. One object for all connections; safe from any thread. */
#ifndef GN_NODE_BUSY_POLL_H
#define GN_NODE_BUSY_POLL_H

#include "base/world.h"

#include <stdatomic.h>

typedef struct gn_busy_poll {
    gn_world *world;
    uint64_t limit_ns; /* of looking, for one wait; 0: sleep at once */
    unsigned at_most;  /* threads that may look at a time */
    _Atomic unsigned looking;
} gn_busy_poll;

/* limit_us: 0 is never; nor is there any looking on a machine with one processor. */
void gn_busy_poll_init(gn_busy_poll *poll, gn_world *world, uint64_t limit_us);

/* Whether a connection whose last wait took so long may be looked for now. If so the thread is counted as looking until
 * it gives that back. */
bool gn_busy_poll_take(gn_busy_poll *poll, uint64_t last_wait_ns);
void gn_busy_poll_give_back(gn_busy_poll *poll);

#endif
