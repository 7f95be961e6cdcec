/* A disaster: a majority of the nodes is lost for ever, an operator has the others go on (`gnomonctl recover`), and new
 * nodes come. The operator's tool is played: what it looks at is read from the replicas, what it asks for is asked for
 * as it does. Its choice (net/remains.h), and all that nodes do, are the product's. */
#include "net/admin.h"
#include "net/remains.h"
#include "shard/shard_private.h"
#include "shard/snapshot.h"
#include "tests/sim/cluster/trial.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LIST_BYTES = 2000, TRIES = 100, MOST_ROUNDS = 4 };
#define PATIENCE (60 * SECOND)
/* What is in logs, and not applied yet, may have so much higher SCNs. */
#define NOT_APPLIED ((gn_scn)5000 << GN_SCN_COUNTER_BITS)

typedef struct group_left {
    uint64_t id;
    gn_remains remains;
    gn_remains_replica replicas[MOST_NODES];
    gn_remains_member members[MOST_NODES][64];
    size_t n;
    gn_scn complete; /* the highest that any replica that is left is complete up to */
    bool tail;       /* the chosen one has entries of which it does not know whether they were committed */
} group_left;

typedef struct plan {
    trial *t;
    node *left[MOST_NODES], *lost[MOST_NODES];
    unsigned n_left, n_lost;
    group_left groups[64];
    size_t n_groups;
    char to[33], lost_list[64];
} plan;

/* A stream of its own: what else the seed brings stays what it is (Steele, Lea and Flood 2014, SplitMix64). */
static uint64_t draw(trial *t, uint64_t n)
{
    uint64_t z = t->dice += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    z ^= z >> 31;
    return n ? z % n : z;
}

/* ---- waiting ---- */

typedef bool (*condition)(const plan *p);

static bool comes_about(const plan *p, condition is, uint64_t within_ns)
{
    uint64_t end = gn_sim_now_ns(p->t->sim) + within_ns;
    while (!is(p) && !p->t->problems && gn_sim_now_ns(p->t->sim) < end) {
        gn_sim_run_for(p->t->sim, 20 * MS);
        nodes_tend(p->t);
        for (unsigned i = 0; i < p->n_left && !p->t->recovered; i++)
            if (!p->left[i]->condemned)
                node_restart(p->left[i]);
    }
    return is(p);
}

static bool is_open(const node *n)
{
    return is_alive(n) && n->cluster && !n->failed;
}

static bool all_left_are_open(const plan *p)
{
    for (unsigned i = 0; i < p->n_left; i++)
        if (!is_open(p->left[i]))
            return false;
    return true;
}

static bool all_are_ready(const plan *p)
{
    uint64_t ids[64];
    size_t n = group_ids(p->t, ids, 64);
    if (p->lost_list[0] && !p->t->recovered)
        return false;
    for (unsigned i = 0; i < p->n_left; i++)
        if (!is_open(p->left[i]) || !gn_cluster_ready(p->left[i]->cluster))
            return false;
    for (size_t i = 0; i < n; i++)
        if (!group_leader(p->t, ids[i]))
            return false;
    return n > 1;
}

static bool is_closed(const node *n)
{
    return !n->busy && n->sessions == 0 && !n->cluster && (n->state == DOWN || n->state == LOST);
}

static bool all_are_closed(const plan *p)
{
    for (unsigned i = 0; i < p->n_left + p->n_lost; i++)
        if (!is_closed(i < p->n_left ? p->left[i] : p->lost[i - p->n_left]))
            return false;
    return true;
}

static bool all_have_joined(const plan *p)
{
    for (unsigned i = 1; i <= MOST_ID; i++)
        if (p->t->nodes[i].state == OPENING)
            return false;
    return p->t->n_joining == 0;
}

/* ---- looking ---- */

static void take_replica(plan *p, group_left *g, node *n)
{
    gn_raft_status s;
    gn_install_progress install;
    gn_shard *shard = is_open(n) ? replica_of(n, g->id) : NULL;
    if (!shard)
        return;
    gn_raft_status_get(gn_shard_raft_group(shard), &s);
    gn_shard_install_progress(shard, &install);
    gn_remains_replica *r = &g->replicas[g->n];
    *r = (gn_remains_replica){.node = n->id,
                              .whole = !s.stopped && !install.running,
                              .serves = s.leads && s.can_read,
                              .last_term = s.last_term,
                              .last_index = s.last_index,
                              .members = g->members[g->n],
                              .n_members = s.n_members};
    for (size_t i = 0; i < s.n_members; i++)
        r->members[i] = (gn_remains_member){s.members[i].id, s.members[i].role == GN_RAFT_VOTER};
    g->n++;
    gn_scn complete = gn_shard_closed_scn(shard), last = gn_shard_last_scn(shard);
    if (gn_remains_can_go_on(r) && complete > g->complete)
        g->complete = complete;
    g->tail |= s.last_index > s.commit_index;
    if (last > p->t->floor)
        p->t->floor = last;
}

