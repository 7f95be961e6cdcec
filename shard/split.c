/* Splitting: one entry, at which each replica makes the child's replica out of its own files.
 *
 *     split-<child>/store-1   a checkpoint of the store as it was before the entry, with the child's state
 *                   vector    the files of the vector indexes
 *                   HORIZON   the parent's
 *                   SEED      who makes the child's group, for its log to be made of
 *
 * A directory of this name is complete: it got the name as the last step, before the parent's own state says that it
 * was split. A crash in between applies the entry again and makes the directory again; whether that is still wanted is
 * for who adopts it to know (cluster/splits.c). */
#include "base/assert.h"
#include "shard/apply_private.h"
#include "shard/slots_private.h"
#include "shard/snapshot_private.h"
#include "shard/vector_feed_private.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { SEED_VERSION = 1, POLL_NS = 2000000 };

/* ---- files ---- */

static gn_code child_path(const char *dir, uint64_t child, const char *suffix, char out[GN_PATH_BYTES], gn_error *err)
{
    char name[64];
    snprintf(name, sizeof name, "split-%" PRIu64 "%s", child, suffix);
    return gn_path_join(out, dir, name, err);
}

static gn_code write_seed(const char *dir, const gn_split *split, gn_error *err)
{
    char path[GN_PATH_BYTES];
    gn_code code = gn_path_join(path, dir, "SEED", err);
    FILE *f = code == GN_OK ? fopen(path, "we") : NULL;
    if (code != GN_OK)
        return code;
    bool ok = f && fprintf(f, "%d %" PRIu32, SEED_VERSION, split->n_members) > 0;
    for (uint32_t i = 0; ok && i < split->n_members; i++)
        ok = fprintf(f, " %" PRIu64, (uint64_t)split->members[i]) > 0;
    ok = ok && fprintf(f, "\n") > 0 && fflush(f) == 0 && fsync(fileno(f)) == 0;
    int errnum = errno;
    if (f && fclose(f) != 0 && ok) {
        ok = false;
        errnum = errno;
    }
    return ok ? GN_OK : gn_error_errno(err, GN_IO, errnum, "could not write \"%s\"", path);
}

/* *n 0: there is none. */
static gn_code read_seed(const char *path, gn_raft_member *members, size_t *n, gn_error *err)
{
    FILE *f = fopen(path, "re");
    *n = 0;
    if (!f)
        return errno == ENOENT ? GN_OK : gn_error_errno(err, GN_IO, errno, "could not open \"%s\"", path);
    char line[512] = "", *at = line;
    bool read = fgets(line, sizeof line, f) != NULL;
    fclose(f);
    unsigned long long version = strtoull(at, &at, 10), count = strtoull(at, &at, 10);
    bool ok = read && version == SEED_VERSION && count > 0 && count <= GN_SPLIT_MEMBERS;
    for (; ok && *n < count; ++*n) {
        members[*n] = (gn_raft_member){.id = strtoull(at, &at, 10), .role = GN_RAFT_VOTER};
        ok = members[*n].id != 0;
    }
    return ok && *at == '\n' ? GN_OK : gn_error_set(err, GN_CORRUPT, "\"%s\" does not name a group's members", path);
}

static gn_code sync_tree(const char *dir, const char *name, void *ctx, gn_error *err)
{
    char path[GN_PATH_BYTES];
    (void)ctx;
    gn_code code = gn_path_join(path, dir, name, err);
    int fd = code == GN_OK ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (code == GN_OK && (fd < 0 || fsync(fd) != 0))
        code = gn_error_errno(err, GN_IO, errno, "could not sync \"%s\"", path);
    int probe = fd >= 0 ? openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (fd >= 0)
        close(fd);
    if (probe < 0)
        return code;
    close(probe);
    return code == GN_OK ? gn_dir_each(path, sync_tree, NULL, err) : code;
}

/* ---- the child's state ---- */

/* Counters are estimates: each gets its share of the slots. */
static int64_t share(int64_t n, const gn_split *s)
{
    return n / (int64_t)(s->hi - s->lo) * (int64_t)(s->hi - s->mid) +
           n % (int64_t)(s->hi - s->lo) * (int64_t)(s->hi - s->mid) / (int64_t)(s->hi - s->lo);
}

static bool is_spread(const gn_applier *ap, uint64_t table_id)
{
    const gn_schema_table *t = gn_schema_find(ap->schema, table_id);
    return t && t->desc->distribution_id != 0;
}

