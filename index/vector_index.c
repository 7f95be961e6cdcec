/* The writer's side, opening and closing. */
#include "index/vector_index.h"

#include "base/assert.h"
#include "base/half.h"
#include "base/limits.h"
#include "base/log.h"
#include "index/graph_private.h"
#include "index/vector_index_private.h"

#include <errno.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { DEFAULT_M = 16, DEFAULT_EF_CONSTRUCTION = 64 };

/* A tail of this many bytes of vectors is scanned in about the time of a walk. */
enum { DEFAULT_TAIL_BYTES = 1 << 20, MIN_TAIL_ROWS = 256, MAX_TAIL_ROWS = 2048 };

/* ---- options ---- */

gn_code_options gn_vindex_code_options(const gn_vindex_options *o)
{
    return (gn_code_options){.kind = o->codes,
                             .metric = o->metric,
                             .dimensions = o->dimensions,
                             .bits = o->code_bits,
                             .subquantizers = o->pq_subquantizers,
                             .centroids = o->pq_centroids,
                             .rotate = o->pq_rotate,
                             .halves = o->halves,
                             .seed = o->seed};
}

gn_code gn_vindex_fill_options(gn_vindex_options *o, gn_error *err)
{
    o->m = o->m ? o->m : DEFAULT_M;
    o->ef_construction = o->ef_construction ? o->ef_construction : DEFAULT_EF_CONSTRUCTION;
    o->build_threads = o->build_threads ? o->build_threads : 1;
    if (o->metric < GN_METRIC_L2 || o->metric >= GN_METRIC_KNOWN)
        return gn_error_set(err, GN_INVALID_PARAMETER, "unknown vector metric %d", (int)o->metric);
    if (o->dimensions < 1 || o->dimensions > gn_metric_max_dimensions(o->metric))
        return gn_error_set(err, GN_INVALID_PARAMETER, "a vector index needs 1 to %u dimensions, not %u",
                            gn_metric_max_dimensions(o->metric), o->dimensions);
    if (o->m < 2 || o->m > GN_MAX_HNSW_M)
        return gn_error_set(err, GN_INVALID_PARAMETER, "m must be between 2 and %u, not %u", GN_MAX_HNSW_M, o->m);
    if (o->ef_construction > GN_MAX_EF_CONSTRUCTION)
        return gn_error_set(err, GN_INVALID_PARAMETER, "ef_construction must be at most %u, not %u",
                            GN_MAX_EF_CONSTRUCTION, o->ef_construction);
    if (o->halves && gn_metric_of_bits(o->metric))
        return gn_error_set(err, GN_INVALID_PARAMETER, "bits are no halves");
    if (o->halves && o->codes == GN_CODES_FLOAT16)
        o->codes = GN_CODES_FLOAT32; /* the vectors are that already */
    gn_code_options codes = gn_vindex_code_options(o);
    gn_code code = gn_code_options_check(&codes, err);
    if (code != GN_OK)
        return code;
    if (o->ef_construction < o->m)
        o->ef_construction = o->m;
    if (o->tail_rows == 0) {
        size_t rows = DEFAULT_TAIL_BYTES / (gn_vector_stride(o->metric, o->dimensions) * sizeof(float));
        o->tail_rows = rows < MIN_TAIL_ROWS ? MIN_TAIL_ROWS : rows > MAX_TAIL_ROWS ? MAX_TAIL_ROWS : (uint32_t)rows;
    }
    return GN_OK;
}

/* ---- opening ---- */

static gn_code apply_ends(gn_segment *segment, const gn_manifest_segment *m, gn_error *err)
{
    for (size_t i = 0; i < m->n_ended; i++) {
        if (m->ended_row[i] >= segment->header->n_rows)
            return gn_error_set(err, GN_INDEX_CORRUPT, "vector index segment \"%s\" and manifest do not fit",
                                segment->path);
        if (atomic_load(&segment->end[m->ended_row[i]]) == GN_SCN_OPEN)
            gn_segment_set_end(segment, m->ended_row[i], m->ended_scn[i]);
    }
    return GN_OK;
}

