/* The file RECOVER: "gnomondb-recover 1\nfrom ID\nto ID\nabove 12\ngroup 5\n...check 89ab...\n"; the last is of all
 * lines before. The file SCN, which stays: "above 12\ncheck 89ab...\n". */
#include "cluster/recover.h"

#include "base/log.h"
#include "cluster/cluster_private.h"
#include "raft/force.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

enum { MAX_FILE = 1 << 20 };
static const char FILE_NAME[] = "RECOVER", HEAD[] = "gnomondb-recover 1\n", FLOOR_NAME[] = "SCN";

static uint64_t checksum_of(gn_bytes text)
{
    return XXH3_64bits(text.data, text.len);
}

gn_code gn_recovery_note(const char *data_dir, const gn_recovery *r, gn_error *err)
{
    gn_buf text;
    gn_buf_init(&text, NULL, MAX_FILE);
    gn_buf_printf(&text, "%sfrom %s\nto %s\nabove %" PRIu64 "\n", HEAD, r->from, r->to, r->above);
    for (size_t i = 0; i < r->n; i++)
        gn_buf_printf(&text, "group %" PRIu64 "\n", r->groups[i]);
    gn_buf_printf(&text, "check %016" PRIx64 "\n", checksum_of(gn_buf_bytes(&text)));
    gn_buf_append_u8(&text, 0);
    gn_code code = text.failed ? gn_error_set(err, GN_LIMIT, "there are too many groups")
                               : gn_put_file(data_dir, FILE_NAME, (const char *)text.data, err);
    gn_buf_close(&text);
    return code;
}

/* ---- reading ---- */

static bool take_line(char **at, const char *name, char **value)
{
    char *end = strchr(*at, '\n');
    size_t n = strlen(name);
    if (!end || strncmp(*at, name, n) != 0)
        return false;
    *end = '\0';
    *value = *at + n;
    *at = end + 1;
    return true;
}

static bool parse(char *text, gn_recovery *out)
{
    char *at = text + strlen(HEAD), *from, *to, *above, *group, *end, check[24];
    const char *last = strstr(text, "\ncheck ");
    if (strncmp(text, HEAD, strlen(HEAD)) != 0 || !last)
        return false;
    snprintf(check, sizeof check, "%016" PRIx64, checksum_of(gn_bytes_of(text, (size_t)(last + 1 - text))));
    if (strncmp(last + 7, check, 16) != 0 || !take_line(&at, "from ", &from) || !take_line(&at, "to ", &to) ||
        !gn_cluster_id_is_valid(from) || !gn_cluster_id_is_valid(to) || !take_line(&at, "above ", &above))
        return false;
    out->above = strtoull(above, &end, 10);
    if (*end)
        return false;
    memcpy(out->from, from, sizeof out->from);
    memcpy(out->to, to, sizeof out->to);
    while (take_line(&at, "group ", &group)) {
        out->groups = gn_xrealloc(out->groups, (out->n + 1) * sizeof *out->groups);
        out->groups[out->n++] = strtoull(group, &end, 10);
        if (*end)
            return false;
    }
    return true;
}

/* GN_NO_FILE: nothing is noted. */
static gn_code read_note(const char *path, gn_recovery *out, gn_error *err)
{
    FILE *f = fopen(path, "re");
    if (!f)
        return errno == ENOENT ? GN_NO_FILE : gn_error_errno(err, GN_IO, errno, "could not read \"%s\"", path);
    char *text = gn_xcalloc(1, MAX_FILE + 1);
    size_t n = fread(text, 1, MAX_FILE, f);
    bool fine = !ferror(f) && strlen(text) == n && parse(text, out);
    fclose(f);
    free(text);
    if (fine)
        return GN_OK;
    gn_error_set(err, GN_CORRUPT, "\"%s\" is corrupt", path);
    gn_error_hint(err,
                  "It says how this node is to go on after others were lost. Remove it and run `gnomonctl recover` "
                  "again.");
    return GN_CORRUPT;
}

/* ---- doing ---- */

