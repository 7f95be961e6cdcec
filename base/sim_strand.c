/* Strands of the simulated world are coroutines (ucontext) that only the scheduler resumes. A strand that waits gives
 * control back to it. The sanitizers are told of every switch, or they would take one stack for another.
 *
 * A wait outside any strand runs the scheduler in place. */
#include "base/assert.h"
#include "base/memory.h"
#include "base/sanitizer_private.h"
#include "base/sim_private.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#ifdef GN_UNDER_ASAN
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef GN_UNDER_TSAN
#include <sanitizer/tsan_interface.h>
#endif

#define STACK_BYTES (4u << 20)        /* reserved; the kernel gives pages as they are touched */
#define STUCK_AFTER_NS 3600000000000u /* virtual time in which a wait without deadline must end */

typedef struct sim_stack {
    struct sim_stack *next;
    uint8_t *memory; /* a page that traps, then STACK_BYTES */
} sim_stack;

/* The scheduler's side of a switch. */
typedef struct main_side {
    ucontext_t context;
    const void *bottom; /* of its stack, as the sanitizer told the strand */
    size_t size;
    void *fake; /* AddressSanitizer's */
    void *tsan; /* ThreadSanitizer's */
} main_side;

struct sim_strand {
    gn_strand base;
    sim_runnable runnable;
    sim_world *world;
    sim_stack *stack;
    ucontext_t context;
    void (*fn)(void *arg);
    void *arg;
    bool finished;
    gn_event ended;
    void *fake, *tsan;
};

static main_side *main_of(gn_sim *sim)
{
    return sim->main_context;
}

/* ---- stacks ---- */

static sim_stack *take_stack(gn_sim *sim)
{
    sim_stack *stack = sim->free_stacks;
    if (stack) {
        sim->free_stacks = stack->next;
        return stack;
    }
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    void *memory = mmap(NULL, page + STACK_BYTES, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (memory == MAP_FAILED)
        return NULL;
    int failed = mprotect(memory, page, PROT_NONE);
    GN_ASSERT(!failed);
    stack = gn_xmalloc(sizeof *stack);
    stack->memory = (uint8_t *)memory + page;
    return stack;
}

static void give_stack(gn_sim *sim, sim_stack *stack)
{
    GN_UNPOISON(stack->memory, STACK_BYTES);
    stack->next = sim->free_stacks;
    sim->free_stacks = stack;
}

void gn_sim_strands_open(gn_sim *sim)
{
    sim->main_context = gn_xcalloc(1, sizeof(main_side));
#ifdef GN_UNDER_TSAN
    main_of(sim)->tsan = __tsan_get_current_fiber();
#endif
}

void gn_sim_strands_close(gn_sim *sim)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (sim_stack *stack = sim->free_stacks, *next; stack; stack = next) {
        next = stack->next;
        munmap(stack->memory - page, page + STACK_BYTES);
        free(stack);
    }
    free(sim->main_context);
}

/* ---- switching ---- */

static void leave_strand(sim_strand *strand, bool for_good)
{
    main_side *m = main_of(strand->world->sim);
    (void)for_good;
#ifdef GN_UNDER_ASAN
    __sanitizer_start_switch_fiber(for_good ? NULL : &strand->fake, m->bottom, m->size);
#endif
#ifdef GN_UNDER_TSAN
    __tsan_switch_to_fiber(m->tsan, 0);
#endif
    swapcontext(&strand->context, &m->context);
#ifdef GN_UNDER_ASAN
    __sanitizer_finish_switch_fiber(strand->fake, &m->bottom, &m->size);
#endif
}

static void enter_strand(gn_sim *sim, sim_strand *strand)
{
    main_side *m = main_of(sim);
    sim->current_strand = strand;
#ifdef GN_UNDER_ASAN
    __sanitizer_start_switch_fiber(&m->fake, strand->stack->memory, STACK_BYTES);
#endif
#ifdef GN_UNDER_TSAN
    __tsan_switch_to_fiber(strand->tsan, 0);
#endif
    swapcontext(&m->context, &strand->context);
#ifdef GN_UNDER_ASAN
    __sanitizer_finish_switch_fiber(m->fake, NULL, NULL);
#endif
    sim->current_strand = NULL;
}

/* makecontext hands on ints alone. */
static void strand_main(unsigned high, unsigned low)
{
    sim_strand *strand = (sim_strand *)(uintptr_t)((uint64_t)high << 32 | low);
#ifdef GN_UNDER_ASAN
    main_side *m = main_of(strand->world->sim);
    __sanitizer_finish_switch_fiber(NULL, &m->bottom, &m->size);
#endif
    strand->fn(strand->arg);
    strand->finished = true;
    leave_strand(strand, true);
}

