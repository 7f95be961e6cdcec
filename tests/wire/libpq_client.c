/* What C programs do: libpq against a server, by its plain and its rarer calls. libpq_client URI; prints each test's
 * name, ends with status 1 at the first that fails. */
#include <endian.h>
#include <libpq-fe.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *uri;

#define EXPECT(condition)                                                            \
    do {                                                                             \
        if (!(condition)) {                                                          \
            fprintf(stderr, "%s:%d: expected %s\n", __func__, __LINE__, #condition); \
            exit(1);                                                                 \
        }                                                                            \
    } while (0)

static void same(const char *found, const char *wanted, const char *what)
{
    if (found && strcmp(found, wanted) == 0)
        return;
    fprintf(stderr, "%s: \"%s\", not \"%s\"\n", what, found ? found : "(nothing)", wanted);
    exit(1);
}

static PGconn *open_connection(void)
{
    PGconn *c = PQconnectdb(uri);
    if (PQstatus(c) != CONNECTION_OK) {
        fprintf(stderr, "could not connect: %s", PQerrorMessage(c));
        exit(1);
    }
    return c;
}

static PGresult *expect_status(PGconn *c, PGresult *r, ExecStatusType wanted, const char *what)
{
    if (PQresultStatus(r) != wanted) {
        fprintf(stderr, "%s: %s, not %s: %s", what, PQresStatus(PQresultStatus(r)), PQresStatus(wanted),
                PQerrorMessage(c));
        exit(1);
    }
    return r;
}

static void run(PGconn *c, const char *sql)
{
    PGresult *r = PQexec(c, sql);
    expect_status(c, r, PQresultStatus(r) == PGRES_TUPLES_OK ? PGRES_TUPLES_OK : PGRES_COMMAND_OK, sql);
    PQclear(r);
}

/* ---- every type, there and back, in both formats ---- */

static const struct sample {
    const char *type, *text;
    Oid oid;
} SAMPLES[] = {
    {"boolean", "t", 16},
    {"smallint", "-32768", 21},
    {"integer", "2147483647", 23},
    {"bigint", "-9223372036854775808", 20},
    {"real", "1.5e-10", 700},
    {"double precision", "-1.7976931348623157e+308", 701},
    {"numeric", "-12345678901234567890.0987654321", 1700},
    {"numeric(10,2)", "3.14", 1700},
    {"text", "gr\xc3\xbc\xc3\x9f Gott, 'quoted' \\ and \"so\"", 25},
    {"varchar(20)", "twenty characters!!!", 1043},
    {"bytea", "\\x00ff10", 17},
    {"timestamp", "2026-11-21 04:35:57.123456", 1114},
    {"timestamptz", "1969-12-31 23:59:59.999999+00", 1184},
    {"date", "4713-01-01 BC", 1082},
    {"uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", 2950},
    {"json", "{\"a\": [1, 2.50, null]}", 114},
    {"jsonb", "{\"a\": [1, 2.50, null]}", 3802},
    {"integer[]", "{{1,NULL},{3,4}}", 1007},
    {"text[]", "{\"a b\",\"c\\\"d\",NULL,\"NULL\"}", 1009},
    {"vector(3)", "[1,-2.5,3]", 0},
};
enum { N_SAMPLES = sizeof SAMPLES / sizeof SAMPLES[0] };

/* The value as text goes in and comes out binary; that goes in binary and comes out as text: nothing is lost. */
static void values_travel_in_both_formats(PGconn *c)
{
    run(c, "SET TimeZone = 'UTC'");
    for (int i = 0; i < N_SAMPLES; i++) {
        const struct sample *s = &SAMPLES[i];
        char sql[200];
        const char *values[1] = {s->text};
        snprintf(sql, sizeof sql, "SELECT CAST($1 AS %s)", s->type);
        PGresult *binary =
            expect_status(c, PQexecParams(c, sql, 1, NULL, values, NULL, NULL, 1), PGRES_TUPLES_OK, s->type);
        EXPECT(PQfformat(binary, 0) == 1 && !PQgetisnull(binary, 0, 0));
        Oid oid = PQftype(binary, 0);
        EXPECT(s->oid == 0 || oid == s->oid);
        const char *bytes[1] = {PQgetvalue(binary, 0, 0)};
        int length = PQgetlength(binary, 0, 0), one = 1;
        PGresult *text =
            expect_status(c, PQexecParams(c, sql, 1, &oid, bytes, &length, &one, 0), PGRES_TUPLES_OK, s->type);
        same(PQgetvalue(text, 0, 0), s->text, s->type);
        PQclear(text);
        PQclear(binary);
        snprintf(sql, sizeof sql, "SELECT CAST($1 AS %s) IS NULL", s->type);
        const char *null[1] = {NULL};
        PGresult *r = expect_status(c, PQexecParams(c, sql, 1, NULL, null, NULL, NULL, 0), PGRES_TUPLES_OK, s->type);
        same(PQgetvalue(r, 0, 0), "t", s->type);
        PQclear(r);
    }
}

static void numbers_in_binary_are_big_endian(PGconn *c)
{
    PGresult *r = expect_status(
        c, PQexecParams(c, "SELECT 258::int4, 1.5::float8, true, 'x'::text", 0, NULL, NULL, NULL, NULL, 1),
        PGRES_TUPLES_OK, "binary");
    uint64_t bits;
    EXPECT(PQgetlength(r, 0, 0) == 4 && memcmp(PQgetvalue(r, 0, 0), "\0\0\1\2", 4) == 0);
    memcpy(&bits, PQgetvalue(r, 0, 1), 8);
    bits = be64toh(bits);
    double d;
    memcpy(&d, &bits, 8);
    EXPECT(d == 1.5 && PQgetlength(r, 0, 2) == 1 && PQgetvalue(r, 0, 2)[0] == 1);
    same(PQgetvalue(r, 0, 3), "x", "text in binary");
    PQclear(r);
}

/* ---- statements ---- */

static void prepared_statements_are_described_and_reused(PGconn *c)
{
    run(c, "CREATE TABLE lp (id integer PRIMARY KEY, name text, n numeric)");
    PQclear(expect_status(c, PQprepare(c, "put", "INSERT INTO lp VALUES ($1, $2, $3)", 0, NULL), PGRES_COMMAND_OK,
                          "prepare"));
    for (int i = 0; i < 100; i++) {
        char id[16], name[16];
        snprintf(id, sizeof id, "%d", i);
        snprintf(name, sizeof name, "name %d", i);
        const char *values[3] = {id, name, i % 3 ? "0.5" : NULL};
        PGresult *r = expect_status(c, PQexecPrepared(c, "put", 3, values, NULL, NULL, 0), PGRES_COMMAND_OK, "put");
        same(PQcmdTuples(r), "1", "rows of an INSERT");
        PQclear(r);
    }
    PQclear(expect_status(c, PQprepare(c, "get", "SELECT name, n FROM lp WHERE id = $1", 0, NULL), PGRES_COMMAND_OK,
                          "prepare"));
    PGresult *r = expect_status(c, PQdescribePrepared(c, "get"), PGRES_COMMAND_OK, "describe");
    EXPECT(PQnparams(r) == 1 && PQparamtype(r, 0) == 23 && PQnfields(r) == 2);
    same(PQfname(r, 1), "n", "column");
    EXPECT(PQftype(r, 0) == 25 && PQftype(r, 1) == 1700);
    PQclear(r);
    const char *seven[1] = {"7"};
    r = expect_status(c, PQexecPrepared(c, "get", 1, seven, NULL, NULL, 0), PGRES_TUPLES_OK, "get");
    EXPECT(PQntuples(r) == 1);
    same(PQgetvalue(r, 0, 0), "name 7", "name");
    PQclear(r);
    run(c, "DEALLOCATE get");
    r = PQexecPrepared(c, "get", 1, seven, NULL, NULL, 0);
    same(PQresultErrorField(r, PG_DIAG_SQLSTATE), "26000", "a statement that is gone");
    PQclear(r);
}

static void single_row_mode_gives_rows_one_by_one(PGconn *c)
{
    EXPECT(PQsendQuery(c, "SELECT i FROM generate_series(1, 3000) i") == 1 && PQsetSingleRowMode(c) == 1);
    int n = 0;
    for (PGresult *r; (r = PQgetResult(c));) {
        if (PQresultStatus(r) == PGRES_SINGLE_TUPLE) {
            n++;
            EXPECT(atoi(PQgetvalue(r, 0, 0)) == n);
        } else {
            EXPECT(PQresultStatus(r) == PGRES_TUPLES_OK && PQntuples(r) == 0);
        }
        PQclear(r);
    }
    EXPECT(n == 3000);
}

static void several_statements_in_one_text(PGconn *c)
{
    EXPECT(PQsendQuery(c, "SELECT 1; ; SELECT 'two'; SELECT 1/0; SELECT 3") == 1);
    PGresult *r = PQgetResult(c);
    same(PQgetvalue(r, 0, 0), "1", "first");
    PQclear(r);
    r = PQgetResult(c);
    same(PQgetvalue(r, 0, 0), "two", "second");
    PQclear(r);
    r = PQgetResult(c);
    same(PQresultErrorField(r, PG_DIAG_SQLSTATE), "22012", "third");
    PQclear(r);
    EXPECT(PQgetResult(c) == NULL);
    PQclear(expect_status(c, PQexec(c, ""), PGRES_EMPTY_QUERY, "empty"));
    PQclear(expect_status(c, PQexecParams(c, " -- nothing", 0, NULL, NULL, NULL, NULL, 0), PGRES_EMPTY_QUERY, "empty"));
}

/* ---- pipelines ---- */

static void expect_sync(PGconn *c)
{
    PGresult *r = PQgetResult(c);
    EXPECT(PQresultStatus(r) == PGRES_PIPELINE_SYNC);
    PQclear(r);
}

static void next_in_pipeline(PGconn *c, ExecStatusType wanted, const char *state)
{
    PGresult *r = PQgetResult(c);
    expect_status(c, r, wanted, "in a pipeline");
    if (state)
        same(PQresultErrorField(r, PG_DIAG_SQLSTATE), state, "in a pipeline");
    PQclear(r);
    EXPECT(PQgetResult(c) == NULL);
}

/* Up to its Sync a pipeline is one transaction: an error undoes what came before and skips what comes after. */
static void pipelines_are_transactions(PGconn *c)
{
    static const char *good[1] = {"1000"}, *bad[1] = {"no number"};
    const char *put = "INSERT INTO lp (id) VALUES ($1::text::int)";
    EXPECT(PQenterPipelineMode(c) == 1);
    EXPECT(PQsendQueryParams(c, put, 1, NULL, good, NULL, NULL, 0) == 1);
    EXPECT(PQsendQueryParams(c, put, 1, NULL, bad, NULL, NULL, 0) == 1);
    EXPECT(PQsendQueryParams(c, put, 1, NULL, good, NULL, NULL, 0) == 1);
    EXPECT(PQpipelineSync(c) == 1);
    EXPECT(PQsendQueryParams(c, "SELECT count(*) FROM lp WHERE id = 1000", 0, NULL, NULL, NULL, NULL, 0) == 1);
    EXPECT(PQpipelineSync(c) == 1);
    next_in_pipeline(c, PGRES_COMMAND_OK, NULL);
    next_in_pipeline(c, PGRES_FATAL_ERROR, "22P02");
    next_in_pipeline(c, PGRES_PIPELINE_ABORTED, NULL);
    expect_sync(c);
    PGresult *r = expect_status(c, PQgetResult(c), PGRES_TUPLES_OK, "count");
    same(PQgetvalue(r, 0, 0), "0", "rows of the failed pipeline");
    PQclear(r);
    EXPECT(PQgetResult(c) == NULL);
    expect_sync(c);
    EXPECT(PQexitPipelineMode(c) == 1);
}

/* ---- COPY ---- */

static void put_copy(PGconn *c, const char *sql, const char *data, int n)
{
    PQclear(expect_status(c, PQexec(c, sql), PGRES_COPY_IN, sql));
    EXPECT(PQputCopyData(c, data, n) == 1 && PQputCopyEnd(c, NULL) == 1);
}

static size_t get_copy(PGconn *c, const char *sql, char *out, size_t size)
{
    PQclear(expect_status(c, PQexec(c, sql), PGRES_COPY_OUT, sql));
    size_t at = 0;
    char *row;
    for (int n; (n = PQgetCopyData(c, &row, 0)) > 0; PQfreemem(row)) {
        EXPECT(at + (size_t)n < size);
        memcpy(out + at, row, (size_t)n);
        at += (size_t)n;
    }
    out[at] = '\0';
    PQclear(expect_status(c, PQgetResult(c), PGRES_COMMAND_OK, sql));
    EXPECT(PQgetResult(c) == NULL);
    return at;
}

static void copy_goes_in_and_out(PGconn *c)
{
    char text[4096], binary[4096];
    static const char rows[] = "1\ta\\tb\t1.50\n2\t\\N\t\\N\n";
    run(c, "CREATE TABLE cp (id integer PRIMARY KEY, t text, n numeric)");
    put_copy(c, "COPY cp FROM STDIN", rows, sizeof rows - 1);
    PGresult *r = expect_status(c, PQgetResult(c), PGRES_COMMAND_OK, "copy in");
    same(PQcmdTuples(r), "2", "rows copied");
    PQclear(r);
    EXPECT(PQgetResult(c) == NULL);
    get_copy(c, "COPY (SELECT * FROM cp ORDER BY id) TO STDOUT", text, sizeof text);
    same(text, rows, "copied out");
    size_t n = get_copy(c, "COPY cp TO STDOUT (FORMAT binary)", binary, sizeof binary);
    EXPECT(n > 21 && memcmp(binary, "PGCOPY\n\377\r\n\0", 11) == 0);
    run(c, "TRUNCATE cp");
    put_copy(c, "COPY cp FROM STDIN (FORMAT binary)", binary, (int)n);
    PQclear(expect_status(c, PQgetResult(c), PGRES_COMMAND_OK, "binary copy in"));
    EXPECT(PQgetResult(c) == NULL);
    get_copy(c, "COPY (SELECT * FROM cp ORDER BY id) TO STDOUT", text, sizeof text);
    same(text, rows, "copied back");
}

static void a_bad_row_says_where_it_is(PGconn *c)
{
    put_copy(c, "COPY cp FROM STDIN", "7\tx\t1\n8\ty\tnot a number\n", 23);
    PGresult *r = PQgetResult(c);
    same(PQresultErrorField(r, PG_DIAG_SQLSTATE), "22P02", "state");
    same(PQresultErrorField(r, PG_DIAG_CONTEXT), "COPY cp, line 2, column n: \"not a number\"", "context");
    PQclear(r);
    EXPECT(PQgetResult(c) == NULL);
    PQclear(expect_status(c, PQexec(c, "COPY cp FROM STDIN"), PGRES_COPY_IN, "copy"));
    EXPECT(PQputCopyData(c, "9\tz\t1\n", 6) == 1 && PQputCopyEnd(c, "changed my mind") == 1);
    r = PQgetResult(c);
    same(PQresultErrorField(r, PG_DIAG_SQLSTATE), "57014", "given up");
    EXPECT(strstr(PQresultErrorMessage(r), "changed my mind"));
    PQclear(r);
    EXPECT(PQgetResult(c) == NULL);
    r = PQexec(c, "SELECT count(*) FROM cp");
    same(PQgetvalue(r, 0, 0), "2", "rows after two failures");
    PQclear(r);
}

/* ---- errors, notices, cancel, transactions ---- */

static void errors_have_all_their_fields(PGconn *c)
{
    PGresult *r = PQexec(c, "SELECT nope FROM lp");
    same(PQresultErrorField(r, PG_DIAG_SQLSTATE), "42703", "state");
    same(PQresultErrorField(r, PG_DIAG_SEVERITY_NONLOCALIZED), "ERROR", "severity");
    same(PQresultErrorField(r, PG_DIAG_STATEMENT_POSITION), "8", "position");
    same(PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY), "column \"nope\" does not exist", "message");
    PQclear(r);
    r = PQexec(c, "INSERT INTO lp VALUES (1)");
    same(PQresultErrorField(r, PG_DIAG_SQLSTATE), "23505", "state");
    same(PQresultErrorField(r, PG_DIAG_TABLE_NAME), "lp", "table");
    same(PQresultErrorField(r, PG_DIAG_CONSTRAINT_NAME), "lp_pkey", "constraint");
    same(PQresultErrorField(r, PG_DIAG_MESSAGE_DETAIL), "Key (id)=(1) already exists.", "detail");
    PQclear(r);
    r = PQexec(c, "INSERT INTO lp VALUES (NULL)");
    same(PQresultErrorField(r, PG_DIAG_COLUMN_NAME), "id", "column");
    PQclear(r);
}

