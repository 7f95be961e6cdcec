/* Two nodes in one process over loopback, plain and with TLS, beside two threads with bare sockets: how long a small
 * frame takes there and back, how many go one way, and how fast 64 MiB in one frame go.
 *
 *   bench_net            JSON lines (bench_report.h) */
#include "bench/bench_report.h"
#include "net/certificates.h"
#include "net/mesh.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SMALL = 256, TRIPS = 3000, MANY = 200000, LARGE = 64 << 20, LARGE_ROUNDS = 5, ROUNDS = 3 };

static void fail(const char *what)
{
    fprintf(stderr, "bench_net: %s\n", what);
    exit(1);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* ---- bare sockets ---- */

static void transfer_all(int fd, uint8_t *data, size_t len, bool out)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = out ? send(fd, data + done, len - done, 0) : recv(fd, data + done, len - done, 0);
        if (n <= 0)
            fail("a bare socket failed");
        done += (size_t)n;
    }
}

static void *echo_bare(void *arg)
{
    int fd = *(int *)arg;
    uint8_t *data = malloc(LARGE);
    for (unsigned i = 0; i < TRIPS; i++) {
        transfer_all(fd, data, SMALL, false);
        transfer_all(fd, data, SMALL, true);
    }
    for (unsigned i = 0; i < LARGE_ROUNDS; i++) {
        transfer_all(fd, data, LARGE, false);
        transfer_all(fd, data, 1, true);
    }
    free(data);
    return NULL;
}

static void bare_pair(int *fds)
{
    int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    if (bind(listener, (struct sockaddr *)&address, len) || listen(listener, 1) ||
        getsockname(listener, (struct sockaddr *)&address, &len))
        fail("no listener");
    fds[0] = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fds[0], (struct sockaddr *)&address, len) || (fds[1] = accept(listener, NULL, NULL)) < 0)
        fail("no connection");
    for (unsigned i = 0; i < 2; i++)
        setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    close(listener);
}

static void run_bare(void)
{
    int fds[2];
    double took[TRIPS], large = 1e9;
    uint8_t *data = calloc(1, LARGE);
    pthread_t echo;
    bare_pair(fds);
    if (pthread_create(&echo, NULL, echo_bare, &fds[1]))
        fail("no thread");
    for (unsigned i = 0; i < TRIPS; i++) {
        double began = now_seconds();
        transfer_all(fds[0], data, SMALL, true);
        transfer_all(fds[0], data, SMALL, false);
        took[i] = now_seconds() - began;
    }
    for (unsigned i = 0; i < LARGE_ROUNDS; i++) {
        double began = now_seconds();
        transfer_all(fds[0], data, LARGE, true);
        transfer_all(fds[0], data, 1, false);
        double s = now_seconds() - began;
        large = s < large ? s : large;
    }
    pthread_join(echo, NULL);
    close(fds[0]);
    close(fds[1]);
    free(data);
    qsort(took, TRIPS, sizeof *took, by_value);
    report("net", "sockets", "loopback", "round_trip_256B_p50", took[TRIPS / 2] * 1e6, "us");
    report("net", "sockets", "loopback", "throughput_64MiB", LARGE / large / (1 << 20), "MiB/s");
}

/* ---- nodes ---- */

typedef struct node {
    gn_world *world;
    gn_mesh *mesh;
    gn_queue *queue;
    bool echoes;
    _Atomic unsigned arrived;
    unsigned target;
    gn_event event;
} node;

/* Echoes small frames of channel 2 whole, and of others their arrival. */
static void on_frame(void *ctx, gn_node_id from, gn_bytes frame)
{
    node *n = ctx;
    unsigned arrived = ++n->arrived;
    if (n->echoes)
        gn_net_send(n->world, from, 2, gn_bytes_of(frame.data, frame.len < SMALL ? frame.len : SMALL));
    if (arrived == n->target)
        gn_event_signal(&n->event);
}

static void open_node(node *n, gn_node_id id, gn_mesh_options options)
{
    gn_error err = {0};
    options.listen = "127.0.0.1:0";
    options.cluster_id = "00112233445566778899aabbccddeeff";
    options.queue_bytes = 256u << 20;
    n->world = gn_world_real_create(&(gn_world_options){.threads = 2, .node_id = id});
    n->queue = gn_queue_create(n->world, "inbox");
    for (uint8_t channel = 1; channel <= 3; channel++)
        gn_net_listen(n->world, channel, n->queue, on_frame, n);
    if (gn_mesh_open(n->world, &options, &n->mesh, &err) != GN_OK)
        fail(err.message);
}

