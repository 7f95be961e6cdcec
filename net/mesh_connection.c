/* One connection: hello, frames out, frames in. */
#include "base/assert.h"
#include "base/log.h"
#include "net/mesh_private.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    IN_BYTES = 64 << 10,     /* one read; frames that fit are copied out of it */
    LARGE_STEP = 1 << 20,    /* a larger one is given memory as its bytes come, by this and then by doubling */
    MAX_UNDONE = 16 << 20,   /* stop reading */
    RESUME_UNDONE = 8 << 20, /* read again */
    TURN_IOVS = 8,           /* NNG takes no more */
    TURN_FRAMES = 64,        /* handed to the kernel in one turn */
    TURN_BYTES = 1 << 20,    /* about: the mutex is held as long as the kernel copies */
    QUICK_BYTES = 64 << 10,  /* no more is sent on the thread of whoever has something to send */
    STAGING_BYTES = 16000,   /* small frames are put together: NNG's TLS makes a record of the first iov alone */
    SMALL_FRAME = 4 << 10,
    ALIVE_PARTS = 5, /* so many times in the silence that is allowed, something is said */
};

static void on_sent(void *arg);
static void on_received(void *arg);
static void receive_more(mesh_connection *c);

/* ---- lists of frames ---- */

void gn_mesh_outbounds_append(mesh_outbounds *list, mesh_outbound *frame)
{
    frame->next = NULL;
    if (list->last)
        list->last->next = frame;
    else
        list->first = frame;
    list->last = frame;
}

static mesh_outbound *take_first(mesh_outbounds *list)
{
    mesh_outbound *frame = list->first;
    list->first = frame->next;
    if (!list->first)
        list->last = NULL;
    return frame;
}

size_t gn_mesh_outbounds_free(mesh_outbounds *list)
{
    size_t n = 0;
    while (list->first) {
        mesh_outbound *frame = take_first(list);
        n += !frame->control;
        free(frame);
    }
    return n;
}

/* A frame that the mesh itself says, made by one of the writers of frame.c. */
static void append_control(mesh_connection *c, gn_bytes bytes)
{
    mesh_outbound *frame = gn_xmalloc(sizeof *frame + bytes.len);
    *frame = (mesh_outbound){.size = bytes.len, .control = true};
    memcpy(frame->bytes, bytes.data, bytes.len);
    gn_mesh_outbounds_append(&c->control, frame);
}

static void append_word(mesh_connection *c, mesh_kind kind)
{
    uint8_t head[MESH_HEAD_BYTES];
    gn_mesh_head_write(head, kind, 0, (gn_bytes){0});
    append_control(c, gn_bytes_of(head, sizeof head));
}

/* ---- the life of a connection ---- */

static void enter(mesh_connection *c, mesh_state state)
{
    if (c->state == MESH_GREETING && !c->dialled)
        c->mesh->n_half_open--;
    c->state = state;
    c->since_ns = gn_now_ns(c->mesh->world);
}

static void unref(mesh_connection *c)
{
    if (atomic_fetch_sub(&c->refs, 1) != 1)
        return;
    gn_mesh *mesh = c->mesh;
    pthread_mutex_lock(&mesh->lock);
    if (c->prev)
        c->prev->next = c->next;
    else
        mesh->connections = c->next;
    if (c->next)
        c->next->prev = c->prev;
    gn_gauge_add(mesh->open, -1);
    free(c->large);
    free(c->in);
    free(c->staging);
    free(c);
    if (--mesh->n_connections == 0)
        pthread_cond_broadcast(&mesh->gone);
    pthread_mutex_unlock(&mesh->lock);
}

/* A task: waits for the callbacks that the close has brought about. */
static void clean_up(gn_task *task)
{
    mesh_connection *c = GN_CONTAINER(task, mesh_connection, cleanup);
    nng_aio_stop(c->send);
    nng_aio_stop(c->recv);
    nng_aio_free(c->quick);
    nng_aio_free(c->send);
    nng_aio_free(c->recv);
    nng_stream_free(c->stream);
    unref(c);
}

