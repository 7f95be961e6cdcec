/* gnomond: configuration, world, database, listeners, and an end in good order.
 *
 * The end: SIGTERM stops accepting and reading; sessions end after their statement. When all have ended, or the grace
 * is over and they were cut, the database is closed cleanly. A second signal ends the process at once: that is safe
 * (the log is synced), only the next start has more to replay. */
#include "base/log.h"
#include "base/metrics.h"
#include "node/config.h"
#include "node/force.h"
#include "node/http.h"
#include "node/member.h"
#include "node/notify.h"
#include "node/server.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#ifndef GN_VERSION
#error "GN_VERSION comes from the build"
#endif

enum { RESTART_GRACE_MS = 1000 };

typedef struct node {
    gn_config config;
    gn_member member;
    gn_db *db;
    gn_server *server;
    gn_http *http;
    gn_http_state state;
    uv_loop_t loop;
    uv_signal_t sigterm, sigint;
    uv_timer_t grace;
    uv_async_t failure, restart;
    bool failed; /* the log's disk */
    bool again;  /* the process is to start again when it has ended */
} node;

static int complain(const gn_error *err)
{
    fprintf(stderr, "gnomond: %s\n", err->message[0] ? err->message : gn_code_text(err->code));
    if (err->detail[0])
        fprintf(stderr, "gnomond: %s\n", err->detail);
    if (err->hint[0])
        fprintf(stderr, "gnomond: hint: %s\n", err->hint);
    return 1;
}

static int print(bool (*write_text)(gn_buf *))
{
    gn_buf text;
    gn_buf_init(&text, NULL, 1 << 20);
    bool ok = write_text(&text) && fwrite(text.data, 1, text.len, stdout) == text.len;
    gn_buf_close(&text);
    return ok ? 0 : 1;
}

static int force_alone(const gn_config *config)
{
    gn_buf report;
    gn_error err = {0};
    gn_buf_init(&report, NULL, 16 << 20);
    gn_code code = gn_force_alone(config, config->run == GN_RUN_FORCE, &report, &err);
    bool said = code != GN_OK || fwrite(report.data, 1, report.len, stdout) == report.len;
    gn_buf_close(&report);
    return code != GN_OK ? complain(&err) : !said;
}

/* ---- the end ---- */

static void close_handles(node *n)
{
    uv_close((uv_handle_t *)&n->sigterm, NULL);
    uv_close((uv_handle_t *)&n->sigint, NULL);
    uv_close((uv_handle_t *)&n->grace, NULL);
    uv_close((uv_handle_t *)&n->failure, NULL);
    uv_close((uv_handle_t *)&n->restart, NULL);
    gn_http_close(n->http);
    if (n->server)
        gn_server_close(n->server);
}

static void on_connections_ended(void *ctx)
{
    close_handles(ctx);
}

static void on_grace_over(uv_timer_t *timer)
{
    node *n = timer->data;
    gn_log_warn("node", "grace is over: statements that still run are cancelled");
    gn_server_cut(n->server);
}

static void stop(node *n)
{
    n->state.stopping = true;
    if (!n->again) /* systemd would wait for the process to end */
        gn_notify("STOPPING=1");
    gn_server_stop(n->server, on_connections_ended, n);
    uv_timer_start(&n->grace, on_grace_over, n->again ? RESTART_GRACE_MS : (uint64_t)n->config.shutdown_grace_s * 1000,
                   0);
}

static void on_signal(uv_signal_t *handle, int number)
{
    node *n = handle->data;
    if (n->state.stopping) {
        gn_log_warn("node", "second signal: ending at once", GN_KV_I64("signal", number));
        _exit(130);
    }
    gn_log_info("node", "stopping", GN_KV_I64("signal", number));
    stop(n);
}

static void on_restart(uv_async_t *handle)
{
    node *n = handle->data;
    if (n->state.stopping)
        return;
    gn_log_warn("node", "an operator has the node start again");
    n->again = true;
    stop(n);
}

/* From any thread. The answer to who asks for it goes first: the grace is for that, too. */
static void ask_restart(void *ctx)
{
    node *n = ctx;
    uv_async_send(&n->restart);
}

/* From any thread: the log's disk failed. Nothing can be acknowledged any more. */
static void on_db_failed(void *ctx, gn_code code, const char *message)
{
    node *n = ctx;
    gn_log_error("node", "the storage failed; the node stops", GN_KV_STR("code", gn_code_name(code)),
                 GN_KV_STR("error", message));
    n->failed = true;
    uv_async_send(&n->failure);
}

static void on_failure(uv_async_t *handle)
{
    node *n = handle->data;
    if (!n->state.stopping)
        stop(n);
    gn_server_cut(n->server);
}

/* ---- the start ---- */

static void say_ready(node *n)
{
    int http_port = n->http ? gn_http_port(n->http) : 0;
    gn_log_info("node", "ready", GN_KV_I64("port", gn_server_port(n->server)), GN_KV_I64("http_port", http_port));
    gn_notify("READY=1");
    if (n->config.ready_fd >= 0) {
        dprintf(n->config.ready_fd, "port=%d http_port=%d pid=%ld node=%" PRIu64 " cluster=%s\n",
                gn_server_port(n->server), http_port, (long)getpid(), n->member.identity.node, n->member.address);
        close(n->config.ready_fd);
    }
}

static void write_configuration(void *ctx, gn_buf *out)
{
    const node *n = ctx;
    gn_config_write(&n->config, out);
}

