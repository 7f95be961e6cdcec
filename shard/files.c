#include "base/buf.h"
#include "shard/files_private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

gn_code gn_path_join(char out[GN_PATH_BYTES], const char *dir, const char *name, gn_error *err)
{
    int n = snprintf(out, GN_PATH_BYTES, "%s/%s", dir, name);
    return n > 0 && n < GN_PATH_BYTES ? GN_OK : gn_error_set(err, GN_IO, "the path \"%s/%s\" is too long", dir, name);
}

gn_code gn_dir_create(const char *path, gn_error *err)
{
    if (mkdir(path, 0700) == 0 || errno == EEXIST)
        return GN_OK;
    return gn_error_errno(err, GN_IO, errno, "could not create directory \"%s\"", path);
}

static bool is_dot(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

gn_code gn_dir_each(const char *path, gn_code (*fn)(const char *dir, const char *name, void *ctx, gn_error *err),
                    void *ctx, gn_error *err)
{
    DIR *d = opendir(path);
    if (!d)
        return gn_error_errno(err, GN_IO, errno, "could not open directory \"%s\"", path);
    gn_code code = GN_OK;
    for (struct dirent *e = readdir(d); code == GN_OK && e; e = readdir(d))
        if (!is_dot(e->d_name))
            code = fn(path, e->d_name, ctx, err);
    closedir(d);
    return code;
}

static gn_code remove_entry(const char *dir, const char *name, void *ctx, gn_error *err)
{
    (void)ctx;
    char path[GN_PATH_BYTES];
    gn_code code = gn_path_join(path, dir, name, err);
    if (code != GN_OK)
        return code;
    if (unlink(path) == 0)
        return GN_OK;
    if (errno == EISDIR || errno == EPERM)
        return gn_dir_remove(path, err);
    return gn_error_errno(err, GN_IO, errno, "could not remove \"%s\"", path);
}

gn_code gn_dir_remove(const char *path, gn_error *err)
{
    if (access(path, F_OK) != 0 && errno == ENOENT)
        return GN_OK;
    gn_code code = gn_dir_each(path, remove_entry, NULL, err);
    if (code == GN_OK && rmdir(path) != 0)
        code = gn_error_errno(err, GN_IO, errno, "could not remove directory \"%s\"", path);
    return code;
}

static gn_code copy_file(const char *from, const char *to, gn_error *err)
{
    int in = open(from, O_RDONLY | O_CLOEXEC), out = -1;
    gn_code code = GN_OK;
    if (in < 0 || (out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)) < 0)
        code = gn_error_errno(err, GN_IO, errno, "could not copy \"%s\" to \"%s\"", from, to);
    char buf[16 << 10];
    for (ssize_t n; code == GN_OK && (n = read(in, buf, sizeof buf)) != 0;) {
        if (n < 0 || write(out, buf, (size_t)n) != n)
            code = gn_error_errno(err, GN_IO, errno, "could not copy \"%s\" to \"%s\"", from, to);
    }
    if (code == GN_OK && fsync(out) != 0)
        code = gn_error_errno(err, GN_IO, errno, "could not sync \"%s\"", to);
    if (in >= 0)
        close(in);
    if (out >= 0)
        close(out);
    return code;
}

gn_code gn_file_link(const char *from, const char *to, gn_error *err)
{
    size_t len = strlen(from);
    bool fixed = len > 4 && (strcmp(from + len - 4, ".sst") == 0 || strcmp(from + len - 4, ".seg") == 0);
    if (fixed && link(from, to) == 0)
        return GN_OK;
    return copy_file(from, to, err);
}

gn_code gn_dir_sync(const char *path, gn_error *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int failed = fd < 0 || fsync(fd) != 0;
    int errnum = errno;
    if (fd >= 0)
        close(fd);
    return failed ? gn_error_errno(err, GN_IO, errnum, "could not sync directory \"%s\"", path) : GN_OK;
}

/* ---- numbers ---- */

gn_code gn_number_read(const char *dir, const char *name, uint64_t *number, gn_error *err)
{
    char path[GN_PATH_BYTES];
    gn_code code = gn_path_join(path, dir, name, err);
    if (code != GN_OK)
        return code;
    FILE *f = fopen(path, "re");
    if (!f)
        return errno == ENOENT ? GN_OK : gn_error_errno(err, GN_IO, errno, "could not open \"%s\"", path);
    char text[32] = "", *end = text;
    bool read = fgets(text, sizeof text, f) != NULL;
    uint64_t n = strtoull(text, &end, 10);
    if (read && end > text && *end == '\n')
        *number = n;
    else
        code = gn_error_set(err, GN_CORRUPT, "\"%s\" does not hold a number", path);
    fclose(f);
    return code;
}

static gn_code write_file(const char *path, uint64_t number, gn_error *err)
{
    FILE *f = fopen(path, "we");
    bool ok = f && fprintf(f, "%llu\n", (unsigned long long)number) > 0 && fflush(f) == 0 && fsync(fileno(f)) == 0;
    int errnum = errno;
    if (f && fclose(f) != 0 && ok) {
        ok = false;
        errnum = errno;
    }
    return ok ? GN_OK : gn_error_errno(err, GN_IO, errnum, "could not write \"%s\"", path);
}

gn_code gn_number_write(const char *dir, const char *name, uint64_t number, gn_error *err)
{
    char path[GN_PATH_BYTES], fresh_name[64], fresh[GN_PATH_BYTES];
    snprintf(fresh_name, sizeof fresh_name, "%s.new", name);
    gn_code code = gn_path_join(path, dir, name, err);
    if (code == GN_OK)
        code = gn_path_join(fresh, dir, fresh_name, err);
    if (code == GN_OK)
        code = write_file(fresh, number, err);
    if (code == GN_OK && rename(fresh, path) != 0)
        code = gn_error_errno(err, GN_IO, errno, "could not rename \"%s\"", fresh);
    return code == GN_OK ? gn_dir_sync(dir, err) : code;
}

/* ---- stores ---- */

/* 0: the name is none of this kind. */
static uint64_t number_of(const char *name, const char *prefix)
{
    size_t len = strlen(prefix);
    char *end;
    if (strncmp(name, prefix, len) != 0 || name[len] < '0' || name[len] > '9')
        return 0;
    uint64_t n = strtoull(name + len, &end, 10);
    return *end ? 0 : n;
}

void gn_store_dir_name(char out[GN_STORE_NAME], uint64_t number)
{
    snprintf(out, GN_STORE_NAME, "store-%llu", (unsigned long long)number);
}

void gn_vector_dir_name(char out[GN_STORE_NAME], uint64_t number)
{
    if (number == 1)
        snprintf(out, GN_STORE_NAME, "vector");
    else
        snprintf(out, GN_STORE_NAME, "vector-%llu", (unsigned long long)number);
}

static gn_code tidy_entry(const char *dir, const char *name, void *current, gn_error *err)
{
    char path[GN_PATH_BYTES];
    uint64_t n = number_of(name, "store-");
    if (n == 0)
        n = strcmp(name, "vector") == 0 ? 1 : number_of(name, "vector-");
    if (n == 0 || n == *(uint64_t *)current)
        return GN_OK;
    gn_code code = gn_path_join(path, dir, name, err);
    return code == GN_OK ? gn_dir_remove(path, err) : code;
}

gn_code gn_store_dir_tidy(const char *dir, uint64_t number, gn_error *err)
{
    return gn_dir_each(dir, tidy_entry, &number, err);
}
