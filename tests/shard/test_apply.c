/* Applying the log: the same commands give the same bytes on every replica, however often one of them restarts. */
#include "fixture.h"
#include "shard/shard_private.h"

#include <stdio.h>
#include <stdlib.h>

enum { TABLE = GN_FIRST_USER_ID, I_NAME, I_N, HIDDEN, IDS = 40, COMMANDS = 400 };

static uint64_t rnd_state;
static uint32_t rnd(uint32_t n)
{
    rnd_state = rnd_state * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(rnd_state >> 33) % n;
}

/* Everything but what is a replica's own: the applied index (Raft's own entries differ) and the feeds. */
static void dump_store(fixture *fx, gn_buf *out)
{
    gn_store *store = gn_shard_store(fx->shard);
    rocksdb_iterator_t *it = rocksdb_create_iterator(store->db, store->sweep);
    gn_buf_clear(out);
    for (rocksdb_iter_seek_to_first(it); rocksdb_iter_valid(it); rocksdb_iter_next(it)) {
        size_t key_len, value_len;
        const char *key = rocksdb_iter_key(it, &key_len), *value = rocksdb_iter_value(it, &value_len);
        if (key[0] == GN_KIND_META && (key[1] == GN_META_STATE || key[1] == GN_META_FEED))
            continue;
        gn_buf_append_varbytes(out, gn_bytes_of(key, key_len));
        gn_buf_append_varbytes(out, gn_bytes_of(value, value_len));
    }
    assert_false(out->failed);
    rocksdb_iter_destroy(it);
    gn_store_release(store);
}

/* A counted copy, as the decoder makes it. */
static const gn_table_desc *counted(const gn_table_desc *desc)
{
    gn_buf bytes;
    const gn_table_desc *copy;
    gn_buf_init(&bytes, NULL, 1 << 16);
    assert_true(gn_table_desc_encode(desc, &bytes));
    assert_int_equal(gn_table_desc_decode(gn_buf_bytes(&bytes), &copy, NULL), GN_OK);
    gn_buf_close(&bytes);
    return copy;
}

static void own_write(gn_write_set *ws, const gn_table_desc *t, uint32_t id)
{
    gn_value values[4];
    gn_buf key, bytes;
    char name[16];
    key_of(t->hidden_key ? ((int64_t)1 << 62) + (int64_t)ws->run_n : id, &key);
    gn_buf_init(&bytes, NULL, 4096);
    snprintf(name, sizeof name, "n%u", rnd(200));
    row_values(&(row){.id = id, .name = name, .n = rnd(5)}, values);
    assert_int_equal(gn_row_encode(t, values, &bytes, NULL), GN_OK);
    if (t->hidden_key || rnd(3))
        assert_int_equal(gn_own_put(ws, gn_buf_bytes(&key), gn_buf_bytes(&bytes), !t->hidden_key && rnd(2), NULL),
                         GN_OK);
    else
        assert_int_equal(gn_own_delete(ws, gn_buf_bytes(&key), NULL), GN_OK);
    gn_buf_close(&key);
    gn_buf_close(&bytes);
}

/* Inserts, replacements and removals without regard to what is there, and reads of a few keys as of some while ago. */
static void random_command(const gn_table_desc *const *tables, gn_scn now, gn_buf *out)
{
    gn_read_set reads = {0};
    gn_buf packed;
    gn_buf_init(&packed, NULL, 1 << 20);
    gn_space space = gn_row_space(tables[0], GN_BRANCH_MAIN);
    for (uint32_t i = rnd(3); i > 0; i--) {
        gn_buf key;
        key_of(rnd(IDS), &key);
        gn_read_set_point(&reads, &space, gn_buf_bytes(&key));
        gn_buf_close(&key);
    }
    gn_read_set_pack(&reads, &packed);
    gn_command c = {.kind = GN_COMMAND_TXN,
                    .txn_id = rnd_state,
                    .clock = now + rnd(3),
                    .branch = GN_BRANCH_MAIN,
                    .reads = gn_buf_bytes(&packed)};
    c.start_scn = now - rnd(4);
    size_t patch;
    gn_buf_clear(out);
    gn_command_begin_txn(&c, out, &patch);
    for (int t = 0; t < 2; t++) {
        gn_write_set *ws = gn_write_set_create(tables[t], NULL);
        uint64_t n;
        for (uint32_t i = rnd(4); i > 0; i--)
            own_write(ws, tables[t], rnd(IDS));
        gn_command_add_section(out, ws, &n);
        gn_write_set_destroy(ws);
    }
    assert_true(gn_command_end_txn(out, patch));
    gn_read_set_close(&reads);
    gn_buf_close(&packed);
}

static gn_code run(fixture *fx, gn_bytes command, gn_commit_op *op)
{
    return gn_shard_run_command(fx->shard, command, NULL, op);
}

