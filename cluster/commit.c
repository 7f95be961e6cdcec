/* Committing a distributed transaction. Parts that wrote nothing and read nothing that matters are let go; one that is
 * left commits by its own log entry; of several all but the first prepare, and the first one's commit is the decision
 * (docs/decisions/cluster.md). */
#include "base/assert.h"
#include "cluster/dtxn_private.h"
#include "cluster/parallel_private.h"

#include <stdlib.h>

/* ---- parts preparing ---- */

typedef struct preparing {
    gn_part *part;
    uint64_t txn_id;
    const uint64_t *groups;
    uint32_t n;
    gn_scn scn; /* under which it has prepared */
    gn_code code;
    gn_error err;
} preparing;

static void prepare(void *ctx, uint32_t i)
{
    preparing *p = ((preparing **)ctx)[i];
    p->code = gn_txn_prepare(p->part->txn, p->txn_id, p->groups, p->n, &p->scn, &p->err);
    p->part->txn = NULL;
}

/* Those that are elsewhere are asked all at once, those that are here are at work on several strands meanwhile. */
static void prepare_all(gn_dtxn *txn, preparing *all, uint32_t n)
{
    preparing **here = gn_xcalloc(n + 1, sizeof *here);
    uint32_t n_here = 0;
    for (uint32_t i = 0; i < n; i++)
        if (all[i].part->remote)
            gn_remote_prepare_start(all[i].part->remote, all[i].txn_id, all[i].groups, all[i].n);
        else
            here[n_here++] = &all[i];
    gn_parallel(txn->cluster->world, txn->cluster->scatter, n_here, prepare, here);
    for (uint32_t i = 0; i < n; i++)
        if (all[i].part->remote)
            all[i].code = gn_remote_prepare_await(all[i].part->remote, &all[i].scn, &all[i].err);
    free(here);
}

/* ---- deciding ---- */

typedef struct committing {
    gn_dtxn *txn;
    uint64_t txn_id;
    uint64_t *groups; /* the first decides */
    preparing *all;   /* one for each */
    uint32_t n;
} committing;

/* A part that surely did not prepare need not hear of the abort; any other must. The first group's word counts: should
 * it have committed, all hear of that, and the SCN comes back; else 0. */
static gn_scn abort_prepared(const committing *c)
{
    gn_cluster *cluster = c->txn->cluster;
    uint64_t *told = gn_xcalloc(c->n, sizeof *told);
    uint32_t n_told = 1;
    gn_decision decision = {0};
    bool any = false;
    told[0] = c->groups[0];
    for (uint32_t i = 0; i < c->n; i++) {
        if (c->all[i].code != GN_OK && c->all[i].code != GN_OUTCOME_UNKNOWN)
            continue;
        any = true;
        if (i > 0)
            told[n_told++] = c->groups[i];
    }
    gn_error err = {0};
    gn_code code = any ? gn_group_decide(cluster, told[0], c->txn_id, false, 0, &decision, &err) : GN_NO_DATA;
    gn_scn scn = code == GN_OK && decision.state == GN_COMMITTED ? decision.scn : 0;
    if (scn)
        gn_resolver_finish(cluster->resolver, c->txn_id, c->groups, c->n, true, scn);
    else if (code == GN_OK)
        gn_resolver_finish(cluster->resolver, c->txn_id, told, n_told, false, 0);
    gn_decision_close(&decision);
    free(told); /* without the first group's word the others will ask for it themselves */
    return scn;
}

/* The first group's part is all that is left, and its commit is the decision. */
static gn_code commit_last(const committing *c, gn_scn *scn, gn_error *err)
{
    preparing *first = &c->all[0];
    gn_part *part = first->part;
    gn_scn above = 0, at = 0;
    for (uint32_t i = 1; i < c->n; i++)
        if (c->all[i].scn > above)
            above = c->all[i].scn;
    gn_code code;
    if (part->remote) {
        code = gn_remote_decide(part->remote, c->txn_id, c->groups, c->n, above, &at, err);
    } else {
        code = gn_txn_decide(part->txn, c->txn_id, c->groups, c->n, above, &at, err);
        part->txn = NULL;
    }
    if (code == GN_OK) {
        gn_resolver_finish(c->txn->cluster->resolver, c->txn_id, c->groups, c->n, true, at);
    } else if (code != GN_OUTCOME_UNKNOWN && (at = abort_prepared(c)) != 0) {
        if (err)
            gn_error_clear(err);
        code = GN_OK;
    }
    if (code == GN_OK)
        *scn = at;
    return code;
}

