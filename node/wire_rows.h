/* Results into wire messages: the sink that a connection gives to its session. */
#ifndef GN_NODE_WIRE_ROWS_H
#define GN_NODE_WIRE_ROWS_H

#include "coord/session.h"
#include "node/wire.h"

/* Formats of result columns as Bind gave them: none = all text, one = for all, or one for each. */
typedef struct gn_formats {
    uint16_t n;
    uint16_t *items; /* 0 text, 1 binary */
} gn_formats;

static inline bool gn_format_is_binary(const gn_formats *formats, uint32_t column)
{
    if (formats->n == 0)
        return false;
    return formats->items[formats->n == 1 ? 0 : column] == 1;
}

typedef struct gn_wire_output {
    gn_wire *wire;
    const gn_session *session;
    const gn_formats *formats;
    gn_error *err; /* where a failure of sending goes */
    bool in_copy;  /* COPY FROM STDIN is under way: copy messages belong to it */
    bool broken;   /* the stream cannot be followed any more: end the connection */
} gn_wire_output;

gn_sink gn_wire_sink(gn_wire_output *output);

/* RowDescription; NoData when n is 0 and columns NULL. */
gn_code gn_wire_row_description(gn_wire *wire, const gn_result_column *columns, uint32_t n, const gn_formats *formats,
                                gn_error *err);

#endif
