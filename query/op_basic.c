/* VALUES, filter, project, limit: operators that keep nothing but their current batch. */
#include "query/function_private.h"
#include "query/operator_private.h"

#include <stdlib.h>

typedef struct basic_op {
    gn_operator op;
    gn_arena *arena; /* of the batch that is out */
    gn_batch out;
    gn_expr ***rows; /* values */
    uint32_t n_rows, next_row;
    const gn_expr *condition;
    gn_expr *const *exprs;
    gn_type *types;
    uint64_t offset, limit; /* what remains of them */
} basic_op;

static void basic_close(gn_operator *op)
{
    basic_op *b = (basic_op *)op;
    gn_arena_destroy(b->arena);
    free(b->types);
    free(b);
}

static basic_op *basic_create(const gn_operator_ops *ops, const gn_eval *eval, gn_account *account, gn_operator *input)
{
    basic_op *b = gn_xcalloc(1, sizeof *b);
    b->op.ops = ops;
    b->op.eval = eval;
    b->op.inputs[0] = input;
    if (input) {
        b->op.n_columns = input->n_columns;
        b->op.types = input->types;
    }
    b->arena = gn_arena_create(account);
    return b;
}

/* ---- values ---- */

static gn_code values_next(gn_operator *op, gn_batch **out, gn_error *err)
{
    basic_op *b = (basic_op *)op;
    gn_arena_reset(b->arena);
    uint32_t n = b->n_rows - b->next_row < GN_BATCH_ROWS ? b->n_rows - b->next_row : GN_BATCH_ROWS;
    gn_eval eval = gn_operator_eval(op, b->arena, err);
    gn_column *columns = gn_eval_alloc(&eval, (op->n_columns + 1u) * sizeof *columns);
    gn_code code = columns ? GN_OK : GN_OUT_OF_MEMORY;
    for (uint32_t c = 0; !code && c < op->n_columns; c++)
        code = gn_column_create(op->types[c], n, &eval, &columns[c]);
    for (uint32_t i = 0; !code && i < n; i++)
        for (uint32_t c = 0; !code && c < op->n_columns; c++) {
            gn_value v;
            code = gn_expr_eval_one(b->rows[b->next_row + i][c], &eval, &v);
            if (!code && v.is_null)
                gn_column_set_null(&columns[c], i);
            else if (!code)
                gn_column_set(&columns[c], i, &v);
        }
    if (code)
        return code;
    b->next_row += n;
    b->out = (gn_batch){.n_rows = n, .n_columns = op->n_columns, .columns = columns, .arena = b->arena};
    *out = &b->out;
    return GN_OK;
}

gn_operator *gn_op_values(const gn_eval *eval, gn_account *account, gn_expr ***rows, uint32_t n_rows,
                          const gn_type *types, uint32_t n_columns)
{
    static const gn_operator_ops ops = {.name = "Values", .next = values_next, .close = basic_close};
    basic_op *b = basic_create(&ops, eval, account, NULL);
    b->rows = rows;
    b->n_rows = n_rows;
    b->op.types = types;
    b->op.n_columns = n_columns;
    return &b->op;
}

/* ---- filter ---- */

static gn_code filter_next(gn_operator *op, gn_batch **out, gn_error *err)
{
    basic_op *b = (basic_op *)op;
    uint16_t selected[GN_BATCH_ROWS];
    for (;;) {
        gn_batch *in;
        gn_code code = gn_operator_next(op->inputs[0], &in, err);
        if (code)
            return code;
        if (!in || in->n_rows == 0) {
            *out = NULL;
            return GN_OK;
        }
        gn_arena_reset(b->arena);
        gn_eval eval = gn_operator_eval(op, b->arena, err);
        uint32_t n;
        code = gn_expr_select(b->condition, in, &eval, selected, &n);
        if (!code && n == in->n_rows) {
            *out = in;
            return GN_OK;
        }
        if (!code && n > 0)
            code = gn_batch_gather(in->columns, in->n_columns, selected, n, &eval, &b->out);
        if (code)
            return code;
        if (n > 0) {
            *out = &b->out;
            return GN_OK;
        }
    }
}

