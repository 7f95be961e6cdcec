/* Several hosts under the simulation: elections, failures, reads, membership, transfer, snapshots. */
#include "base/memory.h"
#include "base/metrics.h"
#include "tests/base/cmocka_all.h"
#include "tests/raft/cluster.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static gn_code change(cluster *c, unsigned leader, void (*fn)(gn_raft_group *, gn_node_id, gn_raft_request *),
                      unsigned target)
{
    cluster_call call;
    cluster_prepare(c, leader, &call, "");
    fn(c->node[leader].group, target, &call.request);
    return cluster_wait(c, &call);
}

static void write_many(cluster *c, const char *name, int n)
{
    char text[64];
    for (int i = 0; i < n; i++) {
        snprintf(text, sizeof text, "%s %d", name, i);
        cluster_write(c, text);
    }
}

static void three_nodes_elect_and_replicate(void **state)
{
    (void)state;
    cluster c;
    cluster_start(&c, 1, 3, 3, NULL);
    write_many(&c, "w", 50);
    cluster_settle(&c);
    cluster_check_equal(&c);
    for (unsigned id = 1; id <= 3; id++)
        assert_int_equal(c.node[id].recorder->n, 50);
    unsigned leader = cluster_leader(&c), follower = leader % 3 + 1;
    assert_int_equal(cluster_status(&c, follower).leader, leader);
    cluster_call call;
    cluster_prepare(&c, follower, &call, "x");
    gn_raft_submit(c.node[follower].group, &call.request);
    assert_int_equal(cluster_wait(&c, &call), GN_NOT_LEADER);
    assert_int_equal(call.request.leader, leader);
    cluster_stop(&c);
}

static void a_crash_of_the_leader_loses_nothing_acknowledged(void **state)
{
    (void)state;
    char text[32];
    for (uint64_t seed = 1; seed <= 10; seed++) {
        cluster c;
        cluster_start(&c, seed, 3, 3, NULL);
        for (int round = 0; round < 5; round++) {
            snprintf(text, sizeof text, "r%d", round);
            write_many(&c, text, 10);
            unsigned leader = cluster_leader(&c);
            cluster_crash(&c, leader, seed % 2 ? GN_SIM_FORGET : GN_SIM_TEAR);
            snprintf(text, sizeof text, "without %d", round);
            cluster_write(&c, text);
            cluster_restart(&c, leader);
        }
        cluster_settle(&c);
        cluster_check_equal(&c);
        for (int i = 0; i < 10; i++) {
            snprintf(text, sizeof text, "r%d %d", i / 2, i);
            assert_true(cluster_has(&c, 1 + (unsigned)i % 3, text));
        }
        cluster_stop(&c);
    }
}

static void all_nodes_crash_at_once_and_come_back(void **state)
{
    (void)state;
    cluster c;
    cluster_start(&c, 5, 3, 3, NULL);
    write_many(&c, "w", 20);
    for (unsigned id = 1; id <= 3; id++)
        cluster_crash(&c, id, GN_SIM_FORGET);
    for (unsigned id = 1; id <= 3; id++)
        cluster_restart(&c, id);
    cluster_write(&c, "again");
    cluster_settle(&c);
    cluster_check_equal(&c);
    assert_true(cluster_has(&c, 2, "w 19"));
    cluster_stop(&c);
}

static void isolate(cluster *c, unsigned id, bool cut)
{
    for (unsigned other = 1; other <= c->n; other++)
        if (other != id) {
            gn_sim_cut(c->sim, id, other, cut);
            gn_sim_cut(c->sim, other, id, cut);
        }
}

