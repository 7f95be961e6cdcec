/* The one way to pull from an operator, and the rows that operators keep. */
#include "query/function_private.h"
#include "query/operator_private.h"

#include <stdlib.h>
#include <time.h>

/* ---- pulling ---- */

gn_code gn_operator_cancel_error(gn_error *err)
{
    return gn_error_set(err, GN_CANCELED, "canceling statement due to user request");
}

/* For EXPLAIN ANALYZE alone: what a user reads, never what the engine decides by. */
static uint64_t monotonic_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t batch_bytes(const gn_batch *batch)
{
    uint64_t sum = 0;
    for (uint32_t c = 0; c < batch->n_columns; c++) {
        const gn_column *column = &batch->columns[c];
        gn_physical physical = gn_type_physical(column->type);
        if (physical != GN_P_BYTES) {
            sum += (uint64_t)gn_physical_size(physical) * batch->n_rows;
            continue;
        }
        for (uint32_t i = 0; i < batch->n_rows; i++)
            if (!gn_column_is_null(column, i))
                sum += column->bytes[i].len;
    }
    return sum;
}

gn_code gn_operator_next(gn_operator *op, gn_batch **out, gn_error *err)
{
    if (gn_operator_canceled(op))
        return gn_operator_cancel_error(err);
    uint64_t start = op->timed ? monotonic_ns() : 0;
    gn_batch *batch = NULL;
    gn_code code = op->ops->next(op, &batch, err);
    if (op->timed)
        op->stats.time_ns += monotonic_ns() - start;
    if (code)
        return code;
    if (batch && batch->n_rows) {
        GN_ASSERT(batch->n_rows <= GN_BATCH_ROWS && batch->n_columns == op->n_columns);
        op->stats.batches++;
        op->stats.rows += batch->n_rows;
        if (op->timed)
            op->stats.bytes += batch_bytes(batch);
    }
    *out = batch;
    return GN_OK;
}

void gn_operator_close(gn_operator *op)
{
    if (!op)
        return;
    gn_operator_close(op->inputs[0]);
    gn_operator_close(op->inputs[1]);
    op->ops->close(op);
}

/* ---- batches ---- */

static void copy_places(gn_column *to, uint32_t at, const gn_column *from, const uint16_t *rows, uint32_t n)
{
    size_t size = gn_physical_size(gn_type_physical(from->type));
    const char *source = from->data;
    char *target = (char *)to->data + size * at;
    switch (size) {
    case 4:
        for (uint32_t i = 0; i < n; i++)
            memcpy(target + i * (size_t)4, source + rows[i] * (size_t)4, 4);
        break;
    case 8:
        for (uint32_t i = 0; i < n; i++)
            memcpy(target + i * (size_t)8, source + rows[i] * (size_t)8, 8);
        break;
    case 16:
        for (uint32_t i = 0; i < n; i++)
            memcpy(target + i * (size_t)16, source + rows[i] * (size_t)16, 16);
        break;
    default:
        for (uint32_t i = 0; i < n; i++)
            memcpy(target + i * size, source + rows[i] * size, size);
    }
    if (from->has_nulls)
        for (uint32_t i = 0; i < n; i++)
            if (gn_column_is_null(from, rows[i]))
                gn_column_set_null(to, at + i);
}

gn_code gn_batch_gather(const gn_column *columns, uint32_t n_columns, const uint16_t *rows, uint32_t n,
                        const gn_eval *eval, gn_batch *out)
{
    gn_column *to = gn_eval_alloc(eval, (n_columns + 1u) * sizeof *to);
    if (!to)
        return GN_OUT_OF_MEMORY;
    for (uint32_t c = 0; c < n_columns; c++) {
        gn_code code = gn_column_create(columns[c].type, n, eval, &to[c]);
        if (code)
            return code;
        copy_places(&to[c], 0, &columns[c], rows, n);
    }
    *out = (gn_batch){.n_rows = n, .n_columns = n_columns, .columns = to, .arena = eval->arena};
    return GN_OK;
}

