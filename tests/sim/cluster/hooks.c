/* What stands between the cluster's folders while a trial runs: the check of what the clock hands out, sizes that make
 * rare things frequent, and the planted bugs. Done by the linker (--wrap), so that the code under test is the code that
 * is shipped. */
#include "cluster/methods_private.h"
#include "cluster/part_private.h"
#include "net/remains.h"
#include "raft/force.h"
#include "shard/apply_private.h"
#include "shard/command_private.h"
#include "shard/shard_private.h"
#include "shard/txn_private.h"
#include "tests/sim/cluster/trial.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

const char *const canary_names[N_CANARIES] = {
    "none",  "unconfirmed-clock", "old-block",  "impatient", "early-word", "lost-part",
    "twice", "old-slots",         "lost-piece", "short-log", "believed",
};

static trial *now; /* the trial that runs */

typedef struct known_clock {
    gn_clock *clock;
    gn_world *world;
    gn_scn first, end; /* of the block that it had first */
} known_clock;

static known_clock **clocks; /* of all incarnations */
static size_t n_clocks;

/* Two clusters do not hear each other, as connections do between real nodes (net/mesh.h). Who is about to join is of
 * none. */
static bool is_heard(void *ctx, gn_node_id from, gn_node_id to, uint8_t channel, gn_bytes frame)
{
    const trial *t = ctx;
    (void)channel, (void)frame;
    return from > MOST_ID || to > MOST_ID || t->canary == CANARY_BELIEVED ||
           strcmp(t->nodes[from].identity.cluster, t->nodes[to].identity.cluster) == 0;
}

void hooks_begin(trial *t)
{
    now = t;
    if (t->disaster)
        gn_sim_on_frame(t->sim, is_heard, t);
}

void hooks_end(void)
{
    now = NULL;
    for (size_t i = 0; i < n_clocks; i++)
        free(clocks[i]);
    free(clocks);
    clocks = NULL;
    n_clocks = 0;
}

/* ---- the clock ---- */

gn_clock *__real_gn_clock_create(gn_world *world, gn_shard *meta, gn_rpc *rpc);
gn_clock *__wrap_gn_clock_create(gn_world *world, gn_shard *meta, gn_rpc *rpc);
void __real_gn_clock_destroy(gn_clock *clock);
void __wrap_gn_clock_destroy(gn_clock *clock);
gn_code __real_gn_clock_ask(gn_clock *clock, const _Atomic bool *cancel, gn_scn *scn, gn_error *err);
gn_code __wrap_gn_clock_ask(gn_clock *clock, const _Atomic bool *cancel, gn_scn *scn, gn_error *err);
gn_scn_source __real_gn_clock_source(gn_clock *clock);
gn_scn_source __wrap_gn_clock_source(gn_clock *clock);

gn_clock *__wrap_gn_clock_create(gn_world *world, gn_shard *meta, gn_rpc *rpc)
{
    gn_clock *clock = __real_gn_clock_create(world, meta, rpc);
    clocks = gn_xrealloc(clocks, (n_clocks + 1) * sizeof *clocks);
    clocks[n_clocks] = gn_xcalloc(1, sizeof **clocks);
    *clocks[n_clocks++] = (known_clock){.clock = clock, .world = world};
    return clock;
}

void __wrap_gn_clock_destroy(gn_clock *clock)
{
    for (size_t i = 0; i < n_clocks; i++)
        if (clock && clocks[i]->clock == clock)
            clocks[i]->clock = NULL;
    __real_gn_clock_destroy(clock);
}

static known_clock *clock_of(const gn_clock *clock)
{
    for (size_t i = 0; i < n_clocks; i++)
        if (clocks[i]->clock == clock)
            return clocks[i];
    return NULL;
}

static bool has_crashed(gn_world *world)
{
    return gn_sim_world(now->sim, gn_net_self(world)) != world;
}

/* Somebody got these who began to ask when nothing above `floor` had been handed out. */
static void handed_out(gn_world *world, gn_scn floor, gn_scn first, uint32_t n)
{
    trial *t = now;
    if (has_crashed(world) || (gn_net_self(world) <= MOST_ID && t->nodes[gn_net_self(world)].returns))
        return;
    gn_sim_trace(t->sim, "node %d has SCN %llu", (int)gn_net_self(world), (unsigned long long)first);
    if (first <= floor)
        problem(t, "the clock gave node %d %llu after %llu had been handed out", (int)gn_net_self(world),
                (unsigned long long)first, (unsigned long long)floor);
    if (first + n - 1 > t->handed)
        t->handed = first + n - 1;
    if (t->n_spans == t->cap_spans) {
        t->cap_spans = t->cap_spans ? 2 * t->cap_spans : 1024;
        t->spans = gn_xrealloc(t->spans, t->cap_spans * sizeof *t->spans);
    }
    t->spans[t->n_spans++] = (struct span){first, n};
}