static void a_leader_that_was_cut_off_answers_no_read(void **state)
{
    (void)state;
    cluster c;
    cluster_call stale, fresh;
    cluster_start(&c, 3, 3, 3, NULL);
    write_many(&c, "w", 5);
    unsigned old = cluster_leader(&c);
    isolate(&c, old, true);
    cluster_prepare(&c, old, &stale, "");
    gn_raft_read_index(c.node[old].group, &stale.request);
    gn_sim_run_for(c.sim, 5 * SECOND);
    assert_true(stale.ended && stale.code == GN_NOT_LEADER);
    unsigned leader = cluster_leader(&c);
    assert_int_not_equal(leader, old);
    assert_int_equal(cluster_submit(&c, leader, "newer"), GN_OK);
    cluster_prepare(&c, leader, &fresh, "");
    gn_raft_read_index(c.node[leader].group, &fresh.request);
    assert_int_equal(cluster_wait(&c, &fresh), GN_OK);
    isolate(&c, old, false);
    cluster_settle(&c);
    cluster_check_equal(&c);
    cluster_stop(&c);
}

static void a_write_of_a_leader_that_lost_its_place_has_an_unknown_outcome(void **state)
{
    (void)state;
    cluster c;
    cluster_call lost;
    cluster_start(&c, 4, 3, 3, NULL);
    write_many(&c, "w", 5);
    unsigned old = cluster_leader(&c);
    isolate(&c, old, true);
    cluster_prepare(&c, old, &lost, "lost");
    gn_raft_submit(c.node[old].group, &lost.request);
    gn_sim_run_for(c.sim, 5 * SECOND);
    assert_true(lost.ended && lost.code == GN_OUTCOME_UNKNOWN);
    cluster_write(&c, "other");
    isolate(&c, old, false);
    cluster_settle(&c);
    cluster_check_equal(&c);
    for (unsigned id = 1; id <= 3; id++) {
        assert_false(cluster_has(&c, id, "lost"));
        assert_true(cluster_has(&c, id, "other"));
    }
    cluster_stop(&c);
}

static void reads_wait_for_no_single_follower(void **state)
{
    (void)state;
    cluster c;
    cluster_start(&c, 77, 3, 3, NULL);
    write_many(&c, "w", 3);
    unsigned leader = cluster_leader(&c);
    for (unsigned away = 1; away <= 3; away++) { /* one of them is the one that is asked */
        if (away == leader)
            continue;
        isolate(&c, away, true);
        for (int i = 0; i < 20; i++) {
            cluster_call read;
            uint64_t before = gn_now_ns(c.node[leader].world);
            cluster_prepare(&c, leader, &read, "");
            gn_raft_read_index(c.node[leader].group, &read.request);
            assert_int_equal(cluster_wait(&c, &read), GN_OK);
            /* Only the first may have to wait until the other one is asked. */
            assert_true(gn_now_ns(c.node[leader].world) - before < (i == 0 ? 250 : 50) * MS);
        }
        isolate(&c, away, false);
        assert_int_equal(cluster_leader(&c), leader);
    }
    cluster_stop(&c);
}

static void reads_in_a_row_share_rounds(void **state)
{
    (void)state;
    cluster c;
    cluster_call reads[100];
    cluster_start(&c, 6, 3, 3, NULL);
    write_many(&c, "w", 1);
    unsigned leader = cluster_leader(&c);
    gn_metric *rounds = gn_counter("gnomon_raft_read_rounds_total", NULL, NULL);
    uint64_t before = gn_counter_value(rounds);
    for (int i = 0; i < 100; i++) {
        cluster_prepare(&c, leader, &reads[i], "");
        gn_raft_read_index(c.node[leader].group, &reads[i].request);
    }
    for (int i = 0; i < 100; i++)
        assert_int_equal(cluster_wait(&c, &reads[i]), GN_OK);
    assert_true(gn_counter_value(rounds) - before <= 2);
    cluster_stop(&c);
}

static uint64_t term_at(cluster *c, unsigned id)
{
    uint64_t term;
    gn_raft_leader(c->node[id].group, &term);
    return term;
}

/* Gives how many rounds it took. */
static uint64_t read_with(cluster *c, unsigned leader, gn_raft_voucher voucher)
{
    cluster_call read;
    gn_metric *rounds = gn_counter("gnomon_raft_read_rounds_total", NULL, NULL);
    uint64_t before = gn_counter_value(rounds);
    cluster_prepare(c, leader, &read, "");
    read.request.voucher = voucher;
    gn_raft_read_index(c->node[leader].group, &read.request);
    assert_int_equal(cluster_wait(c, &read), GN_OK);
    return gn_counter_value(rounds) - before;
}

