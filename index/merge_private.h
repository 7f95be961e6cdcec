/* One new segment file out of segments and tails: with a graph, extending the graph of the first segment given, or
 * flat. Versions dead to every reader are left out. */
#ifndef GN_INDEX_MERGE_PRIVATE_H
#define GN_INDEX_MERGE_PRIVATE_H

#include "base/world.h"
#include "index/segment_private.h"
#include "index/tail_private.h"
#include "index/vector_index.h"

typedef struct gn_merge {
    gn_world *world;
    gn_metric_kind metric;
    const gn_measure *measure; /* of every source and of the file */
    uint32_t dimensions, m, ef_construction, threads;
    uint64_t seed;
    gn_code_options codes; /* of the file: kind, bits, subquantizers ... */
    gn_account *account;
    bool flat;                   /* no graph: only gather */
    gn_segment *const *segments; /* the first may be extended */
    size_t n_segments;
    gn_tail *const *tails; /* nobody appends to them any more */
    size_t n_tails;
    uint64_t horizon; /* versions that ended at or below it are dead */
    /* Must a dead version, or one without a vector, stay to hide its key from ancestor branches? */
    bool (*must_hide)(void *ctx, const gn_row *row);
    void *must_hide_ctx;
    void (*progress)(void *ctx, uint64_t done, uint64_t total); /* may be NULL; on the calling strand */
    void *progress_ctx;
    const _Atomic bool *cancel, *cancel_too; /* each may be NULL */
    uint32_t n_rows;                         /* out: of the written file; 0 = all were dead, no file was written */
} gn_merge;

gn_code gn_merge_run(gn_merge *merge, const char *path, gn_error *err);

#endif
