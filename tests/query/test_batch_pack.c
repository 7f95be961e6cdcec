/* Batches as bytes: each type comes back as it was, and damaged bytes give an error or a sound batch. */
#include "query/array.h"
#include "query/batch_pack.h"
#include "query/row.h"
#include "values.h"

#include <stdlib.h>

/* A few values of each type, as text. */
typedef struct sample {
    gn_type_id id;
    bool is_array;
    const char *texts[5];
} sample;

static const sample samples[] = {
    {GN_T_BOOL, false, {"true", "false"}},
    {GN_T_BYTEA, false, {"\\x", "\\x00ff10", "\\x01"}},
    {GN_T_INT8, false, {"0", "-9223372036854775808", "9223372036854775807"}},
    {GN_T_INT2, false, {"-32768", "7", "32767"}},
    {GN_T_INT4, false, {"-2147483648", "0", "2147483647"}},
    {GN_T_TEXT, false, {"", "a", "gr\303\274n", "a rather longer text, so that lengths differ"}},
    {GN_T_JSON, false, {"{\"a\": [1, 2]}", "null"}},
    {GN_T_FLOAT4, false, {"1.5", "-0", "NaN", "Infinity"}},
    {GN_T_FLOAT8, false, {"1e-300", "-Infinity", "NaN"}},
    {GN_T_VARCHAR, false, {"x", "yy"}},
    {GN_T_DATE, false, {"2024-02-29", "infinity", "0001-01-01"}},
    {GN_T_TIMESTAMP, false, {"2024-02-29 12:34:56.789", "-infinity"}},
    {GN_T_TIMESTAMPTZ, false, {"2024-02-29 12:34:56+02", "infinity"}},
    {GN_T_INTERVAL, false, {"1 year 2 days 03:04:05.6", "-1 day"}},
    {GN_T_NUMERIC, false, {"0", "-123456789.000100", "1e200", "NaN"}},
    {GN_T_UUID, false, {"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"}},
    {GN_T_JSONB, false, {"{\"b\": 1, \"aa\": [true, null]}", "[]"}},
    {GN_T_VECTOR, false, {"[1,2,3]", "[0.5,-1,1e10]"}},
    {GN_T_HALFVEC, false, {"[1,2,3]", "[0.5,-1,65504]"}},
    {GN_T_SPARSEVEC, false, {"{1:1,3:-2.5}/7", "{}/3"}},
    {GN_T_BIT, false, {"1010101010", "1", ""}},
    {GN_T_INT4, true, {"{1,2,NULL}", "{}", "[0:1][2:2]={{5},{6}}"}},
    {GN_T_TEXT, true, {"{a,\"\",NULL,\"b c\"}", "{}"}},
    {GN_T_NUMERIC, true, {"{1.50,-2}", "{NULL}"}},
    {GN_T_VECTOR, true, {"{\"[1,2]\",\"[3,4]\"}"}},
    {GN_T_SPARSEVEC, true, {"{\"{1:1,2:2}/3\",NULL}"}},
    {GN_T_VARBIT, true, {"{101,\"\",1}"}},
};
enum { N_SAMPLES = sizeof samples / sizeof *samples };

static gn_type type_of(const sample *s)
{
    return s->is_array ? gn_type_array_of(s->id) : gn_type_of(s->id);
}

/* One column for each of samples[first .. first + n), rows drawn from their values; keys that differ in length. */
static void make_batch(rng *r, const sample *from, uint32_t n, uint32_t n_rows, bool nulls, gn_batch *batch,
                       gn_bytes *keys)
{
    gn_arena *arena = batch->arena;
    gn_type types[N_SAMPLES] = {{0}};
    for (uint32_t i = 0; i < n; i++)
        types[i] = type_of(&from[i]);
    assert_int_equal(gn_batch_init(batch, types, n, arena, NULL), GN_OK);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t n_texts = 0;
        while (n_texts < 5 && from[i].texts[n_texts])
            n_texts++;
        for (uint32_t row = 0; row < n_rows; row++) {
            gn_value v = nulls && draw_below(r, 3) == 0
                             ? gn_value_null(types[i])
                             : parsed(arena, types[i], from[i].texts[draw_below(r, n_texts)]);
            v.type = types[i];
            gn_column_set(&batch->columns[i], row, &v);
        }
    }
    for (uint32_t row = 0; row < n_rows; row++)
        keys[row] = gn_bytes_of(gn_arena_printf(arena, "%0*u", 1 + (int)draw_below(r, 20), row), 1);
    batch->n_rows = n_rows;
}