/* ---- kept rows ---- */

void gn_row_store_init(gn_row_store *store, gn_arena *arena, const gn_type *types, uint32_t n_columns)
{
    *store = (gn_row_store){.arena = arena, .n_columns = n_columns};
    store->types = gn_xcalloc(n_columns + 1u, sizeof *types);
    if (n_columns)
        memcpy(store->types, types, n_columns * sizeof *types);
}

void gn_row_store_close(gn_row_store *store)
{
    free(store->types);
    free(store->chunks);
    *store = (gn_row_store){.arena = NULL};
}

static gn_code add_chunk(gn_row_store *store, gn_error *err)
{
    gn_eval eval = {.arena = store->arena, .err = err};
    gn_column *chunk = gn_eval_alloc(&eval, (store->n_columns + 1u) * sizeof *chunk);
    if (!chunk)
        return GN_OUT_OF_MEMORY;
    for (uint32_t c = 0; c < store->n_columns; c++) {
        gn_code code = gn_column_create(store->types[c], GN_BATCH_ROWS, &eval, &chunk[c]);
        if (code)
            return code;
    }
    if (store->n_chunks == store->cap_chunks) { /* 8 bytes for 1,024 rows: control structure */
        store->cap_chunks = store->cap_chunks ? 2 * store->cap_chunks : 8;
        store->chunks = gn_xrealloc(store->chunks, store->cap_chunks * sizeof *store->chunks);
    }
    store->chunks[store->n_chunks++] = chunk;
    return GN_OK;
}

gn_code gn_row_store_append(gn_row_store *store, const gn_column *columns, uint32_t row, gn_error *err)
{
    if (store->n_rows == (uint64_t)store->n_chunks * GN_BATCH_ROWS) {
        gn_code code = add_chunk(store, err);
        if (code)
            return code;
    }
    uint32_t place = gn_row_store_place(store->n_rows);
    gn_column *chunk = store->chunks[store->n_chunks - 1];
    for (uint32_t c = 0; c < store->n_columns; c++) {
        if (gn_column_is_null(&columns[c], row)) {
            gn_column_set_null(&chunk[c], place);
            continue;
        }
        gn_physical physical = gn_type_physical(store->types[c]);
        if (physical == GN_P_BYTES) {
            gn_bytes from = columns[c].bytes[row];
            void *copy = gn_arena_memdup(store->arena, from.len ? from.data : (const void *)"", from.len);
            if (!copy)
                return gn_error_oom(err, gn_arena_account(store->arena));
            chunk[c].bytes[place] = gn_bytes_of(copy, from.len);
        } else {
            size_t size = gn_physical_size(physical);
            memcpy((char *)chunk[c].data + size * place, (const char *)columns[c].data + size * row, size);
        }
    }
    store->n_rows++;
    return GN_OK;
}

gn_code gn_row_store_gather(const gn_row_store *store, uint32_t first, uint32_t n_columns, const uint64_t *numbers,
                            uint32_t n, const gn_eval *eval, gn_batch *out)
{
    gn_column *to = gn_eval_alloc(eval, (n_columns + 1u) * sizeof *to);
    if (!to)
        return GN_OUT_OF_MEMORY;
    for (uint32_t c = 0; c < n_columns; c++) {
        gn_code code = gn_column_create(store->types[first + c], n, eval, &to[c]);
        if (code)
            return code;
        for (uint32_t i = 0; i < n; i++) {
            uint16_t place = (uint16_t)gn_row_store_place(numbers[i]);
            copy_places(&to[c], i, gn_row_store_column(store, numbers[i], first + c), &place, 1);
        }
    }
    *out = (gn_batch){.n_rows = n, .n_columns = n_columns, .columns = to, .arena = eval->arena};
    return GN_OK;
}
