/* Installing a snapshot: fetching what it names, and putting it in the store's place.
 *
 *     Raft's manifest -> incoming/: files from here, files from there -> snapshots/ (complete, and held for others)
 *     -> store-<n+1>, vector-<n+1> (hard links) -> opened -> on the queue: CURRENT names n+1 -> Raft is told
 *
 * On a strand of its own, since it takes as long as it takes. Up to the change of CURRENT nothing that the replica
 * lives on is touched, and every failure gives the snapshot back to Raft, which goes on as if it had not come and gets
 * one again, perhaps another: while an install runs the replica has no vote, so it must not wait for a holder that
 * stays away. What was fetched stays in incoming/ and is not fetched twice: a file under its own name is whole and was
 * synced, and is read against its checksum before it is believed; a part goes on where it ended. */
#include "base/assert.h"
#include "shard/apply_private.h"
#include "shard/snapshot_private.h"
#include "shard/vector_feed_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <xxhash.h>

#define MS UINT64_C(1000000)

enum {
    PATIENCE_MS = 3000, /* without a sound chunk */
    FIRST_PAUSE_MS = 20,
    LAST_PAUSE_MS = 500,
    DAMAGED_CHUNKS = 5, /* in a row */
    SYNC_BYTES = 64 << 20,
    GIVE_UP_PAUSE_MS = 1000, /* before a failure that time alone does not heal is reported, doubled each time */
    GIVE_UP_PAUSE_MAX_MS = 8000,
    SPARE_BYTES = 64 << 20, /* to be left on the disk */
};
#define DEFAULT_BYTES_PER_SECOND ((uint64_t)100 << 20)

typedef struct gn_installer {
    gn_chunk_link link;
    uint64_t bytes_per_second;
    pthread_mutex_t lock;
    gn_strand *strand; /* started with the first install */
    gn_wakeup wakeup;
    _Atomic bool stopping;
    struct job *job; /* for the strand to take; Raft gives one at a time */
    gn_install_progress progress;
    unsigned failures; /* in a row; the strand's */
} gn_installer;

typedef struct job {
    gn_raft_group *group;
    uint64_t index;
    size_t len;
    uint8_t data[];
} job;

/* One install. */
typedef struct incoming {
    gn_shard *shard;
    gn_installer *installer;
    gn_snapshot_manifest manifest;
    gn_bytes bytes;          /* as Raft has it */
    char dir[GN_PATH_BYTES]; /* in incoming/ */
    bool gone[2];            /* the holder has it no more */
    unsigned holder;         /* 0 the maker, 1 the leader */
    uint64_t sound_ns;       /* when the last sound chunk came */
    uint64_t next_ns;        /* not before this the next one, for the rate's sake */
    uint8_t *raw;
    gn_buf chunk;
} incoming;

/* ---- the strand and its state ---- */

void gn_installer_init(gn_shard *shard, const gn_chunk_link *link, uint64_t bytes_per_second)
{
    gn_installer *in = shard->installer = gn_xcalloc(1, sizeof *in);
    in->link = *link;
    in->bytes_per_second = bytes_per_second ? bytes_per_second : DEFAULT_BYTES_PER_SECOND;
    pthread_mutex_init(&in->lock, NULL);
    gn_wakeup_init(&in->wakeup, shard->world);
}

void gn_installer_close(gn_shard *shard)
{
    gn_installer *in = shard->installer;
    GN_ASSERT(!in->strand && !in->job);
    gn_wakeup_close(&in->wakeup);
    pthread_mutex_destroy(&in->lock);
    free(in);
}

static void pause_until(gn_installer *in, gn_shard *shard, uint64_t ns)
{
    while (!in->stopping && gn_now_ns(shard->world) < ns)
        gn_wakeup_wait(&in->wakeup, ns);
}

static void note_progress(gn_installer *in, uint64_t fetched, uint64_t linked)
{
    pthread_mutex_lock(&in->lock);
    in->progress.fetched += fetched;
    in->progress.linked += linked;
    in->progress.bytes += fetched + linked;
    pthread_mutex_unlock(&in->lock);
}

