/* Codes of b bits a coordinate: SQ8, SQ4, REDUCED and RABITQ differ in how a vector is turned before it is rounded, and
 * in how many bits are left, and are the same after that.
 *
 * A vector o is centred, o' = o - mean, and turned: y = o' itself, or its coordinates in the principal subspace, or a
 * random rotation of it. y is rounded to u, whole numbers of b bits, by a scale of its own, so that nothing is ever cut
 * off. With w = u - mid, the inner product of y with a query's is estimated by f * <w, q>, where f = <y, y> / <w, y>;
 * for a random rotation this is RaBitQ's unbiased estimator (Gao and Long, 2024; with more bits Gao et al., 2025). The
 * query is rounded to 8 bits. So with q' the centred query
 *
 *   L2:             |q - o|^2 = |q'|^2 + |o'|^2 - 2 <q', o'>
 *   inner product:  -<q, o>   = (-<q', mean> - |mean|^2) - <mean, o'> - <q', o'>
 *
 * both of the form a + t + f * (b * sum + c), where t and f are the code's terms, in its last 8 bytes, and sum is an
 * integer kernel's. The coordinates beyond the principal subspace count in the lengths, exactly, and are left out of
 * the inner product. (Reducing for the walk and reranking by the whole is LeanVec's way; Tepper et al., 2024.)
 *
 * Codes of 8 bits serve as queries, too: subtracting 128 makes w of u. */
#include "base/assert.h"
#include "index/codes_private.h"
#include "index/half_private.h"

#include <stdlib.h>
#include <string.h>

enum { TERMS = 8, ERROR_TERM = 12 }; /* bytes before the end of a code */

typedef struct terms {
    float t, f;
} terms;

static terms terms_of(const gn_codec *codec, const uint8_t *code)
{
    terms v;
    memcpy(&v, code + codec->stride - TERMS, sizeof v);
    return v;
}

static float *floats_at(uint8_t *p)
{
    return (float *)(void *)p;
}

/* ---- turning ---- */

/* Rounds to 8 bits with the scale that is returned. */
static float round_bytes(const float *v, size_t n, int8_t *out, int64_t *sum)
{
    float most = 0;
    int32_t total = 0;
    for (size_t i = 0; i < n; i++) {
        float x = fabsf(v[i]);
        most = x > most ? x : most;
    }
    if (!(most > 1e-30f && most < INFINITY)) {
        memset(out, 0, n);
        *sum = 0;
        return 0;
    }
    float scale = most / 127, by = 127 / most;
    for (size_t i = 0; i < n; i++) {
        /* Adding 1.5 * 2^23 leaves the nearest whole number in the low bits. */
        int32_t rounded = (int32_t)(gn_bits_of_float(v[i] * by + 12582912.0f) - 0x4b400000u);
        rounded = rounded > 127 ? 127 : rounded < -127 ? -127 : rounded;
        out[i] = (int8_t)rounded;
        total += rounded;
    }
    *sum = total;
    return scale;
}

/* The coordinates along the axes, by 8-bit arithmetic: its error is far below that of the codes. */
static void project(const gn_codec *codec, gn_code_query *q, const float *centred, float *y)
{
    int64_t sum;
    int32_t dot[4];
    const uint8_t *axes[4];
    memset(q->scratch_bytes, 0, codec->padded);
    float scale = round_bytes(centred, codec->head->dimensions, q->scratch_bytes, &sum);
    for (uint32_t r = 0; r < codec->head->coords; r += 4) { /* coords: a multiple of 8 */
        for (uint32_t j = 0; j < 4; j++)
            axes[j] = codec->axes + (size_t)(r + j) * codec->padded;
        codec->kernels->dot8_x4(q->scratch_bytes, axes, codec->padded, dot);
        for (uint32_t j = 0; j < 4; j++)
            y[r + j] = codec->axis_scale[r + j] * scale * (float)(dot[j] - 128 * sum);
    }
}

float gn_codec_turn(const gn_codec *codec, gn_code_query *q, const float *vector, float *y)
{
    uint32_t n = codec->head->dimensions;
    for (uint32_t i = 0; i < n; i++)
        q->floats[i] = vector[i] - codec->mean[i];
    float norm2 = codec->floats->norm2(q->floats, NULL, codec->measure.stride);
    switch ((gn_code_kind)codec->head->kind) {
    case GN_CODES_REDUCED:
        project(codec, q, q->floats, y);
        break;
    case GN_CODES_RABITQ:
        memcpy(y, q->floats, n * sizeof *y);
        memset(y + n, 0, (codec->head->coords - n) * sizeof *y);
        gn_rotate(codec->signs, codec->head->coords, y);
        break;
    default:
        memcpy(y, q->floats, n * sizeof *y);
        break;
    }
    return norm2;
}

/* ---- encoding ---- */

