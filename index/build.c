/* Turning the tail into segments.
 *
 * A build freezes the tail (the writer goes on in a new one), merges what the policy says into one new file, writes the
 * manifest that names it, and swaps it in. Ends that the writer makes meanwhile are noted and applied at the swap.
 *
 * Policy. Everything that must be scanned is taken: tails and flat segments. A graph segment is taken too, its graph
 * extended, when what has been gathered so far is at least a seventh of it; so every vector is inserted into a graph
 * a number of times logarithmic in the growth, and a search walks as many graphs. A segment of which a fifth is dead to
 * every reader is taken in any case. Where memory does not suffice for this, only the scanned parts become a graph, and
 * where it does not suffice for that either, a flat file. */
#include "base/assert.h"
#include "base/log.h"
#include "index/calibrate_private.h"
#include "index/merge_private.h"
#include "index/vector_index_private.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

enum { EXTEND_SHARE = 7, DEAD_SHARE = 5, MANY_FLAT = 4 };

typedef struct plan {
    gn_vview *view; /* as of the freeze; a reference */
    gn_segment **take;
    size_t n_take;
    gn_tail **tails;
    size_t n_tails;
    uint64_t position;
    uint64_t number;
    bool flat, one_branch;
    uint64_t horizon;
} plan;

/* ---- policy ---- */

uint64_t gn_vindex_unindexed(const gn_vview *view)
{
    uint64_t rows = 0;
    for (size_t i = 0; i < view->n_tails; i++)
        rows += gn_tail_rows(view->tails[i]);
    for (size_t i = 0; i < view->n_segments; i++) {
        if (view->segments[i]->header->graph == GN_GRAPH_NONE)
            rows += view->segments[i]->header->n_nodes;
    }
    return rows;
}

static bool mostly_dead(const gn_segment *s, uint64_t horizon)
{
    uint64_t n = s->header->n_nodes, dead = s->header->max_end <= horizon ? s->header->n_ended : 0;
    if (atomic_load(&s->n_ended) * (uint64_t)DEAD_SHARE <= n)
        return false;
    size_t lo = 0, hi = s->n_changed; /* versions end in the order of SCNs */
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (atomic_load_explicit(&s->end[s->changed[mid]], memory_order_relaxed) <= horizon)
            lo = mid + 1;
        else
            hi = mid;
    }
    return (dead + lo) * DEAD_SHARE > n;
}

static int largest_first(const void *a, const void *b)
{
    const gn_segment *x = *(gn_segment *const *)a, *y = *(gn_segment *const *)b;
    bool gx = x->header->graph != GN_GRAPH_NONE, gy = y->header->graph != GN_GRAPH_NONE;
    if (gx != gy)
        return gx ? -1 : 1;
    uint32_t nx = x->header->n_nodes, ny = y->header->n_nodes;
    return nx > ny ? -1 : nx < ny ? 1 : x->number < y->number ? -1 : x->number > y->number;
}

/* A checkpoint gathers the flat segments only when they have become many. */
static void choose_flat(plan *p)
{
    size_t n = 0;
    for (size_t i = 0; i < p->view->n_segments; i++) {
        if (p->view->segments[i]->header->graph == GN_GRAPH_NONE)
            p->take[n++] = p->view->segments[i];
    }
    p->n_take = n >= MANY_FLAT ? n : 0;
}

/* Fills p->take from p->view, graphs first and the largest of them foremost. Under the lock: it looks at ends. */
static void choose_graphs(plan *p, bool with_graphs)
{
    uint64_t gathered = gn_vindex_unindexed(p->view);
    gn_segment **sorted = gn_xcalloc(p->view->n_segments + 1, sizeof *sorted);
    bool *take = gn_xcalloc(p->view->n_segments + 1, sizeof *take);
    memcpy(sorted, p->view->segments, p->view->n_segments * sizeof *sorted);
    qsort(sorted, p->view->n_segments, sizeof *sorted, largest_first);
    for (size_t i = p->view->n_segments; i-- > 0;) { /* the smallest first */
        const gn_segment_header *h = sorted[i]->header;
        if (h->graph == GN_GRAPH_NONE) {
            take[i] = true;
        } else if (with_graphs && (gathered * EXTEND_SHARE >= h->n_nodes || mostly_dead(sorted[i], p->horizon))) {
            take[i] = true;
            gathered += h->n_nodes;
        }
    }
    p->n_take = 0;
    for (size_t i = 0; i < p->view->n_segments; i++) {
        if (take[i])
            p->take[p->n_take++] = sorted[i];
    }
    free(sorted);
    free(take);
}

