/* PostgreSQL's own parser (libpg_query) as the judge: what it accepts of our part of the dialect, ours accepts; what it
 * rejects, ours rejects, at the same character. */
#include "coord/parser.h"
#include "corpus.h"

#include <pg_query.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

enum { COUNT = sizeof accepted_by_both / sizeof *accepted_by_both };
enum { REJECTED = sizeof rejected_by_both / sizeof *rejected_by_both };

static gn_code ours(const char *sql, gn_ast_statements *out, gn_error *err)
{
    gn_arena *arena = gn_arena_create(NULL);
    gn_code code = gn_parse(arena, gn_bytes_str(sql), out, err);
    gn_arena_destroy(arena);
    return code;
}

static void what_postgresql_accepts_is_accepted(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT; i++) {
        const char *sql = accepted_by_both[i];
        PgQueryParseResult theirs = pg_query_parse(sql);
        if (theirs.error)
            fail_msg("the corpus is wrong, PostgreSQL says \"%s\" of: %s", theirs.error->message, sql);
        gn_ast_statements statements = {0};
        gn_error err = {0};
        if (ours(sql, &statements, &err) != GN_OK)
            fail_msg("\"%s\" at %d: %s", err.message, err.position, sql);
        pg_query_free_parse_result(theirs);
    }
}

static void what_postgresql_rejects_is_rejected_at_the_same_place(void **state)
{
    (void)state;
    for (size_t i = 0; i < REJECTED; i++) {
        const char *sql = rejected_by_both[i];
        PgQueryParseResult theirs = pg_query_parse(sql);
        if (!theirs.error)
            fail_msg("the corpus is wrong, PostgreSQL accepts: %s", sql);
        gn_ast_statements statements = {0};
        gn_error err = {0};
        gn_code code = ours(sql, &statements, &err);
        if (code != GN_SYNTAX)
            fail_msg("accepted or refused otherwise (%s): %s", gn_code_name(code), sql);
        int position = gn_sql_position(gn_bytes_str(sql), err.position);
        if (position != theirs.error->cursorpos)
            fail_msg("position %d, PostgreSQL's is %d: %s", position, theirs.error->cursorpos, sql);
        assert_string_equal(err.message, theirs.error->message);
        pg_query_free_parse_result(theirs);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_postgresql_accepts_is_accepted),
        cmocka_unit_test(what_postgresql_rejects_is_rejected_at_the_same_place),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    pg_query_exit();
    return failed;
}
