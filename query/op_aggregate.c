/* GROUP BY by hashing: a set of the groups' keys, and beside it a block of aggregate states for each group. Groups come
 * out in the order of their first row. In halves: the first gives states rather than results, now and then when there
 * are many groups; the second takes states rather than rows. */
#include "base/limits.h"
#include "query/aggregate_private.h"
#include "query/operator_private.h"

#include <stdlib.h>

enum { STATES_PER_BLOCK = 256, PARTIAL_GROUPS = 1 << 16 /* kept before they are given */ };

typedef enum half { WHOLE, PARTIAL, COMBINE } half;

typedef struct call_state {
    size_t offset; /* of its state in a group's block */
    gn_type *arg_types;
    gn_row_set seen; /* DISTINCT: (group, arguments) */
    gn_type *seen_types;
} call_state;

typedef struct aggregate_op {
    gn_operator op;
    half half;
    gn_account *account;
    gn_expr *const *keys;
    uint32_t n_keys;
    const gn_aggregate_call *calls;
    uint32_t n_calls;
    call_state *call_states;
    gn_type *types; /* of the output */
    gn_arena *kept;
    gn_row_set groups;
    char **blocks; /* states of STATES_PER_BLOCK groups each */
    uint32_t n_blocks, cap_blocks;
    size_t states_size; /* of one group */
    uint64_t n_groups;
    bool filled, ended; /* ended: the input has */
    uint64_t emitted;
    gn_arena *work;
    gn_batch out;
} aggregate_op;

/* One batch on its way through. */
typedef struct pass {
    aggregate_op *a;
    const gn_batch *in;
    gn_eval eval; /* arena: work */
    uint64_t groups[GN_BATCH_ROWS];
} pass;

static char *group_states(const aggregate_op *a, uint64_t group)
{
    return a->blocks[group / STATES_PER_BLOCK] + group % STATES_PER_BLOCK * a->states_size;
}

static gn_code add_group(aggregate_op *a, gn_error *err)
{
    if (a->n_groups == (uint64_t)a->n_blocks * STATES_PER_BLOCK) {
        char *block = gn_arena_calloc(a->kept, a->n_keys ? STATES_PER_BLOCK : 1, a->states_size);
        if (!block)
            return gn_error_oom(err, a->account);
        if (a->n_blocks == a->cap_blocks) {
            a->cap_blocks = a->cap_blocks ? 2 * a->cap_blocks : 8;
            a->blocks = gn_xrealloc(a->blocks, a->cap_blocks * sizeof *a->blocks);
        }
        a->blocks[a->n_blocks++] = block;
    }
    a->n_groups++;
    return GN_OK;
}

/* ---- one batch ---- */

static gn_code find_groups(pass *p)
{
    aggregate_op *a = p->a;
    if (a->n_keys == 0) {
        memset(p->groups, 0, p->in->n_rows * sizeof *p->groups);
        return GN_OK;
    }
    gn_column *keys = gn_eval_alloc(&p->eval, a->n_keys * sizeof *keys);
    if (!keys)
        return GN_OUT_OF_MEMORY;
    for (uint32_t k = 0; k < a->n_keys; k++) {
        if (a->half == COMBINE) {
            keys[k] = p->in->columns[k];
            continue;
        }
        gn_code code = gn_expr_eval(a->keys[k], p->in, &p->eval, &keys[k]);
        if (code)
            return code;
    }
    uint64_t hashes[GN_BATCH_ROWS];
    gn_hash_rows(keys, a->n_keys, p->in->n_rows, hashes);
    for (uint32_t i = 0; i < p->in->n_rows; i++) {
        bool added;
        gn_code code = gn_row_set_put(&a->groups, keys, i, hashes[i], &p->groups[i], &added, p->eval.err);
        if (!code && added)
            code = add_group(a, p->eval.err);
        if (code)
            return code;
    }
    return GN_OK;
}

