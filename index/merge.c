/* Every row with a vector gets a node number: sources one after the other, each beginning at a multiple of the block
 * size, so that vectors are used where they lie. If the first source is a segment with a graph of the same shape, its
 * links are taken over with their numbers, dead nodes are bridged, and only the other rows are inserted. Where a
 * quarter of it is dead, a fresh graph is better and hardly dearer. */
#include "base/assert.h"
#include "index/graph_private.h"
#include "index/keymap_private.h"
#include "index/merge_private.h"

#include <stdatomic.h>
#include <stdlib.h>

enum { ALONE_FIRST = 256, PROGRESS_EVERY = 64, MAX_THREADS = 256 };

typedef struct source {
    const gn_segment *segment; /* one of the two */
    const gn_tail *tail;
    uint32_t first; /* node number of its row 0 */
    uint32_t nodes; /* rows with a node number */
    uint32_t rows;
} source;

typedef struct place {
    uint32_t source, row;
} place;

typedef struct job {
    gn_merge *merge;
    source *sources;
    size_t n_sources;
    unsigned shift;
    uint32_t n; /* node numbers */
    const uint8_t **blocks;
    uint32_t *block_source;
    uint8_t *levels;
    bool *absent;
    place *extras; /* rows of the file without a vector */
    size_t n_extras, cap_extras;
    uint32_t *order;
    uint32_t *cells; /* of that order */
    uint32_t n_base; /* nodes whose links are taken over */
    uint32_t n_base_absent;
    gn_codec *walked; /* what the graph is built with */
    gn_codec *stored; /* what the file gets, where that is another */
    gn_code_query *scratch;
    float *wide; /* the vector that is at hand, of halves */
    gn_graph *graph;
    /* of the workers */
    void (*step)(gn_graph_worker *, uint32_t node);
    uint32_t *todo;
    uint32_t n_todo;
    _Atomic uint32_t next;
    _Atomic bool stop;
    size_t charged;
} job;

static bool canceled(const gn_merge *m)
{
    return (m->cancel && atomic_load_explicit(m->cancel, memory_order_relaxed)) ||
           (m->cancel_too && atomic_load_explicit(m->cancel_too, memory_order_relaxed));
}

static void source_row(const source *s, uint32_t row, gn_row *out)
{
    if (s->tail)
        gn_tail_row(s->tail, row, out);
    else if (!gn_segment_row(s->segment, row, out))
        out->key = gn_bytes_of(NULL, 0); /* the segment is marked as damaged, which ends the merge */
}

/* ---- gathering ---- */

static bool lay_out(job *j)
{
    gn_merge *m = j->merge;
    size_t per_block = (size_t)1 << j->shift;
    uint64_t n = 0;
    for (size_t i = 0; i < m->n_segments; i++) {
        const gn_segment_header *h = m->segments[i]->header;
        j->sources[j->n_sources++] =
            (source){.segment = m->segments[i], .first = (uint32_t)n, .nodes = h->n_nodes, .rows = h->n_rows};
        n += (h->n_nodes + per_block - 1) & ~(per_block - 1);
    }
    for (size_t i = 0; i < m->n_tails && n <= GN_SEGMENT_MAX_ROWS; i++) {
        uint32_t rows = gn_tail_rows(m->tails[i]);
        j->sources[j->n_sources++] = (source){.tail = m->tails[i], .first = (uint32_t)n, .nodes = rows, .rows = rows};
        n += (rows + per_block - 1) & ~(per_block - 1);
    }
    if (n > GN_SEGMENT_MAX_ROWS)
        return false;
    j->n = (uint32_t)n;
    return true;
}

static void fill_blocks(job *j)
{
    for (uint32_t i = 0; i < j->n_sources; i++) {
        const source *s = &j->sources[i];
        GN_ASSERT(s->tail || s->segment);
        GN_ASSERT((s->tail ? &s->tail->measure : &s->segment->measure)->row_bytes == j->merge->measure->row_bytes);
        for (uint32_t row = 0; row < s->nodes; row += 1u << j->shift) {
            uint32_t block = (s->first + row) >> j->shift;
            j->block_source[block] = i;
            j->blocks[block] = s->tail ? gn_tail_vector(s->tail, row) : gn_segment_vector(s->segment, row);
        }
    }
}

static void keep_extra(job *j, uint32_t source_index, uint32_t row)
{
    if (j->n_extras == j->cap_extras) {
        j->cap_extras = j->cap_extras ? j->cap_extras * 2 : 64;
        j->extras = gn_xrealloc(j->extras, j->cap_extras * sizeof *j->extras);
    }
    j->extras[j->n_extras++] = (place){.source = source_index, .row = row};
}

