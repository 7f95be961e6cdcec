/* INSERT, UPDATE, DELETE: rows are computed, checked and given to the transaction one by one; a failure fails the whole
 * transaction, so nothing is undone here. */
#include "base/limits.h"
#include "coord/exec_private.h"

/* ---- RETURNING ---- */

/* Points the parameters beyond the statement's at a row: that is how RETURNING and ON CONFLICT see it. */
static void show_row(gn_exec *x, uint32_t slot, const gn_value *values)
{
    uint32_t n = x->plan->table->n_columns;
    memcpy(x->params + x->plan->n_params + (size_t)slot * n, values, n * sizeof *values);
}

static gn_code new_chunk(gn_exec *x, gn_error *err)
{
    const gn_plan *plan = x->plan;
    struct gn_result_chunk *chunk = gn_arena_calloc(x->arena, 1, sizeof *chunk);
    gn_type *types = gn_arena_alloc(x->arena, (plan->n_returning + 1) * sizeof *types);
    if (!chunk || !types)
        return gn_error_oom(err, x->account);
    for (uint32_t i = 0; i < plan->n_returning; i++)
        types[i] = plan->returning[i]->type;
    gn_code code = gn_batch_init(&chunk->batch, types, plan->n_returning, x->arena, err);
    if (code != GN_OK)
        return code;
    if (x->results.last)
        x->results.last->next = chunk;
    else
        x->results.first = chunk;
    x->results.last = chunk;
    return GN_OK;
}

static gn_code keep_returning(gn_exec *x, const gn_value *row, gn_error *err)
{
    const gn_plan *plan = x->plan;
    x->n_rows++;
    if (!plan->n_returning)
        return GN_OK;
    show_row(x, 0, row);
    gn_batch *batch = x->results.last ? &x->results.last->batch : NULL;
    gn_code code = batch && batch->n_rows < GN_BATCH_ROWS ? GN_OK : new_chunk(x, err);
    if (code != GN_OK)
        return code;
    batch = &x->results.last->batch;
    for (uint32_t i = 0; i < plan->n_returning; i++) {
        gn_value v, copy;
        gn_eval eval = x->eval;
        eval.arena = x->scratch;
        eval.err = err;
        code = gn_expr_eval_one(plan->returning[i], &eval, &v);
        if (code == GN_OK)
            code = gn_value_copy(&v, x->arena, &copy, err);
        if (code != GN_OK)
            return code;
        if (copy.is_null)
            gn_column_set_null(&batch->columns[i], batch->n_rows);
        else
            gn_column_set(&batch->columns[i], batch->n_rows, &copy);
    }
    batch->n_rows++;
    x->results.n++;
    return GN_OK;
}

/* ---- INSERT ---- */

/* The key of the row that stands in the way, as a range that holds it alone. *none: the row would be in nobody's way.
 */
static gn_code conflict_key(gn_exec *x, const gn_value *values, gn_buf *key, bool *none, gn_error *err)
{
    const gn_index_desc *index = x->plan->conflict.index;
    *none = false;
    if (!index)
        return gn_key_of_row(x->plan->table, values, key, err);
    *none = !gn_index_takes(x->plan->table, index, values);
    return *none ? GN_OK : gn_key_of_index(x->plan->table, index, values, key, none, err);
}

static gn_code apply_set(gn_exec *x, const gn_assignment *set, uint32_t n, gn_value *row, gn_error *err)
{
    for (uint32_t i = 0; i < n; i++) {
        gn_value *to = &row[set[i].ordinal];
        gn_eval eval = x->eval;
        eval.arena = x->scratch;
        eval.err = err;
        gn_code code = set[i].value ? gn_expr_eval_one(set[i].value, &eval, to)
                                    : gn_row_default(x->cluster, x->plan->info, set[i].ordinal, &eval, to, err);
        if (code != GN_OK)
            return code;
    }
    return GN_OK;
}

