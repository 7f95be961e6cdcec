/* The twelve rules of raft/README.md for a host of libraft, each by a test that a host without it fails, and the traps
 * beside them. Mostly a host against puppets. */
#include "tests/base/cmocka_all.h"
#include "tests/raft/puppet.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct stage {
    cluster c;
    puppet two, three;
} stage;

static const puppet_entry_of FROM_TWO[] = {{2, "two a"}, {2, "two b"}, {2, "two c"}};
static const puppet_entry_of FROM_THREE[] = {{3, "three a"}};

static void disk_takes(stage *s, uint64_t ns)
{
    gn_sim_disk_faults slow = {.min_ns = ns, .max_ns = ns};
    gn_sim_disk_set(s->c.sim, 1, &slow);
}

/* A host on node 1 of a group of three; 2 and 3 are puppets. */
static void open_stage(stage *s, const gn_raft_options *options)
{
    gn_sim_link even = {.min_ns = MS / 10, .max_ns = MS / 10};
    cluster_start_with(&s->c, 1, 3, 3, 2, options);
    gn_sim_link_set(s->c.sim, 0, 0, &even);
    puppet_start(&s->two, &s->c, 2);
    puppet_start(&s->three, &s->c, 3);
    disk_takes(s, MS / 2);
}

static void end(stage *s)
{
    puppet_stop(&s->two);
    puppet_stop(&s->three);
    cluster_stop(&s->c);
}

static void run(stage *s, uint64_t ns)
{
    gn_sim_run_for(s->c.sim, ns);
}

static void crash_and_restart(stage *s)
{
    cluster_crash(&s->c, 1, GN_SIM_FORGET);
    cluster_restart(&s->c, 1);
}

static bool granted(const puppet *p)
{
    const heard *h = puppet_last(p, RAFT_REQUEST_VOTE_RESULT);
    return h && h->wire.core.request_vote_result.vote_granted;
}

static void rule_1_a_vote_is_durable_before_it_is_given(void **state)
{
    (void)state;
    stage s;
    open_stage(&s, NULL);
    disk_takes(&s, 100 * MS);
    puppet_ask_vote(&s.two, 1, 5, 1, 1);
    run(&s, 50 * MS);
    assert_int_equal(puppet_count(&s.two, RAFT_REQUEST_VOTE_RESULT), 0);
    run(&s, 100 * MS);
    assert_true(granted(&s.two));
    crash_and_restart(&s);
    puppet_ask_vote(&s.three, 1, 5, 9, 5); /* it remembers to whom it gave the vote of this term */
    run(&s, 300 * MS);
    assert_int_equal(puppet_count(&s.three, RAFT_REQUEST_VOTE_RESULT), 1);
    assert_false(granted(&s.three));
    end(&s);
}

static uint64_t highest_match(const puppet *p, uint64_t term)
{
    uint64_t highest = 0;
    for (size_t i = 0; i < p->n; i++) {
        const struct raft_append_entries_result *m = &p->heard[i].wire.core.append_entries_result;
        if (p->heard[i].wire.type == RAFT_APPEND_ENTRIES_RESULT && m->term == term && m->rejected == 0 &&
            m->last_log_index > highest)
            highest = m->last_log_index;
    }
    return highest;
}

static void rule_2_a_write_in_flight_does_not_vouch_for_entries_that_replaced_its_own(void **state)
{
    (void)state;
    stage s;
    open_stage(&s, NULL);
    disk_takes(&s, 100 * MS);
    puppet_append(&s.two, 1, 2, 1, 1, 1, FROM_TWO, 3); /* 2, 3, 4 of term 2 */
    run(&s, 20 * MS);
    puppet_append(&s.three, 1, 3, 1, 1, 1, FROM_THREE, 1); /* 2 of term 3 */
    run(&s, 100 * MS);                                     /* the first write is through, the second under way */
    assert_true(highest_match(&s.three, 3) < 2);
    run(&s, 100 * MS);
    assert_int_equal(highest_match(&s.three, 3), 2);
    assert_int_equal(cluster_status(&s.c, 1).last_index, 2);
    crash_and_restart(&s); /* the replaced entries do not come back */
    assert_int_equal(cluster_status(&s.c, 1).last_index, 2);
    puppet_append(&s.three, 1, 3, 2, 3, 2, NULL, 0);
    run(&s, 300 * MS);
    assert_true(cluster_has(&s.c, 1, "three a"));
    assert_false(cluster_has(&s.c, 1, "two a"));
    end(&s);
}

