/* The shapes of trees, and what bounds the parser: nesting, sizes, bytes. */
#include "base/limits.h"
#include "coord/parser.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct fixture {
    gn_arena *arena;
    gn_error err;
    gn_ast_statements statements;
} fixture;

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    f->arena = gn_arena_create(NULL);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    gn_arena_destroy(f->arena);
    free(f);
    return 0;
}

static gn_code parse(fixture *f, const char *sql)
{
    memset(&f->err, 0, sizeof f->err);
    memset(&f->statements, 0, sizeof f->statements);
    return gn_parse(f->arena, gn_bytes_str(sql), &f->statements, &f->err);
}

static const gn_ast_query *query(fixture *f, const char *sql)
{
    assert_int_equal(parse(f, sql), GN_OK);
    assert_int_equal(f->statements.n, 1);
    assert_int_equal(f->statements.items[0]->kind, GN_S_QUERY);
    return f->statements.items[0]->query;
}

static const gn_ast_expr *target(fixture *f, const char *sql)
{
    const gn_ast_query *q = query(f, sql);
    assert_int_equal(q->targets.n, 1);
    return q->targets.items[0].expr;
}

static void operators_bind_as_in_postgresql(void **state)
{
    fixture *f = *state;
    const gn_ast_expr *e = target(f, "SELECT 1 + 2 * 3");
    assert_string_equal(e->op, "+");
    assert_string_equal(e->args.items[1]->op, "*");
    e = target(f, "SELECT NOT a = b AND c OR d");
    assert_int_equal(e->kind, GN_A_OR);
    assert_int_equal(e->args.items[0]->kind, GN_A_AND);
    assert_int_equal(e->args.items[0]->args.items[0]->kind, GN_A_NOT);
    e = target(f, "SELECT -2 ^ 2");
    assert_string_equal(e->op, "^");
    e = target(f, "SELECT a <-> b < 1");
    assert_string_equal(e->op, "<");
    assert_string_equal(e->args.items[0]->op, "<->");
    e = target(f, "SELECT a::integer[1]");
    assert_int_equal(e->kind, GN_A_CAST);
}

static void a_query_has_its_parts(void **state)
{
    fixture *f = *state;
    const gn_ast_query *q = query(f, "SELECT DISTINCT a AS x FROM s.t AS u WHERE b GROUP BY c HAVING d "
                                     "ORDER BY e DESC LIMIT 1 OFFSET 2");
    assert_true(q->distinct);
    assert_string_equal(q->targets.items[0].alias, "x");
    assert_string_equal(q->from.items[0]->name.schema, "s");
    assert_string_equal(q->from.items[0]->alias, "u");
    assert_non_null(q->where);
    assert_int_equal(q->group_by.n, 1);
    assert_non_null(q->having);
    assert_true(q->order_by.items[0].descending);
    assert_true(q->order_by.items[0].nulls_first);
    assert_int_equal(q->limit->integer, 1);
    assert_int_equal(q->offset->integer, 2);
}

static void an_update_is_not_mistaken_for_an_alias(void **state)
{
    fixture *f = *state;
    assert_int_equal(parse(f, "UPDATE t SET set = 1, (a, b) = (2, 3)"), GN_OK);
    const gn_ast_update *u = f->statements.items[0]->update;
    assert_null(u->alias);
    assert_int_equal(u->set.n, 3);
    assert_string_equal(u->set.items[0].columns.items[0].name, "set");
    assert_string_equal(u->set.items[2].columns.items[0].name, "b");
}

static void names_fold_unless_quoted(void **state)
{
    fixture *f = *state;
    assert_string_equal(target(f, "SELECT FooBar")->column.name, "foobar");
    assert_string_equal(target(f, "SELECT \"FooBar\"")->column.name, "FooBar");
    char sql[200] = "SELECT ";
    memset(sql + 7, 'a', 100);
    assert_int_equal(strlen(target(f, sql)->column.name), GN_MAX_NAME);
}

static void sqlite_spellings_are_understood(void **state)
{
    fixture *f = *state;
    assert_int_equal(parse(f, "CREATE TABLE t (id integer PRIMARY KEY AUTOINCREMENT)"), GN_OK);
    assert_int_equal(f->statements.items[0]->create_table->columns.items[0].identity, GN_IDENTITY_BY_DEFAULT);
    assert_int_equal(parse(f, "SELECT ? + ?"), GN_OK);
    assert_int_equal(f->statements.items[0]->n_params, 2);
}

static void several_statements_keep_their_texts(void **state)
{
    fixture *f = *state;
    assert_int_equal(parse(f, "SELECT 1 ; ; INSERT INTO t VALUES ($3) ;"), GN_OK);
    assert_int_equal(f->statements.n, 2);
    assert_memory_equal(f->statements.items[0]->text.data, "SELECT 1", 8);
    assert_int_equal(f->statements.items[0]->text.len, 8);
    assert_int_equal(f->statements.items[1]->n_params, 3);
    assert_int_equal(f->statements.items[1]->position, 14);
}