static void replicas_come_to_the_same_bytes(void **state)
{
    fixture *a = *state, *b;
    void *other;
    fixture_setup(&other);
    b = other;
    gn_error err = {0};
    gn_table_desc *t = make_table(TABLE), *h = make_table(HIDDEN);
    add_index(t, I_NAME, COL_NAME, true);
    add_index(t, I_N, COL_N, false)->descending[0] = true;
    h->hidden_key = true;
    h->n_key = 0;
    const gn_table_desc *tables[] = {counted(t), counted(h)};
    gn_buf command, bytes_a, bytes_b;
    gn_buf_init(&command, NULL, 1 << 20);
    gn_buf_init(&bytes_a, NULL, 64 << 20);
    gn_buf_init(&bytes_b, NULL, 64 << 20);
    gn_commit_op op_a, op_b;
    /* the definitions, as one command for both; at the present, so that nothing is old enough to be collected */
    gn_txn *txn = begin(a);
    ASSERT_OK(gn_txn_put_table(txn, t, &err), &err);
    ASSERT_OK(gn_txn_put_table(txn, h, &err), &err);
    gn_txn_abort(txn);
    gn_write_set *catalog = gn_write_set_create(gn_catalog_desc(), NULL);
    for (int i = 0; i < 2; i++) {
        gn_buf key, row_bytes;
        gn_buf_init(&key, NULL, 100);
        gn_buf_init(&row_bytes, NULL, 1 << 16);
        ASSERT_OK(gn_catalog_key(tables[i]->id, &key, &err), &err);
        ASSERT_OK(gn_catalog_row(tables[i], &row_bytes, &err), &err);
        ASSERT_OK(gn_own_put(catalog, gn_buf_bytes(&key), gn_buf_bytes(&row_bytes), false, &err), &err);
        gn_buf_close(&key);
        gn_buf_close(&row_bytes);
    }
    size_t patch;
    uint64_t n;
    const uint8_t no_reads = 0;
    gn_command_begin_txn(&(gn_command){.kind = GN_COMMAND_TXN,
                                       .txn_id = 1,
                                       .clock = gn_shard_clock(a->shard),
                                       .branch = 1,
                                       .reads = {&no_reads, 1}},
                         &command, &patch);
    gn_command_add_section(&command, catalog, &n);
    gn_command_end_txn(&command, patch);
    gn_write_set_destroy(catalog);
    ASSERT_OK(run(a, gn_buf_bytes(&command), &op_a), &op_a.err);
    ASSERT_OK(run(b, gn_buf_bytes(&command), &op_b), &op_b.err);

    int outcomes[3] = {0};
    rnd_state = 5;
    for (int i = 0; i < COMMANDS; i++) {
        random_command(tables, gn_shard_last_scn(a->shard), &command);
        gn_code code = run(a, gn_buf_bytes(&command), &op_a);
        ASSERT_CODE(run(b, gn_buf_bytes(&command), &op_b), code, &op_b.err);
        assert_int_equal(op_a.scn, op_b.scn);
        outcomes[code == GN_OK ? 0 : code == GN_UNIQUE ? 1 : 2]++;
        if (i % 50 == 17) { /* a command that comes twice is applied once */
            assert_int_equal(run(a, gn_buf_bytes(&command), &op_a), run(b, gn_buf_bytes(&command), &op_b));
            assert_int_equal(op_a.scn, op_b.scn);
        }
        if (i % 41 == 40)
            fixture_reopen(b, i % 2);
    }
    assert_true(outcomes[0] > 50 && outcomes[1] > 20 && outcomes[2] > 5);
    dump_store(a, &bytes_a);
    dump_store(b, &bytes_b);
    assert_int_equal(bytes_a.len, bytes_b.len);
    assert_memory_equal(bytes_a.data, bytes_b.data, bytes_a.len);
    gn_buf_close(&command);
    gn_buf_close(&bytes_a);
    gn_buf_close(&bytes_b);
    free_table(t);
    free_table(h);
    gn_table_desc_release(tables[0]);
    gn_table_desc_release(tables[1]);
    fixture_teardown(&other);
}

static void what_was_not_flushed_comes_from_the_log(void **state)
{
    fixture *fx = *state;
    gn_error err = {0};
    gn_table_desc *t = make_table(TABLE);
    ASSERT_OK(put_table(fx, t, &err), &err);
    uint64_t applied = fx->shard->applied_index;
    fixture_reopen(fx, true);
    assert_true(fx->shard->durable_index >= applied);
    gn_txn *txn = begin(fx);
    ASSERT_OK(insert(txn, t, &(row){.id = 1, .name = "x"}, &err), &err);
    ASSERT_OK(gn_txn_commit(txn, NULL, &err), &err);
    applied = fx->shard->applied_index;
    fixture_reopen(fx, false);
    assert_true(fx->shard->durable_index < applied); /* the crash has lost it here */
    char *text = dump_now(fx, t, NULL);
    assert_string_equal(text, "1:x:0 ");
    free(text);
    free_table(t);
}

