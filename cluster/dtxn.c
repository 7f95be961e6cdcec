/* Distributed transactions: parts that are begun when they are needed, and how rows find theirs. Commit is in
 * commit.c, scans are in dscan.c. */
#include "base/assert.h"
#include "base/limits.h"
#include "cluster/balance_private.h"
#include "cluster/catch_up_private.h"
#include "cluster/dtxn_private.h"
#include "cluster/parallel_private.h"
#include "cluster/splits_private.h"

#include <inttypes.h>
#include <stdlib.h>

/* ---- parts ---- */

static gn_part *find_part(const gn_dtxn *txn, uint64_t group_id)
{
    for (uint32_t i = 0; i < txn->n_parts; i++)
        if (txn->parts[i]->group_id == group_id)
            return txn->parts[i];
    return NULL;
}

static void add_part(gn_dtxn *txn, gn_part *part)
{
    txn->parts = gn_xrealloc(txn->parts, (txn->n_parts + 1) * sizeof *txn->parts);
    txn->parts[txn->n_parts++] = part;
}

static const uint64_t PARTIAL_NS = 3000000000; /* longer than an election */

/* One part on its way; the transaction is only read. */
typedef struct beginning {
    const gn_dtxn *txn;
    gn_shard *shard; /* held; NULL: there is no replica here */
    bool caught_up;
    gn_part *part;
    gn_code code;
    gn_error err;
} beginning;

static void prepare_to_begin(const gn_dtxn *txn, uint64_t group_id, beginning *b)
{
    *b = (beginning){
        .txn = txn, .shard = gn_group_hold_member(txn->cluster, group_id), .part = gn_xcalloc(1, sizeof(gn_part))};
    b->part->group_id = group_id;
}

static bool goes_unconfirmed(const gn_dtxn *txn, uint64_t group_id)
{
    return txn->options.alone && !txn->read_scn && (group_id == GN_META_GROUP || txn->options.writes);
}

static void begin_part(beginning *b)
{
    const gn_dtxn *txn = b->txn;
    gn_cluster *c = txn->cluster;
    gn_txn_options options = {.read_scn = txn->read_scn,
                              .global = txn->read_scn != 0,
                              .caught_up = b->caught_up,
                              .stale = b->shard && txn->past && gn_shard_closed_scn(b->shard) >= txn->read_scn,
                              .read_only = txn->options.read_only,
                              .unconfirmed = goes_unconfirmed(txn, b->part->group_id),
                              .account = txn->options.account,
                              .cancel = txn->options.cancel};
    gn_group_believed(txn->placement, b->part->group_id, &options.slot_lo, &options.slot_hi);
    options.merged = gn_group_has_merged(txn->placement, b->part->group_id);
    b->code = b->shard    ? gn_txn_begin(b->shard, &options, &b->part->txn, &b->err)
              : !c->parts ? gn_error_set(&b->err, GN_UNAVAILABLE, "this node has no replica of group %" PRIu64,
                                         b->part->group_id)
                          : GN_OK;
    gn_group_release(c, b->shard);
    /* It may be leaving the nodes one by one. */
    if ((!b->shard || b->code == GN_UNAVAILABLE || b->code == GN_NOT_LEADER || b->code == GN_NO_OBJECT) &&
        gn_group_has_ended(c, b->part->group_id))
        b->code = GN_MOVED;
    if (b->code == GN_MOVED)
        b->code = gn_slots_moved(c, b->part->group_id, options.slot_lo, options.slot_hi, options.cancel, &b->err);
    if (b->code == GN_NO_OBJECT && c->parts) /* it was removed from its group: those that are in it are elsewhere */
        b->code = GN_OK;
    if (b->code == GN_OK && !b->part->txn) {
        if (txn->options.partial)
            options.deadline_ns = gn_now_ns(c->world) + PARTIAL_NS; /* for somebody to take it */
        options.stale = txn->past;                                  /* if the replica there knows all of that time */
        b->part->remote = gn_remote_part_open(c, b->part->group_id, &options);
    }
}

