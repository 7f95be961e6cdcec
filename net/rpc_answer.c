/* Requests of other nodes: each number runs at most once, and its answer is kept until the asker has it.
 *
 *      WAITS ---> RUNS ---> ANSWERED ---> SEEN ---> gone
 *   (for a strand)             (acknowledged,     (the asker's floor
 *                               or too old)        passes it)
 *
 * A number that is neither known nor below the asker's floor is new. One below the floor that is not known is a late
 * double, or its answer was dropped: it is GONE, whoever still waits for it does not learn what became of it, and it
 * does not run. What is refused is answered like anything else, so that a late double of it is not taken for new.
 *
 * In two lists by number: `above` the floor, where SEEN entries stay until it passes them, and `below` it, where only
 * those are that run still or have an answer that is waited for. */
#include "base/assert.h"
#include "base/memory.h"
#include "net/rpc_private.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

bool gn_rpc_test_forgetful;

/* ---- lists ---- */

static rpc_list *list_of(const rpc_entry *entry)
{
    return entry->below ? &entry->asker->below : &entry->asker->above;
}

static void insert_entry(rpc_list *list, rpc_entry *entry)
{
    rpc_entry *prev = list->last;
    while (prev && prev->number > entry->number)
        prev = prev->prev;
    entry->prev = prev;
    entry->next = prev ? prev->next : list->first;
    *(entry->prev ? &entry->prev->next : &list->first) = entry;
    *(entry->next ? &entry->next->prev : &list->last) = entry;
}

static void remove_entry(rpc_entry *entry)
{
    rpc_list *list = list_of(entry);
    *(entry->prev ? &entry->prev->next : &list->first) = entry->next;
    *(entry->next ? &entry->next->prev : &list->last) = entry->prev;
    entry->next = entry->prev = NULL;
}

void gn_rpc_entry_free(rpc_entry *entry)
{
    gn_rpc_blob_release(entry->answer);
    free(entry->body);
    free(entry);
}

static bool is_under_way(const rpc_entry *entry)
{
    return entry->state == RPC_WAITS || entry->state == RPC_RUNS;
}

static void drop_answer(rpc_entry *entry)
{
    rpc_peer *peer = entry->asker;
    if (entry->state != RPC_ANSWERED)
        return;
    entry->state = RPC_SEEN;
    peer->n_answered--;
    peer->held_answers -= entry->answer->bytes.cap;
    gn_rpc_blob_release(entry->answer);
    entry->answer = NULL;
}

static void release_request(rpc_entry *entry)
{
    entry->asker->n_running--;
    entry->asker->held_requests -= entry->held;
    entry->held = 0;
}

/* The number is not known from then on. What is under way goes on, and nobody is told what comes of it. */
static void forget(rpc_entry *entry)
{
    rpc_peer *peer = entry->asker;
    remove_entry(entry);
    gn_rpc_map_remove(&peer->entries, entry->number);
    drop_answer(entry);
    if (is_under_way(entry)) {
        release_request(entry);
        entry->asker = NULL;
    } else {
        gn_rpc_entry_free(entry);
    }
}

static void forget_list(const rpc_list *list)
{
    for (rpc_entry *entry = list->first, *next; entry; entry = next) {
        next = entry->next;
        forget(entry);
    }
}

void gn_rpc_forget_asker(rpc_peer *peer)
{
    forget_list(&peer->above);
    forget_list(&peer->below);
    GN_ASSERT(peer->entries.n == 0 && peer->n_running == 0 && peer->n_answered == 0);
    GN_ASSERT(peer->held_requests == 0 && peer->held_answers == 0);
}

/* The answer is not needed any more. */
static void settle(rpc_entry *entry)
{
    if (entry->below)
        forget(entry);
    else
        drop_answer(entry);
}

/* ---- how far the asker is ---- */

