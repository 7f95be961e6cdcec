/* Faults of every kind, drawn from the seed, while clients work. */
#include "shard/shard_private.h"
#include "tests/sim/cluster/trial.h"

#include <stdlib.h>

enum { MOST_GROUPS = 7 }; /* that are split further */

/* What a trial is about: each seed dwells on some faults, so that rare ones meet. */
typedef struct temper {
    bool crashes, partitions, pauses, fails_disks, joins, loses, jumps, restless, splits, merges;
    unsigned one_in; /* slices without a fault between two with one */
} temper;

static unsigned draw(trial *t, unsigned n)
{
    return (unsigned)gn_sim_random(t->sim, n);
}

static uint64_t any_group(trial *t)
{
    uint64_t ids[64];
    size_t n = group_ids(t, ids, 64);
    return n ? ids[draw(t, (unsigned)n)] : GN_META_GROUP;
}

/* Leaders are struck more often than others. */
static node *victim(trial *t)
{
    node *leader = draw(t, 2) ? group_leader(t, any_group(t)) : NULL;
    return leader ? leader : any_node(t);
}

/* ---- nodes ---- */

static unsigned count(trial *t, node_state state)
{
    unsigned n = 0;
    for (unsigned i = 1; i <= MOST_ID; i++)
        n += t->nodes[i].state == state;
    return n;
}

static gn_sim_tear any_tear(trial *t)
{
    return draw(t, 2) ? GN_SIM_TEAR : GN_SIM_FORGET;
}

static void restart_some(trial *t, unsigned one_in)
{
    for (unsigned i = 1; i <= MOST_ID; i++)
        if (t->nodes[i].state == DOWN && draw(t, one_in) == 0)
            node_restart(&t->nodes[i]);
}

static void crash(trial *t)
{
    node *n = victim(t);
    if (draw(t, 20) == 0) { /* the power fails */
        for (unsigned i = 1; i <= MOST_ID; i++)
            node_crash(&t->nodes[i], any_tear(t));
    } else if (n && draw(t, 5) == 0) {
        node_stop(n);
    } else if (n) {
        node_crash(n, any_tear(t));
    }
}

static void pause_some(trial *t)
{
    node *n = victim(t);
    if (n)
        gn_sim_pause(t->sim, n->id, true);
    t->counts.pauses += n != NULL;
}

static void resume_all(trial *t)
{
    for (unsigned i = 1; i <= MOST_ID; i++)
        if (t->nodes[i].state == UP || t->nodes[i].state == OPENING)
            gn_sim_pause(t->sim, i, false);
}

/* A disk is lost with everything on it: at most one, or a majority of a group's replicas might be gone. */
static void lose(trial *t, node *n)
{
    if (!n || t->counts.losses || t->n_joining || count(t, UP) < 4)
        return;
    node_lose(n);
    node_join(t, n);
}

/* ---- the network ---- */

static void isolate(trial *t, const node *n)
{
    if (!n)
        return;
    if (draw(t, 3))
        gn_sim_cut(t->sim, 0, n->id, true);
    if (draw(t, 3))
        gn_sim_cut(t->sim, n->id, 0, true);
}

static void halves(trial *t)
{
    uint64_t side = gn_sim_random(t->sim, 0);
    bool one_way = draw(t, 3) == 0;
    for (unsigned a = 1; a <= MOST_ID; a++)
        for (unsigned b = 1; b <= MOST_ID; b++) {
            bool there = t->nodes[a].state != ABSENT && t->nodes[b].state != ABSENT;
            bool a_in = side >> (a & 63) & 1, b_in = side >> (b & 63) & 1;
            if (there && a_in != b_in && (a_in || !one_way))
                gn_sim_cut(t->sim, a, b, true);
        }
}

