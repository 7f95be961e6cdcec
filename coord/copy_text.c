/* COPY's text and CSV: the input cut into records and fields, values printed. Records are found with memchr, and fields
 * without anything to unescape point into the input, so that a plain row costs a few passes over its bytes. */
#include "base/limits.h"
#include "coord/copy_private.h"

/* ---- records ---- */

void gn_copy_input_init(gn_copy_input *in, gn_copy *copy)
{
    *in = (gn_copy_input){.copy = copy};
    gn_buf_init(&in->buf, &copy->p->account, (size_t)GN_MAX_ROW + GN_MAX_FRAME);
}

void gn_copy_input_close(gn_copy_input *in)
{
    gn_buf_close(&in->buf);
}

/* One more piece of input behind what is left of the buffer. */
static gn_code read_more(gn_copy_input *in)
{
    gn_copy *c = in->copy;
    const gn_sink *sink = c->s->sink;
    gn_bytes piece;
    bool more = false;
    gn_buf_consume(&in->buf, in->at);
    in->scanned -= in->at;
    in->at = 0;
    gn_code code = sink->copy_in_read(sink->ctx, &piece, &more, c->err);
    if (code != GN_OK)
        return code;
    if (c->s->cancel)
        return gn_error_set(c->err, GN_CANCELED, "canceling statement due to user request");
    if (!more) {
        in->eof = true;
        return GN_OK;
    }
    if (in->buf.len > GN_MAX_ROW)
        return gn_error_set(c->err, GN_LIMIT, "a line of COPY may have at most %d bytes", GN_MAX_ROW);
    if (!gn_buf_append_bytes(&in->buf, piece))
        return gn_error_oom(c->err, &c->p->account);
    return GN_OK;
}

gn_code gn_copy_bytes(gn_copy_input *in, size_t n, gn_bytes *bytes, bool *more)
{
    while (in->buf.len - in->at < n && !in->eof) {
        gn_code code = read_more(in);
        if (code != GN_OK)
            return code;
    }
    *more = in->buf.len - in->at >= n;
    if (*more) {
        *bytes = gn_bytes_of(in->buf.data + in->at, n);
        in->at += n;
        in->scanned = in->at;
    }
    return GN_OK;
}

/* A newline behind an odd number of backslashes is data. */
static bool is_escaped(const gn_copy_input *in, size_t newline)
{
    size_t n = 0;
    while (newline - n > in->at && in->buf.data[newline - n - 1] == '\\')
        n++;
    return n & 1;
}

/* Quotes between `from` and `to` change whether a newline is within quotes. Where quotes are escaped by themselves, an
 * escaped one toggles twice and needs no care. */
static void count_quotes(gn_copy_input *in, size_t from, size_t to)
{
    const gn_copy *c = in->copy;
    const uint8_t *p = in->buf.data + from, *end = in->buf.data + to;
    if (c->escape == c->quote) {
        while ((p = memchr(p, c->quote, (size_t)(end - p)))) {
            in->in_quotes = !in->in_quotes;
            p++;
        }
        return;
    }
    for (; p < end; p++) {
        if (in->in_quotes && *p == (uint8_t)c->escape && p + 1 < end)
            p++;
        else if (*p == (uint8_t)c->quote)
            in->in_quotes = !in->in_quotes;
    }
}

/* Where the record at `at` ends; false: not within the buffer. */
static bool find_end(gn_copy_input *in, size_t *end)
{
    bool csv = in->copy->format == GN_COPY_CSV;
    while (in->scanned < in->buf.len) {
        const uint8_t *from = in->buf.data + in->scanned;
        const uint8_t *newline = memchr(from, '\n', in->buf.len - in->scanned);
        size_t at = newline ? (size_t)(newline - in->buf.data) : in->buf.len;
        if (!newline && csv && in->copy->escape != in->copy->quote)
            return false; /* an escape may be the buffer's last byte: look at all of it again */
        if (csv)
            count_quotes(in, in->scanned, at);
        in->scanned = at + (newline != NULL);
        if (newline && !(csv ? in->in_quotes : is_escaped(in, at))) {
            *end = at;
            return true;
        }
    }
    return false;
}

static gn_bytes without_carriage_return(gn_copy_input *in, gn_bytes record)
{
    bool cr = record.len && record.data[record.len - 1] == '\r';
    if (!in->eol_known) {
        in->eol_known = true;
        in->crlf = cr;
    }
    if (in->crlf && cr)
        record.len--;
    return record;
}