static gn_code open_segment(gn_vindex *index, const gn_manifest_segment *m, gn_segment **out, gn_error *err)
{
    char *path = gn_segment_path(index->dir, m->number);
    gn_code code = gn_segment_open(path, m->number, index->account, out, err);
    if (code == GN_NO_FILE)
        code = gn_error_set(err, GN_INDEX_CORRUPT, "vector index segment \"%s\" is missing", path);
    if (code == GN_OK &&
        ((*out)->header->checksum != m->checksum || (*out)->header->dimensions != index->options.dimensions ||
         (*out)->header->metric != (uint32_t)index->options.metric))
        code = gn_error_set(err, GN_INDEX_CORRUPT, "vector index segment \"%s\" is not the one that was written", path);
    else if (code == GN_OK)
        code = apply_ends(*out, m, err);
    free(path);
    return code;
}

/* Halves where they are wanted and no file is of floats. Made floats, they would not all be halves again: by cosine
 * they were scaled. So an index that was begun with floats goes on with them. */
static gn_code choose_measure(gn_vindex *index, gn_segment *const *segments, size_t n, gn_error *err)
{
    const gn_vindex_options *o = &index->options;
    size_t of_halves = 0;
    for (size_t i = 0; i < n; i++)
        of_halves += segments[i]->header->vectors == GN_VECTORS_FLOAT16;
    if (of_halves > 0 && (of_halves < n || !o->halves))
        return gn_error_set(err, GN_INDEX_CORRUPT, "the vector index in \"%s\" has vectors of different kinds",
                            index->dir);
    index->measure = gn_measure_of(index->kernels, o->metric, o->dimensions, o->halves && of_halves == n);
    index->row = gn_xcalloc(1, index->measure.row_bytes);
    return GN_OK;
}

static gn_code open_files(gn_vindex *index, gn_error *err)
{
    gn_manifest manifest = {0};
    gn_segment **segments = NULL;
    size_t n = 0;
    gn_code code = gn_manifest_read(index->dir, &manifest, err);
    bool none = code == GN_NO_DATA;
    if (none)
        code = GN_OK;
    if (code != GN_OK)
        return code;
    if (!none && (manifest.metric != index->options.metric || manifest.dimensions != index->options.dimensions)) {
        code = gn_error_set(err, GN_INVALID_PARAMETER, "the vector index in \"%s\" has %u dimensions or another metric",
                            index->dir, manifest.dimensions);
        goto out;
    }
    segments = gn_xcalloc(manifest.n_segments + 1, sizeof *segments);
    for (size_t i = 0; i < manifest.n_segments && code == GN_OK; i++) {
        code = open_segment(index, &manifest.segments[i], &segments[n], err);
        n += segments[n] != NULL;
    }
    if (code == GN_OK)
        code = choose_measure(index, segments, n, err);
    if (code == GN_OK)
        code = gn_manifest_sweep(index->dir, &manifest, err);
    if (code != GN_OK)
        goto out;
    index->position = manifest.position;
    index->max_begin = manifest.max_begin;
    index->next_number = manifest.next_number ? manifest.next_number : 1;
    atomic_store(&index->durable, manifest.position);
    gn_tail *tail = gn_tail_create(index->account, &index->measure);
    gn_vview_publish(index, gn_vview_create(index, segments, n, &tail, 1));
    n = 0;
out:
    for (size_t i = 0; i < n; i++)
        gn_segment_unref(segments[i]);
    free(segments);
    gn_manifest_close(&manifest);
    return code;
}

static void index_free(gn_vindex *index)
{
    gn_vview_release(index->view);
    pthread_mutex_destroy(&index->lock);
    pthread_mutex_destroy(&index->view_lock);
    gn_vindex_forget_memos(index);
    pthread_mutex_destroy(&index->memo_lock);
    gn_arena_destroy(index->ended_keys);
    free(index->ended);
    free(index->row);
    free(index->dir);
    free(index);
}

