#include "base/memory.h"
#include "base/metrics.h"
#include "base/world.h"
#include "tests/base/cmocka_all.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

static gn_world *world;

static int open_world(void **state)
{
    (void)state;
    world = gn_world_real_create(&(gn_world_options){.threads = 3, .node_id = 7});
    return 0;
}

static int close_world(void **state)
{
    (void)state;
    gn_world_real_destroy(world);
    return 0;
}

/* ---- queues ---- */

typedef struct counted {
    gn_task task;
    gn_queue *queue;
    _Atomic int *inside; /* tasks of the queue that run now */
    int *ran;            /* no atomic: the queue's own */
    int number, *last_number;
} counted;

static void run_counted(gn_task *task)
{
    counted *c = GN_CONTAINER(task, counted, task);
    assert_true(gn_queue_is_current(c->queue));
    assert_int_equal(atomic_fetch_add(c->inside, 1), 0);
    assert_true(c->number > *c->last_number);
    *c->last_number = c->number;
    ++*c->ran;
    atomic_fetch_sub(c->inside, 1);
    free(c);
}

#define N_POSTERS 4
#define N_TASKS 2000

typedef struct poster {
    gn_queue *queue;
    _Atomic int *inside;
    int *ran, last_number;
} poster;

static void post_many(void *arg)
{
    poster *p = arg;
    for (int i = 1; i <= N_TASKS; i++) {
        counted *c = gn_xmalloc(sizeof *c);
        *c = (counted){.task.run = run_counted,
                       .queue = p->queue,
                       .inside = p->inside,
                       .ran = p->ran,
                       .number = i,
                       .last_number = &p->last_number};
        gn_queue_post(p->queue, &c->task);
    }
}

static void a_queue_runs_one_task_at_a_time_in_order_of_posting(void **state)
{
    (void)state;
    gn_queue *queue = gn_queue_create(world, "q");
    _Atomic int inside = 0;
    int ran = 0;
    poster posters[N_POSTERS];
    gn_strand *strands[N_POSTERS];
    for (int i = 0; i < N_POSTERS; i++) {
        posters[i] = (poster){.queue = queue, .inside = &inside, .ran = &ran};
        strands[i] = gn_strand_start(world, "poster", post_many, &posters[i]);
        assert_non_null(strands[i]);
    }
    for (int i = 0; i < N_POSTERS; i++)
        gn_strand_join(strands[i]);
    gn_queue_destroy(queue); /* runs what is waiting */
    assert_int_equal(ran, N_POSTERS * N_TASKS);
    assert_false(inside);
}

typedef struct ball {
    gn_task task;
    gn_queue *queues[8];
    unsigned n, hops;
    gn_event done;
} ball;

static void hop(gn_task *task)
{
    ball *b = GN_CONTAINER(task, ball, task);
    if (b->hops-- == 0)
        gn_event_signal(&b->done);
    else
        gn_queue_post(b->queues[b->hops % b->n], task);
}

static void tasks_hop_between_queues_and_to_their_own(void **state)
{
    (void)state;
    ball balls[6] = {0};
    gn_queue *queues[8];
    for (unsigned i = 0; i < 8; i++)
        queues[i] = gn_queue_create(world, "q");
    for (unsigned i = 0; i < 6; i++) {
        ball *b = &balls[i];
        b->task.run = hop;
        b->n = i + 1;
        b->hops = 5000;
        for (unsigned j = 0; j < b->n; j++)
            b->queues[j] = queues[(i + j) % 8];
        gn_event_init(&b->done, world);
        gn_queue_post(b->queues[0], &b->task);
    }
    for (unsigned i = 0; i < 6; i++)
        assert_int_equal(gn_event_wait(&balls[i].done, UINT64_MAX), GN_OK);
    for (unsigned i = 0; i < 8; i++)
        gn_queue_destroy(queues[i]);
    gn_queue_destroy(NULL);
}

/* Two queues that post to each other for ever must not keep a third from running on the only thread. */
typedef struct rally {
    gn_task task;
    gn_queue *a, *b;
    bool at_a;
    _Atomic bool *stop;
    gn_event done;
} rally;

static void volley(gn_task *task)
{
    rally *r = GN_CONTAINER(task, rally, task);
    if (atomic_load(r->stop)) {
        gn_event_signal(&r->done);
        return;
    }
    r->at_a = !r->at_a;
    gn_queue_post(r->at_a ? r->a : r->b, task);
}

typedef struct stopper {
    gn_task task;
    _Atomic bool stop;
} stopper;

