/* Life, locking, frames out and in, and who the peers are.
 *
 * Incarnations. A gn_rpc has a random name, in every frame that it sends; a frame also names the incarnation that it is
 * for. A request is sent only to an incarnation that is known, and runs in no other: so at most once holds over
 * restarts of the answerer too. Who does not know yet asks (HELLO); so does who has heard nothing for a second, since a
 * request sent to a node that died meanwhile would leave its asker in doubt for nothing.
 *
 * Random names need no clock that only goes forward, but have no order: a frame that was long under way may name an
 * incarnation that is dead and was never heard of. So another name is believed only when whoever bears it has answered
 * what was asked of it after the last one was believed (doubt): it lived later, and one lives at a time. Who knows no
 * name yet believes one that knows its own, which is random, too. What one that is not believed asks waits, since it
 * asks again. The names that a node had before are remembered, so that nothing is asked of those. */
#include "base/assert.h"
#include "base/memory.h"
#include "net/rpc_private.h"

#include <stdatomic.h>
#include <stdlib.h>

/* ---- the lock, and what is done outside it ---- */

void gn_rpc_lock(gn_rpc *rpc, rpc_work *work)
{
    *work = (rpc_work){0};
    work->last_out = &work->out;
    pthread_mutex_lock(&rpc->lock);
}

rpc_out *gn_rpc_out(rpc_work *work, gn_node_id to, uint8_t channel)
{
    rpc_out *out = gn_xcalloc(1, sizeof *out);
    out->to = to;
    out->channel = channel;
    *work->last_out = out;
    work->last_out = &out->next;
    return out;
}

static gn_buf *say_to(gn_rpc *rpc, rpc_work *work, const rpc_peer *peer, uint64_t incarnation, rpc_kind kind)
{
    rpc_out *out = gn_rpc_out(work, peer->id, GN_RPC_CHANNEL);
    gn_rpc_frame_begin(&out->frame, kind, rpc->incarnation, incarnation);
    return &out->frame;
}

gn_buf *gn_rpc_say(gn_rpc *rpc, rpc_work *work, rpc_peer *peer, rpc_kind kind)
{
    return say_to(rpc, work, peer, peer->incarnation, kind);
}

void gn_rpc_say_hello(gn_rpc *rpc, rpc_work *work, rpc_peer *peer, bool wants_reply)
{
    gn_rpc_frame_hello(gn_rpc_say(rpc, work, peer, RPC_HELLO), wants_reply);
}

void gn_rpc_blob_release(rpc_blob *blob)
{
    if (blob && atomic_fetch_sub_explicit(&blob->references, 1, memory_order_acq_rel) == 1) {
        gn_buf_close(&blob->bytes);
        free(blob);
    }
}

static void send_one(gn_rpc *rpc, rpc_out *out)
{
    gn_buf *frame = out->blob ? &out->blob->bytes : &out->frame;
    if (out->call)
        gn_buf_append_bytes(frame, out->call->request);
    if (frame->failed) /* no memory: lost, as the network might */
        return;
    if (out->to == rpc->self)
        gn_rpc_receive(rpc, rpc->self, gn_buf_bytes(frame));
    else
        gn_net_send(rpc->world, out->to, out->channel, gn_buf_bytes(frame));
}

static void unpin(gn_rpc *rpc, gn_rpc_call *call)
{
    rpc_work work;
    gn_rpc_lock(rpc, &work);
    gn_rpc_unpin(&work, call);
    gn_rpc_unlock(rpc, &work);
}

static void send_all(gn_rpc *rpc, rpc_out *out)
{
    for (rpc_out *next; out; out = next) {
        next = out->next;
        send_one(rpc, out);
        if (out->call)
            unpin(rpc, out->call);
        gn_buf_close(&out->frame);
        gn_rpc_blob_release(out->blob);
        free(out);
    }
}

