/* Clusters under drawn faults of network, disks, nodes and operators, all at once. After it all: no term had two
 * leaders, all state machines went the same way, what was acknowledged is there once, what was refused is not, a read
 * saw every write acknowledged before it began, and the healed cluster goes on. The seed of a failure is printed. */
#include "base/log.h"
#include "base/memory.h"
#include "raft/raft_private.h"
#include "tests/base/cmocka_all.h"
#include "tests/raft/cluster.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NODES = 5, WRITES = 4000, TERMS = 4096, INDEXES = 16384 };

typedef enum outcome { PENDING, ACKNOWLEDGED, REFUSED, UNKNOWN } outcome;

typedef struct chaos_request {
    gn_raft_request request;
    int number; /* of a write; -1 = a read; -2 = an operator's */
    uint64_t floor;
    char text[16];
} chaos_request;

static cluster c;
static unsigned voters; /* at the start */
static unsigned leader_of[TERMS];
static char applied[INDEXES][16];
static outcome outcomes[WRITES];
static int writes;
static uint64_t acknowledged; /* highest index */
static int outstanding;
static struct {
    unsigned long acknowledged, unknown, refused, reads, changes, transfers, installs, terms;
} total; /* that the test went deep enough */
static uint64_t seed;

static uint64_t below(uint64_t n)
{
    return gn_sim_random(c.sim, n);
}

