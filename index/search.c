/* A search over a view: walks and scans its parts into one top-k.
 *
 * What a reader may see is decided per version before it can become a result, so that versions that are ended, too new,
 * hidden or filtered out never take a place among the k. Where a part has no such version, nothing is looked at. */
#include "base/assert.h"
#include "base/limits.h"
#include "index/calibrate_private.h"
#include "index/vector_index_private.h"

#include <math.h>
#include <stdatomic.h>

typedef struct searching {
    const gn_vview *view;
    const gn_vsearch *search;
    const gn_measure *measure;
    float *query;    /* padded, normalised for cosine */
    bool undirected; /* a zero query by cosine: every distance is NaN */
    bool one_branch;
    uint32_t ef;
    gn_candidate *best;   /* room for 2 ef */
    gn_memo_part **memos; /* of each segment, with a judge */
    gn_topk top;
    double worst_recall;
    bool short_walk; /* a walk ended with fewer than it could have found */
    gn_vsearch_stats stats;
} searching;

/* ---- what is seen ---- */

typedef struct hiding {
    const gn_vsearch *search;
    size_t nearer; /* branches of the chain before this one hide */
    bool hidden;
} hiding;

static bool hides(void *ctx, const gn_row *row, gn_segment *segment, gn_tail *tail, uint32_t at)
{
    (void)segment, (void)tail, (void)at;
    hiding *h = ctx;
    for (size_t i = 0; i < h->nearer && !h->hidden; i++) {
        const gn_branch_at *b = &h->search->chain[i];
        h->hidden = b->branch == row->branch && row->begin <= b->scn;
    }
    return !h->hidden;
}

/* As far as that can be told without the key. *nearer: branches of the chain that may hide it. */
static bool is_of_the_time(const searching *s, const gn_row *row, size_t *nearer)
{
    size_t i = 0;
    while (i < s->search->n_chain && s->search->chain[i].branch != row->branch)
        i++;
    *nearer = s->one_branch ? 0 : i;
    return i < s->search->n_chain && row->begin <= s->search->chain[i].scn && row->end > s->search->chain[i].scn;
}

static bool matches(const searching *s, gn_bytes key, uint64_t begin)
{
    return !s->search->filter || s->search->filter(s->search->filter_ctx, key, begin);
}

static bool is_hidden(const searching *s, gn_bytes key, size_t nearer)
{
    hiding h = {.search = s->search, .nearer = nearer};
    if (nearer > 0)
        gn_vview_each_version(s->view, key, hides, &h);
    return h.hidden;
}

static bool accept_row(const searching *s, const gn_row *row)
{
    size_t nearer;
    return is_of_the_time(s, row, &nearer) && !is_hidden(s, row->key, nearer) && matches(s, row->key, row->begin) &&
           (!s->search->judge || s->search->judge(s->search->judge_ctx, row->key, row->begin) == GN_VERDICT_YES);
}

static bool accept_in_segment(void *ctx, const void *source, uint32_t at)
{
    const searching *s = ctx;
    const gn_segment *segment = source;
    gn_row row;
    size_t nearer;
    gn_segment_version(segment, at, &row);
    if (!is_of_the_time(s, &row, &nearer))
        return false;
    if (nearer == 0 && !s->search->filter)
        return true;
    return gn_segment_key(segment, at, &row.key) && !is_hidden(s, row.key, nearer) && matches(s, row.key, row.begin);
}

/* With a judge, for what the memo does not have. */
typedef struct judging {
    const searching *s;
    gn_memo_part *memo; /* NULL: there is no room for one */
} judging;

static bool accept_judged_in_segment(void *ctx, const void *source, uint32_t at)
{
    const judging *j = ctx;
    const gn_vsearch *q = j->s->search;
    const gn_segment *segment = source;
    gn_bytes key;
    if (!accept_in_segment((void *)(uintptr_t)j->s, source, at))
        return false;
    if (j->memo && gn_memo_get(j->memo, at) == GN_MEMO_YES)
        return true;
    if (!gn_segment_key(segment, at, &key))
        return false;
    gn_verdict verdict = q->judge(q->judge_ctx, key, segment->begin[at]);
    if (verdict != GN_VERDICT_NONE && j->memo)
        gn_memo_set(j->memo, at, verdict == GN_VERDICT_YES);
    return verdict == GN_VERDICT_YES;
}

