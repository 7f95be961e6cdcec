/* Rows, keys and descriptors: round trips, order, and what damaged bytes do. */
#include "query/computed.h"
#include "query/row.h"
#include "values.h"

#include <math.h>
#include <stdlib.h>

static gn_table_desc *make_desc(gn_arena *arena, const gn_type *types, uint32_t n)
{
    gn_table_desc *d = gn_arena_calloc(arena, 1, sizeof(*d));
    d->id = GN_FIRST_USER_ID;
    d->version = 7;
    strcpy(d->name, "items");
    strcpy(d->key_name, "items_pkey");
    d->n_columns = n;
    d->next_column_id = n + 1;
    d->columns = gn_arena_calloc(arena, n, sizeof(gn_column_desc));
    for (uint32_t i = 0; i < n; i++) {
        d->columns[i].id = i + 1;
        d->columns[i].type = types[i];
        snprintf(d->columns[i].name, 64, "c%u", i);
    }
    d->n_key = 1;
    d->key[0] = 1;
    return d;
}

static const gn_type_id scalar_types[] = {GN_T_BOOL,   GN_T_INT2, GN_T_INT4,  GN_T_INT8,  GN_T_FLOAT4,
                                          GN_T_FLOAT8, GN_T_TEXT, GN_T_BYTEA, GN_T_VECTOR};
enum { N_SCALARS = sizeof(scalar_types) / sizeof(scalar_types[0]) };

/* Values near each other and at the edges: keys must tell neighbours apart. */
static gn_value random_value(rng *r, gn_type_id id, gn_arena *arena)
{
    gn_value v = {.type = gn_type_of(id)};
    uint64_t x = draw(r);
    uint64_t shift = draw_below(r, 64);
    int64_t i = (int64_t)(x) >> shift;
    switch (id) {
    case GN_T_BOOL:
        v.as.boolean = x & 1;
        break;
    case GN_T_INT2:
        v.as.i16 = (int16_t)i;
        break;
    case GN_T_INT4:
        v.as.i32 = (int32_t)i;
        break;
    case GN_T_INT8:
        v.as.i64 = i;
        break;
    case GN_T_FLOAT4: {
        static const float edges[] = {0.0f, -0.0f, INFINITY, -INFINITY, NAN, 1e-45f, -1e-45f};
        v.as.f32 = shift < 7 ? edges[shift] : (float)i / 1000;
        break;
    }
    case GN_T_FLOAT8: {
        static const double edges[] = {0.0, -0.0, INFINITY, -INFINITY, NAN, 5e-324, -5e-324};
        v.as.f64 = shift < 7 ? edges[shift] : (double)i / 1000;
        break;
    }
    default: {
        size_t len = draw_below(r, 6);
        uint8_t *data = gn_arena_alloc(arena, len + 4);
        for (size_t j = 0; j < len; j++)
            data[j] =
                id == GN_T_BYTEA ? (uint8_t[]){0, 1, 255, 254}[draw_below(r, 4)] : (uint8_t)('a' + draw_below(r, 3));
        if (id == GN_T_VECTOR) {
            float f = (float)(i % 100);
            memcpy(data, &f, 4);
            len = 4;
        }
        v.as.bytes = gn_bytes_of(data, len);
    }
    }
    return v;
}

static int sign(int v)
{
    return (v > 0) - (v < 0);
}

