/* A clock as a database of several groups has it, in memory. */
#ifndef GN_TESTS_SHARD_TEST_CLOCK_H
#define GN_TESTS_SHARD_TEST_CLOCK_H

#include "shard/shard.h"

#include <stdatomic.h>

typedef struct test_clock {
    gn_scn_source source;
    _Atomic gn_scn last;
    _Atomic bool fails;
    _Atomic uint64_t requests;
} test_clock;

static void test_clock_next(void *ctx, gn_scn_request *request)
{
    test_clock *c = ctx;
    c->requests++;
    gn_scn first = atomic_fetch_add(&c->last, request->n) + 1;
    request->done(request, c->fails ? GN_TIMEOUT : GN_OK, c->fails ? 0 : first);
}

static inline void test_clock_init(test_clock *c, gn_scn from)
{
    *c = (test_clock){.last = from};
    c->source = (gn_scn_source){.ctx = c, .next = test_clock_next};
}

static inline gn_scn test_clock_scn(test_clock *c)
{
    return atomic_fetch_add(&c->last, 1) + 1;
}

#endif
