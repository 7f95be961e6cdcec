/* A load generator over libpq, for this server and its peer alike: one thread, many connections, prepared statements.
 *
 *   bench_wire commits URIS CONNECTIONS SECONDS [OPTIONS]   durable single-row INSERTs, one transaction each
 *   bench_wire pairs   URIS CONNECTIONS SECONDS [OPTIONS]   the same with two rows each
 *   bench_wire point   URIS CONNECTIONS SECONDS [OPTIONS]   SELECT of one row by primary key
 *   bench_wire knn     URIS CONNECTIONS SECONDS FILE DIMENSIONS K
 *                                                ORDER BY embedding <=> $1 LIMIT k; FILE holds float32 queries
 *   bench_wire echo    URIS CONNECTIONS SECONDS FILE DIMENSIONS 1
 *                                                the same parameter, answered without a look at any table
 *   bench_wire copy    URI ROWS                  COPY FROM STDIN of small rows into a table with a primary key
 *
 * URIS: separated by blanks; connections go to them in turn, tables are made at the first. OPTIONS: what stands behind
 * the columns in CREATE TABLE, such as `WITH (shards = 8)`; the words `same table` instead take the table as it is.
 *
 * Prints one line: operations seconds p50_us p99_us cpu_share. The last is the processor time of this program over the
 * time that passed: near 1 it would be what is measured. Fails with a message and status 1 when any operation fails. */
#include <endian.h>
#include <errno.h>
#include <libpq-fe.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { MAX_CONNECTIONS = 1024, MAX_URIS = 16, POINT_ROWS = 100000, MAX_SAMPLES = 1 << 20 };

typedef struct bench {
    enum { COMMITS, PAIRS, POINT, KNN, ECHO } kind;
    char *uris[MAX_URIS];
    int n_uris;
    int n;
    PGconn *connections[MAX_CONNECTIONS];
    struct pollfd polls[MAX_CONNECTIONS];
    double sent_at[MAX_CONNECTIONS];
    int64_t next_id;
    uint64_t random;
    char *queries; /* knn: binary vectors, one after the other */
    size_t n_queries, query_bytes;
    int k;
    double *samples;
    size_t n_samples;
    int64_t done;
} bench;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double cpu_seconds(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

static _Noreturn void fail(const char *what, const char *why)
{
    fprintf(stderr, "bench_wire: %s: %s\n", what, why);
    exit(1);
}

static void run(PGconn *c, const char *sql)
{
    PGresult *r = PQexec(c, sql);
    ExecStatusType status = PQresultStatus(r);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && status != PGRES_COPY_IN)
        fail(sql, PQerrorMessage(c));
    PQclear(r);
}

static PGconn *connect_to(const char *uri)
{
    PGconn *c = PQconnectdb(uri);
    if (PQstatus(c) != CONNECTION_OK)
        fail("connect", PQerrorMessage(c));
    run(c, "SET client_min_messages = warning");
    return c;
}

static void prepare(PGconn *c, const char *sql)
{
    PGresult *r = PQprepare(c, "s", sql, 0, NULL);
    if (PQresultStatus(r) != PGRES_COMMAND_OK)
        fail(sql, PQerrorMessage(c));
    PQclear(r);
}

static uint64_t next_random(bench *b)
{
    b->random ^= b->random << 13;
    b->random ^= b->random >> 7;
    b->random ^= b->random << 17;
    return b->random;
}

/* Sends the next operation on connection i. */
static void send_next(bench *b, int i)
{
    bool writes = b->kind == COMMITS || b->kind == PAIRS;
    int64_t id = writes ? b->next_id++ : (int64_t)(next_random(b) % POINT_ROWS);
    uint64_t wire = htobe64((uint64_t)id), second = htobe64((uint64_t)b->next_id);
    const char *values[3] = {(const char *)&wire, "a small row's text", (const char *)&second};
    int lengths[3] = {sizeof wire, 18, sizeof second}, formats[3] = {1, 0, 1},
        n = !writes            ? 1
            : b->kind == PAIRS ? 3
                               : 2;
    b->next_id += b->kind == PAIRS;
    if (b->kind == KNN || b->kind == ECHO) {
        values[0] = b->queries + (next_random(b) % b->n_queries) * b->query_bytes;
        lengths[0] = (int)b->query_bytes;
    }
    b->sent_at[i] = now();
    if (!PQsendQueryPrepared(b->connections[i], "s", n, values, lengths, formats, 1))
        fail("send", PQerrorMessage(b->connections[i]));
    if (PQflush(b->connections[i]) < 0)
        fail("flush", PQerrorMessage(b->connections[i]));
}

