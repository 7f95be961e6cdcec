/* COPY TO: a table or a query, one message a row, as clients expect. */
#include "base/limits.h"
#include "coord/copy_private.h"

typedef struct copy_writer {
    gn_copy *c;
    gn_buf line, field;
} copy_writer;

static gn_code gone(gn_copy *c, gn_code code)
{
    return code == GN_OK ? GN_OK : gn_error_set(c->err, code, "the client is gone");
}

static gn_code send(copy_writer *w)
{
    gn_copy *c = w->c;
    const gn_sink *sink = c->s->sink;
    if (w->line.failed || w->field.failed)
        return gn_error_oom(c->err, &c->p->account);
    gn_code code = gone(c, sink->copy_data(sink->ctx, gn_buf_bytes(&w->line)));
    gn_buf_clear(&w->line);
    return code;
}

/* ---- rows ---- */

static void write_value(copy_writer *w, uint32_t i, const gn_value *v)
{
    gn_copy *c = w->c;
    gn_buf_clear(&w->field);
    if (c->format == GN_COPY_BINARY) {
        if (v->is_null) {
            gn_buf_append_be32(&w->line, UINT32_MAX);
            return;
        }
        gn_value_send(v, &w->field);
        gn_buf_append_be32(&w->line, (uint32_t)w->field.len);
        gn_buf_append_bytes(&w->line, gn_buf_bytes(&w->field));
        return;
    }
    if (i)
        gn_buf_append_u8(&w->line, (uint8_t)c->delimiter);
    if (v->is_null) {
        gn_buf_append_bytes(&w->line, c->null);
        return;
    }
    gn_value_print(v, &c->s->format, &w->field);
    gn_copy_print_field(c, i, gn_buf_bytes(&w->field), &w->line);
}

static gn_code write_row(copy_writer *w, const gn_batch *batch, uint32_t row)
{
    gn_copy *c = w->c;
    if (c->format == GN_COPY_BINARY)
        gn_buf_append_be16(&w->line, (uint16_t)batch->n_columns);
    for (uint32_t i = 0; i < batch->n_columns; i++) {
        gn_value v = gn_column_get(&batch->columns[i], row);
        write_value(w, i, &v);
    }
    if (c->format != GN_COPY_BINARY)
        gn_buf_append_u8(&w->line, '\n');
    c->n_rows++;
    return send(w);
}

static gn_code write_rows(copy_writer *w)
{
    gn_copy *c = w->c;
    for (;;) {
        gn_batch *batch;
        gn_code code = gn_operator_next(c->p->exec.root, &batch, c->err);
        if (code != GN_OK || !batch || batch->n_rows == 0)
            return code;
        for (uint32_t r = 0; r < batch->n_rows && code == GN_OK; r++)
            code = write_row(w, batch, r);
        if (code != GN_OK)
            return code;
    }
}

/* ---- before and after them ---- */

/* The binary header goes out with what follows it, as PostgreSQL sends it: clients take it off the first message. */
static gn_code write_header(copy_writer *w, const gn_plan *plan)
{
    gn_copy *c = w->c;
    if (c->format == GN_COPY_BINARY) {
        gn_buf_append(&w->line, "PGCOPY\n\377\r\n\0", 11);
        gn_buf_append_be32(&w->line, 0);
        gn_buf_append_be32(&w->line, 0);
        return GN_OK;
    }
    if (!c->header)
        return GN_OK;
    for (uint32_t i = 0; i < plan->n_columns; i++) {
        if (i)
            gn_buf_append_u8(&w->line, (uint8_t)c->delimiter);
        gn_copy_print_field(c, UINT32_MAX, gn_bytes_str(plan->columns[i].name), &w->line);
    }
    gn_buf_append_u8(&w->line, '\n');
    return send(w);
}

static gn_code write_trailer(copy_writer *w)
{
    if (w->c->format != GN_COPY_BINARY)
        return GN_OK;
    gn_buf_append_be16(&w->line, UINT16_MAX);
    return send(w);
}

/* COPY t (a, b) TO is COPY (SELECT a, b FROM t) TO. */
static gn_code table_query(gn_copy *c, const gn_ast_query **out)
{
    gn_arena *arena = c->p->arena;
    gn_ast_query *q = gn_arena_calloc(arena, 1, sizeof *q);
    gn_ast_from *from = gn_arena_calloc(arena, 1, sizeof *from);
    gn_ast_from **froms = gn_arena_calloc(arena, 1, sizeof *froms);
    gn_ast_target *targets = gn_arena_calloc(arena, c->n_columns + 1, sizeof *targets);
    gn_ast_expr *exprs = gn_arena_calloc(arena, c->n_columns + 1, sizeof *exprs);
    if (!q || !from || !froms || !targets || !exprs)
        return gn_error_oom(c->err, &c->p->account);
    for (uint32_t i = 0; i < c->n_columns; i++) {
        exprs[i].kind = GN_A_COLUMN;
        exprs[i].column.name = c->table->columns[c->ordinals[i]].name;
        targets[i].expr = &exprs[i];
    }
    from->kind = GN_FROM_TABLE;
    from->name = c->ast->table;
    froms[0] = from;
    q->kind = GN_Q_SELECT;
    q->targets.items = targets;
    q->targets.n = c->n_columns;
    q->from.items = froms;
    q->from.n = 1;
    *out = q;
    return GN_OK;
}

static gn_code make_plan(gn_copy *c, gn_plan **plan)
{
    gn_plan_context context;
    gn_ast_statement statement = {.kind = GN_S_QUERY};
    const gn_ast_query *query = c->ast->query;
    gn_code code = query ? GN_OK : table_query(c, &query);
    if (code != GN_OK)
        return code;
    statement.query = (gn_ast_query *)query;
    gn_plan_context_of(c->s, &context);
    code = gn_plan_create(&context, &statement, NULL, 0, plan, c->err);
    if (code == GN_OK)
        c->n_columns = (*plan)->n_columns;
    return code;
}

gn_code gn_copy_out(gn_copy *c)
{
    copy_writer w = {.c = c};
    gn_plan *plan = NULL;
    const gn_sink *sink = c->s->sink;
    gn_buf_init(&w.line, &c->p->account, (size_t)GN_MAX_ROW * 2);
    gn_buf_init(&w.field, &c->p->account, (size_t)GN_MAX_ROW * 2);
    gn_code code = make_plan(c, &plan);
    if (code == GN_OK)
        code = gn_portal_exec_init(c->s, c->p, plan, false, c->err);
    if (code == GN_OK)
        code = gn_exec_open_query(&c->p->exec, plan->query, c->err);
    if (code == GN_OK)
        code = gone(c, sink->copy_out(sink->ctx, c->format == GN_COPY_BINARY, c->n_columns));
    if (code == GN_OK)
        code = write_header(&w, plan);
    if (code == GN_OK)
        code = write_rows(&w);
    if (code == GN_OK)
        code = write_trailer(&w);
    if (code == GN_OK)
        code = gone(c, sink->copy_out_done(sink->ctx));
    gn_exec_close(&c->p->exec);
    gn_plan_release(plan);
    gn_buf_close(&w.line);
    gn_buf_close(&w.field);
    return code;
}