static void expect(node *n, unsigned frames)
{
    n->target = n->arrived + frames;
    gn_event_init(&n->event, n->world);
}

static void await(node *n)
{
    if (gn_event_wait(&n->event, gn_now_ns(n->world) + 60000000000ull) != GN_OK)
        fail("a frame did not come");
}

typedef struct closing {
    gn_task task;
    node *n;
    gn_event event;
} closing;

static void stop_listening(gn_task *task)
{
    closing *c = GN_CONTAINER(task, closing, task);
    for (uint8_t channel = 1; channel <= 3; channel++)
        gn_net_listen(c->n->world, channel, c->n->queue, NULL, NULL);
    gn_event_signal(&c->event);
}

static void close_node(node *n)
{
    closing c = {.task.run = stop_listening, .n = n};
    gn_mesh_close(n->mesh);
    gn_event_init(&c.event, n->world);
    gn_queue_post(n->queue, &c.task);
    gn_event_wait(&c.event, UINT64_MAX);
    gn_queue_destroy(n->queue);
    gn_world_real_destroy(n->world);
}

static void send_one(node *a, uint8_t channel, const uint8_t *data, size_t len)
{
    gn_net_send(a->world, 2, channel, gn_bytes_of(data, len));
}

static void run_nodes(const char *engine, gn_mesh_options options)
{
    node a = {0}, b = {.echoes = true};
    double took[TRIPS], large = 1e9;
    uint8_t *data = calloc(1, LARGE);
    open_node(&a, 1, options);
    open_node(&b, 2, options);
    gn_mesh_peer(a.mesh, 2, gn_mesh_address(b.mesh));
    for (unsigned i = 0; i < TRIPS; i++) {
        expect(&a, 1);
        double began = now_seconds();
        send_one(&a, 2, data, SMALL);
        await(&a);
        took[i] = now_seconds() - began;
    }
    for (unsigned i = 0; i < LARGE_ROUNDS; i++) {
        expect(&a, 1);
        double began = now_seconds();
        send_one(&a, 3, data, LARGE);
        await(&a);
        double s = now_seconds() - began;
        large = s < large ? s : large;
    }
    b.echoes = false;
    expect(&b, MANY);
    double began = now_seconds();
    for (unsigned i = 0; i < MANY; i++)
        send_one(&a, 1, data, SMALL);
    await(&b);
    double many = now_seconds() - began;
    close_node(&a);
    close_node(&b);
    free(data);
    qsort(took, TRIPS, sizeof *took, by_value);
    report("net", engine, "loopback", "round_trip_256B_p50", took[TRIPS / 2] * 1e6, "us");
    report("net", engine, "loopback", "one_way_256B", MANY / many, "frames/s");
    report("net", engine, "loopback", "throughput_64MiB", LARGE / large / (1 << 20), "MiB/s");
}

int main(void)
{
    char dir[200], files[4][250], command[250];
    const char *host = "127.0.0.1";
    gn_error err = {0};
    snprintf(dir, sizeof dir, "%s/gnomon-bench-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    if (!mkdtemp(dir))
        fail("no directory");
    for (unsigned i = 0; i < 4; i++)
        snprintf(files[i], sizeof files[i], "%s/%u.pem", dir, i);
    gn_certificate_request ca = {.cert = files[0], .key = files[1], .name = "bench", .days = 1};
    gn_certificate_request cert = {
        .cert = files[2], .key = files[3], .name = "bench", .days = 1, .hosts = &host, .n_hosts = 1};
    if (gn_certificates_authority(&ca, &err) != GN_OK || gn_certificates_node(&cert, files[0], files[1], &err) != GN_OK)
        fail(err.message);
    for (unsigned i = 0; i < ROUNDS; i++) {
        run_bare();
        run_nodes("gnomon-plain", (gn_mesh_options){0});
        run_nodes("gnomon-tls", (gn_mesh_options){.tls_ca = files[0], .tls_cert = files[2], .tls_key = files[3]});
    }
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    return system(command) != 0;
}
