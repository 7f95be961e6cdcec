/* How large ef must be for a wanted recall, found by searching a segment for what is known.
 *
 * Queries are some of the segment's own vectors, each hidden from the walk while it is searched for, or the owner's.
 * The exact answer to each is found by a scan; then the walk is run at each ef of a ladder, and the share of the answer
 * that it misses is that query's loss. With n queries and the mean loss R, the loss of a further query of the same kind
 * is expected to be at most (n R + 1) / (n + 1): conformal risk control (Angelopoulos et al., 2022), which holds for
 * any distribution and any n. A target is met by the smallest ef for which that bound suffices. */
#include "base/assert.h"
#include "index/calibrate_private.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>

static const uint32_t ladder[GN_CALIBRATION_POINTS] = {10, 14, 20, 28, 40, 56, 80, 112, 160, 224, 320, 448};

enum { K = GN_CALIBRATION_K, CANDIDATES = 256 };

/* A query of its own: one of the owner's, or the vector of a row. */
static float *copy_query(const gn_segment *s, const float *query, uint32_t row)
{
    const gn_measure *m = &s->measure;
    float *copy = aligned_alloc(GN_VECTOR_ALIGN, m->stride * sizeof *copy);
    GN_ASSERT(copy != NULL);
    if (!query) {
        gn_measure_widen(m, gn_segment_vector(s, row), copy);
        return copy;
    }
    memcpy(copy, query, m->words * sizeof *copy);
    memset(copy + m->words, 0, (m->stride - m->words) * sizeof *copy);
    return copy;
}

/* ---- the exact answer ---- */

typedef struct question {
    const gn_segment *segment;
    float *vector;
    uint32_t hidden; /* GN_NO_LINK: none */
    uint32_t answer[K];
    uint32_t n_answer;
} question;

/* The nearest by the codes, of which the nearest by the vectors are taken: 8-bit codes are that good. */
static void answer_by_codes(question *q, gn_code_query *scratch)
{
    enum { RUN = 64 };
    const gn_segment *s = q->segment;
    gn_candidate best[CANDIDATES];
    const uint8_t *codes[RUN];
    float distance[RUN];
    size_t n_best = 0, n_near = 0;
    gn_candidate near[K];
    gn_codec_prepare(s->codec, scratch, q->vector);
    for (uint32_t from = 0; from < s->header->n_nodes; from += RUN) {
        uint32_t n = s->header->n_nodes - from < RUN ? s->header->n_nodes - from : RUN;
        for (uint32_t i = 0; i < n; i++)
            codes[i] = gn_segment_code(s, from + i);
        gn_codec_measure(s->codec, scratch, codes, n, distance);
        for (uint32_t i = 0; i < n; i++) {
            if (from + i != q->hidden)
                gn_heap_offer(best, &n_best, CANDIDATES, (gn_candidate){.id = from + i, .distance = distance[i]});
        }
    }
    for (size_t i = 0; i < n_best; i++) {
        float d = gn_measure_one(&s->measure, q->vector, gn_segment_vector(s, best[i].id));
        gn_heap_offer(near, &n_near, K, (gn_candidate){.id = best[i].id, .distance = d});
    }
    q->n_answer = (uint32_t)n_near;
    for (size_t i = 0; i < n_near; i++)
        q->answer[i] = near[i].id;
}

static bool not_hidden(void *ctx, const void *segment, uint32_t row)
{
    (void)segment;
    return row != ((const question *)ctx)->hidden;
}

static void answer_by_vectors(question *q)
{
    gn_hit hits[K];
    gn_topk top = {.hits = hits, .k = K};
    gn_segment_scan(q->segment, q->vector, (gn_accept){.fn = not_hidden, .ctx = q}, &top);
    q->n_answer = (uint32_t)top.n;
    for (size_t i = 0; i < top.n; i++)
        q->answer[i] = top.hits[i].row;
}

static void answer(question *q, gn_code_query *scratch)
{
    switch (gn_codec_kind(q->segment->codec)) {
    case GN_CODES_FLOAT16:
    case GN_CODES_BFLOAT16:
    case GN_CODES_SQ8:
    case GN_CODES_REDUCED:
        answer_by_codes(q, scratch);
        break;
    default:
        answer_by_vectors(q);
        break;
    }
}

/* ---- the walk's ---- */

