/* Product quantization (Jegou, Douze and Schmid, 2011): a vector is cut into pieces, each coded by the nearest of up to
 * 256 centroids, and distances are sums of table entries, one table a piece. With 16 centroids tables have 16 entries
 * of 8 bits, which registers hold (Andre, Kermarrec and Le Scouarnec, 2015).
 *
 * The optional rotation is the parametric solution of optimized product quantization (Ge et al., 2013): principal axes,
 * dealt out so that the pieces have like products of variances.
 *
 * Centroids lie with the coordinate first: [subquantizers][dimensions of a piece][centroids], so that one coordinate is
 * compared with all centroids by one run of arithmetic. */
#include "base/assert.h"
#include "index/codes_private.h"

#include <stdlib.h>
#include <string.h>

enum { LLOYD_ROUNDS = 10, MAX_CENTROIDS = 256 };

static uint32_t piece_of(const gn_codec *c)
{
    return c->head->dimensions / c->head->subquantizers;
}

static const float *centroids_of(const gn_codec *c, uint32_t sub)
{
    return c->centroids + (size_t)sub * piece_of(c) * c->head->centroids;
}

/* Squared distances of a piece to all centroids. */
static void piece_distances(const float *v, const float *centroids, uint32_t piece, uint32_t k, float *out)
{
    for (uint32_t i = 0; i < k; i++)
        out[i] = 0;
    for (uint32_t d = 0; d < piece; d++, centroids += k) {
        float x = v[d];
        for (uint32_t i = 0; i < k; i++)
            out[i] += (x - centroids[i]) * (x - centroids[i]);
    }
}

static uint32_t nearest(const float *v, const float *centroids, uint32_t piece, uint32_t k)
{
    float distance[MAX_CENTROIDS];
    uint32_t best = 0;
    piece_distances(v, centroids, piece, k, distance);
    for (uint32_t i = 1; i < k; i++) {
        if (distance[i] < distance[best])
            best = i;
    }
    return best;
}

/* Less the mean (NULL: as it is), and rotated. */
static void turn(const gn_codec *c, const float *vector, const float *mean, float *centred, float *y)
{
    uint32_t n = c->head->dimensions;
    size_t w = c->measure.stride;
    memset(centred, 0, w * sizeof *centred);
    for (uint32_t i = 0; i < n; i++)
        centred[i] = mean ? vector[i] - mean[i] : vector[i];
    if (!c->head->rotated) {
        memcpy(y, centred, n * sizeof *y);
        return;
    }
    for (uint32_t r = 0; r < n; r += 4) {
        const float *rows[4];
        float dot[4];
        for (uint32_t j = 0; j < 4; j++)
            rows[j] = c->rotation + (size_t)(r + j < n ? r + j : r) * w;
        c->floats->dot_x4(centred, rows, w, dot);
        for (uint32_t j = 0; j < 4 && r + j < n; j++)
            y[r + j] = dot[j];
    }
}

/* ---- training ---- */

static void recenter(const float *points, const uint8_t *at, size_t n, float *centroids, uint32_t piece, uint32_t k,
                     uint64_t *random)
{
    uint32_t count[MAX_CENTROIDS] = {0};
    memset(centroids, 0, (size_t)piece * k * sizeof *centroids);
    for (size_t i = 0; i < n; i++) {
        count[at[i]]++;
        for (uint32_t d = 0; d < piece; d++)
            centroids[d * k + at[i]] += points[i * piece + d];
    }
    for (uint32_t j = 0; j < k; j++) {
        const float *other = points + gn_random_next(random) % n * piece; /* for one that nobody is near to */
        for (uint32_t d = 0; d < piece; d++)
            centroids[d * k + j] = count[j] ? centroids[d * k + j] / (float)count[j] : other[d];
    }
}