gn_code __wrap_gn_clock_ask(gn_clock *clock, const _Atomic bool *cancel, gn_scn *scn, gn_error *err)
{
    gn_world *world = clock_of(clock)->world;
    gn_scn floor = now->handed;
    gn_code code = __real_gn_clock_ask(clock, cancel, scn, err);
    if (code == GN_OK)
        handed_out(world, floor, *scn, 1);
    return code;
}

typedef struct asking {
    gn_scn_request request;
    gn_scn_request *asked;
    gn_world *world;
    gn_scn floor;
} asking;

static void asking_done(gn_scn_request *request, gn_code code, gn_scn first)
{
    asking *a = GN_CONTAINER(request, asking, request);
    if (code == GN_OK)
        handed_out(a->world, a->floor, first, request->n);
    a->asked->done(a->asked, code, first);
    free(a);
}

static void next_checked(void *ctx, gn_scn_request *request)
{
    gn_clock *clock = ctx;
    asking *a = gn_xcalloc(1, sizeof *a);
    *a = (asking){.request = *request, .asked = request, .world = clock_of(clock)->world, .floor = now->handed};
    a->request.done = asking_done;
    gn_scn_source source = __real_gn_clock_source(clock);
    source.next(source.ctx, &a->request);
}

gn_scn_source __wrap_gn_clock_source(gn_clock *clock)
{
    return (gn_scn_source){.ctx = clock, .next = next_checked};
}

/* ---- sizes ---- */

gn_code __real_gn_raft_host_open(gn_world *world, const gn_raft_options *options, gn_raft_host **out, gn_error *err);
gn_code __wrap_gn_raft_host_open(gn_world *world, const gn_raft_options *options, gn_raft_host **out, gn_error *err);
gn_code __real_gn_shard_open(gn_world *world, gn_raft_host *host, const gn_shard_options *options, gn_shard **out,
                             gn_error *err);
gn_code __wrap_gn_shard_open(gn_world *world, gn_raft_host *host, const gn_shard_options *options, gn_shard **out,
                             gn_error *err);

gn_code __wrap_gn_raft_host_open(gn_world *world, const gn_raft_options *options, gn_raft_host **out, gn_error *err)
{
    gn_raft_options small = *options;
    small.log_dir = "log";
    small.election_timeout_ms = 400;
    small.snapshot_threshold_bytes = now->snapshot_bytes;
    small.log_keep_bytes = now->snapshot_bytes / 4;
    return __real_gn_raft_host_open(world, &small, out, err);
}

gn_code __wrap_gn_shard_open(gn_world *world, gn_raft_host *host, const gn_shard_options *options, gn_shard **out,
                             gn_error *err)
{
    gn_shard_options quick = *options;
    quick.unresolved_after_ms = 1000;
    return __real_gn_shard_open(world, host, &quick, out, err);
}

/* ---- ghosts ---- */

gn_code __real_gn_apply_split(gn_applier *ap, uint64_t index, const gn_command *command, gn_commit_op *op);
gn_code __wrap_gn_apply_split(gn_applier *ap, uint64_t index, const gn_command *command, gn_commit_op *op);
gn_code __real_gn_store_flush(gn_store *store, gn_error *err);
gn_code __wrap_gn_store_flush(gn_store *store, gn_error *err);
void __real_rocksdb_checkpoint_create(rocksdb_checkpoint_t *checkpoint, const char *path, uint64_t log_size,
                                      char **message);
void __wrap_rocksdb_checkpoint_create(rocksdb_checkpoint_t *checkpoint, const char *path, uint64_t log_size,
                                      char **message);
gn_code __real_gn_number_write(const char *dir, const char *name, uint64_t number, gn_error *err);
gn_code __wrap_gn_number_write(const char *dir, const char *name, uint64_t number, gn_error *err);

/* The shards' files lie on the real disk and outlive the ghost, the log in which it goes on does not: what a ghost made
 * durable, the node that starts again would find without a log for it. So it can make nothing durable. */
static bool is_a_ghosts(const char *path)
{
    for (unsigned i = 1; now && i <= MOST_ID; i++) {
        const node *n = &now->nodes[i];
        size_t len = strlen(n->dir);
        if (len && strncmp(path, n->dir, len) == 0 && path[len] == '/')
            return n->dying && !n->clean;
    }
    return false;
}