static void rule_2_a_snapshot_silences_the_writes_before_it(void **state)
{
    (void)state;
    stage s;
    open_stage(&s, NULL);
    disk_takes(&s, 100 * MS);
    puppet_append(&s.two, 1, 2, 1, 1, 1, FROM_TWO, 3);
    run(&s, 20 * MS);
    puppet_snapshot(&s.two, 1, 2, 10, 2, "x\0y", 4);
    run(&s, SECOND);
    assert_int_equal(cluster_status(&s.c, 1).snapshot_index, 10);
    assert_int_equal(cluster_status(&s.c, 1).applied_index, 10);
    assert_true(cluster_has(&s.c, 1, "y"));
    assert_false(cluster_has(&s.c, 1, "two a"));
    crash_and_restart(&s);
    assert_int_equal(cluster_status(&s.c, 1).first_index, 11);
    end(&s);
}

/* The puppets keep the host in office and acknowledge what it sends. */
static void acknowledge(stage *s, puppet *p)
{
    const heard *h = puppet_last(p, RAFT_APPEND_ENTRIES);
    if (h) {
        const struct raft_append_entries *m = &h->wire.core.append_entries;
        puppet_append_result(p, 1, m->term, 0, m->prev_log_index + m->n_entries);
    }
    run(s, MS);
}

static void lead(stage *s)
{
    puppet_elect(&s->two);
    run(s, 10 * MS);
    for (int i = 0; i < 2; i++) { /* the heartbeat of a new leader, then its barrier */
        acknowledge(s, &s->two);
        acknowledge(s, &s->three);
        run(s, 10 * MS);
    }
    assert_true(cluster_status(&s->c, 1).can_read);
}

static void ask_change(stage *s, cluster_call *call, void (*fn)(gn_raft_group *, gn_node_id, gn_raft_request *),
                       gn_node_id target)
{
    cluster_prepare(&s->c, 1, call, "");
    fn(s->c.node[1].group, target, &call->request);
    run(s, 5 * MS);
}

static void rule_3_one_change_at_a_time_and_never_of_the_leader_itself(void **state)
{
    (void)state;
    stage s;
    cluster_call add, other, self, command;
    open_stage(&s, NULL);
    lead(&s);
    ask_change(&s, &self, gn_raft_remove, 1);
    assert_true(self.ended && self.code == GN_NOT_IN_STATE);
    cluster_prepare(&s.c, 1, &command, "beside it");
    gn_raft_submit(s.c.node[1].group, &command.request);
    ask_change(&s, &add, gn_raft_add, 4);
    ask_change(&s, &other, gn_raft_add, 5);
    assert_true(other.ended && other.code == GN_OBJECT_IN_USE);
    assert_false(add.ended);
    run(&s, 10 * MS);
    acknowledge(&s, &s.two);
    run(&s, 10 * MS);
    acknowledge(&s, &s.two);
    assert_true(add.ended && add.code == GN_OK);
    gn_raft_status status = cluster_status(&s.c, 1);
    assert_int_equal(status.n_members, 4);
    for (unsigned i = 0; i < 4; i++) /* in their order */
        assert_int_equal(status.members[i].id, i + 1);
    assert_int_equal(status.members[3].role, GN_RAFT_NON_VOTER);
    end(&s);
}

static void rule_4_a_change_goes_out_only_once_it_is_durable_here(void **state)
{
    (void)state;
    stage s;
    cluster_call add, command;
    open_stage(&s, NULL);
    lead(&s);
    puppet_forget(&s.two);
    disk_takes(&s, 80 * MS);
    cluster_prepare(&s.c, 1, &command, "at once");
    gn_raft_submit(s.c.node[1].group, &command.request);
    run(&s, 20 * MS); /* a command travels while it is being written */
    assert_non_null(puppet_entry(&s.two, RAFT_COMMAND));
    run(&s, 100 * MS);
    acknowledge(&s, &s.two);
    ask_change(&s, &add, gn_raft_add, 4);
    run(&s, 40 * MS);
    assert_null(puppet_entry(&s.two, RAFT_CHANGE));
    run(&s, 60 * MS);
    assert_non_null(puppet_entry(&s.two, RAFT_CHANGE));
    acknowledge(&s, &s.two);
    run(&s, 10 * MS);
    assert_true(add.ended && add.code == GN_OK);
    end(&s);
}

/* The core takes no second change until it was told that the first is committed. */
static void rule_5_the_core_hears_of_a_change_as_commit_passes_it_also_after_a_restart(void **state)
{
    (void)state;
    cluster c;
    cluster_call call;
    cluster_start(&c, 1, 2, 1, NULL);
    gn_sim_cut(c.sim, 0, 0, true);
    for (int round = 0; round < 2; round++) {
        gn_node_id added = 10 + (gn_node_id)round;
        cluster_prepare(&c, cluster_leader(&c), &call, "");
        gn_raft_add(c.node[1].group, added, &call.request);
        assert_int_equal(cluster_wait(&c, &call), GN_OK);
        cluster_prepare(&c, 1, &call, "");
        gn_raft_remove(c.node[1].group, added, &call.request);
        assert_int_equal(cluster_wait(&c, &call), GN_OK);
        cluster_crash(&c, 1, GN_SIM_FORGET);
        cluster_restart(&c, 1);
    }
    cluster_stop(&c);
}