static void set_stop(gn_task *task)
{
    atomic_store(&GN_CONTAINER(task, stopper, task)->stop, true);
}

static void a_rally_of_two_queues_does_not_starve_a_third(void **state)
{
    (void)state;
    gn_world *narrow = gn_world_real_create(&(gn_world_options){.threads = 1, .node_id = 1});
    stopper s = {.task.run = set_stop};
    rally r = {.task.run = volley, .stop = &s.stop};
    r.a = gn_queue_create(narrow, "a");
    r.b = gn_queue_create(narrow, "b");
    gn_queue *third = gn_queue_create(narrow, "third");
    gn_event_init(&r.done, narrow);
    gn_queue_post(r.a, &r.task);
    gn_queue_post(third, &s.task);
    assert_int_equal(gn_event_wait(&r.done, UINT64_MAX), GN_OK);
    gn_queue_destroy(r.a);
    gn_queue_destroy(r.b);
    gn_queue_destroy(third);
    gn_world_real_destroy(narrow);
}

/* ---- events ---- */

static void wait_and_count(void *arg)
{
    gn_event **pair = arg;
    assert_int_equal(gn_event_wait(pair[0], UINT64_MAX), GN_OK);
    gn_event_signal(pair[1]);
}

static void an_event_wakes_its_waiter_whichever_comes_first(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++) {
        gn_event go, done;
        gn_event_init(&go, world);
        gn_event_init(&done, world);
        gn_event *pair[] = {&go, &done};
        gn_strand *strand = gn_strand_start(world, "waiter", wait_and_count, pair);
        gn_event_signal(&go);
        assert_int_equal(gn_event_wait(&done, UINT64_MAX), GN_OK);
        assert_int_equal(gn_event_wait(&done, 0), GN_OK); /* stays signaled */
        gn_strand_join(strand);
    }
}

static void a_wait_ends_at_its_deadline_and_may_be_tried_again(void **state)
{
    (void)state;
    gn_event event;
    gn_event_init(&event, world);
    uint64_t deadline = gn_now_ns(world) + 2000000;
    assert_int_equal(gn_event_wait(&event, deadline), GN_TIMEOUT);
    assert_true(gn_now_ns(world) >= deadline);
    assert_int_equal(gn_event_wait(&event, 0), GN_TIMEOUT);
    gn_event_signal(&event);
    assert_int_equal(gn_event_wait(&event, 0), GN_OK);
}

typedef struct short_lived {
    gn_task task;
    gn_event *event;
} short_lived;

static void signal_it(gn_task *task)
{
    gn_event_signal(GN_CONTAINER(task, short_lived, task)->event);
}

/* The sanitizers would see a signaller that touches the event after its waiter has returned. */
static void an_event_may_go_away_as_soon_as_its_wait_returns(void **state)
{
    (void)state;
    gn_queue *queue = gn_queue_create(world, "q");
    for (int i = 0; i < 3000; i++) {
        gn_event *event = gn_xmalloc(sizeof *event);
        gn_event_init(event, world);
        short_lived s = {.task.run = signal_it, .event = event};
        gn_queue_post(queue, &s.task);
        gn_event_wait(event, UINT64_MAX);
        free(event);
    }
    gn_queue_destroy(queue);
}

/* ---- timers ---- */

/* Runs fn(arg) on the queue and waits for it. */
typedef struct call {
    gn_task task;
    void (*fn)(void *arg);
    void *arg;
    gn_event done;
} call;

static void run_call(gn_task *task)
{
    call *c = GN_CONTAINER(task, call, task);
    c->fn(c->arg);
    gn_event_signal(&c->done);
}

static void on_queue(gn_queue *queue, void (*fn)(void *), void *arg)
{
    call c = {.task.run = run_call, .fn = fn, .arg = arg};
    gn_event_init(&c.done, world);
    gn_queue_post(queue, &c.task);
    gn_event_wait(&c.done, UINT64_MAX);
}

#define N_TIMERS 200

typedef struct alarm_set {
    gn_queue *queue;
    struct alarm {
        gn_timer timer;
        uint64_t due;
        int fired;
        struct alarm_set *set;
    } alarms[N_TIMERS];
    int n_fired, n_expected;
    uint64_t last_due;
    gn_event done;
} alarm_set;

static void alarm_fired(gn_timer *timer)
{
    struct alarm *a = GN_CONTAINER(timer, struct alarm, timer);
    assert_true(gn_queue_is_current(a->set->queue));
    assert_true(gn_now_ns(world) >= a->due);
    a->fired++;
    if (++a->set->n_fired == a->set->n_expected)
        gn_event_signal(&a->set->done);
}

