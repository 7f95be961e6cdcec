#include "query/fragment.h"

#include "base/limits.h"
#include "base/versions.h"
#include "query/expr_pack.h"

enum { PACK_VERSION = GN_FORMAT_FRAGMENT, HAS_FILTER = 1, GROUPED = 2, HAS_ZONE = 4, BYTEA_ESCAPE = 8, FLAGS = 15 };
enum { CALL_FILTER = 1, SORT_DESCENDING = 1, SORT_NULLS_FIRST = 2, MAX_ARGS = 2 };

/* ---- what comes out ---- */

gn_code gn_fragment_finish(gn_fragment *f, gn_arena *arena, gn_error *err)
{
    f->n_out = f->grouped ? f->n_keys + f->n_calls : f->n_columns;
    f->out_types = gn_arena_calloc(arena, f->n_out + 1, sizeof *f->out_types);
    if (!f->out_types)
        return gn_error_oom(err, gn_arena_account(arena));
    for (uint32_t i = 0; i < f->n_out; i++)
        f->out_types[i] = !f->grouped     ? f->types[f->columns[i]]
                          : i < f->n_keys ? f->keys[i]->type
                                          : gn_type_of(GN_T_BYTEA);
    return GN_OK;
}

/* ---- writing ---- */

static void pack_count(gn_buf *out, uint32_t n)
{
    out->failed |= n > GN_MAX_COLUMNS;
    gn_buf_append_be16(out, (uint16_t)n);
}

static void pack_format(const gn_format *format, gn_buf *out)
{
    gn_buf_append_be32(out, (uint32_t)format->tz_offset_s);
    gn_buf_append_be32(out, (uint32_t)format->extra_float_digits);
    gn_buf_append_be64(out, (uint64_t)format->now_us);
    if (!format->tz_name)
        return;
    gn_bytes zone = gn_bytes_str(format->tz_name);
    out->failed |= zone.len > UINT8_MAX;
    gn_buf_append_u8(out, (uint8_t)zone.len);
    gn_buf_append_bytes(out, zone);
}

static void pack_call(const gn_aggregate_call *call, gn_buf *out)
{
    gn_bytes name = gn_bytes_str(gn_aggregate_name(call->aggregate));
    gn_buf_append_u8(out, (uint8_t)name.len);
    gn_buf_append_bytes(out, name);
    gn_buf_append_u8(out, call->filter ? CALL_FILTER : 0);
    pack_count(out, call->n_args);
    for (uint32_t i = 0; i < call->n_args; i++)
        gn_expr_pack(call->args[i], out);
    if (call->filter)
        gn_expr_pack(call->filter, out);
}

bool gn_fragment_pack(const gn_fragment *f, gn_buf *out)
{
    size_t from = out->len;
    unsigned flags = (f->filter ? HAS_FILTER : 0) | (f->grouped ? GROUPED : 0) | (f->format.tz_name ? HAS_ZONE : 0) |
                     (f->format.bytea_escape ? BYTEA_ESCAPE : 0);
    gn_buf_append_u8(out, PACK_VERSION);
    gn_buf_append_u8(out, (uint8_t)flags);
    pack_format(&f->format, out);
    if (f->filter)
        gn_expr_pack(f->filter, out);
    pack_count(out, f->n_keys);
    for (uint32_t i = 0; i < f->n_keys; i++)
        gn_expr_pack(f->keys[i], out);
    pack_count(out, f->n_calls);
    for (uint32_t i = 0; i < f->n_calls; i++)
        pack_call(&f->calls[i], out);
    pack_count(out, f->n_sort);
    for (uint32_t i = 0; i < f->n_sort; i++) {
        gn_buf_append_u8(out, (uint8_t)((f->sort[i].descending ? SORT_DESCENDING : 0) |
                                        (f->sort[i].nulls_first ? SORT_NULLS_FIRST : 0)));
        gn_expr_pack(f->sort[i].expr, out);
    }
    gn_buf_append_be64(out, f->keep);
    pack_count(out, f->n_columns);
    for (uint32_t i = 0; i < f->n_columns; i++)
        gn_buf_append_be16(out, (uint16_t)f->columns[i]);
    return !out->failed && out->len - from <= GN_FRAGMENT_BYTES;
}

/* ---- reading ---- */

typedef struct unpacking {
    gn_expr_source from;
    gn_fragment *f;
} unpacking;

