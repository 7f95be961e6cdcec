#include "groups_cluster.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void problem(cluster *c, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (c->problems++ == 0)
        vsnprintf(c->problem, sizeof c->problem, format, args);
    va_end(args);
}

void pause_for(gn_world *world, uint64_t ns)
{
    gn_event e;
    gn_event_init(&e, world);
    gn_event_wait(&e, gn_now_ns(world) + ns);
}

void start_strand(cluster *c, gn_world *world, void (*fn)(void *), void *arg)
{
    assert_true(c->n_strands < sizeof c->strands / sizeof *c->strands);
    c->strands[c->n_strands++] = gn_strand_start(world, "test", fn, arg);
}

/* ---- the clock: one counter, at the end of a slow line ---- */

typedef struct clock_call {
    server *server;
    unsigned incarnation;
    gn_scn_request *request;
} clock_call;

bool draw_scns(cluster *c, gn_world *world, uint32_t n, gn_scn above, gn_scn *first)
{
    pause_for(world, gn_sim_random(c->sim, 2 * MS));
    bool lost = c->clock_down || gn_sim_chance(c->sim, 0.01);
    if (c->clock < above) {
        problem(c, "a group was ahead of the clock");
        c->clock = above;
    }
    *first = c->clock + 1;
    c->clock += n;
    pause_for(world, gn_sim_random(c->sim, gn_sim_chance(c->sim, 0.2) ? 20 * MS : 2 * MS));
    return !lost;
}

static void answer_request(void *arg)
{
    clock_call *asked = arg;
    cluster *c = asked->server->c;
    gn_scn first;
    bool ok = draw_scns(c, c->clients, asked->request->n, asked->request->above, &first);
    while (c->held_up == asked->server->id)
        pause_for(c->clients, 5 * MS);
    ok = ok && asked->server->incarnation == asked->incarnation;
    asked->request->done(asked->request, ok ? GN_OK : GN_TIMEOUT, first);
    asked->server->calls--;
    free(asked);
}

static void next_scns(void *ctx, gn_scn_request *request)
{
    server *s = ctx;
    clock_call *asked = calloc(1, sizeof *asked);
    *asked = (clock_call){.server = s, .incarnation = s->incarnation, .request = request};
    s->calls++;
    start_strand(s->c, s->c->clients, answer_request, asked);
}

/* ---- the way from a replica to its leader: may be cut, slow, lose the request or the answer ---- */

static gn_code lost(cluster *c)
{
    pause_for(c->clients, SECOND);
    return GN_TIMEOUT;
}

static gn_code ask_leader(void *ctx, uint64_t group_id, gn_node_id node, gn_bytes request, uint64_t deadline_ns,
                          const _Atomic bool *cancel, gn_buf *answer, gn_error *err)
{
    server *from = ctx;
    cluster *c = from->c;
    server *to = &c->servers[node];
    (void)deadline_ns;
    (void)cancel;
    pause_for(c->clients, gn_sim_random(c->sim, gn_sim_chance(c->sim, 0.1) ? 50 * MS : MS));
    unsigned incarnation = to->incarnation;
    if (from->dying || to->dying || c->cut[from->id] || c->cut[node] || gn_sim_chance(c->sim, 0.02))
        return lost(c);
    if (!to->shards[group_id])
        return GN_UNAVAILABLE;
    to->calls++;
    gn_code code = gn_shard_serve(to->shards[group_id], from->id, request, answer, err);
    to->calls--;
    if (c->plant == FOLLOWER_DOES_NOT_WAIT && answer->len == 8) /* up to where it has to have applied */
        memset(answer->data, 0, answer->len);
    pause_for(c->clients, gn_sim_random(c->sim, MS));
    bool gone = from->dying || to->incarnation != incarnation || c->cut[from->id] || c->cut[node];
    return gone || gn_sim_chance(c->sim, 0.02) ? lost(c) : code;
}

/* ---- servers ---- */

static void unresolved(void *ctx, gn_shard *shard, uint64_t txn_id, uint64_t primary_group, uint64_t age_ns);