/* Drops rows with a NULL argument. */
static uint32_t drop_nulls(const gn_column *args, uint32_t n_args, uint16_t *rows, uint32_t n)
{
    uint32_t kept = 0;
    for (uint32_t k = 0; k < n; k++) {
        bool null = false;
        for (uint32_t i = 0; i < n_args && !null; i++)
            null = gn_column_is_null(&args[i], rows[k]);
        rows[kept] = rows[k];
        kept += !null;
    }
    return kept;
}

/* Keeps the rows whose (group, arguments) was never seen. columns[0] is made here. */
static gn_code keep_unseen(pass *p, call_state *state, const gn_column *args, uint32_t n_args, uint16_t *rows,
                           uint32_t *n)
{
    uint64_t hashes[GN_BATCH_ROWS], number;
    gn_column *columns = gn_eval_alloc(&p->eval, (n_args + 1u) * sizeof *columns);
    if (!columns)
        return GN_OUT_OF_MEMORY;
    gn_code code = gn_column_create(gn_type_of(GN_T_INT8), p->in->n_rows, &p->eval, &columns[0]);
    if (code)
        return code;
    for (uint32_t i = 0; i < p->in->n_rows; i++)
        columns[0].i64[i] = (int64_t)p->groups[i];
    memcpy(columns + 1, args, n_args * sizeof *args);
    /* rows that the filter dropped were not computed: gather first, hash what is there */
    gn_batch dense;
    code = gn_batch_gather(columns, n_args + 1, rows, *n, &p->eval, &dense);
    if (code)
        return code;
    gn_hash_rows(dense.columns, n_args + 1, *n, hashes);
    uint32_t kept = 0;
    for (uint32_t k = 0; k < *n; k++) {
        bool added;
        code = gn_row_set_put(&state->seen, dense.columns, k, hashes[k], &number, &added, p->eval.err);
        if (code)
            return code;
        rows[kept] = rows[k];
        kept += added;
    }
    *n = kept;
    return GN_OK;
}

/* The rows that FILTER lets through, as a batch of their own when it drops some, so that arguments are computed for
 * them alone. rows: their numbers in p->in. */
static gn_code filtered(pass *p, const gn_aggregate_call *call, const gn_batch **batch, uint16_t *rows, uint32_t *n)
{
    for (uint32_t i = 0; i < p->in->n_rows; i++)
        rows[i] = (uint16_t)i;
    *n = p->in->n_rows;
    *batch = p->in;
    if (!call->filter)
        return GN_OK;
    gn_code code = gn_expr_select(call->filter, p->in, &p->eval, rows, n);
    if (code || *n == p->in->n_rows)
        return code;
    gn_batch *some = gn_eval_alloc(&p->eval, sizeof *some);
    if (!some)
        return GN_OUT_OF_MEMORY;
    *batch = some;
    return gn_batch_gather(p->in->columns, p->in->n_columns, rows, *n, &p->eval, some);
}

