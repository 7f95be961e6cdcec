#!/usr/bin/env python3
"""The wire protocol against real clients: psql, psycopg (text and binary), a C program on libpq, and raw frames for what
no client sends.

    clients.py --gnomond PROGRAM [--libpq-client PROGRAM] [NAME...]
"""

import argparse
import datetime
import decimal
import pathlib
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
import uuid

import psycopg
from psycopg.types.json import Jsonb

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import gnomond  # noqa: E402
from expect import DEADLINE, equal, expect, until  # noqa: E402


def connect(server, **options):
    return psycopg.connect(server.uri(), autocommit=True, **options)


class Raw:
    """A connection that sends what it is told."""

    def __init__(self, server):
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE)
        self.file = self.socket.makefile("rb")

    def start(self, user="raw"):
        body = struct.pack(">I", 196608) + b"user\0" + user.encode() + b"\0\0"
        self.socket.sendall(struct.pack(">I", len(body) + 4) + body)
        return self.until(b"Z")

    def send(self, kind, body=b""):
        self.socket.sendall(kind + struct.pack(">I", len(body) + 4) + body)

    def read(self):
        head = self.file.read(5)
        if len(head) < 5:
            return None, b""
        return head[:1], self.file.read(struct.unpack(">I", head[1:])[0] - 4)

    def until(self, *kinds):
        """Messages up to and including one of these kinds, or the end of the stream (kind None)."""
        messages = []
        while True:
            kind, body = self.read()
            messages.append((kind, body))
            if kind in kinds or kind is None:
                return messages

    def close(self):
        self.file.close()
        self.socket.close()


def fields(body):
    return {part[:1].decode(): part[1:].decode() for part in body.rstrip(b"\0").split(b"\0") if part}


def kinds(messages):
    return b"".join(kind or b"-" for kind, _ in messages).decode()


def test_psql_runs_a_script(server):
    script = ("CREATE TABLE p (id integer PRIMARY KEY, t text);\nCOPY p FROM STDIN;\n1\tone\n2\t\\N\n\\.\n"
              "SELECT * FROM p ORDER BY id;\nCOPY p TO STDOUT (FORMAT csv);\nDROP TABLE p;\n")
    done = subprocess.run(["psql", "-X", "-At", "-v", "ON_ERROR_STOP=1", server.uri()], input=script, text=True,
                          capture_output=True, check=False)
    equal(done.returncode, 0, f"psql's status ({done.stderr})")
    equal(done.stdout.splitlines(), ["CREATE TABLE", "COPY 2", "1|one", "2|", "1,one", "2,", "DROP TABLE"], "output")


def test_values_of_every_type_travel_both_ways(server):
    values = {
        "boolean": [True, False, None], "smallint": [-32768, 7], "integer": [2**31 - 1, -5], "bigint": [-2**63, 9],
        "real": [1.5, -0.25], "double precision": [0.1, 1e300], "text": ["", "grün ☀ 'quoted'"], "bytea": [b"", b"\0\xff"],
    }
    for binary in (False, True):
        with connect(server) as connection:
            for name, examples in values.items():
                for value in examples:
                    cursor = connection.cursor(binary=binary)
                    mark = "%b" if binary else "%t"
                    found = cursor.execute(f"SELECT {mark}::{name}", (value,)).fetchone()[0]
                    equal(found, value, f"{name} binary={binary}")


def test_vectors_and_json(server):
    with connect(server) as connection:
        equal(connection.execute("SELECT '[1,2.5,-3]'::vector::text").fetchone()[0], "[1,2.5,-3]", "vector text")
        found = connection.execute("SELECT %s::jsonb", (Jsonb({"b": 1, "aa": [1, None]}),)).fetchone()[0]
        equal(found, {"b": 1, "aa": [1, None]}, "jsonb")


def test_arrays_travel_both_ways(server):
    uuids = [uuid.UUID(int=7), uuid.UUID(int=2**127)]
    values = {
        "boolean[]": [[True, None, False]], "smallint[]": [[1, -32768]], "integer[]": [[1, None, 2**31 - 1], [[1, 2], [3, 4]], []],
        "bigint[]": [[-2**63, 9]], "real[]": [[1.5, -0.25]], "double precision[]": [[0.1, 1e300]],
        "numeric[]": [[decimal.Decimal("1.50"), None]], "text[]": [["", "a b", None, 'q"\\', "NULL", "{}", "grün, ☀"]],
        "varchar[]": [["x"]], "bytea[]": [[b"", b"\0\xff"]], "date[]": [[datetime.date(2024, 2, 29)]],
        "timestamp[]": [[datetime.datetime(2024, 2, 29, 1, 2, 3, 4)]], "uuid[]": [uuids], "jsonb[]": [[{"a": [1, None]}, "x"]],
        "timestamptz[]": [[datetime.datetime(2024, 2, 29, tzinfo=datetime.timezone.utc)]],
    }
    for binary in (False, True):
        with connect(server) as connection:
            for name, examples in values.items():
                for value in examples:
                    cursor = connection.cursor(binary=binary)
                    mark = "%b" if binary else "%t"
                    sent = [Jsonb(item) for item in value] if name == "jsonb[]" else value
                    found = cursor.execute(f"SELECT {mark}::{name}", (sent,)).fetchone()[0]
                    equal(found, value, f"{name} binary={binary}")


