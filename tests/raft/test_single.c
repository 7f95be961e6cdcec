/* A group of one voter on the machine's own disk: submit, apply, restart, reads, snapshots, faults of the log. */
#include "base/buf.h"
#include "base/limits.h"
#include "base/memory.h"
#include "tests/base/cmocka_all.h"
#include "tests/raft/alone.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static alone my;
static gn_raft_host *host;
static const gn_raft_member SELF = {1, GN_RAFT_VOTER};
static atomic_int failures;

static void on_failed(void *ctx, gn_code code, const char *message)
{
    (void)ctx, (void)code, (void)message;
    failures++;
}

static void open_host(const gn_raft_options *more)
{
    gn_raft_options options = more ? *more : (gn_raft_options){0};
    gn_error err = {0};
    options.log_dir = my.dir;
    options.failed = on_failed;
    gn_code code = gn_raft_host_open(my.world, &options, &host, &err);
    assert_string_equal(err.message, "");
    assert_int_equal(code, GN_OK);
}

static gn_raft_group *open_group(uint64_t id, uint64_t applied)
{
    gn_raft_group *group;
    gn_error err = {0};
    gn_code code = gn_raft_group_open(host, id, &my.rec.fsm, applied, &SELF, 1, &group, &err);
    assert_string_equal(err.message, "");
    assert_int_equal(code, GN_OK);
    return group;
}

static int set_up(void **state)
{
    (void)state;
    alone_set_up(&my);
    failures = 0;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    alone_tear_down(&my);
    return 0;
}

static void assert_command(size_t i, const char *expected)
{
    char *command = recorder_command(&my.rec, i);
    assert_string_equal(command, expected);
    free(command);
}

static void a_command_is_applied_and_answered(void **state)
{
    (void)state;
    open_host(NULL);
    gn_raft_group *group = open_group(7, 0);
    assert_int_equal(call_submit(my.world, group, "one"), GN_OK);
    assert_int_equal(call_submit(my.world, group, ""), GN_OK);
    assert_int_equal(call_submit(my.world, group, "three"), GN_OK);
    assert_int_equal(recorder_count(&my.rec), 3);
    assert_command(0, "one");
    assert_command(1, "");
    assert_command(2, "three");
    gn_raft_status status;
    gn_raft_status_get(group, &status);
    assert_true(status.leads && status.can_read);
    assert_int_equal(status.leader, 1);
    assert_int_equal(status.n_members, 1);
    gn_raft_group_close(group);
    gn_raft_host_close(host);
}

static void what_was_acknowledged_is_there_after_a_restart(void **state)
{
    (void)state;
    char text[32];
    open_host(NULL);
    gn_raft_group *group = open_group(7, 0);
    for (int i = 0; i < 100; i++) {
        snprintf(text, sizeof text, "command %d", i);
        assert_int_equal(call_submit(my.world, group, text), GN_OK);
    }
    gn_raft_status before, after;
    gn_raft_status_get(group, &before);
    gn_raft_group_close(group);
    gn_raft_host_close(host);

    recorder_close(&my.rec);
    recorder_init(&my.rec, my.world);
    open_host(NULL);
    group = open_group(7, 0); /* returns when all of it is applied */
    assert_int_equal(recorder_count(&my.rec), 100);
    assert_command(99, "command 99");
    gn_raft_status_get(group, &after);
    assert_true(after.term > before.term); /* a sole voter leads in a new term, so that no term has two leaders */
    gn_raft_group_close(group);
    gn_raft_host_close(host);
}

static void a_state_machine_gets_only_what_it_lacks(void **state)
{
    (void)state;
    open_host(NULL);
    gn_raft_group *group = open_group(7, 0);
    assert_int_equal(call_submit(my.world, group, "a"), GN_OK);
    call c;
    call_prepare(&c, my.world, "b");
    gn_raft_submit(group, &c.request);
    assert_int_equal(call_wait(&c, my.world), GN_OK);
    assert_int_equal(call_submit(my.world, group, "c"), GN_OK);
    gn_raft_group_close(group);
    gn_raft_host_close(host);

    recorder_close(&my.rec);
    recorder_init(&my.rec, my.world);
    open_host(NULL);
    group = open_group(7, c.request.index);
    assert_int_equal(recorder_count(&my.rec), 1);
    assert_command(0, "c");
    gn_raft_group_close(group);
    gn_raft_host_close(host);
}

