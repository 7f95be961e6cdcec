#include "cluster/run_private.h"

#include <stdlib.h>

struct gn_run {
    gn_operator source; /* the scan as an operator: the fragment's input */
    gn_txn *txn;
    gn_run_spec spec;
    uint32_t done;           /* ranges */
    gn_vector_scan *vectors; /* instead, with: */
    gn_vector_scan_spec vector_spec;
    gn_fragment fragment; /* what is left of it to be done here */
    gn_scan *scan;        /* of the next one, */
    bool over;            /* or of the last one that is done: it tells whether its transaction is still there */
    gn_batch batch;       /* of the scan; of several ranges, its rows from `at` on are still to be given */
    uint32_t at;
    gn_batch given;
    gn_arena *bytes, *kept; /* of either */
    gn_arena *arena;        /* of the rest */
    gn_column *columns;
    gn_type *types;
    gn_column *nothing; /* columns without rows */
    gn_eval eval;
    gn_operator *root;
    uint64_t rows;   /* given */
    uint32_t n_last; /* of them, the last time */
};

/* ---- the source ---- */

static gn_code open_range(gn_run *r, gn_error *err)
{
    uint32_t at = r->spec.rows.reverse ? r->spec.n_ranges - 1 - r->done : r->done;
    r->spec.rows.range = r->spec.ranges[at];
    return gn_scan_open(r->txn, &r->spec.rows, &r->scan, err);
}

static gn_code leave_range(gn_run *r, gn_error *err)
{
    if (gn_scan_is_orphan(r->scan))
        return gn_error_set(err, GN_NO_CURSOR, "the transaction of this scan has ended");
    gn_scan_close(r->scan);
    r->scan = NULL;
    r->over = false;
    return GN_OK;
}

/* The next rows of the scan, in r->batch, whose keys are in the last of r->columns. A scan that gives less than a batch
 * has no more, unless it was told how many are wanted. */
static gn_code next_of_ranges(gn_run *r, gn_error *err)
{
    r->batch.n_rows = 0;
    while (r->done < r->spec.n_ranges) {
        gn_code code = r->over ? leave_range(r, err) : GN_OK;
        if (code == GN_OK && !r->scan)
            code = open_range(r, err);
        if (code == GN_OK)
            code = gn_scan_next(r->scan, &r->batch, r->spec.keyed ? r->columns[r->batch.n_columns].bytes : NULL, err);
        if (code != GN_OK)
            return code;
        if (r->batch.n_rows == 0 || (r->batch.n_rows < GN_BATCH_ROWS && !r->spec.rows.limit_hint))
            r->over = true;
        r->done += r->over;
        if (r->batch.n_rows > 0)
            break;
    }
    if (r->batch.n_rows && r->batch.n_columns)
        memcpy(r->columns, r->batch.columns, r->batch.n_columns * sizeof *r->columns);
    return GN_OK;
}

/* Ranges of one row each, as those of a list of keys, would be as many batches. */
static gn_code gather(gn_run *r, gn_error *err)
{
    uint64_t most =
        r->spec.rows.limit_hint && r->spec.rows.limit_hint < GN_BATCH_ROWS ? r->spec.rows.limit_hint : GN_BATCH_ROWS;
    gn_arena_reset(r->kept);
    gn_code code = gn_batch_init(&r->given, r->types, r->source.n_columns, r->kept, err);
    while (code == GN_OK && r->given.n_rows < most) {
        if (r->at == r->batch.n_rows) {
            r->at = 0;
            code = next_of_ranges(r, err);
            if (code != GN_OK || r->batch.n_rows == 0)
                break;
        }
        code = gn_batch_append(&r->given, r->columns, r->at++, err);
    }
    return code;
}

static gn_code source_next(gn_operator *op, gn_batch **out, gn_error *err)
{
    gn_run *r = (gn_run *)op;
    *out = &r->given;
    if (!r->vectors && r->spec.n_ranges > 1)
        return gather(r, err);
    gn_code code = r->vectors ? gn_vector_scan_next(r->vectors, &r->batch, NULL, err) : next_of_ranges(r, err);
    r->given = (gn_batch){.n_rows = r->batch.n_rows,
                          .n_columns = op->n_columns,
                          .columns = r->vectors ? r->batch.columns : r->columns,
                          .arena = r->bytes};
    return code;
}

static void source_close(gn_operator *op)
{
    (void)op; /* the run's own */
}

