/* COPY FROM: records become rows of the transaction. */
#include "base/limits.h"
#include "coord/copy_private.h"

typedef struct copy_reader {
    gn_copy *c;
    gn_copy_input in;
    gn_copy_field *fields;
    gn_value *row;   /* by the table's columns */
    bool *given;     /* in the data */
    gn_arena *arena; /* of one row */
    gn_eval eval;
} copy_reader;

/* ---- where an error happened ---- */

enum { MAX_CONTEXT_TEXT = 80 };

static int shown(gn_bytes text)
{
    size_t n = text.len < MAX_CONTEXT_TEXT ? text.len : MAX_CONTEXT_TEXT;
    while (n < text.len && n > 0 && (text.data[n] & 0xc0) == 0x80)
        n--;
    return (int)n;
}

static gn_code at_line(copy_reader *r, gn_bytes record, gn_code code)
{
    const gn_copy *c = r->c;
    if (!c->err || c->err->context[0])
        return code;
    if (record.data && c->format != GN_COPY_BINARY)
        gn_error_context(c->err, "COPY %s, line %llu: \"%.*s%s\"", c->table->name, (unsigned long long)r->in.line,
                         shown(record), (const char *)record.data, record.len > MAX_CONTEXT_TEXT ? "..." : "");
    else
        gn_error_context(c->err, "COPY %s, line %llu", c->table->name, (unsigned long long)r->in.line);
    return code;
}

static gn_code at_column(copy_reader *r, uint32_t column, gn_bytes text, gn_code code)
{
    const gn_copy *c = r->c;
    const char *name = c->table->columns[c->ordinals[column]].name;
    if (!c->err)
        return code;
    char inner[sizeof c->err->context]; /* where in the value */
    memcpy(inner, c->err->context, sizeof inner);
    const char *line_feed = inner[0] ? "\n" : "";
    if (c->format == GN_COPY_BINARY)
        gn_error_context(c->err, "%s%sCOPY %s, line %llu, column %s", inner, line_feed, c->table->name,
                         (unsigned long long)r->in.line, name);
    else
        gn_error_context(c->err, "%s%sCOPY %s, line %llu, column %s: \"%.*s%s\"", inner, line_feed, c->table->name,
                         (unsigned long long)r->in.line, name, shown(text), (const char *)text.data,
                         text.len > MAX_CONTEXT_TEXT ? "..." : "");
    return code;
}

/* ---- rows ---- */

/* What has come so far is committed, and the rest goes on in another transaction, of the same table. */
static gn_code commit_so_far(gn_copy *c)
{
    gn_code code = gn_session_commit_part(c->s, c->err);
    if (code != GN_OK)
        return code;
    c->n_committed = c->n_rows;
    const gn_table_desc *now = gn_dtxn_table(c->s->txn, c->table->id);
    if (now && now->version == c->table->version && now->data_epoch == c->table->data_epoch)
        return GN_OK;
    return gn_error_set(c->err, GN_NOT_IN_STATE, "table \"%s\" has been changed meanwhile", c->table->name);
}

static gn_code keep_row(copy_reader *r)
{
    gn_copy *c = r->c;
    gn_code code = GN_OK;
    for (uint32_t i = 0; i < c->table->n_columns && code == GN_OK; i++)
        if (!r->given[i])
            code = gn_row_default(c->s->db->cluster, c->info, i, &r->eval, &r->row[i], c->err);
    if (code == GN_OK && c->where) {
        gn_value wanted;
        code = gn_expr_eval_one(c->where, &r->eval, &wanted);
        if (code == GN_OK && (wanted.is_null || !wanted.as.boolean))
            return GN_OK;
    }
    if (code == GN_OK)
        code = gn_row_finish(c->info, r->row, &r->eval, c->err);
    if (code == GN_OK)
        code = gn_dtxn_insert(c->s->txn, c->table, r->row, c->err);
    if (code == GN_OK)
        c->n_rows++;
    if (code == GN_OK && c->commit_every && c->n_rows - c->n_committed == c->commit_every)
        code = commit_so_far(c);
    return code;
}

/* What lies in the input until the row is encoded need not be copied; the text must be valid, though. */
static gn_code parse_field(copy_reader *r, uint32_t i, const gn_copy_field *f)
{
    gn_copy *c = r->c;
    uint32_t ordinal = c->ordinals[i];
    gn_value *v = &r->row[ordinal];
    gn_type type = c->table->columns[ordinal].type;
    if (f->is_null) {
        *v = gn_value_null(type);
        return GN_OK;
    }
    size_t bad;
    if (!gn_utf8_valid(f->text, &bad))
        return at_line(r, gn_bytes_of(NULL, 0),
                       gn_error_set(c->err, GN_INVALID_ENCODING, "invalid byte sequence for encoding \"UTF8\": 0x%02x",
                                    f->text.data[bad]));
    gn_code code = gn_value_parse(f->text, type, &c->s->format, r->arena, v, c->err);
    if (code == GN_OK)
        v->type = type;
    return code == GN_OK ? code : at_column(r, i, f->text, code);
}

