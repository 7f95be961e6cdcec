/* Evaluation of expressions: three-valued logic, what is not computed raises nothing, folding, printing, equality. */
#include "tests/query/plans.h"

#include <stdlib.h>

static gn_type bool_type(void)
{
    return gn_type_of(GN_T_BOOL);
}

static gn_expr *boolean(int v) /* -1: NULL */
{
    return constant("boolean", v < 0 ? NULL : v ? "true" : "false");
}

static const char *truth(gn_expr_kind kind, int a, int b)
{
    return evaluated(node(kind, bool_type(), 2, boolean(a), boolean(b)));
}

static void and_or_not_have_three_values(void **state)
{
    (void)state;
    assert_string_equal(truth(GN_E_AND, 1, 1), "t");
    assert_string_equal(truth(GN_E_AND, 1, -1), "NULL");
    assert_string_equal(truth(GN_E_AND, -1, 0), "f");
    assert_string_equal(truth(GN_E_AND, 0, -1), "f");
    assert_string_equal(truth(GN_E_OR, 0, 0), "f");
    assert_string_equal(truth(GN_E_OR, 0, -1), "NULL");
    assert_string_equal(truth(GN_E_OR, -1, 1), "t");
    assert_string_equal(evaluated(node(GN_E_NOT, bool_type(), 1, boolean(-1))), "NULL");
    assert_string_equal(evaluated(node(GN_E_NOT, bool_type(), 1, boolean(0))), "t");
}

static void tests_for_null_and_truth_are_never_null(void **state)
{
    (void)state;
    assert_string_equal(evaluated(node(GN_E_IS_NULL, bool_type(), 1, boolean(-1))), "t");
    assert_string_equal(evaluated(node(GN_E_IS_NOT_NULL, bool_type(), 1, boolean(-1))), "f");
    assert_string_equal(evaluated(node(GN_E_IS_TRUE, bool_type(), 1, boolean(-1))), "f");
    assert_string_equal(evaluated(node(GN_E_IS_FALSE, bool_type(), 1, boolean(0))), "t");
    gn_expr *null = constant("int", NULL), *one = constant("int", "1");
    assert_string_equal(evaluated(node(GN_E_IS_DISTINCT, bool_type(), 2, null, one)), "t");
    assert_string_equal(evaluated(node(GN_E_IS_DISTINCT, bool_type(), 2, null, null)), "f");
    assert_string_equal(evaluated(node(GN_E_IS_DISTINCT, bool_type(), 2, one, one)), "f");
}

/* 1 / x: fails where x is 0. */
static gn_expr *reciprocal(void)
{
    return call2("/", constant("int", "1"), column("int", 0));
}

static const char *projected(gn_expr *e)
{
    static const char *const types[] = {"int"}, *const rows[] = {"0", "1", "2", ""};
    gn_expr *exprs[] = {e};
    const char *s = drained(gn_op_project(&plan_eval, &plan_account, table(1, types, 4, rows), exprs, 1));
    plan_error = (gn_error){.code = GN_OK};
    return s;
}

static void what_is_not_needed_is_not_computed(void **state)
{
    (void)state;
    gn_type int4 = gn_type_of(GN_T_INT4);
    gn_expr *positive = call2(">", column("int", 0), constant("int", "0"));
    gn_expr *is_one = call2("=", reciprocal(), constant("int", "1"));
    assert_string_equal(projected(reciprocal()), "22012 division by zero");
    assert_string_equal(projected(node(GN_E_AND, bool_type(), 2, positive, is_one)), "f\nt\nf\n\n");
    gn_expr *zero = call2("=", column("int", 0), constant("int", "0"));
    assert_string_equal(projected(node(GN_E_OR, bool_type(), 2, zero, is_one)), "t\nt\nf\n\n");
    assert_string_equal(projected(node(GN_E_CASE, int4, 3, positive, reciprocal(), constant("int", "-1"))),
                        "-1\n1\n0\n-1\n");
    assert_string_equal(
        projected(node(GN_E_CASE, int4, 5, zero, constant("int", "7"), positive, reciprocal(), constant("int", NULL))),
        "7\n1\n0\n\n");
    assert_string_equal(projected(node(GN_E_COALESCE, int4, 2, column("int", 0), reciprocal())), "0\n1\n2\n\n");
    gn_expr *zero_is_null = node(GN_E_NULLIF, int4, 2, column("int", 0), constant("int", "0"));
    assert_string_equal(projected(call2("/", constant("int", "4"), zero_is_null)), "\n4\n2\n\n");
}