/* <w, y> and |w|^2 of rounding with this step. */
static void try_step(const float *y, uint32_t n, float by, float mid, float top, float *wy, float *ww)
{
    float a = 0, b = 0;
    for (uint32_t i = 0; i < n; i++) {
        float u = y[i] * by + mid + 0.5f;
        u = (float)(int32_t)(u < 0 ? 0 : u > top ? top : u);
        a += (u - mid) * y[i];
        b += (u - mid) * (u - mid);
    }
    *wy = a;
    *ww = b;
}

/* The step that leaves the smallest angle: with few bits it is worth cutting off the largest coordinates. */
static float best_step(const float *y, uint32_t n, float most, uint32_t bits, float mid)
{
    float top = (float)((1u << bits) - 1), best = most / (mid + 0.5f), best_cos2 = -1;
    if (bits == 1 || bits == 8)
        return bits == 8 ? most / 127 : most;
    for (int i = 0; i < 10; i++) {
        float step = most / (mid + 0.5f) * (1.1f - 0.09f * (float)i), wy, ww;
        try_step(y, n, 1 / step, mid, top, &wy, &ww);
        float cos2 = ww > 0 ? wy * wy / ww : 0;
        if (cos2 > best_cos2) {
            best_cos2 = cos2;
            best = step;
        }
    }
    return best;
}

static void put_level(const gn_codec *codec, uint8_t *code, uint32_t i, uint32_t u)
{
    uint32_t bits = codec->head->bits, half = (codec->head->coords + 1) / 2;
    if (bits == 8) {
        code[i] = (uint8_t)u;
    } else if (bits == 4) {
        code[i % half] |= (uint8_t)(i < half ? u : u << 4);
    } else {
        for (uint32_t b = 0; b < bits; b++)
            code[b * codec->code_bytes + i / 8] |= (uint8_t)((u >> b & 1) << (i % 8));
    }
}

static void linear_encode(const gn_codec *codec, gn_code_query *q, const float *vector, uint8_t *code)
{
    uint32_t n = codec->head->coords, bits = codec->head->bits;
    float *y = q->scratch, most = 0, wy = 0, ww = 0, yy = 0, mid = codec->mid, top = (float)((1u << bits) - 1);
    float norm2 = gn_codec_turn(codec, q, vector, y);
    bool l2 = codec->head->metric == GN_METRIC_L2;
    memset(code, bits == 8 ? 128 : 0, codec->stride);
    float t = l2 ? norm2 : -codec->floats->dot(codec->mean, q->floats, codec->measure.stride), f = 0, e = 0;
    for (uint32_t i = 0; i < n; i++)
        most = fabsf(y[i]) > most ? fabsf(y[i]) : most;
    if (most > 1e-30f && most < 1e18f) {
        float by = 1 / best_step(y, n, most, bits, mid), least = bits == 8 ? 1 : 0;
        for (uint32_t i = 0; i < n; i++) {
            float u = y[i] * by + mid + 0.5f;
            u = (float)(int32_t)(u < least ? least : u > top ? top : u);
            put_level(codec, code, i, (uint32_t)u);
            wy += (u - mid) * y[i];
            ww += (u - mid) * (u - mid);
            yy += y[i] * y[i];
        }
        f = wy > 0 ? yy / wy : 0;
        float cos2 = ww > 0 ? wy * wy / (ww * yy) : 0;
        e = cos2 > 0 ? sqrtf(norm2 * fmaxf(0, 1 - cos2) / cos2 / (float)(n > 1 ? n - 1 : 1)) : INFINITY;
    }
    float *end = floats_at(code + codec->stride);
    end[-2] = t;
    end[-1] = f;
    if (codec->head->kind == GN_CODES_RABITQ)
        end[-3] = e;
}

/* ---- queries ---- */

static void set_terms(const gn_codec *codec, gn_code_query *q, float a, float scale, int64_t sum)
{
    q->a = a;
    q->b = (codec->head->metric == GN_METRIC_L2 ? -2.0f : -1.0f) * scale;
    q->c = -q->b * codec->mid * (float)sum;
}

static void linear_prepare(const gn_codec *codec, gn_code_query *q, const float *vector)
{
    uint32_t n = codec->head->coords, half = (n + 1) / 2;
    int64_t sum;
    float *y = q->scratch, norm2 = gn_codec_turn(codec, q, vector, y);
    float scale = round_bytes(y, n, q->bytes, &sum); /* beyond n they are zero since they were made */
    if (codec->head->bits == 4) {
        memcpy(q->scratch_bytes, q->bytes, n);
        memset(q->bytes, 0, 2 * codec->stride);
        memcpy(q->bytes, q->scratch_bytes, half);
        memcpy(q->bytes + codec->code_bytes, q->scratch_bytes + half, n - half);
    } else if (codec->head->bits == 8) {
        memset(q->bytes + n, 0, codec->stride - n);
    }
    float a = codec->head->metric == GN_METRIC_L2
                  ? norm2
                  : -codec->floats->dot(codec->mean, q->floats, codec->measure.stride) - codec->head->mean2;
    set_terms(codec, q, a, scale, sum);
    q->spread = sqrtf(norm2);
    q->rounding = scale * 0.2887f;
}

