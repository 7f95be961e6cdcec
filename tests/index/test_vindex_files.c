/* The index on disk: clean and unclean stops, replay, damage. */
#include "base/limits.h"
#include "index/segment_format_private.h"
#include "tests/index/vindex_fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const uint64_t NOW = 1u << 30;
enum { DIM = 12 };

static void options(fixture *f)
{
    f->options = (gn_vindex_options){.metric = GN_METRIC_L2, .dimensions = DIM, .tail_rows = 1u << 20};
}

static void build(fixture *f)
{
    gn_error err = {0};
    if (gn_vindex_build(f->index, NULL, NULL, NULL, &err) != GN_OK)
        fail_msg("build: %s", err.message);
}

static void check(fixture *f, const model *m, const float *v, uint64_t scn)
{
    gn_branch_at at = {.branch = 0, .scn = scn};
    for (uint32_t q = 0; q < 10; q++)
        assert_same_as_model(f, m, v + q * 7 * DIM, 30, &at, 1);
}

/* ---- stops ---- */

static void a_clean_stop_keeps_everything(void **state)
{
    fixture *f = *state;
    enum { N = 300 };
    float *v = clustered_vectors(1, 3 * N, DIM, 10);
    model m = {.metric = GN_METRIC_L2, .dimensions = DIM};
    options(f);
    fixture_open(f);
    assert_int_equal(gn_vindex_durable_position(f->index), 0);
    for (int round = 0; round < 6; round++) { /* flat segments gather, graphs are extended in between */
        uint64_t scn = 100 * (uint64_t)(round + 1);
        for (uint32_t i = 0; i < N / 2; i++)
            insert_row(f, &m, (uint32_t)round * N / 2 + i, 0, scn, v + ((uint32_t)round * N / 2 + i) * DIM);
        for (uint32_t i = 0; round && i < 20; i++)
            end_row(f, &m, (uint32_t)(round - 1) * N / 2 + 3 * i, 0, scn);
        if (round % 3 == 2)
            build(f);
        gn_vindex_set_position(f->index, scn);
        fixture_reopen(f, true);
        assert_int_equal(gn_vindex_durable_position(f->index), scn);
        gn_vindex_stats stats;
        gn_vindex_stats_get(f->index, &stats);
        assert_int_equal(stats.tail_vectors, 0); /* nothing to replay */
        for (uint64_t s = 50; s <= scn + 50; s += 50)
            check(f, &m, v, s);
    }
    model_close(&m);
    free(v);
}

/* Replays the model's rows as the owner replays its change log: everything after the durable position. */
static void replay(fixture *f, const model *m, uint64_t to)
{
    char key[16];
    for (uint64_t scn = gn_vindex_durable_position(f->index) + 1; scn <= to; scn++) {
        for (size_t i = 0; i < m->n; i++) {
            const model_row *r = &m->rows[i];
            if (r->begin == scn)
                insert_row(f, NULL, r->id, r->branch, r->begin, r->vector);
            if (r->end == scn)
                gn_vindex_end(f->index, key_of(r->id, key), r->branch, r->end);
        }
    }
}

static void after_a_crash_the_replay_gives_what_there_was(void **state)
{
    fixture *f = *state;
    enum { N = 200 };
    float *v = clustered_vectors(2, 2 * N, DIM, 10);
    model m = {.metric = GN_METRIC_L2, .dimensions = DIM};
    options(f);
    fixture_open(f);
    uint64_t scn = 0;
    for (uint32_t step = 0; step < 12; step++) {
        for (uint32_t i = 0; i < 30; i++) {
            uint32_t id = (step * 17 + i * 5) % N;
            ++scn;
            if (i % 3 != 2)
                end_row(f, &m, id, 0, scn);
            if (i % 3 != 1)
                insert_row(f, &m, id + (i % 3 ? 0 : N * (step + 1)), 0, scn, v + id * DIM);
            if (i % 7 == 0)
                gn_vindex_set_position(f->index, scn);
        }
        switch (step % 4) {
        case 0: /* files know nothing of this step */
            break;
        case 1:
            build(f);
            break;
        case 2:
            assert_int_equal(gn_vindex_checkpoint(f->index, NULL), GN_OK);
            break;
        case 3: /* more after what the files know */
            build(f);
            end_row(f, &m, step, 0, ++scn);
            insert_row(f, &m, step, 0, scn, v + (N + step) * DIM);
        }
        fixture_reopen(f, false);
        replay(f, &m, scn);
        check(f, &m, v, NOW);
        check(f, &m, v, scn / 2);
        replay(f, &m, scn); /* twice changes nothing */
        check(f, &m, v, NOW);
    }
    model_close(&m);
    free(v);
}

