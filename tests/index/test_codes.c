/* Codes: kernels against their reference, estimates against true distances, and what cannot be trained. */
#include "index/codes.h"
#include "index/codes_private.h"
#include "index/half_private.h"
#include "tests/index/vindex_fixture.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- kernels ---- */

enum { KERNEL_BYTES = 512 };

static const char *const kernel_names[] = {"avx2", "avx512"};

static void fill_random(void *p, size_t n, uint64_t seed)
{
    for (size_t i = 0; i < n; i++)
        ((uint8_t *)p)[i] = (uint8_t)(gn_random_next(&seed) >> 20);
}

static void integer_kernels_equal_the_reference(void **state)
{
    (void)state;
    static int8_t query[8 * KERNEL_BYTES];
    static uint8_t data[4 * KERNEL_BYTES + 64], table[32 * KERNEL_BYTES];
    const gn_code_kernels *want = &gn_code_kernels_scalar;
    for (size_t i = 0; i < 2; i++) {
        const gn_code_kernels *got = gn_code_kernels_named(kernel_names[i]);
        for (uint64_t seed = 1; got && seed <= 20; seed++) {
            fill_random(query, sizeof query, seed);
            fill_random(data, sizeof data, seed + 100);
            fill_random(table, sizeof table, seed + 200);
            if (seed == 1) { /* the largest sums */
                memset(query, -127, sizeof query);
                memset(data, 255, sizeof data);
                memset(table, 255, sizeof table);
            }
            for (size_t j = 0; j < sizeof query; j++)
                query[j] = query[j] == -128 ? -127 : query[j];
            const uint8_t *c[4] = {data + seed % 7, data + KERNEL_BYTES, data + 2 * KERNEL_BYTES + 1,
                                   data + 3 * KERNEL_BYTES};
            for (size_t bytes = 64; bytes <= KERNEL_BYTES; bytes += 64) {
                int32_t a[4], b[4];
                want->dot8_x4(query, c, bytes, a), got->dot8_x4(query, c, bytes, b);
                assert_memory_equal(a, b, sizeof a);
                want->dot4_x4(query, c, bytes, a), got->dot4_x4(query, c, bytes, b);
                assert_memory_equal(a, b, sizeof a);
            }
            for (size_t bytes = 8; bytes <= KERNEL_BYTES; bytes += 8) {
                int32_t a[4], b[4];
                uint32_t x[4], y[4];
                want->dot1_x4(query, c, bytes, a), got->dot1_x4(query, c, bytes, b);
                assert_memory_equal(a, b, sizeof a);
                assert_int_equal(want->hamming(c[0], c[1], bytes), got->hamming(c[0], c[1], bytes));
                want->overlap(c[0], c[1], bytes, &x[0], &x[1]), got->overlap(c[0], c[1], bytes, &y[0], &y[1]);
                assert_memory_equal(x, y, 2 * sizeof *x);
                want->lookup4_x4(table, c, bytes, x), got->lookup4_x4(table, c, bytes, y);
                assert_memory_equal(x, y, sizeof x);
            }
        }
    }
}

static void assert_near(float got, float want, float scale)
{
    if (!(fabsf(got - want) <= 1e-4f * scale))
        fail_msg("got %g, want %g", (double)got, (double)want);
}

