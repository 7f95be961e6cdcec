/* DISTINCT: passes each row on when it is first seen. */
#include "query/function_private.h"
#include "query/operator_private.h"

#include <stdlib.h>

typedef struct distinct_op {
    gn_operator op;
    gn_arena *kept; /* of the set */
    gn_row_set seen;
    gn_arena *work;
    gn_batch out;
} distinct_op;

/* The rows of the batch that are new. */
static gn_code new_rows(distinct_op *d, const gn_batch *in, uint16_t *rows, uint32_t *n_rows, gn_error *err)
{
    uint64_t hashes[GN_BATCH_ROWS], number;
    uint32_t n = 0;
    gn_hash_rows(in->columns, in->n_columns, in->n_rows, hashes);
    for (uint32_t i = 0; i < in->n_rows; i++) {
        bool added;
        gn_code code = gn_row_set_put(&d->seen, in->columns, i, hashes[i], &number, &added, err);
        if (code)
            return code;
        if (added)
            rows[n++] = (uint16_t)i;
    }
    *n_rows = n;
    return GN_OK;
}

static gn_code distinct_next(gn_operator *op, gn_batch **out, gn_error *err)
{
    distinct_op *d = (distinct_op *)op;
    uint16_t rows[GN_BATCH_ROWS];
    for (;;) {
        gn_batch *in;
        gn_code code = gn_operator_next(op->inputs[0], &in, err);
        *out = NULL;
        if (code || !in || in->n_rows == 0)
            return code;
        uint32_t n = 0;
        code = new_rows(d, in, rows, &n, err);
        if (code)
            return code;
        if (n == in->n_rows) {
            *out = in;
            return GN_OK;
        }
        if (n == 0)
            continue;
        gn_arena_reset(d->work);
        gn_eval eval = gn_operator_eval(op, d->work, err);
        code = gn_batch_gather(in->columns, in->n_columns, rows, n, &eval, &d->out);
        if (!code)
            *out = &d->out;
        return code;
    }
}

static void distinct_close(gn_operator *op)
{
    distinct_op *d = (distinct_op *)op;
    gn_row_set_close(&d->seen);
    gn_arena_destroy(d->kept);
    gn_arena_destroy(d->work);
    free(d);
}

gn_operator *gn_op_distinct(const gn_eval *eval, gn_account *account, gn_operator *input)
{
    static const gn_operator_ops ops = {.name = "Distinct", .next = distinct_next, .close = distinct_close};
    distinct_op *d = gn_xcalloc(1, sizeof *d);
    d->op = (gn_operator){
        .ops = &ops, .eval = eval, .inputs = {input}, .n_columns = input->n_columns, .types = input->types};
    d->kept = gn_arena_create(account);
    d->work = gn_arena_create(account);
    gn_row_set_init(&d->seen, account, d->kept, input->types, input->n_columns);
    return &d->op;
}