/* In a cluster from before GN_SINCE_DECIDE: the first group has prepared like the others. */
static gn_code decide(const committing *c, gn_scn *scn, gn_error *err)
{
    gn_cluster *cluster = c->txn->cluster;
    gn_decision decision = {0};
    gn_scn at;
    gn_code code = gn_clock_ask(cluster->clock, NULL, &at, err);
    if (code != GN_OK) {
        abort_prepared(c);
        return code;
    }
    code = gn_group_decide(cluster, c->groups[0], c->txn_id, true, at, &decision, err);
    if (code == GN_NO_OBJECT && gn_group_has_ended(cluster, c->groups[0])) /* and may have decided before */
        code = gn_error_set(err, GN_OUTCOME_UNKNOWN, "%s", gn_code_text(GN_OUTCOME_UNKNOWN));
    bool committed = code == GN_OK && decision.state == GN_COMMITTED;
    if (code == GN_OK)
        gn_resolver_finish(cluster->resolver, c->txn_id, c->groups, c->n, committed, committed ? decision.scn : 0);
    if (committed)
        *scn = decision.scn;
    else if (code == GN_OK)
        code =
            gn_error_set(err, GN_SERIALIZATION, "could not serialize access: the transaction took too long to commit");
    gn_decision_close(&decision);
    return code;
}

/* The first part is kept for last if one entry may commit it and decide. */
static gn_code prepare_and_decide(const committing *c, gn_scn *scn, gn_error *err)
{
    uint32_t from = gn_cluster_is_at(c->txn->cluster, GN_SINCE_DECIDE) ? 1 : 0;
    gn_code code = GN_OK;
    prepare_all(c->txn, c->all + from, c->n - from);
    for (uint32_t i = from; i < c->n && code == GN_OK; i++)
        if ((code = c->all[i].code) != GN_OK && err)
            *err = c->all[i].err;
    if (code == GN_OK)
        return from ? commit_last(c, scn, err) : decide(c, scn, err);
    abort_prepared(c);
    if (code == GN_OUTCOME_UNKNOWN) /* nobody has said commit, nor will */
        code = gn_error_set(err, GN_SERIALIZATION, "could not serialize access: a group became unavailable");
    return code;
}

static gn_code commit_parts(gn_dtxn *txn, gn_part **parts, uint32_t n, gn_scn *scn, gn_error *err)
{
    committing c = {.txn = txn, .n = n};
    gn_coordinating self;
    gn_resolver_coordinate(txn->cluster->resolver, &self);
    c.txn_id = self.txn_id;
    c.groups = gn_xcalloc(n, sizeof *c.groups);
    c.all = gn_xcalloc(n, sizeof *c.all);
    for (uint32_t i = 0; i < n; i++) {
        c.groups[i] = parts[i]->group_id;
        c.all[i] = (preparing){
            .part = parts[i], .txn_id = c.txn_id, .groups = c.groups, .n = n, .code = GN_NOT_IN_STATE /* yet */};
    }
    gn_code code = prepare_and_decide(&c, scn, err);
    gn_resolver_coordinated(txn->cluster->resolver, &self);
    free(c.groups);
    free(c.all);
    return code;
}

gn_code gn_dtxn_commit(gn_dtxn *txn, gn_scn *scn, gn_error *err)
{
    gn_part **parts = gn_xcalloc(txn->n_parts, sizeof *parts);
    uint32_t n = 0, writers = 0;
    gn_scn at = gn_dtxn_read_scn(txn);
    gn_code code = GN_OK;
    /* Those that wrote come first: the first of all decides. */
    for (int wrote = 1; wrote >= 0; wrote--)
        for (uint32_t i = 0; i < txn->n_parts; i++) {
            gn_part *part = txn->parts[i];
            bool writes = gn_part_has_writes(part);
            if (writes == wrote && (writes || (part->reads && !txn->options.read_only)))
                parts[n++] = part;
            writers += wrote && writes;
        }
    bool old = false; /* nothing that is written will validate what was read, or known */
    for (uint32_t i = 0; i < txn->n_parts; i++)
        old |= writers == 0 && gn_part_unconfirmed(txn->parts[i]) && (txn->options.writes || txn->parts[i]->reads);
    if (old) {
        code = gn_dtxn_run_again(err);
    } else if (writers > 0 && n == 1) {
        code = gn_part_commit(parts[0], &at, err);
    } else if (writers > 0) {
        code = commit_parts(txn, parts, n, &at, err);
    }
    if (code == GN_NOT_LEADER) /* nothing was written; another try finds the new leader */
        code = gn_error_set(err, GN_SERIALIZATION, "could not serialize access: a group changed its leader");
    if (scn)
        *scn = at;
    free(parts);
    gn_dtxn_abort(txn);
    return code;
}