static void say_hello(mesh_connection *c, gn_node_id to)
{
    gn_mesh *mesh = c->mesh;
    mesh_hello hello = {.version_min = MESH_VERSION_MIN,
                        .version_max = MESH_VERSION_MAX,
                        .class = (uint8_t)c->class,
                        .in_cluster = mesh->in_cluster,
                        .from = mesh->self,
                        .to = to,
                        .incarnation = mesh->incarnation,
                        .number = c->number,
                        .can = mesh->can,
                        .at = (uint16_t)mesh->at};
    memcpy(hello.cluster, mesh->cluster, sizeof hello.cluster);
    gn_buf bytes;
    gn_buf_init(&bytes, NULL, MESH_MAX_CONTROL);
    gn_mesh_hello_write(&bytes, &hello);
    append_control(c, gn_buf_bytes(&bytes));
    gn_buf_close(&bytes);
    gn_mesh_connection_send(c);
}

void gn_mesh_connection_open(gn_mesh *mesh, nng_stream *stream, const char *where, bool dialled, mesh_link *link,
                             mesh_contact *contact)
{
    mesh_connection *c = gn_xcalloc(1, sizeof *c);
    c->cleanup.run = clean_up;
    c->mesh = mesh;
    c->stream = stream;
    c->dialled = dialled;
    c->class = link ? link->class : MESH_REQUESTS;
    c->dial_link = link;
    c->contact = contact;
    c->in = gn_xmalloc(IN_BYTES);
    c->staging = gn_xmalloc(STAGING_BYTES);
    memcpy(c->where, where, sizeof c->where);
    c->since_ns = c->sent_ns = gn_now_ns(mesh->world);
    atomic_init(&c->heard_ns, c->since_ns);
    atomic_init(&c->refs, 1);
    int made = nng_aio_alloc(&c->quick, NULL, NULL) | nng_aio_alloc(&c->send, on_sent, c) |
               nng_aio_alloc(&c->recv, on_received, c);
    GN_ASSERT(made == 0); /* as for all small structures */
    c->next = mesh->connections;
    if (c->next)
        c->next->prev = c;
    mesh->connections = c;
    mesh->n_connections++;
    gn_gauge_add(mesh->open, 1);
    if (dialled) {
        c->number = ++mesh->last_number;
        say_hello(c, link ? link->peer->id : 0);
    } else {
        mesh->n_half_open++;
    }
    receive_more(c);
}

/* What was not sent goes back to where it came from; the frame that was begun too, since no part of it counts. */
static void give_back(mesh_connection *c)
{
    mesh_outbounds back = {0};
    while (c->out.first) {
        mesh_outbound *frame = take_first(&c->out);
        if (frame->control)
            free(frame);
        else
            gn_mesh_outbounds_append(&back, frame);
    }
    gn_mesh_outbounds_free(&c->control);
    if (!back.first)
        return;
    back.last->next = c->link->waiting.first;
    c->link->waiting.first = back.first;
    if (!c->link->waiting.last)
        c->link->waiting.last = back.last;
}

void gn_mesh_connection_close(mesh_connection *c, const char *words)
{
    gn_mesh *mesh = c->mesh;
    if (c->state == MESH_CLOSED)
        return;
    enter(c, MESH_CLOSED);
    nng_stream_close(c->stream);
    give_back(c);
    if (words)
        gn_mesh_note(mesh, c->link ? c->link->peer : c->dial_link ? c->dial_link->peer : NULL, c->where, words);
    if (c->contact)
        gn_mesh_contact_resolve(c->contact, GN_CONNECTION_FAILURE, 0, words ? words : "the connection was closed");
    c->contact = NULL;
    if (c->dial_link) {
        c->dial_link->dialling = false;
        gn_mesh_link_failed(c->dial_link);
    }
    if (c->link && c->link->up == c) {
        c->link->up = NULL;
        c->link->waiting_ns = c->since_ns;
        gn_mesh_link_failed(c->link);
    } else if (c->link) {
        gn_mesh_link_kick(c->link);
    }
    gn_queue_post(mesh->cleanup, &c->cleanup);
}

