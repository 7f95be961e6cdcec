/* Numbers and tables as people read them. */
#include "ops/text.h"
#include "tests/base/cmocka_all.h"

#include <string.h>

static void numbers_have_units(void **state)
{
    char out[32];
    (void)state;
    assert_string_equal(gn_text_bytes(0, out), "0 B");
    assert_string_equal(gn_text_bytes(1023, out), "1023 B");
    assert_string_equal(gn_text_bytes(1536, out), "1.5 KiB");
    assert_string_equal(gn_text_bytes((1 << 20) - 1, out), "1.0 MiB");
    assert_string_equal(gn_text_bytes(UINT64_MAX, out), "16.0 EiB");
    assert_string_equal(gn_text_count(0, out), "0");
    assert_string_equal(gn_text_count(999, out), "999");
    assert_string_equal(gn_text_count(1234567, out), "1,234,567");
    assert_string_equal(gn_text_count(UINT64_MAX, out), "18,446,744,073,709,551,615");
    assert_string_equal(gn_text_duration(59, out), "59s");
    assert_string_equal(gn_text_duration(302, out), "5m 02s");
    assert_string_equal(gn_text_duration(7500, out), "2h 05m");
    assert_string_equal(gn_text_duration(90000, out), "1d 1h");
    assert_string_equal(gn_text_percent(1, 3, out), "33%");
    assert_string_equal(gn_text_percent(0, 0, out), "100%");
}

static void write_table(gn_text_table *t, const char *expected)
{
    gn_buf out;
    gn_buf_init(&out, NULL, 65536);
    gn_text_table_write(t, &out);
    gn_buf_append_u8(&out, 0);
    assert_string_equal((const char *)out.data, expected);
    gn_buf_close(&out);
    gn_text_table_close(t);
}

static void columns_are_aligned(void **state)
{
    static const char *const HEADS[] = {"NODE>", "NAME", "SIZE>"};
    gn_text_table t;
    (void)state;
    gn_text_table_init(&t, HEADS, 3);
    gn_text_cell(&t, "%d", 1);
    gn_text_cell(&t, "%s", "\xc3\xa4\xc3\xb6");
    gn_text_cell(&t, "%s", "1.5 KiB");
    gn_text_cell(&t, "%d", 12345);
    gn_text_cell(&t, "%s", "longer");
    gn_text_cell(&t, "%s", "-");
    write_table(&t, " NODE  NAME       SIZE\n"
                    "    1  \xc3\xa4\xc3\xb6      1.5 KiB\n"
                    "12345  longer        -\n");
}

static void a_table_of_no_rows_has_its_head(void **state)
{
    static const char *const HEADS[] = {"A>", "B"};
    gn_text_table t;
    (void)state;
    gn_text_table_init(&t, HEADS, 2);
    write_table(&t, "A  B\n");
}

static void cells_do_not_steer_the_terminal(void **state)
{
    static const char *const HEADS[] = {"A"};
    gn_text_table t;
    (void)state;
    gn_text_table_init(&t, HEADS, 1);
    gn_text_cell(&t, "%s", "a\x1b[2Jb\nc\x7f");
    write_table(&t, "A\na?[2Jb?c?\n");
}

static void a_long_cell_is_cut(void **state)
{
    static const char *const HEADS[] = {"A"};
    char text[400];
    gn_text_table t;
    (void)state;
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    gn_text_table_init(&t, HEADS, 1);
    gn_text_cell(&t, "%s", text);
    assert_int_equal(strlen(t.cells[0]), GN_TEXT_CELL - 1);
    gn_text_table_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_have_units),
        cmocka_unit_test(columns_are_aligned),
        cmocka_unit_test(a_table_of_no_rows_has_its_head),
        cmocka_unit_test(cells_do_not_steer_the_terminal),
        cmocka_unit_test(a_long_cell_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
