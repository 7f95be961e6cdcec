/* Definitions: created, changed and dropped under transactions, with the data that hangs on them. */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>

enum { TABLE = GN_FIRST_USER_ID, I_NAME, I_N, TABLE_2 };

#define ASSERT_DUMP(text, expected)           \
    do {                                      \
        char *text_ = (text);                 \
        assert_string_equal(text_, expected); \
        free(text_);                          \
    } while (0)

static void put(fixture *fx, const gn_table_desc *t, const row *r)
{
    gn_error err = {0};
    gn_txn *txn = begin(fx);
    ASSERT_OK(insert(txn, t, r, &err), &err);
    ASSERT_OK(gn_txn_commit(txn, NULL, &err), &err);
}

static void the_catalog_is_transactional(void **state)
{
    fixture *fx = *state;
    gn_error err = {0};
    gn_table_desc *t = make_table(TABLE), *u = make_table(TABLE_2);
    gn_txn *before = begin(fx), *txn = begin(fx);
    ASSERT_OK(gn_txn_put_table(txn, t, &err), &err);
    assert_non_null(gn_txn_table_named(txn, gn_bytes_str("t16384")));
    assert_null(gn_txn_table_named(before, gn_bytes_str("t16384")));
    ASSERT_OK(insert(txn, t, &(row){.id = 1, .name = "with the table"}, &err), &err);
    ASSERT_DUMP(dump(txn, t, NULL, NULL, false), "1:with the table:0 ");
    ASSERT_OK(gn_txn_commit(txn, NULL, &err), &err);
    assert_null(gn_txn_table(before, TABLE));
    gn_txn_abort(before);
    ASSERT_DUMP(dump_now(fx, t, NULL), "1:with the table:0 ");

    ASSERT_OK(put_table(fx, u, &err), &err);
    fixture_reopen(fx, false);
    txn = begin(fx);
    const gn_table_desc **tables;
    size_t n;
    gn_arena *arena = gn_arena_create(NULL);
    ASSERT_OK(gn_txn_tables(txn, arena, &tables, &n, &err), &err);
    assert_int_equal(n, 2);
    assert_string_equal(tables[0]->name, "t16384");
    assert_string_equal(tables[1]->name, "t16387");
    ASSERT_OK(gn_txn_drop_table(txn, TABLE, &err), &err);
    ASSERT_OK(gn_txn_tables(txn, arena, &tables, &n, &err), &err);
    assert_int_equal(n, 1);
    ASSERT_CODE(gn_txn_drop_table(txn, TABLE, &err), GN_NO_TABLE, &err);
    gn_txn_abort(txn);
    gn_arena_destroy(arena);
    free_table(t);
    free_table(u);
}

static void names_are_taken_once(void **state)
{
    fixture *fx = *state;
    gn_error err = {0};
    gn_table_desc *t = make_table(TABLE), *u = make_table(TABLE_2);
    add_index(t, I_NAME, COL_NAME, false);
    ASSERT_OK(put_table(fx, t, &err), &err);
    snprintf(u->name, sizeof u->name, "%s", "i16385");
    ASSERT_CODE(put_table(fx, u, &err), GN_DUPLICATE_TABLE, &err);
    snprintf(u->name, sizeof u->name, "%s", "same");
    gn_table_desc *w = make_table(TABLE_2 + 1);
    snprintf(w->name, sizeof w->name, "%s", "same");
    gn_txn *a = begin(fx), *b = begin(fx);
    ASSERT_OK(gn_txn_put_table(a, u, &err), &err);
    ASSERT_OK(gn_txn_put_table(b, w, &err), &err);
    ASSERT_OK(commit(a), NULL);
    ASSERT_CODE(gn_txn_commit(b, NULL, &err), GN_DUPLICATE_TABLE, &err);
    assert_string_equal(err.message, "relation \"same\" already exists");
    gn_txn *txn = begin(fx); /* the name is free again in the same transaction */
    ASSERT_OK(gn_txn_drop_table(txn, u->id, &err), &err);
    ASSERT_OK(gn_txn_put_table(txn, w, &err), &err);
    ASSERT_OK(gn_txn_commit(txn, NULL, &err), &err);
    free_table(t);
    free_table(u);
    free_table(w);
}