static gn_code gone(gn_error *err)
{
    return gn_error_set(err, GN_IO, "the node has crashed");
}

gn_code __wrap_gn_apply_split(gn_applier *ap, uint64_t index, const gn_command *command, gn_commit_op *op)
{
    return has_crashed(ap->shard->world) ? GN_IO : __real_gn_apply_split(ap, index, command, op);
}

gn_code __wrap_gn_store_flush(gn_store *store, gn_error *err)
{
    return is_a_ghosts(store->path) ? gone(err) : __real_gn_store_flush(store, err);
}

/* It flushes, too. */
void __wrap_rocksdb_checkpoint_create(rocksdb_checkpoint_t *checkpoint, const char *path, uint64_t log_size,
                                      char **message)
{
    if (is_a_ghosts(path))
        *message = strdup("the node has crashed");
    else
        __real_rocksdb_checkpoint_create(checkpoint, path, log_size, message);
}

/* Which store is the replica's, for one. */
gn_code __wrap_gn_number_write(const char *dir, const char *name, uint64_t number, gn_error *err)
{
    return is_a_ghosts(dir) ? gone(err) : __real_gn_number_write(dir, name, number, err);
}

gn_code __real_gn_apply_merge(gn_applier *ap, uint64_t index, const gn_command *command, gn_commit_op *op);
gn_code __wrap_gn_apply_merge(gn_applier *ap, uint64_t index, const gn_command *command, gn_commit_op *op);

gn_code __wrap_gn_apply_merge(gn_applier *ap, uint64_t index, const gn_command *command, gn_commit_op *op)
{
    return has_crashed(ap->shard->world) ? GN_IO : __real_gn_apply_merge(ap, index, command, op);
}

/* ---- recovery ---- it opens a world of its own, from the main thread, and may be cut off anywhere */

gn_world *__real_gn_world_real_create(const gn_world_options *options);
gn_world *__wrap_gn_world_real_create(const gn_world_options *options);
void __real_gn_world_real_destroy(gn_world *world);
void __wrap_gn_world_real_destroy(gn_world *world);
gn_code __real_gn_raft_force_groups(gn_world *world, const char *log_dir, const uint64_t *groups, size_t n,
                                    gn_error *err);
gn_code __wrap_gn_raft_force_groups(gn_world *world, const char *log_dir, const uint64_t *groups, size_t n,
                                    gn_error *err);
gn_code __real_gn_identity_write(const char *data_dir, const gn_identity *identity, gn_error *err);
gn_code __wrap_gn_identity_write(const char *data_dir, const gn_identity *identity, gn_error *err);
void __real_gn_remains_judge(const gn_remains_replica *replicas, size_t n, const gn_node_id *answering,
                             size_t n_answering, gn_remains *out);
void __wrap_gn_remains_judge(const gn_remains_replica *replicas, size_t n, const gn_node_id *answering,
                             size_t n_answering, gn_remains *out);

static gn_world *recovering;
static bool cut_off;

void hooks_recover(gn_world *world)
{
    recovering = world;
    cut_off = false;
}

bool hooks_were_cut_off(void)
{
    return cut_off;
}

gn_world *__wrap_gn_world_real_create(const gn_world_options *options)
{
    return recovering ? recovering : __real_gn_world_real_create(options);
}

void __wrap_gn_world_real_destroy(gn_world *world)
{
    if (world != recovering)
        __real_gn_world_real_destroy(world);
}

static bool is_cut_off(void)
{
    cut_off = gn_sim_chance(now->sim, 0.2);
    return cut_off;
}

gn_code __wrap_gn_raft_force_groups(gn_world *world, const char *log_dir, const uint64_t *groups, size_t n,
                                    gn_error *err)
{
    (void)log_dir; /* on the simulated disk */
    gn_code code = is_cut_off() ? gone(err) : __real_gn_raft_force_groups(world, "log", groups, n, err);
    return code == GN_OK && is_cut_off() ? gone(err) : code;
}

gn_code __wrap_gn_identity_write(const char *data_dir, const gn_identity *identity, gn_error *err)
{
    gn_code code = recovering && is_cut_off() ? gone(err) : __real_gn_identity_write(data_dir, identity, err);
    return code == GN_OK && recovering && is_cut_off() ? gone(err) : code;
}

void __wrap_gn_remains_judge(const gn_remains_replica *replicas, size_t n, const gn_node_id *answering,
                             size_t n_answering, gn_remains *out)
{
    __real_gn_remains_judge(replicas, n, answering, n_answering, out);
    for (size_t i = 0; i < n && now->canary == CANARY_SHORT_LOG; i++)
        if (gn_remains_can_go_on(&replicas[i]) &&
            (replicas[i].last_term < out->chosen->last_term ||
             (replicas[i].last_term == out->chosen->last_term && replicas[i].last_index < out->chosen->last_index)))
            out->chosen = &replicas[i];
}

