/* The Raft host: many groups in one process over libraft's I/O-free core.
 *
 * The host owns one queue and one log disk. It gathers the updates of every group that moved, writes all their entries,
 * terms and votes in one batch with one fsync, and only then sends messages, reports persisted entries and applies.
 * A single node is a group of one voter on exactly this path.
 *
 * All functions may be called from any thread unless said otherwise; they post to the host's queue. */
#ifndef GN_RAFT_HOST_H
#define GN_RAFT_HOST_H

#include "base/versions.h"
#include "base/world.h"

typedef struct gn_raft_host gn_raft_host;
typedef struct gn_raft_group gn_raft_group;

/* What another node said of a group of which it has a replica: that this is its term. See gn_raft_read_index. */
typedef struct gn_raft_voucher {
    gn_node_id node; /* 0: nobody said anything */
    uint64_t term;
} gn_raft_voucher;

/* A caller's operation on a group, in caller-owned memory that stays until `done` has run. `done` runs exactly once, on
 * any thread, and must not block. Codes: GN_OK; GN_NOT_LEADER (nothing happened; `leader` tells who may);
 * GN_UNAVAILABLE; GN_OUTCOME_UNKNOWN (it was handed to Raft and leadership was lost: it may or may not commit);
 * GN_SHUTDOWN (group or host is closing; for a command the outcome is unknown); GN_CRASH_SHUTDOWN (the log's disk
 * failed; outcome unknown); GN_LIMIT (a command larger than GN_MAX_ENTRY). */
typedef struct gn_raft_request {
    void (*done)(struct gn_raft_request *request, gn_code code);
    gn_node_id leader; /* out, with GN_NOT_LEADER: last known leader, 0 = none */
    uint64_t index;    /* out: the log index of a committed command or change; the read index of a read */
    gn_bytes command;  /* in, for submit: borrowed until done */
    /* in, for submit: 0, or refuse it with GN_NOT_LEADER unless this node leads in this very term. */
    uint64_t only_term;
    gn_raft_voucher voucher; /* in, for a read: of what came with it from elsewhere */
    /* the host's from here on */
    gn_task task;
    struct gn_raft_request *next;
    gn_raft_group *group;
    uint64_t term;
    int kind;
    gn_node_id target;
} gn_raft_request;

/* One committed entry, in order, without holes (entries that are Raft's own are not shown). */
typedef struct gn_raft_entry {
    uint64_t index;
    uint64_t term;
    gn_bytes command;
    gn_raft_request *request; /* the submit that made it, if it is this process's own and still waiting; else NULL */
} gn_raft_entry;

/* A batch handed to the state machine. The state machine applies it (on a queue of its own), calls
 * gn_raft_request_done for every entry that has a request as soon as that entry's effect can be read, and at the end
 * gn_raft_apply_done. The next batch of the group comes only after that. */
typedef struct gn_raft_apply {
    gn_raft_group *group;
    size_t n;
    const gn_raft_entry *entries;
    uint64_t last_index; /* of the batch, including entries that were Raft's own; becomes the applied index */
    gn_task task;        /* for the state machine: to post itself */
} gn_raft_apply;

void gn_raft_request_done(gn_raft_request *request, gn_code code); /* any thread */
/* code other than GN_OK: the state machine cannot go on; the group stops (fail-stop). Any thread. */
void gn_raft_apply_done(gn_raft_apply *apply, gn_code code);

/* A snapshot as Raft sees it: opaque bytes, a manifest of at most GN_MAX_RAFT_MANIFEST; `data` is freed by the host
 * with free(). A node may hand on the manifest that it got from another leader, so it must mean the same everywhere. */
typedef struct gn_raft_snapshot {
    void *data;
    size_t len;
    uint64_t index; /* everything up to here is in it */
} gn_raft_snapshot;