static void a_checkpoint_moves_the_position_and_frees_the_tail(void **state)
{
    fixture *f = *state;
    enum { N = 500 };
    float *v = clustered_vectors(3, N, DIM, 10);
    model m = {.metric = GN_METRIC_L2, .dimensions = DIM};
    gn_account account;
    gn_account_init(&account, NULL, "test", 0);
    options(f);
    f->options.account = &account;
    fixture_open(f);
    for (uint32_t i = 0; i < N; i++)
        insert_row(f, &m, i, 0, 10 + i, v + i * DIM);
    gn_vindex_set_position(f->index, 10 + N);
    size_t before = gn_account_used(&account);
    assert_int_equal(gn_vindex_durable_position(f->index), 0);
    assert_int_equal(gn_vindex_checkpoint(f->index, NULL), GN_OK);
    assert_int_equal(gn_vindex_durable_position(f->index), 10 + N);
    assert_true(gn_account_used(&account) < before);
    check(f, &m, v, NOW);
    end_row(f, &m, 3, 0, 2000); /* an end in a flat segment */
    build(f);
    check(f, &m, v, NOW);
    fixture_close(f, true);
    gn_account_close(&account);
    model_close(&m);
    free(v);
}

/* ---- damage ---- */

static size_t file_names(const char *dir, char names[][300], size_t max)
{
    size_t n = 0;
    DIR *d = opendir(dir);
    struct dirent *e;
    while (d && (e = readdir(d)) && n < max) {
        if (e->d_name[0] != '.')
            snprintf(names[n++], 300, "%s/%s", dir, e->d_name);
    }
    closedir(d);
    return n;
}

