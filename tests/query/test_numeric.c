/* numeric: text, scales, arithmetic, order, keys. The expected texts are PostgreSQL 15's. */
#include "query/numeric.h"
#include "query/row.h"
#include "tests/query/values.h"

#include <stdlib.h>

static const gn_type numeric = {.id = GN_T_NUMERIC, .typmod = -1};

typedef gn_code (*binary)(gn_bytes a, gn_bytes b, gn_arena *arena, gn_bytes *out, gn_error *err);

static void check(binary f, const char *a, const char *b, const char *expected)
{
    gn_arena *arena = gn_arena_create(NULL);
    gn_value out = {.type = numeric};
    gn_error err = {0};
    gn_code code =
        f(parsed(arena, numeric, a).as.bytes, parsed(arena, numeric, b).as.bytes, arena, &out.as.bytes, &err);
    if (code != GN_OK)
        fail_msg("%s, %s: %s", a, b, err.message);
    const char *text = printed(arena, &out, NULL);
    if (strcmp(text, expected) != 0)
        fail_msg("%s, %s: '%s', not '%s'", a, b, text, expected);
    gn_arena_destroy(arena);
}

static void text_keeps_the_scale(void **state)
{
    (void)state;
    check_text(numeric, "1.50", "1.50");
    check_text(numeric, " -0.000 ", "0.000");
    check_text(numeric, "1e3", "1000");
    check_text(numeric, "1.5e-3", "0.0015");
    check_text(numeric, "123456789012345678901234567890.123456789", "123456789012345678901234567890.123456789");
    check_text(numeric, "nan", "NaN");
    check_text(numeric, "-Infinity", "-Infinity");
    check_text(with_typmod(GN_T_NUMERIC, 5 << 16 | 2), "123.455", "123.46");
    check_bad(with_typmod(GN_T_NUMERIC, 5 << 16 | 2), "1234.5", "22003", "numeric field overflow");
    check_bad(numeric, "1.2.3", "22P02", "invalid input syntax for type numeric: \"1.2.3\"");
    check_bad(numeric, "", "22P02", "invalid input syntax for type numeric: \"\"");
    check_bad(numeric, "1e200000", "22003", "value overflows numeric format");
}

static void arithmetic_has_postgresqls_scales(void **state)
{
    (void)state;
    check(gn_numeric_add, "1.50", "2.250", "3.750");
    check(gn_numeric_sub, "1", "2.5", "-1.5");
    check(gn_numeric_mul, "1.50", "2.250", "3.37500");
    check(gn_numeric_div, "1", "3", "0.33333333333333333333");
    check(gn_numeric_div, "10", "4", "2.5000000000000000");
    check(gn_numeric_div, "1", "7.000", "0.14285714285714285714");
    check(gn_numeric_div, "100000000000000000000", "3", "33333333333333333333");
    check(gn_numeric_mod, "-7", "3", "-1");
    check(gn_numeric_mod, "5.5", "2", "1.5");
    check(gn_numeric_div_trunc, "-7", "2", "-3");
    check(gn_numeric_power, "2", "0.5", "1.4142135623730950");
    check(gn_numeric_add, "NaN", "1", "NaN");
    check(gn_numeric_add, "Infinity", "-Infinity", "NaN");
    check(gn_numeric_mul, "99999999999999999999999999999999999999", "99999999999999999999999999999999999999",
          "9999999999999999999999999999999999999800000000000000000000000000000000000001");
}

static void division_by_zero_is_an_error(void **state)
{
    (void)state;
    gn_arena *arena = gn_arena_create(NULL);
    gn_bytes one = parsed(arena, numeric, "1").as.bytes, zero = parsed(arena, numeric, "0.00").as.bytes, out;
    gn_error err = {0};
    assert_int_equal(gn_numeric_div(one, zero, arena, &out, &err), GN_DIVISION_BY_ZERO);
    assert_int_equal(gn_numeric_mod(one, zero, arena, &out, &err), GN_DIVISION_BY_ZERO);
    gn_arena_destroy(arena);
}

