/* The manifest of a snapshot:
 *
 *   [version, group, index, id, maker, last SCN, horizon, [[name, size, sum], ...], XXH3-64 of all before]   msgpack
 *
 * It may come from a node that is damaged or hostile, and names become paths: they are made of few characters, in one
 * of two forms, and ascend, so that none comes twice. */
#include "base/limits.h"
#include "base/versions.h"
#include "query/pack.h"
#include "shard/snapshot_private.h"

#include <msgpack.h>
#include <stdlib.h>
#include <xxhash.h>

enum {
    MANIFEST_VERSION = GN_FORMAT_MANIFEST,
    MANIFEST_FIELDS = 9,
    FILE_FIELDS = 3,
    CHECKSUM_BYTES = 9,
    FLAT_NAME = 64
};

#define FILE_BYTES_MAX ((uint64_t)1 << 48)

void gn_snapshot_manifest_close(gn_snapshot_manifest *m)
{
    free(m->files.items);
    *m = (gn_snapshot_manifest){0};
}

void gn_snapshot_manifest_add(gn_snapshot_manifest *m, const gn_snapshot_file *file)
{
    gn_manifest_files *f = &m->files;
    if (f->n == f->cap) {
        f->cap = f->cap ? f->cap * 2 : 64;
        f->items = gn_xrealloc(f->items, f->cap * sizeof *f->items);
    }
    f->items[f->n++] = *file;
}

uint64_t gn_snapshot_manifest_bytes(const gn_snapshot_manifest *m)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < m->files.n; i++)
        sum += m->files.items[i].size;
    return sum;
}

/* ---- names ---- */

static bool is_flat(const char *name)
{
    size_t len = strlen(name);
    return len > 0 && len <= FLAT_NAME && name[0] != '.' &&
           strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-") == len;
}

static const char *skip_digits(const char *s)
{
    size_t n = strspn(s, "0123456789");
    return n > 0 && n <= 20 ? s + n : NULL;
}

bool gn_snapshot_name_valid(const char *name)
{
    static const char store[] = "store/", vector[] = "vector/";
    if (strncmp(name, store, sizeof store - 1) == 0)
        return is_flat(name + sizeof store - 1);
    if (strncmp(name, vector, sizeof vector - 1) != 0)
        return false;
    const char *at = skip_digits(name + sizeof vector - 1);
    at = at && *at == '-' ? skip_digits(at + 1) : NULL;
    return at && *at == '/' && is_flat(at + 1);
}

/* ---- writing ---- */

static int by_name(const void *a, const void *b)
{
    return strcmp(((const gn_snapshot_file *)a)->name, ((const gn_snapshot_file *)b)->name);
}

static void write_file(msgpack_packer *p, const gn_snapshot_file *f)
{
    size_t len = strlen(f->name);
    msgpack_pack_array(p, FILE_FIELDS);
    msgpack_pack_str(p, len);
    msgpack_pack_str_body(p, f->name, len);
    msgpack_pack_uint64(p, f->size);
    msgpack_pack_bin(p, sizeof f->sum);
    msgpack_pack_bin_body(p, f->sum, sizeof f->sum);
}

gn_code gn_snapshot_manifest_write(gn_snapshot_manifest *m, gn_buf *out, gn_error *err)
{
    size_t from = out->len;
    msgpack_packer p;
    if (m->files.n > 0)
        qsort(m->files.items, m->files.n, sizeof *m->files.items, by_name);
    msgpack_packer_init(&p, out, gn_pack_write);
    msgpack_pack_array(&p, MANIFEST_FIELDS);
    msgpack_pack_uint8(&p, MANIFEST_VERSION);
    msgpack_pack_uint64(&p, m->group_id);
    msgpack_pack_uint64(&p, m->index);
    msgpack_pack_uint64(&p, m->id);
    msgpack_pack_uint64(&p, m->maker);
    msgpack_pack_uint64(&p, m->last_scn);
    msgpack_pack_uint64(&p, m->horizon);
    msgpack_pack_array(&p, m->files.n);
    for (size_t i = 0; i < m->files.n; i++)
        write_file(&p, &m->files.items[i]);
    if (!out->failed)
        msgpack_pack_fix_uint64(&p, XXH3_64bits(out->data + from, out->len - from));
    if (out->failed || m->files.n > GN_MAX_SNAPSHOT_FILES || out->len - from > GN_MAX_RAFT_MANIFEST)
        return gn_error_set(err, GN_LIMIT, "a snapshot of %zu files is too large for its manifest", m->files.n);
    return GN_OK;
}

/* ---- reading ---- */

static bool read_file(gn_unpack *u, gn_snapshot_file *f)
{
    if (gn_unpack_array(u, FILE_FIELDS) != FILE_FIELDS)
        return false;
    gn_bytes name = gn_unpack_str(u);
    f->size = gn_unpack_uint(u);
    gn_bytes sum = gn_unpack_str(u);
    if (u->failed || name.len == 0 || name.len >= sizeof f->name || memchr(name.data, 0, name.len) ||
        sum.len != sizeof f->sum || f->size > FILE_BYTES_MAX)
        return false;
    memcpy(f->name, name.data, name.len);
    f->name[name.len] = '\0';
    memcpy(f->sum, sum.data, sum.len);
    return gn_snapshot_name_valid(f->name);
}

static bool read_files(gn_unpack *u, gn_snapshot_manifest *m)
{
    uint32_t n = gn_unpack_array(u, GN_MAX_SNAPSHOT_FILES);
    for (uint32_t i = 0; i < n; i++) {
        gn_snapshot_file f = {0};
        if (u->failed || !read_file(u, &f))
            return false;
        if (i > 0 && by_name(&m->files.items[i - 1], &f) >= 0)
            return false;
        gn_snapshot_manifest_add(m, &f);
    }
    return !u->failed;
}

static bool read_all(gn_bytes bytes, gn_snapshot_manifest *m)
{
    gn_unpack u = gn_unpack_of(bytes);
    if (bytes.len < CHECKSUM_BYTES || gn_unpack_array(&u, MANIFEST_FIELDS) != MANIFEST_FIELDS ||
        gn_unpack_uint(&u) != MANIFEST_VERSION)
        return false;
    m->group_id = gn_unpack_uint(&u);
    m->index = gn_unpack_uint(&u);
    m->id = gn_unpack_uint(&u);
    m->maker = gn_unpack_uint(&u);
    m->last_scn = gn_unpack_uint(&u);
    m->horizon = gn_unpack_uint(&u);
    if (u.failed || !read_files(&u, m))
        return false;
    size_t covered = bytes.len - gn_reader_left(&u.in);
    return gn_unpack_uint(&u) == XXH3_64bits(bytes.data, covered) && gn_unpack_done(&u);
}

gn_code gn_snapshot_manifest_read(gn_bytes bytes, gn_snapshot_manifest *out, gn_error *err)
{
    gn_snapshot_manifest m = {0};
    if (!read_all(bytes, &m)) {
        gn_snapshot_manifest_close(&m);
        return gn_error_set(err, GN_CORRUPT, "a snapshot's manifest is malformed, or of a newer version");
    }
    *out = m;
    return GN_OK;
}
