#include "base/memory.h"
#include "tests/base/cmocka_all.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static void a_charge_counts_in_every_ancestor(void **state)
{
    (void)state;
    gn_account root, child;
    gn_account_init(&root, NULL, "process", 1000);
    gn_account_init(&child, &root, "query", 0);
    assert_true(gn_account_charge(&child, 600));
    assert_int_equal(gn_account_used(&root), 600);
    assert_false(gn_account_charge(&child, 401));
    assert_int_equal(gn_account_used(&child), 600);
    assert_true(gn_account_charge(&child, 400));
    gn_account_release(&child, 1000);
    assert_int_equal(root.peak, 1000);
    assert_false(gn_account_charge(&child, SIZE_MAX));
    assert_true(gn_account_charge(NULL, SIZE_MAX));
    gn_account_release(NULL, 1);
    gn_account_close(&child);
    gn_account_close(&root);
}

static void out_of_memory_names_the_account_that_is_full(void **state)
{
    (void)state;
    gn_account root, child;
    gn_account_init(&root, NULL, "process", 1000);
    gn_account_init(&child, &root, "query", 5000);
    gn_error err = {0};
    assert_int_equal(gn_error_oom(&err, &child), GN_OUT_OF_MEMORY);
    assert_non_null(strstr(err.message, "process"));
    assert_non_null(strstr(err.message, "1000"));
    assert_non_null(strstr(err.hint, "memory_limit_mb"));
    assert_int_equal(gn_error_oom(&err, NULL), GN_OUT_OF_MEMORY);
}

static void *charge_and_release(void *arg)
{
    for (int i = 0; i < 20000; i++) {
        if (gn_account_charge(arg, 3))
            gn_account_release(arg, 3);
    }
    return NULL;
}

static void accounts_balance_under_threads(void **state)
{
    (void)state;
    gn_account root, child;
    gn_account_init(&root, NULL, "process", 6);
    gn_account_init(&child, &root, "query", 0);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, charge_and_release, &child), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_true(root.peak <= 6);
    gn_account_close(&child);
    gn_account_close(&root);
}

static void an_arena_gives_aligned_memory_and_returns_all_of_it(void **state)
{
    (void)state;
    gn_account account;
    gn_account_init(&account, NULL, "test", 0);
    gn_arena *arena = gn_arena_create(&account);
    assert_non_null(gn_arena_alloc(arena, 0));
    for (size_t size = 1; size < 200000; size = size * 3 + 1) {
        char *p = gn_arena_alloc(arena, size);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 16, 0);
        memset(p, 0x5A, size);
        char *zero = gn_arena_calloc(arena, 3, 5);
        for (int i = 0; i < 15; i++)
            assert_int_equal(zero[i], 0);
    }
    assert_int_equal(gn_arena_used(arena), gn_account_used(&account));
    assert_ptr_equal(gn_arena_account(arena), &account);
    gn_arena_reset(arena);
    assert_non_null(gn_arena_alloc(arena, 100));
    gn_arena_destroy(arena);
    gn_arena_destroy(NULL);
    gn_account_close(&account);
}

static void an_arena_used_again_and_again_holds_no_more_each_time(void **state)
{
    (void)state;
    for (size_t need = 500; need < 50000; need *= 3) {
        gn_arena *arena = gn_arena_create(NULL);
        for (int cycle = 0; cycle < 50; cycle++) {
            gn_arena_reset(arena);
            for (int i = 0; i < 10; i++)
                assert_non_null(gn_arena_alloc(arena, need / 10));
        }
        assert_in_range(gn_arena_used(arena), need, 5 * need + 2048);
        gn_arena_destroy(arena);
    }
}

static void strings_are_copied_into_an_arena(void **state)
{
    (void)state;
    gn_arena *arena = gn_arena_create(NULL);
    assert_string_equal(gn_arena_strndup(arena, "hello", 4), "hell");
    assert_string_equal(gn_arena_printf(arena, "%d-%s", 7, "x"), "7-x");
    assert_memory_equal(gn_arena_memdup(arena, "ab", 2), "ab", 2);
    assert_non_null(gn_arena_memdup(arena, NULL, 0));
    gn_arena_destroy(arena);
}

static void impossible_sizes_are_refused(void **state)
{
    (void)state;
    gn_account account;
    gn_account_init(&account, NULL, "test", 1 << 20);
    gn_arena *arena = gn_arena_create(&account);
    assert_null(gn_arena_alloc(arena, SIZE_MAX));
    assert_null(gn_arena_alloc(arena, SIZE_MAX - 40));
    assert_null(gn_arena_calloc(arena, SIZE_MAX / 2, 3));
    assert_null(gn_arena_strndup(arena, "", SIZE_MAX));
    assert_null(gn_arena_alloc(arena, 2 << 20));
    assert_non_null(gn_arena_alloc(arena, 1000));
    gn_arena_destroy(arena);
    gn_account_close(&account);
}

static void an_arena_uses_its_budget_to_the_end(void **state)
{
    (void)state;
    gn_account account;
    gn_account_init(&account, NULL, "test", 64 << 10);
    gn_arena *arena = gn_arena_create(&account);
    size_t got = 0;
    while (gn_arena_alloc(arena, 64))
        got += 64;
    assert_true(got > (32 << 10)); /* the sanitizer's red zones take their part */
    assert_true(gn_account_used(&account) > (60 << 10));
    gn_arena_destroy(arena);
    gn_account_close(&account);
}

static void a_mark_frees_what_came_after_it(void **state)
{
    (void)state;
    gn_account account;
    gn_account_init(&account, NULL, "test", 0);
    gn_arena *arena = gn_arena_create(&account);
    gn_arena_mark empty = gn_arena_save(arena);
    char *keep = gn_arena_strndup(arena, "keep", 4);
    gn_arena_mark mark = gn_arena_save(arena);
    size_t used = gn_arena_used(arena);
    for (int i = 0; i < 1000; i++)
        assert_non_null(gn_arena_alloc(arena, 1000));
    gn_arena_restore(arena, mark);
    assert_int_equal(gn_arena_used(arena), used);
    assert_string_equal(keep, "keep");
    gn_arena_restore(arena, empty);
    assert_int_equal(gn_account_used(&account), 0);
    gn_arena_destroy(arena);
    gn_account_close(&account);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_charge_counts_in_every_ancestor),
        cmocka_unit_test(out_of_memory_names_the_account_that_is_full),
        cmocka_unit_test(accounts_balance_under_threads),
        cmocka_unit_test(an_arena_gives_aligned_memory_and_returns_all_of_it),
        cmocka_unit_test(an_arena_used_again_and_again_holds_no_more_each_time),
        cmocka_unit_test(strings_are_copied_into_an_arena),
        cmocka_unit_test(impossible_sizes_are_refused),
        cmocka_unit_test(an_arena_uses_its_budget_to_the_end),
        cmocka_unit_test(a_mark_frees_what_came_after_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
