/* DISTINCT and DISTINCT ON: passes each row on when it is first seen, by all columns or by those that are named. */
#include "query/function_private.h"
#include "query/operator_private.h"

#include <stdlib.h>

typedef struct distinct_op {
    gn_operator op;
    gn_arena *kept; /* of the set */
    gn_row_set seen;
    gn_arena *work;
    gn_batch out;
    const uint32_t *on; /* NULL: all columns */
    uint32_t n_on;
    gn_column *keys; /* of the batch at hand, with `on` */
    gn_type *key_types;
} distinct_op;

static const gn_column *keys_of(distinct_op *d, const gn_batch *in)
{
    for (uint32_t i = 0; i < d->n_on && d->on; i++)
        d->keys[i] = in->columns[d->on[i]];
    return d->on ? d->keys : in->columns;
}

/* The rows of the batch that are new. */
static gn_code new_rows(distinct_op *d, const gn_batch *in, uint16_t *rows, uint32_t *n_rows, gn_error *err)
{
    uint64_t hashes[GN_BATCH_ROWS], number;
    uint32_t n = 0;
    const gn_column *keys = keys_of(d, in);
    gn_hash_rows(keys, d->n_on, in->n_rows, hashes);
    for (uint32_t i = 0; i < in->n_rows; i++) {
        bool added;
        gn_code code = gn_row_set_put(&d->seen, keys, i, hashes[i], &number, &added, err);
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
    free(d->keys);
    free(d->key_types);
    free(d);
}

static gn_operator *create(const gn_eval *eval, gn_account *account, gn_operator *input, const uint32_t *on,
                           uint32_t n_on)
{
    static const gn_operator_ops ops = {.name = "Distinct", .next = distinct_next, .close = distinct_close};
    distinct_op *d = gn_xcalloc(1, sizeof *d);
    d->op = (gn_operator){
        .ops = &ops, .eval = eval, .inputs = {input}, .n_columns = input->n_columns, .types = input->types};
    d->kept = gn_arena_create(account);
    d->work = gn_arena_create(account);
    d->on = on;
    d->n_on = n_on;
    d->keys = gn_xcalloc(n_on + 1u, sizeof *d->keys);
    d->key_types = gn_xcalloc(n_on + 1u, sizeof *d->key_types);
    for (uint32_t i = 0; i < n_on; i++)
        d->key_types[i] = input->types[on ? on[i] : i];
    gn_row_set_init(&d->seen, account, d->kept, d->key_types, n_on);
    return &d->op;
}

gn_operator *gn_op_distinct(const gn_eval *eval, gn_account *account, gn_operator *input)
{
    return create(eval, account, input, NULL, input->n_columns);
}

gn_operator *gn_op_distinct_on(const gn_eval *eval, gn_account *account, gn_operator *input, const uint32_t *on,
                               uint32_t n_on)
{
    return create(eval, account, input, on, n_on);
}
