/* Kernels over codes for AVX-512 with BW, VL, VNNI, VBMI and VPOPCNTDQ; compiled with those flags and called only where
 * the CPU has them all. Four codes at a time: their sums hide each other's latency and are added up together. */
#include "index/code_kernels_private.h"

#include <immintrin.h>

/* The four sums of 16 lanes each, by one transpose instead of four reductions. */
static inline __m128i sum_x4(__m512i s0, __m512i s1, __m512i s2, __m512i s3)
{
    __m512i t0 = _mm512_add_epi32(_mm512_unpacklo_epi32(s0, s1), _mm512_unpackhi_epi32(s0, s1));
    __m512i t1 = _mm512_add_epi32(_mm512_unpacklo_epi32(s2, s3), _mm512_unpackhi_epi32(s2, s3));
    __m512i t = _mm512_add_epi32(_mm512_unpacklo_epi64(t0, t1), _mm512_unpackhi_epi64(t0, t1));
    __m256i h = _mm256_add_epi32(_mm512_castsi512_si256(t), _mm512_extracti64x4_epi64(t, 1));
    return _mm_add_epi32(_mm256_castsi256_si128(h), _mm256_extracti128_si256(h, 1));
}

static inline __m128 sum_ps_x4(__m512 s0, __m512 s1, __m512 s2, __m512 s3)
{
    __m512 t0 = _mm512_add_ps(_mm512_unpacklo_ps(s0, s1), _mm512_unpackhi_ps(s0, s1));
    __m512 t1 = _mm512_add_ps(_mm512_unpacklo_ps(s2, s3), _mm512_unpackhi_ps(s2, s3));
    __m512 t = _mm512_add_ps(_mm512_shuffle_ps(t0, t1, 0x44), _mm512_shuffle_ps(t0, t1, 0xee));
    __m128 a = _mm_add_ps(_mm512_castps512_ps128(t), _mm512_extractf32x4_ps(t, 1));
    __m128 b = _mm_add_ps(_mm512_extractf32x4_ps(t, 2), _mm512_extractf32x4_ps(t, 3));
    return _mm_add_ps(a, b);
}

static inline void store(int32_t out[4], __m128i v)
{
    _mm_storeu_si128((__m128i *)(void *)out, v);
}

/* ---- integer codes ---- */

static void avx512_dot8_x4(const int8_t *q, const uint8_t *const c[4], size_t bytes, int32_t out[4])
{
    const uint8_t *c0 = c[0], *c1 = c[1], *c2 = c[2], *c3 = c[3];
    __m512i s0 = _mm512_setzero_si512(), s1 = s0, s2 = s0, s3 = s0;
    for (size_t i = 0; i < bytes; i += 64) {
        __m512i v = _mm512_loadu_si512(q + i);
        s0 = _mm512_dpbusd_epi32(s0, _mm512_loadu_si512(c0 + i), v);
        s1 = _mm512_dpbusd_epi32(s1, _mm512_loadu_si512(c1 + i), v);
        s2 = _mm512_dpbusd_epi32(s2, _mm512_loadu_si512(c2 + i), v);
        s3 = _mm512_dpbusd_epi32(s3, _mm512_loadu_si512(c3 + i), v);
    }
    store(out, sum_x4(s0, s1, s2, s3));
}

static inline __m512i dot4_step(__m512i sum, const uint8_t *c, __m512i low, __m512i high)
{
    __m512i mask = _mm512_set1_epi8(15), v = _mm512_loadu_si512(c);
    sum = _mm512_dpbusd_epi32(sum, _mm512_and_si512(v, mask), low);
    return _mm512_dpbusd_epi32(sum, _mm512_and_si512(_mm512_srli_epi16(v, 4), mask), high);
}

static void avx512_dot4_x4(const int8_t *q, const uint8_t *const c[4], size_t bytes, int32_t out[4])
{
    __m512i s0 = _mm512_setzero_si512(), s1 = s0, s2 = s0, s3 = s0;
    for (size_t i = 0; i < bytes; i += 64) {
        __m512i low = _mm512_loadu_si512(q + i), high = _mm512_loadu_si512(q + bytes + i);
        s0 = dot4_step(s0, c[0] + i, low, high);
        s1 = dot4_step(s1, c[1] + i, low, high);
        s2 = dot4_step(s2, c[2] + i, low, high);
        s3 = dot4_step(s3, c[3] + i, low, high);
    }
    store(out, sum_x4(s0, s1, s2, s3));
}

static inline __mmask64 mask_of(const uint8_t *p)
{
    __mmask64 m;
    __builtin_memcpy(&m, p, sizeof m);
    return m;
}