static void choose(gn_vindex *index, plan *p, bool with_graphs)
{
    pthread_mutex_lock(&index->lock);
    if (p->flat)
        choose_flat(p);
    else
        choose_graphs(p, with_graphs);
    pthread_mutex_unlock(&index->lock);
}

static bool worth_building(const gn_vindex *index)
{
    uint64_t unindexed = gn_vindex_unindexed(index->view);
    if (unindexed >= index->options.tail_rows && unindexed >= index->retry_rows)
        return true;
    for (size_t i = 0; i < index->view->n_segments && index->retry_rows == 0; i++) {
        const gn_segment *s = index->view->segments[i];
        if (s->header->graph != GN_GRAPH_NONE && mostly_dead(s, atomic_load(&index->horizon)))
            return true;
    }
    return false;
}

/* ---- one build at a time ---- */

static void background(void *arg);

void gn_vindex_consider_build(gn_vindex *index)
{
    if (index->building || index->wanted || atomic_load(&index->stop) || !worth_building(index))
        return;
    index->wanted = true;
    if (!index->strand) {
        index->strand = gn_strand_start(index->world, "vector index", background, index);
        if (!index->strand) {
            index->wanted = false; /* the next insert tries again; the tail serves meanwhile */
            return;
        }
    } else if (index->idle) {
        index->idle = false;
        gn_event_signal(&index->wake);
    }
}

/* Returns with `building` taken. */
static void take_turn(gn_vindex *index)
{
    pthread_mutex_lock(&index->lock);
    while (index->building) {
        gn_build_waiter waiter;
        gn_event_init(&waiter.event, index->world);
        waiter.next = index->waiters;
        index->waiters = &waiter;
        pthread_mutex_unlock(&index->lock);
        gn_event_wait(&waiter.event, UINT64_MAX);
        pthread_mutex_lock(&index->lock);
    }
    index->building = true;
    index->n_ended = 0;
    pthread_mutex_unlock(&index->lock);
}

static void leave_turn(gn_vindex *index)
{
    pthread_mutex_lock(&index->lock);
    index->building = false;
    index->n_ended = 0;
    if (index->ended_keys)
        gn_arena_reset(index->ended_keys);
    gn_build_waiter *w = index->waiters;
    index->waiters = NULL;
    while (w) {
        gn_build_waiter *next = w->next; /* gone once it is signalled */
        gn_event_signal(&w->event);
        w = next;
    }
    pthread_mutex_unlock(&index->lock);
}

/* ---- the steps ---- */

/* Gives the writer a new tail; the plan's view is what there was before. */
static void freeze(gn_vindex *index, plan *p)
{
    pthread_mutex_lock(&index->lock);
    gn_vview *old = index->view;
    size_t n_tails = old->n_tails;
    gn_tail **tails = gn_xcalloc(n_tails + 1, sizeof *tails);
    gn_segment **segments = gn_xcalloc(old->n_segments + 1, sizeof *segments);
    for (size_t i = 0; i < old->n_segments; i++)
        segments[i] = gn_segment_ref(old->segments[i]);
    for (size_t i = 0; i < n_tails; i++)
        tails[i] = gn_tail_ref(old->tails[i]);
    if (gn_tail_rows(old->tails[n_tails - 1]) > 0)
        tails[n_tails++] = gn_tail_create(index->account, &index->measure);
    gn_vview_publish(index, gn_vview_create(index, segments, old->n_segments, tails, n_tails));
    p->view = gn_vview_acquire(index);
    p->position = index->position;
    p->number = index->next_number++;
    p->horizon = atomic_load(&index->horizon);
    p->one_branch = gn_vview_one_branch(p->view);
    index->dirty = false; /* what comes from now on sets it again */
    pthread_mutex_unlock(&index->lock);
    p->tails = tails; /* the array is ours; the view holds the references */
    p->n_tails = p->view->n_tails - 1;
    p->take = segments;
}

