#include "base/assert.h"
#include "cluster/merge_private.h"

#include <stdlib.h>

typedef struct input {
    gn_stream stream;
    gn_batch batch;
    gn_bytes *keys; /* NULL: not asked for */
    uint32_t at;
    bool ended;
} input;

struct gn_merge {
    gn_merge_order order;
    gn_account *account;
    uint32_t n_columns;
    const gn_row_order *by; /* for GN_MERGE_COLUMNS */
    uint32_t n_by;
    uint32_t n; /* inputs */
    uint32_t current;
    input *inputs;
    uint32_t *heap; /* of inputs with a row at hand, the next one on top */
    uint32_t n_heap;
    bool started;
};

gn_merge *gn_merge_open(const gn_stream *streams, uint32_t n, uint32_t n_columns, gn_merge_order order,
                        gn_account *account)
{
    gn_merge *m = gn_xcalloc(1, sizeof *m);
    m->order = order;
    m->account = account;
    m->n_columns = n_columns;
    m->n = n;
    m->inputs = gn_xcalloc(n, sizeof *m->inputs);
    m->heap = gn_xcalloc(n, sizeof *m->heap);
    bool by_key = order == GN_MERGE_KEY || order == GN_MERGE_KEY_DESCENDING;
    for (uint32_t i = 0; i < n; i++) {
        m->inputs[i].stream = streams[i];
        m->inputs[i].batch = (gn_batch){.n_columns = n_columns, .arena = gn_arena_create(account)};
        if (by_key)
            m->inputs[i].keys = gn_xcalloc(GN_BATCH_ROWS, sizeof(gn_bytes));
    }
    return m;
}

gn_merge *gn_merge_open_sorted(const gn_stream *streams, uint32_t n, uint32_t n_columns, const gn_row_order *by,
                               uint32_t n_by, gn_account *account)
{
    gn_merge *m = gn_merge_open(streams, n, n_columns, GN_MERGE_COLUMNS, account);
    m->by = by;
    m->n_by = n_by;
    return m;
}

void gn_merge_close(gn_merge *m)
{
    if (!m)
        return;
    for (uint32_t i = 0; i < m->n; i++) {
        m->inputs[i].stream.close(m->inputs[i].stream.stream);
        gn_arena_destroy(m->inputs[i].batch.arena);
        free(m->inputs[i].keys);
    }
    free(m->inputs);
    free(m->heap);
    free(m);
}

/* ---- one after the other ---- */

static gn_code next_in_turn(gn_merge *m, gn_batch *batch, gn_bytes *keys, gn_error *err)
{
    batch->n_rows = 0;
    for (; m->current < m->n; m->current++) {
        input *in = &m->inputs[m->current];
        gn_code code = in->stream.next(in->stream.stream, &in->batch, keys, err);
        if (code != GN_OK)
            return code;
        if (in->batch.n_rows) {
            batch->columns = in->batch.columns;
            batch->n_rows = in->batch.n_rows;
            return GN_OK;
        }
    }
    return GN_OK;
}

/* ---- merged ---- */

/* Rows that are equal come in the order of the inputs. */
static bool before_by_columns(const gn_merge *m, uint32_t a, uint32_t b)
{
    const input *x = &m->inputs[a], *y = &m->inputs[b];
    int c = 0;
    for (uint32_t i = 0; i < m->n_by && c == 0; i++) {
        const gn_row_order *o = &m->by[i];
        c = gn_column_order(&x->batch.columns[o->column], x->at, &y->batch.columns[o->column], y->at, o->descending,
                            o->nulls_first);
    }
    return c < 0 || (c == 0 && a < b);
}

static bool before(const gn_merge *m, uint32_t a, uint32_t b)
{
    const input *x = &m->inputs[a], *y = &m->inputs[b];
    if (m->order == GN_MERGE_COLUMNS)
        return before_by_columns(m, a, b);
    if (m->order == GN_MERGE_DISTANCE) {
        double dx = x->batch.columns[m->n_columns - 1].f64[x->at], dy = y->batch.columns[m->n_columns - 1].f64[y->at];
        return dx < dy || (dx == dy && a < b);
    }
    int c = gn_bytes_cmp(x->keys[x->at], y->keys[y->at]);
    return m->order == GN_MERGE_KEY ? c < 0 : c > 0;
}

