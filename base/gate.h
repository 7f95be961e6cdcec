/* A lock that a strand may hold while it waits for something else: who finds it taken waits for an event. */
#ifndef GN_BASE_GATE_H
#define GN_BASE_GATE_H

#include "base/world.h"

#include <pthread.h>

typedef struct gn_gate {
    gn_world *world;
    pthread_mutex_t lock;
    bool taken;
    struct gn_gate_waiter *first, *last;
} gn_gate;

void gn_gate_init(gn_gate *gate, gn_world *world);
void gn_gate_close(gn_gate *gate);
void gn_gate_enter(gn_gate *gate); /* from a strand or the main thread; first come, first served */
void gn_gate_leave(gn_gate *gate);

#endif