bool has_replica(const cluster *c, unsigned id, unsigned group)
{
    return (id + c->n_servers - group) % c->n_servers < c->n_replicas;
}

static gn_code fetch(void *ctx, gn_node_id from, const gn_chunk_request *request, const _Atomic bool *cancel,
                     gn_buf *chunk, gn_error *err)
{
    (void)cancel;
    server *s = ctx;
    pause_for(s->world, gn_sim_random(s->c->sim, 2 * MS));
    gn_shard *shard = s->c->servers[from].shards[request->group_id];
    return shard && !s->c->servers[from].dying ? gn_shard_read_chunk(shard, request, chunk, err) : GN_UNAVAILABLE;
}

static void open_server(cluster *c, unsigned id)
{
    server *s = &c->servers[id];
    gn_error err = {0};
    s->c = c;
    s->id = id;
    s->clock = (gn_scn_source){.ctx = s, .next = next_scns};
    s->dying = false;
    gn_raft_options raft = {.log_dir = "log", .snapshot_threshold_bytes = c->snapshot_bytes, .log_keep_bytes = 1000};
    ASSERT_OK(gn_raft_host_open(s->world, &raft, &s->host, &err), &err);
    for (unsigned g = 1; g <= c->n_groups; g++) {
        if (!has_replica(c, id, g))
            continue;
        gn_raft_member members[SERVERS_MAX];
        size_t n = 0;
        for (unsigned i = 1; i <= c->n_servers; i++)
            if (has_replica(c, i, g))
                members[n++] = (gn_raft_member){.id = i, .role = GN_RAFT_VOTER};
        char dir[300];
        snprintf(dir, sizeof dir, "%s/%u-%u", c->dir, id, g);
        gn_shard_options o = {.dir = dir,
                              .group_id = g,
                              .members = members,
                              .n_members = n,
                              .block_cache_bytes = 1 << 20,
                              .memtable_bytes = 1 << 20,
                              .clock = &s->clock,
                              .chunks = {.ctx = s, .fetch = fetch},
                              .unresolved = unresolved,
                              .unresolved_ctx = s,
                              .unresolved_after_ms = 200};
        if (c->any_serves)
            o.leader = (gn_leader_link){.ctx = s, .ask = ask_leader};
        ASSERT_OK(gn_shard_open(s->world, s->host, &o, &s->shards[g], &err), &err);
    }
}

static bool nobody_inside(void *ctx)
{
    return ((server *)ctx)->calls == 0;
}

static void close_server(server *s, bool clean)
{
    s->dying = true;
    assert_true(gn_sim_run_until(s->c->sim, nobody_inside, s, 300 * SECOND));
    for (part *p = s->parts; p; p = p->next) {
        gn_txn_abort(p->txn);
        p->txn = NULL;
    }
    s->parts = NULL;
    for (unsigned g = 1; g <= s->c->n_groups; g++) {
        gn_shard_close(s->shards[g], clean);
        s->shards[g] = NULL;
    }
    gn_raft_host_close(s->host);
}

void crash(cluster *c, unsigned id)
{
    server *s = &c->servers[id];
    gn_sim_trace(c->sim, "crash %u", id);
    gn_sim_crash(c->sim, id, GN_SIM_TEAR);
    s->incarnation++;
    close_server(s, false);
    s->world = gn_sim_restart(c->sim, id);
    open_server(c, id);
}

server *find_leader(cluster *c, unsigned group)
{
    server *best = NULL;
    uint64_t term = 0;
    for (unsigned id = 1; id <= c->n_servers; id++) {
        server *s = &c->servers[id];
        if (!s->shards[group] || s->dying)
            continue;
        gn_raft_status status;
        gn_raft_status_get(gn_shard_raft_group(s->shards[group]), &status);
        if (status.leads && status.term > term) {
            best = s;
            term = status.term;
        }
    }
    return best;
}

/* NULL: it has no replica, or is down. */
static server *any_server(cluster *c, unsigned group)
{
    server *s = &c->servers[1 + gn_sim_random(c->sim, c->n_servers)];
    return s->shards[group] && !s->dying ? s : NULL;
}

/* ---- calls: a strand of the clients' goes into a server, and may get no answer ---- */