/* Another connection is better, or the other side thinks so. */
static void drain(mesh_connection *c)
{
    enter(c, MESH_DRAINING);
    if (c->link->up == c) {
        c->link->up = NULL;
        c->link->waiting_ns = c->since_ns;
    }
    gn_mesh_connection_send(c);
}

static bool drained(const mesh_connection *c)
{
    return c->state == MESH_DRAINING && c->bye_heard && c->bye_received;
}

/* Both sides judge alike: what the lower id has dialled, and of its own the later. */
static bool is_better(const mesh_connection *a, const mesh_connection *b)
{
    if (a->dialled != b->dialled)
        return a->dialled == (a->mesh->self < a->from);
    return a->number > b->number;
}

static void settle_rivals(mesh_connection *c)
{
    mesh_connection *next;
    for (mesh_connection *other = c->mesh->connections; other; other = next) {
        next = other->next;
        if (other == c || other->peer != c->peer || (other->state != MESH_UP && other->state != MESH_DRAINING))
            continue;
        if (other->incarnation != c->incarnation)
            gn_mesh_connection_close(other, "the other side has started anew");
        else if (other->link == c->link && other->state == MESH_UP && c->state == MESH_UP)
            drain(is_better(c, other) ? other : c);
    }
}

/* A stranger is in no cluster that is at anything. */
static const gn_version_range mesh_can_all = {0, UINT16_MAX};

static void come_up(mesh_connection *c, mesh_peer *peer, const mesh_hello *hello)
{
    mesh_contact *contact = c->contact;
    mesh_link *link = &peer->links[c->class];
    enter(c, MESH_UP);
    c->peer = peer;
    c->from = peer->id;
    c->link = link;
    c->incarnation = hello->incarnation;
    c->can = hello->in_cluster ? hello->can : mesh_can_all;
    c->greeted = true;
    if (c->dial_link)
        c->dial_link->dialling = false;
    c->dial_link = NULL;
    c->contact = NULL;
    link->failures = 0;
    peer->last_error[0] = 0;
    settle_rivals(c);
    if (c->state == MESH_UP)
        link->up = c;
    gn_log_info("net", "connected", GN_KV_U64("node", peer->id), GN_KV_STR("address", c->where),
                GN_KV_U64("class", c->class), GN_KV_BOOL("dialled", c->dialled));
    if (contact) {
        if (!peer->address[0])
            gn_mesh_peer_set_address(peer, contact->address);
        gn_mesh_contact_resolve(contact, GN_OK, peer->id, "");
    }
    gn_mesh_link_kick(link);
}

void gn_mesh_connection_tick(mesh_connection *c, uint64_t now)
{
    gn_mesh *mesh = c->mesh;
    uint64_t age = now - c->since_ns, heard = atomic_load(&c->heard_ns);
    if (c->state == MESH_GREETING && age > mesh->hello_ns)
        gn_mesh_connection_close(c, "the other side did not say hello in time");
    else if (c->state == MESH_REFUSING && age > MESH_LINGER_MS * 1000000ull)
        gn_mesh_connection_close(c, NULL);
    else if (c->state == MESH_DRAINING && age > MESH_DRAIN_MS * 1000000ull)
        gn_mesh_connection_close(c, NULL);
    if (c->state != MESH_UP)
        return;
    if (atomic_load(&c->paused))
        atomic_store(&c->heard_ns, now); /* nobody listens: that says nothing about the other side */
    else if (now > heard && now - heard > mesh->silence_ns) {
        gn_mesh_connection_close(c, "nothing was heard for too long");
        return;
    }
    if (now - c->sent_ns > mesh->silence_ns / ALIVE_PARTS && !c->control.first) {
        append_word(c, MESH_ALIVE);
        gn_mesh_connection_send(c);
    }
}

