/* The Raft log's disk: a synced journal in front of a RocksDB without a write-ahead log of its own.
 *
 * A batch is durable when it is in the journal; RocksDB holds it in memory and flushes when it likes. Every so often a
 * batch contains the number of its journal record, so that what RocksDB has flushed says from where the journal is
 * needed still: all is one column family, whose flushes keep the order of writes. To replay more than is missing does
 * no harm, since the same operations in the same order end in the same contents.
 *
 * One thread at a time gathers all writes that wait into one batch with at most one fdatasync: a strand that lends
 * itself (gn_strand_lend), or else a thread kept for it. So no queue ever blocks, and the more is in flight, the fewer
 * syncs an entry costs. After a failed write nothing more is written: what the kernel did to pages whose sync failed is
 * unknown, and a sync that is tried again may report a success that never happened. */
#include "base/assert.h"
#include "base/journal_private.h"
#include "base/memory.h"
#include "base/real_private.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <rocksdb/c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define BATCH_BYTES (8u << 20)         /* gathered into one batch, beyond its first write */
#define WRITE_BUFFER_BYTES (16u << 20) /* of one memtable; so much of the journal, about, is needed at any time */
#define OPENING_BYTES (8u << 20)       /* must be free when a node starts */
#define BLOCK_CACHE_BYTES (4u << 20)   /* entries are read back by slow followers and after a restart only */

typedef struct real_disk {
    gn_log_disk base;
    rocksdb_t *db;
    rocksdb_options_t *options;
    rocksdb_readoptions_t *read, *scan, *flushed;
    rocksdb_writeoptions_t *unlogged;
    gn_journal *journal;
    rocksdb_writebatch_t *batch;
    pthread_t writer;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t filled;
    gn_disk_write *first, *last;
    bool closing;
    bool writing; /* a thread has the disk: the writer, or a strand that helps */
    /* that thread's alone */
    gn_code failed; /* of the first write that failed */
    char failure[sizeof((gn_disk_write *)0)->message];
    gn_metric *write_seconds, *batch_bytes;
} real_disk;

static real_disk *real_disk_of(gn_log_disk *disk)
{
    return (real_disk *)(void *)disk;
}

/* The C interface of RocksDB reports an error as text alone. */
static gn_code code_of(const char *text)
{
    if (strncmp(text, "Corruption", 10) == 0)
        return GN_CORRUPT;
    if (strstr(text, "No space left on device") || strstr(text, "Disk quota exceeded"))
        return GN_DISK_FULL;
    if (strstr(text, "While lock file") || strstr(text, "lock hold by current process"))
        return GN_LOCKED;
    return GN_IO;
}

static gn_code report(gn_error *err, const char *what, char *text)
{
    gn_code code = code_of(text);
    if (code == GN_LOCKED)
        gn_error_set(err, code, "%s: it is in use by another process", what);
    else
        gn_error_set(err, code, "%s: %s", what, text);
    rocksdb_free(text);
    return code;
}

/* ---- the writer ---- */

static void add_to_batch(rocksdb_writebatch_t *batch, const gn_disk_write *write)
{
    for (size_t i = 0; i < write->n; i++) {
        const gn_disk_op *op = &write->ops[i];
        const char *key = (const char *)op->key.data, *value = (const char *)op->value.data;
        switch (op->kind) {
        case GN_DISK_PUT:
            rocksdb_writebatch_put(batch, key, op->key.len, value, op->value.len);
            break;
        case GN_DISK_DELETE:
            rocksdb_writebatch_delete(batch, key, op->key.len);
            break;
        case GN_DISK_DELETE_RANGE: /* RocksDB fails the batch for an empty range */
            if (gn_bytes_cmp(op->key, op->value) < 0)
                rocksdb_writebatch_delete_range(batch, key, op->key.len, value, op->value.len);
            break;
        }
    }
}

