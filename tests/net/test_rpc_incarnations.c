/* Who a peer is, told by frames that may be late: those of an incarnation that is dead are never believed after those
 * of a later one, however they come, and nothing is asked of a living one without need. */
#include "tests/base/cmocka_all.h"
#include "tests/net/rpc_fleet.h"

#include <stdlib.h>

#define MS UINT64_C(1000000)
#define SECOND (1000 * MS)
#define MINUTE (60 * SECOND)
#ifdef __SANITIZE_THREAD__
enum { SEEDS = 20 };
#else
enum { SEEDS = 300 };
#endif

static void delays(fleet *f, gn_node_id from, gn_node_id to, uint64_t ns)
{
    gn_sim_link link = {.min_ns = ns, .max_ns = ns};
    gn_sim_link_set(f->sim, from, to, &link);
}

static void finish(fleet *f)
{
    assert_true(gn_sim_run_until(f->sim, fleet_all_done, f, MINUTE));
    fleet_check(f);
    assert_int_equal(f->ran_twice + f->done_twice + f->wrong_answers + f->ran_though_unavailable, 0);
}

static void they_hear_each_other(fleet *f)
{
    asked *there = fleet_ask(f, 1, 2, ECHO, 8, 0), *back = fleet_ask(f, 2, 1, ECHO, 8, 0);
    finish(f);
    assert_int_equal(there->code, GN_OK);
    assert_int_equal(back->code, GN_OK);
}

static void restart(fleet *f, gn_node_id node)
{
    fleet_crash(f, node);
    fleet_restart(f, node);
}

/* Node 2 has asked node 1, and what it said comes after 300 ms. */
static void say_something_late(fleet *f, uint16_t method)
{
    delays(f, 2, 1, 300 * MS);
    fleet_ask(f, 2, 1, method, 8, 0);
    gn_sim_run_for(f->sim, 1 * MS);
    delays(f, 2, 1, 1 * MS);
}

static void a_frame_of_the_dead_that_comes_late_is_not_believed(void **state)
{
    (void)state;
    for (unsigned known = 0; known < 2; known++) {
        fleet *f = fleet_create(1, 2, 0);
        delays(f, 0, 0, 1 * MS);
        if (known) /* what comes late is a request, else a hello */
            they_hear_each_other(f);
        say_something_late(f, ECHO);
        fleet_crash(f, 1);
        restart(f, 2);
        fleet_restart(f, 1);
        they_hear_each_other(f);
        assert_true(gn_sim_now_ns(f->sim) < 200 * MS);
        asked *running = fleet_ask(f, 1, 2, LATER, 8, 0);
        gn_sim_run_for(f->sim, 400 * MS); /* the late one is there */
        they_hear_each_other(f);
        assert_int_equal(running->code, GN_OK);
        fleet_destroy(f);
    }
}

/* The dead one knew this incarnation of the other and is heard first or last, and more than one is dead. */
static void the_living_one_is_believed_whoever_is_heard_late(void **state)
{
    (void)state;
    for (unsigned dead = 1; dead <= 3; dead++) {
        fleet *f = fleet_create(dead, 2, 0);
        delays(f, 0, 0, 1 * MS);
        they_hear_each_other(f);
        restart(f, 1);
        for (unsigned i = 0; i < dead; i++) {
            gn_sim_run_for(f->sim, 5 * MS);
            fleet_ask(f, 1, 2, ECHO, 8, 0); /* so that it is heard of */
            gn_sim_run_for(f->sim, 3 * MS);
            say_something_late(f, ECHO);
            restart(f, 2);
        }
        for (unsigned i = 0; i < 10; i++) {
            fleet_ask(f, 1, 2, ECHO, 8, 0);
            gn_sim_run_for(f->sim, 50 * MS);
        }
        they_hear_each_other(f);
        fleet_destroy(f);
    }
}

