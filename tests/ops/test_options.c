/* The command line, and the texts that are made from its tables. */
#include "ops/commands.h"
#include "tests/base/cmocka_all.h"

#include <stdio.h>
#include <string.h>

static const char *env_name, *env_value;

static char *env(const char *name)
{
    return env_name && strcmp(name, env_name) == 0 ? (char *)(uintptr_t)env_value : NULL;
}

/* argv: ends with NULL, without the program's name. */
static gn_code parse(const char *const *argv, gn_ctl *out, gn_error *err)
{
    char *copy[20] = {(char *)(uintptr_t) "gnomonctl"};
    int argc = 1;
    for (; argv[argc - 1]; argc++)
        copy[argc] = (char *)(uintptr_t)argv[argc - 1];
    *err = (gn_error){0};
    return gn_ctl_parse(argc, copy, env, out, err);
}
#define PARSE(ctl, err, ...) parse((const char *const[]){__VA_ARGS__, NULL}, ctl, err)

static void refused(const char *const *argv, const char *words)
{
    gn_ctl ctl;
    gn_error err;
    assert_int_equal(parse(argv, &ctl, &err), GN_CONFIGURATION);
    if (!strstr(err.message, words))
        fail_msg("\"%s\" does not say \"%s\"", err.message, words);
}
#define REFUSED(words, ...) refused((const char *const[]){__VA_ARGS__, NULL}, words)

static void a_command_line_is_taken_apart(void **state)
{
    gn_ctl ctl;
    gn_error err;
    (void)state;
    assert_int_equal(PARSE(&ctl, &err, "--json", "transfer-leader", "3", "--address=h:1", "2", "--timeout", "7"),
                     GN_OK);
    assert_string_equal(ctl.command->name, "transfer-leader");
    assert_int_equal(ctl.n_args, 2);
    assert_string_equal(ctl.args[0], "3");
    assert_string_equal(ctl.args[1], "2");
    assert_true(gn_ctl_has(&ctl, GN_OPT_JSON));
    assert_false(gn_ctl_has(&ctl, GN_OPT_YES));
    assert_string_equal(ctl.values[GN_OPT_ADDRESS], "h:1");
    assert_string_equal(ctl.values[GN_OPT_TIMEOUT], "7");
}

static void the_environment_is_behind_the_command_line(void **state)
{
    gn_ctl ctl;
    gn_error err;
    (void)state;
    env_name = "GNOMON_ADDRESS";
    env_value = "from:1";
    assert_int_equal(PARSE(&ctl, &err, "status"), GN_OK);
    assert_string_equal(ctl.values[GN_OPT_ADDRESS], "from:1");
    assert_int_equal(PARSE(&ctl, &err, "status", "--address", "line:1"), GN_OK);
    assert_string_equal(ctl.values[GN_OPT_ADDRESS], "line:1");
    env_value = "";
    assert_int_equal(PARSE(&ctl, &err, "status"), GN_OK);
    assert_string_equal(ctl.values[GN_OPT_ADDRESS], "127.0.0.1:7433");
    env_name = NULL;
}

static void what_makes_no_sense_is_refused(void **state)
{
    (void)state;
    REFUSED("no command \"frob\"", "frob");
    REFUSED("a command is missing", "--json");
    REFUSED("no option --frob", "status", "--frob");
    REFUSED("no option -x", "status", "-x");
    REFUSED("needs a value", "status", "--address");
    REFUSED("takes no value", "status", "--json=yes");
    REFUSED("takes no option --once", "status", "--once");
    REFUSED("transfer-leader takes GROUP NODE", "transfer-leader", "1");
    REFUSED("status takes no arguments", "status", "1");
    REFUSED("too many", "move", "1", "2", "3", "4", "5");
    REFUSED("none of ca|node|client", "cert", "n");
    REFUSED("none of", "cert", "");
    REFUSED("go together", "status", "--ca", "x", "--key", "y");
    REFUSED("no command", "--", "--json");
}

static void help_needs_nothing_else(void **state)
{
    gn_ctl ctl;
    gn_error err;
    (void)state;
    assert_int_equal(PARSE(&ctl, &err, "--help"), GN_OK);
    assert_true(gn_ctl_has(&ctl, GN_OPT_HELP) && !ctl.command);
    assert_int_equal(PARSE(&ctl, &err, "move", "-h"), GN_OK);
    assert_string_equal(ctl.command->name, "move");
    assert_int_equal(PARSE(&ctl, &err, "--version"), GN_OK);
}

static void numbers_have_bounds(void **state)
{
    uint64_t v;
    gn_error err = {0};
    (void)state;
    assert_int_equal(gn_ctl_number("n", "10", 1, 10, &v, &err), GN_OK);
    assert_int_equal(v, 10);
    static const char *const BAD[] = {"", "0", "11", "-1", " 5", "5x", "99999999999999999999999", "+5"};
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++)
        assert_int_equal(gn_ctl_number("n", BAD[i], 1, 10, &v, &err), GN_CONFIGURATION);
}

/* ---- texts ---- */

static char *text_of(gn_buf *out)
{
    assert_false(out->failed);
    gn_buf_append_u8(out, 0);
    return (char *)out->data;
}

