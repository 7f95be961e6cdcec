/* Segment files by themselves: the version before codes, and codes that do not fit their quantizer. */
#include "index/merge_private.h"
#include "index/segment_private.h"
#include "index/vector_index.h"
#include "tests/index/vindex_fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

enum { N = 1200, DIM = 80 };

/* The path of the only segment. */
static void segment_path(const fixture *f, char path[512])
{
    DIR *d = opendir(f->dir);
    struct dirent *e;
    path[0] = 0;
    while ((e = readdir(d))) {
        if (strstr(e->d_name, ".seg"))
            snprintf(path, 512, "%s/%s", f->dir, e->d_name);
    }
    closedir(d);
    assert_true(path[0] != 0);
}

static void fill_and_build(fixture *f, const float *v, char path[512])
{
    fixture_open(f);
    for (uint32_t i = 0; i < N; i++)
        insert_row(f, NULL, i, 0, 10, v + (size_t)i * DIM);
    assert_int_equal(gn_vindex_build(f->index, NULL, NULL, NULL, NULL), GN_OK);
    segment_path(f, path);
}

static void build_with(fixture *f, gn_code_kind codes, const float *v, char path[512])
{
    f->options = (gn_vindex_options){.metric = GN_METRIC_L2, .dimensions = DIM, .tail_rows = 1u << 20, .codes = codes};
    fill_and_build(f, v, path);
}

static void rewrite_header(const char *path, void (*change)(gn_segment_header *))
{
    gn_segment_header h;
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0 && pread(fd, &h, sizeof h, 0) == (ssize_t)sizeof h);
    change(&h);
    h.checksum = XXH3_64bits(&h, offsetof(gn_segment_header, checksum));
    assert_true(pwrite(fd, &h, sizeof h, 0) == (ssize_t)sizeof h);
    close(fd);
}

static void make_first_version(gn_segment_header *h)
{
    h->version = 1;
    h->code_stride = 0;
    for (uint32_t i = 0; i < h->n_sections; i++) {
        if (h->section[i].kind == GN_SECTION_CALIBRATION)
            h->section[i].kind = 999; /* unknown to that version, as anything would be */
    }
}

static void the_first_version_of_the_format_still_opens(void **state)
{
    fixture *f = *state;
    char path[512];
    float *v = clustered_vectors(3, N + 1, DIM, 12);
    build_with(f, GN_CODES_FLOAT32, v, path);
    rewrite_header(path, make_first_version);
    gn_segment *s;
    gn_error err = {0};
    assert_int_equal(gn_segment_open(path, 1, NULL, &s, &err), GN_OK);
    gn_candidate best[80];
    gn_segment_query q = {
        .vector = gn_segment_vector(s, 17), .k = 1, .ef = 40, .hidden = GN_NO_LINK, .bound = INFINITY, .best = best};
    assert_int_equal(gn_segment_search(s, &q, &err), GN_OK);
    bool found = false;
    for (size_t i = 0; i < q.n_best; i++)
        found |= best[i].id == 17 && best[i].distance == 0;
    assert_true(found);
    gn_segment_unref(s);
    free(v);
}

static void only_halves_need_the_latest_version(void **state)
{
    fixture *f = *state;
    float *v = clustered_vectors(3, N, DIM, 12);
    for (int halves = 0; halves < 2; halves++) {
        char path[512];
        gn_segment *s = NULL;
        f->options =
            (gn_vindex_options){.metric = GN_METRIC_COSINE, .dimensions = DIM, .tail_rows = 1u << 20, .halves = halves};
        fill_and_build(f, v, path);
        assert_int_equal(gn_segment_open(path, 1, NULL, &s, NULL), GN_OK);
        assert_int_equal(s->header->version, halves ? 3 : 2);
        assert_int_equal(s->header->vectors, halves ? GN_VECTORS_FLOAT16 : GN_VECTORS_FLOAT32);
        gn_segment_unref(s);
        fixture_close(f, false);
        assert_int_equal(gn_vindex_wipe(f->dir, NULL), GN_OK);
    }
    free(v);
}