static void raise_floor(rpc_peer *peer, uint64_t floor)
{
    if (floor > peer->floor)
        peer->floor = floor;
    for (rpc_entry *entry = peer->above.first, *next; entry && entry->number < peer->floor; entry = next) {
        next = entry->next;
        if (entry->state == RPC_SEEN) {
            forget(entry);
            continue;
        }
        remove_entry(entry);
        entry->below = true;
        insert_entry(&peer->below, entry);
    }
}

void gn_rpc_take_progress(rpc_peer *peer, const rpc_progress *progress)
{
    for (unsigned i = 0; i < progress->n_acks; i++) {
        rpc_entry *entry = gn_rpc_map_get(&peer->entries, progress->acks[i]);
        if (entry && entry->state == RPC_ANSWERED)
            settle(entry);
    }
    raise_floor(peer, progress->floor);
    for (rpc_entry *entry = peer->below.first, *next; entry && entry->number < progress->pending; entry = next) {
        next = entry->next;
        forget(entry);
    }
}

void gn_rpc_drop_old_answers(gn_rpc *rpc, rpc_peer *peer, uint64_t now)
{
    rpc_list *lists[] = {&peer->below, &peer->above};
    (void)rpc;
    for (size_t i = 0; i < 2 && peer->n_answered > 0; i++) {
        for (rpc_entry *entry = lists[i]->first, *next; entry; entry = next) {
            next = entry->next;
            if (entry->state == RPC_ANSWERED && now > entry->sent_ns + RPC_KEEP_ANSWER)
                settle(entry);
        }
    }
}

/* The oldest numbers go first, and `spared` never. */
static void bound_answers(rpc_peer *peer, const rpc_entry *spared)
{
    rpc_list *lists[] = {&peer->below, &peer->above};
    for (size_t i = 0; i < 2; i++) {
        for (rpc_entry *entry = lists[i]->first, *next; entry && peer->held_answers > RPC_MAX_HELD; entry = next) {
            next = entry->next;
            if (entry->state == RPC_ANSWERED && entry != spared)
                settle(entry);
        }
    }
}

/* ---- answering ---- */

static rpc_blob *encode(const gn_rpc *rpc, const rpc_entry *entry, gn_code code, gn_bytes body, const gn_error *err)
{
    rpc_blob *blob = gn_xmalloc(sizeof *blob);
    gn_error too_large = {0};
    atomic_init(&blob->references, 1);
    if (body.len > GN_MAX_RPC) {
        code = gn_error_set(&too_large, GN_LIMIT, "an answer of %zu bytes is larger than %u", body.len,
                            (unsigned)GN_MAX_RPC);
        err = &too_large;
    }
    gn_bytes none = {0};
    gn_rpc_frame_begin(&blob->bytes, RPC_ANSWER, rpc->incarnation, entry->incarnation);
    gn_rpc_frame_answer(&blob->bytes, entry->number, code, err, code == GN_OK ? body : none);
    if (!blob->bytes.failed)
        return blob;
    gn_buf_close(&blob->bytes);
    gn_rpc_frame_begin(&blob->bytes, RPC_ANSWER, rpc->incarnation, entry->incarnation);
    gn_rpc_frame_answer(&blob->bytes, entry->number, GN_OUT_OF_MEMORY, NULL, none);
    return blob;
}

static void send_answer(rpc_work *work, rpc_entry *entry, uint64_t now)
{
    rpc_blob *blob = entry->answer;
    rpc_out *out = gn_rpc_out(work, entry->asker->id, gn_rpc_channel(entry->bulk, blob->bytes.len));
    atomic_fetch_add_explicit(&blob->references, 1, memory_order_relaxed);
    out->blob = blob;
    entry->sent_ns = now;
}

/* Under the lock: the entry's request is over. Frees the entry if nobody will come for the answer. */
static void keep_answer(gn_rpc *rpc, rpc_work *work, rpc_entry *entry, rpc_blob *blob)
{
    rpc_peer *peer = entry->asker;
    entry->answer = blob;
    if (!peer) {
        gn_rpc_entry_free(entry);
        return;
    }
    release_request(entry);
    entry->state = RPC_ANSWERED;
    peer->n_answered++;
    peer->held_answers += blob->bytes.cap;
    send_answer(work, entry, gn_now_ns(rpc->world));
    if (peer->id == rpc->self) { /* which hears it for certain */
        forget(entry);
        return;
    }
    bound_answers(peer, entry);
    gn_rpc_need_timer(rpc, work, entry->sent_ns + RPC_SECOND);
}

