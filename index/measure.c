/* How a vector is kept, and measured. */
#include "base/assert.h"
#include "base/half.h"
#include "index/measure_private.h"

gn_measure gn_measure_of(const gn_kernels *k, gn_metric_kind metric, uint32_t dimensions, bool halves)
{
    gn_measure m = {.kernels = k,
                    .one = k->dot,
                    .four = k->dot_x4,
                    .halves = k->dot_half_x4,
                    .words = gn_vector_words(metric, dimensions),
                    .stride = gn_vector_stride(metric, dimensions),
                    .row_bytes = gn_vector_row_bytes(metric, dimensions, halves),
                    .negate = metric == GN_METRIC_IP || metric == GN_METRIC_COSINE,
                    .unit = metric == GN_METRIC_COSINE};
    GN_ASSERT(!halves || !gn_metric_of_bits(metric));
    if (metric == GN_METRIC_L2) {
        m.one = k->l2sq;
        m.four = k->l2sq_x4;
        m.halves = k->l2sq_half_x4;
    } else if (metric >= GN_METRIC_L1) {
        gn_measure_rare(metric, &m.one, &m.four);
        m.halves = k->l1_half_x4;
    }
    if (!halves)
        m.halves = NULL;
    return m;
}

bool gn_measure_row(const gn_measure *m, const float *vector, void *row)
{
    memset(row, 0, m->row_bytes);
    if (!m->halves) {
        memcpy(row, vector, m->words * sizeof *vector);
        return !m->unit || gn_normalize(m->kernels, row, m->words);
    }
    uint16_t *half = row;
    double norm2 = 0;
    for (uint32_t i = 0; i < m->words; i++) {
        half[i] = gn_f16_of_float(vector[i]);
        double x = (double)gn_float_of_f16(half[i]);
        norm2 += x * x;
    }
    if (!m->unit || norm2 == 0)
        return !m->unit;
    float scale = (float)(1 / sqrt(norm2));
    memcpy(half + m->stride, &scale, sizeof scale);
    return true;
}

const float *gn_measure_wide(const gn_measure *m, const void *row, float *wide)
{
    if (!m->halves)
        return row;
    gn_floats_of_f16(row, wide, m->stride);
    if (m->unit) {
        float scale;
        memcpy(&scale, (const uint8_t *)row + m->stride * sizeof(uint16_t), sizeof scale);
        for (size_t i = 0; i < m->words; i++)
            wide[i] *= scale;
    }
    return wide;
}
