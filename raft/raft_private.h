/* What the files of raft/ share. Everything here belongs to the host's queue: there are no locks but the one around the
 * copy of a group's status.
 *
 * The path of a write:   submit.c -> step.c (raft_step) -> batch.c (one synced write for all groups) -> step.c
 * (persisted entries) -> commit -> apply.c -> the state machine.
 * The path of a message: step.c -> outbox (transport.c) -> one frame a peer and turn (codec.c) -> the network. */
#ifndef GN_RAFT_RAFT_PRIVATE_H
#define GN_RAFT_RAFT_PRIVATE_H

#include "base/assert.h"
#include "base/buf.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "base/versions.h"
#include "raft/host.h"

#include <pthread.h>
#include <raft.h>

_Static_assert(RAFT_VERSION_NUMBER == 2201, "libraft is 0.22.1, built by raft/libraft.cmake");
#ifndef RAFT__LEGACY_no
#error "libraft is built without its legacy interface"
#endif

enum {
    GN_RAFT_CHANNEL = 1,                /* of gn_net_send */
    GN_RAFT_STEP_ENTRIES = 1024,        /* entries of one submit or apply batch, and of a message */
    GN_RAFT_STEP_BYTES = 8 << 20,       /* bytes of one submit or apply batch, beyond its first entry */
    GN_RAFT_TAIL_ENTRIES = 4096,        /* uncommitted entries of a leader: a conflict is walked back one by one */
    GN_RAFT_TAIL_BYTES = 64 << 20,      /* uncommitted bytes of a leader */
    GN_RAFT_CACHE_BYTES = 4 << 20,      /* of a group's log kept in memory once it is on disk and applied */
    GN_RAFT_INFLIGHT_BYTES = 16 << 20,  /* sent to one follower and not yet acknowledged */
    GN_RAFT_PENDING_REQUESTS = 1 << 16, /* waiting for one group, of each kind; more are refused */
    GN_RAFT_OUTBOX = 8192,              /* messages of one group held until its term is durable; more are lost */
    GN_RAFT_GATHER_NS = 1000000,        /* the longest wait for more commands before a write */
    /* After which a manifest is sent again. Who installs it does not listen; who lost it, or put it off, and rejects
     * the heartbeats of a leader that has taken a newer snapshot since, is heard by the core only after this time. */
    GN_RAFT_INSTALL_TIMEOUT_MS = 5000,
    GN_RAFT_CATCH_UP_MS = 120000,       /* a round of catching up before a promotion; the first may be a snapshot */
    GN_RAFT_GONE_MS = 20,               /* after the process of a group's leader has ended its followers stand, */
    GN_RAFT_GONE_TURN_MS = 100,         /* one after the other */
    GN_RAFT_STALL_MS = 10000,           /* a leader commits nothing: what waits ends (stall.c) */
    GN_RAFT_CATCH_UP_SILENCE_MS = 5000, /* of the node that catches up; then somebody else may be what is needed */
};

/* ---- records: the log as it lies on disk and goes over the wire (log_store.c) ---- */

/* Key: group (8), kind (1), index (8), big-endian, so that a group's records lie together and entries in order. Group 0
 * has the store's own record. */
enum { GN_RAFT_KEY_SIZE = 17 };
typedef enum gn_raft_kind {
    GN_RAFT_KIND_STORE = 0,    /* version of the format, node */
    GN_RAFT_KIND_STATE = 1,    /* term and vote */
    GN_RAFT_KIND_SNAPSHOT = 2, /* metadata, configuration, manifest */
    GN_RAFT_KIND_INSTALL = 3,  /* a snapshot whose install has begun, as it will be when it ends */
    GN_RAFT_KIND_ENTRY = 4,
} gn_raft_kind;

/* An entry: version (1), type (1), term (8), checksum (8), payload. The checksum covers group and index too, so a
 * record in a wrong place is noticed. A follower stores the bytes that it received. */
enum { GN_RAFT_RECORD_HEADER = 18 };

typedef struct gn_raft_record {
    uint64_t term;
    uint8_t type; /* enum raft_entry_type */
    gn_bytes payload;
} gn_raft_record;

