/* Vectors for benchmarks: files and generated sets, with the exact neighbours of the queries. */
#ifndef GN_BENCH_VECTORS_H
#define GN_BENCH_VECTORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct vector_set {
    char name[96];
    uint32_t dimensions;
    size_t n, n_queries;
    float *base, *queries;
    bool inner_product; /* unit vectors compared by inner product; else L2 */
    uint32_t k;
    uint32_t *truth; /* [n_queries][k] */
} vector_set;

/* base.u8.zst, query.u8.zst and truth100.i32 as bytes of images. False when they are not there. */
bool load_fashion_mnist(const char *dir, size_t n, vector_set *out);
/* Unit vectors around centers, with a fixed seed. truth is not filled. */
void generate_clustered(size_t n, size_t n_queries, uint32_t dimensions, vector_set *out);
bool load_raw(const char *base, const char *queries, uint32_t dimensions, vector_set *out);
void find_truth(vector_set *set);
void vector_set_free(vector_set *set);

#endif