/* Which rows live on, as nodes or as mere hides. */
static void sort_out_rows(job *j)
{
    gn_merge *m = j->merge;
    memset(j->absent, true, j->n);
    for (uint32_t i = 0; i < j->n_sources; i++) {
        const source *s = &j->sources[i];
        for (uint32_t row = 0; row < s->rows; row++) {
            gn_row r;
            source_row(s, row, &r);
            bool has_vector = s->tail ? gn_tail_has_vector(s->tail, row) : row < s->nodes;
            if (has_vector && r.end > m->horizon) {
                j->absent[s->first + row] = false;
                j->levels[s->first + row] = gn_graph_level(m->seed ^ r.begin, gn_keymap_hash(r.key), m->m);
            } else if (m->must_hide && m->must_hide(m->must_hide_ctx, &r)) {
                keep_extra(j, i, row);
            }
        }
    }
}

/* May the first segment's graph be extended? Then its nodes keep their levels. */
static void choose_base(job *j)
{
    gn_merge *m = j->merge;
    if (m->flat || m->n_segments == 0)
        return;
    const gn_segment_header *h = m->segments[0]->header;
    uint32_t dead = 0;
    for (uint32_t i = 0; i < h->n_nodes; i++)
        dead += j->absent[i];
    if (h->graph != GN_GRAPH_HNSW || h->m != m->m || h->m0 != gn_graph_m0(m->m) || dead > h->n_nodes / 4)
        return;
    j->n_base = h->n_nodes;
    j->n_base_absent = dead;
    for (uint32_t l = 0; l < h->levels; l++)
        memset(j->levels, (int)l, h->level_count[l]);
}

static gn_code lead_nowhere(const gn_segment *s, gn_error *err)
{
    gn_segment_damage(s);
    return gn_error_set(err, GN_INDEX_CORRUPT, "vector index segment \"%s\" is damaged: a link leads nowhere", s->path);
}

static gn_code take_over_cells(job *j, gn_error *err)
{
    const gn_segment *s = j->merge->segments[0];
    for (uint32_t l = 1; l < s->header->levels && s->cells[l]; l++) {
        for (uint32_t center = 0; center < s->header->level_count[l]; center++) {
            gn_rows cell;
            if (!gn_segment_cells(s, l, (gn_rows){center, center + 1}, &cell))
                return lead_nowhere(s, err);
            for (uint32_t row = cell.from; row < cell.to; row++)
                gn_graph_take_cell(j->graph, row, center);
        }
    }
    return GN_OK;
}

static gn_code take_over_links(job *j, gn_error *err)
{
    const gn_segment *s = j->merge->segments[0];
    const gn_segment_header *h = s->header;
    for (uint32_t l = 0; l < h->levels; l++) {
        uint32_t max = l ? h->m : h->m0;
        for (uint32_t i = 0; i < h->level_count[l]; i++) {
            const uint32_t *from = gn_segment_links(s, l, i);
            _Atomic uint32_t *to = gn_graph_links(j->graph, l, i);
            for (uint32_t k = 0; k < max && from[k] != GN_NO_LINK; k++) {
                if (from[k] >= h->level_count[l])
                    return lead_nowhere(s, err);
                atomic_store_explicit(&to[k], from[k], memory_order_relaxed);
            }
        }
    }
    return take_over_cells(j, err);
}

/* ---- working ---- */

typedef struct hand {
    job *job;
    gn_graph_worker *worker;
    gn_strand *strand;
    bool reports;
} hand;

static void work(void *arg)
{
    hand *h = arg;
    job *j = h->job;
    gn_merge *m = j->merge;
    uint32_t i, since = 0;
    while (!atomic_load_explicit(&j->stop, memory_order_relaxed) && (i = atomic_fetch_add(&j->next, 1)) < j->n_todo) {
        j->step(h->worker, j->todo[i]);
        if (canceled(m))
            atomic_store(&j->stop, true);
        if (h->reports && m->progress && j->step == gn_graph_insert && ++since % PROGRESS_EVERY == 0)
            m->progress(m->progress_ctx, i, j->n_todo);
    }
}

/* Runs step over all of todo with as many workers as there are. */
static gn_code work_off(job *j, void (*step)(gn_graph_worker *, uint32_t), hand *hands, uint32_t n_hands, gn_error *err)
{
    j->step = step;
    atomic_store(&j->next, 0);
    for (uint32_t i = 1; i < n_hands; i++)
        hands[i].strand = gn_strand_start(j->merge->world, "vector build", work, &hands[i]);
    work(&hands[0]);
    for (uint32_t i = 1; i < n_hands; i++) {
        if (hands[i].strand)
            gn_strand_join(hands[i].strand);
        hands[i].strand = NULL;
    }
    if (atomic_load(&j->stop))
        return gn_error_set(err, GN_CANCELED, "building the vector index was canceled");
    return GN_OK;
}