static void look_at(plan *p, uint64_t group, group_left *g)
{
    gn_node_id answering[MOST_NODES];
    *g = (group_left){.id = group};
    for (unsigned i = 0; i < p->n_left; i++) {
        answering[i] = p->left[i]->id;
        take_replica(p, g, p->left[i]);
    }
    gn_remains_judge(g->replicas, g->n, answering, p->n_left, &g->remains);
}

static void trace_group(const plan *p, const group_left *g)
{
    static const char *const fates[] = {"well", "forced", "lost", "waiting"};
    const gn_remains *r = &g->remains;
    gn_sim_trace(p->t->sim, "group %d is %s: %u of %u are left, node %d has most", (int)g->id, fates[r->fate], r->left,
                 r->voters, r->chosen ? (int)r->chosen->node : 0);
}

static void look(plan *p)
{
    uint64_t ids[64];
    p->n_groups = group_ids(p->t, ids, 64);
    if (p->n_groups == 0) /* those that are left were cut short and know no placement: the meta group is always there */
        ids[p->n_groups++] = GN_META_GROUP;
    p->t->floor = 0;
    for (size_t i = 0; i < p->n_groups; i++)
        look_at(p, ids[i], &p->groups[i]);
}

/* No leader is left that has not heard yet that it is alone, and all that are left are whole. What looks lost is on a
 * node that was cut short, and turns up later; so does what is waited for while the meta group cannot go on. */
static bool can_be_recovered(const plan *p)
{
    unsigned forced = 0;
    bool meta = false;
    for (size_t i = 0; i < p->n_groups; i++)
        meta |= p->groups[i].id == GN_META_GROUP && p->groups[i].remains.fate == GN_FATE_FORCED;
    for (size_t i = 0; i < p->n_groups; i++) {
        const gn_remains *r = &p->groups[i].remains;
        if ((r->fate == GN_FATE_WAITS && !meta) || (r->fate == GN_FATE_WELL && r->left <= r->voters / 2))
            return false;
        forced += r->fate == GN_FATE_FORCED;
    }
    return forced > 0;
}

/* ---- who is lost ---- */

static bool each_group_has_one_left(plan *p)
{
    look(p);
    for (size_t i = 0; i < p->n_groups; i++)
        if (!p->groups[i].remains.chosen)
            return false;
    return p->n_groups > 0;
}

/* A minority stays. False: no group may be lost altogether, and that cannot be had. */
static bool choose(plan *p, node **all, unsigned n)
{
    for (int tries = 0; tries < TRIES; tries++) {
        for (unsigned i = n; i > 1; i--) {
            unsigned k = (unsigned)draw(p->t, i);
            node *other = all[k];
            all[k] = all[i - 1];
            all[i - 1] = other;
        }
        p->n_left = 1 + (unsigned)draw(p->t, (n - 1) / 2);
        p->n_lost = n - p->n_left;
        memcpy(p->left, all, p->n_left * sizeof *all);
        memcpy(p->lost, all + p->n_left, p->n_lost * sizeof *all);
        if (each_group_has_one_left(p))
            return true;
    }
    return false;
}

/* What those that stay do not hear any more is lost. */
static void leave_behind(plan *p)
{
    trial *t = p->t;
    for (unsigned i = 0; i < p->n_left; i++) {
        unsigned how = (unsigned)draw(t, 4);
        if (how & 1)
            gn_sim_cut(t->sim, 0, p->left[i]->id, true);
        if (how & 2)
            gn_sim_cut(t->sim, p->left[i]->id, 0, true);
        gn_sim_run_for(t->sim, draw(t, 900) * MS);
        nodes_tend(t);
    }
}

static void lose_them(plan *p)
{
    size_t at = 0;
    bool power = draw(p->t, 3) == 0;
    for (unsigned i = 0; i < p->n_lost; i++) {
        node_lose(p->lost[i]);
        at += (size_t)snprintf(p->lost_list + at, sizeof p->lost_list - at, "%s%d", at ? "," : "", (int)p->lost[i]->id);
    }
    for (unsigned i = 0; i < p->n_left && power; i++)
        node_crash(p->left[i], GN_SIM_TEAR);
    gn_sim_trace(p->t->sim, "nodes %s are lost for ever", p->lost_list);
}

/* ---- asking ---- */

typedef struct errand {
    trial *t;
    gn_admin_request request;
    gn_code code;
    gn_error err;
    bool done;
} errand;

