/* The life of nodes: founding, joining, crashes, restarts, and what must be so when all is well again. */
#include "cluster/merges_private.h"
#include "cluster/placement_private.h"
#include "cluster/splits_private.h"
#include "shard/shard_private.h"
#include "tests/sim/cluster/trial.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATIENCE_NS (8 * SECOND) /* with a transaction, before it is cancelled */
#define MOST_NS (60 * SECOND)    /* that a call may take */
#define CLOSE_NS (90 * SECOND)   /* that closing may take: a merge under way there is waited for, up to 60 s */

void problem(trial *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (t->problems++ == 0) {
        vsnprintf(t->problem, sizeof t->problem, format, args);
        gn_sim_trace(t->sim, "PROBLEM: %s", t->problem);
    }
    va_end(args);
}

void pause_for(gn_world *world, uint64_t ns)
{
    gn_event never;
    gn_event_init(&never, world);
    gn_event_wait(&never, gn_now_ns(world) + ns);
}

void start_strand(trial *t, gn_world *world, const char *name, void (*fn)(void *), void *arg)
{
    if ((t->n_strands & (t->n_strands - 1)) == 0)
        t->strands = gn_xrealloc(t->strands, (t->n_strands ? 2 * t->n_strands : 1) * sizeof *t->strands);
    t->strands[t->n_strands++] = gn_strand_start(world, name, fn, arg);
}

bool is_alive(const node *n)
{
    return n->state == UP && !n->dying;
}

static void become(node *n, node_state state)
{
    n->state = state;
    n->since_ns = gn_sim_now_ns(n->t->sim);
}

/* ---- opening ---- */

static void disk_failed(void *ctx, gn_code code, const char *message)
{
    node *n = ctx;
    n->failed = true;
    if (!n->faulty && !n->dying)
        problem(n->t, "node %d stops: %s, %s", (int)n->id, gn_code_name(code), message);
}

static void start_sessions(node *n)
{
    trial *t = n->t;
    for (int i = 0; i < SESSIONS; i++) {
        session *s = gn_xcalloc(1, sizeof *s);
        *s = (session){.t = t, .node = n};
        t->all_sessions = gn_xrealloc(t->all_sessions, (t->n_sessions + 1) * sizeof *t->all_sessions);
        t->all_sessions[t->n_sessions++] = s;
        n->sessions++;
        start_strand(t, n->world, "session", session_run, s);
    }
}

static void open_node(void *arg)
{
    node *n = arg;
    gn_error err = {0};
    gn_cluster *cluster = NULL;
    gn_cluster_options options = {.data_dir = n->dir,
                                  .hedge_percent = 50,
                                  .merge_bytes = n->t->seed % 16 == 4 ? 1 << 20 : 0,
                                  .identity = &n->identity,
                                  .address = n->address,
                                  .retention_ms = 100 * 3600 * 1000,
                                  .block_cache_bytes = 1 << 20,
                                  .memtable_bytes = 1 << 20,
                                  .failed = disk_failed,
                                  .failed_ctx = n};
    gn_code code = gn_cluster_open(n->world, &options, &cluster, &err);
    n->cluster = cluster;
    if (cluster)
        cluster->merge_calm_ns = 500 * MS;
    n->busy = false;
    if (n->dying)
        return;
    if (code != GN_OK && !n->faulty)
        problem(n->t, "node %d cannot start: %s, %s", (int)n->id, gn_code_name(code), err.message);
    n->failed |= code != GN_OK;
    become(n, n->returns ? RETURNED : UP);
    if (code == GN_OK && n->t->filled && !n->t->stop && !n->returns)
        start_sessions(n);
}

static void start_node(node *n)
{
    n->dying = n->failed = n->clean = false;
    n->busy = true;
    become(n, OPENING);
    start_strand(n->t, n->world, "open", open_node, n);
}

/* ---- closing ---- */

static void close_node(void *arg)
{
    node *n = arg;
    trial *t = n->t;
    while (n->busy || n->sessions > 0)
        pause_for(t->observer, 5 * MS);
    gn_cluster_close(n->cluster, n->clean);
    n->cluster = NULL;
    if (n->clean)
        gn_sim_crash(t->sim, n->id, GN_SIM_FORGET);
    if (n->state == CLOSING)
        become(n, DOWN);
}