static void a_read_that_another_voter_vouches_for_asks_nobody(void **state)
{
    (void)state;
    cluster c;
    cluster_start(&c, 6, 3, 3, NULL);
    write_many(&c, "w", 1);
    unsigned leader = cluster_leader(&c);
    for (unsigned id = 1; id <= 3; id++) {
        uint64_t term = term_at(&c, id);
        assert_int_equal(read_with(&c, leader, (gn_raft_voucher){id, term}), id == leader);
        assert_int_equal(read_with(&c, leader, (gn_raft_voucher){id, term - 1}), 1);
        assert_int_equal(read_with(&c, leader, (gn_raft_voucher){id, term + 1}), 1);
    }
    assert_int_equal(read_with(&c, leader, (gn_raft_voucher){0, term_at(&c, leader)}), 1);
    assert_int_equal(read_with(&c, leader, (gn_raft_voucher){9, term_at(&c, leader)}), 1); /* no voter */
    cluster_stop(&c);
}

static void one_voucher_of_five_voters_is_not_enough(void **state)
{
    (void)state;
    cluster c;
    cluster_start(&c, 6, 5, 5, NULL);
    write_many(&c, "w", 1);
    unsigned leader = cluster_leader(&c), other = 1 + leader % 5;
    assert_int_equal(read_with(&c, leader, (gn_raft_voucher){other, term_at(&c, other)}), 1);
    cluster_stop(&c);
}

static void reads_given_together_need_one_round(void **state)
{
    (void)state;
    cluster c;
    cluster_call reads[100];
    gn_raft_group *groups[100];
    gn_raft_request *requests[100];
    cluster_start(&c, 6, 3, 3, NULL);
    write_many(&c, "w", 1);
    unsigned leader = cluster_leader(&c);
    gn_metric *rounds = gn_counter("gnomon_raft_read_rounds_total", NULL, NULL);
    uint64_t before = gn_counter_value(rounds);
    for (int i = 0; i < 100; i++) {
        cluster_prepare(&c, leader, &reads[i], "");
        groups[i] = c.node[leader].group;
        requests[i] = &reads[i].request;
    }
    gn_raft_read_index_all(groups, requests, 100);
    for (int i = 0; i < 100; i++)
        assert_int_equal(cluster_wait(&c, &reads[i]), GN_OK);
    assert_int_equal(gn_counter_value(rounds) - before, 1);
    cluster_stop(&c);
}

static void a_follower_far_behind_gets_a_snapshot(void **state)
{
    (void)state;
    cluster c;
    gn_raft_options options = {.snapshot_threshold_bytes = 2000, .log_keep_bytes = 100};
    cluster_start(&c, 7, 3, 3, &options);
    write_many(&c, "before", 5);
    unsigned leader = cluster_leader(&c), behind = leader % 3 + 1;
    isolate(&c, behind, true);
    write_many(&c, "meanwhile", 200);
    isolate(&c, behind, false);
    write_many(&c, "after", 5);
    cluster_settle(&c);
    cluster_check_equal(&c);
    assert_true(c.node[behind].recorder->installs >= 1);
    assert_int_equal(c.node[behind].recorder->n, 210);
    cluster_crash(&c, behind, GN_SIM_FORGET);
    cluster_restart(&c, behind);
    write_many(&c, "last", 1);
    cluster_settle(&c);
    cluster_check_equal(&c);
    cluster_stop(&c);
}

static bool leads(void *ctx)
{
    cluster_node *node = ctx;
    return node->recorder->leads;
}

static bool was_put_off(void *ctx)
{
    cluster_node *node = ctx;
    return node->recorder->were_put_off > 0;
}

