/* What the balancer plans: replicas leave nodes that are to be emptied, spread evenly, and stay in different zones. */
#include "cluster/balance_private.h"
#include "tests/base/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>

enum { MAX_NODES = 8, MAX_GROUPS = 64, MAX_MOVES = 256 };

typedef struct model {
    gn_placement p;
    gn_node_place nodes[MAX_NODES];
    gn_group_place groups[MAX_GROUPS];
    gn_loads loads;
} model;

static model *make(uint32_t n_nodes, uint32_t n_groups, uint32_t replicas, uint32_t n_zones)
{
    model *m = calloc(1, sizeof *m);
    uint32_t taken[MAX_NODES] = {0};
    gn_error err = {0};
    m->p = (gn_placement){.nodes = m->nodes, .n_nodes = n_nodes, .groups = m->groups};
    for (uint32_t i = 0; i < n_nodes; i++) {
        m->nodes[i] = (gn_node_place){.id = i + 1, .state = "active"};
        if (n_zones)
            snprintf(m->nodes[i].zone, sizeof m->nodes[i].zone, "z%u", i % n_zones);
    }
    for (uint32_t g = 0; g < n_groups; g++) {
        m->groups[g] = (gn_group_place){.id = 2 + g, .distribution_id = 9, .n_members = replicas};
        assert_int_equal(gn_placement_choose(&m->p, replicas, taken, m->groups[g].members, &err), GN_OK);
    }
    m->p.n_groups = n_groups;
    return m;
}

static void set_state(model *m, gn_node_id id, const char *state)
{
    snprintf(m->nodes[id - 1].state, sizeof m->nodes[id - 1].state, "%s", state);
}

static uint32_t count(const model *m, gn_node_id id)
{
    uint32_t n = 0;
    for (uint32_t g = 0; g < m->p.n_groups; g++)
        n += gn_group_has_member(&m->groups[g], id);
    return n;
}

/* Makes every planned move; each must be of a member to an active node that is none, or of the lead between members.
 * Gives how many replicas moved. */
static size_t run(model *m)
{
    gn_balance_move moves[MAX_MOVES];
    size_t n = gn_balance_plan(&m->p, &m->loads, moves, MAX_MOVES);
    size_t replicas = 0;
    assert_true(n < MAX_MOVES);
    for (size_t i = 0; i < n; i++) {
        gn_group_place *g = &m->groups[moves[i].group - 2];
        assert_true(gn_group_has_member(g, moves[i].from));
        assert_true(moves[i].leads == gn_group_has_member(g, moves[i].to));
        assert_string_equal(m->nodes[moves[i].to - 1].state, "active");
        *g = gn_balance_moved(g, &moves[i]);
        assert_true(moves[i].leads == gn_group_has_member(g, moves[i].from));
        assert_true(gn_group_has_member(g, moves[i].to));
        replicas += !moves[i].leads;
    }
    return replicas;
}

static void assert_even(const model *m)
{
    uint32_t least = UINT32_MAX, most = 0;
    for (uint32_t i = 0; i < m->p.n_nodes; i++) {
        if (strcmp(m->nodes[i].state, "active") != 0)
            continue;
        uint32_t n = count(m, m->nodes[i].id);
        least = n < least ? n : least;
        most = n > most ? n : most;
    }
    assert_true(most - least <= 1);
}

static void assert_leaders_even(const model *m)
{
    uint32_t led[MAX_NODES + 1] = {0}, least = UINT32_MAX, most = 0;
    for (uint32_t g = 0; g < m->p.n_groups; g++)
        led[m->groups[g].members[gn_group_first_choice(&m->groups[g])]]++;
    for (uint32_t id = 1; id <= m->p.n_nodes; id++) {
        least = led[id] < least ? led[id] : least;
        most = led[id] > most ? led[id] : most;
    }
    assert_true(most - least <= 1);
}

