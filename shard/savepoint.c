/* Savepoints: the write sets know their past, so a mark is a position in each. */
#include "shard/txn_private.h"

#include <stdlib.h>

struct gn_txn_mark {
    size_t definitions;
    size_t n;
    struct {
        uint64_t table_id;
        gn_own_mark at;
    } sets[];
};

/* It grows with each change of a definition. */
static size_t definitions(const gn_txn *txn)
{
    return txn->n_own_tables + txn->n_kept;
}

gn_txn_mark *gn_txn_mark_take(const gn_txn *txn)
{
    gn_txn_mark *mark = gn_xcalloc(1, sizeof *mark + txn->n_sets * sizeof mark->sets[0]);
    mark->definitions = definitions(txn);
    mark->n = txn->n_sets;
    for (size_t i = 0; i < txn->n_sets; i++) {
        mark->sets[i].table_id = txn->sets[i]->desc->id;
        mark->sets[i].at = gn_own_now(txn->sets[i]);
    }
    return mark;
}

void gn_txn_mark_free(gn_txn_mark *mark)
{
    free(mark);
}

static gn_own_mark mark_of(const gn_txn_mark *mark, uint64_t table_id)
{
    for (size_t i = 0; mark && i < mark->n; i++)
        if (mark->sets[i].table_id == table_id)
            return mark->sets[i].at;
    return (gn_own_mark){0};
}

gn_code gn_txn_rollback_to(gn_txn *txn, const gn_txn_mark *mark, gn_error *err)
{
    if (definitions(txn) != (mark ? mark->definitions : 0)) {
        gn_error_set(err, GN_FEATURE, "cannot roll back to a savepoint before the change of a table's definition");
        gn_error_hint(err, "Roll back the whole transaction.");
        return GN_FEATURE;
    }
    gn_txn_settle_scans(txn);
    for (size_t i = 0; i < txn->n_sets; i++)
        gn_write_set_cut(txn->sets[i], mark_of(mark, txn->sets[i]->desc->id));
    return GN_OK;
}