/* The first tries find no files; in the end what comes is a newer snapshot than the first, from another leader. */
static void an_install_that_is_put_off_gives_way_to_a_newer_snapshot(void **state)
{
    (void)state;
    for (uint64_t seed = 30; seed < 40; seed++) {
        cluster c;
        gn_raft_options options = {.snapshot_threshold_bytes = 2000, .log_keep_bytes = 100};
        cluster_start(&c, seed, 3, 3, &options);
        write_many(&c, "before", 5);
        cluster_settle(&c);
        unsigned leader = cluster_leader(&c), behind = leader % 3 + 1, third = 6 - leader - behind;
        isolate(&c, behind, true);
        write_many(&c, "meanwhile", 200);
        c.node[behind].recorder->put_off = 1000;
        isolate(&c, behind, false);
        assert_true(gn_sim_run_until(c.sim, was_put_off, &c.node[behind], 20 * SECOND));
        assert_int_equal(c.node[behind].recorder->n, 5);
        if (seed % 2) { /* the vote of the one that is behind is needed: it has one between the tries */
            cluster_crash(&c, leader, GN_SIM_FORGET);
            assert_true(gn_sim_run_until(c.sim, leads, &c.node[third], 20 * SECOND));
        } else { /* what it was sent first is old by now */
            write_many(&c, "more", 200);
        }
        gn_sim_run_for(c.sim, 15 * SECOND);
        assert_true(c.node[behind].recorder->were_put_off > 2);
        c.node[behind].recorder->put_off = 0;
        write_many(&c, "more", seed % 2 ? 200 : 0);
        if (seed % 2)
            cluster_restart(&c, leader);
        write_many(&c, "after", 5);
        cluster_settle(&c);
        cluster_check_equal(&c);
        assert_int_equal(c.node[behind].recorder->n, 410);
        cluster_crash(&c, behind, GN_SIM_TEAR);
        cluster_restart(&c, behind);
        write_many(&c, "last", 1);
        cluster_settle(&c);
        cluster_check_equal(&c);
        cluster_stop(&c);
    }
}

/* More than the leader keeps in memory, and more than one message carries. */
static void a_follower_behind_by_large_entries_catches_up_from_the_log(void **state)
{
    (void)state;
    enum { SIZE = 1 << 20, N = 20 };
    char *text = gn_xmalloc(SIZE);
    cluster c;
    gn_raft_options options = {.log_keep_bytes = 64 << 20};
    memset(text, 'x', SIZE);
    text[SIZE - 1] = 0;
    cluster_start(&c, 14, 3, 3, &options);
    cluster_write(&c, "before");
    unsigned leader = cluster_leader(&c), behind = leader % 3 + 1;
    isolate(&c, behind, true);
    for (int i = 0; i < N; i++) {
        text[0] = (char)('a' + i);
        cluster_write(&c, text);
    }
    isolate(&c, behind, false);
    cluster_write(&c, "after");
    cluster_settle(&c);
    cluster_check_equal(&c);
    assert_int_equal(c.node[behind].recorder->installs, 0);
    assert_int_equal(c.node[behind].recorder->n, N + 2);
    cluster_stop(&c);
    free(text);
}

static bool is_installed(void *ctx)
{
    cluster_node *node = ctx;
    return node->recorder->installs > 0;
}

/* The state machine has the snapshot, the log does not know yet. */
static void a_crash_between_install_and_its_record_is_survived(void **state)
{
    (void)state;
    cluster c;
    gn_raft_options options = {.snapshot_threshold_bytes = 2000, .log_keep_bytes = 100};
    cluster_start(&c, 8, 3, 3, &options);
    write_many(&c, "before", 5);
    unsigned leader = cluster_leader(&c), behind = leader % 3 + 1;
    isolate(&c, behind, true);
    write_many(&c, "meanwhile", 200);
    isolate(&c, behind, false);
    assert_true(gn_sim_run_until(c.sim, is_installed, &c.node[behind], 20 * SECOND));
    assert_true(cluster_status(&c, behind).snapshot_index == 0);
    cluster_crash(&c, behind, GN_SIM_FORGET);
    cluster_restart(&c, behind);
    write_many(&c, "after", 5);
    cluster_settle(&c);
    cluster_check_equal(&c);
    assert_int_equal(c.node[behind].recorder->n, 210);
    cluster_stop(&c);
}

