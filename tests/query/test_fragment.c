/* Work that travels to the rows: it comes back from bytes as it was, bytes that are something else are refused, and
 * aggregates of parts come to what the aggregate of all does. */
#include "query/expr_pack.h"
#include "query/fragment.h"
#include "query/function_private.h"
#include "tests/base/cmocka_all.h"
#include "tests/query/plans.h"

#include <math.h>
#include <stdlib.h>

enum { N_COLUMNS = 5, N_ROWS = 700, PARTS = 5 };
static const char *const names[N_COLUMNS] = {"int4", "text", "numeric", "float8", "int4[]"};
static gn_type types[N_COLUMNS];

static gn_expr *text_const(const char *text)
{
    return constant("text", text);
}

/* Something of every kind that travels. */
static gn_expr *condition(void)
{
    gn_type boolean = gn_type_of(GN_T_BOOL);
    gn_expr *a = column("int4", 0), *t = column("text", 1), *n = column("numeric", 2), *xs = column("int4[]", 4);
    gn_expr *len = call1("length", t), *five = constant("int4", "5");
    gn_expr *any = node(GN_E_ANY, boolean, 2, a, xs);
    gn_type pair[2] = {gn_type_of(GN_T_INT4), gn_type_of(GN_T_INT4)}, wanted[2], result;
    assert_int_equal(gn_function_resolve(gn_bytes_str("="), true, pair, 2, &any->function, wanted, &result, NULL),
                     GN_OK);
    gn_expr *choice = node(GN_E_CASE, gn_type_of(GN_T_INT4), 3, node(GN_E_IS_NULL, boolean, 1, n), a, five);
    gn_expr *wide = node(GN_E_CAST, gn_type_of(GN_T_INT8), 1, a);
    wide->cast_context = GN_CAST_IMPLICIT;
    gn_expr *slice = node(GN_E_SLICE, gn_type_array_of(GN_T_INT4), 3, xs, five, constant("int4", NULL));
    slice->column = 2;
    return node(
        GN_E_AND, boolean, 8,
        node(GN_E_OR, boolean, 2, any, node(GN_E_IN, boolean, 3, len, five, constant("int4", "3"))),
        node(GN_E_NOT, boolean, 1, node(GN_E_IS_DISTINCT, boolean, 2, choice, len)),
        node(GN_E_IN, boolean, 3, wide, constant("int8", "77"), constant("int8", NULL)),
        node(GN_E_IS_NOT_NULL, boolean, 1, node(GN_E_NULLIF, gn_type_of(GN_T_TEXT), 2, t, text_const("x"))),
        node(GN_E_IS_TRUE, boolean, 1,
             node(GN_E_IN, boolean, 2, node(GN_E_COALESCE, gn_type_of(GN_T_NUMERIC), 2, n, constant("numeric", "1.50")),
                  constant("numeric", "12345678901234567890.123"))),
        node(GN_E_IN, boolean, 2, node(GN_E_GREATEST, gn_type_of(GN_T_INT4), 2, a, len), five),
        node(GN_E_IN, boolean, 2, node(GN_E_SUBSCRIPT, gn_type_of(GN_T_INT4), 2, xs, five), five),
        node(GN_E_IN, boolean, 3, node(GN_E_ARRAY, gn_type_array_of(GN_T_INT4), 2, a, len), xs, slice));
}

static int setup(void **state)
{
    for (int i = 0; i < N_COLUMNS; i++)
        types[i] = type_named(names[i]);
    return plan_setup(state);
}

static gn_expr *settled(const gn_expr *e)
{
    gn_expr *out;
    assert_int_equal(gn_expr_settle(e, &plan_eval, &out), GN_OK);
    return out;
}

static gn_code unpack(gn_bytes bytes, gn_expr **out)
{
    gn_expr_source source = {
        .in = gn_reader_of(bytes), .columns = types, .n_columns = N_COLUMNS, .arena = plan_arena, .err = &plan_error};
    gn_code code = gn_expr_unpack(&source, out);
    return code ? code : gn_reader_left(&source.in) ? GN_CORRUPT : GN_OK;
}

