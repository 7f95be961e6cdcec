/* After groups went on without what others had (recover.h): a change of definitions may be there in part, in the meta
 * group and not in a table's groups, or the other way round, and then the groups refuse every statement that was bound
 * to the meta group's definition. So what the meta group has is put into each group once more. */
#include "cluster/admin_private.h"
#include "cluster/balance_private.h"
#include "cluster/dtxn.h"
#include "cluster/recover.h"

#include <stdlib.h>

enum { MOST_TRIES = 10, LOST_IDS = 1 << 20 };

typedef gn_code (*attempt)(gn_cluster *c, gn_dtxn *txn, void *arg, gn_error *err);

/* In a transaction, again if another one was in the way. */
static gn_code in_transaction(gn_cluster *c, attempt run, void *arg, gn_error *err)
{
    gn_code code = GN_SERIALIZATION;
    for (int i = 0; i < MOST_TRIES && code == GN_SERIALIZATION && !c->stopping; i++) {
        gn_dtxn *txn;
        if (err)
            *err = (gn_error){0};
        code = gn_dtxn_begin(c, &(gn_dtxn_options){.several = true}, &txn, err);
        if (code != GN_OK)
            continue;
        code = run(c, txn, arg, err);
        if (code == GN_OK)
            code = gn_dtxn_commit(txn, NULL, err);
        else
            gn_dtxn_abort(txn);
    }
    return code;
}

/* ---- tables that the meta group knows ---- */

/* What a group has of the table is what the meta group has. A replica elsewhere is not asked, and counts as no. */
static bool is_same_in(gn_cluster *c, uint64_t group, const gn_table_desc *desc)
{
    gn_shard *shard = gn_group_hold_member(c, group);
    gn_txn *txn;
    bool same = false;
    gn_error err = {0};
    if (shard && gn_txn_begin(shard, &(gn_txn_options){.read_only = true}, &txn, &err) == GN_OK) {
        const gn_table_desc *there = gn_txn_table(txn, desc->id);
        same = there && there->version == desc->version && there->data_epoch == desc->data_epoch;
        gn_txn_abort(txn);
    }
    gn_group_release(c, shard);
    return same;
}

/* *lost: nothing is left of one of its groups, so that nothing can be done. */
static bool is_same_everywhere(gn_cluster *c, const gn_table_desc *desc, bool *lost)
{
    gn_placement *p = gn_meta_placement(c);
    const gn_distribution *d = gn_placement_distribution(p, desc->distribution_id);
    bool same = true;
    *lost = false;
    for (uint32_t i = 0; d && i < d->n; i++)
        *lost |= gn_group_is_lost(p, &p->groups[d->first + i]);
    for (uint32_t i = 0; d && i < d->n && same && !*lost; i++)
        same = is_same_in(c, p->groups[d->first + i].id, desc);
    gn_placement_release(p);
    return same;
}

typedef struct redefining {
    uint64_t table_id;
    bool done, lost;
} redefining;

static gn_code redefine(gn_cluster *c, gn_dtxn *txn, void *arg, gn_error *err)
{
    redefining *r = arg;
    const gn_table_desc *desc = gn_dtxn_table(txn, r->table_id);
    r->done = desc && !is_same_everywhere(c, desc, &r->lost) && !r->lost;
    if (!r->done)
        return GN_OK;
    gn_table_desc again = *desc;
    again.version++;
    return gn_dtxn_put_table(txn, &again, err);
}

static gn_code list_tables(gn_cluster *c, uint64_t **out, size_t *n, gn_error *err)
{
    gn_dtxn *txn;
    gn_arena *arena = gn_arena_create(NULL);
    const gn_table_desc **tables;
    size_t n_tables = 0;
    *out = NULL;
    *n = 0;
    gn_code code = gn_dtxn_begin(c, &(gn_dtxn_options){.several = true, .read_only = true}, &txn, err);
    if (code == GN_OK) {
        code = gn_dtxn_tables(txn, arena, &tables, &n_tables, err);
        *out = gn_xcalloc(n_tables + 1, sizeof **out);
        for (size_t i = 0; i < n_tables; i++)
            if (tables[i]->distribution_id)
                (*out)[(*n)++] = tables[i]->id;
        gn_dtxn_abort(txn);
    }
    gn_arena_destroy(arena);
    return code;
}