/* Where every version is seen. */
static bool accept_matching_in_segment(void *ctx, const void *source, uint32_t at)
{
    const gn_segment *segment = source;
    gn_bytes key;
    return gn_segment_key(segment, at, &key) && matches(ctx, key, segment->begin[at]);
}

static bool accept_in_tail(void *ctx, const void *tail, uint32_t at)
{
    gn_row row;
    return gn_tail_row(tail, at, &row) && accept_row(ctx, &row);
}

typedef enum sight { SEES_NOTHING, SEES_SOME, SEES_ALL } sight;

/* What a search sees of a part whose rows are all of one branch, from min_begin to max_begin. */
static sight sight_of(const searching *s, uint64_t branch, uint64_t min_begin, uint64_t max_begin, uint32_t n_ended)
{
    const gn_vsearch *q = s->search;
    for (size_t i = 0; i < q->n_chain; i++) {
        if (q->chain[i].branch != branch)
            continue;
        if (min_begin > q->chain[i].scn)
            return SEES_NOTHING;
        bool all = max_begin <= q->chain[i].scn && n_ended == 0 && (i == 0 || s->one_branch);
        return all ? SEES_ALL : SEES_SOME;
    }
    return SEES_NOTHING;
}

static sight sight_of_segment(const searching *s, const gn_segment *seg)
{
    const gn_segment_header *h = seg->header;
    if (h->n_nodes == 0)
        return SEES_NOTHING;
    if (h->many_branches)
        return SEES_SOME;
    return sight_of(s, h->branch, h->min_begin, h->max_begin,
                    atomic_load_explicit(&seg->n_ended, memory_order_acquire));
}

static sight sight_of_tail(const searching *s, const gn_tail *tail)
{
    if (gn_tail_rows(tail) == 0)
        return SEES_NOTHING;
    /* A row may be added while we look, of another branch or SCN; it is newer than what this search may see. So the
     * tail that grows is never seen as a whole without looking at its rows. */
    return atomic_load(&tail->many_branches) ? SEES_SOME
                                             : sight_of(s, atomic_load(&tail->branch), atomic_load(&tail->min_begin),
                                                        atomic_load(&tail->max_begin), atomic_load(&tail->n_ended));
}

/* ---- parts ---- */

static void scan_segment(searching *s, const gn_segment *seg, gn_accept accept)
{
    s->stats.distances += gn_segment_scan(seg, s->query, accept, &s->top);
}

/* Instead of a walk that would see too much. */
static void scan_for_filter(searching *s, gn_segment *seg, gn_accept accept)
{
    s->stats.distances += gn_segment_scan_likely(seg, s->query, accept, &s->top);
}

/* About how many of a segment's nodes can be results: those not ended, times what the filter is thought to leave. 0:
 * not known. */
static float share_of(const searching *s, const gn_segment *seg, const gn_memo_part *memo)
{
    enum { TELLING = 1024 };
    uint32_t n = seg->header->n_nodes, ended = atomic_load_explicit(&seg->n_ended, memory_order_relaxed);
    float live = ended < n ? (float)(n - ended) / (float)n : 1 / (float)n;
    uint32_t known = memo ? atomic_load_explicit(&memo->n_known, memory_order_relaxed) : 0;
    if (known > 0 && (known == n || known >= TELLING))
        return live * fmaxf((float)atomic_load_explicit(&memo->n_match, memory_order_relaxed), 0.5F) / (float)known;
    if (!s->search->filter && !s->search->judge)
        return live;
    return s->search->filter_share > 0 ? live * fminf(s->search->filter_share, 1) : 0;
}

/* What it costs to look at every row, fitted to measurements. The unit is a node that a walk measures. */
static float scan_cost_of(const gn_segment *seg, float share, const gn_memo_part *memo)
{
    static const float JUDGED = 2, MEASURED = 0.5F;
    float n = (float)seg->header->n_nodes;
    float unknown = memo ? n - (float)atomic_load_explicit(&memo->n_known, memory_order_relaxed) : 0;
    return n * (memo ? GN_COST_PASSED_OVER : GN_COST_ASKED) + unknown * JUDGED +
           n * (share > 0 ? share : 0.5F) * MEASURED;
}

/* Does a scan cost less than a walk would without a filter? */
static bool better_scanned(uint32_t ef, float scan_cost)
{
    return scan_cost < 100 + 8 * (float)ef;
}

