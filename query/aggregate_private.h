/* How aggregates are described and run. A state is a block of zeroed memory of a fixed size; zero is the empty state.
 * What it points to lives in the operator's arena. */
#ifndef GN_QUERY_AGGREGATE_PRIVATE_H
#define GN_QUERY_AGGREGATE_PRIVATE_H

#include "query/function_private.h"

enum {
    GN_A_NULLS = 1, /* sees rows whose arguments are NULL; otherwise they are left out */
    GN_A_ORDER = 2, /* its result depends on the order of the rows */
};

/* One aggregate of one statement, at work on one batch. */
typedef struct gn_aggregation {
    const gn_aggregate *aggregate;
    const gn_type *arg_types; /* settled */
    gn_type result;
    const gn_eval *eval; /* its arena keeps what states point to; update and finish fail into its err */
    const gn_column *args;
    const uint16_t *rows; /* the rows to add, never NULL */
    uint32_t n;
    void *const *states; /* states[i]: of the group that rows[i] belongs to */
} gn_aggregation;

struct gn_aggregate {
    const char *name;
    gn_type result;
    uint8_t n_args;
    uint8_t flags;
    uint8_t op;
    gn_type args[2];
    uint32_t state_size;
    gn_code (*update)(const gn_aggregation *run);
    gn_code (*finish)(const gn_aggregation *run, void *state, gn_value *out); /* out: type set, not NULL */
    void (*destroy)(void *state); /* NULL: nothing outside the arena; also for states that are still empty */
    /* A state as bytes, for another node, and such bytes added to a state: as if the rows behind them had been. NULL:
     * it cannot be done, since the result depends on what stands where. merge: GN_CORRUPT for what save never wrote. */
    gn_code (*save)(const gn_aggregation *run, const void *state, gn_buf *out);
    gn_code (*merge)(const gn_aggregation *run, void *state, gn_bytes saved);
};

gn_code gn_state_corrupt(const gn_aggregation *run);
/* All of a state's numbers were there, and nothing else. */
static inline bool gn_state_read(const gn_reader *in)
{
    return !in->failed && gn_reader_left(in) == 0;
}

typedef struct gn_aggregate_list {
    const gn_aggregate *aggregates;
    uint32_t n;
} gn_aggregate_list;

extern const gn_aggregate_list gn_aggregates_basic, gn_aggregates_numeric, gn_aggregates_interval,
    gn_aggregates_collect, gn_aggregates_array;

/* What stands in place of the state of a call with ORDER BY; zero is empty. Memory is the arena's of the updates. */
typedef struct gn_ordered {
    gn_value *cells;
    uint32_t n, room; /* rows */
} gn_ordered;
struct gn_aggregate_call;
/* run->states are gn_ordered; keys: the columns of the sort keys. */
gn_code gn_ordered_add(const struct gn_aggregate_call *call, const gn_aggregation *run, const gn_column *keys);
/* run: as for finish. */
gn_code gn_ordered_finish(const struct gn_aggregate_call *call, const gn_aggregation *run, const gn_ordered *s,
                          gn_value *out);

size_t gn_aggregate_state_size(const gn_aggregate *a); /* rounded up to 16 */

/* Copies bytes into memory that a state keeps and may use again: *room is what *at has. */
gn_code gn_state_keep(const gn_eval *eval, gn_bytes bytes, uint8_t **at, size_t *room);

#endif