static void one_server_grows_to_three_and_shrinks_again(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        cluster c;
        gn_raft_options options = {.snapshot_threshold_bytes = 1000, .log_keep_bytes = 100};
        cluster_start(&c, seed, 3, 1, &options);
        write_many(&c, "alone", 50);
        for (unsigned id = 2; id <= 3; id++) {
            assert_int_equal(change(&c, 1, gn_raft_add, id), GN_OK);
            assert_int_equal(change(&c, 1, gn_raft_promote, id), GN_OK);
        }
        write_many(&c, "three", 20);
        cluster_settle(&c);
        cluster_check_equal(&c);
        assert_int_equal(c.node[3].recorder->n, 70);
        cluster_crash(&c, 1, GN_SIM_FORGET);
        write_many(&c, "two left", 5);
        cluster_restart(&c, 1);
        cluster_settle(&c);
        unsigned leader = cluster_leader(&c);
        for (unsigned id = 1; id <= 3; id++)
            if (id != leader)
                assert_int_equal(change(&c, leader, gn_raft_remove, id), GN_OK);
        assert_int_equal(cluster_submit(&c, leader, "alone again"), GN_OK);
        assert_int_equal(cluster_status(&c, leader).n_members, 1);
        cluster_stop(&c);
    }
}

static void a_server_that_has_everything_is_promoted_without_further_writes(void **state)
{
    (void)state;
    cluster c;
    cluster_start(&c, 22, 2, 1, NULL);
    cluster_write(&c, "w");
    assert_int_equal(change(&c, 1, gn_raft_add, 2), GN_OK);
    cluster_settle(&c);
    gn_sim_run_for(c.sim, SECOND);
    assert_int_equal(change(&c, 1, gn_raft_promote, 2), GN_OK);
    assert_int_equal(cluster_status(&c, 1).members[1].role, GN_RAFT_VOTER);
    cluster_stop(&c);
}

static void a_server_that_is_gone_holds_up_no_change(void **state)
{
    (void)state;
    cluster c;
    cluster_start(&c, 23, 4, 3, NULL);
    write_many(&c, "w", 5);
    unsigned leader = cluster_leader(&c), other = leader % 3 + 1;
    isolate(&c, 4, true);
    assert_int_equal(change(&c, leader, gn_raft_add, 4), GN_OK);
    uint64_t before = gn_now_ns(c.node[leader].world);
    assert_int_equal(change(&c, leader, gn_raft_promote, 4), GN_UNAVAILABLE);
    assert_true(gn_now_ns(c.node[leader].world) - before < 10 * SECOND);
    assert_int_equal(change(&c, leader, gn_raft_remove, other), GN_OK);
    assert_int_equal(change(&c, leader, gn_raft_remove, 4), GN_OK);
    assert_int_equal(change(&c, leader, gn_raft_add, 4), GN_OK);
    isolate(&c, 4, false);
    assert_int_equal(change(&c, leader, gn_raft_promote, 4), GN_OK);
    write_many(&c, "after", 5);
    cluster_stop(&c);
}

static void leadership_is_handed_over_under_load(void **state)
{
    (void)state;
    enum { LOAD = 200 };
    static cluster_call calls[LOAD];
    cluster c;
    cluster_start(&c, 9, 3, 3, NULL);
    gn_sim_disk_faults slow = {.min_ns = 5 * MS, .max_ns = 20 * MS};
    for (unsigned id = 1; id <= 3; id++)
        gn_sim_disk_set(c.sim, id, &slow);
    write_many(&c, "w", 5);
    unsigned leader = cluster_leader(&c), target = leader % 3 + 1;
    for (int i = 0; i < LOAD; i++) {
        cluster_prepare(&c, leader, &calls[i], "load");
        gn_raft_submit(c.node[leader].group, &calls[i].request);
        if (i % 10 == 0)
            gn_sim_run_for(c.sim, MS);
    }
    assert_int_equal(change(&c, leader, gn_raft_transfer, target), GN_OK);
    assert_int_equal(cluster_leader(&c), target);
    for (int i = 0; i < LOAD; i++) {
        gn_code code = cluster_wait(&c, &calls[i]);
        assert_true(code == GN_OK || code == GN_NOT_LEADER);
    }
    cluster_settle(&c);
    cluster_check_equal(&c);
    cluster_stop(&c);
}

