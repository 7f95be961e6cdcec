/* Sessions beside each other, and what ends a statement early: conflicts, cancellation, time, memory. */
#include "harness.h"
#include "query/operator.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static harness h;

static int open_all(void **state)
{
    (void)state;
    harness_open(&h, "session");
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    harness_close(&h);
    return 0;
}

/* ---- a sink that says nothing ---- */

static gn_code no_columns(void *ctx, const gn_result_column *columns, uint32_t n)
{
    (void)ctx;
    (void)columns;
    (void)n;
    return GN_OK;
}

static gn_code no_rows(void *ctx, const gn_batch *batch, uint32_t first, uint32_t n)
{
    (void)batch;
    (void)first;
    *(uint64_t *)ctx += n;
    return GN_OK;
}

static gn_code no_tag(void *ctx, const char *tag)
{
    (void)ctx;
    (void)tag;
    return GN_OK;
}

static gn_code quietly(gn_session *s, const char *sql, gn_error *err)
{
    uint64_t n = 0;
    gn_sink sink = {.ctx = &n, .describe = no_columns, .rows = no_rows, .complete = no_tag};
    return gn_session_simple(s, gn_bytes_str(sql), &sink, err);
}

/* ---- conflicts ---- */

enum { STRANDS = 6, ADDITIONS = 40 };
static _Atomic int failures;

static void add_many(void *arg)
{
    (void)arg;
    gn_session *s = harness_session(&h);
    for (int i = 0; i < ADDITIONS; i++) {
        gn_error err = {0};
        if (quietly(s, "update sums set n = n + 1 where id = 1", &err) != GN_OK)
            failures++;
    }
    gn_session_close(s);
}

static void additions_by_many_sessions_all_count(void **state)
{
    (void)state;
    gn_strand *strands[STRANDS];
    char want[32];
    harness_must(&h, "create table sums (id int primary key, n int); insert into sums values (1, 0)");
    for (int i = 0; i < STRANDS; i++)
        strands[i] = gn_strand_start(h.world, "adder", add_many, NULL);
    for (int i = 0; i < STRANDS; i++)
        gn_strand_join(strands[i]);
    harness_must(&h, "select n from sums");
    /* a statement gives up after many lost conflicts; what it then reported is not in the sum */
    snprintf(want, sizeof want, "n\n%d\nSELECT 1\n", STRANDS * ADDITIONS - failures);
    assert_string_equal(harness_text(&h), want);
    assert_true(failures < STRANDS * ADDITIONS / 2); /* without being run again five of six would be */
}

static void add_or_insert(void *arg)
{
    (void)arg;
    gn_session *s = harness_session(&h);
    for (int i = 0; i < ADDITIONS; i++) {
        char sql[160];
        gn_error err = {0};
        snprintf(sql, sizeof sql,
                 "insert into hits values (%d, 1) on conflict (id) do update set n = hits.n + excluded.n", i % 5);
        if (quietly(s, sql, &err) != GN_OK)
            failures++;
    }
    gn_session_close(s);
}

static void upserts_of_the_same_rows_all_count(void **state)
{
    (void)state;
    gn_strand *strands[STRANDS];
    char want[32];
    failures = 0;
    harness_must(&h, "create table hits (id int primary key, n int)");
    for (int i = 0; i < STRANDS; i++)
        strands[i] = gn_strand_start(h.world, "upserter", add_or_insert, NULL);
    for (int i = 0; i < STRANDS; i++)
        gn_strand_join(strands[i]);
    harness_must(&h, "select sum(n) from hits");
    snprintf(want, sizeof want, "sum\n%d\nSELECT 1\n", STRANDS * ADDITIONS - failures);
    assert_string_equal(harness_text(&h), want);
}

static void a_block_that_lost_hears_of_it(void **state)
{
    (void)state;
    gn_error err = {0};
    gn_session *other = harness_session(&h);
    harness_must(&h, "create table skew (id int primary key, v int); insert into skew values (1, 0), (2, 0)");
    assert_int_equal(quietly(other, "begin; select sum(v) from skew; update skew set v = 1 where id = 1", &err), GN_OK);
    harness_must(&h, "begin; select sum(v) from skew; update skew set v = 1 where id = 2; commit");
    assert_int_equal(quietly(other, "commit", &err), GN_SERIALIZATION);
    assert_string_equal(gn_code_sqlstate(err.code), "40001");
    assert_int_equal(gn_session_status(other), 'I');
    harness_must(&h, "select sum(v) from skew");
    assert_string_equal(harness_text(&h), "sum\n1\nSELECT 1\n");
    gn_session_close(other);
}

