#include "ops/text.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *gn_text_bytes(uint64_t bytes, char out[32])
{
    static const char *const UNITS[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double v = (double)bytes;
    int unit = 0;
    while (v >= 1023.95 && unit < 6) {
        v /= 1024;
        unit++;
    }
    snprintf(out, 32, unit ? "%.1f %s" : "%.0f %s", v, UNITS[unit]);
    return out;
}

const char *gn_text_count(uint64_t n, char out[32])
{
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%" PRIu64, n), at = 0;
    for (int i = 0; i < len; i++) {
        if (i && (len - i) % 3 == 0)
            out[at++] = ',';
        out[at++] = digits[i];
    }
    out[at] = '\0';
    return out;
}

const char *gn_text_duration(uint64_t s, char out[32])
{
    if (s < 60)
        snprintf(out, 32, "%" PRIu64 "s", s);
    else if (s < 3600)
        snprintf(out, 32, "%" PRIu64 "m %02" PRIu64 "s", s / 60, s % 60);
    else if (s < 86400)
        snprintf(out, 32, "%" PRIu64 "h %02" PRIu64 "m", s / 3600, s % 3600 / 60);
    else
        snprintf(out, 32, "%" PRIu64 "d %" PRIu64 "h", s / 86400, s % 86400 / 3600);
    return out;
}

const char *gn_text_percent(uint64_t part, uint64_t whole, char out[32])
{
    snprintf(out, 32, "%.0f%%", whole ? 100.0 * (double)part / (double)whole : 100.0);
    return out;
}

void gn_text_table_init(gn_text_table *t, const char *const *heads, unsigned n)
{
    *t = (gn_text_table){.n_columns = n};
    for (unsigned i = 0; i < n; i++) {
        t->heads[i] = heads[i];
        t->right[i] = heads[i][strlen(heads[i]) - 1] == '>';
    }
}

void gn_text_cell(gn_text_table *t, const char *format, ...)
{
    if (t->at == 0)
        t->cells = gn_xrealloc(t->cells, (t->n_rows + 1) * t->n_columns * sizeof *t->cells);
    char *cell = t->cells[t->n_rows * t->n_columns + t->at];
    va_list args;
    va_start(args, format);
    vsnprintf(cell, GN_TEXT_CELL, format, args);
    va_end(args);
    for (char *p = cell; *p; p++) /* an address or reason from elsewhere does not steer the terminal */
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = '?';
    if (++t->at == t->n_columns) {
        t->at = 0;
        t->n_rows++;
    }
}

/* Of characters, each taken as one wide. */
static size_t width(const char *s)
{
    size_t n = 0;
    for (; *s; s++)
        n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

static void pad(gn_buf *out, size_t n)
{
    while (n--)
        gn_buf_append_u8(out, ' ');
}

static void write_row(const gn_text_table *t, const size_t *widths, const char *const *cells, gn_buf *out)
{
    for (unsigned i = 0; i < t->n_columns; i++) {
        size_t room = widths[i] - width(cells[i]);
        if (i)
            pad(out, 2);
        if (t->right[i])
            pad(out, room);
        gn_buf_append_str(out, cells[i]);
        if (!t->right[i] && i + 1 < t->n_columns)
            pad(out, room);
    }
    gn_buf_append_u8(out, '\n');
}

void gn_text_table_write(const gn_text_table *t, gn_buf *out)
{
    char heads[GN_TEXT_COLUMNS][64];
    const char *row[GN_TEXT_COLUMNS];
    size_t widths[GN_TEXT_COLUMNS];
    for (unsigned i = 0; i < t->n_columns; i++) {
        snprintf(heads[i], sizeof heads[i], "%.*s", (int)(strlen(t->heads[i]) - t->right[i]), t->heads[i]);
        widths[i] = width(heads[i]);
        for (size_t r = 0; r < t->n_rows; r++) {
            size_t w = width(t->cells[r * t->n_columns + i]);
            widths[i] = w > widths[i] ? w : widths[i];
        }
        row[i] = heads[i];
    }
    write_row(t, widths, row, out);
    for (size_t r = 0; r < t->n_rows; r++) {
        for (unsigned i = 0; i < t->n_columns; i++)
            row[i] = t->cells[r * t->n_columns + i];
        write_row(t, widths, row, out);
    }
}

void gn_text_table_close(gn_text_table *t)
{
    free(t->cells);
    *t = (gn_text_table){0};
}
