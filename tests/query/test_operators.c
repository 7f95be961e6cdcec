/* Operators: what comes out of them, that memory is bounded, that a cancel is honoured. */
#include "tests/query/plans.h"

#include <stdlib.h>

static const char *const people_types[] = {"int", "text", "float8"};
static const char *const people[] = {
    "3|carl|1.5", "1|ann|2.5", "2|bob|", "|dora|0.5", "1|ann|2.5", "2|eve|-1",
};

static gn_operator *people_table(void)
{
    return table(3, people_types, 6, people);
}

static void filter_keeps_rows_whose_condition_is_true(void **state)
{
    (void)state;
    gn_expr *condition = call2("<", column("int", 0), constant("int", "3"));
    gn_operator *op = gn_op_filter(&plan_eval, &plan_account, people_table(), condition);
    assert_string_equal(drained(op), "1|ann|2.5\n2|bob|\n1|ann|2.5\n2|eve|-1\n"); /* NULL < 3 is not true */
}

static void project_computes_columns(void **state)
{
    (void)state;
    gn_expr *exprs[] = {call2("*", column("float8", 2), constant("float8", "2")), column("text", 1)};
    gn_operator *op = gn_op_project(&plan_eval, &plan_account, people_table(), exprs, 2);
    assert_string_equal(drained(op), "3|carl\n5|ann\n|bob\n1|dora\n5|ann\n-2|eve\n");
}

static void limit_skips_and_stops(void **state)
{
    (void)state;
    gn_operator *op = gn_op_limit(&plan_eval, &plan_account, people_table(), 1, 2);
    assert_string_equal(drained(op), "1|ann|2.5\n2|bob|\n");
    assert_string_equal(drained(gn_op_limit(&plan_eval, &plan_account, people_table(), 9, 2)), "");
    assert_string_equal(drained(gn_op_limit(&plan_eval, &plan_account, people_table(), 0, 0)), "");
    assert_string_equal(drained(gn_op_limit(&plan_eval, &plan_account, people_table(), 5, UINT64_MAX)), "2|eve|-1\n");
}

static void sort_orders_by_several_keys_with_nulls_where_asked(void **state)
{
    (void)state;
    gn_sort_key keys[] = {{column("int", 0), false, false}, {column("text", 1), true, false}};
    assert_string_equal(drained(gn_op_sort(&plan_eval, &plan_account, people_table(), keys, 2, UINT64_MAX)),
                        "1|ann|2.5\n1|ann|2.5\n2|eve|-1\n2|bob|\n3|carl|1.5\n|dora|0.5\n");
    gn_sort_key descending[] = {{column("float8", 2), true, true}};
    assert_string_equal(drained(gn_op_sort(&plan_eval, &plan_account, people_table(), descending, 1, UINT64_MAX)),
                        "2|bob|\n1|ann|2.5\n1|ann|2.5\n3|carl|1.5\n|dora|0.5\n2|eve|-1\n");
    gn_sort_key computed[] = {{call1("-", column("int", 0)), false, false}};
    assert_string_equal(drained(gn_op_sort(&plan_eval, &plan_account, people_table(), computed, 1, 3)),
                        "3|carl|1.5\n2|bob|\n2|eve|-1\n");
}

/* A source of many rows: (i * 7919 mod n, its text padded to `width`). */
typedef struct source {
    gn_operator op;
    uint32_t n, at, width;
    gn_arena *arena;
    gn_batch batch;
} source;

static gn_code source_next(gn_operator *op, gn_batch **out, gn_error *err)
{
    source *s = (source *)op;
    gn_arena_reset(s->arena);
    assert_int_equal(gn_batch_init(&s->batch, op->types, 2, s->arena, err), GN_OK);
    for (; s->batch.n_rows < GN_BATCH_ROWS && s->at < s->n; s->at++) {
        int64_t v = (int64_t)((uint64_t)s->at * 7919 % s->n);
        char *text = gn_arena_alloc(s->arena, s->width + 1u);
        snprintf(text, s->width + 1u, "%0*d", (int)s->width, (int)(v % 100));
        s->batch.columns[0].i64[s->batch.n_rows] = v;
        s->batch.columns[1].bytes[s->batch.n_rows++] = gn_bytes_of(text, s->width);
    }
    *out = &s->batch;
    return GN_OK;
}