static void begin_close(node *n)
{
    n->dying = true;
    become(n, CLOSING);
    for (size_t i = 0; i < n->t->n_sessions; i++)
        if (n->t->all_sessions[i]->node == n)
            n->t->all_sessions[i]->cancel = true;
    start_strand(n->t, n->t->observer, "close", close_node, n);
}

void node_crash(node *n, gn_sim_tear tear)
{
    if (n->state != UP && n->state != OPENING)
        return;
    gn_sim_crash(n->t->sim, n->id, tear);
    if (gn_sim_random(n->t->sim, 2)) {         /* the process alone, not its machine */
        gn_sim_tell_gone(n->t->sim, n->id, 1); /* raft/ */
        gn_sim_tell_gone(n->t->sim, n->id, GN_RPC_CHANNEL);
    }
    n->t->counts.crashes++;
    begin_close(n);
}

void node_stop(node *n)
{
    if (n->state != UP || !n->cluster)
        return;
    gn_sim_pause(n->t->sim, n->id, false);
    n->clean = true;
    n->t->counts.stops++;
    begin_close(n);
}

void node_lose(node *n)
{
    node_crash(n, GN_SIM_FORGET);
    become(n, LOST);
    n->t->counts.losses++;
}

void node_restart(node *n)
{
    if (n->state != DOWN)
        return;
    gn_sim_disk_set(n->t->sim, n->id, &gn_sim_disk_good);
    n->faulty = false;
    n->world = gn_sim_restart(n->t->sim, n->id);
    if (n->t->disaster)
        node_recover(n);
    start_node(n);
}

void node_return(node *n)
{
    n->returns = true;
    become(n, DOWN);
    node_restart(n);
}

/* ---- splitting ---- */

typedef struct splitting {
    node *n;
    uint64_t group;
} splitting;

static void split(void *arg)
{
    splitting *s = arg;
    node *n = s->n;
    trial *t = n->t;
    gn_split made;
    gn_error err = {0};
    gn_code code = gn_split_group(n->cluster, s->group, 0, &made, &err);
    gn_sim_trace(t->sim, "node %d splits group %d: %s %s", (int)n->id, (int)s->group, gn_code_name(code), err.message);
    if (!n->dying)
        t->counts.splits += code == GN_OK;
    n->sessions--;
    free(s);
}

void node_split(node *n, uint64_t group)
{
    if (!is_alive(n) || !n->cluster)
        return;
    splitting *s = gn_xcalloc(1, sizeof *s);
    *s = (splitting){.n = n, .group = group};
    n->sessions++;
    start_strand(n->t, n->world, "split", split, s);
}

/* ---- merging ---- */

typedef struct merging {
    node *n;
    uint64_t victim, into;
} merging;

static void merge(void *arg)
{
    merging *m = arg;
    node *n = m->n;
    trial *t = n->t;
    gn_merged made;
    gn_error err = {0};
    gn_code code = gn_merge_groups(n->cluster, m->victim, m->into, &made, &err);
    gn_sim_trace(t->sim, "node %d merges group %d into %d: %s %s", (int)n->id, (int)m->victim, (int)m->into,
                 gn_code_name(code), err.message);
    if (!n->dying)
        t->counts.merges += code == GN_OK;
    gn_split split;
    bool splits = code == GN_OK && !n->dying && gn_sim_chance(t->sim, 0.4); /* out of what has just come */
    if (splits && gn_split_group(n->cluster, m->into, 0, &split, &err) == GN_OK && !n->dying) {
        t->counts.splits++;
        if (gn_sim_chance(t->sim, 0.2))
            t->losing = n->id;
    }
    n->sessions--;
    free(m);
}

/* Few rows at a time, so that much can come in between. */
static void make_pieces_small(trial *t, uint64_t group)
{
    for (unsigned i = 1; i <= MOST_ID; i++) {
        gn_shard *shard = is_alive(&t->nodes[i]) && t->nodes[i].cluster ? replica_of(&t->nodes[i], group) : NULL;
        if (shard)
            shard->merge_piece = 1 + (uint32_t)gn_sim_random(t->sim, 4000);
    }
}

void node_merge(node *n, uint64_t victim, uint64_t into)
{
    if (!is_alive(n) || !n->cluster)
        return;
    merging *m = gn_xcalloc(1, sizeof *m);
    *m = (merging){.n = n, .victim = victim, .into = into};
    make_pieces_small(n->t, victim);
    n->sessions++;
    start_strand(n->t, n->world, "merge", merge, m);
}

