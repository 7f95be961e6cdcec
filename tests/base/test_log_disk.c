#include "base/buf.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/world.h"
#include "tests/base/cmocka_all.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
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
    h->failed |= !gn_queue_is_current(queue) || gn_log_request() != 0; /* whoever lent the thread */
    h->write = (gn_disk_write){.ops = &h->op, .n = 1, .sync = true, .queue = queue, .done = helper_written};
    gn_log_disk_write(h->disk, &h->write);
}

static void help(void *arg)
{
    helper *h = arg;
    uint64_t request = (uint64_t)h->number + 1;
    gn_log_set_request(request);
    for (int i = 0; i < HELPED_WRITES; i++) {
        snprintf(h->key, sizeof h->key, "%d-%d", h->number, i);
        h->op = put(h->key, h->key);
        h->begin.run = helper_begins;
        gn_event_init(&h->event, world);
        if (i % 4 != 3) /* some do not */
            gn_strand_lend(world);
        gn_queue_post(queue, &h->begin);
        h->failed |= gn_event_wait(&h->event, UINT64_MAX) != GN_OK || h->done != i + 1 || gn_log_request() != request;
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

/* ---- a long task does not keep the log waiting ---- */

typedef struct long_task {
    gn_log_disk *disk;
    gn_queue *elsewhere;
    gn_task task;
    gn_disk_write first, second;
    _Atomic bool written;
    gn_event done;
} long_task;

static void second_written(gn_disk_write *write, gn_code code, const char *message)
{
    (void)message;
    assert_int_equal(code, GN_OK);
    GN_CONTAINER(write, long_task, second)->written = true;
}

/* Takes until the write that its thread has just begun is done. */
static void take_long(long_task *t)
{
    static const gn_disk_op op = {.key = {(const uint8_t *)"key", 3}, .value = {(const uint8_t *)"value", 5}};
    t->second = (gn_disk_write){.ops = &op, .n = 1, .sync = true, .queue = t->elsewhere, .done = second_written};
    gn_log_disk_write(t->disk, &t->second);
    gn_task_long(world);
    while (!t->written)
        sched_yield();
    gn_event_signal(&t->done);
}

static void run_long(gn_task *task)
{
    take_long(GN_CONTAINER(task, long_task, task));
}

static void first_written(gn_disk_write *write, gn_code code, const char *message)
{
    (void)code, (void)message;
    take_long(GN_CONTAINER(write, long_task, first));
}

static void a_long_task_hands_its_thread_s_other_work_on(void **state)
{
    (void)state;
    gn_log_disk *disk = open_disk();
    gn_queue *elsewhere = gn_queue_create(world, "elsewhere");
    for (int i = 0; i < 6; i++) {
        long_task t = {.disk = disk, .elsewhere = elsewhere, .task.run = run_long};
        gn_event_init(&t.done, world);
        if (i % 2) { /* on a strand that has lent its thread, or on the disk's own */
            gn_strand_lend(world);
            gn_queue_post(queue, &t.task);
        } else {
            t.first = (gn_disk_write){.queue = queue, .done = first_written};
            gn_log_disk_write(disk, &t.first);
        }
        assert_int_equal(gn_event_wait(&t.done, UINT64_MAX), GN_OK);
    }
    gn_queue_destroy(elsewhere);
    assert_value(disk, "key", "value");
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

/* ---- what crashes and rot leave in the journal ---- */

enum { VALUE = 3000 };

/* In a process of its own, which ends without closing anything: keys k0.. with VALUE bytes each. The program itself
 * with arguments: RocksDB's threads do not survive a fork. */
static int crash_writer(int from, int n)
{
    world = gn_world_real_create(&(gn_world_options){.threads = 2, .node_id = 1});
    queue = gn_queue_create(world, "disk");
    gn_log_disk *disk = open_disk();
    char *value = gn_xcalloc(1, VALUE + 1);
    memset(value, 'v', VALUE);
    for (int i = from; i < from + n; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%d", i);
        gn_disk_op op = put(key, value);
        if (write_now(disk, &op, 1) != GN_OK)
            _exit(1);
    }
    _exit(0);
}

static void write_and_crash(int from, int n)
{
    char program[512], first[16], count[16];
    ssize_t len = readlink("/proc/self/exe", program, sizeof program - 1);
    assert_true(len > 0);
    program[len] = '\0';
    snprintf(first, sizeof first, "%d", from);
    snprintf(count, sizeof count, "%d", n);
    pid_t child = fork();
    if (child == 0) {
        execl(program, program, dir, first, count, NULL);
        _exit(127);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static bool has_key(gn_log_disk *disk, int number)
{
    char key[16];
    gn_buf buf;
    gn_buf_init(&buf, NULL, 1 << 20);
    snprintf(key, sizeof key, "k%d", number);
    gn_code code = gn_log_disk_get(disk, gn_bytes_str(key), &buf, NULL);
    assert_true(code == GN_NO_DATA || (code == GN_OK && buf.len == VALUE));
    gn_buf_close(&buf);
    return code == GN_OK;
}

/* The journal file in which this text is found last, and where. */
static void find_in_journal(const char *text, char path[512], off_t *at)
{
    DIR *d = opendir(dir);
    *at = -1;
    for (struct dirent *e; (e = readdir(d));) {
        char name[512];
        if (!strstr(e->d_name, ".journal"))
            continue;
        snprintf(name, sizeof name, "%s/%s", dir, e->d_name);
        int fd = open(name, O_RDONLY);
        off_t size = lseek(fd, 0, SEEK_END);
        char *data = gn_xcalloc(1, (size_t)size);
        assert_int_equal(pread(fd, data, (size_t)size, 0), size);
        close(fd);
        for (char *p = data; (p = memmem(p, (size_t)(data + size - p), text, strlen(text))); p++) {
            *at = p - data;
            memcpy(path, name, sizeof name);
        }
        free(data);
    }
    closedir(d);
    assert_true(*at >= 0);
}

static void change(const char *path, off_t at, char byte)
{
    int fd = open(path, O_RDWR);
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

static void refused(const char *why)
{
    gn_log_disk *disk;
    gn_error err = {0};
    assert_int_equal(gn_log_disk_open(world, dir, &disk, &err), GN_CORRUPT);
    if (!strstr(err.message, why))
        fail_msg("\"%s\" does not say \"%s\"", err.message, why);
}

static void what_was_acknowledged_outlives_a_crash(void **state)
{
    (void)state;
    write_and_crash(0, 20);
    write_and_crash(20, 20);
    gn_log_disk *disk = open_disk();
    for (int i = 0; i < 40; i++)
        assert_true(has_key(disk, i));
    gn_log_disk_close(disk);
}

/* 60 MB through files of 4 MB: they are used many times over, and there are never many. */
static void files_are_used_again_and_nothing_is_lost(void **state)
{
    (void)state;
    enum { N = 10000 };
    write_and_crash(0, N);
    write_and_crash(N, N);
    int files = 0;
    DIR *d = opendir(dir);
    for (struct dirent *e; (e = readdir(d));)
        files += strstr(e->d_name, ".journal") != NULL;
    closedir(d);
    assert_in_range(files, 2, 12);
    gn_log_disk *disk = open_disk();
    for (int i = 0; i < 2 * N; i++)
        assert_true(has_key(disk, i));
    gn_log_disk_close(disk);
}

static void a_record_larger_than_a_file_is_kept(void **state)
{
    (void)state;
    gn_log_disk *disk = open_disk();
    size_t size = 9 << 20;
    char *big = gn_xcalloc(1, size + 1);
    memset(big, 'b', size);
    gn_disk_op ops[] = {put("before", "x"), put("after", "y")};
    gn_disk_op op = {.kind = GN_DISK_PUT, .key = gn_bytes_str("big"), .value = gn_bytes_of(big, size)};
    assert_int_equal(write_now(disk, &ops[0], 1), GN_OK);
    assert_int_equal(write_now(disk, &op, 1), GN_OK);
    assert_int_equal(write_now(disk, &ops[1], 1), GN_OK);
    for (int i = 0; i < 2; i++) {
        gn_buf buf;
        gn_buf_init(&buf, NULL, 16 << 20);
        assert_int_equal(gn_log_disk_get(disk, gn_bytes_str("big"), &buf, NULL), GN_OK);
        assert_true(gn_bytes_eq(gn_buf_bytes(&buf), op.value));
        gn_buf_close(&buf);
        assert_value(disk, "before", "x");
        assert_value(disk, "after", "y");
        gn_log_disk_close(disk);
        disk = open_disk();
    }
    gn_log_disk_close(disk);
    free(big);
}

static void a_torn_last_record_is_what_a_crash_leaves(void **state)
{
    (void)state;
    char path[512];
    off_t at;
    write_and_crash(0, 10);
    find_in_journal("k9", path, &at);
    change(path, at + VALUE / 2, 0);
    for (int round = 0; round < 2; round++) { /* and what is written in its place stays */
        gn_log_disk *disk = open_disk();
        assert_true(has_key(disk, 8));
        assert_int_equal(has_key(disk, 9), round);
        gn_log_disk_close(disk);
        write_and_crash(9, 2);
    }
}

static void a_changed_byte_before_the_last_record_is_corruption(void **state)
{
    (void)state;
    char path[512];
    off_t at;
    write_and_crash(0, 10);
    find_in_journal("k5", path, &at);
    change(path, at + 100, 'w');
    refused("is damaged or missing");
    change(path, at + 100, 'v');
    gn_log_disk_close(open_disk());
}

static void a_file_that_is_gone_is_corruption(void **state)
{
    (void)state;
    char path[512];
    off_t at;
    write_and_crash(0, 3000); /* three files */
    find_in_journal("k1", path, &at);
    assert_int_equal(unlink(path), 0);
    refused("is damaged or missing");
}

static void the_journal_s_identity_is_needed(void **state)
{
    (void)state;
    char path[512], away[600];
    write_and_crash(0, 3);
    snprintf(path, sizeof path, "%s/JOURNAL", dir);
    change(path, 9, 'x');
    refused("JOURNAL\" is damaged");
    snprintf(away, sizeof away, "%s-away", path);
    assert_int_equal(rename(path, away), 0);
    refused("JOURNAL is missing");
}

int main(int argc, char **argv)
{
    if (argc == 4) {
        snprintf(dir, sizeof dir, "%s", argv[1]);
        return crash_writer(atoi(argv[2]), atoi(argv[3]));
    }
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)
    const struct CMUnitTest tests[] = {
        TEST(a_batch_is_applied_in_order_and_read_back_after_reopening),
        TEST(a_scan_shows_a_range_in_order_and_ends_when_told),
        TEST(writes_complete_in_order_of_submission),
        TEST(strands_that_lend_themselves_write_and_drain_and_nothing_is_left_over),
        TEST(a_long_task_hands_its_thread_s_other_work_on),
        TEST(a_second_open_of_a_directory_is_refused),
        TEST(a_directory_that_cannot_be_made_is_an_error),
        TEST(after_a_failed_write_all_later_ones_fail),
        TEST(what_was_acknowledged_outlives_a_crash),
        TEST(files_are_used_again_and_nothing_is_lost),
        TEST(a_record_larger_than_a_file_is_kept),
        TEST(a_torn_last_record_is_what_a_crash_leaves),
        TEST(a_changed_byte_before_the_last_record_is_corruption),
        TEST(a_file_that_is_gone_is_corruption),
        TEST(the_journal_s_identity_is_needed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
