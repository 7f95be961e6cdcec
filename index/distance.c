/* Which kernels this CPU can run. The compiler's run-time check also asks whether the operating system saves the wide
 * registers, so a machine that hides them gets the next narrower set. */
#include "index/distance.h"

#include "index/distance_private.h"
#include "index/measure_private.h"

#include <string.h>

const gn_kernels *gn_kernels_named(const char *name)
{
    if (strcmp(name, "scalar") == 0)
        return &gn_kernels_scalar;
#ifdef GN_HAVE_X86_KERNELS
    /* Every CPU with AVX2 has F16C, too, which clang's check does not know by name. */
    if (strcmp(name, "avx2") == 0 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return &gn_kernels_avx2;
    if (strcmp(name, "avx512") == 0 && __builtin_cpu_supports("avx512f"))
        return &gn_kernels_avx512;
#endif
#ifdef GN_HAVE_NEON_KERNELS
    if (strcmp(name, "neon") == 0)
        return &gn_kernels_neon;
#endif
    return NULL;
}

const gn_kernels *gn_kernels_best(void)
{
    static const char *const from_best[] = {"avx512", "avx2", "neon"};
    for (size_t i = 0; i < sizeof from_best / sizeof from_best[0]; i++) {
        const gn_kernels *k = gn_kernels_named(from_best[i]);
        if (k)
            return k;
    }
    return &gn_kernels_scalar;
}

bool gn_normalize(const gn_kernels *kernels, float *v, uint32_t dimensions)
{
    double norm2 = kernels->norm2(v, NULL, dimensions);
    if (!(norm2 > 1e-30 && norm2 < 1e30)) { /* a float sum of squares says too little here */
        norm2 = 0;
        for (uint32_t i = 0; i < dimensions; i++)
            norm2 += (double)v[i] * v[i];
        if (norm2 == 0)
            return false;
    }
    double scale = 1 / sqrt(norm2);
    for (uint32_t i = 0; i < dimensions; i++)
        v[i] = (float)(v[i] * scale);
    return true;
}
