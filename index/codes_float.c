/* Codes that are the vectors themselves, in 32 or 16 bits, and the signs alone. */
#include "index/codes_private.h"
#include "index/half_private.h"

#include <string.h>

static void prefetch(const gn_codec *codec, const uint8_t *code)
{
    size_t bytes = codec->stride < 1024 ? codec->stride : 1024;
    for (size_t i = 0; i < bytes; i += 64)
        __builtin_prefetch(code + i, 0, 3);
}

static float no_error(const gn_codec *codec, const gn_code_query *q, const uint8_t *code, float sigmas)
{
    (void)codec, (void)q, (void)code, (void)sigmas;
    return 0;
}

static float any_error(const gn_codec *codec, const gn_code_query *q, const uint8_t *code, float sigmas)
{
    (void)codec, (void)q, (void)code, (void)sigmas;
    return INFINITY;
}

/* ---- the vectors as they are kept ---- */

static void float_encode(const gn_codec *codec, gn_code_query *q, const float *vector, uint8_t *code)
{
    (void)q;
    if (codec->measure.halves)
        gn_measure_row(&codec->measure, vector, code);
    else
        memcpy(code, vector, codec->stride);
}

static void float_prepare(const gn_codec *codec, gn_code_query *q, const float *vector)
{
    memcpy(q->floats, vector, codec->measure.stride * sizeof(float));
    q->vector = q->floats;
}

static void float_prepare_code(const gn_codec *codec, gn_code_query *q, const uint8_t *code)
{
    q->vector = gn_measure_wide(&codec->measure, code, q->floats); /* else the code, which stays where it is */
}

static void float_measure(const gn_codec *codec, const gn_code_query *q, const uint8_t *const *codes, size_t n,
                          float *out)
{
    const void *four[4];
    size_t i = 0;
    for (size_t j = 0; j < n && j < 4; j++)
        gn_prefetch_row(&codec->measure, codes[j]);
    for (; i + 4 <= n; i += 4) {
        for (size_t j = 0; j < 4; j++) {
            four[j] = codes[i + j];
            if (i + 4 + j < n)
                gn_prefetch_row(&codec->measure, codes[i + 4 + j]);
        }
        gn_measure_four(&codec->measure, q->vector, four, out + i);
    }
    for (; i < n; i++)
        out[i] = gn_measure_one(&codec->measure, q->vector, codes[i]);
}

const gn_codec_ops gn_codec_float_ops = {
    .encode = float_encode,
    .prepare = float_prepare,
    .prepare_code = float_prepare_code,
    .measure = float_measure,
    .error = no_error,
};

/* ---- float16 and bfloat16 ---- */

static void half_encode(const gn_codec *codec, gn_code_query *q, const float *vector, uint8_t *code)
{
    (void)q;
    uint16_t *to = (uint16_t *)(void *)code;
    memset(code, 0, codec->stride);
    if (codec->head->kind == GN_CODES_FLOAT16) {
        codec->kernels->to_f16(vector, to, codec->measure.stride);
        return;
    }
    for (size_t i = 0; i < codec->measure.stride; i++)
        to[i] = gn_bf16_of_float(vector[i]);
}

static void half_prepare_code(const gn_codec *codec, gn_code_query *q, const uint8_t *code)
{
    const uint16_t *from = (const uint16_t *)(const void *)code;
    bool f16 = codec->head->kind == GN_CODES_FLOAT16;
    for (size_t i = 0; i < codec->measure.stride; i++)
        q->floats[i] = f16 ? gn_float_of_f16(from[i]) : gn_float_of_bf16(from[i]);
}

static gn_half_x4_fn half_kernel(const gn_codec *codec)
{
    bool l2 = codec->head->metric == GN_METRIC_L2;
    if (codec->head->kind == GN_CODES_FLOAT16)
        return l2 ? codec->floats->l2sq_half_x4 : codec->floats->dot_half_x4;
    return l2 ? codec->kernels->l2sq_bf16_x4 : codec->kernels->dot_bf16_x4;
}

static void half_measure(const gn_codec *codec, const gn_code_query *q, const uint8_t *const *codes, size_t n,
                         float *out)
{
    enum { AHEAD = 4 };
    gn_half_x4_fn kernel = half_kernel(codec);
    for (size_t i = 0; i < n && i < AHEAD; i++)
        prefetch(codec, codes[i]);
    for (size_t i = 0; i < n; i += 4) {
        const uint16_t *four[4];
        float d[4];
        size_t some = n - i < 4 ? n - i : 4;
        for (size_t j = 0; j < 4; j++) {
            four[j] = (const uint16_t *)(const void *)codes[j < some ? i + j : i];
            if (i + AHEAD + j < n)
                prefetch(codec, codes[i + AHEAD + j]);
        }
        kernel(q->floats, four, codec->measure.stride, d);
        for (size_t j = 0; j < some; j++)
            out[i + j] = gn_measure_clean(&codec->measure, d[j]);
    }
}

/* Rounding to 11 or 8 bits of mantissa, each coordinate by itself. */
static float half_error(const gn_codec *codec, const gn_code_query *q, const uint8_t *code, float sigmas)
{
    float unit = codec->head->kind == GN_CODES_FLOAT16 ? 0x1p-11f : 0x1p-8f, d;
    float norm = sqrtf(codec->floats->norm2(q->floats, NULL, codec->measure.stride));
    gn_codec_measure(codec, q, &code, 1, &d);
    if (codec->head->metric != GN_METRIC_L2)
        return sigmas * unit * fmaxf(fabsf(d), norm * norm);
    float length = sqrtf(fmaxf(d, 0)), shift = unit * (norm + length);
    return sigmas * shift * (2 * length + shift);
}

const gn_codec_ops gn_codec_half_ops = {
    .encode = half_encode,
    .prepare = float_prepare,
    .prepare_code = half_prepare_code,
    .measure = half_measure,
    .error = half_error,
};

/* ---- signs ---- */

static void binary_encode(const gn_codec *codec, gn_code_query *q, const float *vector, uint8_t *code)
{
    (void)q;
    memset(code, 0, codec->stride);
    for (uint32_t i = 0; i < codec->head->dimensions; i++)
        code[i / 8] |= (uint8_t)((vector[i] > codec->mean[i]) << (i % 8));
}

static void binary_prepare(const gn_codec *codec, gn_code_query *q, const float *vector)
{
    binary_encode(codec, q, vector, (uint8_t *)q->bytes);
}

static void binary_prepare_code(const gn_codec *codec, gn_code_query *q, const uint8_t *code)
{
    memcpy(q->bytes, code, codec->stride);
}

static void binary_measure(const gn_codec *codec, const gn_code_query *q, const uint8_t *const *codes, size_t n,
                           float *out)
{
    for (size_t i = 0; i < n; i++)
        prefetch(codec, codes[i]);
    for (size_t i = 0; i < n; i++)
        out[i] = (float)codec->kernels->hamming((const uint8_t *)q->bytes, codes[i], codec->code_bytes);
}

const gn_codec_ops gn_codec_binary_ops = {
    .encode = binary_encode,
    .prepare = binary_prepare,
    .prepare_code = binary_prepare_code,
    .measure = binary_measure,
    .error = any_error,
};
