#include "bench/bench_vectors.h"

#include "index/distance.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zstd.h>

static void *must(void *p)
{
    if (!p) {
        fprintf(stderr, "out of memory\n");
        exit(1);
    }
    return p;
}

static uint8_t *read_whole(const char *path, size_t *len)
{
    struct stat st;
    FILE *file = fopen(path, "rb");
    if (!file)
        return NULL;
    if (fstat(fileno(file), &st) != 0 || st.st_size <= 0) {
        fclose(file);
        return NULL;
    }
    uint8_t *data = must(malloc((size_t)st.st_size));
    *len = fread(data, 1, (size_t)st.st_size, file);
    fclose(file);
    return data;
}

static float *read_bytes_as_floats(const char *dir, const char *name, size_t max)
{
    char path[512];
    size_t len = 0;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    uint8_t *packed = read_whole(path, &len);
    if (!packed)
        return NULL;
    unsigned long long want = ZSTD_getFrameContentSize(packed, len);
    size_t cap = want < (1ull << 32) ? (size_t)want : max;
    uint8_t *bytes = must(malloc(cap));
    size_t n = ZSTD_decompress(bytes, cap, packed, len);
    float *floats = NULL;
    if (!ZSTD_isError(n) && n >= max) {
        floats = must(malloc(max * sizeof *floats));
        for (size_t i = 0; i < max; i++)
            floats[i] = bytes[i];
    }
    free(bytes);
    free(packed);
    return floats;
}

bool load_fashion_mnist(const char *dir, size_t n, vector_set *out)
{
    enum { ALL = 60000, QUERIES = 1000, DIMENSIONS = 784, TRUTH = 100, K = 10 };
    char path[512];
    size_t len = 0;
    snprintf(path, sizeof path, "%s/fashion-mnist", dir);
    *out = (vector_set){.dimensions = DIMENSIONS, .n = n, .n_queries = QUERIES, .k = K};
    snprintf(out->name, sizeof out->name, "fashion-mnist %zu x %d", n, DIMENSIONS);
    out->base = read_bytes_as_floats(path, "base.u8.zst", n * DIMENSIONS);
    out->queries = read_bytes_as_floats(path, "query.u8.zst", (size_t)QUERIES * DIMENSIONS);
    if (!out->base || !out->queries)
        return false;
    if (n != ALL) {
        find_truth(out);
        return true;
    }
    snprintf(path, sizeof path, "%s/fashion-mnist/truth100.i32", dir);
    uint32_t *truth = (uint32_t *)(void *)read_whole(path, &len);
    if (!truth || len < sizeof(uint32_t) * QUERIES * TRUTH)
        return false;
    out->truth = must(malloc(sizeof(uint32_t) * QUERIES * K));
    for (size_t i = 0; i < QUERIES; i++)
        memcpy(out->truth + i * K, truth + i * TRUTH, K * sizeof *truth);
    free(truth);
    return true;
}

static uint64_t next_u64(uint64_t *s)
{
    uint64_t z = (*s += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static float next_normal(uint64_t *s)
{
    double u = ((double)(next_u64(s) >> 11) + 0.5) / 9007199254740992.0;
    double w = ((double)(next_u64(s) >> 11) + 0.5) / 9007199254740992.0;
    return (float)(sqrt(-2 * log(u)) * cos(6.283185307179586 * w));
}

static void make_unit(float *v, uint32_t dimensions)
{
    double norm2 = 0;
    for (uint32_t i = 0; i < dimensions; i++)
        norm2 += (double)v[i] * v[i];
    for (uint32_t i = 0; i < dimensions; i++)
        v[i] = (float)(v[i] / sqrt(norm2));
}

/* Embeddings fill a space of far fewer dimensions than they have: centers and noise lie in `intrinsic` random
 * directions, with a little noise in all. */
void generate_clustered(size_t n, size_t n_queries, uint32_t dimensions, vector_set *out)
{
    enum { CLUSTERS = 1000, INTRINSIC = 32 };
    uint64_t seed = 20260101;
    float *directions = must(malloc((size_t)INTRINSIC * dimensions * sizeof(float)));
    float *centers = must(malloc((size_t)CLUSTERS * INTRINSIC * sizeof(float)));
    *out = (vector_set){.dimensions = dimensions, .n = n, .n_queries = n_queries, .inner_product = true, .k = 10};
    snprintf(out->name, sizeof out->name, "clustered unit vectors %zu x %u", n, dimensions);
    out->base = must(malloc((n + n_queries) * dimensions * sizeof(float)));
    out->queries = must(malloc(n_queries * dimensions * sizeof(float)));
    for (size_t i = 0; i < (size_t)INTRINSIC * dimensions; i++)
        directions[i] = next_normal(&seed) / sqrtf((float)dimensions);
    for (size_t i = 0; i < (size_t)CLUSTERS * INTRINSIC; i++)
        centers[i] = next_normal(&seed);
    for (size_t i = 0; i < n + n_queries; i++) {
        float *v = out->base + i * dimensions;
        const float *center = centers + next_u64(&seed) % CLUSTERS * INTRINSIC;
        for (uint32_t d = 0; d < dimensions; d++)
            v[d] = 0.1f * next_normal(&seed) / sqrtf((float)dimensions);
        for (uint32_t a = 0; a < INTRINSIC; a++) {
            float along = center[a] + 0.5f * next_normal(&seed);
            for (uint32_t d = 0; d < dimensions; d++)
                v[d] += along * directions[(size_t)a * dimensions + d];
        }
        make_unit(v, dimensions);
    }
    memcpy(out->queries, out->base + n * dimensions, n_queries * dimensions * sizeof(float));
    free(directions);
    free(centers);
}

bool load_raw(const char *base, const char *queries, uint32_t dimensions, vector_set *out)
{
    size_t base_len = 0, queries_len = 0;
    *out = (vector_set){.dimensions = dimensions, .inner_product = true, .k = 10};
    out->base = (float *)(void *)read_whole(base, &base_len);
    out->queries = (float *)(void *)read_whole(queries, &queries_len);
    out->n = base_len / sizeof(float) / dimensions;
    out->n_queries = queries_len / sizeof(float) / dimensions;
    return out->base && out->queries && out->n && out->n_queries;
}

void find_truth(vector_set *set)
{
    const gn_kernels *kernels = gn_kernels_best();
    float *best = must(malloc(set->k * sizeof *best));
    set->truth = must(malloc(set->n_queries * set->k * sizeof *set->truth));
    for (size_t q = 0; q < set->n_queries; q++) {
        const float *query = set->queries + q * set->dimensions;
        uint32_t *truth = set->truth + q * set->k, n = 0;
        for (size_t i = 0; i < set->n; i++) {
            const float *v = set->base + i * set->dimensions;
            float d = set->inner_product ? -kernels->dot(query, v, set->dimensions)
                                         : kernels->l2sq(query, v, set->dimensions);
            if (n == set->k && d >= best[n - 1])
                continue;
            uint32_t at = n < set->k ? n++ : n - 1;
            for (; at > 0 && best[at - 1] > d; at--) {
                best[at] = best[at - 1];
                truth[at] = truth[at - 1];
            }
            best[at] = d;
            truth[at] = (uint32_t)i;
        }
    }
    free(best);
}

void vector_set_free(vector_set *set)
{
    free(set->base);
    free(set->queries);
    free(set->truth);
    *set = (vector_set){0};
}