static void expressions_come_back(void **state)
{
    (void)state;
    gn_buf buf;
    gn_expr *e = settled(condition()), *back;
    assert_non_null(e);
    gn_buf_init(&buf, NULL, 1 << 20);
    gn_expr_pack(e, &buf);
    assert_int_equal(unpack(gn_buf_bytes(&buf), &back), GN_OK);
    assert_true(gn_expr_equal(e, back));
    for (size_t len = 0; len < buf.len; len++)
        assert_int_not_equal(unpack(gn_bytes_of(buf.data, len), &back), GN_OK);
    gn_buf_close(&buf);
}

static void parameters_and_constants_are_values_on_the_way(void **state)
{
    (void)state;
    gn_value params[1] = {parsed(plan_arena, gn_type_of(GN_T_INT4), "42")};
    gn_expr *param = node(GN_E_PARAM, gn_type_of(GN_T_INT4), 0);
    plan_eval.params = params;
    plan_eval.n_params = 1;
    gn_expr *sum = settled(call_args("+", true, (gn_expr *[]){param, constant("int4", "8")}, 2));
    assert_int_equal(sum->kind, GN_E_CONST);
    assert_int_equal(sum->value.as.i32, 50);
    /* what fails does so at the rows, if any asks for it */
    gn_expr *bad = settled(call_args("/", true, (gn_expr *[]){param, constant("int4", "0")}, 2));
    assert_int_equal(bad->kind, GN_E_CALL);
    assert_int_equal(bad->args[0]->kind, GN_E_CONST);
    assert_null(settled(call_args("random", false, NULL, 0)));
    assert_null(settled(node(GN_E_IS_NULL, gn_type_of(GN_T_BOOL), 1, call_args("random", false, NULL, 0))));
    /* a tree as the evaluator would not take it does not leave */
    assert_null(settled(node(GN_E_NOT, gn_type_of(GN_T_BOOL), 1, column("int4", 0))));
    assert_null(settled(node(GN_E_IN, gn_type_of(GN_T_BOOL), 2, column("int4", 0), constant("int8", "1"))));
}

static void deep_and_wide_trees_are_refused(void **state)
{
    (void)state;
    gn_buf buf;
    gn_expr *e = node(GN_E_IS_NULL, gn_type_of(GN_T_BOOL), 1, column("int4", 0)), *back;
    for (int i = 0; i < 300; i++)
        e = node(GN_E_NOT, gn_type_of(GN_T_BOOL), 1, e);
    assert_null(settled(e));
    gn_buf_init(&buf, NULL, 1 << 20);
    gn_expr_pack(e, &buf);
    assert_int_equal(unpack(gn_buf_bytes(&buf), &back), GN_LIMIT);
    gn_buf_clear(&buf);
    gn_expr_pack(node(GN_E_AND, gn_type_of(GN_T_BOOL), 2, settled(condition()), settled(condition())), &buf);
    buf.data[11] = 0x7f; /* of so many arguments no byte is there */
    assert_int_equal(unpack(gn_buf_bytes(&buf), &back), GN_CORRUPT);
    gn_buf_close(&buf);
}

/* ---- rows ---- */

static gn_expr ***make_rows(uint32_t from, uint32_t n)
{
    gn_expr ***rows = gn_arena_calloc(plan_arena, n + 1, sizeof *rows);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t k = from + i;
        char(*text)[40] = gn_arena_alloc(plan_arena, sizeof(char[5][40])); /* values may point into it */
        snprintf(text[0], sizeof text[0], "%d", (int)(k * 7919 % 201) - 100);
        snprintf(text[1], sizeof text[1], "w%u", k % 17);
        snprintf(text[2], sizeof text[2], "%d.%03u", (int)(k * 31 % 999) - 500, k % 1000);
        snprintf(text[3], sizeof text[3], "%g", (double)(int)(k * 17 % 333) / 4 - 40);
        snprintf(text[4], sizeof text[4], "{%u,%u}", k % 5, k % 3);
        rows[i] = gn_arena_calloc(plan_arena, N_COLUMNS, sizeof **rows);
        for (int c = 0; c < N_COLUMNS; c++)
            rows[i][c] = constant(names[c], (k + (uint32_t)c) % 11 == 0 ? NULL : text[c]);
    }
    return rows;
}

