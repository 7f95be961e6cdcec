/* Answers of a judge, kept from search to search. Rows of immutable segments are numbered once for all, so two bits a
 * row do. Parts of segments that were merged away are dropped when no search is under way; what the merge made begins
 * unknown. */
#include "base/memory.h"
#include "index/vector_index_private.h"

#include <stdlib.h>

struct gn_vmemo {
    _Atomic uint32_t refs;
    gn_vmemo *older; /* in the index's list, the last used first */
    pthread_mutex_t lock;
    gn_account *account;
    gn_memo_part *parts;
    uint32_t users;
    _Atomic uint64_t spent, listed;
    size_t name_len;
    uint8_t name[];
};

enum { MOST_MEMOS = 64, LONGEST_NAME = 65536 };

static void part_destroy(gn_vmemo *memo, gn_memo_part *part)
{
    gn_account_release(memo->account, part->bytes);
    free(part);
}

void gn_vmemo_release(gn_vmemo *memo)
{
    if (!memo || atomic_fetch_sub_explicit(&memo->refs, 1, memory_order_acq_rel) != 1)
        return;
    while (memo->parts) {
        gn_memo_part *part = memo->parts;
        memo->parts = part->next;
        part_destroy(memo, part);
    }
    pthread_mutex_destroy(&memo->lock);
    gn_account_release(memo->account, sizeof *memo + memo->name_len);
    free(memo);
}

static gn_vmemo *create(gn_account *account, gn_bytes name)
{
    if (name.len > LONGEST_NAME || !gn_account_charge(account, sizeof(gn_vmemo) + name.len))
        return NULL;
    gn_vmemo *memo = gn_xcalloc(1, sizeof *memo + name.len);
    pthread_mutex_init(&memo->lock, NULL);
    atomic_init(&memo->refs, 1);
    memo->account = account;
    memo->name_len = name.len;
    memcpy(memo->name, name.data, name.len);
    return memo;
}

/* Takes the memo of that name out of the list; NULL: it is not there. */
static gn_vmemo *take_out(gn_vindex *index, gn_bytes name)
{
    for (gn_vmemo **at = &index->memos; *at; at = &(*at)->older) {
        gn_vmemo *memo = *at;
        if (gn_bytes_cmp(gn_bytes_of(memo->name, memo->name_len), name) != 0)
            continue;
        *at = memo->older;
        return memo;
    }
    return NULL;
}

gn_vmemo *gn_vindex_memo(gn_vindex *index, gn_bytes name)
{
    pthread_mutex_lock(&index->memo_lock);
    gn_vmemo *memo = take_out(index, name), *dropped = NULL;
    if (!memo)
        memo = create(index->account, name);
    if (memo) {
        atomic_fetch_add_explicit(&memo->refs, 1, memory_order_relaxed);
        memo->older = index->memos;
        index->memos = memo;
    }
    gn_vmemo **end = &index->memos;
    for (uint32_t n = 0; *end && n < MOST_MEMOS; n++)
        end = &(*end)->older;
    dropped = *end;
    *end = NULL;
    pthread_mutex_unlock(&index->memo_lock);
    gn_vmemo_release(dropped); /* at most one is beyond the most */
    return memo;
}

void gn_vindex_forget_memos(gn_vindex *index)
{
    while (index->memos) {
        gn_vmemo *memo = index->memos;
        index->memos = memo->older;
        gn_vmemo_release(memo);
    }
}

void gn_memo_set(gn_memo_part *part, uint32_t row, bool match)
{
    gn_memo_word *w = &part->words[row / 64];
    uint64_t bit = UINT64_C(1) << (row % 64);
    if (match)
        atomic_fetch_or_explicit(&w->match, bit, memory_order_relaxed);
    if (atomic_fetch_or_explicit(&w->known, bit, memory_order_release) & bit)
        return; /* another search was first */
    atomic_fetch_add_explicit(&part->n_known, 1, memory_order_release);
    atomic_fetch_add_explicit(&part->n_match, match, memory_order_relaxed);
}

