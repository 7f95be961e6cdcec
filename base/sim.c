/* The scheduler of the simulated world, and those parts of it that are too small for a file. */
#include "base/sim.h"

#include "base/assert.h"
#include "base/memory.h"
#include "base/sim_private.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define MOST_TASK_NS 3000u              /* virtual time that a task takes, at most */
#define WALL_START_US 1767225600000000u /* 2026-01-01, so that runs are alike on every day */

/* ---- randomness ---- */

static uint64_t splitmix64(uint64_t *state)
{
    uint64_t z = (*state += 0x9E3779B97F4A7C15u);
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

void gn_sim_rng_seed(sim_rng *rng, uint64_t seed)
{
    for (int i = 0; i < 4; i++)
        rng->s[i] = splitmix64(&seed);
}

uint64_t gn_sim_rng_next(sim_rng *rng)
{
    uint64_t *s = rng->s, out = s[1] * 5, t = s[1] << 17;
    out = (out << 7 | out >> 57) * 9;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = s[3] << 45 | s[3] >> 19;
    return out;
}

uint64_t gn_sim_rng_below(sim_rng *rng, uint64_t n)
{
    GN_ASSERT(n > 0);
    return (uint64_t)((unsigned __int128)gn_sim_rng_next(rng) * n >> 64);
}

bool gn_sim_rng_chance(sim_rng *rng, double probability)
{
    return probability > 0 && (double)(gn_sim_rng_next(rng) >> 11) * 0x1p-53 < probability;
}

uint64_t gn_sim_rng_delay(sim_rng *rng, uint64_t min, uint64_t max)
{
    if (min == max)
        return min;
    double u = (double)(gn_sim_rng_next(rng) >> 11) * 0x1p-53;
    return min + (uint64_t)((double)(max - min) * u * u * u);
}

uint64_t gn_sim_random(gn_sim *sim, uint64_t n)
{
    return n ? gn_sim_rng_below(&sim->test_rng, n) : gn_sim_rng_next(&sim->test_rng);
}

bool gn_sim_chance(gn_sim *sim, double probability)
{
    return gn_sim_rng_chance(&sim->test_rng, probability);
}

/* ---- the trace ---- */

void gn_sim_note(gn_sim *sim, uint64_t fact)
{
    uint64_t h = (sim->hash ^ fact) * 0x9E3779B97F4A7C15u;
    sim->hash = h ^ h >> 29;
}

void gn_sim_note_bytes(gn_sim *sim, gn_bytes bytes)
{
    gn_sim_note(sim, bytes.len);
    for (; bytes.len >= 8; bytes.data += 8, bytes.len -= 8) {
        uint64_t word;
        memcpy(&word, bytes.data, 8);
        gn_sim_note(sim, word);
    }
    for (; bytes.len > 0; bytes.data++, bytes.len--)
        gn_sim_note(sim, *bytes.data);
}

uint64_t gn_sim_trace_hash(const gn_sim *sim)
{
    return sim->hash;
}

void gn_sim_trace_to(gn_sim *sim, FILE *out)
{
    sim->trace = out;
}

static void write_line(gn_sim *sim, gn_node_id node, const char *format, va_list args)
{
    fprintf(sim->trace, "%12.6f ", (double)sim->now_ns * 1e-9);
    if (node)
        fprintf(sim->trace, "node %" PRIu64 ": ", node);
    vfprintf(sim->trace, format, args);
    fputc('\n', sim->trace);
}

void gn_sim_trace(gn_sim *sim, const char *format, ...)
{
    if (!sim->trace)
        return;
    va_list args;
    va_start(args, format);
    write_line(sim, 0, format, args);
    va_end(args);
}

void gn_sim_tell(sim_node *node, const char *format, ...)
{
    if (!node->sim->trace)
        return;
    va_list args;
    va_start(args, format);
    write_line(node->sim, node->id, format, args);
    va_end(args);
}

/* ---- what is due: a binary heap ---- */

static bool before(const sim_timed *a, const sim_timed *b)
{
    return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->seq < b->seq;
}

static void heap_place(gn_sim *sim, size_t i, sim_timed *timed)
{
    sim->heap[i] = timed;
    timed->place = i;
}

static void heap_up(gn_sim *sim, size_t i, sim_timed *timed)
{
    while (i > 0 && before(timed, sim->heap[(i - 1) / 2])) {
        heap_place(sim, i, sim->heap[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    heap_place(sim, i, timed);
}

static void heap_down(gn_sim *sim, size_t i, sim_timed *timed)
{
    for (size_t child; (child = 2 * i + 1) < sim->heap_n; i = child) {
        if (child + 1 < sim->heap_n && before(sim->heap[child + 1], sim->heap[child]))
            child++;
        if (!before(sim->heap[child], timed))
            break;
        heap_place(sim, i, sim->heap[child]);
    }
    heap_place(sim, i, timed);
}

void gn_sim_schedule(gn_sim *sim, sim_timed *timed, uint64_t due_ns)
{
    GN_ASSERT(timed->place == SIM_NOWHERE);
    if (sim->heap_n == sim->heap_cap) {
        sim->heap_cap = sim->heap_cap ? sim->heap_cap * 2 : 256;
        sim->heap = gn_xrealloc(sim->heap, sim->heap_cap * sizeof sim->heap[0]);
    }
    timed->due_ns = due_ns;
    timed->seq = sim->next_seq++;
    heap_up(sim, sim->heap_n++, timed);
}

void gn_sim_unschedule(gn_sim *sim, sim_timed *timed)
{
    size_t i = timed->place;
    if (i == SIM_NOWHERE)
        return;
    timed->place = SIM_NOWHERE;
    sim_timed *last = sim->heap[--sim->heap_n];
    if (last == timed)
        return;
    if (i > 0 && before(last, sim->heap[(i - 1) / 2]))
        heap_up(sim, i, last);
    else
        heap_down(sim, i, last);
}

/* ---- what can run ---- */

void gn_sim_runnable_init(sim_runnable *r, sim_world *world, const char *name, bool is_strand)
{
    *r = (sim_runnable){.world = world, .id = world->sim->next_id++, .place = SIM_NOWHERE, .is_strand = is_strand};
    strncpy(r->name, name, sizeof r->name - 1);
}

static void runnables_add(sim_runnables *set, sim_runnable *r)
{
    if (set->n == set->cap) {
        set->cap = set->cap ? set->cap * 2 : 64;
        set->items = gn_xrealloc(set->items, set->cap * sizeof set->items[0]);
    }
    r->place = set->n;
    set->items[set->n++] = r;
}

static sim_runnable *runnables_take(sim_runnables *set, size_t i)
{
    sim_runnable *r = set->items[i];
    set->items[i] = set->items[--set->n];
    set->items[i]->place = i;
    r->place = SIM_NOWHERE;
    return r;
}

static bool is_paused(const sim_world *world)
{
    return world->node->paused && !world->ghost;
}

void gn_sim_make_runnable(sim_runnable *r)
{
    if (r->place == SIM_NOWHERE)
        runnables_add(is_paused(r->world) ? &r->world->node->parked : &r->world->sim->runnable, r);
}

void gn_sim_pause(gn_sim *sim, gn_node_id id, bool paused)
{
    sim_node *node = gn_sim_node(sim, id);
    if (node->paused == paused)
        return;
    gn_sim_tell(node, paused ? "paused" : "resumed");
    node->paused = paused;
    if (!paused) {
        while (node->parked.n > 0)
            gn_sim_make_runnable(runnables_take(&node->parked, 0));
        return;
    }
    for (size_t i = 0; i < sim->runnable.n;) {
        if (sim->runnable.items[i]->world == node->world)
            gn_sim_make_runnable(runnables_take(&sim->runnable, i));
        else
            i++;
    }
}

/* ---- queues ---- */

static sim_queue *sim_queue_of(const gn_queue *queue)
{
    return (sim_queue *)(void *)queue;
}

static gn_queue *queue_create(gn_world *base, const char *name)
{
    sim_world *world = sim_world_of(base);
    sim_queue *queue = gn_xcalloc(1, sizeof *queue);
    queue->base.world = base;
    gn_sim_runnable_init(&queue->runnable, world, name, false);
    world->n_queues++;
    return &queue->base;
}

static void queue_post(gn_queue *base, gn_task *task)
{
    sim_queue *queue = sim_queue_of(base);
    task->next = NULL;
    if (queue->first)
        queue->last->next = task;
    else
        queue->first = task;
    queue->last = task;
    if (!queue->running)
        gn_sim_make_runnable(&queue->runnable);
}

static bool queue_is_current(const gn_queue *queue)
{
    const sim_queue *current = sim_queue_of(queue)->runnable.world->sim->current_queue;
    return current && current == sim_queue_of(queue);
}

static void run_task(gn_sim *sim, sim_queue *queue)
{
    gn_task *task = queue->first;
    queue->first = task->next;
    queue->running = true;
    sim->current_queue = queue;
    task->run(task);
    sim->current_queue = NULL;
    queue->running = false;
    if (queue->first)
        gn_sim_make_runnable(&queue->runnable);
}

void gn_sim_forbid_in_task(gn_sim *sim)
{
    GN_ASSERT(!sim->current_queue);
}

typedef struct last_task {
    gn_task task;
    gn_event done;
} last_task;

static void run_last(gn_task *task)
{
    gn_event_signal(&GN_CONTAINER(task, last_task, task)->done);
}

static void queue_destroy(gn_queue *base)
{
    sim_queue *queue = sim_queue_of(base);
    last_task last = {.task.run = run_last};
    gn_event_init(&last.done, base->world);
    queue_post(base, &last.task);
    gn_event_wait(&last.done, UINT64_MAX);
    GN_ASSERT(!queue->first && !queue->running && queue->runnable.place == SIM_NOWHERE);
    queue->runnable.world->n_queues--;
    free(queue);
}

/* ---- steps ---- */

static void run_one(gn_sim *sim)
{
    sim_runnable *r = runnables_take(&sim->runnable, gn_sim_rng_below(&sim->rng, sim->runnable.n));
    gn_sim_note(sim, r->id);
    if (sim->trace)
        gn_sim_tell(r->world->node, "%s%s %s", r->world->ghost ? "ghost " : "", r->is_strand ? "strand" : "queue",
                    r->name);
    if (r->is_strand)
        gn_sim_strand_resume(sim, r);
    else
        run_task(sim, GN_CONTAINER(r, sim_queue, runnable));
    sim->now_ns += gn_sim_rng_below(&sim->rng, MOST_TASK_NS);
}

static void happen_next(gn_sim *sim)
{
    sim_timed *timed = sim->heap[0];
    gn_sim_unschedule(sim, timed);
    if (timed->due_ns > sim->now_ns)
        sim->now_ns = timed->due_ns;
    gn_sim_note(sim, timed->seq);
    timed->happen(timed);
}

bool gn_sim_step(gn_sim *sim)
{
    GN_ASSERT(!sim->current_strand && !sim->current_queue);
    if (sim->heap_n > 0 && (sim->heap[0]->due_ns <= sim->now_ns || sim->runnable.n == 0))
        happen_next(sim);
    else if (sim->runnable.n > 0)
        run_one(sim);
    else
        return false;
    sim->steps++;
    gn_sim_note(sim, sim->now_ns);
    if (sim->on_step)
        sim->on_step(sim->on_step_ctx);
    return true;
}

bool gn_sim_run_until(gn_sim *sim, bool (*done)(void *ctx), void *ctx, uint64_t at_most_ns)
{
    uint64_t end = sim->now_ns + at_most_ns;
    while (!done(ctx)) {
        bool passes_end = sim->runnable.n == 0 && (sim->heap_n == 0 || sim->heap[0]->due_ns > end);
        if (passes_end && sim->now_ns < end)
            sim->now_ns = end;
        if (passes_end || sim->now_ns >= end)
            return done(ctx);
        gn_sim_step(sim);
    }
    return true;
}

static bool never(void *ctx)
{
    (void)ctx;
    return false;
}

void gn_sim_run_for(gn_sim *sim, uint64_t ns)
{
    gn_sim_run_until(sim, never, NULL, ns);
}

void gn_sim_on_step(gn_sim *sim, void (*fn)(void *ctx), void *ctx)
{
    sim->on_step = fn;
    sim->on_step_ctx = ctx;
}

uint64_t gn_sim_now_ns(const gn_sim *sim)
{
    return sim->now_ns;
}

uint64_t gn_sim_steps(const gn_sim *sim)
{
    return sim->steps;
}

/* ---- clocks and randomness of a world ---- */

static uint64_t now_ns(gn_world *world)
{
    return sim_world_of(world)->sim->now_ns + sim_world_of(world)->clock_offset_ns;
}

static uint64_t wall_us(gn_world *world)
{
    const sim_world *w = sim_world_of(world);
    return WALL_START_US + w->sim->now_ns / 1000 + (uint64_t)w->node->wall_offset_us;
}

static uint64_t random_u64(gn_world *world)
{
    return gn_sim_rng_next(&sim_world_of(world)->rng);
}

void gn_sim_wall_jump(gn_sim *sim, gn_node_id id, int64_t us)
{
    sim_node *node = gn_sim_node(sim, id);
    gn_sim_tell(node, "wall clock jumps by %" PRId64 " us", us);
    node->wall_offset_us += us;
}

/* ---- worlds and nodes ---- */

static const gn_world_ops sim_ops = {
    .queue_create = queue_create,
    .queue_destroy = queue_destroy,
    .queue_post = queue_post,
    .queue_is_current = queue_is_current,
    .strand_start = gn_sim_strand_start,
    .strand_join = gn_sim_strand_join,
    .event_signal = gn_sim_event_signal,
    .event_wait = gn_sim_event_wait,
    .now_ns = now_ns,
    .wall_us = wall_us,
    .random_u64 = random_u64,
    .timer_start = gn_sim_timer_start,
    .timer_stop = gn_sim_timer_stop,
    .timer_close = gn_sim_timer_close,
    .net_self = gn_sim_net_self,
    .net_listen = gn_sim_net_listen,
    .net_send = gn_sim_net_send,
    .log_disk_open = gn_sim_log_disk_open,
    .log_disk_close = gn_sim_log_disk_close,
    .log_disk_write = gn_sim_log_disk_write,
    .log_disk_get = gn_sim_log_disk_get,
    .log_disk_scan = gn_sim_log_disk_scan,
};

sim_node *gn_sim_node(gn_sim *sim, gn_node_id id)
{
    GN_ASSERT(id >= 1 && id <= sim->n_nodes);
    return &sim->nodes[id - 1];
}

gn_world *gn_sim_world(gn_sim *sim, gn_node_id id)
{
    sim_world *world = gn_sim_node(sim, id)->world;
    return world ? &world->base : NULL;
}

static sim_world *bring_up(sim_node *node)
{
    gn_sim *sim = node->sim;
    sim_world *world = gn_xcalloc(1, sizeof *world);
    world->base.ops = &sim_ops;
    world->sim = sim;
    world->node = node;
    world->incarnation = ++node->incarnations;
    world->clock_offset_ns = gn_sim_rng_below(&sim->rng, 1000000000000u);
    gn_sim_rng_seed(&world->rng, sim->seed ^ node->id << 48 ^ (uint64_t)world->incarnation << 32);
    world->listeners = gn_xcalloc(256, sizeof world->listeners[0]);
    world->next = sim->worlds;
    sim->worlds = world;
    node->world = world;
    return world;
}

void gn_sim_crash(gn_sim *sim, gn_node_id id, gn_sim_tear tear)
{
    sim_node *node = gn_sim_node(sim, id);
    GN_ASSERT(node->world);
    gn_sim_tell(node, "crash");
    gn_sim_pause(sim, id, false); /* so that the ghost can be closed */
    gn_sim_stores_crash(node, tear);
    node->world->ghost = true;
    node->world = NULL;
}

gn_world *gn_sim_restart(gn_sim *sim, gn_node_id id)
{
    sim_node *node = gn_sim_node(sim, id);
    GN_ASSERT(!node->world);
    gn_sim_tell(node, "restart");
    return &bring_up(node)->base;
}

/* ---- life ---- */

gn_sim *gn_sim_create(uint64_t seed, unsigned n_nodes)
{
    GN_ASSERT(n_nodes >= 1);
    gn_sim *sim = gn_xcalloc(1, sizeof *sim);
    sim->seed = seed;
    sim->n_nodes = n_nodes;
    gn_sim_rng_seed(&sim->rng, seed);
    gn_sim_rng_seed(&sim->test_rng, ~seed);
    sim->nodes = gn_xcalloc(n_nodes, sizeof sim->nodes[0]);
    gn_sim_strands_open(sim);
    gn_sim_net_open(sim);
    for (unsigned i = 0; i < n_nodes; i++) {
        sim_node *node = &sim->nodes[i];
        node->sim = sim;
        node->id = i + 1;
        node->faults = gn_sim_disk_good;
        bring_up(node);
    }
    return sim;
}

void gn_sim_destroy(gn_sim *sim)
{
    if (!sim)
        return;
    gn_sim_net_close(sim);
    for (sim_world *world = sim->worlds, *next; world; world = next) {
        next = world->next;
        GN_ASSERT(!world->n_queues && !world->n_strands && !world->n_timers && !world->n_disks);
        free(world->listeners);
        free(world);
    }
    GN_ASSERT(sim->heap_n == 0 && sim->runnable.n == 0);
    for (unsigned i = 0; i < sim->n_nodes; i++) {
        gn_sim_stores_free(&sim->nodes[i]);
        free(sim->nodes[i].parked.items);
    }
    gn_sim_strands_close(sim);
    free(sim->runnable.items);
    free(sim->heap);
    free(sim->nodes);
    free(sim);
}
