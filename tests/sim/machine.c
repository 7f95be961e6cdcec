#include "tests/sim/machine.h"

#include <stdlib.h>

struct machine {
    program *program;
    unsigned group;
    gn_queue *queue;
    machine_state state, durable;
    gn_raft_apply *apply;
    gn_task apply_task;
    gn_timer slow;
    gn_task close_task;
    gn_event closed;
    gn_task snapshot_task;
    gn_raft_group *raft_group;
    machine_state incoming;
};

static check *check_of(machine *m)
{
    return m->program->fleet->checks[m->group];
}

static bool lives(const machine *m)
{
    return !m->program->dead;
}

static bool chance(machine *m, unsigned one_in)
{
    return gn_random_u64(m->program->world) % one_in == 0;
}

static void flush(machine *m)
{
    m->durable = m->state;
    if (lives(m))
        m->program->fleet->nodes[m->program->node - 1].durable[m->group] = m->state;
}

/* ---- applying ---- */

static void note_applied(machine *m, const gn_raft_entry *entry)
{
    uint64_t id;
    if (!lives(m) || entry->command.len < sizeof id)
        return;
    memcpy(&id, entry->command.data, sizeof id);
    if (id < FLEET_COMMANDS)
        m->program->fleet->applied[id] = true;
}

static void apply_entry(machine *m, const gn_raft_entry *entry)
{
    canary planted = m->program->fleet->options.canary;
    uint64_t hash = check_hash(entry->index, entry->command);
    if (planted == CANARY_WRONG_APPLY && chance(m, 50))
        hash++;
    if (!(planted == CANARY_SKIPS && chance(m, 50))) {
        m->state.hash = check_hash(m->state.hash, gn_bytes_of(&hash, sizeof hash));
        m->state.count++;
        note_applied(m, entry);
    }
    m->state.applied = entry->index; /* so that a read that is answered from now on may count on it */
    if (entry->request)
        gn_raft_request_done(entry->request, GN_OK);
}

static void apply_now(machine *m)
{
    gn_raft_apply *apply = m->apply;
    m->apply = NULL;
    if (lives(m))
        check_applied(check_of(m), m->program->node, m->state.applied + 1, apply->last_index, apply->entries, apply->n);
    for (size_t i = 0; i < apply->n; i++)
        apply_entry(m, &apply->entries[i]);
    m->state.applied = apply->last_index;
    if (lives(m))
        check_state(check_of(m), m->program->node, m->state.applied, m->state.hash);
    if (chance(m, 3))
        flush(m);
    gn_raft_apply_done(apply, GN_OK);
}

static void apply_late(gn_timer *timer)
{
    apply_now(GN_CONTAINER(timer, machine, slow));
}

static void apply_task(gn_task *task)
{
    machine *m = GN_CONTAINER(task, machine, apply_task);
    if (chance(m, 20))
        gn_timer_start(&m->slow, gn_now_ns(m->program->world) + gn_random_u64(m->program->world) % (20 * MS));
    else
        apply_now(m);
}

static void on_apply(void *ctx, gn_raft_apply *apply)
{
    machine *m = ctx;
    GN_ASSERT(!m->apply);
    m->apply = apply;
    m->apply_task.run = apply_task;
    gn_queue_post(m->queue, &m->apply_task);
}

static uint64_t on_durable_index(void *ctx)
{
    return ((machine *)ctx)->durable.applied;
}

/* ---- snapshots ---- */

static void take_task(gn_task *task)
{
    machine *m = GN_CONTAINER(task, machine, snapshot_task);
    if (chance(m, 20)) {
        gn_raft_snapshot_taken(m->raft_group, GN_RESOURCES, NULL);
        return;
    }
    gn_raft_snapshot snapshot = {.len = sizeof m->state, .index = m->state.applied};
    snapshot.data = malloc(sizeof m->state);
    GN_ASSERT(snapshot.data);
    memcpy(snapshot.data, &m->state, sizeof m->state);
    m->program->fleet->counts.snapshots++;
    gn_raft_snapshot_taken(m->raft_group, GN_OK, &snapshot);
}

static void on_snapshot_take(void *ctx, gn_raft_group *group)
{
    machine *m = ctx;
    m->raft_group = group;
    m->snapshot_task.run = take_task;
    gn_queue_post(m->queue, &m->snapshot_task);
}

static void install_task(gn_task *task)
{
    machine *m = GN_CONTAINER(task, machine, snapshot_task);
    GN_ASSERT(!m->apply);
    m->state = m->incoming;
    flush(m);
    if (lives(m)) {
        m->program->fleet->counts.installs++;
        check_state(check_of(m), m->program->node, m->state.applied, m->state.hash);
    }
    gn_raft_snapshot_installed(m->raft_group, GN_OK);
}

static void on_snapshot_install(void *ctx, gn_raft_group *group, const void *data, size_t len, uint64_t index)
{
    machine *m = ctx;
    GN_ASSERT(len == sizeof m->incoming);
    memcpy(&m->incoming, data, len);
    if (m->incoming.applied != index)
        check_fail(check_of(m), "a snapshot of entry %llu came as one of %llu", (unsigned long long)m->incoming.applied,
                   (unsigned long long)index);
    m->raft_group = group;
    m->snapshot_task.run = install_task;
    gn_queue_post(m->queue, &m->snapshot_task);
}

static void on_leadership(void *ctx, bool leads, uint64_t term)
{
    machine *m = ctx;
    if (leads && lives(m))
        check_leader(check_of(m), m->program->node, term);
}

/* ---- life ---- */

machine *machine_create(program *p, unsigned group)
{
    machine *m = gn_xcalloc(1, sizeof *m);
    m->program = p;
    m->group = group;
    m->queue = gn_queue_create(p->world, "machine");
    m->state = m->durable = p->fleet->nodes[p->node - 1].durable[group];
    gn_timer_init(&m->slow, m->queue, apply_late);
    return m;
}

static void close_timer(gn_task *task)
{
    machine *m = GN_CONTAINER(task, machine, close_task);
    gn_timer_close(&m->slow);
    gn_event_signal(&m->closed);
}

void machine_destroy(machine *m)
{
    if (!m)
        return;
    GN_ASSERT(!m->apply);
    gn_event_init(&m->closed, m->program->world);
    m->close_task.run = close_timer;
    gn_queue_post(m->queue, &m->close_task);
    gn_event_wait(&m->closed, UINT64_MAX);
    gn_queue_destroy(m->queue);
    free(m);
}

gn_raft_fsm machine_fsm(machine *m)
{
    return (gn_raft_fsm){.ctx = m,
                         .apply = on_apply,
                         .durable_index = on_durable_index,
                         .snapshot_take = on_snapshot_take,
                         .snapshot_install = on_snapshot_install,
                         .leadership = on_leadership};
}

uint64_t machine_applied(const machine *m)
{
    return m->state.applied;
}
