/* This node's replicas: one directory each, `groups/<id>` under the data directory, opened when the placement says that
 * this node has one. A replica that the placement has elsewhere is opened at the start all the same: until its group
 * has removed it, it is a member whose vote may be needed to get it removed. A directory whose group the placement does
 * not know is left alone: what it holds may be the only copy. `groups/<id>.gone` is one that is being removed.
 *
 * A group is made by its first members, each of which opens a replica with the same list of them. After the first
 * change of members nobody may do that any more: a replica that is not there yet waits to be added by the leader. */
#include "base/assert.h"
#include "base/limits.h"
#include "base/log.h"
#include "cluster/cluster_private.h"
#include "cluster/methods_private.h"
#include "cluster/splits_private.h"
#include "shard/snapshot.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK_PATIENCE_NS 2000000000u

gn_code gn_make_directory(const char *path, gn_error *err)
{
    if (mkdir(path, 0700) == 0 || errno == EEXIST)
        return GN_OK;
    return gn_error_errno(err, errno == ENOSPC ? GN_DISK_FULL : GN_IO, errno, "could not create directory \"%s\"",
                          path);
}

gn_code gn_group_path(const gn_cluster *c, uint64_t id, char *out, size_t size, gn_error *err)
{
    int n =
        id ? snprintf(out, size, "%s/groups/%" PRIu64, c->data_dir, id) : snprintf(out, size, "%s/groups", c->data_dir);
    return (size_t)n < size ? GN_OK : gn_error_set(err, GN_CONFIGURATION, "the data directory's name is too long");
}

/* ---- the registry ---- */

static gn_local_group *find(const gn_cluster *c, uint64_t id)
{
    for (size_t i = 0; i < c->n_groups; i++)
        if (c->groups[i].id == id)
            return &c->groups[i];
    return NULL;
}

static void enter(gn_cluster *c, uint64_t id, gn_shard *shard)
{
    pthread_mutex_lock(&c->lock);
    c->groups = gn_xrealloc(c->groups, (c->n_groups + 1) * sizeof *c->groups);
    size_t at = c->n_groups++;
    for (; at > 0 && c->groups[at - 1].id > id; at--)
        c->groups[at] = c->groups[at - 1];
    c->groups[at] = (gn_local_group){.id = id, .shard = shard};
    pthread_mutex_unlock(&c->lock);
}

gn_shard *gn_group_hold(gn_cluster *c, uint64_t id)
{
    pthread_mutex_lock(&c->lock);
    gn_local_group *g = find(c, id);
    gn_shard *shard = g && !g->leaving ? g->shard : NULL;
    if (shard)
        g->held++;
    pthread_mutex_unlock(&c->lock);
    return shard;
}

gn_shard *gn_group_hold_member(gn_cluster *c, uint64_t id)
{
    gn_placement *p = gn_meta_placement(c);
    const gn_group_place *g = id == GN_META_GROUP ? NULL : gn_placement_group(p, id);
    bool elsewhere = g && !gn_group_has_member(g, gn_net_self(c->world));
    gn_placement_release(p);
    return elsewhere ? NULL : gn_group_hold(c, id);
}

void gn_group_release(gn_cluster *c, gn_shard *replica)
{
    if (!replica)
        return;
    pthread_mutex_lock(&c->lock);
    for (size_t i = 0; i < c->n_groups; i++)
        if (c->groups[i].shard == replica) {
            GN_ASSERT(c->groups[i].held > 0);
            c->groups[i].held--;
        }
    pthread_mutex_unlock(&c->lock);
}

uint64_t gn_group_of(gn_cluster *c, const gn_shard *replica)
{
    uint64_t id = 0;
    pthread_mutex_lock(&c->lock);
    for (size_t i = 0; i < c->n_groups; i++)
        if (c->groups[i].shard == replica)
            id = c->groups[i].id;
    pthread_mutex_unlock(&c->lock);
    return id;
}