typedef struct hide_question {
    const gn_row *row;
    uint64_t horizon;
    bool elsewhere, superseded;
} hide_question;

static bool ask_hide(void *ctx, const gn_row *row, gn_segment *segment, gn_tail *tail, uint32_t at)
{
    (void)segment, (void)tail, (void)at;
    hide_question *q = ctx;
    if (row->branch != q->row->branch)
        q->elsewhere = true;
    else if (row->begin > q->row->begin && row->begin <= q->horizon)
        q->superseded = true;
    return !q->superseded;
}

/* A dead version still hides its key from ancestor branches, unless a later one of its branch does so for everybody. */
static bool must_hide(void *ctx, const gn_row *row)
{
    const plan *p = ctx;
    if (p->one_branch)
        return false;
    hide_question q = {.row = row, .horizon = p->horizon};
    gn_vview_each_version(p->view, row->key, ask_hide, &q);
    return q.elsewhere && !q.superseded;
}

typedef struct reporting {
    gn_vindex *index;
    void (*progress)(void *, uint64_t, uint64_t);
    void *ctx;
} reporting;

static void report(void *ctx, uint64_t done, uint64_t total)
{
    reporting *r = ctx;
    atomic_store(&r->index->build_done, done);
    atomic_store(&r->index->build_total, total);
    if (r->progress)
        r->progress(r->ctx, done, total);
}

static gn_code merge(gn_vindex *index, plan *p, reporting *r, const _Atomic bool *cancel, const char *path,
                     uint32_t *n_rows, gn_error *err)
{
    gn_merge m = {.world = index->world,
                  .metric = index->options.metric,
                  .measure = &index->measure,
                  .dimensions = index->options.dimensions,
                  .m = index->options.m,
                  .ef_construction = index->options.ef_construction,
                  .threads = index->options.build_threads,
                  .seed = index->options.seed,
                  .codes = gn_vindex_code_options(&index->options),
                  /* A flat file is how memory is given back: it may not fail for want of its few bytes a row. */
                  .account = p->flat ? NULL : index->account,
                  .flat = p->flat,
                  .segments = p->take,
                  .n_segments = p->n_take,
                  .tails = p->tails,
                  .n_tails = p->n_tails,
                  .horizon = p->horizon,
                  .must_hide = must_hide,
                  .must_hide_ctx = p,
                  .progress = report,
                  .progress_ctx = r,
                  .cancel = &index->stop,
                  .cancel_too = cancel};
    gn_code code = gn_merge_run(&m, path, err);
    *n_rows = m.n_rows;
    return code;
}

/* As much as memory allows. */
static gn_code merge_within_budget(gn_vindex *index, plan *p, reporting *r, const _Atomic bool *cancel,
                                   const char *path, uint32_t *n_rows, gn_error *err)
{
    gn_error first = {0};
    choose(index, p, true);
    if (p->flat)
        return merge(index, p, r, cancel, path, n_rows, err);
    size_t all = p->n_take;
    gn_code code = merge(index, p, r, cancel, path, n_rows, &first);
    if (code == GN_OUT_OF_MEMORY) {
        choose(index, p, false);
        if (p->n_take < all)
            code = merge(index, p, r, cancel, path, n_rows, &first);
    }
    if (code == GN_OUT_OF_MEMORY && p->n_tails > 0) {
        gn_log_warn("index", "no memory to build a graph; the vectors are kept in a flat segment",
                    GN_KV_STR("reason", first.message));
        p->flat = true;
        choose(index, p, false);
        return merge(index, p, r, cancel, path, n_rows, err);
    }
    if (code != GN_OK && err)
        *err = first;
    return code;
}