def test_any_of_a_list_reads_the_key(server):
    with connect(server) as connection:
        connection.execute("CREATE TABLE listed (id integer PRIMARY KEY, name text UNIQUE)")
        connection.execute("INSERT INTO listed SELECT g, 'n' || g FROM generate_series(1, 3000) g")
        for binary in (False, True):
            cursor = connection.cursor(binary=binary)
            mark = "%b" if binary else "%t"
            by_id = f"SELECT id FROM listed WHERE id = ANY({mark}) ORDER BY id"
            for wanted in ([5, 7, 2999], [], [7, 7, None, 9999], [3_000_000_000, 4]):
                found = [row[0] for row in cursor.execute(by_id, (wanted,))]
                equal(found, sorted({w for w in wanted if w and w <= 3000}), f"ids {wanted} binary={binary}")
            by_name = f"SELECT id FROM listed WHERE name = ANY({mark}) ORDER BY id"
            equal([row[0] for row in cursor.execute(by_name, (["n4", "n2", "zz", None],))], [2, 4], "names")
            rest = cursor.execute(f"SELECT count(*) FROM listed WHERE id <> ALL({mark})", ([1, 2, 3],)).fetchone()[0]
            equal(rest, 2997, "all")
            for sql, value, key in ((by_id, [5, 7], "listed_pkey"), (by_name, ["n4"], "listed_name_key")):
                plan = "\n".join(row[0] for row in connection.execute("EXPLAIN " + sql, (value,)))
                expect(key in plan and "Index Cond" in plan and "Filter" not in plan, plan)
        with connection.cursor().copy("COPY listed (id, name) FROM STDIN (FORMAT binary)") as copy:
            copy.set_types(["int4", "text"])
            copy.write_row((5000, "five"))
        connection.execute("CREATE TABLE lists (id integer PRIMARY KEY, n integer[], t text[])")
        rows = [(1, [1, None, 3], ["a", 'b"']), (2, [], None), (3, [[1, 2], [3, 4]], ["x"])]
        with connection.cursor().copy("COPY lists FROM STDIN (FORMAT binary)") as copy:
            copy.set_types(["int4", "int4[]", "text[]"])
            for row in rows:
                copy.write_row(row)
        with connection.cursor().copy("COPY lists TO STDOUT (FORMAT binary)") as copy:
            copy.set_types(["int4", "int4[]", "text[]"])
            equal(list(copy.rows()), rows, "binary copy")
        connection.execute("DROP TABLE listed")
        connection.execute("DROP TABLE lists")


def test_hostile_arrays_are_answered(server):
    with connect(server) as connection:
        heads = {"22P03": struct.pack(">iii", -1, 0, 23), "54000": struct.pack(">iiiii", 1, 0, 23, 2**30, 1),
                 "42804": struct.pack(">iii", 0, 0, 25), "08P01": struct.pack(">iiiii", 1, 0, 23, 1000, 1)}
        for sqlstate, body in heads.items():
            result = connection.pgconn.exec_params(b"SELECT $1", [body], [1007], [1])
            equal(result.error_field(psycopg.pq.DiagnosticField.SQLSTATE).decode(), sqlstate, "a hostile array")
        equal(connection.execute("SELECT 1").fetchone()[0], 1, "the connection lives")


def test_errors_carry_their_fields(server):
    with connect(server) as connection:
        connection.execute("CREATE TABLE e (id integer PRIMARY KEY, n integer NOT NULL, CHECK (n > 0))")
        connection.execute("INSERT INTO e VALUES (1, 1)")
        for statement, state, constraint, column in [
                ("INSERT INTO e VALUES (1, 2)", "23505", "e_pkey", None),
                ("INSERT INTO e VALUES (2, NULL)", "23502", None, "n"),
                ("INSERT INTO e VALUES (2, -1)", "23514", "e_n_check", None)]:
            try:
                connection.execute(statement)
            except psycopg.Error as error:
                equal(error.sqlstate, state, statement)
                equal(error.diag.table_name, "e", f"table of {statement}")
                if constraint:
                    equal(error.diag.constraint_name, constraint, f"constraint of {statement}")
                equal(error.diag.column_name, column, f"column of {statement}")
            else:
                raise AssertionError(f"{statement} was accepted")
        try:
            connection.execute("SELECT nothing FROM e")
        except psycopg.Error as error:
            equal(error.diag.statement_position, "8", "position")
        connection.execute("DROP TABLE e")