static void a_transfer_to_a_server_that_is_away_gives_up_and_goes_on(void **state)
{
    (void)state;
    cluster c;
    cluster_start(&c, 10, 3, 3, NULL);
    write_many(&c, "w", 5);
    unsigned leader = cluster_leader(&c), target = leader % 3 + 1;
    isolate(&c, target, true);
    write_many(&c, "more", 5);
    assert_int_equal(change(&c, leader, gn_raft_transfer, target), GN_UNAVAILABLE);
    write_many(&c, "after", 5);
    /* By now nothing has been heard of it for long: no submit waits for such a one. */
    uint64_t before = gn_now_ns(c.node[leader].world);
    assert_int_equal(change(&c, leader, gn_raft_transfer, target), GN_UNAVAILABLE);
    assert_true(gn_now_ns(c.node[leader].world) - before < 100 * MS);
    cluster_stop(&c);
}

static void a_failed_write_stops_the_node_and_the_others_go_on(void **state)
{
    (void)state;
    cluster c;
    cluster_start(&c, 11, 3, 3, NULL);
    write_many(&c, "w", 5);
    unsigned leader = cluster_leader(&c);
    gn_sim_disk_faults broken = gn_sim_disk_good;
    broken.fail_write = 1;
    broken.fail_code = GN_DISK_FULL;
    gn_sim_disk_set(c.sim, leader, &broken);
    assert_int_equal(cluster_submit(&c, leader, "refused"), GN_CRASH_SHUTDOWN);
    assert_true(cluster_status(&c, leader).stopped);
    assert_int_equal(cluster_submit(&c, leader, "still"), GN_CRASH_SHUTDOWN);
    assert_int_equal(c.node[leader].failures, 1);
    write_many(&c, "others", 5);
    cluster_stop(&c);
}

static bool has_failed(void *ctx)
{
    return ((cluster_node *)ctx)->failures > 0;
}

/* A group that takes back an install reads its log again: a disk that cannot fails the node, not this group alone. */
static void a_log_that_cannot_be_read_again_stops_the_node(void **state)
{
    (void)state;
    cluster c;
    gn_raft_options options = {.snapshot_threshold_bytes = 2000, .log_keep_bytes = 100};
    cluster_start(&c, 30, 3, 3, &options);
    write_many(&c, "before", 5);
    cluster_settle(&c);
    unsigned leader = cluster_leader(&c), behind = leader % 3 + 1;
    isolate(&c, behind, true);
    write_many(&c, "meanwhile", 200);
    c.node[behind].recorder->put_off = 1000;
    isolate(&c, behind, false);
    assert_true(gn_sim_run_until(c.sim, was_put_off, &c.node[behind], 20 * SECOND));
    gn_sim_disk_faults broken = gn_sim_disk_good;
    broken.fail_read = 1;
    gn_sim_disk_set(c.sim, behind, &broken);
    assert_true(gn_sim_run_until(c.sim, has_failed, &c.node[behind], 20 * SECOND));
    assert_true(cluster_status(&c, behind).stopped);
    write_many(&c, "others", 5);
    cluster_stop(&c);
}

static void a_flipped_bit_in_the_log_is_noticed_at_the_next_start(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        cluster c;
        cluster_start(&c, seed, 3, 3, NULL);
        write_many(&c, "w", 5);
        cluster_settle(&c);
        cluster_crash(&c, 2, GN_SIM_FORGET);
        assert_true(gn_sim_disk_flip(c.sim, 2));
        gn_code code = cluster_try_restart(&c, 2);
        assert_true(code == GN_CORRUPT || code == GN_CONFIGURATION);
        write_many(&c, "more", 2);
        cluster_stop(&c);
    }
}

