/* Faults of every kind, drawn from the seed, while clients write and read. */
#include "tests/sim/fleet.h"

/* What a run is about: each seed dwells on some faults, so that rare ones meet. */
typedef struct temper {
    bool changes_members; /* excludes flips: a lost node and a shrunken group may have no quorum left for ever */
    bool fails_disks, flips, pauses, hunts_leaders;
    unsigned one_in; /* slices without a fault between two with one */
} temper;

static unsigned draw(fleet *f, unsigned n)
{
    return (unsigned)gn_sim_random(f->sim, n);
}

static gn_node_id any_node(fleet *f)
{
    return 1 + draw(f, f->options.n_nodes);
}

static unsigned any_group(fleet *f)
{
    return draw(f, f->options.n_groups);
}

/* ---- clients ---- */

static void clients(fleet *f)
{
    for (unsigned n = draw(f, 6); n > 0 && f->n_busy < FLEET_OPS / 2; n--) {
        unsigned group = any_group(f);
        gn_node_id leader = fleet_leader(f, group);
        gn_node_id to = leader && draw(f, 5) ? leader : any_node(f);
        size_t len = 16 + draw(f, draw(f, 20) ? 200 : 20000);
        if (draw(f, 3))
            fleet_write(f, to, group, len);
        else
            fleet_read(f, to, group);
    }
}

/* ---- nodes ---- */

static gn_sim_tear any_tear(fleet *f)
{
    return draw(f, 2) ? GN_SIM_TEAR : GN_SIM_FORGET;
}

static void crash_all(fleet *f)
{
    for (gn_node_id id = 1; id <= f->options.n_nodes; id++)
        fleet_crash(f, id, any_tear(f));
    fleet_tend(f);
    for (gn_node_id id = 1; id <= f->options.n_nodes; id++)
        fleet_restart(f, id);
}

static void crash_or_restart(fleet *f, const temper *t)
{
    gn_node_id id = any_node(f), leader = fleet_leader(f, any_group(f));
    if (t->hunts_leaders && leader && draw(f, 2))
        id = leader;
    if (draw(f, 30) == 0)
        crash_all(f);
    else if (f->nodes[id - 1].program)
        fleet_crash(f, id, any_tear(f));
    else
        fleet_restart(f, id);
}

static void restart_all(fleet *f)
{
    for (gn_node_id id = 1; id <= f->options.n_nodes; id++)
        fleet_restart(f, id);
}

/* ---- the network ---- */

static void halves(fleet *f)
{
    unsigned side = draw(f, 1u << f->options.n_nodes);
    bool one_way = draw(f, 3) == 0;
    for (gn_node_id a = 1; a <= f->options.n_nodes; a++) {
        for (gn_node_id b = 1; b <= f->options.n_nodes; b++) {
            bool a_in = side >> (a - 1) & 1, b_in = side >> (b - 1) & 1;
            if (a != b && a_in != b_in && (a_in || !one_way))
                gn_sim_cut(f->sim, a, b, true);
        }
    }
}

/* Every node sees a majority, no two see the same one. */
static void majority_ring(fleet *f)
{
    unsigned n = f->options.n_nodes;
    for (unsigned a = 0; a < n; a++) {
        for (unsigned b = 0; b < n; b++) {
            unsigned ahead = (b + n - a) % n, distance = ahead < n - ahead ? ahead : n - ahead;
            if (a != b && distance > n / 4)
                gn_sim_cut(f->sim, a + 1, b + 1, true);
        }
    }
}

static void isolate(fleet *f, gn_node_id id)
{
    if (draw(f, 3))
        gn_sim_cut(f->sim, 0, id, true);
    if (draw(f, 3))
        gn_sim_cut(f->sim, id, 0, true);
}

static void partition(fleet *f)
{
    gn_node_id leader = fleet_leader(f, any_group(f));
    switch (draw(f, 5)) {
    case 0:
        halves(f);
        break;
    case 1:
        majority_ring(f);
        break;
    case 2:
        isolate(f, leader ? leader : any_node(f));
        break;
    default:
        gn_sim_cut(f->sim, 0, 0, false);
    }
}

static void weather(fleet *f)
{
    static const gn_sim_link kinds[] = {
        {.min_ns = 100000, .max_ns = 1 * MS},
        {.min_ns = 100000, .max_ns = 1 * MS},
        {.loss = 0.05, .duplicate = 0.05, .min_ns = 100000, .max_ns = 10 * MS},
        {.loss = 0.3, .duplicate = 0.3, .min_ns = 100000, .max_ns = 20 * MS},
        {.duplicate = 0.5, .min_ns = 0, .max_ns = 400 * MS},
        {.min_ns = 20 * MS, .max_ns = 60 * MS},
    };
    gn_sim_link link = kinds[draw(f, sizeof kinds / sizeof kinds[0])];
    if (draw(f, 2))
        gn_sim_link_set(f->sim, 0, 0, &link);
    else
        gn_sim_link_set(f->sim, any_node(f), any_node(f), &link);
}