static void greatest_and_least_ignore_nulls(void **state)
{
    (void)state;
    gn_type int4 = gn_type_of(GN_T_INT4);
    gn_expr *three[] = {constant("int", "3"), constant("int", NULL), constant("int", "5")};
    assert_string_equal(evaluated(node(GN_E_GREATEST, int4, 3, three[0], three[1], three[2])), "5");
    assert_string_equal(evaluated(node(GN_E_LEAST, int4, 3, three[0], three[1], three[2])), "3");
    assert_string_equal(evaluated(node(GN_E_LEAST, int4, 1, three[1])), "NULL");
}

static void in_has_three_values(void **state)
{
    (void)state;
    gn_expr *one = constant("int", "1"), *two = constant("int", "2"), *null = constant("int", NULL);
    assert_string_equal(evaluated(node(GN_E_IN, bool_type(), 3, one, two, one)), "t");
    assert_string_equal(evaluated(node(GN_E_IN, bool_type(), 3, one, two, two)), "f");
    assert_string_equal(evaluated(node(GN_E_IN, bool_type(), 3, one, two, null)), "NULL");
    assert_string_equal(evaluated(node(GN_E_IN, bool_type(), 3, one, null, one)), "t");
    assert_string_equal(evaluated(node(GN_E_IN, bool_type(), 2, null, one)), "NULL");
}

static void a_long_constant_list_is_searched(void **state)
{
    (void)state;
    gn_expr *e = node(GN_E_IN, bool_type(), 0);
    e->n_args = 101;
    e->args = gn_arena_calloc(plan_arena, 101, sizeof *e->args);
    e->args[0] = column("int", 0);
    for (int i = 1; i <= 100; i++)
        e->args[i] = constant("int", gn_arena_printf(plan_arena, "%d", i == 50 ? 2 : 1000 - i));
    assert_string_equal(projected(e), "f\nf\nt\n\n");
    e->args[7] = constant("int", NULL);
    assert_string_equal(projected(e), "\n\nt\n\n");
}

static void parameters_are_values_of_the_execution(void **state)
{
    (void)state;
    gn_expr *p = node(GN_E_PARAM, gn_type_of(GN_T_INT4), 0);
    gn_value value = {.type = p->type, .as.i32 = 20};
    plan_eval.params = &value;
    plan_eval.n_params = 1;
    assert_string_equal(evaluated(call2("+", p, constant("int", "1"))), "21");
    p->column = 1;
    assert_string_equal(evaluated(p), "42P02 there is no parameter $2");
}

static void errors_carry_the_position_of_their_expression(void **state)
{
    (void)state;
    gn_expr *e = call2("/", constant("int", "1"), constant("int", "0"));
    gn_value v;
    e->position = 17;
    assert_int_equal(gn_expr_eval_one(e, &plan_eval, &v), GN_DIVISION_BY_ZERO);
    assert_int_equal(plan_error.position, 17);
}

static void folding_computes_constants_and_leaves_errors(void **state)
{
    (void)state;
    gn_expr *sum = call2("+", column("int", 0), call2("*", constant("int", "2"), constant("int", "3")));
    gn_expr *folded = gn_expr_fold(sum, &default_format, plan_arena);
    assert_ptr_equal(folded, sum);
    assert_int_equal(folded->args[1]->kind, GN_E_CONST);
    assert_int_equal(folded->args[1]->value.as.i32, 6);
    gn_expr *broken = call2("/", constant("int", "1"), constant("int", "0"));
    assert_ptr_equal(gn_expr_fold(broken, &default_format, plan_arena), broken);
    gn_expr *random = call_args("random", false, NULL, 0);
    assert_ptr_equal(gn_expr_fold(random, &default_format, plan_arena), random);
    assert_false(gn_expr_is_constant(random));
    assert_true(gn_expr_is_constant(broken));
    assert_false(gn_expr_is_constant(sum));
}

static const char *as_text(gn_expr *e)
{
    static const char *const names[] = {"a", "b"};
    gn_buf buf;
    gn_buf_init(&buf, NULL, 1 << 20);
    assert_true(gn_expr_print(e, names, 2, &buf));
    const char *s = gn_arena_strndup(plan_arena, (const char *)buf.data, buf.len);
    gn_buf_close(&buf);
    return s;
}