static void claim_other_codes(gn_segment_header *h)
{
    h->codes = GN_CODES_SQ4;
}
static void claim_another_stride(gn_segment_header *h)
{
    h->code_stride += 64;
}
static void claim_the_first_version(gn_segment_header *h)
{
    h->version = 1;
}
static void claim_a_later_version(gn_segment_header *h)
{
    h->version = 4;
}
static void claim_vectors_of_no_kind(gn_segment_header *h)
{
    h->version = 3;
    h->vectors = 2;
}
static void claim_halves(gn_segment_header *h)
{
    h->version = 3;
    h->vectors = GN_VECTORS_FLOAT16;
}
static void claim_halves_before_there_were_any(gn_segment_header *h)
{
    h->vectors = GN_VECTORS_FLOAT16;
}
static void lose_the_quantizer(gn_segment_header *h)
{
    for (uint32_t i = 0; i < h->n_sections; i++) {
        if (h->section[i].kind == GN_SECTION_QUANTIZER)
            h->section[i].kind = 999;
    }
}

static void codes_that_do_not_fit_are_refused(void **state)
{
    fixture *f = *state;
    static const struct {
        void (*change)(gn_segment_header *);
        gn_code code;
    } cases[] = {
        {claim_other_codes, GN_INDEX_CORRUPT},  {claim_another_stride, GN_INDEX_CORRUPT},
        {claim_the_first_version, GN_FEATURE},  {claim_a_later_version, GN_FEATURE},
        {lose_the_quantizer, GN_INDEX_CORRUPT}, {claim_vectors_of_no_kind, GN_FEATURE},
        {claim_halves, GN_INDEX_CORRUPT},       {claim_halves_before_there_were_any, GN_INDEX_CORRUPT},
    };
    float *v = clustered_vectors(3, N, DIM, 12);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char path[512];
        gn_segment *s = NULL;
        build_with(f, GN_CODES_SQ8, v, path);
        rewrite_header(path, cases[i].change);
        assert_int_equal(gn_segment_open(path, 1, NULL, &s, NULL), cases[i].code);
        fixture_close(f, false);
        assert_int_equal(gn_vindex_wipe(f->dir, NULL), GN_OK);
    }
    free(v);
}

static void a_flipped_bit_in_the_codes_is_detected(void **state)
{
    fixture *f = *state;
    char path[512];
    float *v = clustered_vectors(3, N, DIM, 12);
    build_with(f, GN_CODES_RABITQ, v, path);
    gn_segment_header h;
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0 && pread(fd, &h, sizeof h, 0) == (ssize_t)sizeof h);
    for (uint32_t i = 0; i < h.n_sections; i++) {
        if (h.section[i].kind != GN_SECTION_CODES && h.section[i].kind != GN_SECTION_QUANTIZER &&
            h.section[i].kind != GN_SECTION_CALIBRATION)
            continue;
        gn_segment *s = NULL;
        uint8_t byte;
        off_t at = (off_t)(h.section[i].offset + h.section[i].bytes / 2);
        assert_true(pread(fd, &byte, 1, at) == 1);
        byte ^= 4;
        assert_true(pwrite(fd, &byte, 1, at) == 1);
        assert_int_equal(gn_segment_open(path, 1, NULL, &s, NULL), GN_INDEX_CORRUPT);
        byte ^= 4;
        assert_true(pwrite(fd, &byte, 1, at) == 1);
    }
    close(fd);
    free(v);
}

/* From no room for a graph, over room for one over vectors, to room for codes and training: every build succeeds, and
 * nothing stays charged. */
static void a_build_makes_do_with_the_budget_that_there_is(void **state)
{
    fixture *f = *state;
    float *v = clustered_vectors(3, N + 20, DIM, 12);
    bool flat = false, coded = false;
    for (size_t more = 0; more <= (8u << 20); more = more ? more * 3 / 2 : 64 << 10) {
        char path[512];
        gn_account account;
        gn_segment *s = NULL;
        gn_account_init(&account, NULL, "test", 0);
        f->options = (gn_vindex_options){.metric = GN_METRIC_L2,
                                         .dimensions = DIM,
                                         .tail_rows = 1u << 20,
                                         .codes = GN_CODES_SQ4,
                                         .account = &account};
        fixture_open(f);
        for (uint32_t i = 0; i < N; i++)
            insert_row(f, NULL, i, 0, 10, v + (size_t)i * DIM);
        account.limit = gn_account_used(&account) + more;
        assert_int_equal(gn_vindex_build(f->index, NULL, NULL, NULL, NULL), GN_OK);
        segment_path(f, path);
        assert_int_equal(gn_segment_open(path, 1, NULL, &s, NULL), GN_OK);
        assert_int_equal(s->header->n_nodes, N);
        flat |= s->header->graph == GN_GRAPH_NONE;
        coded |= s->header->codes == GN_CODES_SQ4;
        gn_segment_unref(s);
        account.limit = 0;
        const gn_branch_at at = {.scn = 10};
        result r;
        assert_int_equal(search(f, v + 5 * DIM, 1, 40, false, &at, 1, 0, &r), 1);
        assert_int_equal(r.id, 5);
        fixture_close(f, false);
        f->options.account = NULL;
        assert_int_equal(gn_vindex_wipe(f->dir, NULL), GN_OK);
        gn_account_close(&account);
    }
    assert_true(flat && coded);
    free(v);
}

