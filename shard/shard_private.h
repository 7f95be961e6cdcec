/* What the files of shard/ share.
 *
 * Threads. The shard's queue applies the log: it alone writes tables, schema and vector indexes. The keeper strand
 * flushes, takes snapshots and collects garbage; the feeder strand fills vector indexes. Readers run anywhere. What
 * readers need of the queue's state is published under `view_lock`, held for a few instructions. */
#ifndef GN_SHARD_SHARD_PRIVATE_H
#define GN_SHARD_SHARD_PRIVATE_H

#include "base/log.h"
#include "base/metrics.h"
#include "shard/change_log_private.h"
#include "shard/command_private.h"
#include "shard/prepared_private.h"
#include "shard/propose_private.h"
#include "shard/schema_private.h"
#include "shard/slots.h"

#include <pthread.h>
#include <stdatomic.h>

/* ---- wake-ups for strands ---- */
typedef struct gn_wakeup {
    gn_world *world;
    pthread_mutex_t lock;
    gn_event event;
    bool pending, waiting, signalled;
} gn_wakeup;
void gn_wakeup_init(gn_wakeup *w, gn_world *world);
void gn_wakeup_close(gn_wakeup *w);
void gn_wakeup_post(gn_wakeup *w); /* any thread */
void gn_wakeup_wait(gn_wakeup *w, uint64_t deadline_ns);

/* ---- per table ---- */
typedef struct gn_table_state {
    uint64_t table_id;
    uint64_t epoch; /* that rows and greatest speak of */
    /* the queue's */
    int64_t rows, bytes;
    uint64_t next_rowid;
    bool dirty;
    bool knows_greatest;
    gn_buf greatest; /* no key of the main branch is above it */
    /* published under view_lock */
    int64_t public_rows, public_bytes;
    bool public_knows;
    gn_buf public_greatest;
} gn_table_state;

typedef struct gn_table_states {
    gn_table_state **items; /* by table id */
    size_t n, cap;
} gn_table_states;
gn_table_state *gn_table_states_find(const gn_table_states *states, uint64_t table_id);
gn_table_state *gn_table_states_get(gn_table_states *states, uint64_t table_id); /* adds */
void gn_table_states_remove(gn_table_states *states, uint64_t table_id);
void gn_table_states_close(gn_table_states *states);

/* ---- open transactions ---- */
typedef struct gn_reader_mark {
    struct gn_reader_mark *prev, *next; /* under view_lock */
    gn_scn scn;
    bool registered; /* the owner's */
} gn_reader_mark;

/* The slots that a transaction sees. */
typedef struct gn_slot_view {
    const struct gn_shard *shard;
    uint64_t epoch;      /* of the rows when it began (gn_shard.slots_epoch) */
    uint64_t generation; /* of the group's slots when it began */
    bool rows, vectors;  /* there may be rows, or vectors in an index, of other slots: each has to be looked at */
    uint32_t lo, hi;
} gn_slot_view;

typedef struct gn_applier gn_applier;
typedef struct gn_feeds gn_feeds;
typedef struct gn_sequences gn_sequences;

typedef struct gn_shard_metrics {
    gn_metric *commits, *conflicts, *unique_errors, *rows_written, *apply_seconds, *calibrations, *flushes,
        *flush_seconds, *versions_swept, *snapshots, *scns_raised, *chunks_fetched, *chunks_bad, *chunk_bytes,
        *snapshot_files_kept, *prepared, *decision_waits, *open_transactions, *unflushed_bytes, *store_bytes,
        *memtable_bytes;
} gn_shard_metrics;

struct gn_shard {
    gn_world *world;
    gn_raft_host *host;
    gn_raft_group *group;
    gn_account *account;
    gn_queue *queue;
    char *dir;
    uint64_t group_id, retention_ms, memtable_bytes, block_cache_bytes;
    gn_scn_source clock;        /* zeroed: none */
    _Atomic bool clocked;       /* it is used */
    _Atomic uint64_t unclocked; /* commands under way that were proposed without it */
    gn_leader_link leader;
    gn_wait_room applied;  /* who waits for an index to be applied; its lock is taken inside view_lock */
    uint64_t applied_seen; /* under that lock */
    void (*unresolved)(void *ctx, gn_shard *shard, uint64_t txn_id, uint64_t primary_group, uint64_t age_ns);
    void *unresolved_ctx;
    uint64_t calibrate_after, calibrate_pause_ns, unresolved_after_ns;
    gn_proposer proposer;      /* used with a clock only */
    gn_prepared_list prepared; /* parts of transactions over groups */
    gn_shard_metrics metrics;

