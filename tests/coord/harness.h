/* A database in a scratch directory, and a sink that writes what a client would see as plain lines. */
#ifndef GN_TESTS_COORD_HARNESS_H
#define GN_TESTS_COORD_HARNESS_H

#include "coord/session.h"

typedef struct harness {
    char dir[128];
    gn_world *world;
    gn_db *db;
    gn_session *session;
    gn_buf out; /* what the sink wrote */
    gn_bytes copy_data;
    size_t copy_at, copy_piece; /* given in pieces of so many bytes; 0 = at once */
    gn_sink sink;
    uint32_t n_columns;
    uint64_t n_rows;
    bool described;
} harness;

void harness_open(harness *h, const char *name);
void harness_close(harness *h);
/* Closes and opens the database again, on the same directory. */
void harness_reopen(harness *h, bool clean);
gn_session *harness_session(harness *h);
/* Runs a text by the simple protocol; what came is in h->out, errors as lines, too. Returns the code. */
gn_code harness_run(harness *h, const char *sql);
/* The same, and the test fails unless it succeeds. */
void harness_must(harness *h, const char *sql);
/* What was printed, NUL-terminated. */
const char *harness_text(harness *h);
void harness_print_error(gn_buf *out, const char *what, gn_code code, const gn_error *err);

#endif
