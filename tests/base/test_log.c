#include "base/log.h"
#include "tests/base/cmocka_all.h"

#include <string.h>
#include <unistd.h>

static int ends[2];
static char text[8192];

static int open_pipe(void **state)
{
    (void)state;
    return pipe(ends);
}

static int close_pipe(void **state)
{
    (void)state;
    gn_log_configure(GN_LOG_WARN, false, STDERR_FILENO);
    gn_log_set_request(0);
    return close(ends[0]) || close(ends[1]);
}

static const char *line_written(void)
{
    ssize_t n = read(ends[0], text, sizeof text - 1);
    assert_true(n > 0);
    text[n] = '\0';
    assert_int_equal(text[n - 1], '\n');
    return text;
}

static void a_json_line_has_all_parts(void **state)
{
    (void)state;
    gn_log_configure(GN_LOG_INFO, true, ends[1]);
    gn_log_set_request(42);
    gn_log_info("raft", "became leader", GN_KV_U64("term", UINT64_MAX), GN_KV_I64("i", INT64_MIN), GN_KV_F64("f", 0.5),
                GN_KV_BOOL("b", true), GN_KV_STR("s", NULL));
    const char *l = line_written();
    assert_memory_equal(l, "{\"time\":\"2", 10);
    assert_non_null(strstr(l, "\"level\":\"info\",\"area\":\"raft\",\"message\":\"became leader\",\"request\":42,"
                              "\"term\":18446744073709551615,\"i\":-9223372036854775808,\"f\":0.5,\"b\":true,"
                              "\"s\":null}\n"));
}

static void a_text_line_quotes_what_is_not_a_plain_word(void **state)
{
    (void)state;
    gn_log_configure(GN_LOG_INFO, false, ends[1]);
    gn_log_warn("node", "listening", GN_KV_STR("on", "127.0.0.1:5432"), GN_KV_STR("why", "a b\n\"c\""),
                GN_KV_STR("empty", ""));
    assert_non_null(
        strstr(line_written(), " warn  node: listening on=127.0.0.1:5432 why=\"a b\\n\\\"c\\\"\" empty=\"\"\n"));
}

static void input_cannot_break_a_line_or_its_encoding(void **state)
{
    (void)state;
    gn_log_configure(GN_LOG_INFO, true, ends[1]);
    gn_log_info("x", "m", GN_KV_STR("k", "\x01\xFF\xC3\xA4\xED\xA0\x80\x7F\xE2\x82"));
    assert_non_null(strstr(line_written(), "\"k\":\"\\u0001\xEF\xBF\xBD\xC3\xA4\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"
                                           "\\u007f\xEF\xBF\xBD\xEF\xBF\xBD\"}\n"));
}

static void what_does_not_fit_a_line_is_left_out_and_marked(void **state)
{
    (void)state;
    char big[5000];
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    gn_log_configure(GN_LOG_INFO, true, ends[1]);
    gn_log_info("x", "m", GN_KV_U64("before", 1), GN_KV_STR("big", big), GN_KV_U64("after", 2));
    assert_non_null(strstr(line_written(), "\"before\":1,\"cut\":true}\n"));
    gn_log_info("x", big);
    assert_non_null(strstr(line_written(), "\"message\":\"(message too long)\"}\n"));
    gn_log_configure(GN_LOG_INFO, false, ends[1]);
    gn_log_info("x", big);
    assert_non_null(strstr(line_written(), "cut=true\n"));
}

static void lines_below_the_level_are_not_written(void **state)
{
    (void)state;
    gn_log_configure(GN_LOG_ERROR, false, ends[1]);
    gn_log_warn("x", "hidden");
    gn_log_error("x", "shown");
    const char *l = line_written();
    assert_null(strstr(l, "hidden"));
    assert_non_null(strstr(l, "shown"));
    gn_log_configure(GN_LOG_OFF, false, ends[1]);
    assert_false(gn_log_enabled(GN_LOG_ERROR));
    gn_log_level level;
    assert_true(gn_log_level_parse("Debug", &level));
    assert_int_equal(level, GN_LOG_DEBUG);
    assert_false(gn_log_level_parse("loud", &level));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_json_line_has_all_parts, open_pipe, close_pipe),
        cmocka_unit_test_setup_teardown(a_text_line_quotes_what_is_not_a_plain_word, open_pipe, close_pipe),
        cmocka_unit_test_setup_teardown(input_cannot_break_a_line_or_its_encoding, open_pipe, close_pipe),
        cmocka_unit_test_setup_teardown(what_does_not_fit_a_line_is_left_out_and_marked, open_pipe, close_pipe),
        cmocka_unit_test_setup_teardown(lines_below_the_level_are_not_written, open_pipe, close_pipe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
