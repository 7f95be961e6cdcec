/* How fast the distance kernels read: out of the cache, and out of memory beside a plain sum over the same bytes.
 *
 *   bench_kernels [--quick] */
#include "bench/bench_report.h"
#include "index/distance.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { IN_CACHE = 128 << 10, IN_MEMORY = 256 << 20 };

static volatile double sink;

/* Reads as fast as a loop of wide loads can: what the memory gives. */
static double read_all(const float *data, size_t floats)
{
    typedef float v16 __attribute__((vector_size(64), aligned(64)));
    const v16 *p = (const v16 *)(const void *)data;
    v16 s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
    for (size_t i = 0; i + 4 <= floats / 16; i += 4) {
        s0 += p[i];
        s1 += p[i + 1];
        s2 += p[i + 2];
        s3 += p[i + 3];
    }
    s0 += s1 + s2 + s3;
    return (double)s0[0] + (double)s0[7];
}

typedef struct work {
    const gn_kernels *kernels; /* NULL: read_all */
    const float *data;
    size_t bytes, dimensions;
    bool four;
} work;

static void pass(const work *w, const float *query)
{
    size_t n = w->bytes / sizeof(float) / w->dimensions, d = w->dimensions;
    float out[4], sum = 0;
    if (!w->kernels) {
        sink = read_all(w->data, w->bytes / sizeof(float));
        return;
    }
    for (size_t i = 0; i + 4 <= n; i += 4) {
        const float *v[4];
        for (size_t j = 0; j < 4; j++)
            v[j] = w->data + (i + j) * d;
        if (w->four) {
            w->kernels->l2sq_x4(query, v, d, out);
            sum += out[0] + out[1] + out[2] + out[3];
        } else {
            for (size_t j = 0; j < 4; j++)
                sum += w->kernels->l2sq(query, v[j], d);
        }
    }
    sink = sum;
}

static double gigabytes_per_second(const work *w, const float *query, double seconds)
{
    double best = 0, began = now_seconds();
    do {
        double from = now_seconds();
        size_t passes = w->bytes < (1 << 20) ? 500 : 1;
        for (size_t i = 0; i < passes; i++)
            pass(w, query);
        double rate = (double)w->bytes * (double)passes / (now_seconds() - from) * 1e-9;
        best = rate > best ? rate : best;
    } while (now_seconds() - began < seconds);
    return best;
}

int main(int argc, char **argv)
{
    static const char *const names[] = {"scalar", "avx2", "avx512", "neon"};
    static const size_t dimensions[] = {128, 384, 768, 1536};
    bool quick = argc > 1 && strcmp(argv[1], "--quick") == 0;
    double seconds = quick ? 0.05 : 0.3;
    float *data = NULL;
    if (posix_memalign((void **)&data, 64, IN_MEMORY) != 0)
        return 1;
    for (size_t i = 0; i < IN_MEMORY / sizeof(float); i++)
        data[i] = (float)(i % 1000) * 0.001f;
    work memory = {.data = data, .bytes = IN_MEMORY, .dimensions = 16};
    report("kernels", "plain read", "256 MB", "bandwidth", gigabytes_per_second(&memory, data, seconds), "GB/s");
    for (size_t k = 0; k < sizeof names / sizeof names[0]; k++) {
        const gn_kernels *kernels = gn_kernels_named(names[k]);
        for (size_t d = 0; kernels && d < sizeof dimensions / sizeof dimensions[0]; d++) {
            char set[64];
            for (int four = 0; four < 2; four++) {
                work w = {.kernels = kernels, .data = data, .dimensions = dimensions[d], .four = four};
                snprintf(set, sizeof set, "%zu dimensions, %s", dimensions[d], four ? "four at once" : "one by one");
                w.bytes = IN_CACHE;
                report("kernels", names[k], set, "L2 in cache", gigabytes_per_second(&w, data, seconds), "GB/s");
                w.bytes = IN_MEMORY;
                report("kernels", names[k], set, "L2 in memory", gigabytes_per_second(&w, data, seconds), "GB/s");
            }
        }
    }
    free(data);
    return 0;
}