static void a_state_machine_ahead_of_the_log_is_refused(void **state)
{
    (void)state;
    gn_raft_group *group;
    gn_error err = {0};
    open_host(NULL);
    group = open_group(7, 0);
    assert_int_equal(call_submit(my.world, group, "a"), GN_OK);
    gn_raft_group_close(group);
    assert_int_equal(gn_raft_group_open(host, 7, &my.rec.fsm, 1000, &SELF, 1, &group, &err), GN_CORRUPT);
    gn_raft_host_close(host);
}

enum { CLIENTS = 32, EACH = 50 };

typedef struct client {
    gn_raft_group *group;
    gn_strand *strand;
    int id;
} client;

static void run_client(void *arg)
{
    client *c = arg;
    char text[32];
    for (int i = 0; i < EACH; i++) {
        snprintf(text, sizeof text, "%d %d", c->id, i);
        assert_int_equal(call_submit(my.world, c->group, text), GN_OK);
    }
}

static void many_clients_and_groups_share_writes(void **state)
{
    (void)state;
    client clients[CLIENTS];
    recorder other;
    gn_raft_group *groups[2];
    gn_error err = {0};
    recorder_init(&other, my.world);
    open_host(NULL);
    groups[0] = open_group(1, 0);
    assert_int_equal(gn_raft_group_open(host, 2, &other.fsm, 0, &SELF, 1, &groups[1], &err), GN_OK);
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = (client){.group = groups[i % 2], .id = i};
        clients[i].strand = gn_strand_start(my.world, "client", run_client, &clients[i]);
    }
    for (int i = 0; i < CLIENTS; i++)
        gn_strand_join(clients[i].strand);
    assert_int_equal(recorder_count(&my.rec) + recorder_count(&other), CLIENTS * EACH);
    int next[CLIENTS] = {0}; /* each client's commands in its order */
    for (size_t i = 0; i < recorder_count(&my.rec); i++) {
        char *command = recorder_command(&my.rec, i);
        int id, n;
        assert_int_equal(sscanf(command, "%d %d", &id, &n), 2);
        assert_int_equal(n, next[id]++);
        free(command);
    }
    gn_raft_group_close(groups[0]);
    gn_raft_group_close(groups[1]);
    recorder_close(&other);
    gn_raft_host_close(host);
}

static void a_read_sees_what_was_acknowledged_and_waits_for_nothing_else(void **state)
{
    (void)state;
    open_host(NULL);
    gn_raft_group *group = open_group(7, 0);
    call write, read;
    pthread_mutex_lock(&my.rec.lock);
    my.rec.hold = true;
    pthread_mutex_unlock(&my.rec.lock);
    call_prepare(&write, my.world, "a");
    gn_raft_submit(group, &write.request);
    gn_raft_status status; /* committed, held by the state machine, so not acknowledged */
    do {
        gn_raft_status_get(group, &status);
    } while (status.commit_index < 3);
    call_prepare(&read, my.world, "");
    gn_raft_read_index(group, &read.request);
    assert_int_equal(call_wait(&read, my.world), GN_OK);
    assert_true(read.request.index < 3);
    recorder_release(&my.rec);
    assert_int_equal(call_wait(&write, my.world), GN_OK);
    assert_int_equal(recorder_count(&my.rec), 1);
    call_prepare(&read, my.world, "");
    gn_raft_read_index(group, &read.request);
    assert_int_equal(call_wait(&read, my.world), GN_OK);
    gn_raft_group_close(group);
    gn_raft_host_close(host);
}

static void closing_fails_what_is_pending(void **state)
{
    (void)state;
    open_host(NULL);
    gn_raft_group *group = open_group(7, 0);
    call calls[100];
    for (int i = 0; i < 100; i++) {
        call_prepare(&calls[i], my.world, "x");
        gn_raft_submit(group, &calls[i].request);
    }
    gn_raft_group_close(group);
    for (int i = 0; i < 100; i++) {
        gn_code code = call_wait(&calls[i], my.world);
        assert_true(code == GN_OK || code == GN_SHUTDOWN);
    }
    gn_raft_host_close(host);
}