static char last_notice[300];

static void take_notice(void *arg, const PGresult *r)
{
    (void)arg;
    snprintf(last_notice, sizeof last_notice, "%s", PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY));
}

static void notices_arrive(PGconn *c)
{
    PQnoticeReceiver before = PQsetNoticeReceiver(c, take_notice, NULL);
    run(c, "DROP TABLE IF EXISTS never_was");
    same(last_notice, "table \"never_was\" does not exist, skipping", "notice");
    PQsetNoticeReceiver(c, before, NULL);
}

static void the_transaction_status_is_told(PGconn *c)
{
    EXPECT(PQtransactionStatus(c) == PQTRANS_IDLE);
    run(c, "BEGIN");
    EXPECT(PQtransactionStatus(c) == PQTRANS_INTRANS);
    PQclear(PQexec(c, "SELECT 1/0"));
    EXPECT(PQtransactionStatus(c) == PQTRANS_INERROR);
    PGresult *r = PQexec(c, "SELECT 1");
    same(PQresultErrorField(r, PG_DIAG_SQLSTATE), "25P02", "state");
    PQclear(r);
    r = expect_status(c, PQexec(c, "COMMIT"), PGRES_COMMAND_OK, "commit");
    same(PQcmdStatus(r), "ROLLBACK", "tag");
    PQclear(r);
    EXPECT(PQtransactionStatus(c) == PQTRANS_IDLE);
    EXPECT(strcmp(PQparameterStatus(c, "server_encoding"), "UTF8") == 0 && PQserverVersion(c) >= 150000);
}

