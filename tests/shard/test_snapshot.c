/* Snapshots that travel: a replica fetches what it lacks from another, whatever happens on the way. */
#include "index/vector_index.h"
#include "raft/raft_private.h"
#include "snapshot_world.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_installed(void *ctx)
{
    world *w = ctx;
    return world_store_number(w, (unsigned)w->mark) > 1;
}

/* And what the install still had to do is done. */
static bool is_at_rest(void *ctx)
{
    world *w = ctx;
    gn_install_progress progress;
    if (!is_installed(w))
        return false;
    gn_shard_install_progress(w->nodes[w->mark].shard, &progress);
    return !progress.running;
}

static void wait_for_install(world *w, unsigned id)
{
    w->mark = id;
    assert_true(gn_sim_run_until(w->sim, is_at_rest, w, 300 * SECOND));
}

static bool is_fetching(void *ctx)
{
    world *w = ctx;
    return w->fetches >= w->counter;
}

static void wait_for_fetches(world *w, uint64_t n)
{
    w->counter = n;
    assert_true(gn_sim_run_until(w->sim, is_fetching, w, 300 * SECOND));
}

static uint64_t segments_of(world *w, unsigned id)
{
    gn_vindex_stats stats = {0};
    assert_int_equal(gn_shard_vindex_stats(w->nodes[id].shard, I_V, &stats, NULL), GN_OK);
    return stats.segments;
}

static void build_index(world *w, unsigned id)
{
    gn_error err = {0};
    ASSERT_OK(gn_shard_vindex_build(w->nodes[id].shard, I_V, NULL, NULL, NULL, &err), &err);
}

/* ---- fetching ---- */

static void a_replica_fetches_rows_and_indexes(void **state)
{
    (void)state;
    world w;
    char path[GN_PATH_BYTES];
    world_start(&w, 1, 3, 3);
    world_create_table(&w);
    world_write(&w, 0, 20);
    build_index(&w, world_leader(&w));
    unsigned behind = world_leave_behind(&w, 20, 400); /* 8 MB: more than the memory of a store's writes */
    build_index(&w, world_leader(&w));
    world_write(&w, 400, 420);
    world_take_snapshot(&w, world_leader(&w));
    assert_int_equal(segments_of(&w, behind), 0);
    world_isolate(&w, behind, false);
    wait_for_install(&w, behind);
    world_check_equal(&w);
    assert_true(segments_of(&w, behind) > 0); /* the leader's own; from the rows all would be in the tail */
    gn_install_progress progress;
    gn_shard_install_progress(w.nodes[behind].shard, &progress);
    assert_true(progress.bytes == progress.bytes_total && progress.fetched > 7000000 && !progress.running);
    /* nothing is left but the store in use and what is held for others */
    gn_sim_run_for(w.sim, 30 * SECOND);
    world_path(&w, behind, "store-1", path);
    assert_int_equal(access(path, F_OK), -1);
    world_path(&w, behind, "vector", path);
    assert_int_equal(access(path, F_OK), -1);
    world_path(&w, behind, "incoming", path);
    assert_int_equal(world_count(path), 0);
    /* a restart finds it, and so does the next install */
    world_crash(&w, behind, true);
    world_write(&w, 420, 440);
    world_check_equal(&w);
    world_stop(&w);
}

static gn_code spoil(world *w, gn_node_id from, const gn_chunk_request *request, gn_buf *chunk)
{
    (void)from, (void)request;
    switch (gn_sim_random(w->sim, 12)) {
    case 0:
        return GN_UNAVAILABLE;
    case 1:
        return GN_TIMEOUT;
    case 2:
        chunk->data[gn_sim_random(w->sim, chunk->len)] ^= (uint8_t)(1u << gn_sim_random(w->sim, 8));
        return GN_OK;
    case 3:
        chunk->len = gn_sim_random(w->sim, chunk->len);
        return GN_OK;
    default:
        return GN_OK;
    }
}

static void chunks_that_are_lost_or_damaged_come_again(void **state)
{
    (void)state;
    for (uint64_t seed = 10; seed < 13; seed++) {
        world w;
        world_start(&w, seed, 3, 3);
        world_create_table(&w);
        unsigned behind = world_leave_behind(&w, 0, 300);
        w.disturb = spoil;
        world_isolate(&w, behind, false);
        wait_for_install(&w, behind);
        world_check_equal(&w);
        world_stop(&w);
    }
}