static void leave_answering(gn_rpc *rpc)
{
    pthread_mutex_lock(&rpc->lock);
    GN_ASSERT(rpc->n_answering > 0);
    rpc->n_answering--;
    gn_rpc_signal_if_empty(rpc);
    pthread_mutex_unlock(&rpc->lock);
}

void gn_rpc_answer(gn_rpc_request *request, gn_code code, gn_bytes response, const gn_error *err)
{
    rpc_entry *entry = GN_CONTAINER(request, rpc_entry, request);
    gn_rpc *rpc = entry->rpc;
    rpc_work work;
    rpc_blob *blob = encode(rpc, entry, code, response, err);
    uint8_t *body = entry->body; /* may be large, and the response may lie in it: freed last */
    entry->body = NULL;
    gn_counter_add(rpc->metrics.answered, 1);
    gn_rpc_lock(rpc, &work);
    GN_ASSERT(is_under_way(entry));
    keep_answer(rpc, &work, entry, blob);
    gn_rpc_unlock(rpc, &work);
    leave_answering(rpc);
    free(body);
}

bool gn_rpc_is_awaited(const gn_rpc_request *request)
{
    const rpc_entry *entry = GN_CONTAINER(request, const rpc_entry, request);
    pthread_mutex_lock(&entry->rpc->lock);
    bool awaited = entry->asker != NULL;
    pthread_mutex_unlock(&entry->rpc->lock);
    return awaited;
}

void gn_rpc_refuse(rpc_entry *entry, const char *why)
{
    gn_error err = {0};
    gn_counter_add(entry->rpc->metrics.refused, 1);
    gn_error_set(&err, GN_UNAVAILABLE, "node %llu refused the request: %s", (unsigned long long)entry->rpc->self, why);
    gn_rpc_answer(&entry->request, GN_UNAVAILABLE, (gn_bytes){0}, &err);
}

/* ---- taking ---- */

static void say_fate(gn_rpc *rpc, rpc_work *work, rpc_peer *peer, uint64_t number, rpc_fate fate)
{
    gn_buf *frame = gn_rpc_say(rpc, work, peer, RPC_STATUS);
    gn_buf_append_be16(frame, 1);
    gn_buf_append_be64(frame, number);
    gn_buf_append_u8(frame, (uint8_t)fate);
}

/* What to say of a number. An answer that is there is sent again, a large one only when the last must have come. */
static rpc_fate fate_of(rpc_work *work, rpc_peer *peer, uint64_t number, uint64_t now, bool *answered)
{
    rpc_entry *entry = gn_rpc_map_get(&peer->entries, number);
    *answered = false;
    if (!entry)
        return number < peer->floor ? RPC_GONE : RPC_UNKNOWN;
    if (entry->state == RPC_SEEN)
        return RPC_GONE;
    if (entry->state != RPC_ANSWERED)
        return RPC_WORKING;
    size_t len = entry->answer->bytes.len;
    *answered = len <= RPC_LARGE || now >= entry->sent_ns + gn_rpc_patience(len);
    if (*answered)
        send_answer(work, entry, now);
    return RPC_WORKING;
}

void gn_rpc_take_probe(gn_rpc *rpc, rpc_work *work, rpc_peer *peer, rpc_frame *frame)
{
    uint64_t now = gn_now_ns(rpc->world), numbers[RPC_MAX_LISTED];
    rpc_fate fates[RPC_MAX_LISTED];
    unsigned n = 0;
    gn_rpc_take_progress(peer, &frame->progress);
    for (unsigned i = 0; i < frame->n_listed; i++) {
        bool answered;
        numbers[n] = gn_read_be64(&frame->list);
        fates[n] = fate_of(work, peer, numbers[n], now, &answered);
        n += !answered;
    }
    if (n == 0)
        return;
    gn_buf *status = gn_rpc_say(rpc, work, peer, RPC_STATUS);
    gn_buf_append_be16(status, (uint16_t)n);
    for (unsigned i = 0; i < n; i++) {
        gn_buf_append_be64(status, numbers[i]);
        gn_buf_append_u8(status, (uint8_t)fates[i]);
    }
}