size_t gn_group_list(gn_cluster *c, gn_local_group **out)
{
    size_t n = 0;
    pthread_mutex_lock(&c->lock);
    *out = gn_xcalloc(c->n_groups + 1, sizeof **out);
    for (size_t i = 0; i < c->n_groups; i++)
        if (!c->groups[i].leaving) {
            c->groups[i].held++;
            (*out)[n++] = c->groups[i];
        }
    pthread_mutex_unlock(&c->lock);
    return n;
}

void gn_group_list_free(gn_cluster *c, gn_local_group *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        gn_group_release(c, list[i].shard);
    free(list);
}

/* ---- opening ---- */

/* The clock is made when the meta group's replica is open; nothing is proposed before. */
static void ask_clock(void *ctx, gn_scn_request *request)
{
    gn_cluster *c = ctx;
    gn_scn_source source = gn_clock_source(c->clock);
    source.next(source.ctx, request);
}

static gn_code ask_leader(void *ctx, uint64_t group_id, gn_node_id node, gn_bytes request, uint64_t deadline_ns,
                          const _Atomic bool *cancel, gn_buf *answer, gn_error *err)
{
    gn_cluster *c = ctx;
    gn_buf bytes;
    gn_buf_init(&bytes, NULL, GN_MAX_RPC);
    gn_buf_append_be64(&bytes, group_id);
    gn_buf_append_bytes(&bytes, request);
    gn_code code = gn_rpc_ask(c->rpc, node, GN_METHOD_GROUP, gn_buf_bytes(&bytes), deadline_ns, cancel, answer, err);
    gn_buf_close(&bytes);
    return code;
}

/* A piece of a snapshot's file, from who has it. */
static gn_code fetch_chunk(void *ctx, gn_node_id node, const gn_chunk_request *wanted, const _Atomic bool *cancel,
                           gn_buf *chunk, gn_error *err)
{
    gn_cluster *c = ctx;
    gn_buf request;
    gn_buf_init(&request, NULL, GN_CHUNK_REQUEST_BYTES);
    gn_chunk_request_write(&request, wanted);
    gn_code code = gn_rpc_ask(c->rpc, node, GN_METHOD_CHUNK, gn_buf_bytes(&request),
                              gn_now_ns(c->world) + CHUNK_PATIENCE_NS, cancel, chunk, err);
    gn_buf_close(&request);
    return code;
}

static void has_split(void *ctx, gn_shard *shard)
{
    (void)shard;
    gn_warden_nudge(((gn_cluster *)ctx)->warden);
}

/* ---- groups that have ended ---- `groups/<id>.ended` stays: a placement from before would have this node make a new
 * group of the same name. */

static gn_code ended_path(const gn_cluster *c, uint64_t id, char *out, size_t size, gn_error *err)
{
    int n = snprintf(out, size, "%s/groups/%" PRIu64 ".ended", c->data_dir, id);
    return (size_t)n < size ? GN_OK : gn_error_set(err, GN_CONFIGURATION, "the data directory's name is too long");
}

static bool is_noted(const gn_cluster *c, uint64_t id)
{
    char path[4096];
    return ended_path(c, id, path, sizeof path, NULL) == GN_OK && access(path, F_OK) == 0;
}

/* A replica that is there yet is opened like any: whether it may go is seen when it is (merges.c). */
static bool has_ended(gn_cluster *c, uint64_t id)
{
    char path[4096];
    gn_placement *p = gn_meta_placement(c);
    bool ended = p && gn_placement_has_ended(p, id);
    gn_placement_release(p);
    return is_noted(c, id) ||
           (ended && gn_group_path(c, id, path, sizeof path, NULL) == GN_OK && access(path, F_OK) != 0);
}

size_t gn_groups_ended(gn_cluster *c, uint64_t after_ns, uint64_t *out, size_t max, bool *waits)
{
    size_t n = 0;
    uint64_t now = gn_now_ns(c->world);
    gn_placement *p = gn_meta_placement(c);
    *waits = false;
    pthread_mutex_lock(&c->lock);
    for (size_t i = 0; i < c->n_groups; i++) {
        gn_local_group *g = &c->groups[i];
        if (!gn_placement_has_ended(p, g->id))
            continue;
        if (!g->end_at_ns)
            g->end_at_ns = now + after_ns;
        if (now >= g->end_at_ns && n < max)
            out[n++] = g->id;
        else
            *waits = true;
    }
    pthread_mutex_unlock(&c->lock);
    gn_placement_release(p);
    return n;
}