/* ---- joining ---- */

typedef struct joining {
    trial *t;
    gn_world *world;
    char address[32];
} joining;

static void enter_node(trial *t, const gn_identity *identity, const char *address)
{
    if (identity->node > MOST_ID || t->nodes[identity->node].state != ABSENT) {
        problem(t, "a new node got the number %" PRIu64, identity->node);
        return;
    }
    node *n = &t->nodes[identity->node];
    *n = (node){.t = t, .id = identity->node, .identity = *identity, .world = gn_sim_world(t->sim, identity->node)};
    strncpy(n->address, address, sizeof n->address - 1);
    char dir[sizeof n->dir];
    snprintf(dir, sizeof dir, "%s/%d", t->dir, (int)identity->node);
    memcpy(n->dir, dir, sizeof dir);
    start_node(n);
}

static void join(void *arg)
{
    joining *j = arg;
    trial *t = j->t;
    gn_world *world = j->world;
    gn_rpc *rpc = gn_rpc_create(world, 0);
    gn_identity identity;
    gn_error err = {0};
    gn_code code = GN_UNAVAILABLE;
    for (unsigned i = 0; code != GN_OK && !t->ends; i++) {
        node *contact = i < 3 && !t->recovered ? &t->nodes[1] : any_node(t);
        gn_error_clear(&err);
        const gn_newcomer who = {.address = j->address};
        code = contact ? gn_cluster_join(rpc, contact->id, &who, gn_now_ns(world) + 20 * SECOND, &identity, &err)
                       : GN_UNAVAILABLE;
        gn_sim_trace(t->sim, "%s joins at node %d: %s %s", j->address, contact ? (int)contact->id : 0,
                     gn_code_name(code), err.message);
        if (code == GN_CONFIGURATION)
            problem(t, "a node may not join: %s", err.message);
        if (code != GN_OK)
            pause_for(world, 300 * MS);
    }
    gn_rpc_destroy(rpc);
    if (code == GN_OK && !t->ends)
        enter_node(t, &identity, j->address);
    t->n_joining--;
    free(j);
}

void node_join(trial *t, node *replaced)
{
    joining *j = gn_xcalloc(1, sizeof *j);
    j->t = t;
    j->world = gn_sim_world(t->sim, STRANGERS + t->n_strangers++ % (WORLDS - STRANGERS + 1));
    t->n_joining++;
    if (replaced)
        memcpy(j->address, replaced->address, sizeof j->address);
    else
        snprintf(j->address, sizeof j->address, "node-%lu", ++t->counts.joins);
    start_strand(t, j->world, "join", join, j);
}

/* ---- watching ---- */

void nodes_tend(trial *t)
{
    uint64_t at = gn_sim_now_ns(t->sim);
    for (unsigned i = 1; i <= MOST_ID; i++) {
        node *n = &t->nodes[i];
        if (n->state == UP && n->failed && !n->dying) {
            t->counts.disk_failures++;
            node_crash(n, GN_SIM_TEAR);
        }
        if (n->state == CLOSING && at - n->since_ns > CLOSE_NS)
            problem(t, "node %u does not close", i);
    }
    for (size_t i = 0; i < t->n_sessions; i++) {
        session *s = t->all_sessions[i];
        if (s->ended || !s->call)
            continue;
        s->cancel |= at - s->since_ns > PATIENCE_NS;
        if (at - s->since_ns > MOST_NS)
            problem(t, "node %d: %s does not return", (int)s->node->id, s->call);
    }
}

/* Nothing runs while it is looked at. */
gn_shard *replica_of(const node *n, uint64_t group)
{
    gn_shard *shard = gn_group_hold(n->cluster, group);
    gn_group_release(n->cluster, shard);
    return shard;
}

node *any_node(trial *t)
{
    node *up[MOST_ID];
    unsigned n = 0;
    for (unsigned i = 1; i <= MOST_ID; i++)
        if (is_alive(&t->nodes[i]) && t->nodes[i].cluster)
            up[n++] = &t->nodes[i];
    return n ? up[gn_sim_random(t->sim, n)] : NULL;
}