static void positions_count_characters_for_the_client(void **state)
{
    fixture *f = *state;
    const char *sql = "SELECT 'é' FROM FROM";
    assert_int_equal(parse(f, sql), GN_SYNTAX);
    assert_int_equal(f->err.position, 18);
    assert_int_equal(gn_sql_position(gn_bytes_str(sql), f->err.position), 17);
}

static char *repeated(const char *head, const char *part, size_t n, const char *middle, const char *close)
{
    size_t size = strlen(head) + n * (strlen(part) + strlen(close)) + strlen(middle) + 1;
    char *sql = malloc(size), *p = sql;
    p = stpcpy(p, head);
    for (size_t i = 0; i < n; i++)
        p = stpcpy(p, part);
    p = stpcpy(p, middle);
    for (size_t i = 0; i < n; i++)
        p = stpcpy(p, close);
    return sql;
}

static void nesting_is_bounded(void **state)
{
    fixture *f = *state;
    const char *const shapes[][4] = {{"SELECT ", "(", "1", ")"},        {"SELECT ", "1+", "1", ""},
                                     {"SELECT ", "NOT ", "true", ""},   {"SELECT ", "- ", "1", ""},
                                     {"SELECT ", "f(", "1", ")"},       {"SELECT ", "ARRAY[", "1", "]"},
                                     {"SELECT ", "(SELECT ", "1", ")"}, {"", "EXPLAIN ", "SELECT 1", ""},
                                     {"SELECT 1", "::integer", "", ""}, {"SELECT ", "CASE WHEN ", "1", " THEN 1 END"},
                                     {"SELECT * FROM ", "(", "t", ")"}, {"SELECT 1", " UNION SELECT 1", "", ""}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        char *sql = repeated(shapes[i][0], shapes[i][1], 20000, shapes[i][2], shapes[i][3]);
        gn_code code = parse(f, sql);
        if (code != GN_STATEMENT_TOO_COMPLEX && code != GN_SYNTAX)
            fail_msg("%s: 20,000 levels of \"%s\"", gn_code_name(code), shapes[i][1]);
        free(sql);
        sql = repeated(shapes[i][0], shapes[i][1], 20, shapes[i][2], shapes[i][3]);
        code = parse(f, sql);
        if (code != GN_OK && code != GN_SYNTAX)
            fail_msg("%s \"%s\": 20 levels of \"%s\"", gn_code_name(code), f->err.message, shapes[i][1]);
        free(sql);
    }
}

static void long_and_chains_are_not_nesting(void **state)
{
    fixture *f = *state;
    char *sql = repeated("SELECT ", "true AND ", 5000, "true", "");
    assert_int_equal(parse(f, sql), GN_OK);
    assert_int_equal(f->statements.items[0]->query->targets.items[0].expr->args.n, 5001);
    free(sql);
}

static void bytes_that_are_no_text_are_refused(void **state)
{
    fixture *f = *state;
    assert_int_equal(parse(f, "SELECT '\xff'"), GN_INVALID_ENCODING);
    assert_int_equal(f->err.position, 9);
    assert_int_equal(gn_parse(f->arena, gn_bytes_of("SELECT '\0'", 10), &f->statements, &f->err), GN_INVALID_ENCODING);
    size_t size = (size_t)GN_MAX_STATEMENT + 1;
    char *big = malloc(size);
    memset(big, ' ', size);
    assert_int_equal(gn_parse(f->arena, gn_bytes_of(big, size), &f->statements, &f->err), GN_LIMIT);
    free(big);
}

static void a_small_budget_is_an_error(void **state)
{
    (void)state;
    gn_account account;
    gn_account_init(&account, NULL, "test", 16 << 10);
    gn_arena *arena = gn_arena_create(&account);
    gn_ast_statements statements = {0};
    gn_error err = {0};
    char *sql = repeated("SELECT ", "a, ", 50000, "b", "");
    assert_int_equal(gn_parse(arena, gn_bytes_str(sql), &statements, &err), GN_OUT_OF_MEMORY);
    free(sql);
    gn_arena_destroy(arena);
    gn_account_close(&account);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(operators_bind_as_in_postgresql, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_query_has_its_parts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_update_is_not_mistaken_for_an_alias, set_up, tear_down),
        cmocka_unit_test_setup_teardown(names_fold_unless_quoted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(sqlite_spellings_are_understood, set_up, tear_down),
        cmocka_unit_test_setup_teardown(several_statements_keep_their_texts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(positions_count_characters_for_the_client, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nesting_is_bounded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(long_and_chains_are_not_nesting, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bytes_that_are_no_text_are_refused, set_up, tear_down),
        cmocka_unit_test(a_small_budget_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