/* Two nodes do not see each other; all others see both. */
static void cut_pair(trial *t)
{
    node *a = victim(t), *b = any_node(t);
    if (!a || !b || a == b)
        return;
    gn_sim_cut(t->sim, a->id, b->id, true);
    if (draw(t, 2))
        gn_sim_cut(t->sim, b->id, a->id, true);
}

static void partition(trial *t)
{
    t->counts.partitions++;
    switch (draw(t, 6)) {
    case 0:
        halves(t);
        break;
    case 1:
        cut_pair(t);
        cut_pair(t);
        break;
    case 2:
        cut_pair(t);
        break;
    default:
        isolate(t, victim(t));
    }
}

static void weather(trial *t)
{
    static const gn_sim_link kinds[] = {
        {.min_ns = 100000, .max_ns = 1 * MS},
        {.loss = 0.05, .duplicate = 0.05, .min_ns = 100000, .max_ns = 10 * MS},
        {.loss = 0.3, .duplicate = 0.3, .min_ns = 100000, .max_ns = 20 * MS},
        {.duplicate = 0.5, .min_ns = 0, .max_ns = 300 * MS},
        {.min_ns = 20 * MS, .max_ns = 60 * MS},
    };
    gn_sim_link link = kinds[draw(t, sizeof kinds / sizeof kinds[0])];
    node *a = any_node(t), *b = any_node(t);
    if (draw(t, 2))
        gn_sim_link_set(t->sim, 0, 0, &link);
    else if (a && b)
        gn_sim_link_set(t->sim, a->id, b->id, &link);
}

/* ---- disks and clocks ---- */

static void slow_disk(trial *t)
{
    static const uint64_t most[] = {500000, 5 * MS, 50 * MS, 400 * MS};
    node *n = victim(t);
    if (!n)
        return;
    gn_sim_disk_faults faults = gn_sim_disk_get(t->sim, n->id);
    faults.max_ns = most[draw(t, 4)];
    faults.min_ns = faults.max_ns / (1 + draw(t, 10));
    gn_sim_disk_set(t->sim, n->id, &faults);
}

static void fail_disk(trial *t)
{
    node *n = any_node(t);
    if (!n)
        return;
    gn_sim_disk_faults faults = gn_sim_disk_get(t->sim, n->id);
    n->faulty = true;
    if (draw(t, 3)) {
        faults.fail_write = 1 + draw(t, 30);
        faults.fail_code = draw(t, 2) ? GN_IO : GN_DISK_FULL;
    } else {
        faults.fail_read = 1 + draw(t, 5);
    }
    gn_sim_disk_set(t->sim, n->id, &faults);
}

static void jump(trial *t)
{
    node *n = victim(t);
    if (n)
        gn_sim_wall_jump(t->sim, n->id, (int64_t)draw(t, 20000000) - 10000000);
    t->counts.jumps += n != NULL;
}

/* ---- operators ---- */

static void request_done(gn_raft_request *request, gn_code code)
{
    (void)code;
    free(request);
}

static void operate(trial *t, uint64_t group, bool transfer)
{
    node *leader = group_leader(t, group), *other = any_node(t);
    gn_shard *shard = leader ? replica_of(leader, group) : NULL;
    if (!shard || !other)
        return;
    gn_raft_request *request = gn_xcalloc(1, sizeof *request);
    request->done = request_done;
    if (transfer) {
        t->counts.transfers++;
        gn_raft_transfer(gn_shard_raft_group(shard), other->id, request);
    } else {
        gn_raft_take_snapshot(gn_shard_raft_group(shard), request);
    }
}

/* Now and then two at once, one of which is refused. */
static void split(trial *t)
{
    uint64_t group = any_group(t);
    node *leader = group == GN_META_GROUP ? NULL : group_leader(t, group);
    if (!leader || group_ids(t, (uint64_t[64]){0}, 64) > MOST_GROUPS)
        return;
    node_split(leader, group);
    if (draw(t, 4) == 0)
        node_split(leader, group);
}

