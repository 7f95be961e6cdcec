/* Calls: numbered for each peer, sent again until the peer says that it has them, asked after until they are answered.
 *
 * A request that is confirmed, or large, is not sent again but asked after with a probe, which lists many; what is due
 * of one peer in one tick goes in one frame. All pending calls are in a heap by the time at which something is to be
 * done for them, and one timer serves it.
 *
 * Two numbers tell the peer how far we are (rpc_progress). `pending` lets it drop answers. `floor` lets it forget which
 * numbers it has seen; calls that it has confirmed do not hold it down, so that a call that takes an hour does not
 * make it remember an hour's numbers. */
#include "base/assert.h"
#include "base/memory.h"
#include "net/rpc_private.h"

#include <stdatomic.h>
#include <stdlib.h>

/* ---- the heap of what is due ---- */

static void place_at(gn_rpc *rpc, size_t i, gn_rpc_call *call)
{
    rpc->due[i] = call;
    call->place = i;
}

static void sift_up(gn_rpc *rpc, size_t i, gn_rpc_call *call)
{
    while (i > 0 && call->due_ns < rpc->due[(i - 1) / 2]->due_ns) {
        place_at(rpc, i, rpc->due[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    place_at(rpc, i, call);
}

static void sift_down(gn_rpc *rpc, size_t i, gn_rpc_call *call)
{
    for (size_t child; (child = 2 * i + 1) < rpc->n_due; i = child) {
        if (child + 1 < rpc->n_due && rpc->due[child + 1]->due_ns < rpc->due[child]->due_ns)
            child++;
        if (call->due_ns <= rpc->due[child]->due_ns)
            break;
        place_at(rpc, i, rpc->due[child]);
    }
    place_at(rpc, i, call);
}

static void heap_insert(gn_rpc *rpc, gn_rpc_call *call)
{
    if (rpc->n_due == rpc->cap_due) {
        rpc->cap_due = rpc->cap_due ? rpc->cap_due * 2 : 64;
        rpc->due = gn_xrealloc(rpc->due, rpc->cap_due * sizeof(gn_rpc_call *));
    }
    sift_up(rpc, rpc->n_due++, call);
}

static void heap_remove(gn_rpc *rpc, gn_rpc_call *call)
{
    size_t i = call->place;
    GN_ASSERT(i < rpc->n_due && rpc->due[i] == call);
    gn_rpc_call *last = rpc->due[--rpc->n_due];
    if (last == call)
        return;
    if (i > 0 && last->due_ns < rpc->due[(i - 1) / 2]->due_ns)
        sift_up(rpc, i, last);
    else
        sift_down(rpc, i, last);
}

/* ---- a peer's calls ---- */

static void insert_call(rpc_calls *calls, gn_rpc_call *call)
{
    gn_rpc_call *prev = calls->last;
    while (prev && prev->number > call->number)
        prev = prev->prev;
    call->prev = prev;
    call->next = prev ? prev->next : calls->first;
    *(call->prev ? &call->prev->next : &calls->first) = call;
    *(call->next ? &call->next->prev : &calls->last) = call;
}

static void remove_call(gn_rpc_call *call)
{
    rpc_calls *calls = call->confirmed ? &call->peer->confirmed : &call->peer->unconfirmed;
    *(call->prev ? &call->prev->next : &calls->first) = call->next;
    *(call->next ? &call->next->prev : &calls->last) = call->prev;
    call->next = call->prev = NULL;
}

static void confirm(gn_rpc_call *call)
{
    if (call->confirmed)
        return;
    remove_call(call);
    call->confirmed = true;
    insert_call(&call->peer->confirmed, call);
}

static void append_ended(rpc_work *work, gn_rpc_call *call)
{
    GN_ASSERT(!call->pending && call->pins == 0);
    call->next = NULL;
    if (work->ended)
        work->last_ended->next = call;
    else
        work->ended = call;
    work->last_ended = call;
}

static void end_call(gn_rpc *rpc, rpc_work *work, gn_rpc_call *call, gn_code code)
{
    GN_ASSERT(call->pending);
    remove_call(call);
    heap_remove(rpc, call);
    gn_rpc_map_remove(&call->peer->calls, call->number);
    call->pending = false;
    call->code = code;
    if (call->pins == 0)
        append_ended(work, call);
}

void gn_rpc_unpin(rpc_work *work, gn_rpc_call *call)
{
    GN_ASSERT(call->pins > 0);
    if (--call->pins == 0 && !call->pending)
        append_ended(work, call);
}

/* What did not leave this node did not run. */
static void give_up(gn_rpc *rpc, rpc_work *work, gn_rpc_call *call, gn_code code, const char *why)
{
    if (call->tries == 0 && code == GN_TIMEOUT)
        code = GN_UNAVAILABLE;
    gn_error_set(&call->error, code, "node %llu %s", (unsigned long long)call->to, why);
    end_call(rpc, work, call, code);
}

/* ---- sending ---- */

uint8_t gn_rpc_channel(bool bulk, size_t len)
{
    return bulk || len > RPC_BULK ? GN_RPC_BULK_CHANNEL : GN_RPC_CHANNEL;
}

uint64_t gn_rpc_patience(size_t len)
{
    return RPC_NEXT_AGAIN + (uint64_t)len * 50; /* 20 MB a second */
}

static uint64_t pending_of(const rpc_peer *peer)
{
    uint64_t pending = peer->last_number + 1;
    if (peer->unconfirmed.first)
        pending = peer->unconfirmed.first->number;
    if (peer->confirmed.first && peer->confirmed.first->number < pending)
        pending = peer->confirmed.first->number;
    return pending;
}

static void append_progress(gn_buf *frame, rpc_peer *peer)
{
    rpc_progress progress;
    progress.floor = peer->unconfirmed.first ? peer->unconfirmed.first->number : peer->last_number + 1;
    progress.pending = pending_of(peer);
    progress.n_acks = peer->n_acks;
    for (unsigned i = 0; i < peer->n_acks; i++)
        progress.acks[i] = peer->acks[i];
    gn_rpc_frame_progress(frame, &progress);
    peer->n_acks = 0;
    peer->owes_ack_ns = 0;
}

static void note_asked(rpc_peer *peer, uint64_t now)
{
    peer->asked_ns = peer->asked_ns ? peer->asked_ns : now;
    peer->unreplied_ns = peer->unreplied_ns ? peer->unreplied_ns : now;
}

static void greet(gn_rpc *rpc, rpc_work *work, rpc_peer *peer, uint64_t now)
{
    if (peer->hello_ns && now - peer->hello_ns < RPC_PING_EVERY)
        return;
    peer->hello_ns = now;
    peer->measuring = true;
    gn_rpc_say_hello(rpc, work, peer, true);
}

static void say_hello(gn_rpc *rpc, rpc_work *work, rpc_peer *peer, uint64_t now)
{
    note_asked(peer, now);
    greet(rpc, work, peer, now);
}

/* A large request is added to its frame outside the lock; the call stays that long. */
static void send_request(gn_rpc *rpc, rpc_work *work, gn_rpc_call *call, uint64_t now)
{
    rpc_peer *peer = call->peer;
    rpc_out *out = gn_rpc_out(work, peer->id, gn_rpc_channel(call->bulk, call->request.len));
    gn_rpc_frame_begin(&out->frame, RPC_REQUEST, rpc->incarnation, peer->incarnation);
    append_progress(&out->frame, peer);
    gn_rpc_frame_request(&out->frame, call->number, call->method, call->bulk);
    if (call->request.len <= RPC_LARGE) {
        gn_buf_append_bytes(&out->frame, call->request);
    } else {
        out->call = call;
        call->pins++;
    }
    call->sent_ns = now;
    call->tries++;
    note_asked(peer, now);
}

static void flush_probes(gn_rpc *rpc, rpc_work *work, rpc_peer *peer)
{
    if (peer->n_probes == 0)
        return;
    gn_buf *frame = gn_rpc_say(rpc, work, peer, RPC_PROBE);
    append_progress(frame, peer);
    gn_buf_append_be16(frame, (uint16_t)peer->n_probes);
    for (unsigned i = 0; i < peer->n_probes; i++)
        gn_buf_append_be64(frame, peer->probes[i]);
    peer->n_probes = 0;
}

static void probe(gn_rpc *rpc, rpc_work *work, gn_rpc_call *call, uint64_t now)
{
    rpc_peer *peer = call->peer;
    if (peer->n_probes == RPC_MAX_LISTED)
        flush_probes(rpc, work, peer);
    peer->probes[peer->n_probes++] = call->number;
    call->tries++;
    note_asked(peer, now);
}

/* When something is to be done for the call next. To this node itself nothing is lost. */
static uint64_t next_due(const gn_rpc *rpc, const gn_rpc_call *call, uint64_t now)
{
    uint64_t least = call->tries <= 1 ? RPC_FIRST_AGAIN : RPC_NEXT_AGAIN;
    uint64_t wait = 4 * call->peer->round_trip_ns;
    wait = wait < least ? least : wait > RPC_MOST_AGAIN ? RPC_MOST_AGAIN : wait;
    uint64_t due = call->to == rpc->self ? UINT64_MAX : now + wait;
    return call->deadline_ns && call->deadline_ns < due ? call->deadline_ns : due;
}

static void send_again(gn_rpc *rpc, rpc_work *work, gn_rpc_call *call, uint64_t now)
{
    if (call->tries == 0) {
        say_hello(rpc, work, call->peer, now);
        return;
    }
    gn_counter_add(rpc->metrics.retransmits, 1);
    if (call->confirmed || call->request.len > RPC_LARGE)
        probe(rpc, work, call, now);
    else
        send_request(rpc, work, call, now);
}

void gn_rpc_due_calls(gn_rpc *rpc, rpc_work *work, uint64_t now)
{
    while (rpc->n_due > 0 && rpc->due[0]->due_ns <= now) {
        gn_rpc_call *call = rpc->due[0];
        if (call->deadline_ns && call->deadline_ns <= now) {
            gn_error_set(&call->error, GN_TIMEOUT, "node %llu did not answer in time", (unsigned long long)call->to);
            end_call(rpc, work, call, GN_TIMEOUT);
            continue;
        }
        send_again(rpc, work, call, now);
        heap_remove(rpc, call);
        call->due_ns = next_due(rpc, call, now);
        heap_insert(rpc, call);
    }
}

/* ---- starting and ending ---- */

static void begin(gn_rpc_call *call, uint64_t now)
{
    gn_error_clear(&call->error);
    gn_buf_init(&call->response, NULL, GN_MAX_RPC);
    call->next = call->prev = NULL;
    call->peer = NULL;
    call->number = call->sent_ns = call->due_ns = 0;
    call->started_ns = now;
    call->tries = call->resends = call->pins = 0;
    call->pending = call->confirmed = false;
}

static bool is_gone(const rpc_peer *peer, uint64_t now)
{
    return peer->gone_ns && now < peer->gone_ns + RPC_BELIEVED;
}

/* GN_OK: it may go. */
static gn_code judge(gn_rpc *rpc, gn_rpc_call *call)
{
    if (call->request.len > GN_MAX_RPC)
        return gn_error_set(&call->error, GN_LIMIT, "a request of %zu bytes is larger than %u", call->request.len,
                            (unsigned)GN_MAX_RPC);
    if (rpc->stopping)
        return gn_error_set(&call->error, GN_SHUTDOWN, "this node is shutting down");
    if (call->deadline_ns && call->deadline_ns <= call->started_ns)
        return gn_error_set(&call->error, GN_TIMEOUT, "the deadline had passed before node %llu was asked",
                            (unsigned long long)call->to);
    if (call->to == 0 || !(call->peer = gn_rpc_peer(rpc, call->to)))
        return gn_error_set(&call->error, GN_UNAVAILABLE, "too many nodes are being talked to");
    if (is_gone(call->peer, call->started_ns))
        return gn_error_set(&call->error, GN_UNAVAILABLE, "node %llu does not run: nobody listens at its address",
                            (unsigned long long)call->to);
    return GN_OK;
}

/* Heard just now, in the incarnation that we know. */
static bool is_surely_there(const gn_rpc *rpc, const rpc_peer *peer, uint64_t now)
{
    return peer->id == rpc->self || (peer->incarnation && now < peer->heard_ns + RPC_SILENCE);
}

static void enlist(gn_rpc *rpc, rpc_work *work, gn_rpc_call *call)
{
    rpc_peer *peer = call->peer;
    call->pending = true;
    call->number = ++peer->last_number;
    peer->used_ns = call->started_ns;
    gn_rpc_map_put(&peer->calls, call->number, call);
    insert_call(&peer->unconfirmed, call);
    rpc->n_started++;
    peer->unsent |= !is_surely_there(rpc, peer, call->started_ns);
    if (peer->unsent)
        say_hello(rpc, work, peer, call->started_ns);
    else
        send_request(rpc, work, call, call->started_ns);
    call->due_ns = next_due(rpc, call, call->started_ns);
    heap_insert(rpc, call);
    if (call->due_ns != UINT64_MAX)
        gn_rpc_need_timer(rpc, work, call->due_ns);
}

void gn_rpc_start(gn_rpc *rpc, gn_rpc_call *call)
{
    rpc_work work;
    GN_ASSERT(call->done && call->method < GN_RPC_METHODS);
    begin(call, gn_now_ns(rpc->world));
    gn_counter_add(rpc->metrics.calls, 1);
    gn_rpc_lock(rpc, &work);
    call->code = judge(rpc, call);
    if (call->code == GN_OK)
        enlist(rpc, &work, call);
    else
        append_ended(&work, call);
    if (call->peer && is_gone(call->peer, call->started_ns))
        greet(rpc, &work, call->peer, call->started_ns); /* it may be back and have had nothing to say */
    gn_rpc_unlock(rpc, &work);
}

void gn_rpc_cancel(gn_rpc *rpc, gn_rpc_call *call)
{
    rpc_work work;
    gn_rpc_lock(rpc, &work);
    if (call->pending)
        give_up(rpc, &work, call, GN_CANCELED, "was not waited for: canceled");
    gn_rpc_unlock(rpc, &work);
}

static void end_calls_of(gn_rpc *rpc, rpc_work *work, rpc_calls *calls, gn_code code, const char *why, bool only_sent)
{
    for (gn_rpc_call *call = calls->first, *next; call; call = next) {
        next = call->next;
        if (!only_sent || call->tries > 0)
            give_up(rpc, work, call, code, why);
    }
}

static void end_peer(gn_rpc *rpc, rpc_work *work, rpc_peer *peer, gn_code code, const char *why, bool only_sent)
{
    end_calls_of(rpc, work, &peer->unconfirmed, code, why, only_sent);
    end_calls_of(rpc, work, &peer->confirmed, code, why, only_sent);
    peer->asked_ns = peer->unreplied_ns = 0;
}

void gn_rpc_end_all(gn_rpc *rpc, rpc_work *work, gn_code code, const char *why)
{
    for (rpc_peer *peer = rpc->peers; peer; peer = peer->next)
        end_peer(rpc, work, peer, code, why, false);
}

/* ---- what is heard ---- */

void gn_rpc_send_unsent(gn_rpc *rpc, rpc_work *work, rpc_peer *peer)
{
    peer->unsent = false;
    uint64_t now = gn_now_ns(rpc->world);
    for (gn_rpc_call *call = peer->unconfirmed.first; call; call = call->next) {
        if (call->tries == 0)
            send_request(rpc, work, call, now);
    }
}

void gn_rpc_peer_gone(gn_rpc *rpc, rpc_work *work, rpc_peer *peer)
{
    end_peer(rpc, work, peer, GN_TIMEOUT, "is gone", false);
}

void gn_rpc_peer_restarted(gn_rpc *rpc, rpc_work *work, rpc_peer *peer)
{
    end_peer(rpc, work, peer, GN_TIMEOUT, "restarted before it answered", true);
}

static void send_ack(gn_rpc *rpc, rpc_work *work, rpc_peer *peer)
{
    append_progress(gn_rpc_say(rpc, work, peer, RPC_ACK), peer);
}

/* Commonly the next request says it. One by one only what an older call keeps `pending` from saying. */
static void owe_ack(gn_rpc *rpc, rpc_work *work, rpc_peer *peer, uint64_t number)
{
    if (peer->id == rpc->self) /* it keeps no answers to itself */
        return;
    if (!peer->owes_ack_ns) {
        peer->owes_ack_ns = gn_now_ns(rpc->world) + RPC_ACK_AFTER;
        gn_rpc_need_timer(rpc, work, peer->owes_ack_ns + RPC_LINGER);
    }
    if (number >= pending_of(peer))
        peer->acks[peer->n_acks++] = number;
    if (peer->n_acks == RPC_MAX_ACKS)
        send_ack(rpc, work, peer);
}

static void measure(rpc_peer *peer, const gn_rpc_call *call, uint64_t now)
{
    uint64_t took = now - call->sent_ns; /* with the handler's time in it: it can but lower what is known */
    if (call->tries == 1 && took < peer->round_trip_ns)
        peer->round_trip_ns = (7 * peer->round_trip_ns + took) / 8;
}

void gn_rpc_heard_answer(gn_rpc *rpc, rpc_work *work, rpc_peer *peer, const rpc_frame *frame, gn_rpc_call **large)
{
    gn_rpc_call *call = gn_rpc_map_get(&peer->calls, frame->number);
    if (frame->number > peer->last_number)
        return; /* never asked */
    if (call && call->tries == 0)
        return;
    gn_code code = frame->code;
    if (call) {
        measure(peer, call, gn_now_ns(rpc->world));
        if (code != GN_OK) {
            gn_rpc_words_read(frame->words, code, &call->error);
        } else if (frame->body.len > RPC_LARGE) {
            call->pins++;
            *large = call;
        } else if (!gn_buf_append_bytes(&call->response, frame->body) && call->response.failed) {
            code = gn_error_set(&call->error, GN_OUT_OF_MEMORY, "no memory for an answer");
        }
        end_call(rpc, work, call, code);
    }
    owe_ack(rpc, work, peer, frame->number);
}

static void hear_fate(gn_rpc *rpc, rpc_work *work, gn_rpc_call *call, rpc_fate fate, uint64_t now)
{
    unsigned doublings = call->resends < 4 ? call->resends : 4;
    if (fate == RPC_WORKING) {
        confirm(call);
    } else if (fate == RPC_GONE) {
        give_up(rpc, work, call, GN_TIMEOUT, "has dropped the answer");
    } else if (call->confirmed) {
        return; /* said before the request came there, and overtaken */
    } else if (now - call->sent_ns >= gn_rpc_patience(call->request.len) << doublings) {
        call->resends++;
        send_request(rpc, work, call, now);
    }
}

void gn_rpc_heard_status(gn_rpc *rpc, rpc_work *work, rpc_peer *peer, rpc_frame *frame)
{
    uint64_t now = gn_now_ns(rpc->world);
    for (unsigned i = 0; i < frame->n_listed; i++) {
        uint64_t number = gn_read_be64(&frame->list);
        rpc_fate fate = (rpc_fate)gn_read_u8(&frame->list);
        gn_rpc_call *call = gn_rpc_map_get(&peer->calls, number);
        if (call && call->tries > 0 && fate >= RPC_WORKING && fate <= RPC_GONE)
            hear_fate(rpc, work, call, fate, now);
    }
}

/* ---- silence ---- */

static bool is_silent(const rpc_peer *peer, uint64_t now)
{
    uint64_t allowed = peer->suspect ? RPC_SUSPECT_SILENCE : RPC_SILENCE;
    return (peer->asked_ns && now >= peer->asked_ns + allowed) ||
           (peer->unreplied_ns && now >= peer->unreplied_ns + RPC_UNREACHED);
}

static uint64_t watch_silence(gn_rpc *rpc, rpc_work *work, rpc_peer *peer, uint64_t now)
{
    if (is_silent(peer, now)) {
        end_peer(rpc, work, peer, GN_TIMEOUT, "says nothing", false);
        return UINT64_MAX;
    }
    if (!peer->asked_ns)
        return UINT64_MAX;
    if (now < peer->asked_ns + RPC_PING_AFTER && !peer->suspect)
        return peer->asked_ns + RPC_PING_AFTER;
    say_hello(rpc, work, peer, now);
    uint64_t again = peer->hello_ns + RPC_PING_EVERY;
    uint64_t end = peer->asked_ns + (peer->suspect ? RPC_SUSPECT_SILENCE : RPC_SILENCE);
    return again < end ? again : end;
}

uint64_t gn_rpc_watch_peer(gn_rpc *rpc, rpc_work *work, rpc_peer *peer, uint64_t now)
{
    uint64_t due = UINT64_MAX;
    flush_probes(rpc, work, peer);
    if (peer->owes_ack_ns && peer->owes_ack_ns <= now)
        send_ack(rpc, work, peer);
    if (peer->owes_ack_ns)
        due = peer->owes_ack_ns;
    if (peer->calls.n == 0) {
        peer->asked_ns = peer->unreplied_ns = 0;
    } else if (peer->id != rpc->self) {
        uint64_t silence = watch_silence(rpc, work, peer, now);
        due = silence < due ? silence : due;
    }
    return due;
}

/* ---- asking and waiting ---- */

typedef struct asking {
    gn_rpc_call call;
    gn_event ended;
    gn_code code;
} asking;

static void asking_done(gn_rpc_call *call, gn_code code)
{
    asking *a = GN_CONTAINER(call, asking, call);
    a->code = code;
    gn_event_signal(&a->ended);
}

static void wait_for(gn_rpc *rpc, asking *a, const _Atomic bool *cancel)
{
    bool canceled = false;
    for (;;) {
        bool look = cancel && !canceled;
        uint64_t until = look ? gn_now_ns(rpc->world) + 100 * RPC_MS : UINT64_MAX;
        if (gn_event_wait(&a->ended, until) == GN_OK)
            return;
        canceled = atomic_load_explicit(cancel, memory_order_relaxed);
        if (canceled)
            gn_rpc_cancel(rpc, &a->call);
    }
}

static void count_asking(gn_rpc *rpc, int change)
{
    pthread_mutex_lock(&rpc->lock);
    rpc->n_asking += (unsigned)change;
    gn_rpc_signal_if_empty(rpc);
    pthread_mutex_unlock(&rpc->lock);
}

gn_code gn_rpc_ask(gn_rpc *rpc, gn_node_id to, uint16_t method, gn_bytes request, uint64_t deadline_ns,
                   const _Atomic bool *cancel, gn_buf *response, gn_error *err)
{
    asking a;
    a.call =
        (gn_rpc_call){.to = to, .method = method, .request = request, .deadline_ns = deadline_ns, .done = asking_done};
    gn_event_init(&a.ended, rpc->world);
    count_asking(rpc, 1);
    if (to == rpc->self)
        gn_strand_lend(rpc->world);
    gn_rpc_start(rpc, &a.call);
    wait_for(rpc, &a, cancel);
    count_asking(rpc, -1);
    gn_code code = a.code;
    if (code == GN_OK && response && !gn_buf_append_bytes(response, gn_buf_bytes(&a.call.response)) && response->failed)
        code = gn_error_set(&a.call.error, GN_LIMIT, "an answer of %zu bytes does not fit", a.call.response.len);
    if (code != GN_OK && err)
        *err = a.call.error;
    gn_buf_close(&a.call.response);
    return code;
}
