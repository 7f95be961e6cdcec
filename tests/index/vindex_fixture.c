#include "tests/index/vindex_fixture.h"

#include "base/half.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int fixture_setup(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    f->world = gn_world_real_create(&(gn_world_options){.node_id = 1, .threads = 2});
    const char *tmp = getenv("TMPDIR");
    snprintf(f->dir, sizeof f->dir, "%s/gnomon-vindex-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!f->world || !mkdtemp(f->dir))
        return -1;
    *state = f;
    return 0;
}

static void remove_dir(const char *dir)
{
    DIR *d = opendir(dir);
    struct dirent *e;
    while (d && (e = readdir(d))) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            unlinkat(dirfd(d), e->d_name, 0);
    }
    if (d)
        closedir(d);
    rmdir(dir);
}

int fixture_teardown(void **state)
{
    fixture *f = *state;
    gn_vindex_close(f->index, false, NULL);
    gn_world_real_destroy(f->world);
    remove_dir(f->dir);
    free(f);
    return 0;
}

void fixture_open(fixture *f)
{
    gn_error err = {0};
    if (gn_vindex_open(f->world, f->dir, &f->options, &f->index, &err) != GN_OK)
        fail_msg("open: %s", err.message);
}

void fixture_close(fixture *f, bool clean)
{
    gn_error err = {0};
    if (gn_vindex_close(f->index, clean, &err) != GN_OK)
        fail_msg("close: %s", err.message);
    f->index = NULL;
}

void fixture_reopen(fixture *f, bool clean)
{
    fixture_close(f, clean);
    fixture_open(f);
}

void fixture_build(fixture *f)
{
    gn_error err = {0};
    if (gn_vindex_build(f->index, NULL, NULL, NULL, &err) != GN_OK)
        fail_msg("build: %s", err.message);
}

gn_bytes key_of(uint32_t id, char buffer[16])
{
    snprintf(buffer, 16, "k%08u", id);
    return gn_bytes_str(buffer);
}

/* ---- vectors ---- */

