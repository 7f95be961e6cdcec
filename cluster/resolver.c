/* Each decision is told to each group by a job of its own, and each question is one: a group that has no leader holds
 * up nobody who waits for another. What others wait for goes first. */
#include "base/log.h"
#include "cluster/methods_private.h"
#include "cluster/part_private.h"
#include "cluster/pool_private.h"
#include "cluster/resolver_private.h"

#include <stdlib.h>

enum { MAX_STRANDS = 64, RESERVED_STRANDS = 32, MAX_QUESTIONS = 1024 };
enum { NODE_BITS = 16 };        /* of a transaction's id: the node that commits it; 0: not told */
#define PATIENCE_NS 3000000000u /* with a coordinator that is at it, or of whom nothing can be told */
#define ASK_NS 500000000u

struct gn_resolver {
    gn_cluster *cluster;
    gn_pool *pool;
    pthread_mutex_t lock; /* of what follows */
    struct question *questions;
    uint32_t n_questions;
    gn_coordinating *coordinating;
    uint64_t next_id;    /* from a random one on */
    bool stop, hopeless; /* hopeless: it stops, and something has failed since */
};

/* A decision, while groups are told of it. */
typedef struct news {
    gn_resolver *resolver;
    uint64_t txn_id;
    bool commit;
    gn_scn scn;
    _Atomic bool failed;
    _Atomic uint32_t left; /* jobs */
    uint64_t first_group;
} news;

typedef struct telling {
    gn_pool_job job;
    news *news;
    uint64_t group; /* 0: there is nobody to be told */
} telling;

/* What became of a transaction that waits in `group`. */
typedef struct question {
    gn_pool_job job;
    struct question *next;
    gn_resolver *resolver;
    uint64_t txn_id, first_group, group, age_ns;
} question;

static bool post(gn_resolver *r, gn_pool_job *job, bool urgent)
{
    pthread_mutex_lock(&r->lock);
    bool taken = !r->stop && gn_pool_post(r->pool, job, urgent);
    pthread_mutex_unlock(&r->lock);
    return taken;
}

/* One that stops does not try with each when nobody can be reached any more. */
static bool is_hopeless(gn_resolver *r)
{
    pthread_mutex_lock(&r->lock);
    bool hopeless = r->hopeless;
    pthread_mutex_unlock(&r->lock);
    return hopeless;
}

static void failed(gn_resolver *r, uint64_t txn_id, const gn_error *err)
{
    pthread_mutex_lock(&r->lock);
    r->hopeless |= r->stop;
    pthread_mutex_unlock(&r->lock);
    gn_log_info("cluster", "a transaction is not resolved yet", GN_KV_U64("transaction", txn_id),
                GN_KV_STR("error", err->message));
}

/* ---- telling ---- */

/* When all know, the first group may forget. */
static void end_jobs(news *n, uint32_t n_jobs, bool ok)
{
    gn_error err = {0};
    if (!ok)
        n->failed = true;
    if (atomic_fetch_sub(&n->left, n_jobs) > n_jobs)
        return;
    if (!n->failed && gn_group_forget(n->resolver->cluster, n->first_group, n->txn_id, &err) != GN_OK)
        failed(n->resolver, n->txn_id, &err);
    free(n);
}

static void tell(gn_pool_job *job)
{
    telling *t = GN_CONTAINER(job, telling, job);
    news *n = t->news;
    gn_error err = {0};
    gn_code code = is_hopeless(n->resolver) ? GN_SHUTDOWN : GN_OK;
    if (code == GN_OK && t->group) {
        code = gn_group_decide(n->resolver->cluster, t->group, n->txn_id, n->commit, n->scn, NULL, &err);
        if (code == GN_NO_OBJECT) /* it knew, and has forgotten */
            code = GN_OK;
        if (code != GN_OK)
            failed(n->resolver, n->txn_id, &err);
    }
    free(t);
    end_jobs(n, 1, code == GN_OK);
}