static gn_code loss_at(gn_segment *s, const question *q, uint32_t ef, gn_candidate *best, double *loss, gn_error *err)
{
    gn_segment_query walk = {
        .vector = q->vector, .k = K, .ef = ef, .bound = INFINITY, .hidden = q->hidden, .best = best};
    gn_code code = gn_segment_search(s, &walk, err);
    if (code != GN_OK)
        return code;
    gn_candidate near[K];
    size_t n_near = 0;
    uint32_t hits = 0;
    for (size_t i = 0; i < walk.n_best; i++)
        gn_heap_offer(near, &n_near, K, walk.best[i]);
    for (size_t i = 0; i < n_near; i++) {
        for (uint32_t j = 0; j < q->n_answer; j++)
            hits += near[i].id == q->answer[j];
    }
    *loss = q->n_answer ? 1 - (double)hits / q->n_answer : 0;
    return GN_OK;
}

gn_code gn_segment_calibrate(gn_segment *s, const float *queries, uint32_t n, const _Atomic bool *cancel,
                             gn_calibration *out, gn_error *err)
{
    const gn_segment_header *h = s->header;
    GN_ASSERT(h->graph == GN_GRAPH_HNSW && n >= 1);
    gn_code code = GN_OK;
    gn_code_query *scratch = gn_code_query_create(s->codec);
    gn_candidate *best = gn_xcalloc(2 * (size_t)ladder[GN_CALIBRATION_POINTS - 1], sizeof *best);
    double loss[GN_CALIBRATION_POINTS] = {0};
    uint32_t first = h->levels > 1 ? h->level_count[1] : 0; /* those below stand in upper layers and cannot be hidden */
    for (uint32_t i = 0; i < n && code == GN_OK; i++) {
        uint32_t row = first + (uint32_t)((uint64_t)i * (h->n_nodes - first) / n);
        question q = {.segment = s, .hidden = queries ? GN_NO_LINK : row};
        q.vector = copy_query(s, queries ? queries + (size_t)i * s->measure.words : NULL, row);
        answer(&q, scratch);
        for (size_t p = 0; p < GN_CALIBRATION_POINTS && code == GN_OK; p++) {
            double missed = 0;
            code = loss_at(s, &q, ladder[p], best, &missed, err);
            loss[p] += missed;
        }
        free(q.vector);
        if (code == GN_OK && cancel && atomic_load(cancel))
            code = gn_error_set(err, GN_CANCELED, "calibration was canceled");
    }
    if (code == GN_OK) {
        *out = (gn_calibration){.n_queries = n, .k = K, .n_points = GN_CALIBRATION_POINTS};
        double worst = 0;
        for (size_t p = GN_CALIBRATION_POINTS; p-- > 0;) { /* the bound wants losses that never rise with ef */
            worst = fmax(worst, loss[p] / n);
            out->point[p].ef = ladder[p];
            out->point[p].loss = (float)worst;
        }
    }
    gn_code_query_destroy(scratch);
    free(best);
    return code;
}

/* ---- asking ---- */

bool gn_calibration_is_sound(const gn_calibration *c)
{
    if (c->n_queries < 1 || c->k != K || c->n_points != GN_CALIBRATION_POINTS)
        return false;
    for (size_t p = 0; p < GN_CALIBRATION_POINTS; p++) {
        if (!(c->point[p].loss >= 0 && c->point[p].loss <= 1) || c->point[p].ef != ladder[p])
            return false;
    }
    return true;
}

static double bound_of(const gn_calibration *c, size_t p)
{
    return (c->n_queries * (double)c->point[p].loss + 1) / (c->n_queries + 1.0);
}

uint32_t gn_calibration_ef(const gn_calibration *c, double target, uint32_t k)
{
    for (size_t p = 0; p < GN_CALIBRATION_POINTS; p++) {
        if (bound_of(c, p) > 1 - target)
            continue;
        /* More results want as many more candidates; that recall falls no faster than this is not part of the bound. */
        double ef = k > K ? (double)c->point[p].ef * k / K : c->point[p].ef;
        return ef < 1e9 ? (uint32_t)ef : 1000000000u;
    }
    return 0;
}

double gn_calibration_recall(const gn_calibration *c, uint32_t ef)
{
    double recall = 0;
    for (size_t p = 0; p < GN_CALIBRATION_POINTS && c->point[p].ef <= ef; p++)
        recall = 1 - bound_of(c, p);
    return recall;
}
