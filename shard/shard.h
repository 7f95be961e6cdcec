/* A shard group's replica: MVCC rows, indexes and the change log in one RocksDB directory, driven by a Raft group.
 *
 * A write is a Raft entry; applying it gives it the commit SCN max(the proposer's clock, last SCN + 1), so SCNs ascend
 * in log order. Readers work on immutable views at an SCN and never wait for a writer; except for parts of transactions
 * over several groups, which are prepared by one entry and committed by another (docs/decisions/cluster.md). */
#ifndef GN_SHARD_SHARD_H
#define GN_SHARD_SHARD_H

#include "base/buf.h"
#include "query/schema.h"
#include "raft/host.h"
#include "shard/snapshot.h"

typedef struct gn_shard gn_shard;

/* System change number: Unix milliseconds << 18 | counter. */
typedef uint64_t gn_scn;
enum { GN_SCN_COUNTER_BITS = 18 };

enum { GN_BRANCH_MAIN = 1 };

/* ---- the clock of a database of several groups ---- */

/* A request for n SCNs: first ... first + n - 1, above all that were handed out before, to whomever, and above
 * `above`. Caller-owned until `done`, which runs exactly once, on any thread (also before `next` returns), and does not
 * block. */
typedef struct gn_scn_request {
    uint32_t n;
    gn_scn above;
    gn_raft_voucher voucher; /* of another node for which it is asked, about the group that keeps the clock */
    void (*done)(struct gn_scn_request *request, gn_code code, gn_scn first);
    struct gn_scn_request *next; /* the source's */
} gn_scn_request;

/* It must answer in bounded time; any code other than GN_OK means that there is no SCN now. */
typedef struct gn_scn_source {
    void *ctx;
    void (*next)(void *ctx, gn_scn_request *request);
} gn_scn_source;

/* ---- the way to a group's leader ----
 *
 * Any replica serves transactions: it asks its leader up to where it must have applied before it reads, and hands it
 * the command that a commit is. Validation is done when the command is applied, everywhere alike. */
typedef struct gn_leader_link {
    void *ctx;
    /* Has gn_shard_serve of the group's replica on that node answer; what it returned comes back. GN_UNAVAILABLE or
     * GN_NOT_LEADER: it did nothing; GN_TIMEOUT, GN_CANCELED and GN_SHUTDOWN: it may have run, or run yet. Blocks; from
     * a strand. NULL: only a leader serves. */
    gn_code (*ask)(void *ctx, uint64_t group_id, gn_node_id node, gn_bytes request, uint64_t deadline_ns,
                   const _Atomic bool *cancel, gn_buf *answer, gn_error *err);
} gn_leader_link;

typedef struct gn_shard_options {
    const char *dir;               /* the replica's directory; created */
    uint64_t group_id;             /* Raft group, never 0 */
    const gn_raft_member *members; /* to create the group with */
    size_t n_members;
    uint64_t retention_ms;      /* old versions are kept at least so long; 0 = 1 hour */
    uint64_t block_cache_bytes; /* 0 = 32 MiB */
    uint64_t memtable_bytes;    /* 0 = 32 MiB */
    gn_account *account;        /* caches and vector indexes charge here; may be NULL */
    /* The database's clock; copied. NULL: this group is the whole database and its leader's own clock does. */
    const gn_scn_source *clock;
    bool clock_later;                   /* the clock is not used until gn_shard_use_clock */
    gn_leader_link leader;              /* zeroed: none */
    gn_chunk_link chunks;               /* zeroed: no snapshots are installed */
    uint64_t snapshot_bytes_per_second; /* of a snapshot that comes in; 0 = 100 MiB */
    /* A prepared transaction waits for its decision, or a decision for being forgotten, for longer than
     * unresolved_after_ms (0 = 500), for age_ns by now; again after each such time. Only where the group is led. On the
     * keeper or on a strand that waits for it; must not block, nor call this shard. May be NULL. */
    void (*unresolved)(void *ctx, gn_shard *shard, uint64_t txn_id, uint64_t primary_group, uint64_t age_ns);
    void *unresolved_ctx;
    uint64_t unresolved_after_ms;
    /* A vector index is calibrated by what it was asked with a wanted recall, after so many such queries (0 = 1,024)
     * and not sooner than after this pause (0 = 600 s). */
    uint64_t calibrate_after, calibrate_pause_ms;
    /* The group was split: gn_shard_slots tells how. On the shard's queue; must not block. May be NULL. */
    void (*has_split)(void *ctx, gn_shard *shard);
    void *has_split_ctx;
} gn_shard_options;

/* Opens RocksDB, the vector indexes and the Raft group; returns when the group has recovered what it knows to be
 * committed. GN_LOCKED when another process has the directory. From a strand or the main thread. */
gn_code gn_shard_open(gn_world *world, gn_raft_host *host, const gn_shard_options *options, gn_shard **out,
                      gn_error *err);
/* clean: flushes, so that the next open replays nothing. */
void gn_shard_close(gn_shard *shard, bool clean);
/* Answers the replica of the group on node `from` if this one leads it (else GN_NOT_LEADER). GN_NO_OBJECT: that is no
 * member of the group any more. From a strand. */
gn_code gn_shard_serve(gn_shard *shard, gn_node_id from, gn_bytes request, gn_buf *answer, gn_error *err);

/* ---- catching up in several groups at once ---- in steps, so that whoever reads many groups asks each node once: the
 * leader confirms that it leads and lets everything be applied whose SCN was asked for before; a replica elsewhere is
 * told up to where that was, and applies it. Then gn_txn_options.caught_up. */
