#include "base/buf.h"
#include "tests/base/cmocka_all.h"

#include <string.h>

static void what_is_appended_can_be_read_back(void **state)
{
    (void)state;
    gn_account account;
    gn_account_init(&account, NULL, "test", 0);
    gn_buf buf;
    gn_buf_init(&buf, &account, 1 << 20);
    gn_buf_append_u8(&buf, 1);
    gn_buf_append_be16(&buf, 0x0203);
    gn_buf_append_be32(&buf, 0x04050607);
    gn_buf_append_be64(&buf, 0x08090A0B0C0D0E0FULL);
    gn_buf_append_str(&buf, "text");
    gn_buf_append_u8(&buf, 0);
    gn_buf_append_bytes(&buf, gn_bytes_str("tail"));
    assert_false(buf.failed);
    for (uint8_t i = 0; i < 15; i++)
        assert_int_equal(buf.data[i], i + 1);
    gn_reader r = gn_reader_of(gn_buf_bytes(&buf));
    assert_int_equal(gn_read_u8(&r), 1);
    assert_int_equal(gn_read_be16(&r), 0x0203);
    assert_int_equal(gn_read_be32(&r), 0x04050607);
    assert_true(gn_read_be64(&r) == 0x08090A0B0C0D0E0FULL);
    assert_string_equal(gn_read_cstr(&r), "text");
    assert_true(gn_bytes_eq(gn_read_bytes(&r, 4), gn_bytes_str("tail")));
    assert_int_equal(gn_reader_left(&r), 0);
    assert_false(r.failed);
    gn_buf_close(&buf);
    gn_account_close(&account);
}

static void a_read_past_the_end_fails_for_good_and_gives_zeros(void **state)
{
    (void)state;
    gn_reader r = gn_reader_of(gn_bytes_of("\1\2\3", 3));
    assert_int_equal(gn_read_be32(&r), 0);
    assert_true(r.failed);
    assert_int_equal(gn_read_u8(&r), 0);
    r = gn_reader_of(gn_bytes_of("abc", 3));
    assert_null(gn_read_cstr(&r));
    assert_true(r.failed);
    r = gn_reader_of(gn_bytes_of("abc", 3));
    assert_int_equal(gn_read_bytes(&r, SIZE_MAX).len, 0);
    assert_true(r.failed);
    r = gn_reader_of((gn_bytes){0});
    assert_null(gn_read_cstr(&r));
}

static void the_maximum_holds_to_the_byte(void **state)
{
    (void)state;
    gn_buf buf;
    gn_buf_init(&buf, NULL, 1000);
    char block[1000];
    memset(block, 'x', sizeof block);
    assert_true(gn_buf_append(&buf, block, 999));
    assert_true(gn_buf_append(&buf, block, 1));
    assert_false(gn_buf_append(&buf, block, 1));
    assert_true(buf.failed);
    assert_int_equal(buf.len, 1000);
    assert_false(gn_buf_append(&buf, block, 0)); /* a failed buffer stays failed */
    gn_buf_clear(&buf);
    assert_true(gn_buf_printf(&buf, "%1000d", 5)); /* no room for a NUL is needed */
    assert_int_equal(buf.len, 1000);
    assert_false(gn_buf_printf(&buf, "%d", 5));
    gn_buf_clear(&buf);
    assert_false(gn_buf_printf(&buf, "%1001d", 5));
    assert_int_equal(buf.len, 0);
    gn_buf_clear(&buf);
    assert_false(gn_buf_reserve(&buf, SIZE_MAX));
    gn_buf_close(&buf);
}

static void the_budget_is_charged_and_obeyed(void **state)
{
    (void)state;
    gn_account account;
    gn_account_init(&account, NULL, "test", 1000);
    gn_buf buf;
    gn_buf_init(&buf, &account, SIZE_MAX);
    size_t n = 0;
    while (gn_buf_append_u8(&buf, 1))
        n++;
    assert_int_equal(n, 1000);
    gn_buf_close(&buf);
    gn_buf_close(&buf); /* closing twice is fine */
    gn_account_close(&account);
}

static void consumed_bytes_leave_the_rest_in_front(void **state)
{
    (void)state;
    gn_buf buf;
    gn_buf_init(&buf, NULL, 100);
    gn_buf_consume(&buf, 0);
    gn_buf_printf(&buf, "%s", "hello world");
    gn_buf_consume(&buf, 6);
    assert_true(gn_bytes_eq(gn_buf_bytes(&buf), gn_bytes_str("world")));
    gn_buf_consume(&buf, 5);
    assert_int_equal(buf.len, 0);
    gn_buf_close(&buf);
}

static void bytes_compare_like_memcmp_with_prefixes_first(void **state)
{
    (void)state;
    assert_true(gn_bytes_cmp(gn_bytes_str("a"), gn_bytes_str("b")) < 0);
    assert_true(gn_bytes_cmp(gn_bytes_str("a"), gn_bytes_str("aa")) < 0);
    assert_true(gn_bytes_cmp(gn_bytes_str("\xFF"), gn_bytes_str("a")) > 0);
    assert_int_equal(gn_bytes_cmp((gn_bytes){0}, gn_bytes_str("")), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_appended_can_be_read_back),
        cmocka_unit_test(a_read_past_the_end_fails_for_good_and_gives_zeros),
        cmocka_unit_test(the_maximum_holds_to_the_byte),
        cmocka_unit_test(the_budget_is_charged_and_obeyed),
        cmocka_unit_test(consumed_bytes_leave_the_rest_in_front),
        cmocka_unit_test(bytes_compare_like_memcmp_with_prefixes_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
