/* The files of a snapshot on this machine. */
#include "shard/snapshot_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

enum { READ_BYTES = 1 << 18 };

gn_code gn_file_sum(const char *path, const _Atomic bool *cancel, uint64_t *size, uint8_t sum[GN_FILE_SUM],
                    gn_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return gn_error_errno(err, errno == ENOENT ? GN_NO_FILE : GN_IO, errno, "could not open \"%s\"", path);
    gn_code code = GN_OK;
    uint8_t *buf = gn_xmalloc(READ_BYTES);
    XXH3_state_t *state = XXH3_createState();
    XXH3_128bits_reset(state);
    *size = 0;
    for (ssize_t n = 1; code == GN_OK && n > 0;) {
        n = read(fd, buf, READ_BYTES);
        if (n < 0)
            code = gn_error_errno(err, GN_IO, errno, "could not read \"%s\"", path);
        else if (cancel && *cancel)
            code = gn_error_set(err, GN_CANCELED, "%s", gn_code_text(GN_CANCELED));
        if (code != GN_OK || n == 0)
            break;
        XXH3_128bits_update(state, buf, (size_t)n);
        *size += (uint64_t)n;
    }
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(state));
    memcpy(sum, canonical.digest, GN_FILE_SUM);
    XXH3_freeState(state);
    free(buf);
    close(fd);
    return code;
}

/* fn for each directory that `name` goes through, from the outermost. */
static gn_code each_parent(const char *dir, const char *name, gn_code (*fn)(const char *path, gn_error *err),
                           gn_error *err)
{
    char path[GN_PATH_BYTES];
    gn_code code = gn_path_join(path, dir, name, err);
    for (char *at = path + strlen(dir) + 1; code == GN_OK && (at = strchr(at, '/')); at++) {
        *at = '\0';
        code = fn(path, err);
        *at = '/';
    }
    return code;
}

gn_code gn_snapshot_make_parents(const char *dir, const char *name, gn_error *err)
{
    return each_parent(dir, name, gn_dir_create, err);
}

/* Files of one directory come together in a manifest, so each directory is synced once or twice. */
gn_code gn_snapshot_sync(const char *dir, const gn_snapshot_manifest *m, gn_error *err)
{
    gn_code code = GN_OK;
    const char *last = "";
    size_t last_len = 0;
    for (size_t i = 0; code == GN_OK && i < m->files.n; i++) {
        const char *name = m->files.items[i].name;
        size_t len = (size_t)(strrchr(name, '/') - name);
        if (len != last_len || memcmp(name, last, len) != 0)
            code = each_parent(dir, name, gn_dir_sync, err);
        last = name;
        last_len = len;
    }
    return code == GN_OK ? gn_dir_sync(dir, err) : code;
}

gn_code gn_snapshot_write_manifest(const char *dir, gn_bytes bytes, gn_error *err)
{
    char path[GN_PATH_BYTES];
    gn_code code = gn_path_join(path, dir, "manifest", err);
    if (code != GN_OK)
        return code;
    FILE *f = fopen(path, "we");
    bool ok = f && fwrite(bytes.data, 1, bytes.len, f) == bytes.len && fflush(f) == 0 && fsync(fileno(f)) == 0;
    int errnum = errno;
    if (f && fclose(f) != 0 && ok) {
        ok = false;
        errnum = errno;
    }
    return ok ? GN_OK : gn_error_errno(err, GN_IO, errnum, "could not write \"%s\"", path);
}