bool call_begin(cluster *c, unsigned group, call *out)
{
    pause_for(c->clients, gn_sim_random(c->sim, MS));
    server *s = NULL;
    for (int i = 0; i < 40 && !(s = c->any_serves ? any_server(c, group) : find_leader(c, group)); i++)
        pause_for(c->clients, 50 * MS);
    if (!s)
        return false;
    *out = (call){c, s, s->shards[group], s->incarnation};
    s->calls++;
    return true;
}

/* False: the answer is lost. */
bool call_end(call *k)
{
    k->server->calls--;
    bool lost = k->server->incarnation != k->incarnation || k->server->dying || gn_sim_chance(k->c->sim, 0.01);
    pause_for(k->c->clients, gn_sim_random(k->c->sim, MS));
    return !lost;
}

bool decide(cluster *c, unsigned group, uint64_t txn_id, bool commit, gn_scn scn, gn_decision *out)
{
    call k;
    gn_error err = {0};
    *out = (gn_decision){0};
    if (!call_begin(c, group, &k))
        return false;
    gn_code code = gn_shard_decide(k.shard, txn_id, commit, scn, out, &err);
    if (code == GN_INVALID_PARAMETER)
        problem(c, "an impossible commit: %s", err.message);
    return call_end(&k) && code == GN_OK;
}

void forget(cluster *c, unsigned group, uint64_t txn_id)
{
    call k;
    if (!call_begin(c, group, &k))
        return;
    gn_shard_forget(k.shard, txn_id, NULL);
    call_end(&k);
}

/* ---- who finds a transaction that nobody decides ---- */

typedef struct resolving {
    cluster *c;
    unsigned group, primary;
    uint64_t txn_id;
} resolving;

static void spread(cluster *c, unsigned primary, uint64_t txn_id)
{
    call k;
    gn_decision d = {0};
    if (!call_begin(c, primary, &k))
        return;
    gn_code code = gn_shard_decision(k.shard, txn_id, &d, NULL);
    bool known = call_end(&k) && code == GN_OK && d.state == GN_COMMITTED;
    for (uint32_t i = 1; known && i < d.n_groups; i++) {
        gn_decision other;
        known = decide(c, (unsigned)d.groups[i], txn_id, true, d.scn, &other);
    }
    if (known)
        forget(c, primary, txn_id);
    gn_decision_close(&d);
}

static void resolve(void *arg)
{
    resolving *r = arg;
    gn_decision d, mine;
    if (decide(r->c, r->primary, r->txn_id, false, 0, &d)) {
        if (r->group != r->primary)
            decide(r->c, r->group, r->txn_id, d.state == GN_COMMITTED, d.state == GN_COMMITTED ? d.scn : 0, &mine);
        else if (d.state == GN_COMMITTED)
            spread(r->c, r->primary, r->txn_id);
    }
    r->c->resolving--;
    free(r);
}

static void unresolved(void *ctx, gn_shard *shard, uint64_t txn_id, uint64_t primary_group, uint64_t age_ns)
{
    (void)age_ns;
    server *s = ctx;
    if (s->dying || s->c->nobody_resolves || s->c->resolving > 20 || s->c->n_strands > 7500)
        return;
    resolving *r = calloc(1, sizeof *r);
    *r = (resolving){s->c, (unsigned)shard->group_id, (unsigned)primary_group, txn_id};
    s->c->resolving++;
    start_strand(s->c, s->c->clients, resolve, r);
}

/* ---- parts ---- */

