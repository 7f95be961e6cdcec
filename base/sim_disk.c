/* The simulated disk of the Raft log. A store is what lies on the platter, a handle what a world has open.
 *
 * A store keeps two maps: what reads see, and what a crash leaves; between them lie the batches that were written but
 * not synced. A crash gives the node a new store made of what survived and leaves the old one to the ghost. */
#include "base/assert.h"
#include "base/memory.h"
#include "base/sim_private.h"

#include <stdlib.h>
#include <string.h>

#define UNSYNCED_WRITE_NS 10000u

const gn_sim_disk_faults gn_sim_disk_good = {.min_ns = 50000, .max_ns = 500000, .fail_code = GN_IO};

/* A copy of a write that was reported done, or failed, without being durable. */
typedef struct batch {
    struct batch *next;
    size_t n;
    gn_disk_op ops[];
} batch;

struct sim_store {
    struct sim_store *next; /* of the node; unused once a ghost's */
    char *name;
    sim_map visible, durable;
    batch *unsynced, **unsynced_end;
    struct sim_disk *handle; /* NULL when not open */
};

typedef struct sim_disk {
    gn_log_disk base;
    sim_world *world;
    sim_store *store;
    sim_timed completion; /* of the writes in flight */
    gn_disk_write *in_flight, *waiting, **waiting_end;
    gn_code failed;
} sim_disk;

static sim_disk *sim_disk_of(gn_log_disk *disk)
{
    return (sim_disk *)(void *)disk;
}

/* ---- stores ---- */

static sim_store *store_create(const char *name)
{
    sim_store *store = gn_xcalloc(1, sizeof *store);
    store->name = gn_xstrdup(name);
    store->unsynced_end = &store->unsynced;
    return store;
}

static void forget_unsynced(sim_store *store)
{
    for (batch *b = store->unsynced, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    store->unsynced = NULL;
    store->unsynced_end = &store->unsynced;
}

static void store_free(sim_store *store)
{
    forget_unsynced(store);
    gn_sim_map_free(&store->visible);
    gn_sim_map_free(&store->durable);
    free(store->name);
    free(store);
}

static void apply(sim_map *map, const gn_disk_op *ops, size_t n)
{
    for (size_t i = 0; i < n; i++)
        gn_sim_map_apply(map, &ops[i]);
}

static void add_unsynced(sim_store *store, const gn_disk_op *ops, size_t n)
{
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++)
        bytes += ops[i].key.len + ops[i].value.len;
    batch *b = gn_xmalloc(sizeof *b + n * sizeof b->ops[0] + bytes);
    *b = (batch){.n = n};
    uint8_t *at = (uint8_t *)&b->ops[n];
    for (size_t i = 0; i < n; i++) {
        gn_bytes parts[2] = {ops[i].key, ops[i].value};
        for (int j = 0; j < 2; j++) {
            if (parts[j].len)
                memcpy(at, parts[j].data, parts[j].len);
            parts[j].data = at;
            at += parts[j].len;
        }
        b->ops[i] = (gn_disk_op){.kind = ops[i].kind, .key = parts[0], .value = parts[1]};
    }
    *store->unsynced_end = b;
    store->unsynced_end = &b->next;
}

static void make_durable(sim_node *node, sim_map *durable, const gn_disk_op *ops, size_t n)
{
    apply(durable, ops, n);
    if (node->sim->on_durable)
        node->sim->on_durable(node->sim->on_durable_ctx, node->id, ops, n);
}

static void sync_store(sim_world *world, sim_store *store)
{
    for (batch *b = store->unsynced; b; b = b->next) {
        if (world->ghost)
            apply(&store->durable, b->ops, b->n);
        else
            make_durable(world->node, &store->durable, b->ops, b->n);
    }
    forget_unsynced(store);
}

void gn_sim_on_durable(gn_sim *sim, void (*fn)(void *ctx, gn_node_id node, const gn_disk_op *ops, size_t n), void *ctx)
{
    sim->on_durable = fn;
    sim->on_durable_ctx = ctx;
}

/* ---- a crash ---- */

static size_t count_writes(const gn_disk_write *write)
{
    size_t n = 0;
    for (; write; write = write->next)
        n++;
    return n;
}

static size_t keep_writes(sim_node *node, sim_map *map, const gn_disk_write *write, size_t keep)
{
    for (; write && keep > 0; write = write->next, keep--)
        make_durable(node, map, write->ops, write->n);
    return keep;
}

static void tear_store(sim_node *node, const sim_store *store, sim_map *survives)
{
    const sim_disk *disk = store->handle;
    size_t n = disk ? count_writes(disk->in_flight) + count_writes(disk->waiting) : 0;
    for (const batch *b = store->unsynced; b; b = b->next)
        n++;
    size_t keep = gn_sim_rng_below(&node->sim->rng, n + 1);
    gn_sim_tell(node, "disk \"%s\" keeps %zu of %zu unsynced writes", store->name, keep, n);
    for (const batch *b = store->unsynced; b && keep > 0; b = b->next, keep--)
        make_durable(node, survives, b->ops, b->n);
    if (disk && !disk->failed)
        keep_writes(node, survives, disk->waiting, keep_writes(node, survives, disk->in_flight, keep));
}

