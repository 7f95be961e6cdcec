/* All rows of a table, for definitions that they must fit. */
#include "coord/ddl_private.h"

static void reader_close(gn_row_reader *r)
{
    gn_dscan_close(r->scan);
    gn_arena_destroy(r->bytes);
}

static gn_code reader_open(gn_row_reader *r, gn_draft *d, gn_dtxn *txn, const gn_table_desc *table)
{
    *r = (gn_row_reader){.d = d, .table = table, .bytes = gn_arena_create(&d->s->account)};
    r->keys = gn_arena_alloc(d->arena, GN_BATCH_ROWS * sizeof *r->keys);
    r->row = gn_arena_calloc(d->arena, table->n_columns + 1, sizeof *r->row);
    r->ordinals = gn_arena_calloc(d->arena, table->n_columns + 1, sizeof *r->ordinals);
    if (!r->keys || !r->row || !r->ordinals)
        return gn_error_oom(d->err, gn_arena_account(d->arena));
    for (uint32_t i = 0; i < table->n_columns; i++) {
        r->row[i] = gn_value_null(table->columns[i].type);
        if (gn_column_is_shown(&table->columns[i]))
            r->ordinals[r->n++] = i;
    }
    r->batch = (gn_batch){.n_columns = r->n, .arena = r->bytes};
    r->spec = (gn_scan_spec){.table = table, .ordinals = r->ordinals, .n_ordinals = r->n};
    return gn_dscan_open(txn, &r->spec, false, &r->scan, d->err);
}

/* The next row into r->row, its key into *key. *more false: the end. */
static gn_code reader_next(gn_row_reader *r, gn_bytes *key, bool *more)
{
    if (r->at >= r->batch.n_rows) {
        gn_code code = gn_dscan_next(r->scan, &r->batch, r->keys, r->d->err);
        if (code == GN_OK && r->d->s->cancel)
            code = gn_error_set(r->d->err, GN_CANCELED, "canceling statement due to user request");
        if (code != GN_OK)
            return code;
        r->at = 0;
    }
    *more = r->batch.n_rows > 0;
    if (!*more)
        return GN_OK;
    for (uint32_t i = 0; i < r->n; i++)
        r->row[r->ordinals[i]] = gn_column_get(&r->batch.columns[i], r->at);
    *key = r->keys[r->at++];
    return GN_OK;
}

gn_code gn_ddl_each_row(gn_draft *d, gn_dtxn *txn, const gn_table_desc *table,
                        gn_code (*fn)(void *ctx, gn_row_reader *r, gn_bytes key), void *ctx)
{
    gn_row_reader r;
    bool more = true;
    gn_code code = reader_open(&r, d, txn, table);
    while (code == GN_OK && more) {
        gn_bytes key;
        code = reader_next(&r, &key, &more);
        if (code == GN_OK && more)
            code = fn(ctx, &r, key);
    }
    reader_close(&r);
    return code;
}