/* The ef for this segment; 0: it must be scanned for what is wanted. */
static uint32_t ef_for(searching *s, const gn_segment *seg)
{
    enum { UNCALIBRATED = 200 };
    const gn_vsearch *q = s->search;
    const gn_calibrated *c = atomic_load_explicit(&seg->calibrated, memory_order_acquire);
    uint32_t ef = s->ef;
    if (q->target_recall > 0 && q->ef == 0) {
        ef = c ? gn_calibration_ef(&c->table, q->target_recall, q->k) : UNCALIBRATED;
        if (ef == 0)
            return 0;
        ef = ef < q->k ? q->k : ef < s->ef ? ef : s->ef; /* s->ef is what there is room for */
    }
    s->stats.ef = ef > s->stats.ef ? ef : s->stats.ef;
    s->worst_recall = fmin(s->worst_recall, c ? gn_calibration_recall(&c->table, ef) : 0);
    return ef;
}

static gn_accept accept_of(searching *s, sight sees, judging *judged)
{
    if (s->search->judge)
        return (gn_accept){.fn = accept_judged_in_segment,
                           .ctx = judged,
                           .memo = judged->memo,
                           .dear = true,
                           .memo_suffices = sees == SEES_ALL && !s->search->filter};
    return (gn_accept){.fn = sees != SEES_ALL    ? accept_in_segment
                             : s->search->filter ? accept_matching_in_segment
                                                 : NULL,
                       .ctx = s};
}

static gn_code search_segment(searching *s, gn_segment *seg, gn_memo_part *memo, bool exact, gn_error *err)
{
    sight sees = sight_of_segment(s, seg);
    if (sees == SEES_NOTHING)
        return GN_OK;
    judging judged = {.s = s, .memo = memo};
    gn_accept accept = accept_of(s, sees, &judged);
    s->stats.segments++;
    float share = accept.fn ? share_of(s, seg, memo) : 1;
    bool scan = exact || seg->header->graph != GN_GRAPH_HNSW || seg->header->n_nodes <= s->search->k;
    uint32_t ef = scan ? 0 : ef_for(s, seg);
    if (ef == 0 || ef >= seg->header->n_nodes) {
        scan_segment(s, seg, accept);
        return GN_OK;
    }
    float scan_cost = scan_cost_of(seg, share, memo);
    if (accept.fn && better_scanned(ef, scan_cost)) {
        scan_for_filter(s, seg, accept);
        return GN_OK;
    }
    gn_segment_query q = {.vector = s->query,
                          .k = s->search->k,
                          .ef = ef,
                          .hidden = GN_NO_LINK,
                          .rerank = s->view->index->options.rerank,
                          .bound = gn_topk_bound(&s->top),
                          .accept = accept,
                          .share = share,
                          .scan_cost = scan_cost,
                          .best = s->best};
    gn_code code = gn_segment_search(seg, &q, err);
    s->stats.distances += q.distances;
    if (code != GN_OK)
        return code;
    if (q.gave_up) {
        scan_for_filter(s, seg, accept);
        return GN_OK;
    }
    s->short_walk |= !q.found_all;
    for (size_t i = 0; i < q.n_best; i++) {
        if (q.best[i].distance <= gn_topk_bound(&s->top))
            gn_topk_offer(
                &s->top,
                (gn_hit){.distance = q.best[i].distance, .row = q.best[i].id, .source = seg, .row_of = gn_segment_row});
    }
    return GN_OK;
}

static gn_code find_damage(const searching *s, gn_error *err)
{
    for (size_t i = 0; i < s->view->n_segments; i++) {
        if (atomic_load_explicit(&s->view->segments[i]->damaged, memory_order_relaxed))
            return gn_error_set(err, GN_INDEX_CORRUPT, "vector index segment \"%s\" is damaged",
                                s->view->segments[i]->path);
    }
    return GN_OK;
}

static gn_code search_parts(searching *s, bool exact, gn_error *err)
{
    gn_code code = GN_OK;
    s->top.n = 0;
    s->stats.segments = 0;
    s->stats.tail_rows = 0;
    /* The tail first: its hits bound what the segments have to offer. */
    for (size_t i = 0; i < s->view->n_tails; i++) {
        gn_tail *tail = s->view->tails[i];
        sight sees = sight_of_tail(s, tail);
        if (sees == SEES_NOTHING)
            continue;
        bool all = sees == SEES_ALL && !s->search->filter && !s->search->judge && i + 1 < s->view->n_tails;
        gn_accept accept = {.fn = all ? NULL : accept_in_tail, .ctx = s, .dear = s->search->judge != NULL};
        s->stats.tail_rows += gn_tail_rows(tail);
        s->stats.distances += gn_tail_scan(tail, s->query, accept, &s->top);
    }
    for (size_t i = 0; i < s->view->n_segments && code == GN_OK; i++)
        code = search_segment(s, s->view->segments[i], s->memos ? s->memos[i] : NULL, exact, err);
    return code == GN_OK ? find_damage(s, err) : code;
}

