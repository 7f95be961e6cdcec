/* Transactions over several groups under the simulation: transfers between accounts, by coordinators that die at every
 * step, on servers that crash and are cut off, with a clock that is slow and fails; and planted bugs, which the checks
 * must find.
 *
 * The claim is that every transaction takes place at its SCN, and that this SCN was handed out by the clock between the
 * transaction's begin and its end. So the versions in the stores, in order of SCN, are the history, and each
 * transaction's reads, and what it was told, are compared with it. That is strict serializability, checked in linear
 * time. A read at the newest SCN of one group has a range of possible places instead. */
#include "groups_cluster.h"

#include <stdio.h>
#include <stdlib.h>

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__) /* it takes many times as long */
enum { SEEDS = 60 };
#else
enum { SEEDS = 200 };
#endif

/* ---- transactions ---- */

static outcome outcome_of(gn_code code, bool answered)
{
    if (!answered || code == GN_OUTCOME_UNKNOWN || code == GN_SHUTDOWN || code == GN_CRASH_SHUTDOWN)
        return UNKNOWN;
    return code == GN_OK ? COMMITTED : REFUSED;
}

/* Reads two accounts and moves something from one to the other. */
static void plan_transfer(cluster *c, event *e, unsigned g1, unsigned g2)
{
    int k1 = (int)gn_sim_random(c->sim, KEYS), k2 = (int)gn_sim_random(c->sim, KEYS);
    if (g1 == g2 && k1 == k2)
        k2 = (k1 + 1) % KEYS;
    e->writes[0] = (read_item){(int)g1, k1, e->tag, -(int64_t)gn_sim_random(c->sim, 10)};
    e->writes[1] = (read_item){(int)g2, k2, e->tag, -e->writes[0].n};
    e->n_writes = 2;
}

static bool move(cluster *c, gn_txn *txn, event *e, int i)
{
    read_item *w = &e->writes[i], *r = &e->reads[e->n_reads];
    if (!read_key(c, txn, w->group, w->key, r))
        return false;
    e->n_reads++;
    w->n += r->n;
    return write_key(c, txn, w);
}

static void transfer_in_one(cluster *c, unsigned group)
{
    event *e = record(c, TRANSFER);
    call k;
    plan_transfer(c, e, group, group);
    part *p = part_begin(c, group, (gn_txn_options){0}, &k);
    if (!p) {
        conclude(c, e, REFUSED, 0);
        return;
    }
    gn_txn *txn = part_take(p, &k);
    if (!move(c, txn, e, 0) || !move(c, txn, e, 1)) {
        gn_txn_abort(txn);
        call_end(&k);
        conclude(c, e, REFUSED, 0);
        return;
    }
    gn_scn scn = 0;
    gn_code code = gn_txn_commit(txn, &scn, NULL);
    conclude(c, e, outcome_of(code, call_end(&k)), scn);
}

static bool dies(cluster *c)
{
    return gn_sim_chance(c->sim, 0.04);
}

static void plant_no_locks(cluster *c, gn_shard *shard, uint64_t txn_id)
{
    gn_prepared *p = c->plant == NOTHING_IS_HELD ? gn_prepared_find(&shard->prepared, txn_id) : NULL;
    if (!p)
        return;
    p->footprint->len = 0;
    gn_read_set_close(&p->held);
    gn_read_set_close(&p->writes);
}

typedef struct transfer {
    uint64_t txn_id, groups[GROUPS_MAX];
    uint32_t n_groups;
    bool first_decides; /* with its own part, when the others are prepared */
    gn_scn above;       /* under which these are */
    gn_scn scn;
} transfer;

static gn_code end_part(gn_txn *txn, uint32_t i, transfer *t)
{
    gn_scn at = 0;
    if (i == 0 && t->first_decides)
        return gn_txn_decide(txn, t->txn_id, t->groups, t->n_groups, t->above, &t->scn, NULL);
    gn_code code = gn_txn_prepare(txn, t->txn_id, t->groups, t->n_groups, &at, NULL);
    if (code == GN_OK && at > t->above)
        t->above = at;
    return code;
}

