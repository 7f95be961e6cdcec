#!/usr/bin/env python3
"""`make bench`: this system beside its peers in the same run, one JSON object a line, also in OUT/bench.jsonl.

Each figure is the median of several runs, taken in turn with the peer's so that a machine that slows down slows both.

    bench/run.py --build build/release --out build/bench [--only library,commits,copy,point,knn,start] [--quick]
"""

import argparse
import array
import contextlib
import json
import os
import pathlib
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import psycopg

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "bench/data"), str(ROOT / "tests/support")]
import gnomond  # noqa: E402
import package_data  # noqa: E402

POSTGRES_BIN = pathlib.Path("/usr/lib/postgresql/15/bin")


def cpu_seconds(pid):
    """User and system time of a process so far."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def on_one_core(pid):
    """A process, all its threads and what this one starts meanwhile: no wake-up between processors is in the time then."""
    threads = [int(name) for name in os.listdir(f"/proc/{pid}/task")] + [0]
    before = os.sched_getaffinity(0)
    for thread in threads:
        os.sched_setaffinity(thread, {min(before)})
    try:
        yield
    finally:
        for thread in threads:
            os.sched_setaffinity(thread, before)


class Report:
    def __init__(self, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.file = open(path, "w", encoding="utf-8")

    def line(self, bench, engine, dataset, metric, value, unit):
        text = json.dumps({"bench": bench, "engine": engine, "dataset": dataset, "metric": metric,
                           "value": round(value, 6), "unit": unit})
        self.raw(text)

    def raw(self, text):
        print(text, flush=True)
        self.file.write(text + "\n")
        self.file.flush()


class Postgres:
    """A private PostgreSQL 15 with its default settings, on the same disk."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        if self.as_user:
            shutil.chown(self.directory, "postgres")
        self._call("initdb", "-D", self.directory / "pg", "-A", "trust", "-U", "postgres")
        self.port = 20000 + os.getpid() % 20000
        self._call("pg_ctl", "-D", self.directory / "pg", "-l", self.directory / "log", "-w", "start", "-o",
                   f"-k {self.directory} -c listen_addresses=127.0.0.1 -c port={self.port}")

    def _call(self, program, *arguments):
        subprocess.run([*self.as_user, str(POSTGRES_BIN / program), *map(str, arguments)], check=True,
                       stdout=subprocess.DEVNULL)

    def uri(self):
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def stop(self):
        self._call("pg_ctl", "-D", self.directory / "pg", "-m", "immediate", "stop")