/* The part is the transaction's, or freed. */
static gn_code end_beginning(gn_dtxn *txn, beginning *b, gn_part **out, gn_error *err)
{
    if (b->code == GN_OK) {
        add_part(txn, b->part);
        *out = b->part;
        return GN_OK;
    }
    free(b->part);
    if (err)
        *err = b->err;
    return b->code;
}

gn_code gn_dtxn_part(gn_dtxn *txn, uint64_t group_id, gn_part **out, gn_error *err)
{
    beginning b;
    if ((*out = find_part(txn, group_id)))
        return GN_OK;
    prepare_to_begin(txn, group_id, &b);
    begin_part(&b);
    return end_beginning(txn, &b, out, err);
}

/* ---- several at once ---- */

/* All that must ask a leader where they are read do so at once. */
static void catch_up(gn_dtxn *txn, beginning *all, uint32_t n)
{
    if (n < 2 || txn->read_scn == 0 || txn->past)
        return;
    gn_catching_up *list = gn_xcalloc(n, sizeof *list);
    for (uint32_t i = 0; i < n; i++)
        list[i] = (gn_catching_up){.group = all[i].part->group_id, .shard = all[i].shard};
    gn_groups_catch_up(txn->cluster, list, n, txn->options.cancel);
    for (uint32_t i = 0; i < n; i++)
        all[i].caught_up = list[i].done;
    free(list);
}

static void begin_one(void *ctx, uint32_t i)
{
    begin_part((beginning *)ctx + i);
}

static bool is_quick(const beginning *b)
{
    return !b->shard || b->caught_up;
}

/* Those that wait for nobody here, the others at the same time. */
static void begin_all(gn_dtxn *txn, beginning *all, uint32_t n)
{
    bool quick = true;
    catch_up(txn, all, n);
    for (uint32_t i = 0; i < n; i++)
        quick &= is_quick(&all[i]);
    if (!quick)
        gn_parallel(txn->cluster->world, txn->cluster->scatter, n, begin_one, all);
    for (uint32_t i = 0; i < n && quick; i++)
        begin_part(&all[i]);
}

gn_code gn_dtxn_parts(gn_dtxn *txn, const gn_group_place *groups, uint32_t n, gn_part **out, gn_error *err)
{
    beginning *all = gn_xcalloc(n, sizeof *all);
    uint32_t missing = 0;
    gn_code code = GN_OK;
    for (uint32_t i = 0; i < n; i++)
        if (!(out[i] = find_part(txn, groups[i].id)))
            prepare_to_begin(txn, groups[i].id, &all[missing++]);
    begin_all(txn, all, missing);
    for (uint32_t i = 0, m = 0; i < n; i++) {
        gn_error why = {0};
        if (out[i])
            continue;
        gn_code ended = end_beginning(txn, &all[m++], &out[i], &why);
        if (ended == GN_OK || gn_dtxn_leave_out(txn, groups[i].id, ended) || code != GN_OK)
            continue;
        code = ended;
        if (err)
            *err = why;
    }
    free(all);
    return code;
}

/* ---- what is left out ---- */

bool gn_dtxn_leave_out(gn_dtxn *txn, uint64_t group_id, gn_code code)
{
    bool unreachable = code == GN_UNAVAILABLE || code == GN_NOT_LEADER || code == GN_TIMEOUT;
    if (!unreachable || !txn->options.partial || !txn->options.read_only || group_id == GN_META_GROUP)
        return false;
    uint32_t at = 0;
    while (at < txn->n_missing && txn->missing[at] < group_id)
        at++;
    if (at < txn->n_missing && txn->missing[at] == group_id)
        return true;
    txn->missing = gn_xrealloc(txn->missing, (txn->n_missing + 1) * sizeof *txn->missing);
    memmove(txn->missing + at + 1, txn->missing + at, (txn->n_missing - at) * sizeof *txn->missing);
    txn->missing[at] = group_id;
    txn->n_missing++;
    return true;
}

uint32_t gn_dtxn_missing(const gn_dtxn *txn, uint64_t *groups, uint32_t max, uint32_t *of)
{
    for (uint32_t i = 0; i < txn->n_missing && i < max; i++)
        groups[i] = txn->missing[i];
    *of = txn->most_asked;
    return txn->n_missing;
}