/* NULL: it may run. */
static const char *why_not(const gn_rpc *rpc, const rpc_peer *peer, const rpc_frame *frame)
{
    if (rpc->stopping)
        return "it is shutting down";
    if (frame->method >= GN_RPC_METHODS ||
        (!rpc->handlers[frame->method].on_queue && !rpc->handlers[frame->method].on_strand))
        return "it does not know this method";
    if (peer->n_running + peer->n_answered > RPC_MAX_UNANSWERED)
        return "too many requests are under way";
    if (peer->n_running > 1 && peer->held_requests > RPC_MAX_HELD)
        return "the requests under way are too large";
    return NULL;
}

static rpc_entry *enter(gn_rpc *rpc, rpc_peer *peer, const rpc_frame *frame)
{
    rpc_entry *entry = gn_xcalloc(1, sizeof *entry);
    entry->rpc = rpc;
    entry->asker = peer;
    entry->number = frame->number;
    entry->incarnation = frame->from;
    entry->bulk = frame->bulk;
    entry->state = RPC_RUNS;
    entry->request.from = peer->id;
    entry->request.method = frame->method;
    gn_rpc_map_put(&peer->entries, entry->number, entry);
    insert_entry(&peer->above, entry);
    peer->n_running++;
    rpc->n_answering++;
    return entry;
}

static bool copy_body(rpc_entry *entry, gn_bytes body)
{
    if (body.len == 0)
        return true;
    entry->body = malloc(body.len);
    if (!entry->body)
        return false;
    memcpy(entry->body, body.data, body.len);
    entry->request.bytes = gn_bytes_of(entry->body, body.len);
    entry->held = body.len;
    entry->asker->held_requests += body.len;
    return true;
}

static void refuse_here(gn_rpc *rpc, rpc_work *work, rpc_entry *entry, const char *why)
{
    gn_error err = {0};
    gn_counter_add(rpc->metrics.refused, 1);
    gn_error_set(&err, GN_UNAVAILABLE, "node %llu refused the request: %s", (unsigned long long)rpc->self, why);
    rpc_blob *blob = encode(rpc, entry, GN_UNAVAILABLE, (gn_bytes){0}, &err);
    keep_answer(rpc, work, entry, blob);
    rpc->n_answering--;
}

static void run_task(gn_task *task)
{
    gn_rpc_run(GN_CONTAINER(task, rpc_entry, task));
}

/* A request of this node itself goes by the queue: it was perhaps made by a handler's or a call's code further up. */
static void dispatch(gn_rpc *rpc, rpc_work *work, rpc_entry *entry)
{
    const rpc_handler *handler = &rpc->handlers[entry->request.method];
    if (handler->on_strand && !handler->first) {
        entry->state = RPC_WAITS;
        gn_rpc_strands_take(rpc, work, entry);
    } else if (entry->asker->id != rpc->self) {
        work->run = entry;
    } else {
        entry->task.run = run_task;
        gn_queue_post(rpc->queue, &entry->task);
    }
}

static bool is_double(gn_rpc *rpc, rpc_work *work, rpc_peer *peer, const rpc_frame *frame)
{
    rpc_entry *entry = gn_rpc_map_get(&peer->entries, frame->number);
    if (!entry && frame->number >= peer->floor)
        return false;
    gn_counter_add(rpc->metrics.duplicates, 1);
    if (gn_rpc_test_forgetful) {
        if (entry)
            forget(entry);
        return false;
    }
    bool answered;
    rpc_fate fate = fate_of(work, peer, frame->number, gn_now_ns(rpc->world), &answered);
    if (!answered)
        say_fate(rpc, work, peer, frame->number, fate);
    return true;
}

