/* A load generator for etcd's gRPC interface, in the shape of bench_wire.c: one thread, many connections over nghttp2,
 * one request under way on each.
 *
 *   bench_etcd fill  HOST:PORT[,HOST:PORT...] CLIENTS 0         the 100,000 keys that get asks for
 *   bench_etcd put   HOST:PORT[,HOST:PORT...] CLIENTS SECONDS   Put of a new 8-byte key and an 18-byte value
 *   bench_etcd get   HOST:PORT[,HOST:PORT...] CLIENTS SECONDS   linearizable Range of one key
 *   bench_etcd txn   HOST:PORT[,HOST:PORT...] CLIENTS SECONDS   Txn with two Puts of new keys
 *
 * Prints one line: operations seconds p50_us p99_us cpu_share. The last is the processor time of this program over the
 * time that passed: near 1 it would be what is measured. Fails with a message and status 1 when any operation fails. */
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_CLIENTS = 1024, MAX_SAMPLES = 1 << 20, KEYS = 100000, WINDOW = 1 << 20 };

typedef enum operation { FILL, PUT, GET, TXN } operation;

struct bench;

typedef struct client {
    struct bench *bench;
    nghttp2_session *session;
    int fd;
    int32_t stream;
    uint8_t body[256];
    size_t body_len, body_at;
    double sent_at;
    char grpc_status[8];
    bool done;
} client;