/* What the child begins with. Nobody is prepared; what has been decided is the parent's to know. */
static void put_child(gn_applier *ap, rocksdb_writebatch_t *batch, const gn_split *s, gn_scn scn)
{
    const gn_shard *shard = ap->shard;
    const gn_slots slots = {.generation = s->generation + 1,
                            .lo = s->mid,
                            .hi = s->hi,
                            .since = scn,
                            .seals = shard->slots.seals,
                            .merged = shard->slots.merged,
                            .history = shard->slots.history};
    const char decisions[] = {GN_KIND_DECISION, GN_KIND_DECISION + 1},
               prepared[] = {GN_KIND_PREPARED, GN_KIND_PREPARED + 1};
    rocksdb_writebatch_delete_range(batch, decisions, 1, decisions + 1, 1);
    rocksdb_writebatch_delete_range(batch, prepared, 1, prepared + 1, 1);
    for (size_t i = 0; i < shard->tables.n; i++) {
        gn_table_state theirs = *shard->tables.items[i];
        if (!is_spread(ap, theirs.table_id))
            continue;
        theirs.rows = share(theirs.rows, s);
        theirs.bytes = share(theirs.bytes, s);
        gn_counters_put(batch, &theirs);
    }
    gn_slots_put(batch, &slots);
    gn_state_put(batch, GN_RAFT_SEED_INDEX, scn);
}

static gn_code write_child(gn_applier *ap, const char *path, const gn_split *s, gn_scn scn, gn_error *err)
{
    gn_store *store;
    gn_store_options options = gn_shard_store_options(ap->shard);
    gn_code code = gn_store_open(path, &options, &store, err);
    if (code != GN_OK)
        return code;
    rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
    put_child(ap, batch, s, scn);
    code = gn_store_write(store, batch, err);
    if (code == GN_OK)
        code = gn_store_flush(store, err);
    rocksdb_writebatch_destroy(batch);
    gn_store_release(store);
    return code;
}

/* Index files first: they must not be ahead of the rows. */
static gn_code fill_child(gn_applier *ap, const char *dir, const gn_split *s, gn_scn scn, gn_error *err)
{
    char path[GN_PATH_BYTES], name[GN_STORE_NAME];
    gn_code code = gn_dir_create(dir, err);
    gn_vector_dir_name(name, 1);
    if (code == GN_OK)
        code = gn_path_join(path, dir, name, err);
    if (code == GN_OK)
        code = gn_feeds_link(ap->shard->feeds, path, err);
    gn_store_dir_name(name, 1);
    if (code == GN_OK)
        code = gn_path_join(path, dir, name, err);
    if (code == GN_OK)
        code = gn_snapshot_checkpoint(ap->store, path, err);
    if (code == GN_OK)
        code = write_child(ap, path, s, scn, err);
    if (code == GN_OK)
        code = gn_number_write(dir, "HORIZON", gn_snapshot_horizon(ap->shard), err);
    return code == GN_OK ? write_seed(dir, s, err) : code;
}

static gn_code make_child(gn_applier *ap, const gn_split *s, gn_scn scn, gn_error *err)
{
    char fresh[GN_PATH_BYTES], path[GN_PATH_BYTES];
    gn_shard *shard = ap->shard;
    gn_code code = child_path(shard->dir, s->child, ".new", fresh, err);
    if (code == GN_OK)
        code = child_path(shard->dir, s->child, "", path, err);
    if (code == GN_OK)
        code = gn_dir_remove(fresh, err); /* left by a crash */
    if (code == GN_OK)
        code = gn_dir_remove(path, err);
    if (code == GN_OK)
        code = fill_child(ap, fresh, s, scn, err);
    if (code == GN_OK)
        code = gn_dir_each(fresh, sync_tree, NULL, err);
    if (code == GN_OK)
        code = gn_dir_sync(fresh, err);
    if (code == GN_OK && rename(fresh, path) != 0)
        code = gn_error_errno(err, GN_IO, errno, "could not rename \"%s\"", fresh);
    return code == GN_OK ? gn_dir_sync(shard->dir, err) : code;
}

/* ---- applying ---- */

static bool makes_child(const gn_applier *ap, const gn_split *s)
{
    for (uint32_t i = 0; i < s->n_members; i++)
        if (s->members[i] == gn_net_self(ap->shard->world))
            return true;
    return false;
}

