#include "tests/raft/cluster.h"

#include "base/memory.h"
#include "tests/base/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void on_failed(void *ctx, gn_code code, const char *message)
{
    (void)code, (void)message;
    ((cluster_node *)ctx)->failures++;
}

static gn_code open_node(cluster *c, unsigned id, unsigned members, uint64_t applied)
{
    cluster_node *node = &c->node[id];
    gn_raft_member all[CLUSTER_NODES];
    gn_error err = {0};
    gn_raft_options options = c->options;
    options.log_dir = "raft";
    options.failed = on_failed;
    options.failed_ctx = node;
    gn_code code = gn_raft_host_open(node->world, &options, &node->host, &err);
    if (code != GN_OK)
        return code;
    for (unsigned i = 0; i < members; i++)
        all[i] = (gn_raft_member){i + 1, GN_RAFT_VOTER};
    code = gn_raft_group_open(node->host, CLUSTER_GROUP, &node->recorder->fsm, applied, all,
                              id <= members ? members : 0, &node->group, &err);
    if (code != GN_OK) {
        gn_sim_trace(c->sim, "node %u does not open: %s", id, err.message);
        gn_raft_host_close(node->host);
        node->host = NULL;
    }
    return code;
}

static void (*next_watch)(void *node, const gn_raft_entry *entry, uint64_t term);

void cluster_watch(void (*watch)(void *node, const gn_raft_entry *entry, uint64_t term))
{
    next_watch = watch;
}

static recorder *new_recorder(cluster *c, unsigned id)
{
    recorder *r = gn_xcalloc(1, sizeof *r);
    recorder_init(r, c->node[id].world);
    r->watch = c->watch;
    r->watch_ctx = &c->node[id];
    c->node[id].id = id;
    return r;
}

void cluster_start(cluster *c, uint64_t seed, unsigned n, unsigned members, const gn_raft_options *options)
{
    cluster_start_with(c, seed, n, members, 0, options);
}

void cluster_start_with(cluster *c, uint64_t seed, unsigned n, unsigned members, unsigned puppets,
                        const gn_raft_options *options)
{
    *c = (cluster){.sim = gn_sim_create(seed, n), .n = n, .watch = next_watch};
    next_watch = NULL;
    if (options)
        c->options = *options;
    for (unsigned id = 1; id <= n - puppets; id++) {
        c->node[id].world = gn_sim_world(c->sim, id);
        c->node[id].recorder = new_recorder(c, id);
        assert_int_equal(open_node(c, id, members, 0), GN_OK);
    }
}

static void close_node(cluster_node *node)
{
    if (node->host) {
        recorder_release(node->recorder);
        recorder_release_snapshot(node->recorder);
        recorder_release_install(node->recorder);
        gn_raft_group_close(node->group);
        gn_raft_host_close(node->host);
    }
    node->host = NULL;
    node->group = NULL;
    if (node->recorder) {
        recorder_close(node->recorder);
        free(node->recorder);
    }
    node->recorder = NULL;
}

/* What the state machine had, kept aside: its ghost may go on. */
static recorder *keep(const recorder *r)
{
    recorder *copy = gn_xcalloc(1, sizeof *copy);
    copy->applied = r->applied;
    copy->n = copy->cap = r->n;
    copy->commands = gn_xcalloc(r->n + 1, sizeof *copy->commands);
    for (size_t i = 0; i < r->n; i++)
        copy->commands[i] = gn_xstrdup(r->commands[i]);
    return copy;
}

static void drop(recorder *kept)
{
    if (!kept)
        return;
    for (size_t i = 0; i < kept->n; i++)
        free(kept->commands[i]);
    free(kept->commands);
    free(kept);
}

void cluster_stop(cluster *c)
{
    for (unsigned id = 1; id <= c->n; id++) {
        close_node(&c->node[id]);
        drop(c->node[id].saved);
    }
    gn_sim_destroy(c->sim);
}

void cluster_crash(cluster *c, unsigned id, gn_sim_tear tear)
{
    c->node[id].saved = keep(c->node[id].recorder);
    c->node[id].recorder->watch = NULL;
    gn_sim_pause(c->sim, id, false); /* a paused ghost could not be closed */
    gn_sim_crash(c->sim, id, tear);
    close_node(&c->node[id]);
    c->node[id].world = NULL;
}