static gn_operator *source(uint32_t from, uint32_t n)
{
    return gn_op_values(&plan_eval, &plan_account, make_rows(from, n), n, types, N_COLUMNS);
}

/* Printed rows, sorted unless their order counts. */
static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static char *drain(gn_operator *op, bool ordered)
{
    char **lines = gn_arena_calloc(plan_arena, 4 * N_ROWS, sizeof *lines);
    size_t n = 0;
    gn_batch *b;
    while (gn_operator_next(op, &b, &plan_error) == GN_OK && b && b->n_rows)
        for (uint32_t r = 0; r < b->n_rows; r++) {
            gn_buf buf;
            gn_buf_init(&buf, NULL, 1 << 20);
            for (uint32_t c = 0; c < b->n_columns; c++) {
                gn_value v = gn_column_get(&b->columns[c], r);
                if (!v.is_null)
                    gn_value_print(&v, &default_format, &buf);
                gn_buf_append_str(&buf, v.is_null ? "-|" : "|");
            }
            lines[n++] = gn_arena_strndup(plan_arena, (char *)buf.data, buf.len);
            gn_buf_close(&buf);
        }
    assert_int_equal(plan_error.code, GN_OK);
    gn_operator_close(op);
    if (!ordered)
        qsort(lines, n, sizeof *lines, by_text);
    gn_buf all;
    gn_buf_init(&all, NULL, 1 << 22);
    for (size_t i = 0; i < n; i++)
        gn_buf_printf(&all, "%s\n", lines[i]);
    char *text = gn_arena_strndup(plan_arena, all.data ? (char *)all.data : "", all.len);
    gn_buf_close(&all);
    return text;
}

/* All batches of the parts, one after the other. */
typedef struct chain {
    gn_operator op;
    gn_operator *parts[PARTS];
    uint32_t at;
} chain;

static gn_code chain_next(gn_operator *op, gn_batch **out, gn_error *err)
{
    chain *c = (chain *)op;
    for (*out = NULL; c->at < PARTS; c->at++) {
        gn_code code = gn_operator_next(c->parts[c->at], out, err);
        if (code || (*out && (*out)->n_rows))
            return code;
    }
    return GN_OK;
}

static void chain_close(gn_operator *op)
{
    chain *c = (chain *)op;
    for (int i = 0; i < PARTS; i++)
        gn_operator_close(c->parts[i]);
}

/* Each part through bytes and back, as if it were elsewhere. */
static gn_operator *in_parts(const gn_fragment *f)
{
    static const gn_operator_ops ops = {.name = "Chain", .next = chain_next, .close = chain_close};
    chain *c = gn_arena_calloc(plan_arena, 1, sizeof *c);
    gn_buf buf;
    gn_buf_init(&buf, NULL, 1 << 21);
    assert_true(gn_fragment_pack(f, &buf));
    for (uint32_t i = 0; i < PARTS; i++) {
        gn_fragment *back = gn_arena_calloc(plan_arena, 1, sizeof *back);
        assert_int_equal(gn_fragment_unpack(gn_buf_bytes(&buf), types, N_COLUMNS, plan_arena, back, &plan_error),
                         GN_OK);
        uint32_t from = i * N_ROWS / PARTS, to = (i + 1) * N_ROWS / PARTS;
        c->parts[i] =
            gn_fragment_operators(back, &plan_eval, &plan_account, source(from, to - from), false, plan_arena);
        c->op = (gn_operator){.ops = &ops, .n_columns = back->n_out, .types = back->out_types, .eval = &plan_eval};
    }
    gn_buf_close(&buf);
    return &c->op;
}