void gn_raft_key(uint8_t key[GN_RAFT_KEY_SIZE], uint64_t group, gn_raft_kind kind, uint64_t index);
bool gn_raft_key_read(gn_bytes key, uint64_t *group, gn_raft_kind *kind, uint64_t *index);
/* Writes header and payload; out has room for both. */
void gn_raft_record_write(uint8_t *out, uint64_t group, uint64_t index, const gn_raft_record *record);
/* False when it is too short, of an unknown version or type, or its checksum is wrong. */
bool gn_raft_record_read(gn_bytes bytes, uint64_t group, uint64_t index, gn_raft_record *record);
/* Term and type of a record that was verified before. */
uint64_t gn_raft_record_term(const uint8_t *record);
uint8_t gn_raft_record_type(const uint8_t *record);

typedef struct gn_raft_snapshot_record {
    uint64_t index, term, configuration_index;
    gn_bytes configuration; /* libraft's encoding */
    gn_bytes manifest;
} gn_raft_snapshot_record;

enum { GN_RAFT_STATE_SIZE = 25 };
void gn_raft_state_write(uint8_t out[GN_RAFT_STATE_SIZE], uint64_t group, uint64_t term, uint64_t vote);
bool gn_raft_state_read(gn_bytes bytes, uint64_t group, uint64_t *term, uint64_t *vote);
void gn_raft_snapshot_write(gn_buf *out, uint64_t group, const gn_raft_snapshot_record *snapshot);
/* Borrows from bytes. */
bool gn_raft_snapshot_read(gn_bytes bytes, uint64_t group, gn_raft_snapshot_record *snapshot);

/* ---- configurations (configuration.c) ---- */

/* Whether these bytes are a configuration that this host could have written: libraft's decoder checks no bounds. */
bool gn_raft_configuration_valid(gn_bytes encoded);
/* Encodes members sorted by id, so that every node that creates a group writes the same first entry. Frees with
 * raft_free. */
gn_bytes gn_raft_configuration_encode(const gn_raft_member *members, size_t n);
void gn_raft_configuration_decode(gn_bytes encoded, struct raft_configuration *out); /* of valid bytes */

/* ---- the end of the log in memory (tail.c) ---- */

/* Records of consecutive entries in one piece of memory, shared by the log's tail, a write in flight and an apply. */
typedef struct gn_raft_segment {
    size_t refs;
    size_t len;
    uint8_t data[];
} gn_raft_segment;

gn_raft_segment *gn_raft_segment_create(size_t len);
gn_raft_segment *gn_raft_segment_ref(gn_raft_segment *segment);
void gn_raft_segment_unref(gn_raft_segment *segment); /* NULL is fine */

typedef struct gn_raft_slot {
    gn_raft_segment *segment;
    const uint8_t *record; /* in the segment */
    uint32_t len;
} gn_raft_slot;

/* A ring of the newest entries. */
typedef struct gn_raft_tail {
    gn_raft_slot *slots;
    size_t cap, head, n;
    uint64_t first; /* index of the oldest */
    size_t bytes;
} gn_raft_tail;

void gn_raft_tail_close(gn_raft_tail *tail);
void gn_raft_tail_append(gn_raft_tail *tail, uint64_t index, gn_raft_slot slot); /* takes a reference of its own */
void gn_raft_tail_truncate(gn_raft_tail *tail, uint64_t from);
void gn_raft_tail_evict(gn_raft_tail *tail); /* the oldest */
const gn_raft_slot *gn_raft_tail_get(const gn_raft_tail *tail, uint64_t index);

/* ---- the gathered write (batch.c) ---- */

typedef struct gn_raft_batch {
    gn_raft_host *host;
    uint64_t seq;
    gn_disk_op *ops;
    size_t n, cap;
    gn_arena *arena;        /* keys and small values */
    gn_raft_segment **pins; /* memory of the values */
    size_t n_pins, cap_pins;
    size_t entries, bytes;
    bool sync;
    gn_raft_group *parts; /* groups that wait for it, by part[].next */
    gn_disk_write write;
    uint64_t started_ns;
} gn_raft_batch;