static gn_code check_split(const gn_applier *ap, const gn_split *s, gn_error *err)
{
    const gn_slots *own = &ap->shard->slots;
    if (own->generation != s->generation || (own->generation && (own->lo != s->lo || own->hi != s->hi)))
        return gn_error_set(err, GN_NOT_IN_STATE, "group %" PRIu64 " has been split or merged meanwhile",
                            ap->shard->group_id);
    if (own->into || own->victim)
        return gn_error_set(err, GN_OBJECT_IN_USE, "group %" PRIu64 " is being merged", ap->shard->group_id);
    for (const gn_prepared *p = ap->shard->prepared.first; p; p = p->next)
        if (!p->decided)
            return gn_error_set(err, GN_OBJECT_IN_USE,
                                "transactions over several groups are about to commit in group %" PRIu64,
                                ap->shard->group_id);
    return GN_OK;
}

static void keep_own(gn_applier *ap, const gn_split *s, gn_scn scn)
{
    gn_shard *shard = ap->shard;
    gn_slots slots = {.generation = s->generation + 1,
                      .lo = s->lo,
                      .hi = s->mid,
                      .since = scn,
                      .child = s->child,
                      .child_hi = s->hi,
                      .n_members = s->n_members,
                      .seals = shard->slots.seals,
                      .merged = shard->slots.merged,
                      .history = shard->slots.history};
    memcpy(slots.members, s->members, sizeof slots.members);
    pthread_mutex_lock(&shard->view_lock);
    for (size_t i = 0; i < shard->tables.n; i++) {
        gn_table_state *t = shard->tables.items[i];
        if (!is_spread(ap, t->table_id))
            continue;
        t->rows -= share(t->rows, s);
        t->bytes -= share(t->bytes, s);
        t->dirty = true;
    }
    slots.cleaned = shard->slots.cleaned; /* the keeper's, written meanwhile */
    shard->slots = slots;
    pthread_mutex_unlock(&shard->view_lock);
    gn_slots_put(ap->batch, &slots);
    ap->last_scn = scn;
}

gn_code gn_apply_split(gn_applier *ap, uint64_t index, const gn_command *command, gn_commit_op *op)
{
    const gn_split *s = &command->split;
    gn_shard *shard = ap->shard;
    if (shard->slots.generation > s->generation && shard->slots.child == s->child) {
        op->scn = shard->slots.since;
        return GN_OK;
    }
    gn_code code = check_split(ap, s, &op->err);
    if (code != GN_OK)
        return code;
    gn_task_long(shard->world);
    op->scn = gn_apply_next_scn(ap, command);
    code = gn_apply_flush(ap, index - 1);
    if (code == GN_OK && makes_child(ap, s))
        code = make_child(ap, s, op->scn, &op->err);
    if (code != GN_OK)
        return gn_apply_is_refusal(code) ? gn_error_set(&op->err, GN_IO, "a split's files could not be made") : code;
    keep_own(ap, s, op->scn);
    code = gn_apply_flush(ap, index);
    if (code == GN_OK) /* so that a restart need not do it again */
        code = gn_store_flush(ap->store, &op->err);
    if (code != GN_OK)
        return code;
    if (shard->durable_index < index)
        shard->durable_index = index;
    gn_log_info("shard", "group split", GN_KV_U64("group", shard->group_id), GN_KV_U64("child", s->child),
                GN_KV_U64("from_slot", s->mid), GN_KV_U64("to_slot", s->hi), GN_KV_U64("index", index));
    if (shard->has_split)
        shard->has_split(shard->has_split_ctx, shard);
    return GN_OK;
}

/* ---- proposing ---- */

static void wait_a_little(gn_shard *shard)
{
    gn_event never;
    gn_event_init(&never, shard->world);
    gn_event_wait(&never, gn_now_ns(shard->world) + POLL_NS);
}

void gn_split_hold_back(gn_shard *shard, gn_bytes command)
{
    if (shard->split_until_ns == 0 || !gn_command_is_part(gn_command_kind_of(command)))
        return;
    for (uint64_t until; (until = shard->split_until_ns) != 0 && gn_now_ns(shard->world) < until && !shard->stopping;)
        wait_a_little(shard);
}

