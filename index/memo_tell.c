/* Memos that are told of all versions at once: by who has a list of what matches, or from what another memo knows. */
#include "base/assert.h"
#include "base/memory.h"
#include "index/vector_index_private.h"

#include <stdlib.h>

struct gn_vpick {
    const gn_vview *view;
    gn_branch_at at;
    size_t bytes;
    uint64_t *words; /* which nodes were named, segment after segment */
};

static size_t words_of(const gn_segment *s)
{
    return ((size_t)s->header->n_nodes + 63) / 64;
}

gn_vpick *gn_vpick_create(const gn_vview *view, gn_branch_at at)
{
    size_t words = 1;
    for (size_t i = 0; i < view->n_segments; i++)
        words += words_of(view->segments[i]);
    size_t bytes = sizeof(gn_vpick) + words * sizeof(uint64_t);
    if (!gn_account_charge(view->index->account, bytes))
        return NULL;
    gn_vpick *pick = gn_xcalloc(1, sizeof *pick);
    *pick = (gn_vpick){.view = view, .at = at, .bytes = bytes, .words = gn_xcalloc(words, sizeof *pick->words)};
    return pick;
}

void gn_vpick_destroy(gn_vpick *pick)
{
    if (!pick)
        return;
    gn_account_release(pick->view->index->account, pick->bytes);
    free(pick->words);
    free(pick);
}

static bool is_seen(const gn_branch_at *at, const gn_row *row)
{
    return row->branch == at->branch && row->begin <= at->scn && row->end > at->scn;
}

static uint64_t *words_in(const gn_vpick *pick, const gn_segment *segment)
{
    size_t at = 0;
    for (size_t i = 0; pick->view->segments[i] != segment; i++)
        at += words_of(pick->view->segments[i]);
    return pick->words + at;
}

/* A key has one version at a time. */
static bool pick_version(void *ctx, const gn_row *row, gn_segment *segment, gn_tail *tail, uint32_t at)
{
    gn_vpick *pick = ctx;
    if (!is_seen(&pick->at, row))
        return true;
    if (!tail && at < segment->header->n_nodes)
        words_in(pick, segment)[at / 64] |= UINT64_C(1) << (at % 64);
    return false;
}

void gn_vpick_add(gn_vpick *pick, gn_bytes key)
{
    gn_vview_each_version(pick->view, key, pick_version, pick);
}

/* Those of 64 nodes that the reader sees. */
static uint64_t seen_of(const gn_vpick *pick, const gn_segment *s, uint32_t from)
{
    uint64_t seen = 0;
    for (uint32_t i = 0; i < 64 && from + i < s->header->n_nodes; i++) {
        gn_row row;
        gn_segment_version(s, from + i, &row);
        seen |= (uint64_t)is_seen(&pick->at, &row) << i;
    }
    return seen;
}

void gn_vmemo_tell(gn_vmemo *memo, const gn_vpick *pick)
{
    gn_vmemo_begin(memo);
    for (size_t i = 0; i < pick->view->n_segments; i++) {
        const gn_segment *s = pick->view->segments[i];
        const uint64_t *named = words_in(pick, s);
        gn_memo_part *part = gn_vmemo_part(memo, s);
        for (size_t w = 0; part && w < words_of(s); w++)
            gn_memo_set_word(part, w, seen_of(pick, s, (uint32_t)w * 64), named[w]);
    }
    gn_vmemo_end(memo, pick->view);
}

enum { MOST_SOURCES = 8 };

/* What all sources together say of 64 nodes. */
static void infer_word(gn_memo_part *part, gn_memo_part *const *sources, uint32_t n, size_t w, bool whole)
{
    uint64_t rejected = 0, all = UINT64_MAX;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t known = sources[i] ? atomic_load_explicit(&sources[i]->words[w].known, memory_order_acquire) : 0;
        uint64_t match = known ? atomic_load_explicit(&sources[i]->words[w].match, memory_order_relaxed) & known : 0;
        rejected |= known & ~match;
        all &= match;
    }
    gn_memo_set_word(part, w, whole ? rejected | all : rejected, whole ? all : 0);
}

static void infer_segment(gn_vmemo *memo, gn_vmemo *const *from, uint32_t n, const gn_segment *s, bool whole)
{
    gn_memo_part *sources[MOST_SOURCES], *part = gn_vmemo_part(memo, s);
    uint64_t n_known = 0; /* each only grows: as long as they are the same, nothing is new */
    for (uint32_t i = 0; i < n; i++) {
        sources[i] = gn_vmemo_part(from[i], s);
        if (sources[i])
            n_known += (2 * (uint64_t)i + 1) * atomic_load_explicit(&sources[i]->n_known, memory_order_acquire);
    }
    if (!part || atomic_load_explicit(&part->n_inferred, memory_order_relaxed) == n_known)
        return;
    for (size_t w = 0; w < words_of(s); w++)
        infer_word(part, sources, n, w, whole);
    atomic_store_explicit(&part->n_inferred, n_known, memory_order_relaxed);
}

void gn_vmemo_infer(gn_vmemo *memo, gn_vmemo *const *from, uint32_t n, const gn_vview *view, bool whole)
{
    GN_ASSERT(n > 0 && n <= MOST_SOURCES);
    for (uint32_t i = 0; i < n; i++)
        gn_vmemo_begin(from[i]);
    gn_vmemo_begin(memo);
    for (size_t i = 0; i < view->n_segments; i++)
        infer_segment(memo, from, n, view->segments[i], whole);
    gn_vmemo_end(memo, view);
    for (uint32_t i = 0; i < n; i++)
        gn_vmemo_end(from[i], view);
}