static void float_kernels_are_near_the_reference(void **state)
{
    (void)state;
    enum { N = 240 };
    float *v = uniform_vectors(5, 5, N), table[256 * 20], a[4], b[4];
    uint16_t half[4][N], other[4][N];
    const uint16_t *c[4] = {half[0], half[1], half[2], half[3]};
    const gn_code_kernels *want = &gn_code_kernels_scalar;
    uint8_t codes[4][24];
    const uint8_t *p[4] = {codes[0], codes[1], codes[2], codes[3]};
    fill_random(codes, sizeof codes, 3);
    for (size_t i = 0; i < 256 * 20; i++)
        table[i] = (float)(i % 97) * 0.1f;
    for (size_t i = 0; i < 2; i++) {
        const gn_code_kernels *got = gn_code_kernels_named(kernel_names[i]);
        if (!got)
            continue;
        for (size_t j = 0; j < 4; j++) {
            want->to_f16(v + (j + 1) * N, half[j], N);
            got->to_f16(v + (j + 1) * N, other[j], N);
        }
        assert_memory_equal(half, other, sizeof half);
        for (size_t j = 0; j < 4; j++) {
            for (size_t d = 0; d < N; d++)
                half[j][d] = gn_bf16_of_float(v[(j + 1) * N + d]);
        }
        want->l2sq_bf16_x4(v, c, N, a), got->l2sq_bf16_x4(v, c, N, b);
        for (size_t j = 0; j < 4; j++)
            assert_near(b[j], a[j], a[j]);
        want->dot_bf16_x4(v, c, N, a), got->dot_bf16_x4(v, c, N, b);
        for (size_t j = 0; j < 4; j++)
            assert_near(b[j], a[j], N);
        for (size_t n = 1; n <= N; n++)
            assert_near(got->l1(v, v + N, n), want->l1(v, v + N, n), N);
        for (size_t n = 1; n <= 20; n++) {
            want->lookup8_x4(table, p, n, a), got->lookup8_x4(table, p, n, b);
            for (size_t j = 0; j < 4; j++)
                assert_near(b[j], a[j], a[j]);
        }
    }
    free(v);
}

static void halves_round_to_nearest(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 0x10000; h++) { /* every float16 comes back as it is */
        if ((h & 0x7c00) != 0x7c00)
            assert_int_equal(gn_f16_of_float(gn_float_of_f16((uint16_t)h)), h);
        if ((h & 0x7f80) != 0x7f80)
            assert_int_equal(gn_bf16_of_float(gn_float_of_bf16((uint16_t)h)), h);
    }
    assert_int_equal(gn_f16_of_float(1e9f), 0x7bff);
    assert_int_equal(gn_f16_of_float(-1e9f), 0xfbff);
    assert_int_equal(gn_bf16_of_float(3.4e38f), 0x7f7f);
    assert_true(gn_float_of_f16(gn_f16_of_float(1.0f + 0x1p-11f)) == 1.0f); /* a tie, to even */
    assert_true(gn_float_of_f16(gn_f16_of_float(1.0f + 0x3p-11f)) == 1.0f + 0x1p-9f);
}

/* ---- estimates ---- */

typedef struct kind_case {
    gn_code_kind kind;
    uint32_t bits, centroids, subquantizers;
    bool rotate;
    double good; /* recall of the 10 nearest among the 40 nearest by the codes, at least */
} kind_case;

static const kind_case kinds[] = {
    {GN_CODES_FLOAT32, 0, 0, 0, false, 1},      {GN_CODES_FLOAT16, 0, 0, 0, false, 0.999},
    {GN_CODES_BFLOAT16, 0, 0, 0, false, 0.99},  {GN_CODES_SQ8, 0, 0, 0, false, 0.995},
    {GN_CODES_SQ4, 0, 0, 0, false, 0.97},       {GN_CODES_REDUCED, 0, 0, 0, false, 0.97},
    {GN_CODES_RABITQ, 1, 0, 0, false, 0.55},    {GN_CODES_RABITQ, 2, 0, 0, false, 0.85},
    {GN_CODES_RABITQ, 3, 0, 0, false, 0.94},    {GN_CODES_RABITQ, 4, 0, 0, false, 0.97},
    {GN_CODES_BINARY, 0, 0, 0, false, 0.25},    {GN_CODES_PRODUCT, 0, 256, 32, false, 0.80},
    {GN_CODES_PRODUCT, 0, 256, 32, true, 0.80}, {GN_CODES_PRODUCT, 0, 16, 0, false, 0.55},
    {GN_CODES_PRODUCT, 0, 60, 64, true, 0.85},  {GN_CODES_AUTO, 0, 0, 0, false, 0.97},
};
static const gn_metric_kind metrics[] = {GN_METRIC_L2, GN_METRIC_IP, GN_METRIC_COSINE};

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__) /* it takes many times as long */
enum { DIM = 128, N = 500, QUERIES = 15 };
#else
enum { DIM = 128, N = 2000, QUERIES = 30 };
#endif

typedef struct ranked {
    float distance;
    uint32_t id;
} ranked;

static int by_distance(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    return x->distance < y->distance ? -1 : x->distance > y->distance;
}