node *group_leader(trial *t, uint64_t group)
{
    node *best = NULL;
    uint64_t term = 0;
    for (unsigned i = 1; i <= MOST_ID; i++) {
        node *n = &t->nodes[i];
        gn_shard *shard = is_alive(n) && n->cluster ? replica_of(n, group) : NULL;
        if (!shard)
            continue;
        gn_raft_status status;
        gn_raft_status_get(gn_shard_raft_group(shard), &status);
        if (status.leads && status.term > term) {
            best = n;
            term = status.term;
        }
    }
    return best;
}

static gn_placement *newest_placement(trial *t)
{
    gn_placement *best = NULL;
    for (unsigned i = 1; i <= MOST_ID; i++) {
        node *n = &t->nodes[i];
        if (!is_alive(n) || !n->cluster)
            continue;
        gn_placement *p = gn_meta_placement(n->cluster);
        bool newer = !best || p->scn > best->scn;
        gn_placement_release(newer ? best : p);
        best = newer ? p : best;
    }
    return best;
}

size_t group_ids(trial *t, uint64_t *ids, size_t max)
{
    gn_placement *p = newest_placement(t);
    size_t n = 0;
    for (uint32_t i = 0; p && i < p->n_groups && n < max; i++)
        ids[n++] = p->groups[i].id;
    gn_placement_release(p);
    return n;
}

uint64_t group_neighbour(trial *t, uint64_t group)
{
    gn_placement *p = newest_placement(t);
    const gn_group_place *row = p ? gn_placement_group(p, group) : NULL;
    uint64_t found[2];
    unsigned n = 0;
    for (uint32_t i = 0; row && row->distribution_id && i < p->n_groups && n < 2; i++)
        if (p->groups[i].distribution_id == row->distribution_id &&
            (p->groups[i].slot_hi == row->slot_lo || p->groups[i].slot_lo == row->slot_hi))
            found[n++] = p->groups[i].id;
    gn_placement_release(p);
    return n ? found[gn_sim_random(t->sim, n)] : 0;
}

/* ---- when all is well ---- */

static const char *why_member_unsettled(const gn_raft_status *led, gn_scn scn, gn_shard *shard, const gn_raft_member *m)
{
    gn_raft_status status;
    const gn_prepared_list *list = &shard->prepared;
    gn_raft_status_get(gn_shard_raft_group(shard), &status);
    if (status.applied_index != led->last_index)
        return "a replica is behind";
    if (gn_prepared_any(list))
        return "somebody is prepared";
    if (list->n_decided != list->n_aborts - list->aborts_at)
        return "a decision is not forgotten";
    if (gn_shard_last_scn(shard) != scn || gn_shard_closed_scn(shard) != scn)
        return "a replica has another SCN";
    if (shard->slots.cleaned < shard->slots.generation)
        return "rows of another group are not removed";
    return m ? NULL : "a node has a replica and is no member";
}

/* What a failing seed is understood by. */
static void describe_replica(trial *t, node *n, const gn_group_place *g)
{
    char members[256] = "";
    size_t at = 0;
    gn_raft_status s;
    gn_shard *shard = replica_of(n, g->id);
    if (!shard)
        return;
    gn_raft_status_get(gn_shard_raft_group(shard), &s);
    for (size_t i = 0; i < s.n_members && at < sizeof members - 24; i++)
        at += (size_t)snprintf(members + at, sizeof members - at, " %d%s", (int)s.members[i].id,
                               s.members[i].role == GN_RAFT_VOTER ? "" : "-");
    gn_sim_trace(t->sim,
                 "group %d at node %d: leader %d, term %llu, log %llu to %llu, committed %llu, applied %llu, snapshot "
                 "%llu, members%s%s",
                 (int)g->id, (int)n->id, (int)s.leader, (unsigned long long)s.term, (unsigned long long)s.first_index,
                 (unsigned long long)s.last_index, (unsigned long long)s.commit_index,
                 (unsigned long long)s.applied_index, (unsigned long long)s.snapshot_index, members,
                 s.stopped ? ", stopped" : "");
}

static void describe(trial *t)
{
    gn_placement *p = newest_placement(t);
    for (uint32_t i = 0; p && i < p->n_groups; i++) {
        const gn_group_place *g = &p->groups[i];
        for (uint32_t k = 0; k < g->n_members; k++)
            gn_sim_trace(t->sim, "group %d is to be at node %d", (int)g->id, (int)g->members[k]);
        for (unsigned k = 1; k <= MOST_ID; k++)
            if (is_alive(&t->nodes[k]) && t->nodes[k].cluster)
                describe_replica(t, &t->nodes[k], g);
    }
    gn_placement_release(p);
}

