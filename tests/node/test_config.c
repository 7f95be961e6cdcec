/* The configuration: what is refused names its place; the documentation is what the table says. */
#include "node/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char path[64];

static void write_file(const char *text)
{
    snprintf(path, sizeof path, "/tmp/gnomon-config-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static gn_code read_text(const char *text, gn_config *config, gn_error *err)
{
    write_file(text);
    assert_int_equal(gn_config_defaults(config, NULL), GN_OK);
    gn_code code = gn_config_read_file(config, path, err);
    unlink(path);
    return code;
}

static void refused(const char *text, const char *expected)
{
    gn_config config;
    gn_error err = {0};
    assert_int_equal(read_text(text, &config, &err), GN_CONFIGURATION);
    if (!strstr(err.message, expected))
        fail_msg("\"%s\" lacks \"%s\"", err.message, expected);
}

static void a_file_sets_options(void **state)
{
    (void)state;
    gn_config config;
    assert_int_equal(read_text("listen = \"127.0.0.1:6000\"\nmax_connections = 7 # few\n", &config, NULL), GN_OK);
    assert_string_equal(config.listen, "127.0.0.1:6000");
    assert_int_equal(config.max_connections, 7);
    assert_int_equal(config.memory_limit_mb, 512);
}

static void faults_are_named_with_file_and_line(void **state)
{
    (void)state;
    refused("listen = \"127.0.0.1:1\"\nmax_conections = 7\n", ":2: there is no option \"max_conections\"");
    refused("\nmax_connections = 0\n", ":2: max_connections is 0; it may be 1 to 10000 connections");
    refused("max_connections = \"many\"\n", ":1: max_connections must be a whole number");
    refused("log_level = \"loud\"\n", ":1: log_level is \"loud\"; it may be one of debug|info|warn|error|off");
    refused("data_dir = 7\n", ":1: data_dir is a text, not a number");
    refused("[server]\nlisten = \"x\"\n", ":2: there is no option \"server.listen\"");
    refused("a = = b\n", ":1:");
}

static void the_command_line_wins_over_the_environment(void **state)
{
    (void)state;
    gn_config config;
    gn_error err = {0};
    char *arguments[] = {"gnomond", "--max-connections=9", "--log-level", "warn"};
    setenv("GNOMON_MAX_CONNECTIONS", "8", 1);
    setenv("GNOMON_MEMORY_LIMIT_MB", "64", 1);
    assert_int_equal(gn_config_load(4, arguments, &config, &err), GN_OK);
    assert_int_equal(config.max_connections, 9);
    assert_int_equal(config.memory_limit_mb, 64);
    assert_string_equal(config.log_level, "warn");
    setenv("GNOMON_MEMORY_LIMIT_MB", "lots", 1);
    assert_int_equal(gn_config_load(1, arguments, &config, &err), GN_CONFIGURATION);
    assert_non_null(strstr(err.message, "GNOMON_MEMORY_LIMIT_MB"));
    unsetenv("GNOMON_MAX_CONNECTIONS");
    unsetenv("GNOMON_MEMORY_LIMIT_MB");
    char *unknown[] = {"gnomond", "--colour", "blue"};
    assert_int_equal(gn_config_load(3, unknown, &config, &err), GN_CONFIGURATION);
    char *missing[] = {"gnomond", "--listen"};
    assert_int_equal(gn_config_load(2, missing, &config, &err), GN_CONFIGURATION);
}

static void only_loopback_is_listened_on(void **state)
{
    (void)state;
    char host[64];
    int port;
    gn_error err = {0};
    assert_int_equal(gn_config_loopback("listen", "127.0.0.1:5433", host, sizeof host, &port, &err), GN_OK);
    assert_int_equal(port, 5433);
    assert_int_equal(gn_config_loopback("listen", "[::1]:0", host, sizeof host, &port, &err), GN_OK);
    assert_string_equal(host, "::1");
    assert_int_equal(gn_config_loopback("listen", "0.0.0.0:5433", host, sizeof host, &port, &err), GN_CONFIGURATION);
    assert_non_null(strstr(err.message, "not a loopback address"));
    assert_int_equal(gn_config_loopback("listen", "127.0.0.1", host, sizeof host, &port, &err), GN_CONFIGURATION);
    assert_int_equal(gn_config_loopback("listen", "127.0.0.1:99999", host, sizeof host, &port, &err), GN_CONFIGURATION);
}

static void the_documentation_is_what_the_table_says(void **state)
{
    (void)state;
    gn_buf text;
    gn_buf_init(&text, NULL, 1 << 20);
    assert_true(gn_config_docs(&text));
    char *file = calloc(1, 1 << 20);
    FILE *docs = fopen(GN_DOCS, "rb");
    assert_non_null(docs);
    size_t n = fread(file, 1, (1 << 20) - 1, docs);
    fclose(docs);
    if (n != text.len || memcmp(file, text.data, n) != 0)
        fail_msg("docs/configuration.md is stale: gnomond --print-config-docs > docs/configuration.md");
    free(file);
    gn_buf_close(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_sets_options),
        cmocka_unit_test(faults_are_named_with_file_and_line),
        cmocka_unit_test(the_command_line_wins_over_the_environment),
        cmocka_unit_test(only_loopback_is_listened_on),
        cmocka_unit_test(the_documentation_is_what_the_table_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
