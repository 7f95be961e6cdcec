#include "harness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- the sink ---- */

static gn_code describe(void *ctx, const gn_result_column *columns, uint32_t n)
{
    harness *h = ctx;
    h->n_columns = n;
    h->n_rows = 0;
    h->described = true;
    for (uint32_t i = 0; i < n; i++)
        gn_buf_printf(&h->out, "%s%s", i ? "|" : "", columns[i].name);
    gn_buf_append_str(&h->out, "\n");
    return GN_OK;
}

static gn_code rows(void *ctx, const gn_batch *batch, uint32_t first, uint32_t n)
{
    harness *h = ctx;
    for (uint32_t r = first; r < first + n; r++) {
        for (uint32_t i = 0; i < batch->n_columns; i++) {
            gn_value v = gn_column_get(&batch->columns[i], r);
            gn_buf_append_str(&h->out, i ? "|" : "");
            if (v.is_null)
                gn_buf_append_str(&h->out, "\\N");
            else
                gn_value_print(&v, gn_session_format(h->session), &h->out);
        }
        gn_buf_append_str(&h->out, "\n");
    }
    h->n_rows += n;
    return GN_OK;
}

static gn_code complete(void *ctx, const char *tag)
{
    harness *h = ctx;
    gn_buf_printf(&h->out, "%s\n", tag);
    return GN_OK;
}

static gn_code empty(void *ctx)
{
    gn_buf_append_str(&((harness *)ctx)->out, "(empty)\n");
    return GN_OK;
}

void harness_print_error(gn_buf *out, const char *what, gn_code code, const gn_error *err)
{
    gn_buf_printf(out, "%s %s: %s", what, gn_code_sqlstate(code), err->message);
    if (err->position)
        gn_buf_printf(out, " (at %d)", err->position);
    gn_buf_append_str(out, "\n");
    if (err->detail[0])
        gn_buf_printf(out, "DETAIL: %s\n", err->detail);
    if (err->hint[0])
        gn_buf_printf(out, "HINT: %s\n", err->hint);
    if (err->context[0])
        gn_buf_printf(out, "CONTEXT: %s\n", err->context);
    if (err->object[1][0] || err->object[2][0] || err->object[3][0])
        gn_buf_printf(out, "FIELDS: %s.%s.%s.%s\n", err->object[0], err->object[1], err->object[2], err->object[3]);
}

static void notice(void *ctx, gn_severity severity, const gn_error *err)
{
    static const char *const names[] = {"NOTICE", "WARNING", "INFO"};
    if (severity == GN_SEVERITY_INFO && strncmp(err->message, "building index", 14) == 0)
        return; /* progress: how often it is told depends on time */
    harness_print_error(&((harness *)ctx)->out, names[severity], err->code, err);
}

static void setting(void *ctx, const char *name, const char *value)
{
    gn_buf_printf(&((harness *)ctx)->out, "SETTING %s=%s\n", name, value);
}

static gn_code copy_begins(void *ctx, bool binary, uint32_t n)
{
    (void)ctx;
    (void)binary;
    (void)n;
    return GN_OK;
}

static gn_code copy_data(void *ctx, gn_bytes data)
{
    gn_buf_append_bytes(&((harness *)ctx)->out, data);
    return GN_OK;
}

static gn_code copy_done(void *ctx)
{
    (void)ctx;
    return GN_OK;
}

static gn_code copy_read(void *ctx, gn_bytes *data, bool *more, gn_error *err)
{
    harness *h = ctx;
    (void)err;
    size_t left = h->copy_data.len - h->copy_at;
    size_t n = h->copy_piece && h->copy_piece < left ? h->copy_piece : left;
    *data = gn_bytes_of(h->copy_data.data + h->copy_at, n);
    *more = n > 0;
    h->copy_at += n;
    return GN_OK;
}

/* ---- life ---- */

static void fail_with(const char *what, const gn_error *err)
{
    fail_msg("%s: %s %s", what, err->message, err->detail);
}

static void open_db(harness *h)
{
    gn_error err = {0};
    gn_db_options options = {.data_dir = h->dir, .memory_limit_bytes = 512u << 20};
    h->world = gn_world_real_create(&(gn_world_options){.threads = 2, .node_id = 1});
    if (gn_db_open(h->world, &options, &h->db, &err) != GN_OK)
        fail_with("open", &err);
    for (int i = 0; i < 120000 && !gn_db_ready(h->db); i++) {
        gn_event never;
        gn_event_init(&never, h->world);
        gn_event_wait(&never, gn_now_ns(h->world) + 1000000);
    }
    assert_true(gn_db_ready(h->db));
    h->session = harness_session(h);
}

gn_session *harness_session(harness *h)
{
    gn_error err = {0};
    gn_session *s = NULL;
    gn_session_options options = {.user = "postgres", .database = "postgres"};
    if (gn_session_open(h->db, &options, &s, &err) != GN_OK)
        fail_with("session", &err);
    return s;
}

void harness_open(harness *h, const char *name)
{
    const char *tmp = getenv("TMPDIR");
    *h = (harness){0};
    snprintf(h->dir, sizeof h->dir, "%s/gn_%s_XXXXXX", tmp ? tmp : "/tmp", name);
    assert_non_null(mkdtemp(h->dir));
    gn_buf_init(&h->out, NULL, 1u << 30);
    h->sink = (gn_sink){.ctx = h,
                        .describe = describe,
                        .rows = rows,
                        .complete = complete,
                        .empty = empty,
                        .notice = notice,
                        .setting = setting,
                        .copy_out = copy_begins,
                        .copy_data = copy_data,
                        .copy_out_done = copy_done,
                        .copy_in = copy_begins,
                        .copy_in_read = copy_read};
    open_db(h);
}

static void close_db(harness *h, bool clean)
{
    gn_session_close(h->session);
    gn_db_close(h->db, clean);
    gn_world_real_destroy(h->world);
}

void harness_reopen(harness *h, bool clean)
{
    close_db(h, clean);
    open_db(h);
}

void harness_close(harness *h)
{
    char command[200];
    close_db(h, true);
    gn_buf_close(&h->out);
    snprintf(command, sizeof command, "rm -rf '%s'", h->dir);
    assert_int_equal(system(command), 0);
}

/* ---- running ---- */

gn_code harness_run(harness *h, const char *sql)
{
    gn_error err = {0};
    gn_buf_clear(&h->out);
    h->copy_at = 0;
    gn_code code = gn_session_simple(h->session, gn_bytes_str(sql), &h->sink, &err);
    if (code != GN_OK)
        harness_print_error(&h->out, "ERROR", code, &err);
    return code;
}

const char *harness_text(harness *h)
{
    gn_buf_append_u8(&h->out, 0);
    h->out.len--;
    return (const char *)h->out.data;
}

void harness_must(harness *h, const char *sql)
{
    if (harness_run(h, sql) != GN_OK)
        fail_msg("%s\n%s", sql, harness_text(h));
}