/* Lloyd's k-means from centroids drawn at random. points: [n][piece]. */
static void k_means(const float *points, size_t n, float *centroids, uint32_t piece, uint32_t k, uint64_t *random)
{
    GN_ASSERT(n > 0);
    uint8_t *at = gn_xcalloc(n, 1);
    for (uint32_t j = 0; j < k; j++) {
        const float *p = points + gn_random_next(random) % n * piece;
        for (uint32_t d = 0; d < piece; d++)
            centroids[d * k + j] = p[d];
    }
    for (int round = 0; round < LLOYD_ROUNDS; round++) {
        for (size_t i = 0; i < n; i++)
            at[i] = (uint8_t)nearest(points + i * piece, centroids, piece, k);
        recenter(points, at, n, centroids, piece, k, random);
    }
    free(at);
}

/* The rows of the rotation: principal axes, each given to the piece with the smallest product of variances so far that
 * has room. */
static void learn_rotation(gn_codec *c, const gn_sample *s)
{
    uint32_t n = c->head->dimensions, piece = piece_of(c), subs = c->head->subquantizers;
    float *axes = gn_xcalloc((size_t)n * s->stride, sizeof *axes), *energy = gn_xcalloc(n, sizeof *energy);
    float *rotation = gn_codec_array(c, c->rotation), *log_product = gn_xcalloc(subs, sizeof *log_product);
    uint32_t *filled = gn_xcalloc(subs, sizeof *filled);
    gn_principal_axes(s, c->mean, n, axes, energy);
    for (uint32_t a = 0; a < n; a++) {
        uint32_t to = UINT32_MAX;
        for (uint32_t i = 0; i < subs; i++) {
            if (filled[i] < piece && (to == UINT32_MAX || log_product[i] < log_product[to]))
                to = i;
        }
        memcpy(rotation + (size_t)(to * piece + filled[to]++) * s->stride, axes + (size_t)a * s->stride,
               s->stride * sizeof *axes);
        log_product[to] += logf(fmaxf(energy[a], 1e-12f) * 1e12f);
    }
    free(axes);
    free(energy);
    free(log_product);
    free(filled);
}

void gn_product_train(gn_codec *c, const gn_sample *s)
{
    uint32_t n = c->head->dimensions, piece = piece_of(c), subs = c->head->subquantizers, k = c->head->centroids;
    uint64_t random = c->head->seed;
    if (c->head->rotated)
        learn_rotation(c, s);
    float *turned = gn_xcalloc(s->n * n, sizeof *turned), *scratch = gn_xcalloc(s->stride, sizeof *scratch);
    float *points = gn_xcalloc(s->n * piece, sizeof *points), *centroids = gn_codec_array(c, c->centroids);
    for (size_t i = 0; i < s->n; i++)
        turn(c, s->vectors[i], c->mean, scratch, turned + i * n);
    for (uint32_t sub = 0; sub < subs; sub++) {
        for (size_t i = 0; i < s->n; i++)
            memcpy(points + i * piece, turned + i * n + (size_t)sub * piece, piece * sizeof *points);
        k_means(points, s->n, centroids + (size_t)sub * piece * k, piece, k, &random);
    }
    free(turned);
    free(scratch);
    free(points);
}

/* ---- coding ---- */

static void product_encode(const gn_codec *c, gn_code_query *q, const float *vector, uint8_t *code)
{
    uint32_t piece = piece_of(c), k = c->head->centroids;
    memset(code, 0, c->stride);
    turn(c, vector, c->mean, q->floats, q->scratch);
    for (uint32_t s = 0; s < c->head->subquantizers; s++) {
        uint32_t best = nearest(q->scratch + (size_t)s * piece, centroids_of(c, s), piece, k);
        if (k <= 16)
            code[s / 2] |= (uint8_t)(best << (s % 2 * 4));
        else
            code[s] = (uint8_t)best;
    }
}

static float *float_tables(const gn_codec *c, const gn_code_query *q)
{
    return q->floats + c->padded;
}
static uint8_t *byte_tables(const gn_codec *c, const gn_code_query *q)
{
    return (uint8_t *)(void *)(float_tables(c, q) + (size_t)c->head->subquantizers * 128);
}

/* One table of `k` entries: what each centroid adds to the distance. Entries beyond k are never asked for by a sound
 * file, and are there for a damaged one. */