/* The state machine of a group, implemented by shard/. All are called on the host's queue and must not block. */
typedef struct gn_raft_fsm {
    void *ctx;
    /* See gn_raft_apply. */
    void (*apply)(void *ctx, gn_raft_apply *apply);
    /* The log may be cut below: everything up to this index is durable in the state machine itself. Cheap. */
    uint64_t (*durable_index)(void *ctx);
    /* Asks for a snapshot at the applied index; answer with gn_raft_snapshot_taken. Never two at a time. */
    void (*snapshot_take)(void *ctx, gn_raft_group *group);
    /* Replaces the whole state by this snapshot; answer with gn_raft_snapshot_installed. Nothing is applied meanwhile.
     */
    void (*snapshot_install)(void *ctx, gn_raft_group *group, const void *data, size_t len, uint64_t index);
    /* This node began (true) or ceased (false) to lead the group. May be NULL. */
    void (*leadership)(void *ctx, bool leads, uint64_t term);
} gn_raft_fsm;

/* code other than GN_OK: no snapshot this time (not fatal). snapshot is copied, its data taken. Any thread. */
void gn_raft_snapshot_taken(gn_raft_group *group, gn_code code, const gn_raft_snapshot *snapshot);
/* GN_UNAVAILABLE: not now, and the state machine is as it was before. The group goes back to where a crash would have
 * left it, takes part in elections, and gets a snapshot again, perhaps a newer one: so an install whose files cannot be
 * had must end with this after a while rather than wait. Any other code but GN_OK: the group stops. Any thread. */
void gn_raft_snapshot_installed(gn_raft_group *group, gn_code code);

typedef struct gn_raft_options {
    const char *log_dir;               /* the log disk's directory */
    uint64_t election_timeout_ms;      /* 0 = 1000 */
    uint64_t heartbeat_ms;             /* 0 = 100 */
    uint64_t snapshot_threshold_bytes; /* log bytes since the last snapshot that ask for a new one; 0 = 64 MiB */
    uint64_t log_keep_bytes;           /* kept behind a snapshot for slow followers; 0 = 8 MiB */
    /* Called once, on the host's queue, when the log's disk failed or an entry's checksum is wrong: every group of the
     * host has stopped. The process should end. May be NULL. */
    void (*failed)(void *ctx, gn_code code, const char *message);
    void *failed_ctx;
    /* A group's leader has not been heard for an election timeout. On the host's queue, now and again; must not block.
     * May be NULL. */
    void (*silent)(void *ctx, gn_node_id leader);
    void *silent_ctx;
    gn_version_range versions; /* cluster versions that this build can do */
} gn_raft_options;

/* GN_CONFIGURATION: the log is another node's, or of a cluster version that this build cannot do. */
gn_code gn_raft_host_open(gn_world *world, const gn_raft_options *options, gn_raft_host **out, gn_error *err);
/* Raises, durably, the cluster version of the log's directory, which a build that cannot do it refuses: to be done
 * before anything of that version is written. Nothing if it is that high. From a strand or the main thread. */
gn_code gn_raft_host_raise(gn_raft_host *host, uint32_t version, gn_error *err);
/* From a strand or the main thread. All groups must be closed. */
void gn_raft_host_close(gn_raft_host *host);

typedef enum gn_raft_role { GN_RAFT_VOTER, GN_RAFT_NON_VOTER } gn_raft_role;

typedef struct gn_raft_member {
    gn_node_id id;
    gn_raft_role role;
} gn_raft_member;

/* Opens group `id` (never 0), creating it with `members` when the log has none of it (`n` = 0: it must exist, or this
 * node waits to be added by a leader). applied_index: what the state machine holds already (0 = nothing); entries after
 * it are applied again, the first of them (what this node can tell to be committed: a sole voter's whole log) before
 * this returns. From a strand or the main thread; blocks until the group has recovered. */
gn_code gn_raft_group_open(gn_raft_host *host, uint64_t id, const gn_raft_fsm *fsm, uint64_t applied_index,
                           const gn_raft_member *members, size_t n, gn_raft_group **out, gn_error *err);
/* Fails what is pending with GN_SHUTDOWN, waits until the state machine has returned its batch and answered a snapshot
 * or install that it was asked for. From a strand or the main thread. */
void gn_raft_group_close(gn_raft_group *group);

/* A group that begins with a state machine that this node has already: another group's part, split off. Makes its log:
 * term 1 and a snapshot at GN_RAFT_SEED_INDEX, which `manifest` (of at most GN_MAX_RAFT_MANIFEST) describes, with the
 * configuration `members`; durable on return. All of them must come to the same state machine. *made false: the log
 * knows the group already, and nothing is changed. The group is not open. From a strand. */