void gn_shard_install_progress(gn_shard *shard, gn_install_progress *out)
{
    pthread_mutex_lock(&shard->installer->lock);
    *out = shard->installer->progress;
    pthread_mutex_unlock(&shard->installer->lock);
}

/* ---- chunks ---- */

static gn_node_id holder_of(incoming *in, unsigned which)
{
    gn_shard *shard = in->shard;
    gn_node_id self = gn_net_self(shard->world), node = in->manifest.maker;
    if (which == 1) {
        gn_raft_status *status = gn_xcalloc(1, sizeof *status);
        gn_raft_status_get(shard->group, status);
        node = status->leader;
        free(status);
    }
    return node == self ? 0 : node;
}

static gn_code ask(incoming *in, const gn_chunk_request *request, gn_error *err)
{
    gn_node_id node = holder_of(in, in->holder);
    gn_buf_clear(&in->chunk);
    if (node == 0)
        return in->holder == 0 ? GN_NO_OBJECT : GN_UNAVAILABLE;
    gn_chunk_link *link = &in->installer->link;
    return link->fetch(link->ctx, node, request, &in->installer->stopping, &in->chunk, err);
}

/* After a failure: the other one, unless it is known not to have it. */
static void turn(incoming *in)
{
    if (!in->gone[in->holder ^ 1])
        in->holder ^= 1;
}

/* A chunk that was asked for at `asked` came: the next one not before its share of a second is over. */
static void keep_rate(incoming *in, uint64_t asked)
{
    uint64_t share = in->chunk.len * UINT64_C(1000000000) / in->installer->bytes_per_second;
    in->next_ns = (in->next_ns > asked ? in->next_ns : asked) + share;
    pause_until(in->installer, in->shard, in->next_ns);
}

/* GN_NO_OBJECT: nobody has it; GN_UNAVAILABLE: nobody answers; GN_CORRUPT: what comes is damaged, again and again. */
static gn_code fetch_chunk(incoming *in, const gn_chunk_request *request, size_t len, gn_error *err)
{
    uint64_t pause = FIRST_PAUSE_MS;
    unsigned damaged = 0;
    in->sound_ns = gn_now_ns(in->shard->world);
    while (!in->installer->stopping) {
        gn_code code = ask(in, request, err);
        if (code == GN_OK) {
            code = gn_chunk_decode(request, gn_buf_bytes(&in->chunk), in->raw, len, err);
            if (code == GN_OK)
                return GN_OK;
            gn_counter_add(in->shard->metrics.chunks_bad, 1);
            if (++damaged == DAMAGED_CHUNKS)
                return code;
        }
        if (code == GN_NO_OBJECT || code == GN_INVALID_PARAMETER)
            in->gone[in->holder] = true;
        if (in->gone[0] && in->gone[1])
            return gn_error_set(err, GN_NO_OBJECT, "the snapshot is gone");
        turn(in);
        uint64_t now = gn_now_ns(in->shard->world);
        if (now - in->sound_ns > PATIENCE_MS * MS)
            return gn_error_set(err, GN_UNAVAILABLE, "no chunk of the snapshot came for %d s", PATIENCE_MS / 1000);
        if (code != GN_NO_OBJECT)
            pause_until(in->installer, in->shard, now + pause * MS);
        pause = pause * 2 < LAST_PAUSE_MS ? pause * 2 : LAST_PAUSE_MS;
    }
    return gn_error_set(err, GN_SHUTDOWN, "%s", gn_code_text(GN_SHUTDOWN));
}

/* ---- files ---- */

static gn_code write_at(int fd, const uint8_t *raw, size_t len, uint64_t offset, const char *path, gn_error *err)
{
    for (size_t at = 0; at < len;) {
        ssize_t n = pwrite(fd, raw + at, len - at, (off_t)(offset + at));
        if (n < 0 && errno != EINTR)
            return gn_error_errno(err, GN_IO, errno, "could not write \"%s\"", path);
        at += n > 0 ? (size_t)n : 0;
    }
    return GN_OK;
}