    /* published for readers */
    pthread_mutex_t view_lock;
    gn_store *store;
    gn_schema *schema;
    gn_scn last_scn;
    gn_scn closed_scn; /* nothing will be added at or below it */
    uint64_t applied_index;
    gn_reader_mark readers; /* a ring */
    gn_scn horizon;         /* reads below it are refused: what they would see may have been collected */
    pthread_mutex_t horizon_lock;
    gn_slots slots;
    gn_scn durable_horizon; /* as the file HORIZON has it; collection goes up to here */
    gn_table_states tables;
    _Atomic gn_scn log_floor;
    _Atomic gn_scn recent_floor; /* of the window of recent commits; 0 while it is not all there */
    _Atomic uint64_t durable_index;
    _Atomic int failed; /* gn_code of the failure that stopped this replica */

    gn_applier *applier; /* the queue's */
    gn_task apply_task;
    gn_raft_apply *apply; /* the batch under way */
    gn_feeds *feeds;
    gn_sequences *sequences;

    /* the keeper */
    gn_strand *keeper;
    gn_wakeup keeper_wakeup;
    _Atomic bool stopping;
    _Atomic bool leaves; /* gn_shard_leaves */
    _Atomic uint64_t unflushed_bytes;
    _Atomic uint64_t dead_versions; /* tombstones written since the last sweep */
    _Atomic bool snapshot_wanted, garbage_waits;
    bool keeper_gone; /* under view_lock: it takes no snapshots any more */

    /* splits (slots_private.h) */
    _Atomic uint64_t split_until_ns; /* commands that prepare wait until then; 0 = they need not */
    void (*has_split)(void *ctx, gn_shard *shard);
    void *has_split_ctx;
    struct gn_slots_cleaner *cleaner; /* the keeper's */
    _Atomic uint64_t slots_removed;

    /* merges (slots_private.h) */
    /* Counts how often rows of others began to come: who began before must look at each row from then on, by these
     * slots if it did not say which it wants. Changed before the first such row can be read. */
    _Atomic uint64_t slots_epoch;
    _Atomic uint32_t slots_were_lo, slots_were_hi;
    /* Who began under an older generation of slots may miss rows by now. Changed before the first one is missing. */
    _Atomic uint64_t slots_torn;
    pthread_mutex_t
        clean_lock; /* held while rows of others are removed or tombstones swept, and while `victim` changes */
    _Atomic uint32_t merge_piece; /* bytes; 0 = 1 MiB */
    gn_buf merge_at;              /* how far the copy is; under view_lock */

    /* snapshots (snapshot_private.h) */
    uint64_t store_number; /* the queue's: of the directories of store and vector indexes */
    pthread_mutex_t held_lock, held_change;
    struct gn_held_snapshot *held;
    _Atomic bool closing;          /* a snapshot now is for the log's sake only */
    _Atomic bool files_wanted;     /* a follower needs a snapshot with files */
    _Atomic bool asked_for_files;  /* Raft was asked for one and has not answered */
    gn_raft_request files_request; /* with that */
    struct gn_installer *installer;
};

/* ---- shard.c ---- */
gn_store *gn_shard_store(gn_shard *shard); /* retained */
/* The replica cannot go on: everything from now on answers `code`. */
void gn_shard_fail(gn_shard *shard, gn_code code, const gn_error *err);
gn_code gn_shard_failed(gn_shard *shard);
gn_scn gn_shard_clock(gn_shard *shard);
gn_store_options gn_shard_store_options(gn_shard *shard);
/* What this store has applied. */
gn_code gn_shard_read_applied(gn_store *store, uint64_t *index, gn_scn *last_scn, gn_error *err);
/* Takes the state of this store (schema, counters, window) as the shard's; nobody reads or applies meanwhile. */
gn_code gn_shard_load_state(gn_shard *shard, gn_store *store, gn_error *err);

