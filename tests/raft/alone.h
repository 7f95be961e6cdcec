/* One host with a log on the machine's own disk, under a directory of the test's, and requests that are waited for. */
#ifndef GN_TESTS_RAFT_ALONE_H
#define GN_TESTS_RAFT_ALONE_H

#include "tests/raft/recorder.h"

typedef struct alone {
    gn_world *world; /* real, of two threads */
    char dir[256];
    recorder rec;
} alone;

void alone_set_up(alone *a);
void alone_tear_down(alone *a); /* the host is closed */

/* A request under way; must stay until it is done. */
typedef struct call {
    gn_raft_request request;
    gn_event done;
    gn_code code;
} call;

void call_prepare(call *c, gn_world *world, const char *command);
gn_code call_wait(call *c, gn_world *world);
gn_code call_submit(gn_world *world, gn_raft_group *group, const char *command); /* and waits */

#endif
