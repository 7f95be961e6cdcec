#include "base/assert.h"
#include "shard/batch_fill_private.h"

#include <stdlib.h>

void gn_batch_fill_init(gn_batch_fill *f, const gn_table_desc *desc, const uint32_t *ordinals, uint32_t n,
                        bool distance)
{
    *f = (gn_batch_fill){.desc = desc, .ordinals = ordinals, .n = n, .distance = distance};
    f->values = gn_xcalloc(n + 1, sizeof *f->values);
}

void gn_batch_fill_close(gn_batch_fill *f)
{
    free(f->values);
    f->values = NULL;
}

static size_t item_size(gn_type type)
{
    static const size_t sizes[] = {[GN_P_BOOL] = 1,
                                   [GN_P_I16] = 2,
                                   [GN_P_I32] = 4,
                                   [GN_P_I64] = 8,
                                   [GN_P_F32] = 4,
                                   [GN_P_F64] = 8,
                                   [GN_P_BYTES] = sizeof(gn_bytes)};
    return sizes[gn_type_physical(type)];
}

/* As gn_batch_init, but the data is not zeroed: for a batch of one row that would be most of the work. */
gn_code gn_batch_fill_begin(gn_batch_fill *f, gn_batch *batch, uint32_t room, gn_error *err)
{
    uint32_t n = f->n + f->distance;
    GN_ASSERT(batch->n_columns == n);
    gn_arena *arena = batch->arena;
    gn_arena_reset(arena);
    batch->n_rows = 0;
    batch->columns = gn_arena_calloc(arena, n, sizeof(gn_column));
    if (!batch->columns)
        return gn_error_oom(err, gn_arena_account(arena));
    for (uint32_t i = 0; i < n; i++) {
        gn_column *c = &batch->columns[i];
        c->type = i < f->n ? f->desc->columns[f->ordinals[i]].type : gn_type_of(GN_T_FLOAT8);
        c->nulls = gn_arena_calloc(arena, GN_BATCH_ROWS / 64, sizeof *c->nulls);
        c->data = gn_arena_alloc(arena, room * item_size(c->type));
        if (!c->nulls || !c->data)
            return gn_error_oom(err, gn_arena_account(arena));
    }
    return GN_OK;
}

static gn_code set_value(gn_column *c, uint32_t row, gn_value *v, gn_arena *arena, gn_error *err)
{
    if (v->is_null) {
        size_t size = item_size(c->type);
        memset((char *)c->data + size * row, 0, size);
    } else if (gn_type_physical(c->type) == GN_P_BYTES) {
        v->as.bytes.data = gn_arena_memdup(arena, v->as.bytes.data, v->as.bytes.len);
        if (!v->as.bytes.data)
            return gn_error_oom(err, gn_arena_account(arena));
    }
    gn_column_set(c, row, v);
    return GN_OK;
}

gn_code gn_batch_fill_values(gn_batch_fill *f, gn_batch *batch, gn_value *values, gn_bytes key, gn_bytes *key_out,
                             double distance, gn_error *err)
{
    GN_ASSERT(batch->n_rows < GN_BATCH_ROWS);
    gn_code code = GN_OK;
    for (uint32_t i = 0; code == GN_OK && i < f->n; i++)
        code = set_value(&batch->columns[i], batch->n_rows, &values[i], batch->arena, err);
    if (code == GN_OK && f->distance)
        batch->columns[f->n].f64[batch->n_rows] = distance;
    if (code == GN_OK && key_out) {
        key_out->data = gn_arena_memdup(batch->arena, key.data, key.len);
        key_out->len = key.len;
        if (!key_out->data)
            code = gn_error_oom(err, gn_arena_account(batch->arena));
    }
    if (code == GN_OK)
        batch->n_rows++;
    return code;
}

gn_code gn_batch_fill_row(gn_batch_fill *f, gn_batch *batch, gn_bytes row, gn_bytes key, gn_bytes *key_out,
                          double distance, gn_error *err)
{
    gn_code code = GN_OK;
    if (f->n > 0)
        code = gn_row_decode(f->desc, row, f->ordinals, f->n, f->values, batch->arena, err);
    return code == GN_OK ? gn_batch_fill_values(f, batch, f->values, key, key_out, distance, err) : code;
}

static void move_item(gn_column *c, uint32_t from, uint32_t to)
{
    size_t size = item_size(c->type);
    uint64_t bit = (uint64_t)1 << (to & 63);
    memmove((char *)c->data + size * to, (char *)c->data + size * from, size);
    if (gn_column_is_null(c, from))
        c->nulls[to >> 6] |= bit;
    else if (c->has_nulls)
        c->nulls[to >> 6] &= ~bit;
}

void gn_batch_keep(gn_batch *batch, gn_bytes *keys, const uint16_t *rows, uint32_t n)
{
    if (n == batch->n_rows)
        return;
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t c = 0; c < batch->n_columns; c++)
            move_item(&batch->columns[c], rows[i], i);
        if (keys)
            keys[i] = keys[rows[i]];
    }
    batch->n_rows = n;
}
