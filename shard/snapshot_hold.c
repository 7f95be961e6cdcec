/* Snapshots that this replica has the files of, and reading from them.
 *
 * Two at most: the newest, which Raft's record names, and one before it, for as long as somebody reads it. A read gives
 * a lease of some minutes; the room for a next one is made by whichever has none. A follower whose snapshot went away
 * all the same is told so, and gets the newer one. */
#include "base/limits.h"
#include "shard/snapshot_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HELD_MAX = 2, LEASE_MS = 5 * 60 * 1000, LAST_LEASE_MS = 10 * 1000 };

void gn_held_dir_name(char out[64], uint64_t index, uint64_t id)
{
    snprintf(out, 64, "%llu-%016llx", (unsigned long long)index, (unsigned long long)id);
}

static gn_code snapshots_dir(gn_shard *shard, char out[GN_PATH_BYTES], gn_error *err)
{
    return gn_path_join(out, shard->dir, "snapshots", err);
}

static void free_held(gn_held_snapshot *h)
{
    gn_snapshot_manifest_close(&h->manifest);
    free(h->dir);
    free(h);
}

/* Under the lock. */
static void insert(gn_shard *shard, gn_held_snapshot *h)
{
    gn_held_snapshot **at = &shard->held;
    while (*at && (*at)->manifest.index > h->manifest.index)
        at = &(*at)->next;
    h->next = *at;
    *at = h;
}

/* ---- opening ---- */

static gn_code read_manifest_file(const char *dir, gn_snapshot_manifest *out, gn_error *err)
{
    char path[GN_PATH_BYTES];
    struct stat st;
    gn_code code = gn_path_join(path, dir, "manifest", err);
    int fd = code == GN_OK ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0 || fstat(fd, &st) != 0 || st.st_size > GN_MAX_RAFT_MANIFEST) {
        if (fd >= 0)
            close(fd);
        return gn_error_set(err, GN_NO_FILE, "there is no manifest in \"%s\"", dir);
    }
    size_t len = (size_t)st.st_size, at = 0;
    uint8_t *bytes = gn_xmalloc(len + 1);
    for (ssize_t n = 1; n > 0 && at<len; at += n> 0 ? (size_t)n : 0)
        n = read(fd, bytes + at, len - at);
    close(fd);
    code = gn_snapshot_manifest_read(gn_bytes_of(bytes, at), out, err);
    free(bytes);
    return code;
}

static gn_code find_held(const char *dir, const char *name, void *ctx, gn_error *err)
{
    gn_shard *shard = ctx;
    char path[GN_PATH_BYTES], expected[64];
    gn_error why = {0};
    gn_snapshot_manifest m = {0};
    gn_code code = gn_path_join(path, dir, name, err);
    if (code != GN_OK)
        return code;
    if (read_manifest_file(path, &m, &why) == GN_OK)
        gn_held_dir_name(expected, m.index, m.id);
    if (m.group_id != shard->group_id || strcmp(expected, name) != 0) {
        gn_snapshot_manifest_close(&m);
        return gn_dir_remove(path, err);
    }
    gn_held_snapshot *h = gn_xcalloc(1, sizeof *h);
    h->manifest = m;
    h->dir = gn_xstrdup(path);
    h->refs = 1;
    insert(shard, h);
    return GN_OK;
}

gn_code gn_held_open(gn_shard *shard, gn_error *err)
{
    char dir[GN_PATH_BYTES];
    gn_code code = snapshots_dir(shard, dir, err);
    if (code == GN_OK)
        code = gn_dir_create(dir, err);
    if (code == GN_OK)
        code = gn_dir_each(dir, find_held, shard, err);
    gn_held_snapshot **at = &shard->held;
    for (size_t i = 0; *at && i < HELD_MAX; i++)
        at = &(*at)->next;
    while (code == GN_OK && *at) {
        gn_held_snapshot *h = *at;
        code = gn_dir_remove(h->dir, err);
        *at = h->next;
        free_held(h);
    }
    return code;
}

void gn_held_close(gn_shard *shard)
{
    for (gn_held_snapshot *h = shard->held, *next; h; h = next) {
        next = h->next;
        free_held(h);
    }
    shard->held = NULL;
}

/* ---- finding ---- */

