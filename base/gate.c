#include "base/gate.h"

#include "base/assert.h"

struct gn_gate_waiter {
    struct gn_gate_waiter *next;
    gn_event event;
};

void gn_gate_init(gn_gate *gate, gn_world *world)
{
    *gate = (gn_gate){.world = world};
    pthread_mutex_init(&gate->lock, NULL);
}

void gn_gate_close(gn_gate *gate)
{
    GN_ASSERT(!gate->taken);
    pthread_mutex_destroy(&gate->lock);
}

void gn_gate_enter(gn_gate *gate)
{
    struct gn_gate_waiter waiter = {0};
    pthread_mutex_lock(&gate->lock);
    bool wait = gate->taken;
    gate->taken = true;
    if (wait) {
        gn_event_init(&waiter.event, gate->world);
        if (gate->last)
            gate->last->next = &waiter;
        else
            gate->first = &waiter;
        gate->last = &waiter;
    }
    pthread_mutex_unlock(&gate->lock);
    if (wait)
        gn_event_wait(&waiter.event, UINT64_MAX); /* handed over: it stays taken */
}

void gn_gate_leave(gn_gate *gate)
{
    pthread_mutex_lock(&gate->lock);
    struct gn_gate_waiter *next = gate->first;
    if (next) {
        gate->first = next->next;
        if (!gate->first)
            gate->last = NULL;
        gn_event_signal(&next->event);
    } else {
        gate->taken = false;
    }
    pthread_mutex_unlock(&gate->lock);
}
