/* Snapshots on real threads: a second and a third node are added to a group of one that is being written to, and read
 * chunks from it while it takes snapshots. */
#include "fixture.h"
#include "shard/snapshot_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { NODES = 3, TABLE = GN_FIRST_USER_ID, I_V, ROW_BYTES = 2000 };

typedef struct node {
    struct real *r;
    gn_node_id id;
    gn_world *world;
    gn_raft_host *host;
    gn_shard *shard;
    char dir[300], log[300];
} node;

typedef struct real {
    char dir[64];
    node nodes[NODES + 1];
    gn_table_desc *table;
    _Atomic bool stop;
    _Atomic int64_t written;
    uint64_t rows;
} real;

/* ---- a network within the process ---- */

typedef struct frame {
    gn_net_frame net;
    uint8_t bytes[];
} frame;

static void frame_done(gn_net_frame *net)
{
    free(GN_CONTAINER(net, frame, net));
}

static bool send_frame(void *ctx, gn_node_id to, uint8_t channel, gn_bytes bytes)
{
    node *n = ctx;
    if (to < 1 || to > NODES)
        return false;
    frame *f = malloc(sizeof *f + bytes.len);
    f->net = (gn_net_frame){.from = n->id, .channel = channel, .done = frame_done};
    memcpy(f->bytes, bytes.data, bytes.len);
    f->net.bytes = gn_bytes_of(f->bytes, bytes.len);
    gn_world_real_receive(n->r->nodes[to].world, &f->net);
    return true;
}

static gn_code fetch(void *ctx, gn_node_id from, const gn_chunk_request *request, const _Atomic bool *cancel,
                     gn_buf *chunk, gn_error *err)
{
    node *n = ctx;
    return *cancel ? GN_CANCELED : gn_shard_read_chunk(n->r->nodes[from].shard, request, chunk, err);
}

/* ---- nodes ---- */

static void open_node(real *r, unsigned id)
{
    static const gn_raft_member first = {.id = 1, .role = GN_RAFT_VOTER};
    node *n = &r->nodes[id];
    gn_error err = {0};
    snprintf(n->dir, sizeof n->dir, "%s/%u", r->dir, id);
    snprintf(n->log, sizeof n->log, "%s/%u-log", r->dir, id);
    gn_raft_options raft = {.log_dir = n->log,
                            .election_timeout_ms =
                                10000, /* nobody but node 1 ever leads, however busy the machine is */
                            .heartbeat_ms = 50,
                            .snapshot_threshold_bytes = 8 << 20,
                            .log_keep_bytes = 1 << 20};
    gn_shard_options options = {.dir = n->dir,
                                .group_id = 1,
                                .members = &first,
                                .n_members = id == 1,
                                .memtable_bytes = 4 << 20,
                                .chunks = {.ctx = n, .fetch = fetch}};
    ASSERT_OK(gn_raft_host_open(n->world, &raft, &n->host, &err), &err);
    ASSERT_OK(gn_shard_open(n->world, n->host, &options, &n->shard, &err), &err);
}

