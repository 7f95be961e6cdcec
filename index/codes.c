/* The life of a codec: training, laying out its params, opening them. */
#include "index/codes.h"

#include "base/assert.h"
#include "base/limits.h"
#include "index/codes_private.h"

#include <stdlib.h>

/* Training looks at no more: the estimates of a covariance or of centroids get no better where it matters. */
enum { MAX_SAMPLE = 4096, MAX_SAMPLE_FLOATS = 4 << 20, MIN_SAMPLE = 64, MAX_LEARNED_DIMENSIONS = 2048, MAX_AXES = 504 };

static const char *const names[GN_CODES_KNOWN] = {"auto", "none",    "f16",    "bf16",   "sq8",
                                                  "sq4",  "reduced", "rabitq", "binary", "product"};

const char *gn_code_kind_name(gn_code_kind kind)
{
    return (unsigned)kind < GN_CODES_KNOWN ? names[kind] : "?";
}

gn_code_kind gn_code_kind_named(const char *name)
{
    unsigned kind = 0;
    while (kind < GN_CODES_KNOWN && strcmp(names[kind], name) != 0)
        kind++;
    return (gn_code_kind)kind;
}

/* L1 is measured by the numbers themselves; bit vectors are as short as codes already. */
static bool metric_is_coded(gn_metric_kind metric)
{
    return metric == GN_METRIC_L2 || metric == GN_METRIC_IP || metric == GN_METRIC_COSINE;
}

/* ---- layout ---- */

gn_codec_layout gn_codec_layout_of(const gn_codec_head *h)
{
    size_t stride = gn_vector_stride((gn_metric_kind)h->metric, h->dimensions), padded = gn_round_up(h->dimensions, 64);
    gn_codec_layout l = {0};
    if (h->kind >= GN_CODES_SQ8)
        l.mean = stride * sizeof(float);
    if (h->kind == GN_CODES_REDUCED) {
        l.axis_scale = gn_round_up(h->coords * sizeof(float), 64);
        l.axes = h->coords * padded;
    }
    if (h->kind == GN_CODES_RABITQ)
        l.signs = gn_round_up((size_t)GN_ROTATE_ROUNDS * h->coords / 8, 64);
    if (h->kind == GN_CODES_PRODUCT) {
        l.rotation = h->rotated ? h->dimensions * stride * sizeof(float) : 0;
        l.centroids = gn_round_up((size_t)h->centroids * h->dimensions * sizeof(float), 64);
    }
    l.total = sizeof *h + l.mean + l.axis_scale + l.axes + l.signs + l.rotation + l.centroids;
    return l;
}

/* What a code takes, and the part of it that the kernels read (of one plane, for RaBitQ). */
static void set_sizes(gn_codec *c)
{
    const gn_codec_head *h = c->head;
    size_t stride = gn_vector_stride((gn_metric_kind)h->metric, h->dimensions);
    c->padded = gn_round_up(h->dimensions, 64);
    switch ((gn_code_kind)h->kind) {
    case GN_CODES_FLOAT16:
    case GN_CODES_BFLOAT16:
        c->stride = stride * sizeof(uint16_t);
        break;
    case GN_CODES_SQ8:
    case GN_CODES_REDUCED:
        c->stride = c->code_bytes = gn_round_up(h->coords + 8, 64);
        c->mid = 128;
        break;
    case GN_CODES_SQ4:
        c->stride = c->code_bytes = gn_round_up((h->coords + 1) / 2 + 8, 64);
        c->mid = 7.5f;
        break;
    case GN_CODES_RABITQ:
        c->code_bytes = h->coords / 8; /* planes of bits; but two numbers of 4 bits a byte */
        c->stride = gn_round_up(c->code_bytes * h->bits + 12, 64);
        c->code_bytes = h->bits == 4 ? c->stride : c->code_bytes;
        c->mid = (float)((1u << h->bits) - 1) / 2;
        break;
    case GN_CODES_BINARY:
        c->stride = c->code_bytes = gn_round_up(h->dimensions, 64) / 8;
        break;
    case GN_CODES_PRODUCT:
        c->code_bytes = h->centroids <= 16 ? gn_round_up((h->subquantizers + 1) / 2, 8) : h->subquantizers;
        c->stride = gn_round_up(c->code_bytes, 8);
        break;
    default:
        c->stride = gn_vector_row_bytes((gn_metric_kind)h->metric, h->dimensions, h->halves);
        break;
    }
}

