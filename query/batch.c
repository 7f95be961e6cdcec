#include "query/batch.h"

#include "base/assert.h"

size_t gn_physical_size(gn_physical physical)
{
    switch (physical) {
    case GN_P_BOOL:
        return 1;
    case GN_P_I16:
        return 2;
    case GN_P_I32:
    case GN_P_F32:
        return 4;
    case GN_P_I64:
    case GN_P_F64:
        return 8;
    case GN_P_BYTES:
        return sizeof(gn_bytes);
    }
    GN_ASSERT(!"physical kind");
    return 0;
}

gn_code gn_batch_init(gn_batch *batch, const gn_type *types, uint32_t n_columns, gn_arena *arena, gn_error *err)
{
    *batch = (gn_batch){.n_columns = n_columns, .arena = arena};
    batch->columns = gn_arena_calloc(arena, n_columns, sizeof(gn_column));
    if (!batch->columns)
        return gn_error_oom(err, gn_arena_account(arena));
    for (uint32_t i = 0; i < n_columns; i++) {
        gn_column *c = &batch->columns[i];
        c->type = types[i];
        c->nulls = gn_arena_calloc(arena, GN_BATCH_ROWS / 64, sizeof(uint64_t));
        c->data = gn_arena_calloc(arena, GN_BATCH_ROWS, gn_physical_size(gn_type_physical(types[i])));
        if (!c->nulls || !c->data)
            return gn_error_oom(err, gn_arena_account(arena));
    }
    return GN_OK;
}

gn_value gn_column_get(const gn_column *c, uint32_t row)
{
    GN_ASSERT(row < GN_BATCH_ROWS);
    gn_value v = {.type = c->type, .is_null = gn_column_is_null(c, row)};
    if (v.is_null)
        return v;
    switch (gn_type_physical(c->type)) {
    case GN_P_BOOL:
        v.as.boolean = c->boolean[row];
        break;
    case GN_P_I16:
        v.as.i16 = c->i16[row];
        break;
    case GN_P_I32:
        v.as.i32 = c->i32[row];
        break;
    case GN_P_I64:
        v.as.i64 = c->i64[row];
        break;
    case GN_P_F32:
        v.as.f32 = c->f32[row];
        break;
    case GN_P_F64:
        v.as.f64 = c->f64[row];
        break;
    case GN_P_BYTES:
        v.as.bytes = c->bytes[row];
        break;
    }
    return v;
}

void gn_column_set(gn_column *c, uint32_t row, const gn_value *value)
{
    GN_ASSERT(row < GN_BATCH_ROWS);
    GN_ASSERT(gn_type_physical(c->type) == gn_type_physical(value->type));
    if (value->is_null) {
        gn_column_set_null(c, row);
        return;
    }
    if (c->has_nulls)
        c->nulls[row >> 6] &= ~((uint64_t)1 << (row & 63));
    switch (gn_type_physical(c->type)) {
    case GN_P_BOOL:
        c->boolean[row] = value->as.boolean;
        break;
    case GN_P_I16:
        c->i16[row] = value->as.i16;
        break;
    case GN_P_I32:
        c->i32[row] = value->as.i32;
        break;
    case GN_P_I64:
        c->i64[row] = value->as.i64;
        break;
    case GN_P_F32:
        c->f32[row] = value->as.f32;
        break;
    case GN_P_F64:
        c->f64[row] = value->as.f64;
        break;
    case GN_P_BYTES:
        c->bytes[row] = value->as.bytes;
        break;
    }
}

gn_code gn_batch_append(gn_batch *batch, const gn_column *columns, uint32_t row, gn_error *err)
{
    for (uint32_t i = 0; i < batch->n_columns; i++) {
        gn_value v = gn_column_get(&columns[i], row);
        if (!v.is_null && gn_type_physical(v.type) == GN_P_BYTES &&
            !(v.as.bytes.data = gn_arena_memdup(batch->arena, v.as.bytes.data, v.as.bytes.len)))
            return gn_error_oom(err, gn_arena_account(batch->arena));
        gn_column_set(&batch->columns[i], batch->n_rows, &v);
    }
    batch->n_rows++;
    return GN_OK;
}

void gn_batch_clear(gn_batch *batch)
{
    batch->n_rows = 0;
    for (uint32_t i = 0; i < batch->n_columns; i++) {
        gn_column *c = &batch->columns[i];
        if (c->has_nulls && c->nulls)
            memset(c->nulls, 0, GN_BATCH_ROWS / 8);
        c->has_nulls = false;
    }
}