static void the_rate_is_kept(void **state)
{
    (void)state;
    world w;
    world_start(&w, 2, 3, 3);
    w.rate = 1 << 20;
    world_create_table(&w);
    for (unsigned id = 1; id <= 3; id++) {
        world_crash(&w, id, true);
        world_leader(&w);
    }
    unsigned behind = world_leave_behind(&w, 0, 300);
    world_isolate(&w, behind, false);
    uint64_t begin = gn_sim_now_ns(w.sim);
    wait_for_install(&w, behind);
    double seconds = (double)(gn_sim_now_ns(w.sim) - begin) / 1e9;
    assert_true(seconds > (double)w.bytes / (1 << 20));
    world_check_equal(&w);
    world_stop(&w);
}

/* ---- crashes of the receiver ---- */

/* Files come one after the other. */
static bool has_two_files(void *ctx)
{
    world *w = ctx;
    unsigned begun = 0;
    for (size_t i = 0; i < sizeof w->asked / sizeof *w->asked; i++)
        begun += w->asked[i] > 0;
    return begun > 2;
}

static void what_was_fetched_before_a_crash_is_not_fetched_again(void **state)
{
    (void)state;
    world w;
    char path[GN_PATH_BYTES];
    world_start(&w, 3, 3, 3);
    world_create_table(&w);
    unsigned behind = world_leave_behind(&w, 0, 400);
    world_isolate(&w, behind, false);
    assert_true(gn_sim_run_until(w.sim, has_two_files, &w, 300 * SECOND));
    unsigned before[sizeof w.asked / sizeof *w.asked];
    memcpy(before, w.asked, sizeof before);
    world_path(&w, behind, "incoming", path);
    assert_int_equal(world_count(path), 1);
    world_crash(&w, behind, true);
    memset(w.asked, 0, sizeof w.asked);
    w.bytes = 0;
    wait_for_install(&w, behind);
    world_check_equal(&w);
    gn_held_snapshot *held = gn_held_newest(w.nodes[behind].shard);
    const gn_manifest_files *files = &held->manifest.files;
    unsigned last = 0, finished = 0;
    for (unsigned i = 0; i < files->n; i++)
        last = before[i] ? i : last;
    for (unsigned i = 0; i < files->n; i++) { /* the last one was under way */
        uint64_t chunks = (files->items[i].size + GN_MAX_SNAPSHOT_CHUNK - 1) / GN_MAX_SNAPSHOT_CHUNK;
        assert_true(before[i] + w.asked[i] <= chunks + (i == last));
        assert_true(i == last || before[i] == 0 || w.asked[i] == 0);
        finished += i != last && before[i] > 0;
    }
    gn_held_release(w.nodes[behind].shard, held);
    assert_true(finished > 1 && w.bytes > 0);
    world_stop(&w);
}

static void crashes_at_any_moment_of_an_install_do_no_harm(void **state)
{
    (void)state;
    for (uint64_t seed = 20; seed < 26; seed++) {
        world w;
        world_start(&w, seed, 3, 3);
        world_create_table(&w);
        unsigned behind = world_leave_behind(&w, 0, 250);
        world_isolate(&w, behind, false);
        for (int i = 0; i < 12; i++) {
            gn_sim_run_for(w.sim, gn_sim_random(w.sim, i % 3 ? 40 * MS : 2 * SECOND));
            world_crash(&w, behind, true);
        }
        world_check_equal(&w);
        assert_true(world_store_number(&w, behind) > 1);
        world_stop(&w);
    }
}

static bool is_recorded(void *ctx)
{
    world *w = ctx;
    gn_raft_status status;
    gn_raft_status_get(gn_shard_raft_group(w->nodes[w->mark].shard), &status);
    return status.snapshot_index > 0 && world_store_number(w, (unsigned)w->mark) > 1;
}