static const gn_codec_ops *ops_of(const gn_codec_head *h)
{
    switch ((gn_code_kind)h->kind) {
    case GN_CODES_FLOAT32:
        return &gn_codec_float_ops;
    case GN_CODES_FLOAT16:
    case GN_CODES_BFLOAT16:
        return &gn_codec_half_ops;
    case GN_CODES_BINARY:
        return &gn_codec_binary_ops;
    case GN_CODES_PRODUCT:
        return &gn_codec_product_ops;
    default:
        return &gn_codec_linear_ops;
    }
}

/* A codec over params of the right size. */
static gn_codec *wrap(gn_bytes params)
{
    gn_codec *c = gn_xcalloc(1, sizeof *c);
    c->head = (const void *)params.data;
    c->params = params;
    c->ops = ops_of(c->head);
    c->kernels = gn_code_kernels_best();
    c->floats = gn_kernels_best();
    c->measure = gn_measure_of(c->floats, (gn_metric_kind)c->head->metric, c->head->dimensions, c->head->halves);
    set_sizes(c);
    gn_codec_layout l = gn_codec_layout_of(c->head);
    const uint8_t *at = params.data + sizeof *c->head;
    c->mean = (const void *)at;
    c->axis_scale = (const void *)(at += l.mean);
    c->axes = at += l.axis_scale;
    c->signs = at += l.axes;
    c->rotation = (const void *)(at += l.signs);
    c->centroids = (const void *)(at + l.rotation);
    return c;
}

gn_codec *gn_codec_create(const gn_codec_head *head)
{
    size_t total = gn_codec_layout_of(head).total;
    uint8_t *params = aligned_alloc(64, gn_round_up(total, 64));
    GN_ASSERT(params != NULL);
    memset(params, 0, total);
    memcpy(params, head, sizeof *head);
    gn_codec *c = wrap(gn_bytes_of(params, total));
    c->owned = params;
    return c;
}

void gn_codec_destroy(gn_codec *c)
{
    if (!c)
        return;
    free(c->owned);
    free(c);
}

/* ---- opening ---- */

static bool head_is_possible(const gn_codec_head *h)
{
    if (h->magic != GN_CODEC_MAGIC || h->kind < GN_CODES_FLOAT32 || h->kind >= GN_CODES_KNOWN ||
        h->metric < GN_METRIC_L2 || h->metric >= GN_METRIC_KNOWN || h->dimensions < 1 ||
        h->dimensions > gn_metric_max_dimensions((gn_metric_kind)h->metric) || h->halves)
        return false;
    if (!metric_is_coded((gn_metric_kind)h->metric) && h->kind != GN_CODES_FLOAT32)
        return false;
    switch ((gn_code_kind)h->kind) {
    case GN_CODES_SQ8:
        return h->bits == 8 && h->coords == h->dimensions;
    case GN_CODES_SQ4:
        return h->bits == 4 && h->coords == h->dimensions;
    case GN_CODES_REDUCED:
        return h->bits == 8 && h->coords >= 8 && h->coords % 8 == 0 && h->coords <= h->dimensions;
    case GN_CODES_RABITQ:
        return h->bits >= 1 && h->bits <= 4 && h->coords == gn_round_up(h->dimensions, 64);
    case GN_CODES_PRODUCT:
        return h->coords == h->dimensions && h->subquantizers >= 1 && h->subquantizers <= h->dimensions &&
               h->dimensions % h->subquantizers == 0 && h->centroids >= 16 && h->centroids <= 256 && h->rotated <= 1 &&
               (!h->rotated || h->dimensions <= MAX_LEARNED_DIMENSIONS);
    default:
        return h->coords == h->dimensions;
    }
}

gn_code gn_codec_open(gn_bytes params, gn_codec **out, gn_error *err)
{
    const gn_codec_head *h = (const void *)params.data;
    if (params.len < sizeof *h || !head_is_possible(h) || params.len != gn_codec_layout_of(h).total)
        return gn_error_set(err, GN_INDEX_CORRUPT, "the quantizer of a vector index segment is damaged");
    *out = wrap(params);
    return GN_OK;
}

gn_bytes gn_codec_params(const gn_codec *c)
{
    return c->params;
}
gn_code_kind gn_codec_kind(const gn_codec *c)
{
    return (gn_code_kind)c->head->kind;
}
uint32_t gn_codec_dimensions(const gn_codec *c)
{
    return c->head->dimensions;
}
uint32_t gn_codec_metric(const gn_codec *c)
{
    return c->head->metric;
}
size_t gn_codec_stride(const gn_codec *c)
{
    return c->stride;
}
bool gn_codec_exact(const gn_codec *c)
{
    return c->head->kind == GN_CODES_FLOAT32;
}
bool gn_codec_compares(const gn_codec *c)
{
    return c->ops->prepare_code && (c->head->bits == 8 || c->ops != &gn_codec_linear_ops);
}

