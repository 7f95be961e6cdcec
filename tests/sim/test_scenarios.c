/* Scenarios that the nemesis meets too seldom to lean on it. */
#include "tests/base/cmocka_all.h"
#include "tests/sim/fleet.h"

static fleet *new_fleet(uint64_t seed, unsigned n_nodes, uint64_t snapshot_threshold)
{
    fleet_options options = {.seed = seed,
                             .n_nodes = n_nodes,
                             .n_voters = n_nodes,
                             .n_groups = 1,
                             .snapshot_threshold_bytes = snapshot_threshold,
                             .log_keep_bytes = 64};
    return fleet_create(&options);
}

static void end(fleet *f)
{
    if (!fleet_violation(f))
        fleet_heal(f);
    if (fleet_violation(f))
        print_error("seed %llu: %s\n", (unsigned long long)f->options.seed, fleet_violation(f));
    assert_null(fleet_violation(f));
    fleet_destroy(f);
}

static bool leader_can_read(fleet *f, void *arg)
{
    gn_node_id *leader = arg;
    *leader = fleet_leader(f, 0);
    return *leader && fleet_status(f, *leader, 0).can_read;
}

static gn_node_id wait_for_leader(fleet *f)
{
    gn_node_id leader = 0;
    assert_true(fleet_run_until(f, leader_can_read, &leader, 30 * SECOND));
    return leader;
}

static bool no_request_waits(fleet *f, void *arg)
{
    (void)arg;
    return f->n_busy == 0;
}

static void write_and_wait(fleet *f, unsigned n)
{
    gn_node_id leader = wait_for_leader(f);
    for (unsigned i = 0; i < n; i++)
        fleet_write(f, leader, 0, 100);
    assert_true(fleet_run_until(f, no_request_waits, NULL, 30 * SECOND));
}

/* ---- an install that a crash cuts off, on a node whose log contradicts the snapshot ---- */

static bool others_lead_and_can_read(fleet *f, void *arg)
{
    gn_node_id old = *(gn_node_id *)arg, leader = 0;
    return leader_can_read(f, &leader) && leader != old;
}

static void crash_at_install(uint64_t seed, uint64_t delay_ns)
{
    fleet *f = new_fleet(seed, 3, 4096);
    write_and_wait(f, 10);
    gn_node_id old = wait_for_leader(f);
    gn_sim_cut(f->sim, 0, old, true); /* it goes on believing for a while, and its log grows */
    gn_sim_cut(f->sim, old, 0, true);
    for (int i = 0; i < 100; i++)
        fleet_write(f, old, 0, 100);
    assert_true(fleet_run_until(f, others_lead_and_can_read, &old, 30 * SECOND));
    gn_node_id leader = fleet_leader(f, 0);
    uint64_t common = fleet_status(f, old, 0).commit_index;
    for (int round = 0; round < 40 && fleet_status(f, leader, 0).first_index <= common + 1; round++) {
        for (int i = 0; i < 3; i++) /* until what both have is cut away, and before the new log is as long as the old */
            fleet_write(f, leader, 0, 1000);
        fleet_run(f, 100 * MS);
        leader = wait_for_leader(f);
    }
    assert_true(fleet_status(f, leader, 0).snapshot_index < fleet_status(f, old, 0).last_index);
    unsigned long installs = f->counts.installs;
    gn_sim_cut(f->sim, 0, 0, false);
    uint64_t limit = gn_sim_now_ns(f->sim) + 30 * SECOND;
    while (f->counts.installs == installs && gn_sim_now_ns(f->sim) < limit)
        gn_sim_step(f->sim); /* to the very step at which the state machine has replaced its state */
    assert_true(f->counts.installs > installs);
    fleet_run(f, delay_ns);
    fleet_crash(f, old, GN_SIM_FORGET);
    fleet_run(f, 50 * MS);
    fleet_restart(f, old);
    fleet_run(f, 500 * MS);
    write_and_wait(f, 40); /* enough for a snapshot of its own */
    fleet_crash(f, old, GN_SIM_FORGET);
    fleet_restart(f, old);
    end(f);
}

static void an_install_cut_off_by_a_crash_is_ended_at_the_restart(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        crash_at_install(seed, 0);
        crash_at_install(seed, 200000);
        crash_at_install(seed, 2 * MS);
    }
}

/* ---- power ---- */

static void a_power_cut_on_all_nodes_loses_nothing_acknowledged(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        fleet *f = new_fleet(seed, 1 + 2 * (unsigned)(seed % 3), 4096);
        for (int cut = 0; cut < 5; cut++) {
            gn_node_id leader = wait_for_leader(f);
            for (int i = 0; i < 50; i++)
                fleet_write(f, leader, 0, 100);
            fleet_run(f, gn_sim_random(f->sim, 5 * MS));
            for (gn_node_id id = 1; id <= f->options.n_nodes; id++)
                fleet_crash(f, id, cut % 2 ? GN_SIM_TEAR : GN_SIM_FORGET);
            for (gn_node_id id = 1; id <= f->options.n_nodes; id++)
                fleet_restart(f, id);
        }
        assert_true(f->counts.acknowledged > 0);
        end(f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_install_cut_off_by_a_crash_is_ended_at_the_restart),
        cmocka_unit_test(a_power_cut_on_all_nodes_loses_nothing_acknowledged),
    };
    gn_log_configure(GN_LOG_OFF, false, 2);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