/* ---- sending ---- */

/* What this turn and the next ones send: first what is left, then the mesh's own words, then frames. */
static void fill_out(mesh_connection *c)
{
    while (c->control.first) {
        gn_mesh_outbounds_append(&c->out, take_first(&c->control));
        c->n_out++;
    }
    if (c->state == MESH_UP && c->link->up == c)
        for (; c->link->waiting.first && c->n_out < TURN_FRAMES; c->n_out++)
            gn_mesh_outbounds_append(&c->out, take_first(&c->link->waiting));
    if (c->state == MESH_DRAINING && !c->out.first && !c->bye_sent) {
        c->bye_sent = true;
        append_word(c, MESH_BYE);
        gn_mesh_outbounds_append(&c->out, take_first(&c->control));
        c->n_out++;
    }
}

/* Small frames are copied together, each other one is a piece of its own. */
static unsigned gather(mesh_connection *c, nng_iov *iov)
{
    unsigned n = 0;
    size_t staged = 0, bytes = 0, skip = c->out_done;
    bool joins = false; /* the last piece is in the staging buffer */
    for (mesh_outbound *frame = c->out.first; frame && bytes < TURN_BYTES; frame = frame->next, skip = 0) {
        size_t len = frame->size - skip;
        bool small = len <= SMALL_FRAME && len <= STAGING_BYTES - staged;
        if (small && joins) {
            iov[n - 1].iov_len += len;
        } else {
            if (n == TURN_IOVS)
                break;
            len = len < TURN_BYTES - bytes ? len : TURN_BYTES - bytes;
            iov[n++] = (nng_iov){.iov_buf = small ? c->staging + staged : frame->bytes + skip, .iov_len = len};
        }
        if (small) {
            memcpy(c->staging + staged, frame->bytes + skip, len);
            staged += len;
        }
        joins = small;
        bytes += len;
        if (len < frame->size - skip)
            break;
    }
    return n;
}

/* `count` more bytes of what is out have gone. Whole frames go to `gone`, to be freed without the mutex: to give back
 * hundreds of MiB takes the kernel a while. */
static void advance(mesh_connection *c, size_t count, mesh_outbounds *gone)
{
    while (count > 0) {
        mesh_outbound *frame = c->out.first;
        GN_ASSERT(frame);
        size_t left = frame->size - c->out_done;
        if (count < left) {
            c->out_done += count;
            return;
        }
        count -= left;
        c->out_done = 0;
        c->n_out--;
        take_first(&c->out);
        if (!frame->control) {
            c->link->queued -= frame->size;
            atomic_fetch_add(&c->link->peer->frames_out, 1);
            gn_counter_add(c->mesh->frames_out, 1);
        }
        gn_mesh_outbounds_append(gone, frame);
    }
}

static void account_sent(mesh_connection *c, size_t count, mesh_outbounds *gone)
{
    c->sent_ns = gn_now_ns(c->mesh->world);
    gn_counter_add(c->mesh->bytes_out, count);
    if (c->link)
        atomic_fetch_add(&c->link->peer->bytes_out, count);
    advance(c, count, gone);
}

/* Most often the kernel has room. Then the bytes go on the caller's thread, by an operation without a callback, which
 * wakes none of NNG's; one that does not end at once is taken back. False: nothing has gone, whatever the reason. Not
 * with TLS, whose operations NNG does not take back. */