/* One part from its begin to its end. *sent: it may have been prepared. */
static bool prepare_part(cluster *c, event *e, uint32_t i, gn_scn scn, transfer *t, bool *sent)
{
    call k;
    part *p = part_begin(c, (unsigned)t->groups[i], (gn_txn_options){.global = true, .read_scn = scn}, &k);
    if (!p)
        return false;
    bool ok;
    if (i < 2) {
        ok = move(c, p->txn, e, (int)i);
    } else { /* a part that only reads */
        ok = read_key(c, p->txn, (int)t->groups[i], (int)gn_sim_random(c->sim, KEYS), &e->reads[e->n_reads]);
        e->n_reads += ok;
    }
    ok = call_end(&k) && ok; /* the client thinks */
    bool same = k.server->incarnation == k.incarnation && !k.server->dying;
    if (same)
        k.server->calls++;
    gn_txn *txn = part_take(p, &k);
    if (!ok || !same || !txn || dies(c)) {
        gn_txn_abort(txn);
        k.server->calls -= same;
        return false;
    }
    *sent = true;
    gn_code code = end_part(txn, i, t);
    if (code == GN_OK)
        plant_no_locks(c, k.shard, t->txn_id);
    return call_end(&k) && code == GN_OK;
}

static void decide_transfer(cluster *c, event *e, gn_scn scn, const transfer *t, bool commit)
{
    gn_decision d = {0};
    bool known = false;
    for (int i = 0; i < 5 && !known; i++)
        known = decide(c, (unsigned)t->groups[0], t->txn_id, commit, commit ? scn : 0, &d);
    if (!known)
        return;
    bool committed = d.state == GN_COMMITTED;
    conclude(c, e, committed ? COMMITTED : REFUSED, d.scn);
    for (uint32_t i = 1; i < t->n_groups; i++) {
        gn_decision other;
        if (dies(c) || !decide(c, (unsigned)t->groups[i], t->txn_id, committed, committed ? d.scn : 0, &other))
            return;
        if (other.state != d.state)
            problem(c, "two groups decided differently");
    }
    if (!dies(c))
        forget(c, (unsigned)t->groups[0], t->txn_id);
}

static void transfer_over_two(cluster *c, unsigned g1, unsigned g2)
{
    event *e = record(c, TRANSFER);
    gn_scn start, scn = 0;
    transfer t = {.txn_id = gn_sim_random(c->sim, 0) | 1, .groups = {g1, g2}, .n_groups = 2};
    plan_transfer(c, e, g1, g2);
    if (c->n_groups == 3 && gn_sim_chance(c->sim, 0.5))
        t.groups[t.n_groups++] = 6 - g1 - g2;
    if (!draw_scns(c, c->clients, 1, 0, &start)) {
        conclude(c, e, REFUSED, 0);
        return;
    }
    bool sent = false, ok = true, backwards = gn_sim_chance(c->sim, 0.5);
    t.first_decides = c->plant != SCN_BEFORE_PREPARE && gn_sim_chance(c->sim, 0.5);
    for (uint32_t i = 0; ok && i < t.n_groups; i++) {
        if (c->plant == SCN_BEFORE_PREPARE && i + 1 == t.n_groups)
            ok = draw_scns(c, c->clients, 1, 0, &scn);
        ok = ok && prepare_part(c, e, backwards || t.first_decides ? t.n_groups - 1 - i : i, start, &t, &sent);
        if (dies(c))
            return;
    }
    if (!sent) {
        conclude(c, e, REFUSED, 0);
        return;
    }
    if (t.first_decides)
        scn = t.scn;
    else if (c->plant != SCN_BEFORE_PREPARE)
        ok = ok && draw_scns(c, c->clients, 1, 0, &scn);
    if (!dies(c))
        decide_transfer(c, e, scn, &t, ok);
}

static bool read_group(cluster *c, event *e, unsigned group, gn_txn_options o, gn_scn *scn)
{
    call k;
    o.read_only = true;
    part *p = part_begin(c, group, o, &k);
    if (!p)
        return false;
    gn_txn *txn = part_take(p, &k);
    bool ok = true;
    for (int key = 0; ok && key < KEYS; key++) {
        ok = read_key(c, txn, (int)group, key, &e->reads[e->n_reads]);
        e->n_reads += ok;
    }
    *scn = gn_txn_read_scn(txn);
    gn_txn_abort(txn);
    return call_end(&k) && ok;
}

