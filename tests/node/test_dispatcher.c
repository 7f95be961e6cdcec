/* Whose turn it is: how many turns run at a time, which do not count, and that every message is answered once and in
 * order, whichever thread does it. A caller answers each byte with the same byte:
 *   e  at once      w  works until the gate opens      s  sleeps, as if for its client, until the gate opens
 *   t  waits for an event in vain                      x  is over
 *   b  works until the gate opens, then sleeps until it is shut
 * One that streams has always something to serve, and says nothing. */
#include "node/dispatcher.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { MOST = 8, NEVER_LONG_US = 3600u * 1000000u };

typedef struct fixture fixture;

typedef struct peer {
    gn_caller caller;
    fixture *f;
    gn_strand *strand;
    int far;
    _Atomic unsigned over;
    _Atomic bool streams;
} peer;

struct fixture {
    gn_world *world;
    gn_dispatcher *dispatcher;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned at_gate;
    bool open;
    peer peers[MOST];
    unsigned n;
};

static void wait_at_gate(fixture *f)
{
    pthread_mutex_lock(&f->lock);
    f->at_gate++;
    pthread_cond_broadcast(&f->changed);
    while (!f->open)
        pthread_cond_wait(&f->changed, &f->lock);
    f->at_gate--;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
}

static void until_at_gate(fixture *f, unsigned n)
{
    pthread_mutex_lock(&f->lock);
    while (f->at_gate != n)
        pthread_cond_wait(&f->changed, &f->lock);
    pthread_mutex_unlock(&f->lock);
}

static void until_gate_is_shut(fixture *f)
{
    pthread_mutex_lock(&f->lock);
    while (f->open)
        pthread_cond_wait(&f->changed, &f->lock);
    pthread_mutex_unlock(&f->lock);
}

static void open_gate(fixture *f, bool open)
{
    pthread_mutex_lock(&f->lock);
    f->open = open;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
}

static bool do_as_told(peer *p, char what)
{
    gn_event never;
    switch (what) {
    case 'w':
        wait_at_gate(p->f);
        break;
    case 's':
        gn_dispatcher_sleeps();
        wait_at_gate(p->f);
        gn_dispatcher_wakes();
        break;
    case 'b':
        wait_at_gate(p->f);
        gn_dispatcher_sleeps();
        until_gate_is_shut(p->f);
        gn_dispatcher_wakes();
        break;
    case 't':
        gn_event_init(&never, p->f->world);
        assert_int_equal(gn_event_wait(&never, 0), GN_TIMEOUT);
        break;
    default:
        break;
    }
    return what != 'x';
}

static bool serve(gn_caller *caller)
{
    peer *p = GN_CONTAINER(caller, peer, caller);
    char bytes[4];
    if (p->streams)
        return true;
    ssize_t n = recv(caller->fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN)
        return true;
    for (ssize_t i = 0; i < n; i++) {
        bool more = do_as_told(p, bytes[i]);
        assert_int_equal(send(caller->fd, &bytes[i], 1, MSG_NOSIGNAL), 1);
        if (!more)
            return false;
    }
    return n > 0;
}

static bool look(gn_caller *caller)
{
    peer *p = GN_CONTAINER(caller, peer, caller);
    char byte;
    return p->streams || recv(caller->fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) >= 0 || errno != EAGAIN;
}

static void run(void *arg)
{
    peer *p = arg;
    gn_caller *ended = gn_dispatcher_work(p->f->dispatcher, &p->caller);
    GN_CONTAINER(ended, peer, caller)->over++;
}

static void say(peer *p, const char *what)
{
    assert_int_equal(send(p->far, what, strlen(what), 0), strlen(what));
}

static char hear(peer *p)
{
    char byte = 0;
    assert_int_equal(recv(p->far, &byte, 1, 0), 1);
    return byte;
}

static peer *connect_one(fixture *f)
{
    peer *p = &f->peers[f->n++];
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    *p = (peer){.caller = {.fd = ends[0], .serve = serve, .look = look}, .f = f, .far = ends[1]};
    p->strand = gn_strand_start(f->world, "connection", run, p);
    assert_non_null(p->strand);
    say(p, "e"); /* the first turn is nobody's to hold back */
    assert_int_equal(hear(p), 'e');
    return p;
}