static void start_alarms(void *arg)
{
    alarm_set *set = arg;
    uint64_t now = gn_now_ns(world);
    for (int i = 0; i < N_TIMERS; i++) {
        struct alarm *a = &set->alarms[i];
        a->set = set;
        a->due = now + gn_random_u64(world) % 5000000;
        gn_timer_init(&a->timer, set->queue, alarm_fired);
        gn_timer_stop(&a->timer); /* never started: fine */
        gn_timer_start(&a->timer, i % 3 == 0 ? now : a->due + 3600000000000u);
        if (i % 3 != 2) /* the first third may be due already: restarted all the same */
            gn_timer_start(&a->timer, a->due);
        else
            gn_timer_stop(&a->timer);
        set->n_expected += i % 3 != 2;
    }
}

static void close_alarms(void *arg)
{
    alarm_set *set = arg;
    for (int i = 0; i < N_TIMERS; i++) {
        gn_timer_close(&set->alarms[i].timer);
        gn_timer_close(&set->alarms[i].timer); /* closing twice is fine */
    }
}

static void timers_fire_once_and_never_early(void **state)
{
    (void)state;
    alarm_set *set = gn_xcalloc(1, sizeof *set);
    set->queue = gn_queue_create(world, "alarms");
    gn_event_init(&set->done, world);
    on_queue(set->queue, start_alarms, set);
    gn_event_wait(&set->done, UINT64_MAX);
    on_queue(set->queue, close_alarms, set);
    for (int i = 0; i < N_TIMERS; i++)
        assert_int_equal(set->alarms[i].fired, i % 3 != 2);
    gn_queue_destroy(set->queue);
    free(set);
}

typedef struct late {
    gn_timer stopped, closed, probe;
    gn_queue *queue;
    bool fired;
    int rounds;
    gn_event done;
} late;

static void must_not_fire(gn_timer *timer)
{
    (void)timer;
    fail_msg("a stopped timer fired");
}

/* Both are due and very likely posted already, behind this task, when they are stopped and closed. */
static void stop_when_due(gn_timer *timer)
{
    late *l = GN_CONTAINER(timer, late, probe);
    uint64_t now = gn_now_ns(world);
    gn_timer_start(&l->stopped, now);
    gn_timer_init(&l->closed, l->queue, must_not_fire);
    gn_timer_start(&l->closed, now);
    while (gn_now_ns(world) < now + 100000)
        continue;
    gn_timer_stop(&l->stopped);
    gn_timer_close(&l->closed);
    if (--l->rounds > 0) {
        gn_timer_start(&l->probe, gn_now_ns(world) + 100000);
    } else {
        gn_timer_close(&l->stopped);
        gn_timer_close(&l->probe);
        gn_event_signal(&l->done);
    }
}

static void start_late(void *arg)
{
    late *l = arg;
    gn_timer_init(&l->stopped, l->queue, must_not_fire);
    gn_timer_init(&l->probe, l->queue, stop_when_due);
    gn_timer_start(&l->probe, 0);
}

static void a_stopped_timer_does_not_fire_even_if_it_was_due(void **state)
{
    (void)state;
    late *l = gn_xcalloc(1, sizeof *l);
    l->rounds = 50;
    l->queue = gn_queue_create(world, "late");
    gn_event_init(&l->done, world);
    on_queue(l->queue, start_late, l);
    gn_event_wait(&l->done, UINT64_MAX);
    gn_queue_destroy(l->queue);
    free(l);
}

/* ---- the rest ---- */

static void clocks_and_randomness_go_on(void **state)
{
    (void)state;
    uint64_t a = gn_now_ns(world);
    assert_true(gn_now_ns(world) >= a);
    assert_true(gn_wall_us(world) > 1600000000000000u);
    assert_true(gn_random_u64(world) != gn_random_u64(world));
    assert_int_equal(gn_net_self(world), 7);
}

static void a_frame_to_an_unknown_peer_is_dropped_and_counted(void **state)
{
    (void)state;
    gn_metric *dropped = gn_counter("gnomon_net_dropped_frames_total", NULL, "");
    uint64_t before = gn_counter_value(dropped);
    gn_net_send(world, 9, 0, gn_bytes_str("hello"));
    assert_int_equal(gn_counter_value(dropped), before + 1);
}

/* ---- a network ---- */

typedef struct end {
    gn_world *world, *other;
    gn_node_id id;
    gn_queue *queue;
    int heard; /* the queue's */
    gn_event enough;
} end;

enum { N_VOLLEYS = 2000, PING_CHANNEL = 4, DEAF_CHANNEL = 5 };