/* ---- training ---- */

gn_code gn_code_options_check(const gn_code_options *o, gn_error *err)
{
    if (o->kind < GN_CODES_AUTO || o->kind >= GN_CODES_KNOWN)
        return gn_error_set(err, GN_INVALID_PARAMETER, "unknown quantization %d", (int)o->kind);
    if (o->dimensions < 1 || o->dimensions > gn_metric_max_dimensions(o->metric) || o->metric < GN_METRIC_L2 ||
        o->metric >= GN_METRIC_KNOWN)
        return gn_error_set(err, GN_INVALID_PARAMETER, "impossible dimensions or metric of a quantizer");
    if (!metric_is_coded(o->metric) && o->kind != GN_CODES_AUTO && o->kind != GN_CODES_FLOAT32)
        return gn_error_set(err, GN_INVALID_PARAMETER, "quantization %s is for L2, inner product and cosine distance",
                            gn_code_kind_name(o->kind));
    if (o->kind == GN_CODES_RABITQ && o->bits > 4)
        return gn_error_set(err, GN_INVALID_PARAMETER, "rabitq codes have 1 to 4 bits, not %u", o->bits);
    if (o->kind != GN_CODES_PRODUCT)
        return GN_OK;
    if (o->subquantizers > o->dimensions || (o->subquantizers && o->dimensions % o->subquantizers))
        return gn_error_set(err, GN_INVALID_PARAMETER, "%u subquantizers do not divide %u dimensions", o->subquantizers,
                            o->dimensions);
    if (o->centroids && (o->centroids < 16 || o->centroids > 256))
        return gn_error_set(err, GN_INVALID_PARAMETER, "product quantization has 16 to 256 centroids, not %u",
                            o->centroids);
    return GN_OK;
}

/* One for every four dimensions, or as near to that as divides them. */
static uint32_t default_subquantizers(uint32_t dimensions)
{
    uint32_t n = dimensions >= 4 ? dimensions / 4 : 1;
    while (dimensions % n)
        n--;
    return n;
}

static gn_codec_head head_of(const gn_code_options *o, gn_code_kind kind)
{
    gn_codec_head h = {.magic = GN_CODEC_MAGIC,
                       .kind = kind,
                       .metric = o->metric,
                       .dimensions = o->dimensions,
                       .coords = o->dimensions,
                       .seed = o->seed};
    if (kind == GN_CODES_SQ8 || kind == GN_CODES_REDUCED)
        h.bits = 8;
    if (kind == GN_CODES_SQ4)
        h.bits = 4;
    if (kind == GN_CODES_RABITQ) {
        h.bits = o->bits ? o->bits : 4;
        h.coords = (uint32_t)gn_round_up(o->dimensions, 64);
    }
    if (kind == GN_CODES_PRODUCT) {
        h.subquantizers = o->subquantizers ? o->subquantizers : default_subquantizers(o->dimensions);
        h.centroids = o->centroids ? o->centroids : 256;
        h.rotated = o->rotate && o->dimensions <= MAX_LEARNED_DIMENSIONS;
    }
    h.halves = kind == GN_CODES_FLOAT32 && o->halves;
    return h;
}

size_t gn_code_stride_of(const gn_code_options *o)
{
    gn_code_kind kind = !metric_is_coded(o->metric)                               ? GN_CODES_FLOAT32
                        : o->kind == GN_CODES_AUTO || o->kind == GN_CODES_REDUCED ? GN_CODES_SQ8
                                                                                  : o->kind;
    gn_codec_head h = head_of(o, kind);
    gn_codec c = {.head = &h};
    set_sizes(&c);
    return c.stride;
}

gn_codec *gn_codec_plain(gn_metric_kind metric, uint32_t dimensions, bool halves)
{
    gn_code_options o = {.kind = GN_CODES_FLOAT32, .metric = metric, .dimensions = dimensions, .halves = halves};
    gn_codec_head h = head_of(&o, GN_CODES_FLOAT32);
    return gn_codec_create(&h);
}