/* What a group waits for in one of the two batches. */
typedef struct gn_raft_part {
    bool in;
    bool create;          /* the group's first records */
    bool snapshot;        /* group->taken is in it */
    bool install_begins;  /* the record that an install begins */
    bool install_ends;    /* the installed snapshot's record */
    uint64_t entries_end; /* to be reported as persisted; 0 = nothing */
    gn_raft_group *next;
} gn_raft_part;

void gn_raft_batch_init(gn_raft_batch *batch, gn_raft_host *host);
void gn_raft_batch_close(gn_raft_batch *batch);
/* The group's part in the batch that is being filled; enters it. */
gn_raft_part *gn_raft_batch_part(gn_raft_group *group);
void gn_raft_batch_put(gn_raft_group *group, gn_raft_kind kind, uint64_t index, gn_raft_segment *pin, gn_bytes value);
void gn_raft_batch_put_state(gn_raft_group *group);
void gn_raft_batch_delete(gn_raft_group *group, gn_raft_kind kind, uint64_t from, uint64_t to); /* [from, to) */
/* Starts the write of what was gathered, if there is any and none is under way. */
void gn_raft_batch_kick(gn_raft_host *host);

/* ---- requests ---- */

typedef enum gn_raft_request_kind {
    GN_RAFT_SUBMIT,
    GN_RAFT_READ,
    GN_RAFT_ADD,
    GN_RAFT_PROMOTE,
    GN_RAFT_REMOVE,
    GN_RAFT_TRANSFER,
    GN_RAFT_SNAPSHOT_NOW,
    GN_RAFT_TELL,
} gn_raft_request_kind;

typedef struct gn_raft_fifo {
    gn_raft_request *head, *tail;
    size_t n;
} gn_raft_fifo;

void gn_raft_fifo_push(gn_raft_fifo *fifo, gn_raft_request *request);
gn_raft_request *gn_raft_fifo_pop(gn_raft_fifo *fifo); /* NULL when empty */
void gn_raft_finish(gn_raft_request *request, gn_code code);
void gn_raft_fifo_finish(gn_raft_fifo *fifo, gn_code code, gn_node_id leader); /* all of them */

/* ---- groups ---- */

/* A CHANGE entry of the log, or the configuration of the snapshot before it. */
typedef struct gn_raft_change {
    uint64_t index;
    void *data;
    size_t len;
} gn_raft_change;

/* How many bytes of log lie before an index, noted now and then: enough to cut by bytes. */
typedef struct gn_raft_mark {
    uint64_t index; /* bytes is the size of everything up to and including it */
    uint64_t bytes;
} gn_raft_mark;

typedef struct gn_raft_read_round {
    uint64_t number;    /* of the round under way; 0 = none */
    uint64_t index;     /* read index of its reads */
    gn_raft_fifo reads; /* that it serves */
    gn_node_id acked[GN_MAX_PEERS];
    size_t n_acked;
    gn_node_id quick; /* who answered first when all were asked last; 0 = nobody yet */
} gn_raft_read_round;

struct gn_raft_group {
    gn_raft_host *host;
    uint64_t id;
    gn_raft_fsm fsm;
    struct raft raft;
    bool started; /* the core runs */
    bool stopped; /* fail-stop */
    bool closing;
    gn_code stop_code;

    /* opening and closing */
    gn_task task;
    gn_event *opened, *closed; /* who waits for it */
    gn_code open_code;
    uint64_t open_index; /* applied up to here = recovered */
    bool creating, registered;
    struct gn_raft_recovery *recovery;

    /* the turn */
    bool touched;
    gn_raft_group *touched_next;
    size_t heap_pos; /* 1-based position in the host's deadlines; 0 = not there */
    uint64_t deadline_ms;

    /* the log */
    gn_raft_tail tail;
    uint64_t first_index, last_index, last_term;
    gn_raft_change *changes; /* ascending; the first is the snapshot's configuration where there is a snapshot */
    size_t n_changes, cap_changes;
    uint64_t changes_fired; /* RAFT_CONFIGURATION was fired up to this index */
    gn_raft_mark *marks;
    size_t n_marks, cap_marks;
    uint64_t log_bytes;          /* since the group was opened, or first entry */
    uint64_t log_bytes_snapshot; /* of these, what the newest snapshot covers */
    uint64_t average_entry;      /* bytes, smoothed */
    gn_raft_part part[2];