static void flip(const char *path, off_t at, uint8_t mask)
{
    uint8_t byte;
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= mask;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

static void make_index(fixture *f, float *v, uint32_t n)
{
    options(f);
    fixture_open(f);
    for (uint32_t i = 0; i < n; i++)
        insert_row(f, NULL, i, i % 2, 10 + i, v + i * DIM); /* two branches, so that every section is there */
    gn_vindex_set_position(f->index, 10 + n);
    build(f);
    fixture_close(f, true);
}

/* Every byte of a small file is checked when it is opened. */
static void a_flipped_bit_anywhere_in_a_small_index_is_found_at_open(void **state)
{
    fixture *f = *state;
    enum { N = 300 };
    float *v = clustered_vectors(4, N, DIM, 10);
    make_index(f, v, N);
    char names[8][300];
    size_t n = file_names(f->dir, names, 8);
    assert_int_equal(n, 2); /* manifest and segment */
    for (size_t i = 0; i < n; i++) {
        struct stat st;
        assert_int_equal(stat(names[i], &st), 0);
        for (off_t at = 0; at < st.st_size; at += st.st_size < 4096 ? 1 : 61) {
            flip(names[i], at, 0x10);
            gn_error err = {0};
            gn_code code = gn_vindex_open(f->world, f->dir, &f->options, &f->index, &err);
            if (code == GN_OK) { /* padding between sections belongs to nobody */
                assert_int_equal(gn_vindex_verify(f->index, NULL, NULL), GN_OK);
                fixture_close(f, false);
            } else {
                assert_int_equal(code, GN_INDEX_CORRUPT);
                assert_true(strlen(err.message) > 0);
            }
            flip(names[i], at, 0x10);
        }
        fixture_open(f);
        gn_branch_at at = {.branch = 0, .scn = NOW};
        result r[10];
        assert_int_equal(search(f, v, 10, 0, false, &at, 1, 0, r), 10);
        fixture_close(f, false);
    }
    free(v);
}

static void a_file_cut_short_is_found_at_open(void **state)
{
    fixture *f = *state;
    enum { N = 200 };
    float *v = clustered_vectors(5, N, DIM, 10);
    make_index(f, v, N);
    char names[8][300];
    size_t n = file_names(f->dir, names, 8);
    for (size_t i = 0; i < n; i++) {
        struct stat st;
        assert_int_equal(stat(names[i], &st), 0);
        char *copy = malloc((size_t)st.st_size);
        int fd = open(names[i], O_RDWR);
        assert_int_equal(read(fd, copy, (size_t)st.st_size), st.st_size);
        for (off_t len = 0; len < st.st_size; len += st.st_size / 20 + 1) {
            assert_int_equal(ftruncate(fd, len), 0);
            gn_error err = {0};
            assert_int_equal(gn_vindex_open(f->world, f->dir, &f->options, &f->index, &err), GN_INDEX_CORRUPT);
            assert_int_equal(pwrite(fd, copy, (size_t)st.st_size, 0), st.st_size);
        }
        close(fd);
        free(copy);
    }
    fixture_open(f);
    fixture_close(f, false);
    for (size_t i = 0; i < n; i++) { /* a missing segment is damage, a missing manifest an empty index */
        if (strstr(names[i], ".seg"))
            assert_int_equal(unlink(names[i]), 0);
    }
    assert_int_equal(gn_vindex_open(f->world, f->dir, &f->options, &f->index, NULL), GN_INDEX_CORRUPT);
    assert_int_equal(gn_vindex_wipe(f->dir, NULL), GN_OK);
    fixture_open(f);
    assert_int_equal(gn_vindex_durable_position(f->index), 0);
    free(v);
}

/* A large section is not read at open; a walk over its damage answers an error or vectors that are there, never reads
 * beyond the file, and the verification finds it. */
static void damage_in_a_large_section_is_found_by_verification(void **state)
{
    fixture *f = *state;
    enum { N = 12000 };
    float *v = clustered_vectors(6, N, DIM, 10);
    make_index(f, v, N);
    char names[8][300];
    size_t n = file_names(f->dir, names, 8), seg = strstr(names[0], ".seg") ? 0 : 1;
    assert_int_equal(n, 2);
    gn_segment_header header;
    uint32_t large = 0;
    int fd = open(names[seg], O_RDONLY);
    assert_int_equal(read(fd, &header, sizeof header), (ssize_t)sizeof header);
    close(fd);
    for (uint32_t i = 0; i < header.n_sections; i++) {
        gn_section s = header.section[i];
        if (s.bytes <= 1 << 20)
            continue;
        large++;
        for (uint64_t at = 3; at < s.bytes; at += 1000) /* high bytes: numbers out of all range */
            flip(names[seg], (off_t)(s.offset + at - at % 4 + 3), 0x41);
        fixture_open(f);
        gn_arena *arena = gn_arena_create(NULL);
        gn_vview *view = gn_vview_acquire(f->index);
        for (uint32_t q = 0; q < 200; q++) {
            gn_neighbor *found;
            size_t n_found;
            gn_branch_at chain[] = {{.branch = q % 2, .scn = NOW}, {.branch = 1 - q % 2, .scn = NOW}};
            gn_vsearch sr = {
                .query = v + q * DIM, .k = 10, .exact = q % 10 == 0, .chain = chain, .n_chain = 2, .arena = arena};
            gn_code code = gn_vview_search(view, &sr, &found, &n_found, NULL, NULL);
            assert_true(code == GN_OK || code == GN_INDEX_CORRUPT);
        }
        gn_vview_release(view);
        gn_arena_destroy(arena);
        char key[16];
        for (uint32_t id = 0; id < N; id += 100)
            gn_vindex_end(f->index, key_of(id, key), id % 2, NOW);
        gn_error err = {0};
        assert_int_equal(gn_vindex_verify(f->index, NULL, &err), GN_INDEX_CORRUPT);
        gn_branch_at now = {.branch = 0, .scn = NOW};
        arena = gn_arena_create(NULL);
        view = gn_vview_acquire(f->index);
        gn_neighbor *found;
        size_t n_found;
        gn_vsearch sr = {.query = v, .k = 10, .chain = &now, .n_chain = 1, .arena = arena};
        assert_int_equal(gn_vview_search(view, &sr, &found, &n_found, NULL, &err), GN_INDEX_CORRUPT);
        gn_vview_release(view);
        gn_arena_destroy(arena);
        fixture_close(f, false);
        for (uint64_t at = 3; at < s.bytes; at += 1000)
            flip(names[seg], (off_t)(s.offset + at - at % 4 + 3), 0x41);
    }
    assert_in_range(large, 1, 3);
    fixture_open(f);
    assert_int_equal(gn_vindex_verify(f->index, NULL, NULL), GN_OK);
    free(v);
}

static void what_a_crash_left_behind_is_swept(void **state)
{
    fixture *f = *state;
    float *v = clustered_vectors(7, 100, DIM, 10);
    make_index(f, v, 100);
    static const char *const left[] = {"00000000000000ff.seg", "0000000000000100.seg.tmp", "MANIFEST.tmp"};
    for (size_t i = 0; i < 3; i++) {
        char path[400];
        snprintf(path, sizeof path, "%s/%s", f->dir, left[i]);
        int fd = open(path, O_CREAT | O_WRONLY, 0600);
        assert_int_equal(write(fd, "x", 1), 1);
        close(fd);
    }
    fixture_open(f);
    char names[8][300];
    assert_int_equal(file_names(f->dir, names, 8), 2);
    free(v);
}

/* ---- halves ---- */

static void open_cosine(fixture *f, bool halves)
{
    f->options = (gn_vindex_options){
        .metric = GN_METRIC_COSINE, .dimensions = DIM, .m = 4, .tail_rows = 1u << 20, .halves = halves};
    fixture_open(f);
}

static uint64_t bytes_a_vector(fixture *f)
{
    gn_vindex_stats stats;
    gn_vindex_stats_get(f->index, &stats);
    assert_int_equal(stats.tail_vectors, 0);
    return stats.vector_bytes / stats.vectors;
}

/* As a program did that knew no halves. */
static void files_of_floats_go_on_as_floats(void **state)
{
    fixture *f = *state;
    enum { N = 1500 };
    float *v = clustered_vectors(12, 2 * N, DIM, 10);
    model m = {.metric = GN_METRIC_COSINE, .dimensions = DIM};
    round_to_halves(v, (size_t)2 * N * DIM);
    open_cosine(f, false);
    for (uint32_t i = 0; i < N; i++)
        insert_row(f, &m, i, 0, 10, v + i * DIM);
    build(f);
    fixture_close(f, true);
    open_cosine(f, true);
    check(f, &m, v, NOW);
    for (uint32_t i = N; i < 2 * N; i++)
        insert_row(f, &m, i, 0, 20, v + i * DIM);
    check(f, &m, v, NOW);
    build(f);
    check(f, &m, v, NOW);
    assert_int_equal(bytes_a_vector(f), 16 * sizeof(float));
    fixture_reopen(f, true);
    assert_int_equal(gn_vindex_verify(f->index, NULL, NULL), GN_OK);
    check(f, &m, v, NOW);
    fixture_close(f, true);
    model_close(&m);
    free(v);
}

/* An owner whose column has become another type: it makes the index anew. */
static void files_of_halves_are_refused_where_there_are_none(void **state)
{
    fixture *f = *state;
    float *v = clustered_vectors(13, 300, DIM, 10);
    gn_error err = {0};
    open_cosine(f, true);
    for (uint32_t i = 0; i < 300; i++)
        insert_row(f, NULL, i, 0, 10, v + i * DIM);
    build(f);
    assert_int_equal(bytes_a_vector(f), 16 * sizeof(uint16_t) + 32);
    fixture_close(f, true);
    f->options.halves = false;
    assert_int_equal(gn_vindex_open(f->world, f->dir, &f->options, &f->index, &err), GN_INDEX_CORRUPT);
    free(v);
}

static void what_no_half_holds_is_refused(void **state)
{
    fixture *f = *state;
    float large[DIM] = {1, 65520}, tiny[DIM] = {1e-9f}; /* which is a zero vector, as halves */
    gn_branch_at now = {.branch = 0, .scn = NOW};
    result found[2];
    open_cosine(f, true);
    assert_int_equal(gn_vindex_insert(f->index, gn_bytes_str("a"), 0, 10, large, NULL), GN_BAD_VECTOR);
    large[1] = 65504;
    insert_row(f, NULL, 1, 0, 10, large);
    insert_row(f, NULL, 2, 0, 10, tiny);
    assert_int_equal(search(f, large, 2, 0, false, &now, 1, 0, found), 1);
    assert_true(found[0].id == 1 && found[0].distance < 1e-6f);
}

/* ---- budget and cancel ---- */

static bool cancel_at(void *ctx, uint64_t done)
{
    (void)ctx;
    return done > 100;
}

static _Atomic bool cancel;
static void cancel_soon(void *ctx, uint64_t done, uint64_t total)
{
    (void)total;
    if (cancel_at(ctx, done))
        cancel = true;
}

static void a_canceled_build_leaves_nothing_behind(void **state)
{
    fixture *f = *state;
    enum { N = 3000 };
    float *v = clustered_vectors(8, N, DIM, 10);
    model m = {.metric = GN_METRIC_L2, .dimensions = DIM};
    gn_account account;
    gn_account_init(&account, NULL, "test", 0);
    options(f);
    f->options.account = &account;
    fixture_open(f);
    for (uint32_t i = 0; i < N; i++)
        insert_row(f, &m, i, 0, 10 + i, v + i * DIM);
    size_t before = gn_account_used(&account);
    gn_error err = {0};
    cancel = false;
    assert_int_equal(gn_vindex_build(f->index, cancel_soon, NULL, &cancel, &err), GN_CANCELED);
    assert_true(gn_account_used(&account) <= before + 4096); /* at most the next tail's first block */
    char names[8][300];
    assert_int_equal(file_names(f->dir, names, 8), 0);
    check(f, &m, v, NOW);
    end_row(f, &m, 7, 0, 5000);
    insert_row(f, &m, N, 0, 5001, v);
    build(f); /* and later it works */
    gn_vindex_stats stats;
    gn_vindex_stats_get(f->index, &stats);
    assert_int_equal(stats.segments, 1);
    assert_int_equal(stats.tail_vectors, 0);
    check(f, &m, v, NOW);
    fixture_close(f, false);
    gn_account_close(&account);
    model_close(&m);
    free(v);
}

static void with_too_small_a_budget_the_vectors_stay_searchable(void **state)
{
    fixture *f = *state;
    enum { N = 4000 };
    float *v = clustered_vectors(9, 2 * N, DIM, 10);
    model m = {.metric = GN_METRIC_L2, .dimensions = DIM};
    gn_account account;
    gn_account_init(&account, NULL, "test", 300 << 10);
    options(f);
    f->options.account = &account;
    fixture_open(f);
    uint32_t i = 0;
    gn_code code = GN_OK;
    gn_error err = {0};
    char key[16];
    for (; i < N && code == GN_OK; i++) {
        code = gn_vindex_insert(f->index, key_of(i, key), 0, 10 + i, v + i * DIM, &err);
        if (code == GN_OK) {
            m.rows = realloc(m.rows, (m.n + 1) * sizeof *m.rows);
            m.rows[m.n++] = (model_row){.id = i, .begin = 10 + i, .end = OPEN_END, .vector = v + i * DIM};
        }
    }
    assert_int_equal(code, GN_OUT_OF_MEMORY);
    assert_in_range(m.n, 1000, N - 1);
    check(f, &m, v, NOW);
    build(f); /* no memory for a graph: a flat segment, and the tail's memory is free again */
    check(f, &m, v, NOW);
    m.cap = m.n;
    for (uint32_t j = 0; j < 1000; j++)
        insert_row(f, &m, N + j, 0, 10 + N + j, v + (N + j) * DIM);
    check(f, &m, v, NOW);
    account.limit = 0; /* the budget is raised */
    build(f);
    gn_vindex_stats stats;
    gn_vindex_stats_get(f->index, &stats);
    assert_int_equal(stats.segments, 1);
    check(f, &m, v, NOW);
    fixture_close(f, false);
    gn_account_close(&account);
    model_close(&m);
    free(v);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_clean_stop_keeps_everything),
        TEST(after_a_crash_the_replay_gives_what_there_was),
        TEST(a_checkpoint_moves_the_position_and_frees_the_tail),
        TEST(a_flipped_bit_anywhere_in_a_small_index_is_found_at_open),
        TEST(a_file_cut_short_is_found_at_open),
        TEST(damage_in_a_large_section_is_found_by_verification),
        TEST(what_a_crash_left_behind_is_swept),
        TEST(files_of_floats_go_on_as_floats),
        TEST(files_of_halves_are_refused_where_there_are_none),
        TEST(what_no_half_holds_is_refused),
        TEST(a_canceled_build_leaves_nothing_behind),
        TEST(with_too_small_a_budget_the_vectors_stay_searchable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