void gn_rpc_take_request(gn_rpc *rpc, rpc_work *work, rpc_peer *peer, const rpc_frame *frame)
{
    gn_rpc_take_progress(peer, &frame->progress);
    if (is_double(rpc, work, peer, frame))
        return;
    if (peer->entries.n >= RPC_MAX_SEEN)
        return; /* nothing about it could be remembered; it will come again */
    const char *refusal = why_not(rpc, peer, frame);
    rpc_entry *entry = enter(rpc, peer, frame);
    if (!refusal && !copy_body(entry, frame->body))
        refusal = "out of memory";
    if (refusal)
        refuse_here(rpc, work, entry, refusal);
    else
        dispatch(rpc, work, entry);
}

/* ---- running ---- */

static rpc_handler handler_of(rpc_entry *entry)
{
    pthread_mutex_lock(&entry->rpc->lock);
    rpc_handler handler = entry->rpc->handlers[entry->request.method];
    pthread_mutex_unlock(&entry->rpc->lock);
    return handler;
}

static void run_blocking(rpc_entry *entry, const rpc_handler *handler)
{
    gn_buf response;
    gn_error err = {0};
    gn_buf_init(&response, NULL, GN_MAX_RPC);
    gn_code code = handler->on_strand(handler->ctx, entry->request.from, entry->request.bytes, &response, &err);
    if (code == GN_OK && response.failed)
        code = gn_error_set(&err, GN_LIMIT, "the answer is larger than %u bytes", (unsigned)GN_MAX_RPC);
    gn_rpc_answer(&entry->request, code, gn_buf_bytes(&response), &err);
    gn_buf_close(&response);
}

/* It is to be run by a strand after all. */
static void to_strand(rpc_entry *entry)
{
    rpc_work work;
    gn_rpc *rpc = entry->rpc;
    gn_rpc_lock(rpc, &work);
    entry->state = RPC_WAITS;
    gn_rpc_strands_take(rpc, &work, entry);
    gn_rpc_unlock(rpc, &work);
}

void gn_rpc_run(rpc_entry *entry)
{
    rpc_handler handler = handler_of(entry);
    if (handler.first && !entry->looked_at) {
        entry->looked_at = true;
        if (!handler.first(handler.ctx, &entry->request))
            to_strand(entry);
    } else if (handler.on_strand)
        run_blocking(entry, &handler);
    else
        handler.on_queue(handler.ctx, &entry->request);
}

static void serve(gn_rpc *rpc, uint16_t method, rpc_handler handler)
{
    GN_ASSERT(method < GN_RPC_METHODS);
    pthread_mutex_lock(&rpc->lock);
    GN_ASSERT(!rpc->handlers[method].on_queue && !rpc->handlers[method].on_strand);
    rpc->handlers[method] = handler;
    pthread_mutex_unlock(&rpc->lock);
}

void gn_rpc_serve(gn_rpc *rpc, uint16_t method, void (*handler)(void *ctx, gn_rpc_request *request), void *ctx)
{
    serve(rpc, method, (rpc_handler){.on_queue = handler, .ctx = ctx});
}

void gn_rpc_serve_strand(gn_rpc *rpc, uint16_t method,
                         gn_code (*handler)(void *ctx, gn_node_id from, gn_bytes request, gn_buf *response,
                                            gn_error *err),
                         void *ctx)
{
    serve(rpc, method, (rpc_handler){.on_strand = handler, .ctx = ctx});
}

void gn_rpc_serve_either(gn_rpc *rpc, uint16_t method, bool (*first)(void *ctx, gn_rpc_request *request),
                         gn_code (*handler)(void *ctx, gn_node_id from, gn_bytes request, gn_buf *response,
                                            gn_error *err),
                         void *ctx)
{
    serve(rpc, method, (rpc_handler){.first = first, .on_strand = handler, .ctx = ctx});
}
