/* Any bytes as a connection of the wire protocol, to a real database: the connection is answered and ends. An even
 * first byte: the bytes are what follows a good start; an odd one: they are all that comes. */
#include "coord/session.h"
#include "node/server.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- the server that a connection asks: this one connection, never full, never stopping ---- */

static gn_db *db;
static gn_dispatcher *dispatcher;

bool gn_server_stopping(const gn_server *server)
{
    (void)server;
    return false;
}
gn_db *gn_server_db(const gn_server *server)
{
    (void)server;
    return db;
}
uint64_t gn_server_secret(gn_server *server)
{
    (void)server;
    return 1;
}
void gn_connection_register(gn_connection *connection, gn_session *session, uint32_t secret)
{
    (void)connection, (void)session, (void)secret;
}
void gn_connection_unregister(gn_connection *connection)
{
    (void)connection;
}
void gn_server_cancel(gn_server *server, uint32_t session_id, uint32_t secret)
{
    (void)server, (void)session_id, (void)secret;
}
bool gn_connection_is_surplus(const gn_connection *connection)
{
    (void)connection;
    return false;
}
gn_server *gn_connection_server(gn_connection *connection)
{
    return (gn_server *)(void *)connection;
}

/* ---- one input ---- */

static char directory[] = "/tmp/gnomon-fuzz-wire-XXXXXX";

static void remove_directory(void)
{
    char command[100];
    snprintf(command, sizeof command, "rm -rf %s", directory);
    if (system(command) != 0)
        fprintf(stderr, "%s stays\n", directory);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    static gn_db_options options = {.data_dir = directory, .memory_limit_bytes = 256u << 20};
    gn_error err = {0};
    gn_world *world = gn_world_real_create(&(gn_world_options){.threads = 2, .node_id = 1});
    const gn_dispatcher_options turns = {.busy_poll_us = 50};
    if (!mkdtemp(directory) || gn_db_open(world, &options, &db, &err) != GN_OK ||
        gn_dispatcher_open(world, &turns, &dispatcher, &err) != GN_OK) {
        fprintf(stderr, "no database: %s\n", err.message);
        abort();
    }
    atexit(remove_directory);
    return 0;
}

static void *drain(void *arg)
{
    char buffer[65536];
    while (read(*(int *)arg, buffer, sizeof buffer) > 0)
        ;
    return NULL;
}

typedef struct input {
    int fd;
    const uint8_t *data;
    size_t size;
    bool start;
} input;

static void send_all(int fd, const void *data, size_t size)
{
    for (const char *p = data; size > 0;) {
        ssize_t n = send(fd, p, size, MSG_NOSIGNAL);
        if (n <= 0)
            return; /* the server has hung up, as it may */
        p += n;
        size -= (size_t)n;
    }
}

static void *feed(void *arg)
{
    static const char START[] = "\0\0\0\x2a\0\3\0\0user\0fuzz\0statement_timeout\0"
                                "50ms\0";
    _Static_assert(sizeof START == 0x2a, "the packet's length is its first word");
    const input *in = arg;
    if (in->start)
        send_all(in->fd, START, sizeof START);
    send_all(in->fd, in->data, in->size);
    shutdown(in->fd, SHUT_WR);
    return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int fds[2];
    pthread_t reader, writer;
    if (size == 0)
        return 0;
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) != 0)
        abort();
    input in = {.fd = fds[0], .data = data + 1, .size = size - 1, .start = !(data[0] & 1)};
    if (pthread_create(&reader, NULL, drain, &fds[0]) != 0 || pthread_create(&writer, NULL, feed, &in) != 0)
        abort();
    gn_client *client = gn_client_create((gn_connection *)(void *)fds, fds[1]);
    if (gn_dispatcher_work(dispatcher, gn_client_caller(client)) != gn_client_caller(client))
        abort();
    gn_client_end(client);
    shutdown(fds[1], SHUT_RDWR);
    pthread_join(writer, NULL);
    pthread_join(reader, NULL);
    close(fds[0]);
    close(fds[1]);
    return 0;
}