static gn_held_snapshot *find(gn_shard *shard, uint64_t index, uint64_t id)
{
    gn_held_snapshot *h = shard->held;
    while (h && (h->manifest.index != index || h->manifest.id != id))
        h = h->next;
    return h;
}

gn_held_snapshot *gn_held_find(gn_shard *shard, uint64_t index, uint64_t id)
{
    pthread_mutex_lock(&shard->held_lock);
    gn_held_snapshot *h = find(shard, index, id);
    if (h)
        h->refs++;
    pthread_mutex_unlock(&shard->held_lock);
    return h;
}

gn_held_snapshot *gn_held_newest(gn_shard *shard)
{
    pthread_mutex_lock(&shard->held_lock);
    gn_held_snapshot *h = shard->held;
    if (h)
        h->refs++;
    pthread_mutex_unlock(&shard->held_lock);
    return h;
}

void gn_held_release(gn_shard *shard, gn_held_snapshot *h)
{
    if (!h)
        return;
    pthread_mutex_lock(&shard->held_lock);
    size_t left = --h->refs;
    pthread_mutex_unlock(&shard->held_lock);
    if (left == 0)
        free_held(h);
}

/* ---- coming and going ---- */

/* The list is changed by the keeper and by an install, one at a time (held_change). Out of the list; its files go,
 * though who reads one at this moment has it open. */
static gn_code drop(gn_shard *shard, gn_held_snapshot *h, gn_error *err)
{
    pthread_mutex_lock(&shard->held_lock);
    gn_held_snapshot **at = &shard->held;
    while (*at != h)
        at = &(*at)->next;
    *at = h->next;
    pthread_mutex_unlock(&shard->held_lock);
    gn_code code = gn_dir_remove(h->dir, err);
    gn_held_release(shard, h);
    return code;
}

/* The oldest that nobody reads. */
static gn_held_snapshot *idle(gn_shard *shard, size_t *n)
{
    uint64_t now = gn_now_ns(shard->world);
    gn_held_snapshot *found = NULL;
    *n = 0;
    pthread_mutex_lock(&shard->held_lock);
    for (gn_held_snapshot *h = shard->held; h; h = h->next, ++*n)
        if (h->lease_until_ns <= now)
            found = h;
    pthread_mutex_unlock(&shard->held_lock);
    return found;
}

gn_code gn_held_make_room(gn_shard *shard, gn_error *err)
{
    gn_code code = GN_OK;
    pthread_mutex_lock(&shard->held_change);
    for (size_t n = HELD_MAX; code == GN_OK;) {
        gn_held_snapshot *h = idle(shard, &n);
        if (n < HELD_MAX)
            break;
        code = h ? drop(shard, h, err) : gn_error_set(err, GN_OBJECT_IN_USE, "two snapshots are being read");
    }
    pthread_mutex_unlock(&shard->held_change);
    return code;
}

void gn_held_tidy(gn_shard *shard)
{
    gn_error err = {0};
    size_t n;
    pthread_mutex_lock(&shard->held_change);
    gn_held_snapshot *h = idle(shard, &n);
    if (h && h != shard->held && drop(shard, h, &err) != GN_OK)
        gn_log_warn("shard", "an old snapshot was not removed", GN_KV_STR("error", err.message));
    pthread_mutex_unlock(&shard->held_change);
}

void gn_held_distrust(gn_shard *shard, uint64_t index, uint64_t id)
{
    gn_error err = {0};
    pthread_mutex_lock(&shard->held_change);
    gn_held_snapshot *h = find(shard, index, id);
    if (h && drop(shard, h, &err) != GN_OK)
        gn_log_warn("shard", "a damaged snapshot was not removed", GN_KV_STR("error", err.message));
    pthread_mutex_unlock(&shard->held_change);
}

gn_code gn_held_add(gn_shard *shard, const char *from, gn_snapshot_manifest *manifest, gn_error *err)
{
    char dir[GN_PATH_BYTES], name[64], path[GN_PATH_BYTES];
    gn_code code = snapshots_dir(shard, dir, err);
    gn_held_dir_name(name, manifest->index, manifest->id);
    if (code == GN_OK)
        code = gn_path_join(path, dir, name, err);
    if (code == GN_OK)
        code = gn_dir_remove(path, err); /* unknown to us: damaged */
    if (code == GN_OK && rename(from, path) != 0)
        code = gn_error_errno(err, GN_IO, errno, "could not rename \"%s\"", from);
    if (code == GN_OK)
        code = gn_dir_sync(dir, err);
    if (code != GN_OK) {
        gn_snapshot_manifest_close(manifest);
        return code;
    }
    gn_held_snapshot *h = gn_xcalloc(1, sizeof *h);
    h->manifest = *manifest;
    h->dir = gn_xstrdup(path);
    h->refs = 1;
    *manifest = (gn_snapshot_manifest){0};
    pthread_mutex_lock(&shard->held_lock);
    insert(shard, h);
    pthread_mutex_unlock(&shard->held_lock);
    return GN_OK;
}