static void avx512_dot1_x4(const int8_t *q, const uint8_t *const c[4], size_t bytes, int32_t out[4])
{
    __m512i s0 = _mm512_setzero_si512(), s1 = s0, s2 = s0, s3 = s0;
    for (size_t i = 0; i < bytes; i += 8) {
        __m512i v = _mm512_loadu_si512(q + 8 * i), one = _mm512_set1_epi8(1);
        s0 = _mm512_dpbusd_epi32(s0, _mm512_maskz_mov_epi8(mask_of(c[0] + i), one), v);
        s1 = _mm512_dpbusd_epi32(s1, _mm512_maskz_mov_epi8(mask_of(c[1] + i), one), v);
        s2 = _mm512_dpbusd_epi32(s2, _mm512_maskz_mov_epi8(mask_of(c[2] + i), one), v);
        s3 = _mm512_dpbusd_epi32(s3, _mm512_maskz_mov_epi8(mask_of(c[3] + i), one), v);
    }
    store(out, sum_x4(s0, s1, s2, s3));
}

static inline __mmask8 words_mask(size_t bytes)
{
    return bytes >= 64 ? (__mmask8)0xff : (__mmask8)((1u << (bytes / 8)) - 1u);
}

static uint32_t avx512_hamming(const uint8_t *a, const uint8_t *b, size_t bytes)
{
    __m512i sum = _mm512_setzero_si512();
    for (size_t i = 0; i < bytes; i += 64) {
        __mmask8 m = words_mask(bytes - i);
        __m512i x = _mm512_maskz_loadu_epi64(m, a + i), y = _mm512_maskz_loadu_epi64(m, b + i);
        sum = _mm512_add_epi64(sum, _mm512_popcnt_epi64(_mm512_xor_si512(x, y)));
    }
    return (uint32_t)_mm512_reduce_add_epi64(sum);
}

static void avx512_overlap(const uint8_t *a, const uint8_t *b, size_t bytes, uint32_t *both, uint32_t *either)
{
    __m512i n_and = _mm512_setzero_si512(), n_or = n_and;
    for (size_t i = 0; i < bytes; i += 64) {
        __mmask8 m = words_mask(bytes - i);
        __m512i x = _mm512_maskz_loadu_epi64(m, a + i), y = _mm512_maskz_loadu_epi64(m, b + i);
        n_and = _mm512_add_epi64(n_and, _mm512_popcnt_epi64(_mm512_and_si512(x, y)));
        n_or = _mm512_add_epi64(n_or, _mm512_popcnt_epi64(_mm512_or_si512(x, y)));
    }
    *both = (uint32_t)_mm512_reduce_add_epi64(n_and);
    *either = (uint32_t)_mm512_reduce_add_epi64(n_or);
}

/* ---- halves ---- */

static inline __m512 load_bf16(const uint16_t *p)
{
    __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}

static void avx512_l2sq_bf16_x4(const float *q, const uint16_t *const c[4], size_t n, float out[4])
{
    __m512 s[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps()};
    for (size_t i = 0; i < n; i += 16) {
        __m512 v = _mm512_loadu_ps(q + i);
        for (int j = 0; j < 4; j++) {
            __m512 d = _mm512_sub_ps(v, load_bf16(c[j] + i));
            s[j] = _mm512_fmadd_ps(d, d, s[j]);
        }
    }
    _mm_storeu_ps(out, sum_ps_x4(s[0], s[1], s[2], s[3]));
}

static void avx512_dot_bf16_x4(const float *q, const uint16_t *const c[4], size_t n, float out[4])
{
    __m512 s[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps()};
    for (size_t i = 0; i < n; i += 16) {
        __m512 v = _mm512_loadu_ps(q + i);
        for (int j = 0; j < 4; j++)
            s[j] = _mm512_fmadd_ps(v, load_bf16(c[j] + i), s[j]);
    }
    _mm_storeu_ps(out, sum_ps_x4(s[0], s[1], s[2], s[3]));
}

static float avx512_l1(const float *a, const float *b, size_t n)
{
    __m512 s0 = _mm512_setzero_ps(), s1 = s0;
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        s0 = _mm512_add_ps(s0, _mm512_abs_ps(_mm512_sub_ps(_mm512_loadu_ps(a + i), _mm512_loadu_ps(b + i))));
        s1 = _mm512_add_ps(s1, _mm512_abs_ps(_mm512_sub_ps(_mm512_loadu_ps(a + i + 16), _mm512_loadu_ps(b + i + 16))));
    }
    for (; i < n; i += 16) {
        __mmask16 m = n - i >= 16 ? (__mmask16)0xffff : (__mmask16)((1u << (n - i)) - 1u);
        s0 = _mm512_add_ps(
            s0, _mm512_abs_ps(_mm512_sub_ps(_mm512_maskz_loadu_ps(m, a + i), _mm512_maskz_loadu_ps(m, b + i))));
    }
    return _mm512_reduce_add_ps(_mm512_add_ps(s0, s1));
}

