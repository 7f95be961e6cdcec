/* Arrays: their bytes, text, wire form, order, keys and casts. */
#include "base/limits.h"
#include "query/array.h"
#include "query/row.h"
#include "tests/query/values.h"

static gn_arena *arena;
static gn_error err;

static int setup(void **state)
{
    (void)state;
    arena = gn_arena_create(NULL);
    err = (gn_error){.code = GN_OK};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    gn_arena_destroy(arena);
    return 0;
}

static gn_value parse(const char *text, gn_type_id element)
{
    return parsed(arena, gn_type_array_of(element), text);
}

static const char *print(const gn_value *v)
{
    return printed(arena, v, NULL);
}

static void expect_print(const char *text, gn_type_id element, const char *expected)
{
    gn_value v = parse(text, element);
    assert_string_equal(print(&v), expected);
    assert_true(gn_array_is_valid(v.as.bytes, gn_type_of(element)));
}

/* ---- bytes ---- */

static void bytes_are_compact_and_canonical(void **state)
{
    (void)state;
    gn_value v = parse("{1,2,3}", GN_T_INT4), w = parse("[1:3]={ 1,\"2\", 3 }", GN_T_INT4);
    assert_int_equal(v.as.bytes.len, 2 + 12);
    assert_true(gn_bytes_eq(v.as.bytes, w.as.bytes));
    assert_int_equal(parse("{}", GN_T_TEXT).as.bytes.len, 1);
    assert_int_equal(parse("{a,NULL,bc}", GN_T_TEXT).as.bytes.len, 2 + 1 + 2 + 3);
}

static void items_are_found_by_subscript(void **state)
{
    (void)state;
    gn_value v = parse("[0:1][5:7]={{1,2,3},{4,NULL,6}}", GN_T_INT8), item;
    assert_true(gn_array_at(&v, (int32_t[]){1, 7}, 2, &item) && item.as.i64 == 6);
    assert_true(gn_array_at(&v, (int32_t[]){1, 6}, 2, &item) && item.is_null);
    assert_true(gn_array_at(&v, (int32_t[]){0, 5}, 2, &item) && item.as.i64 == 1);
    assert_false(gn_array_at(&v, (int32_t[]){1, 8}, 2, &item));
    assert_false(gn_array_at(&v, (int32_t[]){-1, 5}, 2, &item));
    assert_false(gn_array_at(&v, (int32_t[]){0}, 1, &item));
    gn_value t = parse("{aa,NULL,b,\"\"}", GN_T_TEXT);
    assert_true(gn_array_at(&t, (int32_t[]){3}, 1, &item) && gn_bytes_eq(item.as.bytes, gn_bytes_str("b")));
    assert_true(gn_array_at(&t, (int32_t[]){4}, 1, &item) && item.as.bytes.len == 0);
}

static void slices_are_numbered_from_one(void **state)
{
    (void)state;
    gn_value v = parse("[0:2][1:3]={{1,2,3},{4,5,6},{7,8,9}}", GN_T_INT2), out;
    assert_int_equal(gn_array_slice(&v, (int32_t[]){1, 2}, (int32_t[]){9, 3}, 2, arena, &out, &err), GN_OK);
    assert_string_equal(print(&out), "{{5,6},{8,9}}");
    assert_int_equal(gn_array_slice(&v, (int32_t[]){INT32_MIN}, (int32_t[]){0}, 1, arena, &out, &err), GN_OK);
    assert_string_equal(print(&out), "{{1,2,3}}");
    assert_int_equal(gn_array_slice(&v, (int32_t[]){INT32_MAX}, (int32_t[]){INT32_MAX}, 1, arena, &out, &err), GN_OK);
    assert_string_equal(print(&out), "{}");
}