static void end_calls(gn_rpc *rpc, gn_rpc_call *call)
{
    uint64_t now = call ? gn_now_ns(rpc->world) : 0;
    for (gn_rpc_call *next; call; call = next) {
        next = call->next;
        gn_histogram_observe(rpc->metrics.latency, (double)(now - call->started_ns) * 1e-9);
        call->done(call, call->code);
    }
}

static void arm_here(gn_rpc *rpc)
{
    pthread_mutex_lock(&rpc->lock);
    uint64_t due = rpc->closing ? 0 : rpc->timer_due;
    pthread_mutex_unlock(&rpc->lock);
    if (due)
        gn_timer_start(&rpc->timer, due);
}

void gn_rpc_unlock(gn_rpc *rpc, rpc_work *work)
{
    pthread_mutex_unlock(&rpc->lock);
    if (work->arm)
        arm_here(rpc);
    if (work->wake)
        gn_event_signal(&work->wake->wake);
    send_all(rpc, work->out);
    end_calls(rpc, work->ended);
    if (work->run)
        gn_rpc_run(work->run);
    if (work->start_strand)
        gn_rpc_strand_more(rpc);
}

/* ---- the timer ---- */

static void run_arm(gn_task *task)
{
    gn_rpc *rpc = GN_CONTAINER(task, gn_rpc, arm);
    pthread_mutex_lock(&rpc->lock);
    rpc->arming = false;
    pthread_mutex_unlock(&rpc->lock);
    arm_here(rpc);
}

void gn_rpc_need_timer(gn_rpc *rpc, rpc_work *work, uint64_t due_ns)
{
    if (rpc->closing || (rpc->timer_due && rpc->timer_due <= due_ns))
        return;
    rpc->timer_due = due_ns;
    if (gn_queue_is_current(rpc->queue)) {
        work->arm = true;
    } else if (!rpc->arming) {
        rpc->arming = true;
        gn_queue_post(rpc->queue, &rpc->arm);
    }
}

static void earlier(uint64_t *due, uint64_t other)
{
    if (other < *due)
        *due = other;
}

static void forget_peer(gn_rpc *rpc, rpc_peer **link)
{
    rpc_peer *peer = *link;
    GN_ASSERT(peer->calls.n == 0);
    *link = peer->next;
    rpc->n_peers--;
    if (peer->last_number > rpc->last_number)
        rpc->last_number = peer->last_number;
    gn_rpc_map_remove(&rpc->by_id, peer->id);
    gn_rpc_forget_asker(peer);
    gn_rpc_map_close(&peer->calls);
    gn_rpc_map_close(&peer->entries);
    free(peer);
}

/* Once in a while: answers that nobody fetches, peers that nobody hears of. */
static void age(gn_rpc *rpc, uint64_t now)
{
    if (now < rpc->aged_ns + RPC_SECOND)
        return;
    rpc->aged_ns = now;
    for (rpc_peer **link = &rpc->peers; *link;) {
        rpc_peer *peer = *link;
        gn_rpc_drop_old_answers(rpc, peer, now);
        if (peer->calls.n == 0 && peer->n_running == 0 && peer->id != rpc->self &&
            now > peer->used_ns + RPC_FORGET_PEER)
            forget_peer(rpc, link);
        else
            link = &peer->next;
    }
}

/* This process was stopped, or starved: the silence was its own. */
static void forgive(gn_rpc *rpc, uint64_t late)
{
    for (rpc_peer *peer = rpc->peers; peer; peer = peer->next) {
        peer->asked_ns += peer->asked_ns ? late : 0;
        peer->unreplied_ns += peer->unreplied_ns ? late : 0;
    }
}