static void a_new_index_holds_the_rows_that_are_there(void **state)
{
    fixture *fx = *state;
    gn_error err = {0};
    gn_table_desc *t = make_table(TABLE);
    ASSERT_OK(put_table(fx, t, &err), &err);
    put(fx, t, &(row){.id = 1, .name = "b"});
    put(fx, t, &(row){.id = 2, .name = "a"});
    put(fx, t, &(row){.id = 3, .name = "c"});
    const gn_index_desc *by_name = add_index(t, I_NAME, COL_NAME, true);
    gn_txn *txn = begin(fx);
    ASSERT_OK(gn_txn_put_table(txn, t, &err), &err);
    ASSERT_OK(erase(txn, t, 3, &err), &err);
    ASSERT_OK(insert(txn, t, &(row){.id = 4, .name = "c"}, &err), &err);
    ASSERT_OK(gn_txn_commit(txn, NULL, &err), &err);
    ASSERT_DUMP(dump_now(fx, t, by_name), "2:a:0 1:b:0 4:c:0 ");
    fixture_reopen(fx, false);
    ASSERT_DUMP(dump_now(fx, t, by_name), "2:a:0 1:b:0 4:c:0 ");
    txn = begin(fx);
    ASSERT_CODE(insert(txn, t, &(row){.id = 5, .name = "a"}, &err), GN_UNIQUE, &err);
    gn_txn_abort(txn);
    free_table(t);
}

static void an_index_can_be_read_in_the_transaction_that_makes_it(void **state)
{
    fixture *fx = *state;
    gn_error err = {0};
    gn_table_desc *t = make_table(TABLE);
    ASSERT_OK(put_table(fx, t, &err), &err);
    put(fx, t, &(row){.id = 1, .name = "b"});
    put(fx, t, &(row){.id = 2, .name = "a"});
    put(fx, t, &(row){.id = 3, .name = "c"});
    gn_table_desc *x = make_table(TABLE);
    const gn_index_desc *by_name = add_index(x, I_NAME, COL_NAME, true);
    gn_txn *txn = begin(fx);
    ASSERT_OK(gn_txn_put_table(txn, x, &err), &err);
    ASSERT_DUMP(dump(txn, x, by_name, NULL, false), "2:a:0 1:b:0 3:c:0 ");
    ASSERT_OK(update(txn, x, 2, &(row){.id = 2, .name = "d"}, &err), &err);
    ASSERT_OK(erase(txn, x, 3, &err), &err);
    ASSERT_OK(insert(txn, x, &(row){.id = 4, .name = "a"}, &err), &err);
    ASSERT_DUMP(dump(txn, x, by_name, NULL, true), "2:d:0 1:b:0 4:a:0 ");
    ASSERT_OK(gn_txn_commit(txn, NULL, &err), &err);
    ASSERT_DUMP(dump_now(fx, x, by_name), "4:a:0 1:b:0 2:d:0 ");
    /* with the table it is over */
    gn_table_desc *u = make_table(TABLE_2);
    const gn_index_desc *u_name = add_index(u, TABLE_2 + 1, COL_NAME, true);
    txn = begin(fx);
    ASSERT_OK(gn_txn_put_table(txn, u, &err), &err);
    ASSERT_DUMP(dump(txn, u, u_name, NULL, false), "");
    ASSERT_OK(insert(txn, u, &(row){.id = 4, .name = "a"}, &err), &err);
    ASSERT_CODE(insert(txn, u, &(row){.id = 5, .name = "a"}, &err), GN_UNIQUE, &err);
    ASSERT_DUMP(dump(txn, u, u_name, NULL, false), "4:a:0 ");
    ASSERT_OK(gn_txn_commit(txn, NULL, &err), &err);
    free_table(t);
    free_table(x);
    free_table(u);
}

static void a_dropped_table_is_there_in_the_past(void **state)
{
    fixture *fx = *state;
    gn_error err = {0};
    gn_table_desc *t = make_table(TABLE);
    ASSERT_OK(put_table(fx, t, &err), &err);
    put(fx, t, &(row){.id = 1, .name = "b"});
    gn_scn then = gn_shard_last_scn(fx->shard);
    gn_txn *txn = begin(fx);
    ASSERT_OK(gn_txn_drop_table(txn, TABLE, &err), &err);
    ASSERT_OK(gn_txn_commit(txn, NULL, &err), &err);
    for (int i = 0; i < 2; i++) {
        txn = begin_with(fx, &(gn_txn_options){.read_scn = then});
        assert_non_null(gn_txn_table(txn, TABLE));
        ASSERT_DUMP(dump(txn, t, NULL, NULL, false), "1:b:0 ");
        gn_txn_abort(txn);
        fixture_reopen(fx, true);
    }
    free_table(t);
}

