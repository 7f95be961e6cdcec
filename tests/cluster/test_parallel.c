/* Work for several groups at once, and what replicas of several groups ask of their leaders. */
#include "cluster/catch_up_private.h"
#include "cluster/parallel_private.h"
#include "tests/base/cmocka_all.h"

#include <stdatomic.h>
#include <string.h>

enum { MOST = 300 };

typedef struct tally {
    gn_world *world;
    gn_pool *pool;
    _Atomic uint32_t times[MOST];
} tally;

static void count(void *ctx, uint32_t i)
{
    tally *t = ctx;
    atomic_fetch_add(&t->times[i], 1);
}

static void each_is_done_once(void **state)
{
    (void)state;
    static tally t;
    t.world = gn_world_real_create(&(gn_world_options){.threads = 2, .node_id = 1});
    t.pool = gn_pool_create(t.world, "test", 8, 0);
    static const uint32_t counts[] = {0, 1, 2, 16, 17, MOST};
    for (int round = 0; round < 50; round++)
        for (size_t k = 0; k < sizeof counts / sizeof *counts; k++) {
            memset(t.times, 0, sizeof t.times);
            gn_parallel(t.world, t.pool, counts[k], count, &t);
            for (uint32_t i = 0; i < MOST; i++)
                assert_int_equal(t.times[i], i < counts[k]);
        }
    gn_pool_destroy(t.pool);
    gn_world_real_destroy(t.world);
}

static void inner(void *ctx, uint32_t i)
{
    tally *t = ctx;
    (void)i;
    gn_parallel(t->world, t->pool, 4, count, t);
}

/* Though all strands of the pool are at work on what waits for it. */
static void work_within_work_ends(void **state)
{
    (void)state;
    static tally t;
    t.world = gn_world_real_create(&(gn_world_options){.threads = 2, .node_id = 1});
    t.pool = gn_pool_create(t.world, "test", 2, 0);
    memset(t.times, 0, sizeof t.times);
    gn_parallel(t.world, t.pool, 16, inner, &t);
    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(t.times[i], 16);
    gn_pool_destroy(t.pool);
    gn_world_real_destroy(t.world);
}

static void what_is_no_request_is_refused(void **state)
{
    (void)state;
    static const gn_catch_up_item items[] = {{7, 1, 2}, {9, 0, 0}, {UINT64_MAX, UINT64_MAX, 3}};
    gn_buf buf;
    gn_reader r;
    uint32_t n;
    gn_buf_init(&buf, NULL, 1 << 16);
    gn_catch_up_request_write(&buf, items, 3);
    assert_true(gn_catch_up_request_read(gn_buf_bytes(&buf), &r, &n));
    assert_int_equal(n, 3);
    for (uint32_t i = 0; i < n; i++) {
        gn_catch_up_item item = gn_catch_up_item_read(&r);
        assert_memory_equal(&item, &items[i], sizeof item);
    }
    for (size_t len = 0; len < buf.len; len++)
        assert_false(gn_catch_up_request_read(gn_bytes_of(buf.data, len), &r, &n));
    buf.data[1] = 0xff; /* so many that nobody has them */
    assert_false(gn_catch_up_request_read(gn_buf_bytes(&buf), &r, &n));
    assert_false(gn_catch_up_answer_read(gn_buf_bytes(&buf), 3, &r));
    gn_buf_close(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_is_done_once),
        cmocka_unit_test(work_within_work_ends),
        cmocka_unit_test(what_is_no_request_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
