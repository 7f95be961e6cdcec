/* Accepting is done here on libuv's loop, and each connection brings a strand; connections and strands are then matched
 * turn by turn (node/dispatcher.h). The strand that served a connection's end ends with it: it puts both on a list and
 * wakes the loop, which joins it, so no thread is ever left behind. */
#include "node/server.h"

#include "base/assert.h"
#include "base/log.h"
#include "base/metrics.h"
#include "node/wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct gn_connection {
    gn_server *server;
    gn_client *client;
    gn_connection *next, **link; /* open connections */
    int fd;
    gn_session *session; /* under the server's lock; NULL before start-up and after the end */
    uint32_t secret;
    bool surplus; /* over max_connections: told so once it has sent its start-up packet */
};

/* A strand, and the connection that it begins and then the one that it ends with. */
typedef struct server_strand {
    gn_strand *strand;
    gn_connection *connection;
    struct server_strand *next_ended;
} server_strand;

/* Connections over the limit that are still listened to, so that the refusal comes where a client expects it. */
enum { EXTRA_TO_REFUSE = 32 };

struct gn_server {
    gn_world *world;
    gn_db *db;
    uv_poll_t poll;
    uv_async_t wake;
    gn_dispatcher *dispatcher;
    int fd, port;
    uint32_t max_connections, n_connections;
    _Atomic bool stopping;
    void (*ended)(void *);
    void *ended_ctx;
    pthread_mutex_t lock; /* sessions of connections, the ended list */
    gn_connection *open;
    server_strand *ended_list;
    gn_metric *connections, *accepted, *refused;
};

static void run_connections(void *arg)
{
    server_strand *s = arg;
    gn_server *server = s->connection->server;
    gn_caller *ended = gn_dispatcher_work(server->dispatcher, gn_client_caller(s->connection->client));
    gn_connection *c = s->connection = gn_client_connection(ended);
    gn_client_end(c->client);
    pthread_mutex_lock(&server->lock);
    GN_ASSERT(!c->session);
    s->next_ended = server->ended_list;
    server->ended_list = s;
    pthread_mutex_unlock(&server->lock);
    uv_async_send(&server->wake);
}

static void remove_open(gn_connection *c)
{
    *c->link = c->next;
    if (c->next)
        c->next->link = c->link;
}

/* On the loop: joins what has ended. */
static void on_wake(uv_async_t *handle)
{
    gn_server *server = handle->data;
    pthread_mutex_lock(&server->lock);
    server_strand *list = server->ended_list;
    server->ended_list = NULL;
    for (server_strand *s = list; s; s = s->next_ended)
        remove_open(s->connection);
    pthread_mutex_unlock(&server->lock);
    while (list) {
        server_strand *s = list;
        list = s->next_ended;
        gn_strand_join(s->strand);
        close(s->connection->fd);
        free(s->connection);
        free(s);
        GN_ASSERT(server->n_connections > 0);
        server->n_connections--;
    }
    gn_gauge_set(server->connections, server->n_connections);
    if (server->stopping && server->n_connections == 0 && server->ended) {
        void (*ended)(void *) = server->ended;
        server->ended = NULL;
        ended(server->ended_ctx);
    }
}

/* Answers before anything was read: the client shows it all the same. */
static void refuse(gn_server *server, int fd, gn_code code, const char *message)
{
    gn_wire wire;
    gn_error report = {.code = code};
    snprintf(report.message, sizeof report.message, "%s", message);
    gn_wire_init(&wire, fd, NULL);
    gn_wire_report(&wire, 'E', "FATAL", &report);
    gn_wire_flush(&wire);
    gn_wire_close(&wire);
    close(fd);
    gn_counter_add(server->refused, 1);
}

static void start_connection(gn_server *server, int fd)
{
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
    if (server->n_connections >= server->max_connections + EXTRA_TO_REFUSE) {
        close(fd);
        gn_counter_add(server->refused, 1);
        return;
    }
    gn_connection *c = gn_xcalloc(1, sizeof *c);
    c->surplus = server->n_connections >= server->max_connections;
    c->server = server;
    c->fd = fd;
    c->client = gn_client_create(c, fd);
    server_strand *s = gn_xcalloc(1, sizeof *s);
    s->connection = c;
    pthread_mutex_lock(&server->lock);
    c->next = server->open;
    c->link = &server->open;
    if (c->next)
        c->next->link = &c->next;
    server->open = c;
    pthread_mutex_unlock(&server->lock);
    server->n_connections++;
    s->strand = gn_strand_start(server->world, "connection", run_connections, s);
    if (!s->strand) {
        pthread_mutex_lock(&server->lock);
        remove_open(c);
        pthread_mutex_unlock(&server->lock);
        server->n_connections--;
        gn_client_end(c->client);
        free(c);
        free(s);
        refuse(server, fd, GN_RESOURCES, "no thread could be started for this connection");
        return;
    }
    gn_counter_add(c->surplus ? server->refused : server->accepted, 1);
    gn_gauge_set(server->connections, server->n_connections);
}

static void on_acceptable(uv_poll_t *handle, int status, int events)
{
    gn_server *server = handle->data;
    (void)events;
    for (int i = 0; status == 0 && i < 64; i++) {
        int fd = accept4(server->fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
                gn_log_warn("node", "accept failed", GN_KV_STR("error", strerror(errno)));
            return;
        }
        start_connection(server, fd);
    }
}