def test_transactions_end_as_they_should(server):
    with connect(server) as one, connect(server) as two:
        one.execute("CREATE TABLE x (id integer PRIMARY KEY)")
        with one.transaction():
            one.execute("INSERT INTO x VALUES (1)")
            equal(two.execute("SELECT count(*) FROM x").fetchone()[0], 0, "rows that others see before the commit")
        equal(two.execute("SELECT count(*) FROM x").fetchone()[0], 1, "rows that others see after it")
        one.execute("BEGIN")
        try:
            one.execute("SELECT 1/0")
        except psycopg.errors.DivisionByZero:
            pass
        try:
            one.execute("SELECT 1")
            raise AssertionError("a failed transaction went on")
        except psycopg.errors.InFailedSqlTransaction:
            pass
        one.execute("ROLLBACK")
        one.execute("DROP TABLE x")


def test_nested_transactions_are_savepoints(server):
    with connect(server) as connection:
        connection.execute("CREATE TABLE nested (id integer PRIMARY KEY)")
        with connection.transaction():
            connection.execute("INSERT INTO nested VALUES (1)")
            for insert in ("INSERT INTO nested VALUES (2), (1)", "INSERT INTO nested VALUES (3)"):
                try:
                    with connection.transaction():
                        connection.execute(insert)
                except psycopg.errors.UniqueViolation:
                    pass
        rows = connection.execute("SELECT id FROM nested ORDER BY id").fetchall()
        equal(rows, [(1,), (3,)], "what the inner transactions left")


def test_a_pipeline_is_one_transaction(server):
    with connect(server) as connection:
        connection.execute("CREATE TABLE q (id integer PRIMARY KEY)")
        try:
            with connection.pipeline():
                connection.execute("INSERT INTO q VALUES (1)")
                connection.execute("INSERT INTO q VALUES (1)")
        except psycopg.errors.UniqueViolation:
            pass
        equal(connection.execute("SELECT count(*) FROM q").fetchone()[0], 0, "rows of a failed pipeline")
        connection.execute("DROP TABLE q")


def test_portals_stop_at_their_row_limit(server):
    raw = Raw(server)
    raw.start()
    raw.send(b"Q", b"CREATE TABLE r (id integer PRIMARY KEY); INSERT INTO r VALUES (1), (2), (3)\0")
    raw.until(b"Z")
    raw.send(b"P", b"\0SELECT id FROM r ORDER BY id\0\0\0")
    raw.send(b"B", b"\0\0\0\0\0\0\0\0")
    raw.send(b"D", b"P\0")
    raw.send(b"E", b"\0" + struct.pack(">I", 2))
    raw.send(b"E", b"\0" + struct.pack(">I", 2))
    raw.send(b"S")
    equal(kinds(raw.until(b"Z")), "12TDDsDCZ", "messages")
    raw.send(b"Q", b"DROP TABLE r\0")
    raw.until(b"Z")
    raw.send(b"X")
    raw.close()


def test_empty_queries_and_bad_frames(server):
    raw = Raw(server)
    raw.start()
    raw.send(b"Q", b"\0")
    equal(kinds(raw.until(b"Z")), "IZ", "an empty query")
    raw.send(b"Q", b"no terminator")
    messages = raw.until(b"Z")
    equal(fields(messages[0][1])["C"], "08P01", "a query without its NUL")
    raw.send(b"B", b"\0\0\0\1")
    raw.send(b"E", b"\0\0\0\0\0")
    raw.send(b"S")
    messages = raw.until(b"Z")
    equal(kinds(messages), "EZ", "a cut Bind: the rest is skipped to Sync")
    equal(fields(messages[0][1])["C"], "08P01", "a cut Bind")
    raw.send(b"Q", b"SELECT 1\0")
    equal(kinds(raw.until(b"Z")), "TDCZ", "the session afterwards")
    raw.socket.sendall(b"Q" + struct.pack(">I", 0x7FFFFFFF))
    messages = raw.until(None)
    equal(fields(messages[0][1])["C"], "08P01", "a frame of 2 GB")
    raw.close()
    stranger = Raw(server)
    stranger.socket.sendall(b"GET / HTTP/1.1\r\n\r\n")
    equal(kinds(stranger.until(None))[-1], "-", "a stranger's connection ends")
    stranger.close()