typedef struct bench {
    operation operation;
    int n;
    client clients[MAX_CLIENTS];
    struct pollfd polls[MAX_CLIENTS];
    uint64_t next_id, random;
    double *samples;
    size_t n_samples;
    int64_t operations;
} bench;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double cpu_seconds(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

static _Noreturn void fail(const char *what, const char *why)
{
    fprintf(stderr, "bench_etcd: %s: %s\n", what, why);
    exit(1);
}

/* ---- protobuf, as much as is needed: length-delimited fields shorter than 128 bytes ---- */

static size_t field(uint8_t *out, int number, const void *data, size_t len)
{
    out[0] = (uint8_t)(number << 3 | 2);
    out[1] = (uint8_t)len;
    memcpy(out + 2, data, len);
    return len + 2;
}

static size_t put_request(uint8_t *out, uint64_t id)
{
    uint64_t key = htobe64(id);
    size_t n = field(out, 1, &key, sizeof key);
    return n + field(out + n, 2, "a small row's text", 18);
}

/* TxnRequest.success (2) of RequestOp.request_put (2), twice. */
static size_t txn_request(uint8_t *out, uint64_t a, uint64_t b)
{
    uint64_t ids[2] = {a, b};
    size_t n = 0;
    for (int i = 0; i < 2; i++) {
        uint8_t put[64], op[80];
        size_t len = put_request(put, ids[i]);
        len = field(op, 2, put, len);
        n += field(out + n, 2, op, len);
    }
    return n;
}

static uint64_t next_random(bench *b)
{
    b->random ^= b->random << 13;
    b->random ^= b->random >> 7;
    b->random ^= b->random << 17;
    return b->random;
}

/* A gRPC message: not compressed, its length, itself. */
static void make_body(client *c)
{
    bench *b = c->bench;
    uint8_t *message = c->body + 5;
    size_t n;
    if (b->operation == PUT || b->operation == FILL) {
        n = put_request(message, b->next_id++);
    } else if (b->operation == TXN) {
        n = txn_request(message, b->next_id, b->next_id + 1);
        b->next_id += 2;
    } else {
        uint64_t key = htobe64(next_random(b) % KEYS);
        n = field(message, 1, &key, sizeof key);
    }
    uint32_t len = htobe32((uint32_t)n);
    c->body[0] = 0;
    memcpy(c->body + 1, &len, 4);
    c->body_len = n + 5;
    c->body_at = 0;
}

/* ---- HTTP/2 ---- */

static ssize_t send_bytes(nghttp2_session *session, const uint8_t *data, size_t len, int flags, void *ctx)
{
    client *c = ctx;
    (void)session;
    (void)flags;
    ssize_t n = send(c->fd, data, len, MSG_NOSIGNAL);
    if (n >= 0)
        return n;
    return errno == EAGAIN || errno == EINTR ? NGHTTP2_ERR_WOULDBLOCK : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static ssize_t read_body(nghttp2_session *session, int32_t stream, uint8_t *out, size_t room, uint32_t *flags,
                         nghttp2_data_source *source, void *ctx)
{
    client *c = source->ptr;
    size_t n = c->body_len - c->body_at < room ? c->body_len - c->body_at : room;
    (void)session;
    (void)stream;
    (void)ctx;
    memcpy(out, c->body + c->body_at, n);
    c->body_at += n;
    if (c->body_at == c->body_len)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                     const uint8_t *value, size_t value_len, uint8_t flags, void *ctx)
{
    client *c = ctx;
    (void)session;
    (void)frame;
    (void)flags;
    if (name_len == 11 && memcmp(name, "grpc-status", 11) == 0 && value_len < sizeof c->grpc_status) {
        memcpy(c->grpc_status, value, value_len);
        c->grpc_status[value_len] = '\0';
    } else if (name_len == 12 && memcmp(name, "grpc-message", 12) == 0 && value_len) {
        fprintf(stderr, "bench_etcd: %.*s\n", (int)value_len, (const char *)value);
    }
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream, uint32_t error, void *ctx)
{
    client *c = ctx;
    bench *b = c->bench;
    (void)session;
    if (stream != c->stream)
        return 0;
    if (error || strcmp(c->grpc_status, "0") != 0)
        fail("operation", c->grpc_status[0] ? c->grpc_status : "the stream was closed");
    if (b->n_samples < MAX_SAMPLES)
        b->samples[b->n_samples++] = now() - c->sent_at;
    b->operations++;
    c->done = true;
    return 0;
}

#define HEADER(name, value)                                                                      \
    {                                                                                            \
        (uint8_t *)(name), (uint8_t *)(value), strlen(name), strlen(value), NGHTTP2_NV_FLAG_NONE \
    }

static void send_next(client *c)
{
    static const char *const PATHS[] = {"/etcdserverpb.KV/Put", "/etcdserverpb.KV/Put", "/etcdserverpb.KV/Range",
                                        "/etcdserverpb.KV/Txn"};
    nghttp2_nv headers[] = {HEADER(":method", "POST"),
                            HEADER(":scheme", "http"),
                            HEADER(":path", PATHS[c->bench->operation]),
                            HEADER(":authority", "etcd"),
                            HEADER("content-type", "application/grpc"),
                            HEADER("te", "trailers")};
    nghttp2_data_provider body = {.source.ptr = c, .read_callback = read_body};
    make_body(c);
    c->done = false;
    c->grpc_status[0] = '\0';
    c->sent_at = now();
    c->stream = nghttp2_submit_request(c->session, NULL, headers, sizeof headers / sizeof *headers, &body, NULL);
    if (c->stream < 0)
        fail("submit", nghttp2_strerror(c->stream));
    if (nghttp2_session_send(c->session) != 0)
        fail("send", strerror(errno));
}

static void receive(client *c)
{
    uint8_t buffer[16384];
    ssize_t n = recv(c->fd, buffer, sizeof buffer, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0)
        fail("receive", n ? strerror(errno) : "the server closed the connection");
    ssize_t used = nghttp2_session_mem_recv(c->session, buffer, (size_t)n);
    if (used < 0)
        fail("receive", nghttp2_strerror((int)used));
    if (!c->done && nghttp2_session_want_write(c->session) && nghttp2_session_send(c->session) != 0)
        fail("send", strerror(errno));
}

static int dial(const char *host, const char *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)strtoul(port, NULL, 10))};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    if (fd < 0 || inet_pton(AF_INET, host, &address.sin_addr) != 1)
        fail("address", host);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
        fail("connect", strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    return fd;
}