/* DO UPDATE of the row found: its values are slot 0, those refused (`excluded`) slot 1. */
static gn_code update_conflicting(gn_exec *x, const gn_value *refused, gn_batch *found, gn_bytes key, gn_error *err)
{
    const gn_plan *plan = x->plan;
    uint32_t n = plan->table->n_columns, at = 0;
    gn_value *row = gn_arena_calloc(x->scratch, n + 1, sizeof *row);
    if (!row)
        return gn_error_oom(err, x->account);
    for (uint32_t i = 0; i < n; i++)
        row[i] = gn_column_is_shown(&plan->table->columns[i]) ? gn_column_get(&found->columns[at++], 0)
                                                              : gn_value_null(plan->table->columns[i].type);
    show_row(x, 0, row);
    show_row(x, 1, refused);
    gn_eval eval = x->eval;
    eval.arena = x->scratch;
    eval.err = err;
    gn_value wanted = {.as.boolean = true};
    gn_code code = plan->conflict.where ? gn_expr_eval_one(plan->conflict.where, &eval, &wanted) : GN_OK;
    if (code != GN_OK || wanted.is_null || !wanted.as.boolean)
        return code;
    code = apply_set(x, plan->conflict.set, plan->conflict.n_set, row, err);
    if (code == GN_OK)
        code = gn_row_finish(plan->info, row, &eval, err);
    if (code == GN_OK)
        code = gn_dtxn_update(x->txn, plan->table, key, row, err);
    return code == GN_OK ? keep_returning(x, row, err) : code;
}

/* Does what ON CONFLICT says with the row in the way. *found false: the conflict that it names is not there. */
static gn_code resolve_conflict(gn_exec *x, const gn_value *values, bool *found, gn_error *err)
{
    const gn_table_desc *t = x->plan->table;
    gn_arena *bytes = gn_arena_create(x->account);
    uint32_t *ordinals = gn_arena_alloc(x->scratch, (t->n_columns + 1) * sizeof *ordinals);
    gn_bytes *keys = gn_arena_alloc(x->scratch, GN_BATCH_ROWS * sizeof *keys);
    gn_dscan *scan = NULL;
    gn_buf key;
    uint32_t n = 0;
    bool none = false;
    gn_buf_init(&key, x->account, 2 * (size_t)GN_MAX_KEY * GN_MAX_INDEX_COLUMNS);
    gn_code code = ordinals && keys ? conflict_key(x, values, &key, &none, err) : gn_error_oom(err, x->account);
    for (uint32_t i = 0; i < t->n_columns && code == GN_OK; i++) {
        if (!gn_column_is_shown(&t->columns[i]))
            continue;
        ordinals[n++] = i;
    }
    gn_scan_spec spec = {.table = t,
                         .index = x->plan->conflict.index,
                         .range = {.lo = gn_buf_bytes(&key), .hi = gn_buf_bytes(&key), .hi_inclusive = true},
                         .ordinals = ordinals,
                         .n_ordinals = n,
                         .limit_hint = 1};
    gn_batch batch = {.n_columns = n, .arena = bytes};
    if (code == GN_OK && !none)
        code = gn_dscan_open(x->txn, &spec, false, &scan, err);
    if (code == GN_OK && !none)
        code = gn_dscan_next(scan, &batch, keys, err);
    *found = code == GN_OK && batch.n_rows > 0;
    if (*found && x->plan->conflict.action == GN_CONFLICT_UPDATE)
        code = update_conflicting(x, values, &batch, keys[0], err);
    gn_dscan_close(scan);
    gn_buf_close(&key);
    gn_arena_destroy(bytes);
    return code;
}

/* Is this violation one that ON CONFLICT takes care of? */
static bool conflict_handled(const gn_plan *plan, const gn_error *violation)
{
    const gn_conflict *c = &plan->conflict;
    return c->any_index || strcmp(violation->object[3], c->index ? c->index->name : plan->table->key_name) == 0;
}

/* The row is in the way of another. The conflict that the statement names counts before those of other indexes, though
 * it may not be the one that was met first. */
static gn_code insert_refused(gn_exec *x, const gn_value *values, const gn_error *violation, gn_error *err)
{
    const gn_plan *plan = x->plan;
    bool named = conflict_handled(plan, violation), found = true;
    if (named && plan->conflict.action == GN_CONFLICT_NOTHING)
        return GN_OK;
    gn_code code = resolve_conflict(x, values, &found, err);
    if (code != GN_OK || found)
        return code;
    if (named)
        return gn_error_set(err, GN_SERIALIZATION, "could not serialize access due to concurrent update");
    if (err)
        *err = *violation;
    return GN_UNIQUE;
}

