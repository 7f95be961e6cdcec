/* Kernels over codes, chosen at run time as those over floats are. All integer ones give the same number everywhere. */
#ifndef GN_INDEX_CODE_KERNELS_PRIVATE_H
#define GN_INDEX_CODE_KERNELS_PRIVATE_H

#include "index/distance.h"

#include <stddef.h>
#include <stdint.h>

typedef void (*gn_code_dot_x4_fn)(const int8_t *query, const uint8_t *const codes[4], size_t bytes, int32_t out[4]);

typedef struct gn_code_kernels {
    const char *name; /* "scalar", "avx2", "avx512" */
    /* Sums of query[i] * code[i] over bytes, a multiple of 64. */
    gn_code_dot_x4_fn dot8_x4;
    /* A byte holds two: query[i] * (code[i] & 15) + query[bytes + i] * (code[i] >> 4). bytes: a multiple of 64. */
    gn_code_dot_x4_fn dot4_x4;
    /* Sums of query[8 i + j] where bit j of code[i] is set. bytes: a multiple of 8. */
    gn_code_dot_x4_fn dot1_x4;
    /* Bits that differ. bytes: a multiple of 8. */
    uint32_t (*hamming)(const uint8_t *a, const uint8_t *b, size_t bytes);
    /* Bits set in both, in either. */
    void (*overlap)(const uint8_t *a, const uint8_t *b, size_t bytes, uint32_t *both, uint32_t *either);
    /* Over bfloat16 (those over float16: distance.h); n: a multiple of 16. */
    gn_half_x4_fn l2sq_bf16_x4, dot_bf16_x4;
    /* Sums |a - b|. */
    float (*l1)(const float *a, const float *b, size_t n);
    void (*to_f16)(const float *from, uint16_t *to, size_t n);
    /* Sums of table[s][code[s]] over 8-bit codes, n tables of 256. */
    void (*lookup8_x4)(const float *table, const uint8_t *const codes[4], size_t n, float out[4]);
    /* 4-bit codes, two a byte, low one first: sums of table[2 i][code[i] & 15] + table[2 i + 1][code[i] >> 4] over
     * bytes, a multiple of 8; tables of 16 bytes each, looked up in registers. */
    void (*lookup4_x4)(const uint8_t *table, const uint8_t *const codes[4], size_t bytes, uint32_t out[4]);
} gn_code_kernels;

const gn_code_kernels *gn_code_kernels_best(void);
const gn_code_kernels *gn_code_kernels_named(const char *name); /* NULL: not in this build, or not for this CPU */

extern const gn_code_kernels gn_code_kernels_scalar;
#ifdef GN_HAVE_X86_KERNELS
extern const gn_code_kernels gn_code_kernels_avx2;
extern const gn_code_kernels gn_code_kernels_avx512;
#endif

#endif
