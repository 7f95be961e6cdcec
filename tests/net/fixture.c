#include "tests/net/fixture.h"

#include "base/metrics.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* A hang is found all the same, and a machine that is busy, slow or checks threads is not taken for one. */
enum { PATIENCE_S = 120 };
#define PATIENCE (PATIENCE_S * 1000000000ull)
#define MS 1000000ull

/* ---- inboxes ---- */

static uint64_t sum_of(const uint8_t *data, size_t len)
{
    uint64_t sum = 1;
    for (size_t i = 0; i < len; i += 97)
        sum = sum * 31 + data[i];
    return sum;
}

static void on_frame(void *ctx, gn_node_id from, gn_bytes frame)
{
    inbox *in = ctx;
    uint64_t head[2];
    pthread_mutex_lock(&in->lock);
    while (in->shut)
        pthread_cond_wait(&in->opened, &in->lock);
    if (frame.len == 0) { /* the network's own: nobody is there any more */
        in->from = from;
        in->gone++;
        pthread_mutex_unlock(&in->lock);
        return;
    }
    if (frame.len >= sizeof head) {
        memcpy(head, frame.data, sizeof head);
        in->disorder += head[0] <= in->last;
        in->last = head[0];
        in->damaged += head[1] != sum_of(frame.data + 16, frame.len - 16);
    } else {
        in->damaged++;
    }
    in->from = from;
    in->frames++;
    in->bytes += frame.len;
    if (in->waited_for && in->frames >= in->target) {
        in->waited_for = false;
        gn_event_signal(&in->event);
    }
    pthread_mutex_unlock(&in->lock);
}

bool inbox_wait(node *n, uint8_t channel, size_t frames)
{
    inbox *in = &n->inboxes[channel];
    pthread_mutex_lock(&in->lock);
    bool there = in->frames >= frames;
    if (!there) {
        in->target = frames;
        in->waited_for = true;
        gn_event_init(&in->event, n->world);
    }
    pthread_mutex_unlock(&in->lock);
    if (there)
        return true;
    gn_code code = gn_event_wait(&in->event, gn_now_ns(n->world) + PATIENCE);
    pthread_mutex_lock(&in->lock);
    in->waited_for = false;
    pthread_mutex_unlock(&in->lock);
    return code == GN_OK;
}

void inbox_shut(node *n, uint8_t channel, bool shut)
{
    inbox *in = &n->inboxes[channel];
    pthread_mutex_lock(&in->lock);
    in->shut = shut;
    pthread_cond_broadcast(&in->opened);
    pthread_mutex_unlock(&in->lock);
}

size_t inbox_frames(node *n, uint8_t channel)
{
    inbox *in = &n->inboxes[channel];
    pthread_mutex_lock(&in->lock);
    size_t frames = in->frames;
    pthread_mutex_unlock(&in->lock);
    return frames;
}

/* ---- nodes ---- */

static void mesh_open(node *n, const gn_mesh_options *options)
{
    gn_mesh_options all = options ? *options : (gn_mesh_options){.cluster_id = CLUSTER};
    gn_error err = {0};
    if (!all.listen)
        all.listen = "127.0.0.1:0";
    if (gn_mesh_open(n->world, &all, &n->mesh, &err) != GN_OK)
        fail_msg("no mesh: %s", err.message);
}

void node_open(node *n, gn_node_id id, const gn_mesh_options *options)
{
    *n = (node){.id = id, .world = gn_world_real_create(&(gn_world_options){.threads = 3, .node_id = id})};
    for (uint8_t channel = 1; channel <= 3; channel++) {
        inbox *in = &n->inboxes[channel];
        in->world = n->world;
        in->channel = channel;
        in->queue = gn_queue_create(n->world, "inbox");
        pthread_mutex_init(&in->lock, NULL);
        pthread_cond_init(&in->opened, NULL);
        gn_net_listen(n->world, channel, in->queue, on_frame, in);
    }
    mesh_open(n, options);
}

/* gn_net_listen is taken back on the queue. */
typedef struct stop_listening {
    gn_task task;
    inbox *in;
    gn_event event;
} stop_listening;

static void run_stop(gn_task *task)
{
    stop_listening *stop = GN_CONTAINER(task, stop_listening, task);
    gn_net_listen(stop->in->world, stop->in->channel, stop->in->queue, NULL, NULL);
    gn_event_signal(&stop->event);
}