/* All nodes of a range are to be worked off. */
static void list_nodes(job *j, uint32_t from, uint32_t to)
{
    j->n_todo = 0;
    for (uint32_t i = from; i < to; i++) {
        if (!j->absent[i])
            j->todo[j->n_todo++] = i;
    }
}

static gn_code link_nodes(job *j, gn_error *err)
{
    gn_merge *m = j->merge;
    uint32_t want = m->threads < 1 ? 1 : m->threads > MAX_THREADS ? MAX_THREADS : m->threads, n_hands = 0;
    hand hands[MAX_THREADS] = {0};
    gn_code code = GN_OK;
    while (n_hands < want) {
        hand *h = &hands[n_hands];
        *h = (hand){.job = j, .worker = gn_graph_worker_create(j->graph), .reports = n_hands == 0};
        if (!h->worker)
            break; /* fewer hands where the budget is small */
        n_hands++;
    }
    if (n_hands == 0)
        return gn_error_oom(err, m->account);
    if (j->graph->codes) {
        list_nodes(j, 0, j->n);
        code = work_off(j, gn_graph_encode, hands, n_hands, err);
    }
    if (j->n_base && code == GN_OK) {
        list_nodes(j, 0, j->n_base);
        if (j->n_base_absent)
            code = work_off(j, gn_graph_bridge, hands, n_hands, err);
        if (code == GN_OK)
            code = work_off(j, gn_graph_measure_cell, hands, n_hands, err);
        gn_graph_find_entry(j->graph, j->n_base);
        if (code == GN_OK) /* else they would join what is inserted next, near or not */
            code = work_off(j, gn_graph_find_cell, hands, n_hands, err);
    }
    list_nodes(j, j->n_base, j->n);
    /* The first nodes by one hand: many at once would hardly find each other in a graph of nothing. */
    uint32_t all = j->n_todo;
    if (j->n_base == 0 && code == GN_OK) {
        j->n_todo = all < ALONE_FIRST ? all : ALONE_FIRST;
        code = work_off(j, gn_graph_insert, hands, 1, err);
        memmove(j->todo, j->todo + j->n_todo, (all - j->n_todo) * sizeof *j->todo);
        j->n_todo = all - j->n_todo;
    }
    if (code == GN_OK)
        code = work_off(j, gn_graph_insert, hands, n_hands, err);
    if (code == GN_OK)
        gn_graph_connect(hands[0].worker);
    if (code == GN_OK) {
        list_nodes(j, 0, j->n);
        code = work_off(j, gn_graph_find_cell, hands, n_hands, err);
    }
    for (uint32_t i = 0; i < n_hands; i++)
        gn_graph_worker_destroy(hands[i].worker);
    return code;
}

/* ---- codes ---- */

static const uint8_t *vector_of(const job *j, uint32_t node)
{
    return j->blocks[node >> j->shift] + (size_t)(node & ((1u << j->shift) - 1)) * j->merge->measure->row_bytes;
}

/* Below this many rows a graph over the vectors themselves is as good, and training would cost more than it saves. */
enum { MIN_CODED_ROWS = 1024, MAX_SAMPLED = 16384 };

static size_t most_sampled(const job *j)
{
    return j->merge->measure->halves ? gn_codec_most_sampled(j->merge->dimensions) : MAX_SAMPLED;
}

/* Training wants floats: rows of halves are copied. */
static size_t wide_bytes(const job *j)
{
    const gn_measure *m = j->merge->measure;
    return m->halves ? most_sampled(j) * m->stride * sizeof(float) : 0;
}

static gn_code train(const job *j, gn_code_kind kind, gn_codec **out, gn_error *err)
{
    gn_code_options o = j->merge->codes;
    const gn_measure *m = j->merge->measure;
    uint32_t there = 0, n = 0;
    o.kind = kind;
    for (uint32_t i = 0; i < j->n; i++)
        there += !j->absent[i];
    const size_t most = most_sampled(j);
    const float **sample = gn_xcalloc(most, sizeof *sample);
    float *wide = m->halves ? gn_xmalloc(wide_bytes(j)) : NULL;
    uint64_t seen = 0;
    for (uint32_t i = 0; i < j->n && there >= MIN_CODED_ROWS; i++) { /* evenly over all */
        if (j->absent[i])
            continue;
        if (seen * most / there >= n && n < most) {
            sample[n] = gn_measure_wide(m, vector_of(j, i), wide ? wide + n * m->stride : NULL);
            n++;
        }
        seen++;
    }
    gn_code code = gn_codec_train(&o, sample, n, out, err);
    free(sample);
    free(wide);
    return code;
}