bool read_key(cluster *c, gn_txn *txn, int group, int key, read_item *out)
{
    gn_buf k;
    key_of(key, &k);
    static const uint32_t ordinals[] = {1, 2};
    static const gn_type types[] = {{GN_T_TEXT, false, -1}, {GN_T_INT8, false, -1}};
    gn_scan_spec spec = {.table = c->table, .ordinals = ordinals, .n_ordinals = 2};
    spec.range = (gn_key_range){.lo = gn_buf_bytes(&k), .hi = gn_buf_bytes(&k), .hi_inclusive = true};
    gn_arena *arena = gn_arena_create(NULL);
    gn_batch batch;
    gn_scan *scan = NULL;
    gn_code code = gn_batch_init(&batch, types, 2, arena, NULL);
    if (code == GN_OK)
        code = gn_scan_open(txn, &spec, &scan, NULL);
    if (code == GN_OK)
        code = gn_scan_next(scan, &batch, NULL, NULL);
    bool found = code == GN_OK && batch.n_rows == 1;
    if (found) {
        char tag[32] = "";
        gn_value name = gn_column_get(&batch.columns[0], 0);
        snprintf(tag, sizeof tag, "%.*s", (int)name.as.bytes.len, (const char *)name.as.bytes.data);
        *out = (read_item){group, key, strtoll(tag, NULL, 10), gn_column_get(&batch.columns[1], 0).as.i64};
    } else if (code == GN_OK) {
        problem(c, "a row is missing");
    }
    gn_scan_close(scan);
    gn_arena_destroy(arena);
    gn_buf_close(&k);
    return found;
}

bool write_key(cluster *c, gn_txn *txn, const read_item *w)
{
    char tag[32];
    snprintf(tag, sizeof tag, "%lld.%d", (long long)w->tag, w->key);
    return update(txn, c->table, w->key, &(row){.id = w->key, .name = tag, .n = w->n}, NULL) == GN_OK;
}

part *part_begin(cluster *c, unsigned group, gn_txn_options o, call *k)
{
    if (!call_begin(c, group, k))
        return NULL;
    gn_txn *txn;
    gn_scn arrived = gn_shard_last_scn(k->shard);
    o.cancel = &k->server->dying;
    o.deadline_ns = gn_now_ns(k->server->world) + 20 * SECOND;
    if (gn_txn_begin(k->shard, &o, &txn, NULL) != GN_OK) {
        call_end(k);
        return NULL;
    }
    if (c->plant == READERS_DO_NOT_WAIT)
        txn->pending = false;
    if (c->plant == NO_BARRIER && o.global) /* a moment later than that which was waited for */
        txn->read_scn = txn->chain.links[0].scn = ++c->clock;
    if (c->plant == NEWEST_WITHOUT_BARRIER && !o.global)
        txn->read_scn = txn->chain.links[0].scn = arrived;
    if (c->plant == NEWEST_WITHOUT_CLOCK && !o.global && txn->exact)
        txn->read_scn = txn->chain.links[0].scn = gn_shard_last_scn(k->shard);
    part *p = calloc(1, sizeof *p);
    *p = (part){.next = k->server->parts, .txn = txn};
    k->server->parts = p;
    return p;
}

/* Out of the server's hands. NULL: it has died. */
gn_txn *part_take(part *p, call *k)
{
    gn_txn *txn = p->txn;
    if (txn)
        for (part **at = &k->server->parts; *at; at = &(*at)->next)
            if (*at == p) {
                *at = p->next;
                break;
            }
    free(p);
    return txn;
}

/* ---- a run ---- */

bool all_lead(void *ctx)
{
    cluster *c = ctx;
    for (unsigned g = 1; g <= c->n_groups; g++) {
        server *s = find_leader(c, g);
        gn_raft_status status = {0};
        if (s)
            gn_raft_status_get(gn_shard_raft_group(s->shards[g]), &status);
        if (!status.can_read)
            return false;
    }
    return true;
}

static void fill(void *arg)
{
    cluster *c = arg;
    for (unsigned g = 1; g <= c->n_groups; g++) {
        for (bool done = false; !done;) {
            gn_txn *txn;
            server *s = find_leader(c, g);
            if (!s || gn_txn_begin(s->shards[g], NULL, &txn, NULL) != GN_OK)
                continue;
            if (gn_txn_table(txn, TABLE)) {
                gn_txn_abort(txn);
                break;
            }
            gn_error err = {0};
            ASSERT_OK(gn_txn_put_table(txn, c->table, &err), &err);
            for (int k = 0; k < KEYS; k++) {
                char tag[16];
                snprintf(tag, sizeof tag, "0.%d", k);
                ASSERT_OK(insert(txn, c->table, &(row){.id = k, .name = tag, .n = START_BALANCE}, &err), &err);
            }
            done = gn_txn_commit(txn, NULL, &err) == GN_OK;
        }
    }
    c->working--;
}