static void rule_6_a_snapshot_is_never_taken_twice_at_one_index(void **state)
{
    (void)state;
    cluster c;
    cluster_call call;
    cluster_start(&c, 1, 1, 1, NULL);
    cluster_write(&c, "x");
    for (int i = 0; i < 3; i++) {
        cluster_prepare(&c, 1, &call, "");
        gn_raft_take_snapshot(c.node[1].group, &call.request);
        assert_int_equal(cluster_wait(&c, &call), GN_OK);
    }
    assert_int_equal(c.node[1].recorder->snapshots, 1);
    cluster_stop(&c);
}

static void rule_6_a_snapshot_under_way_is_dropped_when_the_leader_sends_one(void **state)
{
    (void)state;
    stage s;
    cluster_call call;
    open_stage(&s, NULL);
    puppet_append(&s.two, 1, 2, 1, 1, 4, FROM_TWO, 3);
    run(&s, 50 * MS);
    s.c.node[1].recorder->hold_snapshot = true;
    cluster_prepare(&s.c, 1, &call, "");
    gn_raft_take_snapshot(s.c.node[1].group, &call.request);
    run(&s, 10 * MS);
    puppet_snapshot(&s.two, 1, 2, 10, 2, "x", 2);
    run(&s, 100 * MS);
    assert_int_equal(s.c.node[1].recorder->installs, 0); /* waits for the state machine's answer */
    recorder_release_snapshot(s.c.node[1].recorder);
    run(&s, 100 * MS);
    assert_true(call.ended && call.code == GN_UNAVAILABLE);
    assert_int_equal(s.c.node[1].recorder->installs, 1);
    assert_int_equal(cluster_status(&s.c, 1).snapshot_index, 10);
    end(&s);
}

typedef struct disk_call {
    gn_disk_write write;
    gn_event done;
} disk_call;

static void disk_done(gn_disk_write *write, gn_code code, const char *message)
{
    (void)message;
    assert_int_equal(code, GN_OK);
    gn_event_signal(&GN_CONTAINER(write, disk_call, write)->done);
}

/* Puts a snapshot at 10 beside a log that ends at 4, as a host of an older version might have left it. */
static void plant_snapshot(cluster *c)
{
    const gn_raft_member self = {1, GN_RAFT_VOTER};
    gn_log_disk *disk;
    gn_error err = {0};
    uint8_t key[GN_RAFT_KEY_SIZE];
    gn_buf value;
    disk_call call;
    gn_world *world = gn_sim_restart(c->sim, 1);
    gn_queue *queue = gn_queue_create(world, "test");
    assert_int_equal(gn_log_disk_open(world, "raft", &disk, &err), GN_OK);
    gn_bytes configuration = gn_raft_configuration_encode(&self, 1);
    gn_raft_snapshot_record record = {.index = 10,
                                      .term = 1,
                                      .configuration_index = 1,
                                      .configuration = configuration,
                                      .manifest = gn_bytes_of("x", 2)};
    gn_buf_init(&value, NULL, SIZE_MAX);
    gn_raft_snapshot_write(&value, CLUSTER_GROUP, &record);
    gn_raft_key(key, CLUSTER_GROUP, GN_RAFT_KIND_SNAPSHOT, 0);
    gn_disk_op op = {.kind = GN_DISK_PUT, .key = gn_bytes_of(key, sizeof key), .value = gn_buf_bytes(&value)};
    call.write = (gn_disk_write){.ops = &op, .n = 1, .sync = true, .queue = queue, .done = disk_done};
    gn_event_init(&call.done, world);
    gn_log_disk_write(disk, &call.write);
    gn_event_wait(&call.done, UINT64_MAX);
    gn_buf_close(&value);
    raft_free((void *)(uintptr_t)configuration.data);
    gn_log_disk_close(disk);
    gn_queue_destroy(queue);
    gn_sim_crash(c->sim, 1, GN_SIM_FORGET);
}