    /* role */
    uint64_t term;       /* as the core had it after its last step */
    uint64_t commit;     /* known to be committed: by the core, or because the state machine has it */
    uint64_t state_seq;  /* batch that makes term and vote durable */
    bool leads, eager;   /* eager: the first candidate of a new group */
    uint64_t lead_first; /* index of the first entry of the own term; 0 = none yet */
    gn_node_id leader;

    /* writes */
    gn_raft_fifo pending; /* not yet given to the core */
    bool held;            /* until the write under way is done and enough have gathered */
    gn_raft_group *held_next;
    gn_raft_fifo waiting;            /* in the log, in order of index */
    uint64_t stall_commit, stall_ms; /* since when commit has stood there */

    /* apply */
    gn_raft_apply apply;
    gn_raft_entry *apply_entries;
    gn_raft_slot *apply_slots;
    size_t cap_apply;
    size_t n_apply_slots;
    bool applying;
    gn_code apply_code;
    gn_task apply_task;
    uint64_t applied;

    /* reads */
    gn_raft_fifo reads; /* wait for the next round */
    gn_raft_read_round round;
    uint64_t rounds;         /* begun so far */
    gn_raft_fifo reads_done; /* confirmed; wait until their index is applied */

    struct gn_raft_wish { /* members that wait to hear that an index is committed */
        gn_node_id member;
        uint64_t index;
    } wishes[GN_MAX_PEERS];
    size_t n_wishes;

    /* membership and transfer */
    gn_raft_request *change; /* the one under way */
    bool change_submitted, change_catching_up;
    uint64_t change_began_ms; /* the catching up */
    gn_raft_request *transfer;
    bool transfer_sent;
    uint64_t transfer_deadline_ms; /* after stepping down: wait so long for the new leader's first message */

    /* snapshots */
    gn_raft_segment *snapshot_bytes; /* the record of the newest one; NULL = none */
    gn_raft_snapshot_record snapshot;
    bool taking;                  /* the state machine was asked and has not answered */
    gn_raft_segment *taken_bytes; /* taken, on its way to disk */
    gn_raft_snapshot_record taken;
    uint64_t asked_log_bytes; /* log_bytes when the state machine was last asked */
    gn_raft_request *snapshot_request;
    bool answered; /* by the state machine: snapshot_answer */
    gn_code snapshot_code;
    gn_raft_snapshot snapshot_answer;
    gn_task snapshot_task;
    enum {
        GN_RAFT_INSTALL_NONE,
        GN_RAFT_INSTALL_WAITS,  /* for the batch or the snapshot that the state machine has in hand */
        GN_RAFT_INSTALL_BEGINS, /* its record is being written */
        GN_RAFT_INSTALL_RUNS,   /* in the state machine */
        GN_RAFT_INSTALL_ENDS,   /* the snapshot's record is being written */
        GN_RAFT_INSTALL_UNDONE, /* the state machine could not: waits for writes under way, then goes back */
    } install;
    struct raft_snapshot_metadata install_metadata;
    gn_raft_segment *install_bytes;
    gn_raft_snapshot_record install_record;
    gn_code install_code;
    gn_task install_task;
    gn_node_id undone_leader; /* whose snapshot was put off, to be told; 0 = nobody */
    uint64_t undone_index;
    struct gn_raft_sent {
        gn_node_id to;
        uint64_t index, ms;
    } sent[GN_MAX_PEERS]; /* snapshots, lately */
    size_t n_sent;

    /* messages that wait for the turn's end, or until what they say is durable */
    struct raft_message *outbox;
    size_t n_outbox, cap_outbox;

    pthread_mutex_t status_lock;
    gn_raft_status status;
    _Atomic bool reads_alone;      /* as of the last turn; see gn_raft_read_alone */
    _Atomic uint64_t acknowledged; /* highest index of a command that the state machine has answered */
};

/* ---- the host ---- */