static void assert_same(const gn_batch *a, uint32_t from, const gn_batch *b)
{
    assert_int_equal(a->n_columns, b->n_columns);
    for (uint32_t i = 0; i < a->n_columns; i++)
        for (uint32_t r = 0; r < b->n_rows; r++) {
            gn_value x = gn_column_get(&a->columns[i], from + r), y = gn_column_get(&b->columns[i], r);
            assert_true(gn_type_same(x.type, y.type));
            assert_int_equal(x.is_null, y.is_null);
            if (x.is_null)
                continue;
            if (gn_type_physical(x.type) == GN_P_BYTES)
                assert_true(gn_bytes_eq(x.as.bytes, y.as.bytes));
            else
                assert_int_equal(gn_value_compare(&x, &y), 0);
        }
}

static void types_of(const gn_batch *batch, gn_type *types)
{
    for (uint32_t i = 0; i < batch->n_columns; i++)
        types[i] = batch->columns[i].type;
}

static void batches_come_back(void **state)
{
    (void)state;
    rng r = {.state = 3};
    gn_arena *arena = gn_arena_create(NULL), *other = gn_arena_create(NULL);
    static gn_bytes keys[GN_BATCH_ROWS], keys_back[GN_BATCH_ROWS];
    gn_buf out;
    gn_buf_init(&out, NULL, 1 << 26);
    static const uint32_t sizes[] = {0, 1, 7, 8, 9, 64, 1000, GN_BATCH_ROWS};
    for (int round = 0; round < 64; round++) {
        gn_batch batch = {.arena = arena}, back = {.arena = other};
        uint32_t first = (uint32_t)draw_below(&r, N_SAMPLES), n = (uint32_t)draw_below(&r, N_SAMPLES - first + 1);
        make_batch(&r, samples + first, n, sizes[round % 8], round % 3, &batch, keys);
        gn_type types[N_SAMPLES];
        types_of(&batch, types);
        bool with_keys = round % 2;
        size_t most = round % 5 == 0 ? 1 : round % 5 == 1 ? 1000 : SIZE_MAX;
        uint32_t at = 0;
        do { /* slices, as they are sent when rows are long */
            gn_buf_clear(&out);
            uint32_t sent = gn_batch_pack(&batch, with_keys ? keys : NULL, at, most, &out);
            assert_true(sent > 0 || batch.n_rows == 0);
            assert_int_equal(gn_batch_unpack(gn_buf_bytes(&out), types, n, &back, with_keys ? keys_back : NULL, NULL),
                             GN_OK);
            assert_int_equal(back.n_rows, sent);
            assert_same(&batch, at, &back);
            for (uint32_t i = 0; with_keys && i < sent; i++)
                assert_true(gn_bytes_eq(keys[at + i], keys_back[i]));
            at += sent;
        } while (at < batch.n_rows);
        gn_arena_reset(arena);
    }
    gn_buf_close(&out);
    gn_arena_destroy(arena);
    gn_arena_destroy(other);
}

static void equal_lengths_are_said_once(void **state)
{
    (void)state;
    gn_arena *arena = gn_arena_create(NULL);
    gn_batch batch;
    gn_type type = gn_type_of(GN_T_VECTOR);
    assert_int_equal(gn_batch_init(&batch, &type, 1, arena, NULL), GN_OK);
    gn_value v = parsed(arena, type, "[1,2,3]");
    for (uint32_t i = 0; i < 1000; i++)
        gn_column_set(&batch.columns[0], i, &v);
    batch.n_rows = 1000;
    gn_buf out;
    gn_buf_init(&out, NULL, 1 << 20);
    assert_int_equal(gn_batch_pack(&batch, NULL, 0, SIZE_MAX, &out), 1000);
    assert_int_equal(out.len, 6 + 2 + 1 + 12000);
    gn_buf_close(&out);
    gn_arena_destroy(arena);
}

/* Uses what a reader of the batch would. */
static void use(const gn_batch *batch, gn_arena *arena)
{
    gn_buf text;
    gn_buf_init(&text, NULL, 1 << 20);
    for (uint32_t i = 0; i < batch->n_columns; i++)
        for (uint32_t r = 0; r < batch->n_rows; r++) {
            gn_value v = gn_column_get(&batch->columns[i], r), item;
            if (v.is_null)
                continue;
            if (v.type.is_array)
                for (gn_array_iter it = gn_array_open(&v); gn_array_next(&it, &item);)
                    ;
            gn_buf_clear(&text);
            if (v.type.id == GN_T_NUMERIC || v.type.id == GN_T_VECTOR || v.type.id == GN_T_BOOL)
                gn_value_print(&v, &default_format, &text);
        }
    gn_buf_close(&text);
    (void)arena;
}