static void key_order_is_value_order(void **state)
{
    (void)state;
    gn_arena *arena = gn_arena_create(NULL);
    rng r = {.state = 7};
    gn_buf a, b;
    gn_buf_init(&a, NULL, 100000);
    gn_buf_init(&b, NULL, 100000);
    for (int i = 0; i < 200000; i++) {
        gn_type_id id = scalar_types[draw_below(&r, N_SCALARS - 1)];
        gn_value x = random_value(&r, id, arena), y = random_value(&r, id, arena);
        x.is_null = draw_below(&r, 20) == 0;
        y.is_null = draw_below(&r, 20) == 0;
        bool descending = draw(&r) & 1, nulls_first = draw(&r) & 1;
        int expected = x.is_null || y.is_null ? (nulls_first ? -1 : 1) * ((int)x.is_null - (int)y.is_null)
                                              : (descending ? -1 : 1) * gn_value_compare(&x, &y);
        gn_buf_clear(&a);
        gn_buf_clear(&b);
        assert_int_equal(gn_key_append(&a, &x, descending, nulls_first, NULL), GN_OK);
        assert_int_equal(gn_key_append(&b, &y, descending, nulls_first, NULL), GN_OK);
        /* what follows must not matter */
        size_t a_len = a.len;
        gn_buf_append_be64(&a, draw(&r));
        if (expected)
            gn_buf_append_be64(&b, draw(&r));
        else
            gn_buf_append(&b, a.data + a_len, 8);
        assert_int_equal(sign(gn_bytes_cmp(gn_buf_bytes(&a), gn_buf_bytes(&b))), sign(expected));
        gn_bytes rest = gn_buf_bytes(&a), skipped = rest;
        gn_value back;
        assert_int_equal(gn_key_read(&rest, x.type, descending, nulls_first, arena, &back, NULL), GN_OK);
        assert_int_equal(rest.len, 8);
        assert_int_equal(back.is_null, x.is_null);
        assert_true(x.is_null || gn_value_compare(&x, &back) == 0);
        assert_int_equal(gn_key_skip(&skipped, x.type, descending, NULL), GN_OK);
        assert_int_equal(skipped.len, 8);
        if (i % 1000 == 0)
            gn_arena_reset(arena);
    }
    gn_buf_close(&a);
    gn_buf_close(&b);
    gn_arena_destroy(arena);
}

static void damaged_keys_are_reported(void **state)
{
    (void)state;
    gn_arena *arena = gn_arena_create(NULL);
    rng r = {.state = 11};
    gn_buf a;
    gn_buf_init(&a, NULL, 1000);
    for (int i = 0; i < 20000; i++) {
        gn_type_id id = scalar_types[draw_below(&r, N_SCALARS - 1)];
        gn_value x = random_value(&r, id, arena), back;
        gn_buf_clear(&a);
        gn_key_append(&a, &x, false, false, NULL);
        gn_bytes cut = gn_bytes_of(a.data, draw_below(&r, a.len)), skip = cut;
        assert_int_equal(gn_key_read(&cut, x.type, false, false, arena, &back, NULL), GN_CORRUPT);
        assert_int_equal(gn_key_skip(&skip, x.type, false, NULL), GN_CORRUPT);
    }
    gn_buf_close(&a);
    gn_arena_destroy(arena);
}

static void long_and_unordered_values_are_no_keys(void **state)
{
    (void)state;
    gn_arena *arena = gn_arena_create(NULL);
    gn_buf a;
    gn_buf_init(&a, NULL, 100000);
    gn_error err = {0};
    gn_value v = parsed(arena, gn_type_of(GN_T_VECTOR), "[1]");
    assert_int_equal(gn_key_append(&a, &v, false, false, &err), GN_WRONG_OBJECT_TYPE);
    v = (gn_value){.type = gn_type_of(GN_T_BYTEA), .as.bytes = gn_bytes_of(gn_arena_calloc(arena, 1, 8000), 8000)};
    assert_int_equal(gn_key_append(&a, &v, false, false, &err), GN_LIMIT); /* every zero takes two bytes */
    assert_int_equal(a.len, 0);
    gn_buf_close(&a);
    gn_arena_destroy(arena);
}