static bool taken(const plan *p, const gn_segment *s)
{
    for (size_t i = 0; i < p->n_take; i++) {
        if (p->take[i] == s)
            return true;
    }
    return false;
}

static gn_code write_manifest(gn_vindex *index, const plan *p, const gn_segment *fresh, gn_error *err)
{
    gn_manifest manifest = {
        .metric = index->options.metric, .dimensions = index->options.dimensions, .position = p->position};
    pthread_mutex_lock(&index->lock);
    manifest.max_begin = index->max_begin;
    manifest.next_number = index->next_number;
    for (size_t i = 0; i < p->view->n_segments; i++) {
        if (!taken(p, p->view->segments[i]))
            gn_manifest_add(&manifest, p->view->segments[i]);
    }
    pthread_mutex_unlock(&index->lock);
    if (fresh)
        gn_manifest_add(&manifest, fresh);
    gn_code code = gn_manifest_write(index->dir, &manifest, err);
    gn_manifest_close(&manifest);
    return code;
}

bool gn_find_in_segment(const gn_segment *s, gn_bytes key, uint64_t branch, uint64_t begin, uint32_t *row)
{
    gn_row r;
    uint32_t at = gn_segment_find(s, key);
    for (uint32_t steps = 0; at != UINT32_MAX && steps < s->header->n_rows; steps++) {
        if (!gn_segment_row(s, at, &r))
            return false;
        if (r.branch == branch && r.begin == begin) {
            *row = at;
            return true;
        }
        at = gn_segment_older(s, at);
    }
    return false;
}

/* Takes over the reference to fresh (NULL: everything merged was dead). */
static void swap_in(gn_vindex *index, const plan *p, gn_segment *fresh)
{
    size_t n = 0;
    gn_segment **segments = gn_xcalloc(p->view->n_segments + 2, sizeof *segments);
    pthread_mutex_lock(&index->lock);
    for (size_t i = 0; i < index->n_ended && fresh; i++) {
        const gn_ended *e = &index->ended[i];
        uint32_t row;
        if (gn_find_in_segment(fresh, e->key, e->branch, e->begin, &row) &&
            atomic_load(&fresh->end[row]) == GN_SCN_OPEN)
            gn_segment_set_end(fresh, row, e->end);
    }
    for (size_t i = 0; i < p->view->n_segments; i++) {
        if (!taken(p, p->view->segments[i]))
            segments[n++] = gn_segment_ref(p->view->segments[i]);
    }
    if (fresh)
        segments[n++] = fresh;
    gn_tail *tail = gn_tail_ref(index->view->tails[index->view->n_tails - 1]);
    gn_vview_publish(index, gn_vview_create(index, segments, n, &tail, 1));
    atomic_store(&index->durable, p->position);
    index->retry_rows = 0;
    pthread_mutex_unlock(&index->lock);
    for (size_t i = 0; i < p->n_take; i++)
        unlink(p->take[i]->path); /* readers keep the mapping */
    free(segments);
}

/* A build that is canceled now was all but done; only a want of memory leaves the segment without. */
static gn_code calibrate(gn_vindex *index, gn_segment *fresh, const _Atomic bool *cancel, gn_error *err)
{
    gn_calibration c;
    const gn_segment_header *h = fresh->header;
    if (h->graph != GN_GRAPH_HNSW || h->n_nodes < GN_MIN_CALIBRATED)
        return GN_OK;
    gn_code code = gn_segment_calibrate(fresh, NULL, GN_CALIBRATION_QUERIES, cancel ? cancel : &index->stop, &c, err);
    if (code == GN_OK)
        return gn_segment_write_calibration(fresh, &c, err);
    return code == GN_OUT_OF_MEMORY ? GN_OK : code;
}

