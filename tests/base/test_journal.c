/* The journal on a disk that fails. This program has its own pwrite, fsync and fdatasync: what they do beyond the real
 * ones is to keep, page by page, what a power cut would leave of each journal file, and to fail when told. */
#include "base/buf.h"
#include "base/journal_private.h"
#include "base/memory.h"
#include "tests/base/cmocka_all.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PAGE = 4096, FILES = 64, FILE_BYTES = 4 << 20, PAGES = FILE_BYTES / PAGE };

static char dir[256];

/* ---- the disk ---- */

typedef struct disk_file {
    ino_t ino;
    uint8_t *durable; /* FILE_BYTES */
    bool dirty[PAGES];
} disk_file;

static disk_file files[FILES];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* the journal makes files in a thread of its own */
static _Atomic bool modelled;                            /* are journal files kept? */
static _Thread_local int fail_write, fail_sync;          /* errno of this thread's next write or sync; 0 = none */
static _Atomic bool torn;                                /* a failed sync has brought every second page to the disk */
static _Atomic bool piecemeal;                           /* writes are short, and interrupted */
static _Atomic unsigned calls;

static disk_file *file_of(int fd)
{
    struct stat st;
    char link[64], path[512];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, path, sizeof path - 1);
    if (!modelled || len < 0 || fstat(fd, &st) != 0)
        return NULL;
    path[len] = '\0';
    if (!strstr(path, ".journal"))
        return NULL;
    for (int i = 0; i < FILES; i++) {
        if (files[i].durable && files[i].ino == st.st_ino)
            return &files[i];
        if (!files[i].durable) {
            files[i].ino = st.st_ino;
            files[i].durable = gn_xcalloc(1, FILE_BYTES);
            return &files[i];
        }
    }
    abort();
}

ssize_t pwrite(int fd, const void *data, size_t n, off_t at)
{
    int error = fail_write;
    fail_write = 0;
    if (piecemeal && ++calls % 3 == 0)
        error = EINTR;
    if (error) {
        errno = error;
        return -1;
    }
    if (piecemeal && n > 1000)
        n = 1000;
    ssize_t wrote = (ssize_t)syscall(SYS_pwrite64, fd, data, n, at);
    pthread_mutex_lock(&lock);
    disk_file *f = file_of(fd);
    for (off_t p = at / PAGE; f && wrote > 0 && p <= (at + wrote - 1) / PAGE && p < PAGES; p++)
        f->dirty[p] = true;
    pthread_mutex_unlock(&lock);
    return wrote;
}

/* After a failure the kernel takes the pages for clean, although they are not on the disk. */
static int sync_pages(int fd, long call)
{
    int error = fail_sync;
    fail_sync = 0;
    pthread_mutex_lock(&lock);
    disk_file *f = file_of(fd);
    for (int p = 0; f && p < PAGES; p++) {
        if (f->dirty[p] && (!error || (torn && p % 2)) && pread(fd, f->durable + p * PAGE, PAGE, (off_t)p * PAGE) < 0)
            abort();
        f->dirty[p] = false;
    }
    pthread_mutex_unlock(&lock);
    if (error) {
        errno = error;
        return -1;
    }
    return modelled ? 0 : (int)syscall(call, fd);
}

int fdatasync(int fd)
{
    return sync_pages(fd, SYS_fdatasync);
}

int fsync(int fd)
{
    return sync_pages(fd, SYS_fsync);
}

static void each_journal_file(void (*fn)(const char *path, disk_file *f))
{
    DIR *d = opendir(dir);
    for (struct dirent *e; (e = readdir(d));) {
        char path[600];
        struct stat st;
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        if (!strstr(e->d_name, ".journal") || stat(path, &st) != 0)
            continue;
        for (int i = 0; i < FILES && files[i].durable; i++)
            if (files[i].ino == st.st_ino)
                fn(path, &files[i]);
    }
    closedir(d);
}

static void lose_unsynced(const char *path, disk_file *f)
{
    int fd = open(path, O_RDWR);
    assert_int_equal(syscall(SYS_pwrite64, fd, f->durable, FILE_BYTES, 0), FILE_BYTES);
    close(fd);
    memset(f->dirty, 0, sizeof f->dirty);
}

static void power_cut(void)
{
    each_journal_file(lose_unsynced);
}

/* ---- what is done to it ---- */

