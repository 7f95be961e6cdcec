/* /health, /ready and /metrics over HTTP/1.1, on libuv's loop and http-parser. Main thread only. */
#ifndef GN_NODE_HTTP_H
#define GN_NODE_HTTP_H

#include "coord/session.h"

#include <uv.h>

typedef struct gn_http gn_http;

/* `state` tells what /ready answers; it must outlive the server. */
typedef struct gn_http_state {
    gn_db *db;
    _Atomic bool stopping;
} gn_http_state;

gn_code gn_http_open(uv_loop_t *loop, const gn_http_state *state, const char *host, int port, gn_http **out,
                     gn_error *err);
int gn_http_port(const gn_http *http);
/* Closes listener and connections; frees itself when the loop has turned. NULL is fine. */
void gn_http_close(gn_http *http);

#endif