static size_t bytes_of(const gn_disk_write *write)
{
    size_t bytes = 0;
    for (size_t i = 0; i < write->n; i++)
        bytes += write->ops[i].key.len + write->ops[i].value.len;
    return bytes;
}

static void run_done(gn_task *task)
{
    gn_disk_write *write = GN_CONTAINER(task, gn_disk_write, task);
    write->done(write, write->code, write->message);
}

static void complete(real_disk *disk, gn_disk_write *write)
{
    for (gn_disk_write *next; write; write = next) {
        next = write->next;
        write->code = disk->failed;
        memcpy(write->message, disk->failure, sizeof write->message);
        write->task.run = run_done;
        gn_queue_post(write->queue, &write->task);
    }
}

static void fail(real_disk *disk, gn_code code, const char *text)
{
    disk->failed = code;
    snprintf(disk->failure, sizeof disk->failure, "could not write the Raft log: %.160s", text);
}

/* The number of the journal record that a batch is, under a key above all others: in large batches and in every
 * POSITION_EVERYth, since each costs an insertion into RocksDB. */
static const char POSITION_KEY[] = "\xff\xff\xff\xff\xff\xff\xff\xff journal";
enum { POSITION_KEY_LEN = sizeof POSITION_KEY - 1, POSITION_EVERY = 16, POSITION_BYTES = 64 << 10 };

static gn_code read_position(real_disk *disk, uint64_t *position, gn_error *err)
{
    char *text = NULL;
    size_t len = 0;
    *position = 0;
    char *value = rocksdb_get(disk->db, disk->flushed, POSITION_KEY, POSITION_KEY_LEN, &len, &text);
    if (text)
        return report(err, "could not read the Raft log", text);
    if (value && len == sizeof *position)
        memcpy(position, value, sizeof *position);
    bool malformed = value && len != sizeof *position;
    rocksdb_free(value);
    return malformed ? gn_error_set(err, GN_CORRUPT, "the Raft log's position is malformed") : GN_OK;
}

/* Journal files whose records RocksDB has flushed are free. Not to know which are costs disk space only. */
static void release_flushed(real_disk *disk)
{
    uint64_t position;
    if (gn_journal_has_full_files(disk->journal) && read_position(disk, &position, NULL) == GN_OK)
        gn_journal_release(disk->journal, position);
}

static void write_batch(real_disk *disk, size_t bytes)
{
    uint64_t start = gn_now_ns(disk->base.world), seq = gn_journal_next_seq(disk->journal);
    gn_error err = {0};
    char *text = NULL;
    size_t len;
    if (bytes >= POSITION_BYTES || seq % POSITION_EVERY == 0)
        rocksdb_writebatch_put(disk->batch, POSITION_KEY, POSITION_KEY_LEN, (const char *)&seq, sizeof seq);
    const char *data = rocksdb_writebatch_data(disk->batch, &len);
    gn_code code = gn_journal_append(disk->journal, gn_bytes_of(data, len), &err);
    if (code == GN_OK)
        rocksdb_write(disk->db, disk->unlogged, disk->batch, &text);
    rocksdb_writebatch_clear(disk->batch);
    if (code != GN_OK)
        fail(disk, code, err.message);
    if (text) {
        fail(disk, code_of(text), text);
        rocksdb_free(text);
    }
    release_flushed(disk);
    gn_histogram_observe(disk->write_seconds, (double)(gn_now_ns(disk->base.world) - start) * 1e-9);
    gn_histogram_observe(disk->batch_bytes, (double)bytes);
}

static gn_code replay(void *ctx, gn_bytes payload, gn_error *err)
{
    real_disk *disk = ctx;
    char *text = NULL;
    rocksdb_writebatch_t *batch = rocksdb_writebatch_create_from((const char *)payload.data, payload.len);
    rocksdb_write(disk->db, disk->unlogged, batch, &text);
    rocksdb_writebatch_destroy(batch);
    return text ? report(err, "could not replay the Raft log's journal", text) : GN_OK;
}