static gn_code corrupt(const unpacking *u)
{
    return gn_error_set(u->from.err, GN_CORRUPT, "a fragment of a query from another node cannot be read");
}

static void *take(const unpacking *u, uint32_t n, size_t size, gn_code *code)
{
    void *p = gn_arena_calloc(u->from.arena, n + 1, size);
    if (!p)
        *code = gn_error_oom(u->from.err, gn_arena_account(u->from.arena));
    return p;
}

/* An item takes at least one byte, so no count is believed that the bytes left cannot hold. */
static uint32_t unpack_count(unpacking *u, gn_code *code)
{
    uint32_t n = gn_read_be16(&u->from.in);
    if (u->from.in.failed || n > GN_MAX_COLUMNS || n > gn_reader_left(&u->from.in))
        *code = corrupt(u);
    return *code ? 0 : n;
}

static gn_code unpack_expr(unpacking *u, gn_expr **out)
{
    return gn_expr_unpack(&u->from, out);
}

static gn_code unpack_condition(unpacking *u, const gn_expr **out)
{
    gn_expr *e;
    gn_code code = unpack_expr(u, &e);
    if (code)
        return code;
    *out = e;
    return gn_type_is(e->type, GN_T_BOOL) ? GN_OK : corrupt(u);
}

static gn_code unpack_format(unpacking *u, unsigned flags)
{
    gn_format *format = &u->f->format;
    gn_code code = GN_OK;
    size_t bad;
    format->bytea_escape = flags & BYTEA_ESCAPE;
    format->tz_offset_s = (int32_t)gn_read_be32(&u->from.in);
    format->extra_float_digits = (int32_t)gn_read_be32(&u->from.in);
    format->now_us = (int64_t)gn_read_be64(&u->from.in);
    const int32_t far = 7 * 86400;
    if (format->tz_offset_s < -far || format->tz_offset_s > far || format->extra_float_digits < -15 ||
        format->extra_float_digits > 3)
        return corrupt(u);
    if (!(flags & HAS_ZONE))
        return GN_OK;
    gn_bytes zone = gn_read_bytes(&u->from.in, gn_read_u8(&u->from.in));
    if (u->from.in.failed || !gn_utf8_valid(zone, &bad))
        return corrupt(u);
    char *copy = take(u, (uint32_t)zone.len, 1, &code);
    if (!code && zone.len)
        memcpy(copy, zone.data, zone.len);
    format->tz_name = copy;
    return code;
}

static gn_code unpack_call(unpacking *u, gn_aggregate_call *call)
{
    gn_reader *in = &u->from.in;
    gn_type types[MAX_ARGS], wanted[MAX_ARGS];
    gn_error ignored = {0};
    gn_code code = GN_OK;
    gn_bytes name = gn_read_bytes(in, gn_read_u8(in));
    uint8_t flags = gn_read_u8(in);
    uint32_t n = unpack_count(u, &code);
    if (code || n > MAX_ARGS || flags > CALL_FILTER)
        return code ? code : corrupt(u);
    gn_expr **args = take(u, n, sizeof *args, &code);
    for (uint32_t i = 0; i < n && !code; i++) {
        code = unpack_expr(u, &args[i]);
        if (!code)
            types[i] = args[i]->type;
    }
    if (!code && flags & CALL_FILTER)
        code = unpack_condition(u, &call->filter);
    if (code)
        return code;
    if (gn_aggregate_resolve(name, types, n, &call->aggregate, wanted, &call->result, &ignored) != GN_OK ||
        !gn_aggregate_combines(call->aggregate))
        return corrupt(u);
    for (uint32_t i = 0; i < n; i++)
        if (!gn_type_same(types[i], wanted[i]))
            return corrupt(u);
    call->args = args;
    call->n_args = n;
    return GN_OK;
}

static gn_code unpack_groups(unpacking *u)
{
    gn_fragment *f = u->f;
    gn_code code = GN_OK;
    f->n_keys = unpack_count(u, &code);
    f->keys = take(u, f->n_keys, sizeof *f->keys, &code);
    for (uint32_t i = 0; i < f->n_keys && !code; i++)
        code = unpack_expr(u, &f->keys[i]);
    f->n_calls = code ? 0 : unpack_count(u, &code);
    f->calls = take(u, f->n_calls, sizeof *f->calls, &code);
    for (uint32_t i = 0; i < f->n_calls && !code; i++)
        code = unpack_call(u, &f->calls[i]);
    return code;
}

