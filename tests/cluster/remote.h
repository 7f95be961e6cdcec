/* Nodes of a simulated world, each with its half of a cluster: node 1 coordinates and has replicas of some groups, node
 * 2 has the others, node 3 is thought to have some and has none. One clock for all. */
#ifndef GN_TESTS_CLUSTER_REMOTE_H
#define GN_TESTS_CLUSTER_REMOTE_H

#include "base/limits.h"
#include "base/sim.h"
#include "cluster/dtxn_private.h"
#include "cluster/parts_private.h"
#include "index/distance.h"
#include "tests/base/cmocka_all.h"

enum { A = 1, B = 2, C = 3, NODES = 3, DIMENSIONS = 8 };
#define MS UINT64_C(1000000)
#define SECOND UINT64_C(1000000000)

typedef struct half {
    gn_world *world;
    gn_cluster *cluster;
    char dir[300];
} half;

typedef struct remote {
    gn_sim *sim;
    char dir[256];
    half halves[NODES + 1];
    uint64_t here, there, both; /* distributions: of groups at A, of one at B, of one at each */
    uint64_t next_table;
} remote;

int remote_setup(void **state); /* seed 1 */
int remote_teardown(void **state);
remote *remote_start(uint64_t seed);
void remote_stop(remote *r);
void half_open(remote *r, gn_node_id id);
void half_close(remote *r, gn_node_id id, bool clean);
void half_crash(remote *r, gn_node_id id); /* and does not start it again */
void half_restart(remote *r, gn_node_id id);
uint32_t parts_at(remote *r, gn_node_id id); /* held for others */

/* id bigint primary key, name text unique, n bigint, v vector(8) with an index */
void make_table(remote *r, const char *name, uint64_t distribution);

typedef struct row {
    int64_t id;
    const char *name; /* NULL: null */
    int64_t n;
    const float *v; /* NULL: null */
} row;

gn_dtxn *begin_with(remote *r, const gn_dtxn_options *options);
gn_dtxn *begin(remote *r); /* of several statements */
const gn_table_desc *table(gn_dtxn *txn, const char *name);
gn_code insert(gn_dtxn *txn, const char *table, const row *v, gn_error *err);
gn_code update(gn_dtxn *txn, const char *table, int64_t id, const row *v, gn_error *err);
gn_code erase(gn_dtxn *txn, const char *table, int64_t id, gn_error *err);
gn_code commit(gn_dtxn *txn, gn_error *err);

typedef struct look {
    bool by_name, reverse, ordered;
    bool ranged; /* of ids, or of names as numbers */
    int64_t lo, hi;
    uint64_t limit; /* rows that are taken; 0 = all */
} look;
/* "id:name:n " for each row. NULL, with *code, when it fails. To be freed. */
char *rows(gn_dtxn *txn, const char *table, const look *how, gn_code *code, gn_error *err);
void assert_rows(remote *r, gn_dtxn *txn, const char *table, const look *how, const char *expected);
/* The nearest k, as "id " each. */
char *nearest(gn_dtxn *txn, const char *table, const float *v, uint32_t k, gn_code *code, gn_error *err);

void assert_code(gn_code code, gn_code expected, const gn_error *err, const char *file, int line);
#define ASSERT_CODE(code, expected, err) assert_code(code, expected, err, __FILE__, __LINE__)
#define ASSERT_OK(code, err) ASSERT_CODE(code, GN_OK, err)

#endif