typedef struct change_list {
    uint64_t n;
    gn_scn last;
    bool ordered;
} change_list;

static bool note_change(void *ctx, const gn_change *c)
{
    change_list *list = ctx;
    list->ordered = list->ordered && c->scn >= list->last;
    list->last = c->scn;
    list->n += c->table_id == TABLE;
    return true;
}

static void a_large_transaction_is_one_commit(void **state)
{
    enum { ROWS = 60000 };
    fixture *fx = *state;
    gn_error err = {0};
    gn_table_desc *t = make_table(TABLE);
    const gn_index_desc *by_name = add_index(t, I_NAME, COL_NAME, true);
    ASSERT_OK(put_table(fx, t, &err), &err);
    gn_txn *txn = begin(fx), *other = begin(fx);
    char name[32];
    for (int i = 0; i < ROWS; i++) {
        snprintf(name, sizeof name, "%08d", (i * 7919) % ROWS);
        ASSERT_OK(insert(txn, t, &(row){.id = i % 2 ? i : -i, .name = name}, &err), &err);
    }
    gn_scn scn;
    gn_scn before = gn_shard_last_scn(fx->shard);
    ASSERT_OK(gn_txn_commit(txn, &scn, &err), &err);
    change_list list = {.ordered = true};
    ASSERT_OK(gn_shard_changes(fx->shard, before, scn, note_change, &list, &err), &err);
    assert_int_equal(list.n, ROWS);
    assert_true(list.ordered);
    gn_table_stats stats;
    gn_shard_table_stats(fx->shard, TABLE, &stats);
    assert_int_equal(stats.rows_estimate, ROWS);
    /* what was read before it and lies among its keys is a conflict */
    free(dump(other, t, NULL, NULL, false));
    ASSERT_OK(insert(other, t, &(row){.id = ROWS + 1}, &err), &err);
    ASSERT_CODE(gn_txn_commit(other, NULL, &err), GN_SERIALIZATION, &err);
    fixture_reopen(fx, false);
    txn = begin(fx);
    gn_value v = {.type = gn_type_of(GN_T_TEXT), .as.bytes = gn_bytes_str("00000003")};
    gn_buf key;
    gn_buf_init(&key, NULL, 100);
    ASSERT_OK(gn_key_append(&key, &v, false, false, &err), &err);
    gn_key_range range = {.lo = gn_buf_bytes(&key), .hi = gn_buf_bytes(&key), .hi_inclusive = true};
    char *text = dump(txn, t, by_name, &range, false);
    assert_non_null(strstr(text, ":00000003:0 "));
    assert_ptr_equal(strchr(text, ' '), text + strlen(text) - 1);
    free(text);
    /* one key that is taken refuses all of it */
    for (int i = 0; i < 3000; i++)
        ASSERT_OK(insert(txn, t, &(row){.id = 1000000 + i}, &err), &err);
    gn_txn *clash = begin(fx);
    ASSERT_OK(insert(clash, t, &(row){.id = 1002999}, &err), &err);
    ASSERT_OK(commit(clash), NULL);
    ASSERT_CODE(gn_txn_commit(txn, NULL, &err), GN_UNIQUE, &err);
    txn = begin(fx);
    assert_false(has_row(txn, t, 1000000, NULL));
    gn_txn_abort(txn);
    gn_buf_close(&key);
    free_table(t);
}

static void a_transaction_too_large_is_refused_and_goes_on(void **state)
{
    fixture *fx = *state;
    gn_error err = {0};
    gn_table_desc *t = make_table(TABLE);
    ASSERT_OK(put_table(fx, t, &err), &err);
    char *big = malloc(40 << 20);
    memset(big, 'x', 40 << 20);
    big[(40 << 20) - 1] = '\0';
    gn_txn *txn = begin(fx);
    gn_code code = GN_OK;
    int i = 0;
    for (; code == GN_OK && i < 20; i++)
        code = insert(txn, t, &(row){.id = i, .name = big}, &err);
    ASSERT_CODE(code, GN_LIMIT, &err);
    assert_true(i > 3);
    gn_txn_abort(txn);
    txn = begin(fx);
    ASSERT_OK(insert(txn, t, &(row){.id = 1, .name = "small"}, &err), &err);
    ASSERT_OK(commit(txn), NULL);
    free(big);
    free_table(t);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(replicas_come_to_the_same_bytes),
        TEST(what_was_not_flushed_comes_from_the_log),
        TEST(a_large_transaction_is_one_commit),
        TEST(a_transaction_too_large_is_refused_and_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