static void ask_node(void *arg)
{
    errand *e = arg;
    gn_world *world = e->t->observer;
    gn_rpc *rpc = gn_rpc_create(world, 0);
    gn_buf request, answer;
    gn_buf_init(&request, NULL, GN_ADMIN_MAX_REQUEST);
    gn_buf_init(&answer, NULL, GN_ADMIN_MAX_ANSWER);
    gn_admin_request_write(&request, &e->request);
    e->code = gn_rpc_ask(rpc, e->request.node, GN_ADMIN_METHOD, gn_buf_bytes(&request), gn_now_ns(world) + 20 * SECOND,
                         NULL, &answer, &e->err);
    gn_rpc_destroy(rpc);
    gn_buf_close(&request);
    gn_buf_close(&answer);
    e->done = true;
}

static bool is_done(void *arg)
{
    return ((errand *)arg)->done;
}

static bool ask(const plan *p, const gn_admin_request *request)
{
    errand e = {.t = p->t, .request = *request};
    start_strand(p->t, p->t->observer, "operator", ask_node, &e);
    while (!gn_sim_run_until(p->t->sim, is_done, &e, PATIENCE)) /* it lies on this stack */
        problem(p->t, "an operator's request does not return");
    gn_sim_trace(p->t->sim, "operator to node %d: %s %s %s: %s %s", (int)request->node, request->args[0],
                 request->args[1], request->n_args > 4 ? request->args[4] : "", gn_code_name(e.code), e.err.message);
    return e.code == GN_OK;
}

static bool note_on(const plan *p, const node *n)
{
    char list[LIST_BYTES] = "", above[24];
    size_t at = 0;
    for (size_t i = 0; i < p->n_groups; i++) {
        const gn_remains *r = &p->groups[i].remains;
        if (r->fate == GN_FATE_FORCED && r->chosen->node == n->id)
            at += (size_t)snprintf(list + at, sizeof list - at, "%s%" PRIu64 ":%" PRIu64 ":%" PRIu64, at ? "," : "",
                                   p->groups[i].id, r->chosen->last_term, r->chosen->last_index);
    }
    snprintf(above, sizeof above, "%" PRIu64, p->t->floor);
    return ask(p, &(gn_admin_request){.node = n->id,
                                      .command = GN_ADMIN_RECOVER,
                                      .n_args = at ? 5 : 4,
                                      .args = {"note", p->to, p->lost_list, above, list}});
}

static bool note_everywhere(const plan *p)
{
    for (unsigned i = 0; i < p->n_left; i++)
        if (!note_on(p, p->left[i]))
            return false;
    return true;
}

/* Looks and has it noted, until nothing changes in between. False also when there is nothing to be done any more. */
static bool agree(plan *p)
{
    for (int tries = 0; tries < TRIES && !p->t->problems; tries++) {
        gn_sim_run_for(p->t->sim, 500 * MS);
        nodes_tend(p->t);
        if (!all_left_are_open(p))
            comes_about(p, all_left_are_open, PATIENCE);
        if (all_are_ready(p))
            return false;
        look(p);
        for (size_t i = 0; i < p->n_groups; i++)
            trace_group(p, &p->groups[i]);
        if (can_be_recovered(p) && note_everywhere(p))
            return true;
    }
    return false;
}

/* ---- going on ---- */

void node_recover(node *n)
{
    gn_error err = {0};
    gn_code code;
    hooks_recover(n->world);
    while ((code = gn_recovery_do(n->dir, &n->identity, &err)) != GN_OK && hooks_were_cut_off()) {
        gn_sim_crash(n->t->sim, n->id, GN_SIM_TEAR); /* in the middle of it */
        n->world = gn_sim_restart(n->t->sim, n->id);
        hooks_recover(n->world);
        err = (gn_error){0};
    }
    hooks_recover(NULL);
    if (code != GN_OK)
        problem(n->t, "node %d does not recover: %s, %s", (int)n->id, gn_code_name(code), err.message);
}

/* What the checks have to know. Everybody who ran before has ended. */
static void remember(plan *p)
{
    trial *t = p->t;
    for (size_t i = 0; i < p->n_groups; i++)
        if (p->groups[i].remains.fate == GN_FATE_FORCED)
            t->torn[t->n_torn++] = (struct torn){p->groups[i].id, p->groups[i].complete, p->groups[i].tail};
    for (size_t i = 0; i < t->n_torn; i++)
        gn_sim_trace(t->sim, "group %d is complete up to %llu%s", (int)t->torn[i].group,
                     (unsigned long long)t->torn[i].complete, t->torn[i].tail ? ", and has more" : "");
    if (!t->recovered) {
        t->n_before = t->n_history;
        t->n_spans_before = t->n_spans;
        t->handed = 0;
    }
    t->recovered = true;
    gn_scn clock = t->floor + NOT_APPLIED; /* it goes on above */
    if (t->handed < clock)
        t->handed = clock;
}