static double share_found(const gn_codec *codec, const gn_measure *m, const float *v, const uint8_t *codes)
{
    gn_code_query *q = gn_code_query_create(codec);
    ranked *exact = calloc(N, sizeof *exact), *coded = calloc(N, sizeof *coded);
    const uint8_t **at = calloc(N, sizeof *at);
    float *estimate = calloc(N, sizeof *estimate);
    size_t hits = 0;
    for (uint32_t i = 0; i < N; i++)
        at[i] = codes + i * gn_codec_stride(codec);
    for (uint32_t j = 0; j < QUERIES; j++) {
        const float *query = v + (size_t)(N + j) * DIM;
        gn_codec_prepare(codec, q, query);
        gn_codec_measure(codec, q, at, N, estimate);
        for (uint32_t i = 0; i < N; i++) {
            exact[i] = (ranked){gn_measure_one(m, query, v + (size_t)i * DIM), i};
            coded[i] = (ranked){estimate[i], i};
        }
        qsort(exact, N, sizeof *exact, by_distance);
        qsort(coded, N, sizeof *coded, by_distance);
        for (uint32_t a = 0; a < 10; a++) {
            for (uint32_t b = 0; b < 40; b++)
                hits += exact[a].id == coded[b].id;
        }
    }
    gn_code_query_destroy(q);
    free(exact), free(coded), free(at), free(estimate);
    return (double)hits / (10.0 * QUERIES);
}

static uint8_t *encode_all(const gn_codec *codec, const float *v)
{
    gn_code_query *q = gn_code_query_create(codec);
    uint8_t *codes = aligned_alloc(64, gn_round_up(N * gn_codec_stride(codec), 64));
    for (uint32_t i = 0; i < N; i++)
        gn_codec_encode(codec, q, v + (size_t)i * DIM, codes + i * gn_codec_stride(codec));
    gn_code_query_destroy(q);
    return codes;
}

static gn_codec *train(const kind_case *c, gn_metric_kind metric, const float *v)
{
    const float *sample[N];
    gn_error err = {0};
    gn_codec *codec;
    gn_code_options o = {.kind = c->kind,
                         .metric = metric,
                         .dimensions = DIM,
                         .bits = c->bits,
                         .centroids = c->centroids,
                         .subquantizers = c->subquantizers,
                         .rotate = c->rotate,
                         .seed = 3};
    for (uint32_t i = 0; i < N; i++)
        sample[i] = v + (size_t)i * DIM;
    assert_int_equal(gn_codec_train(&o, sample, N, &codec, &err), GN_OK);
    return codec;
}

static float *vectors_for(gn_metric_kind metric)
{
    float *v = clustered_vectors(11, N + QUERIES, DIM, 20);
    for (uint32_t i = 0; i < N + QUERIES; i++) {
        for (uint32_t d = 0; d < DIM; d++) /* variance falls with the coordinate, and the mean is not zero */
            v[i * DIM + d] = v[i * DIM + d] / sqrtf(1 + (float)d) + 0.1f;
        if (metric == GN_METRIC_COSINE)
            gn_normalize(gn_kernels_best(), v + i * DIM, DIM);
    }
    return v;
}

static void each_kind_finds_the_nearest_by_each_metric(void **state)
{
    (void)state;
    for (size_t m = 0; m < 3; m++) {
        float *v = vectors_for(metrics[m]);
        gn_measure measure = gn_measure_of(gn_kernels_best(), metrics[m], DIM, false);
        for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
            gn_codec *codec = train(&kinds[i], metrics[m], v);
            uint8_t *codes = encode_all(codec, v);
            double found = share_found(codec, &measure, v, codes);
            if (getenv("SHOW"))
                print_message("%-8s bits %u centroids %u metric %d: %zu bytes, %.3f\n",
                              gn_code_kind_name(gn_codec_kind(codec)), kinds[i].bits, kinds[i].centroids,
                              (int)metrics[m], gn_codec_stride(codec), found);
            if (found < kinds[i].good)
                fail_msg("%s with %u bits and %u centroids by metric %d finds %g", gn_code_kind_name(kinds[i].kind),
                         kinds[i].bits, kinds[i].centroids, (int)metrics[m], found);
            free(codes);
            gn_codec_destroy(codec);
        }
        free(v);
    }
}