static void assert_zones_differ(const model *m)
{
    for (uint32_t g = 0; g < m->p.n_groups; g++)
        for (uint32_t a = 0; a < m->groups[g].n_members; a++)
            for (uint32_t b = 0; b < a; b++)
                assert_string_not_equal(m->nodes[m->groups[g].members[a] - 1].zone,
                                        m->nodes[m->groups[g].members[b] - 1].zone);
}

static void what_is_even_stays(void **state)
{
    (void)state;
    model *m = make(3, 8, 3, 0);
    assert_int_equal(run(m), 0);
    free(m);
    m = make(5, 10, 3, 0);
    assert_even(m);
    assert_int_equal(run(m), 0);
    assert_leaders_even(m);
    free(m);
}

static void a_new_node_gets_its_share_and_no_more_moves_than_that(void **state)
{
    (void)state;
    model *m = make(3, 8, 3, 0);
    m->nodes[3] = (gn_node_place){.id = 4, .state = "active"};
    m->p.n_nodes = 4;
    assert_int_equal(run(m), 6);
    assert_even(m);
    assert_leaders_even(m);
    assert_int_equal(run(m), 0);
    free(m);
}

static void a_draining_node_is_emptied(void **state)
{
    (void)state;
    model *m = make(5, 10, 3, 0);
    uint32_t had = count(m, 2);
    set_state(m, 2, "draining");
    assert_true(run(m) >= had);
    assert_int_equal(count(m, 2), 0);
    assert_even(m);
    free(m);
}

static void with_too_few_nodes_nothing_is_lost(void **state)
{
    (void)state;
    model *m = make(3, 4, 3, 0);
    set_state(m, 1, "draining");
    assert_int_equal(run(m), 0);
    assert_int_equal(count(m, 1), 4);
    free(m);
}

static void zones_are_kept_apart(void **state)
{
    (void)state;
    model *m = make(6, 12, 3, 3);
    assert_zones_differ(m);
    set_state(m, 1, "gone");
    run(m);
    assert_int_equal(count(m, 1), 0);
    assert_zones_differ(m); /* node 4 is the other one of that zone, and has them all now */
    assert_int_equal(count(m, 4), 12);
    assert_int_equal(run(m), 0);
    free(m);
}

/* ---- sizes and loads ---- */

#define MIB ((uint64_t)1 << 20)

static void give_loads(model *m, uint64_t seed)
{
    m->loads = (gn_loads){.items = calloc(m->p.n_groups, sizeof *m->loads.items), .n = m->p.n_groups};
    for (uint32_t g = 0; g < m->p.n_groups; g++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        m->loads.items[g] =
            (gn_group_load){.group = m->groups[g].id, .bytes = (seed >> 33) % 2000 * MIB, .rate = (seed >> 50) % 500};
    }
}

static uint64_t bytes_on(const model *m, gn_node_id id)
{
    uint64_t bytes = 0;
    for (uint32_t g = 0; g < m->p.n_groups; g++)
        bytes += gn_group_has_member(&m->groups[g], id) ? gn_loads_of(&m->loads, m->groups[g].id).bytes : 0;
    return bytes;
}

static uint64_t rate_led_by(const model *m, gn_node_id id)
{
    uint64_t rate = 0;
    for (uint32_t g = 0; g < m->p.n_groups; g++)
        rate += m->groups[g].members[gn_group_first_choice(&m->groups[g])] == id
                    ? gn_loads_of(&m->loads, m->groups[g].id).rate
                    : 0;
    return rate;
}

static void make_free(model *m)
{
    free(m->loads.items);
    free(m);
}

static void one_large_group_is_worth_many_small_ones(void **state)
{
    (void)state;
    model *m = make(4, 9, 1, 0);
    give_loads(m, 1);
    for (uint32_t g = 0; g < 9; g++)
        m->loads.items[g] = (gn_group_load){.group = m->groups[g].id, .bytes = g ? 100 * MIB : 10000 * MIB};
    assert_true(run(m) > 0);
    for (gn_node_id id = 1; id <= 4; id++)
        if (gn_group_has_member(&m->groups[0], id))
            assert_int_equal(count(m, id), 1);
    assert_int_equal(run(m), 0);
    make_free(m);
}