/* Where the store is the new one and Raft's record is not yet, and where the log has nothing after the snapshot. */
static void a_crash_right_after_the_install_is_survived(void **state)
{
    (void)state;
    for (int recorded = 0; recorded < 2; recorded++) {
        world w;
        world_start(&w, 30, 3, 3);
        world_create_table(&w);
        unsigned behind = world_leave_behind(&w, 0, 250);
        w.mark = behind;
        world_isolate(&w, behind, false);
        assert_true(gn_sim_run_until(w.sim, recorded ? is_recorded : is_installed, &w, 300 * SECOND));
        world_isolate(&w, behind, true);
        world_crash(&w, behind, true);
        assert_int_equal(world_store_number(&w, behind), 2);
        world_isolate(&w, behind, false);
        world_check_equal(&w);
        assert_int_equal(world_store_number(&w, behind), 2);
        world_stop(&w);
    }
}

/* ---- trouble with the holder ---- */

static void a_holder_that_dies_midway_is_replaced(void **state)
{
    (void)state;
    world w;
    world_start(&w, 4, 3, 3);
    world_create_table(&w);
    unsigned behind = world_leave_behind(&w, 0, 300), leader = world_leader(&w), third = 6 - leader - behind;
    world_isolate(&w, behind, false);
    wait_for_fetches(&w, 3);
    world_crash(&w, leader, false); /* and stays away: the vote of the one that installs is needed */
    wait_for_install(&w, behind);
    assert_int_equal(world_leader(&w), third);
    world_write(&w, 300, 310);
    w.nodes[leader].world = gn_sim_restart(w.sim, leader);
    world_open(&w, leader);
    world_check_equal(&w);
    world_stop(&w);
}

static void a_snapshot_that_is_gone_is_made_anew(void **state)
{
    (void)state;
    world w;
    world_start(&w, 5, 3, 3);
    world_create_table(&w);
    unsigned behind = world_leave_behind(&w, 0, 300), leader = world_leader(&w);
    gn_held_snapshot *held = gn_held_newest(w.nodes[leader].shard);
    assert_non_null(held);
    uint64_t first = held->manifest.index;
    gn_held_distrust(w.nodes[leader].shard, first, held->manifest.id);
    gn_held_release(w.nodes[leader].shard, held);
    world_write(&w, 300, 301); /* never two snapshots at one index */
    world_isolate(&w, behind, false);
    wait_for_install(&w, behind);
    held = gn_held_newest(w.nodes[behind].shard);
    assert_true(held && held->manifest.index > first);
    gn_held_release(w.nodes[behind].shard, held);
    world_check_equal(&w);
    world_stop(&w);
}

/* A byte of the largest file of the leader's newest snapshot, in a copy: the store itself stays sound. */
static void flip(world *w, unsigned id)
{
    char path[GN_PATH_BYTES], command[4 * GN_PATH_BYTES + 100];
    gn_held_snapshot *held = gn_held_newest(w->nodes[id].shard);
    const gn_snapshot_file *largest = &held->manifest.files.items[0];
    for (size_t i = 0; i < held->manifest.files.n; i++)
        if (held->manifest.files.items[i].size > largest->size)
            largest = &held->manifest.files.items[i];
    assert_int_equal(gn_path_join(path, held->dir, largest->name, NULL), GN_OK);
    snprintf(command, sizeof command, "cp '%s' '%s.copy' && mv '%s.copy' '%s'", path, path, path, path);
    assert_int_equal(system(command), 0);
    uint8_t byte;
    int fd = open(path, O_RDWR);
    off_t at = (off_t)(largest->size / 2);
    assert_true(pread(fd, &byte, 1, at) == 1);
    byte ^= 0x10;
    assert_true(pwrite(fd, &byte, 1, at) == 1);
    close(fd);
    gn_held_release(w->nodes[id].shard, held);
}

static void a_file_that_rots_where_it_is_held_is_never_installed(void **state)
{
    (void)state;
    world w;
    world_start(&w, 6, 3, 3);
    world_create_table(&w);
    unsigned behind = world_leave_behind(&w, 0, 300), leader = world_leader(&w);
    flip(&w, leader);
    world_isolate(&w, behind, false);
    gn_sim_run_for(w.sim, 60 * SECOND);
    assert_int_equal(world_store_number(&w, behind), 1);
    assert_true(w.fetches > 20);
    assert_int_equal(gn_shard_failed(w.nodes[behind].shard), GN_OK);
    world_write(&w, 300, 420); /* makes a new snapshot, with the store's own file again */
    world_take_snapshot(&w, world_leader(&w));
    wait_for_install(&w, behind);
    world_check_equal(&w);
    world_stop(&w);
}