static gn_code read_record(copy_reader *r, gn_bytes record)
{
    gn_copy *c = r->c;
    uint32_t n;
    gn_arena_reset(r->arena);
    gn_code code = gn_copy_split(c, record, r->arena, r->fields, c->n_columns, &n);
    if (code != GN_OK)
        return at_line(r, record, code);
    if (n > c->n_columns)
        return at_line(r, record, gn_error_set(c->err, GN_BAD_COPY, "extra data after last expected column"));
    if (n < c->n_columns)
        return at_line(r, record,
                       gn_error_set(c->err, GN_BAD_COPY, "missing data for column \"%s\"",
                                    c->table->columns[c->ordinals[n]].name));
    for (uint32_t i = 0; i < n; i++) {
        code = parse_field(r, i, &r->fields[i]);
        if (code != GN_OK)
            return code;
    }
    code = keep_row(r);
    return code == GN_OK ? code : at_line(r, record, code);
}

static gn_code check_header(copy_reader *r, gn_bytes record)
{
    gn_copy *c = r->c;
    uint32_t n;
    gn_code code = gn_copy_split(c, record, r->arena, r->fields, c->n_columns, &n);
    if (code == GN_OK && n != c->n_columns)
        code = gn_error_set(c->err, GN_BAD_COPY, "wrong number of fields in header line: got %u, expected %u", n,
                            c->n_columns);
    for (uint32_t i = 0; i < n && code == GN_OK; i++) {
        const char *name = c->table->columns[c->ordinals[i]].name;
        if (gn_bytes_eq(r->fields[i].text, gn_bytes_str(name)))
            continue;
        code = gn_error_set(c->err, GN_BAD_COPY,
                            "column name mismatch in header line field %u: got \"%.*s\", expected \"%s\"", i + 1,
                            shown(r->fields[i].text), (const char *)r->fields[i].text.data, name);
    }
    return code == GN_OK ? code : at_line(r, record, code);
}

static gn_code read_lines(copy_reader *r)
{
    bool header = r->c->header;
    for (;;) {
        gn_bytes record;
        bool more;
        gn_code code = gn_copy_record(&r->in, &record, &more);
        if (code != GN_OK)
            return at_line(r, gn_bytes_of(NULL, 0), code);
        if (!more)
            return GN_OK;
        if (header)
            code = r->c->match_header ? check_header(r, record) : GN_OK;
        else
            code = read_record(r, record);
        header = false;
        if (code != GN_OK)
            return code;
    }
}

/* ---- binary ---- */

static const char signature[11] = "PGCOPY\n\377\r\n";

static uint32_t be32(gn_bytes b)
{
    return (uint32_t)b.data[0] << 24 | (uint32_t)b.data[1] << 16 | (uint32_t)b.data[2] << 8 | b.data[3];
}

static gn_code bad(copy_reader *r, const char *what)
{
    return gn_error_set(r->c->err, GN_BAD_COPY, "%s", what);
}

static gn_code need(copy_reader *r, size_t n, gn_bytes *bytes, const char *otherwise)
{
    bool more;
    gn_code code = gn_copy_bytes(&r->in, n, bytes, &more);
    return code == GN_OK && !more ? bad(r, otherwise) : code;
}

static gn_code read_signature(copy_reader *r)
{
    gn_bytes b;
    gn_code code = need(r, sizeof signature, &b, "COPY file signature not recognized");
    if (code == GN_OK && memcmp(b.data, signature, sizeof signature) != 0)
        return bad(r, "COPY file signature not recognized");
    if (code == GN_OK)
        code = need(r, 4, &b, "invalid COPY file header (missing flags)");
    if (code == GN_OK && (be32(b) >> 16))
        return bad(r, "unrecognized critical flags in COPY file header");
    if (code == GN_OK)
        code = need(r, 4, &b, "invalid COPY file header (missing length)");
    if (code == GN_OK && be32(b) > GN_MAX_ROW)
        return bad(r, "invalid COPY file header (wrong length)");
    return code == GN_OK ? need(r, be32(b), &b, "invalid COPY file header (wrong length)") : code;
}

