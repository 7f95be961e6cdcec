#include "base/assert.h"
#include "base/journal_private.h"
#include "base/memory.h"
#include "base/metrics.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

enum {
    FILE_BYTES = 4 << 20,
    PAGE = 4096,
    ALIGN = 8,
    MAGIC = 0x4c4e4a47, /* "GJNL" */
    PIECE = 1 << 16,
};

typedef struct record_header {
    uint32_t magic, len;
    uint64_t seq;
    uint64_t checksum; /* of the header before it, and the payload, from the journal's seed */
} record_header;

typedef struct journal_file {
    struct journal_file *next;
    unsigned number; /* of its name */
    int fd;
    uint64_t last; /* number of its last record; 0 = none that counts */
} journal_file;

struct gn_journal {
    char *dir;
    uint64_t seed;
    uint64_t next_seq;
    journal_file *current;          /* NULL before the first record */
    uint64_t at;                    /* where the next record begins in it */
    journal_file *full, *full_last; /* oldest first */
    bool filled;                    /* a file became full since the last release */
    uint8_t *pages;                 /* the record with its surroundings, whole pages */
    size_t cap_pages;
    uint8_t tail[PAGE]; /* the page at `at`, as written so far */
    gn_metric *syncs;

    pthread_t maker;
    bool has_maker;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t wanted;
    journal_file *spare;
    unsigned next_number;
    bool want_spare, stop;
};

/* ---- files ---- */

static gn_code failed(gn_error *err, const char *what, const char *dir, unsigned number)
{
    int e = errno;
    gn_code code = e == ENOSPC || e == EDQUOT ? GN_DISK_FULL : GN_IO;
    return gn_error_errno(err, code, e, "could not %s \"%s/%06u.journal\"", what, dir, number);
}

static void path_of(const gn_journal *j, unsigned number, char path[4096])
{
    snprintf(path, 4096, "%s/%06u.journal", j->dir, number);
}

static void file_free(journal_file *f)
{
    close(f->fd);
    free(f);
}

static bool write_all(int fd, const uint8_t *data, size_t n, uint64_t at)
{
    while (n > 0) {
        ssize_t wrote = pwrite(fd, data, n, (off_t)at);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote <= 0)
            return false;
        data += wrote;
        n -= (size_t)wrote;
        at += (uint64_t)wrote;
    }
    return true;
}

static bool sync_dir(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0)
        close(fd);
    return ok;
}

/* Its blocks are written, so that later writes change nothing but them. */
static gn_code make_file(gn_journal *j, unsigned number, journal_file **out, gn_error *err)
{
    static const uint8_t zeros[PIECE];
    char path[4096];
    path_of(j, number, path);
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return failed(err, "create", j->dir, number);
    bool ok = true;
    for (uint64_t at = 0; at < FILE_BYTES && ok; at += PIECE)
        ok = write_all(fd, zeros, PIECE, at);
    if (!ok || fsync(fd) != 0 || !sync_dir(j->dir)) {
        gn_code code = failed(err, "write", j->dir, number);
        close(fd);
        unlink(path);
        return code;
    }
    *out = gn_xcalloc(1, sizeof **out);
    **out = (journal_file){.number = number, .fd = fd};
    return GN_OK;
}

/* Keeps one file in store. A failure is met again, and reported, by whoever needs the file. */
static void *make_spares(void *arg)
{
    gn_journal *j = arg;
    pthread_setname_np(pthread_self(), "gn-journal");
    pthread_mutex_lock(&j->lock);
    while (!j->stop) {
        if (!j->want_spare || j->spare) {
            pthread_cond_wait(&j->wanted, &j->lock);
            continue;
        }
        j->want_spare = false;
        unsigned number = j->next_number++;
        pthread_mutex_unlock(&j->lock);
        journal_file *f = NULL;
        gn_code code = make_file(j, number, &f, NULL);
        pthread_mutex_lock(&j->lock);
        if (code == GN_OK) {
            f->next = j->spare;
            j->spare = f;
        }
    }
    pthread_mutex_unlock(&j->lock);
    return NULL;
}

static void want_spare(gn_journal *j)
{
    pthread_mutex_lock(&j->lock);
    j->want_spare = !j->spare;
    pthread_mutex_unlock(&j->lock);
    pthread_cond_signal(&j->wanted);
}