static gn_code insert_row(gn_exec *x, gn_value *values, gn_error *err)
{
    const gn_plan *plan = x->plan;
    gn_eval eval = x->eval;
    eval.arena = x->scratch;
    gn_code code = gn_row_finish(plan->info, values, &eval, err);
    if (code != GN_OK)
        return code;
    gn_error violation = {0};
    code = gn_dtxn_insert(x->txn, plan->table, values, &violation);
    if (code == GN_OK && plan->conflict.action != GN_CONFLICT_ERROR) /* what happens now depends on it */
        code = gn_dtxn_flush(x->txn, &violation);
    if (code == GN_OK)
        return keep_returning(x, values, err);
    if (code == GN_UNIQUE && plan->conflict.action != GN_CONFLICT_ERROR)
        return insert_refused(x, values, &violation, err);
    if (err)
        *err = violation;
    return code;
}

/* The columns that the statement does not give. */
static gn_code fill_defaults(gn_exec *x, gn_value *row, const bool *given, gn_error *err)
{
    const gn_plan *plan = x->plan;
    gn_eval eval = x->eval;
    eval.arena = x->scratch;
    for (uint32_t i = 0; i < plan->table->n_columns; i++) {
        gn_code code = given[i] ? GN_OK : gn_row_default(x->cluster, plan->info, i, &eval, &row[i], err);
        if (code != GN_OK)
            return code;
    }
    return GN_OK;
}

static gn_code row_buffers(gn_exec *x, gn_value **row, bool **given, gn_error *err)
{
    uint32_t n = x->plan->table->n_columns;
    *row = gn_arena_calloc(x->arena, n + 1, sizeof **row);
    *given = gn_arena_calloc(x->arena, n + 1, sizeof **given);
    return *row && *given ? GN_OK : gn_error_oom(err, x->account);
}

static gn_code insert_values(gn_exec *x, gn_error *err)
{
    const gn_plan *plan = x->plan;
    gn_value *row;
    bool *given;
    gn_code code = row_buffers(x, &row, &given, err);
    for (uint32_t r = 0; r < plan->n_rows && code == GN_OK; r++) {
        gn_arena_reset(x->scratch);
        for (uint32_t i = 0; i < plan->table->n_columns && code == GN_OK; i++) {
            const gn_expr *e = plan->source[i] >= 0 ? plan->rows[r][plan->source[i]] : NULL;
            given[i] = e != NULL;
            if (e)
                code = gn_exec_value(x, e, &row[i], err);
        }
        if (code == GN_OK)
            code = fill_defaults(x, row, given, err);
        if (code == GN_OK)
            code = insert_row(x, row, err);
    }
    return code;
}

static gn_code insert_batch(gn_exec *x, const gn_batch *batch, gn_value *row, const bool *given, gn_error *err)
{
    const gn_plan *plan = x->plan;
    gn_code code = GN_OK;
    for (uint32_t r = 0; r < batch->n_rows && code == GN_OK; r++) {
        gn_arena_reset(x->scratch);
        for (uint32_t i = 0; i < plan->table->n_columns; i++)
            if (given[i])
                row[i] = gn_column_get(&batch->columns[plan->source[i]], r);
        code = fill_defaults(x, row, given, err);
        if (code == GN_OK)
            code = insert_row(x, row, err);
    }
    return code;
}

static gn_code insert_query(gn_exec *x, gn_error *err)
{
    gn_value *row;
    bool *given;
    gn_code code = row_buffers(x, &row, &given, err);
    if (code == GN_OK)
        code = gn_exec_open_query(x, x->plan->query, err);
    if (code != GN_OK)
        return code;
    for (uint32_t i = 0; i < x->plan->table->n_columns; i++)
        given[i] = x->plan->source[i] >= 0;
    for (;;) {
        gn_batch *batch;
        code = gn_operator_next(x->root, &batch, err);
        if (code != GN_OK || !batch || batch->n_rows == 0)
            return code;
        code = insert_batch(x, batch, row, given, err);
        if (code != GN_OK)
            return code;
    }
}

/* ---- UPDATE, DELETE ---- */

/* The rows that the condition chooses, with their keys in the last column. */
static gn_code open_targets(gn_exec *x, gn_operator **out, gn_error *err)
{
    const gn_query *q = x->plan->query;
    gn_code code = gn_exec_push(x, q, UINT64_MAX, true, err);
    if (code == GN_OK)
        code = gn_exec_source(x, &q->path, true, 0, &x->operators.source, err);
    if (code != GN_OK)
        return code;
    x->root = x->operators.source;
    if (q->filter && !x->push.filters) {
        x->root = x->operators.filter = gn_op_filter(&x->eval, x->account, x->root, q->filter);
        x->root->timed = x->timed;
    }
    *out = x->root;
    return GN_OK;
}