static void a_removed_server_does_not_disturb_the_others(void **state)
{
    (void)state;
    cluster c;
    cluster_start(&c, 12, 4, 4, NULL);
    write_many(&c, "w", 5);
    unsigned leader = cluster_leader(&c), removed = leader % 4 + 1;
    assert_int_equal(change(&c, leader, gn_raft_remove, removed), GN_OK);
    uint64_t term = cluster_status(&c, leader).term;
    gn_sim_run_for(c.sim, 30 * SECOND);
    assert_int_equal(cluster_leader(&c), leader);
    assert_int_equal(cluster_status(&c, leader).term, term);
    cluster_stop(&c);
}

static void a_node_that_was_away_does_not_disturb_the_leader(void **state)
{
    (void)state;
    cluster c;
    cluster_start(&c, 13, 3, 3, NULL);
    write_many(&c, "w", 5);
    unsigned leader = cluster_leader(&c), away = leader % 3 + 1;
    uint64_t term = cluster_status(&c, leader).term;
    isolate(&c, away, true);
    gn_sim_run_for(c.sim, 30 * SECOND); /* it asks for pre-votes all the time */
    isolate(&c, away, false);
    gn_sim_run_for(c.sim, 5 * SECOND);
    assert_int_equal(cluster_leader(&c), leader);
    assert_int_equal(cluster_status(&c, leader).term, term);
    cluster_stop(&c);
}

static void even_disk(cluster *c, uint64_t ns)
{
    gn_sim_disk_faults even = {.min_ns = ns, .max_ns = ns};
    gn_sim_disk_set(c->sim, 1, &even);
}

/* What comes during another group's write goes with the next one, not at some later occasion. */
static void a_command_waits_for_one_write_of_another_group_at_most(void **state)
{
    (void)state;
    cluster c;
    cluster_call mine, others;
    gn_raft_group *group;
    recorder r;
    const gn_raft_member self = {1, GN_RAFT_VOTER};
    gn_error err = {0};
    cluster_start(&c, 20, 1, 1, NULL);
    recorder_init(&r, c.node[1].world);
    assert_int_equal(gn_raft_group_open(c.node[1].host, 8, &r.fsm, 0, &self, 1, &group, &err), GN_OK);
    cluster_write(&c, "w");
    even_disk(&c, 20 * MS);
    cluster_prepare(&c, 1, &others, "others");
    gn_raft_submit(c.node[1].group, &others.request);
    gn_sim_run_for(c.sim, 5 * MS);
    cluster_prepare(&c, 1, &mine, "mine");
    gn_raft_submit(group, &mine.request);
    gn_sim_run_for(c.sim, 40 * MS);
    assert_true(others.ended && others.code == GN_OK);
    assert_true(mine.ended && mine.code == GN_OK);
    gn_raft_group_close(group);
    recorder_close(&r);
    cluster_stop(&c);
}

typedef struct returning {
    gn_raft_request request;
    cluster *c;
    int left;
    gn_timer timer;
} returning;

static void come_back(gn_timer *timer)
{
    returning *r = GN_CONTAINER(timer, returning, timer);
    gn_raft_submit(r->c->node[1].group, &r->request);
}

static void think(gn_raft_request *request, gn_code code)
{
    returning *r = GN_CONTAINER(request, returning, request);
    assert_int_equal(code, GN_OK);
    if (--r->left > 0)
        gn_timer_start(&r->timer, gn_now_ns(r->c->node[1].world) + 10000 + gn_sim_random(r->c->sim, 50000));
}

static bool all_are_done(void *ctx)
{
    returning *clients = ctx;
    for (int i = 0; i < 16; i++)
        if (clients[i].left > 0)
            return false;
    return true;
}

static returning crowd[16];
static void begin(gn_task *task)
{
    (void)task;
    for (int i = 0; i < 16; i++)
        come_back(&crowd[i].timer);
}

static void close_timers(gn_task *task)
{
    (void)task;
    for (int i = 0; i < 16; i++)
        gn_timer_close(&crowd[i].timer);
}