static gn_code force(const char *data_dir, const gn_identity *identity, const gn_recovery *r, gn_error *err)
{
    char log_dir[4096];
    if ((size_t)snprintf(log_dir, sizeof log_dir, "%s/raft", data_dir) >= sizeof log_dir)
        return gn_error_set(err, GN_CONFIGURATION, "the data directory's name is too long");
    gn_world *world = gn_world_real_create(&(gn_world_options){.threads = 2, .node_id = identity->node});
    gn_code code = gn_raft_force_groups(world, log_dir, r->groups, r->n, err);
    gn_world_real_destroy(world);
    return code;
}

static gn_code write_floor(const char *data_dir, gn_scn above, gn_error *err)
{
    char text[80];
    int n = snprintf(text, sizeof text, "above %" PRIu64 "\n", above);
    snprintf(text + n, sizeof text - (size_t)n, "check %016" PRIx64 "\n", checksum_of(gn_bytes_of(text, (size_t)n)));
    return gn_put_file(data_dir, FLOOR_NAME, text, err);
}

gn_code gn_recovery_floor(const char *data_dir, gn_scn *out, gn_error *err)
{
    char path[4096], text[80] = "", again[80];
    *out = 0;
    if ((size_t)snprintf(path, sizeof path, "%s/%s", data_dir, FLOOR_NAME) >= sizeof path)
        return gn_error_set(err, GN_CONFIGURATION, "the data directory's name is too long");
    FILE *f = fopen(path, "re");
    if (!f)
        return errno == ENOENT ? GN_OK : gn_error_errno(err, GN_IO, errno, "could not read \"%s\"", path);
    size_t got = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    gn_scn above = strncmp(text, "above ", 6) == 0 ? strtoull(text + 6, NULL, 10) : 0;
    int n = snprintf(again, sizeof again, "above %" PRIu64 "\n", above);
    snprintf(again + n, sizeof again - (size_t)n, "check %016" PRIx64 "\n", checksum_of(gn_bytes_of(again, (size_t)n)));
    if (got != strlen(again) || strcmp(text, again) != 0)
        return gn_error_set(err, GN_CORRUPT, "\"%s\" is corrupt", path);
    *out = above;
    return GN_OK;
}

/* First the groups, then the name, then the note goes: whoever is cut off does it again. */
static gn_code carry_out(const char *data_dir, const char *path, gn_identity *identity, const gn_recovery *r,
                         gn_error *err)
{
    gn_code code = GN_OK;
    bool done = strcmp(identity->cluster, r->to) == 0;
    if (!done && strcmp(identity->cluster, r->from) != 0)
        return gn_error_set(err, GN_CONFIGURATION, "\"%s\" is of another cluster than this node's", path);
    if (!done)
        code = write_floor(data_dir, r->above, err);
    if (!done && code == GN_OK)
        code = force(data_dir, identity, r, err);
    if (!done && code == GN_OK) {
        memcpy(identity->cluster, r->to, sizeof identity->cluster);
        code = gn_identity_write(data_dir, identity, err);
    }
    if (code == GN_OK && unlink(path) != 0)
        code = gn_error_errno(err, GN_IO, errno, "could not remove \"%s\"", path);
    if (code == GN_OK)
        gn_log_warn("cluster", "groups go on without the nodes that were lost", GN_KV_U64("groups", r->n),
                    GN_KV_STR("cluster", r->to), GN_KV_STR("before", r->from));
    return code;
}

gn_code gn_recovery_do(const char *data_dir, gn_identity *identity, gn_error *err)
{
    char path[4096];
    gn_recovery r = {0};
    if ((size_t)snprintf(path, sizeof path, "%s/%s", data_dir, FILE_NAME) >= sizeof path)
        return gn_error_set(err, GN_CONFIGURATION, "the data directory's name is too long");
    gn_code code = read_note(path, &r, err);
    if (code == GN_OK)
        code = carry_out(data_dir, path, identity, &r, err);
    free(r.groups);
    return code == GN_NO_FILE ? GN_OK : code;
}
