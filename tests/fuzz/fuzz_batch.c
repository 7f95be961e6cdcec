/* Batches of rows as another node might send them: an error, or a batch that is sound and comes back the same when it
 * is packed again. Input: a byte for the number of columns, two for each (type, array or not), then the packed batch.
 */
#include "base/assert.h"
#include "query/array.h"
#include "query/batch_pack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MOST_COLUMNS = 8 };

static void again(const gn_batch *batch, const gn_bytes *keys, const gn_type *types)
{
    gn_buf packed;
    gn_batch back = {.arena = gn_arena_create(NULL)};
    gn_buf_init(&packed, NULL, 1 << 24);
    uint32_t n = gn_batch_pack(batch, keys, 0, SIZE_MAX, &packed);
    GN_ASSERT(n == batch->n_rows);
    gn_code code = gn_batch_unpack(gn_buf_bytes(&packed), types, batch->n_columns, &back, NULL, NULL);
    GN_ASSERT(code == GN_OK && back.n_rows == n);
    for (uint32_t i = 0; i < back.n_columns; i++)
        for (uint32_t r = 0; r < n; r++) {
            gn_value a = gn_column_get(&batch->columns[i], r), b = gn_column_get(&back.columns[i], r), item;
            GN_ASSERT(a.is_null == b.is_null);
            if (!a.is_null && gn_type_physical(a.type) == GN_P_BYTES)
                GN_ASSERT(gn_bytes_eq(a.as.bytes, b.as.bytes));
            if (!a.is_null && a.type.is_array)
                for (gn_array_iter it = gn_array_open(&a); gn_array_next(&it, &item);)
                    ;
        }
    gn_buf_close(&packed);
    gn_arena_destroy(back.arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static gn_bytes keys[GN_BATCH_ROWS];
    gn_type types[MOST_COLUMNS];
    if (size < 1 + 2 * MOST_COLUMNS || size > 100000)
        return 0;
    uint32_t n = data[0] % (MOST_COLUMNS + 1);
    bool with_keys = data[0] & 128;
    for (uint32_t i = 0; i < MOST_COLUMNS; i++) {
        gn_type_id id = (gn_type_id)(1 + data[1 + 2 * i] % (GN_T_COUNT - 1));
        types[i] = data[2 + 2 * i] & 1 && id != GN_T_UNKNOWN ? gn_type_array_of(id) : gn_type_of(id);
    }
    gn_batch batch = {.arena = gn_arena_create(NULL)};
    gn_bytes packed = gn_bytes_of(data + 1 + 2 * MOST_COLUMNS, size - 1 - 2 * MOST_COLUMNS);
    if (gn_batch_unpack(packed, types, n, &batch, with_keys ? keys : NULL, NULL) == GN_OK)
        again(&batch, with_keys ? keys : NULL, types);
    gn_arena_destroy(batch.arena);
    return 0;
}