static bool send_now(mesh_connection *c, const nng_iov *iov, unsigned n)
{
    mesh_outbounds gone = {0};
    size_t bytes = 0;
    for (unsigned i = 0; i < n; i++)
        bytes += iov[i].iov_len;
    if (c->mesh->tls || bytes > QUICK_BYTES)
        return false;
    int set = nng_aio_set_iov(c->quick, n, iov);
    GN_ASSERT(set == 0);
    nng_stream_send(c->stream, c->quick);
    nng_aio_abort(c->quick, NNG_ECANCELED);
    nng_aio_wait(c->quick);
    if (nng_aio_result(c->quick) != 0)
        return false;
    account_sent(c, nng_aio_count(c->quick), &gone);
    gn_mesh_outbounds_free(&gone);
    return true;
}

void gn_mesh_connection_send(mesh_connection *c)
{
    nng_iov iov[TURN_IOVS];
    while (!c->sending && c->state != MESH_CLOSED) {
        fill_out(c);
        unsigned n = gather(c, iov);
        if (n == 0)
            return;
        if (send_now(c, iov, n))
            continue;
        c->sending = true;
        int set = nng_aio_set_iov(c->send, n, iov);
        GN_ASSERT(set == 0);
        nng_stream_send(c->stream, c->send);
    }
}

static const char *words_of(const mesh_connection *c, int rv)
{
    switch (rv) {
    case NNG_EPEERAUTH:
        return "TLS: the certificate of the other side was not accepted";
    case NNG_ECRYPTO:
        return "TLS failed, or the other side did not accept our certificate";
    case NNG_ECONNSHUT:
    case NNG_ECLOSED:
    case NNG_ECONNRESET:
        return c->greeted ? "the other side closed the connection"
                          : "the other side closed the connection before its hello";
    default:
        return nng_strerror(rv);
    }
}

static void on_sent(void *arg)
{
    mesh_connection *c = arg;
    gn_mesh *mesh = c->mesh;
    mesh_outbounds gone = {0};
    pthread_mutex_lock(&mesh->lock);
    int rv = nng_aio_result(c->send);
    c->sending = false;
    if (c->state == MESH_CLOSED) {
        /* what was out has been given back */
    } else if (rv != 0) {
        gn_mesh_connection_close(c, words_of(c, rv));
    } else {
        account_sent(c, nng_aio_count(c->send), &gone);
        gn_mesh_connection_send(c);
    }
    pthread_mutex_unlock(&mesh->lock);
    gn_mesh_outbounds_free(&gone);
}

/* ---- hello ---- */

static void refuse(mesh_connection *c, mesh_refusal refusal, const char *words)
{
    gn_mesh *mesh = c->mesh;
    char labels[64];
    snprintf(labels, sizeof labels, "by=\"us\",reason=\"%s\"", gn_mesh_refusal_name(refusal));
    gn_counter_add(gn_counter("gnomon_net_refusals_total", labels, "Connections between nodes that were refused."), 1);
    gn_mesh_note(mesh, c->dial_link ? c->dial_link->peer : NULL, c->where, words);
    gn_buf bytes;
    gn_buf_init(&bytes, NULL, MESH_MAX_CONTROL);
    gn_mesh_refusal_write(&bytes, refusal, words);
    append_control(c, gn_buf_bytes(&bytes));
    gn_buf_close(&bytes);
    enter(c, MESH_REFUSING);
    if (c->contact)
        gn_mesh_contact_resolve(c->contact, GN_CONNECTION_FAILURE, 0, words);
    c->contact = NULL;
    gn_mesh_connection_send(c);
}

const char *gn_mesh_judge_versions(gn_node_id node, gn_version_range can, uint32_t at, char *words)
{
    if (at == 0 || gn_version_can(can, at))
        return NULL;
    snprintf(words, MESH_MAX_REASON,
             "the cluster is at version %u, and the gnomond of node %llu can do %u to %u: it is %s", at,
             (unsigned long long)node, can.least, can.most, at > can.most ? "too old" : "too new");
    return words;
}

