/* Every kernel set that this CPU can run, against a double-precision sum. */
#include "base/limits.h"
#include "index/distance.h"
#include "tests/base/cmocka_all.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const kernel_names[] = {"scalar", "avx2", "avx512", "neon"};
enum { N_KERNELS = sizeof kernel_names / sizeof kernel_names[0] };

static uint64_t random_state = 42;

static float next_float(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (float)((double)(random_state >> 40) / (double)(1u << 23) - 1.0);
}

/* A float sum of n terms of size up to `scale` may be off by about n * eps * scale in the worst case. */
static void assert_near(float got, double want, double scale, size_t n, const char *what, const char *kernel)
{
    double tolerance = 1e-6 * scale + 2e-7 * scale * sqrt((double)n);
    if (fabs((double)got - want) > tolerance)
        fail_msg("%s by %s at n=%zu: got %.9g, want %.9g", what, kernel, n, (double)got, want);
}

/* offset: floats off a 64-byte boundary, so that loads are unaligned in every way a caller can make them. */
static void check_dimension(const gn_kernels *k, size_t n, size_t offset)
{
    float *memory = NULL;
    size_t stride = (n + 16 + 15) / 16 * 16;
    assert_int_equal(posix_memalign((void **)&memory, 64, 5 * stride * sizeof(float)), 0);
    float *v[5];
    for (int j = 0; j < 5; j++) {
        v[j] = memory + (size_t)j * stride + (offset + (size_t)j * offset) % 16;
        for (size_t i = 0; i < n; i++)
            v[j][i] = next_float();
    }
    double l2[4] = {0}, dot[4] = {0}, mag[4] = {0}, norm = 0;
    for (int j = 0; j < 4; j++) {
        for (size_t i = 0; i < n; i++) {
            double a = v[0][i], b = v[j + 1][i];
            l2[j] += (a - b) * (a - b);
            dot[j] += a * b;
            mag[j] += fabs(a * b);
        }
    }
    for (size_t i = 0; i < n; i++)
        norm += (double)v[0][i] * v[0][i];

    const float *others[4] = {v[1], v[2], v[3], v[4]};
    float out[4];
    k->l2sq_x4(v[0], others, n, out);
    for (int j = 0; j < 4; j++) {
        assert_near(out[j], l2[j], l2[j], n, "l2sq_x4", k->name);
        assert_near(k->l2sq(v[0], v[j + 1], n), l2[j], l2[j], n, "l2sq", k->name);
    }
    k->dot_x4(v[0], others, n, out);
    for (int j = 0; j < 4; j++) {
        assert_near(out[j], dot[j], mag[j], n, "dot_x4", k->name);
        assert_near(k->dot(v[0], v[j + 1], n), dot[j], mag[j], n, "dot", k->name);
    }
    assert_near(k->norm2(v[0], NULL, n), norm, norm, n, "norm2", k->name);
    free(memory);
}

static void every_kernel_agrees_with_double_precision(void **state)
{
    (void)state;
    static const size_t large[] = {255, 256, 257, 384, 768, 1536, GN_MAX_DIMENSIONS};
    for (int i = 0; i < N_KERNELS; i++) {
        const gn_kernels *k = gn_kernels_named(kernel_names[i]);
        if (!k)
            continue;
        assert_string_equal(k->name, kernel_names[i]);
        for (size_t offset = 0; offset < 4; offset++) {
            for (size_t n = 1; n <= 130; n++)
                check_dimension(k, n, offset);
            for (size_t j = 0; j < sizeof large / sizeof large[0]; j++)
                check_dimension(k, large[j], offset);
        }
    }
}

/* A kernel that reads past the end would bring the guard values into its sum. */
static void kernels_read_nothing_past_the_end(void **state)
{
    (void)state;
    for (int i = 0; i < N_KERNELS; i++) {
        const gn_kernels *k = gn_kernels_named(kernel_names[i]);
        if (!k)
            continue;
        for (size_t n = 1; n <= 70; n++) {
            float *a = malloc(n * sizeof *a), *b = malloc(n * sizeof *b); /* ASan watches the ends */
            for (size_t j = 0; j < n; j++)
                a[j] = 1, b[j] = 3;
            const float *others[4] = {b, b, b, b};
            float out[4];
            assert_true(k->l2sq(a, b, n) == 4 * (float)n);
            assert_true(k->dot(a, b, n) == 3 * (float)n);
            k->l2sq_x4(a, others, n, out);
            assert_true(out[0] == 4 * (float)n && out[3] == out[0]);
            k->dot_x4(a, others, n, out);
            assert_true(out[1] == 3 * (float)n && out[2] == out[1]);
            free(a);
            free(b);
        }
    }
}

static void best_kernel_is_the_widest_and_scalar_is_always_there(void **state)
{
    (void)state;
    assert_non_null(gn_kernels_named("scalar"));
    assert_null(gn_kernels_named("mmx"));
    const gn_kernels *best = gn_kernels_best();
    assert_non_null(best);
    assert_ptr_equal(gn_kernels_named(best->name), best);
    if (gn_kernels_named("avx512"))
        assert_string_equal(best->name, "avx512");
    else if (gn_kernels_named("avx2"))
        assert_string_equal(best->name, "avx2");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kernel_agrees_with_double_precision),
        cmocka_unit_test(kernels_read_nothing_past_the_end),
        cmocka_unit_test(best_kernel_is_the_widest_and_scalar_is_always_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
