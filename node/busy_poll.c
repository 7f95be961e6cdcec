#include "node/busy_poll.h"

#include <unistd.h>

/* A wait that slept has the wake-up in it, on both sides; so one that looking would have seen the end of may measure
 * some times its limit. */
enum { WORTH_IT = 3 };

void gn_busy_poll_init(gn_busy_poll *poll, gn_world *world, uint64_t limit_us)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    poll->world = world;
    poll->limit_ns = limit_us * 1000;
    poll->at_most = processors > 1 ? (unsigned)(processors / 2) : 0;
    atomic_init(&poll->looking, 0);
}

bool gn_busy_poll_take(gn_busy_poll *poll, uint64_t last_wait_ns)
{
    if (last_wait_ns >= WORTH_IT * poll->limit_ns)
        return false;
    if (atomic_fetch_add_explicit(&poll->looking, 1, memory_order_relaxed) < poll->at_most)
        return true;
    atomic_fetch_sub_explicit(&poll->looking, 1, memory_order_relaxed);
    return false;
}

void gn_busy_poll_give_back(gn_busy_poll *poll)
{
    atomic_fetch_sub_explicit(&poll->looking, 1, memory_order_relaxed);
}