void gn_dtxn_missing_forget(gn_dtxn *txn)
{
    txn->n_missing = txn->most_asked = 0;
}

static gn_txn *meta_of(const gn_dtxn *txn)
{
    return txn->parts[0]->txn;
}

/* ---- begin, end ---- */

gn_code gn_dtxn_begin(gn_cluster *cluster, const gn_dtxn_options *options, gn_dtxn **out, gn_error *err)
{
    gn_dtxn *txn = gn_xcalloc(1, sizeof *txn);
    gn_part *meta;
    txn->cluster = cluster;
    txn->options = *options;
    gn_buf_init(&txn->key, NULL, GN_MAX_KEY);
    txn->placement = gn_meta_placement(cluster);
    gn_code code = GN_OK;
    txn->past = options->read_only && options->staleness_ms > 0;
    if (txn->past)
        txn->read_scn = (gn_wall_us(cluster->world) / 1000 - options->staleness_ms) << GN_SCN_COUNTER_BITS;
    /* With one group its own newest SCN is that of all. The placement at hand may be from before there were more. */
    if (!txn->past && options->several && cluster->clocked)
        code = gn_clock_ask(cluster->clock, options->cancel, &txn->read_scn, err);
    if (code == GN_OK)
        code = gn_dtxn_part(txn, GN_META_GROUP, &meta, err);
    if (code != GN_OK) {
        gn_dtxn_abort(txn);
        return code;
    }
    *out = txn;
    return GN_OK;
}

bool gn_part_unconfirmed(const gn_part *part)
{
    return part->remote ? gn_remote_unconfirmed(part->remote) : part->txn && gn_txn_unconfirmed(part->txn);
}

gn_code gn_dtxn_run_again(gn_error *err)
{
    return gn_error_set(err, GN_SERIALIZATION, "could not serialize access: what this node knew may have been old");
}

bool gn_dtxn_unconfirmed(const gn_dtxn *txn)
{
    for (uint32_t i = 0; txn->options.alone && i < txn->n_parts; i++)
        if (gn_part_unconfirmed(txn->parts[i]))
            return true;
    return false;
}

gn_code gn_dtxn_vouch(const gn_dtxn *txn, gn_error *err)
{
    return gn_dtxn_unconfirmed(txn) && txn->looked && !txn->asked ? gn_dtxn_run_again(err) : GN_OK;
}

gn_scn gn_dtxn_read_scn(const gn_dtxn *txn)
{
    return gn_txn_read_scn(meta_of(txn));
}

void gn_dtxn_abort(gn_dtxn *txn)
{
    if (!txn)
        return;
    for (uint32_t i = 0; i < txn->n_parts; i++) {
        gn_txn_abort(txn->parts[i]->txn); /* NULL if it has ended */
        gn_remote_part_close(txn->parts[i]->remote);
        free(txn->parts[i]);
    }
    free(txn->missing);
    free(txn->parts);
    gn_placement_release(txn->placement);
    gn_buf_close(&txn->key);
    free(txn);
}

uint32_t gn_dtxn_figures(const gn_dtxn *txn, gn_group_figures *out, uint32_t max)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < txn->n_parts; i++) {
        const gn_part *p = txn->parts[i];
        if (p->figures.batches == 0 || n++ >= max)
            continue;
        gn_group_figures *f = &out[n - 1];
        *f = p->figures;
        f->group = p->group_id;
        f->here = !p->remote;
        f->node = gn_net_self(txn->cluster->world);
        if (p->remote)
            gn_remote_part_traffic(p->remote, f);
    }
    return n;
}

/* ---- catalog ---- */

const gn_table_desc *gn_dtxn_table(gn_dtxn *txn, uint64_t table_id)
{
    txn->looked = true;
    return gn_txn_table(meta_of(txn), table_id);
}

const gn_table_desc *gn_dtxn_table_named(gn_dtxn *txn, gn_bytes name)
{
    txn->looked = true;
    return gn_txn_table_named(meta_of(txn), name);
}

