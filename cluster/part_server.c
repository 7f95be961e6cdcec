/* Parts of other nodes' transactions: who has which, leases, limits. What a request does is in part_serve.c.
 *
 * Requests run on strands of a pool of their own: they wait for other transactions, whose ends come as requests too. */
#include "base/assert.h"
#include "base/limits.h"
#include "base/log.h"
#include "cluster/methods_private.h"
#include "cluster/part_server_private.h"

#include <inttypes.h>
#include <stdlib.h>

enum { SLOTS = 1024, MAX_STRANDS = 512, RESERVED_STRANDS = 128 };

typedef struct peer {
    struct peer *next;
    gn_node_id id;
    uint32_t n; /* parts */
} peer;

struct gn_part_server {
    gn_cluster *cluster;
    gn_account account; /* what the parts hold */
    gn_pool *pool;
    pthread_mutex_t lock; /* of what follows */
    gn_served_part *slots[SLOTS];
    uint32_t n;
    peer *peers; /* they are never forgotten: there are few nodes */
    uint32_t jobs;
    gn_event *idle; /* of whoever waits for the last job */
    bool stop;
};

typedef struct job {
    gn_pool_job job;
    gn_part_server *server;
    gn_rpc_request *request;
    gn_served_part *dead; /* instead of a request: to be aborted */
} job;

/* ---- the table ---- all under the lock */

static gn_served_part **find(gn_part_server *s, gn_node_id from, uint64_t incarnation, uint64_t number)
{
    gn_served_part **at = &s->slots[(number * 31 + from + incarnation) % SLOTS];
    while (*at && ((*at)->number != number || (*at)->from != from || (*at)->incarnation != incarnation))
        at = &(*at)->next;
    return at;
}

static peer *peer_of(gn_part_server *s, gn_node_id id)
{
    peer *p = s->peers;
    while (p && p->id != id)
        p = p->next;
    if (!p) {
        p = gn_xcalloc(1, sizeof *p);
        *p = (peer){.next = s->peers, .id = id};
        s->peers = p;
    }
    return p;
}

static void take_out(gn_part_server *s, gn_served_part **at)
{
    gn_served_part *part = *at;
    *at = part->next;
    peer_of(s, part->from)->n--;
    s->n--;
}

/* ---- jobs ---- */

static void one_done(gn_part_server *s)
{
    pthread_mutex_lock(&s->lock);
    if (--s->jobs == 0 && s->idle)
        gn_event_signal(s->idle);
    pthread_mutex_unlock(&s->lock);
}

static bool post(gn_part_server *s, gn_rpc_request *request, gn_served_part *dead, void (*run)(gn_pool_job *),
                 bool urgent)
{
    job *j = gn_xcalloc(1, sizeof *j);
    *j = (job){.job.run = run, .server = s, .request = request, .dead = dead};
    pthread_mutex_lock(&s->lock);
    bool taken = !(s->stop && request);
    s->jobs += taken;
    pthread_mutex_unlock(&s->lock);
    if (taken && !gn_pool_post(s->pool, &j->job, urgent)) {
        one_done(s);
        taken = false;
    }
    if (!taken)
        free(j);
    return taken;
}

static void job_done(job *j)
{
    gn_part_server *s = j->server;
    free(j);
    one_done(s);
}

static void run_dead(gn_pool_job *pj)
{
    job *j = GN_CONTAINER(pj, job, job);
    gn_served_part_free(j->dead);
    job_done(j);
}

/* To a strand if that can be. */
static void bury(gn_part_server *s, gn_served_part *part)
{
    if (!post(s, NULL, part, run_dead, true))
        gn_served_part_free(part);
}

/* ---- a request ---- */

static gn_served_part *new_part(gn_part_server *s, gn_node_id from, const gn_part_request *r)
{
    gn_served_part *part = gn_xcalloc(1, sizeof *part);
    part->from = from;
    part->incarnation = r->incarnation;
    part->number = r->part;
    gn_served_part **at = find(s, from, r->incarnation, r->part);
    part->next = *at;
    *at = part;
    peer_of(s, from)->n++;
    s->n++;
    return part;
}

/* The part, for this strand alone. NULL: there is none, or none for it, with the code; `gone` then says which. */
static gn_served_part *enter(gn_part_server *s, gn_node_id from, const gn_part_request *r, bool *gone, gn_code *code,
                             gn_error *err)
{
    uint64_t now = gn_now_ns(s->cluster->world);
    pthread_mutex_lock(&s->lock);
    gn_served_part *part = *find(s, from, r->incarnation, r->part);
    *gone = !part;
    if (part && part->busy) {
        part = NULL;
        *code = gn_error_set(err, GN_OBJECT_IN_USE, "part %" PRIu64 " of a transaction is at work", r->part);
    } else if (!part && !r->begin) {
        *code = gn_error_set(err, GN_SERIALIZATION,
                             "could not serialize access: node %" PRIu64 " does not have the transaction any more",
                             gn_net_self(s->cluster->world));
    } else if (!part && (s->stop || peer_of(s, from)->n >= GN_PARTS_PER_PEER)) {
        *code = gn_error_set(err, GN_UNAVAILABLE, "node %" PRIu64 " takes no more transactions of node %" PRIu64,
                             gn_net_self(s->cluster->world), from);
    } else if (!part) {
        part = new_part(s, from, r);
    }
    if (part) {
        part->busy = true;
        part->used_ns = now;
    }
    pthread_mutex_unlock(&s->lock);
    return part;
}

