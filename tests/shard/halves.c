#include "halves.h"

#include <stdio.h>
#include <stdlib.h>

uint32_t slot_of(const gn_table_desc *t, int64_t id)
{
    gn_buf key;
    uint32_t slot;
    gn_error err = {0};
    key_of(id, &key);
    ASSERT_OK(gn_slot_of_key(t, gn_buf_bytes(&key), &slot, &err), &err);
    gn_buf_close(&key);
    return slot;
}

void vector_of(int64_t id, float *v)
{
    for (int i = 0; i < DIMENSIONS; i++)
        v[i] = (float)((id * 7 + i * 13) % 101) / 100.0f;
}

void put_row(gn_txn *txn, const gn_table_desc *t, int64_t id, int64_t n)
{
    float v[DIMENSIONS];
    gn_error err = {0};
    vector_of(id, v);
    ASSERT_OK(insert(txn, t, &(row){.id = id, .name = "row", .n = n, .v = v}, &err), &err);
}

gn_code begin_at(gn_shard *shard, uint32_t lo, uint32_t hi, gn_scn at, gn_txn **out)
{
    gn_error err = {0};
    gn_txn_options options = {.slot_lo = lo, .slot_hi = hi, .read_scn = at};
    return gn_txn_begin(shard, &options, out, &err);
}

gn_txn *begin_in(gn_shard *shard, uint32_t lo, uint32_t hi)
{
    gn_txn *txn;
    assert_int_equal(begin_at(shard, lo, hi, 0, &txn), GN_OK);
    return txn;
}

/* Rows seen by key, and by an index, which must be the same. */
size_t count_rows(gn_txn *txn, const gn_table_desc *t, uint32_t lo, uint32_t hi)
{
    size_t n[2] = {0, 0};
    for (int by_index = 0; by_index < 2; by_index++) {
        char *text = dump(txn, t, by_index ? &t->indexes[0] : NULL, NULL, false);
        for (char *at = text; *at; at = strchr(at, ' ') + 1, n[by_index]++) {
            uint32_t slot = slot_of(t, strtoll(at, NULL, 10));
            assert_true(slot >= lo && slot < hi);
        }
        free(text);
    }
    assert_int_equal(n[0], n[1]);
    return n[0];
}

/* All rows in order of distance: as many as there are, none twice, none of others. */
size_t count_nearest(gn_txn *txn, const gn_table_desc *t, uint32_t lo, uint32_t hi)
{
    static const uint32_t ordinals[] = {0};
    static const gn_type types[] = {{GN_T_INT8, false, -1}, {GN_T_FLOAT8, false, -1}};
    float q[DIMENSIONS];
    vector_of(3, q);
    gn_vector_scan_spec spec = {.table = t,
                                .index = &t->indexes[1],
                                .query = q,
                                .dimensions = DIMENSIONS,
                                .k_hint = 10,
                                .ordinals = ordinals,
                                .n_ordinals = 1};
    bool seen[ROWS * 2] = {false};
    size_t n = 0;
    gn_error err = {0};
    gn_batch batch;
    gn_vector_scan *s;
    gn_arena *arena = gn_arena_create(NULL);
    ASSERT_OK(gn_batch_init(&batch, types, 2, arena, &err), &err);
    ASSERT_OK(gn_vector_scan_open(txn, &spec, &s, &err), &err);
    do {
        ASSERT_OK(gn_vector_scan_next(s, &batch, NULL, &err), &err);
        for (uint32_t i = 0; i < batch.n_rows; i++, n++) {
            int64_t id = batch.columns[0].i64[i];
            uint32_t slot = slot_of(t, id);
            assert_true(slot >= lo && slot < hi && !seen[id]);
            seen[id] = true;
        }
    } while (batch.n_rows > 0);
    gn_vector_scan_close(s);
    gn_arena_destroy(arena);
    return n;
}

/* Also while rows of the other half are there yet. */
void check_indexes(gn_shard *shard, const gn_table_desc *t, size_t rows)
{
    gn_error err = {0};
    gn_txn *txn;
    ASSERT_OK(gn_txn_begin(shard, &(gn_txn_options){.read_only = true, .own_slots = true}, &txn, &err), &err);
    for (uint32_t i = 0; i < t->n_indexes; i++) {
        gn_index_findings found;
        ASSERT_OK(gn_txn_check_index(txn, t, &t->indexes[i], &found, &err), &err);
        assert_true(found.behind || (found.same && found.rows == rows));
        gn_buf_close(&found.example);
    }
    gn_txn_abort(txn);
}