/* Writes the head of the list and returns the rest. */
static gn_disk_write *write_some(real_disk *disk, gn_disk_write *first)
{
    gn_disk_write *last = NULL, *rest = first;
    size_t bytes = 0;
    while (rest && (!last || bytes + bytes_of(rest) <= BATCH_BYTES)) {
        bytes += bytes_of(rest);
        if (!disk->failed)
            add_to_batch(disk->batch, rest);
        last = rest;
        rest = rest->next;
    }
    last->next = NULL;
    if (!disk->failed)
        write_batch(disk, bytes);
    complete(disk, first);
    return rest;
}

/* Under the lock; writes all that waits. */
static void write_waiting(real_disk *disk)
{
    gn_disk_write *waiting = disk->first;
    disk->first = disk->last = NULL;
    pthread_mutex_unlock(&disk->lock);
    while (waiting)
        waiting = write_some(disk, waiting);
    pthread_mutex_lock(&disk->lock);
}

static void *writer_main(void *arg)
{
    real_disk *disk = arg;
    gn_real_thread_name("gn-log-disk");
    pthread_mutex_lock(&disk->lock);
    for (;;) {
        if (disk->first && !disk->writing) {
            disk->writing = true;
            pthread_mutex_unlock(&disk->lock);
            if (!gn_real_disk_thread(&disk->base))
                return NULL;
            pthread_mutex_lock(&disk->lock);
        } else if (disk->closing && !disk->first && !disk->writing) {
            break;
        } else {
            pthread_cond_wait(&disk->filled, &disk->lock);
        }
    }
    pthread_mutex_unlock(&disk->lock);
    return NULL;
}

/* Under the lock, for the last time: the disk may be closed and gone when the lock is free. */
static void give_back(real_disk *disk)
{
    disk->writing = false;
    if (disk->first || disk->closing)
        pthread_cond_signal(&disk->filled);
}

bool gn_real_disk_work(gn_log_disk *base)
{
    real_disk *disk = real_disk_of(base);
    pthread_mutex_lock(&disk->lock);
    write_waiting(disk);
    bool more = disk->first;
    if (!more)
        give_back(disk);
    pthread_mutex_unlock(&disk->lock);
    return more;
}

void gn_real_disk_give_back(gn_log_disk *base)
{
    real_disk *disk = real_disk_of(base);
    pthread_mutex_lock(&disk->lock);
    give_back(disk);
    pthread_mutex_unlock(&disk->lock);
}

bool gn_real_disk_replace_thread(gn_log_disk *base)
{
    real_disk *disk = real_disk_of(base);
    pthread_t other;
    pthread_mutex_lock(&disk->lock);
    bool ok = pthread_create(&other, NULL, writer_main, disk) == 0;
    if (ok) {
        pthread_detach(disk->writer);
        disk->writer = other;
    }
    pthread_mutex_unlock(&disk->lock);
    return ok;
}

void gn_real_log_disk_write(gn_log_disk *base, gn_disk_write *write)
{
    real_disk *disk = real_disk_of(base);
    write->next = NULL;
    pthread_mutex_lock(&disk->lock);
    GN_ASSERT(!disk->closing);
    if (disk->first)
        disk->last->next = write;
    else
        disk->first = write;
    disk->last = write;
    bool wake = !disk->writing;
    if (wake && gn_real_help_disk(base)) {
        disk->writing = true;
        wake = false;
    }
    pthread_mutex_unlock(&disk->lock);
    if (wake)
        pthread_cond_signal(&disk->filled);
}

/* ---- reading ---- */

gn_code gn_real_log_disk_get(gn_log_disk *base, gn_bytes key, gn_buf *value, gn_error *err)
{
    real_disk *disk = real_disk_of(base);
    char *text = NULL;
    rocksdb_pinnableslice_t *found = rocksdb_get_pinned(disk->db, disk->read, (const char *)key.data, key.len, &text);
    if (text)
        return report(err, "could not read the Raft log", text);
    if (!found)
        return GN_NO_DATA;
    size_t len;
    const char *data = rocksdb_pinnableslice_value(found, &len);
    gn_code code = gn_buf_append(value, data, len) ? GN_OK : gn_error_oom(err, value->account);
    rocksdb_pinnableslice_destroy(found);
    return code;
}