static void start(real *r)
{
    const char *tmp = getenv("TMPDIR"), *rows = getenv("GN_SNAPSHOT_ROWS");
    *r = (real){.rows = rows ? strtoull(rows, NULL, 10) : 5000};
    snprintf(r->dir, sizeof r->dir, "%.30s/gnomon-snapshot-XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(r->dir));
    for (unsigned id = 1; id <= NODES; id++) {
        node *n = &r->nodes[id];
        n->r = r;
        n->id = id;
        n->world = gn_world_real_create(&(gn_world_options){.threads = 2, .node_id = id});
    }
    for (unsigned id = 1; id <= NODES; id++)
        gn_world_real_network(r->nodes[id].world, &(gn_network){.ctx = &r->nodes[id], .send = send_frame});
    for (unsigned id = 1; id <= NODES; id++)
        open_node(r, id);
}

static void stop(real *r)
{
    char command[100];
    for (unsigned id = 1; id <= NODES; id++)
        gn_world_real_network(r->nodes[id].world, NULL);
    for (unsigned id = 1; id <= NODES; id++) {
        gn_shard_close(r->nodes[id].shard, true);
        gn_raft_host_close(r->nodes[id].host);
    }
    for (unsigned id = 1; id <= NODES; id++)
        gn_world_real_destroy(r->nodes[id].world);
    free_table(r->table);
    snprintf(command, sizeof command, "rm -rf '%s'", r->dir);
    assert_int_equal(system(command), 0);
}

/* ---- work ---- */

static gn_code write_rows(real *r, int64_t from, int64_t to)
{
    char name[ROW_BYTES + 1];
    gn_error err = {0};
    gn_txn *txn;
    gn_code code = gn_txn_begin(r->nodes[1].shard, NULL, &txn, &err);
    if (code != GN_OK)
        return code;
    for (int64_t id = from; code == GN_OK && id < to; id++) {
        float v[DIMENSIONS];
        uint64_t x = (uint64_t)id + 1;
        for (int i = 0; i < ROW_BYTES; i++) {
            x = x * UINT64_C(6364136223846793005) + 1442695040888963407u;
            name[i] = (char)('0' + (x >> 58));
            v[i % DIMENSIONS] = (float)(x >> 40);
        }
        name[ROW_BYTES] = '\0';
        row one = {.id = id, .name = name, .n = id, .v = v};
        code = insert(txn, r->table, &one, &err);
    }
    if (code == GN_OK)
        return gn_txn_commit(txn, NULL, &err);
    gn_txn_abort(txn);
    return code;
}

static void writer(void *arg)
{
    real *r = arg;
    while (!r->stop)
        if (write_rows(r, r->written, r->written + 5) == GN_OK)
            r->written += 5;
}

typedef struct call {
    gn_raft_request request;
    gn_event done;
    gn_code code;
} call;

static void call_done(gn_raft_request *request, gn_code code)
{
    call *c = GN_CONTAINER(request, call, request);
    c->code = code;
    gn_event_signal(&c->done);
}

static gn_code add_member(real *r, gn_node_id id)
{
    call c = {.request.done = call_done};
    gn_event_init(&c.done, r->nodes[1].world);
    gn_raft_add(gn_shard_raft_group(r->nodes[1].shard), id, &c.request);
    gn_event_wait(&c.done, UINT64_MAX);
    return c.code;
}

static void nap(real *r)
{
    gn_event e;
    gn_event_init(&e, r->nodes[1].world);
    gn_event_wait(&e, gn_now_ns(r->nodes[1].world) + 5000000);
}

static uint64_t rows_of(gn_shard *shard)
{
    gn_table_stats stats;
    gn_shard_table_stats(shard, TABLE, &stats);
    return stats.rows_estimate;
}

static void two_nodes_are_added_under_load(void **state)
{
    (void)state;
    real r;
    gn_error err = {0};
    gn_txn *txn;
    start(&r);
    ASSERT_OK(gn_shard_wait_ready(r.nodes[1].shard, UINT64_MAX, &err), &err);
    r.table = make_table(TABLE);
    add_vector_index(r.table, I_V, 1);
    ASSERT_OK(gn_txn_begin(r.nodes[1].shard, NULL, &txn, &err), &err);
    ASSERT_OK(gn_txn_put_table(txn, r.table, &err), &err);
    ASSERT_OK(gn_txn_commit(txn, NULL, &err), &err);
    for (uint64_t i = 0; i < r.rows; i += 500)
        assert_int_equal(write_rows(&r, (int64_t)i, (int64_t)i + 500), GN_OK);
    r.written = (int64_t)r.rows;
    gn_raft_status status;
    do { /* until the log alone is not enough */
        nap(&r);
        gn_raft_status_get(gn_shard_raft_group(r.nodes[1].shard), &status);
    } while (status.first_index == 1);
    gn_strand *strand = gn_strand_start(r.nodes[1].world, "writer", writer, &r);
    uint64_t begin = gn_now_ns(r.nodes[1].world);
    for (gn_node_id id = 2; id <= NODES; id++) {
        assert_int_equal(add_member(&r, id), GN_OK);
        do {
            nap(&r);
            gn_raft_status_get(gn_shard_raft_group(r.nodes[id].shard), &status);
        } while (status.snapshot_index == 0 && !status.stopped);
        gn_install_progress p;
        gn_shard_install_progress(r.nodes[id].shard, &p);
        if (getenv("GN_SNAPSHOT_ROWS"))
            print_message("node %u: %.0f MB after %.2f s\n", (unsigned)id, (double)p.bytes_total / 1e6,
                          (double)(gn_now_ns(r.nodes[1].world) - begin) / 1e9);
    }
    r.stop = true;
    gn_strand_join(strand);
    for (gn_node_id id = 2; id <= NODES; id++) {
        while (gn_shard_last_scn(r.nodes[id].shard) < gn_shard_last_scn(r.nodes[1].shard))
            nap(&r);
        assert_int_equal(rows_of(r.nodes[id].shard), r.written);
        assert_int_equal(gn_shard_failed(r.nodes[id].shard), GN_OK);
    }
    assert_int_equal(rows_of(r.nodes[1].shard), r.written);
    stop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(two_nodes_are_added_under_load)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