static void rule_6_a_log_that_ends_before_the_snapshot_is_discarded(void **state)
{
    (void)state;
    cluster c;
    cluster_start(&c, 1, 1, 1, NULL);
    cluster_write(&c, "x");
    cluster_crash(&c, 1, GN_SIM_FORGET);
    plant_snapshot(&c);
    c.node[1].world = gn_sim_restart(c.sim, 1);
    recorder *r = c.node[1].recorder = gn_xcalloc(1, sizeof *r);
    gn_error err = {0};
    recorder_init(r, c.node[1].world);
    assert_int_equal(gn_raft_host_open(c.node[1].world, &(gn_raft_options){.log_dir = "raft"}, &c.node[1].host, &err),
                     GN_OK);
    r->applied = 10;
    assert_int_equal(gn_raft_group_open(c.node[1].host, CLUSTER_GROUP, &r->fsm, 10, NULL, 0, &c.node[1].group, &err),
                     GN_OK);
    assert_int_equal(cluster_status(&c, 1).first_index, 11);
    cluster_write(&c, "y");
    cluster_stop(&c);
}

static void rule_7_nothing_is_applied_while_a_snapshot_is_installed(void **state)
{
    (void)state;
    stage s;
    const puppet_entry_of next[] = {{2, "after it"}};
    open_stage(&s, NULL);
    s.c.node[1].recorder->hold_install = true;
    puppet_snapshot(&s.two, 1, 2, 10, 2, "x", 2);
    run(&s, 50 * MS);
    assert_int_equal(s.c.node[1].recorder->installs, 1);
    size_t batches = s.c.node[1].recorder->batches;
    puppet_append(&s.two, 1, 2, 10, 2, 11, next, 1);
    puppet_append(&s.two, 1, 2, 10, 2, 11, NULL, 0);
    run(&s, 200 * MS);
    assert_int_equal(s.c.node[1].recorder->batches, batches);
    recorder_release_install(s.c.node[1].recorder);
    run(&s, 50 * MS);
    puppet_append(&s.two, 1, 2, 10, 2, 11, next, 1);
    run(&s, 50 * MS);
    assert_true(cluster_has(&s.c, 1, "after it"));
    end(&s);
}

static void rule_8_a_failed_write_ends_the_host_and_is_not_tried_again(void **state)
{
    (void)state;
    stage s;
    cluster_call calls[3];
    open_stage(&s, NULL);
    lead(&s);
    gn_sim_disk_faults broken = gn_sim_disk_good;
    broken.fail_write = 1;
    broken.fail_code = GN_IO;
    gn_sim_disk_set(s.c.sim, 1, &broken);
    puppet_forget(&s.two);
    for (int i = 0; i < 3; i++) {
        cluster_prepare(&s.c, 1, &calls[i], "x");
        gn_raft_submit(s.c.node[1].group, &calls[i].request);
    }
    run(&s, 20 * MS);
    for (int i = 0; i < 3; i++)
        assert_true(calls[i].ended && calls[i].code == GN_CRASH_SHUTDOWN);
    assert_int_equal(s.c.node[1].failures, 1);
    assert_true(cluster_status(&s.c, 1).stopped && !cluster_status(&s.c, 1).leads);
    puppet_forget(&s.two);
    puppet_ask_vote(&s.two, 1, 9, 9, 9);
    run(&s, 5 * SECOND);
    assert_int_equal(s.two.n, 0); /* it says nothing any more */
    end(&s);
}

static void rule_9_the_core_runs_without_a_tracer_and_with_a_seed_of_its_own(void **state)
{
    (void)state;
    cluster c;
    unsigned seeds[3];
    cluster_start(&c, 1, 3, 3, NULL);
    for (unsigned id = 1; id <= 3; id++) {
        assert_null(c.node[id].group->raft.tracer);
        seeds[id - 1] = c.node[id].group->raft.random;
    }
    assert_true(seeds[0] != seeds[1] && seeds[1] != seeds[2] && seeds[0] != seeds[2]);
    cluster_stop(&c);
}

/* A leader that fired its timeout early would take a follower that has not answered yet for one that is away: it would
 * send it entries again, and none of the new ones. */
static void rule_10_a_slow_follower_is_sent_everything_once(void **state)
{
    (void)state;
    stage s;
    cluster_call calls[8];
    open_stage(&s, NULL);
    lead(&s);
    puppet_forget(&s.two);
    for (int i = 0; i < 8; i++) { /* 80 ms without an answer */
        cluster_prepare(&s.c, 1, &calls[i], "x");
        gn_raft_submit(s.c.node[1].group, &calls[i].request);
        run(&s, 10 * MS);
    }
    uint64_t next = 0, messages = 0;
    for (size_t i = 0; i < s.two.n; i++) {
        const struct raft_append_entries *m = &s.two.heard[i].wire.core.append_entries;
        if (s.two.heard[i].wire.type != RAFT_APPEND_ENTRIES || m->n_entries == 0)
            continue;
        assert_true(next == 0 || m->prev_log_index + 1 == next);
        next = m->prev_log_index + 1 + m->n_entries;
        messages++;
    }
    assert_int_equal(next, cluster_status(&s.c, 1).last_index + 1);
    assert_int_equal(messages, 8); /* each when it came, not all with a later heartbeat */
    end(&s);
}

