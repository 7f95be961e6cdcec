/* COPY: its options, and the ways in and out. */
#ifndef GN_COORD_COPY_PRIVATE_H
#define GN_COORD_COPY_PRIVATE_H

#include "coord/session_private.h"

typedef enum gn_copy_format { GN_COPY_TEXT, GN_COPY_CSV, GN_COPY_BINARY } gn_copy_format;

typedef struct gn_copy {
    gn_session *s;
    gn_portal *p;
    gn_error *err;
    const gn_ast_copy *ast;
    gn_copy_format format;
    bool header, match_header;
    char delimiter, quote, escape;
    gn_bytes null; /* the text that stands for NULL */
    /* tables */
    const gn_table_desc *table;
    gn_table_info *info;
    uint32_t *ordinals; /* of the table's columns, in the order of the data */
    uint32_t n_columns;
    bool *force_quote, *force_null, *force_not_null; /* by data column; NULL: none */
    gn_expr *where;                                  /* over a row's values as parameters; NULL: none */
    uint64_t n_rows;
    uint64_t commit_every; /* rows; 0: with the transaction */
    uint64_t n_committed;  /* rows read so far when it last did */
} gn_copy;

gn_code gn_copy_in(gn_copy *c);
gn_code gn_copy_out(gn_copy *c);

/* ---- input, cut into records: copy_text.c ---- */

typedef struct gn_copy_input {
    gn_copy *copy;
    gn_buf buf;
    size_t at, scanned; /* what is before `at` was given; up to `scanned` no record ends */
    bool eof, in_quotes;
    bool crlf, eol_known;
    uint64_t line;
} gn_copy_input;

void gn_copy_input_init(gn_copy_input *in, gn_copy *copy);
void gn_copy_input_close(gn_copy_input *in);
/* The next line (text) or record (CSV), without its end; valid until the next call. *more false: the end. */
gn_code gn_copy_record(gn_copy_input *in, gn_bytes *record, bool *more);
/* The next n bytes, valid until the next call. *more false: the input ended before them. */
gn_code gn_copy_bytes(gn_copy_input *in, size_t n, gn_bytes *bytes, bool *more);

typedef struct gn_copy_field {
    gn_bytes text;
    bool is_null;
} gn_copy_field;

/* Fields of a record; unescaped ones lie in the arena. Up to `room` are stored, *n counts all. */
gn_code gn_copy_split(const gn_copy *c, gn_bytes record, gn_arena *arena, gn_copy_field *fields, uint32_t room,
                      uint32_t *n);
/* One value as COPY TO prints it. */
void gn_copy_print_field(const gn_copy *c, uint32_t column, gn_bytes text, gn_buf *out);

#endif
