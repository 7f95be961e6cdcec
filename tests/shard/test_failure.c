/* The store's disk fails: the replica stops, says so, and has lost nothing that it acknowledged. */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>

enum { TABLE = GN_FIRST_USER_ID };

static int setup_small(void **state)
{
    fixture_setup(state);
    fixture *fx = *state;
    fx->options.memtable_bytes = 256 << 10;
    fixture_reopen(fx, true);
    return 0;
}

static void a_failed_flush_stops_the_replica_and_loses_nothing(void **state)
{
    fixture *fx = *state;
    gn_error err = {0};
    gn_table_desc *t = make_table(TABLE);
    ASSERT_OK(put_table(fx, t, &err), &err);
    char store[400], away[400], *name = calloc(1, 2000);
    snprintf(store, sizeof store, "%s/store-1", fx->shard_dir);
    snprintf(away, sizeof away, "%s/gone", fx->dir);
    memset(name, 'x', 1999);
    assert_int_equal(rename(store, away), 0); /* no file can be made in it any more */
    int acknowledged = 0;
    gn_code code = GN_OK;
    for (; code == GN_OK && acknowledged < 20000; acknowledged++) {
        gn_txn *txn;
        code = gn_txn_begin(fx->shard, NULL, &txn, &err);
        if (code != GN_OK)
            break;
        ASSERT_OK(insert(txn, t, &(row){.id = acknowledged, .name = name}, &err), &err);
        code = gn_txn_commit(txn, NULL, &err);
        if (code != GN_OK)
            break;
    }
    assert_true(code == GN_IO || code == GN_CRASH_SHUTDOWN);
    assert_true(err.message[0]);
    assert_true(acknowledged > 0);
    gn_txn *txn;
    code = gn_txn_begin(fx->shard, NULL, &txn, &err);
    assert_true(code == GN_IO || code == GN_CRASH_SHUTDOWN);
    uint64_t id;
    assert_int_not_equal(gn_shard_new_ids(fx->shard, 1, &id, &err), GN_OK);
    fixture_close(fx, true); /* asked to be clean, it knows better */
    assert_int_equal(rename(away, store), 0);
    fixture_open(fx);
    txn = begin(fx);
    for (int i = 0; i < acknowledged; i++)
        assert_true(has_row(txn, t, i, NULL));
    assert_false(has_row(txn, t, acknowledged + 1, NULL));
    gn_txn_abort(txn);
    free(name);
    free_table(t);
}

static void two_shards_on_one_directory_are_refused(void **state)
{
    fixture *fx = *state;
    gn_error err = {0};
    gn_shard *second;
    gn_shard_options options = fx->options;
    options.group_id = 2;
    ASSERT_CODE(gn_shard_open(fx->world, fx->host, &options, &second, &err), GN_LOCKED, &err);
}

static void a_directory_that_cannot_be_made_is_reported(void **state)
{
    fixture *fx = *state;
    gn_error err = {0};
    gn_shard *second;
    gn_shard_options options = fx->options;
    options.group_id = 2;
    options.dir = "/proc/nowhere/shard";
    ASSERT_CODE(gn_shard_open(fx->world, fx->host, &options, &second, &err), GN_IO, &err);
    assert_non_null(strstr(err.message, "/proc/nowhere/shard"));
}

static void damage_in_the_store_is_reported(void **state)
{
    fixture *fx = *state;
    gn_error err = {0};
    fixture_close(fx, true);
    char command[500];
    snprintf(command, sizeof command, "echo what >'%s/CURRENT'", fx->shard_dir);
    assert_int_equal(system(command), 0);
    gn_raft_options raft = {.log_dir = fx->log_dir};
    ASSERT_OK(gn_raft_host_open(fx->world, &raft, &fx->host, &err), &err);
    ASSERT_CODE(gn_shard_open(fx->world, fx->host, &fx->options, &fx->shard, &err), GN_CORRUPT, &err);
    gn_raft_host_close(fx->host);
    fx->shard = NULL;
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup_small, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_failed_flush_stops_the_replica_and_loses_nothing),
        TEST(two_shards_on_one_directory_are_refused),
        TEST(a_directory_that_cannot_be_made_is_reported),
        TEST(damage_in_the_store_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
