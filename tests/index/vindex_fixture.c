#include "tests/index/vindex_fixture.h"

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

/* ---- the model ---- */

void insert_row(fixture *f, model *m, uint32_t id, uint64_t branch, uint64_t scn, const float *vector)
{
    char key[16];
    gn_error err = {0};
    if (gn_vindex_insert(f->index, key_of(id, key), branch, scn, vector, &err) != GN_OK)
        fail_msg("insert: %s", err.message);
    if (!m)
        return;
    if (m->n == m->cap) {
        m->cap = m->cap ? 2 * m->cap : 256;
        m->rows = realloc(m->rows, m->cap * sizeof *m->rows);
    }
    m->rows[m->n++] = (model_row){.id = id, .branch = branch, .begin = scn, .end = OPEN_END, .vector = vector};
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

void model_close(model *m)
{
    free(m->rows);
    *m = (model){0};
}

static float model_distance(const model *m, const float *a, const float *b)
{
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

static bool model_visible(const model *m, const model_row *r, const gn_branch_at *chain, size_t n_chain)
{
    size_t i = 0;
    while (i < n_chain && chain[i].branch != r->branch)
        i++;
    if (i == n_chain || r->begin > chain[i].scn || r->end <= chain[i].scn)
        return false;
    for (size_t j = 0; i > 0 && j < m->n; j++) {
        const model_row *o = &m->rows[j];
        for (size_t c = 0; o->id == r->id && c < i; c++) {
            if (o->branch == chain[c].branch && o->begin <= chain[c].scn)
                return false;
        }
    }
    return true;
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
    size_t n = 0;
    for (size_t i = 0; i < m->n; i++) {
        const model_row *r = &m->rows[i];
        if (!r->vector || (filter_modulo && r->id % filter_modulo) || !model_visible(m, r, chain, n_chain))
            continue;
        all[n++] = (result){
            .id = r->id, .branch = r->branch, .begin = r->begin, .distance = model_distance(m, query, r->vector)};
    }
    qsort(all, n, sizeof *all, nearer);
    n = n < k ? n : k;
    memcpy(out, all, n * sizeof *out);
    free(all);
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

double recall(fixture *f, const model *m, const float *queries, size_t n, uint32_t k, uint32_t ef, uint64_t scn,
              uint32_t filter_modulo)
{
    gn_branch_at at = {.branch = 0, .scn = scn};
    result *want = malloc(k * sizeof *want), *got = malloc(k * sizeof *got);
    size_t hits = 0, all = 0;
    for (size_t q = 0; q < n; q++) {
        const float *query = queries + q * m->dimensions;
        size_t n_want = model_search(m, query, k, &at, 1, filter_modulo, want);
        size_t n_got = search(f, query, k, ef, false, &at, 1, filter_modulo, got);
        assert_int_equal(n_got, n_want); /* never short */
        all += n_want;
        for (size_t i = 0; i < n_got; i++) {
            for (size_t j = 0; j < n_want; j++)
                hits += got[i].id == want[j].id && got[i].begin == want[j].begin;
        }
    }
    free(want);
    free(got);
    return all ? (double)hits / (double)all : 1;
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
