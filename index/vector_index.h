/* One vector index: immutable mmapped segments with an HNSW graph each, and a growing tail that is scanned exactly, so
 * that a vector is found by the search right after its insert. A library that knows nothing of storage or SQL.
 *
 * Every node is one version of one row: (key, branch, begin SCN, end SCN or "still current"). A search at (SCN, chain
 * of branches) sees exactly the versions that a read there sees.
 *
 * Threads: insert, end and set_position are called by one writer at a time (the shard's queue). Searches run on any
 * thread on a reference-counted view and never wait for the writer. Building and merging run on a strand of the index
 * and post their result. The owner can rebuild all of it from the change log: the index keeps the SCN up to which its
 * files are complete ("position"); after a crash the owner replays everything later. */
#ifndef GN_INDEX_VECTOR_INDEX_H
#define GN_INDEX_VECTOR_INDEX_H

#include "base/buf.h"
#include "base/world.h"
#include "index/codes.h"
#include "index/distance.h"

typedef struct gn_vindex gn_vindex;

typedef struct gn_vindex_options {
    gn_metric_kind metric;
    uint32_t dimensions;
    uint32_t m;               /* 0 = 16; links of a node per layer, twice that in layer 0 */
    uint32_t ef_construction; /* 0 = 64 (as pgvector) */
    uint64_t seed;            /* of the level generator */
    /* All numbers that are given are float16's, and are kept as such. Not for bits. Files that were written without it
     * stay as they are, also when they are merged. */
    bool halves;
    uint32_t tail_rows;     /* tail size that starts a build in the background; 0 = a good default */
    uint32_t build_threads; /* 0 = 1 */
    /* What graphs are walked over. AUTO, the zero, is chosen from the vectors of each segment. May be another than the
     * files have: segments keep theirs until they are merged. The rest is for the kinds that have it; see codes.h. */
    gn_code_kind codes;
    uint32_t code_bits, pq_subquantizers, pq_centroids;
    bool pq_rotate;
    uint32_t rerank;     /* candidates measured again by their full vectors; 0 = as many as it takes */
    gn_account *account; /* memory budget; may be NULL */
} gn_vindex_options;

/* Opens or creates the index in directory `dir`. A segment that fails its checksum or was cut short is reported by
 * GN_INDEX_CORRUPT; the owner may then call gn_vindex_wipe(dir) and replay from the start. */
gn_code gn_vindex_open(gn_world *world, const char *dir, const gn_vindex_options *options, gn_vindex **out,
                       gn_error *err);
/* clean: writes the tail and the ended versions to disk first, so that the next open replays nothing. Stops a build
 * under way. All views must have been released. From a strand or the main thread. */
gn_code gn_vindex_close(gn_vindex *index, bool clean, gn_error *err);
gn_code gn_vindex_wipe(const char *dir, gn_error *err);

/* Makes the new directory `to` a copy, by hard links, of what the files in `dir` are at one moment; the index may be
 * open and go on. GN_NO_DATA: nothing is written yet, and `to` is not there. */
gn_code gn_vindex_link(const char *dir, const char *to, gn_error *err);

/* ---- writer ---- */

/* A new version of row `key` in `branch`, from begin_scn on. For cosine the vector is normalised inside; a zero vector
 * has no cosine and is not inserted (pgvector's rule; searches by cosine do not return it). Repeating an insert that is
 * already there (replay) changes nothing. GN_BAD_VECTOR (NaN, infinity, beyond what halves hold), GN_LIMIT (key),
 * GN_OUT_OF_MEMORY (nothing was changed; gn_vindex_checkpoint gives memory back). */
gn_code gn_vindex_insert(gn_vindex *index, gn_bytes key, uint64_t branch, uint64_t begin_scn, const float *vector,
                         gn_error *err);
/* The current version of (key, branch) that began before end_scn ends there (exclusive). Unknown keys and repetitions
 * change nothing; a version that begins at end_scn is another one, so an update may call insert and end in any order.
 */
void gn_vindex_end(gn_vindex *index, gn_bytes key, uint64_t branch, uint64_t end_scn);
/* Everything up to scn has been given. Becomes durable with the next written segment or clean close. */
void gn_vindex_set_position(gn_vindex *index, uint64_t scn);
/* What the files on disk contain; replay from here (exclusive). 0 = replay everything. */
uint64_t gn_vindex_durable_position(const gn_vindex *index);
/* Versions that ended at or below this SCN are dead to every reader and may be dropped by a rewrite. A branch reads its
 * ancestors at the SCN of its fork, so forks of living branches hold the horizon back as open snapshots do. */
void gn_vindex_set_horizon(gn_vindex *index, uint64_t scn);
/* From scn on, `branch` hides what its ancestors have under this key although it has no vector of its own there (the
 * row was deleted in the branch, or its vector became NULL). Changes nothing where there is nothing to hide. */