static void a_unique_index_over_equal_rows_is_refused(void **state)
{
    fixture *fx = *state;
    gn_error err = {0};
    gn_table_desc *t = make_table(TABLE);
    ASSERT_OK(put_table(fx, t, &err), &err);
    put(fx, t, &(row){.id = 1, .name = "a", .n = 1});
    put(fx, t, &(row){.id = 2, .name = "a", .n = 2});
    add_index(t, I_NAME, COL_NAME, true);
    ASSERT_CODE(put_table(fx, t, &err), GN_UNIQUE, &err);
    assert_string_equal(err.message, "could not create unique index \"i16385\"");
    assert_string_equal(err.detail, "Key (name)=(a) is duplicated.");
    gn_txn *txn = begin(fx);
    assert_int_equal(gn_txn_table(txn, TABLE)->n_indexes, 0);
    /* with the reason removed in the same transaction it is made */
    gn_table_desc *plain = make_table(TABLE);
    ASSERT_OK(erase(txn, plain, 2, &err), &err);
    ASSERT_OK(gn_txn_put_table(txn, t, &err), &err);
    ASSERT_OK(gn_txn_commit(txn, NULL, &err), &err);
    ASSERT_DUMP(dump_now(fx, t, &t->indexes[0]), "1:a:1 ");
    free_table(t);
    free_table(plain);
}

static void truncate_empties_at_once_and_history_remains(void **state)
{
    fixture *fx = *state;
    gn_error err = {0};
    gn_table_desc *t = make_table(TABLE);
    const gn_index_desc *by_name = add_index(t, I_NAME, COL_NAME, true);
    ASSERT_OK(put_table(fx, t, &err), &err);
    put(fx, t, &(row){.id = 1, .name = "a"});
    put(fx, t, &(row){.id = 2, .name = "b"});
    gn_txn *before = begin(fx);
    gn_table_desc *e = make_table(TABLE);
    const gn_index_desc *by_name_e = add_index(e, I_NAME, COL_NAME, true);
    e->data_epoch = 1;
    e->version = 9;
    gn_txn *txn = begin(fx);
    ASSERT_OK(insert(txn, t, &(row){.id = 3, .name = "goes too"}, &err), &err);
    ASSERT_OK(gn_txn_put_table(txn, e, &err), &err);
    ASSERT_DUMP(dump(txn, e, NULL, NULL, false), "");
    ASSERT_OK(insert(txn, e, &(row){.id = 1, .name = "a", .n = 5}, &err), &err);
    ASSERT_OK(gn_txn_commit(txn, NULL, &err), &err);
    ASSERT_DUMP(dump_now(fx, e, by_name_e), "1:a:5 ");
    ASSERT_OK(gn_shard_compact(fx->shard, &err), &err);
    ASSERT_DUMP(dump(before, t, by_name, NULL, false), "1:a:0 2:b:0 ");
    gn_table_stats stats;
    gn_shard_table_stats(fx->shard, TABLE, &stats);
    assert_int_equal(stats.rows_estimate, 1);
    gn_txn_abort(before);
    ASSERT_OK(gn_shard_compact(fx->shard, &err), &err);
    fixture_reopen(fx, true);
    ASSERT_DUMP(dump_now(fx, e, NULL), "1:a:5 ");
    free_table(t);
    free_table(e);
}

static void a_write_with_an_old_definition_is_refused(void **state)
{
    fixture *fx = *state;
    gn_error err = {0};
    gn_table_desc *t = make_table(TABLE);
    ASSERT_OK(put_table(fx, t, &err), &err);
    gn_txn *late = begin(fx), *gone = begin(fx);
    ASSERT_OK(insert(late, t, &(row){.id = 1}, &err), &err);
    ASSERT_OK(insert(gone, t, &(row){.id = 2}, &err), &err);
    t->version++;
    ASSERT_OK(put_table(fx, t, &err), &err);
    ASSERT_CODE(gn_txn_commit(late, NULL, &err), GN_SERIALIZATION, &err);
    gn_txn *txn = begin(fx);
    ASSERT_OK(gn_txn_drop_table(txn, TABLE, &err), &err);
    ASSERT_OK(gn_txn_commit(txn, NULL, &err), &err);
    ASSERT_CODE(gn_txn_commit(gone, NULL, &err), GN_SERIALIZATION, &err);
    free_table(t);
}

