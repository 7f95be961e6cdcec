/* What is kept of the queries that a vector index is asked: a fair sample, when it is enough, and a new one after. */
#include "base/memory.h"
#include "shard/asked_private.h"
#include "tests/base/cmocka_all.h"

#include <stdlib.h>

enum { WORDS = 3, SECOND = 1000000000 };

static void ask(gn_asked *a, uint64_t from, uint64_t to)
{
    for (uint64_t i = from; i < to; i++) {
        float q[WORDS] = {(float)i, (float)i + 0.5f, -(float)i};
        gn_asked_note(a, q);
    }
}

static void few_are_all_kept(void **state)
{
    (void)state;
    gn_asked a;
    float *queries;
    gn_asked_init(&a, WORDS);
    ask(&a, 0, 40);
    assert_int_equal(gn_asked_take(&a, GN_ASKED_MOST, SECOND, &queries), 40);
    for (int i = 0; i < 40; i++) {
        assert_true(queries[i * WORDS] == (float)i);
        assert_true(queries[i * WORDS + 2] == -(float)i);
    }
    free(queries);
    assert_int_equal(gn_asked_take(&a, GN_ASKED_MOST, SECOND, &queries), 0); /* the next sample has begun */
    free(queries);
    gn_asked_close(&a);
}

/* Of ten thousand each tenth of them has about a tenth of the places, and none has two. */
static void of_many_a_fair_sample_is_kept(void **state)
{
    (void)state;
    enum { MANY = 10000, PARTS = 4, ROUNDS = 20 };
    unsigned counts[PARTS] = {0};
    gn_asked a;
    gn_asked_init(&a, WORDS);
    for (unsigned round = 0; round < ROUNDS; round++) {
        float *queries;
        ask(&a, (uint64_t)round * 7, (uint64_t)round * 7 + MANY);
        uint32_t n = gn_asked_take(&a, GN_ASKED_MOST, SECOND, &queries);
        assert_int_equal(n, GN_ASKED_MOST);
        bool *seen = gn_xcalloc(MANY, sizeof *seen);
        for (uint32_t i = 0; i < n; i++) {
            uint64_t which = (uint64_t)queries[(size_t)i * WORDS] - (uint64_t)round * 7;
            assert_in_range(which, 0, MANY - 1);
            assert_false(seen[which]);
            seen[which] = true;
            counts[which * PARTS / MANY]++;
        }
        free(seen);
        free(queries);
    }
    for (unsigned i = 0; i < PARTS; i++)
        assert_in_range(counts[i], GN_ASKED_MOST * ROUNDS / PARTS / 2, GN_ASKED_MOST * ROUNDS / PARTS * 3 / 2);
    gn_asked_close(&a);
}

static void it_is_due_after_enough_and_a_pause(void **state)
{
    (void)state;
    gn_asked a;
    float *queries;
    gn_asked_init(&a, WORDS);
    ask(&a, 0, 99);
    assert_false(gn_asked_is_due(&a, 100, 10, 1000));
    ask(&a, 99, 100);
    assert_true(gn_asked_is_due(&a, 100, 10, 1000));
    assert_int_equal(gn_asked_take(&a, 50, 1000, &queries), 50);
    free(queries);
    assert_false(gn_asked_is_due(&a, 100, 10, 2000));
    ask(&a, 0, 200);
    assert_false(gn_asked_is_due(&a, 100, 10, 1009));
    assert_true(gn_asked_is_due(&a, 100, 10, 1010));
    gn_asked_close(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(few_are_all_kept),
        cmocka_unit_test(of_many_a_fair_sample_is_kept),
        cmocka_unit_test(it_is_due_after_enough_and_a_pause),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