static gn_code read_binary_field(copy_reader *r, uint32_t i)
{
    gn_copy *c = r->c;
    uint32_t ordinal = c->ordinals[i];
    gn_type type = c->table->columns[ordinal].type;
    gn_bytes b;
    gn_code code = need(r, 4, &b, "unexpected EOF in COPY data");
    if (code != GN_OK)
        return code;
    int32_t len = (int32_t)be32(b);
    r->row[ordinal] = gn_value_null(type);
    if (len == -1)
        return GN_OK;
    if (len < 0 || len > GN_MAX_FIELD)
        return bad(r, "invalid field size");
    code = need(r, (size_t)len, &b, "unexpected EOF in COPY data");
    if (code != GN_OK)
        return code;
    /* the buffer moves with the next read, the row is encoded only after its last field */
    void *copy = gn_arena_memdup(r->arena, len ? (const void *)b.data : "", (size_t)len);
    if (!copy)
        return gn_error_oom(c->err, &c->p->account);
    gn_type bare = type;
    bare.typmod = -1;
    gn_value v;
    code = gn_value_recv(gn_bytes_of(copy, (size_t)len), bare, r->arena, &v, c->err);
    if (code == GN_OK && type.typmod >= 0)
        code = gn_value_cast(&v, type, GN_CAST_ASSIGNMENT, &c->s->format, r->arena, &r->row[ordinal], c->err);
    else if (code == GN_OK)
        r->row[ordinal] = v;
    r->row[ordinal].type = type;
    return code == GN_OK ? code : at_column(r, i, gn_bytes_of(NULL, 0), code);
}

static gn_code read_binary(copy_reader *r)
{
    gn_copy *c = r->c;
    gn_code code = read_signature(r);
    while (code == GN_OK) {
        gn_bytes b;
        bool more;
        code = gn_copy_bytes(&r->in, 2, &b, &more);
        if (code != GN_OK || !more)
            return code;
        int16_t n = (int16_t)(b.data[0] << 8 | b.data[1]);
        if (n == -1)
            return GN_OK;
        r->in.line++;
        if ((uint32_t)n != c->n_columns)
            return at_line(r, b,
                           gn_error_set(c->err, GN_BAD_COPY, "row field count is %d, expected %u", n, c->n_columns));
        gn_arena_reset(r->arena);
        for (uint32_t i = 0; i < c->n_columns && code == GN_OK; i++)
            code = read_binary_field(r, i);
        if (code == GN_OK)
            code = keep_row(r);
        if (code != GN_OK)
            return at_line(r, gn_bytes_of(NULL, 0), code);
    }
    return code;
}

/* ---- the whole ---- */

static gn_code init_reader(copy_reader *r, gn_copy *c)
{
    gn_arena *arena = c->p->arena;
    uint32_t n = c->table->n_columns;
    *r = (copy_reader){.c = c};
    r->arena = gn_arena_create(&c->p->account);
    gn_copy_input_init(&r->in, c);
    r->fields = gn_arena_calloc(arena, c->n_columns + 1, sizeof *r->fields);
    r->row = gn_arena_calloc(arena, n + 1, sizeof *r->row);
    r->given = gn_arena_calloc(arena, n + 1, sizeof *r->given);
    if (!r->fields || !r->row || !r->given)
        return gn_error_oom(c->err, &c->p->account);
    for (uint32_t i = 0; i < n; i++)
        r->row[i] = gn_value_null(c->table->columns[i].type);
    for (uint32_t i = 0; i < c->n_columns; i++)
        r->given[c->ordinals[i]] = true;
    r->eval = (gn_eval){.format = &c->s->format,
                        .arena = r->arena,
                        .params = r->row,
                        .n_params = n,
                        .err = c->err,
                        .cancel = &c->s->cancel,
                        .session = c->s,
                        .hooks = &gn_coord_hooks};
    return GN_OK;
}

gn_code gn_copy_in(gn_copy *c)
{
    copy_reader r;
    const gn_sink *sink = c->s->sink;
    gn_code code = init_reader(&r, c);
    if (code == GN_OK)
        code = sink->copy_in(sink->ctx, c->format == GN_COPY_BINARY, c->n_columns);
    if (code == GN_OK)
        code = c->format == GN_COPY_BINARY ? read_binary(&r) : read_lines(&r);
    if (code != GN_OK && c->n_committed)
        gn_error_hint(c->err, "%llu rows before that have been committed.", (unsigned long long)c->n_committed);
    gn_copy_input_close(&r.in);
    gn_arena_destroy(r.arena);
    return code;
}
