/* Raft snapshots of a shard: a manifest, and for groups of several members a checkpoint of the store (hard links).
 *
 *   [version, group, applied index, last SCN, horizon, path]   msgpack; path "" when there is no checkpoint
 *
 * A checkpoint may hold more than the index that it is named by: entries that the store has already are skipped when
 * they are applied. A group of one has nobody to send files to, so its snapshot is a flush alone, which lets the log be
 * cut. The store in use is `store-<n>`, named by the file CURRENT; an install makes the next one and changes the name.
 */
#include "base/assert.h"
#include "query/pack.h"
#include "shard/apply_private.h"
#include "shard/files_private.h"
#include "shard/vector_feed_private.h"

#include <msgpack.h>
#include <stdio.h>
#include <stdlib.h>

enum { MANIFEST_VERSION = 1, MANIFEST_FIELDS = 6 };

typedef struct manifest {
    uint64_t group_id, index;
    gn_scn last_scn, horizon;
    gn_bytes path;
} manifest;

static void manifest_write(const manifest *m, gn_buf *out)
{
    msgpack_packer p;
    msgpack_packer_init(&p, out, gn_pack_write);
    msgpack_pack_array(&p, MANIFEST_FIELDS);
    msgpack_pack_uint8(&p, MANIFEST_VERSION);
    msgpack_pack_uint64(&p, m->group_id);
    msgpack_pack_uint64(&p, m->index);
    msgpack_pack_uint64(&p, m->last_scn);
    msgpack_pack_uint64(&p, m->horizon);
    msgpack_pack_str(&p, m->path.len);
    msgpack_pack_str_body(&p, m->path.data, m->path.len);
}

static gn_code manifest_read(gn_bytes bytes, manifest *m, gn_error *err)
{
    gn_unpack u = gn_unpack_of(bytes);
    bool ok = gn_unpack_array(&u, MANIFEST_FIELDS) == MANIFEST_FIELDS && gn_unpack_uint(&u) == MANIFEST_VERSION;
    m->group_id = gn_unpack_uint(&u);
    m->index = gn_unpack_uint(&u);
    m->last_scn = gn_unpack_uint(&u);
    m->horizon = gn_unpack_uint(&u);
    m->path = gn_unpack_str(&u);
    return ok && gn_unpack_done(&u) ? GN_OK : gn_error_set(err, GN_CORRUPT, "a snapshot's manifest is malformed");
}

/* ---- taking ---- */

static gn_code checkpoint(gn_shard *shard, gn_store *store, uint64_t index, char path[GN_PATH_BYTES], gn_error *err)
{
    char dir[GN_PATH_BYTES], name[32];
    gn_code code = gn_path_join(dir, shard->dir, "snapshots", err);
    if (code == GN_OK)
        code = gn_dir_remove(dir, err); /* only the newest is kept */
    if (code == GN_OK)
        code = gn_dir_create(dir, err);
    snprintf(name, sizeof name, "%llu", (unsigned long long)index);
    if (code == GN_OK)
        code = gn_path_join(path, dir, name, err);
    if (code != GN_OK)
        return code;
    char *message = NULL;
    rocksdb_checkpoint_t *cp = rocksdb_checkpoint_object_create(store->db, &message);
    if (cp) {
        rocksdb_checkpoint_create(cp, path, 0, &message);
        rocksdb_checkpoint_object_destroy(cp);
    }
    return gn_store_check(message, "could not take a snapshot", err);
}

static gn_code take(gn_shard *shard, manifest *m, char path[GN_PATH_BYTES], gn_error *err)
{
    gn_store *store = gn_shard_store(shard);
    gn_raft_status *status = gn_xcalloc(1, sizeof *status);
    gn_raft_status_get(shard->group, status);
    pthread_mutex_lock(&shard->view_lock);
    *m = (manifest){.group_id = shard->group_id, .index = shard->applied_index, .last_scn = shard->last_scn};
    pthread_mutex_unlock(&shard->view_lock);
    gn_code code = status->n_members > 1 ? checkpoint(shard, store, m->index, path, err) : gn_store_flush(store, err);
    m->path = gn_bytes_str(path);
    pthread_mutex_lock(&shard->horizon_lock); /* as it is now: collection goes on while the checkpoint is made */
    m->horizon = shard->durable_horizon;
    pthread_mutex_unlock(&shard->horizon_lock);
    if (code == GN_OK && shard->durable_index < m->index)
        shard->durable_index = m->index;
    free(status);
    gn_store_release(store);
    return code;
}