/* A graph is built with codes that compare well, whatever kind the file is to have. */
static gn_code train_codecs(job *j, gn_error *err)
{
    gn_merge *m = j->merge;
    gn_code_kind kind = m->codes.kind;
    bool both = kind == GN_CODES_AUTO || kind == GN_CODES_SQ8 || kind == GN_CODES_REDUCED;
    size_t bytes = gn_codec_training_bytes(m->dimensions, j->n) + wide_bytes(j);
    if (!gn_account_charge(m->account, bytes)) {
        j->walked = gn_codec_plain(m->metric, m->dimensions, m->measure->halves); /* needs nothing */
        return GN_OK;
    }
    gn_code code = train(j, both ? kind : GN_CODES_AUTO, &j->walked, err);
    if (code == GN_OK && !both)
        code = train(j, kind, &j->stored, err);
    gn_account_release(m->account, bytes);
    return code;
}

/* Where the budget has no room for codes while the graph is built, it is built over the vectors; the file still gets
 * its codes. */
static gn_code create_graph(job *j, gn_graph_options *o, gn_error *err)
{
    gn_code code = gn_graph_create(o, &j->graph, err);
    if (code != GN_OUT_OF_MEMORY || gn_codec_exact(j->walked))
        return code;
    if (j->stored)
        gn_codec_destroy(j->walked);
    else
        j->stored = j->walked;
    o->codec = j->walked = gn_codec_plain(j->merge->metric, j->merge->dimensions, j->merge->measure->halves);
    return gn_graph_create(o, &j->graph, err);
}

static gn_code build_graph(job *j, gn_error *err)
{
    gn_merge *m = j->merge;
    gn_code code = train_codecs(j, err);
    if (code != GN_OK)
        return code;
    gn_graph_options o = {.codec = j->walked,
                          .measure = m->measure,
                          .m = m->m,
                          .ef_construction = m->ef_construction,
                          .n = j->n,
                          .shift = j->shift,
                          .blocks = j->blocks,
                          .levels = j->levels,
                          .account = m->account};
    code = create_graph(j, &o, err);
    if (code != GN_OK)
        return code;
    j->scratch = gn_code_query_create(j->stored ? j->stored : j->walked);
    j->wide = gn_xcalloc(m->measure->stride, sizeof *j->wide);
    memcpy(j->graph->absent, j->absent, j->n * sizeof *j->absent);
    if (j->n_base)
        code = take_over_links(j, err);
    if (code == GN_OK)
        code = link_nodes(j, err);
    return code;
}

/* ---- writing ---- */

static const void *image_vector(void *ctx, uint32_t row)
{
    job *j = ctx;
    return vector_of(j, j->order[row]);
}

static void image_code(void *ctx, uint32_t row, uint8_t *code)
{
    job *j = ctx;
    if (j->stored)
        gn_codec_encode(j->stored, j->scratch, gn_measure_wide(j->merge->measure, vector_of(j, j->order[row]), j->wide),
                        code);
    else
        memcpy(code, gn_graph_code(j->graph, j->order[row]), gn_codec_stride(j->walked));
}

static void image_row(void *ctx, uint32_t row, gn_row *out)
{
    job *j = ctx;
    uint32_t n_nodes = j->merge->n_rows - (uint32_t)j->n_extras;
    if (row >= n_nodes) {
        place p = j->extras[row - n_nodes];
        source_row(&j->sources[p.source], p.row, out);
        return;
    }
    uint32_t node = j->order[row];
    const source *s = &j->sources[j->block_source[node >> j->shift]];
    source_row(s, node - s->first, out);
}

/* todo has become the new number of each node. */
static void image_links(void *ctx, uint32_t level, uint32_t row, uint32_t *block)
{
    job *j = ctx;
    const _Atomic uint32_t *links = gn_graph_links(j->graph, level, j->order[row]);
    uint32_t max = gn_graph_max_links(j->graph, level), n = 0;
    for (uint32_t i = 0; i < max; i++) {
        uint32_t id = atomic_load_explicit(&links[i], memory_order_relaxed);
        if (id == GN_NO_LINK)
            break;
        if (!j->absent[id])
            block[n++] = j->todo[id];
    }
    while (n < max)
        block[n++] = GN_NO_LINK;
}

