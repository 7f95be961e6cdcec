#include "tests/raft/alone.h"

#include "base/memory.h"
#include "tests/base/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>

void alone_set_up(alone *a)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(a->dir, sizeof a->dir, "%s/gnomon-raft-XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(a->dir));
    a->world = gn_world_real_create(&(gn_world_options){.threads = 2, .node_id = 1});
    recorder_init(&a->rec, a->world);
}

void alone_tear_down(alone *a)
{
    char command[300];
    recorder_close(&a->rec);
    gn_world_real_destroy(a->world);
    snprintf(command, sizeof command, "rm -rf '%s'", a->dir);
    assert_int_equal(system(command), 0);
}

static void on_done(gn_raft_request *request, gn_code code)
{
    call *c = GN_CONTAINER(request, call, request);
    c->code = code;
    gn_event_signal(&c->done);
}

void call_prepare(call *c, gn_world *world, const char *command)
{
    *c = (call){.request = {.done = on_done, .command = gn_bytes_str(command)}};
    gn_event_init(&c->done, world);
}

gn_code call_wait(call *c, gn_world *world)
{
    assert_int_equal(gn_event_wait(&c->done, gn_now_ns(world) + UINT64_C(120000000000)), GN_OK);
    return c->code;
}

gn_code call_submit(gn_world *world, gn_raft_group *group, const char *command)
{
    call c;
    call_prepare(&c, world, command);
    gn_raft_submit(group, &c.request);
    return call_wait(&c, world);
}