static void source_close(gn_operator *op)
{
    gn_arena_destroy(((source *)op)->arena);
    free(op);
}

static gn_operator *numbers(uint32_t n, uint32_t width)
{
    static const gn_operator_ops ops = {"Source", source_next, source_close};
    static gn_type types[2];
    types[0] = gn_type_of(GN_T_INT8);
    types[1] = gn_type_of(GN_T_TEXT);
    source *s = calloc(1, sizeof *s);
    s->op = (gn_operator){.ops = &ops, .n_columns = 2, .types = types, .eval = &plan_eval};
    s->n = n;
    s->width = width;
    s->arena = gn_arena_create(NULL);
    return &s->op;
}

static uint64_t drained_in_order(gn_operator *op, int64_t first, int64_t step)
{
    uint64_t n = 0;
    for (;;) {
        gn_batch *batch;
        assert_int_equal(gn_operator_next(op, &batch, &plan_error), GN_OK);
        if (!batch || batch->n_rows == 0)
            break;
        for (uint32_t r = 0; r < batch->n_rows; r++, n++)
            assert_int_equal(batch->columns[0].i64[r], first + (int64_t)n * step);
    }
    gn_operator_close(op);
    return n;
}

static void sort_orders_many_batches(void **state)
{
    (void)state;
    gn_sort_key up[] = {{column("int8", 0), false, false}}, down[] = {{column("int8", 0), true, false}};
    gn_sort_key text_then_number[] = {{column("text", 1), false, false}, {column("int8", 0), false, false}};
    assert_int_equal(
        drained_in_order(gn_op_sort(&plan_eval, &plan_account, numbers(10007, 12), up, 1, UINT64_MAX), 0, 1), 10007);
    assert_int_equal(
        drained_in_order(gn_op_sort(&plan_eval, &plan_account, numbers(10007, 12), down, 1, 1500), 10006, -1), 1500);
    assert_int_equal(drained_in_order(gn_op_sort(&plan_eval, &plan_account, numbers(10007, 12), up, 1, 7), 0, 1), 7);
    assert_int_equal(
        drained_in_order(gn_op_sort(&plan_eval, &plan_account, numbers(10007, 12), text_then_number, 2, 101), 0, 100),
        101);
}

static void sort_is_stable(void **state)
{
    (void)state;
    const char *const types[] = {"int", "text"};
    const char *const rows[] = {"1|a", "0|b", "1|c", "0|d", "1|e", "0|f"};
    gn_sort_key key[] = {{column("int", 0), false, false}};
    assert_string_equal(drained(gn_op_sort(&plan_eval, &plan_account, table(2, types, 6, rows), key, 1, UINT64_MAX)),
                        "0|b\n0|d\n0|f\n1|a\n1|c\n1|e\n");
    assert_string_equal(drained(gn_op_sort(&plan_eval, &plan_account, table(2, types, 6, rows), key, 1, 4)),
                        "0|b\n0|d\n0|f\n1|a\n");
}

static void top_k_needs_little_memory(void **state)
{
    (void)state;
    gn_account small;
    gn_account_init(&small, NULL, "small", 4u << 20);
    gn_sort_key up[] = {{column("int8", 0), false, false}};
    /* 50,000 rows of 1 KB pass through; 10 are kept */
    assert_int_equal(drained_in_order(gn_op_sort(&plan_eval, &small, numbers(50021, 1000), up, 1, 10), 0, 1), 10);
    gn_account_close(&small);
}

static void a_refused_budget_is_an_error_with_a_hint(void **state)
{
    (void)state;
    gn_sort_key up[] = {{column("int8", 0), false, false}};
    gn_expr *keys[] = {column("int8", 0)};
    for (size_t limit = 1000; limit < (8u << 20); limit = limit * 3 / 2) {
        gn_account small;
        gn_account_init(&small, NULL, "statement", limit);
        gn_operator *all[] = {
            gn_op_sort(&plan_eval, &small, numbers(20000, 1000), up, 1, UINT64_MAX),
            gn_op_distinct(&plan_eval, &small, numbers(20000, 1000)),
            gn_op_aggregate(&plan_eval, &small, numbers(300000, 8), keys, 1, NULL, 0),
        };
        for (size_t i = 0; i < 3; i++) {
            gn_batch *batch;
            gn_code code;
            plan_error = (gn_error){.code = GN_OK};
            do
                code = gn_operator_next(all[i], &batch, &plan_error);
            while (code == GN_OK && batch && batch->n_rows);
            assert_int_equal(code, GN_OUT_OF_MEMORY);
            assert_string_not_equal(plan_error.hint, "");
            gn_operator_close(all[i]);
        }
        gn_account_close(&small); /* asserts that all was given back */
    }
}