/* An estimate beyond its bound of 3 sigmas is rare. */
static void errors_stay_within_their_bounds(void **state)
{
    (void)state;
    for (size_t m = 0; m < 3; m++) {
        float *v = vectors_for(metrics[m]);
        gn_measure measure = gn_measure_of(gn_kernels_best(), metrics[m], DIM, false);
        for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
            gn_codec *codec = train(&kinds[i], metrics[m], v);
            uint8_t *codes = encode_all(codec, v);
            gn_code_query *q = gn_code_query_create(codec);
            uint32_t beyond = 0;
            for (uint32_t j = 0; j < QUERIES; j++) {
                const float *query = v + (size_t)(N + j) * DIM;
                gn_codec_prepare(codec, q, query);
                for (uint32_t k = 0; k < N; k += 10) {
                    const uint8_t *code = codes + k * gn_codec_stride(codec);
                    float estimate, exact = gn_measure_one(&measure, query, v + (size_t)k * DIM);
                    gn_codec_measure(codec, q, &code, 1, &estimate);
                    float bound = gn_codec_error(codec, q, code, 3);
                    beyond += fabsf(estimate - exact) > bound + 1e-4f * (1 + fabsf(exact));
                }
            }
            if (beyond > QUERIES * N / 10 / 50)
                fail_msg("%s with %u bits by metric %d: %u of %d beyond the bound", gn_code_kind_name(kinds[i].kind),
                         kinds[i].bits, (int)metrics[m], beyond, QUERIES * N / 10);
            gn_code_query_destroy(q);
            free(codes);
            gn_codec_destroy(codec);
        }
        free(v);
    }
}

static void params_open_again_and_say_the_same(void **state)
{
    (void)state;
    float *v = vectors_for(GN_METRIC_L2);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        gn_codec *codec = train(&kinds[i], GN_METRIC_L2, v), *again;
        gn_bytes params = gn_codec_params(codec);
        gn_error err = {0};
        uint8_t *copy = aligned_alloc(64, gn_round_up(params.len, 64));
        memcpy(copy, params.data, params.len);
        assert_int_equal(gn_codec_open(gn_bytes_of(copy, params.len), &again, &err), GN_OK);
        assert_int_equal(gn_codec_stride(codec), gn_codec_stride(again));
        uint8_t *a = encode_all(codec, v), *b = encode_all(again, v);
        assert_memory_equal(a, b, N * gn_codec_stride(codec));
        gn_codec_destroy(again);
        assert_int_equal(gn_codec_open(gn_bytes_of(copy, params.len - 1), &again, &err), GN_INDEX_CORRUPT);
        assert_int_equal(gn_codec_open(gn_bytes_of(copy, 10), &again, &err), GN_INDEX_CORRUPT);
        for (size_t at = 0; at < 40; at++) { /* the head decides sizes: any change of it is refused or harmless */
            copy[at] ^= 0x55;
            if (gn_codec_open(gn_bytes_of(copy, params.len), &again, &err) == GN_OK) {
                assert_true(gn_codec_stride(again) < 1u << 20);
                gn_codec_destroy(again);
            }
            copy[at] ^= 0x55;
        }
        free(a), free(b), free(copy);
        gn_codec_destroy(codec);
    }
    free(v);
}

/* ---- what cannot be trained ---- */

static void a_hopeless_sample_gives_plain_vectors(void **state)
{
    (void)state;
    float same[DIM], huge[2][DIM], zero[DIM] = {0};
    const float *few[10], *equal[200], *large[200], *zeros[200];
    for (uint32_t d = 0; d < DIM; d++) {
        same[d] = 3;
        huge[0][d] = 1e30f;
        huge[1][d] = -3e38f;
    }
    for (uint32_t i = 0; i < 200; i++) {
        equal[i] = same;
        large[i] = huge[i % 2];
        zeros[i] = zero;
        few[i % 10] = same;
    }
    for (gn_code_kind kind = GN_CODES_AUTO; kind < GN_CODES_KNOWN; kind++) {
        gn_code_options o = {.kind = kind, .metric = GN_METRIC_L2, .dimensions = DIM};
        const float *const *samples[] = {few, equal, large, zeros, NULL};
        const size_t sizes[] = {10, 200, 200, 200, 0};
        for (size_t i = 0; i < 5; i++) {
            gn_codec *codec;
            assert_int_equal(gn_codec_train(&o, samples[i], sizes[i], &codec, NULL), GN_OK);
            assert_int_equal(gn_codec_kind(codec), GN_CODES_FLOAT32);
            gn_codec_destroy(codec);
        }
    }
}

