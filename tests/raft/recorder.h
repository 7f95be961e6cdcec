/* A state machine for tests: it keeps all commands in order, and its snapshot's manifest is all of them. It applies on
 * a queue of its own, as shard/ does. */
#ifndef GN_TESTS_RAFT_RECORDER_H
#define GN_TESTS_RAFT_RECORDER_H

#include "raft/host.h"

#include <pthread.h>

typedef struct recorder {
    gn_raft_fsm fsm; /* give this to gn_raft_group_open */
    gn_queue *queue;
    gn_task task;
    gn_raft_apply *apply;
    gn_raft_group *snapshot_group;
    gn_task snapshot_task;
    pthread_mutex_t lock; /* the test's thread looks in */
    char **commands;
    size_t n, cap;
    uint64_t applied, durable;
    size_t batches, snapshots, installs;
    bool leads;
    uint64_t term;
    bool hold; /* keep the next batch until recorder_release */
    bool held;
    bool hold_snapshot, held_snapshot;
    bool hold_install, held_install;
    unsigned put_off; /* so many installs are answered with "not now" */
    size_t were_put_off;
    gn_code apply_code, snapshot_code, install_code;
    /* Sees each entry applied, and each leadership begun (entry NULL). May be NULL. */
    void (*watch)(void *ctx, const gn_raft_entry *entry, uint64_t term);
    void *watch_ctx;
} recorder;

void recorder_init(recorder *r, gn_world *world);
void recorder_close(recorder *r);
void recorder_release(recorder *r);
void recorder_release_snapshot(recorder *r);
void recorder_release_install(recorder *r);
size_t recorder_count(recorder *r);
/* The i-th command, copied; caller frees. */
char *recorder_command(recorder *r, size_t i);

#endif
