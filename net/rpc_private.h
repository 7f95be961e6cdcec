/* What the files of requests between nodes share: net/rpc*.c.
 *
 *   rpc.c         life, locking, frames out and in, who the peers are
 *   rpc_frame.c   the bytes of a frame
 *   rpc_ask.c     calls: numbers, sending again, deadlines, silence
 *   rpc_answer.c  requests: what was seen, what runs, answers that are kept
 *   rpc_strands.c the strands that run handlers which block
 *   rpc_map.c     a number to a pointer
 *
 * One mutex holds all of it, briefly: nothing of another module is called under it. What a piece of code under the lock
 * wants done outside it (frames to send, calls to end, a handler to run, a strand to wake) it puts into an rpc_work,
 * which gn_rpc_unlock does. So a call needs no other thread to get going, and an answer none to be heard than the one
 * that received it. */
#ifndef GN_NET_RPC_PRIVATE_H
#define GN_NET_RPC_PRIVATE_H

#include "base/limits.h"
#include "base/metrics.h"
#include "base/versions.h"
#include "net/rpc.h"

#include <pthread.h>

enum {
    RPC_MAX_ACKS = 64,         /* answers acknowledged one by one in one frame */
    RPC_MAX_LISTED = 64,       /* numbers in one probe or status */
    RPC_MAX_OLD = 32,          /* incarnations of a node remembered as gone */
    RPC_MAX_PEERS = 4096,      /* nodes, and strangers that want to join */
    RPC_MAX_UNANSWERED = 8192, /* of one asker: running, waiting, or with an answer that it may not have */
    RPC_MAX_SEEN = 65536,      /* of one asker: the same and numbers that might come again */
    RPC_LARGE = 64 << 10,      /* bytes; not sent again in full before the peer said that it lacks them */
    RPC_BULK = 1 << 20,        /* bytes; goes over the bulk channel, so that what is small is heard in time */
    RPC_MAX_STRANDS = 256,     /* what max_strands 0 means */
};

#define RPC_NO_REQUEST (UINT64_C(1) << 63) /* in a number: of no request, in a probe asked only to hear a reply */
#define RPC_MS UINT64_C(1000000)
#define RPC_SECOND (1000 * RPC_MS)
#define RPC_MAX_HELD \
    ((size_t)2 * GN_MAX_RPC)           /* bytes of one asker: of requests that wait or run, and of kept answers */
#define RPC_FIRST_AGAIN (100 * RPC_MS) /* a request is sent again after this or 4 round trips */
#define RPC_NEXT_AGAIN (200 * RPC_MS)
#define RPC_MOST_AGAIN (300 * RPC_MS) /* whatever the round trip: a node must have chances to speak before it is */
#define RPC_SILENCE (GN_RPC_SILENCE_MS * RPC_MS) /* taken for dead */
#define RPC_BELIEVED \
    (1200 * RPC_MS) /* so long after the network has said that a peer is gone; it says so each second */
#define RPC_SUSPECT_SILENCE (RPC_SILENCE / 3) /* one that others do not hear either */
#define RPC_PING_AFTER (300 * RPC_MS)         /* of silence; from then on it is asked with small frames too, */
#define RPC_PING_EVERY (50 * RPC_MS)          /* so that loss alone makes nobody dead */
#define RPC_UNREACHED (5 * RPC_SECOND)        /* it talks but replies to nothing: it cannot hear us */
#define RPC_ACK_AFTER (50 * RPC_MS)
#define RPC_LINGER \
    (100 * RPC_MS) /* the timer goes on for so long, so that calls one after the other need not start it */
#define RPC_KEEP_ANSWER (30 * RPC_SECOND)
#define RPC_FORGET_PEER (600 * RPC_SECOND)
#define RPC_LOOK_AROUND (60 * RPC_SECOND) /* for peers to forget */
#define RPC_LATE (100 * RPC_MS)           /* a timer so late: it was this process that said and heard nothing */
#define RPC_IDLE_STRAND (10 * RPC_SECOND)

/* ---- a number to a pointer: open addressing ---- */

typedef struct rpc_map {
    struct rpc_slot {
        uint64_t key; /* 0 = free */
        void *value;
    } * slots;
    size_t n, cap; /* cap: a power of two */
} rpc_map;