static void every_type_comes_back_from_text_and_wire(void **state)
{
    (void)state;
    static const struct {
        gn_type_id element;
        const char *text;
    } cases[] = {{GN_T_BOOL, "{t,NULL,f}"},
                 {GN_T_INT2, "{-32768,32767}"},
                 {GN_T_INT4, "[-1:0]={1,NULL}"},
                 {GN_T_INT8, "{{{1},{2}},{{3},{4}}}"},
                 {GN_T_FLOAT4, "{0.1,NaN}"},
                 {GN_T_FLOAT8, "{0.1,-Infinity,1e+300}"},
                 {GN_T_NUMERIC, "{1.50,NaN,NULL,-123456789012345678901234567890.5}"},
                 {GN_T_TEXT, "{\"a b\",NULL,\"NULL\",\"\",\"q\\\"\\\\\",\"{}\",\"x,y\",\xc3\xa9}"},
                 {GN_T_VARCHAR, "{a}"},
                 {GN_T_BYTEA, "{\"\\\\x00ff\",\"\\\\x\"}"},
                 {GN_T_DATE, "{2024-02-29,infinity,\"0044-03-15 BC\"}"},
                 {GN_T_TIMESTAMP, "{\"2024-02-29 01:02:03.4\"}"},
                 {GN_T_TIMESTAMPTZ, "{\"2024-02-29 01:02:03+00\",-infinity}"},
                 {GN_T_INTERVAL, "{\"1 mon 2 days 03:00:00\"}"},
                 {GN_T_UUID, "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}"},
                 {GN_T_JSON, "{\"{\\\"a\\\":1}\"}"},
                 {GN_T_JSONB, "{\"{\\\"a\\\": 1}\",\"[1, 2]\"}"},
                 {GN_T_VECTOR, "{\"[1,2]\",[0.5]}"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        expect_print(cases[i].text, cases[i].element, cases[i].text);
        gn_value v = parse(cases[i].text, cases[i].element), back;
        gn_buf wire;
        gn_buf_init(&wire, NULL, GN_MAX_FIELD);
        assert_true(gn_value_send(&v, &wire));
        assert_int_equal(gn_value_recv(gn_buf_bytes(&wire), v.type, arena, &back, &err), GN_OK);
        assert_true(gn_bytes_eq(v.as.bytes, back.as.bytes));
        assert_int_equal(gn_value_hash(&v), gn_value_hash(&back));
        for (size_t cut = 0; cut < wire.len; cut++) /* cut short it is an error, wherever */
            assert_int_not_equal(gn_value_recv(gn_bytes_of(wire.data, cut), v.type, arena, &back, &err), GN_OK);
        gn_buf_close(&wire);
    }
}

static gn_code receive(const uint32_t *words, size_t n)
{
    gn_buf wire;
    gn_value v;
    gn_buf_init(&wire, NULL, 1000);
    for (size_t i = 0; i < n; i++)
        gn_buf_append_be32(&wire, words[i]);
    err = (gn_error){.code = GN_OK};
    gn_code code = gn_value_recv(gn_buf_bytes(&wire), gn_type_array_of(GN_T_INT4), arena, &v, &err);
    gn_buf_close(&wire);
    return code;
}

static void hostile_wire_forms_are_refused(void **state)
{
    (void)state;
    assert_int_equal(receive((uint32_t[]){1, 0, 23, 1, 1, 4, 7}, 7), GN_OK);
    assert_int_equal(receive((uint32_t[]){0, 0, 23}, 3), GN_OK);
    assert_int_equal(receive((uint32_t[]){UINT32_MAX, 0, 23}, 3), GN_BAD_BINARY);
    assert_string_equal(err.message, "invalid number of dimensions: -1");
    assert_int_equal(receive((uint32_t[]){7, 0, 23}, 3), GN_LIMIT);
    assert_int_equal(receive((uint32_t[]){1, 2, 23, 1, 1, 4, 7}, 7), GN_BAD_BINARY);
    assert_int_equal(receive((uint32_t[]){1, 0, 25, 1, 1, 4, 7}, 7), GN_TYPE_MISMATCH);
    assert_string_equal(err.message, "binary data has array element type 25 (text) instead of expected 23 (integer)");
    assert_int_equal(receive((uint32_t[]){1, 0, 23, 1u << 30, 1}, 5), GN_LIMIT);
    assert_int_equal(receive((uint32_t[]){1, 0, 23, 1u << 20, 1}, 5), GN_PROTOCOL);
    assert_int_equal(receive((uint32_t[]){2, 0, 23, 65536, 1, 65536, 1}, 7), GN_LIMIT);
    assert_int_equal(receive((uint32_t[]){1, 0, 23, UINT32_MAX, 1}, 5), GN_LIMIT);
    assert_int_equal(receive((uint32_t[]){1, 0, 23, 1, INT32_MAX, 4, 7}, 7), GN_LIMIT);
    assert_string_equal(err.message, "array lower bound is too large: 2147483647");
    assert_int_equal(receive((uint32_t[]){1, 0, 23, 1, 1, 8, 7}, 7), GN_PROTOCOL);
    assert_int_equal(receive((uint32_t[]){1, 0, 23, 1, 1, 2, 7}, 7), GN_BAD_BINARY);
    assert_int_equal(receive((uint32_t[]){1, 0, 23, 1, 1, 0xfffffffeu, 7}, 7), GN_PROTOCOL);
    assert_int_equal(receive((uint32_t[]){1, 0, 23, 1, 1, 4, 7, 9}, 8), GN_BAD_BINARY);
}

static void damaged_bytes_are_not_valid(void **state)
{
    (void)state;
    static const gn_type_id elements[] = {GN_T_INT4, GN_T_TEXT, GN_T_NUMERIC, GN_T_VECTOR, GN_T_UUID};
    static const char *const texts[] = {"{1,NULL,3}", "{abc,NULL,\"\"}", "{1.5,NULL}", "{\"[1,2]\",NULL}",
                                        "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}"};
    for (size_t i = 0; i < 5; i++) {
        gn_value v = parse(texts[i], elements[i]);
        for (size_t cut = 0; cut < v.as.bytes.len; cut++)
            assert_false(gn_array_is_valid(gn_bytes_of(v.as.bytes.data, cut), gn_type_of(elements[i])));
        uint8_t *copy = gn_arena_memdup(arena, v.as.bytes.data, v.as.bytes.len);
        for (size_t at = 0; at < v.as.bytes.len; at++)
            for (int bit = 0; bit < 8; bit++) { /* what is still valid must be walked over without harm */
                copy[at] ^= (uint8_t)(1 << bit);
                gn_value damaged = {.type = v.type, .as.bytes = gn_bytes_of(copy, v.as.bytes.len)}, item;
                if (gn_array_is_valid(damaged.as.bytes, gn_type_of(elements[i])))
                    for (gn_array_iter it = gn_array_open(&damaged); gn_array_next(&it, &item);)
                        assert_true(item.is_null || elements[i] == GN_T_INT4 || item.as.bytes.len <= 64);
                copy[at] ^= (uint8_t)(1 << bit);
            }
    }
}

/* ---- order ---- */

static void keys_order_as_values_do(void **state)
{
    (void)state;
    static const char *const ints[] = {"{}",        "{-5}",    "{1}",     "{1,2}",         "[0:1]={1,2}",
                                       "{{1},{2}}", "{{1,2}}", "{1,2,3}", "{{1,2},{3,4}}", "{{1,2,3,4}}",
                                       "{1,NULL}",  "{1,3}",   "{2}",     "{NULL}",        "{NULL,1}"};
    static const char *const texts[] = {"{}",       "{\"\"}", "{\"\",a}", "{a}",   "{a,\"\"}",
                                        "{a,NULL}", "{ab}",   "{b}",      "{NULL}"};
    static const char *const numbers[] = {"{}", "{-1.5}", "{1}", "{1.0,2}", "{1.00,3}", "{10}", "{NaN}", "{NULL}"};
    const struct {
        gn_type_id element;
        const char *const *items;
        size_t n;
    } sets[] = {{GN_T_INT4, ints, 15}, {GN_T_TEXT, texts, 9}, {GN_T_NUMERIC, numbers, 8}};
    for (size_t s = 0; s < 3; s++)
        for (size_t i = 0; i < sets[s].n; i++)
            for (size_t j = 0; j < sets[s].n; j++) {
                gn_value a = parse(sets[s].items[i], sets[s].element), b = parse(sets[s].items[j], sets[s].element);
                int order = gn_value_compare(&a, &b);
                for (int descending = 0; descending < 2; descending++) {
                    gn_buf x, y;
                    gn_buf_init(&x, NULL, 10000);
                    gn_buf_init(&y, NULL, 10000);
                    assert_int_equal(gn_key_append(&x, &a, descending, false, &err), GN_OK);
                    assert_int_equal(gn_key_append(&y, &b, descending, false, &err), GN_OK);
                    int keys = gn_bytes_cmp(gn_buf_bytes(&x), gn_buf_bytes(&y));
                    keys = (keys > 0) - (keys < 0);
                    assert_int_equal(descending ? -keys : keys, (order > 0) - (order < 0));
                    gn_bytes rest = gn_buf_bytes(&x), skipped = rest;
                    gn_value back;
                    assert_int_equal(gn_key_read(&rest, a.type, descending, false, arena, &back, &err), GN_OK);
                    assert_int_equal(gn_key_skip(&skipped, a.type, descending, &err), GN_OK);
                    assert_int_equal(rest.len, 0);
                    assert_int_equal(skipped.len, 0);
                    assert_int_equal(gn_value_compare(&a, &back), 0);
                    for (size_t cut = 1; cut < x.len; cut++) {
                        rest = skipped = gn_bytes_of(x.data, cut);
                        assert_int_equal(gn_key_read(&rest, a.type, descending, false, arena, &back, &err), GN_CORRUPT);
                        assert_int_equal(gn_key_skip(&skipped, a.type, descending, &err), GN_CORRUPT);
                    }
                    gn_buf_close(&x);
                    gn_buf_close(&y);
                }
            }
}

static void keys_have_their_limits(void **state)
{
    (void)state;
    gn_buf key;
    gn_array_builder b;
    gn_value v, null = gn_value_null(gn_type_of(GN_T_INT4)), json = parse("{1}", GN_T_JSON);
    gn_buf_init(&key, NULL, 100000);
    assert_int_equal(gn_key_append(&key, &json, false, false, &err), GN_WRONG_OBJECT_TYPE);
    gn_array_begin(&b, gn_type_of(GN_T_INT4), arena);
    for (int i = 0; i < 20000; i++)
        assert_int_equal(gn_array_add(&b, &null, &err), GN_OK);
    assert_int_equal(gn_array_end(&b, &v, &err), GN_OK);
    assert_true(v.as.bytes.len < GN_MAX_KEY); /* as a key it is longer */
    assert_int_equal(gn_key_append(&key, &v, false, false, &err), GN_LIMIT);
    assert_int_equal(key.len, 0);
    gn_buf_close(&key);
}

static void equal_items_hash_equally(void **state)
{
    (void)state;
    gn_value a = parse("{1.0,2}", GN_T_NUMERIC), b = parse("{1.00,2.0}", GN_T_NUMERIC);
    assert_int_equal(gn_value_compare(&a, &b), 0);
    assert_int_equal(gn_value_hash(&a), gn_value_hash(&b));
}

/* ---- casts ---- */

static void expect_cast(const char *from, gn_type_id element, gn_type to, gn_code code, const char *expected)
{
    gn_value v = parse(from, element), out;
    err = (gn_error){.code = GN_OK};
    assert_int_equal(gn_value_cast(&v, to, GN_CAST_EXPLICIT, &default_format, arena, &out, &err), code);
    assert_string_equal(code ? err.message : print(&out), expected);
}

static void casts_go_item_by_item(void **state)
{
    (void)state;
    gn_type varchar = {.id = GN_T_VARCHAR, .is_array = true, .typmod = 2};
    gn_type vector = gn_type_of(GN_T_VECTOR), vector3 = {.id = GN_T_VECTOR, .typmod = 3};
    expect_cast("[0:1]={1.5,NULL}", GN_T_NUMERIC, gn_type_array_of(GN_T_INT4), GN_OK, "[0:1]={2,NULL}");
    expect_cast("{abc,d}", GN_T_TEXT, varchar, GN_OK, "{ab,d}");
    expect_cast("{{1,2}}", GN_T_INT4, gn_type_array_of(GN_T_TEXT), GN_OK, "{{1,2}}");
    expect_cast("{1,x}", GN_T_TEXT, gn_type_array_of(GN_T_INT4), GN_BAD_TEXT,
                "invalid input syntax for type integer: \"x\"");
    expect_cast("{1,2,3}", GN_T_INT4, vector, GN_OK, "[1,2,3]");
    expect_cast("{1.5,2}", GN_T_NUMERIC, vector, GN_OK, "[1.5,2]");
    expect_cast("{1,2}", GN_T_FLOAT8, vector3, GN_BAD_VECTOR, "expected 3 dimensions, not 2");
    expect_cast("{{1},{2}}", GN_T_FLOAT4, vector, GN_BAD_VECTOR, "array must be 1-D");
    expect_cast("{1,NULL}", GN_T_FLOAT4, vector, GN_NULL_NOT_ALLOWED, "array must not contain nulls");
    expect_cast("{}", GN_T_FLOAT4, vector, GN_BAD_VECTOR, "vector must have at least 1 dimension");
    expect_cast("{NaN}", GN_T_FLOAT4, vector, GN_BAD_VECTOR, "NaN not allowed in vector");
    assert_true(gn_cast_allowed(gn_type_array_of(GN_T_INT2), gn_type_array_of(GN_T_INT8), GN_CAST_IMPLICIT));
    assert_false(gn_cast_allowed(gn_type_array_of(GN_T_INT8), gn_type_array_of(GN_T_INT2), GN_CAST_IMPLICIT));
    assert_true(gn_cast_allowed(gn_type_array_of(GN_T_INT4), gn_type_array_of(GN_T_TEXT), GN_CAST_ASSIGNMENT));
    assert_false(gn_cast_allowed(gn_type_of(GN_T_INT4), gn_type_array_of(GN_T_INT4), GN_CAST_EXPLICIT));
}

static void memory_is_refused_before_it_is_taken(void **state)
{
    (void)state;
    gn_account account;
    gn_account_init(&account, NULL, "test", 1u << 16);
    gn_arena *small = gn_arena_create(&account);
    gn_buf text;
    gn_value v;
    gn_buf_init(&text, NULL, 1u << 20);
    gn_buf_append_str(&text, "{1");
    for (int i = 0; i < 100000; i++)
        gn_buf_append_str(&text, ",1");
    gn_buf_append_str(&text, "}");
    assert_int_equal(gn_value_parse(gn_buf_bytes(&text), gn_type_array_of(GN_T_TEXT), &default_format, small, &v, &err),
                     GN_OUT_OF_MEMORY);
    gn_buf_close(&text);
    gn_arena_destroy(small);
    gn_account_close(&account);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(bytes_are_compact_and_canonical, setup, teardown),
        cmocka_unit_test_setup_teardown(items_are_found_by_subscript, setup, teardown),
        cmocka_unit_test_setup_teardown(slices_are_numbered_from_one, setup, teardown),
        cmocka_unit_test_setup_teardown(every_type_comes_back_from_text_and_wire, setup, teardown),
        cmocka_unit_test_setup_teardown(hostile_wire_forms_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(damaged_bytes_are_not_valid, setup, teardown),
        cmocka_unit_test_setup_teardown(keys_order_as_values_do, setup, teardown),
        cmocka_unit_test_setup_teardown(keys_have_their_limits, setup, teardown),
        cmocka_unit_test_setup_teardown(equal_items_hash_equally, setup, teardown),
        cmocka_unit_test_setup_teardown(casts_go_item_by_item, setup, teardown),
        cmocka_unit_test_setup_teardown(memory_is_refused_before_it_is_taken, setup, teardown),
    };
    return cmocka_run_group_tests_name("query/array", tests, NULL, NULL);
}
