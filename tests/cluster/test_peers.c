/* Where the other nodes are is known after a restart before anybody says so, and a damaged file of it harms nobody. */
#include "cluster/cluster_private.h"
#include "tests/base/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char dir[64], path[80];

static int setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/gn-peers-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/PEERS", dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(dir);
}

static void append(void *ctx, gn_node_id id, const char *address)
{
    char *text = ctx;
    size_t n = strlen(text);
    snprintf(text + n, 1024 - n, "%llu=%s;", (unsigned long long)id, address);
}

static void assert_remembered(const char *expected)
{
    char text[1024] = "";
    gn_peers *peers = gn_peers_read(dir);
    gn_peers_each(peers, append, text);
    assert_string_equal(text, expected);
    free(peers);
}

static void write_two(void)
{
    gn_error err = {0};
    gn_peers *peers = gn_peers_read(dir);
    assert_true(gn_peers_put(peers, 2, "10.0.0.2:7001"));
    assert_true(gn_peers_put(peers, 3, "[fe80::3]:7001"));
    assert_int_equal(gn_peers_write(peers, dir, &err), GN_OK);
    free(peers);
}

static void what_was_put_is_there_after_a_restart(void **state)
{
    gn_error err = {0};
    (void)state;
    assert_remembered("");
    write_two();
    assert_remembered("2=10.0.0.2:7001;3=[fe80::3]:7001;");
    gn_peers *peers = gn_peers_read(dir);
    assert_false(gn_peers_put(peers, 2, "10.0.0.2:7001"));
    assert_true(gn_peers_put(peers, 3, "c:1"));
    assert_true(gn_peers_put(peers, 2, ""));
    assert_false(gn_peers_put(peers, 4, ""));
    assert_int_equal(gn_peers_write(peers, dir, &err), GN_OK);
    free(peers);
    assert_remembered("3=c:1;");
}

static void an_address_that_would_break_the_file_is_not_remembered(void **state)
{
    gn_error err = {0};
    (void)state;
    gn_peers *peers = gn_peers_read(dir);
    assert_false(gn_peers_put(peers, 2, "a:1\n3 evil:1"));
    assert_false(gn_peers_put(peers, 2, "a b:1"));
    assert_true(gn_peers_put(peers, 5, "e:1"));
    assert_int_equal(gn_peers_write(peers, dir, &err), GN_OK);
    free(peers);
    assert_remembered("5=e:1;");
}

static void every_damage_is_noticed(void **state)
{
    (void)state;
    write_two();
    char before[512];
    FILE *f = fopen(path, "r");
    size_t n = fread(before, 1, sizeof before, f);
    fclose(f);
    for (size_t at = 0; at < 8 * n; at++) {
        f = fopen(path, "w");
        before[at / 8] ^= (char)(1 << at % 8);
        fwrite(before, 1, n, f);
        fclose(f);
        before[at / 8] ^= (char)(1 << at % 8);
        assert_remembered("");
    }
    for (size_t length = 0; length < n; length++) {
        f = fopen(path, "w");
        fwrite(before, 1, length, f);
        fclose(f);
        assert_remembered("");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_put_is_there_after_a_restart, setup, teardown),
        cmocka_unit_test_setup_teardown(an_address_that_would_break_the_file_is_not_remembered, setup, teardown),
        cmocka_unit_test_setup_teardown(every_damage_is_noticed, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
