#include "tests/raft/recorder.h"

#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void add(recorder *r, const void *data, size_t len)
{
    if (r->n == r->cap) {
        r->cap = r->cap ? r->cap * 2 : 64;
        r->commands = gn_xrealloc(r->commands, r->cap * sizeof *r->commands);
    }
    char *copy = gn_xmalloc(len + 1);
    memcpy(copy, data, len);
    copy[len] = 0;
    r->commands[r->n++] = copy;
}

static void clear(recorder *r)
{
    for (size_t i = 0; i < r->n; i++)
        free(r->commands[i]);
    r->n = 0;
}

static void run_apply(gn_task *task)
{
    recorder *r = GN_CONTAINER(task, recorder, task);
    gn_raft_apply *apply = r->apply;
    pthread_mutex_lock(&r->lock);
    for (size_t i = 0; i < apply->n; i++) {
        add(r, apply->entries[i].command.data, apply->entries[i].command.len);
        if (r->watch)
            r->watch(r->watch_ctx, &apply->entries[i], 0);
    }
    r->applied = r->durable = apply->last_index;
    r->batches++;
    pthread_mutex_unlock(&r->lock);
    for (size_t i = 0; i < apply->n; i++)
        if (apply->entries[i].request)
            gn_raft_request_done(apply->entries[i].request, GN_OK);
    gn_raft_apply_done(apply, r->apply_code);
}

static void on_apply(void *ctx, gn_raft_apply *apply)
{
    recorder *r = ctx;
    r->apply = apply;
    r->task.run = run_apply;
    pthread_mutex_lock(&r->lock);
    bool hold = r->hold;
    r->held = hold;
    pthread_mutex_unlock(&r->lock);
    if (!hold)
        gn_queue_post(r->queue, &r->task);
}

void recorder_release(recorder *r)
{
    pthread_mutex_lock(&r->lock);
    bool held = r->held;
    r->hold = r->held = false;
    pthread_mutex_unlock(&r->lock);
    if (held)
        gn_queue_post(r->queue, &r->task);
}

static uint64_t on_durable_index(void *ctx)
{
    recorder *r = ctx;
    pthread_mutex_lock(&r->lock);
    uint64_t durable = r->durable;
    pthread_mutex_unlock(&r->lock);
    return durable;
}

/* The manifest: each command with its NUL. */
static void run_snapshot(gn_task *task)
{
    recorder *r = GN_CONTAINER(task, recorder, snapshot_task);
    gn_raft_snapshot snapshot = {0};
    pthread_mutex_lock(&r->lock);
    snapshot.index = r->applied;
    for (size_t i = 0; i < r->n; i++)
        snapshot.len += strlen(r->commands[i]) + 1;
    char *out = snapshot.data = gn_xmalloc(snapshot.len + 1);
    for (size_t i = 0; i < r->n; i++)
        out = stpcpy(out, r->commands[i]) + 1;
    r->snapshots++;
    pthread_mutex_unlock(&r->lock);
    if (r->snapshot_code != GN_OK)
        free(snapshot.data);
    gn_raft_snapshot_taken(r->snapshot_group, r->snapshot_code, &snapshot);
}

static void on_snapshot_take(void *ctx, gn_raft_group *group)
{
    recorder *r = ctx;
    r->snapshot_group = group;
    r->snapshot_task.run = run_snapshot;
    pthread_mutex_lock(&r->lock);
    bool hold = r->hold_snapshot;
    r->held_snapshot = hold;
    pthread_mutex_unlock(&r->lock);
    if (!hold)
        gn_queue_post(r->queue, &r->snapshot_task);
}

void recorder_release_snapshot(recorder *r)
{
    pthread_mutex_lock(&r->lock);
    bool held = r->held_snapshot;
    r->hold_snapshot = r->held_snapshot = false;
    pthread_mutex_unlock(&r->lock);
    if (held)
        gn_queue_post(r->queue, &r->snapshot_task);
}

static void on_snapshot_install(void *ctx, gn_raft_group *group, const void *data, size_t len, uint64_t index)
{
    recorder *r = ctx;
    pthread_mutex_lock(&r->lock);
    if (r->put_off > 0) {
        r->put_off--;
        r->were_put_off++;
        pthread_mutex_unlock(&r->lock);
        gn_raft_snapshot_installed(group, GN_UNAVAILABLE);
        return;
    }
    clear(r);
    for (const char *at = data, *end = at + len; at < end; at += strlen(at) + 1)
        add(r, at, strlen(at));
    r->applied = r->durable = index;
    r->installs++;
    r->snapshot_group = group;
    bool hold = r->hold_install;
    r->held_install = hold;
    pthread_mutex_unlock(&r->lock);
    if (!hold)
        gn_raft_snapshot_installed(group, r->install_code);
}

void recorder_release_install(recorder *r)
{
    pthread_mutex_lock(&r->lock);
    bool held = r->held_install;
    r->hold_install = r->held_install = false;
    pthread_mutex_unlock(&r->lock);
    if (held)
        gn_raft_snapshot_installed(r->snapshot_group, r->install_code);
}

static void on_leadership(void *ctx, bool leads, uint64_t term)
{
    recorder *r = ctx;
    pthread_mutex_lock(&r->lock);
    r->leads = leads;
    r->term = term;
    if (leads && r->watch)
        r->watch(r->watch_ctx, NULL, term);
    pthread_mutex_unlock(&r->lock);
}

void recorder_init(recorder *r, gn_world *world)
{
    *r = (recorder){.queue = gn_queue_create(world, "recorder")};
    r->fsm = (gn_raft_fsm){.ctx = r,
                           .apply = on_apply,
                           .durable_index = on_durable_index,
                           .snapshot_take = on_snapshot_take,
                           .snapshot_install = on_snapshot_install,
                           .leadership = on_leadership};
    pthread_mutex_init(&r->lock, NULL);
}

void recorder_close(recorder *r)
{
    gn_queue_destroy(r->queue);
    clear(r);
    free(r->commands);
    pthread_mutex_destroy(&r->lock);
}

size_t recorder_count(recorder *r)
{
    pthread_mutex_lock(&r->lock);
    size_t n = r->n;
    pthread_mutex_unlock(&r->lock);
    return n;
}

char *recorder_command(recorder *r, size_t i)
{
    pthread_mutex_lock(&r->lock);
    char *copy = gn_xstrdup(i < r->n ? r->commands[i] : "");
    pthread_mutex_unlock(&r->lock);
    return copy;
}