/* ---- a list of keys ---- */

typedef struct keyed {
    searching *s;
    gn_hit pending[4];
    const void *vectors[4];
    uint32_t n;
} keyed;

static void measure_pending(keyed *k)
{
    float distance[4];
    for (uint32_t i = k->n; i < 4; i++)
        k->vectors[i] = k->vectors[0];
    if (k->n == 0)
        return;
    gn_measure_four(k->s->measure, k->s->query, k->vectors, distance);
    for (uint32_t i = 0; i < k->n; i++) {
        k->pending[i].distance = distance[i];
        if (distance[i] <= gn_topk_bound(&k->s->top))
            gn_topk_offer(&k->s->top, k->pending[i]);
    }
    k->s->stats.distances += k->n;
    k->n = 0;
}

static bool measure_version(void *ctx, const gn_row *row, gn_segment *segment, gn_tail *tail, uint32_t at)
{
    keyed *k = ctx;
    bool has_vector = tail ? gn_tail_has_vector(tail, at) : at < segment->header->n_nodes;
    if (!has_vector || !accept_row(k->s, row))
        return true;
    k->pending[k->n] = (gn_hit){
        .row = at, .source = tail ? (const void *)tail : segment, .row_of = tail ? gn_tail_row : gn_segment_row};
    k->vectors[k->n] = tail ? gn_tail_vector(tail, at) : gn_segment_vector(segment, at);
    gn_prefetch_row(k->s->measure, k->vectors[k->n]);
    if (++k->n == 4)
        measure_pending(k);
    return true;
}

static void search_keys(searching *s)
{
    keyed k = {.s = s};
    for (size_t i = 0; i < s->search->n_keys; i++)
        gn_vview_each_version(s->view, s->search->keys[i], measure_version, &k);
    measure_pending(&k);
}

/* ---- the search ---- */

static gn_code check(const gn_vview *view, const gn_vsearch *q, gn_error *err)
{
    if (q->k < 1 || q->k > GN_MAX_K)
        return gn_error_set(err, GN_INVALID_PARAMETER, "k must be between 1 and %u, not %u", GN_MAX_K, q->k);
    if (q->ef > GN_MAX_EF)
        return gn_error_set(err, GN_INVALID_PARAMETER, "ef must be at most %u, not %u", GN_MAX_EF, q->ef);
    if (!(q->target_recall >= 0 && q->target_recall < 1))
        return gn_error_set(err, GN_INVALID_PARAMETER, "the target recall must be below 1, not %g",
                            (double)q->target_recall);
    if (q->n_chain < 1)
        return gn_error_set(err, GN_INVALID_PARAMETER, "a search needs a branch to read");
    if (!gn_vector_is_sound(view->index->options.metric, q->query, view->index->options.dimensions))
        return gn_error_set(err, GN_BAD_VECTOR, "NaN and infinity are not allowed in a vector");
    return GN_OK;
}

static uint64_t rows_of(const gn_vview *view)
{
    uint64_t n = 0;
    for (size_t i = 0; i < view->n_segments; i++)
        n += view->segments[i]->header->n_nodes;
    for (size_t i = 0; i < view->n_tails; i++)
        n += gn_tail_rows(view->tails[i]);
    return n;
}

/* The largest ef that some segment needs for the target. */
static uint32_t ef_room(const searching *s)
{
    uint32_t most = 200;
    for (size_t i = 0; i < s->view->n_segments; i++) {
        const gn_calibrated *c = atomic_load_explicit(&s->view->segments[i]->calibrated, memory_order_acquire);
        uint32_t ef = c ? gn_calibration_ef(&c->table, s->search->target_recall, s->search->k) : 0;
        most = ef > most ? ef : most;
    }
    return most > GN_MAX_EF ? GN_MAX_EF : most;
}