typedef struct carried {
    gn_net_frame net;
    uint8_t byte;
} carried;

static _Atomic int n_carried, n_done;

static void carried_done(gn_net_frame *net)
{
    atomic_fetch_add(&n_done, 1);
    free(GN_CONTAINER(net, carried, net));
}

/* Receives for the other world inside the send of this one, as both do at once. */
static bool carry(void *ctx, gn_node_id to, uint8_t channel, gn_bytes frame)
{
    end *from = ctx;
    (void)to;
    carried *c = gn_xcalloc(1, sizeof *c);
    c->byte = frame.data[0];
    c->net =
        (gn_net_frame){.from = from->id, .channel = channel, .bytes = gn_bytes_of(&c->byte, 1), .done = carried_done};
    atomic_fetch_add(&n_carried, 1);
    gn_world_real_receive(from->other, &c->net);
    return true;
}

static void hear(void *ctx, gn_node_id from, gn_bytes frame)
{
    end *e = ctx;
    assert_true(gn_queue_is_current(e->queue));
    assert_int_equal(frame.data[0], 42);
    assert_int_equal(from, e->id == 7 ? 8 : 7);
    if (++e->heard == N_VOLLEYS)
        gn_event_signal(&e->enough);
    else if (e->heard < N_VOLLEYS)
        gn_net_send(e->world, from, PING_CHANNEL, frame);
}

typedef struct listening {
    gn_task task;
    end *end;
    gn_event done;
} listening;

static void stop_listening(gn_task *task)
{
    listening *l = GN_CONTAINER(task, listening, task);
    gn_net_listen(l->end->world, PING_CHANNEL, l->end->queue, NULL, NULL);
    gn_event_signal(&l->done);
}

static void a_network_carries_frames_both_ways_at_once(void **state)
{
    (void)state;
    gn_world *second = gn_world_real_create(&(gn_world_options){.threads = 2, .node_id = 8});
    end ends[2] = {{.world = world, .other = second, .id = 7}, {.world = second, .other = world, .id = 8}};
    uint8_t byte = 42;
    for (int i = 0; i < 2; i++) {
        ends[i].queue = gn_queue_create(ends[i].world, "net");
        gn_event_init(&ends[i].enough, ends[i].world);
        gn_net_listen(ends[i].world, PING_CHANNEL, ends[i].queue, hear, &ends[i]);
        gn_world_real_network(ends[i].world, &(gn_network){.ctx = &ends[i], .send = carry});
    }
    for (int i = 0; i < 4; i++) { /* balls from either side: each end hears at least as many as it needs */
        gn_net_send(world, 8, PING_CHANNEL, gn_bytes_of(&byte, 1));
        gn_net_send(second, 7, PING_CHANNEL, gn_bytes_of(&byte, 1));
    }
    gn_net_send(world, 8, DEAF_CHANNEL, gn_bytes_of(&byte, 1)); /* nobody listens */
    for (int i = 0; i < 2; i++)
        assert_int_equal(gn_event_wait(&ends[i].enough, UINT64_MAX), GN_OK);
    for (int i = 0; i < 2; i++) {
        listening l = {.task.run = stop_listening, .end = &ends[i]};
        gn_event_init(&l.done, ends[i].world);
        gn_queue_post(ends[i].queue, &l.task);
        gn_event_wait(&l.done, UINT64_MAX);
        gn_queue_destroy(ends[i].queue);
    }
    gn_world_real_network(world, NULL);
    gn_world_real_network(second, NULL);
    gn_world_real_destroy(second);
    assert_int_equal(n_done, n_carried); /* heard or not */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_queue_runs_one_task_at_a_time_in_order_of_posting),
        cmocka_unit_test(tasks_hop_between_queues_and_to_their_own),
        cmocka_unit_test(a_rally_of_two_queues_does_not_starve_a_third),
        cmocka_unit_test(an_event_wakes_its_waiter_whichever_comes_first),
        cmocka_unit_test(a_wait_ends_at_its_deadline_and_may_be_tried_again),
        cmocka_unit_test(an_event_may_go_away_as_soon_as_its_wait_returns),
        cmocka_unit_test(timers_fire_once_and_never_early),
        cmocka_unit_test(a_stopped_timer_does_not_fire_even_if_it_was_due),
        cmocka_unit_test(clocks_and_randomness_go_on),
        cmocka_unit_test(a_frame_to_an_unknown_peer_is_dropped_and_counted),
        cmocka_unit_test(a_network_carries_frames_both_ways_at_once),
    };
    return cmocka_run_group_tests(tests, open_world, close_world);
}
