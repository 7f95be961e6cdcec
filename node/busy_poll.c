#include "node/busy_poll.h"

#include <errno.h>
#include <sched.h>
#include <sys/socket.h>
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

/* -1 with EAGAIN: nothing came in time. */
static ssize_t look(gn_busy_poll *poll, uint64_t until_ns, int fd, void *to, size_t n)
{
    ssize_t got;
    while ((got = recv(fd, to, n, MSG_DONTWAIT)) < 0 && errno == EAGAIN && gn_now_ns(poll->world) < until_ns)
        sched_yield();
    int why = errno;
    atomic_fetch_sub_explicit(&poll->looking, 1, memory_order_relaxed);
    errno = why;
    return got;
}

ssize_t gn_busy_poll_recv(gn_busy_poll *poll, uint64_t *last_wait_ns, int fd, void *to, size_t n)
{
    uint64_t begin = gn_now_ns(poll->world);
    ssize_t got = -1;
    bool looked = gn_busy_poll_take(poll, *last_wait_ns);
    if (looked)
        got = look(poll, begin + poll->limit_ns, fd, to, n);
    if (!looked || (got < 0 && errno == EAGAIN))
        got = recv(fd, to, n, 0);
    int why = errno;
    *last_wait_ns = gn_now_ns(poll->world) - begin;
    errno = why;
    return got;
}