static void snapshot(cluster *c)
{
    event *e = record(c, SNAPSHOT);
    gn_scn start, at;
    bool ok = draw_scns(c, c->clients, 1, 0, &start);
    int64_t sum = 0;
    for (unsigned g = 1; ok && g <= c->n_groups; g++)
        ok = read_group(c, e, g, (gn_txn_options){.global = true, .read_scn = start}, &at);
    conclude(c, e, ok ? COMMITTED : REFUSED, start);
    for (int i = 0; ok && i < e->n_reads; i++)
        sum += e->reads[i].n;
    if (ok && sum != (int64_t)(c->n_groups * KEYS * START_BALANCE))
        problem(c, "the total is %lld", (long long)sum);
}

static void newest(cluster *c, unsigned group)
{
    event *e = record(c, NEWEST);
    gn_scn at = 0;
    bool ok = read_group(c, e, group, (gn_txn_options){0}, &at);
    conclude(c, e, ok ? COMMITTED : REFUSED, at);
}

static void client(void *arg)
{
    cluster *c = arg;
    for (int i = 0; i < ROUNDS; i++) {
        unsigned g1 = 1 + (unsigned)gn_sim_random(c->sim, c->n_groups);
        unsigned g2 = 1 + (g1 - 1 + 1 + (unsigned)gn_sim_random(c->sim, c->n_groups - 1)) % c->n_groups;
        switch (gn_sim_random(c->sim, 6)) {
        case 0:
            transfer_in_one(c, g1);
            break;
        case 1:
            snapshot(c);
            break;
        case 2:
            newest(c, g1);
            break;
        default:
            transfer_over_two(c, g1, g2);
            break;
        }
    }
    c->working--;
}

/* ---- runs ---- */

static void work(cluster *c)
{
    c->working = CLIENTS;
    for (int i = 0; i < CLIENTS; i++)
        start_strand(c, c->clients, client, c);
    while (!gn_sim_run_until(c->sim, cluster_idle, c, (10 + gn_sim_random(c->sim, 90)) * MS)) {
        unsigned id = 1 + (unsigned)gn_sim_random(c->sim, c->n_servers);
        bool may_crash = c->plant != NOTHING_IS_HELD; /* what was planted is lost with the server */
        switch (gn_sim_random(c->sim, 12)) {
        case 0:
            if (may_crash)
                crash(c, id);
            break;
        case 1:
        case 2:
            cut_off(c, id, c->n_replicas > 1);
            break;
        case 3:
            c->clock_down = !c->clock_down;
            break;
        default:
            cut_off(c, id, false);
            c->clock_down = false;
            break;
        }
    }
    for (unsigned id = 1; id <= c->n_servers; id++)
        cut_off(c, id, false);
    c->clock_down = false;
}

typedef struct tally {
    uint64_t runs, commits, refusals, unknown, reads;
} tally;

/* The first problem's text, or NULL. */
static bool run(uint64_t seed, plant bug, tally *sum, char *what, size_t size)
{
    cluster *c = calloc(1, sizeof *c);
    gn_metric *raised = gn_counter("gnomon_shard_scns_raised_total", NULL, "");
    uint64_t before = gn_counter_value(raised);
    if (bug == FOLLOWER_DOES_NOT_WAIT || (bug == NO_PLANT && seed % 4 == 0))
        cluster_start_any_serves(c, seed, bug);
    else
        cluster_start(c, seed, bug);
    work(c);
    if (!gn_sim_run_until(c->sim, all_settled, c, 120 * SECOND))
        problem(c, "something is left prepared");
    else
        check_replicas(c);
    if (gn_counter_value(raised) != before)
        problem(c, "SCNs do not ascend in the log");
    if (c->problems == 0 || bug != SCN_BEFORE_PREPARE)
        check_history(c);
    for (size_t i = 0; i < c->n_history; i++) {
        const event *e = &c->history[i];
        sum->commits += e->kind == TRANSFER && e->outcome == COMMITTED;
        sum->refusals += e->kind == TRANSFER && e->outcome == REFUSED;
        sum->unknown += e->kind == TRANSFER && e->outcome == UNKNOWN;
        sum->reads += e->kind != TRANSFER && e->outcome == COMMITTED;
    }
    sum->runs++;
    snprintf(what, size, "%s", c->problem);
    bool ok = c->problems == 0;
    cluster_stop(c);
    free(c);
    return ok;
}

