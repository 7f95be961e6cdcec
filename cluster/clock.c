#include "cluster/clock_private.h"

#include <stdatomic.h>

void gn_clock_init(gn_clock *clock, gn_world *world)
{
    clock->world = world;
    clock->last = 0;
}

void gn_clock_raise(gn_clock *clock, gn_scn scn)
{
    gn_scn last = atomic_load_explicit(&clock->last, memory_order_relaxed);
    while (last < scn && !atomic_compare_exchange_weak(&clock->last, &last, scn))
        ;
}

gn_scn gn_clock_next(gn_clock *clock, uint32_t n, gn_scn above)
{
    gn_scn now = gn_wall_us(clock->world) / 1000 << GN_SCN_COUNTER_BITS;
    gn_scn last = atomic_load_explicit(&clock->last, memory_order_relaxed), first;
    do {
        first = (last > above ? last : above) + 1;
        if (first < now)
            first = now;
    } while (!atomic_compare_exchange_weak(&clock->last, &last, first + n - 1));
    return first;
}

static void answer(void *ctx, gn_scn_request *request)
{
    request->done(request, GN_OK, gn_clock_next(ctx, request->n, request->above));
}

gn_scn_source gn_clock_source(gn_clock *clock)
{
    return (gn_scn_source){.ctx = clock, .next = answer};
}