/* ---- early ends ---- */

typedef struct canceller {
    gn_session *victim;
    _Atomic bool stop;
} canceller;

/* Again and again, since a cancellation between statements is lost, as in PostgreSQL. */
static void cancel_it(void *arg)
{
    canceller *c = arg;
    while (!c->stop) {
        gn_event never;
        gn_event_init(&never, h.world);
        gn_event_wait(&never, gn_now_ns(h.world) + 5000000);
        gn_session_cancel(c->victim);
    }
}

static void a_long_statement_is_cancelled(void **state)
{
    (void)state;
    gn_error err = {0};
    canceller c = {.victim = h.session};
    gn_strand *strand = gn_strand_start(h.world, "canceller", cancel_it, &c);
    gn_code code = quietly(h.session, "select count(*) from generate_series(1, 1000000000000)", &err);
    c.stop = true;
    gn_strand_join(strand);
    assert_int_equal(code, GN_CANCELED);
    assert_string_equal(err.message, "canceling statement due to user request");
    harness_must(&h, "select 1");
}

static void a_statement_ends_at_its_timeout(void **state)
{
    (void)state;
    gn_error err = {0};
    harness_must(&h, "set statement_timeout = 500"); /* the next SET is a statement, too, which must end before */
    assert_int_equal(quietly(h.session, "select count(*) from generate_series(1, 1000000000000)", &err), GN_CANCELED);
    assert_string_equal(err.message, "canceling statement due to statement timeout");
    harness_must(&h, "set statement_timeout = '10min'");
    harness_must(&h, "select count(*) from generate_series(1, 1000)");
    harness_must(&h, "set statement_timeout = 500"); /* sooner than the timer that is running */
    assert_int_equal(quietly(h.session, "select count(*) from generate_series(1, 1000000000000)", &err), GN_CANCELED);
    harness_must(&h, "reset statement_timeout");
}

static void a_statement_stays_within_its_memory(void **state)
{
    (void)state;
    gn_error err = {0};
    size_t before = gn_account_used(gn_db_account(h.db));
    harness_must(&h, "set statement_memory = '2MB'");
    assert_int_equal(quietly(h.session, "select g from generate_series(1, 10000000) g order by -g", &err),
                     GN_OUT_OF_MEMORY);
    assert_string_equal(gn_code_sqlstate(err.code), "53200");
    err = (gn_error){0};
    assert_int_equal(quietly(h.session, "select g from generate_series(1, 10000000) g order by -g limit 10", &err),
                     GN_OK); /* a top-k needs little */
    harness_must(&h, "reset statement_memory");
    assert_true(gn_account_used(gn_db_account(h.db)) < before + (1u << 20));
}

static gn_code no_client(void *ctx, const gn_batch *batch, uint32_t first, uint32_t n)
{
    (void)ctx;
    (void)batch;
    (void)first;
    (void)n;
    return GN_CONNECTION_FAILURE;
}

static void a_client_that_is_gone_ends_the_statement(void **state)
{
    (void)state;
    gn_error err = {0};
    gn_sink sink = {.describe = no_columns, .rows = no_client, .complete = no_tag};
    assert_int_equal(
        gn_session_simple(h.session, gn_bytes_str("select * from generate_series(1, 1000000)"), &sink, &err),
        GN_CONNECTION_FAILURE);
    harness_must(&h, "select 1");
}

/* ---- start-up, end, restart ---- */