/* ---- keepers ---- */

gn_code __real_gn_slots_clean(gn_shard *shard, bool *more, gn_error *err);
gn_code __wrap_gn_slots_clean(gn_shard *shard, bool *more, gn_error *err);
gn_code __real_gn_store_iter_status(const gn_store_iter *iter, gn_error *err);
gn_code __wrap_gn_store_iter_status(const gn_store_iter *iter, gn_error *err);

static gn_shard *cleaned; /* its keeper has begun a piece, and has read nothing yet */

gn_code __wrap_gn_slots_clean(gn_shard *shard, bool *more, gn_error *err)
{
    cleaned = now->splits ? shard : NULL;
    gn_code code = __real_gn_slots_clean(shard, more, err);
    cleaned = NULL;
    return code;
}

/* Between what it has read and what it removes a keeper may be long: a merge may begin and end. */
gn_code __wrap_gn_store_iter_status(const gn_store_iter *iter, gn_error *err)
{
    gn_shard *shard = cleaned;
    cleaned = NULL;
    if (shard && !now->healing && gn_sim_chance(now->sim, 0.2))
        pause_for(shard->world, gn_sim_random(now->sim, 400 * MS));
    return __real_gn_store_iter_status(iter, err);
}

/* ---- planted bugs ---- */

void __real_gn_raft_read_index(gn_raft_group *group, gn_raft_request *request);
void __wrap_gn_raft_read_index(gn_raft_group *group, gn_raft_request *request);
gn_code __real_gn_shard_reserve(gn_shard *shard, uint64_t sequence_id, int64_t above, int64_t n, int64_t *first,
                                gn_error *err);
gn_code __wrap_gn_shard_reserve(gn_shard *shard, uint64_t sequence_id, int64_t above, int64_t n, int64_t *first,
                                gn_error *err);
gn_code __real_gn_rpc_ask(gn_rpc *rpc, gn_node_id to, uint16_t method, gn_bytes request, uint64_t deadline_ns,
                          const _Atomic bool *cancel, gn_buf *response, gn_error *err);
gn_code __wrap_gn_rpc_ask(gn_rpc *rpc, gn_node_id to, uint16_t method, gn_bytes request, uint64_t deadline_ns,
                          const _Atomic bool *cancel, gn_buf *response, gn_error *err);
gn_code __real_gn_txn_decide(gn_txn *txn, uint64_t txn_id, const uint64_t *groups, uint32_t n_groups, gn_scn above,
                             gn_scn *scn, gn_error *err);
gn_code __wrap_gn_txn_decide(gn_txn *txn, uint64_t txn_id, const uint64_t *groups, uint32_t n_groups, gn_scn above,
                             gn_scn *scn, gn_error *err);
gn_code __real_gn_txn_prepare(gn_txn *txn, uint64_t txn_id, const uint64_t *groups, uint32_t n_groups, gn_scn *prepared,
                              gn_error *err);
gn_code __wrap_gn_txn_prepare(gn_txn *txn, uint64_t txn_id, const uint64_t *groups, uint32_t n_groups, gn_scn *prepared,
                              gn_error *err);

static bool plants(canary what)
{
    return now && now->canary == what && now->filled;
}

static bool is_the_clocks(const gn_raft_request *request)
{
    for (size_t i = 0; i < n_clocks; i++) {
        uintptr_t start = (uintptr_t)clocks[i]->clock, at = (uintptr_t)request;
        if (start && at >= start && at < start + malloc_usable_size(clocks[i]->clock))
            return true;
    }
    return false;
}

void __wrap_gn_raft_read_index(gn_raft_group *group, gn_raft_request *request)
{
    if (plants(CANARY_UNCONFIRMED_CLOCK) && is_the_clocks(request))
        request->done(request, GN_OK);
    else
        __real_gn_raft_read_index(group, request);
}

gn_code __wrap_gn_shard_reserve(gn_shard *shard, uint64_t sequence_id, int64_t above, int64_t n, int64_t *first,
                                gn_error *err)
{
    known_clock *k = NULL;
    for (size_t i = 0; i < n_clocks; i++)
        if (clocks[i]->clock && clocks[i]->world == shard->world)
            k = clocks[i];
    if (plants(CANARY_OLD_BLOCK) && k && k->end > (gn_scn)above) {
        *first = (int64_t)k->first;
        return GN_OK;
    }
    gn_code code = __real_gn_shard_reserve(shard, sequence_id, above, n, first, err);
    if (code == GN_OK && k) {
        k->first = (gn_scn)*first;
        k->end = k->first + (gn_scn)n;
    }
    return code;
}