/* Nodes start again, often at the same time, with frames that are up to 300 ms late. */
static void nodes_that_start_anew_all_the_time_hear_each_other_at_last(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        fleet *f = fleet_create(seed, 3, 4);
        f->longest_ns = 50 * MS;
        fleet_links(f, 0.1, 0.2, 300 * MS);
        for (unsigned i = 0; i < 60; i++) {
            gn_node_id from = 1 + gn_sim_random(f->sim, 3), to = 1 + gn_sim_random(f->sim, 3);
            fleet_ask(f, from, to, (uint16_t)gn_sim_random(f->sim, LARGE + 1), 8, 0);
            if (gn_sim_chance(f->sim, 0.1))
                restart(f, from);
            if (gn_sim_chance(f->sim, 0.1))
                restart(f, to);
            gn_sim_run_for(f->sim, gn_sim_random(f->sim, 60 * MS));
        }
        fleet_links(f, 0, 0, 1 * MS);
        gn_sim_run_for(f->sim, 2 * SECOND);
        finish(f);
        for (gn_node_id from = 1; from <= 3; from++) {
            for (gn_node_id to = 1; to <= 3; to++) {
                asked *a = fleet_ask(f, from, to, ECHO, 8, 0);
                finish(f);
                assert_int_equal(a->code, GN_OK);
            }
        }
        fleet_destroy(f);
    }
}

/* ---- what it costs ---- */

static bool count_frame(void *ctx, gn_node_id from, gn_node_id to, uint8_t channel, gn_bytes frame)
{
    (void)from;
    (void)to;
    (void)channel;
    ((unsigned *)ctx)[frame.data[1]]++;
    return true;
}

static void two_frames_for_each_request_and_its_answer(void **state)
{
    (void)state;
    enum { REQUESTS = 1000 };
    fleet *f = fleet_create(3, 2, 0);
    unsigned sent[UINT8_MAX + 1] = {0};
    they_hear_each_other(f);
    gn_sim_run_for(f->sim, 500 * MS); /* what was to be acknowledged is */
    gn_sim_on_frame(f->sim, count_frame, sent);
    for (unsigned i = 0; i < REQUESTS; i++) {
        fleet_ask(f, 1, 2, ECHO, 8, 0);
        gn_sim_run_until(f->sim, fleet_all_done, f, SECOND);
    }
    finish(f);
    assert_int_equal(sent[RPC_REQUEST], REQUESTS);
    assert_int_equal(sent[RPC_ANSWER], REQUESTS);
    assert_int_equal(sent[RPC_HELLO] + sent[RPC_PROBE] + sent[RPC_STATUS], 0);
    assert_true(sent[RPC_ACK] <= 1 + REQUESTS / 20);
    fleet_destroy(f);
}

/* Who starts anew is asked once who it is, in the time that its own first request takes. */
static void a_peer_that_starts_anew_waits_for_nothing(void **state)
{
    (void)state;
    fleet *f = fleet_create(4, 2, 0);
    unsigned sent[UINT8_MAX + 1] = {0};
    delays(f, 0, 0, 1 * MS);
    they_hear_each_other(f);
    gn_sim_run_for(f->sim, 500 * MS);
    restart(f, 2);
    gn_sim_on_frame(f->sim, count_frame, sent);
    asked *first = fleet_ask(f, 2, 1, ECHO, 8, 0);
    finish(f);
    assert_int_equal(first->code, GN_OK);
    assert_true(first->done_ns - first->started_ns < 5 * MS); /* hello and request, there and back */
    assert_int_equal(sent[RPC_PROBE], 1);
    assert_int_equal(sent[RPC_STATUS], 1);
    assert_int_equal(sent[RPC_REQUEST], 1);
    fleet_destroy(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_frame_of_the_dead_that_comes_late_is_not_believed),
        cmocka_unit_test(the_living_one_is_believed_whoever_is_heard_late),
        cmocka_unit_test(nodes_that_start_anew_all_the_time_hear_each_other_at_last),
        cmocka_unit_test(two_frames_for_each_request_and_its_answer),
        cmocka_unit_test(a_peer_that_starts_anew_waits_for_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
