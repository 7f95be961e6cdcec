/* The extended protocol: inference of parameters, portals in portions, pipelines, and the retry at Sync. */
#include "harness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static harness h;

static int open_all(void **state)
{
    (void)state;
    harness_open(&h, "extended");
    harness_must(&h, "create table t (id int primary key, name varchar(10), n numeric, v vector(2));"
                     "insert into t select g, 'n' || g, g * 1.5, '[1,2]' from generate_series(1, 3000) g");
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    harness_close(&h);
    return 0;
}

static gn_code prepare(gn_session *s, const char *name, const char *sql, gn_error *err)
{
    return gn_session_prepare(s, name, gn_bytes_str(sql), NULL, 0, err);
}

/* Parameters as text, NULL = NULL. */
static gn_code bind(gn_session *s, const char *portal, const char *name, const char *const *values, uint32_t n,
                    gn_error *err)
{
    gn_wire_param params[8];
    for (uint32_t i = 0; i < n; i++)
        params[i] = values[i] ? (gn_wire_param){.data = gn_bytes_str(values[i])} : (gn_wire_param){.is_null = true};
    return gn_session_bind(s, portal, name, params, n, err);
}

static gn_code run(gn_session *s, const char *portal, uint64_t max, bool *suspended, gn_error *err)
{
    gn_buf_clear(&h.out);
    return gn_session_execute(s, portal, max, &h.sink, suspended, err);
}

static void must(gn_code code, const gn_error *err)
{
    if (code != GN_OK)
        fail_msg("%s: %s", gn_code_sqlstate(code), err->message);
}

/* Parse, Bind, Execute, Sync of one statement. */
static const char *once(gn_session *s, const char *sql, const char *const *values, uint32_t n)
{
    gn_error err = {0};
    bool suspended;
    must(prepare(s, "", sql, &err), &err);
    must(bind(s, "", "", values, n, &err), &err);
    must(run(s, "", 0, &suspended, &err), &err);
    must(gn_session_sync(s, false, &err), &err);
    return harness_text(&h);
}