const gn_table_desc *gn_dtxn_index_named(gn_dtxn *txn, gn_bytes name, const gn_index_desc **index)
{
    return gn_txn_index_named(meta_of(txn), name, index);
}

gn_code gn_dtxn_tables(gn_dtxn *txn, gn_arena *arena, const gn_table_desc ***out, size_t *n, gn_error *err)
{
    return gn_txn_tables(meta_of(txn), arena, out, n, err);
}

/* A distribution that is younger than the placement at hand: one more look. */
static const gn_distribution *distribution_of(gn_dtxn *txn, uint64_t id, gn_code *code, gn_error *err)
{
    const gn_distribution *d = gn_placement_distribution(txn->placement, id);
    if (d)
        return d;
    gn_placement *newer = gn_meta_placement(txn->cluster);
    d = gn_placement_distribution(newer, id);
    if (!d && gn_meta_refresh(txn->cluster, true, err) == GN_OK) { /* this node's replica had it already */
        gn_placement_release(newer);
        newer = gn_meta_placement(txn->cluster);
        d = gn_placement_distribution(newer, id);
    }
    if (!d) {
        *code = gn_error_set(err, GN_UNAVAILABLE, "distribution %" PRIu64 " is not known here", id);
        gn_placement_release(newer);
        return NULL;
    }
    /* Groups of the older placement may be in use by open scans, by id only. */
    gn_placement_release(txn->placement);
    txn->placement = newer;
    return d;
}

/* Group by group: what the meta group says of a table, its own groups say too. Of a group that is lost for ever a table
 * may be dropped, which has nobody to hear of it. */
static gn_code in_table_groups(gn_dtxn *txn, uint64_t distribution_id, uint64_t table_id, const gn_table_desc *desc,
                               gn_error *err)
{
    gn_code code = GN_OK;
    if (distribution_id == 0)
        return GN_OK;
    const gn_distribution *d = distribution_of(txn, distribution_id, &code, err);
    for (uint32_t i = 0; code == GN_OK && i < d->n; i++) {
        gn_part *part;
        const gn_group_place *group = &txn->placement->groups[d->first + i];
        if (!desc && gn_group_is_lost(txn->placement, group))
            continue;
        code = gn_dtxn_part(txn, group->id, &part, err);
        if (code == GN_OK)
            code = desc ? gn_part_put_table(part, desc, err) : gn_part_drop_table(part, table_id, err);
    }
    return code;
}

bool gn_dtxn_defines(const gn_dtxn *txn)
{
    return gn_txn_defines(meta_of(txn));
}

gn_code gn_dtxn_put_table(gn_dtxn *txn, const gn_table_desc *desc, gn_error *err)
{
    gn_code code = gn_txn_put_table(meta_of(txn), desc, err);
    return code == GN_OK ? in_table_groups(txn, desc->distribution_id, desc->id, desc, err) : code;
}

gn_code gn_dtxn_drop_table(gn_dtxn *txn, uint64_t table_id, gn_error *err)
{
    const gn_table_desc *desc = gn_dtxn_table(txn, table_id);
    uint64_t distribution_id = desc ? desc->distribution_id : 0;
    gn_code code = gn_txn_drop_table(meta_of(txn), table_id, err);
    return code == GN_OK ? in_table_groups(txn, distribution_id, table_id, NULL, err) : code;
}

/* ---- what has gathered for other nodes ---- */

/* A row that was in the way is one that was read, which matters if the transaction goes on. */
static gn_code wrote(gn_part *part, gn_code code)
{
    part->reads |= code == GN_UNIQUE;
    return code;
}

gn_code gn_dtxn_flush(gn_dtxn *txn, gn_error *err)
{
    gn_code code = GN_OK;
    for (uint32_t i = 1; i < txn->n_parts && code == GN_OK; i++)
        if (txn->parts[i]->remote)
            code = gn_remote_flush(txn->parts[i]->remote, err);
    for (uint32_t i = 1; i < txn->n_parts && code == GN_OK; i++)
        if (txn->parts[i]->remote)
            code = wrote(txn->parts[i], gn_remote_settle_writes(txn->parts[i]->remote, err));
    return code;
}