static void equal_values_of_other_scale_are_equal(void **state)
{
    (void)state;
    gn_arena *arena = gn_arena_create(NULL);
    gn_value a = parsed(arena, numeric, "1.0"), b = parsed(arena, numeric, "1.000");
    assert_int_equal(gn_value_compare(&a, &b), 0);
    assert_true(gn_value_hash(&a) == gn_value_hash(&b));
    gn_arena_destroy(arena);
}

static const char *random_numeric(unsigned *seed, char *out, size_t size)
{
    int digits = rand_r(seed) % 12, exponent = rand_r(seed) % 30 - 15;
    long value = 0;
    for (int i = 0; i < digits; i++)
        value = value * 10 + rand_r(seed) % 10;
    snprintf(out, size, "%s%ld%se%d", rand_r(seed) % 2 ? "-" : "", value, rand_r(seed) % 4 ? "" : ".50", exponent);
    return rand_r(seed) % 50 == 0 ? "NaN" : out;
}

static void the_order_of_keys_is_the_order_of_values(void **state)
{
    (void)state;
    unsigned seed = 11;
    gn_buf x, y;
    gn_buf_init(&x, NULL, 1 << 20);
    gn_buf_init(&y, NULL, 1 << 20);
    for (int i = 0; i < 20000; i++) {
        gn_arena *arena = gn_arena_create(NULL);
        char ta[64], tb[64];
        gn_value a = parsed(arena, numeric, random_numeric(&seed, ta, sizeof ta));
        gn_value b = parsed(arena, numeric, random_numeric(&seed, tb, sizeof tb)), back;
        bool descending = i % 2;
        gn_buf_clear(&x);
        gn_buf_clear(&y);
        assert_int_equal(gn_key_append(&x, &a, descending, false, NULL), GN_OK);
        assert_int_equal(gn_key_append(&y, &b, descending, false, NULL), GN_OK);
        int by_value = gn_value_compare(&a, &b) * (descending ? -1 : 1);
        int by_key = gn_bytes_cmp(gn_buf_bytes(&x), gn_buf_bytes(&y));
        if ((by_value > 0) - (by_value < 0) != (by_key > 0) - (by_key < 0))
            fail_msg("%s and %s: values %d, keys %d", ta, tb, by_value, by_key);
        gn_bytes key = gn_buf_bytes(&x), skipped = key;
        assert_int_equal(gn_key_read(&key, numeric, descending, false, arena, &back, NULL), GN_OK);
        assert_int_equal(key.len, 0);
        assert_int_equal(gn_value_compare(&a, &back), 0);
        assert_int_equal(gn_key_skip(&skipped, numeric, descending, NULL), GN_OK);
        assert_int_equal(skipped.len, 0);
        gn_arena_destroy(arena);
    }
    gn_buf_close(&x);
    gn_buf_close(&y);
}

static void sums_are_exact(void **state)
{
    (void)state;
    gn_arena *arena = gn_arena_create(NULL);
    gn_numeric_sum *sum = gn_numeric_sum_create();
    for (int i = 0; i < 1000; i++)
        gn_numeric_sum_add(sum, parsed(arena, numeric, "0.1").as.bytes);
    gn_numeric_sum_add_i64(sum, INT64_MAX);
    gn_value out = {.type = numeric};
    assert_int_equal(gn_numeric_sum_result(sum, arena, &out.as.bytes, NULL), GN_OK);
    assert_string_equal(printed(arena, &out, NULL), "9223372036854775907.0");
    gn_numeric_sum_destroy(sum);
    gn_arena_destroy(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_keeps_the_scale),
        cmocka_unit_test(arithmetic_has_postgresqls_scales),
        cmocka_unit_test(division_by_zero_is_an_error),
        cmocka_unit_test(equal_values_of_other_scale_are_equal),
        cmocka_unit_test(the_order_of_keys_is_the_order_of_values),
        cmocka_unit_test(sums_are_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
