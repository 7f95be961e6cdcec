/* The host: its queue, its log disk, the groups that moved in the task at hand (the turn), and fail-stop. */
#include "raft/raft_private.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { STORE_SIZE = 9 };

uint64_t gn_raft_now_ms(const gn_raft_host *host)
{
    return gn_now_ns(host->world) / 1000000;
}

/* ---- groups by id ---- */

static size_t lower_bound(const gn_raft_host *host, uint64_t id)
{
    size_t lo = 0, hi = host->n_groups;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (host->groups[mid]->id < id)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

gn_raft_group *gn_raft_host_find(const gn_raft_host *host, uint64_t id)
{
    size_t i = lower_bound(host, id);
    return i < host->n_groups && host->groups[i]->id == id ? host->groups[i] : NULL;
}

void gn_raft_host_add(gn_raft_host *host, gn_raft_group *group)
{
    size_t i = lower_bound(host, group->id);
    if (host->n_groups == host->cap_groups) {
        host->cap_groups = host->cap_groups ? host->cap_groups * 2 : 8;
        host->groups = gn_xrealloc(host->groups, host->cap_groups * sizeof(gn_raft_group *));
    }
    memmove(host->groups + i + 1, host->groups + i, (host->n_groups - i) * sizeof(gn_raft_group *));
    host->groups[i] = group;
    host->n_groups++;
    gn_gauge_add(host->metrics.groups, 1);
}

void gn_raft_host_forget(gn_raft_host *host, gn_raft_group *group)
{
    size_t i = lower_bound(host, group->id);
    GN_ASSERT(i < host->n_groups && host->groups[i] == group);
    host->n_groups--;
    memmove(host->groups + i, host->groups + i + 1, (host->n_groups - i) * sizeof(gn_raft_group *));
    gn_gauge_add(host->metrics.groups, -1);
}

void gn_raft_host_scratch(gn_raft_host *host, size_t n)
{
    if (n <= host->cap_entries)
        return;
    size_t cap = host->cap_entries ? host->cap_entries : 256;
    while (cap < n)
        cap *= 2;
    host->entries = gn_xrealloc(host->entries, cap * sizeof *host->entries);
    host->slots = gn_xrealloc(host->slots, cap * sizeof *host->slots);
    host->cap_entries = cap;
}

/* ---- the turn ---- */

void gn_raft_host_turn(gn_raft_host *host)
{
    do {
        gn_raft_group *group;
        while ((group = host->touched)) {
            host->touched = group->touched_next;
            group->touched = false;
            gn_raft_group_advance(group); /* may free the group */
        }
        gn_raft_submit_release(host);
        if (!host->touched)
            gn_raft_batch_kick(host);
    } while (host->touched);
    gn_raft_transport_flush(host);
    gn_raft_deadline_arm(host);
}

/* Requests come as a stack that any thread pushes on; the push that finds it empty posts the task. */
static void inbox_run(gn_task *task)
{
    gn_raft_host *host = GN_CONTAINER(task, gn_raft_host, inbox_task);
    gn_raft_request *newest = atomic_exchange(&host->inbox, NULL), *oldest = NULL;
    while (newest) {
        gn_raft_request *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    while (oldest) {
        gn_raft_request *request = oldest;
        oldest = oldest->next;
        request->next = NULL;
        gn_raft_group_route(request->group, request);
    }
    gn_raft_host_turn(host);
}

static void address(gn_raft_group *group, gn_raft_request *request, gn_raft_request_kind kind, gn_node_id target)
{
    request->group = group;
    request->kind = kind;
    request->target = target;
    request->leader = 0;
    request->index = 0;
    request->term = 0;
}

/* A chain by `next`, which ends with `oldest`. */
static void push(gn_raft_host *host, gn_raft_request *newest, gn_raft_request *oldest)
{
    gn_raft_request *head = atomic_load(&host->inbox);
    do {
        oldest->next = head;
    } while (!atomic_compare_exchange_weak(&host->inbox, &head, newest));
    if (!head)
        gn_queue_post(host->queue, &host->inbox_task);
}

static void send_request(gn_raft_group *group, gn_raft_request *request, gn_raft_request_kind kind, gn_node_id target)
{
    address(group, request, kind, target);
    push(group->host, request, request);
}

void gn_raft_submit(gn_raft_group *group, gn_raft_request *request)
{
    send_request(group, request, GN_RAFT_SUBMIT, 0);
}

void gn_raft_read_index(gn_raft_group *group, gn_raft_request *request)
{
    if (!gn_raft_read_alone(group, request))
        send_request(group, request, GN_RAFT_READ, 0);
}

void gn_raft_read_index_all(gn_raft_group *const *groups, gn_raft_request *const *requests, size_t n)
{
    gn_raft_request *newest = NULL, *oldest = NULL;
    for (size_t i = 0; i < n; i++) {
        if (gn_raft_read_alone(groups[i], requests[i]))
            continue;
        address(groups[i], requests[i], GN_RAFT_READ, 0);
        requests[i]->next = newest;
        newest = requests[i];
        oldest = oldest ? oldest : newest;
    }
    if (newest)
        push(oldest->group->host, newest, oldest);
}

static void told(gn_raft_request *request, gn_code code)
{
    (void)code;
    free(request);
}

void gn_raft_tell_commit(gn_raft_group *group, gn_node_id member)
{
    gn_raft_request *request = gn_xcalloc(1, sizeof *request);
    request->done = told;
    send_request(group, request, GN_RAFT_TELL, member);
}

void gn_raft_add(gn_raft_group *group, gn_node_id id, gn_raft_request *request)
{
    send_request(group, request, GN_RAFT_ADD, id);
}

void gn_raft_promote(gn_raft_group *group, gn_node_id id, gn_raft_request *request)
{
    send_request(group, request, GN_RAFT_PROMOTE, id);
}

void gn_raft_remove(gn_raft_group *group, gn_node_id id, gn_raft_request *request)
{
    send_request(group, request, GN_RAFT_REMOVE, id);
}

void gn_raft_transfer(gn_raft_group *group, gn_node_id id, gn_raft_request *request)
{
    send_request(group, request, GN_RAFT_TRANSFER, id);
}

void gn_raft_take_snapshot(gn_raft_group *group, gn_raft_request *request)
{
    send_request(group, request, GN_RAFT_SNAPSHOT_NOW, 0);
}

/* ---- requests ---- */

void gn_raft_fifo_push(gn_raft_fifo *fifo, gn_raft_request *request)
{
    request->next = NULL;
    if (fifo->tail)
        fifo->tail->next = request;
    else
        fifo->head = request;
    fifo->tail = request;
    fifo->n++;
}

gn_raft_request *gn_raft_fifo_pop(gn_raft_fifo *fifo)
{
    gn_raft_request *request = fifo->head;
    if (!request)
        return NULL;
    fifo->head = request->next;
    if (!fifo->head)
        fifo->tail = NULL;
    fifo->n--;
    request->next = NULL;
    return request;
}

void gn_raft_finish(gn_raft_request *request, gn_code code)
{
    request->done(request, code);
}

void gn_raft_request_done(gn_raft_request *request, gn_code code)
{
    _Atomic uint64_t *acknowledged = &request->group->acknowledged;
    uint64_t known = atomic_load(acknowledged);
    while (known < request->index && !atomic_compare_exchange_weak(acknowledged, &known, request->index))
        ;
    gn_raft_finish(request, code);
}

void gn_raft_fifo_finish(gn_raft_fifo *fifo, gn_code code, gn_node_id leader)
{
    gn_raft_fifo all = *fifo; /* a callback may submit again */
    *fifo = (gn_raft_fifo){0};
    for (gn_raft_request *request; (request = gn_raft_fifo_pop(&all));) {
        request->leader = leader;
        gn_raft_finish(request, code);
    }
}

/* ---- fail-stop ---- */

void gn_raft_host_fail(gn_raft_host *host, gn_code code, const char *message)
{
    if (host->failed)
        return;
    host->failed = true;
    host->failed_code = code;
    gn_log_error("raft", "the log's disk failed; all groups stop", GN_KV_STR("code", gn_code_name(code)),
                 GN_KV_STR("message", message));
    for (size_t i = 0; i < host->n_groups; i++)
        gn_raft_group_stop(host->groups[i], GN_CRASH_SHUTDOWN, "the log's disk failed");
    if (host->options.failed)
        host->options.failed(host->options.failed_ctx, code, message);
}

/* ---- open and close ---- */

static void register_metrics(gn_raft_metrics *m)
{
    m->entries = gn_counter("gnomon_raft_entries_total", NULL, "Log entries written");
    m->bytes = gn_counter("gnomon_raft_log_bytes_total", NULL, "Bytes written to the log");
    m->batches = gn_counter("gnomon_raft_batches_total", NULL, "Synced writes of the log");
    m->batch_entries = gn_histogram("gnomon_raft_batch_entries", NULL, "Entries in one write of the log");
    m->sync_seconds = gn_histogram("gnomon_raft_sync_seconds", NULL, "Time of one write of the log with its fsync");
    m->term_changes = gn_counter("gnomon_raft_term_changes_total", NULL, "Times that a group's term changed");
    m->elections = gn_counter("gnomon_raft_elections_won_total", NULL, "Times that this node began to lead a group");
    m->applied = gn_counter("gnomon_raft_applied_total", NULL, "Commands given to the state machines");
    m->reads = gn_counter("gnomon_raft_reads_total", NULL, "Linearizable reads confirmed");
    m->read_rounds = gn_counter("gnomon_raft_read_rounds_total", NULL, "Rounds of messages that confirmed reads");
    m->messages_sent = gn_counter("gnomon_raft_messages_sent_total", NULL, "Messages sent to peers");
    m->messages_received = gn_counter("gnomon_raft_messages_received_total", NULL, "Messages received from peers");
    m->messages_bad = gn_counter("gnomon_raft_messages_bad_total", NULL, "Messages refused as malformed or damaged");
    m->snapshots_taken = gn_counter("gnomon_raft_snapshots_taken_total", NULL, "Snapshots taken");
    m->snapshots_installed = gn_counter("gnomon_raft_snapshots_installed_total", NULL, "Snapshots installed");
    m->snapshots_put_off = gn_counter("gnomon_raft_snapshots_put_off_total", NULL,
                                      "Snapshots whose files could not be had and that were put off");
    m->groups = gn_gauge("gnomon_raft_groups", NULL, "Groups open on this node");
    m->leaders = gn_gauge("gnomon_raft_leaders", NULL, "Groups that this node leads");
}

typedef struct store_write {
    gn_disk_write write;
    gn_event done;
    gn_code code;
    char message[200];
} store_write;

static void store_written(gn_disk_write *write, gn_code code, const char *message)
{
    store_write *w = GN_CONTAINER(write, store_write, write);
    w->code = code;
    snprintf(w->message, sizeof w->message, "%s", message);
    gn_event_signal(&w->done);
}

gn_code gn_raft_write_now(gn_raft_host *host, const gn_disk_op *ops, size_t n, gn_error *err)
{
    store_write w = {.code = GN_OK};
    w.write = (gn_disk_write){.ops = ops, .n = n, .sync = true, .queue = host->queue, .done = store_written};
    gn_event_init(&w.done, host->world);
    gn_log_disk_write(host->disk, &w.write);
    gn_event_wait(&w.done, UINT64_MAX);
    return w.code == GN_OK ? GN_OK : gn_error_set(err, w.code, "could not write the Raft log: %s", w.message);
}

gn_code gn_raft_erase(gn_raft_host *host, uint64_t id, gn_error *err)
{
    uint8_t from[GN_RAFT_KEY_SIZE], to[GN_RAFT_KEY_SIZE];
    gn_raft_key(from, id, GN_RAFT_KIND_STORE, 0);
    gn_raft_key(to, id + 1, GN_RAFT_KIND_STORE, 0);
    gn_disk_op op = {
        .kind = GN_DISK_DELETE_RANGE, .key = gn_bytes_of(from, sizeof from), .value = gn_bytes_of(to, sizeof to)};
    GN_ASSERT(id != 0); /* where the store's own record is */
    return gn_raft_write_now(host, &op, 1, err);
}

static bool any_record(void *ctx, gn_bytes key, gn_bytes value)
{
    (void)key, (void)value;
    *(bool *)ctx = true;
    return false;
}

static gn_code write_store(gn_raft_host *host, uint32_t version, gn_error *err)
{
    uint8_t key[GN_RAFT_KEY_SIZE], record[STORE_SIZE] = {(uint8_t)version};
    gn_raft_key(key, 0, GN_RAFT_KIND_STORE, 0);
    for (int i = 0; i < 8; i++)
        record[1 + i] = (uint8_t)(host->self >> (56 - 8 * i));
    gn_disk_op put = {
        .kind = GN_DISK_PUT, .key = gn_bytes_of(key, sizeof key), .value = gn_bytes_of(record, sizeof record)};
    gn_code code = gn_raft_write_now(host, &put, 1, err);
    if (code == GN_OK)
        host->version = version;
    return code;
}

/* Nothing may be there yet: a directory that has lost its first record is not a new one. Whoever is new knows nothing
 * of the cluster's version, so begins with the first. */
static gn_code make_store(gn_raft_host *host, gn_error *err)
{
    uint8_t key[GN_RAFT_KEY_SIZE], end[GN_RAFT_KEY_SIZE];
    bool any = false;
    gn_raft_key(key, 0, GN_RAFT_KIND_STORE, 0);
    memset(end, 0xff, sizeof end);
    gn_code code =
        gn_log_disk_scan(host->disk, gn_bytes_of(key, sizeof key), gn_bytes_of(end, sizeof end), any_record, &any, err);
    if (code == GN_OK && any)
        code = gn_error_set(err, GN_CORRUPT, "the Raft log in \"%s\" lacks its first record", host->log_dir);
    return code == GN_OK ? write_store(host, host->options.versions.least, err) : code;
}

static gn_code judge_store(gn_raft_host *host, gn_bytes record, gn_error *err)
{
    gn_reader r = gn_reader_of(record);
    gn_version_range can = host->options.versions;
    host->version = gn_read_u8(&r);
    uint64_t node = gn_read_be64(&r);
    if (r.failed || record.len != STORE_SIZE || host->version == 0)
        return gn_error_set(err, GN_CORRUPT, "the first record of the Raft log in \"%s\" is damaged", host->log_dir);
    if (node != host->self)
        return gn_error_set(err, GN_CONFIGURATION, "the Raft log in \"%s\" belongs to another node than %" PRIu64,
                            host->log_dir, host->self);
    if (gn_version_can(can, host->version))
        return GN_OK;
    gn_error_set(err, GN_CONFIGURATION,
                 "the data in \"%s\" are of cluster version %u, and this gnomond can do versions %u to %u only",
                 host->log_dir, host->version, can.least, can.most);
    gn_error_hint(err, host->version > can.most
                           ? "The cluster's upgrade was finished with a newer gnomond: start that one."
                           : "Upgrade over a release in between, and finish that upgrade first.");
    return GN_CONFIGURATION;
}

/* The store's own record names the cluster version and the node: a log that belongs to another node, copied here by
 * mistake, must not vote, and one that a newer build has written must not be misread. */
static gn_code check_store(gn_raft_host *host, gn_error *err)
{
    uint8_t key[GN_RAFT_KEY_SIZE];
    gn_buf value;
    gn_buf_init(&value, NULL, 4096);
    gn_raft_key(key, 0, GN_RAFT_KIND_STORE, 0);
    gn_code code = gn_log_disk_get(host->disk, gn_bytes_of(key, sizeof key), &value, err);
    if (code == GN_NO_DATA)
        code = make_store(host, err);
    else if (code == GN_OK)
        code = judge_store(host, gn_buf_bytes(&value), err);
    gn_buf_close(&value);
    return code;
}

gn_code gn_raft_host_raise(gn_raft_host *host, uint32_t version, gn_error *err)
{
    GN_ASSERT(gn_version_can(host->options.versions, version) && version < UINT8_MAX);
    return version > host->version ? write_store(host, version, err) : GN_OK;
}

typedef struct host_call {
    gn_task task;
    gn_event done;
    gn_raft_host *host;
} host_call;

static void run_on_queue(gn_raft_host *host, void (*run)(gn_task *task))
{
    host_call call = {.task.run = run, .host = host};
    gn_event_init(&call.done, host->world);
    gn_queue_post(host->queue, &call.task);
    gn_event_wait(&call.done, UINT64_MAX);
}

static void begin(gn_task *task)
{
    host_call *call = GN_CONTAINER(task, host_call, task);
    gn_timer_init(&call->host->timer, call->host->queue, gn_raft_deadline_fire);
    gn_timer_init(&call->host->gather_timer, call->host->queue, gn_raft_submit_gathered);
    gn_net_listen(call->host->world, GN_RAFT_CHANNEL, call->host->queue, gn_raft_transport_receive, call->host);
    gn_event_signal(&call->done);
}

static void end(gn_task *task)
{
    host_call *call = GN_CONTAINER(task, host_call, task);
    gn_net_listen(call->host->world, GN_RAFT_CHANNEL, call->host->queue, NULL, NULL);
    gn_timer_close(&call->host->timer);
    gn_timer_close(&call->host->gather_timer);
    gn_event_signal(&call->done);
}

static void free_host(gn_raft_host *host)
{
    for (int i = 0; i < 2; i++)
        gn_raft_batch_close(&host->batch[i]);
    gn_raft_transport_close(host);
    free(host->groups);
    free(host->deadlines);
    free(host->entries);
    free(host->slots);
    free(host->log_dir);
    free(host);
}

gn_code gn_raft_host_open(gn_world *world, const gn_raft_options *options, gn_raft_host **out, gn_error *err)
{
    gn_raft_host *host = gn_xcalloc(1, sizeof *host);
    host->world = world;
    host->options = *options;
    host->log_dir = gn_xstrdup(options->log_dir);
    host->options.log_dir = host->log_dir;
    host->options.versions = gn_version_range_or_own(options->versions);
    host->options.election_timeout_ms = options->election_timeout_ms ? options->election_timeout_ms : 1000;
    host->options.heartbeat_ms = options->heartbeat_ms ? options->heartbeat_ms : 100;
    host->options.snapshot_threshold_bytes =
        options->snapshot_threshold_bytes ? options->snapshot_threshold_bytes : 64u << 20;
    host->options.log_keep_bytes = options->log_keep_bytes ? options->log_keep_bytes : 8u << 20;
    host->self = gn_net_self(world);
    snprintf(host->address, sizeof host->address, "%" PRIu64, host->self);
    host->inbox_task.run = inbox_run;
    for (int i = 0; i < 2; i++)
        gn_raft_batch_init(&host->batch[i], host);
    host->batch[0].seq = 1;
    register_metrics(&host->metrics);
    host->queue = gn_queue_create(world, "raft");
    gn_code code = gn_log_disk_open(world, host->log_dir, &host->disk, err);
    if (code == GN_OK) {
        code = check_store(host, err);
        if (code != GN_OK)
            gn_log_disk_close(host->disk);
    }
    if (code != GN_OK) {
        gn_queue_destroy(host->queue);
        free_host(host);
        return code;
    }
    run_on_queue(host, begin);
    *out = host;
    return GN_OK;
}

void gn_raft_host_close(gn_raft_host *host)
{
    GN_ASSERT(host->n_groups == 0);
    run_on_queue(host, end);
    gn_queue_destroy(host->queue);
    gn_log_disk_close(host->disk);
    free_host(host);
}
