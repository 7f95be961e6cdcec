#include "base/assert.h"
#include "index/vector_index_private.h"

#include <stdatomic.h>
#include <stdlib.h>

gn_vview *gn_vview_create(gn_vindex *index, gn_segment **segments, size_t n_segments, gn_tail **tails, size_t n_tails)
{
    GN_ASSERT(n_tails >= 1);
    gn_vview *view = gn_xcalloc(1, sizeof *view);
    atomic_init(&view->refs, 1);
    view->index = index;
    view->segments = gn_xcalloc(n_segments + 1, sizeof *segments);
    view->tails = gn_xcalloc(n_tails, sizeof *tails);
    for (size_t i = 0; i < n_segments; i++)
        view->segments[view->n_segments++] = segments[i];
    for (size_t i = 0; i < n_tails; i++)
        view->tails[view->n_tails++] = tails[i];
    return view;
}

void gn_vview_publish(gn_vindex *index, gn_vview *view)
{
    pthread_mutex_lock(&index->view_lock);
    gn_vview *old = index->view;
    index->view = view;
    pthread_mutex_unlock(&index->view_lock);
    if (old)
        gn_vview_release(old);
}

gn_vview *gn_vview_acquire(gn_vindex *index)
{
    pthread_mutex_lock(&index->view_lock);
    gn_vview *view = index->view;
    atomic_fetch_add_explicit(&view->refs, 1, memory_order_relaxed);
    pthread_mutex_unlock(&index->view_lock);
    return view;
}

void gn_vview_release(gn_vview *view)
{
    if (!view || atomic_fetch_sub_explicit(&view->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < view->n_segments; i++)
        gn_segment_unref(view->segments[i]);
    for (size_t i = 0; i < view->n_tails; i++)
        gn_tail_unref(view->tails[i]);
    free(view->segments);
    free(view->tails);
    free(view);
}

typedef bool (*each_fn)(void *, const gn_row *, gn_segment *, gn_tail *, uint32_t);

static bool each_in_segment(gn_segment *s, gn_bytes key, each_fn fn, void *ctx)
{
    gn_row row;
    uint32_t at = gn_segment_find(s, key);
    for (uint32_t steps = 0; at != UINT32_MAX && steps < s->header->n_rows; steps++) {
        if (!gn_segment_row(s, at, &row) || !fn(ctx, &row, s, NULL, at))
            return false;
        at = gn_segment_older(s, at);
    }
    return true;
}

void gn_vview_each_version(const gn_vview *view, gn_bytes key, each_fn fn, void *ctx)
{
    gn_row row;
    for (size_t i = view->n_tails; i-- > 0;) {
        gn_tail *tail = view->tails[i];
        for (uint32_t at = gn_tail_find(tail, key); at != UINT32_MAX; at = gn_tail_older(tail, at)) {
            gn_tail_row(tail, at, &row);
            if (!fn(ctx, &row, NULL, tail, at))
                return;
        }
    }
    for (size_t i = view->n_segments; i-- > 0;) {
        if (!each_in_segment(view->segments[i], key, fn, ctx))
            return;
    }
}

bool gn_vview_one_branch(const gn_vview *view)
{
    uint64_t branch = 0;
    bool any = false;
    for (size_t i = 0; i < view->n_segments; i++) {
        const gn_segment_header *h = view->segments[i]->header;
        if (h->many_branches || (any && h->branch != branch))
            return false;
        branch = h->branch;
        any = true;
    }
    for (size_t i = 0; i < view->n_tails; i++) {
        gn_tail *tail = view->tails[i];
        if (gn_tail_rows(tail) == 0)
            continue;
        if (atomic_load(&tail->many_branches) || (any && atomic_load(&tail->branch) != branch))
            return false;
        branch = atomic_load(&tail->branch);
        any = true;
    }
    return true;
}
