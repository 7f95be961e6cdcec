/* Savepoints of distributed transactions: a mark in each part; parts that began later have none and lose all. */
#include "cluster/dtxn_private.h"

#include <stdlib.h>

struct gn_dtxn_mark {
    const gn_dtxn *txn;
    uint32_t n; /* parts are only ever added */
    struct {
        gn_txn_mark *here;
        uint64_t remote; /* instead */
    } parts[];
};

gn_dtxn_mark *gn_dtxn_mark_take(const gn_dtxn *txn)
{
    gn_dtxn_mark *mark = gn_xcalloc(1, sizeof *mark + txn->n_parts * sizeof mark->parts[0]);
    mark->txn = txn;
    mark->n = txn->n_parts;
    for (uint32_t i = 0; i < txn->n_parts; i++)
        if (txn->parts[i]->remote)
            mark->parts[i].remote = gn_remote_mark_take(txn->parts[i]->remote);
        else
            mark->parts[i].here = gn_txn_mark_take(txn->parts[i]->txn);
    return mark;
}

void gn_dtxn_mark_free(gn_dtxn_mark *mark)
{
    for (uint32_t i = 0; mark && i < mark->n; i++)
        if (mark->parts[i].remote)
            gn_remote_mark_free(mark->txn->parts[i]->remote, mark->parts[i].remote);
        else
            gn_txn_mark_free(mark->parts[i].here);
    free(mark);
}

gn_code gn_dtxn_rollback_to(gn_dtxn *txn, const gn_dtxn_mark *mark, gn_error *err)
{
    gn_code code = GN_OK;
    for (uint32_t i = 0; i < txn->n_parts && code == GN_OK; i++) {
        gn_part *part = txn->parts[i];
        if (part->remote)
            code = gn_remote_rollback_to(part->remote, i < mark->n ? mark->parts[i].remote : 0, err);
        else
            code = gn_txn_rollback_to(part->txn, i < mark->n ? mark->parts[i].here : NULL, err);
    }
    return code;
}