gn_code gn_dtxn_statement_end(gn_dtxn *txn, gn_error *err)
{
    return txn->options.several && !txn->options.read_only ? gn_dtxn_flush(txn, err) : GN_OK;
}

/* ---- rows ---- */

static gn_code part_of_key(gn_dtxn *txn, const gn_table_desc *desc, gn_bytes key, gn_part **out, gn_error *err)
{
    if (desc->distribution_id == 0) {
        *out = txn->parts[0];
        return GN_OK;
    }
    uint32_t slot;
    gn_code code = GN_OK;
    const gn_distribution *d = distribution_of(txn, desc->distribution_id, &code, err);
    if (code == GN_OK)
        code = gn_slot_of_key(desc, key, &slot, err);
    return code == GN_OK ? gn_dtxn_part(txn, gn_placement_owner(txn->placement, d, slot)->id, out, err) : code;
}

static gn_code part_of_row(gn_dtxn *txn, const gn_table_desc *desc, const gn_value *values, gn_part **out,
                           gn_error *err)
{
    gn_code code = GN_OK;
    if (desc->distribution_id) {
        gn_buf_clear(&txn->key);
        code = gn_key_of_row(desc, values, &txn->key, err);
    }
    return code == GN_OK ? part_of_key(txn, desc, gn_buf_bytes(&txn->key), out, err) : code;
}

gn_code gn_dtxn_insert(gn_dtxn *txn, const gn_table_desc *desc, const gn_value *values, gn_error *err)
{
    gn_part *part;
    gn_code code = part_of_row(txn, desc, values, &part, err);
    return code == GN_OK ? wrote(part, gn_part_insert(part, desc, values, err)) : code;
}

/* A row whose shard key changes moves to another group. */
gn_code gn_dtxn_update(gn_dtxn *txn, const gn_table_desc *desc, gn_bytes key, const gn_value *values, gn_error *err)
{
    gn_part *from, *to;
    gn_code code = part_of_key(txn, desc, key, &from, err);
    if (code == GN_OK)
        code = part_of_row(txn, desc, values, &to, err);
    if (code != GN_OK)
        return code;
    if (from == to)
        return gn_part_update(from, desc, key, values, err);
    code = gn_part_delete(from, desc, key, err);
    return code == GN_OK ? gn_part_insert(to, desc, values, err) : code;
}

gn_code gn_dtxn_delete(gn_dtxn *txn, const gn_table_desc *desc, gn_bytes key, gn_error *err)
{
    gn_part *part;
    gn_code code = part_of_key(txn, desc, key, &part, err);
    return code == GN_OK ? gn_part_delete(part, desc, key, err) : code;
}

/* ---- where to look ---- */

gn_code gn_dtxn_groups(gn_dtxn *txn, const gn_table_desc *table, const gn_key_range *range,
                       const gn_group_place **first, uint32_t *n, gn_error *err)
{
    gn_code code = GN_OK;
    bool one = false;
    uint32_t slot;
    const gn_distribution *d = distribution_of(txn, table->distribution_id, &code, err);
    if (code == GN_OK && range)
        code = gn_slot_of_range(table, range, &one, &slot, err);
    if (code != GN_OK)
        return code;
    *first = one ? gn_placement_owner(txn->placement, d, slot) : &txn->placement->groups[d->first];
    *n = one ? 1 : d->n;
    if (*n > 1 && txn->read_scn == 0) /* several groups are read at one moment */
        code = gn_clock_ask(txn->cluster->clock, txn->options.cancel, &txn->read_scn, err);
    return code;
}

gn_code gn_dtxn_read_together(gn_dtxn *txn, const gn_table_desc *table, gn_error *err)
{
    gn_code code = GN_OK;
    if (txn->read_scn || !table->distribution_id)
        return GN_OK;
    const gn_distribution *d = distribution_of(txn, table->distribution_id, &code, err);
    if (code == GN_OK && d->n > 1)
        code = gn_clock_ask(txn->cluster->clock, txn->options.cancel, &txn->read_scn, err);
    return code;
}