static void start_up_settings_become_the_defaults(void **state)
{
    (void)state;
    gn_error err = {0};
    gn_session *s;
    const char *settings[] = {"timezone", "Europe/Berlin", "statement_timeout", "5s"};
    gn_session_options options = {.user = "u", .database = "d", .settings = settings, .n_settings = 2};
    assert_int_equal(gn_session_open(h.db, &options, &s, &err), GN_OK);
    assert_string_equal(gn_session_setting(s, "TimeZone"), "Europe/Berlin");
    assert_string_equal(gn_session_setting(s, "session_authorization"), "u");
    assert_int_equal(quietly(s, "set timezone = 'UTC'; reset timezone", &err), GN_OK);
    assert_string_equal(gn_session_setting(s, "timezone"), "Europe/Berlin");
    assert_string_equal(gn_session_setting(s, "statement_timeout"), "5s");
    assert_null(gn_session_setting(s, "nosuch"));
    gn_session_close(s);
    settings[1] = "Nowhere";
    assert_int_equal(gn_session_open(h.db, &options, &s, &err), GN_INVALID_PARAMETER);
    settings[0] = "server_version";
    assert_int_equal(gn_session_open(h.db, &options, &s, &err), GN_CANNOT_CHANGE_PARAMETER);
}

static void a_session_that_closes_rolls_back(void **state)
{
    (void)state;
    gn_error err = {0};
    gn_session *s = harness_session(&h);
    harness_must(&h, "create table closing (id int primary key)");
    assert_int_equal(quietly(s, "begin; insert into closing values (1)", &err), GN_OK);
    assert_int_equal(gn_session_prepare(s, "x", gn_bytes_str("select * from closing"), NULL, 0, &err), GN_OK);
    gn_session_close(s);
    harness_must(&h, "select count(*) from closing");
    assert_string_equal(harness_text(&h), "count\n0\nSELECT 1\n");
}

static void everything_is_there_after_a_restart(void **state)
{
    (void)state;
    static const char sql[] = "select id, v, e <-> '[1,1]' as d from keep order by e <-> '[1,1]' limit 3";
    harness_must(&h, "create table keep (id bigint generated always as identity primary key, v text unique not null, "
                     "c int default 7 check (c > 0), e vector(2)); create index on keep using hnsw (e vector_l2_ops);"
                     "insert into keep (v, e) values ('a', '[1,1]'), ('b', '[2,2]'), ('c', '[9,9]')");
    harness_must(&h, sql);
    char *before = strdup(harness_text(&h));
    for (int clean = 0; clean < 2; clean++) {
        harness_reopen(&h, clean);
        harness_must(&h, sql);
        assert_string_equal(harness_text(&h), before);
        assert_int_equal(harness_run(&h, "insert into keep (v) values ('a')"), GN_UNIQUE);
        assert_int_equal(harness_run(&h, "insert into keep (v, c) values ('z', 0)"), GN_CHECK);
    }
    harness_must(&h, "insert into keep (v) values ('d') returning id > 3, c");
    assert_string_equal(harness_text(&h), "?column?|c\nt|7\nINSERT 0 1\n");
    free(before);
}

/* ---- indexes on expressions, and partial ones ---- */

static char *answer(const char *setting, const char *sql)
{
    char all[600];
    snprintf(all, sizeof all, "set %s; %s; reset all", setting, sql);
    harness_must(&h, all);
    return strdup(harness_text(&h));
}

/* What is found by the indexes is what a look at all rows finds. */
static void compare_ways(void)
{
    static const char *const queries[] = {
        "select id from odd where lower(name) = 'n3' order by id",
        "select id from odd where lower(name) > 'n5' and state = 1 order by id",
        "select id, n + 1 from odd where state = 1 and n + 1 between 10 and 40 order by n + 1, id",
        "select id from odd where state = 2 order by id",
        "select id from odd where state = 1 and id % 3 < 2 order by v <-> '[3,1]', id limit 7",
        "select id from odd order by v::halfvec(2) <-> '[3,1]', id limit 9",
        "select v::halfvec(2) <-> '[3,1]' from odd order by v::halfvec(2) <-> '[3,1]' limit 9",
        "select v <-> '[2,2]' from odd where state in (1) order by v <-> '[2,2]' limit 9",
        "select count(*) from odd where v::halfvec(2) <-> '[3,1]' < 4",
    };
    for (size_t i = 0; i < sizeof queries / sizeof queries[0]; i++) {
        char *found = answer("vector.exact = on", queries[i]), *wanted = answer("enable_indexscan = off", queries[i]);
        assert_string_equal(found, wanted);
        free(found);
        free(wanted);
    }
}