void gn_sim_stores_crash(sim_node *node, gn_sim_tear tear)
{
    for (sim_store **at = &node->stores; *at; at = &(*at)->next) {
        sim_store *old = *at, *new = store_create(old->name);
        gn_sim_map_copy(&new->durable, &old->durable);
        if (tear == GN_SIM_TEAR)
            tear_store(node, old, &new->durable);
        gn_sim_map_copy(&new->visible, &new->durable);
        new->next = old->next;
        *at = new;
        if (!old->handle)
            store_free(old); /* else the ghost's close frees it */
    }
}

void gn_sim_stores_free(sim_node *node)
{
    for (sim_store *store = node->stores, *next; store; store = next) {
        next = store->next;
        store_free(store);
    }
}

/* ---- writing ---- */

static void run_done(gn_task *task)
{
    gn_disk_write *write = GN_CONTAINER(task, gn_disk_write, task);
    write->done(write, write->code, write->message);
}

static bool counts_down(unsigned *n)
{
    return *n > 0 && --*n == 0;
}

/* One write is one bad sector, but it fails the whole batch that it is in. */
static void draw_failure(sim_disk *disk)
{
    gn_sim_disk_faults *faults = &disk->world->node->faults;
    if (disk->failed || disk->world->ghost)
        return;
    for (const gn_disk_write *write = disk->in_flight; write; write = write->next) {
        if (counts_down(&faults->fail_write))
            disk->failed = faults->fail_code;
    }
    if (disk->failed)
        gn_sim_tell(disk->world->node, "disk \"%s\" fails a write", disk->store->name);
}

static void finish(gn_disk_write *write, gn_code code)
{
    write->code = code;
    snprintf(write->message, sizeof write->message, "%s", code ? "could not write the Raft log: simulated fault" : "");
    write->task.run = run_done;
    gn_queue_post(write->queue, &write->task);
}

static void settle_in_flight(sim_disk *disk)
{
    bool sync = false, was_good = !disk->failed;
    draw_failure(disk);
    for (gn_disk_write *write = disk->in_flight, *next; write; write = next) {
        next = write->next;
        sync |= write->sync;
        if (was_good) /* of a failed batch nobody knows how much reached the platter */
            add_unsynced(disk->store, write->ops, write->n);
        if (!disk->failed)
            apply(&disk->store->visible, write->ops, write->n);
        finish(write, disk->failed);
    }
    disk->in_flight = NULL;
    if (sync && !disk->failed && !disk->world->node->faults.lies)
        sync_store(disk->world, disk->store);
}

static void start_waiting(sim_disk *disk);

static void complete(sim_timed *timed)
{
    sim_disk *disk = GN_CONTAINER(timed, sim_disk, completion);
    settle_in_flight(disk);
    start_waiting(disk);
}

/* Like the real one: all that waits becomes one batch with one sync. */
static void start_waiting(sim_disk *disk)
{
    if (disk->in_flight || !disk->waiting)
        return;
    gn_sim *sim = disk->world->sim;
    const gn_sim_disk_faults *faults = &disk->world->node->faults;
    bool sync = false;
    for (const gn_disk_write *write = disk->waiting; write; write = write->next)
        sync |= write->sync;
    disk->in_flight = disk->waiting;
    disk->waiting = NULL;
    disk->waiting_end = &disk->waiting;
    uint64_t ns = sync ? gn_sim_rng_delay(&sim->rng, faults->min_ns, faults->max_ns) : UNSYNCED_WRITE_NS;
    gn_sim_schedule(sim, &disk->completion, sim->now_ns + ns);
}

static void note_write(sim_disk *disk, const gn_disk_write *write)
{
    gn_sim_note(disk->world->sim, write->n << 1 | write->sync);
    for (size_t i = 0; i < write->n; i++) {
        gn_sim_note(disk->world->sim, write->ops[i].kind);
        gn_sim_note_bytes(disk->world->sim, write->ops[i].key);
        gn_sim_note_bytes(disk->world->sim, write->ops[i].value);
    }
}

void gn_sim_log_disk_write(gn_log_disk *base, gn_disk_write *write)
{
    sim_disk *disk = sim_disk_of(base);
    note_write(disk, write);
    write->next = NULL;
    *disk->waiting_end = write;
    disk->waiting_end = &write->next;
    start_waiting(disk);
}

/* ---- reading ---- */

static gn_code read_fault(sim_disk *disk, gn_error *err)
{
    if (disk->world->ghost || !counts_down(&disk->world->node->faults.fail_read))
        return GN_OK;
    gn_sim_tell(disk->world->node, "disk \"%s\" fails a read", disk->store->name);
    return gn_error_set(err, GN_IO, "could not read the Raft log: simulated fault");
}