static void expressions_print_as_sql(void **state)
{
    (void)state;
    gn_expr *less = call2("<", column("int", 0), constant("int", "10"));
    gn_expr *equal = call2("=", column("text", 1), constant("text", "it's"));
    gn_expr *both = node(GN_E_AND, bool_type(), 2, less, equal);
    assert_string_equal(as_text(both), "((a < 10) AND (b = 'it''s'::text))");
    assert_string_equal(as_text(node(GN_E_IS_NULL, bool_type(), 1, column("int", 0))), "(a IS NULL)");
    assert_string_equal(as_text(call1("abs", column("int", 0))), "abs(a)");
    assert_string_equal(
        as_text(node(GN_E_CASE, gn_type_of(GN_T_INT4), 3, less, constant("int", "1"), constant("int", NULL))),
        "CASE WHEN (a < 10) THEN 1 ELSE NULL::integer END");
    assert_string_equal(
        as_text(node(GN_E_IN, bool_type(), 3, column("int", 0), constant("int", "1"), constant("int", "-2"))),
        "(a IN (1, '-2'::integer))");
}

static void equality_is_of_structure(void **state)
{
    (void)state;
    gn_expr *a = call2("+", column("int", 0), constant("int", "1"));
    gn_expr *b = call2("+", column("int", 0), constant("int", "1"));
    assert_true(gn_expr_equal(a, b));
    assert_false(gn_expr_equal(a, call2("+", column("int", 1), constant("int", "1"))));
    assert_false(gn_expr_equal(a, call2("+", column("int", 0), constant("int", "2"))));
    assert_false(gn_expr_equal(a, call2("-", column("int", 0), constant("int", "1"))));
    assert_false(gn_expr_equal(constant("int", NULL), constant("int", "0")));
}

static void a_missing_function_is_reported_as_postgresql_does(void **state)
{
    (void)state;
    assert_null(call2("+", constant("int", "1"), constant("text", "a")));
    assert_string_equal(plan_error.message, "operator does not exist: integer + text");
    assert_string_equal(plan_error.hint, "No operator matches the given name and argument types. You might need to add "
                                         "explicit type casts.");
    plan_error = (gn_error){.code = GN_OK};
    assert_null(call1("-", constant("text", "a")));
    assert_string_equal(plan_error.hint, "No operator matches the given name and argument type. You might need to add "
                                         "an explicit type cast.");
    plan_error = (gn_error){.code = GN_OK};
    gn_type many[101];
    for (int i = 0; i < 101; i++)
        many[i] = gn_type_of(GN_T_INT4);
    const gn_function *f;
    gn_type wanted[101], result;
    assert_int_equal(gn_function_resolve(gn_bytes_str("concat"), false, many, 101, &f, wanted, &result, &plan_error),
                     GN_TOO_MANY_ARGUMENTS);
}

static void no_pattern_makes_matching_slow_or_large(void **state)
{
    (void)state;
    char *text = gn_arena_alloc(plan_arena, 20001);
    memset(text, 'a', 20000);
    text[20000] = 0;
    gn_expr *long_text = constant("text", text);
    assert_string_equal(evaluated(call2("~", long_text, constant("text", "(a*)*(a*)*(a|aa)+b"))), "f");
    assert_string_equal(evaluated(call2("~", constant("text", "x"), constant("text", "((((x{255}){255}){255}){255})"))),
                        "2201B invalid regular expression: regular expression is too complex");
    char *deep = gn_arena_alloc(plan_arena, 20001);
    memset(deep, '(', 20000);
    deep[20000] = 0;
    assert_string_equal(evaluated(call2("~", constant("text", "x"), constant("text", deep))),
                        "2201B invalid regular expression: regular expression is too complex");
    assert_string_equal(evaluated(call2("~~", long_text, constant("text", "%a%a%a%a%a%a%a%b"))), "f");
}

static void a_long_match_can_be_canceled(void **state)
{
    (void)state;
    char *text = gn_arena_alloc(plan_arena, 20001);
    _Atomic bool cancel = true;
    memset(text, 'a', 20000);
    text[20000] = 0;
    plan_eval.cancel = &cancel;
    assert_string_equal(evaluated(call2("~", constant("text", text), constant("text", "[b]"))),
                        "57014 canceling statement due to user request");
}

