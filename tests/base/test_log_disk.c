#include "base/buf.h"
#include "base/memory.h"
#include "base/world.h"
#include "tests/base/cmocka_all.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static gn_world *world;
static gn_queue *queue;
static char dir[256];

static void remove_dir(void)
{
    char command[300];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    assert_int_equal(system(command), 0);
}

static int open_world(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR");
    snprintf(dir, sizeof dir, "%s/gnomon-test-XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(dir));
    world = gn_world_real_create(&(gn_world_options){.threads = 2, .node_id = 1});
    queue = gn_queue_create(world, "disk");
    return 0;
}

static int close_world(void **state)
{
    (void)state;
    gn_queue_destroy(queue);
    gn_world_real_destroy(world);
    remove_dir();
    return 0;
}

static gn_log_disk *open_disk(void)
{
    gn_log_disk *disk;
    gn_error err = {0};
    gn_code code = gn_log_disk_open(world, dir, &disk, &err);
    assert_string_equal(err.message, "");
    assert_int_equal(code, GN_OK);
    return disk;
}

typedef struct waited {
    gn_disk_write write;
    gn_disk_op op;
    gn_event done;
    char key[16];
    int number, *last_number;
    gn_code code;
    char message[200];
} waited;

static void write_done(gn_disk_write *write, gn_code code, const char *message)
{
    waited *w = GN_CONTAINER(write, waited, write);
    assert_true(gn_queue_is_current(queue));
    w->code = code;
    snprintf(w->message, sizeof w->message, "%s", message);
    if (w->last_number) {
        assert_int_equal(w->number, *w->last_number + 1);
        *w->last_number = w->number;
    }
    gn_event_signal(&w->done);
}

static void submit(gn_log_disk *disk, waited *w, const gn_disk_op *ops, size_t n, bool sync)
{
    w->write = (gn_disk_write){.ops = ops, .n = n, .sync = sync, .queue = queue, .done = write_done};
    gn_event_init(&w->done, world);
    gn_log_disk_write(disk, &w->write);
}

static gn_code write_now(gn_log_disk *disk, const gn_disk_op *ops, size_t n)
{
    waited w = {0};
    submit(disk, &w, ops, n, true);
    gn_event_wait(&w.done, UINT64_MAX);
    return w.code;
}

static gn_disk_op put(const char *key, const char *value)
{
    return (gn_disk_op){.kind = GN_DISK_PUT, .key = gn_bytes_str(key), .value = gn_bytes_str(value)};
}

static void assert_value(gn_log_disk *disk, const char *key, const char *value)
{
    gn_buf buf;
    gn_buf_init(&buf, NULL, 1 << 20);
    gn_code code = gn_log_disk_get(disk, gn_bytes_str(key), &buf, NULL);
    assert_int_equal(code, value ? GN_OK : GN_NO_DATA);
    if (value)
        assert_true(gn_bytes_eq(gn_buf_bytes(&buf), gn_bytes_str(value)));
    gn_buf_close(&buf);
}

static void a_batch_is_applied_in_order_and_read_back_after_reopening(void **state)
{
    (void)state;
    gn_log_disk *disk = open_disk();
    gn_disk_op ops[] = {put("a", "1"),
                        put("b", "2"),
                        put("c", "3"),
                        {.kind = GN_DISK_DELETE_RANGE, .key = gn_bytes_str("a"), .value = gn_bytes_str("c")},
                        put("b", "4"),
                        {.kind = GN_DISK_DELETE_RANGE, .key = gn_bytes_str("z"), .value = gn_bytes_str("c")},
                        put("d", ""),
                        put("e", "5"),
                        {.kind = GN_DISK_DELETE, .key = gn_bytes_str("e")}};
    assert_int_equal(write_now(disk, ops, sizeof ops / sizeof ops[0]), GN_OK);
    assert_int_equal(write_now(disk, NULL, 0), GN_OK);
    for (int i = 0; i < 2; i++) {
        assert_value(disk, "a", NULL);
        assert_value(disk, "b", "4");
        assert_value(disk, "c", "3");
        assert_value(disk, "d", "");
        assert_value(disk, "e", NULL);
        gn_log_disk_close(disk);
        disk = open_disk();
    }
    gn_log_disk_close(disk);
}

typedef struct seen {
    char keys[64];
    size_t n, max;
} seen;

static bool see(void *ctx, gn_bytes key, gn_bytes value)
{
    seen *s = ctx;
    assert_int_equal(value.len, 1);
    s->keys[s->n++] = (char)key.data[0];
    s->keys[s->n] = '\0';
    return s->n < s->max;
}

static void a_scan_shows_a_range_in_order_and_ends_when_told(void **state)
{
    (void)state;
    gn_log_disk *disk = open_disk();
    gn_disk_op ops[] = {put("d", "x"), put("b", "x"), put("a", "x"), put("c", "x")};
    assert_int_equal(write_now(disk, ops, 4), GN_OK);
    seen s = {.max = 10};
    assert_int_equal(gn_log_disk_scan(disk, gn_bytes_str("b"), gn_bytes_str("d"), see, &s, NULL), GN_OK);
    assert_string_equal(s.keys, "bc");
    s = (seen){.max = 2};
    assert_int_equal(gn_log_disk_scan(disk, gn_bytes_str("a"), gn_bytes_str("z"), see, &s, NULL), GN_OK);
    assert_string_equal(s.keys, "ab");
    gn_log_disk_close(disk);
}

#define N_WRITES 500

static void writes_complete_in_order_of_submission(void **state)
{
    (void)state;
    gn_log_disk *disk = open_disk();
    waited *writes = gn_xcalloc(N_WRITES, sizeof *writes);
    int last = -1;
    for (int i = 0; i < N_WRITES; i++) {
        waited *w = &writes[i];
        snprintf(w->key, sizeof w->key, "k%d", i);
        w->op = put(w->key, w->key);
        w->number = i;
        w->last_number = &last;
        submit(disk, w, &w->op, 1, i % 5 == 0);
    }
    gn_log_disk_close(disk); /* finishes what waits */
    for (int i = 0; i < N_WRITES; i++) {
        assert_int_equal(gn_event_wait(&writes[i].done, UINT64_MAX), GN_OK);
        assert_int_equal(writes[i].code, GN_OK);
    }
    disk = open_disk();
    for (int i = 0; i < N_WRITES; i++)
        assert_value(disk, writes[i].key, writes[i].key);
    gn_log_disk_close(disk);
    free(writes);
}

/* ---- strands that wait for their writes and help meanwhile: as a commit does ---- */

enum { HELPERS = 6, HELPED_WRITES = 200 };

typedef struct helper {
    gn_log_disk *disk;
    gn_queue *second; /* where a write's completion goes on */
    int number;
    int done;
    bool failed;
    gn_task begin, end;
    gn_disk_write write;
    gn_disk_op op;
    char key[32];
    gn_event event;
} helper;

static void helper_ends(gn_task *task)
{
    helper *h = GN_CONTAINER(task, helper, end);
    h->failed |= !gn_queue_is_current(h->second);
    h->done++;
    gn_event_signal(&h->event);
}

static void helper_written(gn_disk_write *write, gn_code code, const char *message)
{
    helper *h = GN_CONTAINER(write, helper, write);
    h->failed |= code != GN_OK || message[0] || !gn_queue_is_current(queue);
    h->end.run = helper_ends;
    gn_queue_post(h->second, &h->end);
}

static void helper_begins(gn_task *task)
{
    helper *h = GN_CONTAINER(task, helper, begin);
    h->failed |= !gn_queue_is_current(queue);
    h->write = (gn_disk_write){.ops = &h->op, .n = 1, .sync = true, .queue = queue, .done = helper_written};
    gn_log_disk_write(h->disk, &h->write);
}

static void help(void *arg)
{
    helper *h = arg;
    for (int i = 0; i < HELPED_WRITES; i++) {
        snprintf(h->key, sizeof h->key, "%d-%d", h->number, i);
        h->op = put(h->key, h->key);
        h->begin.run = helper_begins;
        gn_event_init(&h->event, world);
        if (i % 4 != 3) /* some do not */
            gn_strand_lend(world);
        gn_queue_post(queue, &h->begin);
        h->failed |= gn_event_wait(&h->event, UINT64_MAX) != GN_OK || h->done != i + 1;
    }
}

static void strands_that_lend_themselves_write_and_drain_and_nothing_is_left_over(void **state)
{
    (void)state;
    gn_log_disk *disk = open_disk();
    gn_queue *second = gn_queue_create(world, "second");
    helper helpers[HELPERS];
    gn_strand *strands[HELPERS];
    for (int n = 1; n <= HELPERS; n += HELPERS - 1) { /* alone, then among others */
        for (int i = 0; i < n; i++) {
            helpers[i] = (helper){.disk = disk, .second = second, .number = n + i};
            strands[i] = gn_strand_start(world, "helper", help, &helpers[i]);
        }
        for (int i = 0; i < n; i++) {
            gn_strand_join(strands[i]);
            assert_false(helpers[i].failed);
            assert_int_equal(helpers[i].done, HELPED_WRITES);
        }
    }
    gn_queue_destroy(second);
    gn_log_disk_close(disk);
    disk = open_disk();
    assert_value(disk, "1-0", "1-0");
    assert_value(disk, "11-199", "11-199");
    gn_log_disk_close(disk);
}

static void a_second_open_of_a_directory_is_refused(void **state)
{
    (void)state;
    gn_log_disk *disk = open_disk(), *second;
    gn_error err = {0};
    assert_int_equal(gn_log_disk_open(world, dir, &second, &err), GN_LOCKED);
    assert_non_null(strstr(err.message, dir));
    pid_t child = fork(); /* and so it is from another process */
    if (child == 0) {
        int fd;
        char path[300];
        snprintf(path, sizeof path, "%s/LOCK", dir);
        fd = open(path, O_RDWR);
        struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        _exit(fcntl(fd, F_SETLK, &lock) == 0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    gn_log_disk_close(disk);
}

static void a_directory_that_cannot_be_made_is_an_error(void **state)
{
    (void)state;
    gn_log_disk *disk;
    gn_error err = {0};
    assert_int_equal(gn_log_disk_open(world, "/proc/no/such", &disk, &err), GN_IO);
    assert_non_null(strstr(err.message, "could not create directory \"/proc/no/such\""));
}

/* A limit on file size stands in for a disk that takes no more. */
static void after_a_failed_write_all_later_ones_fail(void **state)
{
    (void)state;
    gn_log_disk *disk = open_disk();
    gn_disk_op small = put("before", "x");
    assert_int_equal(write_now(disk, &small, 1), GN_OK);
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit old, limit;
    getrlimit(RLIMIT_FSIZE, &old);
    limit = (struct rlimit){.rlim_cur = 64 << 10, .rlim_max = old.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
    char *big = gn_xcalloc(1, 256 << 10);
    gn_disk_op op = {.kind = GN_DISK_PUT, .key = gn_bytes_str("big"), .value = gn_bytes_of(big, 256 << 10)};
    waited w = {0};
    submit(disk, &w, &op, 1, true);
    gn_event_wait(&w.done, UINT64_MAX);
    setrlimit(RLIMIT_FSIZE, &old);
    assert_int_equal(w.code, GN_IO);
    assert_non_null(strstr(w.message, "could not write the Raft log"));
    gn_disk_op later = put("later", "x");
    assert_int_equal(write_now(disk, &later, 1), GN_IO);
    gn_log_disk_close(disk);
    disk = open_disk();
    assert_value(disk, "before", "x");
    assert_value(disk, "later", NULL);
    gn_log_disk_close(disk);
    free(big);
}

static void newest_log_file(char *path, size_t size)
{
    DIR *d = opendir(dir);
    unsigned newest = 0;
    for (struct dirent *e; (e = readdir(d));) {
        unsigned number;
        int end = 0;
        if (sscanf(e->d_name, "%u.log%n", &number, &end) == 1 && end && number > newest)
            newest = number;
    }
    closedir(d);
    assert_true(newest > 0);
    snprintf(path, size, "%s/%06u.log", dir, newest);
}

static void write_some_keys(void)
{
    gn_log_disk *disk = open_disk();
    for (char key[] = "a"; key[0] <= 'j'; key[0]++) {
        gn_disk_op op = put(key, "the value of a key, long enough to be hit");
        assert_int_equal(write_now(disk, &op, 1), GN_OK);
    }
    gn_log_disk_close(disk);
}

static void a_changed_byte_in_the_log_is_reported_as_corruption(void **state)
{
    (void)state;
    write_some_keys();
    char path[300];
    newest_log_file(path, sizeof path);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    int fd = open(path, O_RDWR);
    char byte;
    assert_int_equal(pread(fd, &byte, 1, st.st_size / 2), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, st.st_size / 2), 1);
    close(fd);
    gn_log_disk *disk;
    gn_error err = {0};
    assert_int_equal(gn_log_disk_open(world, dir, &disk, &err), GN_CORRUPT);
    assert_non_null(strstr(err.message, "could not open the Raft log"));
}

static void a_half_written_last_record_is_what_a_crash_leaves(void **state)
{
    (void)state;
    write_some_keys();
    char path[300];
    newest_log_file(path, sizeof path);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(truncate(path, st.st_size - 5), 0);
    gn_log_disk *disk = open_disk();
    assert_value(disk, "i", "the value of a key, long enough to be hit");
    assert_value(disk, "j", NULL);
    gn_log_disk_close(disk);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)
    const struct CMUnitTest tests[] = {
        TEST(a_batch_is_applied_in_order_and_read_back_after_reopening),
        TEST(a_scan_shows_a_range_in_order_and_ends_when_told),
        TEST(writes_complete_in_order_of_submission),
        TEST(strands_that_lend_themselves_write_and_drain_and_nothing_is_left_over),
        TEST(a_second_open_of_a_directory_is_refused),
        TEST(a_directory_that_cannot_be_made_is_an_error),
        TEST(after_a_failed_write_all_later_ones_fail),
        TEST(a_changed_byte_in_the_log_is_reported_as_corruption),
        TEST(a_half_written_last_record_is_what_a_crash_leaves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