gn_code gn_copy_record(gn_copy_input *in, gn_bytes *record, bool *more)
{
    size_t end;
    in->scanned = in->at;
    in->in_quotes = false;
    while (!find_end(in, &end)) {
        if (in->eof) {
            end = in->buf.len;
            break;
        }
        gn_code code = read_more(in);
        if (code != GN_OK)
            return code;
    }
    *more = end > in->at || !in->eof || end < in->buf.len;
    *record = gn_bytes_of(in->buf.data + in->at, end - in->at);
    in->at = end < in->buf.len ? end + 1 : end;
    in->line++;
    *record = without_carriage_return(in, *record);
    if (in->eof && in->in_quotes && in->copy->format == GN_COPY_CSV)
        return gn_error_set(in->copy->err, GN_BAD_COPY, "unterminated CSV quoted field");
    /* a line of only \. ends the data, whatever the protocol says of its end */
    if (*more && record->len == 2 && record->data[0] == '\\' && record->data[1] == '.')
        *more = false;
    return GN_OK;
}

/* ---- fields of text ---- */

static unsigned hex(uint8_t c)
{
    return c >= '0' && c <= '9' ? c - (unsigned)'0' : (c | 32u) >= 'a' && (c | 32u) <= 'f' ? (c | 32u) - 'a' + 10 : 16;
}

/* Takes the escape at p (behind the backslash) and writes its byte. */
static const uint8_t *unescape_one(const uint8_t *p, const uint8_t *end, uint8_t *out)
{
    static const char letters[] = "bfnrtv", bytes[] = "\b\f\n\r\t\v";
    const char *letter = *p ? strchr(letters, *p) : NULL;
    if (letter) {
        *out = (uint8_t)bytes[letter - letters];
        return p + 1;
    }
    if (*p >= '0' && *p <= '7') {
        unsigned v = 0;
        for (int i = 0; i < 3 && p < end && *p >= '0' && *p <= '7'; i++)
            v = v * 8 + (unsigned)(*p++ - '0');
        *out = (uint8_t)v;
        return p;
    }
    if (*p == 'x' && p + 1 < end && hex(p[1]) < 16) {
        unsigned v = hex(p[1]);
        p += 2;
        if (p < end && hex(*p) < 16)
            v = v * 16 + hex(*p++);
        *out = (uint8_t)v;
        return p;
    }
    *out = *p;
    return p + 1;
}

static gn_bytes unescape(gn_bytes raw, gn_arena *arena)
{
    uint8_t *copy = gn_arena_alloc(arena, raw.len), *to = copy;
    if (!copy)
        return gn_bytes_of(NULL, SIZE_MAX);
    const uint8_t *p = raw.data, *end = raw.data + raw.len;
    while (p < end) {
        if (*p == '\\' && p + 1 < end)
            p = unescape_one(p + 1, end, to++);
        else
            *to++ = *p++;
    }
    return gn_bytes_of(copy, (size_t)(to - copy));
}

/* The delimiter that ends the field at p, past escaped ones. */
static const uint8_t *text_field_end(const uint8_t *p, const uint8_t *end, uint8_t delimiter, bool escapes)
{
    if (!escapes) {
        const uint8_t *d = memchr(p, delimiter, (size_t)(end - p));
        return d ? d : end;
    }
    for (; p < end && *p != delimiter; p++)
        if (*p == '\\' && p + 1 < end)
            p++;
    return p;
}

static gn_code split_text(const gn_copy *c, gn_bytes record, gn_arena *arena, gn_copy_field *fields, uint32_t room,
                          uint32_t *n)
{
    const uint8_t *p = record.data, *end = record.data + record.len;
    bool escapes = record.len && memchr(p, '\\', record.len);
    *n = 0;
    for (;;) {
        const uint8_t *stop = text_field_end(p, end, (uint8_t)c->delimiter, escapes);
        gn_bytes raw = gn_bytes_of(p, (size_t)(stop - p));
        if (*n < room) {
            gn_copy_field *f = &fields[*n];
            f->is_null = gn_bytes_eq(raw, c->null);
            f->text = raw;
            if (escapes && !f->is_null && raw.len && memchr(raw.data, '\\', raw.len))
                f->text = unescape(raw, arena);
            if (f->text.len == SIZE_MAX)
                return gn_error_oom(c->err, &c->p->account);
        }
        (*n)++;
        if (stop == end)
            return GN_OK;
        p = stop + 1;
    }
}

/* ---- fields of CSV ---- */

