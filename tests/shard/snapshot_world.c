#include "snapshot_world.h"

#include "shard/vector_feed_private.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void pause_for(gn_world *on, uint64_t ns)
{
    gn_event e;
    gn_event_init(&e, on);
    gn_event_wait(&e, gn_now_ns(on) + ns);
}

static gn_code fetch(void *ctx, gn_node_id from, const gn_chunk_request *request, const _Atomic bool *cancel,
                     gn_buf *chunk, gn_error *err)
{
    node *n = ctx;
    world *w = n->w;
    uint8_t wire[GN_CHUNK_REQUEST_BYTES];
    gn_buf bytes;
    gn_chunk_request there = {0};
    gn_buf_init(&bytes, NULL, sizeof wire);
    gn_chunk_request_write(&bytes, request);
    assert_int_equal(bytes.len, sizeof wire);
    assert_int_equal(gn_chunk_request_read(gn_buf_bytes(&bytes), &there, NULL), GN_OK);
    gn_buf_close(&bytes);
    pause_for(n->world, MS + gn_sim_random(w->sim, 5 * MS));
    if (*cancel)
        return GN_CANCELED;
    assert_true(from >= 1 && from <= w->n_nodes && from != n->id);
    if (!w->nodes[from].shard)
        return GN_UNAVAILABLE;
    gn_code code = gn_shard_read_chunk(w->nodes[from].shard, &there, chunk, err);
    w->fetches++;
    if (code == GN_OK && request->file < sizeof w->asked / sizeof *w->asked)
        w->asked[request->file]++;
    w->bytes += chunk->len;
    if (w->disturb && code == GN_OK)
        code = w->disturb(w, from, request, chunk);
    return code;
}

void world_open(world *w, unsigned id)
{
    node *n = &w->nodes[id];
    gn_raft_member members[NODES_MAX];
    gn_error err = {0};
    for (unsigned i = 0; i < w->n_members; i++)
        members[i] = (gn_raft_member){.id = i + 1, .role = GN_RAFT_VOTER};
    gn_raft_options raft = {.log_dir = "log", .snapshot_threshold_bytes = 2000000, .log_keep_bytes = 100000};
    gn_shard_options options = {.dir = n->dir,
                                .group_id = 1,
                                .members = members,
                                .n_members = id <= w->n_members ? w->n_members : 0,
                                .memtable_bytes = 1 << 20,
                                .chunks = {.ctx = n, .fetch = fetch},
                                .snapshot_bytes_per_second = w->rate};
    ASSERT_OK(gn_raft_host_open(n->world, &raft, &n->host, &err), &err);
    ASSERT_OK(gn_shard_open(n->world, n->host, &options, &n->shard, &err), &err);
}

void world_close(world *w, unsigned id)
{
    node *n = &w->nodes[id];
    gn_shard *shard = n->shard;
    n->shard = NULL;
    gn_shard_close(shard, false);
    gn_raft_host_close(n->host);
}

void world_crash(world *w, unsigned id, bool restart)
{
    gn_sim_crash(w->sim, id, GN_SIM_TEAR);
    world_close(w, id);
    if (!restart)
        return;
    w->nodes[id].world = gn_sim_restart(w->sim, id);
    world_open(w, id);
}