static gn_code sync_groups(const gn_cluster *c, gn_error *err)
{
    char all[4096];
    gn_code code = gn_group_path(c, 0, all, sizeof all, err);
    int fd = code == GN_OK ? open(all, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (code == GN_OK && (fd < 0 || fsync(fd) != 0))
        code = gn_error_errno(err, GN_IO, errno, "could not sync \"%s\"", all);
    if (fd >= 0)
        close(fd);
    return code;
}

static gn_code note_ended(const gn_cluster *c, uint64_t id, gn_error *err)
{
    char path[4096];
    gn_code code = ended_path(c, id, path, sizeof path, err);
    int fd = code == GN_OK ? open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600) : -1;
    if (code == GN_OK && (fd < 0 || fsync(fd) != 0))
        code = gn_error_errno(err, GN_IO, errno, "could not write \"%s\"", path);
    if (fd >= 0)
        close(fd);
    return code == GN_OK ? sync_groups(c, err) : code;
}

static gn_code open_replica(gn_cluster *c, uint64_t id, const gn_raft_member *members, size_t n, gn_error *err)
{
    char path[4096];
    gn_shard *shard;
    gn_code code = gn_group_path(c, 0, path, sizeof path, err);
    if (code == GN_OK)
        code = gn_make_directory(path, err);
    if (code == GN_OK)
        code = gn_group_path(c, id, path, sizeof path, err);
    if (code != GN_OK)
        return code;
    gn_shard_options options = c->replica;
    gn_scn_source clock = {.ctx = c, .next = ask_clock};
    options.dir = path;
    options.group_id = id;
    options.members = members;
    options.n_members = n;
    options.clock = &clock;
    options.clock_later = !c->clocked;
    options.leader = (gn_leader_link){.ctx = c, .ask = ask_leader};
    options.chunks = (gn_chunk_link){.ctx = c, .fetch = fetch_chunk};
    options.unresolved = gn_resolver_unresolved;
    options.unresolved_ctx = c;
    options.has_split = has_split;
    options.has_split_ctx = c;
    code = gn_split_adopt_child(c, id, path, err);
    if (code == GN_OK && id != GN_META_GROUP && has_ended(c, id))
        code = gn_error_set(err, GN_NO_OBJECT, "group %" PRIu64 " has ended", id);
    if (code == GN_OK)
        code = gn_shard_open(c->world, c->host, &options, &shard, err);
    if (code == GN_OK)
        enter(c, id, shard);
    return code;
}

gn_code gn_group_open(gn_cluster *c, uint64_t id, const gn_raft_member *members, size_t n, gn_error *err)
{
    gn_gate_enter(&c->open_gate);
    pthread_mutex_lock(&c->lock);
    const gn_local_group *g = find(c, id);
    bool there = g != NULL, leaving = g && g->leaving;
    pthread_mutex_unlock(&c->lock);
    gn_code code = GN_OK;
    if (leaving)
        code = gn_error_set(err, GN_OBJECT_IN_USE, "an old replica of group %" PRIu64 " is leaving yet", id);
    else if (!there)
        code = open_replica(c, id, members, n, err);
    gn_gate_leave(&c->open_gate);
    return code;
}

/* ---- leaving ---- */

/* Once it is marked nobody takes hold of it; what is left are transactions. */
static bool mark_leaving(gn_cluster *c, uint64_t id, gn_shard **shard)
{
    pthread_mutex_lock(&c->lock);
    gn_local_group *g = find(c, id);
    *shard = g ? g->shard : NULL;
    if (g)
        g->leaving = true;
    bool free_to_go = g && g->held == 0 && !gn_shard_has_transactions(g->shard);
    pthread_mutex_unlock(&c->lock);
    if (*shard) /* this strand's to close */
        gn_shard_leaves(*shard);
    return free_to_go;
}