static void transfers_are_strictly_serializable(void **state)
{
    (void)state;
    tally sum = {0};
    char what[300];
    const char *from = getenv("GN_SEED"), *n = getenv("GN_SEEDS");
    uint64_t first = from ? strtoull(from, NULL, 10) : 1, seeds = n ? strtoull(n, NULL, 10) : from ? 1 : SEEDS;
    for (uint64_t seed = first; seed < first + seeds; seed++)
        if (!run(seed, NO_PLANT, &sum, what, sizeof what))
            fail_msg("seed %llu: %s", (unsigned long long)seed, what);
    print_message("%llu runs: %llu transfers, %llu refused, %llu unknown, %llu reads\n", (unsigned long long)sum.runs,
                  (unsigned long long)sum.commits, (unsigned long long)sum.refusals, (unsigned long long)sum.unknown,
                  (unsigned long long)sum.reads);
    if (!from)
        assert_true(sum.commits > 2 * seeds && sum.reads > 2 * seeds && sum.refusals > seeds &&
                    sum.unknown > seeds / 4);
}

static void planted_bugs_are_found(void **state)
{
    (void)state;
    for (int p = NO_PLANT + 1; p < N_PLANTS; p++) {
        tally sum = {0};
        char what[300] = "";
        uint64_t seed = 1;
        while (seed < 100 && run(seed, (plant)p, &sum, what, sizeof what))
            seed++;
        if (seed == 100)
            fail_msg("planted bug %d was not found", p);
        print_message("planted bug %d: seed %llu: %s\n", p, (unsigned long long)seed, what);
    }
}

/* A leader has an SCN, loses the group, and leads it again when another has committed with a later one. */
typedef struct held_commit {
    cluster *c;
    gn_txn *txn;
    gn_code code;
    bool done;
} held_commit;

static void commit_held(void *arg)
{
    held_commit *h = arg;
    h->code = gn_txn_commit(h->txn, NULL, NULL);
    h->done = true;
    h->c->working--;
}

typedef struct transfer_request {
    gn_raft_request request;
    bool done;
} transfer_request;

static void transfer_done(gn_raft_request *request, gn_code code)
{
    (void)code;
    GN_CONTAINER(request, transfer_request, request)->done = true;
}

static bool has_moved(void *ctx)
{
    return ((transfer_request *)ctx)->done;
}

static void lead(cluster *c, unsigned id)
{
    for (server *s; !(s = find_leader(c, 1)) || s->id != id || !all_lead(c);) {
        if (s && s->id != id) {
            transfer_request r = {.request.done = transfer_done};
            gn_raft_transfer(gn_shard_raft_group(s->shards[1]), id, &r.request);
            assert_true(gn_sim_run_until(c->sim, has_moved, &r, 60 * SECOND));
        }
        gn_sim_run_for(c->sim, 100 * MS);
    }
}

static gn_txn *begin_at(cluster *c, unsigned id, int key)
{
    gn_txn *txn;
    gn_error err = {0};
    ASSERT_OK(gn_txn_begin(c->servers[id].shards[1], NULL, &txn, &err), &err);
    assert_true(write_key(c, txn, &(read_item){1, key, 5000 + (int64_t)id, 1}));
    return txn;
}

