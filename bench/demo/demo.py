#!/usr/bin/env python3
"""The demo: semantic search over 20,000 Debian packages in a database whose crash loses nothing.

Starts gnomond on a scratch directory, creates table and index through psql, loads with COPY, asks ten questions, measures
recall and latency, kills the server with SIGKILL, starts it again and shows that everything is there. Ends by itself and
leaves nothing running, unless --keep.
"""

import argparse
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import psycopg

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "bench/data"), str(ROOT / "tests/support")]
import gnomond  # noqa: E402
import package_data  # noqa: E402

QUESTIONS = [0, 3, 8, 14, 32, 49, 55, 61, 92, 121]
NEAREST = "SELECT name, summary, embedding <=> %s::vector AS distance FROM packages ORDER BY embedding <=> %s::vector LIMIT %s"


def psql(server, sql):
    subprocess.run(["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", server.uri(), "-c", sql], check=True)


def bar(what, done, total, started):
    if not sys.stdout.isatty() and done < total:
        return
    width = 32
    filled = width * done // total
    rate = done / max(time.perf_counter() - started, 1e-9)
    end = "\n" if done >= total else ""
    print(f"\r  {what} [{'#' * filled}{'.' * (width - filled)}] {done:>6}/{total} {rate:8,.0f}/s", end=end, flush=True)


def copy_field(text):
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")


def load(server, data):
    psql(server, f"""CREATE TABLE packages (
        id integer PRIMARY KEY,
        name text NOT NULL UNIQUE,
        section text NOT NULL,
        summary text NOT NULL,
        description text NOT NULL,
        embedding vector({data.dimensions}) NOT NULL)""")
    copy = subprocess.Popen(["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", server.uri(), "-c", "COPY packages FROM STDIN"],
                            stdin=subprocess.PIPE)
    started = time.perf_counter()
    for i, fields in enumerate(data.rows):
        line = "\t".join([str(i), *map(copy_field, fields), package_data.vector_text(data.row_vector(i))]) + "\n"
        copy.stdin.write(line.encode())
        if i % 500 == 0:
            bar("COPY ", i, len(data.rows), started)
    copy.stdin.close()
    if copy.wait() != 0:
        sys.exit("the COPY failed")
    bar("COPY ", len(data.rows), len(data.rows), started)
    started = time.perf_counter()
    psql(server, "CREATE INDEX packages_embedding ON packages USING hnsw (embedding vector_cosine_ops)")
    print(f"  CREATE INDEX ... USING hnsw took {time.perf_counter() - started:.1f} s")


def nearest(connection, vector, k):
    text = package_data.vector_text(vector)
    return connection.execute(NEAREST, (text, text, k)).fetchall()


def exact(connection, vector, k):
    """The true nearest: a scan of all rows."""
    connection.execute("SET enable_indexscan = off")
    rows = nearest(connection, vector, k)
    connection.execute("SET enable_indexscan = on")
    return rows


def ask(connection, data):
    """Prints the index's answers; returns the exact ones, to compare with after the crash."""
    answers = {}
    for number in QUESTIONS:
        rows = nearest(connection, data.query_vector(number), 5)
        answers[number] = exact(connection, data.query_vector(number), 5)
        print(f"\n  {data.queries[number]}")
        for name, summary, distance in rows:
            print(f"    {distance:.3f}  {name:<28.28} {summary[:70]}")
    return answers


def measure(connection, data, count=200):
    """Recall@10 of the index against an exact scan, and the latency of the index as a client sees it."""
    found, latencies, began = 0, [], time.perf_counter()
    for number in range(count):
        vector = data.query_vector(number)
        started = time.perf_counter()
        rows = nearest(connection, vector, 10)
        latencies.append((time.perf_counter() - started) * 1000)
        found += len({row[0] for row in exact(connection, vector, 10)} & {row[0] for row in rows})
        if number % 10 == 0:
            bar("asking", number, count, began)
    bar("asking", count, count, began)
    cuts = statistics.quantiles(latencies, n=100)
    print(f"  recall@10 against an exact scan, {count} queries: {found / (10 * count):.4f}")
    print(f"  latency through the wire: p50 {cuts[49]:.2f} ms, p95 {cuts[94]:.2f} ms, p99 {cuts[98]:.2f} ms")


def crash_and_check(server, data, answers):
    print("\n== SIGKILL, and start again")
    server.kill()
    seconds = server.start()
    with psycopg.connect(server.uri(), autocommit=True) as connection:
        (count,) = connection.execute("SELECT count(*) FROM packages").fetchone()
        same = sum(exact(connection, data.query_vector(number), 5) == rows for number, rows in answers.items())
        print(f"  ready after {seconds * 1000:.0f} ms: {count} of {len(data.rows)} rows, "
              f"{same} of {len(answers)} questions with the same five nearest")
        print("  and the index, brought up to date from the change log:")
        measure(connection, data)
    if count != len(data.rows) or same != len(answers):
        sys.exit("  something was lost")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gnomond", required=True, help="path of the program")
    parser.add_argument("--keep", action="store_true", help="leave the server and its directory")
    arguments = parser.parse_args()
    directory = tempfile.mkdtemp(prefix="gnomon-demo-")
    server = gnomond.Server(arguments.gnomond, directory)
    keep = False
    try:
        data = package_data.PackageData()
        print(f"== gnomond on {directory}")
        print(f"  ready after {server.start() * 1000:.0f} ms on port {server.port}")
        print(f"== Loading {len(data.rows)} packages")
        load(server, data)
        with psycopg.connect(server.uri(), autocommit=True) as connection:
            print("== Ten questions, five nearest packages of each (cosine distance)")
            answers = ask(connection, data)
            print("\n== Recall and latency")
            measure(connection, data)
        crash_and_check(server, data, answers)
        keep = arguments.keep
        print("\n== Go on by hand")
        if keep:
            print(f"  psql {server.uri()}\n  the server is process {server.process.pid}, its data in {directory};"
                  f"\n  end it with: kill {server.process.pid}")
        else:
            print("  make demo KEEP=1     leaves the server up and tells how to reach it")
        print("  README.md            a five-minute tour")
    finally:
        if not keep:
            server.stop()
            shutil.rmtree(directory, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
