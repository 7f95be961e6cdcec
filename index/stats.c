/* What an index is and will be: counts, sizes by part, recall, and the estimate before it is built. */
#include "index/calibrate_private.h"
#include "index/graph_private.h"
#include "index/vector_index_private.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>

/* ---- now ---- */

static void add_sections(const gn_segment *s, gn_vindex_stats *out)
{
    for (uint32_t i = 0; i < s->header->n_sections; i++) {
        const gn_section *t = &s->header->section[i];
        switch (t->kind) {
        case GN_SECTION_CODES:
        case GN_SECTION_QUANTIZER:
            out->code_bytes += t->bytes;
            break;
        case GN_SECTION_LINKS0:
        case GN_SECTION_LINKS_UPPER:
            out->link_bytes += t->bytes;
            break;
        case GN_SECTION_VECTORS:
            out->vector_bytes += t->bytes;
            break;
        default:
            out->other_bytes += t->bytes;
            break;
        }
    }
}

void gn_vindex_stats_get(const gn_vindex *index, gn_vindex_stats *out)
{
    gn_vview *view = gn_vview_acquire((gn_vindex *)(uintptr_t)index);
    uint32_t largest = 0;
    double found = 0, counted = 0;
    *out = (gn_vindex_stats){.segments = view->n_segments,
                             .building = atomic_load(&index->building_now),
                             .build_done = atomic_load(&index->build_done),
                             .build_total = atomic_load(&index->build_total)};
    for (size_t i = 0; i < view->n_segments; i++) {
        const gn_segment *s = view->segments[i];
        const gn_calibrated *c = atomic_load(&s->calibrated);
        uint32_t n = s->header->n_nodes;
        out->vectors += n;
        out->dead_vectors += atomic_load(&s->n_ended);
        out->disk_bytes += s->map_bytes;
        add_sections(s, out);
        if (n >= largest)
            out->codes = (gn_code_kind)s->header->codes;
        largest = n > largest ? n : largest;
        if (c || s->header->graph == GN_GRAPH_NONE) {
            counted += n;
            found += n * (c ? gn_calibration_recall(&c->table, GN_DEFAULT_EF) : 1);
        }
    }
    for (size_t i = 0; i < view->n_tails; i++) {
        gn_tail *t = view->tails[i];
        out->vectors += gn_tail_rows(t);
        out->tail_vectors += gn_tail_rows(t);
        out->dead_vectors += atomic_load(&t->n_ended);
        out->memory_bytes += atomic_load(&t->memory);
    }
    counted += (double)out->tail_vectors;
    found += (double)out->tail_vectors;
    /* Segments too small to be calibrated count as those that were, as long as these are most of it. */
    out->recall = counted > 0 && 2 * counted >= (double)out->vectors ? (float)(found / counted) : 0;
    gn_vview_release(view);
}

/* ---- calibrating ---- */

/* Padded no more than the segments want: they copy. */
static gn_code take_queries(const gn_vindex *index, const float *queries, uint32_t n, float **out, gn_error *err)
{
    uint32_t dimensions = index->options.dimensions;
    size_t words = gn_vector_words(index->options.metric, dimensions), all = (size_t)n * words;
    for (uint32_t i = 0; i < n; i++) {
        if (!gn_vector_is_sound(index->options.metric, queries + i * words, dimensions))
            return gn_error_set(err, GN_BAD_VECTOR, "NaN and infinity are not allowed in a vector");
    }
    *out = gn_xmalloc(all * sizeof **out);
    memcpy(*out, queries, all * sizeof **out);
    for (uint32_t i = 0; i < n && index->options.metric == GN_METRIC_COSINE; i++)
        gn_normalize(index->kernels, *out + (size_t)i * dimensions, dimensions);
    return GN_OK;
}

gn_code gn_vindex_calibrate(gn_vindex *index, const float *queries, uint32_t n, const _Atomic bool *cancel,
                            gn_error *err)
{
    enum { MAX_QUERIES = 10000 };
    float *taken = NULL;
    gn_code code = GN_OK;
    if (n > MAX_QUERIES || (queries && n == 0))
        return gn_error_set(err, GN_INVALID_PARAMETER, "a calibration takes 1 to %d queries, not %u", MAX_QUERIES, n);
    n = n ? n : GN_CALIBRATION_QUERIES;
    if (queries)
        code = take_queries(index, queries, n, &taken, err);
    if (code != GN_OK)
        return code;
    gn_vview *view = gn_vview_acquire(index);
    for (size_t i = 0; i < view->n_segments && code == GN_OK; i++) {
        gn_segment *s = view->segments[i];
        gn_calibration c;
        if (s->header->graph != GN_GRAPH_HNSW)
            continue;
        code = gn_segment_calibrate(s, taken, n, cancel, &c, err);
        if (code == GN_OK)
            gn_segment_set_calibration(s, &c);
    }
    gn_vview_release(view);
    free(taken);
    return code;
}

/* ---- beforehand ---- */

/* Of a code that a training would give; AUTO as if nothing could be left out. */
static uint64_t code_stride(const gn_vindex_options *o)
{
    gn_code_options c = gn_vindex_code_options(o);
    return gn_code_stride_of(&c);
}

gn_code gn_vindex_estimate_of(const gn_vindex_options *options, uint64_t rows, uint32_t key_bytes,
                              gn_vindex_estimate *out, gn_error *err)
{
    gn_vindex_options o = *options;
    gn_code code = gn_vindex_fill_options(&o, err);
    if (code != GN_OK)
        return code;
    uint64_t vector = gn_vector_row_bytes(o.metric, o.dimensions, o.halves), stride = code_stride(&o);
    uint64_t plain = o.codes == GN_CODES_FLOAT32;
    double upper = 1.0 / (o.m > 1 ? o.m - 1 : 1); /* links above layer 0: a geometric series */
    uint64_t links = (uint64_t)((gn_graph_m0(o.m) + upper * o.m + upper) * sizeof(uint32_t)); /* and cells */
    /* begin, end, key offset, key slot (a table between a third and two thirds full), older */
    uint64_t row = 8 + 8 + 8 + 8 * 2 + 4 + key_bytes;
    uint64_t built = o.codes == GN_CODES_FLOAT32 ? 0 : stride;
    *out = (gn_vindex_estimate){.file_bytes = rows * (vector + (plain ? 0 : stride) + links + row) + GN_SEGMENT_PAGE,
                                .walked_bytes = rows * ((plain ? vector : stride) + links),
                                .build_bytes = rows * (built + links + 2 * o.build_threads + 28)};
    return GN_OK;
}