static void rows_round_trip(void **state)
{
    (void)state;
    enum { COLUMNS = 40 };
    gn_arena *arena = gn_arena_create(NULL);
    rng r = {.state = 99};
    gn_buf row;
    gn_buf_init(&row, NULL, 1 << 20);
    for (int round = 0; round < 2000; round++) {
        gn_type types[COLUMNS];
        gn_value values[COLUMNS], back[COLUMNS];
        for (int i = 0; i < COLUMNS; i++)
            types[i] = gn_type_of(scalar_types[draw_below(&r, N_SCALARS)]);
        gn_table_desc *d = make_desc(arena, types, COLUMNS);
        uint32_t id = 0;
        for (int i = 0; i < COLUMNS; i++) {
            id += 1 + (draw_below(&r, 10) ? 0 : (uint32_t)draw_below(&r, 100000));
            d->columns[i].id = id;
            d->columns[i].dropped = draw_below(&r, 10) == 0;
            values[i] = random_value(&r, (gn_type_id)types[i].id, arena);
            values[i].is_null = draw_below(&r, 4) == 0;
        }
        d->next_column_id = id + 1;
        gn_buf_clear(&row);
        assert_int_equal(gn_row_encode(d, values, &row, NULL), GN_OK);
        uint32_t wanted[COLUMNS], n = 0;
        for (uint32_t i = 0; i < COLUMNS; i++)
            if (draw(&r) & 1 && !d->columns[i].dropped)
                wanted[n++] = i;
        assert_int_equal(gn_row_decode(d, gn_buf_bytes(&row), wanted, n, back, arena, NULL), GN_OK);
        for (uint32_t i = 0; i < n; i++) {
            const gn_value *v = &values[wanted[i]];
            assert_int_equal(back[i].is_null, v->is_null);
            assert_true(v->is_null || gn_value_compare(v, &back[i]) == 0);
        }
        /* cut or flipped bytes give an answer or an error, never a read outside */
        uint8_t *copy = malloc(row.len);
        memcpy(copy, row.data, row.len);
        copy[draw_below(&r, row.len)] ^= (uint8_t)(1 << draw_below(&r, 8));
        gn_row_decode(d, gn_bytes_of(copy, row.len - draw_below(&r, row.len)), wanted, n, back, arena, NULL);
        free(copy);
        gn_arena_reset(arena);
    }
    gn_buf_close(&row);
    gn_arena_destroy(arena);
}

static void columns_added_later_have_their_missing_value(void **state)
{
    (void)state;
    gn_arena *arena = gn_arena_create(NULL);
    const gn_type types[] = {gn_type_of(GN_T_INT4), gn_type_of(GN_T_TEXT), gn_type_of(GN_T_INT4)};
    gn_table_desc *old = make_desc(arena, types, 2), *new = make_desc(arena, types, 3);
    new->columns[2].missing_text = "42";
    gn_value values[3] = {parsed(arena, types[0], "1"), gn_value_null(types[1]), gn_value_null(types[2])}, back[3];
    gn_buf row;
    gn_buf_init(&row, NULL, 1000);
    const uint32_t all[] = {0, 1, 2};
    assert_int_equal(gn_row_encode(old, values, &row, NULL), GN_OK);
    assert_int_equal(gn_row_decode(new, gn_buf_bytes(&row), all, 3, back, arena, NULL), GN_OK);
    assert_true(back[1].is_null);
    assert_int_equal(back[2].as.i32, 42);
    /* written as NULL after the column was there: NULL */
    gn_buf_clear(&row);
    assert_int_equal(gn_row_encode(new, values, &row, NULL), GN_OK);
    assert_int_equal(gn_row_decode(new, gn_buf_bytes(&row), all, 3, back, arena, NULL), GN_OK);
    assert_true(back[2].is_null);
    gn_buf_close(&row);
    gn_arena_destroy(arena);
}