static gn_code update_call(pass *p, uint32_t c)
{
    aggregate_op *a = p->a;
    const gn_aggregate_call *call = &a->calls[c];
    call_state *state = &a->call_states[c];
    uint16_t rows[GN_BATCH_ROWS];
    void *states[GN_BATCH_ROWS];
    gn_column args[2];
    uint32_t n;
    pass sub = *p;
    gn_code code = filtered(p, call, &sub.in, rows, &n);
    if (code || n == 0)
        return code;
    for (uint32_t k = 0; k < n; k++) { /* from here on, rows are those of sub.in */
        sub.groups[k] = p->groups[rows[k]];
        rows[k] = (uint16_t)k;
    }
    GN_ASSERT(call->n_args <= 2);
    for (uint32_t i = 0; i < call->n_args && !code; i++)
        code = gn_expr_eval(call->args[i], sub.in, &p->eval, &args[i]);
    if (!code && !(call->aggregate->flags & GN_A_NULLS))
        n = drop_nulls(args, call->n_args, rows, n);
    if (!code && call->distinct && n > 0)
        code = keep_unseen(&sub, state, args, call->n_args, rows, &n);
    if (code || n == 0)
        return code;
    gn_column *order = gn_eval_alloc(&p->eval, (call->n_order + 1u) * sizeof *order);
    code = order ? GN_OK : GN_OUT_OF_MEMORY;
    for (uint32_t i = 0; i < call->n_order && !code; i++)
        code = gn_expr_eval(call->order[i].expr, sub.in, &p->eval, &order[i]);
    if (code)
        return code;
    for (uint32_t k = 0; k < n; k++)
        states[k] = group_states(a, sub.groups[rows[k]]) + state->offset;
    gn_eval keeping = gn_operator_eval(&a->op, a->kept, p->eval.err);
    gn_aggregation run = {.aggregate = call->aggregate,
                          .arg_types = state->arg_types,
                          .result = call->result,
                          .eval = &keeping,
                          .args = args,
                          .rows = rows,
                          .n = n,
                          .states = states};
    return call->n_order ? gn_ordered_add(call, &run, order) : call->aggregate->update(&run);
}

/* The states that a batch brings, instead of rows. */
static gn_code combine_call(pass *p, uint32_t c)
{
    aggregate_op *a = p->a;
    const gn_column *saved = &p->in->columns[a->n_keys + c];
    gn_eval keeping = gn_operator_eval(&a->op, a->kept, p->eval.err);
    gn_aggregation run = {.aggregate = a->calls[c].aggregate,
                          .arg_types = a->call_states[c].arg_types,
                          .result = a->calls[c].result,
                          .eval = &keeping};
    gn_code code = GN_OK;
    for (uint32_t i = 0; i < p->in->n_rows && !code; i++) {
        void *state = group_states(a, p->groups[i]) + a->call_states[c].offset;
        code =
            gn_column_is_null(saved, i) ? gn_state_corrupt(&run) : run.aggregate->merge(&run, state, saved->bytes[i]);
    }
    return code;
}

static gn_code fill(aggregate_op *a, gn_error *err)
{
    gn_code code = a->n_keys == 0 ? add_group(a, err) : GN_OK;
    while (!code && !(a->half == PARTIAL && a->n_groups >= PARTIAL_GROUPS)) {
        gn_batch *in;
        code = gn_operator_next(a->op.inputs[0], &in, err);
        a->ended = !code && (!in || in->n_rows == 0);
        if (code || a->ended)
            break;
        gn_arena_reset(a->work);
        pass p = {.a = a, .in = in, .eval = gn_operator_eval(&a->op, a->work, err)};
        code = find_groups(&p);
        for (uint32_t c = 0; c < a->n_calls && !code; c++)
            code = a->half == COMBINE ? combine_call(&p, c) : update_call(&p, c);
    }
    return code;
}

/* ---- results ---- */

static gn_code finish_call(aggregate_op *a, uint32_t c, uint32_t n, const gn_eval *eval, gn_column *out)
{
    const gn_aggregate_call *call = &a->calls[c];
    gn_code code = gn_column_create(call->result, n, eval, out);
    gn_aggregation run = {
        .aggregate = call->aggregate, .arg_types = a->call_states[c].arg_types, .result = call->result, .eval = eval};
    for (uint32_t i = 0; i < n && !code; i++) {
        gn_value v = {.type = call->result};
        void *state = group_states(a, a->emitted + i) + a->call_states[c].offset;
        code = call->n_order ? gn_ordered_finish(call, &run, state, &v) : call->aggregate->finish(&run, state, &v);
        if (!code && v.is_null)
            gn_column_set_null(out, i);
        else if (!code)
            gn_column_set(out, i, &v);
    }
    return code;
}

