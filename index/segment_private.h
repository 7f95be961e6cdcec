/* An immutable segment: a mapped file (segment_format_private.h). Only the end SCNs of its rows change, in a private
 * copy-on-write mapping of that section; the owner persists them in its manifest. Nothing read from the file is
 * trusted: sizes are checked when it is opened, row numbers and key offsets where they are used. */
#ifndef GN_INDEX_SEGMENT_PRIVATE_H
#define GN_INDEX_SEGMENT_PRIVATE_H

#include "base/memory.h"
#include "index/candidate_private.h"
#include "index/codes.h"
#include "index/measure_private.h"
#include "index/row_private.h"
#include "index/segment_format_private.h"
#include "index/topk_private.h"

#include <pthread.h>
#include <stdatomic.h>

typedef struct gn_walk gn_walk; /* scratch of one walk; pooled */

typedef struct gn_calibrated {
    gn_calibration table;
    struct gn_calibrated *older;
} gn_calibrated;

typedef struct gn_segment {
    _Atomic uint32_t refs;
    uint64_t number;
    char *path;
    int fd;
    const uint8_t *map;
    size_t map_bytes;
    const gn_segment_header *header;
    gn_measure measure;
    const uint8_t *vectors; /* rows of measure */
    gn_codec *codec;
    const uint8_t *codes; /* the vectors, where they are the codes */
    size_t code_stride;
    const uint32_t *links0, *links_upper;
    const uint32_t *cells[GN_SEGMENT_MAX_LEVELS]; /* of layer 1 on; NULL: the file has none */
    const uint64_t *begin, *branch;               /* branch: NULL when all are of header->branch */
    _Atomic uint64_t *end;
    size_t end_bytes;
    const uint64_t *key_offsets;
    const uint8_t *keys;
    const _Atomic uint64_t *key_slots;
    const uint32_t *key_older;
    uint64_t keys_bytes, n_slots;
    _Atomic uint32_t n_ended; /* now */
    _Atomic bool damaged;     /* something impossible was read */
    /* Rows whose end differs from the file's: the writer's, for the manifest. */
    uint32_t *changed;
    size_t n_changed, cap_changed;
    struct { /* searches with filters that were made in two ways (segment_filter.c) */
        _Atomic uint32_t searches;
        _Atomic uint32_t found, of; /* of a walk's results, those that cells led to; and all */
    } trial;
    /* Replaced as a whole while searches run; old ones are kept until the end. NULL: nothing is known. */
    _Atomic(struct gn_calibrated *) calibrated;
    gn_account *account;
    pthread_mutex_t walks_lock;
    gn_walk *walks;
    uint32_t n_walks;
} gn_segment;

/* Maps the file and verifies header, table and all sections that are small (GN_SEGMENT_EAGER_BYTES); the large ones
 * are gn_segment_verify's. GN_INDEX_CORRUPT, GN_IO, GN_NO_FILE. refs = 1. */
enum { GN_SEGMENT_EAGER_BYTES = 1 << 20 };
gn_code gn_segment_open(const char *path, uint64_t number, gn_account *account, gn_segment **out, gn_error *err);
gn_segment *gn_segment_ref(gn_segment *segment);
void gn_segment_unref(gn_segment *segment);
/* Reads every section from disk against its checksum. */
gn_code gn_segment_verify(const gn_segment *segment, const _Atomic bool *cancel, gn_error *err);

bool gn_segment_row(const void *segment, uint32_t row, gn_row *out); /* false, and damaged, on impossible offsets */
/* The same in two steps, for who often needs but the first: everything but the key, and the key. */
static inline void gn_segment_version(const gn_segment *s, uint32_t row, gn_row *out)
{
    out->begin = s->begin[row];
    out->end = atomic_load_explicit(&s->end[row], memory_order_acquire);
    out->branch = s->branch ? s->branch[row] : s->header->branch;
}
bool gn_segment_key(const gn_segment *segment, uint32_t row, gn_bytes *key);
uint32_t gn_segment_find(const gn_segment *segment, gn_bytes key); /* newest row or UINT32_MAX */
uint32_t gn_segment_older(const gn_segment *segment, uint32_t row);
void gn_segment_set_end(gn_segment *segment, uint32_t row, uint64_t end); /* the writer */
void gn_segment_damage(const gn_segment *segment);
/* For searches from now on; one writer. */
void gn_segment_set_calibration(gn_segment *segment, const gn_calibration *calibration);
/* Also into the file, which no manifest may name yet. */
gn_code gn_segment_write_calibration(gn_segment *segment, const gn_calibration *calibration, gn_error *err);