static void tick(gn_timer *timer)
{
    gn_rpc *rpc = GN_CONTAINER(timer, gn_rpc, timer);
    rpc_work work;
    gn_rpc_lock(rpc, &work);
    uint64_t now = gn_now_ns(rpc->world), due = UINT64_MAX;
    if (rpc->timer_due && now > rpc->timer_due + RPC_LATE)
        forgive(rpc, now - rpc->timer_due);
    rpc->timer_due = 0;
    gn_rpc_due_calls(rpc, &work, now);
    for (rpc_peer *peer = rpc->peers; peer; peer = peer->next) {
        earlier(&due, gn_rpc_watch_peer(rpc, &work, peer, now));
        if (peer->n_answered > 0)
            earlier(&due, now + RPC_SECOND);
    }
    age(rpc, now);
    if (rpc->n_due > 0)
        earlier(&due, rpc->due[0]->due_ns);
    if (rpc->n_started != rpc->n_started_at_tick)
        earlier(&due, now + RPC_LINGER);
    rpc->n_started_at_tick = rpc->n_started;
    if (rpc->n_peers > 0)
        earlier(&due, now + RPC_LOOK_AROUND);
    if (due != UINT64_MAX)
        gn_rpc_need_timer(rpc, &work, due);
    gn_rpc_unlock(rpc, &work);
}

/* ---- peers ---- */

rpc_peer *gn_rpc_peer(gn_rpc *rpc, gn_node_id id)
{
    rpc_peer *peer = gn_rpc_map_get(&rpc->by_id, id);
    if (peer || rpc->n_peers >= RPC_MAX_PEERS)
        return peer;
    peer = gn_xcalloc(1, sizeof *peer);
    peer->id = id;
    peer->used_ns = gn_now_ns(rpc->world);
    peer->last_number = rpc->last_number;
    peer->incarnation = id == rpc->self ? rpc->incarnation : 0;
    peer->next = rpc->peers;
    rpc->peers = peer;
    rpc->n_peers++;
    gn_rpc_map_put(&rpc->by_id, id, peer);
    return peer;
}

static bool is_old(const rpc_peer *peer, uint64_t incarnation)
{
    for (unsigned i = 0; i < RPC_MAX_OLD && i < peer->n_old; i++) {
        if (peer->old[i] == incarnation)
            return true;
    }
    return false;
}

static void meet(gn_rpc *rpc, rpc_work *work, rpc_peer *peer, uint64_t incarnation)
{
    if (peer->incarnation) {
        peer->old[peer->n_old++ % RPC_MAX_OLD] = peer->incarnation;
        gn_rpc_forget_asker(peer);
        gn_rpc_peer_restarted(rpc, work, peer);
        peer->floor = 0;
        peer->n_acks = 0;
        peer->owes_ack_ns = 0;
    }
    peer->incarnation = incarnation;
    peer->riddle = peer->doubted = 0;
}

static bool lists(const rpc_frame *frame, uint64_t number)
{
    gn_reader list = frame->list;
    bool found = false;
    for (unsigned i = 0; i < frame->n_listed; i++) {
        found |= gn_read_be64(&list) == number;
        gn_read_u8(&list);
    }
    return found;
}

/* Of a frame by another incarnation than the believed one. */
static bool is_believable(const gn_rpc *rpc, const rpc_peer *peer, const rpc_frame *frame)
{
    if (frame->to != rpc->incarnation)
        return false;
    return !peer->incarnation || (frame->kind == RPC_STATUS && peer->riddle && lists(frame, peer->riddle));
}

static bool wants_hello(const gn_rpc *rpc, const rpc_frame *frame)
{
    bool asks = frame->kind == RPC_REQUEST || frame->kind == RPC_PROBE;
    return frame->kind == RPC_HELLO ? frame->wants_reply : asks && frame->to != rpc->incarnation;
}

/* It is asked after a number that no request has: whoever lives says, in every version, that it does not know it. The
 * number is new since the last one was believed. */