static gn_fragment fragment_of(const gn_expr *filter)
{
    return (gn_fragment){
        .types = types, .n_types = N_COLUMNS, .format = default_format, .filter = filter, .keep = UINT64_MAX};
}

static gn_expr *small(void)
{
    return settled(call_args("<", true, (gn_expr *[]){column("int4", 0), constant("int4", "60")}, 2));
}

/* Every aggregate that can be computed in parts, over every column that it takes, with keys and without. */
static void aggregates_of_parts_are_those_of_all(void **state)
{
    (void)state;
    static const char *const aggregates[] = {"count",   "sum",         "avg",     "min",    "max",     "variance",
                                             "var_pop", "stddev_samp", "bit_and", "bit_or", "bit_xor", "stddev_pop"};
    int n = 0;
    for (size_t a = 0; a < sizeof aggregates / sizeof *aggregates; a++)
        for (uint32_t c = 0; c < N_COLUMNS; c++)
            for (uint32_t n_keys = 0; n_keys < 2; n_keys++) {
                gn_type wanted[1], result;
                const gn_aggregate *aggregate;
                gn_error ignored = {0};
                if (gn_aggregate_resolve(gn_bytes_str(aggregates[a]), &types[c], 1, &aggregate, wanted, &result,
                                         &ignored) != GN_OK ||
                    !gn_type_same(wanted[0], types[c]))
                    continue;
                assert_true(gn_aggregate_combines(aggregate));
                gn_expr *args[1] = {column(names[c], c)}, *keys[1] = {column("text", 1)};
                gn_aggregate_call call = {.aggregate = aggregate, .args = args, .n_args = 1, .result = result};
                gn_fragment f = fragment_of(small());
                f.grouped = true;
                f.keys = keys;
                f.n_keys = n_keys;
                f.calls = &call;
                f.n_calls = 1;
                gn_operator *all = gn_op_filter(&plan_eval, &plan_account, source(0, N_ROWS), f.filter);
                char *expected = drain(gn_op_aggregate(&plan_eval, &plan_account, all, keys, n_keys, &call, 1), false);
                char *found = drain(
                    gn_op_aggregate_combine(&plan_eval, &plan_account, in_parts(&f), keys, n_keys, &call, 1), false);
                bool rounds = c == 3 && (aggregates[a][0] == 'v' || aggregates[a][0] == 's') && aggregates[a][1] != 'u';
                if (!rounds) /* spreads of floats differ in their last digits */
                    assert_string_equal(found, expected);
                n++;
            }
    assert_true(n > 40);
}

/* A key may come more than once from a part that has very many. */
static void many_groups_are_given_before_the_end(void **state)
{
    (void)state;
    enum { N = 70000 };
    gn_type type = gn_type_of(GN_T_INT4), wanted[1], result;
    const gn_aggregate *count;
    gn_expr ***rows = gn_arena_calloc(plan_arena, N, sizeof *rows);
    gn_account roomy;
    gn_account_init(&roomy, NULL, "test", 0);
    for (uint32_t i = 0; i < N; i++) {
        gn_expr *e = node(GN_E_CONST, type, 0);
        e->value = (gn_value){.type = type, .as.i32 = (int32_t)(i % 69000)};
        rows[i] = gn_arena_calloc(plan_arena, 1, sizeof **rows);
        rows[i][0] = e;
    }
    assert_int_equal(gn_aggregate_resolve(gn_bytes_str("count"), NULL, 0, &count, wanted, &result, NULL), GN_OK);
    gn_expr *keys[1] = {column("int4", 0)};
    gn_aggregate_call call = {.aggregate = count, .result = result};
    gn_operator *op = gn_op_values(&plan_eval, &roomy, rows, N, &type, 1);
    op = gn_op_aggregate_partial(&plan_eval, &roomy, op, keys, 1, &call, 1);
    op = gn_op_aggregate_combine(&plan_eval, &roomy, op, keys, 1, &call, 1);
    uint64_t n = 0, twice = 0;
    gn_batch *b;
    while (gn_operator_next(op, &b, &plan_error) == GN_OK && b && b->n_rows)
        for (uint32_t r = 0; r < b->n_rows; r++, n++)
            twice += b->columns[1].i64[r] == 2;
    assert_int_equal(n, 69000);
    assert_int_equal(twice, 1000);
    gn_operator_close(op);
    gn_account_close(&roomy);
}