static gn_code take_file(gn_journal *j, journal_file **out, gn_error *err)
{
    pthread_mutex_lock(&j->lock);
    *out = j->spare;
    if (*out)
        j->spare = (*out)->next;
    unsigned number = *out ? 0 : j->next_number++;
    bool was_last = !j->spare;
    pthread_mutex_unlock(&j->lock);
    if (was_last)
        want_spare(j);
    return *out ? GN_OK : make_file(j, number, out, err);
}

/* ---- writing ---- */

/* It takes no more records and waits for its release. */
static void retire(gn_journal *j, journal_file *f)
{
    f->next = NULL;
    if (j->full_last)
        j->full_last->next = f;
    else
        j->full = f;
    j->full_last = f;
    j->filled = true;
}

static gn_code next_file(gn_journal *j, gn_error *err)
{
    journal_file *f;
    gn_code code = take_file(j, &f, err);
    if (code != GN_OK)
        return code;
    if (j->current)
        retire(j, j->current);
    f->next = NULL;
    f->last = 0;
    j->current = f;
    j->at = 0;
    memset(j->tail, 0, PAGE);
    return GN_OK;
}

static uint64_t checksum_of(const gn_journal *j, const record_header *h, const uint8_t *payload)
{
    return XXH3_64bits_withSeed(payload, h->len, XXH3_64bits_withSeed(h, offsetof(record_header, checksum), j->seed));
}

/* The pages that the record touches, ready to be written from the one that it begins in. */
static size_t lay_out(gn_journal *j, gn_bytes payload)
{
    size_t inside = j->at % PAGE, bytes = inside + sizeof(record_header) + payload.len;
    size_t size = (bytes + PAGE - 1) / PAGE * PAGE;
    if (size > j->cap_pages) {
        j->pages = gn_xrealloc(j->pages, size);
        j->cap_pages = size;
    }
    record_header h = {.magic = MAGIC, .len = (uint32_t)payload.len, .seq = j->next_seq};
    h.checksum = checksum_of(j, &h, payload.data);
    memcpy(j->pages, j->tail, inside);
    memcpy(j->pages + inside, &h, sizeof h);
    memcpy(j->pages + inside + sizeof h, payload.data, payload.len);
    memset(j->pages + bytes, 0, size - bytes);
    return size;
}

gn_code gn_journal_append(gn_journal *j, gn_bytes payload, gn_error *err)
{
    GN_ASSERT(payload.len > 0 && payload.len <= UINT32_MAX);
    uint64_t record = sizeof(record_header) + payload.len;
    gn_code code = GN_OK;
    /* One that is larger than a file has one for itself, which grows. */
    if (!j->current || (j->at > 0 && j->at + record > FILE_BYTES))
        code = next_file(j, err);
    if (code != GN_OK)
        return code;
    size_t size = lay_out(j, payload);
    uint64_t page = j->at / PAGE * PAGE;
    if (!write_all(j->current->fd, j->pages, size, page) || fdatasync(j->current->fd) != 0)
        return failed(err, "write", j->dir, j->current->number);
    gn_counter_add(j->syncs, 1);
    j->at = (j->at + record + ALIGN - 1) / ALIGN * ALIGN;
    if (j->at / PAGE * PAGE < page + size)
        memcpy(j->tail, j->pages + (j->at / PAGE * PAGE - page), PAGE);
    else
        memset(j->tail, 0, PAGE);
    j->current->last = j->next_seq++;
    return GN_OK;
}

uint64_t gn_journal_next_seq(const gn_journal *j)
{
    return j->next_seq;
}

bool gn_journal_has_full_files(const gn_journal *j)
{
    return j->filled;
}

static void drop_file(gn_journal *j, journal_file *f)
{
    char path[4096];
    path_of(j, f->number, path);
    unlink(path);
    file_free(f);
}

/* Two are kept for use, further ones are more than the journal needs now. */
static void store_file(gn_journal *j, journal_file *f)
{
    struct stat st;
    pthread_mutex_lock(&j->lock);
    bool enough = j->spare && j->spare->next;
    if (!enough && fstat(f->fd, &st) == 0 && st.st_size == FILE_BYTES) {
        f->next = j->spare;
        j->spare = f;
        f = NULL;
    }
    pthread_mutex_unlock(&j->lock);
    if (f)
        drop_file(j, f);
}

