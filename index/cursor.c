/* Searches that widen: everything within a radius, and results batch by batch. Both search again with twice as many
 * results until they have what they need, so all of it costs about twice the last search. */
#include "base/limits.h"
#include "index/keymap_private.h"
#include "index/vector_index_private.h"

#include <stdlib.h>

enum { FIRST_WITHIN = 64, SPARE_EF = 32 };

/* ---- range ---- */

/* A walk needs candidates beyond its results to be as good for the last of them. */
static uint32_t ef_for(const gn_vsearch *search, uint32_t k)
{
    uint64_t ef = (uint64_t)k + k / 2 + SPARE_EF;
    ef = ef < search->ef ? search->ef : ef;
    return ef > GN_MAX_EF ? GN_MAX_EF : (uint32_t)ef;
}

gn_code gn_vview_within(const gn_vview *view, const gn_vsearch *search, float radius, gn_neighbor **out, size_t *n_out,
                        gn_vsearch_stats *stats, gn_error *err)
{
    gn_vsearch s = *search;
    gn_code code;
    size_t n = 0;
    for (s.k = search->k < FIRST_WITHIN ? search->k : FIRST_WITHIN;;) {
        gn_arena_mark mark = gn_arena_save(s.arena);
        s.ef = ef_for(search, s.k);
        code = gn_vview_search(view, &s, out, &n, stats, err);
        if (code != GN_OK || s.k == search->k || n < s.k || !((*out)[n - 1].distance < radius))
            break;
        gn_arena_restore(s.arena, mark);
        s.k = s.k > search->k / 2 ? search->k : s.k * 2;
    }
    if (code != GN_OK)
        return code;
    while (n > 0 && !((*out)[n - 1].distance < radius)) /* NaN is within nothing */
        n--;
    *n_out = n;
    return GN_OK;
}

/* ---- batches ---- */

struct gn_vcursor {
    const gn_vview *view;
    gn_vsearch search;
    uint64_t *given; /* hashes of (key, branch, begin) of what was given; 0 is free */
    size_t n_given, n_slots;
    uint32_t k;
    bool done;
};

gn_vcursor *gn_vcursor_open(const gn_vview *view, const gn_vsearch *search)
{
    gn_vcursor *c = gn_xcalloc(1, sizeof *c);
    c->view = view;
    c->search = *search;
    c->k = search->k;
    return c;
}

void gn_vcursor_close(gn_vcursor *c)
{
    if (!c)
        return;
    free(c->given);
    free(c);
}

/* 64 bits say who it is: two of a million are taken for one another once in tens of millions of queries. */
static uint64_t identity(const gn_neighbor *n)
{
    const uint64_t parts[3] = {gn_keymap_hash(n->key), n->branch, n->begin_scn};
    uint64_t h = XXH3_64bits(parts, sizeof parts);
    return h ? h : 1;
}

static bool add(uint64_t *slots, size_t n_slots, uint64_t h)
{
    size_t at = h & (n_slots - 1);
    while (slots[at] && slots[at] != h)
        at = (at + 1) & (n_slots - 1);
    bool fresh = !slots[at];
    slots[at] = h;
    return fresh;
}

static void grow(gn_vcursor *c, size_t more)
{
    if ((c->n_given + more) * 2 <= c->n_slots)
        return;
    size_t n_slots = c->n_slots ? c->n_slots : 64;
    while ((c->n_given + more) * 2 > n_slots)
        n_slots *= 2;
    uint64_t *slots = gn_xcalloc(n_slots, sizeof *slots);
    for (size_t i = 0; i < c->n_slots; i++) {
        if (c->given[i])
            add(slots, n_slots, c->given[i]);
    }
    free(c->given);
    c->given = slots;
    c->n_slots = n_slots;
}

gn_code gn_vcursor_next(gn_vcursor *c, gn_neighbor **out, size_t *n_out, gn_error *err)
{
    *n_out = 0;
    while (!c->done && *n_out == 0) {
        gn_vsearch s = c->search;
        size_t n = 0;
        s.k = c->k;
        s.ef = ef_for(&c->search, c->k);
        gn_code code = gn_vview_search(c->view, &s, out, &n, NULL, err);
        if (code != GN_OK)
            return code;
        c->done = n < c->k || c->k == GN_MAX_K;
        c->k = c->k > GN_MAX_K / 2 ? GN_MAX_K : c->k * 2;
        grow(c, n);
        for (size_t i = 0; i < n; i++) {
            if (!add(c->given, c->n_slots, identity(&(*out)[i])))
                continue;
            c->n_given++;
            (*out)[(*n_out)++] = (*out)[i];
        }
    }
    return GN_OK;
}
