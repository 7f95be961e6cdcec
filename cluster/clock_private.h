/* The database's clock: SCNs in order, to whoever asks. One node's own: the next is above all that were handed out and
 * not below the wall clock. */
#ifndef GN_CLUSTER_CLOCK_PRIVATE_H
#define GN_CLUSTER_CLOCK_PRIVATE_H

#include "shard/shard.h"

typedef struct gn_clock {
    gn_world *world;
    _Atomic gn_scn last; /* handed out */
} gn_clock;

void gn_clock_init(gn_clock *clock, gn_world *world);
/* What groups hold already was handed out, too. */
void gn_clock_raise(gn_clock *clock, gn_scn scn);
gn_scn gn_clock_next(gn_clock *clock, uint32_t n, gn_scn above); /* the first of n; any thread */
gn_scn_source gn_clock_source(gn_clock *clock);

#endif