static void start_again(plan *p)
{
    for (unsigned i = 0; i < p->n_left; i++) {
        p->left[i]->condemned = true; /* stays down for now */
        if (draw(p->t, 2))
            node_stop(p->left[i]);
        else
            node_crash(p->left[i], GN_SIM_FORGET);
    }
    if (!comes_about(p, all_are_closed, 2 * PATIENCE))
        return;
    remember(p);
    for (unsigned i = 0; i < p->n_left; i++) {
        p->left[i]->condemned = false;
        node_restart(p->left[i]);
        gn_sim_run_for(p->t->sim, draw(p->t, 300) * MS);
    }
}

/* Nodes that were cut short know only when the meta group goes on which other groups there are: those are recovered
 * then. */
static bool go_on(plan *p)
{
    uint64_t end = gn_sim_now_ns(p->t->sim) + 2 * PATIENCE;
    for (int rounds = 0; rounds < MOST_ROUNDS && !p->t->problems; rounds++) {
        snprintf(p->to, sizeof p->to, "%016" PRIx64 "%016" PRIx64, draw(p->t, 0), draw(p->t, 0));
        if (!agree(p))
            return all_are_ready(p);
        start_again(p);
        for (bool again = false; !again && !p->t->problems && gn_sim_now_ns(p->t->sim) < end;) {
            if (comes_about(p, all_are_ready, SECOND))
                return true;
            look(p);
            again = all_left_are_open(p) && can_be_recovered(p);
        }
    }
    return false;
}

static bool finish(const plan *p)
{
    for (int tries = 0; tries < TRIES && !p->t->problems; tries++) {
        if (ask(p, &(gn_admin_request){.node = p->left[draw(p->t, p->n_left)]->id,
                                       .command = GN_ADMIN_RECOVER,
                                       .n_args = 2,
                                       .args = {"finish", p->to}}))
            return true;
        gn_sim_run_for(p->t->sim, 200 * MS);
        nodes_tend(p->t);
    }
    return false;
}

static bool give_up(const plan *p, const node *lost)
{
    char number[24];
    snprintf(number, sizeof number, "%d", (int)lost->id);
    for (int tries = 0; tries < TRIES && !p->t->problems; tries++) {
        if (ask(p,
                &(gn_admin_request){
                    .node = p->left[0]->id, .command = GN_ADMIN_STATE, .n_args = 3, .args = {number, "gone", "force"}}))
            return true;
        gn_sim_run_for(p->t->sim, 200 * MS);
        nodes_tend(p->t);
    }
    return false;
}

/* Some come where others were, and some of the lost come back from the dead, with their disks. */
static bool replace_lost(plan *p)
{
    trial *t = p->t;
    bool together = draw(t, 2);
    for (unsigned i = 0; i < p->n_lost; i++) {
        if (draw(t, 2))
            node_return(p->lost[i]);
        node_join(t, draw(t, 2) ? p->lost[i] : NULL);
        if (!together && !comes_about(p, all_have_joined, PATIENCE))
            return false;
    }
    return comes_about(p, all_have_joined, PATIENCE);
}

static unsigned gather(trial *t, node **out)
{
    unsigned n = 0;
    for (unsigned i = 1; i <= MOST_ID && n < MOST_NODES; i++)
        if (t->nodes[i].state != ABSENT && t->nodes[i].state != LOST)
            out[n++] = &t->nodes[i];
    return n;
}

static void play(plan *p)
{
    trial *t = p->t;
    node *all[MOST_NODES];
    heal_all(t);
    p->n_left = gather(t, p->left);
    memcpy(all, p->left, sizeof all);
    if (!comes_about(p, all_are_ready, PATIENCE))
        problem(t, "before the disaster: %s", why_unsettled(t));
    if (t->problems || !choose(p, all, p->n_left))
        return;
    leave_behind(p);
    lose_them(p);
    heal_all(t);
    if (!go_on(p) && !t->problems)
        problem(t, "those that are left do not go on: %s", why_unsettled(t));
    if (!t->problems && !finish(p) && !t->problems)
        problem(t, "definitions are not made the same again");
    for (unsigned i = 0; i < p->n_lost && !t->problems; i++)
        if (!give_up(p, p->lost[i]) && !t->problems)
            problem(t, "node %d cannot be given up", (int)p->lost[i]->id);
    if (!t->problems && !replace_lost(p) && !t->problems)
        problem(t, "new nodes do not come");
    t->counts.disasters += t->recovered;
}

void disaster(trial *t)
{
    plan *p = gn_xcalloc(1, sizeof *p);
    p->t = t;
    play(p);
    free(p);
}