static bool has_answered(peer *p)
{
    char byte;
    return recv(p->far, &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 1;
}

/* Until what was said to others than those at the gate would have been begun with, if it could be. */
static void until_nobody_begins(fixture *f)
{
    gn_dispatcher_counts counts;
    do {
        sched_yield();
        counts = gn_dispatcher_count(f->dispatcher);
    } while (counts.held == 0 && counts.watching > 0);
}

static void open_dispatcher(fixture *f, unsigned turns_at_once, uint64_t long_us, uint64_t busy_poll_us)
{
    const gn_dispatcher_options options = {
        .turns_at_once = turns_at_once, .long_us = long_us, .busy_poll_us = busy_poll_us};
    assert_int_equal(gn_dispatcher_open(f->world, &options, &f->dispatcher, NULL), GN_OK);
}

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    f->world = gn_world_real_create(&(gn_world_options){.node_id = 1});
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->changed, NULL);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    for (unsigned i = 0; i < f->n; i++)
        say(&f->peers[i], "x");
    for (unsigned i = 0; i < f->n; i++)
        gn_strand_join(f->peers[i].strand);
    for (unsigned i = 0; i < f->n; i++) {
        assert_int_equal(f->peers[i].over, 1);
        close(f->peers[i].far);
        close(f->peers[i].caller.fd);
    }
    gn_dispatcher_close(f->dispatcher);
    gn_world_real_destroy(f->world);
    pthread_mutex_destroy(&f->lock);
    pthread_cond_destroy(&f->changed);
    free(f);
    return 0;
}

static void test_a_turn_waits_while_as_many_run_as_may(void **state)
{
    fixture *f = *state;
    open_dispatcher(f, 1, NEVER_LONG_US, 0);
    peer *a = connect_one(f), *b = connect_one(f), *c = connect_one(f);
    say(a, "w");
    until_at_gate(f, 1);
    say(b, "e");
    say(c, "e");
    until_nobody_begins(f);
    assert_false(has_answered(b) || has_answered(c));
    open_gate(f, true);
    assert_int_equal(hear(a), 'w');
    assert_int_equal(hear(b), 'e');
    assert_int_equal(hear(c), 'e');
    assert_int_equal(gn_dispatcher_count(f->dispatcher).held, 0);
}

static void test_a_turn_that_sleeps_does_not_count(void **state)
{
    fixture *f = *state;
    open_dispatcher(f, 1, NEVER_LONG_US, 0);
    peer *a = connect_one(f), *b = connect_one(f);
    say(a, "s");
    until_at_gate(f, 1);
    for (int i = 0; i < 10; i++) {
        say(b, "e");
        assert_int_equal(hear(b), 'e');
    }
    assert_false(has_answered(a));
    open_gate(f, true);
    assert_int_equal(hear(a), 's');
}

static void test_who_slept_the_last_time_is_not_held_back(void **state)
{
    fixture *f = *state;
    open_dispatcher(f, 1, NEVER_LONG_US, 0);
    peer *a = connect_one(f), *b = connect_one(f);
    say(a, "s"); /* each thread has slept, so that one that remembers too long is found out */
    say(b, "s");
    until_at_gate(f, 2);
    open_gate(f, true);
    assert_int_equal(hear(a), 's');
    assert_int_equal(hear(b), 's');
    open_gate(f, false);
    for (;;) {
        say(b, "t"); /* in gn_event_wait */
        assert_int_equal(hear(b), 't');
        say(a, "w");
        until_at_gate(f, 1);
        if (gn_dispatcher_count(f->dispatcher).watching > 0)
            break;
        open_gate(f, true); /* the other thread came for `a`, too soon, and was parked */
        assert_int_equal(hear(a), 'w');
        open_gate(f, false);
    }
    say(b, "e");
    assert_int_equal(hear(b), 'e');
    while (gn_dispatcher_count(f->dispatcher).watching == 0)
        sched_yield();
    say(b, "e"); /* this time it has not slept */
    while (gn_dispatcher_count(f->dispatcher).held == 0 && !has_answered(b))
        sched_yield();
    assert_false(has_answered(b));
    open_gate(f, true);
    assert_int_equal(hear(a), 'w');
    assert_int_equal(hear(b), 'e');
}

static void test_a_turn_that_takes_long_does_not_count(void **state)
{
    fixture *f = *state;
    open_dispatcher(f, 2, 1000, 0);
    peer *a = connect_one(f), *b = connect_one(f), *c = connect_one(f), *d = connect_one(f);
    say(a, "w");
    say(b, "w");
    until_at_gate(f, 2);
    for (int i = 0; i < 10; i++) {
        say(c, "e");
        say(d, "e");
        assert_int_equal(hear(c), 'e');
        assert_int_equal(hear(d), 'e');
    }
    assert_false(has_answered(a) || has_answered(b));
    open_gate(f, true);
    assert_int_equal(hear(a), 'w');
    assert_int_equal(hear(b), 'w');
}

