/* A table in a group that is split in two, for tests of splits and of merges. */
#ifndef GN_TESTS_SHARD_HALVES_H
#define GN_TESTS_SHARD_HALVES_H

#include "fixture.h"
#include "index/vector_index.h"
#include "shard/shard_private.h"
#include "test_clock.h"

enum { TABLE = GN_FIRST_USER_ID, I_N, I_V, ROWS = 200, CHILD = 9, MID = GN_SLOTS / 2 };

/* Of both halves: the parent is the fixture's shard. */
typedef struct halves {
    fixture *fx;
    gn_table_desc *t;
    gn_shard *child;
    test_clock clock;
} halves;

uint32_t slot_of(const gn_table_desc *t, int64_t id);
void vector_of(int64_t id, float *v);
void put_row(gn_txn *txn, const gn_table_desc *t, int64_t id, int64_t n);
gn_code begin_at(gn_shard *shard, uint32_t lo, uint32_t hi, gn_scn at, gn_txn **out);
gn_txn *begin_in(gn_shard *shard, uint32_t lo, uint32_t hi);
size_t count_rows(gn_txn *txn, const gn_table_desc *t, uint32_t lo, uint32_t hi);
size_t count_nearest(gn_txn *txn, const gn_table_desc *t, uint32_t lo, uint32_t hi);
void check_indexes(gn_shard *shard, const gn_table_desc *t, size_t rows);
size_t expected(const gn_table_desc *t, int64_t from, int64_t to, uint32_t lo, uint32_t hi);
gn_split split_of(uint64_t generation, uint32_t lo, uint32_t mid, uint32_t hi, uint64_t child);
void child_dir(const halves *h, char *out, size_t size);
void open_child(halves *h);
void adopt_child(halves *h);
void split_now(halves *h);
void await_clean(gn_world *world, gn_shard *shard);
int halves_setup(void **state);
int halves_teardown(void **state);

#endif