bool cluster_idle(void *ctx)
{
    return ((cluster *)ctx)->working == 0;
}

/* In memory if that can be: what a power cut does is up to the simulation, and the stores sync a lot. */
static void make_dir(cluster *c)
{
    const char *tmp = getenv("TMPDIR");
    tmp = tmp ? tmp : access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(c->dir, sizeof c->dir, "%s/gnomon-groups-XXXXXX", tmp);
    assert_non_null(mkdtemp(c->dir));
}

static void start_cluster(cluster *c, uint64_t seed, plant bug, bool any_serves)
{
    *c = (cluster){.plant = bug, .clock = 1000, .snapshot_bytes = seed % 2 ? 20000 : 3000, .any_serves = any_serves};
    make_dir(c);
    bool replicated = any_serves || (bug == NO_PLANT && seed % 5 == 0);
    c->n_servers = replicated && seed % 10 == 0 ? 5 : 3;
    c->n_groups = replicated ? 2 : 2 + (unsigned)(seed % 2);
    c->n_replicas = replicated ? 3 : 1;
    c->sim = gn_sim_create(seed, c->n_servers + 1);
    c->clients = gn_sim_world(c->sim, c->n_servers + 1);
    c->table = make_table(TABLE);
    add_index(c->table, I_NAME, COL_NAME, true);
    for (unsigned id = 1; id <= c->n_servers; id++) {
        c->servers[id].world = gn_sim_world(c->sim, id);
        open_server(c, id);
    }
    assert_true(gn_sim_run_until(c->sim, all_lead, c, 60 * SECOND));
    c->working = 1;
    start_strand(c, c->clients, fill, c);
    assert_true(gn_sim_run_until(c->sim, cluster_idle, c, 60 * SECOND));
}

void cluster_start(cluster *c, uint64_t seed, plant bug)
{
    start_cluster(c, seed, bug, false);
}

void cluster_start_any_serves(cluster *c, uint64_t seed, plant bug)
{
    start_cluster(c, seed, bug, true);
}

void cluster_stop(cluster *c)
{
    for (unsigned id = 1; id <= c->n_servers; id++)
        close_server(&c->servers[id], c->n_history % 8 == 0); /* a clean close takes long */
    for (size_t i = 0; i < c->n_strands; i++)
        gn_strand_join(c->strands[i]);
    gn_sim_destroy(c->sim);
    for (unsigned g = 1; g <= c->n_groups; g++)
        for (int k = 0; k < KEYS; k++)
            free(c->versions[g][k]);
    free_table(c->table);
    char command[300];
    snprintf(command, sizeof command, "rm -rf '%s'", c->dir);
    assert_int_equal(system(command), 0);
}

void cut_off(cluster *c, unsigned id, bool yes)
{
    c->cut[id] = yes;
    gn_sim_cut(c->sim, id, 0, yes);
    gn_sim_cut(c->sim, 0, id, yes);
}

bool all_settled(void *ctx)
{
    cluster *c = ctx;
    if (c->resolving > 0 || !all_lead(c))
        return false;
    for (unsigned g = 1; g <= c->n_groups; g++) {
        gn_shard *led = find_leader(c, g)->shards[g];
        gn_scn scn = gn_shard_last_scn(led);
        gn_raft_status newest, status;
        gn_raft_status_get(gn_shard_raft_group(led), &newest);
        for (unsigned id = 1; id <= c->n_servers; id++) {
            gn_shard *shard = c->servers[id].shards[g];
            if (!shard)
                continue;
            const gn_prepared_list *list = &shard->prepared;
            gn_raft_status_get(gn_shard_raft_group(shard), &status);
            if (status.applied_index != newest.last_index) /* what was just opened has yet to apply its log */
                return false;
            if (gn_prepared_any(list) || list->n_decided != list->n_aborts - list->aborts_at ||
                gn_shard_last_scn(shard) != scn || gn_shard_closed_scn(shard) != scn)
                return false;
        }
    }
    return true;
}