void *gn_rpc_map_get(const rpc_map *map, uint64_t key);
void gn_rpc_map_put(rpc_map *map, uint64_t key, void *value); /* key: not 0, not there yet */
void gn_rpc_map_remove(rpc_map *map, uint64_t key);
void gn_rpc_map_close(rpc_map *map);

/* ---- frames ---- */

enum { RPC_VERSION = GN_FORMAT_RPC };
typedef enum rpc_kind { RPC_HELLO = 1, RPC_REQUEST, RPC_ANSWER, RPC_PROBE, RPC_STATUS, RPC_ACK } rpc_kind;
/* What became of a request, in a status. */
typedef enum rpc_fate { RPC_WORKING = 1, RPC_UNKNOWN, RPC_GONE } rpc_fate;

/* How far an asker is. */
typedef struct rpc_progress {
    uint64_t floor;   /* numbers below it which the answerer does not know will never be asked (again) */
    uint64_t pending; /* numbers below it are not waited for any more */
    unsigned n_acks;  /* answers received above it */
    uint64_t acks[RPC_MAX_ACKS];
} rpc_progress;

typedef struct rpc_frame {
    rpc_kind kind;
    uint64_t from, to;     /* incarnations; to 0: not known yet */
    bool wants_reply;      /* HELLO */
    rpc_progress progress; /* REQUEST, PROBE, ACK */
    uint64_t number;       /* REQUEST, ANSWER */
    uint16_t method;       /* REQUEST */
    bool bulk;             /* REQUEST */
    gn_code code;          /* ANSWER */
    gn_bytes words;        /* ANSWER: for gn_rpc_words_read */
    gn_bytes body;         /* REQUEST, ANSWER */
    gn_reader list;        /* PROBE: numbers; STATUS: numbers and fates; checked */
    unsigned n_listed;
} rpc_frame;

bool gn_rpc_frame_read(gn_bytes bytes, rpc_frame *out); /* false: not a frame that this version understands */
void gn_rpc_words_read(gn_bytes words, gn_code code, gn_error *out);
void gn_rpc_frame_begin(gn_buf *out, rpc_kind kind, uint64_t from, uint64_t to);
void gn_rpc_frame_hello(gn_buf *out, bool wants_reply);
void gn_rpc_frame_progress(gn_buf *out, const rpc_progress *progress);
/* After the progress; the body follows. */
void gn_rpc_frame_request(gn_buf *out, uint64_t number, uint16_t method, bool bulk);
void gn_rpc_frame_answer(gn_buf *out, uint64_t number, gn_code code, const gn_error *err, gn_bytes body);

/* ---- peers ---- */

typedef enum rpc_state {
    RPC_WAITS,    /* for a strand */
    RPC_RUNS,     /* the handler has it */
    RPC_ANSWERED, /* the answer is kept */
    RPC_SEEN,     /* the answer is not needed, or was dropped; known so that it does not run again */
} rpc_state;

/* An encoded answer; whoever sends it holds a reference. */
typedef struct rpc_blob {
    _Atomic unsigned references;
    gn_buf bytes;
} rpc_blob;

/* A request that came in. */
typedef struct rpc_entry {
    gn_rpc_request request;
    gn_rpc *rpc;
    struct rpc_peer *asker;        /* NULL: nobody waits for the answer any more */
    struct rpc_entry *next, *prev; /* in the asker's list */
    struct rpc_entry *after;       /* of those that wait for a strand */
    gn_task task;
    uint64_t number, incarnation; /* the asker's */
    uint64_t sent_ns;             /* when the answer was sent last */
    rpc_blob *answer;
    rpc_state state;
    bool bulk, below; /* below: in that list */
    bool looked_at;   /* by `first` of its handler */
    uint8_t *body;
    size_t held; /* bytes of body, while counted at the asker */
} rpc_entry;

typedef struct rpc_list {
    rpc_entry *first, *last;
} rpc_list;

typedef struct rpc_calls {
    gn_rpc_call *first, *last; /* ascending numbers */
} rpc_calls;