static gn_code listen_on(gn_server *server, const char *host, int port, gn_error *err)
{
    struct sockaddr_storage address = {0};
    struct sockaddr_in *v4 = (struct sockaddr_in *)&address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&address;
    socklen_t size = sizeof *v4;
    int one = 1;
    if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((uint16_t)port);
    } else if (inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons((uint16_t)port);
        size = sizeof *v6;
    } else {
        return gn_error_set(err, GN_CONFIGURATION, "\"%s\" is no address", host);
    }
    server->fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (server->fd < 0)
        return gn_error_errno(err, GN_RESOURCES, errno, "could not make a socket");
    setsockopt(server->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(server->fd, (struct sockaddr *)&address, size) != 0 || listen(server->fd, 512) != 0)
        return gn_error_errno(err, GN_CONFIGURATION, errno, "could not listen on %s port %d", host, port);
    socklen_t length = sizeof address;
    getsockname(server->fd, (struct sockaddr *)&address, &length);
    server->port = ntohs(address.ss_family == AF_INET ? v4->sin_port : v6->sin6_port);
    return GN_OK;
}

gn_code gn_server_open(uv_loop_t *loop, gn_world *world, gn_db *db, const char *host, int port,
                       const gn_server_limits *limits, gn_server **out, gn_error *err)
{
    gn_server *server = gn_xcalloc(1, sizeof *server);
    *server = (gn_server){.world = world, .db = db, .fd = -1, .max_connections = limits->connections};
    const gn_dispatcher_options turns = {.busy_poll_us = limits->busy_poll_us};
    gn_code code = gn_dispatcher_open(world, &turns, &server->dispatcher, err);
    if (code != GN_OK) {
        free(server);
        return code;
    }
    code = listen_on(server, host, port, err);
    if (code != GN_OK) {
        gn_dispatcher_close(server->dispatcher);
        if (server->fd >= 0)
            close(server->fd);
        free(server);
        return code;
    }
    pthread_mutex_init(&server->lock, NULL);
    server->connections = gn_gauge("gnomon_connections", NULL, "open client connections");
    server->accepted = gn_counter("gnomon_connections_accepted_total", NULL, "client connections accepted");
    server->refused = gn_counter("gnomon_connections_refused_total", NULL, "client connections refused");
    uv_async_init(loop, &server->wake, on_wake);
    uv_poll_init(loop, &server->poll, server->fd);
    server->wake.data = server->poll.data = server;
    uv_poll_start(&server->poll, UV_READABLE, on_acceptable);
    *out = server;
    return GN_OK;
}

int gn_server_port(const gn_server *server)
{
    return server->port;
}

void gn_server_stop(gn_server *server, void (*ended)(void *ctx), void *ctx)
{
    server->ended = ended;
    server->ended_ctx = ctx;
    server->stopping = true;
    uv_poll_stop(&server->poll);
    pthread_mutex_lock(&server->lock);
    for (gn_connection *c = server->open; c; c = c->next)
        shutdown(c->fd, SHUT_RD); /* its next read ends; the statement under way does not */
    pthread_mutex_unlock(&server->lock);
    uv_async_send(&server->wake);
}

void gn_server_cut(gn_server *server)
{
    pthread_mutex_lock(&server->lock);
    for (gn_connection *c = server->open; c; c = c->next) {
        if (c->session)
            gn_session_cancel(c->session);
        shutdown(c->fd, SHUT_RDWR);
    }
    pthread_mutex_unlock(&server->lock);
}

static void on_closed(uv_handle_t *handle)
{
    gn_server *server = handle->data;
    if (handle == (uv_handle_t *)&server->poll) {
        close(server->fd);
        uv_close((uv_handle_t *)&server->wake, on_closed);
        return;
    }
    gn_dispatcher_close(server->dispatcher);
    pthread_mutex_destroy(&server->lock);
    free(server);
}

void gn_server_close(gn_server *server)
{
    GN_ASSERT(server->n_connections == 0);
    uv_close((uv_handle_t *)&server->poll, on_closed);
}

/* ---- for connections ---- */

bool gn_server_stopping(const gn_server *server)
{
    return server->stopping;
}

gn_db *gn_server_db(const gn_server *server)
{
    return server->db;
}

uint64_t gn_server_secret(gn_server *server)
{
    return gn_random_u64(server->world);
}

bool gn_connection_is_surplus(const gn_connection *connection)
{
    return connection->surplus;
}

gn_server *gn_connection_server(gn_connection *connection)
{
    return connection->server;
}

void gn_connection_register(gn_connection *connection, gn_session *session, uint32_t secret)
{
    pthread_mutex_lock(&connection->server->lock);
    connection->session = session;
    connection->secret = secret;
    pthread_mutex_unlock(&connection->server->lock);
}

void gn_connection_unregister(gn_connection *connection)
{
    gn_connection_register(connection, NULL, 0);
}

void gn_server_cancel(gn_server *server, uint32_t session_id, uint32_t secret)
{
    pthread_mutex_lock(&server->lock);
    for (gn_connection *c = server->open; c; c = c->next)
        if (c->session && gn_session_id(c->session) == session_id && c->secret == secret)
            gn_session_cancel(c->session);
    pthread_mutex_unlock(&server->lock);
}