static void write_at_random(uint32_t *seed)
{
    char sql[300], vector[40] = "null";
    for (int i = 0; i < 40; i++) {
        uint32_t r = *seed = *seed * 1664525u + 1013904223u;
        uint32_t id = r >> 8 & 127, name = r >> 15 & 15, state = r >> 19 & 3, x = r >> 21 & 15, y = r >> 25 & 15;
        if (y != 7)
            snprintf(vector, sizeof vector, "'[%u,%u]'", x, y);
        if (r % 5 == 0)
            snprintf(sql, sizeof sql, "delete from odd where id = %u", id);
        else
            snprintf(
                sql, sizeof sql,
                "insert into odd (id, name, state, n, v) values (%u, '%c%u', %u, %u, %s) on conflict (id) do update "
                "set name = excluded.name, state = excluded.state, n = excluded.n, v = excluded.v",
                id, r & 16 ? 'n' : 'N', name, state, x + y, y == 7 ? "null" : vector);
        harness_must(&h, sql);
    }
}

static void computed_indexes_are_equal_to_the_rows(void **state)
{
    (void)state;
    uint32_t seed = 1;
    harness_must(&h, "create table odd (id int primary key, name text, state int, n int, v vector(2))");
    write_at_random(&seed);
    harness_must(&h, "create index on odd (lower(name)); create index on odd ((n + 1)) where state = 1;"
                     "create unique index on odd (id) where state = 2;"
                     "create index on odd using hnsw (v vector_l2_ops) where state = 1;"
                     "create index on odd using hnsw ((v::halfvec(2)) halfvec_l2_ops)");
    compare_ways();
    for (int round = 0; round < 4; round++) {
        harness_must(&h, "begin");
        write_at_random(&seed);
        compare_ways();
        harness_must(&h, round == 2 ? "rollback" : "commit");
        compare_ways();
        harness_reopen(&h, round % 2);
        compare_ways();
    }
    harness_must(&h, "alter table odd drop column name; alter table odd add column name text default 'N3'");
    harness_must(&h, "create index on odd (lower(name))");
    compare_ways();
}

/* Of the next call on this thread. */
static _Thread_local bool loses;

gn_code __real_gn_operator_next(gn_operator *op, gn_batch **batch, gn_error *err);
gn_code __wrap_gn_operator_next(gn_operator *op, gn_batch **batch, gn_error *err);

gn_code __wrap_gn_operator_next(gn_operator *op, gn_batch **batch, gn_error *err)
{
    if (!loses)
        return __real_gn_operator_next(op, batch, err);
    loses = false;
    return gn_error_set(err, GN_SERIALIZATION, "could not serialize access");
}

/* A client takes columns that are told twice for two results, the first of which is empty. */
static void a_query_that_is_run_again_has_one_result(void **state)
{
    (void)state;
    harness_must(&h, "create table lost (id int primary key)");
    harness_must(&h, "insert into lost values (1), (2)");
    loses = true;
    harness_must(&h, "select id from lost order by id");
    assert_false(loses);
    assert_string_equal(harness_text(&h), "id\n1\n2\nSELECT 2\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(additions_by_many_sessions_all_count),
        cmocka_unit_test(upserts_of_the_same_rows_all_count),
        cmocka_unit_test(a_block_that_lost_hears_of_it),
        cmocka_unit_test(a_long_statement_is_cancelled),
        cmocka_unit_test(a_statement_ends_at_its_timeout),
        cmocka_unit_test(a_statement_stays_within_its_memory),
        cmocka_unit_test(a_client_that_is_gone_ends_the_statement),
        cmocka_unit_test(start_up_settings_become_the_defaults),
        cmocka_unit_test(a_session_that_closes_rolls_back),
        cmocka_unit_test(a_query_that_is_run_again_has_one_result),
        cmocka_unit_test(everything_is_there_after_a_restart),
        cmocka_unit_test(computed_indexes_are_equal_to_the_rows),
    };
    return cmocka_run_group_tests_name("coord/session", tests, open_all, close_all);
}
