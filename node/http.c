/* A request is answered when its message is complete; bodies are ignored up to the header's bound. One answer is in
 * flight at a time: a client that pipelines waits. */
#include "node/http.h"

#include "base/limits.h"
#include "base/metrics.h"

#include <http_parser.h>
#include <stdio.h>
#include <stdlib.h>

enum { READ_SIZE = 4096, MAX_CLIENTS = 64, MAX_URL = 256, METRICS_MAX = 4 << 20, IDLE_MS = 30000 };

typedef struct client {
    uv_tcp_t tcp;
    uv_timer_t idle;
    uv_write_t write;
    gn_http *http;
    struct client *next, **link;
    http_parser parser;
    char url[MAX_URL];
    size_t url_len, received; /* received: bytes of the current request */
    char buffer[READ_SIZE];
    gn_buf response;
    bool keep_alive, writing;
    int open_handles;
} client;

struct gn_http {
    uv_loop_t *loop;
    uv_tcp_t listener;
    const gn_http_state *state;
    client *clients;
    unsigned n_clients;
    int port;
};

static void on_handle_closed(uv_handle_t *handle)
{
    client *c = handle->data;
    if (--c->open_handles > 0)
        return;
    *c->link = c->next;
    if (c->next)
        c->next->link = c->link;
    c->http->n_clients--;
    gn_buf_close(&c->response);
    free(c);
}

static void close_client(client *c)
{
    if (!uv_is_closing((uv_handle_t *)&c->tcp)) {
        uv_close((uv_handle_t *)&c->tcp, on_handle_closed);
        uv_close((uv_handle_t *)&c->idle, on_handle_closed);
    }
}

static void on_idle(uv_timer_t *timer)
{
    close_client(timer->data);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    client *c = handle->data;
    (void)suggested;
    *buf = uv_buf_init(c->buffer, sizeof c->buffer);
}

static void on_written(uv_write_t *write, int status)
{
    client *c = write->data;
    c->writing = false;
    if (status < 0 || !c->keep_alive) {
        close_client(c);
        return;
    }
    if (uv_is_closing((uv_handle_t *)&c->tcp))
        return;
    uv_timer_again(&c->idle);
    uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
}

static void respond(client *c, int status, const char *reason, const char *type, gn_bytes body, const char *more)
{
    gn_buf_clear(&c->response);
    gn_buf_printf(&c->response, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n%sConnection: %s\r\n\r\n",
                  status, reason, type, body.len, more, c->keep_alive ? "keep-alive" : "close");
    if (c->parser.method != HTTP_HEAD)
        gn_buf_append_bytes(&c->response, body);
    uv_buf_t buf = uv_buf_init((char *)c->response.data, (unsigned)c->response.len);
    c->write.data = c;
    c->writing = true;
    uv_read_stop((uv_stream_t *)&c->tcp);
    if (c->response.failed || uv_write(&c->write, (uv_stream_t *)&c->tcp, &buf, 1, on_written) != 0)
        close_client(c);
}

static void respond_text(client *c, int status, const char *reason, const char *text, const char *more)
{
    respond(c, status, reason, "text/plain; charset=utf-8", gn_bytes_str(text), more);
}

static void respond_metrics(client *c)
{
    gn_buf body;
    gn_buf_init(&body, NULL, METRICS_MAX);
    gn_metrics_write(&body);
    if (body.failed)
        respond_text(c, 500, "Internal Server Error", "too many metrics\n", "");
    else
        respond(c, 200, "OK", "text/plain; version=0.0.4; charset=utf-8", gn_buf_bytes(&body), "");
    gn_buf_close(&body);
}

static int on_request(http_parser *parser)
{
    client *c = parser->data;
    const gn_http_state *state = c->http->state;
    c->keep_alive = http_should_keep_alive(parser) && !state->stopping;
    size_t path = strcspn(c->url, "?#");
    c->url[path] = '\0';
    bool known = strcmp(c->url, "/health") == 0 || strcmp(c->url, "/ready") == 0 || strcmp(c->url, "/metrics") == 0;
    if (!known) {
        respond_text(c, 404, "Not Found", "there is /health, /ready and /metrics\n", "");
    } else if (parser->method != HTTP_GET && parser->method != HTTP_HEAD) {
        respond_text(c, 405, "Method Not Allowed", "GET or HEAD\n", "Allow: GET, HEAD\r\n");
    } else if (c->url[1] == 'm') {
        respond_metrics(c);
    } else if (c->url[1] == 'h') {
        respond_text(c, 200, "OK", "ok\n", "");
    } else if (!state->stopping && gn_db_ready(state->db)) {
        respond_text(c, 200, "OK", "ready\n", "");
    } else {
        respond_text(c, 503, "Service Unavailable", state->stopping ? "stopping\n" : "not ready\n", "");
    }
    c->url_len = c->received = 0;
    http_parser_pause(parser, 1); /* what follows waits until this answer is out */
    return 0;
}