void gn_sim_strand_resume(gn_sim *sim, sim_runnable *r)
{
    sim_strand *strand = GN_CONTAINER(r, sim_strand, runnable);
    enter_strand(sim, strand);
    if (!strand->finished)
        return;
#ifdef GN_UNDER_TSAN
    __tsan_destroy_fiber(strand->tsan);
#endif
    give_stack(sim, strand->stack);
    strand->stack = NULL;
    gn_event_signal(&strand->ended);
}

gn_strand *gn_sim_strand_start(gn_world *base, const char *name, void (*fn)(void *), void *arg)
{
    sim_world *world = sim_world_of(base);
    sim_stack *stack = take_stack(world->sim);
    if (!stack)
        return NULL;
    sim_strand *strand = gn_xcalloc(1, sizeof *strand);
    strand->base.world = base;
    strand->world = world;
    strand->stack = stack;
    strand->fn = fn;
    strand->arg = arg;
    gn_event_init(&strand->ended, base);
    gn_sim_runnable_init(&strand->runnable, world, name, true);
    getcontext(&strand->context);
    strand->context.uc_stack = (stack_t){.ss_sp = stack->memory, .ss_size = STACK_BYTES};
    uint64_t bits = (uintptr_t)strand;
    makecontext(&strand->context, (void (*)(void))(void *)strand_main, 2, (unsigned)(bits >> 32), (unsigned)bits);
#ifdef GN_UNDER_TSAN
    strand->tsan = __tsan_create_fiber(0);
#endif
    world->n_strands++;
    gn_sim_make_runnable(&strand->runnable);
    return &strand->base;
}

void gn_sim_strand_join(gn_strand *base)
{
    sim_strand *strand = (sim_strand *)(void *)base;
    gn_event_wait(&strand->ended, UINT64_MAX);
    strand->world->n_strands--;
    free(strand);
}

/* ---- events ---- */

enum { PENDING, SIGNALED };

void gn_sim_event_signal(gn_event *event)
{
    uint32_t before = atomic_exchange_explicit(&event->state, SIGNALED, memory_order_relaxed);
    GN_ASSERT(before == PENDING);
    if (event->waiter)
        gn_sim_make_runnable(&((sim_strand *)event->waiter)->runnable);
}

static bool is_signaled(void *ctx)
{
    return atomic_load_explicit(&((gn_event *)ctx)->state, memory_order_relaxed) == SIGNALED;
}

typedef struct deadline {
    sim_timed timed;
    sim_strand *strand;
    bool passed;
} deadline;

static void deadline_passed(sim_timed *timed)
{
    deadline *d = GN_CONTAINER(timed, deadline, timed);
    d->passed = true;
    gn_sim_make_runnable(&d->strand->runnable);
}

static gn_code wait_in_strand(sim_strand *strand, gn_event *event, uint64_t due_ns)
{
    gn_sim *sim = strand->world->sim;
    deadline d = {.timed = {.place = SIM_NOWHERE, .happen = deadline_passed}, .strand = strand};
    if (due_ns != UINT64_MAX)
        gn_sim_schedule(sim, &d.timed, due_ns);
    GN_ASSERT(!event->waiter);
    event->waiter = strand;
    while (!is_signaled(event) && !d.passed)
        leave_strand(strand, false);
    event->waiter = NULL;
    gn_sim_unschedule(sim, &d.timed);
    return is_signaled(event) ? GN_OK : GN_TIMEOUT;
}

static gn_code wait_outside(gn_sim *sim, gn_event *event, uint64_t due_ns)
{
    bool endless = due_ns == UINT64_MAX;
    uint64_t end = endless ? sim->now_ns + STUCK_AFTER_NS : due_ns;
    uint64_t at_most = end > sim->now_ns ? end - sim->now_ns : 0;
    bool signaled = gn_sim_run_until(sim, is_signaled, event, at_most);
    if (!signaled && endless) {
        fprintf(stderr, "simulation of seed %llu is stuck: an event is waited for and never signaled\n",
                (unsigned long long)sim->seed);
        abort();
    }
    return signaled ? GN_OK : GN_TIMEOUT;
}

gn_code gn_sim_event_wait(gn_event *event, uint64_t deadline_ns)
{
    sim_world *world = sim_world_of(event->world);
    gn_sim *sim = world->sim;
    gn_sim_forbid_in_task(sim);
    if (is_signaled(event))
        return GN_OK;
    uint64_t due_ns = UINT64_MAX; /* on the scheduler's clock */
    if (deadline_ns != UINT64_MAX)
        due_ns = deadline_ns > world->clock_offset_ns ? deadline_ns - world->clock_offset_ns : 0;
    if (due_ns <= sim->now_ns)
        return GN_TIMEOUT;
    return sim->current_strand ? wait_in_strand(sim->current_strand, event, due_ns) : wait_outside(sim, event, due_ns);
}
