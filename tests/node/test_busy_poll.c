/* Who may look for what comes next, and that what was taken is given back. */
#include "node/busy_poll.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

typedef struct fixture {
    gn_world *world;
    gn_busy_poll poll;
} fixture;

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    f->world = gn_world_real_create(&(gn_world_options){.node_id = 1});
    gn_busy_poll_init(&f->poll, f->world, 1000);
    f->poll.at_most = 1; /* whatever the machine has */
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    gn_world_real_destroy(f->world);
    free(f);
    return 0;
}

static void test_who_waited_long_does_not_look(void **state)
{
    fixture *f = *state;
    assert_false(gn_busy_poll_take(&f->poll, UINT64_MAX));
    assert_false(gn_busy_poll_take(&f->poll, 10 * f->poll.limit_ns));
    assert_int_equal(atomic_load(&f->poll.looking), 0);
    assert_true(gn_busy_poll_take(&f->poll, f->poll.limit_ns));
    gn_busy_poll_give_back(&f->poll);
    assert_int_equal(atomic_load(&f->poll.looking), 0);
}

static void test_no_more_threads_look_than_may(void **state)
{
    fixture *f = *state;
    f->poll.at_most = 2;
    assert_true(gn_busy_poll_take(&f->poll, 0));
    assert_true(gn_busy_poll_take(&f->poll, 0));
    assert_false(gn_busy_poll_take(&f->poll, 0));
    assert_int_equal(atomic_load(&f->poll.looking), 2);
}

static void test_a_limit_of_zero_is_never(void **state)
{
    fixture *f = *state;
    gn_busy_poll_init(&f->poll, f->world, 0);
    assert_false(gn_busy_poll_take(&f->poll, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_who_waited_long_does_not_look, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_more_threads_look_than_may, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_limit_of_zero_is_never, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