static void the_first_of_parts_are_the_first_of_all(void **state)
{
    (void)state;
    gn_sort_key sort[2] = {{.expr = settled(call1("-", column("numeric", 2))), .nulls_first = true},
                           {.expr = column("text", 1), .descending = true}};
    uint32_t columns[4] = {0, 1, 2, 3};
    gn_fragment f = fragment_of(small());
    f.sort = sort;
    f.n_sort = 2;
    f.keep = 40;
    f.columns = columns;
    f.n_columns = 4;
    gn_operator *all = gn_op_filter(&plan_eval, &plan_account, source(0, N_ROWS), f.filter);
    gn_expr *exprs[4];
    for (uint32_t i = 0; i < 4; i++)
        exprs[i] = column(names[i], i);
    all = gn_op_project(&plan_eval, &plan_account, all, exprs, 4);
    char *expected = drain(gn_op_sort(&plan_eval, &plan_account, all, sort, 2, 40), true);
    assert_string_equal(drain(gn_op_sort(&plan_eval, &plan_account, in_parts(&f), sort, 2, 40), true), expected);
    f.n_sort = 0;
    f.keep = 3;
    char *any = drain(in_parts(&f), false);
    int lines = 0;
    for (char *p = any; *p; p++)
        lines += *p == '\n';
    assert_int_equal(lines, 3 * PARTS);
}

/* ---- what nobody has packed ---- */

static gn_fragment full_fragment(bool grouped)
{
    gn_fragment f = fragment_of(settled(condition()));
    gn_type wanted[1], result;
    static gn_format zoned;
    zoned = default_format;
    zoned.tz_name = "Europe/Berlin";
    f.format = zoned;
    if (!grouped) {
        static gn_sort_key sort[1];
        static uint32_t columns[2] = {1, 4};
        sort[0] = (gn_sort_key){.expr = settled(call1("length", column("text", 1))), .descending = true};
        f.sort = sort;
        f.n_sort = 1;
        f.keep = 10;
        f.columns = columns;
        f.n_columns = 2;
        return f;
    }
    gn_aggregate_call *call = gn_arena_calloc(plan_arena, 1, sizeof *call);
    gn_expr **args = gn_arena_calloc(plan_arena, 1, sizeof *args);
    args[0] = column("numeric", 2);
    gn_aggregate_resolve(gn_bytes_str("avg"), &types[2], 1, &call->aggregate, wanted, &result, NULL);
    call->result = result;
    call->args = args;
    call->n_args = 1;
    call->filter = small();
    f.keys = args;
    f.n_keys = 1;
    f.calls = call;
    f.n_calls = 1;
    f.grouped = true;
    return f;
}

static void damaged_fragments_are_refused_or_sound(void **state)
{
    (void)state;
    for (int grouped = 0; grouped < 2; grouped++) {
        gn_buf buf;
        gn_fragment f = full_fragment(grouped), back;
        gn_buf_init(&buf, NULL, 1 << 21);
        assert_true(gn_fragment_pack(&f, &buf));
        gn_arena *arena = gn_arena_create(NULL);
        gn_error err = {0};
        for (size_t len = 0; len < buf.len; len++) {
            gn_arena_reset(arena);
            uint8_t *copy = malloc(len + 1); /* of just this size, so that a sanitizer sees what is read beyond */
            memcpy(copy, buf.data, len);
            assert_int_not_equal(gn_fragment_unpack(gn_bytes_of(copy, len), types, N_COLUMNS, arena, &back, &err),
                                 GN_OK);
            free(copy);
        }
        for (size_t at = 0; at < buf.len; at++)
            for (int bit = 0; bit < 8; bit++) {
                gn_arena_reset(arena);
                buf.data[at] ^= (uint8_t)(1 << bit);
                gn_code code = gn_fragment_unpack(gn_buf_bytes(&buf), types, N_COLUMNS, arena, &back, &err);
                assert_true(code == GN_OK || code == GN_CORRUPT || code == GN_LIMIT);
                if (code == GN_OK && at % 3 == 0) { /* whatever it does now, it does no harm */
                    gn_operator *op =
                        gn_fragment_operators(&back, &plan_eval, &plan_account, source(0, 20), false, arena);
                    gn_batch *b;
                    while (gn_operator_next(op, &b, &err) == GN_OK && b && b->n_rows)
                        ;
                    gn_operator_close(op);
                }
                buf.data[at] ^= (uint8_t)(1 << bit);
            }
        gn_arena_destroy(arena);
        gn_buf_close(&buf);
    }
}