static void doubt(gn_rpc *rpc, rpc_work *work, rpc_peer *peer, uint64_t incarnation)
{
    uint64_t now = gn_now_ns(rpc->world);
    if (peer->doubted == incarnation && now < peer->doubted_ns + RPC_PING_EVERY)
        return;
    if (!peer->riddle)
        peer->riddle = gn_random_u64(rpc->world) | RPC_NO_REQUEST;
    peer->doubted = incarnation;
    peer->doubted_ns = now;
    gn_buf *frame = say_to(rpc, work, peer, incarnation, RPC_PROBE);
    gn_rpc_frame_progress(frame, &(rpc_progress){0});
    gn_buf_append_be16(frame, 1);
    gn_buf_append_be64(frame, peer->riddle);
}

/* False: not a frame of the incarnation that is believed. */
static bool recognise(gn_rpc *rpc, rpc_work *work, rpc_peer *peer, const rpc_frame *frame)
{
    if (frame->from == peer->incarnation)
        return true;
    if (peer->id == rpc->self || is_old(peer, frame->from))
        return false;
    gn_rpc_need_timer(rpc, work, gn_now_ns(rpc->world) + RPC_LOOK_AROUND);
    if (is_believable(rpc, peer, frame)) {
        meet(rpc, work, peer, frame->from);
        return true;
    }
    if (peer->incarnation)
        doubt(rpc, work, peer, frame->from);
    if (wants_hello(rpc, frame))
        gn_rpc_frame_hello(say_to(rpc, work, peer, frame->from, RPC_HELLO), false);
    return false;
}

static void note_heard(gn_rpc *rpc, rpc_work *work, rpc_peer *peer, const rpc_frame *frame)
{
    peer->used_ns = peer->heard_ns = gn_now_ns(rpc->world);
    peer->asked_ns = peer->gone_ns = 0;
    peer->suspect = false;
    if (wants_hello(rpc, frame))
        gn_rpc_say_hello(rpc, work, peer, false);
    if (frame->to == rpc->incarnation &&
        (frame->kind == RPC_ANSWER || frame->kind == RPC_STATUS || (frame->kind == RPC_HELLO && !frame->wants_reply)))
        peer->unreplied_ns = 0;
}

static void measure(gn_rpc *rpc, rpc_peer *peer)
{
    if (!peer->measuring)
        return;
    peer->measuring = false;
    uint64_t took = gn_now_ns(rpc->world) - peer->hello_ns;
    peer->round_trip_ns = peer->round_trip_ns ? (7 * peer->round_trip_ns + took) / 8 : took;
}

static void finish_large(gn_rpc *rpc, gn_rpc_call *call, gn_bytes body)
{
    gn_buf_append_bytes(&call->response, body);
    if (call->response.failed)
        call->code = gn_error_set(&call->error, GN_OUT_OF_MEMORY, "no memory for an answer of %zu bytes", body.len);
    unpin(rpc, call);
}

static void take(gn_rpc *rpc, rpc_work *work, rpc_peer *peer, rpc_frame *frame, gn_rpc_call **large)
{
    if (frame->kind == RPC_HELLO && !frame->wants_reply)
        measure(rpc, peer);
    else if (frame->kind == RPC_ACK)
        gn_rpc_take_progress(peer, &frame->progress);
    else if (frame->kind == RPC_REQUEST)
        gn_rpc_take_request(rpc, work, peer, frame);
    else if (frame->kind == RPC_PROBE)
        gn_rpc_take_probe(rpc, work, peer, frame);
    else if (frame->kind == RPC_ANSWER)
        gn_rpc_heard_answer(rpc, work, peer, frame, large);
    else if (frame->kind == RPC_STATUS)
        gn_rpc_heard_status(rpc, work, peer, frame);
}