static const gn_raft_member *member_of(const gn_raft_status *s, gn_node_id id)
{
    for (size_t i = 0; i < s->n_members; i++)
        if (s->members[i].id == id)
            return &s->members[i];
    return NULL;
}

static const char *why_group_unsettled(trial *t, const gn_group_place *g)
{
    node *leader = group_leader(t, g->id);
    if (!leader)
        return "a group has no leader";
    gn_shard *led = replica_of(leader, g->id);
    gn_raft_status status;
    gn_raft_status_get(gn_shard_raft_group(led), &status);
    if (!status.can_read)
        return "a leader cannot read";
    unsigned wanted = 0;
    const char *why = NULL;
    for (unsigned i = 1; i <= MOST_ID && !why; i++) {
        node *n = &t->nodes[i];
        bool wants = g->id == GN_META_GROUP ? n->state == UP : gn_group_has_member(g, i);
        wanted += wants;
        if (!wants)
            continue;
        gn_shard *shard = is_alive(n) && n->cluster ? replica_of(n, g->id) : NULL;
        const gn_raft_member *m = member_of(&status, i);
        why = !shard ? "a replica is missing"
              : !m   ? "a member is missing"
              : g->id != GN_META_GROUP && m->role != GN_RAFT_VOTER
                  ? "a member has no vote"
                  : why_member_unsettled(&status, gn_shard_last_scn(led), shard, m);
    }
    return why ? why : status.n_members != wanted ? "there are too many members" : NULL;
}

const char *why_unsettled(trial *t)
{
    if (t->n_joining)
        return "a node is joining";
    for (unsigned i = 1; i <= MOST_ID; i++) {
        const node *n = &t->nodes[i];
        if (n->state != ABSENT && n->state != LOST && n->state != RETURNED && n->state != UP)
            return "a node is not up";
        if (n->state == UP && (n->dying || !n->cluster || !gn_cluster_ready(n->cluster)))
            return "a node is not ready";
    }
    for (size_t i = 0; i < t->n_sessions; i++)
        if (!t->all_sessions[i]->ended)
            return "a client waits";
    gn_placement *p = newest_placement(t);
    const char *why = p ? NULL : "there is no placement";
    for (uint32_t i = 0; p && i < p->n_groups && !why; i++)
        why = why_group_unsettled(t, &p->groups[i]);
    gn_placement_release(p);
    return why;
}

bool settled(void *ctx)
{
    return why_unsettled(ctx) == NULL;
}

/* Looking is dear: not at every step. */
bool settles(trial *t, uint64_t within_ns)
{
    uint64_t end = gn_sim_now_ns(t->sim) + within_ns;
    while (!settled(t) && !t->problems && gn_sim_now_ns(t->sim) < end) {
        gn_sim_run_for(t->sim, 20 * MS);
        nodes_tend(t);
    }
    return settled(t);
}

/* ---- a trial ---- */

static void make_dir(trial *t)
{
    const char *tmp = getenv("TMPDIR");
    tmp = tmp ? tmp : access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(t->dir, sizeof t->dir, "%s/gnomon-trial-XXXXXX", tmp);
    if (!mkdtemp(t->dir)) {
        perror(t->dir);
        exit(2);
    }
}

typedef struct filling {
    trial *t;
    bool done, ok;
} filling;

static void fill(void *arg)
{
    filling *f = arg;
    f->ok = fill_tables(f->t, &f->t->nodes[1]);
    f->done = true;
}

static bool has_filled(void *ctx)
{
    return ((filling *)ctx)->done;
}