/* As another node might send it that is damaged, or newer than this one. */
static void a_manifest_that_makes_no_sense_stops_nobody(void **state)
{
    (void)state;
    world w;
    world_start(&w, 15, 3, 3);
    world_create_table(&w);
    unsigned behind = world_leave_behind(&w, 0, 100), leader = world_leader(&w);
    gn_raft_group *group = gn_shard_raft_group(w.nodes[leader].shard);
    uint8_t *manifest = (uint8_t *)(uintptr_t)group->snapshot.manifest.data;
    manifest[group->snapshot.manifest.len / 2] ^= 1;
    world_isolate(&w, behind, false);
    gn_sim_run_for(w.sim, 20 * SECOND);
    assert_int_equal(world_store_number(&w, behind), 1);
    assert_int_equal(gn_shard_failed(w.nodes[behind].shard), GN_OK);
    world_write(&w, 100, 110);
    world_take_snapshot(&w, leader);
    wait_for_install(&w, behind);
    world_check_equal(&w);
    world_stop(&w);
}

/* ---- a full disk ---- */

static gn_code fill_disk(world *w, gn_node_id from, const gn_chunk_request *request, gn_buf *chunk)
{
    (void)from, (void)chunk;
    unsigned behind = (unsigned)w->mark;
    char base[GN_PATH_BYTES], path[2 * GN_PATH_BYTES + 100], name[64];
    if (w->counter == 0 || request->file < 2)
        return GN_OK;
    w->counter = 0;
    gn_held_dir_name(name, request->index, request->snapshot_id);
    world_path(w, behind, "incoming", base);
    snprintf(path, sizeof path, "%s/%s/part-%u", base, name, request->file + 1);
    assert_int_equal(symlink("/dev/full", path), 0);
    w->ctx = strdup(path);
    return GN_OK;
}

static void a_full_disk_is_waited_out(void **state)
{
    (void)state;
    world w;
    world_start(&w, 7, 3, 3);
    world_create_table(&w);
    unsigned behind = world_leave_behind(&w, 0, 300);
    w.mark = behind;
    w.counter = 1;
    w.disturb = fill_disk;
    world_isolate(&w, behind, false);
    gn_sim_run_for(w.sim, 30 * SECOND);
    assert_non_null(w.ctx);
    assert_int_equal(world_store_number(&w, behind), 1);
    assert_int_equal(gn_shard_failed(w.nodes[behind].shard), GN_OK);
    assert_int_equal(unlink(w.ctx), 0);
    free(w.ctx);
    wait_for_install(&w, behind);
    world_check_equal(&w);
    world_stop(&w);
}

/* ---- what is held ---- */

static void two_are_held_and_what_is_read_stays(void **state)
{
    (void)state;
    world w;
    char path[GN_PATH_BYTES];
    world_start(&w, 8, 3, 3);
    world_create_table(&w);
    world_write(&w, 0, 50);
    unsigned leader = world_leader(&w);
    gn_shard *shard = w.nodes[leader].shard;
    world_take_snapshot(&w, leader);
    gn_held_snapshot *first = gn_held_newest(shard);
    gn_chunk_request request = {
        .group_id = 1, .index = first->manifest.index, .snapshot_id = first->manifest.id, .file = 0};
    gn_buf chunk;
    gn_buf_init(&chunk, NULL, GN_CHUNK_ENCODED);
    assert_int_equal(gn_shard_read_chunk(shard, &request, &chunk, NULL), GN_OK);
    gn_held_release(shard, first);
    world_path(&w, leader, "snapshots", path);
    for (int i = 0; i < 4; i++) {
        world_write(&w, 50 + i, 51 + i);
        world_take_snapshot(&w, leader);
        assert_int_equal(world_count(path), 2);
        gn_buf_clear(&chunk);
        assert_int_equal(gn_shard_read_chunk(shard, &request, &chunk, NULL), GN_OK);
    }
    gn_sim_run_for(w.sim, 200 * SECOND);
    assert_int_equal(world_count(path), 2);
    gn_sim_run_for(w.sim, 200 * SECOND);
    assert_int_equal(world_count(path), 1);
    gn_buf_clear(&chunk);
    assert_int_equal(gn_shard_read_chunk(shard, &request, &chunk, NULL), GN_NO_OBJECT);
    gn_buf_close(&chunk);
    world_stop(&w);
}