static void an_scn_is_used_only_in_the_term_in_which_it_was_asked_for(void **state)
{
    (void)state;
    cluster *c = calloc(1, sizeof *c);
    gn_metric *raised = gn_counter("gnomon_shard_scns_raised_total", NULL, "");
    uint64_t before = gn_counter_value(raised);
    cluster_start(c, 5, NO_PLANT);
    lead(c, 1);
    held_commit h = {.c = c, .txn = begin_at(c, 1, 0)};
    c->held_up = 1;
    c->working = 1;
    start_strand(c, c->clients, commit_held, &h);
    gn_sim_run_for(c->sim, 100 * MS);
    lead(c, 2);
    gn_error err = {0};
    ASSERT_OK(gn_txn_commit(begin_at(c, 2, 1), NULL, &err), &err);
    lead(c, 1);
    assert_false(h.done);
    c->held_up = 0;
    assert_true(gn_sim_run_until(c->sim, cluster_idle, c, 60 * SECOND));
    assert_int_equal(h.code, GN_NOT_LEADER);
    assert_int_equal(gn_counter_value(raised), before);
    gn_txn *txn = begin_at(c, 1, 2); /* and now it may */
    ASSERT_OK(gn_txn_commit(txn, NULL, &err), &err);
    cluster_stop(c);
    free(c);
}

/* Somebody is prepared, a replica is away until the log does not reach back any more, and then it is decided. */
static void snapshot_work(void *arg)
{
    cluster *c = arg;
    transfer t = {.txn_id = 77, .groups = {1, 2}, .n_groups = 2};
    event *e = record(c, TRANSFER);
    gn_scn scn;
    bool sent = false;
    e->writes[0] = (read_item){1, 0, e->tag, -5};
    e->writes[1] = (read_item){2, 0, e->tag, 5};
    e->n_writes = 2;
    while (!draw_scns(c, c->clients, 1, 0, &scn))
        ;
    for (uint32_t i = 0; i < 2; i++)
        if (!prepare_part(c, e, i, scn, &t, &sent))
            problem(c, "no prepare");
    unsigned away = find_leader(c, 1)->id % c->n_servers + 1;
    while (!has_replica(c, away, 1))
        away = away % c->n_servers + 1;
    cut_off(c, away, true);
    for (int i = 0; i < 120; i++) {
        event *other = record(c, TRANSFER);
        call k;
        part *p = part_begin(c, 1, (gn_txn_options){0}, &k);
        gn_txn *txn = p ? part_take(p, &k) : NULL;
        other->writes[0] = (read_item){1, 1, other->tag, 1};
        other->writes[1] = (read_item){1, 2, other->tag, -1};
        other->n_writes = 2;
        if (txn && move(c, txn, other, 0) && move(c, txn, other, 1)) {
            gn_code code = gn_txn_commit(txn, &scn, NULL);
            conclude(c, other, outcome_of(code, call_end(&k)), scn);
        } else if (txn) {
            gn_txn_abort(txn);
            call_end(&k);
        }
    }
    cut_off(c, away, false);
    pause_for(c->clients, 5 * SECOND);
    while (!draw_scns(c, c->clients, 1, 0, &scn))
        ;
    decide_transfer(c, e, scn, &t, true);
    c->nobody_resolves = false;
    c->working--;
}

static void a_snapshot_carries_what_is_prepared(void **state)
{
    (void)state;
    gn_metric *taken = gn_counter("gnomon_shard_snapshots_total", NULL, "");
    uint64_t before = gn_counter_value(taken);
    cluster *c = calloc(1, sizeof *c);
    cluster_start(c, 20, NO_PLANT); /* three replicas on five servers */
    c->nobody_resolves = true;
    c->working = 1;
    start_strand(c, c->clients, snapshot_work, c);
    assert_true(gn_sim_run_until(c->sim, cluster_idle, c, 300 * SECOND));
    if (!gn_sim_run_until(c->sim, all_settled, c, 120 * SECOND))
        problem(c, "something is left prepared");
    assert_true(gn_counter_value(taken) > before);
    bool installed = false;
    for (unsigned id = 1; id <= c->n_servers; id++)
        installed |= c->servers[id].shards[1] && !strstr(c->servers[id].shards[1]->store->path, "/store-1");
    assert_true(installed);
    check_replicas(c);
    check_history(c);
    if (c->problems)
        fail_msg("%s", c->problem);
    assert_int_equal(c->history[0].outcome, COMMITTED);
    cluster_stop(c);
    free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(transfers_are_strictly_serializable),
        cmocka_unit_test(planted_bugs_are_found),
        cmocka_unit_test(an_scn_is_used_only_in_the_term_in_which_it_was_asked_for),
        cmocka_unit_test(a_snapshot_carries_what_is_prepared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