/* It is freed if that was its end. */
static void leave(gn_part_server *s, gn_served_part *part)
{
    pthread_mutex_lock(&s->lock);
    bool over = part->doomed || !part->txn || s->stop;
    part->busy = false;
    part->used_ns = gn_now_ns(s->cluster->world);
    if (over)
        take_out(s, find(s, part->from, part->incarnation, part->number));
    pthread_mutex_unlock(&s->lock);
    if (over)
        gn_served_part_free(part);
}

static gn_code begin(gn_part_server *s, gn_served_part *part, const gn_part_request *r, gn_error *err)
{
    gn_shard *shard = gn_group_hold_member(s->cluster, r->group);
    if (!shard)
        return gn_error_set(err, GN_UNAVAILABLE, "node %" PRIu64 " has no replica of group %" PRIu64,
                            gn_net_self(s->cluster->world), r->group);
    gn_txn_options options = {.read_scn = r->read_scn,
                              .global = r->global,
                              .read_only = r->read_only,
                              .unconfirmed = r->unconfirmed,
                              .stale = r->past && r->read_only && gn_shard_closed_scn(shard) >= r->read_scn,
                              .slot_lo = r->slot_lo,
                              .slot_hi = r->slot_hi,
                              .account = &s->account,
                              .cancel = &part->cancel};
    gn_code code = gn_txn_begin(shard, &options, &part->txn, err);
    gn_group_release(s->cluster, shard);
    return code == GN_NO_OBJECT ? GN_UNAVAILABLE : code; /* removed from its group: others are in it */
}

/* Another replica may be able to. */
static bool is_refusal(gn_code code)
{
    return code == GN_UNAVAILABLE || code == GN_NOT_LEADER || code == GN_TIMEOUT || code == GN_SHUTDOWN ||
           code == GN_CRASH_SHUTDOWN || code == GN_STARTING;
}

/* GN_UNAVAILABLE: refused, nothing was done; else the answer is in `out`. */
static gn_code serve(gn_part_server *s, const gn_rpc_request *request, gn_buf *out, gn_error *err)
{
    gn_part_request r;
    gn_part_answer a = {0};
    gn_error why = {0};
    if (!gn_part_request_read(request->bytes, &r))
        return gn_error_set(err, GN_UNAVAILABLE, "a request for a part of a transaction cannot be read");
    gn_served_part *part = enter(s, request->from, &r, &a.gone, &a.code, &why);
    bool fresh = part && !part->txn;
    if (fresh) {
        a.code = begin(s, part, &r, &why);
        a.gone = a.code != GN_OK;
    }
    gn_part_answer_begin(out);
    if (a.code == GN_OK)
        a.code = gn_part_serve(part, &r, &s->account, out, &a, &why);
    if (part)
        leave(s, part);
    if (a.gone && r.begin && is_refusal(a.code)) {
        *err = why;
        return GN_UNAVAILABLE;
    }
    gn_shard *shard = gn_group_hold(s->cluster, r.group);
    uint64_t term;
    a.leader = shard ? gn_raft_leader(gn_shard_raft_group(shard), &term) : 0;
    gn_group_release(s->cluster, shard);
    gn_part_answer_end(out, &a, &why);
    return out->failed ? gn_error_oom(err, &s->account) : GN_OK;
}

static void refuse(gn_rpc_request *request, const char *why)
{
    gn_error err = {0};
    gn_error_set(&err, GN_UNAVAILABLE, "%s", why);
    gn_rpc_answer(request, GN_UNAVAILABLE, gn_bytes_of(NULL, 0), &err);
}

static void run_request(gn_pool_job *pj)
{
    job *j = GN_CONTAINER(pj, job, job);
    gn_buf out;
    gn_error err = {0};
    if (!gn_rpc_is_awaited(j->request)) { /* it was asked elsewhere, too, and answered there */
        refuse(j->request, "it is not waited for any more");
        job_done(j);
        return;
    }
    gn_buf_init(&out, &j->server->account, GN_MAX_RPC);
    gn_code code = serve(j->server, j->request, &out, &err);
    gn_rpc_answer(j->request, code, gn_buf_bytes(&out), &err);
    gn_buf_close(&out);
    job_done(j);
}

static bool is_urgent(gn_bytes request)
{
    return request.len > 1 && gn_part_action_ends((gn_part_action)request.data[1]);
}

static void on_run(void *ctx, gn_rpc_request *request)
{
    if (!post(ctx, request, NULL, run_request, is_urgent(request->bytes)))
        refuse(request, "the node is stopping, or has no thread to spare");
}

/* ---- lists of parts ---- */

