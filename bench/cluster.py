#!/usr/bin/env python3
"""`make bench-cluster`: three nodes on one machine beside a three-node etcd in the same run, one JSON object a line, also in
OUT/cluster.jsonl.

Rounds of both are taken in turn, so that a machine that slows down slows both; figures are medians of rounds, and a ratio is
the median of the rounds' ratios. Load generators are C programs of the same shape (bench_wire over libpq, bench_etcd over
nghttp2), one thread each; their share of a processor is reported, and so is what the servers use for one operation.

    bench/cluster.py --build build/release --out build/bench [--only commits,pairs,reads,knn,failover,move,idle] [--quick]
"""

import argparse
import array
import json
import os
import pathlib
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

import psycopg

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "bench"), str(ROOT / "bench/data"), str(ROOT / "tests/support")]
import gnomond  # noqa: E402
import package_data  # noqa: E402
import run  # noqa: E402

SHARDS = 8
OPTIONS = f"WITH (shards = {SHARDS})"
ETCD = "etcd-3.4"


def read_metrics(url):
    """{name without labels: the sum over all labels}."""
    sums = {}
    with urllib.request.urlopen(url, timeout=5) as answer:
        for line in answer.read().decode().splitlines():
            if not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                name = name.partition("{")[0]
                sums[name] = sums.get(name, 0) + float(value)
    return sums


class Gnomon:
    name = "gnomon"

    def __init__(self, bench, nodes=3, options=()):
        self.bench = bench
        self.directory = tempfile.mkdtemp(prefix="gnomon-bench-")
        self.cluster = gnomond.Cluster(bench.build / "node/gnomond", self.directory, "--log-level", "warn", *options)
        for _ in range(nodes):
            self.cluster.add()

    def connect(self, number=1):
        return psycopg.connect(self.cluster.nodes[number - 1].uri(), autocommit=True)

    def uris(self):
        return " ".join(node.uri() for node in self.cluster.running())

    def load(self, kind, clients, options=OPTIONS, *more):
        return self.bench.generate("bench_wire", kind, self.uris(), clients, self.bench.seconds, *([options] if options else []),
                                   *more)

    def commits(self, clients):
        return self.load("commits", clients)

    def pairs(self, clients):
        return self.load("pairs", clients)

    def reads(self, clients):
        return self.load("point", clients, "same table")

    def fill(self):
        self.bench.generate("bench_wire", "point", self.uris(), 1, 0.1, OPTIONS)

    def pids(self):
        return [node.process.pid for node in self.cluster.running()]

    def costs(self):
        """(processor seconds, bytes between nodes, syncs) so far."""
        metrics = [node.metrics() for node in self.cluster.running()]
        return (sum(map(run.cpu_seconds, self.pids())), sum(m['gnomon_net_bytes_total{direction="out"}'] for m in metrics),
                sum(m["gnomon_raft_log_syncs_total"] for m in metrics))

    def stop(self):
        self.cluster.stop()
        shutil.rmtree(self.directory, ignore_errors=True)


class Etcd:
    name = ETCD

    def __init__(self, bench):
        self.bench, self.processes = bench, []
        self.directory = tempfile.mkdtemp(prefix="gnomon-peer-")
        clients, peers = ([f"127.0.0.1:{gnomond.free_port()}" for _ in range(3)] for _ in range(2))
        members = ",".join(f"n{i}=http://{peer}" for i, peer in enumerate(peers))
        for i in range(3):
            with open(f"{self.directory}/{i}.log", "wb") as log:
                self.processes.append(subprocess.Popen(
                    ["etcd", "--name", f"n{i}", "--data-dir", f"{self.directory}/{i}", "--initial-cluster", members,
                     "--initial-cluster-state", "new", "--listen-client-urls", f"http://{clients[i]}",
                     "--advertise-client-urls", f"http://{clients[i]}", "--listen-peer-urls", f"http://{peers[i]}",
                     "--initial-advertise-peer-urls", f"http://{peers[i]}"], stdout=log, stderr=log))
        self.clients = clients
        for _ in range(100):
            time.sleep(0.2)
            try:
                if all(read_metrics(f"http://{c}/metrics").get("etcd_server_has_leader") for c in clients):
                    return
            except OSError:
                pass
        sys.exit("etcd did not get ready")

    def load(self, kind, clients):
        return self.bench.generate("bench_etcd", kind, ",".join(self.clients), clients, self.bench.seconds)

    def commits(self, clients):
        return self.load("put", clients)

    def pairs(self, clients):
        return self.load("txn", clients)

    def reads(self, clients):
        return self.load("get", clients)

    def fill(self):
        self.load("fill", 64)

    def costs(self):
        metrics = [read_metrics(f"http://{client}/metrics") for client in self.clients]
        return (sum(run.cpu_seconds(p.pid) for p in self.processes),
                sum(m.get("etcd_network_peer_sent_bytes_total", 0) for m in metrics),
                sum(m["etcd_disk_wal_fsync_duration_seconds_count"] + m["etcd_disk_backend_commit_duration_seconds_count"]
                    for m in metrics))

    def stop(self):
        for process in self.processes:
            process.kill()
            process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