/* All columns of one row of a scan that gives all. */
static void full_row(const gn_exec *x, const gn_batch *batch, uint32_t r, gn_value *row)
{
    const gn_path *path = &x->plan->query->path;
    for (uint32_t i = 0; i < path->n_ordinals; i++)
        row[path->ordinals[i]] = gn_column_get(&batch->columns[i], r);
}

static gn_code set_columns(gn_exec *x, const gn_batch *batch, gn_arena *arena, gn_column *columns, gn_error *err)
{
    gn_eval eval = x->eval;
    eval.arena = arena;
    eval.err = err;
    gn_code code = GN_OK;
    for (uint32_t i = 0; i < x->plan->n_set && code == GN_OK; i++)
        if (x->plan->set[i].value)
            code = gn_expr_eval(x->plan->set[i].value, batch, &eval, &columns[i]);
    return code;
}

static gn_code update_row(gn_exec *x, const gn_batch *batch, const gn_column *columns, uint32_t r, gn_value *row,
                          gn_error *err)
{
    const gn_plan *plan = x->plan;
    gn_eval eval = x->eval;
    eval.arena = x->scratch;
    gn_arena_reset(x->scratch);
    full_row(x, batch, r, row);
    gn_code code = GN_OK;
    for (uint32_t i = 0; i < plan->n_set && code == GN_OK; i++) {
        gn_value *to = &row[plan->set[i].ordinal];
        if (plan->set[i].value)
            *to = gn_column_get(&columns[i], r);
        else
            code = gn_row_default(x->cluster, plan->info, plan->set[i].ordinal, &eval, to, err);
    }
    if (code == GN_OK)
        code = gn_row_finish(plan->info, row, &eval, err);
    if (code == GN_OK)
        code = gn_dtxn_update(x->txn, plan->table, batch->columns[batch->n_columns - 1].bytes[r], row, err);
    return code == GN_OK ? keep_returning(x, row, err) : code;
}

static gn_code update_rows(gn_exec *x, gn_error *err)
{
    gn_operator *targets;
    gn_value *row;
    bool *unused;
    gn_arena *arena = gn_arena_create(x->account);
    gn_column *columns = gn_arena_calloc(x->arena, x->plan->n_set + 1, sizeof *columns);
    gn_code code = columns ? row_buffers(x, &row, &unused, err) : gn_error_oom(err, x->account);
    if (code == GN_OK)
        code = open_targets(x, &targets, err);
    while (code == GN_OK) {
        gn_batch *batch;
        code = gn_operator_next(targets, &batch, err);
        if (code != GN_OK || !batch || batch->n_rows == 0)
            break;
        gn_arena_reset(arena);
        code = set_columns(x, batch, arena, columns, err);
        for (uint32_t r = 0; r < batch->n_rows && code == GN_OK; r++)
            code = update_row(x, batch, columns, r, row, err);
    }
    gn_arena_destroy(arena);
    return code;
}

static gn_code delete_rows(gn_exec *x, gn_error *err)
{
    gn_operator *targets;
    gn_value *row;
    bool *unused;
    gn_code code = row_buffers(x, &row, &unused, err);
    if (code == GN_OK)
        code = open_targets(x, &targets, err);
    while (code == GN_OK) {
        gn_batch *batch;
        code = gn_operator_next(targets, &batch, err);
        if (code != GN_OK || !batch || batch->n_rows == 0)
            break;
        const gn_bytes *keys = batch->columns[batch->n_columns - 1].bytes;
        for (uint32_t r = 0; r < batch->n_rows && code == GN_OK; r++) {
            gn_arena_reset(x->scratch);
            if (x->plan->n_returning)
                full_row(x, batch, r, row);
            code = gn_dtxn_delete(x->txn, x->plan->table, keys[r], err);
            if (code == GN_OK)
                code = keep_returning(x, row, err);
        }
    }
    return code;
}

gn_code gn_exec_write(gn_exec *x, gn_error *err)
{
    x->scratch = gn_arena_create(x->account);
    switch (x->plan->kind) {
    case GN_PLAN_INSERT:
        return x->plan->rows ? insert_values(x, err) : insert_query(x, err);
    case GN_PLAN_UPDATE:
        return update_rows(x, err);
    case GN_PLAN_DELETE:
        return delete_rows(x, err);
    case GN_PLAN_QUERY:
        break;
    }
    return gn_error_set(err, GN_INTERNAL, "not a statement that writes");
}