typedef struct rpc_peer {
    gn_node_id id;
    struct rpc_peer *next;
    uint64_t incarnation; /* that is believed; 0: none yet */
    uint64_t old[RPC_MAX_OLD];
    unsigned n_old;
    uint64_t riddle;              /* what others must answer to be believed; 0: not asked since the last one was */
    uint64_t doubted, doubted_ns; /* who was asked last, and when */
    uint64_t used_ns;             /* last frame or call */
    uint64_t heard_ns;            /* last frame; 0: none, or it is gone since */
    uint64_t gone_ns;             /* the network has said so; 0: it was heard since */
    bool suspect;                 /* others do not hear it; until it is heard here */
    bool unsent;                  /* calls wait for it to say who it is */
    /* calls to it */
    rpc_map calls;
    rpc_calls unconfirmed, confirmed; /* confirmed: it has said that it has the request */
    uint64_t last_number;
    uint64_t asked_ns;     /* the first frame since it was heard last; 0: nothing that it has not replied to */
    uint64_t unreplied_ns; /* the same for frames that reply to ours */
    uint64_t hello_ns;     /* the last hello sent that wants a reply */
    bool measuring;        /* it has not been replied to */
    uint64_t probes[RPC_MAX_LISTED]; /* to be asked about at the end of this tick */
    unsigned n_probes;
    uint64_t round_trip_ns; /* smoothed; 0: not measured */
    uint64_t acks[RPC_MAX_ACKS];
    unsigned n_acks;
    uint64_t owes_ack_ns; /* an explicit ack is due then; 0: none */
    /* its calls to us */
    rpc_map entries;
    rpc_list above, below; /* of its floor, by number; below: only what is not SEEN */
    uint64_t floor;
    unsigned n_running, n_answered;
    size_t held_requests, held_answers;
} rpc_peer;

/* ---- the module ---- */

typedef struct rpc_worker {
    gn_rpc *rpc;
    struct rpc_worker *next;
    gn_strand *strand;
    gn_event wake;
    rpc_entry *entry; /* handed over with the wake */
    bool woken;
} rpc_worker;

typedef struct rpc_handler {
    void (*on_queue)(void *ctx, gn_rpc_request *request);
    bool (*first)(void *ctx, gn_rpc_request *request); /* before on_strand; may be NULL */
    gn_code (*on_strand)(void *ctx, gn_node_id from, gn_bytes request, gn_buf *response, gn_error *err);
    void *ctx;
} rpc_handler;

typedef struct rpc_metrics {
    gn_metric *calls, *retransmits, *duplicates, *answered, *refused, *latency, *bad_frames;
} rpc_metrics;

struct gn_rpc {
    gn_world *world;
    gn_queue *queue;
    gn_node_id self;
    uint64_t incarnation;
    rpc_metrics metrics;
    gn_timer timer;       /* the queue's */
    pthread_mutex_t lock; /* of what follows */
    bool stopping, closing;
    rpc_handler handlers[GN_RPC_METHODS];
    rpc_map by_id;
    rpc_peer *peers;
    unsigned n_peers;
    uint64_t last_number; /* of peers forgotten, which may remember us: the next begins above */
    gn_rpc_call **due;    /* a heap by due_ns of all pending calls */
    size_t n_due, cap_due;
    uint64_t n_started, n_started_at_tick;
    uint64_t timer_due; /* 0: not running */
    gn_task arm;
    bool arming;
    uint64_t aged_ns;               /* when old answers were looked for last */
    unsigned n_answering, n_asking; /* requests that came and are not answered; strands in gn_rpc_ask */
    gn_event *emptied;              /* of gn_rpc_destroy, which waits for both to be 0, and later for no strands */
    /* strands */
    unsigned max_strands, n_strands;
    rpc_entry *waiting, *last_waiting;
    rpc_worker *idle, *ended;
};

/* ---- doing things outside the lock ---- */

typedef struct rpc_out {
    struct rpc_out *next;
    gn_node_id to;
    uint8_t channel;
    gn_buf frame;
    rpc_blob *blob;    /* in place of frame */
    gn_rpc_call *call; /* pinned: its request follows the frame */
} rpc_out;

typedef struct rpc_work {
    rpc_out *out, **last_out;
    gn_rpc_call *ended, *last_ended;
    rpc_entry *run;    /* a handler for the queue, to be run here */
    rpc_worker *wake;  /* woken, with an entry */
    bool start_strand; /* one more is allowed */
    bool arm;          /* the timer, here on the queue */
} rpc_work;