static gn_codec *create(const gn_codec_head *head, const gn_sample *s, const float *mean)
{
    gn_codec *c = gn_codec_create(head);
    gn_codec_head *h = gn_codec_array(c, c->head);
    if (mean && gn_codec_layout_of(head).mean) {
        memcpy(gn_codec_array(c, c->mean), mean, c->measure.stride * sizeof *mean);
        h->mean2 = s->kernels->norm2(mean, NULL, c->measure.stride);
    }
    if (head->kind == GN_CODES_RABITQ)
        gn_rotate_signs(head->seed, head->coords, gn_codec_array(c, c->signs));
    return c;
}

/* Coordinates so that code and terms fill cache lines, with at least `share` of the variance; 0: not worth it. */
static uint32_t choose_coords(const float *energy, uint32_t n, float share, float *left_out)
{
    float sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        sum += energy[i];
        if ((i + 1 + 8) % 64 == 0 && sum >= share) {
            *left_out = 1 - sum;
            return i + 1;
        }
    }
    return 0;
}

/* The axes in 8 bits, turned among themselves at random so that all coordinates are alike. */
static void write_axes(gn_codec *c, const float *axes, uint64_t seed)
{
    uint32_t n = c->head->coords;
    size_t w = c->measure.stride;
    float *column = gn_xcalloc(n, sizeof *column), *turned = gn_xcalloc((size_t)n * w, sizeof *turned);
    float *scale = gn_codec_array(c, c->axis_scale);
    uint8_t *out = gn_codec_array(c, c->axes), *signs = gn_xcalloc(GN_ROTATE_ROUNDS, n / 8);
    gn_rotate_signs(seed, n, signs);
    for (size_t d = 0; d < c->head->dimensions; d++) {
        for (uint32_t r = 0; r < n; r++)
            column[r] = axes[r * w + d];
        gn_rotate(signs, n, column);
        for (uint32_t r = 0; r < n; r++)
            turned[r * w + d] = column[r];
    }
    memset(out, 128, n * c->padded);
    for (uint32_t r = 0; r < n; r++) {
        float most = 1e-30f;
        for (size_t d = 0; d < w; d++)
            most = fabsf(turned[r * w + d]) > most ? fabsf(turned[r * w + d]) : most;
        scale[r] = most / 127;
        for (size_t d = 0; d < c->head->dimensions; d++)
            out[r * c->padded + d] = (uint8_t)(128 + lrintf(turned[r * w + d] / scale[r]));
    }
    free(column);
    free(turned);
    free(signs);
}

/* NULL where the variance is spread too evenly for it to be worth it. */
static const float ENOUGH_VARIANCE = 0.95f;

static gn_codec *train_reduced(const gn_code_options *o, const gn_sample *s, const float *mean)
{
    static const uint32_t tries[] = {184, MAX_AXES};
    gn_codec *c = NULL;
    for (size_t i = 0; i < sizeof tries / sizeof tries[0] && !c; i++) {
        uint32_t n_axes = tries[i] < o->dimensions * 2 / 3 ? tries[i] : o->dimensions * 2 / 3;
        if (n_axes < 56 || o->dimensions > MAX_LEARNED_DIMENSIONS || s->n < n_axes || (i && n_axes <= tries[i - 1]))
            break;
        float *axes = gn_xcalloc((size_t)n_axes * s->stride, sizeof *axes);
        float *energy = gn_xcalloc(n_axes, sizeof *energy);
        gn_codec_head h = head_of(o, GN_CODES_REDUCED);
        gn_principal_axes(s, mean, n_axes, axes, energy);
        h.coords = choose_coords(energy, n_axes, ENOUGH_VARIANCE, &h.left_out);
        if (h.coords) {
            c = create(&h, s, mean);
            write_axes(c, axes, o->seed);
        }
        free(axes);
        free(energy);
    }
    return c;
}

size_t gn_codec_training_bytes(uint32_t dimensions, size_t n)
{
    size_t wide = gn_round_up(dimensions, 16), learned = dimensions <= MAX_LEARNED_DIMENSIONS ? wide : 0;
    size_t sample = n * wide < MAX_SAMPLE_FLOATS ? n * wide : MAX_SAMPLE_FLOATS;
    /* The sample, once by columns; a covariance; axes, twice, or as many as there are dimensions for product codes. */
    size_t axes = learned > MAX_AXES ? learned : MAX_AXES;
    return (2 * sample + learned * learned + 3 * axes * learned) * sizeof(float) + dimensions * wide + (1u << 20);
}

size_t gn_codec_most_sampled(uint32_t dimensions)
{
    return MAX_SAMPLE_FLOATS / dimensions < MAX_SAMPLE ? MAX_SAMPLE_FLOATS / dimensions : MAX_SAMPLE;
}