void world_start(world *w, uint64_t seed, unsigned n_nodes, unsigned n_members)
{
    *w = (world){.dir = "/tmp/gnomon-snapshot-XXXXXX", .n_nodes = n_nodes, .n_members = n_members, .seed = seed};
    if (access("/dev/shm", W_OK) == 0)
        snprintf(w->dir, sizeof w->dir, "/dev/shm/gnomon-snapshot-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    w->sim = gn_sim_create(seed, n_nodes);
    for (unsigned id = 1; id <= n_nodes; id++) {
        node *n = &w->nodes[id];
        *n = (node){.w = w, .id = id, .world = gn_sim_world(w->sim, id)};
        assert_true(asprintf(&n->dir, "%s/%u", w->dir, id) > 0);
        world_open(w, id);
    }
}

void world_stop(world *w)
{
    char command[300];
    for (unsigned id = 1; id <= w->n_nodes; id++) {
        if (w->nodes[id].shard)
            world_close(w, id);
        free(w->nodes[id].dir);
    }
    gn_sim_destroy(w->sim);
    if (w->table)
        free_table(w->table);
    snprintf(command, sizeof command, "rm -rf '%s'", w->dir);
    assert_int_equal(system(command), 0);
}

void world_isolate(world *w, unsigned id, bool yes) /* id 0: all */
{
    gn_sim_cut(w->sim, id, 0, yes);
    gn_sim_cut(w->sim, 0, id, yes);
}

static unsigned find_leader(world *w)
{
    for (unsigned id = 1; id <= w->n_nodes; id++) {
        gn_raft_status status;
        if (!w->nodes[id].shard)
            continue;
        gn_raft_status_get(gn_shard_raft_group(w->nodes[id].shard), &status);
        if (status.can_read)
            return id;
    }
    return 0;
}

static bool has_leader(void *ctx)
{
    return find_leader(ctx) != 0;
}

unsigned world_leader(world *w)
{
    assert_true(gn_sim_run_until(w->sim, has_leader, w, 120 * SECOND));
    return find_leader(w);
}

/* ---- writing ---- */

static void fill_row(row *r, int64_t id, char *name, float *v)
{
    uint64_t state = (uint64_t)id * UINT64_C(0x9E3779B97F4A7C15) + 1;
    for (int i = 0; i < ROW_BYTES; i++) {
        state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
        name[i] = (char)('0' + (state >> 58));
    }
    name[ROW_BYTES] = '\0';
    for (int d = 0; d < DIMENSIONS; d++) {
        state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
        v[d] = (float)(state >> 40) / (float)(1 << 24);
    }
    *r = (row){.id = id, .name = name, .n = id, .v = v};
}

void world_write(world *w, int64_t from, int64_t to)
{
    enum { BATCH = 10 };
    char *name = malloc(ROW_BYTES + 1);
    float v[DIMENSIONS];
    for (int attempt = 0; from < to; attempt++) {
        assert_true(attempt < 1000);
        gn_txn *txn;
        gn_error err = {0};
        int64_t end = from + BATCH < to ? from + BATCH : to;
        if (gn_txn_begin(w->nodes[world_leader(w)].shard, NULL, &txn, &err) != GN_OK) {
            gn_sim_run_for(w->sim, SECOND / 10);
            continue;
        }
        gn_code code = GN_OK;
        for (int64_t id = from; code == GN_OK && id < end; id++) {
            row r;
            fill_row(&r, id, name, v);
            code = has_row(txn, w->table, id, NULL) ? update(txn, w->table, id, &r, &err)
                                                    : insert(txn, w->table, &r, &err);
        }
        ASSERT_OK(code, &err);
        if (gn_txn_commit(txn, NULL, &err) == GN_OK)
            from = end;
    }
    free(name);
}

void world_create_table(world *w)
{
    w->table = make_table(TABLE);
    add_vector_index(w->table, I_V, 1);
    for (gn_code code = GN_UNAVAILABLE; code != GN_OK;) {
        gn_txn *txn;
        gn_error err = {0};
        ASSERT_OK(gn_txn_begin(w->nodes[world_leader(w)].shard, NULL, &txn, &err), &err);
        ASSERT_OK(gn_txn_put_table(txn, w->table, &err), &err);
        code = gn_txn_commit(txn, NULL, &err);
    }
}

typedef struct snapshot_call {
    gn_raft_request request;
    gn_event done;
    gn_code code;
} snapshot_call;

static void snapshot_done(gn_raft_request *request, gn_code code)
{
    snapshot_call *c = GN_CONTAINER(request, snapshot_call, request);
    c->code = code;
    gn_event_signal(&c->done);
}

gn_code world_try_snapshot(world *w, unsigned id)
{
    snapshot_call c = {.request.done = snapshot_done};
    gn_event_init(&c.done, w->nodes[id].world);
    gn_raft_take_snapshot(gn_shard_raft_group(w->nodes[id].shard), &c.request);
    assert_int_equal(gn_event_wait(&c.done, UINT64_MAX), GN_OK);
    return c.code;
}

void world_take_snapshot(world *w, unsigned id)
{
    assert_int_equal(world_try_snapshot(w, id), GN_OK);
}

unsigned world_leave_behind(world *w, int64_t from, int64_t to)
{
    assert_true(gn_sim_run_until(w->sim, world_caught_up, w, 60 * SECOND));
    unsigned leader = world_leader(w), behind = leader % w->n_nodes + 1;
    world_isolate(w, behind, true);
    world_write(w, from, to);
    world_take_snapshot(w, world_leader(w));
    return behind;
}

/* ---- comparing ---- */

bool world_caught_up(void *ctx)
{
    world *w = ctx;
    uint64_t newest = 0, applied;
    bool equal = find_leader(w) != 0;
    for (int pass = 0; pass < 2; pass++)
        for (unsigned id = 1; id <= w->n_nodes; id++) {
            gn_raft_status status;
            if (!w->nodes[id].shard)
                return false;
            gn_raft_status_get(gn_shard_raft_group(w->nodes[id].shard), &status);
            applied = w->nodes[id].shard->applied_index;
            if (pass == 0)
                newest = status.last_index > newest ? status.last_index : newest;
            else
                equal = equal && applied == newest;
        }
    return equal;
}

static void dump_rows(node *n, gn_buf *out)
{
    gn_store *store = gn_shard_store(n->shard);
    rocksdb_iterator_t *it = rocksdb_create_iterator(store->db, store->sweep);
    gn_buf_clear(out);
    for (rocksdb_iter_seek_to_first(it); rocksdb_iter_valid(it); rocksdb_iter_next(it)) {
        size_t key_len, value_len;
        const char *key = rocksdb_iter_key(it, &key_len), *value = rocksdb_iter_value(it, &value_len);
        if (key[0] != GN_KIND_ROW && key[0] != GN_KIND_INDEX)
            continue;
        gn_buf_append_varbytes(out, gn_bytes_of(key, key_len));
        gn_buf_append_varbytes(out, gn_bytes_of(value, value_len));
    }
    assert_false(out->failed);
    rocksdb_iter_destroy(it);
    gn_store_release(store);
}

static bool all_indexes_live(void *ctx)
{
    world *w = ctx;
    for (unsigned id = 1; id <= w->n_nodes; id++) {
        gn_shard *shard = w->nodes[id].shard;
        gn_feed *f = gn_feed_acquire(shard->feeds, I_V, 0, gn_shard_last_scn(shard));
        gn_feed_release(f);
        if (!f)
            return false;
    }
    return true;
}

static void search(gn_shard *shard, gn_buf *out)
{
    gn_buf_clear(out);
    gn_feed *f = gn_feed_acquire(shard->feeds, I_V, 0, gn_shard_last_scn(shard));
    gn_vview *view = gn_vview_acquire(gn_feed_vindex(f));
    for (int q = 0; q < 5; q++) {
        float query[DIMENSIONS];
        gn_arena *arena = gn_arena_create(NULL);
        gn_neighbor *found;
        size_t n;
        gn_error err = {0};
        for (int d = 0; d < DIMENSIONS; d++)
            query[d] = (float)((q * 7 + d * 3) % 10) / 10.0f;
        const gn_branch_at chain[] = {{.branch = GN_BRANCH_MAIN, .scn = gn_shard_last_scn(shard)}};
        gn_vsearch s = {.query = query, .k = 10, .ef = 400, .chain = chain, .n_chain = 1, .arena = arena};
        ASSERT_OK(gn_vview_search(view, &s, &found, &n, NULL, &err), &err);
        assert_true(n > 0);
        for (size_t i = 0; i < n; i++) { /* how a distance rounds is a matter of where the vector lies */
            gn_buf_append_varbytes(out, found[i].key);
            gn_buf_printf(out, " %.5f ", (double)found[i].distance);
        }
        gn_arena_destroy(arena);
    }
    gn_vview_release(view);
    gn_feed_release(f);
}

static void compare(world *w, void (*fn)(world *w, unsigned id, gn_buf *out))
{
    gn_buf first, other;
    gn_buf_init(&first, NULL, 256 << 20);
    gn_buf_init(&other, NULL, 256 << 20);
    fn(w, 1, &first);
    assert_true(first.len > 0);
    for (unsigned id = 2; id <= w->n_nodes; id++) {
        fn(w, id, &other);
        assert_int_equal(first.len, other.len);
        assert_memory_equal(first.data, other.data, first.len);
    }
    gn_buf_close(&first);
    gn_buf_close(&other);
}

static void rows_of(world *w, unsigned id, gn_buf *out)
{
    dump_rows(&w->nodes[id], out);
}

static void neighbours_of(world *w, unsigned id, gn_buf *out)
{
    search(w->nodes[id].shard, out);
}

void world_check_equal(world *w)
{
    assert_true(gn_sim_run_until(w->sim, world_caught_up, w, 300 * SECOND));
    compare(w, rows_of);
    assert_true(gn_sim_run_until(w->sim, all_indexes_live, w, 60 * SECOND));
    compare(w, neighbours_of);
}

unsigned world_store_number(world *w, unsigned id)
{
    return (unsigned)w->nodes[id].shard->store_number;
}

size_t world_count(const char *dir)
{
    size_t n = 0;
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));)
        n += e->d_name[0] != '.';
    if (d)
        closedir(d);
    return n;
}

void world_path(world *w, unsigned id, const char *name, char out[GN_PATH_BYTES])
{
    snprintf(out, GN_PATH_BYTES, "%s/%s", w->nodes[id].dir, name);
}