/* 0: it is welcome. */
static mesh_refusal judge(const mesh_connection *c, const mesh_hello *hello, char *words)
{
    const gn_mesh *mesh = c->mesh;
    unsigned long long self = mesh->self, from = hello->from, to = hello->to;
    if (hello->version_min > MESH_VERSION_MAX || hello->version_max < MESH_VERSION_MIN) {
        snprintf(words, MESH_MAX_REASON,
                 "node %llu speaks versions %d to %d of the protocol, node %llu speaks %d to %d", self,
                 MESH_VERSION_MIN, MESH_VERSION_MAX, from, hello->version_min, hello->version_max);
        return MESH_REFUSE_VERSION;
    }
    if (from == self) {
        snprintf(words, MESH_MAX_REASON, "node %llu has been reached by a node of its own number", self);
        return MESH_REFUSE_SELF;
    }
    if (hello->in_cluster && mesh->in_cluster && memcmp(hello->cluster, mesh->cluster, sizeof hello->cluster) != 0) {
        snprintf(words, MESH_MAX_REASON, "node %llu and node %llu belong to different clusters", self, from);
        return MESH_REFUSE_CLUSTER;
    }
    if (to != self && (to != 0 || c->dialled)) {
        snprintf(words, MESH_MAX_REASON, "this is node %llu, not node %llu", self, to);
        return MESH_REFUSE_NODE;
    }
    if (c->dial_link && c->dial_link->peer->id != from) {
        snprintf(words, MESH_MAX_REASON, "node %llu was wanted and node %llu was found",
                 (unsigned long long)c->dial_link->peer->id, from);
        return MESH_REFUSE_NODE;
    }
    if (hello->in_cluster && mesh->in_cluster) {
        uint32_t at = hello->at > mesh->at ? hello->at : mesh->at;
        if (gn_mesh_judge_versions(hello->from, hello->can, at, words) ||
            gn_mesh_judge_versions(mesh->self, mesh->can, at, words))
            return MESH_REFUSE_VERSION;
    }
    if (!hello->in_cluster && (!mesh->admit_strangers || from < GN_MESH_STRANGER)) {
        snprintf(words, MESH_MAX_REASON, "node %llu admits no node that is in no cluster", self);
        return MESH_REFUSE_STRANGER;
    }
    return 0;
}

static void hear_hello(mesh_connection *c, gn_bytes payload)
{
    mesh_hello hello;
    char words[MESH_MAX_REASON];
    const char *wrong = gn_mesh_hello_read(payload, &hello);
    if (!wrong && c->dialled && (hello.number != c->number || hello.class != c->class))
        wrong = "a hello answers something else";
    if (wrong) {
        gn_mesh_connection_close(c, wrong);
        return;
    }
    mesh_refusal refusal = judge(c, &hello, words);
    if (refusal) {
        refuse(c, refusal, words);
        return;
    }
    mesh_peer *peer = gn_mesh_peer_make(c->mesh, hello.from);
    if (!peer) {
        refuse(c, MESH_REFUSE_BUSY, "too many nodes are known");
        return;
    }
    if (!c->dialled) {
        c->class = (mesh_class)hello.class;
        c->number = hello.number;
        say_hello(c, hello.from);
    }
    come_up(c, peer, &hello);
}

static void hear_refusal(mesh_connection *c, gn_bytes payload)
{
    unsigned refusal;
    char words[MESH_MAX_REASON], labels[64], text[MESH_MAX_REASON + 32];
    if (!gn_mesh_refusal_read(payload, &refusal, words)) {
        gn_mesh_connection_close(c, "a refusal cannot be read");
        return;
    }
    snprintf(labels, sizeof labels, "by=\"them\",reason=\"%s\"", gn_mesh_refusal_name(refusal));
    gn_counter_add(gn_counter("gnomon_net_refusals_total", labels, "Connections between nodes that were refused."), 1);
    snprintf(text, sizeof text, "refused: %s", words);
    gn_mesh_connection_close(c, text);
}