/* What was waiting goes after the reply to what came: a peer that doubts us is to hear that first. */
void gn_rpc_receive(gn_rpc *rpc, gn_node_id from, gn_bytes bytes)
{
    rpc_work work;
    rpc_frame frame;
    gn_rpc_call *large = NULL;
    if (!gn_rpc_frame_read(bytes, &frame)) {
        gn_counter_add(rpc->metrics.bad_frames, 1);
        return;
    }
    gn_rpc_lock(rpc, &work);
    rpc_peer *peer = gn_rpc_peer(rpc, from);
    if (peer && recognise(rpc, &work, peer, &frame)) {
        note_heard(rpc, &work, peer, &frame);
        if (frame.to == rpc->incarnation)
            take(rpc, &work, peer, &frame, &large);
        if (peer->unsent)
            gn_rpc_send_unsent(rpc, &work, peer);
    }
    gn_rpc_unlock(rpc, &work);
    if (large)
        finish_large(rpc, large, frame.body);
}

void gn_rpc_suspect(gn_rpc *rpc, gn_node_id node)
{
    rpc_work work;
    gn_rpc_lock(rpc, &work);
    rpc_peer *peer = gn_rpc_map_get(&rpc->by_id, node);
    if (peer && !peer->suspect && gn_now_ns(rpc->world) > peer->heard_ns + RPC_SUSPECT_SILENCE) {
        peer->suspect = true;
        if (peer->calls.n)
            gn_rpc_need_timer(rpc, &work, gn_now_ns(rpc->world) + RPC_LINGER);
    }
    gn_rpc_unlock(rpc, &work);
}

/* Nobody listens where it did: what it was asked it will not answer, and what it is asked it will not get. */
static void peer_gone(gn_rpc *rpc, gn_node_id id)
{
    rpc_work work;
    gn_rpc_lock(rpc, &work);
    rpc_peer *peer = gn_rpc_map_get(&rpc->by_id, id);
    if (peer) {
        peer->gone_ns = gn_now_ns(rpc->world);
        peer->heard_ns = 0;
        gn_rpc_peer_gone(rpc, &work, peer);
    }
    gn_rpc_unlock(rpc, &work);
}

static void take_frame(void *ctx, gn_node_id from, gn_bytes bytes)
{
    gn_rpc *rpc = ctx;
    if (from == rpc->self || from == 0)
        return;
    if (bytes.len)
        gn_rpc_receive(rpc, from, bytes);
    else
        peer_gone(rpc, from);
}

/* ---- life ---- */

static rpc_metrics metrics_of_rpc(void)
{
    return (rpc_metrics){
        .calls = gn_counter("gnomon_rpc_calls_total", NULL, "Requests to nodes."),
        .retransmits = gn_counter("gnomon_rpc_retransmits_total", NULL, "Requests to nodes that were sent again."),
        .duplicates = gn_counter("gnomon_rpc_duplicates_total", NULL, "Requests of nodes that came again."),
        .answered = gn_counter("gnomon_rpc_answered_total", NULL, "Requests of nodes that were answered."),
        .refused = gn_counter("gnomon_rpc_refused_total", NULL, "Requests of nodes that were refused, not run."),
        .latency = gn_histogram("gnomon_rpc_call_seconds", NULL, "From a request to its answer or failure."),
        .bad_frames = gn_counter("gnomon_rpc_bad_frames_total", NULL, "Frames that could not be understood."),
    };
}

static uint64_t new_incarnation(gn_world *world)
{
    uint64_t name;
    do
        name = gn_random_u64(world);
    while (name == 0);
    return name;
}

gn_rpc *gn_rpc_create(gn_world *world, unsigned max_strands)
{
    gn_rpc *rpc = gn_xcalloc(1, sizeof *rpc);
    rpc->world = world;
    rpc->self = gn_net_self(world);
    rpc->incarnation = new_incarnation(world);
    rpc->metrics = metrics_of_rpc();
    rpc->max_strands = max_strands ? max_strands : RPC_MAX_STRANDS;
    rpc->arm.run = run_arm;
    rpc->aged_ns = gn_now_ns(world);
    pthread_mutex_init(&rpc->lock, NULL);
    rpc->queue = gn_queue_create(world, "rpc");
    gn_timer_init(&rpc->timer, rpc->queue, tick);
    gn_net_listen(world, GN_RPC_CHANNEL, rpc->queue, take_frame, rpc);
    gn_net_listen(world, GN_RPC_BULK_CHANNEL, rpc->queue, take_frame, rpc);
    return rpc;
}

