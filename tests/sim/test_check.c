/* Each check must be able to fail: small histories that break one rule each, and one that breaks none. */
#include "tests/base/cmocka_all.h"
#include "tests/sim/check.h"

#include <string.h>

enum { GROUP = 1, NODES = 3 };

static check *c;

static int open_check(void **state)
{
    (void)state;
    c = check_create(GROUP, NODES, NODES);
    return 0;
}

static int close_check(void **state)
{
    (void)state;
    check_destroy(c);
    return 0;
}

static void assert_violation(const char *text)
{
    assert_non_null(check_violation(c));
    if (!strstr(check_violation(c), text))
        fail_msg("\"%s\" does not say \"%s\"", check_violation(c), text);
}

static void write_state(gn_node_id node, uint64_t term, uint64_t vote)
{
    uint8_t key[GN_RAFT_KEY_SIZE], value[GN_RAFT_STATE_SIZE];
    gn_raft_key(key, GROUP, GN_RAFT_KIND_STATE, 0);
    gn_raft_state_write(value, GROUP, term, vote);
    gn_disk_op op = {
        .kind = GN_DISK_PUT, .key = gn_bytes_of(key, sizeof key), .value = gn_bytes_of(value, sizeof value)};
    check_durable(c, node, &op, 1);
}

static void write_entry(gn_node_id node, uint64_t index, uint64_t term, const char *command)
{
    uint8_t key[GN_RAFT_KEY_SIZE], value[100];
    gn_raft_record record = {.term = term, .type = RAFT_COMMAND, .payload = gn_bytes_str(command)};
    gn_raft_key(key, GROUP, GN_RAFT_KIND_ENTRY, index);
    gn_raft_record_write(value, GROUP, index, &record);
    gn_disk_op op = {.kind = GN_DISK_PUT,
                     .key = gn_bytes_of(key, sizeof key),
                     .value = gn_bytes_of(value, GN_RAFT_RECORD_HEADER + strlen(command))};
    check_durable(c, node, &op, 1);
}

static void truncate_log(gn_node_id node, uint64_t from)
{
    uint8_t key[GN_RAFT_KEY_SIZE], end[GN_RAFT_KEY_SIZE];
    gn_raft_key(key, GROUP, GN_RAFT_KIND_ENTRY, from);
    gn_raft_key(end, GROUP, GN_RAFT_KIND_ENTRY, UINT64_MAX);
    gn_disk_op op = {
        .kind = GN_DISK_DELETE_RANGE, .key = gn_bytes_of(key, sizeof key), .value = gn_bytes_of(end, sizeof end)};
    check_durable(c, node, &op, 1);
}

static void apply(gn_node_id node, uint64_t index, uint64_t term, const char *command)
{
    gn_raft_entry entry = {.index = index, .term = term, .command = gn_bytes_str(command)};
    check_applied(c, node, index, index, &entry, 1);
}

/* Entries 1 and 2 of term 1 on all disks, applied on nodes 1 and 2; node 1 leads. */
static void good_history(void)
{
    for (gn_node_id node = 1; node <= NODES; node++) {
        write_state(node, 1, 1);
        write_entry(node, 1, 1, "a");
        write_entry(node, 2, 1, "b");
    }
    check_leader(c, 1, 1);
    for (gn_node_id node = 1; node <= 2; node++) {
        apply(node, 1, 1, "a");
        apply(node, 2, 1, "b");
        check_state(c, node, 2, 77);
    }
    check_acknowledged(c, 2, gn_bytes_str("b"));
    check_read_ends(c, check_read_begins(c), 2);
    check_complete(c, 1, 2);
    assert_null(check_violation(c));
}

static void a_good_history_passes(void **state)
{
    (void)state;
    good_history();
    write_entry(1, 3, 1, "c"); /* never committed: another leader may replace it */
    write_state(1, 2, 2);
    truncate_log(1, 3);
    write_entry(1, 3, 2, "d");
    write_state(2, 2, 2);
    check_leader(c, 2, 2);
    assert_null(check_violation(c));
    assert_int_equal(check_count(c).overwritten, 1);
}

static void two_leaders_of_a_term_are_seen(void **state)
{
    (void)state;
    good_history();
    check_leader(c, 2, 1);
    assert_violation("two leaders");
}

static void a_second_vote_and_an_older_term_are_seen(void **state)
{
    (void)state;
    good_history();
    write_state(3, 1, 2);
    assert_violation("voted twice");
}

static void an_older_term_is_seen(void **state)
{
    (void)state;
    write_state(3, 5, 0);
    write_state(3, 4, 0);
    assert_violation("went back from term");
}

static void entries_that_differ_are_seen(void **state)
{
    (void)state;
    good_history();
    write_entry(1, 3, 1, "c");
    write_entry(2, 3, 1, "C");
    assert_violation("differs from another's");
}

static void logs_that_differ_before_an_entry_are_seen(void **state)
{
    (void)state;
    write_entry(1, 1, 1, "a");
    write_entry(1, 2, 3, "b");
    write_entry(2, 1, 2, "a");
    write_entry(2, 2, 3, "b");
    assert_violation("logs differ before entry 2");
}

