/* The last resort: groups that lost their majority go on with one node. */
#include "base/memory.h"
#include "raft/force.h"
#include "tests/base/cmocka_all.h"
#include "tests/raft/alone.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static alone my;
static gn_raft_host *host;
static const gn_raft_member ALL[] = {{1, GN_RAFT_VOTER}, {2, GN_RAFT_VOTER}, {3, GN_RAFT_VOTER}};

static gn_code add(gn_raft_group *group, gn_node_id node)
{
    call c;
    call_prepare(&c, my.world, "");
    gn_raft_add(group, node, &c.request);
    return call_wait(&c, my.world);
}

static void open_host(void)
{
    gn_error err = {0};
    gn_raft_options options = {.log_dir = my.dir};
    assert_int_equal(gn_raft_host_open(my.world, &options, &host, &err), GN_OK);
}

static gn_raft_group *open_group(uint64_t id, size_t n)
{
    gn_raft_group *group;
    gn_error err = {0};
    gn_code code = gn_raft_group_open(host, id, &my.rec.fsm, 0, ALL, n, &group, &err);
    assert_string_equal(err.message, "");
    assert_int_equal(code, GN_OK);
    return group;
}

static gn_raft_force_group *survey(bool apply, size_t expected)
{
    gn_raft_force_group *groups;
    size_t n;
    gn_error err = {0};
    gn_code code = gn_raft_force_alone(my.world, my.dir, apply, &groups, &n, &err);
    assert_string_equal(err.message, "");
    assert_int_equal(code, GN_OK);
    assert_int_equal(n, expected);
    return groups;
}

static int set_up(void **state)
{
    (void)state;
    alone_set_up(&my);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    alone_tear_down(&my);
    return 0;
}

static void close_all(gn_raft_group *a, gn_raft_group *b)
{
    gn_raft_group_close(a);
    if (b)
        gn_raft_group_close(b);
    gn_raft_host_close(host);
}

static void a_group_without_a_majority_goes_on_alone(void **state)
{
    uint64_t term;
    (void)state;
    open_host();
    close_all(open_group(7, 3), open_group(8, 1));
    gn_raft_force_group *groups = survey(false, 2);
    assert_int_equal(groups[0].id, 7);
    assert_int_equal(groups[0].state, GN_RAFT_FORCE_CAN);
    assert_int_equal(groups[0].n_members, 3);
    assert_int_equal(groups[1].state, GN_RAFT_FORCE_ALONE);
    uint64_t last = groups[1].last_index;
    free(groups);
    free(survey(true, 2));
    groups = survey(true, 2); /* again: there is nothing to do */
    assert_int_equal(groups[0].state, GN_RAFT_FORCE_ALONE);
    assert_int_equal(groups[0].n_members, 1);
    assert_int_equal(groups[1].last_index, last); /* it was left as it was */
    free(groups);
    open_host();
    gn_raft_group *group = open_group(7, 0);
    assert_int_equal(call_submit(my.world, group, "after"), GN_OK);
    assert_int_equal(gn_raft_leader(group, &term), 1);
    close_all(group, NULL);
}

static void what_it_had_is_still_there(void **state)
{
    (void)state;
    open_host();
    gn_raft_group *group = open_group(7, 1);
    assert_int_equal(call_submit(my.world, group, "one"), GN_OK);
    assert_int_equal(add(group, 2), GN_OK);
    assert_int_equal(call_submit(my.world, group, "two"), GN_OK);
    close_all(group, NULL);
    gn_raft_force_group *groups = survey(true, 1);
    assert_int_equal(groups[0].state, GN_RAFT_FORCE_CAN);
    assert_int_equal(groups[0].n_members, 2);
    assert_int_equal(groups[0].members[1].role, GN_RAFT_NON_VOTER);
    uint64_t term = groups[0].last_term;
    free(groups);
    size_t before = recorder_count(&my.rec);
    open_host();
    group = open_group(7, 0); /* applies its log again */
    assert_int_equal(recorder_count(&my.rec), before + 2);
    assert_int_equal(call_submit(my.world, group, "three"), GN_OK);
    gn_raft_status *status = gn_xcalloc(1, sizeof *status);
    gn_raft_status_get(group, status);
    assert_int_equal(status->n_members, 1);
    assert_true(status->term > term);
    free(status);
    close_all(group, NULL);
}

static void groups_that_are_not_named_are_left_as_they_are(void **state)
{
    (void)state;
    gn_error err = {0};
    const uint64_t seven = 7, nine = 9;
    open_host();
    close_all(open_group(7, 3), open_group(8, 3));
    assert_int_equal(gn_raft_force_groups(my.world, my.dir, NULL, 0, &err), GN_OK);
    assert_int_equal(gn_raft_force_groups(my.world, my.dir, &nine, 1, &err), GN_NOT_IN_STATE);
    gn_raft_force_group *groups = survey(false, 2);
    assert_int_equal(groups[0].state, GN_RAFT_FORCE_CAN);
    assert_int_equal(groups[1].state, GN_RAFT_FORCE_CAN);
    free(groups);
    for (int i = 0; i < 2; i++) /* which is as good as once */
        assert_int_equal(gn_raft_force_groups(my.world, my.dir, &seven, 1, &err), GN_OK);
    groups = survey(false, 2);
    assert_int_equal(groups[0].state, GN_RAFT_FORCE_ALONE);
    assert_int_equal(groups[1].state, GN_RAFT_FORCE_CAN);
    free(groups);
}

static void a_log_that_is_in_use_is_left_alone(void **state)
{
    gn_raft_force_group *groups;
    size_t n;
    gn_error err = {0};
    (void)state;
    open_host();
    gn_raft_group *group = open_group(7, 3);
    assert_int_equal(gn_raft_force_alone(my.world, my.dir, true, &groups, &n, &err), GN_LOCKED);
    close_all(group, NULL);
}

static void who_is_no_member_is_not_forced(void **state)
{
    (void)state;
    open_host();
    close_all(open_group(7, 3), NULL);
    gn_world *other = gn_world_real_create(&(gn_world_options){.threads = 2, .node_id = 4});
    gn_raft_force_group *groups;
    size_t n;
    gn_error err = {0};
    assert_int_equal(gn_raft_force_alone(other, my.dir, true, &groups, &n, &err), GN_OK);
    assert_int_equal(groups[0].state, GN_RAFT_FORCE_NOT_MEMBER);
    free(groups);
    gn_world_real_destroy(other);
    groups = survey(false, 1);
    assert_int_equal(groups[0].n_members, 3);
    free(groups);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_group_without_a_majority_goes_on_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_it_had_is_still_there, set_up, tear_down),
        cmocka_unit_test_setup_teardown(groups_that_are_not_named_are_left_as_they_are, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_log_that_is_in_use_is_left_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_is_no_member_is_not_forced, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