/* ---- disks ---- */

static void slow_disk(fleet *f)
{
    gn_node_id leader = fleet_leader(f, any_group(f)), id = leader && draw(f, 2) ? leader : any_node(f);
    gn_sim_disk_faults faults = gn_sim_disk_get(f->sim, id);
    static const uint64_t most[] = {500000, 500000, 5 * MS, 50 * MS, 400 * MS};
    faults.max_ns = most[draw(f, 5)];
    faults.min_ns = faults.max_ns / (1 + draw(f, 10));
    gn_sim_disk_set(f->sim, id, &faults);
}

static void fail_disk(fleet *f)
{
    gn_node_id id = any_node(f);
    gn_sim_disk_faults faults = gn_sim_disk_get(f->sim, id);
    if (draw(f, 3)) {
        faults.fail_write = 1 + draw(f, 30);
        faults.fail_code = draw(f, 2) ? GN_IO : GN_DISK_FULL;
    } else {
        faults.fail_read = 1 + draw(f, 5);
    }
    f->nodes[id - 1].faulty = true;
    gn_sim_disk_set(f->sim, id, &faults);
}

/* On one node of a run alone: more than a minority of rotten disks no system survives. */
static void flip_bit(fleet *f)
{
    gn_node_id id = 1 + f->options.seed % f->options.n_nodes;
    if (f->options.n_voters < 3 || f->nodes[id - 1].flipped || !gn_sim_disk_flip(f->sim, id))
        return;
    f->nodes[id - 1].flipped = f->nodes[id - 1].faulty = true;
}

/* ---- operators ---- */

static void take_snapshot(gn_raft_group *group, gn_node_id id, gn_raft_request *request)
{
    (void)id;
    gn_raft_take_snapshot(group, request);
}

static void operate(fleet *f, const temper *t)
{
    unsigned group = any_group(f);
    gn_node_id leader = fleet_leader(f, group);
    if (!leader)
        return;
    switch (draw(f, t->changes_members ? 6 : 2)) {
    case 0:
        f->counts.transfers += fleet_admin(f, leader, group, gn_raft_transfer, any_node(f));
        break;
    case 1:
        fleet_admin(f, any_node(f), group, take_snapshot, 0);
        break;
    case 2:
        check_may_shrink(f->checks[group]);
        fleet_admin(f, leader, group, gn_raft_remove, any_node(f));
        break;
    case 3:
        fleet_admin(f, leader, group, gn_raft_add, any_node(f));
        break;
    default:
        fleet_admin(f, leader, group, gn_raft_promote, any_node(f));
    }
}

/* ---- a slice ---- */

static void strike(fleet *f, const temper *t)
{
    switch (draw(f, 12)) {
    case 0:
    case 1:
        crash_or_restart(f, t);
        break;
    case 2:
        restart_all(f);
        break;
    case 3:
    case 4:
        partition(f);
        break;
    case 5:
        weather(f);
        break;
    case 6:
        slow_disk(f);
        break;
    case 7:
        if (t->fails_disks)
            fail_disk(f);
        break;
    case 8:
        if (t->flips && draw(f, 4) == 0)
            flip_bit(f);
        break;
    case 9:
        if (t->pauses)
            gn_sim_pause(f->sim, any_node(f), draw(f, 2));
        break;
    case 10:
        gn_sim_wall_jump(f->sim, any_node(f), (int64_t)draw(f, 20000000) - 10000000);
        break;
    default:
        operate(f, t);
    }
}

void nemesis_run(fleet *f, uint64_t ns)
{
    uint64_t end = gn_sim_now_ns(f->sim) + ns;
    temper t = {.fails_disks = draw(f, 2),
                .flips = draw(f, 4) == 0,
                .pauses = draw(f, 2),
                .hunts_leaders = draw(f, 2),
                .one_in = 2u << draw(f, 6)};
    t.changes_members = !t.flips && f->options.n_nodes > 1 && draw(f, 2);
    while (gn_sim_now_ns(f->sim) < end && !fleet_violation(f)) {
        clients(f);
        if (draw(f, t.one_in) == 0)
            strike(f, &t);
        fleet_run(f, (1 + draw(f, 20)) * MS);
        fleet_tend(f);
    }
}