static gn_code unpack_rows(unpacking *u)
{
    gn_fragment *f = u->f;
    gn_reader *in = &u->from.in;
    gn_code code = GN_OK;
    f->n_sort = unpack_count(u, &code);
    f->sort = take(u, f->n_sort, sizeof *f->sort, &code);
    for (uint32_t i = 0; i < f->n_sort && !code; i++) {
        uint8_t flags = gn_read_u8(in);
        gn_expr *e;
        if (flags > (SORT_DESCENDING | SORT_NULLS_FIRST))
            return corrupt(u);
        if (!(code = unpack_expr(u, &e)))
            f->sort[i] = (gn_sort_key){
                .expr = e, .descending = flags & SORT_DESCENDING, .nulls_first = flags & SORT_NULLS_FIRST};
    }
    f->keep = code ? 0 : gn_read_be64(in);
    f->n_columns = code ? 0 : unpack_count(u, &code);
    f->columns = take(u, f->n_columns, sizeof *f->columns, &code);
    for (uint32_t i = 0; i < f->n_columns && !code; i++) {
        f->columns[i] = gn_read_be16(in);
        if (in->failed || f->columns[i] >= f->n_types || (i > 0 && f->columns[i] <= f->columns[i - 1]))
            return corrupt(u);
    }
    return code;
}

gn_code gn_fragment_unpack(gn_bytes bytes, const gn_type *types, uint32_t n_types, gn_arena *arena, gn_fragment *out,
                           gn_error *err)
{
    *out = (gn_fragment){.types = types, .n_types = n_types};
    unpacking u = {
        .from = {.in = gn_reader_of(bytes), .columns = types, .n_columns = n_types, .arena = arena, .err = err},
        .f = out};
    uint8_t version = gn_read_u8(&u.from.in), flags = gn_read_u8(&u.from.in);
    if (u.from.in.failed || version != PACK_VERSION || flags > FLAGS || bytes.len > GN_FRAGMENT_BYTES)
        return corrupt(&u);
    out->grouped = flags & GROUPED;
    gn_code code = unpack_format(&u, flags);
    if (!code && flags & HAS_FILTER)
        code = unpack_condition(&u, &out->filter);
    if (!code)
        code = unpack_groups(&u);
    if (!code)
        code = unpack_rows(&u);
    if (code)
        return code;
    bool mixed = out->grouped ? out->n_sort || out->n_columns : out->n_keys || out->n_calls;
    if (u.from.in.failed || mixed || gn_reader_left(&u.from.in) > 0)
        return corrupt(&u);
    return gn_fragment_finish(out, arena, err);
}

/* ---- at work ---- */

static bool is_identity(const gn_fragment *f)
{
    return f->n_columns == f->n_types;
}

static gn_operator *choose_columns(const gn_fragment *f, const gn_eval *eval, gn_account *account, gn_operator *op,
                                   bool keyed, gn_arena *arena)
{
    uint32_t n = f->n_columns + keyed;
    gn_expr **exprs = gn_arena_calloc(arena, n + 1, sizeof *exprs),
            *nodes = gn_arena_calloc(arena, n + 1, sizeof *nodes);
    if (!exprs || !nodes) {
        gn_operator_close(op);
        return NULL;
    }
    for (uint32_t i = 0; i < n; i++) {
        uint32_t column = i < f->n_columns ? f->columns[i] : f->n_types;
        nodes[i] = (gn_expr){.kind = GN_E_COLUMN, .type = op->types[column], .column = column};
        exprs[i] = &nodes[i];
    }
    return gn_op_project(eval, account, op, exprs, n);
}

gn_operator *gn_fragment_operators(const gn_fragment *f, const gn_eval *eval, gn_account *account, gn_operator *op,
                                   bool keyed, gn_arena *arena)
{
    if (f->filter)
        op = gn_op_filter(eval, account, op, f->filter);
    if (f->grouped)
        return gn_op_aggregate_partial(eval, account, op, f->keys, f->n_keys, f->calls, f->n_calls);
    if (f->n_sort)
        op = gn_op_sort(eval, account, op, f->sort, f->n_sort, f->keep);
    else if (f->keep != UINT64_MAX)
        op = gn_op_limit(eval, account, op, 0, f->keep);
    return is_identity(f) ? op : choose_columns(f, eval, account, op, keyed, arena);
}