#define CHECK(condition)                                                           \
    do {                                                                           \
        if (!(condition))                                                          \
            fail_msg("seed %llu, %llu ms: %s", (unsigned long long)seed,           \
                     (unsigned long long)(gn_sim_now_ns(c.sim) / MS), #condition); \
    } while (0)

static void watch(void *ctx, const gn_raft_entry *entry, uint64_t term)
{
    cluster_node *node = ctx;
    if (!entry) {
        CHECK(term < TERMS);
        CHECK(leader_of[term] == 0 || leader_of[term] == node->id);
        leader_of[term] = node->id;
        return;
    }
    CHECK(entry->index < INDEXES && entry->command.len < sizeof applied[0]);
    char *known = applied[entry->index];
    if (!known[0])
        memcpy(known, entry->command.data, entry->command.len);
    CHECK(strlen(known) == entry->command.len && memcmp(known, entry->command.data, entry->command.len) == 0);
}

static void done(gn_raft_request *request, gn_code code)
{
    chaos_request *r = GN_CONTAINER(request, chaos_request, request);
    outstanding--;
    if (r->number >= 0) {
        CHECK(outcomes[r->number] == PENDING);
        outcomes[r->number] = code == GN_OK                                     ? ACKNOWLEDGED
                              : code == GN_NOT_LEADER || code == GN_UNAVAILABLE ? REFUSED
                                                                                : UNKNOWN;
        if (code == GN_OK && request->index > acknowledged)
            acknowledged = request->index;
    } else if (r->number == -1 && code == GN_OK) {
        CHECK(request->index >= r->floor);
        total.reads++;
    } else if (code == GN_OK) {
        total.changes +=
            request->kind == GN_RAFT_ADD || request->kind == GN_RAFT_PROMOTE || request->kind == GN_RAFT_REMOVE;
        total.transfers += request->kind == GN_RAFT_TRANSFER;
    }
    free(r);
}

static chaos_request *new_request(int number)
{
    chaos_request *r = gn_xcalloc(1, sizeof *r);
    r->request.done = done;
    r->number = number;
    outstanding++;
    return r;
}

static void write_one(unsigned id)
{
    if (writes == WRITES || !c.node[id].group)
        return;
    chaos_request *r = new_request(writes);
    snprintf(r->text, sizeof r->text, "w%d", writes++);
    r->request.command = gn_bytes_str(r->text);
    gn_raft_submit(c.node[id].group, &r->request);
}

static void read_one(unsigned id)
{
    if (!c.node[id].group)
        return;
    chaos_request *r = new_request(-1);
    r->floor = acknowledged;
    gn_raft_read_index(c.node[id].group, &r->request);
}

static unsigned some_node(void)
{
    return 1 + (unsigned)below(NODES);
}

/* Mostly who believes to lead. */
static unsigned some_leader(void)
{
    unsigned first = some_node();
    for (unsigned i = 0; i < NODES; i++) {
        unsigned id = (first + i - 1) % NODES + 1;
        if (cluster_status(&c, id).leads && below(8))
            return id;
    }
    return first;
}

static void operate(void)
{
    unsigned id = some_leader(), target = some_node();
    if (!c.node[id].group)
        return;
    chaos_request *r = new_request(-2);
    switch (below(5)) {
    case 0:
        gn_raft_add(c.node[id].group, target, &r->request);
        break;
    case 1:
        gn_raft_promote(c.node[id].group, target, &r->request);
        break;
    case 2:
        if (cluster_status(&c, id).n_members > 3) {
            gn_raft_remove(c.node[id].group, target, &r->request);
            break;
        } /* fall through */
    case 3:
        gn_raft_transfer(c.node[id].group, target, &r->request);
        break;
    default:
        gn_raft_take_snapshot(c.node[id].group, &r->request);
    }
}

static unsigned down(void)
{
    unsigned n = 0;
    for (unsigned id = 1; id <= NODES; id++)
        n += c.node[id].world == NULL;
    return n;
}

static void crash_or_restart(void)
{
    unsigned id = some_node();
    if (!c.node[id].world) {
        gn_sim_disk_set(c.sim, id, &gn_sim_disk_good); /* a disk that fails at the start is another test's matter */
        cluster_restart(&c, id);
    } else if (down() < 3)
        cluster_crash(&c, id, below(2) ? GN_SIM_TEAR : GN_SIM_FORGET);
    if (below(2)) /* true or not */
        gn_sim_tell_gone(c.sim, id, GN_RAFT_CHANNEL);
}

/* A node whose disk failed is as good as crashed: it is restarted. */
static void revive_failed(void)
{
    for (unsigned id = 1; id <= NODES; id++)
        if (c.node[id].world && cluster_status(&c, id).stopped) {
            cluster_crash(&c, id, GN_SIM_TEAR);
            gn_sim_disk_set(c.sim, id, &gn_sim_disk_good);
            cluster_restart(&c, id);
        }
}

static void disturb_disk(void)
{
    gn_sim_disk_faults faults = gn_sim_disk_good;
    unsigned id = some_node();
    if (below(3) == 0)
        faults = (gn_sim_disk_faults){.min_ns = MS, .max_ns = (1 + below(300)) * MS};
    if (below(6) == 0) {
        faults.fail_write = 1 + (unsigned)below(5);
        faults.fail_code = GN_IO;
    }
    gn_sim_disk_set(c.sim, id, &faults);
}

static void disturb_network(void)
{
    gn_sim_link link = gn_sim_link_good;
    if (below(2)) {
        link.loss = (double)below(30) / 100;
        link.duplicate = (double)below(20) / 100;
        link.max_ns = (1 + below(100)) * MS;
    }
    if (below(2))
        gn_sim_link_set(c.sim, 0, 0, &link);
    else
        gn_sim_cut(c.sim, below(4) ? some_node() : 0, below(4) ? some_node() : 0, below(2));
}

static void disturb(void)
{
    switch (below(9)) {
    case 0:
    case 1:
        crash_or_restart();
        break;
    case 2:
        disturb_disk();
        break;
    case 3:
    case 4:
        disturb_network();
        break;
    case 5:
        gn_sim_pause(c.sim, some_node(), below(3) == 0);
        break;
    case 6:
    case 7:
        operate();
        break;
    default: { /* the files of the next snapshots cannot be had */
        unsigned id = some_node();
        if (c.node[id].group)
            c.node[id].recorder->put_off = (unsigned)below(4);
    }
    }
    revive_failed();
}

static void heal(void)
{
    gn_sim_link_set(c.sim, 0, 0, &gn_sim_link_good);
    for (unsigned id = 1; id <= NODES; id++) {
        gn_sim_disk_set(c.sim, id, &gn_sim_disk_good);
        gn_sim_pause(c.sim, id, false);
        if (!c.node[id].world)
            cluster_restart(&c, id);
    }
    gn_sim_run_for(c.sim, SECOND);
    revive_failed();
}

static bool nothing_outstanding(void *ctx)
{
    (void)ctx;
    return outstanding == 0;
}

static void check_outcomes(void)
{
    int *seen = gn_xcalloc((size_t)writes + 1, sizeof *seen);
    recorder *r = c.node[cluster_leader(&c)].recorder;
    for (size_t i = 0; i < r->n; i++)
        if (r->commands[i][0] == 'w')
            seen[strtoul(r->commands[i] + 1, NULL, 10)]++;
    for (int i = 0; i < writes; i++) {
        total.acknowledged += outcomes[i] == ACKNOWLEDGED;
        total.unknown += outcomes[i] == UNKNOWN;
        total.refused += outcomes[i] == REFUSED;
        CHECK(seen[i] <= 1);
        CHECK(outcomes[i] != PENDING);
        CHECK(outcomes[i] != ACKNOWLEDGED || seen[i] == 1);
        CHECK(outcomes[i] != REFUSED || seen[i] == 0);
    }
    free(seen);
    for (unsigned id = 1; id <= NODES; id++)
        total.installs += c.node[id].recorder->installs;
    total.terms += cluster_status(&c, 1).term;
}

static void tell_state(void)
{
    for (unsigned id = 1; id <= NODES; id++) {
        gn_raft_status s = cluster_status(&c, id);
        print_message("node %u: term %llu leader %llu leads %d can_read %d stopped %d first %llu last %llu commit %llu "
                      "applied %llu members",
                      id, (unsigned long long)s.term, (unsigned long long)s.leader, s.leads, s.can_read, s.stopped,
                      (unsigned long long)s.first_index, (unsigned long long)s.last_index,
                      (unsigned long long)s.commit_index, (unsigned long long)s.applied_index);
        for (size_t i = 0; i < s.n_members; i++)
            print_message(" %llu%c", (unsigned long long)s.members[i].id,
                          s.members[i].role == GN_RAFT_VOTER ? 'v' : 's');
        const gn_raft_group *g = c.node[id].group;
        if (g)
            print_message("; pending %zu waiting %zu reads %zu %zu %zu change %d transfer %d snapshot %d install %d",
                          g->pending.n, g->waiting.n, g->reads.n, g->round.reads.n, g->reads_done.n,
                          g->change ? g->change->kind : -1, g->transfer != NULL, g->snapshot_request != NULL,
                          g->install);
        print_message("\n");
    }
}

static void run_seed(void)
{
    gn_raft_options options = {.election_timeout_ms = 300, .heartbeat_ms = 50};
    memset(leader_of, 0, sizeof leader_of);
    memset(applied, 0, sizeof applied);
    memset(outcomes, 0, sizeof outcomes);
    writes = outstanding = 0;
    acknowledged = 0;
    voters = seed % 3 == 0 ? 5 : seed % 3 == 1 ? 3 : 1;
    options.snapshot_threshold_bytes = seed % 2 ? 500 : 20000;
    options.log_keep_bytes = seed % 4 < 2 ? 1 : 500;
    cluster_watch(watch);
    cluster_start(&c, seed, NODES, voters, &options);
    for (int i = 0; i < 400; i++) {
        for (uint64_t n = below(6); n > 0; n--)
            write_one(some_leader());
        if (below(3) == 0)
            read_one(some_leader());
        disturb();
        gn_sim_run_for(c.sim, below(4) ? below(30 * MS) : below(400 * MS));
    }
    heal();
    if (!gn_sim_run_until(c.sim, nothing_outstanding, NULL, 60 * SECOND)) {
        tell_state();
        CHECK(!"requests end once the cluster is healed");
    }
    for (int i = 0; i < 10; i++)
        cluster_write(&c, "healed");
    cluster_settle(&c);
    cluster_check_equal(&c);
    check_outcomes();
    cluster_stop(&c);
}

static void faults_of_all_kinds_lose_and_invent_nothing(void **state)
{
    (void)state;
    const char *from = getenv("GN_CHAOS_FROM"), *n = getenv("GN_CHAOS_SEEDS");
    uint64_t first = from ? strtoull(from, NULL, 10) : 1, count = n ? strtoull(n, NULL, 10) : 60;
    gn_log_configure(GN_LOG_OFF, false, 2);
    for (seed = first; seed < first + count; seed++) {
        if (n || from)
            fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
        run_seed();
    }
    gn_log_configure(GN_LOG_WARN, false, 2);
    print_message(
        "acknowledged %lu, unknown %lu, refused %lu, reads %lu, changes %lu, transfers %lu, installs %lu, terms "
        "%lu\n",
        total.acknowledged, total.unknown, total.refused, total.reads, total.changes, total.transfers, total.installs,
        total.terms);
    assert_true(total.acknowledged > count * 20 && total.unknown > count && total.reads > count);
    assert_true(count < 20 || (total.changes > 10 && total.transfers > 10 && total.installs > 10));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(faults_of_all_kinds_lose_and_invent_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