static void open_client(bench *b, int i, const char *address)
{
    client *c = &b->clients[i];
    nghttp2_session_callbacks *callbacks;
    char host[64];
    const char *colon = strrchr(address, ':');
    if (!colon || (size_t)(colon - address) >= sizeof host)
        fail("address", address);
    memcpy(host, address, (size_t)(colon - address));
    host[colon - address] = '\0';
    c->bench = b;
    c->fd = dial(host, colon + 1);
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_send_callback(callbacks, send_bytes);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    if (nghttp2_session_client_new(&c->session, callbacks, c) != 0)
        fail("session", "out of memory");
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW}};
    nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, settings, 1);
    nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE, 0, WINDOW);
    b->polls[i] = (struct pollfd){.fd = c->fd, .events = POLLIN};
}

/* ---- the load ---- */

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void report(bench *b, double seconds, double cpu)
{
    qsort(b->samples, b->n_samples, sizeof *b->samples, compare);
    printf("%lld %.6f %.1f %.1f %.3f\n", (long long)b->operations, seconds,
           b->n_samples ? b->samples[b->n_samples / 2] * 1e6 : 0.0,
           b->n_samples ? b->samples[b->n_samples * 99 / 100] * 1e6 : 0.0, cpu / seconds);
}

static void load(bench *b, double seconds)
{
    double start = now(), end = start + seconds, cpu = cpu_seconds();
    int open = b->n;
    for (int i = 0; i < b->n; i++)
        send_next(&b->clients[i]);
    while (open > 0) {
        if (poll(b->polls, (nfds_t)b->n, -1) < 0 && errno != EINTR)
            fail("poll", strerror(errno));
        bool stopping = b->operation == FILL ? b->next_id >= KEYS : now() >= end;
        for (int i = 0; i < b->n; i++) {
            if (!(b->polls[i].revents & (POLLIN | POLLERR | POLLHUP)))
                continue;
            receive(&b->clients[i]);
            if (b->clients[i].done && stopping) {
                b->polls[i].fd = -1;
                open--;
            } else if (b->clients[i].done) {
                send_next(&b->clients[i]);
            }
        }
    }
    report(b, now() - start, cpu_seconds() - cpu);
}

int main(int argc, char **argv)
{
    static bench b = {.random = 88172645463325252ull};
    static const char *const NAMES[] = {"fill", "put", "get", "txn"};
    b.samples = malloc(MAX_SAMPLES * sizeof *b.samples);
    b.n = argc == 5 ? (int)strtol(argv[3], NULL, 10) : 0;
    if (b.n < 1 || b.n > MAX_CLIENTS || !b.samples)
        fail("usage", "see the head of bench_etcd.c");
    while (b.operation <= TXN && strcmp(argv[1], NAMES[b.operation]) != 0)
        b.operation++;
    if (b.operation > TXN)
        fail("usage", "fill, put, get or txn");
    struct timespec wall; /* keys that no run before this one has written */
    clock_gettime(CLOCK_REALTIME, &wall);
    b.next_id = b.operation == FILL ? 0 : (uint64_t)wall.tv_sec * 1000000 + (uint64_t)wall.tv_nsec / 1000;
    char *addresses[16], *rest = argv[2];
    int n_addresses = 0;
    do
        addresses[n_addresses++] = strsep(&rest, ",");
    while (n_addresses < 16 && rest);
    for (int i = 0; i < b.n; i++)
        open_client(&b, i, addresses[i % n_addresses]);
    load(&b, strtod(argv[4], NULL));
    for (int i = 0; i < b.n; i++) {
        nghttp2_session_del(b.clients[i].session);
        close(b.clients[i].fd);
    }
    free(b.samples);
    return 0;
}