static void cancel_ends_an_operator(void **state)
{
    (void)state;
    _Atomic bool cancel = false;
    plan_eval.cancel = &cancel;
    gn_sort_key up[] = {{column("int8", 0), false, false}};
    gn_operator *op = gn_op_sort(&plan_eval, &plan_account, numbers(5000, 8), up, 1, UINT64_MAX);
    cancel = true;
    assert_string_equal(drained(op), "57014 canceling statement due to user request");
    plan_eval.cancel = NULL;
}

static void distinct_keeps_the_first_of_equal_rows(void **state)
{
    (void)state;
    assert_string_equal(drained(gn_op_distinct(&plan_eval, &plan_account, people_table())),
                        "3|carl|1.5\n1|ann|2.5\n2|bob|\n|dora|0.5\n2|eve|-1\n");
    const char *const types[] = {"int"}, *const rows[] = {"", "1", "", "1", "2"};
    assert_string_equal(drained(gn_op_distinct(&plan_eval, &plan_account, table(1, types, 5, rows))), "\n1\n2\n");
    gn_expr *text[] = {column("text", 1)};
    gn_operator *op = gn_op_project(&plan_eval, &plan_account, numbers(30000, 8), text, 1);
    op = gn_op_distinct(&plan_eval, &plan_account, op);
    gn_batch *batch;
    uint64_t n = 0;
    while (gn_operator_next(op, &batch, &plan_error) == GN_OK && batch && batch->n_rows)
        n += batch->n_rows;
    gn_operator_close(op);
    assert_int_equal(n, 100);
}

static gn_aggregate_call aggregate(const char *name, uint32_t n, gn_expr *a, gn_expr *b)
{
    gn_aggregate_call call = {.n_args = n};
    gn_type types[2], wanted[2];
    gn_expr **args = gn_arena_calloc(plan_arena, 2, sizeof *args), *given[] = {a, b};
    for (uint32_t i = 0; i < n; i++)
        types[i] = given[i]->type;
    if (gn_aggregate_resolve(gn_bytes_str(name), types, n, &call.aggregate, wanted, &call.result, &plan_error))
        fail_msg("%s", plan_error.message);
    for (uint32_t i = 0; i < n; i++)
        args[i] = cast_to(given[i], wanted[i]);
    call.args = args;
    return call;
}

static void aggregate_groups_rows(void **state)
{
    (void)state;
    gn_expr *keys[] = {column("int", 0)};
    gn_aggregate_call calls[] = {
        aggregate("count", 0, NULL, NULL),
        aggregate("count", 1, column("float8", 2), NULL),
        aggregate("sum", 1, column("float8", 2), NULL),
        aggregate("min", 1, column("text", 1), NULL),
        aggregate("max", 1, column("text", 1), NULL),
        aggregate("sum", 1, column("int", 0), NULL),
    };
    assert_string_equal(drained(gn_op_aggregate(&plan_eval, &plan_account, people_table(), keys, 1, calls, 6)),
                        "3|1|1|1.5|carl|carl|3\n"
                        "1|2|2|5|ann|ann|2\n"
                        "2|2|1|-1|bob|eve|4\n"
                        "|1|1|0.5|dora|dora|\n");
}