typedef struct found {
    uint64_t first, last; /* as their payloads say */
    unsigned n;
} found;

/* A payload is its number, eight bytes at a time. */
static gn_code replayed(void *ctx, gn_bytes payload, gn_error *err)
{
    (void)err;
    found *f = ctx;
    uint64_t number, other;
    memcpy(&number, payload.data, sizeof number);
    for (size_t i = 0; i + 8 <= payload.len; i += 8) {
        memcpy(&other, payload.data + i, 8);
        assert_int_equal(other, number);
    }
    if (f->n++)
        assert_int_equal(number, f->last + 1);
    else
        f->first = number;
    f->last = number;
    return GN_OK;
}

static gn_code try_open(uint64_t after, gn_journal **out, found *f)
{
    *f = (found){0};
    return gn_journal_open(dir, 42, after, replayed, f, out, NULL);
}

static gn_journal *open_journal(uint64_t after, found *f)
{
    gn_journal *j;
    assert_int_equal(try_open(after, &j, f), GN_OK);
    return j;
}

static gn_code append(gn_journal *j, size_t words)
{
    uint64_t seq = gn_journal_next_seq(j);
    uint64_t *payload = gn_xmalloc(words * 8);
    for (size_t i = 0; i < words; i++)
        payload[i] = seq;
    gn_code code = gn_journal_append(j, gn_bytes_of(payload, words * 8), NULL);
    free(payload);
    return code;
}

