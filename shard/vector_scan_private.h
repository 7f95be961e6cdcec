/* A scan in order of distance, from inside: vector_search.c finds candidates, vector_scan.c makes rows of them. */
#ifndef GN_SHARD_VECTOR_SCAN_PRIVATE_H
#define GN_SHARD_VECTOR_SCAN_PRIVATE_H

#include "shard/batch_fill_private.h"
#include "shard/overlay_private.h"
#include "shard/txn_private.h"
#include "shard/vector_feed_private.h"

typedef struct gn_vector_candidate {
    double distance;
    gn_bytes key;
    gn_scn begin_scn; /* 0: not known */
    gn_bytes row;     /* of an own row */
} gn_vector_candidate;

struct gn_vector_scan {
    gn_scan_link link;
    gn_txn *txn; /* NULL after the transaction's end */
    const gn_vector_scan_spec *spec;
    gn_batch_fill fill;
    gn_vector_scan_stats stats; /* stats.way is how candidates are found now */
    uint32_t vector_ordinal;
    float *vector; /* aligned room */
    float query_norm;
    gn_arena *scratch; /* of one row, or of one call of the filter */
    int32_t *places;   /* key part -> column of the batch, -1: none; NULL: rows have to be read */
    gn_value *key_values;

    gn_feed *feed; /* NULL: there is no live index */
    gn_vview *view;
    gn_overlay seen; /* keys that were given or looked at */
    uint64_t k;      /* of the next search */
    double beyond;   /* nothing farther away need be given */

    gn_arena *arena; /* of the candidates at hand */
    gn_vector_candidate *found;
    size_t n_found, at;
    bool exhausted;
    bool has_last; /* rows: everything up to here was given */
    double last_distance;
    gn_buf last_key;

    const gn_vector_candidate **taken; /* of each row of the batch under way; in its arena */

    gn_arena *key_arena; /* of the list */
    gn_bytes *keys;
    size_t n_keys;
    uint64_t keys_tried; /* a list of so many was not enough for the ranges */
    bool own_unmeasured; /* an own row has no distance */

    gn_batch_fill pass_fill; /* rows of a pass that the filter is asked about */
    gn_batch pass;
    gn_bytes *pass_keys;
    double *pass_distances;
    gn_scn *pass_scns;

    gn_vmemo *memo; /* what the filter said of rows; NULL: it cannot be kept */
    /* What each bound says of rows, once that was worth listing. */
    gn_vmemo *told[GN_VECTOR_MOST_BOUNDS];
    const gn_vector_bound *bound_of[GN_VECTOR_MOST_BOUNDS];
    uint32_t n_told;
    bool was_asked;      /* something was known when the first search began */
    bool walk_tried;     /* a walk took too many rows: what a pass sees is kept for the next */
    uint64_t judge_left; /* rows that may be read for the search under way; */
    bool judge_short;    /* they were not enough */
    gn_code judge_code;  /* what went wrong meanwhile */
    gn_error *judge_err;

    const gn_write_set *own;
    gn_own_mark mark;
    gn_arena *own_arena;
    gn_vector_candidate *own_found;
    size_t n_own, own_at;
    uint64_t given;
};

/* ---- vector_search.c ---- */
/* Sees to it that there is a candidate at s->at, if there is any. */
gn_code gn_vector_refill(gn_vector_scan *s, gn_error *err);
/* Own writes are few: all are measured when the scan is opened. */
gn_code gn_vector_measure_own(gn_vector_scan *s, gn_error *err);
int gn_vector_order(const gn_vector_candidate *a, const gn_vector_candidate *b);
/* Rows that will have to be looked at for those that are still wanted, as far as one can tell. */
double gn_vector_rows_to_ask(const gn_vector_scan *s);
uint64_t gn_vector_wanted(const gn_vector_scan *s); /* rows that are still to be given */
void gn_vector_drop_index(gn_vector_scan *s);
/* Which rows of the batch the filter is true for. */
gn_code gn_vector_select(gn_vector_scan *s, const gn_batch *batch, uint16_t *rows, uint32_t *n, gn_error *err);

/* An empty batch for rows that the filter is asked about. */
gn_code gn_vector_begin_judging(gn_vector_scan *s, gn_error *err);

/* ---- vector_judge.c ---- */
/* Finds what is known of the filter, where it can be kept. */
void gn_vector_open_memo(gn_vector_scan *s);
gn_verdict gn_vector_judge(void *scan, gn_bytes key, uint64_t begin_scn);
/* The filter was computed for a committed row, read for other reasons. */
void gn_vector_note(gn_vector_scan *s, gn_bytes key, gn_scn begin_scn, bool match);

/* ---- vector_keys.c ---- */
/* The keys within the first bound, into s->keys; *all: they are no more than `most`. */
gn_code gn_vector_list_keys(gn_vector_scan *s, uint64_t most, bool *all, gn_error *err);
/* Finds what is known of the bounds. */
void gn_vector_open_told(gn_vector_scan *s);
/* Work was done that a bitmap of the bounds would have saved: as much as reading `keys` of them. */
void gn_vector_spend(gn_vector_scan *s, uint64_t keys);
/* Before the first search: lists a bound if that is worth it by now, and takes over what all say. *matching: how many
 * versions are known to match. */
gn_code gn_vector_recall(gn_vector_scan *s, uint64_t *matching, gn_error *err);
bool gn_vector_is_own(const gn_vector_scan *s, gn_bytes key);
bool gn_vector_is_ours(const gn_vector_scan *s, bool looks, gn_bytes key);

enum { GN_VECTOR_LIST_COST = 8 /* keys of a list that cost what a row does that is read alone */ };
enum { GN_VECTOR_DEFAULT_K = 100, GN_VECTOR_FILTER_MOST = 65536 };

#endif