class Bench:
    def __init__(self, arguments, report):
        self.build, self.report, self.quick = pathlib.Path(arguments.build), report, arguments.quick
        self.runs = 1 if self.quick else 3
        self.seconds = 1 if self.quick else 5

    def wire(self, *arguments):
        """Operations a second, p50 and p99 in microseconds."""
        out = subprocess.run([str(self.build / "bench/bench_wire"), *map(str, arguments)], check=True,
                             capture_output=True, text=True).stdout.split()
        return float(out[0]) / float(out[1]), float(out[2]), float(out[3])

    def library(self):
        """The programs that measure the library itself print lines of this form themselves."""
        for name in ("bench_kernels", "bench_hnsw"):
            arguments = [str(self.build / "bench" / name)] + (["--quick"] if self.quick else [])
            with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as program:
                for text in program.stdout:
                    self.report.raw(text.strip())
            if program.returncode:
                sys.exit(f"{name} failed with status {program.returncode}")

    def in_turn(self, bench, dataset, engines, measure):
        """measure(uri) -> {metric: (value, unit)} for each engine, several times in turn; reports the medians."""
        seen = {}
        for _ in range(self.runs):
            for engine, uri in engines:
                for metric, (value, unit) in measure(uri).items():
                    seen.setdefault((engine, metric, unit), []).append(value)
        for (engine, metric, unit), values in seen.items():
            self.report.line(bench, engine, dataset, metric, statistics.median(values), unit)

    def commits(self, engines):
        for connections in (1, 8, 64):
            def measure(uri, n=connections):
                rate, p50, p99 = self.wire("commits", uri, n, self.seconds)
                return {"commits": (rate, "1/s"), "p50": (p50, "us"), "p99": (p99, "us")}
            self.in_turn("commits", f"{connections} connections, one row each", engines, measure)

    def copy(self, engines):
        rows = 100_000 if self.quick else 1_000_000

        def measure(uri):
            rate, _, _ = self.wire("copy", uri, rows)
            return {"rows": (rate, "1/s"), "seconds": (rows / rate, "s")}
        self.in_turn("copy", f"{rows} small rows with a primary key", engines, measure)

    def point(self, engines):
        for connections in (1, 8):
            def measure(uri, n=connections):
                rate, p50, p99 = self.wire("point", uri, n, self.seconds)
                return {"selects": (rate, "1/s"), "p50": (p50, "us"), "p99": (p99, "us")}
            self.in_turn("point-select", f"{connections} connections, 100,000 rows", engines, measure)

    def knn(self, server):
        """The package embeddings: the wire against the library's own search on the same data."""
        data = package_data.PackageData()
        with tempfile.TemporaryDirectory() as work:
            base, queries = pathlib.Path(work, "base.f32"), pathlib.Path(work, "queries.f32")
            with open(base, "wb") as file:
                for i in range(len(data.rows)):
                    array.array("f", data.row_vector(i)).tofile(file)
            with open(queries, "wb") as file:
                for i in range(len(data.queries)):
                    array.array("f", data.query_vector(i)).tofile(file)
            with psycopg.connect(server.uri(), autocommit=True) as connection:
                connection.execute("DROP TABLE IF EXISTS bench_knn")
                connection.execute(f"CREATE TABLE bench_knn (id integer PRIMARY KEY, embedding vector({data.dimensions}))")
                with connection.cursor().copy("COPY bench_knn FROM STDIN") as copy:
                    for i in range(len(data.rows)):
                        copy.write(f"{i}\t{package_data.vector_text(data.row_vector(i))}\n")
                connection.execute("CREATE INDEX ON bench_knn USING hnsw (embedding vector_cosine_ops)")
            wire, library, echo = [], [], []
            eight, packed = [], []  # (rate, p50, p99, server's microseconds for one, share)

            def eight_connections(library_us):
                used = cpu_seconds(server.process.pid)
                rate, *latencies = self.wire("knn", server.uri(), 8, self.seconds, queries, data.dimensions, 10)
                used = (cpu_seconds(server.process.pid) - used) / (rate * self.seconds) * 1e6
                return rate, *latencies, used, library_us / used

            for _ in range(self.runs):
                wire.append(self.wire("knn", server.uri(), 1, self.seconds, queries, data.dimensions, 10))
                echo.append(self.wire("echo", server.uri(), 1, self.seconds, queries, data.dimensions, 1))
                out = subprocess.run([str(self.build / "bench/bench_hnsw"), "--search-file", str(base), str(queries),
                                      str(data.dimensions)], check=True, capture_output=True, text=True).stdout
                median_us, processor_us = map(float, out.split())
                library.append(median_us)
                eight.append(eight_connections(processor_us))
                with on_one_core(server.process.pid):
                    packed.append(eight_connections(processor_us))
            dataset = f"{len(data.rows)} package embeddings, {data.dimensions} dimensions, k 10"
            self.report.line("knn", "gnomon-library", dataset, "p50", statistics.median(library), "us")
            self.report.line("knn", "gnomon-wire", dataset, "p50", statistics.median(w[1] for w in wire), "us")
            self.report.line("knn", "gnomon-wire", dataset, "p99", statistics.median(w[2] for w in wire), "us")
            for where, results in (("8 connections", eight), ("8 connections, server and clients on one core", packed)):
                for at, (metric, unit) in enumerate((("rate", "1/s"), ("p50", "us"), ("p99", "us"), ("server's processor time", "us"),
                                                     ("over the library's rate on the same share of a core", "ratio"))):
                    self.report.line("knn", "gnomon-wire", dataset, f"{metric}, {where}", statistics.median(r[at] for r in results), unit)
            self.report.line("knn", "gnomon-wire", dataset, "p50 of a statement with the same parameter and no table",
                             statistics.median(e[1] for e in echo), "us")
            self.report.line("knn", "gnomon-wire", dataset, "wire over library",
                             statistics.median(w[1] for w in wire) / statistics.median(library), "ratio")
            self.report.line("knn", "gnomon-wire", dataset, "wire without that statement, over library",
                             statistics.median(w[1] - e[1] for w, e in zip(wire, echo)) / statistics.median(library), "ratio")

    def start(self, program):
        """Start-up with 200,000 vectors: from exec to ready, after a clean stop and after SIGKILL."""
        rows, dimensions = (20_000, 128) if self.quick else (200_000, 128)
        rng = random.Random(7)
        centres = [[rng.gauss(0, 1) for _ in range(dimensions)] for _ in range(200)]
        directory = tempfile.mkdtemp(prefix="gnomon-bench-")
        server = gnomond.Server(program, directory)
        try:
            server.start()
            with psycopg.connect(server.uri(), autocommit=True) as connection:
                connection.execute(f"CREATE TABLE v (id integer PRIMARY KEY, embedding vector({dimensions}))")
                for first in range(0, rows, 20_000):
                    with connection.cursor().copy("COPY v FROM STDIN") as copy:
                        for i in range(first, min(first + 20_000, rows)):
                            centre = centres[i % 200]
                            vector = ",".join(["%.3f" % (x + rng.gauss(0, 0.3)) for x in centre])
                            copy.write(f"{i}\t[{vector}]\n")
                began = time.perf_counter()
                connection.execute("CREATE INDEX ON v USING hnsw (embedding vector_l2_ops)")
                built = time.perf_counter() - began
            dataset = f"{rows} vectors, {dimensions} dimensions"
            self.report.line("start", "gnomon", dataset, "create index", built, "s")
            for kind, end in (("clean stop", server.stop), ("SIGKILL", server.kill)):
                times = []
                for _ in range(5):
                    end()
                    times.append(server.start() * 1000)
                self.report.line("start", "gnomon", dataset, f"ready after {kind}", statistics.median(times), "ms")
        finally:
            server.stop()
            shutil.rmtree(directory, ignore_errors=True)