void node_close(node *n)
{
    gn_mesh_close(n->mesh);
    for (uint8_t channel = 1; channel <= 3; channel++) {
        inbox *in = &n->inboxes[channel];
        stop_listening stop = {.task = {.run = run_stop}, .in = in};
        gn_event_init(&stop.event, n->world);
        gn_queue_post(in->queue, &stop.task);
        gn_event_wait(&stop.event, UINT64_MAX);
        gn_queue_destroy(in->queue);
        pthread_cond_destroy(&in->opened);
        pthread_mutex_destroy(&in->lock);
    }
    gn_world_real_destroy(n->world);
}

void node_reopen(node *n, const gn_mesh_options *options)
{
    gn_mesh_close(n->mesh);
    mesh_open(n, options);
}

void introduce(node *a, node *b)
{
    gn_mesh_peer(a->mesh, b->id, gn_mesh_address(b->mesh));
    gn_mesh_peer(b->mesh, a->id, gn_mesh_address(a->mesh));
}

void send_number(node *from, gn_node_id to, uint8_t channel, uint64_t number, size_t len)
{
    uint8_t *bytes = malloc(len + 16);
    for (size_t i = 0; i < len; i++)
        bytes[16 + i] = (uint8_t)(number * 7 + i * 13 + (i >> 8));
    uint64_t head[2] = {number, sum_of(bytes + 16, len)};
    memcpy(bytes, head, sizeof head);
    gn_net_send(from->world, to, channel, gn_bytes_of(bytes, len + 16));
    free(bytes);
}

bool eventually(node *n, bool (*holds)(node *n, void *ctx), void *ctx)
{
    gn_event never;
    gn_event_init(&never, n->world);
    for (uint64_t end = gn_now_ns(n->world) + PATIENCE; gn_now_ns(n->world) < end;) {
        if (holds(n, ctx))
            return true;
        gn_event_wait(&never, gn_now_ns(n->world) + 2 * MS);
    }
    return holds(n, ctx);
}

gn_mesh_peer_status peer_status(node *n, gn_node_id id)
{
    gn_mesh_peer_status all[16];
    size_t count = gn_mesh_peers(n->mesh, all, 16);
    for (size_t i = 0; i < count && i < 16; i++)
        if (all[i].id == id)
            return all[i];
    return (gn_mesh_peer_status){0};
}

uint64_t refusals(const char *by, const char *reason)
{
    char labels[64];
    snprintf(labels, sizeof labels, "by=\"%s\",reason=\"%s\"", by, reason);
    return gn_counter_value(gn_counter("gnomon_net_refusals_total", labels, ""));
}

gn_code contact(node *n, const char *address, gn_node_id *id, gn_error *err)
{
    *err = (gn_error){0};
    return gn_mesh_contact(n->mesh, address, gn_now_ns(n->world) + PATIENCE, id, err);
}

/* ---- bare sockets ---- */

int raw_connect(const node *n)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    address.sin_port = htons((uint16_t)strtoul(strrchr(gn_mesh_address(n->mesh), ':') + 1, NULL, 10));
    struct timeval patience = {.tv_sec = PATIENCE_S};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

int raw_reserve(char *address, size_t size)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    snprintf(address, size, "127.0.0.1:%u", ntohs(a.sin_port));
    return fd;
}

int raw_listen(char *address, size_t size)
{
    int fd = raw_reserve(address, size);
    assert_int_equal(listen(fd, 16), 0);
    return fd;
}

void raw_write(int fd, const void *data, size_t len)
{
    for (const char *p = data; len > 0;) {
        ssize_t n = send(fd, p, len, MSG_NOSIGNAL);
        if (n <= 0)
            return; /* hung up on, as may be */
        p += n;
        len -= (size_t)n;
    }
}

bool raw_read_to_end(int fd, gn_buf *out)
{
    uint8_t bytes[4096];
    gn_buf_init(out, NULL, 1u << 20);
    for (;;) {
        ssize_t n = recv(fd, bytes, sizeof bytes, 0);
        if (n > 0)
            gn_buf_append(out, bytes, (size_t)n);
        else
            return n == 0 || errno == ECONNRESET;
    }
}

bool find_refusal(gn_bytes bytes, unsigned *refusal, char *words)
{
    mesh_head head;
    for (size_t at = 0; bytes.len - at >= MESH_HEAD_BYTES; at += MESH_HEAD_BYTES + head.length) {
        if (gn_mesh_head_read(bytes.data + at, &head) || bytes.len - at - MESH_HEAD_BYTES < head.length)
            return false;
        if (head.kind == MESH_REFUSAL)
            return gn_mesh_refusal_read(gn_bytes_of(bytes.data + at + MESH_HEAD_BYTES, head.length), refusal, words);
    }
    return false;
}