static void hear_bye(mesh_connection *c)
{
    c->bye_received = true;
    append_word(c, MESH_BYE_HEARD);
    if (c->state == MESH_UP) {
        drain(c);
        gn_mesh_link_failed(c->link);
    } else {
        gn_mesh_connection_send(c);
    }
    if (drained(c))
        gn_mesh_connection_close(c, NULL);
}

/* A frame of the mesh itself. */
static void hear_control(mesh_connection *c, mesh_kind kind, gn_bytes payload)
{
    pthread_mutex_lock(&c->mesh->lock);
    if (c->state == MESH_CLOSED || c->state == MESH_REFUSING) {
        /* nothing is listened to any more */
    } else if (kind == MESH_HELLO && !c->greeted) {
        hear_hello(c, payload);
    } else if (kind == MESH_REFUSAL) {
        hear_refusal(c, payload);
    } else if (kind == MESH_BYE && c->greeted) {
        hear_bye(c);
    } else if (kind == MESH_BYE_HEARD && c->bye_sent) {
        c->bye_heard = true;
        if (drained(c))
            gn_mesh_connection_close(c, NULL);
    } else if (kind != MESH_ALIVE || !c->greeted) {
        gn_mesh_connection_close(c, "what came is not this protocol");
    }
    pthread_mutex_unlock(&c->mesh->lock);
}

/* ---- receiving ---- */

static void on_done(gn_net_frame *frame)
{
    mesh_inbound *in = GN_CONTAINER(frame, mesh_inbound, frame);
    mesh_connection *c = in->connection;
    size_t size = sizeof *in + in->head.length;
    free(in);
    size_t undone = atomic_fetch_sub(&c->undone, size) - size;
    if (atomic_load(&c->paused) && undone <= RESUME_UNDONE) {
        pthread_mutex_lock(&c->mesh->lock);
        if (atomic_exchange(&c->paused, false))
            receive_more(c);
        pthread_mutex_unlock(&c->mesh->lock);
    }
    unref(c);
}

static void deliver(mesh_connection *c, mesh_inbound *in)
{
    in->connection = c;
    in->frame = (gn_net_frame){.from = c->from,
                               .channel = in->head.channel,
                               .bytes = gn_bytes_of(in->bytes, in->head.length),
                               .done = on_done};
    atomic_fetch_add(&c->undone, sizeof *in + in->head.length);
    atomic_fetch_add(&c->refs, 1);
    atomic_fetch_add(&c->peer->frames_in, 1);
    gn_counter_add(c->mesh->frames_in, 1);
    gn_world_real_receive(c->mesh->world, &in->frame);
}

/* The callback's functions give NULL, or what is wrong with what came. */

static const char *hear_frame(mesh_connection *c, const mesh_head *head, gn_bytes payload)
{
    if (!gn_mesh_head_matches(head, payload))
        return "a frame's checksum is wrong";
    if (head->kind != MESH_DATA) {
        hear_control(c, head->kind, payload);
        return NULL;
    }
    if (payload.len == 0)
        return "a frame is empty";
    mesh_inbound *in = malloc(sizeof *in + payload.len);
    if (!in)
        return "there is no memory for a frame";
    in->head = *head;
    memcpy(in->bytes, payload.data, payload.len);
    deliver(c, in);
    return NULL;
}

/* Memory as the bytes come: a length alone costs nothing. */
static const char *grow_large(mesh_connection *c)
{
    mesh_inbound *in = c->large;
    size_t cap = in->cap < LARGE_STEP ? LARGE_STEP : 2 * in->cap;
    cap = cap < in->head.length ? cap : in->head.length;
    in = realloc(in, sizeof *in + cap);
    if (!in)
        return "there is no memory for a frame";
    in->cap = cap;
    c->large = in;
    return NULL;
}

static const char *begin_large(mesh_connection *c, const mesh_head *head, gn_bytes begun)
{
    c->large = malloc(sizeof *c->large + begun.len);
    if (!c->large)
        return "there is no memory for a frame";
    c->large->head = *head;
    c->large->have = c->large->cap = begun.len;
    if (begun.len)
        memcpy(c->large->bytes, begun.data, begun.len);
    return grow_large(c);
}