gn_code gn_real_log_disk_scan(gn_log_disk *base, gn_bytes from, gn_bytes to,
                              bool (*fn)(void *ctx, gn_bytes key, gn_bytes value), void *ctx, gn_error *err)
{
    real_disk *disk = real_disk_of(base);
    rocksdb_iterator_t *it = rocksdb_create_iterator(disk->db, disk->scan);
    char *text = NULL;
    for (rocksdb_iter_seek(it, (const char *)from.data, from.len); rocksdb_iter_valid(it); rocksdb_iter_next(it)) {
        size_t key_len, value_len;
        const char *k = rocksdb_iter_key(it, &key_len);
        gn_bytes key = gn_bytes_of(k, key_len);
        if (gn_bytes_cmp(key, to) >= 0)
            break;
        if (gn_bytes_eq(key, gn_bytes_of(POSITION_KEY, POSITION_KEY_LEN)))
            break; /* no other is above it */
        const char *v = rocksdb_iter_value(it, &value_len);
        if (!fn(ctx, key, gn_bytes_of(v, value_len)))
            break;
    }
    rocksdb_iter_get_error(it, &text);
    rocksdb_iter_destroy(it);
    return text ? report(err, "could not read the Raft log", text) : GN_OK;
}

/* ---- life ---- */

static rocksdb_options_t *log_options(void)
{
    rocksdb_options_t *o = rocksdb_options_create();
    rocksdb_options_set_create_if_missing(o, 1);
    rocksdb_options_set_paranoid_checks(o, 1);
    rocksdb_options_set_compression(o, rocksdb_no_compression); /* entries come compressed or are gone soon */
    rocksdb_options_set_write_buffer_size(o, WRITE_BUFFER_BYTES);
    rocksdb_options_set_max_write_buffer_number(o, 3);
    rocksdb_options_set_max_background_jobs(o, 2);
    rocksdb_options_set_allow_concurrent_memtable_write(o, 0); /* one writer */
    rocksdb_options_set_max_open_files(o, 128);
    rocksdb_options_set_keep_log_file_num(o, 2);
    rocksdb_options_set_info_log_level(o, 2 /* warnings */);
    rocksdb_options_set_stats_dump_period_sec(o, 0);
    rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();
    rocksdb_cache_t *cache = rocksdb_cache_create_lru(BLOCK_CACHE_BYTES);
    rocksdb_block_based_options_set_block_cache(table, cache);
    rocksdb_options_set_block_based_table_factory(o, table);
    rocksdb_block_based_options_destroy(table);
    rocksdb_cache_destroy(cache);
    return o;
}