static inline const void *gn_segment_vector(const gn_segment *s, uint32_t row)
{
    return s->vectors + (size_t)row * s->measure.row_bytes;
}
static inline const uint8_t *gn_segment_code(const gn_segment *s, uint32_t row)
{
    return s->codes + (size_t)row * s->code_stride;
}
/* The link block of a node in a layer where it has one. */
static inline const uint32_t *gn_segment_links(const gn_segment *s, uint32_t level, uint32_t row)
{
    const gn_segment_header *h = s->header;
    if (level == 0)
        return s->links0 + (size_t)row * h->m0;
    size_t at = row;
    for (uint32_t l = 1; l < level; l++)
        at += h->level_count[l];
    return s->links_upper + at * h->m;
}

typedef struct gn_rows {
    uint32_t from, to;
} gn_rows;
/* The rows of level `layer` - 1 whose cells are those of the centers in a layer, of a segment with cells. False, and
 * damaged, where the file says something impossible. */
static inline bool gn_segment_cells(const gn_segment *s, uint32_t layer, gn_rows centers, gn_rows *rows)
{
    const uint32_t *count = s->header->level_count;
    *rows = (gn_rows){.from = s->cells[layer][centers.from], .to = s->cells[layer][centers.to]};
    if (rows->from >= count[layer] && rows->from <= rows->to && rows->to <= count[layer - 1])
        return true;
    gn_segment_damage(s);
    return false;
}

/* ---- search (segment_search.c) ---- */

/* What it costs to pass over a row that a memo rejects, and to ask a filter about one; in nodes that a walk measures.
 */
#define GN_COST_PASSED_OVER 0.0005F
#define GN_COST_ASKED 0.12F

typedef struct gn_segment_query {
    const float *vector; /* padded; of length one for cosine */
    uint32_t k, ef;
    uint32_t rerank;    /* at most so many are measured again by the full vectors; 0 = as many as it takes */
    uint32_t hidden;    /* a node of layer 0 alone that is to be overlooked; GN_NO_LINK: none */
    float bound;        /* results beyond it are not wanted */
    gn_accept accept;   /* fn NULL: every node */
    float share;        /* of the nodes that are accepted, about; 0 = unknown */
    float scan_cost;    /* of a scan instead, in nodes that a walk measures */
    gn_candidate *best; /* room for 2 ef; filled in any order, with exact distances */
    size_t n_best;
    bool found_all; /* ef candidates were found, of which those worth it are in best, or all that there are */
    bool saw_all;   /* every node was asked for */
    uint64_t distances;
    bool gave_up; /* so few were accepted that a scan is cheaper; best is not filled */
} gn_segment_query;

gn_code gn_segment_search(gn_segment *segment, gn_segment_query *query, gn_error *err);
/* Offers every accepted row. Returns the number of distances computed. */
uint64_t gn_segment_scan(const gn_segment *segment, const float *query, gn_accept accept, gn_topk *top);
/* Looks at the codes first, and misses what they misjudge by more than 4 sigma. */
uint64_t gn_segment_scan_likely(gn_segment *segment, const float *query, gn_accept accept, gn_topk *top);
void gn_walks_free(gn_segment *segment);

/* ---- writing (segment_write.c) ---- */

/* What a new file shall contain; the callbacks are asked in ascending order. */
typedef struct gn_segment_image {
    gn_segment_header
        header; /* metric, dimensions, vectors, m, m0, ef_construction, graph, levels, level_count, n_nodes, n_rows */
    void *ctx;
    const void *(*vector)(void *ctx, uint32_t row); /* a row of that metric, those dimensions and vectors */
    void (*row)(void *ctx, uint32_t row, gn_row *out);
    /* Writes the block, filled up with GN_NO_LINK; NULL without a graph. */
    void (*links)(void *ctx, uint32_t level, uint32_t row, uint32_t *block);
    const uint32_t *cells; /* NULL: none */
    const gn_codec *codec; /* NULL, or one of float32: no codes but the vectors */
    void (*code)(void *ctx, uint32_t row, uint8_t *code);
    gn_account *account;
    const _Atomic bool *cancel; /* may be NULL */
} gn_segment_image;

/* Writes under a temporary name, syncs, renames to `path` and syncs the directory. On failure nothing is left. */
gn_code gn_segment_write(const char *path, gn_segment_image *image, gn_error *err);
gn_code gn_sync_parent_dir(const char *path, gn_error *err);

#endif