void gn_rpc_lock(gn_rpc *rpc, rpc_work *work); /* makes an empty work */
void gn_rpc_unlock(gn_rpc *rpc, rpc_work *work);
rpc_out *gn_rpc_out(rpc_work *work, gn_node_id to, uint8_t channel);
/* Begins a small frame to a peer; the caller goes on with `->frame`. */
gn_buf *gn_rpc_say(gn_rpc *rpc, rpc_work *work, rpc_peer *peer, rpc_kind kind);
void gn_rpc_say_hello(gn_rpc *rpc, rpc_work *work, rpc_peer *peer, bool wants_reply);
/* The timer fires at due_ns or before. */
void gn_rpc_need_timer(gn_rpc *rpc, rpc_work *work, uint64_t due_ns);
void gn_rpc_signal_if_empty(gn_rpc *rpc);  /* under the lock */
void gn_rpc_wait_until_empty(gn_rpc *rpc); /* unlocked */
void gn_rpc_blob_release(rpc_blob *blob);
/* A frame that came; `from` may be this node. */
void gn_rpc_receive(gn_rpc *rpc, gn_node_id from, gn_bytes bytes);
rpc_peer *gn_rpc_peer(gn_rpc *rpc, gn_node_id id); /* made when it is not there; NULL: too many */

/* ---- asking: all under the lock ---- */

void gn_rpc_heard_answer(gn_rpc *rpc, rpc_work *work, rpc_peer *peer, const rpc_frame *frame, gn_rpc_call **large);
void gn_rpc_heard_status(gn_rpc *rpc, rpc_work *work, rpc_peer *peer, rpc_frame *frame);
void gn_rpc_send_unsent(gn_rpc *rpc, rpc_work *work, rpc_peer *peer); /* calls that waited for its name go */
void gn_rpc_peer_gone(gn_rpc *rpc, rpc_work *work, rpc_peer *peer);
void gn_rpc_peer_restarted(gn_rpc *rpc, rpc_work *work, rpc_peer *peer); /* calls that went to the last one end */
void gn_rpc_unpin(rpc_work *work, gn_rpc_call *call);
void gn_rpc_due_calls(gn_rpc *rpc, rpc_work *work, uint64_t now);
uint64_t gn_rpc_watch_peer(gn_rpc *rpc, rpc_work *work, rpc_peer *peer, uint64_t now); /* when next */
void gn_rpc_end_all(gn_rpc *rpc, rpc_work *work, gn_code code, const char *why);
uint64_t gn_rpc_patience(size_t len); /* ns that so many bytes may be under way */
uint8_t gn_rpc_channel(bool bulk, size_t len);

/* ---- answering: under the lock, but for gn_rpc_run ---- */

void gn_rpc_take_progress(rpc_peer *peer, const rpc_progress *progress);
void gn_rpc_take_request(gn_rpc *rpc, rpc_work *work, rpc_peer *peer, const rpc_frame *frame);
void gn_rpc_take_probe(gn_rpc *rpc, rpc_work *work, rpc_peer *peer, rpc_frame *frame);
void gn_rpc_run(rpc_entry *entry);
void gn_rpc_forget_asker(rpc_peer *peer); /* all that it asked; its node is another now, or we end */
void gn_rpc_drop_old_answers(gn_rpc *rpc, rpc_peer *peer, uint64_t now);
void gn_rpc_entry_free(rpc_entry *entry);
void gn_rpc_refuse(rpc_entry *entry, const char *why); /* unlocked; of one that did not run */

/* ---- strands ---- */

void gn_rpc_strands_take(gn_rpc *rpc, rpc_work *work, rpc_entry *entry); /* under the lock */
void gn_rpc_strand_more(gn_rpc *rpc);                                    /* unlocked */
void gn_rpc_strands_close(gn_rpc *rpc);                                  /* nothing waits or runs */

/* ---- for tests ---- */

extern bool gn_rpc_test_forgetful; /* requests are run as often as they come: the checkers must notice */

typedef struct gn_rpc_stats {
    size_t peers, calls, entries, answered, held_answers, held_requests, strands;
} gn_rpc_stats;
gn_rpc_stats gn_rpc_stats_of(gn_rpc *rpc);

#endif