/* ---- cells ---- */

static gn_segment *open_only_segment(const fixture *f, char path[512])
{
    gn_segment *s = NULL;
    gn_error err = {0};
    segment_path(f, path);
    if (gn_segment_open(path, 1, NULL, &s, &err) != GN_OK)
        fail_msg("%s", err.message);
    return s;
}

static double square_distance(const float *a, const float *b)
{
    double sum = 0;
    for (size_t i = 0; i < DIM; i++)
        sum += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
    return sum;
}

/* How many centers of the layer above are nearer to a row than its own. */
static uint32_t nearer_centers(const gn_segment *s, uint32_t layer, uint32_t row, uint32_t center)
{
    const float *v = gn_segment_vector(s, row);
    double own = square_distance(v, gn_segment_vector(s, center));
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->header->level_count[layer]; i++)
        n += square_distance(v, gn_segment_vector(s, i)) < own;
    return n;
}

/* Every row is in one cell, and hardly ever is another center nearer. */
static void assert_cells_are_sound(const gn_segment *s)
{
    const gn_segment_header *h = s->header;
    assert_true(h->levels >= 2);
    for (uint32_t layer = 1; layer < h->levels; layer++) {
        uint32_t next = h->level_count[layer], farther = 0;
        assert_non_null(s->cells[layer]);
        for (uint32_t center = 0; center < h->level_count[layer]; center++) {
            gn_rows cell;
            assert_true(gn_segment_cells(s, layer, (gn_rows){center, center + 1}, &cell));
            assert_int_equal(cell.from, next);
            for (uint32_t row = cell.from; row < cell.to; row++)
                farther += nearer_centers(s, layer, row, center) > 0;
            next = cell.to;
        }
        assert_int_equal(next, h->level_count[layer - 1]);
        if (farther * 20 > next)
            fail_msg("layer %u: %u of %u rows are in another cell", layer, farther, next);
    }
}

enum { MORE = 300 };

static void each_row_is_in_the_cell_of_the_nearest_center(void **state)
{
    fixture *f = *state;
    char path[512];
    float *v = clustered_vectors(3, N + MORE, DIM, 12);
    build_with(f, GN_CODES_SQ8, v, path);
    gn_segment *s = open_only_segment(f, path);
    assert_cells_are_sound(s);
    gn_segment_unref(s);
    /* The graph is extended, without some of the centers. */
    for (uint32_t i = 0; i < N; i += 6)
        end_row(f, NULL, i, 0, 20);
    for (uint32_t i = N; i < N + MORE; i++)
        insert_row(f, NULL, i, 0, 20, v + (size_t)i * DIM);
    gn_vindex_set_horizon(f->index, 30);
    gn_vindex_set_position(f->index, 30);
    assert_int_equal(gn_vindex_build(f->index, NULL, NULL, NULL, NULL), GN_OK);
    s = open_only_segment(f, path);
    assert_int_equal(s->header->n_nodes, N - N / 6 + MORE);
    assert_cells_are_sound(s);
    gn_segment_unref(s);
    free(v);
}

static void lose_the_cells(gn_segment_header *h)
{
    for (uint32_t i = 0; i < h->n_sections; i++) {
        if (h->section[i].kind == GN_SECTION_CELLS)
            h->section[i].kind = 999;
    }
}

static bool accept_few(void *ctx, const void *segment, uint32_t row)
{
    (void)ctx, (void)segment;
    return row % 16 == 0;
}

static gn_code search_few(gn_segment *s, const float *query, gn_candidate *best, size_t *n)
{
    gn_segment_query q = {.vector = query,
                          .k = 10,
                          .ef = 20,
                          .hidden = GN_NO_LINK,
                          .bound = INFINITY,
                          .accept = {.fn = accept_few},
                          .share = 1.0F / 16,
                          .scan_cost = 1e9F,
                          .best = best};
    gn_code code = gn_segment_search(s, &q, NULL);
    *n = q.n_best;
    return code;
}

