/* Who asks to join, and asks again because no answer came, is one node however many of its requests run. */
#include "base/sim.h"
#include "cluster/cluster_private.h"
#include "tests/base/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NODES = 4 };
#define SECOND UINT64_C(1000000000)

typedef struct fixture {
    gn_sim *sim;
    gn_cluster *cluster; /* on node 1 */
    char dir[64];
} fixture;

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    gn_error err = {0};
    snprintf(f->dir, sizeof f->dir, "/tmp/gn-join-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    f->sim = gn_sim_create(1, NODES);
    gn_cluster_options options = {
        .data_dir = f->dir, .address = "a:1", .block_cache_bytes = 1 << 20, .memtable_bytes = 1 << 20};
    assert_int_equal(gn_cluster_open(gn_sim_world(f->sim, 1), &options, &f->cluster, &err), GN_OK);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    char command[100];
    gn_cluster_close(f->cluster, false);
    gn_sim_destroy(f->sim);
    snprintf(command, sizeof command, "rm -rf '%s'", f->dir);
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

/* A request, as `stranger` would make it after a start, or again. */
static gn_node_id join(fixture *f, gn_node_id stranger, const char *address)
{
    gn_error err = {0};
    gn_identity identity;
    gn_world *world = gn_sim_world(f->sim, stranger);
    gn_rpc *rpc = gn_rpc_create(world, 0);
    gn_code code =
        gn_cluster_join(rpc, 1, &(gn_newcomer){.address = address}, gn_now_ns(world) + 10 * SECOND, &identity, &err);
    if (code != GN_OK)
        print_error("%s\n", err.message);
    assert_int_equal(code, GN_OK);
    gn_rpc_stop(rpc);
    gn_rpc_destroy(rpc);
    return identity.node;
}

static const char *state_of(fixture *f, gn_node_id id)
{
    static char text[32];
    gn_error err = {0};
    assert_int_equal(gn_meta_refresh(f->cluster, false, &err), GN_OK);
    gn_placement *p = gn_meta_placement(f->cluster);
    const gn_node_place *node = gn_placement_node(p, id);
    snprintf(text, sizeof text, "%s", node ? node->state : "unknown");
    gn_placement_release(p);
    return text;
}

static void a_request_that_comes_twice_makes_one_node(void **state)
{
    fixture *f = *state;
    gn_node_id first = join(f, 2, "b:1");
    assert_int_equal(join(f, 2, "b:1"), first);
    assert_string_equal(state_of(f, first), "active");
    assert_string_equal(state_of(f, first + 1), "unknown");
}

static void another_one_at_the_address_replaces_it(void **state)
{
    fixture *f = *state;
    gn_node_id first = join(f, 2, "b:1"), other = join(f, 3, "c:1"), second = join(f, 4, "b:1");
    assert_true(first != second && other != second && first != other);
    assert_string_equal(state_of(f, first), "gone");
    assert_string_equal(state_of(f, other), "active");
    assert_string_equal(state_of(f, second), "active");
    assert_int_equal(join(f, 4, "b:1"), second);
    assert_string_equal(state_of(f, second), "active");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_request_that_comes_twice_makes_one_node, setup, teardown),
        cmocka_unit_test_setup_teardown(another_one_at_the_address_replaces_it, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
