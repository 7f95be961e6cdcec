#!/usr/bin/env python3
"""Faults of disks and operators against a real gnomond: what is promised is an error that explains itself, nothing that
was acknowledged lost, and everything else going on.

    faults.py --gnomond PROGRAM [NAME...]      names as in the functions below; all by default

Prints a line for each. Needs root for its tmpfs mounts; without it those are skipped, and said so.
"""

import argparse
import contextlib
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile

import psycopg

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import gnomond  # noqa: E402


class Skipped(Exception):
    pass


def expect(condition, text):
    if not condition:
        raise AssertionError(text)


@contextlib.contextmanager
def scratch():
    directory = tempfile.mkdtemp(prefix="gnomon-fault-")
    try:
        yield pathlib.Path(directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextlib.contextmanager
def small_disk(directory, megabytes):
    """A tmpfs of that size at directory/data; gives a function that changes its options."""
    data = directory / "data"
    data.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(data)],
                             capture_output=True, check=False)
    if mounted.returncode:
        raise Skipped("no right to mount a tmpfs here")
    try:
        yield lambda options: subprocess.run(["mount", "-o", f"remount,{options}", str(data)], check=True)
    finally:
        subprocess.run(["umount", "-l", str(data)], check=True)


@contextlib.contextmanager
def running(program, directory, *options):
    server = gnomond.Server(program, directory, *options)
    try:
        yield server
    finally:
        server.stop()


def connect(server):
    return psycopg.connect(server.uri(), autocommit=True)


def fill_items(connection, rows, rng, dimensions=16):
    connection.execute(f"CREATE TABLE items (id integer PRIMARY KEY, body text NOT NULL, embedding vector({dimensions}))")
    with connection.cursor().copy("COPY items FROM STDIN") as copy:
        for i in range(rows):
            vector = ",".join(f"{rng.uniform(-1, 1):.3f}" for _ in range(dimensions))
            copy.write(f"{i}\tbody of row {i}\t[{vector}]\n")
    connection.execute("CREATE INDEX items_embedding ON items USING hnsw (embedding vector_l2_ops)")


def test_second_daemon_is_refused(program):
    with scratch() as directory, running(program, directory) as first:
        first.start()
        second = gnomond.Server(program, directory)
        try:
            second.start()
        except gnomond.StartError as error:
            expect("in use by another process" in str(error), f"the refusal does not say why:\n{error}")
        else:
            second.stop()
            raise AssertionError("a second daemon started on the same directory")
        with connect(first) as connection:
            expect(connection.execute("SELECT 1").fetchone() == (1,), "the first daemon does not answer any more")


def test_read_only_directory_is_reported(program):
    with scratch() as directory, small_disk(directory, 64) as remount:
        remount("ro")
        server = gnomond.Server(program, directory)
        try:
            server.start()
        except gnomond.StartError as error:
            expect("Read-only file system" in str(error) or "read-only" in str(error).lower(),
                   f"the refusal does not say why:\n{error}")
        else:
            server.stop()
            raise AssertionError("it started on a read-only directory")


def test_full_disk_loses_nothing_acknowledged(program):
    body = "x" * 20_000
    with scratch() as directory, small_disk(directory, 64) as remount:
        acknowledged, error = [], None
        with running(program, directory) as server:
            server.start()
            with connect(server) as connection:
                connection.execute("CREATE TABLE t (id integer PRIMARY KEY, body text NOT NULL)")
                try:
                    for i in range(20_000):
                        connection.execute("INSERT INTO t VALUES (%s, %s)", (i, body))
                        acknowledged.append(i)
                except psycopg.Error as failure:
                    error = failure
            expect(error is not None, "64 MB took 400 MB of rows")
            expect(error.sqlstate in {"53100", "40003", "57P02", "58030"} or isinstance(error, psycopg.OperationalError),
                   f"unexpected error {error.sqlstate}: {error}")
            server.stop()
            log = server.log.read_text(errors="replace")
            expect("No space left" in log or "disk full" in log.lower(), f"the log does not name the full disk:\n{log[-2000:]}")
            remount("size=512m")
            server.start()
            with connect(server) as connection:
                found = {row[0] for row in connection.execute("SELECT id FROM t WHERE length(body) = 20000")}
                lost = sorted(set(acknowledged) - found)
                expect(not lost, f"{len(lost)} acknowledged rows lost, first {lost[:5]}")
                extra = found - set(acknowledged)
                expect(extra <= {len(acknowledged)}, f"rows that nobody acknowledged: {sorted(extra)[:5]}")
                connection.execute("INSERT INTO t VALUES (-1, 'goes on')")


def test_start_on_a_full_disk_is_refused(program):
    with scratch() as directory, small_disk(directory, 64), running(program, directory) as server:
        server.start()
        with connect(server) as connection:
            connection.execute("CREATE TABLE t (id integer PRIMARY KEY)")
            connection.execute("INSERT INTO t VALUES (1)")
        server.kill()
        filler = directory / "data" / "filler"
        with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass
        try:
            server.start()
            raise AssertionError("it started on a full disk")
        except gnomond.StartError as error:
            expect("status 1;" in str(error) and "no space left" in str(error), f"refused without naming the full disk:\n{error}")
        filler.unlink()
        server.start()
        with connect(server) as connection:
            expect(connection.execute("SELECT id FROM t").fetchall() == [(1,)], "the row is lost")