gn_code cluster_try_restart(cluster *c, unsigned id)
{
    cluster_node *node = &c->node[id];
    gn_sim_pause(c->sim, id, false);
    node->world = gn_sim_restart(c->sim, id);
    node->recorder = new_recorder(c, id);
    recorder *old = node->saved;
    node->saved = NULL;
    node->recorder->commands = old->commands;
    node->recorder->n = old->n;
    node->recorder->cap = old->cap;
    node->recorder->applied = node->recorder->durable = old->applied;
    free(old);
    return open_node(c, id, 0, node->recorder->applied);
}

void cluster_restart(cluster *c, unsigned id)
{
    assert_int_equal(cluster_try_restart(c, id), GN_OK);
}

gn_raft_status cluster_status(cluster *c, unsigned id)
{
    gn_raft_status status = {0};
    if (c->node[id].group)
        gn_raft_status_get(c->node[id].group, &status);
    return status;
}

static unsigned find_leader(cluster *c)
{
    unsigned leader = 0;
    uint64_t term = 0;
    for (unsigned id = 1; id <= c->n; id++) {
        gn_raft_status status = cluster_status(c, id);
        if (status.can_read && status.term > term) {
            leader = id;
            term = status.term;
        }
    }
    return leader;
}

static bool has_leader(void *ctx)
{
    return find_leader(ctx) != 0;
}

unsigned cluster_leader(cluster *c)
{
    assert_true(gn_sim_run_until(c->sim, has_leader, c, 20 * SECOND));
    return find_leader(c);
}

static bool settled(void *ctx)
{
    cluster *c = ctx;
    unsigned leader = find_leader(c);
    gn_raft_status of_leader = cluster_status(c, leader);
    if (!leader)
        return false;
    for (unsigned i = 0; i < of_leader.n_members; i++) {
        unsigned id = (unsigned)of_leader.members[i].id;
        if (c->node[id].group && !cluster_status(c, id).stopped &&
            cluster_status(c, id).applied_index < of_leader.last_index)
            return false;
    }
    return true;
}

void cluster_settle(cluster *c)
{
    assert_true(gn_sim_run_until(c->sim, settled, c, 60 * SECOND));
}

void cluster_check_equal(cluster *c)
{
    recorder *longest = NULL;
    for (unsigned id = 1; id <= c->n; id++)
        if (c->node[id].recorder && (!longest || c->node[id].recorder->n > longest->n))
            longest = c->node[id].recorder;
    for (unsigned id = 1; id <= c->n; id++)
        for (size_t i = 0; c->node[id].recorder && i < c->node[id].recorder->n; i++)
            assert_string_equal(c->node[id].recorder->commands[i], longest->commands[i]);
}

static void on_done(gn_raft_request *request, gn_code code)
{
    cluster_call *call = GN_CONTAINER(request, cluster_call, request);
    assert_false(call->ended);
    call->code = code;
    call->ended = true;
    gn_event_signal(&call->done);
}

void cluster_prepare(cluster *c, unsigned id, cluster_call *call, const char *command)
{
    *call = (cluster_call){.request = {.done = on_done, .command = gn_bytes_str(command)}};
    gn_event_init(&call->done, c->node[id].world);
}

static bool has_ended(void *ctx)
{
    return ((cluster_call *)ctx)->ended;
}

gn_code cluster_wait(cluster *c, cluster_call *call)
{
    assert_true(gn_sim_run_until(c->sim, has_ended, call, 20 * SECOND));
    return call->code;
}

gn_code cluster_submit(cluster *c, unsigned id, const char *command)
{
    cluster_call call;
    cluster_prepare(c, id, &call, command);
    gn_raft_submit(c->node[id].group, &call.request);
    return cluster_wait(c, &call);
}

void cluster_write(cluster *c, const char *command)
{
    for (int i = 0; i < 100; i++) {
        gn_code code = cluster_submit(c, cluster_leader(c), command);
        if (code == GN_OK)
            return;
        assert_true(code == GN_NOT_LEADER || code == GN_OUTCOME_UNKNOWN || code == GN_UNAVAILABLE);
        gn_sim_run_for(c->sim, 100 * MS);
    }
    fail_msg("nobody acknowledged the write");
}

bool cluster_has(cluster *c, unsigned id, const char *command)
{
    recorder *r = c->node[id].recorder;
    for (size_t i = 0; r && i < r->n; i++)
        if (strcmp(r->commands[i], command) == 0)
            return true;
    return false;
}
