/* A shard on the real world and the real Raft host, in a temporary directory, and short ways to use it. */
#ifndef GN_TESTS_SHARD_FIXTURE_H
#define GN_TESTS_SHARD_FIXTURE_H

#include "shard/txn.h"
#include "tests/base/cmocka_all.h"

typedef struct fixture {
    char dir[256];
    gn_world *world;
    gn_raft_host *host;
    gn_shard *shard;
    gn_shard_options options;
    char shard_dir[300], log_dir[300];
} fixture;

/* cmocka set-up and tear-down: *state is the fixture. */
int fixture_setup(void **state);
int fixture_teardown(void **state);

void fixture_open(fixture *fx);
/* clean false: as a crash leaves it (what RocksDB has in memory is lost). */
void fixture_close(fixture *fx, bool clean);
void fixture_reopen(fixture *fx, bool clean);

/* ---- tables ---- */

enum { COL_ID = 1, COL_NAME, COL_N, COL_V };
enum { DIMENSIONS = 8 };

/* table "t<id>": id bigint primary key, name text, n bigint, v vector(8). Free with free_table. */
gn_table_desc *make_table(uint64_t id);
void free_table(gn_table_desc *desc);
gn_index_desc *add_index(gn_table_desc *desc, uint64_t id, uint32_t column, bool unique);
gn_index_desc *add_vector_index(gn_table_desc *desc, uint64_t id, uint8_t metric);

gn_code put_table(fixture *fx, const gn_table_desc *desc, gn_error *err);

typedef struct row {
    int64_t id;
    const char *name; /* NULL: null */
    int64_t n;
    bool n_null;
    const float *v; /* NULL: null */
} row;
void row_values(const row *r, gn_value *values); /* 4 */
void key_of(int64_t id, gn_buf *out);

gn_txn *begin(fixture *fx);
gn_txn *begin_with(fixture *fx, const gn_txn_options *options);
gn_code insert(gn_txn *txn, const gn_table_desc *desc, const row *r, gn_error *err);
gn_code update(gn_txn *txn, const gn_table_desc *desc, int64_t id, const row *r, gn_error *err);
gn_code erase(gn_txn *txn, const gn_table_desc *desc, int64_t id, gn_error *err);
gn_code commit(gn_txn *txn);

/* A whole scan as text: "id:name:n " per row. index NULL: by key. */
char *dump(gn_txn *txn, const gn_table_desc *desc, const gn_index_desc *index, const gn_key_range *range, bool reverse);
char *dump_now(fixture *fx, const gn_table_desc *desc, const gn_index_desc *index);
bool has_row(gn_txn *txn, const gn_table_desc *desc, int64_t id, int64_t *n);

void assert_code(gn_code code, gn_code expected, const gn_error *err, const char *file, int line);
#define ASSERT_CODE(code, expected, err) assert_code(code, expected, err, __FILE__, __LINE__)
#define ASSERT_OK(code, err) ASSERT_CODE(code, GN_OK, err)

#endif