static const char *hear_large(mesh_connection *c, size_t count)
{
    mesh_inbound *in = c->large;
    in->have += count;
    if (in->have < in->head.length)
        return in->have < in->cap ? NULL : grow_large(c);
    c->large = NULL;
    if (!gn_mesh_head_matches(&in->head, gn_bytes_of(in->bytes, in->have))) {
        free(in);
        return "a frame's checksum is wrong";
    }
    deliver(c, in);
    return NULL;
}

/* All whole frames of the buffer; what is left moves to its start. */
static const char *hear_frames(mesh_connection *c, size_t count)
{
    const char *wrong = NULL;
    size_t at = 0;
    c->in_len += count;
    while (!wrong && !c->large && c->in_len - at >= MESH_HEAD_BYTES) {
        mesh_head head;
        size_t left = c->in_len - at - MESH_HEAD_BYTES;
        const uint8_t *payload = c->in + at + MESH_HEAD_BYTES;
        if ((wrong = gn_mesh_head_read(c->in + at, &head)) != NULL)
            break;
        if (!c->greeted && head.kind != MESH_HELLO && head.kind != MESH_REFUSAL)
            return "what came is not this protocol";
        if (head.length <= left) {
            wrong = hear_frame(c, &head, gn_bytes_of(payload, head.length));
            at += MESH_HEAD_BYTES + head.length;
        } else if (head.length > IN_BYTES - MESH_HEAD_BYTES) {
            wrong = begin_large(c, &head, gn_bytes_of(payload, left));
            at = c->in_len;
        } else {
            break;
        }
    }
    memmove(c->in, c->in + at, c->in_len - at);
    c->in_len -= at;
    return wrong;
}

static void receive_more(mesh_connection *c)
{
    if (c->state == MESH_CLOSED)
        return;
    if (atomic_load(&c->undone) > MAX_UNDONE) {
        atomic_store(&c->paused, true);
        /* Whoever was done before it saw that does not come back. */
        if (atomic_load(&c->undone) > RESUME_UNDONE || !atomic_exchange(&c->paused, false))
            return;
    }
    nng_iov iov = {.iov_buf = c->in + c->in_len, .iov_len = IN_BYTES - c->in_len};
    if (c->large)
        iov = (nng_iov){.iov_buf = c->large->bytes + c->large->have, .iov_len = c->large->cap - c->large->have};
    int set = nng_aio_set_iov(c->recv, 1, &iov);
    GN_ASSERT(set == 0);
    nng_stream_recv(c->stream, c->recv);
}

/* Who was refused goes; who has heard our bye, and said its own, has nothing more to say. */
static bool is_expected_end(const mesh_connection *c)
{
    return c->state == MESH_REFUSING || (c->state == MESH_DRAINING && c->bye_sent && c->bye_received);
}

static void on_received(void *arg)
{
    mesh_connection *c = arg;
    gn_mesh *mesh = c->mesh;
    const char *wrong = NULL;
    int rv = nng_aio_result(c->recv);
    if (rv == 0) {
        size_t count = nng_aio_count(c->recv);
        uint64_t now = gn_now_ns(mesh->world);
        atomic_store(&c->heard_ns, now);
        gn_counter_add(mesh->bytes_in, count);
        if (c->peer) {
            atomic_store(&c->peer->heard_ns, now);
            atomic_fetch_add(&c->peer->bytes_in, count);
        }
        wrong = c->large ? hear_large(c, count) : hear_frames(c, count);
    }
    pthread_mutex_lock(&mesh->lock);
    if (rv != 0 || wrong)
        gn_mesh_connection_close(c, wrong ? wrong : is_expected_end(c) ? NULL : words_of(c, rv));
    else
        receive_more(c);
    pthread_mutex_unlock(&mesh->lock);
}