static gn_code write_file(job *j, const char *path, gn_error *err)
{
    gn_merge *m = j->merge;
    gn_segment_image image = {.ctx = j,
                              .vector = image_vector,
                              .row = image_row,
                              .links = image_links,
                              .codec = m->flat     ? NULL
                                       : j->stored ? j->stored
                                                   : j->walked,
                              .code = image_code,
                              .account = m->account,
                              .cancel = m->cancel_too ? m->cancel_too : m->cancel};
    gn_segment_header *h = &image.header;
    uint32_t n = 0;
    if (m->flat) {
        for (uint32_t i = 0; i < j->n; i++) {
            if (!j->absent[i])
                j->order[n++] = i;
        }
    } else {
        n = gn_graph_order(j->graph, j->order, h->level_count, &j->cells);
        image.cells = j->cells;
        while (h->levels < GN_SEGMENT_MAX_LEVELS && h->level_count[h->levels])
            h->levels++;
        for (uint32_t i = 0; i < n; i++)
            j->todo[j->order[i]] = i;
    }
    uint64_t n_rows = (uint64_t)n + j->n_extras;
    if (n_rows > GN_SEGMENT_MAX_ROWS)
        return gn_error_set(err, GN_LIMIT, "a vector index segment may have at most %u rows", GN_SEGMENT_MAX_ROWS);
    m->n_rows = (uint32_t)n_rows;
    if (n_rows == 0)
        return GN_OK;
    h->metric = m->metric;
    h->dimensions = m->dimensions;
    h->vectors = m->measure->halves ? GN_VECTORS_FLOAT16 : GN_VECTORS_FLOAT32;
    h->m = m->m;
    h->m0 = gn_graph_m0(m->m);
    h->ef_construction = m->ef_construction;
    h->graph = m->flat || n == 0 ? GN_GRAPH_NONE : GN_GRAPH_HNSW;
    h->n_nodes = n;
    h->n_rows = m->n_rows;
    return gn_segment_write(path, &image, err);
}

static bool allocate(job *j)
{
    gn_merge *m = j->merge;
    size_t n = (size_t)j->n + 1, blocks = (j->n >> j->shift) + 1;
    j->charged = blocks * (sizeof *j->blocks + sizeof *j->block_source) +
                 n * (sizeof *j->levels + sizeof *j->absent + sizeof *j->order + sizeof *j->todo);
    if (!gn_account_charge(m->account, j->charged)) {
        j->charged = 0;
        return false;
    }
    j->blocks = gn_xcalloc(blocks, sizeof *j->blocks);
    j->block_source = gn_xcalloc(blocks, sizeof *j->block_source);
    j->levels = gn_xcalloc(n, sizeof *j->levels);
    j->absent = gn_xcalloc(n, sizeof *j->absent);
    j->order = gn_xcalloc(n, sizeof *j->order);
    j->todo = gn_xcalloc(n, sizeof *j->todo);
    return true;
}

gn_code gn_merge_run(gn_merge *merge, const char *path, gn_error *err)
{
    gn_code code = GN_OK;
    job j = {.merge = merge, .shift = gn_chunk_shift(merge->measure->row_bytes)};
    j.sources = gn_xcalloc(merge->n_segments + merge->n_tails + 1, sizeof *j.sources);
    merge->n_rows = 0;
    if (!lay_out(&j)) {
        code = gn_error_set(err, GN_LIMIT, "a vector index segment may have at most %u rows", GN_SEGMENT_MAX_ROWS);
        goto out;
    }
    if (!allocate(&j)) {
        code = gn_error_oom(err, merge->account);
        goto out;
    }
    fill_blocks(&j);
    sort_out_rows(&j);
    choose_base(&j);
    if (!merge->flat)
        code = build_graph(&j, err);
    if (code == GN_OK)
        code = write_file(&j, path, err);
    for (size_t i = 0; i < merge->n_segments; i++) {
        if (code == GN_OK && atomic_load(&merge->segments[i]->damaged))
            code =
                gn_error_set(err, GN_INDEX_CORRUPT, "vector index segment \"%s\" is damaged", merge->segments[i]->path);
    }
out:
    gn_graph_destroy(j.graph);
    gn_codec_destroy(j.walked);
    gn_codec_destroy(j.stored);
    gn_code_query_destroy(j.scratch);
    free(j.wide);
    gn_account_release(merge->account, j.charged);
    free(j.sources);
    free(j.blocks);
    free(j.block_source);
    free(j.levels);
    free(j.absent);
    free(j.extras);
    free(j.order);
    free(j.cells);
    free(j.todo);
    return code;
}
