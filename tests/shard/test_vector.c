/* Vector scans against the rows: under random writes, own writes, crashes, rebuilds, and at past SCNs. */
#include "fixture.h"
#include "index/vector_index.h"

#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { TABLE = GN_FIRST_USER_ID, I_V, IDS = 300 };

static uint64_t rnd_state;
static uint32_t rnd(uint32_t n)
{
    rnd_state = rnd_state * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(rnd_state >> 33) % n;
}

static void random_vector(float *v)
{
    for (int i = 0; i < DIMENSIONS; i++)
        v[i] = (float)rnd(2000) / 1000.0f - 1.0f;
}

typedef struct model {
    bool used[IDS], has[IDS];
    float v[IDS][DIMENSIONS];
} model;

typedef struct hit {
    int64_t id;
    double distance;
} hit;

static int by_distance(const void *a, const void *b)
{
    const hit *x = a, *y = b;
    return x->distance < y->distance ? -1 : x->distance > y->distance;
}

static size_t expected_hits(const model *m, const float *q, hit *out)
{
    size_t n = 0;
    for (int i = 0; i < IDS; i++) {
        if (!m->used[i] || !m->has[i])
            continue;
        double sum = 0;
        for (int j = 0; j < DIMENSIONS; j++)
            sum += ((double)q[j] - (double)m->v[i][j]) * ((double)q[j] - (double)m->v[i][j]);
        out[n++] = (hit){.id = i, .distance = sqrt(sum)};
    }
    qsort(out, n, sizeof *out, by_distance);
    return n;
}

/* Drains a scan. */
static size_t scan(gn_txn *txn, const gn_table_desc *t, const float *q, uint64_t k, bool exact, size_t most, hit *out,
                   gn_vector_scan_stats *stats)
{
    static const uint32_t ordinals[] = {0};
    static const gn_type types[] = {{GN_T_INT8, false, -1}, {GN_T_FLOAT8, false, -1}};
    gn_vector_scan_spec spec = {.table = t,
                                .index = &t->indexes[0],
                                .query = q,
                                .dimensions = DIMENSIONS,
                                .k_hint = k,
                                .exact = exact,
                                .ordinals = ordinals,
                                .n_ordinals = 1};
    gn_error err = {0};
    gn_arena *arena = gn_arena_create(NULL);
    gn_batch batch;
    gn_vector_scan *s;
    size_t n = 0;
    ASSERT_OK(gn_batch_init(&batch, types, 2, arena, &err), &err);
    ASSERT_OK(gn_vector_scan_open(txn, &spec, &s, &err), &err);
    do {
        ASSERT_OK(gn_vector_scan_next(s, &batch, NULL, &err), &err);
        for (uint32_t i = 0; i < batch.n_rows; i++)
            out[n++] = (hit){.id = batch.columns[0].i64[i], .distance = batch.columns[1].f64[i]};
    } while (batch.n_rows > 0 && n < most);
    if (stats)
        gn_vector_scan_stats_get(s, stats);
    gn_vector_scan_close(s);
    gn_arena_destroy(arena);
    return n;
}

/* All rows with a vector come, each once, in order of distance. */
static void compare(gn_txn *txn, const gn_table_desc *t, const model *m, uint64_t k)
{
    static hit expected[IDS], found[IDS + 1];
    float q[DIMENSIONS];
    random_vector(q);
    size_t n = expected_hits(m, q, expected);
    size_t n_found = scan(txn, t, q, k, true, IDS, found, NULL);
    assert_int_equal(n_found, n);
    for (size_t i = 0; i < n; i++) {
        assert_true(fabs(found[i].distance - expected[i].distance) < 1e-4);
        assert_true(m->used[found[i].id] && m->has[found[i].id]);
    }
}

static void wait_live(fixture *fx)
{
    gn_error err = {0};
    ASSERT_OK(gn_shard_vindex_build(fx->shard, I_V, NULL, NULL, NULL, &err), &err);
}

static gn_table_desc *vector_table(fixture *fx)
{
    gn_error err = {0};
    gn_table_desc *t = make_table(TABLE);
    add_vector_index(t, I_V, GN_METRIC_L2);
    ASSERT_OK(put_table(fx, t, &err), &err);
    return t;
}