static void clients_who_come_back_share_the_next_write(void **state)
{
    (void)state;
    cluster c;
    gn_task task = {.run = begin};
    gn_metric *batches = gn_counter("gnomon_raft_batches_total", NULL, NULL);
    cluster_start(&c, 21, 1, 1, NULL);
    cluster_write(&c, "w");
    even_disk(&c, MS);
    uint64_t before = gn_counter_value(batches);
    for (int i = 0; i < 16; i++) {
        crowd[i] = (returning){.request = {.done = think, .command = gn_bytes_str("x")}, .c = &c, .left = 50};
        gn_timer_init(&crowd[i].timer, c.node[1].recorder->queue, come_back);
    }
    gn_queue_post(c.node[1].recorder->queue, &task);
    assert_true(gn_sim_run_until(c.sim, all_are_done, crowd, 20 * SECOND));
    assert_true(gn_counter_value(batches) - before < 60); /* by turns they would need a hundred */
    task.run = close_timers;
    gn_queue_post(c.node[1].recorder->queue, &task);
    gn_sim_run_for(c.sim, MS);
    cluster_stop(&c);
}

static void the_same_seed_gives_the_same_run(void **state)
{
    (void)state;
    uint64_t hash[2];
    for (int i = 0; i < 2; i++) {
        cluster c;
        cluster_start(&c, 99, 3, 3, NULL);
        write_many(&c, "w", 20);
        cluster_crash(&c, cluster_leader(&c), GN_SIM_TEAR);
        write_many(&c, "x", 20);
        hash[i] = gn_sim_trace_hash(c.sim);
        for (unsigned id = 1; id <= 3; id++)
            if (!c.node[id].world)
                cluster_restart(&c, id);
        cluster_stop(&c);
    }
    assert_int_equal(hash[0], hash[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(three_nodes_elect_and_replicate),
        cmocka_unit_test(a_crash_of_the_leader_loses_nothing_acknowledged),
        cmocka_unit_test(all_nodes_crash_at_once_and_come_back),
        cmocka_unit_test(a_leader_that_was_cut_off_answers_no_read),
        cmocka_unit_test(a_write_of_a_leader_that_lost_its_place_has_an_unknown_outcome),
        cmocka_unit_test(reads_in_a_row_share_rounds),
        cmocka_unit_test(reads_given_together_need_one_round),
        cmocka_unit_test(a_read_that_another_voter_vouches_for_asks_nobody),
        cmocka_unit_test(one_voucher_of_five_voters_is_not_enough),
        cmocka_unit_test(reads_wait_for_no_single_follower),
        cmocka_unit_test(a_follower_far_behind_gets_a_snapshot),
        cmocka_unit_test(an_install_that_is_put_off_gives_way_to_a_newer_snapshot),
        cmocka_unit_test(a_follower_behind_by_large_entries_catches_up_from_the_log),
        cmocka_unit_test(a_crash_between_install_and_its_record_is_survived),
        cmocka_unit_test(one_server_grows_to_three_and_shrinks_again),
        cmocka_unit_test(a_server_that_has_everything_is_promoted_without_further_writes),
        cmocka_unit_test(a_server_that_is_gone_holds_up_no_change),
        cmocka_unit_test(leadership_is_handed_over_under_load),
        cmocka_unit_test(a_transfer_to_a_server_that_is_away_gives_up_and_goes_on),
        cmocka_unit_test(a_failed_write_stops_the_node_and_the_others_go_on),
        cmocka_unit_test(a_log_that_cannot_be_read_again_stops_the_node),
        cmocka_unit_test(a_flipped_bit_in_the_log_is_noticed_at_the_next_start),
        cmocka_unit_test(a_removed_server_does_not_disturb_the_others),
        cmocka_unit_test(a_node_that_was_away_does_not_disturb_the_leader),
        cmocka_unit_test(a_command_waits_for_one_write_of_another_group_at_most),
        cmocka_unit_test(clients_who_come_back_share_the_next_write),
        cmocka_unit_test(the_same_seed_gives_the_same_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