static gn_code make_source(gn_run *r, gn_account *account, gn_error *err)
{
    static const gn_operator_ops ops = {.name = "Scan", .next = source_next, .close = source_close};
    const gn_vector_scan_spec *vectors = r->spec.vectors;
    const gn_table_desc *table = vectors ? vectors->table : r->spec.rows.table;
    const uint32_t *ordinals = vectors ? vectors->ordinals : r->spec.rows.ordinals;
    uint32_t n = vectors ? vectors->n_ordinals : r->spec.rows.n_ordinals;
    r->columns = gn_arena_calloc(r->arena, n + 1, sizeof *r->columns);
    r->types = gn_arena_calloc(r->arena, n + 1, sizeof *r->types);
    if (!r->columns || !r->types)
        return gn_error_oom(err, account);
    for (uint32_t i = 0; i < n; i++)
        r->types[i] = table->columns[ordinals[i]].type;
    r->types[n] = r->columns[n].type = gn_type_of(vectors ? GN_T_FLOAT8 : GN_T_BYTEA);
    if (r->spec.keyed) {
        r->columns[n].bytes = gn_arena_alloc(r->arena, GN_BATCH_ROWS * sizeof(gn_bytes));
        r->columns[n].nulls = gn_arena_calloc(r->arena, GN_BATCH_ROWS / 64, sizeof(uint64_t));
        if (!r->columns[n].bytes || !r->columns[n].nulls)
            return gn_error_oom(err, account);
    }
    uint32_t more = r->spec.keyed || vectors;
    r->source = (gn_operator){.ops = &ops, .n_columns = n + more, .types = r->types, .eval = &r->eval};
    r->batch = (gn_batch){.n_columns = n + (vectors ? 1 : 0), .arena = r->bytes};
    return GN_OK;
}

/* ---- the run ---- */

static gn_code make_nothing(gn_run *r, gn_error *err)
{
    static uint64_t nowhere;
    r->nothing = gn_arena_calloc(r->arena, r->root->n_columns + 1, sizeof *r->nothing);
    if (!r->nothing)
        return gn_error_oom(err, gn_arena_account(r->arena));
    for (uint32_t i = 0; i < r->root->n_columns; i++)
        r->nothing[i] = (gn_column){.type = r->root->types[i], .data = &nowhere};
    return GN_OK;
}

static gn_code open_vectors(gn_run *r, gn_error *err)
{
    r->vector_spec = *r->spec.vectors;
    if (r->spec.fragment) {
        r->vector_spec.filter = r->spec.fragment->filter;
        r->vector_spec.format = &r->spec.fragment->format;
    }
    return gn_vector_scan_open(r->txn, &r->vector_spec, &r->vectors, err);
}

static gn_operator *make_operators(gn_run *r, gn_account *account)
{
    if (!r->spec.fragment)
        return &r->source;
    r->fragment = *r->spec.fragment;
    if (r->spec.vectors)
        r->fragment.filter = NULL;
    return gn_fragment_operators(&r->fragment, &r->eval, account, &r->source, r->spec.keyed || r->spec.vectors,
                                 r->arena);
}

gn_code gn_run_open(gn_txn *txn, const gn_run_spec *spec, gn_account *account, const _Atomic bool *cancel, gn_run **out,
                    gn_error *err)
{
    gn_run *r = gn_xcalloc(1, sizeof *r);
    r->txn = txn;
    r->spec = *spec;
    r->arena = gn_arena_create(account);
    r->bytes = gn_arena_create(account);
    r->kept = gn_arena_create(account);
    r->eval = (gn_eval){.format = spec->fragment ? &spec->fragment->format : NULL, .arena = r->arena, .cancel = cancel};
    gn_code code = make_source(r, account, err);
    r->root = code == GN_OK ? make_operators(r, account) : NULL;
    if (code == GN_OK)
        code = r->root ? make_nothing(r, err) : gn_error_oom(err, account);
    if (code == GN_OK) /* what cannot be read is heard of when it is opened */
        code = spec->vectors ? open_vectors(r, err) : open_range(r, err);
    if (code != GN_OK) {
        gn_run_close(r);
        return code;
    }
    *out = r;
    return GN_OK;
}

gn_code gn_run_next(gn_run *r, gn_batch *batch, gn_bytes *keys, gn_error *err)
{
    gn_batch *from = NULL;
    gn_code code = gn_operator_next(r->root, &from, err);
    r->n_last = batch->n_rows = code == GN_OK && from ? from->n_rows : 0;
    r->rows += r->n_last;
    if (r->n_last == 0) {
        batch->columns = r->nothing;
        return code;
    }
    batch->n_columns = from->n_columns - r->spec.keyed;
    batch->columns = from->columns;
    if (keys)
        memcpy(keys, from->columns[batch->n_columns].bytes, r->n_last * sizeof *keys);
    return GN_OK;
}

bool gn_run_ended(const gn_run *r)
{
    const gn_fragment *f = r->spec.fragment;
    bool gathers = f && (f->grouped || f->n_sort); /* more may come though all has been read */
    if (r->n_last == 0 || (f && !f->grouped && r->rows >= f->keep))
        return true;
    if (r->vectors)
        return false;
    return r->done == r->spec.n_ranges && r->at == (r->spec.n_ranges > 1 ? r->batch.n_rows : 0) &&
           !(gathers && r->n_last == GN_BATCH_ROWS);
}

void gn_run_vector_stats(const gn_run *r, gn_vector_scan_stats *out)
{
    gn_vector_scan_stats_get(r->vectors, out);
}

void gn_run_close(gn_run *r)
{
    if (!r)
        return;
    gn_vector_scan_close(r->vectors);
    gn_operator_close(r->root);
    gn_scan_close(r->scan);
    gn_arena_destroy(r->bytes);
    gn_arena_destroy(r->kept);
    gn_arena_destroy(r->arena);
    free(r);
}