/* What a submitted command brings back: filled when it is applied, before the request is done. */
typedef struct gn_commit_op {
    gn_raft_request request;
    gn_event event;
    gn_code code;
    gn_scn scn;
    int64_t first; /* sequence commands */
    gn_error err;
    gn_decision_state state;               /* commands that decide */
    void (*done)(struct gn_commit_op *op); /* NULL: the event is signalled */
    /* the proposer's */
    gn_shard *shard;    /* NULL: submitted without it */
    bool no_clock;      /* why it is refused */
    uint64_t only_term; /* 0 = whichever this node leads in */
    struct gn_commit_op *next, *flight_next, *flight_prev;
    uint64_t ticket;
} gn_commit_op;
/* ---- leader.c ---- */
/* Has the group's leader propose the command, which is this node or another, and waits for what became of it; over
 * changes of leader too, which a command survives by its transaction id. The outcome is returned; op->err says more.
 * patience: NULL, or when to give up; it cannot be cancelled. From a strand. */
gn_code gn_shard_run_command(gn_shard *shard, gn_bytes command, const gn_patience *patience, gn_commit_op *op);
/* The same, if this node leads. */
gn_code gn_shard_run_command_here(gn_shard *shard, gn_bytes command, uint64_t only_term, gn_commit_op *op);
/* After this, all that was acknowledged before has been applied here, and so has all whose SCN was asked for before.
 */
gn_code gn_shard_catch_up(gn_shard *shard, const gn_patience *patience, gn_error *err);
void gn_shard_applied(gn_shard *shard, uint64_t index); /* under view_lock: who waits for it goes on */

/* ---- apply.c ---- */
gn_applier *gn_applier_create(gn_shard *shard);
void gn_applier_destroy(gn_applier *applier);
/* The queue's task for one batch of the log. */
void gn_apply_batch(gn_shard *shard, gn_raft_apply *apply);
/* One command as the log's entry `index`; then what is pending is written and published. op may be NULL. */
gn_code gn_apply_entry(gn_applier *applier, uint64_t index, gn_bytes command, gn_commit_op *op);
gn_code gn_apply_flush(gn_applier *applier, uint64_t last_index);
void gn_applier_reset(gn_applier *applier); /* after the store was replaced */

/* ---- gc.c ---- */
void gn_reader_register(gn_shard *shard, gn_reader_mark *mark, gn_scn scn); /* under view_lock */
void gn_reader_unregister(gn_shard *shard, gn_reader_mark *mark);
/* What no open transaction and no retention needs, now. */
gn_scn gn_gc_candidate(gn_shard *shard);
/* Raises the horizon to that and gives it: what only reads below it could see may be removed. It is kept in a file, so
 * that after a restart such reads are still refused. */
gn_scn gn_gc_horizon(gn_shard *shard);
/* The horizon as it was last raised: for the store's own threads, which must not ask the world for anything. */
gn_scn gn_gc_published_horizon(void *shard);
gn_code gn_gc_sweep(gn_shard *shard, gn_error *err);
gn_code gn_gc_garbage(gn_shard *shard, bool *more, gn_error *err);
/* A vector index whose files are behind by more than lag_ms is written: it holds the log back. */
gn_code gn_gc_change_log(gn_shard *shard, uint64_t lag_ms, gn_error *err);
/* Notes in the batch that a space is to be removed once nobody reads at `scn`. */
void gn_gc_note_garbage(rocksdb_writebatch_t *batch, gn_scn scn, const gn_space *space);

/* ---- keeper.c ---- */
gn_code gn_keeper_start(gn_shard *shard, gn_error *err);
void gn_keeper_stop(gn_shard *shard);

/* ---- snapshot.c, snapshot_install.c ---- */
void gn_snapshot_answer(gn_shard *shard); /* on the keeper */
void gn_snapshot_keep(gn_shard *shard);   /* on the keeper, now and then */
void gn_snapshot_install(void *shard, gn_raft_group *group, const void *data, size_t len, uint64_t index);

/* ---- sequence.c ---- */
gn_sequences *gn_sequences_create(gn_shard *shard);
void gn_sequences_destroy(gn_sequences *sequences);
void gn_sequences_give_back(gn_sequences *sequences); /* unused numbers, at a clean close */

/* ---- vector_feed.c ---- */
gn_feeds *gn_feeds_create(gn_shard *shard);
void gn_feeds_stop(gn_feeds *feeds); /* joins the feeder; NULL is fine */
void gn_feeds_destroy(gn_feeds *feeds, bool clean);
gn_code gn_feeds_open(gn_feeds *feeds, gn_error *err); /* for the schema that was found; starts the feeder */

#endif