void gn_journal_release(gn_journal *j, uint64_t seq)
{
    j->filled = false;
    while (j->full && j->full->last <= seq) {
        journal_file *f = j->full;
        j->full = f->next;
        if (!j->full)
            j->full_last = NULL;
        store_file(j, f);
    }
}

/* ---- the file JOURNAL: the format and the seed ---- */

enum { FORMAT = 1, IDENTITY_BYTES = 24 };

static gn_code write_identity(gn_journal *j, uint64_t seed, gn_error *err)
{
    char path[4096], draft[4096];
    uint64_t identity[3] = {FORMAT, seed};
    identity[2] = XXH3_64bits(identity, 16);
    snprintf(path, sizeof path, "%s/JOURNAL", j->dir);
    snprintf(draft, sizeof draft, "%s/JOURNAL.draft", j->dir);
    int fd = open(draft, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool ok = fd >= 0 && write_all(fd, (uint8_t *)identity, IDENTITY_BYTES, 0) && fsync(fd) == 0;
    if (fd >= 0)
        close(fd);
    if (!ok || rename(draft, path) != 0 || !sync_dir(j->dir))
        return gn_error_errno(err, errno == ENOSPC ? GN_DISK_FULL : GN_IO, errno, "could not write \"%s\"", path);
    j->seed = seed;
    return GN_OK;
}

static gn_code read_identity(gn_journal *j, bool *there, gn_error *err)
{
    char path[4096];
    uint64_t identity[3];
    snprintf(path, sizeof path, "%s/JOURNAL", j->dir);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    *there = fd >= 0;
    if (fd < 0)
        return errno == ENOENT ? GN_OK : gn_error_errno(err, GN_IO, errno, "could not open \"%s\"", path);
    ssize_t n = read(fd, identity, IDENTITY_BYTES);
    close(fd);
    if (n != IDENTITY_BYTES || identity[2] != XXH3_64bits(identity, 16))
        return gn_error_set(err, GN_CORRUPT, "\"%s\" is damaged", path);
    if (identity[0] != FORMAT)
        return gn_error_set(err, GN_CORRUPT, "\"%s\" has a format that this version does not know", path);
    j->seed = identity[1];
    return GN_OK;
}

/* ---- recovery ---- */

/* What one file holds: records that follow one another from its beginning. */
typedef struct run {
    unsigned number;
    size_t size;
    uint64_t first, last; /* 0: none */
    size_t last_at, end;  /* of the last one */
    uint64_t beyond;      /* the highest number found whole behind the run */
} run;

typedef struct contents {
    uint8_t *data;
    size_t size, cap;
} contents;

typedef struct recovery {
    gn_journal *j;
    contents file; /* the one at hand */
    run *runs;
    size_t n;
    uint64_t after;
} recovery;

static bool record_at(const recovery *rec, size_t at, record_header *h)
{
    const contents *f = &rec->file;
    if (f->size - at < sizeof *h)
        return false;
    memcpy(h, f->data + at, sizeof *h);
    return h->magic == MAGIC && h->seq > 0 && h->len > 0 && h->len <= f->size - at - sizeof *h &&
           h->checksum == checksum_of(rec->j, h, f->data + at + sizeof *h);
}

static size_t next_record(size_t at, const record_header *h)
{
    return (at + sizeof *h + h->len + ALIGN - 1) / ALIGN * ALIGN;
}

static void scan(const recovery *rec, run *r)
{
    record_header h;
    size_t at = 0;
    while (at < r->size && record_at(rec, at, &h) && (r->last == 0 || h.seq == r->last + 1)) {
        r->first = r->first ? r->first : h.seq;
        r->last = h.seq;
        r->last_at = at;
        at = next_record(at, &h);
    }
    r->end = at;
    for (; at < r->size; at += ALIGN)
        if (record_at(rec, at, &h) && h.seq > r->beyond)
            r->beyond = h.seq;
}

static gn_code read_all(recovery *rec, int fd, unsigned number, gn_error *err)
{
    struct stat st;
    contents *f = &rec->file;
    if (fstat(fd, &st) != 0)
        return failed(err, "read", rec->j->dir, number);
    f->size = (size_t)st.st_size;
    if (f->size > f->cap) {
        f->data = gn_xrealloc(f->data, f->size);
        f->cap = f->size;
    }
    for (size_t at = 0; at < f->size;) {
        ssize_t n = pread(fd, f->data + at, f->size - at, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return failed(err, "read", rec->j->dir, number);
        at += (size_t)n;
    }
    return GN_OK;
}

static gn_code load_file(recovery *rec, unsigned number, gn_error *err)
{
    char path[4096];
    path_of(rec->j, number, path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return failed(err, "open", rec->j->dir, number);
    gn_code code = read_all(rec, fd, number, err);
    close(fd);
    return code;
}

static gn_code scan_files(recovery *rec, gn_error *err)
{
    DIR *dir = opendir(rec->j->dir);
    gn_code code = GN_OK;
    if (!dir)
        return gn_error_errno(err, GN_IO, errno, "could not read directory \"%s\"", rec->j->dir);
    for (struct dirent *e; code == GN_OK && (e = readdir(dir));) {
        char *end;
        unsigned long number = strtoul(e->d_name, &end, 10);
        if (number == 0 || number >= UINT_MAX || strcmp(end, ".journal") != 0)
            continue;
        code = load_file(rec, (unsigned)number, err);
        rec->runs = gn_xrealloc(rec->runs, (rec->n + 1) * sizeof *rec->runs);
        run *r = &rec->runs[rec->n++];
        *r = (run){.number = (unsigned)number, .size = rec->file.size};
        if (code == GN_OK)
            scan(rec, r);
        if (number >= rec->j->next_number)
            rec->j->next_number = (unsigned)number + 1;
    }
    closedir(dir);
    return code;
}

static int by_first(const void *a, const void *b)
{
    const run *x = a, *y = b;
    return x->first < y->first ? -1 : x->first > y->first;
}

static gn_code damaged(const gn_journal *j, unsigned number, uint64_t seq, gn_error *err)
{
    return gn_error_set(err, GN_CORRUPT, "\"%s/%06u.journal\": record %llu is damaged or missing", j->dir, number,
                        (unsigned long long)seq);
}

/* The runs, in order, must be one chain from `after` on; nothing whole may follow behind its end. */
static gn_code check_runs(const recovery *rec, uint64_t *last, gn_error *err)
{
    *last = rec->after;
    for (size_t i = 0; i < rec->n; i++) {
        const run *r = &rec->runs[i];
        if (!r->first || r->last <= rec->after) /* empty, or all of it is elsewhere */
            continue;
        bool follows = *last == rec->after ? r->first <= *last + 1 : r->first == *last + 1;
        if (!follows)
            return damaged(rec->j, r->number, *last + 1, err);
        *last = r->last;
    }
    for (size_t i = 0; i < rec->n; i++)
        if (rec->runs[i].beyond > *last)
            return damaged(rec->j, rec->runs[i].number, *last + 1, err);
    return GN_OK;
}

static gn_code replay_run(recovery *rec, const run *r, gn_journal_replay *replay, void *ctx, gn_error *err)
{
    record_header h;
    gn_code code = load_file(rec, r->number, err);
    for (size_t at = 0; code == GN_OK && at < r->end; at = next_record(at, &h)) {
        if (!record_at(rec, at, &h))
            return damaged(rec->j, r->number, 0, err); /* it was whole a moment ago */
        if (h.seq > rec->after)
            code = replay(ctx, gn_bytes_of(rec->file.data + at + sizeof h, h.len), err);
    }
    return code;
}

/* That the last record can be read does not say that it is on the disk: the process may have ended between its write
 * and its sync, or because the sync failed, after which the kernel takes pages for clean that it never wrote. But who
 * recovers it will tell others that it is safe. So it is written and synced once more. */
static gn_code settle(const recovery *rec, const run *r, int fd, gn_error *err)
{
    size_t from = r->last_at / PAGE * PAGE, to = (r->end + PAGE - 1) / PAGE * PAGE;
    to = to < r->size ? to : r->size;
    bool ok = write_all(fd, rec->file.data + from, to - from, from) && fdatasync(fd) == 0;
    return ok ? GN_OK : failed(err, "write", rec->j->dir, r->number);
}

/* The file with the newest record, the last one replayed, is gone on with; those with older ones wait for their
 * release. */
static gn_code adopt(recovery *rec, const run *r, bool newest, gn_error *err)
{
    gn_journal *j = rec->j;
    char path[4096];
    path_of(j, r->number, path);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return failed(err, "open", j->dir, r->number);
    gn_code code = newest ? settle(rec, r, fd, err) : GN_OK;
    if (code != GN_OK) {
        close(fd);
        return code;
    }
    journal_file *f = gn_xcalloc(1, sizeof *f);
    *f = (journal_file){.number = r->number, .fd = fd, .last = r->last};
    if (newest && r->size == FILE_BYTES && r->end < FILE_BYTES) {
        j->current = f;
        j->at = r->end;
        memcpy(j->tail, rec->file.data + r->end / PAGE * PAGE, r->end % PAGE);
    } else if (r->last > rec->after) {
        retire(j, f);
    } else {
        store_file(j, f);
    }
    return GN_OK;
}

static gn_code recover(recovery *rec, gn_journal_replay *replay, void *ctx, gn_error *err)
{
    uint64_t last;
    gn_code code = scan_files(rec, err);
    if (rec->n)
        qsort(rec->runs, rec->n, sizeof *rec->runs, by_first);
    if (code == GN_OK)
        code = check_runs(rec, &last, err);
    if (code != GN_OK)
        return code;
    rec->j->next_seq = last + 1;
    for (size_t i = 0; i < rec->n && code == GN_OK; i++) {
        const run *r = &rec->runs[i];
        if (r->last > rec->after)
            code = replay_run(rec, r, replay, ctx, err);
        if (code == GN_OK)
            code = adopt(rec, r, r->last > rec->after && r->last == last, err);
    }
    return code;
}

/* ---- life ---- */

static gn_code start_maker(gn_journal *j, gn_error *err)
{
    if (pthread_create(&j->maker, NULL, make_spares, j) != 0)
        return gn_error_set(err, GN_RESOURCES, "could not start a thread for the journal");
    j->has_maker = true;
    want_spare(j);
    return GN_OK;
}

static bool has_files(const gn_journal *j)
{
    DIR *dir = opendir(j->dir);
    bool any = false;
    for (struct dirent *e; dir && (e = readdir(dir));)
        any |= strstr(e->d_name, ".journal") != NULL;
    if (dir)
        closedir(dir);
    return any;
}

/* JOURNAL is durable before the first file is made. */
static gn_code identify(recovery *rec, uint64_t seed, gn_error *err)
{
    bool there;
    gn_code code = read_identity(rec->j, &there, err);
    if (code != GN_OK || there)
        return code;
    if (rec->after > 0 || has_files(rec->j))
        return gn_error_set(err, GN_CORRUPT, "the file JOURNAL is missing in \"%s\"", rec->j->dir);
    return write_identity(rec->j, seed, err);
}

gn_code gn_journal_open(const char *dir, uint64_t seed, uint64_t after, gn_journal_replay *replay, void *ctx,
                        gn_journal **out, gn_error *err)
{
    gn_journal *j = gn_xcalloc(1, sizeof *j);
    recovery rec = {.j = j, .after = after};
    j->dir = gn_xstrdup(dir);
    j->next_number = 1;
    j->syncs = gn_counter("gnomon_raft_log_syncs_total", NULL, "Syncs of the Raft log's journal.");
    pthread_mutex_init(&j->lock, NULL);
    pthread_cond_init(&j->wanted, NULL);
    gn_code code = identify(&rec, seed, err);
    if (code == GN_OK)
        code = recover(&rec, replay, ctx, err);
    if (code == GN_OK)
        code = start_maker(j, err);
    free(rec.file.data);
    free(rec.runs);
    if (code != GN_OK) {
        gn_journal_close(j);
        return code;
    }
    *out = j;
    return GN_OK;
}

static void free_files(journal_file *f)
{
    for (journal_file *next; f; f = next) {
        next = f->next;
        file_free(f);
    }
}

void gn_journal_close(gn_journal *j)
{
    if (!j)
        return;
    if (j->has_maker) {
        pthread_mutex_lock(&j->lock);
        j->stop = true;
        pthread_mutex_unlock(&j->lock);
        pthread_cond_signal(&j->wanted);
        pthread_join(j->maker, NULL);
    }
    free_files(j->current);
    free_files(j->full);
    free_files(j->spare);
    pthread_mutex_destroy(&j->lock);
    pthread_cond_destroy(&j->wanted);
    free(j->pages);
    free(j->dir);
    free(j);
}