static void pieces_that_are_not_there_are_refused(void **state)
{
    (void)state;
    world w;
    world_start(&w, 9, 3, 3);
    world_create_table(&w);
    world_write(&w, 0, 10);
    unsigned leader = world_leader(&w);
    gn_shard *shard = w.nodes[leader].shard;
    world_take_snapshot(&w, leader);
    gn_held_snapshot *held = gn_held_newest(shard);
    const gn_manifest_files *files = &held->manifest.files;
    gn_chunk_request ok = {.group_id = 1, .index = held->manifest.index, .snapshot_id = held->manifest.id};
    gn_chunk_request wrong[] = {ok, ok, ok, ok, ok, ok};
    wrong[0].file = (uint32_t)files->n;
    wrong[1].file = UINT32_MAX;
    wrong[2].offset = files->items[0].size;
    wrong[2].offset += GN_MAX_SNAPSHOT_CHUNK - wrong[2].offset % GN_MAX_SNAPSHOT_CHUNK;
    wrong[3].offset = UINT64_MAX - GN_MAX_SNAPSHOT_CHUNK + 1;
    wrong[4].offset = 1;
    wrong[5].group_id = 2;
    gn_buf chunk;
    gn_buf_init(&chunk, NULL, GN_CHUNK_ENCODED);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        gn_code code = gn_shard_read_chunk(shard, &wrong[i], &chunk, NULL);
        assert_int_equal(code, i == 5 ? GN_NO_OBJECT : GN_INVALID_PARAMETER);
        assert_int_equal(chunk.len, 0);
    }
    gn_held_release(shard, held);
    gn_buf_close(&chunk);
    world_stop(&w);
}

/* The log grows faster than the files come: what is being read stays, and no more than two are held. */
static void a_slow_install_is_not_starved_by_newer_snapshots(void **state)
{
    (void)state;
    world w;
    char path[GN_PATH_BYTES];
    world_start(&w, 13, 3, 3);
    w.rate = 300000;
    world_create_table(&w);
    for (unsigned id = 1; id <= 3; id++) { /* for the rate */
        assert_true(gn_sim_run_until(w.sim, world_caught_up, &w, 60 * SECOND));
        world_crash(&w, id, true);
    }
    unsigned behind = world_leave_behind(&w, 0, 200), leader = world_leader(&w);
    world_path(&w, leader, "snapshots", path);
    world_isolate(&w, behind, false);
    wait_for_fetches(&w, 2);
    for (int i = 0; world_store_number(&w, behind) == 1; i++) {
        assert_true(i < 60);
        world_write(&w, i % 4 * 50, i % 4 * 50 + 50);
        world_take_snapshot(&w, leader);
        assert_int_equal(world_count(path), 2);
        gn_sim_run_for(w.sim, SECOND);
    }
    world_check_equal(&w);
    world_stop(&w);
}

/* Parts of an install that the log has overtaken do not stay for ever. */
static void what_came_for_nothing_is_removed(void **state)
{
    (void)state;
    world w;
    char path[GN_PATH_BYTES];
    world_start(&w, 14, 3, 3);
    world_create_table(&w);
    world_write(&w, 0, 10);
    unsigned other = world_leader(&w) % 3 + 1;
    assert_true(gn_sim_run_until(w.sim, world_caught_up, &w, 60 * SECOND));
    world_path(&w, other, "incoming", path);
    assert_int_equal(mkdir(path, 0700), 0);
    world_path(&w, other, "incoming/2-0000000000000001", path);
    assert_int_equal(mkdir(path, 0700), 0);
    world_path(&w, other, "incoming/99999-0000000000000001", path);
    assert_int_equal(mkdir(path, 0700), 0);
    gn_sim_run_for(w.sim, 30 * SECOND);
    world_path(&w, other, "incoming", path);
    assert_int_equal(world_count(path), 1);
    world_stop(&w);
}

