/* The newest entries of a group's log in memory: what is not yet on disk or not yet applied must be here or there, and
 * what was just written is what followers and the state machine ask for next. */
#include "raft/raft_private.h"

#include <stdlib.h>

gn_raft_segment *gn_raft_segment_create(size_t len)
{
    GN_ASSERT(len < SIZE_MAX - sizeof(gn_raft_segment));
    gn_raft_segment *segment = gn_xmalloc(sizeof *segment + len);
    segment->refs = 1;
    segment->len = len;
    return segment;
}

gn_raft_segment *gn_raft_segment_ref(gn_raft_segment *segment)
{
    GN_ASSERT(segment->refs > 0);
    segment->refs++;
    return segment;
}

void gn_raft_segment_unref(gn_raft_segment *segment)
{
    if (!segment)
        return;
    GN_ASSERT(segment->refs > 0);
    if (--segment->refs == 0)
        free(segment);
}

static gn_raft_slot *at(const gn_raft_tail *tail, size_t i)
{
    return &tail->slots[(tail->head + i) & (tail->cap - 1)];
}

static void grow(gn_raft_tail *tail)
{
    size_t cap = tail->cap ? tail->cap * 2 : 16;
    gn_raft_slot *slots = gn_xcalloc(cap, sizeof *slots);
    for (size_t i = 0; i < tail->n; i++)
        slots[i] = *at(tail, i);
    free(tail->slots);
    tail->slots = slots;
    tail->cap = cap;
    tail->head = 0;
}

void gn_raft_tail_close(gn_raft_tail *tail)
{
    while (tail->n > 0)
        gn_raft_tail_evict(tail);
    free(tail->slots);
    *tail = (gn_raft_tail){0};
}

void gn_raft_tail_append(gn_raft_tail *tail, uint64_t index, gn_raft_slot slot)
{
    GN_ASSERT(tail->n == 0 || index == tail->first + tail->n);
    GN_ASSERT(slot.len >= GN_RAFT_RECORD_HEADER);
    if (tail->n == 0)
        tail->first = index;
    if (tail->n == tail->cap)
        grow(tail);
    gn_raft_segment_ref(slot.segment);
    tail->n++;
    *at(tail, tail->n - 1) = slot;
    tail->bytes += slot.len;
}

void gn_raft_tail_truncate(gn_raft_tail *tail, uint64_t from)
{
    while (tail->n > 0 && tail->first + tail->n > from) {
        gn_raft_slot *slot = at(tail, --tail->n);
        tail->bytes -= slot->len;
        gn_raft_segment_unref(slot->segment);
    }
}

void gn_raft_tail_evict(gn_raft_tail *tail)
{
    GN_ASSERT(tail->n > 0);
    gn_raft_slot *slot = at(tail, 0);
    tail->bytes -= slot->len;
    gn_raft_segment_unref(slot->segment);
    tail->head = (tail->head + 1) & (tail->cap - 1);
    tail->first++;
    tail->n--;
}

const gn_raft_slot *gn_raft_tail_get(const gn_raft_tail *tail, uint64_t index)
{
    if (tail->n == 0 || index < tail->first || index >= tail->first + tail->n)
        return NULL;
    return at(tail, (size_t)(index - tail->first));
}
