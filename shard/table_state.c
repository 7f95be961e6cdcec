#include "shard/shard_private.h"

#include <stdlib.h>

static size_t place_of(const gn_table_states *s, uint64_t id)
{
    size_t lo = 0, hi = s->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (s->items[mid]->table_id < id)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

gn_table_state *gn_table_states_find(const gn_table_states *s, uint64_t id)
{
    size_t i = place_of(s, id);
    return i < s->n && s->items[i]->table_id == id ? s->items[i] : NULL;
}

gn_table_state *gn_table_states_get(gn_table_states *s, uint64_t id)
{
    size_t i = place_of(s, id);
    if (i < s->n && s->items[i]->table_id == id)
        return s->items[i];
    if (s->n == s->cap) {
        s->cap = s->cap ? 2 * s->cap : 16;
        s->items = gn_xrealloc(s->items, s->cap * sizeof(gn_table_state *));
    }
    gn_table_state *state = gn_xcalloc(1, sizeof *state);
    state->table_id = id;
    state->next_rowid = 1;
    gn_buf_init(&state->greatest, NULL, GN_MAX_KEY);
    gn_buf_init(&state->public_greatest, NULL, GN_MAX_KEY);
    memmove(s->items + i + 1, s->items + i, (s->n - i) * sizeof(gn_table_state *));
    s->items[i] = state;
    s->n++;
    return state;
}

static void state_free(gn_table_state *state)
{
    gn_buf_close(&state->greatest);
    gn_buf_close(&state->public_greatest);
    free(state);
}

void gn_table_states_remove(gn_table_states *s, uint64_t id)
{
    size_t i = place_of(s, id);
    if (i == s->n || s->items[i]->table_id != id)
        return;
    state_free(s->items[i]);
    s->n--;
    memmove(s->items + i, s->items + i + 1, (s->n - i) * sizeof(gn_table_state *));
}

void gn_table_states_close(gn_table_states *s)
{
    for (size_t i = 0; i < s->n; i++)
        state_free(s->items[i]);
    free(s->items);
    *s = (gn_table_states){0};
}