/* 100 / c0, with c0 > 5 as the condition of an index over it. */
static void add_computed(gn_table_desc *d, gn_arena *arena, gn_buf packed[2])
{
    static const char *const operators[] = {"/", ">"};
    for (uint32_t i = 0; i < 2; i++) {
        gn_type types[2] = {gn_type_of(GN_T_INT8), gn_type_of(GN_T_INT8)}, wanted[2];
        gn_expr *column = gn_arena_calloc(arena, 1, sizeof *column), *value = gn_arena_calloc(arena, 1, sizeof *value);
        gn_expr **args = gn_arena_calloc(arena, 2, sizeof *args), e = {.kind = GN_E_CALL, .n_args = 2, .args = args};
        *column = (gn_expr){.kind = GN_E_COLUMN, .type = types[0]};
        *value = (gn_expr){.kind = GN_E_CONST, .type = types[0], .value = {.type = types[0], .as.i64 = i ? 5 : 100}};
        args[0] = i ? column : value;
        args[1] = i ? value : column;
        assert_int_equal(
            gn_function_resolve(gn_bytes_str(operators[i]), true, types, 2, &e.function, wanted, &e.type, NULL), GN_OK);
        gn_buf_init(&packed[i], NULL, 1000);
        assert_true(gn_computed_pack(&e, &packed[i]));
        d->columns[d->n_columns - 2 + i].type = e.type;
        d->columns[d->n_columns - 2 + i].packed = gn_buf_bytes(&packed[i]);
    }
    d->indexes = gn_arena_calloc(arena, 1, sizeof(gn_index_desc));
    d->indexes[d->n_indexes++] = (gn_index_desc){
        .id = 6, .kind = GN_INDEX_BTREE, .n_columns = 1, .columns = {d->n_columns - 1}, .predicate = d->n_columns};
}

static void survive_damage(gn_buf *bytes)
{
    const gn_table_desc *back;
    for (size_t i = 0; i < bytes->len; i++) {
        assert_int_equal(gn_table_desc_decode(gn_bytes_of(bytes->data, i), &back, NULL), GN_CORRUPT);
        for (int bit = 0; bit < 8; bit++) {
            bytes->data[i] ^= (uint8_t)(1 << bit);
            if (gn_table_desc_decode(gn_buf_bytes(bytes), &back, NULL) == GN_OK)
                gn_table_desc_release(back);
            bytes->data[i] ^= (uint8_t)(1 << bit);
        }
    }
}

static void computed_columns_follow_from_the_row(void **state)
{
    (void)state;
    gn_arena *arena = gn_arena_create(NULL);
    const gn_type types[] = {gn_type_of(GN_T_INT8), gn_type_of(GN_T_TEXT), gn_type_of(GN_T_NONE),
                             gn_type_of(GN_T_NONE)};
    const uint32_t all[] = {0, 1, 2, 3};
    gn_table_desc *d = make_desc(arena, types, 4);
    const gn_table_desc *back;
    gn_buf packed[2], bytes, row;
    gn_error err = {0};
    add_computed(d, arena, packed);
    gn_buf_init(&bytes, NULL, 100000);
    gn_buf_init(&row, NULL, 100000);
    assert_true(gn_table_desc_encode(d, &bytes));
    assert_int_equal(gn_table_desc_decode(gn_buf_bytes(&bytes), &back, &err), GN_OK);
    assert_int_equal(back->indexes[0].predicate, 4);
    assert_int_equal(gn_table_column_by_name(back, gn_bytes_str("c2")), -1); /* SQL does not see it */
    assert_true(gn_computed_uses(back->columns[2].computed, 0) && !gn_computed_uses(back->columns[2].computed, 1));
    for (int64_t i = 0; i < 9; i++) {
        gn_value values[4] = {{.type = types[0], .as.i64 = i}, {.type = types[1], .as.bytes = gn_bytes_str("x")}};
        gn_buf_clear(&row);
        assert_int_equal(gn_row_encode(back, values, &row, &err), GN_OK);
        assert_int_equal(gn_row_decode(back, gn_buf_bytes(&row), all, 4, values, arena, &err), GN_OK);
        assert_true(values[2].is_null == (i == 0) && (i == 0 || values[2].as.i64 == 100 / i));
        assert_int_equal(values[3].as.boolean, i > 5);
        assert_int_equal(gn_index_takes(back, &back->indexes[0], values), i > 5);
        /* where the index has the row, or has none that is partial, what fails is told */
        values[3].as.boolean = false;
        assert_int_equal(gn_index_compute(back, &back->indexes[0], values, arena, &err), GN_OK);
        gn_index_desc whole = back->indexes[0];
        whole.predicate = 0;
        assert_int_equal(gn_index_compute(back, &whole, values, arena, &err), i ? GN_OK : GN_DIVISION_BY_ZERO);
    }
    gn_table_desc_release(back);
    survive_damage(&bytes);
    d->columns[2].type = gn_type_of(GN_T_INT4); /* not what the expression gives */
    gn_buf_clear(&bytes);
    assert_true(gn_table_desc_encode(d, &bytes));
    assert_int_equal(gn_table_desc_decode(gn_buf_bytes(&bytes), &back, &err), GN_CORRUPT);
    gn_buf_close(&packed[0]);
    gn_buf_close(&packed[1]);
    gn_buf_close(&bytes);
    gn_buf_close(&row);
    gn_arena_destroy(arena);
}

