/* What people read: numbers with units, tables with columns. */
#ifndef GN_OPS_TEXT_H
#define GN_OPS_TEXT_H

#include "base/buf.h"

enum { GN_TEXT_CELL = 160, GN_TEXT_COLUMNS = 16 };

/* Each writes into out, which it returns. */
const char *gn_text_bytes(uint64_t bytes, char out[32]); /* "1.5 GiB" */
const char *gn_text_count(uint64_t n, char out[32]);     /* "1,234,567" */
const char *gn_text_duration(uint64_t s, char out[32]);  /* "3d 4h", "5m 02s" */
const char *gn_text_percent(uint64_t part, uint64_t whole, char out[32]);

/* Columns as wide as their widest cell; numbers to the right. */
typedef struct gn_text_table {
    unsigned n_columns;
    const char *heads[GN_TEXT_COLUMNS];
    bool right[GN_TEXT_COLUMNS];
    size_t n_rows;
    char (*cells)[GN_TEXT_CELL]; /* row after row */
    unsigned at;                 /* cells of the row that is being written */
} gn_text_table;

/* heads: "NODE>,ADDRESS,..."; '>' at the end of one: its cells stand to the right. The text must stay. */
void gn_text_table_init(gn_text_table *table, const char *const *heads, unsigned n);
void gn_text_cell(gn_text_table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));
void gn_text_table_write(const gn_text_table *table, gn_buf *out);
void gn_text_table_close(gn_text_table *table);

#endif