/* Bytes of a snapshot's files that this replica's store has already: how many depends on when RocksDB compacts. */
static uint64_t bytes_at_hand(world *w, unsigned id, const gn_snapshot_manifest *m)
{
    static const _Atomic bool never;
    uint64_t bytes = 0;
    for (size_t i = 0; i < m->files.n; i++) {
        const gn_snapshot_file *file = &m->files.items[i];
        char name[GN_SNAPSHOT_NAME + 32], path[GN_PATH_BYTES];
        uint8_t sum[GN_FILE_SUM];
        uint64_t size;
        if (!strstr(file->name, ".sst"))
            continue;
        snprintf(name, sizeof name, "store-%llu%s", (unsigned long long)world_store_number(w, id),
                 strchr(file->name, '/'));
        world_path(w, id, name, path);
        if (access(path, F_OK) == 0 && gn_file_sum(path, &never, &size, sum, NULL) == GN_OK && size == file->size &&
            memcmp(sum, file->sum, sizeof sum) == 0)
            bytes += size;
    }
    return bytes;
}

/* What an install left, others can have; and what a replica has of a snapshot already it does not fetch. */
static void a_snapshot_is_handed_on_and_shared_files_stay_here(void **state)
{
    (void)state;
    world w;
    world_start(&w, 11, 3, 3);
    world_create_table(&w);
    unsigned behind = world_leave_behind(&w, 0, 50), leader = world_leader(&w);
    world_isolate(&w, behind, false);
    wait_for_install(&w, behind);
    gn_held_snapshot *held = gn_held_newest(w.nodes[behind].shard);
    gn_chunk_request request = {.group_id = 1, .index = held->manifest.index, .snapshot_id = held->manifest.id};
    gn_held_release(w.nodes[behind].shard, held);
    gn_buf one, two;
    gn_buf_init(&one, NULL, GN_CHUNK_ENCODED);
    gn_buf_init(&two, NULL, GN_CHUNK_ENCODED);
    assert_int_equal(gn_shard_read_chunk(w.nodes[leader].shard, &request, &one, NULL), GN_OK);
    assert_int_equal(gn_shard_read_chunk(w.nodes[behind].shard, &request, &two, NULL), GN_OK);
    assert_true(gn_bytes_eq(gn_buf_bytes(&one), gn_buf_bytes(&two)));
    gn_buf_close(&one);
    gn_buf_close(&two);
    assert_true(gn_sim_run_until(w.sim, world_caught_up, &w, 60 * SECOND));
    world_isolate(&w, behind, true);
    world_write(&w, 50, 55); /* little enough to cause no compaction */
    leader = world_leader(&w);
    world_take_snapshot(&w, leader);
    held = gn_held_newest(w.nodes[leader].shard);
    uint64_t at_hand = bytes_at_hand(&w, behind, &held->manifest), all = gn_snapshot_manifest_bytes(&held->manifest);
    uint64_t index = held->manifest.index;
    gn_held_release(w.nodes[leader].shard, held);
    world_isolate(&w, behind, false);
    world_check_equal(&w);
    assert_true(world_store_number(&w, behind) > 2);
    gn_install_progress progress;
    gn_shard_install_progress(w.nodes[behind].shard, &progress);
    assert_int_equal(progress.index, index);
    assert_true(progress.linked >= at_hand);
    assert_int_equal(progress.linked + progress.fetched, all);
    world_stop(&w);
}

/* ---- one becomes two ---- */

typedef struct add_call {
    gn_raft_request request;
    gn_event done;
    gn_code code;
} add_call;

static void add_done(gn_raft_request *request, gn_code code)
{
    add_call *c = GN_CONTAINER(request, add_call, request);
    c->code = code;
    gn_event_signal(&c->done);
}