static void sift_down(gn_merge *m, uint32_t i)
{
    for (;;) {
        uint32_t least = i;
        for (uint32_t child = 2 * i + 1; child <= 2 * i + 2 && child < m->n_heap; child++)
            if (before(m, m->heap[child], m->heap[least]))
                least = child;
        if (least == i)
            return;
        uint32_t t = m->heap[i];
        m->heap[i] = m->heap[least];
        m->heap[least] = t;
        i = least;
    }
}

static gn_code refill(input *in, gn_error *err)
{
    in->at = 0;
    gn_code code = in->stream.next(in->stream.stream, &in->batch, in->keys, err);
    in->ended = code == GN_OK && in->batch.n_rows == 0;
    return code;
}

static gn_code start(gn_merge *m, gn_error *err)
{
    m->started = true;
    for (uint32_t i = 0; i < m->n; i++) {
        gn_code code = refill(&m->inputs[i], err);
        if (code != GN_OK)
            return code;
        if (!m->inputs[i].ended)
            m->heap[m->n_heap++] = i;
    }
    for (uint32_t i = m->n_heap / 2; i-- > 0;)
        sift_down(m, i);
    return GN_OK;
}

static gn_code take_row(gn_batch *to, const input *in, gn_bytes *key, gn_error *err)
{
    gn_code code = gn_batch_append(to, in->batch.columns, in->at, err);
    if (code == GN_OK && key) {
        *key = in->keys[in->at];
        if (!(key->data = gn_arena_memdup(to->arena, key->data, key->len)))
            return gn_error_oom(err, gn_arena_account(to->arena));
    }
    return code;
}

static gn_code like_inputs(const gn_merge *m, gn_batch *batch, gn_error *err)
{
    gn_type *types = gn_xcalloc(m->n_columns + 1, sizeof *types);
    for (uint32_t i = 0; i < m->n_columns; i++)
        types[i] = m->inputs[m->heap[0]].batch.columns[i].type;
    gn_code code = gn_batch_init(batch, types, m->n_columns, batch->arena, err);
    free(types);
    return code;
}

/* The input on top has been looked at to its end. */
static gn_code refill_top(gn_merge *m, gn_error *err)
{
    gn_code code = refill(&m->inputs[m->heap[0]], err);
    if (code == GN_OK && m->inputs[m->heap[0]].ended)
        m->heap[0] = m->heap[--m->n_heap];
    if (code == GN_OK)
        sift_down(m, 0);
    return code;
}

static bool top_is_empty(const gn_merge *m)
{
    const input *in = &m->inputs[m->heap[0]];
    return in->at == in->batch.n_rows;
}

/* A batch ends where an input would have to be asked again: that may cost another search there, and each input gave at
 * first as many rows as anybody may want of all. */
static gn_code next_merged(gn_merge *m, gn_batch *batch, gn_bytes *keys, gn_error *err)
{
    gn_code code = m->started ? GN_OK : start(m, err);
    batch->n_rows = 0;
    if (code == GN_OK && m->n_heap > 0 && top_is_empty(m))
        code = refill_top(m, err);
    if (code != GN_OK || m->n_heap == 0)
        return code;
    gn_arena_reset(batch->arena);
    code = like_inputs(m, batch, err);
    while (code == GN_OK && batch->n_rows < GN_BATCH_ROWS && !top_is_empty(m)) {
        input *in = &m->inputs[m->heap[0]];
        code = take_row(batch, in, keys ? &keys[batch->n_rows] : NULL, err);
        if (code == GN_OK && ++in->at < in->batch.n_rows)
            sift_down(m, 0);
    }
    return code;
}

gn_code gn_merge_next(gn_merge *m, gn_batch *batch, gn_bytes *keys, gn_error *err)
{
    GN_ASSERT(!keys || m->order != GN_MERGE_COLUMNS);
    return m->order == GN_MERGE_NONE ? next_in_turn(m, batch, keys, err) : next_merged(m, batch, keys, err);
}