/* ---- tables that it does not know: they would keep their names from others ---- */

/* Asked after a group was seen to have it: who is creating it has committed it everywhere or nowhere. */
static bool is_stranger(gn_cluster *c, uint64_t table_id)
{
    gn_dtxn *txn;
    gn_error err = {0};
    if (gn_dtxn_begin(c, &(gn_dtxn_options){.several = true, .read_only = true}, &txn, &err) != GN_OK)
        return false;
    bool stranger = !gn_dtxn_table(txn, table_id);
    gn_dtxn_abort(txn);
    return stranger;
}

static gn_code find_strangers(gn_cluster *c, gn_shard *shard, uint64_t **out, size_t *n, gn_error *err)
{
    gn_txn *txn;
    const gn_table_desc **tables;
    size_t n_tables = 0;
    *out = NULL;
    *n = 0;
    gn_code code = gn_txn_begin(shard, &(gn_txn_options){.read_only = true}, &txn, err);
    if (code != GN_OK)
        return code;
    gn_arena *arena = gn_arena_create(NULL);
    code = gn_txn_tables(txn, arena, &tables, &n_tables, err);
    *out = gn_xcalloc(n_tables + 1, sizeof **out);
    for (size_t i = 0; i < n_tables && code == GN_OK; i++)
        if (tables[i]->distribution_id && is_stranger(c, tables[i]->id))
            (*out)[(*n)++] = tables[i]->id;
    gn_txn_abort(txn);
    gn_arena_destroy(arena);
    return code;
}

static gn_code drop_strangers(gn_cluster *c, gn_shard *shard, uint64_t *dropped, gn_error *err)
{
    uint64_t *strangers;
    size_t n;
    gn_txn *txn;
    gn_scn scn;
    gn_code code = find_strangers(c, shard, &strangers, &n, err);
    if (code == GN_OK && n)
        code = gn_txn_begin(shard, NULL, &txn, err);
    if (code == GN_OK && n) {
        for (size_t i = 0; i < n && code == GN_OK; i++)
            code = gn_txn_drop_table(txn, strangers[i], err);
        if (code == GN_OK)
            code = gn_txn_commit(txn, &scn, err);
        else
            gn_txn_abort(txn);
    }
    *dropped += code == GN_OK ? n : 0;
    free(strangers);
    return code;
}

static gn_code drop_all_strangers(gn_cluster *c, uint64_t *dropped, gn_error *err)
{
    gn_local_group *groups;
    gn_code code = GN_OK;
    size_t n = gn_group_list(c, &groups);
    for (size_t i = 0; i < n && code == GN_OK; i++) {
        gn_shard *shard = groups[i].id == GN_META_GROUP ? NULL : gn_group_hold_member(c, groups[i].id);
        if (shard)
            code = drop_strangers(c, shard, dropped, err);
        gn_group_release(c, shard);
    }
    gn_group_list_free(c, groups, n);
    return code;
}

gn_code gn_recovery_redefine(gn_cluster *c, gn_redefined *out, gn_error *err)
{
    uint64_t *tables, first;
    size_t n;
    *out = (gn_redefined){0};
    /* Numbers that were given to tables which are lost are not given again: groups may have them. */
    gn_code code = gn_cluster_new_ids(c, LOST_IDS, &first, err);
    if (code == GN_OK)
        code = gn_meta_refresh(c, false, err);
    if (code != GN_OK)
        return code;
    code = list_tables(c, &tables, &n, err);
    for (size_t i = 0; i < n && code == GN_OK; i++) {
        redefining r = {.table_id = tables[i]};
        code = in_transaction(c, redefine, &r, err);
        out->redefined += code == GN_OK && r.done;
        out->lost += r.lost;
    }
    if (code == GN_OK)
        code = drop_all_strangers(c, &out->dropped, err);
    free(tables);
    return code;
}