gn_operator *gn_op_filter(const gn_eval *eval, gn_account *account, gn_operator *input, const gn_expr *condition)
{
    static const gn_operator_ops ops = {.name = "Filter", .next = filter_next, .close = basic_close};
    basic_op *b = basic_create(&ops, eval, account, input);
    b->condition = condition;
    return &b->op;
}

/* ---- project ---- */

static gn_code project_next(gn_operator *op, gn_batch **out, gn_error *err)
{
    basic_op *b = (basic_op *)op;
    gn_batch *in;
    gn_code code = gn_operator_next(op->inputs[0], &in, err);
    if (code)
        return code;
    if (!in || in->n_rows == 0) {
        *out = NULL;
        return GN_OK;
    }
    gn_arena_reset(b->arena);
    gn_eval eval = gn_operator_eval(op, b->arena, err);
    gn_column *columns = gn_eval_alloc(&eval, (op->n_columns + 1u) * sizeof *columns);
    if (!columns)
        return GN_OUT_OF_MEMORY;
    for (uint32_t c = 0; c < op->n_columns; c++) {
        code = gn_expr_eval(b->exprs[c], in, &eval, &columns[c]);
        if (code)
            return code;
        columns[c].type = b->types[c];
    }
    b->out = (gn_batch){.n_rows = in->n_rows, .n_columns = op->n_columns, .columns = columns, .arena = b->arena};
    *out = &b->out;
    return GN_OK;
}

gn_operator *gn_op_project(const gn_eval *eval, gn_account *account, gn_operator *input, gn_expr *const *exprs,
                           uint32_t n_exprs)
{
    static const gn_operator_ops ops = {.name = "Project", .next = project_next, .close = basic_close};
    basic_op *b = basic_create(&ops, eval, account, input);
    b->exprs = exprs;
    b->types = gn_xcalloc(n_exprs + 1u, sizeof *b->types);
    for (uint32_t i = 0; i < n_exprs; i++)
        b->types[i] = exprs[i]->type;
    b->op.types = b->types;
    b->op.n_columns = n_exprs;
    return &b->op;
}

/* ---- limit ---- */

static gn_code limit_next(gn_operator *op, gn_batch **out, gn_error *err)
{
    basic_op *b = (basic_op *)op;
    *out = NULL;
    while (b->limit > 0) {
        gn_batch *in;
        gn_code code = gn_operator_next(op->inputs[0], &in, err);
        if (code)
            return code;
        if (!in || in->n_rows == 0)
            break;
        if (b->offset >= in->n_rows) {
            b->offset -= in->n_rows;
            continue;
        }
        uint32_t first = (uint32_t)b->offset, n = in->n_rows - first;
        b->offset = 0;
        if (n > b->limit)
            n = (uint32_t)b->limit;
        if (b->limit != UINT64_MAX)
            b->limit -= n;
        if (n == in->n_rows) {
            *out = in;
            return GN_OK;
        }
        uint16_t rows[GN_BATCH_ROWS];
        for (uint32_t i = 0; i < n; i++)
            rows[i] = (uint16_t)(first + i);
        gn_arena_reset(b->arena);
        gn_eval eval = gn_operator_eval(op, b->arena, err);
        code = gn_batch_gather(in->columns, in->n_columns, rows, n, &eval, &b->out);
        if (!code)
            *out = &b->out;
        return code;
    }
    return GN_OK;
}

gn_operator *gn_op_limit(const gn_eval *eval, gn_account *account, gn_operator *input, uint64_t offset, uint64_t limit)
{
    static const gn_operator_ops ops = {.name = "Limit", .next = limit_next, .close = basic_close};
    basic_op *b = basic_create(&ops, eval, account, input);
    b->offset = offset;
    b->limit = limit;
    return &b->op;
}