static void a_leader_without_a_committed_entry_is_seen(void **state)
{
    (void)state;
    for (gn_node_id node = 1; node <= 2; node++) {
        write_state(node, 1, 1);
        write_entry(node, 1, 1, "a");
        write_entry(node, 2, 1, "b");
    }
    apply(1, 1, 1, "a");
    apply(1, 2, 1, "b");
    write_state(3, 2, 3);
    check_leader(c, 3, 2);
    assert_violation("leads term 2 without committed entry 1");
}

static void a_committed_entry_that_is_removed_is_seen(void **state)
{
    (void)state;
    good_history();
    truncate_log(3, 2);
    assert_violation("removed committed entry 2");
}

static void a_committed_entry_that_is_replaced_is_seen(void **state)
{
    (void)state;
    good_history();
    write_entry(3, 2, 2, "x");
    assert_violation("removed committed entry 2");
}

static void an_entry_applied_before_a_majority_has_it_is_seen(void **state)
{
    (void)state;
    good_history();
    write_entry(1, 3, 1, "c");
    apply(1, 3, 1, "c");
    assert_violation("only 1 disks");
}

static void an_entry_applied_that_is_not_on_the_disk_is_seen(void **state)
{
    (void)state;
    good_history();
    apply(1, 3, 1, "c");
    assert_violation("not on its disk");
}

static void another_command_than_that_of_the_disk_is_seen(void **state)
{
    (void)state;
    good_history();
    apply(3, 1, 1, "z");
    assert_violation("something else than entry 1");
}

static void another_entry_than_others_applied_is_seen(void **state)
{
    (void)state;
    write_entry(1, 2, 1, "b");
    write_entry(2, 2, 1, "b");
    apply(1, 2, 1, "b");
    write_entry(3, 2, 2, "x");
    apply(3, 2, 2, "x");
    assert_violation("another entry 2 than others");
}

static void states_that_differ_are_seen(void **state)
{
    (void)state;
    good_history();
    check_state(c, 3, 2, 78);
    assert_violation("differs from others'");
}

static void an_acknowledgement_of_something_else_is_seen(void **state)
{
    (void)state;
    good_history();
    check_acknowledged(c, 2, gn_bytes_str("a"));
    assert_violation("which is not it");
}

static void a_stale_read_is_seen(void **state)
{
    (void)state;
    good_history();
    check_read_ends(c, check_read_begins(c), 1);
    assert_violation("a read saw entry 1 and not 2");
}

static void a_lost_acknowledgement_is_seen(void **state)
{
    (void)state;
    good_history();
    check_complete(c, 3, 1);
    assert_violation("although 2 was acknowledged");
}

static void send(gn_node_id from, gn_node_id to, const struct raft_message *message)
{
    gn_raft_wire wire = {.group = GROUP, .type = (uint8_t)message->type, .core = *message};
    check_message(c, from, to, &wire);
}

static void a_vote_sent_before_it_is_durable_is_seen(void **state)
{
    (void)state;
    good_history();
    write_state(3, 2, 0);
    struct raft_message m = {.type = RAFT_REQUEST_VOTE_RESULT};
    m.request_vote_result = (struct raft_request_vote_result){.term = 2, .vote_granted = true, .pre_vote = true};
    send(3, 2, &m);
    assert_null(check_violation(c));
    m.request_vote_result.pre_vote = false;
    send(3, 2, &m);
    assert_violation("sent its vote of term 2 before it was durable");
}

static void a_term_sent_before_it_is_durable_is_seen(void **state)
{
    (void)state;
    good_history();
    struct raft_message m = {.type = RAFT_REQUEST_VOTE};
    m.request_vote = (struct raft_request_vote){.term = 2, .candidate_id = 3};
    send(3, 2, &m);
    assert_violation("sent a candidacy of term 2 before that term was durable");
}

static void an_entry_accepted_before_it_is_durable_is_seen(void **state)
{
    (void)state;
    good_history();
    struct raft_message m = {.type = RAFT_APPEND_ENTRIES_RESULT};
    m.append_entries_result = (struct raft_append_entries_result){.term = 1, .last_log_index = 2};
    send(3, 1, &m);
    assert_null(check_violation(c));
    m.append_entries_result.last_log_index = 3;
    send(3, 1, &m);
    assert_violation("accepted entry 3 before it was durable");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_check, close_check)
    const struct CMUnitTest tests[] = {
        TEST(a_good_history_passes),
        TEST(two_leaders_of_a_term_are_seen),
        TEST(a_second_vote_and_an_older_term_are_seen),
        TEST(an_older_term_is_seen),
        TEST(entries_that_differ_are_seen),
        TEST(logs_that_differ_before_an_entry_are_seen),
        TEST(a_leader_without_a_committed_entry_is_seen),
        TEST(a_committed_entry_that_is_removed_is_seen),
        TEST(a_committed_entry_that_is_replaced_is_seen),
        TEST(an_entry_applied_before_a_majority_has_it_is_seen),
        TEST(an_entry_applied_that_is_not_on_the_disk_is_seen),
        TEST(another_command_than_that_of_the_disk_is_seen),
        TEST(another_entry_than_others_applied_is_seen),
        TEST(states_that_differ_are_seen),
        TEST(an_acknowledgement_of_something_else_is_seen),
        TEST(a_stale_read_is_seen),
        TEST(a_lost_acknowledgement_is_seen),
        TEST(a_vote_sent_before_it_is_durable_is_seen),
        TEST(a_term_sent_before_it_is_durable_is_seen),
        TEST(an_entry_accepted_before_it_is_durable_is_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