typedef struct gn_raft_peer {
    gn_node_id id;
    gn_buf frame;
    uint64_t heard_ms; /* when the last frame came from it; 0: none, or it is gone since */
    bool gone;         /* the network has said so, and nothing was heard since */
} gn_raft_peer;

typedef struct gn_raft_metrics {
    gn_metric *entries, *batches, *batch_entries, *sync_seconds, *bytes, *term_changes, *elections, *applied, *reads,
        *read_rounds, *messages_sent, *messages_received, *messages_bad, *snapshots_taken, *snapshots_installed,
        *snapshots_put_off, *groups, *leaders;
} gn_raft_metrics;

struct gn_raft_host {
    gn_world *world;
    gn_queue *queue;
    gn_log_disk *disk;
    gn_raft_options options;
    _Atomic uint32_t version; /* of the cluster, as the store has it */
    char *log_dir;
    gn_node_id self;
    char address[24]; /* the node's id as text: libraft wants an address */
    gn_raft_metrics metrics;
    bool failed, failed_reported;
    gn_code failed_code;

    _Atomic(gn_raft_request *) inbox; /* newest first */
    gn_task inbox_task;

    gn_raft_group **groups; /* by id */
    size_t n_groups, cap_groups;
    gn_raft_group *touched;
    gn_raft_group **deadlines; /* heap */
    size_t n_deadlines, cap_deadlines;
    gn_timer timer;
    uint64_t timer_ms; /* when it will fire; 0 = not running */

    gn_raft_batch batch[2];
    unsigned filling; /* which of them */
    bool writing;     /* the other one is under way */
    uint64_t durable_seq;

    gn_raft_group *held; /* groups with commands that wait for the next write */
    bool gathering, gather_armed;
    gn_timer gather_timer;
    uint64_t gather_until_ns, sync_ns;    /* sync_ns: of a write, smoothed */
    size_t gather_target;                 /* commands worth waiting for */
    unsigned gather_skip, gather_backoff; /* writes to do without */

    gn_raft_peer **peers; /* by id */
    size_t n_peers, cap_peers;
    gn_node_id quick; /* as a group's, of any group */

    /* scratch: the entries given to the core and where their bytes are */
    struct raft_entry *entries;
    gn_raft_slot *slots;
    size_t cap_entries;
};

uint64_t gn_raft_now_ms(const gn_raft_host *host);
/* Writes beside the batches, of a group that is not open: durable on return. From a strand or the main thread. */
gn_code gn_raft_write_now(gn_raft_host *host, const gn_disk_op *ops, size_t n, gn_error *err);
gn_raft_group *gn_raft_host_find(const gn_raft_host *host, uint64_t id);
void gn_raft_host_add(gn_raft_host *host, gn_raft_group *group);
void gn_raft_host_forget(gn_raft_host *host, gn_raft_group *group);
/* Ends each task on the host's queue: advances the groups that something happened to, writes, sends. */
void gn_raft_host_turn(gn_raft_host *host);
/* Fail-stop of everything. */
void gn_raft_host_fail(gn_raft_host *host, gn_code code, const char *message);
/* Grows the scratch arrays. */
void gn_raft_host_scratch(gn_raft_host *host, size_t n);

/* deadline.c */
void gn_raft_deadline_update(gn_raft_group *group);
void gn_raft_deadline_remove(gn_raft_group *group);
void gn_raft_deadline_arm(gn_raft_host *host);
void gn_raft_deadline_fire(gn_timer *timer);

/* group.c */
void gn_raft_group_touch(gn_raft_group *group);
void gn_raft_group_publish(gn_raft_group *group); /* the status, before an operation's end is told */
void gn_raft_group_advance(gn_raft_group *group);
void gn_raft_group_stop(gn_raft_group *group, gn_code code, const char *why);
void gn_raft_group_created(gn_raft_group *group);
/* Nothing is on its way to disk, nor with the state machine. */
bool gn_raft_group_quiescent(const gn_raft_group *group);
/* Begins anew from what the disk has, as after a crash. The group must be quiescent. */
void gn_raft_group_reopen(gn_raft_group *group);
void gn_raft_group_route(gn_raft_group *group, gn_raft_request *request);
bool gn_raft_can_read(const gn_raft_group *group);
bool gn_raft_state_durable(const gn_raft_group *group);