/* A field with quotes somewhere in it: "a ""b"" c", or even a"b"c. */
static gn_code quoted_field(const gn_copy *c, const uint8_t **at, const uint8_t *end, gn_arena *arena, gn_bytes *text)
{
    const uint8_t *p = *at;
    uint8_t *copy = gn_arena_alloc(arena, (size_t)(end - p) + 1), *to = copy;
    bool inside = false;
    if (!copy)
        return gn_error_oom(c->err, &c->p->account);
    for (; p < end && (inside || *p != (uint8_t)c->delimiter); p++) {
        if (!inside) {
            if (*p == (uint8_t)c->quote)
                inside = true;
            else
                *to++ = *p;
        } else if (*p == (uint8_t)c->escape && p + 1 < end &&
                   (p[1] == (uint8_t)c->quote || p[1] == (uint8_t)c->escape)) {
            *to++ = *++p;
        } else if (*p == (uint8_t)c->quote) {
            inside = false;
        } else {
            *to++ = *p;
        }
    }
    if (inside)
        return gn_error_set(c->err, GN_BAD_COPY, "unterminated CSV quoted field");
    *at = p;
    *text = gn_bytes_of(copy, (size_t)(to - copy));
    return GN_OK;
}

static bool forced(const bool *list, uint32_t column)
{
    return list && column != UINT32_MAX && list[column];
}

static gn_code split_csv(const gn_copy *c, gn_bytes record, gn_arena *arena, gn_copy_field *fields, uint32_t room,
                         uint32_t *n)
{
    const uint8_t *p = record.data, *end = record.data + record.len;
    bool quotes = record.len && memchr(p, c->quote, record.len);
    *n = 0;
    for (;;) {
        const uint8_t *stop = memchr(p, c->delimiter, (size_t)(end - p));
        if (!stop)
            stop = end;
        gn_bytes text = gn_bytes_of(p, (size_t)(stop - p));
        bool quoted = quotes && text.len && memchr(p, c->quote, text.len);
        if (quoted) {
            stop = p;
            gn_code code = quoted_field(c, &stop, end, arena, &text);
            if (code != GN_OK)
                return code;
        }
        if (*n < room) {
            bool matches = gn_bytes_eq(text, c->null);
            fields[*n].is_null =
                quoted ? matches && forced(c->force_null, *n) : matches && !forced(c->force_not_null, *n);
            fields[*n].text = text;
        }
        (*n)++;
        if (stop == end)
            return GN_OK;
        p = stop + 1;
    }
}

gn_code gn_copy_split(const gn_copy *c, gn_bytes record, gn_arena *arena, gn_copy_field *fields, uint32_t room,
                      uint32_t *n)
{
    if (room == 0 && record.len == 0)
        return *n = 0, GN_OK;
    return c->format == GN_COPY_CSV ? split_csv(c, record, arena, fields, room, n)
                                    : split_text(c, record, arena, fields, room, n);
}

/* ---- printing ---- */

static void print_text(const gn_copy *c, gn_bytes text, gn_buf *out)
{
    static const char bytes[] = "\b\f\n\r\t\v\\", letters[] = "bfnrtv\\";
    const uint8_t *p = text.data, *end = text.data + text.len, *plain = p;
    for (; p < end; p++) {
        const char *at = *p <= '\\' && *p ? strchr(bytes, *p) : NULL;
        if (!at && *p != (uint8_t)c->delimiter)
            continue;
        gn_buf_append(out, plain, (size_t)(p - plain));
        gn_buf_append_u8(out, '\\');
        gn_buf_append_u8(out, at ? (uint8_t)letters[at - bytes] : *p);
        plain = p + 1;
    }
    gn_buf_append(out, plain, (size_t)(end - plain));
}

static bool needs_quotes(const gn_copy *c, uint32_t column, gn_bytes text)
{
    if (forced(c->force_quote, column) || gn_bytes_eq(text, c->null))
        return true;
    if (c->n_columns == 1 && text.len == 2 && memcmp(text.data, "\\.", 2) == 0)
        return true;
    for (size_t i = 0; i < text.len; i++) {
        char ch = (char)text.data[i];
        if (ch == c->delimiter || ch == c->quote || ch == '\n' || ch == '\r')
            return true;
    }
    return false;
}

static void print_csv(const gn_copy *c, uint32_t column, gn_bytes text, gn_buf *out)
{
    if (!needs_quotes(c, column, text)) {
        gn_buf_append_bytes(out, text);
        return;
    }
    gn_buf_append_u8(out, (uint8_t)c->quote);
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] == (uint8_t)c->quote || text.data[i] == (uint8_t)c->escape)
            gn_buf_append_u8(out, (uint8_t)c->escape);
        gn_buf_append_u8(out, text.data[i]);
    }
    gn_buf_append_u8(out, (uint8_t)c->quote);
}

void gn_copy_print_field(const gn_copy *c, uint32_t column, gn_bytes text, gn_buf *out)
{
    if (c->format == GN_COPY_CSV)
        print_csv(c, column, text, out);
    else
        print_text(c, text, out);
}
