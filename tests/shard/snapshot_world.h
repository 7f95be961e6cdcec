/* Some nodes under the simulation with one group, whose replicas fetch snapshots from each other through a hook that a
 * test can disturb. */
#ifndef GN_TESTS_SHARD_SNAPSHOT_WORLD_H
#define GN_TESTS_SHARD_SNAPSHOT_WORLD_H

#include "base/sim.h"
#include "fixture.h"
#include "shard/snapshot_private.h"

enum { NODES_MAX = 3, TABLE = GN_FIRST_USER_ID, I_NAME, I_V, ROW_BYTES = 20000 };
#define MS UINT64_C(1000000)
#define SECOND UINT64_C(1000000000)

struct world;

typedef struct node {
    struct world *w;
    unsigned id;
    char *dir;
    gn_world *world;
    gn_raft_host *host;
    gn_shard *shard;
} node;

typedef struct world {
    char dir[64];
    gn_sim *sim;
    unsigned n_nodes, n_members;
    uint64_t seed;
    node nodes[NODES_MAX + 1];
    gn_table_desc *table;
    uint64_t rate; /* snapshot_bytes_per_second */
    /* Called for each chunk that was read and is about to arrive; what it returns does. May be NULL. */
    gn_code (*disturb)(struct world *w, gn_node_id from, const gn_chunk_request *request, gn_buf *chunk);
    uint64_t fetches, bytes;
    unsigned asked[1000];   /* by file */
    uint64_t mark, counter; /* the test's */
    void *ctx;              /* the test's */
} world;

/* The first n_members make the group; the others wait to be added. */
void world_start(world *w, uint64_t seed, unsigned n_nodes, unsigned n_members);
void world_stop(world *w);
void world_open(world *w, unsigned id);
void world_close(world *w, unsigned id);
void world_crash(world *w, unsigned id, bool restart);
void world_isolate(world *w, unsigned id, bool yes);

unsigned world_leader(world *w);
void world_create_table(world *w);
/* Rows from..to - 1, about ROW_BYTES each, that no compression makes smaller. */
void world_write(world *w, int64_t from, int64_t to);
void world_take_snapshot(world *w, unsigned id);
gn_code world_try_snapshot(world *w, unsigned id);
bool world_caught_up(void *world);
/* Waits until all replicas have applied the same, and compares rows, index entries and vector searches. */
void world_check_equal(world *w);
/* Isolates a follower while rows are written and the log is cut; gives its id. Still isolated. */
unsigned world_leave_behind(world *w, int64_t from, int64_t to);
unsigned world_store_number(world *w, unsigned id);
size_t world_count(const char *dir); /* entries; 0 if there is none */
void world_path(world *w, unsigned id, const char *name, char out[GN_PATH_BYTES]);

#endif