static void every_command_is_in_every_text(void **state)
{
    static const char *const SHELLS[] = {"bash", "zsh", "fish"};
    gn_buf texts[5];
    (void)state;
    for (int i = 0; i < 5; i++)
        gn_buf_init(&texts[i], NULL, 1 << 20);
    for (int i = 0; i < 3; i++)
        assert_true(gn_ctl_completion(&texts[i], SHELLS[i]));
    gn_ctl_help(&texts[3], NULL);
    gn_ctl_manual(&texts[4], NULL, "1.2.3");
    for (int i = 0; i < 5; i++) {
        const char *text = text_of(&texts[i]);
        for (unsigned c = 0; c < gn_ctl_n_commands; c++)
            assert_non_null(strstr(text, gn_ctl_commands[c].name));
        for (int o = 0; o <= GN_OPT_VERSION; o++)
            assert_non_null(strstr(text, gn_ctl_options[o].flag));
        gn_buf_close(&texts[i]);
    }
    gn_buf none;
    gn_buf_init(&none, NULL, 100);
    assert_false(gn_ctl_completion(&none, "csh"));
    gn_buf_close(&none);
}

static void every_command_has_help_and_a_page(void **state)
{
    (void)state;
    for (unsigned c = 0; c < gn_ctl_n_commands; c++) {
        const gn_ctl_command *command = &gn_ctl_commands[c];
        unsigned least, most;
        gn_buf help, page;
        gn_buf_init(&help, NULL, 1 << 20);
        gn_buf_init(&page, NULL, 1 << 20);
        gn_ctl_help(&help, command);
        gn_ctl_manual(&page, command, "1.2.3");
        const char *text = text_of(&help);
        assert_non_null(strstr(text, command->text));
        assert_non_null(strstr(text_of(&page), ".SH DESCRIPTION"));
        for (unsigned i = 0; i < command->n_own; i++)
            assert_non_null(strstr(text, gn_ctl_options[command->own[i]].flag));
        gn_ctl_arg_bounds(command, &least, &most);
        assert_true(least <= most && most <= GN_CTL_MAX_ARGS);
        gn_buf_close(&help);
        gn_buf_close(&page);
    }
}

static void each_option_is_somebodys(void **state)
{
    (void)state;
    for (int o = GN_OPT_VERSION + 1; o < GN_CTL_N_OPTIONS; o++) {
        bool taken = false;
        for (unsigned c = 0; c < gn_ctl_n_commands; c++)
            taken |= gn_ctl_takes(&gn_ctl_commands[c], (gn_ctl_option_id)o);
        assert_true(taken);
    }
}

/* ---- the protocol ---- */

static void a_request_survives_its_way(void **state)
{
    gn_buf bytes;
    gn_error err = {0};
    gn_arena *arena = gn_arena_create(NULL);
    gn_admin_request out, in = {.node = 7, .command = GN_ADMIN_MOVE, .n_args = 3, .args = {"1", "2", "3"}};
    (void)state;
    gn_buf_init(&bytes, NULL, GN_ADMIN_MAX_REQUEST);
    assert_true(gn_admin_request_write(&bytes, &in));
    assert_int_equal(gn_admin_request_read(gn_buf_bytes(&bytes), arena, &out, &err), GN_OK);
    assert_int_equal(out.node, 7);
    assert_int_equal(out.command, GN_ADMIN_MOVE);
    assert_string_equal(out.args[2], "3");
    for (size_t n = 0; n < bytes.len; n++) /* every cut is refused */
        assert_int_equal(gn_admin_request_read(gn_bytes_of(bytes.data, n), arena, &out, &err), GN_PROTOCOL);
    for (size_t i = 0; i < bytes.len; i++) { /* no change of a byte is an accident */
        bytes.data[i] ^= 0xff;
        gn_admin_request_read(gn_buf_bytes(&bytes), arena, &out, &err);
        bytes.data[i] ^= 0xff;
    }
    gn_buf_close(&bytes);
    gn_arena_destroy(arena);
}

static void a_request_of_another_time_is_refused(void **state)
{
    gn_buf bytes;
    gn_error err = {0};
    gn_arena *arena = gn_arena_create(NULL);
    gn_admin_request out, in = {.command = GN_ADMIN_MOVE, .n_args = 2, .args = {"1", "2"}};
    (void)state;
    gn_buf_init(&bytes, NULL, GN_ADMIN_MAX_REQUEST);
    assert_true(gn_admin_request_write(&bytes, &in));
    assert_int_equal(gn_admin_request_read(gn_buf_bytes(&bytes), arena, &out, &err), GN_INVALID_PARAMETER);
    bytes.data[0]++;
    assert_int_equal(gn_admin_request_read(gn_buf_bytes(&bytes), arena, &out, &err), GN_PROTOCOL);
    bytes.data[0]--;
    bytes.data[11] = 'M'; /* of "move" */
    assert_int_equal(gn_admin_request_read(gn_buf_bytes(&bytes), arena, &out, &err), GN_FEATURE);
    gn_buf_close(&bytes);
    gn_arena_destroy(arena);
}

static void an_argument_that_is_too_long_is_not_sent(void **state)
{
    static char text[GN_ADMIN_MAX_TEXT + 2];
    gn_buf bytes;
    gn_admin_request in = {.command = GN_ADMIN_CHECK_PLAN, .n_args = 1, .args = {text}};
    (void)state;
    memset(text, 'x', sizeof text - 1);
    gn_buf_init(&bytes, NULL, GN_ADMIN_MAX_REQUEST);
    assert_false(gn_admin_request_write(&bytes, &in));
    gn_buf_close(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_command_line_is_taken_apart),
        cmocka_unit_test(the_environment_is_behind_the_command_line),
        cmocka_unit_test(what_makes_no_sense_is_refused),
        cmocka_unit_test(help_needs_nothing_else),
        cmocka_unit_test(numbers_have_bounds),
        cmocka_unit_test(every_command_is_in_every_text),
        cmocka_unit_test(every_command_has_help_and_a_page),
        cmocka_unit_test(each_option_is_somebodys),
        cmocka_unit_test(a_request_survives_its_way),
        cmocka_unit_test(a_request_of_another_time_is_refused),
        cmocka_unit_test(an_argument_that_is_too_long_is_not_sent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