gn_code gn_sim_log_disk_get(gn_log_disk *base, gn_bytes key, gn_buf *value, gn_error *err)
{
    sim_disk *disk = sim_disk_of(base);
    gn_code code = read_fault(disk, err);
    if (code != GN_OK)
        return code;
    gn_bytes found;
    if (!gn_sim_map_get(&disk->store->visible, key, &found))
        return GN_NO_DATA;
    return gn_buf_append_bytes(value, found) ? GN_OK : gn_error_oom(err, value->account);
}

gn_code gn_sim_log_disk_scan(gn_log_disk *base, gn_bytes from, gn_bytes to,
                             bool (*fn)(void *ctx, gn_bytes key, gn_bytes value), void *ctx, gn_error *err)
{
    sim_disk *disk = sim_disk_of(base);
    gn_code code = read_fault(disk, err);
    if (code != GN_OK)
        return code;
    const sim_map *map = &disk->store->visible;
    size_t end = gn_sim_map_lower_bound(map, to);
    for (size_t i = gn_sim_map_lower_bound(map, from); i < end; i++) {
        if (!fn(ctx, gn_sim_map_key(map, i), gn_sim_map_value(map, i)))
            break;
    }
    return GN_OK;
}

/* ---- life ---- */

static sim_store *find_store(sim_node *node, const char *name)
{
    sim_store **at = &node->stores;
    while (*at && strcmp((*at)->name, name) != 0)
        at = &(*at)->next;
    if (!*at)
        *at = store_create(name);
    return *at;
}

gn_code gn_sim_log_disk_open(gn_world *base, const char *dir, gn_log_disk **out, gn_error *err)
{
    sim_world *world = sim_world_of(base);
    /* A ghost that opens its disk only now must not find the surviving one. */
    sim_store *store = world->ghost ? store_create(dir) : find_store(world->node, dir);
    if (store->handle)
        return gn_error_set(err, GN_LOCKED, "could not open the Raft log in \"%s\": it is in use by another process",
                            dir);
    sim_disk *disk = gn_xcalloc(1, sizeof *disk);
    disk->base.world = base;
    disk->world = world;
    disk->store = store;
    disk->completion = (sim_timed){.place = SIM_NOWHERE, .happen = complete};
    disk->waiting_end = &disk->waiting;
    store->handle = disk;
    world->n_disks++;
    *out = &disk->base;
    return GN_OK;
}

void gn_sim_log_disk_close(gn_log_disk *base)
{
    sim_disk *disk = sim_disk_of(base);
    gn_sim_unschedule(disk->world->sim, &disk->completion);
    settle_in_flight(disk);
    disk->in_flight = disk->waiting;
    settle_in_flight(disk);
    disk->store->handle = NULL;
    disk->world->n_disks--;
    if (disk->world->ghost)
        store_free(disk->store);
    free(disk);
}

void gn_sim_disk_set(gn_sim *sim, gn_node_id id, const gn_sim_disk_faults *faults)
{
    GN_ASSERT(faults->min_ns <= faults->max_ns && (faults->fail_write == 0 || faults->fail_code != GN_OK));
    gn_sim_node(sim, id)->faults = *faults;
}

gn_sim_disk_faults gn_sim_disk_get(gn_sim *sim, gn_node_id id)
{
    return gn_sim_node(sim, id)->faults;
}

/* Entries are shared between maps, so a changed one takes the old one's place. */
static void replace(sim_map *map, gn_bytes key, gn_bytes value)
{
    gn_sim_map_apply(map, &(gn_disk_op){.kind = GN_DISK_PUT, .key = key, .value = value});
}

bool gn_sim_disk_flip(gn_sim *sim, gn_node_id id)
{
    sim_node *node = gn_sim_node(sim, id);
    for (sim_store *store = node->stores; store; store = store->next) {
        if (store->durable.n == 0)
            continue;
        size_t i = gn_sim_rng_below(&sim->rng, store->durable.n);
        gn_bytes k = gn_sim_map_key(&store->durable, i), v = gn_sim_map_value(&store->durable, i), seen;
        if (v.len == 0)
            continue;
        uint64_t bit = gn_sim_rng_below(&sim->rng, v.len * 8);
        uint8_t *key = gn_xmalloc(k.len), *value = gn_xmalloc(v.len);
        memcpy(key, k.data, k.len);
        memcpy(value, v.data, v.len);
        bool is_current = gn_sim_map_get(&store->visible, k, &seen) && gn_bytes_eq(seen, v);
        value[bit / 8] ^= (uint8_t)(1u << bit % 8);
        gn_sim_tell(node, "disk \"%s\" flips bit %llu of a value of %zu bytes", store->name, (unsigned long long)bit,
                    v.len);
        replace(&store->durable, gn_bytes_of(key, k.len), gn_bytes_of(value, v.len));
        if (is_current)
            replace(&store->visible, gn_bytes_of(key, k.len), gn_bytes_of(value, v.len));
        free(key);
        free(value);
        return true;
    }
    return false;
}
