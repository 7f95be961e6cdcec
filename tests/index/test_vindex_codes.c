/* Recall of every kind of codes by every metric after everything that may happen to an index, in one life of each: what
 * it has just gone through is looked for with the same queries, and must be found as well as before. */
#include "tests/index/vindex_fixture.h"

#include <stdlib.h>
#include <string.h>

enum { N = 1100, DIM = 96, BITS = 200, QUERIES = 10, EF = 40, BRANCH = 7 };

typedef struct coding {
    gn_code_kind kind;
    uint32_t bits, centroids;
    bool rotate;
    double good; /* recall@10 at EF, at least */
    bool halves; /* the vectors are of float16 */
} coding;

static const coding codings[] = {
    {GN_CODES_AUTO, 0, 0, false, 0.96},      {GN_CODES_FLOAT32, 0, 0, false, 0.98},
    {GN_CODES_FLOAT16, 0, 0, false, 0.98},   {GN_CODES_BFLOAT16, 0, 0, false, 0.98},
    {GN_CODES_SQ8, 0, 0, false, 0.98},       {GN_CODES_SQ4, 0, 0, false, 0.98},
    {GN_CODES_REDUCED, 0, 0, false, 0.98},   {GN_CODES_RABITQ, 1, 0, false, 0.97},
    {GN_CODES_RABITQ, 2, 0, false, 0.98},    {GN_CODES_RABITQ, 3, 0, false, 0.98},
    {GN_CODES_RABITQ, 4, 0, false, 0.98},    {GN_CODES_BINARY, 0, 0, false, 0.80},
    {GN_CODES_PRODUCT, 0, 256, false, 0.96}, {GN_CODES_PRODUCT, 0, 16, true, 0.96},
};
enum { CODINGS = sizeof codings / sizeof codings[0] };

/* The vectors themselves, and kinds of codes that are made of them in different ways. */
static const coding halved_codings[] = {
    {GN_CODES_FLOAT32, .good = 0.98, .halves = true},         {GN_CODES_SQ8, .good = 0.98, .halves = true},
    {GN_CODES_REDUCED, .good = 0.98, .halves = true},         {GN_CODES_RABITQ, 1, .good = 0.97, .halves = true},
    {GN_CODES_PRODUCT, 0, 256, .good = 0.96, .halves = true},
};
enum { HALVED_CODINGS = sizeof halved_codings / sizeof halved_codings[0] };

static void open_coded(fixture *f, const coding *c, gn_metric_kind metric, uint32_t dimensions)
{
    f->options = (gn_vindex_options){.metric = metric,
                                     .dimensions = dimensions,
                                     .seed = 1,
                                     .tail_rows = 1u << 20,
                                     .codes = c->kind,
                                     .code_bits = c->bits,
                                     .pq_centroids = c->centroids,
                                     .pq_rotate = c->rotate,
                                     .halves = c->halves};
    fixture_open(f);
}

/* ---- a life ---- */

typedef struct life {
    fixture *f;
    const coding *coding;
    model model;
    const float *vectors; /* 2 N, then QUERIES */
    size_t words;
} life;

static const float *vector_at(const life *l, size_t i)
{
    return l->vectors + i * l->words;
}

static void build_anew(life *l)
{
    gn_vindex_stats stats;
    for (uint32_t i = 0; i < N; i++)
        insert_row(l->f, &l->model, i, 0, 10, vector_at(l, i));
    fixture_build(l->f);
    gn_vindex_stats_get(l->f->index, &stats);
    assert_int_equal(stats.segments, 1);
    if (l->coding->kind != GN_CODES_AUTO)
        assert_int_equal(stats.codes, l->coding->kind);
}

/* They stay in the tail, beside the segment. */
static void insert_more(life *l)
{
    for (uint32_t i = N; i < N + 150; i++)
        insert_row(l->f, &l->model, i, 0, 15, vector_at(l, i));
}

static void update_a_fifth(life *l)
{
    for (uint32_t i = 0; i < N; i += 5) {
        end_row(l->f, &l->model, i, 0, 20);
        insert_row(l->f, &l->model, i, 0, 20, vector_at(l, N + i));
    }
}

/* Extends the graph. */
static void merge(life *l)
{
    fixture_build(l->f);
}

static void delete_two_fifths(life *l)
{
    for (uint32_t i = 0; i < N; i++) {
        if (i % 5 && i % 2)
            end_row(l->f, &l->model, i, 0, 30);
    }
    gn_vindex_set_position(l->f->index, 30);
}