def flip_bit(path, rng):
    content = bytearray(path.read_bytes())
    place = rng.randrange(len(content))
    content[place] ^= 1 << rng.randrange(8)
    path.write_bytes(content)
    return f"{path.name} byte {place} of {len(content)}"


def test_bit_flips_are_never_answered_from(program):
    """One bit flipped in one file of each kind: the start is refused, or statements fail, or every answer is right."""
    rng = random.Random(5)
    with scratch() as directory:
        original = directory / "original"
        original.mkdir()
        with running(program, original) as server:
            server.start()
            with connect(server) as connection:
                fill_items(connection, 3000, rng)
                connection.execute("DELETE FROM items WHERE id % 10 = 3")
        files = [p for p in (original / "data").rglob("*") if p.is_file() and p.stat().st_size > 0]
        kinds = {}
        for path in sorted(files):
            kinds.setdefault(path.suffix or path.name.split("-")[0], []).append(path)
        outcomes = {}
        for kind, paths in kinds.items():
            for _ in range(3):
                copy = directory / "copy"
                shutil.copytree(original, copy)
                path = copy / rng.choice(paths).relative_to(original)
                what = flip_bit(path, rng)
                outcome = outcome_of_damage(program, copy, what)
                outcomes.setdefault(kind, []).append(outcome)
                shutil.rmtree(copy)
        return "; ".join(f"{kind}: {', '.join(sorted(set(found)))}" for kind, found in sorted(outcomes.items()))


def outcome_of_damage(program, directory, what):
    wanted = {i for i in range(3000) if i % 10 != 3}
    with running(program, directory) as server:
        try:
            server.start()
        except gnomond.StartError as error:
            expect(any(word in str(error).lower() for word in ("corrupt", "checksum", "mismatch", "damaged")),
                   f"{what}: refused without naming the damage:\n{error}")
            return "start refused"
        try:
            with connect(server) as connection:
                rows = dict(connection.execute("SELECT id, body FROM items"))
                expect(set(rows) == wanted, f"{what}: {len(rows)} rows of {len(wanted)}")
                expect(all(body == f"body of row {i}" for i, body in rows.items()), f"{what}: a row's text is wrong")
                probe = "[" + ",".join(["0.1"] * 16) + "]"
                near = [r[0] for r in connection.execute(
                    "SELECT id FROM items ORDER BY embedding <-> %s::vector LIMIT 4000", (probe,))]
                expect(sorted(near) == sorted(wanted), f"{what}: the vector index gives {len(near)} rows of {len(wanted)}")
        except psycopg.Error as error:
            expect(error.sqlstate in {"XX001", "XX002", "58030", "57P02", "40003", None},
                   f"{what}: unexpected error {error.sqlstate}: {error}")
            return "statement refused"
        return "answers right"


def test_bad_statements_leave_the_session_usable(program):
    statements = {
        "SELEC 1": "42601", "SELECT 1 +": "42601", "SELECT 'abc": "42601", "SELECT nothing": "42703",
        "SELECT * FROM nowhere": "42P01", "SELECT 1/0": "22012", "SELECT 'x'::integer": "22P02",
        "SELECT 99999999999999999999::integer": "22003", "SELECT '[1,2'::vector": "22P02",
        "SELECT '[1,nan]'::vector": "22000", "SELECT '[1,2]'::vector(3)": "22000",
        "SELECT '[1,2]'::vector <-> '[1]'::vector": "22000",
        "SELECT " + "(" * 20000 + "1" + ")" * 20000: "54001", "SELECT " + "-" * 0 + " 1" + " + 1" * 60000: {"54001", None},
    }
    with scratch() as directory, running(program, directory) as server:
        server.start()
        with connect(server) as connection, connect(server) as bystander:
            for statement, state in statements.items():
                found = None
                try:
                    connection.execute(statement.encode(), prepare=False)
                except psycopg.Error as error:
                    found = error.sqlstate
                expect(found == state or isinstance(state, set) and found in state,
                       f"{statement[:60]}: SQLSTATE {found}, expected {state}")
                expect(connection.execute("SELECT 1").fetchone() == (1,), f"{statement[:60]}: the session is gone")
                expect(bystander.execute("SELECT 2").fetchone() == (2,), f"{statement[:60]}: another session is gone")


def test_sigterm_ends_cleanly(program):
    with scratch() as directory, running(program, directory) as server:
        server.start()
        with connect(server) as connection:
            connection.execute("CREATE TABLE t (id integer PRIMARY KEY)")
            connection.execute("INSERT INTO t VALUES (1)")
            status = server.stop()
        expect(status == 0, f"exit status {status} after SIGTERM")
        server.start()
        with connect(server) as connection:
            expect(connection.execute("SELECT count(*) FROM t").fetchone() == (1,), "the row is gone")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gnomond", required=True)
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    tests = {name: function for name, function in globals().items() if name.startswith("test_")}
    passed = failed = skipped = 0
    for name, function in tests.items():
        if arguments.names and name not in arguments.names:
            continue
        try:
            detail = function(arguments.gnomond)
            passed += 1
            print(f"ok {name}" + (f" ({detail})" if detail else ""), flush=True)
        except Skipped as reason:
            skipped += 1
            print(f"skipped {name}: {reason}", flush=True)
        except (AssertionError, gnomond.StartError, psycopg.Error) as error:
            failed += 1
            print(f"FAILED {name}: {error}", flush=True)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