static void rule_10_a_follower_campaigns_only_after_silence(void **state)
{
    (void)state;
    stage s;
    open_stage(&s, NULL);
    for (int i = 0; i < 20; i++) { /* below the election timeout of 1 s */
        puppet_append(&s.two, 1, 2, 1, 1, 1, NULL, 0);
        run(&s, 900 * MS);
        assert_int_equal(puppet_count(&s.two, RAFT_REQUEST_VOTE), 0);
    }
    run(&s, 2100 * MS);
    assert_true(puppet_count(&s.two, RAFT_REQUEST_VOTE) > 0);
    assert_true(puppet_last(&s.two, RAFT_REQUEST_VOTE)->wire.core.request_vote.pre_vote);
    end(&s);
}

static void rule_11_only_a_non_voter_of_the_group_is_promoted_and_only_by_the_leader(void **state)
{
    (void)state;
    stage s;
    cluster_call call;
    open_stage(&s, NULL);
    ask_change(&s, &call, gn_raft_promote, 2);
    assert_true(call.ended && call.code == GN_NOT_LEADER);
    lead(&s);
    ask_change(&s, &call, gn_raft_promote, 2);
    assert_true(call.ended && call.code == GN_NOT_IN_STATE);
    ask_change(&s, &call, gn_raft_promote, 9);
    assert_true(call.ended && call.code == GN_NO_OBJECT);
    end(&s);
}

static void rule_12_version_and_pre_vote_go_over_the_wire(void **state)
{
    (void)state;
    stage s;
    open_stage(&s, NULL);
    puppet_forget(&s.two);
    run(&s, 3 * SECOND);
    const heard *h = puppet_last(&s.two, RAFT_REQUEST_VOTE);
    assert_non_null(h);
    assert_true(h->wire.core.request_vote.pre_vote);
    assert_true(h->wire.core.request_vote.version >= 2);
    uint64_t term = h->wire.core.request_vote.term;
    for (int i = 0; i < 5; i++) /* a vote is no pre-vote: nobody is elected by it */
        puppet_vote(&s.two, 1, term, false);
    run(&s, 10 * MS);
    assert_false(cluster_status(&s.c, 1).leads);
    end(&s);
}

/* ---- traps ---- */

/* Figure 8 of the Raft paper: an entry of an older term lies on a majority and may still be replaced. */
static void figure_8_an_older_entry_on_a_majority_is_not_committed_by_counting(void **state)
{
    (void)state;
    const puppet_entry_of older[] = {{2, "of term 2"}};
    for (int slow = 0; slow < 2; slow++) {
        stage s;
        open_stage(&s, NULL);
        puppet_append(&s.three, 1, 2, 1, 1, 1, older, 1); /* 3 led term 2, reached this node alone and fell silent */
        run(&s, 50 * MS);
        puppet_elect(&s.two); /* so this node leads a later term; its own first entry is 3 */
        uint64_t term = cluster_status(&s.c, 1).term;
        assert_true(term > 2);
        disk_takes(&s, slow ? 200 * MS : MS / 2);
        run(&s, 20 * MS);
        puppet_append_result(&s.two, 1, term, 0, 2);
        run(&s, 20 * MS);
        assert_int_equal(cluster_status(&s.c, 1).commit_index, 1);
        puppet_append_result(&s.two, 1, term, 0, 3);
        if (slow)
            puppet_append_result(&s.three, 1, term, 0, 3);
        run(&s, 20 * MS);
        assert_int_equal(cluster_status(&s.c, 1).commit_index, 3);
        run(&s, 500 * MS);
        assert_true(cluster_has(&s.c, 1, "of term 2"));
        end(&s);
    }
}

static void no_vote_is_asked_for_while_entries_are_being_written(void **state)
{
    (void)state;
    stage s;
    open_stage(&s, NULL);
    disk_takes(&s, 10 * SECOND);
    puppet_append(&s.two, 1, 2, 1, 1, 1, FROM_TWO, 3);
    run(&s, 9 * SECOND);
    assert_int_equal(puppet_count(&s.three, RAFT_REQUEST_VOTE), 0);
    disk_takes(&s, MS);
    run(&s, 6 * SECOND);
    const heard *h = puppet_last(&s.three, RAFT_REQUEST_VOTE);
    assert_non_null(h);
    assert_int_equal(h->wire.core.request_vote.last_log_index, 4);
    end(&s);
}