static void reopen(life *l)
{
    fixture_reopen(l->f, true);
    assert_int_equal(gn_vindex_durable_position(l->f->index), 30);
}

static void after_position(life *l, model *m)
{
    for (uint32_t i = 0; i < 60; i += 10)
        end_row(l->f, m, i, 0, 35);
    for (uint32_t i = N + 150; i < N + 200; i++)
        insert_row(l->f, m, i, 0, 35, vector_at(l, i));
}

/* What came after the last durable position is lost, and replayed, twice. */
static void crash(life *l)
{
    after_position(l, &l->model);
    fixture_reopen(l->f, false);
    assert_int_equal(gn_vindex_durable_position(l->f->index), 30);
    after_position(l, NULL);
    after_position(l, NULL);
    gn_vindex_set_position(l->f->index, 35);
}

/* The dead two fifths are more than a graph is bridged over: it is made anew. */
static void rewrite(life *l)
{
    gn_vindex_set_horizon(l->f->index, 35);
    fixture_build(l->f);
}

/* A branch from 40 on changes, adds and hides; so does the trunk, which the branch does not see. */
static void fork_off(life *l)
{
    for (uint32_t i = 0; i < 100; i += 2)
        insert_row(l->f, &l->model, i, BRANCH, 45, vector_at(l, N + i + 1));
    for (uint32_t i = 100; i < 140; i += 2)
        hide_row(l->f, &l->model, i, BRANCH, 45);
    for (uint32_t i = 0; i < 200; i += 5) {
        end_row(l->f, &l->model, i, 0, 50);
        insert_row(l->f, &l->model, i, 0, 50, vector_at(l, N + i + 2));
    }
}

/* What happens, and what is asked then: which rows match, by which reader. */
typedef struct chapter {
    const char *name;
    void (*happens)(life *);
    uint64_t scn;
    uint32_t modulo;
    bool in_branch;
} chapter;

static const chapter chapters[] = {
    {"built", build_anew, 10, 0, false},
    {"a third matches", NULL, 10, 3, false},
    {"a hundredth matches", NULL, 10, 100, false},
    {"inserted", insert_more, 15, 0, false},
    {"updated", update_a_fifth, 20, 0, false},
    {"merged", merge, 20, 0, false},
    {"merged, as of before the update", NULL, 16, 0, false},
    {"merged, as of before the update, a third matches", NULL, 16, 3, false},
    {"deleted", delete_two_fifths, 30, 0, false},
    {"deleted, as of before", NULL, 29, 0, false},
    {"reopened", reopen, 30, 0, false},
    {"crashed and replayed", crash, 35, 0, false},
    {"rewritten", rewrite, 35, 0, false},
    {"forked, the trunk", fork_off, 60, 0, false},
    {"forked, the branch", NULL, 60, 0, true},
    {"forked and merged, the trunk", merge, 60, 0, false},
    {"forked and merged, the branch", NULL, 60, 0, true},
    {"forked and merged, the branch, a third matches", NULL, 60, 3, true},
    {"forked and merged, the branch as of before it changed", NULL, 44, 0, true},
};

static void ask(life *l, const chapter *c)
{
    const gn_branch_at chain[2] = {{.branch = BRANCH, .scn = c->scn}, {.branch = 0, .scn = 40}};
    const gn_branch_at trunk = {.branch = 0, .scn = c->scn};
    double r = recall_in(l->f, &l->model, vector_at(l, (size_t)2 * N), QUERIES, 10, EF, c->in_branch ? chain : &trunk,
                         c->in_branch ? 2 : 1, c->modulo);
    if (r < l->coding->good || getenv("SHOW"))
        print_message("%-8s %u bits %3u centroids, metric %d, %s: recall %.3f\n", gn_code_kind_name(l->coding->kind),
                      l->coding->bits, l->coding->centroids, (int)l->model.metric, c->name, r);
    assert_true(r >= l->coding->good);
}

static void live(fixture *f, const coding *c, gn_metric_kind metric, uint32_t dimensions, const float *vectors)
{
    life l = {.f = f,
              .coding = c,
              .model = {.metric = metric, .dimensions = dimensions},
              .vectors = vectors,
              .words = vector_words(metric, dimensions)};
    open_coded(f, c, metric, dimensions);
    for (size_t i = 0; i < sizeof chapters / sizeof chapters[0]; i++) {
        if (chapters[i].happens)
            chapters[i].happens(&l);
        ask(&l, &chapters[i]);
    }
    fixture_close(f, false);
    assert_int_equal(gn_vindex_wipe(f->dir, NULL), GN_OK);
    model_close(&l.model);
}