/* True when the operation on connection i has ended. */
static bool receive(bench *b, int i)
{
    PGconn *c = b->connections[i];
    PGresult *r;
    if (!PQconsumeInput(c))
        fail("receive", PQerrorMessage(c));
    while (!PQisBusy(c)) {
        if (!(r = PQgetResult(c))) {
            if (b->n_samples < MAX_SAMPLES)
                b->samples[b->n_samples++] = now() - b->sent_at[i];
            b->done++;
            return true;
        }
        if (PQresultStatus(r) != PGRES_COMMAND_OK && PQresultStatus(r) != PGRES_TUPLES_OK)
            fail("operation", PQresultErrorMessage(r));
        if (b->kind == POINT && PQntuples(r) != 1)
            fail("point", "the row is not there");
        if ((b->kind == KNN || b->kind == ECHO) && PQntuples(r) != b->k)
            fail("knn", "fewer rows than asked for");
        PQclear(r);
    }
    return false;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void report(bench *b, double seconds, double cpu)
{
    qsort(b->samples, b->n_samples, sizeof *b->samples, compare);
    printf("%lld %.6f %.1f %.1f %.3f\n", (long long)b->done, seconds,
           b->n_samples ? b->samples[b->n_samples / 2] * 1e6 : 0.0,
           b->n_samples ? b->samples[b->n_samples * 99 / 100] * 1e6 : 0.0, cpu / seconds);
}

static void load(bench *b, double seconds)
{
    double start = now(), end = start + seconds, cpu = cpu_seconds();
    int open = b->n;
    bool stopping = false;
    for (int i = 0; i < b->n; i++)
        send_next(b, i);
    while (open > 0) {
        if (poll(b->polls, (nfds_t)b->n, -1) < 0 && errno != EINTR)
            fail("poll", strerror(errno));
        stopping = stopping || now() >= end;
        for (int i = 0; i < b->n; i++) {
            if (!(b->polls[i].revents & (POLLIN | POLLERR | POLLHUP)) || !receive(b, i))
                continue;
            if (stopping) {
                b->polls[i].fd = -1;
                open--;
            } else {
                send_next(b, i);
            }
        }
    }
    report(b, now() - start, cpu_seconds() - cpu);
}

static void read_queries(bench *b, const char *path, int dimensions)
{
    FILE *f = fopen(path, "rb");
    float *row = malloc((size_t)dimensions * sizeof *row);
    b->query_bytes = 4 + (size_t)dimensions * 4;
    if (!f || !row)
        fail(path, strerror(errno));
    while (fread(row, sizeof *row, (size_t)dimensions, f) == (size_t)dimensions) {
        b->queries = realloc(b->queries, (b->n_queries + 1) * b->query_bytes);
        char *out = b->queries + b->n_queries++ * b->query_bytes;
        uint16_t head[2] = {htobe16((uint16_t)dimensions), 0};
        memcpy(out, head, 4);
        for (int i = 0; i < dimensions; i++) {
            uint32_t bits;
            memcpy(&bits, &row[i], 4);
            bits = htobe32(bits);
            memcpy(out + 4 + i * 4, &bits, 4);
        }
    }
    if (!b->n_queries)
        fail(path, "no queries in it");
    free(row);
    fclose(f);
}

static void open_connections(bench *b, const char *statement)
{
    for (int i = 0; i < b->n; i++) {
        b->connections[i] = connect_to(b->uris[i % b->n_uris]);
        prepare(b->connections[i], statement);
        PQsetnonblocking(b->connections[i], 1);
        b->polls[i] = (struct pollfd){.fd = PQsocket(b->connections[i]), .events = POLLIN};
    }
}

static PGconn *make_table(const char *uri, const char *name, const char *options)
{
    PGconn *c = connect_to(uri);
    char text[512];
    snprintf(text, sizeof text, "DROP TABLE IF EXISTS %s", name);
    run(c, text);
    snprintf(text, sizeof text, "CREATE TABLE %s (id bigint PRIMARY KEY, t text NOT NULL) %s", name, options);
    run(c, text);
    return c;
}

static void make_point_table(const char *uri, const char *options)
{
    PGconn *c = make_table(uri, "bench_point", options);
    char row[64];
    run(c, "COPY bench_point FROM STDIN");
    for (int i = 0; i < POINT_ROWS; i++) {
        int n = snprintf(row, sizeof row, "%d\trow number %d\n", i, i);
        if (PQputCopyData(c, row, n) != 1)
            fail("copy", PQerrorMessage(c));
    }
    if (PQputCopyEnd(c, NULL) != 1)
        fail("copy", PQerrorMessage(c));
    PGresult *r = PQgetResult(c);
    if (PQresultStatus(r) != PGRES_COMMAND_OK)
        fail("copy", PQerrorMessage(c));
    PQclear(r);
    PQfinish(c);
}

static void copy_rows(const char *uri, int64_t rows)
{
    PGconn *c = connect_to(uri);
    run(c, "DROP TABLE IF EXISTS bench_copy");
    run(c, "CREATE TABLE bench_copy (id bigint PRIMARY KEY, name text NOT NULL, amount integer NOT NULL)");
    char *buffer = malloc(1 << 16);
    int used = 0;
    double start = now();
    run(c, "COPY bench_copy FROM STDIN");
    for (int64_t i = 0; i < rows; i++) {
        used += snprintf(buffer + used, 128, "%lld\tname of row %lld\t%lld\n", (long long)i, (long long)i,
                         (long long)(i * 7919 % 100000));
        if (used > (1 << 16) - 256 || i == rows - 1) {
            if (PQputCopyData(c, buffer, used) != 1)
                fail("copy", PQerrorMessage(c));
            used = 0;
        }
    }
    if (PQputCopyEnd(c, NULL) != 1)
        fail("copy", PQerrorMessage(c));
    PGresult *r = PQgetResult(c);
    if (PQresultStatus(r) != PGRES_COMMAND_OK)
        fail("copy", PQerrorMessage(c));
    printf("%lld %.6f 0 0\n", (long long)rows, now() - start);
    PQclear(r);
    PQfinish(c);
    free(buffer);
}

/* Makes what the load needs; returns the statement. */
static const char *prepare_load(bench *b, int argc, char **argv)
{
    static char statement[256];
    const char *options = argc == 6 ? argv[5] : "";
    bool same_table = strcmp(options, "same table") == 0;
    if (strcmp(argv[1], "commits") == 0 || strcmp(argv[1], "pairs") == 0) {
        b->kind = argv[1][0] == 'c' ? COMMITS : PAIRS;
        PQfinish(make_table(b->uris[0], "bench_commits", options));
        return b->kind == COMMITS ? "INSERT INTO bench_commits VALUES ($1, $2)"
                                  : "INSERT INTO bench_commits VALUES ($1, $2), ($3, $2)";
    }
    if (strcmp(argv[1], "point") == 0) {
        b->kind = POINT;
        if (!same_table)
            make_point_table(b->uris[0], options);
        return "SELECT t FROM bench_point WHERE id = $1";
    }
    bool echo = strcmp(argv[1], "echo") == 0;
    if ((strcmp(argv[1], "knn") != 0 && !echo) || argc != 8)
        fail("usage", "see the head of bench_wire.c");
    b->kind = echo ? ECHO : KNN;
    b->k = (int)strtol(argv[7], NULL, 10);
    read_queries(b, argv[5], (int)strtol(argv[6], NULL, 10));
    if (echo)
        return "SELECT $1::vector IS NULL";
    snprintf(statement, sizeof statement, "SELECT id FROM bench_knn ORDER BY embedding <=> $1 LIMIT %d", b->k);
    return statement;
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "copy") == 0) {
        copy_rows(argv[2], strtoll(argv[3], NULL, 10));
        return 0;
    }
    bench b = {.random = 88172645463325252ull, .samples = malloc(MAX_SAMPLES * sizeof(double))};
    if (argc < 5 || !b.samples)
        fail("usage", "see the head of bench_wire.c");
    b.n = (int)strtol(argv[3], NULL, 10);
    if (b.n < 1 || b.n > MAX_CONNECTIONS)
        fail("connections", "1 to 1024");
    char *rest = argv[2];
    do
        b.uris[b.n_uris++] = strsep(&rest, " ");
    while (b.n_uris < MAX_URIS && rest);
    open_connections(&b, prepare_load(&b, argc, argv));
    load(&b, strtod(argv[4], NULL));
    for (int i = 0; i < b.n; i++)
        PQfinish(b.connections[i]);
    free(b.queries);
    free(b.samples);
    return 0;
}