static void no_vote_is_asked_for_while_a_snapshot_is_installed(void **state)
{
    (void)state;
    stage s;
    open_stage(&s, NULL);
    s.c.node[1].recorder->hold_install = true;
    puppet_snapshot(&s.two, 1, 2, 10, 2, "x", 2);
    run(&s, 10 * SECOND);
    assert_int_equal(puppet_count(&s.three, RAFT_REQUEST_VOTE), 0);
    recorder_release_install(s.c.node[1].recorder);
    run(&s, 5 * SECOND);
    assert_true(puppet_count(&s.three, RAFT_REQUEST_VOTE) > 0);
    end(&s);
}

static void an_append_is_not_answered_in_another_term(void **state)
{
    (void)state;
    stage s;
    open_stage(&s, NULL);
    disk_takes(&s, 100 * MS);
    puppet_append(&s.two, 1, 2, 1, 1, 1, FROM_TWO, 3);
    run(&s, 10 * MS);
    struct raft_message m = {.type = RAFT_REQUEST_VOTE};
    m.request_vote.version = 2;
    m.request_vote.term = 5;
    m.request_vote.candidate_id = 3;
    m.request_vote.last_log_index = 9;
    m.request_vote.last_log_term = 4;
    m.request_vote.disrupt_leader = true;
    puppet_send(&s.three, 1, &m);
    run(&s, 500 * MS);
    assert_true(granted(&s.three));
    assert_int_equal(puppet_count(&s.two, RAFT_APPEND_ENTRIES_RESULT), 0);
    end(&s);
}

static void an_old_message_does_not_move_the_commit_index(void **state)
{
    (void)state;
    stage s;
    open_stage(&s, NULL);
    puppet_append(&s.two, 1, 2, 1, 1, 3, FROM_TWO, 3);
    run(&s, 20 * MS);
    assert_int_equal(cluster_status(&s.c, 1).commit_index, 3);
    puppet_append(&s.two, 1, 2, 1, 1, 4, FROM_TWO, 1); /* vouches for 2 alone */
    run(&s, 20 * MS);
    assert_int_equal(cluster_status(&s.c, 1).commit_index, 3);
    end(&s);
}

static void a_second_leader_of_the_same_term_is_refused(void **state)
{
    (void)state;
    stage s;
    open_stage(&s, NULL);
    lead(&s);
    uint64_t term = cluster_status(&s.c, 1).term;
    const puppet_entry_of rogue[] = {{term, "rogue"}};
    puppet_append(&s.three, 1, term, 1, 1, 5, rogue, 1);
    puppet_snapshot(&s.three, 1, term, 50, term, "x", 2);
    run(&s, 20 * MS);
    assert_true(cluster_status(&s.c, 1).leads);
    assert_int_equal(cluster_status(&s.c, 1).term, term);
    end(&s);
}

static void a_damaged_entry_is_not_stored(void **state)
{
    (void)state;
    stage s;
    gn_buf frame;
    struct raft_message m = {.type = RAFT_APPEND_ENTRIES};
    uint8_t bytes[64];
    gn_raft_record record = {.term = 2, .type = RAFT_COMMAND, .payload = gn_bytes_str("sound")};
    gn_raft_slot slot = {.record = bytes, .len = GN_RAFT_RECORD_HEADER + 5};
    open_stage(&s, NULL);
    gn_raft_record_write(bytes, CLUSTER_GROUP, 2, &record);
    bytes[GN_RAFT_RECORD_HEADER + 2] ^= 1;
    m.append_entries.term = 2;
    m.append_entries.prev_log_index = m.append_entries.prev_log_term = 1;
    m.append_entries.n_entries = 1;
    gn_buf_init(&frame, NULL, SIZE_MAX);
    gn_raft_wire_begin(&frame);
    gn_raft_wire_put(&frame, CLUSTER_GROUP, &m, &slot, NULL);
    puppet_raw(&s.two, 1, gn_buf_bytes(&frame));
    gn_buf_close(&frame);
    run(&s, 20 * MS);
    assert_int_equal(cluster_status(&s.c, 1).last_index, 1);
    puppet_append(&s.two, 1, 2, 1, 1, 1, FROM_TWO, 1);
    run(&s, 20 * MS);
    assert_int_equal(cluster_status(&s.c, 1).last_index, 2);
    end(&s);
}

