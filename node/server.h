/* The listener of the PostgreSQL wire protocol and the connections that it has open. Created and driven on the main
 * thread (libuv's loop); connections are served by as many strands as there are connections (node/dispatcher.h). */
#ifndef GN_NODE_SERVER_H
#define GN_NODE_SERVER_H

#include "coord/session.h"
#include "node/dispatcher.h"

#include <uv.h>

typedef struct gn_server gn_server;

typedef struct gn_server_limits {
    uint32_t connections;
    uint64_t busy_poll_us; /* node/busy_poll.h */
} gn_server_limits;

gn_code gn_server_open(uv_loop_t *loop, gn_world *world, gn_db *db, const char *host, int port,
                       const gn_server_limits *limits, gn_server **out, gn_error *err);
int gn_server_port(const gn_server *server);

/* Stops accepting and tells every connection to end after its statement. `ended` runs on the loop when all have. */
void gn_server_stop(gn_server *server, void (*ended)(void *ctx), void *ctx);
/* Grace is over: cancels what still runs and cuts the connections. */
void gn_server_cut(gn_server *server);
void gn_server_close(gn_server *server); /* after `ended`; the loop must turn once more before it is closed */

/* ---- what a connection asks of the server (any thread) ---- */

typedef struct gn_connection gn_connection;
bool gn_server_stopping(const gn_server *server);
gn_db *gn_server_db(const gn_server *server);
uint64_t gn_server_secret(gn_server *server); /* random */
/* Makes the session known for cancel requests. */
void gn_connection_register(gn_connection *connection, gn_session *session, uint32_t secret);
void gn_connection_unregister(gn_connection *connection);
void gn_server_cancel(gn_server *server, uint32_t session_id, uint32_t secret);
bool gn_connection_is_surplus(const gn_connection *connection); /* over max_connections: to be refused */
gn_server *gn_connection_server(gn_connection *connection);

/* ---- node/wire_session.c: the protocol's side of a connection ---- */

typedef struct gn_client gn_client;
gn_client *gn_client_create(gn_connection *connection, int fd); /* any thread; fd stays the connection's */
gn_caller *gn_client_caller(gn_client *client);
gn_connection *gn_client_connection(gn_caller *caller);
void gn_client_end(gn_client *client); /* on the strand that served its last turn, or any before its first; frees it */

#endif
