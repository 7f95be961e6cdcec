/* Committing a distributed transaction. Parts that wrote nothing and read nothing that matters are let go; one that is
 * left commits by its own log entry; several prepare, and the decision is the first one's log entry
 * (docs/decisions/cluster.md). */
#include "base/assert.h"
#include "cluster/dtxn_private.h"

#include <stdlib.h>

/* ---- parts preparing: those that are here on strands of their own but for the first ---- */

typedef struct preparing {
    gn_part *part;
    uint64_t txn_id;
    const uint64_t *groups;
    uint32_t n;
    gn_strand *strand;
    gn_code code;
    gn_error err;
} preparing;

static void prepare(void *arg)
{
    preparing *p = arg;
    p->code = gn_txn_prepare(p->part->txn, p->txn_id, p->groups, p->n, NULL, &p->err);
    p->part->txn = NULL;
}

static void prepare_all(gn_dtxn *txn, preparing *all, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (all[i].part->remote)
            gn_remote_prepare_start(all[i].part->remote, all[i].txn_id, all[i].groups, all[i].n);
        else if (i > 0)
            all[i].strand = gn_strand_start(txn->cluster->world, "prepare", prepare, &all[i]);
    for (uint32_t i = 0; i < n; i++)
        if (!all[i].part->remote && !all[i].strand)
            prepare(&all[i]);
    for (uint32_t i = 0; i < n; i++)
        if (all[i].part->remote)
            all[i].code = gn_remote_prepare_await(all[i].part->remote, &all[i].err);
        else if (all[i].strand)
            gn_strand_join(all[i].strand);
}

/* ---- deciding ---- */

/* A part that surely did not prepare need not hear of the abort; any other must. */
static void abort_prepared(gn_dtxn *txn, preparing *all, uint32_t n)
{
    uint64_t *groups = gn_xcalloc(n, sizeof *groups);
    uint32_t told = 1;
    bool any = false;
    groups[0] = all[0].part->group_id;
    for (uint32_t i = 0; i < n; i++) {
        if (all[i].code != GN_OK && all[i].code != GN_OUTCOME_UNKNOWN)
            continue;
        any = true;
        if (i > 0)
            groups[told++] = all[i].part->group_id;
    }
    gn_error err = {0};
    if (any && gn_group_decide(txn->cluster, groups[0], all[0].txn_id, false, 0, NULL, &err) == GN_OK)
        gn_resolver_finish(txn->cluster->resolver, all[0].txn_id, groups, told, false, 0);
    free(groups); /* without the first group's word the others will ask for it themselves */
}

static gn_code decide(gn_dtxn *txn, preparing *all, uint32_t n, gn_scn *scn, gn_error *err)
{
    gn_decision decision = {0};
    gn_scn c;
    gn_code code = gn_clock_ask(txn->cluster->clock, NULL, &c, err);
    if (code != GN_OK) {
        abort_prepared(txn, all, n);
        return code;
    }
    code = gn_group_decide(txn->cluster, all[0].groups[0], all[0].txn_id, true, c, &decision, err);
    if (code == GN_NO_OBJECT && gn_group_has_ended(txn->cluster, all[0].groups[0])) /* and may have decided before */
        code = gn_error_set(err, GN_OUTCOME_UNKNOWN, "%s", gn_code_text(GN_OUTCOME_UNKNOWN));
    bool committed = code == GN_OK && decision.state == GN_COMMITTED;
    if (code == GN_OK)
        gn_resolver_finish(txn->cluster->resolver, all[0].txn_id, all[0].groups, n, committed,
                           committed ? decision.scn : 0);
    if (committed)
        *scn = decision.scn;
    else if (code == GN_OK)
        code =
            gn_error_set(err, GN_SERIALIZATION, "could not serialize access: the transaction took too long to commit");
    gn_decision_close(&decision);
    return code;
}

static gn_code commit_parts(gn_dtxn *txn, gn_part **parts, uint32_t n, gn_scn *scn, gn_error *err)
{
    preparing *all = gn_xcalloc(n, sizeof *all);
    uint64_t *groups = gn_xcalloc(n, sizeof *groups);
    gn_coordinating self;
    gn_code code = GN_OK;
    gn_resolver_coordinate(txn->cluster->resolver, &self);
    for (uint32_t i = 0; i < n; i++) {
        groups[i] = parts[i]->group_id;
        all[i] = (preparing){.part = parts[i], .txn_id = self.txn_id, .groups = groups, .n = n};
    }
    prepare_all(txn, all, n);
    for (uint32_t i = 0; i < n && code == GN_OK; i++)
        if ((code = all[i].code) != GN_OK && err)
            *err = all[i].err;
    if (code == GN_OK)
        code = decide(txn, all, n, scn, err);
    else
        abort_prepared(txn, all, n);
    gn_resolver_coordinated(txn->cluster->resolver, &self);
    if (code == GN_OUTCOME_UNKNOWN && all[0].code != GN_OK) /* nobody has said commit */
        code = gn_error_set(err, GN_SERIALIZATION, "could not serialize access: a group became unavailable");
    free(groups);
    free(all);
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