static void damage_is_found_or_harmless(void **state)
{
    (void)state;
    rng r = {.state = 5};
    gn_arena *arena = gn_arena_create(NULL), *other = gn_arena_create(NULL);
    static gn_bytes keys[GN_BATCH_ROWS], keys_back[GN_BATCH_ROWS];
    gn_buf out;
    gn_type types[N_SAMPLES];
    gn_batch batch = {.arena = arena}, back = {.arena = other};
    gn_buf_init(&out, NULL, 1 << 20);
    make_batch(&r, samples, N_SAMPLES, 9, true, &batch, keys);
    types_of(&batch, types);
    assert_int_equal(gn_batch_pack(&batch, keys, 0, SIZE_MAX, &out), 9);
    for (size_t len = 0; len <= out.len + 1; len++) { /* each in memory of its own, so that a read past it shows */
        uint8_t *copy = calloc(1, len + 1);
        memcpy(copy, out.data, len < out.len ? len : out.len);
        copy = realloc(copy, len ? len : 1);
        gn_error err = {0};
        gn_code code = gn_batch_unpack(gn_bytes_of(copy, len), types, N_SAMPLES, &back, keys_back, &err);
        assert_int_equal(code, len == out.len ? GN_OK : GN_CORRUPT);
        free(copy);
    }
    for (int i = 0; i < 20000; i++) {
        uint8_t *copy = malloc(out.len);
        memcpy(copy, out.data, out.len);
        for (uint64_t flips = 1 + draw_below(&r, 3); flips--;)
            copy[draw_below(&r, draw_below(&r, 2) ? out.len : 60)] = (uint8_t)draw(&r);
        gn_code code = gn_batch_unpack(gn_bytes_of(copy, out.len), types, N_SAMPLES, &back, keys_back, NULL);
        assert_true(code == GN_OK || code == GN_CORRUPT);
        if (code == GN_OK)
            use(&back, other);
        free(copy);
    }
    gn_buf_close(&out);
    gn_arena_destroy(arena);
    gn_arena_destroy(other);
}

static void another_shape_is_refused(void **state)
{
    (void)state;
    rng r = {.state = 8};
    gn_arena *arena = gn_arena_create(NULL), *other = gn_arena_create(NULL);
    static gn_bytes keys[GN_BATCH_ROWS];
    gn_batch batch = {.arena = arena}, back = {.arena = other};
    gn_buf out;
    gn_type types[N_SAMPLES];
    gn_buf_init(&out, NULL, 1 << 20);
    make_batch(&r, samples, 3, 5, true, &batch, keys);
    types_of(&batch, types);
    gn_batch_pack(&batch, NULL, 0, SIZE_MAX, &out);
    gn_bytes packed = gn_buf_bytes(&out);
    assert_int_equal(gn_batch_unpack(packed, types, 3, &back, keys, NULL), GN_CORRUPT); /* no keys were sent */
    assert_int_equal(gn_batch_unpack(packed, types, 2, &back, NULL, NULL), GN_CORRUPT);
    types[1] = gn_type_of(GN_T_TEXT);
    assert_int_equal(gn_batch_unpack(packed, types, 3, &back, NULL, NULL), GN_CORRUPT);
    types[1] = gn_type_array_of(samples[1].id);
    assert_int_equal(gn_batch_unpack(packed, types, 3, &back, NULL, NULL), GN_CORRUPT);
    gn_buf_close(&out);
    gn_arena_destroy(arena);
    gn_arena_destroy(other);
}

static void memory_is_bounded(void **state)
{
    (void)state;
    rng r = {.state = 8};
    gn_account account;
    gn_account_init(&account, NULL, "test", 100000);
    gn_arena *arena = gn_arena_create(NULL), *other = gn_arena_create(&account);
    static gn_bytes keys[GN_BATCH_ROWS];
    gn_batch batch = {.arena = arena}, back = {.arena = other};
    gn_buf out;
    gn_type types[N_SAMPLES];
    gn_error err = {0};
    gn_buf_init(&out, NULL, 1 << 24);
    make_batch(&r, samples, N_SAMPLES, GN_BATCH_ROWS, true, &batch, keys);
    types_of(&batch, types);
    gn_batch_pack(&batch, NULL, 0, SIZE_MAX, &out);
    assert_int_equal(gn_batch_unpack(gn_buf_bytes(&out), types, N_SAMPLES, &back, NULL, &err), GN_OUT_OF_MEMORY);
    gn_buf small;
    gn_buf_init(&small, NULL, 100);
    assert_int_equal(gn_batch_pack(&batch, NULL, 0, SIZE_MAX, &small), 0);
    assert_true(small.failed);
    gn_buf_close(&small);
    gn_buf_close(&out);
    gn_arena_destroy(arena);
    gn_arena_destroy(other);
    gn_account_close(&account);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batches_come_back),           cmocka_unit_test(equal_lengths_are_said_once),
        cmocka_unit_test(damage_is_found_or_harmless), cmocka_unit_test(another_shape_is_refused),
        cmocka_unit_test(memory_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