/* Each rejected heartbeat at the snapshot's index makes the core send the snapshot again. */
static void a_snapshot_is_not_sent_again_at_once(void **state)
{
    (void)state;
    stage s;
    gn_raft_options options = {.log_keep_bytes = 1};
    cluster_call call;
    open_stage(&s, &options);
    lead(&s);
    for (int i = 0; i < 10; i++) {
        cluster_prepare(&s.c, 1, &call, "command");
        gn_raft_submit(s.c.node[1].group, &call.request);
        run(&s, 5 * MS);
        acknowledge(&s, &s.two);
    }
    cluster_prepare(&s.c, 1, &call, "");
    gn_raft_take_snapshot(s.c.node[1].group, &call.request);
    run(&s, 20 * MS);
    assert_true(call.ended && call.code == GN_OK);
    puppet_forget(&s.three);
    for (int i = 0; i < 60; i++) { /* server 3 has nothing and says so to everything, within 600 ms */
        const heard *h = puppet_last(&s.three, RAFT_APPEND_ENTRIES);
        if (h && h->wire.core.append_entries.prev_log_index > 1)
            puppet_append_result(&s.three, 1, cluster_status(&s.c, 1).term, h->wire.core.append_entries.prev_log_index,
                                 0);
        acknowledge(&s, &s.two);
        run(&s, 9 * MS);
    }
    assert_int_equal(puppet_count(&s.three, RAFT_INSTALL_SNAPSHOT), 1);
    end(&s);
}

static void a_read_is_not_served_before_a_commit_in_the_own_term(void **state)
{
    (void)state;
    stage s;
    cluster_call read;
    open_stage(&s, NULL);
    puppet_elect(&s.two);
    cluster_prepare(&s.c, 1, &read, "");
    gn_raft_read_index(s.c.node[1].group, &read.request);
    run(&s, 300 * MS);
    assert_false(read.ended);
    assert_null(puppet_last(&s.two, GN_RAFT_WIRE_READ_PROBE));
    acknowledge(&s, &s.two); /* commits the barrier */
    run(&s, 10 * MS);
    const heard *probe = puppet_last(&s.two, GN_RAFT_WIRE_READ_PROBE);
    assert_non_null(probe);
    assert_false(read.ended);
    gn_buf frame;
    gn_buf_init(&frame, NULL, SIZE_MAX);
    gn_raft_wire_begin(&frame);
    gn_raft_wire_put_probe(&frame, CLUSTER_GROUP, true, probe->wire.term, probe->wire.round);
    puppet_raw(&s.two, 1, gn_buf_bytes(&frame));
    gn_buf_close(&frame);
    run(&s, 10 * MS);
    assert_true(read.ended && read.code == GN_OK);
    end(&s);
}

static void the_followers_of_a_process_that_is_gone_stand_at_once(void **state)
{
    (void)state;
    stage s;
    open_stage(&s, NULL);
    puppet_append(&s.two, 1, 2, 1, 1, 1, FROM_TWO, 3);
    run(&s, 20 * MS);
    assert_int_equal(cluster_status(&s.c, 1).leader, 2);
    gn_sim_tell_gone(s.c.sim, 3, GN_RAFT_CHANNEL); /* who does not lead */
    run(&s, 400 * MS);
    assert_int_equal(puppet_count(&s.three, RAFT_REQUEST_VOTE), 0);
    gn_sim_tell_gone(s.c.sim, 2, GN_RAFT_CHANNEL);
    run(&s, 400 * MS);
    const heard *h = puppet_last(&s.three, RAFT_REQUEST_VOTE);
    assert_non_null(h);
    assert_true(h->wire.core.request_vote.pre_vote);
    end(&s);
}

/* Not before its own timer has expired, which may be twice as long. */
static void a_leader_silent_for_the_shortest_timeout_is_none(void **state)
{
    (void)state;
    for (int late = 0; late < 2; late++) {
        stage s;
        open_stage(&s, NULL);
        puppet_append(&s.two, 1, 2, 1, 1, 1, FROM_TWO, 3);
        run(&s, late ? 1010 * MS : 900 * MS);
        assert_int_equal(puppet_count(&s.three, RAFT_REQUEST_VOTE), 0);
        puppet_ask_vote(&s.three, 1, 3, 4, 2);
        run(&s, 20 * MS);
        assert_int_equal(granted(&s.three), late);
        end(&s);
    }
}

/* Followers that answer and store nothing: one installs a snapshot that does not come, say. */
static void what_waits_for_followers_that_store_nothing_ends(void **state)
{
    (void)state;
    stage s;
    cluster_call command, next;
    open_stage(&s, NULL);
    lead(&s);
    uint64_t last = cluster_status(&s.c, 1).last_index, term = cluster_status(&s.c, 1).term;
    cluster_prepare(&s.c, 1, &command, "nobody stores this");
    gn_raft_submit(s.c.node[1].group, &command.request);
    for (int i = 0; i < 95; i++) {
        run(&s, 100 * MS);
        puppet_append_result(&s.two, 1, term, 0, last);
        puppet_append_result(&s.three, 1, term, 0, last);
    }
    assert_false(command.ended);
    for (int i = 0; i < 10; i++) {
        run(&s, 100 * MS);
        puppet_append_result(&s.two, 1, term, 0, last);
        puppet_append_result(&s.three, 1, term, 0, last);
    }
    assert_true(command.ended);
    assert_int_equal(command.code, GN_OUTCOME_UNKNOWN);
    assert_true(cluster_status(&s.c, 1).leads);
    acknowledge(&s, &s.two); /* it was not lost */
    run(&s, 10 * MS);
    assert_true(cluster_has(&s.c, 1, "nobody stores this"));
    cluster_prepare(&s.c, 1, &next, "the next one");
    gn_raft_submit(s.c.node[1].group, &next.request);
    run(&s, 10 * MS);
    acknowledge(&s, &s.two);
    run(&s, 10 * MS);
    assert_true(next.ended && next.code == GN_OK);
    end(&s);
}