static void what_is_too_large_does_not_leave(void **state)
{
    (void)state;
    char *text = malloc(GN_FRAGMENT_BYTES + 1);
    memset(text, 'x', GN_FRAGMENT_BYTES);
    text[GN_FRAGMENT_BYTES] = 0;
    gn_fragment f = fragment_of(settled(node(GN_E_IN, gn_type_of(GN_T_BOOL), 2, column("text", 1), text_const(text))));
    gn_buf buf;
    gn_buf_init(&buf, NULL, 1 << 22);
    assert_false(gn_fragment_pack(&f, &buf));
    gn_buf_close(&buf);
    free(text);
}

static void states_that_nobody_saved_are_refused(void **state)
{
    (void)state;
    static const char *const aggregates[] = {"count", "sum", "avg", "min", "max", "variance", "bit_or"};
    gn_type saved_type = gn_type_of(GN_T_BYTEA);
    static const char *const saved[] = {"\\x", "\\x01", "\\x0000000000000000ff",
                                        "\\xffffffffffffffffffffffffffffffffff", "\\x02aaaaaaaaaaaaaaaa"};
    for (size_t a = 0; a < sizeof aggregates / sizeof *aggregates; a++)
        for (uint32_t c = 0; c < N_COLUMNS; c++)
            for (size_t s = 0; s < sizeof saved / sizeof *saved; s++) {
                gn_type wanted[1], result;
                const gn_aggregate *aggregate;
                gn_error err = {0};
                if (gn_aggregate_resolve(gn_bytes_str(aggregates[a]), &types[c], 1, &aggregate, wanted, &result,
                                         &err) != GN_OK ||
                    !gn_type_same(wanted[0], types[c]))
                    continue;
                gn_expr *args[1] = {column(names[c], c)};
                gn_aggregate_call call = {.aggregate = aggregate, .args = args, .n_args = 1, .result = result};
                gn_expr **row = gn_arena_calloc(plan_arena, 1, sizeof *row);
                row[0] = constant("bytea", saved[s]);
                gn_expr ***rows = gn_arena_calloc(plan_arena, 1, sizeof *rows);
                rows[0] = row;
                gn_operator *op = gn_op_values(&plan_eval, &plan_account, rows, 1, &saved_type, 1);
                op = gn_op_aggregate_combine(&plan_eval, &plan_account, op, NULL, 0, &call, 1);
                gn_batch *b;
                gn_code code = gn_operator_next(op, &b, &err);
                gn_operator_close(op);
                bool empty_text = c == 1 && s == 1, no_bits = a == 6 && s == 2;
                if (!empty_text && !no_bits) /* what they might have saved */
                    assert_int_equal(code, GN_CORRUPT);
            }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, plan_teardown)
    const struct CMUnitTest tests[] = {
        TEST(expressions_come_back),
        TEST(parameters_and_constants_are_values_on_the_way),
        TEST(deep_and_wide_trees_are_refused),
        TEST(aggregates_of_parts_are_those_of_all),
        TEST(many_groups_are_given_before_the_end),
        TEST(the_first_of_parts_are_the_first_of_all),
        TEST(damaged_fragments_are_refused_or_sound),
        TEST(what_is_too_large_does_not_leave),
        TEST(states_that_nobody_saved_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