gn_code gn_split_run_held(gn_shard *shard, gn_bytes command, uint64_t patience_ns, gn_error *err)
{
    uint64_t until = gn_now_ns(shard->world) + patience_ns, none = 0;
    if (!atomic_compare_exchange_strong(&shard->split_until_ns, &none, until))
        return gn_error_set(err, GN_OBJECT_IN_USE, "group %" PRIu64 " is being split or merged", shard->group_id);
    gn_code code;
    for (bool again = true; again;) {
        while (shard->prepared.n > 0 && gn_now_ns(shard->world) < until && !shard->stopping)
            wait_a_little(shard);
        gn_commit_op op;
        code = gn_shard_run_command_here(shard, command, 0, &op);
        again = code == GN_OBJECT_IN_USE && gn_now_ns(shard->world) < until && !shard->stopping;
        if (again)
            wait_a_little(shard);
        else if (code != GN_OK && err)
            *err = op.err;
    }
    shard->split_until_ns = 0;
    return code;
}

gn_code gn_shard_split(gn_shard *shard, const gn_split *split, uint64_t patience_ns, gn_error *err)
{
    if (split->lo >= split->mid || split->mid >= split->hi || split->hi > GN_SLOTS || split->child == 0 ||
        split->n_members == 0 || split->n_members > GN_SPLIT_MEMBERS)
        return gn_error_set(err, GN_INVALID_PARAMETER, "that is no split");
    gn_command c = {.kind = GN_COMMAND_SPLIT, .txn_id = split->child, .split = *split};
    gn_buf command;
    gn_buf_init(&command, NULL, 4096);
    c.clock = gn_shard_clock(shard);
    bool encoded = gn_command_encode_split(&c, &command);
    GN_ASSERT(encoded);
    gn_code code = gn_split_run_held(shard, gn_buf_bytes(&command), patience_ns, err);
    gn_buf_close(&command);
    return code;
}

/* ---- the child's directory ---- */

gn_code gn_split_path(const char *parent_dir, uint64_t child, char *out, size_t size, bool *there, gn_error *err)
{
    char path[GN_PATH_BYTES];
    gn_code code = child_path(parent_dir, child, "", path, err);
    *there = code == GN_OK && access(path, F_OK) == 0;
    if (code == GN_OK && (size_t)snprintf(out, size, "%s", path) >= size)
        code = gn_error_set(err, GN_IO, "the path \"%s\" is too long", path);
    return code;
}

gn_code gn_split_adopt(const char *parent_dir, uint64_t child, const char *dir, gn_error *err)
{
    char path[GN_PATH_BYTES], above[GN_PATH_BYTES];
    gn_code code = child_path(parent_dir, child, "", path, err);
    if (code == GN_OK)
        code = gn_path_join(above, dir, "..", err);
    if (code == GN_OK)
        code = gn_dir_remove(dir, err);
    if (code == GN_OK && rename(path, dir) != 0)
        code = gn_error_errno(err, GN_IO, errno, "could not rename \"%s\"", path);
    if (code == GN_OK)
        code = gn_path_join(above, parent_dir, "..", err);
    if (code == GN_OK)
        code = gn_dir_sync(above, err);
    return code == GN_OK ? gn_dir_sync(parent_dir, err) : code;
}

/* Without files: who needs one asks, and gets a new one. */
static gn_code first_manifest(const gn_shard *shard, gn_node_id maker, gn_buf *out, gn_error *err)
{
    gn_snapshot_manifest m = {.group_id = shard->group_id,
                              .index = GN_RAFT_SEED_INDEX,
                              .id = 1,
                              .maker = maker,
                              .last_scn = shard->last_scn,
                              .horizon = shard->durable_horizon};
    return gn_snapshot_manifest_write(&m, out, err);
}

/* SEED goes with the open after the one that made the log: when it is known to have been kept. */
gn_code gn_split_seed(gn_shard *shard, gn_error *err)
{
    char path[GN_PATH_BYTES];
    gn_raft_member members[GN_SPLIT_MEMBERS];
    size_t n = 0;
    bool made = false;
    gn_code code = gn_path_join(path, shard->dir, "SEED", err);
    if (code == GN_OK)
        code = read_seed(path, members, &n, err);
    if (code != GN_OK || n == 0 || shard->applied_index != GN_RAFT_SEED_INDEX)
        return code;
    gn_buf manifest;
    gn_buf_init(&manifest, NULL, GN_MAX_RAFT_MANIFEST);
    code = first_manifest(shard, members[0].id, &manifest, err);
    if (code == GN_OK)
        code = gn_raft_seed(shard->host, shard->group_id, members, n, gn_buf_bytes(&manifest), &made, err);
    gn_buf_close(&manifest);
    if (code != GN_OK || made)
        return code;
    if (unlink(path) != 0)
        return gn_error_errno(err, GN_IO, errno, "could not remove \"%s\"", path);
    return gn_dir_sync(shard->dir, err);
}