static void params_get_their_types_from_context(void **state)
{
    static const struct {
        const char *sql;
        const char *types;
    } cases[] = {
        {"select * from t where id = $1", "integer"},
        {"select * from t where name = $1 and n > $2", "text numeric"},
        {"insert into t values ($1, $2, $3, $4)", "integer character varying numeric vector"},
        {"update t set n = n + $1 where id in ($2, $3)", "numeric integer integer"},
        {"select $1", "text"},
        {"select $1::int + $2", "integer integer"},
        {"select coalesce($1, 5), $2 || 'x'", "integer text"},
        {"select id from t order by v <-> $1 limit $2 offset $3", "vector bigint bigint"},
        {"select case when $1 then 1 else $2 end", "boolean integer"},
        {"select id from t where id between $1 and $2", "integer integer"},
        {"delete from t where id = $1 and name like $2", "integer text"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        gn_error err = {0};
        const gn_type *params;
        const gn_result_column *columns;
        uint32_t n, n_columns;
        char got[200] = "";
        must(prepare(h.session, "", cases[i].sql, &err), &err);
        must(gn_session_describe_statement(h.session, "", &params, &n, &columns, &n_columns, &err), &err);
        for (uint32_t k = 0; k < n; k++) {
            char name[80];
            gn_type_format(params[k], name, sizeof name);
            snprintf(got + strlen(got), sizeof got - strlen(got), "%s%s", k ? " " : "", name);
        }
        assert_string_equal(got, cases[i].types);
        must(gn_session_sync(h.session, false, &err), &err);
    }
}

static void a_parameter_that_nothing_determines_is_refused(void **state)
{
    (void)state;
    gn_error err = {0};
    assert_int_equal(prepare(h.session, "", "select $1 is null", &err), GN_INDETERMINATE_TYPE);
    assert_string_equal(err.message, "could not determine data type of parameter $1");
    must(gn_session_sync(h.session, true, &err), &err);
    assert_int_equal(prepare(h.session, "", "select id from t where id = $1 and name = $1", &err), GN_NO_FUNCTION);
    must(gn_session_sync(h.session, true, &err), &err);
}

static void values_come_in_text_and_binary(void **state)
{
    (void)state;
    gn_error err = {0};
    bool suspended;
    static const uint8_t seven[4] = {0, 0, 0, 7};
    gn_wire_param binary = {.data = gn_bytes_of(seven, 4), .binary = true};
    assert_string_equal(once(h.session, "select name from t where id = $1", (const char *[]){"5"}, 1),
                        "n5\nSELECT 1\n");
    must(prepare(h.session, "", "select name from t where id = $1", &err), &err);
    must(gn_session_bind(h.session, "", "", &binary, 1, &err), &err);
    must(run(h.session, "", 0, &suspended, &err), &err);
    assert_string_equal(harness_text(&h), "n7\nSELECT 1\n");
    must(gn_session_sync(h.session, false, &err), &err);
    must(prepare(h.session, "", "select name from t where id = $1", &err), &err);
    assert_int_equal(bind(h.session, "", "", (const char *[]){"abc"}, 1, &err), GN_BAD_TEXT);
    must(gn_session_sync(h.session, true, &err), &err);
    binary.data.len = 3;
    err = (gn_error){0};
    must(prepare(h.session, "", "select name from t where id = $1", &err), &err);
    assert_int_equal(gn_session_bind(h.session, "", "", &binary, 1, &err), GN_BAD_BINARY);
    must(gn_session_sync(h.session, true, &err), &err);
}

static void a_portal_gives_rows_in_portions(void **state)
{
    (void)state;
    gn_error err = {0};
    bool suspended = false;
    uint64_t total = 0;
    must(prepare(h.session, "all", "select id from t order by id", &err), &err);
    must(bind(h.session, "p", "all", NULL, 0, &err), &err);
    do {
        h.n_rows = 0;
        must(run(h.session, "p", 700, &suspended, &err), &err);
        total += h.n_rows;
        assert_true(h.n_rows <= 700);
    } while (suspended);
    assert_int_equal(total, 3000);
    assert_non_null(strstr(harness_text(&h), "SELECT 200\n"));
    must(gn_session_sync(h.session, false, &err), &err);
    assert_int_equal(run(h.session, "p", 0, &suspended, &err), GN_NO_CURSOR); /* it went with its transaction */
    must(gn_session_sync(h.session, true, &err), &err);
    gn_session_close_statement(h.session, "all");
}

static void a_cursor_takes_parameters_and_outlives_what_fetches_from_it(void **state)
{
    (void)state;
    gn_error err = {0};
    bool suspended;
    const char *values[] = {"10"};
    once(h.session, "begin", NULL, 0);
    once(h.session, "declare k cursor for select id from t where id > $1 order by id", values, 1);
    assert_string_equal(once(h.session, "fetch 2 from k", NULL, 0), "11\n12\nFETCH 2\n");
    must(prepare(h.session, "f", "fetch 4 from k", &err), &err);
    must(bind(h.session, "f", "f", NULL, 0, &err), &err);
    must(run(h.session, "f", 1, &suspended, &err), &err);
    assert_true(suspended);
    assert_string_equal(harness_text(&h), "13\n");
    assert_string_equal(once(h.session, "fetch k", NULL, 0), "17\nFETCH 1\n"); /* four were taken */
    assert_string_equal(once(h.session, "close k", NULL, 0), "CLOSE CURSOR\n");
    must(run(h.session, "f", 0, &suspended, &err), &err);
    assert_string_equal(harness_text(&h), "14\n15\n16\nFETCH 4\n");
    once(h.session, "commit", NULL, 0);
    gn_session_close_statement(h.session, "f");
}

static void what_a_savepoint_takes_back_ends_open_portals(void **state)
{
    (void)state;
    gn_error err = {0};
    bool suspended;
    once(h.session, "begin", NULL, 0);
    once(h.session, "savepoint a", NULL, 0);
    must(prepare(h.session, "all", "select id from t order by id", &err), &err);
    must(bind(h.session, "p", "all", NULL, 0, &err), &err);
    must(run(h.session, "p", 2, &suspended, &err), &err);
    once(h.session, "rollback to a", NULL, 0);
    assert_int_equal(run(h.session, "p", 2, &suspended, &err), GN_NO_CURSOR);
    must(gn_session_sync(h.session, true, &err), &err);
    once(h.session, "rollback", NULL, 0);
    gn_session_close_statement(h.session, "all");
}

static void rows_of_returning_come_in_portions_too(void **state)
{
    (void)state;
    gn_error err = {0};
    bool suspended;
    must(prepare(h.session, "", "update t set n = n where id <= 5 returning id", &err), &err);
    must(bind(h.session, "", "", NULL, 0, &err), &err);
    must(run(h.session, "", 2, &suspended, &err), &err);
    assert_true(suspended);
    assert_string_equal(harness_text(&h), "1\n2\n");
    must(run(h.session, "", 0, &suspended, &err), &err);
    assert_false(suspended);
    assert_string_equal(harness_text(&h), "3\n4\n5\nUPDATE 5\n");
    must(gn_session_sync(h.session, false, &err), &err);
}

static void a_pipeline_is_one_transaction(void **state)
{
    (void)state;
    gn_error err = {0};
    bool suspended;
    must(prepare(h.session, "i", "insert into t (id) values ($1)", &err), &err);
    must(bind(h.session, "", "i", (const char *[]){"9001"}, 1, &err), &err);
    must(run(h.session, "", 0, &suspended, &err), &err);
    must(bind(h.session, "", "i", (const char *[]){"1"}, 1, &err), &err);
    assert_int_equal(run(h.session, "", 0, &suspended, &err), GN_UNIQUE);
    must(gn_session_sync(h.session, true, &err), &err);
    assert_int_equal(gn_session_status(h.session), 'I');
    assert_string_equal(once(h.session, "select count(*) from t where id > 9000", NULL, 0), "0\nSELECT 1\n");
    gn_session_close_statement(h.session, "i");
}

static void begin_and_commit_work_by_the_extended_protocol(void **state)
{
    (void)state;
    gn_error err = {0};
    assert_string_equal(once(h.session, "begin", NULL, 0), "BEGIN\n");
    assert_int_equal(gn_session_status(h.session), 'T');
    once(h.session, "insert into t (id) values (9002)", NULL, 0);
    assert_int_equal(prepare(h.session, "", "select nosuch from t", &err), GN_NO_COLUMN);
    assert_int_equal(err.position, 8);
    must(gn_session_sync(h.session, true, &err), &err);
    assert_int_equal(gn_session_status(h.session), 'E');
    assert_int_equal(prepare(h.session, "", "select 1", &err), GN_FAILED_TRANSACTION);
    must(gn_session_sync(h.session, true, &err), &err);
    assert_string_equal(once(h.session, "commit", NULL, 0), "ROLLBACK\n");
    assert_int_equal(gn_session_status(h.session), 'I');
}

static void names_are_checked(void **state)
{
    (void)state;
    gn_error err = {0};
    bool suspended;
    must(prepare(h.session, "dup", "select 1", &err), &err);
    assert_int_equal(prepare(h.session, "dup", "select 2", &err), GN_DUPLICATE_STATEMENT);
    must(gn_session_sync(h.session, true, &err), &err);
    assert_int_equal(bind(h.session, "", "nosuch", NULL, 0, &err), GN_NO_STATEMENT);
    must(gn_session_sync(h.session, true, &err), &err);
    assert_int_equal(run(h.session, "nosuch", 0, &suspended, &err), GN_NO_CURSOR);
    must(gn_session_sync(h.session, true, &err), &err);
    assert_int_equal(bind(h.session, "", "dup", (const char *[]){"1"}, 1, &err), GN_PROTOCOL);
    assert_string_equal(err.message, "bind message supplies 1 parameters, but prepared statement \"dup\" requires 0");
    must(gn_session_sync(h.session, true, &err), &err);
    assert_int_equal(prepare(h.session, "", "select 1; select 2", &err), GN_SYNTAX);
    must(gn_session_sync(h.session, true, &err), &err);
    gn_session_close_statement(h.session, "dup");
    gn_session_close_statement(h.session, "never was");
    assert_string_equal(once(h.session, " -- nothing", NULL, 0), "(empty)\n");
}

static void a_plan_follows_its_table(void **state)
{
    (void)state;
    gn_error err = {0};
    bool suspended;
    harness_must(&h, "create table p (id int primary key, a int); insert into p values (1, 10), (2, 20)");
    must(prepare(h.session, "star", "select * from p where id = 1", &err), &err);
    must(prepare(h.session, "a", "select a from p where a > $1 order by a", &err), &err);
    must(gn_session_sync(h.session, false, &err), &err);
    harness_must(&h, "create index p_a on p (a); alter table p add column b int default 3");
    must(bind(h.session, "", "a", (const char *[]){"5"}, 1, &err), &err);
    must(run(h.session, "", 0, &suspended, &err), &err);
    assert_string_equal(harness_text(&h), "10\n20\nSELECT 2\n");
    assert_int_equal(bind(h.session, "", "star", NULL, 0, &err), GN_FEATURE);
    assert_string_equal(err.message, "cached plan must not change result type");
    must(gn_session_sync(h.session, true, &err), &err);
    harness_must(&h, "drop table p");
    assert_int_equal(bind(h.session, "", "a", (const char *[]){"5"}, 1, &err), GN_NO_TABLE);
    must(gn_session_sync(h.session, true, &err), &err);
    gn_session_close_statement(h.session, "a");
    gn_session_close_statement(h.session, "star");
}

/* Whether a partial index has the rows that are wanted may depend on a parameter: then its value decides, each time. */
static void a_parameter_decides_about_a_partial_index(void **state)
{
    (void)state;
    static const char near[] = "select id from part where kind = $1 order by v <-> '[1,1]' limit 2";
    gn_error err = {0};
    bool suspended;
    harness_must(&h, "create table part (id int primary key, kind int, v vector(2));"
                     "insert into part select g, g % 3, array[g, g] from generate_series(1, 30) g;");
    harness_must(&h, "create index part_two on part using hnsw (v vector_l2_ops) where kind = 2;"
                     "create index part_none on part (id) where kind is null");
    for (int two = 0; two < 2; two++) {
        char sql[200];
        snprintf(sql, sizeof sql, "explain %s", near);
        must(gn_session_prepare(h.session, "", gn_bytes_str(sql), (const uint32_t[]){23}, 1, &err), &err);
        must(bind(h.session, "", "", (const char *[]){two ? "2" : "1"}, 1, &err), &err);
        must(run(h.session, "", 0, &suspended, &err), &err);
        must(gn_session_sync(h.session, false, &err), &err);
        assert_int_equal(strstr(harness_text(&h), "Index Scan using part_two") != NULL, two);
    }
    must(prepare(h.session, "near", near, &err), &err);
    for (int i = 0; i < 4; i++) {
        must(bind(h.session, "", "near", (const char *[]){i % 2 ? "2" : "1"}, 1, &err), &err);
        must(run(h.session, "", 0, &suspended, &err), &err);
        must(gn_session_sync(h.session, false, &err), &err);
        assert_string_equal(harness_text(&h), i % 2 ? "2\n5\nSELECT 2\n" : "1\n4\nSELECT 2\n");
    }
    must(bind(h.session, "", "near", (const char *[]){NULL}, 1, &err), &err);
    must(run(h.session, "", 0, &suspended, &err), &err);
    assert_string_equal(harness_text(&h), "SELECT 0\n");
    must(gn_session_sync(h.session, false, &err), &err);
    gn_session_close_statement(h.session, "near");
}

/* Two pipelines add to the same row. The second to commit has read what the first has changed; it is run again at Sync
 * without its client noticing, since its tag is the same. */
static void a_lone_write_is_run_again_after_a_conflict(void **state)
{
    (void)state;
    gn_error err = {0};
    bool suspended;
    gn_session *other = harness_session(&h);
    harness_must(&h, "create table counter (id int primary key, n int); insert into counter values (1, 0)");
    must(prepare(other, "", "update counter set n = n + 1 where id = 1", &err), &err);
    must(bind(other, "", "", NULL, 0, &err), &err);
    must(run(other, "", 0, &suspended, &err), &err);
    assert_string_equal(harness_text(&h), "UPDATE 1\n");
    once(h.session, "update counter set n = n + 10 where id = 1", NULL, 0);
    must(gn_session_sync(other, false, &err), &err);
    assert_string_equal(once(h.session, "select n from counter", NULL, 0), "11\nSELECT 1\n");
    gn_session_close(other);
}

/* Here the tag would differ: the client must hear of the conflict. */
static void a_write_whose_answer_would_change_is_not(void **state)
{
    (void)state;
    gn_error err = {0};
    bool suspended;
    gn_session *other = harness_session(&h);
    must(prepare(other, "", "update counter set n = n + 1 where id = 1", &err), &err);
    must(bind(other, "", "", NULL, 0, &err), &err);
    must(run(other, "", 0, &suspended, &err), &err);
    once(h.session, "delete from counter", NULL, 0);
    assert_int_equal(gn_session_sync(other, false, &err), GN_SERIALIZATION);
    assert_int_equal(gn_session_status(other), 'I');
    gn_session_close(other);
}

/* Where the completion waits for the commit, the write is run again whatever its tag becomes, and the client hears that
 * one. */
static void a_listener_that_waits_is_told_what_was_committed(void **state)
{
    (void)state;
    gn_error err = {0};
    bool suspended;
    gn_session *other = harness_session(&h);
    gn_sink patient = h.sink;
    patient.may_wait = true;
    harness_must(&h, "insert into counter values (1, 0), (2, 0)");
    gn_session_expect_one(other);
    must(prepare(other, "", "update counter set n = n + 1", &err), &err);
    must(bind(other, "", "", NULL, 0, &err), &err);
    gn_buf_clear(&h.out);
    must(gn_session_execute(other, "", 0, &patient, &suspended, &err), &err);
    assert_string_equal(harness_text(&h), "");
    once(h.session, "delete from counter where id = 2", NULL, 0);
    must(gn_session_sync(other, false, &err), &err);
    assert_true(gn_session_untold(other));
    gn_buf_clear(&h.out);
    must(gn_session_tell(other, &patient, &err), &err);
    assert_string_equal(harness_text(&h), "UPDATE 1\n");
    assert_false(gn_session_untold(other));
    assert_string_equal(once(h.session, "select id, n from counter", NULL, 0), "1|1\nSELECT 1\n");
    gn_session_close(other);
}

/* Drivers that close the portal before Sync lose nothing by it. */
static void a_portal_that_is_closed_early_is_run_again_too(void **state)
{
    (void)state;
    gn_error err = {0};
    bool suspended;
    gn_session *other = harness_session(&h);
    gn_session_expect_one(other);
    must(prepare(other, "", "update counter set n = n + 1 where id = 1", &err), &err);
    must(bind(other, "", "", NULL, 0, &err), &err);
    must(run(other, "", 0, &suspended, &err), &err);
    must(gn_session_close_portal(other, ""), &err);
    once(h.session, "update counter set n = 100 where id = 1", NULL, 0);
    must(gn_session_sync(other, false, &err), &err);
    assert_string_equal(once(h.session, "select n from counter where id = 1", NULL, 0), "101\nSELECT 1\n");
    gn_session_close(other);
}

/* The transaction in which a statement was prepared is not the one that BEGIN opens. */
static void begin_opens_a_transaction_of_its_own(void **state)
{
    (void)state;
    gn_error err = {0};
    bool suspended;
    gn_session *other = harness_session(&h);
    gn_session_expect_one(other);
    must(prepare(other, "later", "select n from counter", &err), &err);
    must(prepare(other, "", "begin", &err), &err);
    must(bind(other, "", "", NULL, 0, &err), &err);
    must(run(other, "", 0, &suspended, &err), &err);
    must(gn_session_sync(other, false, &err), &err);
    assert_int_equal(gn_session_status(other), 'T');
    assert_string_equal(once(other, "insert into counter values (7, 7)", NULL, 0), "INSERT 0 1\n");
    assert_string_equal(once(other, "commit", NULL, 0), "COMMIT\n");
    assert_string_equal(once(h.session, "delete from counter where id = 7", NULL, 0), "DELETE 1\n");
    gn_session_close(other);
}

/* The row came after the statement had run: its second run finds it. */
static void an_upsert_that_meets_a_new_row_is_run_again(void **state)
{
    (void)state;
    gn_error err = {0};
    bool suspended;
    gn_session *other = harness_session(&h);
    const char *upsert = "insert into counter values (9, 1) on conflict (id) do update set n = counter.n + 1";
    must(prepare(other, "", upsert, &err), &err);
    must(bind(other, "", "", NULL, 0, &err), &err);
    must(run(other, "", 0, &suspended, &err), &err);
    once(h.session, "insert into counter values (9, 40)", NULL, 0);
    must(gn_session_sync(other, false, &err), &err);
    assert_string_equal(once(h.session, "select n from counter where id = 9", NULL, 0), "41\nSELECT 1\n");
    gn_session_close(other);
}

/* It was left out since a row was in the way, which has gone by the commit: neither would be there. */
static void a_row_in_the_way_is_one_that_was_read(void **state)
{
    (void)state;
    gn_error err = {0};
    gn_session *other = harness_session(&h);
    assert_string_equal(once(other, "begin", NULL, 0), "BEGIN\n");
    assert_string_equal(once(other, "insert into counter values (9, 0), (10, 0) on conflict do nothing", NULL, 0),
                        "INSERT 0 1\n");
    once(h.session, "delete from counter where id = 9", NULL, 0);
    bool suspended;
    must(prepare(other, "", "commit", &err), &err);
    must(bind(other, "", "", NULL, 0, &err), &err);
    assert_int_equal(run(other, "", 0, &suspended, &err), GN_SERIALIZATION);
    must(gn_session_sync(other, true, &err), &err);
    assert_string_equal(once(h.session, "select id from counter where id > 8", NULL, 0), "SELECT 0\n");
    gn_session_close(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(params_get_their_types_from_context),
        cmocka_unit_test(a_parameter_that_nothing_determines_is_refused),
        cmocka_unit_test(values_come_in_text_and_binary),
        cmocka_unit_test(a_portal_gives_rows_in_portions),
        cmocka_unit_test(rows_of_returning_come_in_portions_too),
        cmocka_unit_test(a_pipeline_is_one_transaction),
        cmocka_unit_test(begin_and_commit_work_by_the_extended_protocol),
        cmocka_unit_test(names_are_checked),
        cmocka_unit_test(a_plan_follows_its_table),
        cmocka_unit_test(a_parameter_decides_about_a_partial_index),
        cmocka_unit_test(a_lone_write_is_run_again_after_a_conflict),
        cmocka_unit_test(a_write_whose_answer_would_change_is_not),
        cmocka_unit_test(a_listener_that_waits_is_told_what_was_committed),
        cmocka_unit_test(a_portal_that_is_closed_early_is_run_again_too),
        cmocka_unit_test(a_cursor_takes_parameters_and_outlives_what_fetches_from_it),
        cmocka_unit_test(what_a_savepoint_takes_back_ends_open_portals),
        cmocka_unit_test(begin_opens_a_transaction_of_its_own),
        cmocka_unit_test(an_upsert_that_meets_a_new_row_is_run_again),
        cmocka_unit_test(a_row_in_the_way_is_one_that_was_read),
    };
    return cmocka_run_group_tests_name("coord/extended", tests, open_all, close_all);
}
