/* Kernels over codes for AVX2 with FMA and popcnt; compiled with those flags and called only where the CPU has them. A
 * product of bytes may pass 16 bits when two are added, so bytes are widened first. */
#include "index/code_kernels_private.h"
#include "index/half_private.h"

#include <immintrin.h>
#include <string.h>

static inline int32_t sum8(__m256i v)
{
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1));
    return _mm_cvtsi128_si32(s);
}

static inline float sum8_ps(__m256 v)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    s = _mm_add_ss(s, _mm_movehdup_ps(s));
    return _mm_cvtss_f32(s);
}

static inline __m128i load16(const void *p)
{
    return _mm_loadu_si128(p);
}

/* ---- integer codes ---- */

static void avx2_dot8_x4(const int8_t *q, const uint8_t *const c[4], size_t bytes, int32_t out[4])
{
    __m256i s[4] = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256()};
    for (size_t i = 0; i < bytes; i += 16) {
        __m256i v = _mm256_cvtepi8_epi16(load16(q + i));
        for (int j = 0; j < 4; j++)
            s[j] = _mm256_add_epi32(s[j], _mm256_madd_epi16(_mm256_cvtepu8_epi16(load16(c[j] + i)), v));
    }
    for (int j = 0; j < 4; j++)
        out[j] = sum8(s[j]);
}

static void avx2_dot4_x4(const int8_t *q, const uint8_t *const c[4], size_t bytes, int32_t out[4])
{
    /* 15 * 127 * 2 fits 16 bits, so bytes can be multiplied as they are. */
    __m256i mask = _mm256_set1_epi8(15), ones = _mm256_set1_epi16(1);
    for (int j = 0; j < 4; j++) {
        __m256i s = _mm256_setzero_si256();
        for (size_t i = 0; i < bytes; i += 32) {
            __m256i v = _mm256_loadu_si256((const __m256i *)(const void *)(c[j] + i));
            __m256i low = _mm256_loadu_si256((const __m256i *)(const void *)(q + i));
            __m256i high = _mm256_loadu_si256((const __m256i *)(const void *)(q + bytes + i));
            __m256i a = _mm256_maddubs_epi16(_mm256_and_si256(v, mask), low);
            __m256i b = _mm256_maddubs_epi16(_mm256_and_si256(_mm256_srli_epi16(v, 4), mask), high);
            s = _mm256_add_epi32(s, _mm256_add_epi32(_mm256_madd_epi16(a, ones), _mm256_madd_epi16(b, ones)));
        }
        out[j] = sum8(s);
    }
}

/* 32 bits become 32 bytes of 0 or 0xff. */
static inline __m256i spread(const uint8_t *p)
{
    uint32_t bits;
    memcpy(&bits, p, sizeof bits);
    const __m256i which = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
    const __m256i bit = _mm256_set1_epi64x((long long)0x8040201008040201u);
    __m256i v = _mm256_shuffle_epi8(_mm256_set1_epi32((int)bits), which);
    return _mm256_cmpeq_epi8(_mm256_and_si256(v, bit), bit);
}

static void avx2_dot1_x4(const int8_t *q, const uint8_t *const c[4], size_t bytes, int32_t out[4])
{
    __m256i one8 = _mm256_set1_epi8(1), ones = _mm256_set1_epi16(1);
    for (int j = 0; j < 4; j++) {
        __m256i s = _mm256_setzero_si256();
        for (size_t i = 0; i < bytes; i += 4) {
            __m256i v = _mm256_loadu_si256((const __m256i *)(const void *)(q + 8 * i));
            __m256i picked = _mm256_and_si256(v, spread(c[j] + i));
            s = _mm256_add_epi32(s, _mm256_madd_epi16(_mm256_maddubs_epi16(one8, picked), ones));
        }
        out[j] = sum8(s);
    }
}