static int on_url(http_parser *parser, const char *at, size_t len)
{
    client *c = parser->data;
    if (c->url_len + len >= MAX_URL)
        return 1;
    memcpy(c->url + c->url_len, at, len);
    c->url_len += len;
    c->url[c->url_len] = '\0';
    return 0;
}

static const http_parser_settings parser_settings = {.on_url = on_url, .on_message_complete = on_request};

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    client *c = stream->data;
    if (n < 0) {
        close_client(c);
        return;
    }
    c->received += (size_t)n;
    size_t used = http_parser_execute(&c->parser, &parser_settings, buf->base, (size_t)n);
    if (HTTP_PARSER_ERRNO(&c->parser) == HPE_PAUSED) {
        http_parser_pause(&c->parser, 0);
        c->keep_alive = c->keep_alive && used == (size_t)n; /* no pipelining: say so by closing */
        return;
    }
    if (HTTP_PARSER_ERRNO(&c->parser) != HPE_OK || c->parser.upgrade || c->received > GN_MAX_HTTP_HEADER) {
        bool large = HTTP_PARSER_ERRNO(&c->parser) == HPE_OK && !c->parser.upgrade;
        c->keep_alive = false;
        respond_text(c, large ? 413 : 400, large ? "Content Too Large" : "Bad Request",
                     large ? "too large\n" : "no HTTP/1.1 request\n", "");
    }
}

static void on_connection(uv_stream_t *listener, int status)
{
    gn_http *http = listener->data;
    if (status < 0)
        return;
    client *c = gn_xcalloc(1, sizeof *c);
    c->http = http;
    gn_buf_init(&c->response, NULL, METRICS_MAX + 1024);
    uv_tcp_init(http->loop, &c->tcp);
    uv_timer_init(http->loop, &c->idle);
    c->open_handles = 2;
    c->tcp.data = c->idle.data = c;
    http_parser_init(&c->parser, HTTP_REQUEST);
    c->parser.data = c;
    c->next = http->clients;
    c->link = &http->clients;
    if (c->next)
        c->next->link = &c->next;
    http->clients = c;
    http->n_clients++;
    if (uv_accept(listener, (uv_stream_t *)&c->tcp) != 0 || http->n_clients > MAX_CLIENTS) {
        close_client(c);
        return;
    }
    uv_tcp_nodelay(&c->tcp, 1);
    uv_timer_start(&c->idle, on_idle, IDLE_MS, IDLE_MS);
    uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
}

static void on_listener_closed(uv_handle_t *handle)
{
    free(handle->data);
}

gn_code gn_http_open(uv_loop_t *loop, const gn_http_state *state, const char *host, int port, gn_http **out,
                     gn_error *err)
{
    struct sockaddr_storage address = {0};
    int length = sizeof address;
    gn_http *http = gn_xcalloc(1, sizeof *http);
    http->loop = loop;
    http->state = state;
    uv_tcp_init(loop, &http->listener);
    http->listener.data = http;
    int rc = uv_ip4_addr(host, port, (struct sockaddr_in *)&address);
    if (rc != 0)
        rc = uv_ip6_addr(host, port, (struct sockaddr_in6 *)&address);
    if (rc == 0)
        rc = uv_tcp_bind(&http->listener, (struct sockaddr *)&address, 0);
    if (rc == 0)
        rc = uv_listen((uv_stream_t *)&http->listener, 64, on_connection);
    if (rc != 0) {
        uv_close((uv_handle_t *)&http->listener, on_listener_closed);
        return gn_error_set(err, GN_CONFIGURATION, "could not listen on %s port %d: %s", host, port, uv_strerror(rc));
    }
    uv_tcp_getsockname(&http->listener, (struct sockaddr *)&address, &length);
    http->port = ntohs(address.ss_family == AF_INET ? ((struct sockaddr_in *)&address)->sin_port
                                                    : ((struct sockaddr_in6 *)&address)->sin6_port);
    *out = http;
    return GN_OK;
}

int gn_http_port(const gn_http *http)
{
    return http->port;
}

void gn_http_close(gn_http *http)
{
    if (!http)
        return;
    for (client *c = http->clients; c; c = c->next)
        close_client(c);
    uv_close((uv_handle_t *)&http->listener, on_listener_closed);
}