static void aggregate_without_keys_gives_one_row(void **state)
{
    (void)state;
    gn_aggregate_call calls[] = {
        aggregate("count", 0, NULL, NULL),
        aggregate("sum", 1, column("int", 0), NULL),
        aggregate("bool_and", 1, call2(">", column("int", 0), constant("int", "0")), NULL),
        aggregate("bool_or", 1, call2(">", column("int", 0), constant("int", "2")), NULL),
    };
    const char *const none[] = {""};
    assert_string_equal(
        drained(gn_op_aggregate(&plan_eval, &plan_account, table(3, people_types, 0, none), NULL, 0, calls, 4)),
        "0|||\n");
    assert_string_equal(drained(gn_op_aggregate(&plan_eval, &plan_account, people_table(), NULL, 0, calls, 4)),
                        "6|9|t|t\n");
}

static void aggregate_honours_distinct_and_filter(void **state)
{
    (void)state;
    gn_expr *keys[] = {call2(">", column("float8", 2), constant("float8", "1"))};
    gn_aggregate_call calls[] = {
        aggregate("count", 1, column("text", 1), NULL),
        aggregate("sum", 1, column("int", 0), NULL),
        aggregate("count", 0, NULL, NULL),
    };
    calls[0].distinct = calls[1].distinct = true;
    calls[1].filter = call2("<>", column("text", 1), constant("text", "carl"));
    calls[2].filter = call2("=", call2("/", constant("int", "6"), column("int", 0)), constant("int", "3"));
    assert_string_equal(drained(gn_op_aggregate(&plan_eval, &plan_account, people_table(), keys, 1, calls, 3)),
                        "t|2|1|0\n"
                        "|1|2|1\n"
                        "f|2|2|1\n");
    gn_aggregate_call guarded[] = {aggregate("sum", 1, call2("/", constant("int", "6"), column("int", 0)), NULL)};
    guarded[0].filter = call2("<>", column("int", 0), constant("int", "0"));
    const char *const types[] = {"int"}, *const rows[] = {"0", "1", "2"};
    assert_string_equal(
        drained(gn_op_aggregate(&plan_eval, &plan_account, table(1, types, 3, rows), NULL, 0, guarded, 1)), "9\n");
}

/* One aggregate over one column of values; NULL where a text is empty. */
static const char *over(const char *name, const char *type, uint32_t n, const char *const *values)
{
    gn_aggregate_call call = aggregate(name, 1, column(type, 0), NULL);
    const char *s = drained(gn_op_aggregate(&plan_eval, &plan_account, table(1, &type, n, values), NULL, 0, &call, 1));
    plan_error = (gn_error){.code = GN_OK};
    char result[80];
    return gn_arena_printf(plan_arena, "%s %s", gn_type_format(call.result, result, sizeof result), s);
}

/* PostgreSQL 15's answers. */
static void aggregates_have_postgresqls_results_and_types(void **state)
{
    (void)state;
    const char *const ints[] = {"1", "", "2", "4"}, *const big[] = {"9223372036854775807", "1"};
    const char *const decimals[] = {"1.5", "2.25", "", "4.125"}, *const floats[] = {"1.5", "2.5", "4"};
    const char *const spans[] = {"1 mon", "3 days 02:00:00", "10 days"}, *const one[] = {"7"}, *const none[] = {""};
    assert_string_equal(over("sum", "int", 4, ints), "bigint 7\n");
    assert_string_equal(over("sum", "bigint", 2, big), "numeric 9223372036854775808\n");
    assert_string_equal(over("sum", "numeric", 4, decimals), "numeric 7.875\n");
    assert_string_equal(over("avg", "int", 4, ints), "numeric 2.3333333333333333\n");
    assert_string_equal(over("avg", "bigint", 2, big), "numeric 4611686018427387904\n");
    assert_string_equal(over("avg", "numeric", 4, decimals), "numeric 2.6250000000000000\n");
    assert_string_equal(over("avg", "float8", 3, floats), "double precision 2.6666666666666665\n");
    assert_string_equal(over("variance", "int", 4, ints), "numeric 2.3333333333333333\n");
    assert_string_equal(over("var_pop", "bigint", 4, ints), "numeric 1.5555555555555556\n");
    assert_string_equal(over("stddev", "numeric", 4, decimals), "numeric 1.3520817282989960\n");
    assert_string_equal(over("stddev_pop", "float8", 3, floats), "double precision 1.0274023338281628\n");
    assert_string_equal(over("stddev", "int", 1, one), "numeric \n");
    assert_string_equal(over("stddev_pop", "int", 1, one), "numeric 0\n");
    assert_string_equal(over("avg", "int", 1, none), "numeric \n");
    assert_string_equal(over("sum", "interval", 3, spans), "interval 1 mon 13 days 02:00:00\n");
    assert_string_equal(over("avg", "interval", 3, spans), "interval 14 days 08:40:00\n");
    assert_string_equal(over("max", "numeric", 4, decimals), "numeric 4.125\n");
    assert_string_equal(over("min", "interval", 3, spans), "interval 3 days 02:00:00\n");
    assert_string_equal(over("bit_or", "int", 4, ints), "integer 7\n");
}

