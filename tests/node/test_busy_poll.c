/* Whether a wait looks or sleeps, what came is given as recv would, and nobody is left counted as looking. */
#include "node/busy_poll.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

typedef struct fixture {
    gn_world *world;
    gn_busy_poll poll;
    int near, far;
} fixture;

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    f->world = gn_world_real_create(&(gn_world_options){.node_id = 1});
    gn_busy_poll_init(&f->poll, f->world, 1000);
    f->poll.at_most = 1; /* whatever the machine has */
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    f->near = ends[0];
    f->far = ends[1];
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    close(f->near);
    gn_world_real_destroy(f->world);
    free(f);
    return 0;
}

static void *send_late(void *arg)
{
    fixture *f = arg;
    sched_yield();
    assert_int_equal(send(f->far, "late", 4, 0), 4);
    return NULL;
}

static void test_what_is_there_is_given_at_once(void **state)
{
    fixture *f = *state;
    char got[8];
    const uint64_t waits[] = {0, UINT64_MAX};
    for (size_t i = 0; i < 2; i++) {
        uint64_t last = waits[i];
        assert_int_equal(send(f->far, "abc", 3, 0), 3);
        assert_int_equal(gn_busy_poll_recv(&f->poll, &last, f->near, got, sizeof got), 3);
        assert_memory_equal(got, "abc", 3);
        assert_true(last < UINT64_MAX);
        assert_int_equal(atomic_load(&f->poll.looking), 0);
    }
    close(f->far);
    uint64_t last = 0;
    assert_int_equal(gn_busy_poll_recv(&f->poll, &last, f->near, got, sizeof got), 0);
}

static void test_what_comes_later_is_slept_for(void **state)
{
    fixture *f = *state;
    f->poll.limit_ns = 1; /* one look, and mostly in vain */
    for (int i = 0; i < 50; i++) {
        char got[8];
        uint64_t last = 0;
        pthread_t other;
        assert_int_equal(pthread_create(&other, NULL, send_late, f), 0);
        assert_int_equal(gn_busy_poll_recv(&f->poll, &last, f->near, got, sizeof got), 4);
        pthread_join(other, NULL);
        assert_int_equal(atomic_load(&f->poll.looking), 0);
    }
    close(f->far);
}

static void test_who_waited_long_does_not_look(void **state)
{
    fixture *f = *state;
    assert_false(gn_busy_poll_take(&f->poll, UINT64_MAX));
    assert_false(gn_busy_poll_take(&f->poll, 10 * f->poll.limit_ns));
    assert_int_equal(atomic_load(&f->poll.looking), 0);
    assert_true(gn_busy_poll_take(&f->poll, f->poll.limit_ns));
    close(f->far);
}

static void test_no_more_threads_look_than_may(void **state)
{
    fixture *f = *state;
    f->poll.at_most = 2;
    assert_true(gn_busy_poll_take(&f->poll, 0));
    assert_true(gn_busy_poll_take(&f->poll, 0));
    assert_false(gn_busy_poll_take(&f->poll, 0));
    assert_int_equal(atomic_load(&f->poll.looking), 2);
    close(f->far);
}

static void test_a_limit_of_zero_is_never(void **state)
{
    fixture *f = *state;
    gn_busy_poll_init(&f->poll, f->world, 0);
    assert_false(gn_busy_poll_take(&f->poll, 0));
    close(f->far);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_is_there_is_given_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_comes_later_is_slept_for, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_who_waited_long_does_not_look, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_more_threads_look_than_may, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_limit_of_zero_is_never, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
