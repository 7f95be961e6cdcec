/* Savepoints of distributed transactions: a mark in each part; parts that began later have none and lose all. */
#include "cluster/dtxn_private.h"

#include <stdlib.h>

struct gn_dtxn_mark {
    uint32_t n; /* parts are only ever added */
    gn_txn_mark *parts[];
};

gn_dtxn_mark *gn_dtxn_mark_take(const gn_dtxn *txn)
{
    gn_dtxn_mark *mark = gn_xcalloc(1, sizeof *mark + txn->n_parts * sizeof mark->parts[0]);
    mark->n = txn->n_parts;
    for (uint32_t i = 0; i < txn->n_parts; i++)
        mark->parts[i] = gn_txn_mark_take(txn->parts[i]->txn);
    return mark;
}

void gn_dtxn_mark_free(gn_dtxn_mark *mark)
{
    for (uint32_t i = 0; mark && i < mark->n; i++)
        gn_txn_mark_free(mark->parts[i]);
    free(mark);
}

gn_code gn_dtxn_rollback_to(gn_dtxn *txn, const gn_dtxn_mark *mark, gn_error *err)
{
    gn_code code = GN_OK;
    for (uint32_t i = 0; i < txn->n_parts && code == GN_OK; i++)
        code = gn_txn_rollback_to(txn->parts[i]->txn, i < mark->n ? mark->parts[i] : NULL, err);
    return code;
}