bool gn_group_stay(gn_cluster *c, uint64_t id)
{
    pthread_mutex_lock(&c->lock);
    gn_local_group *g = find(c, id);
    bool stays = g && g->leaving;
    if (stays) {
        g->leaving = false;
        gn_shard_stays(g->shard);
    }
    pthread_mutex_unlock(&c->lock);
    return stays;
}

static void take_out(gn_cluster *c, uint64_t id)
{
    pthread_mutex_lock(&c->lock);
    gn_local_group *g = find(c, id);
    size_t at = (size_t)(g - c->groups);
    memmove(g, g + 1, (c->n_groups - at - 1) * sizeof *g);
    c->n_groups--;
    pthread_mutex_unlock(&c->lock);
}

static gn_code gone_path(const gn_cluster *c, uint64_t id, char *out, size_t size, gn_error *err)
{
    int n = snprintf(out, size, "%s/groups/%" PRIu64 ".gone", c->data_dir, id);
    return (size_t)n < size ? GN_OK : gn_error_set(err, GN_CONFIGURATION, "the data directory's name is too long");
}

/* The second half of the removal of a replica, at the start that of one which a crash cut off. */
static gn_code remove_gone(gn_cluster *c, uint64_t id, gn_error *err)
{
    char gone[4096];
    gn_code code = gone_path(c, id, gone, sizeof gone, err);
    if (code == GN_OK)
        code = gn_raft_erase(c->host, id, err);
    return code == GN_OK ? gn_shard_remove(gone, err) : code;
}

/* A replica's rows without its log, or its log without its rows, would be taken for damage: so both go at once, by a
 * new name. */
static gn_code remove_replica(gn_cluster *c, uint64_t id, gn_error *err)
{
    char path[4096], gone[4096];
    gn_code code = gn_group_path(c, id, path, sizeof path, err);
    if (code == GN_OK)
        code = gone_path(c, id, gone, sizeof gone, err);
    if (code == GN_OK)
        code = gn_shard_remove(gone, err);
    if (code == GN_OK && rename(path, gone) != 0)
        code = gn_error_errno(err, GN_IO, errno, "could not rename \"%s\"", path);
    if (code == GN_OK)
        code = sync_groups(c, err);
    return code == GN_OK ? remove_gone(c, id, err) : code;
}

gn_code gn_group_drop(gn_cluster *c, uint64_t id, gn_error *err)
{
    gn_shard *shard = NULL;
    gn_error why = {0};
    gn_code code;
    GN_ASSERT(id != GN_META_GROUP);
    gn_gate_enter(&c->open_gate);
    if (!mark_leaving(c, id, &shard)) {
        code = gn_error_set(err, GN_OBJECT_IN_USE, "the replica of group %" PRIu64 " is in use", id);
    } else {
        take_out(c, id);
        gn_shard_close(shard, false);
        /* It says nothing any more; if it was made a member again before it fell silent, its log counts. */
        if (gn_group_is_removed(c, id)) {
            code = remove_replica(c, id, err);
        } else {
            code = gn_error_set(err, GN_UNAVAILABLE, "its group could not be asked once more");
            open_replica(c, id, NULL, 0, &why); /* else with the next start */
        }
    }
    gn_gate_leave(&c->open_gate);
    return code;
}

gn_code gn_group_end(gn_cluster *c, uint64_t id, gn_error *err)
{
    gn_shard *shard = NULL;
    GN_ASSERT(id != GN_META_GROUP);
    gn_gate_enter(&c->open_gate);
    gn_code code = note_ended(c, id, err);
    if (code == GN_OK && !mark_leaving(c, id, &shard)) {
        code = gn_error_set(err, GN_OBJECT_IN_USE, "the replica of group %" PRIu64 " is in use", id);
    } else if (code == GN_OK) {
        take_out(c, id);
        gn_shard_close(shard, false);
        code = remove_replica(c, id, err);
    }
    gn_gate_leave(&c->open_gate);
    return code;
}

