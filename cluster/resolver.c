/* Each decision is told to each group by a job of its own, and each question is one: a group that has no leader holds
 * up nobody who waits for another. What others wait for goes first. */
#include "base/log.h"
#include "cluster/part_private.h"
#include "cluster/pool_private.h"
#include "cluster/resolver_private.h"

#include <stdlib.h>

enum { MAX_STRANDS = 64, RESERVED_STRANDS = 32, MAX_QUESTIONS = 1024 };

struct gn_resolver {
    gn_cluster *cluster;
    gn_pool *pool;
    pthread_mutex_t lock; /* of what follows */
    struct question *questions;
    uint32_t n_questions;
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
    uint64_t txn_id, first_group, group;
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

static void ask(gn_pool_job *job)
{
    question *q = GN_CONTAINER(job, question, job);
    gn_error err = {0};
    if (!is_hopeless(q->resolver) && learn_and_tell(q, &err) != GN_OK)
        failed(q->resolver, q->txn_id, &err);
    leave(q);
}

void gn_resolver_unresolved(void *ctx, gn_shard *shard, uint64_t txn_id, uint64_t first_group)
{
    gn_cluster *c = ctx;
    uint64_t group = c->resolver ? gn_group_of(c, shard) : 0;
    if (!group)
        return;
    question *q = gn_xcalloc(1, sizeof *q);
    *q = (question){.job = {.run = ask}, .resolver = c->resolver, .txn_id = txn_id};
    q->first_group = first_group;
    q->group = group;
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