static void heartbeats_of_idle_groups_travel_in_one_frame(void **state)
{
    (void)state;
    stage s;
    enum { MORE = 20 };
    gn_raft_group *groups[MORE];
    recorder recorders[MORE];
    const gn_raft_member members[] = {{1, GN_RAFT_VOTER}, {2, GN_RAFT_NON_VOTER}};
    gn_error err = {0};
    open_stage(&s, NULL);
    for (int i = 0; i < MORE; i++) {
        recorder_init(&recorders[i], s.c.node[1].world);
        assert_int_equal(
            gn_raft_group_open(s.c.node[1].host, 100 + (uint64_t)i, &recorders[i].fsm, 0, members, 2, &groups[i], &err),
            GN_OK);
        run(&s, 7 * MS);
    }
    run(&s, SECOND);
    puppet_forget(&s.two);
    unsigned frames = s.two.frames;
    run(&s, SECOND);
    assert_true(puppet_count(&s.two, RAFT_APPEND_ENTRIES) >= 9 * MORE);
    assert_true(s.two.frames - frames <= 15); /* ten heartbeats, and the votes that group 7 asks for */
    for (int i = 0; i < MORE; i++) {
        gn_raft_group_close(groups[i]);
        recorder_close(&recorders[i]);
    }
    end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rule_1_a_vote_is_durable_before_it_is_given),
        cmocka_unit_test(rule_2_a_write_in_flight_does_not_vouch_for_entries_that_replaced_its_own),
        cmocka_unit_test(rule_2_a_snapshot_silences_the_writes_before_it),
        cmocka_unit_test(rule_3_one_change_at_a_time_and_never_of_the_leader_itself),
        cmocka_unit_test(rule_4_a_change_goes_out_only_once_it_is_durable_here),
        cmocka_unit_test(rule_5_the_core_hears_of_a_change_as_commit_passes_it_also_after_a_restart),
        cmocka_unit_test(rule_6_a_snapshot_is_never_taken_twice_at_one_index),
        cmocka_unit_test(rule_6_a_snapshot_under_way_is_dropped_when_the_leader_sends_one),
        cmocka_unit_test(rule_6_a_log_that_ends_before_the_snapshot_is_discarded),
        cmocka_unit_test(rule_7_nothing_is_applied_while_a_snapshot_is_installed),
        cmocka_unit_test(rule_8_a_failed_write_ends_the_host_and_is_not_tried_again),
        cmocka_unit_test(rule_9_the_core_runs_without_a_tracer_and_with_a_seed_of_its_own),
        cmocka_unit_test(rule_10_a_slow_follower_is_sent_everything_once),
        cmocka_unit_test(rule_10_a_follower_campaigns_only_after_silence),
        cmocka_unit_test(rule_11_only_a_non_voter_of_the_group_is_promoted_and_only_by_the_leader),
        cmocka_unit_test(rule_12_version_and_pre_vote_go_over_the_wire),
        cmocka_unit_test(figure_8_an_older_entry_on_a_majority_is_not_committed_by_counting),
        cmocka_unit_test(no_vote_is_asked_for_while_entries_are_being_written),
        cmocka_unit_test(no_vote_is_asked_for_while_a_snapshot_is_installed),
        cmocka_unit_test(an_append_is_not_answered_in_another_term),
        cmocka_unit_test(an_old_message_does_not_move_the_commit_index),
        cmocka_unit_test(a_second_leader_of_the_same_term_is_refused),
        cmocka_unit_test(a_damaged_entry_is_not_stored),
        cmocka_unit_test(a_snapshot_is_not_sent_again_at_once),
        cmocka_unit_test(a_read_is_not_served_before_a_commit_in_the_own_term),
        cmocka_unit_test(the_followers_of_a_process_that_is_gone_stand_at_once),
        cmocka_unit_test(a_leader_silent_for_the_shortest_timeout_is_none),
        cmocka_unit_test(what_waits_for_followers_that_store_nothing_ends),
        cmocka_unit_test(heartbeats_of_idle_groups_travel_in_one_frame),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