static void results_beyond_a_limit_are_refused(void **state)
{
    (void)state;
    gn_expr *args[] = {constant("text", "0123456789"), constant("int", "2147483647")};
    assert_string_equal(evaluated(call_args("repeat", false, args, 2)),
                        "54000 requested length too large: a value has at most 67108864 bytes");
    gn_expr *pad[] = {constant("text", "0"), constant("int", "2147483647")};
    assert_string_equal(evaluated(call_args("lpad", false, pad, 2)),
                        "54000 requested length too large: a value has at most 67108864 bytes");
    gn_account small;
    gn_account_init(&small, NULL, "statement", 1 << 20);
    gn_arena *arena = gn_arena_create(&small);
    plan_eval.arena = arena;
    gn_expr *big[] = {constant("text", "0123456789"), constant("int", "1000000")};
    gn_value v;
    assert_int_equal(gn_expr_eval_one(call_args("repeat", false, big, 2), &plan_eval, &v), GN_OUT_OF_MEMORY);
    gn_arena_destroy(arena);
    gn_account_close(&small);
}

static void distances_are_pgvectors(void **state)
{
    (void)state;
    gn_expr *a = constant("vector", "[1,2,3]"), *b = constant("vector", "[4,6,8]");
    assert_string_equal(evaluated(call2("<->", a, b)), "7.0710678118654755");
    assert_string_equal(evaluated(call2("<#>", a, b)), "-40");
    assert_string_equal(evaluated(call2("<+>", a, b)), "12");
    assert_string_equal(evaluated(call2("<=>", a, constant("vector", "[2,4,6]"))), "0");
    assert_string_equal(evaluated(call2("<=>", constant("vector", "[1,0]"), constant("vector", "[0,1]"))), "1");
    assert_string_equal(evaluated(call2("<=>", constant("vector", "[0,0]"), constant("vector", "[0,1]"))), "NaN");
    assert_string_equal(evaluated(call2("<->", a, constant("vector", "[1,2]"))),
                        "22000 different vector dimensions 3 and 2");
    assert_string_equal(evaluated(call2("+", a, b)), "[5,8,11]");
    assert_string_equal(evaluated(call2("-", a, b)), "[-3,-4,-5]");
    assert_string_equal(evaluated(call2("*", a, b)), "[4,12,24]");
    assert_string_equal(evaluated(call2("||", a, b)), "[1,2,3,4,6,8]");
    assert_string_equal(evaluated(call2("+", constant("vector", "[3e38]"), constant("vector", "[3e38]"))),
                        "22003 value out of range: overflow");
    assert_string_equal(evaluated(call1("vector_dims", a)), "3");
    assert_string_equal(evaluated(call1("vector_norm", constant("vector", "[3,4]"))), "5");
    assert_string_equal(evaluated(call1("l2_normalize", constant("vector", "[3,4]"))), "[0.6,0.8]");
    assert_string_equal(evaluated(call1("l2_normalize", constant("vector", "[0,0]"))), "[0,0]");
    assert_string_equal(evaluated(call2("<->", a, constant("unknown", "[1,2,4]"))), "1");
    assert_string_equal(evaluated(call2("<", a, b)), "t");
}

#define PLAN_TEST(name) cmocka_unit_test_setup_teardown(name, plan_setup, plan_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLAN_TEST(and_or_not_have_three_values),
        PLAN_TEST(tests_for_null_and_truth_are_never_null),
        PLAN_TEST(what_is_not_needed_is_not_computed),
        PLAN_TEST(greatest_and_least_ignore_nulls),
        PLAN_TEST(in_has_three_values),
        PLAN_TEST(a_long_constant_list_is_searched),
        PLAN_TEST(parameters_are_values_of_the_execution),
        PLAN_TEST(errors_carry_the_position_of_their_expression),
        PLAN_TEST(folding_computes_constants_and_leaves_errors),
        PLAN_TEST(expressions_print_as_sql),
        PLAN_TEST(equality_is_of_structure),
        PLAN_TEST(a_missing_function_is_reported_as_postgresql_does),
        PLAN_TEST(no_pattern_makes_matching_slow_or_large),
        PLAN_TEST(a_long_match_can_be_canceled),
        PLAN_TEST(results_beyond_a_limit_are_refused),
        PLAN_TEST(distances_are_pgvectors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