void gn_resolver_finish(gn_resolver *r, uint64_t txn_id, const uint64_t *groups, uint32_t n_groups, bool commit,
                        gn_scn scn)
{
    uint32_t n_jobs = n_groups > 1 ? n_groups - 1 : 1, done = 1; /* one is this call */
    news *n = gn_xcalloc(1, sizeof *n);
    *n = (news){.resolver = r, .txn_id = txn_id, .commit = commit, .scn = scn, .first_group = groups[0]};
    n->left = n_jobs + 1;
    for (uint32_t i = 0; i < n_jobs; i++) {
        telling *t = gn_xcalloc(1, sizeof *t);
        *t = (telling){.job = {.run = tell}, .news = n, .group = n_groups > 1 ? groups[i + 1] : 0};
        if (!post(r, &t->job, true)) {
            free(t);
            done++;
        }
    }
    end_jobs(n, done, done == 1);
}

/* ---- asking ---- */

/* True: nobody has asked it yet. */
static bool enter(gn_resolver *r, question *q)
{
    pthread_mutex_lock(&r->lock);
    bool fresh = r->n_questions < MAX_QUESTIONS;
    for (const question *other = r->questions; other && fresh; other = other->next)
        fresh = other->txn_id != q->txn_id || other->group != q->group;
    if (fresh) {
        q->next = r->questions;
        r->questions = q;
        r->n_questions++;
    }
    pthread_mutex_unlock(&r->lock);
    return fresh;
}

static void leave(question *q)
{
    gn_resolver *r = q->resolver;
    pthread_mutex_lock(&r->lock);
    for (question **at = &r->questions; *at; at = &(*at)->next)
        if (*at == q) {
            *at = q->next;
            r->n_questions--;
            break;
        }
    pthread_mutex_unlock(&r->lock);
    free(q);
}

/* The first group's word. If it has not decided yet, nobody will, and it writes down that the transaction is aborted.
 * It knows the other groups, too. */
static gn_code learn_and_tell(const question *q, gn_error *err)
{
    gn_cluster *c = q->resolver->cluster;
    gn_decision decision = {0}, whole = {0};
    gn_code code = gn_group_decide(c, q->first_group, q->txn_id, false, 0, &decision, err);
    bool commit = decision.state == GN_COMMITTED;
    gn_scn scn = commit ? decision.scn : 0;
    gn_decision_close(&decision);
    if (code == GN_OK && q->group != q->first_group) {
        code = gn_group_decide(c, q->group, q->txn_id, commit, scn, NULL, err);
        if (code == GN_NO_OBJECT)
            code = GN_OK;
    }
    if (code == GN_OK)
        code = gn_group_decision(c, q->first_group, q->txn_id, &whole, err);
    if (code == GN_OK && whole.n_groups > 1)
        gn_resolver_finish(q->resolver, q->txn_id, whole.groups, whole.n_groups, commit, scn);
    gn_decision_close(&whole);
    return code;
}

/* ---- whether somebody is at it ---- */

void gn_resolver_coordinate(gn_resolver *r, gn_coordinating *txn)
{
    gn_node_id self = gn_net_self(r->cluster->world);
    pthread_mutex_lock(&r->lock);
    do
        txn->txn_id = r->next_id++ << NODE_BITS | (self >> NODE_BITS ? 0 : self);
    while (txn->txn_id == 0);
    txn->prev = NULL;
    txn->next = r->coordinating;
    if (txn->next)
        txn->next->prev = txn;
    r->coordinating = txn;
    pthread_mutex_unlock(&r->lock);
}

void gn_resolver_coordinated(gn_resolver *r, gn_coordinating *txn)
{
    pthread_mutex_lock(&r->lock);
    *(txn->prev ? &txn->prev->next : &r->coordinating) = txn->next;
    if (txn->next)
        txn->next->prev = txn->prev;
    pthread_mutex_unlock(&r->lock);
}

static bool coordinates(gn_resolver *r, uint64_t txn_id)
{
    pthread_mutex_lock(&r->lock);
    const gn_coordinating *txn = r->coordinating;
    while (txn && txn->txn_id != txn_id)
        txn = txn->next;
    pthread_mutex_unlock(&r->lock);
    return txn != NULL;
}