static void hidden_keys_are_assigned_at_commit(void **state)
{
    fixture *fx = *state;
    gn_error err = {0};
    gn_table_desc *t = make_table(TABLE);
    t->n_key = 0;
    t->hidden_key = true;
    const gn_index_desc *by_n = add_index(t, I_N, COL_N, false);
    ASSERT_OK(put_table(fx, t, &err), &err);
    gn_txn *a = begin(fx), *b = begin(fx);
    for (int i = 0; i < 3; i++) {
        ASSERT_OK(insert(a, t, &(row){.id = 10 + i, .n = -i}, &err), &err);
        ASSERT_OK(insert(b, t, &(row){.id = 20 + i, .n = i}, &err), &err);
    }
    ASSERT_DUMP(dump(a, t, NULL, NULL, false), "10:-:0 11:-:-1 12:-:-2 ");
    ASSERT_OK(gn_txn_commit(b, NULL, &err), &err);
    ASSERT_CODE(gn_txn_commit(a, NULL, &err), GN_SERIALIZATION, &err); /* it had read the whole table */
    a = begin(fx);
    ASSERT_OK(insert(a, t, &(row){.id = 30, .n = 7}, &err), &err);
    ASSERT_OK(gn_txn_commit(a, NULL, &err), &err);
    fixture_reopen(fx, false);
    a = begin(fx);
    ASSERT_OK(insert(a, t, &(row){.id = 31, .n = -9}, &err), &err);
    ASSERT_OK(gn_txn_commit(a, NULL, &err), &err);
    ASSERT_DUMP(dump_now(fx, t, NULL), "20:-:0 21:-:1 22:-:2 30:-:7 31:-:-9 ");
    ASSERT_DUMP(dump_now(fx, t, by_n), "31:-:-9 20:-:0 21:-:1 22:-:2 30:-:7 ");
    free_table(t);
}

static void definitions_that_cannot_be_are_refused(void **state)
{
    fixture *fx = *state;
    gn_error err = {0};
    gn_table_desc *t = make_table(TABLE);
    t->id = 7;
    ASSERT_CODE(put_table(fx, t, &err), GN_TABLE_DEFINITION, &err);
    t->id = TABLE;
    t->columns[3].type.typmod = -1;
    add_vector_index(t, I_N, 1);
    ASSERT_CODE(put_table(fx, t, &err), GN_WRONG_OBJECT_TYPE, &err);
    t->columns[3].type.typmod = DIMENSIONS;
    t->indexes[0].columns[0] = COL_NAME;
    ASSERT_CODE(put_table(fx, t, &err), GN_WRONG_OBJECT_TYPE, &err);
    free_table(t);
}

/* ---- sequences ---- */

static void sequences_and_ids_never_repeat(void **state)
{
    fixture *fx = *state;
    gn_error err = {0};
    uint64_t id, next;
    int64_t v, w;
    ASSERT_OK(gn_shard_new_ids(fx->shard, 3, &id, &err), &err);
    assert_int_equal(id, GN_FIRST_USER_ID);
    ASSERT_OK(gn_shard_new_ids(fx->shard, 1, &next, &err), &err);
    assert_int_equal(next, id + 3);
    ASSERT_OK(gn_shard_sequence_next(fx->shard, 77, 1, 1, &v, &err), &err);
    assert_int_equal(v, 1);
    ASSERT_OK(gn_shard_sequence_next(fx->shard, 77, 1, 10, &w, &err), &err);
    assert_int_equal(w, 2);
    ASSERT_OK(gn_shard_sequence_raise(fx->shard, 77, 20, &err), &err);
    ASSERT_OK(gn_shard_sequence_next(fx->shard, 77, 1, 1, &w, &err), &err);
    assert_int_equal(w, 21);
    ASSERT_OK(gn_shard_sequence_raise(fx->shard, 77, 5, &err), &err);
    ASSERT_OK(gn_shard_sequence_raise(fx->shard, 77, 5000, &err), &err);
    ASSERT_OK(gn_shard_sequence_next(fx->shard, 77, 1, 1, &w, &err), &err);
    assert_int_equal(w, 5001);
    fixture_reopen(fx, true); /* a clean stop leaves no gap */
    ASSERT_OK(gn_shard_sequence_next(fx->shard, 77, 1, 1, &w, &err), &err);
    assert_int_equal(w, 5002);
    fixture_reopen(fx, false);
    ASSERT_OK(gn_shard_sequence_next(fx->shard, 77, 1, 1, &v, &err), &err);
    assert_true(v > w);
    ASSERT_OK(gn_shard_new_ids(fx->shard, 1, &id, &err), &err);
    assert_int_equal(id, next + 1);
    ASSERT_OK(gn_shard_sequence_raise(fx->shard, 78, INT64_MAX, &err), &err);
    ASSERT_CODE(gn_shard_sequence_next(fx->shard, 78, 1, 1, &v, &err), GN_NUMERIC_RANGE, &err);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(the_catalog_is_transactional),
        TEST(names_are_taken_once),
        TEST(a_new_index_holds_the_rows_that_are_there),
        TEST(an_index_can_be_read_in_the_transaction_that_makes_it),
        TEST(a_dropped_table_is_there_in_the_past),
        TEST(a_unique_index_over_equal_rows_is_refused),
        TEST(truncate_empties_at_once_and_history_remains),
        TEST(a_write_with_an_old_definition_is_refused),
        TEST(hidden_keys_are_assigned_at_commit),
        TEST(definitions_that_cannot_be_are_refused),
        TEST(sequences_and_ids_never_repeat),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