void gn_memo_set_word(gn_memo_part *part, size_t word, uint64_t known, uint64_t match)
{
    gn_memo_word *w = &part->words[word];
    known &= ~atomic_load_explicit(&w->known, memory_order_relaxed);
    if (!known)
        return;
    atomic_fetch_or_explicit(&w->match, match & known, memory_order_relaxed);
    known &= ~atomic_fetch_or_explicit(&w->known, known, memory_order_release);
    atomic_fetch_add_explicit(&part->n_known, (uint32_t)__builtin_popcountll(known), memory_order_release);
    atomic_fetch_add_explicit(&part->n_match, (uint32_t)__builtin_popcountll(match & known), memory_order_relaxed);
}

void gn_vmemo_begin(gn_vmemo *memo)
{
    pthread_mutex_lock(&memo->lock);
    memo->users++;
    pthread_mutex_unlock(&memo->lock);
}

gn_memo_part *gn_vmemo_part(gn_vmemo *memo, const gn_segment *segment)
{
    pthread_mutex_lock(&memo->lock);
    gn_memo_part *part = memo->parts;
    while (part && part->segment != segment->number)
        part = part->next;
    size_t bytes = sizeof *part + ((size_t)segment->header->n_nodes + 63) / 64 * sizeof *part->words;
    if (!part && gn_account_charge(memo->account, bytes)) {
        part = gn_xcalloc(1, bytes);
        part->segment = segment->number;
        part->n_nodes = segment->header->n_nodes;
        part->bytes = bytes;
        part->next = memo->parts;
        memo->parts = part;
    }
    pthread_mutex_unlock(&memo->lock);
    return part;
}

static bool view_has(const gn_vview *view, uint64_t segment)
{
    for (size_t i = 0; i < view->n_segments; i++) {
        if (view->segments[i]->number == segment)
            return true;
    }
    return false;
}

void gn_vmemo_end(gn_vmemo *memo, const gn_vview *view)
{
    pthread_mutex_lock(&memo->lock);
    bool last = --memo->users == 0;
    for (gn_memo_part **at = &memo->parts; last && *at;) {
        gn_memo_part *part = *at;
        if (view_has(view, part->segment)) {
            at = &part->next;
            continue;
        }
        *at = part->next;
        part_destroy(memo, part);
    }
    pthread_mutex_unlock(&memo->lock);
}

/* ---- told from outside ---- */

void gn_vmemo_note(gn_vmemo *memo, const gn_vview *view, gn_bytes key, uint64_t branch, uint64_t begin_scn, bool match)
{
    gn_vmemo_begin(memo);
    for (size_t i = 0; i < view->n_segments; i++) {
        uint32_t row;
        gn_segment *s = view->segments[i];
        if (!gn_find_in_segment(s, key, branch, begin_scn, &row) || row >= s->header->n_nodes)
            continue;
        gn_memo_part *part = gn_vmemo_part(memo, s);
        if (part)
            gn_memo_set(part, row, match);
        break;
    }
    gn_vmemo_end(memo, view);
}

void gn_vmemo_spend(gn_vmemo *memo, uint64_t n)
{
    atomic_fetch_add_explicit(&memo->spent, n, memory_order_relaxed);
}

uint64_t gn_vmemo_claim(gn_vmemo *memo, uint64_t first)
{
    uint64_t spent = atomic_load_explicit(&memo->spent, memory_order_relaxed);
    uint64_t least = first + 2 * atomic_load_explicit(&memo->listed, memory_order_relaxed);
    return spent >= least && atomic_compare_exchange_strong(&memo->spent, &spent, 0) ? spent : 0;
}

void gn_vmemo_note_list(gn_vmemo *memo, uint64_t n)
{
    atomic_store_explicit(&memo->listed, n, memory_order_relaxed);
}

gn_vmemo_counts gn_vmemo_count(gn_vmemo *memo, const gn_vview *view)
{
    gn_vmemo_counts c = {0};
    pthread_mutex_lock(&memo->lock);
    for (const gn_memo_part *part = memo->parts; part; part = part->next) {
        if (!view_has(view, part->segment))
            continue;
        c.rows += part->n_nodes;
        c.known += atomic_load_explicit(&part->n_known, memory_order_relaxed);
        c.match += atomic_load_explicit(&part->n_match, memory_order_relaxed);
    }
    pthread_mutex_unlock(&memo->lock);
    return c;
}