static void every_kind_lives(fixture *f, gn_metric_kind metric)
{
    float *v = skewed_vectors(17, 2 * N + QUERIES, DIM);
    for (size_t i = 0; i < CODINGS; i++)
        live(f, &codings[i], metric, DIM, v);
    free(v);
}

/* As every_kind_lives: the model has the same halves, so distances are as exact as any. */
static void halves_live(fixture *f, gn_metric_kind metric)
{
    size_t n = 2 * N + QUERIES;
    float *v = skewed_vectors(23, n, DIM);
    round_to_halves(v, n * DIM);
    for (size_t i = 0; i < (metric == GN_METRIC_L1 ? 1 : HALVED_CODINGS); i++)
        live(f, &halved_codings[i], metric, DIM, v);
    free(v);
}

static void halves_live_with_l2_and_l1(void **state)
{
    halves_live(*state, GN_METRIC_L2);
    halves_live(*state, GN_METRIC_L1);
}

static void halves_live_with_inner_products(void **state)
{
    halves_live(*state, GN_METRIC_IP);
}

static void halves_live_with_cosine(void **state)
{
    halves_live(*state, GN_METRIC_COSINE);
}

static void every_kind_lives_with_l2(void **state)
{
    every_kind_lives(*state, GN_METRIC_L2);
}

static void every_kind_lives_with_inner_products(void **state)
{
    every_kind_lives(*state, GN_METRIC_IP);
}

static void every_kind_lives_with_cosine(void **state)
{
    every_kind_lives(*state, GN_METRIC_COSINE);
}

/* Has no codes: the vectors themselves are walked over. */
static void plain_vectors_live_with_l1(void **state)
{
    float *v = skewed_vectors(19, 2 * N + QUERIES, DIM);
    live(*state, &codings[0], GN_METRIC_L1, DIM, v);
    free(v);
}

static void bits_live_with_hamming_and_jaccard(void **state)
{
    float *v = bit_vectors(5, 2 * N + QUERIES, BITS);
    live(*state, &codings[0], GN_METRIC_HAMMING, BITS, v);
    live(*state, &codings[0], GN_METRIC_JACCARD, BITS, v);
    free(v);
}

/* ---- the edges ---- */

static void vectors_that_are_all_equal_are_found(void **state)
{
    fixture *f = *state;
    float same[DIM];
    for (uint32_t d = 0; d < DIM; d++)
        same[d] = 2;
    for (size_t i = 0; i < CODINGS; i++) {
        result found[10];
        gn_branch_at at = {.scn = 10};
        open_coded(f, &codings[i], GN_METRIC_L2, DIM);
        for (uint32_t id = 0; id < 1100; id++)
            insert_row(f, NULL, id, 0, 10, same);
        fixture_build(f);
        assert_int_equal(search(f, same, 10, 20, false, &at, 1, 0, found), 10);
        assert_true(found[9].distance == 0);
        fixture_close(f, false);
        assert_int_equal(gn_vindex_wipe(f->dir, NULL), GN_OK);
    }
}

static void impossible_codes_are_refused(void **state)
{
    fixture *f = *state;
    gn_error err = {0};
    gn_vindex *index = NULL;
    const gn_vindex_options bad[] = {
        {.codes = GN_CODES_KNOWN},
        {.codes = GN_CODES_RABITQ, .code_bits = 9},
        {.codes = GN_CODES_PRODUCT, .pq_subquantizers = 7},
        {.codes = GN_CODES_PRODUCT, .pq_centroids = 1000},
        {.codes = GN_CODES_SQ8, .metric = GN_METRIC_HAMMING}, /* bits have no codes */
        {.codes = GN_CODES_SQ8, .metric = GN_METRIC_JACCARD},
        {.halves = true, .metric = GN_METRIC_HAMMING},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        gn_vindex_options o = bad[i];
        o.metric = o.metric ? o.metric : GN_METRIC_L2;
        o.dimensions = DIM;
        assert_int_equal(gn_vindex_open(f->world, f->dir, &o, &index, &err), GN_INVALID_PARAMETER);
    }
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(every_kind_lives_with_l2),
        TEST(every_kind_lives_with_inner_products),
        TEST(every_kind_lives_with_cosine),
        TEST(plain_vectors_live_with_l1),
        TEST(bits_live_with_hamming_and_jaccard),
        TEST(halves_live_with_l2_and_l1),
        TEST(halves_live_with_inner_products),
        TEST(halves_live_with_cosine),
        TEST(vectors_that_are_all_equal_are_found),
        TEST(impossible_codes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
