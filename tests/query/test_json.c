/* json, jsonb and uuid. The expected texts are PostgreSQL 15's. */
#include "base/limits.h"
#include "tests/query/values.h"

#include <stdlib.h>

static const gn_type json = {.id = GN_T_JSON, .typmod = -1}, jsonb = {.id = GN_T_JSONB, .typmod = -1},
                     uuid = {.id = GN_T_UUID, .typmod = -1};

static void a_json_is_kept_as_it_came(void **state)
{
    (void)state;
    check_text(json, " {\"b\" : 1, \"a\":[1 ,2.50]}", " {\"b\" : 1, \"a\":[1 ,2.50]}");
}

static void a_jsonb_is_canonical(void **state)
{
    (void)state;
    check_text(jsonb, " {\"bb\" : 1, \"a\":[1 ,2.50, 1e3], \"a\": null, \"b\": {}}",
               "{\"a\": null, \"b\": {}, \"bb\": 1}");
    check_text(jsonb, "[1 ,2.50, 1e3, -0.0]", "[1, 2.50, 1000, 0.0]");
    check_text(jsonb, "\"\\u00e9\\n\\\"\\ud83d\\ude00\"", "\"é\\n\\\"😀\"");
    check_text(jsonb, "[]", "[]");
    check_text(jsonb, "true", "true");
}

static void what_is_no_json_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"",      "{",   "[1,]",  "{\"a\" 1}", "{a: 1}",    "01",     "1.",
                                      "nul",   "\"a", "[1] 2", "\"\\x\"",   "\"\\u12\"", "\"\t\"", "{,}",
                                      "[1 2]", "+1",  "'a'",   "nullx",     "5x"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        check_bad(json, bad[i], "22P02", "invalid input syntax for type json");
        check_bad(jsonb, bad[i], "22P02", "invalid input syntax for type json");
    }
    check_bad(jsonb, "\"\\u0000\"", "22P05", "unsupported Unicode escape sequence");
    check_bad(jsonb, "\"\\ud800\"", "22P02", "invalid input syntax for type json");
    check_text(json, "\"\\ud800\\u0000\"", "\"\\ud800\\u0000\""); /* only reading its text fails */
}

static void nesting_is_bounded(void **state)
{
    (void)state;
    char *deep = calloc(1, 100001);
    memset(deep, '[', 100000);
    gn_arena *arena = gn_arena_create(NULL);
    gn_value v;
    gn_error err = {0};
    assert_int_equal(gn_value_parse(gn_bytes_str(deep), jsonb, &default_format, arena, &v, &err),
                     GN_STATEMENT_TOO_COMPLEX);
    gn_arena_destroy(arena);
    free(deep);
}

static void jsonb_has_an_order(void **state)
{
    (void)state;
    static const char *const ascending[] = {
        "[]",  "null",   "\"a\"", "\"a b\"",    "\"b\\n\"",   "\"bZ\"",
        "1",   "2.5",    "10",    "false",      "true",       "[1]",
        "[2]", "[1, 2]", "{}",    "{\"a\": 1}", "{\"a\": 2}", "{\"a\": 1, \"b\": 2}"}; /* as PostgreSQL sorts */
    gn_arena *arena = gn_arena_create(NULL);
    int n = sizeof ascending / sizeof *ascending;
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++) {
            gn_value a = parsed(arena, jsonb, ascending[i]), b = parsed(arena, jsonb, ascending[j]);
            int c = gn_value_compare(&a, &b);
            if ((c > 0) - (c < 0) != (i > j) - (i < j))
                fail_msg("%s against %s: %d", ascending[i], ascending[j], c);
        }
    gn_value a = parsed(arena, jsonb, "[1.0]"), b = parsed(arena, jsonb, "[1.00]");
    assert_int_equal(gn_value_compare(&a, &b), 0);
    assert_true(gn_value_hash(&a) == gn_value_hash(&b));
    gn_arena_destroy(arena);
}

static void uuids_read_and_print(void **state)
{
    (void)state;
    const char *canonical = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
    check_text(uuid, canonical, canonical);
    check_text(uuid, "{A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11}", canonical);
    check_text(uuid, "a0eebc999c0b4ef8bb6d6bb9bd380a11", canonical);
    check_bad(uuid, "a0eebc99-9c0b", "22P02", "invalid input syntax for type uuid: \"a0eebc99-9c0b\"");
    check_bad(uuid, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1g", "22P02",
              "invalid input syntax for type uuid: \"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1g\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_json_is_kept_as_it_came),  cmocka_unit_test(a_jsonb_is_canonical),
        cmocka_unit_test(what_is_no_json_is_refused), cmocka_unit_test(nesting_is_bounded),
        cmocka_unit_test(jsonb_has_an_order),         cmocka_unit_test(uuids_read_and_print),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