gn_code gn_vindex_hide(gn_vindex *index, gn_bytes key, uint64_t branch, uint64_t scn, gn_error *err);
/* Writes tail and ended versions to disk, without a graph, so that gn_vindex_durable_position becomes the position set
 * last, and the tail's memory is given back. From a strand or the main thread; waits for a build under way. */
gn_code gn_vindex_checkpoint(gn_vindex *index, gn_error *err);
/* Reads every segment file from disk against its checksums, for the owner to call in the background after it opened
 * the index: opening checks header, sizes and small sections alone. Once this found damage, searches answer
 * GN_INDEX_CORRUPT. GN_CANCELED when *cancel (may be NULL) becomes true. Any thread. */
gn_code gn_vindex_verify(gn_vindex *index, const _Atomic bool *cancel, gn_error *err);
/* Blocks until the tail is in segments (CREATE INDEX, benchmarks, tests). From a strand or the main thread. progress
 * may be NULL: called now and then with done and total vectors. Returns GN_CANCELED when *cancel becomes true. */
gn_code gn_vindex_build(gn_vindex *index, void (*progress)(void *ctx, uint64_t done, uint64_t total), void *ctx,
                        const _Atomic bool *cancel, gn_error *err);

/* Measures anew what recall each segment's searches have, by n queries of the owner's (those asked of late, say), or by
 * its own vectors with queries NULL, and n 0 = a good default; a build does the latter by itself. Until the next start
 * or merge, target_recall goes by the outcome. GN_CANCELED, GN_BAD_VECTOR, GN_OUT_OF_MEMORY. Any thread, one at a time.
 */
gn_code gn_vindex_calibrate(gn_vindex *index, const float *queries, uint32_t n, const _Atomic bool *cancel,
                            gn_error *err);

/* What an index of so many rows with keys of so many bytes will take, within about a tenth: its files, the part of them
 * that searches walk over (of plain vectors all but those reranked), and memory while a graph of all is built. */
typedef struct gn_vindex_estimate {
    uint64_t file_bytes, walked_bytes, build_bytes;
} gn_vindex_estimate;
gn_code gn_vindex_estimate_of(const gn_vindex_options *options, uint64_t rows, uint32_t key_bytes,
                              gn_vindex_estimate *out, gn_error *err);

/* ---- readers ---- */

/* A view sees what the writer had given when it was acquired, and what it gives until the next build is done. So take
 * the read SCN first, see that the writer has given everything up to it, then acquire. */
typedef struct gn_vview gn_vview;
gn_vview *gn_vview_acquire(gn_vindex *index); /* any thread */
void gn_vview_release(gn_vview *view);

/* A branch and the SCN up to which it is seen; the chain goes from the branch read to its ancestors (each at the
 * smaller of the read SCN and the fork SCN). A version in an ancestor is hidden by any version of the same key in a
 * nearer branch. */
typedef struct gn_branch_at {
    uint64_t branch;
    uint64_t scn;
} gn_branch_at;

/* What a judge said of versions, kept for later searches that ask the same: a version never changes, so neither does
 * the answer. Of those in segments only. An index keeps the memos that were used last, by a name that says all that the
 * answers depend on. Any number of threads. */
typedef struct gn_vmemo gn_vmemo;
gn_vmemo *gn_vindex_memo(gn_vindex *index, gn_bytes name); /* counted; NULL: there is no memory for it */
void gn_vmemo_release(gn_vmemo *memo);                     /* before the index is closed; NULL is fine */
/* Told without being asked. */
void gn_vmemo_note(gn_vmemo *memo, const gn_vview *view, gn_bytes key, uint64_t branch, uint64_t begin_scn, bool match);
typedef struct gn_vmemo_counts {
    uint64_t rows, known, match; /* of the view: all of its versions, and those that were judged */
} gn_vmemo_counts;
gn_vmemo_counts gn_vmemo_count(gn_vmemo *memo, const gn_vview *view);

/* Of all versions that are seen at one moment of a branch, those whose keys somebody names: what a secondary index says
 * of a range, as bits. To be destroyed before the view is released. */
typedef struct gn_vpick gn_vpick;
gn_vpick *gn_vpick_create(const gn_vview *view, gn_branch_at at); /* NULL: there is no memory for it */
void gn_vpick_add(gn_vpick *pick, gn_bytes key);
void gn_vpick_destroy(gn_vpick *pick); /* NULL is fine */
/* Those that were named match, all others that are seen do not. */
void gn_vmemo_tell(gn_vmemo *memo, const gn_vpick *pick);
/* What does not match in one of `from` (at most 8) does not match here; whole: and what does in all of them, does. */
void gn_vmemo_infer(gn_vmemo *memo, gn_vmemo *const *from, uint32_t n, const gn_vview *view, bool whole);
/* When a list pays: once more has been spent on answers one by one, in keys of a list, than twice what the list took
 * when it was last made or given up. Gives how long it may become and begins anew; 0: not yet. */