/* What is there of a part that an earlier try has left: whole chunks, read into the checksum. */
static gn_code resume(incoming *in, int fd, const gn_snapshot_file *file, XXH3_state_t *state, uint64_t *offset,
                      const char *path, gn_error *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return gn_error_errno(err, GN_IO, errno, "could not look at \"%s\"", path);
    uint64_t there = st.st_size > 0 && (uint64_t)st.st_size <= file->size ? (uint64_t)st.st_size : 0;
    if (there < file->size)
        there -= there % GN_MAX_SNAPSHOT_CHUNK;
    for (*offset = 0; *offset < there;) {
        size_t len = there - *offset < GN_MAX_SNAPSHOT_CHUNK ? (size_t)(there - *offset) : GN_MAX_SNAPSHOT_CHUNK;
        ssize_t n = pread(fd, in->raw, len, (off_t)*offset);
        if (n <= 0)
            return gn_error_errno(err, GN_IO, n ? errno : EIO, "could not read \"%s\"", path);
        XXH3_128bits_update(state, in->raw, (size_t)n);
        *offset += (uint64_t)n;
    }
    note_progress(in->installer, 0, there);
    if (ftruncate(fd, (off_t)there) != 0 && S_ISREG(st.st_mode))
        return gn_error_errno(err, GN_IO, errno, "could not truncate \"%s\"", path);
    return GN_OK;
}

static gn_code fetch_into(incoming *in, uint32_t number, int fd, const char *path, uint8_t sum[GN_FILE_SUM],
                          gn_error *err)
{
    const gn_snapshot_manifest *m = &in->manifest;
    const gn_snapshot_file *file = &m->files.items[number];
    gn_chunk_request request = {.group_id = m->group_id, .index = m->index, .snapshot_id = m->id, .file = number};
    XXH3_state_t *state = XXH3_createState();
    XXH3_128bits_reset(state);
    gn_code code = resume(in, fd, file, state, &request.offset, path, err);
    while (code == GN_OK && request.offset < file->size) {
        uint64_t left = file->size - request.offset;
        size_t len = left < GN_MAX_SNAPSHOT_CHUNK ? (size_t)left : GN_MAX_SNAPSHOT_CHUNK;
        uint64_t asked = gn_now_ns(in->shard->world);
        code = fetch_chunk(in, &request, len, err);
        if (code == GN_OK)
            code = write_at(fd, in->raw, len, request.offset, path, err);
        if (code != GN_OK)
            break;
        XXH3_128bits_update(state, in->raw, len);
        request.offset += len;
        if (request.offset % SYNC_BYTES == 0 && fdatasync(fd) != 0) /* not all at the end */
            code = gn_error_errno(err, GN_IO, errno, "could not sync \"%s\"", path);
        gn_counter_add(in->shard->metrics.chunks_fetched, 1);
        gn_counter_add(in->shard->metrics.chunk_bytes, in->chunk.len);
        note_progress(in->installer, len, 0);
        keep_rate(in, asked);
    }
    if (code == GN_OK && fsync(fd) != 0)
        code = gn_error_errno(err, GN_IO, errno, "could not sync \"%s\"", path);
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(state));
    memcpy(sum, canonical.digest, GN_FILE_SUM);
    XXH3_freeState(state);
    return code;
}

/* A sum that is wrong may be a part's that a power cut has torn, so once more from the start. */
static gn_code fetch_file(incoming *in, uint32_t number, const char *path, gn_error *err)
{
    const gn_snapshot_file *file = &in->manifest.files.items[number];
    char name[32], part[GN_PATH_BYTES];
    snprintf(name, sizeof name, "part-%u", number);
    gn_code code = gn_path_join(part, in->dir, name, err);
    for (int tries = 2; code == GN_OK; tries--) {
        uint8_t sum[GN_FILE_SUM];
        int fd = open(part, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0)
            return gn_error_errno(err, GN_IO, errno, "could not create \"%s\"", part);
        code = fetch_into(in, number, fd, part, sum, err);
        if (close(fd) != 0 && code == GN_OK)
            code = gn_error_errno(err, GN_IO, errno, "could not write \"%s\"", part);
        if (code != GN_OK)
            return code;
        if (memcmp(sum, file->sum, sizeof sum) == 0)
            break;
        unlink(part);
        gn_counter_add(in->shard->metrics.chunks_bad, 1);
        if (tries == 1)
            return gn_error_set(err, GN_CORRUPT, "the snapshot's file %s is damaged where it comes from", file->name);
    }
    if (code == GN_OK && rename(part, path) != 0)
        code = gn_error_errno(err, GN_IO, errno, "could not rename \"%s\"", part);
    return code;
}

