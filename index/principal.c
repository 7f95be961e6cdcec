/* The principal subspace of a sample, by orthogonal iteration on its covariance (Golub and Van Loan, "Matrix
 * Computations", section 8.2). Only the subspace matters to its user, not the single axes, so a few rounds do. */
#include "index/codes_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 7 };

uint64_t gn_random_next(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u); /* splitmix64 */
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

float gn_random_normal(uint64_t *state)
{
    double u = ((double)(gn_random_next(state) >> 11) + 0.5) / 9007199254740992.0;
    double w = ((double)(gn_random_next(state) >> 11) + 0.5) / 9007199254740992.0;
    return (float)(sqrt(-2 * log(u)) * cos(6.283185307179586 * w));
}

bool gn_sample_mean(const gn_sample *s, float *mean)
{
    double *sum = gn_xcalloc(s->stride, sizeof *sum), *sum2 = gn_xcalloc(s->stride, sizeof *sum2), variance = 0;
    float most = 0;
    for (size_t i = 0; i < s->n; i++) {
        for (uint32_t d = 0; d < s->dimensions; d++) {
            double x = s->vectors[i][d];
            sum[d] += x;
            sum2[d] += x * x;
            most = fabsf(s->vectors[i][d]) > most ? fabsf(s->vectors[i][d]) : most;
        }
    }
    for (uint32_t d = 0; d < s->dimensions; d++) {
        double m = sum[d] / (double)s->n;
        mean[d] = (float)m;
        variance += fmax(0, sum2[d] / (double)s->n - m * m);
    }
    free(sum);
    free(sum2);
    /* Far from where a float's square overflows or vanishes. */
    return most < 1e15f && variance > 1e-24 && variance > 1e-10 * (double)most * most;
}

/* C = X'X / n of the centred sample, [stride][stride]. */
static void covariance(const gn_sample *s, const float *mean, float *c)
{
    size_t n = gn_round_up(s->n, 16), dims = s->dimensions;
    float *columns = gn_xcalloc(dims * n, sizeof *columns);
    for (size_t i = 0; i < s->n; i++) {
        for (size_t d = 0; d < dims; d++)
            columns[d * n + i] = s->vectors[i][d] - mean[d];
    }
    for (size_t i = 0; i < dims; i++) {
        for (size_t j = 0; j <= i; j += 4) {
            const float *four[4];
            float dot[4];
            for (size_t k = 0; k < 4; k++)
                four[k] = columns + (j + k < dims ? j + k : dims - 1) * n;
            s->kernels->dot_x4(columns + i * n, four, n, dot);
            for (size_t k = 0; k < 4 && j + k <= i; k++)
                c[i * s->stride + j + k] = c[(j + k) * s->stride + i] = dot[k] / (float)s->n;
        }
    }
    free(columns);
}

/* Rows of `out` = rows of `in` times the symmetric c. */
static void multiply(const gn_sample *s, const float *c, const float *in, uint32_t rows, float *out)
{
    size_t w = s->stride;
    for (uint32_t r = 0; r < rows; r++) {
        for (size_t d = 0; d < s->dimensions; d += 4) {
            const float *four[4];
            float dot[4];
            for (size_t k = 0; k < 4; k++)
                four[k] = c + (d + k < s->dimensions ? d + k : d) * w;
            s->kernels->dot_x4(in + r * w, four, w, dot);
            for (size_t k = 0; k < 4 && d + k < s->dimensions; k++)
                out[r * w + d + k] = dot[k];
        }
    }
}

static void subtract(float *v, const float *u, float share, size_t n)
{
    for (size_t i = 0; i < n; i++)
        v[i] -= share * u[i];
}

/* Modified Gram-Schmidt. length[r]: of row r when its turn came. A row that nothing is left of becomes zero. */
static void orthonormalize(const gn_sample *s, float *v, uint32_t rows, float *length)
{
    size_t w = s->stride;
    for (uint32_t r = 0; r < rows; r++) {
        float *u = v + r * w, norm = sqrtf(s->kernels->norm2(u, NULL, w));
        length[r] = norm;
        for (size_t i = 0; i < w; i++)
            u[i] = norm > 1e-30f ? u[i] / norm : 0;
        for (uint32_t j = r + 1; j < rows; j += 4) {
            const float *four[4];
            float dot[4];
            for (uint32_t k = 0; k < 4; k++)
                four[k] = v + (j + k < rows ? j + k : j) * w;
            s->kernels->dot_x4(u, four, w, dot);
            for (uint32_t k = 0; k < 4 && j + k < rows; k++)
                subtract(v + (j + k) * w, u, dot[k], w);
        }
    }
}

void gn_principal_axes(const gn_sample *s, const float *mean, uint32_t n_axes, float *axes, float *energy)
{
    size_t w = s->stride;
    float *c = gn_xcalloc(w * w, sizeof *c), *next = gn_xcalloc((size_t)n_axes * w, sizeof *next);
    uint64_t state = s->seed;
    double total = 0;
    covariance(s, mean, c);
    for (size_t d = 0; d < s->dimensions; d++)
        total += c[d * w + d];
    memset(axes, 0, (size_t)n_axes * w * sizeof *axes);
    for (uint32_t r = 0; r < n_axes; r++) {
        for (size_t d = 0; d < s->dimensions; d++)
            axes[r * w + d] = gn_random_normal(&state);
    }
    orthonormalize(s, axes, n_axes, energy);
    for (int round = 0; round < ROUNDS; round++) {
        multiply(s, c, axes, n_axes, next);
        orthonormalize(s, next, n_axes, energy);
        memcpy(axes, next, (size_t)n_axes * w * sizeof *axes);
    }
    multiply(s, c, axes, n_axes, next);
    for (uint32_t r = 0; r < n_axes; r++)
        energy[r] = (float)(s->kernels->dot(axes + r * w, next + r * w, w) / total);
    free(c);
    free(next);
}
