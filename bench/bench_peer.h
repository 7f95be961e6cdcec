/* The peer that the index is measured beside. */
#ifndef GN_BENCH_PEER_H
#define GN_BENCH_PEER_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

void *peer_build(const float *vectors, size_t n, uint32_t dimensions, int inner_product, uint32_t m,
                 uint32_t ef_construction, uint32_t threads);
void peer_search(void *peer, const float *query, uint32_t k, uint32_t ef, uint32_t *ids);
void peer_free(void *peer);

#ifdef __cplusplus
}
#endif

#endif