static void random_write(gn_txn *txn, const gn_table_desc *t, model *m)
{
    gn_error err = {0};
    int id = (int)rnd(IDS);
    if (m->used[id] && rnd(3) == 0) {
        ASSERT_OK(erase(txn, t, id, &err), &err);
        m->used[id] = false;
        return;
    }
    m->has[id] = rnd(10) > 0;
    random_vector(m->v[id]);
    row r = {.id = id, .name = "x", .v = m->has[id] ? m->v[id] : NULL};
    ASSERT_OK(m->used[id] ? update(txn, t, id, &r, &err) : insert(txn, t, &r, &err), &err);
    m->used[id] = true;
}

static void write_some(fixture *fx, const gn_table_desc *t, model *m, int n, gn_scn *scn)
{
    gn_error err = {0};
    gn_txn *txn = begin(fx);
    for (int i = 0; i < n; i++)
        random_write(txn, t, m);
    ASSERT_OK(gn_txn_commit(txn, scn, &err), &err);
}

static void a_scan_gives_what_the_rows_give(void **state)
{
    fixture *fx = *state;
    gn_table_desc *t = vector_table(fx);
    static model m, then;
    gn_scn scn = 0, then_scn = 0;
    memset(&m, 0, sizeof m);
    rnd_state = 7;
    for (int step = 0; step < 120; step++) {
        write_some(fx, t, &m, (int)rnd(12) + 1, &scn);
        if (step == 60) {
            then = m;
            then_scn = scn;
        }
        gn_txn *txn = begin_with(fx, &(gn_txn_options){.read_only = true});
        compare(txn, t, &m, rnd(2) ? 5 : 1000);
        gn_txn_abort(txn);
        if (step % 31 == 30)
            fixture_reopen(fx, step % 2); /* the next query comes before the index has caught up, or after */
        if (step % 25 == 0)
            wait_live(fx);
        if (step % 40 == 39)
            assert_int_equal(gn_shard_compact(fx->shard, NULL), GN_OK);
    }
    gn_txn *txn = begin_with(fx, &(gn_txn_options){.read_scn = then_scn});
    compare(txn, t, &then, 10);
    gn_txn_abort(txn);
    free_table(t);
}

static void own_writes_take_part(void **state)
{
    fixture *fx = *state;
    gn_table_desc *t = vector_table(fx);
    static model m;
    memset(&m, 0, sizeof m);
    rnd_state = 8;
    for (int i = 0; i < 20; i++)
        write_some(fx, t, &m, 10, NULL);
    wait_live(fx);
    model *mine = malloc(sizeof m);
    *mine = m;
    gn_txn *txn = begin(fx);
    for (int i = 0; i < 60; i++)
        random_write(txn, t, mine);
    compare(txn, t, mine, 5);
    gn_txn *other = begin(fx);
    compare(other, t, &m, 5);
    gn_txn_abort(other);
    gn_error err = {0};
    ASSERT_OK(gn_txn_commit(txn, NULL, &err), &err);
    txn = begin(fx);
    compare(txn, t, mine, 5);
    gn_txn_abort(txn);
    free(mine);
    free_table(t);
}

static void a_committed_vector_is_found_by_the_next_query(void **state)
{
    fixture *fx = *state;
    gn_table_desc *t = vector_table(fx);
    gn_error err = {0};
    wait_live(fx);
    rnd_state = 9;
    for (int i = 0; i < 50; i++) {
        float v[DIMENSIONS];
        hit found[8];
        gn_vector_scan_stats stats;
        random_vector(v);
        gn_txn *txn = begin(fx);
        ASSERT_OK(insert(txn, t, &(row){.id = i, .v = v}, &err), &err);
        ASSERT_OK(gn_txn_commit(txn, NULL, &err), &err);
        txn = begin_with(fx, &(gn_txn_options){.read_only = true});
        assert_true(scan(txn, t, v, 1, false, 1, found, &stats) >= 1);
        assert_int_equal(found[0].id, i);
        assert_true(stats.segments > 0 || stats.tail_rows > 0); /* by the index, not by the rows */
        gn_txn_abort(txn);
    }
    free_table(t);
}