/* Now and then both into each other, or into two. */
static void merge(trial *t)
{
    uint64_t group = any_group(t), into = group_neighbour(t, group);
    node *leader = into ? group_leader(t, into) : NULL;
    if (!leader)
        return;
    node_merge(leader, group, into);
    if (draw(t, 4))
        return;
    uint64_t other = draw(t, 2) ? group : group_neighbour(t, group);
    uint64_t victim = other == group ? into : group;
    if ((leader = group_leader(t, other)))
        node_merge(leader, victim, other);
}

/* The clock's node changes all the time, by force or not, and the nodes' wall clocks do not agree. */
static void stir(trial *t)
{
    node *leader = draw(t, 12) == 0 ? group_leader(t, GN_META_GROUP) : NULL;
    if (leader && draw(t, 3) == 0)
        gn_sim_pause(t->sim, leader->id, true);
    else if (leader)
        isolate(t, leader);
    if (draw(t, 10) == 0)
        operate(t, GN_META_GROUP, true);
    if (draw(t, 10) == 0)
        jump(t);
}

/* ---- a slice ---- */

static void strike(trial *t, const temper *m)
{
    switch (draw(t, 14)) {
    case 0:
    case 1:
        if (m->crashes)
            crash(t);
        break;
    case 2:
    case 3:
        if (m->partitions)
            partition(t);
        break;
    case 4:
        weather(t);
        break;
    case 5:
        slow_disk(t);
        break;
    case 6:
        if (m->fails_disks)
            fail_disk(t);
        break;
    case 7:
        if (m->pauses)
            pause_some(t);
        break;
    case 8:
        if (m->jumps)
            jump(t);
        break;
    case 9:
        if (m->joins && t->n_joining == 0 && count(t, UP) + count(t, DOWN) + count(t, CLOSING) < MOST_NODES)
            node_join(t, NULL);
        break;
    case 10:
        if (m->loses)
            lose(t, any_node(t));
        break;
    default:
        if (m->splits && draw(t, 2))
            (draw(t, 2) ? split : merge)(t);
        else
            operate(t, any_group(t), draw(t, 3));
    }
}

static void mend(trial *t)
{
    switch (draw(t, 6)) {
    case 0:
        gn_sim_cut(t->sim, 0, 0, false);
        break;
    case 1:
        resume_all(t);
        break;
    case 2:
        gn_sim_link_set(t->sim, 0, 0, &gn_sim_link_good);
        break;
    default:
        restart_some(t, 2);
    }
}

void faults_run(trial *t, uint64_t ns)
{
    uint64_t end = gn_sim_now_ns(t->sim) + ns;
    temper m = {.crashes = draw(t, 4) > 0,
                .partitions = draw(t, 3) > 0,
                .pauses = draw(t, 2),
                .fails_disks = draw(t, 4) == 0,
                .joins = draw(t, 6) == 0,
                .loses = draw(t, 8) == 0,
                .jumps = draw(t, 2),
                .restless = draw(t, 5) == 0,
                .splits = t->seed % 2 == 0,
                .merges = t->seed % 8 == 0,
                .one_in = 4u << draw(t, 4)};
    if (t->disaster) /* who is there and which groups there are stays the same until then */
        m.joins = m.loses = m.splits = m.merges = false;
    t->splits = m.splits;
    while (gn_sim_now_ns(t->sim) < end && !t->problems) {
        if (draw(t, m.one_in) == 0)
            strike(t, &m);
        if (draw(t, 8) == 0)
            mend(t);
        if (m.restless)
            stir(t);
        if (m.splits && draw(t, m.merges ? 15 : 30) == 0)
            split(t);
        if (m.splits && draw(t, m.merges ? 10 : 40) == 0)
            merge(t);
        if (t->losing && is_alive(&t->nodes[t->losing]))
            lose(t, &t->nodes[t->losing]);
        t->losing = 0;
        gn_sim_run_for(t->sim, (1 + draw(t, 40)) * MS);
        nodes_tend(t);
    }
}