static void strange_vectors_have_bounded_codes(void **state)
{
    (void)state;
    for (size_t m = 0; m < 3; m++) {
        float *v = vectors_for(metrics[m]);
        for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
            gn_codec *codec = train(&kinds[i], metrics[m], v);
            gn_code_query *q = gn_code_query_create(codec);
            float strange[4][DIM] = {{0}};
            memcpy(strange[1], v, sizeof strange[1]);
            for (uint32_t d = 0; d < DIM; d++) {
                strange[2][d] = d % 2 ? 3e38f : -3e38f;
                strange[3][d] = d == 7 ? 1e20f : 1e-30f;
            }
            for (size_t a = 0; a < 4; a++) {
                uint8_t *code = aligned_alloc(64, gn_round_up(gn_codec_stride(codec), 64));
                gn_codec_encode(codec, q, strange[a], code);
                for (size_t b = 0; b < 4; b++) {
                    const uint8_t *c = code;
                    float d;
                    gn_codec_prepare(codec, q, strange[b]);
                    gn_codec_measure(codec, q, &c, 1, &d);
                    assert_true(d == d);
                }
                free(code);
            }
            gn_code_query_destroy(q);
            gn_codec_destroy(codec);
        }
        free(v);
    }
}

static void impossible_options_are_refused(void **state)
{
    (void)state;
    const gn_code_options bad[] = {
        {.kind = GN_CODES_KNOWN, .metric = GN_METRIC_L2, .dimensions = 8},
        {.kind = GN_CODES_SQ8, .metric = GN_METRIC_L2, .dimensions = 0},
        {.kind = GN_CODES_SQ8, .metric = GN_METRIC_L2, .dimensions = 1u << 30},
        {.kind = GN_CODES_SQ8, .metric = (gn_metric_kind)99, .dimensions = 8},
        {.kind = GN_CODES_RABITQ, .metric = GN_METRIC_L2, .dimensions = 8, .bits = 5},
        {.kind = GN_CODES_PRODUCT, .metric = GN_METRIC_L2, .dimensions = 8, .subquantizers = 3},
        {.kind = GN_CODES_PRODUCT, .metric = GN_METRIC_L2, .dimensions = 8, .subquantizers = 16},
        {.kind = GN_CODES_PRODUCT, .metric = GN_METRIC_L2, .dimensions = 8, .centroids = 8},
        {.kind = GN_CODES_PRODUCT, .metric = GN_METRIC_L2, .dimensions = 8, .centroids = 257},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        gn_codec *codec;
        assert_int_equal(gn_codec_train(&bad[i], NULL, 0, &codec, NULL), GN_INVALID_PARAMETER);
    }
    assert_int_equal(gn_code_kind_named("sq8"), GN_CODES_SQ8);
    assert_int_equal(gn_code_kind_named("sq9"), GN_CODES_KNOWN);
}

static void a_rotation_keeps_lengths(void **state)
{
    (void)state;
    for (uint32_t n = 8; n <= 1024; n += 56) {
        uint8_t signs[GN_ROTATE_ROUNDS * 128];
        float *v = uniform_vectors(n, 1, n);
        gn_rotate_signs(n, n, signs);
        float before = gn_kernels_best()->norm2(v, NULL, n);
        gn_rotate(signs, n, v);
        assert_near(gn_kernels_best()->norm2(v, NULL, n), before, before);
        free(v);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integer_kernels_equal_the_reference),
        cmocka_unit_test(float_kernels_are_near_the_reference),
        cmocka_unit_test(halves_round_to_nearest),
        cmocka_unit_test(a_rotation_keeps_lengths),
        cmocka_unit_test(each_kind_finds_the_nearest_by_each_metric),
        cmocka_unit_test(errors_stay_within_their_bounds),
        cmocka_unit_test(params_open_again_and_say_the_same),
        cmocka_unit_test(a_hopeless_sample_gives_plain_vectors),
        cmocka_unit_test(strange_vectors_have_bounded_codes),
        cmocka_unit_test(impossible_options_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