static void an_index_over_rows_that_are_there_is_fed(void **state)
{
    fixture *fx = *state;
    gn_error err = {0};
    gn_table_desc *t = make_table(TABLE);
    ASSERT_OK(put_table(fx, t, &err), &err);
    static model m;
    memset(&m, 0, sizeof m);
    rnd_state = 10;
    gn_scn before;
    write_some(fx, t, &m, 200, &before);
    model *old = malloc(sizeof m);
    *old = m;
    add_vector_index(t, I_V, GN_METRIC_L2);
    ASSERT_OK(put_table(fx, t, &err), &err);
    for (int i = 0; i < 20; i++)
        write_some(fx, t, &m, 5, NULL); /* while it is fed */
    wait_live(fx);
    gn_txn *txn = begin(fx);
    compare(txn, t, &m, 20);
    gn_txn_abort(txn);
    gn_vindex_stats stats;
    assert_int_equal(gn_shard_vindex_stats(fx->shard, I_V, &stats, NULL), GN_OK);
    assert_true(stats.vectors > 0);
    free(old);

    gn_table_desc *e = make_table(TABLE); /* emptied: another index, empty */
    add_vector_index(e, I_V, GN_METRIC_L2);
    e->data_epoch = 1;
    e->version = 9;
    ASSERT_OK(put_table(fx, e, &err), &err);
    memset(&m, 0, sizeof m);
    wait_live(fx);
    write_some(fx, e, &m, 30, NULL);
    txn = begin(fx);
    compare(txn, e, &m, 20);
    gn_txn_abort(txn);
    gn_table_desc *none = make_table(TABLE); /* dropped */
    none->data_epoch = 1;
    none->version = 10;
    ASSERT_OK(put_table(fx, none, &err), &err);
    ASSERT_CODE(gn_shard_vindex_build(fx->shard, I_V, NULL, NULL, NULL, &err), GN_NO_OBJECT, &err);
    free_table(t);
    free_table(e);
    free_table(none);
}

/* Flips a byte in the middle of every file of the index. */
static void damage_index(fixture *fx)
{
    char dir[400], path[700];
    snprintf(dir, sizeof dir, "%s/vector/%d-0", fx->shard_dir, I_V);
    DIR *d = opendir(dir);
    assert_non_null(d);
    for (struct dirent *e = readdir(d); e; e = readdir(d)) {
        if (e->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        int fd = open(path, O_RDWR);
        off_t size = lseek(fd, 0, SEEK_END);
        char c;
        assert_int_equal(pread(fd, &c, 1, size / 2), 1);
        c ^= 0x40;
        assert_int_equal(pwrite(fd, &c, 1, size / 2), 1);
        close(fd);
    }
    closedir(d);
}

static void a_damaged_index_is_rebuilt_while_queries_go_on(void **state)
{
    fixture *fx = *state;
    gn_table_desc *t = vector_table(fx);
    static model m;
    memset(&m, 0, sizeof m);
    rnd_state = 11;
    for (int i = 0; i < 20; i++)
        write_some(fx, t, &m, 10, NULL);
    wait_live(fx);
    fixture_close(fx, true);
    damage_index(fx);
    fixture_open(fx);
    for (int i = 0; i < 5; i++) {
        gn_txn *txn = begin(fx);
        compare(txn, t, &m, 20);
        gn_txn_abort(txn);
        write_some(fx, t, &m, 3, NULL);
    }
    wait_live(fx);
    gn_txn *txn = begin(fx);
    compare(txn, t, &m, 20);
    gn_txn_abort(txn);
    free_table(t);
}

static void a_kNN_read_conflicts_with_a_nearer_row(void **state)
{
    fixture *fx = *state;
    gn_table_desc *t = vector_table(fx);
    gn_error err = {0};
    float v[DIMENSIONS] = {0};
    hit found[4];
    gn_txn *a = begin(fx), *b = begin(fx);
    scan(a, t, v, 1, false, 1, found, NULL);
    ASSERT_OK(insert(a, t, &(row){.id = 1}, &err), &err);
    ASSERT_OK(insert(b, t, &(row){.id = 2, .v = v}, &err), &err);
    ASSERT_OK(commit(b), NULL);
    ASSERT_CODE(commit(a), GN_SERIALIZATION, NULL);
    free_table(t);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_scan_gives_what_the_rows_give),
        TEST(own_writes_take_part),
        TEST(a_committed_vector_is_found_by_the_next_query),
        TEST(an_index_over_rows_that_are_there_is_fed),
        TEST(a_damaged_index_is_rebuilt_while_queries_go_on),
        TEST(a_kNN_read_conflicts_with_a_nearer_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