void gn_rpc_stop(gn_rpc *rpc)
{
    pthread_mutex_lock(&rpc->lock);
    rpc->stopping = true;
    pthread_mutex_unlock(&rpc->lock);
}

typedef struct last_task {
    gn_task task;
    gn_rpc *rpc;
    gn_event done;
} last_task;

static void close_on_queue(gn_task *task)
{
    last_task *last = GN_CONTAINER(task, last_task, task);
    gn_rpc *rpc = last->rpc;
    gn_net_listen(rpc->world, GN_RPC_CHANNEL, rpc->queue, NULL, NULL);
    gn_net_listen(rpc->world, GN_RPC_BULK_CHANNEL, rpc->queue, NULL, NULL);
    pthread_mutex_lock(&rpc->lock);
    rpc->closing = true; /* from now on nobody starts the timer */
    pthread_mutex_unlock(&rpc->lock);
    gn_timer_close(&rpc->timer);
    gn_event_signal(&last->done);
}

static bool is_empty(const gn_rpc *rpc)
{
    return rpc->n_answering == 0 && rpc->n_asking == 0 && (!rpc->closing || rpc->n_strands == 0);
}

void gn_rpc_signal_if_empty(gn_rpc *rpc)
{
    if (!rpc->emptied || !is_empty(rpc))
        return;
    gn_event_signal(rpc->emptied);
    rpc->emptied = NULL;
}

void gn_rpc_wait_until_empty(gn_rpc *rpc)
{
    gn_event emptied;
    gn_event_init(&emptied, rpc->world);
    pthread_mutex_lock(&rpc->lock);
    bool wait = !is_empty(rpc);
    rpc->emptied = wait ? &emptied : NULL;
    pthread_mutex_unlock(&rpc->lock);
    if (wait)
        gn_event_wait(&emptied, UINT64_MAX);
    pthread_mutex_lock(&rpc->lock); /* whoever signalled is out of it */
    GN_ASSERT(is_empty(rpc));
    pthread_mutex_unlock(&rpc->lock);
}

void gn_rpc_destroy(gn_rpc *rpc)
{
    if (!rpc)
        return;
    rpc_work work;
    gn_rpc_lock(rpc, &work);
    rpc->stopping = true;
    gn_rpc_end_all(rpc, &work, GN_SHUTDOWN, "this node is shutting down");
    gn_rpc_unlock(rpc, &work);
    gn_rpc_wait_until_empty(rpc);
    last_task last = {.task.run = close_on_queue, .rpc = rpc};
    gn_event_init(&last.done, rpc->world);
    gn_queue_post(rpc->queue, &last.task);
    gn_event_wait(&last.done, UINT64_MAX);
    gn_queue_destroy(rpc->queue);
    gn_rpc_strands_close(rpc);
    while (rpc->peers)
        forget_peer(rpc, &rpc->peers);
    gn_rpc_map_close(&rpc->by_id);
    GN_ASSERT(rpc->n_due == 0);
    free(rpc->due);
    pthread_mutex_destroy(&rpc->lock);
    free(rpc);
}

gn_rpc_stats gn_rpc_stats_of(gn_rpc *rpc)
{
    pthread_mutex_lock(&rpc->lock);
    gn_rpc_stats stats = {.peers = rpc->n_peers, .calls = rpc->n_due, .strands = rpc->n_strands};
    for (const rpc_peer *peer = rpc->peers; peer; peer = peer->next) {
        stats.entries += peer->entries.n;
        stats.answered += peer->n_answered;
        stats.held_answers += peer->held_answers;
        stats.held_requests += peer->held_requests;
    }
    pthread_mutex_unlock(&rpc->lock);
    return stats;
}
