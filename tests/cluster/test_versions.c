/* The version that a cluster is at: what a newer program may write, who may join, what an older one does with it. */
#include "base/sim.h"
#include "cluster/cluster_private.h"
#include "tests/base/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NODES = 4 };
#define SECOND UINT64_C(1000000000)

static const gn_version_range FIRST = {1, 1}, BOTH = {1, 2}, LATER = {3, 4};

typedef struct fixture {
    gn_sim *sim;
    gn_cluster *cluster;
    gn_identity identity;
    char dir[64];
} fixture;

static gn_code open_as(fixture *f, gn_version_range can, const char *address, gn_error *err)
{
    gn_cluster_options options = {.data_dir = f->dir,
                                  .identity = &f->identity,
                                  .address = address,
                                  .block_cache_bytes = 1 << 20,
                                  .memtable_bytes = 1 << 20,
                                  .host = {.version = "0.9.9"},
                                  .versions = can};
    f->cluster = NULL;
    return gn_cluster_open(gn_sim_world(f->sim, 1), &options, &f->cluster, err);
}

static void reopen_as(fixture *f, gn_version_range can, const char *address)
{
    gn_error err = {0};
    gn_cluster_close(f->cluster, true);
    assert_int_equal(open_as(f, can, address, &err), GN_OK);
}

/* Founded by the first release. */
static int setup(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    gn_error err = {0};
    snprintf(f->dir, sizeof f->dir, "/tmp/gn-versions-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    f->sim = gn_sim_create(1, NODES);
    f->identity = gn_identity_found(gn_sim_world(f->sim, 1));
    assert_int_equal(open_as(f, FIRST, "a:1", &err), GN_OK);
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

static gn_code join(fixture *f, gn_node_id stranger, gn_version_range can, gn_error *err)
{
    gn_identity identity;
    gn_world *world = gn_sim_world(f->sim, stranger);
    gn_rpc *rpc = gn_rpc_create(world, 0);
    char address[8];
    snprintf(address, sizeof address, "n%d:1", (int)stranger);
    const gn_newcomer who = {.address = address, .program = "0.9.9", .versions = can};
    *err = (gn_error){0};
    gn_code code = gn_cluster_join(rpc, 1, &who, gn_now_ns(world) + 10 * SECOND, &identity, err);
    gn_rpc_stop(rpc);
    gn_rpc_destroy(rpc);
    return code;
}

static gn_node_place row_of(fixture *f, gn_node_id id)
{
    gn_error err = {0};
    assert_int_equal(gn_meta_refresh(f->cluster, false, &err), GN_OK);
    gn_placement *p = gn_meta_placement(f->cluster);
    assert_non_null(gn_placement_node(p, id));
    gn_node_place row = *gn_placement_node(p, id);
    gn_placement_release(p);
    return row;
}

static void raise_to(fixture *f, uint32_t version, uint32_t n_nodes, gn_code wanted)
{
    gn_error err = {0};
    assert_int_equal(gn_versions_raise(f->cluster, version, n_nodes, &err), wanted);
}

static void nothing_new_is_written_before_the_version_rises(void **state)
{
    fixture *f = *state;
    reopen_as(f, BOTH, "b:1"); /* at another address, so that it writes its row again */
    assert_false(gn_cluster_is_at(f->cluster, 2));
    gn_error err = {0};
    assert_int_equal(gn_nodes_announce(f->cluster, &err), GN_OK);
    assert_string_equal(row_of(f, 1).address, "b:1");
    assert_string_equal(row_of(f, 1).program, "");
    reopen_as(f, FIRST, "a:1"); /* the way back */
    assert_true(gn_cluster_is_at(f->cluster, 1));
}

static void what_the_version_brings_comes_with_it(void **state)
{
    fixture *f = *state;
    gn_error err = {0};
    reopen_as(f, BOTH, "a:1");
    raise_to(f, 2, 1, GN_OK);
    assert_true(gn_cluster_is_at(f->cluster, 2));
    assert_int_equal(gn_nodes_announce(f->cluster, &err), GN_OK);
    assert_string_equal(row_of(f, 1).program, "0.9.9");
    raise_to(f, 2, 1, GN_OK); /* again */
    reopen_as(f, BOTH, "a:1");
    assert_true(gn_cluster_is_at(f->cluster, 2));
    assert_string_equal(row_of(f, 1).program, "0.9.9");
}

static void programs_of_another_time_refuse_the_data(void **state)
{
    fixture *f = *state;
    gn_error err = {0};
    gn_cluster_close(f->cluster, true);
    assert_int_equal(open_as(f, LATER, "a:1", &err), GN_CONFIGURATION);
    assert_non_null(strstr(err.message, "are of cluster version 1, and this gnomond can do versions 3 to 4 only"));
    assert_non_null(strstr(err.hint, "a release in between"));
    assert_int_equal(open_as(f, BOTH, "a:1", &err), GN_OK);
    raise_to(f, 2, 1, GN_OK);
    gn_cluster_close(f->cluster, true);
    assert_int_equal(open_as(f, FIRST, "a:1", &err), GN_CONFIGURATION);
    assert_non_null(strstr(err.message, "are of cluster version 2, and this gnomond can do versions 1 to 1 only"));
    assert_non_null(strstr(err.hint, "newer gnomond"));
    assert_int_equal(open_as(f, BOTH, "a:1", &err), GN_OK);
}

static void who_cannot_do_the_version_may_not_join(void **state)
{
    fixture *f = *state;
    gn_error err;
    reopen_as(f, BOTH, "a:1");
    assert_int_equal(join(f, 2, FIRST, &err), GN_OK);
    assert_int_equal(join(f, 3, LATER, &err), GN_CONFIGURATION);
    assert_non_null(strstr(err.message, "at version 1, and the gnomond of the new node can do versions 3 to 4 only"));
    raise_to(f, 2, 2, GN_OK);
    assert_int_equal(join(f, 3, FIRST, &err), GN_CONFIGURATION);
    assert_non_null(strstr(err.message, "at version 2, and the gnomond of the new node can do versions 1 to 1 only"));
    assert_int_equal(join(f, 4, BOTH, &err), GN_OK);
    assert_string_equal(row_of(f, 3).program, "0.9.9");
}

static void a_node_that_joins_meanwhile_holds_it_up(void **state)
{
    fixture *f = *state;
    gn_error err;
    reopen_as(f, BOTH, "a:1");
    assert_int_equal(join(f, 2, FIRST, &err), GN_OK);
    raise_to(f, 2, 1, GN_NOT_IN_STATE); /* who asked the nodes knew of one */
    assert_false(gn_cluster_is_at(f->cluster, 2));
}

static void a_node_by_itself_waits_for_nobody(void **state)
{
    fixture *f = *state;
    reopen_as(f, BOTH, NULL);
    assert_true(gn_cluster_is_at(f->cluster, 2));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(nothing_new_is_written_before_the_version_rises), TEST(what_the_version_brings_comes_with_it),
        TEST(programs_of_another_time_refuse_the_data),        TEST(who_cannot_do_the_version_may_not_join),
        TEST(a_node_that_joins_meanwhile_holds_it_up),         TEST(a_node_by_itself_waits_for_nobody),
    };
#undef TEST
    return cmocka_run_group_tests(tests, NULL, NULL);
}