gn_code gn_vindex_open(gn_world *world, const char *dir, const gn_vindex_options *options, gn_vindex **out,
                       gn_error *err)
{
    gn_vindex_options o = *options;
    gn_code code = gn_vindex_fill_options(&o, err);
    if (code != GN_OK)
        return code;
    if (mkdir(dir, 0700) != 0 && errno != EEXIST)
        return gn_error_errno(err, GN_IO, errno, "could not create the directory \"%s\"", dir);
    gn_vindex *index = gn_xcalloc(1, sizeof *index);
    index->world = world;
    index->dir = gn_xstrdup(dir);
    index->options = o;
    index->account = o.account;
    index->kernels = gn_kernels_best();
    index->next_number = 1;
    pthread_mutex_init(&index->lock, NULL);
    pthread_mutex_init(&index->view_lock, NULL);
    pthread_mutex_init(&index->memo_lock, NULL);
    code = open_files(index, err);
    if (code == GN_OK)
        *out = index;
    else
        index_free(index);
    return code;
}

gn_code gn_vindex_close(gn_vindex *index, bool clean, gn_error *err)
{
    if (!index)
        return GN_OK;
    gn_vindex_stop_builds(index);
    gn_code code = clean ? gn_vindex_checkpoint(index, err) : GN_OK;
    GN_ASSERT(atomic_load(&index->view->refs) == 1); /* all readers are gone */
    index_free(index);
    return code;
}

gn_code gn_vindex_wipe(const char *dir, gn_error *err)
{
    return gn_manifest_sweep(dir, NULL, err);
}

gn_code gn_vindex_verify(gn_vindex *index, const _Atomic bool *cancel, gn_error *err)
{
    gn_code code = GN_OK;
    gn_vview *view = gn_vview_acquire(index);
    for (size_t i = 0; i < view->n_segments && code == GN_OK; i++)
        code = gn_segment_verify(view->segments[i], cancel, err);
    gn_vview_release(view);
    return code;
}

/* ---- inserting and ending ---- */

typedef struct version_search {
    uint64_t branch;
    uint64_t begin; /* looked for; or, for an end: versions that begin before it */
    bool found, elsewhere;
    uint64_t found_begin;
    gn_segment *segment;
    gn_tail *tail;
    uint32_t at;
} version_search;

static bool is_the_version(void *ctx, const gn_row *row, gn_segment *segment, gn_tail *tail, uint32_t at)
{
    (void)segment, (void)tail, (void)at;
    version_search *s = ctx;
    s->found = row->branch == s->branch && row->begin == s->begin;
    return !s->found;
}

static bool is_of_another_branch(void *ctx, const gn_row *row, gn_segment *segment, gn_tail *tail, uint32_t at)
{
    (void)segment, (void)tail, (void)at;
    version_search *s = ctx;
    s->elsewhere = row->branch != s->branch;
    return !s->elsewhere;
}

static bool is_current_before(void *ctx, const gn_row *row, gn_segment *segment, gn_tail *tail, uint32_t at)
{
    version_search *s = ctx;
    s->found = row->branch == s->branch && row->end == GN_SCN_OPEN && row->begin < s->begin;
    if (s->found) {
        s->segment = segment;
        s->tail = tail;
        s->at = at;
        s->found_begin = row->begin;
    }
    return !s->found;
}

static gn_code check_insert(const gn_vindex *index, gn_bytes key, uint64_t begin_scn, const float *vector,
                            gn_error *err)
{
    if (key.len > GN_MAX_KEY)
        return gn_error_set(err, GN_LIMIT, "a key may have at most %u bytes", GN_MAX_KEY);
    if (begin_scn == GN_SCN_OPEN)
        return gn_error_set(err, GN_INVALID_PARAMETER, "this SCN is reserved");
    if (!gn_vector_is_sound(index->options.metric, vector, index->options.dimensions))
        return gn_error_set(err, GN_BAD_VECTOR, "NaN and infinity are not allowed in a vector");
    for (uint32_t i = 0; i < index->measure.words && index->options.halves; i++) {
        if (fabsf(vector[i]) >= GN_F16_OVERFLOW)
            return gn_error_set(err, GN_BAD_VECTOR, "%g is out of range for a half-precision vector",
                                (double)vector[i]);
    }
    return GN_OK;
}