static gn_code serve_coordinates(void *ctx, gn_node_id from, gn_bytes request, gn_buf *answer, gn_error *err)
{
    gn_cluster *c = ctx;
    gn_reader r = gn_reader_of(request);
    (void)from;
    uint64_t txn_id = gn_read_be64(&r);
    if (r.failed)
        return gn_error_set(err, GN_PROTOCOL, "a question about a transaction cannot be read");
    gn_buf_append_u8(answer, coordinates(c->resolver, txn_id));
    return GN_OK;
}

void gn_resolver_serve(gn_cluster *c)
{
    gn_rpc_serve_strand(c->rpc, GN_METHOD_COORDINATES, serve_coordinates, c);
}

/* Nobody who is alive says that its node is at it. An older node does not know the question. */
static bool is_orphan(const question *q)
{
    gn_cluster *c = q->resolver->cluster;
    gn_node_id node = q->txn_id & ((1u << NODE_BITS) - 1);
    gn_error err = {0};
    gn_buf request, answer;
    if (node == 0)
        return false;
    if (node == gn_net_self(c->world))
        return !coordinates(q->resolver, q->txn_id);
    gn_buf_init(&request, NULL, 16);
    gn_buf_init(&answer, NULL, 16);
    gn_buf_append_be64(&request, q->txn_id);
    gn_code code = gn_rpc_ask(c->rpc, node, GN_METHOD_COORDINATES, gn_buf_bytes(&request), gn_now_ns(c->world) + ASK_NS,
                              NULL, &answer, &err);
    bool orphan = code == GN_OK && answer.len == 1 && answer.data[0] == 0;
    if (code == GN_UNAVAILABLE || code == GN_TIMEOUT)
        orphan = gn_rpc_ask(c->rpc, node, GN_METHOD_NUDGE, gn_bytes_of(NULL, 0), gn_now_ns(c->world) + ASK_NS, NULL,
                            NULL, &err) != GN_OK;
    gn_buf_close(&request);
    gn_buf_close(&answer);
    return orphan;
}

static void ask(gn_pool_job *job)
{
    question *q = GN_CONTAINER(job, question, job);
    gn_error err = {0};
    bool due = !is_hopeless(q->resolver) && (q->age_ns >= PATIENCE_NS || is_orphan(q));
    if (due && learn_and_tell(q, &err) != GN_OK)
        failed(q->resolver, q->txn_id, &err);
    leave(q);
}

void gn_resolver_unresolved(void *ctx, gn_shard *shard, uint64_t txn_id, uint64_t first_group, uint64_t age_ns)
{
    gn_cluster *c = ctx;
    uint64_t group = c->resolver ? gn_group_of(c, shard) : 0;
    if (!group)
        return;
    question *q = gn_xcalloc(1, sizeof *q);
    *q = (question){.job = {.run = ask}, .resolver = c->resolver, .txn_id = txn_id};
    q->first_group = first_group;
    q->group = group;
    q->age_ns = age_ns;
    if (!enter(c->resolver, q))
        free(q); /* somebody is at it */
    else if (!post(c->resolver, &q->job, false))
        leave(q);
}

/* ---- beginning and end ---- */

gn_resolver *gn_resolver_start(gn_cluster *cluster)
{
    gn_resolver *r = gn_xcalloc(1, sizeof *r);
    r->cluster = cluster;
    r->next_id = gn_random_u64(cluster->world);
    pthread_mutex_init(&r->lock, NULL);
    r->pool = gn_pool_create(cluster->world, "resolver", MAX_STRANDS, RESERVED_STRANDS);
    return r;
}

void gn_resolver_stop(gn_resolver *r)
{
    if (!r)
        return;
    pthread_mutex_lock(&r->lock);
    r->stop = true;
    pthread_mutex_unlock(&r->lock);
    gn_pool_destroy(r->pool);
    r->pool = NULL;
}

void gn_resolver_free(gn_resolver *r)
{
    if (!r)
        return;
    pthread_mutex_destroy(&r->lock);
    free(r);
}
