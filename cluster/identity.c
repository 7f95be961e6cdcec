/* Who a node is: the file NODE. */
#include "base/log.h"
#include "cluster/cluster_private.h"
#include "cluster/recover.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

enum { MAX_FILE = 256 };

static gn_code path_of(const char *data_dir, const char *name, char *out, size_t size, gn_error *err)
{
    return (size_t)snprintf(out, size, "%s/%s", data_dir, name) < size
               ? GN_OK
               : gn_error_set(err, GN_CONFIGURATION, "the data directory's name is too long");
}

bool gn_cluster_id_is_valid(const char *s)
{
    return strspn(s, "0123456789abcdef") == 32 && s[32] == '\0';
}

static unsigned long long checksum_of(const char *text, size_t n)
{
    return (unsigned long long)XXH3_64bits(text, n);
}

/* "gnomondb 1\nnode 3\ncluster 0123...\nfounder 0\ncheck 89ab...\n"; the last is of all lines before it. */
static bool parse(char *text, gn_identity *out)
{
    static const char *const NAMES[] = {"gnomondb ", "node ", "cluster ", "founder ", "check "};
    char *values[5], *at = text, check[20];
    const char *last = strstr(text, "\ncheck ");
    snprintf(check, sizeof check, "%016llx", checksum_of(text, last ? (size_t)(last + 1 - text) : 0));
    for (int i = 0; i < 5; i++) {
        char *end = strchr(at, '\n');
        size_t name = strlen(NAMES[i]);
        if (!end || strncmp(at, NAMES[i], name) != 0)
            return false;
        *end = '\0';
        values[i] = at + name;
        at = end + 1;
    }
    char *end;
    *out = (gn_identity){.node = strtoull(values[1], &end, 10), .founder = strcmp(values[3], "1") == 0};
    if (*end || out->node == 0 || strcmp(values[0], "1") != 0 || !gn_cluster_id_is_valid(values[2]) || *at ||
        strcmp(values[4], check) != 0)
        return false;
    memcpy(out->cluster, values[2], sizeof out->cluster);
    return true;
}

gn_code gn_identity_read(const char *data_dir, gn_identity *out, gn_error *err)
{
    char path[4096], text[MAX_FILE];
    gn_code code = path_of(data_dir, "NODE", path, sizeof path, err);
    if (code != GN_OK)
        return code;
    FILE *f = fopen(path, "re");
    if (!f && errno == ENOENT)
        return gn_error_set(err, GN_NO_FILE, "\"%s\" belongs to no cluster yet", data_dir);
    if (!f)
        return gn_error_errno(err, GN_IO, errno, "could not read \"%s\"", path);
    size_t n = fread(text, 1, sizeof text - 1, f);
    bool failed = ferror(f);
    fclose(f);
    text[n] = '\0';
    if (failed)
        return gn_error_errno(err, GN_IO, errno, "could not read \"%s\"", path);
    if (parse(text, out))
        return GN_OK;
    gn_error_set(err, GN_CORRUPT, "\"%s\" is corrupt: its checksum or form is wrong", path);
    gn_error_hint(err, "It says who this node is. Restore it from a backup, or let the node join again with an empty "
                       "data directory.");
    return GN_CORRUPT;
}

static gn_code write_durably(const char *path, const char *text, gn_error *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return gn_error_errno(err, GN_IO, errno, "could not create \"%s\"", path);
    bool ok = write(fd, text, strlen(text)) == (ssize_t)strlen(text) && fsync(fd) == 0;
    int why = errno;
    ok = close(fd) == 0 && ok;
    return ok ? GN_OK : gn_error_errno(err, why == ENOSPC ? GN_DISK_FULL : GN_IO, why, "could not write \"%s\"", path);
}

static gn_code sync_directory(const char *path, gn_error *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd >= 0 && fsync(fd) == 0;
    int why = errno;
    if (fd >= 0)
        close(fd);
    return ok ? GN_OK : gn_error_errno(err, GN_IO, why, "could not sync directory \"%s\"", path);
}

gn_code gn_put_file(const char *data_dir, const char *name, const char *text, gn_error *err)
{
    char path[4096], draft[4096];
    gn_code code = path_of(data_dir, name, path, sizeof path, err);
    if (code == GN_OK)
        code = (size_t)snprintf(draft, sizeof draft, "%s.new", path) < sizeof draft
                   ? gn_make_directory(data_dir, err)
                   : gn_error_set(err, GN_CONFIGURATION, "the data directory's name is too long");
    if (code == GN_OK)
        code = write_durably(draft, text, err);
    if (code == GN_OK && rename(draft, path) != 0)
        code = gn_error_errno(err, GN_IO, errno, "could not create \"%s\"", path);
    return code == GN_OK ? sync_directory(data_dir, err) : code;
}

gn_code gn_identity_write(const char *data_dir, const gn_identity *identity, gn_error *err)
{
    char text[MAX_FILE];
    int n = snprintf(text, sizeof text, "gnomondb 1\nnode %" PRIu64 "\ncluster %s\nfounder %d\n", identity->node,
                     identity->cluster, identity->founder);
    snprintf(text + n, sizeof text - (size_t)n, "check %016llx\n", checksum_of(text, (size_t)n));
    return gn_put_file(data_dir, "NODE", text, err);
}

gn_identity gn_identity_found(gn_world *world)
{
    gn_identity id = {.node = 1, .founder = true};
    snprintf(id.cluster, sizeof id.cluster, "%016" PRIx64 "%016" PRIx64, gn_random_u64(world), gn_random_u64(world));
    return id;
}

/* ---- the file CLOCK: from when it is there, the meta group proposes by the clock ---- */

bool gn_clock_is_used(const gn_cluster *c)
{
    char path[4096];
    gn_error err = {0};
    return path_of(c->data_dir, "CLOCK", path, sizeof path, &err) == GN_OK && access(path, F_OK) == 0;
}

gn_code gn_clock_use(gn_cluster *c, gn_error *err)
{
    gn_code code = GN_OK;
    gn_gate_enter(&c->clock_gate);
    if (!c->clocked) {
        code = gn_put_file(c->data_dir, "CLOCK", "1\n", err);
        if (code == GN_OK) {
            gn_shard_use_clock(c->meta);
            c->clocked = true;
        }
    }
    gn_gate_leave(&c->clock_gate);
    return code;
}