static void string_agg_joins_in_order_of_arrival(void **state)
{
    (void)state;
    const char *const types[] = {"text", "text"}, *const rows[] = {"a|-", "|-", "b|+", "c|"};
    gn_aggregate_call calls[] = {aggregate("string_agg", 2, column("text", 0), column("text", 1))};
    assert_string_equal(
        drained(gn_op_aggregate(&plan_eval, &plan_account, table(2, types, 4, rows), NULL, 0, calls, 1)), "a+bc\n");
}

static void vectors_add_up(void **state)
{
    (void)state;
    const char *const vectors[] = {"[1,2]", "", "[3,5]"}, *const mixed[] = {"[1,2]", "[1]"};
    assert_string_equal(over("sum", "vector", 3, vectors), "vector [4,7]\n");
    assert_string_equal(over("avg", "vector", 3, vectors), "vector [2,3.5]\n");
    assert_string_equal(over("avg", "vector", 2, mixed), "vector 22000 expected 2 dimensions, not 1");
}

static void sums_overflow_with_an_error(void **state)
{
    (void)state;
    gn_aggregate_call calls[] = {aggregate("sum", 1, column("float8", 0), NULL)};
    const char *const types[] = {"float8"}, *const rows[] = {"1e308", "1e308"};
    assert_string_equal(
        drained(gn_op_aggregate(&plan_eval, &plan_account, table(1, types, 2, rows), NULL, 0, calls, 1)),
        "22003 value out of range: overflow");
}

static void many_groups_and_many_batches_add_up(void **state)
{
    (void)state;
    gn_expr *keys[] = {column("text", 1)};
    gn_aggregate_call calls[] = {aggregate("count", 0, NULL, NULL), aggregate("max", 1, column("int8", 0), NULL)};
    gn_operator *op = gn_op_aggregate(&plan_eval, &plan_account, numbers(20000, 6), keys, 1, calls, 2);
    gn_batch *batch;
    int64_t rows = 0, groups = 0;
    while (gn_operator_next(op, &batch, &plan_error) == GN_OK && batch && batch->n_rows)
        for (uint32_t r = 0; r < batch->n_rows; r++, groups++)
            rows += batch->columns[1].i64[r];
    gn_operator_close(op);
    assert_int_equal(groups, 100);
    assert_int_equal(rows, 20000);
}

#define PLAN_TEST(name) cmocka_unit_test_setup_teardown(name, plan_setup, plan_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLAN_TEST(filter_keeps_rows_whose_condition_is_true),
        PLAN_TEST(project_computes_columns),
        PLAN_TEST(limit_skips_and_stops),
        PLAN_TEST(sort_orders_by_several_keys_with_nulls_where_asked),
        PLAN_TEST(sort_orders_many_batches),
        PLAN_TEST(sort_is_stable),
        PLAN_TEST(top_k_needs_little_memory),
        PLAN_TEST(a_refused_budget_is_an_error_with_a_hint),
        PLAN_TEST(cancel_ends_an_operator),
        PLAN_TEST(distinct_keeps_the_first_of_equal_rows),
        PLAN_TEST(aggregate_groups_rows),
        PLAN_TEST(aggregate_without_keys_gives_one_row),
        PLAN_TEST(aggregate_honours_distinct_and_filter),
        PLAN_TEST(aggregates_have_postgresqls_results_and_types),
        PLAN_TEST(string_agg_joins_in_order_of_arrival),
        PLAN_TEST(vectors_add_up),
        PLAN_TEST(sums_overflow_with_an_error),
        PLAN_TEST(many_groups_and_many_batches_add_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