/* ---- reading ---- */

static gn_code read_piece(const char *path, const gn_chunk_request *request, uint8_t *raw, size_t len, gn_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return gn_error_errno(err, errno == ENOENT ? GN_NO_OBJECT : GN_IO, errno, "could not open \"%s\"", path);
    gn_code code = GN_OK;
    for (size_t at = 0; code == GN_OK && at < len;) {
        ssize_t n = pread(fd, raw + at, len - at, (off_t)(request->offset + at));
        if (n > 0)
            at += (size_t)n;
        else if (n == 0)
            code = gn_error_set(err, GN_CORRUPT, "the snapshot's file \"%s\" is too short", path);
        else if (errno != EINTR)
            code = gn_error_errno(err, GN_IO, errno, "could not read \"%s\"", path);
    }
    close(fd);
    return code;
}

static gn_code read_held(const gn_held_snapshot *h, const gn_chunk_request *request, gn_buf *chunk, gn_error *err)
{
    char path[GN_PATH_BYTES];
    const gn_manifest_files *files = &h->manifest.files;
    if (request->file >= files->n || request->offset % GN_MAX_SNAPSHOT_CHUNK != 0 ||
        request->offset >= files->items[request->file].size)
        return gn_error_set(err, GN_INVALID_PARAMETER, "the snapshot has no file %u, or none so long", request->file);
    const gn_snapshot_file *file = &files->items[request->file];
    uint64_t left = file->size - request->offset;
    size_t len = left < GN_MAX_SNAPSHOT_CHUNK ? (size_t)left : GN_MAX_SNAPSHOT_CHUNK;
    gn_code code = gn_path_join(path, h->dir, file->name, err);
    if (code != GN_OK)
        return code;
    uint8_t *raw = gn_xmalloc(len);
    code = read_piece(path, request, raw, len, err);
    if (code == GN_OK)
        gn_chunk_encode(request, gn_bytes_of(raw, len), chunk);
    free(raw);
    if (code == GN_OK && chunk->failed)
        code = gn_error_set(err, GN_LIMIT, "there is no room for a chunk of a snapshot");
    return code;
}

/* Who has had the end needs it no more; another reader takes a lease of its own with its next read. */
static uint64_t lease(const gn_held_snapshot *h, const gn_chunk_request *request)
{
    const gn_manifest_files *files = &h->manifest.files;
    bool last = request->file + UINT64_C(1) == files->n &&
                files->items[request->file].size - request->offset <= GN_MAX_SNAPSHOT_CHUNK;
    return (last ? LAST_LEASE_MS : LEASE_MS) * UINT64_C(1000000);
}

gn_code gn_shard_read_chunk(gn_shard *shard, const gn_chunk_request *request, gn_buf *chunk, gn_error *err)
{
    gn_held_snapshot *h = NULL;
    if (request->group_id == shard->group_id) {
        pthread_mutex_lock(&shard->held_lock);
        h = find(shard, request->index, request->snapshot_id);
        if (h) {
            h->refs++;
            h->lease_until_ns = gn_now_ns(shard->world) + lease(h, request);
        }
        pthread_mutex_unlock(&shard->held_lock);
    }
    gn_code code = h ? read_held(h, request, chunk, err) : GN_NO_OBJECT;
    if (h && code != GN_OK && code != GN_INVALID_PARAMETER)
        gn_log_error("shard", "a snapshot cannot be read", GN_KV_U64("group", shard->group_id),
                     GN_KV_STR("error", err ? err->message : ""));
    gn_held_release(shard, h);
    if (code == GN_NO_OBJECT) {
        gn_snapshot_wanted_elsewhere(shard);
        return gn_error_set(err, code, "this snapshot is not held here");
    }
    return code;
}