static void a_cancel_ends_the_statement(PGconn *c)
{
    char error[256];
    PGcancel *cancel = PQgetCancel(c);
    EXPECT(cancel && PQsendQuery(c, "SELECT count(*) FROM generate_series(1, 100000000000) i") == 1);
    /* A cancel that overtakes its query cancels nothing: again until the answer is there. */
    while (PQisBusy(c)) {
        EXPECT(PQcancel(cancel, error, sizeof error) == 1);
        EXPECT(PQconsumeInput(c) == 1);
    }
    PGresult *r = PQgetResult(c);
    same(PQresultErrorField(r, PG_DIAG_SQLSTATE), "57014", "state");
    PQclear(r);
    EXPECT(PQgetResult(c) == NULL);
    PQfreeCancel(cancel);
    PQclear(PQexec(c, "SELECT 1")); /* may be met by a cancel that is late */
    run(c, "SELECT 1");
}

static void escapes_are_understood(PGconn *c)
{
    static const char nasty[] = "it's; DROP TABLE lp; -- \\ \"x\"";
    char sql[300];
    char *literal = PQescapeLiteral(c, nasty, sizeof nasty - 1), *name = PQescapeIdentifier(c, "Od\"d", 4);
    EXPECT(literal && name);
    snprintf(sql, sizeof sql, "SELECT %s AS %s", literal, name);
    PGresult *r = expect_status(c, PQexec(c, sql), PGRES_TUPLES_OK, "escaped");
    same(PQgetvalue(r, 0, 0), nasty, "literal");
    same(PQfname(r, 0), "Od\"d", "identifier");
    PQclear(r);
    PQfreemem(literal);
    PQfreemem(name);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(PGconn *c);
    } tests[] = {
#define TEST(name) {#name, name}
        TEST(values_travel_in_both_formats),
        TEST(numbers_in_binary_are_big_endian),
        TEST(prepared_statements_are_described_and_reused),
        TEST(single_row_mode_gives_rows_one_by_one),
        TEST(several_statements_in_one_text),
        TEST(pipelines_are_transactions),
        TEST(copy_goes_in_and_out),
        TEST(a_bad_row_says_where_it_is),
        TEST(errors_have_all_their_fields),
        TEST(notices_arrive),
        TEST(the_transaction_status_is_told),
        TEST(a_cancel_ends_the_statement),
        TEST(escapes_are_understood),
    };
    if (argc != 2) {
        fprintf(stderr, "usage: %s URI\n", argv[0]);
        return 2;
    }
    uri = argv[1];
    PGconn *c = open_connection();
    for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++) {
        tests[i].run(c);
        printf("ok %s\n", tests[i].name);
        fflush(stdout);
    }
    PQfinish(c);
    return 0;
}
