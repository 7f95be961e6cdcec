#!/usr/bin/python3
"""Runs tests/coord/sql/*.sql on a private PostgreSQL and tells where its answers differ from the .out files.

A statement after a line `--! differs` (up to `--! same`) is run but not compared: there the difference is meant, and
docs/sql.md says so. Needs Debian's postgresql-15 and python3-psycopg, and a user `postgres`; not part of `make test`.

    tests/coord/postgres_truth.py [name ...]
"""

import difflib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import psycopg
from psycopg import pq

BIN = pathlib.Path("/usr/lib/postgresql/15/bin")
HERE = pathlib.Path(__file__).parent / "sql"


def as_postgres(*command):
    prefix = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
    subprocess.run([*prefix, *map(str, command)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                   cwd="/")


class Postgres:
    def __enter__(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="gn_truth_"))
        shutil.chown(self.directory, "postgres")
        data = self.directory / "data"
        as_postgres(BIN / "initdb", "-D", data, "-U", "postgres", "--locale=C", "-E", "UTF8")
        options = f"-c listen_addresses='' -c unix_socket_directories='{self.directory}' -c fsync=off -c timezone=UTC"
        as_postgres(BIN / "pg_ctl", "-D", data, "-w", "-l", self.directory / "log", "-o", options, "start")
        return self

    def __exit__(self, *_):
        as_postgres(BIN / "pg_ctl", "-D", self.directory / "data", "-m", "immediate", "stop")
        shutil.rmtree(self.directory)

    def connect(self):
        return psycopg.connect(f"host={self.directory} user=postgres dbname=template1", autocommit=True)


def statements(text):
    """(statement, data of COPY, compared?) as test_sql.c reads them."""
    lines, sql, compared = iter(text.split("\n")), [], True
    for line in lines:
        if line.startswith("--!"):
            compared = "same" in line
        if not sql and (not line or line.startswith("--")):
            continue
        sql.append(line)
        if not line.endswith(";"):
            continue
        joined, data = "\n".join(sql), b""
        if "copy" in joined.lower() and "from stdin" in joined.lower():
            for row in lines:
                if row == "\\.":
                    break
                data += row.encode() + b"\n"
        yield joined, data, compared
        sql = []


FIELD = pq.DiagnosticField


def report(get, word):
    def field(name):
        value = get(name)
        return value.decode() if value else ""
    line = f"{word} {field(FIELD.SQLSTATE)}: {field(FIELD.MESSAGE_PRIMARY)}"
    if field(FIELD.STATEMENT_POSITION):
        line += f" (at {field(FIELD.STATEMENT_POSITION)})"
    out = [line]
    for name, label in ((FIELD.MESSAGE_DETAIL, "DETAIL"), (FIELD.MESSAGE_HINT, "HINT"), (FIELD.CONTEXT, "CONTEXT")):
        if field(name):
            out.append(f"{label}: {field(name)}")
    if field(FIELD.TABLE_NAME) or field(FIELD.CONSTRAINT_NAME):
        out.append("FIELDS: " + ".".join(field(f) for f in (FIELD.SCHEMA_NAME, FIELD.TABLE_NAME, FIELD.COLUMN_NAME,
                                                              FIELD.CONSTRAINT_NAME)))
    return out


def copy(raw, result, data):
    out = []
    if result.status == pq.ExecStatus.COPY_IN:
        raw.put_copy_data(data)
        raw.put_copy_end()
    else:
        while True:
            n, piece = raw.get_copy_data(0)
            if n <= 0:
                break
            out += bytes(piece).decode().rstrip("\n").split("\n")
    return out


def show(result):
    status, out = result.status, []
    if status == pq.ExecStatus.FATAL_ERROR:
        return report(result.error_field, "ERROR")
    if status == pq.ExecStatus.EMPTY_QUERY:
        return ["(empty)"]
    if status == pq.ExecStatus.TUPLES_OK:
        columns = range(result.nfields)
        out.append("|".join(result.fname(c).decode() for c in columns))
        for r in range(result.ntuples):
            cells = (result.get_value(r, c) for c in columns)
            out.append("|".join("\\N" if cell is None else cell.decode() for cell in cells))
    out.append(result.command_status.decode())
    return out


def run(connection, sql, data):
    raw, out = connection.pgconn, []

    def notice(result):
        word = result.error_field(FIELD.SEVERITY_NONLOCALIZED).decode()
        out.extend(report(result.error_field, word))
    raw.notice_handler = notice
    raw.send_query(sql.encode())
    while True:
        while raw.is_busy():
            raw.consume_input()
        result = raw.get_result()
        if result is None:
            return out
        if result.status in (pq.ExecStatus.COPY_IN, pq.ExecStatus.COPY_OUT):
            out += copy(raw, result, data)
        else:
            out += show(result)


def blocks(text):
    """The .out file, by statement."""
    return [block.split("\n") for block in text.rstrip("\n").split("\n\n")]


def compare(server, path):
    differences = 0
    with server.connect() as connection:
        for name in connection.execute("select tablename from pg_tables where schemaname = 'public'").fetchall():
            connection.execute(f'drop table "{name[0]}" cascade')
        expected = path.with_suffix(".out").read_text()
        at = 0
        for sql, data, compared in statements(path.read_text()):
            answer = run(connection, sql, data)
            wanted = "\n".join([sql, *answer]) + "\n\n"
            end = expected.find("\n\n", at + len(sql)) + 2
            got, at = expected[at:end], end
            if compared and [l for l in got.split("\n") if not l.startswith("SETTING ")] != wanted.split("\n"):
                differences += 1
                print(f"{path.name}: " + "\n".join(difflib.ndiff(wanted.rstrip().split("\n"),
                                                                  got.rstrip().split("\n"))) + "\n")
    return differences


def main():
    names = [HERE / f"{name}.sql" for name in sys.argv[1:]] or sorted(HERE.glob("*.sql"))
    with Postgres() as server:
        total = sum(compare(server, path) for path in names)
    print(f"{total} differences")
    return 1 if total else 0


if __name__ == "__main__":
    sys.exit(main())
