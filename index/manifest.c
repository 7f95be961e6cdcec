/* MANIFEST: which segments make up the index, the position up to which they are complete, and the ends of versions that
 * are not in the segment files. Big-endian fields, then XXH3-64 of all before. Replaced as a whole: written under a
 * temporary name, synced, renamed, directory synced. So segments, ends and position always fit together. */
#include "base/assert.h"
#include "base/buf.h"
#include "index/vector_index_private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

static const char magic[8] = "!GNVMAN1";

#define MANIFEST_MAX ((size_t)1 << 32)
enum { MAX_SEGMENTS = 100000 };

char *gn_segment_path(const char *dir, uint64_t number)
{
    size_t bytes = strlen(dir) + 32;
    char *path = gn_xmalloc(bytes);
    snprintf(path, bytes, "%s/%016llx.seg", dir, (unsigned long long)number);
    return path;
}

static char *manifest_path(const char *dir, const char *suffix)
{
    size_t bytes = strlen(dir) + strlen(suffix) + sizeof "/MANIFEST";
    char *path = gn_xmalloc(bytes);
    snprintf(path, bytes, "%s/MANIFEST%s", dir, suffix);
    return path;
}

void gn_manifest_close(gn_manifest *m)
{
    for (size_t i = 0; i < m->n_segments; i++) {
        free(m->segments[i].ended_row);
        free(m->segments[i].ended_scn);
    }
    free(m->segments);
    *m = (gn_manifest){0};
}

void gn_manifest_add(gn_manifest *m, const gn_segment *s)
{
    m->segments = gn_xrealloc(m->segments, (m->n_segments + 1) * sizeof *m->segments);
    gn_manifest_segment *t = &m->segments[m->n_segments++];
    *t = (gn_manifest_segment){.number = s->number, .checksum = s->header->checksum, .n_ended = s->n_changed};
    t->ended_row = gn_xcalloc(s->n_changed + 1, sizeof *t->ended_row);
    t->ended_scn = gn_xcalloc(s->n_changed + 1, sizeof *t->ended_scn);
    for (size_t i = 0; i < s->n_changed; i++) {
        t->ended_row[i] = s->changed[i];
        t->ended_scn[i] = atomic_load(&s->end[s->changed[i]]);
    }
}

/* ---- writing ---- */

static void encode(const gn_manifest *m, gn_buf *buf)
{
    gn_buf_append(buf, magic, sizeof magic);
    gn_buf_append_be32(buf, m->metric);
    gn_buf_append_be32(buf, m->dimensions);
    gn_buf_append_be64(buf, m->position);
    gn_buf_append_be64(buf, m->max_begin);
    gn_buf_append_be64(buf, m->next_number);
    gn_buf_append_be32(buf, (uint32_t)m->n_segments);
    for (size_t i = 0; i < m->n_segments; i++) {
        const gn_manifest_segment *s = &m->segments[i];
        gn_buf_append_be64(buf, s->number);
        gn_buf_append_be64(buf, s->checksum);
        gn_buf_append_be32(buf, (uint32_t)s->n_ended);
        for (size_t j = 0; j < s->n_ended; j++) {
            gn_buf_append_be32(buf, s->ended_row[j]);
            gn_buf_append_be64(buf, s->ended_scn[j]);
        }
    }
    if (!buf->failed)
        gn_buf_append_be64(buf, XXH3_64bits(buf->data, buf->len));
}

static gn_code write_all(int fd, const gn_buf *buf, const char *path, gn_error *err)
{
    for (size_t at = 0; at < buf->len;) {
        ssize_t n = write(fd, buf->data + at, buf->len - at);
        if (n < 0 && errno != EINTR)
            return gn_error_errno(err, GN_IO, errno, "could not write \"%s\"", path);
        at += n > 0 ? (size_t)n : 0;
    }
    if (fsync(fd) != 0)
        return gn_error_errno(err, GN_IO, errno, "could not sync \"%s\"", path);
    return GN_OK;
}

