#include "base/error.h"
#include "tests/base/cmocka_all.h"

#include <errno.h>
#include <string.h>

static void every_code_has_name_sqlstate_and_text(void **state)
{
    (void)state;
    for (int code = GN_OK; code <= GN_INDEX_CORRUPT; code++) {
        assert_memory_equal(gn_code_name(code), "GN_", 3);
        assert_int_equal(strlen(gn_code_sqlstate(code)), 5);
        assert_true(strlen(gn_code_text(code)) > 0);
    }
    assert_string_equal(gn_code_sqlstate(GN_UNIQUE), "23505");
    assert_string_equal(gn_code_sqlstate(GN_UNAVAILABLE), "58C00"); /* 57P04 and 57P05 are PostgreSQL's for else */
    assert_string_equal(gn_code_sqlstate(GN_NOT_LEADER), "58C00");
    assert_string_equal(gn_code_name(GN_INDEX_CORRUPT), "GN_INDEX_CORRUPT");
}

static void setters_fill_the_report_and_return_its_code(void **state)
{
    (void)state;
    gn_error err = {0};
    assert_int_equal(gn_error_set(&err, GN_SYNTAX, "at \"%s\"", "FORM"), GN_SYNTAX);
    assert_int_equal(gn_error_detail(&err, "d%d", 1), GN_SYNTAX);
    assert_int_equal(gn_error_hint(&err, "h%d", 2), GN_SYNTAX);
    assert_int_equal(gn_error_at(&err, 8), GN_SYNTAX);
    assert_string_equal(err.message, "at \"FORM\"");
    assert_string_equal(err.detail, "d1");
    assert_string_equal(err.hint, "h2");
    assert_int_equal(err.position, 8);
    gn_error_clear(&err);
    assert_int_equal(err.code, GN_OK);
    assert_string_equal(err.message, "");
}

static void a_new_report_forgets_the_old_one_but_may_quote_it(void **state)
{
    (void)state;
    gn_error err = {0};
    gn_error_set(&err, GN_IO, "inner");
    gn_error_detail(&err, "old detail");
    gn_error_set(&err, GN_CORRUPT, "outer: %s", err.message);
    assert_string_equal(err.message, "outer: inner");
    assert_string_equal(err.detail, "");
}

static void a_caller_without_a_report_still_gets_the_code(void **state)
{
    (void)state;
    assert_int_equal(gn_error_set(NULL, GN_LIMIT, "x"), GN_LIMIT);
    assert_int_equal(gn_error_detail(NULL, "x"), GN_LIMIT);
    assert_int_equal(gn_error_hint(NULL, "x"), GN_LIMIT);
    assert_int_equal(gn_error_at(NULL, 1), GN_LIMIT);
    assert_int_equal(gn_error_errno(NULL, GN_IO, ENOSPC, "x"), GN_DISK_FULL);
    gn_error_clear(NULL);
}

static void errno_text_is_appended_and_a_full_disk_is_told_apart(void **state)
{
    (void)state;
    gn_error err = {0};
    assert_int_equal(gn_error_errno(&err, GN_IO, ENOENT, "could not open \"%s\"", "a"), GN_IO);
    assert_string_equal(err.message, "could not open \"a\": No such file or directory");
    assert_int_equal(gn_error_errno(&err, GN_IO, ENOSPC, "could not write"), GN_DISK_FULL);
}

static void a_cut_message_ends_at_a_whole_character(void **state)
{
    (void)state;
    gn_error err = {0};
    char text[600];
    for (size_t shift = 0; shift < 4; shift++) {
        memset(text, 'x', shift);
        for (size_t i = shift; i + 4 < sizeof text; i += 4)
            memcpy(text + i, "\xF0\x9F\x98\x80", 5);
        gn_error_set(&err, GN_SYNTAX, "%s", text);
        assert_int_equal((strlen(err.message) - shift) % 4, 0);
        assert_true(strlen(err.message) > sizeof err.message - 5);
    }
    memset(text, 'y', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    gn_error_set(&err, GN_SYNTAX, "%s", text);
    assert_int_equal(strlen(err.message), sizeof err.message - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_has_name_sqlstate_and_text),
        cmocka_unit_test(setters_fill_the_report_and_return_its_code),
        cmocka_unit_test(a_new_report_forgets_the_old_one_but_may_quote_it),
        cmocka_unit_test(a_caller_without_a_report_still_gets_the_code),
        cmocka_unit_test(errno_text_is_appended_and_a_full_disk_is_told_apart),
        cmocka_unit_test(a_cut_message_ends_at_a_whole_character),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
