#include "base/assert.h"
#include "index/topk_private.h"

/* Does a come after b? */
static bool after(const gn_hit *a, const gn_hit *b)
{
    if (a->distance != b->distance)
        return a->distance > b->distance;
    gn_row ra, rb;
    if (!a->row_of(a->source, a->row, &ra) || !b->row_of(b->source, b->row, &rb))
        return false;
    int c = gn_bytes_cmp(ra.key, rb.key);
    return c ? c > 0 : ra.begin > rb.begin;
}

static void sift_down(gn_hit *hits, size_t n, size_t i)
{
    gn_hit c = hits[i];
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= n)
            break;
        if (child + 1 < n && after(&hits[child + 1], &hits[child]))
            child++;
        if (!after(&hits[child], &c))
            break;
        hits[i] = hits[child];
        i = child;
    }
    hits[i] = c;
}

bool gn_topk_offer(gn_topk *t, gn_hit hit)
{
    GN_ASSERT(hit.distance == hit.distance);
    if (t->n == t->k) {
        if (!after(&t->hits[0], &hit))
            return false;
        t->hits[0] = hit;
        sift_down(t->hits, t->n, 0);
        return true;
    }
    size_t i = t->n++;
    while (i > 0 && after(&hit, &t->hits[(i - 1) / 2])) {
        t->hits[i] = t->hits[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    t->hits[i] = hit;
    return true;
}

void gn_topk_sort(gn_topk *t)
{
    for (size_t n = t->n; n > 1; n--) {
        gn_hit last = t->hits[0];
        t->hits[0] = t->hits[n - 1];
        t->hits[n - 1] = last;
        sift_down(t->hits, n - 1, 0);
    }
}