gn_code gn_manifest_write(const char *dir, const gn_manifest *m, gn_error *err)
{
    gn_code code = GN_OK;
    gn_buf buf;
    gn_buf_init(&buf, NULL, MANIFEST_MAX);
    encode(m, &buf);
    char *path = manifest_path(dir, ""), *tmp = manifest_path(dir, ".tmp");
    int fd = -1;
    if (buf.failed) {
        code = gn_error_set(err, GN_LIMIT, "the manifest of the vector index in \"%s\" has become too large", dir);
        goto out;
    }
    fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        code = gn_error_errno(err, GN_IO, errno, "could not create \"%s\"", tmp);
        goto out;
    }
    code = write_all(fd, &buf, tmp, err);
    close(fd);
    if (code == GN_OK && rename(tmp, path) != 0)
        code = gn_error_errno(err, GN_IO, errno, "could not rename \"%s\"", tmp);
    if (code != GN_OK)
        unlink(tmp);
    else
        code = gn_sync_parent_dir(path, err);
out:
    free(path);
    free(tmp);
    gn_buf_close(&buf);
    return code;
}

/* ---- reading ---- */

static gn_code damaged(const char *path, gn_error *err)
{
    gn_error_set(err, GN_INDEX_CORRUPT, "the manifest \"%s\" of a vector index is damaged", path);
    return gn_error_hint(err, "The index can be rebuilt from the rows.");
}

static bool decode(gn_manifest *m, gn_reader *r)
{
    gn_bytes begins = gn_read_bytes(r, sizeof magic);
    if (r->failed || memcmp(begins.data, magic, sizeof magic) != 0)
        return false;
    m->metric = gn_read_be32(r);
    m->dimensions = gn_read_be32(r);
    m->position = gn_read_be64(r);
    m->max_begin = gn_read_be64(r);
    m->next_number = gn_read_be64(r);
    uint32_t n = gn_read_be32(r);
    if (r->failed || n > MAX_SEGMENTS || n > gn_reader_left(r) / 20)
        return false;
    m->segments = gn_xcalloc((size_t)n + 1, sizeof *m->segments);
    while (m->n_segments < n) {
        gn_manifest_segment *s = &m->segments[m->n_segments++];
        s->number = gn_read_be64(r);
        s->checksum = gn_read_be64(r);
        uint32_t ended = gn_read_be32(r);
        if (r->failed || ended > gn_reader_left(r) / 12)
            return false;
        s->n_ended = ended;
        s->ended_row = gn_xcalloc((size_t)ended + 1, sizeof *s->ended_row);
        s->ended_scn = gn_xcalloc((size_t)ended + 1, sizeof *s->ended_scn);
        for (uint32_t j = 0; j < ended; j++) {
            s->ended_row[j] = gn_read_be32(r);
            s->ended_scn[j] = gn_read_be64(r);
        }
    }
    return !r->failed && gn_reader_left(r) == 0;
}

static gn_code read_file(const char *path, uint8_t **data, size_t *len, gn_error *err)
{
    gn_code code = GN_OK;
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return GN_NO_DATA;
    if (fd < 0 || fstat(fd, &st) != 0) {
        code = gn_error_errno(err, GN_IO, errno, "could not open \"%s\"", path);
        goto out;
    }
    if (st.st_size < 16 || (uint64_t)st.st_size > MANIFEST_MAX) {
        code = damaged(path, err);
        goto out;
    }
    *data = gn_xmalloc((size_t)st.st_size);
    for (*len = 0; *len < (size_t)st.st_size;) {
        ssize_t n = read(fd, *data + *len, (size_t)st.st_size - *len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            code = gn_error_errno(err, GN_IO, n ? errno : EIO, "could not read \"%s\"", path);
            break;
        }
        *len += (size_t)n;
    }
out:
    if (fd >= 0)
        close(fd);
    return code;
}