def machine():
    model = next((l.split(":", 1)[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), "unknown")
    return {"machine": model, "cores": os.cpu_count(), "kernel": os.uname().release}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", required=True)
    parser.add_argument("--out", required=True, type=pathlib.Path)
    parser.add_argument("--only", default="library,commits,copy,point,knn,start")
    parser.add_argument("--quick", action="store_true", help="one short run of each: checks that all of it works")
    arguments = parser.parse_args()
    wanted = set(arguments.only.split(","))
    report = Report(arguments.out / "bench.jsonl")
    report.raw(json.dumps(machine()))
    bench = Bench(arguments, report)
    program = str(pathlib.Path(arguments.build) / "node/gnomond")
    if "library" in wanted:
        bench.library()
    if wanted & {"commits", "copy", "point", "knn"}:
        directory, peer_directory = tempfile.mkdtemp(prefix="gnomon-bench-"), tempfile.mkdtemp(prefix="gnomon-peer-")
        server = gnomond.Server(program, directory)
        server.start()
        peer = Postgres(peer_directory)
        try:
            engines = [("gnomon", server.uri()), ("postgresql-15", peer.uri())]
            for name in ("commits", "copy", "point"):
                if name in wanted:
                    getattr(bench, name)(engines)
            if "knn" in wanted:
                bench.knn(server)
        finally:
            peer.stop()
            server.stop()
            shutil.rmtree(directory, ignore_errors=True)
            shutil.rmtree(peer_directory, ignore_errors=True)
    if "start" in wanted:
        bench.start(program)
    return 0


if __name__ == "__main__":
    sys.exit(main())
