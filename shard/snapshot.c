/* Taking Raft snapshots of a shard.
 *
 * For a group of several members it is a checkpoint of the store (hard links), with hard links to the files of its
 * vector indexes, which are made first: an index must not be ahead of the rows, and catches up by the change log. A
 * group of one has nobody to send files to, and at a clean stop nobody waits for them; then a flush alone lets the log
 * be cut, and the manifest names no files. A follower to whom such a manifest is sent asks for files that are not
 * there, and that makes this node take a snapshot that has them.
 *
 * The index is what the checkpoint has applied, exactly: a store that is ahead of its snapshot would seem, after a
 * crash, to have lost its log.
 *
 * Checksums are those of the files when they were first linked: as long as it is the same file, its bytes are not read
 * again, so what a disk does to them later does not get a checksum that vouches for it. */
#include "base/assert.h"
#include "shard/apply_private.h"
#include "shard/snapshot_private.h"
#include "shard/vector_feed_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the files ---- */

typedef struct listing {
    gn_shard *shard;
    gn_snapshot_manifest *manifest;
    gn_held_snapshot *before; /* may be NULL */
    const char *dir;          /* of the snapshot */
    const char *prefix;       /* of the names: "store", "vector/5-1" */
} listing;

/* What the file was when the snapshot before was made, if it is the same file. */
static const gn_snapshot_file *known(const listing *l, const char *name, const struct stat *st)
{
    struct stat old;
    char path[GN_PATH_BYTES];
    if (!l->before || gn_path_join(path, l->before->dir, name, NULL) != GN_OK || lstat(path, &old) != 0 ||
        old.st_dev != st->st_dev || old.st_ino != st->st_ino)
        return NULL;
    const gn_manifest_files *files = &l->before->manifest.files;
    size_t lo = 0, hi = files->n;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        int c = strcmp(files->items[mid].name, name);
        if (c == 0)
            return &files->items[mid];
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

static gn_code sync_file(const char *path, gn_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    gn_code code = GN_OK;
    if (fd < 0 || fsync(fd) != 0)
        code = gn_error_errno(err, GN_IO, errno, "could not sync \"%s\"", path);
    if (fd >= 0)
        close(fd);
    return code;
}

static gn_code list_file(const char *dir, const char *name, void *ctx, gn_error *err)
{
    listing *l = ctx;
    char path[GN_PATH_BYTES];
    struct stat st;
    gn_snapshot_file f = {0};
    gn_code code = gn_path_join(path, dir, name, err);
    if (code != GN_OK)
        return code;
    if (strcmp(name, "LOCK") == 0 || strncmp(name, "LOG", 3) == 0) /* of who looked into it */
        return unlink(path) == 0 ? GN_OK : gn_error_errno(err, GN_IO, errno, "could not remove \"%s\"", path);
    int n = snprintf(f.name, sizeof f.name, "%s/%s", l->prefix, name);
    if (lstat(path, &st) != 0 || !S_ISREG(st.st_mode) || n < 0 || (size_t)n >= sizeof f.name ||
        !gn_snapshot_name_valid(f.name))
        return gn_error_set(err, GN_IO, "\"%s\" is no file for a snapshot", path);
    const gn_snapshot_file *same = known(l, f.name, &st);
    if (same && same->size != (uint64_t)st.st_size)
        return gn_error_set(err, GN_CORRUPT, "\"%s\" has changed its size", path);
    if (same) {
        f = *same;
    } else {
        code = sync_file(path, err);
        if (code == GN_OK)
            code = gn_file_sum(path, &l->shard->stopping, &f.size, f.sum, err);
    }
    if (code == GN_OK)
        gn_snapshot_manifest_add(l->manifest, &f);
    return code;
}

static gn_code list_index(const char *dir, const char *name, void *ctx, gn_error *err)
{
    listing *l = ctx;
    char path[GN_PATH_BYTES], prefix[GN_SNAPSHOT_NAME];
    snprintf(prefix, sizeof prefix, "vector/%s", name);
    gn_code code = gn_path_join(path, dir, name, err);
    listing inner = *l;
    inner.prefix = prefix;
    return code == GN_OK ? gn_dir_each(path, list_file, &inner, err) : code;
}

static gn_code list_files(gn_shard *shard, const char *dir, gn_snapshot_manifest *m, gn_error *err)
{
    char path[GN_PATH_BYTES];
    listing l = {.shard = shard, .manifest = m, .before = gn_held_newest(shard), .dir = dir, .prefix = "store"};
    gn_code code = gn_path_join(path, dir, "store", err);
    if (code == GN_OK)
        code = gn_dir_each(path, list_file, &l, err);
    if (code == GN_OK)
        code = gn_path_join(path, dir, "vector", err);
    if (code == GN_OK && access(path, F_OK) == 0)
        code = gn_dir_each(path, list_index, &l, err);
    gn_held_release(shard, l.before);
    return code;
}

/* ---- taking ---- */

gn_code gn_snapshot_checkpoint(gn_store *store, const char *path, gn_error *err)
{
    char *message = NULL;
    rocksdb_checkpoint_t *cp = rocksdb_checkpoint_object_create(store->db, &message);
    if (cp) {
        rocksdb_checkpoint_create(cp, path, 0, &message);
        rocksdb_checkpoint_object_destroy(cp);
    }
    return gn_store_check(message, "could not take a snapshot", err);
}

/* What the checkpoint has applied: the store went on while it was made. */
static gn_code read_checkpoint(gn_shard *shard, const char *path, gn_snapshot_manifest *m, gn_error *err)
{
    gn_store *store = NULL;
    gn_store_options options = gn_shard_store_options(shard);
    gn_code code = gn_store_open_to_read(path, &options, &store, err);
    if (code == GN_OK)
        code = gn_shard_read_applied(store, &m->index, &m->last_scn, err);
    gn_store_release(store);
    return code;
}

static gn_code fill(gn_shard *shard, gn_store *store, const char *dir, gn_snapshot_manifest *m, gn_error *err)
{
    char path[GN_PATH_BYTES];
    gn_code code = gn_dir_remove(dir, err); /* left by a crash */
    if (code == GN_OK)
        code = gn_dir_create(dir, err);
    if (code == GN_OK)
        code = gn_path_join(path, dir, "vector", err);
    if (code == GN_OK)
        code = gn_feeds_link(shard->feeds, path, err);
    if (code == GN_OK)
        code = gn_path_join(path, dir, "store", err);
    if (code == GN_OK)
        code = gn_snapshot_checkpoint(store, path, err);
    if (code == GN_OK)
        code = read_checkpoint(shard, path, m, err);
    return code == GN_OK ? list_files(shard, dir, m, err) : code;
}

gn_scn gn_snapshot_horizon(gn_shard *shard)
{
    pthread_mutex_lock(&shard->horizon_lock); /* collection goes on while the checkpoint is made */
    gn_scn horizon = shard->durable_horizon;
    pthread_mutex_unlock(&shard->horizon_lock);
    return horizon;
}

static gn_code take_files(gn_shard *shard, gn_store *store, gn_snapshot_manifest *m, gn_buf *bytes, gn_error *err)
{
    char dir[GN_PATH_BYTES];
    gn_code code = gn_held_make_room(shard, err);
    if (code == GN_OK)
        code = gn_path_join(dir, shard->dir, "snapshots/new", err);
    if (code != GN_OK)
        return code;
    code = fill(shard, store, dir, m, err);
    m->horizon = gn_snapshot_horizon(shard);
    if (code == GN_OK)
        code = gn_snapshot_manifest_write(m, bytes, err);
    if (code == GN_OK)
        code = gn_snapshot_write_manifest(dir, gn_buf_bytes(bytes), err);
    if (code == GN_OK)
        code = gn_snapshot_sync(dir, m, err);
    uint64_t index = m->index;
    if (code == GN_OK)
        code = gn_held_add(shard, dir, m, err);
    m->index = index;
    if (code != GN_OK)
        gn_dir_remove(dir, NULL);
    return code;
}

static gn_code take_flush(gn_shard *shard, gn_store *store, gn_snapshot_manifest *m, gn_buf *bytes, gn_error *err)
{
    pthread_mutex_lock(&shard->view_lock);
    m->index = shard->applied_index;
    m->last_scn = shard->last_scn;
    pthread_mutex_unlock(&shard->view_lock);
    m->horizon = gn_snapshot_horizon(shard);
    gn_code code = gn_store_flush(store, err);
    return code == GN_OK ? gn_snapshot_manifest_write(m, bytes, err) : code;
}

static gn_code take(gn_shard *shard, uint64_t *index, gn_buf *bytes, gn_error *err)
{
    gn_store *store = gn_shard_store(shard);
    gn_raft_status *status = gn_xcalloc(1, sizeof *status);
    gn_raft_status_get(shard->group, status);
    gn_snapshot_manifest m = {.group_id = shard->group_id, .maker = gn_net_self(shard->world)};
    m.id = gn_random_u64(shard->world);
    gn_code code = status->n_members > 1 && !shard->closing ? take_files(shard, store, &m, bytes, err)
                                                            : take_flush(shard, store, &m, bytes, err);
    *index = m.index;
    if (code == GN_OK && shard->durable_index < m.index)
        shard->durable_index = m.index;
    gn_snapshot_manifest_close(&m);
    free(status);
    gn_store_release(store);
    return code;
}

void gn_snapshot_answer(gn_shard *shard)
{
    gn_buf bytes;
    gn_buf_init(&bytes, NULL, GN_MAX_RAFT_MANIFEST + 1024);
    gn_error err = {0};
    gn_raft_snapshot snapshot = {0};
    shard->snapshot_wanted = false;
    gn_code code = shard->stopping ? GN_SHUTDOWN : take(shard, &snapshot.index, &bytes, &err);
    if (code == GN_OK) {
        snapshot.len = bytes.len;
        snapshot.data = gn_xmalloc(bytes.len);
        memcpy(snapshot.data, bytes.data, bytes.len);
        gn_counter_add(shard->metrics.snapshots, 1);
    } else if (code != GN_SHUTDOWN) {
        gn_log_warn("shard", "no snapshot", GN_KV_U64("group", shard->group_id), GN_KV_STR("error", err.message));
    }
    gn_raft_snapshot_taken(shard->group, code, &snapshot);
    gn_buf_close(&bytes);
}

/* ---- when files are wanted ---- */

void gn_snapshot_wanted_elsewhere(gn_shard *shard)
{
    shard->files_wanted = true;
    gn_wakeup_post(&shard->keeper_wakeup);
}

static void files_taken(gn_raft_request *request, gn_code code)
{
    (void)code; /* who needs it asks again */
    GN_CONTAINER(request, gn_shard, files_request)->asked_for_files = false;
}

/* Not when Raft has one by now whose files are here: it comes to the follower by itself. */
static bool lacks_files(gn_shard *shard)
{
    gn_raft_status *status = gn_xcalloc(1, sizeof *status);
    gn_raft_status_get(shard->group, status);
    gn_held_snapshot *newest = gn_held_newest(shard);
    bool lacks = status->leads && !(newest && newest->manifest.index == status->snapshot_index);
    gn_held_release(shard, newest);
    free(status);
    return lacks;
}

void gn_snapshot_keep(gn_shard *shard)
{
    gn_held_tidy(shard);
    gn_incoming_tidy(shard);
    if (!shard->files_wanted || shard->asked_for_files)
        return;
    shard->files_wanted = false;
    if (shard->closing || !lacks_files(shard))
        return;
    shard->asked_for_files = true;
    shard->files_request = (gn_raft_request){.done = files_taken};
    gn_raft_take_snapshot(shard->group, &shard->files_request);
}