def test_encryption_requests_are_declined(server):
    raw = Raw(server)
    raw.socket.sendall(struct.pack(">II", 8, 80877103))
    equal(raw.file.read(1), b"N", "answer to SSLRequest")
    expect(b"Z" in kinds(raw.start()).encode(), "the start after it")
    raw.close()


def test_cancel_ends_a_statement(server):
    with connect(server) as connection:
        connection.execute("CREATE TABLE big (id integer PRIMARY KEY, v text)")
        with connection.cursor().copy("COPY big FROM STDIN") as copy:
            copy.write("".join(f"{i}\t{'x' * 20}\n" for i in range(100_000)))
        outcome = []

        def run():
            try:
                for _ in range(1000):
                    connection.execute("SELECT count(*) FROM big WHERE v || id::text LIKE '%y%z%'").fetchone()
                outcome.append("finished")
            except psycopg.errors.QueryCanceled:
                outcome.append("cancelled")

        thread = threading.Thread(target=run)
        thread.start()
        while thread.is_alive():
            connection.cancel()
            thread.join(0.05)
        equal(outcome, ["cancelled"], "the statement")
        equal(connection.execute("SELECT 1").fetchone(), (1,), "the session afterwards")
        connection.execute("DROP TABLE big")


def test_notices_and_settings_are_reported(server):
    with connect(server) as connection:
        notices = []
        connection.add_notice_handler(lambda diagnostic: notices.append(diagnostic.message_primary))
        connection.execute("DROP TABLE IF EXISTS not_there")
        equal(len(notices), 1, "notices")
        connection.execute("SET application_name = 'tour'")
        equal(connection.info.parameter_status("application_name"), "tour", "application_name")
        equal(connection.info.parameter_status("client_encoding"), "UTF8", "client_encoding")


def test_too_many_connections_are_refused(server):
    connections = []
    try:
        for _ in range(50):
            connections.append(connect(server))
        raise AssertionError("50 connections where 20 are allowed")
    except psycopg.OperationalError as error:
        expect("too many clients" in str(error), f"refused otherwise: {error}")
    finally:
        for connection in connections:
            connection.close()
    until(lambda: server.metrics().get("gnomon_connections") == 0, "the server has seen them go")


def test_http_tells_health_and_metrics(server):
    def get(path):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{server.http_port}{path}", timeout=DEADLINE) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    equal(get("/health"), (200, "ok\n"), "/health")
    equal(get("/ready"), (200, "ready\n"), "/ready")
    status, metrics = get("/metrics")
    expect(status == 200 and "# TYPE gnomon_connections gauge" in metrics, "/metrics lacks gnomon_connections")
    equal(get("/nothing")[0], 404, "another path")
    raw = socket.create_connection(("127.0.0.1", server.http_port), timeout=DEADLINE)
    raw.sendall(b"NOT HTTP AT ALL\r\n\r\n")
    expect(raw.recv(100).startswith(b"HTTP/1.1 400"), "no HTTP is a bad request")
    raw.close()


def libpq_client(program, server):
    """A C program on libpq: both formats, prepared statements, pipelines, COPY, cancel, error fields."""
    client = subprocess.run([program, server.uri()], capture_output=True, text=True, timeout=2 * DEADLINE)
    print(client.stdout, end="")
    expect(client.returncode == 0, f"libpq_client ended with status {client.returncode}: {client.stderr}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gnomond", required=True)
    parser.add_argument("--libpq-client", help="tests/wire/libpq_client.c, built")
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    directory = tempfile.mkdtemp(prefix="gnomon-wire-")
    server = gnomond.Server(arguments.gnomond, directory, "--max-connections", "20")
    passed = failed = 0
    server.start()
    try:
        for name, function in list(globals().items()):
            if not name.startswith("test_") or (arguments.names and name not in arguments.names):
                continue
            try:
                function(server)
                passed += 1
                print(f"ok {name}", flush=True)
            except (AssertionError, psycopg.Error, OSError) as error:
                failed += 1
                print(f"FAILED {name}: {error}", flush=True)
        if arguments.libpq_client and not arguments.names:
            try:
                libpq_client(arguments.libpq_client, server)
                passed += 1
            except (AssertionError, OSError, subprocess.TimeoutExpired) as error:
                failed += 1
                print(f"FAILED libpq_client: {error}", flush=True)
    finally:
        status = server.stop()
        if status:
            failed += 1
            print(f"FAILED end: status {status}; the log ends\n{server.log.read_text()[-2000:]}")
        shutil.rmtree(directory, ignore_errors=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