static void a_snapshot_cuts_the_log_and_a_restart_goes_on_from_it(void **state)
{
    (void)state;
    char text[2000];
    gn_raft_options options = {.snapshot_threshold_bytes = 20000, .log_keep_bytes = 1000};
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = 0;
    open_host(&options);
    gn_raft_group *group = open_group(7, 0);
    for (int i = 0; i < 100; i++)
        assert_int_equal(call_submit(my.world, group, text), GN_OK);
    gn_raft_status status; /* is published at the end of a turn, after what was answered in it */
    do {
        gn_raft_status_get(group, &status);
    } while (status.first_index <= 50);
    assert_true(status.snapshot_index > 50);
    assert_true(status.first_index > 50 && status.first_index <= status.snapshot_index + 1);
    call c;
    call_prepare(&c, my.world, "");
    gn_raft_take_snapshot(group, &c.request);
    assert_int_equal(call_wait(&c, my.world), GN_OK);
    do {
        gn_raft_status_get(group, &status);
    } while (status.snapshot_index < c.request.index);
    assert_int_equal(c.request.index, status.snapshot_index);
    uint64_t applied = status.applied_index;
    gn_raft_group_close(group);
    gn_raft_host_close(host);

    open_host(&options);
    group = open_group(7, applied);
    assert_int_equal(call_submit(my.world, group, "after"), GN_OK);
    assert_int_equal(recorder_count(&my.rec), 101);
    gn_raft_group_close(group);
    gn_raft_host_close(host);
}

static void the_log_is_not_cut_above_what_the_state_machine_has_made_durable(void **state)
{
    (void)state;
    gn_raft_options options = {.log_keep_bytes = 1};
    call c;
    open_host(&options);
    gn_raft_group *group = open_group(7, 0);
    for (int i = 0; i < 20; i++)
        assert_int_equal(call_submit(my.world, group, "x"), GN_OK);
    pthread_mutex_lock(&my.rec.lock);
    my.rec.durable = 5;
    pthread_mutex_unlock(&my.rec.lock);
    call_prepare(&c, my.world, "");
    gn_raft_take_snapshot(group, &c.request);
    assert_int_equal(call_wait(&c, my.world), GN_OK);
    gn_raft_status status; /* is published at the end of the turn that answered */
    do {
        gn_raft_status_get(group, &status);
    } while (status.first_index < 6);
    assert_int_equal(status.first_index, 6);
    gn_raft_group_close(group);
    recorder_close(&my.rec); /* the state machine comes back with no more than it made durable */
    recorder_init(&my.rec, my.world);
    group = open_group(7, 5);
    assert_int_equal(recorder_count(&my.rec), 20 + 2 - 5);
    gn_raft_group_close(group);
    gn_raft_host_close(host);
}

static void a_failing_state_machine_stops_its_group_alone(void **state)
{
    (void)state;
    recorder other;
    gn_raft_group *sound, *broken;
    gn_error err = {0};
    recorder_init(&other, my.world);
    open_host(NULL);
    sound = open_group(1, 0);
    assert_int_equal(gn_raft_group_open(host, 2, &other.fsm, 0, &SELF, 1, &broken, &err), GN_OK);
    other.apply_code = GN_IO;
    call_submit(my.world, broken, "x");
    gn_raft_status status;
    do {
        gn_raft_status_get(broken, &status);
    } while (!status.stopped);
    assert_int_equal(call_submit(my.world, broken, "y"), GN_CRASH_SHUTDOWN);
    assert_int_equal(call_submit(my.world, sound, "z"), GN_OK);
    assert_int_equal(failures, 0);
    gn_raft_group_close(broken);
    gn_raft_group_close(sound);
    recorder_close(&other);
    gn_raft_host_close(host);
}