/* Extends a segment by rows that are not in it. */
static gn_code extend(const fixture *f, gn_segment *s, const float *v, const char *path)
{
    gn_tail *tail = NULL;
    gn_merge merge = {.world = f->world,
                      .metric = GN_METRIC_L2,
                      .measure = &s->measure,
                      .dimensions = DIM,
                      .m = s->header->m,
                      .ef_construction = 100,
                      .threads = 1,
                      .codes = {.metric = GN_METRIC_L2, .dimensions = DIM, .kind = GN_CODES_SQ8},
                      .segments = &s,
                      .n_segments = 1,
                      .tails = &tail,
                      .n_tails = 1};
    tail = gn_tail_create(NULL, &s->measure);
    for (uint32_t i = N; i < N + MORE; i++) {
        char key[16];
        gn_row row = {.key = key_of(i, key), .begin = 20, .end = OPEN_END};
        assert_true(gn_tail_append(tail, &row, v + (size_t)i * DIM));
    }
    gn_code code = gn_merge_run(&merge, path, NULL);
    gn_tail_unref(tail);
    return code;
}

/* As files of before are; what they are extended to has cells. */
static void a_segment_without_cells_is_searched_too(void **state)
{
    fixture *f = *state;
    char path[512], merged[600];
    gn_candidate best[40];
    size_t n;
    float *v = clustered_vectors(3, N + MORE, DIM, 12);
    build_with(f, GN_CODES_SQ8, v, path);
    rewrite_header(path, lose_the_cells);
    gn_segment *s = open_only_segment(f, path), *extended = NULL;
    assert_null(s->cells[1]);
    assert_int_equal(search_few(s, gn_segment_vector(s, 32), best, &n), GN_OK);
    assert_true(n >= 10);
    bool found = false;
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(best[i].id % 16, 0);
        found |= best[i].id == 32;
    }
    assert_true(found);
    snprintf(merged, sizeof merged, "%s.merged", path);
    assert_int_equal(extend(f, s, v, merged), GN_OK);
    assert_int_equal(gn_segment_open(merged, 2, NULL, &extended, NULL), GN_OK);
    assert_cells_are_sound(extended);
    gn_segment_unref(extended);
    gn_segment_unref(s);
    unlink(merged);
    free(v);
}

static void misplace_the_cells(const char *path)
{
    gn_segment_header h;
    uint32_t beyond = UINT32_MAX;
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0 && pread(fd, &h, sizeof h, 0) == (ssize_t)sizeof h);
    for (uint32_t i = 0; i < h.n_sections; i++) {
        gn_section *t = &h.section[i];
        if (t->kind != GN_SECTION_CELLS)
            continue;
        uint8_t *cells = malloc(t->bytes);
        for (size_t at = 0; at < t->bytes; at += sizeof beyond)
            memcpy(cells + at, &beyond, sizeof beyond);
        assert_true(pwrite(fd, cells, t->bytes, (off_t)t->offset) == (ssize_t)t->bytes);
        t->checksum = XXH3_64bits(cells, t->bytes);
        free(cells);
    }
    h.checksum = XXH3_64bits(&h, offsetof(gn_segment_header, checksum));
    assert_true(pwrite(fd, &h, sizeof h, 0) == (ssize_t)sizeof h);
    close(fd);
}

static void impossible_cells_are_damage(void **state)
{
    fixture *f = *state;
    char path[512], merged[600];
    float *v = clustered_vectors(3, N + MORE, DIM, 12);
    gn_candidate best[40];
    size_t n;
    build_with(f, GN_CODES_SQ8, v, path);
    misplace_the_cells(path);
    gn_segment *s = open_only_segment(f, path);
    assert_int_equal(search_few(s, v, best, &n), GN_INDEX_CORRUPT);
    assert_true(atomic_load(&s->damaged));
    snprintf(merged, sizeof merged, "%s.merged", path);
    assert_int_equal(extend(f, s, v, merged), GN_INDEX_CORRUPT);
    gn_segment_unref(s);
    free(v);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(the_first_version_of_the_format_still_opens),
        TEST(only_halves_need_the_latest_version),
        TEST(codes_that_do_not_fit_are_refused),
        TEST(a_flipped_bit_in_the_codes_is_detected),
        TEST(a_build_makes_do_with_the_budget_that_there_is),
        TEST(each_row_is_in_the_cell_of_the_nearest_center),
        TEST(a_segment_without_cells_is_searched_too),
        TEST(impossible_cells_are_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