/* Whatever the sizes are: it ends, and no node carries more than its share by more than what cannot be divided. */
static void sizes_are_spread(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        model *m = make(3 + (uint32_t)(seed % 5), 12 + (uint32_t)(seed % 50), 3, 0);
        uint64_t all = 0, most = 0, largest = 0;
        give_loads(m, seed);
        run(m);
        for (gn_node_id id = 1; id <= m->p.n_nodes; id++) {
            uint64_t bytes = bytes_on(m, id);
            all += bytes;
            most = bytes > most ? bytes : most;
        }
        for (uint32_t g = 0; g < m->p.n_groups; g++)
            largest = m->loads.items[g].bytes > largest ? m->loads.items[g].bytes : largest;
        assert_true(most <= all / m->p.n_nodes * 11 / 10 + largest);
        assert_int_equal(run(m), 0);
        make_free(m);
    }
}

/* As the parts of one table are: the last one that should go is a little more than half of what is between two nodes.
 */
static void groups_of_nearly_one_size_are_spread_by_their_number(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        model *m = make(3, 8, 3, 3);
        give_loads(m, seed);
        for (uint32_t g = 0; g < 8; g++)
            m->loads.items[g] =
                (gn_group_load){.group = m->groups[g].id, .bytes = 156 * MIB + m->loads.items[g].bytes / 250};
        m->nodes[3] = (gn_node_place){.id = 4, .state = "active", .zone = "z3"};
        m->p.n_nodes = 4;
        assert_int_equal(run(m), 6);
        for (gn_node_id id = 1; id <= 4; id++)
            assert_int_equal(count(m, id), 6);
        assert_int_equal(run(m), 0);
        make_free(m);
    }
}

static void who_leads_a_busy_group_leads_fewer(void **state)
{
    (void)state;
    model *m = make(3, 9, 3, 0);
    give_loads(m, 1);
    for (uint32_t g = 0; g < 9; g++)
        m->loads.items[g] = (gn_group_load){.group = m->groups[g].id, .rate = g ? 100 : 400};
    assert_int_equal(rate_led_by(m, m->groups[0].members[gn_group_first_choice(&m->groups[0])]), 600);
    assert_int_equal(run(m), 0); /* the replicas are everywhere */
    for (gn_node_id id = 1; id <= 3; id++)
        assert_in_range(rate_led_by(m, id), 300, 500);
    assert_int_equal(run(m), 0);
    make_free(m);
}

/* Then a plan would take a node for empty whose groups have not told what they hold. */
static void without_knowing_the_sizes_nodes_are_emptied_only(void **state)
{
    (void)state;
    gn_balance_move moves[MAX_MOVES];
    model *m = make(4, 8, 2, 0);
    m->nodes[4] = (gn_node_place){.id = 5, .state = "active"};
    m->p.n_nodes = 5;
    assert_int_equal(gn_balance_plan(&m->p, NULL, moves, MAX_MOVES), 0);
    set_state(m, 1, "draining");
    assert_int_equal(gn_balance_plan(&m->p, NULL, moves, MAX_MOVES), count(m, 1));
    make_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_is_even_stays),
                                       cmocka_unit_test(a_new_node_gets_its_share_and_no_more_moves_than_that),
                                       cmocka_unit_test(a_draining_node_is_emptied),
                                       cmocka_unit_test(with_too_few_nodes_nothing_is_lost),
                                       cmocka_unit_test(zones_are_kept_apart),
                                       cmocka_unit_test(one_large_group_is_worth_many_small_ones),
                                       cmocka_unit_test(sizes_are_spread),
                                       cmocka_unit_test(groups_of_nearly_one_size_are_spread_by_their_number),
                                       cmocka_unit_test(who_leads_a_busy_group_leads_fewer),
                                       cmocka_unit_test(without_knowing_the_sizes_nodes_are_emptied_only)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