static void test_who_is_parked_comes_back_when_a_turn_sleeps(void **state)
{
    fixture *f = *state;
    open_dispatcher(f, 1, NEVER_LONG_US, 0);
    peer *a = connect_one(f), *b = connect_one(f), *c = connect_one(f);
    say(a, "b");
    until_at_gate(f, 1);
    say(b, "e");
    say(c, "e");
    while (gn_dispatcher_count(f->dispatcher).watching > 0)
        sched_yield();
    open_gate(f, true);
    assert_int_equal(hear(b), 'e');
    assert_int_equal(hear(c), 'e');
    assert_false(has_answered(a));
    open_gate(f, false);
    assert_int_equal(hear(a), 'b');
}

static void test_who_took_long_does_not_count_the_next_time(void **state)
{
    fixture *f = *state;
    open_dispatcher(f, 1, 1000, 0);
    peer *a = connect_one(f), *b = connect_one(f);
    say(a, "w");
    until_at_gate(f, 1);
    say(b, "e"); /* only after `a` was found to take long */
    assert_int_equal(hear(b), 'e');
    open_gate(f, true);
    assert_int_equal(hear(a), 'w');
    open_gate(f, false);
    while (gn_dispatcher_count(f->dispatcher).watching == 0 || gn_dispatcher_count(f->dispatcher).working > 0)
        sched_yield();
    say(a, "w");
    until_at_gate(f, 1);
    assert_int_equal(gn_dispatcher_count(f->dispatcher).working, 0);
    open_gate(f, true);
    assert_int_equal(hear(a), 'w');
}

static void test_who_streams_leaves_turns_to_others(void **state)
{
    fixture *f = *state;
    open_dispatcher(f, 1, NEVER_LONG_US, 50);
    peer *a = connect_one(f), *b = connect_one(f);
    a->streams = true;
    say(a, "e");
    for (int i = 0; i < 100; i++) {
        say(b, "e");
        assert_int_equal(hear(b), 'e');
    }
    a->streams = false;
}

static void test_all_may_work_long_at_the_same_time(void **state)
{
    fixture *f = *state;
    open_dispatcher(f, 1, 1000, 50);
    for (int i = 0; i < MOST; i++)
        say(connect_one(f), "w");
    until_at_gate(f, MOST);
    open_gate(f, true);
    for (int i = 0; i < MOST; i++)
        assert_int_equal(hear(&f->peers[i]), 'w');
}

/* Some messages under way for each of many, in a mixture drawn from a seed. */
static void test_every_message_is_answered_once_and_in_order(void **state)
{
    enum { MESSAGES = 400, AT_ONCE = 3 };
    fixture *f = *state;
    unsigned seed = 4711, said[MOST] = {0}, heard[MOST] = {0}, open = MOST;
    char messages[MOST][MESSAGES];
    struct pollfd polls[MOST];
    open_dispatcher(f, 2, 100, 50);
    open_gate(f, true);
    for (unsigned i = 0; i < MOST; i++) {
        peer *p = connect_one(f);
        polls[i] = (struct pollfd){.fd = p->far, .events = POLLIN};
        for (unsigned m = 0; m < MESSAGES; m++)
            messages[i][m] = "eeeewst"[rand_r(&seed) % 7];
    }
    while (open > 0) {
        for (unsigned i = 0; i < MOST; i++) {
            for (; said[i] < MESSAGES && said[i] < heard[i] + AT_ONCE; said[i]++)
                assert_int_equal(send(f->peers[i].far, &messages[i][said[i]], 1, 0), 1);
        }
        assert_true(poll(polls, MOST, -1) > 0);
        for (unsigned i = 0; i < MOST; i++) {
            if (!(polls[i].revents & POLLIN))
                continue;
            assert_int_equal(hear(&f->peers[i]), messages[i][heard[i]]);
            open -= ++heard[i] == MESSAGES;
        }
    }
    assert_int_equal(gn_dispatcher_count(f->dispatcher).held, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_turn_waits_while_as_many_run_as_may, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_turn_that_sleeps_does_not_count, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_who_slept_the_last_time_is_not_held_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_turn_that_takes_long_does_not_count, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_who_is_parked_comes_back_when_a_turn_sleeps, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_who_took_long_does_not_count_the_next_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_who_streams_leaves_turns_to_others, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_all_may_work_long_at_the_same_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_every_message_is_answered_once_and_in_order, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
