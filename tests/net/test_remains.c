/* Which replica goes on when nodes were lost for ever. */
#include "net/remains.h"
#include "tests/base/cmocka_all.h"

static gn_remains_member three[] = {{1, true}, {2, true}, {3, true}};
static gn_remains_member five[] = {{1, true}, {2, true}, {3, true}, {4, true}, {5, true}};

static gn_remains_replica replica(gn_node_id node, uint64_t term, uint64_t index)
{
    return (gn_remains_replica){
        .node = node, .whole = true, .last_term = term, .last_index = index, .members = five, .n_members = 5};
}

static gn_remains judge(const gn_remains_replica *replicas, size_t n, size_t n_answering)
{
    static const gn_node_id answering[] = {1, 2, 3, 4, 5};
    gn_remains out;
    gn_remains_judge(replicas, n, answering, n_answering, &out);
    return out;
}

static void the_later_term_is_the_longer_log(void **state)
{
    (void)state;
    gn_remains_replica replicas[] = {replica(1, 7, 900), replica(2, 8, 500)};
    gn_remains found = judge(replicas, 2, 2);
    assert_int_equal(found.fate, GN_FATE_FORCED);
    assert_int_equal(found.chosen->node, 2);
    assert_int_equal(found.voters, 5);
    assert_int_equal(found.left, 2);
    replicas[0].last_term = 8;
    assert_int_equal(judge(replicas, 2, 2).chosen->node, 1);
}

static void what_is_not_whole_or_no_member_does_not_go_on(void **state)
{
    (void)state;
    gn_remains_replica replicas[] = {replica(1, 7, 900), replica(2, 7, 500)};
    replicas[0].whole = false;
    assert_int_equal(judge(replicas, 2, 2).chosen->node, 2);
    replicas[0] = replica(9, 7, 900);
    gn_remains found = judge(replicas, 2, 2);
    assert_int_equal(found.chosen->node, 2);
    assert_int_equal(found.left, 1);
    assert_int_equal(judge(replicas, 1, 1).fate, GN_FATE_LOST);
    assert_null(judge(replicas, 1, 1).chosen);
}

static void a_majority_is_well_and_one_that_is_not_whole_yet_is_waited_for(void **state)
{
    (void)state;
    gn_remains_replica replicas[] = {replica(1, 7, 900), replica(2, 7, 500)};
    replicas[0].members = replicas[1].members = three;
    replicas[0].n_members = replicas[1].n_members = 3;
    assert_int_equal(judge(replicas, 2, 2).fate, GN_FATE_WELL);
    replicas[0].whole = false;
    assert_int_equal(judge(replicas, 2, 2).fate, GN_FATE_WAITS);
    assert_int_equal(judge(replicas, 2, 1).fate, GN_FATE_FORCED); /* only one of the two answers by now */
    replicas[1].serves = true;
    assert_int_equal(judge(replicas, 2, 1).fate, GN_FATE_WELL);
}

static void a_replica_that_is_not_open_yet_may_have_the_longest_log(void **state)
{
    (void)state;
    gn_remains_replica replicas[] = {replica(1, 7, 900), replica(2, 7, 500)};
    assert_int_equal(judge(replicas + 1, 1, 2).fate, GN_FATE_WAITS); /* node 1 answers */
    assert_int_equal(judge(replicas, 2, 2).fate, GN_FATE_FORCED);
}

static void who_does_not_vote_may_go_on_but_makes_no_majority(void **state)
{
    (void)state;
    static gn_remains_member members[] = {{1, true}, {2, true}, {3, true}, {4, false}};
    gn_remains_replica replicas[] = {replica(1, 7, 10), replica(4, 7, 11)};
    for (int i = 0; i < 2; i++) {
        replicas[i].members = members;
        replicas[i].n_members = 4;
    }
    gn_remains found = judge(replicas, 2, 1);
    assert_int_equal(found.fate, GN_FATE_FORCED);
    assert_int_equal(found.chosen->node, 4);
    assert_int_equal(found.left, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_later_term_is_the_longer_log),
        cmocka_unit_test(what_is_not_whole_or_no_member_does_not_go_on),
        cmocka_unit_test(a_majority_is_well_and_one_that_is_not_whole_yet_is_waited_for),
        cmocka_unit_test(a_replica_that_is_not_open_yet_may_have_the_longest_log),
        cmocka_unit_test(who_does_not_vote_may_go_on_but_makes_no_majority),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