static uint64_t load8(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static uint32_t avx2_hamming(const uint8_t *a, const uint8_t *b, size_t bytes)
{
    uint64_t n = 0;
    for (size_t i = 0; i < bytes; i += 8)
        n += (uint64_t)_mm_popcnt_u64(load8(a + i) ^ load8(b + i));
    return (uint32_t)n;
}

static void avx2_overlap(const uint8_t *a, const uint8_t *b, size_t bytes, uint32_t *both, uint32_t *either)
{
    uint64_t n_and = 0, n_or = 0;
    for (size_t i = 0; i < bytes; i += 8) {
        uint64_t x = load8(a + i), y = load8(b + i);
        n_and += (uint64_t)_mm_popcnt_u64(x & y);
        n_or += (uint64_t)_mm_popcnt_u64(x | y);
    }
    *both = (uint32_t)n_and;
    *either = (uint32_t)n_or;
}

/* ---- halves ---- */

static inline __m256 load_bf16(const uint16_t *p)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load16(p)), 16));
}

static void avx2_l2sq_bf16_x4(const float *q, const uint16_t *const c[4], size_t n, float out[4])
{
    __m256 s[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps()};
    for (size_t i = 0; i < n; i += 8) {
        __m256 v = _mm256_loadu_ps(q + i);
        for (int j = 0; j < 4; j++) {
            __m256 d = _mm256_sub_ps(v, load_bf16(c[j] + i));
            s[j] = _mm256_fmadd_ps(d, d, s[j]);
        }
    }
    for (int j = 0; j < 4; j++)
        out[j] = sum8_ps(s[j]);
}

static void avx2_dot_bf16_x4(const float *q, const uint16_t *const c[4], size_t n, float out[4])
{
    __m256 s[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps()};
    for (size_t i = 0; i < n; i += 8) {
        __m256 v = _mm256_loadu_ps(q + i);
        for (int j = 0; j < 4; j++)
            s[j] = _mm256_fmadd_ps(v, load_bf16(c[j] + i), s[j]);
    }
    for (int j = 0; j < 4; j++)
        out[j] = sum8_ps(s[j]);
}

static float avx2_l1(const float *a, const float *b, size_t n)
{
    __m256 sum = _mm256_setzero_ps(), sign = _mm256_set1_ps(-0.0f);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 d = _mm256_sub_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i));
        sum = _mm256_add_ps(sum, _mm256_andnot_ps(sign, d));
    }
    float rest = 0;
    for (; i < n; i++)
        rest += __builtin_fabsf(a[i] - b[i]);
    return sum8_ps(sum) + rest;
}

static void avx2_to_f16(const float *from, uint16_t *to, size_t n)
{
    __m256 most = _mm256_set1_ps(65504.0f), least = _mm256_set1_ps(-65504.0f);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 v = _mm256_min_ps(_mm256_max_ps(_mm256_loadu_ps(from + i), least), most);
        _mm_storeu_si128((__m128i *)(void *)(to + i), _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
    }
    for (; i < n; i++)
        to[i] = gn_f16_of_float(from[i]);
}

/* ---- product codes ---- */

static void avx2_lookup8_x4(const float *table, const uint8_t *const c[4], size_t n, float out[4])
{
    float s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    for (size_t s = 0; s < n; s++, table += 256) {
        s0 += table[c[0][s]];
        s1 += table[c[1][s]];
        s2 += table[c[2][s]];
        s3 += table[c[3][s]];
    }
    out[0] = s0, out[1] = s1, out[2] = s2, out[3] = s3;
}

static void avx2_lookup4_x4(const uint8_t *table, const uint8_t *const c[4], size_t bytes, uint32_t out[4])
{
    for (int j = 0; j < 4; j++) {
        uint32_t s0 = 0, s1 = 0;
        for (size_t i = 0; i < bytes; i++) {
            s0 += table[32 * i + (c[j][i] & 15)];
            s1 += table[32 * i + 16 + (c[j][i] >> 4)];
        }
        out[j] = s0 + s1;
    }
}

const gn_code_kernels gn_code_kernels_avx2 = {
    .name = "avx2",
    .dot8_x4 = avx2_dot8_x4,
    .dot4_x4 = avx2_dot4_x4,
    .dot1_x4 = avx2_dot1_x4,
    .hamming = avx2_hamming,
    .overlap = avx2_overlap,
    .l2sq_bf16_x4 = avx2_l2sq_bf16_x4,
    .dot_bf16_x4 = avx2_dot_bf16_x4,
    .l1 = avx2_l1,
    .to_f16 = avx2_to_f16,
    .lookup8_x4 = avx2_lookup8_x4,
    .lookup4_x4 = avx2_lookup4_x4,
};