/* The directory's own name must be durable too; RocksDB syncs what is inside. */
static gn_code make_dir(const char *dir, gn_error *err)
{
    if (mkdir(dir, 0700) != 0)
        return errno == EEXIST ? GN_OK : gn_error_errno(err, GN_IO, errno, "could not create directory \"%s\"", dir);
    char above[4096];
    if (snprintf(above, sizeof above, "%s/..", dir) >= (int)sizeof above)
        return gn_error_set(err, GN_LIMIT, "the path \"%.100s...\" is too long", dir);
    int fd = open(above, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int failed = fd < 0 || fsync(fd) != 0;
    gn_code code = failed ? gn_error_errno(err, GN_IO, errno, "could not sync directory \"%s\"", above) : GN_OK;
    if (fd >= 0)
        close(fd);
    return code;
}

/* RocksDB 7.8 writes when it opens a database, and on a full disk fails an assertion of its own instead of answering. A
 * node that found room enough here may still run out of it later; that is an error of a write, and handled as one. */
static gn_code need_room(const char *dir, gn_error *err)
{
    struct statvfs room;
    if (statvfs(dir, &room) != 0)
        return gn_error_errno(err, GN_IO, errno, "could not ask how much room is in \"%s\"", dir);
    uint64_t bytes = (uint64_t)room.f_bavail * room.f_frsize;
    if (bytes >= OPENING_BYTES)
        return GN_OK;
    gn_error_set(err, GN_DISK_FULL, "no space left in \"%s\": %llu bytes are free, and a start needs %u", dir,
                 (unsigned long long)bytes, OPENING_BYTES);
    return gn_error_hint(err, "Nothing is lost; make room and start again.");
}

static void free_disk(real_disk *disk)
{
    if (disk->db)
        rocksdb_close(disk->db); /* it flushes what it has in memory */
    gn_journal_close(disk->journal);
    rocksdb_writebatch_destroy(disk->batch);
    rocksdb_writeoptions_destroy(disk->unlogged);
    rocksdb_readoptions_destroy(disk->flushed);
    rocksdb_readoptions_destroy(disk->read);
    rocksdb_readoptions_destroy(disk->scan);
    rocksdb_options_destroy(disk->options);
    pthread_mutex_destroy(&disk->lock);
    pthread_cond_destroy(&disk->filled);
    free(disk);
}

static real_disk *new_disk(gn_world *world)
{
    real_disk *disk = gn_xcalloc(1, sizeof *disk);
    disk->base.world = world;
    disk->options = log_options();
    disk->read = rocksdb_readoptions_create();
    disk->scan = rocksdb_readoptions_create();
    rocksdb_readoptions_set_fill_cache(disk->scan, 0);
    disk->flushed = rocksdb_readoptions_create();
    rocksdb_readoptions_set_read_tier(disk->flushed, 2); /* kPersistedTier: not what is in memory alone */
    disk->unlogged = rocksdb_writeoptions_create();
    rocksdb_writeoptions_disable_WAL(disk->unlogged, 1);
    disk->batch = rocksdb_writebatch_create();
    pthread_mutex_init(&disk->lock, NULL);
    pthread_cond_init(&disk->filled, NULL);
    disk->write_seconds =
        gn_histogram("gnomon_raft_log_write_seconds", NULL, "Time of one write to the Raft log's disk, with its sync.");
    disk->batch_bytes = gn_histogram("gnomon_raft_log_write_bytes", NULL, "Bytes gathered into one such write.");
    return disk;
}

gn_code gn_real_log_disk_open(gn_world *world, const char *dir, gn_log_disk **out, gn_error *err)
{
    gn_code code = make_dir(dir, err);
    if (code == GN_OK)
        code = need_room(dir, err);
    if (code != GN_OK)
        return code;
    real_disk *disk = new_disk(world);
    char *text = NULL, what[300];
    disk->db = rocksdb_open(disk->options, dir, &text);
    if (text) {
        snprintf(what, sizeof what, "could not open the Raft log in \"%s\"", dir);
        code = report(err, what, text);
        disk->db = NULL;
        goto out;
    }
    uint64_t position;
    code = read_position(disk, &position, err);
    if (code == GN_OK)
        code = gn_journal_open(dir, gn_random_u64(world), position, replay, disk, &disk->journal, err);
    if (code != GN_OK)
        goto out;
    if (pthread_create(&disk->writer, NULL, writer_main, disk) != 0) {
        code = gn_error_set(err, GN_RESOURCES, "could not start a thread for the Raft log's disk");
        goto out;
    }
    *out = &disk->base;
    disk = NULL;
out:
    if (disk)
        free_disk(disk);
    return code;
}

void gn_real_log_disk_close(gn_log_disk *base)
{
    real_disk *disk = real_disk_of(base);
    pthread_mutex_lock(&disk->lock);
    disk->closing = true;
    pthread_cond_signal(&disk->filled);
    pthread_t writer = disk->writer;
    pthread_mutex_unlock(&disk->lock);
    pthread_join(writer, NULL);
    free_disk(disk);
}