trial *trial_start(uint64_t seed, canary planted, bool disaster_comes, FILE *trace)
{
    trial *t = gn_xcalloc(1, sizeof *t);
    t->seed = seed;
    t->canary = planted;
    t->n_first = seed % 5 == 0 ? 3 : 5;
    t->snapshot_bytes = (uint64_t)4000 << seed / 5 % 6;
    t->next_fresh = FIRST_FRESH;
    t->disaster = disaster_comes;
    t->dice = seed;
    make_dir(t);
    t->sim = gn_sim_create(seed, WORLDS);
    gn_sim_trace_to(t->sim, trace);
    t->observer = gn_sim_world(t->sim, OBSERVER);
    hooks_begin(t);
    gn_identity first = gn_identity_found(gn_sim_world(t->sim, 1));
    t->counts.joins = 1;
    enter_node(t, &first, "node-1");
    gn_sim_run_for(t->sim, 50 * MS);
    for (unsigned i = 2; i <= t->n_first && !t->problems; i++) {
        node_join(t, NULL);
        if (!settles(t, 30 * SECOND))
            problem(t, "the cluster was not made: %s", why_unsettled(t));
    }
    filling f = {.t = t};
    if (!t->problems) {
        start_strand(t, t->observer, "fill", fill, &f);
        if (!gn_sim_run_until(t->sim, has_filled, &f, 60 * SECOND) || !f.ok)
            problem(t, "the tables were not made");
    }
    if (t->disaster && !t->problems && !settles(t, 30 * SECOND)) /* what is there at the beginning is not lost */
        problem(t, "what the tables are filled with does not arrive: %s", why_unsettled(t));
    t->filled = t->problems == 0;
    for (unsigned i = 1; i <= MOST_ID && t->filled; i++)
        if (is_alive(&t->nodes[i]))
            start_sessions(&t->nodes[i]);
    return t;
}

void heal_all(trial *t)
{
    gn_sim_link_set(t->sim, 0, 0, &gn_sim_link_good);
    gn_sim_cut(t->sim, 0, 0, false);
    for (unsigned i = 1; i <= MOST_ID; i++) {
        if (t->nodes[i].state == ABSENT || t->nodes[i].state == LOST)
            continue;
        gn_sim_pause(t->sim, i, false);
        gn_sim_disk_faults faults = gn_sim_disk_get(t->sim, i);
        faults.min_ns = gn_sim_disk_good.min_ns;
        faults.max_ns = gn_sim_disk_good.max_ns;
        faults.fail_read = faults.fail_write = 0;
        gn_sim_disk_set(t->sim, i, &faults);
    }
}

void trial_heal(trial *t)
{
    t->healing = true;
    heal_all(t);
    uint64_t work_on = gn_sim_now_ns(t->sim) + 500 * MS, end = gn_sim_now_ns(t->sim) + 120 * SECOND;
    while (!t->problems && gn_sim_now_ns(t->sim) < end && !(t->stop && settled(t))) {
        gn_sim_run_for(t->sim, 20 * MS);
        t->stop = gn_sim_now_ns(t->sim) > work_on;
        for (unsigned i = 1; i <= MOST_ID; i++)
            node_restart(&t->nodes[i]);
        nodes_tend(t);
    }
    if (!t->problems && !settled(t))
        problem(t, "after everything healed: %s", why_unsettled(t));
    if (t->problems)
        describe(t);
}

void trial_stop(trial *t)
{
    char command[300];
    t->stop = t->ends = true;
    gn_sim_link_set(t->sim, 0, 0, &gn_sim_link_good);
    gn_sim_cut(t->sim, 0, 0, false);
    for (unsigned i = 1; i <= MOST_ID; i++)
        if (t->nodes[i].state != ABSENT && t->nodes[i].state != LOST)
            gn_sim_pause(t->sim, i, false);
    for (unsigned i = 1; i <= MOST_ID; i++) {
        node *n = &t->nodes[i];
        if (n->state == RETURNED)
            become(n, UP);
        if (n->state == UP && n->cluster && t->seed % 16 == 0)
            node_stop(n); /* takes long */
        else
            node_crash(n, GN_SIM_FORGET);
    }
    for (size_t i = 0; i < t->n_strands; i++)
        gn_strand_join(t->strands[i]);
    hooks_end();
    gn_sim_destroy(t->sim);
    for (size_t i = 0; i < t->n_sessions; i++)
        free(t->all_sessions[i]);
    for (size_t i = 0; i < t->n_history; i++)
        free(t->history[i]);
    for (unsigned k = 0; k < N_TABLES; k++)
        for (unsigned id = 0; id < MOST_IDS; id++)
            free(t->versions[k][id].items);
    free(t->strands);
    free(t->all_sessions);
    free(t->history);
    free(t->spans);
    snprintf(command, sizeof command, "rm -rf '%s'", t->dir);
    if (system(command) != 0)
        fprintf(stderr, "could not remove %s\n", t->dir);
    free(t);
}
