/* This node's replicas: one directory each, `groups/<id>` under the data directory. A directory that is there is a
 * replica to be opened, whatever the placement says: what it holds may be the only copy. */
#include "cluster/cluster_private.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

gn_code gn_make_directory(const char *path, gn_error *err)
{
    if (mkdir(path, 0700) == 0 || errno == EEXIST)
        return GN_OK;
    return gn_error_errno(err, GN_IO, errno, "could not create directory \"%s\"", path);
}

static gn_code group_path(const gn_cluster *c, uint64_t id, char *out, size_t size, gn_error *err)
{
    int n =
        id ? snprintf(out, size, "%s/groups/%" PRIu64, c->data_dir, id) : snprintf(out, size, "%s/groups", c->data_dir);
    return (size_t)n < size ? GN_OK : gn_error_set(err, GN_CONFIGURATION, "the data directory's name is too long");
}

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

gn_shard *gn_group_replica(gn_cluster *c, uint64_t id)
{
    pthread_mutex_lock(&c->lock);
    const gn_local_group *g = find(c, id);
    gn_shard *shard = g ? g->shard : NULL;
    pthread_mutex_unlock(&c->lock);
    return shard;
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

gn_code gn_group_create(gn_cluster *c, uint64_t id, const gn_raft_member *members, size_t n, gn_error *err)
{
    char path[4096];
    gn_shard *shard;
    if (gn_group_replica(c, id))
        return GN_OK;
    gn_code code = group_path(c, id, path, sizeof path, err);
    if (code != GN_OK)
        return code;
    gn_shard_options options = c->replica;
    options.dir = path;
    options.group_id = id;
    options.members = members;
    options.n_members = n;
    gn_scn_source clock = gn_clock_source(&c->clock);
    options.clock = &clock;
    options.clock_later = !c->spread;
    options.unresolved = gn_resolver_unresolved;
    options.unresolved_ctx = c;
    code = gn_shard_open(c->world, c->host, &options, &shard, err);
    if (code != GN_OK)
        return code;
    gn_clock_raise(&c->clock, gn_shard_last_scn(shard));
    enter(c, id, shard);
    return GN_OK;
}

/* ---- all of them ---- */

static int by_id(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static gn_code list(const gn_cluster *c, uint64_t **ids, size_t *n, gn_error *err)
{
    char path[4096];
    *ids = NULL;
    *n = 0;
    gn_code code = group_path(c, 0, path, sizeof path, err);
    if (code == GN_OK)
        code = gn_make_directory(path, err);
    DIR *dir = code == GN_OK ? opendir(path) : NULL;
    if (code == GN_OK && !dir)
        return gn_error_errno(err, GN_IO, errno, "could not read directory \"%s\"", path);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        char *end;
        uint64_t id = strtoull(e->d_name, &end, 10);
        if (id == 0 || *end)
            continue;
        *ids = gn_xrealloc(*ids, (*n + 1) * sizeof **ids);
        (*ids)[(*n)++] = id;
    }
    if (dir)
        closedir(dir);
    if (*n)
        qsort(*ids, *n, sizeof **ids, by_id);
    return code;
}

gn_code gn_groups_open(gn_cluster *c, gn_error *err)
{
    uint64_t *ids;
    size_t n;
    gn_raft_member self = {.id = gn_net_self(c->world), .role = GN_RAFT_VOTER};
    gn_code code = list(c, &ids, &n, err);
    c->spread = n > 1;
    if (code == GN_OK && (n == 0 || ids[0] != GN_META_GROUP))
        code = gn_group_create(c, GN_META_GROUP, &self, 1, err);
    for (size_t i = 0; i < n && code == GN_OK; i++)
        code = gn_group_create(c, ids[i], &self, 1, err);
    free(ids);
    c->meta = gn_group_replica(c, GN_META_GROUP);
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