static void linear_prepare_code(const gn_codec *codec, gn_code_query *q, const uint8_t *code)
{
    terms v = terms_of(codec, code);
    int32_t sum = 0;
    size_t n = codec->stride - TERMS;
    for (size_t i = 0; i < n; i++) {
        int8_t w = (int8_t)(code[i] ^ 0x80);
        q->bytes[i] = w;
        sum += w;
    }
    memset(q->bytes + n, 0, TERMS);
    set_terms(codec, q, codec->head->metric == GN_METRIC_L2 ? v.t : v.t - codec->head->mean2, v.f, sum);
    q->rounding = fabsf(v.f) * 0.2887f;
    q->spread = q->rounding * codec->mid * sqrtf((float)codec->head->coords) * 1.2f;
}

/* ---- measuring ---- */

static void prefetch(const gn_codec *codec, const uint8_t *code)
{
    size_t bytes = codec->stride < 1024 ? codec->stride : 1024;
    for (size_t i = 0; i < bytes; i += 64)
        __builtin_prefetch(code + i, 0, 3);
}

static inline void sum_four(const gn_codec *codec, const int8_t *query, const uint8_t *const four[4], int32_t sum[4])
{
    uint32_t bits = codec->head->bits;
    if (bits == 8) {
        codec->kernels->dot8_x4(query, four, codec->stride, sum);
    } else if (bits == 4) {
        codec->kernels->dot4_x4(query, four, codec->code_bytes, sum);
    } else {
        int32_t plane[4];
        const uint8_t *at[4] = {four[0], four[1], four[2], four[3]};
        memset(sum, 0, 4 * sizeof *sum);
        for (uint32_t b = 0; b < bits; b++) {
            codec->kernels->dot1_x4(query, at, codec->code_bytes, plane);
            for (int j = 0; j < 4; j++) {
                sum[j] += plane[j] * (1 << b);
                at[j] += codec->code_bytes;
            }
        }
    }
}

static void linear_measure(const gn_codec *codec, const gn_code_query *q, const uint8_t *const *codes, size_t n,
                           float *out)
{
    enum { AHEAD = 8 };
    for (size_t i = 0; i < n && i < AHEAD; i++)
        prefetch(codec, codes[i]);
    for (size_t i = 0; i < n; i += 4) {
        int32_t sum[4];
        const uint8_t *four[4];
        size_t some = n - i < 4 ? n - i : 4;
        for (size_t j = 0; j < 4; j++) {
            four[j] = codes[j < some ? i + j : i];
            if (i + AHEAD + j < n)
                prefetch(codec, codes[i + AHEAD + j]);
        }
        sum_four(codec, q->bytes, four, sum);
        for (size_t j = 0; j < some; j++) {
            terms v = terms_of(codec, four[j]);
            float d = q->a + v.t + v.f * (q->b * (float)sum[j] + q->c);
            out[i + j] = d == d ? d : INFINITY;
        }
    }
}

/* Rounding to steps of f and of the query's scale: a step / sqrt(12) a coordinate, against the length of the other
 * side; for RaBitQ's few bits its theorem 3.2 instead of the first. What was left out: two vectors in the rest of the
 * space, as if in random directions. */
static float linear_error(const gn_codec *codec, const gn_code_query *q, const uint8_t *code, float sigmas)
{
    terms v = terms_of(codec, code);
    float factor = codec->head->metric == GN_METRIC_L2 ? 2 : 1, e = fabsf(v.f) * 0.2887f;
    /* A vector's largest coordinate, which f was chosen by, is some three times the usual one. */
    float length = codec->head->metric == GN_METRIC_L2
                       ? sqrtf(fabsf(v.t))
                       : fabsf(v.f) * codec->mid * sqrtf((float)codec->head->coords) / 3;
    if (codec->head->kind == GN_CODES_SQ4)
        e *= 1.5f; /* the largest coordinates are cut off */
    if (codec->head->kind == GN_CODES_RABITQ)
        memcpy(&e, code + codec->stride - ERROR_TERM, sizeof e);
    float own = e * q->spread, of_query = q->rounding * length, rest = 0;
    if (codec->head->kind == GN_CODES_REDUCED) {
        float dims = (float)(codec->head->dimensions - codec->head->coords);
        rest = 1.5f * codec->head->left_out * q->spread * length / sqrtf(dims < 1 ? 1 : dims);
    }
    return factor * sigmas * sqrtf(own * own + of_query * of_query + rest * rest);
}

const gn_codec_ops gn_codec_linear_ops = {
    .encode = linear_encode,
    .prepare = linear_prepare,
    .prepare_code = linear_prepare_code,
    .measure = linear_measure,
    .error = linear_error,
};