gn_code __wrap_gn_rpc_ask(gn_rpc *rpc, gn_node_id to, uint16_t method, gn_bytes request, uint64_t deadline_ns,
                          const _Atomic bool *cancel, gn_buf *response, gn_error *err)
{
    enum { KIND_AT = 18 + 2, TXN_ID_AT = 18 + 4 }; /* group, version, kind, term; command */
    bool is_commit = method == GN_METHOD_GROUP && request.len > 40 && request.data[KIND_AT] == GN_COMMAND_TXN;
    if (plants(CANARY_TWICE) && is_commit)
        ((uint8_t *)(uintptr_t)request.data)[TXN_ID_AT] ^= (uint8_t)(1 + gn_sim_random(now->sim, 255));
    gn_code code = __real_gn_rpc_ask(rpc, to, method, request, deadline_ns, cancel, response, err);
    bool is_index = method == GN_METHOD_GROUP && code == GN_OK && response->len == 8;
    if (plants(CANARY_IMPATIENT) && is_index) /* up to where it has to have applied */
        memset(response->data, 0, response->len);
    return code;
}

gn_code __real_gn_shard_await_applied(gn_shard *shard, uint64_t index, const _Atomic bool *cancel);
gn_code __wrap_gn_shard_await_applied(gn_shard *shard, uint64_t index, const _Atomic bool *cancel);
gn_code __wrap_gn_shard_await_applied(gn_shard *shard, uint64_t index, const _Atomic bool *cancel)
{
    return plants(CANARY_IMPATIENT) ? GN_OK : __real_gn_shard_await_applied(shard, index, cancel);
}

static gn_cluster *cluster_in(const gn_world *world)
{
    for (int id = 0; id <= MOST_ID; id++)
        if (now->nodes[id].cluster && now->nodes[id].world == world)
            return now->nodes[id].cluster;
    return NULL;
}

gn_code __wrap_gn_txn_decide(gn_txn *txn, uint64_t txn_id, const uint64_t *groups, uint32_t n_groups, gn_scn above,
                             gn_scn *scn, gn_error *err)
{
    gn_cluster *cluster = plants(CANARY_EARLY_WORD) ? cluster_in(txn->shard->world) : NULL;
    for (uint32_t i = 1; cluster && i < n_groups; i++)
        gn_group_decide(cluster, groups[i], txn_id, true, above + 1, NULL, NULL);
    return __real_gn_txn_decide(txn, txn_id, groups, n_groups, above, scn, err);
}

gn_code __wrap_gn_txn_prepare(gn_txn *txn, uint64_t txn_id, const uint64_t *groups, uint32_t n_groups, gn_scn *prepared,
                              gn_error *err)
{
    if (plants(CANARY_LOST_PART) && txn->shard->group_id != groups[0] && gn_sim_chance(now->sim, 0.1)) {
        gn_txn_abort(txn);
        return GN_OK;
    }
    return __real_gn_txn_prepare(txn, txn_id, groups, n_groups, prepared, err);
}

gn_code __real_gn_slot_view_take(const gn_slots *own, const gn_txn_options *options, gn_slot_view *out, gn_error *err);
gn_code __wrap_gn_slot_view_take(const gn_slots *own, const gn_txn_options *options, gn_slot_view *out, gn_error *err);

gn_code __wrap_gn_slot_view_take(const gn_slots *own, const gn_txn_options *options, gn_slot_view *out, gn_error *err)
{
    gn_code code = __real_gn_slot_view_take(own, options, out, err);
    if (code != GN_MOVED || !plants(CANARY_OLD_SLOTS))
        return code;
    *out = (gn_slot_view){.generation = own->generation};
    return GN_OK;
}

gn_code __real_gn_shard_merge_read(gn_shard *shard, uint64_t into, gn_bytes from, gn_merge_rows *out, gn_error *err);
gn_code __wrap_gn_shard_merge_read(gn_shard *shard, uint64_t into, gn_bytes from, gn_merge_rows *out, gn_error *err);

gn_code __wrap_gn_shard_merge_read(gn_shard *shard, uint64_t into, gn_bytes from, gn_merge_rows *out, gn_error *err)
{
    gn_code code = __real_gn_shard_merge_read(shard, into, from, out, err);
    if (code == GN_OK && plants(CANARY_LOST_PIECE) && gn_sim_chance(now->sim, 0.3))
        gn_buf_clear(&out->entries);
    return code;
}
