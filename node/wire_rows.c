#include "node/wire_rows.h"

#include "query/value.h"

#include <stdio.h>

static const gn_formats all_text = {0};

gn_code gn_wire_row_description(gn_wire *wire, const gn_result_column *columns, uint32_t n, const gn_formats *formats,
                                gn_error *err)
{
    if (!columns) {
        gn_wire_begin(wire, 'n');
        return gn_wire_end(wire, err);
    }
    gn_wire_begin(wire, 'T');
    gn_buf_append_be16(&wire->out, (uint16_t)n);
    for (uint32_t i = 0; i < n; i++) {
        gn_wire_cstr(wire, columns[i].name);
        gn_buf_append_be32(&wire->out, (uint32_t)columns[i].table_id);
        gn_buf_append_be16(&wire->out, columns[i].column_number);
        gn_buf_append_be32(&wire->out, gn_type_oid(columns[i].type));
        gn_buf_append_be16(&wire->out, (uint16_t)gn_type_wire_len(columns[i].type));
        gn_buf_append_be32(&wire->out, (uint32_t)gn_type_wire_typmod(columns[i].type));
        gn_buf_append_be16(&wire->out, gn_format_is_binary(formats, i));
    }
    return gn_wire_end(wire, err);
}

static gn_code describe(void *ctx, const gn_result_column *columns, uint32_t n)
{
    gn_wire_output *o = ctx;
    return gn_wire_row_description(o->wire, columns, n, o->formats, o->err);
}

/* Length and bytes of one value; the length is filled in when the bytes are there. */
static void put_value(gn_wire *wire, const gn_value *value, bool binary, const gn_format *format)
{
    gn_buf *out = &wire->out;
    if (value->is_null) {
        gn_buf_append_be32(out, UINT32_MAX);
        return;
    }
    size_t head = out->len;
    gn_buf_append_be32(out, 0);
    bool written = binary ? gn_value_send(value, out) : gn_value_print(value, format, out);
    if (!written || out->failed) {
        out->failed = true;
        return;
    }
    size_t len = out->len - head - 4;
    out->data[head] = (uint8_t)(len >> 24);
    out->data[head + 1] = (uint8_t)(len >> 16);
    out->data[head + 2] = (uint8_t)(len >> 8);
    out->data[head + 3] = (uint8_t)len;
}

static gn_code rows(void *ctx, const gn_batch *batch, uint32_t first, uint32_t n)
{
    gn_wire_output *o = ctx;
    const gn_format *format = gn_session_format(o->session);
    for (uint32_t row = first; row < first + n; row++) {
        gn_wire_begin(o->wire, 'D');
        gn_buf_append_be16(&o->wire->out, (uint16_t)batch->n_columns);
        for (uint32_t c = 0; c < batch->n_columns; c++) {
            gn_value value = gn_column_get(&batch->columns[c], row);
            put_value(o->wire, &value, gn_format_is_binary(o->formats, c), format);
        }
        gn_code code = gn_wire_end(o->wire, o->err);
        if (code != GN_OK)
            return code;
    }
    return GN_OK;
}

static gn_code complete(void *ctx, const char *tag)
{
    gn_wire_output *o = ctx;
    gn_wire_begin(o->wire, 'C');
    gn_wire_cstr(o->wire, tag);
    return gn_wire_end(o->wire, o->err);
}

static gn_code empty(void *ctx)
{
    gn_wire_output *o = ctx;
    gn_wire_begin(o->wire, 'I');
    return gn_wire_end(o->wire, o->err);
}

static void notice(void *ctx, gn_severity severity, const gn_error *report)
{
    static const char *const names[] = {
        [GN_SEVERITY_NOTICE] = "NOTICE", [GN_SEVERITY_WARNING] = "WARNING", [GN_SEVERITY_INFO] = "INFO"};
    gn_wire_output *o = ctx;
    gn_wire_report(o->wire, 'N', names[severity], report);
}

static void setting(void *ctx, const char *name, const char *value)
{
    gn_wire_output *o = ctx;
    gn_wire_begin(o->wire, 'S');
    gn_wire_cstr(o->wire, name);
    gn_wire_cstr(o->wire, value);
    gn_wire_end(o->wire, NULL);
}

/* ---- COPY ---- */

static gn_code copy_begin(gn_wire_output *o, char type, bool binary, uint32_t n_columns)
{
    gn_wire_begin(o->wire, type);
    gn_buf_append_u8(&o->wire->out, binary);
    gn_buf_append_be16(&o->wire->out, (uint16_t)n_columns);
    for (uint32_t i = 0; i < n_columns; i++)
        gn_buf_append_be16(&o->wire->out, binary);
    return gn_wire_end(o->wire, o->err);
}

static gn_code copy_out(void *ctx, bool binary, uint32_t n_columns)
{
    return copy_begin(ctx, 'H', binary, n_columns);
}

static gn_code copy_data(void *ctx, gn_bytes data)
{
    gn_wire_output *o = ctx;
    gn_wire_begin(o->wire, 'd');
    gn_buf_append_bytes(&o->wire->out, data);
    return gn_wire_end(o->wire, o->err);
}

static gn_code copy_out_done(void *ctx)
{
    gn_wire_output *o = ctx;
    gn_wire_begin(o->wire, 'c');
    return gn_wire_end(o->wire, o->err);
}

static gn_code copy_in(void *ctx, bool binary, uint32_t n_columns)
{
    gn_wire_output *o = ctx;
    gn_code code = copy_begin(o, 'G', binary, n_columns);
    o->in_copy = code == GN_OK;
    return code;
}

static gn_code copy_in_read(void *ctx, gn_bytes *data, bool *more, gn_error *err)
{
    gn_wire_output *o = ctx;
    *more = true;
    for (;;) {
        char type;
        gn_bytes body;
        gn_code code = gn_wire_read(o->wire, &type, &body, err);
        if (code != GN_OK) {
            o->broken = true;
            return code;
        }
        switch (type) {
        case 'd':
            *data = body;
            return GN_OK;
        case 'c':
            *more = false;
            o->in_copy = false;
            *data = gn_bytes_of(NULL, 0);
            return GN_OK;
        case 'f': {
            gn_reader r = gn_reader_of(body);
            const char *why = gn_read_cstr(&r);
            o->in_copy = false;
            return gn_error_set(err, GN_CANCELED, "COPY from stdin failed: %.300s", why ? why : "");
        }
        case 'H': /* Flush and Sync are to be ignored here, says the protocol */
        case 'S':
            continue;
        default:
            o->broken = true;
            return gn_error_set(err, GN_PROTOCOL, "unexpected message type 0x%02X during COPY from stdin",
                                (unsigned)(uint8_t)type);
        }
    }
}

gn_sink gn_wire_sink(gn_wire_output *output)
{
    if (!output->formats)
        output->formats = &all_text;
    return (gn_sink){.ctx = output,
                     .describe = describe,
                     .rows = rows,
                     .complete = complete,
                     .empty = empty,
                     .notice = notice,
                     .setting = setting,
                     .copy_out = copy_out,
                     .copy_data = copy_data,
                     .copy_out_done = copy_out_done,
                     .copy_in = copy_in,
                     .copy_in_read = copy_in_read};
}