static int setup(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR");
    snprintf(dir, sizeof dir, "%s/gnomon-test-XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(dir));
    modelled = true;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    char command[300];
    fail_write = fail_sync = 0;
    modelled = piecemeal = torn = false;
    for (int i = 0; i < FILES && files[i].durable; i++)
        free(files[i].durable);
    memset(files, 0, sizeof files);
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    return system(command);
}

/* ---- tests ---- */

static void a_power_cut_takes_nothing_that_was_acknowledged(void **state)
{
    (void)state;
    found f;
    gn_journal *j = open_journal(0, &f);
    for (int i = 1; i <= 4000; i++) /* through several files */
        assert_int_equal(append(j, (size_t)i % 700 + 1), GN_OK);
    gn_journal_close(j);
    power_cut();
    j = open_journal(0, &f);
    assert_int_equal(f.first, 1);
    assert_int_equal(f.last, 4000);
    gn_journal_close(j);
}

/* The process ends between a write and its sync, or because the sync failed. The record can be read: then it counts
 * from then on, so the next power cut must not take it either. */
static void a_record_that_recovery_has_reported_outlives_a_power_cut(void **state)
{
    (void)state;
    found f;
    for (size_t words = 10; words <= 10000; words *= 10) {
        gn_journal *j = open_journal(0, &f);
        uint64_t before = f.last;
        assert_int_equal(append(j, 300), GN_OK);
        fail_sync = EIO;
        assert_int_equal(append(j, words), GN_IO);
        gn_journal_close(j);
        j = open_journal(0, &f);
        assert_int_equal(f.last, before + 2);
        gn_journal_close(j);
        power_cut();
        j = open_journal(0, &f);
        assert_int_equal(f.last, before + 2);
        gn_journal_close(j);
    }
}

static void a_sync_that_fails_at_the_opening_is_an_error(void **state)
{
    (void)state;
    found f;
    gn_journal *j = open_journal(0, &f);
    assert_int_equal(append(j, 10), GN_OK);
    gn_journal_close(j);
    fail_sync = EIO;
    assert_int_equal(try_open(0, &j, &f), GN_IO);
    j = open_journal(0, &f);
    assert_int_equal(f.last, 1);
    gn_journal_close(j);
}

static void an_unsynced_record_that_a_power_cut_takes_was_never_there(void **state)
{
    (void)state;
    found f;
    gn_journal *j = open_journal(0, &f);
    for (int i = 0; i < 5; i++)
        assert_int_equal(append(j, 1000), GN_OK);
    fail_sync = EIO;
    assert_int_equal(append(j, 1000), GN_IO);
    gn_journal_close(j);
    power_cut();
    j = open_journal(0, &f);
    assert_int_equal(f.last, 5);
    assert_int_equal(append(j, 20), GN_OK); /* in its place, with its number */
    gn_journal_close(j);
    power_cut();
    j = open_journal(0, &f);
    assert_int_equal(f.last, 6);
    gn_journal_close(j);
}

static void a_full_disk_and_a_broken_one_are_told_apart(void **state)
{
    (void)state;
    found f;
    for (int i = 0; i < 3; i++) {
        const int errors[] = {ENOSPC, EDQUOT, EIO};
        gn_journal *j = open_journal(0, &f);
        uint64_t before = f.last;
        assert_int_equal(append(j, 100), GN_OK);
        fail_write = errors[i];
        assert_int_equal(append(j, 100), errors[i] == EIO ? GN_IO : GN_DISK_FULL);
        gn_journal_close(j);
        j = open_journal(0, &f);
        assert_int_equal(f.last, before + 1);
        gn_journal_close(j);
    }
}

static void short_and_interrupted_writes_are_gone_on_with(void **state)
{
    (void)state;
    found f;
    gn_journal *j = open_journal(0, &f);
    piecemeal = true;
    for (int i = 0; i < 500; i++)
        assert_int_equal(append(j, (size_t)i * 7 % 3000 + 1), GN_OK);
    gn_journal_close(j);
    power_cut();
    j = open_journal(0, &f);
    assert_int_equal(f.last, 500);
    gn_journal_close(j);
}

/* Files that are released and used again hold older records behind and instead of the newest. */
static void what_an_earlier_use_left_in_a_file_is_never_taken_for_new(void **state)
{
    (void)state;
    found f;
    uint64_t released = 0, last = 0;
    for (int round = 0; round < 40; round++) {
        gn_journal *j = open_journal(released, &f);
        if (f.n) {
            assert_int_equal(f.first, released + 1);
            assert_int_equal(f.last, last);
        }
        for (int i = 0; i < 40; i++) {
            /* of one size, with whole pages, an older one begins where the newest ends; of many, anywhere */
            size_t words = round < 20 ? 20480 - 3 : (size_t)((round * 31 + i) * 977 % 60000) + 1;
            assert_int_equal(append(j, words), GN_OK);
            last++;
            if (gn_journal_has_full_files(j))
                gn_journal_release(j, released = last - (uint64_t)(i % 5));
        }
        if (round % 2) {
            fail_sync = EIO;
            torn = true;
            assert_int_equal(append(j, 9000), GN_IO);
        }
        gn_journal_close(j);
        power_cut();
    }
}

static uint64_t flipped_at;

static void flip(const char *path, disk_file *f)
{
    (void)f;
    int fd = open(path, O_RDWR);
    uint64_t words[PAGE / 8], number = flipped_at;
    for (off_t at = 0; at < FILE_BYTES; at += PAGE) {
        assert_int_equal(pread(fd, words, PAGE, at), PAGE);
        for (int i = 0; i + 1 < PAGE / 8; i++)
            if (words[i] == number && words[i + 1] == number) { /* two words of its payload */
                words[i] ^= 1;
                assert_int_equal(syscall(SYS_pwrite64, fd, words, PAGE, at), PAGE);
                close(fd);
                return;
            }
    }
    close(fd);
}

static void a_flipped_bit_in_any_record_but_the_last_is_corruption(void **state)
{
    (void)state;
    found f;
    gn_journal *j = open_journal(0, &f);
    enum { N = 30 };
    for (int i = 0; i < N; i++)
        assert_int_equal(append(j, 40000), GN_OK); /* 13 a file */
    gn_journal_close(j);
    for (flipped_at = 1; flipped_at <= N; flipped_at++) {
        each_journal_file(flip);
        if (flipped_at < N) {
            assert_int_equal(try_open(0, &j, &f), GN_CORRUPT);
            assert_int_equal(f.n, 0); /* nothing is told before all is known to be right */
        } else {
            j = open_journal(0, &f);
            assert_int_equal(f.last, N - 1);
            gn_journal_close(j);
        }
        power_cut(); /* what is on the disk is as before */
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_power_cut_takes_nothing_that_was_acknowledged),
        TEST(a_record_that_recovery_has_reported_outlives_a_power_cut),
        TEST(a_sync_that_fails_at_the_opening_is_an_error),
        TEST(an_unsynced_record_that_a_power_cut_takes_was_never_there),
        TEST(a_full_disk_and_a_broken_one_are_told_apart),
        TEST(short_and_interrupted_writes_are_gone_on_with),
        TEST(what_an_earlier_use_left_in_a_file_is_never_taken_for_new),
        TEST(a_flipped_bit_in_any_record_but_the_last_is_corruption),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