gn_code gn_manifest_read(const char *dir, gn_manifest *out, gn_error *err)
{
    char *path = manifest_path(dir, "");
    uint8_t *data = NULL;
    size_t len = 0;
    gn_manifest m = {0};
    gn_code code = read_file(path, &data, &len, err);
    if (code != GN_OK)
        goto out;
    gn_reader sum = gn_reader_of(gn_bytes_of(data + len - 8, 8)), r = gn_reader_of(gn_bytes_of(data, len - 8));
    if (XXH3_64bits(data, len - 8) != gn_read_be64(&sum) || !decode(&m, &r))
        code = damaged(path, err);
out:
    if (code == GN_OK)
        *out = m;
    else
        gn_manifest_close(&m);
    free(data);
    free(path);
    return code;
}

/* ---- linking ---- */

static gn_code link_file(const char *dir, const char *to, const char *name, gn_error *err)
{
    size_t bytes = strlen(dir) + strlen(to) + strlen(name) + 4;
    char *from = gn_xmalloc(bytes), *target = gn_xmalloc(bytes);
    snprintf(from, bytes, "%s/%s", dir, name);
    snprintf(target, bytes, "%s/%s", to, name);
    gn_code code = GN_OK;
    if (link(from, target) != 0)
        code = errno == ENOENT ? GN_NO_DATA : gn_error_errno(err, GN_IO, errno, "could not link \"%s\"", from);
    free(from);
    free(target);
    return code;
}

/* GN_NO_DATA: a build has replaced them meanwhile, or nothing is there. */
static gn_code link_all(const char *dir, const char *to, gn_error *err)
{
    gn_manifest m = {0};
    gn_code code = link_file(dir, to, "MANIFEST", err);
    if (code == GN_OK)
        code = gn_manifest_read(to, &m, err);
    for (size_t i = 0; i < m.n_segments && code == GN_OK; i++) {
        char name[32];
        snprintf(name, sizeof name, "%016llx.seg", (unsigned long long)m.segments[i].number);
        code = link_file(dir, to, name, err);
    }
    gn_manifest_close(&m);
    return code;
}

/* A manifest is a file of its own after it was replaced, and no segment that it names was changed since. */
gn_code gn_vindex_link(const char *dir, const char *to, gn_error *err)
{
    enum { TRIES = 10 };
    gn_code code = GN_NO_DATA;
    if (mkdir(to, 0700) != 0)
        return gn_error_errno(err, GN_IO, errno, "could not create the directory \"%s\"", to);
    for (int i = 0; i < TRIES && code == GN_NO_DATA; i++) {
        code = link_all(dir, to, err);
        if (code != GN_OK)
            gn_manifest_sweep(to, NULL, NULL);
    }
    if (code != GN_OK)
        rmdir(to);
    return code;
}

/* ---- sweeping ---- */

static bool ends_with(const char *s, const char *suffix)
{
    size_t n = strlen(s), m = strlen(suffix);
    return n >= m && strcmp(s + n - m, suffix) == 0;
}

static bool belongs(const gn_manifest *m, const char *name)
{
    for (size_t i = 0; m && i < m->n_segments; i++) {
        char own[32];
        snprintf(own, sizeof own, "%016llx.seg", (unsigned long long)m->segments[i].number);
        if (strcmp(own, name) == 0)
            return true;
    }
    return false;
}

gn_code gn_manifest_sweep(const char *dir, const gn_manifest *m, gn_error *err)
{
    gn_code code = GN_OK;
    DIR *d = opendir(dir);
    if (!d && errno == ENOENT)
        return GN_OK;
    if (!d)
        return gn_error_errno(err, GN_IO, errno, "could not read the directory \"%s\"", dir);
    struct dirent *entry;
    while ((entry = readdir(d)) && code == GN_OK) {
        const char *name = entry->d_name;
        bool ours = ends_with(name, ".seg") || ends_with(name, ".seg.tmp") || strcmp(name, "MANIFEST.tmp") == 0 ||
                    (!m && strcmp(name, "MANIFEST") == 0);
        if (ours && !belongs(m, name) && unlinkat(dirfd(d), name, 0) != 0)
            code = gn_error_errno(err, GN_IO, errno, "could not remove \"%s/%s\"", dir, name);
    }
    closedir(d);
    return code;
}