gn_code gn_groups_open_meta(gn_cluster *c, gn_error *err)
{
    gn_raft_member self = {.id = gn_net_self(c->world), .role = GN_RAFT_VOTER};
    gn_code code = gn_group_open(c, GN_META_GROUP, &self, c->identity.founder ? 1 : 0, err);
    c->meta = code == GN_OK ? c->groups[0].shard : NULL; /* the first to be opened */
    return code;
}

static gn_code open_placed(gn_cluster *c, const gn_group_place *g, gn_error *err)
{
    gn_raft_member members[GN_MAX_REPLICAS];
    for (uint32_t i = 0; i < g->n_members; i++)
        members[i] = (gn_raft_member){.id = g->members[i], .role = GN_RAFT_VOTER};
    return gn_group_open(c, g->id, members, g->changes == 0 ? g->n_members : 0, err);
}

gn_code gn_groups_open_placed(gn_cluster *c, bool *postponed, gn_error *err)
{
    gn_placement *p = gn_meta_placement(c);
    gn_code code = GN_OK;
    bool later = false;
    for (uint32_t i = 0; i < p->n_groups && code == GN_OK; i++) {
        const gn_group_place *g = &p->groups[i];
        if (g->id == GN_META_GROUP || !gn_group_has_member(g, gn_net_self(c->world)) || has_ended(c, g->id))
            continue;
        if (gn_split_is_to_come(c, p, g) || (code = open_placed(c, g, err)) == GN_STARTING) {
            later = true;
            code = GN_OK;
        }
    }
    gn_placement_release(p);
    *postponed = later;
    return code;
}

/* The group of a directory of groups/, and whether it is one that is being removed. 0: it is none. */
static uint64_t group_of_name(const char *name, bool *gone)
{
    char *end;
    errno = 0;
    uint64_t id = name[0] >= '1' && name[0] <= '9' ? strtoull(name, &end, 10) : 0;
    if (id == 0 || errno != 0)
        return 0;
    *gone = strcmp(end, ".gone") == 0;
    return *end == '\0' || *gone ? id : 0;
}

/* NULL with GN_OK: there is none yet. */
static gn_code open_groups_directory(const gn_cluster *c, DIR **dir, gn_error *err)
{
    char path[4096];
    gn_code code = gn_group_path(c, 0, path, sizeof path, err);
    *dir = code == GN_OK ? opendir(path) : NULL;
    if (code == GN_OK && !*dir && errno != ENOENT)
        code = gn_error_errno(err, GN_IO, errno, "could not read the directory \"%s\"", path);
    return code;
}

gn_code gn_group_directories(const gn_cluster *c, uint64_t **out, size_t *n, gn_error *err)
{
    DIR *dir;
    *out = NULL;
    *n = 0;
    gn_code code = open_groups_directory(c, &dir, err);
    if (!dir)
        return code;
    for (const struct dirent *e; (e = readdir(dir));) {
        bool gone = false;
        uint64_t id = group_of_name(e->d_name, &gone);
        if (!id || gone)
            continue;
        *out = gn_xrealloc(*out, (*n + 1) * sizeof **out);
        (*out)[(*n)++] = id;
    }
    closedir(dir);
    return GN_OK;
}

/* One that cannot be opened was to go away anyhow. */
static void open_left(gn_cluster *c, uint64_t id)
{
    gn_error err = {0};
    gn_code code = gn_group_open(c, id, NULL, 0, &err);
    if (code == GN_OK)
        gn_log_info("cluster", "a replica that is to go away is here yet", GN_KV_U64("group", id));
    else
        gn_log_error("cluster", "a replica that is to go away cannot be opened", GN_KV_U64("group", id),
                     GN_KV_STR("code", gn_code_name(code)), GN_KV_STR("error", err.message));
}