/* With the turn taken. Everything given so far gets into the files. */
static gn_code run(gn_vindex *index, bool flat, void (*progress)(void *, uint64_t, uint64_t), void *ctx,
                   const _Atomic bool *cancel, gn_error *err)
{
    plan p = {.flat = flat};
    reporting r = {.index = index, .progress = progress, .ctx = ctx};
    gn_segment *fresh = NULL;
    uint32_t n_rows = 0;
    freeze(index, &p);
    char *path = gn_segment_path(index->dir, p.number);
    atomic_store(&index->building_now, true);
    gn_code code = merge_within_budget(index, &p, &r, cancel, path, &n_rows, err);
    if (code == GN_OK && n_rows > 0)
        code = gn_segment_open(path, p.number, index->account, &fresh, err);
    if (code == GN_OK && fresh)
        code = calibrate(index, fresh, cancel, err);
    if (code == GN_OK)
        code = write_manifest(index, &p, fresh, err);
    if (code == GN_OK) {
        swap_in(index, &p, fresh);
    } else {
        gn_segment_unref(fresh);
        unlink(path);
        pthread_mutex_lock(&index->lock);
        index->dirty = true;
        index->retry_rows = gn_vindex_unindexed(index->view) + index->options.tail_rows;
        pthread_mutex_unlock(&index->lock);
    }
    atomic_store(&index->building_now, false);
    gn_vview_release(p.view);
    free(path);
    free(p.take);
    free(p.tails);
    return code;
}

/* ---- who runs it ---- */

/* Vectors that came while a build ran may be the last for long: no insert will ask for the next build. Flat segments,
 * which want of memory left, are none of this. */
static void consider_what_came(gn_vindex *index)
{
    uint64_t rows = 0;
    pthread_mutex_lock(&index->lock);
    for (size_t i = 0; i < index->view->n_tails; i++)
        rows += gn_tail_rows(index->view->tails[i]);
    index->wanted |= rows >= index->options.tail_rows;
    pthread_mutex_unlock(&index->lock);
}

static void background(void *arg)
{
    gn_vindex *index = arg;
    for (;;) {
        pthread_mutex_lock(&index->lock);
        while (!index->wanted && !atomic_load(&index->stop)) {
            gn_event_init(&index->wake, index->world);
            index->idle = true;
            pthread_mutex_unlock(&index->lock);
            gn_event_wait(&index->wake, UINT64_MAX);
            pthread_mutex_lock(&index->lock);
        }
        index->wanted = false;
        bool stop = atomic_load(&index->stop);
        pthread_mutex_unlock(&index->lock);
        if (stop)
            return;
        take_turn(index);
        gn_error err = {0};
        gn_code code = run(index, false, NULL, NULL, NULL, &err);
        leave_turn(index);
        if (code == GN_OK)
            consider_what_came(index);
        if (code != GN_OK && code != GN_CANCELED)
            gn_log_warn("index", "could not build a vector index segment", GN_KV_STR("dir", index->dir),
                        GN_KV_STR("reason", err.message));
    }
}

gn_code gn_vindex_build(gn_vindex *index, void (*progress)(void *ctx, uint64_t done, uint64_t total), void *ctx,
                        const _Atomic bool *cancel, gn_error *err)
{
    take_turn(index);
    gn_code code = GN_OK;
    pthread_mutex_lock(&index->lock);
    bool needed = gn_vindex_unindexed(index->view) > 0 || worth_building(index);
    pthread_mutex_unlock(&index->lock);
    if (needed)
        code = run(index, false, progress, ctx, cancel, err);
    leave_turn(index);
    return code;
}

gn_code gn_vindex_checkpoint(gn_vindex *index, gn_error *err)
{
    take_turn(index);
    gn_code code = GN_OK;
    pthread_mutex_lock(&index->lock);
    bool needed = index->dirty;
    pthread_mutex_unlock(&index->lock);
    if (needed)
        code = run(index, true, NULL, NULL, NULL, err);
    leave_turn(index);
    return code;
}

void gn_vindex_stop_builds(gn_vindex *index)
{
    pthread_mutex_lock(&index->lock);
    atomic_store(&index->stop, true);
    gn_strand *strand = index->strand;
    index->strand = NULL;
    if (index->idle) {
        index->idle = false;
        gn_event_signal(&index->wake);
    }
    pthread_mutex_unlock(&index->lock);
    if (strand)
        gn_strand_join(strand);
    atomic_store(&index->stop, false); /* a clean close still writes */
}