static gn_code begin(searching *s, gn_error *err)
{
    const gn_vindex *index = s->view->index;
    const gn_vsearch *q = s->search;
    uint32_t dimensions = index->options.dimensions;
    uint64_t rows = rows_of(s->view);
    s->measure = &index->measure;
    s->one_branch = gn_vview_one_branch(s->view);
    s->ef = q->ef ? q->ef : q->target_recall > 0 ? ef_room(s) : GN_DEFAULT_EF;
    s->worst_recall = 1;
    s->ef = s->ef < q->k ? q->k : s->ef;
    s->top.k = q->k < rows ? q->k : (size_t)rows + 1;
    uint8_t *memory = gn_arena_alloc(q->arena, s->measure->stride * sizeof(float) + GN_VECTOR_ALIGN);
    s->best = gn_arena_alloc(q->arena, 2 * (size_t)s->ef * sizeof *s->best);
    s->top.hits = gn_arena_alloc(q->arena, s->top.k * sizeof *s->top.hits);
    if (!memory || !s->best || !s->top.hits)
        return gn_error_oom(err, gn_arena_account(q->arena));
    s->query = (float *)(void *)(memory + (-(uintptr_t)memory & (GN_VECTOR_ALIGN - 1)));
    memset(s->query, 0, s->measure->stride * sizeof(float));
    memcpy(s->query, q->query, gn_vector_words(index->options.metric, dimensions) * sizeof(float));
    if (index->options.metric == GN_METRIC_COSINE)
        s->undirected = !gn_normalize(index->kernels, s->query, dimensions);
    return GN_OK;
}

static float surface_distance(const searching *s, float d)
{
    switch (s->view->index->options.metric) {
    case GN_METRIC_L2:
        return sqrtf(d);
    case GN_METRIC_COSINE:
        if (s->undirected)
            return NAN;
        d += 1; /* d is the negated cosine */
        return d < 0 ? 0 : d > 2 ? 2 : d;
    default:
        return d;
    }
}

/* What is remembered of the judge's answers, or a place for them. */
static gn_code begin_judging(searching *s, gn_error *err)
{
    const gn_vview *view = s->view;
    if (!s->search->memo)
        return GN_OK;
    s->memos = gn_arena_alloc(s->search->arena, (view->n_segments + 1) * sizeof *s->memos);
    if (!s->memos)
        return gn_error_oom(err, gn_arena_account(s->search->arena));
    gn_vmemo_begin(s->search->memo);
    for (size_t i = 0; i < view->n_segments; i++)
        s->memos[i] = gn_vmemo_part(s->search->memo, view->segments[i]);
    return GN_OK;
}

static gn_code find(searching *s, gn_error *err)
{
    gn_code code = GN_OK;
    if (s->search->keys) {
        search_keys(s);
        code = find_damage(s, err);
    } else {
        code = search_parts(s, s->search->exact, err);
    }
    /* Nodes that no walk reaches must not make a result short. */
    if (code == GN_OK && s->top.n < s->search->k && s->short_walk)
        code = search_parts(s, true, err);
    return code;
}

gn_code gn_vview_search(const gn_vview *view, const gn_vsearch *search, gn_neighbor **out, size_t *n_out,
                        gn_vsearch_stats *stats, gn_error *err)
{
    searching s = {.view = view, .search = search};
    gn_code code = check(view, search, err);
    if (code == GN_OK)
        code = begin(&s, err);
    if (code == GN_OK)
        code = begin_judging(&s, err);
    if (code == GN_OK)
        code = find(&s, err);
    if (s.memos)
        gn_vmemo_end(search->memo, view);
    if (code != GN_OK)
        return code;
    gn_topk_sort(&s.top);
    gn_neighbor *neighbors = gn_arena_alloc(search->arena, s.top.n * sizeof *neighbors);
    if (!neighbors)
        return gn_error_oom(err, gn_arena_account(search->arena));
    for (size_t i = 0; i < s.top.n; i++) {
        gn_row row;
        if (!s.top.hits[i].row_of(s.top.hits[i].source, s.top.hits[i].row, &row))
            return gn_error_set(err, GN_INDEX_CORRUPT, "a vector index segment is damaged: the place of a key");
        neighbors[i] = (gn_neighbor){.distance = surface_distance(&s, s.top.hits[i].distance),
                                     .key = row.key,
                                     .branch = row.branch,
                                     .begin_scn = row.begin};
    }
    *out = neighbors;
    *n_out = s.top.n;
    s.stats.recall = (float)s.worst_recall;
    if (stats)
        *stats = s.stats;
    return GN_OK;
}