class Bench:
    def __init__(self, arguments, report):
        self.build, self.report, self.quick = pathlib.Path(arguments.build), report, arguments.quick
        self.rounds, self.seconds = (1, 1) if self.quick else (5, 3)
        self.clients = (1, 64) if self.quick else (1, 16, 64)

    def generate(self, program, *arguments):
        """{metric: value} of one run of a load generator."""
        out = subprocess.run([str(self.build / "bench" / program), *map(str, arguments)], check=True, capture_output=True,
                             text=True).stdout.split()
        return {"operations": int(out[0]), "rate": float(out[0]) / float(out[1]), "p50": float(out[2]), "p99": float(out[3]),
                "client cpu": float(out[4])}

    def against_etcd(self, bench, what, method, engines):
        """method of each engine, in turn, for each number of clients."""
        for clients in self.clients:
            seen = {engine.name: [] for engine in engines}
            for _ in range(self.rounds):
                for engine in engines:
                    before = engine.costs()
                    result = getattr(engine, method)(clients)
                    cpu, sent, syncs = (b - a for a, b in zip(before, engine.costs()))
                    n = result["operations"]
                    result |= {"server cpu": cpu / n * 1e6, "bytes": sent / n, "syncs": syncs / n}
                    seen[engine.name].append(result)
            dataset = f"{clients} client{'s' if clients > 1 else ''}, three nodes"
            units = {"rate": ("1/s", what), "p50": ("us", "p50"), "p99": ("us", "p99"), "client cpu": ("cores", "cpu of the load generator"),
                     "server cpu": ("us", f"cpu of all servers for one of the {what}"),
                     "bytes": ("bytes", f"sent between nodes for one of the {what}"), "syncs": ("1", f"syncs for one of the {what}")}
            for name, results in seen.items():
                for key, (unit, metric) in units.items():
                    self.report.line(bench, name, dataset, metric, statistics.median(r[key] for r in results), unit)
            pairs = list(zip(seen["gnomon"], seen[ETCD]))
            for key in ("rate", "p99", "server cpu"):
                self.report.line(bench, f"gnomon over {ETCD}", dataset, units[key][1],
                                 statistics.median(ours[key] / max(theirs[key], 1e-9) for ours, theirs in pairs), "ratio")

    def knn(self, cluster):
        """The same searches on three nodes and on one."""
        data = package_data.PackageData()
        directory = tempfile.mkdtemp(prefix="gnomon-bench-")
        one = gnomond.Server(self.build / "node/gnomond", directory)
        one.start()
        try:
            for uri, options in ((one.uri(), ""), (cluster.cluster.nodes[0].uri(), OPTIONS)):
                with psycopg.connect(uri, autocommit=True) as connection:
                    connection.execute(f"CREATE TABLE bench_knn (id integer PRIMARY KEY, embedding vector({data.dimensions})) "
                                       + options)
                    with connection.cursor().copy("COPY bench_knn FROM STDIN") as copy:
                        for i in range(len(data.rows)):
                            copy.write(f"{i}\t{package_data.vector_text(data.row_vector(i))}\n")
                    connection.execute("CREATE INDEX ON bench_knn USING hnsw (embedding vector_cosine_ops)")
            with tempfile.NamedTemporaryFile(suffix=".f32") as queries:
                for i in range(len(data.queries)):
                    array.array("f", data.query_vector(i)).tofile(queries)
                queries.flush()
                for clients in (1, 8):
                    seen = {"gnomon": [], "gnomon-one-node": []}
                    for _ in range(self.rounds):
                        for name, uris in (("gnomon", cluster.uris()), ("gnomon-one-node", one.uri())):
                            seen[name].append(self.generate("bench_wire", "knn", uris, clients, self.seconds, queries.name,
                                                            data.dimensions, 10))
                    dataset = f"{clients} client{'s' if clients > 1 else ''}, {len(data.rows)} x {data.dimensions}, k 10, {SHARDS} shards on three nodes"
                    for name, results in seen.items():
                        for key, unit in (("rate", "1/s"), ("p50", "us"), ("p99", "us")):
                            self.report.line("cluster-knn", name, dataset, key, statistics.median(r[key] for r in results), unit)
                    self.report.line("cluster-knn", "gnomon over one node", dataset, "p50", statistics.median(
                        a["p50"] / b["p50"] for a, b in zip(*seen.values())), "ratio")
        finally:
            one.stop()
            shutil.rmtree(directory, ignore_errors=True)

    def failover(self, cluster):
        """From SIGKILL of the node that leads most groups until the last statement under way then, or begun since, that
        had to wait has been answered: the longest statement of a dozen connections that insert into all groups."""
        kills, waits, failed = 2 if self.quick else 10, [], 0
        with cluster.connect() as connection:
            connection.execute(f"CREATE TABLE bench_failover (id bigint PRIMARY KEY) {OPTIONS}")
        for kill in range(kills):
            led = cluster.cluster.leaders()
            victim = cluster.cluster.nodes[max(led, key=led.get) - 1]
            others = [node for node in cluster.cluster.running() if node is not victim]
            load = FailoverLoad(kill, others)
            time.sleep(1)
            victim.kill()
            killed = time.perf_counter()
            time.sleep(6)
            load.stop()
            waits.append(load.longest(killed))
            failed += load.failed
            victim.start()
            deadline = time.perf_counter() + 20
            while time.perf_counter() < deadline and min(cluster.cluster.leaders().values()) < 2:
                time.sleep(0.2)
        dataset = f"{kills} kills of the node with most leaders, 12 connections to the others"
        self.report.line("cluster-failover", "gnomon", dataset, "median", statistics.median(waits), "s")
        self.report.line("cluster-failover", "gnomon", dataset, "max", max(waits), "s")
        self.report.line("cluster-failover", "gnomon", dataset, "failed statements", failed, "1")

    def move(self):
        """A fourth node joins three that hold so much data that its share is the size wanted."""
        share = 50_000_000 if self.quick else 1_000_000_000
        cluster = Gnomon(self)
        try:
            written, total, row = 0, share * 4 // 3, 0
            block = random.Random(5).randbytes(1 << 20)
            with cluster.connect() as connection:
                connection.execute(f"CREATE TABLE bench_move (id bigint PRIMARY KEY, data bytea NOT NULL) {OPTIONS}")
                started = time.perf_counter()
                while written < total:
                    with connection.cursor().copy("COPY bench_move FROM STDIN (FORMAT text)") as copy:
                        for _ in range(min(512, (total - written) // 16384 + 1)):
                            at = row * 7919 % (len(block) - 16384)
                            copy.write(f"{row}\t\\\\x{block[at:at + 16384].hex()}\n")
                            row, written = row + 1, written + 16384
                loaded = time.perf_counter() - started
                cluster.cluster.add()
                node, started = cluster.cluster.nodes[3], time.perf_counter()
                while not self.settled(connection, cluster, node):
                    if time.perf_counter() - started > 600:
                        sys.exit("the fourth node did not get its share")
                    time.sleep(0.1)
                seconds = time.perf_counter() - started
            moved = written * 6 / 8
            dataset = f"{moved / 1e9:.2f} GB of rows in 6 of {SHARDS} shards to a fourth node"
            self.report.line("cluster-move", "gnomon", dataset, "seconds", seconds, "s")
            self.report.line("cluster-move", "gnomon", dataset, "rate", moved / seconds / 1e6, "MB/s")
            self.report.line("cluster-move", "gnomon", dataset, "snapshot bytes",
                             node.metrics()["gnomon_shard_snapshot_bytes_total"], "bytes")
            self.report.line("cluster-move", "gnomon", f"{written / 1e9:.2f} GB of rows, three replicas", "COPY",
                             written / loaded / 1e6, "MB/s")
        finally:
            cluster.stop()

    @staticmethod
    def settled(connection, cluster, node):
        """Its replicas are placed and opened, and what it counts is what another counts."""
        placed = [group for group, members in connection.execute("SELECT id, members FROM gnomon_groups WHERE distribution <> 0")
                  if "4" in members.split(",")]
        if len(placed) < 6 or node.metrics().get("gnomon_raft_groups", 0) < 7:
            return False
        with cluster.connect(1) as one, cluster.connect(4) as four:
            counts = [c.execute("SELECT count(*) FROM bench_move").fetchone() for c in (one, four)]
        return counts[0] == counts[1]

    def idle(self):
        groups = 200
        cluster = Gnomon(self)
        try:
            with cluster.connect() as connection:
                connection.execute(f"CREATE TABLE bench_idle (id bigint PRIMARY KEY) WITH (shards = {groups})")
            time.sleep(5 if self.quick else 15)
            seconds = 5 if self.quick else 20
            before = [run.cpu_seconds(pid) for pid in cluster.pids()]
            time.sleep(seconds)
            used = [(run.cpu_seconds(pid) - b) / seconds for pid, b in zip(cluster.pids(), before)]
            dataset = f"{groups} groups of three replicas on three nodes, {seconds} s"
            self.report.line("cluster-idle", "gnomon", dataset, "cpu of one node, mean", statistics.mean(used) * 100,
                             "% of a core")
            self.report.line("cluster-idle", "gnomon", dataset, "cpu of one node, max", max(used) * 100, "% of a core")
        finally:
            cluster.stop()


class FailoverLoad:
    def __init__(self, seed, servers):
        self.stopping, self.failed, self.statements, self.lock = False, 0, [], threading.Lock()
        self.threads = [threading.Thread(target=self.insert, args=(seed * 100 + n, servers[n % len(servers)]), daemon=True)
                        for n in range(12)]
        for thread in self.threads:
            thread.start()

    def insert(self, number, server):
        statements, row = [], number * 1_000_000
        with psycopg.connect(server.uri(), autocommit=True) as connection:
            while not self.stopping:
                row += 1
                started = time.perf_counter()
                try:
                    connection.execute("INSERT INTO bench_failover VALUES (%s)", (row,))
                except psycopg.Error:
                    with self.lock:
                        self.failed += 1
                statements.append((started, time.perf_counter()))
        with self.lock:
            self.statements += statements

    def stop(self):
        self.stopping = True
        for thread in self.threads:
            thread.join(60)

    def longest(self, killed):
        return max(end - max(start, killed) for start, end in self.statements if end >= killed)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", required=True)
    parser.add_argument("--out", required=True, type=pathlib.Path)
    parser.add_argument("--only", default="commits,pairs,reads,knn,failover,move,idle")
    parser.add_argument("--quick", action="store_true", help="one short round of each: checks that all of it works")
    arguments = parser.parse_args()
    wanted = set(arguments.only.split(","))
    report = run.Report(arguments.out / "cluster.jsonl")
    report.raw(json.dumps(run.machine()))
    bench = Bench(arguments, report)
    compared = [(bench_name, what, method) for bench_name, what, method in
                (("cluster-commits", "commits", "commits"), ("cluster-transactions", "two-key transactions", "pairs"),
                 ("cluster-reads", "linearizable reads", "reads")) if method in wanted]
    if wanted & {"commits", "pairs", "reads", "knn", "failover"}:
        cluster = Gnomon(bench)
        try:
            if compared:
                etcd = Etcd(bench)
                try:
                    if "reads" in wanted:
                        etcd.fill()
                        cluster.fill()
                    for name, what, method in compared:
                        bench.against_etcd(name, what, method, [cluster, etcd])
                finally:
                    etcd.stop()
            if "knn" in wanted:
                bench.knn(cluster)
            if "failover" in wanted:
                bench.failover(cluster)
        finally:
            cluster.stop()
    for name in ("move", "idle"):
        if name in wanted:
            getattr(bench, name)()
    return 0


if __name__ == "__main__":
    sys.exit(main())