/* recovery.c: what the disk has of a group */
typedef struct gn_raft_recovery {
    bool found;
    uint64_t term, vote;
    gn_raft_segment *snapshot_bytes;
    gn_raft_snapshot_record snapshot;
    bool interrupted;     /* an install began and did not end here: what it left is to be cleared away */
    bool installed;       /* the state machine had done its part of it: it takes the place of snapshot and log */
    uint64_t first_index; /* of the entries; 0 = none */
    uint64_t *terms;
    uint8_t *types;
    size_t n, cap;
} gn_raft_recovery;

gn_code gn_raft_recover(gn_raft_group *group, uint64_t applied_index, gn_error *err);
void gn_raft_recovery_destroy(gn_raft_recovery *recovery); /* NULL is fine */

/* log.c: the log as the group sees it */
void gn_raft_log_append(gn_raft_group *group, uint64_t index, const gn_raft_slot *slots, size_t n);
void gn_raft_log_note(gn_raft_group *group, uint64_t index, uint8_t type, gn_bytes payload, size_t record_len);
void gn_raft_log_reset(gn_raft_group *group, uint64_t index, uint64_t term); /* empty, behind a snapshot */
void gn_raft_log_evict(gn_raft_group *group);
/* Up to n slots from index `from`, at most max_bytes beyond the first; each holds a reference. The number read; 0 when
 * the group or host has stopped over it, or the log does not have `from`. */
size_t gn_raft_log_load(gn_raft_group *group, uint64_t from, size_t n, size_t max_bytes, gn_raft_slot *slots);
void gn_raft_log_cut(gn_raft_group *group, uint64_t upto);
uint64_t gn_raft_log_cut_index(const gn_raft_group *group, uint64_t snapshot_index);
const gn_raft_change *gn_raft_log_configuration_at(const gn_raft_group *group, uint64_t index);
void gn_raft_log_add_change(gn_raft_group *group, uint64_t index, gn_bytes encoded);

/* Messages are for it. */
static inline bool gn_raft_is_at_work(const gn_raft_group *group)
{
    return group->started && !group->stopped && !group->closing;
}

/* step.c: the only caller of raft_step */
int gn_raft_step(gn_raft_group *group, struct raft_event *event);
void gn_raft_step_start(gn_raft_group *group);
void gn_raft_step_persisted(gn_raft_group *group, uint64_t index);
void gn_raft_step_timeout(gn_raft_group *group);
void gn_raft_step_forget_silent(gn_raft_group *group); /* before a vote: a leader not heard for a timeout is none */
void gn_raft_step_leader_gone(gn_raft_group *group, gn_node_id leader); /* its process has ended */
/* What was committed before will be applied and answered; of the rest the outcome is unknown. */
void gn_raft_waiting_fail(gn_raft_group *group);
/* Steps a SUBMIT of the first n scratch entries, all in this segment. False when the core refused. */
bool gn_raft_step_submit(gn_raft_group *group, size_t n);

/* submit.c */
void gn_raft_submit_pending(gn_raft_group *group);
void gn_raft_submit_forget(gn_raft_group *group); /* it is going away */
void gn_raft_submit_written(gn_raft_host *host, size_t entries, uint64_t took_ns);
void gn_raft_submit_release(gn_raft_host *host); /* what was held, if it is time */
void gn_raft_submit_gathered(gn_timer *timer);
void gn_raft_submit_barrier(gn_raft_group *group);
bool gn_raft_submit_change(gn_raft_group *group, const gn_raft_member *members, size_t n);

/* stall.c: at every tick of a leader */
void gn_raft_stall_check(gn_raft_group *group);

/* apply.c */
void gn_raft_apply_start(gn_raft_group *group);