/* ---- what is here already ---- */

/* Whether this is the file; *code other than GN_OK: it could not be found out. */
static bool is_the_file(incoming *in, const char *path, const gn_snapshot_file *file)
{
    struct stat st;
    uint64_t size;
    uint8_t sum[GN_FILE_SUM];
    return lstat(path, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size == file->size &&
           gn_file_sum(path, &in->installer->stopping, &size, sum, NULL) == GN_OK && size == file->size &&
           memcmp(sum, file->sum, sizeof sum) == 0;
}

static bool has_suffix(const char *name, const char *suffix)
{
    size_t n = strlen(name), m = strlen(suffix);
    return n > m && strcmp(name + n - m, suffix) == 0;
}

/* RocksDB never changes an SST file, nor an index a segment; a store that came from the same origin shares many. */
static bool link_own(incoming *in, const gn_snapshot_file *file, const char *path)
{
    gn_shard *shard = in->shard;
    char name[GN_SNAPSHOT_NAME + GN_STORE_NAME], own[GN_PATH_BYTES], dir[GN_STORE_NAME];
    bool sst = has_suffix(file->name, ".sst"), segment = has_suffix(file->name, ".seg");
    if (!sst && !segment)
        return false;
    if (sst)
        gn_store_dir_name(dir, shard->store_number);
    else
        gn_vector_dir_name(dir, shard->store_number);
    snprintf(name, sizeof name, "%s%s", dir, strchr(file->name, '/'));
    return gn_path_join(own, shard->dir, name, NULL) == GN_OK && is_the_file(in, own, file) && link(own, path) == 0;
}

/* From an install that was given up for this one. */
static bool take_over(incoming *in, const char *other, const gn_snapshot_file *file, const char *path)
{
    char old[GN_PATH_BYTES];
    return gn_path_join(old, other, file->name, NULL) == GN_OK && is_the_file(in, old, file) && rename(old, path) == 0;
}

static gn_code drop_other(const char *dir, const char *name, void *ctx, gn_error *err)
{
    incoming *in = ctx;
    char other[GN_PATH_BYTES], path[GN_PATH_BYTES];
    gn_code code = gn_path_join(other, dir, name, err);
    if (code != GN_OK || strcmp(other, in->dir) == 0)
        return code;
    for (size_t i = 0; code == GN_OK && i < in->manifest.files.n && !in->installer->stopping; i++) {
        const gn_snapshot_file *file = &in->manifest.files.items[i];
        code = gn_path_join(path, in->dir, file->name, err);
        if (code == GN_OK && access(path, F_OK) != 0)
            take_over(in, other, file, path);
    }
    return code == GN_OK && !in->installer->stopping ? gn_dir_remove(other, err) : code;
}

static gn_code get_file(incoming *in, uint32_t number, gn_error *err)
{
    const gn_snapshot_file *file = &in->manifest.files.items[number];
    char path[GN_PATH_BYTES];
    gn_code code = gn_path_join(path, in->dir, file->name, err);
    if (code != GN_OK)
        return code;
    if (is_the_file(in, path, file) || (unlink(path), link_own(in, file, path))) {
        gn_counter_add(in->shard->metrics.snapshot_files_kept, 1);
        note_progress(in->installer, 0, file->size);
        return GN_OK;
    }
    return in->installer->stopping ? GN_SHUTDOWN : fetch_file(in, number, path, err);
}

/* ---- all of it ---- */

static gn_code check_room(incoming *in, uint64_t bytes, gn_error *err)
{
    struct statvfs fs;
    if (statvfs(in->dir, &fs) != 0)
        return gn_error_errno(err, GN_IO, errno, "could not look at the disk of \"%s\"", in->dir);
    uint64_t room = (uint64_t)fs.f_bavail * fs.f_frsize;
    if (room >= SPARE_BYTES && room - SPARE_BYTES >= bytes)
        return GN_OK;
    return gn_error_set(err, GN_DISK_FULL, "a snapshot of %llu bytes does not fit the disk, which has room for %llu",
                        (unsigned long long)bytes, (unsigned long long)room);
}

static gn_code prepare(incoming *in, gn_error *err)
{
    char name[64], base[GN_PATH_BYTES];
    const gn_snapshot_manifest *m = &in->manifest;
    gn_code code = gn_path_join(base, in->shard->dir, "incoming", err);
    if (code == GN_OK)
        code = gn_dir_create(base, err);
    gn_held_dir_name(name, m->index, m->id);
    if (code == GN_OK)
        code = gn_path_join(in->dir, base, name, err);
    if (code == GN_OK)
        code = gn_dir_create(in->dir, err);
    for (size_t i = 0; code == GN_OK && i < m->files.n; i++)
        code = gn_snapshot_make_parents(in->dir, m->files.items[i].name, err);
    if (code == GN_OK)
        code = gn_dir_each(base, drop_other, in, err);
    uint64_t missing = 0;
    for (size_t i = 0; code == GN_OK && i < m->files.n; i++) {
        char path[GN_PATH_BYTES];
        code = gn_path_join(path, in->dir, m->files.items[i].name, err);
        if (code == GN_OK && access(path, F_OK) != 0)
            missing += m->files.items[i].size;
    }
    return code == GN_OK ? check_room(in, missing, err) : code;
}

static gn_code fetch_all(incoming *in, gn_error *err)
{
    gn_shard *shard = in->shard;
    gn_installer *installer = in->installer;
    pthread_mutex_lock(&installer->lock);
    installer->progress = (gn_install_progress){
        .running = true, .index = in->manifest.index, .bytes_total = gn_snapshot_manifest_bytes(&in->manifest)};
    pthread_mutex_unlock(&installer->lock);
    gn_code code = prepare(in, err);
    for (uint32_t i = 0; code == GN_OK && i < in->manifest.files.n; i++)
        code = get_file(in, i, err);
    if (code == GN_OK)
        code = gn_snapshot_write_manifest(in->dir, in->bytes, err);
    if (code == GN_OK)
        code = gn_snapshot_sync(in->dir, &in->manifest, err);
    if (code == GN_OK)
        code = gn_held_make_room(shard, err);
    return code == GN_OK ? gn_held_add(shard, in->dir, &in->manifest, err) : code;
}

static gn_code tidy_one(const char *dir, const char *name, void *applied, gn_error *err)
{
    char path[GN_PATH_BYTES], *end;
    uint64_t index = strtoull(name, &end, 10);
    if (*end == '-' && index > *(uint64_t *)applied)
        return GN_OK;
    gn_code code = gn_path_join(path, dir, name, err);
    return code == GN_OK ? gn_dir_remove(path, err) : code;
}

/* Nothing is installed that is not ahead of what is applied, so nobody works there. */
void gn_incoming_tidy(gn_shard *shard)
{
    char base[GN_PATH_BYTES];
    gn_error err = {0};
    pthread_mutex_lock(&shard->view_lock);
    uint64_t applied = shard->applied_index;
    pthread_mutex_unlock(&shard->view_lock);
    if (gn_path_join(base, shard->dir, "incoming", NULL) != GN_OK || access(base, F_OK) != 0)
        return;
    if (gn_dir_each(base, tidy_one, &applied, &err) != GN_OK)
        gn_log_warn("shard", "parts of an old snapshot were not removed", GN_KV_STR("error", err.message));
}

/* ---- putting it in place ---- */

static gn_code link_snapshot(gn_shard *shard, const gn_held_snapshot *held, uint64_t number, gn_error *err)
{
    char store[GN_STORE_NAME], vector[GN_STORE_NAME], to[GN_PATH_BYTES], from[GN_PATH_BYTES];
    gn_code code = GN_OK;
    gn_store_dir_name(store, number);
    gn_vector_dir_name(vector, number);
    for (int i = 0; code == GN_OK && i < 2; i++) { /* what a try before has left */
        code = gn_path_join(to, shard->dir, i ? vector : store, err);
        if (code == GN_OK)
            code = gn_dir_remove(to, err);
        if (code == GN_OK)
            code = gn_dir_create(to, err);
    }
    for (size_t i = 0; code == GN_OK && i < held->manifest.files.n; i++) {
        const char *name = held->manifest.files.items[i].name, *rest = strchr(name, '/');
        char own[GN_SNAPSHOT_NAME + GN_STORE_NAME];
        snprintf(own, sizeof own, "%s%s", name[0] == 's' ? store : vector, rest);
        code = gn_path_join(from, held->dir, name, err);
        if (code == GN_OK)
            code = gn_path_join(to, shard->dir, own, err);
        if (code == GN_OK)
            code = gn_snapshot_make_parents(shard->dir, own, err);
        if (code == GN_OK)
            code = gn_file_link(from, to, err);
        char *slash = strrchr(to, '/');
        bool last = i + 1 == held->manifest.files.n;
        *slash = '\0';
        if (code == GN_OK && (last || strncmp(name, held->manifest.files.items[i + 1].name,
                                              (size_t)(strrchr(name, '/') - name) + 1) != 0))
            code = gn_dir_sync(to, err); /* the last one of its directory */
    }
    if (code == GN_OK)
        code = gn_path_join(to, shard->dir, vector, err);
    if (code == GN_OK)
        code = gn_dir_sync(to, err);
    return code == GN_OK ? gn_dir_sync(shard->dir, err) : code;
}

/* The snapshot's maker may have collected more than this replica. */
static gn_code take_horizon(gn_shard *shard, gn_scn horizon, gn_error *err)
{
    gn_code code = GN_OK;
    pthread_mutex_lock(&shard->horizon_lock);
    if (horizon > shard->durable_horizon && (code = gn_number_write(shard->dir, "HORIZON", horizon, err)) == GN_OK) {
        shard->durable_horizon = horizon;
        pthread_mutex_lock(&shard->view_lock);
        if (shard->horizon < horizon)
            shard->horizon = horizon;
        pthread_mutex_unlock(&shard->view_lock);
    }
    pthread_mutex_unlock(&shard->horizon_lock);
    return code;
}

typedef struct swap {
    gn_task task;
    gn_shard *shard;
    gn_store *store;
    const gn_snapshot_manifest *manifest;
    uint64_t number;
    gn_event done;
    gn_code code;
    bool begun; /* from here on a failure is the end */
    gn_error err;
} swap;

static gn_code swap_stores(swap *s)
{
    gn_shard *shard = s->shard;
    char vector[GN_STORE_NAME], path[GN_PATH_BYTES];
    gn_vector_dir_name(vector, s->number);
    gn_code code = gn_path_join(path, shard->dir, vector, &s->err);
    if (code == GN_OK)
        code = take_horizon(shard, s->manifest->horizon, &s->err);
    if (code != GN_OK)
        return code;
    s->begun = true;
    code = gn_number_write(shard->dir, "CURRENT", s->number, &s->err);
    gn_store *old = shard->store;
    if (code == GN_OK)
        code = gn_shard_load_state(shard, s->store, &s->err);
    if (code != GN_OK)
        return code;
    s->store = NULL;
    shard->store_number = s->number;
    gn_applier_reset(shard->applier); /* it had views of the old one */
    old->doomed = true;
    gn_store_release(old);
    shard->durable_index = shard->applied_index;
    gn_feeds_replace(shard->feeds, path, shard->schema);
    return GN_OK;
}

static void swap_task(gn_task *task)
{
    swap *s = GN_CONTAINER(task, swap, task);
    s->code = swap_stores(s);
    if (s->code != GN_OK && s->begun)
        gn_shard_fail(s->shard, s->code, &s->err);
    gn_event_signal(&s->done);
}

/* *fatal: the replica has stopped over it. */
static gn_code put_in_place(gn_shard *shard, const gn_held_snapshot *held, bool *fatal, gn_error *err)
{
    char name[GN_STORE_NAME], path[GN_PATH_BYTES];
    const gn_snapshot_manifest *m = &held->manifest;
    swap s = {.task.run = swap_task, .shard = shard, .manifest = m, .number = shard->store_number + 1};
    gn_store_options options = gn_shard_store_options(shard);
    uint64_t index = 0;
    gn_scn scn;
    gn_code code = link_snapshot(shard, held, s.number, err);
    gn_store_dir_name(name, s.number);
    if (code == GN_OK)
        code = gn_path_join(path, shard->dir, name, err);
    if (code == GN_OK)
        code = gn_store_open(path, &options, &s.store, err);
    if (code == GN_OK)
        code = gn_shard_read_applied(s.store, &index, &scn, err);
    if (code == GN_OK && index != m->index)
        code = gn_error_set(err, GN_CORRUPT, "a snapshot's store is not the one that its manifest speaks of");
    if (code == GN_OK) {
        gn_event_init(&s.done, shard->world);
        gn_queue_post(shard->queue, &s.task);
        gn_event_wait(&s.done, UINT64_MAX);
        code = s.code;
        if (code != GN_OK && err)
            *err = s.err;
    }
    gn_store_release(s.store);
    *fatal = code != GN_OK && s.begun;
    return code;
}

/* ---- an install ---- */

/* Nothing can be done with this manifest. Asking for what is not there tells the leader that files are needed. */
static gn_code ask_for_another(incoming *in, gn_error *err)
{
    gn_chunk_request request = {
        .group_id = in->shard->group_id, .index = in->manifest.index, .snapshot_id = in->manifest.id};
    in->holder = 1;
    ask(in, &request, NULL);
    return gn_error_set(err, GN_NO_OBJECT, "the snapshot has no files");
}

static gn_code install(incoming *in, uint64_t index, bool *fatal, gn_error *err)
{
    gn_shard *shard = in->shard;
    gn_snapshot_manifest *m = &in->manifest;
    if (!in->installer->link.fetch)
        return gn_error_set(err, GN_UNAVAILABLE, "this replica has no way to fetch the files of a snapshot");
    gn_code code = gn_snapshot_manifest_read(in->bytes, m, err);
    if (code == GN_OK && (m->group_id != shard->group_id || m->index != index))
        code = gn_error_set(err, GN_CORRUPT, "a snapshot's manifest is of another snapshot");
    if (code != GN_OK) {
        ask_for_another(in, NULL);
        return code;
    }
    if (m->files.n == 0)
        return ask_for_another(in, err);
    uint64_t id = m->id;
    gn_held_snapshot *held = gn_held_find(shard, index, id);
    if (!held)
        code = fetch_all(in, err);
    if (!held && code == GN_OK)
        held = gn_held_find(shard, index, id);
    if (code == GN_OK)
        code = put_in_place(shard, held, fatal, err);
    bool damaged = code == GN_CORRUPT && held && !*fatal;
    gn_held_release(shard, held);
    if (damaged) /* not to be tried again, nor handed on */
        gn_held_distrust(shard, index, id);
    return code;
}

static bool heals_elsewhere(gn_code code)
{
    return code == GN_NO_OBJECT || code == GN_UNAVAILABLE || code == GN_SHUTDOWN;
}

static void run(gn_shard *shard, job *j)
{
    gn_installer *installer = shard->installer;
    incoming *in = gn_xcalloc(1, sizeof *in);
    *in = (incoming){.shard = shard, .installer = installer, .bytes = gn_bytes_of(j->data, j->len)};
    in->raw = gn_xmalloc(GN_MAX_SNAPSHOT_CHUNK);
    gn_buf_init(&in->chunk, NULL, GN_CHUNK_ENCODED);
    gn_error err = {0};
    bool fatal = false;
    uint64_t start = gn_now_ns(shard->world);
    gn_code code = install(in, j->index, &fatal, &err);
    pthread_mutex_lock(&installer->lock);
    installer->progress.running = false;
    gn_install_progress done = installer->progress;
    pthread_mutex_unlock(&installer->lock);
    if (code == GN_OK) {
        installer->failures = 0;
        gn_log_info("shard", "snapshot installed", GN_KV_U64("group", shard->group_id), GN_KV_U64("index", j->index),
                    GN_KV_U64("fetched_bytes", done.fetched), GN_KV_U64("kept_bytes", done.linked),
                    GN_KV_F64("seconds", (double)(gn_now_ns(shard->world) - start) / 1e9));
    } else if (!fatal && !heals_elsewhere(code)) {
        gn_log_error("shard", "a snapshot could not be installed", GN_KV_U64("group", shard->group_id),
                     GN_KV_U64("index", j->index), GN_KV_STR("code", gn_code_name(code)),
                     GN_KV_STR("error", err.message));
        uint64_t pause = (uint64_t)GIVE_UP_PAUSE_MS << (installer->failures < 3 ? installer->failures++ : 3);
        pause_until(installer, shard,
                    gn_now_ns(shard->world) + (pause < GIVE_UP_PAUSE_MAX_MS ? pause : GIVE_UP_PAUSE_MAX_MS) * MS);
    } else if (!fatal) {
        gn_log_info("shard", "a snapshot has to wait", GN_KV_U64("group", shard->group_id),
                    GN_KV_U64("index", j->index), GN_KV_STR("why", err.message));
    }
    gn_snapshot_manifest_close(&in->manifest);
    gn_buf_close(&in->chunk);
    free(in->raw);
    free(in);
    gn_raft_snapshot_installed(j->group, code == GN_OK || fatal ? code : GN_UNAVAILABLE);
    free(j);
}

static job *take_job(gn_installer *in)
{
    pthread_mutex_lock(&in->lock);
    job *j = in->job;
    in->job = NULL;
    pthread_mutex_unlock(&in->lock);
    return j;
}

static void installer(void *arg)
{
    gn_shard *shard = arg;
    gn_installer *in = shard->installer;
    while (!in->stopping) {
        job *j = take_job(in);
        if (j)
            run(shard, j);
        else
            gn_wakeup_wait(&in->wakeup, UINT64_MAX);
    }
}

static void refuse(job *j)
{
    gn_raft_snapshot_installed(j->group, GN_UNAVAILABLE);
    free(j);
}

void gn_snapshot_install(void *ctx, gn_raft_group *group, const void *data, size_t len, uint64_t index)
{
    gn_shard *shard = ctx;
    gn_installer *in = shard->installer;
    job *j = gn_xcalloc(1, sizeof *j + len);
    *j = (job){.group = group, .index = index, .len = len};
    memcpy(j->data, data, len);
    pthread_mutex_lock(&in->lock);
    bool stopping = in->stopping;
    if (!stopping && !in->strand)
        in->strand = gn_strand_start(shard->world, "shard-install", installer, shard);
    bool taken = !stopping && in->strand;
    if (taken)
        in->job = j;
    pthread_mutex_unlock(&in->lock);
    if (taken)
        gn_wakeup_post(&in->wakeup);
    else
        refuse(j);
}

void gn_shard_stop_installs(gn_shard *shard)
{
    gn_installer *in = shard->installer;
    pthread_mutex_lock(&in->lock);
    in->stopping = true;
    gn_strand *strand = in->strand;
    in->strand = NULL;
    pthread_mutex_unlock(&in->lock);
    gn_wakeup_post(&in->wakeup);
    if (strand)
        gn_strand_join(strand);
    job *j = take_job(in);
    if (j)
        refuse(j);
}