static gn_code save_call(aggregate_op *a, uint32_t c, uint32_t n, const gn_eval *eval, gn_column *out)
{
    const gn_aggregate_call *call = &a->calls[c];
    gn_aggregation run = {
        .aggregate = call->aggregate, .arg_types = a->call_states[c].arg_types, .result = call->result, .eval = eval};
    gn_code code = gn_column_create(gn_type_of(GN_T_BYTEA), n, eval, out);
    gn_buf buf;
    gn_buf_init(&buf, a->account, 2 * (size_t)GN_MAX_FIELD);
    for (uint32_t i = 0; i < n && !code; i++) {
        gn_value v = {.type = gn_type_of(GN_T_BYTEA)};
        gn_buf_clear(&buf);
        code = call->aggregate->save(&run, group_states(a, a->emitted + i) + a->call_states[c].offset, &buf);
        if (!code && buf.failed)
            code = gn_eval_oom(eval);
        if (!code)
            code = gn_eval_copy(eval, gn_buf_bytes(&buf), &v);
        if (!code)
            gn_column_set(out, i, &v);
    }
    gn_buf_close(&buf);
    return code;
}

static void destroy_states(aggregate_op *a, uint32_t c)
{
    if (a->calls[c].aggregate->destroy && !a->calls[c].n_order)
        for (uint64_t g = 0; g < a->n_groups; g++)
            a->calls[c].aggregate->destroy(group_states(a, g) + a->call_states[c].offset);
}

/* All that was gathered has been given, and there may be more. */
static void begin_anew(aggregate_op *a)
{
    for (uint32_t c = 0; c < a->n_calls; c++)
        destroy_states(a, c);
    gn_row_set_close(&a->groups);
    gn_arena_reset(a->kept);
    gn_row_set_init(&a->groups, a->account, a->kept, a->types, a->n_keys);
    a->n_groups = a->emitted = 0;
    a->n_blocks = 0;
    a->filled = false;
}

static gn_code aggregate_next(gn_operator *op, gn_batch **out, gn_error *err)
{
    aggregate_op *a = (aggregate_op *)op;
    *out = NULL;
    if (a->filled && !a->ended && a->emitted == a->n_groups)
        begin_anew(a);
    gn_code code = a->filled ? GN_OK : fill(a, err);
    if (code)
        return code;
    a->filled = true;
    uint64_t left = a->n_groups - a->emitted, numbers[GN_BATCH_ROWS];
    uint32_t n = left < GN_BATCH_ROWS ? (uint32_t)left : GN_BATCH_ROWS;
    if (n == 0)
        return GN_OK;
    for (uint32_t i = 0; i < n; i++)
        numbers[i] = a->emitted + i;
    gn_arena_reset(a->work);
    gn_eval eval = gn_operator_eval(op, a->work, err);
    gn_batch keys = {.n_columns = 0};
    gn_column *columns = gn_eval_alloc(&eval, (op->n_columns + 1u) * sizeof *columns);
    if (!columns)
        return GN_OUT_OF_MEMORY;
    if (a->n_keys)
        code = gn_row_store_gather(&a->groups.store, 0, a->n_keys, numbers, n, &eval, &keys);
    if (!code && a->n_keys)
        memcpy(columns, keys.columns, a->n_keys * sizeof *columns);
    for (uint32_t c = 0; c < a->n_calls && !code; c++)
        code = a->half == PARTIAL ? save_call(a, c, n, &eval, &columns[a->n_keys + c])
                                  : finish_call(a, c, n, &eval, &columns[a->n_keys + c]);
    if (code)
        return code;
    a->emitted += n;
    a->out = (gn_batch){.n_rows = n, .n_columns = op->n_columns, .columns = columns, .arena = a->work};
    *out = &a->out;
    return GN_OK;
}

/* ---- the operator ---- */