static void fill_table(const gn_codec *c, const float *y, uint32_t s, float *table)
{
    uint32_t piece = piece_of(c), k = c->head->centroids;
    const float *centroids = centroids_of(c, s);
    if (c->head->metric == GN_METRIC_L2) {
        piece_distances(y, centroids, piece, k, table);
        return;
    }
    memset(table, 0, k * sizeof *table);
    for (uint32_t d = 0; d < piece; d++, centroids += k) {
        for (uint32_t i = 0; i < k; i++)
            table[i] -= y[d] * centroids[i];
    }
}

/* Tables in 8 bits, with one scale for all and an offset for each, which adds to q->a. */
static void round_tables(const gn_codec *c, gn_code_query *q)
{
    float *table = float_tables(c, q), range = 0, offset = 0;
    uint8_t *out = byte_tables(c, q);
    for (uint32_t s = 0; s < c->head->subquantizers; s++) {
        float least = INFINITY, most = -INFINITY;
        for (uint32_t i = 0; i < 16; i++) {
            least = fminf(least, table[16 * s + i]);
            most = fmaxf(most, table[16 * s + i]);
        }
        for (uint32_t i = 0; i < 16; i++)
            table[16 * s + i] -= least;
        offset += least;
        range = fmaxf(range, most - least);
    }
    float by = range > 0 && range < INFINITY ? 255 / range : 0;
    memset(out, 0, 32 * c->code_bytes);
    for (uint32_t i = 0; i < 16 * c->head->subquantizers; i++) {
        float v = table[i] * by + 0.5f;
        out[i] = v > 0 && v < 255.5f ? (uint8_t)v : v > 0 ? 255 : 0;
    }
    q->a += offset;
    q->b = by > 0 ? 1 / by : 0;
}

static void product_prepare(const gn_codec *c, gn_code_query *q, const float *vector)
{
    uint32_t k = c->head->centroids, piece = piece_of(c);
    bool l2 = c->head->metric == GN_METRIC_L2; /* an inner product meets the whole query, not the centred one */
    turn(c, vector, l2 ? c->mean : NULL, q->floats, q->scratch);
    q->a = l2 ? 0 : -c->floats->dot(c->mean, q->floats, c->measure.stride);
    q->b = 1;
    for (uint32_t s = 0; s < c->head->subquantizers; s++)
        fill_table(c, q->scratch + (size_t)s * piece, s, float_tables(c, q) + (size_t)s * (k <= 16 ? 16 : 256));
    if (k <= 16)
        round_tables(c, q);
}

static void product_measure(const gn_codec *c, const gn_code_query *q, const uint8_t *const *codes, size_t n,
                            float *out)
{
    bool small = c->head->centroids <= 16;
    for (size_t i = 0; i < n; i++) {
        for (size_t at = 0; at < c->stride && at < 512; at += 64)
            __builtin_prefetch(codes[i] + at);
    }
    for (size_t i = 0; i < n; i += 4) {
        const uint8_t *four[4];
        float d[4];
        uint32_t sum[4];
        size_t some = n - i < 4 ? n - i : 4;
        for (size_t j = 0; j < 4; j++)
            four[j] = codes[j < some ? i + j : i];
        if (small)
            c->kernels->lookup4_x4(byte_tables(c, q), four, c->code_bytes, sum);
        else
            c->kernels->lookup8_x4(float_tables(c, q), four, c->head->subquantizers, d);
        for (size_t j = 0; j < some; j++) {
            float v = q->a + (small ? q->b * (float)sum[j] : d[j]);
            out[i + j] = v == v ? v : INFINITY;
        }
    }
}

static float any_error(const gn_codec *c, const gn_code_query *q, const uint8_t *code, float sigmas)
{
    (void)c, (void)q, (void)code, (void)sigmas;
    return INFINITY;
}

const gn_codec_ops gn_codec_product_ops = {
    .encode = product_encode,
    .prepare = product_prepare,
    .measure = product_measure,
    .error = any_error,
};