void gn_vmemo_spend(gn_vmemo *memo, uint64_t keys);
uint64_t gn_vmemo_claim(gn_vmemo *memo, uint64_t first);
void gn_vmemo_note_list(gn_vmemo *memo, uint64_t keys);

typedef enum gn_verdict { GN_VERDICT_NO, GN_VERDICT_YES, GN_VERDICT_NONE /* not now, or it failed */ } gn_verdict;

typedef struct gn_neighbor {
    float distance; /* as the SQL operator gives it: L2 not squared, negative inner product, cosine distance */
    gn_bytes key;   /* valid while the view is held */
    uint64_t branch;
    uint64_t begin_scn;
} gn_neighbor;

typedef struct gn_vsearch {
    const float
        *query;  /* dimensions floats, all finite; for bit vectors, see distance.h, (dimensions + 31) / 32 words */
    uint32_t k;  /* 1..GN_MAX_K */
    uint32_t ef; /* 0 = max(40, k); raised to k */
    /* Instead of ef: the recall that is wanted in expectation, below 1. Each segment uses the smallest ef for which its
     * calibration gives that (calibrate.c), and is scanned where none does. 0 = none. Given for k up to 10; for more,
     * ef grows in proportion. */
    float target_recall;
    bool exact; /* scan everything instead of walking graphs */
    const gn_branch_at *chain;
    size_t n_chain;
    /* Optional: only versions for which it returns true are results (the search goes on through others). */
    bool (*filter)(void *ctx, gn_bytes key, uint64_t begin_scn);
    void *filter_ctx;
    float filter_share; /* of the rows that it is thought to accept; 0 = unknown. Decides how, never what. */
    /* Optional, with a memo: the same for what is dear to decide. Asked last, and never again about what the memo has.
     * What it gives no verdict on is no result. */
    gn_verdict (*judge)(void *ctx, gn_bytes key, uint64_t begin_scn);
    void *judge_ctx;
    gn_vmemo *memo;
    /* Optional: only these keys, each once, are looked at, and all of them: for a filter that accepts so few that the
     * caller has them in a list. filter and visibility hold as well. */
    const gn_bytes *keys;
    size_t n_keys;
    gn_arena *arena; /* for the results and scratch */
} gn_vsearch;

typedef struct gn_vsearch_stats {
    uint64_t distances;
    uint32_t segments;
    uint32_t ef;  /* the largest that was used */
    float recall; /* what the calibrations give for it, at least; 0 = unknown, 1 = exact */
    uint64_t tail_rows;
} gn_vsearch_stats;

/* Up to k results, nearest first; ties by key. stats may be NULL. GN_OUT_OF_MEMORY, GN_INVALID_PARAMETER. */
gn_code gn_vview_search(const gn_vview *view, const gn_vsearch *search, gn_neighbor **out, size_t *n_out,
                        gn_vsearch_stats *stats, gn_error *err);

/* All results with a distance below `radius` (as the SQL operator gives it), nearest first; search->k is the most that
 * are wanted, up to GN_MAX_K. Widens the search until something farther is found, so recall is that of a search with so
 * many results. */
gn_code gn_vview_within(const gn_vview *view, const gn_vsearch *search, float radius, gn_neighbor **out, size_t *n_out,
                        gn_vsearch_stats *stats, gn_error *err);

/* Results one batch after another, for who does not know how many are needed (a LIMIT above a join). search->k is the
 * size of the first batch; each batch is as large as all before it together. Within a batch they come nearest first;
 * one that a wider search found late may be nearer than some of an earlier batch. None comes twice. */
typedef struct gn_vcursor gn_vcursor;
gn_vcursor *gn_vcursor_open(const gn_vview *view,
                            const gn_vsearch *search); /* search is copied; its arena serves all */
/* n_out 0: there are no more. */
gn_code gn_vcursor_next(gn_vcursor *cursor, gn_neighbor **out, size_t *n_out, gn_error *err);
void gn_vcursor_close(gn_vcursor *cursor); /* NULL is fine */

typedef struct gn_vindex_stats {
    uint64_t vectors, tail_vectors, dead_vectors, segments, memory_bytes, disk_bytes;
    bool building;
    uint64_t build_done, build_total;
    gn_code_kind codes;                                         /* of the largest segment */
    uint64_t code_bytes, link_bytes, vector_bytes, other_bytes; /* disk_bytes by part; codes may be the vectors */
    float recall; /* of 10 at the default ef, at least and in expectation, by the calibrated part; 0 = not known */
} gn_vindex_stats;
void gn_vindex_stats_get(const gn_vindex *index, gn_vindex_stats *out); /* any thread */

#endif