static void a_group_of_one_makes_a_snapshot_for_its_second_member(void **state)
{
    (void)state;
    world w;
    char path[GN_PATH_BYTES];
    world_start(&w, 12, 2, 1);
    world_create_table(&w);
    world_write(&w, 0, 300);
    world_take_snapshot(&w, 1);
    world_path(&w, 1, "snapshots", path);
    assert_int_equal(world_count(path), 0); /* a flush was enough */
    gn_raft_status status;
    gn_raft_status_get(gn_shard_raft_group(w.nodes[1].shard), &status);
    assert_true(status.first_index > 1);
    add_call c = {.request.done = add_done};
    gn_event_init(&c.done, w.nodes[1].world);
    gn_raft_add(gn_shard_raft_group(w.nodes[1].shard), 2, &c.request);
    gn_event_wait(&c.done, UINT64_MAX);
    assert_int_equal(c.code, GN_OK);
    wait_for_install(&w, 2);
    world_check_equal(&w);
    assert_int_equal(world_count(path), 1);
    c = (add_call){.request.done = add_done};
    gn_event_init(&c.done, w.nodes[1].world);
    gn_raft_promote(gn_shard_raft_group(w.nodes[1].shard), 2, &c.request);
    gn_event_wait(&c.done, UINT64_MAX);
    assert_int_equal(c.code, GN_OK);
    world_write(&w, 300, 310);
    world_check_equal(&w);
    world_stop(&w);
}

/* ---- all at once ---- */

static void trouble(world *w)
{
    unsigned id = 1 + (unsigned)gn_sim_random(w->sim, w->n_nodes);
    switch (gn_sim_random(w->sim, 5)) {
    case 0:
        world_crash(w, id, true);
        break;
    case 1:
        for (unsigned other = 1; other <= w->n_nodes; other++)
            world_isolate(w, other, other == id);
        break;
    case 2:
        w->disturb = w->disturb ? NULL : spoil;
        break;
    default:
        world_isolate(w, 0, false);
        break;
    }
}

/* GN_SNAPSHOT_FROM, GN_SNAPSHOT_SEEDS: which seeds. */
static void replicas_are_equal_after_all_of_it(void **state)
{
    (void)state;
    const char *first = getenv("GN_SNAPSHOT_FROM"), *n = getenv("GN_SNAPSHOT_SEEDS");
    uint64_t from = first ? strtoull(first, NULL, 10) : 100, seeds = n ? strtoull(n, NULL, 10) : 3;
    unsigned installs = 0;
    for (uint64_t seed = from; seed < from + seeds; seed++) {
        world w;
        if (n)
            print_message("seed %llu\n", (unsigned long long)seed);
        world_start(&w, seed, 3, 3);
        world_create_table(&w);
        for (int round = 0; round < 8; round++) {
            world_write(&w, round * 20, round * 20 + 40);
            for (int i = 0; i < 3; i++) {
                trouble(&w);
                gn_sim_run_for(w.sim, gn_sim_random(w.sim, 3 * SECOND));
            }
            if (gn_sim_random(w.sim, 2))
                world_try_snapshot(&w, world_leader(&w));
        }
        w.disturb = NULL;
        world_isolate(&w, 0, false);
        world_write(&w, 300, 310);
        world_check_equal(&w);
        for (unsigned id = 1; id <= 3; id++)
            installs += world_store_number(&w, id) - 1;
        world_stop(&w);
    }
    if (n)
        print_message("%u installs\n", installs);
    assert_true(installs > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_replica_fetches_rows_and_indexes),
        cmocka_unit_test(chunks_that_are_lost_or_damaged_come_again),
        cmocka_unit_test(the_rate_is_kept),
        cmocka_unit_test(what_was_fetched_before_a_crash_is_not_fetched_again),
        cmocka_unit_test(crashes_at_any_moment_of_an_install_do_no_harm),
        cmocka_unit_test(a_crash_right_after_the_install_is_survived),
        cmocka_unit_test(a_holder_that_dies_midway_is_replaced),
        cmocka_unit_test(a_snapshot_that_is_gone_is_made_anew),
        cmocka_unit_test(a_file_that_rots_where_it_is_held_is_never_installed),
        cmocka_unit_test(a_manifest_that_makes_no_sense_stops_nobody),
        cmocka_unit_test(a_full_disk_is_waited_out),
        cmocka_unit_test(two_are_held_and_what_is_read_stays),
        cmocka_unit_test(pieces_that_are_not_there_are_refused),
        cmocka_unit_test(a_slow_install_is_not_starved_by_newer_snapshots),
        cmocka_unit_test(what_came_for_nothing_is_removed),
        cmocka_unit_test(a_snapshot_is_handed_on_and_shared_files_stay_here),
        cmocka_unit_test(a_group_of_one_makes_a_snapshot_for_its_second_member),
        cmocka_unit_test(replicas_are_equal_after_all_of_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