static void one_group_is_not_opened_twice(void **state)
{
    (void)state;
    gn_raft_group *group, *again;
    gn_error err = {0};
    open_host(NULL);
    group = open_group(7, 0);
    assert_int_equal(gn_raft_group_open(host, 7, &my.rec.fsm, 0, &SELF, 1, &again, &err), GN_OBJECT_IN_USE);
    assert_int_equal(call_submit(my.world, group, "x"), GN_OK);
    gn_raft_group_close(group);
    gn_raft_host_close(host);
}

/* Though it has no leader, and has done nothing but to be opened. */
static void a_group_that_is_open_tells_its_members(void **state)
{
    (void)state;
    static const gn_raft_member THREE[] = {{1, GN_RAFT_VOTER}, {2, GN_RAFT_VOTER}, {3, GN_RAFT_VOTER}};
    gn_error err = {0};
    open_host(NULL);
    for (uint64_t id = 1; id <= 20; id++)
        for (int again = 0; again < 5; again++) { /* of a new log, then of one that is there */
            gn_raft_group *group;
            gn_raft_status status;
            assert_int_equal(gn_raft_group_open(host, id, &my.rec.fsm, again > 0, THREE, 3, &group, &err), GN_OK);
            gn_raft_status_get(group, &status);
            assert_int_equal(status.id, id);
            assert_int_equal(status.n_members, 3);
            gn_raft_group_close(group);
        }
    gn_raft_host_close(host);
}

static void an_entry_beyond_the_limit_is_refused(void **state)
{
    (void)state;
    call c;
    open_host(NULL);
    gn_raft_group *group = open_group(7, 0);
    call_prepare(&c, my.world, "x");
    c.request.command.len = GN_MAX_ENTRY; /* refused before it is read */
    gn_raft_submit(group, &c.request);
    assert_int_equal(call_wait(&c, my.world), GN_LIMIT);
    assert_int_equal(call_submit(my.world, group, "y"), GN_OK);
    gn_raft_group_close(group);
    gn_raft_host_close(host);
}

static void a_log_larger_than_its_cache_is_applied_from_the_disk(void **state)
{
    (void)state;
    enum { SIZE = 1 << 20, N = 24 };
    char *text = gn_xmalloc(SIZE);
    memset(text, 'x', SIZE);
    text[SIZE - 1] = 0;
    open_host(NULL);
    gn_raft_group *group = open_group(7, 0);
    for (int i = 0; i < N; i++) {
        text[0] = (char)('a' + i);
        assert_int_equal(call_submit(my.world, group, text), GN_OK);
    }
    gn_raft_group_close(group);
    recorder_close(&my.rec);
    recorder_init(&my.rec, my.world);
    group = open_group(7, 0);
    assert_int_equal(recorder_count(&my.rec), N);
    for (int i = 0; i < N; i++)
        assert_int_equal(my.rec.commands[i][0], 'a' + i);
    gn_raft_group_close(group);
    gn_raft_host_close(host);
    free(text);
}

static void another_nodes_log_is_refused(void **state)
{
    (void)state;
    gn_error err = {0};
    open_host(NULL);
    gn_raft_host_close(host);
    gn_world *stranger = gn_world_real_create(&(gn_world_options){.threads = 2, .node_id = 2});
    assert_int_equal(gn_raft_host_open(stranger, &(gn_raft_options){.log_dir = my.dir}, &host, &err), GN_CONFIGURATION);
    gn_world_real_destroy(stranger);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_command_is_applied_and_answered, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_was_acknowledged_is_there_after_a_restart, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_state_machine_gets_only_what_it_lacks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_state_machine_ahead_of_the_log_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(many_clients_and_groups_share_writes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_read_sees_what_was_acknowledged_and_waits_for_nothing_else, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(closing_fails_what_is_pending, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_snapshot_cuts_the_log_and_a_restart_goes_on_from_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_log_is_not_cut_above_what_the_state_machine_has_made_durable, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_failing_state_machine_stops_its_group_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_group_is_not_opened_twice, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_group_that_is_open_tells_its_members, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_entry_beyond_the_limit_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_log_larger_than_its_cache_is_applied_from_the_disk, set_up, tear_down),
        cmocka_unit_test_setup_teardown(another_nodes_log_is_refused, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
