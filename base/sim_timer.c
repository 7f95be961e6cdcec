/* Timers of a simulated world. As in the real one the record is ours and outlives a close while its task waits. */
#include "base/assert.h"
#include "base/memory.h"
#include "base/sim_private.h"

#include <stdlib.h>

typedef struct record {
    sim_timed timed;
    gn_task task;
    sim_world *world;
    gn_timer *timer; /* NULL when closed */
    uint64_t due_ns; /* of the node's clock */
    bool running, posted;
} record;

static uint64_t scheduler_time(const record *r)
{
    return r->due_ns > r->world->clock_offset_ns ? r->due_ns - r->world->clock_offset_ns : 0;
}

static void become_due(sim_timed *timed)
{
    record *r = GN_CONTAINER(timed, record, timed);
    GN_ASSERT(r->running && !r->posted);
    r->posted = true;
    gn_queue_post(r->timer->queue, &r->task);
}

static void free_record(record *r)
{
    r->world->n_timers--;
    free(r);
}

static void run_record(gn_task *task)
{
    record *r = GN_CONTAINER(task, record, task);
    r->posted = false;
    if (!r->timer) {
        free_record(r);
    } else if (r->running && r->due_ns > gn_now_ns(&r->world->base)) { /* restarted meanwhile */
        gn_sim_schedule(r->world->sim, &r->timed, scheduler_time(r));
    } else if (r->running) {
        r->running = false;
        r->timer->fire(r->timer);
    }
}

static record *record_of(gn_timer *timer)
{
    GN_ASSERT(gn_queue_is_current(timer->queue));
    if (!timer->impl) {
        record *r = gn_xmalloc(sizeof *r);
        *r = (record){.timed = {.place = SIM_NOWHERE, .happen = become_due},
                      .task.run = run_record,
                      .world = sim_world_of(timer->world),
                      .timer = timer};
        r->world->n_timers++;
        timer->impl = r;
    }
    return timer->impl;
}

void gn_sim_timer_start(gn_timer *timer, uint64_t due_ns)
{
    record *r = record_of(timer);
    gn_sim_unschedule(r->world->sim, &r->timed);
    r->running = true;
    r->due_ns = due_ns;
    if (!r->posted)
        gn_sim_schedule(r->world->sim, &r->timed, scheduler_time(r));
}

void gn_sim_timer_stop(gn_timer *timer)
{
    record *r = record_of(timer);
    gn_sim_unschedule(r->world->sim, &r->timed);
    r->running = false;
}

void gn_sim_timer_close(gn_timer *timer)
{
    gn_sim_timer_stop(timer);
    record *r = timer->impl;
    timer->impl = NULL;
    r->timer = NULL;
    if (!r->posted)
        free_record(r);
}
