#include "base/log.h"
#include "cluster/part_private.h"
#include "cluster/resolver_private.h"

#include <stdlib.h>

typedef struct job {
    struct job *next;
    uint64_t txn_id;
    bool decided; /* groups[0] has; else it is asked, and decides at the latest then */
    bool commit;
    gn_scn scn;
    uint32_t n;
    uint64_t groups[];
} job;

struct gn_resolver {
    gn_cluster *cluster;
    gn_strand *strand;
    pthread_mutex_t lock; /* of what follows */
    job *first, *last;
    gn_event *wake; /* of the strand, while it waits */
    bool stop;
};

static void add(gn_resolver *r, job *j)
{
    pthread_mutex_lock(&r->lock);
    if (r->stop) { /* groups go on telling until they are closed, which is after this */
        pthread_mutex_unlock(&r->lock);
        free(j);
        return;
    }
    j->next = NULL;
    if (r->last)
        r->last->next = j;
    else
        r->first = j;
    r->last = j;
    gn_event *wake = r->wake;
    r->wake = NULL;
    pthread_mutex_unlock(&r->lock);
    if (wake)
        gn_event_signal(wake);
}

static job *new_job(uint64_t txn_id, const uint64_t *groups, uint32_t n)
{
    job *j = gn_xcalloc(1, sizeof *j + n * sizeof groups[0]);
    j->txn_id = txn_id;
    j->n = n;
    memcpy(j->groups, groups, n * sizeof groups[0]);
    return j;
}

void gn_resolver_finish(gn_resolver *r, uint64_t txn_id, const uint64_t *groups, uint32_t n, bool commit, gn_scn scn)
{
    job *j = new_job(txn_id, groups, n);
    j->decided = true;
    j->commit = commit;
    j->scn = scn;
    add(r, j);
}

void gn_resolver_unresolved(void *ctx, gn_shard *shard, uint64_t txn_id, uint64_t primary_group)
{
    gn_cluster *c = ctx;
    uint64_t groups[2] = {primary_group, gn_group_of(c, shard)};
    if (c->resolver && groups[1])
        add(c->resolver, new_job(txn_id, groups, groups[0] == groups[1] ? 1 : 2));
}

/* ---- the work ---- */

/* The first group's word. If it has not decided yet, nobody will, and it writes down that the transaction is aborted.
 */
static gn_code learn(gn_resolver *r, job *j, gn_error *err)
{
    gn_decision decision = {0};
    gn_code code = gn_group_decide(r->cluster, j->groups[0], j->txn_id, false, 0, &decision, err);
    j->decided = code == GN_OK;
    j->commit = decision.state == GN_COMMITTED;
    j->scn = j->commit ? decision.scn : 0;
    gn_decision_close(&decision);
    return code;
}

/* The groups of a decision are known at its first group. */
static gn_code tell_all_of(gn_resolver *r, const job *j, gn_error *err)
{
    gn_decision decision = {0};
    gn_code code = gn_group_decision(r->cluster, j->groups[0], j->txn_id, &decision, err);
    if (code == GN_OK && decision.n_groups > 1)
        gn_resolver_finish(r, j->txn_id, decision.groups, decision.n_groups, j->commit, j->scn);
    gn_decision_close(&decision);
    return code;
}

static gn_code tell(gn_resolver *r, const job *j, gn_error *err)
{
    gn_code code = GN_OK;
    for (uint32_t i = 1; i < j->n && code == GN_OK; i++) {
        code = gn_group_decide(r->cluster, j->groups[i], j->txn_id, j->commit, j->scn, NULL, err);
        if (code == GN_NO_OBJECT) /* it knew, and has forgotten */
            code = GN_OK;
    }
    return code;
}

static gn_code work_on(gn_resolver *r, job *j)
{
    gn_error err = {0};
    bool asked = !j->decided;
    gn_code code = asked ? learn(r, j, &err) : GN_OK;
    if (code == GN_OK)
        code = tell(r, j, &err);
    if (code == GN_OK && asked)
        code = tell_all_of(r, j, &err);
    else if (code == GN_OK)
        code = gn_group_forget(r->cluster, j->groups[0], j->txn_id, &err);
    if (code != GN_OK)
        gn_log_info("cluster", "a transaction is not resolved yet", GN_KV_U64("transaction", j->txn_id),
                    GN_KV_STR("error", err.message));
    return code;
}

/* Nobody can be reached any more: one that is stopping does not try with each. */
static void drop_jobs(gn_resolver *r)
{
    pthread_mutex_lock(&r->lock);
    for (job *j; r->stop && (j = r->first); free(j))
        r->first = j->next;
    if (!r->first)
        r->last = NULL;
    pthread_mutex_unlock(&r->lock);
}

static job *next_job(gn_resolver *r)
{
    for (;;) {
        gn_event event;
        pthread_mutex_lock(&r->lock);
        job *j = r->first;
        if (j) {
            r->first = j->next;
            if (!r->first)
                r->last = NULL;
        }
        bool wait = !j && !r->stop;
        gn_event_init(&event, r->cluster->world);
        r->wake = wait ? &event : NULL;
        pthread_mutex_unlock(&r->lock);
        if (!wait)
            return j;
        gn_event_wait(&event, UINT64_MAX);
    }
}

static void resolve(void *arg)
{
    gn_resolver *r = arg;
    for (job *j; (j = next_job(r)); free(j))
        if (work_on(r, j) != GN_OK)
            drop_jobs(r);
}

gn_resolver *gn_resolver_start(gn_cluster *cluster)
{
    gn_resolver *r = gn_xcalloc(1, sizeof *r);
    r->cluster = cluster;
    pthread_mutex_init(&r->lock, NULL);
    r->strand = gn_strand_start(cluster->world, "resolver", resolve, r);
    if (r->strand)
        return r;
    pthread_mutex_destroy(&r->lock);
    free(r);
    return NULL;
}

void gn_resolver_stop(gn_resolver *r)
{
    if (!r)
        return;
    pthread_mutex_lock(&r->lock);
    r->stop = true;
    gn_event *wake = r->wake;
    r->wake = NULL;
    pthread_mutex_unlock(&r->lock);
    if (wake)
        gn_event_signal(wake);
    gn_strand_join(r->strand);
}

void gn_resolver_free(gn_resolver *r)
{
    if (!r)
        return;
    pthread_mutex_destroy(&r->lock);
    free(r);
}