static void on_abort(void *ctx, gn_rpc_request *request)
{
    gn_part_server *s = ctx;
    gn_part_list list;
    gn_served_part *dead = NULL;
    bool sound = gn_part_list_read(request->bytes, &list);
    pthread_mutex_lock(&s->lock);
    s->jobs++; /* the pool stays */
    for (uint32_t i = 0; sound && i < list.n; i++) {
        gn_served_part **at = find(s, request->from, list.incarnation, gn_read_be64(&list.numbers)), *part = *at;
        if (part && part->busy) {
            part->doomed = true;
            part->cancel = true;
        } else if (part) {
            take_out(s, at);
            part->next = dead;
            dead = part;
        }
    }
    pthread_mutex_unlock(&s->lock);
    for (gn_served_part *next; dead; dead = next) {
        next = dead->next;
        bury(s, dead);
    }
    gn_rpc_answer(request, GN_OK, gn_bytes_of(NULL, 0), NULL);
    one_done(s);
}

static void on_keep(void *ctx, gn_rpc_request *request)
{
    gn_part_server *s = ctx;
    gn_part_list list;
    uint64_t now = gn_now_ns(s->cluster->world);
    bool sound = gn_part_list_read(request->bytes, &list);
    pthread_mutex_lock(&s->lock);
    for (uint32_t i = 0; sound && i < list.n; i++) {
        gn_served_part *part = *find(s, request->from, list.incarnation, gn_read_be64(&list.numbers));
        if (part)
            part->used_ns = now;
    }
    pthread_mutex_unlock(&s->lock);
    gn_rpc_answer(request, GN_OK, gn_bytes_of(NULL, 0), NULL);
}

/* ---- life ---- */

/* Takes out what is idle, or only what is so for longer than a lease. */
static gn_served_part *collect(gn_part_server *s, bool all)
{
    uint64_t now = gn_now_ns(s->cluster->world);
    gn_served_part *dead = NULL;
    pthread_mutex_lock(&s->lock);
    for (uint32_t i = 0; i < SLOTS; i++)
        for (gn_served_part **at = &s->slots[i]; *at;) {
            gn_served_part *part = *at;
            if (part->busy || (!all && now - part->used_ns < GN_PART_LEASE_S * UINT64_C(1000000000))) {
                part->cancel = part->cancel || all;
                at = &part->next;
                continue;
            }
            take_out(s, at);
            part->next = dead;
            dead = part;
        }
    pthread_mutex_unlock(&s->lock);
    return dead;
}

static uint32_t free_all(gn_served_part *dead)
{
    uint32_t n = 0;
    for (gn_served_part *next; dead; dead = next, n++) {
        next = dead->next;
        gn_served_part_free(dead);
    }
    return n;
}

void gn_part_server_sweep(gn_part_server *s)
{
    uint32_t n = free_all(collect(s, false));
    if (n)
        gn_log_info("cluster", "parts of transactions were aborted: nobody has asked for them", GN_KV_U64("parts", n));
}

uint32_t gn_part_server_count(gn_part_server *s)
{
    pthread_mutex_lock(&s->lock);
    uint32_t n = s->n;
    pthread_mutex_unlock(&s->lock);
    return n;
}

gn_part_server *gn_part_server_start(gn_cluster *cluster)
{
    gn_part_server *s = gn_xcalloc(1, sizeof *s);
    s->cluster = cluster;
    gn_account_init(&s->account, cluster->account, "parts of other nodes' transactions", 0);
    s->pool = gn_pool_create(cluster->world, "part", MAX_STRANDS, RESERVED_STRANDS);
    pthread_mutex_init(&s->lock, NULL);
    gn_rpc_serve(cluster->rpc, GN_METHOD_PART_RUN, on_run, s);
    gn_rpc_serve(cluster->rpc, GN_METHOD_PART_ABORT, on_abort, s);
    gn_rpc_serve(cluster->rpc, GN_METHOD_PART_KEEP, on_keep, s);
    return s;
}

void gn_part_server_stop(gn_part_server *s)
{
    gn_event idle;
    gn_event_init(&idle, s->cluster->world);
    pthread_mutex_lock(&s->lock);
    s->stop = true;
    pthread_mutex_unlock(&s->lock);
    free_all(collect(s, true));
    pthread_mutex_lock(&s->lock);
    bool wait = s->jobs > 0;
    s->idle = wait ? &idle : NULL;
    pthread_mutex_unlock(&s->lock);
    if (wait)
        gn_event_wait(&idle, UINT64_MAX);
    pthread_mutex_lock(&s->lock); /* whoever has signalled is out of it */
    s->idle = NULL;
    pthread_mutex_unlock(&s->lock);
    gn_pool_destroy(s->pool);
    s->pool = NULL;
    GN_ASSERT(s->n == 0);
}

void gn_part_server_free(gn_part_server *s)
{
    for (peer *next, *p = s->peers; p; p = next) {
        next = p->next;
        free(p);
    }
    gn_account_close(&s->account);
    pthread_mutex_destroy(&s->lock);
    free(s);
}
