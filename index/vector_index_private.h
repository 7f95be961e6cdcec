#ifndef GN_INDEX_VECTOR_INDEX_PRIVATE_H
#define GN_INDEX_VECTOR_INDEX_PRIVATE_H

#include "index/segment_private.h"
#include "index/tail_private.h"
#include "index/vector_index.h"

#include <pthread.h>

/* What a search sees: immutable but for the last tail, which grows, and the ends. */
struct gn_vview {
    _Atomic uint32_t refs;
    gn_vindex *index;
    size_t n_segments, n_tails;
    gn_segment **segments;
    gn_tail **tails; /* the last is the one that grows */
};

/* A version ended while a build was reading it; the new segment gets the end when it is swapped in. */
typedef struct gn_ended {
    gn_bytes key;
    uint64_t branch, begin, end;
} gn_ended;

typedef struct gn_build_waiter {
    gn_event event;
    struct gn_build_waiter *next;
} gn_build_waiter;

struct gn_vindex {
    gn_world *world;
    char *dir;
    gn_vindex_options options; /* with defaults filled in */
    const gn_kernels *kernels;
    gn_measure measure; /* of all parts alike */
    gn_account *account;
    void *row; /* the writer's, of the vector being inserted */

    /* Two locks, taken in this order. `lock` guards the writer's state against the builder, which takes it for moments
     * at the beginning and end of a build. `view_lock` guards the pointer alone, so that readers wait for nobody. */
    pthread_mutex_t lock;
    pthread_mutex_t view_lock;
    gn_vview *view;
    uint64_t position;
    uint64_t max_begin; /* of all versions ever given: a later one cannot be a repetition */
    uint64_t next_number;
    bool dirty; /* something is not in the files */
    _Atomic uint64_t durable;
    _Atomic uint64_t horizon;

    /* building */
    gn_strand *strand; /* started with the first background build */
    gn_event wake;
    bool idle, wanted;
    bool building;       /* somebody builds or writes a checkpoint; nobody else may */
    uint64_t retry_rows; /* after a failed build: do not try again below this many unindexed rows */
    _Atomic bool stop;
    gn_build_waiter *waiters;
    gn_arena *ended_keys;
    gn_ended *ended;
    size_t n_ended, cap_ended;

    pthread_mutex_t memo_lock;
    gn_vmemo *memos; /* the last used first */

    _Atomic bool building_now;
    _Atomic uint64_t build_done, build_total;
};

gn_code gn_vindex_fill_options(gn_vindex_options *options, gn_error *err); /* checks, and puts defaults for zeros */
gn_code_options gn_vindex_code_options(const gn_vindex_options *options);

/* ---- view.c ---- */

/* Takes over the references in the arrays, not the arrays. */
gn_vview *gn_vview_create(gn_vindex *index, gn_segment **segments, size_t n_segments, gn_tail **tails, size_t n_tails);
void gn_vview_publish(gn_vindex *index, gn_vview *view); /* under index->lock; takes over the reference */
/* Calls fn for every version of the key, newest first within each part; false from fn ends it. */
void gn_vview_each_version(const gn_vview *view, gn_bytes key,
                           bool (*fn)(void *ctx, const gn_row *row, gn_segment *segment, gn_tail *tail, uint32_t at),
                           void *ctx);
bool gn_vview_one_branch(const gn_vview *view); /* no row of any other branch than the first row's, and no hides */

/* ---- memo.c ---- */

void gn_vindex_forget_memos(gn_vindex *index);

/* ---- stats.c ---- */

enum { GN_DEFAULT_EF = 40, GN_CALIBRATION_QUERIES = 256, GN_MIN_CALIBRATED = 2048 };

/* ---- build.c ---- */

uint64_t gn_vindex_unindexed(const gn_vview *view); /* rows that a search must scan */
void gn_vindex_consider_build(gn_vindex *index);    /* under lock, by the writer */
gn_code gn_vindex_write_flat(gn_vindex *index, gn_error *err);
void gn_vindex_stop_builds(gn_vindex *index);
bool gn_find_in_segment(const gn_segment *segment, gn_bytes key, uint64_t branch, uint64_t begin, uint32_t *row);

/* ---- manifest.c ---- */

typedef struct gn_manifest_segment {
    uint64_t number;
    uint64_t checksum;   /* of the segment's header: the file is the one that was meant */
    uint32_t *ended_row; /* ends that are not in the file */
    uint64_t *ended_scn;
    size_t n_ended;
} gn_manifest_segment;

typedef struct gn_manifest {
    gn_metric_kind metric;
    uint32_t dimensions;
    uint64_t position, max_begin, next_number;
    gn_manifest_segment *segments;
    size_t n_segments;
} gn_manifest;

gn_code gn_manifest_read(const char *dir, gn_manifest *out, gn_error *err); /* GN_NO_DATA when there is none */
gn_code gn_manifest_write(const char *dir, const gn_manifest *manifest, gn_error *err);
void gn_manifest_close(gn_manifest *manifest);
void gn_manifest_add(gn_manifest *manifest, const gn_segment *segment);
char *gn_segment_path(const char *dir, uint64_t number); /* malloc'ed */
/* Removes segment and temporary files that the manifest does not name (NULL: all, and the manifest). */
gn_code gn_manifest_sweep(const char *dir, const gn_manifest *manifest, gn_error *err);

#endif