enum { GN_RAFT_SEED_INDEX = 2 };
gn_code gn_raft_seed(gn_raft_host *host, uint64_t id, const gn_raft_member *members, size_t n, gn_bytes manifest,
                     bool *made, gn_error *err);
/* The log has records of the group. From a strand or the main thread. */
gn_code gn_raft_knows(gn_raft_host *host, uint64_t id, bool *knows, gn_error *err);

/* Removes everything that the log has of a group that is closed: for a replica that was removed from it, since it
 * forgets what it voted for. From a strand. */
gn_code gn_raft_erase(gn_raft_host *host, uint64_t id, gn_error *err);

/* Appends request->command. done(GN_OK) comes from the state machine by gn_raft_request_done. It does not wait for
 * ever: when no majority has stored anything for 10 s, GN_OUTCOME_UNKNOWN, or GN_UNAVAILABLE if it was not proposed. */
void gn_raft_submit(gn_raft_group *group, gn_raft_request *request);
/* Linearizable read: done(GN_OK) when this leader has confirmed its term and request->index is applied here. A sole
 * voter calls done before this returns.
 *
 * Who asks for another node can spare the leader its round: that node's term (gn_raft_leader there), looked up after
 * the read had come and sent along, is as good as its answer to the leader's question. If it is the leader's own term
 * still, and the two are a majority, nobody else is asked. */
void gn_raft_read_index(gn_raft_group *group, gn_raft_request *request);
/* The same for several groups of one host: what is asked of one node for all of them goes in one frame. */
void gn_raft_read_index_all(gn_raft_group *const *groups, gn_raft_request *const *requests, size_t n);
/* The member hears what is committed by now as soon as it has it, rather than with the next entry or heartbeat: for one
 * that waits to apply it. Nothing if this node does not lead. */
void gn_raft_tell_commit(gn_raft_group *group, gn_node_id member);
/* Membership, one change at a time: GN_OBJECT_IN_USE when one is under way. Leader only. GN_OK when it is committed;
 * GN_NO_OBJECT, GN_DUPLICATE_OBJECT, GN_NOT_IN_STATE when it makes no sense; GN_UNAVAILABLE when the server did not
 * catch up, GN_OUTCOME_UNKNOWN when leadership was lost over it. */
void gn_raft_add(gn_raft_group *group, gn_node_id id, gn_raft_request *request);     /* as a non-voter */
void gn_raft_promote(gn_raft_group *group, gn_node_id id, gn_raft_request *request); /* catches up, then votes */
void gn_raft_remove(gn_raft_group *group, gn_node_id id, gn_raft_request *request);  /* not the leader itself */
/* Stops submitting, waits until the target has everything, hands over. GN_UNAVAILABLE: this node leads on, or nobody;
 * at once, with nothing stopped, when nothing was heard of the target lately. */
void gn_raft_transfer(gn_raft_group *group, gn_node_id id, gn_raft_request *request);
/* Asks for a snapshot now. done(GN_OK) when it is durable. */
void gn_raft_take_snapshot(gn_raft_group *group, gn_raft_request *request);

typedef struct gn_raft_status {
    uint64_t id, term, last_index, last_term; /* the last two: of the last entry */
    uint64_t commit_index, applied_index, snapshot_index, first_index;
    gn_node_id leader;    /* 0 = unknown */
    bool leads, can_read; /* can_read: leads and has committed in its own term */
    bool stopped;         /* fail-stop */
    size_t n_members;
    gn_raft_member members[64];
} gn_raft_status;

/* Who leads as far as is known here (0: nobody), and in which term. Cheap; any thread. */
gn_node_id gn_raft_leader(gn_raft_group *group, uint64_t *term);
uint64_t gn_raft_applied(gn_raft_group *group);              /* the index; any thread */
bool gn_raft_is_member(gn_raft_group *group, gn_node_id id); /* as far as is known here; cheap; any thread */
bool gn_raft_answers_alone(
    gn_raft_group *group); /* this node leads and needs nobody to confirm a read; cheap; any thread */
void gn_raft_status_get(gn_raft_group *group, gn_raft_status *out); /* a recent copy; any thread */

#endif