static void avx512_to_f16(const float *from, uint16_t *to, size_t n)
{
    __m512 most = _mm512_set1_ps(65504.0f), least = _mm512_set1_ps(-65504.0f);
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 m = n - i >= 16 ? (__mmask16)0xffff : (__mmask16)((1u << (n - i)) - 1u);
        __m512 v = _mm512_min_ps(_mm512_max_ps(_mm512_maskz_loadu_ps(m, from + i), least), most);
        _mm256_mask_storeu_epi16(to + i, m, _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
    }
}

/* ---- product codes ---- */

/* Sixteen subquantizers at a time: their entries are gathered. */
static float lookup8(const float *table, const uint8_t *c, size_t n)
{
    __m512 sum = _mm512_setzero_ps();
    __m512i base = _mm512_mullo_epi32(_mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0),
                                      _mm512_set1_epi32(256));
    for (size_t s = 0; s < n; s += 16) {
        __mmask16 m = n - s >= 16 ? (__mmask16)0xffff : (__mmask16)((1u << (n - s)) - 1u);
        __m512i at = _mm512_add_epi32(_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(m, c + s)), base);
        sum = _mm512_add_ps(sum, _mm512_mask_i32gather_ps(_mm512_setzero_ps(), m, at, table + 256 * s, 4));
    }
    return _mm512_reduce_add_ps(sum);
}

static void avx512_lookup8_x4(const float *table, const uint8_t *const c[4], size_t n, float out[4])
{
    for (int j = 0; j < 4; j++)
        out[j] = lookup8(table, c[j], n);
}

/* Eight bytes of four codes are 64 nibbles, which are looked up at once: a nibble's place among the 16 of its code says
 * which of 16 tables is meant, and those tables, 256 bytes, are four registers. */
static void avx512_lookup4_x4(const uint8_t *table, const uint8_t *const c[4], size_t bytes, uint32_t out[4])
{
    const __m512i nibbles = _mm512_set1_epi8(15),
                  place = _mm512_slli_epi16(_mm512_and_si512(_mm512_broadcast_i32x4(_mm_setr_epi8(
                                                                 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)),
                                                             nibbles),
                                            4);
    __m512i sum = _mm512_setzero_si512();
    for (size_t i = 0; i < bytes; i += 8, table += 256) {
        __m256i v = _mm256_set_epi64x((long long)mask_of(c[3] + i), (long long)mask_of(c[2] + i),
                                      (long long)mask_of(c[1] + i), (long long)mask_of(c[0] + i));
        __m512i wide = _mm512_cvtepu8_epi16(v);
        __m512i at = _mm512_and_si512(_mm512_or_si512(wide, _mm512_slli_epi16(wide, 4)), nibbles);
        at = _mm512_or_si512(at, place);
        __m512i low = _mm512_permutex2var_epi8(_mm512_loadu_si512(table), at, _mm512_loadu_si512(table + 64));
        __m512i high = _mm512_permutex2var_epi8(_mm512_loadu_si512(table + 128), at, _mm512_loadu_si512(table + 192));
        __m512i found = _mm512_mask_blend_epi8(_mm512_movepi8_mask(at), low, high);
        sum = _mm512_add_epi64(sum, _mm512_sad_epu8(found, _mm512_setzero_si512()));
    }
    uint64_t halves[8];
    _mm512_storeu_si512(halves, sum);
    for (int j = 0; j < 4; j++)
        out[j] = (uint32_t)(halves[2 * j] + halves[2 * j + 1]);
}

const gn_code_kernels gn_code_kernels_avx512 = {
    .name = "avx512",
    .dot8_x4 = avx512_dot8_x4,
    .dot4_x4 = avx512_dot4_x4,
    .dot1_x4 = avx512_dot1_x4,
    .hamming = avx512_hamming,
    .overlap = avx512_overlap,
    .l2sq_bf16_x4 = avx512_l2sq_bf16_x4,
    .dot_bf16_x4 = avx512_dot_bf16_x4,
    .l1 = avx512_l1,
    .to_f16 = avx512_to_f16,
    .lookup8_x4 = avx512_lookup8_x4,
    .lookup4_x4 = avx512_lookup4_x4,
};