size_t expected(const gn_table_desc *t, int64_t from, int64_t to, uint32_t lo, uint32_t hi)
{
    size_t n = 0;
    for (int64_t id = from; id < to; id++)
        n += slot_of(t, id) >= lo && slot_of(t, id) < hi;
    return n;
}

gn_split split_of(uint64_t generation, uint32_t lo, uint32_t mid, uint32_t hi, uint64_t child)
{
    return (gn_split){
        .generation = generation, .lo = lo, .mid = mid, .hi = hi, .child = child, .n_members = 1, .members = {1}};
}

void child_dir(const halves *h, char *out, size_t size)
{
    snprintf(out, size, "%s/child", h->fx->dir);
}

void open_child(halves *h)
{
    char dir[300];
    gn_error err = {0};
    child_dir(h, dir, sizeof dir);
    gn_shard_options o = h->fx->options;
    o.dir = dir;
    o.group_id = CHILD;
    o.members = NULL;
    o.n_members = 0;
    ASSERT_OK(gn_shard_open(h->fx->world, h->fx->host, &o, &h->child, &err), &err);
    ASSERT_OK(gn_shard_wait_ready(h->child, gn_now_ns(h->fx->world) + 120000000000ull, &err), &err);
}

void adopt_child(halves *h)
{
    char dir[300], path[4096];
    bool there, knows;
    gn_error err = {0};
    child_dir(h, dir, sizeof dir);
    ASSERT_OK(gn_split_path(h->fx->shard_dir, CHILD, path, sizeof path, &there, &err), &err);
    assert_true(there);
    ASSERT_OK(gn_raft_knows(h->fx->host, CHILD, &knows, &err), &err);
    assert_false(knows);
    ASSERT_OK(gn_split_adopt(h->fx->shard_dir, CHILD, dir, &err), &err);
    open_child(h);
    ASSERT_OK(gn_raft_knows(h->fx->host, CHILD, &knows, &err), &err);
    assert_true(knows);
}

void split_now(halves *h)
{
    gn_error err = {0};
    gn_split s = split_of(0, 0, MID, GN_SLOTS, CHILD);
    ASSERT_OK(gn_shard_split(h->fx->shard, &s, 1000000000, &err), &err);
}

void await_clean(gn_world *world, gn_shard *shard)
{
    gn_slots own;
    for (;;) {
        gn_event never;
        gn_shard_slots(shard, &own);
        if (own.cleaned == own.generation)
            return;
        gn_event_init(&never, world);
        gn_event_wait(&never, gn_now_ns(world) + 2000000);
    }
}

int halves_setup(void **state)
{
    int failed = fixture_setup(state);
    halves *h = calloc(1, sizeof *h);
    gn_error err = {0};
    h->fx = *state;
    test_clock_init(&h->clock, (gn_scn)1 << 40);
    fixture_close(h->fx, true);
    h->fx->options.clock = &h->clock.source;
    fixture_open(h->fx);
    h->t = make_table(TABLE);
    h->t->distribution_id = 7;
    h->t->n_shard_key = 1;
    h->t->shard_key[0] = COL_ID;
    add_index(h->t, I_N, COL_N, false);
    add_vector_index(h->t, I_V, GN_METRIC_L2);
    ASSERT_OK(put_table(h->fx, h->t, &err), &err);
    gn_txn *txn = begin(h->fx);
    for (int64_t id = 0; id < ROWS; id++)
        put_row(txn, h->t, id, id % 10);
    ASSERT_OK(gn_txn_commit(txn, NULL, &err), &err);
    ASSERT_OK(gn_shard_vindex_build(h->fx->shard, I_V, NULL, NULL, NULL, &err), &err);
    *state = h;
    return failed;
}

int halves_teardown(void **state)
{
    halves *h = *state;
    gn_shard_close(h->child, true);
    free_table(h->t);
    *state = h->fx;
    free(h);
    return fixture_teardown(state);
}