static void descriptors_round_trip(void **state)
{
    (void)state;
    gn_arena *arena = gn_arena_create(NULL);
    const gn_type types[] = {gn_type_of(GN_T_INT8), with_typmod(GN_T_VECTOR, 384), gn_type_array_of(GN_T_TEXT)};
    gn_table_desc *d = make_desc(arena, types, 3);
    d->columns[0].not_null = d->columns[0].identity = true;
    d->columns[0].sequence_id = UINT64_MAX;
    d->columns[2].default_sql = "'{}'";
    d->columns[2].dropped = true;
    d->data_epoch = 3;
    d->n_indexes = 1;
    d->indexes = gn_arena_calloc(arena, 1, sizeof(gn_index_desc));
    d->indexes[0] = (gn_index_desc){.id = 5,
                                    .name = "x",
                                    .kind = GN_INDEX_HNSW,
                                    .n_columns = 1,
                                    .columns = {2},
                                    .nulls_first = {true},
                                    .metric = 3,
                                    .m = 16,
                                    .ef_construction = 64,
                                    .rerank = 50,
                                    .ef_search = 70};
    d->n_checks = 1;
    d->checks = gn_arena_calloc(arena, 1, sizeof(gn_check_desc));
    strcpy(d->checks[0].name, "positive");
    d->checks[0].sql = "c0 > 0";
    gn_buf bytes, again;
    gn_buf_init(&bytes, NULL, 100000);
    gn_buf_init(&again, NULL, 100000);
    assert_true(gn_table_desc_encode(d, &bytes));
    const gn_table_desc *back, *held;
    gn_error err = {0};
    assert_int_equal(gn_table_desc_decode(gn_buf_bytes(&bytes), &back, &err), GN_OK);
    assert_true(gn_table_desc_encode(back, &again));
    assert_true(gn_bytes_eq(gn_buf_bytes(&bytes), gn_buf_bytes(&again)));
    held = gn_table_desc_retain(back);
    gn_table_desc_release(back);
    assert_string_equal(held->columns[2].default_sql, "'{}'");
    assert_null(held->columns[2].missing_text);
    assert_int_equal(held->columns[1].type.typmod, 384);
    assert_true(held->columns[2].type.is_array && held->indexes[0].nulls_first[0]);
    assert_int_equal(held->indexes[0].rerank, 50);
    assert_int_equal(held->indexes[0].ef_search, 70);
    assert_int_equal(gn_table_column_by_id(held, 2), 1);
    assert_int_equal(gn_table_column_by_id(held, 9), -1);
    assert_int_equal(gn_table_column_by_name(held, gn_bytes_str("c1")), 1);
    assert_int_equal(gn_table_column_by_name(held, gn_bytes_str("c2")), -1); /* dropped */
    gn_table_desc_release(held);
    /* every cut is refused, every flipped bit is survived */
    survive_damage(&bytes);
    gn_buf_close(&bytes);
    gn_buf_close(&again);
    gn_arena_destroy(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(key_order_is_value_order),
        cmocka_unit_test(damaged_keys_are_reported),
        cmocka_unit_test(long_and_unordered_values_are_no_keys),
        cmocka_unit_test(rows_round_trip),
        cmocka_unit_test(columns_added_later_have_their_missing_value),
        cmocka_unit_test(descriptors_round_trip),
        cmocka_unit_test(computed_columns_follow_from_the_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