void gn_snapshot_answer(gn_shard *shard)
{
    char path[GN_PATH_BYTES] = "";
    gn_buf bytes;
    gn_buf_init(&bytes, NULL, 128 << 10);
    gn_error err = {0};
    manifest m = {0};
    shard->snapshot_wanted = false;
    gn_code code = shard->stopping ? GN_SHUTDOWN : take(shard, &m, path, &err);
    gn_raft_snapshot snapshot = {.index = m.index};
    if (code == GN_OK) {
        manifest_write(&m, &bytes);
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

/* ---- installing ---- */

typedef struct install {
    gn_task task;
    gn_shard *shard;
    gn_raft_group *group;
    uint64_t index;
    size_t len;
    uint8_t data[];
} install;

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

static gn_code replace_store(gn_shard *shard, const char *from, const manifest *m, uint64_t index, gn_error *err)
{
    uint64_t number = 1;
    gn_store *store = NULL;
    char path[GN_PATH_BYTES], name[32];
    gn_code code = gn_number_read(shard->dir, "CURRENT", &number, err);
    if (code == GN_OK)
        code = take_horizon(shard, m->horizon, err);
    snprintf(name, sizeof name, "store-%llu", (unsigned long long)number + 1);
    if (code == GN_OK)
        code = gn_path_join(path, shard->dir, name, err);
    if (code == GN_OK)
        code = gn_dir_remove(path, err);
    if (code == GN_OK)
        code = gn_dir_link(from, path, err);
    gn_store_options options = gn_shard_store_options(shard);
    if (code == GN_OK)
        code = gn_store_open(path, &options, &store, err);
    gn_store *old = shard->store;
    if (code == GN_OK)
        code = gn_shard_load_state(shard, store, err);
    if (code != GN_OK) {
        gn_store_release(store);
    } else {
        gn_applier_reset(shard->applier); /* it had views of the old one */
        gn_store_release(old);
        if (shard->applied_index < index)
            code = gn_error_set(err, GN_CORRUPT, "a snapshot's store is older than its manifest");
    }
    if (code == GN_OK)
        code = gn_number_write(shard->dir, "CURRENT", number + 1, err);
    if (code == GN_OK) {
        shard->durable_index = shard->applied_index;
        gn_feeds_schema_changed(shard->feeds, shard->schema);
        gn_feeds_rebuild_all(shard->feeds);
    }
    return code;
}

static void install_task(gn_task *task)
{
    install *in = GN_CONTAINER(task, install, task);
    gn_shard *shard = in->shard;
    manifest m;
    gn_error err = {0};
    gn_code code = manifest_read(gn_bytes_of(in->data, in->len), &m, &err);
    if (code == GN_OK && m.path.len == 0)
        code = gn_error_set(&err, GN_CORRUPT, "the snapshot carries no files");
    if (code == GN_OK && m.path.len >= GN_PATH_BYTES)
        code = gn_error_set(&err, GN_CORRUPT, "a snapshot's path is too long");
    if (code == GN_OK) {
        char path[GN_PATH_BYTES];
        snprintf(path, sizeof path, "%.*s", (int)m.path.len, (const char *)m.path.data);
        code = replace_store(shard, path, &m, in->index, &err);
    }
    if (code != GN_OK)
        gn_shard_fail(shard, code, &err);
    gn_raft_snapshot_installed(in->group, code);
    free(in);
}

void gn_snapshot_install(void *ctx, gn_raft_group *group, const void *data, size_t len, uint64_t index)
{
    gn_shard *shard = ctx;
    install *in = gn_xcalloc(1, sizeof *in + len);
    *in = (install){.task.run = install_task, .shard = shard, .group = group, .index = index, .len = len};
    memcpy(in->data, data, len);
    gn_queue_post(shard->queue, &in->task);
}