/* Under the lock. vector: a row, or NULL to hide the key from ancestors. */
static gn_code append(gn_vindex *index, gn_bytes key, uint64_t branch, uint64_t begin_scn, const void *vector,
                      gn_error *err)
{
    version_search s = {.branch = branch, .begin = begin_scn};
    if (begin_scn <= index->max_begin) {
        gn_vview_each_version(index->view, key, is_the_version, &s);
        if (s.found)
            return GN_OK;
    }
    if (!vector) {
        gn_vview_each_version(index->view, key, is_of_another_branch, &s);
        if (!s.elsewhere)
            return GN_OK; /* there is nothing to hide */
    }
    gn_row row = {.key = key, .branch = branch, .begin = begin_scn, .end = GN_SCN_OPEN};
    if (!gn_tail_append(index->view->tails[index->view->n_tails - 1], &row, vector))
        return gn_error_oom(err, index->account);
    if (begin_scn > index->max_begin)
        index->max_begin = begin_scn;
    index->dirty = true;
    gn_vindex_consider_build(index);
    return GN_OK;
}

gn_code gn_vindex_insert(gn_vindex *index, gn_bytes key, uint64_t branch, uint64_t begin_scn, const float *vector,
                         gn_error *err)
{
    gn_code code = check_insert(index, key, begin_scn, vector, err);
    if (code != GN_OK)
        return code;
    pthread_mutex_lock(&index->lock);
    bool directed = gn_measure_row(&index->measure, vector, index->row);
    code = append(index, key, branch, begin_scn, directed ? index->row : NULL, err);
    pthread_mutex_unlock(&index->lock);
    return code;
}

gn_code gn_vindex_hide(gn_vindex *index, gn_bytes key, uint64_t branch, uint64_t scn, gn_error *err)
{
    if (key.len > GN_MAX_KEY || scn == GN_SCN_OPEN)
        return gn_error_set(err, GN_INVALID_PARAMETER, "impossible key or SCN");
    pthread_mutex_lock(&index->lock);
    gn_code code = append(index, key, branch, scn, NULL, err);
    pthread_mutex_unlock(&index->lock);
    return code;
}

static void note_end(gn_vindex *index, gn_bytes key, uint64_t branch, uint64_t begin, uint64_t end)
{
    if (index->n_ended == index->cap_ended) {
        index->cap_ended = index->cap_ended ? index->cap_ended * 2 : 256;
        index->ended = gn_xrealloc(index->ended, index->cap_ended * sizeof *index->ended);
    }
    if (!index->ended_keys)
        index->ended_keys = gn_arena_create(NULL); /* an end cannot fail, so it is not accounted */
    key.data = gn_arena_memdup(index->ended_keys, key.data, key.len);
    index->ended[index->n_ended++] = (gn_ended){.key = key, .branch = branch, .begin = begin, .end = end};
}

void gn_vindex_end(gn_vindex *index, gn_bytes key, uint64_t branch, uint64_t end_scn)
{
    version_search s = {.branch = branch, .begin = end_scn};
    pthread_mutex_lock(&index->lock);
    gn_vview_each_version(index->view, key, is_current_before, &s);
    if (s.found) {
        if (s.tail)
            gn_tail_set_end(s.tail, s.at, end_scn);
        else
            gn_segment_set_end(s.segment, s.at, end_scn);
        index->dirty = true;
        if (index->building)
            note_end(index, key, branch, s.found_begin, end_scn);
    }
    pthread_mutex_unlock(&index->lock);
}

void gn_vindex_set_position(gn_vindex *index, uint64_t scn)
{
    pthread_mutex_lock(&index->lock);
    if (scn > index->position) {
        index->position = scn;
        index->dirty = true;
    }
    pthread_mutex_unlock(&index->lock);
}

uint64_t gn_vindex_durable_position(const gn_vindex *index)
{
    return atomic_load(&index->durable);
}

void gn_vindex_set_horizon(gn_vindex *index, uint64_t scn)
{
    pthread_mutex_lock(&index->lock);
    if (scn > atomic_load(&index->horizon)) {
        atomic_store(&index->horizon, scn);
        gn_vindex_consider_build(index);
    }
    pthread_mutex_unlock(&index->lock);
}