typedef struct gn_confirmation {
    gn_raft_request request;
    gn_event event;
    gn_code code;
    uint64_t lost;
} gn_confirmation;
/* All at once, of shards of one node; NULL among them is left out. vouchers: what came with the question from another
 * node (raft/host.h); NULL: it is this node's own. */
void gn_shards_confirm_start(gn_shard *const *shards, const gn_raft_voucher *vouchers, gn_confirmation *confirmations,
                             uint32_t n);
/* From a strand; always, after a start. GN_NOT_LEADER: another node leads. */
gn_code gn_shard_confirm_await(gn_shard *shard, gn_confirmation *confirmation, const _Atomic bool *cancel,
                               gn_error *err);
/* At the leader, after that: what the replica on `to` has to apply. It is told what is committed, so that it need not
 * wait for a heartbeat to apply it, unless it had applied as much when it asked (`known`). GN_NO_OBJECT: there is none.
 */
gn_code gn_shard_tell_applied(gn_shard *shard, gn_node_id to, uint64_t known, uint64_t *index, gn_error *err);
uint64_t gn_shard_has_applied(gn_shard *shard); /* at the replica: to be known there */
/* At the replica. From a strand. */
gn_code gn_shard_await_applied(gn_shard *shard, uint64_t index, const _Atomic bool *cancel);
/* This replica is none of its group's any more, and is to be closed: it hears of no leader and of no entry. Who waits
 * for one to read is told GN_NO_OBJECT, and asks elsewhere; who waits for a decision, GN_SERIALIZATION. Any thread. */
void gn_shard_leaves(gn_shard *shard);
void gn_shard_stays(gn_shard *shard); /* it has been made a member again */
/* The same for a request that only waits for the log, without a strand to wait on: then true, and `done` runs once, on
 * any thread, perhaps before this returns, and must not block. False: gn_shard_serve is to be called. request: borrowed
 * until this returns. */
typedef void (*gn_shard_served)(void *ctx, gn_code code, gn_bytes answer, const gn_error *err);
bool gn_shard_serve_soon(gn_shard *shard, gn_bytes request, gn_shard_served done, void *ctx);
bool gn_shard_has_transactions(gn_shard *shard); /* open ones; any thread */
/* Removes a closed replica's directory and everything in it. GN_IO. */
gn_code gn_shard_remove(const char *dir, gn_error *err);
/* Waits until this node leads the group and can read. GN_TIMEOUT. */
gn_code gn_shard_wait_ready(gn_shard *shard, uint64_t deadline_ns, gn_error *err);
gn_scn gn_shard_last_scn(gn_shard *shard); /* newest applied */
/* Nothing will be added at or below it: below the last SCN while transactions are prepared. Never falls. */
gn_scn gn_shard_closed_scn(gn_shard *shard);
gn_raft_group *gn_shard_raft_group(gn_shard *shard);
/* From now on the database has several groups: this one proposes by the clock, whose next SCN must be above the last
 * one here. Returns when nothing is under way that was proposed without it. From a strand; one at a time; may be
 * repeated. */
void gn_shard_use_clock(gn_shard *shard);
/* Calls `unresolved` for what waits for a decision now, however short: after a start, when the coordinators that this
 * node was are known to be gone. At most some dozens at once; the rest comes in time. */
void gn_shard_tell_unresolved(gn_shard *shard);

/* So long has the oldest transaction that is not decided been prepared here, in ns; 0: none is. */
uint64_t gn_shard_undecided_for(gn_shard *shard);

/* What garbage collection may remove is older than every open transaction's SCN and the retention. Runs a full
 * compaction (tests, VACUUM). */
gn_code gn_shard_compact(gn_shard *shard, gn_error *err);

/* ---- change log ---- */
typedef struct gn_change {
    gn_scn scn;
    uint64_t table_id;
    uint64_t branch;
    gn_bytes key; /* encoded primary key */
    bool deleted;
} gn_change;
/* Changes with from < scn <= to, ascending, as far as the closed SCN. fn returns false to end early.
 * GN_SNAPSHOT_TOO_OLD when `from` is below what retention has kept. */
gn_code gn_shard_changes(gn_shard *shard, gn_scn from, gn_scn to, bool (*fn)(void *ctx, const gn_change *change),
                         void *ctx, gn_error *err);

/* ---- statistics ---- */
typedef struct gn_table_stats {
    uint64_t rows_estimate; /* live rows, kept up to date by apply */
    uint64_t bytes_estimate;
} gn_table_stats;
void gn_shard_table_stats(gn_shard *shard, uint64_t table_id, gn_table_stats *out);
typedef struct gn_shard_totals {
    uint64_t tables, rows_estimate, bytes_estimate; /* of users' tables that were written to */
    uint32_t prepared;                              /* parts of transactions over groups that wait for their decision */
} gn_shard_totals;
void gn_shard_totals_get(gn_shard *shard, gn_shard_totals *out); /* any thread */
struct gn_vindex_stats;
/* live (may be NULL): it is complete; else it is being filled, and nothing is known of it. */
gn_code gn_shard_vindex_stats(gn_shard *shard, uint64_t index_id, struct gn_vindex_stats *out, bool *live);
/* Blocks until the index has searched all it was given into segments (CREATE INDEX waits so). */
gn_code gn_shard_vindex_build(gn_shard *shard, uint64_t index_id, void (*progress)(void *, uint64_t, uint64_t),
                              void *ctx, const _Atomic bool *cancel, gn_error *err);

#endif
