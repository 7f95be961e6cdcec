#include "tests/index/distance_check.h"

#include "base/half.h"
#include "base/limits.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static uint64_t random_state = 42;

static float next_float(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (float)((double)(random_state >> 40) / (double)(1u << 23) - 1.0);
}

typedef struct check {
    const gn_kernels *kernels;
    size_t n;
    char *message;
    bool ok;
} check;

/* scale: the sum of the terms' magnitudes, of which a float sum may lose a few units in the last place. */
static void near(check *c, float got, double want, double scale, const char *what)
{
    double tolerance = 1e-6 * scale + 2e-7 * scale * sqrt((double)c->n);
    if (!c->ok || fabs((double)got - want) <= tolerance)
        return;
    snprintf(c->message, 200, "%s by %s at n=%zu: got %.9g, want %.9g", what, c->kernels->name, c->n, (double)got,
             want);
    c->ok = false;
}

/* offset: floats off a 64-byte boundary, so that loads are unaligned in every way a caller can make them. */
static void check_dimension(check *c, size_t n, size_t offset)
{
    const gn_kernels *k = c->kernels;
    float *memory = NULL, *v[5], out[4];
    size_t stride = (n + 16 + 15) / 16 * 16;
    if (posix_memalign((void **)&memory, 64, 5 * stride * sizeof(float)) != 0)
        abort();
    for (size_t j = 0; j < 5; j++) {
        v[j] = memory + j * stride + (offset + j * offset) % 16;
        for (size_t i = 0; i < n; i++)
            v[j][i] = next_float();
    }
    double l2[4] = {0}, dot[4] = {0}, mag[4] = {0}, norm = 0;
    for (size_t i = 0; i < n; i++) {
        norm += (double)v[0][i] * v[0][i];
        for (size_t j = 0; j < 4; j++) {
            double a = v[0][i], b = v[j + 1][i];
            l2[j] += (a - b) * (a - b);
            dot[j] += a * b;
            mag[j] += fabs(a * b);
        }
    }
    c->n = n;
    const float *others[4] = {v[1], v[2], v[3], v[4]};
    k->l2sq_x4(v[0], others, n, out);
    for (size_t j = 0; j < 4; j++) {
        near(c, out[j], l2[j], l2[j], "l2sq_x4");
        near(c, k->l2sq(v[0], v[j + 1], n), l2[j], l2[j], "l2sq");
    }
    k->dot_x4(v[0], others, n, out);
    for (size_t j = 0; j < 4; j++) {
        near(c, out[j], dot[j], mag[j], "dot_x4");
        near(c, k->dot(v[0], v[j + 1], n), dot[j], mag[j], "dot");
    }
    near(c, k->norm2(v[0], NULL, n), norm, norm, "norm2");
    free(memory);
}

/* Halves of all sizes, the smallest (which are not normal) too; n: a multiple of 16. */
static void check_halves(check *c, size_t n, size_t offset)
{
    const gn_kernels *k = c->kernels;
    float *a = malloc((n + 16) * sizeof *a), out[4];
    uint16_t *h[4];
    double l2[4] = {0}, dot[4] = {0}, l1[4] = {0}, mag[4] = {0};
    for (size_t i = 0; i < n; i++)
        a[offset + i] = next_float();
    for (size_t j = 0; j < 4; j++) {
        h[j] = malloc((n + 16) * sizeof *h[j]);
        for (size_t i = 0; i < n; i++) {
            uint16_t half = gn_f16_of_float(next_float() * (i % 5 == 0 ? 1e-6f : i % 7 == 0 ? 100.0f : 1.0f));
            double x = a[offset + i], y = gn_float_of_f16(half);
            h[j][offset + i] = half;
            l2[j] += (x - y) * (x - y);
            l1[j] += fabs(x - y);
            dot[j] += x * y;
            mag[j] += fabs(x * y);
        }
    }
    const uint16_t *others[4] = {h[0] + offset, h[1] + offset, h[2] + offset, h[3] + offset};
    c->n = n;
    k->l2sq_half_x4(a + offset, others, n, out);
    for (size_t j = 0; j < 4; j++)
        near(c, out[j], l2[j], l2[j], "l2sq_half_x4");
    k->dot_half_x4(a + offset, others, n, out);
    for (size_t j = 0; j < 4; j++)
        near(c, out[j], dot[j], mag[j], "dot_half_x4");
    k->l1_half_x4(a + offset, others, n, out);
    for (size_t j = 0; j < 4; j++)
        near(c, out[j], l1[j], l1[j], "l1_half_x4");
    for (size_t j = 0; j < 4; j++)
        free(h[j]);
    free(a);
}

bool check_kernels(const gn_kernels *kernels, char message[200])
{
    static const size_t large[] = {255, 256, 257, 384, 768, 1536, GN_MAX_DIMENSIONS};
    check c = {.kernels = kernels, .message = message, .ok = true};
    for (size_t offset = 0; offset < 4; offset++) {
        for (size_t n = 1; n <= 130; n++)
            check_dimension(&c, n, offset);
        for (size_t j = 0; j < sizeof large / sizeof large[0]; j++)
            check_dimension(&c, large[j], offset);
        for (size_t n = 16; n <= 1024; n += n < 160 ? 16 : 144)
            check_halves(&c, n, offset);
    }
    return c.ok;
}