/* read_index.c */
bool gn_raft_is_sole_voter(const gn_raft_group *group);
bool gn_raft_read_alone(gn_raft_group *group, gn_raft_request *request); /* any thread */
void gn_raft_read_add(gn_raft_group *group, gn_raft_request *request);
void gn_raft_read_advance(gn_raft_group *group);
void gn_raft_read_retry(gn_raft_group *group);
void gn_raft_read_fail(gn_raft_group *group, gn_code code);
void gn_raft_read_probe(gn_raft_group *group, gn_node_id from, uint64_t term, uint64_t round);
void gn_raft_read_ack(gn_raft_group *group, gn_node_id from, uint64_t term, uint64_t round);

/* membership.c */
void gn_raft_membership_add(gn_raft_group *group, gn_raft_request *request);
void gn_raft_membership_advance(gn_raft_group *group);
void gn_raft_membership_committed(gn_raft_group *group, uint64_t index);
void gn_raft_membership_fail(gn_raft_group *group, gn_code code);

/* transfer.c */
void gn_raft_transfer_add(gn_raft_group *group, gn_raft_request *request);
void gn_raft_transfer_advance(gn_raft_group *group);
void gn_raft_transfer_fail(gn_raft_group *group, gn_code code);

/* snapshot.c */
void gn_raft_snapshot_advance(gn_raft_group *group);
void gn_raft_snapshot_now(gn_raft_group *group, gn_raft_request *request);
void gn_raft_snapshot_durable(gn_raft_group *group);
void gn_raft_install_begin(gn_raft_group *group, const struct raft_snapshot_metadata *metadata,
                           struct raft_buffer *chunk);
void gn_raft_install_recorded(gn_raft_group *group);
void gn_raft_install_durable(gn_raft_group *group);
void gn_raft_install_tell_undone(gn_raft_group *group); /* after the group began anew */
void gn_raft_snapshot_close(gn_raft_group *group);
bool gn_raft_snapshot_busy(const gn_raft_group *group); /* the state machine owes an answer, or a write is under way */

/* transport.c */
void gn_raft_outbox_add(gn_raft_group *group, const struct raft_message *message);
void gn_raft_outbox_flush(gn_raft_group *group);
void gn_raft_wish_add(gn_raft_group *group, gn_node_id member);
void gn_raft_wishes_advance(gn_raft_group *group);
void gn_raft_transport_flush(gn_raft_host *host);
void gn_raft_transport_probe(gn_raft_group *group, gn_node_id to, bool ack, uint64_t term, uint64_t round);
void gn_raft_transport_receive(void *ctx, gn_node_id from, gn_bytes frame);
/* When the last frame came from this node; 0 = never, or it was never sent to. */
uint64_t gn_raft_transport_heard_ms(const gn_raft_host *host, gn_node_id id);
/* Something came from it within half an election timeout. */
bool gn_raft_transport_hears(const gn_raft_host *host, gn_node_id id);
void gn_raft_transport_close(gn_raft_host *host);

/* ---- frames (codec.c) ---- */

enum { GN_RAFT_WIRE_VERSION = GN_FORMAT_RAFT_WIRE };
enum { GN_RAFT_WIRE_READ_PROBE = 7, GN_RAFT_WIRE_READ_ACK = 8 }; /* beside enum raft_message_type */

/* One message of a frame, validated as far as it can be without the group's state. */
typedef struct gn_raft_wire {
    uint64_t group;
    uint8_t type;
    struct raft_message core;         /* types of libraft; entries, configuration and data are below */
    uint64_t term, round;             /* probe and ack */
    gn_bytes records;                 /* AppendEntries: n_entries times length (4) and record */
    gn_bytes configuration, manifest; /* InstallSnapshot */
} gn_raft_wire;

void gn_raft_wire_begin(gn_buf *frame); /* the version byte, in an empty frame */
/* For AppendEntries n_entries of the message says how many slots follow. */
void gn_raft_wire_put(gn_buf *frame, uint64_t group, const struct raft_message *message, const gn_raft_slot *slots,
                      const gn_raft_snapshot_record *snapshot);
void gn_raft_wire_put_probe(gn_buf *frame, uint64_t group, bool ack, uint64_t term, uint64_t round);
/* Takes the next message off the reader. False at the end, or when the frame is malformed (then *bad). */
bool gn_raft_wire_next(gn_reader *frame, gn_raft_wire *out, bool *bad);

#endif