static size_t pick_sample(const float *const *from, size_t n, uint32_t dimensions, const float **to)
{
    size_t most = gn_codec_most_sampled(dimensions), some = n < most ? n : most;
    for (size_t i = 0; i < some; i++)
        to[i] = from[i * n / some];
    return some;
}

gn_code gn_codec_train(const gn_code_options *o, const float *const *sample, size_t n, gn_codec **out, gn_error *err)
{
    gn_code code = gn_code_options_check(o, err);
    if (code != GN_OK)
        return code;
    const float **picked = gn_xcalloc(MAX_SAMPLE, sizeof *picked);
    gn_sample s = {.vectors = picked,
                   .dimensions = o->dimensions,
                   .stride = gn_vector_stride(o->metric, o->dimensions),
                   .kernels = gn_kernels_best(),
                   .seed = o->seed};
    float *mean = gn_xcalloc(s.stride, sizeof *mean);
    gn_codec *c = NULL;
    gn_code_kind kind = o->kind;
    s.n = pick_sample(sample, n, o->dimensions, picked);
    if (!metric_is_coded(o->metric))
        kind = GN_CODES_FLOAT32;
    if (kind != GN_CODES_FLOAT32 && (s.n < MIN_SAMPLE || !gn_sample_mean(&s, mean)))
        kind = GN_CODES_FLOAT32;
    if (kind == GN_CODES_AUTO || kind == GN_CODES_REDUCED) {
        c = train_reduced(o, &s, mean);
        kind = GN_CODES_SQ8;
    }
    if (!c) {
        gn_codec_head h = head_of(o, kind);
        c = create(&h, &s, mean);
        if (kind == GN_CODES_PRODUCT)
            gn_product_train(c, &s);
    }
    free(picked);
    free(mean);
    *out = c;
    return GN_OK;
}

/* ---- queries ---- */

/* Floats, bytes and tables that any kind needs, each at a multiple of 64. */
typedef struct query_sizes {
    size_t bytes, floats, scratch, scratch_bytes;
} query_sizes;

static query_sizes query_sizes_of(const gn_codec *c)
{
    const gn_codec_head *h = c->head;
    size_t wide = gn_round_up((h->coords > h->dimensions ? h->coords : h->dimensions), 64);
    query_sizes s = {.bytes = gn_round_up(2 * c->stride, 64) + 2 * wide,
                     .floats = wide * sizeof(float),
                     .scratch = wide * sizeof(float),
                     .scratch_bytes = wide};
    if (h->kind == GN_CODES_PRODUCT)
        s.floats += 256 * (size_t)h->subquantizers * sizeof(float);
    return s;
}

size_t gn_code_query_bytes(const gn_codec *c)
{
    query_sizes s = query_sizes_of(c);
    return sizeof(gn_code_query) + s.bytes + s.floats + s.scratch + s.scratch_bytes;
}

gn_code_query *gn_code_query_create(const gn_codec *c)
{
    query_sizes s = query_sizes_of(c);
    gn_code_query *q = gn_xcalloc(1, sizeof *q);
    size_t total = gn_round_up(s.bytes + s.floats + s.scratch + s.scratch_bytes, 64);
    uint8_t *at = q->memory = aligned_alloc(64, total);
    GN_ASSERT(at != NULL);
    memset(at, 0, total);
    q->bytes = (int8_t *)at;
    q->floats = (float *)(void *)(at += s.bytes);
    q->scratch = (float *)(void *)(at += s.floats);
    q->scratch_bytes = (int8_t *)(at + s.scratch);
    return q;
}

void gn_code_query_destroy(gn_code_query *q)
{
    if (!q)
        return;
    free(q->memory);
    free(q);
}

void gn_codec_encode(const gn_codec *c, gn_code_query *scratch, const float *vector, uint8_t *code)
{
    c->ops->encode(c, scratch, vector, code);
}
void gn_codec_prepare(const gn_codec *c, gn_code_query *query, const float *vector)
{
    c->ops->prepare(c, query, vector);
}
void gn_codec_prepare_code(const gn_codec *c, gn_code_query *query, const uint8_t *code)
{
    GN_ASSERT(gn_codec_compares(c));
    c->ops->prepare_code(c, query, code);
}
void gn_codec_measure(const gn_codec *c, const gn_code_query *query, const uint8_t *const *codes, size_t n, float *out)
{
    c->ops->measure(c, query, codes, n, out);
}
float gn_codec_error(const gn_codec *c, const gn_code_query *query, const uint8_t *code, float sigmas)
{
    return c->ops->error(c, query, code, sigmas);
}