static gn_code open_db(node *n, gn_error *err)
{
    gn_code code = gn_member_open(&n->config, &n->member, err);
    if (code != GN_OK)
        return code;
    const gn_db_options options = {.data_dir = n->config.data_dir,
                                   .memory_limit_bytes = (uint64_t)n->config.memory_limit_mb << 20,
                                   .retention_ms = (uint64_t)n->config.retention_s * 1000,
                                   .copy_bytes_per_second = (uint64_t)n->config.copy_rate_mb << 20,
                                   .split_bytes = (uint64_t)n->config.group_split_mb << 20,
                                   .split_rate = (uint64_t)n->config.group_split_rate,
                                   .merge_bytes = (uint64_t)n->config.group_merge_mb << 20,
                                   .hedge_percent = (unsigned)n->config.hedge_percent,
                                   .statement_memory_bytes = (uint64_t)n->config.statement_memory_mb << 20,
                                   .identity = &n->member.identity,
                                   .address = n->member.address,
                                   .zone = n->config.zone,
                                   .peer = gn_member_peer,
                                   .peer_ctx = &n->member,
                                   .failed = on_db_failed,
                                   .failed_ctx = n,
                                   .host = {.version = GN_VERSION,
                                            .mesh = n->member.mesh,
                                            .configuration = write_configuration,
                                            .restart = ask_restart,
                                            .ctx = n}};
    return gn_db_open(n->member.world, &options, &n->db, err);
}

static gn_code open_listeners(node *n, gn_error *err)
{
    char host[256];
    int port;
    gn_code code = gn_config_loopback("listen", n->config.listen, host, sizeof host, &port, err);
    gn_server_limits limits = {.connections = (uint32_t)n->config.max_connections,
                               .busy_poll_us = (uint64_t)n->config.busy_poll_us};
    if (code == GN_OK)
        code = gn_server_open(&n->loop, n->member.world, n->db, host, port, &limits, &n->server, err);
    if (code != GN_OK || !n->config.http_listen[0])
        return code;
    n->state.db = n->db;
    code = gn_config_loopback("http_listen", n->config.http_listen, host, sizeof host, &port, err);
    return code != GN_OK ? code : gn_http_open(&n->loop, &n->state, host, port, &n->http, err);
}

static void init_loop(node *n)
{
    uv_loop_init(&n->loop);
    uv_signal_init(&n->loop, &n->sigterm);
    uv_signal_init(&n->loop, &n->sigint);
    uv_timer_init(&n->loop, &n->grace);
    uv_async_init(&n->loop, &n->failure, on_failure);
    uv_async_init(&n->loop, &n->restart, on_restart);
    n->sigterm.data = n->sigint.data = n->grace.data = n->failure.data = n->restart.data = n;
}

/* Addresses are checked before the database is opened: a typo should not cost a recovery. */
static gn_code check_addresses(const gn_config *config, gn_error *err)
{
    char host[256];
    int port;
    gn_code code = gn_config_loopback("listen", config->listen, host, sizeof host, &port, err);
    if (code == GN_OK && config->http_listen[0])
        code = gn_config_loopback("http_listen", config->http_listen, host, sizeof host, &port, err);
    return code;
}

static int serve(node *n)
{
    gn_error err = {0};
    init_loop(n);
    gn_code code = open_db(n, &err);
    if (code == GN_OK)
        code = open_listeners(n, &err);
    if (code == GN_OK) {
        uv_signal_start(&n->sigterm, on_signal, SIGTERM);
        uv_signal_start(&n->sigint, on_signal, SIGINT);
        say_ready(n);
    } else {
        complain(&err);
        close_handles(n);
    }
    uv_run(&n->loop, UV_RUN_DEFAULT);
    uv_loop_close(&n->loop);
    if (n->db)
        gn_db_close(n->db, !n->failed);
    gn_member_close(&n->member);
    if (code == GN_OK)
        gn_log_info("node", "stopped");
    return code == GN_OK && !n->failed ? 0 : 1;
}

/* The same program with the same arguments, but for --ready-fd: that file is closed, and its number another's. */
static int start_again(int argc, char **argv)
{
    char **args = calloc((size_t)argc + 1, sizeof *args);
    int n = 0;
    for (int i = 0; args && i < argc; i++) {
        if (strcmp(argv[i], "--ready-fd") == 0)
            i++;
        else if (strncmp(argv[i], "--ready-fd=", 11) != 0)
            args[n++] = argv[i];
    }
    if (args)
        execv("/proc/self/exe", args);
    fprintf(stderr, "gnomond: could not start again: %s\n", strerror(errno));
    free(args);
    return 1;
}

int main(int argc, char **argv)
{
    static node n;
    gn_error err = {0};
    gn_log_level level = GN_LOG_INFO;
    signal(SIGPIPE, SIG_IGN);
    if (gn_config_load(argc, argv, &n.config, &err) != GN_OK)
        return complain(&err);
    switch (n.config.run) {
    case GN_RUN_HELP:
        return print(gn_config_help);
    case GN_RUN_DOCS:
        return print(gn_config_docs);
    case GN_RUN_VERSION:
        return puts("gnomond (GnomonDB) " GN_VERSION) < 0;
    case GN_RUN_SURVEY:
    case GN_RUN_FORCE:
        return force_alone(&n.config);
    default:
        break;
    }
    if (check_addresses(&n.config, &err) != GN_OK)
        return complain(&err);
    gn_log_level_parse(n.config.log_level, &level);
    gn_log_configure(level, strcmp(n.config.log_format, "json") == 0, STDERR_FILENO);
    int status = serve(&n);
    return status == 0 && n.again ? start_again(argc, argv) : status;
}