gn_code gn_groups_open_left(gn_cluster *c, gn_error *err)
{
    DIR *dir;
    gn_code code = open_groups_directory(c, &dir, err);
    if (!dir)
        return code;
    gn_placement *p = gn_meta_placement(c);
    for (const struct dirent *e; code == GN_OK && (e = readdir(dir));) {
        bool gone = false;
        uint64_t id = group_of_name(e->d_name, &gone);
        const gn_group_place *row = id && id != GN_META_GROUP ? gn_placement_group(p, id) : NULL;
        if (id && gone)
            code = remove_gone(c, id, err);
        else if (id && id != GN_META_GROUP && is_noted(c, id))
            code = remove_replica(c, id, err);
        else if (id && id != GN_META_GROUP &&
                 (gn_placement_has_ended(p, id) || (row && !gn_group_has_member(row, gn_net_self(c->world)))))
            open_left(c, id);
    }
    gn_placement_release(p);
    closedir(dir);
    return code;
}

void gn_groups_close(gn_cluster *c, bool clean)
{
    for (size_t i = 0; i < c->n_groups; i++)
        gn_shard_close(c->groups[i].shard, clean);
    free(c->groups);
    c->groups = NULL;
    c->n_groups = 0;
}

/* ---- other nodes ---- */

static gn_code serve_replica(void *ctx, gn_node_id from, gn_bytes request, gn_buf *answer, gn_error *err)
{
    gn_reader r = gn_reader_of(request);
    uint64_t id = gn_read_be64(&r);
    gn_shard *shard = r.failed ? NULL : gn_group_hold(ctx, id);
    if (!shard)
        return gn_error_set(err, GN_UNAVAILABLE, "this node has no replica of group %" PRIu64, id);
    gn_code code = gn_shard_serve(shard, from, gn_read_bytes(&r, gn_reader_left(&r)), answer, err);
    gn_group_release(ctx, shard);
    return code;
}

/* A command of another node's, until the log has it. */
typedef struct handed_on {
    gn_cluster *cluster;
    gn_shard *shard;
    gn_rpc_request *request;
} handed_on;

static void answer_handed_on(void *ctx, gn_code code, gn_bytes answer, const gn_error *err)
{
    handed_on *h = ctx;
    gn_group_release(h->cluster, h->shard);
    gn_rpc_answer(h->request, code, answer, err);
    free(h);
}

/* Most of what is asked is a command, which waits for the log: no strand waits with it. */
static bool serve_replica_soon(void *ctx, gn_rpc_request *request)
{
    gn_reader r = gn_reader_of(request->bytes);
    uint64_t id = gn_read_be64(&r);
    gn_shard *shard = r.failed ? NULL : gn_group_hold(ctx, id);
    if (!shard)
        return false;
    handed_on *h = gn_xmalloc(sizeof *h);
    *h = (handed_on){.cluster = ctx, .shard = shard, .request = request};
    if (gn_shard_serve_soon(shard, gn_read_bytes(&r, gn_reader_left(&r)), answer_handed_on, h))
        return true;
    gn_group_release(ctx, shard);
    free(h);
    return false;
}

static gn_code serve_chunk(void *ctx, gn_node_id from, gn_bytes bytes, gn_buf *answer, gn_error *err)
{
    gn_chunk_request request;
    (void)from;
    gn_code code = gn_chunk_request_read(bytes, &request, err);
    gn_shard *shard = code == GN_OK ? gn_group_hold(ctx, request.group_id) : NULL;
    if (code == GN_OK && !shard)
        return gn_error_set(err, GN_UNAVAILABLE, "this node has no replica of group %" PRIu64, request.group_id);
    if (code == GN_OK)
        code = gn_shard_read_chunk(shard, &request, answer, err);
    gn_group_release(ctx, shard);
    return code;
}

static void serve_clock(void *ctx, gn_rpc_request *request)
{
    gn_clock_serve(((gn_cluster *)ctx)->clock, request);
}

void gn_groups_serve(gn_cluster *c)
{
    gn_rpc_serve_either(c->rpc, GN_METHOD_GROUP, serve_replica_soon, serve_replica, c);
    gn_rpc_serve_strand(c->rpc, GN_METHOD_CHUNK, serve_chunk, c);
    gn_rpc_serve(c->rpc, GN_METHOD_CLOCK, serve_clock, c);
}