static uint64_t next_u64(uint64_t *s)
{
    uint64_t z = (*s += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static double next_uniform(uint64_t *s)
{
    return ((double)(next_u64(s) >> 11) + 0.5) / 9007199254740992.0;
}

static float next_normal(uint64_t *s)
{
    return (float)(sqrt(-2 * log(next_uniform(s))) * cos(6.283185307179586 * next_uniform(s)));
}

float *uniform_vectors(uint64_t seed, size_t n, uint32_t dimensions)
{
    float *v = malloc(n * dimensions * sizeof *v);
    for (size_t i = 0; i < n * dimensions; i++)
        v[i] = (float)(2 * next_uniform(&seed) - 1);
    return v;
}

float *clustered_vectors(uint64_t seed, size_t n, uint32_t dimensions, uint32_t clusters)
{
    float *centers = uniform_vectors(seed ^ 1, clusters, dimensions), *v = malloc(n * dimensions * sizeof *v);
    for (size_t i = 0; i < n; i++) {
        const float *c = centers + (next_u64(&seed) % clusters) * dimensions;
        for (uint32_t j = 0; j < dimensions; j++)
            v[i * dimensions + j] = c[j] + 0.3f * next_normal(&seed);
    }
    free(centers);
    return v;
}

float *skewed_vectors(uint64_t seed, size_t n, uint32_t dimensions)
{
    float *v = clustered_vectors(seed, n, dimensions, 30);
    for (size_t i = 0; i < n * dimensions; i++)
        v[i] = v[i] / (1 + (float)(i % dimensions) / 4) + 0.05f;
    return v;
}

void round_to_halves(float *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        v[i] = gn_float_of_f16(gn_f16_of_float(v[i]));
}

size_t vector_words(gn_metric_kind metric, uint32_t dimensions)
{
    return metric == GN_METRIC_HAMMING || metric == GN_METRIC_JACCARD ? (dimensions + 31) / 32 : dimensions;
}

float *bit_vectors(uint64_t seed, size_t n, uint32_t bits)
{
    uint32_t words = (bits + 31) / 32, last = bits % 32 ? (1u << (bits % 32)) - 1 : UINT32_MAX;
    float *v = malloc(n * words * sizeof *v);
    for (size_t i = 0; i < n * words; i++) {
        uint32_t center = (uint32_t)(i / words % 20 + 1) * 2654435761u * (uint32_t)(i % words + 1);
        uint32_t word = center ^ (uint32_t)(next_u64(&seed) & next_u64(&seed));
        word = i / words % 50 == 7 ? UINT32_MAX : word; /* a NaN, taken as a float */
        word &= i % words == words - 1 ? last : UINT32_MAX;
        memcpy(&v[i], &word, sizeof word);
    }
    return v;
}

/* ---- the model ---- */

static void add_to_model(model *m, model_row row)
{
    if (m->n == m->cap) {
        m->cap = m->cap ? 2 * m->cap : 256;
        m->rows = realloc(m->rows, m->cap * sizeof *m->rows);
    }
    m->rows[m->n++] = row;
}

void insert_row(fixture *f, model *m, uint32_t id, uint64_t branch, uint64_t scn, const float *vector)
{
    char key[16];
    gn_error err = {0};
    if (gn_vindex_insert(f->index, key_of(id, key), branch, scn, vector, &err) != GN_OK)
        fail_msg("insert: %s", err.message);
    if (m)
        add_to_model(m, (model_row){.id = id, .branch = branch, .begin = scn, .end = OPEN_END, .vector = vector});
}

void end_row(fixture *f, model *m, uint32_t id, uint64_t branch, uint64_t scn)
{
    char key[16];
    gn_vindex_end(f->index, key_of(id, key), branch, scn);
    for (size_t i = 0; m && i < m->n; i++) {
        model_row *r = &m->rows[i];
        if (r->id == id && r->branch == branch && r->end == OPEN_END && r->begin < scn)
            r->end = scn;
    }
}

void hide_row(fixture *f, model *m, uint32_t id, uint64_t branch, uint64_t scn)
{
    char key[16];
    assert_int_equal(gn_vindex_hide(f->index, key_of(id, key), branch, scn, NULL), GN_OK);
    if (m)
        add_to_model(m, (model_row){.id = id, .branch = branch, .begin = scn, .end = OPEN_END});
}

void model_close(model *m)
{
    free(m->rows);
    *m = (model){0};
}

static float bit_distance(const model *m, const float *a, const float *b)
{
    uint32_t differ = 0, both = 0, either = 0;
    for (size_t i = 0; i < vector_words(m->metric, m->dimensions); i++) {
        uint32_t x, y;
        memcpy(&x, &a[i], sizeof x);
        memcpy(&y, &b[i], sizeof y);
        differ += (uint32_t)__builtin_popcount(x ^ y);
        both += (uint32_t)__builtin_popcount(x & y);
        either += (uint32_t)__builtin_popcount(x | y);
    }
    if (m->metric == GN_METRIC_HAMMING)
        return (float)differ;
    return either ? 1 - (float)both / (float)either : 0;
}

static float model_distance(const model *m, const float *a, const float *b)
{
    if (vector_words(m->metric, m->dimensions) != m->dimensions)
        return bit_distance(m, a, b);
    double l1 = 0, l2 = 0, dot = 0, na = 0, nb = 0;
    for (uint32_t i = 0; i < m->dimensions; i++) {
        l1 += fabs((double)a[i] - b[i]);
        l2 += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        dot += (double)a[i] * b[i];
        na += (double)a[i] * a[i];
        nb += (double)b[i] * b[i];
    }
    switch (m->metric) {
    case GN_METRIC_L2:
        return (float)sqrt(l2);
    case GN_METRIC_IP:
        return (float)-dot;
    case GN_METRIC_L1:
        return (float)l1;
    default:
        return (float)(1 - dot / sqrt(na * nb));
    }
}

static size_t place_in_chain(const model_row *r, const gn_branch_at *chain, size_t n_chain)
{
    size_t i = 0;
    while (i < n_chain && chain[i].branch != r->branch)
        i++;
    return i;
}

/* For each id, the first branch of the chain that has a version of it, which hides those of the later ones. */
static size_t *first_places(const model *m, const gn_branch_at *chain, size_t n_chain)
{
    uint32_t most = 0;
    for (size_t i = 0; i < m->n; i++)
        most = m->rows[i].id > most ? m->rows[i].id : most;
    size_t *first = malloc((most + 1) * sizeof *first);
    for (uint32_t id = 0; id <= most; id++)
        first[id] = n_chain;
    for (size_t i = 0; i < m->n; i++) {
        const model_row *r = &m->rows[i];
        size_t at = place_in_chain(r, chain, n_chain);
        if (at < first[r->id] && r->begin <= chain[at].scn)
            first[r->id] = at;
    }
    return first;
}

static bool model_visible(const model_row *r, const gn_branch_at *chain, size_t n_chain, const size_t *first)
{
    size_t i = place_in_chain(r, chain, n_chain);
    return i < n_chain && r->begin <= chain[i].scn && r->end > chain[i].scn && first[r->id] == i;
}

static int nearer(const void *a, const void *b)
{
    const result *x = a, *y = b;
    if (x->distance != y->distance)
        return x->distance < y->distance ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

size_t model_search(const model *m, const float *query, uint32_t k, const gn_branch_at *chain, size_t n_chain,
                    uint32_t filter_modulo, result *out)
{
    result *all = malloc((m->n + 1) * sizeof *all);
    size_t n = 0, *first = first_places(m, chain, n_chain);
    for (size_t i = 0; i < m->n; i++) {
        const model_row *r = &m->rows[i];
        if (!r->vector || (filter_modulo && r->id % filter_modulo) || !model_visible(r, chain, n_chain, first))
            continue;
        all[n++] = (result){
            .id = r->id, .branch = r->branch, .begin = r->begin, .distance = model_distance(m, query, r->vector)};
    }
    qsort(all, n, sizeof *all, nearer);
    n = n < k ? n : k;
    memcpy(out, all, n * sizeof *out);
    free(all);
    free(first);
    return n;
}

/* ---- searching ---- */

static bool divisible(void *ctx, gn_bytes key, uint64_t begin_scn)
{
    (void)begin_scn;
    char text[16] = {0};
    memcpy(text, key.data, key.len < 15 ? key.len : 15);
    return strtoul(text + 1, NULL, 10) % *(uint32_t *)ctx == 0;
}

size_t search(fixture *f, const float *query, uint32_t k, uint32_t ef, bool exact, const gn_branch_at *chain,
              size_t n_chain, uint32_t filter_modulo, result *out)
{
    gn_arena *arena = gn_arena_create(NULL);
    gn_error err = {0};
    gn_neighbor *found;
    size_t n = 0;
    gn_vview *view = gn_vview_acquire(f->index);
    gn_vsearch s = {.query = query,
                    .k = k,
                    .ef = ef,
                    .exact = exact,
                    .chain = chain,
                    .n_chain = n_chain,
                    .filter = filter_modulo ? divisible : NULL,
                    .filter_ctx = &filter_modulo,
                    .arena = arena};
    if (gn_vview_search(view, &s, &found, &n, NULL, &err) != GN_OK)
        fail_msg("search: %s", err.message);
    for (size_t i = 0; i < n; i++) {
        char text[16] = {0};
        memcpy(text, found[i].key.data, found[i].key.len);
        out[i] = (result){.id = (uint32_t)strtoul(text + 1, NULL, 10),
                          .branch = found[i].branch,
                          .begin = found[i].begin_scn,
                          .distance = found[i].distance};
    }
    gn_vview_release(view);
    gn_arena_destroy(arena);
    return n;
}

/* Is it among all that this reader may see, at this distance? */
static bool is_right(const result *r, const result *seen, size_t n_seen)
{
    for (size_t i = 0; i < n_seen; i++) {
        const result *s = &seen[i];
        if (s->id == r->id && s->branch == r->branch && s->begin == r->begin)
            return fabsf(s->distance - r->distance) <= 1e-4f * (1 + fabsf(s->distance));
    }
    return false;
}

double recall_in(fixture *f, const model *m, const float *queries, size_t n, uint32_t k, uint32_t ef,
                 const gn_branch_at *chain, size_t n_chain, uint32_t filter_modulo)
{
    result *seen = malloc((m->n + 1) * sizeof *seen), *got = malloc(k * sizeof *got);
    size_t hits = 0, all = 0;
    for (size_t q = 0; q < n; q++) {
        const float *query = queries + q * vector_words(m->metric, m->dimensions);
        size_t n_seen = model_search(m, query, (uint32_t)m->n, chain, n_chain, filter_modulo, seen);
        size_t n_got = search(f, query, k, ef, false, chain, n_chain, filter_modulo, got);
        size_t want = n_seen < k ? n_seen : k;
        assert_int_equal(n_got, want); /* never short */
        all += want;
        for (size_t i = 0; i < n_got; i++) {
            if (!is_right(&got[i], seen, n_seen))
                fail_msg("k%u of branch %lu from %lu should not be there, at %g", got[i].id,
                         (unsigned long)got[i].branch, (unsigned long)got[i].begin, (double)got[i].distance);
            float farthest = seen[want - 1].distance;
            hits += got[i].distance <= farthest + 1e-5f * fabsf(farthest);
        }
    }
    free(seen);
    free(got);
    return all ? (double)hits / (double)all : 1;
}

double recall(fixture *f, const model *m, const float *queries, size_t n, uint32_t k, uint32_t ef, uint64_t scn,
              uint32_t filter_modulo)
{
    gn_branch_at at = {.branch = 0, .scn = scn};
    return recall_in(f, m, queries, n, k, ef, &at, 1, filter_modulo);
}

void assert_same_as_model(fixture *f, const model *m, const float *query, uint32_t k, const gn_branch_at *chain,
                          size_t n_chain)
{
    result *want = malloc(k * sizeof *want), *got = malloc(k * sizeof *got);
    size_t n_want = model_search(m, query, k, chain, n_chain, 0, want);
    size_t n_got = search(f, query, k, 0, true, chain, n_chain, 0, got);
    assert_int_equal(n_got, n_want);
    for (size_t i = 0; i < n_got; i++) {
        float tolerance = 1e-4f * (1 + fabsf(want[i].distance));
        if (fabsf(got[i].distance - want[i].distance) > tolerance)
            fail_msg("result %zu: distance %g, not %g", i, (double)got[i].distance, (double)want[i].distance);
        bool found = false;
        for (size_t j = 0; j < n_want; j++)
            found |= got[i].id == want[j].id && got[i].branch == want[j].branch && got[i].begin == want[j].begin;
        if (!found && fabsf(got[i].distance - want[n_want - 1].distance) > tolerance)
            fail_msg("result %zu: k%u of branch %lu from %lu should not be there", i, got[i].id,
                     (unsigned long)got[i].branch, (unsigned long)got[i].begin);
    }
    free(want);
    free(got);
}