static void aggregate_close(gn_operator *op)
{
    aggregate_op *a = (aggregate_op *)op;
    for (uint32_t c = 0; c < a->n_calls; c++) {
        destroy_states(a, c);
        if (a->calls[c].distinct)
            gn_row_set_close(&a->call_states[c].seen);
        free(a->call_states[c].arg_types);
        free(a->call_states[c].seen_types);
    }
    gn_row_set_close(&a->groups);
    gn_arena_destroy(a->kept);
    gn_arena_destroy(a->work);
    free(a->blocks);
    free(a->call_states);
    free(a->types);
    free(a);
}

static void prepare_call(aggregate_op *a, uint32_t c)
{
    const gn_aggregate_call *call = &a->calls[c];
    call_state *state = &a->call_states[c];
    state->offset = a->states_size;
    size_t ordered = (sizeof(gn_ordered) + 15) & ~(size_t)15;
    a->states_size += call->n_order ? ordered : gn_aggregate_state_size(call->aggregate);
    state->arg_types = gn_xcalloc(call->n_args + 1u, sizeof(gn_type));
    for (uint32_t i = 0; i < call->n_args; i++)
        state->arg_types[i] = call->args[i]->type;
    if (!call->distinct)
        return;
    state->seen_types = gn_xcalloc(call->n_args + 1u, sizeof(gn_type));
    state->seen_types[0] = gn_type_of(GN_T_INT8);
    for (uint32_t i = 0; i < call->n_args; i++)
        state->seen_types[i + 1] = state->arg_types[i];
    gn_row_set_init(&state->seen, a->account, a->kept, state->seen_types, call->n_args + 1);
}

static gn_operator *create(half which, const gn_eval *eval, gn_account *account, gn_operator *input,
                           gn_expr *const *keys, uint32_t n_keys, const gn_aggregate_call *calls, uint32_t n_calls)
{
    static const gn_operator_ops ops = {.name = "Aggregate", .next = aggregate_next, .close = aggregate_close};
    aggregate_op *a = gn_xcalloc(1, sizeof *a);
    a->half = which;
    a->account = account;
    a->keys = keys;
    a->n_keys = n_keys;
    a->calls = calls;
    a->n_calls = n_calls;
    a->types = gn_xcalloc(n_keys + n_calls + 1u, sizeof *a->types);
    a->call_states = gn_xcalloc(n_calls + 1u, sizeof *a->call_states);
    a->kept = gn_arena_create(account);
    a->work = gn_arena_create(account);
    for (uint32_t k = 0; k < n_keys; k++)
        a->types[k] = keys[k]->type;
    for (uint32_t c = 0; c < n_calls; c++) {
        a->types[n_keys + c] = which == PARTIAL ? gn_type_of(GN_T_BYTEA) : calls[c].result;
        prepare_call(a, c);
    }
    a->states_size = a->states_size ? a->states_size : 16;
    gn_row_set_init(&a->groups, account, a->kept, a->types, n_keys);
    a->op =
        (gn_operator){.ops = &ops, .eval = eval, .inputs = {input}, .n_columns = n_keys + n_calls, .types = a->types};
    return &a->op;
}

gn_operator *gn_op_aggregate(const gn_eval *eval, gn_account *account, gn_operator *input, gn_expr *const *keys,
                             uint32_t n_keys, const gn_aggregate_call *calls, uint32_t n_calls)
{
    return create(WHOLE, eval, account, input, keys, n_keys, calls, n_calls);
}

gn_operator *gn_op_aggregate_partial(const gn_eval *eval, gn_account *account, gn_operator *input, gn_expr *const *keys,
                                     uint32_t n_keys, const gn_aggregate_call *calls, uint32_t n_calls)
{
    return create(PARTIAL, eval, account, input, keys, n_keys, calls, n_calls);
}

gn_operator *gn_op_aggregate_combine(const gn_eval *eval, gn_account *account, gn_operator *input, gn_expr *const *keys,
                                     uint32_t n_keys, const gn_aggregate_call *calls, uint32_t n_calls)
{
    return create(COMBINE, eval, account, input, keys, n_keys, calls, n_calls);
}
