/* Every kernel set that this CPU can run, against a double-precision sum. */
#include "index/distance.h"
#include "tests/base/cmocka_all.h"
#include "tests/index/distance_check.h"

#include <stdlib.h>
#include <string.h>

static const char *const kernel_names[] = {"scalar", "avx2", "avx512", "neon"};
enum { N_KERNELS = sizeof kernel_names / sizeof kernel_names[0] };

static void every_kernel_agrees_with_double_precision(void **state)
{
    (void)state;
    char message[200];
    for (int i = 0; i < N_KERNELS; i++) {
        const gn_kernels *k = gn_kernels_named(kernel_names[i]);
        if (!k)
            continue;
        assert_string_equal(k->name, kernel_names[i]);
        if (!check_kernels(k, message))
            fail_msg("%s", message);
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
