/* Segment files by themselves: the version before codes, and codes that do not fit their quantizer. */
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

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(the_first_version_of_the_format_still_opens),
        TEST(only_halves_need_the_latest_version),
        TEST(codes_that_do_not_fit_are_refused),
        TEST(a_flipped_bit_in_the_codes_is_detected),
        TEST(a_build_makes_do_with_the_budget_that_there_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
